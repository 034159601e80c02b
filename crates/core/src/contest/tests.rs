//! Two hubs' contests, each with its own directory, and what they say to each other.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::frames::{Change, Claim, Entry};
use crate::ids::{Dialect, Hlc, Incarnation, LeaveReason};
use crate::mutants::Mutants;
use crate::reach::AddressGroup;

const HERE: HubId = HubId([1; 20]);
const THERE: HubId = HubId([2; 20]);
const NOW: Moment = Moment(1_000_000);
/// A second after it: what was a sign of life then is none any more.
const LATER: Moment = Moment(2_000_000);

/// A hub, as far as contests know of one.
struct Hub {
    contests: Contests,
    directory: Directory,
    now: Moment,
}

impl Hub {
    fn new(me: HubId) -> Self {
        let life = Incarnation { epoch: 0, nonce: 1 };
        Hub {
            contests: Contests::new(me, ContestConfig::default()),
            directory: Directory::new(me, life, 7, usize::MAX, Mutants::NONE),
            now: NOW,
        }
    }

    /// A peer joins under the one id that all is about; what is to be done for it, in order.
    fn join(&mut self, claim: u64, proof: &'static str) -> Vec<ContestAction> {
        self.join_from(1, claim, proof)
    }

    /// The same, from an address with this last number.
    fn join_from(&mut self, address: u8, claim: u64, proof: &'static str) -> Vec<ContestAction> {
        let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, address));
        let join = Join {
            claim: ClaimNo(claim),
            network: network(),
            peer: peer(),
            data: None,
            quiet: false,
            proof: Bytes::from_static(proof.as_bytes()),
            room: None,
            address: AddressGroup::of(address),
            counts_for: None,
        };
        self.contests.begin(self.now, &self.directory, join);
        self.carry_out()
    }

    /// Does what the core does with actions, and tells which they were.
    fn carry_out(&mut self) -> Vec<ContestAction> {
        let mut actions = Vec::new();
        loop {
            self.contests.settle(self.now, &self.directory);
            let Some(action) = self.contests.poll_action() else {
                return actions;
            };
            match &action {
                ContestAction::Claim(claim) => self.claim(*claim),
                ContestAction::Expel(claim) => self.retract(*claim),
                _ => {}
            }
            actions.push(action);
        }
    }

    fn claim(&mut self, claim: ClaimNo) {
        let held = self.directory.holder(&network(), &peer());
        self.contests.take_ready(claim).expect("a join");
        self.directory.author(&claim_of(claim, claim.0));
        if let Some((found, _)) = held.filter(|(found, _)| found.hub == HERE) {
            self.contests.note_takeover(self.now, &network(), &peer());
            self.retract(found.claim);
        }
    }

    fn retract(&mut self, claim: ClaimNo) {
        self.contests.on_gone(claim);
        self.directory
            .retract(self.now, claim, LeaveReason::Superseded);
    }

    /// Learns that the other hub holds the id under this claim.
    fn learn(&mut self, claim: u64) {
        let life = Incarnation { epoch: 0, nonce: 2 };
        let change = Change::Claim(claim_of(ClaimNo(claim), claim));
        self.directory.begin(THERE, life);
        let entries = vec![Entry { seq: 1, change }];
        self.directory.apply(self.now, &THERE, entries, 1);
        self.directory.complete(&THERE, 1);
        self.directory
            .set_visible(&THERE, true, LeaveReason::HubLost);
    }

    /// Takes in the one message that the other hub has sent, and tells what is to be done.
    fn hear(&mut self, from: HubId, sent: &[ContestAction]) -> Vec<ContestAction> {
        let [ContestAction::Send { payload, .. }] = sent else {
            panic!("not one message: {sent:?}");
        };
        self.contests
            .on_message(self.now, &self.directory, from, payload);
        self.carry_out()
    }

    /// The holder that a probe was asked for shows a sign of life, or none.
    fn show(&mut self, asked: &[ContestAction], alive: bool) -> Vec<ContestAction> {
        let [ContestAction::Probe { token, .. }] = asked else {
            panic!("not one probe: {asked:?}");
        };
        self.answer(*token, alive)
    }

    fn answer(&mut self, token: u64, alive: bool) -> Vec<ContestAction> {
        self.contests.on_probe_result(self.now, token, alive);
        self.carry_out()
    }

    /// A claim is withdrawn, or given up.
    fn go(&mut self, claim: u64) -> Vec<ContestAction> {
        self.retract(ClaimNo(claim));
        self.carry_out()
    }

    fn tire(&mut self) {
        for _ in 0..MAX_TAKEOVERS {
            self.contests.note_takeover(self.now, &network(), &peer());
        }
    }
}

fn network() -> NetworkKey {
    NetworkKey::new(Dialect::Pigeon, "global").unwrap()
}

fn peer() -> PeerId {
    PeerId::new("wanted").unwrap()
}

fn claim_of(claim: ClaimNo, hlc: u64) -> Claim {
    Claim {
        network: network(),
        peer: peer(),
        claim,
        hlc: Hlc(hlc),
        quiet: false,
        data: None,
    }
}

fn refused(claim: u64, why: JoinRefusal) -> [ContestAction; 1] {
    let claim = ClaimNo(claim);
    [ContestAction::Refuse { claim, why }]
}

/// The one hub holds the id for a client with a proof; the other knows of it.
fn holder_and_newcomer() -> (Hub, Hub) {
    let (mut holder, mut newcomer) = (Hub::new(THERE), Hub::new(HERE));
    assert_eq!(holder.join(1, "ours"), [ContestAction::Claim(ClaimNo(1))]);
    newcomer.learn(1);
    (holder, newcomer)
}

#[test]
fn the_same_party_takes_its_id_over_without_a_question_until_it_did_so_too_often() {
    let mut hub = Hub::new(HERE);
    for claim in 1..=4 {
        assert_eq!(
            hub.join(claim, "ours"),
            [ContestAction::Claim(ClaimNo(claim))]
        );
    }
    let asked = hub.join(5, "ours");
    let verdict = hub.show(&asked, true);
    assert_eq!(verdict, refused(5, JoinRefusal::TakeoverLimit));
}

#[test]
fn past_the_limit_a_dead_connection_still_makes_way() {
    let mut hub = Hub::new(HERE);
    hub.join(1, "ours");
    hub.tire();
    let asked = hub.join(2, "ours");
    let mut actions = hub.show(&asked, false);
    assert_eq!(actions.remove(0), ContestAction::Expel(ClaimNo(1)));
    assert_eq!(hub.show(&actions, true), [ContestAction::Claim(ClaimNo(2))]);
}

#[test]
fn the_same_party_takes_its_id_over_from_another_hub() {
    let (mut holder, mut newcomer) = holder_and_newcomer();
    let answer = holder.hear(HERE, &newcomer.join(9, "ours"));
    let verdict = newcomer.hear(THERE, &answer);
    assert_eq!(verdict, [ContestAction::Claim(ClaimNo(9))]);
}

#[test]
fn past_the_limit_a_living_holder_on_another_hub_keeps_the_id_from_its_own_party() {
    let (mut holder, mut newcomer) = holder_and_newcomer();
    newcomer.tire();
    let asked = holder.hear(HERE, &newcomer.join(9, "ours"));
    let answer = holder.show(&asked, true);
    let verdict = newcomer.hear(THERE, &answer);
    assert_eq!(verdict, refused(9, JoinRefusal::TakeoverLimit));
}

#[test]
fn past_the_limit_a_dead_or_absent_holder_on_another_hub_makes_way() {
    let (mut holder, mut newcomer) = holder_and_newcomer();
    newcomer.tire();
    let asked = holder.hear(HERE, &newcomer.join(9, "ours"));
    let mut answer = holder.show(&asked, false);
    assert_eq!(answer.remove(0), ContestAction::Expel(ClaimNo(1)));
    let asked = newcomer.hear(THERE, &answer);
    assert_eq!(
        newcomer.show(&asked, true),
        [ContestAction::Claim(ClaimNo(9))]
    );

    let mut late = Hub::new(HERE);
    late.learn(1);
    late.tire();
    let answer = holder.hear(HERE, &late.join(10, "ours"));
    let asked = late.hear(THERE, &answer);
    assert_eq!(late.show(&asked, true), [ContestAction::Claim(ClaimNo(10))]);
}

/// The tokens of the probes that are asked for, by claim.
fn probes(actions: &[ContestAction]) -> Vec<(u64, u64)> {
    let probes = actions.iter().filter_map(|action| match action {
        ContestAction::Probe { claim, token } => Some((claim.0, *token)),
        _ => None,
    });
    probes.collect()
}

#[test]
fn of_those_who_wait_for_a_dead_holder_the_first_to_show_itself_has_the_id_and_the_others_meet_it()
{
    let mut hub = Hub::new(HERE);
    hub.join(1, "ours");
    let asked = hub.join(2, "theirs");
    assert_eq!(hub.join(3, "somebody else's"), []);
    let actions = hub.show(&asked, false);
    assert_eq!(actions[0], ContestAction::Expel(ClaimNo(1)));
    let [(2, second), (3, third)] = probes(&actions)[..] else {
        panic!("{actions:?}");
    };
    assert_eq!(hub.answer(third, true), [ContestAction::Claim(ClaimNo(3))]);
    let asked = hub.answer(second, true);
    assert_eq!(probes(&asked)[0].0, 3);
    let verdict = hub.show(&asked, true);
    assert_eq!(verdict, refused(2, JoinRefusal::Taken));
}

#[test]
fn newcomers_that_died_while_they_waited_cost_the_living_one_nothing() {
    let mut hub = Hub::new(HERE);
    hub.join(1, "ours");
    let asked = hub.join(2, "a");
    for claim in 3..=9 {
        assert_eq!(hub.join(claim, "b"), []);
    }
    for claim in 5..=8 {
        assert_eq!(hub.go(claim), []);
    }
    let actions = hub.show(&asked, false);
    let proving = probes(&actions);
    let claims: Vec<u64> = proving.iter().map(|(claim, _)| *claim).collect();
    assert_eq!(claims, [2, 3, 4, 9]);
    // Who comes now finds nobody, and does not overtake those who waited.
    let late = hub.join(10, "c");
    assert_eq!(probes(&late)[0].0, 10);
    assert_eq!(
        hub.answer(proving[3].1, true),
        [ContestAction::Claim(ClaimNo(9))]
    );
    assert_eq!(
        hub.answer(proving[0].1, false),
        refused(2, JoinRefusal::Taken)
    );
    assert_eq!(hub.go(3), []);
    // Nobody was told that a holder is to go.
    assert!(hub.directory.holder(&network(), &peer()).is_some());
}

#[test]
fn a_holder_that_goes_while_it_is_probed_makes_way_at_once_here_and_elsewhere() {
    let (mut holder, mut newcomer) = holder_and_newcomer();
    let asked = newcomer.join(9, "theirs");
    assert_eq!(probes(&holder.hear(HERE, &asked))[0].0, 1);
    assert_eq!(holder.join(2, "another's"), []);
    let mut actions = holder.go(1);
    let here = actions.split_off(1);
    assert_eq!(holder.show(&here, true), [ContestAction::Claim(ClaimNo(2))]);
    let there = newcomer.hear(THERE, &actions);
    assert_eq!(
        newcomer.show(&there, true),
        [ContestAction::Claim(ClaimNo(9))]
    );
}

#[test]
fn however_many_want_an_id_its_holder_is_asked_once_and_not_again_for_a_second() {
    let (mut holder, mut newcomer) = holder_and_newcomer();
    let asked = holder.join(2, "a");
    assert_eq!(probes(&asked).len(), 1);
    for claim in 3..10 {
        assert_eq!(holder.join(claim, "b"), []);
    }
    let contest = newcomer.join(9, "theirs");
    assert_eq!(holder.hear(HERE, &contest), []);
    let verdicts = holder.show(&asked, true);
    assert_eq!(verdicts.len(), 9);
    assert!(probes(&verdicts).is_empty(), "{verdicts:?}");

    assert_eq!(holder.join(20, "c"), refused(20, JoinRefusal::Taken));
    let answer = holder.hear(HERE, &contest);
    assert_eq!(
        newcomer.hear(THERE, &answer),
        refused(9, JoinRefusal::Taken)
    );
    holder.now = LATER;
    assert_eq!(probes(&holder.join(21, "c")).len(), 1);
    assert_eq!(holder.join(22, "ours"), [ContestAction::Claim(ClaimNo(22))]);
    // Another connection, of which nothing is known.
    assert_eq!(probes(&holder.join(23, "c"))[0].0, 22);
}

#[test]
fn so_many_wait_for_an_id_and_the_address_that_has_the_most_of_them_gives_way() {
    let mut hub = Hub::new(HERE);
    hub.join_from(9, 1, "ours");
    let asked = hub.join(2, "a");
    for claim in 3..18 {
        assert_eq!(hub.join(claim, "a"), []);
    }
    assert_eq!(hub.contests.pending(), pending::MAX_FOR_ID);
    assert_eq!(hub.join(18, "a"), refused(18, JoinRefusal::Taken));
    assert_eq!(hub.join_from(2, 19, "b"), refused(17, JoinRefusal::Taken));
    assert_eq!(hub.join(20, "a"), refused(20, JoinRefusal::Taken));
    assert_eq!(hub.contests.pending(), pending::MAX_FOR_ID);
    let proving = probes(&hub.show(&asked, false));
    assert_eq!(proving.last().map(|(claim, _)| *claim), Some(19));
}

#[test]
fn a_hub_that_contests_one_claim_without_end_is_told_that_its_holder_lives() {
    let (mut holder, _) = holder_and_newcomer();
    let contest = |token| {
        let message = ContestMessage::Contest {
            token,
            network: network().as_str().to_owned(),
            peer: peer().to_string(),
            claim: ClaimNo(1),
            proof: Vec::new(),
        };
        let payload = postcard::to_allocvec(&message).expect("it fits").into();
        [ContestAction::Send {
            to: THERE,
            payload,
            token,
        }]
    };
    let mut answered = 0;
    for token in 0..1_000 {
        let actions = holder.hear(HERE, &contest(token));
        answered += actions
            .iter()
            .filter(|a| matches!(a, ContestAction::Send { .. }))
            .count();
    }
    assert_eq!(answered, 1_000 - probes::MAX_ASKERS_OF_HUB);
}

#[test]
fn who_contests_what_is_told_with_how_many_and_since_when() {
    let mut hub = Hub::new(HERE);
    hub.join(1, "ada");
    let told = |hub: &Hub| {
        let all = hub.contests.contested();
        all.map(|one| (one.network.clone(), one.peer.clone(), one.count, one.since))
            .collect::<Vec<_>>()
    };
    assert_eq!(told(&hub), [], "nobody else wants it");
    let asked = hub.join(2, "eve");
    hub.now = LATER;
    hub.join(3, "mallory");
    assert_eq!(told(&hub), [(network(), peer(), 2, NOW)]);
    hub.show(&asked, true);
    assert_eq!(hub.contests.pending(), told(&hub).len());
}

#[test]
fn who_contests_an_id_does_so_since_it_asked_whatever_it_waits_for() {
    let mut hub = Hub::new(HERE);
    hub.join(1, "ada");
    let asked = hub.join(2, "eve");
    hub.now = LATER;
    hub.join(3, "mallory");
    hub.show(&asked, false);
    let since: Vec<Moment> = hub.contests.contested().map(|one| one.since).collect();
    assert_eq!(
        since,
        [NOW],
        "its own client is asked for a sign of life now"
    );
}
