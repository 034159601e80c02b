//! STUN: the address that a client is seen at, and from the other port where it asks for that.

use std::net::SocketAddr;

use hubmesh_turn::{Config, Transport};
use stun_types::attribute::*;
use stun_types::message::*;
use turn_types::message::ALLOCATE;

use crate::stage::{Stage, code, path, request, udp};

fn mapped(bytes: &[u8]) -> SocketAddr {
    let message = Message::from_bytes(bytes).expect("a message");
    assert!(message.has_class(MessageClass::Success));
    let mapped = message.attribute::<XorMappedAddress>().expect("an address");
    mapped.addr(message.transaction_id())
}

fn change(flags: u8) -> RawAttribute<'static> {
    RawAttribute::new_owned(AttributeType::new(3), [0, 0, 0, flags].into())
}

#[test]
fn a_client_is_told_where_it_is_seen_without_having_to_log_in() {
    let mut stage = Stage::new();
    for client in ["192.0.2.1:4000", "[2001:db8::77]:4000"] {
        let from = path(client);
        stage.client(from, &request(BINDING, &[]));
        let (to, bytes) = stage.sent.pop().expect("an answer");
        assert_eq!((to, mapped(&bytes)), (from, from.client));
    }
}

#[test]
fn a_change_of_port_is_answered_from_the_other_port_and_any_other_change_refused() {
    let mut stage = Stage::new();
    let mut from = path("192.0.2.1:4000");
    for (here, there) in [(3478, 3479), (3479, 3478)] {
        from.server.set_port(here);
        stage.client(from, &request(BINDING, &[&change(2)]));
        let (to, bytes) = stage.sent.pop().expect("an answer");
        assert_eq!((to.client, to.server.port()), (from.client, there));
        assert_eq!(mapped(&bytes), from.client);
        for flags in [4, 6] {
            stage.client(from, &request(BINDING, &[&change(flags)]));
            assert_eq!(code(&stage.answer()), 420);
        }
        stage.client(from, &request(BINDING, &[&change(0)]));
        assert_eq!(mapped(&stage.answer()), from.client);
    }
    from.transport = Transport::Stream;
    stage.client(from, &request(BINDING, &[&change(2)]));
    assert_eq!(code(&stage.answer()), 420, "a connection has one port");
}

#[test]
fn what_it_demands_and_the_server_does_not_know_is_named() {
    let mut stage = Stage::new();
    let strange = RawAttribute::new_owned(AttributeType::new(0x7ffe), [].into());
    stage.client(path("192.0.2.1:4000"), &request(BINDING, &[&strange]));
    let bytes = stage.answer();
    assert_eq!(code(&bytes), 420);
    let message = Message::from_bytes(&bytes).expect("a message");
    let unknown = message.attribute::<UnknownAttributes>().expect("names");
    assert!(unknown.has_attribute(AttributeType::new(0x7ffe)));
    let optional = RawAttribute::new_owned(AttributeType::new(0xfffe), [].into());
    stage.client(path("192.0.2.1:4000"), &request(BINDING, &[&optional]));
    mapped(&stage.answer());
}

#[test]
fn a_fingerprint_is_answered_with_one() {
    let mut stage = Stage::new();
    let mut message = Message::builder_request(BINDING, MessageWriteVec::new());
    message.add_fingerprint().expect("it fits");
    stage.client(path("192.0.2.1:4000"), &message.finish());
    let bytes = stage.answer();
    let answer = Message::from_bytes(&bytes).expect("a message with a right fingerprint");
    assert!(answer.has_attribute(Fingerprint::TYPE));
}

#[test]
fn a_server_without_relays_ignores_what_asks_for_them() {
    let config = Config {
        turn: None,
        ..crate::stage::config(crate::stage::limits())
    };
    let mut stage = Stage::with(config);
    stage.client(path("192.0.2.1:4000"), &request(ALLOCATE, &[&udp()]));
    assert!(stage.sent.is_empty());
    assert_eq!(stage.server.counters().ignored.total(), 1);
}
