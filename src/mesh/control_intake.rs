//! Control messages that links hand to the driver.
//!
//! Owns the bound on the bytes of control messages that wait for the driver, for all links together. The driver's input
//! queue bounds only the number of inputs, and a rogue hub sends messages that are as long as allowed. When the bound
//! is reached, links wait in order, each with one message, so that no link blocks another one. Knows nothing of the
//! content of messages.

use std::sync::Arc;

use bytes::Bytes;
use hubmesh_core::ids::LinkId;
use tokio::sync::{Semaphore, mpsc};

use super::input::Input;

/// How many bytes of control messages may wait for the driver. A message that is longer than this waits until no other
/// control message waits.
const MOST_WAITING: usize = 8 * 1024 * 1024;

/// The driver has ended, and with it the hub.
#[derive(Debug, PartialEq)]
pub struct Stopped;

/// Takes control messages of all links.
#[derive(Clone)]
pub struct ControlIntake {
    inputs: mpsc::Sender<Input>,
    /// One permit for each byte that may still be added.
    space: Arc<Semaphore>,
}

impl ControlIntake {
    /// An intake for the driver at the other end of `inputs`.
    pub fn new(inputs: mpsc::Sender<Input>) -> Self {
        let space = Arc::new(Semaphore::new(MOST_WAITING));
        ControlIntake { inputs, space }
    }

    /// Hands a control message of `link` to the driver, as soon as there is space for it.
    pub async fn put(&self, link: LinkId, message: Bytes) -> Result<(), Stopped> {
        let bytes = message.len().min(MOST_WAITING);
        let bytes = u32::try_from(bytes).expect("MOST_WAITING fits");
        let space = Arc::clone(&self.space).acquire_many_owned(bytes).await;
        // The driver drops it when it has handled the message: only then is the space free again.
        let permit = space.expect("the semaphore is never closed");
        let input = Input::Control {
            link,
            message,
            permit,
        };
        self.inputs.send(input).await.map_err(|_| Stopped)
    }

    /// Tells the driver that a link's message could not be read.
    pub async fn unreadable(&self, link: LinkId) -> Result<(), Stopped> {
        let input = Input::Unreadable { link };
        self.inputs.send(input).await.map_err(|_| Stopped)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Poll;

    use futures::poll;

    use super::*;

    const LONG: usize = 2 * 1024 * 1024;

    fn message(bytes: usize) -> Bytes {
        Bytes::from(vec![0; bytes])
    }

    #[tokio::test]
    async fn what_waits_for_the_driver_is_bounded_in_bytes_and_links_take_turns() {
        let (inputs, mut driver) = mpsc::channel(100);
        let intake = ControlIntake::new(inputs);
        for _ in 0..MOST_WAITING / LONG {
            assert_eq!(intake.put(LinkId(1), message(LONG)).await, Ok(()));
        }
        let mut loud = pin!(intake.put(LinkId(1), message(LONG)));
        let mut quiet = pin!(intake.put(LinkId(2), message(1)));
        assert_eq!(poll!(&mut loud), Poll::Pending);
        assert_eq!(poll!(&mut quiet), Poll::Pending, "it came later");

        driver.recv().await.expect("the first");
        assert_eq!(poll!(&mut loud), Poll::Ready(Ok(())));
        assert_eq!(poll!(&mut quiet), Poll::Pending);
        driver.recv().await.expect("the second");
        assert_eq!(poll!(&mut quiet), Poll::Ready(Ok(())));
    }

    #[tokio::test]
    async fn a_message_longer_than_all_that_may_wait_comes_alone() {
        let (inputs, mut driver) = mpsc::channel(100);
        let intake = ControlIntake::new(inputs);
        let long = message(MOST_WAITING + 1);
        assert_eq!(intake.put(LinkId(1), long).await, Ok(()));
        let mut next = pin!(intake.put(LinkId(2), message(1)));
        assert_eq!(poll!(&mut next), Poll::Pending);
        driver.recv().await.expect("the long one");
        assert_eq!(poll!(&mut next), Poll::Ready(Ok(())));
    }

    #[tokio::test]
    async fn a_link_learns_that_the_driver_is_gone() {
        let (inputs, driver) = mpsc::channel(1);
        let intake = ControlIntake::new(inputs);
        drop(driver);
        assert_eq!(intake.put(LinkId(1), message(1)).await, Err(Stopped));
        assert_eq!(intake.unreadable(LinkId(1)).await, Err(Stopped));
    }
}
