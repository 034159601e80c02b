//! The state of each hub, exchanged for operators.
//!
//! A question and its answer are messages between control planes: they are sent like signals, and have a first byte of
//! their own (`tagged`). A hub that does not know them ignores them, so the hub that asks needs a time limit. The
//! driver owns the [`Conditions`] and sends their messages; they know no link.
//!
//! Invariants: an answer counts once, and only from the hub that was asked; open questions are dropped with their
//! asker; a hub measures itself at most twice a second, however often it is asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hubmesh_core::ids::HubId;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::tagged;
use crate::clock::unix_ms;
use crate::metrics::{self, Metrics};

/// Set in the tokens of these messages, and of no others.
const OURS: u64 = 1 << 63;
/// How long a hub's measurement of itself is used.
const FRESH: Duration = Duration::from_millis(500);
/// The most hubs that are asked, and the most answers that wait: the number of hubs that a hub can know.
pub(super) const MAX_HUBS: usize = 4_096;
/// The longest version that is shown, in bytes.
const MAX_VERSION_BYTES: usize = 64;

/// The state of a hub, in its own report. New fields go to the end: hubs that do not know them skip them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Condition {
    /// Its version.
    pub version: String,
    /// The time since its start.
    pub uptime_ms: u64,
    /// Its wall clock.
    pub wall_ms: u64,
    /// Peers connected to it.
    pub connections: u64,
    /// The most peers that it accepts.
    pub max_connections: u64,
    /// Messages from its peers so far.
    pub messages: u64,
    /// CPU time; 0 if it is not known, as in the next two fields.
    pub cpu_ms: u64,
    /// Resident memory.
    pub memory_bytes: u64,
    /// Open file descriptors.
    pub open_files: u64,
}

/// The answer of a hub.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HubReport {
    /// The hub that answered.
    pub hub: HubId,
    /// Its state.
    pub condition: Condition,
    /// How far its clock is ahead of this hub's, in milliseconds, as exactly as the round trip allows.
    pub clock_ahead_ms: i64,
}

/// Measures this hub.
pub(super) struct OwnCondition {
    metrics: Arc<Metrics>,
    started: Instant,
    max_connections: u64,
    seen: Mutex<Option<(Instant, Condition)>>,
}

impl OwnCondition {
    pub(super) fn new(metrics: Arc<Metrics>, max_connections: usize) -> Self {
        OwnCondition {
            metrics,
            started: Instant::now(),
            max_connections: max_connections as u64,
            seen: Mutex::default(),
        }
    }

    pub(super) fn look(&self) -> Condition {
        let mut seen = self.seen.lock();
        let mut condition = match &*seen {
            Some((at, condition)) if at.elapsed() < FRESH => condition.clone(),
            _ => {
                let condition = self.make();
                *seen = Some((Instant::now(), condition.clone()));
                condition
            }
        };
        condition.wall_ms = unix_ms();
        condition
    }

    fn make(&self) -> Condition {
        let usage = metrics::usage().unwrap_or_default();
        Condition {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            wall_ms: 0,
            connections: self.metrics.connections_open(),
            max_connections: self.max_connections,
            messages: self.metrics.messages_received.total(),
            // `/proc` counts in whole numbers.
            cpu_ms: (usage.cpu_seconds * 1e3) as u64,
            memory_bytes: usage.resident_bytes as u64,
            open_files: usage.open_fds as u64,
        }
    }
}

#[derive(Serialize, Deserialize, Debug, PartialEq, Eq)]
enum ConditionMessage {
    Ask { token: u64 },
    Tell { token: u64, condition: Condition },
}

impl ConditionMessage {
    fn encode(&self) -> Bytes {
        tagged::encode(tagged::CONDITIONS, self)
    }

    fn decode(payload: &[u8]) -> Option<Self> {
        tagged::decode(tagged::CONDITIONS, payload)
    }
}

/// A message to another hub.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct HubMessage {
    pub to: HubId,
    pub payload: Bytes,
    /// Returned if the message does not arrive.
    pub token: u64,
}

/// The sender of answers.
pub(super) type Answers = mpsc::Sender<HubReport>;

/// The receiver of answers, with space for one from each hub.
pub(super) fn channel() -> (Answers, mpsc::Receiver<HubReport>) {
    mpsc::channel(MAX_HUBS)
}

/// The answers until all hubs have answered or the time is over. Hubs that have not answered by then are left out.
pub(super) async fn gather<T>(mut answered: mpsc::Receiver<T>, within: Duration) -> Vec<T> {
    let mut all = Vec::new();
    let listening = async {
        while let Some(answer) = answered.recv().await {
            all.push(answer);
        }
    };
    let _ = timeout(within, listening).await;
    all
}

struct OpenQuestion {
    hub: HubId,
    asked: Instant,
    answers: Answers,
}

/// The open questions.
pub(super) struct Conditions {
    own: Arc<OwnCondition>,
    open: HashMap<u64, OpenQuestion>,
    next: u64,
}

impl Conditions {
    pub(super) fn new(own: Arc<OwnCondition>) -> Self {
        Conditions {
            own,
            open: HashMap::new(),
            next: OURS,
        }
    }

    /// Whether a message is a question or an answer of this kind, well-formed or not.
    pub(super) fn is_one(payload: &[u8]) -> bool {
        tagged::is(tagged::CONDITIONS, payload)
    }

    /// Whether a token belongs to such a message.
    pub(super) fn is_ours(token: u64) -> bool {
        token & OURS != 0
    }

    /// Asks each of these hubs for its state. `answers` is closed when no answer is awaited any more.
    pub(super) fn ask(
        &mut self,
        hubs: impl IntoIterator<Item = HubId>,
        answers: &Answers,
    ) -> Vec<HubMessage> {
        self.open.retain(|_, open| !open.answers.is_closed());
        let messages = hubs.into_iter().map(|to| {
            self.next = OURS | self.next.wrapping_add(1);
            let open = OpenQuestion {
                hub: to,
                asked: Instant::now(),
                answers: answers.clone(),
            };
            self.open.insert(self.next, open);
            let payload = ConditionMessage::Ask { token: self.next }.encode();
            HubMessage {
                to,
                payload,
                token: self.next,
            }
        });
        messages.collect()
    }

    /// Handles a message of another hub; returns the answer to it.
    pub(super) fn on_message(&mut self, from: HubId, payload: &[u8]) -> Option<HubMessage> {
        match ConditionMessage::decode(payload)? {
            ConditionMessage::Ask { token } => {
                let condition = self.own.look();
                Some(HubMessage {
                    to: from,
                    payload: ConditionMessage::Tell { token, condition }.encode(),
                    // The hub that asked has a time limit.
                    token: OURS,
                })
            }
            ConditionMessage::Tell { token, condition } => {
                self.on_answer(from, token, condition);
                None
            }
        }
    }

    fn on_answer(&mut self, from: HubId, token: u64, mut condition: Condition) {
        let is_of_it = self.open.get(&token).is_some_and(|open| open.hub == from);
        let Some(open) = self.open.remove(&token).filter(|_| is_of_it) else {
            return;
        };
        if condition.version.len() > MAX_VERSION_BYTES {
            condition.version = String::new();
        }
        // Both directions are assumed to take half of the round trip.
        let half = u64::try_from(open.asked.elapsed().as_millis() / 2).unwrap_or(u64::MAX);
        let then = unix_ms().saturating_sub(half);
        let answer = HubReport {
            hub: from,
            clock_ahead_ms: condition
                .wall_ms
                .cast_signed()
                .saturating_sub(then.cast_signed()),
            condition,
        };
        // The page that asked may have given up.
        let _ = open.answers.try_send(answer);
    }

    /// A message did not arrive.
    pub(super) fn on_failed(&mut self, token: u64) {
        self.open.remove(&token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: HubId = HubId([1; 20]);
    const TWO: HubId = HubId([2; 20]);

    fn conditions() -> Conditions {
        Conditions::new(Arc::new(OwnCondition::new(Metrics::new(), 7)))
    }

    #[test]
    fn a_question_is_answered_once_by_the_hub_that_was_asked() {
        let (mut asker, mut asked) = (conditions(), conditions());
        let (answers, mut answered) = channel();
        let messages = asker.ask([ONE, TWO], &answers);
        drop(answers);
        assert!(
            messages
                .iter()
                .all(|message| Conditions::is_one(&message.payload))
        );
        assert!(
            messages
                .iter()
                .all(|message| Conditions::is_ours(message.token))
        );
        let reply = asked
            .on_message(HubId([9; 20]), &messages[0].payload)
            .expect("an answer");
        assert_eq!(reply.to, HubId([9; 20]));
        // An answer of a hub that was not asked is ignored, and so is a second answer.
        let forged = ConditionMessage::Tell {
            token: messages[1].token,
            condition: Condition::default(),
        };
        for (from, payload) in [(ONE, &reply.payload), (ONE, &reply.payload)] {
            assert_eq!(asker.on_message(from, payload), None);
        }
        let answer = answered.try_recv().expect("one answer");
        assert_eq!((answer.hub, answer.condition.max_connections), (ONE, 7));
        assert!(answer.clock_ahead_ms.abs() < 1_000, "{answer:?}");
        assert_eq!(asker.on_message(ONE, &forged.encode()), None);
        assert_eq!(
            answered.try_recv(),
            Err(mpsc::error::TryRecvError::Disconnected),
            "no more"
        );
    }

    #[test]
    fn what_did_not_arrive_is_waited_for_no_more() {
        let mut asker = conditions();
        let (answers, mut answered) = channel();
        let messages = asker.ask([ONE], &answers);
        drop(answers);
        assert_eq!(answered.try_recv(), Err(mpsc::error::TryRecvError::Empty));
        asker.on_failed(messages[0].token);
        assert_eq!(
            answered.try_recv(),
            Err(mpsc::error::TryRecvError::Disconnected)
        );
    }

    #[test]
    fn nothing_is_kept_for_who_gave_up() {
        let mut asker = conditions();
        for _ in 0..100 {
            let (answers, _) = channel();
            asker.ask([ONE, TWO], &answers);
        }
        assert!(asker.open.len() <= 4, "{}", asker.open.len());
    }

    #[test]
    fn other_messages_and_broken_ones_are_ignored() {
        let mut hub = conditions();
        let whole = ConditionMessage::Ask { token: 5 }.encode();
        for length in 0..whole.len() {
            assert_eq!(hub.on_message(ONE, &whole[..length]), None, "{length}");
        }
        for payload in [
            &[0, 1, 2][..],
            &[2, 0],
            &[tagged::CONDITIONS, 9],
            &[tagged::CONDITIONS, 1, 255, 255],
        ] {
            assert_eq!(hub.on_message(ONE, payload), None, "{payload:?}");
        }
        let long = Condition {
            version: "v".repeat(1_000),
            ..Condition::default()
        };
        let (answers, mut answered) = channel();
        let token = hub.ask([ONE], &answers)[0].token;
        hub.on_message(
            ONE,
            &ConditionMessage::Tell {
                token,
                condition: long,
            }
            .encode(),
        );
        assert_eq!(
            answered.try_recv().expect("an answer").condition.version,
            ""
        );
    }
}
