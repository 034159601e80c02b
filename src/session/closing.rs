//! The end of a conversation: the last messages to the client, and the client's last messages.
//!
//! If the hub restarts, nothing is lost that the client sent before it saw the close: the hub reads on until the
//! client's own close frame and passes its signals on. Until then it keeps the client's id. Signals of other peers wait
//! meanwhile for the client's return, as for an absent peer. If the client's join is not decided yet, its actions are
//! refused, and the client is told. All these steps together take [`LINGER`] at most. Run by [`Conversation::run`].

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::LINGER;
use super::conversation::{Conversation, TURN};
use super::socket::Incoming;
use crate::dialect::HubEvent;
use crate::peers::port::MeshPort;
use crate::peers::reason::CloseReason;

impl<S, M> Conversation<S, M>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    M: MeshPort,
{
    /// Gives up the memberships and closes the socket, in the order that the reason needs.
    pub(super) async fn part(&mut self, reason: CloseReason) {
        let until = Instant::now() + LINGER;
        if reason == CloseReason::Draining {
            self.say(&HubEvent::Draining);
        }
        if reason == CloseReason::Draining && !self.memberships.any_present() {
            self.refuse_held();
        } else if reason == CloseReason::Draining {
            // Whatever the result, the memberships are given up next.
            let _ = timeout_at(until, self.hear_out(reason)).await;
        }
        self.memberships.give_up(reason.leave_reason());
        tracing::debug!(reason = reason.label(), "connection ends");
        if reason == CloseReason::OutboxFull {
            self.shared.metrics.outbox_overflows.inc();
        }
        if reason != CloseReason::ConnectionLost {
            // Whatever the result, the socket is closed next.
            let _ = timeout_at(until, self.send_close(reason)).await;
        }
    }

    /// Sends the close frame, and carries out further texts until the client's own close frame.
    async fn hear_out(&mut self, reason: CloseReason) -> io::Result<()> {
        self.memberships.vacate();
        if self.memberships.any_pending() {
            self.refuse_held();
        }
        while let Some(action) = self.held.pop() {
            if let Ok(Some(rest)) = self.carry_out_held(action) {
                // The connection ends anyway.
                let _ = rest.await;
            }
        }
        if let Some(text) = self.take_paused() {
            self.hear_last(&text).await;
        }
        let mut turn = 0;
        while let Some(incoming) = poll_fn(|cx| self.poll_last(cx, reason)).await? {
            match incoming {
                Incoming::Text(text) => {
                    turn += 1 + text.len() / 1024;
                    self.shared.metrics.bytes_received.inc_by(text.len() as u64);
                    self.hear_last(&text).await;
                }
                Incoming::ReadPast(skipped) => {
                    turn += 1;
                    self.shared.metrics.bytes_received.inc_by(skipped.size);
                    if self.in_its_time(0).await {
                        self.refuse_read_past(&skipped);
                    }
                }
                Incoming::Close => break,
                Incoming::Ping | Incoming::Pong(_) | Incoming::Fragment => turn += 1,
            }
            if turn >= TURN {
                turn = 0;
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Carries out a text that the client sent before it had read the close frame.
    async fn hear_last(&mut self, text: &Utf8Bytes) {
        // The client cannot get back a membership that is given up now.
        if self.in_its_time(text.len()).await
            && self.memberships.any_present()
            && let Ok(Some(rest)) = self.hear(text)
        {
            // The connection ends anyway.
            let _ = rest.await;
        }
    }

    /// Writes the queue and then the close frame, and reads; `None` when the client has sent its last frame.
    fn poll_last(
        &mut self,
        cx: &mut Context<'_>,
        reason: CloseReason,
    ) -> Poll<io::Result<Option<Incoming>>> {
        loop {
            match self.socket.next_incoming() {
                Ok(None) => {}
                Ok(incoming) => return Poll::Ready(Ok(incoming)),
                Err(_) => return Poll::Ready(Ok(None)),
            }
            self.mailbox.register(cx.waker());
            if self.poll_write(cx)?.is_ready() && self.mailbox.shut_if_empty() {
                self.socket.put_close(reason.code(), reason.text());
                // The stream takes the rest when it is next polled.
                let _ = self.socket.poll_write(cx)?;
            }
            if ready!(self.socket.poll_fill(cx))? == 0 {
                return Poll::Ready(Ok(None));
            }
        }
    }

    /// Sends the messages that may still be sent and the close frame, and waits for the client's close frame.
    async fn send_close(&mut self, reason: CloseReason) -> io::Result<()> {
        if reason.sends_the_rest() {
            poll_fn(|cx| self.poll_write(cx)).await?;
        }
        self.give_back();
        self.socket.part(reason.code(), reason.text()).await
    }
}
