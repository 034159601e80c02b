//! Hubs that are full, restart, greet and close, or take nothing: played by sockets of the test.

use futures::SinkExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, frame::coding::CloseCode};

use super::*;
use crate::coordinator::lingering::Lingering;
use crate::{HubUrl, SignalKind};

async fn listen() -> (TcpListener, HubUrl) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    (listener, url.parse().unwrap())
}

/// Answers one request with this status and body.
async fn answer(mut stream: TcpStream, status: &str, body: &str) {
    let mut bytes = [0; 2048];
    let _ = stream.read(&mut bytes).await.unwrap();
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await.unwrap();
}

async fn greet(stream: TcpStream) -> WebSocketStream<TcpStream> {
    let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
    let greeting = r#"{"type":"connected","data":{"peerId":"me"}}"#;
    socket.send(Message::text(greeting)).await.unwrap();
    socket
}

async fn open(hub: HubUrl, retries: u32) -> Result<Signaling, ConnectError> {
    let options = ConnectOptions::new(hub);
    hub_signaling::open(options, NETWORK.into(), retries, &Lingering::new()).await
}

#[tokio::test]
async fn a_hub_that_has_no_room_or_restarts_is_dialled_again() {
    let (listener, hub) = listen().await;
    let serving = async {
        for status in ["503 Service Unavailable", "429 Too Many Requests"] {
            answer(listener.accept().await.unwrap().0, status, "").await;
        }
        // Restarts before it has greeted.
        let stream = listener.accept().await.unwrap().0;
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        let frame = CloseFrame {
            code: CloseCode::Restart,
            reason: "bye".into(),
        };
        socket.close(Some(frame)).await.unwrap();
        greet(listener.accept().await.unwrap().0).await
    };
    let both = async { tokio::join!(open(hub, 3), serving) };
    let (opened, _socket) = timeout(LIMIT, both).await.unwrap();
    assert!(opened.is_ok(), "{opened:?}");
}

#[tokio::test]
async fn a_hub_that_refuses_is_not_dialled_again() {
    for status in ["401 Unauthorized", "409 Conflict"] {
        let (listener, hub) = listen().await;
        let serving = async { answer(listener.accept().await.unwrap().0, status, "").await };
        let both = async { tokio::join!(open(hub, 3), serving) };
        let (opened, ()) = timeout(LIMIT, both).await.unwrap();
        assert!(
            matches!(opened, Err(ConnectError::Refused { .. })),
            "{opened:?}"
        );
    }
}

#[tokio::test]
async fn a_hub_that_greets_and_closes_is_dialled_ever_later_and_not_for_ever() {
    let (listener, hub) = listen().await;
    let (count, mut counted) = mpsc::channel(64);
    tokio::spawn(async move {
        loop {
            let mut socket = greet(listener.accept().await.unwrap().0).await;
            let frame = CloseFrame {
                code: CloseCode::Again,
                reason: "full".into(),
            };
            // The dialler may be gone first.
            let _ = socket.close(Some(frame)).await;
            count.send(Instant::now()).await.unwrap();
        }
    });
    let mut signaling = timeout(LIMIT, open(hub, 3)).await.unwrap().unwrap();
    let closed = timeout(LIMIT, signaling.incoming.recv()).await.unwrap();
    assert!(matches!(closed, Some(Incoming::Closed { reason }) if reason.contains("full")));
    let mut dialled = Vec::new();
    while let Ok(at) = counted.try_recv() {
        dialled.push(at);
    }
    assert_eq!(dialled.len(), 4, "once, and three times again");
    let pauses: Vec<_> = dialled.windows(2).map(|two| two[1] - two[0]).collect();
    for (pause, least) in pauses.iter().zip([250, 500, 750]) {
        assert!(pause.as_millis() >= least, "{pauses:?}");
    }
}

#[tokio::test]
async fn what_a_hub_says_moves_no_cursor() {
    let (listener, hub) = listen().await;
    let serving = async {
        let mut socket = greet(listener.accept().await.unwrap().0).await;
        for from in ["\\u001b[2J", "bob"] {
            let offer = format!(
                r#"{{"type":"offer","fromPeerId":"{from}","networkName":"p2p","data":{{}}}}"#
            );
            socket.send(Message::text(offer)).await.unwrap();
        }
        let frame = CloseFrame {
            code: CloseCode::Again,
            reason: "\u{1b}[2Jfull".into(),
        };
        socket.close(Some(frame)).await.unwrap();
    };
    let both = async { tokio::join!(open(hub, 0), serving) };
    let (opened, ()) = timeout(LIMIT, both).await.unwrap();
    let mut signaling = opened.unwrap();
    let mut next = async || timeout(LIMIT, signaling.incoming.recv()).await.unwrap();
    let first = next().await;
    assert!(
        matches!(&first, Some(Incoming::Signal { from, .. }) if from == "bob"),
        "{first:?}"
    );
    let closed = next().await;
    assert!(
        matches!(&closed, Some(Incoming::Closed { reason }) if reason.ends_with(" [2Jfull")),
        "{closed:?}"
    );
}

#[tokio::test]
async fn a_hub_that_takes_nothing_any_more_is_given_up() {
    let (listener, hub) = listen().await;
    let serving = async { greet(listener.accept().await.unwrap().0).await };
    let both = async { tokio::join!(open(hub, 0), serving) };
    let (opened, _stalls) = timeout(LIMIT, both).await.unwrap();
    let mut signaling = opened.unwrap();
    // From here on the clock goes on whenever all wait.
    tokio::time::pause();
    let filling = async {
        let data = serde_json::value::to_raw_value(&"x".repeat(1024 * 1024)).unwrap();
        loop {
            let order = Outgoing {
                to: "bob".into(),
                kind: SignalKind::Offer,
                data: data.clone(),
            };
            if signaling.outgoing.send(order).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let closed = tokio::select! {
        closed = signaling.incoming.recv() => closed,
        () = filling => None,
    };
    assert!(
        matches!(closed, Some(Incoming::Closed { reason }) if reason.contains("takes nothing"))
    );
}

#[tokio::test]
async fn a_hub_that_is_asked_too_often_for_its_servers_is_asked_again_and_a_refusal_is_final() {
    let (listener, hub) = listen().await;
    let servers = r#"{"iceServers":[]}"#;
    let serving = async {
        let stream = listener.accept().await.unwrap().0;
        answer(stream, "429 Too Many Requests", "").await;
        answer(listener.accept().await.unwrap().0, "200 OK", servers).await;
        answer(listener.accept().await.unwrap().0, "401 Unauthorized", "").await;
    };
    let ada = Coordinator::builder().signaling(hub).build();
    let asking = async { (ada.initialize().await, ada.nat_info().await) };
    let both = async { tokio::join!(asking, serving) };
    let ((first, second), ()) = timeout(LIMIT, both).await.unwrap();
    assert!(first.is_ok(), "{first:?}");
    let refused = matches!(&second, Err(Error::IceServers(IceServersError::Refused { status, .. })) if *status == 401);
    assert!(refused, "{second:?}");
}

#[tokio::test]
async fn a_hub_that_is_away_is_dialled_for_nobody_who_has_shut_down() {
    let (listener, hub) = listen().await;
    let lingering = Lingering::new();
    let options = ConnectOptions::new(hub);
    let opening = hub_signaling::open(options, NETWORK.into(), 1000, &lingering);
    let serving = async { greet(listener.accept().await.unwrap().0).await };
    let both = async { tokio::join!(opening, serving) };
    let (opened, socket) = timeout(LIMIT, both).await.unwrap();
    let ada = Coordinator::builder().build();
    ada.register_with("ada", opened.unwrap()).unwrap();
    drop(socket);
    // It is dialled again by now.
    let again = timeout(LIMIT, listener.accept()).await.unwrap();
    drop((listener, again));
    ada.shutdown();
    let began = Instant::now();
    lingering.gone(LIMIT).await;
    assert!(began.elapsed() < LIMIT, "it dials on");
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_is_silent_is_not_waited_for_for_ever_however_often_it_may_be_asked() {
    let (_silent, hub) = listen().await;
    let ada = Coordinator::builder().signaling(hub).retries(1000).build();
    let began = Instant::now();
    let asking = async { tokio::join!(ada.initialize(), ada.nat_info()) };
    let (first, second) = asking.await;
    for failed in [first, second] {
        assert!(matches!(failed, Err(Error::TooLong { .. })), "{failed:?}");
    }
    assert_eq!(began.elapsed().as_secs(), 40, "both together");
}

#[tokio::test]
async fn a_token_that_no_header_can_carry_is_none_of_the_hub_s_and_silence_is_told_in_words() {
    let (listener, hub) = listen().await;
    let ada = Coordinator::builder()
        .signaling(hub.clone())
        .token("a\nb")
        .build();
    let failed = ada.initialize().await;
    assert!(
        matches!(failed, Err(Error::IceServers(IceServersError::BadToken))),
        "{failed:?}"
    );
    drop(listener);
    let bob = Coordinator::builder().signaling(hub).retries(0).build();
    let failed = bob.initialize().await.unwrap_err().to_string();
    assert!(failed.contains("nobody listens there"), "{failed}");
}
