//! Three hubs of one mesh, and the STUN and TURN servers that each names to clients.

use std::net::Ipv4Addr;

use hubmesh_turn::Credentials;
use serde_json::Value;
use turn_types::attribute::Lifetime;
use turn_types::message::REFRESH;

use crate::client::EXPIRY;
use crate::hub_process::{HubBuilder, HubProcess, LIMIT, eventually_within};
use crate::stage::{SECRET, client, hub, ice_servers, metric, urls};

/// Time for two questions: a hub asks another hub about its servers again within ten seconds.
const TWO_QUESTIONS: std::time::Duration = LIMIT;

/// Whether a hub names TURN servers at these addresses, in this order, and no others.
async fn names(hub: &HubProcess, places: &[Ipv4Addr]) -> bool {
    let expected = places
        .iter()
        .flat_map(|place| ["udp", "tcp"].map(|by| format!("turn:{place}:3478?transport={by}")));
    urls(&ice_servers(hub, "ada").await, "turn:") == expected.collect::<Vec<_>>()
}

async fn comes_to_name(hub: &HubProcess, places: &[Ipv4Addr]) {
    let what = format!("{} names {places:?}", hub.addr);
    eventually_within(TWO_QUESTIONS, &what, async || names(hub, places).await).await;
}

/// A hub of the same mesh without STUN and TURN of its own.
fn without(first: &HubProcess) -> HubBuilder {
    first.neighbour().env("TURN_SECRET", SECRET)
}

fn login(servers: &[Value]) -> Vec<(String, String)> {
    let text = |server: &Value, field: &str| server[field].as_str().map(str::to_owned);
    let all = servers
        .iter()
        .filter_map(|server| Some((text(server, "username")?, text(server, "credential")?)));
    all.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_hub_names_its_own_servers_first_and_then_those_of_the_others() {
    let (one, builder) = hub();
    let first = builder.start().await;
    let (two, builder) = hub();
    let second = builder.env("BOOTSTRAP_HUBS", first.ws_url()).start().await;
    let third = without(&first).start().await;
    comes_to_name(&first, &[one, two]).await;
    comes_to_name(&second, &[two, one]).await;
    let any = [[one, two], [two, one]];
    eventually_within(TWO_QUESTIONS, "the third names both", async || {
        names(&third, &any[0]).await || names(&third, &any[1]).await
    })
    .await;
    // Both servers accept the credentials that the third hub gives.
    let servers = ice_servers(&third, "ada").await;
    let [(username, credential)] = &login(&servers)[..] else {
        panic!("{servers:?}")
    };
    let (expiry, name) = username.split_once(':').expect("a name");
    let expiry: u64 = expiry.parse().expect("a time");
    assert_eq!(
        credential,
        &Credentials::new(SECRET, name, expiry).credential
    );
    for address in [one, two] {
        let mut ada = client(Ipv4Addr::LOCALHOST, address, name, expiry);
        assert!(ada.allocate().is_ok(), "{address}");
    }
    assert_eq!(urls(&servers, "stun:").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_is_full_or_has_another_secret_is_left_out() {
    let (one, builder) = hub();
    let first = builder.env("TURN_MAX_ALLOCATIONS", "1").start().await;
    let (_, builder) = hub();
    let stranger = builder
        .env("BOOTSTRAP_HUBS", first.ws_url())
        .env("TURN_SECRET", "of-somebody-else-than-all")
        .start()
        .await;
    let third = without(&first).start().await;
    comes_to_name(&third, &[one]).await;
    let mut ada = client(Ipv4Addr::LOCALHOST, one, "ada", EXPIRY);
    ada.allocate().expect("a relay");
    comes_to_name(&third, &[]).await;
    let end = Lifetime::new(0);
    ada.ask(REFRESH, &[&end], None).expect("its end");
    comes_to_name(&third, &[one]).await;
    let refused = r#"hubmesh_mesh_ice_answers_total{result="other-secret"}"#;
    assert!(
        metric(&third, refused).await > 0,
        "the stranger has answered"
    );
    assert!(metric(&stranger, refused).await > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_drains_is_named_no_longer() {
    let (one, builder) = hub();
    let first = builder.env("DRAIN_MS", "600000").start().await;
    let third = without(&first).start().await;
    comes_to_name(&third, &[one]).await;
    let mut ada = client(Ipv4Addr::LOCALHOST, one, "ada", EXPIRY);
    ada.allocate().expect("a relay, for which it stays");
    first.terminate();
    comes_to_name(&third, &[]).await;
}
