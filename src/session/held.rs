//! What a peer said while the mesh decided on its join: read, but not carried out yet.
//!
//! The socket of a pending join is read, so that its end, a goodbye and pings are noticed at once; messages wait here
//! in their order. Whoever says more than fits is read no further until the mesh has decided: what it says then waits
//! in its own socket. Knows no dialect. Used by one conversation each.

use std::collections::VecDeque;

use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::presence::Heard;

/// As much of one peer as is read ahead, in bytes, and one message beyond that.
const MAX_BYTES: usize = 16 * 1024;
/// What a message counts beside its text, in bytes.
const MESSAGE_BYTES: usize = 64;

/// Messages in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Held {
    messages: VecDeque<(Utf8Bytes, Heard)>,
    bytes: usize,
}

impl Held {
    /// Keeps one more.
    pub(super) fn push(&mut self, text: Utf8Bytes, heard: Heard) {
        self.bytes += MESSAGE_BYTES + text.len();
        self.messages.push_back((text, heard));
    }

    /// The oldest.
    pub(super) fn pop(&mut self) -> Option<(Utf8Bytes, Heard)> {
        let next = self.messages.pop_front();
        if self.messages.is_empty() {
            // With the memory that it took.
            *self = Held::default();
        }
        next
    }

    /// Whether nothing more is to be read.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= MAX_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_leave_in_their_order_and_as_many_are_kept_as_fit() {
        let mut held = Held::default();
        let mut kept = 0;
        while !held.is_full() {
            held.push(Utf8Bytes::from(kept.to_string()), Heard::Now);
            kept += 1;
        }
        assert!((200..=256).contains(&kept), "{kept}");
        for number in 0..kept {
            assert_eq!(
                held.pop().map(|(text, _)| text),
                Some(number.to_string().into())
            );
        }
        assert_eq!(held.pop(), None);
        held.push(Utf8Bytes::from("x".repeat(2 * MAX_BYTES)), Heard::Now);
        assert!(held.is_full());
        held.pop();
        assert!(!held.is_full());
    }
}
