//! Ids that somebody waits for, as one hub tells of them to operators: targets of signals that nobody holds, and ids that
//! joins contest. Never what is waited with.
//!
//! A hub tells a page of its own at most, from where it is asked to on, in the order of networks and ids, so that pages of
//! several hubs can be laid together. Knows neither exchange nor contests.

use hubmesh_core::api::WantedId;
use hubmesh_core::ids::{Dialect, Moment, NetworkKey, PeerId};
use serde::{Deserialize, Serialize};

/// The most that a hub tells at once: the longest page, the last of the one before, and one behind it.
const MAX_LISTED: usize = 1_002;

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Awaiting {
    /// Targets of signals that nobody holds.
    Targets,
    /// Ids that joins contest.
    Contested,
}

/// Which ids are asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AwaitedQuery {
    /// Of networks of the dialect with this label.
    pub dialect: Option<String>,
    /// Of networks with this in their names.
    pub network: Option<String>,
    /// From this network, as it travels between hubs, and this id on.
    pub from: Option<(String, String)>,
    /// So many at most.
    pub most: usize,
}

/// An id that somebody waits for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AwaitedId {
    /// The network, as it travels between hubs.
    network: String,
    peer: String,
    /// How many signals or joins wait for it.
    pub count: u64,
    /// How long the one has waited that first did; a signal that was under way in between, or a join that is contested again,
    /// has waited all the time.
    pub for_ms: u64,
}

impl AwaitedId {
    /// The network and the id; nothing if these cannot be.
    pub fn place(&self) -> Option<(NetworkKey, PeerId)> {
        place(&self.network, &self.peer)
    }
}

/// What one hub tells.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AwaitedIds {
    /// How many ids are as they are wanted, told or not, wherever they begin.
    pub total: u64,
    /// These of them.
    pub ids: Vec<AwaitedId>,
}

impl AwaitedIds {
    /// Those of all that are wanted; all come in order.
    pub(super) fn of<'a>(
        wanted: &AwaitedQuery,
        now: Moment,
        all: impl Iterator<Item = WantedId<'a>>,
    ) -> Self {
        let from = wanted.from.as_ref();
        let from = from.and_then(|(network, peer)| place(network, peer));
        let most = wanted.most.min(MAX_LISTED);
        let mut told = AwaitedIds::default();
        for one in all.filter(|one| is_wanted(wanted, one.network)) {
            told.total += 1;
            let is_before = from
                .as_ref()
                .is_some_and(|(network, peer)| (one.network, one.peer) < (network, peer));
            if !is_before && told.ids.len() < most {
                told.ids.push(AwaitedId {
                    network: one.network.as_str().to_owned(),
                    peer: one.peer.to_string(),
                    count: one.count as u64,
                    for_ms: u64::try_from((now - one.since).as_millis()).unwrap_or(u64::MAX),
                });
            }
        }
        told
    }

    /// Whether a hub of ours says so.
    pub(super) fn is_bounded(&self) -> bool {
        self.ids.len() <= MAX_LISTED && self.ids.iter().all(|id| id.place().is_some())
    }
}

/// A network as it travels between hubs, and an id; nothing if these cannot be.
pub(super) fn place(network: &str, peer: &str) -> Option<(NetworkKey, PeerId)> {
    let network = NetworkKey::from_wire(network).ok()?;
    Some((network, PeerId::new(peer).ok()?))
}

fn is_wanted(wanted: &AwaitedQuery, network: &NetworkKey) -> bool {
    let dialect = wanted.dialect.as_deref();
    let is_dialect = dialect.is_none_or(|own| network.dialect().map(Dialect::label) == Some(own));
    let part = wanted.network.as_deref();
    is_dialect && part.is_none_or(|part| network.name().contains(part))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn place(dialect: Dialect, name: &str, peer: &str) -> (NetworkKey, PeerId) {
        let network = NetworkKey::new(dialect, name).expect("a name");
        (network, PeerId::new(peer).expect("an id"))
    }

    #[test]
    fn a_page_begins_where_it_is_asked_to_and_ends_at_its_length() {
        let mut places = vec![
            place(Dialect::Pigeon, "global", "ada"),
            place(Dialect::Pigeon, "global", "bob"),
            place(Dialect::Pigeon, "other", "ada"),
            place(Dialect::Rooms, "global", "eve"),
        ];
        places.sort();
        let since = Moment(0);
        let now = since + Duration::from_millis(70);
        let told = |wanted: AwaitedQuery| {
            let all = places.iter().map(|(network, peer)| WantedId {
                network,
                peer,
                count: 3,
                since,
            });
            let told = AwaitedIds::of(&wanted, now, all);
            assert!(told.is_bounded());
            let ids: Vec<_> = told.ids.iter().filter_map(AwaitedId::place).collect();
            (told.total, ids)
        };
        let all = AwaitedQuery {
            most: 10,
            ..AwaitedQuery::default()
        };
        assert_eq!(told(all.clone()), (4, places.clone()));
        let two = AwaitedQuery {
            most: 2,
            ..AwaitedQuery::default()
        };
        assert_eq!(told(two.clone()), (4, places[..2].to_vec()));
        let (network, peer) = &places[1];
        let later = AwaitedQuery {
            from: Some((network.as_str().to_owned(), peer.to_string())),
            ..two
        };
        assert_eq!(told(later), (4, places[1..3].to_vec()));
        let rooms = AwaitedQuery {
            dialect: Some("rooms".into()),
            network: Some("lob".into()),
            ..all
        };
        assert_eq!(told(rooms).0, 1);
    }
}
