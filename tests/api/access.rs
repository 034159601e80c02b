//! The rights that each request needs.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::hub_process::{HubProcess, eventually, http, send};
use crate::jwt::{SECRET, token};
use crate::{get, post, post_as};

const ADMIN: &str = "an-operator-s-token";
const CLEANUP: &str = "/api/maintenance/cleanup";

/// The address at which the hub serves operators, from its log.
async fn admin_addr(hub: &HubProcess) -> SocketAddr {
    let mut found = None;
    eventually("the second door is named", async || {
        let named = hub.log_lines().into_iter().find_map(|line| {
            let line: Value = serde_json::from_str(&line).ok()?;
            let is_it = line["message"] == "the pages for operators are served";
            is_it.then(|| line["fields"]["addrs"].as_str()?.parse().ok())?
        });
        found = named;
        found.is_some()
    })
    .await;
    found.expect("it was found")
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[tokio::test]
async fn without_a_token_only_this_machine_may_look_after_the_hub_and_nobody_speaks_for_it() {
    let hub = HubProcess::start().await;
    let asked = |headers: &'static [(&str, &str)]| hub.http(Method::POST, CLEANUP, headers);
    assert_eq!(asked(&[]).await.status, StatusCode::OK);
    for headers in [
        &[("x-forwarded-for", "192.0.2.1")],
        &[("x-forwarded-for", "127.0.0.1")],
        &[("forwarded", "for=192.0.2.1")],
        &[("x-real-ip", "192.0.2.1")],
        &[("fly-client-ip", "192.0.2.1")],
        &[("x-forwarded-proto", "https")],
        &[("via", "1.1 proxy")],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("authorization", "Bearer guessed")],
    ] {
        let status = asked(headers).await.status;
        let allowed = headers[0].0 == "authorization";
        let wanted = if allowed {
            StatusCode::OK
        } else {
            StatusCode::FORBIDDEN
        };
        assert_eq!(status, wanted, "{headers:?}");
    }
    let metrics = hub
        .http(Method::GET, "/metrics", &[("accept", "text/plain")])
        .await;
    assert!(
        metrics
            .body
            .contains("hubmesh_refusals_total{reason=\"operator\"} 9")
    );
}

/// A hub that accepts tokens, with the room `r`, which `host` has created.
async fn with_room() -> HubProcess {
    let hub = HubProcess::builder().env("JWT_SECRET", SECRET);
    let hub = hub.env("ADMIN_ADDR", "127.0.0.1:0");
    let hub = hub.env("PEER_TIMEOUT_MS", "60000").start().await;
    let host = bearer(&token(json!({"sub": "host"})));
    let room = json!({"room_id": "r", "host_id": "host"});
    let made = post_as(&hub, "/api/rooms", &room, &[("authorization", &host)]).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    hub
}

async fn join(hub: &HubProcess, user: &str, claims: Value) -> crate::hub_process::HttpAnswer {
    let shown = bearer(&token(claims));
    let user = json!({"user_id": user});
    post_as(
        hub,
        "/api/rooms/r/join",
        &user,
        &[("authorization", &shown)],
    )
    .await
}

async fn is_left(hub: &HubProcess, user: &str) {
    let shown = bearer(&token(json!({})));
    eventually("the visit is over", async || {
        let headers = [("authorization", shown.as_str())];
        let asked = hub.http(Method::GET, "/api/rooms/r/peers", &headers);
        !asked.await.body.contains(&format!("\"{user}\""))
    })
    .await;
}

#[tokio::test]
async fn a_visit_ends_with_its_token_and_by_a_ban_of_its_subject() {
    let hub = with_room().await;
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("after 1970");
    // The token expired 27 seconds ago. With the grace for clocks it is valid for two or three seconds more.
    let over = json!({"sub": "eve", "exp": now.as_secs() - 27});
    let answer = join(&hub, "eve", over).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let answer = join(&hub, "ada", json!({"sub": "ada's"})).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let ban = Full::new(Bytes::from(r#"{"subject":"ada's","seconds":60}"#));
    let headers = [("x-hubmesh-admin", "1")];
    let door = admin_addr(&hub).await;
    let placed = send(door, Method::POST, "/admin/api/bans", &headers, ban).await;
    assert_eq!(placed.status, StatusCode::CREATED, "{}", placed.body);
    is_left(&hub, "ada").await;
    let answer = join(&hub, "ada", json!({"sub": "ada's"})).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.body);
    assert_eq!(answer.json()["error"], "banned by an operator");
    is_left(&hub, "eve").await;
}

#[tokio::test]
async fn whoever_may_not_discover_is_named_itself_and_the_host_alone() {
    let hub = with_room().await;
    for (user, claims, told) in [
        ("ada", json!({}), json!(["host", "ada"])),
        ("bob", json!({"rights": ["create"]}), json!(["host", "bob"])),
        ("eve", json!({}), json!(["host", "ada", "bob", "eve"])),
    ] {
        let answer = join(&hub, user, claims).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let json = answer.json();
        let peers = json["room"]["peers"].as_array().expect("a list");
        let named: Vec<_> = peers.iter().map(|peer| &peer["userId"]).collect();
        assert_eq!(json!(named), told, "{user}");
    }
}

#[tokio::test]
async fn the_operators_token_is_what_changes_take_where_there_is_one() {
    let hub = HubProcess::builder()
        .env("ADMIN_TOKEN", ADMIN)
        .env("AUTH_TOKEN", "what-peers-show")
        .start()
        .await;
    let (admin, peers) = (bearer(ADMIN), bearer("what-peers-show"));
    let room = json!({"room_id": "r", "host_id": "ada"});
    for path in [
        "/api/rooms",
        "/api/rooms/r/join",
        "/api/rooms/r/leave",
        CLEANUP,
        "/api/maintenance/gc",
    ] {
        let room = json!({"room_id": "r", "user_id": "ada"});
        for headers in [&[][..], &[("authorization", peers.as_str())]] {
            let answer = post_as(&hub, path, &room, headers).await;
            assert_eq!(
                answer.status,
                StatusCode::UNAUTHORIZED,
                "{path} {headers:?}"
            );
        }
    }
    let shown = [("authorization", admin.as_str())];
    let made = post_as(&hub, "/api/rooms", &room, &shown).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    assert_eq!(
        post_as(&hub, CLEANUP, &json!({}), &shown).await.status,
        StatusCode::OK
    );
    // Only operators may see all rooms. A client may see a room that it may enter.
    for (path, as_peer, as_admin) in [
        ("/api/rooms", StatusCode::UNAUTHORIZED, StatusCode::OK),
        ("/api/stats", StatusCode::UNAUTHORIZED, StatusCode::OK),
        ("/rooms", StatusCode::UNAUTHORIZED, StatusCode::OK),
        ("/api/rooms/r", StatusCode::OK, StatusCode::OK),
        ("/api/rooms/r/peers", StatusCode::OK, StatusCode::OK),
        ("/api/rooms/r/stats", StatusCode::OK, StatusCode::OK),
    ] {
        assert_eq!(
            hub.http_get(path).await.status,
            StatusCode::UNAUTHORIZED,
            "{path}"
        );
        for (token, status) in [(&peers, as_peer), (&admin, as_admin)] {
            let answer = hub
                .http(Method::GET, path, &[("authorization", token)])
                .await;
            assert_eq!(answer.status, status, "{path} {token}");
        }
    }
    let told = get(&hub, "/api/health", StatusCode::OK).await;
    assert!(told.get("memory").is_none(), "{told}");
}

#[tokio::test]
async fn the_clients_token_is_what_changes_take_where_operators_have_none() {
    let hub = HubProcess::builder()
        .env("AUTH_TOKEN", "what-peers-show")
        .start()
        .await;
    let shown = bearer("what-peers-show");
    let room = json!({"room_id": "r"});
    for path in ["/api/rooms", CLEANUP] {
        let answer = post(&hub, path, &room).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        let answer = post_as(&hub, path, &room, &[("authorization", "Bearer wrong")]).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        let answer = post_as(&hub, path, &room, &[("authorization", &shown)]).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.body);
    }
    assert_eq!(
        hub.http_get("/api/rooms").await.status,
        StatusCode::UNAUTHORIZED
    );
    get(&hub, "/api/rooms?token=what-peers-show", StatusCode::OK).await;
}

#[tokio::test]
async fn the_operators_door_keeps_what_it_answers_from_pages_of_others() {
    let hub = HubProcess::builder()
        .env("ADMIN_ADDR", "127.0.0.1:0")
        .start()
        .await;
    // The public port has none of these paths.
    for path in ["/api/rooms", "/api/stats"] {
        assert_eq!(
            hub.http_get(path).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    assert_eq!(
        hub.http(Method::POST, CLEANUP, &[]).await.status,
        StatusCode::NOT_FOUND
    );
    let door = admin_addr(&hub).await;
    assert_eq!(hub.http_get("/rooms").await.status, StatusCode::NOT_FOUND);
    let rooms = http(door, Method::GET, "/rooms", &[]).await;
    assert_eq!(rooms.status, StatusCode::OK, "{}", rooms.body);
    assert_eq!(rooms.json()["total"], 0);
    let page = [("origin", "https://evil.example")];
    let listed = http(door, Method::GET, "/api/rooms", &page).await;
    assert_eq!(listed.status, StatusCode::OK, "{}", listed.body);
    assert!(!listed.headers.contains_key("access-control-allow-origin"));
    assert_eq!(
        http(door, Method::POST, CLEANUP, &page).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        http(door, Method::POST, CLEANUP, &[]).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn pages_that_may_not_connect_may_not_change_rooms_either() {
    let hub = HubProcess::builder()
        .env("CORS_ORIGINS", "https://notes.example")
        .start()
        .await;
    for (origin, status) in [
        ("https://notes.example", StatusCode::CREATED),
        ("https://evil.example", StatusCode::FORBIDDEN),
    ] {
        let answer = post_as(
            &hub,
            "/api/rooms",
            &json!({"room_id": origin}),
            &[("origin", origin)],
        )
        .await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
}

#[tokio::test]
async fn tokens_are_guessed_no_faster_here_than_by_connecting() {
    for path in ["/api/rooms", "/api/rooms/r", "/rooms", CLEANUP] {
        let hub = HubProcess::builder()
            .env("AUTH_TOKEN", "what-peers-show")
            .env("CONNECTS_PER_MINUTE_PER_IP", "2")
            .start()
            .await;
        let method = if path == CLEANUP {
            Method::POST
        } else {
            Method::GET
        };
        let mut last = None;
        for number in 0..3 {
            let guess = bearer(&format!("guess {number}"));
            let shown = [("authorization", guess.as_str())];
            last = Some(hub.http(method.clone(), path, &shown).await.status);
        }
        assert_eq!(last, Some(StatusCode::TOO_MANY_REQUESTS), "{path}");
    }
}
