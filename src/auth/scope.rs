//! The restrictions that a token puts on its holder: to an id, networks, dialects, and rights.
//!
//! A [`Scope`] is read from the claims of a token (`jwt::claims`). It is checked when the holder connects, joins and
//! acts, and narrowed when the holder asks for a further token (`minting`). A field that the token lacks confines
//! nothing. Knows neither signatures nor time, and no socket.

use hubmesh_core::ids::Dialect;

/// The most networks, rooms or topics that one token may name.
pub const MOST_NETWORKS: usize = 64;

/// A right of a token's holder beyond connecting, joining and sending signals to single peers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Right {
    /// To publish to all of a network.
    Publish,
    /// To be told of the other members of a network.
    Discover,
    /// To make a room.
    Create,
}

impl Right {
    /// All of them.
    pub const ALL: [Right; 3] = [Right::Publish, Right::Discover, Right::Create];

    /// The word for it in a token.
    pub const fn word(self) -> &'static str {
        match self {
            Right::Publish => "publish",
            Right::Discover => "discover",
            Right::Create => "create",
        }
    }

    /// The right of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.word() == word)
    }
}

/// The word for a dialect in a token. Both modes of PeerJS share one word, because a hub has only one of them.
pub const fn dialect_word(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::PeerJsRoomMode => Dialect::PeerJs.label(),
        other => other.label(),
    }
}

/// The dialect word that this text is, if it is one.
pub fn known_dialect(word: &str) -> Option<&'static str> {
    let mut words = Dialect::ALL.iter().copied().map(dialect_word);
    words.find(|known| *known == word)
}

/// The restrictions that a token puts on its holder. A field that is `None` restricts nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scope {
    /// The only id that it may have.
    pub peer: Option<String>,
    /// The only networks, rooms or topics that it may enter, by name.
    pub networks: Option<Vec<String>>,
    /// The only dialects that it may speak, by [`dialect_word`].
    pub dialects: Option<Vec<&'static str>>,
    /// All its rights.
    pub rights: Option<Vec<Right>>,
}

impl Scope {
    /// Whether it confines to anything.
    pub fn is_bound(&self) -> bool {
        *self != Scope::default()
    }

    /// Whether the client may be known by this id.
    pub fn admits(&self, peer: &(impl ToString + ?Sized)) -> bool {
        let only = self.peer.as_deref();
        only.is_none_or(|only| only == peer.to_string())
    }

    /// Whether the client may be in a network of this name.
    pub fn opens(&self, network: &str) -> bool {
        let only = self.networks.as_ref();
        only.is_none_or(|only| only.iter().any(|name| name == network))
    }

    /// Whether the client may speak this dialect.
    pub fn speaks(&self, dialect: Dialect) -> bool {
        let only = self.dialects.as_ref();
        only.is_none_or(|only| only.contains(&dialect_word(dialect)))
    }

    /// Whether the client has this right.
    pub fn has(&self, right: Right) -> bool {
        let only = self.rights.as_ref();
        only.is_none_or(|only| only.contains(&right))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_scope_says_nothing_of_is_not_confined() {
        let free = Scope::default();
        assert!(!free.is_bound() && free.admits("ada") && free.opens("attic"));
        for dialect in Dialect::ALL {
            assert!(free.speaks(*dialect), "{dialect:?}");
        }
        assert!(Right::ALL.into_iter().all(|right| free.has(right)));
    }

    #[test]
    fn what_a_scope_names_is_all_there_is() {
        let bound = Scope {
            peer: Some("ada".into()),
            networks: Some(vec!["attic".into()]),
            dialects: Some(vec!["peerjs"]),
            rights: Some(vec![Right::Publish]),
        };
        assert!(bound.is_bound());
        assert!(bound.admits("ada") && !bound.admits("Ada"));
        assert!(bound.opens("attic") && !bound.opens("cellar"));
        assert!(bound.speaks(Dialect::PeerJs) && bound.speaks(Dialect::PeerJsRoomMode));
        assert!(!bound.speaks(Dialect::Rooms));
        assert!(bound.has(Right::Publish) && !bound.has(Right::Create));
        let nothing = Scope {
            networks: Some(Vec::new()),
            rights: Some(Vec::new()),
            ..Scope::default()
        };
        assert!(!nothing.opens("attic") && !nothing.has(Right::Discover));
    }

    #[test]
    fn rights_and_dialects_have_words_of_their_own() {
        for right in Right::ALL {
            assert_eq!(Right::from_word(right.word()), Some(right));
        }
        assert_eq!(Right::from_word("dance"), None);
        assert_eq!(known_dialect("pigeon"), Some("pigeon"));
        assert_eq!(known_dialect("peerjs-rooms"), None);
    }
}
