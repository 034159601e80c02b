//! The open links, and which one is *the* link to each neighbour.
//!
//! Owns: the table of links, their pings and round-trip times, and the choice between several links with one hub. Knows
//! nothing of routes, of dialling or of sockets. The core reports links that opened and closed, and the frames for this
//! part; this part answers with events, and with pings and pongs to send first.
//!
//! Promises:
//! - A neighbour has one active link. Frames are accepted on every open one, and sent on the active one.
//! - Of several links with one hub the *best* is kept: one that the lower hub id dialled before one that the higher
//!   dialled, and of those of one dialler, the newest. Both ends use the same order, in whichever order they saw the
//!   links.
//! - The others are closed only when the best one has answered a ping that is younger than they are. Then the other end
//!   knows it too, and neither end is without a link in between.
//! - An older best link that does not answer within `rival_probe` of a rival's arrival is closed instead.
//! - Of two incarnations of a hub only the later has links. A hub that raised its epoch (same nonce) is the same
//!   incarnation to this rule.
//! - There are at most [`Links::MAX_PER_HUB`] links with one hub. A link that answers none of its first pings is closed
//!   as silent, whatever else arrives on it.
//! - `NeighbourDown` means that no link with that hub is left; losing one of several is a `NeighbourSwitched`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::api::{Bye, LinkUp};
use super::ids::{HubId, Incarnation, LinkId, Moment};
use crate::frames::ControlFrame;

use link::{Link, LinkRank};

pub use config::{LinkConfig, LinkEvent, LinkView};

mod config;
mod link;
#[cfg(test)]
mod tests;

/// Several links with one hub, of which the best is asked to prove itself.
#[derive(Clone, Copy, Debug)]
struct Contest {
    best: LinkId,
    /// A pong with this token, or a later one, proves it.
    token: u64,
    /// When the best link is closed. `None` until it has answered its first ping: until then silence closes it.
    deadline: Option<Moment>,
}

#[derive(Debug)]
struct NeighbourLinks {
    incarnation: Incarnation,
    active: LinkId,
    contest: Option<Contest>,
}

/// The table of open links.
#[derive(Debug)]
pub struct Links {
    me: HubId,
    incarnation: Option<Incarnation>,
    config: LinkConfig,
    links: BTreeMap<LinkId, Link>,
    neighbours: BTreeMap<HubId, NeighbourLinks>,
    events: VecDeque<LinkEvent>,
}

impl Links {
    /// The most links with one hub: two hubs that dial each other make two, and lost ones may still be open.
    pub const MAX_PER_HUB: usize = 4;

    /// No links yet.
    pub fn new(me: HubId, config: LinkConfig) -> Self {
        Links {
            me,
            incarnation: None,
            config,
            links: BTreeMap::new(),
            neighbours: BTreeMap::new(),
            events: VecDeque::new(),
        }
    }

    /// This hub has another id from now on. No link may be open.
    pub fn set_id(&mut self, me: HubId, incarnation: Incarnation) {
        self.me = me;
        self.incarnation = Some(incarnation);
    }

    /// Sets our incarnation. Until then, every link with our own id counts as one with ourselves.
    pub fn set_incarnation(&mut self, incarnation: Incarnation) {
        self.incarnation = Some(incarnation);
    }

    /// A link is open. It is closed again at once if it leads to this hub itself, to a machine that uses our id, or to
    /// a past incarnation of its hub.
    pub fn on_up(&mut self, now: Moment, up: &LinkUp) {
        self.on_up_knowing(now, up, None);
    }

    /// Like [`Links::on_up`], with the highest incarnation of that hub that was heard of elsewhere.
    pub fn on_up_knowing(&mut self, now: Moment, up: &LinkUp, known: Option<Incarnation>) {
        if up.hub == self.me {
            return self.refuse_own_id(up);
        }
        if let Some(known) = known.filter(|known| is_later_incarnation(*known, up.incarnation)) {
            return self.close(up.link, Bye::StaleIncarnation { known });
        }
        match self.neighbours.get(&up.hub).map(|n| n.incarnation) {
            Some(known) if is_later_incarnation(known, up.incarnation) => {
                self.close(up.link, Bye::StaleIncarnation { known });
            }
            Some(known) if is_later_incarnation(up.incarnation, known) => {
                self.end_incarnation(up.hub, up.incarnation);
                self.insert_first(now, up);
            }
            Some(_)
                if self.links_with(up.hub).len() >= Self::MAX_PER_HUB
                    && !self.config.mutants.links_without_end() =>
            {
                self.close(up.link, Bye::Full);
            }
            Some(_) => self.insert_rival(now, up),
            None => self.insert_first(now, up),
        }
    }

    /// A later incarnation of `hub` is known: links with an earlier one are closed. Raised epochs of the same boot
    /// are only noted.
    pub fn on_incarnation(&mut self, hub: HubId, incarnation: Incarnation) {
        let Some(neighbour) = self.neighbours.get_mut(&hub) else {
            return;
        };
        if is_later_incarnation(incarnation, neighbour.incarnation) {
            self.end_incarnation(hub, incarnation);
            self.events.push_back(LinkEvent::NeighbourDown { hub });
        } else if neighbour.incarnation.nonce == incarnation.nonce {
            neighbour.incarnation = neighbour.incarnation.max(incarnation);
        }
    }

    /// A link closed.
    pub fn on_down(&mut self, now: Moment, link: LinkId) {
        self.remove(now, link);
    }

    /// A frame of any kind arrived on this link.
    pub fn on_heard(&mut self, now: Moment, link: LinkId) {
        if let Some(link) = self.links.get_mut(&link) {
            link.heard = now;
        }
    }

    /// A ping arrived: its pong is queued.
    pub fn on_ping(&mut self, link: LinkId, token: u64) {
        if let Some(link) = self.links.get_mut(&link) {
            link.pongs.push_back(token);
            if link.pongs.len() > Link::MAX_PONGS {
                link.pongs.pop_front();
            }
        }
    }

    /// A pong arrived. One without a ping is ignored.
    pub fn on_pong(&mut self, now: Moment, link: LinkId, token: u64) {
        let Some(entry) = self.links.get_mut(&link) else {
            return;
        };
        let Some(rtt) = entry.answered(now, token) else {
            return;
        };
        let hub = entry.hub;
        self.settle(hub, link, token);
        if self.link_to(hub) == Some(link) {
            self.events.push_back(LinkEvent::RttMeasured { hub, rtt });
        }
    }

    /// The other end closes the link. It is forgotten, and closed here for the same reason.
    pub fn on_bye(&mut self, now: Moment, link: LinkId, bye: Bye) {
        if self.links.contains_key(&link) {
            self.close(link, bye);
            self.remove(now, link);
        }
    }

    /// Closes a link for a reason that other parts found: a bad frame, too many links, a drain.
    pub fn close_link(&mut self, now: Moment, link: LinkId, bye: Bye) {
        self.on_bye(now, link, bye);
    }

    /// Pings links when it is time, and closes those that are silent or failed their probe.
    pub fn handle_timeout(&mut self, now: Moment) {
        for link in self.silent(now) {
            self.close(link, Bye::Silent);
            self.remove(now, link);
        }
        let every = self.config.ping_every;
        for link in self.links.values_mut() {
            if link.next_ping <= now {
                link.ping(now, every);
            }
        }
    }

    /// When [`Links::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let links = self
            .links
            .values()
            .map(|link| link.next_ping.min(link.silent_at(&self.config)));
        let probes = self
            .neighbours
            .values()
            .filter_map(|neighbour| neighbour.contest?.deadline);
        links.chain(probes).min()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<LinkEvent> {
        self.events.pop_front()
    }

    /// The next ping or pong for this link, to be sent before anything else.
    pub fn poll_control(&mut self, link: LinkId) -> Option<ControlFrame> {
        let link = self.links.get_mut(&link)?;
        if let Some(token) = link.pongs.pop_front() {
            return Some(ControlFrame::Pong { token });
        }
        std::mem::take(&mut link.ping_waits).then_some(ControlFrame::Ping { token: link.token })
    }

    /// Whether [`Links::poll_control`] has a frame for this link.
    pub fn has_control(&self, link: LinkId) -> bool {
        self.links
            .get(&link)
            .is_some_and(|link| link.ping_waits || !link.pongs.is_empty())
    }

    /// The hub at the other end of an open link.
    pub fn neighbour(&self, link: LinkId) -> Option<HubId> {
        self.links.get(&link).map(|link| link.hub)
    }

    /// The link on which to send to this hub.
    pub fn link_to(&self, hub: HubId) -> Option<LinkId> {
        self.neighbours.get(&hub).map(|neighbour| neighbour.active)
    }

    /// The active link's smoothed round-trip time, once measured.
    pub fn rtt(&self, hub: HubId) -> Option<Duration> {
        self.links.get(&self.link_to(hub)?)?.rtt
    }

    /// All open links, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = LinkView> + '_ {
        self.links.iter().map(|(id, link)| LinkView {
            link: *id,
            hub: link.hub,
            active: self.link_to(link.hub) == Some(*id),
            outgoing: link.outgoing,
            since: link.since,
            rtt: link.rtt,
        })
    }

    /// The number of open links, including several with one hub.
    pub fn link_count(&self) -> usize {
        self.links.len()
    }

    /// How many neighbours there are.
    pub fn neighbour_count(&self) -> usize {
        self.neighbours.len()
    }

    /// The most links with one hub, and the age of the oldest link that never answered a ping.
    pub fn strain(&self, now: Moment) -> (usize, Duration) {
        let mut of_hub: BTreeMap<HubId, usize> = BTreeMap::new();
        for link in self.links.values() {
            *of_hub.entry(link.hub).or_default() += 1;
        }
        let silent = self.links.values().filter(|link| link.rtt.is_none());
        let since = silent.map(|link| link.since).min();
        let age = since.map_or(Duration::ZERO, |since| now - since);
        (of_hub.into_values().max().unwrap_or(0), age)
    }

    fn refuse_own_id(&mut self, up: &LinkUp) {
        let ourselves = self
            .incarnation
            .is_none_or(|own| own.nonce == up.incarnation.nonce);
        if ourselves {
            return self.close(up.link, Bye::SelfDial);
        }
        self.close(up.link, Bye::IdentityClash);
        self.events.push_back(LinkEvent::IdentityClash {
            incarnation: up.incarnation,
        });
    }

    fn insert_first(&mut self, now: Moment, up: &LinkUp) {
        self.insert(now, up);
        let neighbour = NeighbourLinks {
            incarnation: up.incarnation,
            active: up.link,
            contest: None,
        };
        self.neighbours.insert(up.hub, neighbour);
        self.events.push_back(LinkEvent::NeighbourUp {
            hub: up.hub,
            incarnation: up.incarnation,
            link: up.link,
        });
    }

    fn insert_rival(&mut self, now: Moment, up: &LinkUp) {
        self.insert(now, up);
        if let Some(neighbour) = self.neighbours.get_mut(&up.hub) {
            neighbour.incarnation = neighbour.incarnation.max(up.incarnation);
        }
        self.weigh(now, up.hub);
    }

    fn insert(&mut self, now: Moment, up: &LinkUp) {
        let dialler = if up.dialed.is_some() { self.me } else { up.hub };
        let rank = LinkRank {
            dialed_by_lower: dialler == self.me.min(up.hub),
            dial_number: up.dial_number,
        };
        let mut link = Link::new(now, up, rank);
        link.ping(now, self.config.ping_every);
        self.links.insert(up.link, link);
    }

    fn links_with(&self, hub: HubId) -> Vec<LinkId> {
        self.links
            .iter()
            .filter(|(_, link)| link.hub == hub)
            .map(|(id, _)| *id)
            .collect()
    }

    fn best(&self, hub: HubId) -> Option<LinkId> {
        self.links
            .iter()
            .filter(|(_, link)| link.hub == hub)
            .max_by_key(|(id, link)| (link.rank, **id))
            .map(|(id, _)| *id)
    }

    /// Probes the best of several links; a contest about the same link goes on as it began.
    fn weigh(&mut self, now: Moment, hub: HubId) {
        let several = self.links.values().filter(|link| link.hub == hub).count() > 1;
        let best = self.best(hub);
        let Some(neighbour) = self.neighbours.get_mut(&hub) else {
            return;
        };
        let Some(best) = best.filter(|_| several) else {
            neighbour.contest = None;
            return;
        };
        if neighbour
            .contest
            .is_some_and(|contest| contest.best == best)
        {
            return;
        }
        let Some(link) = self.links.get_mut(&best) else {
            return;
        };
        neighbour.contest = Some(Contest {
            best,
            token: link.ping(now, self.config.ping_every),
            deadline: (neighbour.active == best).then(|| now + self.config.rival_probe),
        });
    }

    /// `link` answered `token`: if that proves the best link, the others go.
    fn settle(&mut self, hub: HubId, link: LinkId, token: u64) {
        let Some(neighbour) = self.neighbours.get_mut(&hub) else {
            return;
        };
        let proven = neighbour
            .contest
            .is_some_and(|contest| contest.best == link && token >= contest.token);
        if !proven {
            return;
        }
        neighbour.contest = None;
        if neighbour.active != link {
            neighbour.active = link;
            self.events
                .push_back(LinkEvent::NeighbourSwitched { hub, link });
        }
        for loser in self.links_with(hub) {
            if loser != link {
                self.links.remove(&loser);
                self.close(loser, Bye::Duplicate);
            }
        }
    }

    /// Links that have been silent for too long, and older ones that failed their probe.
    fn silent(&self, now: Moment) -> Vec<LinkId> {
        let failed = |id: &LinkId, link: &Link| {
            self.neighbours
                .get(&link.hub)
                .and_then(|neighbour| neighbour.contest)
                .filter(|contest| contest.best == *id)
                .and_then(|contest| contest.deadline)
                .is_some_and(|deadline| deadline <= now)
        };
        self.links
            .iter()
            .filter(|(id, link)| link.silent_at(&self.config) <= now || failed(id, link))
            .map(|(id, _)| *id)
            .collect()
    }

    fn close(&mut self, link: LinkId, bye: Bye) {
        self.events.push_back(LinkEvent::Close { link, bye });
    }

    /// Forgets one link, and makes the best of the remaining ones active.
    fn remove(&mut self, now: Moment, link: LinkId) {
        let Some(gone) = self.links.remove(&link) else {
            return;
        };
        let hub = gone.hub;
        let Some(best) = self.best(hub) else {
            self.neighbours.remove(&hub);
            self.events.push_back(LinkEvent::NeighbourDown { hub });
            return;
        };
        let Some(neighbour) = self.neighbours.get_mut(&hub) else {
            return;
        };
        if neighbour
            .contest
            .is_some_and(|contest| contest.best == link)
        {
            neighbour.contest = None;
        }
        if neighbour.active == link {
            neighbour.active = best;
            self.events
                .push_back(LinkEvent::NeighbourSwitched { hub, link: best });
        }
        self.weigh(now, hub);
    }

    /// Closes all links with an earlier incarnation of `hub`, without an event about the neighbour.
    fn end_incarnation(&mut self, hub: HubId, known: Incarnation) {
        for link in self.links_with(hub) {
            self.links.remove(&link);
            self.close(link, Bye::StaleIncarnation { known });
        }
        self.neighbours.remove(&hub);
    }
}

/// Whether `a` is another boot than `b`, and later. A raised epoch with the same nonce is the same boot.
fn is_later_incarnation(a: Incarnation, b: Incarnation) -> bool {
    a.nonce != b.nonce && a > b
}
