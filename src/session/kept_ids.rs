//! The ids that are kept for a moment after their connection broke, bounded in number.
//!
//! Any address may keep ids while there is space. When there is no space, the address with the most kept ids loses the
//! id whose connection was open for the shortest time: an attacker that connects and disconnects repeatedly loses its
//! own ids, even if other clients share its address. Knows no ids and no sockets. Used by
//! [`Sessions`](super::Sessions).
//!
//! Invariant: no more than `most` ids are kept at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::limits::AddressGroup;

/// The ids that are kept.
#[derive(Debug, Clone)]
pub(super) struct KeptIds {
    table: Arc<Mutex<Table>>,
    most: usize,
}

#[derive(Debug, Default)]
struct Table {
    last: u64,
    len: usize,
    /// For each address, its ids; the id whose connection was open for the shortest time is last.
    by_group: HashMap<AddressGroup, BTreeMap<Age, CancellationToken>>,
}

/// When a connection began, and a number that no other has.
type Age = (Instant, u64);

/// One id that is kept, until this is dropped.
#[derive(Debug)]
pub(super) struct KeptId {
    table: Arc<Mutex<Table>>,
    group: AddressGroup,
    age: Age,
    over: CancellationToken,
}

impl KeptIds {
    /// No ids yet; at most `most` later.
    pub(super) fn new(most: usize) -> Self {
        KeptIds {
            table: Arc::default(),
            most,
        }
    }

    /// Keeps the id of a client at this address whose connection began at this time, until its space is needed for
    /// another id.
    pub(super) fn keep(&self, group: AddressGroup, since: Instant) -> KeptId {
        let mut table = self.table.lock();
        table.last += 1;
        let kept = KeptId {
            table: Arc::clone(&self.table),
            group,
            age: (since, table.last),
            over: CancellationToken::new(),
        };
        let own = table.by_group.entry(group).or_default();
        own.insert(kept.age, kept.over.clone());
        table.len += 1;
        if table.len > self.most {
            table.one_gives_way();
        }
        kept
    }
}

impl Table {
    fn one_gives_way(&mut self) {
        let all = self.by_group.iter();
        let last = |(group, own): (&AddressGroup, &BTreeMap<Age, _>)| {
            own.last_key_value()
                .map(|(age, _)| (own.len(), *age, *group))
        };
        let largest = all
            .filter_map(last)
            .max_by_key(|(len, age, _)| (*len, *age));
        if let Some((_, age, group)) = largest {
            self.remove(group, age);
        }
    }

    fn remove(&mut self, group: AddressGroup, age: Age) {
        let Some(own) = self.by_group.get_mut(&group) else {
            return;
        };
        if let Some(over) = own.remove(&age) {
            over.cancel();
            self.len -= 1;
        }
        if own.is_empty() {
            self.by_group.remove(&group);
        }
    }
}

impl KeptId {
    /// Waits until this id is dropped for another id.
    pub(super) async fn lost(&self) {
        self.over.cancelled().await;
    }
}

impl Drop for KeptId {
    fn drop(&mut self) {
        self.table.lock().remove(self.group, self.age);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn group(host: u8) -> AddressGroup {
        AddressGroup::of([192, 0, 2, host].into())
    }

    fn lost(kept: &[KeptId]) -> usize {
        kept.iter().filter(|kept| kept.over.is_cancelled()).count()
    }

    #[test]
    fn who_breaks_off_on_purpose_pushes_out_what_it_just_made() {
        let (kept, start) = (KeptIds::new(10), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let early = kept.keep(group(1), at(0));
        let strangers: Vec<_> = (0..50).map(|n| kept.keep(group(1), at(100 + n))).collect();
        let late = kept.keep(group(1), at(50));
        let elsewhere = kept.keep(group(2), at(500));
        assert_eq!(lost(&[early, late, elsewhere]), 0);
        assert_eq!(lost(&strangers), 50 - (10 - 3));
        assert!(!strangers[0].over.is_cancelled(), "the oldest stay");
    }

    #[test]
    fn many_addresses_share_what_there_is() {
        let (kept, now) = (KeptIds::new(100), Instant::now());
        let all: Vec<Vec<_>> = (1..=20)
            .map(|host| (0..50).map(|_| kept.keep(group(host), now)).collect())
            .collect();
        for own in &all {
            assert_eq!(own.len() - lost(own), 5);
        }
        drop(all);
        let table = kept.table.lock();
        assert!(table.by_group.is_empty() && table.len == 0);
    }
}
