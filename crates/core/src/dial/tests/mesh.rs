//! Links, topology and dialler together: small meshes in virtual time, without wire or directory.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use super::super::super::api::{Bye, DialFailure, DialTarget, LinkUp};
use super::super::super::ids::{DialId, HubId, Incarnation, LinkId, Moment};
use super::super::super::links::{LinkConfig, LinkEvent, Links};
use super::super::super::topology::{Topology, TopologyConfig, TopologyEvent};
use super::super::{DialConfig, Dialer, LinkAdmission};
use crate::frames::{ControlFrame, PULLS_SINCE};

/// The latency of links, unless a test sets another.
const LATENCY: Duration = Duration::from_millis(5);

fn hub(n: usize) -> HubId {
    let mut bytes = [0; 20];
    // Spread, so that the order of ids is not that of numbers.
    bytes[0] = (n as u8).wrapping_mul(37);
    bytes[1] = n as u8;
    HubId(bytes)
}

fn url(n: usize) -> String {
    format!("ws://{n}")
}

struct Node {
    boot: u64,
    alive: bool,
    links: Links,
    topology: Topology,
    dialer: Dialer,
    /// The other end of each open link: whose, and its number there.
    open: BTreeMap<LinkId, (usize, LinkId)>,
}

#[derive(Debug)]
enum Happens {
    Up { up: LinkUp, peer: (usize, LinkId) },
    Frame { link: LinkId, frame: ControlFrame },
    Closed { link: LinkId, bye: Bye },
    Failed { dial: DialId },
}

struct Event {
    at: Moment,
    order: u64,
    node: usize,
    boot: u64,
    what: Happens,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

struct Mesh {
    now: Moment,
    nodes: Vec<Node>,
    /// When each hub has something to do, as of its last input.
    timers: Vec<Option<Moment>>,
    queue: BinaryHeap<Event>,
    count: u64,
    /// Hubs on different sides cannot reach each other.
    sides: Vec<u8>,
    config: DialConfig,
    latency: Duration,
}

impl Mesh {
    /// `size` hubs; all but the first have the first as their bootstrap.
    fn new(size: usize) -> Self {
        Self::with(size, DialConfig::default(), LATENCY)
    }

    fn with(size: usize, config: DialConfig, latency: Duration) -> Self {
        let mut mesh = Mesh {
            now: Moment(0),
            nodes: Vec::new(),
            timers: vec![Some(Moment(0)); size],
            queue: BinaryHeap::new(),
            count: 0,
            sides: vec![0; size],
            config,
            latency,
        };
        for n in 0..size {
            let node = mesh.boot(n, 1, 1_000 + n as u64);
            mesh.nodes.push(node);
        }
        mesh
    }

    fn boot(&self, n: usize, boot: u64, nonce: u64) -> Node {
        let incarnation = Incarnation { epoch: 0, nonce };
        let config = TopologyConfig {
            urls: vec![url(n)],
            ..TopologyConfig::default()
        };
        let mut node = Node {
            boot,
            alive: true,
            links: Links::new(hub(n), LinkConfig::default()),
            topology: Topology::new(hub(n), incarnation, config),
            dialer: Dialer::new(hub(n), nonce, self.config),
            open: BTreeMap::new(),
        };
        node.links.set_incarnation(incarnation);
        if n > 0 {
            node.dialer.set_bootstrap(self.now, vec![url(0)]);
        }
        node
    }

    fn restart(&mut self, n: usize, nonce: u64) {
        let boot = self.nodes[n].boot + 1;
        self.nodes[n] = self.boot(n, boot, nonce);
        self.timers[n] = Some(self.now);
    }

    fn post(&mut self, node: usize, after: Duration, what: Happens) {
        self.count += 1;
        self.queue.push(Event {
            at: self.now + after,
            order: self.count,
            node,
            boot: self.nodes[node].boot,
            what,
        });
    }

    fn dial(&mut self, from: usize, dial: DialId, target: DialTarget) {
        let (DialTarget::Bootstrap(url) | DialTarget::Learned { url, .. }) = target;
        let to: usize = url.trim_start_matches("ws://").parse().unwrap();
        if self.sides[from] != self.sides[to] {
            return; // Nobody answers.
        }
        if !self.nodes[to].alive {
            return self.post(from, self.latency, Happens::Failed { dial });
        }
        self.count += 2;
        let ends = [LinkId(self.count), LinkId(self.count + 1)];
        for (end, other, node, peer) in [(1, from, to, ends[0]), (0, to, from, ends[1])] {
            let up = LinkUp {
                link: ends[end],
                hub: hub(other),
                incarnation: self.nodes[other].topology.incarnation(),
                dialed: (end == 0).then_some(dial),
                dial_number: dial.0,
                version: PULLS_SINCE,
            };
            let peer = (other, peer);
            let after = self.latency * if end == 0 { 3 } else { 2 };
            self.post(node, after, Happens::Up { up, peer });
        }
        self.count += 2;
    }

    fn happen(&mut self, n: usize, what: Happens) {
        let now = self.now;
        let node = &mut self.nodes[n];
        match what {
            Happens::Up { up, peer } => {
                node.open.insert(up.link, peer);
                let follows = false;
                if up.dialed.is_none()
                    && node.dialer.admit(now, up.hub, follows) != LinkAdmission::Welcome
                {
                    self.close(n, up.link, Bye::Full);
                    return self.pump(n);
                }
                node.topology.on_link_up(up.link, up.version);
                node.dialer.on_neighbour_up(now, up.hub, up.dialed);
                let known = node.topology.known(up.hub);
                node.links.on_up_knowing(now, &up, known);
                if node.links.link_to(up.hub).is_none() {
                    node.dialer.on_neighbour_down(now, up.hub);
                }
            }
            Happens::Failed { dial } => {
                node.dialer
                    .on_dial_failed(now, dial, DialFailure::Unreachable);
            }
            Happens::Closed { link, bye } => {
                node.open.remove(&link);
                if let Some(hub) = node.links.neighbour(link) {
                    node.dialer.on_bye(now, hub, bye);
                    if let Bye::StaleIncarnation { known } = bye {
                        node.topology.on_stale(now, known);
                    }
                }
                node.links.on_bye(now, link, bye);
            }
            Happens::Frame { link, frame } => {
                node.links.on_heard(now, link);
                match frame {
                    ControlFrame::Ping { token } => node.links.on_ping(link, token),
                    ControlFrame::Pong { token } => node.links.on_pong(now, link, token),
                    ControlFrame::Digest(part) => node.topology.handle_digest(now, link, &part),
                    ControlFrame::Records(records) => {
                        node.topology.handle_records(now, link, records)
                    }
                    ControlFrame::Summary(summary) => {
                        node.topology.handle_summary(now, link, &summary)
                    }
                    ControlFrame::Announce(words) => {
                        node.topology.handle_announce(now, link, &words)
                    }
                    ControlFrame::Want(hubs) => node.topology.handle_want(link, &hubs),
                    other => panic!("nobody sends {other:?}"),
                }
            }
        }
        self.pump(n);
    }

    fn close(&mut self, n: usize, link: LinkId, bye: Bye) {
        self.nodes[n].topology.on_link_closed(link);
        if let Some((peer, there)) = self.nodes[n].open.remove(&link)
            && self.sides[n] == self.sides[peer]
        {
            self.post(peer, self.latency, Happens::Closed { link: there, bye });
        }
    }

    /// Carries out all that follows at hub `n`.
    fn pump(&mut self, n: usize) {
        let now = self.now;
        loop {
            if let Some(event) = self.nodes[n].links.poll_event() {
                self.on_link_event(n, event);
            } else if let Some(event) = self.nodes[n].topology.poll_event() {
                self.on_topology_event(n, event);
            } else if let Some((dial, target)) = self.nodes[n].dialer.poll_dial() {
                self.dial(n, dial, target);
            } else if let Some(hub) = self.nodes[n].dialer.poll_drop(now) {
                let node = &mut self.nodes[n];
                let lets_nobody_in = node.dialer.lets_nobody_in();
                if let Some(link) = node.links.link_to(hub)
                    && node.topology.may_close(hub, lets_nobody_in)
                {
                    node.links.close_link(now, link, Bye::Full);
                }
            } else {
                break;
            }
        }
        self.send(n);
        self.timers[n] = Self::timeout(&self.nodes[n]);
    }

    fn on_link_event(&mut self, n: usize, event: LinkEvent) {
        let now = self.now;
        let node = &mut self.nodes[n];
        match event {
            LinkEvent::NeighbourUp {
                hub,
                incarnation,
                link,
            } => node.topology.on_neighbour_up(now, hub, incarnation, link),
            LinkEvent::NeighbourSwitched { hub, link } => {
                node.topology.on_neighbour_switched(now, hub, link);
            }
            LinkEvent::NeighbourDown { hub } => {
                node.topology.on_neighbour_down(now, hub);
                node.dialer.on_neighbour_down(now, hub);
            }
            LinkEvent::RttMeasured { hub, rtt } => {
                node.topology.on_rtt(now, hub, rtt);
                node.dialer.on_rtt(hub, rtt);
            }
            LinkEvent::Close { link, bye } => self.close(n, link, bye),
            LinkEvent::IdentityClash { .. } => panic!("no two hubs share an id"),
        }
    }

    fn on_topology_event(&mut self, n: usize, event: TopologyEvent) {
        let now = self.now;
        let node = &mut self.nodes[n];
        match event {
            TopologyEvent::Reachable { hub, .. } => node.dialer.on_reachable(now, hub),
            TopologyEvent::Unreachable { hub } => node.dialer.on_unreachable(now, hub),
            TopologyEvent::IncarnationChanged { hub, incarnation } => {
                node.links.on_incarnation(hub, incarnation);
            }
            TopologyEvent::Learned { hub } => {
                let record = node.topology.record(hub).unwrap();
                let (urls, draining) = (&record.urls, record.draining);
                node.dialer.on_learned(now, hub, urls, draining);
            }
            TopologyEvent::Forgotten { hub } => node.dialer.on_forgotten(hub),
            TopologyEvent::MindChanged | TopologyEvent::RoutesChanged => {}
            TopologyEvent::OwnIncarnation(incarnation) => node.links.set_incarnation(incarnation),
            TopologyEvent::IdentityClash => panic!("no two hubs share an id"),
        }
    }

    fn send(&mut self, n: usize) {
        let links: Vec<_> = self.nodes[n].links.iter().collect();
        for view in links {
            loop {
                let node = &mut self.nodes[n];
                let mut frame = node.links.poll_control(view.link);
                if frame.is_none() && view.active {
                    frame = node.topology.poll_transmit(view.link, 2_000);
                }
                let Some(frame) = frame else { break };
                let Some((peer, link)) = node.open.get(&view.link).copied() else {
                    break;
                };
                if self.sides[n] == self.sides[peer] {
                    self.post(peer, self.latency, Happens::Frame { link, frame });
                }
            }
        }
    }

    fn timeout(node: &Node) -> Option<Moment> {
        let all = [
            node.links.poll_timeout(),
            node.topology.poll_timeout(),
            node.dialer.poll_timeout(),
            node.dialer.drop_timeout(),
        ];
        all.into_iter().flatten().min()
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let timer = (0..self.nodes.len())
                .filter(|n| self.nodes[*n].alive)
                .filter_map(|n| Some((self.timers[n]?.max(self.now), n)))
                .min();
            let event = self.queue.peek().map(|event| event.at);
            let next = timer.map(|timer| timer.0).into_iter().chain(event).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = next;
            if event == Some(next) {
                let event = self.queue.pop().unwrap();
                let node = &self.nodes[event.node];
                if node.alive && node.boot == event.boot {
                    self.happen(event.node, event.what);
                }
            } else if let Some((_, n)) = timer {
                let node = &mut self.nodes[n];
                node.links.handle_timeout(next);
                node.topology.handle_timeout(next);
                node.dialer.handle_timeout(next);
                self.pump(n);
            }
        }
    }

    /// Each hub reaches exactly the living ones of its side, and the two ends of each link agree on it.
    fn assert_whole(&self) {
        let living: Vec<usize> = (0..self.nodes.len())
            .filter(|n| self.nodes[*n].alive)
            .collect();
        for n in &living {
            let node = &self.nodes[*n];
            let wanted: BTreeSet<HubId> = living
                .iter()
                .filter(|m| *m != n && self.sides[**m] == self.sides[*n])
                .map(|m| hub(*m))
                .collect();
            let routes = node.topology.routes();
            let reached: BTreeSet<HubId> = routes.by_hub.keys().copied().collect();
            assert_eq!(reached, wanted, "hub {n}");
            let mut seen = BTreeSet::new();
            for view in node.links.iter() {
                assert!(seen.insert(view.hub), "hub {n} has two links with one hub");
                let (peer, there) = node.open[&view.link];
                assert_eq!(self.nodes[peer].links.neighbour(there), Some(hub(*n)));
            }
            for m in &living {
                let theirs = self.nodes[*m].topology.record(hub(*n));
                if self.sides[*m] == self.sides[*n] {
                    assert_eq!(theirs, node.topology.record(hub(*n)), "hub {n} at hub {m}");
                }
            }
        }
    }

    fn degree(&self, n: usize) -> usize {
        self.nodes[n].links.neighbour_count()
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn ten_hubs_with_one_bootstrap_become_a_full_mesh() {
    let mut mesh = Mesh::new(10);
    mesh.run(SECOND * 5);
    mesh.assert_whole();
    assert!((0..10).all(|n| mesh.degree(n) == 9));
}

#[test]
fn forty_hubs_with_one_bootstrap_find_eight_links_each_and_relieve_it() {
    let mut mesh = Mesh::new(40);
    mesh.run(SECOND * 30);
    mesh.assert_whole();
    assert!((0..40).all(|n| (8..=32).contains(&mesh.degree(n))));
    let before: Vec<usize> = (0..40).map(|n| mesh.degree(n)).collect();
    mesh.run(SECOND * 30);
    let after: Vec<usize> = (0..40).map(|n| mesh.degree(n)).collect();
    assert_eq!(before, after, "the mesh is at rest");
}

#[test]
fn a_killed_hub_is_gone_in_four_seconds_and_its_next_life_is_back_in_four() {
    // The second incarnation draws a lower nonce than the first: it has to raise its epoch to be heard.
    for nonce in [1, 5_000] {
        let mut mesh = Mesh::new(6);
        mesh.run(SECOND * 5);
        mesh.nodes[3].alive = false;
        mesh.run(SECOND * 4);
        mesh.assert_whole();
        mesh.restart(3, nonce);
        mesh.run(SECOND * 4);
        mesh.assert_whole();
        let epoch = u32::from(nonce == 1);
        assert_eq!(
            mesh.nodes[3].topology.incarnation(),
            Incarnation { epoch, nonce }
        );
        let known = mesh.nodes[5].topology.known(hub(3));
        assert_eq!(known, Some(Incarnation { epoch, nonce }));
    }
}

#[test]
fn a_hub_that_restarts_before_anyone_noticed_is_back_at_once() {
    for nonce in [1, 5_000] {
        let mut mesh = Mesh::new(6);
        mesh.run(SECOND * 5);
        mesh.restart(3, nonce);
        mesh.run(SECOND * 5);
        mesh.assert_whole();
    }
}

#[test]
fn halves_that_were_apart_find_each_other_without_their_bootstrap() {
    let mut mesh = Mesh::new(8);
    mesh.run(SECOND * 5);
    mesh.nodes[0].alive = false;
    for n in 4..8 {
        mesh.sides[n] = 1;
    }
    mesh.run(SECOND * 300);
    mesh.assert_whole();
    mesh.sides.fill(0);
    mesh.run(SECOND * 60);
    mesh.assert_whole();
}

/// A hub wants two links and closes those past three: hardly a link can be spared.
fn tight() -> DialConfig {
    DialConfig {
        full_mesh_up_to: 3,
        degree: 2,
        nat_links: 2,
        accept_up_to: 3,
        accept_never_past: 9,
        ..DialConfig::default()
    }
}

#[test]
fn hubs_that_all_close_links_at_the_same_time_come_to_rest() {
    // As in history 8067 of 60 to 120 hubs.
    let mut mesh = Mesh::with(112, tight(), Duration::from_millis(120));
    for n in 1..112 {
        let dialer = &mut mesh.nodes[n].dialer;
        dialer.set_bootstrap(Moment(0), vec![url(n / 2)]);
    }
    mesh.run(SECOND * 5);
    for n in 0..112 {
        mesh.sides[n] = n as u8 % 8;
    }
    mesh.run(SECOND * 5);
    mesh.sides.fill(0);
    mesh.run(SECOND * 40);
    mesh.assert_whole();
    for node in &mut mesh.nodes {
        let linked: Vec<HubId> = node.links.iter().map(|view| view.hub).collect();
        let spare = linked
            .iter()
            .find(|hub| node.topology.may_close(**hub, false));
        assert!(linked.len() <= 3 || spare.is_none(), "{linked:?} {spare:?}");
    }
    let open = |mesh: &Mesh| -> Vec<LinkId> {
        let links = mesh.nodes.iter().flat_map(|node| node.open.keys());
        links.copied().collect()
    };
    let before = open(&mesh);
    mesh.run(SECOND * 10);
    assert_eq!(before, open(&mesh), "the mesh is at rest");
}

#[test]
fn a_hub_that_lets_nobody_in_makes_place_for_those_that_know_no_other() {
    // As in history 8375 of 60 to 120 hubs: the first hub has nine links that all rank too high to be closed.
    let mut mesh = Mesh::with(60, tight(), LATENCY);
    mesh.run(SECOND * 60);
    mesh.assert_whole();
}
