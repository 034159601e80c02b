//! From how much memory on the hub parts from rooms without a member, and lets nobody in.
//!
//! Off unless set: a hub with many peers takes much memory and is in no way wrong. Knows nothing of how it is measured.

use super::read::Reader;

/// A MiB.
const MIB: u64 = 1 << 20;
/// The most that can be set: a TiB.
const MOST: u64 = 1 << 20;

/// Bytes of resident memory from which something is done about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MemoryThresholds {
    /// From here on rooms without a member end, some at a time.
    pub warning: Option<u64>,
    /// From here on all of them end, and nobody is let in.
    pub critical: Option<u64>,
}

impl MemoryThresholds {
    /// Whether any is set.
    pub fn are_set(self) -> bool {
        self.warning.is_some() || self.critical.is_some()
    }
}

/// Reads both, and that the second is not before the first.
pub(super) fn read(reader: &mut Reader) -> Option<MemoryThresholds> {
    let mut bytes = |name| match reader.is_set(name) {
        true => reader
            .number::<u64>(name, 1..=MOST)
            .map(|mib| Some(mib * MIB)),
        false => Some(None),
    };
    let warning = bytes("MEMORY_WARNING_THRESHOLD");
    let critical = bytes("MEMORY_CRITICAL_THRESHOLD");
    let thresholds = MemoryThresholds {
        warning: warning?,
        critical: critical?,
    };
    if let (Some(warning), Some(critical)) = (thresholds.warning, thresholds.critical)
        && critical < warning
    {
        let why = "is less than MEMORY_WARNING_THRESHOLD, which comes first";
        reader.problem("MEMORY_CRITICAL_THRESHOLD", why);
    }
    Some(thresholds)
}
