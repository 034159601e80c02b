//! What every mode works with: the servers, the dialect, the processes watched, and the progress shown.
//!
//! Owns the making of peers: every run has networks of its own, so that runs against one hub do not meet. Peers of even
//! number go to the first hub, those of odd number to the second, where there are two.

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use hubmesh_client::PeerId;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::connection::{Connection, Failure, within};
use crate::dialect::{Dialect, Event, Persona};
use crate::process::Watched;
use crate::target::Target;

/// How many connections are being opened at a time.
const OPENING: usize = 64;
/// The longest that peers may take to learn of each other.
const JOIN_LIMIT: Duration = Duration::from_secs(60);

pub struct Lab {
    pub dialect: Dialect,
    pub targets: Vec<Target>,
    pub token: Option<String>,
    pub watched: Watched,
    pub quiet: bool,
    run: String,
    made: Cell<usize>,
}

/// An open connection and whose it is.
pub struct Peer {
    pub id: PeerId,
    pub connection: Connection,
}

impl Lab {
    pub fn new(
        dialect: Dialect,
        targets: Vec<Target>,
        token: Option<String>,
        watched: Watched,
    ) -> Self {
        Self {
            dialect,
            targets,
            token,
            watched,
            quiet: false,
            run: hex::encode(rand::random::<[u8; 4]>()),
            made: Cell::new(0),
        }
    }

    /// The servers, for titles.
    pub fn hubs(&self) -> String {
        let hubs: Vec<String> = self
            .targets
            .iter()
            .map(|target| target.hub.to_string())
            .collect();
        hubs.join(" and ")
    }

    /// Opens a peer of network number `network` on the hub of `side`: 0 for the first, 1 for the other, if any.
    pub async fn open(&self, side: usize, network: usize) -> Result<Peer, Failure> {
        let target = self
            .targets
            .get(side % self.targets.len().max(1))
            .ok_or_else(|| Failure::Other("no hub to aim at".to_owned()))?;
        let id = PeerId::random();
        let persona = Persona {
            id: id.clone(),
            network: format!("load-{}-{network}", self.run),
            hub: target.hub.clone(),
            token: self.token.clone(),
        };
        let index = self.made.replace(self.made.get() + 1);
        let connection = Connection::open(target, self.dialect, persona, index).await?;
        Ok(Peer { id, connection })
    }

    /// Opens `count` peers, `per_network` to a network, on the hubs in turn.
    pub async fn open_many(&self, count: usize, per_network: usize) -> Result<Vec<Peer>, Failure> {
        let bar = self.progress("connecting", count as u64);
        // The peers that are left over join the last network, so that no peer is alone.
        let networks = (count / per_network).max(1);
        let opening = stream::iter(0..count).map(|index| {
            let bar = bar.clone();
            async move {
                let peer = self
                    .open(index % 2, (index / per_network).min(networks - 1))
                    .await;
                bar.inc(1);
                peer
            }
        });
        let peers = opening.buffered(OPENING).try_collect().await;
        bar.finish_and_clear();
        peers
    }

    /// Lets all `peers` join and waits until each has been told of another peer, or that it has joined, unless it is in
    /// the network since it is open.
    pub async fn join_all(&self, peers: &mut [Peer]) -> Result<(), Failure> {
        let bar = self.progress("joining", peers.len() as u64);
        let joining = stream::iter(peers.iter_mut()).map(|peer| {
            let bar = bar.clone();
            async move {
                peer.connection.join();
                peer.connection.flush().await?;
                if !self.dialect.joins_by_opening() {
                    peer.connection.wait_for(is_joined).await?;
                }
                peer.connection.rest_now();
                bar.inc(1);
                Ok::<(), Failure>(())
            }
        });
        let all = joining.buffer_unordered(usize::MAX).try_collect::<()>();
        let joined = within(JOIN_LIMIT, "for peers to join", all).await;
        bar.finish_and_clear();
        joined
    }

    /// A bar on standard error; invisible where that is no terminal.
    pub fn progress(&self, doing: &'static str, length: u64) -> ProgressBar {
        let shown = !self.quiet && std::io::stderr().is_terminal();
        let target = if shown {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(length), target).with_message(doing);
        let style = ProgressStyle::with_template("{msg:<12} {wide_bar} {pos}/{len} {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar
    }

    /// Lets `duration` pass, with a bar.
    pub async fn pass(&self, doing: &'static str, duration: Duration) {
        const STEP: Duration = Duration::from_millis(250);
        let bar = self.progress(
            doing,
            u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        );
        let end = tokio::time::Instant::now() + duration;
        loop {
            let left = end.saturating_duration_since(tokio::time::Instant::now());
            if left.is_zero() {
                break;
            }
            tokio::time::sleep(left.min(STEP)).await;
            bar.inc(STEP.as_millis() as u64);
        }
        bar.finish_and_clear();
    }
}

/// Whether `event` says that a peer is among others now.
pub fn is_joined(event: &Event) -> bool {
    matches!(event, Event::Joined | Event::Seen(_))
}
