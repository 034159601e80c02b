//! Why a connection ends: one enum, mapped once to the close code, the metric label and the text.
//!
//! The real `peerpigeon` client reconnects with back-off after every close except its own, whatever the code. The codes
//! are chosen for clients and people that read them. Knows no dialect by name, and no socket.

use std::borrow::Cow;

use hubmesh_core::api::JoinRefusal;
use hubmesh_core::ids::LeaveReason;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::dialect::Complaint;

/// Why a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CloseReason {
    /// The client closed it.
    PeerClosed,
    /// The socket broke, or ended without a closing handshake.
    ConnectionLost,
    /// No announcement, and no other use, within the time allowed.
    AnnounceTimeout,
    /// The client's first text did not show its dialect.
    Undecided,
    /// Silent for too long, and unanswered pings.
    Silent,
    /// The client did not read for too long while messages waited.
    WriteStalled,
    /// More messages waited than the mailbox holds: the client reads too slowly.
    OutboxFull,
    /// A message over the size limit.
    MessageTooLong,
    /// A binary message.
    Binary,
    /// A text message that is not UTF-8.
    NotUtf8,
    /// A frame that breaks the WebSocket protocol.
    Protocol,
    /// Too many messages, for too long.
    RateAbuse,
    /// A living peer holds the id.
    IdTaken,
    /// The id changed hands too often.
    TakeoverLimit,
    /// The network is full.
    RoomFull,
    /// There is a room of that name already.
    RoomExists,
    /// There is no room of that name.
    NoSuchRoom,
    /// The hub has as many rooms as it may have.
    TooManyRooms,
    /// The client's address has made as many rooms that still have members as one address may.
    TooManyRoomsOfOne,
    /// The hub uses too much memory for this request.
    OutOfMemory,
    /// The request was refused. The client is told on the socket, because browsers do not show scripts the answer to
    /// the request.
    Refused,
    /// The token in the client's first message is wrong.
    Unauthorized,
    /// The client's token has expired.
    TokenExpired,
    /// The same peer has a newer connection.
    Superseded,
    /// An operator disconnected the peer; the peer may connect again.
    Removed,
    /// An operator has banned the peer.
    Banned,
    /// The hub is shutting down.
    Draining,
    /// The hub failed, not the client.
    Internal,
}

impl CloseReason {
    /// All reasons.
    pub const ALL: [CloseReason; 28] = [
        CloseReason::PeerClosed,
        CloseReason::ConnectionLost,
        CloseReason::AnnounceTimeout,
        CloseReason::Undecided,
        CloseReason::Silent,
        CloseReason::WriteStalled,
        CloseReason::OutboxFull,
        CloseReason::MessageTooLong,
        CloseReason::Binary,
        CloseReason::NotUtf8,
        CloseReason::Protocol,
        CloseReason::RateAbuse,
        CloseReason::IdTaken,
        CloseReason::TakeoverLimit,
        CloseReason::RoomFull,
        CloseReason::RoomExists,
        CloseReason::NoSuchRoom,
        CloseReason::TooManyRooms,
        CloseReason::TooManyRoomsOfOne,
        CloseReason::OutOfMemory,
        CloseReason::Refused,
        CloseReason::Unauthorized,
        CloseReason::TokenExpired,
        CloseReason::Superseded,
        CloseReason::Removed,
        CloseReason::Banned,
        CloseReason::Draining,
        CloseReason::Internal,
    ];

    /// The code of the close frame that the client gets.
    ///
    /// A full mailbox is 1013, and so is a lack of memory: the client may reconnect and is told the present state anew.
    /// A hub that shuts down is 1012, so that clients which tell codes apart reconnect after a random delay.
    pub const fn code(self) -> CloseCode {
        match self {
            CloseReason::PeerClosed | CloseReason::ConnectionLost => CloseCode::Normal,
            CloseReason::AnnounceTimeout
            | CloseReason::Undecided
            | CloseReason::Silent
            | CloseReason::WriteStalled
            | CloseReason::RateAbuse
            | CloseReason::IdTaken
            | CloseReason::TakeoverLimit
            | CloseReason::RoomFull
            | CloseReason::RoomExists
            | CloseReason::NoSuchRoom
            | CloseReason::TooManyRooms
            | CloseReason::TooManyRoomsOfOne
            | CloseReason::Refused
            | CloseReason::Unauthorized
            | CloseReason::TokenExpired
            | CloseReason::Superseded
            | CloseReason::Removed
            | CloseReason::Banned => CloseCode::Policy,
            CloseReason::OutboxFull | CloseReason::OutOfMemory => CloseCode::Again,
            CloseReason::MessageTooLong => CloseCode::Size,
            CloseReason::Binary => CloseCode::Unsupported,
            CloseReason::NotUtf8 => CloseCode::Invalid,
            CloseReason::Protocol => CloseCode::Protocol,
            CloseReason::Draining => CloseCode::Restart,
            CloseReason::Internal => CloseCode::Error,
        }
    }

    /// The label in metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            CloseReason::PeerClosed => "peer-closed",
            CloseReason::ConnectionLost => "connection-lost",
            CloseReason::AnnounceTimeout => "announce-timeout",
            CloseReason::Undecided => "undecided",
            CloseReason::Silent => "silent",
            CloseReason::WriteStalled => "write-stalled",
            CloseReason::OutboxFull => "outbox-full",
            CloseReason::MessageTooLong => "message-too-long",
            CloseReason::Binary => "binary",
            CloseReason::NotUtf8 => "not-utf8",
            CloseReason::Protocol => "protocol",
            CloseReason::RateAbuse => "rate-abuse",
            CloseReason::IdTaken => "id-taken",
            CloseReason::TakeoverLimit => "takeover-limit",
            CloseReason::RoomFull => "room-full",
            CloseReason::RoomExists => "room-exists",
            CloseReason::NoSuchRoom => "no-such-room",
            CloseReason::TooManyRooms => "too-many-rooms",
            CloseReason::TooManyRoomsOfOne => "too-many-rooms-of-address",
            CloseReason::OutOfMemory => "out-of-memory",
            CloseReason::Refused => "refused",
            CloseReason::Unauthorized => "unauthorized",
            CloseReason::TokenExpired => "token-expired",
            CloseReason::Superseded => "superseded",
            CloseReason::Removed => "removed",
            CloseReason::Banned => "banned",
            CloseReason::Draining => "draining",
            CloseReason::Internal => "internal",
        }
    }

    /// The text for the client; at most 123 bytes, as a close frame allows.
    pub const fn text(self) -> &'static str {
        match self {
            CloseReason::PeerClosed => "Closed by the client",
            CloseReason::ConnectionLost => "Connection lost",
            CloseReason::AnnounceTimeout => "No announcement in time",
            CloseReason::Undecided => "No dialect begins with this message",
            CloseReason::Silent => "No sign of life",
            CloseReason::WriteStalled => "Messages were not read in time",
            CloseReason::OutboxFull => "Too many unread messages",
            CloseReason::MessageTooLong => "Message too long",
            CloseReason::Binary => "Only text messages are understood",
            CloseReason::NotUtf8 => "Text that is not UTF-8",
            CloseReason::Protocol => "WebSocket protocol error",
            CloseReason::RateAbuse => "Too many messages",
            CloseReason::IdTaken => "Peer already connected",
            CloseReason::TakeoverLimit => "The id changed hands too often",
            CloseReason::RoomFull => "The room is full",
            CloseReason::RoomExists => "Room already exists",
            CloseReason::NoSuchRoom => "Room not found",
            CloseReason::TooManyRooms => "The hub has as many rooms as it may have",
            CloseReason::TooManyRoomsOfOne => {
                "Your address has made as many rooms that are in use as one address may on this hub"
            }
            CloseReason::OutOfMemory => "The hub is short of memory: try again later",
            CloseReason::Refused => "Refused",
            CloseReason::Unauthorized => "The token is wrong",
            CloseReason::TokenExpired => "The token has expired",
            CloseReason::Superseded => "Replaced by a newer connection",
            CloseReason::Removed => "removed by an operator",
            CloseReason::Banned => "banned by an operator",
            CloseReason::Draining => "The hub is restarting",
            CloseReason::Internal => "Internal error",
        }
    }

    /// The error for the client's protocol.
    pub const fn complaint(self) -> Complaint<'static> {
        Complaint {
            code: self.label(),
            text: Cow::Borrowed(self.text()),
        }
    }

    /// The reason that the other peers of the network are told, if they are told at all.
    pub const fn leave_reason(self) -> LeaveReason {
        match self {
            CloseReason::PeerClosed
            | CloseReason::ConnectionLost
            | CloseReason::Removed
            | CloseReason::Banned
            | CloseReason::Internal => LeaveReason::Closed,
            CloseReason::Superseded | CloseReason::IdTaken | CloseReason::TakeoverLimit => {
                LeaveReason::Superseded
            }
            CloseReason::Draining => LeaveReason::Draining,
            _ => LeaveReason::Expelled,
        }
    }

    /// Whether the client gets an error message before the close frame: browsers show scripts little of the close
    /// frame. Clients that the registry dismisses have got their error message already.
    pub const fn tells_why(self) -> bool {
        matches!(
            self,
            CloseReason::AnnounceTimeout
                | CloseReason::MessageTooLong
                | CloseReason::Binary
                | CloseReason::NotUtf8
                | CloseReason::RateAbuse
                | CloseReason::Removed
                | CloseReason::Banned
                | CloseReason::TokenExpired
        )
    }

    /// Whether the waiting messages are still sent before the close frame.
    ///
    /// A client that does not read gets none of them: they would only delay the end.
    pub const fn sends_the_rest(self) -> bool {
        !matches!(
            self,
            CloseReason::PeerClosed
                | CloseReason::ConnectionLost
                | CloseReason::WriteStalled
                | CloseReason::OutboxFull
                | CloseReason::Silent
        )
    }
}

impl From<JoinRefusal> for CloseReason {
    fn from(why: JoinRefusal) -> Self {
        match why {
            JoinRefusal::Taken => CloseReason::IdTaken,
            JoinRefusal::TakeoverLimit => CloseReason::TakeoverLimit,
            JoinRefusal::RoomFull => CloseReason::RoomFull,
            JoinRefusal::RoomExists => CloseReason::RoomExists,
            JoinRefusal::NoSuchRoom => CloseReason::NoSuchRoom,
            JoinRefusal::TooManyRooms => CloseReason::TooManyRooms,
            JoinRefusal::TooManyRoomsOfOne => CloseReason::TooManyRoomsOfOne,
            JoinRefusal::Draining => CloseReason::Draining,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_fits_a_close_frame_and_has_a_label_of_its_own() {
        let mut labels = std::collections::HashSet::new();
        for reason in CloseReason::ALL {
            assert!(reason.text().len() <= 123, "{reason:?}");
            assert!(labels.insert(reason.label()), "{reason:?}");
            assert!(reason.code().is_allowed(), "{reason:?}");
        }
    }
}
