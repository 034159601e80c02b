//! Data between clients and peers: permissions, channels, indications (RFC 8656, sections 9 to 12).

use hubmesh_turn::{Drop, Limits, Transport};
use stun_types::message::*;
use turn_types::attribute::*;
use turn_types::message::*;

use crate::stage::{Client, Stage, at, config, indication, limits};

const PEER: &str = "192.0.2.77:5000";

fn ready() -> (Stage, Client, u16) {
    let mut stage = Stage::new();
    let mut ada = Client::new("192.0.2.1:4000", "ada");
    let port = ada.allocate(&mut stage).expect("a relay");
    (stage, ada, port)
}

#[test]
fn nothing_passes_without_a_permission_and_both_ways_with_one() {
    let (mut stage, mut ada, port) = ready();
    assert_eq!(ada.send(&mut stage, PEER, b"hello"), None);
    assert_eq!(stage.peer(port, PEER, b"hello"), None);
    assert_eq!(stage.server.counters().of(Drop::NoPermission).total(), 2);
    ada.permit(&mut stage, &[PEER]).expect("leave");
    assert_eq!(
        ada.send(&mut stage, PEER, b"hello"),
        Some((at(PEER), b"hello".to_vec()))
    );
    // A permission is for an address, whatever the port.
    let bytes = stage
        .peer(port, "192.0.2.77:6000", b"hello")
        .expect("it passes");
    let message = Message::from_bytes(&bytes).expect("a message");
    assert!(message.has_method(DATA) && message.has_class(MessageClass::Indication));
    let from = message.attribute::<XorPeerAddress>().expect("from");
    assert_eq!(from.addr(message.transaction_id()), at("192.0.2.77:6000"));
    assert_eq!(message.attribute::<Data>().expect("data").data(), b"hello");
    assert_eq!(stage.peer(port, "192.0.2.78:5000", b"hello"), None);
    assert_eq!(stage.server.counters().to_peers.packets.total(), 1);
    assert_eq!(stage.server.counters().to_clients.bytes.total(), 5);
}

#[test]
fn what_passes_is_relayed_only_once_it_is_sent() {
    let (mut stage, mut ada, port) = ready();
    ada.permit(&mut stage, &[PEER]).expect("leave");
    let packet = indication(PEER, b"hello");
    let passes = stage.server.handle_client(stage.now, ada.path, &packet);
    assert!(passes.is_some());
    let counters = stage.server.counters();
    assert_eq!(counters.to_peers.packets.total(), 0);
    counters.unsent();
    assert_eq!(counters.to_peers.packets.total(), 0);
    assert_eq!(counters.of(Drop::Unsent).total(), 1);
    assert!(stage.peer(port, PEER, b"hello").is_some());
    assert_eq!(stage.server.counters().to_clients.packets.total(), 1);
}

#[test]
fn an_address_that_becomes_the_server_s_own_is_no_peer_any_more() {
    let (mut stage, mut ada, port) = ready();
    let (own, other) = ("198.51.100.9:5000", PEER);
    ada.permit(&mut stage, &[own, other]).expect("leave");
    ada.bind(&mut stage, 0x4000, own).expect("a channel");
    ada.bind(&mut stage, 0x4001, other).expect("a channel");
    stage.server.set_own(&[at(own).ip()]);
    assert_eq!(ada.send(&mut stage, own, b"x"), None);
    assert_eq!(ada.channel(&mut stage, 0x4000, b"x"), None);
    assert_eq!(stage.peer(port, own, b"x"), None);
    assert_eq!(ada.permit(&mut stage, &[own]), Err(403));
    assert_eq!(ada.bind(&mut stage, 0x4002, own), Err(403));
    assert!(ada.channel(&mut stage, 0x4001, b"x").is_some());
    stage.server.set_own(&[]);
    assert_eq!(ada.permit(&mut stage, &[own]), Ok(()), "it is gone");
}

#[test]
fn a_permission_lasts_five_minutes() {
    let (mut stage, mut ada, port) = ready();
    ada.permit(&mut stage, &[PEER]).expect("leave");
    stage.pass(299);
    assert!(ada.send(&mut stage, PEER, b"in time").is_some());
    stage.pass(1);
    assert!(ada.send(&mut stage, PEER, b"late").is_none());
    assert!(stage.peer(port, PEER, b"late").is_none());
    ada.permit(&mut stage, &[PEER]).expect("leave again");
    assert!(stage.peer(port, PEER, b"again").is_some());
}

#[test]
fn a_channel_carries_data_both_ways_for_ten_minutes_while_there_is_a_permission() {
    let (mut stage, mut ada, port) = ready();
    assert_eq!(ada.channel(&mut stage, 0x4000, b"too early"), None);
    ada.bind(&mut stage, 0x4000, PEER).expect("a channel");
    assert_eq!(
        ada.channel(&mut stage, 0x4000, b"hello"),
        Some((at(PEER), b"hello".to_vec()))
    );
    assert_eq!(
        stage.peer(port, PEER, b"hello"),
        Some([&[0x40, 0, 0, 5], &b"hello"[..]].concat())
    );
    // From another port of the peer it has no channel.
    assert_eq!(
        stage.peer(port, "192.0.2.77:1", b"x").map(|bytes| bytes[0]),
        Some(0)
    );
    stage.pass(300);
    assert_eq!(ada.channel(&mut stage, 0x4000, b"no leave"), None);
    ada.permit(&mut stage, &[PEER]).expect("leave");
    assert!(ada.channel(&mut stage, 0x4000, b"leave").is_some());
    ada.refresh(&mut stage, 3_600).expect("more time");
    stage.pass(299);
    ada.permit(&mut stage, &[PEER]).expect("leave");
    stage.pass(1);
    assert_eq!(ada.channel(&mut stage, 0x4000, b"no channel"), None);
    assert_eq!(stage.peer(port, PEER, b"x").map(|bytes| bytes[0]), Some(0));
}

#[test]
fn into_a_stream_the_data_of_a_channel_is_padded() {
    let mut stage = Stage::new();
    let mut ada = Client::new("192.0.2.1:4000", "ada");
    ada.path.transport = Transport::Stream;
    let port = ada.allocate(&mut stage).expect("a relay");
    ada.bind(&mut stage, 0x4000, PEER).expect("a channel");
    let bytes = stage.peer(port, PEER, b"hello");
    assert_eq!(
        bytes,
        Some([&[0x40, 0, 0, 5], &b"hello\0\0\0"[..]].concat())
    );
}

#[test]
fn a_channel_has_one_peer_and_a_peer_one_channel() {
    let (mut stage, mut ada, _) = ready();
    ada.bind(&mut stage, 0x4000, PEER).expect("a channel");
    ada.bind(&mut stage, 0x4000, PEER).expect("the same again");
    assert_eq!(ada.bind(&mut stage, 0x4000, "192.0.2.78:5000"), Err(400));
    assert_eq!(ada.bind(&mut stage, 0x4001, PEER), Err(400));
    for wrong in [0, 0x3fff, 0x8000, 0xffff] {
        assert_eq!(
            ada.bind(&mut stage, wrong, "192.0.2.79:1"),
            Err(400),
            "{wrong:#x}"
        );
    }
    assert_eq!(ada.bind(&mut stage, 0x7fff, "192.0.2.77:5001"), Ok(()));
    ada.refresh(&mut stage, 3_600).expect("more time");
    stage.pass(600);
    ada.bind(&mut stage, 0x4000, "192.0.2.78:5000")
        .expect("its time is over");
    ada.bind(&mut stage, 0x4001, PEER).expect("and its peer's");
    assert!(
        ada.channel(&mut stage, 0x4001, b"x")
            .is_some_and(|(to, _)| to == at(PEER))
    );
}

#[test]
fn requests_about_peers_are_taken_whole_or_not_at_all() {
    let (mut stage, mut ada, _) = ready();
    assert_eq!(ada.permit(&mut stage, &[]), Err(400));
    assert_eq!(ada.permit(&mut stage, &[PEER, "10.0.0.1:1"]), Err(403));
    assert_eq!(
        ada.permit(&mut stage, &[PEER, "[2606:4700::1]:1"]),
        Err(443)
    );
    assert!(ada.send(&mut stage, PEER, b"x").is_none());
    let many: Vec<String> = (0..129)
        .map(|number| format!("198.51.100.{number}:1"))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(ada.permit(&mut stage, &many), Err(508));
    assert_eq!(ada.permit(&mut stage, &many[..128]), Ok(()));
    assert_eq!(ada.permit(&mut stage, &[PEER]), Err(508));
    stage.pass(300);
    assert_eq!(ada.permit(&mut stage, &[PEER]), Ok(()));
}

#[test]
fn two_clients_of_one_server_meet_at_their_relays_without_leaving_it() {
    let (mut stage, mut ada, port) = ready();
    let mut bob = Client::new("192.0.2.2:4000", "bob");
    let other = bob.allocate(&mut stage).expect("a relay");
    let at_ada = format!("203.0.113.5:{port}");
    let at_bob = format!("203.0.113.5:{other}");
    ada.bind(&mut stage, 0x4000, &at_bob).expect("a channel");
    assert_eq!(
        ada.channel(&mut stage, 0x4000, b"hello"),
        None,
        "bob gave no leave"
    );
    assert!(stage.sent.is_empty());
    bob.bind(&mut stage, 0x4005, &at_ada).expect("a channel");
    assert_eq!(
        ada.channel(&mut stage, 0x4000, b"hello"),
        None,
        "nothing for the socket"
    );
    let (to, bytes) = stage.sent.pop().expect("bob has it");
    assert_eq!(to, bob.path);
    assert_eq!(bytes, [&[0x40, 5, 0, 5], &b"hello"[..]].concat());
}

#[test]
fn what_is_over_the_rate_is_dropped_of_one_user_and_of_all() {
    let limits = Limits {
        user_bytes_per_s: Some(1_000),
        bytes_per_s: Some(1_500),
        ..limits()
    };
    let mut stage = Stage::with(config(limits));
    let mut clients = [
        Client::new("192.0.2.1:4000", "ada"),
        Client::new("192.0.2.1:4001", "ada"),
        Client::new("192.0.2.3:4000", "bob"),
    ];
    for client in &mut clients {
        client.allocate(&mut stage).expect("a relay");
        client.permit(&mut stage, &[PEER]).expect("leave");
    }
    let [ada, too, bob] = clients;
    assert!(
        ada.send(&mut stage, PEER, b"").is_none(),
        "nobody has any yet"
    );
    stage.pass(1);
    assert!(ada.send(&mut stage, PEER, &[0; 600]).is_some());
    assert!(
        too.send(&mut stage, PEER, &[0; 345]).is_none(),
        "ada has had 628 of 1000"
    );
    assert!(too.send(&mut stage, PEER, &[0; 344]).is_some());
    assert!(bob.send(&mut stage, PEER, &[0; 450]).is_some());
    assert!(
        bob.send(&mut stage, PEER, b"").is_none(),
        "all have had 1478 of 1500"
    );
    assert_eq!(stage.server.counters().of(Drop::OverRate).total(), 3);
    stage.pass(1);
    assert!(too.send(&mut stage, PEER, &[0; 900]).is_some());
}

#[test]
fn empty_datagrams_are_not_free_and_those_of_ipv6_cost_more() {
    let limits = Limits {
        user_bytes_per_s: Some(480),
        ..limits()
    };
    let mut stage = Stage::with(config(limits));
    let v6 = RequestedAddressFamily::new(stun_types::AddressFamily::IPV6);
    let mut ada = Client::new("192.0.2.1:4000", "ada");
    let mut bob = Client::new("192.0.2.2:4000", "bob");
    let at_ada = ada.allocate(&mut stage).expect("a relay");
    let at_bob = bob.allocate_with(&mut stage, &[&v6]).expect("a relay");
    let far = "[2606:4700::9]:1";
    ada.permit(&mut stage, &[PEER]).expect("leave");
    bob.permit(&mut stage, &[far]).expect("leave");
    for (port, client, peer, most) in [(at_ada, ada, PEER, 17), (at_bob.port(), bob, far, 10)] {
        stage.pass(1);
        let out = (0..30).filter(|_| client.send(&mut stage, peer, b"").is_some());
        assert_eq!(out.count(), most);
        stage.pass(1);
        let back = (0..30).filter(|_| stage.peer(port, peer, b"").is_some());
        assert_eq!(back.count(), most);
    }
}
