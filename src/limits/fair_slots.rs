//! Which addresses may have TCP connections that are no WebSockets (yet): `MAX_HTTP_CONNECTIONS` of them, shared out.
//!
//! A connection without a slot is closed before anything is read, so an address that had them all would keep all others
//! out. One address may have as many as are left for all others: alone it gets half of them, and the last to come still
//! finds some. Trusted proxies speak for many clients and may have all slots. Knows addresses but no sockets. Asked by
//! `serve` for each connection, by `peerjs` for those that are only told why they may not come in, and by `nat` for
//! connections of its own, which have slots of their own.

use std::net::IpAddr;

use super::{AddressGroup, AddressSlot, AddressSlots, NoSlot};
use crate::config::TrustedProxies;

/// The slots, and how many each address has.
#[derive(Debug)]
pub(crate) struct FairSlots {
    slots: AddressSlots,
    most: usize,
    proxies: TrustedProxies,
}

impl FairSlots {
    /// `most` slots, none taken.
    pub(crate) fn new(most: usize, proxies: TrustedProxies) -> Self {
        FairSlots {
            slots: AddressSlots::default(),
            most,
            proxies,
        }
    }

    /// A slot, if there is one for this address; free again when dropped.
    pub(crate) fn try_take(&self, from: IpAddr) -> Result<AddressSlot, NoSlot> {
        let mut why = NoSlot::Full;
        let slot = self.slots.try_take(AddressGroup::of(from), |own, in_all| {
            let free = self.most.saturating_sub(in_all);
            if free > 0 {
                why = NoSlot::AddressFull;
            }
            let share = if self.proxies.trusts(from.to_canonical()) {
                0
            } else {
                own
            };
            share < free
        });
        slot.ok_or(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(slots: &FairSlots, from: &str) -> Vec<AddressSlot> {
        let from: IpAddr = from.parse().expect("an address");
        std::iter::from_fn(|| slots.try_take(from).ok()).collect()
    }

    #[test]
    fn an_address_gets_half_and_leaves_the_others_as_much_as_it_has() {
        let slots = FairSlots::new(1024, TrustedProxies::default());
        let first = take(&slots, "192.0.2.1");
        assert_eq!(first.len(), 512);
        let second = take(&slots, "192.0.2.2");
        assert_eq!(second.len(), 256);
        assert_eq!(
            slots.try_take(IpAddr::from([192, 0, 2, 1])).err(),
            Some(NoSlot::AddressFull)
        );
        assert!(slots.try_take(IpAddr::from([192, 0, 2, 3])).is_ok());
        drop(first);
        assert_eq!(take(&slots, "192.0.2.1").len(), 384);
    }

    #[test]
    fn the_only_slot_is_anybody_s() {
        let slots = FairSlots::new(1, TrustedProxies::default());
        assert_eq!(take(&slots, "192.0.2.1").len(), 1);
    }

    #[test]
    fn a_trusted_proxy_may_have_them_all() {
        let proxies: TrustedProxies = "192.0.2.0/24".parse().expect("a block");
        let slots = FairSlots::new(100, proxies);
        let held = take(&slots, "::ffff:192.0.2.1");
        assert_eq!(held.len(), 100);
        assert_eq!(
            slots.try_take(IpAddr::from([198, 51, 100, 1])).err(),
            Some(NoSlot::Full)
        );
    }
}
