//! The whole comparison in one command: floor, hub, two hubs, and NATS where it is installed, under the same work; and a
//! hub beside PeerServer with PeerJS clients, and beside y-webrtc's own server with its clients, where those are installed.
//!
//! Owns the contenders and the order of measuring; the budgets are in [`budget`]. Servers take turns, round by round, and
//! each measurement of memory or of accepting has a server fresh from its start, so that no figure depends on what came
//! before it. The median of the rounds is what counts. Absolute times do not travel between machines; the ratios do.

mod budget;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::Value;

use super::{accept, idle, join_latency, join_storm, relay};
use crate::connection::Failure;
use crate::dialect::Dialect;
use crate::lab::Lab;
use crate::process::Watched;
use crate::report::Report;
use crate::server::{self, Server, node};
use crate::target::Target;

#[derive(Clone, Debug)]
pub struct Options {
    pub hub_binary: Option<PathBuf>,
    pub node_dir: PathBuf,
    pub only: Option<Group>,
    pub rounds: usize,
    pub pairs: usize,
    pub bytes: usize,
    pub rate: f64,
    pub in_flight: u32,
    pub warmup: Duration,
    pub duration: Duration,
    pub idle_peers: usize,
    pub storm_peers: usize,
    pub joins_per_s: f64,
}

/// The servers whose figures are compared with each other: each group has tables of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Group {
    /// Hubs in their native dialect beside the floor and NATS.
    Native,
    /// A hub beside PeerServer.
    #[value(name = "peerjs")]
    PeerJs,
    /// A hub beside y-webrtc's own server.
    Yjs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Contender {
    Floor,
    Hub,
    HubPair,
    Nats,
    NatsPair,
    PeerJsHub,
    PeerServer,
    YjsHub,
    YWebrtc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Figure {
    Paced,
    PacedP99,
    Saturated,
    IdleBytes,
    Accept,
    ConnectionsPerS,
    StormFrame,
    JoinP99,
}

type Figures = BTreeMap<(Contender, Figure), Vec<f64>>;

/// A contender's processes and what aims at them.
struct Running {
    lab: Rc<Lab>,
    _servers: Vec<Server>,
}

impl Contender {
    fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Hub => "hubmesh",
            Self::HubPair => "hubmesh, two hubs",
            Self::Nats => "NATS",
            Self::NatsPair => "NATS, two servers",
            Self::PeerJsHub => "hubmesh, PeerJS",
            Self::PeerServer => "PeerServer",
            Self::YjsHub => "hubmesh, y-webrtc",
            Self::YWebrtc => "y-webrtc's server",
        }
    }

    fn group(self) -> Group {
        match self {
            Self::PeerJsHub | Self::PeerServer => Group::PeerJs,
            Self::YjsHub | Self::YWebrtc => Group::Yjs,
            _ => Group::Native,
        }
    }

    async fn start(self, options: &Options, quiet: bool) -> Result<Running, Failure> {
        let binary = options.hub_binary.as_deref();
        let binary = || binary.ok_or_else(|| Failure::Other("no --hub-binary".to_owned()));
        let (dialect, servers) = match self {
            Self::Floor => (Dialect::Floor, vec![Server::floor().await?]),
            Self::Hub => (Dialect::Pigeon, vec![Server::hub(binary()?, None).await?]),
            Self::HubPair => {
                let first = Server::hub(binary()?, None).await?;
                let second = Server::hub(binary()?, Some(&first.url)).await?;
                (Dialect::Pigeon, vec![first, second])
            }
            Self::Nats => (
                Dialect::Nats,
                vec![Server::nats(server::free_port()?, None).await?],
            ),
            Self::NatsPair => {
                let route = server::free_port()?;
                let first = Server::nats(route, None).await?;
                let second = Server::nats(server::free_port()?, Some(route)).await?;
                (Dialect::Nats, vec![first, second])
            }
            Self::PeerJsHub => (Dialect::PeerJs, vec![Server::hub(binary()?, None).await?]),
            Self::PeerServer => {
                let server = Server::on_node(&options.node_dir, node::PEER_SERVER).await?;
                (Dialect::PeerJs, vec![server])
            }
            Self::YjsHub => (Dialect::Yjs, vec![Server::hub(binary()?, None).await?]),
            Self::YWebrtc => {
                let server = Server::on_node(&options.node_dir, node::Y_WEBRTC).await?;
                (Dialect::Yjs, vec![server])
            }
        };
        let mut targets = Vec::new();
        for server in &servers {
            let target = Target::resolve(&server.url, false).await;
            targets.push(target.map_err(|error| Failure::Other(error.to_string()))?);
        }
        let watched = Watched::new(servers.iter().filter_map(Server::pid).collect());
        let mut lab = Lab::new(dialect, targets, None, watched);
        lab.quiet = quiet;
        Ok(Running {
            lab: Rc::new(lab),
            _servers: servers,
        })
    }
}

/// The comparison's text and its JSON.
pub struct Comparison {
    pub text: String,
    pub json: Value,
}

pub async fn run(options: &Options, quiet: bool) -> Result<Comparison, Failure> {
    let mut notes = Vec::new();
    let contenders = contenders(options, &mut notes).await;
    let mut figures = Figures::new();
    for round in 1..=options.rounds {
        for contender in &contenders {
            eprintln!("round {round} of {}: {}", options.rounds, contender.name());
            relay_figures(*contender, options, quiet, &mut figures, &mut notes).await?;
            other_figures(*contender, options, quiet, &mut figures).await?;
        }
    }
    Ok(budget::compare(options, &contenders, &figures, &notes))
}

/// The servers that can take part on this machine. Notes which servers on Node there are, or why they are not there.
async fn contenders(options: &Options, notes: &mut Vec<String>) -> Vec<Contender> {
    let mut contenders = vec![Contender::Floor];
    if options.hub_binary.is_some() {
        contenders.extend([Contender::Hub, Contender::HubPair]);
        contenders.extend([Contender::PeerJsHub, Contender::YjsHub]);
    }
    if server::nats_is_installed() {
        contenders.extend([Contender::Nats, Contender::NatsPair]);
    }
    let is_wanted = |group| options.only.is_none_or(|only| only == group);
    let on_node = [
        (Contender::PeerServer, node::PEER_SERVER),
        (Contender::YWebrtc, node::Y_WEBRTC),
    ];
    for (contender, program) in on_node {
        if !is_wanted(contender.group()) {
            continue;
        }
        let name = contender.name();
        match program.version(&options.node_dir).await {
            Ok(version) => {
                contenders.push(contender);
                notes.push(format!("{name} is {version}."));
            }
            Err(reason) => notes.push(format!("{name} is not measured: {reason}.")),
        }
    }
    contenders.retain(|contender| is_wanted(contender.group()));
    contenders
}

async fn relay_figures(
    contender: Contender,
    options: &Options,
    quiet: bool,
    figures: &mut Figures,
    notes: &mut Vec<String>,
) -> Result<(), Failure> {
    let loads = [
        (relay::Load::Paced(options.rate), Figure::Paced),
        (relay::Load::Saturated(options.in_flight), Figure::Saturated),
    ];
    for (load, figure) in loads {
        let running = contender.start(options, quiet).await?;
        let work = relay::Options {
            pairs: options.pairs,
            bytes: options.bytes,
            load,
            warmup: options.warmup,
            duration: options.duration,
        };
        let report = relay::run(&running.lab, &work).await?;
        if let Some(lost) = losses(contender, &report) {
            notes.push(lost);
            continue;
        }
        note(figures, contender, figure, report.value("cpu_us_per_unit"));
        if figure == Figure::Paced {
            note(
                figures,
                contender,
                Figure::PacedP99,
                report.value("latency_p99_us"),
            );
        }
    }
    Ok(())
}

/// A measurement beside the relay's, on a server of its own.
#[derive(Clone, Copy)]
enum Trial {
    Accept,
    Idle,
    JoinStorm,
    JoinLatency,
}

/// What a figure is called in a report.
type Found = &'static [(Figure, &'static str)];

async fn other_figures(
    contender: Contender,
    options: &Options,
    quiet: bool,
    figures: &mut Figures,
) -> Result<(), Failure> {
    let trials: &[Trial] = match contender {
        Contender::Floor
        | Contender::Nats
        | Contender::PeerJsHub
        | Contender::PeerServer
        | Contender::YjsHub
        | Contender::YWebrtc => &[Trial::Accept, Trial::Idle],
        Contender::Hub => &[Trial::Accept, Trial::Idle, Trial::JoinStorm],
        Contender::HubPair => &[Trial::JoinLatency],
        Contender::NatsPair => &[],
    };
    for trial in trials {
        let running = contender.start(options, quiet).await?;
        let (report, found) = trial.run(&running.lab, options).await?;
        for (figure, key) in found {
            note(figures, contender, *figure, report.value(key));
        }
    }
    Ok(())
}

impl Trial {
    async fn run(self, lab: &Rc<Lab>, options: &Options) -> Result<(Report, Found), Failure> {
        Ok(match self {
            Self::Accept => {
                let connections = options.idle_peers;
                let report = accept::run(lab, &accept::Options { connections }).await?;
                let found: Found = &[
                    (Figure::Accept, "cpu_us_per_unit"),
                    (Figure::ConnectionsPerS, "connections_per_s"),
                ];
                (report, found)
            }
            Self::Idle => {
                let idle = idle::Options {
                    peers: options.idle_peers,
                    per_network: 2,
                    hold: Duration::from_secs(1),
                };
                let report = idle::run(lab, &idle).await?;
                (report, &[(Figure::IdleBytes, "bytes_per_peer")])
            }
            Self::JoinStorm => {
                let storm = join_storm::Options {
                    peers: options.storm_peers,
                    spread: Duration::ZERO,
                    limit: Duration::from_secs(60),
                };
                let report = join_storm::run(lab, &storm).await?;
                (report, &[(Figure::StormFrame, "cpu_us_per_unit")])
            }
            Self::JoinLatency => {
                let report = join_latency::run(lab, &join_latency_options(options)).await?;
                (report, &[(Figure::JoinP99, "latency_p99_us")])
            }
        })
    }
}

fn join_latency_options(options: &Options) -> join_latency::Options {
    join_latency::Options {
        rate: options.joins_per_s,
        observers: 50,
        warmup: options.warmup,
        duration: options.duration,
    }
}

/// The most connections that one measurement opens.
pub fn connections(options: &Options) -> usize {
    let joins = join_latency_options(options).connections();
    [
        options.pairs * 2,
        options.idle_peers,
        options.storm_peers,
        joins,
    ]
    .into_iter()
    .max()
    .unwrap_or_default()
}

/// Says that messages were lost, if any were: a server that loses messages did other work than those it is compared
/// with, so its figure does not count.
fn losses(contender: Contender, report: &Report) -> Option<String> {
    let lost = report.value("lost").filter(|lost| *lost > 0.0)?;
    let sent = report.value("sent").unwrap_or_default();
    Some(format!(
        "{}: {lost} of {sent} messages were lost, so this figure does not count. {}. {}",
        contender.name(),
        report.title,
        report.notes().join(". ")
    ))
}

fn note(figures: &mut Figures, contender: Contender, figure: Figure, value: Option<f64>) {
    if let Some(value) = value {
        figures.entry((contender, figure)).or_default().push(value);
    }
}
