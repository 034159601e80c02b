//! The amounts of memory from which the hub ends rooms without a member, and lets no newcomer in.
//!
//! Off unless set: much memory is not a fault of a hub with many peers. Knows nothing of how memory is measured.

use super::read::Reader;

/// A MiB.
const MIB: u64 = 1 << 20;
/// The most that can be set: a TiB.
const MOST: u64 = 1 << 20;

/// Bytes of resident memory from which the hub acts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MemoryThresholds {
    /// From this amount on rooms without a member end, some at a time.
    pub warning: Option<u64>,
    /// From this amount on all of them end, and no newcomer is let in.
    pub critical: Option<u64>,
}

impl MemoryThresholds {
    /// Whether one of them is set.
    pub fn are_set(self) -> bool {
        self.warning.is_some() || self.critical.is_some()
    }
}

/// Reads both, and checks that the second is not below the first.
pub(super) fn read(reader: &mut Reader) -> Option<MemoryThresholds> {
    let mut bytes = |name| match reader.has_text(name) {
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
