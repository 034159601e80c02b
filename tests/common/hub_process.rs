//! A hub as a process of its own, for tests of a real hub.
//!
//! Owns the start (on a port that the system chose, found in the start line of the log), the signals, the end and plain
//! HTTP requests. Invariants: every wait has a limit; the process ends when the value is dropped; the tests'
//! environment does not leak into the hub. Use it with `#[path = "common/hub_process.rs"] mod hub_process;`.
#![allow(dead_code, reason = "every test binary uses a part of its own")]

pub mod built;

use std::convert::Infallible;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Body;
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

/// The limit of every wait without a limit of its own.
pub const LIMIT: Duration = Duration::from_secs(20);

/// The hub's program. Cargo tells its path to the tests of the same package.
pub fn binary() -> PathBuf {
    option_env!("CARGO_BIN_EXE_hubmesh")
        .map_or_else(|| built::program("hubmesh", "hubmesh"), PathBuf::from)
}

/// A running hub.
pub struct HubProcess {
    pub addr: SocketAddr,
    pub child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

/// The environment of a hub that is not started yet.
#[derive(Clone, Default)]
pub struct HubBuilder {
    environment: Vec<(OsString, OsString)>,
}

/// A hub's answer over HTTP.
#[derive(Debug)]
pub struct HttpAnswer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl HttpAnswer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.body))
    }
}

impl HubBuilder {
    /// Sets a variable, in place of an earlier value of it or a default of [`HubProcess`].
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Starts the hub and waits until it serves.
    pub async fn start(self) -> HubProcess {
        let mut child = self.spawn();
        let stdout = child.stdout.take().expect("stdout is piped");
        let log = Arc::default();
        let (found, address) = oneshot::channel();
        tokio::spawn(follow(stdout, Arc::clone(&log), found));
        match timeout(LIMIT, address).await {
            Ok(Ok(addr)) => HubProcess { addr, child, log },
            failed => panic!("the hub does not serve ({failed:?}): {:#?}", log.lock()),
        }
    }

    /// Starts a hub that is expected to end before it serves; gives its status and standard error.
    pub async fn start_and_fail(self) -> (ExitStatus, String) {
        let mut command = self.command();
        command.stderr(Stdio::piped());
        let output = timeout(LIMIT, command.output()).await;
        let output = output.expect("the hub ends in time").expect("it starts");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status, text)
    }

    fn spawn(&self) -> Child {
        self.command().spawn().expect("the hub's binary starts")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command.env_clear();
        for kept in ["PATH", "LLVM_PROFILE_FILE", "RUST_BACKTRACE"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        command
            .env("HOST", "127.0.0.1")
            .env("PORT", "0")
            .env("LOG_FORMAT", "json")
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

impl HubProcess {
    /// A hub on loopback, port 0, JSON log, and otherwise the defaults.
    pub fn builder() -> HubBuilder {
        HubBuilder::default()
    }

    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// A hub that is linked to `self`.
    pub fn neighbour(&self) -> HubBuilder {
        Self::builder().env("BOOTSTRAP_HUBS", self.ws_url())
    }

    pub fn ws_url(&self) -> String {
        format!("ws://{}", self.addr)
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("the hub runs")
    }

    /// The lines of the log so far.
    pub fn log_lines(&self) -> Vec<String> {
        self.log.lock().expect("no reader panicked").clone()
    }

    /// Ends the process at once, as `kill -9` does, and waits until it is gone.
    pub async fn kill9(&mut self) {
        timeout(LIMIT, self.child.kill())
            .await
            .expect("a killed process goes in time")
            .expect("the hub was there to be killed");
    }

    /// Asks the hub to drain and end, as `kill` does.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends a signal to the process. While it is stopped, its sockets stay open and it answers nothing.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a valid pid"), signal).expect("the hub is there");
    }

    /// Waits until the process has ended.
    pub async fn wait_exit(&mut self) -> ExitStatus {
        timeout(LIMIT, self.child.wait())
            .await
            .expect("the hub ends in time")
            .expect("the hub can be waited for")
    }

    pub async fn http_get(&self, path: &str) -> HttpAnswer {
        self.http(Method::GET, path, &[]).await
    }

    /// One POST of this text, on a connection of its own.
    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> HttpAnswer {
        let body = Full::from(Bytes::copy_from_slice(body.as_bytes()));
        send(self.addr, Method::POST, path, headers, body).await
    }

    /// One request on a connection of its own.
    pub async fn http(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> HttpAnswer {
        http(self.addr, method, path, headers).await
    }
}

/// One request to the server at this address, on a connection of its own.
pub async fn http(
    addr: SocketAddr,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
) -> HttpAnswer {
    send(addr, method, path, headers, Empty::<Bytes>::new()).await
}

/// One request with a body.
pub async fn send<B>(
    addr: SocketAddr,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: B,
) -> HttpAnswer
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("connection", "close");
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", addr.to_string());
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body).expect("a valid request");
    timeout(LIMIT, ask(addr, request))
        .await
        .unwrap_or_else(|_| panic!("no answer to {path} in time"))
}

async fn ask<B>(addr: SocketAddr, request: Request<B>) -> HttpAnswer
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let stream = TcpStream::connect(addr).await.expect("the hub listens");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .expect("HTTP/1");
    let driver = tokio::spawn(connection);
    let (head, body) = sender
        .send_request(request)
        .await
        .expect("an answer")
        .into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    driver.abort();
    HttpAnswer {
        status: head.status,
        headers: head.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}

/// Waits until a program prints a line that contains `ready`.
pub async fn prints(child: &mut Child, ready: &'static str) {
    let stdout = child.stdout.take().expect("stdout is piped");
    let mut lines = BufReader::new(stdout).lines();
    let (printed, printing) = oneshot::channel();
    tokio::spawn(async move {
        let mut printed = Some(printed);
        // The output is read to its end. Otherwise the program would wait for a reader.
        while let Ok(Some(line)) = lines.next_line().await {
            if line.contains(ready)
                && let Some(printed) = printed.take()
            {
                // The test that waited may have given up.
                let _ = printed.send(());
            }
        }
    });
    let printed = timeout(LIMIT, printing).await;
    let printed = printed.unwrap_or_else(|_| panic!("`{ready}` is not printed in time"));
    printed.expect("the program goes on");
}

/// Keeps the log, and hands the address over once the log has it.
async fn follow(
    stdout: ChildStdout,
    log: Arc<Mutex<Vec<String>>>,
    found: oneshot::Sender<SocketAddr>,
) {
    let mut lines = BufReader::new(stdout).lines();
    let mut found = Some(found);
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(address) = serving_at(&line)
            && let Some(found) = found.take()
        {
            // The test that waited may have given up.
            let _ = found.send(address);
        }
        log.lock().expect("no reader panicked").push(line);
    }
}

fn serving_at(line: &str) -> Option<SocketAddr> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let serving = line.get("message")?.as_str()? == "hubmesh is serving";
    let address = line.get("fields")?.get("addr")?.as_str()?;
    serving.then(|| address.parse().ok())?
}

/// An address of this machine at which nothing listens, and nothing can listen while the socket is kept. Without the
/// socket, the next test that asks for a free port might get this one.
pub fn nobody() -> (TcpSocket, SocketAddr) {
    let bound = TcpSocket::new_v4().expect("a socket");
    bound
        .bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .expect("a port");
    let address = bound.local_addr().expect("bound");
    (bound, address)
}

impl HubProcess {
    /// Waits until this hub reaches this many others.
    pub async fn reaches_hubs(&self, many: usize) {
        eventually("the hubs are linked", async || {
            self.http_get("/stats").await.json()["hubs"] == many
        })
        .await;
    }

    /// Two hubs that have a link.
    pub async fn two() -> (Self, Self) {
        let first = Self::start().await;
        let second = first.neighbour().start().await;
        second.reaches_hubs(1).await;
        (first, second)
    }
}

/// How often a condition without an event of its own is checked.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Waits for a condition that has no event of its own.
pub async fn eventually(what: &str, holds: impl AsyncFnMut() -> bool) {
    eventually_within(LIMIT, what, holds).await;
}

/// The same with a limit of its own.
pub async fn eventually_within(limit: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !holds().await {
        assert!(Instant::now() < deadline, "never came to pass: {what}");
        sleep(LOOK_EVERY).await;
    }
}
