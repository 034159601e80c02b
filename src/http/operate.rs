//! The requests of operators to a hub and its mesh beyond the status pages: the seam to the part that can answer.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hubmesh_core::api::{BanId, BansFull};
use hubmesh_core::ids::{HubId, NetworkKey, PeerId};

use crate::mesh::{AwaitedIds, AwaitedQuery, Awaiting, LinkView, Removal, Tally};
use crate::watch::{Banned, Party, Past, Watch};

/// Peers by hub, and the party of each if it is known.
pub type Parties = BTreeMap<HubId, Vec<(PeerId, Option<Party>)>>;

/// The requests of operators. Answers of other hubs are awaited for no longer than the given time.
pub trait Operate: Send + Sync {
    /// The events of this hub, and the bans.
    fn watch(&self) -> &Arc<Watch>;

    /// The links of the mesh, each once.
    fn links(&self) -> impl Future<Output = Vec<LinkView>> + Send;

    /// The hub of a peer, and the time since which the hub has it, as Unix time in milliseconds.
    fn holder(&self, network: &NetworkKey, peer: &PeerId) -> Option<(HubId, u64)>;

    /// The parties of these peers of one network.
    fn parties(
        &self,
        network: &NetworkKey,
        peers: &[(PeerId, HubId)],
        within: Duration,
    ) -> impl Future<Output = Parties> + Send;

    /// The last hour of each hub that answers.
    fn past(&self, within: Duration) -> impl Future<Output = BTreeMap<HubId, Past>> + Send;

    /// The numbers of waiting signals, contests and alarms at each hub that answers.
    fn tallies(&self, within: Duration) -> impl Future<Output = BTreeMap<HubId, Tally>> + Send;

    /// Ids that signals wait for or that are contested, at each hub that answers.
    fn awaited(
        &self,
        what: Awaiting,
        wanted: AwaitedQuery,
        within: Duration,
    ) -> impl Future<Output = BTreeMap<HubId, AwaitedIds>> + Send;

    /// Removes a peer, at any hub.
    fn remove(
        &self,
        network: &NetworkKey,
        peer: &PeerId,
        within: Duration,
    ) -> impl Future<Output = Removal> + Send;

    /// Places a ban in the whole mesh; returns the number of connections of this hub that it ends.
    fn place_ban(&self, ban: &Banned) -> impl Future<Output = Result<usize, BansFull>> + Send;

    /// Lifts a ban. False if no such ban is in force.
    fn lift_ban(&self, ban: BanId) -> impl Future<Output = bool> + Send;
}
