//! `/ice-servers` with a TURN server outside the hub: coturn accepts the credentials until they expire.

use std::time::{SystemTime, UNIX_EPOCH};

use hubmesh_turn::Credentials;

use crate::coturn::{Coturn, uclient};
use crate::hub_process::HubProcess;

const SECRET: &str = "of-coturn-and-the-hub";

/// Whether five packets pass through two relays and back without a loss.
async fn relays(server: &Coturn, username: &str, credential: &str) -> bool {
    let address = server.address.to_string();
    let port = Coturn::PORT.to_string();
    let arguments = [
        "-u", username, "-w", credential, "-p", &port, "-y", "-c", "-n", "5", "-m", "1", &address,
    ];
    let output = uclient(&arguments).await.expect("coturn is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success() && text.contains("Total lost packets 0 ")
}

#[tokio::test]
async fn coturn_takes_the_credentials_and_refuses_expired_ones() {
    let Some(server) = Coturn::start(SECRET).await else {
        return;
    };
    let url = format!("turn:{}:{}", server.address, Coturn::PORT);
    let hub = HubProcess::builder()
        .env("TURN_URLS", &url)
        .env("TURN_SECRET", SECRET)
        .env("RUST_LOG", "trace")
        .start()
        .await;
    let answer = hub.http_get("/ice-servers?peerId=ada").await.json();
    let turn = &answer["iceServers"][0];
    assert_eq!(turn["urls"][0], url.as_str());
    let text = |field: &str| turn[field].as_str().expect("text").to_owned();
    let (username, credential) = (text("username"), text("credential"));
    assert!(relays(&server, &username, &credential).await);

    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let past = now.expect("after 1970").as_secs() - 10;
    let expired = Credentials::new(SECRET, "ada", past);
    assert!(!relays(&server, &expired.username, &expired.credential).await);

    let log = hub.log_lines().concat();
    assert!(!log.contains(&credential) && !log.contains(SECRET));
}
