//! The interface through which sessions use the mesh; their tests run without a mesh.

use std::future::Future;

use bytes::Bytes;
use hubmesh_core::api::{Join, Room, Signal, SignalFailure, Source, Unread};
use hubmesh_core::ids::{ClaimNo, LeaveReason, NetworkKey, PeerId, SignalKind};

/// The mesh, as one connected peer needs it. A cheap handle; the result of a join arrives through the
/// [`Registry`](crate::peers::registry::Registry).
pub trait MeshPort: Clone + Send + Sync + 'static {
    /// A claim number that this process has not used.
    fn next_claim(&self) -> ClaimNo;

    /// How many members of a network, mesh-wide, are told of a newcomer. The newcomer is told of the same number.
    fn told_in(&self, network: &NetworkKey) -> usize;

    /// How many peers a network shows, in the whole mesh.
    fn members_of(&self, network: &NetworkKey) -> usize;

    /// The other members that a member of a network is told of in one message, each with its data.
    fn others(&self, network: &NetworkKey, peer: &PeerId) -> Vec<(PeerId, Option<Bytes>)>;

    /// A room, as this hub knows it.
    fn room(&self, network: &NetworkKey) -> Option<Room>;

    /// Asks to be in a network.
    fn join(&self, join: Join) -> impl Future<Output = ()> + Send;

    /// Shows other data of a claim, or shows a claim that was `quiet` until now.
    fn update(
        &self,
        claim: ClaimNo,
        data: Option<Bytes>,
        quiet: bool,
    ) -> impl Future<Output = ()> + Send;

    /// Gives a claim up.
    fn leave(&self, claim: ClaimNo, reason: LeaveReason) -> impl Future<Output = ()> + Send;

    /// Gives a claim up without waiting, because a dropped value cannot wait.
    fn leave_now(&self, claim: ClaimNo, reason: LeaveReason);

    /// Answers a probe.
    fn probe_result(
        &self,
        claim: ClaimNo,
        token: u64,
        alive: bool,
    ) -> impl Future<Output = ()> + Send;

    /// Sends a signal. Later failures arrive through the registry.
    fn signal(&self, signal: Signal<'_>) -> Result<(), SignalFailure>;

    /// Publishes to all members of the network of a claim, and with `echo` to that claim too. Later failures arrive
    /// through the registry.
    fn publish(
        &self,
        source: &Source,
        kind: SignalKind,
        payload: Bytes,
        echo: bool,
    ) -> Result<(), SignalFailure>;

    /// Tells the hubs of the senders which of their signals a peer of this id left unread.
    fn return_unread(&self, target: &PeerId, unread: &[Unread]);
}
