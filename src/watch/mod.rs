//! The data that a hub keeps for its operators: events, bans, and the counts of the last hour.
//!
//! Every part of the hub may hold a [`Watch`] and note events. Noting an event never waits, and signals do not pass here.
//! Knows no socket except that of the webhook, and neither sessions nor hubs.

mod bans;
mod event;
mod events;
mod history;
mod ring;
mod webhook;

pub(crate) use bans::MAX_SUBJECT;
pub use bans::{BadBan, BanList, Banned, BannedBy, Party};
pub use event::{Event, Operator, What};
pub use events::{Batch, Events, Read, Reader, TooManyReaders};
pub use history::{Columns, History, Past};
pub(crate) use ring::newest;
pub use webhook::follow as post_events;

use std::sync::Arc;

use hubmesh_core::ids::HubId;

use crate::config::AdminSettings;
use crate::metrics::Metrics;

/// Events, bans and history of one hub.
pub struct Watch {
    /// The latest events.
    pub events: Arc<Events>,
    /// The bans in force.
    pub bans: BanList,
    /// The counts of the last hour.
    pub history: History,
}

impl Watch {
    /// The state of a hub that has just started.
    pub fn new(me: HubId, settings: &AdminSettings, metrics: &Arc<Metrics>) -> Arc<Self> {
        Arc::new(Watch {
            events: Arc::new(Events::new(
                me,
                settings.max_event_readers,
                Arc::clone(metrics),
            )),
            bans: BanList::new(Arc::clone(metrics)),
            history: History::new(Arc::clone(metrics)),
        })
    }
}
