//! The client half of RFC 6455, as far as a load generator needs it: the upgrade, masked text frames out, frames in.
//!
//! Owns frame layout and the upgrade's check. Knows no dialect. Written by hand because a candidate is encoded and
//! masked once and then copied, which no WebSocket library offers and which keeps the generator cheaper than the server
//! beside it. A frame above [`MESSAGE_LIMIT`] is an error, so a server cannot make the generator grow.

use hubmesh_causes as causes;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{Candidate, DialectError, Event, Persona};
use crate::stamp::Slot;

const MESSAGE_LIMIT: usize = 16 * 1024 * 1024;
const HEAD_LIMIT: usize = 16 * 1024;
/// How much of a refusal's body is read, in bytes.
const BODY_LIMIT: usize = 4 * 1024;
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// The state of one client connection.
pub struct WebSocket {
    key: String,
    mask: [u8; 4],
    open: bool,
    /// The parts so far of a message that came in several frames.
    partial: Vec<u8>,
}

/// One thing that was read off the connection.
pub enum Incoming<'a> {
    Opened,
    Message(&'a [u8]),
    Nothing,
}

struct Frame<'a> {
    fin: bool,
    opcode: u8,
    payload: &'a [u8],
    len: usize,
}

impl WebSocket {
    pub fn new() -> Self {
        Self {
            key: generate_key(),
            mask: rand::random(),
            open: false,
            partial: Vec::new(),
        }
    }

    /// The upgrade request of `persona` for `address`, which is a path and a query.
    pub fn upgrade(&self, persona: &Persona, address: &str, out: &mut Vec<u8>) {
        let authorization = persona
            .token
            .as_ref()
            .map(|token| format!("Authorization: Bearer {token}\r\n"))
            .unwrap_or_default();
        let request = format!(
            "GET {address} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{authorization}\r\n",
            host = persona.hub.host(),
            port = persona.hub.port(),
            key = self.key,
        );
        out.extend_from_slice(request.as_bytes());
    }

    /// Appends `payload` as one masked text frame; says where its payload begins and what masks it.
    pub fn text(&self, payload: &[u8], out: &mut Vec<u8>) -> (usize, [u8; 4]) {
        self.frame(TEXT, payload, out)
    }

    /// `message` as a candidate to be sent again and again: framed and masked once. Of the bytes only the stamp changes
    /// (`stamp`), and is masked as it is written.
    pub fn candidate(&self, message: &[u8]) -> Candidate {
        let mut frame = Vec::new();
        let (header, mask) = self.text(message, &mut frame);
        let slot = Slot::find(message).map(|slot| slot.masked(mask, header));
        Candidate::new(frame, slot)
    }

    fn frame(&self, opcode: u8, payload: &[u8], out: &mut Vec<u8>) -> (usize, [u8; 4]) {
        let before = out.len();
        out.push(0x80 | opcode);
        match payload.len() {
            len @ 0..=125 => out.push(0x80 | len as u8),
            len @ 126..=0xFFFF => {
                out.push(0x80 | 126);
                out.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                out.push(0x80 | 127);
                out.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        out.extend_from_slice(&self.mask);
        let header = out.len() - before;
        let masks = self.mask.iter().cycle();
        out.extend(payload.iter().zip(masks).map(|(byte, mask)| byte ^ mask));
        (header, self.mask)
    }

    /// Reads one thing off the front of `input`; `None` when it is not whole yet.
    pub fn read<'a>(
        &'a mut self,
        input: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<(Incoming<'a>, usize)>, DialectError> {
        if !self.open {
            let upgraded = self.read_upgrade(input)?;
            self.open = upgraded.is_some();
            return Ok(upgraded.map(|len| (Incoming::Opened, len)));
        }
        let Some(frame) = parse(input)? else {
            return Ok(None);
        };
        let incoming = match frame.opcode {
            TEXT | BINARY if frame.fin => Incoming::Message(frame.payload),
            TEXT | BINARY | 0 => self.continue_message(&frame)?,
            PING => {
                self.frame(PONG, frame.payload, out);
                Incoming::Nothing
            }
            PONG => Incoming::Nothing,
            CLOSE => return Err(DialectError::Closed(close_reason(frame.payload))),
            _ => return Err(DialectError::Malformed("a WebSocket opcode")),
        };
        Ok(Some((incoming, frame.len)))
    }

    /// Hands all that is whole at the front of `input` to `heed`, one after the other; says how many bytes that was.
    pub fn read_all(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        mut heed: impl FnMut(Incoming<'_>) -> Result<(), DialectError>,
    ) -> Result<usize, DialectError> {
        let mut done = 0;
        while let Some((incoming, len)) = self.read(input.get(done..).unwrap_or_default(), out)? {
            heed(incoming)?;
            done += len;
        }
        Ok(done)
    }

    /// The same for a dialect in which each message is one event, and an open connection is one.
    pub fn read_events(
        &mut self,
        input: &[u8],
        events: &mut Vec<Event>,
        out: &mut Vec<u8>,
        understand: impl Fn(&[u8]) -> Event,
    ) -> Result<usize, DialectError> {
        self.read_all(input, out, |incoming| {
            match incoming {
                Incoming::Opened => events.push(Event::Open),
                Incoming::Message(message) => events.push(understand(message)),
                Incoming::Nothing => {}
            }
            Ok(())
        })
    }

    fn continue_message(&mut self, frame: &Frame<'_>) -> Result<Incoming<'_>, DialectError> {
        if frame.opcode != 0 {
            self.partial.clear();
        }
        if self.partial.len() + frame.payload.len() > MESSAGE_LIMIT {
            return Err(DialectError::Malformed("a message above 16 MiB"));
        }
        self.partial.extend_from_slice(frame.payload);
        Ok(if frame.fin {
            Incoming::Message(&self.partial)
        } else {
            Incoming::Nothing
        })
    }

    fn read_upgrade(&self, input: &[u8]) -> Result<Option<usize>, DialectError> {
        let Some(end) = memchr::memmem::find(input, END_OF_HEAD) else {
            return if input.len() > HEAD_LIMIT {
                Err(DialectError::Malformed("an endless HTTP head"))
            } else {
                Ok(None)
            };
        };
        let head = String::from_utf8_lossy(input.get(..end).unwrap_or_default());
        let mut lines = head.lines();
        let status = lines.next().unwrap_or_default();
        if status.split_whitespace().nth(1) != Some("101") {
            let body = input.get(end + END_OF_HEAD.len()..).unwrap_or_default();
            return refusal(status, lines, body);
        }
        let expected = derive_accept_key(self.key.as_bytes());
        let accepted = lines
            .filter_map(|line| line.split_once(':'))
            .any(|(name, value)| {
                name.eq_ignore_ascii_case("sec-websocket-accept") && value.trim() == expected
            });
        if accepted {
            Ok(Some(end + END_OF_HEAD.len()))
        } else {
            Err(DialectError::Malformed("the upgrade's accept key"))
        }
    }
}

/// An answer in place of the upgrade, once its body is whole: the status, and the server's reason.
fn refusal<'a>(
    status: &str,
    mut headers: impl Iterator<Item = &'a str>,
    body: &[u8],
) -> Result<Option<usize>, DialectError> {
    let length = headers.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    });
    if length.is_some_and(|length| body.len() < length.min(BODY_LIMIT)) {
        return Ok(None);
    }
    let status = status
        .split_once(' ')
        .map_or(status, |(_version, status)| status);
    let text = match causes::said(body) {
        reason if reason.is_empty() => status.to_owned(),
        reason => format!("{status}: {reason}"),
    };
    Err(DialectError::Refused(text))
}

fn parse(input: &[u8]) -> Result<Option<Frame<'_>>, DialectError> {
    let Some((&[first, second], rest)) = input.split_first_chunk::<2>() else {
        return Ok(None);
    };
    if second & 0x80 != 0 {
        return Err(DialectError::Malformed("a masked frame from a server"));
    }
    let extended = match second {
        126 => rest
            .first_chunk()
            .map(|bytes| (u64::from(u16::from_be_bytes(*bytes)), 4)),
        127 => rest
            .first_chunk()
            .map(|bytes| (u64::from_be_bytes(*bytes), 10)),
        short => Some((u64::from(short), 2)),
    };
    let Some((len, header)) = extended else {
        return Ok(None);
    };
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if len > MESSAGE_LIMIT {
        return Err(DialectError::Malformed("a frame above 16 MiB"));
    }
    Ok(input.get(header..header + len).map(|payload| Frame {
        fin: first & 0x80 != 0,
        opcode: first & 0x0F,
        payload,
        len: header + len,
    }))
}

fn close_reason(payload: &[u8]) -> String {
    match payload.split_first_chunk() {
        Some((code, reason)) => {
            let code = u16::from_be_bytes(*code);
            format!("{code} {}", String::from_utf8_lossy(reason))
        }
        None => "no code".to_owned(),
    }
}

#[cfg(test)]
impl WebSocket {
    /// A connection whose upgrade is done.
    pub fn opened() -> Self {
        Self {
            open: true,
            ..Self::new()
        }
    }
}

/// The payload of one masked frame, as a server reads it.
#[cfg(test)]
pub fn unmasked(frame: &[u8]) -> Vec<u8> {
    let header = if frame[1] == 0x80 | 126 { 4 } else { 2 };
    let (mask, masked) = frame[header..].split_at(4);
    let bytes = masked.iter().zip(mask.iter().cycle());
    bytes.map(|(byte, mask)| byte ^ mask).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(socket: &mut WebSocket, input: &[u8]) -> (Vec<u8>, usize) {
        match socket.read(input, &mut Vec::new()) {
            Ok(Some((Incoming::Message(message), len))) => (message.to_vec(), len),
            Ok(Some((Incoming::Nothing, len))) => (Vec::new(), len),
            _ => panic!("no message"),
        }
    }

    #[test]
    fn a_frame_is_read_only_when_it_is_whole() {
        let mut socket = WebSocket::opened();
        let mut frame = vec![0x81, 126, 1, 44];
        frame.extend([b'a'; 300]);
        for cut in 0..frame.len() {
            assert!(matches!(
                socket.read(&frame[..cut], &mut Vec::new()),
                Ok(None)
            ));
        }
        assert_eq!(message(&mut socket, &frame), (vec![b'a'; 300], 304));
    }

    #[test]
    fn a_message_in_parts_is_put_together() {
        let mut socket = WebSocket::opened();
        assert_eq!(message(&mut socket, b"\x01\x02ab").1, 4);
        assert_eq!(message(&mut socket, b"\x80\x01c"), (b"abc".to_vec(), 3));
    }

    #[test]
    fn a_ping_is_answered_with_its_payload_and_a_close_gives_its_code() {
        let mut socket = WebSocket::opened();
        let mut out = Vec::new();
        assert!(socket.read(b"\x89\x02hi", &mut out).is_ok());
        assert_eq!((out[0], out[1]), (0x8A, 0x82));
        assert_eq!(unmasked(&out), b"hi");
        let closed = socket.read(b"\x88\x05\x03\xf0bye", &mut out).err();
        assert_eq!(closed, Some(DialectError::Closed("1008 bye".to_owned())));
    }

    #[test]
    fn hostile_lengths_and_masks_are_errors() {
        for frame in [
            &b"\x81\xff"[..],
            b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x83\x00",
        ] {
            assert!(WebSocket::opened().read(frame, &mut Vec::new()).is_err());
        }
    }

    #[test]
    fn an_answer_other_than_101_is_a_refusal_with_its_reason() {
        let head = "HTTP/1.1 503 Service Unavailable\r\n";
        let bare = format!("{head}\r\n");
        let body = r#"{"error":"the hub is full"}"#;
        let whole = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        for (answer, told) in [
            (&bare, "503 Service Unavailable"),
            (&whole, "503 Service Unavailable: the hub is full"),
        ] {
            let mut socket = WebSocket::new();
            let refused = socket.read(answer.as_bytes(), &mut Vec::new());
            let told = DialectError::Refused(told.to_owned());
            assert_eq!(refused.err(), Some(told));
        }
        let cut = &whole.as_bytes()[..whole.len() - 1];
        let mut socket = WebSocket::new();
        let waits = socket.read(cut, &mut Vec::new());
        assert!(matches!(waits, Ok(None)), "the reason is not whole");
    }
}
