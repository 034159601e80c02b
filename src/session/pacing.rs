//! The rate at which a client may send, and what happens to messages above it.
//!
//! Most clients are told, and the message is dropped; a client that stays too fast for long is disconnected. Some
//! clients treat any error message as the end of their connection: these are not told, but read more slowly. The
//! message that arrived too fast then waits for its time, and nothing behind it is read, so that the client's send
//! buffer fills. Such a client too is told and disconnected if it stays too fast for long. One message waits for each
//! client, and counts against the hub's [`Intake`](super::intake::Intake) beyond a small free part. Part of the
//! conversation.

use std::num::NonZeroU32;
use std::time::Duration;

use hubmesh_core::ids::NetworkKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::conversation::Conversation;
use super::intake::{ReadPast, WaitingText};
use crate::dialect::{Complaint, HubEvent};
use crate::limits::{Delay, PaceVerdict};
use crate::peers::port::MeshPort;
use crate::peers::reason::CloseReason;

/// The decision about a message.
enum InPace {
    /// It is handled.
    Now,
    /// It is handled after this time, and the messages behind it later.
    Later(Duration),
    /// It is dropped.
    Never,
}

impl<S, M> Conversation<S, M>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    M: MeshPort,
{
    /// Whether a message may be handled now. If not, it waits for its time or is dropped.
    pub(super) fn may_go_on(&mut self, text: &Utf8Bytes) -> Result<bool, CloseReason> {
        match self.judge(text.len(), true)? {
            InPace::Now => Ok(true),
            InPace::Later(wait) => {
                self.pause(wait, text);
                Ok(false)
            }
            InPace::Never => {
                self.say(&HubEvent::Missed);
                Ok(false)
            }
        }
    }

    /// Charges the client for a frame, so that clients that send only such frames pay too.
    pub(super) fn pay_for_frame(&mut self) -> Result<(), CloseReason> {
        self.pay(0, true).map(drop)
    }

    /// Charges the client for a message that does not wait itself; the messages behind it wait until the cost is paid.
    fn pay(&mut self, bytes: usize, counts: bool) -> Result<InPace, CloseReason> {
        let pace = self.judge(bytes, counts)?;
        if let InPace::Later(wait) = pace {
            self.deadlines.owe(Instant::now() + wait, bytes);
        }
        Ok(pace)
    }

    /// Charges the client for a message that was read past. The client is told of it, unless it is told that it is too
    /// fast.
    pub(super) fn on_read_past(&mut self, skipped: &ReadPast) -> Result<(), CloseReason> {
        if !matches!(self.pay(0, true)?, InPace::Never) {
            self.refuse_read_past(skipped);
        }
        Ok(())
    }

    /// Handles the waiting message when its time has come, or charges for a message that was handled or read past
    /// before.
    pub(super) async fn go_on(&mut self) -> Result<(), CloseReason> {
        if let Some(bytes) = self.deadlines.take_owed() {
            return self.pay(bytes, false).map(drop);
        }
        let Some(paused) = self.paused.take() else {
            return Ok(());
        };
        match self.judge(paused.text.len(), false)? {
            InPace::Later(wait) => {
                self.paused = Some(paused);
                self.deadlines.pause(Instant::now() + wait);
                Ok(())
            }
            _ => match self.hear(&paused.text)? {
                Some(rest) => rest.await,
                None => Ok(()),
            },
        }
    }

    /// The waiting message of a client whose connection ends in order.
    pub(super) fn take_paused(&mut self) -> Option<Utf8Bytes> {
        self.paused.take().map(|paused| paused.text)
    }

    /// Whether a message of this length may be handled; sets its time if it has to wait.
    pub(super) async fn in_its_time(&mut self, bytes: usize) -> bool {
        let mut counts = true;
        loop {
            match self.judge(bytes, counts) {
                Ok(InPace::Now) => return true,
                Ok(InPace::Later(wait)) => sleep(wait).await,
                Ok(InPace::Never) | Err(_) => return false,
            }
            counts = false;
        }
    }

    fn pause(&mut self, wait: Duration, text: &Utf8Bytes) {
        let until = Instant::now() + wait;
        match WaitingText::new(text, &self.shared.intake) {
            Ok(waiting) => {
                self.deadlines.pause(until);
                self.paused = Some(Box::new(waiting));
            }
            Err(skipped) => {
                self.deadlines.owe(until, text.len());
                self.refuse_read_past(&skipped);
            }
        }
    }

    /// Decides about a message of this length; `counts` unless it was counted before.
    fn judge(&mut self, bytes: usize, counts: bool) -> Result<InPace, CloseReason> {
        let cost = self.shared.limits.rate_cost(bytes);
        if self.shared.policies.of(self.dialect()).slows_down {
            let delay = self.pace.delay(cost, counts);
            if counts && delay != Delay::None {
                self.shared.metrics.rate_limited.inc();
            }
            return match delay {
                Delay::None => Ok(InPace::Now),
                Delay::For(wait) => Ok(InPace::Later(wait)),
                Delay::Abuse => Err(CloseReason::RateAbuse),
            };
        }
        let verdict = self.pace.judge(cost);
        if verdict == PaceVerdict::Abuse {
            self.shared.metrics.rate_limited.inc();
            return Err(CloseReason::RateAbuse);
        }
        Ok(match self.is_granted(verdict) {
            true => InPace::Now,
            false => InPace::Never,
        })
    }

    /// Whether one more announcement, for this network, may be sent to others.
    pub(super) fn may_announce_again(&mut self, network: &NetworkKey) -> bool {
        let verdict = match network.tells_of_peers() {
            true => self
                .pace
                .judge_announcement(self.shared.mesh.told_in(network)),
            false => self.pace.judge(NonZeroU32::MIN),
        };
        self.is_granted(verdict)
    }

    /// Whether the client may publish in this network.
    pub(super) fn may_publish(&mut self, network: &NetworkKey) -> bool {
        let told = self.shared.mesh.members_of(network);
        let verdict = self.pace.judge_publication(told);
        self.is_granted(verdict)
    }

    fn is_granted(&mut self, verdict: PaceVerdict) -> bool {
        if verdict == PaceVerdict::Granted {
            return true;
        }
        self.shared.metrics.rate_limited.inc();
        if verdict == PaceVerdict::RefusedFirst {
            let text = "too many messages: this one and those that follow too soon are dropped";
            self.say(&HubEvent::Mistake(Complaint::new("rate-limited", text)));
        }
        false
    }
}
