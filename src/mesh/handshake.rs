//! How two hubs come to trust a WebSocket: each proves that it has the mesh token, without showing the token.
//!
//! ```text
//! dialler                                            acceptor
//!   Hello { versions, namespace, hub, incarnation, nonce }  ─▶
//!                   ◀─  Welcome { version, hub, incarnation, nonce, proof }
//!   Proof { proof }  ─▶
//!                   ◀─  Ready
//! ```
//!
//! Binary messages, `postcard` with fields only ever added at the end. A proof is HMAC-SHA-256, keyed by the
//! token, over the prover's role and both greetings as they were sent, so it fits one connection, one direction
//! and one namespace. Either end may answer `Greeting::Reject` instead and close. Without a token the key is
//! empty: an open mesh. Every message is at most [`MAX_GREETING`] bytes; the whole must be done within
//! [`DEADLINE`].

use std::time::Duration;

use bytes::Bytes;
use futures::{Sink, SinkExt, Stream, StreamExt};
use hmac::{Hmac, KeyInit, Mac};
use hubmesh_core::ids::{HubId, Incarnation};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

/// The versions of the link protocol that this hub speaks: see [`hubmesh_core::frames::PULLS_SINCE`] for the additions
/// of the second, and [`hubmesh_core::frames::FOLLOWS_SINCE`] for the third.
pub const VERSIONS: (u16, u16) = (1, 3);
/// The longest message of a handshake, in bytes.
pub const MAX_GREETING: usize = 1024;
/// How long a handshake may take.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// Bytes of a proof.
const PROOF: usize = 32;

/// The statements of this end in a handshake.
#[derive(Clone)]
pub struct Identity {
    /// This hub.
    pub hub: HubId,
    /// Its present incarnation.
    pub incarnation: Incarnation,
    /// The name that separates meshes that share addresses.
    pub namespace: String,
    /// The mesh token; empty for an open mesh.
    pub token: String,
}

/// The result of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peered {
    /// The id that this end used.
    pub me: HubId,
    /// The hub at the other end.
    pub hub: HubId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The dialler's count of its dials.
    pub dial_number: u64,
    /// The version of the link protocol to use.
    pub version: u16,
}

/// Why one end refuses the other end, which is told of it. A number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rejection {
    /// The proof is wrong: the other end has another token.
    Token,
    /// The other end is in another mesh.
    Namespace,
    /// No version in common.
    Version,
    /// The message is not a greeting.
    Malformed,
    /// This hub accepts no links now.
    Unavailable,
}

impl Rejection {
    /// The cause in words that are true for both ends.
    const fn words(self) -> &'static str {
        match self {
            Rejection::Token => {
                "the two hubs have different HUB_TOKENs (AUTH_TOKEN counts where HUB_TOKEN is unset)"
            }
            Rejection::Namespace => "the two hubs have different HUB_MESH_NAMESPACEs",
            Rejection::Version => "the two hubs have no version of the link protocol in common",
            Rejection::Malformed => "the other end does not speak as a hub does",
            Rejection::Unavailable => "it takes no links now",
        }
    }

    /// The label in metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Rejection::Token => "wrong-token",
            Rejection::Namespace => "other-namespace",
            Rejection::Version => "no-common-version",
            Rejection::Malformed => "malformed",
            Rejection::Unavailable => "unavailable",
        }
    }
}

/// Why there is no link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// This hub refused the other end, and told it.
    #[error("{}", .0.words())]
    Refused(Rejection),
    /// The other end refused this hub.
    #[error("{}", .0.words())]
    RefusedByOther(Rejection),
    /// The socket ended, or its peer does not speak this protocol.
    #[error("the other end closed the connection before it proved to be a hub")]
    Closed,
    /// The handshake took too long.
    #[error("no answer in time")]
    Late,
}

impl HandshakeError {
    /// Whether the cause lasts until an operator acts. A hub that accepts no links now is not such a cause.
    pub const fn is_an_operators(self) -> bool {
        match self {
            HandshakeError::RefusedByOther(Rejection::Unavailable)
            | HandshakeError::Closed
            | HandshakeError::Late => false,
            HandshakeError::Refused(_) | HandshakeError::RefusedByOther(_) => true,
        }
    }

    /// The label in metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            HandshakeError::Refused(why) | HandshakeError::RefusedByOther(why) => why.label(),
            HandshakeError::Closed => "closed",
            HandshakeError::Late => "late",
        }
    }
}

/// The messages.
#[derive(Serialize, Deserialize, Debug)]
enum Greeting {
    Hello(Hello),
    Welcome(Welcome),
    Proof([u8; 32]),
    Ready,
    Reject(Rejection),
}

#[derive(Serialize, Deserialize, Debug, Clone)]
struct Hello {
    versions: (u16, u16),
    namespace: String,
    hub: HubId,
    incarnation: Incarnation,
    nonce: [u8; 32],
    dial_number: u64,
}

#[derive(Serialize, Deserialize, Debug, Clone)]
struct Welcome {
    version: u16,
    hub: HubId,
    incarnation: Incarnation,
    nonce: [u8; 32],
    proof: [u8; 32],
}

/// A WebSocket as the handshake needs it.
pub trait Socket:
    Stream<Item = Result<Message, SocketError>> + Sink<Message, Error = SocketError> + Unpin + Send
{
}

impl<S> Socket for S where
    S: Stream<Item = Result<Message, SocketError>>
        + Sink<Message, Error = SocketError>
        + Unpin
        + Send
{
}

/// The dialling end.
pub async fn dial(
    socket: &mut impl Socket,
    me: &Identity,
    dial_number: u64,
) -> Result<Peered, HandshakeError> {
    let result = in_time(dial_unbounded(socket, me, dial_number)).await;
    tell(socket, result).await
}

/// The accepting end. `heard` is called once the other end has greeted.
pub async fn accept(
    socket: &mut impl Socket,
    me: &Identity,
    heard: impl FnOnce() + Send,
) -> Result<Peered, HandshakeError> {
    let result = in_time(accept_unbounded(socket, me, heard)).await;
    tell(socket, result).await
}

/// Refuses a hub without reading its greeting.
pub async fn turn_away(socket: &mut impl Socket, why: Rejection) -> HandshakeError {
    let refused = HandshakeError::Refused(why);
    match tell(socket, Err(refused)).await {
        Err(error) => error,
        Ok(_) => refused,
    }
}

async fn in_time(
    shaking: impl Future<Output = Result<Peered, HandshakeError>>,
) -> Result<Peered, HandshakeError> {
    match tokio::time::timeout(DEADLINE, shaking).await {
        Ok(result) => result,
        Err(_) => Err(HandshakeError::Late),
    }
}

/// Tells the other end why it was refused, if it was.
async fn tell(
    socket: &mut impl Socket,
    result: Result<Peered, HandshakeError>,
) -> Result<Peered, HandshakeError> {
    if let Err(HandshakeError::Refused(why)) = result {
        // The other end need not be told; a socket that does not accept the message is given up all the same.
        if let Ok(reject) = encode(&Greeting::Reject(why)) {
            drop(tokio::time::timeout(DEADLINE, send(socket, reject)).await);
        }
    }
    result
}

async fn dial_unbounded(
    socket: &mut impl Socket,
    me: &Identity,
    dial_number: u64,
) -> Result<Peered, HandshakeError> {
    let hello = encode(&Greeting::Hello(Hello {
        versions: VERSIONS,
        namespace: me.namespace.clone(),
        hub: me.hub,
        incarnation: me.incarnation,
        nonce: rand::random(),
        dial_number,
    }))?;
    send(socket, hello.clone()).await?;
    let (welcome, answer) = match receive(socket).await? {
        (Greeting::Welcome(welcome), answer) => (welcome, answer),
        _ => return Err(HandshakeError::Refused(Rejection::Malformed)),
    };
    if !(VERSIONS.0..=VERSIONS.1).contains(&welcome.version) {
        return Err(HandshakeError::Refused(Rejection::Version));
    }
    let said = Greetings::new(&hello, &answer, &welcome);
    check(&welcome.proof, me, Role::Acceptor, &said)?;
    let proof = proof(me, Role::Dialler, &said);
    send(socket, encode(&Greeting::Proof(proof))?).await?;
    match receive(socket).await?.0 {
        Greeting::Ready => Ok(Peered {
            me: me.hub,
            hub: welcome.hub,
            incarnation: welcome.incarnation,
            dial_number,
            version: welcome.version,
        }),
        _ => Err(HandshakeError::Refused(Rejection::Malformed)),
    }
}

async fn accept_unbounded(
    socket: &mut impl Socket,
    me: &Identity,
    heard: impl FnOnce() + Send,
) -> Result<Peered, HandshakeError> {
    let (hello, greeting) = match receive(socket).await? {
        (Greeting::Hello(hello), greeting) => (hello, greeting),
        _ => return Err(HandshakeError::Refused(Rejection::Malformed)),
    };
    heard();
    let version = hello.versions.1.min(VERSIONS.1);
    if version < hello.versions.0.max(VERSIONS.0) {
        return Err(HandshakeError::Refused(Rejection::Version));
    }
    if hello.namespace != me.namespace {
        return Err(HandshakeError::Refused(Rejection::Namespace));
    }
    let mut welcome = Welcome {
        version,
        hub: me.hub,
        incarnation: me.incarnation,
        nonce: rand::random(),
        proof: [0; PROOF],
    };
    let unproved = encode(&Greeting::Welcome(welcome.clone()))?;
    let said = Greetings::new(&greeting, &unproved, &welcome);
    welcome.proof = proof(me, Role::Acceptor, &said);
    send(socket, encode(&Greeting::Welcome(welcome))?).await?;
    match receive(socket).await?.0 {
        Greeting::Proof(proof) => check(&proof, me, Role::Dialler, &said)?,
        _ => return Err(HandshakeError::Refused(Rejection::Malformed)),
    }
    send(socket, encode(&Greeting::Ready)?).await?;
    Ok(Peered {
        me: me.hub,
        hub: hello.hub,
        incarnation: hello.incarnation,
        dial_number: hello.dial_number,
        version,
    })
}

/// The greetings of both ends, byte for byte: with the fields that later versions add.
struct Greetings {
    hello: Bytes,
    /// The welcome, with a proof of zeros.
    welcome: Vec<u8>,
}

impl Greetings {
    /// The greetings in these two messages, as on the wire; `read` is the decoded part of the second.
    fn new(hello: &Bytes, welcome: &Bytes, read: &Welcome) -> Self {
        let mut unproved = untagged(welcome).to_vec();
        // The proof is the last field that this version knows.
        let end = postcard::to_allocvec(read).map_or(0, |known| known.len());
        let proof = end.checked_sub(PROOF).map(|start| start..end);
        if let Some(proof) = proof.and_then(|place| unproved.get_mut(place)) {
            proof.fill(0);
        }
        Greetings {
            hello: untagged(hello),
            welcome: unproved,
        }
    }
}

/// A message without the byte for its kind.
fn untagged(message: &Bytes) -> Bytes {
    message.slice(message.len().min(1)..)
}

#[derive(Clone, Copy)]
enum Role {
    Dialler,
    Acceptor,
}

fn mac(me: &Identity, role: Role, said: &Greetings) -> Hmac<Sha256> {
    // HMAC takes keys of any length.
    let mut mac = match Hmac::<Sha256>::new_from_slice(me.token.as_bytes()) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes keys of any length"),
    };
    mac.update(match role {
        Role::Dialler => b"hubmesh dialler 1",
        Role::Acceptor => b"hubmesh acceptor 1",
    });
    for part in [&said.hello[..], &said.welcome] {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac
}

fn proof(me: &Identity, role: Role, said: &Greetings) -> [u8; PROOF] {
    mac(me, role, said).finalize().into_bytes().into()
}

fn check(
    given: &[u8; PROOF],
    me: &Identity,
    role: Role,
    said: &Greetings,
) -> Result<(), HandshakeError> {
    let expected = proof(me, role, said);
    if bool::from(expected.ct_eq(given)) {
        Ok(())
    } else {
        Err(HandshakeError::Refused(Rejection::Token))
    }
}

fn encode(greeting: &Greeting) -> Result<Bytes, HandshakeError> {
    let bytes = postcard::to_allocvec(greeting).map_err(|_| HandshakeError::Closed)?;
    Ok(bytes.into())
}

async fn send(socket: &mut impl Socket, greeting: Bytes) -> Result<(), HandshakeError> {
    socket
        .send(Message::Binary(greeting))
        .await
        .map_err(|_| HandshakeError::Closed)
}

/// The next greeting, and its message.
async fn receive(socket: &mut impl Socket) -> Result<(Greeting, Bytes), HandshakeError> {
    loop {
        let message = match socket.next().await {
            Some(Ok(message)) => message,
            _ => return Err(HandshakeError::Closed),
        };
        match message {
            Message::Binary(bytes) => return Ok((read(&bytes)?, bytes)),
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Close(_) => return Err(HandshakeError::Closed),
            _ => return Err(HandshakeError::Refused(Rejection::Malformed)),
        }
    }
}

fn read(bytes: &Bytes) -> Result<Greeting, HandshakeError> {
    if bytes.len() > MAX_GREETING {
        return Err(HandshakeError::Refused(Rejection::Malformed));
    }
    match postcard::from_bytes(bytes) {
        Ok(Greeting::Reject(why)) => Err(HandshakeError::RefusedByOther(why)),
        Ok(greeting) => Ok(greeting),
        Err(_) => Err(HandshakeError::Refused(Rejection::Malformed)),
    }
}

#[cfg(test)]
mod tests;
