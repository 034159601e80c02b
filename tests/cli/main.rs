//! The command line tools, run as a person or a script runs them, against real hubs.

mod example;
#[path = "../common/hub_process.rs"]
mod hub_process;
#[path = "../common/terminal.rs"]
mod terminal;
#[path = "../common/tool.rs"]
mod tool;

use std::collections::HashSet;
use std::process::Stdio;
use std::time::Duration;

use hub_process::{HubProcess, LIMIT, eventually, nobody};
use hubmesh_client::PeerId;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use terminal::Terminal;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;
use tool::{code, command, json, run, stderr, stdout};

const GENERATE: &str = env!("CARGO_BIN_EXE_generate-peer-ids");
const PEER: &str = env!("CARGO_BIN_EXE_peer-client");

/// A `peer-client --json` that runs beside the test.
struct Listener {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    id: String,
}

impl Listener {
    /// Starts a listener and waits until it has announced itself.
    async fn start(hub: &HubProcess, more: &[&str]) -> Self {
        let url = hub.ws_url();
        let id = PeerId::random().to_string();
        let fixed = ["--json", "--hub", &url, "--id", &id, "--listen", "60s"];
        let mut child = command(PEER, &[&fixed[..], more].concat()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut listener = Self { child, lines, id };
        listener.until("announced").await;
        listener
    }

    /// The next object whose `event` is `event`.
    async fn until(&mut self, event: &str) -> Value {
        let looking = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                let object: Value = serde_json::from_str(&line).unwrap();
                if object["event"] == event {
                    return object;
                }
            }
            panic!("the peer ended before it printed `{event}`")
        };
        timeout(LIMIT, looking)
            .await
            .unwrap_or_else(|_| panic!("no `{event}` in time"))
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok());
        kill_process(pid.and_then(Pid::from_raw).unwrap(), signal).unwrap();
    }

    async fn exit_code(&mut self) -> Option<i32> {
        let status = timeout(LIMIT, self.child.wait()).await;
        status.expect("the peer ends in time").unwrap().code()
    }
}

#[tokio::test]
async fn each_generated_id_is_well_formed_and_its_own() {
    let output = run(GENERATE, &["-n", "5"]).await;
    assert_eq!(code(&output), 0);
    let ids: HashSet<&str> = stdout(&output).lines().collect();
    assert_eq!(ids.len(), 5);
    assert!(ids.iter().all(|id| id.parse::<PeerId>().is_ok()), "{ids:?}");
}

#[tokio::test]
async fn urls_are_given_for_every_hub_with_either_kind_of_dash() {
    for flags in [["-json", "-hub"], ["--json", "--hub"]] {
        let hubs = [flags[1], "ws://a:1,wss://b", flags[1], "c:2"];
        let generated = json(&run(GENERATE, &[&flags[..1], &hubs].concat()).await);
        let id = generated[0]["peerId"].as_str().unwrap();
        let urls =
            ["ws://a:1/ws", "wss://b/ws", "ws://c:2/ws"].map(|url| format!("{url}?peerId={id}"));
        assert_eq!(generated[0]["urls"], serde_json::json!(urls));
    }
}

#[tokio::test]
async fn a_generated_url_connects() {
    let hub = HubProcess::start().await;
    let generated = json(&run(GENERATE, &["--json", "--hub", &hub.ws_url()]).await);
    let id = generated[0]["peerId"].as_str().unwrap();
    let url = generated[0]["urls"][0].as_str().unwrap();
    let (mut socket, _) = timeout(LIMIT, tokio_tungstenite::connect_async(url))
        .await
        .unwrap()
        .unwrap();
    let greeting = timeout(LIMIT, futures::StreamExt::next(&mut socket))
        .await
        .unwrap();
    let greeting: Value =
        serde_json::from_str(greeting.unwrap().unwrap().to_text().unwrap()).unwrap();
    assert_eq!(
        (&greeting["type"], &greeting["data"]["peerId"]),
        (&"connected".into(), &id.into())
    );
}

#[tokio::test]
async fn wrong_usage_is_64_and_help_and_version_are_0() {
    for wrong in [
        &[GENERATE, "-n", "0"][..],
        &[GENERATE, "-n", "many"],
        &[GENERATE, "-n", "100001"],
        &[GENERATE, "--hub", "ftp://x"],
        &[PEER, "--listen", "soon"],
        &[PEER, "--id", "xyz"],
        &[PEER, "--hub", "ws://h?q=1"],
        &[PEER, "--nonsense"],
    ] {
        tool::refuses(wrong[0], &wrong[1..]).await;
    }
    for program in [GENERATE, PEER] {
        tool::explains_itself(program).await;
    }
}

#[tokio::test]
async fn two_peers_discover_each_other_and_an_offer_is_answered() {
    let hub = HubProcess::start().await;
    let mut bob = Listener::start(&hub, &["-name", "bob", "-answer"]).await;
    let output = run(
        PEER,
        &["-name", "ada", "-hub", &hub.ws_url(), "-send", &bob.id],
    )
    .await;
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(stdout(&output).contains(&format!("answer from {}", bob.id)));
    let discovered = bob.until("discovered").await;
    assert_eq!(discovered["data"]["name"], "ada");
    let signal = bob.until("signal").await;
    assert_eq!(
        (&signal["kind"], &signal["peer"]),
        (&"offer".into(), &discovered["peer"])
    );
    let gone = bob.until("disconnected").await;
    assert_eq!(gone["peer"], discovered["peer"]);
}

#[tokio::test]
async fn an_offer_to_nobody_exits_with_68() {
    let hub = HubProcess::start().await;
    let nobody = PeerId::random().to_string();
    let output = run(PEER, &["--hub", &hub.ws_url(), "--send", &nobody]).await;
    assert_eq!(code(&output), 68, "{output:?}");
    assert!(stderr(&output).contains(&nobody));
}

#[tokio::test]
async fn an_offer_that_stays_unanswered_exits_with_75() {
    let hub = HubProcess::start().await;
    let mut silent = Listener::start(&hub, &[]).await;
    let arguments = [
        "--hub",
        &hub.ws_url(),
        "--send",
        &silent.id.clone(),
        "--listen",
        "1s",
    ];
    assert_eq!(code(&run(PEER, &arguments).await), 75);
    assert_eq!(silent.until("signal").await["kind"], "offer");
}

#[tokio::test]
async fn networks_keep_apart_what_is_announced() {
    let hub = HubProcess::start().await;
    let mut blue = Listener::start(&hub, &["--network", "blue"]).await;
    let _red = Listener::start(&hub, &["--network", "red", "--name", "red"]).await;
    let _other = Listener::start(&hub, &["--network", "blue", "--name", "other"]).await;
    assert_eq!(blue.until("discovered").await["data"]["name"], "other");
}

#[tokio::test]
async fn no_hub_is_69_and_a_wrong_token_77() {
    let (_kept, nobody) = nobody();
    let url = format!("ws://{nobody}");
    let unreachable = run(PEER, &["--hub", &url, "--listen", "1s"]).await;
    assert_eq!(code(&unreachable), 69, "{unreachable:?}");
    assert!(stderr(&unreachable).contains("nobody listens there"));

    let hub = HubProcess::builder()
        .env("AUTH_TOKEN", "open-sesame")
        .start()
        .await;
    let url = hub.ws_url();
    for (token, expected) in [("open-barley", 77), ("open-sesame", 0)] {
        let arguments = ["--hub", &url, "--token", token, "--listen", "200ms"];
        let output = run(PEER, &arguments).await;
        assert_eq!(code(&output), expected, "{output:?}");
        assert!(!stderr(&output).contains(token), "a token is printed");
    }
}

#[tokio::test]
async fn a_hub_that_is_killed_ends_its_peer_with_69() {
    let mut hub = HubProcess::start().await;
    let mut peer = Listener::start(&hub, &[]).await;
    hub.kill9().await;
    peer.until("closed").await;
    assert_eq!(peer.exit_code().await, Some(69));
}

#[tokio::test]
async fn ctrl_c_and_a_polite_kill_say_goodbye() {
    let hub = HubProcess::start().await;
    let mut watcher = Listener::start(&hub, &[]).await;
    for signal in [Signal::INT, Signal::TERM] {
        let mut leaver = Listener::start(&hub, &[]).await;
        leaver.signal(signal);
        assert_eq!(watcher.until("goodbye").await["peer"], leaver.id.as_str());
        assert_eq!(leaver.exit_code().await, Some(0));
    }
}

#[tokio::test]
async fn commands_are_read_from_standard_input() {
    let hub = HubProcess::start().await;
    let mut bob = Listener::start(&hub, &["--name", "bob", "--answer"]).await;
    let mut command = command(
        PEER,
        &["--interactive", "--hub", &hub.ws_url(), "--name", "ada"],
    );
    let mut ada = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut typed = ada.stdin.take().unwrap();
    let mut printed = BufReader::new(ada.stdout.take().unwrap()).lines();
    let mut expect = async |wanted: &str| {
        let looking = async {
            while let Some(line) = printed.next_line().await.unwrap() {
                if line.contains(wanted) {
                    return line;
                }
            }
            panic!("ended before printing `{wanted}`")
        };
        timeout(LIMIT, looking)
            .await
            .unwrap_or_else(|_| panic!("no `{wanted}` in time"))
    };
    expect("discovered").await;
    typed.write_all(b"dance\npeers\n").await.unwrap();
    assert!(expect("bob").await.starts_with(&bob.id));
    let beginning = &bob.id[..8];
    typed
        .write_all(format!("offer {beginning} {{\"x\":1.50}}\n").as_bytes())
        .await
        .unwrap();
    expect("answer from").await;
    assert_eq!(
        bob.until("signal").await["data"].to_string(),
        r#"{"x":1.5}"#
    );
    typed.write_all(b"ping\n").await.unwrap();
    expect("pong").await;
    typed.write_all(b"quit\n").await.unwrap();
    let status = timeout(LIMIT, ada.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
    bob.until("goodbye").await;
}

/// A visitor connects and leaves, and the peer in the terminal prints this. A stopped peer would not.
async fn is_heard_leaving(hub: &HubProcess, terminal: &mut Terminal) {
    let visitor = run(PEER, &["--hub", &hub.ws_url(), "--listen", "100ms"]).await;
    assert_eq!(code(&visitor), 0, "{visitor:?}");
    terminal.shows("says goodbye").await;
}

#[tokio::test]
async fn a_peer_of_a_terminal_goes_on_in_the_background_and_is_typed_to_in_the_foreground() {
    if terminal::is_skipped(&[]) {
        return;
    }
    let hub = HubProcess::start().await;
    let mut terminal = Terminal::open().await;
    let url = hub.ws_url();
    terminal
        .types(&format!("peer-client --hub {url} --name ada --answer &\n"))
        .await;
    terminal.shows("announced in global").await;
    terminal.types("jobs\n").await;
    terminal.shows("Running").await;
    is_heard_leaving(&hub, &mut terminal).await;
    terminal.types("fg\n").await;
    terminal.shows("peer-client").await;
    terminal.types("ping\n").await;
    terminal.shows("pong").await;
    let ctrl_z = "\x1a";
    terminal.types(ctrl_z).await;
    terminal.shows("Stopped").await;
    terminal.types("bg\n").await;
    is_heard_leaving(&hub, &mut terminal).await;
    terminal.types("fg\n").await;
    terminal.shows("peer-client").await;
    terminal.types("quit\n").await;
    eventually("it has left", async || {
        hub.http_get("/health").await.json()["connections"] == 0
    })
    .await;
}

#[tokio::test]
async fn peers_of_two_linked_hubs_talk() {
    let first = HubProcess::start().await;
    let second = first.neighbour().start().await;
    let mut bob = Listener::start(&second, &["--name", "bob", "--answer"]).await;
    let output = run(PEER, &["--hub", &first.ws_url(), "--send", &bob.id]).await;
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!(bob.until("signal").await["kind"], "offer");
}

#[tokio::test]
async fn listening_ends_by_itself() {
    let hub = HubProcess::start().await;
    let arguments = ["-hub", &hub.ws_url(), "-listen", "100ms"];
    let output = timeout(Duration::from_secs(5), run(PEER, &arguments))
        .await
        .unwrap();
    assert_eq!(code(&output), 0);
    assert!(stdout(&output).contains("announced in global"));
}
