//! What nobody may get: relays without the right credentials, ways into the network of the server, big answers to
//! small questions, and memory.

use hubmesh_turn::{Code, Drop, FiveTuple, Frame, PeerPolicy, Transport};
use stun_types::AddressFamily;
use stun_types::attribute::*;
use stun_types::message::*;
use turn_types::attribute::*;
use turn_types::message::*;

use crate::stage::{Client, START_S, Stage, at, code, config, limits, path, request, udp};

#[test]
fn credentials_that_are_over_forged_or_for_nobody_are_refused() {
    let mut stage = Stage::new();
    let mut refused = |mut client: Client| client.allocate(&mut stage).expect_err("refused");
    assert_eq!(
        refused(Client::until("192.0.2.1:1", "ada", START_S - 1)),
        401
    );
    assert_eq!(refused(Client::until("192.0.2.1:1", "ada", 0)), 401);
    let good = Client::new("192.0.2.1:1", "ada");
    for (username, password) in [
        (good.username.clone(), "guessed".into()),
        (format!("{}:eve", START_S + 300), good.password.clone()),
        (format!("{}:ada", START_S + 9_999), good.password.clone()),
        ("ada".into(), good.password.clone()),
        (format!("{}:", START_S + 300), good.password.clone()),
    ] {
        let forged = Client {
            username,
            password,
            ..good.clone()
        };
        assert_eq!(refused(forged), 401);
    }
    assert!(
        Client::new("192.0.2.1:1", "ada")
            .allocate(&mut stage)
            .is_ok()
    );
}

#[test]
fn nobody_uses_the_relay_of_another_user() {
    let mut stage = Stage::new();
    let mut ada = Client::new("192.0.2.1:4000", "ada");
    ada.allocate(&mut stage).expect("a relay");
    // At the same address: behind the same NAT, or forged.
    let mut eve = Client::new("192.0.2.1:4000", "eve");
    assert_eq!(eve.refresh(&mut stage, 0), Err(441));
    assert_eq!(eve.permit(&mut stage, &["192.0.2.9:1"]), Err(441));
    assert_eq!(eve.bind(&mut stage, 0x4000, "192.0.2.9:1"), Err(441));
    assert_eq!(eve.allocate(&mut stage), Err(437));
    let mut elsewhere = Client {
        path: path("192.0.2.1:4001"),
        ..ada.clone()
    };
    assert_eq!(elsewhere.refresh(&mut stage, 0), Err(437));
    assert_eq!(stage.open.len(), 1);
}

#[test]
fn a_nonce_of_another_client_or_of_long_ago_is_stale() {
    let mut stage = Stage::new();
    let mut ada = Client::new("192.0.2.1:4000", "ada");
    ada.allocate(&mut stage).expect("a relay");
    let mut bob = Client::new("192.0.2.2:4000", "bob");
    bob.nonce = ada.nonce.clone();
    let packet = bob.signed(ALLOCATE, &[&udp()], &[]);
    stage.client(bob.path, &packet);
    assert_eq!(code(&stage.answer()), 438);
    ada.refresh(&mut stage, 3_600).expect("more time");
    let kept = ada.signed(REFRESH, &[], &[]);
    stage.pass(700);
    stage.client(ada.path, &kept);
    assert_eq!(
        code(&stage.answer()),
        438,
        "nor is it of use to who kept a packet"
    );
}

#[test]
fn no_relay_leads_into_the_network_of_the_server() {
    let mut stage = Stage::new();
    let mut ada = Client::new("192.0.2.1:4000", "ada");
    ada.allocate(&mut stage).expect("a relay");
    let v6 = RequestedAddressFamily::new(stun_types::AddressFamily::IPV6);
    let mut bob = Client::new("192.0.2.2:4000", "bob");
    bob.allocate_with(&mut stage, &[&v6]).expect("a relay");
    let v4 = [
        "127.0.0.1:22",
        "10.0.0.1:80",
        "172.16.0.1:80",
        "192.168.0.1:80",
        "169.254.169.254:80",
        "100.64.0.1:80",
        "0.0.0.0:80",
        "224.0.0.1:80",
        "255.255.255.255:80",
        "203.0.113.5:8080",
        "203.0.113.5:3478",
    ];
    let v6 = [
        "[::1]:22",
        "[::]:80",
        "[::ffff:127.0.0.1]:22",
        "[::ffff:10.0.0.1]:80",
        "[::ffff:169.254.169.254]:80",
        "[::ffff:203.0.113.5]:8080",
        "[64:ff9b::10.0.0.1]:80",
        "[fe80::1]:80",
        "[fd00:ec2::254]:80",
        "[ff02::1]:80",
        "[2001:db8::5]:8080",
    ];
    for (client, peers) in [(&mut ada, &v4[..]), (&mut bob, &v6[..])] {
        for peer in peers {
            assert_eq!(client.permit(&mut stage, &[peer]), Err(403), "{peer}");
            assert_eq!(client.bind(&mut stage, 0x4000, peer), Err(403), "{peer}");
            assert!(client.send(&mut stage, peer, b"x").is_none(), "{peer}");
        }
    }
    assert_eq!(ada.permit(&mut stage, &["[::1]:22"]), Err(443));
    assert_eq!(bob.permit(&mut stage, &["127.0.0.1:22"]), Err(443));
}

#[test]
fn leave_for_another_relay_of_the_server_is_none_for_the_server_itself() {
    let mut stage = Stage::new();
    let mut ada = Client::new("192.0.2.1:4000", "ada");
    ada.allocate(&mut stage).expect("a relay");
    ada.permit(&mut stage, &["203.0.113.5:20001"])
        .expect("a relay may be there");
    let others = (20_000..20_100).filter(|port| stage.open.iter().all(|(_, open)| open != port));
    let ports: Vec<u16> = [22, 3478, 8080].into_iter().chain(others).collect();
    for port in &ports {
        let peer = format!("203.0.113.5:{port}");
        assert_eq!(ada.send(&mut stage, &peer, b"x"), None, "{peer}");
    }
    assert!(stage.sent.is_empty());
    assert_eq!(ports.len(), 102);
    assert_eq!(stage.server.counters().of(Drop::Forbidden).total(), 102);
}

#[test]
fn the_addresses_of_relays_are_the_server_s_own_whether_listed_or_not_and_whatever_block_is_allowed()
 {
    let mut config = config(limits());
    if let Some(turn) = &mut config.turn {
        turn.policy = PeerPolicy {
            allow: vec!["203.0.113.0/24".parse().expect("a block")],
            own: Vec::new(),
        };
    }
    let mut stage = Stage::with(config);
    let mut ada = Client::new("192.0.2.1:4000", "ada");
    ada.allocate(&mut stage).expect("a relay");
    assert_eq!(ada.permit(&mut stage, &["203.0.113.5:8080"]), Err(403));
    ada.permit(&mut stage, &["203.0.113.5:20001", "203.0.113.6:80"])
        .expect("another relay, and what is allowed");
    assert!(ada.send(&mut stage, "203.0.113.5:8080", b"x").is_none());
    assert!(ada.send(&mut stage, "203.0.113.6:80", b"x").is_some());
}

#[test]
fn what_the_operator_allows_is_reached() {
    let mut config = config(limits());
    if let Some(turn) = &mut config.turn {
        let allow = vec!["10.0.0.0/8".parse().expect("a block")];
        turn.policy = PeerPolicy {
            allow,
            ..turn.policy.clone()
        };
    }
    let mut stage = Stage::with(config);
    let mut ada = Client::new("192.0.2.1:4000", "ada");
    ada.allocate(&mut stage).expect("a relay");
    ada.permit(&mut stage, &["10.0.0.1:80"])
        .expect("it is allowed");
    assert!(ada.send(&mut stage, "10.0.0.1:80", b"x").is_some());
    assert_eq!(ada.permit(&mut stage, &["127.0.0.1:80"]), Err(403));
}

/// Bytes on the wire, with the headers of IP and UDP.
fn wire(path: &FiveTuple, bytes: usize) -> usize {
    bytes + if path.client.is_ipv4() { 28 } else { 48 }
}

/// All kinds of requests of somebody who has proved nothing, the shortest of each and longer ones.
fn unproved(stage: &mut Stage) -> Vec<Vec<u8>> {
    let strange: Vec<RawAttribute<'static>> = (0..6)
        .map(|number| RawAttribute::new_owned(AttributeType::new(0x7f00 + number), [].into()))
        .collect();
    let change = |flags| RawAttribute::new_owned(AttributeType::new(3), [0, 0, 0, flags].into());
    let mut all = Vec::new();
    for method in [
        BINDING,
        ALLOCATE,
        REFRESH,
        CREATE_PERMISSION,
        CHANNEL_BIND,
        SEND,
        DATA,
        Method::new(0xfff),
    ] {
        all.push(request(method, &[]));
        all.push(request(method, &[&udp()]));
        for flags in 0..8 {
            all.push(request(method, &[&change(flags)]));
        }
        for some in 1..=strange.len() {
            let some: Vec<&dyn AttributeWrite> =
                strange.iter().take(some).map(|one| one as _).collect();
            all.push(request(method, &some));
        }
        let mut marked = Message::builder_request(method, MessageWriteVec::new());
        marked.add_fingerprint().expect("it fits");
        all.push(marked.finish());
        for hollow in [
            Username::TYPE,
            Realm::TYPE,
            Nonce::TYPE,
            MessageIntegrity::TYPE,
        ] {
            let hollow = RawAttribute::new_owned(hollow, [].into());
            all.push(request(method, &[&hollow]));
        }
        all.push(request(method, &[&MessageIntegrity::new([0; 20])]));
        let mut forged = Client::new("192.0.2.66:1", "a");
        all.push(forged.signed(method, &[], &[]));
        forged.nonce = "x".into();
        all.push(forged.signed(method, &[], &[]));
        // With a good nonce, and the key of nobody.
        let _ = forged.ask(stage, ALLOCATE, &[], &[]);
        forged.password = "guessed".into();
        all.push(forged.signed(method, &[], &[]));
        all.push(Message::builder_indication(method, MessageWriteVec::new()).finish());
    }
    all.push(vec![0x40, 0, 0, 0]);
    all.push(vec![0; 20]);
    all
}

#[test]
fn no_answer_to_somebody_who_proved_nothing_is_more_than_one_and_a_half_times_the_question() {
    let mut stage = Stage::new();
    let questions = unproved(&mut stage);
    let (mut answers, mut most) = (0, 0.0_f64);
    for address in ["192.0.2.66:1", "[2001:db8::66]:1"] {
        let from = path(address);
        for question in &questions {
            stage.sent.clear();
            stage.client(from, question);
            assert!(stage.sent.len() <= 1);
            for (to, answer) in &stage.sent {
                assert_eq!(to.client, from.client);
                let factor = wire(to, answer.len()) as f64 / wire(&from, question.len()) as f64;
                assert!(factor <= 1.5, "{factor}: {question:?} got {answer:?}");
                most = most.max(factor);
                answers += 1;
            }
        }
    }
    assert!(
        answers > 100 && most > 1.2,
        "{answers} answers, {most} at most"
    );
    assert!(stage.open.is_empty());
}

#[test]
fn the_first_request_of_a_real_client_is_long_enough_for_its_challenge() {
    let mut stage = Stage::new();
    for address in ["192.0.2.66:1", "[2001:db8::66]:1"] {
        stage.client(path(address), &request(ALLOCATE, &[&udp()]));
        let bytes = stage.answer();
        assert_eq!(code(&bytes), 401);
        let challenge = Message::from_bytes(&bytes).expect("a message");
        assert!(challenge.has_attribute(Nonce::TYPE) && challenge.has_attribute(Realm::TYPE));
    }
}

#[test]
fn attributes_behind_the_signature_do_not_count() {
    let mut stage = Stage::new();
    let mut ada = Client::new("192.0.2.1:4000", "ada");
    ada.allocate(&mut stage).expect("a relay");
    let mut packet = ada.signed(CREATE_PERMISSION, &[], &["192.0.2.9:1"]);
    let transaction = Message::from_bytes(&packet)
        .expect("a message")
        .transaction_id();
    packet.extend(
        XorPeerAddress::new(at("192.0.2.10:1"), transaction)
            .to_raw()
            .to_bytes(),
    );
    let length = u16::try_from(packet.len() - 20).expect("short");
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    stage.client(ada.path, &packet);
    let answer = stage.answer();
    let answer = Message::from_bytes(&answer).expect("a message");
    assert!(answer.has_class(MessageClass::Success));
    assert!(ada.send(&mut stage, "192.0.2.9:1", b"x").is_some());
    assert!(ada.send(&mut stage, "192.0.2.10:1", b"x").is_none());
}

/// The frames that a client finds in its stream.
fn frames(mut stream: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    while let Frame::Packet { length, padded } = Frame::at(stream) {
        all.push(&stream[..length]);
        stream = &stream[padded..];
    }
    assert!(stream.is_empty(), "what is left is no frame");
    all
}

#[test]
fn no_data_is_so_long_that_a_stream_shows_a_frame_of_the_peer_s_own() {
    for address in ["192.0.2.9:1", "[2606:4700::9]:1"] {
        let mut stage = Stage::new();
        let mut ada = Client::new("192.0.2.1:4000", "ada");
        ada.path.transport = Transport::Stream;
        let family = RequestedAddressFamily::new(match at(address).is_ipv4() {
            true => AddressFamily::IPV4,
            false => AddressFamily::IPV6,
        });
        let relay = ada.allocate_with(&mut stage, &[&family]).expect("a relay");
        ada.permit(&mut stage, &[address]).expect("leave");
        // Frames all through, wherever the length would wrap.
        let evil = [0x40, 1, 0, 4, 0xba, 0xd0, 0xba, 0xd0].repeat(8_192);
        for by_channel in [false, true] {
            for length in [60_000, 65_400, 65_500, 65_501, 65_507, 65_517, 65_535] {
                let got = stage.peer(relay.port(), address, &evil[..length]);
                assert_eq!(got.is_some(), length <= 65_500, "{length}");
                let Some(got) = got else { continue };
                let declared = usize::from(u16::from_be_bytes([got[2], got[3]]));
                let header = if by_channel { 4 } else { 20 };
                assert_eq!(got.len(), (header + declared).next_multiple_of(4));
                assert!(got.len() > length);
            }
            ada.bind(&mut stage, 0x4000, address).expect("a channel");
        }
        assert_eq!(stage.server.counters().of(Drop::TooLong).total(), 8);
        let short = stage.peer(relay.port(), address, &evil[..800]);
        assert_eq!(frames(&short.expect("it passes")).len(), 1);
    }
}

#[test]
fn a_client_sends_no_more_than_a_packet_carries_and_no_request_near_64_kib_is_read() {
    let mut stage = Stage::new();
    let mut ada = Client::new("192.0.2.1:4000", "ada");
    ada.allocate(&mut stage).expect("a relay");
    ada.bind(&mut stage, 0x4000, "192.0.2.9:1")
        .expect("a channel");
    for (length, passes) in [(65_500, true), (65_501, false), (65_503, false)] {
        let sent = ada.channel(&mut stage, 0x4000, &vec![7; length]);
        assert_eq!(sent.is_some(), passes, "{length}");
    }
    assert_eq!(stage.server.counters().of(Drop::TooLong).total(), 2);
    for length in [65_504, 65_535] {
        assert!(ada.channel(&mut stage, 0x4000, &vec![7; length]).is_none());
    }
    assert_eq!(stage.server.counters().ignored.total(), 2);
    for filling in [65_300, 65_400, 65_420, 65_424, 65_440, 65_480] {
        let filling = RawAttribute::new_owned(AttributeType::new(0xc000), vec![0; filling].into());
        let packet = ada.signed(REFRESH, &[&filling], &[]);
        stage.client(ada.path, &packet);
        let answered = stage.sent.pop().is_some();
        assert_eq!(answered, packet.len() <= 65_507, "{}", packet.len());
    }
}

#[test]
fn of_a_hundred_thousand_strangers_nothing_is_kept() {
    let mut stage = Stage::new();
    let packet = request(ALLOCATE, &[&udp()]);
    for number in 0..100_000_u32 {
        let mut from = path("192.0.2.1:4000");
        from.client
            .set_ip(std::net::Ipv4Addr::from(0x0b00_0000 + number).into());
        stage.client(from, &packet);
        assert_eq!(stage.sent.drain(..).count(), 1);
    }
    assert_eq!(
        stage.server.counters().of(Code::Unauthorized).total(),
        100_000
    );
    assert_eq!(stage.server.counters().open(), 0);
    assert!(stage.server.poll_timeout().is_none());
}
