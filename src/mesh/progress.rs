//! Detects that the other end of a link is alive, byte by byte.
//!
//! A long message on a slow line takes longer than a hub may be silent, and no other message arrives meanwhile. So
//! bytes count, and not whole messages. Any byte that is read is a sign of life. A socket that accepts bytes again
//! after it accepted none is one too, because the other end has acknowledged some. A socket that accepts bytes *at
//! once* proves nothing: as long as it has space, the kernel accepts pings for a machine that no longer runs.
//!
//! Shared between the stream below a WebSocket, the link's writer and its queue.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The progress of a stream.
#[derive(Debug, Default)]
pub struct Progress {
    heard: AtomicBool,
    moves: AtomicU64,
}

impl Progress {
    /// Notes a sign of life of the other end.
    pub fn mark_heard(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    /// Whether there was a sign of life since the last call.
    pub fn take_heard(&self) -> bool {
        self.heard.swap(false, Ordering::Relaxed)
    }

    /// How often a full socket accepted bytes again; two counts that differ mean progress.
    pub fn moves(&self) -> u64 {
        self.moves.load(Ordering::Relaxed)
    }

    fn mark_moved(&self) {
        self.moves.fetch_add(1, Ordering::Relaxed);
        self.mark_heard();
    }
}

/// A stream that notes its progress.
#[derive(Debug)]
pub struct Observed<S> {
    stream: S,
    progress: Arc<Progress>,
    /// The stream accepted no bytes when it was last written to, or flushed.
    write_waits: bool,
    flush_waits: bool,
}

impl<S> Observed<S> {
    /// Observes this stream.
    pub fn new(stream: S) -> Self {
        Observed {
            stream,
            progress: Arc::default(),
            write_waits: false,
            flush_waits: false,
        }
    }

    /// The progress that is noted.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.progress.mark_heard();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Observed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        let waited = std::mem::replace(&mut self.write_waits, written.is_pending());
        if waited && matches!(written, Poll::Ready(Ok(1..))) {
            self.progress.mark_moved();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        let waited = std::mem::replace(&mut self.flush_waits, flushed.is_pending());
        if waited && matches!(flushed, Poll::Ready(Ok(()))) {
            self.progress.mark_moved();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[test]
    fn a_byte_that_is_read_is_a_sign_of_life() {
        let (here, mut there) = duplex(8);
        let mut here = Observed::new(here);
        let mut buffer = [0; 8];
        assert!(here.read(&mut buffer).now_or_never().is_none());
        assert!(!here.progress().take_heard());
        let written = there.write(b"x").now_or_never();
        written.expect("there is space").expect("it is open");
        let read = here.read(&mut buffer).now_or_never();
        assert_eq!(read.expect("there is a byte").expect("it is open"), 1);
        assert!(here.progress().take_heard());
    }

    #[test]
    fn a_stream_that_takes_bytes_shows_life_only_once_it_took_no_more() {
        let (here, mut there) = duplex(8);
        let mut here = Observed::new(here);
        for _ in 0..8 {
            assert!(here.write(b"x").now_or_never().is_some());
        }
        for _ in 0..2 {
            assert!(here.write(b"x").now_or_never().is_none());
            assert!(!here.progress().take_heard());
        }
        assert!(there.read(&mut [0; 4]).now_or_never().is_some());
        assert!(here.write(b"x").now_or_never().is_some());
        assert!(here.progress().take_heard());
        assert_eq!(here.progress().moves(), 1);
    }
}
