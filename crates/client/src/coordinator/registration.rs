//! One peer of this process: passes signals to the attempts to which they belong, and answers requests of other peers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::Connected;
use super::attempt::{self, Accepted, Attempt, Reached};
use super::base::{Base, Made};
use super::datagram::{self, Life};
use super::failure::{ConnectFailure, Tries};
use super::gather::Environment;
use super::link::{Incoming, Link, Lost, Outgoing, Signaling, Told};
use super::plan::{End, Side};
use super::progress::Event;
use super::signal::{self, Body, Message};

/// The number of messages of one attempt that wait.
const QUEUE: usize = 64;
/// The most attempts of others at once; more are refused. Each has sockets open for some seconds.
const MOST_ATTEMPTS: usize = 16;
/// The most of these from one peer.
const MOST_OF_ONE: usize = 2;
/// How long after registering a program has to accept before peers that ask are refused.
const ACCEPTS_SOON: Duration = Duration::from_secs(1);

/// The peer.
pub(super) struct Registration {
    id: String,
    base: Arc<Base>,
    accepted: mpsc::Sender<Connected>,
    outgoing: mpsc::Sender<Outgoing>,
    attempts: Arc<Attempts>,
    is_closed: watch::Sender<bool>,
}

/// The queues of the attempts.
#[derive(Default)]
struct Attempts(Mutex<HashMap<Key, Going>>);

/// The other end, and the name of the attempt: its name or ours.
type Key = (String, String);

/// A running attempt.
struct Going {
    inbox: mpsc::Sender<Told>,
    side: Side,
}

impl Attempts {
    fn all(&self) -> MutexGuard<'_, HashMap<Key, Going>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A slot for an attempt; it is released when the guard is dropped.
    fn open(
        self: &Arc<Self>,
        peer: &str,
        attempt: &str,
        side: Side,
    ) -> (Place, mpsc::Receiver<Told>) {
        let (sender, inbox) = mpsc::channel(QUEUE);
        let key = (peer.to_owned(), attempt.to_owned());
        let going = Going {
            inbox: sender,
            side,
        };
        self.all().insert(key.clone(), going);
        let attempts = Arc::clone(self);
        (Place { attempts, key }, inbox)
    }

    /// Why one more attempt of this peer is refused, if it is. Own attempts use no slots of others.
    fn full(&self, peer: &str) -> Option<String> {
        let all = self.all();
        let asked = all.iter().filter(|(_, going)| going.side == Side::Asked);
        let (mut total, mut of_peer) = (0, 0);
        for ((from, _), _) in asked {
            total += 1;
            of_peer += usize::from(from == peer);
        }
        if of_peer >= MOST_OF_ONE {
            return Some(format!("{MOST_OF_ONE} attempts of this peer go on already"));
        }
        let full = || format!("it has {MOST_ATTEMPTS} attempts at once already");
        (total >= MOST_ATTEMPTS).then(full)
    }
}

struct Place {
    attempts: Arc<Attempts>,
    key: Key,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.attempts.all().remove(&self.key);
    }
}

impl Registration {
    pub(super) fn new(
        id: &str,
        base: Arc<Base>,
        accepted: mpsc::Sender<Connected>,
        signaling: Signaling,
    ) -> Arc<Self> {
        let Signaling { outgoing, incoming } = signaling;
        let registration = Arc::new(Self {
            id: id.to_owned(),
            base,
            accepted,
            outgoing,
            attempts: Arc::default(),
            is_closed: watch::Sender::new(false),
        });
        let gone = registration.is_closed.subscribe();
        tokio::spawn(read(Arc::downgrade(&registration), incoming, gone));
        registration
    }

    /// Whether signals are still carried.
    pub(super) fn is_alive(&self) -> bool {
        !self.outgoing.is_closed()
    }

    /// Accepts no new attempts of others, and gives up the running ones.
    pub(super) fn close(&self) {
        self.is_closed.send_replace(true);
    }

    /// Asks a peer for a connection and tries the ways to it.
    pub(super) async fn connect(
        &self,
        peer: &str,
        metadata: Option<Value>,
    ) -> Result<Made, ConnectFailure> {
        let progress = self.base.progress(peer);
        let id = hex::encode(rand::random::<[u8; 8]>());
        let (_place, inbox) = self.attempts.open(peer, &id, Side::Asking);
        let mut link = Link::new(peer, &id, self.outgoing.clone(), inbox);
        let took = progress.clone();
        let told = metadata.clone();
        let tried = Tries::default();
        let leading = async {
            let tried = tried.clone();
            let environment = self.look(peer, &tried).await?;
            let (asking, own) = (rand::random(), environment.end());
            let options = &self.base.options;
            let keep_alive = options.keep_alive;
            let body = Body::Ask {
                nonce: asking,
                end: own.clone(),
                keep_alive_ms: datagram::milliseconds(keep_alive),
                metadata: told,
            };
            // The ways need time, too.
            let patience = (options.retries + 1, options.connection_timeout / 2);
            tried.begin("waited for its answer");
            let Accepted {
                nonce: asked,
                end: other,
                keep_alive_ms,
            } = attempt::ask(&mut link, body, patience, &progress).await?;
            progress.step(|| format!("it answers: {}", in_words(&other)));
            let attempt = Attempt {
                environment,
                link,
                side: Side::Asking,
                asking,
                asked,
                other,
                life: Life::new(keep_alive, keep_alive_ms),
                progress,
                tried,
            };
            attempt.lead(&own, &options.only).await
        };
        let reached = self.in_time(peer, &tried, leading).await?;
        Ok(Made {
            reached,
            took: took.took(),
            metadata,
        })
    }

    async fn look(&self, peer: &str, tried: &Tries) -> Result<Arc<Environment>, ConnectFailure> {
        tried.begin("looked at the network");
        let environment = self.base.look(&self.id, false).await;
        environment.map_err(|error| ConnectFailure::Signaling {
            peer: peer.to_owned(),
            reason: error.to_string(),
        })
    }

    /// Ends an attempt when its time is over.
    async fn in_time(
        &self,
        peer: &str,
        tried: &Tries,
        attempt: impl Future<Output = Result<Reached, ConnectFailure>>,
    ) -> Result<Reached, ConnectFailure> {
        let limit = self.base.options.connection_timeout;
        let reached = timeout(limit, attempt).await;
        reached.unwrap_or_else(|_| Err(tried.timed_out(peer, limit)))
    }

    /// Answers a peer that asks, unless the program would not accept the connection.
    async fn answer(self: Arc<Self>, place: Place, inbox: mpsc::Receiver<Told>, ask: Asked) {
        let (peer, id) = place.key.clone();
        let mut has_accepted = self.base.has_accepted.subscribe();
        let accepting = timeout(ACCEPTS_SOON, has_accepted.wait_for(|has| *has)).await;
        // Held for the connection, so that there is space for it once it is made.
        let slot = self.accepted.clone().try_reserve_owned();
        let (Ok(Ok(_)), Ok(slot)) = (accepting, slot) else {
            let why = "its program accepts no connections, or too many wait to be accepted";
            return self.refuse(&peer, &id, why.to_owned());
        };
        self.base.counters.begin();
        let link = Link::new(&peer, &id, self.outgoing.clone(), inbox);
        let mut is_closed = self.is_closed.subscribe();
        let made = tokio::select! {
            made = self.follow(&peer, link, ask) => made,
            _ = is_closed.wait_for(|closed| *closed) => Err(ConnectFailure::Signaling {
                peer: peer.clone(),
                reason: "this end has been taken back".into(),
            }),
        };
        if let Ok(connected) = self.base.settle(&peer, made) {
            slot.send(connected);
        }
    }

    async fn follow(&self, peer: &str, link: Link, ask: Asked) -> Result<Made, ConnectFailure> {
        let progress = self.base.progress(peer);
        progress.step(|| format!("asks for a connection: {}", in_words(&ask.end)));
        let took = progress.clone();
        let tried = Tries::default();
        let following = async {
            let tried = tried.clone();
            let environment = self.look(peer, &tried).await?;
            let attempt = Attempt {
                environment,
                link,
                side: Side::Asked,
                asking: ask.nonce,
                asked: rand::random(),
                other: ask.end,
                life: Life::new(self.base.options.keep_alive, ask.keep_alive_ms),
                progress,
                tried,
            };
            attempt.follow().await
        };
        let reached = self.in_time(peer, &tried, following).await?;
        Ok(Made {
            reached,
            took: took.took(),
            metadata: ask.metadata,
        })
    }
}

/// The request of a peer that asks.
struct Asked {
    nonce: super::packet::Nonce,
    end: End,
    keep_alive_ms: u32,
    metadata: Option<Value>,
}

/// Passes messages on for as long as the peer is registered. When this ends, the carrier of signals sees that they are
/// not needed any more.
async fn read(
    peer: std::sync::Weak<Registration>,
    mut incoming: mpsc::Receiver<Incoming>,
    mut gone: watch::Receiver<bool>,
) {
    let gone = async { while gone.changed().await.is_ok() {} };
    tokio::pin!(gone);
    loop {
        let came = tokio::select! {
            came = incoming.recv() => came,
            () = &mut gone => return,
        };
        let Some(came) = came else { break };
        let Some(peer) = peer.upgrade() else { return };
        match came {
            Incoming::Signal { from, data } => {
                if let Some(message) = Message::read(&data) {
                    peer.take(&from, message);
                }
            }
            Incoming::Undeliverable { to, reason } => {
                let all = peer.attempts.all();
                let about = all.iter().filter(|((peer, _), _)| to.contains(peer));
                for (_, attempt) in about {
                    // An attempt whose queue is full already has its answer.
                    let _ = attempt
                        .inbox
                        .try_send(Err(Lost::Undeliverable(reason.clone())));
                }
            }
            Incoming::Closed { reason } => {
                for attempt in peer.attempts.all().values() {
                    let _ = attempt.inbox.try_send(Err(Lost::Closed(reason.clone())));
                }
                peer.lose(reason);
                return;
            }
        }
    }
    // The carrier has ended without an event.
    if let Some(peer) = peer.upgrade() {
        peer.lose("its signals are no longer carried".into());
    }
}

impl Registration {
    fn take(self: &Arc<Self>, from: &str, message: Message) {
        let known = {
            let key = (from.to_owned(), message.attempt.clone());
            let all = self.attempts.all();
            all.get(&key).map(|going| going.inbox.clone())
        };
        match (known, message.body) {
            (Some(attempt), body) => {
                // An attempt that is too slow misses the last message, and says so.
                let _ = attempt.try_send(Ok(body.without_metadata()));
            }
            (
                None,
                Body::Ask {
                    nonce,
                    end,
                    keep_alive_ms,
                    metadata,
                },
            ) => {
                let ask = Asked {
                    nonce,
                    end,
                    keep_alive_ms,
                    metadata,
                };
                self.asked(from, message.attempt, ask);
            }
            // A message of an attempt that is over.
            (None, _) => {}
        }
    }

    /// Starts to answer a peer that asks, or refuses.
    fn asked(self: &Arc<Self>, from: &str, attempt: String, ask: Asked) {
        if *self.is_closed.borrow() {
            return;
        }
        let is_long = ask
            .metadata
            .as_ref()
            .is_some_and(|data| !signal::fits(data));
        let long = || format!("metadata is longer than {} bytes", signal::LONGEST_METADATA);
        let refusal = is_long.then(long).or_else(|| self.attempts.full(from));
        if let Some(why) = refusal {
            return self.refuse(from, &attempt, why);
        }
        let (place, inbox) = self.attempts.open(from, &attempt, Side::Asked);
        tokio::spawn(Arc::clone(self).answer(place, inbox, ask));
    }

    /// Reports that signals are not carried any more, unless the program asked for that.
    fn lose(&self, reason: String) {
        if !*self.is_closed.borrow() {
            let id = self.id.clone();
            self.base.tell(Event::PeerLost { id, reason });
        }
    }

    /// Sent without waiting: peers that ask again and again must not delay this.
    fn refuse(&self, peer: &str, id: &str, reason: String) {
        let (_, inbox) = mpsc::channel(1);
        let link = Link::new(peer, id, self.outgoing.clone(), inbox);
        link.end_with(Body::Refuse { reason });
    }
}

fn in_words(end: &End) -> String {
    let kinds: Vec<_> = end.possible.iter().map(|kind| kind.as_str()).collect();
    match kinds.as_slice() {
        _ if end.udp_blocked => "its UDP is blocked".into(),
        [] => "nothing is known of its NAT".into(),
        kinds => format!("its NAT is {}", kinds.join(" or ")),
    }
}
