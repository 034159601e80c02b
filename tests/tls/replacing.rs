//! A certificate that is replaced while the hub runs.

use std::sync::Arc;

use rustix::process::Signal;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;

use crate::authority::{Authority, Files, Pair, files};
use crate::hub_process::{HubProcess, eventually};
use crate::stage::{hub, is_logged, join, metric, metric_is, shown};

const OK: &str = "hubmesh_tls_reloads_total{result=\"ok\"}";
const FAILED: &str = "hubmesh_tls_reloads_total{result=\"failed\"}";
const LOOK_SOON: &str = "100";
const STAYS: &str = "the old one stays in force";

async fn shows(hub: &HubProcess, client: &Arc<ClientConfig>, wanted: &CertificateDer<'static>) {
    eventually("the new certificate is shown", async || {
        shown(hub, client).await == *wanted
    })
    .await;
}

/// A hub that looks at its files often, the pair in these files, and a pair to replace it.
struct Scene {
    client: Arc<ClientConfig>,
    old: Pair,
    new: Pair,
    files: Files,
    hub: HubProcess,
}

impl Scene {
    async fn set(files: fn(&Pair) -> Files) -> Self {
        let authority = Authority::new();
        let (old, new) = (authority.issue(), authority.issue());
        let files = files(&old);
        let looks_soon = hub(&files).env("CLEANUP_INTERVAL_MS", LOOK_SOON);
        Scene {
            client: authority.client(),
            hub: looks_soon.start().await,
            old,
            new,
            files,
        }
    }
}

#[tokio::test]
async fn new_connections_get_a_new_certificate_and_old_ones_live_on() {
    let Scene {
        client,
        old,
        new,
        files,
        hub,
        ..
    } = Scene::set(Files::of).await;
    assert_eq!(shown(&hub, &client).await, old.der);
    let early = join(&hub, &client, "replacing").await;
    files.put(&new);
    shows(&hub, &client, &new.der).await;
    let late = join(&hub, &client, "replacing").await;
    early.reaches(&late, r#""still here""#).await;
    late.reaches(&early, r#""so I hear""#).await;
    assert!(early.is_open() && metric(&hub, &client, OK).await >= 1);
}

#[tokio::test]
async fn a_hang_up_has_the_files_looked_at_and_ends_nothing() {
    let authority = Authority::new();
    let client = authority.client();
    let files = files(&authority);
    let hub = hub(&files)
        .env("CLEANUP_INTERVAL_MS", "3600000")
        .start()
        .await;
    let peer = join(&hub, &client, "replacing").await;
    let new = authority.issue();
    files.put(&new);
    hub.signal(Signal::HUP);
    shows(&hub, &client, &new.der).await;
    peer.fence().await;
    assert_eq!(metric(&hub, &client, OK).await, 1);
}

#[tokio::test]
async fn a_broken_replacement_keeps_the_old_certificate_until_it_fits() {
    let Scene {
        client,
        old,
        new,
        files,
        hub,
        ..
    } = Scene::set(Files::of).await;
    // The pair is half written: the new certificate is there, its key is not yet.
    files.put_cert(&new.cert);
    metric_is(&hub, &client, FAILED, 1).await;
    assert_eq!(shown(&hub, &client).await, old.der);
    let key = files.key().display().to_string();
    is_logged(&hub, &["WARN", "TLS_KEY", &key, STAYS], 1).await;
    // A missing key is another state, so the hub tries again and logs the failure again.
    std::fs::remove_file(files.key()).expect("removed");
    metric_is(&hub, &client, FAILED, 2).await;
    assert_eq!(shown(&hub, &client).await, old.der);
    // Each state is logged once, however often the hub looks at the files.
    hub.signal(Signal::HUP);
    hub.signal(Signal::HUP);
    files.put_key(&new.key);
    shows(&hub, &client, &new.der).await;
    assert_eq!(metric(&hub, &client, OK).await, 1);
    assert_eq!(metric(&hub, &client, FAILED).await, 2);
    is_logged(&hub, &[STAYS], 2).await;
}

#[tokio::test]
async fn a_link_that_is_turned_to_other_files_is_seen() {
    let Scene {
        client,
        old,
        new,
        files,
        hub,
        ..
    } = Scene::set(Files::linked).await;
    assert_eq!(shown(&hub, &client).await, old.der);
    files.turn_to("second", &new);
    shows(&hub, &client, &new.der).await;
    assert_eq!(metric(&hub, &client, FAILED).await, 0, "both files at once");
}
