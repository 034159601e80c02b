//! Tries several TURN servers and takes the first relay that opens.
//!
//! The servers are tried in their order. The next one is tried as soon as one fails, or when [`ALONE`] has passed without an
//! answer. So a silent server delays the others by `ALONE` only. If the first server gives a relay within `ALONE`, no other
//! is asked.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, sleep_until};

/// How long to wait for a server before the next one is tried as well.
const ALONE: Duration = Duration::from_secs(1);

/// The first relay that opens within the limit. Otherwise one text for each server that failed, and one if the limit was
/// reached; empty if there were no openings.
pub(super) async fn first<R, O>(openings: Vec<O>, limit: Duration) -> Result<R, Vec<String>>
where
    O: Future<Output = Result<R, String>>,
{
    let end = Instant::now() + limit;
    let mut waiting = openings.into_iter().peekable();
    let mut open = FuturesUnordered::new();
    let mut troubles = Vec::new();
    loop {
        open.extend(waiting.next());
        tokio::select! {
            came = open.next() => match came {
                Some(Ok(relay)) => return Ok(relay),
                Some(Err(trouble)) => troubles.push(trouble),
                None => return Err(troubles),
            },
            () = sleep(ALONE), if waiting.peek().is_some() => {}
            () = sleep_until(end) => {
                troubles.push(format!("no relay was there within {limit:?}"));
                return Err(troubles);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    async fn after(milliseconds: u64, opened: Result<u8, &str>) -> Result<u8, String> {
        sleep(Duration::from_millis(milliseconds)).await;
        opened.map_err(str::to_owned)
    }

    #[tokio::test(start_paused = true)]
    async fn silent_servers_delay_the_others_by_a_second_each_and_failed_ones_not_at_all() {
        let began = Instant::now();
        let silent = || after(60_000, Ok(0));
        let all = [silent(), silent(), after(10, Err("full")), after(20, Ok(4))];
        assert_eq!(first(all.into(), LIMIT).await, Ok(4));
        assert_eq!(began.elapsed().as_millis(), 2030);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_slow_may_still_be_the_first_and_no_other_is_asked_beside_a_quick_one() {
        let slow = [after(1500, Ok(1)), after(60_000, Ok(2))];
        assert_eq!(first(slow.into(), LIMIT).await, Ok(1));
        let quick = [(1, 900), (2, 0)].map(|(number, milliseconds)| async move {
            assert_eq!(number, 1, "the second is asked");
            after(milliseconds, Ok(number)).await
        });
        assert_eq!(first(quick.into(), LIMIT).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn all_together_have_a_limit_and_each_trouble_is_told() {
        let began = Instant::now();
        let silent = (0..20).map(|_| after(60_000, Ok(0))).collect();
        let late = first(silent, LIMIT).await;
        assert_eq!(late, Err(vec!["no relay was there within 10s".into()]));
        assert_eq!(began.elapsed(), LIMIT);
        let failed = [after(5, Err("a")), after(1, Err("b"))];
        let expected = ["a", "b"].map(str::to_owned).to_vec();
        assert_eq!(first(failed.into(), LIMIT).await, Err(expected));
        let none: Vec<std::future::Ready<Result<u8, String>>> = Vec::new();
        assert_eq!(first(none, LIMIT).await, Err(Vec::new()));
    }
}
