//! The questions of this hub's operators to the mesh, and those of clients about networks that this hub does not know:
//! this hub answers for itself, and asks the other hubs.
//!
//! `questions` has the messages between hubs, and `answering` answers them. Hubs that do not answer in time are left
//! out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use hubmesh_core::api::{Ban, BanId, BansFull};
use hubmesh_core::ids::{HubId, NetworkKey, PeerId};
use tokio::sync::oneshot;

use super::awaited::{AwaitedIds, AwaitedQuery, Awaiting};
use super::conditions::gather;
use super::handle::Mesh;
use super::input::Input;
use super::questions::{Answer, MAX_PEERS, Question, RoomCounts, Tally};
use super::sketches::{self, MAX_NETWORKS, Sketches};
use super::view::LinkView;
use crate::watch::{Party, Past};

/// The result of removing a peer for an operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removal {
    /// This hub had the peer, and disconnects it.
    Done(HubId),
    /// No peer has this id.
    NoSuchPeer,
    /// Its hub does not answer.
    NoAnswer(HubId),
}

impl Mesh {
    /// Disconnects a peer at any hub.
    pub async fn remove(&self, network: &NetworkKey, peer: &PeerId, within: Duration) -> Removal {
        let shared = &self.shared;
        let me = shared.identity().hub;
        let hubs = {
            let directory = shared.router.directory().read();
            match directory.holder(network, peer) {
                Some((found, _)) => vec![found.hub],
                // In a narrow mesh the holder may be unknown: the hubs with members in the network are asked.
                None => directory.lines().hubs_in(network).into_iter().collect(),
            }
        };
        // A claim of this hub may have challenged the holder at another hub, or may be challenged by it.
        let closed = shared.send_away(network, peer).then_some(me);
        let hubs: Vec<HubId> = hubs.into_iter().filter(|hub| *hub != me).collect();
        let question = Question::Remove {
            network: network.as_str().to_owned(),
            peer: peer.to_string(),
        };
        let asked = hubs.iter().map(|hub| (*hub, question.clone()));
        let answers = self.ask(asked.collect(), within).await;
        became_of(closed, &hubs, &answers)
    }

    /// The parties of these peers of one network, each from its hub; from the hubs that answer within this time.
    pub async fn parties(
        &self,
        network: &NetworkKey,
        peers: &[(PeerId, HubId)],
        within: Duration,
    ) -> BTreeMap<HubId, Vec<(PeerId, Option<Party>)>> {
        let mut by_hub: BTreeMap<HubId, Vec<PeerId>> = BTreeMap::new();
        for (peer, hub) in peers {
            by_hub.entry(*hub).or_default().push(peer.clone());
        }
        let shared = &self.shared;
        let me = shared.identity().hub;
        let asked = by_hub.iter().filter(|(hub, _)| **hub != me);
        let asked = asked.map(|(hub, peers)| {
            let peers = peers.iter().take(MAX_PEERS).map(ToString::to_string);
            let question = Question::Peers {
                network: network.as_str().to_owned(),
                peers: peers.collect(),
            };
            (*hub, question)
        });
        let mut answers = self.ask(asked.collect(), within).await;
        let mut told = BTreeMap::new();
        for (hub, peers) in by_hub {
            let parties: Vec<Option<Party>> = match answers.remove(&hub) {
                _ if hub == me => peers
                    .iter()
                    .map(|peer| shared.party(network, peer))
                    .collect(),
                Some(Answer::Peers(parties)) => parties,
                _ => continue,
            };
            told.insert(hub, peers.into_iter().zip(parties).collect());
        }
        told
    }

    /// Whether a member of a room has no connection, if its hub confirms it within this time.
    pub async fn is_visitor(&self, network: &NetworkKey, peer: &PeerId, within: Duration) -> bool {
        let Some(hub) = self.hub_of(network, peer) else {
            return false;
        };
        if hub == self.shared.identity().hub {
            return self.shared.is_visitor(network, peer);
        }
        let question = Question::IsVisitor {
            network: network.as_str().to_owned(),
            peer: peer.to_string(),
        };
        let answers = self.ask(vec![(hub, question)], within).await;
        answers.get(&hub) == Some(&Answer::IsVisitor(true))
    }

    /// The hubs that have members in a network which are not known here; none in a mesh that is not narrow.
    pub fn unseen_hubs(&self, network: &NetworkKey) -> Vec<HubId> {
        self.shared.router.directory().read().unseen_hubs(network)
    }

    /// The hubs in reach of which it is not known yet in which networks they have members; none in a mesh that is not
    /// narrow.
    pub fn unlisted_hubs(&self) -> Vec<HubId> {
        let published = self.shared.published();
        let directory = self.shared.router.directory().read();
        let lines = directory.lines();
        if lines.sets().is_none() {
            return Vec::new();
        }
        let has_all = |hub: &HubId| {
            let whole = directory.origin_state(hub);
            whole.is_some_and(|whole| whole.complete)
        };
        let hubs = published.hubs().iter().map(|hub| hub.id);
        hubs.filter(|hub| !lines.is_whole(hub) && !has_all(hub))
            .collect()
    }

    /// Has the members of a network known here for a few seconds; returns once they are, or when the other hubs did not
    /// answer in time. A client may look at a network without being in it. False if the core sees no hub to wait for:
    /// nothing becomes known then.
    pub async fn look(&self, network: &NetworkKey) -> bool {
        let (asker, seen) = oneshot::channel();
        let network = network.clone();
        self.send(Input::Look { network, asker }).await;
        // Without an answer the hub is gone.
        seen.await.unwrap_or(false)
    }

    /// Networks that are not known here, in short, from hubs that answer within this time. One hub is asked for each,
    /// and none of those to avoid. With [`MAX_QUESTIONS`](sketches::MAX_QUESTIONS) questions it ends before the first
    /// network that would need one more.
    pub async fn sketches(
        &self,
        networks: &[NetworkKey],
        ids: usize,
        avoided: &BTreeSet<HubId>,
        within: Duration,
    ) -> Sketches {
        let directory = self.shared.router.directory();
        let plan = {
            let directory = directory.read();
            sketches::plan(|network| directory.unseen_hubs(network), networks, avoided)
        };
        let parts = plan.asked.into_iter().flat_map(|(hub, networks)| {
            let parts: Vec<_> = networks.chunks(MAX_NETWORKS).map(<[_]>::to_vec).collect();
            parts.into_iter().map(move |part| (hub, part))
        });
        let parts: Vec<(HubId, Vec<NetworkKey>)> = parts.collect();
        let question = |part: &[NetworkKey]| Question::Sketches {
            networks: part.iter().map(|one| one.as_str().to_owned()).collect(),
            ids: ids as u64,
        };
        // Each part has a channel of its own, since an answer does not say which part it is of.
        let asked = parts.iter().map(|(hub, part)| async move {
            let answers = self.ask(vec![(*hub, question(part))], within).await;
            (*hub, part, answers.into_values().next())
        });
        let mut all = Sketches {
            questions: parts.len(),
            silent: plan.missed,
            left_out: plan.left_out,
            ..Sketches::default()
        };
        for (hub, part, answer) in join_all(asked).await {
            match answer {
                // An answer that is about fewer networks than the question is none.
                Some(Answer::Sketches(told)) if told.len() == part.len() => {
                    all.told.extend(part.iter().cloned().zip(told));
                }
                _ => drop(all.silent.insert(hub)),
            }
        }
        all
    }

    /// How many rooms and members of rooms each hub has that answers within this time.
    pub async fn room_counts(&self, within: Duration) -> BTreeMap<HubId, RoomCounts> {
        let read = |answer| match answer {
            Answer::Rooms(counts) => Some(counts),
            _ => None,
        };
        self.ask_all(Question::Rooms, within, read).await
    }

    /// Whether this hub does not know all networks of all hubs.
    pub fn is_narrow(&self) -> bool {
        self.shared
            .router
            .directory()
            .read()
            .lines()
            .sets()
            .is_some()
    }

    /// The last hour of each hub that answers within this time.
    pub async fn past(&self, within: Duration) -> BTreeMap<HubId, Past> {
        let read = |answer| match answer {
            Answer::Past(past) => Some(past),
            _ => None,
        };
        self.ask_all(Question::Past, within, read).await
    }

    /// The waiting signals and joins at each hub that answers within this time.
    pub async fn tallies(&self, within: Duration) -> BTreeMap<HubId, Tally> {
        let read = |answer| match answer {
            Answer::Tally(tally) => Some(tally),
            _ => None,
        };
        self.ask_all(Question::Tally, within, read).await
    }

    /// Ids that signals wait for or that joins contest, at each hub that answers within this time.
    pub async fn awaited(
        &self,
        what: Awaiting,
        wanted: AwaitedQuery,
        within: Duration,
    ) -> BTreeMap<HubId, AwaitedIds> {
        let question = match what {
            Awaiting::Targets => Question::Targets(wanted),
            Awaiting::Contested => Question::Contested(wanted),
        };
        let read = |answer| match answer {
            Answer::Awaited(ids) => Some(ids),
            _ => None,
        };
        self.ask_all(question, within, read).await
    }

    /// The links of the mesh, each once.
    pub async fn links(&self) -> Vec<LinkView> {
        let (asker, answer) = oneshot::channel();
        self.send(Input::Graph(asker)).await;
        // Without an answer the driver has ended, and with it the links.
        answer.await.unwrap_or_default()
    }

    /// The hub of the peer with this id, and the time since which the peer has the id, as Unix time in milliseconds.
    pub fn holder(&self, network: &NetworkKey, peer: &PeerId) -> Option<(HubId, u64)> {
        let directory = self.shared.router.directory().read();
        let (found, hlc) = directory.holder(network, peer)?;
        Some((found.hub, hlc.wall_ms()))
    }

    /// Places a ban in the mesh.
    pub async fn place_ban(&self, ban: Ban) -> Result<(), BansFull> {
        let (asker, answer) = oneshot::channel();
        self.send(Input::PlaceBan { ban, asker }).await;
        // Without an answer the driver has ended, and with it the hub and the ban.
        answer.await.unwrap_or(Ok(()))
    }

    /// Lifts a ban. False if no such ban is in force.
    pub async fn lift_ban(&self, ban: BanId) -> bool {
        let (asker, answer) = oneshot::channel();
        self.send(Input::LiftBan { ban, asker }).await;
        answer.await.unwrap_or(false)
    }

    /// Asks all hubs, including this one, and collects what `read` finds in their answers.
    async fn ask_all<T>(
        &self,
        question: Question,
        within: Duration,
        read: impl Fn(Answer) -> Option<T>,
    ) -> BTreeMap<HubId, T> {
        let shared = &self.shared;
        let published = shared.published();
        let hubs = published.hubs().iter();
        let hubs = hubs.map(|hub| (hub.id, question.clone())).collect();
        let mut answers = self.ask(hubs, within).await;
        answers.insert(shared.identity().hub, shared.answer(question).await);
        let answers = answers.into_iter();
        answers
            .filter_map(|(hub, answer)| Some((hub, read(answer)?)))
            .collect()
    }

    /// Asks other hubs, and waits until all have answered or the time is over.
    async fn ask(&self, hubs: Vec<(HubId, Question)>, within: Duration) -> BTreeMap<HubId, Answer> {
        let shared = &self.shared;
        let (messages, answered) = shared.questions.ask(hubs);
        for (hub, message) in messages {
            shared.router.tell_hub(hub, message);
        }
        gather(answered, within).await.into_iter().collect()
    }
}

/// The result of removing a peer, if this hub closed a claim of the peer (or had none) and these hubs were asked to do
/// the same. The peer is removed if the hub that holds it confirms this. A claim of this hub counts only if no other
/// hub may still hold the peer.
fn became_of(closed: Option<HubId>, asked: &[HubId], answers: &BTreeMap<HubId, Answer>) -> Removal {
    let done = answers
        .iter()
        .find(|(_, answer)| **answer == Answer::Removed(true));
    let silent = asked.iter().find(|hub| !answers.contains_key(hub));
    match (done, silent, closed) {
        (Some((hub, _)), _, _) => Removal::Done(*hub),
        (None, Some(hub), _) => Removal::NoAnswer(*hub),
        (None, None, Some(me)) => Removal::Done(me),
        (None, None, None) => Removal::NoSuchPeer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: HubId = HubId([1; 20]);
    const OTHER: HubId = HubId([2; 20]);

    #[test]
    fn a_peer_is_gone_only_if_the_hub_that_holds_it_says_so() {
        let told = |went| BTreeMap::from([(OTHER, Answer::Removed(went))]);
        let silent = BTreeMap::new();
        for (closed, asked, answers, want) in [
            // A challenger at this hub is closed, and the holder is at another hub.
            (Some(ME), &[OTHER][..], &silent, Removal::NoAnswer(OTHER)),
            (Some(ME), &[OTHER], &told(true), Removal::Done(OTHER)),
            (Some(ME), &[OTHER], &told(false), Removal::Done(ME)),
            (Some(ME), &[], &silent, Removal::Done(ME)),
            (None, &[OTHER], &told(true), Removal::Done(OTHER)),
            (None, &[OTHER], &told(false), Removal::NoSuchPeer),
            (None, &[OTHER], &silent, Removal::NoAnswer(OTHER)),
            (None, &[], &silent, Removal::NoSuchPeer),
        ] {
            assert_eq!(became_of(closed, asked, answers), want, "{closed:?}");
        }
    }
}
