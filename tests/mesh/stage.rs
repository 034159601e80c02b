//! Hubs with addresses that stay when a hub ends, and ways to check that hubs know each other.
//!
//! A [`Site`] is a place in the mesh: an address that other hubs dial, with at most one running hub behind it. It owns
//! the proxy and the process; it knows nothing of peers. The tests read the knowledge of hubs from their status pages,
//! as operators do.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;

use crate::hub_process::{HttpAnswer, HubBuilder, HubProcess, eventually_within};
use crate::proxy::Proxy;

/// How long to wait for a state that has no event. This is longer than the longest back-off of a hub that dials.
const LOOK_FOR: Duration = Duration::from_secs(45);

/// The bearer token of each request for a status page. Hubs that need no token ignore it.
pub const TOKEN: &str = "shared-by-all";

/// A place in the mesh.
pub struct Site {
    pub front: Proxy,
    builder: HubBuilder,
    hub: Option<HubProcess>,
}

impl std::ops::Deref for Site {
    type Target = HubProcess;

    fn deref(&self) -> &HubProcess {
        self.hub.as_ref().expect("a hub runs here")
    }
}

impl Site {
    /// A place without a hub. The connections of hubs that dial it are cut.
    pub async fn new() -> Self {
        Self::configured(HubProcess::builder()).await
    }

    /// A place without a hub, for a hub with this environment.
    pub async fn configured(builder: HubBuilder) -> Self {
        let front = Proxy::new().await;
        let builder = builder.env("PUBLIC_URL", front.ws_url());
        Self {
            front,
            builder,
            hub: None,
        }
    }

    pub fn url(&self) -> String {
        self.front.ws_url()
    }

    /// Sets a variable of the environment for every later start.
    pub fn env(mut self, name: &str, value: impl Into<std::ffi::OsString>) -> Self {
        self.builder = self.builder.env(name, value);
        self
    }

    /// Makes these places the bootstrap hubs at every start. The hub links only to them, unless hubs tell of others.
    pub fn bootstrap(self, others: &[&Site]) -> Self {
        let urls: Vec<String> = others.iter().map(|site| site.url()).collect();
        self.env("BOOTSTRAP_HUBS", urls.join(","))
    }

    /// Starts a hub here.
    pub async fn start(&mut self) -> &mut Self {
        let hub = self.builder.clone().start().await;
        self.front.aim(hub.addr);
        self.hub = Some(hub);
        self
    }

    /// Asks the hub to drain, and waits until it has exited with code 0.
    pub async fn retire(&mut self) {
        let mut hub = self.hub.take().expect("a hub runs here");
        hub.terminate();
        assert_eq!(hub.wait_exit().await.code(), Some(0));
    }

    /// Ends the hub as `kill -9` does.
    pub async fn kill(&mut self) {
        let mut hub = self.hub.take().expect("a hub runs here");
        hub.kill9().await;
    }
}

/// A hub that links only with its bootstrap hubs, so that the mesh keeps the shape that the test gives it.
pub fn shaped() -> HubBuilder {
    HubProcess::builder().env("MESH_AUTO_CONNECT", "false")
}

/// The hub's id in the mesh.
pub async fn hub_id(hub: &HubProcess) -> String {
    text(&page(hub, "/stats", "*/*").await.json()["hubPeerId"])
}

/// The ids of the other hubs that this one can reach.
pub async fn known_hubs(hub: &HubProcess) -> BTreeSet<String> {
    hub_list(hub)
        .await
        .iter()
        .map(|entry| text(&entry["peerId"]))
        .collect()
}

/// The other hubs that this one has a link with.
pub async fn direct_hubs(hub: &HubProcess) -> BTreeSet<String> {
    let all = hub_list(hub).await;
    let direct = all.iter().filter(|entry| entry["direct"] == true);
    direct.map(|entry| text(&entry["peerId"])).collect()
}

async fn hub_list(hub: &HubProcess) -> Vec<serde_json::Value> {
    let answer = page(hub, "/hubs", "*/*").await.json();
    answer["hubs"].as_array().expect("a list of hubs").clone()
}

async fn page(hub: &HubProcess, path: &str, accept: &str) -> HttpAnswer {
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("accept", accept), ("authorization", &bearer)];
    hub.http(Method::GET, path, &headers).await
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// Waits until each of these hubs reaches all the others and no other hub.
pub async fn all_linked(hubs: &[&HubProcess]) {
    let mut ids = BTreeSet::new();
    for hub in hubs {
        ids.insert(hub_id(hub).await);
    }
    for hub in hubs {
        let mut others = ids.clone();
        others.remove(&hub_id(hub).await);
        eventually("the hubs reach each other", async || {
            known_hubs(hub).await == others
        })
        .await;
    }
}

/// The sum of a counter or gauge over the series whose lines contain all of `labels`.
pub async fn metric(hub: &HubProcess, name: &str, labels: &[&str]) -> f64 {
    let text = page(hub, "/metrics", "text/plain").await.body;
    let series = text.lines().filter(|line| {
        let named = line
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with([' ', '{']));
        named && labels.iter().all(|label| line.contains(label))
    });
    let values = series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum()
}

/// Waits until a metric is at least `at_least`.
pub async fn metric_reaches(hub: &HubProcess, name: &str, labels: &[&str], at_least: f64) {
    let what = format!("{name}{labels:?} reaches {at_least}");
    eventually(&what, async || metric(hub, name, labels).await >= at_least).await;
}

/// Checks that these hubs have no error in their logs and no alarm: nothing that an operator has to look at.
pub async fn sound(hubs: &[&HubProcess]) {
    for hub in hubs {
        let bad: Vec<String> = hub
            .log_lines()
            .into_iter()
            .filter(|l| l.contains(r#""ERROR""#))
            .collect();
        assert!(bad.is_empty(), "{bad:#?}");
        assert_eq!(metric(hub, "hubmesh_alarms_total", &[]).await, 0.0);
    }
}

/// Waits for a state that has no event.
pub async fn eventually(what: &str, holds: impl AsyncFnMut() -> bool) {
    eventually_within(LOOK_FOR, what, holds).await;
}
