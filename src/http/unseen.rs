//! Networks that other hubs know and this hub does not: has them asked before an answer is made, and bounds how often.
//!
//! In a narrow mesh a hub knows of most networks only which hubs list them (`hubmesh_core::interest`). One network is
//! *looked at*: its members become known here for a few seconds, as for a join. Of the networks on a page *sketches*
//! are asked for, and the counts of rooms of every hub. In a mesh that is not narrow no hub is asked, and nothing is
//! kept.
//!
//! Strangers may ask as often as they like, so: looks have slots, which an address shares with all others and gets back
//! [`LOOKED_AT_FOR`] after the look; one request at a time asks for sketches, at a pace of [`PAUSE`] for each question;
//! answers are used for [`FRESH`]; a hub that was silent is left alone for [`LEFT_ALONE`]. Used by `api` and
//! `coordinator`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use hubmesh_core::ids::{HubId, NetworkKey};
use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::admin_api::ANSWERS_WITHIN;
use super::endpoint::Call;
use super::reply::{self, Answered, NoAnswer};
use super::{App, Backend, admit};
use crate::config::TrustedProxies;
use crate::limits::{AddressSlot, FairSlots, NoSlot};
use crate::mesh::{NetworkSketch, RoomCounts};

/// The most networks that are looked at at once.
const LOOKS: usize = 256;
/// How long a network counts as looked at after it is known: about as long as it is of interest.
const LOOKED_AT_FOR: Duration = Duration::from_secs(5);
/// The most requests that ask for sketches, or wait for their turn.
const ASKERS: usize = 8;
/// For how long answers are used.
const FRESH: Duration = Duration::from_secs(1);
/// The pause after each question for sketches: 200 questions a second, or one page of more.
const PAUSE: Duration = Duration::from_millis(5);
/// The longest pause after a page. The next request must get its turn within [`ANSWERS_WITHIN`].
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
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
    askers: FairSlots,
    sketched: Mutex<Sketched>,
    counted: Mutex<Counted>,
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
    /// The ids of the hubs that did not answer.
    pub(super) not_answered: Vec<String>,
}

impl Unseen {
    pub(super) fn new(proxies: &TrustedProxies) -> Self {
        Unseen {
            looks: FairSlots::new(LOOKS, proxies.clone()),
            askers: FairSlots::new(ASKERS, proxies.clone()),
            sketched: Mutex::new(Sketched {
                kept: HashMap::new(),
                silent: BTreeMap::new(),
                next: Instant::now(),
            }),
            counted: Mutex::new(Counted {
                kept: None,
                next: Instant::now(),
            }),
        }
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
    PAUSE.saturating_mul(questions).min(LONGEST_PAUSE)
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

    /// Has the members of a network known here. Gives the ids of hubs that have some and did not answer in time.
    pub(super) async fn look_at(
        self: &Arc<Self>,
        call: &Call,
        network: &NetworkKey,
    ) -> Result<Vec<String>, Answered> {
        if self.backend.unseen_hubs(network).is_empty() {
            return Ok(Vec::new());
        }
        let slot = slot(&self.unseen.looks, self.asker(call)?)?;
        let (app, looked_at) = (Arc::clone(self), network.clone());
        let (tell, told) = oneshot::channel();
        // A client may close while it waits. The look goes on without it, and keeps its slot.
        self.tasks.spawn(async move {
            app.backend.look(&looked_at).await;
            let _ = tell.send(());
            app.closing.run_until_cancelled(sleep(LOOKED_AT_FOR)).await;
            drop(slot);
        });
        let _ = told.await;
        Ok(written(self.backend.unseen_hubs(network)))
    }

    /// Those of these networks in short that are not known here, each with so many ids at most.
    pub(super) async fn elsewhere(
        &self,
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
        if unseen.is_empty() {
            return Ok(Elsewhere::default());
        }
        let _slot = slot(&self.unseen.askers, self.asker(call)?)?;
        let deadline = Instant::now() + ANSWERS_WITHIN;
        let Ok(mut sketched) = timeout_at(deadline, self.unseen.sketched.lock()).await else {
            return Err(too_many_clients());
        };
        sketched.forget_old(Instant::now());
        let mut found = Elsewhere::default();
        let mut lacking = Vec::new();
        for network in unseen {
            match sketched.kept.get(&(network.clone(), ids)) {
                Some((_, sketch)) => drop(found.sketches.insert(network, sketch.clone())),
                None => lacking.push(network),
            }
        }
        if lacking.is_empty() {
            return Ok(found);
        }
        if timeout_at(deadline, sleep_until(sketched.next))
            .await
            .is_err()
        {
            return Err(too_many_clients());
        }
        // Set before the answers: a client may close before them.
        sketched.next = Instant::now() + pause_after(lacking.len());
        let avoided = sketched.silent.keys().copied().collect();
        let asked = self
            .backend
            .sketches(&lacking, ids, &avoided, ANSWERS_WITHIN)
            .await;
        let now = Instant::now();
        sketched.next = now + pause_after(asked.questions);
        for hub in &asked.silent {
            // A hub that is left alone already is asked again when its time is over.
            sketched.silent.entry(*hub).or_insert(now + LEFT_ALONE);
        }
        sketched.keep(now, ids, &asked.told);
        found.sketches.extend(asked.told);
        found.not_answered = written(asked.silent);
        Ok(found)
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
