//! Random histories of two and three hubs: lost, doubled and late frames, links that come and go, incarnations
//! that end, peers that move. The cases are drawn from a fixed seed: every run is the same.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::world::{MS, Weather, World};
use crate::exchange::ExchangeConfig;

const PEERS: usize = 6;

#[derive(Clone, Debug)]
enum Op {
    Send {
        from: usize,
        to: usize,
    },
    Burst {
        from: usize,
        to: usize,
        count: u8,
    },
    Message {
        from: usize,
        to: usize,
    },
    Pass {
        ms: u64,
    },
    Cut {
        link: usize,
    },
    Join {
        link: usize,
    },
    Weather {
        lost: u64,
        doubled: u64,
        jitter_ms: u64,
    },
    Rebirth {
        hub: usize,
    },
    Restart {
        hub: usize,
    },
    Vanish {
        peer: usize,
    },
    Appear {
        peer: usize,
        hub: usize,
    },
    Choke {
        hub: Option<usize>,
    },
}

/// What may happen while every peer stays at its hub and every hub lives.
fn calm(hubs: usize) -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..PEERS, 0..PEERS).prop_map(|(from, to)| Op::Send { from, to }),
        2 => (0..PEERS, 0..PEERS, 2..12u8).prop_map(|(from, to, count)| Op::Burst { from, to, count }),
        1 => (0..hubs, 0..hubs).prop_map(|(from, to)| Op::Message { from, to }),
        5 => (0..1500u64).prop_map(|ms| Op::Pass { ms }),
        1 => (1500..8000u64).prop_map(|ms| Op::Pass { ms }),
        2 => (0..hubs).prop_map(|link| Op::Cut { link }),
        4 => (0..hubs).prop_map(|link| Op::Join { link }),
        2 => (0..40u64, 0..40u64, 0..300u64)
            .prop_map(|(lost, doubled, jitter_ms)| Op::Weather { lost, doubled, jitter_ms }),
    ]
}

/// What else may happen.
fn upheaval(hubs: usize) -> impl Strategy<Value = Op> {
    prop_oneof![
        (0..hubs).prop_map(|hub| Op::Rebirth { hub }),
        (0..hubs).prop_map(|hub| Op::Restart { hub }),
        (0..PEERS).prop_map(|peer| Op::Vanish { peer }),
        (0..PEERS, 0..hubs).prop_map(|(peer, hub)| Op::Appear { peer, hub }),
        (0..PEERS, 0..hubs).prop_map(|(peer, hub)| Op::Appear { peer, hub }),
        proptest::option::of(0..hubs).prop_map(|hub| Op::Choke { hub }),
    ]
}

struct History {
    world: World,
    hubs: usize,
    kinds: [[u8; PEERS]; PEERS],
    messages: u64,
}

impl History {
    /// All hubs linked to each other; windows and bounds so small that they are met.
    fn new(hubs: usize, seed: u64) -> Self {
        let config = ExchangeConfig {
            window_bytes: 10 * 150,
            hub_reserve: 200,
            ack_every: 3,
            early_bytes: 4 * 150,
            wait_per_sender: 5,
            wait_per_target: 7,
            wait_total: 12,
            send_windows: hubs,
            ..ExchangeConfig::default()
        };
        let mut history = History {
            world: World::new(hubs, PEERS, config, seed),
            hubs,
            kinds: [[0; PEERS]; PEERS],
            messages: 0,
        };
        (0..hubs).for_each(|link| history.run(&Op::Join { link }));
        history
    }

    /// Link `n` lies between hub `n` and the next; two hubs have one link only.
    fn ends(&self, link: usize) -> (usize, usize) {
        let next = (link + 1) % self.hubs;
        (link.min(next), link.max(next))
    }

    fn send(&mut self, from: usize, to: usize) {
        let kind = self.kinds[from][to];
        let is_there = |n| self.world.book.winners.contains_key(&super::world::peer(n));
        if kind == u8::MAX || from == to || !is_there(from) {
            return;
        }
        self.kinds[from][to] += 1;
        // A refusal is an answer too: the sender was told, and nothing is owed.
        let _ = self.world.send(from, to, kind);
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Send { from, to } => self.send(from, to),
            Op::Burst { from, to, count } => (0..count).for_each(|_| self.send(from, to)),
            Op::Message { from, to } => {
                self.messages += 1;
                let (now, payload) = (self.world.now, self.messages.to_be_bytes().to_vec());
                let to = super::world::hub(to);
                self.world.hubs[from].send_hub_message(now, to, payload.into(), self.messages);
                self.world.settle();
            }
            Op::Pass { ms } => self.world.run(Duration::from_millis(ms)),
            Op::Cut { link } => {
                let (a, b) = self.ends(link);
                self.world.cut(a, b);
            }
            Op::Join { link } => {
                let (a, b) = self.ends(link);
                self.world.join(a, b);
            }
            Op::Weather {
                lost,
                doubled,
                jitter_ms,
            } => {
                self.world.weather = Weather {
                    lost,
                    doubled,
                    jitter_ms,
                    full: self.world.chance(10),
                };
            }
            Op::Rebirth { hub } => self.world.rebirth(hub),
            Op::Restart { hub } => self.world.restart(hub),
            Op::Vanish { peer } => self.world.vanish(peer),
            Op::Appear { peer, hub } => self.world.appear(peer, hub),
            Op::Choke { hub } => self.world.choked = hub,
        }
    }

    /// The links heal; in due course all accounts are settled.
    fn finish(&mut self) {
        self.world.weather = Weather::default();
        for link in 0..self.hubs {
            self.run(&Op::Join { link });
        }
        self.world.run(MS * 5_500);
        self.world.check_accounts();
    }

    fn check_order(&self) {
        for from in 0..PEERS {
            for to in 0..PEERS {
                let kinds = self.world.kinds_delivered(from, to);
                assert!(kinds.is_sorted(), "{from} to {to}: {kinds:?}");
            }
        }
    }

    fn check_messages(&self) {
        let mut came: Vec<&[u8]> = self.world.messages.iter().map(|(_, m)| &m[..]).collect();
        came.sort_unstable();
        assert!(
            came.windows(2).all(|two| two[0] != two[1]),
            "a message came twice"
        );
        let mut ended = came.len() + self.world.messages_failed.len();
        let failed = |m: &&&[u8]| {
            let failed = self.world.messages_failed.iter();
            failed.clone().any(|token| token.to_be_bytes() == ***m)
        };
        ended -= came.iter().filter(failed).count();
        assert_eq!(ended as u64, self.messages, "a message is unaccounted for");
    }
}

fn settings(cases: u32, seed: u64) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn live(hubs: usize, seed: u64, ops: &[Op]) -> History {
    let mut history = History::new(hubs, seed);
    ops.iter().for_each(|op| history.run(op));
    history.finish();
    history
}

proptest! {
    #![proptest_config(settings(400, 11))]

    #[test]
    fn two_hubs_lose_nothing_double_nothing_and_keep_the_order(
        seed: u64, ops in proptest::collection::vec(calm(2), 1..120),
    ) {
        let history = live(2, seed, &ops);
        history.check_order();
        history.check_messages();
    }

    #[test]
    fn three_hubs_lose_nothing_double_nothing_and_keep_the_order_across_reroutes(
        seed: u64, ops in proptest::collection::vec(calm(3), 1..120),
    ) {
        let history = live(3, seed, &ops);
        history.check_order();
        history.check_messages();
    }

    #[test]
    fn every_signal_is_accounted_for_while_lives_end_and_peers_move(
        seed: u64,
        ops in proptest::collection::vec(prop_oneof![4 => calm(3), 1 => upheaval(3)], 1..120),
    ) {
        live(3, seed, &ops);
    }

    #[test]
    fn the_same_history_gives_the_same_trace(
        seed: u64,
        ops in proptest::collection::vec(prop_oneof![4 => calm(3), 1 => upheaval(3)], 1..40),
    ) {
        let (a, b) = (live(3, seed, &ops).world, live(3, seed, &ops).world);
        assert_eq!(a.delivered, b.delivered);
        assert_eq!(a.failed, b.failed);
        assert_eq!((a.counted, a.frames), (b.counted, b.frames));
    }
}
