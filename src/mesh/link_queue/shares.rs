//! How much of what waits for a link is whose.
//!
//! What came by one link, or began here, may take as much as there is still space for: alone it fills half of the space,
//! two fill a third each, and whoever comes last still finds some. A hub behind a link can name any source, but not the
//! link; so what is named as one hub's may take half as much as what came by the same link may still grow by. Shares
//! are counted only while a link is backed up, so one that is not pays a comparison a signal.
//!
//! Invariant: what is counted is what waits, but for what was there when counting began.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use hubmesh_core::ids::{HubId, LinkId};

/// Whose a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameOwner {
    /// The link that it came by; none if it began here.
    pub(super) came_by: Option<LinkId>,
    /// The hub that it names as its source.
    pub(super) source: HubId,
}

/// What one owner has in a batch.
#[derive(Debug)]
pub(super) struct OwnerBytes {
    owner: FrameOwner,
    bytes: usize,
}

/// What came by one link.
#[derive(Debug, Default)]
struct OfLink {
    bytes: usize,
    by_source: HashMap<HubId, usize, FixedState>,
}

/// Bytes that wait, by whose they are.
#[derive(Debug, Default)]
pub(super) struct Shares {
    by_link: HashMap<Option<LinkId>, OfLink, FixedState>,
}

impl Shares {
    /// Whether shares are counted.
    pub(super) fn is_counting(&self) -> bool {
        !self.by_link.is_empty()
    }

    /// Whether this owner may add `bytes` while `room` bytes are left for all.
    pub(super) fn fits(&self, owner: &FrameOwner, bytes: usize, space: usize) -> bool {
        let Some(of_link) = self.by_link.get(&owner.came_by) else {
            return bytes <= space;
        };
        let left = space.saturating_sub(of_link.bytes);
        if owner.came_by.is_none() {
            // All that began here is of one hub.
            return bytes <= left;
        }
        let own = of_link.by_source.get(&owner.source).copied().unwrap_or(0);
        (own + bytes) * 2 <= left
    }

    /// Counts what was added to a batch.
    pub(super) fn add(&mut self, owner: FrameOwner, bytes: usize, parts: &mut Vec<OwnerBytes>) {
        let of_link = self.by_link.entry(owner.came_by).or_default();
        of_link.bytes += bytes;
        *of_link.by_source.entry(owner.source).or_default() += bytes;
        match parts.last_mut() {
            Some(last) if last.owner == owner => last.bytes += bytes,
            _ => parts.push(OwnerBytes { owner, bytes }),
        }
    }

    /// Counts out what a batch has of each.
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
