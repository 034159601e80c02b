//! Somebody looks at a network at a hub, without being a peer.

use std::collections::BTreeMap;

use super::{HostNo, World};
use hubmesh_core::ids::NetworkKey;

/// How many looks have ended at each hub, by network.
pub(super) type LooksEnded = BTreeMap<(HostNo, NetworkKey), usize>;

impl World {
    /// Somebody looks at a network at a running hub.
    pub fn look_at(&mut self, no: HostNo, network: &NetworkKey) {
        self.disturb();
        self.mark(16 << 56 | no as u64);
        let now = self.clocks(no);
        if let Some(hub) = self.hosts[no].running.as_mut() {
            hub.core.look(now, network);
        }
        self.settle(no);
    }

    /// How many looks at a network have ended at a hub.
    pub fn looks_ended(&self, no: HostNo, network: &NetworkKey) -> usize {
        let ended = self.looks_ended.get(&(no, network.clone()));
        ended.copied().unwrap_or(0)
    }

    pub(super) fn on_seen(&mut self, no: HostNo, network: NetworkKey) {
        *self.looks_ended.entry((no, network)).or_default() += 1;
    }
}
