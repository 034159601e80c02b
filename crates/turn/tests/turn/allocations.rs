//! Relays from their begin to their end: RFC 8656, sections 7 and 8.

use hubmesh_turn::{Code, Drop, End, Limits, Transport};
use std::time::Duration;
use stun_types::AddressFamily;
use stun_types::attribute::*;
use stun_types::message::*;
use turn_types::attribute::*;
use turn_types::message::*;

use crate::stage::{Client, START_S, Stage, at, code, config, limits, path, request, udp};

#[test]
fn a_client_is_challenged_first_and_then_has_a_relay() {
    let mut stage = Stage::new();
    let from = path("192.0.2.1:4000");
    stage.client(from, &request(ALLOCATE, &[&udp()]));
    let bytes = stage.answer();
    assert_eq!(code(&bytes), 401);
    let challenge = Message::from_bytes(&bytes).expect("a message");
    let nonce = challenge.attribute::<Nonce>().expect("a nonce");
    assert!(challenge.has_attribute(Realm::TYPE));
    let mut ada = Client::new("192.0.2.1:4000", "ada");
    ada.nonce = nonce.nonce().into();
    let relay = ada.allocate_with(&mut stage, &[]).expect("a relay");
    assert_eq!(relay.ip(), at("203.0.113.5:0").ip());
    assert!((20_000..=20_099).contains(&relay.port()));
    assert_eq!(stage.open.len(), 1);
    let counters = stage.server.counters();
    assert_eq!(
        (counters.open(), counters.of(Code::Unauthorized).total()),
        (1, 1)
    );
}

#[test]
fn the_same_request_again_is_answered_as_before_and_another_one_refused() {
    let mut stage = Stage::new();
    let mut ada = Client::new("192.0.2.1:4000", "ada");
    ada.permit(&mut stage, &["192.0.2.9:1"])
        .expect_err("no relay yet");
    let packet = ada.signed(ALLOCATE, &[&udp()], &[]);
    stage.client(ada.path, &packet);
    let first = stage.answer();
    stage.client(ada.path, &packet);
    assert_eq!(stage.answer(), first);
    assert_eq!(ada.allocate(&mut stage), Err(437));
    assert_eq!(stage.open.len(), 1);
    ada.refresh(&mut stage, 0).expect("its end");
    let both = AdditionalAddressFamily::new(AddressFamily::IPV6);
    let packet = ada.signed(ALLOCATE, &[&udp(), &both], &[]);
    stage.client(ada.path, &packet);
    let first = stage.answer();
    let answer = Message::from_bytes(&first).expect("a message");
    assert!(answer.has_attribute(AddressErrorCode::TYPE));
    stage.client(ada.path, &packet);
    assert_eq!(stage.answer(), first);
}

#[test]
fn a_relay_ends_when_it_is_not_refreshed_and_goes_on_when_it_is() {
    let mut stage = Stage::new();
    let mut ada = Client::new("192.0.2.1:4000", "ada");
    ada.allocate(&mut stage).expect("a relay");
    stage.pass(599);
    assert_eq!(stage.open.len(), 1);
    // Its credentials are long over, and its relay is not.
    assert_eq!(ada.refresh(&mut stage, 700), Ok(700));
    stage.pass(699);
    assert_eq!(stage.open.len(), 1);
    stage.pass(1);
    assert_eq!(stage.open.len(), 0);
    assert_eq!(stage.server.counters().of(End::Expired).total(), 1);
    assert_eq!(
        ada.refresh(&mut stage, 600),
        Err(401),
        "nor may it have another"
    );
    let mut ada = Client::until("192.0.2.1:4000", "ada", START_S + 9_999);
    assert_eq!(ada.refresh(&mut stage, 600), Err(437));
    assert!(ada.allocate(&mut stage).is_ok());
}

#[test]
fn lifetimes_are_within_their_bounds_and_no_relay_becomes_too_old() {
    let mut stage = Stage::with(config(Limits {
        lifetime: Duration::from_secs(1_000),
        age: Duration::from_secs(2_500),
        ..limits()
    }));
    let mut ada = Client::new("192.0.2.1:4000", "ada");
    ada.allocate_with(&mut stage, &[&Lifetime::new(7)])
        .expect("a relay");
    for (wanted, has) in [(7, 600), (777, 777), (9_999, 1_000), (u32::MAX, 1_000)] {
        assert_eq!(ada.refresh(&mut stage, wanted), Ok(has));
    }
    stage.pass(900);
    assert_eq!(ada.refresh(&mut stage, 1_000), Ok(1_000));
    stage.pass(900);
    assert_eq!(
        ada.refresh(&mut stage, 1_000),
        Ok(700),
        "what is left to it"
    );
    stage.pass(700);
    assert!(stage.open.is_empty());
    assert_eq!(stage.server.counters().of(End::TooOld).total(), 1);
}

#[test]
fn a_client_ends_its_relay_by_a_lifetime_of_nothing_and_the_port_is_free_again() {
    let mut stage = Stage::new();
    let mut ada = Client::new("192.0.2.1:4000", "ada");
    for _ in 0..300 {
        ada.allocate(&mut stage).expect("a relay");
        assert_eq!(ada.refresh(&mut stage, 0), Ok(0));
        assert!(stage.open.is_empty());
    }
    assert_eq!(ada.refresh(&mut stage, 0), Err(437));
    assert!(stage.server.poll_timeout().is_none());
}

#[test]
fn a_client_whose_connection_is_gone_has_no_relay() {
    let mut stage = Stage::new();
    let mut ada = Client::new("192.0.2.1:4000", "ada");
    ada.path.transport = Transport::Stream;
    ada.allocate(&mut stage).expect("a relay");
    stage.server.client_gone(ada.path);
    stage.settle();
    assert!(stage.open.is_empty());
}

#[test]
fn a_client_of_ipv4_is_the_same_at_a_socket_of_both_families() {
    let mut stage = Stage::new();
    let mut plain = Client::new("192.0.2.1:4000", "ada");
    let mut mapped = plain.clone();
    mapped.path.client = at("[::ffff:192.0.2.1]:4000");
    mapped.path.server = at("[::ffff:203.0.113.5]:3478");
    stage.client(mapped.path, &request(BINDING, &[]));
    let (to, bytes) = stage.sent.pop().expect("an answer");
    assert_eq!(to, plain.path);
    let answer = Message::from_bytes(&bytes).expect("a message");
    let seen = answer.attribute::<XorMappedAddress>().expect("an address");
    assert_eq!(seen.addr(answer.transaction_id()), plain.path.client);

    let port = plain.allocate(&mut stage).expect("a relay");
    mapped.nonce = plain.nonce.clone();
    mapped
        .permit(&mut stage, &["192.0.2.9:1"])
        .expect("the same client");
    assert!(mapped.send(&mut stage, "192.0.2.9:1", b"x").is_some());
    plain
        .bind(&mut stage, 0x4000, "192.0.2.9:1")
        .expect("a channel");
    let got = stage.peer(port, "[::ffff:192.0.2.9]:1", b"x");
    assert_eq!(got, Some(vec![0x40, 0, 0, 1, b'x']));
    assert!(stage.server.has_allocation(mapped.path));
    stage.server.client_gone(mapped.path);
    stage.settle();
    assert!(!stage.server.has_allocation(plain.path) && stage.open.is_empty());
}

#[test]
fn what_a_request_asks_for_is_given_or_refused_by_its_code() {
    let mut stage = Stage::new();
    let mut ada = Client::new("192.0.2.1:4000", "ada");
    ada.permit(&mut stage, &["192.0.2.9:1"])
        .expect_err("no relay yet");
    let (tcp, even, pair) = (
        RequestedTransport::new(6),
        EvenPort::new(false),
        EvenPort::new(true),
    );
    let v6 = RequestedAddressFamily::new(AddressFamily::IPV6);
    let strange = RawAttribute::new_owned(RequestedAddressFamily::TYPE, [9, 0, 0, 0].into());
    let both = AdditionalAddressFamily::new(AddressFamily::IPV6);
    let (token, fragment) = (ReservationToken::new(7), DontFragment::new());
    let transport = udp();
    let mut refused = |attributes: &[&dyn AttributeWrite]| {
        ada.ask(&mut stage, ALLOCATE, attributes, &[])
            .expect_err("refused")
    };
    assert_eq!(refused(&[]), 400);
    assert_eq!(refused(&[&tcp]), 442);
    assert_eq!(refused(&[&transport, &fragment]), 420);
    assert_eq!(refused(&[&transport, &pair]), 508);
    assert_eq!(refused(&[&transport, &token]), 508);
    assert_eq!(refused(&[&transport, &token, &even]), 400);
    assert_eq!(refused(&[&transport, &strange]), 440);
    assert_eq!(refused(&[&transport, &both, &v6]), 400);

    let got = ada.allocate_with(&mut stage, &[&even]).expect("a relay");
    assert_eq!(got.port() % 2, 0);
    let mut bob = Client::new("192.0.2.2:4000", "bob");
    assert!(
        bob.allocate_with(&mut stage, &[&v6])
            .expect("a relay")
            .is_ipv6()
    );
    let mut eve = Client::new("192.0.2.3:4000", "eve");
    let answer = eve
        .ask(&mut stage, ALLOCATE, &[&transport, &both], &[])
        .expect("one of two");
    let answer = Message::from_bytes(&answer).expect("a message");
    let other = answer.attribute::<AddressErrorCode>().expect("no other");
    assert_eq!(
        (other.family(), other.error().code()),
        (AddressFamily::IPV6, 440)
    );
}

#[test]
fn a_port_that_somebody_else_has_is_not_used_and_without_any_there_is_no_relay() {
    let mut stage = Stage::new();
    stage.taken = (20_000..20_099).collect();
    let mut ada = Client::new("192.0.2.1:4000", "ada");
    let mut refused = 0;
    while ada.allocate(&mut stage) != Ok(20_099) {
        assert!(stage.open.is_empty());
        refused += 1;
        assert_eq!(
            std::mem::take(&mut stage.tries),
            16,
            "ports are tried each time"
        );
        assert!(refused < 100, "of 100");
    }
    assert!(refused > 0);
    assert_eq!(stage.server.counters().of(End::NoPort).total(), refused);
    assert_eq!(ada.refresh(&mut stage, 0), Ok(0));
    stage.taken.clear();
    // All 100 are there again, each once, for a hundred clients at as many addresses.
    for number in 0..100 {
        let name = number.to_string();
        let mut other = Client::new(&format!("198.51.100.{number}:1"), &name);
        let got = other.allocate(&mut stage);
        assert!(got.is_ok(), "{number}: {got:?}");
    }
    assert_eq!(stage.open.len(), 100);
}

#[test]
fn a_user_has_its_share_and_no_more() {
    let mut stage = Stage::new();
    let mut clients: Vec<Client> = (0..4)
        .map(|number| Client::new(&format!("192.0.2.1:400{number}"), "ada"))
        .collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let expected = if number < 3 { None } else { Some(486) };
        assert_eq!(client.allocate(&mut stage).err(), expected);
    }
    let mut bob = Client::new("192.0.2.1:4009", "bob");
    assert!(bob.allocate(&mut stage).is_ok());
    let mut elsewhere = Client::new("192.0.2.2:4000", "ada");
    assert!(elsewhere.allocate(&mut stage).is_ok());
    assert_eq!(clients[0].refresh(&mut stage, 0), Ok(0));
    assert!(clients[3].allocate(&mut stage).is_ok());
}

#[test]
fn a_server_that_drains_tells_those_who_ask_and_ends_the_rest() {
    let mut stage = Stage::new();
    let mut ada = Client::new("192.0.2.1:4000", "ada");
    let mut bob = Client::new("192.0.2.2:4000", "bob");
    ada.allocate(&mut stage).expect("a relay");
    bob.allocate(&mut stage).expect("a relay");
    bob.permit(&mut stage, &["192.0.2.9:1"]).expect("leave");
    stage.server.drain();
    assert!(bob.send(&mut stage, "192.0.2.9:1", b"still here").is_some());
    assert_eq!(ada.refresh(&mut stage, 600), Err(437));
    assert_eq!(ada.allocate(&mut stage), Err(508));
    assert_eq!(stage.open.len(), 1);
    stage.server.end_all();
    stage.settle();
    assert!(stage.open.is_empty());
    assert!(bob.send(&mut stage, "192.0.2.9:1", b"gone").is_none());
    let counters = stage.server.counters();
    assert_eq!(counters.of(End::Drained).total(), 2);
    assert_eq!(counters.of(Drop::NoAllocation).total(), 1);
}
