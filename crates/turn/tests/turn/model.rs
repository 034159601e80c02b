//! A model of who may send to whom, and histories that are played on it and on the server.
//!
//! The model knows permissions, channels and lifetimes as RFC 8656 has them, and nothing of how the server keeps them.
//! Whatever passes, passes by the model's leave, and the other way round. Random tests and the fuzzer share it.

use std::collections::HashMap;

use super::stage::{Client, START_S, Stage, at};

/// What may happen, by which of the clients and to which of the peers.
#[derive(Clone, Debug)]
pub enum Step {
    Pass(u64),
    Allocate(usize),
    Refresh(usize, u32),
    Permit(usize, usize),
    Bind(usize, u16, usize),
    Send(usize, usize),
    Channel(usize, u16),
    Peer(usize, usize),
    Garbage(usize, Vec<u8>),
    Twist(usize, usize, u8),
}

pub const PEERS: [&str; 4] = [
    "192.0.2.77:1",
    "192.0.2.77:2",
    "198.51.100.7:1",
    "10.0.0.1:1",
];
pub const CHANNELS: std::ops::Range<u16> = 0x4000..0x4003;

/// A relay as the model has it. Times are seconds from the start.
#[derive(Default)]
struct Relay {
    port: u16,
    until: u64,
    permissions: HashMap<std::net::IpAddr, u64>,
    channels: HashMap<u16, (usize, u64)>,
}

impl Relay {
    fn permits(&self, peer: usize, now: u64) -> bool {
        let until = self.permissions.get(&at(PEERS[peer]).ip());
        until.is_some_and(|until| *until > now)
    }

    fn peer_of(&self, number: u16, now: u64) -> Option<usize> {
        let (peer, until) = self.channels.get(&number)?;
        (*until > now).then_some(*peer)
    }

    fn channel_to(&self, peer: usize, now: u64) -> Option<u16> {
        CHANNELS
            .clone()
            .find(|number| self.peer_of(*number, now) == Some(peer))
    }
}

#[derive(Default)]
struct Model {
    now: u64,
    relays: HashMap<usize, Relay>,
}

impl Model {
    fn pass(&mut self, seconds: u64) {
        self.now += seconds;
        let now = self.now;
        self.relays.retain(|_, relay| relay.until > now);
    }

    fn bind(&mut self, client: usize, number: u16, peer: usize) -> Result<(), u16> {
        let now = self.now;
        let relay = self.relays.get_mut(&client).ok_or(437_u16)?;
        if PEERS[peer].starts_with("10.") {
            return Err(403);
        }
        let other_peer = relay.peer_of(number, now).is_some_and(|its| its != peer);
        let other_number = relay.channel_to(peer, now).is_some_and(|its| its != number);
        if other_peer || other_number {
            return Err(400);
        }
        relay.channels.retain(|_, (its, _)| *its != peer);
        relay.channels.insert(number, (peer, now + 600));
        relay.permissions.insert(at(PEERS[peer]).ip(), now + 300);
        Ok(())
    }

    fn permit(&mut self, client: usize, peer: usize) -> Result<(), u16> {
        let now = self.now;
        let relay = self.relays.get_mut(&client).ok_or(437_u16)?;
        if PEERS[peer].starts_with("10.") {
            return Err(403);
        }
        relay.permissions.insert(at(PEERS[peer]).ip(), now + 300);
        Ok(())
    }
}

/// Plays a history.
///
/// # Panics
/// Where the server does what the model does not.
pub fn play(steps: impl IntoIterator<Item = Step>) {
    let mut stage = Stage::new();
    let mut model = Model::default();
    let mut clients: Vec<Client> = (0..3)
        .map(|number| {
            let name = format!("user{number}");
            Client::until(
                &format!("192.0.2.{number}:4000"),
                &name,
                START_S + 1_000_000,
            )
        })
        .collect();
    for step in steps {
        take(&mut stage, &mut model, &mut clients, step);
        stage.sent.clear();
        let mut ports: Vec<u16> = stage.open.iter().map(|(_, port)| *port).collect();
        let mut expected: Vec<u16> = model.relays.values().map(|relay| relay.port).collect();
        ports.sort_unstable();
        expected.sort_unstable();
        assert_eq!(ports, expected, "the relays that there are");
    }
}

fn take(stage: &mut Stage, model: &mut Model, clients: &mut [Client], step: Step) {
    let now = model.now;
    match step {
        Step::Pass(seconds) => {
            stage.pass(seconds);
            model.pass(seconds);
        }
        Step::Allocate(client) => {
            let got = clients[client].allocate(stage);
            assert_eq!(got.is_err(), model.relays.contains_key(&client));
            if let Ok(port) = got {
                let relay = Relay {
                    port,
                    until: now + 600,
                    ..Relay::default()
                };
                model.relays.insert(client, relay);
            }
        }
        Step::Refresh(client, seconds) => {
            let got = clients[client].refresh(stage, seconds);
            assert_eq!(got.is_ok(), model.relays.contains_key(&client));
            if seconds == 0 {
                model.relays.remove(&client);
            } else if let Some(relay) = model.relays.get_mut(&client) {
                relay.until = now + u64::from(seconds.clamp(600, 3_600));
            }
        }
        Step::Permit(client, peer) => {
            let got = clients[client].permit(stage, &[PEERS[peer]]);
            assert_eq!(got, model.permit(client, peer));
        }
        Step::Bind(client, number, peer) => {
            let got = clients[client].bind(stage, number, PEERS[peer]);
            assert_eq!(got, model.bind(client, number, peer));
        }
        Step::Send(client, peer) => {
            let got = clients[client].send(stage, PEERS[peer], b"data");
            let relay = model.relays.get(&client);
            let may = relay.is_some_and(|relay| relay.permits(peer, now));
            assert_eq!(got.map(|(to, _)| to), may.then(|| at(PEERS[peer])));
        }
        Step::Channel(client, number) => {
            let got = clients[client].channel(stage, number, b"data");
            let relay = model.relays.get(&client);
            let peer = relay.and_then(|relay| {
                let peer = relay.peer_of(number, now)?;
                relay.permits(peer, now).then_some(peer)
            });
            assert_eq!(got.map(|(to, _)| to), peer.map(|peer| at(PEERS[peer])));
        }
        Step::Peer(client, peer) => {
            let Some(relay) = model.relays.get(&client) else {
                return;
            };
            let got = stage.peer(relay.port, PEERS[peer], b"data");
            assert_eq!(got.is_some(), relay.permits(peer, now));
            let by_channel = got.is_some_and(|bytes| bytes[0] >= 0x40);
            let expected = relay.permits(peer, now) && relay.channel_to(peer, now).is_some();
            assert_eq!(by_channel, expected);
        }
        Step::Garbage(client, bytes) => {
            assert!(stage.client(clients[client].path, &bytes).is_none() || bytes[0] == 0x40);
        }
        Step::Twist(client, place, bits) => {
            // Whoever changes a signed packet on its way changes nothing.
            let mut packet = clients[client].signed(turn_types::message::REFRESH, &[], &[]);
            let place = place % packet.len();
            packet[place] ^= bits.max(1);
            stage.client(clients[client].path, &packet);
        }
    }
}
