//! The networks whose members at other hubs this hub needs to know.
//!
//! In a small mesh every hub has every claim. Above a size (`MESH_FULL_DIRECTORY_PEERS`, or a hundred hubs) a hub
//! subscribes to the names of the others' networks, and to the members only of networks of *interest*: those in which
//! it has a peer, a peer asks to be, a peer was a moment ago, or a signal waits for its target, those that somebody
//! looks at, and the rooms that it guards (`guards`). `narrowing` adds the sets to which its neighbours subscribe.
//!
//! Owns the networks of interest, the joins and looks that wait until the members of their network are known, and the
//! decisions about the size of the mesh. Knows nothing of links and of claims; `narrowing` carries out what follows.
//!
//! Invariants: a network is of interest while it has a reason, and for [`InterestConfig::linger`] after the last; each
//! join that waits goes on once, or is withdrawn; a look ends with the joins of its network.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::api::Join;
use super::ids::{ClaimNo, HubId, Moment, NetworkKey};

/// How long a network stays of interest because a peer asks to be in it: longer than any contest for an id.
const WHILE_JOINING: Duration = Duration::from_secs(15);
/// The time between two checks for signals that wait in a network without members here.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The most joins that wait for the members of their networks.
const MAX_WAITING: usize = 100_000;
/// After a hub let a join wait in vain: how long joins do not wait for it.
const TARDY_FOR: Duration = Duration::from_secs(60);
/// The least time between two checks of the whole mesh.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// When interest replaces whole sets.
#[derive(Clone, Debug)]
pub struct InterestConfig {
    /// This hub knows of interest, and tells others so.
    pub known: bool,
    /// With up to this many peers in the mesh every hub has all claims.
    pub full_peers: usize,
    /// With up to this many hubs in the mesh every hub has all claims.
    pub full_hubs: usize,
    /// How long the mesh must have been smaller, by a quarter, before hubs exchange whole sets again.
    pub calm: Duration,
    /// How long a network stays of interest after the last reason.
    pub linger: Duration,
    /// How long a join waits for the members of its network.
    pub wait: Duration,
}

impl Default for InterestConfig {
    fn default() -> Self {
        InterestConfig {
            known: true,
            full_peers: 1_000_000,
            full_hubs: 100,
            calm: Duration::from_secs(60),
            linger: Duration::from_secs(5),
            wait: Duration::from_secs(2),
        }
    }
}

#[derive(Debug, Default)]
struct HeldJoins {
    joins: Vec<Join>,
    /// Its members are known: joins are decided at once.
    known: bool,
    /// When the joins go on at the latest.
    limit: Option<Moment>,
    /// The limit was put off once.
    waits_longer: bool,
    /// When its interest ends, unless there is a reason by then.
    ends: Option<Moment>,
}

/// A step that is due for a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum InterestDue {
    /// Its joins have waited long enough.
    GoOn,
    /// Its interest ends, if there is no reason for it.
    End,
}

/// The networks of interest.
#[derive(Debug)]
pub(super) struct Interest {
    pub(super) config: InterestConfig,
    /// This hub subscribes to single networks of other hubs.
    pub(super) narrow: bool,
    /// The hubs to whose single networks this hub subscribes.
    pub(super) by_parts: BTreeSet<HubId>,
    networks: BTreeMap<NetworkKey, HeldJoins>,
    due: BTreeSet<(Moment, NetworkKey)>,
    asking: BTreeMap<ClaimNo, NetworkKey>,
    /// The networks that somebody looks at, and whose members are not known yet.
    looks: BTreeSet<NetworkKey>,
    tardy: BTreeMap<HubId, Moment>,
    asks: bool,
    small_since: Option<Moment>,
    look_at: Option<Moment>,
    looked: Option<Moment>,
}

impl Interest {
    pub(super) fn new(config: InterestConfig) -> Self {
        Interest {
            config,
            narrow: false,
            by_parts: BTreeSet::new(),
            networks: BTreeMap::new(),
            due: BTreeSet::new(),
            asking: BTreeMap::new(),
            looks: BTreeSet::new(),
            tardy: BTreeMap::new(),
            asks: false,
            small_since: None,
            look_at: None,
            looked: None,
        }
    }

    /// Whether interest matters: this hub does not have all claims of some other hub.
    pub(super) fn is_active(&self) -> bool {
        self.narrow || !self.by_parts.is_empty()
    }

    /// Whether a network is of interest.
    pub(super) fn includes(&self, network: &NetworkKey) -> bool {
        self.networks.contains_key(network)
    }

    /// How many networks are of interest.
    pub(super) fn len(&self) -> usize {
        self.networks.len()
    }

    /// How many joins wait.
    pub(super) fn waiting(&self) -> usize {
        self.asking.len()
    }

    /// A network has a member here. True if it was not of interest before.
    pub(super) fn on_member(&mut self, network: &NetworkKey) -> bool {
        let fresh = !self.includes(network);
        let held = self.networks.entry(network.clone()).or_default();
        held.ends = None;
        // A join that got here without a wait found the members known, or may not wait.
        held.known |= held.joins.is_empty();
        fresh
    }

    /// A network has no member here any more.
    pub(super) fn on_last_gone(&mut self, now: Moment, network: &NetworkKey, linger: Duration) {
        self.ends_at(network, now + linger);
    }

    fn ends_at(&mut self, network: &NetworkKey, at: Moment) {
        if let Some(held) = self.networks.get_mut(network) {
            held.ends = Some(at);
            self.due.insert((at, network.clone()));
        }
    }

    /// This hub guards a network from now on. True if it was not of interest before.
    pub(super) fn on_guard(&mut self, network: &NetworkKey) -> bool {
        let fresh = !self.includes(network);
        self.networks.entry(network.clone()).or_default();
        fresh
    }

    /// This hub guards a network no more.
    pub(super) fn on_guard_end(&mut self, now: Moment, network: &NetworkKey) {
        self.lasts_until(network, now + self.config.linger);
    }

    /// A network is of interest until then, or longer if it was before.
    fn lasts_until(&mut self, network: &NetworkKey, at: Moment) {
        let before = self.networks.get(network).and_then(|held| held.ends);
        self.ends_at(network, before.map_or(at, |before| before.max(at)));
    }

    /// A peer asks to be in a network, which may be about to be taken over. Returns the join if it need not wait; also
    /// true if the network was not of interest before.
    pub(super) fn on_join(
        &mut self,
        now: Moment,
        join: Join,
        has_members: bool,
        is_lost: bool,
    ) -> (Option<Join>, bool) {
        let network = join.network.clone();
        let fresh = !self.includes(&network);
        let held = self.networks.entry(network.clone()).or_default();
        let (known, limit) = (held.known && !is_lost, now + self.config.wait);
        if !has_members {
            self.ends_at(&network, now + WHILE_JOINING);
        }
        if known || self.asking.len() >= MAX_WAITING {
            return (Some(join), fresh);
        }
        self.asking.insert(join.claim, network.clone());
        if let Some(held) = self.networks.get_mut(&network) {
            held.joins.push(join);
            if held.limit.is_none() {
                held.limit = Some(limit);
                self.due.insert((limit, network));
            }
        }
        (None, fresh)
    }

    /// Somebody looks at a network. The look waits even if joins need not: a hub may have come to list the network since
    /// its members were known. True if the network was not of interest before.
    pub(super) fn on_look(&mut self, now: Moment, network: &NetworkKey, has_members: bool) -> bool {
        let fresh = !self.includes(network);
        let held = self.networks.entry(network.clone()).or_default();
        let limit = now + self.config.wait;
        if self.looks.insert(network.clone()) && held.limit.is_none() {
            held.limit = Some(limit);
            self.due.insert((limit, network.clone()));
        }
        if !has_members {
            // The interest outlasts the wait.
            self.lasts_until(network, limit + self.config.linger);
        }
        fresh
    }

    /// The networks that joins or looks wait for.
    pub(super) fn waited_for(&self) -> Vec<NetworkKey> {
        let waited: BTreeSet<&NetworkKey> = self.asking.values().chain(&self.looks).collect();
        waited.into_iter().cloned().collect()
    }

    /// Whether joins or looks wait for this network.
    pub(super) fn is_waited_for(&self, network: &NetworkKey) -> bool {
        let held = self.networks.get(network);
        held.is_some_and(|held| !held.joins.is_empty()) || self.looks.contains(network)
    }

    /// Whether nothing waits for any network.
    pub(super) fn is_idle(&self) -> bool {
        self.asking.is_empty() && self.looks.is_empty()
    }

    /// Ends the look at a network. False if nobody looks.
    pub(super) fn end_look(&mut self, network: &NetworkKey) -> bool {
        self.looks.remove(network)
    }

    /// The joins of a network wait until `limit`, if there are any and this is the first time.
    pub(super) fn wait_longer(&mut self, network: &NetworkKey, limit: Moment) -> bool {
        let held = self.networks.get_mut(network);
        let Some(held) = held.filter(|held| !held.joins.is_empty() && !held.waits_longer) else {
            return false;
        };
        held.waits_longer = true;
        held.limit = Some(limit);
        self.due.insert((limit, network.clone()));
        true
    }

    /// The members of a network are known, or the wait is over: returns the joins.
    pub(super) fn go_on(&mut self, network: &NetworkKey) -> Vec<Join> {
        let Some(held) = self.networks.get_mut(network) else {
            return Vec::new();
        };
        held.known = true;
        held.waits_longer = false;
        held.limit = None;
        let joins = std::mem::take(&mut held.joins);
        for join in &joins {
            self.asking.remove(&join.claim);
        }
        joins
    }

    /// A join is withdrawn before it was decided.
    pub(super) fn withdraw(&mut self, claim: ClaimNo) {
        let network = self.asking.remove(&claim);
        if let Some(held) = network.and_then(|network| self.networks.get_mut(&network)) {
            held.joins.retain(|join| join.claim != claim);
        }
    }

    /// The data of a join changed before it was decided. False if it does not wait.
    pub(super) fn update(&mut self, claim: ClaimNo, data: Option<&Bytes>, quiet: bool) -> bool {
        let network = self.asking.get(&claim);
        let held = network.and_then(|network| self.networks.get_mut(network));
        let Some(join) = held.and_then(|held| held.joins.iter_mut().find(|j| j.claim == claim))
        else {
            return false;
        };
        join.data = data.cloned();
        join.quiet = quiet;
        true
    }

    /// A network is not of interest any more.
    pub(super) fn end(&mut self, network: &NetworkKey) {
        self.networks.remove(network);
    }

    /// There is a reason whose end is not reported: check it again later.
    pub(super) fn look_again(&mut self, now: Moment, network: &NetworkKey) {
        self.ends_at(network, now + LOOK_AGAIN);
    }

    /// Nothing is of interest: every hub has all claims. Returns the joins that waited, and the networks that somebody
    /// looked at.
    pub(super) fn clear(&mut self) -> (Vec<Join>, BTreeSet<NetworkKey>) {
        self.due.clear();
        self.asking.clear();
        let held = std::mem::take(&mut self.networks);
        let joins = held.into_values().flat_map(|held| held.joins).collect();
        (joins, std::mem::take(&mut self.looks))
    }

    /// The steps that are due by `now`.
    pub(super) fn take_due(&mut self, now: Moment) -> Option<(NetworkKey, InterestDue)> {
        while let Some((at, network)) = self.due.first().cloned() {
            if at > now {
                return None;
            }
            self.due.pop_first();
            let Some(held) = self.networks.get_mut(&network) else {
                continue;
            };
            if held.limit == Some(at) {
                if held.ends == Some(at) {
                    self.due.insert((at, network.clone()));
                }
                held.limit = None;
                return Some((network, InterestDue::GoOn));
            }
            if held.ends == Some(at) {
                held.ends = None;
                return Some((network, InterestDue::End));
            }
        }
        None
    }

    /// A hub let joins wait in vain.
    pub(super) fn note_tardy(&mut self, now: Moment, hub: HubId) {
        self.tardy.insert(hub, now + TARDY_FOR);
    }

    /// A hub has answered, or is gone.
    pub(super) fn forget_tardy(&mut self, hub: &HubId) {
        self.tardy.remove(hub);
    }

    /// Whether joins wait for this hub.
    pub(super) fn waits_for(&self, now: Moment, hub: &HubId) -> bool {
        self.tardy.get(hub).is_none_or(|until| *until <= now)
    }

    /// The mesh may have changed: check it soon.
    pub(super) fn look_soon(&mut self, now: Moment) {
        let at = self.looked.map_or(now, |last| now.max(last + LOOK_EVERY));
        self.look_at = Some(self.look_at.map_or(at, |before| before.min(at)));
    }

    /// Whether it is time to check the mesh.
    pub(super) fn is_look_due(&mut self, now: Moment) -> bool {
        let due = self.look_at.is_some_and(|at| at <= now);
        if due {
            self.look_at = None;
            self.looked = Some(now);
        }
        due
    }

    /// Whether this hub asks for interest, with this many hubs and peers in the mesh as far as it knows.
    pub(super) fn judge(&mut self, now: Moment, hubs: usize, peers: usize) -> bool {
        let InterestConfig {
            full_peers,
            full_hubs,
            calm,
            ..
        } = self.config;
        if hubs > full_hubs || peers > full_peers {
            self.asks = true;
            self.small_since = None;
        } else if hubs <= full_hubs - full_hubs / 4 && peers <= full_peers - full_peers / 4 {
            let since = *self.small_since.get_or_insert(now);
            if now - since >= calm {
                self.asks = false;
            } else if self.asks {
                self.look_at = Some(since + calm);
            }
        } else {
            self.small_since = None;
        }
        self.asks
    }

    /// When something is next due.
    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        let due = self.due.first().map(|(at, _)| *at);
        due.into_iter().chain(self.look_at).min()
    }
}
