//! nginx and HAProxy in front of a hub, set up correctly and with common mistakes.
//!
//! Each proxy is started on a socket in a directory of its own, with its own configuration, and ends with the test. If
//! a proxy is not installed, its tests print so and test nothing; scripts/tools.sh provides both.

use std::path::PathBuf;
use std::process::Stdio;

use http::StatusCode;
use hubmesh::metrics::Refusal;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::installed::program;
use crate::served::{PEER, Served, TIMEOUT};

/// A proxy in front of a hub; ends when dropped.
struct Proxy {
    _child: Child,
    directory: TempDir,
}

impl Proxy {
    /// Starts nginx with the text `server` inside its `server` block, where HUB stands for the hub's address.
    async fn nginx(served: &Served, server: &str) -> Option<Self> {
        let nginx = program("nginx")?;
        let directory = tempfile::tempdir().expect("a directory");
        let here = directory.path().display();
        let server = server.replace("HUB", &served.addr.to_string());
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {here}/{kind};\n"))
            .concat();
        let text = format!(
            "daemon off; master_process off; pid {here}/pid; error_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n\
             {temporary}server {{ listen unix:{here}/socket;\n{server}\n}}\n}}\n"
        );
        std::fs::write(directory.path().join("conf"), text).expect("a configuration");
        let mut command = Command::new(nginx);
        command.args(["-e", "stderr", "-p"]).arg(directory.path());
        Some(Self::start(command.args(["-c", "conf"]), directory).await)
    }

    /// Starts HAProxy with the text `frontend` in its frontend.
    async fn haproxy(served: &Served, frontend: &str) -> Option<Self> {
        let haproxy = program("haproxy")?;
        let directory = tempfile::tempdir().expect("a directory");
        let here = directory.path().display();
        let text = format!(
            "defaults\n mode http\n timeout connect 10s\n timeout client 10s\n timeout server 10s\n\
             frontend all\n bind unix@{here}/socket\n{frontend}\n default_backend hub\n\
             backend hub\n server hub {}\n",
            served.addr
        );
        std::fs::write(directory.path().join("conf"), text).expect("a configuration");
        let mut command = Command::new(haproxy);
        command
            .arg("-db")
            .arg("-f")
            .arg(directory.path().join("conf"));
        Some(Self::start(&mut command, directory).await)
    }

    /// Starts the proxy and waits until it accepts connections.
    async fn start(command: &mut Command, directory: TempDir) -> Self {
        let quiet = command.stdin(Stdio::null()).kill_on_drop(true);
        let mut child = quiet.spawn().expect("the proxy starts");
        let socket = directory.path().join("socket");
        let serves = timeout(TIMEOUT, async {
            while UnixStream::connect(&socket).await.is_err() {
                let ended = child.try_wait().expect("a child");
                assert!(ended.is_none(), "the proxy ended: {ended:?}");
                tokio::task::yield_now().await;
            }
        });
        serves.await.expect("the proxy serves in time");
        Proxy {
            _child: child,
            directory,
        }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// Asks for a WebSocket as a standard client does. The error is the status and body of the answer.
    async fn open(&self, target: &str) -> Result<(), (StatusCode, String)> {
        let stream = UnixStream::connect(self.socket()).await;
        let stream = stream.expect("the proxy takes connections");
        let request = format!("ws://hub.example{target}").into_client_request();
        let opening = tokio_tungstenite::client_async(request.expect("a URL"), stream);
        match timeout(TIMEOUT, opening).await.expect("an answer in time") {
            Ok(_) => Ok(()),
            Err(Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                let body = String::from_utf8_lossy(body).into_owned();
                Err((response.status(), body))
            }
            Err(other) => panic!("neither a WebSocket nor a refusal: {other}"),
        }
    }
}

fn targets() -> [String; 3] {
    [
        format!("/ws?peerId={PEER}"),
        "/mesh".into(),
        "/peerjs?key=peerjs&id=ada&token=t".into(),
    ]
}

/// Checks that each request for a WebSocket through this proxy is answered with a 426 that names the cause.
async fn expect_lost(served: &Served, proxy: Proxy, cause: &str) {
    for target in targets() {
        let (status, body) = proxy.open(&target).await.expect_err("no WebSocket");
        assert_eq!(status, StatusCode::UPGRADE_REQUIRED, "{target}: {body}");
        assert!(body.contains(cause), "{target}: {body}");
    }
    assert_eq!(served.refused(Refusal::Misrouted), 3);
}

#[tokio::test]
async fn nginx_as_it_comes_speaks_http_1_0_and_is_told_so() {
    let served = Served::new(&[]).await;
    let server = "location / { proxy_pass http://HUB; }";
    if let Some(proxy) = Proxy::nginx(&served, server).await {
        expect_lost(&served, proxy, "proxy_http_version 1.1").await;
    }
}

#[tokio::test]
async fn nginx_that_does_not_pass_upgrade_on_is_told_so() {
    let served = Served::new(&[]).await;
    let server = "location / { proxy_pass http://HUB; proxy_http_version 1.1; }";
    if let Some(proxy) = Proxy::nginx(&served, server).await {
        expect_lost(&served, proxy, "proxy_set_header Upgrade $http_upgrade").await;
    }
}

#[tokio::test]
async fn nginx_that_passes_upgrade_alone_is_told_what_else() {
    let served = Served::new(&[]).await;
    let server = "location / { proxy_pass http://HUB; proxy_http_version 1.1; \
                  proxy_set_header Upgrade $http_upgrade; }";
    if let Some(proxy) = Proxy::nginx(&served, server).await {
        expect_lost(&served, proxy, "without Connection: Upgrade").await;
    }
}

/// The settings of nginx that docs/deployment.md recommends, apart from the address of the hub.
fn as_documented() -> String {
    let (_, block) = include_str!("../../docs/deployment.md")
        .split_once("```nginx\nlocation / {\n")
        .expect("settings");
    let (block, _) = block.split_once("}\n").expect("they end");
    let (hub, settings): (Vec<&str>, Vec<&str>) = block
        .lines()
        .map(str::trim)
        .partition(|line| line.starts_with("proxy_pass"));
    assert_eq!(hub, ["proxy_pass http://127.0.0.1:8080;"]);
    settings.join(" ")
}

#[tokio::test]
async fn nginx_as_the_docs_have_it_opens_every_websocket() {
    let served = Served::new(&[("HUB_TOKEN", "a-secret-of-thirty-two-bytes-or-more")]).await;
    let server = format!(
        "location / {{ proxy_pass http://HUB; {} }}",
        as_documented()
    );
    let Some(proxy) = Proxy::nginx(&served, &server).await else {
        return;
    };
    for target in targets() {
        assert_eq!(proxy.open(&target).await, Ok(()), "{target}");
    }
}

#[tokio::test]
async fn nginx_that_takes_too_little_or_too_much_off_the_path_is_told_what_to_change() {
    let served = Served::new(&[]).await;
    let documented = as_documented();
    let server = format!(
        "{documented} location /myapp/ {{ proxy_pass http://HUB; }} location /peerjs {{ proxy_pass http://HUB/; }}"
    );
    let Some(proxy) = Proxy::nginx(&served, &server).await else {
        return;
    };
    let client = "key=peerjs&id=ada&token=t";
    for (target, told) in [
        (
            format!("/myapp/peerjs?{client}"),
            "add /myapp to PEERJS_PATH",
        ),
        (format!("/myapp/ws?peerId={PEER}"), "take /myapp off"),
        (
            format!("/peerjs?{client}"),
            "PeerJS clients at {path}/peerjs",
        ),
    ] {
        let (status, body) = proxy.open(&target).await.expect_err("no WebSocket");
        assert_eq!(status, StatusCode::NOT_FOUND, "{target}: {body}");
        assert!(body.contains(told), "{target}: {body}");
    }
    assert_eq!(served.refused(Refusal::Misrouted), 3);
}

#[tokio::test]
async fn the_426_of_a_websocket_reaches_an_http_2_client_whole() {
    let served = Served::new(&[]).await;
    let Some(curl) = program("curl") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let two = directory.path().join("two").display().to_string();
    let documented = as_documented();
    let server =
        format!("listen unix:{two} http2; location / {{ proxy_pass http://HUB; {documented} }}");
    let Some(_proxy) = Proxy::nginx(&served, &server).await else {
        return;
    };
    for target in targets() {
        let mut command = Command::new(&curl);
        command
            .args([
                "-sS",
                "--http2-prior-knowledge",
                "--max-time",
                "10",
                "-o",
                "/dev/null",
            ])
            .args(["-w", "%{http_version} %{http_code}", "--unix-socket", &two])
            .arg(format!("http://hub.example{target}"));
        let output = timeout(TIMEOUT, command.output()).await.expect("in time");
        let output = output.expect("curl runs");
        let told = String::from_utf8_lossy(&output.stderr);
        if told.contains("not support") || told.contains("unknown") {
            println!("skipped: this curl speaks no HTTP/2: {told}");
            return;
        }
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "2 426",
            "{target}: {told}"
        );
    }
}

#[tokio::test]
async fn haproxy_as_it_comes_opens_every_websocket() {
    let served = Served::new(&[]).await;
    let Some(proxy) = Proxy::haproxy(&served, "").await else {
        return;
    };
    for target in targets() {
        assert_eq!(proxy.open(&target).await, Ok(()), "{target}");
    }
}

#[tokio::test]
async fn haproxy_that_deletes_upgrade_is_told_so() {
    let served = Served::new(&[]).await;
    let frontend = " http-request del-header Upgrade";
    if let Some(proxy) = Proxy::haproxy(&served, frontend).await {
        expect_lost(&served, proxy, "without Upgrade: websocket").await;
    }
}
