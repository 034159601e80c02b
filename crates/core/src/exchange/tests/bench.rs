//! One exchange on the bench, that is fed frame by frame.

use std::sync::Arc;

use bytes::Bytes;

use super::world::{Book, as_it_comes, hub, life, network, peer};
use crate::api::{Hop, Route, Routes, Signal, SignalFailure, Source};
use crate::exchange::{Effect, Exchange, ExchangeConfig, Sent};
use crate::frames::{
    AckFrame, DataFrame, FrameHead, PeerSignal, RefusedSignal, RefusedWhy, SignalBody, SignalFrame,
    WIRE_LEVEL,
};
use crate::ids::{LinkId, Moment, SignalKind};

pub(super) const NOW: Moment = Moment(5_000_000);
pub(super) const LINK: LinkId = LinkId(1);
pub(super) const OTHER_LINK: LinkId = LinkId(2);

/// Hub 0, with hub 1 by [`LINK`] and hub 2 by [`OTHER_LINK`]; peer 0 at hub 0, peers 1 and 2 at theirs.
pub(super) struct Bench {
    pub(super) exchange: Exchange,
    pub(super) book: Book,
}

pub(super) fn bench() -> Bench {
    bench_with(ExchangeConfig::default())
}

pub(super) fn bench_with(config: ExchangeConfig) -> Bench {
    let mut book = Book::default();
    for n in 0..3 {
        book.hold(hub(n), &peer(n));
    }
    let mut exchange = Exchange::new(hub(0), life(1), config);
    exchange.set_routes(NOW, routes(&[(1, LINK), (2, OTHER_LINK)]));
    Bench { exchange, book }
}

pub(super) fn routes(ways: &[(usize, LinkId)]) -> Arc<Routes> {
    let mut routes = Routes::default();
    for &(n, link) in ways {
        let hop = Hop {
            link,
            neighbour: hub(n),
            hops: 1,
        };
        let incarnation = life(1);
        let route = Route {
            hop,
            incarnation,
            part: 0,
            level: WIRE_LEVEL,
        };
        routes.by_hub.insert(hub(n), route);
    }
    Arc::new(routes)
}

impl Bench {
    /// A signal of peer 1 to peer 0; its kind is its number.
    pub(super) fn signal(&self, seq: u64, base: u64) -> SignalFrame {
        let (from, target) = (peer(1), peer(0));
        let (source, found) = (self.book.winners[&from], self.book.winners[&target]);
        SignalFrame {
            head: FrameHead {
                ttl: 5,
                source: hub(1),
                source_incarnation: life(1),
                dest: hub(0),
                dest_incarnation: life(1),
            },
            seq,
            base,
            body: SignalBody::Peer(PeerSignal {
                network: network(),
                from,
                from_claim: source.claim,
                from_seq: source.seq,
                target,
                target_claim: found.claim,
                kind: SignalKind(u8::try_from(seq % 256).expect("a byte")),
                payload: Bytes::from_static(b"x"),
            }),
        }
    }

    pub(super) fn receive(&mut self, frame: SignalFrame) {
        self.exchange.handle_signal(NOW, &self.book, frame);
    }

    /// A frame comes by a link, for whatever hub.
    pub(super) fn arrive(&mut self, frame: DataFrame, link: LinkId) {
        let frame = as_it_comes(&frame);
        self.exchange.take_in(NOW, &self.book, frame, link);
    }

    /// Takes signal `seq` in, and gives back the numbers delivered.
    pub(super) fn take(&mut self, seq: u64, base: u64) -> Vec<u8> {
        self.receive(self.signal(seq, base));
        self.deliveries()
    }

    pub(super) fn effects(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.exchange.poll_effect()).collect()
    }

    pub(super) fn deliveries(&mut self) -> Vec<u8> {
        let kind = |effect| match effect {
            Effect::Deliver(delivery) => Some(delivery.kind.0),
            _ => None,
        };
        self.effects().into_iter().filter_map(kind).collect()
    }

    pub(super) fn send(&mut self, kind: u8) -> Result<Sent, SignalFailure> {
        self.send_to(1, kind)
    }

    pub(super) fn send_to(&mut self, to: usize, kind: u8) -> Result<Sent, SignalFailure> {
        let from = Source {
            claim: self.book.winners[&peer(0)].claim,
            network: network(),
            peer: peer(0),
        };
        let signal = Signal {
            source: &from,
            target: &peer(to),
            kind: SignalKind(kind),
            payload: Bytes::new(),
            wait: true,
        };
        self.exchange.send(NOW, &self.book, signal, 1, None)
    }

    pub(super) fn acknowledge(&mut self, upto: u64, refused: &[u64]) {
        let why = RefusedWhy::Overload;
        let refused = refused
            .iter()
            .map(|&seq| RefusedSignal { seq, why })
            .collect();
        let frame = ack(upto, refused);
        self.exchange.handle_ack(NOW, &self.book, frame);
    }

    /// The acknowledgement that is sent once time is up.
    pub(super) fn owed(&mut self) -> (u64, Vec<RefusedSignal>) {
        let due = self.exchange.poll_timeout().expect("something owed");
        self.exchange.handle_timeout(due, &self.book);
        let acks = self
            .effects()
            .into_iter()
            .filter_map(|effect| match effect {
                Effect::Link {
                    frame: DataFrame::Ack(ack),
                    ..
                } => Some((ack.upto, ack.refused)),
                _ => None,
            });
        acks.last().expect("an acknowledgement")
    }
}

/// From hub 1 to hub 0.
pub(super) fn ack(upto: u64, refused: Vec<RefusedSignal>) -> AckFrame {
    AckFrame {
        head: FrameHead {
            ttl: 5,
            source: hub(1),
            source_incarnation: life(1),
            dest: hub(0),
            dest_incarnation: life(1),
        },
        upto,
        refused,
    }
}

pub(super) fn is_counted(effects: &[Effect], label: &'static str) -> bool {
    effects.contains(&Effect::Counted(label))
}
