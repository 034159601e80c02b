//! The roster of a newcomer: one message for all members, or one for each, depending on its dialect.

use bytes::Bytes;
use hubmesh_core::api::Room;
use hubmesh_core::ids::PeerId;

use super::{Peer, Registry};
use crate::clock::unix_ms;
use crate::dialect;
use crate::dialect::words::Sent;
use crate::peers::mailbox::PendingRoster;

impl Registry {
    pub(super) fn tell_roster(
        &self,
        peer: &Peer,
        mut left: Vec<(PeerId, Option<Bytes>)>,
        room: Option<(&Room, bool)>,
    ) {
        if peer.blind {
            left.clear();
        }
        if self.tell_in_one(peer, &left, room) || left.is_empty() {
            return;
        }
        let told = u64::try_from(left.len()).unwrap_or(u64::MAX);
        let network = peer.source.network.clone();
        left.reverse();
        let roster = Box::new(PendingRoster { network, left });
        // A full mailbox is closing already.
        if peer.mailbox.push_roster(roster).is_ok() {
            let sent = &self.metrics.messages_sent;
            sent.of(peer.dialect, Sent::PeerDiscovered).inc_by(told);
        }
    }

    /// Sends the roster to a member that asks again, in a dialect whose roster is one message.
    pub fn tell_again(&self, peer: &Peer, others: &[(PeerId, Option<Bytes>)], room: Option<&Room>) {
        self.tell_in_one(peer, others, room.map(|room| (room, false)));
    }

    /// Sends the roster as one message, if the dialect has such a message. True if it has.
    fn tell_in_one(
        &self,
        peer: &Peer,
        others: &[(PeerId, Option<Bytes>)],
        room: Option<(&Room, bool)>,
    ) -> bool {
        if peer.is_quiet() {
            return false;
        }
        let seen = room.filter(|_| peer.blind);
        let seen = seen.map(|(room, is_new)| (without_others(room, &peer.source.peer), is_new));
        let room = seen.as_ref().map(|(room, is_new)| (room, *is_new)).or(room);
        let others = match peer.blind {
            true => &[],
            false => others,
        };
        let roster = dialect::Roster {
            network: &peer.source.network,
            peer: &peer.source.peer,
            others,
            room: room.map(|(room, _)| room),
            is_new: room.is_some_and(|(_, is_new)| is_new),
        };
        let Some(text) = dialect::encode_roster(peer.dialect, &roster, unix_ms()) else {
            return false;
        };
        // A full mailbox is closing already.
        if peer.mailbox.push(text).is_ok() {
            self.metrics.messages_sent.inc(peer.dialect, Sent::Roster);
        }
        true
    }
}

/// A room for a client that is told of no peer: with its host, which is a part of the room's description.
fn without_others(room: &Room, own: &PeerId) -> Room {
    let mut seen = room.clone();
    let mut is_host = true;
    let shown = |peer: &PeerId| std::mem::replace(&mut is_host, false) || peer == own;
    let mut shown = shown;
    seen.members.retain(|member| shown(&member.peer));
    seen
}
