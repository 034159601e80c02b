//! Relations between two settings that are each within their bounds: limits of peers that need space for each other,
//! and ports that have to differ.
//!
//! A problem names the setting that has to grow, or the port that comes later. Knows the limits, and nothing of how
//! they are read.

use hubmesh_core::ids::Dialect;
use hubmesh_core::policy::Policies;
use hubmesh_core::rooms::record_bytes;

use super::PeerLimits;
use super::nat::{NatSettings, StunSettings};
use super::read::Reader;

/// What an envelope adds to a peer's data in a roster: ids, network name, type, timestamp and WebSocket header.
pub(crate) const ROSTER_ENVELOPE_BYTES: usize = 512;
/// Messages that an outbox must hold beside a full roster.
const ROSTER_HEADROOM: usize = 256;

/// A newcomer's roster goes into its outbox at once, so an outbox that cannot hold it would close every newcomer.
pub(super) fn check_outbox(reader: &mut Reader, peer: &PeerLimits, discovery_limit: usize) {
    let messages = discovery_limit + ROSTER_HEADROOM;
    if peer.outbox_messages < messages {
        let text = format!(
            "{} is too few: a roster of DISCOVERY_LIMIT = {discovery_limit} peers needs at least {messages}",
            peer.outbox_messages
        );
        reader.problem("OUTBOX_MESSAGES", text);
    }
    let bytes = discovery_limit * (peer.max_announce_bytes + ROSTER_ENVELOPE_BYTES)
        + 4 * peer.max_message_bytes;
    if peer.outbox_bytes < bytes {
        let text = format!(
            "{} is too few: a roster of DISCOVERY_LIMIT = {discovery_limit} peers with MAX_ANNOUNCE_BYTES = {} \
             each, and four messages of MAX_MESSAGE_BYTES = {}, need at least {bytes}",
            peer.outbox_bytes, peer.max_announce_bytes, peer.max_message_bytes
        );
        reader.problem("OUTBOX_BYTES", text);
    }
}

/// A member of a room is told of all others, but of no more than a roster holds. So a set number of members has to fit,
/// and the default follows the roster.
pub(super) fn check_room_members(
    reader: &mut Reader,
    policies: &mut Policies,
    discovery_limit: usize,
) {
    let policy = policies.of_mut(Dialect::Rooms);
    let Some(members) = policy.capacity.filter(|most| *most > discovery_limit) else {
        return;
    };
    if reader.is_in_environment("MAX_ROOM_MEMBERS") {
        let text = format!(
            "{members} is more than DISCOVERY_LIMIT = {discovery_limit}, the peers that a newcomer is told of"
        );
        reader.problem("MAX_ROOM_MEMBERS", text);
    }
    policy.capacity = Some(discovery_limit);
}

/// An intake must hold this many messages, or two long ones at once would push each other out.
const BUDGET_MESSAGES: usize = 4;

pub(super) fn check_message_budget(reader: &mut Reader, peer: &PeerLimits) {
    let bytes = BUDGET_MESSAGES * peer.max_message_bytes;
    if peer.message_budget_bytes < bytes {
        let text = format!(
            "{} is too few: four messages of MAX_MESSAGE_BYTES = {} need at least {bytes}",
            peer.message_budget_bytes, peer.max_message_bytes
        );
        reader.problem("MESSAGE_BUDGET_BYTES", text);
    }
}

pub(super) fn check_data_within_message(reader: &mut Reader, peer: &PeerLimits) {
    if peer.max_announce_bytes > peer.max_message_bytes {
        let text = format!(
            "{} is more than MAX_MESSAGE_BYTES = {}, in which it must arrive",
            peer.max_announce_bytes, peer.max_message_bytes
        );
        reader.problem("MAX_ANNOUNCE_BYTES", text);
    }
}

/// A room with the longest text has to fit into the records that this hub holds.
pub(super) fn check_room_bytes(reader: &mut Reader, peer: &PeerLimits, data_per_hub: usize) {
    let most = record_bytes(data_per_hub);
    if peer.max_room_bytes > most {
        let text = format!(
            "{} is more than a quarter of MESH_DATA_PER_HUB = {data_per_hub}, which all records of rooms may take",
            peer.max_room_bytes
        );
        reader.problem("MAX_ROOM_BYTES", text);
    }
}

/// Ports that cannot be used twice. All of them are opened at the addresses of `HOST`; 0 takes a free one. STUN and
/// TURN may share theirs.
pub(super) fn check_ports(
    reader: &mut Reader,
    port: u16,
    signaling: Option<u16>,
    nat: &NatSettings,
) {
    let (stun, turn) = (nat.stun.as_ref(), nat.turn.as_ref());
    let implied = stun.and_then(StunSettings::second);
    let mut taken = vec![("PORT", port)];
    let stun_port = stun.map(|stun| stun.port);
    let turn_port = turn
        .map(|turn| turn.port)
        .filter(|port| Some(*port) != stun_port);
    let tls_port = turn.and_then(|turn| turn.tls_port);
    for (setting, number) in [
        ("SIGNALING_PORT", signaling),
        ("STUN_PORT", stun_port),
        ("STUN_ALT_PORT", implied),
        ("TURN_PORT", turn_port),
        ("TURN_TLS_PORT", tls_port),
    ] {
        let Some(number) = number.filter(|number| *number != 0) else {
            continue;
        };
        match taken.iter().find(|(_, other)| *other == number) {
            // This has been told already.
            Some((other, _)) if setting == "STUN_ALT_PORT" && *other == "STUN_PORT" => {}
            Some((other, _)) => {
                let unset = setting == "STUN_ALT_PORT" || *other == "STUN_ALT_PORT";
                let implied = match stun.is_some_and(|stun| stun.alternate.is_none()) && unset {
                    true => "; unset, STUN_ALT_PORT is the port after STUN_PORT",
                    false => "",
                };
                let why = format!("is {number}, as {other} is: each needs its own port{implied}");
                reader.problem(setting, why);
            }
            None => taken.push((setting, number)),
        }
    }
}
