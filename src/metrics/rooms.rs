//! Counters of rooms, and of the memory that ends them.

use prometheus::{IntCounter, IntGauge};

use super::Maker;

/// Rooms of this hub, and its memory as the guard sees it.
pub struct RoomMetrics {
    /// Rooms whose record this hub holds.
    pub held: IntGauge,
    /// Those of them that are without a member.
    pub empty: IntGauge,
    /// Rooms without a member that ended before their time, for want of memory.
    pub shed: IntCounter,
    /// Rooms whose record this hub took over from a hub that was gone or drained.
    pub taken_over: IntCounter,
    /// Such rooms that it did not take over, since their records did not fit.
    pub not_taken: IntCounter,
    /// Members of rooms that joined over HTTP and have no connection.
    pub visitors: IntGauge,
    /// 0, or 1 and 2 from `MEMORY_WARNING_THRESHOLD` and `MEMORY_CRITICAL_THRESHOLD` on.
    pub memory_pressure: IntGauge,
}

impl RoomMetrics {
    pub(super) fn new(r: &Maker) -> Self {
        RoomMetrics {
            held: r.gauge("rooms_held", "Rooms whose record this hub holds."),
            empty: r.gauge(
                "rooms_empty",
                "Rooms without a member whose record this hub holds.",
            ),
            shed: r.counter(
                "rooms_shed_total",
                "Rooms without a member that ended before their time, for want of memory.",
            ),
            taken_over: r.counter(
                "rooms_taken_over_total",
                "Rooms whose record this hub took over from a hub that was gone or drained.",
            ),
            not_taken: r.counter(
                "rooms_not_taken_over_total",
                "How often this hub did not take over a room of a hub that was gone or drained, since its record did not fit. Another hub may have.",
            ),
            visitors: r.gauge(
                "room_visitors",
                "Members of rooms that came by HTTP and have no connection.",
            ),
            memory_pressure: r.gauge(
                "memory_pressure",
                "0; 1 from MEMORY_WARNING_THRESHOLD on, 2 from MEMORY_CRITICAL_THRESHOLD on.",
            ),
        }
    }
}
