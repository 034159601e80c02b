//! Tokens that OctateCode's clients put into their message `auth`, if they connected without a token.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::holder::{closed, code, hub_with};
use crate::hub_process::{HubBuilder, HubProcess, eventually};
use crate::json_client::JsonClient;
use crate::jwt::{SECRET, token};
use crate::minting::{ADMIN, ban};

const SHARED: &str = "what-all-peers-hold";

fn guarded() -> HubBuilder {
    hub_with(SECRET).env("AUTH_TOKEN", SHARED)
}

fn auth(token: impl Into<Value>) -> Value {
    let token: Value = token.into();
    json!({"type": "auth", "userId": "ada", "roomId": "r", "data": {"token": token}})
}

#[tokio::test]
async fn a_token_in_the_message_auth_is_as_good_as_one_of_the_connection() {
    let hub = guarded().start().await;
    let bound = token(json!({"peerId": "ada", "networks": ["r"]}));
    for (token, is_bound) in [(bound, true), (SHARED.to_owned(), false)] {
        let mut ada = JsonClient::at(&hub, "/rooms").await;
        for early in [
            json!({"type": "create-room", "roomId": "r"}),
            json!({"type": "heartbeat"}),
        ] {
            assert_eq!(code(&ada.ask(early).await), "not-authenticated");
        }
        for none in [Value::Null, json!(7)] {
            assert_eq!(code(&ada.ask(auth(none)).await), "unauthorized");
        }
        let told = ada.ask(auth(token)).await;
        assert_eq!(told["data"]["status"], "authenticated", "{told}");
        let told = ada
            .ask(json!({"type": "create-room", "roomId": "other"}))
            .await;
        match is_bound {
            true => assert_eq!(code(&told), "other-room"),
            false => assert_eq!(told["type"], "room-created"),
        }
        // The second client finds the room of the first.
        let told = ada.ask(json!({"type": "create-room"})).await;
        let made = told["type"] == "room-created" || code(&told) == "room-exists";
        assert!(made, "{told}");
    }
}

#[tokio::test]
async fn a_ban_of_its_subject_ends_a_connection_that_has_shown_its_token_late() {
    let hub = guarded().env("ADMIN_TOKEN", ADMIN).start().await;
    let mut ada = JsonClient::at(&hub, "/rooms").await;
    let told = ada.ask(auth(token(json!({"sub": "ada's"})))).await;
    assert_eq!(told["data"]["status"], "authenticated", "{told}");
    ban(&hub, "ada's").await;
    let (_, close) = closed(ada).await;
    assert_eq!(close, 1008);
    let mut again = JsonClient::at(&hub, "/rooms").await;
    again.send(auth(token(json!({"sub": "ada's"})))).await;
    assert_eq!(closed(again).await.1, 1008);
}

#[tokio::test]
async fn a_wrong_token_in_the_message_auth_ends_the_connection() {
    let hub = guarded().start().await;
    for (wrong, expected, words) in [
        ("a guess".to_owned(), "unauthorized", "token is wrong"),
        (token(json!({"exp": 1})), "unauthorized", "expired"),
        (token(json!({"dialect": "yjs"})), "other-dialect", "dialect"),
        (
            token(json!({"peerId": "bob"})),
            "other-peer",
            "another peer",
        ),
    ] {
        let mut ada = JsonClient::at(&hub, "/rooms").await;
        ada.send(auth(wrong)).await;
        let (told, close) = closed(ada).await;
        assert_eq!((code(&told), close), (expected, 1008), "{told}");
        assert!(
            told["data"]["error"]
                .as_str()
                .is_some_and(|text| text.contains(words)),
            "{told}"
        );
    }
    // A wrong token of the connection is refused at once, even if a right one could follow. The other paths refuse a
    // client without a token.
    for path in ["/rooms?token=wrong", "/p2p", "/yjs", "/"] {
        let refused = JsonClient::try_open(&format!("ws://{}{path}", hub.addr)).await;
        assert!(refused.is_err(), "{path}");
    }
}

/// A client without a token, if the hub lets it in for now.
async fn comes_in(hub: &HubProcess) -> Option<JsonClient> {
    let url = format!("ws://{}/rooms", hub.addr);
    JsonClient::try_open(&url).await.ok()
}

#[tokio::test]
async fn few_may_be_there_without_a_token_and_not_for_long() {
    let hub = guarded()
        .env("MAX_UNPROVEN_CLIENTS", "1")
        .env("ANNOUNCE_TIMEOUT_MS", "1000")
        .start()
        .await;
    let began = Instant::now();
    let mut ada = comes_in(&hub).await.expect("there is a place");
    assert!(comes_in(&hub).await.is_none(), "it is taken");
    ada.ask(auth(SHARED)).await;
    // ada's place is free again: after it has shown its token, ada counts as any other client.
    let mute = comes_in(&hub).await.expect("there is a place");
    let (told, close) = closed(mute).await;
    assert_eq!((code(&told), close), ("announce-timeout", 1008), "{told}");
    assert!(began.elapsed() >= Duration::from_millis(900));
    let mut other = None;
    eventually("its place is free", async || {
        other = comes_in(&hub).await;
        other.is_some()
    })
    .await;
    assert_eq!(
        ada.ask(json!({"type": "heartbeat"})).await["type"],
        "heartbeat"
    );
    let none = guarded().env("MAX_UNPROVEN_CLIENTS", "0").start().await;
    assert!(comes_in(&none).await.is_none());
    let text = [("accept", "text/plain")];
    let page = none.http(http::Method::GET, "/metrics", &text).await.body;
    assert!(
        page.contains(r#"hubmesh_refusals_total{reason="unauthorized"} 1"#),
        "{page}"
    );
}
