//! How the space of a link queue is shared.
//!
//! The frames from one link, or from this hub, may use as many bytes as are still free: one such group alone fills half
//! of the space, two fill a third each, and each further group still finds some space. A hub behind a link can name any
//! source, but not another link. So the frames of one named source may use half as many bytes as the frames of its link
//! may still grow by. Shares are counted only while a link is backed up; otherwise they cost one comparison for each
//! signal.
//!
//! Invariant: all waiting frames are counted, except the frames that were queued when counting began.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use hubmesh_core::ids::{HubId, LinkId};

/// The owner of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameOwner {
    /// The link on which it arrived; `None` if this hub sends it.
    pub(super) came_by: Option<LinkId>,
    /// The hub that it names as its source.
    pub(super) source: HubId,
}

/// The bytes of one owner in a batch.
#[derive(Debug)]
pub(super) struct OwnerBytes {
    owner: FrameOwner,
    bytes: usize,
}

/// The bytes from one link.
#[derive(Debug, Default)]
struct OfLink {
    bytes: usize,
    by_source: HashMap<HubId, usize, FixedState>,
}

/// The bytes that wait, by owner.
#[derive(Debug, Default)]
pub(super) struct LinkShares {
    by_link: HashMap<Option<LinkId>, OfLink, FixedState>,
}

impl LinkShares {
    /// Whether shares are counted.
    pub(super) fn is_counting(&self) -> bool {
        !self.by_link.is_empty()
    }

    /// Whether this owner may add `bytes` while `space` bytes are left for all.
    pub(super) fn fits(&self, owner: &FrameOwner, bytes: usize, space: usize) -> bool {
        let Some(of_link) = self.by_link.get(&owner.came_by) else {
            return bytes <= space;
        };
        let left = space.saturating_sub(of_link.bytes);
        if owner.came_by.is_none() {
            // All frames that this hub sends have one source.
            return bytes <= left;
        }
        let own = of_link.by_source.get(&owner.source).copied().unwrap_or(0);
        (own + bytes) * 2 <= left
    }

    /// Counts the bytes that were added to a batch.
    pub(super) fn add(&mut self, owner: FrameOwner, bytes: usize, parts: &mut Vec<OwnerBytes>) {
        let of_link = self.by_link.entry(owner.came_by).or_default();
        of_link.bytes += bytes;
        *of_link.by_source.entry(owner.source).or_default() += bytes;
        match parts.last_mut() {
            Some(last) if last.owner == owner => last.bytes += bytes,
            _ => parts.push(OwnerBytes { owner, bytes }),
        }
    }

    /// Subtracts the bytes of a batch.
    pub(super) fn subtract(&mut self, parts: &[OwnerBytes]) {
        for OwnerBytes { owner, bytes } in parts {
            let Some(of_link) = self.by_link.get_mut(&owner.came_by) else {
                continue;
            };
            of_link.subtract(&owner.source, *bytes);
            if of_link.bytes == 0 {
                self.by_link.remove(&owner.came_by);
            }
        }
        if self.by_link.is_empty() {
            self.by_link = HashMap::default();
        }
    }
}

impl OfLink {
    fn subtract(&mut self, source: &HubId, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        if let Some(own) = self.by_source.get_mut(source) {
            *own = own.saturating_sub(bytes);
            if *own == 0 {
                self.by_source.remove(source);
            }
        }
    }
}
