//! Networks in short: what one hub tells another of networks that are of no interest to the hub that asks.
//!
//! In a narrow mesh a hub knows of such a network which hubs list it, and no more. Each of these knows the whole
//! network, so one of them is asked: [`plan`] chooses few hubs. A sketch has no data that a member shows, and of a
//! room's record the name alone. Knows neither links nor questions; `operating` asks, and `answering` answers.

use std::collections::{BTreeMap, BTreeSet};

use hubmesh_core::api::Room;
use hubmesh_core::directory::Directory;
use hubmesh_core::ids::{HubId, NetworkKey, PeerId};
use hubmesh_core::rooms;
use serde::{Deserialize, Serialize};

use crate::dialect::rooms::room_name;

/// The most networks in one question: so the longest answer is shorter than the longest message between hubs.
pub(super) const MAX_NETWORKS: usize = 32;
/// The most questions for one page: more at once would be a burst.
pub const MAX_QUESTIONS: usize = 200;
/// The most ids in one sketch.
const MAX_IDS: usize = 100;
/// The longest name of a room in a sketch, as JSON. A longer one is left out.
const MAX_NAME_BYTES: usize = 2_048;

/// A network in short.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct NetworkSketch {
    /// How many members it has.
    pub members: u64,
    /// The ids of some of them, as many as were asked for at most.
    pub ids: Vec<String>,
    /// The room, if it is one and there is one.
    pub room: Option<RoomSketch>,
}

/// A room in short.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RoomSketch {
    /// Its name, as JSON. None if it has none, or one of more than 2 KiB.
    pub name: Option<String>,
    /// The id of its host; without a member, that of its creator.
    pub host: String,
    /// When it was created, as Unix time in milliseconds.
    pub created_ms: u64,
    /// When it was left last, likewise.
    pub left_ms: u64,
}

/// The sketches of networks, as far as their hubs answered.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sketches {
    /// The sketches that arrived.
    pub told: BTreeMap<NetworkKey, NetworkSketch>,
    /// The hubs that did not answer, and those that were to be avoided.
    pub silent: BTreeSet<HubId>,
    /// How many questions were asked.
    pub questions: usize,
    /// The first network that was not asked for, because there were too many questions: those after it were not either.
    pub left_out: Option<NetworkKey>,
}

impl NetworkSketch {
    /// The network as this hub knows it, with so many ids at most.
    pub(super) fn of(directory: &Directory, network: &NetworkKey, ids: usize) -> Self {
        let room = match network.is_room() {
            true => rooms::room(directory, network),
            false => None,
        };
        // Of other networks, which may be large, the hub has the number at hand.
        let members = room
            .as_ref()
            .map_or_else(|| directory.reachable(network), |room| room.members.len());
        let ids = directory.ids(network, ids.min(MAX_IDS));
        NetworkSketch {
            members: members as u64,
            ids: ids.iter().map(PeerId::to_string).collect(),
            room: room.as_ref().map(RoomSketch::of),
        }
    }

    /// Whether a hub of ours says so.
    pub(super) fn is_bounded(&self) -> bool {
        let fits = |text: &String| PeerId::new(text).is_ok();
        let room = self.room.as_ref();
        let is_short = |name: &String| name.len() <= MAX_NAME_BYTES;
        self.ids.len() <= MAX_IDS
            && self.ids.iter().all(fits)
            && room.is_none_or(|room| {
                let named = room.name.as_ref().is_none_or(is_short);
                // The creator of a substitute for a lost record has no id.
                named && (room.host.is_empty() || fits(&room.host))
            })
    }
}

impl RoomSketch {
    fn of(room: &Room) -> Self {
        let Room { record, members } = room;
        let name = room_name(&record.about);
        let host = members.first().map(|host| host.peer.to_string());
        RoomSketch {
            name: name.filter(|name| name.len() <= MAX_NAME_BYTES),
            host: host.unwrap_or_else(|| record.creator.clone()),
            created_ms: record.created.wall_ms(),
            left_ms: record.left_ms,
        }
    }
}

/// Which hub to ask for which networks.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) asked: BTreeMap<HubId, Vec<NetworkKey>>,
    /// Hubs that are not asked although no other hub lists some network.
    pub(super) missed: BTreeSet<HubId>,
    /// The first network that would need a question too many. No hub is asked for it, or for those after it.
    pub(super) left_out: Option<NetworkKey>,
}

/// Chooses a hub for each of these networks out of those that list it, and none of those to avoid. A hub that is asked
/// already is preferred, so that few hubs are asked.
pub(super) fn plan(
    listing: impl Fn(&NetworkKey) -> Vec<HubId>,
    networks: &[NetworkKey],
    avoided: &BTreeSet<HubId>,
) -> Plan {
    let mut plan = Plan::default();
    let mut questions = 0;
    for network in networks {
        let (avoided, hubs): (Vec<HubId>, Vec<HubId>) = listing(network)
            .into_iter()
            .partition(|hub| avoided.contains(hub));
        let again = hubs.iter().find(|hub| plan.asked.contains_key(*hub));
        let Some(hub) = again.or(hubs.first()).copied() else {
            plan.missed.extend(avoided);
            continue;
        };
        let so_far = plan.asked.get(&hub).map_or(0, Vec::len);
        if so_far % MAX_NETWORKS == 0 {
            if questions == MAX_QUESTIONS {
                plan.left_out = Some(network.clone());
                break;
            }
            questions += 1;
        }
        plan.asked.entry(hub).or_default().push(network.clone());
    }
    plan
}

#[cfg(test)]
mod tests {
    use hubmesh_core::api::RoomRecord;
    use hubmesh_core::ids::{Dialect, Hlc};

    use super::*;

    fn sketch(about: &str) -> RoomSketch {
        let record = RoomRecord {
            created: Hlc::from_wall(7),
            by: HubId([1; 20]),
            creator: "ada".into(),
            left_ms: 9,
            about: about.as_bytes().to_vec(),
        };
        let members = Vec::new();
        RoomSketch::of(&Room { record, members })
    }

    #[test]
    fn a_room_has_the_name_in_its_record_unless_that_is_too_long() {
        let told = sketch(r#"{"roomName":"N \"1\"","content":[1]}"#);
        assert_eq!(told.name.as_deref(), Some(r#""N \"1\"""#));
        assert_eq!(
            (told.host.as_str(), told.created_ms, told.left_ms),
            ("ada", 7, 9)
        );
        let long = format!(r#"{{"roomName":"{}"}}"#, "x".repeat(MAX_NAME_BYTES));
        for about in ["", "nonsense", r#"{"roomName":5}"#, &long] {
            assert_eq!(sketch(about).name, None, "{about:.40}");
        }
    }

    #[test]
    fn a_page_asks_so_many_questions_at_most_and_ends_before_the_next() {
        let networks: Vec<NetworkKey> = (0..1_000)
            .map(|no| NetworkKey::new(Dialect::Rooms, &format!("{no:03}")).expect("a name"))
            .collect();
        let number = |network: &NetworkKey| network.name().parse::<usize>().expect("a number");
        let hub = |no: usize| {
            HubId(
                [(no / 256) as u8, (no % 256) as u8]
                    .repeat(10)
                    .try_into()
                    .expect("20"),
            )
        };
        let none = BTreeSet::new();
        let all_apart = plan(|network| vec![hub(number(network))], &networks, &none);
        assert_eq!(all_apart.asked.len(), MAX_QUESTIONS);
        assert_eq!(all_apart.left_out.as_ref(), Some(&networks[MAX_QUESTIONS]));
        // One hub lists all: as many networks go into a question as there is space for.
        let together = plan(|_| vec![hub(1), hub(2)], &networks, &none);
        assert_eq!(together.asked, BTreeMap::from([(hub(1), networks.clone())]));
        assert_eq!(together.left_out, None);
        // A hub that is asked already has space for more without a question of its own.
        let many = |network: &NetworkKey| match number(network) {
            no @ ..MAX_QUESTIONS => vec![hub(no)],
            no => vec![hub(no), hub(no % MAX_QUESTIONS)],
        };
        assert_eq!(plan(many, &networks, &none).left_out, None);
        let avoided = BTreeSet::from([hub(1), hub(2)]);
        let one_avoided = plan(|_| vec![hub(1), hub(3)], &networks[..1], &avoided);
        assert_eq!(one_avoided.asked.keys().collect::<Vec<_>>(), [&hub(3)]);
        let all_avoided = plan(|_| vec![hub(1), hub(2)], &networks, &avoided);
        assert_eq!((all_avoided.missed, all_avoided.left_out), (avoided, None));
    }

    #[test]
    fn what_is_longer_than_a_hub_of_ours_would_say_is_not_taken() {
        let room = sketch(r#"{"roomName":"N"}"#);
        let whole = NetworkSketch {
            members: 1,
            ids: vec!["ada".into(); MAX_IDS],
            room: Some(room.clone()),
        };
        assert!(whole.is_bounded());
        let many = NetworkSketch {
            ids: vec!["ada".into(); MAX_IDS + 1],
            ..whole.clone()
        };
        let no_id = NetworkSketch {
            ids: vec!["x".repeat(129)],
            ..whole.clone()
        };
        let of_room = |room| NetworkSketch {
            room: Some(room),
            ..whole.clone()
        };
        let long_name = of_room(RoomSketch {
            name: Some("x".repeat(MAX_NAME_BYTES + 1)),
            ..room.clone()
        });
        let long_host = of_room(RoomSketch {
            host: "x".repeat(129),
            ..room
        });
        for wrong in [many, no_id, long_name, long_host] {
            assert!(!wrong.is_bounded(), "{wrong:?}");
        }
    }
}
