//! Claims without right: each is refused, told to its sender and counted, and changes nothing for others.

use std::time::Duration;

use futures::StreamExt;
use http::StatusCode;
use hubmesh::mesh::handshake::{self, HandshakeError, Identity, Peered, Rejection};
use hubmesh_client::{ConnectError, Event, PeerId};
use hubmesh_core::api::Bye;
use hubmesh_core::frames::ControlFrame;
use hubmesh_core::ids::{HubId, Incarnation};
use hubmesh_core::wire::Decoder;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::hub_process::{HubBuilder, HubProcess, LIMIT};
use crate::peer::{Peer, way_to};
use crate::proxy::Proxy;
use crate::stage::{
    Site, TOKEN, all_linked, eventually, hub_id, known_hubs, metric, metric_reaches,
};

#[tokio::test]
async fn a_peer_that_claims_to_be_a_hub_is_told_that_it_is_none_and_shown_as_a_peer() {
    let first = HubProcess::start().await;
    let second = first.neighbour().start().await;
    all_linked(&[&first, &second]).await;
    let watchers = [
        Peer::join(&first, "claims").await,
        Peer::join(&second, "claims").await,
    ];
    let mesh_network = Peer::join(&second, "pigeonhub-mesh").await;
    let before = (known_hubs(&first).await, known_hubs(&second).await);

    let liar = Peer::join(&first, "claims").await;
    for watcher in &watchers {
        watcher.sees(&liar.id).await;
    }
    let elsewhere = Peer::connect(&way_to(&first, &PeerId::random()), "pigeonhub-mesh").await;
    let elsewhere = elsewhere.expect("the hub lets it in");
    elsewhere.announce(r#"{"isHub":true}"#).await;
    elsewhere.is_told("not-a-hub", 1).await;
    let data = mesh_network
        .until("its announcement", |log| shown(log, &elsewhere.id))
        .await;
    assert!(
        data.contains(r#""isHub":false"#) && !data.contains("true"),
        "{data}"
    );

    // Messages about other peers that only a hub may send are not accepted from a peer.
    let invented = PeerId::random();
    liar.say(format!(
        r#"{{"type":"peer-discovered","networkName":"claims","data":{{"peerId":"{invented}","isHub":true}}}}"#
    ))
    .await;
    liar.say(format!(
        r#"{{"type":"peer-disconnected","networkName":"claims","data":{{"peerId":"{}"}}}}"#,
        watchers[0].id
    ))
    .await;
    liar.fence().await;
    for watcher in &watchers {
        liar.reaches(watcher, r#""a fence across the mesh""#).await;
        watcher.fence().await;
        assert_eq!(watcher.roster().len(), 2, "{watcher:?}");
        assert!(!watcher.roster().contains(invented.as_str()));
    }
    assert_eq!(
        (known_hubs(&first).await, known_hubs(&second).await),
        before
    );
    assert_eq!(metric(&first, "hubmesh_forged_total", &[]).await, 1.0);
}

fn shown(log: &[Event], peer: &PeerId) -> Option<String> {
    log.iter().find_map(|event| match event {
        Event::Discovered { id, data, .. } if id == peer.as_str() => Some(data.get().to_owned()),
        _ => None,
    })
}

#[tokio::test]
async fn nobody_gets_a_signal_under_another_name_than_its_senders() {
    let first = HubProcess::start().await;
    let second = first.neighbour().start().await;
    all_linked(&[&first, &second]).await;
    let forger = Peer::join(&first, "forged").await;
    let victim = Peer::join(&first, "forged").await;
    let targets = [
        Peer::join(&first, "forged").await,
        Peer::join(&second, "forged").await,
    ];
    for (count, target) in targets.iter().enumerate() {
        target.sees(&forger.id).await;
        forger
            .say(format!(
                r#"{{"type":"offer","fromPeerId":"{}","targetPeerId":"{}","networkName":"forged","data":"forged"}}"#,
                victim.id, target.id
            ))
            .await;
        forger.is_told("forged-sender", count + 1).await;
        forger
            .say(format!(
                r#"{{"type":"offer","fromPeerId":"{}","targetPeerId":"{}","networkName":"forged","data":"true"}}"#,
                forger.id, target.id
            ))
            .await;
        let got = target.receives(1).await;
        assert_eq!(
            (got[0].from.as_str(), got[0].data.as_str()),
            (forger.id(), r#""true""#)
        );
        assert_eq!(got.len(), 1);
    }
    assert_eq!(metric(&first, "hubmesh_forged_total", &[]).await, 2.0);
}

/// A hub dials another hub whose mesh it does not belong to. Both log and count the reason why they do not link, and
/// their peers do not see each other.
async fn no_link(inside: HubBuilder, outside: HubBuilder, reason: &str) {
    let inside = inside.start().await;
    let outside = outside.env("BOOTSTRAP_HUBS", inside.ws_url()).start().await;
    let one = Peer::join(&inside, "apart").await;
    let other = Peer::join(&outside, "apart").await;
    let label = format!(r#"reason="{reason}""#);
    // The count is two: the first refusal leaves no state that lets the second dial in.
    metric_reaches(
        &inside,
        "hubmesh_mesh_handshakes_refused_total",
        &[&label],
        2.0,
    )
    .await;
    metric_reaches(&outside, "hubmesh_mesh_dials_failed_total", &[&label], 2.0).await;
    for (hub, peer) in [(&inside, &one), (&outside, &other)] {
        let logged = |line: &String| line.contains("WARN") && line.contains(reason);
        eventually("the refusal is logged", async || {
            hub.log_lines().iter().any(logged)
        })
        .await;
        assert!(
            !hub.log_lines()
                .iter()
                .any(|line| line.contains("the-right-one"))
        );
        peer.fence().await;
        assert!(peer.roster().is_empty(), "{peer:?}");
        assert!(known_hubs(hub).await.is_empty());
        assert_eq!(metric(hub, "hubmesh_mesh_links_up_total", &[]).await, 0.0);
    }
}

#[tokio::test]
async fn a_hub_with_a_wrong_token_gets_no_link() {
    let with = |token: &str| HubProcess::builder().env("HUB_TOKEN", token);
    no_link(with("the-right-one"), with("a-wrong-one"), "wrong-token").await;
}

#[tokio::test]
async fn a_hub_without_a_token_gets_no_link_to_one_that_has_one() {
    let with = HubProcess::builder().env("HUB_TOKEN", "the-right-one");
    no_link(with, HubProcess::builder(), "wrong-token").await;
}

#[tokio::test]
async fn a_hub_with_a_token_makes_no_link_to_one_without() {
    let with = HubProcess::builder().env("HUB_TOKEN", "the-right-one");
    no_link(HubProcess::builder(), with, "wrong-token").await;
}

#[tokio::test]
async fn a_hub_of_another_namespace_gets_no_link() {
    let of = |namespace: &str| HubProcess::builder().env("HUB_MESH_NAMESPACE", namespace);
    no_link(of("this mesh"), of("that mesh"), "other-namespace").await;
}

#[tokio::test]
async fn hubs_link_by_their_own_token_and_peers_come_in_by_theirs() {
    let settings = |hub: HubBuilder| {
        hub.env("AUTH_TOKEN", TOKEN)
            .env("HUB_TOKEN", "between-hubs")
    };
    let first = settings(HubProcess::builder()).start().await;
    let second = settings(first.neighbour()).start().await;
    all_linked(&[&first, &second]).await;
    for wrong in [None, Some("between-hubs")] {
        let mut options = way_to(&first, &PeerId::random());
        options.token = wrong.map(str::to_owned);
        let refused = Peer::connect(&options, "tokens")
            .await
            .expect_err("not with this token");
        let unauthorized = StatusCode::UNAUTHORIZED;
        assert!(
            matches!(refused, ConnectError::Refused { status, .. } if status == unauthorized),
            "{refused}"
        );
    }
    let mut peers = Vec::new();
    for hub in [&first, &second] {
        let mut options = way_to(hub, &PeerId::random());
        options.token = Some(TOKEN.to_owned());
        let peer = Peer::connect(&options, "tokens")
            .await
            .expect("the right token");
        peer.announce("{}").await;
        peers.push(peer);
    }
    peers[0].sees(&peers[1].id).await;
    peers[0]
        .reaches(&peers[1], r#""both tokens were right""#)
        .await;
    // The token of peers opens no link.
    let refused = dial(&first, &identity(HubId([7; 20]), 1, TOKEN)).await;
    assert_eq!(
        refused.expect_err("no link").0,
        HandshakeError::Refused(Rejection::Token)
    );
}

#[tokio::test]
async fn hubs_without_a_token_of_their_own_link_by_the_peers_token() {
    let first = HubProcess::builder().env("AUTH_TOKEN", TOKEN).start().await;
    let second = first.neighbour().env("AUTH_TOKEN", TOKEN).start().await;
    all_linked(&[&first, &second]).await;
}

// ---- A hub that the test plays -------------------------------------------------------------------------

type Link = WebSocketStream<MaybeTlsStream<TcpStream>>;

#[derive(Debug)]
struct NoLink(HandshakeError);

fn identity(hub: HubId, nonce: u64, token: &str) -> Identity {
    Identity {
        hub,
        incarnation: Incarnation { epoch: 0, nonce },
        namespace: "pigeonhub-mesh".to_owned(),
        token: token.to_owned(),
    }
}

async fn dial(hub: &HubProcess, me: &Identity) -> Result<(Link, Peered), NoLink> {
    let connecting = connect_async(format!("{}/mesh", hub.ws_url()));
    let (mut socket, _) = timeout(LIMIT, connecting)
        .await
        .expect("in time")
        .expect("a WebSocket");
    let peered = handshake::dial(&mut socket, me, 1).await.map_err(NoLink)?;
    Ok((socket, peered))
}

/// The reason that the other end gives when it closes a link.
async fn farewell(mut link: Link) -> Bye {
    let mut decoder = Decoder::new();
    let reading = async {
        while let Some(message) = link.next().await {
            let frames = match message {
                Ok(Message::Binary(bytes)) if !hubmesh_core::wire::is_data(&bytes) => {
                    decoder.decode(&bytes).expect("readable frames")
                }
                Ok(_) => continue,
                Err(SocketError::ConnectionClosed) => break,
                Err(error) => panic!("{error}"),
            };
            for frame in frames {
                if let ControlFrame::Bye(bye) = frame {
                    return bye;
                }
            }
        }
        panic!("the link ends without a word");
    };
    timeout(LIMIT, reading)
        .await
        .expect("the link is closed in time")
}

#[tokio::test]
async fn a_hub_that_replays_a_former_life_of_another_is_refused_and_told_the_present_one() {
    let first = HubProcess::start().await;
    let mut real = Site::new()
        .await
        .env("BOOTSTRAP_HUBS", first.ws_url())
        .env("HUB_ID", "33".repeat(20));
    real.start().await;
    all_linked(&[&first, &real]).await;
    let watcher = Peer::join(&first, "replay").await;
    let shown = Peer::join(&real, "replay").await;
    watcher.sees(&shown.id).await;
    // A hub tells its incarnation to each hub that dials it.
    let (link, present) = dial(&real, &identity(HubId([9; 20]), 1, ""))
        .await
        .expect("an open mesh");
    drop(link);

    let former = Incarnation {
        nonce: present.incarnation.nonce - 1,
        ..present.incarnation
    };
    let replayed = Identity {
        incarnation: former,
        ..identity(present.hub, 0, "")
    };
    let (link, _) = dial(&first, &replayed)
        .await
        .expect("the handshake itself is right");
    assert_eq!(
        farewell(link).await,
        Bye::StaleIncarnation {
            known: present.incarnation
        }
    );
    let label = [r#"reason="stale-incarnation""#];
    metric_reaches(&first, "hubmesh_mesh_links_down_total", &label, 1.0).await;

    watcher.reaches(&shown, r#""nothing happened""#).await;
    shown.reaches(&watcher, r#""nothing at all""#).await;
    assert!(watcher.lost_nobody(), "{watcher:?}");
    assert!(known_hubs(&first).await.contains(&hub_id(&real).await));
}

#[tokio::test]
async fn a_link_that_carries_nonsense_is_closed_and_costs_nobody_else_anything() {
    let first = HubProcess::start().await;
    let second = first.neighbour().start().await;
    all_linked(&[&first, &second]).await;
    let one = Peer::join(&first, "nonsense").await;
    let other = Peer::join(&second, "nonsense").await;
    one.sees(&other.id).await;
    use futures::SinkExt;
    for (number, nonsense) in [
        &[0_u8, 0xff, 0xff, 0xff, 0xff][..],
        &[5, 3, 1],
        &[0x80; 300],
        &[8, 200, 1],
    ]
    .into_iter()
    .enumerate()
    {
        let id = HubId([u8::try_from(number).expect("a few") + 40; 20]);
        let (mut link, _) = dial(&first, &identity(id, 1, ""))
            .await
            .expect("an open mesh");
        link.send(Message::Binary(nonsense.to_vec().into()))
            .await
            .expect("an open socket");
        assert_eq!(farewell(link).await, Bye::BadFrame, "{nonsense:?}");
        one.reaches(&other, r#""untouched""#).await;
    }
    eventually("only real hubs are left", async || {
        known_hubs(&second).await.len() == 1
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_no_hub_has_no_mesh() {
    let server = HubProcess::builder().env("IS_HUB", "false").start().await;
    assert_eq!(server.http_get("/mesh").await.status, StatusCode::NOT_FOUND);
    let dialled = connect_async(format!("{}/mesh", server.ws_url())).await;
    assert!(
        matches!(&dialled, Err(SocketError::Http(answer)) if answer.status() == StatusCode::NOT_FOUND),
        "{dialled:?}"
    );
    let hub = HubProcess::builder()
        .env("BOOTSTRAP_HUBS", server.ws_url())
        .start()
        .await;
    let one = Peer::join(&server, "alone").await;
    let neighbour = Peer::join(&server, "alone").await;
    let outside = Peer::join(&hub, "alone").await;
    one.sees(&neighbour.id).await;
    one.reaches(&neighbour, r#""we two""#).await;
    metric_reaches(&hub, "hubmesh_mesh_dials_failed_total", &[], 2.0).await;
    outside.fence().await;
    assert!(outside.roster().is_empty());
    assert_eq!(one.roster().len(), 1);
}

#[tokio::test]
async fn a_socket_that_stays_silent_on_the_mesh_path_is_given_up() {
    let hub = HubProcess::start().await;
    let connecting = connect_async(format!("{}/mesh", hub.ws_url()));
    let (mut socket, _) = timeout(LIMIT, connecting)
        .await
        .expect("in time")
        .expect("a WebSocket");
    let ending = async { while let Some(Ok(_)) = socket.next().await {} };
    timeout(LIMIT + Duration::from_secs(5), ending)
        .await
        .expect("the hub closes it");
    metric_reaches(&hub, "hubmesh_mesh_handshakes_refused_total", &[], 1.0).await;
}

#[tokio::test]
async fn a_far_hub_is_told_that_an_open_mesh_is_for_its_neighbourhood() {
    let inside = HubProcess::builder().env("TRUSTED_PROXIES", "127.0.0.1");
    let inside = inside.start().await;
    let proxy = Proxy::to(inside.addr).await;
    proxy.add_header("X-Forwarded-For: 203.0.113.9");
    let outside = HubProcess::builder().env("BOOTSTRAP_HUBS", proxy.ws_url());
    let outside = outside.start().await;
    let label = [r#"reason="open-mesh""#];
    metric_reaches(&inside, "hubmesh_refusals_total", &label, 1.0).await;
    let label = [r#"reason="forbidden""#];
    metric_reaches(&outside, "hubmesh_mesh_dials_failed_total", &label, 1.0).await;
    let told = |line: &String| line.contains("WARN") && line.contains("HUB_TOKEN on both hubs");
    eventually("the dialler's operator is told what to do", async || {
        outside.log_lines().iter().any(told)
    })
    .await;
    assert!(known_hubs(&inside).await.is_empty());
}
