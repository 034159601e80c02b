//! Coordinators on this machine, with queues in place of a hub.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;

mod hub;
mod strangers;

const LIMIT: Duration = Duration::from_secs(20);

/// What one end sent, as whoever carries it saw it.
type Seen = Arc<Mutex<VecDeque<String>>>;

/// Both halves of the signaling of two peers, carried as they come.
fn wired(one: &'static str, other: &'static str) -> (Signaling, Signaling, Seen) {
    let seen = Seen::default();
    let carried = |from: &'static str| {
        let (outgoing, mut messages) = mpsc::channel::<Outgoing>(16);
        let (told, incoming) = mpsc::channel(16);
        let seen = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Some(Outgoing { data, .. }) = messages.recv().await {
                seen.lock().unwrap().push_back(data.get().to_owned());
                let from = from.to_owned();
                if told.send(Incoming::Signal { from, data }).await.is_err() {
                    return;
                }
            }
        });
        (outgoing, incoming)
    };
    let (from_one, to_other) = carried(one);
    let (from_other, to_one) = carried(other);
    let signaling = |outgoing, incoming| Signaling { outgoing, incoming };
    let both = (signaling(from_one, to_one), signaling(from_other, to_other));
    (both.0, both.1, seen)
}

async fn pair(ada: &Coordinator, bob: &Coordinator) -> (Connected, Connected, Seen) {
    let (for_ada, for_bob, seen) = wired("ada", "bob");
    ada.register_with("ada", for_ada).unwrap();
    bob.register_with("bob", for_bob).unwrap();
    let metadata = Some(serde_json::json!("chess"));
    let both = async { tokio::join!(ada.connect_with("bob", metadata), bob.accept()) };
    let (asked, accepted) = timeout(LIMIT, both).await.unwrap();
    (asked.unwrap(), accepted.unwrap(), seen)
}

fn datagram(connected: &Connected) -> &Datagram {
    match &connected.channel {
        Channel::Datagram(datagram) => datagram,
        Channel::Stream(_) => panic!("a stream"),
    }
}

#[tokio::test]
async fn two_ends_connect_without_any_server_and_datagrams_cross_both_ways() {
    let (ada, bob) = (
        Coordinator::builder().build(),
        Coordinator::builder().build(),
    );
    let (asked, accepted, _) = pair(&ada, &bob).await;
    assert_eq!(
        (asked.method, accepted.method),
        (Method::UdpPunch, Method::UdpPunch)
    );
    assert_eq!(
        (asked.peer.as_str(), accepted.peer.as_str()),
        ("bob", "ada")
    );
    assert_eq!(accepted.metadata, Some(serde_json::json!("chess")));
    for (from, to) in [(&asked, &accepted), (&accepted, &asked)] {
        datagram(from).send(b"hello").await.unwrap();
        let heard = timeout(LIMIT, datagram(to).recv()).await.unwrap().unwrap();
        assert_eq!(heard.as_deref(), Some(&b"hello"[..]));
    }
    let Channel::Datagram(closing) = asked.channel else {
        panic!("a stream")
    };
    closing.close().await;
    let end = timeout(LIMIT, datagram(&accepted).recv()).await.unwrap();
    assert_eq!(end.unwrap(), None, "the other end said that it is over");
}

#[tokio::test]
async fn whoever_drops_a_connection_ends_it_at_the_other_end() {
    let (ada, bob) = (
        Coordinator::builder().build(),
        Coordinator::builder().build(),
    );
    let (asked, accepted, _) = pair(&ada, &bob).await;
    drop(asked);
    let end = timeout(LIMIT, datagram(&accepted).recv()).await.unwrap();
    assert_eq!(end.unwrap(), None, "long before three keep-alives of 25 s");
}

#[tokio::test]
async fn what_strangers_send_to_a_connection_is_not_heard() {
    let (ada, bob) = (
        Coordinator::builder().build(),
        Coordinator::builder().build(),
    );
    let (asked, accepted, _) = pair(&ada, &bob).await;
    let to = datagram(&accepted).local_addr().unwrap();
    let stranger = UdpSocket::bind((to.ip(), 0)).await.unwrap();
    stranger.send_to(b"stray", to).await.unwrap();
    datagram(&asked).send(b"hello").await.unwrap();
    let heard = timeout(LIMIT, datagram(&accepted).recv()).await.unwrap();
    assert_eq!(heard.unwrap().as_deref(), Some(&b"hello"[..]));
}

#[tokio::test]
async fn by_tcp_the_connection_is_a_stream() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let ada = Coordinator::builder().only(&[Method::TcpPunch]).build();
    let bob = Coordinator::builder().build();
    let (asked, accepted, _) = pair(&ada, &bob).await;
    let (Channel::Stream(mut from), Channel::Stream(mut to)) = (asked.channel, accepted.channel)
    else {
        panic!("no streams")
    };
    from.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    timeout(LIMIT, to.read_exact(&mut heard))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&heard, b"hello");
}

#[tokio::test]
async fn a_local_port_is_used_by_one_connection_and_another_takes_any() {
    let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    drop(taken);
    let ada = Coordinator::builder().local_port(port).build();
    let bob = Coordinator::builder().build();
    let (first, _accepted, _) = pair(&ada, &bob).await;
    assert_eq!(datagram(&first).local_addr().unwrap().port(), port);
    let both = async { tokio::join!(ada.connect_to_peer("bob"), bob.accept()) };
    let (second, _accepted) = timeout(LIMIT, both).await.unwrap();
    let second = second.unwrap();
    assert_ne!(datagram(&second).local_addr().unwrap().port(), port);
}

#[tokio::test]
async fn events_and_figures_tell_what_happened() {
    let ada = Coordinator::builder().detailed_logging(true).build();
    let bob = Coordinator::builder().build();
    let events = ada.events();
    let (asked, _accepted, _) = pair(&ada, &bob).await;
    let stats = ada.stats();
    assert_eq!((stats.registered, stats.active, stats.total), (1, 1, 1));
    assert_eq!((stats.successful, stats.failed), (1, 0));
    drop(asked);
    assert_eq!(ada.stats().active, 0);
    assert!(ada.unregister_peer("ada"));
    assert!(!ada.unregister_peer("ada"), "it is gone already");
    assert_eq!(ada.stats().registered, 0);
    ada.shutdown();
    let told: Vec<Event> = timeout(LIMIT, collect(events)).await.unwrap();
    let at = |wanted: fn(&Event) -> bool| told.iter().position(wanted).expect("it is told");
    let registered = at(|event| matches!(event, Event::PeerRegistered { id } if id == "ada"));
    let looked = at(|event| matches!(event, Event::Initialized { .. }));
    let step = at(|event| matches!(event, Event::Step { text, .. } if text.contains("tries UDP")));
    let connected = at(|event| matches!(event, Event::Connected { peer, .. } if peer == "bob"));
    assert!(
        registered < looked && looked < step && step < connected,
        "{told:?}"
    );
    assert!(matches!(ada.initialize().await, Err(Error::ShutDown)));
    assert!(ada.accept().await.is_none());
}

async fn collect(mut events: impl futures::Stream<Item = Event> + Unpin) -> Vec<Event> {
    let mut told = Vec::new();
    while let Some(event) = events.next().await {
        let last = matches!(event, Event::Shutdown);
        told.push(event);
        if last {
            break;
        }
    }
    told
}

#[tokio::test]
async fn a_failure_says_what_was_tried_and_counts() {
    let ada = Coordinator::builder().only(&[Method::Relay]).build();
    let bob = Coordinator::builder().build();
    let (for_ada, for_bob, _) = wired("ada", "bob");
    ada.register_with("ada", for_ada).unwrap();
    bob.register_with("bob", for_bob).unwrap();
    let accepting = bob.clone();
    tokio::spawn(async move { accepting.accept().await });
    let failed = timeout(LIMIT, ada.connect_to_peer("bob")).await.unwrap();
    let Err(Error::Connect(failure)) = failed else {
        panic!("{failed:?}")
    };
    assert!(matches!(&failure, ConnectFailure::NoWay { tried, .. } if tried.is_empty()));
    assert!(
        failure.to_string().contains("no TURN server is known"),
        "{failure}"
    );
    let stats = ada.stats();
    assert_eq!((stats.failed, stats.failure_rate), (1, 1.0));
}

#[tokio::test]
async fn a_peer_that_is_taken_back_or_silent_does_not_answer() {
    let limit = Duration::from_millis(600);
    let ada = Coordinator::builder()
        .connection_timeout(limit)
        .retries(2)
        .build();
    let bob = Coordinator::builder().build();
    let (for_ada, for_bob, seen) = wired("ada", "bob");
    ada.register_with("ada", for_ada).unwrap();
    bob.register_with("bob", for_bob).unwrap();
    bob.unregister_peer("bob");
    let failed = timeout(LIMIT, ada.connect_to_peer("bob")).await.unwrap();
    let silent = matches!(
        &failed,
        Err(Error::Connect(
            ConnectFailure::NoAnswer { .. } | ConnectFailure::Signaling { .. }
        ))
    );
    assert!(silent, "{failed:?}");
    assert!(
        seen.lock().unwrap().len() <= 3,
        "asked, and asked again twice"
    );
}

#[tokio::test]
async fn what_cannot_be_delivered_fails_at_once() {
    let ada = Coordinator::builder().build();
    let (outgoing, mut messages) = mpsc::channel(16);
    let (told, incoming) = mpsc::channel(16);
    ada.register_with("ada", Signaling { outgoing, incoming })
        .unwrap();
    tokio::spawn(async move {
        let Outgoing { to, .. } = messages.recv().await.unwrap();
        let reason = "no such peer".to_owned();
        told.send(Incoming::Undeliverable { to, reason })
            .await
            .unwrap();
        messages.recv().await
    });
    let failed = timeout(LIMIT, ada.connect_to_peer("bob")).await.unwrap();
    let told = matches!(&failed, Err(Error::Connect(ConnectFailure::Undeliverable { reason, .. })) if reason == "no such peer");
    assert!(told, "{failed:?}");
}

#[tokio::test]
async fn a_peer_whose_signals_end_is_told_of() {
    let ada = Coordinator::builder().build();
    let mut events = ada.events();
    let (for_ada, for_bob, _) = wired("ada", "bob");
    ada.register_with("ada", for_ada).unwrap();
    // With Bob's half go both directions.
    drop(for_bob);
    let lost = async {
        loop {
            if let Some(Event::PeerLost { id, .. }) = events.next().await {
                return id;
            }
        }
    };
    assert_eq!(timeout(LIMIT, lost).await.unwrap(), "ada");
}

#[tokio::test]
async fn health_names_what_is_wrong() {
    let ada = Coordinator::builder().build();
    let health = ada.health_check().await;
    assert!(!health.is_healthy);
    assert!(
        health.problems[0].contains("no STUN server is known"),
        "{health:?}"
    );
    ada.shutdown();
    let health = ada.health_check().await;
    assert_eq!(health.problems, ["it has been shut down"]);
}

#[tokio::test]
async fn without_a_hub_a_peer_cannot_be_registered_there_and_the_advice_is_a_relay() {
    let ada = Coordinator::builder().build();
    let failed = ada.register_peer(&PeerId::random()).await;
    assert!(matches!(failed, Err(Error::NoHub)));
    assert_eq!(ada.recommended_strategy().method, Method::Relay);
}
