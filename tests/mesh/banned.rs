//! Bans of addresses, and bans that end by themselves: they are placed at the first hub of three and enforced at the
//! last.

use std::collections::BTreeSet;

use hubmesh_client::{ConnectError, PeerId};
use serde_json::json;

use crate::hub_process::{HubProcess, eventually};
use crate::peer::{Peer, way_to};
use crate::steering::{a_chain, agree, kept, lift, place};

async fn connect(hub: &HubProcess) -> Result<Peer, ConnectError> {
    Peer::connect(&way_to(hub, &PeerId::random()), "kept").await
}

#[tokio::test]
async fn an_address_is_kept_out_of_every_hub_until_its_ban_is_lifted() {
    let [first, _second, third] = a_chain(&kept()).await;
    for target in [
        json!({ "address": "127.0.0.1" }),
        json!({ "block": "127.0.0.0/8" }),
    ] {
        let standing = Peer::join(&third, "kept").await;
        let ban = place(&first, &target).await;
        let closed = standing.is_closed().await;
        assert_eq!(closed, (1008, "banned by an operator".to_owned()));
        connect(&third).await.expect_err("the ban keeps it out");
        lift(&first, &ban).await;
        let let_in = async || connect(&third).await.is_ok();
        eventually("a peer of this address is let in again", let_in).await;
    }
}

#[tokio::test]
async fn a_ban_ends_by_itself_at_every_hub() {
    let [first, second, third] = a_chain(&kept()).await;
    let standing = Peer::join(&third, "kept").await;
    let ban = json!({ "id": standing.id(), "seconds": 15 });
    let ban = place(&first, &ban).await;
    assert_eq!(standing.is_closed().await.0, 1008);
    agree(&[&first, &second, &third], &BTreeSet::from([ban])).await;
    agree(&[&first, &second, &third], &BTreeSet::new()).await;
    let back = Peer::join_as(&third, "kept", standing.id.clone()).await;
    assert!(back.is_open());
}
