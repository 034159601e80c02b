//! `POST /api/auth/token`: the token that each client is given, and that this token is valid.

use serde_json::{Value, json};

use crate::holder::{ADA, ALL, BOB, Dialect, code, connect, enter, hub_with};
use crate::hub_process::{HttpAnswer, HubProcess};
use crate::jwt::{SECRET, token};

pub(crate) const ADMIN: &str = "the-token-of-operators";
const SHARED: &str = "what-all-peers-hold";
/// The public key of a key pair whose private key is not kept.
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEVs/o5+uQbTjL3chynL4wXgUg2R9
q9UU8I5mEovUf86QZ7kOBIjJwqnzD1omageEHWwHdBO6B+dFabmdT9POxg==
-----END PUBLIC KEY-----";

async fn ask(hub: &HubProcess, bearer: Option<&str>, request: &Value) -> HttpAnswer {
    let bearer = bearer.map(|token| format!("Bearer {token}"));
    let headers: Vec<_> = bearer
        .iter()
        .map(|value| ("authorization", value.as_str()))
        .collect();
    hub.post("/api/auth/token", &headers, &request.to_string())
        .await
}

async fn given(hub: &HubProcess, bearer: &str, request: &Value) -> String {
    let answer = ask(hub, Some(bearer), request).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["token"].as_str().expect("a token").to_owned()
}

/// The status, and the words of the error.
async fn refused(hub: &HubProcess, bearer: Option<&str>, request: &Value) -> (u16, String) {
    let answer = ask(hub, bearer, request).await;
    let error = answer.json()["error"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (answer.status.as_u16(), error)
}

async fn hub() -> HubProcess {
    let hub = hub_with(SECRET)
        .env("AUTH_TOKEN", SHARED)
        .env("ADMIN_TOKEN", ADMIN);
    hub.start().await
}

#[tokio::test]
async fn what_an_operator_is_given_opens_what_it_names_in_every_dialect() {
    let hub = hub().await;
    for dialect in ALL {
        let id = match dialect.has_ids() {
            true => json!(ADA),
            false => Value::Null,
        };
        let request = json!({"userId": id, "dialect": dialect.word(), "expiresIn": 60});
        let token = given(&hub, ADMIN, &request).await;
        drop(enter(&hub, dialect, ADA, &token).await);
        let other = match dialect {
            Dialect::Pigeon => Dialect::Rooms,
            _ => Dialect::Pigeon,
        };
        let refused = connect(&hub, other, ADA, &token).await.err();
        assert_eq!(refused.map(|(status, _)| status), Some(403), "{dialect:?}");
    }
    // OctateCode asks for a token in this form.
    let answer = ask(&hub, Some(ADMIN), &json!({"userId": "ada", "roomId": "r"}))
        .await
        .json();
    assert_eq!(answer["expiresIn"], 3_600);
    assert_eq!(
        (&answer["userId"], &answer["roomId"]),
        (&json!("ada"), &json!("r"))
    );
    let token = answer["token"].as_str().expect("a token");
    let mut ada = enter(&hub, Dialect::Rooms, "ada", token).await;
    assert_eq!(
        ada.ask(json!({"type": "create-room"})).await["type"],
        "room-created"
    );
    let told = ada
        .ask(json!({"type": "create-room", "roomId": "other"}))
        .await;
    assert_eq!(code(&told), "other-room");
    let text = [
        ("accept", "text/plain"),
        ("authorization", &format!("Bearer {ADMIN}")),
    ];
    let page = hub.http(http::Method::GET, "/metrics", &text).await.body;
    assert!(
        page.contains(r#"hubmesh_tokens_total{result="made"} 6"#),
        "{page}"
    );
}

#[tokio::test]
async fn whoever_holds_a_token_is_given_no_wider_one() {
    let hub = hub().await;
    let asked = json!({"userId": ADA, "networks": ["a", "b"], "dialect": "rooms", "rights": ["publish"], "expiresIn": 60});
    let own = given(&hub, ADMIN, &asked).await;
    let less = given(&hub, &own, &json!({"roomId": "a", "rights": []})).await;
    let mut ada = enter(&hub, Dialect::Rooms, ADA, &less).await;
    let told = ada.ask(json!({"type": "create-room", "roomId": "a"})).await;
    assert_eq!(code(&told), "no-right");
    for (beyond, field) in [
        (json!({"userId": BOB}), "userId"),
        (json!({"roomId": "c"}), "networks"),
        (json!({"networks": ["a", "c"]}), "networks"),
        (json!({"dialect": ["rooms", "yjs"]}), "dialect"),
        (json!({"rights": ["publish", "create"]}), "rights"),
        (json!({"expiresIn": 3_600}), "expiresIn"),
        (json!({"sub": "bob"}), "sub"),
    ] {
        let (status, why) = refused(&hub, Some(&own), &beyond).await;
        assert_eq!(status, 403, "{beyond}: {why}");
        assert!(why.starts_with(field), "{beyond}: {why}");
        // The narrowed token is refused as well.
        assert_eq!(refused(&hub, Some(&less), &beyond).await.0, 403, "{beyond}");
    }
    // The token that all peers hold names no subject. A holder may ask for a narrower token.
    let made = given(&hub, SHARED, &json!({"userId": ADA})).await;
    drop(enter(&hub, Dialect::Pigeon, ADA, &made).await);
    assert_eq!(
        refused(&hub, Some(SHARED), &json!({"sub": "ada"})).await.0,
        403
    );
}

#[tokio::test]
async fn a_banned_subject_is_given_no_token_and_none_that_it_has_made_before_lets_it_in() {
    let hub = hub().await;
    let own = token(json!({"sub": "ada"}));
    let less = given(&hub, &own, &json!({"roomId": "a"})).await;
    drop(enter(&hub, Dialect::Rooms, "ada", &less).await);
    ban(&hub, "ada").await;
    for mine in [&own, &less] {
        let (status, why) = refused(&hub, Some(mine), &json!({})).await;
        assert_eq!((status, why.as_str()), (403, "banned by an operator"));
        let refused = connect(&hub, Dialect::Rooms, "ada", mine).await.err();
        assert_eq!(refused.map(|(status, _)| status), Some(403));
    }
    let bob = token(json!({"sub": "bob"}));
    given(&hub, &bob, &json!({"sub": "bob"})).await;
}

/// Bans a subject, as an operator of the hub.
pub(crate) async fn ban(hub: &HubProcess, subject: &str) {
    let body = json!({"subject": subject, "seconds": 60}).to_string();
    let bearer = format!("Bearer {ADMIN}");
    let headers = [("authorization", bearer.as_str())];
    let answer = hub.post("/admin/api/bans", &headers, &body).await;
    assert!(answer.status.is_success(), "{}", answer.body);
}

#[tokio::test]
async fn whoever_shows_nothing_or_what_is_wrong_is_given_nothing() {
    let hub = hub().await;
    let request = json!({"userId": ADA});
    for wrong in [
        None,
        Some("a guess"),
        Some(token(json!({"exp": 1})).as_str()),
        Some("eyJhbGciOiJub25lIn0.e30."),
    ] {
        let answer = ask(&hub, wrong, &request).await;
        assert_eq!(answer.status, 401, "{wrong:?}: {}", answer.body);
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
    // A token in the URL does not count.
    let path = format!("/api/auth/token?token={SHARED}");
    let answer = hub.post(&path, &[], &request.to_string()).await;
    assert_eq!(answer.status, 401);
    for body in [
        "[]",
        "{",
        r#"{"room":"r"}"#,
        r#"{"rights":["all"]}"#,
        r#"{"expiresIn":-1}"#,
    ] {
        let bearer = format!("Bearer {ADMIN}");
        let headers = [("authorization", bearer.as_str())];
        let answer = hub.post("/api/auth/token", &headers, body).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.body);
        assert!(!answer.json()["error"].as_str().expect("words").is_empty());
    }
    let long = json!({"userId": "x".repeat(70_000)});
    assert_eq!(ask(&hub, Some(ADMIN), &long).await.status, 413);
    assert_eq!(hub.http_get("/api/auth/token").await.status, 405);
}

#[tokio::test]
async fn a_hub_that_signs_nothing_says_so() {
    for (hub, words) in [
        (HubProcess::builder(), "JWT_SECRET"),
        (
            HubProcess::builder().env("JWT_PUBLIC_KEY", PUBLIC),
            "JWT_PUBLIC_KEY",
        ),
    ] {
        let hub = hub.env("ADMIN_TOKEN", ADMIN).start().await;
        let (status, why) = refused(&hub, Some(ADMIN), &json!({})).await;
        assert_eq!(status, 501, "{why}");
        assert!(why.contains(words), "{why}");
    }
}

#[tokio::test]
async fn without_tokens_of_operators_a_program_of_the_same_machine_is_given_some() {
    let hub = hub_with(SECRET).start().await;
    let request = json!({"userId": "ada", "roomId": "r"});
    let made = ask(&hub, None, &request).await;
    assert_eq!(made.status, 200, "{}", made.body);
    let request = request.to_string();
    for odd in [
        ("x-forwarded-for", "192.0.2.1"),
        ("forwarded", "for=192.0.2.1"),
        ("via", "1.1 proxy"),
        ("origin", "http://127.0.0.1"),
        ("host", "evil.example"),
    ] {
        let answer = hub.post("/api/auth/token", &[odd], &request).await;
        assert_eq!(answer.status, 403, "{odd:?}: {}", answer.body);
    }
    let proxied = hub_with(SECRET)
        .env("TRUSTED_PROXIES", "127.0.0.0/8")
        .start()
        .await;
    assert_eq!(ask(&proxied, None, &json!({})).await.status, 403);
    // If all peers hold one token, each holder of it is an operator.
    let shared = hub_with(SECRET).env("AUTH_TOKEN", SHARED).start().await;
    assert_eq!(ask(&shared, None, &json!({})).await.status, 401);
    let answer = ask(&shared, Some(SHARED), &json!({"userId": ADA})).await;
    assert_eq!(answer.json()["sub"], ADA);
}
