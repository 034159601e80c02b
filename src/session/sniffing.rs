//! A connection whose dialect is not known yet: it is read until its first text shows the dialect.
//!
//! Bounded in time ([`WITHIN`]), in frames, and in bytes as every message is. A client that sends nothing, or a text
//! that no dialect begins with, is told and closed with 1008. The bytes after the first text are left for the
//! conversation. Run by [`Sessions`](super::Sessions), before a conversation.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use hubmesh_core::ids::Dialect;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::bounds::other_dialect;
use super::socket::{Incoming, Socket};
use super::{ConnectingPeer, LINGER};
use crate::dialect::Complaint;
use crate::dialect::sniffing::{Sniffing, error, undecided};
use crate::peers::mailbox::{Control, Mailbox};
use crate::peers::reason::CloseReason;

/// How long the first text may take.
const WITHIN: Duration = Duration::from_secs(5);

/// Why a connection failed.
struct Fruitless {
    reason: CloseReason,
    told: Option<Complaint<'static>>,
}

impl From<CloseReason> for Fruitless {
    fn from(reason: CloseReason) -> Self {
        let told = reason.tells_why().then(|| reason.complaint());
        Fruitless { reason, told }
    }
}

impl From<Complaint<'static>> for Fruitless {
    fn from(why: Complaint<'static>) -> Self {
        Fruitless {
            reason: CloseReason::Undecided,
            told: Some(why),
        }
    }
}

/// A connection whose dialect is known, and its peer.
pub(super) type Opened<S> = (Socket<S>, Dialect, ConnectingPeer);

/// Reads up to the first text, and returns the connection with it; otherwise tells the client the reason, and closes.
pub(super) async fn open<S>(
    mut socket: Socket<S>,
    connecting: ConnectingPeer,
    mailbox: &Mailbox,
) -> Result<(Opened<S>, Utf8Bytes), CloseReason>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match sniff(&mut socket, mailbox, &connecting).await {
        Ok((dialect, first)) => Ok(((socket, dialect, connecting), first)),
        Err(why) => {
            part(&mut socket, &why).await;
            Err(why.reason)
        }
    }
}

/// The dialect, and the text that told it.
async fn sniff<S>(
    socket: &mut Socket<S>,
    mailbox: &Mailbox,
    connecting: &ConnectingPeer,
) -> Result<(Dialect, Utf8Bytes), Fruitless>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut sniffing = Sniffing::default();
    let first = poll_fn(|cx| poll_first(socket, mailbox, &mut sniffing, cx));
    let first = timeout(WITHIN, first).await;
    let first = first.map_err(|_| undecided("nothing was said in 5 seconds"))?;
    let text = first?;
    let dialect = sniffing.hear(&text)?;
    let (policy, scope) = (dialect.policy(), &connecting.grant.scope);
    if !scope.speaks(dialect) {
        return Err(other_dialect().into());
    }
    if policy.registers && scope.networks.is_some() {
        let text = "the token is for named rooms, and these clients reach each other in all";
        return Err(Complaint::new(Complaint::OTHER_ROOM, text).into());
    }
    if policy.is_anonymous && scope.peer.is_some() {
        let text = "the token is for one peer, and these clients have no id";
        return Err(Complaint::new("other-peer", text).into());
    }
    Ok((dialect, text))
}

fn poll_first<S>(
    socket: &mut Socket<S>,
    mailbox: &Mailbox,
    sniffing: &mut Sniffing,
    cx: &mut Context<'_>,
) -> Poll<Result<Utf8Bytes, Fruitless>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        mailbox.register(cx.waker());
        if let Some(Control::Close(reason)) = mailbox.next_control() {
            return Poll::Ready(Err(reason.into()));
        }
        match socket.next_incoming() {
            Err(why) => return Poll::Ready(Err(CloseReason::from(why).into())),
            Ok(Some(Incoming::Text(text))) => return Poll::Ready(Ok(text)),
            Ok(Some(Incoming::Close)) => return Poll::Ready(Err(CloseReason::PeerClosed.into())),
            Ok(Some(Incoming::ReadPast(_))) => {
                return Poll::Ready(Err(CloseReason::MessageTooLong.into()));
            }
            Ok(Some(Incoming::Ping | Incoming::Pong(_) | Incoming::Fragment)) => {
                if let Err(why) = sniffing.pass() {
                    return Poll::Ready(Err(why.into()));
                }
                continue;
            }
            Ok(None) => {}
        }
        // Writes the pongs for the client's pings.
        if socket.is_behind()
            && let Poll::Ready(Err(_)) = socket.poll_write(cx)
        {
            return Poll::Ready(Err(CloseReason::ConnectionLost.into()));
        }
        match socket.poll_fill(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(1..)) => {}
            Poll::Ready(_) => return Poll::Ready(Err(CloseReason::ConnectionLost.into())),
        }
    }
}

/// Sends the reason, and closes. Takes [`LINGER`] at most.
async fn part<S>(socket: &mut Socket<S>, why: &Fruitless)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if let Some(told) = &why.told {
        socket.put_text(&error(told));
    }
    let reason = why.reason;
    if reason != CloseReason::ConnectionLost {
        // The connection ends, whether the client gets the reason or not.
        let _ = timeout(LINGER, socket.part(reason.code(), reason.text())).await;
    }
}
