//! The figures of `mesh-sim measure`, each with its target, measured in worlds of a given size.
//!
//! Every hub keeps every peer, so one world with a thousand hubs and a million peers does not fit into memory. So there
//! are two worlds. *The mesh* has all the hubs, and as many of the peers as fit; it measures costs that depend on the
//! number of hubs. *The peers* has all the peers on three hubs that are near each other; it measures costs that depend
//! on the number of peers. Each part of a run says which world it uses.
//!
//! Times are virtual unless a name says CPU; bytes of deltas and of link records are those of the frames,
//! all other bytes have their WebSocket headers with them. Called by `mesh-sim measure`.

mod interest;
mod mesh;
mod remote;
pub mod scale;
mod split;
mod ways;

use std::time::Duration;

use super::world::{HostNo, Newcomer, World, WorldConfig};
use hubmesh_core::ids::{ClaimNo, HubId, Incarnation, mix};

/// The most records that the hubs of the mesh have together: about 1.5 GB.
const MOST_RECORDS: usize = 10_000_000;
/// Peers in one network.
const NETWORK: usize = 50;

/// The claims of each machine.
type Claims = Vec<Vec<ClaimNo>>;

/// A figure, with its target.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Figure {
    /// The measured quantity.
    pub name: String,
    /// The value, with its unit.
    pub value: f64,
    /// The unit.
    pub unit: &'static str,
    /// The highest value that it should have, if there is a target.
    pub target: Option<f64>,
}

/// A section of the report: the figures of one world.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Section {
    /// A description of the world.
    pub title: String,
    /// The figures.
    pub figures: Vec<Figure>,
    #[serde(skip)]
    meters: Meters,
}

impl Section {
    fn new(title: String, meters: Meters) -> Self {
        (meters.told)(Progress::Section(&title));
        Section {
            title,
            figures: Vec::new(),
            meters,
        }
    }

    fn add(&mut self, name: &str, value: f64, unit: &'static str) {
        self.push(name, value, unit, None);
    }

    fn add_with_target(&mut self, name: &str, value: f64, unit: &'static str, target: f64) {
        self.push(name, value, unit, Some(target));
    }

    fn push(&mut self, name: &str, value: f64, unit: &'static str, target: Option<f64>) {
        let name = name.to_owned();
        let figure = Figure {
            name,
            value,
            unit,
            target,
        };
        (self.meters.told)(Progress::Figure(&figure));
        self.figures.push(figure);
    }
}

/// The size of the measured mesh.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The number of hubs in the mesh: at least two.
    pub hubs: usize,
    /// The number of peers of the whole mesh.
    pub peers: usize,
    /// The seed of all random numbers.
    pub seed: u64,
}

impl Plan {
    /// The peers, or as many of them as a mesh of this size can have.
    fn that_fits(self) -> Plan {
        Plan {
            peers: self.peers.min(MOST_RECORDS / self.hubs.max(1)),
            ..self
        }
    }
}

/// A progress report while a plan runs: it takes minutes.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// A section begins; with the description of its world.
    Section(&'a str),
    /// A figure was measured.
    Figure(&'a Figure),
}

/// The data that only the process that runs a plan has, and its receiver of reports.
#[derive(Clone, Copy, Debug)]
pub struct Meters {
    /// Bytes allocated.
    pub memory: fn() -> usize,
    /// Bytes resident.
    pub resident: fn() -> usize,
    /// CPU time spent.
    pub cpu: fn() -> Duration,
    /// Called with each report at once.
    pub told: fn(Progress<'_>),
}

impl Meters {
    fn cpu_since(&self, start: Duration) -> f64 {
        (self.cpu)().saturating_sub(start).as_secs_f64()
    }
}

/// Runs the plan. The peers come first: later, resident memory would include memory that was freed before.
pub fn measure(plan: Plan, meters: Meters) -> Vec<Section> {
    vec![
        remote::measure(plan, meters),
        mesh::measure(plan.that_fits(), meters),
    ]
}

/// Runs the plan in a narrow mesh.
pub fn measure_interest(plan: Plan, meters: Meters) -> Vec<Section> {
    interest::measure(plan, meters)
}

/// A mesh to be measured: links of 2 to 82 ms there and back, which collect messages for 2 ms when busy.
fn of_links(seed: u64) -> WorldConfig {
    WorldConfig {
        latency: 1_000..41_000,
        jitter: 500,
        window: 1024 * 1024,
        gather: 2_000,
        watch: false,
        ..WorldConfig::checked(seed)
    }
}

/// The bootstrap hubs of a hub: the first hub and one other.
fn first_and_another(no: HostNo) -> Vec<HostNo> {
    if no == 0 { Vec::new() } else { vec![no / 2, 0] }
}

fn person(no: usize) -> Newcomer {
    let (high, low) = (mix(no as u64), mix(!(no as u64)));
    let id = format!("{high:016x}{low:016x}{:08x}", no as u32);
    Newcomer::new(&format!("room-{}", no / NETWORK), &id, "")
}

fn known(world: &World, no: HostNo) -> usize {
    world
        .core(no)
        .map_or(0, |core| core.directory().read().peers())
}

/// Whether a hub knows a peer.
fn is_known(world: &World, at: HostNo, who: &Newcomer) -> bool {
    world.core(at).is_some_and(|core| {
        let directory = core.directory().read();
        directory.holder(&who.network, &who.peer).is_some()
    })
}

/// A hub's set at one moment.
#[derive(Clone, Copy, Debug)]
struct Version {
    hub: HubId,
    incarnation: Incarnation,
    seq: u64,
}

/// The present claims of a machine's hub.
fn authored(world: &World, no: HostNo) -> Option<Version> {
    let hub = world.hosts[no].id;
    let state = world.core(no)?.directory().read().origin_state(&hub)?;
    Some(Version {
        hub,
        incarnation: state.incarnation,
        seq: state.seq,
    })
}

/// Whether a machine's hub shows this set, or a later one of the same incarnation.
fn shows(world: &World, no: HostNo, version: &Version) -> bool {
    let state = world
        .core(no)
        .and_then(|core| core.directory().read().origin_state(&version.hub));
    state.is_some_and(|state| {
        state.visible && state.incarnation == version.incarnation && state.seq >= version.seq
    })
}

/// Lets time pass until each of `hosts` shows all these sets; returns the time that it took.
fn until_shown(
    world: &mut World,
    mut hosts: Vec<HostNo>,
    versions: &[Version],
    step: Duration,
    limit: Duration,
) -> Option<Duration> {
    let began = world.now();
    let all = world.run_until_true(step, limit, |world| {
        hosts.retain(|no| !versions.iter().all(|version| shows(world, *no, version)));
        hosts.is_empty()
    });
    all.then(|| Duration::from_micros(world.now() - began))
}

fn seconds(span: Option<Duration>) -> f64 {
    span.map_or(f64::INFINITY, |span| span.as_secs_f64())
}

/// The value below which this share of the values lies.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = (values.len() as f64 * share) as usize;
    let place = place.min(values.len().saturating_sub(1));
    values.get(place).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_is_too_large_keeps_its_hubs_and_gives_up_peers() {
        let plan = Plan {
            hubs: 1_000,
            peers: 1_000_000,
            seed: 1,
        };
        assert_eq!(plan.that_fits().hubs, 1_000);
        assert_eq!(plan.that_fits().peers, 10_000);
        let small = Plan { hubs: 3, ..plan };
        assert_eq!(small.that_fits().peers, 1_000_000);
    }

    #[test]
    fn every_figure_of_a_small_plan_is_a_number() {
        let plan = Plan {
            hubs: 6,
            peers: 300,
            seed: 3,
        };
        let meters = Meters {
            memory: || 0,
            resident: || 0,
            cpu: || Duration::ZERO,
            told: |_| {},
        };
        let sections = measure(plan, meters);
        let named = |name: &str| {
            let all = sections.iter().flat_map(|section| &section.figures);
            let found: Vec<f64> = all
                .filter(|figure| figure.name.starts_with(name))
                .map(|figure| figure.value)
                .collect();
            assert!(!found.is_empty(), "no figure is called {name}");
            found
        };
        for figure in sections.iter().flat_map(|section| &section.figures) {
            assert!(figure.value.is_finite(), "{figure:?}");
        }
        assert_eq!(named("copies of a change"), [5.0]);
        assert_eq!(named("parts of the mesh"), [1.0]);
        assert!(named("join on the last hub, p99")[0] >= named("... shortest way, p99")[0]);
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let mut values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(quantile(&mut values, 0.5), 3.0);
        assert_eq!(quantile(&mut values, 0.99), 4.0);
        assert!(quantile(&mut [], 0.5).is_nan());
    }
}
