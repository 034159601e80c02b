//! How the daemon logs: JSON lines `{timestamp, level, message, fields}`, or text for a person.
//!
//! Everything goes to standard output through `tracing`; this module only decides how a line looks and which
//! lines are written. What must never be logged (tokens, session descriptions, candidates) is kept out by its types
//! ([`Secret`](crate::auth::Secret)) and by the code that logs, not by filters here.

use std::fmt::{self, Debug};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormattedFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogFormat;

/// Starts logging to standard output for the rest of the process. A second call has no effect.
pub fn init(format: LogFormat, filter: &str) {
    let terminal = std::io::stdout().is_terminal();
    let json = match format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    let started = if json {
        json_lines(filter, std::io::stdout).try_init()
    } else {
        let text = tracing_subscriber::fmt()
            .with_ansi(terminal)
            .log_internal_errors(COMPLAINS)
            .with_env_filter(parse(filter));
        text.finish().try_init()
    };
    // This fails only at a second call, and the first choice stays.
    drop(started);
}

/// Whether a line that cannot be written is reported on standard error. It mostly goes to the same place as the log,
/// and a full disk must not end the hub.
const COMPLAINS: bool = false;

/// Logs panics like everything else, instead of plain text on standard error.
pub fn panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(place, panic = message, "a task panicked: this is a bug");
    }));
}

/// Thins out a line that any client can cause, or that a loop repeats: one line a minute is enough, and each says how
/// many were left out since the last.
pub struct Seldom {
    allowance: DefaultDirectRateLimiter,
    left_out: AtomicU64,
}

impl Seldom {
    const INTERVAL: Duration = Duration::from_secs(60);

    /// Whether the line is due now, and how many were left out since the last.
    pub fn due(&self) -> Option<u64> {
        if self.allowance.check().is_ok() {
            return Some(self.left_out.swap(0, Ordering::Relaxed));
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }
}

impl Default for Seldom {
    fn default() -> Self {
        let one = Quota::with_period(Self::INTERVAL).expect("an interval that is not zero");
        Seldom {
            allowance: RateLimiter::direct(one),
            left_out: AtomicU64::new(0),
        }
    }
}

/// A subscriber that writes one JSON object a line.
pub fn json_lines<W>(filter: &str, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .with_env_filter(parse(filter))
        .log_internal_errors(COMPLAINS)
        .fmt_fields(JsonFields::new())
        .event_format(JsonLine)
        .with_writer(writer)
        .finish()
}

/// Lines of the WebSocket library about single frames show their content; lines of the STUN codecs show keys, and any
/// client can cause them. So these lines are never written.
const NEVER_WRITTEN: [&str; 4] = [
    "tungstenite=warn",
    "tokio_tungstenite=warn",
    "stun_types=off",
    "turn_types=off",
];

/// The configuration has checked that the directives parse.
fn parse(filter: &str) -> EnvFilter {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let caps = NEVER_WRITTEN.iter().filter_map(|cap| cap.parse().ok());
    caps.fold(filter, EnvFilter::add_directive)
}

/// The time now, in UTC, as RFC 3339 writes it.
pub fn timestamp() -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

/// The form of a JSON line.
struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut collected = Collected::default();
        for span in context
            .event_scope()
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                let fields = serde_json::from_str::<Map<String, Value>>(&fields.fields);
                collected.fields.extend(fields.unwrap_or_default());
            }
        }
        event.record(&mut collected);
        let line = Line {
            timestamp: &timestamp(),
            level: event.metadata().level().as_str(),
            message: &collected.message,
            fields: &collected.fields,
        };
        let line = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
        writeln!(writer, "{line}")
    }
}

#[derive(serde::Serialize)]
struct Line<'a> {
    timestamp: &'a str,
    level: &'a str,
    message: &'a str,
    fields: &'a Map<String, Value>,
}

/// An event's message, and its fields with those of the spans around it.
#[derive(Default)]
struct Collected {
    message: String,
    fields: Map<String, Value>,
}

impl Collected {
    fn put(&mut self, field: &Field, value: Value) {
        self.fields.insert(field.name().to_owned(), value);
    }
}

impl Visit for Collected {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.put(field, Value::String(text));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = value.to_owned();
        } else {
            self.put(field, Value::String(value.to_owned()));
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::from(value));
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;
    use crate::auth::Secret;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Captured {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().clone()).expect("log lines are UTF-8")
        }
    }

    fn logged(filter: &str, log: impl FnOnce()) -> Vec<Value> {
        let captured = Captured::default();
        let writer = captured.clone();
        let subscriber = json_lines(filter, move || writer.clone());
        tracing::subscriber::with_default(subscriber, log);
        let text = captured.text();
        text.lines()
            .map(|line| serde_json::from_str(line).expect("a line is JSON"))
            .collect()
    }

    #[test]
    fn a_line_has_exactly_timestamp_level_message_and_fields() {
        let lines = logged("info", || {
            tracing::warn!(
                port = 8080_u16,
                ok = true,
                name = "a\"b",
                "something {}",
                "happened"
            );
        });
        let [line] = lines.as_slice() else {
            panic!("one line, not {lines:?}")
        };
        let keys: Vec<_> = line
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect();
        assert_eq!(
            keys,
            ["timestamp", "level", "message", "fields"]
                .map(String::from)
                .to_vec()
                .sorted()
        );
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["message"], "something happened");
        assert_eq!(
            line["fields"],
            serde_json::json!({"port": 8080, "ok": true, "name": "a\"b"})
        );
        assert!(
            line["timestamp"]
                .as_str()
                .is_some_and(|time| time.ends_with('Z') && time.contains('T'))
        );
    }

    #[test]
    fn the_fields_of_the_spans_around_an_event_are_on_its_line() {
        let lines = logged("info", || {
            let _outer = tracing::info_span!("peer", peer = "abc", part = 1).entered();
            let _inner = tracing::info_span!("step", part = 2).entered();
            tracing::info!("here");
        });
        assert_eq!(
            lines[0]["fields"],
            serde_json::json!({"peer": "abc", "part": 2})
        );
    }

    #[test]
    fn a_line_that_is_seldom_due_is_due_once_and_counts_the_rest() {
        let seldom = Seldom::default();
        let due: Vec<Option<u64>> = (0..100).map(|_| seldom.due()).collect();
        assert_eq!(due[0], Some(0));
        assert!(due[1..].iter().all(Option::is_none));
        assert_eq!(seldom.left_out.load(Ordering::Relaxed), 99);
    }

    #[test]
    fn directives_choose_what_is_logged() {
        let lines = logged("warn,hubmesh=debug", || {
            tracing::info!(target: "elsewhere", "dropped");
            tracing::debug!(target: "hubmesh::session", "kept");
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["message"], "kept");
    }

    #[test]
    fn frames_are_not_logged_whatever_the_directives() {
        for filter in ["trace", "tungstenite=trace"] {
            let lines = logged(filter, || {
                tracing::trace!(target: "tungstenite::protocol", "frame: secret");
                tracing::warn!(target: "tungstenite::protocol", "kept");
            });
            assert_eq!(lines.len(), 1, "{filter}: {lines:?}");
        }
    }

    /// What a stranger may send to a STUN port: an attribute that is cut off, a wrong fingerprint, an attribute behind it.
    fn malformed_packets() {
        let now = tokio::time::Instant::now().into_std();
        let config = hubmesh_turn::Config {
            ports: None,
            turn: None,
            seed: [0; 32],
        };
        let mut server = hubmesh_turn::Server::new(config, now);
        let from = hubmesh_turn::FiveTuple {
            transport: hubmesh_turn::Transport::Udp,
            client: ([192, 0, 2, 1], 4000).into(),
            server: ([203, 0, 113, 5], 3478).into(),
        };
        let now = hubmesh_turn::Moment { at: now, unix_s: 0 };
        let integrity = [&[0, 8, 0, 20][..], &[0; 20]].concat();
        let behind = [integrity, vec![0x7f, 0, 0, 0]].concat();
        let (cut_off, wrong) = (vec![0, 6, 0, 99], vec![0x80, 0x28, 0, 4, 1, 2, 3, 4]);
        for attributes in [cut_off, wrong, behind] {
            let length = attributes.len() as u8;
            let head = [0, 1, 0, length, 0x21, 0x12, 0xa4, 0x42];
            let packet = [&head[..], &[7; 12], &attributes].concat();
            server.handle_client(now, from, &packet);
        }
    }

    #[test]
    fn a_stranger_s_malformed_packets_write_no_lines() {
        for filter in ["info", "trace", "stun_types=trace,turn_types=trace"] {
            let lines = logged(filter, malformed_packets);
            assert!(lines.is_empty(), "{filter}: {lines:?}");
        }
        let captured = Captured::default();
        let writer = captured.clone();
        let without_caps = tracing_subscriber::fmt()
            .with_env_filter("info")
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(without_caps.finish(), malformed_packets);
        let would_be = captured.text().lines().count();
        assert!(would_be >= 3, "the codec complains of each: {would_be}");
    }

    #[test]
    fn a_secret_is_not_logged() {
        let token = Secret::new("sesame");
        let lines = logged(
            "info",
            || tracing::info!(%token, again = ?token, "a peer came"),
        );
        assert!(!lines[0].to_string().contains("sesame"));
        assert_eq!(lines[0]["fields"]["token"], "[redacted]");
    }

    trait Sorted {
        fn sorted(self) -> Self;
    }

    impl Sorted for Vec<String> {
        fn sorted(mut self) -> Self {
            self.sort();
            self
        }
    }
}
