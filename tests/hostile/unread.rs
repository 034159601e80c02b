//! Receivers that connect but never read their signals.

use serde_json::json;

use crate::arena::impatient;
use crate::hub_process::HubProcess;
use crate::raw::{Raw, fresh_id};

const SENT: usize = 300;
/// The most signals in the receiver's kernel, the hub's kernel and the hub's last batch together. All other signals
/// were not read.
const UNDERWAY: usize = 60;

/// A member that reads nothing after it has joined, and whose kernel buffers little.
async fn mute(hub: &HubProcess, id: &str, network: &str) -> Raw {
    let mut raw = Raw::connect_narrow(hub).await.upgraded(id).await;
    raw.announce(network).await;
    raw
}

#[tokio::test]
async fn a_sender_on_another_hub_is_told_of_what_a_receiver_that_goes_has_not_read() {
    let near = impatient().env("RATE_LIMIT_PER_SEC", "0").start().await;
    let token = near.neighbour().env("HUB_TOKEN", crate::arena::TOKEN);
    let far = token.start().await;
    let id = fresh_id();
    let mut here = Raw::member(&near, &fresh_id(), "room").await;
    let there = mute(&far, &id, "room").await;
    here.message_of("peer-discovered").await;
    let offer = json!({"type": "offer", "targetPeerId": id, "data": "x".repeat(10_000)});
    for _ in 0..SENT {
        here.say(&offer.to_string()).await.expect("a live hub");
    }
    let (mut refused, mut unread) = (0, 0);
    // Once the sender is told that some signals were too many, the others are in the receiver's mailbox or on their way
    // there.
    while refused == 0 {
        refused += usize::from(here.message_of("error").await["code"] == "overload");
    }
    drop(there);
    while refused + unread + UNDERWAY < SENT {
        match here.message_of("error").await["code"].as_str() {
            Some("overload") => refused += 1,
            Some("no-such-peer") => unread += 1,
            other => panic!("told of {other:?}"),
        }
    }
    assert!(
        unread > 30,
        "{unread} of {SENT} were told of as unread, {refused} refused"
    );
    here.pong().await;
}
