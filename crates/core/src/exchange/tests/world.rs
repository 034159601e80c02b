//! A few exchanges, the links between them, one directory that all of them read, and a clock.
//!
//! Frames on a link may be lost, doubled and held up, by a seeded generator. Every signal is known by its
//! sender, its target and its kind, which a test never uses twice for the two.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::api::{Delivery, Hop, Route, Routes, Sender, Signal, SignalFailure, Source, Unread};
use crate::exchange::{Effect, Exchange, ExchangeConfig, Found, Resolve, Sent, Vouch, ttl_for};
use crate::frames::{DataFrame, RawFrame, RefusedWhy, WIRE_LEVEL};
use crate::ids::{
    ClaimNo, Dialect, HubId, Incarnation, LinkId, Moment, NetworkKey, PeerId, SignalKind,
};
use crate::wire;

pub(super) const MS: Duration = Duration::from_millis(1);

pub(super) fn hub(n: usize) -> HubId {
    HubId([u8::try_from(n).expect("few hubs"); 20])
}

pub(super) fn life(epoch: u32) -> Incarnation {
    Incarnation { epoch, nonce: 7 }
}

pub(super) fn network() -> NetworkKey {
    NetworkKey::new(Dialect::Pigeon, "n").expect("a name")
}

pub(super) fn peer(n: usize) -> PeerId {
    PeerId::new(&format!("p{n}")).expect("an id")
}

/// Who holds what: the same for all hubs, and always right, but for what a test makes wrong.
#[derive(Default)]
pub(super) struct Book {
    pub(super) winners: BTreeMap<PeerId, Found>,
    held: BTreeSet<(HubId, PeerId, ClaimNo)>,
    pub(super) left: BTreeSet<(HubId, PeerId, ClaimNo)>,
    /// What our copies of all hubs' claims reach to.
    pub(super) head: u64,
    claims: u64,
}

impl Book {
    pub(super) fn hold(&mut self, at: HubId, who: &PeerId) -> ClaimNo {
        self.drop(who);
        self.claims += 1;
        self.head += 1;
        let claim = ClaimNo(self.claims);
        self.held.insert((at, who.clone(), claim));
        let seq = self.head;
        let found = Found {
            hub: at,
            claim,
            seq,
        };
        self.winners.insert(who.clone(), found);
        claim
    }

    pub(super) fn drop(&mut self, who: &PeerId) -> Option<Found> {
        let found = self.winners.remove(who)?;
        let entry = (found.hub, who.clone(), found.claim);
        self.held.remove(&entry);
        self.left.insert(entry);
        Some(found)
    }

    /// The holder is hidden, its claim forgotten without a trace.
    pub(super) fn forget(&mut self, who: &PeerId) {
        if let Some(found) = self.drop(who) {
            self.left.remove(&(found.hub, who.clone(), found.claim));
        }
    }
}

impl Resolve for Book {
    fn resolve(&self, key: &NetworkKey, who: &PeerId) -> Option<Found> {
        (*key == network())
            .then(|| self.winners.get(who).copied())
            .flatten()
    }

    fn vouches(&self, at: &HubId, _: &NetworkKey, who: &PeerId, claim: ClaimNo, seq: u64) -> Vouch {
        match self.held.contains(&(*at, who.clone(), claim)) {
            true => Vouch::Holds,
            false if seq > self.head => Vouch::NotYet,
            false => Vouch::Gone,
        }
    }

    fn left_lately(&self, at: &HubId, _: &NetworkKey, who: &PeerId, claim: ClaimNo) -> bool {
        self.left.contains(&(*at, who.clone(), claim))
    }

    fn network_of(&self, claim: ClaimNo) -> Option<NetworkKey> {
        let held = self.held.iter().any(|(_, _, held)| *held == claim);
        held.then(network)
    }
}

/// What the links do to frames, in parts of 100, and for how long they may hold one up.
#[derive(Clone, Copy, Default)]
pub(super) struct Weather {
    pub(super) lost: u64,
    pub(super) doubled: u64,
    pub(super) jitter_ms: u64,
    /// The links have no space for anything.
    pub(super) full: bool,
}

/// A signal, told by sender, target and kind.
pub(super) type Tag = (PeerId, PeerId, u8);

/// A frame as it is at the other end of a link.
pub(super) fn as_it_comes(frame: &DataFrame) -> RawFrame {
    let mut message = BytesMut::new();
    wire::encode_data(frame, &mut message);
    let frames = wire::split_data(&message.freeze());
    frames.expect("it can be read").remove(0)
}

pub(super) struct World {
    pub(super) now: Moment,
    pub(super) hubs: Vec<Exchange>,
    pub(super) lives: Vec<Incarnation>,
    pub(super) book: Book,
    pub(super) weather: Weather,
    /// Receivers that do not read, and what they have not read.
    pub(super) unread: BTreeMap<PeerId, Vec<(Tag, Unread)>>,
    /// The receivers at this hub take no more.
    pub(super) choked: Option<usize>,
    config: ExchangeConfig,
    links: BTreeMap<LinkId, (usize, usize)>,
    made: u64,
    flight: BTreeMap<(Moment, u64), (usize, LinkId, DataFrame)>,
    rng: u64,
    senders: BTreeMap<(usize, ClaimNo), PeerId>,
    /// And the hub that accepted it.
    pub(super) accepted: BTreeMap<Tag, usize>,
    pub(super) delivered: Vec<Tag>,
    pub(super) failed: Vec<(Tag, SignalFailure)>,
    /// What was published, by the hub that it came to and its kind.
    pub(super) published: Vec<(usize, u8)>,
    pub(super) unpublished: Vec<SignalFailure>,
    /// The kinds of those failures that were told as following another.
    pub(super) following: Vec<u8>,
    pub(super) messages: Vec<(usize, Bytes)>,
    pub(super) messages_failed: Vec<u64>,
    pub(super) counted: BTreeMap<&'static str, usize>,
    pub(super) frames: usize,
}

impl World {
    /// Hubs without links; peer `n` of each is at hub `n % hubs`.
    pub(super) fn new(hubs: usize, peers: usize, config: ExchangeConfig, seed: u64) -> Self {
        let exchange = |n| Exchange::new(hub(n), life(1), config.clone());
        let mut world = World {
            now: Moment(1_000_000),
            hubs: (0..hubs).map(exchange).collect(),
            lives: vec![life(1); hubs],
            book: Book::default(),
            weather: Weather::default(),
            unread: BTreeMap::new(),
            choked: None,
            config,
            links: BTreeMap::new(),
            made: 0,
            flight: BTreeMap::new(),
            rng: seed | 1,
            senders: BTreeMap::new(),
            accepted: BTreeMap::new(),
            delivered: Vec::new(),
            failed: Vec::new(),
            published: Vec::new(),
            unpublished: Vec::new(),
            following: Vec::new(),
            messages: Vec::new(),
            messages_failed: Vec::new(),
            counted: BTreeMap::new(),
            frames: 0,
        };
        for n in 0..peers {
            world.appear(n, n % hubs);
        }
        world
    }

    /// Hubs 0, 1, … in a line, all links up.
    pub(super) fn line(hubs: usize, peers: usize) -> Self {
        let mut world = World::new(hubs, peers, ExchangeConfig::default(), 1);
        for n in 1..hubs {
            world.join(n - 1, n);
        }
        world
    }

    pub(super) fn join(&mut self, a: usize, b: usize) {
        self.cut(a, b);
        self.made += 1;
        self.links.insert(LinkId(self.made), (a, b));
        self.publish_routes();
    }

    /// The link between two hubs.
    pub(super) fn link(&self, a: usize, b: usize) -> LinkId {
        let link = self.links.iter().find(|(_, ends)| **ends == (a, b));
        *link.expect("they are linked").0
    }

    /// Takes the link down, with all that is under way on it.
    pub(super) fn cut(&mut self, a: usize, b: usize) {
        self.links.retain(|_, ends| *ends != (a, b));
        let links = &self.links;
        self.flight
            .retain(|_, (_, link, _)| links.contains_key(link));
        self.publish_routes();
    }

    pub(super) fn publish_routes(&mut self) {
        for n in 0..self.hubs.len() {
            let routes = self.routes_of(n);
            self.hubs[n].set_routes(self.now, Arc::new(routes));
        }
        self.settle();
    }

    fn routes_of(&self, from: usize) -> Routes {
        let mut routes = Routes {
            level: WIRE_LEVEL,
            ..Routes::default()
        };
        let mut queue = VecDeque::from([(from, None::<Hop>)]);
        while let Some((at, first)) = queue.pop_front() {
            for (&link, &(a, b)) in &self.links {
                let next = if a == at {
                    b
                } else if b == at {
                    a
                } else {
                    continue;
                };
                if next == from || routes.by_hub.contains_key(&hub(next)) {
                    continue;
                }
                let hop = first.map_or(
                    Hop {
                        link,
                        neighbour: hub(next),
                        hops: 1,
                    },
                    |hop| Hop {
                        hops: hop.hops + 1,
                        ..hop
                    },
                );
                let incarnation = self.lives[next];
                let route = Route {
                    hop,
                    incarnation,
                    part: 0,
                    level: WIRE_LEVEL,
                };
                routes.by_hub.insert(hub(next), route);
                queue.push_back((next, Some(hop)));
            }
        }
        routes
    }

    /// The peer is at this hub from now on, and nowhere else.
    pub(super) fn appear(&mut self, n: usize, at: usize) {
        let claim = self.book.hold(hub(at), &peer(n));
        self.senders.insert((at, claim), peer(n));
        for exchange in &mut self.hubs {
            exchange.on_appeared(self.now, &self.book, &network(), &peer(n));
        }
        self.settle();
    }

    pub(super) fn vanish(&mut self, n: usize) {
        self.book.drop(&peer(n));
    }

    /// The hub's incarnation is followed by another, in the same process.
    pub(super) fn rebirth(&mut self, n: usize) {
        self.lives[n].epoch += 1;
        self.hubs[n].set_incarnation(self.now, self.lives[n]);
        self.publish_routes();
    }

    /// The hub starts anew and has forgotten all; what its peers had sent is nobody's any more.
    pub(super) fn restart(&mut self, n: usize) {
        self.lives[n].epoch += 1;
        self.hubs[n] = Exchange::new(hub(n), self.lives[n], self.config.clone());
        let here = |p: &PeerId| self.book.winners.get(p).is_some_and(|f| f.hub == hub(n));
        let local: Vec<PeerId> = self
            .book
            .winners
            .keys()
            .filter(|p| here(p))
            .cloned()
            .collect();
        self.accepted.retain(|_, at| *at != n);
        for who in local {
            let claim = self.book.hold(hub(n), &who);
            self.senders.insert((n, claim), who);
        }
        self.publish_routes();
    }

    pub(super) fn send(&mut self, from: usize, to: usize, kind: u8) -> Result<Sent, SignalFailure> {
        self.send_with(from, to, kind, Bytes::from_static(b"x"), true)
    }

    pub(super) fn send_with(
        &mut self,
        from: usize,
        to: usize,
        kind: u8,
        payload: Bytes,
        wait: bool,
    ) -> Result<Sent, SignalFailure> {
        let found = self.book.winners[&peer(from)];
        let at = usize::from(found.hub.0[0]);
        let source = Source {
            claim: found.claim,
            network: network(),
            peer: peer(from),
        };
        let signal = Signal {
            source: &source,
            target: &peer(to),
            kind: SignalKind(kind),
            payload,
            wait,
        };
        let sent = self.hubs[at].send(self.now, &self.book, signal, found.seq, None);
        let tag = (peer(from), peer(to), kind);
        if sent.is_ok() {
            let before = self.accepted.insert(tag.clone(), at);
            assert_eq!(before, None, "a tag was used twice");
        }
        if let Ok(Sent::Local(_)) = sent {
            self.delivered.push(tag);
        }
        self.settle();
        sent
    }

    /// A peer publishes something at these hubs.
    pub(super) fn publish(
        &mut self,
        from: usize,
        kind: u8,
        payload: &[u8],
        at: &[usize],
    ) -> Result<(), SignalFailure> {
        let found = self.book.winners[&peer(from)];
        let source = Source {
            claim: found.claim,
            network: network(),
            peer: peer(from),
        };
        let hubs: Vec<HubId> = at.iter().map(|n| hub(*n)).collect();
        let here = &mut self.hubs[usize::from(found.hub.0[0])];
        let published = here.publish(
            self.now,
            &source,
            found.seq,
            SignalKind(kind),
            payload,
            &hubs,
        );
        self.settle();
        published
    }

    /// The local target of an accepted signal turned out not to be there, although its claim is.
    pub(super) fn find_absent(&mut self, from: usize, to: usize, kind: u8) {
        let found = self.book.winners[&peer(from)];
        let at = usize::from(found.hub.0[0]);
        let source = Source {
            claim: found.claim,
            network: network(),
            peer: peer(from),
        };
        let refused = Delivery {
            to: self.book.winners[&peer(to)].claim,
            network: network(),
            from: peer(from),
            sender: Sender::Here(found.claim),
            target: peer(to),
            kind: SignalKind(kind),
            payload: Bytes::from_static(b"x"),
        };
        self.delivered.pop();
        let waits =
            self.hubs[at].wait_for_another(self.now, &self.book, &source, found.seq, refused);
        assert_eq!(waits, Ok(()));
        self.settle();
    }

    /// Does all that the exchanges want done.
    pub(super) fn settle(&mut self) {
        for n in 0..self.hubs.len() {
            while let Some(effect) = self.hubs[n].poll_effect() {
                self.carry_out(n, effect);
            }
        }
    }

    fn carry_out(&mut self, n: usize, effect: Effect) {
        match effect {
            Effect::Link { link, frame } => self.transmit(n, link, frame),
            Effect::Deliver(delivery) => {
                let holder = self.book.winners.get(&delivery.target);
                let result = match holder {
                    _ if self.choked == Some(n) => Err(RefusedWhy::Overload),
                    Some(f) if f.hub == hub(n) && f.claim == delivery.to => Ok(()),
                    _ => Err(RefusedWhy::NotHere),
                };
                if result.is_ok() {
                    self.take(delivery);
                }
                self.hubs[n].settle(result);
            }
            Effect::Publish(publication) => {
                self.published.push((n, publication.kind.0));
                self.hubs[n].settle(match self.choked == Some(n) {
                    true => Err(RefusedWhy::Overload),
                    false => Ok(()),
                });
            }
            Effect::Unpublished(unpublished) => self.unpublished.push(unpublished.why),
            Effect::HubMessage { payload, .. } => self.messages.push((n, payload)),
            Effect::Failed(failed) | Effect::Returned(failed) => {
                let sender = self.senders[&(n, failed.source)].clone();
                if failed.repeats_previous {
                    self.following.push(failed.kind.0);
                }
                self.failed
                    .push(((sender, failed.target, failed.kind.0), failed.why));
            }
            Effect::HubMessageFailed { token, .. } => self.messages_failed.push(token),
            Effect::Forged { .. } => {}
            Effect::Counted(label) => *self.counted.entry(label).or_default() += 1,
        }
    }

    fn take(&mut self, delivery: Delivery) {
        let tag = (delivery.from, delivery.target.clone(), delivery.kind.0);
        let (to, kind) = (delivery.to, delivery.kind);
        match (self.unread.get_mut(&delivery.target), delivery.sender) {
            (Some(unread), Sender::There(sender)) => {
                unread.push((tag, Unread { sender, to, kind }));
            }
            _ => self.delivered.push(tag),
        }
    }

    /// The peer reads nothing from now on.
    pub(super) fn read_no_more(&mut self, n: usize) {
        self.unread.insert(peer(n), Vec::new());
    }

    /// The peer at this hub is gone, with what it has not read.
    pub(super) fn leave_unread(&mut self, n: usize, at: usize) {
        self.vanish(n);
        let unread = self.unread.remove(&peer(n)).expect("it does not read");
        let unread: Vec<Unread> = unread.into_iter().map(|(_, unread)| unread).collect();
        self.hubs[at].return_unread(self.now, &peer(n), &unread);
        self.settle();
    }

    fn transmit(&mut self, from: usize, link: LinkId, frame: DataFrame) {
        let Some(&(a, b)) = self.links.get(&link) else {
            return;
        };
        let most = u8::try_from(self.hubs.len()).expect("few hubs");
        assert!(frame.head().ttl <= ttl_for(most));
        self.frames += 1;
        if self.weather.full {
            return self.hubs[from].on_dropped(&frame);
        }
        let to = if a == from { b } else { a };
        let copies = 1 + usize::from(self.chance(self.weather.doubled));
        for _ in 0..copies {
            if self.chance(self.weather.lost) {
                continue;
            }
            let held_up = self.random() % (self.weather.jitter_ms * 1000 + 1);
            let at = Moment(self.now.0 + 1000 + held_up);
            let place = (at, self.frames as u64 * 2 + self.random() % 2);
            self.flight.insert(place, (to, link, frame.clone()));
        }
    }

    pub(super) fn chance(&mut self, in_100: u64) -> bool {
        self.random() % 100 < in_100
    }

    /// The next of a xorshift sequence.
    fn random(&mut self) -> u64 {
        self.rng ^= self.rng << 13;
        self.rng ^= self.rng >> 7;
        self.rng ^= self.rng << 17;
        self.rng >> 11
    }

    /// Lets this time pass, and all that happens in it.
    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let arrival = self.flight.first_key_value().map(|((at, _), _)| *at);
            let timeouts = self.hubs.iter().filter_map(Exchange::poll_timeout);
            let Some(next) = timeouts.chain(arrival).min().filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(next);
            self.step(arrival);
        }
        self.now = end;
    }

    fn step(&mut self, arrival: Option<Moment>) {
        if arrival.is_some_and(|at| at <= self.now) {
            let ((_, _), (to, link, frame)) = self.flight.pop_first().expect("a frame");
            let frame = as_it_comes(&frame);
            self.hubs[to].take_in(self.now, &self.book, frame, link);
        }
        for exchange in &mut self.hubs {
            if exchange.poll_timeout().is_some_and(|at| at <= self.now) {
                exchange.handle_timeout(self.now, &self.book);
                let next = exchange.poll_timeout();
                assert!(next.is_none_or(|at| at > self.now), "a timeout stays due");
            }
        }
        self.settle();
    }

    pub(super) fn kinds_delivered(&self, from: usize, to: usize) -> Vec<u8> {
        let tags = self.delivered.iter();
        tags.filter(|(a, b, _)| *a == peer(from) && *b == peer(to))
            .map(|(_, _, kind)| *kind)
            .collect()
    }

    pub(super) fn failures(&self) -> Vec<(u8, SignalFailure)> {
        self.failed
            .iter()
            .map(|((_, _, kind), why)| (*kind, *why))
            .collect()
    }

    pub(super) fn count(&self, label: &str) -> usize {
        self.counted.get(label).copied().unwrap_or(0)
    }

    /// Each accepted signal ended once, in delivery or in failure; none came twice; nothing is left.
    pub(super) fn check_accounts(&self) {
        let mut came = BTreeSet::new();
        for tag in &self.delivered {
            assert!(came.insert(tag), "delivered twice: {tag:?}");
        }
        let mut told = BTreeSet::new();
        for (tag, why) in &self.failed {
            assert!(told.insert(tag), "failed twice: {tag:?}");
            let late = *why == SignalFailure::Unknown;
            assert!(
                late || !came.contains(tag),
                "delivered, failed as {why:?}: {tag:?}"
            );
        }
        for tag in self.accepted.keys() {
            assert!(
                came.contains(tag) || told.contains(tag),
                "unaccounted: {tag:?}"
            );
        }
        for exchange in &self.hubs {
            assert_eq!((exchange.unacknowledged(), exchange.waiting()), (0, 0));
        }
    }
}
