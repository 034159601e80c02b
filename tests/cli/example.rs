//! The examples of the client library: one runs against a real hub, the other needs no hub.

#[path = "../../crates/client/examples/two_peers.rs"]
#[allow(dead_code, reason = "its `main` is for people")]
mod two_peers;

#[path = "../../crates/client/examples/two_ends.rs"]
#[allow(dead_code, reason = "its `main` is for people")]
mod two_ends;

use tokio::time::timeout;

use crate::hub_process::{HubProcess, LIMIT};

#[tokio::test]
async fn the_client_library_s_example_has_its_offer_accepted() {
    let hub = HubProcess::start().await;
    let url = hub.ws_url().parse().expect("a hub's address");
    let answer = timeout(LIMIT, two_peers::conversation(&url, "chess")).await;
    let answer = answer.expect("it ends in time").expect("it succeeds");
    assert_eq!(answer, r#"{"sdp":"v=0","type":"answer"}"#);
}

#[tokio::test]
async fn the_coordinator_s_example_has_its_two_ends_meet() {
    let heard = timeout(LIMIT, two_ends::conversation(&[])).await;
    let heard = heard.expect("it ends in time").expect("it succeeds");
    assert_eq!(heard, r#""hello" by UDP hole punching"#);
}
