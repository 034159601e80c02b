//! The vocabulary of the seam between dialects and sessions.
//!
//! A [`Protocol`](super::Protocol) hears what its client says and is told what the hub has for it; either way it answers
//! with
//! [`Action`]s, which its session carries out in their order. It keeps what its dialect has to remember of a client
//! (who it is, which networks it is in, what it may not say yet), and knows no claim, no socket and no time.
//!
//! What many clients are told in the same words (signals, notices, rosters, publications) is written without it, by the
//! functions of [`dialect`](super), wherever it is handed over.

use std::borrow::Cow;

use bytes::Bytes;
use hubmesh_core::api::{RoomAsk, SignalFailure};
use hubmesh_core::ids::{Dialect, NetworkKey, PeerId, SignalKind};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::Complaint;
use super::words::{Received, Sent};

/// Which membership an action is about. It waits while the mesh decides on that one, behind what came before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// None: it is carried out at once.
    Nothing,
    /// The only one that the client has.
    Only,
    /// That in this network.
    Network(NetworkKey),
}

/// What a session does for its protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<'a> {
    /// The client goes by this id from now on. It has no membership before.
    Identify {
        /// Its id.
        peer: PeerId,
        /// What proves that an older holder of the id is the same party; empty proves nothing.
        proof: Bytes,
    },
    /// Asks the mesh for a membership; [`HubEvent::Joined`] or [`HubEvent::Lost`] follows.
    Join {
        /// Of which network.
        network: NetworkKey,
        /// What to show of the client: the text of a JSON object.
        data: Option<Bytes>,
        /// It can be reached and is not shown.
        quiet: bool,
        /// The network that it leaves for it.
        leaving: Option<NetworkKey>,
        /// What it wants of its room, in a dialect that has such.
        room: Option<RoomAsk>,
    },
    /// Shows other data of it, and shows it where it was not.
    Update {
        /// The network in which it shows them.
        network: NetworkKey,
        /// What to show.
        data: Option<Bytes>,
    },
    /// Ends a membership.
    Leave {
        /// That of which network.
        network: NetworkKey,
        /// The client said goodbye: what it said before and what still waits is gone with it.
        goodbye: bool,
    },
    /// Hands a payload to one peer.
    Signal {
        /// The membership that it is sent in.
        about: About,
        /// The peer that it is for.
        target: PeerId,
        /// What kind, in this dialect.
        kind: SignalKind,
        /// One JSON value; borrowed from what the client said, where it is handed on as it came.
        payload: Cow<'a, str>,
    },
    /// A signal that can reach nobody: its target cannot be a peer id, or its payload is nested too deep.
    UnknownTarget {
        /// What it waits for.
        about: About,
        /// What its target was called, or the start of that.
        name: String,
        /// What kind, in this dialect.
        kind: SignalKind,
    },
    /// Hands a payload to all shown members of a network.
    Publish {
        /// The network whose members get it.
        network: NetworkKey,
        /// What kind, in this dialect.
        kind: SignalKind,
        /// One JSON value.
        payload: Cow<'a, str>,
        /// The client gets it too.
        echo: bool,
    },
    /// Lets what waits for the client be written from now on, behind this text.
    Greet(Option<Utf8Bytes>),
    /// Says something to the client.
    Reply {
        /// What it waits for.
        about: About,
        /// The words.
        text: Utf8Bytes,
        /// What it is counted as.
        word: Sent,
    },
    /// Counts what the client did wrong, and tells it if there are words for that.
    Complain {
        /// What it waits for.
        about: About,
        /// What is counted and logged.
        code: &'static str,
        /// The words.
        text: Option<Utf8Bytes>,
    },
    /// Ends the connection: for the reason that the protocol is told just now, or because the client wants it.
    Close,
}

impl Action<'_> {
    /// The same, keeping nothing of the text that it came from: that may be part of a larger buffer, of which all would be
    /// kept.
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

/// What the hub has for one client alone.
#[derive(Debug, Clone)]
pub enum HubEvent<'a> {
    /// The connection stands.
    Connected,
    /// The client is in a network that it asked for.
    Joined {
        /// The network that it is in.
        network: &'a NetworkKey,
    },
    /// The client is not in a network: it may not be, or somebody else took its place there over.
    Lost {
        /// The network that it is not in.
        network: &'a NetworkKey,
        /// Why, in words.
        why: Complaint<'a>,
    },
    /// A join or an update came too soon after others and was not carried out; the client is told by itself.
    Declined {
        /// The network that it was to leave.
        leaving: Option<&'a NetworkKey>,
    },
    /// Something that the client said was not heard.
    Missed,
    /// Something that the client said is not carried out.
    Dropped {
        /// What it was.
        what: Dropped<'a>,
        /// Why not, in words.
        why: Complaint<'a>,
    },
    /// A signal of the client was not delivered, or may not have been.
    Undelivered {
        /// Whom it was for.
        target: &'a PeerId,
        /// What kind it was.
        kind: SignalKind,
        /// Why it was not delivered.
        why: SignalFailure,
        /// The client has already been told about this target, for a signal of the same batch.
        repeats_previous: bool,
    },
    /// What the client published did not reach all members, or may not have.
    Unpublished {
        /// The network that it was published to.
        network: &'a NetworkKey,
        /// Why it did not reach them.
        why: SignalFailure,
    },
    /// Answers [`Action::UnknownTarget`], unless the client was told already.
    UnknownTarget {
        /// What its target was called.
        name: &'a str,
    },
    /// The client made a mistake or reached a limit that the session sees.
    Mistake(Complaint<'a>),
    /// The hub shuts down: the connection ends once what waits is written.
    Draining,
    /// The connection ends, for this reason.
    Ending(Complaint<'a>),
}

/// Something that is not carried out.
#[derive(Debug, Clone, Copy)]
pub enum Dropped<'a> {
    /// A message of which there are but the first bytes and the last.
    Ends {
        /// The first.
        head: &'a [u8],
        /// The last.
        tail: &'a [u8],
    },
    /// A signal.
    Signal {
        /// The peer that it was for.
        target: &'a PeerId,
        /// What kind of signal it was.
        kind: SignalKind,
    },
    /// Anything else.
    Other,
}

/// The actions that one text or one event comes to. One takes no memory of its own.
#[derive(Debug)]
pub struct Actions<'a> {
    clock: fn() -> u64,
    received: Option<Received>,
    first: Option<Action<'a>>,
    more: Vec<Action<'a>>,
}

impl<'a> Actions<'a> {
    /// None yet. `clock` gives the Unix time in milliseconds, where a message has to say it.
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

    /// Notes what the client's message was.
    pub fn note(&mut self, received: Received) {
        self.received = Some(received);
    }

    /// The Unix time in milliseconds.
    pub fn now_ms(&self) -> u64 {
        (self.clock)()
    }

    /// What the client's message was.
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

/// How a connection begins, as the request for it tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    /// What is spoken on it.
    pub dialect: Dialect,
    /// Who the client is; `None` if it says so later.
    pub peer: Option<PeerId>,
    /// An id that nobody else has, for a client that never says who it is; `None` if that is known already.
    pub fresh: Option<PeerId>,
    /// The network that it joins by connecting; `None` in a dialect whose clients say so later.
    pub network: Option<NetworkKey>,
    /// The longest data that may be shown of it, in bytes.
    pub max_announce_bytes: usize,
    /// The longest text that may be kept of a room, in bytes.
    pub max_room_bytes: usize,
}
