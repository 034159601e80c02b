//! Tasks that send a last message after their owner has ended: a relay that is given up, a goodbye to a hub.
//!
//! A program that is about to exit waits for them, within a time limit.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// The set of these tasks. A clone is another handle to the same.
#[derive(Clone, Debug)]
pub(super) struct Lingering(watch::Sender<()>);

/// One of these tasks, while this exists.
pub(super) struct Lingers {
    _one: watch::Receiver<()>,
}

impl Lingering {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(()))
    }

    pub(super) fn enter(&self) -> Lingers {
        Lingers {
            _one: self.0.subscribe(),
        }
    }

    /// Waits until there is none, or the time is over.
    pub(super) async fn gone(&self, limit: Duration) {
        // Late tasks are not waited for.
        let _ = timeout(limit, self.0.closed()).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_that_linger_are_waited_for_and_not_for_ever() {
        let all = Lingering::new();
        let began = Instant::now();
        let limit = Duration::from_secs(3);
        all.gone(limit).await;
        assert_eq!(began.elapsed(), Duration::ZERO, "nobody lingers");
        let one = all.enter();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(one);
        });
        all.gone(limit).await;
        assert_eq!(began.elapsed().as_secs(), 1);
        let _stuck = all.enter();
        all.gone(limit).await;
        assert_eq!(began.elapsed().as_secs(), 4);
    }
}
