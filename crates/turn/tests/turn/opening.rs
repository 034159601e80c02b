//! Between an Allocate request and the port that is open for it: what is asked, sent and ended meanwhile.

use hubmesh_turn::{Code, Drop, Effect, End, Transport};
use stun_types::attribute::{AttributeStaticType as _, MessageIntegrity};
use stun_types::message::*;
use turn_types::message::*;

use crate::stage::{Client, Stage, at, code, indication, udp};

const PEER: &str = "192.0.2.77:5000";

/// What ends the relay of a client.
type Ends = fn(&mut Stage, &Client);

/// A client that asked for a relay, by which packet, and whose port is not open yet.
fn asked() -> (Stage, Client, Vec<u8>) {
    let mut stage = Stage::new();
    let mut ada = Client::new("192.0.2.1:4000", "ada");
    ada.path.transport = Transport::Stream;
    ada.permit(&mut stage, &[PEER]).expect_err("no relay yet");
    stage.holds = true;
    let packet = ada.signed(ALLOCATE, &[&udp()], &[]);
    stage.client(ada.path, &packet);
    assert_eq!((stage.sent.len(), stage.held.len()), (0, 1));
    (stage, ada, packet)
}

#[test]
fn the_same_request_again_is_answered_once_when_the_port_is_open() {
    let (mut stage, ada, packet) = asked();
    stage.client(ada.path, &packet);
    assert_eq!((stage.sent.len(), stage.held.len()), (0, 1));
    stage.let_open();
    assert_eq!(stage.sent.len(), 1);
    let bytes = stage.answer();
    let answer = Message::from_bytes(&bytes).expect("a message");
    assert!(answer.has_class(MessageClass::Success));
    stage.client(ada.path, &packet);
    assert_eq!(stage.answer(), bytes);
    assert_eq!(stage.server.counters().allocations.total(), 1);
}

#[test]
fn a_relay_that_is_not_open_yet_cannot_be_used() {
    let (mut stage, mut ada, _) = asked();
    assert_eq!(ada.refresh(&mut stage, 0), Err(437));
    assert_eq!(ada.permit(&mut stage, &[PEER]), Err(437));
    assert_eq!(ada.bind(&mut stage, 0x4000, PEER), Err(437));
    assert_eq!(ada.allocate(&mut stage), Err(437), "nor a second one made");
    assert_eq!(stage.client(ada.path, &indication(PEER, b"x")), None);
    assert_eq!(stage.server.counters().of(Drop::NoPermission).total(), 1);
    let (id, _) = stage.held[0];
    let mut out = Vec::new();
    let got = stage
        .server
        .handle_peer(stage.now, id, at(PEER), b"x", &mut out);
    assert_eq!((got, out.len()), (None, 0));
    assert_eq!(stage.server.counters().of(Drop::NoPermission).total(), 2);
    stage.let_open();
    assert_eq!(stage.sent.len(), 1);
    ada.permit(&mut stage, &[PEER]).expect("it is open");
    assert!(ada.send(&mut stage, PEER, b"x").is_some());
}

#[test]
fn a_port_that_opens_for_nobody_is_closed_again() {
    let ends: [(End, Ends); 3] = [
        (End::Disconnected, |stage, ada| {
            stage.server.client_gone(ada.path);
        }),
        (End::Expired, |stage, _| stage.pass(600)),
        (End::Drained, |stage, _| stage.server.end_all()),
    ];
    for (why, end) in ends {
        let (mut stage, ada, _) = asked();
        end(&mut stage, &ada);
        stage.settle();
        assert_eq!(stage.server.counters().of(why).total(), 1, "{why:?}");
        stage.let_open();
        assert!(stage.open.is_empty(), "{why:?}");
        assert!(stage.sent.is_empty(), "{why:?}: nobody is told");
    }
}

#[test]
fn a_port_that_fails_for_nobody_and_one_that_is_told_open_twice_change_nothing() {
    let (mut stage, mut ada, _) = asked();
    let (id, _) = stage.held[0];
    stage.let_open();
    stage.server.opened(id, true);
    assert_eq!(stage.server.poll_effect(), None);
    assert_eq!(ada.refresh(&mut stage, 0), Ok(0));
    stage.server.opened(id, false);
    assert_eq!(stage.server.poll_effect(), None);
    stage.server.opened(id, true);
    let closes = Effect::Close { allocation: id };
    assert_eq!(stage.server.poll_effect(), Some(closes));
}

#[test]
fn ports_that_fail_one_after_the_other_are_free_again_when_the_relay_ends_meanwhile() {
    let (mut stage, mut ada, _) = asked();
    // Each try fails, and the next one waits.
    for _ in 0..5 {
        let (id, _) = stage.held.remove(0);
        stage.server.opened(id, false);
        stage.settle();
    }
    assert_eq!((stage.held.len(), stage.sent.len()), (1, 0));
    stage.server.client_gone(ada.path);
    stage.let_open();
    assert!(stage.open.is_empty());
    for number in 0..100 {
        let name = number.to_string();
        let mut other = Client::new(&format!("198.51.100.{number}:1"), &name);
        assert!(other.allocate(&mut stage).is_ok(), "{number}");
    }
    assert_eq!(ada.allocate(&mut stage), Err(508), "all 100 are taken");
}

#[test]
fn a_relay_for_which_no_port_opens_is_refused_by_a_signed_answer() {
    let (mut stage, ada, packet) = asked();
    stage.taken = (20_000..=20_099).collect();
    stage.let_open();
    assert_eq!((stage.tries, stage.sent.len()), (16, 1));
    let bytes = stage.answer();
    assert_eq!(code(&bytes), 508);
    let (answer, request) = (Message::from_bytes(&bytes), Message::from_bytes(&packet));
    let (answer, request) = (answer.expect("a message"), request.expect("a message"));
    assert_eq!(answer.transaction_id(), request.transaction_id());
    assert!(answer.has_attribute(MessageIntegrity::TYPE));
    assert!(!stage.server.has_allocation(ada.path));
    let counters = stage.server.counters();
    assert_eq!(counters.of(Code::InsufficientCapacity).total(), 1);
    assert_eq!(counters.of(End::NoPort).total(), 1);
}
