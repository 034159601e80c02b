//! Clients join, send and leave.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use bytes::Bytes;

use super::{HostNo, World};
use crate::sessions::{Session, SessionNo, Status};
use hubmesh_core::api::{Join, RoomAsk, Signal, Source};
use hubmesh_core::exchange::{Resolve, Sent};
use hubmesh_core::ids::{ClaimNo, Dialect, LeaveReason, NetworkKey, PeerId};
use hubmesh_core::reach::AddressGroup;

/// The parameters of a client's join.
#[derive(Clone, Debug)]
pub struct Newcomer {
    /// The network.
    pub network: NetworkKey,
    /// The id.
    pub peer: PeerId,
    /// The data that it shows.
    pub data: Option<Bytes>,
    /// The proof that it is the same party; may be empty.
    pub proof: Bytes,
    /// Reachable, but not shown.
    pub quiet: bool,
    /// Its request about its room, in a network that is one.
    pub room: Option<RoomAsk>,
}

impl Newcomer {
    /// A shown client without data.
    ///
    /// # Panics
    /// If the names are not valid: scripts choose them.
    pub fn new(network: &str, peer: &str, proof: &str) -> Self {
        Newcomer {
            network: NetworkKey::from_wire(&format!("p{network}"))
                .expect("scripts choose valid networks"),
            peer: PeerId::new(peer).expect("scripts choose valid ids"),
            data: None,
            proof: Bytes::copy_from_slice(proof.as_bytes()),
            quiet: false,
            room: None,
        }
    }

    /// A client of a room.
    ///
    /// # Panics
    /// If the names are not valid: scripts choose them.
    pub fn of_room(room: &str, peer: &str, ask: RoomAsk) -> Self {
        Newcomer {
            network: NetworkKey::new(Dialect::Rooms, room).expect("scripts choose valid rooms"),
            room: Some(ask),
            ..Newcomer::new("any", peer, "")
        }
    }
}

impl World {
    /// A client connects to a hub that runs.
    ///
    /// # Panics
    /// If no hub runs there.
    pub fn join(&mut self, no: HostNo, who: &Newcomer) -> SessionNo {
        self.disturb();
        self.mark(10 << 56 | no as u64);
        self.log(|| format!("{:?} joins {:?} at host {no}", who.peer, who.network));
        let session_no = self.sessions.len();
        let boot = self
            .boot_of(no)
            .expect("a client connects to a hub that runs");
        let claim = self.next_claim(no);
        self.sessions.push(Session {
            at: boot,
            claim,
            network: who.network.clone(),
            peer: who.peer.clone(),
            data: who.data.clone(),
            status: Status::Asking,
            alive: true,
            quiet: who.quiet,
            roster: BTreeMap::new(),
            unread: None,
            told: 0,
            leaves: 0,
        });
        if let Some(running) = self.hosts[no].running.as_mut() {
            running.sessions.insert(claim, session_no);
        }
        self.enter(no, claim, who);
        session_no
    }

    /// A client without a session: it receives nothing, and only its claim exists.
    pub fn join_unwatched(&mut self, no: HostNo, who: &Newcomer) -> ClaimNo {
        let claim = self.ask_unwatched(no, who);
        self.settle(no);
        claim
    }

    /// Clients without sessions, all in one step of their hub.
    pub fn join_many_unwatched(
        &mut self,
        no: HostNo,
        many: impl Iterator<Item = Newcomer>,
    ) -> Vec<ClaimNo> {
        let claims = many.map(|who| self.ask_unwatched(no, &who)).collect();
        self.settle(no);
        claims
    }

    fn ask_unwatched(&mut self, no: HostNo, who: &Newcomer) -> ClaimNo {
        let claim = self.next_claim(no);
        if let Some(running) = self.hosts[no].running.as_mut() {
            running.unwatched += 1;
        }
        self.ask(no, claim, who);
        claim
    }

    /// Clients without sessions leave, all in one step of their hub.
    pub fn leave_many_unwatched(&mut self, no: HostNo, claims: &[ClaimNo]) {
        let now = self.clocks(no);
        if let Some(running) = self.hosts[no].running.as_mut() {
            running.unwatched -= claims.len();
            for claim in claims {
                running.core.leave(now, *claim, LeaveReason::Goodbye);
            }
        }
        self.settle(no);
    }

    /// A client without a session leaves.
    pub fn leave_unwatched(&mut self, no: HostNo, claim: ClaimNo) {
        if let Some(running) = self.hosts[no].running.as_mut() {
            running.unwatched -= 1;
        }
        self.retract(no, claim);
    }

    fn retract(&mut self, no: HostNo, claim: ClaimNo) {
        let now = self.clocks(no);
        if let Some(running) = self.hosts[no].running.as_mut() {
            running.core.leave(now, claim, LeaveReason::Goodbye);
        }
        self.settle(no);
    }

    fn next_claim(&mut self, no: HostNo) -> ClaimNo {
        let Some(running) = self.hosts[no].running.as_mut() else {
            return ClaimNo(0);
        };
        running.next_claim += 1;
        ClaimNo(running.next_claim)
    }

    fn enter(&mut self, no: HostNo, claim: ClaimNo, who: &Newcomer) {
        self.ask(no, claim, who);
        self.settle(no);
    }

    fn ask(&mut self, no: HostNo, claim: ClaimNo, who: &Newcomer) {
        let join = Join {
            claim,
            network: who.network.clone(),
            peer: who.peer.clone(),
            data: who.data.clone(),
            quiet: who.quiet,
            proof: who.proof.clone(),
            room: who.room.clone(),
            address: AddressGroup::of(Ipv4Addr::LOCALHOST.into()),
            counts_for: Some(AddressGroup::of(Ipv4Addr::LOCALHOST.into())),
        };
        let now = self.clocks(no);
        if let Some(running) = self.hosts[no].running.as_mut() {
            running.core.join(now, join);
        }
    }

    /// The hub of a session, if both still exist.
    pub fn hub_of(&self, session: SessionNo) -> Option<HostNo> {
        let session = &self.sessions[session];
        let open = matches!(session.status, Status::Asking | Status::Live);
        (open && self.is(session.at)).then_some(session.at.host)
    }

    /// A client leaves.
    pub fn leave(&mut self, session_no: SessionNo) {
        let Some(no) = self.hub_of(session_no) else {
            return;
        };
        self.disturb();
        self.mark(11 << 56 | no as u64);
        self.log(|| format!("{:?} leaves host {no}", self.sessions[session_no].peer));
        let claim = self.sessions[session_no].claim;
        self.close_session(no, claim, Status::Gone);
        self.retract(no, claim);
        self.give_back(no, session_no);
    }

    /// A client reads no signals from now on. It has to leave by itself: the signals that it has not read are lost with
    /// its hub.
    pub fn stop_reading(&mut self, session_no: SessionNo) {
        self.sessions[session_no].unread = Some(Vec::new());
    }

    /// Tells the senders of the signals that a client has not read.
    fn give_back(&mut self, no: HostNo, session_no: SessionNo) {
        let Some(unread) = self.sessions[session_no].unread.take() else {
            return;
        };
        let target = self.sessions[session_no].peer.clone();
        let at = self.clocks(no).at;
        if let Some(core) = self.core(no) {
            core.exchange().lock().return_unread(at, &target, &unread);
        }
        self.settle(no);
    }

    /// A client shows other data.
    pub fn update(&mut self, session_no: SessionNo, data: Option<Bytes>) {
        let Some(no) = self.hub_of(session_no) else {
            return;
        };
        self.disturb();
        self.mark(12 << 56 | no as u64);
        let session = &mut self.sessions[session_no];
        session.data = data.clone();
        let (claim, quiet) = (session.claim, session.quiet);
        let now = self.clocks(no);
        if let Some(running) = self.hosts[no].running.as_mut() {
            running.core.update(now, claim, data, quiet);
        }
        self.settle(no);
    }

    /// A client's machine has failed, and its hub has not noticed.
    pub fn go_silent(&mut self, session_no: SessionNo) {
        self.sessions[session_no].alive = false;
    }

    /// A live client sends a signal to a peer of its network. Returns its number in the order of sending.
    pub fn signal(&mut self, session_no: SessionNo, target: &PeerId, wait: bool) -> Option<usize> {
        let live = self.sessions[session_no].status == Status::Live;
        let no = self.hub_of(session_no).filter(|_| live)?;
        self.mark(13 << 56 | no as u64);
        self.log(|| {
            format!(
                "{:?} at host {no} signals {target:?}",
                self.sessions[session_no].peer
            )
        });
        let session = &self.sessions[session_no];
        let source = Source {
            claim: session.claim,
            network: session.network.clone(),
            peer: session.peer.clone(),
        };
        let (signal, kind) = self.ledger.sent(session_no, target, self.now);
        let payload = Bytes::copy_from_slice(&(signal as u64).to_be_bytes());
        let at = self.clocks(no).at;
        let core = &self.hosts[no].running.as_ref()?.core;
        let (result, found) = {
            let mut exchange = core.exchange().lock();
            let directory = core.directory().read();
            let from_seq = directory.own_claim(source.claim).map_or(0, |view| view.seq);
            let found = directory.resolve(&source.network, target);
            let signal = Signal {
                source: &source,
                target,
                kind,
                payload,
                wait,
            };
            // As on the data path.
            let known = found.filter(|_| exchange.waiting() == 0);
            let result = exchange.send(at, &*directory, signal, from_seq, known);
            (result, found)
        };
        if let (Some(found), Ok(Sent::Window | Sent::Local(_))) = (found, &result) {
            self.ledger.aim(signal, (found.hub, found.claim));
        }
        match result {
            Ok(Sent::Local(claim)) => self.hand_over(no, claim, signal),
            Ok(Sent::Window | Sent::Waiting) => {}
            Err(why) => self.ledger.refuse(signal, why),
        }
        self.settle(no);
        Some(signal)
    }

    fn hand_over(&mut self, no: HostNo, claim: ClaimNo, signal: usize) {
        let Some(to) = self.session_of(no, claim) else {
            return self.fault(format!(
                "13: signal {signal} for claim {claim:?}, which has no session"
            ));
        };
        let result = self
            .ledger
            .delivered(signal, to, (self.hosts[no].id, claim), self.now);
        self.note(result);
    }

    /// Whether the signal has arrived.
    pub fn was_delivered(&self, signal: usize) -> bool {
        self.ledger
            .signals
            .get(signal)
            .is_some_and(|signal| signal.delivered.is_some())
    }

    /// The session of a claim at a hub.
    pub(super) fn session_of(&self, no: HostNo, claim: ClaimNo) -> Option<SessionNo> {
        self.hosts[no]
            .running
            .as_ref()?
            .sessions
            .get(&claim)
            .copied()
    }

    pub(super) fn close_session(&mut self, no: HostNo, claim: ClaimNo, status: Status) {
        let Some(session_no) = self.session_of(no, claim) else {
            return;
        };
        let network = self.sessions[session_no].network.clone();
        if let Some(running) = self.hosts[no].running.as_mut() {
            running.sessions.remove(&claim);
            if let Some(told) = running.told.get_mut(&network) {
                told.remove(&claim);
            }
        }
        self.bury(session_no, status);
    }

    /// The client of this session is gone and cannot be told.
    pub(super) fn bury(&mut self, session_no: SessionNo, status: Status) {
        self.sessions[session_no].status = status;
        let own = self
            .ledger
            .signals
            .iter_mut()
            .filter(|signal| signal.source == session_no);
        for signal in own.filter(|signal| signal.delivered.is_none() && signal.failed.is_none()) {
            signal.orphaned = true;
        }
    }
}
