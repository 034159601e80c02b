//! NATS's text protocol, so that a `nats-server` or a pair of them can be measured beside a hub.
//!
//! Every peer subscribes to a subject of its own (its id) and publishes to those of others. The server's `PONG` after
//! the subscription is what counts as having joined. NATS does not know which peers are there, so no peer is announced.

use hubmesh_client::PeerId;
use memchr::memmem;
use serde_json::json;

use super::{Candidate, Codec, DialectError, Event, Persona};
use crate::stamp::{self, Slot, Stamp};

const LINE_LIMIT: usize = 64 * 1024;
const PAYLOAD_LIMIT: usize = 16 * 1024 * 1024;

pub struct NatsCodec {
    persona: Persona,
}

impl NatsCodec {
    pub fn new(persona: Persona) -> Self {
        Self { persona }
    }
}

impl Codec for NatsCodec {
    fn hello(&mut self, out: &mut Vec<u8>) {
        let connect = json!({
            "verbose": false,
            "pedantic": false,
            "echo": false,
            "lang": "load-test",
            "version": env!("CARGO_PKG_VERSION"),
            "protocol": 1,
            "auth_token": self.persona.token,
        });
        out.extend_from_slice(format!("CONNECT {connect}\r\n").as_bytes());
    }

    fn join(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("SUB {} 1\r\nPING\r\n", self.persona.id).as_bytes());
    }

    fn leave(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"UNSUB 1\r\n");
    }

    fn candidate(&self, to: &PeerId, bytes: usize) -> Candidate {
        let payload = stamp::payload(bytes);
        let head = format!("PUB {to} {}\r\n", payload.len());
        let message = [head.as_bytes(), &payload, b"\r\n"].concat();
        let slot = Slot::find(&message);
        Candidate::new(message, slot)
    }

    fn decode(
        &mut self,
        input: &[u8],
        events: &mut Vec<Event>,
        out: &mut Vec<u8>,
    ) -> Result<usize, DialectError> {
        let mut done = 0;
        while let Some((event, len)) = read(input.get(done..).unwrap_or_default(), out)? {
            events.push(event);
            done += len;
        }
        Ok(done)
    }
}

/// Reads one message off the front of `input`: a line, and for `MSG` the payload after it.
fn read(input: &[u8], out: &mut Vec<u8>) -> Result<Option<(Event, usize)>, DialectError> {
    let Some(end) = memmem::find(input, b"\r\n") else {
        return if input.len() > LINE_LIMIT {
            Err(DialectError::Malformed("an endless line"))
        } else {
            Ok(None)
        };
    };
    let line = input.get(..end).unwrap_or_default();
    let after = end + 2;
    let verb = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    let event = match verb {
        b"MSG" => return read_payload(line, input, after),
        b"INFO" => Event::Open,
        b"PONG" => Event::Joined,
        b"PING" => {
            out.extend_from_slice(b"PONG\r\n");
            Event::Other
        }
        b"-ERR" => Event::Complaint(String::from_utf8_lossy(line).into_owned()),
        _ => Event::Other,
    };
    Ok(Some((event, after)))
}

fn read_payload(
    line: &[u8],
    input: &[u8],
    start: usize,
) -> Result<Option<(Event, usize)>, DialectError> {
    let length = line
        .rsplit(|byte| *byte == b' ')
        .next()
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| digits.parse::<usize>().ok())
        .filter(|length| *length <= PAYLOAD_LIMIT)
        .ok_or(DialectError::Malformed("the length of a MSG"))?;
    let whole = start + length + 2;
    if input.len() < whole {
        return Ok(None);
    }
    let payload = input.get(start..start + length).unwrap_or_default();
    let event = Stamp::find(payload).map_or(Event::Other, Event::Arrived);
    Ok(Some((event, whole)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_when_its_payload_is_whole() {
        let payload = String::from_utf8(stamp::payload(300)).unwrap();
        let text = format!("MSG abc 1 300\r\n{payload}\r\n");
        let mut out = Vec::new();
        for cut in 0..text.len() {
            assert_eq!(read(&text.as_bytes()[..cut], &mut out), Ok(None));
        }
        let read = read(text.as_bytes(), &mut out).unwrap();
        assert!(matches!(read, Some((Event::Arrived(_), len)) if len == text.len()));
    }

    #[test]
    fn pings_are_answered_and_errors_are_complaints() {
        let mut out = Vec::new();
        assert_eq!(read(b"PING\r\n", &mut out), Ok(Some((Event::Other, 6))));
        assert_eq!(out, b"PONG\r\n");
        let complaint = read(b"-ERR 'no'\r\n", &mut out).unwrap();
        assert_eq!(
            complaint,
            Some((Event::Complaint("-ERR 'no'".to_owned()), 11))
        );
        assert!(read(b"MSG a 1 x\r\n", &mut out).is_err());
    }
}
