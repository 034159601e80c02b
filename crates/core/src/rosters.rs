//! Which other members of its network each local peer is told of.
//!
//! In a network of up to `limit` peers every peer is told of all others. In a larger one that would cost the square of
//! its size. So a peer that joins is told of a neighbourhood of `limit` ids, and only those are told of it: every hub
//! computes the same neighbourhood from the same directory. From then on, this part stores for each local peer which
//! others it was told of, so that leaves and updates reach exactly those peers, and joins and leaves alternate. When
//! nearly all of a peer's neighbourhood has left, it is told of its present one, so that no peer is alone in a large
//! network.
//!
//! In dialects whose peers are not shown to each other, no peer is told of any other.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::api::{Output, PeerEvent, Recipients};
use super::directory::{Directory, IdChange};
use super::ids::{ClaimNo, NetworkKey, PeerId};

/// A peer knows few others when it knows less than this part of the limit.
const LONELY: usize = 8;

/// How many such peers are told of others at once: each costs up to `limit` notices, and they may be many.
const REFILLS_AT_ONCE: usize = 4;

/// Which peers know which others in one large network.
///
/// The peers that were there when it became large all know each other. That is stored once, not for each pair: a
/// growing network costs its size, not the square of it.
#[derive(Debug, Default)]
struct Large {
    /// The peers that the elders were told of before the network became large, and that are still there.
    old: BTreeSet<PeerId>,
    /// The local claims that have been told of all `old` ones but themselves, and their own ids.
    elders: BTreeMap<ClaimNo, PeerId>,
    /// The other peers that each local claim has been told of.
    known: BTreeMap<ClaimNo, BTreeSet<PeerId>>,
    /// The local claims that have been told of each peer: the inverse of `known`.
    watchers: BTreeMap<PeerId, BTreeSet<ClaimNo>>,
}

impl Large {
    fn knows(&self, claim: ClaimNo, peer: &PeerId) -> bool {
        let told_early = |own: &PeerId| own != peer && self.old.contains(peer);
        let told_since = |known: &BTreeSet<PeerId>| known.contains(peer);
        self.elders.get(&claim).is_some_and(told_early)
            || self.known.get(&claim).is_some_and(told_since)
    }

    /// The local claims that have been told of a peer, in order.
    fn watchers(&self, peer: &PeerId) -> Vec<ClaimNo> {
        let since = self.watchers.get(peer).into_iter().flatten().copied();
        if !self.old.contains(peer) {
            return since.collect();
        }
        let elders = self.elders.iter().filter(|(_, own)| *own != peer);
        let all: BTreeSet<ClaimNo> = since.chain(elders.map(|(claim, _)| *claim)).collect();
        all.into_iter().collect()
    }

    /// How many others a local claim has been told of that are still there.
    fn known_to(&self, claim: ClaimNo) -> usize {
        let early = self.elders.get(&claim).map_or(0, |own| {
            self.old.len() - usize::from(self.old.contains(own))
        });
        early + self.known.get(&claim).map_or(0, BTreeSet::len)
    }

    fn learn(&mut self, claim: ClaimNo, peer: &PeerId) -> bool {
        if self.knows(claim, peer) {
            return false;
        }
        let fresh = self.known.entry(claim).or_default().insert(peer.clone());
        if fresh {
            self.watchers.entry(peer.clone()).or_default().insert(claim);
        }
        fresh
    }

    fn unlearn_peer(&mut self, peer: &PeerId) -> Vec<ClaimNo> {
        let told = self.watchers(peer);
        self.old.remove(peer);
        for claim in self.watchers.remove(peer).unwrap_or_default() {
            if let Some(known) = self.known.get_mut(&claim) {
                known.remove(peer);
            }
        }
        told
    }

    fn is_empty(&self) -> bool {
        self.elders.is_empty() && self.known.is_empty()
    }

    fn forget_claim(&mut self, claim: ClaimNo) {
        self.elders.remove(&claim);
        for peer in self.known.remove(&claim).unwrap_or_default() {
            if let Some(watchers) = self.watchers.get_mut(&peer) {
                watchers.remove(&claim);
                if watchers.is_empty() {
                    self.watchers.remove(&peer);
                }
            }
        }
    }
}

/// What all local peers have been told.
#[derive(Debug)]
pub struct Rosters {
    /// 0: no limit.
    limit: usize,
    large: BTreeMap<NetworkKey, Large>,
    /// Local claims that know few others after a leave, until they are told of more.
    lonely: BTreeSet<(NetworkKey, ClaimNo)>,
}

#[cfg(test)]
impl Rosters {
    /// The number of entries of which peers know which.
    pub(super) fn entries(&self) -> usize {
        let of = |large: &Large| {
            let pairs = large.known.values().map(BTreeSet::len).sum::<usize>();
            large.old.len() + large.elders.len() + pairs
        };
        self.large.values().map(of).sum()
    }
}

impl Rosters {
    /// No peer has been told of any other. `limit` 0 means no limit.
    pub fn new(limit: usize) -> Self {
        Rosters {
            limit,
            large: BTreeMap::new(),
            lonely: BTreeSet::new(),
        }
    }

    /// The first roster of a shown local claim that has just been accepted, itself left out.
    pub fn admit(
        &mut self,
        directory: &Directory,
        network: &NetworkKey,
        peer: &PeerId,
        claim: ClaimNo,
    ) -> Vec<(PeerId, Option<Bytes>)> {
        if !network.tells_of_peers() {
            return Vec::new();
        }
        self.grow(directory, network, Some(peer), &[]);
        let Some(large) = self.large.get_mut(network) else {
            return directory.members(network, peer);
        };
        let mut roster = Vec::new();
        for other in directory.neighbourhood(network, peer, self.limit) {
            if let Some(data) = directory.shown_data(network, &other) {
                large.learn(claim, &other);
                roster.push((other, data));
            }
        }
        roster
    }

    /// A local claim is gone.
    pub fn forget(&mut self, network: &NetworkKey, claim: ClaimNo) {
        if let Some(large) = self.large.get_mut(network) {
            large.forget_claim(claim);
            if large.is_empty() {
                self.large.remove(network);
            }
        }
    }

    /// The notices to local peers about a change.
    ///
    /// `rest` are the changes of the same step, this one first. No peer has been told of them yet, although the
    /// directory has them all.
    pub fn on_change(
        &mut self,
        directory: &Directory,
        change: &IdChange,
        rest: &[IdChange],
    ) -> Option<Output> {
        let IdChange {
            network,
            peer,
            before,
            after,
            reason,
            ..
        } = change;
        if !network.tells_of_peers() {
            return None;
        }
        let peer = peer.clone();
        match (before, after) {
            (None, Some(after)) => {
                self.grow(directory, network, Some(&peer), rest);
                let to = self.hears_of_join(directory, network, &peer);
                notify(
                    network,
                    to,
                    PeerEvent::Joined {
                        peer,
                        data: after.data.clone(),
                    },
                )
            }
            (Some(before), Some(after)) if before.data != after.data => {
                let to = match self.large.get(network) {
                    None => Recipients::Network,
                    Some(large) => Recipients::Only(large.watchers(&peer)),
                };
                notify(
                    network,
                    to,
                    PeerEvent::Updated {
                        peer,
                        data: after.data.clone(),
                    },
                )
            }
            (Some(_), None) => {
                let to = match self.large.get_mut(network) {
                    None => Recipients::Network,
                    Some(large) => {
                        let told = large.unlearn_peer(&peer);
                        let few = self.limit.div_ceil(LONELY);
                        let lonely = told.iter().filter(|claim| large.known_to(**claim) < few);
                        let lonely = lonely.map(|claim| (network.clone(), *claim));
                        self.lonely.extend(lonely);
                        Recipients::Only(told)
                    }
                };
                notify(
                    network,
                    to,
                    PeerEvent::Left {
                        peer,
                        reason: *reason,
                    },
                )
            }
            _ => None,
        }
    }

    fn hears_of_join(
        &mut self,
        directory: &Directory,
        network: &NetworkKey,
        peer: &PeerId,
    ) -> Recipients {
        let Some(large) = self.large.get_mut(network) else {
            return Recipients::Network;
        };
        let mut told = Vec::new();
        for other in directory.neighbourhood(network, peer, self.limit) {
            for claim in directory.own_holders(network, &other) {
                if large.learn(claim, peer) {
                    told.push(claim);
                }
            }
        }
        Recipients::Only(told)
    }

    /// Begins to store which peers know which once the network is larger than the limit: until now all knew each other,
    /// except for those that are just joining.
    fn grow(
        &mut self,
        directory: &Directory,
        network: &NetworkKey,
        joining: Option<&PeerId>,
        rest: &[IdChange],
    ) {
        if self.limit == 0
            || self.large.contains_key(network)
            || directory.size(network) <= self.limit
        {
            return;
        }
        let untold = || rest.iter().filter(|change| change.network == *network);
        let coming: BTreeSet<&PeerId> = untold()
            .filter(|change| change.before.is_none())
            .map(|change| &change.peer)
            .collect();
        let going = || untold().filter(|change| change.before.is_some() && change.after.is_none());
        let mut large = Large::default();
        let news = |peer: &PeerId| Some(peer) == joining || coming.contains(peer);
        let here = directory.ids(network, usize::MAX);
        large.old = here.into_iter().filter(|peer| !news(peer)).collect();
        large.old.extend(going().map(|change| change.peer.clone()));
        for claim in directory.own_members(network) {
            if let Some(view) = directory.own_claim(claim)
                && Some(&view.peer) != joining
            {
                large.elders.insert(claim, view.peer);
            }
        }
        self.large.insert(network.clone(), large);
    }

    /// Whether any peer still has to be told of more members.
    pub fn owes(&self) -> bool {
        !self.lonely.is_empty()
    }

    /// Tells a few of the peers that know few others of more, once all earlier changes have been told.
    pub fn refill_some(&mut self, directory: &Directory) -> Vec<Output> {
        let mut outputs = Vec::new();
        for _ in 0..REFILLS_AT_ONCE {
            let Some((network, claim)) = self.lonely.pop_first() else {
                break;
            };
            outputs.extend(self.refill(directory, &network, claim));
        }
        outputs
    }

    /// A local claim of a large network that knows few others is told of its present neighbourhood.
    fn refill(
        &mut self,
        directory: &Directory,
        network: &NetworkKey,
        claim: ClaimNo,
    ) -> Vec<Output> {
        let (Some(large), Some(view)) = (self.large.get_mut(network), directory.own_claim(claim))
        else {
            return Vec::new();
        };
        let mut outputs = Vec::new();
        for peer in directory.neighbourhood(network, &view.peer, self.limit) {
            if let Some(data) = directory.shown_data(network, &peer)
                && large.learn(claim, &peer)
            {
                let to = Recipients::Only(vec![claim]);
                outputs.extend(notify(network, to, PeerEvent::Joined { peer, data }));
            }
        }
        outputs
    }

    /// In networks that have become small again, tells every peer of those that it does not know yet.
    pub fn shrink(&mut self, directory: &Directory) -> Vec<Output> {
        let small: Vec<NetworkKey> = self
            .large
            .keys()
            .filter(|network| directory.size(network) <= self.limit / 2)
            .cloned()
            .collect();
        let mut outputs = Vec::new();
        for network in small {
            let Some(large) = self.large.remove(&network) else {
                continue;
            };
            for claim in directory.own_members(&network) {
                let Some(view) = directory.own_claim(claim) else {
                    continue;
                };
                for (peer, data) in directory.members(&network, &view.peer) {
                    if !large.knows(claim, &peer) {
                        let to = Recipients::Only(vec![claim]);
                        outputs.extend(notify(&network, to, PeerEvent::Joined { peer, data }));
                    }
                }
            }
        }
        outputs
    }
}

fn notify(network: &NetworkKey, to: Recipients, event: PeerEvent) -> Option<Output> {
    if to == Recipients::Only(Vec::new()) {
        return None;
    }
    Some(Output::Notify {
        network: network.clone(),
        to,
        event,
    })
}
