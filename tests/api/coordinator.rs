//! The rooms of coordinator clients over HTTP.

use http::StatusCode;
use serde_json::{Value, json};

use crate::get;
use crate::hub_process::{HubProcess, eventually};
use crate::json_client::JsonClient;

async fn in_room(hub: &HubProcess, peer: &str, room: &str) -> JsonClient {
    let mut client = JsonClient::at(hub, "/p2p").await;
    client.next_of("welcome").await;
    let said = json!({"type": "register", "peerId": peer, "metadata": {"name": peer}});
    assert_eq!(client.ask(said).await["type"], "registered");
    let said = json!({"type": "join-room", "peerId": peer, "roomId": room});
    assert_eq!(client.ask(said).await["type"], "room-joined");
    client
}

#[tokio::test]
async fn rooms_of_all_hubs_are_listed_with_their_peers() {
    let (first, second) = HubProcess::two().await;
    let _ada = in_room(&first, "ada", "movie night").await;
    let _bob = in_room(&second, "bob", "movie night").await;
    for hub in [&first, &second] {
        eventually("both are in it", async || {
            let told = get(hub, "/rooms", StatusCode::OK).await;
            told["rooms"]
                == json!([{"roomId": "movie night", "peerCount": 2, "peers": ["ada", "bob"]}])
        })
        .await;
        let told = get(hub, "/rooms/movie%20night/peers", StatusCode::OK).await;
        let peers = told["peers"].as_array().expect("a list");
        let shown: Vec<_> = peers
            .iter()
            .map(|peer| (&peer["peerId"], &peer["metadata"]))
            .collect();
        let (ada, bob) = (json!("ada"), json!("bob"));
        let (adas, bobs) = (json!({"name": "ada"}), json!({"name": "bob"}));
        assert_eq!(shown, [(&ada, &adas), (&bob, &bobs)]);
        assert!(peers.iter().all(|peer| peer["joinedAt"].is_u64()));
    }
    let told = get(&first, "/rooms/elsewhere/peers", StatusCode::OK).await;
    assert_eq!(told["peers"], json!([]), "as in the original");
    // Registered peers are in a network of their own, which a request cannot read as a room.
    let told = get(&first, "/rooms/%00registered/peers", StatusCode::OK).await;
    assert_eq!(told["peers"], json!([]));
    assert_eq!(told["next"], Value::Null);
}

#[tokio::test]
async fn a_websocket_at_the_same_path_is_of_octatecode_s_clients() {
    let hub = HubProcess::start().await;
    let mut client = crate::authenticated(&hub, "ada", "r").await;
    assert_eq!(
        client.ask(json!({"type": "heartbeat"})).await["type"],
        "heartbeat"
    );
    assert_eq!(
        get(&hub, "/rooms", StatusCode::OK).await["rooms"],
        json!([])
    );
}
