//! The inputs of the driver: from links, dials, the lookup of names, and the rest of the hub.
//!
//! A file of its own, because all these senders know it, and none of them knows another.

use std::sync::Arc;

use bytes::Bytes;
use hubmesh_core::api::{Ban, BanId, BansFull, DialFailure, Join, LinkUp};
use hubmesh_core::ids::{ClaimNo, DialId, HubId, LeaveReason, LinkId, NetworkKey};
use hubmesh_core::reach::Reach;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::awaited::{AwaitedIds, AwaitedQuery};
use super::conditions::Answers;
use super::link_queue::LinkQueue;
use super::troubles::Trouble;
use super::view::LinkView;

/// One input.
pub enum Input {
    /// A control message arrived on a link.
    Control {
        link: LinkId,
        message: Bytes,
        /// Its share of the bytes that may wait for the driver; released once the core has handled the message.
        permit: OwnedSemaphorePermit,
    },
    /// A data message on a link could not be read.
    Unreadable { link: LinkId },
    /// A link's handshake has succeeded.
    LinkUp {
        /// The id that this hub had in it.
        me: HubId,
        up: LinkUp,
        reach: Reach,
        queue: Arc<LinkQueue>,
    },
    /// A link's socket has ended.
    LinkDown { link: LinkId },
    /// A dial made no link.
    DialFailed {
        dial: DialId,
        why: DialFailure,
        trouble: Trouble,
    },
    /// The addresses to dial for as long as the hub runs.
    Bootstrap(Vec<String>),
    /// A name of `BOOTSTRAP_HUBS`, as it is written there, has addresses or cannot be looked up.
    Name {
        name: String,
        trouble: Option<Trouble>,
    },
    /// A local peer asks to join a network.
    Join(Join),
    /// A local peer shows other data.
    Update {
        claim: ClaimNo,
        data: Option<Bytes>,
        quiet: bool,
    },
    /// A local peer has left.
    Leave { claim: ClaimNo, reason: LeaveReason },
    /// The answer to a probe.
    ProbeResult { token: u64, alive: bool },
    /// Asks the other hubs for their state.
    AskHubs(Answers),
    /// An operator looks at the links of the mesh.
    Graph(oneshot::Sender<Vec<LinkView>>),
    /// Somebody looks at a network: the sender is told once its members are known here, and whether it is of interest
    /// then.
    Look {
        network: NetworkKey,
        asker: oneshot::Sender<bool>,
    },
    /// An operator looks at the ids that joins contest.
    Contested {
        wanted: AwaitedQuery,
        asker: oneshot::Sender<AwaitedIds>,
    },
    /// An operator places a ban.
    PlaceBan {
        ban: Ban,
        asker: oneshot::Sender<Result<(), BansFull>>,
    },
    /// An operator lifts a ban.
    LiftBan {
        ban: BanId,
        asker: oneshot::Sender<bool>,
    },
    /// Ends rooms without a member that this hub keeps.
    EndEmptyRooms {
        /// At most this many.
        most: usize,
        /// The receiver of two numbers: the rooms that it kept, and those of them that have ended.
        ended: oneshot::Sender<(usize, usize)>,
    },
    /// The hub is shutting down: tells the other hubs.
    Drain,
    /// The hub has stopped: closes its links.
    Stop(oneshot::Sender<()>),
}
