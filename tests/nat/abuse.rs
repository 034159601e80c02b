//! The hub's own TURN under attack, over real sockets.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use stun_types::attribute::*;
use stun_types::message::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use turn_types::attribute::{Lifetime, RequestedTransport};
use turn_types::message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, REFRESH};

use crate::client::{Client, EXPIRY};
use crate::hub_process::{HubProcess, LIMIT, eventually};
use crate::stage::{SECRET, client, hub, ice_servers, metric, place, urls};

/// The resident memory of a hub, in kilobytes.
fn resident(hub: &HubProcess) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", hub.pid())).expect("it runs");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("a line");
    line.split_whitespace()
        .nth(1)
        .and_then(|kb| kb.parse().ok())
        .expect("a number")
}

/// Requests pages one after the other until `done`. Returns their number and the time of the slowest. Each must arrive
/// in time.
async fn pages_until(hub: &HubProcess, done: impl Fn() -> bool) -> (u32, Duration) {
    let (mut asked, mut slowest) = (0, Duration::ZERO);
    while !done() {
        let began = Instant::now();
        assert_eq!(hub.http_get("/health").await.status, 200);
        slowest = slowest.max(began.elapsed());
        asked += 1;
    }
    (asked, slowest)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_reaches_nothing_of_the_hub_s_own_network() {
    let (address, builder) = hub();
    let hub = builder.start().await;
    let mut ada = client(Ipv4Addr::LOCALHOST, address, "ada", EXPIRY);
    ada.allocate().expect("a relay");
    let itself = hub.addr.to_string();
    for peer in [
        "127.0.0.1:22",
        "10.0.0.1:80",
        "169.254.169.254:80",
        "192.168.0.1:80",
        "0.0.0.0:80",
        "224.0.0.1:80",
        &itself,
        &format!("{address}:3478"),
    ] {
        assert_eq!(ada.permit(peer), Err(403), "{peer}");
    }
    assert_eq!(ada.permit("[::1]:22"), Err(443));
    assert_eq!(ada.permit("[::ffff:127.0.0.1]:22"), Err(443));
    assert_eq!(ada.permit("1.1.1.1:80"), Ok(()));
    let mut expired = client(Ipv4Addr::LOCALHOST, address, "ada", 1_000);
    assert_eq!(expired.allocate(), Err(401));
    let mut eve = client(Ipv4Addr::LOCALHOST, address, "eve", EXPIRY);
    eve.username = ada.username.clone();
    assert_eq!(eve.allocate(), Err(401));
    assert_eq!(
        metric(&hub, r#"hubmesh_turn_errors_total{code="403"}"#).await,
        8
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_of_ipv6_reaches_nothing_of_the_hub_s_own_network_in_any_form() {
    let hub = HubProcess::builder()
        .env("HOST", "::1")
        .env("TURN_PORT", "0")
        .env("TURN_SECRET", SECRET)
        .start()
        .await;
    let at = place(&urls(&ice_servers(&hub, "ada").await, "turn:")[0]);
    let mut ada = Client::new(Ipv6Addr::LOCALHOST, at, SECRET, ("ada", EXPIRY));
    ada.allocate_v6().expect("a relay");
    let itself = hub.addr.to_string();
    let refused = [
        "[::1]:22",
        "[::]:80",
        "[::ffff:127.0.0.1]:22",
        "[::ffff:10.0.0.1]:80",
        "[::ffff:169.254.169.254]:80",
        "[::127.0.0.1]:22",
        "[64:ff9b::127.0.0.1]:22",
        "[64:ff9b::10.0.0.1]:80",
        "[64:ff9b::169.254.169.254]:80",
        "[2002:7f00:1::1]:22",
        "[2001::1]:80",
        "[fe80::1]:80",
        "[fd00:ec2::254]:80",
        "[fc00::1]:80",
        "[ff02::1]:80",
        &itself,
    ];
    for (peer, number) in refused.into_iter().zip(0x4000..) {
        assert_eq!(ada.permit(peer), Err(403), "{peer}");
        let to = peer.parse().expect("an address");
        assert_eq!(ada.bind(number, to), Err(403), "a channel to {peer}");
    }
    assert_eq!(ada.permit("[2606:4700::1111]:80"), Ok(()));
    let counted = metric(&hub, r#"hubmesh_turn_errors_total{code="403"}"#).await;
    assert_eq!(counted, 2 * refused.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_stranger_is_answered_with_more_than_one_and_a_half_times_what_it_sent() {
    let (address, builder) = hub();
    let _hub = builder.start().await;
    let udp = RequestedTransport::new(RequestedTransport::UDP);
    let name = Username::new("4102444800:ada").expect("a name");
    let realm = Realm::new("turn").expect("a realm");
    let nonce = Nonce::new("AAAAAAAAAAAAAAAA").expect("a nonce");
    let key = LongTermKeyCredentials::new("a".into(), "b".into(), "turn".into());
    let key = key.make_key(IntegrityAlgorithm::Sha1);
    let parts: [&[&dyn AttributeWrite]; 4] = [
        &[],
        &[&udp],
        &[&name, &realm],
        &[&udp, &name, &realm, &nonce],
    ];
    let mut packets: Vec<Vec<u8>> = Vec::new();
    for method in [BINDING, ALLOCATE, REFRESH, CREATE_PERMISSION, CHANNEL_BIND] {
        for attributes in parts {
            for signed in [false, true] {
                let mut message = Message::builder_request(method, MessageWriteVec::new());
                for attribute in attributes {
                    message.push_attribute_unchecked(*attribute);
                }
                if signed {
                    let how = IntegrityAlgorithm::Sha1;
                    message
                        .add_message_integrity_with_key(&key, how)
                        .expect("it fits");
                }
                packets.push(message.finish());
            }
        }
    }
    // One packet has an attribute that the server must understand and does not know; the other has a wrong length.
    packets.push(
        [
            &BINDING_PACKET[..2],
            &[0, 4],
            &BINDING_PACKET[4..],
            &[0x7f, 0xfe, 0, 0],
        ]
        .concat(),
    );
    packets.push([&BINDING_PACKET[..2], &[0, 8], &BINDING_PACKET[4..]].concat());
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let wait = Duration::from_millis(200);
    socket.set_read_timeout(Some(wait)).expect("a time");
    let (mut most, mut answered) = (0.0_f64, 0);
    for packet in &packets {
        socket.send_to(packet, (address, 3478)).expect("it is sent");
        let mut answer = [0; 2048];
        if let Ok(length) = socket.recv(&mut answer) {
            answered += 1;
            let headers = 28;
            let factor = (headers + length) as f64 / (headers + packet.len()) as f64;
            assert!(factor <= 1.5, "{factor} for {packet:02x?}");
            most = most.max(factor);
        }
    }
    let all = packets.len();
    println!("{answered} of {all} kinds answered, {most:.2} times as long at most");
    assert!(answered > 10, "{answered} of {all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_that_run_out_are_a_refusal_and_free_again_when_relays_end() {
    let (address, builder) = hub();
    let limits = [
        ("TURN_RELAY_PORTS", "20000-20003"),
        ("TURN_MAX_ALLOCATIONS", "4"),
    ];
    let builder = limits
        .iter()
        .fold(builder, |builder, (name, value)| builder.env(name, *value));
    let hub = builder.start().await;
    let at = |number: u8| {
        client(
            Ipv4Addr::new(127, 0, 0, number),
            address,
            &number.to_string(),
            EXPIRY,
        )
    };
    let mut clients: Vec<Client> = (1..=5).map(at).collect();
    let got: Vec<Option<u16>> = clients
        .iter_mut()
        .map(|client| client.allocate().err())
        .collect();
    assert_eq!(got, [None, None, None, None, Some(508)]);
    let end = Lifetime::new(0);
    clients[0].ask(REFRESH, &[&end], None).expect("its end");
    assert!(clients[4].allocate().is_ok());
    assert_eq!(metric(&hub, "hubmesh_turn_allocations_open").await, 4);
    let servers = ice_servers(&hub, "ada").await;
    assert!(
        urls(&servers, "turn:").is_empty(),
        "a full hub offers no relay"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_relays_stand_and_end() {
    const RELAYS: u32 = 10_000;
    hubmesh_cli::open_files::allow(RELAYS as usize).expect("files may be opened");
    let (address, builder) = hub();
    let limits = [
        ("TURN_RELAY_PORTS", "10000-29999"),
        ("TURN_MAX_ALLOCATIONS", "12000"),
    ];
    let builder = limits
        .iter()
        .fold(builder, |builder, (name, value)| builder.env(name, *value));
    let hub = builder.start().await;
    let before = resident(&hub);
    let clients = tokio::task::spawn_blocking(move || {
        let mut clients = Vec::new();
        for number in 0..RELAYS {
            // The clients use 20 addresses: one address may have at most as many relays as are left for all others.
            let from = Ipv4Addr::from(0x7f40_0000 + number % 20 + 1);
            let mut one = client(from, address, &number.to_string(), EXPIRY);
            one.allocate()
                .unwrap_or_else(|code| panic!("{number}: {code}"));
            clients.push(one);
        }
        clients
    });
    let (asked, slowest) = pages_until(&hub, || clients.is_finished()).await;
    let clients = clients.await.expect("they have relays");
    println!("{asked} pages meanwhile, the slowest in {slowest:?}");
    assert_eq!(
        metric(&hub, "hubmesh_turn_allocations_open").await,
        u64::from(RELAYS)
    );
    let each = (resident(&hub).saturating_sub(before)) * 1024 / u64::from(RELAYS);
    println!("{each} bytes of memory a relay");
    assert!(each < 8_000, "{each} bytes a relay");
    assert_eq!(hub.http_get("/health").await.status, 200);
    drop(clients);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_strangers_take_no_memory_and_no_time_of_peers() {
    let (address, builder) = hub();
    let hub = builder.start().await;
    // Each request has its own source address, and each is answered. They are sent in windows of 100, so that none is
    // lost on the way.
    let flood = move |from: u32, count: u32| {
        let udp = RequestedTransport::new(RequestedTransport::UDP);
        let mut message = Message::builder_request(ALLOCATE, MessageWriteVec::new());
        message.push_attribute_unchecked(&udp);
        let packet = message.finish();
        let mut answers = 0;
        for window in (from..from + count).step_by(100) {
            let sockets: Vec<UdpSocket> = (window..window + 100)
                .map(|number| {
                    let source = Ipv4Addr::from(0x7f80_0000 + number);
                    let socket = UdpSocket::bind(SocketAddrV4::new(source, 4_000)).expect("a port");
                    socket
                        .set_read_timeout(Some(Duration::from_secs(5)))
                        .expect("a time");
                    socket
                        .send_to(&packet, (address, 3478))
                        .expect("it is sent");
                    socket
                })
                .collect();
            let answered = |socket: &UdpSocket| socket.recv(&mut [0; 512]).is_ok();
            answers += sockets.iter().filter(|socket| answered(socket)).count();
        }
        answers
    };
    // The first 1,000 requests make the server allocate memory that it needs anyway. It is not counted.
    let first = tokio::task::spawn_blocking(move || flood(1_000, 1_000));
    assert_eq!(first.await.expect("sent"), 1_000);
    let before = resident(&hub);
    let flooding = tokio::task::spawn_blocking(move || flood(2_000, 100_000));
    let (asked, slowest) = pages_until(&hub, || flooding.is_finished()).await;
    assert_eq!(flooding.await.expect("sent"), 100_000);
    let refused = r#"hubmesh_turn_errors_total{code="401"}"#;
    assert_eq!(metric(&hub, refused).await, 101_000);
    let grown = resident(&hub).saturating_sub(before);
    println!(
        "{grown} kB more after 100,000 strangers; {asked} pages meanwhile, the slowest in {slowest:?}"
    );
    assert!(grown < 2_048, "{grown} kB");
    assert_eq!(metric(&hub, "hubmesh_turn_allocations_total").await, 0);
}

const BINDING_PACKET: &[u8] = b"\x00\x01\x00\x00\x21\x12\xa4\x42twelve bytes";

/// Whether a Binding request on this connection is answered. If not, the connection is closed.
async fn is_answered(stream: &mut TcpStream) -> bool {
    let asking = async {
        let mut answer = [0; 512];
        let sent = stream.write_all(BINDING_PACKET).await;
        sent.is_ok() && matches!(stream.read(&mut answer).await, Ok(1..))
    };
    timeout(LIMIT, asking).await.expect("an answer or an end")
}

#[tokio::test]
async fn a_connection_that_opens_no_relay_is_closed_in_time_whatever_it_asks() {
    let (address, builder) = hub();
    let hub = builder.env("HEADER_TIMEOUT_MS", "500").start().await;
    let mut stream = TcpStream::connect((address, 3478)).await.expect("open");
    let asking = async { while is_answered(&mut stream).await {} };
    timeout(LIMIT, asking).await.expect("it is closed");
    let late = r#"hubmesh_turn_connections_refused_total{reason="late"}"#;
    assert_eq!(metric(&hub, late).await, 1);
}

#[tokio::test]
async fn one_address_has_as_many_connections_as_are_left_for_all_others() {
    let (address, builder) = hub();
    let hub = builder.env("TURN_MAX_CONNECTIONS", "2").start().await;
    let mut first = TcpStream::connect((address, 3478)).await.expect("open");
    assert!(is_answered(&mut first).await);
    let mut second = TcpStream::connect((address, 3478)).await.expect("open");
    assert!(!is_answered(&mut second).await);
    assert!(is_answered(&mut first).await);
    let refused = |why: &str| format!("hubmesh_turn_connections_refused_total{{reason=\"{why}\"}}");
    assert_eq!(metric(&hub, &refused("address-full")).await, 1);
    first.write_all(&[0xff; 4]).await.expect("it is sent");
    assert!(!is_answered(&mut first).await);
    eventually("it is counted", async || {
        metric(&hub, &refused("malformed")).await == 1
    })
    .await;
}
