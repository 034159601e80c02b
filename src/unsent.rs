//! How many written bytes of a socket the kernel may hold before it has sent them.
//!
//! Without a bound it takes megabytes for a client or a hub that reads slowly, and a ping waits behind all of them: the
//! other end cannot show in time that it is alive. No crate that the hub uses has this option, so the system call is
//! here.

use std::io;
use std::os::fd::AsRawFd;

use tokio::net::TcpStream;

/// How many bytes may be unsent before a socket takes no more; a segment of up to 64 KiB may be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsent {
    /// On a peer's socket: there are many of them, and their lines may be slow.
    OfPeer = 16 * 1024,
    /// On a link's socket: it is woken less often when it has much to write.
    OfLink = 128 * 1024,
}

/// Bounds what is unsent on this socket. If it cannot be set, the socket works as usual.
pub fn bound(stream: &TcpStream, most: Unsent) {
    if let Err(why) = try_bound(stream, most) {
        tracing::debug!(%why, "what is unsent is not bounded");
    }
}

fn try_bound(stream: &TcpStream, most: Unsent) -> io::Result<()> {
    let value = most as u32;
    let length = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(0);
    // SAFETY: the descriptor is open for as long as the stream is borrowed, and the kernel copies `length` bytes of
    // `value`, which is as long, before the call returns.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_NOTSENT_LOWAT,
            (&raw const value).cast(),
            length,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    /// How much a socket takes whose other end reads nothing.
    async fn taken(bounded: bool) -> usize {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let reader = tokio::net::TcpSocket::new_v4().expect("a socket");
        reader.set_recv_buffer_size(16 * 1024).expect("it is set");
        let (reader, accepted) = tokio::join!(reader.connect(address), listener.accept());
        let _reader = reader.expect("it connects");
        let (mut stream, _) = accepted.expect("it connects");
        if bounded {
            try_bound(&stream, Unsent::OfPeer).expect("it is set");
        }
        let mut taken = 0;
        // What it takes, it takes at once.
        while let Ok(written) =
            timeout(Duration::from_millis(300), stream.write(&[0; 16 * 1024])).await
        {
            taken += written.expect("it writes");
        }
        taken
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_fills_no_megabytes_of_the_kernel() {
        let (bounded, unbounded) = (taken(true).await, taken(false).await);
        assert!(bounded < 256 * 1024, "{bounded}");
        assert!(unbounded > 2 * bounded, "{unbounded}, {bounded} bounded");
    }
}
