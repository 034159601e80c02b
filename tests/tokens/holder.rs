//! Clients of each dialect that hold a token, as raw WebSockets: how they connect, and the errors that they are sent.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Error;

use crate::hub_process::{HubBuilder, HubProcess};
use crate::json_client::JsonClient;
use crate::jwt::SECRET;

/// A dialect, and how its clients connect and tell their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Pigeon,
    PeerJs,
    Rooms,
    Coordinator,
    Yjs,
}

pub const ALL: [Dialect; 5] = [
    Dialect::Pigeon,
    Dialect::PeerJs,
    Dialect::Rooms,
    Dialect::Coordinator,
    Dialect::Yjs,
];

/// Ids that every dialect with ids accepts.
pub const ADA: &str = "00000000000000000000000000000000000000ad";
pub const BOB: &str = "00000000000000000000000000000000000000b0";

impl Dialect {
    /// The name of the dialect in tokens.
    pub fn word(self) -> &'static str {
        match self {
            Dialect::Pigeon => "pigeon",
            Dialect::PeerJs => "peerjs",
            Dialect::Rooms => "rooms",
            Dialect::Coordinator => "coordinator",
            Dialect::Yjs => "yjs",
        }
    }

    pub fn has_ids(self) -> bool {
        self != Dialect::Yjs
    }

    fn path(self, id: &str) -> String {
        match self {
            Dialect::Pigeon => format!("/ws?peerId={id}"),
            Dialect::PeerJs => format!("/peerjs?key=peerjs&id={id}"),
            Dialect::Rooms => "/rooms?".into(),
            Dialect::Coordinator => "/p2p?".into(),
            Dialect::Yjs => "/yjs?".into(),
        }
    }
}

/// A hub that accepts JWTs signed with this secret.
pub fn hub_with(secret: &str) -> HubBuilder {
    HubProcess::builder().env("JWT_SECRET", secret)
}

pub async fn hub() -> HubProcess {
    hub_with(SECRET).start().await
}

/// A WebSocket that is opened with this token, or the status and the words of the refusal.
pub async fn connect(
    hub: &HubProcess,
    dialect: Dialect,
    id: &str,
    token: &str,
) -> Result<JsonClient, (u16, String)> {
    let url = format!("ws://{}{}&token={token}", hub.addr, dialect.path(id));
    match JsonClient::try_open(&url).await {
        Ok(client) => Ok(client),
        Err(Error::Http(answer)) => {
            let body = answer.body().clone().unwrap_or_default();
            let words = String::from_utf8_lossy(&body).into_owned();
            Err((answer.status().as_u16(), words))
        }
        Err(other) => panic!("no answer: {other}"),
    }
}

/// A client that is let in, has told its id, and has heard that its id is accepted.
pub async fn enter(hub: &HubProcess, dialect: Dialect, id: &str, token: &str) -> JsonClient {
    let mut client = connect(hub, dialect, id, token)
        .await
        .expect("it is let in");
    match dialect {
        Dialect::Pigeon => drop(client.next_of("connected").await),
        Dialect::PeerJs => drop(client.next_of("OPEN").await),
        Dialect::Rooms => {
            let said = json!({"type": "auth", "userId": id, "roomId": "r"});
            assert_eq!(client.ask(said).await["type"], "auth");
        }
        Dialect::Coordinator => {
            let said = json!({"type": "register", "peerId": id});
            client.send(said).await;
            client.next_of("registered").await;
        }
        Dialect::Yjs => {}
    }
    client
}

/// The error code of a message to a client, in any dialect.
pub fn code(told: &Value) -> &str {
    let codes = [
        &told["code"],
        &told["data"]["code"],
        &told["payload"]["type"],
    ];
    codes
        .iter()
        .find_map(|code| code.as_str())
        .unwrap_or("none")
}

/// The last message that a client is sent before the connection is closed, and the close code.
pub async fn closed(mut client: JsonClient) -> (Value, u16) {
    let (mut told, frame) = client.end().await;
    let code = frame.expect("a close frame").code;
    (told.pop().unwrap_or(Value::Null), code.into())
}
