//! Operators place and lift bans.

use bytes::Bytes;

use super::{HostNo, World};
use hubmesh_core::api::{Ban, BanId};

impl World {
    /// An operator places a ban at a running hub, for this time. False if there is no space.
    pub fn place_ban(&mut self, no: HostNo, number: u8, seconds: u64) -> bool {
        self.disturb();
        self.mark(14 << 56 | no as u64);
        let now = self.clocks(no);
        let ban = Ban {
            id: BanId([number; 20]),
            until_ms: now.wall_ms + seconds * 1_000,
            lifted: false,
            about: Bytes::from_static(b"somebody"),
        };
        let running = self.hosts[no].running.as_mut();
        let placed = running.is_some_and(|hub| hub.core.place_ban(now, ban).is_ok());
        self.settle(no);
        placed
    }

    /// An operator lifts a ban at a running hub. False if it knows of none.
    pub fn lift_ban(&mut self, no: HostNo, number: u8) -> bool {
        self.disturb();
        self.mark(15 << 56 | no as u64);
        let now = self.clocks(no);
        let running = self.hosts[no].running.as_mut();
        let lifted = running.is_some_and(|hub| hub.core.lift_ban(now, BanId([number; 20])));
        self.settle(no);
        lifted
    }

    /// The bans that count at a hub.
    pub fn bans(&self, no: HostNo) -> Vec<u8> {
        let core = self.core(no);
        core.map_or_else(Vec::new, |core| {
            core.bans().map(|ban| ban.id.0[0]).collect()
        })
    }
}
