//! The server's end of a client's WebSocket: it reads the same messages wherever the bytes are cut.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hubmesh::session::intake::Intake;
use hubmesh::session::socket::{Incoming, ReadError, Socket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest message that the socket accepts, in bytes.
const LONGEST: usize = 300;

/// Reads one client's bytes in one piece, in the pieces that the input names, and byte by byte. The first byte of the
/// input is the number of cuts, the next bytes are the cuts, and the rest is the client's. The messages are the same
/// each time, and no text is longer than allowed.
pub fn ws(input: &[u8]) {
    let Some((cuts, rest)) = input.split_first() else {
        return;
    };
    let (cuts, data) = rest.split_at(usize::from(*cuts).min(rest.len()));
    let whole = read(data, &[], 0);
    assert_eq!(whole, read(data, cuts, 0), "cut as the input says");
    let bytes = vec![0; data.len()];
    assert_eq!(whole, read(data, &bytes, cuts.len()), "byte by byte");
    for incoming in &whole.0 {
        if let Incoming::Text(text) = incoming {
            assert!(text.len() <= LONGEST);
        }
    }
}

/// The messages that a socket reads from `data`, up to its end or to an error. The first `ahead` bytes came with the
/// request.
fn read(data: &[u8], cuts: &[u8], ahead: usize) -> (Vec<Incoming>, Option<ReadError>) {
    let (ahead, data) = data.split_at(ahead.min(data.len()));
    let wire = Wire { data, cuts };
    let intake = Arc::new(Intake::new(LONGEST, 4 * LONGEST));
    let mut socket = Socket::new(wire, ahead, intake);
    let mut context = Context::from_waker(Waker::noop());
    let mut got = Vec::new();
    loop {
        loop {
            match socket.next_incoming() {
                // The number of fragments that a long message is reported in depends on the cuts.
                Ok(Some(Incoming::Fragment)) => {}
                Ok(Some(incoming)) => got.push(incoming),
                Ok(None) => break,
                Err(why) => return (got, Some(why)),
            }
        }
        // The wire drops the answers of the socket, and never makes them wait.
        let _ = socket.poll_write(&mut context);
        match socket.poll_fill(&mut context) {
            Poll::Ready(Ok(1..)) => {}
            _ => return (got, None),
        }
    }
}

/// A connection that gives its bytes in pieces, and accepts all that the socket writes.
struct Wire<'a> {
    data: &'a [u8],
    /// The length of each piece, less one. After the last of them, the rest is one piece.
    cuts: &'a [u8],
}

impl AsyncRead for Wire<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let piece = match self.cuts.split_first() {
            Some((cut, rest)) => {
                self.cuts = rest;
                usize::from(*cut) + 1
            }
            None => usize::MAX,
        };
        let length = piece.min(buffer.remaining()).min(self.data.len());
        let (now, later) = self.data.split_at(length);
        buffer.put_slice(now);
        self.data = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
