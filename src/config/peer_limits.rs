//! What a single peer may do and cost, and how it is read.
//!
//! Called by [`Config`](super::Config), which checks how these limits relate to others.

use std::num::NonZeroU32;
use std::time::Duration;

use super::read::Reader;

/// What a single peer may do and cost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerLimits {
    /// From the WebSocket to the first announcement.
    pub announce_timeout: Duration,
    /// Longest message, in bytes.
    pub max_message_bytes: usize,
    /// Bytes of all messages together that have arrived in part. At least four of the longest.
    pub message_budget_bytes: usize,
    /// Longest announced data, in bytes. At most `max_message_bytes`.
    pub max_announce_bytes: usize,
    /// Networks that one connection may be in at once; at least 1.
    pub max_networks: usize,
    /// The longest text that the hub keeps of a room.
    pub max_room_bytes: usize,
    /// Messages a second for long; `None` is no limit.
    pub rate_per_sec: Option<u32>,
    /// Messages at once; at least 1.
    pub rate_burst: u32,
    /// Bytes of a message that count as one message; at least 1.
    pub rate_message_bytes: usize,
    /// Notices a second that peers of one address may cause by joining; `None` is no limit.
    pub notices_per_sec_per_ip: Option<NonZeroU32>,
    /// Messages that may wait for its socket: at least a full roster and 256 more.
    pub outbox_messages: usize,
    /// Bytes that may wait for its socket: at least a full roster and four of the longest messages.
    pub outbox_bytes: usize,
}

impl PeerLimits {
    /// How many messages a message of this length counts as.
    pub fn rate_cost(&self, bytes: usize) -> NonZeroU32 {
        let parts = bytes.div_ceil(self.rate_message_bytes.max(1));
        NonZeroU32::new(u32::try_from(parts).unwrap_or(u32::MAX)).unwrap_or(NonZeroU32::MIN)
    }
}

pub(super) fn read(reader: &mut Reader) -> Option<PeerLimits> {
    let announce_timeout = reader.millis("ANNOUNCE_TIMEOUT_MS", 100..=600_000);
    let max_message_bytes = reader.number("MAX_MESSAGE_BYTES", 1_024..=16_777_216);
    let message_budget_bytes = reader.number("MESSAGE_BUDGET_BYTES", 1..=17_179_869_184);
    let max_announce_bytes = reader.number("MAX_ANNOUNCE_BYTES", 64..=1_048_576);
    let max_networks = reader.number("MAX_NETWORKS_PER_CONNECTION", 1..=10_000);
    let max_room_bytes = reader.number("MAX_ROOM_BYTES", 64..=1_048_576);
    let rate_per_sec: Option<u32> = reader.number("RATE_LIMIT_PER_SEC", 0..=1_000_000);
    let rate_burst = reader.number("RATE_LIMIT_BURST", 1..=1_000_000);
    let rate_message_bytes = reader.number("RATE_LIMIT_MESSAGE_BYTES", 256..=16_777_216);
    let notices = reader.number("NOTICES_PER_SEC_PER_IP", 0..=100_000_000);
    let outbox_messages = reader.number("OUTBOX_MESSAGES", 1..=1_000_000);
    let outbox_bytes = reader.number("OUTBOX_BYTES", 1..=1_073_741_824);
    Some(PeerLimits {
        announce_timeout: announce_timeout?,
        max_message_bytes: max_message_bytes?,
        message_budget_bytes: message_budget_bytes?,
        max_announce_bytes: max_announce_bytes?,
        max_networks: max_networks?,
        max_room_bytes: max_room_bytes?,
        rate_per_sec: Some(rate_per_sec?).filter(|rate| *rate > 0),
        rate_burst: rate_burst?,
        rate_message_bytes: rate_message_bytes?,
        notices_per_sec_per_ip: NonZeroU32::new(notices?),
        outbox_messages: outbox_messages?,
        outbox_bytes: outbox_bytes?,
    })
}
