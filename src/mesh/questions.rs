//! Messages between hubs for their operators, except those about their state: to remove a peer, to ask for the parties
//! of peers, for the last hour, for events as they happen, whether a member of a room has a connection, and what other
//! hubs do not know in a narrow mesh: networks in short, and how many rooms there are.
//!
//! These are messages between control planes, with a first byte of their own (`tagged`). A hub that does not know them
//! ignores them, so the hub that asks needs a time limit. This file has the messages and the open questions;
//! `operating` asks and `answering` answers.
//!
//! Invariants: an answer counts once, and only from the hub that was asked; open questions are dropped with their
//! asker.

use std::collections::HashMap;

use bytes::Bytes;
use hubmesh_core::ids::HubId;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::awaited::{AwaitedIds, AwaitedQuery};
use super::conditions::MAX_HUBS;
use super::sketches::{MAX_NETWORKS, NetworkSketch};
use super::tagged;
use crate::watch::{Event, MAX_SUBJECT, Party, Past};

/// The most peers in one question.
pub(super) const MAX_PEERS: usize = 1_000;

/// A question to a hub.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Question {
    /// To disconnect a peer that is connected to it.
    Remove {
        /// The network, as it is sent between hubs.
        network: String,
        /// The peer.
        peer: String,
    },
    /// For the parties of these peers.
    Peers {
        /// The network.
        network: String,
        /// The peers, [`MAX_PEERS`] at most.
        peers: Vec<String>,
    },
    /// Its last hour.
    Past,
    /// For the signals and joins that wait there.
    Tally,
    /// Ids that signals wait for there.
    Targets(AwaitedQuery),
    /// Ids that joins contest there.
    Contested(AwaitedQuery),
    /// Whether this member of a room joined there over HTTP and has no connection.
    IsVisitor {
        /// The network.
        network: String,
        /// The member.
        peer: String,
    },
    /// These networks in short.
    Sketches {
        /// The networks, [`MAX_NETWORKS`] at most.
        networks: Vec<String>,
        /// The most ids of each.
        ids: u64,
    },
    /// How many rooms and members of rooms it has.
    Rooms,
}

/// The answer of a hub.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// Whether there was such a peer.
    Removed(bool),
    /// Address and subject of each peer that is there, in the order in which they were asked for.
    Peers(Vec<Option<Party>>),
    /// Its last hour.
    Past(Past),
    /// What waits there.
    Tally(Tally),
    /// Ids that signals or joins wait for there.
    Awaited(AwaitedIds),
    /// True if the member has no connection; false also if the hub does not hold the member.
    IsVisitor(bool),
    /// Each network in short, in the order in which they were asked for.
    Sketches(Vec<NetworkSketch>),
    /// Its rooms.
    Rooms(RoomCounts),
}

/// The rooms of one hub.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RoomCounts {
    /// Rooms of which it holds the record.
    pub rooms: u64,
    /// Members of rooms that are connected to it, or came to it over HTTP.
    pub members: u64,
}

/// The signals and joins that wait at a hub.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Signals whose target is at no hub yet.
    pub waiting: u64,
    /// Joins whose id is contested.
    pub contests: u64,
    /// Alarms since its start.
    pub alarms: u64,
}

impl Answer {
    /// Whether a hub of ours says so.
    fn is_bounded(&self) -> bool {
        match self {
            Answer::Removed(_) | Answer::Tally(_) | Answer::IsVisitor(_) | Answer::Rooms(_) => true,
            Answer::Sketches(all) => {
                all.len() <= MAX_NETWORKS && all.iter().all(NetworkSketch::is_bounded)
            }
            Answer::Past(past) => past.is_bounded(),
            Answer::Awaited(ids) => ids.is_bounded(),
            Answer::Peers(peers) => {
                let told = peers.iter().flatten();
                let mut subjects = told.filter_map(|party| party.subject.as_ref());
                peers.len() <= MAX_PEERS && subjects.all(|text| text.len() <= MAX_SUBJECT)
            }
        }
    }
}

/// A message from one hub to another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Message {
    /// A question.
    Ask {
        /// Returned with the answer.
        token: u64,
        /// What is asked.
        question: Question,
    },
    /// An answer.
    Tell {
        /// That of the question.
        token: u64,
        /// What is answered.
        answer: Answer,
    },
    /// The hub that sends this wants the other hub's events, for a while.
    Listen,
    /// What happened.
    Events {
        /// The number of events that were left out before these.
        missed: u64,
        /// These.
        events: Vec<Event>,
    },
}

impl Message {
    pub(super) fn encode(&self) -> Bytes {
        tagged::encode(tagged::OPERATORS, self)
    }

    pub(super) fn decode(payload: &[u8]) -> Option<Self> {
        tagged::decode(tagged::OPERATORS, payload)
    }
}

/// The sender of answers.
type Answers = mpsc::Sender<(HubId, Answer)>;

/// The receiver of answers.
pub(super) type Answered = mpsc::Receiver<(HubId, Answer)>;

struct Open {
    hub: HubId,
    answers: Answers,
}

/// The open questions.
#[derive(Default)]
pub(super) struct Questions {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: HashMap<u64, Open>,
    next: u64,
}

impl Questions {
    /// Asks these hubs: returns a message for each, and the receiver of their answers, which closes once all have
    /// arrived.
    pub(super) fn ask(
        &self,
        hubs: impl IntoIterator<Item = (HubId, Question)>,
    ) -> (Vec<(HubId, Bytes)>, Answered) {
        let (answers, receiver) = mpsc::channel(MAX_HUBS);
        let mut state = self.state.lock();
        state.open.retain(|_, open| !open.answers.is_closed());
        let messages = hubs.into_iter().take(MAX_HUBS).map(|(hub, question)| {
            state.next += 1;
            let token = state.next;
            let answers = answers.clone();
            state.open.insert(token, Open { hub, answers });
            (hub, Message::Ask { token, question }.encode())
        });
        (messages.collect(), receiver)
    }

    /// An answer arrived.
    pub(super) fn on_answer(&self, from: HubId, token: u64, answer: Answer) {
        let mut state = self.state.lock();
        let is_of_it = state.open.get(&token).is_some_and(|open| open.hub == from);
        if !is_of_it {
            return;
        }
        if let Some(open) = state.open.remove(&token)
            && answer.is_bounded()
        {
            // The asker may have given up.
            let _ = open.answers.try_send((from, answer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: HubId = HubId([1; 20]);
    const TWO: HubId = HubId([2; 20]);

    fn token(payload: &[u8]) -> u64 {
        match Message::decode(payload) {
            Some(Message::Ask { token, .. }) => token,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_answer_counts_once_and_of_the_hub_that_was_asked() {
        let questions = Questions::default();
        let (messages, mut answers) =
            questions.ask([(ONE, Question::Past), (TWO, Question::Tally)]);
        let tokens: Vec<u64> = messages.iter().map(|(_, payload)| token(payload)).collect();
        let tally = Answer::Tally(Tally::default());
        questions.on_answer(ONE, tokens[1], tally.clone());
        questions.on_answer(TWO, tokens[1], tally.clone());
        questions.on_answer(TWO, tokens[1], tally.clone());
        assert_eq!(answers.try_recv(), Ok((TWO, tally)));
        assert_eq!(answers.try_recv(), Err(mpsc::error::TryRecvError::Empty));
        let long = Answer::Peers(vec![None; MAX_PEERS + 1]);
        questions.on_answer(ONE, tokens[0], long);
        assert_eq!(
            answers.try_recv(),
            Err(mpsc::error::TryRecvError::Disconnected)
        );
    }

    #[test]
    fn nothing_is_kept_for_who_gave_up() {
        let questions = Questions::default();
        for _ in 0..100 {
            drop(questions.ask([(ONE, Question::Past), (TWO, Question::Past)]));
        }
        assert!(questions.state.lock().open.len() <= 2);
    }

    #[test]
    fn broken_messages_are_none() {
        let whole = Message::Ask {
            token: 5,
            question: Question::Remove {
                network: "pglobal".into(),
                peer: "ada".into(),
            },
        };
        let bytes = whole.encode();
        assert_eq!(Message::decode(&bytes), Some(whole));
        for length in 0..bytes.len() {
            assert_eq!(Message::decode(&bytes[..length]), None, "{length}");
        }
        assert_eq!(Message::decode(&[tagged::OPERATORS, 99]), None);
    }
}
