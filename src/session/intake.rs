//! Messages that are not all here yet, or cannot be carried out yet, and the memory that all of them may take together.
//!
//! A message that comes in pieces is a [`Partial`] until it is whole. Up to [`FREE_BYTES`] each has for itself; what is
//! longer is counted by the hub's one [`Intake`]. When that has no room left, the message gives way that has held the most
//! for the longest: a client that sends a long message byte by byte holds nothing that another one needs. A message that gave
//! way, or is over the limit, is read past: no more than its two ends are kept, to tell its sender what became of it.
//! A whole message that waits takes [`Reserved`] room, which gives way to no other, and so is no more than half of the budget.
//! Knows no socket, and nothing of what messages mean.
//!
//! Invariants: what is counted never exceeds the budget, and is given back with the message, however that ends.

use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

/// What a message that is not whole may take without being counted, in bytes.
pub const FREE_BYTES: usize = 16 * 1024;
/// How much is kept of each end of a message that is read past, in bytes: an envelope without its payload.
const END_BYTES: usize = 512;

/// The limits on what comes in, and the memory of what has come in part.
#[derive(Debug)]
pub struct Intake {
    longest: usize,
    budget: usize,
    shelf: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    taken: usize,
    /// How much of that is [`Reserved`].
    waiting: usize,
    next: u64,
    held: HashMap<u64, Held>,
}

#[derive(Debug)]
struct Held {
    since: Instant,
    bytes: usize,
    content: Arc<Mutex<Content>>,
}

/// What there is of a counted message.
#[derive(Debug)]
enum Content {
    Here(Vec<u8>),
    /// It gave way.
    Gone(Ends),
}

/// There is no room: the message has to be read past, or refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom;

impl Intake {
    /// Messages of up to `longest` bytes; those that are not whole may take `budget` bytes together.
    pub fn new(longest: usize, budget: usize) -> Self {
        Intake {
            longest,
            budget,
            shelf: Mutex::default(),
        }
    }

    /// The longest message that is taken, in bytes.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// How much is counted now, in bytes.
    pub fn taken(&self) -> usize {
        self.shelf.lock().taken
    }

    fn begin(self: &Arc<Self>) -> Ticket {
        let mut shelf = self.shelf.lock();
        shelf.next += 1;
        let number = shelf.next;
        let content = Arc::new(Mutex::new(Content::Here(Vec::new())));
        let held = Held {
            since: Instant::now(),
            bytes: 0,
            content: Arc::clone(&content),
        };
        shelf.held.insert(number, held);
        Ticket {
            number,
            intake: Arc::clone(self),
            content,
        }
    }

    /// Counts these bytes for a message; where there is no room, another message gives way.
    fn reserve(&self, number: u64, more: usize) -> Result<(), NoRoom> {
        let mut shelf = self.shelf.lock();
        while shelf.taken.saturating_add(more) > self.budget {
            let greediest = shelf.greediest().ok_or(NoRoom)?;
            shelf.give_way(greediest);
            if greediest == number {
                return Err(NoRoom);
            }
        }
        let held = shelf.held.get_mut(&number).ok_or(NoRoom)?;
        held.bytes += more;
        shelf.taken += more;
        Ok(())
    }

    /// Counts these bytes for what waits; where there is no room, a message that has come in part gives way.
    fn set_aside(&self, more: usize) -> Result<(), NoRoom> {
        let mut shelf = self.shelf.lock();
        if shelf.waiting.saturating_add(more) > self.budget / 2 {
            return Err(NoRoom);
        }
        while shelf.taken.saturating_add(more) > self.budget {
            let greediest = shelf.greediest().ok_or(NoRoom)?;
            shelf.give_way(greediest);
        }
        shelf.waiting += more;
        shelf.taken += more;
        Ok(())
    }
}

/// The part of the budget that one peer's waiting messages take; given back when dropped.
#[derive(Debug)]
pub struct Reserved {
    intake: Arc<Intake>,
    bytes: usize,
}

impl Reserved {
    /// None yet.
    pub fn new(intake: Arc<Intake>) -> Self {
        Reserved { intake, bytes: 0 }
    }

    /// Takes or gives back as much as makes it `bytes`. To give back cannot fail.
    ///
    /// # Errors
    ///
    /// There is not enough room. Nothing has changed.
    pub fn resize(&mut self, bytes: usize) -> Result<(), NoRoom> {
        if let Some(more) = bytes.checked_sub(self.bytes) {
            self.intake.set_aside(more)?;
        } else {
            let mut shelf = self.intake.shelf.lock();
            let less = self.bytes.saturating_sub(bytes);
            shelf.waiting -= less;
            shelf.taken -= less;
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        // Giving back cannot fail.
        let _ = self.resize(0);
    }
}

impl Shelf {
    /// The message that has held the most for the longest.
    fn greediest(&self) -> Option<u64> {
        let now = Instant::now();
        let cost = |held: &Held| {
            let age = now.saturating_duration_since(held.since).as_micros();
            (age.saturating_mul(held.bytes as u128), held.bytes)
        };
        let held = self.held.iter().filter(|(_, held)| held.bytes > 0);
        held.max_by_key(|(_, held)| cost(held))
            .map(|(number, _)| *number)
    }

    fn give_way(&mut self, number: u64) {
        if let Some(held) = self.remove(number) {
            let mut content = held.content.lock();
            if let Content::Here(bytes) = &*content {
                *content = Content::Gone(Ends::of(bytes));
            }
        }
    }

    fn remove(&mut self, number: u64) -> Option<Held> {
        let held = self.held.remove(&number)?;
        self.taken -= held.bytes;
        Some(held)
    }
}

/// A counted message.
#[derive(Debug)]
struct Ticket {
    number: u64,
    intake: Arc<Intake>,
    content: Arc<Mutex<Content>>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.intake.shelf.lock().remove(self.number);
    }
}

impl Ticket {
    /// Adds to the message, which may become `whole` bytes long as far as is known.
    fn add(&self, bytes: &[u8], whole: usize) -> Result<(), NoRoom> {
        let (length, capacity) = match &*self.content.lock() {
            Content::Here(so_far) => (so_far.len(), so_far.capacity()),
            Content::Gone(_) => return Err(NoRoom),
        };
        let needed = length + bytes.len();
        // Twice as much at a time, so that a long message is not copied for each piece.
        let room = needed.max((2 * capacity).min(whole));
        if needed > capacity {
            self.intake.reserve(self.number, room - capacity)?;
        }
        match &mut *self.content.lock() {
            Content::Here(so_far) => {
                if needed > capacity {
                    so_far.reserve_exact(room - length);
                }
                so_far.extend_from_slice(bytes);
                Ok(())
            }
            Content::Gone(_) => Err(NoRoom),
        }
    }

    fn take(&self) -> Content {
        std::mem::replace(&mut *self.content.lock(), Content::Here(Vec::new()))
    }
}

/// The beginning and the end of a message that is not kept.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Ends {
    /// The first bytes of it.
    pub head: Vec<u8>,
    /// The last bytes of it, as far as they are not in `head`.
    pub tail: Vec<u8>,
}

impl Ends {
    /// Those of a message.
    pub fn of(bytes: &[u8]) -> Self {
        let mut ends = Ends::default();
        ends.add(bytes);
        ends
    }

    fn add(&mut self, bytes: &[u8]) {
        let room = END_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        let (head, rest) = bytes.split_at(room);
        self.head.extend_from_slice(head);
        let (_, last) = rest.split_at(rest.len().saturating_sub(END_BYTES));
        let too_many = (self.tail.len() + last.len()).saturating_sub(END_BYTES);
        self.tail.drain(..too_many.min(self.tail.len()));
        self.tail.extend_from_slice(last);
    }
}

/// Why a message is read past, or not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It is over the limit.
    TooLong,
    /// There was no room for it.
    NoRoom,
    /// The hub goes before it could be carried out.
    Draining,
}

/// A message that was read past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Why it was read past.
    pub why: Why,
    /// How long it was, in bytes.
    pub size: u64,
    /// What is left of it.
    pub ends: Ends,
}

/// A message that is not all here.
#[derive(Debug)]
pub struct Partial {
    kept: Kept,
    size: u64,
}

#[derive(Debug)]
enum Kept {
    Free(Vec<u8>),
    Counted(Ticket),
    Past(Why, Ends),
}

impl Partial {
    /// Nothing of it yet.
    pub fn new() -> Self {
        Partial {
            kept: Kept::Free(Vec::new()),
            size: 0,
        }
    }

    /// How much of it has come, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether it is read past.
    pub fn is_past(&self) -> bool {
        matches!(self.kept, Kept::Past(..))
    }

    /// It is over the limit: lets go of what there is.
    pub fn read_past(&mut self) {
        self.give_up(Why::TooLong);
    }

    fn give_up(&mut self, why: Why) {
        self.kept = match std::mem::replace(&mut self.kept, Kept::Free(Vec::new())) {
            Kept::Free(bytes) => Kept::Past(why, Ends::of(&bytes)),
            Kept::Counted(ticket) => Kept::Past(why, ticket.take().into_ends()),
            past => past,
        };
    }

    /// Adds what came; `more` bytes are known to follow it.
    pub fn add(&mut self, bytes: &[u8], more: u64, intake: &Arc<Intake>) {
        self.size += bytes.len() as u64;
        let whole = usize::try_from(self.size.saturating_add(more)).unwrap_or(usize::MAX);
        if let Kept::Free(so_far) = &mut self.kept
            && so_far.len() + bytes.len() > FREE_BYTES
        {
            let ticket = intake.begin();
            let moved = ticket.add(so_far, whole);
            if moved.is_ok() {
                self.kept = Kept::Counted(ticket);
            } else {
                drop(ticket);
                self.give_up(Why::NoRoom);
            }
        }
        let taken = match &mut self.kept {
            Kept::Free(so_far) => {
                so_far.extend_from_slice(bytes);
                Ok(())
            }
            Kept::Counted(ticket) => ticket.add(bytes, whole),
            Kept::Past(_, ends) => {
                ends.add(bytes);
                Ok(())
            }
        };
        if let Err(NoRoom) = taken {
            self.give_up(Why::NoRoom);
            if let Kept::Past(_, ends) = &mut self.kept {
                ends.add(bytes);
            }
        }
    }

    /// The message, now that all of it has come.
    pub fn finish(mut self) -> Result<Bytes, Unread> {
        if let Kept::Counted(ticket) = &self.kept {
            match ticket.take() {
                Content::Here(bytes) => return Ok(bytes.into()),
                Content::Gone(ends) => self.kept = Kept::Past(Why::NoRoom, ends),
            }
        }
        match self.kept {
            Kept::Free(bytes) => Ok(bytes.into()),
            Kept::Past(why, ends) => Err(Unread {
                why,
                size: self.size,
                ends,
            }),
            // Taken care of above.
            Kept::Counted(_) => Ok(Bytes::new()),
        }
    }
}

impl Default for Partial {
    fn default() -> Self {
        Partial::new()
    }
}

impl Content {
    fn into_ends(self) -> Ends {
        match self {
            Content::Here(bytes) => Ends::of(&bytes),
            Content::Gone(ends) => ends,
        }
    }
}

#[cfg(test)]
mod tests;
