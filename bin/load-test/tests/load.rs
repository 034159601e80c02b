//! `load-test`: what it counts adds up, and it keeps to this machine.

#[path = "../../../tests/common/hub_process.rs"]
mod hub_process;
#[path = "../../../tests/common/tool.rs"]
mod tool;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use hub_process::{HubProcess, LIMIT, nobody};
use tool::{code, command, json, run, stderr};

const LOAD: &str = env!("CARGO_BIN_EXE_load-test");

/// Load on the hubs at `aim`, small and short.
async fn load(mode: &[&str], aim: &[&str]) -> Value {
    let arguments = [mode, aim, &["--json"]].concat();
    let output = run(LOAD, &arguments).await;
    assert_eq!(code(&output), 0, "{output:?}");
    json(&output)["figures"].clone()
}

fn unlimited() -> hub_process::HubBuilder {
    HubProcess::builder()
        .env("RATE_LIMIT_PER_SEC", "0")
        .env("MAX_CONNECTIONS", "5000")
}

/// Two hubs, the second of which is told of the first.
async fn linked() -> [HubProcess; 2] {
    let first = unlimited().start().await;
    let second = unlimited().env("BOOTSTRAP_HUBS", first.ws_url());
    let second = second.start().await;
    [first, second]
}

const PEERJS: [&str; 2] = ["--dialect", "peerjs"];
const SHORT: [&str; 4] = ["--duration", "500ms", "--warmup", "100ms"];

/// A table's work, small.
const SMALL: [&str; 8] = [
    "--rounds",
    "1",
    "--pairs",
    "5",
    "--paced",
    "200",
    "--idle-peers",
    "20",
];

/// The servers that have `figure` in a table.
fn servers<'a>(table: &'a Value, figure: &'a str) -> impl Iterator<Item = &'a str> {
    let figures = table["figures"].as_array().unwrap();
    let wanted = figures
        .iter()
        .filter(move |found| found["figure"] == figure);
    wanted.map(|found| found["server"].as_str().unwrap())
}

fn notes(table: &Value) -> String {
    table["notes"].to_string()
}

#[tokio::test]
async fn relayed_messages_reconcile_paced_and_saturated() {
    let hub = unlimited().start().await;
    let (url, pid) = (hub.ws_url(), hub.pid().to_string());
    let aim = ["--hub", &url, "--pid", &pid, "--pairs", "10"];
    for how in [&["-paced", "500"][..], &["-saturated", "-in-flight", "4"]] {
        let mode = [&["relay"], how, &SHORT].concat();
        let figures = load(&mode, &aim).await;
        assert!(figures["sent"].as_u64().unwrap() > 100, "{figures}");
        assert_eq!(figures["sent"], figures["received"]);
        assert_eq!(
            (&figures["lost"], &figures["out_of_order"]),
            (&0.into(), &0.into())
        );
        assert!(figures["resident_mib"].as_f64().unwrap() > 0.0);
    }
}

#[tokio::test]
async fn load_crosses_a_pair_of_hubs() {
    let [first, second] = linked().await;
    let (url, neighbour) = (first.ws_url(), second.ws_url());
    let aim = ["--hub", &url, "--hub-b", &neighbour];
    let relay = [&["relay", "--pairs", "10", "--paced", "500"], &SHORT[..]].concat();
    let figures = load(&relay, &aim).await;
    assert_eq!(figures["lost"], 0);
    let joins = [
        &["join-latency", "--rate", "50", "--observers", "5"],
        &SHORT[..],
    ]
    .concat();
    let figures = load(&joins, &aim).await;
    assert!(figures["seen"].as_u64().unwrap() > 10, "{figures}");
    assert_eq!(figures["lost"], 0);
}

#[tokio::test]
async fn idle_peers_accepts_and_storms_are_counted() {
    let hub = unlimited().start().await;
    let (url, pid) = (hub.ws_url(), hub.pid().to_string());
    let aim = ["--hub", &url, "--pid", &pid];
    let idle = load(&["idle", "-peers", "100", "-hold", "100ms"], &aim).await;
    assert_eq!(idle["peers"], 100);
    assert!(idle["bytes_per_peer"].is_number());
    assert_eq!(
        load(&["accept", "-n", "100"], &aim).await["connections"],
        100
    );
    let storm = load(&["join-storm", "-n", "30"], &aim).await;
    let spread = ["join-storm", "-n", "60", "--spread", "200ms"];
    for (storm, peers) in [(storm, 30), (load(&spread, &aim).await, 60)] {
        assert_eq!(
            (&storm["frames"], &storm["frames_missing"]),
            (&(peers * (peers - 1)).into(), &0.into())
        );
    }
}

#[tokio::test]
async fn the_floor_relays_and_the_table_measures_it() {
    let mut floor = command(LOAD, &["floor", "--listen", "127.0.0.1:0"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(floor.stdout.take().unwrap()).lines();
    let line = timeout(LIMIT, lines.next_line())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let address = line.strip_prefix("floor relay on ").unwrap();
    let relay = [
        &[
            "relay",
            "--pairs",
            "10",
            "--saturated",
            "--dialect",
            "floor",
        ],
        &SHORT[..],
    ]
    .concat();
    let figures = load(&relay, &["--hub", address]).await;
    assert!(figures["sent"].as_u64().unwrap() > 100);
    assert_eq!(figures["lost"], 0);

    let mut table = command(LOAD, &[&["table", "--json"], &SMALL[..], &SHORT].concat());
    // Without NATS and Node, which the machine may or may not have.
    let output = timeout(LIMIT, table.env("PATH", "").output())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    let measured = json(&output);
    assert!(servers(&measured, "Paced").eq(["floor"]));
    assert!(notes(&measured).contains("PeerServer is not measured: "));
}

#[tokio::test]
async fn load_stays_on_this_machine() {
    // An address of the block that RFC 5737 keeps for documentation: no host has it.
    let output = run(LOAD, &["relay", "--hub", "ws://192.0.2.1:9"]).await;
    assert_eq!(code(&output), 64);
    assert!(stderr(&output).contains("--allow-remote"));
    let floor = run(LOAD, &["floor", "--listen", "0.0.0.0:0"]).await;
    assert_eq!(code(&floor), 64);
}

#[tokio::test]
async fn load_says_whom_it_cannot_reach_or_watch() {
    let (_kept, nobody) = nobody();
    let nobody = nobody.to_string();
    assert_eq!(code(&run(LOAD, &["idle", "--hub", &nobody]).await), 69);
    let watched = run(LOAD, &["idle", "--hub", &nobody, "--pid", "4294967295"]).await;
    assert_eq!(code(&watched), 1);
    assert!(stderr(&watched).contains("4294967295"));
    let hub = HubProcess::builder()
        .env("AUTH_TOKEN", "right")
        .start()
        .await;
    assert_eq!(
        code(&run(LOAD, &["idle", "--hub", &hub.ws_url()]).await),
        77
    );
}

#[tokio::test]
async fn a_hub_s_reason_for_turning_load_away_is_shown() {
    let hub = HubProcess::builder().env("MAX_CONNECTIONS", "1");
    let hub = hub.start().await;
    let (url, pid) = (hub.ws_url(), hub.pid());
    let pids = format!("{pid},{pid}");
    let full = run(LOAD, &["idle", "-n", "2", "--hub", &url, "--pid", &pids]).await;
    assert_eq!(code(&full), 77, "{full:?}");
    let told = "503 Service Unavailable: this hub has as many peers as it accepts";
    assert!(stderr(&full).contains(told), "{full:?}");
}

#[tokio::test]
async fn peerjs_clients_relay_idle_and_come_as_native_ones_do() {
    let hub = unlimited().start().await;
    let (root, below) = (hub.ws_url(), format!("{}/peerjs", hub.ws_url()));
    let relay = ["relay", "--pairs", "10", "-saturated", "-in-flight", "4"];
    for url in [&root, &below] {
        let figures = load(&[&relay, &SHORT[..], &PEERJS].concat(), &["--hub", url]).await;
        assert!(figures["sent"].as_u64().unwrap() > 100, "{figures}");
        assert_eq!(figures["sent"], figures["received"]);
        assert_eq!(
            (&figures["out_of_order"], &figures["complaints"]),
            (&0.into(), &0.into())
        );
    }
    let aim = [&["--hub", &root], &PEERJS[..]].concat();
    let idle = load(&["idle", "-peers", "100", "-hold", "100ms"], &aim).await;
    assert_eq!(idle["peers"], 100);
    let accept = load(&["accept", "-n", "100"], &aim).await;
    assert_eq!(accept["connections"], 100);
}

#[tokio::test]
async fn clients_of_rooms_and_of_topics_relay_and_idle_on_one_hub_and_across_two() {
    let [first, second] = linked().await;
    let (url, neighbour) = (first.ws_url(), second.ws_url());
    let relay = ["relay", "--pairs", "10", "--paced", "200"];
    for dialect in ["rooms", "yjs"] {
        for aim in [
            &["--hub", &url][..],
            &["--hub", &url, "--hub-b", &neighbour],
        ] {
            let aim = [aim, &["--dialect", dialect]].concat();
            let figures = load(&[&relay, &SHORT[..]].concat(), &aim).await;
            assert!(figures["sent"].as_u64().unwrap() > 50, "{figures}");
            assert_eq!(figures["sent"], figures["received"], "{dialect}");
            assert_eq!(
                (&figures["out_of_order"], &figures["complaints"]),
                (&0.into(), &0.into()),
                "{dialect}"
            );
        }
        let aim = ["--hub", &url, "--dialect", dialect];
        let idle = ["idle", "-n", "40", "--per-network", "4", "--hold", "100ms"];
        assert_eq!(load(&idle, &aim).await["peers"], 40);
    }
    let storm = ["join-storm", "-n", "10", "--dialect", "rooms"];
    let storm = load(&storm, &["--hub", &url]).await;
    assert_eq!(
        (&storm["frames"], &storm["frames_missing"]),
        (&90.into(), &0.into())
    );
}

#[tokio::test]
async fn joins_that_nobody_is_told_of_are_not_measured() {
    let hub = HubProcess::start().await;
    let url = hub.ws_url();
    for mode in ["join-storm", "join-latency"] {
        let output = run(LOAD, &[&[mode, "--hub", &url], &PEERJS[..]].concat()).await;
        assert_eq!(code(&output), 1, "{output:?}");
        assert!(stderr(&output).contains("tells nobody of joins"));
    }
}

#[tokio::test]
async fn a_mesh_of_live_hubs_agrees_after_some_were_killed_and_after_they_are_back() {
    let hub = hub_process::binary();
    let binary = ["--hub-binary", hub.to_str().expect("a path in UTF-8")];
    let size = [
        "--hubs", "5", "--peers", "12", "--kill", "2", "--limit", "30s",
    ];
    let arguments = [&["mesh", "--json"], &binary[..], &size].concat();
    // Seven hubs start one after the other, and peers of killed ones are shown for the hold.
    let output = timeout(3 * LIMIT, command(LOAD, &arguments).output());
    let output = output.await.unwrap().unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    let figures = json(&output)["figures"].clone();
    // Peers 1, 3, 6, 8 and 11 were on hubs 1 and 3.
    assert_eq!(figures["peers_gone"], 5, "{figures}");
    assert_eq!(figures["peers_lost"], 0, "{figures}");
    for span in ["formed_s", "spread_s", "agreed_s", "back_s"] {
        assert!(figures[span].as_f64().unwrap() < 30.0, "{figures}");
    }
    assert!(figures["resident_mib"].as_f64().unwrap() > 1.0, "{figures}");
    let most = ["--hubs", "5", "--kill", "3"];
    let output = run(LOAD, &[&["mesh"], &binary[..], &most].concat()).await;
    assert_eq!(code(&output), 64, "{output:?}");
}

/// The table of the group of a hub and a server on Node, which need not be installed.
async fn group_is_measured(only: &str, hub_name: &str, rival: &str, budget: &str) {
    let hub = hub_process::binary();
    let what = [
        "table",
        "--json",
        "--only",
        only,
        "--hub-binary",
        hub.to_str().expect("a path in UTF-8"),
    ];
    let mut table = command(LOAD, &[&what, &SMALL[..], &SHORT].concat());
    // Eight servers start in turns, four of them Node's.
    let output = timeout(3 * LIMIT, table.output()).await.unwrap().unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    let table = json(&output);
    let is_installed = !notes(&table).contains(&format!("{rival} is not measured: "));
    let expected = if is_installed {
        vec![hub_name, rival]
    } else {
        vec![hub_name]
    };
    for figure in [
        "Paced",
        "Saturated",
        "PacedP99",
        "Accept",
        "IdleBytes",
        "ConnectionsPerS",
    ] {
        let measured: Vec<&str> = servers(&table, figure).collect();
        assert_eq!(measured, expected, "{figure}: {table}");
    }
    let budgets = table["budgets"].as_array().unwrap();
    let paced = budgets.iter().find(|found| found["budget"] == budget);
    assert_eq!(paced.unwrap()["found"].is_number(), is_installed);
}

#[tokio::test]
async fn a_hub_is_measured_beside_peer_server_where_that_is_installed() {
    group_is_measured(
        "peerjs",
        "hubmesh, PeerJS",
        "PeerServer",
        "PeerJS signal, paced",
    )
    .await;
}

#[tokio::test]
async fn a_hub_is_measured_beside_y_webrtc_s_server_where_that_is_installed() {
    let (hub, rival) = ("hubmesh, y-webrtc", "y-webrtc's server");
    group_is_measured("yjs", hub, rival, "published message, paced").await;
}

#[tokio::test]
async fn wrong_usage_is_64_and_help_and_version_are_0() {
    for wrong in [
        &[][..],
        &["relay", "--pairs", "0"],
        &["relay", "--hub", "wss://127.0.0.1:1"],
    ] {
        tool::refuses(LOAD, wrong).await;
    }
    tool::explains_itself(LOAD).await;
}
