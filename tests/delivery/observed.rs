//! `packaging/grafana.json` and `packaging/alerts.yml`: they must query metrics that hubs show, in queries that
//! Prometheus accepts.
//!
//! The metrics come from running hubs in which events have been counted. `promtool` decides whether Prometheus accepts
//! a query, where it is installed (scripts/test installs it).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use http::Method;
use serde_json::Value;
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Message;

use futures::SinkExt;

use crate::hub_process::{HubProcess, eventually, nobody};
use crate::workshop::{installed, read, repository};

// ---- The queries ----------------------------------------------------------------------------------------

/// Collects all queries of a dashboard, at any depth.
fn queries(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                match inner {
                    Value::String(query) if name == "expr" => found.push(query.clone()),
                    _ => queries(inner, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|inner| queries(inner, found)),
        _ => {}
    }
}

fn dashboard() -> Value {
    serde_json::from_str(&read("packaging/grafana.json")).expect("JSON")
}

fn of_dashboard() -> Vec<String> {
    let mut found = Vec::new();
    queries(&dashboard(), &mut found);
    found
}

/// The names of metrics in a text: the words that begin like a hub's metrics.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
    let ours = words.filter(|word| word.starts_with("hubmesh_") || word.starts_with("process_"));
    ours.map(str::to_owned).collect()
}

// ---- The metrics of hubs --------------------------------------------------------------------------------

async fn exposition(hub: &HubProcess) -> String {
    let accept = [("accept", "text/plain")];
    hub.http(Method::GET, "/metrics", &accept).await.body
}

/// The names of an exposition's series, without labels.
fn series(exposition: &str) -> BTreeSet<String> {
    let lines = exposition.lines().filter(|line| !line.starts_with('#'));
    let names = lines.filter_map(|line| line.split(['{', ' ']).next());
    names.map(str::to_owned).collect()
}

/// Connects a peer that sends an invalid message and leaves.
async fn a_peer_errs_at(hub: &HubProcess) {
    let url = format!("{}/ws?peerId={}", hub.ws_url(), "ab".repeat(20));
    let (mut socket, _) = tokio_tungstenite::connect_async(url)
        .await
        .expect("the hub lets it in");
    socket.send(Message::text("nonsense")).await.expect("sent");
    socket.close(None).await.expect("closed");
}

/// The names of all series that these hubs show.
async fn series_of(hubs: &[HubProcess]) -> BTreeSet<String> {
    let mut shown = BTreeSet::new();
    for hub in hubs {
        shown.extend(series(&exposition(hub).await));
    }
    shown
}

/// Hubs with the events whose counters appear only once they have happened. A peer came and left, a dial failed, and
/// two hubs with one id drove each other out.
async fn hubs_with_a_past() -> [HubProcess; 3] {
    let (_kept, nowhere) = nobody();
    let first = HubProcess::builder()
        .env("BOOTSTRAP_HUBS", format!("ws://{nowhere}"))
        .env("STUN_PORT", "0")
        .env("TURN_PORT", "0");
    let first = first.start().await;
    a_peer_errs_at(&first).await;
    let twin = || first.neighbour().env("HUB_ID", "cd".repeat(20));
    let one = twin().start().await;
    first.reaches_hubs(1).await;
    let other = twin().start().await;
    let hubs = [first, one, other];
    for name in [
        "hubmesh_alarms_total",
        "hubmesh_complaints_total",
        "hubmesh_connections_closed_total",
        "hubmesh_mesh_links_down_total",
        "hubmesh_mesh_dials_failed_total",
        "hubmesh_mesh_sent_bytes_total",
    ] {
        let shows = async || series_of(&hubs).await.contains(name);
        eventually(name, shows).await;
    }
    hubs
}

#[tokio::test]
async fn every_metric_of_the_dashboard_and_the_alerts_is_one_that_hubs_show() {
    let shown = series_of(&hubs_with_a_past().await).await;
    let asked = metrics_in(&of_dashboard().join("\n"));
    let alerts = metrics_in(&read("packaging/alerts.yml"));
    assert!(
        asked.len() > 20 && alerts.len() > 10,
        "{asked:?} {alerts:?}"
    );
    let unknown: Vec<&String> = asked
        .union(&alerts)
        .filter(|name| !shown.contains(*name))
        .collect();
    assert!(unknown.is_empty(), "no hub shows {unknown:?}");
}

// ---- The checks of promtool -----------------------------------------------------------------------------

fn promtool(arguments: &[&str], file: &Path) {
    let Some(promtool) = installed("promtool") else {
        eprintln!("skipped: promtool is not on PATH (package prometheus)");
        return;
    };
    let output = Command::new(promtool).args(arguments).arg(file).output();
    let output = output.expect("promtool runs");
    assert!(output.status.success(), "promtool says: {output:?}");
}

#[test]
fn promtool_accepts_every_alert() {
    promtool(
        &["check", "rules", "--lint-fatal"],
        &repository().join("packaging/alerts.yml"),
    );
}

#[test]
fn each_alert_fires_at_what_it_is_for_and_at_nothing_else() {
    promtool(
        &["test", "rules"],
        &repository().join("tests/delivery/alerts.yml"),
    );
}

#[test]
fn every_alert_has_a_story() {
    let (alerts, stories) = (
        read("packaging/alerts.yml"),
        read("tests/delivery/alerts.yml"),
    );
    let names = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    let names: Vec<&str> = names.collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(stories.contains(&format!("alertname=\"{name}\"")), "{name}");
    }
}

/// The queries are written as recording rules, because promtool reads those.
#[test]
fn promtool_accepts_every_query_of_the_dashboard() {
    let mut rules = String::from("groups:\n  - name: dashboard\n    rules:\n");
    for (number, query) in of_dashboard().iter().enumerate() {
        let query = query.replace("$__rate_interval", "5m");
        let query = serde_json::to_string(&query).expect("text");
        rules += &format!("      - record: query:{number}\n        expr: {query}\n");
    }
    let directory = TempDir::new().expect("a temporary directory");
    let file = directory.path().join("rules.yml");
    fs::write(&file, rules).expect("the rules are written");
    promtool(&["check", "rules"], &file);
}

// ---- The dashboard itself -------------------------------------------------------------------------------

#[test]
fn every_panel_says_what_it_shows_and_none_lies_upon_another() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut taken = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().expect("a title");
        let place = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        assert!(place("x") + place("w") <= 24, "{title} is beyond the edge");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{title} lies upon another");
            }
        }
        if panel["type"] != "row" {
            let text = panel["description"].as_str().unwrap_or_default();
            assert!(text.ends_with('.'), "{title} says nothing");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
    assert!(panels.len() > 20);
}
