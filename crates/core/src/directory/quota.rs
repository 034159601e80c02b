//! How much of this hub's memory the claims of other hubs may take up.
//!
//! Nothing stops another hub from authoring any number of claims. So the claims that this hub keeps are bounded, for each
//! other hub and for all other hubs together. This hub's own claims do not count: its limits on peers and on room records
//! (`crate::rooms`) bound them. Called by `super::records` alone.

/// The limit for the claims of one other hub. The limit for all other hubs together is [`ClaimQuota::ALL_HUBS_FACTOR`] times
/// as high.
#[derive(Clone, Copy, Debug)]
pub struct ClaimQuota {
    /// Claims of one hub, at about 100 bytes each.
    pub claims: usize,
    /// Bytes of data in the claims of one hub.
    pub bytes: usize,
}

impl Default for ClaimQuota {
    fn default() -> Self {
        ClaimQuota {
            claims: 1_000_000,
            bytes: 64 * 1024 * 1024,
        }
    }
}

impl ClaimQuota {
    /// The limit for all other hubs, as a multiple of the limit for one.
    pub const ALL_HUBS_FACTOR: usize = 4;

    /// Whether `more` fits when its hub already uses `of_hub`, and all other hubs together use `of_all`. Bans have no limit
    /// of their own: they are among `claims`.
    pub(super) fn allow(&self, more: Usage, of_hub: Usage, of_all: Usage) -> bool {
        let fits = |used: Usage, hubs: usize| {
            used.claims + more.claims <= self.claims.saturating_mul(hubs)
                && used.bytes + more.bytes <= self.bytes.saturating_mul(hubs)
        };
        fits(of_hub, 1) && fits(of_all, Self::ALL_HUBS_FACTOR)
    }
}

/// The space that some claims use.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Usage {
    /// The number of claims.
    pub claims: usize,
    /// The bytes of their data.
    pub bytes: usize,
    /// The number of these claims that hold bans or records of rooms. It is counted so that figures about peers can leave
    /// them out.
    pub(super) no_peers: usize,
}

impl Usage {
    pub(super) fn add(&mut self, other: Usage) {
        self.claims += other.claims;
        self.bytes += other.bytes;
        self.no_peers += other.no_peers;
    }

    pub(super) fn subtract(&mut self, other: Usage) {
        self.claims = self.claims.saturating_sub(other.claims);
        self.bytes = self.bytes.saturating_sub(other.bytes);
        self.no_peers = self.no_peers.saturating_sub(other.no_peers);
    }
}
