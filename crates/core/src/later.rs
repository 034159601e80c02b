//! Changes beside claims that hubs of a later version author. This version authors none, and passes them on; hubs that
//! are simulated as later ones do author them.
//!
//! Part of [`Core`], whose doc has the contract.

use super::Core;
use super::ids::Now;
use crate::frames::{Set, UnknownChange};

/// Hubs of this wire level or higher keep changes that they do not know, and pass them on.
const KEEPS: u8 = 1;

impl Core {
    /// Whether all hubs in reach keep changes that they do not know. A hub of level 0 would hide them from those behind it,
    /// for good: when this turns true again, an author says all of its items anew, as MESH.md has it.
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
