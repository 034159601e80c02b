//! How fast a client may speak, and what becomes of what comes too fast.
//!
//! Most clients are told, and what they said is dropped; a client that goes on for long is closed. Some take any word of the
//! hub's for the end of their connection: those are not told, but read more slowly. What came too fast then waits alone for
//! its time, and nothing behind it is read, so that the client's own end of the connection fills; one that keeps on for
//! long is told and parted from all the same. What waits is one message for each client, and counts against the hub's
//! [`Intake`](super::intake::Intake) beyond a bit that is free. Part of the conversation.

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

/// What becomes of something that came.
enum InPace {
    /// It is heard.
    Now,
    /// It is heard after this time, and nothing that comes behind it before.
    Later(Duration),
    /// It is not heard.
    Never,
}

impl<S, M> Conversation<S, M>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    M: MeshPort,
{
    /// Whether a message may be heard now. If not, it waits for its time or is dropped.
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

    /// All that a frame costs is paid for, also by those who send nothing else.
    pub(super) fn pay_for_frame(&mut self) -> Result<(), CloseReason> {
        self.pay(0, true).map(drop)
    }

    /// Has something be paid for that waits for nothing itself: what comes behind it waits until that is done.
    fn pay(&mut self, bytes: usize, counts: bool) -> Result<InPace, CloseReason> {
        let pace = self.judge(bytes, counts)?;
        if let InPace::Later(wait) = pace {
            self.deadlines.owe(Instant::now() + wait, bytes);
        }
        Ok(pace)
    }

    /// The same of a message that was read past. Its sender is told, unless it is told that it is too fast.
    pub(super) fn on_read_past(&mut self, skipped: &ReadPast) -> Result<(), CloseReason> {
        if !matches!(self.pay(0, true)?, InPace::Never) {
            self.refuse_read_past(skipped);
        }
        Ok(())
    }

    /// The time of what waits has come.
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

    /// What waits, of a client whose connection ends in order.
    pub(super) fn take_paused(&mut self) -> Option<Utf8Bytes> {
        self.paused.take().map(|paused| paused.text)
    }

    /// Whether something of this length may be heard; waits for its time where it has one.
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

    /// Judges something of this length; `counts` unless it was judged before.
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

    /// Whether one more announcement, for this network, may be passed on.
    pub(super) fn may_announce_again(&mut self, network: &NetworkKey) -> bool {
        let verdict = match network.tells_of_peers() {
            true => self
                .pace
                .judge_announcement(self.shared.mesh.told_in(network)),
            false => self.pace.judge(NonZeroU32::MIN),
        };
        self.is_granted(verdict)
    }

    /// Whether something may be published in this network.
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
