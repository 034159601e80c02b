//! How hubs link: by any address, and with at most one link for two hubs.

use hubmesh_client::SignalKind;

use crate::hub_process::HubProcess;
use crate::peer::Peer;
use crate::stage::{Site, all_linked, direct_hubs, eventually, metric, metric_reaches};

/// Waits until a hub has `count` links, and every other link that it had is closed.
async fn has_links(hub: &HubProcess, count: usize) {
    eventually("one link for each neighbour", async || {
        let up = metric(hub, "hubmesh_mesh_links_up_total", &[]).await;
        let down = metric(hub, "hubmesh_mesh_links_down_total", &[]).await;
        let open = metric(hub, "hubmesh_mesh_links_open", &[]).await;
        let direct = direct_hubs(hub).await.len();
        up - down == open && open == count as f64 && direct == count
    })
    .await;
}

async fn meet(one: &HubProcess, other: &HubProcess) {
    let here = Peer::join(one, "linking").await;
    let there = Peer::join(other, "linking").await;
    here.sees(&there.id).await;
    there.sees(&here.id).await;
    here.signal(SignalKind::Offer, &there.id, r#""once""#).await;
    here.signal(SignalKind::Answer, &there.id, r#""twice""#)
        .await;
    let got: Vec<String> = there
        .receives(2)
        .await
        .into_iter()
        .map(|signal| signal.data)
        .collect();
    assert_eq!(got, [r#""once""#, r#""twice""#]);
    here.fence().await;
    assert_eq!((here.roster().len(), there.roster().len()), (1, 1));
}

#[tokio::test]
async fn hubs_that_name_each_other_as_bootstrap_end_with_one_link_for_each_pair() {
    let [mut first, mut second, mut third] =
        [Site::new().await, Site::new().await, Site::new().await];
    let urls = [first.url(), second.url(), third.url()];
    first = first.env("BOOTSTRAP_HUBS", format!("{},{}", urls[1], urls[2]));
    second = second.env("BOOTSTRAP_HUBS", format!("{},{}", urls[0], urls[2]));
    third = third.env("BOOTSTRAP_HUBS", format!("{},{}", urls[0], urls[1]));
    tokio::join!(first.start(), second.start(), third.start());
    all_linked(&[&first, &second, &third]).await;
    for hub in [&first, &second, &third] {
        has_links(hub, 2).await;
    }
    meet(&first, &second).await;
    meet(&second, &third).await;
}

#[tokio::test]
async fn a_hub_that_is_its_own_bootstrap_hub_notices_and_goes_on() {
    let mut itself = Site::new().await;
    let url = itself.url();
    itself = itself.env("BOOTSTRAP_HUBS", url);
    itself.start().await;
    let other = HubProcess::builder()
        .env("BOOTSTRAP_HUBS", itself.url())
        .start()
        .await;
    all_linked(&[&itself, &other]).await;
    eventually("it knows its own address", async || {
        let stats = itself.http_get("/hubstats").await.json();
        let problem = stats["bootstrapHubs"][0]["problem"].as_str();
        problem.is_some_and(|why| why.contains("itself")) && stats["totalHubs"] == 1
    })
    .await;
    has_links(&itself, 1).await;
    has_links(&other, 1).await;
    meet(&itself, &other).await;
}

#[tokio::test]
async fn a_name_leads_to_the_hubs_at_all_its_addresses() {
    let hub = HubProcess::start().await;
    let by_name = format!("dns+ws://localhost:{}", hub.addr.port());
    let other = HubProcess::builder()
        .env("BOOTSTRAP_HUBS", by_name)
        .start()
        .await;
    all_linked(&[&hub, &other]).await;
    meet(&other, &hub).await;
}

#[tokio::test]
async fn a_hub_that_nobody_can_dial_is_reached_by_those_that_it_dialled() {
    let middle = HubProcess::start().await;
    let hidden = [
        middle.neighbour().start().await,
        middle.neighbour().start().await,
    ];
    all_linked(&[&middle, &hidden[0], &hidden[1]]).await;
    for hub in &hidden {
        has_links(hub, 1).await;
    }
    meet(&hidden[0], &hidden[1]).await;
}

#[tokio::test]
async fn a_bootstrap_hub_that_is_not_there_yet_is_dialled_until_it_is() {
    let mut late = Site::new().await;
    let early = HubProcess::builder()
        .env("BOOTSTRAP_HUBS", late.url())
        .start()
        .await;
    metric_reaches(&early, "hubmesh_mesh_dials_failed_total", &[], 3.0).await;
    late.start().await;
    all_linked(&[&early, &late]).await;
    meet(&early, &late).await;
    let status = early.http_get("/hubstats").await.json();
    assert_eq!(status["bootstrapHubs"][0]["connected"], true, "{status}");
}
