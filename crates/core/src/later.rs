//! Changes of later versions that are not claims. This version authors none, and forwards them; hubs that are simulated
//! as later ones author them.
//!
//! Part of [`Core`], whose doc has the contract.

use super::Core;
use super::ids::Now;
use crate::frames::{Set, UnknownChange};

/// Hubs of this wire level or higher keep and forward unknown changes.
const KEEPS: u8 = 1;

impl Core {
    /// Whether all hubs in reach keep unknown changes. A hub of level 0 would hide them from the hubs behind it for
    /// ever: when this becomes true again, an author sends all of its items again (see MESH.md).
    pub fn can_author_unknown(&self) -> bool {
        self.routing.topology.routes().level >= KEEPS
    }

    /// Authors a change of an item of this hub, in a network in which it has members.
    pub fn author_unknown(&mut self, now: Now, change: UnknownChange) {
        let of_network = Set::of(self.me, &change.network);
        self.directory.write().author_unknown(now.at, change);
        self.routing.subscribers.on_advance(&Set::all(self.me));
        self.routing.subscribers.on_advance(&of_network);
        self.settle(now);
    }
}
