//! Two Chromiums behind symmetric NATs, each in its own namespace: their PeerJS clients connect through the hub's
//! relay.

use crate::nat_lab::lab;
use crate::node::{Script, reason_to_skip};

#[tokio::test]
async fn a_data_channel_opens_between_two_symmetric_nats() {
    if let Some(reason) = reason_to_skip() {
        println!("skipped: {reason}");
        return;
    }
    let Some(lab) = lab("nat::a_data_channel_opens_between_two_symmetric_nats").await else {
        return;
    };
    lab.nat("a", "symmetric").await;
    lab.nat("b", "symmetric").await;
    let arguments = ["nat/lab.mjs", lab.prefix(), "http://198.51.100.1:8080"].map(str::to_owned);
    let playing = tokio::task::spawn_blocking(move || Script::start(&arguments).run(&mut []));
    let played = playing.await.expect("it does not panic");
    played.unwrap_or_else(|why| panic!("{why}"));
}
