//! The handshake on `/mesh`, which any program that reaches the port may begin.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{Sink, Stream};
use hubmesh::mesh::handshake::{self, HandshakeError, Identity};
use hubmesh_core::ids::{HubId, Incarnation};
use tokio_tungstenite::tungstenite::{Error, Message};

/// The other end. It sends the messages of the input, and then closes. In front of each message the input has one byte
/// for its kind and one for its length.
struct Script {
    lines: VecDeque<Message>,
}

impl Script {
    fn of(mut input: &[u8]) -> Self {
        let mut lines = VecDeque::new();
        while let [kind, length, rest @ ..] = input {
            let (body, rest) = rest.split_at(usize::from(*length).min(rest.len()));
            let bytes = Bytes::copy_from_slice(body);
            lines.push_back(match kind % 8 {
                0 => Message::Ping(bytes),
                1 => Message::Pong(bytes),
                2 => Message::Text(String::from_utf8_lossy(body).into_owned().into()),
                3 => Message::Close(None),
                // May be longer than a greeting may be.
                4 => Message::Binary(body.repeat(20).into()),
                _ => Message::Binary(bytes),
            });
            input = rest;
        }
        Script { lines }
    }
}

impl Stream for Script {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.lines.pop_front().map(Ok))
    }
}

impl Sink<Message> for Script {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, _: Message) -> Result<(), Error> {
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }
}

/// Does a handshake with the other end, first as the hub that accepts, then as the hub that dials. Without the token,
/// no link is made.
pub fn greeting(input: &[u8]) {
    let me = Identity {
        hub: HubId([7; 20]),
        incarnation: Incarnation { epoch: 0, nonce: 7 },
        namespace: "fuzz".to_owned(),
        token: "unknown to the input".to_owned(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        for result in [
            handshake::accept(&mut Script::of(input), &me, || ()).await,
            handshake::dial(&mut Script::of(input), &me, 1).await,
        ] {
            let why = result.expect_err("nobody without the token is let in");
            assert_ne!(
                why,
                HandshakeError::Late,
                "an end that closes is not waited for"
            );
        }
    });
}
