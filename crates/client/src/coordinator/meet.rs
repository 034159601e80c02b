//! Runs one round of [`Punch`] over real sockets, until a way has won, the time is over, or the other end starts the
//! next round.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::link::{Link, Lost};
use super::packet::Challenge;
use super::port::Port;
use super::punch::{self, Path, Punch};
use super::signal::Body;

/// The number of datagrams that wait for the round.
const QUEUE: usize = 256;

/// The way that won.
pub(super) struct Won {
    pub(super) port: Arc<Port>,
    pub(super) remote: SocketAddr,
    /// The challenge of the nomination.
    pub(super) challenge: Challenge,
    pub(super) early: VecDeque<Vec<u8>>,
}

/// Why a round failed.
#[derive(Debug)]
pub(super) enum Miss {
    /// This way failed; the next may succeed.
    Failed(String),
    /// No message can be sent to the other end any more.
    Lost(Lost),
}

impl From<Lost> for Miss {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

/// The part of the link that a round needs.
pub(super) struct Line<'l> {
    pub(super) link: &'l mut Link,
    pub(super) round: u8,
}

impl Line<'_> {
    /// Waits until the other end says that the round is done, and with which nomination. Cancel-safe. A message of a
    /// later step is kept, and ends the round.
    pub(super) async fn until_done(&mut self) -> Result<Challenge, Miss> {
        loop {
            match self.link.hear().await? {
                Body::Done { round, challenge } if round == self.round => return Ok(challenge),
                // A message that was sent twice, or late.
                Body::Candidates { .. } | Body::Accept { .. } | Body::Ask { .. } => {}
                later => {
                    self.link.keep(later);
                    return Err(Miss::Failed("the other end went on to the next way".into()));
                }
            }
        }
    }
}

pub(super) async fn meet(
    ports: Vec<Port>,
    mut punch: Punch,
    end: Instant,
    mut line: Line<'_>,
) -> Result<Won, Miss> {
    let ports: Vec<Arc<Port>> = ports.into_iter().map(Arc::new).collect();
    let (sender, mut received) = mpsc::channel(QUEUE);
    let mut readers = JoinSet::new();
    for (index, port) in ports.iter().enumerate() {
        readers.spawn(read(index, Arc::clone(port), sender.clone()));
    }
    drop(sender);
    let punch::Won { path, challenge } = loop {
        while let Some((path, packet)) = punch.poll_transmit(Instant::now()) {
            if let Some(port) = ports.get(path.socket) {
                // An address that cannot be reached is one of several.
                let _ = port.send_to(&packet, path.remote).await;
            }
        }
        if let Some(won) = punch.won() {
            break won;
        }
        let due = punch.deadline().unwrap_or(end).min(end);
        tokio::select! {
            came = received.recv() => match came {
                Some((path, bytes)) => punch.handle(path, &bytes, Instant::now()),
                None => return Err(Miss::Failed("all sockets are gone".into())),
            },
            done = line.until_done() => punch.settle(done?),
            () = sleep_until(due) => if Instant::now() >= end {
                let hellos = punch.hellos();
                return Err(Miss::Failed(format!("nothing came back to {hellos} packets")));
            },
        }
    };
    readers.shutdown().await;
    // Datagrams that were read and not handled yet.
    while let Ok((path, bytes)) = received.try_recv() {
        punch.handle(path, &bytes, Instant::now());
    }
    let port = ports.get(path.socket).map(Arc::clone);
    let port = port.ok_or_else(|| Miss::Failed("the socket is gone".into()))?;
    Ok(Won {
        port,
        remote: path.remote,
        challenge,
        early: punch.take_early(),
    })
}

async fn read(socket: usize, port: Arc<Port>, to: mpsc::Sender<(Path, Vec<u8>)>) {
    while let Ok((bytes, remote)) = port.recv_from().await {
        if to.send((Path { socket, remote }, bytes)).await.is_err() {
            return;
        }
    }
}
