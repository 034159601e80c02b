//! This hub's own STUN and TURN: the sockets around `hubmesh-turn`, on a thread of their own.
//!
//! [`Nat::bind`] opens every port or none, [`Bound::start`] serves them until [`Nat::stop`]. Relaying takes no time of
//! the threads that serve peers, and needs no lock: the server, its sockets and its connections belong to one thread
//! (`engine`, and `streams` for clients by TCP). It meets the rest of the hub in three things: counters, the
//! certificate, and [`OwnServers`], which `/ice-servers` names. Knows nothing of sessions and of the mesh.

mod addresses;
mod engine;
mod ports;
mod queue;
mod serve;
mod streams;
mod udp;

use std::io;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use hubmesh_turn::Counters;
use tokio::runtime::Builder;
use tokio::sync::{oneshot, watch};
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

use crate::auth::Secret;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::tls::Certificates;

pub use addresses::NoAddress;
use addresses::{Addresses, Machine};
use engine::Engine;
use ports::Ports;
pub use ports::{Port, PortError};
use serve::{Ended, serve};
use streams::Streams;

/// Why a hub cannot start its STUN and TURN servers. Nothing is bound.
#[derive(Debug, thiserror::Error)]
pub enum NatError {
    /// A port cannot be opened.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The address where relays are reached is not known.
    #[error(transparent)]
    Address(#[from] NoAddress),
    /// The machine does not tell which addresses are its own, which no relay may lead to.
    #[error("TURN_PORT: this machine does not tell which addresses it has: {0}")]
    Machine(io::Error),
    /// The system refuses a thread.
    #[error("cannot start the thread of STUN and TURN: {0}")]
    Thread(io::Error),
}

/// How long the thread may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(2);
/// How often a hub that drains looks whether there are still relays.
const DRAIN_LOOK: Duration = Duration::from_millis(50);

/// What clients are told of this hub's own servers.
#[derive(Clone, Debug)]
pub struct OwnServers {
    /// `stun:` addresses.
    pub stun: Vec<String>,
    /// `turn:` and `turns:` addresses.
    pub turn: Vec<String>,
    /// The secret that credentials for them are made with.
    pub secret: Secret,
    /// The most relays.
    pub most: usize,
    /// Their counters.
    pub counters: Arc<Counters>,
    /// Whether they are served.
    pub serving: Arc<AtomicBool>,
}

impl OwnServers {
    /// Whether they are served. If they are not any more, that was an error, which was logged.
    pub fn are_served(&self) -> bool {
        self.serving.load(Ordering::Relaxed)
    }

    /// The addresses that other hubs may give to their clients: none while this one is full.
    pub fn for_other_hubs(&self) -> Vec<String> {
        if !self.are_served() || self.is_full() {
            return Vec::new();
        }
        let stun = self.stun.iter().take(1);
        stun.chain(&self.turn).cloned().collect()
    }

    /// Whether there can be no more relays.
    pub fn is_full(&self) -> bool {
        self.counters.open() >= self.most as u64
    }
}

/// Warns that Linux gives ports of relays to other sockets too, so that a relay may not get one.
fn warn_of_shared_ports(relays: &RangeInclusive<u16>) {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let text = text.unwrap_or_default();
    let mut ends = text.split_whitespace().map(str::parse::<u16>);
    if let (Some(Ok(low)), Some(Ok(high))) = (ends.next(), ends.next())
        && low <= *relays.end()
        && high >= *relays.start()
    {
        tracing::warn!(
            low,
            high,
            "TURN_RELAY_PORTS overlaps the ports that this system hands out to others: relays find some of them taken"
        );
    }
}

/// Ports that are open, and not read yet.
pub struct Bound {
    ports: Ports,
    addresses: Addresses,
    machine: Option<Machine>,
}

/// An order to the thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    Serve,
    Drain,
    Stop,
}

/// The servers, at work. Dropping it stops them.
pub struct Nat {
    orders: watch::Sender<Order>,
    ended: oneshot::Receiver<()>,
    own: OwnServers,
}

impl Nat {
    /// Opens the ports that the configuration asks for, at the addresses that the hub listens on; `None` if it asks for
    /// none.
    pub fn bind(config: &Config, listening: &[IpAddr]) -> Result<Option<Bound>, NatError> {
        if config.nat.stun.is_none() && config.nat.turn.is_none() {
            return Ok(None);
        }
        if let Some(turn) = &config.nat.turn {
            warn_of_shared_ports(&turn.relay_ports);
        }
        let addresses = Addresses::find(&config.nat, listening)?;
        let machine = config.nat.turn.as_ref().map(|_| addresses.machine());
        let machine = machine.transpose().map_err(NatError::Machine)?;
        let ports = Ports::open(&config.nat, &addresses.listening)?;
        Ok(Some(Bound {
            ports,
            addresses,
            machine,
        }))
    }

    /// What clients are told.
    pub fn own(&self) -> &OwnServers {
        &self.own
    }

    /// No new relays from now on, and none is refreshed.
    pub fn drain(&self) {
        self.orders.send_replace(Order::Drain);
    }

    /// Returns when no relay is left, or none is served.
    pub async fn relays_gone(&self) {
        while self.own.are_served() && self.own.counters.open() > 0 {
            sleep(DRAIN_LOOK).await;
        }
    }

    /// Ends all relays, and the thread.
    pub async fn stop(mut self) {
        self.orders.send_replace(Order::Stop);
        // The thread ends in any case; a hub that stops does not wait for one that hangs.
        let _ = timeout(STOP_WITHIN, &mut self.ended).await;
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        self.orders.send_replace(Order::Stop);
    }
}

impl Bound {
    /// The addresses that are listened on, for the log.
    pub fn listening(&self) -> Vec<Port> {
        self.ports.all()
    }

    /// Serves, with TLS where there is a certificate and a port for it.
    pub fn start(
        self,
        config: &Arc<Config>,
        certificates: Option<Arc<Certificates>>,
        metrics: &Arc<Metrics>,
    ) -> Result<Nat, NatError> {
        let secret = config.nat.secret.clone();
        let secret = secret.unwrap_or_else(|| Secret::new(hex::encode(rand::random::<[u8; 32]>())));
        let (nat, ports) = (&config.nat, &self.ports);
        let server = self
            .addresses
            .server(nat, ports, &secret, self.machine.as_ref());
        let serving = Arc::new(AtomicBool::new(true));
        let own = OwnServers {
            stun: self.addresses.stun_urls(&self.ports),
            turn: self.addresses.turn_urls(&self.ports),
            secret,
            most: config.nat.limits.allocations,
            counters: Arc::clone(server.counters()),
            serving: Arc::clone(&serving),
        };
        let (orders, heard) = watch::channel(Order::Serve);
        let (ends, ended) = oneshot::channel();
        let ending = Ending {
            serving,
            orders: heard.clone(),
            _ends: ends,
        };
        let (config, metrics) = (Arc::clone(config), Arc::clone(metrics));
        let serve = move || {
            // The streams belong to this thread alone.
            let streams = Streams::new(&config, certificates, metrics);
            let Bound {
                ports,
                addresses,
                machine,
            } = self;
            let engine = Engine::new(server, addresses.relay_hosts(), machine);
            serve(engine, streams, ports, heard)
        };
        let thread = thread::Builder::new().name("turn".into());
        let run = move || run(ending, serve);
        thread.spawn(run).map_err(NatError::Thread)?;
        Ok(Nat { orders, ended, own })
    }
}

/// Serves on this thread until that ends.
fn run<S, F>(ending: Ending, serve: S)
where
    S: FnOnce() -> F,
    F: Future<Output = Result<(), Ended>>,
{
    let _ending = ending;
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => return tracing::error!(%why, "STUN and TURN have no runtime"),
    };
    let local = LocalSet::new();
    if let Err(why) = runtime.block_on(local.run_until(async { serve().await })) {
        tracing::error!(%why, "STUN and TURN have failed");
    }
}

/// Marks the servers as not served any more when dropped, also after a panic.
struct Ending {
    serving: Arc<AtomicBool>,
    orders: watch::Receiver<Order>,
    /// Gone with this.
    _ends: oneshot::Sender<()>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.serving.store(false, Ordering::Relaxed);
        if *self.orders.borrow() != Order::Stop {
            tracing::error!(
                "this hub serves no STUN and TURN any more, and /ice-servers names its own no longer: restart it"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether they are served after this has run, and whether a task that waits for the end is told.
    fn after<F>(order: Order, serve: impl FnOnce() -> F + Send + 'static) -> (bool, bool)
    where
        F: Future<Output = Result<(), Ended>>,
    {
        let serving = Arc::new(AtomicBool::new(true));
        let (_orders, heard) = watch::channel(order);
        let (ends, mut ended) = oneshot::channel();
        let ending = Ending {
            serving: Arc::clone(&serving),
            orders: heard,
            _ends: ends,
        };
        // That it panics is part of some.
        let _ = thread::spawn(move || run(ending, serve)).join();
        let told = ended.try_recv() == Err(oneshot::error::TryRecvError::Closed);
        (serving.load(Ordering::Relaxed), told)
    }

    #[test]
    fn the_hub_learns_that_nothing_is_served_however_the_thread_ends() {
        let gone = (false, true);
        assert_eq!(after(Order::Stop, || async { Ok(()) }), gone);
        assert_eq!(after(Order::Serve, || async { Err(Ended::Reader) }), gone);
        assert_eq!(
            after(Order::Serve, || async { panic!("as it is meant to") }),
            gone
        );
    }
}
