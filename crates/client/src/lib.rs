//! A client of hubmesh: one native peer of a WebRTC signaling hub.
//!
//! A peer connects to a hub with a [`PeerId`], announces itself in a network, is told of the other peers there, at any
//! hub, and exchanges signals with them: offers, answers and ICE candidates. The program decides how it uses these;
//! this crate knows nothing of WebRTC.
//!
//! ```no_run
//! use hubmesh_client::{Client, ConnectOptions, Event, SignalKind};
//! use serde_json::{json, value::to_raw_value};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let options = ConnectOptions::new("ws://localhost:8080".parse()?);
//! let mut peer = Client::connect(&options).await?;
//! peer.announce("chess", &json!({"name": "Ada"})).await?;
//! loop {
//!     match peer.next_event().await {
//!         Event::Discovered { id, .. } => {
//!             let offer = to_raw_value(&json!({"type": "offer", "sdp": "v=0…"}))?;
//!             peer.signal(SignalKind::Offer, &id, &offer).await?;
//!         }
//!         Event::Signal { kind, from, data, .. } => println!("{kind} from {from}: {data}"),
//!         Event::Closed { code, reason } => break println!("closed with {code}: {reason}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The example `two_peers` has a whole conversation. The client knows the messages of the native dialect and nothing of
//! how a hub works inside. So it works with any hub that has the dialect.
//!
//! Invariants: [`Client::next_event`] is cancel-safe and returns every message exactly once; `data` of a signal is
//! passed on byte for byte; no message of a hub causes a panic. Runs on tokio, and spawns no task.
//!
//! With the feature `coordinator` there is also the module [`coordinator`], which connects two peers behind NATs.
#![warn(missing_docs)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

#[cfg(feature = "coordinator")]
pub mod coordinator;
mod event;
mod hub_url;
mod peer_id;

use std::{sync::Arc, time::Duration};

use futures::{SinkExt, StreamExt};
use http::{HeaderValue, StatusCode, header::AUTHORIZATION};
use serde::Serialize;
use serde_json::value::RawValue;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
    tungstenite::{
        Error as WsError, Message,
        client::IntoClientRequest,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

pub use event::{Event, SignalKind};
pub use hub_url::{HubUrl, InvalidHubUrl};
use hubmesh_causes as causes;
pub use peer_id::{InvalidPeerId, PeerId};

/// The network of a peer that names none.
pub const DEFAULT_NETWORK: &str = "global";

/// How long [`Client::close`] waits for the hub's half of the closing handshake.
const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// The longest message accepted from a hub: a signal of the largest size that hubs accept, and some more.
const MAX_MESSAGE_BYTES: usize = 17 * 1024 * 1024;

/// Where to connect, and with which id.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// The address of the hub.
    pub hub: HubUrl,
    /// The id of this peer. No other peer may use it meanwhile.
    pub id: PeerId,
    /// Sent as `Authorization: Bearer`.
    pub token: Option<String>,
    /// The longest that DNS, TCP, TLS and the upgrade may take together.
    pub timeout: Duration,
    /// The TLS configuration for a hub at `wss://`; `None`: use the system's root certificates.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

impl ConnectOptions {
    /// A fresh random id, no token, ten seconds.
    pub fn new(hub: HubUrl) -> Self {
        Self {
            hub,
            id: PeerId::random(),
            token: None,
            timeout: Duration::from_secs(10),
            tls: None,
        }
    }
}

/// Why there is no connection. In none of these cases does the hub have any state of ours.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The hub did not answer: DNS, TCP or TLS failed, or the time was over.
    #[error("cannot reach {hub}: {reason}")]
    Unreachable {
        /// The address of the hub.
        hub: HubUrl,
        /// Why, in words for the person who can fix it.
        reason: String,
    },
    /// The hub answered and refused this peer.
    #[error("{hub} refused the connection: {status}{}", detail(.reason))]
    Refused {
        /// The address of the hub.
        hub: HubUrl,
        /// The HTTP status of its answer.
        status: StatusCode,
        /// In the hub's words; empty if it gave none.
        reason: String,
    },
    /// The token has bytes that no HTTP header can carry.
    #[error("the token holds characters that an HTTP header cannot carry")]
    BadToken,
}

/// Why a message could not be sent: the connection is gone, and [`Client::next_event`] says how it ended.
#[derive(Debug, Error)]
#[error("the connection to the hub is gone: {}", causes::of_socket(.0))]
pub struct SendError(#[source] Box<WsError>);

/// One open connection to a hub.
pub struct Client {
    id: PeerId,
    network: String,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    closed: Option<Event>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outgoing<'a, D: Serialize + ?Sized> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_peer_id: Option<&'a str>,
    network_name: &'a str,
    data: &'a D,
}

impl Client {
    /// Connects and upgrades. The peer is known to the hub afterwards, and to other peers only once it announces itself.
    pub async fn connect(options: &ConnectOptions) -> Result<Self, ConnectError> {
        let request = upgrade_request(options)?;
        if options.hub.is_tls() {
            // Other code in the process may have installed a provider already; that one will do.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let connector = options.tls.clone().map(Connector::Rustls);
        let dialing =
            connect_async_tls_with_config(request, Some(socket_config()), true, connector);
        match tokio::time::timeout(options.timeout, dialing).await {
            Ok(Ok((socket, _response))) => Ok(Self {
                id: options.id.clone(),
                network: DEFAULT_NETWORK.to_owned(),
                socket,
                closed: None,
            }),
            Ok(Err(error)) => Err(connect_error(&options.hub, error)),
            Err(_elapsed) => Err(ConnectError::Unreachable {
                hub: options.hub.clone(),
                reason: format!("no answer within {:?}", options.timeout),
            }),
        }
    }

    /// The id that this peer connected with.
    pub fn id(&self) -> &PeerId {
        &self.id
    }

    /// The last announced network.
    pub fn network(&self) -> &str {
        &self.network
    }

    /// Joins `network`, or moves to it; `data` is shown to its members.
    pub async fn announce(
        &mut self,
        network: &str,
        data: &impl Serialize,
    ) -> Result<(), SendError> {
        network.clone_into(&mut self.network);
        self.send("announce", None, data).await
    }

    /// Sends a signal to one peer of this peer's network. `data` is passed on byte for byte.
    pub async fn signal(
        &mut self,
        kind: SignalKind,
        to: &str,
        data: &RawValue,
    ) -> Result<(), SendError> {
        self.send(kind.as_str(), Some(to), data).await
    }

    /// Asks the hub for an [`Event::Pong`].
    pub async fn ping(&mut self) -> Result<(), SendError> {
        self.send("ping", None, &Empty {}).await
    }

    /// Leaves the network. The socket stays open.
    pub async fn goodbye(&mut self) -> Result<(), SendError> {
        self.send("goodbye", None, &Empty {}).await
    }

    /// Sends `text` unchanged: for tests that break the dialect's rules.
    pub async fn send_text(&mut self, text: impl Into<String>) -> Result<(), SendError> {
        self.write(Message::text(text.into())).await
    }

    /// Sends a binary message, which the dialect does not have: for tests.
    pub async fn send_binary(&mut self, bytes: Vec<u8>) -> Result<(), SendError> {
        self.write(Message::binary(bytes)).await
    }

    /// The next message of the hub. After [`Event::Closed`] it is `Closed` for ever. Cancel-safe.
    pub async fn next_event(&mut self) -> Event {
        if let Some(closed) = &self.closed {
            return closed.clone();
        }
        loop {
            let event = match self.socket.next().await {
                Some(Ok(Message::Text(text))) => event::parse(text.as_str()),
                Some(Ok(Message::Close(frame))) => closed_by(frame.as_ref()),
                Some(Ok(Message::Binary(_))) => Event::Other {
                    kind: "binary".to_owned(),
                    text: String::new(),
                },
                // tungstenite answers pings by itself.
                Some(Ok(_)) => continue,
                Some(Err(error)) => broken(&error),
                None => broken(&WsError::ConnectionClosed),
            };
            if matches!(event, Event::Closed { .. }) {
                self.closed = Some(event.clone());
            }
            return event;
        }
    }

    /// Says `goodbye`, closes with 1000 and waits a moment for the hub's close frame.
    pub async fn close(mut self) {
        if self.closed.is_some() || self.goodbye().await.is_err() {
            return;
        }
        let frame = CloseFrame {
            code: CloseCode::Normal,
            reason: "goodbye".into(),
        };
        if self.socket.close(Some(frame)).await.is_err() {
            return;
        }
        let agreed = async { while !matches!(self.next_event().await, Event::Closed { .. }) {} };
        // If the hub does not close its half, the socket is closed when `self` is dropped.
        let _ = tokio::time::timeout(CLOSE_GRACE, agreed).await;
    }

    async fn send<D: Serialize + ?Sized>(
        &mut self,
        kind: &str,
        to: Option<&str>,
        data: &D,
    ) -> Result<(), SendError> {
        let message = Outgoing {
            kind,
            target_peer_id: to,
            network_name: &self.network,
            data,
        };
        let text = serde_json::to_string(&message)
            .map_err(|error| SendError(Box::new(WsError::Io(error.into()))))?;
        self.write(Message::text(text)).await
    }

    async fn write(&mut self, message: Message) -> Result<(), SendError> {
        self.socket
            .send(message)
            .await
            .map_err(|error| SendError(Box::new(error)))
    }
}

#[derive(Serialize)]
struct Empty {}

fn socket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(8 * 1024)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES))
}

fn upgrade_request(options: &ConnectOptions) -> Result<http::Request<()>, ConnectError> {
    let url = options.hub.for_peer(&options.id);
    let mut request =
        url.as_str()
            .into_client_request()
            .map_err(|error| ConnectError::Unreachable {
                hub: options.hub.clone(),
                reason: error.to_string(),
            })?;
    if let Some(token) = &options.token {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| ConnectError::BadToken)?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    Ok(request)
}

fn connect_error(hub: &HubUrl, error: WsError) -> ConnectError {
    match error {
        WsError::Http(response) => ConnectError::Refused {
            hub: hub.clone(),
            status: response.status(),
            reason: causes::said(response.body().as_deref().unwrap_or_default()),
        },
        other => ConnectError::Unreachable {
            hub: hub.clone(),
            reason: causes::of_socket(&other),
        },
    }
}

fn closed_by(frame: Option<&CloseFrame>) -> Event {
    // 1005 is what RFC 6455 calls a close frame without a code.
    frame.map_or_else(
        || Event::Closed {
            code: 1005,
            reason: String::new(),
        },
        |frame| Event::Closed {
            code: frame.code.into(),
            reason: frame.reason.to_string(),
        },
    )
}

fn broken(error: &WsError) -> Event {
    // 1006 is what RFC 6455 calls an end without a close frame.
    Event::Closed {
        code: 1006,
        reason: causes::of_socket(error),
    }
}

fn detail(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    }
}

#[cfg(test)]
mod tests;
