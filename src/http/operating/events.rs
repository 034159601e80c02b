//! `/admin/api/events`: a stream of events for each reader.
//!
//! Each reader has a task that reads the ring for it and waits only for its socket. Events are gathered for a moment,
//! so that a busy hub writes ten times a second and not a thousand times. A reader whose socket takes nothing for half
//! a minute is cut off.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::poll_fn;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Method};
use serde_json::json;
use std::convert::Infallible;
use std::io::Write as _;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use warp::Reply;
use warp::reply::Response;

use super::super::endpoint::Call;
use super::super::paging::Query;
use super::super::refusals::{Badly, Closed};
use super::super::reply::{Answered, ErrorBody};
use super::super::{App, Backend, reply};
use super::{answer, bad, who};
use crate::clock::unix_ms;
use crate::watch::{Batch, Event, Read, Reader};

/// For how long events are gathered.
const GATHER: Duration = Duration::from_millis(100);
/// After how long a comment keeps the connection alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a socket may take nothing.
const STALLED: Duration = Duration::from_secs(30);
/// When a refused reader may try again.
const RETRY_S: u64 = 10;
/// The header with the event after which a browser goes on.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Marks a streamed answer: its connection lives as long as the answer, and ends when this is cancelled.
#[derive(Clone, Debug)]
pub(in super::super) struct Lasting(pub(in super::super) CancellationToken);

/// What a reader wants.
struct Wish {
    after: Option<Read>,
    /// All types, if none are named.
    types: Vec<String>,
}

impl Wish {
    fn of(call: &Call) -> Result<Self, Answered> {
        let query = Query::read(&call.head.query, &["types"])?;
        let header = call.head.headers.get(LAST_EVENT_ID);
        let header = header.and_then(|value| value.to_str().ok());
        let after = match (header, query.paging.after()) {
            // A browser that comes back uses the address with which it began.
            (Some(last), _) => Some(last),
            (None, after) => after,
        };
        let after = after.map(str::parse::<Read>).transpose();
        let types = query.filter("types").unwrap_or_default().split(',');
        let types: Vec<String> = types
            .filter(|one| !one.is_empty())
            .map(str::to_owned)
            .collect();
        let unknown = types
            .iter()
            .find(|one| !Event::KINDS.contains(&one.as_str()));
        if let Some(unknown) = unknown {
            return bad(&format!("there is no type of event {unknown:?}"));
        }
        Ok(Wish {
            after: after.or_else(|why| bad(&why))?,
            types,
        })
    }

    fn takes(&self, event: &Event) -> bool {
        let kind = event.kind();
        self.types.is_empty() || kind == "missed" || self.types.iter().any(|one| one == kind)
    }
}

/// What happens, as server-sent events, for as long as whoever asks listens.
#[utoipa::path(
    get, path = "/admin/api/events", tag = "mesh", security(("operator" = []), ("login" = [])),
    params(
        ("after" = Option<String>, Query, description = "The id of the last event that is known; 0 for all that are kept."),
        ("types" = Option<String>, Query, description = "These types alone, with commas between."),
        ("Last-Event-ID" = Option<String>, Header, description = "As `after`, before which it counts."),
    ),
    responses(
        (status = 200, description = "Events.", body = String, content_type = "text/event-stream"),
        (status = 503, description = "As many listen as may: `Retry-After` says when to come back.", body = ErrorBody<'static>),
        Badly, Closed
    )
)]
pub(super) fn listen<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move {
        who::looks_at_persons(&app, &call)?;
        let wish = Wish::of(&call)?;
        Ok(follow(&app, &call, wish))
    })
}

fn follow<B: Backend>(app: &Arc<App<B>>, call: &Call, wish: Wish) -> Response {
    if call.head.method == Method::HEAD {
        return stream_of(mpsc::channel(1).1);
    }
    let reader = app.backend.watch().events.reader(wish.after);
    let reader = match reader {
        Ok(reader) => reader,
        Err(full) => return reply::retry_later(&full.to_string(), RETRY_S),
    };
    let (to, from) = mpsc::channel(1);
    let stalled = CancellationToken::new();
    let listener = Listener {
        reader,
        wish,
        to,
        stalled: stalled.clone(),
    };
    let app_of_task = Arc::clone(app);
    app.tasks.spawn(async move {
        let closing = app_of_task.closing.clone();
        closing
            .run_until_cancelled(listener.follow(&app_of_task))
            .await;
    });
    let mut response = stream_of(from);
    response.extensions_mut().insert(Lasting(stalled));
    response
}

fn stream_of(mut from: mpsc::Receiver<Bytes>) -> Response {
    let body = poll_fn(move |cx| from.poll_recv(cx).map(|next| next.map(Ok::<_, Infallible>)));
    let mut response = warp::reply::stream(body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies such as nginx would otherwise buffer the events.
    let buffering = HeaderName::from_static("x-accel-buffering");
    headers.insert(buffering, HeaderValue::from_static("no"));
    response
}

struct Listener {
    reader: Reader,
    wish: Wish,
    to: mpsc::Sender<Bytes>,
    stalled: CancellationToken,
}

impl Listener {
    async fn follow<B: Backend>(mut self, app: &App<B>) {
        let hub = app.backend.view().hub_id.to_string();
        let hello = json!({ "hub": hub, "at": unix_ms() });
        let mut text = format!("retry: 2000\nevent: hello\ndata: {hello}\n\n").into_bytes();
        loop {
            if !self.say(std::mem::take(&mut text)).await {
                return;
            }
            sleep(GATHER).await;
            tokio::select! {
                batch = self.reader.next() => self.write(app, &hub, &batch, &mut text),
                () = sleep(KEEP_ALIVE) => text.extend_from_slice(b":\n\n"),
                () = self.to.closed() => return,
            }
        }
    }

    /// False if no client reads any more.
    async fn say(&self, text: Vec<u8>) -> bool {
        if text.is_empty() {
            return true;
        }
        match timeout(STALLED, self.to.send(text.into())).await {
            Ok(sent) => sent.is_ok(),
            Err(_) => {
                self.stalled.cancel();
                false
            }
        }
    }

    fn write<B: Backend>(&self, app: &App<B>, hub: &str, batch: &Batch, text: &mut Vec<u8>) {
        if let Some(count) = batch.missed {
            let missed = json!({ "count": count, "hub": hub, "at": unix_ms() });
            // Writing to memory cannot fail.
            let _ = write!(text, "event: missed\ndata: {missed}\n\n");
        }
        let events = &app.backend.watch().events;
        let mut passed = None;
        for (number, event) in &batch.events {
            if !self.wish.takes(event) {
                passed = Some(*number);
                continue;
            }
            passed = None;
            let (id, kind) = (events.id(*number), event.kind());
            let _ = write!(text, "id: {id}\nevent: {kind}\ndata: ");
            let _ = serde_json::to_writer(&mut *text, &event.fields());
            text.extend_from_slice(b"\n\n");
        }
        if let Some(number) = passed {
            // So that a reader that comes back goes on here, even if the last of these events were not wanted.
            let _ = write!(text, "id: {}\n\n", events.id(number));
        }
    }
}
