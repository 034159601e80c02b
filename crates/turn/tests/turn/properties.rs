//! Random histories in virtual time, beside a model of who may send to whom.

use hubmesh_turn::Transport;
use proptest::prelude::*;
use stun_types::attribute::{AttributeType, AttributeWrite, RawAttribute};
use stun_types::message::Method;

use crate::model::{CHANNELS, PEERS, Step, play};
use crate::stage::{Client, Stage, path, request};

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..3_usize;
    let peer = || 0..PEERS.len();
    prop_oneof![
        2 => (0..400_u64).prop_map(Step::Pass),
        2 => client().prop_map(Step::Allocate),
        2 => (client(), prop_oneof![Just(0), 1..4_000_u32]).prop_map(|(c, s)| Step::Refresh(c, s)),
        3 => (client(), peer()).prop_map(|(c, p)| Step::Permit(c, p)),
        3 => (client(), CHANNELS, peer()).prop_map(|(c, n, p)| Step::Bind(c, n, p)),
        4 => (client(), peer()).prop_map(|(c, p)| Step::Send(c, p)),
        4 => (client(), CHANNELS).prop_map(|(c, n)| Step::Channel(c, n)),
        4 => (client(), peer()).prop_map(|(c, p)| Step::Peer(c, p)),
        1 => (client(), prop::collection::vec(any::<u8>(), 0..80)).prop_map(|(c, b)| Step::Garbage(c, b)),
        1 => (client(), any::<usize>(), any::<u8>()).prop_map(|(c, i, x)| Step::Twist(c, i, x)),
    ]
}

/// Attributes that the server reads, and some that it does not.
const KINDS: [u16; 24] = [
    0x0001, 0x0003, 0x0006, 0x0008, 0x0009, 0x000a, 0x000c, 0x000d, 0x0010, 0x0012, 0x0013, 0x0014,
    0x0015, 0x0016, 0x0017, 0x0018, 0x0019, 0x001a, 0x001c, 0x0020, 0x0022, 0x7ffe, 0x8000, 0x8028,
];

/// What ends a message or says who signs: a second one of these is another message.
const OF_SIGNATURES: [u16; 6] = [0x0006, 0x0008, 0x0014, 0x0015, 0x001c, 0x8028];

/// Any type, length and bytes; lengths that some attribute has, and a few near 64 KiB, more often.
fn attribute() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let kind = prop_oneof![9 => prop::sample::select(&KINDS[..]), 1 => any::<u16>()];
    let length = prop_oneof![
        6 => prop::sample::select(&[0_usize, 1, 2, 3, 4, 5, 8, 12, 20, 32][..]),
        3 => 0..64_usize,
        1 => 65_300..65_500_usize,
    ];
    let value = (length, any::<[u8; 24]>())
        .prop_map(|(length, bytes)| bytes.into_iter().cycle().take(length).collect());
    (kind, value)
}

fn method() -> impl Strategy<Value = u16> {
    prop_oneof![9 => prop::sample::select(&[1_u16, 3, 4, 6, 7, 8, 9][..]), 1 => 0..0xfff_u16]
}

/// A message with the cookie and its true length.
fn message(class: u16, method: u16, attributes: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let bits = (class & 1) << 4 | (class & 2) << 7;
    let kind = (method & 0xf80) << 2 | (method & 0x70) << 1 | method & 0xf | bits;
    let mut bytes = [
        &kind.to_be_bytes()[..],
        &[0, 0, 0x21, 0x12, 0xa4, 0x42],
        &[7; 12],
    ]
    .concat();
    for (kind, value) in attributes {
        let length = u16::try_from(value.len()).expect("short");
        bytes.extend(kind.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    // More than 64 KiB wrap, as a sender's own sum would.
    let length = (bytes.len() - 20) as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    bytes
}

#[test]
fn the_messages_of_these_tests_are_read_as_such() {
    let mut stage = Stage::new();
    let allocate = message(0, 3, &[(0x0019, vec![17, 0, 0, 0])]);
    stage.client(path("192.0.2.1:4000"), &allocate);
    assert_eq!(crate::stage::code(&stage.answer()), 401);
    assert_eq!(message(0, 1, &[])[..8], request(Method::new(1), &[])[..8]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_passes_but_what_the_model_lets_pass(steps in prop::collection::vec(step(), 1..120)) {
        play(steps);
    }

    #[test]
    fn no_bytes_at_all_make_the_server_panic(
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..20),
    ) {
        let mut stage = Stage::new();
        let from = crate::stage::path("192.0.2.1:4000");
        for packet in packets {
            prop_assert!(stage.client(from, &packet).is_none());
        }
    }

    #[test]
    fn no_attributes_make_the_server_panic_or_a_stranger_more_than_it_is(
        messages in prop::collection::vec(
            (0..4_u16, method(), prop::collection::vec(attribute(), 0..6)),
            1..10,
        ),
        by_stream: bool,
    ) {
        let mut stage = Stage::new();
        let mut from = path("192.0.2.66:4000");
        if by_stream {
            from.transport = Transport::Stream;
        }
        for (class, method, attributes) in messages {
            let packet = message(class, method, &attributes);
            prop_assert!(stage.client(from, &packet).is_none());
            prop_assert!(stage.open.is_empty());
            prop_assert!(stage.sent.len() <= 1);
            for (_, answer) in stage.sent.drain(..) {
                prop_assert!(by_stream || (answer.len() + 28) * 2 <= (packet.len() + 28) * 3);
            }
        }
    }

    #[test]
    fn no_attributes_that_are_signed_make_the_server_panic_and_each_request_is_answered_once(
        requests in prop::collection::vec(
            (method(), prop::collection::vec(attribute(), 0..4)),
            1..10,
        ),
    ) {
        let mut stage = Stage::new();
        let mut ada = Client::new("192.0.2.1:4000", "ada");
        ada.allocate(&mut stage).expect("a relay");
        for (method, attributes) in requests {
            let raws: Vec<RawAttribute<'static>> = attributes
                .into_iter()
                .filter(|(kind, value)| !OF_SIGNATURES.contains(kind) && value.len() < 65_300)
                .map(|(kind, value)| RawAttribute::new_owned(AttributeType::new(kind), value.into()))
                .collect();
            let all: Vec<&dyn AttributeWrite> = raws.iter().map(|raw| raw as _).collect();
            let packet = ada.signed(Method::new(method), &all, &[]);
            prop_assert!(stage.client(ada.path, &packet).is_none());
            let is_known = [1, 3, 4, 8, 9].contains(&method);
            prop_assert_eq!(stage.sent.len(), usize::from(is_known));
            stage.sent.clear();
            prop_assert!(stage.open.len() <= 1);
        }
    }
}
