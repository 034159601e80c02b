//! Who may hold an id that somebody holds already.
//!
//! A newcomer claims a held id only when the holder is the same party (equal, non-empty proofs), is found
//! dead, or is gone. The hub of the holder decides: it compares the proofs, else asks the holder for a sign of
//! life and gives it two seconds. A living holder that is someone else keeps the id. So does any living holder
//! of an id that changed hands too often of late: cloned clients, which all have the same proof, must not fight
//! for it for ever, but one client that moves from network to network leaves dead connections behind.
//!
//! Knows nothing of links: messages to other hubs leave as [`Action::Send`] and travel like signals. Every
//! pending join ends in exactly one [`Action::Claim`] or [`Action::Refuse`], unless it is withdrawn.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::api::{Join, JoinRefusal};
use super::directory::Directory;
use super::exchange::Found;
use super::ids::{ClaimNo, HubId, Moment, NetworkKey, PeerId};

/// How often an id may change hands within [`TAKEOVER_WINDOW`], as one hub sees it.
const MAX_TAKEOVERS: usize = 3;
const TAKEOVER_WINDOW: Duration = Duration::from_secs(30);
/// How often a join is contested anew because the holder changed meanwhile.
const MAX_TRIES: u8 = 3;
/// The most joins pending at once: 100,000, about 30 MB.
const MAX_PENDING: usize = 100_000;
/// How much longer than the probe itself its answer may take: another hub's round trip.
const GRACE: Duration = Duration::from_millis(1_500);

/// How contests are held.
#[derive(Clone, Copy, Debug)]
pub struct ContestConfig {
    /// The newer connection always wins, without a question asked.
    pub replace: bool,
    /// How long a holder has to show a sign of life.
    pub probe_within: Duration,
    /// How long a hub that cannot be reached is still believed in: a contest with one of its peers waits
    /// that long for it to be gone.
    pub hold: Duration,
}

impl Default for ContestConfig {
    fn default() -> Self {
        ContestConfig {
            replace: false,
            probe_within: Duration::from_secs(2),
            hold: Duration::from_secs(2),
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The join may be: claim the id.
    Claim(ClaimNo),
    /// The join may not be.
    Refuse { claim: ClaimNo, why: JoinRefusal },
    /// Ask the holder of this claim for a sign of life.
    Probe { claim: ClaimNo, token: u64 },
    /// Send this to a hub; if it fails, say so with the token.
    Send {
        to: HubId,
        payload: Bytes,
        token: u64,
    },
    /// The holder is dead: take its claim back and close it.
    Expel(ClaimNo),
}

/// What hubs say to each other about contested ids.
#[derive(Serialize, Deserialize, Debug, PartialEq, Eq)]
enum Message {
    /// May I have the id of this claim of yours?
    Contest {
        token: u64,
        network: String,
        peer: String,
        claim: ClaimNo,
        proof: Vec<u8>,
    },
    /// The answer to the contest with this token.
    Verdict { token: u64, verdict: Verdict },
}

#[derive(Serialize, Deserialize, Debug, PartialEq, Eq, Clone, Copy)]
enum Verdict {
    /// The proofs are equal.
    SameParty,
    /// The holder showed no sign of life.
    Dead,
    /// There is no such claim.
    Gone,
    /// The holder lives and is someone else.
    Alive,
}

#[derive(Debug)]
struct Pending {
    join: Join,
    against: Found,
    /// What the newcomer is told if the holder turns out to live.
    refusal: JoinRefusal,
    deadline: Moment,
    tries: u8,
}

/// Who waits for a probe's result.
#[derive(Debug, Clone, Copy)]
enum Asker {
    Local { token: u64 },
    Hub { hub: HubId, token: u64 },
}

#[derive(Debug)]
struct Probe {
    claim: ClaimNo,
    asker: Asker,
    deadline: Moment,
}

/// All contests that this hub takes part in.
#[derive(Debug)]
pub struct Contests {
    me: HubId,
    config: ContestConfig,
    proofs: HashMap<ClaimNo, Bytes>,
    pending: BTreeMap<u64, Pending>,
    by_claim: HashMap<ClaimNo, u64>,
    ready: HashMap<ClaimNo, Join>,
    probes: BTreeMap<u64, Probe>,
    takeovers: BTreeMap<(NetworkKey, PeerId), VecDeque<Moment>>,
    next_token: u64,
    /// Verdicts on this hub's own holders, for pending joins of its own.
    decided: VecDeque<(u64, Verdict)>,
    actions: VecDeque<Action>,
}

impl Contests {
    /// No contests yet.
    pub fn new(me: HubId, config: ContestConfig) -> Self {
        Contests {
            me,
            config,
            proofs: HashMap::new(),
            pending: BTreeMap::new(),
            by_claim: HashMap::new(),
            ready: HashMap::new(),
            probes: BTreeMap::new(),
            takeovers: BTreeMap::new(),
            next_token: 0,
            decided: VecDeque::new(),
            actions: VecDeque::new(),
        }
    }

    /// A local peer wants an id.
    pub fn begin(&mut self, now: Moment, directory: &Directory, join: Join) {
        self.contest(now, directory, join, 0);
    }

    fn contest(&mut self, now: Moment, directory: &Directory, join: Join, tries: u8) {
        let claim = join.claim;
        let Some((holder, _)) = directory.holder(&join.network, &join.peer) else {
            return self.allow(join);
        };
        let limited = self.taken_over_too_often(now, &join.network, &join.peer);
        let local = holder.hub == self.me;
        let freely = self.config.replace || (local && self.same_party(holder.claim, &join.proof));
        if freely && !limited {
            return self.allow(join);
        }
        let refusal = if limited {
            JoinRefusal::TakeoverLimit
        } else {
            JoinRefusal::Taken
        };
        if tries >= MAX_TRIES || self.pending.len() >= MAX_PENDING {
            return self.refuse(claim, refusal);
        }
        let token = self.token();
        let deadline = now + self.config.probe_within.max(self.config.hold) + GRACE;
        if local {
            self.probe(holder.claim, Asker::Local { token }, now);
        } else {
            // Past the limit a proof is not shown, so that nothing but the holder's death makes way.
            let proof = if limited { &[] } else { join.proof.as_ref() };
            let message = Message::Contest {
                token,
                network: join.network.as_str().to_owned(),
                peer: join.peer.to_string(),
                claim: holder.claim,
                proof: proof.to_vec(),
            };
            self.send(holder.hub, &message, token);
        }
        self.by_claim.insert(claim, token);
        self.pending.insert(
            token,
            Pending {
                join,
                against: holder,
                refusal,
                deadline,
                tries,
            },
        );
    }

    fn same_party(&self, holder: ClaimNo, proof: &Bytes) -> bool {
        !proof.is_empty() && self.proofs.get(&holder) == Some(proof)
    }

    fn allow(&mut self, join: Join) {
        self.actions.push_back(Action::Claim(join.claim));
        self.ready.insert(join.claim, join);
    }

    fn refuse(&mut self, claim: ClaimNo, why: JoinRefusal) {
        self.actions.push_back(Action::Refuse { claim, why });
    }

    fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    fn send(&mut self, to: HubId, message: &Message, token: u64) {
        // Encoding into memory cannot fail for these types; an empty message is ignored by its receiver.
        let payload = postcard::to_allocvec(message).unwrap_or_default().into();
        self.actions.push_back(Action::Send { to, payload, token });
    }

    fn probe(&mut self, claim: ClaimNo, asker: Asker, now: Moment) {
        let token = self.token();
        let deadline = now + self.config.probe_within + Duration::from_millis(500);
        self.probes.insert(
            token,
            Probe {
                claim,
                asker,
                deadline,
            },
        );
        self.actions.push_back(Action::Probe { claim, token });
    }

    /// Takes the join that an [`Action::Claim`] is about; its claim stands from now on.
    pub fn take_ready(&mut self, claim: ClaimNo) -> Option<Join> {
        let join = self.ready.remove(&claim)?;
        if !join.proof.is_empty() {
            self.proofs.insert(claim, join.proof.clone());
        }
        Some(join)
    }

    /// The claim is no more: withdrawn while pending, or retracted.
    pub fn on_gone(&mut self, claim: ClaimNo) {
        self.proofs.remove(&claim);
        self.ready.remove(&claim);
        if let Some(token) = self.by_claim.remove(&claim) {
            self.pending.remove(&token);
        }
        let orphaned: Vec<u64> = self
            .probes
            .iter()
            .filter(|(_, probe)| probe.claim == claim)
            .map(|(token, _)| *token)
            .collect();
        for token in orphaned {
            if let Some(probe) = self.probes.remove(&token) {
                self.conclude(probe, Verdict::Gone);
            }
        }
    }

    /// The data of a pending join changed before it was decided. False if it is not pending.
    pub fn update_pending(&mut self, claim: ClaimNo, data: Option<Bytes>, quiet: bool) -> bool {
        let Some(pending) = self
            .by_claim
            .get(&claim)
            .and_then(|token| self.pending.get_mut(token))
        else {
            return false;
        };
        pending.join.data = data;
        pending.join.quiet = quiet;
        true
    }

    /// An id changed hands.
    pub fn note_takeover(&mut self, now: Moment, network: &NetworkKey, peer: &PeerId) {
        let times = self
            .takeovers
            .entry((network.clone(), peer.clone()))
            .or_default();
        times.push_back(now);
        if times.len() > MAX_TAKEOVERS {
            times.pop_front();
        }
    }

    fn taken_over_too_often(&self, now: Moment, network: &NetworkKey, peer: &PeerId) -> bool {
        if self.takeovers.is_empty() {
            return false;
        }
        self.takeovers
            .get(&(network.clone(), peer.clone()))
            .is_some_and(|times| {
                times
                    .iter()
                    .filter(|at| now - **at < TAKEOVER_WINDOW)
                    .count()
                    >= MAX_TAKEOVERS
            })
    }

    /// The answer to [`Action::Probe`].
    pub fn on_probe_result(&mut self, token: u64, alive: bool) {
        let Some(probe) = self.probes.remove(&token) else {
            return;
        };
        if !alive {
            self.actions.push_back(Action::Expel(probe.claim));
        }
        self.conclude(probe, if alive { Verdict::Alive } else { Verdict::Dead });
    }

    fn conclude(&mut self, probe: Probe, verdict: Verdict) {
        match probe.asker {
            Asker::Hub { hub, token } => self.send(hub, &Message::Verdict { token, verdict }, 0),
            Asker::Local { token } => self.decided.push_back((token, verdict)),
        }
    }

    /// A message from another hub. Anything but a well-formed one is ignored.
    pub fn on_message(&mut self, now: Moment, directory: &Directory, from: HubId, payload: &[u8]) {
        match postcard::from_bytes(payload) {
            Ok(Message::Contest {
                token,
                network,
                peer,
                claim,
                proof,
            }) => {
                let key = NetworkKey::from_wire(&network)
                    .ok()
                    .zip(PeerId::new(&peer).ok());
                let held =
                    directory
                        .own_claim(claim)
                        .zip(key)
                        .is_some_and(|(view, (network, peer))| {
                            view.network == network && view.peer == peer
                        });
                if !held {
                    self.send(
                        from,
                        &Message::Verdict {
                            token,
                            verdict: Verdict::Gone,
                        },
                        0,
                    );
                } else if self.same_party(claim, &Bytes::from(proof)) {
                    self.send(
                        from,
                        &Message::Verdict {
                            token,
                            verdict: Verdict::SameParty,
                        },
                        0,
                    );
                } else if self.probes.len() < MAX_PENDING {
                    self.probe(claim, Asker::Hub { hub: from, token }, now);
                }
            }
            Ok(Message::Verdict { token, verdict }) => {
                let asked = self
                    .pending
                    .get(&token)
                    .is_some_and(|pending| pending.against.hub == from);
                if asked {
                    self.decide(now, directory, token, verdict);
                }
            }
            Err(_) => {}
        }
    }

    /// A message to another hub did not arrive, as far as is known.
    pub fn on_message_failed(&mut self, directory: &Directory, token: u64) {
        self.give_up(directory, token);
    }

    /// Without an answer the id is free only if nobody holds it any more.
    fn give_up(&mut self, directory: &Directory, token: u64) {
        let Some(pending) = self.remove_pending(token) else {
            return;
        };
        if directory
            .holder(&pending.join.network, &pending.join.peer)
            .is_none()
        {
            self.allow(pending.join);
        } else {
            self.refuse(pending.join.claim, pending.refusal);
        }
    }

    fn remove_pending(&mut self, token: u64) -> Option<Pending> {
        let pending = self.pending.remove(&token)?;
        self.by_claim.remove(&pending.join.claim);
        Some(pending)
    }

    fn decide(&mut self, now: Moment, directory: &Directory, token: u64, verdict: Verdict) {
        let Some(pending) = self.remove_pending(token) else {
            return;
        };
        if verdict == Verdict::Alive {
            return self.refuse(pending.join.claim, pending.refusal);
        }
        let holder = directory
            .holder(&pending.join.network, &pending.join.peer)
            .map(|(found, _)| found);
        let same = holder.is_some_and(|holder| {
            (holder.hub, holder.claim) == (pending.against.hub, pending.against.claim)
        });
        if same || holder.is_none() {
            self.allow(pending.join);
        } else {
            self.contest(now, directory, pending.join, pending.tries + 1);
        }
    }

    /// Carries verdicts on this hub's own holders to the joins that wait for them, each once all actions are
    /// carried out: of two that wait for the same dead holder, the second has to deal with the first.
    pub fn settle(&mut self, now: Moment, directory: &Directory) {
        while self.actions.is_empty()
            && let Some((token, verdict)) = self.decided.pop_front()
        {
            self.decide(now, directory, token, verdict);
        }
    }

    /// Ends what has waited long enough.
    pub fn handle_timeout(&mut self, now: Moment, directory: &Directory) {
        let silent: Vec<u64> = self
            .probes
            .iter()
            .filter(|(_, probe)| probe.deadline <= now)
            .map(|(token, _)| *token)
            .collect();
        for token in silent {
            self.on_probe_result(token, false);
        }
        let late: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.deadline <= now)
            .map(|(token, _)| *token)
            .collect();
        for token in late {
            self.give_up(directory, token);
        }
        self.takeovers.retain(|_, times| {
            times
                .back()
                .is_some_and(|last| now - *last < TAKEOVER_WINDOW)
        });
    }

    /// When [`handle_timeout`](Self::handle_timeout) is next needed.
    pub fn poll_timeout(&self) -> Option<Moment> {
        // Deadlines rise with the tokens, since every wait is equally long.
        let pending = self.pending.values().next().map(|pending| pending.deadline);
        let probe = self.probes.values().next().map(|probe| probe.deadline);
        pending.into_iter().chain(probe).min()
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// How many joins wait for a verdict.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }
}

#[cfg(test)]
mod tests;
