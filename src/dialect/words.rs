//! The labels of messages in metrics, the same for all dialects.

/// Declares an enum of labels, and the list of all of them.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// All of them, in their order.
            pub const ALL: &'static [Self] = &[$($name::$variant,)+];

            /// The label in metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }
    };
}

pub(crate) use words;

words! {
    /// Messages from peers.
    Received {
        /// Joins a network, or shows new data.
        Announce = "announce",
        /// A session offer.
        Offer = "offer",
        /// The answer to one.
        Answer = "answer",
        /// A candidate.
        IceCandidate = "ice-candidate",
        /// Any other message for one peer.
        Signal = "signal",
        /// A message for all members of a network.
        Publish = "publish",
        /// Asks for a pong.
        Ping = "ping",
        /// Leaves.
        Goodbye = "goodbye",
        /// Accepted without effect.
        Cleanup = "cleanup",
        /// Tells only that the peer is alive.
        Heartbeat = "heartbeat",
        /// Any other type.
        Other = "other",
        /// A message that cannot be read.
        Malformed = "malformed",
    }
}

words! {
    /// Messages to peers.
    Sent {
        /// The greeting.
        Connected = "connected",
        /// The members of a network, in one message.
        Roster = "roster",
        /// Another peer is there, or shows other data.
        PeerDiscovered = "peer-discovered",
        /// Another peer is gone.
        PeerDisconnected = "peer-disconnected",
        /// A session offer.
        Offer = "offer",
        /// The answer to one.
        Answer = "answer",
        /// A candidate.
        IceCandidate = "ice-candidate",
        /// Any other message from one peer.
        Signal = "signal",
        /// A publication to a network.
        Publish = "publish",
        /// The answer to a request.
        Reply = "reply",
        /// The answer to a ping.
        Pong = "pong",
        /// Another peer says goodbye.
        Goodbye = "goodbye",
        /// An error.
        Error = "error",
    }
}
