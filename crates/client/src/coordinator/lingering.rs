//! Tasks that still have to send something when their owner is gone: a relay that is given up, a hub's goodbye.
//!
//! A program that is about to end waits for them for a while.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// All of them. A clone is another handle to the same.
#[derive(Clone, Debug)]
pub(super) struct Lingering(watch::Sender<()>);

/// One of them, for as long as it is there.
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
        // A late task is not waited for.
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
