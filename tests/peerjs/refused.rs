//! Clients that the hub refuses, and the hub's log lines about them.

use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::client::{Client, Way};
use crate::hub_process::{HubProcess, eventually};

async fn hub(settings: &[(&str, &str)]) -> HubProcess {
    let debug = HubProcess::builder().env("RUST_LOG", "hubmesh=debug");
    let set = settings.iter();
    set.fold(debug, |hub, (name, value)| hub.env(name, *value))
        .start()
        .await
}

/// The log lines of this level that contain this word.
fn logged(hub: &HubProcess, level: &str, word: &str) -> Vec<Value> {
    let lines = hub.log_lines();
    let lines = lines
        .iter()
        .filter(|line| line.contains(word))
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["level"] == level).collect()
}

/// Checks that the client is refused, by status or by a message, and that one more debug line has the reason.
async fn is_told(hub: &HubProcess, way: &Way<'_>, why: &str) {
    let before = logged(hub, "DEBUG", why).len();
    if let Ok(mut socket) = Client::connect(&hub.ws_url(), way).await {
        let (told, _) = socket.is_closed().await;
        assert!(told.iter().all(|message| message["type"] != "OPEN"));
    }
    is_logged(hub, why, before + 1).await;
}

async fn is_logged(hub: &HubProcess, why: &str, times: usize) {
    let what = format!("{why:?} is logged {times} times");
    eventually(&what, async || logged(hub, "DEBUG", why).len() >= times).await;
}

#[tokio::test]
async fn what_a_client_asks_for_in_vain_is_in_the_debug_log() {
    let hub = hub(&[("PEERJS_CONCURRENT_LIMIT", "2")]).await;
    let ada = Way::new("ada", "a");
    let _ada = Client::open(&hub, "ada", "a").await;
    is_told(&hub, &Way::new("", "a"), "No id, token, or key").await;
    let other_key = Way {
        key: "other",
        ..ada.clone()
    };
    is_told(&hub, &other_key, "Invalid key").await;
    let long = "x".repeat(65);
    is_told(&hub, &Way::new(&long, "a"), "An id has 1 to 64").await;
    is_told(&hub, &Way::new("ada", "another"), "id-taken").await;
    let _bob = Client::open(&hub, "bob", "b").await;
    is_told(&hub, &Way::new("eve", "e"), "concurrent user limit").await;
    assert_eq!(hub.http_get("/peerjs/peers").await.status, 401);
    is_logged(&hub, "PEERJS_ALLOW_DISCOVERY", 1).await;
}

#[tokio::test]
async fn who_may_not_come_in_is_in_the_debug_log() {
    let closed = hub(&[("AUTH_TOKEN", "sesame")]).await;
    is_told(&closed, &Way::new("ada", "a"), "was refused").await;

    let one_each = hub(&[("MAX_CONNECTIONS_PER_IP", "1")]).await;
    let _ada = Client::open(&one_each, "ada", "a").await;
    is_told(&one_each, &Way::new("bob", "b"), "from your address").await;

    let slow = hub(&[("CONNECTS_PER_MINUTE_PER_IP", "1")]).await;
    let _ada = Client::open(&slow, "ada", "a").await;
    is_told(&slow, &Way::new("bob", "b"), "within a minute").await;

    let rooms = hub(&[("PEERJS_ROOMS", "true")]).await;
    let mut members = Vec::new();
    for id in ["p1", "p2", "p3", "p4"] {
        members.push(Client::open(&rooms, id, "attic").await);
    }
    is_told(&rooms, &Way::new("bob", "attic"), "room is full").await;
    let long = "x".repeat(128);
    is_told(&rooms, &Way::new("bob", &long), "names no room").await;

    let pages = hub(&[("CORS_ORIGIN", "https://here.example")]).await;
    let target = format!("{}/peerjs?key=peerjs&id=ada&token=a", pages.ws_url());
    let mut request = target.into_client_request().expect("an address");
    let elsewhere = "https://elsewhere.example".parse().expect("a header");
    request.headers_mut().insert("origin", elsewhere);
    connect_async(request).await.expect_err("refused");
    is_logged(&pages, "pages of this origin", 1).await;
}

/// Checks that one warning names the setting and its value, however many clients were refused.
async fn is_warned_of_once(hub: &HubProcess, setting: &str, most: usize) {
    let what = format!("{setting} is named");
    eventually(&what, async || !logged(hub, "WARN", "is full").is_empty()).await;
    let told = logged(hub, "WARN", "is full");
    assert_eq!(told.len(), 1, "{told:#?}");
    let fields = &told[0]["fields"];
    assert_eq!(
        (&fields["setting"], &fields["most"]),
        (&setting.into(), &most.into())
    );
}

#[tokio::test]
async fn a_hub_that_is_full_names_the_setting_once() {
    for setting in ["MAX_CONNECTIONS", "PEERJS_CONCURRENT_LIMIT"] {
        let hub = hub(&[(setting, "1")]).await;
        let _ada = Client::open(&hub, "ada", "a").await;
        assert!(logged(&hub, "WARN", "is full").is_empty());
        for id in ["bob", "eve", "joe"] {
            is_told(&hub, &Way::new(id, "x"), "concurrent user limit").await;
        }
        is_warned_of_once(&hub, setting, 1).await;
    }
}

#[tokio::test]
async fn a_hub_with_too_many_connections_that_are_no_peers_names_the_setting_once() {
    let hub = hub(&[("MAX_HTTP_CONNECTIONS", "1")]).await;
    let mut open = Vec::new();
    for _ in 0..5 {
        open.push(TcpStream::connect(hub.addr).await.expect("connected"));
    }
    is_logged(&hub, "MAX_HTTP_CONNECTIONS are open", 3).await;
    is_warned_of_once(&hub, "MAX_HTTP_CONNECTIONS", 1).await;
}
