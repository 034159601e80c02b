//! Networks that other hubs know and this hub does not: has them asked before an answer is made, and bounds how often.
//!
//! In a narrow mesh a hub knows of most networks only which hubs list them (`hubmesh_core::interest`). One network is
//! *looked at*: its members become known here for a few seconds, as for a join. Of the networks on a page *sketches*
//! are asked for, and the counts of rooms of every hub. Hubs of which it is not known yet which networks they list are
//! waited for by a look, and named with a page. In a mesh that is not narrow no hub is asked, and nothing is kept.
//!
//! Strangers may ask as often as they like, so: networks that are looked at have slots, which an address shares with all
//! others, each for [`LOOKED_AT_FOR`] after its last look; one request at a time asks for sketches, at a pace of
//! [`PAUSE`] for each question; answers are used for [`FRESH`]; a hub that was silent is left alone for [`LEFT_ALONE`].
//! Used by `api` and `coordinator`, and by `admin_api`, whose clients need no slots.
//!
//! A client may close while it waits: neither what it uses nor what was learned for it depends on that.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use hubmesh_core::ids::{HubId, NetworkKey};
use parking_lot::Mutex as SyncMutex;
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::admin_api::ANSWERS_WITHIN;
use super::endpoint::Call;
use super::reply::{self, Answered, NoAnswer};
use super::{App, Backend, admit};
use crate::config::TrustedProxies;
use crate::limits::{AddressSlot, FairSlots, NoSlot};
use crate::mesh::{NetworkSketch, RoomCounts, Sketches};

/// The most networks that are looked at at once.
const LOOKS: usize = 256;
/// How long a network counts as looked at after a look began: as long as it is of interest because of that look
/// (`InterestConfig`, two seconds for the wait and five more).
const LOOKED_AT_FOR: Duration = Duration::from_secs(7);
/// The most requests that ask for sketches, or wait for their turn.
const ASKERS: usize = 8;
/// For how long answers are used.
const FRESH: Duration = Duration::from_secs(1);
/// The pause after each question for sketches: 200 questions a second. After a page of `MAX_QUESTIONS` it is a second,
/// and must be shorter than [`ANSWERS_WITHIN`], so that the next request gets its turn.
const PAUSE: Duration = Duration::from_millis(5);
/// How long a hub that did not answer is not asked for sketches again.
const LEFT_ALONE: Duration = Duration::from_secs(10);
/// The most sketches that are kept: those of the longest page.
const MAX_KEPT: usize = 1_000;
/// When to come back, if too many clients ask.
const RETRY_SECONDS: u64 = 5;

const MANY_OF_ADDRESS: &str = "your address asks too often about rooms of other hubs";
const MANY: &str = "too many clients ask about rooms of other hubs";
const SILENT: &str = "a hub with members of this room does not answer";

/// The rooms of each hub.
pub(super) type Counts = BTreeMap<HubId, RoomCounts>;

/// What was asked, and who may ask.
pub(super) struct Unseen {
    looks: FairSlots,
    /// The networks that are looked at.
    looked_at: SyncMutex<HashMap<NetworkKey, LookedAt>>,
    askers: FairSlots,
    sketched: Arc<Mutex<Sketched>>,
    counted: Mutex<Counted>,
}

/// A network that is looked at: the slot of the first who looked, until the interest of the last is over.
struct LookedAt {
    _slot: AddressSlot,
    until: Instant,
}

/// The last sketches.
struct Sketched {
    kept: HashMap<(NetworkKey, usize), (Instant, NetworkSketch)>,
    /// Until when hubs that did not answer are left alone.
    silent: BTreeMap<HubId, Instant>,
    /// When the next question may be asked.
    next: Instant,
}

/// The last counts of rooms.
struct Counted {
    kept: Option<(Instant, Arc<Counts>)>,
    /// When the hubs may be asked again.
    next: Instant,
}

/// Networks in short, as far as other hubs answered.
#[derive(Default)]
pub(super) struct Elsewhere {
    pub(super) sketches: BTreeMap<NetworkKey, NetworkSketch>,
    /// The first network that was not asked for, because too many hubs would have to be asked: the page ends before it.
    pub(super) left_out: Option<NetworkKey>,
    /// The ids of the hubs that did not answer, and of those of which it is not known yet what they list.
    pub(super) not_answered: Vec<String>,
}

impl Elsewhere {
    /// A network in short, unless the hub that told of it knows of fewer members than this one: its own knowledge may
    /// be on the way, or what it listed over.
    pub(super) fn sketch(&self, network: &NetworkKey, known: usize) -> Option<&NetworkSketch> {
        let known = u64::try_from(known).unwrap_or(u64::MAX);
        let sketch = self.sketches.get(network);
        sketch.filter(|sketch| sketch.members >= known)
    }
}

impl Unseen {
    pub(super) fn new(proxies: &TrustedProxies) -> Self {
        Unseen {
            looks: FairSlots::new(LOOKS, proxies.clone()),
            looked_at: SyncMutex::default(),
            askers: FairSlots::new(ASKERS, proxies.clone()),
            sketched: Arc::new(Mutex::new(Sketched {
                kept: HashMap::new(),
                silent: BTreeMap::new(),
                next: Instant::now(),
            })),
            counted: Mutex::new(Counted {
                kept: None,
                next: Instant::now(),
            }),
        }
    }

    /// Ends the looks at a network that are over by then. When to come back, if there is a later one.
    fn look_over(&self, network: &NetworkKey, by: Instant) -> Option<Instant> {
        let mut looked_at = self.looked_at.lock();
        let until = looked_at.get(network)?.until;
        if until > by {
            return Some(until);
        }
        looked_at.remove(network);
        None
    }
}

impl Sketched {
    fn forget_old(&mut self, now: Instant) {
        self.kept.retain(|_, (at, _)| now - *at < FRESH);
        self.silent.retain(|_, until| now < *until);
    }

    fn keep(&mut self, now: Instant, ids: usize, told: &BTreeMap<NetworkKey, NetworkSketch>) {
        if self.kept.len() + told.len() > MAX_KEPT {
            self.kept.clear();
        }
        let told = told.iter().take(MAX_KEPT);
        let kept = told.map(|(network, sketch)| ((network.clone(), ids), (now, sketch.clone())));
        self.kept.extend(kept);
    }
}

/// The answer where hubs that would know did not answer.
pub(super) fn no_answer(not_answered: Vec<String>) -> Answered {
    unavailable(SILENT, not_answered)
}

fn unavailable(error: &'static str, not_answered: Vec<String>) -> Answered {
    let body = NoAnswer {
        error,
        not_answered,
    };
    let response = reply::json(StatusCode::SERVICE_UNAVAILABLE, &body);
    Box::new(reply::after(RETRY_SECONDS, response))
}

fn slot(slots: &FairSlots, from: IpAddr) -> Result<AddressSlot, Answered> {
    slots.try_take(from).map_err(|why| match why {
        NoSlot::AddressFull => Box::new(reply::too_many(MANY_OF_ADDRESS, RETRY_SECONDS)),
        NoSlot::Full => too_many_clients(),
    })
}

fn too_many_clients() -> Answered {
    unavailable(MANY, Vec::new())
}

fn pause_after(questions: usize) -> Duration {
    let questions = u32::try_from(questions).unwrap_or(u32::MAX);
    PAUSE.saturating_mul(questions)
}

fn written(hubs: impl IntoIterator<Item = HubId>) -> Vec<String> {
    let hubs: BTreeSet<HubId> = hubs.into_iter().collect();
    hubs.iter().map(ToString::to_string).collect()
}

impl<B: Backend> App<B> {
    fn asker(&self, call: &Call) -> Result<IpAddr, Answered> {
        let client = admit::client(self, &call.head);
        client.ok_or_else(|| Box::new(admit::refuse(self, admit::Refused::NoAddress)))
    }

    /// The hubs that may have members in a network which are not known here.
    pub(super) fn unknown_hubs(&self, network: &NetworkKey) -> BTreeSet<HubId> {
        let mut hubs: BTreeSet<HubId> = self.backend.unlisted_hubs().into_iter().collect();
        hubs.extend(self.backend.unseen_hubs(network));
        hubs
    }

    /// The ids of the hubs that list a network, and whose members of it are not known here.
    pub(super) fn silent_hubs(&self, network: &NetworkKey) -> Vec<String> {
        written(self.backend.unseen_hubs(network))
    }

    /// Has the members of a network known here. Gives the ids of hubs that have some, or may have some, and did not
    /// answer in time.
    pub(super) async fn look_at(
        self: &Arc<Self>,
        call: &Call,
        network: &NetworkKey,
    ) -> Result<Vec<String>, Answered> {
        if self.unknown_hubs(network).is_empty() {
            return Ok(Vec::new());
        }
        let until = Instant::now() + LOOKED_AT_FOR;
        self.count_look(self.asker(call)?, network, until)?;
        if !self.backend.look(network).await {
            // Nothing is followed, so that nothing has to be counted, unless somebody else looks.
            self.unseen.look_over(network, until);
        }
        Ok(written(self.unknown_hubs(network)))
    }

    /// The same for operators, who need no slot: strangers cannot take it from them.
    pub(super) async fn look_for_operator(&self, network: &NetworkKey) {
        if !self.unknown_hubs(network).is_empty() {
            self.backend.look(network).await;
        }
    }

    /// Counts a network as looked at until then. It has one slot, however many look.
    fn count_look(
        self: &Arc<Self>,
        from: IpAddr,
        network: &NetworkKey,
        until: Instant,
    ) -> Result<(), Answered> {
        let mut looked_at = self.unseen.looked_at.lock();
        if let Some(look) = looked_at.get_mut(network) {
            look.until = look.until.max(until);
            return Ok(());
        }
        let look = LookedAt {
            _slot: slot(&self.unseen.looks, from)?,
            until,
        };
        looked_at.insert(network.clone(), look);
        let (app, network) = (Arc::clone(self), network.clone());
        self.tasks.spawn(async move {
            let mut next = Some(until);
            while let Some(at) = next {
                let slept = app.closing.run_until_cancelled(sleep_until(at)).await;
                if slept.is_none() {
                    return;
                }
                next = app.unseen.look_over(&network, Instant::now());
            }
        });
        Ok(())
    }

    /// Those of these networks in short that are not known here, each with so many ids at most.
    pub(super) async fn elsewhere(
        self: &Arc<Self>,
        call: &Call,
        networks: &[NetworkKey],
        ids: usize,
    ) -> Result<Elsewhere, Answered> {
        // Nothing is unseen then, and a page has up to a thousand networks to look up.
        if !self.backend.is_narrow() {
            return Ok(Elsewhere::default());
        }
        let is_unseen = |network: &&NetworkKey| !self.backend.unseen_hubs(network).is_empty();
        let unseen: Vec<NetworkKey> = networks.iter().filter(is_unseen).cloned().collect();
        let mut found = Elsewhere::default();
        let mut silent = self.backend.unlisted_hubs();
        if !unseen.is_empty() {
            let slot = slot(&self.unseen.askers, self.asker(call)?)?;
            let deadline = Instant::now() + ANSWERS_WITHIN;
            let sketched = Arc::clone(&self.unseen.sketched).lock_owned();
            let Ok(mut sketched) = timeout_at(deadline, sketched).await else {
                return Err(too_many_clients());
            };
            sketched.forget_old(Instant::now());
            let mut lacking = Vec::new();
            for network in unseen {
                match sketched.kept.get(&(network.clone(), ids)) {
                    Some((_, sketch)) => drop(found.sketches.insert(network, sketch.clone())),
                    None => lacking.push(network),
                }
            }
            if !lacking.is_empty() {
                let turn = sleep_until(sketched.next);
                if timeout_at(deadline, turn).await.is_err() {
                    return Err(too_many_clients());
                }
                let asked = self.ask(sketched, slot, lacking, ids).await;
                found.sketches.extend(asked.told);
                found.left_out = asked.left_out;
                silent.extend(asked.silent);
            }
        }
        found.not_answered = written(silent);
        Ok(found)
    }

    /// Asks for sketches, and notes what follows for later requests.
    async fn ask(
        self: &Arc<Self>,
        mut sketched: OwnedMutexGuard<Sketched>,
        slot: AddressSlot,
        networks: Vec<NetworkKey>,
        ids: usize,
    ) -> Sketches {
        let app = Arc::clone(self);
        let (tell, told) = oneshot::channel();
        // The client may close: the next request must still know which hubs are silent.
        self.tasks.spawn(async move {
            let avoided = sketched.silent.keys().copied().collect();
            let asked = app
                .backend
                .sketches(&networks, ids, &avoided, ANSWERS_WITHIN);
            let asked = asked.await;
            let now = Instant::now();
            sketched.next = now + pause_after(asked.questions);
            for hub in &asked.silent {
                // A hub that is left alone already is asked again when its time is over.
                sketched.silent.entry(*hub).or_insert(now + LEFT_ALONE);
            }
            sketched.keep(now, ids, &asked.told);
            drop((sketched, slot));
            let _ = tell.send(asked);
        });
        // The task only ends without an answer if it panics.
        told.await.unwrap_or_default()
    }

    /// How many rooms and members of rooms each hub has that answered, or did so a moment ago.
    pub(super) async fn room_counts(&self) -> Arc<Counts> {
        let mut counted = self.unseen.counted.lock().await;
        if let Some((at, counts)) = &counted.kept
            && at.elapsed() < FRESH
        {
            return Arc::clone(counts);
        }
        sleep_until(counted.next).await;
        // Set before the answer: a client may close before it.
        counted.next = Instant::now() + FRESH;
        let counts = Arc::new(self.backend.room_counts(ANSWERS_WITHIN).await);
        counted.kept = Some((Instant::now(), Arc::clone(&counts)));
        counts
    }
}

#[cfg(test)]
mod tests {
    use hubmesh_core::InterestConfig;

    use super::*;
    use crate::mesh::MAX_QUESTIONS;

    #[test]
    fn a_slot_is_taken_for_as_long_as_the_network_is_of_interest() {
        let InterestConfig { wait, linger, .. } = InterestConfig::default();
        assert_eq!(LOOKED_AT_FOR, wait + linger);
    }

    #[test]
    fn whoever_comes_after_the_longest_page_gets_its_turn() {
        assert!(pause_after(MAX_QUESTIONS) < ANSWERS_WITHIN);
    }
}
