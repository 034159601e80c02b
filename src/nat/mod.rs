//! This hub's own STUN and TURN: the sockets around `hubmesh-turn`, on a thread of their own.
//!
//! [`Nat::bind`] opens every port or none, [`Bound::start`] serves them until [`Nat::stop`]. What is relayed takes no time
//! of the threads that serve peers, and needs no lock: the server, its sockets and its connections belong to one thread
//! (`engine`). It meets the rest of the hub in three things: counters, the certificate, and [`OwnServers`], which
//! `/ice-servers` names. Knows nothing of sessions and of the mesh.

mod addresses;
mod engine;
mod ports;
mod streams;
mod udp;

use std::io;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hubmesh_turn::Counters;
use tokio::runtime::Builder;
use tokio::sync::{oneshot, watch};
use tokio::task::LocalSet;
use tokio::time::timeout;

use crate::auth::Secret;
use crate::config::Config;
use crate::http::Certificates;

use addresses::Addresses;
pub use addresses::NoAddress;
use engine::Engine;
use ports::Ports;
pub use ports::{Port, PortError};

/// The STUN and TURN servers that a hub cannot start. Nothing is bound.
#[derive(Debug, thiserror::Error)]
pub enum NatError {
    /// A port cannot be opened.
    #[error(transparent)]
    Port(#[from] PortError),
    /// It is not known where relays are reached.
    #[error(transparent)]
    Address(#[from] NoAddress),
    /// The system refuses a thread.
    #[error("cannot start the thread of STUN and TURN: {0}")]
    Thread(io::Error),
}

/// How long the thread may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// What clients are told of this hub's own servers.
#[derive(Clone, Debug)]
pub struct OwnServers {
    /// `stun:` addresses.
    pub stun: Vec<String>,
    /// `turn:` and `turns:` addresses.
    pub turn: Vec<String>,
    /// What credentials for them are made with.
    pub secret: Secret,
    /// As many relays as there may be.
    pub most: usize,
    /// What they count.
    pub counters: Arc<Counters>,
}

impl OwnServers {
    /// Whether there is no place for one more relay.
    pub fn is_full(&self) -> bool {
        self.counters.open() >= self.most as u64
    }
}

/// Says that Linux hands ports of relays out to others too, who then have them when a relay wants one.
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

/// Ports that are open, and nobody reads yet.
pub struct Bound {
    ports: Ports,
    addresses: Addresses,
}

/// What the thread is told.
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
    /// Opens what the configuration asks for, at the addresses that the hub listens on; `None` if it asks for nothing.
    pub fn bind(config: &Config, listening: &[IpAddr]) -> Result<Option<Bound>, NatError> {
        if config.nat.stun.is_none() && config.nat.turn.is_none() {
            return Ok(None);
        }
        if let Some(turn) = &config.nat.turn {
            warn_of_shared_ports(&turn.relay_ports);
        }
        let addresses = Addresses::find(&config.nat, listening)?;
        let ports = Ports::open(&config.nat, &addresses.listening)?;
        Ok(Some(Bound { ports, addresses }))
    }

    /// What clients are told.
    pub fn own(&self) -> &OwnServers {
        &self.own
    }

    /// No new relays from now on, and none is refreshed.
    pub fn drain(&self) {
        self.orders.send_replace(Order::Drain);
    }

    /// Ends all relays, and the thread.
    pub async fn stop(mut self) {
        self.orders.send_replace(Order::Stop);
        // It ends in any case, told or not; a hub that ends does not wait for one that hangs.
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
    ) -> Result<Nat, NatError> {
        let secret = config.nat.secret.clone();
        let secret = secret.unwrap_or_else(|| Secret::new(hex::encode(rand::random::<[u8; 32]>())));
        let server = self.addresses.server(&config.nat, &self.ports, &secret);
        let own = OwnServers {
            stun: self.addresses.stun_urls(&self.ports),
            turn: self.addresses.turn_urls(&self.ports),
            secret,
            most: config.nat.limits.allocations,
            counters: Arc::clone(server.counters()),
        };
        let (orders, heard) = watch::channel(Order::Serve);
        let (ends, ended) = oneshot::channel();
        let config = Arc::clone(config);
        let serve = move || {
            let runtime = match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(why) => return tracing::error!(%why, "STUN and TURN are not served"),
            };
            let local = LocalSet::new();
            let Bound { ports, addresses } = self;
            let engine = Engine::new(server, addresses.relay_hosts(), &config, certificates);
            runtime.block_on(local.run_until(engine::serve(engine, ports, heard)));
            // Whoever waits may have given up.
            let _ = ends.send(());
        };
        let thread = thread::Builder::new().name("turn".into());
        thread.spawn(serve).map_err(NatError::Thread)?;
        Ok(Nat { orders, ended, own })
    }
}
