//! Deltas and their entries: the hottest of the control frames.

use bytes::{BufMut, Bytes, BytesMut};

use super::dictionary::{
    DecodeDictionary, DeltaBase, EncodeDictionary, HubSlot, read_network_name,
};
use super::primitives::{MAX_VARINT, Reader, put_above, put_bytes, put_varint};
use super::{MAX_PAYLOAD, WireError};
use crate::frames::{Change, Claim, Delta, Entry, Scope, Set, UnknownChange};
use crate::ids::{ClaimNo, Hlc, HubId, LeaveReason, NetworkKey, PeerId};

mod flag {
    pub(super) const RESET: u8 = 0x01;
    pub(super) const LAST: u8 = 0x02;
    pub(super) const SAME_INCARNATION: u8 = 0x04;
    pub(super) const FROM_FOLLOWS: u8 = 0x08;
    pub(super) const TO_IS_LAST_ENTRY: u8 = 0x10;
}

mod tag {
    pub(super) const CHANGE: u8 = 0x07;
    pub(super) const CLAIM: u8 = 0;
    pub(super) const GONE: u8 = 1;
    pub(super) const NUMBERED: u8 = 0x08;
    pub(super) const QUIET: u8 = 0x10;
    pub(super) const DATA: u8 = 0x20;
    pub(super) const TEXT_PEER: u8 = 0x40;
    pub(super) const SAME_NETWORK: u8 = 0x80;
}

/// The most that this entry can take in a delta.
pub fn entry_size(entry: &Entry) -> usize {
    let tag_and_seq = 1 + MAX_VARINT;
    let key = |network: &NetworkKey, peer: &PeerId| {
        2 * MAX_VARINT
            + network.as_str().len()
            + match peer {
                PeerId::Hex(packed) => packed.len(),
                PeerId::Text(text) => text.len(),
            }
    };
    tag_and_seq
        + match &entry.change {
            Change::Claim(claim) => {
                let data = claim
                    .data
                    .as_ref()
                    .map_or(0, |data| MAX_VARINT + data.len());
                key(&claim.network, &claim.peer) + 3 * MAX_VARINT + data
            }
            Change::Gone { network, peer, .. } => key(network, peer) + MAX_VARINT + 1,
            Change::Unknown(unknown) => {
                3 * MAX_VARINT + unknown.network.as_str().len() + unknown.body.len()
            }
        }
}

pub(super) fn put(out: &mut BytesMut, dictionary: &mut EncodeDictionary, delta: &Delta) {
    let slot = dictionary.put_hub(out, delta.origin);
    put_changes(out, dictionary, slot, delta, None);
}

/// Writes a delta of a set that is not all of a hub's claims. Its numbers are the hub's, and count from those of the
/// last delta of any of its sets.
pub(super) fn put_of(
    out: &mut BytesMut,
    dictionary: &mut EncodeDictionary,
    scope: &Scope,
    delta: &Delta,
) {
    let set = Set {
        hub: delta.origin,
        scope: scope.clone(),
    };
    let slot = dictionary.put_set(out, &set);
    put_changes(out, dictionary, slot, delta, Some(scope));
}

fn put_changes(
    out: &mut BytesMut,
    dictionary: &mut EncodeDictionary,
    slot: HubSlot,
    delta: &Delta,
    scope: Option<&Scope>,
) {
    let mut base = dictionary.base(slot);
    let flags = flags_of(delta, base);
    out.put_u8(flags);
    if flags & flag::SAME_INCARNATION == 0 {
        dictionary.put_incarnation(out, slot, delta.incarnation);
        base = dictionary.base(slot);
    }
    if flags & flag::FROM_FOLLOWS == 0 {
        match scope {
            Some(_) => put_above(out, delta.from, base.seq),
            None => put_varint(out, delta.from),
        }
    }
    if flags & flag::TO_IS_LAST_ENTRY == 0 {
        put_above(out, delta.to, delta.from);
    }
    let mut writer = EntryWriter {
        dictionary,
        base,
        seq: delta.from,
        network: scope.and_then(Scope::network),
    };
    for entry in &delta.entries {
        writer.put(out, entry);
    }
    let mut base = writer.base;
    base.seq = delta.to;
    dictionary.rebase(slot, base);
}

fn flags_of(delta: &Delta, base: DeltaBase) -> u8 {
    let same_incarnation = base.incarnation == Some(delta.incarnation);
    let from = if same_incarnation { base.seq } else { 0 };
    let last = delta.entries.last().map_or(delta.from, |entry| entry.seq);
    [
        (flag::RESET, delta.reset),
        (flag::LAST, delta.last),
        (flag::SAME_INCARNATION, same_incarnation),
        (flag::FROM_FOLLOWS, delta.from == from),
        (flag::TO_IS_LAST_ENTRY, delta.to == last),
    ]
    .iter()
    .filter(|(_, set)| *set)
    .fold(0, |flags, (flag, _)| flags | flag)
}

/// Writes the entries of one delta.
struct EntryWriter<'a, 'b> {
    dictionary: &'a mut EncodeDictionary,
    base: DeltaBase,
    seq: u64,
    network: Option<&'b NetworkKey>,
}

impl<'b> EntryWriter<'_, 'b> {
    fn put(&mut self, out: &mut BytesMut, entry: &'b Entry) {
        let expected = self.seq.wrapping_add(1);
        let numbered = if entry.seq == expected {
            0
        } else {
            tag::NUMBERED
        };
        out.put_u8(numbered | self.tag_of(&entry.change));
        if numbered != 0 {
            put_above(out, entry.seq, expected);
        }
        self.seq = entry.seq;
        match &entry.change {
            Change::Claim(claim) => self.put_claim(out, claim),
            Change::Gone {
                network,
                peer,
                claim,
                reason,
            } => {
                self.put_key(out, network, peer);
                put_above(out, claim.0, self.base.claim);
                out.put_u8(reason.code());
            }
            Change::Unknown(unknown) => put_unknown(out, unknown),
        }
    }

    fn tag_of(&self, change: &Change) -> u8 {
        let key = |network: &NetworkKey, peer: &PeerId| {
            let same = if self.network == Some(network) {
                tag::SAME_NETWORK
            } else {
                0
            };
            match peer {
                PeerId::Hex(_) => same,
                PeerId::Text(_) => same | tag::TEXT_PEER,
            }
        };
        match change {
            Change::Claim(claim) => {
                let quiet = if claim.quiet { tag::QUIET } else { 0 };
                let data = if claim.data.is_some() { tag::DATA } else { 0 };
                tag::CLAIM | key(&claim.network, &claim.peer) | quiet | data
            }
            Change::Gone { network, peer, .. } => tag::GONE | key(network, peer),
            Change::Unknown(unknown) => unknown.tag & !tag::NUMBERED,
        }
    }

    fn put_key(&mut self, out: &mut BytesMut, network: &'b NetworkKey, peer: &PeerId) {
        if self.network != Some(network) {
            self.dictionary.put_network(out, network);
            self.network = Some(network);
        }
        match peer {
            PeerId::Hex(packed) => out.put_slice(packed),
            PeerId::Text(text) => put_bytes(out, text.as_bytes()),
        }
    }

    fn put_claim(&mut self, out: &mut BytesMut, claim: &'b Claim) {
        self.put_key(out, &claim.network, &claim.peer);
        put_above(out, claim.claim.0, self.base.claim);
        put_above(out, claim.hlc.wall_ms(), self.base.wall_ms);
        put_varint(out, claim.hlc.0 & 0xffff);
        if let Some(data) = &claim.data {
            put_bytes(out, data);
        }
        self.base.claim = claim.claim.0;
        self.base.wall_ms = claim.hlc.wall_ms();
    }
}

fn put_unknown(out: &mut BytesMut, unknown: &UnknownChange) {
    let mut head = BytesMut::new();
    put_bytes(&mut head, unknown.network.as_str().as_bytes());
    put_varint(&mut head, unknown.item);
    put_varint(out, (head.len() + unknown.body.len()) as u64);
    out.put_slice(&head);
    out.put_slice(&unknown.body);
}

fn read_unknown(reader: &mut Reader<'_>, tag: u8) -> Result<UnknownChange, WireError> {
    let length = reader.bounded(reader.len().min(MAX_PAYLOAD))?;
    let mut reader = Reader::new(reader.take(length)?);
    Ok(UnknownChange {
        tag,
        network: read_network_name(&mut reader)?,
        item: reader.varint()?,
        // A copy: a slice would keep the whole message alive for as long as the item.
        body: Bytes::copy_from_slice(reader.remainder()),
    })
}

pub(super) fn read(
    reader: &mut Reader<'_>,
    dictionary: &mut DecodeDictionary,
) -> Result<Delta, WireError> {
    let (origin, slot) = dictionary.read_hub(reader)?;
    read_changes(reader, dictionary, (origin, slot), None)
}

pub(super) fn read_of(
    reader: &mut Reader<'_>,
    dictionary: &mut DecodeDictionary,
) -> Result<(Scope, Delta), WireError> {
    let (set, slot) = dictionary.read_set(reader)?;
    let delta = read_changes(reader, dictionary, (set.hub, slot), Some(&set.scope))?;
    Ok((set.scope, delta))
}

fn read_changes(
    reader: &mut Reader<'_>,
    dictionary: &mut DecodeDictionary,
    (origin, slot): (HubId, HubSlot),
    scope: Option<&Scope>,
) -> Result<Delta, WireError> {
    let flags = reader.u8()?;
    let incarnation = if flags & flag::SAME_INCARNATION == 0 {
        dictionary.read_incarnation(reader, slot)?
    } else {
        dictionary.last_incarnation(slot)?
    };
    let base = dictionary.base(slot);
    let from = match (flags & flag::FROM_FOLLOWS == 0, scope) {
        (false, _) => base.seq,
        (true, None) => reader.varint()?,
        (true, Some(_)) => reader.above(base.seq)?,
    };
    let to = if flags & flag::TO_IS_LAST_ENTRY == 0 {
        Some(reader.above(from)?)
    } else {
        None
    };
    let mut entries = EntryReader {
        dictionary,
        base,
        seq: from,
        network: scope.and_then(Scope::network).cloned(),
    };
    let read = entries.read_all(reader)?;
    let to = to.unwrap_or(entries.seq);
    let mut base = entries.base;
    base.seq = to;
    dictionary.rebase(slot, base);
    Ok(delta_of(origin, incarnation, (from, to), flags, read))
}

fn delta_of(
    origin: HubId,
    incarnation: crate::ids::Incarnation,
    (from, to): (u64, u64),
    flags: u8,
    entries: Vec<Entry>,
) -> Delta {
    Delta {
        origin,
        incarnation,
        from,
        reset: flags & flag::RESET != 0,
        last: flags & flag::LAST != 0,
        to,
        entries,
    }
}

/// Reads the entries of one delta.
struct EntryReader<'a> {
    dictionary: &'a mut DecodeDictionary,
    base: DeltaBase,
    seq: u64,
    network: Option<NetworkKey>,
}

impl EntryReader<'_> {
    fn read_all(&mut self, reader: &mut Reader<'_>) -> Result<Vec<Entry>, WireError> {
        let mut entries = Vec::new();
        while !reader.is_empty() {
            entries.push(self.read(reader)?);
        }
        Ok(entries)
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Result<Entry, WireError> {
        let tag = reader.u8()?;
        let expected = self.seq.wrapping_add(1);
        let seq = if tag & tag::NUMBERED == 0 {
            expected
        } else {
            reader.above(expected)?
        };
        self.seq = seq;
        let change = match tag & tag::CHANGE {
            tag::CLAIM => Change::Claim(self.read_claim(reader, tag)?),
            tag::GONE => self.read_gone(reader, tag)?,
            _ => Change::Unknown(read_unknown(reader, tag & !tag::NUMBERED)?),
        };
        Ok(Entry { seq, change })
    }

    fn read_key(
        &mut self,
        reader: &mut Reader<'_>,
        tag: u8,
    ) -> Result<(NetworkKey, PeerId), WireError> {
        let network = if tag & tag::SAME_NETWORK == 0 {
            self.dictionary.read_network(reader)?
        } else {
            self.network.take().ok_or(WireError::BadReference)?
        };
        self.network = Some(network.clone());
        let peer = if tag & tag::TEXT_PEER == 0 {
            reader.packed_peer()?
        } else {
            reader.text_peer()?
        };
        Ok((network, peer))
    }

    fn read_claim(&mut self, reader: &mut Reader<'_>, tag: u8) -> Result<Claim, WireError> {
        let (network, peer) = self.read_key(reader, tag)?;
        let claim = reader.above(self.base.claim)?;
        let wall_ms = reader.above(self.base.wall_ms)?;
        let counter = reader.varint()?;
        if counter > 0xffff || wall_ms >> 48 != 0 {
            return Err(WireError::OutOfRange);
        }
        let data = if tag & tag::DATA == 0 {
            None
        } else {
            let length = reader.bounded(reader.len().min(MAX_PAYLOAD))?;
            // A copy: a slice would keep the whole message alive for as long as the claim.
            Some(Bytes::copy_from_slice(reader.take(length)?))
        };
        self.base.claim = claim;
        self.base.wall_ms = wall_ms;
        Ok(Claim {
            network,
            peer,
            claim: ClaimNo(claim),
            hlc: Hlc(wall_ms << 16 | counter),
            quiet: tag & tag::QUIET != 0,
            data,
        })
    }

    fn read_gone(&mut self, reader: &mut Reader<'_>, tag: u8) -> Result<Change, WireError> {
        let (network, peer) = self.read_key(reader, tag)?;
        Ok(Change::Gone {
            network,
            peer,
            claim: ClaimNo(reader.above(self.base.claim)?),
            reason: LeaveReason::from_code(reader.u8()?),
        })
    }
}
