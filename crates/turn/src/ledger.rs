//! Relays and remaining bytes: of one user, of one address, and of all.
//!
//! A user is the name in its credentials, which clients of an open hub may choose. So a name counts at each address
//! separately, or a client could use up what another may have. One address has at most as many relays as are left for
//! all others: alone half of them. Nothing is kept of a user without a relay.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

use slab::Slab;

use crate::config::Limits;
use crate::error_code::Code;
use crate::rate::Bucket;

/// A name at an address.
type Key = (Box<str>, IpAddr);

struct User {
    key: Arc<Key>,
    allocations: usize,
    bucket: Bucket,
}

/// Relays and bytes, by user and address.
pub(crate) struct Ledger {
    limits: Limits,
    open: usize,
    users: Slab<User>,
    by_key: HashMap<Arc<Key>, usize>,
    addresses: HashMap<IpAddr, usize>,
    all: Bucket,
}

/// What counts as one address: with IPv6 a network of 64 bits, because one customer has that much.
fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Ledger {
    pub(crate) fn new(limits: Limits, now: Instant) -> Self {
        Ledger {
            limits,
            open: 0,
            users: Slab::new(),
            by_key: HashMap::new(),
            addresses: HashMap::new(),
            all: Bucket::new(limits.bytes_per_s, now),
        }
    }

    /// One more relay of this user, at this address.
    pub(crate) fn open(&mut self, name: &str, from: IpAddr, now: Instant) -> Result<usize, Code> {
        let key = (name.into(), group(from));
        let known = self.by_key.get(&key).copied();
        let has = known.and_then(|user| self.users.get(user));
        if has.is_some_and(|user| user.allocations >= self.limits.per_user) {
            return Err(Code::Quota);
        }
        let left = self.limits.allocations.saturating_sub(self.open);
        let its = self.addresses.get(&key.1).copied().unwrap_or_default();
        if its >= left {
            return Err(Code::InsufficientCapacity);
        }
        self.open += 1;
        *self.addresses.entry(key.1).or_default() += 1;
        let user = known.unwrap_or_else(|| self.newcomer(key, now));
        if let Some(user) = self.users.get_mut(user) {
            user.allocations += 1;
        }
        Ok(user)
    }

    fn newcomer(&mut self, key: Key, now: Instant) -> usize {
        let key = Arc::new(key);
        let user = self.users.insert(User {
            key: Arc::clone(&key),
            allocations: 0,
            // The bucket starts empty, or a user would get more bytes by requesting relay after relay.
            bucket: Bucket::empty(self.limits.user_bytes_per_s, now),
        });
        self.by_key.insert(key, user);
        user
    }

    /// One relay less.
    pub(crate) fn close(&mut self, user: usize, from: IpAddr) {
        self.open = self.open.saturating_sub(1);
        let group = group(from);
        if let Some(its) = self.addresses.get_mut(&group) {
            *its -= 1;
            if *its == 0 {
                self.addresses.remove(&group);
            }
        }
        let Some(entry) = self.users.get_mut(user) else {
            return;
        };
        entry.allocations -= 1;
        if entry.allocations == 0 {
            let gone = self.users.remove(user);
            self.by_key.remove(&gone.key);
        }
    }

    /// Whether a datagram with this much data, from or to this peer, may pass now for this user.
    pub(crate) fn has_datagram(
        &mut self,
        user: usize,
        (data, peer): (usize, IpAddr),
        now: Instant,
    ) -> bool {
        // The headers of IP and UDP count too, or empty datagrams would cost nothing.
        let headers = if peer.is_ipv4() { 28 } else { 48 };
        self.has_bytes(user, data + headers, now)
    }

    fn has_bytes(&mut self, user: usize, bytes: usize, now: Instant) -> bool {
        let Some(user) = self.users.get_mut(user) else {
            return false;
        };
        if !user.bucket.has(bytes, now) {
            return false;
        }
        let passes = self.all.has(bytes, now);
        if !passes {
            user.bucket.give_back(bytes);
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ledger(allocations: usize, per_user: usize) -> Ledger {
        let limits = Limits {
            allocations,
            per_user,
            ..Limits::default()
        };
        Ledger::new(limits, Instant::now())
    }

    fn ip(number: u8) -> IpAddr {
        [192, 0, 2, number].into()
    }

    #[test]
    fn a_user_has_as_many_as_it_may_and_gets_them_back() {
        let now = Instant::now();
        let mut ledger = ledger(100, 2);
        let ada = ledger.open("ada", ip(1), now);
        assert!(ada.is_ok() && ledger.open("ada", ip(1), now) == ada);
        assert_eq!(ledger.open("ada", ip(1), now), Err(Code::Quota));
        assert!(ledger.open("bob", ip(1), now).is_ok());
        ledger.close(ada.unwrap_or_default(), ip(1));
        assert!(ledger.open("ada", ip(1), now).is_ok());
    }

    #[test]
    fn nobody_elsewhere_uses_up_what_a_user_may_have() {
        let now = Instant::now();
        let mut ledger = ledger(100, 2);
        let v6 = |text: &str| text.parse().unwrap_or(ip(9));
        let eve = [ip(66), v6("2001:db8::66")];
        for at in eve {
            assert!(
                (0..3)
                    .filter(|_| ledger.open("ada", at, now).is_ok())
                    .count()
                    == 2
            );
        }
        assert!(ledger.open("ada", ip(1), now).is_ok());
        assert!(ledger.open("ada", v6("2001:db8:0:1::1"), now).is_ok());
        let near = v6("2001:db8::67");
        assert_eq!(ledger.open("ada", near, now), Err(Code::Quota), "one /64");
    }

    #[test]
    fn an_address_leaves_the_others_as_many_as_it_has_whatever_its_names() {
        let now = Instant::now();
        let mut ledger = ledger(8, 1);
        let mut names = (0..).map(|number| number.to_string());
        let mut open = |ledger: &mut Ledger, at: IpAddr| {
            let name = names.next().unwrap_or_default();
            ledger.open(&name, at, now)
        };
        let got =
            |ledger: &mut Ledger,
             at: IpAddr,
             open: &mut dyn FnMut(&mut Ledger, IpAddr) -> Result<usize, Code>| {
                (0..20).filter(|_| open(ledger, at).is_ok()).count()
            };
        assert_eq!(got(&mut ledger, ip(1), &mut open), 4);
        assert_eq!(got(&mut ledger, ip(2), &mut open), 2);
        let v6 = |text: &str| text.parse().unwrap_or(ip(9));
        assert_eq!(got(&mut ledger, v6("2001:db8::1"), &mut open), 1);
        assert_eq!(got(&mut ledger, v6("2001:db8::2"), &mut open), 0);
        assert_eq!(got(&mut ledger, v6("2001:db8:0:1::1"), &mut open), 1);
    }

    #[test]
    fn a_user_has_no_more_bytes_by_giving_its_relays_back_and_asking_again() {
        let start = Instant::now();
        let limits = Limits {
            user_bytes_per_s: Some(10_000),
            ..Limits::default()
        };
        let mut ledger = Ledger::new(limits, start);
        let mut passed = 0;
        for began in (0..2_000).step_by(50) {
            let at = |ms| start + Duration::from_millis(ms);
            let user = ledger.open("ada", ip(1), at(began)).unwrap_or_default();
            for now in [at(began), at(began + 50)] {
                let tries = 0..100;
                passed += tries.filter(|_| ledger.has_bytes(user, 100, now)).count();
            }
            ledger.close(user, ip(1));
        }
        assert_eq!(passed, 200, "two seconds' worth");
    }

    #[test]
    fn nothing_is_kept_of_who_has_no_relay() {
        let now = Instant::now();
        let mut ledger = ledger(100, 2);
        for number in 0..50 {
            let user = ledger.open(&number.to_string(), ip(number), now);
            ledger.close(user.unwrap_or_default(), ip(number));
        }
        let kept = ledger.users.len() + ledger.by_key.len() + ledger.addresses.len();
        assert_eq!((kept, ledger.open), (0, 0));
    }
}
