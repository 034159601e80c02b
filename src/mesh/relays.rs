//! The STUN and TURN servers of other hubs: asked for, proved, checked and stored, so that `/ice-servers` can name the
//! nearest servers.
//!
//! Only hubs that share one `TURN_SECRET` use each other's servers, and ask over the mesh: credentials of this hub are
//! valid there, and a hub that answers has proved that it knows the secret. The nearest hubs are asked, by the cost of
//! the path. Hubs that had servers are asked every [`ASK`], so that a full hub is soon left out; all other hubs are
//! asked rarely. Servers that are not confirmed for [`KEEP`] are forgotten, and so are the servers of an unreachable
//! hub. Knows nothing of HTTP, nor of this hub's own servers, which [`Relays::offer`] sets. It sends nothing itself:
//! `inquiry` does.

mod allowed;
mod message;

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use hubmesh_core::ids::HubId;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::view::HubView;
use crate::auth::Secret;
use crate::config::{Config, IceUrl};

pub(super) use allowed::{NotAllowed, check};
use message::MOST_URLS;
pub(super) use message::{Answer, Message};

/// The time between two questions to a hub that has servers, even while it is full.
const ASK: Duration = Duration::from_secs(10);
/// The time between two questions to a hub that has no servers, or does not answer; a hub that does not answer is asked
/// sooner at first, because messages get lost.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// How soon a hub that has not answered is first asked again; the time doubles with each question.
const ASK_SOON: Duration = Duration::from_secs(2);
/// How long an answer is used.
const KEEP: Duration = Duration::from_secs(35);
/// For how long checked addresses, and looked-up names, are not checked again.
const CHECKED: Duration = Duration::from_secs(300);
/// How many hubs are asked: the nearest.
const ASKED: usize = 32;
/// How soon a hub that asks again gets another answer.
const ANSWER: Duration = Duration::from_secs(1);
/// The most hubs that are remembered: as many as a mesh can have.
const MOST_KNOWN: usize = 8_192;

/// Returns the servers of this hub.
type OwnServers = Box<dyn Fn() -> Vec<String> + Send + Sync>;

/// The servers of hubs.
pub(super) struct Relays {
    /// `TURN_SECRET`. Without it, no hub is asked and none is answered.
    secret: Option<Secret>,
    /// How many hubs are named.
    nearby: usize,
    own: OnceLock<OwnServers>,
    known: Mutex<HashMap<HubId, HubRelays>>,
}

/// The servers of one hub.
#[derive(Debug)]
struct HubRelays {
    /// When it was last asked, and with which number, if it has not answered.
    asked: Option<Instant>,
    number: Option<u64>,
    /// How many questions in a row it did not answer.
    in_vain: u32,
    /// When it was last answered.
    answered: Option<Instant>,
    urls: Vec<IceUrl>,
    /// The hub has named servers before: if it names none now, it is full.
    has_had: bool,
    /// When it last named its servers.
    told: Instant,
    checked: Instant,
}

/// The result of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AnswerOutcome {
    /// Its addresses are the same as before.
    Same,
    /// Its addresses have to be checked.
    Check(Vec<String>),
    /// This hub did not ask for the answer.
    Unasked,
    /// Its proof is wrong.
    Unproved,
}

impl Relays {
    pub(super) fn new(config: &Config) -> Self {
        let nat = &config.nat;
        Relays {
            secret: nat
                .secret
                .clone()
                .filter(|_| nat.names_others(config.is_hub)),
            nearby: nat.nearby,
            own: OnceLock::new(),
            known: Mutex::default(),
        }
    }

    /// Sets the servers of this hub. To be called once.
    pub(super) fn offer(&self, own: OwnServers) {
        // A hub has one task that calls this.
        let _ = self.own.set(own);
    }

    /// The servers of the nearest of these hubs that have servers and accept more clients, hub by hub.
    pub(super) fn nearby(&self, hubs: &[HubView]) -> Vec<IceUrl> {
        let known = self.known.lock();
        let now = Instant::now();
        let good = |hub: &&HubView| {
            let found = known.get(&hub.id);
            found.is_some_and(|found| found.is_good(now)) && !hub.draining
        };
        let mut near: Vec<&HubView> = hubs.iter().filter(good).collect();
        near.sort_unstable_by_key(|hub| hub.distance());
        let near = near.into_iter().take(self.nearby);
        let urls = near.filter_map(|hub| known.get(&hub.id));
        urls.flat_map(|found| found.urls.iter().cloned()).collect()
    }

    /// The hubs of these that have to be asked now, and the question for each. Other hubs are forgotten.
    pub(super) fn questions(&self, hubs: &[HubView], now: Instant) -> Vec<(HubId, Message)> {
        if self.secret.is_none() {
            return Vec::new();
        }
        let mut near: Vec<&HubView> = hubs.iter().filter(|hub| !hub.draining).collect();
        near.sort_unstable_by_key(|hub| hub.distance());
        near.truncate(ASKED);
        let mut known = self.known.lock();
        known.retain(|id, _| hubs.binary_search_by_key(id, |hub| hub.id).is_ok());
        let due = near.into_iter().filter_map(|hub| {
            let found = known.entry(hub.id).or_insert_with(|| HubRelays::new(now));
            let number = rand::random();
            found
                .ask(number, now)
                .then_some((hub.id, Message::Ask { number }))
        });
        due.collect()
    }

    /// The answer to a hub's question, unless that hub got an answer a moment ago.
    pub(super) fn answer(
        &self,
        number: u64,
        by: HubId,
        to: HubId,
        now: Instant,
    ) -> Option<Message> {
        let secret = self.secret.as_ref()?.expose();
        let mut known = self.known.lock();
        if known.len() >= MOST_KNOWN && !known.contains_key(&to) {
            return None;
        }
        let found = known.entry(to).or_insert_with(|| HubRelays::new(now));
        if found.answered.is_some_and(|last| now < last + ANSWER) {
            return None;
        }
        found.answered = Some(now);
        drop(known);
        let mut urls = self.own.get().map_or_else(Vec::new, |own| own());
        urls.truncate(MOST_URLS);
        let answer = Answer {
            number,
            by,
            to,
            urls: &urls,
        };
        let proof = answer.prove(secret);
        Some(Message::Tell {
            number,
            urls,
            proof,
        })
    }

    /// An answer arrived.
    pub(super) fn hear(
        &self,
        answer: &Answer<'_>,
        proof: &[u8; 16],
        now: Instant,
    ) -> AnswerOutcome {
        let mut known = self.known.lock();
        let found = known.get_mut(&answer.by);
        let found = found.filter(|found| found.number == Some(answer.number));
        let (Some(found), Some(secret)) = (found, &self.secret) else {
            return AnswerOutcome::Unasked;
        };
        if !answer.is_proved(secret.expose(), proof) {
            return AnswerOutcome::Unproved;
        }
        (found.number, found.in_vain) = (None, 0);
        let same = found
            .urls
            .iter()
            .map(IceUrl::as_str)
            .eq(answer.urls.iter().map(String::as_str));
        if same && now < found.checked + CHECKED {
            found.told = now;
            return AnswerOutcome::Same;
        }
        AnswerOutcome::Check(answer.urls.to_vec())
    }

    /// An answer was checked.
    pub(super) fn keep(&self, hub: HubId, urls: Vec<IceUrl>, now: Instant) {
        if let Some(found) = self.known.lock().get_mut(&hub) {
            found.has_had |= !urls.is_empty();
            (found.urls, found.told, found.checked) = (urls, now, now);
        }
    }
}

impl HubRelays {
    fn new(now: Instant) -> Self {
        HubRelays {
            asked: None,
            number: None,
            in_vain: 0,
            answered: None,
            urls: Vec::new(),
            has_had: false,
            told: now,
            checked: now,
        }
    }

    fn is_good(&self, now: Instant) -> bool {
        !self.urls.is_empty() && now < self.told + KEEP
    }

    /// Whether it is time to ask the hub; if so, the question gets this number.
    fn ask(&mut self, number: u64, now: Instant) -> bool {
        let every = match (self.has_had, self.in_vain) {
            (true, 0) => ASK,
            (false, 0) => ASK_AGAIN,
            (_, times) => ASK_AGAIN.min(ASK_SOON * 2_u32.saturating_pow(times - 1)),
        };
        let is_due = self.asked.is_none_or(|last| now >= last + every);
        if is_due {
            (self.asked, self.number) = (Some(now), Some(number));
            // The hub is asked until it answers.
            self.in_vain = self.in_vain.saturating_add(1);
        }
        is_due
    }
}

#[cfg(test)]
mod tests;
