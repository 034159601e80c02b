//! Decides who gets an id that another claim already has.
//!
//! A newcomer gets a held id only when the holder is the same party (equal, non-empty proofs), is found dead, or is
//! gone. The hub of the holder decides: it compares the proofs; if they differ, it asks the holder for a sign of life
//! and gives it two seconds. A living holder of another party keeps the id. So does any living holder of an id that
//! changed hands too often in a short time: cloned clients, which all have the same proof, must not fight for it for
//! ever, but a client that moves from network to network leaves dead connections behind.
//!
//! A newcomer that gets an id from a dead holder, or from one that is gone, first has to show a sign of life itself. Of
//! all newcomers that wait for the id, the first that does so gets it; newcomers that died while they waited cost it no
//! time. A bounded number may wait for one id. When there are too many, a join from the address that has the most of
//! them is refused.
//!
//! Knows nothing of links: messages to other hubs leave as [`ContestAction::Send`] and are sent like signals. Every
//! pending join ends in exactly one [`ContestAction::Claim`] or [`ContestAction::Refuse`], unless it is withdrawn.

mod pending;
mod probes;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::api::{Join, JoinRefusal, WantedId};
use super::directory::Directory;
use super::exchange::Found;
use super::ids::{ClaimNo, HubId, Moment, NetworkKey, PeerId};
use pending::{Attempt, Contender, ContestedId, Pending, PendingJoins, Stage};
use probes::{Asked, Asker, Probe, Probes};

/// How often an id may change hands within [`TAKEOVER_WINDOW`], as seen by one hub.
const MAX_TAKEOVERS: usize = 3;
const TAKEOVER_WINDOW: Duration = Duration::from_secs(30);
/// How often a join is contested again because the holder changed meanwhile.
const MAX_TRIES: u8 = 3;
/// How much longer than its own time limit the hub waits for a probe that one of its own sessions answers.
const PROBE_GRACE: Duration = Duration::from_millis(500);
/// How much longer than the probe itself its answer may take: another hub's round trip.
const GRACE: Duration = Duration::from_millis(1_500);

/// The configuration of contests.
#[derive(Clone, Copy, Debug)]
pub struct ContestConfig {
    /// The newer connection always wins, without a question.
    pub replace: bool,
    /// How long a holder has to show a sign of life.
    pub probe_within: Duration,
    /// How long a hub that cannot be reached still counts: a contest with one of its peers waits that long for it to be
    /// gone.
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

/// An action that the contests want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContestAction {
    /// The join is accepted: claim the id.
    Claim(ClaimNo),
    /// The join is refused.
    Refuse {
        /// The join's claim.
        claim: ClaimNo,
        /// The reason.
        why: JoinRefusal,
    },
    /// Ask the holder of this claim for a sign of life.
    Probe {
        /// The holder's claim.
        claim: ClaimNo,
        /// Returned with the answer.
        token: u64,
    },
    /// Send this to a hub; if it fails, say so with the token.
    Send {
        /// The hub.
        to: HubId,
        /// The message.
        payload: Bytes,
        /// Returned if sending fails.
        token: u64,
    },
    /// The holder is dead: retract its claim and close its connection.
    Expel(ClaimNo),
}

/// The messages between hubs about contested ids. Their first bytes are 0 and 1; messages that begin with 2 belong to
/// `core/exchange/unread.rs`.
#[derive(Serialize, Deserialize, Debug, PartialEq, Eq)]
enum ContestMessage {
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
    /// The holder lives and is another party.
    Alive,
}

/// All contests that this hub takes part in.
#[derive(Debug)]
pub struct Contests {
    me: HubId,
    config: ContestConfig,
    proofs: HashMap<ClaimNo, Bytes>,
    waiting: PendingJoins,
    ready: HashMap<ClaimNo, Join>,
    probes: Probes,
    takeovers: BTreeMap<ContestedId, VecDeque<Moment>>,
    next_token: u64,
    /// Verdicts on this hub's own peers, for pending joins of its own.
    decided: VecDeque<(u64, Verdict)>,
    actions: VecDeque<ContestAction>,
}

impl Contests {
    /// No contests yet.
    pub fn new(me: HubId, config: ContestConfig) -> Self {
        Contests {
            me,
            config,
            proofs: HashMap::new(),
            waiting: PendingJoins::default(),
            ready: HashMap::new(),
            probes: Probes::new(config.probe_within + PROBE_GRACE),
            takeovers: BTreeMap::new(),
            next_token: 0,
            decided: VecDeque::new(),
            actions: VecDeque::new(),
        }
    }

    /// This hub has another id from now on.
    pub fn set_id(&mut self, me: HubId) {
        self.me = me;
    }

    /// A local peer asks for an id.
    pub fn begin(&mut self, now: Moment, directory: &Directory, join: Join) {
        let attempt = Attempt {
            since: now,
            tries: 0,
        };
        self.contest(now, directory, join, attempt);
    }

    fn contest(&mut self, now: Moment, directory: &Directory, join: Join, attempt: Attempt) {
        let Some((holder, _)) = directory.holder(&join.network, &join.peer) else {
            return self.contend(now, join, attempt);
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
        if attempt.tries >= MAX_TRIES || !self.makes_space(&join) {
            return self.refuse(join.claim, refusal);
        }
        let token = self.token();
        if local {
            self.ask(now, holder.claim, Asker::Local { token });
        } else {
            // Past the limit the proof is not sent, so that only the holder's death frees the id.
            let proof = if limited { &[] } else { join.proof.as_ref() };
            let message = ContestMessage::Contest {
                token,
                network: join.network.as_str().to_owned(),
                peer: join.peer.to_string(),
                claim: holder.claim,
                proof: proof.to_vec(),
            };
            self.send(holder.hub, &message, token);
        }
        let contender = Contender {
            join,
            refusal,
            attempt,
        };
        self.suspend(now, token, contender, Stage::Against(holder));
    }

    /// The id is free. Joins that have waited for it come first, if their peers are still alive.
    fn contend(&mut self, now: Moment, join: Join, attempt: Attempt) {
        if !self.waiting.contains_rival_of(&join) {
            return self.allow(join);
        }
        let refusal = JoinRefusal::Taken;
        if !self.makes_space(&join) {
            return self.refuse(join.claim, refusal);
        }
        let contender = Contender {
            join,
            refusal,
            attempt,
        };
        self.prove(now, contender, None);
    }

    /// Asks the newcomer for a sign of life, before it gets the id of this holder.
    fn prove(&mut self, now: Moment, contender: Contender, lost: Option<Found>) {
        let token = self.token();
        self.ask(now, contender.join.claim, Asker::Local { token });
        self.suspend(now, token, contender, Stage::Proving(lost));
    }

    /// How long a join waits.
    fn suspend(&mut self, now: Moment, token: u64, contender: Contender, stage: Stage) {
        let patience = self.config.probe_within.max(self.config.hold) + GRACE;
        let pending = Pending {
            contender,
            stage,
            deadline: now + patience,
        };
        self.waiting.insert(token, pending);
    }

    /// Whether one more join may wait; another may be refused in its place.
    fn makes_space(&mut self, join: &Join) -> bool {
        let Ok(gives_way) = self.waiting.make_space(join) else {
            return false;
        };
        if let Some(Pending { contender, .. }) = gives_way {
            self.refuse(contender.join.claim, contender.refusal);
        }
        true
    }

    fn ask(&mut self, now: Moment, claim: ClaimNo, asker: Asker) {
        let token = self.token();
        match self.probes.ask(now, claim, asker, token) {
            Asked::Probe(token) => self
                .actions
                .push_back(ContestAction::Probe { claim, token }),
            Asked::Joined => {}
            // A hub that asks too often gets the answer that costs its newcomers least: come back later.
            Asked::Alive | Asked::TooMany => self.tell(asker, Verdict::Alive),
        }
    }

    fn tell(&mut self, asker: Asker, verdict: Verdict) {
        match asker {
            Asker::Hub { hub, token } => {
                self.send(hub, &ContestMessage::Verdict { token, verdict }, 0)
            }
            Asker::Local { token } => self.decided.push_back((token, verdict)),
        }
    }

    fn conclude(&mut self, probe: Probe, verdict: Verdict) {
        for asker in probe.askers {
            self.tell(asker, verdict);
        }
    }

    fn same_party(&self, holder: ClaimNo, proof: &Bytes) -> bool {
        !proof.is_empty() && self.proofs.get(&holder) == Some(proof)
    }

    fn allow(&mut self, join: Join) {
        self.actions.push_back(ContestAction::Claim(join.claim));
        self.ready.insert(join.claim, join);
    }

    fn refuse(&mut self, claim: ClaimNo, why: JoinRefusal) {
        self.actions.push_back(ContestAction::Refuse { claim, why });
    }

    fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    fn send(&mut self, to: HubId, message: &ContestMessage, token: u64) {
        // Encoding into memory cannot fail for these types; an empty message is ignored by its receiver.
        let payload = postcard::to_allocvec(message).unwrap_or_default().into();
        self.actions
            .push_back(ContestAction::Send { to, payload, token });
    }

    /// Removes the join of an [`ContestAction::Claim`]; its claim is accepted from now on.
    pub fn take_ready(&mut self, claim: ClaimNo) -> Option<Join> {
        let join = self.ready.remove(&claim)?;
        self.probes.on_claimed(claim);
        if !join.proof.is_empty() {
            self.proofs.insert(claim, join.proof.clone());
        }
        Some(join)
    }

    /// The claim is over: withdrawn while pending, or retracted.
    pub fn on_gone(&mut self, claim: ClaimNo) {
        self.proofs.remove(&claim);
        self.ready.remove(&claim);
        if let Some(token) = self.waiting.token_of(claim) {
            self.waiting.remove(token);
        }
        if let Some(probe) = self.probes.on_gone(claim) {
            self.conclude(probe, Verdict::Gone);
        }
    }

    /// The data of a pending join changed before it was decided. False if it is not pending.
    pub fn update_pending(&mut self, claim: ClaimNo, data: Option<Bytes>, quiet: bool) -> bool {
        let Some(join) = self.waiting.join_mut(claim) else {
            return false;
        };
        join.data = data;
        join.quiet = quiet;
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

    /// The answer to [`ContestAction::Probe`].
    pub fn on_probe_result(&mut self, now: Moment, token: u64, alive: bool) {
        let Some(probe) = self.probes.answer(now, token, alive) else {
            return;
        };
        // A newcomer has nothing to lose yet.
        if !alive && self.waiting.token_of(probe.claim).is_none() {
            self.actions.push_back(ContestAction::Expel(probe.claim));
        }
        self.conclude(probe, if alive { Verdict::Alive } else { Verdict::Dead });
    }

    /// A message from another hub. Malformed ones are ignored.
    pub fn on_message(&mut self, now: Moment, directory: &Directory, from: HubId, payload: &[u8]) {
        match postcard::from_bytes(payload) {
            Ok(ContestMessage::Contest {
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
                let asker = Asker::Hub { hub: from, token };
                if !held {
                    self.tell(asker, Verdict::Gone);
                } else if self.same_party(claim, &Bytes::from(proof)) {
                    self.tell(asker, Verdict::SameParty);
                } else {
                    self.ask(now, claim, asker);
                }
            }
            Ok(ContestMessage::Verdict { token, verdict }) => {
                let asked = |stage| matches!(stage, Stage::Against(holder) if holder.hub == from);
                if self.waiting.stage(token).is_some_and(asked) {
                    self.decide(now, directory, token, verdict);
                }
            }
            Err(_) => {}
        }
    }

    /// A message to another hub did not arrive, as far as is known.
    pub fn on_message_failed(&mut self, now: Moment, directory: &Directory, token: u64) {
        self.give_up(now, directory, token);
    }

    /// Without an answer the id is free only if no claim holds it any more.
    fn give_up(&mut self, now: Moment, directory: &Directory, token: u64) {
        let Some(Pending {
            contender, stage, ..
        }) = self.waiting.remove(token)
        else {
            return;
        };
        let join = &contender.join;
        let held = directory.holder(&join.network, &join.peer).is_some();
        match stage {
            Stage::Against(lost) if !held => self.prove(now, contender, Some(lost)),
            _ => self.refuse(join.claim, contender.refusal),
        }
    }

    fn decide(&mut self, now: Moment, directory: &Directory, token: u64, verdict: Verdict) {
        let Some(Pending {
            contender, stage, ..
        }) = self.waiting.remove(token)
        else {
            return;
        };
        match (stage, verdict) {
            (Stage::Against(lost), Verdict::Dead | Verdict::Gone) => {
                self.prove(now, contender, Some(lost));
            }
            (Stage::Against(lost), Verdict::SameParty) => {
                self.replace(now, directory, contender, Some(lost));
            }
            (Stage::Proving(lost), Verdict::Alive | Verdict::SameParty) => {
                self.replace(now, directory, contender, lost);
            }
            (Stage::Against(_), Verdict::Alive)
            | (Stage::Proving(_), Verdict::Dead | Verdict::Gone) => {
                self.refuse(contender.join.claim, contender.refusal);
            }
        }
    }

    /// Accepts the join, unless another than the one that lost the id holds it by now.
    fn replace(
        &mut self,
        now: Moment,
        directory: &Directory,
        contender: Contender,
        lost: Option<Found>,
    ) {
        let Contender { join, attempt, .. } = contender;
        let claim_of = |found: Found| (found.hub, found.claim);
        let holder = directory.holder(&join.network, &join.peer);
        match holder.map(|(found, _)| claim_of(found)) {
            Some(holder) if lost.map(claim_of) != Some(holder) => {
                let again = Attempt {
                    tries: attempt.tries + 1,
                    ..attempt
                };
                self.contest(now, directory, join, again);
            }
            _ => self.allow(join),
        }
    }

    /// Carries verdicts on this hub's own holders to the joins that wait for them, each after all earlier actions are
    /// carried out: of two joins that wait for the same dead holder, the second contests with the first.
    pub fn settle(&mut self, now: Moment, directory: &Directory) {
        while self.actions.is_empty()
            && let Some((token, verdict)) = self.decided.pop_front()
        {
            self.decide(now, directory, token, verdict);
        }
    }

    /// Ends joins and questions whose time is over.
    pub fn handle_timeout(&mut self, now: Moment, directory: &Directory) {
        while let Some(token) = self.probes.next_overdue(now) {
            self.on_probe_result(now, token, false);
        }
        while let Some(token) = self.waiting.next_overdue(now) {
            self.give_up(now, directory, token);
        }
        self.probes.forget(now);
        self.takeovers.retain(|_, times| {
            times
                .back()
                .is_some_and(|last| now - *last < TAKEOVER_WINDOW)
        });
    }

    /// When [`handle_timeout`](Self::handle_timeout) is next needed.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let deadlines = [self.waiting.poll_timeout(), self.probes.poll_timeout()];
        deadlines.into_iter().flatten().min()
    }

    /// The next action.
    pub fn poll_action(&mut self) -> Option<ContestAction> {
        self.actions.pop_front()
    }

    /// Whether a join to this network waits for a verdict.
    pub fn wants(&self, network: &NetworkKey) -> bool {
        self.waiting.wants(network) || self.ready.values().any(|join| join.network == *network)
    }

    /// The ids that joins wait for, in the order of their networks. Looks at all that wait.
    pub fn contested(&self) -> impl Iterator<Item = WantedId<'_>> {
        self.waiting.ids()
    }

    /// How many joins wait for a verdict.
    pub fn pending(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests;
