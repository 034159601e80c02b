//! The bounds of the exchange, each with its unit, and what all of them cost in memory at worst.
//!
//! Per destination: `window_bytes` + `hub_reserve` of payload, and for at most one signal per
//! [`SIGNAL_COST`] of these a record of about 250 bytes and the texts of two ids (8 MB with the
//! defaults, in a window that is full of the smallest signals). Per source hub: `early_bytes`, at most
//! [`MAX_OUTSTANDING`] records of early arrivals and as many refusals (6 MB). An idle pair takes about
//! 250 bytes at either end. The waiting room: `wait_total_bytes`, which the records count towards, and
//! about 300 bytes of index per signal (19 MB).

use std::time::Duration;

use crate::frames::WIRE_LEVEL;
use crate::ids::NetworkKey;
use crate::mutants::Mutants;
use crate::policy::{Policies, Waiting};

/// The bytes that a signal counts beside its payload: in a window and in the waiting room.
pub const SIGNAL_COST: usize = 128;

/// The most signals that a source may have unacknowledged at one destination. Part of the protocol: a
/// destination drops what lies further above the source's base.
pub const MAX_OUTSTANDING: u64 = 16_384;

/// How far the numbers of a source may jump ahead at once: far more than an incarnation sends, but too little to use up
/// the numbers. Numbers jump where a window was forgotten, because later ones start above all that were used.
pub const MAX_JUMP: u64 = 1 << 48;

/// The bounds and times of an [`Exchange`](super::Exchange).
#[derive(Clone, Debug)]
pub struct ExchangeConfig {
    /// Bytes that may be unacknowledged per destination hub, [`SIGNAL_COST`] per signal included. A
    /// signal that does not fit is refused with `Overload`.
    pub window_bytes: usize,
    /// Bytes on top of `window_bytes` that only messages between hubs may use, so that the control plane still works
    /// when peers fill the window.
    pub hub_reserve: usize,
    /// Signals after which a destination acknowledges at once.
    pub ack_every: u32,
    /// How long a destination may keep an acknowledgement back.
    pub ack_delay: Duration,
    /// How long a source waits for an acknowledgement before it sends again; doubled once while none comes.
    /// Keep it above the round trip of the longest path.
    pub resend_after: Duration,
    /// How long a signal may stay unacknowledged by a hub that can be reached, before it fails as `Unknown`.
    pub give_up_after: Duration,
    /// How long a hub may be unreachable before the signals to it fail: `MESH_HOLD_MS`.
    pub hold: Duration,
    /// How long a signal waits for a target that is at no hub. Zero: not at all.
    pub wait: Duration,
    /// The policies of the dialects, some of which set another wait.
    pub policies: Policies,
    /// Signals of one claim that may wait.
    pub wait_per_sender: usize,
    /// Signals for one target that may wait.
    pub wait_per_target: usize,
    /// Signals that may wait in total.
    pub wait_total: usize,
    /// Bytes that may wait of one claim, and for one target, [`SIGNAL_COST`] per signal included. They are handed over
    /// at once when the target appears, so they must fit into its mailbox with space to spare.
    pub wait_backlog_bytes: usize,
    /// Bytes that may wait in total, [`SIGNAL_COST`] per signal included.
    pub wait_total_bytes: usize,
    /// Bytes kept per source hub of signals that arrived before an earlier one, [`SIGNAL_COST`] per signal
    /// included. Beyond it they are dropped: the source sends again.
    pub early_bytes: usize,
    /// The most hubs with a send window. At the bound an idle window is dropped for a new one; if none is idle:
    /// `Overload`.
    pub send_windows: usize,
    /// The most hubs with a receive window. At the bound a hub that has been silent for `forget_after` is forgotten for
    /// a new one; if there is none, the signal is dropped, and its source sends it again.
    pub receive_windows: usize,
    /// Silence after which a source hub's numbers may be forgotten. Must exceed `give_up_after` plus the longest time
    /// that a frame can be under way; otherwise such a frame would be delivered again.
    pub forget_after: Duration,
    /// The wire level of this hub: [`WIRE_LEVEL`], but for simulated hubs of later versions.
    pub level: u8,
    /// Known bugs, for tests of the tests.
    pub mutants: Mutants,
}

impl Default for ExchangeConfig {
    fn default() -> Self {
        ExchangeConfig {
            window_bytes: 4 * 1024 * 1024,
            hub_reserve: 32 * 1024,
            ack_every: 32,
            ack_delay: Duration::from_millis(20),
            resend_after: Duration::from_secs(1),
            give_up_after: Duration::from_secs(30),
            hold: Duration::from_secs(2),
            wait: Duration::from_secs(5),
            policies: Policies::default(),
            wait_per_sender: 64,
            wait_per_target: 128,
            wait_total: 10_000,
            wait_backlog_bytes: 1024 * 1024,
            wait_total_bytes: 16 * 1024 * 1024,
            early_bytes: 1024 * 1024,
            send_windows: 4096,
            receive_windows: 4096,
            forget_after: Duration::from_secs(60),
            level: WIRE_LEVEL,
            mutants: Mutants::NONE,
        }
    }
}

impl ExchangeConfig {
    /// How long signals of this network wait, and whether all of a sender to a target wait until the first of them
    /// expires.
    pub(super) fn wait_in(&self, network: &NetworkKey) -> (Duration, bool) {
        match network.policy(&self.policies).map(|policy| policy.waiting) {
            Some(Waiting::Together(wait)) => (wait, true),
            Some(Waiting::Alone) | None => (self.wait, false),
        }
    }
}
