//! Meshes that are too large for every hub to know all peers: of the peers at other hubs, a hub knows those in its own
//! networks.

use crate::hub_process::{HubBuilder, HubProcess};
use crate::peer::Peer;
use crate::shapes::converse;
use crate::stage::{all_linked, eventually, metric, metric_reaches};

/// The mesh is narrow from the first peer on.
fn narrow(builder: HubBuilder) -> HubBuilder {
    builder.env("MESH_FULL_DIRECTORY_PEERS", "0")
}

async fn chain() -> [HubProcess; 3] {
    let first = narrow(HubProcess::builder()).start().await;
    let second = narrow(first.neighbour()).start().await;
    let third = narrow(second.neighbour()).start().await;
    all_linked(&[&first, &second, &third]).await;
    [first, second, third]
}

#[tokio::test]
async fn peers_of_one_network_find_each_other_and_others_are_no_hubs_business() {
    let hubs = chain().await;
    let club = Peer::join(&hubs[0], "club").await;
    let other = Peer::join(&hubs[1], "another").await;
    for hub in &hubs {
        metric_reaches(hub, "hubmesh_mesh_narrow", &[], 1.0).await;
        metric_reaches(hub, "hubmesh_directory_networks", &[], 2.0).await;
        metric_reaches(hub, "hubmesh_directory_peers", &[], 2.0).await;
    }
    // Bans are of interest to every hub.
    assert_eq!(metric(&hubs[2], "hubmesh_mesh_interests", &[]).await, 1.0);
    // The network "club" is new to the hub of this peer.
    let mate = Peer::join(&hubs[2], "club").await;
    mate.sees(&club.id).await;
    club.sees(&mate.id).await;
    converse(&mate, &club).await;
    metric_reaches(&hubs[2], "hubmesh_mesh_interests", &[], 2.0).await;
    // A newcomer at another hub that asks for a held id is told that it is taken.
    let clone = Peer::ask_to_join(&hubs[1], "club", mate.id.clone()).await;
    clone.is_told("id-taken", 1).await;
    assert!(!other.roster().contains(club.id.as_str()));
    // A hub whose last member has left ends its interest, and renews it as soon as it has a member again.
    let gone = mate.id.clone();
    mate.goodbye().await;
    club.loses(&gone).await;
    eventually("its interest ends", async || {
        metric(&hubs[2], "hubmesh_mesh_interests", &[]).await == 1.0
    })
    .await;
    let again = Peer::join(&hubs[2], "club").await;
    again.sees(&club.id).await;
    converse(&again, &club).await;
}

#[tokio::test]
async fn a_mesh_goes_from_all_peers_to_those_of_interest_and_nobody_notices() {
    let first = HubProcess::builder()
        .env("MESH_FULL_DIRECTORY_PEERS", "3")
        .start()
        .await;
    let second = first
        .neighbour()
        .env("MESH_FULL_DIRECTORY_PEERS", "3")
        .start()
        .await;
    all_linked(&[&first, &second]).await;
    let one = Peer::join(&first, "club").await;
    let two = Peer::join(&second, "club").await;
    one.sees(&two.id).await;
    let mut others = Vec::new();
    for _ in 0..4 {
        others.push(Peer::join(&first, "crowd").await);
    }
    for hub in [&first, &second] {
        metric_reaches(hub, "hubmesh_mesh_narrow", &[], 1.0).await;
    }
    converse(&one, &two).await;
    let third = Peer::join(&second, "club").await;
    one.sees(&third.id).await;
    assert!(
        one.lost_nobody() && two.lost_nobody(),
        "somebody was gone who was there"
    );
    // The hub knows the network "crowd" by its line, which has an approximate number of members.
    metric_reaches(&second, "hubmesh_directory_networks", &[], 2.0).await;
}
