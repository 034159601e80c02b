//! Log lines of a full hub: the setting that would let in more clients, and the number of clients now.
//!
//! A refused client may never tell the operator, and not every operator watches the counters. Each cap writes at most
//! one line a minute, because any client can fill a hub.

use std::net::IpAddr;

use crate::config::Config;
use crate::limits::NoSlot;
use crate::log::Seldom;

/// The caps, each with log lines of its own.
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

/// A cap with a smaller share for each address.
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

    /// Logs that an address has reached its share. Behind a proxy that is not named in the settings, all clients have
    /// one address.
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

/// A cap on a number.
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

    /// Logs that a client was refused because the cap is reached.
    pub fn warn(&self) {
        if let Some(left_out) = self.seldom.due() {
            let (setting, most) = (self.setting, self.most);
            let message =
                "this hub is full and turns clients away: raise the setting if it can bear more";
            tracing::warn!(setting, most, left_out, "{message}");
        }
    }

    /// Logs the same for a refused slot, if the cap is the reason.
    pub fn watch<T>(&self, asked: Result<T, NoSlot>) -> Result<T, NoSlot> {
        if matches!(asked, Err(NoSlot::Full)) {
            self.warn();
        }
        asked
    }
}
