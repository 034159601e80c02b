//! How many handshakes there may be at once, and which gives way when no slot is left.
//!
//! A client or a hub in a handshake has shown nothing yet, and may take seconds over it. Any source may take a free
//! slot, up to what one source may have. When none is free, the source that has the most loses its oldest silent
//! handshake, or its oldest of all if the newcomer's source has at least two fewer. So a source that holds many slots
//! in silence keeps no other out, and no source takes a slot that another has a right to. Knows addresses but no
//! sockets. One is for inbound links (`mesh::shared`), one for TLS (`tls::door`).

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{AddressGroup, NoSlot};

/// The slots, and the source of each.
#[derive(Clone, Debug)]
pub struct HandshakeSlots {
    entered: Arc<Mutex<Handshakes>>,
    slots: usize,
}

#[derive(Debug, Default)]
struct Handshakes {
    /// The number of the last handshake that entered.
    last: u64,
    /// The oldest first.
    slots: BTreeMap<u64, HandshakeEntry>,
    sources: HashMap<AddressGroup, GroupSlots>,
}

/// A source that has slots.
#[derive(Debug)]
struct GroupSlots {
    slots: usize,
    turn: Arc<Semaphore>,
}

#[derive(Debug)]
struct HandshakeEntry {
    group: AddressGroup,
    spoke: bool,
    over: CancellationToken,
}

/// A slot; free again when dropped.
#[derive(Debug)]
pub struct HandshakeSlot {
    handshake_slots: HandshakeSlots,
    number: u64,
    over: CancellationToken,
    turn: Arc<Semaphore>,
}

impl HandshakeSlots {
    /// All slots are free.
    pub fn new(slots: usize) -> Self {
        HandshakeSlots {
            entered: Arc::default(),
            slots,
        }
    }

    /// Takes a slot for this source, which may have `of_one` at most. Another handshake may have to give way.
    pub fn enter(&self, group: AddressGroup, of_one: usize) -> Result<HandshakeSlot, NoSlot> {
        let mut entered = self.entered.lock();
        if entered.of(group) >= of_one {
            let loser = entered.silent_of(group).ok_or(NoSlot::AddressFull)?;
            entered.end(loser);
        } else if entered.slots.len() >= self.slots {
            let loser = entered.gives_way(group).ok_or(NoSlot::Full)?;
            entered.end(loser);
        }
        let over = CancellationToken::new();
        let (number, turn) = entered.begin(group, over.clone());
        Ok(HandshakeSlot {
            handshake_slots: self.clone(),
            number,
            over,
            turn,
        })
    }
}

impl Handshakes {
    fn of(&self, group: AddressGroup) -> usize {
        let source = self.sources.get(&group);
        source.map_or(0, |source| source.slots)
    }

    fn begin(&mut self, group: AddressGroup, over: CancellationToken) -> (u64, Arc<Semaphore>) {
        self.last += 1;
        let source = self.sources.entry(group).or_insert_with(|| GroupSlots {
            slots: 0,
            turn: Arc::new(Semaphore::new(1)),
        });
        source.slots += 1;
        let turn = Arc::clone(&source.turn);
        let entry = HandshakeEntry {
            group,
            spoke: false,
            over,
        };
        self.slots.insert(self.last, entry);
        (self.last, turn)
    }

    fn end(&mut self, number: u64) {
        let Some(entry) = self.slots.remove(&number) else {
            return;
        };
        entry.over.cancel();
        if let Some(source) = self.sources.get_mut(&entry.group) {
            source.slots -= 1;
            if source.slots == 0 {
                self.sources.remove(&entry.group);
            }
        }
    }

    /// The oldest slot of a source whose handshake is silent.
    fn silent_of(&self, group: AddressGroup) -> Option<u64> {
        let mut slots = self.slots.iter();
        let silent = slots.find(|(_, entry)| entry.group == group && !entry.spoke);
        silent.map(|(number, _)| *number)
    }

    /// The handshake whose slot a newcomer of this source gets.
    fn gives_way(&self, newcomer: AddressGroup) -> Option<u64> {
        let most = self.sources.values().map(|source| source.slots).max()?;
        let has_most = |entry: &HandshakeEntry| self.of(entry.group) == most;
        let mut of_the_largest = self.slots.iter().filter(|(_, entry)| has_most(entry));
        let silent = of_the_largest.clone().find(|(_, entry)| !entry.spoke);
        let yields = self.of(newcomer) + 2 <= most;
        let any = silent.or_else(|| of_the_largest.next().filter(|_| yields));
        any.map(|(number, _)| *number)
    }
}

impl HandshakeSlot {
    /// The other end said something that may be part of the handshake.
    pub fn spoke(&self) {
        let mut entered = self.handshake_slots.entered.lock();
        if let Some(entry) = entered.slots.get_mut(&self.number) {
            entry.spoke = true;
        }
    }

    /// The semaphore by which one handshake of this source works at a time. Handshakes of one source wait for each
    /// other before they wait for those of others, so a source with many takes no more of the others' time than a
    /// source with one.
    pub fn turn(&self) -> &Semaphore {
        &self.turn
    }

    /// Waits until another handshake has the slot.
    pub async fn lost(&self) {
        self.over.cancelled().await;
    }
}

impl Drop for HandshakeSlot {
    fn drop(&mut self) {
        self.handshake_slots.entered.lock().end(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: usize = 64;

    fn enter_up_to(
        of_one: usize,
        handshake_slots: &HandshakeSlots,
        from: &str,
        times: usize,
    ) -> Vec<HandshakeSlot> {
        let from = AddressGroup::of(from.parse().expect("an address"));
        (0..times)
            .filter_map(|_| handshake_slots.enter(from, of_one).ok())
            .collect()
    }

    fn enter(handshake_slots: &HandshakeSlots, from: &str, times: usize) -> Vec<HandshakeSlot> {
        enter_up_to(PLACES, handshake_slots, from, times)
    }

    fn lost(slots: &[HandshakeSlot]) -> usize {
        slots.iter().filter(|slot| slot.over.is_cancelled()).count()
    }

    #[test]
    fn the_oldest_silent_handshake_of_who_has_the_most_gives_way() {
        let handshake_slots = HandshakeSlots::new(PLACES);
        let strangers = enter(&handshake_slots, "192.0.2.1", 64);
        assert_eq!((strangers.len(), lost(&strangers)), (64, 0));
        let hubs: Vec<_> = (2..12)
            .flat_map(|host| enter(&handshake_slots, &format!("192.0.2.{host}"), 1))
            .collect();
        assert_eq!((hubs.len(), lost(&hubs)), (10, 0));
        let given_way: Vec<bool> = strangers
            .iter()
            .map(|slot| slot.over.is_cancelled())
            .collect();
        assert!(given_way[..10].iter().all(|lost| *lost) && lost(&strangers) == 10);
        let more = enter(&handshake_slots, "192.0.2.1", 1_000);
        assert_eq!(
            (more.len(), lost(&hubs)),
            (1_000, 0),
            "a flood costs itself alone"
        );
    }

    #[test]
    fn who_speaks_gives_way_only_to_sources_that_have_fewer() {
        let handshake_slots = HandshakeSlots::new(PLACES);
        let hubs = enter(&handshake_slots, "192.0.2.1", 64);
        hubs.iter().for_each(HandshakeSlot::spoke);
        assert!(
            enter(&handshake_slots, "192.0.2.1", 1).is_empty(),
            "they are all at it"
        );
        let other = enter(&handshake_slots, "192.0.2.2", 1);
        assert_eq!((other.len(), lost(&hubs)), (1, 1));
    }

    #[test]
    fn many_strangers_share_what_there_is() {
        let handshake_slots = HandshakeSlots::new(PLACES);
        let strangers: Vec<_> = (1..=5)
            .flat_map(|host| enter(&handshake_slots, &format!("192.0.2.{host}"), 40))
            .collect();
        strangers.iter().for_each(HandshakeSlot::spoke);
        let hub = enter(&handshake_slots, "198.51.100.1", 1);
        assert_eq!(hub.len(), 1);
        for host in 1..=5 {
            let _again = enter(&handshake_slots, &format!("192.0.2.{host}"), 40);
        }
        assert_eq!(lost(&hub), 0);
    }

    #[test]
    fn a_slot_is_free_again_when_its_handshake_is_over() {
        let handshake_slots = HandshakeSlots::new(PLACES);
        for _ in 0..100 {
            let slots = enter(&handshake_slots, "::1", 64);
            assert_eq!((slots.len(), lost(&slots)), (64, 0));
        }
        let entered = handshake_slots.entered.lock();
        assert!(entered.slots.is_empty() && entered.sources.is_empty());
    }

    #[test]
    fn the_addresses_of_one_site_are_one_source() {
        let handshake_slots = HandshakeSlots::new(PLACES);
        let site = enter(&handshake_slots, "2001:db8:0:1::1", 40);
        let other = enter(&handshake_slots, "2001:db8:0:2::1", 24);
        let same = enter(&handshake_slots, "2001:db8:0:1:2:3:4:5", 1);
        assert_eq!((same.len(), lost(&site), lost(&other)), (1, 1, 0));
        let mapped = enter(&handshake_slots, "::ffff:192.0.2.1", 2);
        let plain = enter(&handshake_slots, "192.0.2.1", 2);
        assert_eq!((lost(&mapped), lost(&plain)), (0, 0));
    }

    #[test]
    fn who_gets_no_slot_learns_whether_it_has_its_share_or_all_are_taken() {
        let handshake_slots = HandshakeSlots::new(4);
        let others: Vec<_> = (1..=4)
            .flat_map(|host| enter_up_to(2, &handshake_slots, &format!("192.0.2.{host}"), 1))
            .collect();
        others.iter().for_each(HandshakeSlot::spoke);
        let why = |from: &str, of_one| {
            let from = AddressGroup::of(from.parse().expect("an address"));
            handshake_slots.enter(from, of_one).err()
        };
        assert_eq!(why("192.0.2.9", 2), Some(NoSlot::Full));
        assert_eq!(why("192.0.2.1", 1), Some(NoSlot::AddressFull));
    }

    #[test]
    fn a_source_that_has_all_it_may_costs_itself_a_silent_one_or_gets_none() {
        let handshake_slots = HandshakeSlots::new(PLACES);
        let own = enter_up_to(32, &handshake_slots, "192.0.2.1", 40);
        assert_eq!((own.len(), lost(&own)), (40, 8));
        own.iter().for_each(HandshakeSlot::spoke);
        assert!(enter_up_to(32, &handshake_slots, "192.0.2.1", 1).is_empty());
        let others = enter_up_to(32, &handshake_slots, "192.0.2.2", 32);
        assert_eq!((others.len(), lost(&own)), (32, 8));
    }
}
