//! Realms across hubs: which client may have an id, and whether messages arrive, wait or expire.

use http::Method;
use serde_json::json;
use tokio::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::{
    client::{Client, Way, knows, pair},
    hub_process::{HubBuilder, HubProcess, eventually},
};

fn taken() -> serde_json::Value {
    json!({"type": "ID-TAKEN", "payload": {"msg": "ID is taken"}})
}

#[tokio::test]
async fn offers_answers_and_candidates_cross_hubs_as_they_were_sent() {
    let hubs = pair(|hub| hub).await;
    let mut ada = Client::open(&hubs[0], "ada", "a").await;
    let mut bob = Client::open(&hubs[1], "bob", "b").await;
    knows(&hubs[0], 2).await;
    let payload = r#"{"sdp": {"n":1e400,"n":2},"é":"\u0001\u00e9 "}"#;
    for kind in ["OFFER", "CANDIDATE", "LEAVE"] {
        let sent = format!(r#"{{"type":"{kind}","payload":{payload},"dst":"bob","src":"eve"}}"#);
        ada.say_text(&sent).await;
        let expected =
            format!(r#"{{"type":"{kind}","src":"ada","dst":"bob","payload":{payload}}}"#);
        assert_eq!(bob.next_text().await, expected);
    }
    bob.say(json!({"type": "ANSWER", "dst": "ada", "payload": 1, "more": [2]}))
        .await;
    let expected = json!({"type": "ANSWER", "src": "bob", "dst": "ada", "payload": 1, "more": [2]});
    assert_eq!(ada.next().await, expected);
    ada.say(json!({"type": "HEARTBEAT"})).await;
    ada.hears_nothing_before(&mut bob).await;
}

#[tokio::test]
async fn what_javascript_writes_crosses_hubs_and_ends_no_connection() {
    let hubs = pair(|hub| hub.env("PEERJS_EXPIRE_TIMEOUT_MS", "300")).await;
    let mut ada = Client::open(&hubs[0], "ada", "a").await;
    // A browser writes `bob\ud83d` into an address in this form.
    let mut bob = Client::open(&hubs[1], "bob\u{fffd}", "b").await;
    knows(&hubs[0], 2).await;
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for payload in [r#"{"\ud83d":"\udca5"}"#, &deep] {
        let sent = format!(r#"{{"type":"OFFER","payload":{payload},"dst":"bob\ud83d"}}"#);
        ada.say_text(&sent).await;
        let arrived = bob.next_text().await;
        assert!(arrived.ends_with(&format!(r#","payload":{payload}}}"#)));
    }
    for odd in [
        r#"{"type":"OFFER\ud83d","dst":"x"}"#,
        r#"{"type":7,"dst":"x"}"#,
        r#"{"type":["OFFER"],"dst":"x"}"#,
        r#"{"type":"OFFER","type":null,"dst":"x"}"#,
        r#"{"dst":"x"}"#,
        "{}",
        "[]",
        "null",
        "7",
        "OFFER{",
        "",
        "\u{feff}{\"type\":\"HEARTBEAT\"}",
    ] {
        ada.say_text(odd).await;
    }
    for depth in [1_001, 5_000, 15_000] {
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let sent = format!(r#"{{"type":"OFFER","payload":{deep},"dst":"b{depth}"}}"#);
        ada.say_text(&sent).await;
        let expire = json!({"type": "EXPIRE", "src": format!("b{depth}"), "dst": "ada"});
        assert_eq!(ada.next().await, expire);
    }
    ada.say_text(r#"{"type":"OFFER","payload":1,"dst":"bo\ud83d"}"#)
        .await;
    let expire = json!({"type": "EXPIRE", "src": "bo\u{fffd}", "dst": "ada"});
    assert_eq!(ada.next().await, expire);
    ada.hears_nothing_before(&mut bob).await;
}

#[tokio::test]
async fn an_id_belongs_to_who_has_its_token_on_whichever_hub() {
    let hubs = pair(|hub| hub).await;
    let mut old = Client::open(&hubs[0], "ada", "secret").await;
    knows(&hubs[1], 1).await;
    for hub in &hubs {
        let stranger = Way::new("ada", "another");
        let mut stranger = Client::connect(&hub.ws_url(), &stranger)
            .await
            .expect("a socket");
        assert_eq!(
            stranger.is_closed().await,
            (vec![taken()], Some(CloseCode::Policy))
        );
    }
    let mut bob = Client::open(&hubs[0], "bob", "b").await;
    let mut new = Client::open(&hubs[1], "ada", "secret").await;
    assert_eq!(
        old.is_closed().await,
        (vec![taken()], Some(CloseCode::Policy))
    );
    bob.send("OFFER", "ada", json!("for the new one")).await;
    assert_eq!(new.next().await["payload"], "for the new one");
    let newest = Client::open(&hubs[1], "ada", "secret").await;
    assert_eq!(new.is_closed().await.0, [taken()]);
    newest.close().await;
    // A client that closes its connection in order frees its id at once, for any other client.
    let began = Instant::now();
    Client::open(&hubs[0], "ada", "another").await;
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn of_two_who_come_at_once_on_two_hubs_one_keeps_the_id() {
    let hubs = pair(|hub| hub).await;
    for round in 0..10 {
        let id = format!("wanted {round}");
        let ways = ["a", "b"].map(|token| Way::new(&id, token));
        let urls = [hubs[0].ws_url(), hubs[1].ws_url()];
        let (first, second) = tokio::join!(
            Client::connect(&urls[0], &ways[0]),
            Client::connect(&urls[1], &ways[1]),
        );
        let (mut first, mut second) = (first.expect("a socket"), second.expect("a socket"));
        // The client that lost may have been open for a moment.
        let loser = tokio::select! {
            told = first.is_closed() => told,
            told = second.is_closed() => told,
        };
        assert_eq!(loser.0.last(), Some(&taken()), "round {round}");
        let mut witness = Client::open(&hubs[0], &format!("witness {round}"), "w").await;
        witness.send("OFFER", &id, json!(round)).await;
        let got = tokio::select! {
            got = open_signal(&mut first) => got,
            got = open_signal(&mut second) => got,
        };
        assert_eq!(got, json!(round));
    }
}

/// The payload of the client's first signal. This wait never ends if the connection ends first.
async fn open_signal(client: &mut Client) -> serde_json::Value {
    loop {
        match client.next_unless_closed().await {
            Some(told) if told["type"] == "OPEN" => {}
            Some(told) => return told["payload"].clone(),
            None => std::future::pending().await,
        }
    }
}

#[tokio::test]
async fn what_is_for_somebody_who_comes_later_elsewhere_waits_in_order() {
    let hubs = pair(|hub| hub).await;
    let mut ada = Client::open(&hubs[0], "ada", "a").await;
    ada.send("OFFER", "bob", json!(0)).await;
    for number in 1..=20 {
        ada.send("CANDIDATE", "bob", json!(number)).await;
    }
    ada.send("LEAVE", "bob", json!("never told")).await;
    // All 21 messages wait at the sender's hub. Tests in virtual time and in the browser show that they wait for
    // seconds.
    eventually("what may wait does", async || {
        let accept = [("accept", "text/plain")];
        let metrics = hubs[0].http(Method::GET, "/metrics", &accept).await.body;
        metrics
            .lines()
            .any(|line| line == "hubmesh_signals_waiting 21")
    })
    .await;
    let mut bob = Client::open(&hubs[1], "bob", "b").await;
    for number in 0..=20 {
        let got = bob.next().await;
        assert_eq!(got["payload"], number, "{got}");
    }
    ada.hears_nothing_before(&mut bob).await;
    bob.hears_nothing_before(&mut ada).await;
}

#[tokio::test]
async fn what_nobody_came_for_expires_once() {
    let hub = HubProcess::builder()
        .env("PEERJS_EXPIRE_TIMEOUT_MS", "300")
        .start()
        .await;
    let mut ada = Client::open(&hub, "ada", "a").await;
    for target in ["bob", "cy"] {
        ada.send("OFFER", target, json!(1)).await;
        for number in 0..10 {
            ada.send("CANDIDATE", target, json!(number)).await;
        }
    }
    let mut expired = [ada.next().await, ada.next().await];
    expired.sort_by_key(|told| told["src"].as_str().map(str::to_owned));
    let expire = |src| json!({"type": "EXPIRE", "src": src, "dst": "ada"});
    assert_eq!(expired, [expire("bob"), expire("cy")]);
    let mut bob = Client::open(&hub, "bob", "b").await;
    bob.hears_nothing_before(&mut ada).await;
    ada.hears_nothing_before(&mut bob).await;
}

#[tokio::test]
async fn what_may_not_wait_expires_at_once() {
    let hub = HubProcess::builder()
        .env("SIGNAL_WAIT_PER_SENDER", "2")
        .env("PEERJS_EXPIRE_TIMEOUT_MS", "60000")
        .start()
        .await;
    let mut ada = Client::open(&hub, "ada", "a").await;
    for number in 0..3 {
        ada.send("CANDIDATE", "bob", json!(number)).await;
    }
    assert_eq!(ada.next().await["type"], "EXPIRE");
    // One EXPIRE is for all three candidates. The two that could wait are dropped too: none of the three reaches the
    // target.
    let mut bob = Client::open(&hub, "bob", "b").await;
    bob.hears_nothing_before(&mut ada).await;
    ada.hears_nothing_before(&mut bob).await;
}

#[tokio::test]
async fn realms_are_apart_and_an_unknown_one_is_refused() {
    let hubs = pair(|hub| hub.env("PEERJS_KEY", "red,blue")).await;
    let way = |id, key| Way {
        key,
        ..Way::new(id, "t")
    };
    let mut red = Client::open_by(&hubs[0], &way("ada", "red")).await;
    let mut blue = Client::open_by(&hubs[1], &way("ada", "blue")).await;
    let mut bob = Client::open_by(&hubs[1], &way("bob", "red")).await;
    bob.send("OFFER", "ada", json!("red")).await;
    assert_eq!(red.next().await["payload"], "red");
    let mut cy = Client::open_by(&hubs[0], &way("cy", "blue")).await;
    blue.hears_nothing_before(&mut cy).await;
    let unknown = Client::connect(&hubs[0].ws_url(), &way("dee", "green")).await;
    let (told, _) = unknown.expect("a socket").is_closed().await;
    assert_eq!(told[0]["payload"]["msg"], "Invalid key provided");
}

#[tokio::test]
async fn a_bearer_token_comes_as_the_token_or_as_a_header() {
    let hub = HubProcess::builder()
        .env("AUTH_TOKEN", "sesame")
        .start()
        .await;
    let wrong = Client::connect(&hub.ws_url(), &Way::new("ada", "guess")).await;
    assert_eq!(wrong.err(), Some(401));
    Client::open(&hub, "bob", "sesame").await.close().await;
    let bearer = Some("sesame");
    let with_header = |token| Way {
        bearer,
        ..Way::new("ada", token)
    };
    let mut ada = Client::open_by(&hub, &with_header("own")).await;
    // If the header has the bearer token, the token in the address is the client's own secret.
    let other = Client::connect(&hub.ws_url(), &with_header("other")).await;
    assert_eq!(other.expect("a socket").is_closed().await.0, [taken()]);
    Client::open_by(&hub, &with_header("own")).await;
    assert_eq!(ada.is_closed().await.0, [taken()]);
}

#[tokio::test]
async fn whoever_may_not_come_in_is_told_in_the_words_of_the_client() {
    let hub = HubProcess::builder()
        .env("PEERJS_CONCURRENT_LIMIT", "1")
        .start()
        .await;
    let told = async |way: Way<'static>| {
        let client = Client::connect(&hub.ws_url(), &way).await;
        let (told, code) = client.expect("a socket").is_closed().await;
        assert_eq!((told.len(), code), (1, Some(CloseCode::Policy)));
        assert_eq!(told[0]["type"], "ERROR");
        told[0]["payload"]["msg"].clone()
    };
    let incomplete = "No id, token, or key supplied to websocket server";
    assert_eq!(told(Way::new("", "t")).await, incomplete);
    assert_eq!(told(Way::new("ada", "")).await, incomplete);
    let long = "An id has 1 to 64 characters, and at most 128 bytes";
    assert_eq!(
        told(Way::new(Box::leak("x".repeat(65).into_boxed_str()), "t")).await,
        long
    );
    let _ada = Client::open(&hub, "ada", "a").await;
    let full = "Server has reached its concurrent user limit";
    assert_eq!(told(Way::new("bob", "b")).await, full);
}

#[tokio::test]
async fn a_message_over_the_limit_expires_for_its_target_and_the_client_goes_on() {
    let hub = HubProcess::start().await;
    let mut ada = Client::open(&hub, "ada", "a").await;
    let mut bob = Client::open(&hub, "bob", "b").await;
    // The client puts the target last. The second message has it before the payload.
    let sdp = "x".repeat(300_000);
    for message in [
        format!(r#"{{"type":"OFFER","payload":{{"sdp":"{sdp}","dst":"eve"}},"dst":"bob"}}"#),
        format!(r#"{{"type":"OFFER","dst":"bob","payload":{{"sdp":"{sdp}"}}}}"#),
        // No client writes the next three, but a client may write them.
        format!("\u{feff}{{\"dst\":\"bob\",\"payload\":\"{sdp}\",\"type\":\"OFFER\"}}"),
        format!(r#"{{"payload":"{sdp}","\u0064st":"bob","type":"OFFER","more":{{"dst":7}}}}"#),
        format!(r#"{{"payload":"{sdp}","type":"OFFER","dst":"bob","more":[]}}"#),
    ] {
        ada.say_text(&message).await;
        let expire = json!({"type": "EXPIRE", "src": "bob", "dst": "ada"});
        assert_eq!(ada.next().await, expire);
    }
    // These two get no EXPIRE: a HEARTBEAT is not a signal, and the OFFER names no target.
    ada.say_text(&format!(
        r#"{{"type":"HEARTBEAT","payload":"{sdp}","dst":"bob"}}"#
    ))
    .await;
    ada.say_text(&format!(
        r#"{{"type":"OFFER","dst2":"bob","payload":"{sdp}"}}"#
    ))
    .await;
    bob.hears_nothing_before(&mut ada).await;
    ada.hears_nothing_before(&mut bob).await;
}

#[tokio::test]
async fn a_description_of_a_quarter_of_a_megabyte_reaches_a_peer_on_either_hub() {
    let hubs = pair(|hub| hub).await;
    let mut ada = Client::open(&hubs[0], "ada", "a").await;
    let mut here = Client::open(&hubs[0], "here", "h").await;
    let mut there = Client::open(&hubs[1], "there", "t").await;
    knows(&hubs[0], 3).await;
    let sdp = "x".repeat(262_144 - 100);
    for target in [&mut here, &mut there] {
        ada.send("OFFER", &target.id.clone(), json!({"sdp": sdp}))
            .await;
        assert_eq!(target.next().await["payload"]["sdp"], sdp.as_str());
    }
    // A signal of this length also waits for a target that connects later.
    ada.send("OFFER", "late", json!({"sdp": sdp})).await;
    let mut late = Client::open(&hubs[1], "late", "l").await;
    assert_eq!(late.next().await["payload"]["sdp"], sdp.as_str());
}

/// The greatest length of messages, and the limits that have to be raised with it.
fn longest(hub: HubBuilder) -> HubBuilder {
    hub.env("MAX_MESSAGE_BYTES", "16777216")
        .env("OUTBOX_BYTES", "68644864")
        .env("RATE_LIMIT_MESSAGE_BYTES", "1048576")
}

#[tokio::test]
async fn a_description_of_many_megabytes_reaches_peers_of_its_hub_at_once_and_later() {
    let hub = longest(HubProcess::builder()).start().await;
    let mut ada = Client::open(&hub, "ada", "a").await;
    let mut here = Client::open(&hub, "here", "h").await;
    let sdp = "x".repeat(12 * 1024 * 1024);
    ada.send("OFFER", "here", json!({"sdp": sdp})).await;
    assert!(here.next().await["payload"]["sdp"] == sdp.as_str());
    // The longest possible signal waits for a target that connects later.
    let sdp = "x".repeat(16 * 1024 * 1024 - 100);
    ada.send("OFFER", "late", json!({"sdp": sdp})).await;
    let mut late = Client::open(&hub, "late", "l").await;
    assert!(late.next().await["payload"]["sdp"] == sdp.as_str());
    ada.hears_nothing_before(&mut here).await;
}

#[tokio::test]
async fn a_description_too_long_for_another_hub_expires_and_the_link_stays() {
    let hubs = pair(longest).await;
    let mut ada = Client::open(&hubs[0], "ada", "a").await;
    let mut bob = Client::open(&hubs[1], "bob", "b").await;
    knows(&hubs[0], 2).await;
    // This length is within the limit of messages on their way, but longer than the other hub reads in one message.
    let long = "x".repeat(3 * 1024 * 1024);
    ada.send("OFFER", "bob", json!({"sdp": long})).await;
    let expire = json!({"type": "EXPIRE", "src": "bob", "dst": "ada"});
    assert_eq!(ada.next().await, expire);
    // If a signal waits, its sender learns that it is too long when the target appears at another hub.
    let long = "x".repeat(12 * 1024 * 1024);
    ada.send("OFFER", "late", json!({"sdp": long})).await;
    let mut late = Client::open(&hubs[1], "late", "l").await;
    let expire = json!({"type": "EXPIRE", "src": "late", "dst": "ada"});
    assert_eq!(ada.next().await, expire);
    let fits = "x".repeat(1024 * 1024 - 100);
    ada.send("OFFER", "bob", json!({"sdp": fits})).await;
    assert!(bob.next().await["payload"]["sdp"] == fits.as_str());
    late.hears_nothing_before(&mut ada).await;
    for hub in &hubs {
        let text = [("accept", "text/plain")];
        let metrics = hub.http(Method::GET, "/metrics", &text).await.body;
        assert!(metrics.contains("hubmesh_mesh_links"), "{metrics}");
        let down = metrics.contains("hubmesh_mesh_links_down_total{");
        assert!(!down, "{metrics}");
    }
}
