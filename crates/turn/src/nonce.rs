//! Nonces that the server recognises without storing them.
//!
//! A nonce is the minute in which it was made and a MAC over that and the client's address, so a server remembers none
//! of the sources that ask it. It is short, because it is in an answer to a client that may have forged its address: 16
//! characters, 80 bits of them MAC.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// How long one slot of time is.
const SLOT: Duration = Duration::from_secs(60);
/// For how many slots after its own a nonce is valid. RFC 8489 allows up to an hour.
const SLOTS: u16 = 10;
const MAC_BYTES: usize = 10;

/// Makes nonces and knows its own.
pub(crate) struct Nonces {
    keyed: Hmac<Sha256>,
    began: Instant,
}

impl Nonces {
    pub(crate) fn new(key: &[u8; 32], now: Instant) -> Self {
        // HMAC takes keys of any length.
        let keyed = Hmac::<Sha256>::new_from_slice(key);
        let keyed = keyed.unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        Nonces { keyed, began: now }
    }

    /// The nonce of this client now.
    pub(crate) fn make(&self, client: SocketAddr, now: Instant) -> String {
        let slot = self.slot(now);
        let mac = self.mac(client, slot).finalize().into_bytes();
        let bytes: Vec<u8> = slot.to_be_bytes().into_iter().chain(mac).collect();
        let short = bytes.get(..2 + MAC_BYTES).unwrap_or_default();
        URL_SAFE_NO_PAD.encode(short)
    }

    /// Whether this was made for that client, within the last ten minutes or, because slots count whole, up to eleven.
    pub(crate) fn is_good(&self, nonce: &str, client: SocketAddr, now: Instant) -> bool {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(nonce) else {
            return false;
        };
        let Some((slot, mac)) = bytes.split_first_chunk::<2>() else {
            return false;
        };
        let slot = u16::from_be_bytes(*slot);
        let is_recent = self.slot(now).wrapping_sub(slot) <= SLOTS;
        let signed = self.mac(client, slot).verify_truncated_left(mac).is_ok();
        mac.len() == MAC_BYTES && is_recent && signed
    }

    /// The minutes repeat after 45 days, which does no harm: the request is signed as well.
    fn slot(&self, now: Instant) -> u16 {
        let slots = now.saturating_duration_since(self.began).as_secs() / SLOT.as_secs();
        // Only the lower half is wanted.
        (slots & 0xffff) as u16
    }

    fn mac(&self, client: SocketAddr, slot: u16) -> Hmac<Sha256> {
        let mut mac = self.keyed.clone();
        mac.update(&slot.to_be_bytes());
        match client.ip() {
            IpAddr::V4(ip) => mac.update(&ip.octets()),
            IpAddr::V6(ip) => mac.update(&ip.octets()),
        }
        mac.update(&client.port().to_be_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> SocketAddr {
        text.parse().unwrap_or_else(|_| panic!("{text}"))
    }

    #[test]
    fn a_nonce_is_good_for_its_client_and_its_time_alone() {
        let now = Instant::now();
        let nonces = Nonces::new(&[7; 32], now);
        let ada = client("192.0.2.1:4000");
        let later = now + Duration::from_secs(3600);
        let nonce = nonces.make(ada, later);
        assert_eq!(nonce.len(), 16);
        assert!(nonces.is_good(&nonce, ada, later));
        assert!(nonces.is_good(&nonce, ada, later + Duration::from_secs(600)));
        assert!(!nonces.is_good(&nonce, ada, later + Duration::from_secs(661)));
        assert!(!nonces.is_good(&nonce, ada, now), "of the future");
        for other in ["192.0.2.1:4001", "192.0.2.2:4000", "[2001:db8::1]:4000"] {
            assert!(!nonces.is_good(&nonce, client(other), later), "{other}");
        }
        let strange = Nonces::new(&[8; 32], now);
        assert!(!strange.is_good(&nonce, ada, later));
    }

    #[test]
    fn what_is_no_nonce_is_not_good() {
        let now = Instant::now();
        let nonces = Nonces::new(&[7; 32], now);
        let ada = client("192.0.2.1:4000");
        let good = nonces.make(ada, now);
        for wrong in ["", "AAA", "AAAA", "AAAAAAAAAAAAAAAA", "ä"] {
            assert!(!nonces.is_good(wrong, ada, now), "{wrong:?}");
        }
        let shorter: String = good.chars().take(12).collect();
        assert!(!nonces.is_good(&shorter, ada, now));
        assert!(!nonces.is_good(&format!("{good}AAAA"), ada, now));
    }
}
