//! Answers other hubs' questions for operators, and sends them this hub's events.
//!
//! One task for each hub, started by `handle`. `questions` has the messages; they use the data path, and a message
//! without space on the way is lost: questions have a time limit, and a hub that listens says so again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hubmesh_core::ids::{ClaimNo, HubId, NetworkKey, PeerId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::awaited::place;
use super::input::Input;
use super::questions::{Answer, MAX_PEERS, Message, Question, RoomCounts, Tally};
use super::shared::MeshContext;
use super::sketches::{MAX_NETWORKS, NetworkSketch};
use crate::watch::{Party, newest};

/// Messages that may wait; more are lost.
pub(super) const WAITING: usize = 1_024;
/// The time between two reports to hubs that listen.
const TICK: Duration = Duration::from_millis(250);
/// The most events in one report: 400 a second.
const BATCH: usize = 100;
/// The time between two messages of a hub that it still listens, and for how long it is sent events then.
const LISTEN_EVERY: Duration = Duration::from_secs(5);
const LEASE: Duration = Duration::from_secs(15);
/// The least time between two counts of rooms for other hubs.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// The last count of this hub's rooms. It looks at all claims of the hub (some ten milliseconds for 100,000), and every
/// hub of the mesh may ask each second.
#[derive(Default)]
struct LastCount(Option<(Instant, RoomCounts)>);

impl LastCount {
    /// The last count, or a new one if that is too old.
    fn at(&mut self, now: Instant, count: impl FnOnce() -> RoomCounts) -> RoomCounts {
        match self.0 {
            Some((then, counts)) if now - then < COUNT_EVERY => counts,
            _ => {
                let counts = count();
                self.0 = Some((now, counts));
                counts
            }
        }
    }
}

impl MeshContext {
    /// This hub's claims of an id.
    fn own_claims(&self, network: &NetworkKey, peer: &PeerId) -> Vec<ClaimNo> {
        let me = self.identity().hub;
        let directory = self.router.directory().read();
        let claims = directory.claims_of_id(network, peer).into_iter();
        let own = claims.filter(|claim| claim.hub == me);
        own.map(|claim| claim.claim).collect()
    }

    /// Disconnects a peer of this hub. False if there is none.
    pub(super) fn send_away(&self, network: &NetworkKey, peer: &PeerId) -> bool {
        let registry = self.router.registry();
        let claims = self.own_claims(network, peer);
        let gone = claims
            .into_iter()
            .filter(|claim| registry.send_away(*claim));
        gone.count() > 0
    }

    pub(super) fn party(&self, network: &NetworkKey, peer: &PeerId) -> Option<Party> {
        let registry = self.router.registry();
        let claims = self.own_claims(network, peer);
        let party = claims.into_iter().find_map(|claim| registry.party(claim));
        party.map(Party::shown)
    }

    pub(super) fn is_visitor(&self, network: &NetworkKey, peer: &PeerId) -> bool {
        let registry = self.router.registry();
        let claims = self.own_claims(network, peer);
        !claims.is_empty() && claims.into_iter().all(|claim| registry.is_visitor(claim))
    }

    fn sketches(&self, networks: &[String], ids: u64) -> Vec<NetworkSketch> {
        let ids = usize::try_from(ids).unwrap_or(usize::MAX);
        let networks = networks.iter().take(MAX_NETWORKS);
        // Each for itself: the control plane must not wait for all of them.
        let told = networks.map(|network| match NetworkKey::from_wire(network) {
            Ok(network) => NetworkSketch::of(&self.router.directory().read(), &network, ids),
            Err(_) => NetworkSketch::default(),
        });
        told.collect()
    }

    /// This hub's part of the rooms of the mesh.
    pub(super) fn room_counts(&self) -> RoomCounts {
        let (rooms, members) = self.router.directory().read().own_rooms();
        RoomCounts {
            rooms: rooms as u64,
            members: members as u64,
        }
    }

    pub(super) async fn answer(&self, question: Question) -> Answer {
        match question {
            Question::Remove { network, peer } => {
                let place = place(&network, &peer);
                Answer::Removed(
                    place.is_some_and(|(network, peer)| self.send_away(&network, &peer)),
                )
            }
            Question::Peers { network, peers } => {
                let told = peers.iter().take(MAX_PEERS).map(|peer| {
                    let (network, peer) = place(&network, peer)?;
                    self.party(&network, &peer)
                });
                Answer::Peers(told.collect())
            }
            Question::Targets(wanted) => Answer::Awaited(self.router.awaited(&wanted)),
            Question::Contested(wanted) => {
                let (asker, answer) = oneshot::channel();
                // Without an answer the hub is gone, and its contests with it.
                let _ = self.inputs.send(Input::Contested { wanted, asker }).await;
                Answer::Awaited(answer.await.unwrap_or_default())
            }
            Question::IsVisitor { network, peer } => {
                let place = place(&network, &peer);
                Answer::IsVisitor(
                    place.is_some_and(|(network, peer)| self.is_visitor(&network, &peer)),
                )
            }
            Question::Sketches { networks, ids } => Answer::Sketches(self.sketches(&networks, ids)),
            Question::Rooms => Answer::Rooms(self.room_counts()),
            Question::Past => Answer::Past(self.router.registry().watch().history.past()),
            Question::Tally => Answer::Tally(Tally {
                waiting: u64::try_from(self.metrics.signals_waiting.get()).unwrap_or(0),
                contests: self.published().contests() as u64,
                alarms: self.metrics.alarms.total(),
            }),
        }
    }
}

/// The hubs that listen to this hub, and those to which it listens; and what other hubs were told last.
struct Listening {
    /// Until when each is sent events.
    to_us: BTreeMap<HubId, Instant>,
    /// The last event that they were sent.
    told: u64,
    /// When each was last told that this hub listens.
    to_them: BTreeMap<HubId, Instant>,
    counted: LastCount,
}

/// Asks and answers for as long as the hub lives.
pub(super) async fn follow(shared: Arc<MeshContext>, mut letters: mpsc::Receiver<(HubId, Bytes)>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut listening = Listening {
        to_us: BTreeMap::new(),
        told: 0,
        to_them: BTreeMap::new(),
        counted: LastCount::default(),
    };
    loop {
        tokio::select! {
            () = shared.inputs.closed() => return,
            _ = ticks.tick() => {
                listening.tell(&shared);
                listening.listen(&shared);
            }
            Some((from, payload)) = letters.recv() => listening.hear(&shared, from, &payload).await,
        }
    }
}

impl Listening {
    async fn hear(&mut self, shared: &MeshContext, from: HubId, payload: &[u8]) {
        let watch = shared.router.registry().watch();
        match Message::decode(payload) {
            Some(Message::Ask { token, question }) => {
                let answer = match question {
                    Question::Rooms => {
                        let count = || shared.room_counts();
                        Answer::Rooms(self.counted.at(Instant::now(), count))
                    }
                    other => shared.answer(other).await,
                };
                let message = Message::Tell { token, answer };
                shared.router.tell_hub(from, message.encode());
            }
            Some(Message::Tell { token, answer }) => {
                shared.questions.on_answer(from, token, answer);
            }
            Some(Message::Listen) => {
                if self.to_us.is_empty() {
                    self.told = watch.events.last_own();
                }
                self.to_us.insert(from, Instant::now() + LEASE);
            }
            Some(Message::Events { missed, events }) if self.to_them.contains_key(&from) => {
                watch.events.take_in(from, events, missed);
            }
            // It answers no question, or is of a later version.
            Some(Message::Events { .. }) | None => {}
        }
    }

    /// Sends the hubs that listen the events since the last report.
    fn tell(&mut self, shared: &MeshContext) {
        let now = Instant::now();
        self.to_us.retain(|_, until| now < *until);
        if self.to_us.is_empty() {
            return;
        }
        let events = &shared.router.registry().watch().events;
        let (lost, next) = events.own_after(self.told, usize::MAX);
        let Some((last, _)) = next.last() else {
            return;
        };
        self.told = *last;
        // Those that are grave, and the newest: what is left out is over.
        let all = next.len();
        let next = newest(next, BATCH);
        let left_out = all - next.len();
        let message = Message::Events {
            missed: lost + left_out as u64,
            events: next.iter().map(|(_, event)| (**event).clone()).collect(),
        };
        let message = message.encode();
        for hub in self.to_us.keys() {
            shared.router.tell_hub(*hub, message.clone());
        }
    }

    /// Tells the other hubs that this hub listens, if an operator does here.
    fn listen(&mut self, shared: &MeshContext) {
        let events = &shared.router.registry().watch().events;
        if !events.is_listened_to() {
            return self.to_them.clear();
        }
        let (published, now) = (shared.published(), Instant::now());
        let hubs = published.hubs();
        self.to_them
            .retain(|hub, _| hubs.iter().any(|known| known.id == *hub));
        for hub in hubs {
            let is_due = self.to_them.get(&hub.id);
            if is_due.is_none_or(|last| now - *last >= LISTEN_EVERY) {
                self.to_them.insert(hub.id, now);
                shared.router.tell_hub(hub.id, Message::Listen.encode());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_are_counted_once_a_second_however_many_hubs_ask() {
        let (mut last, began) = (LastCount::default(), Instant::now());
        let mut counted = 0;
        for millis in [0, 1, 999, 1_000, 1_500, 2_100] {
            let told = last.at(began + Duration::from_millis(millis), || {
                counted += 1;
                RoomCounts {
                    rooms: millis,
                    members: 0,
                }
            });
            let of = [0, 1_000, 2_100].into_iter().rfind(|at| *at <= millis);
            assert_eq!(Some(told.rooms), of, "{millis}");
        }
        assert_eq!(counted, 3);
    }
}
