//! Bootstrap addresses that lead to no hub: the hub shows the cause in `/hubstats` and in one line of its log.

use serde_json::Value;

use crate::hub_process::{HubProcess, eventually, nobody};
use crate::stage::{Site, metric, metric_reaches};

const FAILED: &str = "hubmesh_mesh_dials_failed_total";

/// The first bootstrap address, as `/hubstats` shows it.
async fn bootstrap(hub: &HubProcess) -> Value {
    hub.http_get("/hubstats").await.json()["bootstrapHubs"][0].clone()
}

/// The log's warnings that there is no link with `address`.
fn warnings(hub: &HubProcess, address: &str) -> Vec<Value> {
    let lines = hub.log_lines();
    let lines = lines
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok());
    let told = lines.filter(|line: &Value| line["level"] == "WARN" && line["message"] == "no link");
    told.filter(|line| {
        let url = line["fields"]["url"].as_str().unwrap_or_default();
        url.starts_with(address)
    })
    .collect()
}

/// Starts a hub whose only bootstrap address has a problem. The hub logs it once, however often it dials, and stays
/// healthy.
async fn is_told_once(address: &str, reason: &str, cause: &str) {
    let hub = HubProcess::builder().env("BOOTSTRAP_HUBS", address);
    let hub = hub.start().await;
    eventually("it is told", async || !warnings(&hub, address).is_empty()).await;
    let status = bootstrap(&hub).await;
    let problem = status["problem"].as_str().unwrap_or_default();
    assert!(problem.contains(cause), "{cause}: {status}");
    assert_eq!(status["connected"], false);
    if !address.starts_with("dns") {
        let so_far = metric(&hub, FAILED, &[]).await;
        metric_reaches(&hub, FAILED, &[], so_far + 2.0).await;
    }
    let told = warnings(&hub, address);
    assert_eq!(told.len(), 1, "{told:#?}");
    let fields = &told[0]["fields"];
    assert_eq!(fields["reason"], reason);
    let told = fields["cause"].as_str().unwrap_or_default();
    assert!(told.contains(cause), "{cause}: {fields}");
    // The hub still serves its peers.
    let health = hub.http_get("/health").await;
    assert_eq!(health.json()["status"], "healthy");
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_told_of_once() {
    let (_kept, nobody) = nobody();
    let address = format!("ws://{nobody}");
    is_told_once(&address, "unreachable", "nobody listens there").await;
}

#[tokio::test]
async fn an_address_of_what_is_no_hub_is_told_of_once() {
    let lone = HubProcess::builder().env("IS_HUB", "false").start().await;
    is_told_once(&lone.ws_url(), "unreachable", "404 Not Found in place").await;
}

#[tokio::test]
async fn a_hub_of_another_mesh_is_told_of_once() {
    let other = HubProcess::builder().env("HUB_MESH_NAMESPACE", "other");
    let other = other.start().await;
    let cause = "different HUB_MESH_NAMESPACEs";
    is_told_once(&other.ws_url(), "other-namespace", cause).await;
}

#[tokio::test]
async fn a_name_without_addresses_is_told_of_once() {
    // By RFC 6761, this name never has an address.
    let address = "dns+ws://hubs.invalid:80";
    is_told_once(address, "unknown-name", "the name has no address").await;
}

#[tokio::test]
async fn an_address_that_leads_to_a_hub_is_in_trouble_no_more() {
    let mut late = Site::new().await;
    let early = HubProcess::builder().env("BOOTSTRAP_HUBS", late.url());
    let early = early.start().await;
    eventually("the cause is shown", async || {
        bootstrap(&early).await["problem"].is_string()
    })
    .await;
    late.start().await;
    eventually("the trouble is over", async || {
        let status = bootstrap(&early).await;
        status["connected"] == true && status["problem"].is_null()
    })
    .await;
}

#[tokio::test]
async fn an_address_that_leads_to_the_hub_itself_is_told_of_where_it_is_the_only_one() {
    let mut itself = Site::new().await;
    let url = itself.url();
    itself = itself.env("BOOTSTRAP_HUBS", &url);
    itself.start().await;
    eventually("it is told", async || !warnings(&itself, &url).is_empty()).await;
    let status = bootstrap(&itself).await;
    assert_eq!(status["connected"], false);
    assert_eq!(status["problem"], "it leads to this hub itself");

    // Hubs that share one list of addresses find their own in it. This is no problem.
    let mut one_of_two = Site::new().await;
    let both = format!("{},{url}", one_of_two.url());
    one_of_two = one_of_two.env("BOOTSTRAP_HUBS", both);
    one_of_two.start().await;
    let own = one_of_two.url();
    eventually("it knows itself", async || {
        let stats = one_of_two.http_get("/hubstats").await.json();
        let addresses = stats["bootstrapHubs"].as_array().cloned();
        addresses.unwrap_or_default().iter().any(|address| {
            let uri = address["uri"].as_str().unwrap_or_default();
            uri.starts_with(&own) && address["problem"].is_string()
        })
    })
    .await;
    assert!(warnings(&one_of_two, &own).is_empty());
}
