//! One connected peer, in any dialect: its socket, its mailbox, its deadlines and its limits.
//!
//! [`Sessions`] has the state that all of them share and runs one task per socket, which both reads and writes it.
//! `conversation` is that task's loop, `carrying_out` carries out the actions of its protocol (`joining` those on its
//! `memberships`), `proving` checks its token, `pacing` the rate at which it sends, `deadlines` its silence, `held`
//! keeps actions that wait for the mesh's answer, `socket` is the WebSocket. A session asks the mesh through
//! [`MeshPort`] and gets answers through its mailbox, both in [`peers`](crate::peers). It must not know how other hubs
//! are reached, nor the messages of a dialect.
//!
//! Invariants: each accepted connection is counted out exactly once, and each requested claim is given up exactly once,
//! whether the session ends by itself, is dropped or panics; no client makes another wait.

pub mod intake;
pub mod socket;

mod bounds;
mod carrying_out;
mod closing;
mod conversation;
mod deadlines;
mod disconnected;
mod held;
mod joining;
mod kept_ids;
mod memberships;
mod pacing;
mod proving;
mod sniffing;
mod visits;

use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use hubmesh_core::ids::{Dialect, NetworkKey, PeerId};
use hubmesh_core::policy::Policies;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::auth::{Gate, Grant};
use crate::clock::unix_ms;
use crate::config::PeerLimits;
use crate::dialect::{self, Complaint, Event};
use crate::limits::{
    AddressGroup, AddressSlot, ConnectionLimits, ConnectionPermit, ConnectionSlots, NoSlot,
    Pressure, Turn, Turns,
};
use crate::metrics::{Metrics, OpenConnection};
use crate::peers::mailbox::{Capacity, Mailbox};
use crate::peers::port::MeshPort;
use crate::peers::reason::CloseReason;
use crate::peers::registry::Registry;
use crate::watch::Party;

use conversation::Conversation;
use intake::Intake;
use kept_ids::KeptIds;
use socket::Socket;
use visits::Visits;
pub use visits::{NoVisit, Stay, Visitor};

/// All peers that are connected to this hub. Cheap to clone.
pub struct Sessions<M> {
    shared: Arc<SessionContext<M>>,
}

impl<M> Clone for Sessions<M> {
    fn clone(&self) -> Self {
        Sessions {
            shared: Arc::clone(&self.shared),
        }
    }
}

/// A newcomer is told of each peer, and each is told that it came and, later, that it left.
const TOLD_PER_JOIN: usize = 3;

/// The state that every session needs.
struct SessionContext<M> {
    mesh: M,
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    /// Checks tokens that clients show in their messages.
    gate: Gate,
    limits: PeerLimits,
    policies: Policies,
    intake: Arc<Intake>,
    connection_slots: ConnectionSlots,
    /// How many notices joins may cause.
    notices: Option<Arc<Turns>>,
    /// Ids kept for clients whose connection broke: as many as there may be connections.
    kept: KeptIds,
    /// Whether there is memory for more.
    pressure: Arc<Pressure>,
    /// Members of rooms without a connection.
    visits: Visits,
    open: Mutex<HashMap<u64, Arc<Mailbox>>>,
    next: AtomicU64,
    draining: AtomicBool,
}

impl<M> SessionContext<M> {
    /// Whether the party of this mailbox is banned.
    fn is_barred(&self, mailbox: &Mailbox) -> bool {
        let bans = &self.registry.watch().bans;
        mailbox.party().is_some_and(|party| bans.bars(party))
    }

    /// Whether the party, or its id in this network, is banned.
    fn is_barred_as(&self, mailbox: &Mailbox, network: &NetworkKey, peer: &PeerId) -> bool {
        self.registry.watch().bans.bars_id(network, peer) || self.is_barred(mailbox)
    }

    /// Ends a session whose party is banned.
    fn close_if_barred(&self, mailbox: &Mailbox) {
        if self.is_barred(mailbox) {
            mailbox.close(CloseReason::Banned);
        }
    }
}

impl<M: MeshPort> SessionContext<M> {
    /// An empty mailbox for this client.
    fn mailbox(&self, party: Party) -> Arc<Mailbox> {
        let capacity = Capacity {
            messages: u32::try_from(self.limits.outbox_messages).unwrap_or(u32::MAX),
            bytes: u32::try_from(self.limits.outbox_bytes).unwrap_or(u32::MAX),
        };
        Arc::new(Mailbox::of(party, capacity))
    }

    /// The turn in which a client at this address may join this network, by the notices that this causes. `None`: now.
    fn turn_to_join(&self, address: IpAddr, network: &NetworkKey) -> Option<Turn> {
        let notices = self.notices.as_ref()?;
        let told = self.mesh.told_in(network).saturating_mul(TOLD_PER_JOIN);
        let told = NonZeroU32::new(u32::try_from(told).unwrap_or(u32::MAX))?;
        notices.ask(AddressGroup::of(address), told, Instant::now())
    }
}

/// A client, as its upgrade request describes it.
#[derive(Debug)]
pub struct ConnectingPeer {
    /// Its address.
    pub address: IpAddr,
    /// Its dialect; `None` if its first text will tell.
    pub dialect: Option<Dialect>,
    /// Its id; `None` if it tells it later.
    pub peer: Option<PeerId>,
    /// The proof and restrictions of its token.
    pub grant: Box<Grant>,
    /// The network that it joins by connecting; `None` in a dialect whose clients announce themselves.
    pub network: Option<NetworkKey>,
    /// Its slot among the clients that have not shown their token yet, if one is needed. Only the token of such a
    /// client is handled.
    pub unproven: Option<Box<AddressSlot>>,
}

/// Tells a client on its socket why it is refused, and closes. Takes two seconds at most.
pub async fn turn_away<S>(io: S, ahead: &[u8], dialect: Dialect, why: &str)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    // What it sends does not matter: frames are thrown away unread.
    let mut socket = Socket::new(io, ahead, Arc::new(Intake::new(0, 0)));
    let reason = CloseReason::Refused;
    let event = Event::Error(Complaint {
        code: reason.label(),
        text: why.into(),
    });
    let network = dialect::default_network(dialect);
    if let Some(text) = dialect::encode(dialect, network, &event, unix_ms()) {
        socket.put_text(&text);
    }
    // The connection ends, whether the client hears of it or not.
    let _ = timeout(LINGER, socket.part(reason.code(), reason.text())).await;
}

/// The longest time in which a client has to read its close frame and to answer it, with everything that it sent
/// before.
const LINGER: Duration = Duration::from_secs(2);

impl<M: MeshPort> Sessions<M> {
    /// An empty set, for at most this many `connections`, as long as there is memory for more.
    pub fn new(
        mesh: M,
        registry: Arc<Registry>,
        metrics: Arc<Metrics>,
        gate: Gate,
        limits: PeerLimits,
        policies: Policies,
        (connections, pressure): (ConnectionLimits, Arc<Pressure>),
    ) -> Self {
        Sessions {
            shared: Arc::new(SessionContext {
                mesh,
                registry,
                metrics,
                gate,
                intake: Arc::new(Intake::new(
                    limits.max_message_bytes,
                    limits.message_budget_bytes,
                )),
                notices: limits.notices_per_sec_per_ip.map(Turns::new),
                limits,
                policies,
                connection_slots: ConnectionSlots::new(connections),
                kept: KeptIds::new(connections.connections),
                pressure,
                visits: Visits::default(),
                open: Mutex::default(),
                next: AtomicU64::new(0),
                draining: AtomicBool::new(false),
            }),
        }
    }

    /// A slot for one more connection from this address, to be taken before the upgrade.
    pub fn try_admit(&self, from: IpAddr) -> Result<ConnectionPermit, NoSlot> {
        self.shared.connection_slots.try_admit(from)
    }

    /// Frees the memory of addresses whose peers have not joined recently.
    pub fn forget_idle_addresses(&self) {
        if let Some(notices) = &self.shared.notices {
            notices.forget_idle(Instant::now());
        }
    }

    /// How many are connected.
    pub fn open(&self) -> usize {
        self.shared.open.lock().len()
    }

    /// Serves one peer, which counts with those of `from`, until its connection ends. `ahead` are the bytes that were
    /// read after the upgrade request.
    ///
    /// The call admits the peer. Meant to be spawned; dropping it ends the connection, and its memberships are given up all the same. The permit
    /// is dropped when the connection is over. This may be before the future is done, because an id may be kept for a
    /// moment.
    pub fn serve<S, P>(
        &self,
        io: S,
        ahead: Bytes,
        connecting: ConnectingPeer,
        from: AddressGroup,
        permit: P,
    ) -> impl Future<Output = ()> + Send
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
        P: Send,
    {
        let subject = connecting.grant.subject.as_deref();
        let admitted = self.admit(Party::new(connecting.address, subject));
        let socket = Socket::new(io, &ahead, Arc::clone(&self.shared.intake));
        let mailbox = Arc::clone(&admitted.mailbox);
        let opening = open(Arc::clone(&self.shared), mailbox, socket, connecting);
        // Boxed: a future has space for everything that it ever holds, and an idle peer has long been opened.
        self.serve_admitted((from, permit), admitted, Box::pin(opening))
    }

    async fn serve_admitted<S, P>(
        &self,
        // First, so that it is dropped last: a permit is free once its connection is counted out.
        (from, permit): (AddressGroup, P),
        admitted: Admitted<M>,
        opening: Pin<Box<impl Future<Output = Opening<S, M>> + Send>>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let since = Instant::now();
        let (mut conversation, first) = match opening.await {
            Ok(opened) => opened,
            Err(reason) => return admitted.counted.close(reason.label()),
        };
        let span = conversation.span(admitted.number);
        let reason = {
            let mut run = pin!(conversation.run(first));
            poll_fn(|cx| {
                let _entered = span.as_ref().map(|span| span.enter());
                run.as_mut().poll(cx)
            })
            .await
        };
        admitted.counted.close(reason.label());
        // Before the permit: a kept id keeps no socket.
        let mut peer = conversation.into_disconnected();
        drop(permit);
        if reason == CloseReason::ConnectionLost {
            let kept = self.shared.kept.keep(from, since);
            tokio::select! {
                () = peer.keep_id() => {}
                () = kept.lost() => {}
            }
        }
    }

    fn admit(&self, party: Party) -> Admitted<M> {
        let shared = Arc::clone(&self.shared);
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        let mailbox = shared.mailbox(party);
        shared.open.lock().insert(number, Arc::clone(&mailbox));
        // Looked at after it is listed: either a ban finds it in the list, or it finds the ban here.
        shared.close_if_barred(&mailbox);
        // So with the drain.
        if shared.draining.load(Ordering::SeqCst) {
            mailbox.close(CloseReason::Draining);
        }
        Admitted {
            counted: shared.metrics.connection(),
            shared,
            number,
            mailbox,
        }
    }

    /// Disconnects clients that are banned now. Returns how many are being disconnected for that, now and before.
    pub fn enforce_bans(&self) -> usize {
        let mut mailboxes: Vec<_> = self.shared.open.lock().values().cloned().collect();
        mailboxes.extend(self.shared.visits.mailboxes());
        for mailbox in &mailboxes {
            self.shared.close_if_barred(mailbox);
        }
        self.shared.registry.enforce_bans();
        let banned = |mailbox: &&Arc<Mailbox>| mailbox.close_reason() == Some(CloseReason::Banned);
        mailboxes.iter().filter(banned).count()
    }

    /// Disconnects all clients, evenly spread over this time, and accepts no more. Returns when the last has been told;
    /// see [`Sessions::open`] for when the last has gone.
    pub async fn drain(&self, over: Duration) {
        self.shared.draining.store(true, Ordering::SeqCst);
        self.shared.visits.end_all(CloseReason::Draining);
        let mut mailboxes: Vec<_> = self.shared.open.lock().values().cloned().collect();
        let started = tokio::time::Instant::now();
        let all = u32::try_from(mailboxes.len()).unwrap_or(u32::MAX);
        let mut told = 0;
        while let Some(mailbox) = mailboxes.pop() {
            let due = started + over.mul_f64(f64::from(told) / f64::from(all));
            tokio::time::sleep_until(due).await;
            mailbox.close(CloseReason::Draining);
            told += 1;
        }
    }
}

/// A conversation, with the text that was read already; or why there is none.
type Opening<S, M> = Result<(Conversation<S, M>, Option<Utf8Bytes>), CloseReason>;

/// Finds the dialect of a connection, if its client did not say it with its request.
async fn open<S, M>(
    shared: Arc<SessionContext<M>>,
    mailbox: Arc<Mailbox>,
    socket: Socket<S>,
    connecting: ConnectingPeer,
) -> Opening<S, M>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    M: MeshPort,
{
    let (opened, first) = match connecting.dialect {
        Some(dialect) => ((socket, dialect, connecting), None),
        None => {
            let (opened, first) = sniffing::open(socket, connecting, &mailbox).await?;
            (opened, Some(first))
        }
    };
    Ok((Conversation::new(shared, mailbox, opened), first))
}

/// One admitted connection: counted and listed until dropped.
struct Admitted<M> {
    shared: Arc<SessionContext<M>>,
    number: u64,
    mailbox: Arc<Mailbox>,
    counted: OpenConnection,
}

impl<M> Drop for Admitted<M> {
    fn drop(&mut self) {
        // A conversation that ran to its end has told the senders already.
        drop(self.mailbox.shut());
        self.shared.open.lock().remove(&self.number);
        if std::thread::panicking() {
            self.counted.close(CloseReason::Internal.label());
        }
    }
}

#[cfg(test)]
mod tests;
