//! The dialects, and the policy for the networks of each, in one place.
//!
//! Code that treats the networks of some dialect in a special way asks their [`Policy`], and never for the dialect
//! itself. The rules on which all hubs of a mesh must agree follow from the dialect alone ([`Dialect::policy`]); the
//! others can be set for each hub, in its [`Policies`]. Knows no network, no peer and no time.

use std::time::Duration;

/// The dialect of a network. Peers of different dialects never share a network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Dialect {
    /// The native dialect, of `peerpigeon` clients.
    Pigeon,
    /// The dialect of `peerjs` clients; a network is a realm.
    PeerJs,
    /// The dialect of `peerjs` clients in room mode; a network is a small room.
    PeerJsRoomMode,
    /// The dialect of `y-webrtc` clients; a network is a topic.
    Yjs,
    /// The dialect of OctateCode's clients; a network is a room, which has a host.
    Rooms,
    /// The dialect of Self-Streme's coordinator. A network is a room; one more network has all clients that are
    /// registered.
    Coordinator,
    /// The dialect of the tests.
    #[cfg(feature = "trial-dialect")]
    Trial,
}

impl Dialect {
    /// All dialects.
    pub const ALL: &'static [Dialect] = &[
        Dialect::Pigeon,
        Dialect::PeerJs,
        Dialect::PeerJsRoomMode,
        Dialect::Yjs,
        Dialect::Rooms,
        Dialect::Coordinator,
        #[cfg(feature = "trial-dialect")]
        Dialect::Trial,
    ];

    /// The first letter of networks of this dialect inside the mesh.
    pub const fn tag(self) -> char {
        match self {
            Dialect::Pigeon => 'p',
            Dialect::PeerJs => 'j',
            Dialect::PeerJsRoomMode => 'r',
            Dialect::Yjs => 'y',
            Dialect::Rooms => 'o',
            Dialect::Coordinator => 'c',
            #[cfg(feature = "trial-dialect")]
            Dialect::Trial => '~',
        }
    }

    /// The dialect with this letter.
    pub const fn from_tag(tag: char) -> Option<Self> {
        match tag {
            'p' => Some(Dialect::Pigeon),
            'j' => Some(Dialect::PeerJs),
            'r' => Some(Dialect::PeerJsRoomMode),
            'y' => Some(Dialect::Yjs),
            'o' => Some(Dialect::Rooms),
            'c' => Some(Dialect::Coordinator),
            #[cfg(feature = "trial-dialect")]
            '~' => Some(Dialect::Trial),
            _ => None,
        }
    }

    /// Its label in metrics and pages.
    pub const fn label(self) -> &'static str {
        match self {
            Dialect::Pigeon => "pigeon",
            Dialect::PeerJs => "peerjs",
            Dialect::PeerJsRoomMode => "peerjs-rooms",
            Dialect::Yjs => "yjs",
            Dialect::Rooms => "rooms",
            Dialect::Coordinator => "coordinator",
            #[cfg(feature = "trial-dialect")]
            Dialect::Trial => "trial",
        }
    }

    /// The dialect with this label.
    pub fn from_label(label: &str) -> Option<Dialect> {
        Dialect::ALL
            .iter()
            .copied()
            .find(|one| one.label() == label)
    }
}

/// The policy for all networks of one dialect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Peers of one network are shown to each other. All hubs agree on it.
    pub tells_of_peers: bool,
    /// A publication reaches all members of its network. All hubs agree on it.
    pub fans_out: bool,
    /// A client may stay connected without being in any network, once its id is known.
    pub idles: bool,
    /// Clients join a network by connecting, and name it in the address of their WebSocket.
    pub joins_by_connecting: bool,
    /// Clients have no id: the hub draws one for each connection.
    pub is_anonymous: bool,
    /// Clients register their id in one network before they join others, which wait for that.
    pub registers: bool,
    /// A client may show its token in its first message, instead of in the request for its WebSocket.
    pub proves_later: bool,
    /// A client that sends too fast is read more slowly and not told, because an error message would end its
    /// connection.
    pub slows_down: bool,
    /// A network is a room: a client creates it, its host is the member that has been there the longest, and it stays
    /// for a while without a member. All hubs agree on it.
    pub rooms: bool,
    /// The most peers that a network shows; `None` is no limit.
    pub capacity: Option<usize>,
    /// How signals wait for a target that is at no hub.
    pub waiting: Waiting,
    /// Silence after which a client is closed.
    pub silence: Duration,
    /// Clients come back under their id after their connection broke: the id of a client that can prove to be the same
    /// is kept for a moment, and its earlier signals are still delivered.
    pub returns: bool,
}

/// How signals wait for a target that is at no hub.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waiting {
    /// Each signal waits by itself, for as long as the hub lets signals wait.
    Alone,
    /// Signals wait for a time on which clients rely. All signals of one sender to one target wait until the first of
    /// them expires, so that the sender is told once.
    Together(Duration),
}

impl Dialect {
    /// Its default policy.
    pub const fn policy(self) -> Policy {
        let native = Policy {
            tells_of_peers: true,
            fans_out: false,
            idles: false,
            joins_by_connecting: false,
            is_anonymous: false,
            registers: false,
            proves_later: false,
            slows_down: false,
            rooms: false,
            capacity: None,
            waiting: Waiting::Alone,
            silence: Duration::from_secs(60),
            returns: false,
        };
        let realm = Policy {
            tells_of_peers: false,
            joins_by_connecting: true,
            slows_down: true,
            waiting: Waiting::Together(Duration::from_secs(5)),
            returns: true,
            ..native
        };
        match self {
            Dialect::Pigeon => native,
            Dialect::PeerJs => realm,
            Dialect::PeerJsRoomMode => Policy {
                tells_of_peers: true,
                slows_down: false,
                capacity: Some(4),
                returns: false,
                ..realm
            },
            Dialect::Yjs => Policy {
                tells_of_peers: false,
                fans_out: true,
                idles: true,
                is_anonymous: true,
                ..native
            },
            Dialect::Rooms => Policy {
                fans_out: true,
                idles: true,
                proves_later: true,
                rooms: true,
                capacity: Some(256),
                silence: Duration::from_secs(300),
                ..native
            },
            Dialect::Coordinator => Policy {
                fans_out: true,
                idles: true,
                registers: true,
                ..native
            },
            #[cfg(feature = "trial-dialect")]
            Dialect::Trial => Policy {
                fans_out: true,
                idles: true,
                ..native
            },
        }
    }
}

/// The policies of this hub, one for each dialect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policies([Policy; Dialect::ALL.len()]);

impl Default for Policies {
    fn default() -> Self {
        let mut policies = [Dialect::Pigeon.policy(); Dialect::ALL.len()];
        for dialect in Dialect::ALL {
            policies[*dialect as usize] = dialect.policy();
        }
        Policies(policies)
    }
}

impl Policies {
    /// The policy of a dialect.
    pub fn of(&self, dialect: Dialect) -> &Policy {
        // `ALL` has each dialect at its own index.
        &self.0[dialect as usize]
    }

    /// The policy of a dialect, to change it. The fields on which all hubs agree must not change.
    pub fn of_mut(&mut self, dialect: Dialect) -> &mut Policy {
        &mut self.0[dialect as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dialect_finds_its_own_policy() {
        let mut policies = Policies::default();
        for dialect in Dialect::ALL.iter().copied() {
            assert_eq!(*policies.of(dialect), dialect.policy());
            policies.of_mut(dialect).capacity = Some(dialect as usize);
        }
        for dialect in Dialect::ALL.iter().copied() {
            assert_eq!(policies.of(dialect).capacity, Some(dialect as usize));
        }
    }
}
