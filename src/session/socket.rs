//! The server's end of a WebSocket: frames in, frames out, over any byte stream.
//!
//! Written for many sockets that are idle most of the time: bytes are read into a buffer of the thread and copied once
//! into memory of the size that arrived, and are written from a buffer that the thread lends and takes back, so a
//! socket at rest holds no buffer at all. All that waits is written in one call. Frame headers are `tungstenite`'s;
//! knows nothing of peers, dialects or deadlines. Used by one session each.
//!
//! Invariants: besides what one read gives, it holds a message that is not whole, which is short unless the hub's
//! [`Intake`] has space for it; a message that is over a limit is read past, and those after it are read; a frame is
//! written whole or not begun.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, Cursor};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use super::intake::{FREE_BYTES, Intake, Partial, ReadPast};

/// How much one read takes at most, in bytes.
const READ_BYTES: usize = 16 * 1024;
/// The largest write buffer that a thread keeps for its next socket, in bytes.
const KEPT_BYTES: usize = 128 * 1024;
/// The most that a control frame carries, in bytes (RFC 6455, 5.5).
const MAX_CONTROL_BYTES: usize = 125;
/// The longest message that is read past, in bytes: as much as PeerServer's library would read. A longer message ends
/// the connection.
const LONGEST_READ_PAST: u64 = 100 * 1024 * 1024;
/// Pongs are left out while this many bytes wait already, so a flood of pings takes no memory.
const PONG_BACKLOG_BYTES: usize = 64 * 1024;

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A message or frame of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A whole text message.
    Text(Utf8Bytes),
    /// A whole text message that was read past.
    ReadPast(Box<ReadPast>),
    /// A ping, already answered.
    Ping,
    /// A pong, with the number of the ping that it answers; `None` if it has another payload.
    Pong(Option<u64>),
    /// A fragment of a message, not the last; or a piece of a message that is read past, as long as the longest
    /// message.
    Fragment,
    /// The client's last frame: its close, already answered unless it answers ours.
    Close,
}

/// Why the socket cannot be read any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// A message so long that it is not even read past.
    #[error("a message is too long")]
    TooLong,
    /// A binary message. No dialect has any.
    #[error("a binary message")]
    Binary,
    /// A text message, or the words of a close frame, that are not UTF-8.
    #[error("a text message is not UTF-8")]
    NotUtf8,
    /// A frame against RFC 6455.
    #[error("a frame breaks the WebSocket protocol")]
    Protocol,
}

/// The server's end of one WebSocket.
pub struct Socket<S> {
    io: S,
    intake: Arc<Intake>,
    inbox: BytesMut,
    arriving: Option<Box<Arriving>>,
    out: Vec<u8>,
    sent: usize,
    moves: u32,
    /// The stream accepted no more when it was last written to, or flushed.
    write_waits: bool,
    flush_waits: bool,
    /// The stream may not have sent all that it accepted.
    unflushed: bool,
    /// Our close frame is queued or written: nothing may follow it.
    said_last: bool,
}

/// A message that comes in pieces, and the frame of it that is being read.
struct Arriving {
    message: Partial,
    /// How much of the frame is still to come, in bytes.
    left: u64,
    is_last: bool,
    /// The mask, rotated so that it begins with the next byte.
    mask: [u8; 4],
    /// How many bytes were read past since this was last reported.
    untold: u64,
}

impl Arriving {
    fn new() -> Box<Self> {
        Box::new(Arriving {
            message: Partial::new(),
            left: 0,
            is_last: false,
            mask: [0; 4],
            untold: 0,
        })
    }

    fn begin_frame(&mut self, head: &WsHeader, longest: usize) -> Result<(), ReadError> {
        let size = self.message.size().saturating_add(head.length);
        if size > LONGEST_READ_PAST.max(longest as u64) {
            return Err(ReadError::TooLong);
        }
        if size > longest as u64 {
            self.message.read_past();
        }
        self.left = head.length;
        self.is_last = head.is_last;
        self.mask = head.mask;
        Ok(())
    }

    fn add(&mut self, payload: &mut [u8], intake: &Arc<Intake>) {
        let count = payload.len();
        unmask(payload, self.mask);
        self.mask.rotate_left(count % 4);
        self.left = self.left.saturating_sub(count as u64);
        self.message.add(payload, self.left, intake);
        if self.message.is_past() {
            self.untold += count as u64;
        }
    }
}

/// The head of a valid frame.
struct WsHeader {
    opcode: OpCode,
    is_last: bool,
    mask: [u8; 4],
    /// Its own length, in bytes.
    own: usize,
    /// The payload's length, in bytes.
    length: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// Takes over a stream after the handshake; `ahead` was read from it already.
    pub fn new(io: S, ahead: &[u8], intake: Arc<Intake>) -> Self {
        Socket {
            io,
            intake,
            inbox: BytesMut::from(ahead),
            arriving: None,
            out: Vec::new(),
            sent: 0,
            moves: 0,
            write_waits: false,
            flush_waits: false,
            unflushed: false,
            said_last: false,
        }
    }

    /// Reads the bytes that have arrived, up to a bound; 0 at the end of the stream.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        READ.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
            self.inbox.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }

    /// Whether only a part of a message has arrived, once all bytes that were read are handled.
    pub fn is_amid(&self) -> bool {
        self.arriving.is_some() || !self.inbox.is_empty()
    }

    /// The next frame among the bytes that were read.
    pub fn next_incoming(&mut self) -> Result<Option<Incoming>, ReadError> {
        if self
            .arriving
            .as_ref()
            .is_some_and(|message| message.left > 0)
        {
            return self.read_on();
        }
        let Some(head) = self.next_head()? else {
            return Ok(None);
        };
        let data = match head.opcode {
            OpCode::Data(data) => data,
            OpCode::Control(control) => {
                let Some(payload) = self.whole_payload(&head) else {
                    return Ok(None);
                };
                return self.on_control(control, &payload).map(Some);
            }
        };
        match (data, &self.arriving) {
            (Data::Binary, None) => Err(ReadError::Binary),
            (Data::Text, None) => self.on_text(&head),
            (Data::Continue, Some(_)) => self.on_piece(&head),
            _ => Err(ReadError::Protocol),
        }
    }

    /// The head of the next frame. An invalid frame is refused before its payload is waited for.
    fn next_head(&self) -> Result<Option<WsHeader>, ReadError> {
        let mut cursor = Cursor::new(&self.inbox);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| ReadError::Protocol)?;
        let Some((header, length)) = parsed else {
            return Ok(None);
        };
        let reserved = header.rsv1 || header.rsv2 || header.rsv3;
        let control = matches!(header.opcode, OpCode::Control(_));
        let fits = !control || header.is_final && length <= MAX_CONTROL_BYTES as u64;
        match header.mask {
            // The first bit of a length must be zero (RFC 6455, 5.2).
            Some(mask) if fits && !reserved && length >> 63 == 0 => Ok(Some(WsHeader {
                opcode: header.opcode,
                is_last: header.is_final,
                mask,
                own: usize::try_from(cursor.position()).unwrap_or(usize::MAX),
                length,
            })),
            _ => Err(ReadError::Protocol),
        }
    }

    /// Removes a frame's payload from the buffer, if all of it has arrived.
    fn whole_payload(&mut self, head: &WsHeader) -> Option<BytesMut> {
        let whole = head.own.saturating_add(usize::try_from(head.length).ok()?);
        if self.inbox.len() < whole {
            return None;
        }
        let mut payload = self.take(whole);
        payload.advance(head.own);
        unmask(&mut payload, head.mask);
        Some(payload)
    }

    /// A text message begins. Most messages are whole; a short message stays in the read buffer until it is whole.
    fn on_text(&mut self, head: &WsHeader) -> Result<Option<Incoming>, ReadError> {
        if head.is_last && head.length <= self.intake.longest() as u64 {
            if let Some(payload) = self.whole_payload(head) {
                return text_of(payload.freeze()).map(Some);
            }
            if head.length <= FREE_BYTES as u64 {
                return Ok(None);
            }
        }
        self.arriving = Some(Arriving::new());
        self.on_piece(head)
    }

    /// A frame of the message that is arriving begins.
    fn on_piece(&mut self, head: &WsHeader) -> Result<Option<Incoming>, ReadError> {
        if let Some(arriving) = &mut self.arriving {
            arriving.begin_frame(head, self.intake.longest())?;
        }
        drop(self.take(head.own));
        self.read_on()
    }

    /// Reads the bytes that have arrived of the present frame.
    fn read_on(&mut self) -> Result<Option<Incoming>, ReadError> {
        let Some(mut arriving) = self.arriving.take() else {
            return Ok(None);
        };
        let count = usize::try_from(arriving.left).unwrap_or(usize::MAX);
        let mut payload = self.take(count);
        arriving.add(&mut payload, &self.intake);
        drop(payload);
        if arriving.left == 0 && arriving.is_last {
            return match arriving.message.finish() {
                Ok(message) => text_of(message).map(Some),
                Err(skipped) => Ok(Some(Incoming::ReadPast(Box::new(skipped)))),
            };
        }
        let told = arriving.left == 0 || arriving.untold > self.intake.longest() as u64;
        if told {
            arriving.untold = 0;
        }
        self.arriving = Some(arriving);
        Ok(told.then_some(Incoming::Fragment))
    }

    /// Removes `count` bytes from the buffer, and frees its memory once it is empty.
    fn take(&mut self, count: usize) -> BytesMut {
        if count >= self.inbox.len() {
            return std::mem::take(&mut self.inbox);
        }
        self.inbox.split_to(count)
    }

    fn on_control(&mut self, control: Control, payload: &[u8]) -> Result<Incoming, ReadError> {
        match control {
            Control::Ping => {
                if self.waiting() < PONG_BACKLOG_BYTES {
                    self.put_frame(OpCode::Control(Control::Pong), payload);
                }
                Ok(Incoming::Ping)
            }
            Control::Pong => Ok(Incoming::Pong(number(payload))),
            Control::Close => {
                check_close(payload)?;
                self.put_frame(OpCode::Control(Control::Close), payload);
                self.said_last = true;
                Ok(Incoming::Close)
            }
            Control::Reserved(_) => Err(ReadError::Protocol),
        }
    }

    /// Queues a text message.
    pub fn put_text(&mut self, text: &str) {
        self.put_frame(OpCode::Data(Data::Text), text.as_bytes());
    }

    /// Queues a ping that carries this number.
    pub fn put_ping(&mut self, number: u64) {
        self.put_frame(OpCode::Control(Control::Ping), &number.to_be_bytes());
    }

    /// Queues the last frame. Frames after it are dropped, and so is this one if the client's close frame was answered
    /// already.
    pub fn put_close(&mut self, code: CloseCode, text: &str) {
        let mut payload = Vec::with_capacity(MAX_CONTROL_BYTES);
        payload.extend_from_slice(&u16::from(code).to_be_bytes());
        payload.extend(text.bytes().take(MAX_CONTROL_BYTES - payload.len()));
        self.put_frame(OpCode::Control(Control::Close), &payload);
        self.said_last = true;
    }

    fn put_frame(&mut self, opcode: OpCode, payload: &[u8]) {
        if self.said_last {
            return;
        }
        if self.out.capacity() == 0 {
            self.out = SPARE.take();
        }
        let header = FrameHeader {
            opcode,
            ..FrameHeader::default()
        };
        // Writing to a vector cannot fail.
        let _ = header.format(payload.len() as u64, &mut self.out);
        self.out.extend_from_slice(payload);
    }

    /// How many bytes are queued and not yet written.
    pub fn waiting(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Whether there is something to write or to flush: call `poll_write` until there is not.
    pub fn is_behind(&self) -> bool {
        self.waiting() > 0 || self.unflushed
    }

    /// How often a full stream accepted bytes again; two counts that differ mean that the other end reads. A stream
    /// that accepts bytes at once proves nothing: TLS, and the kernel, buffer some bytes even for a client that has
    /// left.
    pub fn moves(&self) -> u32 {
        self.moves
    }

    /// Writes the queued bytes, and flushes the stream's own buffers; ready when all is written.
    pub fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let written = Pin::new(&mut self.io).poll_write(cx, rest);
            let waited = std::mem::replace(&mut self.write_waits, written.is_pending());
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => {
                    self.moves = self.moves.wrapping_add(u32::from(waited));
                    self.sent += count;
                    self.unflushed = true;
                }
            }
        }
        self.give_back();
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        let waited = std::mem::replace(&mut self.flush_waits, flushed.is_pending());
        ready!(flushed)?;
        self.moves = self.moves.wrapping_add(u32::from(waited));
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    fn give_back(&mut self) {
        self.sent = 0;
        let mut out = std::mem::take(&mut self.out);
        if (1..=KEPT_BYTES).contains(&out.capacity()) {
            out.clear();
            SPARE.set(out);
        }
    }

    /// Ends the connection in order: writes the queued bytes and the close frame, closes the hub's side, and then waits
    /// for the client's.
    pub async fn part(&mut self, code: CloseCode, text: &str) -> io::Result<()>
    where
        S: AsyncRead,
    {
        self.put_close(code, text);
        poll_fn(|cx| self.poll_write(cx)).await?;
        poll_fn(|cx| self.poll_shutdown(cx)).await?;
        poll_fn(|cx| self.poll_discard(cx)).await
    }

    /// Reads on and ignores everything, until the client has closed its side too.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.inbox = BytesMut::new();
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Ends the stream on our side.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// A slice of `message` without a copy if it makes up most of it, else a copy: a kept part must not keep much more than
/// itself in memory.
pub fn share(message: &Utf8Bytes, part: &str) -> Bytes {
    if part.len() * 2 < message.len() {
        return Bytes::copy_from_slice(part.as_bytes());
    }
    let whole: &Bytes = message.as_ref();
    whole.slice_ref(part.as_bytes())
}

fn text_of(message: Bytes) -> Result<Incoming, ReadError> {
    let text = Utf8Bytes::try_from(message).map_err(|_| ReadError::NotUtf8)?;
    Ok(Incoming::Text(text))
}

/// A close code that was registered later than RFC 6455, and may be sent.
const BAD_GATEWAY: u16 = 1014;

/// Whether a close frame's payload is none, or a code that may be sent and words (RFC 6455, 5.5.1 and 7.4).
fn check_close(payload: &[u8]) -> Result<(), ReadError> {
    let Some((code, words)) = payload.split_first_chunk() else {
        return match payload {
            [] => Ok(()),
            _ => Err(ReadError::Protocol),
        };
    };
    let code = u16::from_be_bytes(*code);
    if code != BAD_GATEWAY && !CloseCode::from(code).is_allowed() {
        return Err(ReadError::Protocol);
    }
    let words = std::str::from_utf8(words);
    words.map(drop).map_err(|_| ReadError::NotUtf8)
}

fn number(payload: &[u8]) -> Option<u64> {
    payload.try_into().ok().map(u64::from_be_bytes)
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests;
