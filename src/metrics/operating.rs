//! Counters for operators: peers that come and go, bans, readers of events, and what operators did.

use prometheus::{IntCounter, IntGauge};

use super::Maker;
use super::family::ByName;

/// Counters for operators.
pub struct Operating {
    /// Peers that came into a network.
    pub joins: IntCounter,
    /// Peers that left one.
    pub leaves: IntCounter,
    /// Peers that were refused a network, by reason.
    pub joins_refused: ByName,
    /// Bans that count.
    pub bans: IntGauge,
    /// Readers of events.
    pub event_readers: IntGauge,
    /// What operators did, by action.
    pub actions: ByName,
    /// Batches of events sent to the webhook, by what became of them.
    pub webhook_posts: ByName,
    /// Events that the webhook did not take in time.
    pub webhook_dropped: IntCounter,
}

impl Operating {
    pub(super) fn new(r: &Maker) -> Self {
        Operating {
            joins: r.counter("joins_total", "Peers that came into a network."),
            leaves: r.counter("leaves_total", "Peers that left a network."),
            joins_refused: r.by_name(
                "joins_refused_total",
                "Peers that may not be in the network that they asked for.",
                "reason",
            ),
            bans: r.gauge("bans", "Bans that count."),
            event_readers: r.gauge("event_readers", "Who listens to events."),
            actions: r.by_name(
                "operator_actions_total",
                "What operators did, logins included.",
                "action",
            ),
            webhook_posts: r.by_name(
                "webhook_posts_total",
                "Batches of events that were sent to EVENTS_WEBHOOK_URL.",
                "result",
            ),
            webhook_dropped: r.counter(
                "webhook_dropped_events_total",
                "Events that EVENTS_WEBHOOK_URL did not take in time.",
            ),
        }
    }
}
