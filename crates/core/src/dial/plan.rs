//! The choice of the next dial.

use std::time::Duration;

use super::super::api::DialTarget;
use super::super::ids::{DialId, HubId, Moment, mix, stable_hash};
use super::{Attempt, Dialer};

/// An address that may be dialled, and when. Borrowed: of a thousand candidates, at most one is dialled.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    due: Moment,
    /// The hub of the address; `None` for a bootstrap address.
    hub: Option<HubId>,
    url: &'a String,
}

impl Candidate<'_> {
    fn target(self) -> DialTarget {
        let url = self.url.clone();
        match self.hub {
            Some(hub) => DialTarget::Learned { hub, url },
            None => DialTarget::Bootstrap(url),
        }
    }
}

/// The numbers of hubs on which the choice depends.
#[derive(Clone, Copy)]
struct HubCounts {
    /// Reachable hubs, this one included.
    mesh: usize,
    /// The number of wanted links that neither exist nor are being dialled.
    missing: usize,
}

impl Dialer {
    /// Dials the best candidate whose time has come, and notes when to check again.
    pub(super) fn plan(&mut self, now: Moment) {
        if now < self.spaced {
            self.wake = Some(self.spaced);
            return;
        }
        let candidates = self.candidates();
        // Bootstrap addresses come first, then the most wanted.
        let ready = candidates.iter().position(|candidate| candidate.due <= now);
        let left = candidates.iter().enumerate();
        let wake = left
            .filter(|(place, _)| Some(*place) != ready)
            .map(|(_, candidate)| candidate.due)
            .min();
        let chosen = ready.and_then(|place| candidates.get(place));
        if let Some(target) = chosen.map(|candidate| candidate.target()) {
            self.dial(now, target);
        }
        self.wake = wake.map(|due| due.max(self.spaced));
    }

    fn dial(&mut self, now: Moment, target: DialTarget) {
        self.last_dial += 1;
        let dial = DialId(self.last_dial);
        match &target {
            DialTarget::Bootstrap(url) => {
                if let Some(bootstrap) = self.bootstraps.get_mut(url) {
                    bootstrap.dial = Some(dial);
                    bootstrap.last_attempt = Some(now);
                }
            }
            DialTarget::Learned { hub, .. } => {
                if let Some(known) = self.hubs.get_mut(hub) {
                    known.dial = Some(dial);
                    if !known.reachable {
                        self.retry_spaced = now + self.config.retry_spacing;
                    }
                }
            }
        }
        let deadline = now + self.config.answer_within;
        self.attempts.insert(dial, Attempt { target, deadline });
        self.spaced = now + self.config.spacing;
        self.ready = Some(dial);
    }

    fn candidates(&self) -> Vec<Candidate<'_>> {
        let tally = self.tally();
        let mut candidates = self.bootstrap_candidates(tally);
        if self.config.auto_connect {
            candidates.extend(self.wanted(tally).into_iter().filter_map(|hub| {
                let known = self.hubs.get(&hub)?;
                Some(Candidate {
                    due: self.due(known),
                    hub: Some(hub),
                    url: known.url()?,
                })
            }));
        }
        candidates
    }

    fn bootstrap_candidates(&self, tally: HubCounts) -> Vec<Candidate<'_>> {
        let satisfied = self.config.auto_connect
            && tally.mesh > self.config.full_mesh_up_to
            && tally.missing == 0;
        let rests = |hub: HubId| {
            self.hubs.get(&hub).is_some_and(|known| {
                known.linked.is_some() || known.dial.is_some() || (satisfied && known.reachable)
            })
        };
        self.bootstraps
            .iter()
            .filter(|(_, bootstrap)| bootstrap.dial.is_none() && !bootstrap.hub.is_some_and(rests))
            .map(|(url, bootstrap)| Candidate {
                due: bootstrap.backoff.due(),
                hub: None,
                url,
            })
            .collect()
    }

    /// The hubs to dial, the most wanted first, whether or not their time has come.
    fn wanted(&self, tally: HubCounts) -> Vec<HubId> {
        let underway: Vec<HubId> = self
            .bootstraps
            .values()
            .filter(|bootstrap| bootstrap.dial.is_some())
            .filter_map(|bootstrap| bootstrap.hub)
            .collect();
        let dialable = |reachable: bool| {
            self.hubs
                .iter()
                .filter(move |(_, known)| known.reachable == reachable && known.is_dialable())
                .map(|(hub, _)| *hub)
                .filter(|hub| !underway.contains(hub))
        };
        let large = tally.mesh > self.config.full_mesh_up_to;
        let mut wanted = Vec::new();
        if !large || tally.missing > 0 {
            wanted.extend(dialable(true));
        }
        if large && !wanted.is_empty() {
            self.prefer(&mut wanted);
        }
        // Of the hubs that no hub reaches, the one that has waited the longest comes first; otherwise those with the
        // highest ids would never be dialled.
        let mut lost: Vec<HubId> = dialable(false).collect();
        lost.sort_by_cached_key(|hub| self.hubs.get(hub).map(|known| known.backoff.due()));
        wanted.extend(lost);
        wanted
    }

    /// Sorts by preference: the random half of all hubs first, then the nearest, then the unmeasured.
    fn prefer(&self, wanted: &mut [HubId]) {
        let mut drawn: Vec<u64> = self
            .hubs
            .iter()
            .filter(|(_, known)| known.reachable && known.url().is_some())
            .map(|(hub, _)| self.lot(*hub))
            .collect();
        let half = self.target_links().div_ceil(2);
        drawn.sort_unstable();
        let limit = drawn.get(half).copied().unwrap_or(u64::MAX);
        wanted.sort_by_cached_key(|hub| {
            let lot = self.lot(*hub);
            let rtt = self.hubs.get(hub).and_then(|known| known.rtt);
            if lot < limit {
                (Duration::ZERO, lot)
            } else {
                (rtt.unwrap_or(Duration::MAX), lot)
            }
        });
    }

    /// A random number per hub: the same for the same seed, and different on every hub.
    fn lot(&self, hub: HubId) -> u64 {
        mix(self.seed ^ stable_hash(&hub.0))
    }

    fn target_links(&self) -> usize {
        if self.config.can_be_dialled {
            self.config.degree
        } else {
            self.config.nat_links
        }
    }

    fn tally(&self) -> HubCounts {
        let (mut mesh, mut coming) = (1, 0);
        for known in self.hubs.values() {
            mesh += usize::from(known.reachable);
            let comes = known.linked.is_some() || (known.reachable && known.dial.is_some());
            coming += usize::from(comes);
        }
        HubCounts {
            mesh,
            missing: self.target_links().saturating_sub(coming),
        }
    }
}
