//! How much of what waits for a link is each hub's.
//!
//! The signals of one hub may take as much as there is still room for: alone it fills half of the room, two fill a third
//! each, and whoever comes last still finds some. Who has how much is counted only while a link is backed up, so one
//! that is not pays a comparison a signal.
//!
//! Invariant: what is counted is what waits, but for what was there when counting began.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::mesh::core::ids::HubId;

/// What one hub has in a batch.
#[derive(Debug)]
pub(super) struct Part {
    source: HubId,
    bytes: usize,
}

/// Bytes that wait, by the hub whose signals they are.
#[derive(Debug, Default)]
pub(super) struct Shares {
    by_source: HashMap<HubId, usize, FixedState>,
}

impl Shares {
    /// Whether it is counted who has how much.
    pub(super) fn is_counting(&self) -> bool {
        !self.by_source.is_empty()
    }

    /// Whether so many bytes more of this hub fit where there is so much room left.
    pub(super) fn fits(&self, source: &HubId, bytes: usize, room: usize) -> bool {
        let own = self.by_source.get(source).copied().unwrap_or(0);
        own + bytes <= room
    }

    /// Counts what was added to a batch.
    pub(super) fn add(&mut self, source: HubId, bytes: usize, parts: &mut Vec<Part>) {
        *self.by_source.entry(source).or_default() += bytes;
        match parts.last_mut() {
            Some(last) if last.source == source => last.bytes += bytes,
            _ => parts.push(Part { source, bytes }),
        }
    }

    /// Counts out what a batch has of each.
    pub(super) fn subtract(&mut self, parts: &[Part]) {
        for Part { source, bytes } in parts {
            if let Some(own) = self.by_source.get_mut(source) {
                *own = own.saturating_sub(*bytes);
                if *own == 0 {
                    self.by_source.remove(source);
                }
            }
        }
        if self.by_source.is_empty() {
            self.by_source = HashMap::default();
        }
    }
}
