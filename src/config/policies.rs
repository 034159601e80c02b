//! The policies of the dialects, where settings change them.

use hubmesh_core::RoomsConfig;
use hubmesh_core::ids::Dialect;
use hubmesh_core::policy::{Policies, Waiting};

use super::read::Reader;

/// Reads what is set for the networks of each dialect.
pub(super) fn read(reader: &mut Reader) -> Option<Policies> {
    let silence = reader.millis("PEER_TIMEOUT_MS", 1_000..=86_400_000);
    let peerjs_silence = reader.millis("PEERJS_ALIVE_TIMEOUT_MS", 1_000..=86_400_000);
    let expire = reader.millis("PEERJS_EXPIRE_TIMEOUT_MS", 0..=60_000);
    let heartbeat = reader.millis("PEER_HEARTBEAT_TIMEOUT", 1_000..=86_400_000);
    let capacity = reader.number("MAX_PEERS_PER_ROOM", 1..=1_000);
    let members = reader.number("MAX_ROOM_MEMBERS", 1..=100_000);
    let (peerjs_silence, expire) = (peerjs_silence?, expire?);
    let mut policies = Policies::default();
    for dialect in Dialect::ALL {
        // No silence is longer than that of its dialect, unless it is set.
        let policy = policies.of_mut(*dialect);
        policy.silence = policy.silence.min(silence?);
    }
    policies.of_mut(Dialect::Pigeon).silence = silence?;
    policies.of_mut(Dialect::Rooms).silence = heartbeat?;
    for dialect in [Dialect::PeerJs, Dialect::PeerJsRoomMode] {
        let policy = policies.of_mut(dialect);
        policy.silence = peerjs_silence;
        policy.waiting = Waiting::Together(expire);
    }
    policies.of_mut(Dialect::PeerJsRoomMode).capacity = Some(capacity?);
    policies.of_mut(Dialect::Rooms).capacity = Some(members?);
    Some(policies)
}

/// Reads the bounds on rooms.
pub(super) fn read_rooms(reader: &mut Reader) -> Option<RoomsConfig> {
    let idle = reader.millis("ROOM_INACTIVITY_TIMEOUT", 1_000..=604_800_000);
    let most = reader.number("MAX_ROOMS", 1..=1_000_000);
    Some(RoomsConfig {
        idle: idle?,
        most: most?,
    })
}
