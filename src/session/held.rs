//! What a peer said while the mesh decided on its join: read, but not carried out yet.
//!
//! The socket of a pending join never stops being read, so that its end, a goodbye, pings and the answer to a probe are
//! noticed at once, whatever came before them; messages wait here in their order. [`FREE_BYTES`] each peer has for
//! itself, and as much as the longest message beyond that, which counts against the hub's [`Intake`]. What does not fit
//! is refused alone. Knows no dialect. Used by one conversation each.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::intake::{Ends, FREE_BYTES, Intake, Room, Unread, Why};

/// When a message was first looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Just now.
    Now,
    /// Before the peer had a place; counted then.
    Before,
    /// While its join waited, and too soon: there is no text, and the peer is told why.
    TooSoon,
}

/// What a message counts beside its text, in bytes.
const MESSAGE_BYTES: usize = 128;

/// Messages in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Held {
    messages: VecDeque<(Utf8Bytes, Heard)>,
    bytes: usize,
    room: Option<Room>,
}

impl Held {
    /// Keeps one more.
    ///
    /// # Errors
    ///
    /// There is no room for it: its sender is to be told, and those before it are kept.
    pub(super) fn push(
        &mut self,
        text: &str,
        heard: Heard,
        intake: &Arc<Intake>,
    ) -> Result<(), Unread> {
        let bytes = self.bytes + MESSAGE_BYTES + text.len();
        if !self.fits(bytes, intake) {
            return Err(Unread {
                why: Why::NoRoom,
                size: text.len() as u64,
                ends: Ends::of(text.as_bytes()),
            });
        }
        self.bytes = bytes;
        // A copy: what was read may be part of a larger buffer, of which all would be kept.
        self.messages.push_back((text.into(), heard));
        Ok(())
    }

    /// Notes that what came now came too soon: the peer is told in the order in which it spoke.
    pub(super) fn push_refusal(&mut self) {
        // One after each message at most, so that it need not be counted.
        if !matches!(self.messages.back(), Some((_, Heard::TooSoon))) {
            self.messages
                .push_back((Utf8Bytes::default(), Heard::TooSoon));
        }
    }

    /// The oldest.
    pub(super) fn pop(&mut self) -> Option<(Utf8Bytes, Heard)> {
        let (text, heard) = self.messages.pop_front()?;
        if self.messages.is_empty() {
            // With the memory that it took.
            *self = Held::default();
        } else if heard != Heard::TooSoon {
            self.bytes -= MESSAGE_BYTES + text.len();
            if let Some(room) = &mut self.room {
                // Giving back cannot fail.
                let _ = room.resize(self.bytes.saturating_sub(FREE_BYTES));
            }
        }
        Some((text, heard))
    }

    /// Whether so many bytes may be kept, and counts them if so.
    fn fits(&mut self, bytes: usize, intake: &Arc<Intake>) -> bool {
        let counted = bytes.saturating_sub(FREE_BYTES);
        if counted == 0 {
            return true;
        }
        let room = self
            .room
            .get_or_insert_with(|| Room::new(Arc::clone(intake)));
        counted <= intake.longest() && room.resize(counted).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    fn push(held: &mut Held, text: &str, intake: &Arc<Intake>) -> bool {
        let pushed = held.push(text, Heard::Now, intake);
        pushed.is_ok()
    }

    #[test]
    fn messages_leave_in_their_order_and_as_many_are_kept_as_fit() {
        let intake = Arc::new(Intake::new(64 * KIB, 256 * KIB));
        let mut held = Held::default();
        let mut kept = 0;
        while push(&mut held, &kept.to_string(), &intake) {
            kept += 1;
        }
        assert!((600..=640).contains(&kept), "{kept}");
        assert!((63 * KIB..=64 * KIB).contains(&intake.taken()));
        for number in 0..kept {
            assert_eq!(
                held.pop().map(|(text, _)| text),
                Some(number.to_string().into())
            );
        }
        assert_eq!(held.pop(), None);
        assert_eq!(intake.taken(), 0);
    }

    #[test]
    fn what_is_too_much_is_refused_alone_and_what_is_shorter_still_fits() {
        let intake = Arc::new(Intake::new(64 * KIB, 256 * KIB));
        let mut held = Held::default();
        let long = "x".repeat(64 * KIB);
        assert!(push(&mut held, &long, &intake));
        let refused = held.push(&long, Heard::Now, &intake);
        let refused = refused.expect_err("there is no room for two");
        assert_eq!((refused.why, refused.size), (Why::NoRoom, 64 * KIB as u64));
        assert!(refused.ends.head.starts_with(b"xx"));
        assert!(push(&mut held, "short", &intake));
        assert_eq!(held.pop().map(|(text, _)| text.len()), Some(64 * KIB));
        assert_eq!(intake.taken(), 0, "the rest is free");
        assert!(push(&mut held, &long, &intake));
    }

    #[test]
    fn all_that_wait_have_half_of_the_budget_and_what_each_has_for_itself() {
        let intake = Arc::new(Intake::new(64 * KIB, 256 * KIB));
        let long = "x".repeat(60 * KIB);
        let mut all: Vec<_> = (0..10).map(|_| Held::default()).collect();
        let kept = all.iter_mut().filter_map(|held| {
            let kept = push(held, &long, &intake);
            kept.then_some(())
        });
        assert_eq!(kept.count(), 2);
        assert!(intake.taken() <= 128 * KIB);
        for held in &mut all {
            let (_, small) = (held.pop(), "x".repeat(10 * KIB));
            assert!(push(held, &small, &intake));
        }
        drop(all);
        assert_eq!(intake.taken(), 0);
    }
}
