//! `peer-client serve`: makes connections on request, over HTTP.
//!
//! `GET /p2p/status` and `POST /p2p/connect/{peerId}`. Connections are kept and listed until the other end is done; the
//! asked end echoes, and the asking end only reads. It is for programs on this machine: it refuses a request of a web
//! page, which carries an `Origin`, and one for another host name, because a page may have led that name here. Requests
//! and connections are bounded, and a lack of descriptors is survived.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{Method, Request, Response, StatusCode, header, uri::Authority};
use http_body_util::Full;
use hubmesh_causes as causes;
use hubmesh_cli::Exit;
use hubmesh_client::PeerId;
use hubmesh_client::coordinator::{ConnectFailure, Connected, Coordinator, Error, Tried};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::connect::MOST_ECHOES;
use super::{Common, connect, failed, finish, follow, lost, milliseconds};
use crate::talk::interrupted;

/// Requests at once; more wait until there is space.
const MOST_REQUESTS: usize = 64;
/// How long a client may take to send its request.
const REQUEST_WAIT: Duration = Duration::from_secs(10);
/// The pause after an error of the listening socket, which may last: most come from a lack of descriptors.
const PAUSE: Duration = Duration::from_millis(200);
/// How often such errors are reported.
const COMPLAINT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub struct Arguments {
    /// Where to listen for requests, as 127.0.0.1:9090. Every program that reaches it may use it: there is no
    /// authentication.
    #[arg(long, value_name = "ADDRESS")]
    http: SocketAddr,
    #[command(flatten)]
    common: Common,
    /// This peer's id; a random one when absent.
    #[arg(long, value_name = "PEER_ID")]
    id: Option<PeerId>,
}

/// The state of the server.
struct Serving {
    coordinator: Coordinator,
    id: PeerId,
    connections: Mutex<BTreeMap<u64, Value>>,
    /// What carries the connections; it ends with the server, so that the other ends are told.
    carriers: Mutex<JoinSet<()>>,
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
            let why = causes::of_io(&error);
            eprintln!("peer-client: cannot listen on {}: {why}", arguments.http);
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
                carriers: Mutex::default(),
                next: 0.into(),
            });
            let exit = tokio::select! {
                () = interrupted() => Exit::Ok,
                exit = lost(&coordinator) => exit,
                exit = serve(listener, &serving) => exit,
            };
            let mut carriers = std::mem::take(&mut *serving.carriers());
            carriers.shutdown().await;
            exit
        }
        Err(error) => failed(&error),
    };
    finish(&coordinator, printing).await;
    exit
}

async fn serve(listener: TcpListener, serving: &Arc<Serving>) -> Exit {
    match listener.local_addr() {
        Ok(address) => announce(address),
        Err(error) => {
            eprintln!("peer-client: {}", causes::of_io(&error));
            return Exit::Failed;
        }
    }
    let mut clients = JoinSet::new();
    let mut complained = None;
    loop {
        tokio::select! {
            accepted = listener.accept(), if clients.len() < MOST_REQUESTS => match accepted {
                Ok((stream, _)) => {
                    clients.spawn(one_client(stream, Arc::clone(serving)));
                }
                Err(error) => {
                    complain(&error, &mut complained);
                    sleep(PAUSE).await;
                }
            },
            Some(_) = clients.join_next() => {}
            connected = serving.coordinator.accept(), if serving.has_room() => match connected {
                Some(connected) => {
                    serving.keep(connected, Asked::Here);
                }
                None => return Exit::Ok,
            },
        }
    }
}

/// Says where it listens, and warns if other machines may reach it.
fn announce(address: SocketAddr) {
    println!("serving on http://{address}");
    if !address.ip().is_loopback() {
        eprintln!(
            "peer-client: {address} is not a loopback address: every program that reaches it can see this peer's connections and have \
             it make others"
        );
    }
}

/// A listening socket fails for a moment, or for as long as descriptors are lacking.
fn complain(error: &io::Error, last: &mut Option<Instant>) {
    if last.is_none_or(|last| last.elapsed() >= COMPLAINT) {
        *last = Some(Instant::now());
        eprintln!(
            "peer-client: cannot accept requests for now: {}",
            causes::of_io(error)
        );
    }
}

/// One request, and its answer.
async fn one_client(stream: TcpStream, serving: Arc<Serving>) {
    let service = service_fn(move |request| {
        let serving = Arc::clone(&serving);
        async move { Ok::<_, Infallible>(serving.answer(&request).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(REQUEST_WAIT)
        .keep_alive(false);
    // A client that breaks off gets no answer.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

/// Whether a request names this machine by an address, or as localhost. A web page may have led any other name here,
/// and then counts as a page of this server.
fn is_meant<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let named = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok().and_then(|host| host.parse().ok()),
        _ => None,
    };
    let is_here = |authority: &Authority| {
        let host = authority.host().trim_matches(['[', ']']);
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok()
    };
    named.is_some_and(|named| is_here(&named)) && request.uri().authority().is_none_or(is_here)
}

/// The end of a connection that was asked for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Here,
    There,
}

impl Serving {
    async fn answer(self: &Arc<Self>, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.headers().contains_key(header::ORIGIN) {
            return refusal(StatusCode::FORBIDDEN, "web pages may not ask");
        }
        if !is_meant(request) {
            return refusal(
                StatusCode::MISDIRECTED_REQUEST,
                "name this machine by an address, or as localhost",
            );
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
        if !self.has_room() {
            return refusal(StatusCode::SERVICE_UNAVAILABLE, "it has enough connections");
        }
        let purpose = json!({"use": "serve"});
        match self
            .coordinator
            .connect_with(peer.as_str(), Some(purpose))
            .await
        {
            Ok(connected) => reply(StatusCode::OK, &self.keep(connected, Asked::There)),
            Err(error) => failure(&error),
        }
    }

    /// Lists a connection, and echoes what comes if this end was asked for it, until the other end is done.
    fn keep(self: &Arc<Self>, connected: Connected, asked: Asked) -> Value {
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
        let mut carriers = self.carriers();
        while carriers.try_join_next().is_some() {}
        carriers.spawn(async move {
            // Broken or done: in both cases it is over.
            let _ = match asked {
                Asked::Here => connect::echo(connected).await,
                Asked::There => connect::listen(connected).await,
            };
            serving.connections().remove(&number);
        });
        shown
    }

    fn has_room(&self) -> bool {
        self.connections().len() < MOST_ECHOES
    }

    fn carriers(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.carriers.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_this_machine_by_an_address_or_as_localhost_and_only_once() {
        let meant = |uri: &str, hosts: &[&str]| {
            let mut request = Request::builder().uri(uri);
            for host in hosts {
                request = request.header(header::HOST, *host);
            }
            is_meant(&request.body(()).unwrap())
        };
        for host in [
            "127.0.0.1:9090",
            "localhost",
            "LOCALHOST:80",
            "[::1]:9090",
            "192.168.1.5",
        ] {
            assert!(meant("/p2p/status", &[host]), "{host}");
        }
        for host in [
            "page.example",
            "127.0.0.1.page.example:9090",
            "localhost.page.example",
            "",
        ] {
            assert!(!meant("/p2p/status", &[host]), "{host}");
        }
        assert!(!meant("/p2p/status", &[]));
        assert!(!meant("/p2p/status", &["localhost", "page.example"]));
        assert!(!meant("http://page.example/p2p/status", &["localhost"]));
    }
}
