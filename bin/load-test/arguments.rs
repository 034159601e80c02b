//! The command line of `load-test`: modes as subcommands, every count and time bounded.
//!
//! Owns flags, defaults and bounds, and turns them into the options of the modes. Does nothing itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use hubmesh_cli as cli;
use hubmesh_client::HubUrl;

use crate::dialect::Dialect;
use crate::mode::{join_latency, mesh, relay, table};
use crate::target;

const MOST_PEERS: u64 = 200_000;
const MOST_RATE: f64 = 1_000_000.0;
const LONGEST: Duration = Duration::from_secs(3_600);

/// Puts bounded load on a hub, or on a pair of hubs, and says what it cost.
#[derive(Debug, Parser)]
#[command(
    name = "load-test",
    version,
    after_help = "\
Long flags may be written with one dash. Only this machine is a target unless --allow-remote says otherwise.
A hub that limits its peers' rate needs RATE_LIMIT_PER_SEC=0 and enough MAX_CONNECTIONS for these figures.

Examples:
  load-test relay --hub ws://localhost:8080 --paced 5000 --pid \"$(pidof hubmesh)\"
  load-test relay --hub ws://localhost:8080 --hub-b ws://localhost:8081 --saturated --in-flight 8 --pid 101,102
  load-test idle --hub ws://localhost:8080 --peers 5000 --pid 101
  load-test join-storm --hub ws://localhost:8080 --peers 500 --pid 101 --json
  load-test join-storm --hub ws://localhost:8080 --peers 500 --spread 1s --pid 101
  load-test mesh --hub-binary target/release/hubmesh --hubs 40 --peers 2000 --kill 10
  load-test floor --listen 127.0.0.1:9000
  load-test relay --dialect peerjs --hub ws://localhost:9000/myapp --pid \"$(pidof node)\"
  load-test relay --dialect floor --hub 127.0.0.1:9000
  load-test relay --dialect nats --hub nats://127.0.0.1:4222 --pid \"$(pidof nats-server)\"
  load-test table --hub-binary target/release/hubmesh
  load-test table --hub-binary target/release/hubmesh --only peerjs
  load-test table --hub-binary target/release/hubmesh --only yjs
  load-test idle --dialect rooms --peers 4000 --per-network 4 --pid 101

Exit codes: 0 measured, 1 the run failed, 64 wrong usage, 69 unreachable, 77 refused."
)]
pub struct Arguments {
    #[command(subcommand)]
    pub mode: Mode,
    /// One JSON object in place of a table.
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Mode {
    /// Pairs of peers relay candidates, paced or saturated.
    Relay(Relay),
    /// Connected, announced, silent peers: resident bytes for each.
    Idle(Idle),
    /// Many peers join one network: CPU time for each peer-discovered frame.
    JoinStorm(JoinStorm),
    /// Connect and announce: CPU time for each connection.
    Accept(Accept),
    /// Time until a join is seen, on the second hub where there is one.
    JoinLatency(JoinLatency),
    /// Start a mesh of live hubs, kill some at once, start them again: time until all agree, memory of each.
    Mesh(Mesh),
    /// Serve the floor: a relay of raw frames that others are compared with.
    Floor(Floor),
    /// Start floor, hubs, NATS, PeerServer and y-webrtc's server in turns, measure each, and print the tables of budgets.
    Table(Table),
}

/// Where load goes and what is watched.
#[derive(Debug, Args)]
pub struct Aim {
    /// The server: a hub's or PeerServer's URL with its path, nats://host:port, or host:port.
    #[arg(long, default_value = "ws://localhost:8080", value_name = "URL", value_parser = target::parse)]
    pub hub: HubUrl,
    /// A second server, linked to the first: receivers and observers sit there.
    #[arg(long, value_name = "URL", value_parser = target::parse)]
    pub hub_b: Option<HubUrl>,
    /// What the server speaks.
    #[arg(long, value_enum, default_value = "pigeon")]
    pub dialect: Dialect,
    /// A server's process, for CPU time and memory; several between commas, or as `pidof` prints them.
    #[arg(long = "pid", value_name = "PID", value_parser = pids)]
    pids: Vec<Pids>,
    /// The bearer token of the hub.
    #[arg(long, env = "AUTH_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Aim at another machine. Its owner agreed.
    #[arg(long)]
    pub allow_remote: bool,
}

#[derive(Debug, Args)]
pub struct Relay {
    #[command(flatten)]
    pub aim: Aim,
    #[command(flatten)]
    work: Work,
    /// Messages a second of all pairs together.
    #[arg(long, value_name = "RATE", default_value = "5000", conflicts_with = "saturated", value_parser = rate)]
    paced: f64,
    /// Keep messages under way all the time, in place of a pace.
    #[arg(long)]
    saturated: bool,
    /// With --saturated: how many of each pair are under way.
    #[arg(long, default_value_t = 8, requires = "saturated", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    in_flight: u32,
}

/// What pairs do, and for how long.
#[derive(Debug, Args)]
pub struct Work {
    /// Pairs of peers.
    #[arg(long, default_value_t = 200, value_parser = count(1, MOST_PEERS / 2))]
    pairs: usize,
    /// Bytes of a candidate's data.
    #[arg(long, default_value_t = 300, value_parser = count(160, 60_000))]
    bytes: usize,
    #[command(flatten)]
    time: Time,
}

#[derive(Clone, Copy, Debug, Args)]
pub struct Time {
    /// How long is measured.
    #[arg(long, default_value = "10s", value_parser = bounded)]
    duration: Duration,
    /// How long the load runs before that.
    #[arg(long, default_value = "1s", value_parser = bounded_or_none)]
    warmup: Duration,
}

#[derive(Debug, Args)]
pub struct Idle {
    #[command(flatten)]
    pub aim: Aim,
    /// How many peers.
    #[arg(long, short = 'n', default_value_t = 5_000, value_parser = count(2, MOST_PEERS))]
    pub peers: usize,
    /// How many of them are in one network: in one room or topic, where the dialect has those.
    #[arg(long, default_value_t = 2, value_parser = count(2, 1_000))]
    pub per_network: usize,
    /// How long they stay, once all are there.
    #[arg(long, default_value = "5s", value_parser = bounded)]
    pub hold: Duration,
}

#[derive(Debug, Args)]
pub struct JoinStorm {
    #[command(flatten)]
    pub aim: Aim,
    /// How many peers; each learns of all others.
    #[arg(long, short = 'n', default_value_t = 500, value_parser = count(2, 20_000))]
    pub peers: usize,
    /// The joins come one after the other, evenly over this time; 0s: all at once.
    #[arg(long, default_value = "0s", value_parser = bounded_or_none)]
    pub spread: Duration,
    /// The longest that the storm may take.
    #[arg(long, default_value = "60s", value_parser = bounded)]
    pub limit: Duration,
}

#[derive(Debug, Args)]
pub struct Accept {
    #[command(flatten)]
    pub aim: Aim,
    /// How many connections.
    #[arg(long, short = 'n', default_value_t = 5_000, value_parser = count(2, MOST_PEERS))]
    pub connections: usize,
}

#[derive(Debug, Args)]
pub struct JoinLatency {
    #[command(flatten)]
    pub aim: Aim,
    /// Joins a second.
    #[arg(long, default_value = "500", value_parser = rate)]
    rate: f64,
    /// Networks, each with one observer.
    #[arg(long, default_value_t = 50, value_parser = count(1, 1_000))]
    observers: usize,
    #[command(flatten)]
    time: Time,
}

#[derive(Debug, Args)]
pub struct Mesh {
    /// The hubmesh binary to start.
    #[arg(long, value_name = "PATH")]
    hub_binary: PathBuf,
    /// How many hubs, each told of the one before it.
    #[arg(long, default_value_t = 40, value_parser = count(2, 200))]
    hubs: usize,
    /// How many native peers, on all hubs in turns.
    #[arg(long, short = 'n', default_value_t = 2_000, value_parser = count(1, MOST_PEERS))]
    peers: usize,
    /// How many hubs are killed at once: half of them at most.
    #[arg(long, default_value_t = 10, value_parser = count(1, 100))]
    kill: usize,
    /// The longest that the hubs may take to agree, each time.
    #[arg(long, default_value = "60s", value_parser = bounded)]
    limit: Duration,
}

#[derive(Debug, Args)]
pub struct Floor {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:9000", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Threads that serve.
    #[arg(long, default_value_t = default_workers(), value_parser = count(1, 64))]
    pub workers: usize,
    /// Listen for other machines too.
    #[arg(long)]
    pub allow_remote: bool,
}

#[derive(Debug, Args)]
pub struct Table {
    /// The hubmesh binary to measure, built for release.
    #[arg(long, value_name = "PATH")]
    hub_binary: Option<PathBuf>,
    /// The folder whose node_modules holds the rivals on Node: PeerServer (the package `peer`) and `y-webrtc`.
    #[arg(long, default_value = "tests/browser", value_name = "FOLDER")]
    node_dir: PathBuf,
    /// Compare in one dialect alone.
    #[arg(long, value_enum)]
    only: Option<table::Group>,
    /// How often each server has its turn; the median counts.
    #[arg(long, default_value_t = 3, value_parser = count(1, 20))]
    rounds: usize,
    #[command(flatten)]
    work: Work,
    /// Messages a second of all pairs together, paced.
    #[arg(long, default_value = "5000", value_parser = rate)]
    paced: f64,
    /// How many messages of each pair are under way, saturated.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    in_flight: u32,
    /// Idle peers, and connections accepted.
    #[arg(long, default_value_t = 5_000, value_parser = count(2, MOST_PEERS))]
    idle_peers: usize,
    /// Peers of the join storm.
    #[arg(long, default_value_t = 500, value_parser = count(2, 20_000))]
    storm_peers: usize,
    /// Joins a second for the join latency.
    #[arg(long, default_value = "500", value_parser = rate)]
    joins: f64,
}

impl Arguments {
    /// The most connections that are open at a time.
    pub fn connections(&self) -> usize {
        match &self.mode {
            Mode::Relay(relay) => relay.work.pairs * 2,
            Mode::Idle(idle) => idle.peers,
            Mode::JoinStorm(storm) => storm.peers,
            Mode::Accept(accept) => accept.connections,
            Mode::JoinLatency(joins) => joins.options().connections(),
            Mode::Mesh(mesh) => mesh.peers + mesh.hubs,
            Mode::Floor(_) => 0,
            Mode::Table(table) => table::connections(&table.options()),
        }
    }
}

impl Aim {
    /// The processes to watch, in the order in which they are named.
    pub fn pids(&self) -> Vec<u32> {
        self.pids.iter().flat_map(|named| named.0.clone()).collect()
    }
}

impl Relay {
    pub fn options(&self) -> relay::Options {
        relay::Options {
            pairs: self.work.pairs,
            bytes: self.work.bytes,
            load: if self.saturated {
                relay::Load::Saturated(self.in_flight)
            } else {
                relay::Load::Paced(self.paced)
            },
            warmup: self.work.time.warmup,
            duration: self.work.time.duration,
        }
    }
}

impl JoinLatency {
    pub fn options(&self) -> join_latency::Options {
        join_latency::Options {
            rate: self.rate,
            observers: self.observers,
            warmup: self.time.warmup,
            duration: self.time.duration,
        }
    }
}

impl Mesh {
    pub fn options(&self) -> Result<mesh::Options, String> {
        if self.kill * 2 > self.hubs {
            let most = self.hubs / 2;
            return Err(format!("--kill: of {} hubs at most {most}", self.hubs));
        }
        Ok(mesh::Options {
            hub_binary: self.hub_binary.clone(),
            hubs: self.hubs,
            peers: self.peers,
            kill: self.kill,
            limit: self.limit,
        })
    }
}

impl Table {
    pub fn options(&self) -> table::Options {
        table::Options {
            hub_binary: self.hub_binary.clone(),
            node_dir: self.node_dir.clone(),
            only: self.only,
            rounds: self.rounds,
            pairs: self.work.pairs,
            bytes: self.work.bytes,
            rate: self.paced,
            in_flight: self.in_flight,
            warmup: self.work.time.warmup,
            duration: self.work.time.duration,
            idle_peers: self.idle_peers,
            storm_peers: self.storm_peers,
            joins_per_s: self.joins,
        }
    }
}

/// Processes that were named at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pids(pub Vec<u32>);

fn pids(text: &str) -> Result<Pids, String> {
    let words = text.split([',', ' ', '\n']).filter(|word| !word.is_empty());
    let pids: Result<Vec<u32>, _> = words.map(str::parse).collect();
    match pids {
        Ok(pids) if !pids.is_empty() => Ok(Pids(pids)),
        _ => Err("use the numbers of processes, between commas".to_owned()),
    }
}

/// A parser of counts from `least` to `most`.
fn count(least: u64, most: u64) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync {
    move |text| {
        let number: u64 = text.parse().map_err(|_| "not a whole number".to_owned())?;
        if !(least..=most).contains(&number) {
            return Err(format!("must be from {least} to {most}"));
        }
        usize::try_from(number).map_err(|error| error.to_string())
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if rate > 0.0 && rate <= MOST_RATE {
        Ok(rate)
    } else {
        Err(format!("must be above 0 and at most {MOST_RATE}"))
    }
}

fn bounded(text: &str) -> Result<Duration, String> {
    cli::positive_duration(text).and_then(at_most_an_hour)
}

fn bounded_or_none(text: &str) -> Result<Duration, String> {
    cli::duration(text).and_then(at_most_an_hour)
}

fn at_most_an_hour(duration: Duration) -> Result<Duration, String> {
    if duration <= LONGEST {
        Ok(duration)
    } else {
        Err("must be at most 1h".to_owned())
    }
}

fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(arguments: &[&str]) -> bool {
        Arguments::try_parse_from(arguments).is_err()
    }

    #[test]
    fn every_count_and_time_is_bounded() {
        for arguments in [
            &["load-test", "relay", "--pairs", "0"][..],
            &["load-test", "relay", "--pairs", "1000000"],
            &["load-test", "relay", "--paced", "0"],
            &["load-test", "relay", "--paced", "NaN"],
            &["load-test", "relay", "--duration", "2h"],
            &["load-test", "relay", "--duration", "0s"],
            &["load-test", "relay", "--saturated", "--paced", "10"],
            &["load-test", "idle", "--peers", "1"],
            &["load-test", "floor", "--workers", "0"],
            &["load-test", "mesh"],
            &[
                "load-test",
                "mesh",
                "--hub-binary",
                "hubmesh",
                "--hubs",
                "1",
            ],
        ] {
            assert!(refused(arguments), "{arguments:?}");
        }
    }

    #[test]
    fn processes_are_named_one_by_one_between_commas_and_as_pidof_prints_them() {
        let named = |arguments: &[&str]| {
            let all = [&["load-test", "idle"], arguments].concat();
            match Arguments::try_parse_from(all).ok()?.mode {
                Mode::Idle(idle) => Some(idle.aim.pids()),
                _ => None,
            }
        };
        for arguments in [
            &["--pid", "1,2"][..],
            &["--pid", "1", "--pid", "2"],
            &["--pid", "1 2\n"],
        ] {
            assert_eq!(named(arguments), Some(vec![1, 2]), "{arguments:?}");
        }
        for wrong in ["", ",", "1;2", "-1"] {
            assert_eq!(named(&["--pid", wrong]), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_saturated_relay_keeps_what_is_under_way() {
        let arguments = ["load-test", "relay", "--saturated", "--in-flight", "3"];
        match Arguments::try_parse_from(arguments).map(|parsed| parsed.mode) {
            Ok(Mode::Relay(relay)) => {
                assert!(matches!(relay.options().load, relay::Load::Saturated(3)))
            }
            other => panic!("{other:?}"),
        }
    }
}
