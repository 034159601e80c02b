//! What the server counts. Its owner alone adds; anybody may read, from any thread.

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
    /// Its client said so.
    Deleted,
    /// Its client did not refresh it.
    Expired,
    /// It is as old as it may become.
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
    /// Nobody gave the peer leave, or the channel has no peer.
    NoPermission,
    /// The peer's address is none that is relayed to.
    Forbidden,
    /// Its user, or all together, have had their bytes for now.
    OverRate,
    /// There is more of it than a packet carries.
    TooLong,
    /// The system, or what waits for the client's connection, had no space for it, or there is no way there.
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

/// Whom data goes to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Toward {
    /// To a peer.
    Peer,
    /// To a client.
    Client,
}

/// Data that the server lets pass, for whoever sends it to say what became of it: [`Counters::sent`] or
/// [`Counters::unsent`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Passing {
    /// The side that it is for.
    pub to: Toward,
    /// How much of it, in bytes, without what STUN and TURN put around it.
    pub bytes: usize,
}

/// Packets and their data.
#[derive(Default, Debug)]
pub struct Traffic {
    /// Packets.
    pub packets: Counter,
    /// Bytes of data, without what STUN and TURN put around it.
    pub bytes: Counter,
}

/// All that the server counts.
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
    /// What is neither STUN nor TURN, or asks for no answer.
    pub ignored: Counter,
}

fn at<T: PartialEq>(all: &[T], one: &T) -> usize {
    all.iter()
        .position(|other| other == one)
        .unwrap_or_default()
}

/// What is counted by one of a few reasons.
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

    /// This was sent, so it is relayed.
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

    /// Relays that there are.
    pub fn open(&self) -> u64 {
        let ended: u64 = self.ends.iter().map(Counter::total).sum();
        self.allocations.total().saturating_sub(ended)
    }
}
