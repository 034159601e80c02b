//! Carries messages through a hub: a native peer that announces itself in a network for this purpose.
//!
//! If a connection fails or ends, another is made after a pause, unless the hub refuses this peer. This ends after
//! several failures in a row without a connection that lasted.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::again;
use super::lingering::{Lingering, Lingers};
use super::link::{Incoming, Outgoing, Signaling};
use super::signal::printable;
use crate::{Client, ConnectError, ConnectOptions, Event};

/// The number of messages that wait in each direction.
const QUEUE: usize = 64;
/// How long to wait for the hub's greeting; a hub that does not greet is used all the same.
const GREETING: Duration = Duration::from_secs(2);
/// A connection that was open for this long has lasted.
const LASTS: Duration = Duration::from_secs(10);
/// If the hub reads nothing for this long, it is given up.
const STALLED: Duration = Duration::from_secs(10);
/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);
/// Close codes of a hub that refuses this peer: the id is taken, or a rule was broken.
const POLICY: u16 = 1008;

/// A hub, and the number of dials in a row.
struct Dial {
    options: ConnectOptions,
    network: String,
    retries: u32,
    tries: u32,
}

/// Connects to a hub and carries messages until the other halves of the queues are dropped. A connection that breaks is
/// opened again, `retries` times in a row.
pub(super) async fn open(
    options: ConnectOptions,
    network: String,
    retries: u32,
    lingering: &Lingering,
) -> Result<Signaling, ConnectError> {
    let mut dial = Dial {
        options,
        network,
        retries,
        tries: 0,
    };
    let client = dial.connect().await?;
    let (outgoing, orders) = mpsc::channel(QUEUE);
    let (told, incoming) = mpsc::channel(QUEUE);
    tokio::spawn(carry(client, dial, orders, told, lingering.enter()));
    Ok(Signaling { outgoing, incoming })
}

impl Dial {
    /// Dials until there is a connection, or too often.
    async fn connect(&mut self) -> Result<Client, ConnectError> {
        loop {
            match self.once().await {
                Ok(client) => return Ok(client),
                Err(error) if again::is_temporary_failure(&error) && self.tries < self.retries => {
                    self.tries += 1;
                    sleep(again::pause(self.tries)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn once(&self) -> Result<Client, ConnectError> {
        let mut client = Client::connect(&self.options).await?;
        // A client that is refused after the upgrade gets an error instead of a greeting.
        if let Ok(Event::Closed { code, reason }) = timeout(GREETING, client.next_event()).await {
            return Err(self.closed(code, &reason));
        }
        // If the connection has ended, its next event says so.
        let _ = timeout(
            STALLED,
            client.announce(&self.network, &json!({"p2p": true})),
        )
        .await;
        Ok(client)
    }

    fn closed(&self, code: u16, reason: &str) -> ConnectError {
        let hub = self.options.hub.clone();
        let reason = printable(reason);
        if code == POLICY {
            let status = StatusCode::CONFLICT;
            return ConnectError::Refused {
                hub,
                status,
                reason,
            };
        }
        ConnectError::Unreachable { hub, reason }
    }

    /// Makes a new connection after one that ended, after a pause: a hub that greets and closes is no better than one
    /// that does not answer, and one that restarts has other peers, too.
    async fn again(&mut self, lasted: Duration, ended: Ended) -> Result<Client, ConnectError> {
        if lasted >= LASTS {
            self.tries = 0;
        }
        let error = self.closed(ended.code, &ended.reason);
        if !again::is_temporary_failure(&error) || self.tries >= self.retries {
            return Err(error);
        }
        self.tries += 1;
        sleep(again::pause(self.tries)).await;
        self.connect().await
    }
}

/// How a connection ended.
struct Ended {
    code: u16,
    reason: String,
}

async fn carry(
    mut client: Client,
    mut dial: Dial,
    mut orders: mpsc::Receiver<Outgoing>,
    told: mpsc::Sender<Incoming>,
    _lingers: Lingers,
) {
    loop {
        let began = Instant::now();
        let Some(ended) = converse(&mut client, &mut orders, &told).await else {
            // If the hub does not get it, it sees that the connection is gone.
            let _ = timeout(GOODBYE, client.close()).await;
            return;
        };
        let again = tokio::select! {
            again = dial.again(began.elapsed(), ended) => again,
            // No one would use it.
            () = told.closed() => return,
        };
        match again {
            Ok(again) => client = again,
            Err(error) => {
                let reason = error.to_string();
                // The receiver may be gone, too.
                let _ = told.send(Incoming::Closed { reason }).await;
                return;
            }
        }
    }
}

/// Carries messages until the connection ends; `None` when it is not needed any more.
async fn converse(
    client: &mut Client,
    orders: &mut mpsc::Receiver<Outgoing>,
    told: &mpsc::Sender<Incoming>,
) -> Option<Ended> {
    loop {
        let incoming = tokio::select! {
            order = orders.recv() => {
                let order = order?;
                let sending = client.signal(order.kind, &order.to, &order.data);
                // If the connection has ended, its next event says so; a stuck one does not.
                if timeout(STALLED, sending).await.is_err() {
                    let reason = format!("the hub takes nothing for {STALLED:?}");
                    return Some(Ended { code: 1006, reason });
                }
                continue;
            }
            event = client.next_event() => match event {
                // No peer has an id that could move a terminal's cursor.
                Event::Signal { from, .. } if from.chars().any(char::is_control) => continue,
                Event::Signal { from, data, .. } => Incoming::Signal { from, data },
                Event::Error { error, text } => Incoming::Undeliverable {
                    to: text,
                    reason: printable(&error),
                },
                Event::Closed { code, reason } => return Some(Ended { code, reason }),
                _ => continue,
            },
        };
        told.send(incoming).await.ok()?;
    }
}
