//! Posts the events of this hub to `EVENTS_WEBHOOK_URL`, in batches, signed.
//!
//! The queue is the ring of events (`ring`), so it is bounded, and nothing waits for the receiver. While the receiver does
//! not accept a batch, the hub posts it again after growing pauses. Events that leave the ring meanwhile are counted and
//! reported. After a failure the hub reads the roots of the system again, because an authority may have been replaced.
//! Redirects are not followed. The signature is the HMAC-SHA256 of the time, a dot and the body.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde_json::json;
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use url::Url;

use super::events::Events;
use crate::auth::Secret;
use crate::clock::unix_ms;
use crate::config::WebhookSettings;
use crate::metrics::Metrics;
use crate::tls::{NoRoots, Trust};

/// The most events in a batch.
const BATCH: usize = 100;
/// How long events are gathered for a batch.
const GATHER: Duration = Duration::from_secs(1);
/// The longest time for one post.
const POST_WITHIN: Duration = Duration::from_secs(10);
/// The pause after the first failure, and the longest.
const PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Why a batch was not accepted.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("the receiver did not answer in time")]
    Late,
    #[error("the receiver cannot be reached: {0}")]
    Unreachable(#[from] io::Error),
    #[error(transparent)]
    NoRoots(#[from] NoRoots),
    #[error("the connection broke: {0}")]
    Http(#[from] hyper::Error),
    #[error("the address cannot be used")]
    Address,
    #[error("the receiver answered {0}")]
    Status(StatusCode),
}

/// One batch.
struct Batch {
    /// The batch's id, which is the same in every try.
    number: String,
    body: Bytes,
}

/// Posts the events of this hub from now on, for as long as the hub runs.
pub async fn follow(events: &Events, settings: &WebhookSettings, metrics: &Arc<Metrics>) {
    let mut sent = events.last_own();
    let mut dropped = 0;
    let mut trust = Trust::default();
    loop {
        events.own_beyond(sent).await;
        // A full batch is posted at once.
        if events.last_own() - sent < BATCH as u64 {
            sleep(GATHER).await;
        }
        let (missed, next) = events.own_after(sent, BATCH);
        metrics.operating.webhook_dropped.inc_by(missed);
        dropped += missed;
        let Some((last, _)) = next.last() else {
            continue;
        };
        sent = *last;
        let rows = next.iter().map(|(number, event)| {
            let id = events.id(*number).to_string();
            Row {
                id,
                event: event.kind(),
                fields: event.fields(),
            }
        });
        let rows: Vec<_> = rows.collect();
        let body = json!({ "events": rows, "dropped": dropped });
        let batch = Batch {
            number: events.id(sent).to_string(),
            body: body.to_string().into(),
        };
        deliver(settings, &mut trust, &batch, metrics).await;
        dropped = 0;
    }
}

/// One event of a batch.
#[derive(Serialize)]
struct Row<F> {
    id: String,
    event: &'static str,
    #[serde(flatten)]
    fields: F,
}

/// Posts a batch until the receiver accepts it. After a failure the roots are read again, because they may have changed.
async fn deliver(settings: &WebhookSettings, trust: &mut Trust, batch: &Batch, metrics: &Metrics) {
    let mut pause = PAUSE;
    loop {
        let posted = timeout(POST_WITHIN, post(settings, trust, batch)).await;
        let Err(why) = posted.unwrap_or(Err(Failed::Late)) else {
            metrics.operating.webhook_posts.inc("ok");
            return;
        };
        metrics.operating.webhook_posts.inc("failed");
        *trust = Trust::default();
        // A batch that fails is logged once, not at each try.
        if pause == PAUSE {
            tracing::warn!(%why, "EVENTS_WEBHOOK_URL did not accept a batch of events: the hub posts it again");
        }
        sleep(pause).await;
        pause = (2 * pause).min(MAX_PAUSE);
    }
}

async fn post(settings: &WebhookSettings, trust: &Trust, batch: &Batch) -> Result<(), Failed> {
    let url = &settings.url;
    let host = url.host_str().ok_or(Failed::Address)?;
    let port = url.port_or_known_default().ok_or(Failed::Address)?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let tcp = TcpStream::connect((bare, port)).await?;
    let status = if url.scheme() == "https" {
        let roots = trust.config().await?;
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| Failed::Address)?;
        let tls = TlsConnector::from(roots).connect(name, tcp).await?;
        send(tls, request(settings, batch)?).await?
    } else {
        send(tcp, request(settings, batch)?).await?
    };
    match status.is_success() {
        true => Ok(()),
        false => Err(Failed::Status(status)),
    }
}

fn request(settings: &WebhookSettings, batch: &Batch) -> Result<Request<Full<Bytes>>, Failed> {
    let url = &settings.url;
    let at = unix_ms().to_string();
    let signature = sign(&settings.secret, &at, &batch.body);
    Request::post(&url[url::Position::BeforePath..url::Position::AfterQuery])
        .header(HOST, authority(url))
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("hubmesh/", env!("CARGO_PKG_VERSION")))
        .header("x-hubmesh-delivery", &batch.number)
        .header("x-hubmesh-timestamp", at)
        .header("x-hubmesh-signature", format!("sha256={signature}"))
        .body(Full::new(batch.body.clone()))
        .map_err(|_| Failed::Address)
}

fn authority(url: &Url) -> &str {
    &url[url::Position::BeforeHost..url::Position::AfterPort]
}

/// The signature of a body that is posted at this time, in hex.
fn sign(secret: &Secret, at: &str, body: &[u8]) -> String {
    let key = secret.expose().as_bytes();
    let mut mac = Hmac::<Sha256>::new_from_slice(key)
        .unwrap_or_else(|_| unreachable!("a key may have any length"));
    mac.update(at.as_bytes());
    mac.update(b".");
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

async fn send(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<StatusCode, Failed> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await?;
    let answer = async move { Ok(sender.send_request(request).await?.status()) };
    tokio::pin!(answer);
    tokio::pin!(connection);
    tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => {
            ended?;
            // The connection has ended. The answer may have arrived before.
            answer.await
        }
    }
}

#[cfg(test)]
mod tests {
    use hubmesh_core::ids::HubId;
    use serde_json::Value;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::event::What;
    use super::super::ring::KEPT;
    use super::*;

    #[test]
    fn a_signature_covers_the_time_and_the_body() {
        let secret = Secret::new("0123456789abcdef");
        // echo -n '1700000000000.{}' | openssl dgst -sha256 -hmac 0123456789abcdef
        assert_eq!(
            sign(&secret, "1700000000000", b"{}"),
            "cd08d6ce62dd5fb4489d9aff87256f4aa94716385a04d368cd6ac41d5516bc4b"
        );
    }

    /// Reads one post, and leaves it without an answer.
    async fn read(listener: &TcpListener) -> (TcpStream, Value) {
        let (mut stream, _) = listener.accept().await.expect("a post");
        let mut text = String::new();
        let mut buffer = [0; 4_096];
        while !text.ends_with("]}") {
            let length = stream.read(&mut buffer).await.expect("it is sent");
            assert!(length > 0, "it ended: {text}");
            text += std::str::from_utf8(&buffer[..length]).expect("text");
        }
        let (_, body) = text.split_once("\r\n\r\n").expect("a head");
        (stream, serde_json::from_str(body).expect("JSON"))
    }

    async fn accept(mut stream: TcpStream) {
        let answer = b"HTTP/1.1 204 X\r\nConnection: close\r\n\r\n";
        stream.write_all(answer).await.expect("it is read");
    }

    /// How many events are in a post, and how many it says were dropped before them.
    fn counts(body: &Value) -> (usize, Option<u64>) {
        let events = body["events"].as_array().expect("a list");
        (events.len(), body["dropped"].as_u64())
    }

    /// Runs the story of a receiver beside the task that posts.
    async fn play(story: impl AsyncFnOnce(&TcpListener, &Events)) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        let settings = WebhookSettings {
            url: Url::parse(&format!("http://{at}/")).expect("an address"),
            secret: Secret::new("0123456789abcdef"),
        };
        let metrics = Metrics::new();
        let events = Events::new(HubId([1; 20]), 1, Arc::clone(&metrics));
        tokio::select! {
            // This has to begin first: it posts only later events.
            biased;
            () = follow(&events, &settings, &metrics) => panic!("it posts for as long as the hub lives"),
            () = story(&listener, &events) => {}
        }
    }

    #[tokio::test]
    async fn a_backlog_is_posted_without_a_pause() {
        let story = async |listener: &TcpListener, events: &Events| {
            for _ in 0..10 * BATCH {
                events.note(What::Missed { count: 1 });
            }
            for _ in 0..10 {
                let (stream, body) = read(listener).await;
                assert_eq!(counts(&body), (BATCH, Some(0)));
                accept(stream).await;
            }
        };
        // With a pause before each batch, it would take ten times as long as one batch is gathered.
        let played = timeout(5 * GATHER, play(story)).await;
        played.expect("they are posted at once");
    }

    #[tokio::test]
    async fn events_that_do_not_fit_while_a_post_waits_are_counted_and_the_rest_is_posted() {
        let story = async |listener: &TcpListener, events: &Events| {
            events.note(What::Missed { count: 1 });
            let (stream, body) = read(listener).await;
            assert_eq!(counts(&body), (1, Some(0)));
            for _ in 0..KEPT + 70 {
                events.note(What::Missed { count: 1 });
            }
            accept(stream).await;
            for dropped in [70, 0] {
                let (stream, body) = read(listener).await;
                assert_eq!(counts(&body), (BATCH, Some(dropped)));
                accept(stream).await;
            }
        };
        let played = timeout(POST_WITHIN, play(story)).await;
        played.expect("the posts come");
    }

    #[test]
    fn the_request_names_the_host_with_its_port() {
        let url = Url::parse("https://[2001:db8::1]:8443/hook?a=b#c").expect("an address");
        assert_eq!(authority(&url), "[2001:db8::1]:8443");
        let settings = WebhookSettings {
            url,
            secret: Secret::new("0123456789abcdef"),
        };
        let batch = Batch {
            number: "1".into(),
            body: Bytes::from_static(b"{}"),
        };
        let request = request(&settings, &batch).expect("a request");
        assert_eq!(request.uri(), "/hook?a=b");
    }
}
