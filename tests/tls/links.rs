//! Hubs that link over `wss://`, and the certificates that they believe.

use std::process::Stdio;

use hubmesh_client::PeerId;
use tokio::process::Command;
use tokio::time::timeout;

use crate::authority::{Authority, Files, files};
use crate::hub_process::{HubProcess, LIMIT, eventually};
use crate::stage::{hub, is_logged, join, metric, metric_is, wss_url};

const LINKS: &str = "hubmesh_mesh_links_open";
const NO_TLS: &str = "hubmesh_mesh_dials_failed_total{reason=\"tls\"}";

#[tokio::test]
async fn an_offer_crosses_three_hubs_that_are_linked_over_tls() {
    let authority = Authority::new();
    let client = authority.client();
    let files = [files(&authority), files(&authority), files(&authority)];
    let chain = |files: &Files| hub(files).env("MESH_AUTO_CONNECT", "false");
    let first = chain(&files[0]).start().await;
    let middle = chain(&files[1])
        .env("BOOTSTRAP_HUBS", wss_url(&first))
        .start()
        .await;
    let last = chain(&files[2])
        .env("BOOTSTRAP_HUBS", wss_url(&middle))
        .start()
        .await;
    let ada = join(&first, &client, "links").await;
    let bob = join(&middle, &client, "links").await;
    let eve = join(&last, &client, "links").await;
    for (one, other) in [(&ada, &bob), (&bob, &eve), (&eve, &ada)] {
        one.sees(&other.id).await;
        one.reaches(other, r#""over TLS all the way""#).await;
    }
    metric_is(&middle, &client, LINKS, 2).await;
}

#[tokio::test]
async fn a_hub_whose_authority_is_unknown_is_not_linked_to_and_the_log_says_so() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let known = hub(&files(&theirs)).start().await;
    // The second hub has a certificate of its own authority, and believes no other authority.
    let own = files(&ours);
    let url = wss_url(&known);
    let distrustful = hub(&own).env("BOOTSTRAP_HUBS", &url).start().await;
    let client = ours.client();
    eventually("a dial fails", async || {
        metric(&distrustful, &client, NO_TLS).await >= 1
    })
    .await;
    let said = ["WARN", "no link", url.as_str(), "not believed here"];
    is_logged(&distrustful, &said, 1).await;
    assert_eq!(metric(&distrustful, &client, LINKS).await, 0);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_not_believed() {
    let authority = Authority::new();
    let elsewhere = files(&authority);
    elsewhere.put(&authority.issue_for("hub.example.org"));
    let other = hub(&elsewhere).start().await;
    let own = files(&authority);
    let dialling = hub(&own)
        .env("BOOTSTRAP_HUBS", wss_url(&other))
        .start()
        .await;
    let client = authority.client();
    eventually("a dial fails", async || {
        metric(&dialling, &client, NO_TLS).await >= 1
    })
    .await;
    is_logged(&dialling, &["WARN", "no link", "is for hub.example.org"], 1).await;
}

#[tokio::test]
async fn a_scheme_that_the_other_hub_does_not_speak_is_named() {
    let authority = Authority::new();
    let own = files(&authority);
    let secured = hub(&own).start().await;
    let plain = HubProcess::start().await;
    let port = |hub: &HubProcess| hub.addr.port();
    for (address, words) in [
        (format!("wss://localhost:{}", port(&plain)), "ws://"),
        (format!("ws://localhost:{}", port(&secured)), "wss://"),
    ] {
        let lost = HubProcess::builder()
            .env("SSL_CERT_FILE", own.roots())
            .env("BOOTSTRAP_HUBS", &address)
            .start()
            .await;
        let told = format!(r#","url":"{address}/mesh""#);
        let told = ["WARN", "no link", told.as_str(), words];
        is_logged(&lost, &told, 1).await;
    }
}

#[tokio::test]
async fn the_command_line_client_speaks_tls() {
    let authority = Authority::new();
    let files = files(&authority);
    let hub = hub(&files).start().await;
    let id = PeerId::random();
    let client = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peer-client"));
        command
            .args(["--hub", &wss_url(&hub)])
            .env_clear()
            .env("SSL_CERT_FILE", files.roots())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        command
    };
    let mut ada = client();
    let _ada = ada
        .args(["--answer", "--id", id.as_str()])
        .spawn()
        .expect("it starts");
    let asking = client().args(["--send", id.as_str()]).status();
    let asked = timeout(LIMIT, asking).await.expect("in time");
    assert_eq!(asked.expect("it runs").code(), Some(0), "ada answered");
    let stranger = client().env("SSL_CERT_FILE", "/dev/null").output();
    let refused = timeout(LIMIT, stranger).await.expect("in time");
    assert_eq!(refused.expect("it runs").status.code(), Some(69));
}
