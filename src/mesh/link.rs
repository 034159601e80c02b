//! One hub-to-hub WebSocket, from handshake to end.
//!
//! Two halves run side by side: the reader hands data messages to the router itself and control messages to the driver;
//! the writer takes all messages from the queue and flushes once. Order rule: a link may wait for the driver, but the
//! driver never waits for a link. Knows nothing of topology or claims.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{self, Either};
use futures::{SinkExt, StreamExt};
use http::StatusCode;
use hubmesh_causes as causes;
use hubmesh_core::ids::LinkId;
use hubmesh_core::reach::Reach;
use hubmesh_core::wire;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tokio_tungstenite::{Connector, client_async_tls_with_config};

use super::advertised::{Address, Budget, NotDialled};
use super::control_intake::ControlIntake;
use super::handshake::Socket;
use super::link_queue::{LinkQueue, Work};
use super::progress::{Observed, Progress};
use super::router::Router;
use crate::tls::{NoRoots, Trust};
use crate::unsent::{self, Unsent};

/// The longest time from a dial to an open WebSocket, TLS included.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// If a socket accepts none of the waiting bytes for this long, the link is stuck. On a closing link, writing all of
/// the waiting bytes may take this long.
const WRITE_WITHIN: Duration = Duration::from_secs(10);
/// How long a closing link may take to write its last message.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// How many characters of a refusal's words go into the log.
const MAX_WORDS: usize = 200;
/// The most bytes that one socket call moves.
const SOCKET_BUFFER: usize = 64 * 1024;
/// The longest message between hubs, in bytes: a batch, and behind it the longest signal between hubs
/// ([`wire::MAX_PAYLOAD`]), doubled. The handshake of an unknown client may take as much memory, so the limit must not
/// be raised for signals alone.
const MAX_LINK_MESSAGE: usize = 2 * 1024 * 1024;

/// The configuration of hub-to-hub sockets for tungstenite, at either end.
pub fn socket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(SOCKET_BUFFER)
        .write_buffer_size(SOCKET_BUFFER)
        .max_write_buffer_size(4 * MAX_LINK_MESSAGE)
        .max_message_size(Some(MAX_LINK_MESSAGE))
        .max_frame_size(Some(MAX_LINK_MESSAGE))
}

/// The destination of a dial.
pub enum Destination<'a> {
    /// An address that the operator has configured, at any reach.
    Configured(&'a str),
    /// An address that other hubs advertise.
    Advertised {
        /// The address.
        url: &'a str,
        /// The reach of the nearest of these hubs.
        told_by: Reach,
        /// How often each address may still be called.
        budget: &'a Budget,
    },
}

/// Why a hub was not reached. Nothing changed at either end.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No connection, no WebSocket, or neither in time.
    #[error("{}", causes::of_socket(.0))]
    Socket(#[from] SocketError),
    /// An advertised address that must not be dialled.
    #[error(transparent)]
    NotDialled(#[from] NotDialled),
    /// The other hub refuses to accept links from this one, for example because its mesh is open and this hub is far
    /// away. An operator has to fix it.
    #[error("refused before the handshake: {0}")]
    Forbidden(String),
    /// The two ends do not agree on TLS: mostly because this hub does not trust the certificate. An operator has to fix
    /// it.
    #[error("{}", causes::of_tls(.0))]
    Tls(rustls::Error),
    /// This end has no root certificates to verify the other end with. An operator has to fix it.
    #[error(transparent)]
    NoRoots(#[from] NoRoots),
}

impl ConnectError {
    /// The label in metrics and logs.
    pub fn label(&self) -> &'static str {
        match self {
            ConnectError::Socket(_) => "unreachable",
            ConnectError::NotDialled(not) => not.label(),
            ConnectError::Forbidden(_) => "forbidden",
            ConnectError::Tls(_) | ConnectError::NoRoots(_) => "tls",
        }
    }

    /// Whether the cause lasts until an operator acts.
    pub fn is_an_operators(&self) -> bool {
        !matches!(self, ConnectError::Socket(_) | ConnectError::NotDialled(_))
    }

    /// Converts an error of the socket, which may contain an error of rustls.
    fn of(why: SocketError) -> Self {
        match why {
            SocketError::Io(why) => match why.downcast::<rustls::Error>() {
                Ok(why) => ConnectError::Tls(why),
                Err(why) => ConnectError::Socket(why.into()),
            },
            SocketError::Http(answer) if answer.status() == StatusCode::FORBIDDEN => {
                ConnectError::Forbidden(words(answer.body().as_deref()))
            }
            why => ConnectError::Socket(why),
        }
    }
}

/// The reason in a hub's answer, cut to [`MAX_WORDS`] characters.
fn words(body: Option<&[u8]>) -> String {
    #[derive(serde::Deserialize)]
    struct Answer {
        error: String,
    }
    let said = body.and_then(|body| serde_json::from_slice::<Answer>(body).ok());
    said.map_or_else(
        || "403 Forbidden".to_owned(),
        |said| said.error.chars().take(MAX_WORDS).collect(),
    )
}

/// Opens a WebSocket to a hub, over TLS if its address begins with `wss`; returns the reach of the other end.
pub async fn connect(
    destination: Destination<'_>,
    trust: &Trust,
) -> Result<(impl Socket + 'static, Arc<Progress>, Reach), ConnectError> {
    let opening = async {
        let (url, stream) = match destination {
            Destination::Configured(url) => (url.to_owned(), tcp_to(url).await?),
            Destination::Advertised {
                url,
                told_by,
                budget,
            } => {
                let address = Address::of(url)?;
                let found = address.resolve(told_by, budget).await?;
                let stream = TcpStream::connect(found.as_slice()).await;
                (address.into_url(), stream.map_err(SocketError::Io)?)
            }
        };
        stream.set_nodelay(true).map_err(SocketError::Io)?;
        unsent::bound(&stream, Unsent::OfLink);
        let reach = Reach::of(stream.peer_addr().map_err(SocketError::Io)?.ip());
        let connector = match url.starts_with("wss:") {
            true => Connector::Rustls(trust.config().await?),
            false => Connector::Plain,
        };
        let stream = Observed::new(stream);
        let progress = Arc::clone(stream.progress());
        let opened =
            client_async_tls_with_config(url, stream, Some(socket_config()), Some(connector)).await;
        let (socket, _) = opened.map_err(ConnectError::of)?;
        Ok((socket, progress, reach))
    };
    match tokio::time::timeout(CONNECT_WITHIN, opening).await {
        Ok(result) => result,
        Err(_) => Err(SocketError::Io(std::io::ErrorKind::TimedOut.into()).into()),
    }
}

async fn tcp_to(url: &str) -> Result<TcpStream, SocketError> {
    let parsed = url::Url::parse(url).map_err(|_| SocketError::Url(bad_url(url)))?;
    let host = parsed
        .host_str()
        .ok_or_else(|| SocketError::Url(bad_url(url)))?;
    let port = parsed.port_or_known_default().unwrap_or(80);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    TcpStream::connect((host, port))
        .await
        .map_err(SocketError::Io)
}

fn bad_url(url: &str) -> tokio_tungstenite::tungstenite::error::UrlError {
    tokio_tungstenite::tungstenite::error::UrlError::UnableToConnect(url.to_owned())
}

/// Runs a link until either end closes it.
pub async fn carry(
    link: LinkId,
    socket: impl Socket + 'static,
    queue: Arc<LinkQueue>,
    router: Arc<Router>,
    driver: ControlIntake,
) {
    let (sink, stream) = socket.split();
    let writing = write(sink, &queue, &router);
    let reading = read(link, stream, &router, &driver);
    // The half that ends first ends the other: a link with one direction is useless.
    let ended = future::select(Box::pin(writing), Box::pin(reading)).await;
    if let Either::Left((Closing::InOrder, reading)) = ended {
        // A socket that is dropped with unread bytes is reset, and the last message is lost with it.
        let _ = tokio::time::timeout(CLOSE_WITHIN, reading).await;
    }
}

/// How the writing half ended.
enum Closing {
    /// With the last message and a close frame.
    InOrder,
    /// The socket failed, or took too long.
    Broken,
}

async fn write(
    mut sink: impl SinkExt<Message, Error = SocketError> + Unpin,
    queue: &LinkQueue,
    router: &Router,
) -> Closing {
    loop {
        let work = future::poll_fn(|context| queue.poll_work(context)).await;
        let done = match work {
            Work::Write { messages, control } => {
                if control {
                    // Links with space for a control message are served whenever the driver is awake.
                    router.to_driver.wake.notify_one();
                }
                in_time(write_all(&mut sink, messages, false), queue).await
            }
            Work::Close(bye) => {
                let done = write_all(&mut sink, vec![bye], true);
                tokio::time::timeout(CLOSE_WITHIN, done).await.ok()
            }
        };
        match done {
            Some(Ok(true)) => {}
            Some(Ok(false)) => return Closing::InOrder,
            _ => return Closing::Broken,
        }
    }
}

/// The result of `done`, as long as the socket accepts some bytes now and then. A link that closes gets this time only
/// once.
async fn in_time<T>(done: impl Future<Output = T>, queue: &LinkQueue) -> Option<T> {
    let mut done = pin!(done);
    loop {
        let before = queue.progress().moves();
        match tokio::time::timeout(WRITE_WITHIN, &mut done).await {
            Ok(done) => return Some(done),
            Err(_) if queue.is_closing() || queue.progress().moves() == before => return None,
            Err(_) => {}
        }
    }
}

/// False once the close frame is written.
async fn write_all(
    sink: &mut (impl SinkExt<Message, Error = SocketError> + Unpin),
    messages: Vec<Bytes>,
    close: bool,
) -> Result<bool, SocketError> {
    for message in messages {
        sink.feed(Message::Binary(message)).await?;
    }
    if close {
        sink.feed(Message::Close(None)).await?;
    }
    sink.flush().await?;
    Ok(!close)
}

async fn read(
    link: LinkId,
    mut stream: impl StreamExt<Item = Result<Message, SocketError>> + Unpin,
    router: &Router,
    driver: &ControlIntake,
) {
    while let Some(Ok(message)) = stream.next().await {
        let Message::Binary(bytes) = message else {
            continue;
        };
        if wire::is_data(&bytes) {
            if router.handle_data(link, &bytes).is_err() {
                if driver.unreadable(link).await.is_err() {
                    return;
                }
                // The driver makes the writer send the reason, which ends both halves.
                return future::pending().await;
            }
            continue;
        }
        router.count_control(&bytes);
        if driver.put(link, bytes).await.is_err() {
            return;
        }
    }
}
