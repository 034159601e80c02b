//! The CPU time that the control plane and the way to another hub cost: to apply the claims of other hubs, to find a
//! target among a million, to pack claims for a neighbour, and to send a signal. Run with `cargo bench --bench mesh`.

use std::hint::black_box;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use hubmesh_core::api::{Hop, Route, Routes, Signal, Source};
use hubmesh_core::directory::Directory;
use hubmesh_core::exchange::{Effect, Exchange, ExchangeConfig, Resolve};
use hubmesh_core::frames::{
    AckFrame, Change, Claim, ControlFrame, DataFrame, Delta, Entry, FrameHead, WIRE_LEVEL,
};
use hubmesh_core::ids::{
    ClaimNo, Dialect, Hlc, HubId, Incarnation, LeaveReason, LinkId, Moment, NetworkKey, PeerId,
    SignalKind, mix,
};
use hubmesh_core::mutants::Mutants;
use hubmesh_core::wire::{self, Decoder, Encoder};

const ME: HubId = HubId([1; 20]);
const OTHER: HubId = HubId([2; 20]);
const LIFE: Incarnation = Incarnation { epoch: 0, nonce: 7 };

fn peer(number: u64) -> PeerId {
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(&mix(number).to_be_bytes());
    PeerId::Hex(bytes)
}

fn network(number: u64) -> NetworkKey {
    NetworkKey::new(Dialect::Pigeon, &format!("room {number}")).expect("a name")
}

/// `count` joins in networks of ten.
fn joins(count: u64) -> Vec<Entry> {
    let join = |number: u64| Entry {
        seq: number + 1,
        change: Change::Claim(Claim {
            network: network(number / 10),
            peer: peer(number),
            claim: ClaimNo(number + 1),
            hlc: Hlc::from_wall(1_700_000_000_000 + number),
            quiet: false,
            data: None,
        }),
    };
    (0..count).map(join).collect()
}

fn empty() -> Directory {
    let mut directory = Directory::new(ME, LIFE, 3, 1_000, Mutants::NONE);
    directory.begin(OTHER, LIFE);
    directory
}

fn filled(count: u64) -> Directory {
    let mut directory = empty();
    directory.apply(Moment(0), &OTHER, joins(count), count);
    directory.complete(&OTHER, count);
    directory.set_visible(&OTHER, true, LeaveReason::HubLost);
    directory
}

fn applying(c: &mut Criterion) {
    let mut group = c.benchmark_group("directory");
    group.throughput(Throughput::Elements(10_000));
    let entries = joins(10_000);
    group.bench_function("apply 10,000 joins of another hub", |b| {
        b.iter_batched(
            || (empty(), entries.clone()),
            |(mut directory, entries)| {
                directory.apply(Moment(0), &OTHER, entries, 10_000);
                directory
            },
            BatchSize::LargeInput,
        );
    });
    group.throughput(Throughput::Elements(1));
    let million = filled(1_000_000);
    let mut number = 0;
    group.bench_function("resolve one of 1,000,000 remote peers", |b| {
        b.iter(|| {
            number = (number + 7_919) % 1_000_000;
            black_box(million.resolve(&network(number / 10), &peer(number)))
        });
    });
    group.finish();
}

fn packing(c: &mut Criterion) {
    let directory = filled(10_000);
    let part = directory
        .part(&OTHER, 0, 16 * 1024, wire::entry_size)
        .expect("the hub is known");
    let delta = ControlFrame::Delta(Delta {
        origin: OTHER,
        incarnation: LIFE,
        from: 0,
        reset: true,
        last: false,
        to: part.to,
        entries: part.entries,
    });
    let ControlFrame::Delta(Delta { entries, .. }) = &delta else {
        return;
    };
    let mut group = c.benchmark_group("wire");
    group.throughput(Throughput::Elements(entries.len() as u64));
    group.bench_function("encode a part of 16 KiB", |b| {
        b.iter(|| {
            let mut message = BytesMut::with_capacity(32 * 1024);
            Encoder::new().encode(&delta, &mut message);
            message
        });
    });
    let mut message = BytesMut::new();
    Encoder::new().encode(&delta, &mut message);
    let message = message.freeze();
    group.bench_function("decode a part of 16 KiB", |b| {
        b.iter(|| Decoder::new().decode(black_box(&message)));
    });
    group.finish();
}

/// The exchange of a hub that has a link to another hub, and a send window for it.
fn exchange() -> Exchange {
    let mut exchange = Exchange::new(ME, LIFE, ExchangeConfig::default());
    let hop = Hop {
        link: LinkId(1),
        neighbour: OTHER,
        hops: 1,
    };
    let route = Route {
        hop,
        incarnation: LIFE,
        part: 0,
        level: WIRE_LEVEL,
    };
    let mut routes = Routes::default();
    routes.by_hub.insert(OTHER, route);
    exchange.set_routes(Moment(0), Arc::new(routes));
    exchange
}

fn signalling(c: &mut Criterion) {
    let directory = filled(100_000);
    let payload = Bytes::from(vec![b'x'; 300]);
    let source = Source {
        claim: ClaimNo(1),
        network: network(0),
        peer: peer(u64::MAX),
    };
    let mut exchange = exchange();
    let mut message = BytesMut::new();
    let mut group = c.benchmark_group("signal");
    group.bench_function(
        "to a peer of another hub, up to its bytes, and its acknowledgement",
        |b| {
            b.iter(|| {
                let signal = Signal {
                    source: &source,
                    target: &peer(3),
                    kind: SignalKind(2),
                    payload: payload.clone(),
                    wait: true,
                };
                let found = directory.resolve(&source.network, signal.target);
                let sent = exchange.send(Moment(1), &directory, signal, 1, found);
                assert!(sent.is_ok());
                while let Some(effect) = exchange.poll_effect() {
                    if let Effect::Link { frame, .. } = effect {
                        message.clear();
                        wire::encode_data(&frame, &mut message);
                        acknowledge(&mut exchange, &directory, &frame);
                    }
                }
            });
        },
    );
    group.finish();
}

fn acknowledge(exchange: &mut Exchange, directory: &Directory, frame: &DataFrame) {
    let DataFrame::Signal(signal) = frame else {
        return;
    };
    let ack = AckFrame {
        head: FrameHead {
            ttl: 4,
            source: OTHER,
            source_incarnation: LIFE,
            dest: ME,
            dest_incarnation: LIFE,
        },
        upto: signal.seq,
        refused: Vec::new(),
    };
    exchange.handle_ack(Moment(1), directory, ack);
}

criterion_group!(benches, applying, packing, signalling);
criterion_main!(benches);
