//! The handshake on `/mesh`, which anyone who reaches the port may speak.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{Sink, Stream};
use hubmesh::mesh::handshake::{self, HandshakeError, Identity};
use hubmesh_core::ids::{HubId, Incarnation};
use tokio_tungstenite::tungstenite::{Error, Message};

/// The other end: says what it was given, each message with a byte of kind and one of length in front, then closes.
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
                // Past the limit of a greeting.
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

/// Shakes hands with whatever the other end says, from either side. Without the token no link comes of it.
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
