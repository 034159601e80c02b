//! The server: its state, what goes in and what comes out, and the way of data between clients and peers.
//!
//! Requests are answered in `requests.rs`. One owner calls; nothing here waits, and all results are either returned or
//! put among the effects, which the owner takes with [`Server::poll_effect`] after each call.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::allocation::{Allocation, AllocationId, Allocations};
use crate::codec::{self, Family, Packet, Sent};
use crate::config::{Config, TurnConfig};
use crate::counters::{Counters, Drop, End, Passing, Toward};
use crate::ledger::Ledger;
use crate::nonce::Nonces;
use crate::pending::Pending;
use crate::policy::Verdict;
use crate::ports::Ports;
use crate::{FiveTuple, Moment, Transport};

/// A task for the owner of the sockets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Send this to a client, from the address at which it reached the server or, in answer to a change of port, from
    /// the other one.
    Send {
        /// The client, and the server's address.
        to: FiveTuple,
        /// The packet, padded in a stream.
        bytes: Vec<u8>,
        /// The relayed data in it, if there is any.
        passing: Option<Passing>,
    },
    /// Open a UDP port for a relay, and report by [`Server::opened`] whether that worked.
    Open {
        /// The allocation that it is for.
        allocation: AllocationId,
        /// Its family.
        family: Family,
        /// The number of the port.
        port: u16,
    },
    /// Close the port of this relay, if it is open.
    Close {
        /// The allocation that it is for.
        allocation: AllocationId,
    },
}

/// Data of a client for a peer, to be sent from the port of its relay. The sender reports to the counters; see
/// [`Passing`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ToPeer<'p> {
    /// The relay whose port sends it.
    pub allocation: AllocationId,
    /// The peer that the data is for.
    pub peer: SocketAddr,
    /// A part of the packet that went in.
    pub data: &'p [u8],
}

/// A STUN and TURN server.
///
/// IPv4 addresses may come mapped to IPv6, as sockets of both families show them; they count as IPv4, and go out so.
pub struct Server {
    pub(crate) config: Config,
    pub(crate) nonces: Nonces,
    pub(crate) turn: Option<Turn>,
    pub(crate) effects: VecDeque<Effect>,
    pub(crate) counters: Arc<Counters>,
}

/// The relays.
pub(crate) struct Turn {
    pub(crate) config: TurnConfig,
    pub(crate) allocations: Allocations,
    pub(crate) by_client: HashMap<FiveTuple, AllocationId>,
    pub(crate) by_relayed: HashMap<SocketAddr, AllocationId>,
    pub(crate) deadlines: BTreeSet<(Instant, AllocationId)>,
    /// Relays whose port is being opened.
    pub(crate) pending: HashMap<AllocationId, Pending>,
    pub(crate) ledger: Ledger,
    pub(crate) v4: Ports,
    pub(crate) v6: Ports,
    pub(crate) draining: bool,
    /// Draws the numbers of transactions.
    rng: StdRng,
}

impl Server {
    /// A server without relays.
    pub fn new(config: Config, now: Instant) -> Self {
        let turn = config.turn.clone();
        Server {
            nonces: Nonces::new(&config.seed, now),
            turn: turn.map(|turn| Turn::new(turn, config.seed, now)),
            effects: VecDeque::new(),
            counters: Arc::default(),
            config,
        }
    }

    /// The counters.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// The next effect, if there is one.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has to be called at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let (deadline, _) = self.turn.as_ref()?.deadlines.first()?;
        Some(*deadline)
    }

    /// Ends the relays whose lifetime is over.
    pub fn handle_timeout(&mut self, now: Instant) {
        while self.poll_timeout().is_some_and(|deadline| deadline <= now) {
            let first = self.turn.as_ref().and_then(|turn| turn.deadlines.first());
            let Some((_, id)) = first.copied() else {
                return;
            };
            let ends = self.allocation(id).map(|allocation| allocation.ends);
            let is_old = ends.is_some_and(|ends| ends <= now);
            self.end(id, if is_old { End::TooOld } else { End::Expired });
        }
    }

    /// Takes a packet of a client, from a datagram or a stream. The returned data goes to a peer; everything else
    /// becomes an effect.
    pub fn handle_client<'p>(
        &mut self,
        now: Moment,
        from: FiveTuple,
        packet: &'p [u8],
    ) -> Option<ToPeer<'p>> {
        let from = from.canonical();
        self.handle_timeout(now.at);
        match codec::parse(packet) {
            Some(Packet::Channel { number, data }) => {
                let allocation = self.allocation_of(from)?;
                match allocation.peers.peer_of(number, now.at) {
                    Some(peer) => self.relay(now, from, Sent { peer, data }),
                    None => self.drop_for(Drop::NoPermission),
                }
            }
            Some(Packet::Send(sent)) => self.relay(now, from, sent),
            Some(Packet::Request(request)) => {
                self.answer(now, from, &request);
                None
            }
            None => {
                self.counters.ignored.one();
                None
            }
        }
    }

    /// Takes a datagram that came to the port of a relay. If it passes, it is appended to `out` in the form for the
    /// client, and the client's address is returned. The sender reports to the counters; see [`Passing`].
    pub fn handle_peer(
        &mut self,
        now: Moment,
        allocation: AllocationId,
        peer: SocketAddr,
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<FiveTuple> {
        let peer = crate::canonical(peer);
        self.handle_timeout(now.at);
        if data.len() > codec::LONGEST_DATA {
            return self.drop_for(Drop::TooLong);
        }
        let turn = self.turn.as_mut()?;
        let Some(found) = turn.allocations.get(allocation) else {
            return self.drop_for(Drop::NoAllocation);
        };
        if !found.peers.permits(peer.ip(), now.at) {
            return self.drop_for(Drop::NoPermission);
        }
        if !turn
            .ledger
            .has_datagram(found.user, (data.len(), peer.ip()), now.at)
        {
            return self.drop_for(Drop::OverRate);
        }
        let to = found.client;
        match found.peers.channel_to(peer, now.at) {
            Some(number) => {
                codec::write_channel(out, number, data, to.transport == Transport::Stream);
            }
            None => codec::write_indication(out, turn.rng.random::<u128>() >> 32, peer, data),
        }
        Some(to)
    }

    /// A client's connection is gone.
    pub fn client_gone(&mut self, client: FiveTuple) {
        let turn = self.turn.as_ref();
        if let Some(id) = turn.and_then(|turn| turn.by_client.get(&client.canonical())) {
            self.end(*id, End::Disconnected);
        }
    }

    /// Whether this client has a relay.
    pub fn has_allocation(&self, client: FiveTuple) -> bool {
        let turn = self.turn.as_ref();
        turn.is_some_and(|turn| turn.by_client.contains_key(&client.canonical()))
    }

    /// From now on these are the machine's own addresses, beside those of relays. A peer at a new one loses its
    /// permission.
    pub fn set_own(&mut self, own: &[IpAddr]) {
        let Some(turn) = &mut self.turn else { return };
        let policy = &mut turn.config.policy;
        let relays = turn.config.relays.addresses();
        let now: Vec<IpAddr> = own.iter().map(IpAddr::to_canonical).chain(relays).collect();
        if policy.own == now {
            return;
        }
        policy.own = now;
        let config = &turn.config;
        for allocation in turn.allocations.iter_mut() {
            let family = allocation.family();
            let may = |ip| config.check_peer(family, SocketAddr::new(ip, 0)).is_ok();
            allocation.peers.revoke(may);
        }
    }

    /// The port of a relay cannot be read any more, so the relay ends.
    pub fn port_lost(&mut self, allocation: AllocationId) {
        self.end(allocation, End::NoPort);
    }

    /// From now on there are no new relays. Existing ones end when their clients would refresh them, and the clients
    /// are told so.
    pub fn drain(&mut self) {
        if let Some(turn) = &mut self.turn {
            turn.draining = true;
        }
    }

    /// Ends all relays.
    pub fn end_all(&mut self) {
        let Some(turn) = &self.turn else { return };
        for id in turn.allocations.ids() {
            self.end(id, End::Drained);
        }
    }

    pub(crate) fn allocation(&self, id: AllocationId) -> Option<&Allocation> {
        self.turn.as_ref()?.allocations.get(id)
    }

    /// The relay of this client; if there is none, that is counted.
    fn allocation_of(&self, client: FiveTuple) -> Option<&Allocation> {
        let turn = self.turn.as_ref();
        let id = turn.and_then(|turn| turn.by_client.get(&client));
        match id.and_then(|id| self.allocation(*id)) {
            None => self.drop_for(Drop::NoAllocation),
            found => found,
        }
    }

    fn drop_for<T>(&self, why: Drop) -> Option<T> {
        self.counters.of(why).one();
        None
    }

    /// Data of a client for a peer: if the peer has a permission, it goes out, or straight to the client of another
    /// relay of this server.
    fn relay<'p>(&mut self, now: Moment, from: FiveTuple, sent: Sent<'p>) -> Option<ToPeer<'p>> {
        let Sent { peer, data } = sent;
        let found = self.allocation_of(from)?;
        let (allocation, relayed, user) = (found.id, found.relayed, found.user);
        let passes = found.family() == Family::of(&peer) && found.peers.permits(peer.ip(), now.at);
        if !passes || self.is_opening(allocation) {
            return self.drop_for(Drop::NoPermission);
        }
        if data.len() > codec::LONGEST_DATA {
            return self.drop_for(Drop::TooLong);
        }
        let turn = self.turn.as_mut()?;
        if !turn
            .ledger
            .has_datagram(user, (data.len(), peer.ip()), now.at)
        {
            return self.drop_for(Drop::OverRate);
        }
        if turn.config.relays.is_one(peer) {
            let other = turn.by_relayed.get(&peer).copied();
            if let Some(other) = other {
                self.counters.sent(Passing {
                    to: Toward::Peer,
                    bytes: data.len(),
                });
                self.hand_over(now, other, relayed, data);
                return None;
            }
            if turn.config.policy.judge(peer.ip()) != Verdict::Allowed {
                return self.drop_for(Drop::Forbidden);
            }
        }
        Some(ToPeer {
            allocation,
            peer,
            data,
        })
    }

    /// Two clients of this server meet here: nothing leaves it, so a NAT in front of it need not lead back.
    fn hand_over(&mut self, now: Moment, to: AllocationId, from: SocketAddr, data: &[u8]) {
        let mut bytes = Vec::with_capacity(data.len() + 64);
        if let Some(to) = self.handle_peer(now, to, from, data, &mut bytes) {
            let passing = Some(Passing {
                to: Toward::Client,
                bytes: data.len(),
            });
            self.effects.push_back(Effect::Send { to, bytes, passing });
        }
    }

    /// An answer of the server's own.
    pub(crate) fn say(&mut self, to: FiveTuple, bytes: Vec<u8>) {
        let passing = None;
        self.effects.push_back(Effect::Send { to, bytes, passing });
    }

    pub(crate) fn is_opening(&self, id: AllocationId) -> bool {
        let turn = self.turn.as_ref();
        turn.is_some_and(|turn| turn.pending.contains_key(&id))
    }

    /// Ends a relay, and forgets all of it.
    pub(crate) fn end(&mut self, id: AllocationId, why: End) {
        let Some(turn) = &mut self.turn else { return };
        let Some(gone) = turn.allocations.remove(id) else {
            return;
        };
        turn.by_client.remove(&gone.client);
        turn.by_relayed.remove(&gone.relayed);
        turn.deadlines.remove(&(gone.expires, id));
        turn.ledger.close(gone.user, gone.client.client.ip());
        let pending = turn.pending.remove(&id);
        let ports = turn.ports(gone.family());
        for port in pending.into_iter().flat_map(|pending| pending.failed) {
            ports.give_back(port);
        }
        ports.give_back(gone.relayed.port());
        self.counters.of(why).one();
        self.effects.push_back(Effect::Close { allocation: id });
    }
}

impl Turn {
    fn new(mut config: TurnConfig, seed: [u8; 32], now: Instant) -> Self {
        config.policy.own.extend(config.relays.addresses());
        let seeded = |which: u8| {
            // So that one does not reveal another.
            StdRng::from_seed(seed.map(|byte| byte ^ which))
        };
        let ports = |family| Ports::new(config.relays.ports.clone(), seeded(family));
        Turn {
            allocations: Allocations::default(),
            by_client: HashMap::new(),
            by_relayed: HashMap::new(),
            deadlines: BTreeSet::new(),
            pending: HashMap::new(),
            ledger: Ledger::new(config.limits, now),
            v4: ports(4),
            v6: ports(6),
            draining: false,
            rng: seeded(1),
            config,
        }
    }

    pub(crate) fn ports(&mut self, family: Family) -> &mut Ports {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }
}
