//! What is printed: a line for people or a JSON object for programs, for each event.
//!
//! Owns the wording and the JSON keys. `event` is in every object; ids are under `peer`. A reader that went away is
//! reported to the caller once, so that the peer leaves instead of writing on for no reader.

use std::io::{self, Write};

use hubmesh_client::Event;
use serde::Serialize;
use serde_json::value::RawValue;

pub struct Output {
    json: bool,
}

/// One printed thing. `text` is the wording for people.
#[derive(Default, Serialize)]
struct Line<'a> {
    event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(skip)]
    text: String,
}

impl Output {
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// What the hub said.
    pub fn event(&self, event: &Event) -> io::Result<()> {
        self.line(&describe(event))
    }

    /// This peer has announced itself.
    pub fn announced(&self, id: &str, network: &str) -> io::Result<()> {
        self.line(&Line {
            event: "announced",
            peer: Some(id),
            network: Some(network),
            text: format!("announced in {network}"),
            ..Line::default()
        })
    }

    /// This peer has sent a signal.
    pub fn sent(&self, kind: &str, to: &str) -> io::Result<()> {
        self.line(&Line {
            event: "sent",
            peer: Some(to),
            kind: Some(kind),
            text: format!("{kind} sent to {to}"),
            ..Line::default()
        })
    }

    /// A line of help or of a list, for the person who types; with JSON it stays out of the stream of objects.
    pub fn note(&self, text: &str) -> io::Result<()> {
        if self.json {
            eprintln!("{text}");
            return Ok(());
        }
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()
    }

    fn line(&self, line: &Line<'_>) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            serde_json::to_writer(&mut out, line)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}", line.text)?;
        }
        out.flush()
    }
}

fn describe(event: &Event) -> Line<'_> {
    match event {
        Event::Connected { id } => about("connected", id, format!("connected as {id}")),
        Event::Discovered { id, network, data } => Line {
            network: Some(network),
            data: Some(data),
            ..about("discovered", id, format!("discovered {id} {data}"))
        },
        Event::Goodbye { id } => about("goodbye", id, format!("{id} says goodbye")),
        Event::Disconnected { id, reason } => Line {
            reason: Some(reason),
            ..about("disconnected", id, format!("disconnected {id} ({reason})"))
        },
        Event::Signal {
            kind,
            from,
            network,
            data,
        } => Line {
            network: Some(network),
            kind: Some(kind.as_str()),
            data: Some(data),
            ..about("signal", from, format!("{kind} from {from}: {data}"))
        },
        Event::Pong => plain("pong", "pong".to_owned()),
        Event::Error { error, .. } => Line {
            reason: Some(error),
            ..plain("error", format!("error: {error}"))
        },
        Event::Other { kind, text } => Line {
            kind: Some(kind),
            reason: Some(text),
            ..plain("other", format!("{kind}: {text}"))
        },
        Event::Closed { code, reason } => Line {
            code: Some(*code),
            reason: Some(reason),
            ..plain("closed", format!("closed by the hub: {code} {reason}"))
        },
    }
}

fn about<'a>(event: &'a str, peer: &'a str, text: String) -> Line<'a> {
    Line {
        peer: Some(peer),
        ..plain(event, text)
    }
}

fn plain(event: &str, text: String) -> Line<'_> {
    Line {
        event,
        text,
        ..Line::default()
    }
}
