//! The state that the parts of a coordinator share: options, detected NAT, servers, counters, events.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep, timeout};

use super::attempt::Reached;
use super::detect::{self, NatInfo};
use super::failure::ConnectFailure;
use super::gather::{AttemptResources, Environment};
use super::ice::IceServers;
use super::options::Options;
use super::progress::{Event, Progress};
use super::stats::Counters;
use super::{Connected, Error, IceServersError, again, ice_request};
use crate::PeerId;

/// The number of events that wait for a listener; a slower listener misses the oldest.
const EVENTS: usize = 1024;
/// How long the servers of a hub are used: less than their credentials are valid.
const SERVERS_AGE: Duration = Duration::from_secs(60);
/// How long the detected NAT is assumed to be unchanged.
const NAT_AGE: Duration = Duration::from_secs(600);
/// The longest time for asking for servers and detecting the NAT, including the wait for another caller that does it.
const LOOK_LIMIT: Duration = Duration::from_secs(40);

pub(super) struct Base {
    pub(super) options: Options,
    pub(super) counters: Arc<Counters>,
    pub(super) events: broadcast::Sender<Event>,
    /// Whether [`Coordinator::accept`](super::Coordinator::accept) has ever been called.
    pub(super) has_accepted: watch::Sender<bool>,
    pub(super) shared: AttemptResources,
    found: Mutex<Option<Found>>,
    /// One caller detects at a time. The others wait, and use its result, unless they ask `anew`.
    looking: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Found {
    environment: Arc<Environment>,
    servers_at: Instant,
    nat_at: Instant,
}

/// A connection that was made.
pub(super) struct Made {
    pub(super) reached: Reached,
    pub(super) took: Duration,
    pub(super) metadata: Option<serde_json::Value>,
}

impl Base {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options,
            counters: Arc::default(),
            events: broadcast::channel(EVENTS).0,
            has_accepted: watch::Sender::new(false),
            shared: AttemptResources::new(),
            found: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn tell(&self, event: Event) {
        // There may be no listener.
        let _ = self.events.send(event);
    }

    pub(super) fn progress(&self, peer: &str) -> Progress {
        let events = self.options.detailed_logging.then(|| self.events.clone());
        Progress::new(events, peer)
    }

    /// The last result of detection, however old; `None` before the first.
    pub(super) fn environment(&self) -> Option<Arc<Environment>> {
        self.found().map(|found| found.environment)
    }

    fn found(&self) -> Option<Found> {
        let found = self.found.lock();
        found.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The servers and the NAT: the last results as long as they are recent, otherwise new ones. With `anew`, both are
    /// always new. `peer` is the id for which the hub makes the credentials of its TURN servers.
    pub(super) async fn look(&self, peer: &str, anew: bool) -> Result<Arc<Environment>, Error> {
        let looked = timeout(LOOK_LIMIT, self.look_around(peer, anew)).await;
        looked.unwrap_or(Err(Error::TooLong { limit: LOOK_LIMIT }))
    }

    async fn look_around(&self, peer: &str, anew: bool) -> Result<Arc<Environment>, Error> {
        let _looking = self.looking.lock().await;
        let known = self.found().filter(|_| !anew);
        let now = Instant::now();
        if let Some(found) = &known
            && now < found.servers_at + SERVERS_AGE
        {
            return Ok(Arc::clone(&found.environment));
        }
        let options = &self.options;
        let mut servers = options.servers.clone();
        servers.merge(self.named_servers(peer).await?);
        let old = known.filter(|found| now < found.nat_at + NAT_AGE);
        let (nat, nat_at) = match old {
            Some(found) => (found.environment.nat.clone(), found.nat_at),
            None => (self.detect(&servers).await, now),
        };
        let environment = Arc::new(Environment {
            nat,
            servers,
            local_port: options.local_port,
            tls: options.tls.clone(),
            shared: self.shared.clone(),
        });
        let found = Found {
            environment: Arc::clone(&environment),
            servers_at: now,
            nat_at,
        };
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        Ok(environment)
    }

    /// Asks the hub for its servers. A hub that cannot be reached, or has no space just now, is asked again, at most
    /// `options.retries` times.
    async fn named_servers(&self, peer: &str) -> Result<IceServers, IceServersError> {
        let options = &self.options;
        let Some(hub) = &options.hub else {
            return Ok(IceServers::default());
        };
        let mut retries = 0;
        loop {
            let (token, tls) = (options.token.as_deref(), options.tls.clone());
            match ice_request::ice_servers(hub, peer, token, tls).await {
                Err(error) if error.is_temporary() && retries < options.retries => {
                    retries += 1;
                    sleep(again::pause(retries)).await;
                }
                asked => return asked,
            }
        }
    }

    async fn detect(&self, servers: &IceServers) -> NatInfo {
        let (tls, lingering) = (self.options.tls.clone(), &self.shared.lingering);
        let nat = detect::detect(servers, tls, lingering).await;
        self.tell(Event::Initialized { nat: nat.clone() });
        nat
    }

    /// Counts and reports the result of an attempt.
    pub(super) fn settle(
        &self,
        peer: &str,
        made: Result<Made, ConnectFailure>,
    ) -> Result<Connected, ConnectFailure> {
        let peer = peer.to_owned();
        match made {
            Ok(Made {
                reached,
                took,
                metadata,
            }) => {
                let active = self.counters.succeed();
                let method = reached.method;
                let told = peer.clone();
                self.tell(Event::Connected {
                    peer: told,
                    method,
                    took,
                });
                Ok(Connected {
                    peer,
                    method,
                    way: reached.way,
                    remote: reached.remote,
                    took,
                    tried: reached.tried,
                    metadata,
                    channel: reached.channel,
                    active,
                })
            }
            Err(failure) => {
                self.counters.fail();
                let reason = failure.to_string();
                self.tell(Event::ConnectionFailed { peer, reason });
                Err(failure)
            }
        }
    }
}

/// An id for the credentials while no peer is registered.
pub(super) fn nobody() -> String {
    PeerId::random().to_string()
}
