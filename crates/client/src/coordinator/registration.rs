//! One peer of this process: hands what comes by way of signals to the attempts that it belongs to, and answers those of
//! others.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Connected;
use super::attempt::{self, Attempt, Reached, Tries};
use super::base::{Base, Made};
use super::failure::ConnectFailure;
use super::gather::Ground;
use super::link::{Incoming, Link, Lost, Outgoing, Signaling, Told};
use super::plan::{End, Side};
use super::progress::Event;
use super::signal::{Body, Message};

/// Messages of one attempt that wait.
const QUEUE: usize = 64;
/// Attempts at once; those of others beyond it are refused. Each may open 256 sockets for some seconds.
const MOST_ATTEMPTS: usize = 16;

/// The peer.
pub(super) struct Registration {
    id: String,
    base: Arc<Base>,
    accepted: mpsc::Sender<Connected>,
    outgoing: mpsc::Sender<Outgoing>,
    attempts: Arc<Attempts>,
    is_closed: AtomicBool,
}

/// Who is to be told what comes for which attempt.
#[derive(Default)]
struct Attempts(Mutex<HashMap<(String, String), mpsc::Sender<Told>>>);

impl Attempts {
    fn all(&self) -> MutexGuard<'_, HashMap<(String, String), mpsc::Sender<Told>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for an attempt; it is given back when the guard goes.
    fn open(self: &Arc<Self>, peer: &str, attempt: &str) -> (Place, mpsc::Receiver<Told>) {
        let (sender, inbox) = mpsc::channel(QUEUE);
        let key = (peer.to_owned(), attempt.to_owned());
        self.all().insert(key.clone(), sender);
        let attempts = Arc::clone(self);
        (Place { attempts, key }, inbox)
    }
}

struct Place {
    attempts: Arc<Attempts>,
    key: (String, String),
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
            is_closed: AtomicBool::new(false),
        });
        // It ends when whoever carries signals sees that nobody sends any.
        tokio::spawn(read(Arc::downgrade(&registration), incoming));
        registration
    }

    /// Whether signals are still carried.
    pub(super) fn is_alive(&self) -> bool {
        !self.outgoing.is_closed()
    }

    /// Takes no new attempts of others.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Relaxed);
    }

    /// Asks a peer for a connection and tries the ways to it.
    pub(super) async fn connect(
        &self,
        peer: &str,
        metadata: Option<Value>,
    ) -> Result<Made, ConnectFailure> {
        let progress = self.base.progress(peer);
        let id = hex::encode(rand::random::<[u8; 8]>());
        let (_place, inbox) = self.attempts.open(peer, &id);
        let mut link = Link::new(peer, &id, self.outgoing.clone(), inbox);
        let took = progress.clone();
        let told = metadata.clone();
        let leading = async |tried: Tries| {
            let ground = self.look(peer).await?;
            let (asking, own) = (rand::random(), ground.end());
            let body = Body::Ask {
                nonce: asking,
                end: own.clone(),
                metadata: told,
            };
            let options = &self.base.options;
            // The ways need time, too.
            let patience = (options.retries + 1, options.connection_timeout / 2);
            let (asked, other) = attempt::ask(&mut link, body, patience, &progress).await?;
            progress.step(|| format!("it answers: {}", in_words(&other)));
            let attempt = Attempt {
                ground,
                link,
                side: Side::Asking,
                asking,
                asked,
                keep_alive: options.keep_alive,
                progress,
                tried,
            };
            attempt.lead(&own, &other, &options.only).await
        };
        let reached = self.in_time(peer, leading).await?;
        Ok(Made {
            reached,
            took: took.took(),
            metadata,
        })
    }

    async fn look(&self, peer: &str) -> Result<Arc<Ground>, ConnectFailure> {
        let ground = self.base.look(&self.id, false).await;
        ground.map_err(|error| ConnectFailure::Signaling {
            peer: peer.to_owned(),
            reason: error.to_string(),
        })
    }

    /// Ends an attempt when its time is over.
    async fn in_time(
        &self,
        peer: &str,
        attempt: impl AsyncFnOnce(Tries) -> Result<Reached, ConnectFailure>,
    ) -> Result<Reached, ConnectFailure> {
        let limit = self.base.options.connection_timeout;
        let tried = Tries::default();
        let reached = timeout(limit, attempt(Arc::clone(&tried))).await;
        reached.unwrap_or_else(|_| {
            Err(ConnectFailure::TimedOut {
                peer: peer.to_owned(),
                limit,
                tried: attempt::so_far(&tried),
            })
        })
    }

    /// Answers one who asks.
    async fn answer(self: Arc<Self>, place: Place, inbox: mpsc::Receiver<Told>, ask: Asked) {
        let (peer, id) = place.key.clone();
        let progress = self.base.progress(&peer);
        progress.step(|| format!("asks for a connection: {}", in_words(&ask.end)));
        self.base.counters.begin();
        let link = Link::new(&peer, &id, self.outgoing.clone(), inbox);
        let took = progress.clone();
        let following = async |tried: Tries| {
            let ground = self.look(&peer).await?;
            let attempt = Attempt {
                ground,
                link,
                side: Side::Asked,
                asking: ask.nonce,
                asked: rand::random(),
                keep_alive: self.base.options.keep_alive,
                progress,
                tried,
            };
            attempt.follow().await
        };
        let reached = self.in_time(&peer, following).await;
        let made = reached.map(|reached| Made {
            reached,
            took: took.took(),
            metadata: ask.metadata,
        });
        if let Ok(connected) = self.base.settle(&peer, made) {
            // With nobody to take it, the connection ends as the other end will see.
            let _ = self.accepted.send(connected).await;
        }
    }
}

/// What one who asks said.
struct Asked {
    nonce: super::packet::Nonce,
    end: End,
    metadata: Option<Value>,
}

/// Hands on what comes, for as long as the peer is there.
async fn read(peer: std::sync::Weak<Registration>, mut incoming: mpsc::Receiver<Incoming>) {
    while let Some(came) = incoming.recv().await {
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
                    // One that is full of messages has its answer.
                    let _ = attempt.try_send(Err(Lost::Undeliverable(reason.clone())));
                }
            }
            Incoming::Closed { reason } => {
                for attempt in peer.attempts.all().values() {
                    let _ = attempt.try_send(Err(Lost::Closed(reason.clone())));
                }
                peer.lose(reason);
                return;
            }
        }
    }
    // Whoever carried has ended without a word.
    if let Some(peer) = peer.upgrade() {
        peer.lose("its signals are no longer carried".into());
    }
}

impl Registration {
    fn take(self: &Arc<Self>, from: &str, message: Message) {
        let known = {
            let key = (from.to_owned(), message.attempt.clone());
            self.attempts.all().get(&key).cloned()
        };
        match (known, message.body) {
            (Some(attempt), body) => {
                // One that does not keep up misses its end, and says so.
                let _ = attempt.try_send(Ok(body));
            }
            (
                None,
                Body::Ask {
                    nonce,
                    end,
                    metadata,
                },
            ) => {
                if self.is_closed.load(Relaxed) {
                    return;
                }
                if self.attempts.all().len() >= MOST_ATTEMPTS {
                    let (this, from, id) = (Arc::clone(self), from.to_owned(), message.attempt);
                    tokio::spawn(async move { this.refuse(&from, &id).await });
                    return;
                }
                let (place, inbox) = self.attempts.open(from, &message.attempt);
                let ask = Asked {
                    nonce,
                    end,
                    metadata,
                };
                tokio::spawn(Arc::clone(self).answer(place, inbox, ask));
            }
            // Of an attempt that is over.
            (None, _) => {}
        }
    }

    /// Tells that nothing is carried any more, unless that was wished for.
    fn lose(&self, reason: String) {
        if !self.is_closed.load(Relaxed) {
            let id = self.id.clone();
            self.base.tell(Event::PeerLost { id, reason });
        }
    }

    async fn refuse(&self, peer: &str, id: &str) {
        let reason = format!("it has {MOST_ATTEMPTS} attempts at once already");
        let (_, inbox) = mpsc::channel(1);
        let link = Link::new(peer, id, self.outgoing.clone(), inbox);
        // Who does not hear it, waits until its time is over.
        let _ = link.say(Body::Refuse { reason }).await;
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
