//! Bans: what operators keep out of the mesh. Every hub knows every ban until the ban expires.
//!
//! A ban is the data of a quiet claim in the network [`BANS`](super::ids::BANS); the id of the claim is the number of
//! the ban. Every hub keeps all bans that it has seen, and goes by these. The claims are how other hubs learn of bans.
//! All rules follow from that. Each hub applies them to its own claims alone:
//!
//! - One hub holds the claim of a ban. When no hub does, the hubs that know the ban claim it: the lowest in reach at
//!   once, each further one a little later. If several hubs hold the claim, the lowest keeps it.
//! - *Lifted* wins over all that is older. A hub that knows that a ban was lifted holds the claim that says so, for as
//!   long as the ban would have lasted, and a hub that sees this claim knows it too. So a ban does not come back with a
//!   hub that was away.
//! - Each hub forgets a ban when the ban is over by the hub's own wall clock. A claim of it means nothing any more
//!   then.
//! - A hub keeps `most` bans that count, and as many bans that were lifted. Of the lifted bans, the one that is over
//!   first gives way. If a ban of another hub does not fit, it is taken up when there is space.
//!
//! All hubs have an interest in this network, whether they hold a claim in it or not. Hubs that do not know of bans
//! carry these claims like any other. This file knows neither links nor who is banned. [`Core`] calls it when claims of
//! bans come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Core;
use super::api::{Ban, BanId, BansFull, Output, RoomClaim, bans_network};
use super::ids::{ClaimNo, LeaveReason, Moment, Now, PeerId};

/// The first number of the claims that hold bans: far from the numbers of sessions and of rooms.
const OWN_CLAIMS: u64 = 3 << 61;
/// How much later than the hub before it, in the order of ids, a hub claims a ban that no hub holds.
const ADOPT_STEP: Duration = Duration::from_millis(250);
/// The longest time until any hub claims such a ban.
const ADOPT_WITHIN: Duration = Duration::from_secs(2);

/// The bounds on bans.
#[derive(Clone, Copy, Debug)]
pub struct BansConfig {
    /// The most bans that count, and the most lifted bans, that a hub keeps.
    pub most: usize,
}

impl Default for BansConfig {
    fn default() -> Self {
        BansConfig { most: 1_000 }
    }
}

#[derive(Debug)]
struct Known {
    ban: Ban,
    /// The claim of this hub that holds the ban.
    held: Option<ClaimNo>,
    /// When this hub claims the ban, unless another hub does.
    adopts: Option<Moment>,
    /// When a look at this ban is due: the time is in [`Bans::due`].
    wakes: Vec<Moment>,
}

/// All bans that this hub knows.
#[derive(Debug)]
pub(super) struct Bans {
    most: usize,
    known: BTreeMap<BanId, Known>,
    /// When each ban is over, and when this hub is to claim it.
    due: BTreeSet<(Moment, BanId)>,
    /// The number of bans that count, and the number of lifted bans.
    counting: usize,
    lifted: usize,
    claims: u64,
    changed: bool,
    /// A ban was left out, and no alarm has said so yet.
    left_out: bool,
    /// Bans of other hubs were left out: they are taken up when there is space.
    passed_over: bool,
}

impl Bans {
    pub(super) fn new(config: BansConfig) -> Self {
        Bans {
            most: config.most,
            known: BTreeMap::new(),
            due: BTreeSet::new(),
            counting: 0,
            lifted: 0,
            claims: OWN_CLAIMS,
            changed: false,
            left_out: false,
            passed_over: false,
        }
    }

    /// Makes a look at a ban due at this time.
    fn wake(&mut self, id: BanId, at: Moment) {
        if let Some(known) = self.known.get_mut(&id)
            && self.due.insert((at, id))
        {
            known.wakes.push(at);
        }
    }

    /// The next ban at which a look is due now.
    fn woken(&mut self, now: Moment) -> Option<BanId> {
        let (at, id) = self.due.first().copied().filter(|(at, _)| *at <= now)?;
        self.due.pop_first();
        if let Some(known) = self.known.get_mut(&id) {
            known.wakes.retain(|wake| *wake != at);
        }
        Some(id)
    }

    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        self.due.first().map(|(at, _)| *at)
    }

    /// A ban that counted counts no more.
    fn lift(&mut self, id: BanId) -> bool {
        let Some(known) = self.known.get_mut(&id) else {
            return false;
        };
        if known.ban.lifted {
            return false;
        }
        known.ban.lifted = true;
        self.counting -= 1;
        self.lifted += 1;
        self.changed = true;
        true
    }

    /// Keeps what a claim says of a ban. A known ban stays as it is, unless the claim says that it was lifted. False if
    /// there is no space.
    fn learn(&mut self, now: Now, ban: Ban) -> bool {
        if self.known.contains_key(&ban.id) {
            if ban.lifted {
                self.lift(ban.id);
            }
            return true;
        }
        if ban.until_ms <= now.wall_ms {
            return true;
        }
        if ban.lifted {
            self.lifted += 1;
        } else if self.counting >= self.most {
            self.left_out = true;
            return false;
        } else {
            self.counting += 1;
            self.changed = true;
        }
        let left = Duration::from_millis(ban.until_ms - now.wall_ms);
        let id = ban.id;
        let known = Known {
            ban,
            held: None,
            adopts: None,
            wakes: Vec::new(),
        };
        self.known.insert(id, known);
        self.wake(id, now.at + left);
        true
    }

    /// The lifted ban that is over first, if there are too many lifted bans.
    fn excess(&self) -> Option<BanId> {
        if self.lifted <= self.most {
            return None;
        }
        let lifted = self.known.values().filter(|known| known.ban.lifted);
        let first = lifted.min_by_key(|known| (known.ban.until_ms, known.ban.id));
        first.map(|known| known.ban.id)
    }

    fn next_claim(&mut self) -> ClaimNo {
        self.claims += 1;
        ClaimNo(self.claims)
    }
}

impl Core {
    /// The bans that count.
    pub fn bans(&self) -> impl Iterator<Item = &Ban> {
        let all = self.presence.bans.known.values();
        all.map(|known| &known.ban).filter(|ban| !ban.lifted)
    }

    /// The number of claims of bans that this hub holds.
    pub fn bans_held(&self) -> usize {
        let all = self.presence.bans.known.values();
        all.filter(|known| known.held.is_some()).count()
    }

    /// An operator bans somebody: all hubs know it soon. [`Output::Bans`] follows.
    pub fn place_ban(&mut self, now: Now, ban: Ban) -> Result<(), BansFull> {
        let id = ban.id;
        if !self.presence.bans.learn(now, ban) {
            // The operator is told at once.
            self.presence.bans.left_out = false;
            return Err(BansFull);
        }
        if self.presence.bans.known.contains_key(&id) {
            self.hold_ban(now, id);
        }
        self.settle(now);
        Ok(())
    }

    /// An operator lifts a ban. False if there is none that counts.
    pub fn lift_ban(&mut self, now: Now, id: BanId) -> bool {
        if !self.presence.bans.lift(id) {
            return false;
        }
        // This hub holds the ban from now on: its claim is newer than that of the hub that held the ban before.
        self.hold_ban(now, id);
        self.forget_excess(now);
        self.take_up_bans(now);
        self.settle(now);
        true
    }

    /// Claims of these bans came or went.
    pub(super) fn review_bans(&mut self, now: Now, ids: BTreeSet<PeerId>) {
        if ids.is_empty() {
            return;
        }
        for peer in ids {
            self.review_ban(now, &peer);
        }
        self.forget_excess(now);
        self.take_up_bans(now);
    }

    /// Takes up bans of other hubs that were left out, as far as there is space now.
    fn take_up_bans(&mut self, now: Now) {
        let bans = &mut self.presence.bans;
        if !bans.passed_over || bans.counting >= bans.most {
            return;
        }
        bans.passed_over = false;
        let ids = self.directory.read().ids_claimed(&bans_network());
        for peer in ids {
            self.review_ban(now, &peer);
        }
        // An alarm told of the bans that do not fit when they were first left out.
        self.presence.bans.left_out = false;
        self.forget_excess(now);
    }

    fn review_ban(&mut self, now: Now, peer: &PeerId) {
        let PeerId::Hex(id) = peer else {
            return;
        };
        let id = BanId(*id);
        let claims = {
            let directory = self.directory.read();
            directory.claims_of_id(&bans_network(), peer)
        };
        for claim in &claims {
            let ban = claim.data.as_deref();
            let ban = ban.and_then(|data| Ban::read(peer, data, now.wall_ms));
            if let Some(ban) = ban
                && !self.presence.bans.learn(now, ban)
            {
                self.presence.bans.passed_over = true;
            }
        }
        let Some(known) = self.presence.bans.known.get(&id) else {
            return;
        };
        let data = Some(known.ban.write());
        let keeps = |claim: &&RoomClaim| claim.data == data;
        let keeper = claims.iter().filter(keeps).map(|claim| claim.hub).min();
        let shows = |held| {
            let mut all = claims.iter();
            all.any(|claim| claim.claim == held && claim.hub == self.me && claim.data == data)
        };
        match (known.held, keeper) {
            (Some(_), Some(keeper)) if keeper < self.me => self.give_ban_up(now, id),
            // The claim says something that is out of date.
            (Some(held), _) if !shows(held) => self.hold_ban(now, id),
            (Some(_), _) => {}
            (None, Some(_)) => {
                if let Some(known) = self.presence.bans.known.get_mut(&id) {
                    known.adopts = None;
                }
            }
            (None, None) => self.adopt_soon(now, id),
        }
    }

    /// No hub holds a ban: this hub claims it when its turn comes.
    fn adopt_soon(&mut self, now: Now, id: BanId) {
        let routes = self.routing.topology.routes();
        let before = routes.by_hub.keys().filter(|hub| **hub < self.me).count();
        let steps = u32::try_from(before).unwrap_or(u32::MAX);
        let at = now.at + ADOPT_STEP.saturating_mul(steps).min(ADOPT_WITHIN);
        let bans = &mut self.presence.bans;
        if let Some(known) = bans.known.get_mut(&id)
            && known.adopts.is_none()
        {
            known.adopts = Some(at);
            bans.wake(id, at);
        }
    }

    /// Shows a ban, as it is known here, as this hub's own claim.
    fn hold_ban(&mut self, now: Now, id: BanId) {
        let fresh = self.presence.bans.next_claim();
        let Some(known) = self.presence.bans.known.get_mut(&id) else {
            return;
        };
        known.adopts = None;
        let claim = *known.held.get_or_insert(fresh);
        let data = known.ban.write();
        self.hold_quietly(now, bans_network(), id.peer(), claim, data);
    }

    fn give_ban_up(&mut self, now: Now, id: BanId) {
        let known = self.presence.bans.known.get_mut(&id);
        if let Some(claim) = known.and_then(|known| known.held.take()) {
            self.retract(now, claim, LeaveReason::Closed);
        }
    }

    fn forget_excess(&mut self, now: Now) {
        while let Some(id) = self.presence.bans.excess() {
            self.forget_ban(now, id);
        }
        if std::mem::take(&mut self.presence.bans.left_out) {
            self.alarm(now, "bans-full", || {
                "a ban of another hub was left out: this one has as many as MAX_BANS allows".into()
            });
        }
    }

    fn forget_ban(&mut self, now: Now, id: BanId) {
        self.give_ban_up(now, id);
        let bans = &mut self.presence.bans;
        let Some(known) = bans.known.remove(&id) else {
            return;
        };
        for at in known.wakes {
            bans.due.remove(&(at, id));
        }
        if known.ban.lifted {
            bans.lifted -= 1;
        } else {
            bans.counting -= 1;
            bans.changed = true;
        }
    }

    /// Forgets the bans that are over, and claims bans that no hub holds.
    pub(super) fn handle_bans_timeout(&mut self, now: Now) {
        while let Some(id) = self.presence.bans.woken(now.at) {
            let Some(known) = self.presence.bans.known.get(&id) else {
                continue;
            };
            let left = known.ban.until_ms.saturating_sub(now.wall_ms);
            if left == 0 {
                self.forget_ban(now, id);
            } else if known.adopts.is_some_and(|adopts| adopts <= now.at) {
                self.hold_ban(now, id);
            } else if known.wakes.is_empty() {
                // The wall clock was set back meanwhile.
                let at = now.at + Duration::from_millis(left);
                self.presence.bans.wake(id, at);
            }
        }
        self.take_up_bans(now);
    }

    /// Tells the driver if the set of bans that count has changed.
    pub(super) fn tell_of_bans(&mut self) {
        if std::mem::take(&mut self.presence.bans.changed) {
            self.outputs.push_back(Output::Bans);
        }
    }
}

#[cfg(test)]
mod tests;
