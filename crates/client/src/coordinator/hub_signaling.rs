//! Carries messages by a hub: a native peer that announces itself in a network of its own for this purpose.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::link::{Incoming, Outgoing, Signaling};
use crate::{Client, ConnectError, ConnectOptions, Event};

/// Messages that wait on either side.
const QUEUE: usize = 64;
/// How long is waited before a hub is dialled again, times the number of tries so far.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the hub's greeting is waited for; one that does not greet is talked to all the same.
const GREETING: Duration = Duration::from_secs(2);

/// Connects to a hub and carries messages until the other halves of the queues are dropped. A connection that breaks is
/// opened again, `retries` times in a row.
pub(super) async fn open(
    options: ConnectOptions,
    network: String,
    retries: u32,
) -> Result<Signaling, ConnectError> {
    let client = connect(&options, &network, retries).await?;
    let (outgoing, orders) = mpsc::channel(QUEUE);
    let (told, incoming) = mpsc::channel(QUEUE);
    tokio::spawn(carry(client, (options, network, retries), orders, told));
    Ok(Signaling { outgoing, incoming })
}

async fn connect(
    options: &ConnectOptions,
    network: &str,
    retries: u32,
) -> Result<Client, ConnectError> {
    let mut tries = 0;
    loop {
        match Client::connect(options).await {
            Ok(mut client) => {
                // Whoever is refused after the upgrade is told so in place of a greeting.
                if let Ok(Event::Closed { code, reason }) =
                    timeout(GREETING, client.next_event()).await
                {
                    return Err(closed(options, code, reason));
                }
                // A connection that is gone says so as its next event.
                let _ = client.announce(network, &json!({"p2p": true})).await;
                return Ok(client);
            }
            Err(ConnectError::Unreachable { .. }) if tries < retries => {
                tries += 1;
                sleep(PAUSE * tries).await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn closed(options: &ConnectOptions, code: u16, reason: String) -> ConnectError {
    let hub = options.hub.clone();
    // 1008: the id is taken, or the hub wants no more of this peer.
    if code == 1008 {
        let status = StatusCode::CONFLICT;
        return ConnectError::Refused {
            hub,
            status,
            reason,
        };
    }
    ConnectError::Unreachable { hub, reason }
}

async fn carry(
    mut client: Client,
    (options, network, retries): (ConnectOptions, String, u32),
    mut orders: mpsc::Receiver<Outgoing>,
    told: mpsc::Sender<Incoming>,
) {
    loop {
        let ended = loop {
            let incoming = tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => {
                        // A connection that is gone says so as its next event.
                        let _ = client.signal(order.kind, &order.to, &order.data).await;
                        continue;
                    }
                    None => {
                        client.close().await;
                        return;
                    }
                },
                event = client.next_event() => match event {
                    Event::Signal { from, data, .. } => Incoming::Signal { from, data },
                    Event::Error { error, text } => Incoming::Undeliverable { to: text, reason: error },
                    Event::Closed { code, reason } => break (code, reason),
                    _ => continue,
                },
            };
            if told.send(incoming).await.is_err() {
                client.close().await;
                return;
            }
        };
        let (code, mut reason) = ended;
        // Refused for good: the id is taken, or the hub wants no more of this peer.
        if code != 1008 {
            match connect(&options, &network, retries).await {
                Ok(again) => {
                    client = again;
                    continue;
                }
                Err(error) => reason = error.to_string(),
            }
        }
        // Whoever listened may be gone, too.
        let _ = told.send(Incoming::Closed { reason }).await;
        return;
    }
}
