//! Shortest paths over the link records.
//!
//! Owns a dense copy of the graph (hubs numbered in the order of their ids) and the buffers of a run, so that
//! a run allocates nothing once warm. Knows nothing of time, of links or of who asks. A link counts only if
//! both ends list it. Called by `Topology`, which also decides when a run is worth its cost.

use super::super::mutants::Mutants;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::super::ids::HubId;
use crate::frames::LinkRecord;

/// How to get to a hub. The smaller is better: by cost, then by hops, then by the first hop's hub id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Path {
    pub(super) cost: u32,
    pub(super) hops: u32,
    /// Place of the first hop in the list that the run was given.
    pub(super) first: u32,
}

/// One link of a hub, to a hub by number.
#[derive(Clone, Copy, Debug)]
struct Edge {
    to: u32,
    cost: u16,
}

/// The graph, and the buffers of a run.
#[derive(Debug, Default)]
pub(super) struct Graph {
    ids: Vec<HubId>,
    numbers: HashMap<HubId, u32, FixedState>,
    /// Per hub, in rising order of `to`.
    edges: Vec<Vec<Edge>>,
    paths: Vec<Option<Path>>,
    queue: BinaryHeap<Reverse<(Path, u32)>>,
    /// The edges that a record had before the last one that was taken in; kept for its memory.
    replaced: Vec<Edge>,
    mutants: Mutants,
}

impl Graph {
    /// Without records yet.
    pub(super) fn new(mutants: Mutants) -> Self {
        Graph {
            mutants,
            ..Graph::default()
        }
    }

    /// Takes in all records anew. They come in rising order of hub id.
    pub(super) fn rebuild<'a>(&mut self, records: impl Iterator<Item = &'a LinkRecord> + Clone) {
        self.ids.clear();
        self.ids.extend(records.clone().map(|record| record.hub));
        self.numbers.clear();
        self.numbers
            .extend((0..).zip(&self.ids).map(|(number, id)| (*id, number)));
        self.edges.resize_with(self.ids.len(), Vec::new);
        for (edges, record) in self.edges.iter_mut().zip(records) {
            fill(edges, &self.numbers, record);
        }
    }

    /// Takes in a new record of a hub that is in the graph already. Says whether that can change a path: whether a
    /// link that the other end lists as well is new, gone, or costs something else.
    pub(super) fn replace(&mut self, record: &LinkRecord) -> bool {
        let Some(number) = self.numbers.get(&record.hub).copied() else {
            return false;
        };
        let Some(edges) = self.edges.get_mut(number as usize) else {
            return false;
        };
        std::mem::swap(edges, &mut self.replaced);
        fill(edges, &self.numbers, record);
        let edges = self
            .edges
            .get(number as usize)
            .map_or(&[][..], Vec::as_slice);
        let news = differing(edges, &self.replaced);
        let gone = differing(&self.replaced, edges);
        news.chain(gone).any(|edge| self.lists(edge.to, number))
    }

    /// The best path from `me` to each hub in the order of ids, through these neighbours (in rising order of
    /// id, with the cost of the link to each). `None` for `me` and for whom no path leads to.
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

    /// Which part of the mesh each hub would be in without `me`, in the order of ids: the lowest number of its hubs.
    pub(super) fn parts(&self, me: HubId) -> Vec<u32> {
        let me = self.numbers.get(&me).copied();
        let mut parts: Vec<u32> = (0..).take(self.ids.len()).collect();
        for (at, edges) in (0..).zip(&self.edges) {
            let later = edges.iter().filter(|edge| edge.to > at);
            let beside = later.filter(|edge| Some(at) != me && Some(edge.to) != me);
            for edge in beside.filter(|edge| self.lists(edge.to, at)) {
                join(&mut parts, at, edge.to);
            }
        }
        for at in 0..self.ids.len() {
            let root = root(&mut parts, u32::try_from(at).unwrap_or(u32::MAX));
            if let Some(part) = parts.get_mut(at) {
                *part = root;
            }
        }
        parts
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
            // Cheapest test first: whether both list the link is asked only of what would be better.
            let better = self.path(edge.to).is_none_or(|known| longer < known);
            if edge.to != me && better && self.lists(edge.to, at) {
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

    fn lists(&self, hub: u32, other: u32) -> bool {
        if self.mutants.no_two_way_check() {
            return true;
        }
        self.edges
            .get(hub as usize)
            .is_some_and(|edges| edges.binary_search_by_key(&other, |edge| edge.to).is_ok())
    }
}

/// The lowest of what is joined to `at`. Shortens the way there for the next who asks.
fn root(parts: &mut [u32], mut at: u32) -> u32 {
    loop {
        let up = parts.get(at as usize).copied().unwrap_or(at);
        if up == at {
            return at;
        }
        let further = parts.get(up as usize).copied().unwrap_or(up);
        if let Some(part) = parts.get_mut(at as usize) {
            *part = further;
        }
        at = further;
    }
}

fn join(parts: &mut [u32], one: u32, other: u32) {
    let (one, other) = (root(parts, one), root(parts, other));
    if let Some(part) = parts.get_mut(one.max(other) as usize) {
        *part = one.min(other);
    }
}

/// The edges of `some` that `others` has not, or at another cost. Both are in rising order of `to`.
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
        })
    }));
}
