//! Clients whose network changed: they reconnect under their id at once, and no other client gets it.

use futures::future::join_all;
use serde_json::json;
use tokio::time::{Duration, Instant, timeout};

use crate::{
    client::{Client, Way, knows, pair},
    hub_process::{HubProcess, eventually},
    proxy::Proxy,
};

const CLIENTS: usize = 100;
/// The longest time that a client may be without its id.
const BACK_WITHIN: Duration = Duration::from_secs(3);

/// Connects to `url` until the client is open. Also returns how often the hub said that the id is taken.
async fn comes_back(url: &str, way: &Way<'_>) -> (Client, usize) {
    let mut refused = 0;
    loop {
        let mut client = Client::connect(url, way).await.expect("a socket");
        match client.next().await["type"].as_str() {
            Some("OPEN") => return (client, refused),
            Some("ID-TAKEN") => refused += 1,
            other => panic!("{other:?}"),
        }
    }
}

/// A hundred clients connect through a wire, which `part` then breaks. All reconnect at another hub, each against an
/// impostor.
async fn all_come_back(hubs: &[HubProcess; 2], part: impl Fn(&Proxy)) {
    let wire = Proxy::to(hubs[0].addr).await;
    let ids: Vec<String> = (0..CLIENTS)
        .map(|number| format!("peer {number}"))
        .collect();
    let mut old = Vec::new();
    for id in &ids {
        let connected = Client::connect(&wire.ws_url(), &Way::new(id, id)).await;
        let mut client = connected.expect("a socket");
        assert_eq!(client.next().await["type"], "OPEN");
        old.push(client);
    }
    knows(&hubs[1], CLIENTS).await;
    part(&wire);

    let url = hubs[1].ws_url();
    let impostors = join_all(ids.iter().map(|id| impostor(&url, id)));
    let back = join_all(ids.iter().map(|id| {
        let url = &url;
        async move {
            let began = Instant::now();
            let (client, refused) = comes_back(url, &Way::new(id, id)).await;
            (client, refused, began.elapsed())
        }
    }));
    let (impostors, mut back) = tokio::join!(impostors, back);
    assert_eq!(
        impostors.iter().filter(|opened| **opened).count(),
        0,
        "impostors got in"
    );
    for (client, refused, took) in &back {
        assert_eq!(*refused, 0, "{} was told that its id is taken", client.id);
        assert!(*took < BACK_WITHIN, "{} took {took:?}", client.id);
    }
    let mut witness = Client::open(&hubs[0], "witness", "w").await;
    for (client, ..) in &mut back {
        witness
            .send("OFFER", &client.id.clone(), json!(client.id))
            .await;
        assert_eq!(client.next().await["payload"], client.id.as_str());
    }
}

/// Waits until a hub serves this number of clients.
async fn serves(hub: &HubProcess, clients: usize) {
    eventually("the hub has seen who is there", async || {
        hub.http_get("/metrics").await.json()["connections"]["active"] == clients
    })
    .await;
}

/// Whether a client with another token got the id.
async fn impostor(url: &str, id: &str) -> bool {
    let connected = Client::connect(url, &Way::new(id, "a guess")).await;
    let mut impostor = connected.expect("a socket");
    impostor.next().await["type"] == "OPEN"
}

#[tokio::test]
async fn a_hundred_clients_whose_sockets_were_reset_are_back_on_another_hub() {
    let hubs = pair(|hub| hub).await;
    all_come_back(&hubs, Proxy::cut).await;
}

#[tokio::test]
async fn a_hundred_clients_whose_packets_are_swallowed_are_back_on_another_hub() {
    let hubs = pair(|hub| hub).await;
    all_come_back(&hubs, Proxy::stall).await;
}

#[tokio::test]
async fn a_stranger_gets_the_id_of_a_dead_connection_after_two_seconds() {
    let hubs = pair(|hub| hub).await;
    for (round, part) in [Proxy::cut, Proxy::stall].into_iter().enumerate() {
        let wire = Proxy::to(hubs[0].addr).await;
        let id = format!("ada {round}");
        let connected = Client::connect(&wire.ws_url(), &Way::new(&id, "old")).await;
        let mut old = connected.expect("a socket");
        assert_eq!(old.next().await["type"], "OPEN");
        let mut bob = Client::open(&hubs[0], &format!("bob {round}"), "b").await;
        // The offer that arrives shows that the other hub knows the peers of the first hub.
        let mut cy = Client::open(&hubs[1], &format!("cy {round}"), "c").await;
        cy.send("OFFER", &id, json!(1)).await;
        assert_eq!(old.next().await["payload"], 1);
        part(&wire);
        let opened = timeout(Duration::from_secs(10), Client::open(&hubs[1], &id, "new")).await;
        let mut new = opened.expect("a dead holder does not keep an id");
        bob.send("OFFER", &id, json!("for the new one")).await;
        assert_eq!(new.next().await["payload"], "for the new one");
    }
}

#[tokio::test]
async fn who_was_cut_off_leaves_its_place_to_itself_and_what_it_said_to_its_target() {
    let hubs = pair(|hub| hub.env("PEERJS_CONCURRENT_LIMIT", "2")).await;
    let wire = Proxy::to(hubs[0].addr).await;
    let connected = Client::connect(&wire.ws_url(), &Way::new("ada", "a")).await;
    let mut ada = connected.expect("a socket");
    assert_eq!(ada.next().await["type"], "OPEN");
    let mut bob = Client::open(&hubs[0], "bob", "b").await;
    ada.send("OFFER", "cy", json!("said before")).await;
    ada.send("OFFER", "bob", json!("fence")).await;
    assert_eq!(bob.next().await["payload"], "fence");
    wire.cut();
    serves(&hubs[0], 1).await;
    // The hub has two places, and keeps the id of the client that was cut off.
    let _ada = Client::open(&hubs[0], "ada", "a").await;
    let mut cy = Client::open(&hubs[1], "cy", "c").await;
    let offer = cy.next().await;
    assert_eq!(
        (&offer["src"], &offer["payload"]),
        (&json!("ada"), &json!("said before"))
    );
}

#[tokio::test]
async fn an_offer_to_somebody_who_is_just_reconnecting_waits_for_it() {
    let hubs = pair(|hub| hub).await;
    let mut callers = [
        Client::open(&hubs[0], "here", "h").await,
        Client::open(&hubs[1], "there", "t").await,
    ];
    let wire = Proxy::to(hubs[0].addr).await;
    let connected = Client::connect(&wire.ws_url(), &Way::new("ada", "a")).await;
    let mut ada = connected.expect("a socket");
    assert_eq!(ada.next().await["type"], "OPEN");
    for caller in &mut callers {
        caller.send("OFFER", "ada", json!("before")).await;
        assert_eq!(ada.next().await["payload"], "before");
    }
    wire.cut();
    // An offer that arrives before the hub has noticed the cut would count as delivered.
    serves(&hubs[0], 1).await;
    for caller in &mut callers {
        caller.send("OFFER", "ada", json!(caller.id)).await;
    }
    let mut ada = Client::open(&hubs[1], "ada", "a").await;
    let mut got = [ada.next().await, ada.next().await].map(|told| told["payload"].clone());
    got.sort_by_key(|payload| payload.as_str().map(str::to_owned));
    assert_eq!(got, [json!("here"), json!("there")]);
}
