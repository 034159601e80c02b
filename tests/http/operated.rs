//! The echoing backend's answers to operators: two hubs, one of which has a peer that can be removed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hubmesh::http::{Operate, Parties};
use hubmesh::mesh::{AwaitedIds, AwaitedQuery, Awaiting, LinkView, Removal, Tally};
use hubmesh::watch::{Banned, Party, Past, Watch};
use hubmesh_core::api::{BanId, BansFull};
use hubmesh_core::ids::{HubId, NetworkKey, PeerId};

use crate::served::Echo;

const ME: HubId = HubId([1; 20]);
const OTHER: HubId = HubId([2; 20]);
/// The most bans that this backend keeps.
pub const MAX_BANS: usize = 3;

impl Echo {
    fn tell(&self, bans: &[Banned]) {
        let bans: Vec<_> = bans.iter().map(Banned::to_ban).collect();
        self.watch.bans.set(bans.iter());
    }
}

impl Operate for Echo {
    fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    async fn links(&self) -> Vec<LinkView> {
        vec![LinkView {
            a: ME,
            b: OTHER,
            rtt_ms: 2,
        }]
    }

    fn holder(&self, _: &NetworkKey, peer: &PeerId) -> Option<(HubId, u64)> {
        let is_here = peer.to_string().starts_with("ada");
        Some((if is_here { ME } else { OTHER }, 1_700_000_000_000))
    }

    async fn parties(&self, _: &NetworkKey, peers: &[(PeerId, HubId)], _: Duration) -> Parties {
        // The other hub gives no answer.
        let here = peers.iter().filter(|(_, hub)| *hub == ME);
        let party = || Some(Party::at([192, 0, 2, 1].into()));
        let here = here.map(|(peer, _)| (peer.clone(), party()));
        BTreeMap::from([(ME, here.collect())])
    }

    async fn past(&self, _: Duration) -> BTreeMap<HubId, Past> {
        BTreeMap::from([(ME, self.watch.history.past())])
    }

    async fn tallies(&self, _: Duration) -> BTreeMap<HubId, Tally> {
        let tally = Tally {
            waiting: 4,
            ..Tally::default()
        };
        BTreeMap::from([(ME, tally)])
    }

    async fn awaited(
        &self,
        _: Awaiting,
        wanted: AwaitedQuery,
        _: Duration,
    ) -> BTreeMap<HubId, AwaitedIds> {
        let mut listed = self.listed.lock().expect("nobody panicked");
        listed.push(wanted.most);
        BTreeMap::from([(ME, AwaitedIds::default())])
    }

    async fn remove(&self, network: &NetworkKey, peer: &PeerId, _: Duration) -> Removal {
        let place = format!("{}:{peer}", network.name());
        self.removed.lock().expect("nobody panicked").push(place);
        match peer.to_string().as_str() {
            "nobody" => Removal::NoSuchPeer,
            "frozen" => Removal::NoAnswer(OTHER),
            _ => Removal::Done(ME),
        }
    }

    async fn place_ban(&self, ban: &Banned) -> Result<usize, BansFull> {
        let mut bans = self.watch.bans.all();
        if bans.len() >= MAX_BANS {
            return Err(BansFull);
        }
        bans.push(ban.clone());
        self.tell(&bans);
        Ok(0)
    }

    async fn lift_ban(&self, ban: BanId) -> bool {
        let mut bans = self.watch.bans.all();
        let before = bans.len();
        bans.retain(|one| one.id != ban);
        self.tell(&bans);
        bans.len() < before
    }
}
