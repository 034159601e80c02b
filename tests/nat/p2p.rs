//! `peer-client` connects peers through a hub on this machine: its exit codes, its output, relays of each kind, and how
//! it ends. The tests of `serve` are in `serve.rs`.

use std::process::{Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use hubmesh_client::PeerId;
use hubmesh_turn::Credentials;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use crate::coturn::Coturn;
use crate::hub_process::{HubProcess, LIMIT, eventually};
use crate::stage::{SECRET, hub, metric};
use crate::tool::{code, command, run, stderr, stdout};

pub const PEER: &str = env!("CARGO_BIN_EXE_peer-client");

/// A `peer-client` that answers, and that its hub has registered.
struct Answering {
    id: String,
    child: Child,
}

impl Answering {
    async fn start(hub: &str, more: &[&str]) -> Self {
        let id = PeerId::random().to_string();
        let fixed = ["connect", "--answer", "--id", &id, "--hub", hub];
        let mut command = command(PEER, &[&fixed[..], more].concat());
        Self::of(&mut command, id).await
    }

    async fn of(command: &mut Command, id: String) -> Self {
        let mut child = command.spawn().expect("it starts");
        let told = child.stderr.take().expect("piped");
        let mut lines = BufReader::new(told).lines();
        let registered = async {
            while let Some(line) = lines.next_line().await.expect("readable") {
                if line.starts_with("registered") {
                    return lines;
                }
            }
            panic!("it ended before it was registered")
        };
        let mut lines = timeout(LIMIT, registered).await.expect("in time");
        // Its stderr is read to the end; otherwise the process would wait for a reader.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { id, child }
    }
}

/// The time at which credentials expire. coturn accepts none that expire far in the future.
fn soon() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("after 1970").as_secs() + 300
}

fn summary(output: &Output) -> Value {
    let last = stdout(output).lines().last().expect("a summary");
    serde_json::from_str(last).expect("JSON")
}

#[tokio::test]
async fn pings_reach_a_peer_on_this_machine_directly_and_both_ends_tell_their_steps() {
    let (_, builder) = hub();
    let hub = builder.start().await;
    let url = hub.ws_url();
    let bob = Answering::start(&url, &[]).await;
    let output = run(PEER, &["connect", &bob.id, "--hub", &url, "--pings", "3"]).await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(
        stdout(&output).contains("3 of 3 by direct"),
        "{}",
        stdout(&output)
    );
    let steps = stderr(&output);
    for step in [
        "asks it",
        "it answers: its NAT is open",
        "tries direct",
        "ms",
    ] {
        assert!(steps.contains(step), "{step}: {steps}");
    }
}

#[tokio::test]
async fn a_pipe_carries_what_is_typed_to_an_end_without_a_terminal() {
    let (_, builder) = hub();
    let hub = builder.start().await;
    let url = hub.ws_url();
    for only in [&[][..], &["--only", "tcp-punch"]] {
        let mut bob = Answering::start(&url, &[]).await;
        let (mut ada, input) = piping(&url, &mut bob, only).await;
        drop(input);
        for child in [&mut ada, &mut bob.child] {
            assert_eq!(ended(child).await, Some(0), "{only:?}");
        }
    }
}

#[tokio::test]
async fn exit_codes_say_whose_fault_it_was() {
    let (_, builder) = hub();
    let hub = builder.env("SIGNAL_WAIT_MS", "100").start().await;
    let url = hub.ws_url();
    let nobody = PeerId::random().to_string();
    let guarded = HubProcess::builder()
        .env("AUTH_TOKEN", "right")
        .start()
        .await;
    let guarded = guarded.ws_url();
    let cases: [(&[&str], i32); 7] = [
        (&["connect", &nobody, "--hub", &url], 68),
        (&["connect", "--hub", &url], 64),
        (&["connect", "short", "--hub", &url], 64),
        (&["connect", &nobody, "--hub", "ws://127.0.0.1:9"], 69),
        (&["nat", "--stun", "http://a"], 64),
        (
            &["connect", &nobody, "--hub", &guarded, "--token", "wrong"],
            77,
        ),
        (
            &["connect", &nobody, "--hub", &guarded, "--token", "a\nb"],
            64,
        ),
    ];
    for (arguments, expected) in cases {
        let output = run(PEER, arguments).await;
        assert_eq!(
            code(&output),
            expected,
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(!stderr(&output).is_empty());
    }
}

#[tokio::test]
async fn nat_tells_the_type_the_address_and_advice_to_people_and_programs() {
    let (_, builder) = hub();
    let hub = builder.start().await;
    let url = hub.ws_url();
    let people = run(PEER, &["nat", "--hub", &url]).await;
    assert_eq!(code(&people), 0, "{}", stderr(&people));
    for line in ["NAT: open\n", "public address: 127.", "advice: any peer"] {
        assert!(stdout(&people).contains(line), "{}", stdout(&people));
    }
    let programs = summary(&run(PEER, &["nat", "--hub", &url, "--json"]).await);
    assert_eq!(programs["nat"]["type"], "open");
    assert_eq!(programs["advice"]["method"], "direct");
}

#[tokio::test]
async fn a_hub_without_servers_leaves_the_nat_unknown() {
    let hub = HubProcess::start().await;
    let output = run(PEER, &["nat", "--hub", &hub.ws_url()]).await;
    assert_eq!(code(&output), 69);
    assert!(
        stdout(&output).contains("no STUN server is known"),
        "{}",
        stdout(&output)
    );
}

#[tokio::test]
async fn our_client_relays_through_coturn_by_udp_and_tcp() {
    let Some(coturn) = Coturn::start(SECRET).await else {
        return;
    };
    let hub = HubProcess::start().await;
    let url = hub.ws_url();
    let made = Credentials::new(SECRET, "ada", soon());
    for (suffix, transport) in [("", "UDP"), ("?transport=tcp", "TCP")] {
        let server = format!("turn:{}:{}{suffix}", coturn.address, Coturn::PORT);
        let turn = [
            "--turn",
            &server,
            "--turn-username",
            &made.username,
            "--turn-credential",
            &made.credential,
        ];
        let bob = Answering::start(&url, &turn).await;
        let asking = ["connect", &bob.id, "--hub", &url, "--only", "relay"];
        let more = ["--pings", "5", "--json"];
        let output = run(PEER, &[&asking[..], &turn, &more].concat()).await;
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let way = format!("TURN relay over {transport}");
        assert_eq!(summary(&output)["way"], way.as_str());
    }
}

#[tokio::test]
async fn coturn_s_stun_tells_the_nat_and_a_wrong_password_is_named() {
    let Some(coturn) = Coturn::start(SECRET).await else {
        return;
    };
    let server = format!("{}:{}", coturn.address, Coturn::PORT);
    let output = run(
        PEER,
        &["nat", "--json", "--stun", &format!("stun:{server}")],
    )
    .await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let found = &summary(&output)["nat"];
    assert!(
        found["public"]
            .as_str()
            .is_some_and(|at| at.starts_with("127.")),
        "{found}"
    );
    let hub = HubProcess::start().await;
    let url = hub.ws_url();
    let bob = Answering::start(&url, &[]).await;
    let turn = format!("turn:{server}");
    let wrong = [
        "--turn",
        &turn,
        "--turn-username",
        "ada",
        "--turn-credential",
        "guessed",
    ];
    let asking = [
        "connect", &bob.id, "--hub", &url, "--only", "relay", "--pings", "1",
    ];
    let output = run(PEER, &[&asking[..], &wrong].concat()).await;
    assert_eq!(code(&output), 68, "the other end has no relay either");
    let steps = stderr(&output);
    assert!(steps.contains("refused: error 401"), "{steps}");
}

#[tokio::test]
async fn our_client_relays_through_the_hub_by_udp_tcp_and_tls() {
    let (address, builder) = hub();
    let address = address.to_string();
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec![address.clone()]).expect("a certificate");
    let files = tempfile::tempdir().expect("a directory");
    let (cert_file, key_file) = (files.path().join("cert"), files.path().join("key"));
    std::fs::write(&cert_file, cert.pem()).expect("written");
    std::fs::write(&key_file, signing_key.serialize_pem()).expect("written");
    let _relays = builder
        .env("TURN_TLS_PORT", "5349")
        .env("TLS_CERT", &cert_file)
        .env("TLS_KEY", &key_file)
        .start()
        .await;
    let signals = HubProcess::start().await;
    let url = signals.ws_url();
    let made = Credentials::new(SECRET, "ada", soon());
    for (server, transport) in [
        (format!("turn:{address}:3478"), "UDP"),
        (format!("turn:{address}:3478?transport=tcp"), "TCP"),
        (format!("turns:{address}:5349"), "TLS"),
    ] {
        let turn = [
            "--turn",
            &server,
            "--turn-username",
            &made.username,
            "--turn-credential",
            &made.credential,
        ];
        let id = PeerId::random().to_string();
        let answering = ["connect", "--answer", "--id", &id, "--hub", &url];
        let mut answering = command(PEER, &[&answering[..], &turn].concat());
        answering.env("SSL_CERT_FILE", &cert_file);
        let bob = Answering::of(&mut answering, id).await;
        let asking = ["connect", &bob.id, "--hub", &url, "--only", "relay"];
        let more = ["--pings", "5", "--json"];
        let mut asking = command(PEER, &[&asking[..], &turn, &more].concat());
        asking.env("SSL_CERT_FILE", &cert_file);
        let output = timeout(LIMIT, asking.output()).await.expect("in time");
        let output = output.expect("it starts");
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let way = format!("TURN relay over {transport}");
        assert_eq!(summary(&output)["way"], way.as_str());
    }
}

#[tokio::test]
async fn a_turn_server_that_is_silent_by_udp_is_spoken_to_by_tcp() {
    let (address, builder) = hub();
    let _relays = builder.start().await;
    let signals = HubProcess::start().await;
    let made = Credentials::new(SECRET, "ada", soon());
    let silent = format!("turn:{address}:9");
    let speaks = format!("turn:{address}:3478?transport=tcp");
    let turn = [
        "--turn",
        &speaks,
        "--turn",
        &silent,
        "--turn-username",
        &made.username,
        "--turn-credential",
        &made.credential,
    ];
    let bob = Answering::start(&signals.ws_url(), &turn).await;
    let asking = [
        "connect",
        &bob.id,
        "--hub",
        &signals.ws_url(),
        "--only",
        "relay",
    ];
    let more = ["--pings", "1", "--json"];
    let output = run(PEER, &[&asking[..], &turn, &more].concat()).await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(summary(&output)["way"], "TURN relay over TCP");
}

#[tokio::test]
async fn an_end_that_answers_dials_its_hub_again_and_ends_with_69_when_it_stays_away() {
    let (_, builder) = hub();
    let mut hub = builder.clone().start().await;
    let url = hub.ws_url();
    let port = hub.addr.port().to_string();
    let mut bob = Answering::start(&url, &["--retries", "4"]).await;
    hub.kill9().await;
    let mut hub = builder.env("PORT", port).start().await;
    let output = run(PEER, &["connect", &bob.id, "--hub", &url, "--pings", "1"]).await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    hub.kill9().await;
    let status = timeout(LIMIT, bob.child.wait()).await.expect("in time");
    assert_eq!(status.expect("it ended").code(), Some(69));
}

#[tokio::test]
async fn both_relays_are_given_up_with_the_connection() {
    let (_, builder) = hub();
    let hub = builder.start().await;
    let url = hub.ws_url();
    let bob = Answering::start(&url, &[]).await;
    let asking = [
        "connect", &bob.id, "--hub", &url, "--only", "relay", "--pings", "1",
    ];
    let output = run(PEER, &asking).await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let deleted = r#"hubmesh_turn_allocations_ended_total{reason="deleted"}"#;
    eventually("both are deleted", async || {
        metric(&hub, deleted).await == 2
    })
    .await;
}

/// A `peer-client` that pipes its input to `bob`. It is returned once a line has arrived.
async fn piping(hub: &str, bob: &mut Answering, more: &[&str]) -> (Child, ChildStdin) {
    let arguments = [&["connect", &bob.id, "--hub", hub], more].concat();
    let mut asking = command(PEER, &arguments);
    let mut ada = asking.stdin(Stdio::piped()).spawn().expect("it starts");
    let mut input = ada.stdin.take().expect("piped");
    input.write_all(b"hello\n").await.expect("written");
    let heard = bob.child.stdout.take().expect("piped");
    let mut heard = BufReader::new(heard).lines();
    let line = timeout(LIMIT, heard.next_line()).await.expect("in time");
    assert_eq!(line.expect("readable").as_deref(), Some("hello"));
    (ada, input)
}

async fn ended(child: &mut Child) -> Option<i32> {
    let status = timeout(LIMIT, child.wait()).await.expect("in time");
    status.expect("it ended").code()
}

#[tokio::test]
async fn an_end_that_is_killed_is_missed_after_three_keep_alives() {
    let (_, builder) = hub();
    let hub = builder.start().await;
    let url = hub.ws_url();
    for only in ["direct", "relay"] {
        let more = ["--keep-alive", "200ms"];
        let mut bob = Answering::start(&url, &more).await;
        let way = ["--keep-alive", "200ms", "--only", only];
        let (ada, _input) = piping(&url, &mut bob, &way).await;
        bob.child.kill().await.expect("it was there");
        let output = timeout(LIMIT, ada.wait_with_output())
            .await
            .expect("in time");
        let output = output.expect("it ended");
        assert_eq!(code(&output), 75, "{only}: {}", stderr(&output));
        let told = stderr(&output);
        assert!(told.contains("the other end is gone"), "{only}: {told}");
    }
}

#[tokio::test]
async fn an_end_that_is_interrupted_tells_the_other_by_every_way() {
    let (_, builder) = hub();
    let hub = builder.start().await;
    let url = hub.ws_url();
    for only in ["direct", "tcp-punch", "relay"] {
        for stops_asking in [true, false] {
            let mut bob = Answering::start(&url, &[]).await;
            let (mut ada, _input) = piping(&url, &mut bob, &["--only", only]).await;
            let (one, other) = match stops_asking {
                true => (&mut ada, &mut bob.child),
                false => (&mut bob.child, &mut ada),
            };
            let pid = i32::try_from(one.id().expect("it runs")).expect("a pid");
            let pid = Pid::from_raw(pid).expect("a pid");
            kill_process(pid, Signal::TERM).expect("it is there");
            assert_eq!(ended(one).await, Some(0), "{only}, {stops_asking}");
            // Keep-alives are 25 s apart, so the other end does not end because they are missing.
            assert_eq!(ended(other).await, Some(0), "{only}, {stops_asking}");
        }
    }
}
