//! TCP connections: how long they may live, how many may be open, and at which addresses the hub accepts them.

use hubmesh::http::bind;
use hubmesh::metrics::Refusal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::served::{PEER, Served, TIMEOUT, next_text};

#[tokio::test]
async fn a_connection_that_never_finishes_its_request_is_closed() {
    let served = Served::new(&[("HEADER_TIMEOUT_MS", "100")]).await;
    let answer = served
        .raw("GET /health HTTP/1.1\r\nHost: hub\r\nX-Slow: ")
        .await;
    assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
}

/// Waits until no HTTP connection is open; WebSockets do not count.
async fn idle(served: &Served) {
    let gone = timeout(TIMEOUT, async {
        while served.metrics.http_connections_open.get() > 0 {
            tokio::task::yield_now().await;
        }
    });
    gone.await.expect("the connection ends in time");
}

#[tokio::test]
async fn a_connection_that_keeps_asking_is_closed_after_a_while() {
    let served = Served::new(&[("HEADER_TIMEOUT_MS", "100")]).await;
    let mut stream = TcpStream::connect(served.addr).await.expect("connected");
    let mut answers = 0;
    let asked = timeout(TIMEOUT, async {
        let mut chunk = [0; 4096];
        while stream
            .write_all(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n")
            .await
            .is_ok()
        {
            match stream.read(&mut chunk).await {
                Ok(count) if count > 0 => answers += 1,
                _ => break,
            }
        }
    });
    asked.await.expect("closed in time");
    assert!(answers > 1, "only {answers} answers");
    idle(&served).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answers_is_cut_off() {
    let served = Served::new(&[("HEADER_TIMEOUT_MS", "100")]).await;
    let stream = TcpStream::connect(served.addr).await.expect("connected");
    let (_unread, mut write) = stream.into_split();
    let asking = tokio::spawn(async move {
        let request = b"GET /metrics HTTP/1.1\r\nHost: hub\r\nAccept: text/plain\r\n\r\n";
        while write.write_all(request).await.is_ok() {}
    });
    timeout(TIMEOUT, asking)
        .await
        .expect("cut off in time")
        .expect("no panic");
    idle(&served).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let served = Served::new(&[("MAX_HTTP_CONNECTIONS", "1")]).await;
    let idle = TcpStream::connect(served.addr).await.expect("connected");
    // The server accepts the second connection after the first one, which holds the only place.
    let mut second = TcpStream::connect(served.addr).await.expect("connected");
    let mut byte = [0];
    let read = timeout(TIMEOUT, second.read(&mut byte))
        .await
        .expect("closed in time");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    assert_eq!(served.refused(Refusal::HttpFull), 1);
    drop(idle);
}

#[tokio::test]
async fn a_websocket_does_not_hold_the_place_of_an_http_connection() {
    let served = Served::new(&[("MAX_HTTP_CONNECTIONS", "1")]).await;
    let target = format!("/ws?peerId={PEER}");
    let mut socket = served.connect(&target, &[]).await.expect("let in");
    // The switch to a WebSocket gives the place back, and the greeting arrives after the switch.
    next_text(&mut socket).await;
    idle(&served).await;
    assert_eq!(served.get("/health").await.status, 200);
}

#[tokio::test]
async fn killing_the_app_leaves_no_task_behind() {
    let served = Served::new(&[]).await;
    let target = format!("/ws?peerId={PEER}");
    let mut socket = served.connect(&target, &[]).await.expect("let in");
    next_text(&mut socket).await;
    let _idle = TcpStream::connect(served.addr).await.expect("connected");
    served.app.kill();
    timeout(TIMEOUT, served.app.wait())
        .await
        .expect("all tasks end");
    assert_eq!(served.metrics.http_connections_open.get(), 0);
    assert!(
        TcpStream::connect(served.addr).await.is_err(),
        "nothing listens any more"
    );
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_it() {
    let served = Served::new(&[]).await;
    let error = bind("127.0.0.1", served.addr.port())
        .await
        .expect_err("in use")
        .to_string();
    assert!(
        error.contains(&served.addr.to_string()) && error.contains("in use"),
        "{error}"
    );
}

#[tokio::test]
async fn localhost_listens_on_one_port_for_all_its_addresses() {
    let listeners = bind("localhost", 0).await.expect("a free port");
    let addrs: Vec<_> = listeners
        .iter()
        .map(|one| one.local_addr().expect("bound"))
        .collect();
    assert!(addrs[0].is_ipv4(), "{addrs:?}");
    let port = addrs[0].port();
    assert!(
        addrs
            .iter()
            .all(|addr| addr.port() == port && addr.ip().is_loopback()),
        "{addrs:?}"
    );
}

/// Sends `text`, then waits for the end of the connection and of its task.
async fn ended_after(served: &Served, text: &str) {
    served.raw(text).await;
    idle(served).await;
}

#[tokio::test]
async fn a_connection_that_is_kept_alive_and_asks_no_more_was_not_refused() {
    let served = Served::new(&[("HEADER_TIMEOUT_MS", "100")]).await;
    let request = "GET /health HTTP/1.1\r\nHost: hub\r\n\r\n";
    ended_after(&served, request).await;
    assert_eq!(served.refused(Refusal::HeaderTimeout), 0);
}

#[tokio::test]
async fn a_request_that_is_left_unfinished_was_refused_whatever_came_before_it() {
    let served = Served::new(&[("HEADER_TIMEOUT_MS", "300")]).await;
    ended_after(&served, "").await;
    ended_after(&served, "GET /health HTTP/1.1\r\nHost: hub\r\n").await;
    assert_eq!(served.refused(Refusal::HeaderTimeout), 2);

    let mut stream = TcpStream::connect(served.addr).await.expect("connected");
    let request = b"HEAD /health HTTP/1.1\r\nHost: hub\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    let mut chunk = [0; 4096];
    let read = timeout(TIMEOUT, stream.read(&mut chunk)).await;
    assert_ne!(read.expect("in time").expect("an answer"), 0);
    stream.write_all(b"GET /he").await.expect("sent");
    let rest = timeout(TIMEOUT, stream.read_to_end(&mut Vec::new())).await;
    rest.expect("closed in time").expect("closed");
    idle(&served).await;
    assert_eq!(served.refused(Refusal::HeaderTimeout), 3);
}

#[tokio::test]
async fn a_request_may_have_more_than_a_hundred_headers() {
    let served = Served::new(&[]).await;
    for count in [100, 101, 300, 1500] {
        let names: Vec<String> = (0..count).map(|number| format!("x-{number}")).collect();
        let headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
        let answer = served.request("GET", "/health", &headers).await;
        assert_eq!(answer.status, 200, "{count}");
    }
    let target = format!("/ws?peerId={PEER}");
    let names: Vec<String> = (0..300).map(|number| format!("x-{number}")).collect();
    let headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let socket = served.connect(&target, &headers).await;
    assert!(socket.is_ok(), "a peer behind many proxies is let in");
}
