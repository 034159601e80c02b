//! The daemon as a process: its first line, its exit codes, and how it ends on a signal.
#![cfg(unix)]

use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const TIMEOUT: Duration = Duration::from_secs(20);

fn command(vars: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hubmesh"));
    command
        .env_clear()
        .env("HOST", "127.0.0.1")
        .env("PORT", "0")
        .envs(vars.iter().copied());
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn run(vars: &[(&str, &str)], arguments: &[&str]) -> Output {
    let run = command(vars).args(arguments).output();
    timeout(TIMEOUT, run)
        .await
        .expect("an end in time")
        .expect("the daemon runs")
}

/// A daemon that serves; killed when dropped.
struct Daemon {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    serving: Value,
    addr: SocketAddr,
}

impl Daemon {
    async fn start(vars: &[(&str, &str)]) -> Self {
        let mut child = command(vars).spawn().expect("the daemon starts");
        let stdout = child.stdout.take().expect("its output is a pipe");
        let mut lines = BufReader::new(stdout).lines();
        let serving = message(&mut lines, "hubmesh is serving").await;
        let addr = serving["fields"]["addr"]
            .as_str()
            .and_then(|addr| addr.parse().ok());
        Daemon {
            child,
            lines,
            addr: addr.expect("an address"),
            serving,
        }
    }

    /// Waits for the line with this message.
    async fn logs(&mut self, text: &str) -> Value {
        message(&mut self.lines, text).await
    }

    async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().await;
        assert!(sent.expect("kill runs").success());
    }

    async fn exit_code(&mut self) -> Option<i32> {
        let status = timeout(TIMEOUT, self.child.wait())
            .await
            .expect("it ends in time");
        status.expect("its end is known").code()
    }

    async fn connect(&self, number: u8) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
        let url = format!("ws://{}/ws?peerId={}", self.addr, hex::encode([number; 20]));
        let connected = timeout(TIMEOUT, tokio_tungstenite::connect_async(url)).await;
        let (mut socket, _) = connected.expect("in time").expect("let in");
        let greeting = timeout(TIMEOUT, socket.next())
            .await
            .expect("in time")
            .expect("open");
        let greeting = greeting.expect("a message").into_text().expect("text");
        assert!(greeting.contains("connected"), "{greeting}");
        socket
    }

    async fn get(&self, target: &str) -> String {
        let mut stream = TcpStream::connect(self.addr).await.expect("it listens");
        let request = format!("GET {target} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        let read = timeout(TIMEOUT, stream.read_to_string(&mut answer)).await;
        read.expect("in time").expect("an answer");
        answer
    }
}

async fn message(lines: &mut Lines<BufReader<ChildStdout>>, text: &str) -> Value {
    let found = timeout(TIMEOUT, async {
        while let Some(line) = lines.next_line().await.expect("readable output") {
            let line: Value = serde_json::from_str(&line).expect("every line is JSON");
            if line["message"] == text {
                return line;
            }
        }
        panic!("the output ended without {text:?}")
    });
    found
        .await
        .unwrap_or_else(|_| panic!("no {text:?} in time"))
}

#[tokio::test]
async fn one_line_says_what_is_served_and_where() {
    let id = "ab".repeat(20);
    let daemon = Daemon::start(&[("HUB_ID", &id), ("HUB_MESH_NAMESPACE", "ours")]).await;
    let line = &daemon.serving;
    assert_eq!(line["level"], "INFO");
    let fields = &line["fields"];
    assert_eq!(fields["url"], format!("ws://{}/ws", daemon.addr));
    assert_eq!(
        (&fields["role"], &fields["namespace"]),
        (&"hub".into(), &"ours".into())
    );
    assert_eq!(fields["hub_id"], *id);
    assert_ne!(daemon.addr.port(), 0);
}

#[tokio::test]
async fn a_line_says_where_operators_come_in_and_a_door_that_is_taken_ends_the_start() {
    let mut daemon = Daemon::start(&[("ADMIN_ADDR", "127.0.0.1:0")]).await;
    let line = daemon.logs("the pages for operators are served").await;
    let addr = line["fields"]["addrs"].as_str().expect("an address");
    let second = run(&[("PORT", "0"), ("ADMIN_ADDR", addr)], &[]).await;
    assert_eq!(second.status.code(), Some(69), "{second:?}");
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(
        said.contains("ADMIN_ADDR") && said.contains("in use"),
        "{said}"
    );
}

#[tokio::test]
async fn a_mesh_that_every_peer_could_join_is_warned_of() {
    let mut daemon = Daemon::start(&[("AUTH_TOKEN", "sesame")]).await;
    let warning = "AUTH_TOKEN opens the mesh too, so every peer could link up as a hub: set a HUB_TOKEN of its own";
    assert_eq!(daemon.logs(warning).await["level"], "WARN");
}

#[tokio::test]
async fn tokens_are_in_no_line_of_the_log() {
    let token = "sesame-open-9";
    let vars = [
        ("AUTH_TOKEN", token),
        ("RUST_LOG", "trace"),
        ("DRAIN_MS", "0"),
    ];
    let mut daemon = Daemon::start(&vars).await;
    let peer = hex::encode([1; 20]);
    let query = format!("/ws?peerId={peer}&token={token}");
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let request = format!(
        "GET {query} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {token}\r\n{upgrade}\r\n"
    );
    let mut peer = TcpStream::connect(daemon.addr).await.expect("it listens");
    peer.write_all(request.as_bytes()).await.expect("sent");
    let mut status = [0; 12];
    timeout(TIMEOUT, peer.read_exact(&mut status))
        .await
        .expect("in time")
        .expect("an answer");
    assert_eq!(&status, b"HTTP/1.1 101");
    drop(peer);
    daemon.signal("TERM").await;
    let mut log = Vec::new();
    let rest = timeout(TIMEOUT, async {
        while let Some(line) = daemon.lines.next_line().await.expect("readable output") {
            log.push(line);
        }
    });
    rest.await.expect("the log ends");
    assert!(
        log.iter().any(|line| line.contains("hubmesh has stopped")),
        "{log:?}"
    );
    let ours = log
        .iter()
        .filter(|line| line.contains(token))
        .collect::<Vec<_>>();
    assert!(ours.is_empty(), "{ours:?}");
}

#[tokio::test]
async fn a_hub_without_peers_goes_at_once_whatever_its_drain_time() {
    for (signal, threads) in [("TERM", "1"), ("INT", "2")] {
        let vars = [("DRAIN_MS", "600000"), ("WORKER_THREADS", threads)];
        let mut daemon = Daemon::start(&vars).await;
        daemon.signal(signal).await;
        let draining = daemon.logs("hubmesh is draining").await;
        assert_eq!(draining["fields"]["signal"], format!("SIG{signal}"));
        daemon.logs("hubmesh has stopped").await;
        assert_eq!(daemon.exit_code().await, Some(0));
    }
}

#[tokio::test]
async fn peers_are_sent_away_with_1012_spread_over_the_drain_time() {
    let mut daemon = Daemon::start(&[("DRAIN_MS", "2000")]).await;
    let mut sockets = Vec::new();
    for number in 1..=4 {
        sockets.push(daemon.connect(number).await);
    }
    daemon.signal("TERM").await;
    daemon.logs("hubmesh is draining").await;
    let ends = futures::future::join_all(sockets.into_iter().map(|mut socket| async move {
        loop {
            let next = timeout(TIMEOUT, socket.next())
                .await
                .expect("closed in time");
            if let Some(Ok(Message::Close(frame))) = next {
                return (frame.expect("a reason").code, Instant::now());
            }
        }
    }));
    let ends = ends.await;
    assert!(
        ends.iter().all(|(code, _)| u16::from(*code) == 1012),
        "{ends:?}"
    );
    let first = ends.iter().map(|(_, at)| *at).min().expect("four ends");
    let last = ends.iter().map(|(_, at)| *at).max().expect("four ends");
    // The peers are sent away after 0, 500, 1,000 and 1,500 ms.
    assert!(
        last - first >= Duration::from_millis(1000),
        "{:?}",
        last - first
    );
    assert_eq!(daemon.exit_code().await, Some(0));
}

#[tokio::test]
async fn a_draining_hub_says_so_takes_nobody_in_and_a_second_signal_ends_it() {
    let mut daemon = Daemon::start(&[("DRAIN_MS", "600000")]).await;
    // The hub sends the first peer away at once, and the second much later.
    let _peers = (daemon.connect(1).await, daemon.connect(2).await);
    daemon.signal("TERM").await;
    daemon.logs("hubmesh is draining").await;
    let answered = timeout(TIMEOUT, async {
        loop {
            let health = daemon.get("/health").await;
            if health.starts_with("HTTP/1.1 503") {
                return health;
            }
        }
    });
    let health = answered.await.expect("it drains soon");
    assert!(health.contains("\"draining\""), "{health}");
    let url = format!("ws://{}/ws?peerId={}", daemon.addr, hex::encode([3; 20]));
    let refused = timeout(TIMEOUT, tokio_tungstenite::connect_async(url))
        .await
        .expect("in time");
    assert!(refused.is_err_and(|error| error.to_string().contains("503")));
    daemon.signal("INT").await;
    assert_eq!(daemon.exit_code().await, Some(130));
}

/// Ends the daemon and gives the rest of its log.
async fn rest_of_the_log(mut daemon: Daemon) -> Vec<Value> {
    daemon.signal("TERM").await;
    let mut log = Vec::new();
    let rest = timeout(TIMEOUT, async {
        while let Some(line) = daemon.lines.next_line().await.expect("readable output") {
            log.push(serde_json::from_str(&line).expect("every line is JSON"));
        }
    });
    rest.await.expect("the log ends");
    log
}

#[tokio::test]
async fn websockets_that_are_asked_for_in_vain_are_told_of_once() {
    let daemon = Daemon::start(&[("DRAIN_MS", "0")]).await;
    for _ in 0..5 {
        let answer = daemon.get("/myapp/peerjs?key=k&id=i&token=sesame").await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    }
    let log = rest_of_the_log(daemon).await;
    let told: Vec<_> = log
        .iter()
        .filter(|line| line["fields"]["why"].is_string())
        .collect();
    let [line] = told.as_slice() else {
        panic!("one, not {told:?}")
    };
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["fields"]["path"], "/myapp/peerjs");
    let why = line["fields"]["why"].as_str().expect("a cause");
    assert!(why.contains("add /myapp to PEERJS_PATH"), "{why}");
    assert!(!line.to_string().contains("sesame"), "{line}");
}

#[tokio::test]
async fn a_variable_that_is_nearly_a_setting_is_warned_of() {
    let mut child = command(&[("MAX_CONECTIONS", "5")])
        .spawn()
        .expect("the daemon starts");
    let stdout = child.stdout.take().expect("its output is a pipe");
    let mut lines = BufReader::new(stdout).lines();
    let warning = "MAX_CONECTIONS is not a setting and has no effect; MAX_CONNECTIONS is one";
    assert_eq!(message(&mut lines, warning).await["level"], "WARN");
}

/// The number of connections that the hub could not accept. The request uses an open connection.
async fn accept_errors(stream: &mut TcpStream) -> u64 {
    let request = b"GET /metrics HTTP/1.1\r\nHost: hub\r\nAccept: text/plain\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    let (mut answer, mut chunk) = (String::new(), [0; 16_384]);
    let name = "\nhubmesh_accept_errors_total ";
    loop {
        let read = timeout(TIMEOUT, stream.read(&mut chunk)).await;
        let count = read.expect("in time").expect("an open connection");
        assert_ne!(count, 0, "closed after {answer}");
        answer += &String::from_utf8_lossy(&chunk[..count]);
        // The answer is read at least to the end of a line, so that the number is whole.
        if let Some((_, rest)) = answer.split_once(name)
            && answer.ends_with('\n')
            && let Some((number, _)) = rest.split_once('\n')
        {
            return number.parse().expect("a number");
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_hub_that_may_open_no_more_files_says_so_once_and_serves_on() {
    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

    let daemon = Daemon::start(&[("DRAIN_MS", "0"), ("HEADER_TIMEOUT_MS", "60000")]).await;
    let mut before = TcpStream::connect(daemon.addr).await.expect("it listens");
    assert_eq!(accept_errors(&mut before).await, 0);
    let few = Rlimit {
        current: Some(3),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    let pid = daemon.child.id().and_then(|pid| i32::try_from(pid).ok());
    prlimit(pid.and_then(Pid::from_raw), Resource::Nofile, few).expect("a lower limit");
    let waiting = TcpStream::connect(daemon.addr)
        .await
        .expect("the system takes it");
    let counted = timeout(TIMEOUT, async {
        while accept_errors(&mut before).await < 3 {}
    });
    counted.await.expect("it tries again and again");
    drop((waiting, before));
    let log = rest_of_the_log(daemon).await;
    let message = "cannot accept connections";
    let told: Vec<_> = log
        .iter()
        .filter(|line| line["message"] == message)
        .collect();
    let [line] = told.as_slice() else {
        panic!("one, not {told:?}")
    };
    let hint = line["fields"]["hint"].as_str().expect("a hint");
    assert!(hint.contains("ulimit -n"), "{hint}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_hub_whose_log_cannot_be_written_serves_on() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = taken.local_addr().expect("bound");
    drop(taken);
    let full = || std::fs::File::options().write(true).open("/dev/full");
    let mut command = command(&[("PORT", &addr.port().to_string()), ("RUST_LOG", "debug")]);
    command.stdout(full().expect("a device"));
    command.stderr(full().expect("a device"));
    let mut child = command.spawn().expect("the daemon starts");
    let serves = timeout(TIMEOUT, async {
        while TcpStream::connect(addr).await.is_err() {
            let ended = child.try_wait().expect("a child");
            assert!(ended.is_none(), "it ended: {ended:?}");
            tokio::task::yield_now().await;
        }
    });
    serves.await.expect("it serves in time");
    assert!(child.try_wait().expect("a child").is_none());
}

#[tokio::test]
async fn a_port_in_use_ends_the_start_with_69_and_says_so() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let output = run(&[("PORT", &port)], &[]).await;
    assert_eq!(output.status.code(), Some(69));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains(&port) && told.contains("in use"), "{told}");
}

#[tokio::test]
async fn flags_may_have_one_dash_and_an_unknown_one_is_wrong_usage() {
    let checked = run(&[], &["-check-config"]).await;
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let unknown = run(&[], &["--check-confg"]).await;
    assert_eq!(unknown.status.code(), Some(64), "{unknown:?}");
}

#[tokio::test]
async fn the_health_check_succeeds_only_on_a_healthy_hub() {
    let daemon = Daemon::start(&[]).await;
    let port = daemon.addr.port().to_string();
    let healthy = run(&[("PORT", &port)], &["--healthcheck"]).await;
    assert_eq!(healthy.status.code(), Some(0), "{healthy:?}");
    drop(daemon);
    // The port is bound, but nothing listens at it: no server answers, and no other test gets the port.
    let kept = TcpSocket::new_v4().expect("a socket");
    let any = "127.0.0.1:0".parse().expect("an address");
    kept.bind(any).expect("a port");
    let port = kept.local_addr().expect("bound").port().to_string();
    let unhealthy = run(&[("PORT", &port)], &["--healthcheck"]).await;
    assert_eq!(unhealthy.status.code(), Some(1));
    assert!(!unhealthy.stderr.is_empty());
}
