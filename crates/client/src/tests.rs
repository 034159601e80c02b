//! The client against a stand-in hub: one accepted socket whose other end the test holds.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        handshake::server::{ErrorResponse, Request, Response},
        protocol::Message,
    },
};

use super::*;

const LIMIT: Duration = Duration::from_secs(5);

struct StandIn {
    socket: WebSocketStream<TcpStream>,
    uri: String,
    authorization: Option<String>,
}

impl StandIn {
    async fn say(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    async fn hear(&mut self) -> serde_json::Value {
        let message = tokio::time::timeout(LIMIT, self.socket.next()).await;
        let text = message.unwrap().unwrap().unwrap().into_text().unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

async fn listen() -> (TcpListener, ConnectOptions) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hub = format!("ws://{}", listener.local_addr().unwrap());
    (listener, ConnectOptions::new(hub.parse().unwrap()))
}

// The callback's error type is tungstenite's.
#[allow(clippy::result_large_err)]
async fn accept(listener: TcpListener) -> StandIn {
    let (stream, _) = listener.accept().await.unwrap();
    let (mut uri, mut authorization) = (String::new(), None);
    let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        uri = request.uri().to_string();
        authorization = request
            .headers()
            .get("authorization")
            .map(|value| value.to_str().unwrap().to_owned());
        Ok(response)
    };
    let socket = accept_hdr_async(stream, look).await.unwrap();
    StandIn {
        socket,
        uri,
        authorization,
    }
}

async fn connected_with(token: Option<&str>) -> (Client, StandIn) {
    let (listener, mut options) = listen().await;
    options.token = token.map(str::to_owned);
    let both = async { tokio::join!(Client::connect(&options), accept(listener)) };
    let (client, stand_in) = tokio::time::timeout(LIMIT, both).await.unwrap();
    (client.unwrap(), stand_in)
}

async fn next(client: &mut Client) -> Event {
    tokio::time::timeout(LIMIT, client.next_event())
        .await
        .unwrap()
}

#[tokio::test]
async fn the_id_travels_in_the_query_and_the_token_in_a_header() {
    let (client, stand_in) = connected_with(Some("secret")).await;
    assert_eq!(stand_in.uri, format!("/ws?peerId={}", client.id()));
    assert_eq!(stand_in.authorization.as_deref(), Some("Bearer secret"));
}

#[tokio::test]
async fn a_message_carries_type_network_target_and_data() {
    let (mut client, mut stand_in) = connected_with(None).await;
    client
        .announce("blue", &serde_json::json!({"name": "ada"}))
        .await
        .unwrap();
    assert_eq!(
        stand_in.hear().await,
        serde_json::json!({"type": "announce", "networkName": "blue", "data": {"name": "ada"}})
    );
    let data = RawValue::from_string(r#"{"sdp":1.50}"#.to_owned()).unwrap();
    client
        .signal(SignalKind::IceCandidate, "you", &data)
        .await
        .unwrap();
    assert_eq!(
        stand_in.hear().await,
        serde_json::json!({"type": "ice-candidate", "targetPeerId": "you", "networkName": "blue", "data": {"sdp": 1.5}})
    );
}

#[tokio::test]
async fn the_data_of_a_signal_arrives_byte_for_byte() {
    let (mut client, mut stand_in) = connected_with(None).await;
    for data in ["{ \"b\":1.50,\"a\" :\"\\u00e9\" }", "null"] {
        stand_in
            .say(&format!(
                r#"{{"type":"offer","fromPeerId":"her","networkName":"n","data":{data}}}"#
            ))
            .await;
        match next(&mut client).await {
            Event::Signal {
                kind,
                from,
                data: got,
                ..
            } => {
                assert_eq!(
                    (kind, from.as_str(), got.get()),
                    (SignalKind::Offer, "her", data)
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn every_message_of_a_hub_becomes_an_event_and_none_ends_the_client() {
    let (mut client, mut stand_in) = connected_with(None).await;
    for text in [
        r#"{"type":"connected","data":{"peerId":"me"}}"#,
        r#"{"type":"peer-discovered","networkName":"n","data":{"peerId":"her","name":"x"}}"#,
        r#"{"type":"goodbye","fromPeerId":"her","data":null}"#,
        r#"{"type":"peer-disconnected","data":{"peerId":"her","reason":"timeout"}}"#,
        r#"{"type":"pong","data":{"timestamp":1}}"#,
        r#"{"type":"error","error":"no such peer"}"#,
        r#"{"type":"offer","data":{}}"#,
        r#"{"type":"news"}"#,
        "[[[[",
    ] {
        stand_in.say(text).await;
    }
    assert!(matches!(next(&mut client).await, Event::Connected { id } if id == "me"));
    assert!(
        matches!(next(&mut client).await, Event::Discovered { id, network, .. } if id == "her" && network == "n")
    );
    assert!(matches!(next(&mut client).await, Event::Goodbye { id } if id == "her"));
    assert!(
        matches!(next(&mut client).await, Event::Disconnected { reason, .. } if reason == "timeout")
    );
    assert!(matches!(next(&mut client).await, Event::Pong));
    assert!(
        matches!(next(&mut client).await, Event::Error { error, .. } if error == "no such peer")
    );
    assert!(matches!(next(&mut client).await, Event::Other { kind, .. } if kind == "unreadable"));
    assert!(matches!(next(&mut client).await, Event::Other { kind, .. } if kind == "news"));
    assert!(matches!(next(&mut client).await, Event::Other { kind, .. } if kind == "unreadable"));
}

#[tokio::test]
async fn half_of_a_surrogate_pair_in_what_peers_say_hides_nobody() {
    let (mut client, mut stand_in) = connected_with(None).await;
    let data = r#"{"peerId":"her","\ud83d":"\udca5"}"#;
    for text in [
        format!(r#"{{"type":"peer-discovered","networkName":"n","data":{data}}}"#),
        r#"{"type":"offer","fromPeerId":"her","data":"\ud83d"}"#.to_owned(),
        r#"{"type":"error","error":"no \ud83d"}"#.to_owned(),
    ] {
        stand_in.say(&text).await;
    }
    assert!(
        matches!(next(&mut client).await, Event::Discovered { id, data: got, .. } if id == "her" && got.get() == data)
    );
    assert!(
        matches!(next(&mut client).await, Event::Signal { data, .. } if data.get() == r#""\ud83d""#)
    );
    assert!(
        matches!(next(&mut client).await, Event::Error { error, .. } if error == "no \u{fffd}")
    );
}

#[tokio::test]
async fn a_close_frame_gives_its_code_and_stays_the_last_event() {
    let (mut client, mut stand_in) = connected_with(None).await;
    let frame = CloseFrame {
        code: CloseCode::Policy,
        reason: "Peer already connected".into(),
    };
    stand_in.socket.close(Some(frame)).await.unwrap();
    for _ in 0..2 {
        assert!(matches!(
            next(&mut client).await,
            Event::Closed { code: 1008, reason } if reason == "Peer already connected"
        ));
    }
}

#[tokio::test]
async fn a_socket_that_just_ends_is_a_closed_event_of_1006() {
    let (mut client, stand_in) = connected_with(None).await;
    drop(stand_in);
    assert!(matches!(
        next(&mut client).await,
        Event::Closed { code: 1006, .. }
    ));
}

#[tokio::test]
async fn closing_says_goodbye_first() {
    let (client, mut stand_in) = connected_with(None).await;
    let hub = async {
        let goodbye = stand_in.hear().await;
        while stand_in
            .socket
            .next()
            .await
            .is_some_and(|message| message.is_ok())
        {}
        goodbye
    };
    let ((), goodbye) = tokio::join!(client.close(), hub);
    assert_eq!(goodbye["type"], "goodbye");
}

#[tokio::test]
async fn a_refusal_gives_the_status_and_a_closed_port_is_unreachable() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (listener, options) = listen().await;
    let refuse = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 4096];
        let _ = stream.read(&mut head).await.unwrap();
        let answer = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 9\r\n\r\nbad token";
        stream.write_all(answer).await.unwrap();
    };
    let (result, ()) = tokio::join!(Client::connect(&options), refuse);
    match result.err() {
        Some(ConnectError::Refused { status, reason, .. }) => {
            assert_eq!((status.as_u16(), reason.as_str()), (401, "bad token"));
        }
        other => panic!("{other:?}"),
    }
    drop(listener);
    let nobody = Client::connect(&options).await.err();
    assert!(matches!(nobody, Some(ConnectError::Unreachable { .. })));
}

#[test]
fn ids_are_forty_hex_digits_and_differ() {
    let (one, other) = (PeerId::random(), PeerId::random());
    assert_ne!(one, other);
    assert_eq!(one.as_str().parse::<PeerId>(), Ok(one.clone()));
    for wrong in ["", "abc", &"g".repeat(40), &"0".repeat(41), &"é".repeat(20)] {
        assert!(wrong.parse::<PeerId>().is_err(), "{wrong}");
    }
}

#[test]
fn a_hub_url_is_read_as_people_write_it() {
    let id = PeerId::random();
    for (text, shown, connects) in [
        (
            "ws://localhost:8080",
            "ws://localhost:8080",
            "ws://localhost:8080/ws",
        ),
        (
            "localhost:8080/",
            "ws://localhost:8080",
            "ws://localhost:8080/ws",
        ),
        (
            "https://hub.example",
            "wss://hub.example",
            "wss://hub.example/ws",
        ),
        (
            "wss://h.example/signal",
            "wss://h.example/signal",
            "wss://h.example/signal",
        ),
        ("ws://[::1]:1", "ws://[::1]:1", "ws://[::1]:1/ws"),
    ] {
        let hub: HubUrl = text.parse().unwrap();
        assert_eq!(hub.to_string(), shown);
        assert_eq!(
            hub.for_peer(&id).as_str(),
            format!("{connects}?peerId={id}")
        );
    }
    for wrong in [
        "",
        "ftp://x",
        "ws://",
        "ws://a?b=c",
        "ws://u:p@h",
        "ws://h#f",
    ] {
        assert!(wrong.parse::<HubUrl>().is_err(), "{wrong}");
    }
}

#[test]
fn the_prefix_of_a_hubs_address_is_its_path_without_a_last_slash() {
    for (text, prefix) in [
        ("ws://a", ""),
        ("ws://a/", ""),
        ("ws://a/b", "/b"),
        ("ws://a/b/c/", "/b/c"),
    ] {
        assert_eq!(text.parse::<HubUrl>().unwrap().prefix(), prefix, "{text}");
    }
}
