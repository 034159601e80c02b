//! TCP connections: accepts them, bounds them, and lets hyper serve each with the routes.
//!
//! A connection that is no WebSocket yet holds one of `MAX_HTTP_CONNECTIONS` slots (see `limits::slots`), has
//! `HEADER_TIMEOUT_MS` for its TLS handshake, if the port speaks TLS, and for each request's head, and has a bounded
//! lifetime. Errors of the listening socket, a lack of file descriptors among them, are counted and survived.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::header::ORIGIN;
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::admin::{Door, Private};
use super::operating::Lasting;
use super::routes::{is_socket, methods_at, routes};
use super::watched::{Owed, Watched};
use super::{App, Backend, admin_api, api, asked, cors, reply};
use crate::limits::{AddressSlot, NoSlot};
use crate::metrics::Refusal;
use crate::tls::{Certificates, Stream};

/// How long the listening socket is left alone when it cannot accept.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);
/// The most bytes that a connection's unread request may take, and the size with which hyper starts its buffer.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// The most fields that a request's head may have, as many as Node.js takes; hyper's own limit is 100.
const MAX_HEADERS: usize = 2000;
/// A connection that is no WebSocket is asked to end after this many times `HEADER_TIMEOUT_MS`.
const LIFETIME_IN_HEADER_TIMEOUTS: u32 = 6;

/// Accepts connections until the app is closed.
pub(super) async fn accept<B: Backend>(
    listener: TcpListener,
    app: Arc<App<B>>,
    certificates: Option<Arc<Certificates>>,
    door: Door,
) {
    let routes = DoorRoutes {
        door,
        filter: routes(&app, door),
    };
    while let Some(accepted) = app.closing.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((tcp, remote)) => {
                let certificates = certificates.clone();
                start(&app, &routes, Caller { tcp, certificates }, remote);
            }
            Err(error) => survive(&app, &error).await,
        }
    }
}

/// The parts of a door.
#[derive(Clone)]
struct DoorRoutes {
    door: Door,
    filter: BoxedFilter<(Response,)>,
}

/// A connection of which nothing has been read.
struct Caller {
    tcp: TcpStream,
    /// Its TLS; `None` leaves it plain.
    certificates: Option<Arc<Certificates>>,
}

/// Handles an error of accepting. A connection that broke while it waited is no reason to pause. Any other error may
/// last, so the hub pauses for a moment.
async fn survive<B: Backend>(app: &App<B>, error: &io::Error) {
    app.metrics.accept_errors.inc();
    let of_the_connection = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    );
    if !of_the_connection {
        if let Some(left_out) = app.accept_failures.due() {
            let hint = hint(error);
            tracing::error!(%error, hint, left_out, "cannot accept connections");
        }
        sleep(PAUSE_AFTER_ERROR).await;
    }
}

/// The remedy for an error, if it is known.
fn hint(error: &io::Error) -> Option<&'static str> {
    let of_this_process = Errno::MFILE.raw_os_error();
    (error.raw_os_error() == Some(of_this_process)).then_some(
        "this process may open no more files: raise its limit (ulimit -n, LimitNOFILE= in systemd) above \
         MAX_CONNECTIONS + MAX_HTTP_CONNECTIONS, or lower those",
    )
}

fn start<B: Backend>(app: &Arc<App<B>>, routes: &DoorRoutes, caller: Caller, remote: SocketAddr) {
    let slot = match app
        .full
        .http
        .watch(app.slots(routes.door).try_take(remote.ip()))
    {
        Ok(slot) => slot,
        Err(why) => {
            if why == NoSlot::AddressFull {
                app.full.http_share.warn(remote.ip());
            }
            app.metrics.refusals.inc(Refusal::HttpFull);
            tracing::debug!(%remote, "a connection was closed: MAX_HTTP_CONNECTIONS are open, or its address has its share");
            return;
        }
    };
    // A socket that closed meanwhile cannot be set, and ends at its first read.
    let _ = caller.tcp.set_nodelay(true);
    app.tasks.spawn(connection(
        Arc::clone(app),
        routes.clone(),
        caller,
        remote,
        slot,
    ));
}

async fn connection<B: Backend>(
    app: Arc<App<B>>,
    routes: DoorRoutes,
    caller: Caller,
    remote: SocketAddr,
    slot: AddressSlot,
) {
    app.metrics.http_connections_open.inc();
    let stream = match caller.certificates {
        None => Some(Stream::Plain(caller.tcp)),
        // Boxed, so that the task of a plain connection is no larger.
        Some(certificates) => Box::pin(secure(&app, &certificates, caller.tcp, remote)).await,
    };
    if let Some(stream) = stream {
        converse(&app, routes, stream, remote).await;
    }
    app.metrics.http_connections_open.dec();
    drop(slot);
}

/// TLS over a connection, if its handshake gets a slot, and the client manages within `HEADER_TIMEOUT_MS`.
async fn secure<B: Backend>(
    app: &App<B>,
    certificates: &Certificates,
    tcp: TcpStream,
    remote: SocketAddr,
) -> Option<Stream> {
    let slot = match app.enter_tls(remote.ip()) {
        Ok(slot) => slot,
        Err(why) => {
            if why == NoSlot::AddressFull {
                app.full.tls_share.warn(remote.ip());
            }
            return no_slot_for_tls(app, remote);
        }
    };
    let accepting = certificates.accept(tcp, &slot, &app.tls_turns);
    let shaking_hands = timeout(app.config.header_timeout, accepting);
    let done = tokio::select! {
        done = app.closing.run_until_cancelled(shaking_hands) => done?,
        () = slot.lost() => return no_slot_for_tls(app, remote),
    };
    let why = match done {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(why)) => why,
        Err(_late) => io::ErrorKind::TimedOut.into(),
    };
    match why.kind() {
        io::ErrorKind::TimedOut => app.metrics.refusals.inc(Refusal::HeaderTimeout),
        // This kind is an error of rustls; any other kind is of a connection that was lost.
        io::ErrorKind::InvalidData => app.metrics.refusals.inc(Refusal::TlsHandshake),
        _ => {}
    }
    tracing::debug!(%remote, %why, "no TLS with a client");
    None
}

/// A handshake got no slot, or lost its slot to another.
fn no_slot_for_tls<B: Backend>(app: &App<B>, remote: SocketAddr) -> Option<Stream> {
    app.metrics.refusals.inc(Refusal::TlsFull);
    tracing::debug!(%remote, "a TLS handshake was ended: there are MAX_TLS_HANDSHAKES, or its address has its share");
    None
}

/// HTTP over a connection, until it ends or becomes a WebSocket.
async fn converse<B: Backend>(
    app: &Arc<App<B>>,
    routes: DoorRoutes,
    stream: Stream,
    remote: SocketAddr,
) {
    let head_timeout = app.config.header_timeout;
    let (stream, owed) = Watched::new(stream);
    let lasting = Arc::new(OnceLock::new());
    let service = {
        let (app, owed, lasting) = (Arc::clone(app), owed.clone(), Arc::clone(&lasting));
        service_fn(move |request| {
            owed.settle();
            let answering = answer(Arc::clone(&app), routes.clone(), request, remote);
            let lasting = Arc::clone(&lasting);
            async move {
                let answered = answering.await;
                if let Ok(response) = &answered
                    && let Some(Lasting(stalled)) = response.extensions().get()
                {
                    // The first token lasts for as long as its connection.
                    let _ = lasting.set(stalled.clone());
                }
                answered
            }
        })
    };
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut http = pin!(http);
    let ended = tokio::select! {
        ended = http.as_mut() => Some(ended),
        () = over(head_timeout, &lasting) => None,
        () = app.closing.cancelled() => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            http.as_mut().graceful_shutdown();
            let last = app.killed.run_until_cancelled(timeout(head_timeout, http));
            last.await.and_then(Result::ok).unwrap_or(Ok(()))
        }
    };
    if let Err(why) = ended {
        if let Some(refused) = refusal(&why, &owed) {
            app.metrics.refusals.inc(refused);
        }
        tracing::debug!(%remote, %why, "a connection ended early");
    }
}

/// Waits until a connection has to end: after its time, or when a streamed answer has lost its reader.
async fn over(head_timeout: Duration, lasting: &OnceLock<CancellationToken>) {
    sleep(head_timeout * LIFETIME_IN_HEADER_TIMEOUTS).await;
    if let Some(stalled) = lasting.get() {
        stalled.cancelled().await;
    }
}

/// The refusal that an error of hyper counts as. A client that closes its connection is not counted, nor is a client
/// that has its answer and sends no further request.
fn refusal(why: &hyper::Error, owed: &Owed) -> Option<Refusal> {
    if why.is_timeout() {
        return owed.is_due().then_some(Refusal::HeaderTimeout);
    }
    why.is_parse().then_some(Refusal::BadRequest)
}

/// Answers one request by the routes, and adds the parts that all answers have.
async fn answer<B: Backend>(
    app: Arc<App<B>>,
    routes: DoorRoutes,
    mut request: Request<Incoming>,
    remote: SocketAddr,
) -> Result<Response, Infallible> {
    let version = request.version();
    request.extensions_mut().insert(remote);
    request.extensions_mut().insert(version);
    let origin = request.headers().get(ORIGIN).cloned();
    let door = routes.door;
    let mut response = if request.method() == Method::OPTIONS {
        options(&app, door, &request)
    } else if has_no_turn(door, &request) {
        TowerToHyperService::new(warp::service(routes.filter))
            .call(request)
            .await?
    } else {
        page(&app, routes, request).await?
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // A connection may have any number of further requests at hand.
        yield_now().await;
    }
    if door == Door::Public && response.extensions().get::<Private>().is_none() {
        cors::decorate(&mut response, &app.config.cors, origin.as_ref());
    }
    app.metrics.http_responses.inc(class(response.status()));
    Ok(response)
}

/// The answer to `OPTIONS`. Browsers ask which requests they may send, and load balancers whether the hub is well. At
/// the operators' door a page of another origin may send no request.
fn options<B: Backend, T>(app: &App<B>, door: Door, request: &Request<T>) -> Response {
    let headers = request.headers();
    let methods = methods_at(app, door, request.uri().path());
    match door {
        _ if app.is_draining() && !cors::is_preflight(headers) => app.draining_response(),
        // Pages of other origins may send no request to these paths either.
        Door::Public if request.uri().path().starts_with(admin_api::PATH) => {
            reply::options(&methods)
        }
        Door::Public => cors::preflight(headers, &methods, &app.config.cors),
        Door::Admin => reply::options(&methods),
    }
}

/// Whether a request needs no turn here: it asks for a WebSocket, or its page takes a turn by itself.
fn has_no_turn<T>(door: Door, request: &Request<T>) -> bool {
    let path = request.uri().path();
    let of_others = [admin_api::PATH, api::PATH];
    of_others.iter().any(|others| path.starts_with(others))
        || (door == Door::Public && is_for_a_socket(request))
}

/// Whether it asks for a WebSocket at a path that may have one. Requests for a WebSocket wait for no page; a request
/// that only says `Upgrade` does.
fn is_for_a_socket<T>(request: &Request<T>) -> bool {
    let path = request.uri().path();
    let is_there = path.strip_prefix('/').is_some_and(is_socket) || path.ends_with("/peerjs");
    is_there && request.method() == Method::GET && asked::is_requested(request.headers())
}

/// Makes one page, when it is its turn. After each page the sockets of all peers are served first, so that they wait
/// for one page at most, however many requests arrive.
async fn page<B: Backend>(
    app: &App<B>,
    routes: DoorRoutes,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    // The semaphore is never closed.
    let _turn = app.turn(routes.door).acquire().await;
    let response = TowerToHyperService::new(warp::service(routes.filter))
        .call(request)
        .await;
    yield_now().await;
    response
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(method: &str, uri: &str, upgrade: &str) -> bool {
        let request = Request::builder().method(method).uri(uri);
        let request = request.header("upgrade", upgrade).body(());
        !is_for_a_socket(&request.expect("a request"))
    }

    #[test]
    fn only_a_request_for_a_websocket_where_one_may_be_waits_for_no_page() {
        for socket in [
            "/",
            "/?peerId=a",
            "/ws",
            "/yjs",
            "/mesh",
            "/peerjs?key=a",
            "/a/peerjs",
        ] {
            assert!(!waits("GET", socket, "WebSocket"), "{socket}");
            assert!(waits("GET", socket, "h2c"), "{socket}");
            assert!(waits("HEAD", socket, "websocket"), "{socket}");
        }
        for page in [
            "/metrics",
            "/hubs",
            "/stats",
            "/peerjs/peers",
            "/ws/metrics",
        ] {
            assert!(waits("GET", page, "websocket"), "{page}");
            assert!(waits("GET", page, "h2c"), "{page}");
        }
    }
}
