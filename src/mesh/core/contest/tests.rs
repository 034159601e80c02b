//! Two hubs' contests, each with its own directory, and what they say to each other.

use super::*;
use crate::mesh::core::ids::{Dialect, Hlc, Incarnation, LeaveReason};
use crate::mesh::core::mutants::Mutants;
use crate::mesh::frames::{Change, Claim, Entry};

const HERE: HubId = HubId([1; 20]);
const THERE: HubId = HubId([2; 20]);
const NOW: Moment = Moment(1_000_000);

/// A hub, as far as contests know of one.
struct Hub {
    contests: Contests,
    directory: Directory,
}

impl Hub {
    fn new(me: HubId) -> Self {
        let life = Incarnation { epoch: 0, nonce: 1 };
        Hub {
            contests: Contests::new(me, ContestConfig::default()),
            directory: Directory::new(me, life, 7, usize::MAX, Mutants::NONE),
        }
    }

    /// A peer joins under the one id that all is about; what is to be done for it, in order.
    fn join(&mut self, claim: u64, proof: &'static str) -> Vec<Action> {
        let join = Join {
            claim: ClaimNo(claim),
            network: network(),
            peer: peer(),
            data: None,
            quiet: false,
            proof: Bytes::from_static(proof.as_bytes()),
        };
        self.contests.begin(NOW, &self.directory, join);
        self.carry_out()
    }

    /// Does what the core does with actions, and tells which they were.
    fn carry_out(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        loop {
            self.contests.settle(NOW, &self.directory);
            let Some(action) = self.contests.poll_action() else {
                return actions;
            };
            match &action {
                Action::Claim(claim) => self.claim(*claim),
                Action::Expel(claim) => self.retract(*claim),
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
            self.contests.note_takeover(NOW, &network(), &peer());
            self.retract(found.claim);
        }
    }

    fn retract(&mut self, claim: ClaimNo) {
        self.contests.on_gone(claim);
        self.directory.retract(NOW, claim, LeaveReason::Superseded);
    }

    /// Learns that the other hub holds the id under this claim.
    fn learn(&mut self, claim: u64) {
        let life = Incarnation { epoch: 0, nonce: 2 };
        let change = Change::Claim(claim_of(ClaimNo(claim), claim));
        self.directory.begin(THERE, life);
        let entries = vec![Entry { seq: 1, change }];
        self.directory.apply(NOW, &THERE, entries, 1);
        self.directory.complete(&THERE, 1);
        self.directory
            .set_visible(&THERE, true, LeaveReason::HubLost);
    }

    /// Takes in the one message that the other hub has sent, and tells what is to be done.
    fn hear(&mut self, from: HubId, sent: &[Action]) -> Vec<Action> {
        let [Action::Send { payload, .. }] = sent else {
            panic!("not one message: {sent:?}");
        };
        self.contests
            .on_message(NOW, &self.directory, from, payload);
        self.carry_out()
    }

    /// The holder that a probe was asked for shows a sign of life, or none.
    fn show(&mut self, asked: &[Action], alive: bool) -> Vec<Action> {
        let [Action::Probe { token, .. }] = asked else {
            panic!("not one probe: {asked:?}");
        };
        self.contests.on_probe_result(*token, alive);
        self.carry_out()
    }

    fn tire(&mut self) {
        for _ in 0..MAX_TAKEOVERS {
            self.contests.note_takeover(NOW, &network(), &peer());
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

fn refused(claim: u64, why: JoinRefusal) -> [Action; 1] {
    let claim = ClaimNo(claim);
    [Action::Refuse { claim, why }]
}

/// The one hub holds the id for a client with a proof; the other knows of it.
fn holder_and_newcomer() -> (Hub, Hub) {
    let (mut holder, mut newcomer) = (Hub::new(THERE), Hub::new(HERE));
    assert_eq!(holder.join(1, "ours"), [Action::Claim(ClaimNo(1))]);
    newcomer.learn(1);
    (holder, newcomer)
}

#[test]
fn the_same_party_takes_its_id_over_without_a_question_until_it_did_so_too_often() {
    let mut hub = Hub::new(HERE);
    for claim in 1..=4 {
        assert_eq!(hub.join(claim, "ours"), [Action::Claim(ClaimNo(claim))]);
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
    let verdict = hub.show(&asked, false);
    let claim = Action::Claim(ClaimNo(2));
    assert_eq!(verdict, [Action::Expel(ClaimNo(1)), claim]);
}

#[test]
fn the_same_party_takes_its_id_over_from_another_hub() {
    let (mut holder, mut newcomer) = holder_and_newcomer();
    let answer = holder.hear(HERE, &newcomer.join(9, "ours"));
    let verdict = newcomer.hear(THERE, &answer);
    assert_eq!(verdict, [Action::Claim(ClaimNo(9))]);
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
    assert_eq!(answer.remove(0), Action::Expel(ClaimNo(1)));
    let verdict = newcomer.hear(THERE, &answer);
    assert_eq!(verdict, [Action::Claim(ClaimNo(9))]);

    let mut late = Hub::new(HERE);
    late.learn(1);
    late.tire();
    let answer = holder.hear(HERE, &late.join(10, "ours"));
    assert_eq!(late.hear(THERE, &answer), [Action::Claim(ClaimNo(10))]);
}

#[test]
fn of_two_strangers_who_wait_for_a_dead_holder_the_second_meets_the_first() {
    let mut hub = Hub::new(HERE);
    hub.join(1, "ours");
    let asked = hub.join(2, "theirs");
    hub.join(3, "somebody else's");
    let mut actions = hub.show(&asked, false);
    let second = actions.split_off(2);
    let claim = Action::Claim(ClaimNo(2));
    assert_eq!(actions, [Action::Expel(ClaimNo(1)), claim]);
    let verdict = hub.show(&second, true);
    assert_eq!(verdict, refused(3, JoinRefusal::Taken));
}
