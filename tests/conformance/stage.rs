//! The hubs of a story.

use crate::client::Client;
use crate::hub_process::{HubBuilder, HubProcess};
use crate::jwt::SECRET;
use crate::table::Place;
use crate::words::Dialect;

/// One hub, or two linked hubs.
pub struct Stage {
    pub dialect: Dialect,
    pub hubs: Vec<HubProcess>,
}

impl Stage {
    /// Hubs with these settings, which accept JWTs.
    pub async fn new(dialect: Dialect, place: Place, settings: &[(&str, &str)]) -> Self {
        let set = |builder: HubBuilder| {
            let builder = builder
                .env("JWT_SECRET", SECRET)
                .env("PEERJS_ROOMS", dialect.wants_peerjs_rooms().to_string())
                .env("DRAIN_MS", "100");
            let settings = settings.iter();
            settings.fold(builder, |builder, (name, value)| builder.env(name, *value))
        };
        let mut hubs = vec![set(HubProcess::builder()).start().await];
        if place == Place::Two {
            let second = set(hubs[0].neighbour()).start().await;
            for hub in [&hubs[0], &second] {
                hub.reaches_hubs(1).await;
            }
            hubs.push(second);
        }
        Stage { dialect, hubs }
    }

    /// A client at the first hub, alone in its network. In dialects in which clients create networks, it creates this
    /// one.
    pub async fn first(&self, id: &str) -> Client {
        let mut client = Client::connect(&self.hubs[0], self.dialect, id).await;
        client.found().await;
        client
    }

    /// A client at the last hub, in the network of the first client.
    pub async fn second(&self, id: &str) -> Client {
        let last = self.hubs.last().expect("one at least");
        let mut client = Client::connect(last, self.dialect, id).await;
        client.join().await;
        client
    }

    /// A client at the first hub, in a network that exists.
    pub async fn at_first(&self, id: &str) -> Client {
        let mut client = Client::connect(&self.hubs[0], self.dialect, id).await;
        client.join().await;
        client
    }

    /// Two clients, the first at the first hub, the second at the last. All hubs know both.
    pub async fn two(&self) -> (Client, Client) {
        let mut ada = self.first(ADA).await;
        let mut bob = self.second(BOB).await;
        ada.meets(&mut bob).await;
        (ada, bob)
    }
}

/// Ids that clients of every dialect may have.
pub const ADA: &str = "00000000000000000000000000000000000000ad";
pub const BOB: &str = "00000000000000000000000000000000000000b0";
