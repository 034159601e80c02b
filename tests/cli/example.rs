//! The example of the client library, against a real hub.

#[path = "../../crates/client/examples/two_peers.rs"]
#[allow(dead_code, reason = "its `main` is for people")]
mod two_peers;

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
