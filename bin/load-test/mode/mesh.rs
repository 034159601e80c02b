//! A mesh of live hubs: how long it takes to agree when many are killed at once, and when they are back.
//!
//! Starts the hubs itself, as processes in a chain of bootstraps, each told of the one before it; puts native peers on
//! them in turns; kills some at once (SIGKILL), evenly spread over the chain, and starts these again on their ports. What
//! a hub knows is what its `/health` says: how many other hubs it reaches, and how many peers the mesh has. A page is up
//! to 50 ms old, so times are right to a tenth of a second. Peers of killed hubs do not come back.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, future, stream};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval};

use super::idle::keep;
use crate::connection::{Failure, within};
use crate::dialect::Dialect;
use crate::lab::{Lab, Peer};
use crate::process::Watched;
use crate::report::Report;
use crate::server::{Server, free_port};
use crate::target::Target;

/// Peers in one network, spread over as many hubs.
const NETWORK: usize = 50;
/// How often hubs are asked what they know.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// How often a hub is started on another port, if another process took the free one.
const ATTEMPTS: usize = 3;

#[derive(Clone, Debug)]
pub struct Options {
    pub hub_binary: PathBuf,
    pub hubs: usize,
    pub peers: usize,
    /// How many are killed: half of the hubs at most.
    pub kill: usize,
    /// The longest that the hubs may take to agree.
    pub limit: Duration,
}

impl Options {
    /// Which hubs are killed: as far from each other as they can be.
    fn victims(&self) -> BTreeSet<usize> {
        let apart = |turn: usize| (2 * turn + 1) * self.hubs / (2 * self.kill.max(1));
        (0..self.kill).map(apart).collect()
    }
}

/// The hubs of the chain. One that was killed has no process.
struct Chain {
    options: Options,
    places: Vec<Place>,
}

struct Place {
    port: u16,
    hub: Option<Server>,
}

impl Chain {
    async fn start(options: &Options) -> Result<Self, Failure> {
        let mut chain = Chain {
            options: options.clone(),
            places: Vec::with_capacity(options.hubs),
        };
        for no in 0..options.hubs {
            let mut attempt = 1;
            let place = loop {
                let port = free_port()?;
                match chain.start_hub(no, port).await {
                    Ok(hub) => {
                        break Place {
                            port,
                            hub: Some(hub),
                        };
                    }
                    Err(failure) if attempt == ATTEMPTS => return Err(failure),
                    Err(_) => attempt += 1,
                }
            };
            chain.places.push(place);
        }
        Ok(chain)
    }

    async fn start_hub(&self, no: usize, port: u16) -> Result<Server, Failure> {
        let before = no.checked_sub(1).and_then(|before| self.places.get(before));
        let bootstrap = before.map(|place| place.port);
        Server::meshed_hub(&self.options.hub_binary, port, bootstrap).await
    }

    fn living(&self) -> impl Iterator<Item = &Server> {
        self.places.iter().filter_map(|place| place.hub.as_ref())
    }

    fn watched(&self) -> Watched {
        Watched::new(self.living().filter_map(Server::pid).collect())
    }

    /// Ends these hubs at one moment, as a machine's end would.
    async fn kill(&mut self, victims: &BTreeSet<usize>) -> Result<(), Failure> {
        let places = self.places.iter_mut().enumerate();
        let killed = places
            .filter(|(no, _)| victims.contains(no))
            .filter_map(|(_, place)| place.hub.take());
        let mut killed: Vec<Server> = killed.collect();
        for hub in &mut killed {
            hub.kill()?;
        }
        future::try_join_all(killed.iter_mut().map(Server::ended)).await?;
        Ok(())
    }

    async fn restart(&mut self) -> Result<(), Failure> {
        for no in 0..self.places.len() {
            let Some(place) = self.places.get(no).filter(|place| place.hub.is_none()) else {
                continue;
            };
            let hub = self.start_hub(no, place.port).await?;
            if let Some(place) = self.places.get_mut(no) {
                place.hub = Some(hub);
            }
        }
        Ok(())
    }

    /// How long it takes from now until each running hub reaches all others, and knows this many peers.
    async fn until_agreed(&self, peers: usize) -> Result<Duration, Failure> {
        let began = Instant::now();
        let others = self.living().count() - 1;
        let wanted = (others as u64, peers as u64);
        let asking = async {
            let mut ticks = interval(ASK_EVERY);
            loop {
                ticks.tick().await;
                let known = future::join_all(self.living().map(known)).await;
                if known.iter().all(|known| *known == Some(wanted)) {
                    return Ok(());
                }
            }
        };
        within(self.options.limit, "for all hubs to agree", asking).await?;
        Ok(began.elapsed())
    }
}

/// How many other hubs and how many peers a hub knows; `None` if it does not say.
async fn known(hub: &Server) -> Option<(u64, u64)> {
    let address = (hub.url.host(), hub.url.port());
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = "GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.ok()?;
    let (_, body) = reply.split_once("\r\n\r\n")?;
    let body: Value = serde_json::from_str(body).ok()?;
    Some((body["hubs"].as_u64()?, body["peers"].as_u64()?))
}

/// Peers on all hubs in turns.
async fn populate(chain: &Chain, options: &Options) -> Result<Vec<Peer>, Failure> {
    let mut targets = Vec::with_capacity(options.hubs);
    for hub in chain.living() {
        let target = Target::resolve(&hub.url, false).await;
        targets.push(target.map_err(|error| Failure::Other(error.to_string()))?);
    }
    let lab = Lab::new(Dialect::Pigeon, targets, None, chain.watched());
    let mut peers = Vec::with_capacity(options.peers);
    // One network after the other: a connection that is open and waits while thousands of others join would be closed.
    for first in (0..options.peers).step_by(NETWORK) {
        let opening = stream::iter(first..options.peers.min(first + NETWORK))
            .map(|index| lab.open(index, index / NETWORK));
        let mut network: Vec<Peer> = opening.buffered(NETWORK).try_collect().await?;
        lab.join_all(&mut network).await?;
        peers.append(&mut network);
    }
    Ok(peers)
}

pub async fn run(options: &Options) -> Result<Report, Failure> {
    let mut report = Report::new(format!(
        "mesh: {} hubs in a chain, {} peers, {} killed at once",
        options.hubs, options.peers, options.kill
    ));
    let mut chain = Chain::start(options).await?;
    let formed = chain.until_agreed(0).await?;
    let mut kept = keep(populate(&chain, options).await?);
    let spread = chain.until_agreed(options.peers).await?;
    let resident = chain.watched().sample()?.resident();

    let victims = options.victims();
    let gone = (0..options.peers).filter(|index| victims.contains(&(index % options.hubs)));
    let gone = gone.count();
    chain.kill(&victims).await?;
    let agreed = chain.until_agreed(options.peers - gone).await?;
    chain.restart().await?;
    let back = chain.until_agreed(options.peers - gone).await?;

    let mut broken = 0_usize;
    while kept.try_join_next().is_some() {
        broken += 1;
    }
    let mut seconds = |key: &str, label: &str, span: Duration| {
        report.figure(key, label, span.as_secs_f64(), "s");
    };
    seconds(
        "formed_s",
        "all hubs reach all after the last started",
        formed,
    );
    seconds(
        "spread_s",
        "all know all peers after the last joined",
        spread,
    );
    seconds("agreed_s", "the others agree after the kill", agreed);
    seconds("back_s", "all know all after the last is back", back);
    report.count("peers_gone", "peers of the killed hubs", gone as u64);
    let lost = broken.saturating_sub(gone) as u64;
    report.count("peers_lost", "peers of other hubs that were cut off", lost);
    let mib = resident as f64 / options.hubs as f64 / f64::from(1 << 20);
    report.figure(
        "resident_mib",
        "resident per hub, before the kill",
        mib,
        "MiB",
    );
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_killed_are_no_neighbours_in_the_chain() {
        let victims = |hubs, kill| {
            let options = Options {
                hub_binary: PathBuf::new(),
                hubs,
                peers: 0,
                kill,
                limit: Duration::ZERO,
            };
            Vec::from_iter(options.victims())
        };
        assert_eq!(victims(40, 10), [2, 6, 10, 14, 18, 22, 26, 30, 34, 38]);
        assert_eq!(victims(5, 1), [2]);
        assert_eq!(victims(5, 2), [1, 3]);
        assert_eq!(victims(4, 2), [1, 3]);
    }
}
