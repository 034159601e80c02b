//! The first of the three parts of a core: its links. It knows the open sockets, which of them is *the* link to a
//! neighbour, the frames of each, and which hubs to dial.
//!
//! Knows nothing of routes and of claims. Called by [`Core`](super::Core), which passes events on.

use std::collections::{BTreeMap, VecDeque};

use super::api::Bye;
use super::closing_links::ClosingLinks;
use super::dial::{DialConfig, Dialer};
use super::ids::{HubId, LinkId, Moment};
use super::links::{LinkConfig, Links};
use crate::frames::ControlFrame;
use crate::reach::Reach;
use crate::wire::{Decoder, Encoder};

/// The encoder, decoder and queue of one link.
pub(super) struct Codec {
    pub(super) hub: HubId,
    /// How far away the other end is.
    pub(super) reach: Reach,
    /// The other end knows sets of single networks.
    pub(super) follows: bool,
    pub(super) encoder: Encoder,
    pub(super) decoder: Decoder,
    pub(super) queue: VecDeque<ControlFrame>,
}

impl Codec {
    pub(super) fn new(hub: HubId, reach: Reach) -> Self {
        Codec {
            hub,
            reach,
            follows: false,
            encoder: Encoder::new(),
            decoder: Decoder::new(),
            queue: VecDeque::new(),
        }
    }
}

/// The links of a hub.
pub(super) struct Linkage {
    pub(super) links: Links,
    pub(super) dialer: Dialer,
    pub(super) codecs: BTreeMap<LinkId, Codec>,
    pub(super) closing_links: ClosingLinks,
}

impl Linkage {
    pub(super) fn new(me: HubId, seed: u64, links: LinkConfig, dial: DialConfig) -> Self {
        Linkage {
            links: Links::new(me, links),
            dialer: Dialer::new(me, seed, dial),
            codecs: BTreeMap::new(),
            closing_links: ClosingLinks::default(),
        }
    }

    /// Every link that is open, in the order of their numbers.
    pub(super) fn open(&self) -> Vec<LinkId> {
        self.codecs.keys().copied().collect()
    }

    /// Queues a frame for a link, if that is open.
    pub(super) fn say(&mut self, link: LinkId, frame: ControlFrame) {
        if let Some(codec) = self.codecs.get_mut(&link) {
            codec.queue.push_back(frame);
        }
    }

    /// Queues a request for claims for a link. A hub of an earlier version would lose its dictionary when it receives a
    /// frame that it does not know.
    pub(super) fn ask(&mut self, link: LinkId, frame: ControlFrame) {
        let known = matches!(
            frame,
            ControlFrame::Subscribe { .. } | ControlFrame::Unsubscribe { .. }
        );
        let codec = self.codecs.get_mut(&link);
        if let Some(codec) = codec.filter(|codec| codec.follows || known) {
            codec.queue.push_back(frame);
        }
    }

    /// Queues the reason as the last frame of a link, and leaves the link open for the other end's answer.
    pub(super) fn begin_closing(&mut self, now: Moment, link: LinkId, bye: Bye) {
        if let Some(codec) = self.codecs.get_mut(&link) {
            codec.queue.clear();
            codec.queue.push_back(ControlFrame::Bye(bye));
            self.closing_links.begin(now, link, bye);
        }
    }

    /// The next queued frame of a link, which goes before any frame about claims; `None` if there is none.
    pub(super) fn next_queued(&mut self, link: LinkId) -> Option<ControlFrame> {
        self.codecs.get_mut(&link)?.queue.pop_front()
    }

    /// Whether a frame waits for a link, apart from claims and records.
    pub(super) fn has_pending(&self, link: LinkId) -> bool {
        let queued = |codec: &Codec| !codec.queue.is_empty();
        self.codecs.get(&link).is_some_and(queued) || self.links.has_control(link)
    }

    /// The most frames that wait for one link.
    pub(super) fn most_queued(&self) -> usize {
        let queued = self.codecs.values().map(|codec| codec.queue.len());
        queued.max().unwrap_or(0)
    }

    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        let parts = [
            self.links.poll_timeout(),
            self.dialer.poll_timeout(),
            self.dialer.drop_timeout(),
            self.closing_links.poll_timeout(),
        ];
        parts.into_iter().flatten().min()
    }
}
