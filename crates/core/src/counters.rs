//! Counters of a core since its start: its events, and the frames for its links.
//!
//! Plain numbers for metrics and for the figures of a simulation; no decision depends on them. Called by `core`.

use crate::frames::ControlFrame;

/// Counts of events since the start, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Changes of other hubs that were new.
    pub changes: u64,
    /// Changes that were known already.
    pub repeated: u64,
    /// Deltas that did not continue the known state: a fault.
    pub gaps: u64,
    /// Sets received from their start.
    pub resyncs: u64,
    /// Ids that changed hands.
    pub takeovers: u64,
    /// Rooms of which this hub took the record over because no other hub showed it any more.
    pub rooms_taken_over: u64,
    /// How often a room was to be taken over here and did not fit; another hub may have taken it.
    pub rooms_not_taken: u64,
    /// Rooms without a member that this hub ended: their time was over, or they gave way to others.
    pub rooms_ended: u64,
    /// How often this hub changed between single networks of others and whole sets.
    pub turns: u64,
    /// Hubs that were sent on to others.
    pub sent_on: u64,
    /// Link records that came in.
    pub records: u64,
    /// Of these, the number that were newer than the known one.
    pub records_fresh: u64,
    /// Link records of this hub that were made.
    pub records_own: u64,
    /// Runs of the shortest paths.
    pub spf_runs: u64,
    /// Summaries of neighbours that differed from ours.
    pub differed: u64,
    /// The frames for links.
    pub sent: SentFrames,
}

/// Frames for links, without the headers of the messages that carry them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SentFrames {
    /// Deltas.
    pub deltas: u64,
    /// The changes in them.
    pub changes: u64,
    /// The bytes of the deltas.
    pub delta_bytes: u64,
    /// The bytes of frames that ask for single networks.
    pub follow_bytes: u64,
    /// Link records.
    pub records: u64,
    /// The bytes of link records, and of all frames about them: digests, summaries, announcements, requests.
    pub topology_bytes: u64,
    /// Of these, the bytes of the records.
    pub record_bytes: u64,
}

impl SentFrames {
    /// A frame was encoded, in this many bytes.
    pub(super) fn count(&mut self, frame: &ControlFrame, bytes: usize) {
        let bytes = bytes as u64;
        match frame {
            ControlFrame::Delta(delta) | ControlFrame::Changes(_, delta) => {
                self.deltas += 1;
                self.changes += delta.entries.len() as u64;
                self.delta_bytes += bytes;
            }
            ControlFrame::Records(records) => {
                self.records += records.len() as u64;
                self.topology_bytes += bytes;
                self.record_bytes += bytes;
            }
            ControlFrame::Follow { .. } | ControlFrame::Unfollow { .. } => {
                self.follow_bytes += bytes
            }
            ControlFrame::Digest(_)
            | ControlFrame::Summary(_)
            | ControlFrame::Announce(_)
            | ControlFrame::Want(_) => {
                self.topology_bytes += bytes;
            }
            _ => {}
        }
    }

    /// Adds the difference between two counts of one core.
    pub fn add_between(&mut self, before: &SentFrames, after: &SentFrames) {
        self.deltas += after.deltas - before.deltas;
        self.changes += after.changes - before.changes;
        self.delta_bytes += after.delta_bytes - before.delta_bytes;
        self.follow_bytes += after.follow_bytes - before.follow_bytes;
        self.records += after.records - before.records;
        self.topology_bytes += after.topology_bytes - before.topology_bytes;
        self.record_bytes += after.record_bytes - before.record_bytes;
    }
}
