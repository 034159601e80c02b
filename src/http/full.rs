//! A hub that is full says so: what lets in more, and how many come in now.
//!
//! The one that is turned away may be nobody who reads this hub's log, and a counter tells only those who look. Said once a
//! minute at most for each of the caps, for anybody can fill a hub.

use std::net::IpAddr;

use crate::config::Config;
use crate::limits::NoSlot;
use crate::log::Seldom;

/// What may be full, each told of by itself.
pub(super) struct Full {
    pub peers: Cap,
    pub peerjs: Cap,
    pub http: Cap,
    pub http_share: AddressShare,
    pub tls: Cap,
    pub tls_share: AddressShare,
}

impl Full {
    pub fn new(config: &Config) -> Self {
        Full {
            peers: Cap::new("MAX_CONNECTIONS", config.max_connections),
            peerjs: Cap::new("PEERJS_CONCURRENT_LIMIT", config.peerjs.concurrent_limit),
            http: Cap::new("MAX_HTTP_CONNECTIONS", config.max_http_connections),
            http_share: AddressShare::new("MAX_HTTP_CONNECTIONS"),
            tls: Cap::new("MAX_TLS_HANDSHAKES", config.max_tls_handshakes),
            tls_share: AddressShare::new("MAX_TLS_HANDSHAKES"),
        }
    }
}

/// A number of which no address has more than its share.
pub(super) struct AddressShare {
    setting: &'static str,
    seldom: Seldom,
}

impl AddressShare {
    fn new(setting: &'static str) -> Self {
        AddressShare {
            setting,
            seldom: Seldom::default(),
        }
    }

    /// Says that an address has its share. Behind a proxy that nobody has named, everybody has one address.
    pub fn warn(&self, address: IpAddr) {
        if let Some(left_out) = self.seldom.due() {
            let setting = self.setting;
            tracing::warn!(
                %address, left_out,
                "one address has its share of {setting}, and more of it are closed: if it is a proxy, name it in \
                 TRUSTED_PROXIES"
            );
        }
    }
}

/// A number that is not exceeded.
pub(super) struct Cap {
    setting: &'static str,
    most: usize,
    seldom: Seldom,
}

impl Cap {
    fn new(setting: &'static str, most: usize) -> Self {
        Cap {
            setting,
            most,
            seldom: Seldom::default(),
        }
    }

    /// Says that somebody was turned away because as many as may be are here.
    pub fn warn(&self) {
        if let Some(left_out) = self.seldom.due() {
            let (setting, most) = (self.setting, self.most);
            let message =
                "this hub is full and turns clients away: raise the setting if it can bear more";
            tracing::warn!(setting, most, left_out, "{message}");
        }
    }

    /// The same of a slot that was asked for, if that is why there is none.
    pub fn watch<T>(&self, asked: Result<T, NoSlot>) -> Result<T, NoSlot> {
        if matches!(asked, Err(NoSlot::Full)) {
            self.warn();
        }
        asked
    }
}
