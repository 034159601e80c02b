//! The ids for which signals or joins wait at one hub, for operators: targets of signals that are at no hub, and contested
//! ids. Payloads of signals are not part of it.
//!
//! An answer is at most one page. The question says where the page begins, and ids are sorted by network and id, so that
//! the hub that asks can merge the pages of several hubs. Knows neither exchange nor contests.

use hubmesh_core::api::WantedId;
use hubmesh_core::ids::{Dialect, Moment, NetworkKey, PeerId};
use serde::{Deserialize, Serialize};

/// The most ids in an answer: the longest page, the last id of the previous page, and the first id of the next one.
const MAX_LISTED: usize = 1_002;

/// The kind of ids that is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Awaiting {
    /// Targets of waiting signals: ids that no peer has.
    Targets,
    /// Contested ids, for which joins wait.
    Contested,
}

/// Which ids are asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AwaitedQuery {
    /// Only ids in networks of the dialect with this label.
    pub dialect: Option<String>,
    /// Only ids in networks whose names contain this text.
    pub network: Option<String>,
    /// The first place that may be listed: a network in its form between hubs, and an id.
    pub from: Option<(String, String)>,
    /// The most ids in the answer.
    pub most: usize,
}

/// An id for which signals or joins wait.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AwaitedId {
    /// The network, in its form between hubs.
    network: String,
    peer: String,
    /// The number of signals or joins that wait for the id.
    pub count: u64,
    /// How long the first of these signals or joins has waited. The time does not begin again when a signal was sent and
    /// came back, or when a join is contested again.
    pub for_ms: u64,
}

impl AwaitedId {
    /// The network and the id. `None` if no peer can have these.
    pub fn place(&self) -> Option<(NetworkKey, PeerId)> {
        place(&self.network, &self.peer)
    }
}

/// The answer of one hub.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AwaitedIds {
    /// The number of ids that match the query, on this page, before it and after it.
    pub total: u64,
    /// The ids on this page.
    pub ids: Vec<AwaitedId>,
}

impl AwaitedIds {
    /// The answer to a query. `all` is sorted.
    pub(super) fn of<'a>(
        wanted: &AwaitedQuery,
        now: Moment,
        all: impl Iterator<Item = WantedId<'a>>,
    ) -> Self {
        let from = wanted.from.as_ref();
        let from = from.and_then(|(network, peer)| place(network, peer));
        let most = wanted.most.min(MAX_LISTED);
        let mut told = AwaitedIds::default();
        for one in all.filter(|one| matches(wanted, one.network)) {
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

    /// Whether a hub of this version could give this answer.
    pub(super) fn is_bounded(&self) -> bool {
        self.ids.len() <= MAX_LISTED && self.ids.iter().all(|id| id.place().is_some())
    }
}

/// Parses a network in its form between hubs, and an id. `None` if no peer can have these.
pub(super) fn place(network: &str, peer: &str) -> Option<(NetworkKey, PeerId)> {
    let network = NetworkKey::from_wire(network).ok()?;
    Some((network, PeerId::new(peer).ok()?))
}

fn matches(wanted: &AwaitedQuery, network: &NetworkKey) -> bool {
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
