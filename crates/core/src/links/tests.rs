//! What the table of links promises, one sentence a test.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;

use super::super::ids::DialId;
use super::*;
use crate::frames::PULLS_SINCE;

const LOW: HubId = HubId([1; 20]);
const HIGH: HubId = HubId([2; 20]);

fn life(epoch: u32, nonce: u64) -> Incarnation {
    Incarnation { epoch, nonce }
}

fn at_ms(ms: u64) -> Moment {
    Moment(ms * 1_000)
}

/// A link of `LOW` with `HIGH`, as `LOW` sees it.
fn up(link: u64, dialed: bool, dial_number: u64) -> LinkUp {
    LinkUp {
        link: LinkId(link),
        hub: HIGH,
        incarnation: life(0, 7),
        dialed: dialed.then_some(DialId(dial_number)),
        dial_number,
        version: PULLS_SINCE,
    }
}

fn events(links: &mut Links) -> Vec<LinkEvent> {
    std::iter::from_fn(|| links.poll_event()).collect()
}

fn controls(links: &mut Links, link: u64) -> Vec<ControlFrame> {
    std::iter::from_fn(|| links.poll_control(LinkId(link))).collect()
}

/// Answers every ping that waits on this link.
fn answer(links: &mut Links, now: Moment, link: u64) {
    for frame in controls(links, link) {
        if let ControlFrame::Ping { token } = frame {
            links.on_heard(now, LinkId(link));
            links.on_pong(now, LinkId(link), token);
        }
    }
}

fn links() -> Links {
    let mut links = Links::new(LOW, LinkConfig::default());
    links.set_incarnation(life(0, 1));
    links
}

fn with_one(dialed: bool, dial_number: u64) -> Links {
    let mut links = links();
    links.on_up(at_ms(0), &up(1, dialed, dial_number));
    answer(&mut links, at_ms(1), 1);
    events(&mut links);
    links
}

fn close(link: u64, bye: Bye) -> LinkEvent {
    LinkEvent::Close {
        link: LinkId(link),
        bye,
    }
}

fn switched(link: u64) -> LinkEvent {
    LinkEvent::NeighbourSwitched {
        hub: HIGH,
        link: LinkId(link),
    }
}

#[test]
fn a_first_link_makes_a_neighbour_and_its_end_unmakes_it() {
    let mut links = links();
    links.on_up(at_ms(0), &up(1, true, 1));
    assert_eq!(
        events(&mut links),
        [LinkEvent::NeighbourUp {
            hub: HIGH,
            incarnation: life(0, 7),
            link: LinkId(1)
        }]
    );
    assert_eq!(links.neighbour(LinkId(1)), Some(HIGH));
    assert_eq!(links.link_to(HIGH), Some(LinkId(1)));
    links.on_down(at_ms(1), LinkId(1));
    links.on_down(at_ms(1), LinkId(1));
    assert_eq!(events(&mut links), [LinkEvent::NeighbourDown { hub: HIGH }]);
    assert_eq!(links.poll_timeout(), None);
}

#[test]
fn a_link_is_pinged_every_second_and_its_round_trip_measured() {
    let mut links = links();
    links.on_up(at_ms(0), &up(1, true, 1));
    events(&mut links);
    assert_eq!(controls(&mut links, 1), [ControlFrame::Ping { token: 1 }]);
    links.on_pong(at_ms(40), LinkId(1), 1);
    let rtt = Duration::from_millis(40);
    assert_eq!(
        events(&mut links),
        [LinkEvent::RttMeasured { hub: HIGH, rtt }]
    );
    assert_eq!(links.rtt(HIGH), Some(rtt));
    links.on_pong(at_ms(50), LinkId(1), 1);
    links.on_pong(at_ms(50), LinkId(1), 99);
    assert_eq!(events(&mut links), [], "no ping answers twice or unasked");
    assert_eq!(links.poll_timeout(), Some(at_ms(1_000)));
    links.handle_timeout(at_ms(999));
    assert!(!links.has_control(LinkId(1)));
    links.handle_timeout(at_ms(1_000));
    assert_eq!(controls(&mut links, 1), [ControlFrame::Ping { token: 2 }]);
}

#[test]
fn a_stalled_link_has_one_ping_and_a_few_pongs_waiting() {
    let mut links = links();
    links.on_up(at_ms(0), &up(1, true, 1));
    for second in 1..100 {
        links.on_heard(at_ms(second * 1_000), LinkId(1));
        links.on_ping(LinkId(1), second);
        links.handle_timeout(at_ms(second * 1_000));
    }
    let waiting = controls(&mut links, 1);
    assert_eq!(
        waiting,
        [
            ControlFrame::Pong { token: 96 },
            ControlFrame::Pong { token: 97 },
            ControlFrame::Pong { token: 98 },
            ControlFrame::Pong { token: 99 },
            ControlFrame::Ping { token: 1 },
        ]
    );
}

#[test]
fn a_link_is_dead_three_seconds_after_its_last_frame() {
    let mut links = with_one(true, 1);
    links.on_heard(at_ms(500), LinkId(1));
    links.handle_timeout(at_ms(3_499));
    assert_eq!(events(&mut links), []);
    links.handle_timeout(at_ms(3_500));
    assert_eq!(
        events(&mut links),
        [
            close(1, Bye::Silent),
            LinkEvent::NeighbourDown { hub: HIGH }
        ]
    );
}

#[test]
fn of_one_dialler_the_newest_link_wins_once_it_answers() {
    let mut links = with_one(true, 1);
    links.on_up(at_ms(10), &up(2, true, 2));
    assert_eq!(events(&mut links), []);
    assert_eq!(
        links.link_to(HIGH),
        Some(LinkId(1)),
        "not before it answers"
    );
    answer(&mut links, at_ms(12), 2);
    let rtt = Duration::from_millis(2);
    assert_eq!(
        events(&mut links),
        [
            switched(2),
            close(1, Bye::Duplicate),
            LinkEvent::RttMeasured { hub: HIGH, rtt }
        ]
    );
    assert_eq!(links.iter().count(), 1);
}

#[test]
fn the_link_dialled_by_the_lower_hub_wins_over_one_dialled_by_the_higher() {
    // The high hub's link stands; ours comes and wins in spite of its lower number.
    let mut links = with_one(false, 9);
    links.on_up(at_ms(10), &up(2, true, 1));
    answer(&mut links, at_ms(12), 2);
    assert!(events(&mut links).contains(&close(1, Bye::Duplicate)));
    // Ours stands; the high hub's comes and loses, as soon as ours has answered again.
    links.on_up(at_ms(20), &up(3, false, 99));
    assert_eq!(events(&mut links), []);
    answer(&mut links, at_ms(22), 3);
    assert_eq!(
        events(&mut links),
        [],
        "an answer on the rival decides nothing"
    );
    answer(&mut links, at_ms(24), 2);
    assert!(events(&mut links).contains(&close(3, Bye::Duplicate)));
    assert_eq!(links.link_to(HIGH), Some(LinkId(2)));
}

#[test]
fn a_rival_wins_when_the_standing_link_does_not_answer_within_a_second() {
    let mut links = with_one(true, 1);
    links.handle_timeout(at_ms(1_000));
    let old_ping = controls(&mut links, 1);
    links.on_up(at_ms(1_100), &up(2, false, 1));
    // An answer to a ping from before the rival came proves nothing.
    assert_eq!(old_ping, [ControlFrame::Ping { token: 2 }]);
    links.on_pong(at_ms(1_200), LinkId(1), 2);
    assert_eq!(links.poll_timeout(), Some(at_ms(2_100)));
    links.handle_timeout(at_ms(2_099));
    assert_eq!(links.link_to(HIGH), Some(LinkId(1)));
    events(&mut links);
    links.handle_timeout(at_ms(2_100));
    assert_eq!(events(&mut links), [close(1, Bye::Silent), switched(2)]);
}

#[test]
fn further_rivals_do_not_give_the_standing_link_more_time() {
    let mut links = with_one(true, 1);
    links.on_up(at_ms(100), &up(2, false, 1));
    links.on_up(at_ms(900), &up(3, false, 2));
    links.on_heard(at_ms(1_000), LinkId(1));
    links.handle_timeout(at_ms(1_100));
    assert_eq!(events(&mut links), [close(1, Bye::Silent), switched(3)]);
    answer(&mut links, at_ms(1_101), 3);
    assert!(events(&mut links).contains(&close(2, Bye::Duplicate)));
}

#[test]
fn losing_one_of_two_links_is_a_switch_and_no_loss() {
    let mut links = with_one(true, 1);
    links.on_up(at_ms(10), &up(2, false, 1));
    links.on_down(at_ms(11), LinkId(1));
    assert_eq!(events(&mut links), [switched(2)]);
    links.on_bye(at_ms(12), LinkId(2), Bye::Silent);
    assert_eq!(
        events(&mut links),
        [
            close(2, Bye::Silent),
            LinkEvent::NeighbourDown { hub: HIGH }
        ]
    );
}

#[test]
fn a_later_life_closes_the_links_of_the_earlier_one_at_once() {
    let mut links = with_one(true, 5);
    let later = LinkUp {
        incarnation: life(1, 3),
        ..up(2, false, 1)
    };
    links.on_up(at_ms(10), &later);
    let known = life(1, 3);
    assert_eq!(
        events(&mut links),
        [
            close(1, Bye::StaleIncarnation { known }),
            LinkEvent::NeighbourUp {
                hub: HIGH,
                incarnation: known,
                link: LinkId(2)
            }
        ]
    );
}

#[test]
fn an_earlier_life_is_told_which_one_is_known() {
    let mut links = with_one(true, 5);
    let earlier = LinkUp {
        incarnation: life(0, 6),
        ..up(2, false, 1)
    };
    let known = life(0, 7);
    links.on_up(at_ms(10), &earlier);
    assert_eq!(
        events(&mut links),
        [close(2, Bye::StaleIncarnation { known })]
    );
    let known = life(3, 0);
    links.on_up_knowing(at_ms(10), &up(3, false, 2), Some(known));
    assert_eq!(
        events(&mut links),
        [close(3, Bye::StaleIncarnation { known })]
    );
    assert_eq!(links.link_to(HIGH), Some(LinkId(1)));
}

#[test]
fn a_raised_epoch_of_the_same_boot_keeps_its_links() {
    let mut links = with_one(true, 5);
    links.on_incarnation(HIGH, life(4, 7));
    assert_eq!(events(&mut links), []);
    // A link that still tells of the epoch before is a rival, not a stale one.
    links.on_up(at_ms(10), &up(2, true, 6));
    answer(&mut links, at_ms(11), 2);
    assert!(events(&mut links).contains(&close(1, Bye::Duplicate)));
    links.on_incarnation(HIGH, life(5, 1));
    let known = life(5, 1);
    assert_eq!(
        events(&mut links),
        [
            close(2, Bye::StaleIncarnation { known }),
            LinkEvent::NeighbourDown { hub: HIGH }
        ]
    );
}

#[test]
fn a_link_with_ourselves_is_closed_and_one_with_our_double_is_an_alarm() {
    let mut links = links();
    let own = LinkUp {
        hub: LOW,
        incarnation: life(0, 1),
        ..up(1, true, 1)
    };
    links.on_up(at_ms(0), &own);
    assert_eq!(events(&mut links), [close(1, Bye::SelfDial)]);
    let double = LinkUp {
        link: LinkId(2),
        incarnation: life(0, 2),
        ..own
    };
    links.on_up(at_ms(0), &double);
    assert_eq!(
        events(&mut links),
        [
            close(2, Bye::IdentityClash),
            LinkEvent::IdentityClash {
                incarnation: life(0, 2)
            }
        ]
    );
    assert_eq!(links.iter().count(), 0);
}

/// What may happen next between two hubs whose links come up and whose frames travel.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// This end hears that this link is up.
    Up { end: usize, link: usize },
    /// The oldest frame to this end on this link arrives.
    Arrive { end: usize, link: usize },
}

#[derive(Clone, PartialEq, Debug)]
enum Wire {
    Frame(ControlFrame),
    Closed(Bye),
}

/// Both ends of some links between `LOW` (0) and `HIGH` (1).
struct Pair {
    ends: [Links; 2],
    /// Per link: who dialled it, and its dial number.
    dials: Vec<(usize, u64)>,
    is_up: Vec<[bool; 2]>,
    /// Per link and end, what is on its way to that end.
    wires: Vec<[VecDeque<Wire>; 2]>,
    downs: usize,
}

impl Pair {
    fn new(dials: &[(usize, u64)]) -> Self {
        let ends = [LOW, HIGH].map(|hub| Links::new(hub, LinkConfig::default()));
        Pair {
            ends,
            dials: dials.to_vec(),
            is_up: vec![[false; 2]; dials.len()],
            wires: vec![Default::default(); dials.len()],
            downs: 0,
        }
    }

    fn replay(dials: &[(usize, u64)], steps: &[Step]) -> Self {
        let mut pair = Pair::new(dials);
        for step in steps {
            pair.take(*step);
        }
        pair
    }

    /// A dialler is up before the frames that it sends can be answered; an accepting end in its own time.
    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for link in 0..self.dials.len() {
            for end in 0..2 {
                if !self.is_up[link][end] {
                    steps.push(Step::Up { end, link });
                } else if !self.wires[link][end].is_empty() {
                    steps.push(Step::Arrive { end, link });
                }
            }
        }
        steps
    }

    fn take(&mut self, step: Step) {
        let now = at_ms(0);
        match step {
            Step::Up { end, link } => {
                self.is_up[link][end] = true;
                let (dialler, dial_number) = self.dials[link];
                let up = LinkUp {
                    link: LinkId(link as u64),
                    hub: [HIGH, LOW][end],
                    incarnation: life(0, 1 - end as u64),
                    dialed: (dialler == end).then_some(DialId(dial_number)),
                    dial_number,
                    version: PULLS_SINCE,
                };
                self.ends[end].on_up(now, &up);
            }
            Step::Arrive { end, link } => {
                let id = LinkId(link as u64);
                match self.wires[link][end].pop_front().unwrap() {
                    Wire::Frame(ControlFrame::Ping { token }) => self.ends[end].on_ping(id, token),
                    Wire::Frame(ControlFrame::Pong { token }) => {
                        self.ends[end].on_pong(now, id, token)
                    }
                    Wire::Frame(other) => panic!("nobody sends {other:?}"),
                    Wire::Closed(bye) => self.ends[end].on_bye(now, id, bye),
                }
            }
        }
        self.send();
    }

    fn send(&mut self) {
        for end in 0..2 {
            while let Some(event) = self.ends[end].poll_event() {
                match event {
                    LinkEvent::Close { link, bye } => {
                        self.wires[link.0 as usize][1 - end].push_back(Wire::Closed(bye));
                    }
                    LinkEvent::NeighbourDown { .. } => self.downs += 1,
                    _ => {}
                }
            }
            for link in 0..self.dials.len() {
                while let Some(frame) = self.ends[end].poll_control(LinkId(link as u64)) {
                    self.wires[link][1 - end].push_back(Wire::Frame(frame));
                }
            }
        }
    }

    /// All that decides what can still happen.
    fn state(&self) -> String {
        let mut text = String::new();
        for end in &self.ends {
            let _ = write!(text, "{:?}{:?}", end.links, end.neighbours);
        }
        let _ = write!(text, "{:?}{:?}{}", self.is_up, self.wires, self.downs);
        text
    }
}

/// Walks through every order in which links can come up and frames can arrive, and gives the number of
/// different states at rest.
fn explore(dials: &[(usize, u64)], winner: u64) -> (usize, usize) {
    let mut seen = HashSet::new();
    let mut ends = BTreeSet::new();
    let mut open = vec![Vec::new()];
    while let Some(steps) = open.pop() {
        let pair = Pair::replay(dials, &steps);
        if !seen.insert(pair.state()) {
            continue;
        }
        let next = pair.steps();
        if next.is_empty() {
            for end in &pair.ends {
                let left: Vec<LinkId> = end.iter().map(|view| view.link).collect();
                assert_eq!(left, [LinkId(winner)], "after {steps:?}");
            }
            assert_eq!(pair.downs, 0, "a neighbour was lost after {steps:?}");
            ends.insert(pair.state());
        }
        open.extend(
            next.into_iter()
                .map(|step| [steps.clone(), vec![step]].concat()),
        );
    }
    (seen.len(), ends.len())
}

#[test]
fn both_ends_keep_the_lower_hubs_link_in_every_order_of_a_simultaneous_dial() {
    let (states, ends) = explore(&[(0, 3), (1, 8)], 0);
    assert!(states > 100 && ends > 0, "{states} states, {ends} at rest");
    explore(&[(1, 8), (0, 3)], 1);
}

#[test]
fn both_ends_keep_the_newest_link_of_one_dialler_in_every_order() {
    explore(&[(0, 1), (0, 2)], 1);
    explore(&[(1, 2), (1, 1)], 0);
}

#[test]
fn both_ends_agree_when_one_has_closed_a_link_before_the_other_hears_of_the_rival() {
    // Link 1 is open at the low end alone when that end closes it; link 0 must survive at both ends in
    // whatever order the rest happens.
    for first in [0, 1] {
        let dials = [(0, 1), (1, 1)];
        let mut pair = Pair::new(&dials);
        pair.take(Step::Up {
            end: 0,
            link: first,
        });
        pair.take(Step::Up {
            end: 1,
            link: first,
        });
        pair.ends[0].close_link(at_ms(0), LinkId(first as u64), Bye::BadFrame);
        pair.send();
        let other = 1 - first;
        pair.take(Step::Up {
            end: 0,
            link: other,
        });
        pair.take(Step::Up {
            end: 1,
            link: other,
        });
        while let Some(step) = pair.steps().pop() {
            pair.take(step);
        }
        for end in &pair.ends {
            let left: Vec<LinkId> = end.iter().map(|view| view.link).collect();
            assert_eq!(left, [LinkId(other as u64)]);
        }
    }
}

#[test]
fn both_ends_agree_on_one_of_three_links_in_many_random_orders() {
    let dials = [(0, 1), (1, 1), (0, 2)];
    let mut rng = super::super::rng::Rng::new(3);
    for _ in 0..2_000 {
        let mut pair = Pair::new(&dials);
        loop {
            let steps = pair.steps();
            if steps.is_empty() {
                break;
            }
            pair.take(steps[rng.below(steps.len() as u64) as usize]);
        }
        for end in &pair.ends {
            assert_eq!(
                end.link_to([HIGH, LOW][usize::from(end.me == HIGH)]),
                Some(LinkId(2))
            );
            assert_eq!(end.iter().count(), 1);
        }
        assert_eq!(pair.downs, 0);
    }
}

#[test]
fn links_with_one_hub_are_few_and_one_that_never_answers_goes() {
    let mut links = links();
    for number in 1..=100 {
        links.on_up(at_ms(number), &up(number, false, number));
        links.on_heard(at_ms(number), LinkId(number));
    }
    assert_eq!(links.link_count(), Links::MAX_PER_HUB);
    let full = |event: &LinkEvent| matches!(event, LinkEvent::Close { bye: Bye::Full, .. });
    assert_eq!(events(&mut links).iter().filter(|e| full(e)).count(), 96);
    // They talk without end, and answer nothing.
    for ms in (500..10_000).step_by(500) {
        for link in 1..=4 {
            links.on_heard(at_ms(ms), LinkId(link));
            controls(&mut links, link);
        }
        links.handle_timeout(at_ms(ms));
    }
    assert_eq!((links.link_count(), links.neighbour_count()), (0, 0));
    let silent = |event: &LinkEvent| {
        matches!(
            event,
            LinkEvent::Close {
                bye: Bye::Silent,
                ..
            }
        )
    };
    assert_eq!(events(&mut links).iter().filter(|e| silent(e)).count(), 4);
}
