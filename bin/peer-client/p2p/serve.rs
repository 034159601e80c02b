//! `peer-client serve`: makes connections on request, over HTTP.
//!
//! `GET /p2p/status` and `POST /p2p/connect/{peerId}`. Connections are kept, echo what comes, and are listed until the other
//! end is done. It is for programs on this machine: a request of a web page, which carries an `Origin`, is refused.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use clap::Args;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hubmesh_cli::Exit;
use hubmesh_client::PeerId;
use hubmesh_client::coordinator::{ConnectFailure, Connected, Coordinator, Error, Tried};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use super::{Common, connect, failed, finish, follow, lost, milliseconds};
use crate::talk::interrupted;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Where requests are listened for, as 127.0.0.1:9090.
    #[arg(long, value_name = "ADDRESS")]
    http: SocketAddr,
    #[command(flatten)]
    common: Common,
    /// This peer's id; a random one when absent.
    #[arg(long, value_name = "PEER_ID")]
    id: Option<PeerId>,
}

/// What is served.
struct Serving {
    coordinator: Coordinator,
    id: PeerId,
    connections: Mutex<BTreeMap<u64, Value>>,
    next: AtomicU64,
}

pub async fn run(arguments: Arguments) -> Exit {
    let coordinator = match arguments.common.coordinator(true) {
        Ok(coordinator) => coordinator,
        Err(exit) => return exit,
    };
    let listener = match TcpListener::bind(arguments.http).await {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("peer-client: cannot listen on {}: {error}", arguments.http);
            return Exit::Unreachable;
        }
    };
    let printing = follow(&coordinator, arguments.common.json);
    let id = arguments.id.unwrap_or_else(PeerId::random);
    let exit = match coordinator.register_peer(&id).await {
        Ok(()) => {
            let serving = Arc::new(Serving {
                coordinator: coordinator.clone(),
                id,
                connections: Mutex::default(),
                next: 0.into(),
            });
            tokio::select! {
                () = interrupted() => Exit::Ok,
                exit = lost(&coordinator) => exit,
                exit = serve(listener, serving) => exit,
            }
        }
        Err(error) => failed(&error),
    };
    finish(&coordinator, printing).await;
    exit
}

async fn serve(listener: TcpListener, serving: Arc<Serving>) -> Exit {
    match listener.local_addr() {
        Ok(address) => println!("serving on http://{address}"),
        Err(error) => {
            eprintln!("peer-client: {error}");
            return Exit::Failed;
        }
    }
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    tokio::spawn(one_client(stream, Arc::clone(&serving)));
                }
                Err(error) => {
                    eprintln!("peer-client: cannot accept: {error}");
                    return Exit::Failed;
                }
            },
            connected = serving.coordinator.accept() => match connected {
                Some(connected) => {
                    serving.keep(connected);
                }
                None => return Exit::Ok,
            },
        }
    }
}

async fn one_client(stream: TcpStream, serving: Arc<Serving>) {
    let service = service_fn(move |request| {
        let serving = Arc::clone(&serving);
        async move { Ok::<_, Infallible>(serving.answer(&request).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new());
    // A client that breaks off is answered by nobody.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

impl Serving {
    async fn answer(self: &Arc<Self>, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.headers().contains_key(header::ORIGIN) {
            return refusal(StatusCode::FORBIDDEN, "web pages may not ask");
        }
        let path = request.uri().path();
        match (request.method(), path, path.strip_prefix("/p2p/connect/")) {
            (&Method::GET, "/p2p/status", _) => reply(StatusCode::OK, &self.status()),
            (&Method::POST, _, Some(peer)) => self.connect(peer).await,
            (_, "/p2p/status", _) | (_, _, Some(_)) => refusal(
                StatusCode::METHOD_NOT_ALLOWED,
                "GET for the status, POST to connect",
            ),
            _ => refusal(
                StatusCode::NOT_FOUND,
                "there are /p2p/status and /p2p/connect/PEER",
            ),
        }
    }

    fn status(&self) -> Value {
        let connections = self.connections();
        json!({
            "peerId": self.id.as_str(),
            "nat": self.coordinator.last_nat_info(),
            "strategy": self.coordinator.recommended_strategy(),
            "stats": self.coordinator.stats(),
            "connections": connections.values().collect::<Vec<_>>(),
        })
    }

    async fn connect(self: &Arc<Self>, peer: &str) -> Response<Full<Bytes>> {
        let peer: PeerId = match peer.parse() {
            Ok(peer) => peer,
            Err(error) => return refusal(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        let purpose = json!({"use": "serve"});
        match self
            .coordinator
            .connect_with(peer.as_str(), Some(purpose))
            .await
        {
            Ok(connected) => reply(StatusCode::OK, &self.keep(connected)),
            Err(error) => failure(&error),
        }
    }

    /// Lists a connection and echoes what comes, until the other end is done.
    fn keep(self: &Arc<Self>, connected: Connected) -> Value {
        let shown = json!({
            "peerId": connected.peer,
            "method": connected.method,
            "way": connected.way,
            "remote": connected.remote,
            "milliseconds": milliseconds(connected.took),
            "tried": connected.tried.iter().map(tried).collect::<Vec<_>>(),
        });
        let number = self.next.fetch_add(1, Relaxed);
        self.connections().insert(number, shown.clone());
        let serving = Arc::clone(self);
        tokio::spawn(async move {
            // Broken or done: it is over.
            let _ = connect::echo(connected).await;
            serving.connections().remove(&number);
        });
        shown
    }

    fn connections(&self) -> MutexGuard<'_, BTreeMap<u64, Value>> {
        let connections = self.connections.lock();
        connections.unwrap_or_else(PoisonError::into_inner)
    }
}

fn tried(one: &Tried) -> Value {
    json!({"method": one.method, "reason": one.reason, "milliseconds": milliseconds(one.took)})
}

fn failure(error: &Error) -> Response<Full<Bytes>> {
    let status = match error {
        Error::Connect(ConnectFailure::Undeliverable { .. }) => StatusCode::NOT_FOUND,
        Error::Connect(ConnectFailure::Refused { .. }) => StatusCode::FORBIDDEN,
        Error::Connect(ConnectFailure::NoAnswer { .. } | ConnectFailure::TimedOut { .. }) => {
            StatusCode::GATEWAY_TIMEOUT
        }
        Error::Connect(ConnectFailure::NoWay { .. }) => StatusCode::BAD_GATEWAY,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let ways = match error {
        Error::Connect(
            ConnectFailure::NoWay { tried, .. } | ConnectFailure::TimedOut { tried, .. },
        ) => tried.iter().map(self::tried).collect(),
        _ => Vec::new(),
    };
    reply(status, &json!({"error": error.to_string(), "tried": ways}))
}

fn refusal(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    reply(status, &json!({"error": why}))
}

fn reply(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
