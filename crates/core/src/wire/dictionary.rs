//! The names that both ends of a link have numbered, for the control messages in one direction.
//!
//! [`EncodeDictionary`] is the writer's side and [`DecodeDictionary`] the reader's. Both give slots to names in the
//! order in which they are first written, and both have the same [`DeltaBase`] for each hub.

use std::hash::Hash;

use bytes::{BufMut, BytesMut};
use hashbrown::{Equivalent, HashMap};

use super::WireError;
use super::primitives::{Reader, put_bytes, put_varint};
use crate::frames::{Scope, Set};
use crate::ids::{HubId, Incarnation, NetworkKey};

/// The most hubs, and the most networks, in a dictionary.
pub const MAX_SLOTS: usize = 4096;

/// The most sets in a dictionary. Further sets take the slots of the earliest, in a ring.
pub const MAX_SETS: usize = 16_384;

/// The base from which the numbers of a hub's deltas are counted.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct DeltaBase {
    /// The incarnation that was last named.
    pub(super) incarnation: Option<Incarnation>,
    /// Where the last delta ended.
    pub(super) seq: u64,
    /// The claim number of the last claim entry.
    pub(super) claim: u64,
    /// The milliseconds of the last claim entry's HLC.
    pub(super) wall_ms: u64,
}

impl DeltaBase {
    /// Notes a named incarnation.
    fn name(&mut self, incarnation: Incarnation) {
        if self.incarnation != Some(incarnation) {
            *self = DeltaBase {
                incarnation: Some(incarnation),
                ..DeltaBase::default()
            };
        }
    }
}

/// The slot of a hub that was written or read, if it has one.
pub(super) type HubSlot = Option<usize>;

/// The writer's side.
#[derive(Default)]
pub(super) struct EncodeDictionary {
    hubs: HashMap<HubId, u32, foldhash::fast::FixedState>,
    networks: HashMap<NetworkKey, u32, foldhash::fast::FixedState>,
    bases: Vec<DeltaBase>,
    sets: HashMap<Set, u32, foldhash::fast::FixedState>,
    /// The sets by their slots, and the slots of their hubs.
    set_slots: Vec<(Set, HubSlot)>,
    next_set: usize,
}

/// Writes the scope of a set: no text for all networks, or the network.
pub(super) fn put_scope(out: &mut BytesMut, scope: &Scope) {
    match scope {
        Scope::Of(network) => put_bytes(out, network.as_str().as_bytes()),
        Scope::All | Scope::Networks => put_bytes(out, b""),
    }
}

pub(super) fn read_scope(reader: &mut Reader<'_>) -> Result<Scope, WireError> {
    let text = reader.text(NetworkKey::MAX_NAME_BYTES + 4)?;
    if text.is_empty() {
        return Ok(Scope::Networks);
    }
    let network = NetworkKey::from_wire(text).map_err(|_| WireError::BadText)?;
    Ok(Scope::Of(network))
}

/// Puts `entry` into the next slot of a ring, and returns the former entry.
fn take_turn<T>(slots: &mut Vec<T>, next: &mut usize, entry: T) -> Option<T> {
    let turn = *next;
    *next = (turn + 1) % MAX_SETS;
    match slots.get_mut(turn) {
        Some(slot) => Some(std::mem::replace(slot, entry)),
        None => {
            slots.push(entry);
            None
        }
    }
}

/// The slot of `name`, or `None` after giving it the next one if there is one.
fn slot_of<K, Q>(
    map: &mut HashMap<K, u32, foldhash::fast::FixedState>,
    name: &Q,
    own: impl FnOnce() -> K,
) -> Option<u32>
where
    K: Hash + Eq,
    Q: Hash + Equivalent<K> + ?Sized,
{
    if let Some(slot) = map.get(name) {
        return Some(*slot);
    }
    if map.len() < MAX_SLOTS {
        let next = map.len() as u32;
        map.insert(own(), next);
    }
    None
}

impl EncodeDictionary {
    pub(super) fn put_hub(&mut self, out: &mut BytesMut, hub: HubId) -> HubSlot {
        if let Some(slot) = slot_of(&mut self.hubs, &hub, || hub) {
            put_varint(out, u64::from(slot) + 1);
            return Some(slot as usize);
        }
        out.put_u8(0);
        out.put_slice(&hub.0);
        if self.hubs.len() == self.bases.len() {
            return None;
        }
        self.bases.push(DeltaBase::default());
        Some(self.bases.len() - 1)
    }

    pub(super) fn put_network(&mut self, out: &mut BytesMut, network: &NetworkKey) {
        match slot_of(&mut self.networks, network, || network.clone()) {
            Some(slot) => put_varint(out, u64::from(slot) + 1),
            None => {
                out.put_u8(0);
                put_bytes(out, network.as_str().as_bytes());
            }
        }
    }

    /// A set: gives the slot of its hub.
    pub(super) fn put_set(&mut self, out: &mut BytesMut, set: &Set) -> HubSlot {
        if let Some(slot) = self.sets.get(set) {
            put_varint(out, u64::from(*slot) + 1);
            return self.set_slots.get(*slot as usize).and_then(|(_, hub)| *hub);
        }
        out.put_u8(0);
        let hub = self.put_hub(out, set.hub);
        put_scope(out, &set.scope);
        self.sets.insert(set.clone(), self.next_set as u32);
        let entry = (set.clone(), hub);
        if let Some((before, _)) = take_turn(&mut self.set_slots, &mut self.next_set, entry) {
            self.sets.remove(&before);
        }
        hub
    }

    pub(super) fn put_incarnation(
        &mut self,
        out: &mut BytesMut,
        slot: HubSlot,
        incarnation: Incarnation,
    ) {
        if self.base(slot).incarnation == Some(incarnation) {
            out.put_u8(0);
            return;
        }
        put_varint(out, u64::from(incarnation.epoch) + 1);
        out.put_u64(incarnation.nonce);
        self.name(slot, incarnation);
    }

    pub(super) fn name(&mut self, slot: HubSlot, incarnation: Incarnation) {
        if let Some(base) = slot.and_then(|slot| self.bases.get_mut(slot)) {
            base.name(incarnation);
        }
    }

    pub(super) fn base(&self, slot: HubSlot) -> DeltaBase {
        slot.and_then(|slot| self.bases.get(slot).copied())
            .unwrap_or_default()
    }

    pub(super) fn rebase(&mut self, slot: HubSlot, base: DeltaBase) {
        if let Some(kept) = slot.and_then(|slot| self.bases.get_mut(slot)) {
            *kept = base;
        }
    }
}

/// The reader's side.
#[derive(Default)]
pub(super) struct DecodeDictionary {
    /// Without the bases: link records name a dozen hubs each, and need only these.
    hubs: Vec<HubId>,
    bases: Vec<DeltaBase>,
    networks: Vec<NetworkKey>,
    sets: Vec<(Set, HubSlot)>,
    next_set: usize,
}

/// Reads a reference: the slot, or `None` if the name follows.
fn read_slot(reader: &mut Reader<'_>) -> Result<HubSlot, WireError> {
    let reference = reader.varint()?;
    match reference.checked_sub(1) {
        None => Ok(None),
        Some(slot) => usize::try_from(slot)
            .map(Some)
            .map_err(|_| WireError::BadReference),
    }
}

impl DecodeDictionary {
    pub(super) fn read_hub(
        &mut self,
        reader: &mut Reader<'_>,
    ) -> Result<(HubId, HubSlot), WireError> {
        if let Some(slot) = read_slot(reader)? {
            let hub = self.hubs.get(slot).ok_or(WireError::BadReference)?;
            return Ok((*hub, Some(slot)));
        }
        let hub = reader.hub()?;
        if self.hubs.len() == MAX_SLOTS {
            return Ok((hub, None));
        }
        self.hubs.push(hub);
        self.bases.push(DeltaBase::default());
        Ok((hub, Some(self.hubs.len() - 1)))
    }

    pub(super) fn read_network(
        &mut self,
        reader: &mut Reader<'_>,
    ) -> Result<NetworkKey, WireError> {
        if let Some(slot) = read_slot(reader)? {
            return self
                .networks
                .get(slot)
                .cloned()
                .ok_or(WireError::BadReference);
        }
        let network = read_network_name(reader)?;
        if self.networks.len() < MAX_SLOTS {
            self.networks.push(network.clone());
        }
        Ok(network)
    }

    /// A set, and the slot of its hub.
    pub(super) fn read_set(
        &mut self,
        reader: &mut Reader<'_>,
    ) -> Result<(Set, HubSlot), WireError> {
        if let Some(slot) = read_slot(reader)? {
            return self.sets.get(slot).cloned().ok_or(WireError::BadReference);
        }
        let (hub, slot) = self.read_hub(reader)?;
        let scope = read_scope(reader)?;
        let set = Set { hub, scope };
        take_turn(&mut self.sets, &mut self.next_set, (set.clone(), slot));
        Ok((set, slot))
    }

    pub(super) fn read_incarnation(
        &mut self,
        reader: &mut Reader<'_>,
        slot: HubSlot,
    ) -> Result<Incarnation, WireError> {
        let Some(epoch) = reader.varint()?.checked_sub(1) else {
            return self.last_incarnation(slot);
        };
        let incarnation = Incarnation {
            epoch: u32::try_from(epoch).map_err(|_| WireError::OutOfRange)?,
            nonce: reader.u64_be()?,
        };
        self.name(slot, incarnation);
        Ok(incarnation)
    }

    pub(super) fn last_incarnation(&self, slot: HubSlot) -> Result<Incarnation, WireError> {
        self.base(slot).incarnation.ok_or(WireError::BadReference)
    }

    pub(super) fn name(&mut self, slot: HubSlot, incarnation: Incarnation) {
        if let Some(base) = slot.and_then(|slot| self.bases.get_mut(slot)) {
            base.name(incarnation);
        }
    }

    pub(super) fn base(&self, slot: HubSlot) -> DeltaBase {
        slot.and_then(|slot| self.bases.get(slot).copied())
            .unwrap_or_default()
    }

    pub(super) fn rebase(&mut self, slot: HubSlot, base: DeltaBase) {
        if let Some(kept) = slot.and_then(|slot| self.bases.get_mut(slot)) {
            *kept = base;
        }
    }
}

/// A network in full.
pub(super) fn read_network_name(reader: &mut Reader<'_>) -> Result<NetworkKey, WireError> {
    // The dialect's letter is at most 4 bytes.
    let text = reader.text(NetworkKey::MAX_NAME_BYTES + 4)?;
    NetworkKey::from_wire(text).map_err(|_| WireError::BadText)
}
