use std::process::{Command, Stdio};

use super::*;

#[test]
fn accepted_less_closed_is_open_however_a_connection_ends() {
    let metrics = Metrics::new();
    let told = metrics.connection();
    let dropped = metrics.connection();
    let _stays = metrics.connection();
    told.close("goodbye");
    told.close("timeout");
    drop(told);
    drop(dropped);
    assert_eq!(
        (metrics.connections_accepted(), metrics.connections_closed()),
        (3, 2)
    );
    assert_eq!(metrics.connections_open(), 1);
    let text = metrics.exposition();
    assert!(
        text.contains("hubmesh_connections_closed_total{reason=\"goodbye\"} 1"),
        "{text}"
    );
    assert!(
        text.contains("hubmesh_connections_closed_total{reason=\"dropped\"} 1"),
        "{text}"
    );
    assert!(!text.contains("reason=\"timeout\""), "{text}");
}

fn each_label_is_at_its_index<L: Label + PartialEq + std::fmt::Debug>() {
    for (index, label) in L::ALL.iter().enumerate() {
        assert_eq!(label.index(), index, "{label:?}");
    }
}

#[test]
fn every_label_is_at_its_index() {
    each_label_is_at_its_index::<Received>();
    each_label_is_at_its_index::<Sent>();
    each_label_is_at_its_index::<Via>();
    each_label_is_at_its_index::<Refusal>();
    each_label_is_at_its_index::<SignalFailure>();
}

#[test]
fn what_is_counted_per_message_is_shown_from_the_start() {
    let text = Metrics::new().exposition();
    assert!(
        text.contains("hubmesh_messages_received_total{dialect=\"pigeon\",type=\"offer\"} 0"),
        "{text}"
    );
    assert!(
        text.contains("hubmesh_signals_failed_total{reason=\"no-such-peer\"} 0"),
        "{text}"
    );
    assert!(text.contains("hubmesh_build_info{version="), "{text}");
}

fn value(text: &str, name: &str) -> f64 {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let found = lines.find(|(series, _)| *series == name);
    let (_, value) = found.unwrap_or_else(|| panic!("{name} is missing in {text}"));
    value.parse().expect("a number")
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_shows_what_it_takes() {
    let text = Metrics::new().exposition();
    // A young process may have spent less than a tick.
    assert!(value(&text, "process_cpu_seconds_total") >= 0.0);
    for name in [
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
    ] {
        assert!(value(&text, name) > 0.0, "{name} in {text}");
    }
    assert!(value(&text, "process_max_fds") >= value(&text, "process_open_fds"));
    let started = value(&text, "process_start_time_seconds");
    let age = crate::clock::unix_ms() as f64 / 1e3 - started;
    assert!((0.0..60.0).contains(&age), "{age} s old");
}

/// Runs where `promtool` is installed (Debian's package `prometheus`); says so elsewhere.
#[test]
fn promtool_accepts_the_exposition() {
    use std::io::Write;

    let metrics = Metrics::new();
    metrics.connection().close("goodbye");
    metrics.links_down.inc("silent");
    metrics.route_seconds.observe(0.000_01);
    let started = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = started else {
        eprintln!("skipped: promtool is not on PATH (package prometheus)");
        return;
    };
    let mut stdin = promtool.stdin.take().expect("a pipe to promtool");
    stdin
        .write_all(metrics.exposition().as_bytes())
        .expect("promtool reads");
    drop(stdin);
    let output = promtool.wait_with_output().expect("promtool ends");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "promtool says: {output:?}"
    );
}
