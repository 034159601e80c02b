//! JSON Web Tokens on a mesh: each hub recognizes the subject of a token, and the id that the token is for.

use http::StatusCode;
use hubmesh_client::{ConnectError, PeerId};
use serde_json::json;
use tokio::time::timeout;
use tokio_tungstenite::connect_async;

use crate::hub_process::{HubProcess, LIMIT};
use crate::jwt::{SECRET, token};
use crate::peer::{Peer, way_to};
use crate::stage::{all_linked, metric, metric_reaches};

/// Two linked hubs that accept only tokens of this secret.
async fn pair() -> [HubProcess; 2] {
    let settings = [
        ("JWT_SECRET", SECRET),
        ("JWT_ISSUER", "tests"),
        ("HUB_TOKEN", "hubs"),
    ];
    let start = async |mut builder: crate::hub_process::HubBuilder| {
        for (name, value) in settings {
            builder = builder.env(name, value);
        }
        builder.start().await
    };
    let first = start(HubProcess::builder()).await;
    let second = start(first.neighbour()).await;
    all_linked(&[&first, &second]).await;
    [first, second]
}

/// A peer that has connected with this token and announced itself.
async fn show(hub: &HubProcess, id: &PeerId, token: &str) -> Result<Peer, ConnectError> {
    let mut options = way_to(hub, id);
    options.token = Some(token.to_owned());
    let peer = Peer::connect(&options, "tokens").await?;
    peer.announce("{}").await;
    Ok(peer)
}

async fn shown(hub: &HubProcess, id: &PeerId, token: &str) -> Peer {
    show(hub, id, token).await.expect("the hub lets it in")
}

/// The status and the text of a refusal.
async fn refused(hub: &HubProcess, id: &PeerId, token: &str) -> (StatusCode, String) {
    match show(hub, id, token).await {
        Err(ConnectError::Refused { status, reason, .. }) => (status, reason),
        Err(other) => panic!("not refused: {other}"),
        Ok(peer) => panic!("let in: {peer:?}"),
    }
}

#[tokio::test]
async fn a_subject_takes_its_id_over_on_another_hub_and_another_subject_does_not() {
    let hubs = pair().await;
    let id = PeerId::random();
    let watcher = shown(
        &hubs[1],
        &PeerId::random(),
        &token(json!({"sub": "watcher"})),
    )
    .await;
    let old = shown(&hubs[0], &id, &token(json!({"sub": "ada"}))).await;
    watcher.sees(&id).await;

    let impostor = shown(&hubs[1], &id, &token(json!({"sub": "bob"}))).await;
    impostor.is_told("id-taken", 1).await;
    assert_eq!(impostor.is_closed().await.0, 1008);
    watcher.reaches(&old, r#""it is still you""#).await;

    // This is another token of the same subject, as after a renewal.
    let renewed = token(json!({"sub": "ada", "jti": "2"}));
    let new = shown(&hubs[1], &id, &renewed).await;
    old.is_told("superseded", 1).await;
    assert_eq!(old.is_closed().await.0, 1008);
    watcher.reaches(&new, r#""welcome back""#).await;
    new.reaches(&watcher, r#""it is me""#).await;
    assert!(watcher.lost_nobody(), "{watcher:?}");
    metric_reaches(&hubs[0], "hubmesh_takeovers_total", &[], 1.0).await;

    // The subject also takes its id over on the same hub.
    let newest = shown(&hubs[1], &id, &token(json!({"sub": "ada"}))).await;
    new.is_told("superseded", 1).await;
    watcher.reaches(&newest, r#""again""#).await;
}

#[tokio::test]
async fn without_a_subject_a_token_opens_the_door_and_proves_nothing() {
    let hubs = pair().await;
    let id = PeerId::random();
    let holder = shown(&hubs[0], &id, &token(json!({}))).await;
    // A newcomer that joined before its hub knew of the holder would win, as the newer of the two.
    metric_reaches(&hubs[1], "hubmesh_directory_peers", &[], 1.0).await;
    let newcomer = shown(&hubs[1], &id, &token(json!({}))).await;
    newcomer.is_told("id-taken", 1).await;
    assert!(holder.is_open());
}

#[tokio::test]
async fn a_token_for_one_id_is_good_for_no_other_on_any_hub() {
    let hubs = pair().await;
    let (own, other) = (PeerId::random(), PeerId::random());
    let bound = token(json!({"sub": "ada", "peerId": own.as_str()}));
    for hub in &hubs {
        let (status, words) = refused(hub, &other, &bound).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(words.contains("another peerId"), "{words}");
        let refusals = metric(hub, "hubmesh_refusals_total", &[r#"reason="other-peer""#]).await;
        assert_eq!(refusals, 1.0);
        shown(hub, &own, &bound).await.fence().await;
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_token_is_told_and_the_token_is_not() {
    let hub = HubProcess::builder()
        .env("JWT_SECRET", SECRET)
        .env("JWT_ISSUER", "tests")
        .env("AUTH_TOKEN", "shared")
        .env("RUST_LOG", "hubmesh=trace")
        .start()
        .await;
    let id = PeerId::random();
    let good = token(json!({"sub": "ada"}));
    let tampered = format!("{}x", &good[..good.len() - 1]);
    let cases = [
        (token(json!({"exp": 1_000_000_000})), "expired"),
        (token(json!({"nbf": 4_000_000_000_u32})), "not valid yet"),
        (
            token(json!({"iss": "others"})),
            "from an issuer that this hub does not trust",
        ),
        (token(json!({"exp": "never"})), "lacks exp"),
        (
            token(json!({"exp": 4_000_000_000_000_u64})),
            "exp is beyond",
        ),
        (token(json!({"peerId": 7})), "peerId must be a string"),
        (tampered, "signature is wrong"),
        ("neither".to_owned(), "bearer token is wrong"),
    ];
    for (token, expected) in &cases {
        let (status, words) = refused(&hub, &id, token).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{expected}");
        assert!(words.contains(expected), "{words}");
    }
    // A web page gives the token in the URL, because it cannot set a header.
    let url = format!("{}/ws?peerId={id}&token={good}", hub.ws_url());
    let connected = timeout(LIMIT, connect_async(url)).await;
    connected.expect("in time").expect("the hub lets it in");
    let log = hub.log_lines().join("\n");
    assert!(log.contains("the token has expired"), "{log}");
    for (token, _) in &cases[..7] {
        for part in token.split('.').skip(1) {
            assert!(!log.contains(part), "{log}");
        }
    }
    shown(&hub, &PeerId::random(), "shared").await.fence().await;
}
