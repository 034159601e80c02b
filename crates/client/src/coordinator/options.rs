//! The options of a coordinator.

use std::{sync::Arc, time::Duration};

use super::Coordinator;
use super::ice::{IceServers, IceUrl, InvalidIceUrl, TurnServer};
use super::plan::Method;
use crate::HubUrl;

/// The network in which peers meet if no other is set: browsers do not join it.
pub const NETWORK: &str = "p2p";

/// The options.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) hub: Option<HubUrl>,
    pub(super) token: Option<String>,
    pub(super) network: String,
    pub(super) servers: IceServers,
    pub(super) local_port: u16,
    pub(super) keep_alive: Duration,
    pub(super) connection_timeout: Duration,
    pub(super) retries: u32,
    pub(super) detailed_logging: bool,
    pub(super) only: Vec<Method>,
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
}

/// Builds a [`Coordinator`].
#[derive(Clone, Debug)]
pub struct Builder {
    options: Options,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            options: Options {
                hub: None,
                token: None,
                network: NETWORK.to_owned(),
                servers: IceServers::default(),
                local_port: 0,
                keep_alive: Duration::from_secs(25),
                connection_timeout: Duration::from_secs(30),
                retries: 3,
                detailed_logging: false,
                only: Vec::new(),
                tls: None,
            },
        }
    }
}

impl Builder {
    /// The hub that carries signals, and that is asked for STUN and TURN servers.
    pub fn signaling(mut self, hub: HubUrl) -> Self {
        self.options.hub = Some(hub);
        self
    }

    /// The bearer token of the hub.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.options.token = Some(token.into());
        self
    }

    /// The network of the hub in which peers meet; [`NETWORK`] when none is named.
    pub fn network(mut self, network: impl Into<String>) -> Self {
        self.options.network = network.into();
        self
    }

    /// One more STUN server, as `stun:HOST:PORT`. Two on different hosts show the most about a NAT.
    pub fn stun(mut self, url: &str) -> Result<Self, InvalidIceUrl> {
        match url.parse()? {
            IceUrl::Stun(place) => self.options.servers.stun.push(place),
            IceUrl::Turn(..) => return Err(InvalidIceUrl::new(url)),
        }
        Ok(self)
    }

    /// One more TURN server, as `turn:HOST:PORT`, with `?transport=tcp`, or `turns:HOST:PORT`.
    pub fn turn(
        mut self,
        url: &str,
        username: impl Into<String>,
        credential: impl Into<String>,
    ) -> Result<Self, InvalidIceUrl> {
        let IceUrl::Turn(place, transport) = url.parse()? else {
            return Err(InvalidIceUrl::new(url));
        };
        self.options.servers.merge(IceServers {
            stun: Vec::new(),
            turn: vec![TurnServer {
                place,
                transport,
                username: username.into(),
                credential: credential.into(),
            }],
        });
        Ok(self)
    }

    /// The local port of UDP sockets, for firewalls that let one in; any port when it is 0 or in use.
    pub fn local_port(mut self, port: u16) -> Self {
        self.options.local_port = port;
        self
    }

    /// The time between two keep-alives of an idle connection: 25 seconds, which is less than NATs remember.
    pub fn keep_alive(mut self, every: Duration) -> Self {
        self.options.keep_alive = every;
        self
    }

    /// The longest time for an attempt, all ways together: 30 seconds.
    pub fn connection_timeout(mut self, limit: Duration) -> Self {
        self.options.connection_timeout = limit;
        self
    }

    /// How often a hub that cannot be reached is dialled again, and a peer that does not answer is asked again: three
    /// times.
    pub fn retries(mut self, retries: u32) -> Self {
        self.options.retries = retries;
        self
    }

    /// Whether each step of an attempt is reported as [`Event::Step`](super::Event::Step).
    pub fn detailed_logging(mut self, detailed: bool) -> Self {
        self.options.detailed_logging = detailed;
        self
    }

    /// Tries only these ways, in connections that this end asks for: [`Method::Relay`] hides its address from peers.
    /// All ways if this is empty.
    pub fn only(mut self, methods: &[Method]) -> Self {
        self.options.only = methods.to_vec();
        self
    }

    /// The TLS configuration for hubs and TURN servers; the system's root certificates if it is not set.
    pub fn tls(mut self, config: Arc<rustls::ClientConfig>) -> Self {
        self.options.tls = Some(config);
        self
    }

    /// The coordinator. Nothing is sent yet.
    pub fn build(self) -> Coordinator {
        Coordinator::new(self.options)
    }
}
