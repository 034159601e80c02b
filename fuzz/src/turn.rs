//! The packets of STUN and TURN clients: single packets of any bytes, and histories of well-formed packets.

use std::time::Duration;

use hubmesh_turn::{Frame, Transport};

#[allow(dead_code, reason = "its own tests use all of it")]
#[path = "../../crates/turn/tests/turn/model.rs"]
mod model;
#[allow(dead_code, reason = "its own tests use all of it")]
#[path = "../../crates/turn/tests/turn/stage.rs"]
mod stage;

use model::{CHANNELS, PEERS, Step};
use stage::{Client, Stage, path};

/// Handles one packet, from a stranger and from a client that has a relay but no permission for any peer. The server
/// relays nothing. Its answer to the stranger is at most one and a half times as long as the packet, headers included.
pub fn stun(input: &[u8]) {
    let Some((kind, packet)) = input.split_first() else {
        return;
    };
    let mut stage = Stage::new();
    let mut from = path(match kind & 1 {
        0 => "192.0.2.66:4000",
        _ => "[2001:db8::66]:4000",
    });
    let headers = if kind & 1 == 0 { 28 } else { 48 };
    assert!(stage.client(from, packet).is_none());
    assert!(stage.open.is_empty() && stage.sent.len() <= 1);
    for (_, answer) in stage.sent.drain(..) {
        assert!((answer.len() + headers) * 2 <= (packet.len() + headers) * 3);
    }
    let mut ada = Client::new("192.0.2.1:4000", "ada");
    let port = ada.allocate(&mut stage).expect("a relay");
    assert!(stage.client(ada.path, packet).is_none());
    assert!(stage.peer(port, "192.0.2.77:1", packet).is_none());
    // The same bytes as a stream, cut into packets.
    from.transport = Transport::Stream;
    let mut rest = packet;
    while let Frame::Packet { length, padded } = Frame::at(rest) {
        assert!(length <= padded && padded >= 4);
        let Some((one, more)) = rest.split_at_checked(padded) else {
            break;
        };
        assert!(stage.client(from, &one[..length]).is_none());
        rest = more;
    }
    stage.pass(Duration::from_secs(600).as_secs());
    assert!(stage.open.is_empty(), "no relay outlives its time");
}

/// Plays the history that the input describes on the server and on the model. Each step has three bytes.
pub fn turn_world(input: &[u8]) {
    let steps = input.as_chunks::<3>().0.iter().take(400);
    model::play(steps.map(|[kind, one, other]| step(*kind, *one, *other)));
}

fn step(kind: u8, one: u8, other: u8) -> Step {
    let client = usize::from(one % 3);
    let peer = usize::from(other) % PEERS.len();
    let channel = CHANNELS.start + u16::from(one / 3) % 3;
    match kind % 11 {
        0 => Step::Pass(u64::from(one) * 2),
        1 => Step::Allocate(client),
        2 => Step::Refresh(client, u32::from(other) * 16),
        3 | 4 => Step::Permit(client, peer),
        5 | 6 => Step::Bind(client, channel, peer),
        7 => Step::Send(client, peer),
        8 => Step::Channel(client, channel),
        9 => Step::Peer(client, peer),
        _ => Step::Twist(client, usize::from(kind) * 7 + usize::from(one), other),
    }
}
