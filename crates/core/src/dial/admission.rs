//! Which hubs are accepted, and which are sent on to others.
//!
//! A hub that has `accept_up_to` links needs no more of them, but may be the only hub that a newcomer knows. So it names a
//! dozen others that it can reach, and closes the link. A hub that comes back after a while has found no other way in: it is
//! accepted, up to `accept_never_past` links. Otherwise a thousand hubs that start with one bootstrap address would all link
//! with that hub at once, and leave it one by one.

use super::super::ids::{HubId, Moment};
use super::Dialer;
use super::known::Known;

/// The most sent-on hubs that are remembered.
const MAX_SENT_ON: usize = 4_096;

/// The answer to a link that another hub dialled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkAdmission {
    /// It stays.
    Welcome,
    /// This hub has enough links, and the other hub has other links.
    Full,
    /// This hub has enough links, and the other hub has to try [`Dialer::introductions`] first.
    Elsewhere,
}

impl Dialer {
    /// Whether a link that `hub` dialled may stay. A further link of a neighbour always may: one of the two will be closed.
    /// `follows` says that the hub can use introductions.
    pub fn admit(&mut self, now: Moment, hub: HubId, follows: bool) -> LinkAdmission {
        if self.is_linked(hub) || self.standing < self.config.accept_up_to {
            return LinkAdmission::Welcome;
        }
        if self.hubs.get(&hub).is_some_and(|known| known.reachable) {
            return LinkAdmission::Full;
        }
        if follows && self.can_introduce() && !self.comes_back_or_is_noted(now, hub) {
            return LinkAdmission::Elsewhere;
        }
        if self.lets_nobody_in() {
            LinkAdmission::Full
        } else {
            LinkAdmission::Welcome
        }
    }

    /// Whether there are so many links that not even a hub with no other way in is accepted.
    pub fn lets_nobody_in(&self) -> bool {
        self.standing >= self.config.accept_never_past
    }

    /// The hubs that are named to a hub that is sent on, drawn at random.
    pub fn introductions(&mut self) -> Vec<HubId> {
        let mut others: Vec<HubId> = self.presentable().map(|(hub, _)| *hub).collect();
        let many = others.len().min(self.config.introduce);
        for place in 0..many {
            let rest = (others.len() - place) as u64;
            others.swap(place, place + self.rng.below(rest) as usize);
        }
        others.truncate(many);
        others
    }

    /// Whether there is still a hub to dial.
    pub(super) fn knows_others(&self) -> bool {
        let dials_them = self.config.auto_connect && self.config.introduce > 0;
        dials_them && self.hubs.values().any(Known::is_dialable)
    }

    fn can_introduce(&self) -> bool {
        self.config.introduce > 0 && self.presentable().next().is_some()
    }

    fn presentable(&self) -> impl Iterator<Item = (&HubId, &Known)> {
        let dead = self.config.mutants.introduced_to_the_dead();
        let fits = move |known: &Known| known.is_presentable() && known.reachable != dead;
        self.hubs.iter().filter(move |(_, known)| fits(known))
    }

    /// Whether the hub comes back after it was sent on. If it was not sent on yet, notes that it is sent on now.
    /// When the table is full, every hub counts as one that comes back.
    fn comes_back_or_is_noted(&mut self, now: Moment, hub: HubId) -> bool {
        let memory = self.config.introduce_memory;
        self.sent_on.retain(|_, at| now - *at < memory);
        if let Some(at) = self.sent_on.get(&hub).copied() {
            return now - at >= self.config.introduce_again;
        }
        if self.sent_on.len() >= MAX_SENT_ON {
            return true;
        }
        self.sent_on.insert(hub, now);
        false
    }
}
