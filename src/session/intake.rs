//! Messages that have arrived in part, or cannot be carried out yet, and the bound on the memory for all of them.
//!
//! A message that arrives in pieces is a [`Partial`] until it is whole. Each client has [`FREE_BYTES`] for itself;
//! longer messages are counted by the hub's one [`Intake`]. When the intake has no space left, the message that has
//! held the most for the longest is dropped: a client that sends a long message byte by byte holds no memory that
//! another client needs. A dropped message, or one over the limit, is read past: only its two ends are kept, to tell
//! its sender the result. A whole message that waits has [`Reserved`] space, which is never dropped for another message
//! and is at most half of the budget. Knows no socket, and nothing of the content of messages.
//!
//! Invariants: the count never exceeds the budget; a message's part is released with the message, however that ends.

use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// How many bytes of an incomplete message are not counted.
pub const FREE_BYTES: usize = 16 * 1024;
/// How much is kept of each end of a message that is read past, in bytes: an envelope without its payload.
const END_BYTES: usize = 512;

/// The limits on incoming messages, and the memory of incomplete ones.
#[derive(Debug)]
pub struct Intake {
    longest: usize,
    budget: usize,
    buffers: Mutex<Buffers>,
}

#[derive(Debug, Default)]
struct Buffers {
    taken: usize,
    /// How much of the budget is [`Reserved`].
    waiting: usize,
    next: u64,
    held: HashMap<u64, Buffered>,
}

#[derive(Debug)]
struct Buffered {
    since: Instant,
    bytes: usize,
    content: Arc<Mutex<Content>>,
}

/// The content of a counted message.
#[derive(Debug)]
enum Content {
    Here(Vec<u8>),
    /// It was dropped.
    Gone(Ends),
}

/// There is no space left: the message has to be read past, or refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSpace;

impl Intake {
    /// An intake for messages of up to `longest` bytes; incomplete messages may take `budget` bytes together.
    pub fn new(longest: usize, budget: usize) -> Self {
        Intake {
            longest,
            budget,
            buffers: Mutex::default(),
        }
    }

    /// The longest message that is accepted, in bytes.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// How much is counted now, in bytes.
    pub fn taken(&self) -> usize {
        self.buffers.lock().taken
    }

    fn begin(self: &Arc<Self>) -> Ticket {
        let mut buffers = self.buffers.lock();
        buffers.next += 1;
        let number = buffers.next;
        let content = Arc::new(Mutex::new(Content::Here(Vec::new())));
        let held = Buffered {
            since: Instant::now(),
            bytes: 0,
            content: Arc::clone(&content),
        };
        buffers.held.insert(number, held);
        Ticket {
            number,
            intake: Arc::clone(self),
            content,
        }
    }

    /// Counts these bytes for a message; if there is no space, another message is dropped.
    fn reserve(&self, number: u64, more: usize) -> Result<(), NoSpace> {
        let mut buffers = self.buffers.lock();
        while buffers.taken.saturating_add(more) > self.budget {
            let largest_share = buffers.largest_share().ok_or(NoSpace)?;
            buffers.give_way(largest_share);
            if largest_share == number {
                return Err(NoSpace);
            }
        }
        let held = buffers.held.get_mut(&number).ok_or(NoSpace)?;
        held.bytes += more;
        buffers.taken += more;
        Ok(())
    }

    /// Counts these bytes for a waiting message; if there is no space, an incomplete message is dropped.
    fn set_aside(&self, more: usize) -> Result<(), NoSpace> {
        let mut buffers = self.buffers.lock();
        if buffers.waiting.saturating_add(more) > self.budget / 2 {
            return Err(NoSpace);
        }
        while buffers.taken.saturating_add(more) > self.budget {
            let largest_share = buffers.largest_share().ok_or(NoSpace)?;
            buffers.give_way(largest_share);
        }
        buffers.waiting += more;
        buffers.taken += more;
        Ok(())
    }
}

/// The part of the budget for one peer's waiting messages; released when dropped.
#[derive(Debug)]
pub struct Reserved {
    intake: Arc<Intake>,
    bytes: usize,
}

impl Reserved {
    /// No space yet.
    pub fn new(intake: Arc<Intake>) -> Self {
        Reserved { intake, bytes: 0 }
    }

    /// Grows or shrinks the reserved space to `bytes`. Shrinking cannot fail.
    ///
    /// # Errors
    ///
    /// There is not enough space. Nothing has changed.
    pub fn resize(&mut self, bytes: usize) -> Result<(), NoSpace> {
        if let Some(more) = bytes.checked_sub(self.bytes) {
            self.intake.set_aside(more)?;
        } else {
            let mut buffers = self.intake.buffers.lock();
            let less = self.bytes.saturating_sub(bytes);
            buffers.waiting -= less;
            buffers.taken -= less;
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

impl Buffers {
    /// The message that has held the most for the longest.
    fn largest_share(&self) -> Option<u64> {
        let now = Instant::now();
        let cost = |held: &Buffered| {
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

    fn remove(&mut self, number: u64) -> Option<Buffered> {
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
        self.intake.buffers.lock().remove(self.number);
    }
}

impl Ticket {
    /// Adds bytes to the message, which may become `whole` bytes long as far as is known.
    fn add(&self, bytes: &[u8], whole: usize) -> Result<(), NoSpace> {
        let (length, capacity) = match &*self.content.lock() {
            Content::Here(so_far) => (so_far.len(), so_far.capacity()),
            Content::Gone(_) => return Err(NoSpace),
        };
        let needed = length + bytes.len();
        // Twice as much at a time, so that a long message is not copied for each piece.
        let space = needed.max((2 * capacity).min(whole));
        if needed > capacity {
            self.intake.reserve(self.number, space - capacity)?;
        }
        match &mut *self.content.lock() {
            Content::Here(so_far) => {
                if needed > capacity {
                    so_far.reserve_exact(space - length);
                }
                so_far.extend_from_slice(bytes);
                Ok(())
            }
            Content::Gone(_) => Err(NoSpace),
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
    /// The ends of a message.
    pub fn of(bytes: &[u8]) -> Self {
        let mut ends = Ends::default();
        ends.add(bytes);
        ends
    }

    fn add(&mut self, bytes: &[u8]) {
        let space = END_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        let (head, rest) = bytes.split_at(space);
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
    /// There was no space for it.
    NoSpace,
    /// The hub shuts down before it could be carried out.
    Draining,
}

/// A message that was read past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadPast {
    /// Why it was read past.
    pub why: Why,
    /// How long it was, in bytes.
    pub size: u64,
    /// Its two ends.
    pub ends: Ends,
}

/// A whole text that waits until it may be handled.
#[derive(Debug)]
pub struct WaitingText {
    /// The text.
    pub text: Utf8Bytes,
    /// Its part of the budget, beyond [`FREE_BYTES`].
    _reserved: Reserved,
}

impl WaitingText {
    /// Keeps a text.
    ///
    /// # Errors
    ///
    /// There is no space for it: returns its length and its two ends, for the report to its sender.
    pub fn new(text: &Utf8Bytes, intake: &Arc<Intake>) -> Result<Self, ReadPast> {
        let mut reserved = Reserved::new(Arc::clone(intake));
        let counted = text.len().saturating_sub(FREE_BYTES);
        reserved.resize(counted).map_err(|NoSpace| ReadPast {
            why: Why::NoSpace,
            size: text.len() as u64,
            ends: Ends::of(text.as_bytes()),
        })?;
        Ok(WaitingText {
            text: text.clone(),
            _reserved: reserved,
        })
    }
}

/// An incomplete message.
#[derive(Debug)]
pub struct Partial {
    collected: Collected,
    size: u64,
}

#[derive(Debug)]
enum Collected {
    Free(Vec<u8>),
    Counted(Ticket),
    Past(Why, Ends),
}

impl Partial {
    /// A message of which nothing has arrived yet.
    pub fn new() -> Self {
        Partial {
            collected: Collected::Free(Vec::new()),
            size: 0,
        }
    }

    /// How many bytes of it have arrived.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether it is being read past.
    pub fn is_past(&self) -> bool {
        matches!(self.collected, Collected::Past(..))
    }

    /// It is over the limit: drops the bytes so far.
    pub fn read_past(&mut self) {
        self.give_up(Why::TooLong);
    }

    fn give_up(&mut self, why: Why) {
        self.collected = match std::mem::replace(&mut self.collected, Collected::Free(Vec::new())) {
            Collected::Free(bytes) => Collected::Past(why, Ends::of(&bytes)),
            Collected::Counted(ticket) => Collected::Past(why, ticket.take().into_ends()),
            past => past,
        };
    }

    /// Adds bytes that arrived; `more` bytes are known to follow them.
    pub fn add(&mut self, bytes: &[u8], more: u64, intake: &Arc<Intake>) {
        self.size += bytes.len() as u64;
        let whole = usize::try_from(self.size.saturating_add(more)).unwrap_or(usize::MAX);
        if let Collected::Free(so_far) = &mut self.collected
            && so_far.len() + bytes.len() > FREE_BYTES
        {
            let ticket = intake.begin();
            let moved = ticket.add(so_far, whole);
            if moved.is_ok() {
                self.collected = Collected::Counted(ticket);
            } else {
                drop(ticket);
                self.give_up(Why::NoSpace);
            }
        }
        let taken = match &mut self.collected {
            Collected::Free(so_far) => {
                so_far.extend_from_slice(bytes);
                Ok(())
            }
            Collected::Counted(ticket) => ticket.add(bytes, whole),
            Collected::Past(_, ends) => {
                ends.add(bytes);
                Ok(())
            }
        };
        if let Err(NoSpace) = taken {
            self.give_up(Why::NoSpace);
            if let Collected::Past(_, ends) = &mut self.collected {
                ends.add(bytes);
            }
        }
    }

    /// The message, when all of it has arrived.
    pub fn finish(mut self) -> Result<Bytes, ReadPast> {
        if let Collected::Counted(ticket) = &self.collected {
            match ticket.take() {
                Content::Here(bytes) => return Ok(bytes.into()),
                Content::Gone(ends) => self.collected = Collected::Past(Why::NoSpace, ends),
            }
        }
        match self.collected {
            Collected::Free(bytes) => Ok(bytes.into()),
            Collected::Past(why, ends) => Err(ReadPast {
                why,
                size: self.size,
                ends,
            }),
            // This case is handled above.
            Collected::Counted(_) => Ok(Bytes::new()),
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
