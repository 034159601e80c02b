//! Networks that other hubs know and this hub does not: has them asked before an answer is made, and bounds how often.
//!
//! In a narrow mesh a hub knows of most networks only which hubs list them (`hubmesh_core::interest`). One network is
//! *looked at*: its members become known here for a few seconds, as for a join. Of the networks on a page *sketches*
//! are asked for, and the counts of rooms of every hub. In a mesh that is not narrow no hub is asked, and nothing is
//! kept.
//!
//! Strangers may ask as often as they like, so: looks have slots, which an address shares with all others and gets back
//! when the network is forgotten; one request at a time asks for sketches, at a pace of [`PAUSE`] for each question;
//! answers are used for [`FRESH`]; a hub that was silent is left alone for [`LEFT_ALONE`]. Used by `api` and
//! `coordinator`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use hubmesh_core::ids::{HubId, NetworkKey};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep, sleep_until, timeout};

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
/// The pause after each question for sketches: at most 200 questions a second.
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
    askers: FairSlots,
    sketched: Mutex<Sketched>,
    counted: Mutex<Option<(Instant, Arc<Counts>)>>,
}

/// The last sketches.
struct Sketched {
    kept: HashMap<(NetworkKey, usize), (Instant, NetworkSketch)>,
    /// Until when hubs that did not answer are left alone.
    silent: BTreeMap<HubId, Instant>,
    /// When the next question may be asked.
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
            counted: Mutex::default(),
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
    let body = NoAnswer {
        error: SILENT,
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
    let body = NoAnswer {
        error: MANY,
        not_answered: Vec::new(),
    };
    let response = reply::json(StatusCode::SERVICE_UNAVAILABLE, &body);
    Box::new(reply::after(RETRY_SECONDS, response))
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
        self.backend.look(network).await;
        let closing = self.closing.clone();
        self.tasks.spawn(async move {
            closing.run_until_cancelled(sleep(LOOKED_AT_FOR)).await;
            drop(slot);
        });
        Ok(written(self.backend.unseen_hubs(network)))
    }

    /// Those of these networks in short that are not known here, each with so many ids at most.
    pub(super) async fn elsewhere(
        &self,
        call: &Call,
        networks: &[NetworkKey],
        ids: usize,
    ) -> Result<Elsewhere, Answered> {
        let is_unseen = |network: &&NetworkKey| !self.backend.unseen_hubs(network).is_empty();
        let unseen: Vec<NetworkKey> = networks.iter().filter(is_unseen).cloned().collect();
        if unseen.is_empty() {
            return Ok(Elsewhere::default());
        }
        let _slot = slot(&self.unseen.askers, self.asker(call)?)?;
        let turn = timeout(ANSWERS_WITHIN, self.sketching_turn()).await;
        let Ok(mut sketched) = turn else {
            return Err(too_many_clients());
        };
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
        let avoided = sketched.silent.keys().copied().collect();
        let asked = self
            .backend
            .sketches(&lacking, ids, &avoided, ANSWERS_WITHIN)
            .await;
        let now = Instant::now();
        let questions = u32::try_from(asked.questions).unwrap_or(u32::MAX);
        sketched.next = now + PAUSE.saturating_mul(questions);
        for hub in &asked.silent {
            // A hub that is left alone already is asked again when its time is over.
            sketched.silent.entry(*hub).or_insert(now + LEFT_ALONE);
        }
        sketched.keep(now, ids, &asked.told);
        found.sketches.extend(asked.told);
        found.not_answered = written(asked.silent);
        Ok(found)
    }

    /// Waits until this request may ask for sketches.
    async fn sketching_turn(&self) -> MutexGuard<'_, Sketched> {
        let mut sketched = self.unseen.sketched.lock().await;
        sleep_until(sketched.next).await;
        sketched.forget_old(Instant::now());
        sketched
    }

    /// How many rooms and members of rooms each hub has that answered, or did so a moment ago.
    pub(super) async fn room_counts(&self) -> Arc<Counts> {
        let mut counted = self.unseen.counted.lock().await;
        if let Some((at, counts)) = &*counted
            && at.elapsed() < FRESH
        {
            return Arc::clone(counts);
        }
        let counts = Arc::new(self.backend.room_counts(ANSWERS_WITHIN).await);
        *counted = Some((Instant::now(), Arc::clone(&counts)));
        counts
    }
}
