//! Bootstrap hubs by name: every address that a `dns+ws://` name has now is a hub to dial.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::mpsc;

use super::address::endpoint_at;
use super::input::Input;
use super::troubles::Trouble;
use hubmesh_causes as causes;

/// How often names are looked up.
const EVERY: Duration = Duration::from_secs(30);
/// How soon a name without an address is looked up again.
const AGAIN: Duration = Duration::from_secs(2);
/// The most addresses that one name may have.
const MAX_ADDRESSES: usize = 1024;

/// Looks the names up as long as the driver runs, and tells it when the addresses have changed. If a look-up fails, the
/// name keeps its addresses.
pub async fn follow(names: Vec<(String, u16)>, statics: Vec<String>, driver: mpsc::Sender<Input>) {
    let mut known: Vec<BTreeSet<String>> = vec![BTreeSet::new(); names.len()];
    let mut told = BTreeSet::new();
    loop {
        let mut complete = true;
        for ((name, port), addresses) in names.iter().zip(&mut known) {
            let trouble = match lookup_host((name.as_str(), *port)).await {
                Ok(found) => {
                    *addresses = found.take(MAX_ADDRESSES).map(endpoint_at).collect();
                    addresses
                        .is_empty()
                        .then(|| unknown("the name has no address".to_owned()))
                }
                Err(error) => Some(unknown(causes::of_io(&error))),
            };
            let name = format!("dns+ws://{name}:{port}");
            if driver.send(Input::Name { name, trouble }).await.is_err() {
                return;
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

fn unknown(cause: String) -> Trouble {
    Trouble {
        label: "unknown-name",
        cause,
        stands: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn every_address_of_a_name_becomes_a_hub_until_nobody_asks() {
        let (driver, mut inputs) = mpsc::channel(4);
        let statics = vec!["ws://static:1/mesh".to_owned()];
        let following = tokio::spawn(follow(
            vec![("localhost".to_owned(), 4242)],
            statics,
            driver,
        ));
        let mut next = async || {
            let input = tokio::time::timeout(LIMIT, inputs.recv()).await;
            input.expect("in time").expect("it is open")
        };
        let looked_up = next().await;
        assert!(matches!(looked_up, Input::Name { trouble: None, .. }));
        let Input::Bootstrap(urls) = next().await else {
            panic!("a bootstrap list is expected")
        };
        assert!(urls.contains(&"ws://static:1/mesh".to_owned()));
        assert!(
            urls.iter()
                .any(|url| url == "ws://127.0.0.1:4242/mesh" || url == "ws://[::1]:4242/mesh"),
            "{urls:?}"
        );
        drop(inputs);
        let end = tokio::time::timeout(LIMIT, following);
        assert!(end.await.is_ok(), "nobody is left to be told");
    }
}
