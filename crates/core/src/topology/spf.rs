//! Shortest paths over the link records.
//!
//! Owns a dense copy of the graph (hubs numbered in the order of their ids) and the buffers of a run, so that a run
//! allocates nothing once warm. Knows nothing of time, of links or of its callers. A link counts only if both ends list
//! it, which is noted with each edge when a record comes in: runs are many, and records few. Called by `Topology`,
//! which also decides when a run is worth its cost.

use super::super::mutants::Mutants;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::super::ids::{HubId, mix, stable_hash};
use crate::frames::LinkRecord;

/// The path to a hub. The smaller is better: by cost, then by hops, then by the first hop's hub id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Path {
    pub(super) cost: u32,
    pub(super) hops: u32,
    /// Index of the first hop in the list that the run was given.
    pub(super) first: u32,
}

/// One link of a hub, to a hub by number.
#[derive(Clone, Copy, Debug)]
struct Edge {
    to: u32,
    cost: u16,
    /// The other end lists it as well.
    counts: bool,
}

/// The graph, and the buffers of a run.
#[derive(Debug, Default)]
pub(super) struct Graph {
    ids: Vec<HubId>,
    numbers: HashMap<HubId, u32, FixedState>,
    /// A hash of each hub's id, from which the ranks of links are made.
    lots: Vec<u64>,
    /// Per hub, in rising order of `to`.
    edges: Vec<Vec<Edge>>,
    paths: Vec<Option<Path>>,
    queue: BinaryHeap<Reverse<(Path, u32)>>,
    /// The edges of the record before the last accepted one; kept for its memory.
    replaced: Vec<Edge>,
    /// Hubs that a search still has to visit; kept for its memory.
    open: Vec<u32>,
    /// Hubs that a search has visited; kept for its memory.
    seen: Vec<bool>,
    mutants: Mutants,
}

impl Graph {
    /// A graph without records.
    pub(super) fn new(mutants: Mutants) -> Self {
        Graph {
            mutants,
            ..Graph::default()
        }
    }

    /// Reads all records again. They are in rising order of hub id.
    pub(super) fn rebuild<'a>(&mut self, records: impl Iterator<Item = &'a LinkRecord> + Clone) {
        self.ids.clear();
        self.ids.extend(records.clone().map(|record| record.hub));
        self.lots.clear();
        self.lots
            .extend(self.ids.iter().map(|id| stable_hash(&id.0)));
        self.numbers.clear();
        self.numbers
            .extend((0..).zip(&self.ids).map(|(number, id)| (*id, number)));
        self.edges.resize_with(self.ids.len(), Vec::new);
        for (edges, record) in self.edges.iter_mut().zip(records) {
            fill(edges, &self.numbers, record);
        }
        for number in (0..).take(self.ids.len()) {
            self.note_what_counts(number, number);
        }
    }

    /// Reads a new record of a hub that is in the graph already. Returns whether that can change a path: whether a link
    /// that the other end lists as well is new, gone, or has another cost.
    pub(super) fn replace(&mut self, record: &LinkRecord) -> bool {
        let Some(number) = self.numbers.get(&record.hub).copied() else {
            return false;
        };
        let Some(edges) = self.edges.get_mut(number as usize) else {
            return false;
        };
        std::mem::swap(edges, &mut self.replaced);
        fill(edges, &self.numbers, record);
        self.note_what_counts(number, 0);
        let replaced = std::mem::take(&mut self.replaced);
        let edges = self.edges(number);
        let news = differing(edges, &replaced).any(|edge| edge.counts);
        let gone: Vec<u32> = differing(&replaced, edges)
            .filter(|edge| edge.counts)
            .map(|edge| edge.to)
            .collect();
        for to in &gone {
            let still = self.edge(number, *to).is_some();
            self.set_counts(*to, number, still);
        }
        self.replaced = replaced;
        news || !gone.is_empty()
    }

    /// The best path from `me` to each hub in the order of ids, through these neighbours (in rising order of id, with
    /// the cost of the link to each). `None` for `me` and for hubs without a path.
    pub(super) fn shortest(&mut self, me: HubId, firsts: &[(HubId, u16)]) -> &[Option<Path>] {
        self.paths.clear();
        self.paths.resize(self.ids.len(), None);
        self.queue.clear();
        if let Some(me) = self.numbers.get(&me).copied() {
            self.seed(me, firsts);
            while let Some(Reverse((path, at))) = self.queue.pop() {
                if self.path(at) == Some(path) {
                    self.extend(me, at, path);
                }
            }
        }
        &self.paths
    }

    /// The part of the mesh in which each hub would be without `me`, in the order of ids. A part is named by the lowest
    /// number of its hubs.
    pub(super) fn parts(&mut self, me: HubId) -> Vec<u32> {
        let me = self.numbers.get(&me).copied();
        let mut parts: Vec<u32> = (0..).take(self.ids.len()).collect();
        self.forget_search();
        for part in (0..).take(self.ids.len()).filter(|hub| Some(*hub) != me) {
            self.see(part);
            while let Some(at) = self.open.pop() {
                if let Some(place) = parts.get_mut(at as usize) {
                    *place = part;
                }
                self.see_neighbours(me, at, None);
            }
        }
        parts
    }

    /// Whether there is a path from `me` to this hub that begins with one of these neighbours.
    pub(super) fn reaches(&mut self, me: HubId, firsts: &[(HubId, u16)], hub: HubId) -> bool {
        self.reaches_above(None, me, firsts, hub)
    }

    /// Whether there is such a path over links that all rank above the link of these two. The rank of a link follows from the
    /// ids of its ends, so all hubs know it.
    pub(super) fn reaches_by_higher(
        &mut self,
        me: HubId,
        firsts: &[(HubId, u16)],
        hub: HubId,
    ) -> bool {
        let numbers = self.numbers.get(&me).zip(self.numbers.get(&hub));
        let Some(rank) = numbers.map(|(me, hub)| self.rank(*me, *hub)) else {
            return false;
        };
        self.reaches_above(Some(rank), me, firsts, hub)
    }

    /// As `reaches`, but only over links that rank above this, if it is given.
    fn reaches_above(
        &mut self,
        rank: Option<u64>,
        me: HubId,
        firsts: &[(HubId, u16)],
        hub: HubId,
    ) -> bool {
        let (Some(me), Some(hub)) = (self.numbers.get(&me), self.numbers.get(&hub)) else {
            return false;
        };
        let (me, hub) = (*me, *hub);
        self.forget_search();
        for (first, _) in firsts {
            let first = self.numbers.get(first).copied();
            let ranks = |first: u32| rank.is_none_or(|rank| self.rank(me, first) > rank);
            let fits = |first: &u32| self.lists(*first, me) && ranks(*first);
            if let Some(first) = first.filter(fits) {
                self.see(first);
            }
        }
        while let Some(at) = self.open.pop() {
            if at == hub {
                return true;
            }
            self.see_neighbours(Some(me), at, rank);
        }
        false
    }

    /// The rank of the link of two hubs.
    fn rank(&self, one: u32, other: u32) -> u64 {
        rank(&self.lots, one, other)
    }

    fn forget_search(&mut self) {
        self.open.clear();
        self.seen.clear();
        self.seen.resize(self.ids.len(), false);
    }

    fn see(&mut self, hub: u32) {
        see(&mut self.seen, &mut self.open, hub);
    }

    /// Visits the neighbours of a hub, apart from `me`, over links that rank above this.
    fn see_neighbours(&mut self, me: Option<u32>, at: u32, above: Option<u64>) {
        let edges = self.edges.get(at as usize).map_or(&[][..], Vec::as_slice);
        let others = edges.iter().filter(|edge| Some(edge.to) != me);
        for edge in others.filter(|edge| edge.counts) {
            if above.is_none_or(|above| rank(&self.lots, at, edge.to) > above) {
                see(&mut self.seen, &mut self.open, edge.to);
            }
        }
    }

    fn seed(&mut self, me: u32, firsts: &[(HubId, u16)]) {
        for (first, (hub, cost)) in (0..).zip(firsts) {
            let Some(to) = self.numbers.get(hub).copied() else {
                continue;
            };
            if self.lists(to, me) {
                let path = Path {
                    cost: u32::from(*cost),
                    hops: 1,
                    first,
                };
                self.offer(to, path);
            }
        }
    }

    fn extend(&mut self, me: u32, at: u32, path: Path) {
        let edges = self
            .edges
            .get_mut(at as usize)
            .map(std::mem::take)
            .unwrap_or_default();
        for edge in &edges {
            let longer = Path {
                cost: path.cost.saturating_add(u32::from(edge.cost)),
                hops: path.hops + 1,
                first: path.first,
            };
            if edge.counts && edge.to != me {
                self.offer(edge.to, longer);
            }
        }
        if let Some(place) = self.edges.get_mut(at as usize) {
            *place = edges;
        }
    }

    fn offer(&mut self, to: u32, path: Path) {
        if let Some(known) = self.paths.get_mut(to as usize)
            && known.is_none_or(|known| path < known)
        {
            *known = Some(path);
            self.queue.push(Reverse((path, to)));
        }
    }

    fn path(&self, hub: u32) -> Option<Path> {
        self.paths.get(hub as usize).copied().flatten()
    }

    /// Notes, at both ends, which links of this hub with hubs from this number on are listed by both ends.
    fn note_what_counts(&mut self, hub: u32, from: u32) {
        let links = self.edges(hub).partition_point(|edge| edge.to < from)..;
        for place in links.take(self.edges(hub).len()) {
            let Some(to) = self.edges(hub).get(place).map(|edge| edge.to) else {
                return;
            };
            let counts = self.lists(to, hub);
            if counts {
                self.set_counts(to, hub, true);
            }
            let edges = self.edges.get_mut(hub as usize);
            if let Some(edge) = edges.and_then(|edges| edges.get_mut(place)) {
                edge.counts = counts;
            }
        }
    }

    fn set_counts(&mut self, hub: u32, other: u32, counts: bool) {
        let counts = counts || self.mutants.no_two_way_check();
        if let Some(edges) = self.edges.get_mut(hub as usize)
            && let Ok(place) = edges.binary_search_by_key(&other, |edge| edge.to)
            && let Some(edge) = edges.get_mut(place)
        {
            edge.counts = counts;
        }
    }

    /// The links that both ends list, by the numbers of these, each from both ends.
    #[cfg(test)]
    pub(super) fn counting(&self) -> Vec<(usize, u32)> {
        let all = self.edges.iter().enumerate();
        let counting = all.flat_map(|(hub, edges)| edges.iter().map(move |edge| (hub, edge)));
        let counting = counting.filter(|(_, edge)| edge.counts);
        counting.map(|(hub, edge)| (hub, edge.to)).collect()
    }

    fn edges(&self, hub: u32) -> &[Edge] {
        self.edges.get(hub as usize).map_or(&[], Vec::as_slice)
    }

    fn edge(&self, hub: u32, other: u32) -> Option<&Edge> {
        let edges = self.edges(hub);
        let place = edges.binary_search_by_key(&other, |edge| edge.to).ok()?;
        edges.get(place)
    }

    fn lists(&self, hub: u32, other: u32) -> bool {
        self.mutants.no_two_way_check() || self.edge(hub, other).is_some()
    }
}

fn rank(lots: &[u64], one: u32, other: u32) -> u64 {
    let lot = |hub: u32| lots.get(hub as usize).copied().unwrap_or_default();
    mix(lot(one) ^ lot(other))
}

fn see(seen: &mut [bool], open: &mut Vec<u32>, hub: u32) {
    if let Some(seen) = seen.get_mut(hub as usize)
        && !std::mem::replace(seen, true)
    {
        open.push(hub);
    }
}

/// The edges of `some` that are not in `others`, or have another cost there. Both are in rising order of `to`.
fn differing<'a>(some: &'a [Edge], others: &'a [Edge]) -> impl Iterator<Item = &'a Edge> {
    some.iter().filter(|edge| {
        let same = |other: &Edge| (other.to, other.cost);
        others
            .binary_search_by_key(&(edge.to, edge.cost), same)
            .is_err()
    })
}

/// Neighbours whose record is not known are left out: such a link cannot count.
fn fill(edges: &mut Vec<Edge>, numbers: &HashMap<HubId, u32, FixedState>, record: &LinkRecord) {
    edges.clear();
    edges.extend(record.neighbours.iter().filter_map(|(hub, cost)| {
        Some(Edge {
            to: *numbers.get(hub)?,
            cost: *cost,
            counts: false,
        })
    }));
}
