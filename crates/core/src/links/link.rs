//! One open link: its pings, its pongs, and the measured times.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::api::LinkUp;
use super::super::ids::{HubId, Moment};
use super::LinkConfig;

/// The rank of a link: of two links with one hub, the one with the greater rank is better. It is the same at both ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct LinkRank {
    pub(super) dialed_by_lower: bool,
    pub(super) dial_number: u64,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) hub: HubId,
    pub(super) rank: LinkRank,
    pub(super) outgoing: bool,
    pub(super) since: Moment,
    pub(super) heard: Moment,
    pub(super) next_ping: Moment,
    /// The last ping's token; tokens count up from 1.
    pub(super) token: u64,
    /// Pings without a pong, oldest first.
    asked: VecDeque<(u64, Moment)>,
    /// The last ping has not been sent yet.
    pub(super) ping_waits: bool,
    pub(super) pongs: VecDeque<u64>,
    pub(super) rtt: Option<Duration>,
}

impl Link {
    /// If more pings than this are in flight, the oldest no longer counts.
    pub(super) const MAX_ASKED: usize = 8;
    /// This many pings, each sent, without a single answer mean silence.
    pub(super) const MAX_UNANSWERED: u64 = 3;
    /// If more pongs than this wait, the oldest is not sent.
    pub(super) const MAX_PONGS: usize = 4;

    pub(super) fn new(now: Moment, up: &LinkUp, rank: LinkRank) -> Self {
        Link {
            hub: up.hub,
            rank,
            outgoing: up.dialed.is_some(),
            since: now,
            heard: now,
            next_ping: now,
            token: 0,
            asked: VecDeque::new(),
            ping_waits: false,
            pongs: VecDeque::new(),
            rtt: None,
        }
    }

    /// Makes sure that a ping is on its way that is not older than `now`, and returns its token.
    pub(super) fn ping(&mut self, now: Moment, every: Duration) -> u64 {
        self.next_ping = now + every;
        if !self.ping_waits {
            self.token += 1;
            self.ping_waits = true;
            self.asked.push_back((self.token, now));
            if self.asked.len() > Self::MAX_ASKED {
                self.asked.pop_front();
            }
        }
        self.token
    }

    /// When the link becomes silent, if no frame arrives: `dead_after` its last frame, or, if none of its first pings
    /// was answered, when the next one would be due.
    pub(super) fn silent_at(&self, config: &LinkConfig) -> Moment {
        let quiet = self.heard + config.dead_after;
        let unanswered =
            self.rtt.is_none() && self.token >= Self::MAX_UNANSWERED && !self.ping_waits;
        if unanswered && !config.mutants.silence_allowed() {
            self.next_ping.min(quiet)
        } else {
            quiet
        }
    }

    /// The round-trip time of the ping with this token, if it was sent and not answered before.
    pub(super) fn answered(&mut self, now: Moment, token: u64) -> Option<Duration> {
        let place = self.asked.iter().position(|(asked, _)| *asked == token)?;
        let (_, sent) = self.asked.drain(..=place).next_back()?;
        let sample = now - sent;
        let smoothed = match self.rtt {
            Some(rtt) => (rtt * 7 + sample) / 8,
            None => sample,
        };
        self.rtt = Some(smoothed);
        Some(smoothed)
    }
}
