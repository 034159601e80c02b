//! Peers on different hubs find each other and talk, whatever the shape of the mesh.

use hubmesh_client::{Event, SignalKind};

use crate::hub_process::HubProcess;
use crate::peer::{Handed, Peer};
use crate::stage::{
    Site, all_linked, direct_hubs, eventually, hub_id, known_hubs, metric, shaped, sound,
};

/// JSON values that a hub would change if it parsed them and wrote them again.
const HOSTILE: &[&str] = &[
    r#"{"type":"offer","sdp":"v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n"}"#,
    "{ \"blank\" :\t[ 1 ,\r\n  2 ]\n}",
    r#"{"big":1e400,"exact":0.1000000000000000055511151231257827,"zero":-0.0,"long":123456789012345678901234567890,"e":1E+2}"#,
    r#"{"twice":1,"twice":2,"":{"":[]},"type":"goodbye","targetPeerId":"x","fromPeerId":"y","networkName":"z"}"#,
    r#"{"a":"\u0000\u2028\u202e\ud83d\ude00\/\u0041","b":"😀 é ﷽ \" \\"}"#,
    "\"invisible: \u{202e}\u{feff}\u{200d}\u{2028}\u{7f} e\u{301}\"",
    r#""only a text, with \"quotes\" and a 💥""#,
    "[]",
    "[[[[[[[[[[[[null]]]]]]]]]]]]",
    "-1.5e-300",
    "true",
    "null",
];

/// The two peers know each other. Each value arrives unchanged and in order, both ways and as each kind of signal.
pub async fn converse(one: &Peer, other: &Peer) {
    one.sees(&other.id).await;
    other.sees(&one.id).await;
    let before = (one.signals().len(), other.signals().len());
    let mut sent = Vec::new();
    for data in HOSTILE {
        for kind in [
            SignalKind::Offer,
            SignalKind::Answer,
            SignalKind::IceCandidate,
        ] {
            one.signal(kind, &other.id, data).await;
            other.signal(kind, &one.id, data).await;
            sent.push((kind, (*data).to_owned()));
        }
    }
    let expected = |from: &Peer| -> Vec<Handed> {
        let handed = sent.iter().cloned();
        handed
            .map(|(kind, data)| Handed {
                kind,
                from: from.id().to_owned(),
                data,
            })
            .collect()
    };
    let arrived = one.receives(before.0 + sent.len()).await;
    assert_eq!(arrived[before.0..], expected(other));
    let arrived = other.receives(before.1 + sent.len()).await;
    assert_eq!(arrived[before.1..], expected(one));
}

/// Joins a peer on each hub, and each pair of them converses. No peer is told of itself, or of another peer twice.
async fn everybody_converses(hubs: &[&HubProcess]) {
    all_linked(hubs).await;
    let mut peers = Vec::new();
    for hub in hubs {
        peers.push(Peer::join(hub, "shapes").await);
    }
    for (index, one) in peers.iter().enumerate() {
        for other in &peers[index + 1..] {
            converse(one, other).await;
        }
    }
    for peer in &peers {
        peer.fence().await;
        assert_eq!(peer.roster().len(), peers.len() - 1, "{peer:?}");
        assert!(!peer.roster().contains(peer.id()), "{peer:?}");
        assert_eq!(peer.signals().len(), (peers.len() - 1) * 3 * HOSTILE.len());
        assert!(
            !peer
                .log()
                .iter()
                .any(|event| matches!(event, Event::Error { .. })),
            "{peer:?}"
        );
    }
    sound(hubs).await;
}

#[tokio::test]
async fn two_hubs_show_their_peers_to_each_other_and_carry_signals_byte_for_byte() {
    let first = HubProcess::start().await;
    let second = first.neighbour().start().await;
    everybody_converses(&[&first, &second]).await;
}

#[tokio::test]
async fn a_chain_of_four_hubs_is_one_mesh() {
    let first = shaped().start().await;
    let second = shaped().env("BOOTSTRAP_HUBS", first.ws_url()).start().await;
    let third = shaped()
        .env("BOOTSTRAP_HUBS", second.ws_url())
        .start()
        .await;
    let fourth = shaped().env("BOOTSTRAP_HUBS", third.ws_url()).start().await;
    everybody_converses(&[&first, &second, &third, &fourth]).await;
}

#[tokio::test]
async fn a_star_of_hubs_is_one_mesh() {
    let middle = shaped().start().await;
    let ray = || shaped().env("BOOTSTRAP_HUBS", middle.ws_url());
    let rays = [
        ray().start().await,
        ray().start().await,
        ray().start().await,
    ];
    everybody_converses(&[&middle, &rays[0], &rays[1], &rays[2]]).await;
}

#[tokio::test]
async fn hubs_that_tell_of_each_other_become_a_full_mesh() {
    let mut sites = [Site::new().await, Site::new().await, Site::new().await];
    sites[0].start().await;
    let url = sites[0].url();
    for site in &mut sites[1..] {
        let started =
            std::mem::replace(site, Site::new().await).env("BOOTSTRAP_HUBS", url.as_str());
        *site = started;
        site.start().await;
    }
    for site in &sites {
        eventually("a link with every other hub", async || {
            direct_hubs(site).await.len() == 2
        })
        .await;
    }
    everybody_converses(&[&sites[0], &sites[1], &sites[2]]).await;
}

/// Four hubs: each is linked to the next, and the last to the first.
async fn ring() -> [Site; 4] {
    let [first, second, third, fourth] = [
        Site::configured(shaped()).await,
        Site::configured(shaped()).await,
        Site::configured(shaped()).await,
        Site::configured(shaped()).await,
    ];
    let second = second.bootstrap(&[&first]);
    let third = third.bootstrap(&[&second]);
    let fourth = fourth.bootstrap(&[&third, &first]);
    let mut ring = [first, second, third, fourth];
    for site in &mut ring {
        site.start().await;
    }
    for site in &ring {
        eventually("two neighbours", async || {
            direct_hubs(site).await.len() == 2
        })
        .await;
    }
    ring
}

#[tokio::test]
async fn a_ring_of_hubs_is_one_mesh_and_nothing_goes_round() {
    let ring = ring().await;
    everybody_converses(&[&ring[0], &ring[1], &ring[2], &ring[3]]).await;
    // Each hub received one join and one leave of each peer of the three other hubs, by either way round the ring.
    for site in &ring {
        let changes = async || metric(site, "hubmesh_mesh_changes_total", &[]).await;
        eventually("six changes", async || changes().await >= 6.0).await;
        assert_eq!(changes().await, 6.0);
        // A route that changes meanwhile may repeat a change. If changes circled the ring, each would be repeated.
        let repeated = metric(site, "hubmesh_mesh_repeated_changes_total", &[]).await;
        assert!(repeated <= 2.0, "{repeated} of six changes came again");
    }
}

#[tokio::test]
async fn peers_go_on_talking_by_another_way_when_the_hub_between_them_is_killed() {
    let mut ring = ring().await;
    all_linked(&[&ring[0], &ring[1], &ring[2], &ring[3]]).await;
    let one = Peer::join(&ring[0], "detour").await;
    let across = Peer::join(&ring[2], "detour").await;
    let lost = Peer::join(&ring[1], "detour").await;
    converse(&one, &across).await;
    one.sees(&lost.id).await;
    across.sees(&lost.id).await;

    let gone = hub_id(&ring[1]).await;
    ring[1].kill().await;
    converse(&one, &across).await;
    assert_eq!(one.loses(&lost.id).await, "hub-lost");
    assert_eq!(across.loses(&lost.id).await, "hub-lost");
    eventually("the dead hub is not listed", async || {
        !known_hubs(&ring[0]).await.contains(&gone)
    })
    .await;
    converse(&one, &across).await;
    // The route by the other side of the ring was found within the hold, so neither peer lost the other.
    for (peer, other) in [(&one, &across), (&across, &one)] {
        let left =
            |event: &Event| matches!(event, Event::Disconnected { id, .. } if id == other.id());
        assert!(!peer.log().iter().any(left), "{peer:?}");
    }
}

#[tokio::test]
async fn a_hub_that_links_late_learns_of_everybody_and_everybody_of_its_peers() {
    let mut early = Site::new().await;
    let alone = HubProcess::builder()
        .env("BOOTSTRAP_HUBS", early.url())
        .start()
        .await;
    let latecomer = Peer::join(&alone, "late").await;
    assert!(latecomer.roster().is_empty());

    early.start().await;
    let another = early.neighbour().start().await;
    let present = [
        Peer::join(&early, "late").await,
        Peer::join(&another, "late").await,
    ];
    all_linked(&[&early, &another, &alone]).await;
    for peer in &present {
        converse(peer, &latecomer).await;
    }
}

#[tokio::test]
async fn a_peer_on_another_hub_is_shown_with_what_it_announced_and_with_what_it_announces_anew() {
    let first = HubProcess::start().await;
    let second = first.neighbour().start().await;
    all_linked(&[&first, &second]).await;
    let watcher = Peer::join(&first, "data").await;
    let shown = Peer::join(&second, "data").await;
    watcher.sees(&shown.id).await;
    shown
        .announce(r#"{"name":"Zoë","n":1e400,"peerId":"someone else"}"#)
        .await;
    let data = watcher
        .until("the new data", |log| match log.last()? {
            Event::Discovered { id, data, .. } if id == shown.id() => {
                data.get().contains("name").then(|| data.get().to_owned())
            }
            _ => None,
        })
        .await;
    assert!(data.contains(r#""name":"Zoë","n":1e400"#), "{data}");
    assert!(
        data.contains(&format!(r#""peerId":"{}""#, shown.id)),
        "{data}"
    );
    assert!(!data.contains("someone else"), "{data}");
}

#[tokio::test]
async fn a_goodbye_is_relayed_to_other_hubs_and_a_plain_close_is_not_one() {
    let first = HubProcess::start().await;
    let second = first.neighbour().start().await;
    let third = second.neighbour().start().await;
    all_linked(&[&first, &second, &third]).await;
    let watchers = [
        Peer::join(&first, "leaving").await,
        Peer::join(&second, "leaving").await,
        Peer::join(&third, "leaving").await,
    ];
    let stranger = Peer::join(&second, "elsewhere").await;
    let polite = Peer::join(&first, "leaving").await;
    let abrupt = Peer::join(&first, "leaving").await;
    for watcher in &watchers {
        watcher.sees(&polite.id).await;
        watcher.sees(&abrupt.id).await;
    }
    let (polite_id, abrupt_id) = (polite.id.clone(), abrupt.id.clone());
    polite.goodbye().await;
    for watcher in &watchers {
        assert_eq!(watcher.loses(&polite_id).await, "goodbye");
    }
    drop(abrupt);
    for watcher in &watchers {
        assert_eq!(watcher.loses(&abrupt_id).await, "disconnected");
        watcher.fence().await;
        let farewells: Vec<String> = watcher.log().iter().filter_map(farewell).collect();
        let expected = [
            format!("goodbye {polite_id}"),
            format!("left {polite_id}"),
            format!("left {abrupt_id}"),
        ];
        assert_eq!(farewells, expected);
    }
    stranger.fence().await;
    assert!(stranger.roster().is_empty());
    assert!(
        !stranger.log().iter().any(|event| farewell(event).is_some()),
        "{stranger:?}"
    );
}

fn farewell(event: &Event) -> Option<String> {
    match event {
        Event::Goodbye { id } => Some(format!("goodbye {id}")),
        Event::Disconnected { id, .. } => Some(format!("left {id}")),
        _ => None,
    }
}

#[tokio::test]
async fn networks_do_not_leak_into_each_other_across_hubs() {
    let first = HubProcess::builder()
        .env("SIGNAL_WAIT_MS", "200")
        .start()
        .await;
    let second = first.neighbour().env("SIGNAL_WAIT_MS", "200").start().await;
    all_linked(&[&first, &second]).await;
    let red = [
        Peer::join(&first, "red").await,
        Peer::join(&second, "red").await,
    ];
    // The same id may be in both networks, and is another peer in each.
    let blue = [
        Peer::join_as(&first, "blue", red[1].id.clone()).await,
        Peer::join(&second, "blue").await,
    ];
    converse(&red[0], &red[1]).await;
    converse(&blue[0], &blue[1]).await;

    red[0]
        .signal(SignalKind::Offer, &blue[1].id, r#""trespass""#)
        .await;
    red[0].is_told("no-such-peer", 1).await;
    red[0]
        .say(format!(
            r#"{{"type":"offer","targetPeerId":"{}","networkName":"blue","data":"trespass"}}"#,
            blue[1].id
        ))
        .await;
    red[0].is_told("other-network", 1).await;
    for peer in red.iter().chain(&blue) {
        peer.fence().await;
        assert_eq!(peer.roster().len(), 1, "{peer:?}");
        assert!(!peer.signals().iter().any(|s| s.data.contains("trespass")));
    }
}
