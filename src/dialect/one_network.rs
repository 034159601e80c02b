//! A client that is in one network at a time: native clients and PeerJS clients.
//!
//! A native client is in no network at first. It joins when it announces itself, or quietly (it can be reached but is
//! not shown) when it first signals or pings; an announcement for another network moves it. After a goodbye only an
//! announcement brings it back: a page that closes sends more messages, which must not. The same rule holds after a
//! refused message that may have been an announcement: otherwise the client would be in another network than it meant.
//! PeerJS clients join by connecting, and leave with their connection.

use std::borrow::Cow;

use bytes::Bytes;
use hubmesh_core::ids::{BadId, Dialect, NetworkKey, PeerId, SignalKind};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::protocol::{About, Action, Actions, Beginning, Dropped, HubEvent};
use super::words::{Received, Sent};
use super::{Command, Complaint, DecodeError, Event, Message, ReadPastNotice, peerjs, pigeon};

/// One client that is in one network at a time.
#[derive(Debug)]
pub struct OneNetwork {
    dialect: Dialect,
    me: PeerId,
    max_announce_bytes: usize,
    /// It joined by connecting, so that there is no way back on its connection.
    joins_by_connecting: bool,
    whereabouts: Whereabouts,
}

#[derive(Debug)]
enum Whereabouts {
    /// In no network yet.
    Fresh,
    /// In no network yet, and a message of it was refused that may have been an announcement.
    Doubtful,
    /// In no network any more: it said goodbye.
    Departed,
    /// In this network, or waiting for it.
    In(NetworkKey),
}

/// A signal that a client sends.
struct Outgoing<'a> {
    target: PeerId,
    network: Option<Cow<'a, str>>,
    kind: SignalKind,
    payload: Cow<'a, str>,
}

impl OneNetwork {
    /// A client that has sent nothing yet. Without an id it is not a client of these dialects and cannot join.
    pub fn new(beginning: Beginning) -> Self {
        OneNetwork {
            dialect: beginning.dialect,
            me: beginning.peer.unwrap_or(PeerId::Text("".into())),
            max_announce_bytes: beginning.max_announce_bytes,
            joins_by_connecting: beginning.network.is_some(),
            whereabouts: beginning
                .network
                .map_or(Whereabouts::Fresh, Whereabouts::In),
        }
    }

    /// The dialect of the client.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Handles an event of the hub for the client.
    pub fn tell(&mut self, event: &HubEvent<'_>, actions: &mut Actions<'_>) {
        match event {
            HubEvent::Connected => self.on_connected(actions),
            HubEvent::Joined { .. } if self.joins_by_connecting => self.greet(actions),
            // The close frame tells clients.
            HubEvent::Joined { .. } | HubEvent::Proven | HubEvent::Draining => {}
            HubEvent::Lost { why, .. } => {
                let event = Event::Error(why.clone());
                self.reply(&event, Sent::Error, About::Nothing, actions);
                actions.push(Action::Close);
            }
            HubEvent::Declined { leaving } => {
                self.whereabouts = match leaving {
                    Some(network) => Whereabouts::In((*network).clone()),
                    None => Whereabouts::Departed,
                };
            }
            HubEvent::Missed => self.doubt(),
            HubEvent::Dropped { what, why } => self.on_dropped(*what, why, actions),
            HubEvent::Undelivered {
                target,
                kind,
                why,
                repeats_previous,
            } => {
                let event = Event::Undelivered {
                    sender: &self.me,
                    target,
                    kind: *kind,
                    why: *why,
                    repeats_previous: *repeats_previous,
                };
                self.reply(&event, Sent::Error, About::Nothing, actions);
            }
            HubEvent::Unpublished { why, .. } => {
                let event = Event::Unpublished { why: *why };
                self.reply(&event, Sent::Error, About::Nothing, actions);
            }
            HubEvent::UnknownTarget { name } => {
                let sender = &self.me;
                let event = Event::UnknownTarget { sender, name };
                self.reply(&event, Sent::Error, About::Nothing, actions);
            }
            HubEvent::Mistake(why) => self.complain(why.clone(), About::Only, actions),
            HubEvent::Ending(why) => self.complain(why.clone(), About::Nothing, actions),
        }
    }

    fn on_connected(&mut self, actions: &mut Actions<'_>) {
        match &self.whereabouts {
            // Greeted once the mesh has accepted it.
            Whereabouts::In(network) => actions.push(Action::Join {
                network: network.clone(),
                data: None,
                quiet: false,
                leaving: None,
                room: None,
            }),
            _ => self.greet(actions),
        }
    }

    fn greet(&self, actions: &mut Actions<'_>) {
        let text = self.words(&Event::Connected { peer: &self.me }, actions);
        actions.push(Action::Greet(text));
    }

    /// A message was refused unread, or was an invalid announcement. A client that is in no network yet may think that
    /// it is in one, and only an announcement says in which.
    fn doubt(&mut self) {
        if matches!(self.whereabouts, Whereabouts::Fresh) {
            self.whereabouts = Whereabouts::Doubtful;
        }
    }

    fn on_dropped(&self, what: Dropped<'_>, why: &Complaint<'_>, actions: &mut Actions<'_>) {
        let told = match what {
            // Clients of these dialects understand errors.
            _ if self.dialect != Dialect::PeerJs => ReadPastNotice::Why,
            Dropped::Ends { head, tail } => peerjs::unread(head, tail),
            Dropped::Signal { kind, .. } if !peerjs::may_wait(kind) => ReadPastNotice::Nothing,
            Dropped::Signal { target, kind } => ReadPastNotice::Expired {
                name: target.to_string(),
                kind,
            },
            Dropped::Other => ReadPastNotice::Nothing,
        };
        if told == ReadPastNotice::Why {
            return self.complain(why.clone(), About::Nothing, actions);
        }
        actions.push(Action::Complain {
            about: About::Nothing,
            code: why.code,
            text: None,
        });
        if let ReadPastNotice::Expired { name, kind } = told {
            let about = About::Nothing;
            actions.push(Action::UnknownTarget { about, name, kind });
        }
    }

    /// Handles one text of the client.
    pub fn hear<'a>(&mut self, text: &'a str, actions: &mut Actions<'a>) {
        let decoded = match self.dialect {
            Dialect::Pigeon => pigeon::decode(text),
            dialect => peerjs::decode(dialect, text),
        };
        actions.note(received(self.dialect, &decoded));
        match decoded {
            Err(why) => {
                self.doubt();
                self.complain(why.complaint(), About::Only, actions);
            }
            Ok(message) if self.is_forged(&message) => {
                let text = "the message names another sender than the peer that sent it";
                self.complain(Complaint::new("forged-sender", text), About::Only, actions);
            }
            Ok(message) => self.carry_out(message.command, actions),
        }
    }

    fn is_forged(&self, message: &Message<'_>) -> bool {
        let named = message.sender.as_deref().map(PeerId::new);
        named.is_some_and(|named| named.as_ref() != Ok(&self.me))
    }

    fn carry_out<'a>(&mut self, command: Command<'a>, actions: &mut Actions<'a>) {
        match command {
            Command::Announce {
                network,
                data,
                claims_hub,
            } => self.announce(network.as_deref(), data, claims_hub, actions),
            Command::Signal {
                target,
                network,
                kind,
                payload,
            } => {
                let signal = Outgoing {
                    target,
                    network,
                    kind,
                    payload,
                };
                self.signal(signal, actions);
            }
            Command::Ping { network } => {
                if self.join_quietly(network.as_deref(), actions) {
                    let event = Event::Pong { peer: &self.me };
                    self.reply(&event, Sent::Pong, About::Only, actions);
                }
            }
            Command::Goodbye => self.goodbye(actions),
            Command::UnknownTarget { name, kind } => {
                let about = About::Only;
                actions.push(Action::UnknownTarget { about, name, kind });
            }
            Command::Ignored => {}
            Command::Unsupported(kind) => {
                let text = format!("messages of type `{kind}` are not routed");
                self.complain(
                    Complaint::new("unsupported-type", text),
                    About::Only,
                    actions,
                );
            }
        }
    }

    fn announce(
        &mut self,
        name: Option<&str>,
        data: Option<Bytes>,
        claims_hub: bool,
        actions: &mut Actions<'_>,
    ) {
        let Some(network) = self.network_named(name, actions) else {
            return;
        };
        let most = self.max_announce_bytes;
        if data.as_ref().is_some_and(|data| data.len() > most) {
            self.doubt();
            let text = format!("announced data may have {most} bytes");
            return self.complain(
                Complaint::new("announce-too-long", text),
                About::Only,
                actions,
            );
        }
        let before = std::mem::replace(&mut self.whereabouts, Whereabouts::In(network.clone()));
        actions.push(match before {
            Whereabouts::In(present) if present == network => Action::Update { network, data },
            before => Action::Join {
                network,
                data,
                quiet: false,
                leaving: match before {
                    Whereabouts::In(present) => Some(present),
                    _ => None,
                },
                room: None,
            },
        });
        if claims_hub {
            let text = "a peer cannot announce itself as a hub; it is announced as a peer";
            self.complain(Complaint::new("not-a-hub", text), About::Only, actions);
        }
    }

    /// The network of this name, or the default network; the client is told if there is no such network.
    fn network_named(
        &mut self,
        name: Option<&str>,
        actions: &mut Actions<'_>,
    ) -> Option<NetworkKey> {
        let name = name.unwrap_or(super::default_network(self.dialect));
        let network = NetworkKey::new(self.dialect, name);
        if network.is_err() {
            self.doubt();
            let why = Complaint::new("bad-network", BadId::Network.to_string());
            self.complain(why, About::Only, actions);
        }
        network.ok()
    }

    /// Makes a client that is in no network yet join quietly. True if its message may go on.
    fn join_quietly(&mut self, name: Option<&str>, actions: &mut Actions<'_>) -> bool {
        if !matches!(self.whereabouts, Whereabouts::Fresh) {
            return true;
        }
        let Some(network) = self.network_named(name, actions) else {
            return false;
        };
        self.whereabouts = Whereabouts::In(network.clone());
        actions.push(Action::Join {
            network,
            data: None,
            quiet: true,
            leaving: None,
            room: None,
        });
        true
    }

    fn signal<'a>(&mut self, signal: Outgoing<'a>, actions: &mut Actions<'a>) {
        if !self.join_quietly(signal.network.as_deref(), actions) {
            return;
        }
        let present = match &self.whereabouts {
            Whereabouts::In(network) => network,
            nowhere => {
                let text = match nowhere {
                    Whereabouts::Doubtful => {
                        "what came before was refused: announce a network first"
                    }
                    _ => "a peer that said goodbye sends nothing until it announces itself again",
                };
                return self.complain(
                    Complaint::new("not-announced", text),
                    About::Nothing,
                    actions,
                );
            }
        };
        if signal
            .network
            .as_ref()
            .is_some_and(|name| name != present.name())
        {
            let present = present.name();
            let text = format!("signals go to peers of one's own network, `{present}`");
            return self.complain(Complaint::new("other-network", text), About::Only, actions);
        }
        // No peer is told of itself. A client that learns of absent peers takes itself for one.
        if signal.target == self.me && !self.joins_by_connecting {
            let text = "a peer cannot signal to itself";
            return self.complain(Complaint::new("own-id", text), About::Only, actions);
        }
        actions.push(Action::Signal {
            about: About::Only,
            target: signal.target,
            kind: signal.kind,
            payload: signal.payload,
        });
    }

    /// Leaves. A client that joined by connecting ends its connection.
    fn goodbye(&mut self, actions: &mut Actions<'_>) {
        let before = std::mem::replace(&mut self.whereabouts, Whereabouts::Departed);
        if let Whereabouts::In(network) = before {
            let goodbye = true;
            actions.push(Action::Leave { network, goodbye });
        }
        if self.joins_by_connecting {
            actions.push(Action::Close);
        }
    }

    fn reply(&self, event: &Event<'_>, word: Sent, about: About, actions: &mut Actions<'_>) {
        if let Some(text) = self.words(event, actions) {
            actions.push(Action::Reply { about, text, word });
        }
    }

    fn complain(&self, why: Complaint<'_>, about: About, actions: &mut Actions<'_>) {
        let code = why.code;
        let text = self.words(&Event::Error(why), actions);
        actions.push(Action::Complain { about, code, text });
    }

    fn words(&self, event: &Event<'_>, actions: &Actions<'_>) -> Option<Utf8Bytes> {
        let network = match &self.whereabouts {
            Whereabouts::In(network) => network.name(),
            _ => super::default_network(self.dialect),
        };
        super::encode(self.dialect, network, event, actions.now_ms())
    }
}

/// The label of a client's message in metrics.
fn received(dialect: Dialect, decoded: &Result<Message<'_>, DecodeError>) -> Received {
    match decoded.as_ref().map(|message| &message.command) {
        Err(_) => Received::Malformed,
        Ok(Command::Announce { .. }) => Received::Announce,
        Ok(Command::Signal { kind, .. }) => match dialect {
            Dialect::Pigeon => pigeon::received(*kind),
            _ => peerjs::received(*kind),
        },
        Ok(Command::Ping { .. }) => Received::Ping,
        Ok(Command::Goodbye) => Received::Goodbye,
        Ok(Command::Ignored) if dialect == Dialect::Pigeon => Received::Cleanup,
        Ok(Command::Ignored) => Received::Heartbeat,
        Ok(Command::UnknownTarget { .. } | Command::Unsupported(_)) => Received::Other,
    }
}

#[cfg(test)]
mod tests;
