//! Idle peers: what a connected, announced and silent peer costs in resident memory.
//!
//! Peers are in networks of two or more, so that each has been announced to another. Memory is read before the first connection
//! and after the last announcement has settled; the peers then stay for a while, in which the server's CPU time is
//! what keeping them costs.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::connection::Failure;
use crate::lab::{Lab, Peer};
use crate::report::Report;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub peers: usize,
    /// How many are in one network.
    pub per_network: usize,
    pub hold: Duration,
}

pub async fn run(lab: &Lab, options: &Options) -> Result<Report, Failure> {
    let before = lab.watched.sample()?;
    let mut peers = lab.open_many(options.peers, options.per_network).await?;
    lab.join_all(&mut peers).await?;
    let settled = lab.watched.sample()?;
    let mut kept = keep(peers);
    let broken = tokio::select! {
        () = lab.pass("holding", options.hold) => None,
        ended = kept.join_next() => ended,
    };
    if let Some(Ok(failure)) = broken {
        return Err(failure);
    }
    let after = lab.watched.sample()?;

    let title = format!(
        "idle: {} announced peers, {} to a network, {} dialect, {}",
        options.peers,
        options.per_network,
        lab.dialect,
        lab.hubs()
    );
    let mut report = Report::new(title);
    report.count("peers", "idle announced peers", options.peers as u64);
    if !lab.watched.is_empty() {
        let grown = after.resident().saturating_sub(before.resident());
        let per_peer = grown as f64 / options.peers as f64;
        report.figure("bytes_per_peer", "resident bytes per peer", per_peer, "B");
        report.note("a server that has served peers before reuses their memory: aim at one fresh from its start");
    }
    report.servers(&after.since(&settled), 0, "peer");
    Ok(report)
}

/// Keeps `peers` connected, answering what the server asks, until one breaks or the set is dropped.
pub fn keep(peers: Vec<Peer>) -> JoinSet<Failure> {
    let mut kept = JoinSet::new();
    for mut peer in peers {
        kept.spawn_local(async move { peer.connection.idle().await });
    }
    kept
}
