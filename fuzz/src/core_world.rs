//! A whole control plane with its exchange, in histories of any kind: links, frames, clients, signals, time.
//!
//! The input is read as a list of steps (`choices`), so that few of its bytes make frames that a decoder refuses. After
//! each step the hub's own claims are exactly the claims that its clients were told of. The number of claims that the
//! hub counts for each other hub is the number that it holds.

mod choices;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hubmesh_core::api::{DialFailure, Join, LinkUp, Output, Signal, Source};
use hubmesh_core::exchange::{Effect, Resolve};
use hubmesh_core::frames::{DataFrame, PULLS_SINCE, RefusedWhy};
use hubmesh_core::ids::{
    ClaimNo, DialId, Dialect, HubId, Incarnation, LeaveReason, LinkId, Moment, Now, SignalKind,
};
use hubmesh_core::wire::{Encoder, decode_data, encode_data, split_data};
use hubmesh_core::{Core, CoreConfig};

use choices::Choices;

/// The most steps of one history.
const MOST_STEPS: usize = 400;
/// If one step causes more outputs and effects than this, it is an endless loop.
const ENDLESS: usize = 100_000;
const ME: HubId = HubId([80; 20]);
const WALL_MS: u64 = 1_700_000_000_000;

/// Plays the history that the input describes. At the end the hub drains and leaves the mesh.
pub fn core_world(input: &[u8]) {
    let mut choices = Choices(input);
    let mut world = World::new(&mut choices);
    for _ in 0..MOST_STEPS {
        if choices.is_empty() {
            break;
        }
        world.step(&mut choices);
        let now = world.now();
        if world.core.poll_timeout().is_some_and(|due| due <= now.at) {
            world.core.handle_timeout(now);
        }
        world.carry_out(&mut choices);
        world.check();
    }
    let now = world.now();
    world.core.drain(now);
    world.core.part(now, Duration::from_secs(1));
    world.carry_out(&mut choices);
}

/// One hub, and the data that its driver has about it.
struct World {
    core: Core,
    micros: u64,
    last_link: u64,
    links: BTreeMap<LinkId, Encoder>,
    last_claim: u64,
    /// The claims that clients have asked for and that the hub has not refused.
    asked: BTreeMap<ClaimNo, Source>,
    /// The claims that the hub has accepted.
    live: BTreeSet<ClaimNo>,
    probes: Vec<u64>,
    dials: Vec<DialId>,
}

impl World {
    /// Bounds are low, so that short histories reach them.
    fn new(choices: &mut Choices<'_>) -> Self {
        let mut config = CoreConfig {
            me: ME,
            incarnation: Incarnation { epoch: 0, nonce: 1 },
            seed: 7,
            discovery_limit: choices.of([0, 2, 4]),
            ..CoreConfig::default()
        };
        config.policies.of_mut(Dialect::PeerJsRoomMode).capacity = Some(2);
        config.contest.replace = choices.one_in(2);
        config.topology.max_hubs = 4;
        config.topology.max_past_incarnations = 3;
        config.dial.accept_up_to = 3;
        config.dial.accept_never_past = 4;
        config.exchange.receive_windows = 3;
        config.exchange.send_windows = 3;
        config.exchange.wait_per_sender = 3;
        config.exchange.wait_per_target = 4;
        config.exchange.wait_total = 6;
        let start = Now {
            at: Moment(0),
            wall_ms: WALL_MS,
        };
        let mut world = World {
            core: Core::new(config, start),
            micros: 0,
            last_link: 0,
            links: BTreeMap::new(),
            last_claim: 0,
            asked: BTreeMap::new(),
            live: BTreeSet::new(),
            probes: Vec::new(),
            dials: Vec::new(),
        };
        world.carry_out(choices);
        world
    }

    fn now(&self) -> Now {
        Now {
            at: Moment(self.micros),
            wall_ms: WALL_MS + self.micros / 1_000,
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(14) {
            0 => {
                let spans = [
                    1_000,
                    20_000,
                    150_000,
                    1_000_000,
                    3_000_000,
                    61_000_000,
                    901_000_000,
                ];
                self.micros += choices.of(spans);
            }
            1 => self.link_up(choices),
            2 => self.link_down(choices),
            3 => {
                if let Some(token) = self.probes.pop() {
                    let alive = choices.one_in(2);
                    self.core.handle_probe_result(self.now(), token, alive);
                }
            }
            4 => {
                if let Some(dial) = self.dials.pop() {
                    let why = DialFailure::Unreachable;
                    self.core.handle_dial_failed(self.now(), dial, why);
                }
            }
            5 => self.join(choices),
            6 => self.leave(choices),
            7 => {
                if let Some(claim) = choices.one_of(self.asked.keys()) {
                    let (data, quiet) = (choices.data(), choices.one_in(4));
                    self.core.update(self.now(), claim, data, quiet);
                }
            }
            8 => self.send(choices),
            9 => self.transmit(choices),
            10 => self.receive_data(choices),
            _ => self.receive_control(choices),
        }
    }

    fn link_up(&mut self, choices: &mut Choices<'_>) {
        self.last_link += 1;
        let link = LinkId(self.last_link);
        self.links.insert(link, Encoder::new());
        let dialed = match choices.one_in(3) {
            true => self.dials.pop(),
            false => None,
        };
        let up = LinkUp {
            link,
            hub: choices.hub(),
            incarnation: choices.incarnation(),
            dialed,
            dial_number: choices.number(),
            version: PULLS_SINCE - u16::from(choices.one_in(3)),
        };
        self.core.handle_link_up(self.now(), up);
    }

    fn link_down(&mut self, choices: &mut Choices<'_>) {
        if let Some(link) = choices.one_of(self.links.keys()) {
            self.links.remove(&link);
            self.core.handle_link_down(self.now(), link);
        }
    }

    fn join(&mut self, choices: &mut Choices<'_>) {
        self.last_claim += 1;
        let claim = ClaimNo(self.last_claim);
        let source = Source {
            claim,
            network: choices.network(),
            peer: choices.peer(),
        };
        self.asked.insert(claim, source.clone());
        let proof = match choices.one_in(3) {
            true => Bytes::from_static(b"proof"),
            false => Bytes::new(),
        };
        let join = Join {
            claim,
            network: source.network,
            peer: source.peer,
            data: choices.data(),
            quiet: choices.one_in(4),
            proof,
            room: None,
            address: choices.address(),
            counts_for: None,
        };
        self.core.join(self.now(), join);
    }

    fn leave(&mut self, choices: &mut Choices<'_>) {
        if let Some(claim) = choices.one_of(self.asked.keys()) {
            self.asked.remove(&claim);
            self.live.remove(&claim);
            let reason = LeaveReason::from_code(choices.below(6));
            self.core.leave(self.now(), claim, reason);
        }
    }

    fn send(&mut self, choices: &mut Choices<'_>) {
        let Some(claim) = choices.one_of(self.live.iter()) else {
            return;
        };
        let Some(source) = self.asked.get(&claim) else {
            return;
        };
        let (target, kind) = (choices.peer(), SignalKind(choices.below(4)));
        let (payload, wait) = (Bytes::from_static(b"{}"), !choices.one_in(3));
        let now = self.now().at;
        let directory = self.core.directory().read();
        let mut exchange = self.core.exchange().lock();
        let seq = directory.own_seq(claim);
        // The exchange may refuse the signal.
        let signal = Signal {
            source,
            target: &target,
            kind,
            payload,
            wait,
        };
        let found = match choices.one_in(2) {
            true => directory.resolve(&source.network, &target),
            false => None,
        };
        let _ = exchange.send(now, &*directory, signal, seq, found);
    }

    fn transmit(&mut self, choices: &mut Choices<'_>) {
        for link in self.links.keys() {
            for _ in 0..3 {
                let most = 40 + usize::from(choices.below(200));
                if self.core.poll_transmit(*link, most).is_none() {
                    break;
                }
            }
        }
    }

    fn receive_data(&mut self, choices: &mut Choices<'_>) {
        let mut message = BytesMut::new();
        encode_data(&choices.data_frame(), &mut message);
        let link = LinkId(u64::from(choices.below(6)));
        let checked = choices.one_in(2);
        let Ok(frames) = split_data(&message.freeze()) else {
            return;
        };
        let now = self.now().at;
        let directory = self.core.directory().read();
        let mut exchange = self.core.exchange().lock();
        for frame in frames {
            match checked {
                true => exchange.handle(now, &*directory, frame, link),
                // As if the source could be behind any link: the exchange must be safe even without the check of the
                // link.
                false => exchange.take_in(now, &*directory, frame, link),
            }
        }
    }

    fn receive_control(&mut self, choices: &mut Choices<'_>) {
        let Some(link) = choices.one_of(self.links.keys()) else {
            return;
        };
        let Some(encoder) = self.links.get_mut(&link) else {
            return;
        };
        let mut message = BytesMut::new();
        for _ in 0..=choices.below(3) {
            encoder.encode(&choices.control_frame(), &mut message);
        }
        self.core
            .handle_message(self.now(), link, &message.freeze());
    }

    /// Carries out all outputs of the core and all effects of the exchange, until none is left.
    fn carry_out(&mut self, choices: &mut Choices<'_>) {
        for _ in 0..ENDLESS {
            if let Some(output) = self.core.poll_output() {
                self.take(output);
            } else if !self.carry_out_effect(choices) {
                return;
            }
        }
        panic!("one step never ends");
    }

    fn take(&mut self, output: Output) {
        match output {
            Output::Close { link, .. } => drop(self.links.remove(&link)),
            Output::Accepted { claim, .. } => drop(self.live.insert(claim)),
            Output::Refused { claim, .. } | Output::Superseded { claim } => {
                self.live.remove(&claim);
                self.asked.remove(&claim);
            }
            Output::Probe { token, .. } => self.probes.push(token),
            Output::Dial { dial, .. } => self.dials.push(dial),
            _ => {}
        }
    }

    /// False if the exchange has no effect.
    fn carry_out_effect(&mut self, choices: &mut Choices<'_>) -> bool {
        let now = self.now();
        let exchange = Arc::clone(self.core.exchange());
        let Some(effect) = exchange.lock().poll_effect() else {
            return false;
        };
        match effect {
            Effect::Link { frame, .. } => {
                let mut message = BytesMut::new();
                encode_data(&frame, &mut message);
                let message = message.freeze();
                match frame {
                    DataFrame::Raw(frame) => assert_eq!(split_data(&message), Ok(vec![frame])),
                    frame => assert_eq!(decode_data(&message), Ok(vec![frame])),
                }
            }
            Effect::Deliver(_) | Effect::Publish(_) => exchange.lock().settle(choices.of([
                Ok(()),
                Ok(()),
                Err(RefusedWhy::NotHere),
                Err(RefusedWhy::Overload),
            ])),
            Effect::HubMessage { from, payload } => {
                self.core.handle_hub_message(now, from, &payload);
            }
            Effect::HubMessageFailed { token, .. } => {
                self.core.handle_hub_message_failed(now, token);
            }
            Effect::Forged { source } => self.core.note_forged(now, source),
            Effect::Failed(_)
            | Effect::Returned(_)
            | Effect::Unpublished(_)
            | Effect::Counted(_) => {}
        }
        true
    }

    fn check(&self) {
        let directory = self.core.directory().read();
        let own = directory.claims_of(&ME);
        let claims: BTreeSet<ClaimNo> = own.iter().map(|claim| claim.claim).collect();
        assert_eq!(claims, self.live, "own claims are those that were accepted");
        for claim in &own {
            let winner = directory.resolve(&claim.network, &claim.peer);
            assert!(winner.is_some(), "somebody holds {claim:?}");
        }
        for hub in directory.hubs() {
            let state = directory.origin_state(&hub).expect("it is listed");
            assert_eq!(state.claims, directory.claims_of(&hub).len());
        }
        assert!(directory.networks().len() <= directory.network_count());
    }
}
