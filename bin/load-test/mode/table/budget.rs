//! For each group of servers two tables: their figures, and the budgets for these figures.
//!
//! Owns the limits of the budgets and the layout of the comparison. Starts nothing and measures nothing.

use serde_json::{Value, json};

use super::{Comparison, Contender, Figure, Figures, Group, Options};
use crate::report::{shown, table};

/// What a budget compares.
struct Budget {
    what: &'static str,
    /// Which figure of which server.
    measured: (Contender, Figure),
    /// The server by whose figure it is divided. None: it is compared with the limit as it is.
    relative_to: Option<Contender>,
    /// The limit. None: the figure is shown alone.
    most: Option<f64>,
    unit: &'static str,
}

const BUDGETS: [Budget; 19] = [
    Budget {
        what: "local signal, paced",
        measured: (Contender::Hub, Figure::Paced),
        relative_to: Some(Contender::Floor),
        most: Some(1.25),
        unit: "× floor",
    },
    Budget {
        what: "local signal, saturated",
        measured: (Contender::Hub, Figure::Saturated),
        relative_to: Some(Contender::Floor),
        most: Some(1.0),
        unit: "× floor",
    },
    Budget {
        what: "across two hubs, paced",
        measured: (Contender::HubPair, Figure::Paced),
        relative_to: Some(Contender::NatsPair),
        most: Some(0.6),
        unit: "× NATS pair",
    },
    Budget {
        what: "across two hubs, saturated",
        measured: (Contender::HubPair, Figure::Saturated),
        relative_to: Some(Contender::NatsPair),
        most: Some(1.0),
        unit: "× NATS pair",
    },
    Budget {
        what: "idle announced peer",
        measured: (Contender::Hub, Figure::IdleBytes),
        relative_to: None,
        most: Some(6144.0),
        unit: "B",
    },
    Budget {
        what: "accept and announce",
        measured: (Contender::Hub, Figure::Accept),
        relative_to: None,
        most: Some(45.0),
        unit: "µs",
    },
    Budget {
        what: "join storm, a frame",
        measured: (Contender::Hub, Figure::StormFrame),
        relative_to: None,
        most: Some(1.5),
        unit: "µs",
    },
    Budget {
        what: "join seen on the neighbour, p99",
        measured: (Contender::HubPair, Figure::JoinP99),
        relative_to: None,
        most: Some(3_000.0),
        unit: "µs",
    },
    Budget {
        what: "PeerJS signal, paced",
        measured: (Contender::PeerJsHub, Figure::Paced),
        relative_to: Some(Contender::PeerServer),
        most: Some(0.6),
        unit: "× PeerServer",
    },
    Budget {
        what: "PeerJS signal, saturated",
        measured: (Contender::PeerJsHub, Figure::Saturated),
        relative_to: Some(Contender::PeerServer),
        most: Some(0.6),
        unit: "× PeerServer",
    },
    Budget {
        what: "PeerJS signal, p99 paced",
        measured: (Contender::PeerJsHub, Figure::PacedP99),
        relative_to: Some(Contender::PeerServer),
        most: None,
        unit: "× PeerServer",
    },
    Budget {
        what: "idle PeerJS client",
        measured: (Contender::PeerJsHub, Figure::IdleBytes),
        relative_to: Some(Contender::PeerServer),
        most: Some(1.0),
        unit: "× PeerServer",
    },
    Budget {
        what: "PeerJS client accepted",
        measured: (Contender::PeerJsHub, Figure::Accept),
        relative_to: Some(Contender::PeerServer),
        most: None,
        unit: "× PeerServer",
    },
    Budget {
        what: "PeerJS clients accepted a second",
        measured: (Contender::PeerJsHub, Figure::ConnectionsPerS),
        relative_to: Some(Contender::PeerServer),
        most: None,
        unit: "× PeerServer",
    },
    Budget {
        what: "published message, paced",
        measured: (Contender::YjsHub, Figure::Paced),
        relative_to: Some(Contender::YWebrtc),
        most: Some(0.4),
        unit: "× y-webrtc's",
    },
    Budget {
        what: "published message, saturated",
        measured: (Contender::YjsHub, Figure::Saturated),
        relative_to: Some(Contender::YWebrtc),
        most: Some(0.4),
        unit: "× y-webrtc's",
    },
    Budget {
        what: "published message, p99 paced",
        measured: (Contender::YjsHub, Figure::PacedP99),
        relative_to: Some(Contender::YWebrtc),
        most: None,
        unit: "× y-webrtc's",
    },
    Budget {
        what: "idle y-webrtc client",
        measured: (Contender::YjsHub, Figure::IdleBytes),
        relative_to: Some(Contender::YWebrtc),
        most: None,
        unit: "× y-webrtc's",
    },
    Budget {
        what: "y-webrtc client accepted",
        measured: (Contender::YjsHub, Figure::Accept),
        relative_to: Some(Contender::YWebrtc),
        most: None,
        unit: "× y-webrtc's",
    },
];

/// The comparison of `contenders` by the medians of their `figures`.
pub fn compare(
    options: &Options,
    contenders: &[Contender],
    figures: &Figures,
    notes: &[String],
) -> Comparison {
    let value = |contender, figure| {
        figures
            .get(&(contender, figure))
            .and_then(|all| median(all))
    };
    let work = work(options);
    let sections = [Group::Native, Group::PeerJs, Group::Yjs]
        .into_iter()
        .filter_map(|group| section(group, contenders, &value));
    let (tables, budgets): (Vec<String>, Vec<Vec<Value>>) = sections.unzip();
    let text = format!("{work}\n\n{}\n{}", tables.join("\n"), notes.join("\n"));
    let raw: Vec<Value> = figures
        .iter()
        .map(|((contender, figure), all)| {
            json!({"server": contender.name(), "figure": format!("{figure:?}"), "rounds": all, "median": median(all)})
        })
        .collect();
    Comparison {
        text,
        json: json!({"work": work, "figures": raw, "budgets": budgets.concat(), "notes": notes}),
    }
}

/// A group's figures and budgets as tables, and its budgets as JSON; `None` if no server of the group is measured.
fn section(
    group: Group,
    contenders: &[Contender],
    value: &impl Fn(Contender, Figure) -> Option<f64>,
) -> Option<(String, Vec<Value>)> {
    let is_in_group = |contender: &Contender| contender.group() == group;
    let compared: Vec<Contender> = contenders.iter().copied().filter(is_in_group).collect();
    if compared.is_empty() {
        return None;
    }
    let budgets = BUDGETS
        .iter()
        .filter(|budget| is_in_group(&budget.measured.0));
    let outcomes: Vec<Outcome> = budgets.map(|budget| judge(budget, value)).collect();
    let rows: Vec<Vec<String>> = outcomes.iter().map(Outcome::row).collect();
    let text = format!(
        "{}\n{}",
        figure_table(group, &compared, value),
        table(&["budget", "found", "at most", "within limit"], &rows)
    );
    Some((text, outcomes.iter().map(Outcome::json).collect()))
}

fn work(options: &Options) -> String {
    let has_joins = matches!(options.only, None | Some(Group::Native));
    let joins = if !has_joins {
        String::new()
    } else {
        let (storm, rate) = (options.storm_peers, options.joins_per_s);
        format!("storm of {storm}, {rate} joins/s, ")
    };
    format!(
        "{} pairs, {} bytes, {} messages/s paced, {} in flight saturated, {} idle peers, {joins}median of {} rounds of {:?}",
        options.pairs,
        options.bytes,
        options.rate,
        options.in_flight,
        options.idle_peers,
        options.rounds,
        options.duration
    )
}

/// A column's head, what it shows, and in which unit.
type Column = (&'static str, Figure, &'static str);

const COLUMNS: [Column; 5] = [
    ("paced CPU/msg", Figure::Paced, "µs"),
    ("saturated CPU/msg", Figure::Saturated, "µs"),
    ("p99 paced", Figure::PacedP99, "µs"),
    ("idle peer", Figure::IdleBytes, "B"),
    ("CPU/connection", Figure::Accept, "µs"),
];

/// The columns that not all groups have.
fn further_columns(group: Group) -> &'static [Column] {
    match group {
        Group::Native => &[
            ("CPU/storm frame", Figure::StormFrame, "µs"),
            ("join seen p99", Figure::JoinP99, "µs"),
        ],
        Group::PeerJs | Group::Yjs => &[("connections", Figure::ConnectionsPerS, "/s")],
    }
}

fn figure_table(
    group: Group,
    contenders: &[Contender],
    value: &impl Fn(Contender, Figure) -> Option<f64>,
) -> String {
    let columns = || COLUMNS.iter().chain(further_columns(group));
    let row = |contender: &Contender| {
        let cells = columns().map(|(_, figure, unit)| {
            value(*contender, *figure).map_or_else(|| "–".to_owned(), |found| shown(found, unit))
        });
        std::iter::once(contender.name().to_owned())
            .chain(cells)
            .collect()
    };
    let rows: Vec<Vec<String>> = contenders.iter().map(row).collect();
    let head: Vec<&str> = std::iter::once("server")
        .chain(columns().map(|column| column.0))
        .collect();
    table(&head, &rows)
}

/// A budget and what was found.
struct Outcome {
    budget: &'static Budget,
    found: Option<f64>,
}

impl Outcome {
    fn is_within_limit(&self) -> Option<bool> {
        let (found, most) = self.found.zip(self.budget.most)?;
        Some(found <= most)
    }

    fn row(&self) -> Vec<String> {
        let with_unit = |value| shown(value, self.budget.unit);
        let found = self.found.map(with_unit);
        let most = self.budget.most.map(with_unit);
        let within = match self.is_within_limit() {
            Some(true) => "yes",
            Some(false) => "no",
            None => "–",
        };
        vec![
            self.budget.what.to_owned(),
            found.unwrap_or_else(|| "not measured".to_owned()),
            most.unwrap_or_else(|| "–".to_owned()),
            within.to_owned(),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "budget": self.budget.what,
            "found": self.found,
            "at_most": self.budget.most,
            "unit": self.budget.unit,
            "within_limit": self.is_within_limit(),
        })
    }
}

fn judge(budget: &'static Budget, value: &impl Fn(Contender, Figure) -> Option<f64>) -> Outcome {
    let (contender, figure) = budget.measured;
    let found = value(contender, figure).and_then(|found| match budget.relative_to {
        None => Some(found),
        Some(other) => value(other, figure).map(|base| found / base),
    });
    Outcome { budget, found }
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
    fn a_figure_may_reach_its_limit_and_without_figures_nothing_is_said() {
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
        assert_eq!(judge(paced, &with(12.5)).is_within_limit(), Some(true));
        assert_eq!(judge(paced, &with(12.6)).is_within_limit(), Some(false));
        assert_eq!(judge(paced, &|_, _| None).is_within_limit(), None);
    }

    #[test]
    fn a_ratio_without_a_limit_is_shown_and_not_judged() {
        let unlimited = BUDGETS.iter().find(|budget| budget.most.is_none()).unwrap();
        let outcome = judge(unlimited, &|_, _| Some(7.0));
        assert_eq!(
            (outcome.found, outcome.is_within_limit()),
            (Some(1.0), None)
        );
        assert_eq!(outcome.row()[1..], ["1 × PeerServer", "–", "–"]);
    }
}
