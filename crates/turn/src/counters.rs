//! The counters of the server. Only its owner adds; any thread may read.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::codec::Method;
use crate::error_code::Code;

/// A number that only grows.
#[derive(Default, Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    /// How much was counted.
    pub fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }

    /// Only one thread writes, so this need not be one step.
    pub(crate) fn add(&self, more: u64) {
        self.0
            .store(self.total().wrapping_add(more), Ordering::Relaxed);
    }
}

/// Why a relay ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum End {
    /// Its client ended it.
    Deleted,
    /// Its client did not refresh it.
    Expired,
    /// It reached its greatest age.
    TooOld,
    /// Its client's connection is gone.
    Disconnected,
    /// No port could be opened for it, or its port was lost.
    NoPort,
    /// The server goes down.
    Drained,
}

impl End {
    /// All of them, each at its place.
    pub const ALL: [End; 6] = [
        End::Deleted,
        End::Expired,
        End::TooOld,
        End::Disconnected,
        End::NoPort,
        End::Drained,
    ];
}

/// Why data was not relayed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Drop {
    /// Its client has no relay.
    NoAllocation,
    /// The peer has no permission, or the channel has no peer.
    NoPermission,
    /// The policy refuses the peer's address.
    Forbidden,
    /// Its user, or all users together, have used up their bytes for now.
    OverRate,
    /// There is more of it than a packet carries.
    TooLong,
    /// The system, or the queue of the client's connection, had no space for it, or there is no route.
    Unsent,
}

impl Drop {
    /// All of them, each at its place.
    pub const ALL: [Drop; 6] = [
        Drop::NoAllocation,
        Drop::NoPermission,
        Drop::Forbidden,
        Drop::OverRate,
        Drop::TooLong,
        Drop::Unsent,
    ];
}

/// The receiver of data.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Toward {
    /// To a peer.
    Peer,
    /// To a client.
    Client,
}

/// Data that the server lets pass. The sender of the packet reports the result by [`Counters::sent`] or
/// [`Counters::unsent`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Passing {
    /// The receiving side.
    pub to: Toward,
    /// How many bytes of data, without the framing of STUN and TURN.
    pub bytes: usize,
}

/// Packets and their data.
#[derive(Default, Debug)]
pub struct Traffic {
    /// Packets.
    pub packets: Counter,
    /// Bytes of data, without the framing of STUN and TURN.
    pub bytes: Counter,
}

/// All counters of the server.
#[derive(Default, Debug)]
pub struct Counters {
    requests: [Counter; Method::ALL.len()],
    errors: [Counter; Code::ALL.len()],
    /// Relays that began.
    pub allocations: Counter,
    ends: [Counter; End::ALL.len()],
    /// From clients to peers.
    pub to_peers: Traffic,
    /// From peers to clients.
    pub to_clients: Traffic,
    drops: [Counter; Drop::ALL.len()],
    /// Packets that are neither STUN nor TURN, or ask for no answer.
    pub ignored: Counter,
}

fn at<T: PartialEq>(all: &[T], one: &T) -> usize {
    all.iter()
        .position(|other| other == one)
        .unwrap_or_default()
}

/// Counters by one of a few reasons.
pub trait Counted {
    /// Its counter.
    fn of(self, counters: &Counters) -> &Counter;
}

macro_rules! counted {
    ($($kind:ty, $field:ident;)+) => {
        $(impl Counted for $kind {
            #[allow(clippy::indexing_slicing, reason = "the array is as long as ALL, in which this is")]
            fn of(self, counters: &Counters) -> &Counter {
                &counters.$field[at(&<$kind>::ALL, &self)]
            }
        })+
    };
}

counted! {
    Method, requests;
    Code, errors;
    End, ends;
    Drop, drops;
}

impl Counters {
    /// The counter of this method, code or reason.
    pub fn of(&self, one: impl Counted) -> &Counter {
        one.of(self)
    }

    /// This was sent, so it counts as relayed.
    pub fn sent(&self, passing: Passing) {
        let traffic = match passing.to {
            Toward::Peer => &self.to_peers,
            Toward::Client => &self.to_clients,
        };
        traffic.packets.one();
        traffic.bytes.add(passing.bytes as u64);
    }

    /// A datagram that was let pass could not be sent.
    pub fn unsent(&self) {
        self.of(Drop::Unsent).one();
    }

    /// The current number of relays.
    pub fn open(&self) -> u64 {
        let ended: u64 = self.ends.iter().map(Counter::total).sum();
        self.allocations.total().saturating_sub(ended)
    }
}
