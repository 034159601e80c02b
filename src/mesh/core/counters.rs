//! What happened in a core, and what it gave to its links, counted since it began.
//!
//! Plain numbers for metrics and for the figures of a simulation; nothing decides by them. Called by `core`.

use crate::mesh::frames::Frame;

/// What happened, for metrics: counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Changes of other hubs that were new.
    pub changes: u64,
    /// Changes that came although they were here already.
    pub repeated: u64,
    /// Deltas that did not follow what was here: a fault.
    pub gaps: u64,
    /// Sets received from their start.
    pub resyncs: u64,
    /// Ids that changed hands.
    pub takeovers: u64,
    /// Link records taken in.
    pub records: u64,
    /// What was given to links.
    pub sent: Sent,
}

/// Frames given to links, without the headers of the messages that carry them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Deltas.
    pub deltas: u64,
    /// The changes in them.
    pub changes: u64,
    /// The bytes of the deltas.
    pub delta_bytes: u64,
    /// Link records.
    pub records: u64,
    /// The bytes of link records and digests.
    pub topology_bytes: u64,
}

impl Sent {
    /// A frame was written in so many bytes.
    pub(super) fn count(&mut self, frame: &Frame, bytes: usize) {
        let bytes = bytes as u64;
        match frame {
            Frame::Delta(delta) => {
                self.deltas += 1;
                self.changes += delta.entries.len() as u64;
                self.delta_bytes += bytes;
            }
            Frame::Records(records) => {
                self.records += records.len() as u64;
                self.topology_bytes += bytes;
            }
            Frame::Digest(_) => self.topology_bytes += bytes,
            _ => {}
        }
    }

    /// Adds what was given to links between two counts of one core.
    pub fn add_between(&mut self, before: &Sent, after: &Sent) {
        self.deltas += after.deltas - before.deltas;
        self.changes += after.changes - before.changes;
        self.delta_bytes += after.delta_bytes - before.delta_bytes;
        self.records += after.records - before.records;
        self.topology_bytes += after.topology_bytes - before.topology_bytes;
    }
}
