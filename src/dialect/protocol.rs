//! Actions and events: the interface between protocols and sessions.
//!
//! A [`Protocol`](super::Protocol) is given its client's texts and the hub's events; it answers both with [`Action`]s,
//! which its session carries out in order. It stores what its dialect must remember of a client (its id, its networks,
//! what it may not send yet), and knows no claim, no socket and no time.
//!
//! Messages that are the same for many clients (signals, notices, rosters, publications) are encoded without it, by the
//! functions of [`dialect`](super), when they are delivered.

use std::borrow::Cow;

use bytes::Bytes;
use hubmesh_core::api::{RoomAsk, SignalFailure};
use hubmesh_core::ids::{Dialect, NetworkKey, PeerId, SignalKind};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::Complaint;
use super::words::{Received, Sent};

/// The membership that an action is about. The action waits while the mesh decides on it, behind earlier actions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// None: it is carried out at once.
    Nothing,
    /// The only one that the client has.
    Only,
    /// The membership in this network.
    Network(NetworkKey),
}

/// A request of a protocol to its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<'a> {
    /// The client has this id from now on. It has no membership before that.
    Identify {
        /// Its id.
        peer: PeerId,
        /// The proof that an older holder of the id is the same party; an empty one proves nothing.
        proof: Bytes,
    },
    /// Shows a token, of a client that connected without one although one is needed; [`HubEvent::Proven`] follows if it
    /// is right, and the end of the connection if it is not.
    Prove {
        /// The token.
        token: Cow<'a, str>,
    },
    /// Asks the mesh for a membership; [`HubEvent::Joined`] or [`HubEvent::Lost`] follows.
    Join {
        /// The network.
        network: NetworkKey,
        /// The data to show of the client: the text of a JSON object.
        data: Option<Bytes>,
        /// It can be reached but is not shown.
        quiet: bool,
        /// The network that it leaves for this one.
        leaving: Option<NetworkKey>,
        /// Its request about its room, in a dialect that has rooms.
        room: Option<RoomAsk>,
    },
    /// Shows other data of the client, and shows the client if it was quiet.
    Update {
        /// The network.
        network: NetworkKey,
        /// The data to show.
        data: Option<Bytes>,
    },
    /// Ends a membership.
    Leave {
        /// The network.
        network: NetworkKey,
        /// The client said goodbye: its earlier signals that still wait are dropped.
        goodbye: bool,
    },
    /// Sends a payload to one peer.
    Signal {
        /// The membership that it is sent in.
        about: About,
        /// The peer that it is for.
        target: PeerId,
        /// Its kind, in this dialect.
        kind: SignalKind,
        /// One JSON value; borrowed from the client's text, if it is forwarded unchanged.
        payload: Cow<'a, str>,
    },
    /// A signal without a possible receiver: its target cannot be a peer id, or its payload is nested too deep.
    UnknownTarget {
        /// The membership that it waits for.
        about: About,
        /// The name of its target, or the start of that.
        name: String,
        /// Its kind, in this dialect.
        kind: SignalKind,
    },
    /// Sends a payload to all shown members of a network.
    Publish {
        /// The network whose members get it.
        network: NetworkKey,
        /// Its kind, in this dialect.
        kind: SignalKind,
        /// One JSON value.
        payload: Cow<'a, str>,
        /// The client gets it too.
        echo: bool,
    },
    /// Writes this text first; then waiting messages for the client may follow.
    Greet(Option<Utf8Bytes>),
    /// Sends the client a message.
    Reply {
        /// The membership that it waits for.
        about: About,
        /// The message.
        text: Utf8Bytes,
        /// The label under which it is counted.
        word: Sent,
    },
    /// Counts a mistake of the client, and tells the client if there is a text.
    Complain {
        /// The membership that it waits for.
        about: About,
        /// The code that is counted and logged.
        code: &'static str,
        /// The message.
        text: Option<Utf8Bytes>,
    },
    /// Ends the connection: for the reason in the last event, or because the client wants it.
    Close,
}

impl Action<'_> {
    /// The same action without the text that it came from: the text may be part of a larger buffer, all of which would
    /// be kept.
    pub fn into_owned(self) -> Action<'static> {
        match self {
            Action::Signal {
                about,
                target,
                kind,
                payload,
            } => Action::Signal {
                about,
                target,
                kind,
                payload: payload.into_owned().into(),
            },
            Action::Publish {
                network,
                kind,
                payload,
                echo,
            } => Action::Publish {
                network,
                kind,
                payload: payload.into_owned().into(),
                echo,
            },
            Action::Identify { peer, proof } => Action::Identify { peer, proof },
            Action::Prove { token } => Action::Prove {
                token: token.into_owned().into(),
            },
            Action::Join {
                network,
                data,
                quiet,
                leaving,
                room,
            } => Action::Join {
                network,
                data,
                quiet,
                leaving,
                room,
            },
            Action::Update { network, data } => Action::Update { network, data },
            Action::Leave { network, goodbye } => Action::Leave { network, goodbye },
            Action::UnknownTarget { about, name, kind } => {
                Action::UnknownTarget { about, name, kind }
            }
            Action::Greet(text) => Action::Greet(text),
            Action::Reply { about, text, word } => Action::Reply { about, text, word },
            Action::Complain { about, code, text } => Action::Complain { about, code, text },
            Action::Close => Action::Close,
        }
    }
}

/// An event for one client alone.
#[derive(Debug, Clone)]
pub enum HubEvent<'a> {
    /// The connection is open.
    Connected,
    /// The token in the client's message is right.
    Proven,
    /// The client is in a network that it asked for.
    Joined {
        /// The network that it is in.
        network: &'a NetworkKey,
    },
    /// The client is not in a network: it was refused, or another took over its id there.
    Lost {
        /// The network that it is not in.
        network: &'a NetworkKey,
        /// Why, in words.
        why: Complaint<'a>,
    },
    /// A join or an update came too soon after others and was not carried out; the client is told separately.
    Declined {
        /// The network that it would have left.
        leaving: Option<&'a NetworkKey>,
    },
    /// A text of the client was not handled.
    Missed,
    /// An action of the client is not carried out.
    Dropped {
        /// The action.
        what: Dropped<'a>,
        /// Why not, in words.
        why: Complaint<'a>,
    },
    /// A signal of the client was not delivered, or may not have been.
    Undelivered {
        /// The target.
        target: &'a PeerId,
        /// Its kind.
        kind: SignalKind,
        /// Why it was not delivered.
        why: SignalFailure,
        /// The client has already been told about this target, for a signal of the same batch.
        repeats_previous: bool,
    },
    /// The client's publication did not reach all members, or may not have.
    Unpublished {
        /// The network that it was published to.
        network: &'a NetworkKey,
        /// Why it did not reach them.
        why: SignalFailure,
    },
    /// Answers [`Action::UnknownTarget`], unless the client was told already.
    UnknownTarget {
        /// The name of its target.
        name: &'a str,
    },
    /// The client made a mistake or reached a limit that the session sees.
    Mistake(Complaint<'a>),
    /// The hub shuts down: the connection ends once the waiting messages are written.
    Draining,
    /// The connection ends, for this reason.
    Ending(Complaint<'a>),
}

/// An action that is not carried out.
#[derive(Debug, Clone, Copy)]
pub enum Dropped<'a> {
    /// A message of which only the first bytes and the last were kept.
    Ends {
        /// The first bytes.
        head: &'a [u8],
        /// The last bytes.
        tail: &'a [u8],
    },
    /// A signal.
    Signal {
        /// The peer that it was for.
        target: &'a PeerId,
        /// Its kind.
        kind: SignalKind,
    },
    /// Anything else.
    Other,
}

/// The actions that follow from one text or one event. A single action takes no memory of its own.
#[derive(Debug)]
pub struct Actions<'a> {
    clock: fn() -> u64,
    received: Option<Received>,
    first: Option<Action<'a>>,
    more: Vec<Action<'a>>,
}

impl<'a> Actions<'a> {
    /// No actions yet. `clock` gives the Unix time in milliseconds, for messages that carry it.
    pub fn new(clock: fn() -> u64) -> Self {
        Actions {
            clock,
            received: None,
            first: None,
            more: Vec::new(),
        }
    }

    /// Adds one.
    pub fn push(&mut self, action: Action<'a>) {
        match self.first {
            None => self.first = Some(action),
            Some(_) => self.more.push(action),
        }
    }

    /// Adds a complaint that waits for nothing, in these words.
    pub fn complain(&mut self, code: &'static str, words: Utf8Bytes) {
        self.push(Action::Complain {
            about: About::Nothing,
            code,
            text: Some(words),
        });
    }

    /// Notes the label of the client's message.
    pub fn note(&mut self, received: Received) {
        self.received = Some(received);
    }

    /// The Unix time in milliseconds.
    pub fn now_ms(&self) -> u64 {
        (self.clock)()
    }

    /// The label of the client's message.
    pub fn received(&self) -> Option<Received> {
        self.received
    }
}

impl<'a> IntoIterator for Actions<'a> {
    type Item = Action<'a>;
    type IntoIter =
        std::iter::Chain<std::option::IntoIter<Action<'a>>, std::vec::IntoIter<Action<'a>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.more)
    }
}

/// The beginning of a connection, as its request describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    /// The dialect.
    pub dialect: Dialect,
    /// The id of the client; `None` if it tells it later.
    pub peer: Option<PeerId>,
    /// An unused id, for a client that never tells one; `None` if the id is known already.
    pub fresh: Option<PeerId>,
    /// The network that it joins by connecting; `None` in a dialect whose clients name it later.
    pub network: Option<NetworkKey>,
    /// It has to show a token before anything else is handled, in a dialect that has a message for that.
    pub needs_token: bool,
    /// The longest data that may be shown of it, in bytes.
    pub max_announce_bytes: usize,
    /// The longest text that may be kept of a room, in bytes.
    pub max_room_bytes: usize,
}
