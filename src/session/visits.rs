//! Members of rooms that joined by HTTP and have no connection.
//!
//! A visit is a membership like any other, but receives nothing: signals to it fail, and it gets no publications. It
//! lasts for as long as a client of rooms may be silent, starts again with each further request, and ends when the
//! token of its last request expires. A client that connects under its id gets the id, because a visitor shows no sign
//! of life once it is in its room. Knows no HTTP; asked through [`Sessions`].
//!
//! Invariants: a visit ends in exactly one way, and gives its claim up then; if its future is dropped, it is over.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use hashbrown::HashMap;
use hubmesh_core::api::{Join, RoomAsk, Source};
use hubmesh_core::ids::{Dialect, NetworkKey, PeerId};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::memberships::Memberships;
use super::proving::token_end;
use super::{SessionContext, Sessions};
use crate::limits::AddressGroup;
use crate::peers::mailbox::{Control, Mailbox};
use crate::peers::port::MeshPort;
use crate::peers::reason::CloseReason;
use crate::peers::registry::Peer;
use crate::watch::Party;

/// A request for a visit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    /// The room.
    pub network: NetworkKey,
    /// Its id there.
    pub peer: PeerId,
    /// The data that it shows.
    pub data: Option<Bytes>,
    /// Its request about the room.
    pub room: RoomAsk,
    /// Its address.
    pub address: IpAddr,
    /// An operator asks for the visit: the room counts for no address.
    pub is_operators: bool,
    /// The subject of its token, if that names one.
    pub subject: Option<Box<str>>,
    /// When its token expires, in Unix milliseconds; `None`: never.
    pub expires_ms: Option<u64>,
}

impl Visitor {
    /// The party, for bans.
    fn party(&self) -> Party {
        Party::new(self.address, self.subject.as_deref())
    }
}

/// Why there is no visit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoVisit {
    /// The room refuses the visit, or does not exist; the text is the same as for a connected client.
    #[error("{}", .0.text())]
    Refused(CloseReason),
    /// Joins from its address cause too many notices to others: its turn is after this time.
    #[error("clients of your address cause too many notices to others")]
    Later(Duration),
}

impl From<CloseReason> for NoVisit {
    fn from(why: CloseReason) -> Self {
        NoVisit::Refused(why)
    }
}

/// The longest time for which a request waits for its turn to join; if its turn is later, the caller is told when to
/// ask again.
const LONGEST_TURN: Duration = Duration::from_secs(2);

/// A visit from the acceptance by its room to its end: to be run.
pub type Stay = BoxFuture<'static, ()>;

type Key = (NetworkKey, PeerId);

/// The visits of this hub.
#[derive(Debug, Default)]
pub(super) struct Visits(Mutex<HashMap<Key, Arc<Visit>>>);

#[derive(Debug)]
struct Visit {
    mailbox: Arc<Mailbox>,
    again: Notify,
    /// When the token of its last request expires.
    ends: Mutex<Option<Instant>>,
    /// The mesh has been told of its end.
    over: CancellationToken,
}

impl Visits {
    fn find(&self, key: &Key) -> Option<Arc<Visit>> {
        self.0.lock().get(key).cloned()
    }

    fn remove(&self, key: &Key, visit: &Arc<Visit>) {
        let mut all = self.0.lock();
        // Another visit may have replaced this one.
        if all.get(key).is_some_and(|found| Arc::ptr_eq(found, visit)) {
            all.remove(key);
        }
    }

    /// The mailboxes of all visits.
    pub(super) fn mailboxes(&self) -> Vec<Arc<Mailbox>> {
        let all = self.0.lock();
        all.values()
            .map(|visit| Arc::clone(&visit.mailbox))
            .collect()
    }

    /// Ends all visits.
    pub(super) fn end_all(&self, reason: CloseReason) {
        let all = self.0.lock();
        all.values().for_each(|visit| visit.mailbox.close(reason));
    }
}

/// A visit that is listed until it is dropped.
struct Listed<M: MeshPort> {
    shared: Arc<SessionContext<M>>,
    key: Key,
    visit: Arc<Visit>,
}

impl<M: MeshPort> Listed<M> {
    fn new(
        shared: &Arc<SessionContext<M>>,
        key: Key,
        mailbox: Arc<Mailbox>,
        ends: Option<Instant>,
    ) -> Self {
        let visit = Arc::new(Visit {
            mailbox,
            again: Notify::new(),
            ends: Mutex::new(ends),
            over: CancellationToken::new(),
        });
        shared
            .visits
            .0
            .lock()
            .insert(key.clone(), Arc::clone(&visit));
        shared.metrics.rooms.visitors.inc();
        let shared = Arc::clone(shared);
        Listed { shared, key, visit }
    }
}

impl<M: MeshPort> Drop for Listed<M> {
    fn drop(&mut self) {
        self.shared.metrics.rooms.visitors.dec();
        self.shared.visits.remove(&self.key, &self.visit);
        self.visit.over.cancel();
    }
}

/// The next message of the hub to a visitor. All messages of other peers to it are dropped.
async fn next_control(mailbox: &Mailbox) -> Control {
    poll_fn(|cx| {
        mailbox.register(cx.waker());
        while mailbox.drain(usize::MAX, |_| {}).is_some() {}
        match mailbox.next_control() {
            Some(control) => Poll::Ready(control),
            None => Poll::Pending,
        }
    })
    .await
}

impl<M: MeshPort> Sessions<M> {
    /// Lets a visitor into a room. Returns the future to run for as long as it stays, or `None` if it is in the room
    /// already. The permit is given back when the visit is over.
    ///
    /// # Errors
    /// The visitor is not let into the room.
    pub async fn visit<P: Send + 'static>(
        &self,
        visitor: Visitor,
        permit: P,
    ) -> Result<Option<Stay>, NoVisit> {
        let key = (visitor.network.clone(), visitor.peer.clone());
        let expires_ms = visitor.expires_ms;
        if self.renew_visit(&visitor.network, &visitor.peer, expires_ms) {
            return match visitor.room {
                RoomAsk::Create(_) => Err(CloseReason::RoomExists.into()),
                RoomAsk::Enter => Ok(None),
            };
        }
        if self.shared.pressure.is_critical() {
            return Err(CloseReason::OutOfMemory.into());
        }
        self.take_turn(&visitor).await?;
        let mailbox = self.shared.mailbox(visitor.party());
        if self
            .shared
            .is_barred_as(&mailbox, &visitor.network, &visitor.peer)
        {
            return Err(CloseReason::Banned.into());
        }
        let memberships = self.enter(visitor, &mailbox).await?;
        let listed = Listed::new(&self.shared, key, mailbox, token_end(expires_ms));
        // Checked after the visit is listed: either a ban and the drain find it in the list, or this check finds them.
        self.shared.close_if_barred(&listed.visit.mailbox);
        if self.shared.draining.load(Ordering::SeqCst) {
            return Err(CloseReason::Draining.into());
        }
        Ok(Some(Box::pin(async move {
            stay(&listed, memberships).await;
            drop((listed, permit));
        })))
    }

    /// Ends a visit at another hub: a membership that is asked for here replaces it, and ends at once. The request
    /// takes no permit and very little memory.
    ///
    /// # Errors
    /// The visit continues, or there is no such visit.
    pub async fn end_visit_elsewhere(&self, visitor: Visitor) -> Result<(), NoVisit> {
        self.take_turn(&visitor).await?;
        let mailbox = self.shared.mailbox(visitor.party());
        let mut memberships = self.enter(visitor, &mailbox).await?;
        memberships.give_up(CloseReason::PeerClosed.leave_reason());
        Ok(())
    }

    /// Waits for the turn of this address to join, as connected clients do.
    async fn take_turn(&self, visitor: &Visitor) -> Result<(), NoVisit> {
        let turn = self.shared.turn_to_join(visitor.address, &visitor.network);
        let Some(turn) = turn else {
            return Ok(());
        };
        if turn.wait() > LONGEST_TURN {
            return Err(NoVisit::Later(turn.wait()));
        }
        self.shared.metrics.joins_delayed.inc();
        sleep(turn.wait()).await;
        turn.came();
        Ok(())
    }

    /// Asks the mesh for the visitor's membership, and waits for the answer.
    async fn enter(
        &self,
        visitor: Visitor,
        mailbox: &Arc<Mailbox>,
    ) -> Result<Memberships<M>, CloseReason> {
        let shared = &self.shared;
        let claim = shared.mesh.next_claim();
        let source = Source {
            claim,
            network: visitor.network.clone(),
            peer: visitor.peer.clone(),
        };
        let peer = Arc::new(Peer::new(
            source,
            Dialect::Rooms,
            Arc::clone(mailbox),
            false,
        ));
        peer.go_absent();
        shared.registry.insert(claim, Arc::clone(&peer));
        let mut memberships = Memberships::none();
        memberships.ask(Arc::clone(shared), peer);
        let join = Join {
            claim,
            network: visitor.network,
            peer: visitor.peer,
            data: visitor.data,
            quiet: false,
            // With a proof, the visit would take the id from the connection of the same party.
            proof: Bytes::new(),
            room: Some(visitor.room),
            address: AddressGroup::of(visitor.address),
            counts_for: (!visitor.is_operators).then(|| AddressGroup::of(visitor.address)),
        };
        shared.mesh.join(join).await;
        loop {
            match next_control(mailbox).await {
                Control::Accepted(accepted) => {
                    memberships.accept(accepted);
                    return Ok(memberships);
                }
                Control::Lost { claim, why } => {
                    memberships.lose(claim);
                    return Err(why);
                }
                Control::Close(reason) => return Err(reason),
                // The visitor is alive: its request is being served.
                Control::Probe { claim, token, .. } => {
                    shared.mesh.probe_result(claim, token, true).await;
                }
            }
        }
    }

    /// Prolongs a visitor's stay, until its token expires at the latest; false if there is no such visitor.
    pub fn renew_visit(
        &self,
        network: &NetworkKey,
        peer: &PeerId,
        expires_ms: Option<u64>,
    ) -> bool {
        let found = self.shared.visits.find(&(network.clone(), peer.clone()));
        if let Some(visit) = &found {
            *visit.ends.lock() = token_end(expires_ms);
            visit.again.notify_one();
        }
        found.is_some()
    }

    /// Ends a visitor's stay in a room, and returns when the mesh has been told; returns whether there was one.
    pub async fn end_visit(&self, network: &NetworkKey, peer: &PeerId) -> bool {
        let found = self.shared.visits.find(&(network.clone(), peer.clone()));
        if let Some(visit) = &found {
            visit.mailbox.close(CloseReason::PeerClosed);
            visit.over.cancelled().await;
        }
        found.is_some()
    }
}

/// Runs a visit until it is over, whatever ends it.
async fn stay<M: MeshPort>(listed: &Listed<M>, mut memberships: Memberships<M>) {
    let shared = &listed.shared;
    let silence = shared.policies.of(Dialect::Rooms).silence;
    let ends = || *listed.visit.ends.lock();
    let mut until = Instant::now() + silence;
    let reason = loop {
        tokio::select! {
            control = next_control(&listed.visit.mailbox) => match control {
                // A visitor cannot show a sign of life, so a newcomer that asks for the id may have it.
                Control::Probe { claim, token, .. } => {
                    shared.mesh.probe_result(claim, token, false).await;
                }
                Control::Lost { claim, .. } => {
                    memberships.lose(claim);
                    break CloseReason::Superseded;
                }
                Control::Close(reason) => break reason,
                Control::Accepted(_) => {}
            },
            () = listed.visit.again.notified() => until = Instant::now() + silence,
            () = sleep_until(ends().map_or(until, |ends| ends.min(until))) => {
                break match ends().is_some_and(|ends| ends < until) {
                    true => CloseReason::TokenExpired,
                    false => CloseReason::Silent,
                };
            }
        }
    };
    memberships.give_up(reason.leave_reason());
}
