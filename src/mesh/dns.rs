//! Bootstrap hubs by name: every address that a `dns+ws://` name has now is a hub to dial.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::mpsc;

use super::address::endpoint_at;
use super::driver::Input;

/// How often names are looked up.
const EVERY: Duration = Duration::from_secs(30);
/// How soon after a name gave nothing.
const AGAIN: Duration = Duration::from_secs(2);
/// The most addresses that one name may have.
const MAX_ADDRESSES: usize = 1024;

/// Looks the names up as long as there is a driver, and tells it when the addresses changed. A name that cannot be looked
/// up keeps the addresses that it had.
pub async fn follow(names: Vec<(String, u16)>, statics: Vec<String>, driver: mpsc::Sender<Input>) {
    let mut known: Vec<BTreeSet<String>> = vec![BTreeSet::new(); names.len()];
    let mut told = BTreeSet::new();
    let mut failing = false;
    loop {
        let mut complete = true;
        for ((name, port), addresses) in names.iter().zip(&mut known) {
            match lookup_host((name.as_str(), *port)).await {
                Ok(found) => {
                    *addresses = found.take(MAX_ADDRESSES).map(endpoint_at).collect();
                    failing = false;
                }
                // The first failure in a row is an operator's business, the others are not.
                Err(error) if !std::mem::replace(&mut failing, true) => {
                    tracing::warn!(name, %error, "bootstrap name not found");
                }
                Err(error) => tracing::debug!(name, %error, "bootstrap name not found"),
            }
            complete &= !addresses.is_empty();
        }
        let all: BTreeSet<String> = known.iter().flatten().chain(&statics).cloned().collect();
        if all != told {
            told = all.clone();
            if driver
                .send(Input::Bootstrap(all.into_iter().collect()))
                .await
                .is_err()
            {
                return;
            }
        }
        let pause = tokio::time::sleep(if complete { EVERY } else { AGAIN });
        tokio::select! {
            () = pause => {}
            () = driver.closed() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_address_of_a_name_becomes_a_hub_until_nobody_asks() {
        let (driver, mut inputs) = mpsc::channel(4);
        let statics = vec!["ws://static:1/mesh".to_owned()];
        let following = tokio::spawn(follow(
            vec![("localhost".to_owned(), 4242)],
            statics,
            driver,
        ));
        let input = tokio::time::timeout(Duration::from_secs(5), inputs.recv())
            .await
            .unwrap()
            .unwrap();
        let Input::Bootstrap(urls) = input else {
            panic!("a bootstrap list is expected")
        };
        assert!(urls.contains(&"ws://static:1/mesh".to_owned()));
        assert!(
            urls.iter()
                .any(|url| url == "ws://127.0.0.1:4242/mesh" || url == "ws://[::1]:4242/mesh"),
            "{urls:?}"
        );
        drop(inputs);
        let end = tokio::time::timeout(Duration::from_secs(1), following);
        assert!(end.await.is_ok(), "nobody is left to be told");
    }
}
