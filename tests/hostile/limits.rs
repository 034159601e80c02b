//! Each cap of the configuration is set low and hit once, to show that it has an effect.
//!
//! A cap is a setting that bounds what others may do to the hub. [`CAPS`] names a test for each cap that is hit here.
//! [`CAPS_OF_RELAYS`] and the lists after it name the caps that are hit in other tests, and [`NOT_CAPS`] names all
//! other settings. A setting that is in no list fails a test here, so that each new cap gets a test.

use std::time::Duration;

use futures::future::join_all;
use hubmesh::config::Config;
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::arena::{TOKEN, count, counted};
use crate::evil_hub::EvilHub;
use crate::hub_process::{HubProcess, LIMIT};
use crate::peerjs_limits::{
    a_peerjs_client_may_be_silent_for_so_long, a_peerjs_message_waits_for_so_long,
    so_many_peerjs_clients_are_connected, so_many_peerjs_ids_are_listed,
    so_many_peers_are_in_a_room,
};
use crate::raw::{Raw, fresh_id, upgrade_request};

macro_rules! caps {
    ($($(#[$doc:meta])* $cap:ident => $test:ident;)+) => {
        const CAPS: &[&str] = &[$(stringify!($cap),)+];
        mod hit { $($(#[$doc])* #[tokio::test] async fn $test() { super::$test().await; })+ }
    };
}

caps! {
    MAX_CONNECTIONS => no_more_peers_than_allowed_are_connected;
    MAX_CONNECTIONS_PER_IP => no_more_peers_of_one_address_than_allowed_are_connected;
    CONNECTS_PER_MINUTE_PER_IP => an_address_may_ask_for_so_many_sockets_a_minute;
    NOTICES_PER_SEC_PER_IP => peers_of_an_address_may_have_others_told_so_much;
    MAX_HTTP_CONNECTIONS => no_more_connections_than_allowed_are_served;
    MAX_TLS_HANDSHAKES => no_more_tls_handshakes_than_allowed_are_under_way;
    HEADER_TIMEOUT_MS => a_request_has_so_long_to_arrive;
    ANNOUNCE_TIMEOUT_MS => a_peer_has_so_long_to_announce_itself;
    PEER_TIMEOUT_MS => a_peer_may_be_silent_for_so_long;
    DISCOVERY_LIMIT => a_newcomer_is_told_of_so_many;
    MAX_MESSAGE_BYTES => a_message_may_be_so_long;
    MESSAGE_BUDGET_BYTES => messages_in_part_may_take_so_much;
    MAX_ANNOUNCE_BYTES => announced_data_may_be_so_long;
    MAX_NETWORKS_PER_CONNECTION => a_connection_is_in_so_many_networks;
    RATE_LIMIT_PER_SEC => a_peer_may_say_so_much_for_long;
    RATE_LIMIT_BURST => a_peer_may_say_so_much_at_once;
    RATE_LIMIT_MESSAGE_BYTES => a_long_message_counts_as_so_many;
    OUTBOX_MESSAGES => so_many_messages_may_wait_for_a_peer;
    OUTBOX_BYTES => so_many_bytes_may_wait_for_a_peer;
    SIGNAL_WAIT_MS => a_signal_waits_for_so_long;
    SIGNAL_WAIT_PER_SENDER => so_many_signals_of_one_sender_may_wait;
    SIGNAL_WAIT_PER_TARGET => so_many_signals_for_one_target_may_wait;
    SIGNAL_WAIT_TOTAL => so_many_signals_may_wait_in_all;
    PEERJS_EXPIRE_TIMEOUT_MS => a_peerjs_message_waits_for_so_long;
    PEERJS_ALIVE_TIMEOUT_MS => a_peerjs_client_may_be_silent_for_so_long;
    PEERJS_DISCOVERY_LIMIT => so_many_peerjs_ids_are_listed;
    PEERJS_CONCURRENT_LIMIT => so_many_peerjs_clients_are_connected;
    MAX_PEERS_PER_ROOM => so_many_peers_are_in_a_room;
    DRAIN_MS => a_drain_takes_so_long;
    MESH_CLAIMS_PER_HUB => so_many_peers_of_another_hub_are_kept;
    MESH_DATA_PER_HUB => so_much_data_of_another_hubs_peers_is_kept;
}

/// Caps of the relays, hit where relays are tested. Connections, relays and ports are hit in `tests/nat`. A user's
/// share, bytes, lifetime and age are hit in `crates/turn/tests`, in virtual time. The cap on other hubs that are named
/// is hit in `src/mesh/relays`.
const CAPS_OF_RELAYS: &[&str] = &[
    "TURN_RELAY_PORTS",
    "TURN_MAX_ALLOCATIONS",
    "TURN_MAX_ALLOCATIONS_PER_USER",
    "TURN_MAX_CONNECTIONS",
    "TURN_BYTES_PER_SEC",
    "TURN_BYTES_PER_SEC_PER_USER",
    "TURN_MAX_LIFETIME_S",
    "TURN_MAX_AGE_S",
    "TURN_TTL_S",
    "ICE_SERVERS_NEARBY",
];

/// Caps of rooms, hit in `tests/rooms` and `tests/api`.
const CAPS_OF_ROOMS: &[&str] = &[
    "ROOM_INACTIVITY_TIMEOUT",
    "PEER_HEARTBEAT_TIMEOUT",
    "MAX_ROOMS",
    "MAX_ROOM_MEMBERS",
    "MAX_ROOM_BYTES",
    "MEMORY_WARNING_THRESHOLD",
    "MEMORY_CRITICAL_THRESHOLD",
];

/// Caps of clients that have not shown a token yet, hit in `tests/tokens`.
const CAPS_OF_TOKENS: &[&str] = &["MAX_UNPROVEN_CLIENTS"];

/// Caps of operators, hit in `tests/mesh/steering.rs` and `tests/http/steering.rs`.
const CAPS_OF_OPERATORS: &[&str] = &["MAX_BANS", "ADMIN_LOGINS_PER_MINUTE", "MAX_EVENT_READERS"];

/// Settings that describe the hub, and do not bound what others do to it.
const NOT_CAPS: &[&str] = &[
    "DEMO",
    "STUN_PORT",
    "STUN_ALT_PORT",
    "TURN_PORT",
    "TURN_TLS_PORT",
    "TURN_PUBLIC_ADDRESS",
    "TURN_PUBLIC_NAME",
    "TURN_ALLOW_PEERS",
    "TURN_SECRET",
    "TURN_URLS",
    "HOST",
    "PORT",
    "SIGNALING_PORT",
    "TLS_CERT",
    "TLS_KEY",
    "IS_HUB",
    "HUB_MESH_NAMESPACE",
    "BOOTSTRAP_HUBS",
    "PUBLIC_URL",
    "HUB_TOKEN",
    "HUB_ID",
    "MESH_AUTO_CONNECT",
    "MESH_HOLD_MS",
    "MESH_FULL_DIRECTORY_PEERS",
    "AUTH_TOKEN",
    "ADMIN_TOKEN",
    "ADMIN_ADDR",
    "EVENTS_WEBHOOK_URL",
    "EVENTS_WEBHOOK_SECRET",
    "JWT_SECRET",
    "JWT_PUBLIC_KEY",
    "JWT_ISSUER",
    "JWT_AUDIENCE",
    "CORS_ORIGIN",
    "TRUSTED_PROXIES",
    "CLEANUP_INTERVAL_MS",
    "READY_TIMEOUT_MS",
    "DRAIN_PAUSE_MS",
    "DUPLICATE_PEER",
    "PEERJS_PATH",
    "PEERJS_KEY",
    "PEERJS_ALLOW_DISCOVERY",
    "PEERJS_ROOMS",
    "LOG_FORMAT",
    "RUST_LOG",
    "WORKER_THREADS",
    "FLY_REGION",
    "REGION",
    "FLY_APP_NAME",
];

#[test]
fn every_setting_is_a_cap_with_a_test_or_none() {
    let lists = CAPS.iter().chain(CAPS_OF_RELAYS).chain(CAPS_OF_ROOMS);
    let lists = lists.chain(CAPS_OF_TOKENS).chain(CAPS_OF_OPERATORS);
    let lists = lists.chain(NOT_CAPS);
    let mut listed: Vec<&str> = lists.copied().collect();
    let mut settings: Vec<String> = Config::settings()
        .iter()
        .map(|setting| setting.name())
        .collect();
    listed.sort_unstable();
    settings.sort_unstable();
    assert_eq!(listed, settings);
}

pub async fn hub_with(settings: &[(&str, &str)]) -> HubProcess {
    let mut builder = HubProcess::builder();
    for (name, value) in settings {
        builder = builder.env(name, *value);
    }
    builder.start().await
}

async fn no_more_peers_than_allowed_are_connected() {
    let hub = hub_with(&[("MAX_CONNECTIONS", "2")]).await;
    let first = Raw::member(&hub, &fresh_id(), "full").await;
    let _second = Raw::member(&hub, &fresh_id(), "full").await;
    counted(
        &hub,
        ("hubmesh_refusals_total", "reason=\"full\""),
        1,
        async {
            let mut third = Raw::connect(&hub).await;
            let request = upgrade_request(&format!("/ws?peerId={}", fresh_id()), "");
            third.send(request.as_bytes()).await.expect("a live hub");
            assert_eq!(third.status().await, Some(503));
        },
    )
    .await;
    counted(&hub, ("hubmesh_connections_closed_total", ""), 1, async {
        drop(first)
    })
    .await;
    Raw::member(&hub, &fresh_id(), "full").await;
}

async fn a_connection_is_in_so_many_networks() {
    let hub = hub_with(&[("MAX_NETWORKS_PER_CONNECTION", "2")]).await;
    let mut raw = Raw::connect(&hub).await;
    let request = upgrade_request("/yjs", "");
    raw.send(request.as_bytes()).await.expect("a live hub");
    assert_eq!(raw.status().await, Some(101));
    let topics = async |raw: &mut Raw, all: &[&str]| {
        let said = json!({"type": "subscribe", "topics": all});
        raw.say(&said.to_string()).await.expect("a live hub");
        raw.say(r#"{"type":"ping"}"#).await.expect("a live hub");
        raw.message().await.expect("an answer")
    };
    assert_eq!(topics(&mut raw, &["a", "b"]).await["type"], "pong");
    let refused = topics(&mut raw, &["a", "c"]).await;
    assert_eq!(refused["code"], "too-many-networks");
    assert_eq!(raw.message().await.expect("an answer")["type"], "pong");
    let left = json!({"type": "unsubscribe", "topics": ["a"]}).to_string();
    raw.say(&left).await.expect("a live hub");
    assert_eq!(topics(&mut raw, &["c"]).await["type"], "pong");
}

/// Asks for a peer's WebSocket with `X-Forwarded-For: {forwarded}`, as a proxy on loopback would pass the request on.
/// Gives the answer's status, its `Retry-After`, and the connection.
async fn asked_for(hub: &HubProcess, forwarded: &str) -> (Option<u16>, Option<u64>, Raw) {
    let mut raw = Raw::connect(hub).await;
    let target = format!("/ws?peerId={}", fresh_id());
    let request = upgrade_request(&target, &format!("X-Forwarded-For: {forwarded}\r\n"));
    raw.send(request.as_bytes()).await.expect("a live hub");
    let head = raw.answer_head().await.expect("an answer");
    let status = head.get(9..12).and_then(|status| status.parse().ok());
    let retry = head.lines().find_map(|line| {
        line.to_ascii_lowercase()
            .strip_prefix("retry-after: ")?
            .parse()
            .ok()
    });
    (status, retry, raw)
}

async fn no_more_peers_of_one_address_than_allowed_are_connected() {
    let hub = hub_with(&[
        ("MAX_CONNECTIONS_PER_IP", "2"),
        ("TRUSTED_PROXIES", "127.0.0.1"),
    ])
    .await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let (status, _, raw) = asked_for(&hub, "198.51.100.9").await;
        assert_eq!(status, Some(101));
        held.push(raw);
    }
    let refusals = ("hubmesh_refusals_total", "reason=\"address-full\"");
    counted(&hub, refusals, 3, async {
        // The proxy appends the real address; the addresses that the client wrote before it change nothing.
        for spoofed in [
            "198.51.100.9",
            "192.0.2.1, 198.51.100.9",
            "\u{e9}, 198.51.100.9",
        ] {
            let (status, retry, _) = asked_for(&hub, spoofed).await;
            assert_eq!((status, retry), (Some(429), Some(10)), "{spoofed}");
        }
    })
    .await;
    let (status, _, other) = asked_for(&hub, "198.51.100.10").await;
    assert_eq!(status, Some(101));
    counted(&hub, ("hubmesh_connections_closed_total", ""), 3, async {
        drop((held, other))
    })
    .await;
    // Both places were given back, and no third one.
    let mut held = Vec::new();
    for expected in [101, 101, 429] {
        let (status, _, raw) = asked_for(&hub, "198.51.100.9").await;
        assert_eq!(status, Some(expected));
        held.push(raw);
    }
}

async fn an_address_may_ask_for_so_many_sockets_a_minute() {
    let hub = hub_with(&[
        ("CONNECTS_PER_MINUTE_PER_IP", "2"),
        ("TRUSTED_PROXIES", "127.0.0.1"),
    ])
    .await;
    let refusals = ("hubmesh_refusals_total", "reason=\"address-too-fast\"");
    counted(&hub, refusals, 2, async {
        // The real addresses are in one /64; the client spoofs others.
        for (spoofed, real, expected) in [
            ("192.0.2.1", "2001:db8::1", 101),
            ("192.0.2.2", "2001:db8::2", 101),
            ("192.0.2.3", "2001:db8::3", 429),
            ("2001:db8:1::", "[2001:db8::ffff]:99", 429),
        ] {
            let (status, retry, _) = asked_for(&hub, &format!("{spoofed}, {real}")).await;
            assert_eq!(status, Some(expected), "{spoofed}");
            let seconds = retry.map(|seconds| (1..=31).contains(&seconds));
            assert_eq!(seconds, (expected == 429).then_some(true), "{retry:?}");
        }
    })
    .await;
    assert_eq!(asked_for(&hub, "2001:db8:0:1::1").await.0, Some(101));
    // Other pages are not counted.
    assert_eq!(hub.http_get("/health").await.status, 200);
}

/// Joins `crowd` from this address, and waits until the hub has accepted the claim.
async fn join_from(hub: &HubProcess, address: [u8; 4]) -> Raw {
    let raw = Raw::connect_from(hub, address).await;
    let mut raw = raw.upgraded(&fresh_id()).await;
    raw.announce("crowd").await;
    raw
}

async fn peers_of_an_address_may_have_others_told_so_much() {
    const DELAYED: &str = "hubmesh_joins_delayed_total";
    // One address may cause a thousand notices at once. A join in a network of ten counts as thirty.
    let hub = hub_with(&[("NOTICES_PER_SEC_PER_IP", "100")]).await;
    let mut crowd = Vec::new();
    for _ in 0..10 {
        crowd.push(Raw::member(&hub, &fresh_id(), "crowd").await);
    }
    let loud = [127, 0, 0, 2];
    for _ in 0..30 {
        drop(join_from(&hub, loud).await);
    }
    assert_eq!(count(&hub, DELAYED, "").await, 0);
    // The joins that are too many are delayed, but all succeed. They start at once: on a busy machine, thirty notices
    // would become free again between two single joins.
    let too_many = join_all((0..20).map(|_| join_from(&hub, loud)));
    counted(&hub, (DELAYED, ""), 2, too_many).await;
    let before = count(&hub, DELAYED, "").await;
    join_from(&hub, [127, 0, 0, 3]).await;
    assert_eq!(
        count(&hub, DELAYED, "").await,
        before,
        "others have their own"
    );
}

/// One address may have half of the TLS handshakes. Other rules of handshakes have a file of their own among the tests
/// of TLS.
async fn no_more_tls_handshakes_than_allowed_are_under_way() {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let cert = params.self_signed(&key).expect("signed");
    let folder = tempfile::tempdir().expect("a folder");
    let paths = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    std::fs::write(&paths[0], cert.pem()).expect("written");
    std::fs::write(&paths[1], key.serialize_pem()).expect("written");
    let hub = HubProcess::builder()
        .env("TLS_CERT", &paths[0])
        .env("TLS_KEY", &paths[1])
        .env("MAX_TLS_HANDSHAKES", "4")
        .env("HEADER_TIMEOUT_MS", "600000")
        .start()
        .await;
    let mut first = Raw::connect(&hub).await;
    let _rest = [Raw::connect(&hub).await, Raw::connect(&hub).await];
    assert_eq!(first.answer_head().await, None, "it gives way to the third");
}

async fn no_more_connections_than_allowed_are_served() {
    let hub = hub_with(&[("MAX_HTTP_CONNECTIONS", "4")]).await;
    let mut held = Vec::new();
    // Of the four connections, one address has two, and another address has one.
    for host in [1, 1, 2] {
        held.push(Raw::connect_from(&hub, [127, 0, 0, host]).await);
    }
    let one_more = Raw::connect_from(&hub, [127, 0, 0, 1]).await;
    assert_eq!(one_more.rest().await, "");
    for mut raw in held {
        use tokio::io::AsyncWriteExt;
        raw.stream.shutdown().await.expect("an open socket");
        raw.rest().await;
    }
    assert_eq!(
        count(&hub, "hubmesh_refusals_total", "reason=\"http-full\"").await,
        1
    );
}

async fn a_request_has_so_long_to_arrive() {
    let hub = hub_with(&[("HEADER_TIMEOUT_MS", "300")]).await;
    let mut raw = Raw::connect(&hub).await;
    let began = Instant::now();
    raw.send(b"GET /health HTTP/1.1\r\nHost:")
        .await
        .expect("a live hub");
    timeout(LIMIT, raw.rest()).await.expect("it is cut off");
    assert!(began.elapsed() >= Duration::from_millis(300));
}

/// The time until the hub closes this peer's connection, and the code and text of its close frame.
pub async fn closed_after(raw: &mut Raw) -> (Duration, Option<(u16, String)>) {
    let began = Instant::now();
    let end = timeout(LIMIT, raw.end()).await.expect("it is closed");
    (began.elapsed(), end.close)
}

async fn a_peer_has_so_long_to_announce_itself() {
    let hub = hub_with(&[("ANNOUNCE_TIMEOUT_MS", "400")]).await;
    let mut raw = Raw::peer(&hub, &fresh_id()).await;
    let (took, close) = closed_after(&mut raw).await;
    assert_eq!(close, Some((1008, "No announcement in time".to_owned())));
    assert!(took > Duration::from_millis(300), "{took:?}");
}

async fn a_peer_may_be_silent_for_so_long() {
    let hub = hub_with(&[("PEER_TIMEOUT_MS", "1000")]).await;
    let mut raw = Raw::member(&hub, &fresh_id(), "silent").await;
    let (took, close) = closed_after(&mut raw).await;
    assert_eq!(close, Some((1008, "No sign of life".to_owned())));
    assert!(took > Duration::from_millis(900), "{took:?}");
}

async fn a_newcomer_is_told_of_so_many() {
    let hub = hub_with(&[("DISCOVERY_LIMIT", "3")]).await;
    let mut members = Vec::new();
    for _ in 0..10 {
        members.push(Raw::member(&hub, &fresh_id(), "large").await);
    }
    let mut newcomer = Raw::peer(&hub, &fresh_id()).await;
    let announce = json!({"type": "announce", "networkName": "large"});
    newcomer
        .say(&announce.to_string())
        .await
        .expect("a live hub");
    newcomer
        .say(r#"{"type":"ping"}"#)
        .await
        .expect("a live hub");
    let mut told = 0;
    loop {
        let message = newcomer.message().await.expect("a live hub");
        match message["type"].as_str() {
            Some("peer-discovered") => told += 1,
            Some("pong") => break,
            _ => panic!("unexpected: {message}"),
        }
    }
    assert!((1..=3).contains(&told), "{told} were told");
}

async fn a_message_may_be_so_long() {
    let hub = hub_with(&[("MAX_MESSAGE_BYTES", "1024")]).await;
    let mut raw = Raw::member(&hub, &fresh_id(), "long").await;
    let ping = |bytes: usize| format!(r#"{{"type":"ping","x":"{}"}}"#, "x".repeat(bytes - 22));
    assert_eq!(ping(1024).len(), 1024);
    raw.say(&ping(1024)).await.expect("a live hub");
    raw.message_of("pong").await;
    raw.say(&ping(1025)).await.expect("a live hub");
    let told = raw.message_of("error").await;
    assert_eq!(told["code"], "message-too-long");
    let text = told["error"].as_str().expect("words");
    assert!(
        text.contains("1025") && text.contains("MAX_MESSAGE_BYTES is 1024"),
        "{text}"
    );
    raw.say(&ping(1024)).await.expect("a live hub");
    raw.message_of("pong").await;
}

async fn messages_in_part_may_take_so_much() {
    /// Twice as many peers as the budget has space for.
    const SLOW: usize = 8;
    let hub = hub_with(&[
        ("MAX_MESSAGE_BYTES", "65536"),
        ("MESSAGE_BUDGET_BYTES", "262144"),
    ])
    .await;
    let ping = format!(r#"{{"type":"ping","x":"{}"}}"#, "x".repeat(60_000));
    let frame = crate::raw::frame(crate::raw::TEXT, ping.as_bytes());
    let (begin, end) = frame.split_at(frame.len() - 10);
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        let mut raw = Raw::member(&hub, &fresh_id(), "budget").await;
        raw.send(begin).await.expect("a live hub");
        slow.push(raw);
    }
    // A peer that sends its messages whole is not affected.
    let mut quick = Raw::member(&hub, &fresh_id(), "budget").await;
    for _ in 0..3 {
        quick.say(&ping).await.expect("a live hub");
        quick.pong().await;
    }
    let mut refused = 0;
    for mut raw in slow {
        raw.send(end).await.expect("a live hub");
        raw.say(r#"{"type":"ping"}"#).await.expect("a live hub");
        loop {
            let message = raw.message().await.expect("a live hub");
            match message["type"].as_str() {
                Some("pong") => break,
                Some("error") => {
                    assert_eq!(message["code"], "no-room");
                    refused += 1;
                }
                _ => {}
            }
        }
    }
    assert!(
        (SLOW / 2..SLOW).contains(&refused),
        "{refused} were refused"
    );
}

async fn announced_data_may_be_so_long() {
    let hub = hub_with(&[("MAX_ANNOUNCE_BYTES", "64")]).await;
    let mut raw = Raw::member(&hub, &fresh_id(), "data").await;
    // The text of the object is measured.
    for (bytes, code) in [(64, "pong"), (65, "announce-too-long")] {
        let data = format!(r#"{{"x":"{}"}}"#, "x".repeat(bytes - 8));
        assert_eq!(data.len(), bytes);
        let announce = format!(r#"{{"type":"announce","networkName":"data","data":{data}}}"#);
        raw.say(&announce).await.expect("a live hub");
        raw.say(r#"{"type":"ping"}"#).await.expect("a live hub");
        let answer = raw.message().await.expect("a live hub");
        assert!(answer["code"] == code || answer["type"] == code, "{answer}");
    }
}

/// Sends this many pings at once. Gives how many are answered before one is dropped.
async fn answered_at_once(raw: &mut Raw, pings: usize) -> usize {
    let flood = crate::raw::frame(crate::raw::TEXT, b"{\"type\":\"ping\"}").repeat(pings);
    raw.send(&flood).await.expect("a live hub");
    let mut answered = 0;
    loop {
        let message = raw.message().await.expect("a live hub");
        if message["code"] == "rate-limited" {
            return answered;
        }
        answered += usize::from(message["type"] == "pong");
    }
}

async fn a_peer_may_say_so_much_for_long() {
    let hub = hub_with(&[("RATE_LIMIT_PER_SEC", "2"), ("RATE_LIMIT_BURST", "4")]).await;
    let mut raw = Raw::peer(&hub, &fresh_id()).await;
    let began = Instant::now();
    assert!(answered_at_once(&mut raw, 10).await <= 4 + 1);
    // From here on, the hub answers one ping each half second.
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    while answered(&hub).await < 6 {
        tick.tick().await;
        raw.say(r#"{"type":"ping"}"#).await.expect("a live hub");
        assert!(began.elapsed() < LIMIT);
    }
    assert!(
        began.elapsed() >= Duration::from_millis(500),
        "{:?}",
        began.elapsed()
    );
}

async fn answered(hub: &HubProcess) -> u64 {
    count(hub, "hubmesh_messages_sent_total", "type=\"pong\"").await
}

async fn a_peer_may_say_so_much_at_once() {
    let hub = hub_with(&[("RATE_LIMIT_PER_SEC", "1"), ("RATE_LIMIT_BURST", "20")]).await;
    let mut raw = Raw::peer(&hub, &fresh_id()).await;
    let answered = answered_at_once(&mut raw, 40).await;
    assert!((20..=21).contains(&answered), "{answered}");
}

async fn a_long_message_counts_as_so_many() {
    let hub = hub_with(&[
        ("RATE_LIMIT_PER_SEC", "1"),
        ("RATE_LIMIT_BURST", "100"),
        ("RATE_LIMIT_MESSAGE_BYTES", "256"),
    ])
    .await;
    let mut raw = Raw::member(&hub, &fresh_id(), "pace").await;
    let long = format!(r#"{{"type":"ping","data":"{}"}}"#, "x".repeat(40 * 256));
    for _ in 0..3 {
        raw.say(&long).await.expect("a live hub");
    }
    assert_eq!(told(&mut raw).await, "rate-limited");
}

/// Checks that signals to a peer that does not read are refused, and that its connection is not closed for that.
async fn overflows(hub: &HubProcess) {
    let deaf = fresh_id();
    let mut victim = Raw::connect_narrow(hub).await.upgraded(&deaf).await;
    victim.announce("deaf").await;
    let mut peer = Raw::member(hub, &fresh_id(), "deaf").await;
    let offer = json!({"type": "offer", "targetPeerId": deaf, "data": "x".repeat(800)}).to_string();
    let refused = ("hubmesh_signals_failed_total", "reason=\"overload\"");
    counted(hub, refused, 1, async {
        let flood = crate::raw::frame(crate::raw::TEXT, offer.as_bytes()).repeat(100);
        // The kernel buffers some megabytes for the peer before the hub has to keep messages.
        for _ in 0..400 {
            peer.send(&flood).await.expect("a live hub");
            peer.say(r#"{"type":"ping"}"#).await.expect("a live hub");
            let answer = peer.message().await.expect("a live hub");
            if answer["type"] == "error" {
                return;
            }
        }
        panic!("32 MB wait for a peer that does not read");
    })
    .await;
    assert_eq!(count(hub, "hubmesh_outbox_overflows_total", "").await, 0);
}

async fn so_many_messages_may_wait_for_a_peer() {
    let few = [
        ("DISCOVERY_LIMIT", "1"),
        ("OUTBOX_MESSAGES", "257"),
        ("OUTBOX_BYTES", "1073741824"),
        ("RATE_LIMIT_PER_SEC", "0"),
    ];
    overflows(&hub_with(&few).await).await;
}

async fn so_many_bytes_may_wait_for_a_peer() {
    let little = [
        ("DISCOVERY_LIMIT", "1"),
        ("OUTBOX_MESSAGES", "1000000"),
        ("MAX_MESSAGE_BYTES", "1024"),
        ("OUTBOX_BYTES", "8192"),
        ("RATE_LIMIT_PER_SEC", "0"),
    ];
    overflows(&hub_with(&little).await).await;
}

/// Sends a signal to an id that no peer holds.
async fn signal(raw: &mut Raw, target: &str) {
    let offer = json!({"type": "offer", "targetPeerId": target, "data": 1});
    raw.say(&offer.to_string()).await.expect("a live hub");
}

/// The code of the next complaint.
async fn told(raw: &mut Raw) -> String {
    let error = raw.message_of("error").await;
    error["code"].as_str().expect("a code").to_owned()
}

async fn a_signal_waits_for_so_long() {
    let hub = hub_with(&[("SIGNAL_WAIT_MS", "300")]).await;
    let mut raw = Raw::member(&hub, &fresh_id(), "wait").await;
    let began = Instant::now();
    signal(&mut raw, &fresh_id()).await;
    assert_eq!(told(&mut raw).await, "no-such-peer");
    assert!(began.elapsed() >= Duration::from_millis(300));
}

async fn so_many_signals_of_one_sender_may_wait() {
    let hub = hub_with(&[("SIGNAL_WAIT_MS", "60000"), ("SIGNAL_WAIT_PER_SENDER", "2")]).await;
    let mut raw = Raw::member(&hub, &fresh_id(), "wait").await;
    for _ in 0..3 {
        signal(&mut raw, &fresh_id()).await;
    }
    assert_eq!(told(&mut raw).await, "overload");
}

async fn so_many_signals_for_one_target_may_wait() {
    let hub = hub_with(&[("SIGNAL_WAIT_MS", "60000"), ("SIGNAL_WAIT_PER_TARGET", "2")]).await;
    let target = fresh_id();
    let mut peers = Vec::new();
    for _ in 0..3 {
        let mut raw = Raw::member(&hub, &fresh_id(), "wait").await;
        signal(&mut raw, &target).await;
        raw.pong().await;
        peers.push(raw);
    }
    // The third peer's complaint arrived before its pong, and waiting for the pong skipped it. A fourth peer receives
    // the same complaint.
    let mut fourth = Raw::member(&hub, &fresh_id(), "wait").await;
    signal(&mut fourth, &target).await;
    assert_eq!(told(&mut fourth).await, "overload");
    assert_eq!(count(&hub, "hubmesh_signals_waiting", "").await, 2);
}

async fn so_many_signals_may_wait_in_all() {
    let hub = hub_with(&[("SIGNAL_WAIT_MS", "60000"), ("SIGNAL_WAIT_TOTAL", "2")]).await;
    let mut peers = Vec::new();
    for _ in 0..2 {
        let mut raw = Raw::member(&hub, &fresh_id(), "wait").await;
        signal(&mut raw, &fresh_id()).await;
        raw.pong().await;
        peers.push(raw);
    }
    let mut third = Raw::member(&hub, &fresh_id(), "wait").await;
    signal(&mut third, &fresh_id()).await;
    assert_eq!(told(&mut third).await, "overload");
}

async fn a_drain_takes_so_long() {
    let mut hub = hub_with(&[("DRAIN_MS", "500")]).await;
    let mut peers = Vec::new();
    for _ in 0..10 {
        peers.push(Raw::member(&hub, &fresh_id(), "drain").await);
    }
    let began = Instant::now();
    hub.terminate();
    for mut raw in peers {
        let (_, close) = closed_after(&mut raw).await;
        assert_eq!(close, Some((1012, "The hub is restarting".to_owned())));
    }
    assert!(hub.wait_exit().await.success());
    let took = began.elapsed();
    // The rest of the time is for the farewell to neighbours and the end of the process.
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// Lets another hub claim two thousand peers with about `bytes` bytes of data each. Gives how many peers are kept.
async fn kept(cap: (&str, &str), bytes: usize) -> u64 {
    let hub = hub_with(&[("HUB_TOKEN", TOKEN), cap]).await;
    let mut evil = EvilHub::link(&hub).await;
    evil.enter().await;
    let alarm = ("hubmesh_alarms_total", "alarm=\"claims-left-out\"");
    counted(&hub, alarm, 1, async {
        let data = format!("{{\"a\":\"{}\"}}", "x".repeat(bytes));
        assert!(evil.claim_peers(2_000, data.as_bytes()).await);
        assert!(evil.stands().await);
    })
    .await;
    hub.http_get("/stats").await.json()["peers"]
        .as_u64()
        .expect("a number")
}

async fn so_many_peers_of_another_hub_are_kept() {
    assert_eq!(kept(("MESH_CLAIMS_PER_HUB", "1000"), 0).await, 1_000);
}

async fn so_much_data_of_another_hubs_peers_is_kept() {
    let kept = kept(("MESH_DATA_PER_HUB", "65536"), 500).await;
    assert!((120..=131).contains(&kept), "{kept}");
}
