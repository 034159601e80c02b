//! Asks a hub for its ICE servers: one HTTP request, over TLS if the hub's address says so.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::again;
use super::ice::{self, IceServers};
use super::tls::{self, AnyError};
use crate::HubUrl;

/// The longest time for the whole request.
const LIMIT: Duration = Duration::from_secs(10);
/// The most bytes of the answer.
const LONGEST: usize = 64 * 1024;

/// Why a hub did not name its servers.
#[derive(Debug, Error)]
pub enum IceServersError {
    /// There was no answer, or none that can be read: the hub cannot be reached, was too slow, or sent something else
    /// than a list of servers.
    #[error("cannot ask {hub} for its ICE servers: {reason}")]
    Unreachable {
        /// The hub that was asked.
        hub: HubUrl,
        /// Why, in words.
        reason: String,
    },
    /// The hub answered with the HTTP status of a failure: it refuses this peer, or is full.
    #[error("{hub} refused to name its ICE servers: {status}")]
    Refused {
        /// The hub that was asked.
        hub: HubUrl,
        /// The HTTP status of its answer.
        status: StatusCode,
    },
    /// The token has bytes that no HTTP header can carry.
    #[error("the token holds characters that an HTTP header cannot carry")]
    BadToken,
}

impl IceServersError {
    /// Whether the same request may succeed a little later.
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => again::is_temporary(*status),
            Self::BadToken => false,
        }
    }
}

/// The servers that a hub names for this peer; empty if it answers 404.
pub(super) async fn ice_servers(
    hub: &HubUrl,
    peer: &str,
    token: Option<&str>,
    tls: Option<Arc<rustls::ClientConfig>>,
) -> Result<IceServers, IceServersError> {
    let unreachable = |reason: String| IceServersError::Unreachable {
        hub: hub.clone(),
        reason,
    };
    let request = request(hub, peer, token)?;
    let asked = tokio::time::timeout(LIMIT, ask(hub, request, tls)).await;
    let (status, body) = asked
        .map_err(|_| unreachable(format!("no answer within {LIMIT:?}")))?
        .map_err(|error| unreachable(tls::words(&*error)))?;
    match status {
        StatusCode::OK => ice::read_answer(&body)
            .map_err(|error| unreachable(format!("its answer is no list of them: {error}"))),
        StatusCode::NOT_FOUND => Ok(IceServers::default()),
        status => Err(IceServersError::Refused {
            hub: hub.clone(),
            status,
        }),
    }
}

fn request(
    hub: &HubUrl,
    peer: &str,
    token: Option<&str>,
) -> Result<Request<Empty<Bytes>>, IceServersError> {
    let query: String = url::form_urlencoded::byte_serialize(peer.as_bytes()).collect();
    let mut request = Request::builder()
        .uri(format!("/ice-servers?peerId={query}"))
        .header(header::HOST, format!("{}:{}", hub.host(), hub.port()));
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    // Only the token can be invalid here.
    let request = request.body(Empty::new());
    request.map_err(|_| IceServersError::BadToken)
}

async fn ask(
    hub: &HubUrl,
    request: Request<Empty<Bytes>>,
    tls: Option<Arc<rustls::ClientConfig>>,
) -> Result<(StatusCode, Bytes), AnyError> {
    let host = hub.host().trim_matches(['[', ']']).to_owned();
    let stream = TcpStream::connect((host.as_str(), hub.port())).await?;
    if !hub.is_tls() {
        return get(stream, request).await;
    }
    get(tls::connect(stream, host, tls).await?, request).await
}

async fn get<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: S,
    request: Request<Empty<Bytes>>,
) -> Result<(StatusCode, Bytes), AnyError> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let asking = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LONGEST).collect().await?;
        Ok::<_, AnyError>((status, body.to_bytes()))
    };
    tokio::pin!(asking);
    tokio::select! {
        answer = &mut asking => answer,
        ended = connection => {
            ended?;
            // The bytes that were read still have to be processed.
            asking.await
        }
    }
}
