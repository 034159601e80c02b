//! What hubs of a later version say of themselves beside claims. This version says nothing of the kind, and passes it on;
//! hubs that are simulated as later ones do.
//!
//! Part of [`Core`], whose doc has the contract.

use super::Core;
use super::ids::Now;
use crate::frames::{Set, UnknownChange};

/// From which wire level on hubs keep what they do not know, and pass it on.
const KEEPS: u8 = 1;

impl Core {
    /// Whether all hubs in reach keep changes that they do not know. A hub of level 0 would hide them from those behind it,
    /// for good: when this turns true again, an author says all of its items anew, as MESH.md has it.
    pub fn can_author_unknown(&self) -> bool {
        self.routing.topology.routes().level >= KEEPS
    }

    /// Says something of an item of this hub, in a network in which it has members.
    pub fn author_unknown(&mut self, now: Now, change: UnknownChange) {
        let of_network = Set::of(self.me, &change.network);
        self.directory.write().author_unknown(now.at, change);
        self.routing.subscribers.on_advance(&Set::all(self.me));
        self.routing.subscribers.on_advance(&of_network);
        self.settle(now);
    }
}
