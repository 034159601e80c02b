//! The people of a history: clients with an id and a network.

use bytes::Bytes;

use crate::world::{Newcomer, World};
use hubmesh_core::api::RoomAsk;
use hubmesh_core::ids::mix;

/// The same person in a room: creating the room is as frequent as entering it.
pub(super) fn in_a_room(no: usize, who: Newcomer) -> Newcomer {
    let ask = match no % 2 {
        0 => RoomAsk::Create(Bytes::from(format!("room of {no}"))),
        _ => RoomAsk::Enter,
    };
    let room = ["red", "blue"][no / 6 % 2];
    let peer = who.peer.to_string();
    Newcomer {
        data: who.data,
        proof: who.proof,
        ..Newcomer::of_room(room, &peer, ask)
    }
}

/// Two people share some ids, so that there are cloned clients.
pub(super) fn person(no: usize, interest: bool, world: &mut World) -> Newcomer {
    let network = match (world.rng.below(3), interest) {
        (0, false) => "games",
        (0, true) => ["games", "chess", "cards", "go"][no % 4],
        _ => "global",
    };
    let id = if world.rng.below(6) == 0 { no / 2 } else { no };
    let peer = match world.rng.below(3) {
        0 => format!("person-{id}"),
        _ => format!("{:040x}", mix(id as u64)),
    };
    let proof = match world.rng.below(3) {
        0 => String::new(),
        1 => format!("proof-{id}"),
        _ => format!("proof-of-{no}"),
    };
    let mut who = Newcomer::new(network, &peer, &proof);
    who.quiet = world.rng.below(10) == 0;
    if world.rng.below(3) == 0 {
        who.data = Some(Bytes::from(format!("{{\"name\":\"{no}\"}}")));
    }
    who
}
