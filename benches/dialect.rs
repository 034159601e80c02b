//! The CPU time that a message costs on its way through a hub, without sockets: to read it, to write it, and to hand it
//! over to a peer of the same hub. Budget of a hand-over: 1 to 2 µs. Run with `cargo bench --bench dialect`.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hubmesh::dialect::{self, Command, DeliveredSignal, Event, pigeon};
use hubmesh::metrics::Metrics;
use hubmesh::peers::mailbox::{Capacity, Mailbox};
use hubmesh::peers::registry::{Peer, Registry};
use hubmesh_core::api::{Delivery, PeerEvent, Recipients, Sender, Source};
use hubmesh_core::ids::{ClaimNo, Dialect, Moment, NetworkKey, PeerId, SignalKind};
use hubmesh_core::policy::Policies;

const DIALECT: Dialect = Dialect::Pigeon;
const NOW: u64 = 1_700_000_000_000;

fn candidate(bytes: usize) -> String {
    let line = "candidate:1 1 udp 2122260223 10.0.0.1 ".repeat(bytes / 38 + 1);
    let line = &line[..bytes];
    format!(r#"{{"candidate":"{line}","sdpMLineIndex":0,"sdpMid":"0","usernameFragment":"Ab3d"}}"#)
}

fn frame(data: &str, target: &PeerId) -> String {
    format!(
        r#"{{"type":"ice-candidate","data":{data},"maxPeers":3,"networkName":"global","targetPeerId":"{target}"}}"#
    )
}

/// A different id for each number.
fn id(number: u64) -> PeerId {
    let mut bytes = [0x5a; 20];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    PeerId::Hex(bytes)
}

fn network() -> NetworkKey {
    NetworkKey::new(DIALECT, "global").expect("a name")
}

fn codec(c: &mut Criterion) {
    for (name, bytes) in [("candidate of 300 B", 220), ("offer of 7 kB", 7_000)] {
        let data = candidate(bytes);
        let text = frame(&data, &id(2));
        let (network, from, target) = (network(), id(1), id(2));
        let signal = DeliveredSignal {
            network: &network,
            from: &from,
            target: &target,
            kind: SignalKind(2),
            payload: &data,
        };
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function("decode", |b| {
            b.iter(|| pigeon::decode(black_box(&text)).is_ok());
        });
        group.bench_function("encode", |b| {
            b.iter(|| dialect::encode_signal(DIALECT, black_box(&signal), NOW));
        });
        group.finish();
    }
    let announce = r#"{"type":"announce","data":{"peerId":"cd9a2959ee9f0636ae243a7b06aeba1b0f1acb12"},"maxPeers":3,"networkName":"global"}"#;
    c.bench_function("announcement, decode", |b| {
        b.iter(|| pigeon::decode(black_box(announce)).is_ok());
    });
    let peer = id(1);
    let event = Event::Discovered {
        peer: &peer,
        data: None,
    };
    c.bench_function("peer-discovered, encode", |b| {
        b.iter(|| dialect::encode(DIALECT, "global", black_box(&event), NOW));
    });
}

fn join(registry: &Registry, number: u64) -> Arc<Mailbox> {
    let mailbox = Arc::new(Mailbox::new(Capacity {
        messages: 100_000,
        bytes: 1 << 30,
    }));
    let source = Source {
        claim: ClaimNo(number),
        network: network(),
        peer: id(number),
    };
    let peer = Peer::new(source, DIALECT, Arc::clone(&mailbox), false);
    registry.insert(ClaimNo(number), Arc::new(peer));
    registry.accepted(ClaimNo(number), Vec::new());
    mailbox
}

/// The hub reads the message, finds the mailbox, writes the text and hands it over. The mesh does not look up the
/// claim.
fn hand_over(c: &mut Criterion) {
    let registry = Registry::new(Metrics::new(), Policies::default());
    let mailbox = join(&registry, 2);
    let _others: Vec<_> = (1_000..11_000).map(|n| join(&registry, n)).collect();
    let network = network();
    let text = frame(&candidate(220), &id(2));
    c.bench_function("local signal of 300 B, decode to mailbox and out", |b| {
        b.iter(|| {
            let message = pigeon::decode(black_box(&text)).expect("it is understood");
            let Command::Signal {
                target,
                kind,
                payload,
                ..
            } = message.command
            else {
                unreachable!("it is a signal");
            };
            let delivery = Delivery {
                to: ClaimNo(2),
                network: network.clone(),
                from: id(1),
                sender: Sender::Here(ClaimNo(1)),
                target,
                kind,
                payload: Bytes::copy_from_slice(payload.as_bytes()),
            };
            registry.deliver_local(&delivery).expect("it is delivered");
            mailbox.drain(usize::MAX, |text| {
                black_box(text);
            })
        });
    });
}

fn notify(c: &mut Criterion) {
    let members = 500;
    let registry = Registry::new(Metrics::new(), Policies::default());
    let mailboxes: Vec<_> = (1..=members).map(|n| join(&registry, n)).collect();
    let event = PeerEvent::Joined {
        peer: id(members + 1),
        data: None,
    };
    let network = network();
    let mut group = c.benchmark_group("a join told to 500 members");
    group.throughput(Throughput::Elements(members));
    group.bench_function("to mailboxes and out", |b| {
        b.iter(|| {
            registry.notify(Moment(0), &network, Recipients::Network, event.clone());
            for mailbox in &mailboxes {
                mailbox.drain(usize::MAX, |text| {
                    black_box(text);
                });
            }
        });
    });
    group.finish();
}

criterion_group!(benches, codec, hand_over, notify);
criterion_main!(benches);
