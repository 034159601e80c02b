//! When the shortest paths are computed, and the events that follow.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use super::super::api::{Hop, Route, Routes};
use super::super::ids::{HubId, LinkId, Moment};
use super::spf::Path;
use super::{Stored, Topology, TopologyEvent};

/// Hubs that were out of reach for this long may have other records than we do.
const APART: Duration = Duration::from_secs(1);

impl Topology {
    /// Whether all hubs would still be reachable without the link to this neighbour.
    pub fn is_redundant(&mut self, neighbour: HubId) -> bool {
        self.refresh_graph();
        let mut firsts = self.firsts();
        firsts.retain(|(hub, _)| *hub != neighbour);
        self.graph.reaches(self.me, &firsts, neighbour)
    }

    /// Whether a hub that has too many links may close that to this neighbour.
    ///
    /// Each link has a rank, and may be closed if there is another way over links that all rank above it. Of the links
    /// between two parts of the mesh, the one with the highest rank has no such other way. So hubs that close links by this
    /// rule at the same time, and have not heard of each other's closings, leave the mesh in one part.
    ///
    /// By rank a hub that lets nobody in might close none, and a newcomer may know no other hub. There any other way is
    /// enough.
    pub fn may_close(&mut self, neighbour: HubId, lets_nobody_in: bool) -> bool {
        if lets_nobody_in {
            return self.is_redundant(neighbour);
        }
        self.refresh_graph();
        let firsts = self.firsts();
        self.graph.reaches_by_higher(self.me, &firsts, neighbour)
    }

    pub(super) fn want_spf(&mut self, now: Moment) {
        let hubs = u32::try_from(self.records.len()).unwrap_or(u32::MAX);
        let every = self.config.spf_every + self.config.spf_every_per_hub * hubs;
        let due = self.spf_last.map_or(now, |last| now.max(last + every));
        self.spf_due = Some(self.spf_due.map_or(due, |known| known.min(due)));
    }

    pub(super) fn run_due_spf(&mut self, now: Moment) {
        if self.spf_due.is_some_and(|due| due <= now) {
            self.run_spf(now);
        }
    }

    fn refresh_graph(&mut self) {
        if std::mem::take(&mut self.graph_stale) {
            self.graph
                .rebuild(self.records.values().map(|stored| &stored.record));
        }
    }

    /// The neighbours that can be a first hop: those that our record lists, and whose record has the incarnation at the
    /// other end of the link. Their costs are those in our record, so that all hubs calculate with the same.
    fn firsts(&self) -> Vec<(HubId, u16)> {
        self.listed()
            .iter()
            .filter(|(hub, _)| {
                let neighbour = self.neighbours.get(hub);
                let stored = self.records.get(hub);
                neighbour.zip(stored).is_some_and(|(neighbour, stored)| {
                    stored.record.incarnation >= neighbour.incarnation
                })
            })
            .copied()
            .collect()
    }

    pub(super) fn run_spf(&mut self, now: Moment) {
        self.tally.spf_runs += 1;
        self.spf_last = Some(now);
        self.spf_due = None;
        self.refresh_graph();
        let firsts = self.firsts();
        let hops: Vec<(HubId, LinkId)> = firsts
            .iter()
            .filter_map(|(hub, _)| Some((*hub, self.neighbours.get(hub)?.link)))
            .collect();
        let parts = self.graph.parts(self.me);
        let paths = self.graph.shortest(self.me, &firsts);
        let mut by_hub = HashMap::with_capacity(self.records.len());
        let mut returned = false;
        for (((hub, stored), path), part) in self.records.iter_mut().zip(paths).zip(parts) {
            if *hub == self.me {
                continue;
            }
            stored.path_cost = path.as_ref().map(|path| path.cost);
            let lost = stored.unreachable_since;
            if let Some(event) = note_path(stored, path.is_some(), now) {
                let apart = lost.is_some_and(|lost| now - lost >= APART);
                returned |= path.is_some() && apart;
                self.events.push_back(event);
            }
            if let Some(hop) = path.and_then(|path| hop(&hops, path)) {
                let incarnation = stored.record.incarnation;
                let route = Route {
                    hop,
                    incarnation,
                    part,
                    level: stored.record.wire_level(),
                };
                by_hub.insert(*hub, route);
            }
        }
        if by_hub != self.routes.by_hub {
            let levels = by_hub.values().map(|route| route.level);
            let level = levels.min().unwrap_or(u8::MAX);
            self.routes = Arc::new(Routes { by_hub, level });
            self.choose_root();
            self.events.push_back(TopologyEvent::RoutesChanged);
        }
        self.forget_due = self.next_forget();
        self.ask_for_turned_away(now);
        self.list_what_is_needed(now);
        if returned {
            self.compare_soon(now);
        }
    }
}

/// Notes whether there is a path to the hub, and reports a change.
fn note_path(stored: &mut Stored, reached: bool, now: Moment) -> Option<TopologyEvent> {
    let hub = stored.record.hub;
    match (stored.unreachable_since, reached) {
        (Some(_), true) => {
            stored.unreachable_since = None;
            stored.again = false;
            let incarnation = stored.record.incarnation;
            Some(TopologyEvent::Reachable { hub, incarnation })
        }
        (None, false) => {
            stored.unreachable_since = Some(now);
            Some(TopologyEvent::Unreachable { hub })
        }
        _ => None,
    }
}

fn hop(hops: &[(HubId, LinkId)], path: Path) -> Option<Hop> {
    let (neighbour, link) = *hops.get(path.first as usize)?;
    Some(Hop {
        link,
        neighbour,
        hops: u8::try_from(path.hops).unwrap_or(u8::MAX),
    })
}
