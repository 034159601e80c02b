//! Contested ids, as each of two hubs lists them for operators.
//!
//! A contest ends within seconds. Here contests last for as long as the test needs them: neither the holder nor the
//! newcomers read anything, and new newcomers connect until the test is done.

use std::convert::Infallible;
use std::time::Duration;

use hubmesh_client::{Client, PeerId};
use serde_json::Value;
use tokio::time::sleep;

use crate::duplicates::half_open;
use crate::hub_process::{HubProcess, eventually};
use crate::peer::{Peer, way_to};
use crate::steering::{asked, id, kept};

const NETWORK: &str = "contested";
/// The next newcomer connects before the hub finds out that the previous one is dead.
const NEXT_AFTER: Duration = Duration::from_millis(500);

/// Peers that ask for this id at this hub. They read nothing, so that none of them wins the contest.
async fn ask_again_and_again(hub: &HubProcess, id: &PeerId) -> Infallible {
    let mut newcomers = Vec::new();
    loop {
        let connected = Client::connect(&way_to(hub, id)).await;
        let mut newcomer = connected.expect("the hub lets it in");
        let asked = newcomer.announce(NETWORK, &()).await;
        asked.expect("an open socket");
        newcomers.push(newcomer);
        sleep(NEXT_AFTER).await;
    }
}

/// The id of each contest, and the hub of its newcomers.
type Rows = Vec<(String, String)>;

/// The rows of a page, and the start of the next page.
fn read(page: &Value) -> (Rows, Option<String>) {
    let rows = page["contests"].as_array().expect("a list").iter();
    let rows = rows.map(|row| {
        let text = |field: &str| row[field].as_str().expect("a text").to_owned();
        assert_eq!(
            (text("dialect"), text("network")),
            ("pigeon".into(), NETWORK.into())
        );
        assert!(row["count"].as_u64() >= Some(1), "{row}");
        assert!(row["sinceMs"].as_u64() > Some(1_700_000_000_000), "{row}");
        (text("id"), text("hub"))
    });
    let rows = rows.collect();
    (rows, page["next"].as_str().map(str::to_owned))
}

/// All contests that this hub lists, in pages of one row.
async fn listed(hub: &HubProcess, filter: &str) -> Rows {
    let (mut all, mut after) = (Rows::new(), String::new());
    loop {
        let path = format!("/admin/api/contests?limit=1{filter}{after}");
        let page = asked(hub, &path).await;
        let (rows, next) = read(&page);
        assert!(rows.len() <= 1, "{page}");
        all.extend(rows);
        let Some(next) = next else {
            return all;
        };
        let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        after = format!("&after={next}");
    }
}

async fn lists(hub: &HubProcess, filter: &str, want: &[(String, String)]) {
    let what = format!("{} lists {want:?} of {filter:?}", hub.addr);
    eventually(&what, async || listed(hub, filter).await == want).await;
}

/// The number of contested joins at the hub `at`, as `hub` shows it; `None` if `hub` has no answer from `at`.
async fn joins(hub: &HubProcess, at: &str) -> Option<u64> {
    let page = asked(hub, "/admin/api/contests").await;
    let hubs = page["hubs"].as_array().expect("a list");
    let found = hubs.iter().find(|row| row["hub"] == at);
    found.map(|row| row["contests"].as_u64().expect("a number"))
}

#[tokio::test]
async fn a_contested_id_is_listed_by_each_hub_for_as_long_as_it_is_contested() {
    let first = kept().start().await;
    let linked = kept().env("BOOTSTRAP_HUBS", first.ws_url());
    let second = linked.start().await;
    let watchers = [
        Peer::join(&first, NETWORK).await,
        Peer::join(&second, NETWORK).await,
    ];
    watchers[0].sees(&watchers[1].id).await;
    let holders = [
        half_open(&first, NETWORK).await,
        half_open(&second, NETWORK).await,
    ];
    let [of_first, of_second] = holders.each_ref().map(|holder| holder.id().clone());
    watchers[1].sees(&of_first).await;
    watchers[0].sees(&of_second).await;
    let (at_first, at_second) = (id(&first).await, id(&second).await);
    for hub in [&first, &second] {
        assert_eq!(listed(hub, "").await, [], "nobody else wants the ids");
    }

    let here = (of_second.to_string(), at_first.clone());
    let there = (of_first.to_string(), at_second.clone());
    let mut both = vec![here.clone(), there.clone()];
    both.sort();
    let seen = async {
        for hub in [&first, &second] {
            lists(hub, "", &both).await;
            lists(
                hub,
                &format!("&hub={at_first}"),
                std::slice::from_ref(&here),
            )
            .await;
            lists(
                hub,
                &format!("&hub={at_second}"),
                std::slice::from_ref(&there),
            )
            .await;
            assert_eq!(listed(hub, "&network=another").await, []);
            for at in [&at_first, &at_second] {
                let counted = async || joins(hub, at).await >= Some(1);
                eventually("the joins are counted", counted).await;
            }
        }
    };
    tokio::select! {
        never = ask_again_and_again(&first, &of_second) => match never {},
        never = ask_again_and_again(&second, &of_first) => match never {},
        () = seen => {}
    }

    // The newcomers are dropped now, and their sockets are closed.
    for hub in [&first, &second] {
        lists(hub, "", &[]).await;
        for at in [&at_first, &at_second] {
            let none = async || joins(hub, at).await == Some(0);
            eventually("no join is counted any more", none).await;
        }
    }
}
