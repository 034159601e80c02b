//! Every kind of NAT with every other, in the lab: the type that is found for each, and how two peers behind them
//! connect.

use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

use hubmesh_client::PeerId;
use serde_json::{Value, json};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::time::timeout;

use crate::hub_process::LIMIT;
use crate::installed::program;
use crate::nat_lab::{HUB, KINDS, Lab, OTHER_HUB, bare_lab, lab, output};

/// Longer than the NATs of the keep-alive test remember a connection.
const SILENCE: Duration = Duration::from_secs(3);

/// The result that `peer-client` must find for each kind of NAT.
fn built(kind: &str) -> Value {
    match kind {
        "none" => json!({"found": "determined", "type": "open"}),
        "udp-blocked" => json!({"found": "udp-blocked"}),
        kind => json!({"found": "determined", "type": kind}),
    }
}

fn part(whole: &Value, fields: &[&str]) -> Value {
    let named = fields.iter().filter_map(|field| {
        let value = whole.get(*field)?;
        Some(((*field).to_owned(), value.clone()))
    });
    Value::Object(named.collect())
}

#[tokio::test]
async fn the_type_that_was_built_is_the_type_that_is_found() {
    let Some(lab) = lab("matrix::the_type_that_was_built_is_the_type_that_is_found").await else {
        return;
    };
    for kind in KINDS {
        lab.nat("a", kind).await;
        let found = lab.detected("a", &["--hub", HUB]).await["nat"].clone();
        println!("{kind:<16} {found}");
        assert_eq!(part(&found, &["found", "type"]), built(kind), "{found}");
        let kept = found["public"].as_str().zip(found["local"].as_str());
        if kind == "port-restricted" {
            let port = |address: &str| address.rsplit(':').next().map(str::to_owned);
            let (public, local) = kept.expect("both are known");
            assert_eq!(
                port(public),
                port(local),
                "Linux keeps the port, which is no sign of an open network"
            );
        }
    }
}

#[tokio::test]
async fn with_one_server_what_cannot_be_told_is_called_undetermined_with_the_true_type_in_it() {
    let Some(mut lab) = bare_lab("matrix::with_one_server_what_cannot_be_told_is_called_undetermined_with_the_true_type_in_it").await else {
        return;
    };
    lab.hub("hub", &[("HOST", "198.51.100.1"), ("STUN_PORT", "3478")])
        .await;
    for kind in ["full-cone", "restricted", "port-restricted"] {
        lab.nat("a", kind).await;
        for servers in [
            &["--stun", "stun:198.51.100.1:3478"][..],
            &[
                "--stun",
                "stun:198.51.100.1:3478",
                "--stun",
                "stun:198.51.100.1:3479",
            ],
        ] {
            let found = lab.detected("a", servers).await["nat"].clone();
            assert_eq!(
                found["found"], "undetermined",
                "{kind} {servers:?}: {found}"
            );
            let possible = found["possible"].as_array().expect("a list");
            assert!(possible.contains(&json!(kind)), "{kind}: {found}");
            let reason = found["reason"].as_str().expect("a reason");
            assert!(reason.contains("only one STUN server"), "{reason}");
        }
    }
    lab.nat("a", "symmetric").await;
    let two = [
        "--stun",
        "stun:198.51.100.1:3478",
        "--stun",
        "stun:198.51.100.1:3479",
    ];
    let found = lab.detected("a", &two).await["nat"].clone();
    assert_eq!(
        found["type"], "symmetric",
        "one host with two ports shows it: {found}"
    );
}

#[tokio::test]
async fn a_server_with_two_addresses_tells_every_type_alone() {
    let Some(turnserver) = program("turnserver") else {
        return;
    };
    let test = "matrix::a_server_with_two_addresses_tells_every_type_alone";
    let Some(mut lab) = bare_lab(test).await else {
        return;
    };
    let files = tempfile::tempdir().expect("a directory");
    let mut coturn = lab.command("hub", turnserver);
    coturn
        .current_dir(&files)
        .args([
            "-n",
            "-S",
            "-L",
            "198.51.100.2",
            "-L",
            "198.51.100.3",
            "--no-cli",
            "--verbose",
        ])
        .args([
            "--log-file",
            "stdout",
            "--pidfile",
            "pid",
            "--no-tls",
            "--no-dtls",
        ])
        .stderr(Stdio::null());
    lab.serve(coturn, "Total General servers").await;
    for kind in KINDS {
        lab.nat("a", kind).await;
        let found = lab
            .detected("a", &["--stun", "stun:198.51.100.2:3478"])
            .await["nat"]
            .clone();
        assert_eq!(part(&found, &["found", "type"]), built(kind), "{found}");
    }
}

/// How two peers connected.
struct Met {
    method: String,
    way: String,
    milliseconds: f64,
}

/// The peer at `a` pings the peer at `other`, which is registered at the other hub.
async fn meet(lab: &Lab, other: &str) -> Result<Met, String> {
    let id = PeerId::random().to_string();
    let answering = ["connect", "--answer", "--id", &id, "--hub", OTHER_HUB];
    let mut answering = lab.peer(other, &answering);
    answering.stdout(Stdio::null()).stderr(Stdio::null());
    let mut answering = answering.spawn().expect("the answering end starts");
    let asking = ["connect", &id, "--hub", HUB, "--pings", "2", "--json"];
    let asked = output(lab.peer("a", &asking)).await;
    answering.kill().await.expect("it was there to be ended");
    if asked.status.code() != Some(0) {
        let steps = String::from_utf8_lossy(&asked.stderr).into_owned();
        return Err(format!("{}\n{steps}", asked.status));
    }
    let text = String::from_utf8_lossy(&asked.stdout);
    let last = text.lines().last().expect("a summary");
    let summary: Value = serde_json::from_str(last).expect("JSON");
    let field = |name: &str| summary[name].as_str().expect("text").to_owned();
    Ok(Met {
        method: field("method"),
        way: field("way"),
        milliseconds: summary["connectMilliseconds"].as_f64().expect("a number"),
    })
}

/// The ways by which peers behind NATs of these two kinds may connect.
fn ways(a: &str, b: &str) -> &'static [&'static str] {
    match (a, b) {
        ("symmetric", "symmetric" | "udp-blocked") | ("udp-blocked", "symmetric") => &["relay"],
        ("udp-blocked", _) | (_, "udp-blocked") => &["tcp-punch"],
        // In one of 60 attempts, none of the 1024 probes finds one of the 256 sockets.
        ("symmetric", "port-restricted") | ("port-restricted", "symmetric") => {
            &["birthday", "relay"]
        }
        ("none", "none") => &["direct"],
        _ => &["udp-punch"],
    }
}

#[tokio::test]
async fn every_pair_of_nats_connects() {
    let Some(lab) = lab("matrix::every_pair_of_nats_connects").await else {
        return;
    };
    let mut table = String::from("| asking \\ asked |");
    let head: String = KINDS.iter().map(|kind| format!(" {kind} |")).collect();
    let line = "---|".repeat(KINDS.len() + 1);
    write!(table, "{head}\n|{line}").expect("written");
    for a in KINDS {
        lab.nat("a", a).await;
        write!(table, "\n| {a} |").expect("written");
        for b in KINDS {
            lab.nat("b", b).await;
            let met = meet(&lab, "b")
                .await
                .unwrap_or_else(|why| panic!("{a} to {b}: {why}"));
            assert!(
                ways(a, b).contains(&met.method.as_str()),
                "{a} to {b} by {}",
                met.way
            );
            if (a, met.method.as_str()) == ("udp-blocked", "relay") {
                assert!(met.way.ends_with("over TCP"), "{a} to {b} by {}", met.way);
            }
            write!(table, " {}, {:.0} ms |", met.way, met.milliseconds).expect("written");
        }
    }
    println!("{table}");
}

#[tokio::test]
async fn two_symmetric_nats_without_a_turn_server_exit_with_68_and_say_why() {
    let Some(mut lab) =
        bare_lab("matrix::two_symmetric_nats_without_a_turn_server_exit_with_68_and_say_why").await
    else {
        return;
    };
    lab.hub("hub", &[("HOST", "198.51.100.1"), ("STUN_PORT", "3478")])
        .await;
    lab.nat("a", "symmetric").await;
    lab.nat("b", "symmetric").await;
    let id = PeerId::random().to_string();
    let answering = ["connect", "--answer", "--id", &id, "--hub", HUB];
    let mut answering = lab.peer("b", &answering);
    answering.stdout(Stdio::null()).stderr(Stdio::null());
    let mut answering = answering.spawn().expect("the answering end starts");
    let asked = output(lab.peer("a", &["connect", &id, "--hub", HUB, "--pings", "1"])).await;
    answering.kill().await.expect("it was there to be ended");
    let steps = String::from_utf8_lossy(&asked.stderr);
    assert_eq!(asked.status.code(), Some(68), "{steps}");
    assert!(steps.contains("its NAT is symmetric"), "{steps}");
    assert!(steps.contains("no TURN server is known"), "{steps}");
}

/// Whether a line still arrives after a connection was idle for longer than its NATs remember it.
async fn arrives_after_silence(lab: &Lab, keep_alive: &str) -> bool {
    let id = PeerId::random().to_string();
    let more = ["--hub", HUB, "--keep-alive", keep_alive];
    let mut answering = lab.peer(
        "b",
        &[&["connect", "--answer", "--id", &id], &more[..]].concat(),
    );
    let mut bob = answering.stderr(Stdio::null()).spawn().expect("it starts");
    let mut asking = lab.peer("a", &[&["connect", &id], &more[..]].concat());
    asking.stdin(Stdio::piped()).stderr(Stdio::null());
    let mut ada = asking.spawn().expect("it starts");
    let mut input = ada.stdin.take().expect("piped");
    let mut heard = BufReader::new(bob.stdout.take().expect("piped")).lines();
    input.write_all(b"one\n").await.expect("written");
    let one = timeout(LIMIT, heard.next_line()).await.expect("in time");
    assert_eq!(one.expect("readable").as_deref(), Some("one"));
    // The NATs have a clock of their own, and no event shows that they have forgotten the connection.
    tokio::time::sleep(SILENCE).await;
    input.write_all(b"two\n").await.expect("written");
    let two = timeout(SILENCE, heard.next_line()).await;
    for child in [&mut ada, &mut bob] {
        child.kill().await.expect("it was there to be ended");
    }
    two.is_ok_and(|line| line.expect("readable").as_deref() == Some("two"))
}

#[tokio::test]
async fn a_connection_that_is_kept_alive_outlives_the_memory_of_nats() {
    let Some(lab) =
        lab("matrix::a_connection_that_is_kept_alive_outlives_the_memory_of_nats").await
    else {
        return;
    };
    lab.nat("a", "port-restricted").await;
    lab.nat("b", "port-restricted").await;
    lab.forget_after(1).await;
    let (kept, not) = tokio::join!(
        arrives_after_silence(&lab, "300ms"),
        arrives_after_silence(&lab, "1m"),
    );
    assert!(kept, "its NATs forgot it");
    assert!(
        !not,
        "these NATs forget nothing, so that the test shows nothing"
    );
}

#[tokio::test]
async fn two_peers_behind_one_nat_meet_inside_their_network() {
    let Some(lab) = lab("matrix::two_peers_behind_one_nat_meet_inside_their_network").await else {
        return;
    };
    lab.nat("a", "symmetric").await;
    let met = meet(&lab, "a2").await.unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(met.method, "direct");
}
