//! How much of a mailbox the signals of each sender may fill.
//!
//! A sender may have as many bytes waiting as are still free for signals. One sender alone fills half of the space, two
//! fill a third each, and each further sender still finds some space. Shares are counted only while they can matter, so
//! a mailbox that is mostly empty costs one comparison for each signal.
//!
//! Invariants: exactly the waiting signals are counted; the table of senders is no longer than the queue.

use hashbrown::HashMap;

use super::{Author, Capacity};

/// The signals that wait, in total and by sender.
#[derive(Debug, Default)]
pub(super) struct SenderShares {
    all: Load,
    /// Built when it is first needed, and kept until the mailbox runs empty.
    by_author: Option<Box<HashMap<Author, Load, foldhash::fast::RandomState>>>,
}

/// Messages and bytes.
#[derive(Debug, Default, Clone, Copy)]
struct Load {
    messages: u32,
    bytes: u32,
}

impl Load {
    fn plus(self, bytes: u32) -> Self {
        Load {
            messages: self.messages.saturating_add(1),
            bytes: self.bytes.saturating_add(bytes),
        }
    }

    fn minus(self, bytes: u32) -> Self {
        Load {
            messages: self.messages.saturating_sub(1),
            bytes: self.bytes.saturating_sub(bytes),
        }
    }

    /// Whether it fits into what `used` leaves of `space`.
    fn fits(self, space: Capacity, used: Load) -> bool {
        self.messages <= space.messages.saturating_sub(used.messages)
            && self.bytes <= space.bytes.saturating_sub(used.bytes)
    }
}

impl SenderShares {
    /// Counts one more signal, unless its sender has used up its share. `waiting` gives all waiting signals.
    pub(super) fn try_add<I>(
        &mut self,
        space: Capacity,
        author: Author,
        bytes: usize,
        waiting: impl FnOnce() -> I,
    ) -> bool
    where
        I: Iterator<Item = (Author, usize)>,
    {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let all = self.all.plus(bytes);
        // No sender has more than all senders have together.
        if self.by_author.is_none() && !all.fits(space, self.all) {
            self.by_author = Some(Box::new(count(waiting())));
        }
        if let Some(by_author) = &mut self.by_author {
            let own = by_author.get(&author).copied().unwrap_or_default();
            let own = own.plus(bytes);
            if !own.fits(space, self.all) {
                return false;
            }
            by_author.insert(author, own);
        }
        self.all = all;
        true
    }

    /// Subtracts a signal.
    pub(super) fn subtract(&mut self, author: Author, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.all = self.all.minus(bytes);
        let Some(by_author) = &mut self.by_author else {
            return;
        };
        if let Some(own) = by_author.get_mut(&author) {
            *own = own.minus(bytes);
            if own.messages == 0 {
                by_author.remove(&author);
            }
        }
    }
}

fn count(
    waiting: impl Iterator<Item = (Author, usize)>,
) -> HashMap<Author, Load, foldhash::fast::RandomState> {
    let mut by_author: HashMap<Author, Load, _> = HashMap::default();
    for (author, bytes) in waiting {
        let own = by_author.entry(author).or_default();
        *own = own.plus(u32::try_from(bytes).unwrap_or(u32::MAX));
    }
    by_author
}
