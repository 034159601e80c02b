//! Connects two peers, whatever NATs are between them. The caller gets a connected datagram socket, or a stream.
//!
//! A [`Coordinator`] detects its NAT ([`Coordinator::nat_info`]), exchanges addresses with the other end through a hub,
//! and tries the ways that their NATs allow: directly, UDP hole punching, birthday probing, TCP simultaneous open, and
//! at last a TURN relay. Without a hub it detects the NAT with any STUN server, and uses any two queues instead of
//! signals ([`Coordinator::register_with`]).
//!
//! ```no_run
//! use hubmesh_client::coordinator::{Channel, Coordinator};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let coordinator = Coordinator::builder().signaling("wss://hub.example.org".parse()?).build();
//! coordinator.initialize().await?;
//! let mut connected = coordinator.connect_to_peer("1f0e…").await?;
//! println!("{} in {:?}", connected.method, connected.took);
//! if let Channel::Datagram(socket) = &mut connected.channel {
//!     socket.send(b"hello").await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The example `two_ends` has both ends. The decisions are pure, and tested in virtual time: the type of a NAT
//! (`nat_type`), the plan (`plan`), which addresses are worth trying (`candidates`), and a round of punching (`punch`);
//! sockets are separate. Both ends must trust the hub: it carries the secrets by which they recognise each other's
//! packets. They need not trust each other: docs/nat.md says what one can make the other do, and its bounds.
//!
//! Not done: two address families in one attempt (that of the first STUN server is used), mapping protocols of routers
//! (PCP, UPnP), and encryption of what the caller sends.

mod again;
mod attempt;
mod base;
mod candidates;
mod datagram;
mod detect;
mod failure;
mod gather;
mod hub_signaling;
mod ice;
mod ice_request;
mod lingering;
mod link;
mod meet;
mod nat_type;
mod options;
mod own;
mod packet;
mod plan;
mod port;
mod probe;
mod progress;
mod punch;
mod registration;
mod relay;
mod relays;
mod signal;
mod stats;
mod stun;
mod tcp;
mod tls;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::Stream;
use serde_json::Value;
use thiserror::Error;
use tokio::sync::{broadcast, mpsc};

pub use attempt::Channel;
pub use datagram::Datagram;
pub use detect::{Finding, NatInfo};
pub use failure::{ConnectFailure, Tried};
pub use ice::{IceServers, IceUrl, InvalidIceUrl, Place, Transport, TurnServer};
pub use ice_request::IceServersError;
pub use link::{Incoming, Outgoing, Signaling};
pub use nat_type::{NatType, Observations};
pub use options::{Builder, NETWORK};
pub use plan::{End, Method, Recommendation, Side, Step, plan, punches, recommend};
pub use progress::Event;
pub use stats::{Health, Stats};

use crate::{ConnectError, ConnectOptions, PeerId};
use base::Base;
use options::Options;
use registration::Registration;

/// The most connections of others that wait for [`Coordinator::accept`], or are being made; more are refused.
const ACCEPTED: usize = 64;
/// How long [`Coordinator::closed`] waits.
const FAREWELL: Duration = Duration::from_secs(3);

/// A connection to a peer.
#[derive(Debug)]
pub struct Connected {
    /// The peer at the other end.
    pub peer: String,
    /// The way by which it was made.
    pub method: Method,
    /// The way in words, with the transport of a relay.
    pub way: String,
    /// The address at which the peer is reached.
    pub remote: SocketAddr,
    /// The time from the start of the attempt to the connection.
    pub took: Duration,
    /// The ways that were tried before and failed.
    pub tried: Vec<Tried>,
    /// The metadata from the end that asked.
    pub metadata: Option<Value>,
    /// The connection itself. While it exists it counts as active.
    pub channel: Channel,
    #[expect(dead_code, reason = "it counts by being there")]
    active: stats::Active,
}

/// Why a coordinator cannot carry out a request.
#[derive(Debug, Error)]
pub enum Error {
    /// The hub did not name its STUN and TURN servers.
    #[error(transparent)]
    IceServers(#[from] IceServersError),
    /// There was no connection to the hub.
    #[error(transparent)]
    Hub(#[from] ConnectError),
    /// No hub was named when the coordinator was built.
    #[error(
        "there is no hub: name one with `signaling`, or bring queues of your own with `register_with`"
    )]
    NoHub,
    /// The id is not valid.
    #[error(transparent)]
    Id(#[from] crate::InvalidPeerId),
    /// It has been shut down.
    #[error("the coordinator has been shut down")]
    ShutDown,
    /// The servers and the NAT were not detected in time.
    #[error("the network was not found out within {limit:?}")]
    TooLong {
        /// How long it was tried.
        limit: Duration,
    },
    /// The metadata is too long.
    #[error("metadata is longer than {limit} bytes")]
    Metadata {
        /// Its bytes, as JSON.
        limit: usize,
    },
    /// The peer was not reached.
    #[error(transparent)]
    Connect(#[from] ConnectFailure),
}

/// Connects peers. A clone is another handle to the same coordinator.
#[derive(Clone)]
pub struct Coordinator {
    inner: Arc<Inner>,
}

struct Inner {
    base: Arc<Base>,
    state: Mutex<State>,
    waiting: tokio::sync::Mutex<mpsc::Receiver<Connected>>,
}

struct State {
    peers: HashMap<String, Arc<Registration>>,
    /// The queue for connections of other peers; `None` after the end.
    accepted: Option<mpsc::Sender<Connected>>,
}

impl Coordinator {
    /// A builder, to set options.
    pub fn builder() -> Builder {
        Builder::default()
    }

    fn new(options: Options) -> Self {
        let (accepted, waiting) = mpsc::channel(ACCEPTED);
        let state = State {
            peers: HashMap::new(),
            accepted: Some(accepted),
        };
        Self {
            inner: Arc::new(Inner {
                base: Arc::new(Base::new(options)),
                state: Mutex::new(state),
                waiting: tokio::sync::Mutex::new(waiting),
            }),
        }
    }

    /// Asks the hub for its STUN and TURN servers, if there is one, and detects the NAT.
    pub async fn initialize(&self) -> Result<NatInfo, Error> {
        self.look(false).await
    }

    /// Asks the hub for its servers and detects the NAT again: networks change.
    pub async fn nat_info(&self) -> Result<NatInfo, Error> {
        self.look(true).await
    }

    /// The NAT, as it was detected last; `None` before the first time.
    pub fn last_nat_info(&self) -> Option<NatInfo> {
        self.base()
            .environment()
            .map(|environment| environment.nat.clone())
    }

    async fn look(&self, anew: bool) -> Result<NatInfo, Error> {
        if self.state().accepted.is_none() {
            return Err(Error::ShutDown);
        }
        let environment = self.base().look(&base::nobody(), anew).await?;
        Ok(environment.nat.clone())
    }

    /// The events from now on. A slow listener misses the oldest events.
    pub fn events(&self) -> impl Stream<Item = Event> + Send + Unpin + 'static {
        let receiver = self.base().events.subscribe();
        Box::pin(futures::stream::unfold(receiver, async |mut receiver| {
            loop {
                match receiver.recv().await {
                    Ok(event) => return Some((event, receiver)),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        }))
    }

    /// Connects to the hub as this peer, which others can then ask for connections: see [`Self::accept`].
    pub async fn register_peer(&self, id: &PeerId) -> Result<(), Error> {
        let options = &self.base().options;
        let hub = options.hub.clone().ok_or(Error::NoHub)?;
        self.base().look(id.as_str(), false).await?;
        let connect = ConnectOptions {
            id: id.clone(),
            token: options.token.clone(),
            tls: options.tls.clone(),
            ..ConnectOptions::new(hub)
        };
        let network = options.network.clone();
        let lingering = &self.base().shared.lingering;
        let signaling = hub_signaling::open(connect, network, options.retries, lingering).await?;
        self.register_with(id.as_str(), signaling)
    }

    /// Registers a peer whose signals the caller carries. Has to be called within a tokio runtime.
    pub fn register_with(&self, id: &str, signaling: Signaling) -> Result<(), Error> {
        {
            let mut state = self.state();
            let accepted = state.accepted.clone().ok_or(Error::ShutDown)?;
            let base = Arc::clone(self.base());
            let registration = Registration::new(id, base, accepted, signaling);
            if let Some(old) = state.peers.insert(id.to_owned(), registration) {
                old.close();
            }
        }
        self.base()
            .tell(Event::PeerRegistered { id: id.to_owned() });
        Ok(())
    }

    /// Removes a peer: no other can ask it for connections any more. Its connections stay; those that others asked for
    /// and that are not made yet are given up.
    pub fn unregister_peer(&self, id: &str) -> bool {
        let peer = self.state().peers.remove(id);
        if let Some(peer) = &peer {
            peer.close();
        }
        peer.is_some()
    }

    /// Connects to a peer. A peer of this coordinator asks for the connection; if there is none, one with a random id
    /// is registered.
    pub async fn connect_to_peer(&self, peer: &str) -> Result<Connected, Error> {
        self.connect_with(peer, None).await
    }

    /// Connects to a peer, and sends the other end metadata: up to 4096 bytes of JSON.
    pub async fn connect_with(
        &self,
        peer: &str,
        metadata: Option<Value>,
    ) -> Result<Connected, Error> {
        if metadata.as_ref().is_some_and(|data| !signal::fits(data)) {
            let limit = signal::LONGEST_METADATA;
            return Err(Error::Metadata { limit });
        }
        let registration = self.some_peer().await?;
        let base = self.base();
        base.counters.begin();
        let made = registration.connect(peer, metadata).await;
        base.settle(peer, made).map_err(Error::from)
    }

    /// The next connection that another peer asked for; `None` after the end. Until this has been called once, peers
    /// that ask are refused. Cancel-safe.
    pub async fn accept(&self) -> Option<Connected> {
        self.base().has_accepted.send_replace(true);
        self.inner.waiting.lock().await.recv().await
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        let registered = self.state().peers.len();
        self.base().counters.stats(registered)
    }

    /// Which connections to expect from here, according to the detected NAT.
    pub fn recommended_strategy(&self) -> Recommendation {
        let nothing = End {
            possible: Vec::new(),
            udp_blocked: false,
            public: None,
            relay: !self.base().options.servers.turn.is_empty(),
        };
        let environment = self.base().environment();
        recommend(&environment.map_or(nothing, |environment| environment.end()))
    }

    /// Whether connections can be made: whether servers answer, and signals are carried.
    pub async fn health_check(&self) -> Health {
        let found = self.nat_info().await;
        let state = self.state();
        let carried = state.peers.values().filter(|peer| peer.is_alive()).count();
        Health::of(found, carried, state.peers.len(), state.accepted.is_none())
    }

    /// Removes all peers; no connection can be asked for or accepted any more. Existing connections stay, and those
    /// that others asked for and that are not made yet are given up.
    pub fn shutdown(&self) {
        let peers = {
            let mut state = self.state();
            state.accepted = None;
            std::mem::take(&mut state.peers)
        };
        peers.values().for_each(|peer| peer.close());
        self.base().tell(Event::Shutdown);
    }

    /// Waits until hubs and TURN servers have been told about everything that is over: removed peers, relays of dropped
    /// connections. For a program that is about to exit, after [`Self::shutdown`]; three seconds at most.
    pub async fn closed(&self) {
        self.base().shared.lingering.gone(FAREWELL).await;
    }

    fn base(&self) -> &Arc<Base> {
        &self.inner.base
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done under it.
        let poisoned = PoisonError::into_inner;
        self.inner.state.lock().unwrap_or_else(poisoned)
    }

    /// A peer of this process that can ask for connections.
    async fn some_peer(&self) -> Result<Arc<Registration>, Error> {
        let some = |state: &State| {
            let mut alive = state.peers.values().filter(|peer| peer.is_alive());
            alive.next().map(Arc::clone)
        };
        if let Some(peer) = some(&self.state()) {
            return Ok(peer);
        }
        self.register_peer(&PeerId::random()).await?;
        some(&self.state()).ok_or(Error::ShutDown)
    }
}

#[cfg(test)]
mod tests;
