//! Why a request is refused: the codes of RFC 8489 and RFC 8656 that this server uses.

/// A code of an error answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Code {
    /// The request is malformed, or makes no sense.
    BadRequest,
    /// It is not signed, or not by an allowed user.
    Unauthorized,
    /// The policy refuses the peer's address.
    Forbidden,
    /// It contains an attribute that must be understood and that this server does not know.
    UnknownAttribute,
    /// There is a relay already, or none.
    AllocationMismatch,
    /// The nonce is too old, or not from this server.
    StaleNonce,
    /// There is no relay of this family.
    AddressFamily,
    /// Another user has this relay.
    WrongCredentials,
    /// Relays speak UDP to peers, and nothing else.
    UnsupportedTransport,
    /// The peer's address is of another family than the relay.
    PeerFamily,
    /// The user has as many relays as it may have.
    Quota,
    /// The server has no space, or goes down.
    InsufficientCapacity,
}

impl Code {
    /// All of them, each at its place.
    pub const ALL: [Code; 12] = [
        Code::BadRequest,
        Code::Unauthorized,
        Code::Forbidden,
        Code::UnknownAttribute,
        Code::AllocationMismatch,
        Code::StaleNonce,
        Code::AddressFamily,
        Code::WrongCredentials,
        Code::UnsupportedTransport,
        Code::PeerFamily,
        Code::Quota,
        Code::InsufficientCapacity,
    ];

    /// The number on the wire.
    pub const fn number(self) -> u16 {
        match self {
            Code::BadRequest => 400,
            Code::Unauthorized => 401,
            Code::Forbidden => 403,
            Code::UnknownAttribute => 420,
            Code::AllocationMismatch => 437,
            Code::StaleNonce => 438,
            Code::AddressFamily => 440,
            Code::WrongCredentials => 441,
            Code::UnsupportedTransport => 442,
            Code::PeerFamily => 443,
            Code::Quota => 486,
            Code::InsufficientCapacity => 508,
        }
    }
}
