//! What one hub does with bans, alone and beside another one whose claims are played.

use bytes::Bytes;

use super::*;
use crate::CoreConfig;
use crate::frames::{Change, Claim, Entry};
use crate::ids::{Hlc, HubId, Incarnation};

const ME: HubId = HubId([5; 20]);
const LOWER: HubId = HubId([2; 20]);
const HIGHER: HubId = HubId([9; 20]);
const WALL: u64 = 1_000_000;

fn at(ms: u64) -> Now {
    Now {
        at: Moment(ms * 1_000),
        wall_ms: WALL + ms,
    }
}

fn ban(no: u8, until: u64) -> Ban {
    Ban {
        id: BanId([no; 20]),
        until_ms: WALL + until,
        lifted: false,
        about: Bytes::from_static(b"ada"),
    }
}

fn lifted(ban: Ban) -> Ban {
    Ban {
        lifted: true,
        ..ban
    }
}

struct Hub {
    core: Core,
    other: HubId,
    seq: u64,
}

impl Hub {
    fn beside(other: HubId, most: usize) -> Self {
        let config = CoreConfig {
            me: ME,
            bans: BansConfig { most },
            ..CoreConfig::default()
        };
        let core = Core::new(config, at(0));
        {
            let mut directory = core.directory().write();
            directory.begin(other, Incarnation { epoch: 0, nonce: 2 });
            directory.complete(&other, 0);
            directory.set_visible(&other, true, LeaveReason::HubLost);
        }
        Hub {
            core,
            other,
            seq: 0,
        }
    }

    /// The other hub holds this.
    fn hear(&mut self, ms: u64, ban: &Ban) -> bool {
        self.seq += 1;
        let claim = Claim {
            network: bans_network(),
            peer: ban.id.peer(),
            claim: ClaimNo(u64::from(ban.id.0[0])),
            hlc: Hlc::from_wall(WALL + ms),
            quiet: true,
            data: Some(ban.write()),
        };
        let change = Change::Claim(claim);
        let entries = vec![Entry {
            seq: self.seq,
            change,
        }];
        let mut directory = self.core.directory().write();
        directory.apply(Moment(0), &self.other, entries, self.seq);
        drop(directory);
        self.run(ms)
    }

    /// Whether it says that other bans count than before.
    fn run(&mut self, ms: u64) -> bool {
        self.core.handle_timeout(at(ms));
        let outputs = std::iter::from_fn(|| self.core.poll_output());
        let said = outputs.filter(|output| matches!(output, Output::Bans));
        said.count() > 0
    }

    fn lose_other(&mut self, ms: u64) {
        let mut directory = self.core.directory().write();
        directory.set_visible(&self.other, false, LeaveReason::HubLost);
        drop(directory);
        self.run(ms);
    }

    /// Which bans count.
    fn counting(&self) -> Vec<u8> {
        self.core.bans().map(|ban| ban.id.0[0]).collect()
    }

    /// What this hub holds itself.
    fn own(&self) -> Vec<Ban> {
        let claims = self.core.directory().read().claims_of(&ME);
        let mut own: Vec<Ban> = claims
            .into_iter()
            .filter_map(|claim| Ban::read(&claim.peer, &claim.data?, WALL))
            .collect();
        own.sort_by_key(|ban| ban.id);
        own
    }
}

#[test]
fn a_ban_that_was_seen_stays_with_its_hub_gone_and_is_held_here_then() {
    let mut hub = Hub::beside(LOWER, 10);
    let ban = ban(1, 60_000);
    assert!(hub.hear(1, &ban));
    assert_eq!((hub.counting(), hub.own()), (vec![1], vec![]));
    hub.lose_other(2);
    assert_eq!(hub.counting(), [1]);
    hub.run(2_003);
    assert_eq!(hub.own(), [ban]);
    assert_eq!(hub.core.directory().read().peers(), 0, "it is no peer");
    assert!(hub.run(60_001), "it is over");
    assert_eq!((hub.counting(), hub.own()), (vec![], vec![]));
}

#[test]
fn of_two_hubs_with_one_ban_the_lower_keeps_it() {
    for (other, keeps) in [(LOWER, 0), (HIGHER, 1)] {
        let mut hub = Hub::beside(other, 10);
        let ban = ban(1, 60_000);
        hub.core.place_ban(at(1), ban.clone()).expect("a place");
        hub.hear(2, &ban);
        assert_eq!(hub.own().len(), keeps, "{other:?}");
        assert_eq!(hub.counting(), [1]);
    }
}

#[test]
fn a_lifted_ban_comes_back_from_nobody() {
    for other in [LOWER, HIGHER] {
        let mut hub = Hub::beside(other, 10);
        let ban = ban(1, 60_000);
        hub.core.place_ban(at(1), ban.clone()).expect("a place");
        assert!(hub.core.lift_ban(at(2), ban.id));
        assert!(!hub.core.lift_ban(at(3), ban.id), "once");
        assert!(hub.counting().is_empty());
        assert!(hub.run(3));
        // One that was away holds it by a newer clock.
        assert!(!hub.hear(9_000, &ban));
        assert!(hub.counting().is_empty());
        let own = hub.own();
        assert_eq!(own, [lifted(ban.clone())], "it is told that it was lifted");
        hub.hear(9_001, &lifted(ban));
        assert_eq!(hub.own().len(), usize::from(other == HIGHER));
    }
}

#[test]
fn who_hears_of_a_lift_first_never_counts_the_ban() {
    let mut hub = Hub::beside(LOWER, 10);
    assert!(!hub.hear(1, &lifted(ban(1, 60_000))));
    assert!(!hub.hear(2, &ban(1, 60_000)));
    assert!(hub.counting().is_empty());
    hub.run(2_100);
    assert_eq!(hub.own(), [lifted(ban(1, 60_000))]);
}

#[test]
fn as_many_bans_count_as_may_and_as_many_lifts_are_remembered() {
    let mut hub = Hub::beside(LOWER, 2);
    for no in 1..=2 {
        assert_eq!(hub.core.place_ban(at(1), ban(no, 60_000)), Ok(()));
    }
    assert_eq!(hub.core.place_ban(at(1), ban(3, 60_000)), Err(BansFull));
    hub.hear(2, &ban(4, 60_000));
    assert_eq!(hub.counting(), [1, 2], "nor one of another hub");
    for no in 1..=2 {
        assert!(hub.core.lift_ban(at(3), ban(no, 0).id));
    }
    for no in 5..=9 {
        let ban = ban(no, 70_000 + u64::from(no));
        hub.core.place_ban(at(4), ban.clone()).expect("a place");
        hub.core.lift_ban(at(4), ban.id);
    }
    assert_eq!(hub.counting(), [4], "there was room again");
    let held: Vec<u8> = hub.own().iter().map(|ban| ban.id.0[0]).collect();
    assert_eq!(held, [8, 9], "those that would have lasted the longest");
}

#[test]
fn a_ban_that_found_no_room_is_taken_up_when_there_is_some() {
    // As one is lifted here, as one is lifted elsewhere, and as one is over.
    for how in 0..3 {
        let mut hub = Hub::beside(LOWER, 2);
        hub.core.place_ban(at(1), ban(1, 60_000)).expect("a place");
        hub.hear(2, &ban(2, 5_000));
        hub.hear(3, &ban(3, 60_000));
        hub.hear(4, &ban(4, 60_000));
        assert_eq!(hub.counting(), [1, 2], "there is no room");
        match how {
            0 => assert!(hub.core.lift_ban(at(5), ban(2, 0).id)),
            1 => assert!(hub.hear(5, &lifted(ban(2, 5_000)))),
            _ => assert!(hub.run(5_000)),
        }
        assert_eq!(hub.counting(), [1, 3], "{how}");
        assert!(hub.core.lift_ban(at(6_000), ban(1, 0).id));
        assert_eq!(hub.counting(), [3, 4], "{how}");
    }
}

#[test]
fn nothing_is_kept_of_bans_that_are_forgotten() {
    let mut hub = Hub::beside(LOWER, 2);
    for no in 1..=200 {
        let ban = ban(no, 1_000_000 + u64::from(no));
        let ms = 10 * u64::from(no);
        hub.core.place_ban(at(ms), ban.clone()).expect("a place");
        hub.core.lift_ban(at(ms + 1), ban.id);
    }
    let due = |hub: &Hub| hub.core.presence.bans.due.len();
    assert_eq!(due(&hub), 2, "one for each that is remembered");
    // Neither while one hub after the other claims it, by clocks that differ.
    let mut hub = Hub::beside(LOWER, 2);
    hub.hear(1, &ban(1, 60_000));
    for turn in 0..20 {
        let ms = 1_000 * turn;
        let late = Now {
            wall_ms: WALL + ms - turn,
            ..at(ms + 10)
        };
        hub.core.review_bans(late, [ban(1, 0).id.peer()].into());
        hub.core.adopt_soon(late, ban(1, 0).id);
        hub.core
            .presence
            .bans
            .known
            .values_mut()
            .for_each(|known| known.adopts = None);
        hub.core.handle_bans_timeout(Now {
            wall_ms: WALL + ms,
            ..at(ms + 900)
        });
        assert!(due(&hub) <= 2, "{turn}: {}", due(&hub));
    }
}

#[test]
fn what_no_hub_of_ours_says_is_no_ban() {
    let good = ban(1, 60_000);
    let read = |peer: &PeerId, data: &[u8]| Ban::read(peer, data, WALL);
    assert_eq!(read(&good.id.peer(), &good.write()), Some(good.clone()));
    let named = PeerId::new("ada").expect("a name");
    assert_eq!(read(&named, &good.write()), None);
    let data = good.write();
    for length in 0..data.len() {
        assert_eq!(read(&good.id.peer(), &data[..length]), None, "{length}");
    }
    let long = Ban {
        about: vec![0; super::super::api::MAX_BAN_BYTES + 1].into(),
        ..good.clone()
    };
    let endless = Ban {
        until_ms: u64::MAX,
        ..good.clone()
    };
    for ban in [long, endless] {
        assert_eq!(read(&ban.id.peer(), &ban.write()), None);
    }
}
