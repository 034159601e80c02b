//! The best result that any mesh could have over the open links: the shortest paths by latency alone.
//!
//! Computed from the connections, not from the routes of the hubs. Called by the other figures.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::world::{HostNo, World};

/// The open links of a world, with the one-way latency of each.
pub(super) struct Ways {
    links: Vec<Vec<(HostNo, u64)>>,
}

impl Ways {
    pub(super) fn of(world: &World) -> Self {
        let mut links = vec![Vec::new(); world.host_count()];
        for conn in world.conns.values().filter(|conn| conn.is_open()) {
            let (a, b) = (conn.ends[0].owner.host, conn.ends[1].owner.host);
            links[a].push((b, conn.pipes[0].latency));
            links[b].push((a, conn.pipes[1].latency));
        }
        Ways { links }
    }

    /// Links per hub.
    pub(super) fn degree(&self) -> f64 {
        let ends: usize = self.links.iter().map(Vec::len).sum();
        ends as f64 / self.links.len().max(1) as f64
    }

    /// The number of links.
    pub(super) fn count(&self) -> usize {
        self.links.iter().map(Vec::len).sum::<usize>() / 2
    }

    /// The time to the farthest machine that can be reached, in microseconds.
    pub(super) fn farthest(&self, from: HostNo) -> u64 {
        let mut best = vec![u64::MAX; self.links.len()];
        let mut queue = BinaryHeap::from([Reverse((0, from))]);
        best[from] = 0;
        let mut farthest = 0;
        while let Some(Reverse((time, at))) = queue.pop() {
            if time > best[at] {
                continue;
            }
            farthest = time;
            for (to, takes) in &self.links[at] {
                let there = time + takes;
                if there < best[*to] {
                    best[*to] = there;
                    queue.push(Reverse((there, *to)));
                }
            }
        }
        farthest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_farthest_is_found_by_the_shortest_way() {
        let ways = Ways {
            links: vec![
                vec![(1, 10), (2, 50)],
                vec![(0, 10), (2, 10)],
                vec![(1, 10), (0, 50)],
                vec![],
            ],
        };
        assert_eq!(ways.farthest(0), 20);
        assert_eq!(ways.farthest(3), 0);
        assert_eq!(ways.count(), 3);
    }
}
