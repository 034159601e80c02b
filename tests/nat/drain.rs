//! A hub that stops, and the relays of clients that are not connected to it as peers.

use std::net::Ipv4Addr;

use turn_types::attribute::Lifetime;
use turn_types::message::REFRESH;

use crate::client::EXPIRY;
use crate::stage::{client, hub, metric};

#[tokio::test(flavor = "multi_thread")]
async fn relays_have_the_time_of_the_drain_without_any_peer_and_end_with_a_refresh_error() {
    let (address, builder) = hub();
    let mut hub = builder.env("DRAIN_MS", "600000").start().await;
    let with_relay = |name| {
        let mut client = client(Ipv4Addr::LOCALHOST, address, name, EXPIRY);
        client.allocate().map(|_| client)
    };
    let mut ada = with_relay("ada").expect("a relay");
    let mut bob = with_relay("bob").expect("a relay");
    assert_eq!(metric(&hub, "hubmesh_turn_up").await, 1);
    hub.terminate();
    let lifetime = Lifetime::new(600);
    // The order to stop and the refresh request race. A relay that is refreshed stands, and the test asks again.
    let refused = loop {
        if let Err(code) = ada.ask(REFRESH, &[&lifetime], None) {
            break code;
        }
    };
    assert_eq!(refused, 437);
    assert_eq!(
        with_relay("eve").err(),
        Some(508),
        "no relay begins any more"
    );
    assert_eq!(
        bob.permit("1.1.1.1:80"),
        Ok(()),
        "the other one still stands"
    );
    let end = Lifetime::new(0);
    bob.ask(REFRESH, &[&end], None).expect("its end");
    assert!(
        hub.wait_exit().await.success(),
        "no relay is left, so nothing is waited for"
    );
}
