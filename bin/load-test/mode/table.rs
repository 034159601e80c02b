//! The whole comparison in one command: floor, hub, two hubs, and NATS where it is installed, under the same work.
//!
//! Owns the budgets. Servers take turns, round by round, and each measurement of memory or of accepting has a server
//! fresh from its start, so that no figure depends on what came before it. The median of the rounds is what counts.
//! Absolute times do not travel between machines; the ratios do.

use std::{collections::BTreeMap, path::PathBuf, rc::Rc, time::Duration};

use serde_json::{Value, json};

use super::{accept, idle, join_latency, join_storm, relay};
use crate::{
    connection::Failure,
    dialect::Dialect,
    lab::Lab,
    process::Watched,
    report::{Report, shown, table},
    server::{self, Server},
    target::Target,
};

#[derive(Clone, Debug)]
pub struct Options {
    pub hub_binary: Option<PathBuf>,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Contender {
    Floor,
    Hub,
    HubPair,
    Nats,
    NatsPair,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Figure {
    Paced,
    PacedP99,
    Saturated,
    IdleBytes,
    Accept,
    StormFrame,
    JoinP99,
}

/// What a budget compares.
struct Budget {
    what: &'static str,
    of: (Contender, Figure),
    /// None: an absolute figure.
    to: Option<Contender>,
    most: f64,
    unit: &'static str,
}

const BUDGETS: [Budget; 8] = [
    Budget {
        what: "local signal, paced",
        of: (Contender::Hub, Figure::Paced),
        to: Some(Contender::Floor),
        most: 1.25,
        unit: "× floor",
    },
    Budget {
        what: "local signal, saturated",
        of: (Contender::Hub, Figure::Saturated),
        to: Some(Contender::Floor),
        most: 1.0,
        unit: "× floor",
    },
    Budget {
        what: "across two hubs, paced",
        of: (Contender::HubPair, Figure::Paced),
        to: Some(Contender::NatsPair),
        most: 0.6,
        unit: "× NATS pair",
    },
    Budget {
        what: "across two hubs, saturated",
        of: (Contender::HubPair, Figure::Saturated),
        to: Some(Contender::NatsPair),
        most: 1.0,
        unit: "× NATS pair",
    },
    Budget {
        what: "idle announced peer",
        of: (Contender::Hub, Figure::IdleBytes),
        to: None,
        most: 6144.0,
        unit: "B",
    },
    Budget {
        what: "accept and announce",
        of: (Contender::Hub, Figure::Accept),
        to: None,
        most: 45.0,
        unit: "µs",
    },
    Budget {
        what: "join storm, a frame",
        of: (Contender::Hub, Figure::StormFrame),
        to: None,
        most: 1.5,
        unit: "µs",
    },
    Budget {
        what: "join seen on the neighbour, p99",
        of: (Contender::HubPair, Figure::JoinP99),
        to: None,
        most: 3_000.0,
        unit: "µs",
    },
];

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
                let second = Server::hub(binary()?, Some(&first.hub)).await?;
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
        };
        let mut targets = Vec::new();
        for server in &servers {
            let target = Target::resolve(&server.hub, false).await;
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
    let mut contenders = vec![Contender::Floor];
    if options.hub_binary.is_some() {
        contenders.extend([Contender::Hub, Contender::HubPair]);
    }
    if server::nats_is_installed() {
        contenders.extend([Contender::Nats, Contender::NatsPair]);
    }
    let mut figures = Figures::new();
    for round in 1..=options.rounds {
        for contender in &contenders {
            eprintln!("round {round} of {}: {}", options.rounds, contender.name());
            relay_figures(*contender, options, quiet, &mut figures).await?;
            other_figures(*contender, options, quiet, &mut figures).await?;
        }
    }
    Ok(compare(options, &contenders, &figures))
}

async fn relay_figures(
    contender: Contender,
    options: &Options,
    quiet: bool,
    figures: &mut Figures,
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
        refuse_losses(contender, &report)?;
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

async fn other_figures(
    contender: Contender,
    options: &Options,
    quiet: bool,
    figures: &mut Figures,
) -> Result<(), Failure> {
    if matches!(contender, Contender::HubPair) {
        let running = contender.start(options, quiet).await?;
        let report = join_latency::run(&running.lab, &join_latency_options(options)).await?;
        note(
            figures,
            contender,
            Figure::JoinP99,
            report.value("latency_p99_us"),
        );
        return Ok(());
    }
    if matches!(contender, Contender::NatsPair) {
        return Ok(());
    }
    let connections = options.idle_peers;
    let running = contender.start(options, quiet).await?;
    let report = accept::run(&running.lab, &accept::Options { connections }).await?;
    note(
        figures,
        contender,
        Figure::Accept,
        report.value("cpu_us_per_unit"),
    );

    let running = contender.start(options, quiet).await?;
    let hold = Duration::from_secs(1);
    let report = idle::run(
        &running.lab,
        &idle::Options {
            peers: connections,
            hold,
        },
    )
    .await?;
    note(
        figures,
        contender,
        Figure::IdleBytes,
        report.value("bytes_per_peer"),
    );

    if contender == Contender::Hub {
        let running = contender.start(options, quiet).await?;
        let limit = Duration::from_secs(60);
        let storm = join_storm::Options {
            peers: options.storm_peers,
            limit,
        };
        let report = join_storm::run(&running.lab, &storm).await?;
        note(
            figures,
            contender,
            Figure::StormFrame,
            report.value("cpu_us_per_unit"),
        );
    }
    Ok(())
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

/// A server that loses messages did other work than those it is compared with.
fn refuse_losses(contender: Contender, report: &Report) -> Result<(), Failure> {
    match report.value("lost") {
        Some(lost) if lost > 0.0 => Err(Failure::Other(format!(
            "{} lost messages, so its figures mean nothing:\n{}",
            contender.name(),
            report.to_table()
        ))),
        _ => Ok(()),
    }
}

fn note(figures: &mut Figures, contender: Contender, figure: Figure, value: Option<f64>) {
    if let Some(value) = value {
        figures.entry((contender, figure)).or_default().push(value);
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle.wrapping_sub(1)), sorted.get(middle)) {
        (Some(below), Some(above)) if sorted.len().is_multiple_of(2) => Some((below + above) / 2.0),
        (_, middle) => middle.copied(),
    }
}

fn compare(options: &Options, contenders: &[Contender], figures: &Figures) -> Comparison {
    let value = |contender, figure| {
        figures
            .get(&(contender, figure))
            .and_then(|all| median(all))
    };
    let cell = |contender, figure, unit| {
        value(contender, figure).map_or_else(|| "–".to_owned(), |found| shown(found, unit))
    };
    let rows: Vec<Vec<String>> = contenders
        .iter()
        .map(|contender| {
            vec![
                contender.name().to_owned(),
                cell(*contender, Figure::Paced, "µs"),
                cell(*contender, Figure::Saturated, "µs"),
                cell(*contender, Figure::PacedP99, "µs"),
                cell(*contender, Figure::IdleBytes, "B"),
                cell(*contender, Figure::Accept, "µs"),
                cell(*contender, Figure::StormFrame, "µs"),
                cell(*contender, Figure::JoinP99, "µs"),
            ]
        })
        .collect();
    let head = [
        "server",
        "paced CPU/msg",
        "saturated CPU/msg",
        "p99 paced",
        "idle peer",
        "CPU/connection",
        "CPU/storm frame",
        "join seen p99",
    ];
    let budgets: Vec<(Vec<String>, Value)> =
        BUDGETS.iter().map(|budget| judge(budget, &value)).collect();
    let budget_rows: Vec<Vec<String>> = budgets.iter().map(|(row, _)| row.clone()).collect();
    let work = format!(
        "{} pairs, {} bytes, {} messages/s paced, {} in flight saturated, {} idle peers, storm of {}, {} joins/s, median of {} rounds of {:?}",
        options.pairs,
        options.bytes,
        options.rate,
        options.in_flight,
        options.idle_peers,
        options.storm_peers,
        options.joins_per_s,
        options.rounds,
        options.duration
    );
    let text = format!(
        "{work}\n\n{}\n{}",
        table(&head, &rows),
        table(&["budget", "found", "at most", "held"], &budget_rows)
    );
    let raw: Vec<Value> = figures
        .iter()
        .map(|((contender, figure), all)| {
            json!({"server": contender.name(), "figure": format!("{figure:?}"), "rounds": all, "median": median(all)})
        })
        .collect();
    let judged: Vec<&Value> = budgets.iter().map(|(_, json)| json).collect();
    Comparison {
        text,
        json: json!({"work": work, "figures": raw, "budgets": judged}),
    }
}

fn judge(
    budget: &Budget,
    value: &impl Fn(Contender, Figure) -> Option<f64>,
) -> (Vec<String>, Value) {
    let (contender, figure) = budget.of;
    let found = value(contender, figure).and_then(|found| match budget.to {
        None => Some(found),
        Some(other) => value(other, figure).map(|base| found / base),
    });
    let held = found.map(|found| found <= budget.most);
    let row = vec![
        budget.what.to_owned(),
        found.map_or_else(
            || "not measured".to_owned(),
            |found| shown(found, budget.unit),
        ),
        shown(budget.most, budget.unit),
        match held {
            Some(true) => "yes".to_owned(),
            Some(false) => "no".to_owned(),
            None => "–".to_owned(),
        },
    ];
    let json = json!({"budget": budget.what, "found": found, "at_most": budget.most, "unit": budget.unit, "held": held});
    (row, json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn a_budget_is_held_up_to_its_limit_and_unknown_without_figures() {
        let paced = &BUDGETS[0];
        let with = |hub: f64| {
            move |contender, _| {
                Some(if contender == Contender::Floor {
                    10.0
                } else {
                    hub
                })
            }
        };
        assert_eq!(judge(paced, &with(12.5)).0[3], "yes");
        assert_eq!(judge(paced, &with(12.6)).0[3], "no");
        assert_eq!(judge(paced, &|_, _| None).0[3], "–");
    }
}
