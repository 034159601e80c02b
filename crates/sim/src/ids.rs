//! Numbers of machines, connections and boots in a world.

/// A machine. Never used twice in a world.
pub type HostNo = usize;

/// One connection. Never used twice in a world.
pub(super) type ConnNo = u64;

/// One end of a connection: the dialler has side 0.
pub(super) type Side = usize;

/// A machine in one of its boots: events for an earlier boot are ignored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Boot {
    pub(super) host: HostNo,
    pub(super) boot: u32,
}
