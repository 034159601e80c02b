//! How requests are answered: Binding, and the four of TURN (RFC 8656, sections 7 to 12).
//!
//! A client that has not proved its identity gets a short answer, or none: see [`Server::answer_stranger`]. All answers
//! and their consequences go into the server's queue of effects; nothing here has a socket.

use std::time::Duration;

use crate::allocation::{Allocation, AllocationId, Peers, expiry};
use crate::auth::{self, Identity, REALM, Unproved};
use crate::codec::{self, Answer, Family, Method, Packet, Request};
use crate::counters::End;
use crate::error_code::Code;
use crate::pending::Pending;
use crate::policy::Verdict;
use crate::server::{Effect, Server, Turn};
use crate::{FiveTuple, Moment, Transport};

/// The lifetime of a relay whose client asks for none or for less, in seconds (RFC 8656, section 3.2).
const LIFETIME_S: u32 = 600;
/// How many ports are tried for one relay.
const TRIES: usize = 16;
/// The number of UDP among protocols.
const UDP: u8 = 17;

impl Server {
    pub(crate) fn answer(&mut self, now: Moment, from: FiveTuple, request: &Request<'_>) {
        match request.method() {
            Some(Method::Binding) => self.answer_binding(from, request),
            Some(method) if self.relays_at(from) => self.answer_turn(now, from, request, method),
            // As RFC 8489, section 6.3 has it.
            _ => self.counters.ignored.one(),
        }
    }

    fn relays_at(&self, from: FiveTuple) -> bool {
        let turn = self.turn.as_ref();
        turn.is_some_and(|turn| turn.config.ports.contains(&from.server.port()))
    }

    fn answer_binding(&mut self, from: FiveTuple, request: &Request<'_>) {
        self.counters.of(Method::Binding).one();
        let mut to = from;
        let mut unknown = request.unknown();
        if let Some(change) = request.change().filter(|change| change.ip || change.port) {
            match self.other_port(from).filter(|_| !change.ip) {
                Some(port) => to.server.set_port(port),
                None => unknown.push(codec::CHANGE_REQUEST),
            }
        }
        let answer = if unknown.is_empty() {
            Answer::success(request).mapped(from.client)
        } else {
            self.refusal(request, Code::UnknownAttribute)
                .unknown(&unknown)
        };
        self.answer_stranger(to, request, answer);
    }

    fn other_port(&self, from: FiveTuple) -> Option<u16> {
        let (one, other) = self.config.ports?;
        match from.server.port() {
            _ if from.transport == Transport::Stream => None,
            port if port == one => Some(other),
            port if port == other => Some(one),
            _ => None,
        }
    }

    /// An error that is about to be answered; it is counted.
    fn refusal(&self, request: &Request<'_>, code: Code) -> Answer {
        self.counters.of(code).one();
        Answer::error(request, code)
    }

    /// Answers a client that has proved nothing, and whose address may be forged: with at most one and a half times the
    /// bytes that it sent, counted on the wire, or not at all. In a stream no address can be forged.
    fn answer_stranger(&mut self, to: FiveTuple, request: &Request<'_>, answer: Answer) {
        let bytes = answer.finish(request, None);
        if to.transport == Transport::Stream || bytes.len() <= most_for_stranger(to, request.len())
        {
            self.say(to, bytes);
        }
    }

    fn answer_turn(&mut self, now: Moment, from: FiveTuple, request: &Request<'_>, method: Method) {
        self.counters.of(method).one();
        let Some(turn) = &self.turn else { return };
        let existing = turn.by_client.get(&from).copied();
        let allocation = existing.and_then(|id| turn.allocations.get(id));
        let secret = &turn.config.secret;
        let who = auth::identify(request, secret, &self.nonces, (now, from), allocation);
        let who = match who {
            Ok(who) => who,
            Err(Unproved(code)) => return self.challenge(now, from, request, code),
        };
        let unknown = request.unknown();
        let done = match (method, existing) {
            _ if !unknown.is_empty() => Err(Code::UnknownAttribute),
            (Method::Allocate, _) => self.allocate(now, from, request, &who),
            (_, None) => Err(Code::AllocationMismatch),
            (_, Some(_)) if allocation.is_some_and(|it| it.username != who.username) => {
                Err(Code::WrongCredentials)
            }
            (_, Some(id)) if self.is_opening(id) => Err(Code::AllocationMismatch),
            (Method::Refresh, Some(id)) => self.refresh(now, id, request).map(Some),
            (Method::CreatePermission, Some(id)) => self.permit(now, id, request).map(Some),
            (Method::ChannelBind, Some(id)) => self.bind(now, id, request).map(Some),
            // See `answer_binding`.
            (Method::Binding, _) => Ok(None),
        };
        let answer = match done {
            Ok(answer) => answer,
            Err(code @ Code::UnknownAttribute) => {
                Some(self.refusal(request, code).unknown(&unknown))
            }
            Err(code) => Some(self.refusal(request, code)),
        };
        if let Some(answer) = answer {
            let bytes = answer.finish(request, Some(&who.key));
            self.say(from, bytes);
        }
    }

    /// Answers a request that is not signed, or not with valid credentials. If the request is too short to be answered
    /// with a challenge, it comes from no real client.
    fn challenge(&mut self, now: Moment, from: FiveTuple, request: &Request<'_>, code: Code) {
        if code == Code::BadRequest {
            let answer = self.refusal(request, code);
            return self.answer_stranger(from, request, answer);
        }
        let nonce = self.nonces.make(from.client, now.at);
        let answer = self.refusal(request, code).challenge(REALM, &nonce);
        self.answer_stranger(from, request, answer);
    }

    /// `Ok(None)`: the answer comes when the port is open.
    fn allocate(
        &mut self,
        now: Moment,
        from: FiveTuple,
        request: &Request<'_>,
        who: &Identity,
    ) -> Result<Option<Answer>, Code> {
        let turn = self.turn.as_mut().ok_or(Code::InsufficientCapacity)?;
        if let Some(id) = turn.by_client.get(&from) {
            let allocation = turn.allocations.get(*id);
            let same = allocation
                .filter(|it| it.made_by == request.transaction() && it.username == who.username);
            let same = same.ok_or(Code::AllocationMismatch)?;
            let is_open = !turn.pending.contains_key(id);
            return Ok(is_open.then(|| success(same, request)));
        }
        if turn.draining {
            return Err(Code::InsufficientCapacity);
        }
        let wanted = Wanted::read(request)?;
        let address = turn.config.relays.address(wanted.family);
        let address = address.ok_or(Code::AddressFamily)?;
        let user = turn.ledger.open(who.name(), from.client.ip(), now.at)?;
        let Some(port) = turn.ports(wanted.family).take(wanted.even) else {
            turn.ledger.close(user, from.client.ip());
            return Err(Code::InsufficientCapacity);
        };
        let granted = turn.grant(wanted.lifetime);
        let ends = now.at + turn.config.limits.age;
        let allocation = turn.allocations.insert(|id| Allocation {
            id,
            client: from,
            username: who.username.clone(),
            key: who.key.clone(),
            user,
            relayed: (address, port).into(),
            made_by: request.transaction(),
            granted,
            two_families: wanted.two_families,
            expires: expiry(granted, now.at, ends),
            ends,
            peers: Peers::default(),
        });
        let id = allocation.id;
        turn.by_client.insert(from, id);
        turn.by_relayed.insert(allocation.relayed, id);
        turn.deadlines.insert((allocation.expires, id));
        turn.pending.insert(id, wanted.pending(request));
        self.counters.allocations.one();
        self.effects.push_back(Effect::Open {
            allocation: id,
            family: wanted.family,
            port,
        });
        Ok(None)
    }

    /// Reports that the port of a relay is open, or cannot be opened; then another one is tried.
    pub fn opened(&mut self, allocation: AllocationId, is_open: bool) {
        let Some(turn) = &mut self.turn else { return };
        let Some(mut pending) = turn.pending.remove(&allocation) else {
            // The relay ended meanwhile, and its port was to be closed before it was open.
            if is_open && self.allocation(allocation).is_none() {
                self.effects.push_back(Effect::Close { allocation });
            }
            return;
        };
        if !is_open && let Some(open) = turn.try_another(allocation, &mut pending) {
            turn.pending.insert(allocation, pending);
            return self.effects.push_back(open);
        }
        let Some(found) = self.allocation(allocation) else {
            return;
        };
        let Some(Packet::Request(request)) = codec::parse(&pending.request) else {
            return;
        };
        let (to, family) = (found.client, found.family());
        let answer = match is_open {
            true => success(found, &request),
            false => self.refusal(&request, Code::InsufficientCapacity),
        };
        let bytes = answer.finish(&request, Some(&found.key));
        self.say(to, bytes);
        self.settle(allocation, family, pending.failed, is_open);
    }

    /// Gives back the ports that could not be opened, and ends a relay that has none.
    fn settle(&mut self, id: AllocationId, family: Family, failed: Vec<u16>, is_open: bool) {
        if let Some(turn) = &mut self.turn {
            let ports = turn.ports(family);
            failed.into_iter().for_each(|port| ports.give_back(port));
        }
        if !is_open {
            self.end(id, End::NoPort);
        }
    }

    fn refresh(
        &mut self,
        now: Moment,
        id: AllocationId,
        request: &Request<'_>,
    ) -> Result<Answer, Code> {
        let wanted = request.lifetime()?;
        let family = request.family()?;
        let turn = self.turn.as_mut().ok_or(Code::AllocationMismatch)?;
        let is_draining = turn.draining;
        let granted = turn.grant(wanted);
        let found = turn.allocations.get_mut(id);
        let found = found.ok_or(Code::AllocationMismatch)?;
        if family.is_some_and(|family| family != found.family()) {
            return Err(Code::PeerFamily);
        }
        if wanted == Some(0) {
            self.end(id, End::Deleted);
            return Ok(Answer::success(request).lifetime(0));
        }
        if is_draining {
            self.end(id, End::Drained);
            return Err(Code::AllocationMismatch);
        }
        turn.deadlines.remove(&(found.expires, id));
        let has = found.refresh(granted, now.at);
        turn.deadlines.insert((found.expires, id));
        Ok(Answer::success(request).lifetime(has))
    }

    fn permit(
        &mut self,
        now: Moment,
        id: AllocationId,
        request: &Request<'_>,
    ) -> Result<Answer, Code> {
        let peers = request.peers()?;
        let turn = self.turn.as_mut().ok_or(Code::AllocationMismatch)?;
        let found = turn.allocations.get_mut(id);
        let found = found.ok_or(Code::AllocationMismatch)?;
        if peers.is_empty() {
            return Err(Code::BadRequest);
        }
        for peer in &peers {
            turn.config.check_peer(found.family(), *peer)?;
        }
        found.peers.permit(&peers, now.at)?;
        Ok(Answer::success(request))
    }

    fn bind(
        &mut self,
        now: Moment,
        id: AllocationId,
        request: &Request<'_>,
    ) -> Result<Answer, Code> {
        let number = request.channel()?.ok_or(Code::BadRequest)?;
        let peers = request.peers()?;
        let peer = *peers.first().ok_or(Code::BadRequest)?;
        let turn = self.turn.as_mut().ok_or(Code::AllocationMismatch)?;
        let found = turn.allocations.get_mut(id);
        let found = found.ok_or(Code::AllocationMismatch)?;
        turn.config.check_peer(found.family(), peer)?;
        found.peers.bind(number, peer, now.at)?;
        Ok(Answer::success(request))
    }
}

/// The longest answer to a request of this length from a client that has proved nothing.
fn most_for_stranger(to: FiveTuple, request: usize) -> usize {
    // The headers of IP and UDP, which both directions have.
    let headers = match to.client.is_ipv4() {
        true => 28,
        false => 48,
    };
    (headers + request) * 3 / 2 - headers
}

fn success(allocation: &Allocation, request: &Request<'_>) -> Answer {
    let answer = Answer::success(request)
        .relayed(allocation.relayed)
        .lifetime(allocation.granted)
        .mapped(allocation.client.client);
    match allocation.two_families {
        true => answer.no_second_family(Code::AddressFamily),
        false => answer,
    }
}

/// The contents of an Allocate request.
struct Wanted {
    family: Family,
    lifetime: Option<u32>,
    even: bool,
    two_families: bool,
}

impl Wanted {
    /// In the order of RFC 8656, section 7.2.
    fn read(request: &Request<'_>) -> Result<Self, Code> {
        match request.transport()? {
            Some(UDP) => {}
            Some(_) => return Err(Code::UnsupportedTransport),
            None => return Err(Code::BadRequest),
        }
        let even = request.even_port()?;
        let family = request.family()?;
        let two_families = request.wants_two_families()?;
        if request.has_reservation() {
            let is_lone = even.is_none() && family.is_none() && !two_families;
            // This server reserves no ports, so this token is not one of its own.
            return Err(match is_lone {
                true => Code::InsufficientCapacity,
                false => Code::BadRequest,
            });
        }
        if two_families && (family.is_some() || even == Some(true)) {
            return Err(Code::BadRequest);
        }
        if even == Some(true) {
            return Err(Code::InsufficientCapacity);
        }
        Ok(Wanted {
            family: family.unwrap_or(Family::V4),
            lifetime: request.lifetime()?,
            even: even.is_some(),
            two_families,
        })
    }

    fn pending(&self, request: &Request<'_>) -> Pending {
        Pending {
            request: request.bytes().to_vec(),
            failed: Vec::new(),
            even: self.even,
        }
    }
}

impl Turn {
    /// Asks for another port for this relay, if there is one to try.
    fn try_another(&mut self, id: AllocationId, pending: &mut Pending) -> Option<Effect> {
        let old = self.allocations.get(id)?.relayed;
        let family = Family::of(&old);
        if pending.failed.len() + 1 >= TRIES {
            return None;
        }
        let port = self.ports(family).take(pending.even)?;
        pending.failed.push(old.port());
        let found = self.allocations.get_mut(id)?;
        found.relayed.set_port(port);
        self.by_relayed.remove(&old);
        self.by_relayed.insert(found.relayed, id);
        Some(Effect::Open {
            allocation: id,
            family,
            port,
        })
    }

    /// The lifetime for a client that asks for this one, in seconds.
    fn grant(&self, wanted: Option<u32>) -> u32 {
        let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        let limits = &self.config.limits;
        let most = seconds(limits.lifetime).max(LIFETIME_S);
        let granted = wanted.unwrap_or(LIFETIME_S).clamp(LIFETIME_S, most);
        granted.min(seconds(limits.age))
    }
}

impl crate::TurnConfig {
    /// Whether data may go to this peer from a relay of this family. At an address of relays it may go to relays alone;
    /// each packet checks again which ports are theirs.
    pub(crate) fn check_peer(
        &self,
        family: Family,
        peer: std::net::SocketAddr,
    ) -> Result<(), Code> {
        if Family::of(&peer) != family {
            return Err(Code::PeerFamily);
        }
        let is_relay = || {
            let port = peer.port();
            self.relays.is_one(peer) && (port == 0 || self.relays.ports.contains(&port))
        };
        match self.policy.judge(peer.ip()) {
            Verdict::Allowed => Ok(()),
            Verdict::Own if is_relay() => Ok(()),
            Verdict::Own | Verdict::Refused => Err(Code::Forbidden),
        }
    }
}
