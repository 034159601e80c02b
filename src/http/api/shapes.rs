//! The bodies of `/api`, of answers and of requests. The description in `openapi` is made of these types.
//!
//! The names are those that OctateCode's server uses; fields of ours are added. Times are Unix milliseconds, sizes MiB
//! unless they are named otherwise.

use hubmesh_core::api::{Room, RoomClaim};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use utoipa::ToSchema;

use crate::dialect::rooms::user_name;
use crate::mesh::NetworkSketch;

/// Whether a room has members.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RoomState {
    /// It has.
    Active,
    /// It has none.
    Idle,
}

/// A member of a room.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RoomPeer {
    pub(super) user_id: String,
    #[schema(value_type = String)]
    user_name: Box<RawValue>,
    is_host: bool,
    connected_at: u64,
    last_heartbeat: u64,
}

/// A room and its members on all hubs, the longest present first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RoomBody {
    room_id: String,
    #[schema(value_type = String)]
    room_name: Box<RawValue>,
    /// The member that has been there the longest; without members, the creator of the room.
    host_id: String,
    #[schema(value_type = Option<String>)]
    host_name: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value, required = false)]
    file_id: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value, required = false)]
    content: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value, required = false)]
    version: Option<Box<RawValue>>,
    peer_count: usize,
    state: RoomState,
    created_at: u64,
    last_activity: u64,
    pub(super) peers: Vec<RoomPeer>,
}

impl RoomBody {
    /// Keeps of the members' names only those of this user and the host.
    pub(super) fn cut_to(&mut self, user: Option<&str>) {
        let host = &self.host_id;
        self.peers
            .retain(|peer| peer.user_id == *host || Some(peer.user_id.as_str()) == user);
    }
}

/// What is kept of a room, as its record has it.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Kept {
    room_name: Option<Box<RawValue>>,
    file_id: Option<Box<RawValue>>,
    content: Option<Box<RawValue>>,
    version: Option<Box<RawValue>>,
}

/// A text as a JSON string.
fn raw(text: &str) -> Box<RawValue> {
    // A string always serializes.
    to_raw_value(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// The name of a room, if it is text; otherwise its id.
fn name_or_id(name: Option<Box<RawValue>>, id: &str) -> Box<RawValue> {
    let text = name.filter(|value| value.get().starts_with('"'));
    text.unwrap_or_else(|| raw(id))
}

/// The state of a room with so many members, and when it was last active.
fn life(members: usize, left_ms: u64, now_ms: u64) -> (RoomState, u64) {
    match members {
        0 => (RoomState::Idle, left_ms),
        _ => (RoomState::Active, now_ms),
    }
}

/// The name of a member as its data shows it.
fn name_of(member: &RoomClaim) -> Box<RawValue> {
    let name = user_name(&member.peer, member.data.as_deref());
    RawValue::from_string(name).unwrap_or_else(|_| raw(&member.peer.to_string()))
}

fn peers(members: &[RoomClaim], now_ms: u64) -> Vec<RoomPeer> {
    let all = members.iter().enumerate().map(|(at, member)| RoomPeer {
        user_id: member.peer.to_string(),
        user_name: name_of(member),
        is_host: at == 0,
        connected_at: member.hlc.wall_ms(),
        // Otherwise its hub would have let go of it.
        last_heartbeat: now_ms,
    });
    all.collect()
}

impl RoomBody {
    /// A room of this name, as clients are told of it.
    pub(super) fn new(name: &str, room: &Room, now_ms: u64) -> Self {
        let Room { record, members } = room;
        // Another hub may have sent anything of it.
        let kept: Kept = serde_json::from_slice(&record.about).unwrap_or_default();
        let host = members.first();
        let (state, last_activity) = life(members.len(), record.left_ms, now_ms);
        RoomBody {
            room_id: name.to_owned(),
            room_name: name_or_id(kept.room_name, name),
            host_id: host.map_or_else(|| record.creator.clone(), |host| host.peer.to_string()),
            host_name: host.map(name_of),
            file_id: kept.file_id,
            content: kept.content,
            version: kept.version,
            peer_count: members.len(),
            state,
            created_at: record.created.wall_ms(),
            last_activity,
            peers: peers(members, now_ms),
        }
    }

    /// The same in short, for lists.
    pub(super) fn into_summary(self) -> RoomSummary {
        RoomSummary {
            room_id: self.room_id,
            room_name: self.room_name,
            host_id: self.host_id,
            peer_count: self.peer_count,
            state: self.state,
            created_at: self.created_at,
            last_activity: self.last_activity,
        }
    }

    /// The counters of it.
    pub(super) fn stats(&self, now_ms: u64, not_answered: Vec<String>) -> RoomStats {
        RoomStats {
            room_id: self.room_id.clone(),
            peer_count: self.peer_count,
            state: self.state,
            operation_count: 0,
            bandwidth: Bandwidth {
                sent: 0,
                received: 0,
                note: PEER_TO_PEER,
            },
            created_at: self.created_at,
            last_activity: self.last_activity,
            not_answered,
            timestamp: now_ms,
        }
    }
}

/// Why there are no counters of what the members of a room do.
pub(super) const PEER_TO_PEER: &str =
    "documents travel peer to peer, and the hub sees none of them";

/// A room in a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RoomSummary {
    room_id: String,
    #[schema(value_type = String)]
    room_name: Box<RawValue>,
    host_id: String,
    peer_count: usize,
    state: RoomState,
    created_at: u64,
    last_activity: u64,
}

impl RoomSummary {
    /// The room as another hub sketched it; `None` if it has ended there.
    pub(super) fn of(name: &str, sketch: &NetworkSketch, now_ms: u64) -> Option<Self> {
        let NetworkSketch { members, room, .. } = sketch;
        let room = room.as_ref()?;
        // Another hub may have sent anything.
        let told = room.name.clone();
        let told = told.and_then(|name| RawValue::from_string(name).ok());
        let peer_count = usize::try_from(*members).unwrap_or(usize::MAX);
        let (state, last_activity) = life(peer_count, room.left_ms, now_ms);
        Some(RoomSummary {
            room_id: name.to_owned(),
            room_name: name_or_id(told, name),
            host_id: room.host.clone(),
            peer_count,
            state,
            created_at: room.created_ms,
            last_activity,
        })
    }
}

/// The counters of a room.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RoomStats {
    room_id: String,
    peer_count: usize,
    state: RoomState,
    /// Always 0: operations travel peer to peer.
    operation_count: u64,
    bandwidth: Bandwidth,
    created_at: u64,
    last_activity: u64,
    /// The ids of hubs with members in it that did not answer; left out if all did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    not_answered: Vec<String>,
    timestamp: u64,
}

/// Documents that passed the hub: none.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Bandwidth {
    sent: u64,
    received: u64,
    note: &'static str,
}

/// The rooms of the mesh, page by page.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RoomList {
    /// How many rooms there are in all.
    pub(super) count: usize,
    pub(super) rooms: Vec<RoomSummary>,
    /// What `after` of the next page has to be; null at the end.
    pub(super) next: Option<String>,
    /// The ids of hubs that did not answer: rooms that only they know are not on the page. Left out if all did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(super) not_answered: Vec<String>,
    pub(super) timestamp: u64,
}

/// One room.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RoomDetails {
    pub(super) metadata: RoomBody,
    pub(super) stats: RoomStats,
    /// The ids of hubs with members in it that did not answer; left out if all did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(super) not_answered: Vec<String>,
    pub(super) timestamp: u64,
}

/// The members of a room, page by page.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RoomPeers {
    pub(super) room_id: String,
    /// How many there are in all.
    pub(super) peer_count: usize,
    pub(super) peers: Vec<RoomPeer>,
    /// What `after` of the next page has to be; null at the end.
    pub(super) next: Option<String>,
    /// The ids of hubs with members in it that did not answer; left out if all did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(super) not_answered: Vec<String>,
    pub(super) timestamp: u64,
}

/// There is no such room.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NoRoom {
    pub(super) error: &'static str,
    pub(super) room_id: String,
    pub(super) timestamp: u64,
}

/// A room to create. Each name may also be written `room_id`, `room_name` and so on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewRoomBody {
    /// 1 to 128 bytes.
    #[serde(alias = "room_id")]
    #[schema(min_length = 1, max_length = 128)]
    pub(super) room_id: String,
    #[serde(default, alias = "room_name")]
    pub(super) room_name: Option<String>,
    /// The member that is in it from the start, without a connection; without this field there is none.
    #[serde(default, alias = "host_id", alias = "userId", alias = "user_id")]
    #[schema(min_length = 1, max_length = 128)]
    pub(super) host_id: Option<String>,
    #[serde(default, alias = "host_name", alias = "userName", alias = "user_name")]
    pub(super) host_name: Option<String>,
    #[serde(default, alias = "file_id")]
    #[schema(value_type = Value, required = false)]
    pub(super) file_id: Option<Box<RawValue>>,
    #[serde(default)]
    #[schema(value_type = Value, required = false)]
    pub(super) content: Option<Box<RawValue>>,
    #[serde(default)]
    #[schema(value_type = Value, required = false)]
    pub(super) version: Option<Box<RawValue>>,
}

/// The user that enters a room. Each name may also be written `user_id` and `user_name`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct JoinBody {
    /// 1 to 128 bytes.
    #[serde(alias = "user_id")]
    #[schema(min_length = 1, max_length = 128)]
    pub(super) user_id: String,
    #[serde(default, alias = "user_name")]
    pub(super) user_name: Option<String>,
}

/// The user that leaves a room. The name may also be written `user_id`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LeaveBody {
    /// 1 to 128 bytes.
    #[serde(alias = "user_id")]
    #[schema(min_length = 1, max_length = 128)]
    pub(super) user_id: String,
}

/// A room that is new.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Created {
    pub(super) message: &'static str,
    pub(super) data: RoomBody,
    pub(super) timestamp: u64,
}

/// The user is now in a room.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct JoinedRoom {
    pub(super) message: &'static str,
    pub(super) room_id: String,
    pub(super) user_id: String,
    pub(super) room: RoomBody,
    pub(super) timestamp: u64,
}

/// The user is no longer in a room.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LeftRoom {
    pub(super) message: &'static str,
    pub(super) room_id: String,
    pub(super) user_id: String,
    pub(super) timestamp: u64,
}

/// The memory of the hub's process.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Memory {
    /// Resident, in MiB.
    pub(super) rss: u64,
    /// The same in bytes.
    pub(super) rss_bytes: u64,
    /// `normal`, `warning` or `critical`, as the thresholds see it.
    pub(super) state: &'static str,
}

/// The thresholds in MiB; null where there is none.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Thresholds {
    pub(super) warning: Option<u64>,
    pub(super) critical: Option<u64>,
}

/// Whether the hub accepts clients.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiHealth {
    /// `ok`, or `draining` while it shuts down.
    pub(super) status: &'static str,
    pub(super) timestamp: u64,
    /// Milliseconds since its start.
    pub(super) uptime: u64,
    pub(super) version: &'static str,
    /// For operators alone, if these are told apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Memory, required = false)]
    pub(super) memory: Option<Memory>,
}

/// The counters of the whole mesh and of the hub that answers.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiStats {
    pub(super) server: ServerStats,
    /// The hub that answers.
    pub(super) memory: Option<Memory>,
    pub(super) thresholds: Thresholds,
    pub(super) cpu: CpuStats,
    pub(super) operations: Operations,
    /// Each hub as it reports itself.
    pub(super) hubs: Vec<HubStats>,
    /// The ids of hubs that did not answer in time: their rooms and clients are not counted.
    pub(super) not_answered: Vec<String>,
    pub(super) timestamp: u64,
}

/// Rooms and clients.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServerStats {
    /// Milliseconds since the start of the hub that answers.
    pub(super) uptime: u64,
    /// Rooms of the mesh, with members or without.
    pub(super) active_rooms: usize,
    /// Members of all rooms of the mesh.
    pub(super) total_connections: usize,
    /// Clients of all hubs that answered.
    pub(super) connected_clients: u64,
}

/// CPU time of the hub that answers, in microseconds.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CpuStats {
    pub(super) total: u64,
}

/// Operations on documents, of which a hub sees none.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Operations {
    pub(super) total: u64,
    pub(super) per_second: u64,
    pub(super) note: &'static str,
}

/// A hub as it reports itself.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HubStats {
    pub(super) id: String,
    pub(super) version: String,
    pub(super) uptime: u64,
    pub(super) connections: u64,
    pub(super) memory_bytes: u64,
}

/// Rooms without a member were ended.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Cleaned {
    pub(super) message: &'static str,
    /// Rooms that the hub held before.
    pub(super) before: usize,
    /// Rooms that it holds now.
    pub(super) after: usize,
    /// How many ended.
    pub(super) cleaned: usize,
    pub(super) timestamp: u64,
}

/// Freed memory was given back to the system.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct GivenBack {
    pub(super) message: &'static str,
    pub(super) before: Option<Memory>,
    pub(super) after: Option<Memory>,
    /// How many bytes less are resident; 0 if it is more.
    pub(super) freed: u64,
    pub(super) timestamp: u64,
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hubmesh_core::api::RoomRecord;
    use hubmesh_core::ids::{ClaimNo, Hlc, HubId, PeerId};
    use serde_json::Value;

    use super::*;
    use crate::dialect::rooms::describe;

    const NOW: u64 = 1_700_000_000_000;

    fn member(number: u64, name: &str, data: &'static str) -> RoomClaim {
        RoomClaim {
            hub: HubId([1; 20]),
            claim: ClaimNo(number),
            hlc: Hlc::from_wall(NOW + number),
            peer: PeerId::new(name).expect("an id"),
            data: Some(Bytes::from_static(data.as_bytes())),
        }
    }

    fn room(about: &str, members: Vec<RoomClaim>) -> Room {
        Room {
            record: RoomRecord {
                created: Hlc::from_wall(NOW),
                by: HubId([1; 20]),
                creator: "ada".into(),
                left_ms: NOW + 7,
                about: about.as_bytes().to_vec(),
            },
            members,
        }
    }

    #[test]
    fn a_room_is_over_http_what_it_is_on_a_websocket() {
        let about =
            r#"{"roomName":"N \ud800","fileId":[1, 2],"content":{"a":null},"version":1.50}"#;
        let ada = member(1, "ada", r#"{"userName":"Ada"}"#);
        let bob = member(2, "bob", "nonsense");
        for (about, members, state) in [
            (about, vec![ada.clone(), bob], "active"),
            (r#"{"roomName":"N"}"#, vec![ada], "active"),
            (about, vec![], "idle"),
        ] {
            let room = room(about, members);
            let told = describe("r", &room, state, NOW + 9);
            let shown = serde_json::to_string(&RoomBody::new("r", &room, NOW + 9));
            let read = |text: &str| -> Value {
                // Half of a surrogate pair is text to clients, and none to this test.
                serde_json::from_str(&text.replace("\\ud800", "")).expect("JSON")
            };
            assert_eq!(read(&shown.expect("JSON")), read(&told));
        }
    }

    #[test]
    fn what_is_no_record_of_ours_is_a_room_of_its_id() {
        for about in [
            "",
            "nonsense",
            r#"{"roomName":5}"#,
            r#"{"roomName":"a","roomName":"b"}"#,
        ] {
            let shown = serde_json::to_value(RoomBody::new("r", &room(about, vec![]), NOW));
            assert_eq!(shown.expect("JSON")["roomName"], "r", "{about}");
        }
    }
}
