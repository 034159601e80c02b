//! Connections between machines: two pipes, each reliable and in order, with latency, jitter and a bandwidth.
//!
//! A pipe behaves like a TCP connection: written data arrives once, in order, or never. While its path is blocked it
//! stalls; it accepts at most a window of bytes that have not arrived.

use std::collections::VecDeque;

use bytes::Bytes;

use super::ids::{Boot, ConnNo, HostNo};
use hubmesh_core::ids::LinkId;

/// The state of one end.
#[derive(Debug)]
pub(super) struct End {
    pub(super) owner: Boot,
    /// The core's number for it, from the end of its handshake until it is closed.
    pub(super) link: Option<LinkId>,
    /// The socket is gone at this end.
    pub(super) closed: bool,
    /// It was closed in order: data that still arrives is read and dropped, so that the last messages of this end are
    /// not lost to a reset.
    pub(super) lingers: bool,
}

impl End {
    /// The core's number for it, while it is open here.
    pub(super) fn open_link(&self) -> Option<LinkId> {
        self.link.filter(|_| !self.closed)
    }
}

/// An item in a pipe.
#[derive(Debug)]
pub(super) enum InFlight {
    Message(Bytes),
    /// The end of the stream.
    Fin,
}

impl InFlight {
    fn size(&self) -> usize {
        match self {
            // The header of a binary WebSocket frame towards a server, for the larger of two directions.
            InFlight::Message(bytes) => bytes.len() + websocket_header(bytes.len()),
            InFlight::Fin => 0,
        }
    }
}

/// The bytes in front of a masked binary WebSocket message of this length.
pub(super) fn websocket_header(length: usize) -> usize {
    match length {
        0..=125 => 6,
        126..=65_535 => 8,
        _ => 14,
    }
}

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Pipe {
    /// The one-way latency, in microseconds.
    pub(super) latency: u64,
    /// Bytes per second; `None` is no limit.
    pub(super) bandwidth: Option<u64>,
    /// Data messages that the data path has handed over and that are not in the pipe yet.
    pub(super) data_queue: VecDeque<Bytes>,
    /// Until when it collects control messages.
    pub(super) gathers_until: u64,
    /// Its end has to be told when the collecting is over.
    pub(super) waits: bool,
    transit: VecDeque<(u64, InFlight)>,
    in_flight: usize,
    free_at: u64,
    last_arrival: u64,
    /// The connection is gone: data that its end writes before it notices is lost, and so is data under way.
    cut: bool,
}

impl Pipe {
    pub(super) fn new(latency: u64, bandwidth: Option<u64>) -> Self {
        Pipe {
            latency,
            bandwidth,
            data_queue: VecDeque::new(),
            gathers_until: 0,
            waits: false,
            transit: VecDeque::new(),
            in_flight: 0,
            free_at: 0,
            last_arrival: 0,
            cut: false,
        }
    }

    /// Whether the window has space.
    pub(super) fn takes_more(&self, window: usize) -> bool {
        self.in_flight < window
    }

    /// Sends an item; returns the time when it arrives.
    pub(super) fn send(&mut self, now: u64, jitter: u64, item: InFlight) -> u64 {
        let size = item.size();
        let sending = self
            .bandwidth
            .map_or(0, |rate| size as u64 * 1_000_000 / rate.max(1));
        self.free_at = self.free_at.max(now) + sending;
        let arrival = (self.free_at + self.latency + jitter).max(self.last_arrival);
        self.last_arrival = arrival;
        if self.cut {
            return arrival;
        }
        self.in_flight += size;
        self.transit.push_back((arrival, item));
        arrival
    }

    /// The next item, if it has arrived by `now`.
    pub(super) fn arrived(&mut self, now: u64) -> Option<InFlight> {
        if self.transit.front()?.0 > now {
            return None;
        }
        let (_, item) = self.transit.pop_front()?;
        self.in_flight -= item.size();
        Some(item)
    }

    /// How many items have arrived but are held by a stall.
    pub(super) fn kept(&self, now: u64) -> usize {
        self.transit.iter().take_while(|(at, _)| *at <= now).count()
    }

    /// Whether nothing can be sent now, and its end will be told when it can.
    pub(super) fn rests(&self, now: u64) -> bool {
        self.data_queue.is_empty() && self.waits && self.gathers_until > now
    }

    /// Nothing will arrive any more.
    pub(super) fn cut(&mut self) {
        self.cut = true;
        self.transit.clear();
        self.data_queue.clear();
        self.in_flight = 0;
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) ends: [End; 2],
    /// `pipes[side]` carries the data that the end of that side writes.
    pub(super) pipes: [Pipe; 2],
    pub(super) dial_number: u64,
}

impl Conn {
    /// Dialled by the first of these, not accepted yet.
    pub(super) fn new(
        owners: [Boot; 2],
        latency: u64,
        bandwidth: Option<u64>,
        dial_number: u64,
    ) -> Self {
        Conn {
            ends: owners.map(|owner| End {
                owner,
                link: None,
                closed: false,
                lingers: false,
            }),
            pipes: [(); 2].map(|()| Pipe::new(latency, bandwidth)),
            dial_number,
        }
    }

    /// The machines at its ends, the lower number first.
    pub(super) fn hosts(&self) -> [HostNo; 2] {
        let [a, b] = [&self.ends[0], &self.ends[1]].map(|end| end.owner.host);
        [a.min(b), a.max(b)]
    }

    pub(super) fn is_open(&self) -> bool {
        self.ends.iter().all(|end| end.open_link().is_some())
    }
}

/// The connections of a world, by number. Every message looks one up several times, so that must cost nothing: numbers
/// count up and are never used twice, so a list is enough.
#[derive(Debug, Default)]
pub(super) struct Conns {
    places: Vec<Option<Box<Conn>>>,
}

impl Conns {
    /// Adds a connection, and gives it the next number.
    pub(super) fn add(&mut self, conn: Conn) -> ConnNo {
        self.places.push(Some(Box::new(conn)));
        self.places.len() as ConnNo - 1
    }

    pub(super) fn remove(&mut self, no: ConnNo) {
        if let Some(place) = self.places.get_mut(no as usize) {
            *place = None;
        }
    }

    pub(super) fn get(&self, no: ConnNo) -> Option<&Conn> {
        self.places.get(no as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, no: ConnNo) -> Option<&mut Conn> {
        self.places.get_mut(no as usize)?.as_deref_mut()
    }

    /// All, by rising number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnNo, &Conn)> {
        let places = (0..).zip(&self.places);
        places.filter_map(|(no, place)| Some((no, place.as_deref()?)))
    }

    /// All, by rising number.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (ConnNo, &mut Conn)> {
        let places = (0..).zip(&mut self.places);
        places.filter_map(|(no, place)| Some((no, place.as_deref_mut()?)))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Conn> {
        self.places.iter().filter_map(Option::as_deref)
    }
}
