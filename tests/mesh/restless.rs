//! Peers, links and hubs that change all the time, and the state of the mesh once they stop.

use hubmesh_client::{Event, PeerId, SignalKind};

use crate::hub_process::{HubBuilder, HubProcess};
use crate::peer::Peer;
use crate::proxy::Proxy;
use crate::stage::{all_linked, eventually, known_hubs, metric, shaped, sound};

#[tokio::test]
async fn a_peer_that_hops_between_hubs_is_always_let_in_and_found() {
    let hubs = [HubProcess::start().await, HubProcess::start().await];
    let third = HubProcess::builder()
        .env(
            "BOOTSTRAP_HUBS",
            format!("{},{}", hubs[0].ws_url(), hubs[1].ws_url()),
        )
        .start()
        .await;
    all_linked(&[&hubs[0], &hubs[1], &third]).await;
    let watcher = Peer::join(&third, "hops").await;
    let mut hopper = Peer::join(&hubs[0], "hops").await;
    let id = hopper.id.clone();
    for hop in 0..20 {
        // The old socket ends without a goodbye, at the moment when the new one connects.
        drop(hopper);
        hopper = Peer::join_as(&hubs[(hop + 1) % 2], "hops", id.clone()).await;
        hopper.sees(&watcher.id).await;
        let word = hop.to_string();
        watcher.signal(SignalKind::Offer, &id, &word).await;
        hopper
            .until("its signal", |log| {
                let its = |event: &&Event| matches!(event, Event::Signal { data, .. } if data.get() == word);
                log.iter().find(its).map(|_| ())
            })
            .await;
    }
    watcher.sees(&id).await;
    watcher.fence().await;
    assert_eq!(watcher.roster().len(), 1);
    assert_eq!(hopper.roster().len(), 1);
    assert!(hopper.is_open());
    sound(&[&hubs[0], &hubs[1], &third]).await;
}

/// Kills a hub with ten peers, which connect to the two other hubs at once. Returns the watchers on those two.
async fn refuge(policy: &str) -> [Peer; 2] {
    let settings = |hub: HubBuilder| hub.env("DUPLICATE_PEER", policy);
    let first = settings(HubProcess::builder()).start().await;
    let mut dies = settings(first.neighbour()).start().await;
    let third = settings(first.neighbour()).start().await;
    all_linked(&[&first, &dies, &third]).await;
    let watchers = [
        Peer::join(&first, "refuge").await,
        Peer::join(&third, "refuge").await,
    ];
    let mut refugees = Vec::new();
    for _ in 0..10 {
        refugees.push(Peer::join(&dies, "refuge").await);
    }
    for watcher in &watchers {
        for refugee in &refugees {
            watcher.sees(&refugee.id).await;
        }
    }

    dies.kill9().await;
    let mut back = Vec::new();
    for (number, refugee) in refugees.into_iter().enumerate() {
        let hub = [&first, &third][number % 2];
        back.push(Peer::ask_to_join(hub, "refuge", refugee.id.clone()).await);
    }
    for peer in &back {
        for watcher in &watchers {
            peer.sees(&watcher.id).await;
            watcher.reaches(peer, r#""welcome""#).await;
            watcher.sees(&peer.id).await;
            peer.reaches(watcher, r#""thank you""#).await;
        }
    }
    eventually("the dead hub is given up", async || {
        known_hubs(&first).await.len() == 1
    })
    .await;
    for watcher in &watchers {
        watcher.fence().await;
        assert_eq!(watcher.roster().len(), 11, "{watcher:?}");
    }
    assert!(back.iter().all(Peer::is_open), "{back:?}");
    sound(&[&first, &third]).await;
    watchers
}

#[tokio::test]
async fn the_peers_of_a_killed_hub_are_let_in_elsewhere_as_soon_as_they_cannot_be_there_any_more() {
    refuge("refuse").await;
}

#[tokio::test]
async fn the_peers_of_a_killed_hub_are_let_in_elsewhere_before_they_are_missed_where_newer_ones_win()
 {
    for watcher in refuge("replace").await {
        assert!(watcher.lost_nobody(), "{watcher:?}");
    }
}

#[tokio::test]
async fn clones_that_fight_over_an_id_are_stopped_and_somebody_keeps_it() {
    let first = HubProcess::builder()
        .env("DUPLICATE_PEER", "replace")
        .start()
        .await;
    let second = first
        .neighbour()
        .env("DUPLICATE_PEER", "replace")
        .start()
        .await;
    all_linked(&[&first, &second]).await;
    let watcher = Peer::join(&first, "clones").await;
    let mut holder = Peer::join(&first, "clones").await;
    let id = holder.id.clone();
    let mut hands = 0;
    let refused = loop {
        let clone = Peer::ask_to_join(&second, "clones", id.clone()).await;
        clone.say(r#"{"type":"ping"}"#.to_owned()).await;
        let decided = clone.until("a verdict", |log| {
            log.iter().find_map(|event| match event {
                Event::Pong => Some(true),
                Event::Closed { .. } => Some(false),
                _ => None,
            })
        });
        if !decided.await {
            break clone;
        }
        assert_eq!(holder.is_closed().await.0, 1008);
        holder = clone;
        hands += 1;
        assert!(hands < 10, "nobody stops them");
    };
    assert!(hands >= 1, "nobody may take over");
    assert_eq!(refused.is_closed().await.0, 1008);
    assert_eq!(refused.complaints("takeover-limit"), 1, "{refused:?}");
    watcher.sees(&id).await;
    watcher.reaches(&holder, r#""at last""#).await;
    assert!(holder.is_open());
    assert!(watcher.lost_nobody(), "{watcher:?}");
}

#[tokio::test]
async fn a_link_that_comes_and_goes_leaves_no_trace() {
    let first = shaped().start().await;
    let wire = Proxy::to(first.addr).await;
    let second = shaped().env("BOOTSTRAP_HUBS", wire.ws_url()).start().await;
    all_linked(&[&first, &second]).await;
    let constant = [
        Peer::join(&first, "flapping").await,
        Peer::join(&second, "flapping").await,
    ];
    let mut visitors: Vec<Peer> = Vec::new();
    for round in 0..12 {
        wire.cut();
        visitors.push(Peer::join([&first, &second][round % 2], "flapping").await);
        if visitors.len() > 4 {
            visitors.remove(0);
        }
        wire.heal();
        if round % 3 == 0 {
            all_linked(&[&first, &second]).await;
        }
    }
    all_linked(&[&first, &second]).await;
    let mut everybody: Vec<&Peer> = constant.iter().collect();
    everybody.extend(&visitors);
    for peer in &everybody {
        let all_others = async || {
            let roster = peer.roster();
            let others = everybody.iter().filter(|other| other.id != peer.id);
            roster.len() + 1 == everybody.len()
                && others.into_iter().all(|o| roster.contains(o.id()))
        };
        eventually("all the others and nobody else", all_others).await;
    }
    constant[0]
        .reaches(&constant[1], r#""quiet at last""#)
        .await;
    sound(&[&first, &second]).await;
}

#[tokio::test]
async fn two_machines_with_one_hub_id_are_found_out_and_others_go_on() {
    let first = HubProcess::start().await;
    let other = first.neighbour().start().await;
    all_linked(&[&first, &other]).await;
    let peers = [
        Peer::join(&first, "clash").await,
        Peer::join(&other, "clash").await,
    ];
    let clone = || first.neighbour().env("HUB_ID", "ab".repeat(20));
    let clones = [clone().start().await, clone().start().await];
    let local = Peer::join(&clones[0], "clash").await;
    let alarmed = async || {
        let mut alarms = 0.0;
        for hub in &clones {
            alarms += metric(hub, "hubmesh_alarms_total", &[]).await;
        }
        alarms > 0.0
    };
    eventually("an alarm", alarmed).await;
    eventually(
        "at least one of them leaves the mesh, and says so",
        async || {
            let says_so =
                |line: &String| line.contains(r#""ERROR""#) && line.contains("left the mesh");
            clones.iter().any(|hub| hub.log_lines().iter().any(says_so))
        },
    )
    .await;
    peers[0].sees(&peers[1].id).await;
    peers[0].reaches(&peers[1], r#""never mind them""#).await;
    // Each clone serves its own peers as before.
    let neighbour = Peer::join_as(&clones[0], "clash", PeerId::random()).await;
    local.sees(&neighbour.id).await;
    local.reaches(&neighbour, r#""we are still here""#).await;
}
