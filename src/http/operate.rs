//! What operators ask of a hub and its mesh beyond what the status pages show: the seam to whoever can answer.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hubmesh_core::api::{BanId, BansFull};
use hubmesh_core::ids::{HubId, NetworkKey, PeerId};

use crate::mesh::{LinkView, Removal, Tally};
use crate::watch::{Banned, Party, Past, Watch};

/// The peers of each hub that were asked for, and whose they are where that is known.
pub type Parties = BTreeMap<HubId, Vec<(PeerId, Option<Party>)>>;

/// What operators ask for. Answers of other hubs are waited for no longer than is said.
pub trait Operate: Send + Sync {
    /// What happens at this hub, and who is banned.
    fn watch(&self) -> &Arc<Watch>;

    /// The links of the mesh, each once.
    fn links(&self) -> Vec<LinkView>;

    /// Where a peer is, and since when, as Unix time in milliseconds.
    fn holder(&self, network: &NetworkKey, peer: &PeerId) -> Option<(HubId, u64)>;

    /// Whose these peers of one network are.
    fn parties(
        &self,
        network: &NetworkKey,
        peers: &[(PeerId, HubId)],
        within: Duration,
    ) -> impl Future<Output = Parties> + Send;

    /// The last hour of each hub that answers.
    fn past(&self, within: Duration) -> impl Future<Output = BTreeMap<HubId, Past>> + Send;

    /// What waits at each hub that answers.
    fn tallies(&self, within: Duration) -> impl Future<Output = BTreeMap<HubId, Tally>> + Send;

    /// Sends a peer away, wherever it is.
    fn remove(
        &self,
        network: &NetworkKey,
        peer: &PeerId,
        within: Duration,
    ) -> impl Future<Output = Removal> + Send;

    /// Bans somebody in the whole mesh; how many connections of this hub end for a ban.
    fn place_ban(&self, ban: &Banned) -> impl Future<Output = Result<usize, BansFull>> + Send;

    /// Lifts a ban. False if there is none that counts.
    fn lift_ban(&self, ban: BanId) -> impl Future<Output = bool> + Send;
}
