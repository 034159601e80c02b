//! A connection that knows whether a request is unfinished.
//!
//! hyper ends a connection on which no head arrived in time, and does not say why. Only this stream can tell whether
//! the end cut a request short or closed a kept-alive connection. A request is owed from the start, and from each byte
//! that arrives after a whole head.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::tls::Stream;

/// Whether a request is owed.
#[derive(Clone, Debug)]
pub(super) struct Owed(Arc<AtomicBool>);

impl Owed {
    /// A whole head has arrived.
    pub(super) fn settle(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether the client has sent only a part of a request, or no request yet.
    pub(super) fn is_due(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The stream, which watches the bytes that arrive.
#[derive(Debug)]
pub(super) struct Watched {
    stream: Stream,
    owed: Owed,
}

impl Watched {
    pub(super) fn new(stream: Stream) -> (Self, Owed) {
        let owed = Owed(Arc::new(AtomicBool::new(true)));
        let watched = Watched {
            stream,
            owed: owed.clone(),
        };
        (watched, owed)
    }

    pub(super) fn into_inner(self) -> Stream {
        self.stream
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.owed.0.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
