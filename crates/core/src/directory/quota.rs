//! How much of this hub's memory the claims of other hubs may take up.
//!
//! A hub may author as many claims as it likes, so what this hub keeps of them is bounded, for each hub and for all
//! together. This hub's own claims are bounded by its limits on peers and on records of rooms (`rooms`), and do not
//! count. Called by `records` alone.

/// What one hub's claims may take up; all other hubs' together may take [`ClaimQuota::HUBS`] times that.
#[derive(Clone, Copy, Debug)]
pub struct ClaimQuota {
    /// Claims of one hub, at about 100 bytes each.
    pub claims: usize,
    /// Bytes of data that the claims of one hub show.
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
    /// How many hubs may take all that one may.
    pub const HUBS: usize = 4;

    /// Whether `more` may be taken up, beside what its hub and all hubs take up already.
    pub(super) fn allow(&self, more: Used, of_hub: Used, of_all: Used) -> bool {
        let fits = |used: Used, hubs: usize| {
            used.claims + more.claims <= self.claims.saturating_mul(hubs)
                && used.bytes + more.bytes <= self.bytes.saturating_mul(hubs)
        };
        fits(of_hub, 1) && fits(of_all, Self::HUBS)
    }
}

/// What claims take up.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Used {
    /// How many they are.
    pub claims: usize,
    /// Bytes of their data.
    pub bytes: usize,
    /// How many of them hold bans, and are of no peers.
    pub(super) bans: usize,
}

impl Used {
    pub(super) fn add(&mut self, other: Used) {
        self.claims += other.claims;
        self.bytes += other.bytes;
        self.bans += other.bans;
    }

    pub(super) fn take(&mut self, other: Used) {
        self.claims = self.claims.saturating_sub(other.claims);
        self.bytes = self.bytes.saturating_sub(other.bytes);
        self.bans = self.bans.saturating_sub(other.bans);
    }
}
