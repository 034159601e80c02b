//! Honest proxies, lying clients, and anything at all.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

/// The client's address, from a socket, its headers in order, and the proxies that are trusted.
fn client(socket: &str, headers: &[(&'static str, &str)], trusted: &str) -> String {
    let socket = SocketAddr::new(socket.parse().expect("an address"), 4000);
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header's value");
        map.append(HeaderName::from_static(name), value);
    }
    client_ip(socket, &map, &trusted.parse().expect("a list")).to_string()
}

fn forwarded(list: &str, trusted: &str) -> String {
    client("127.0.0.1", &[("x-forwarded-for", list)], trusted)
}

#[test]
fn a_client_without_a_proxy_cannot_choose_its_address() {
    let headers = [
        ("x-forwarded-for", "192.0.2.1"),
        ("fly-client-ip", "192.0.2.2"),
    ];
    for trusted in ["", "10.0.0.0/8", "fly", "192.0.2.0/24"] {
        assert_eq!(client("198.51.100.9", &headers, trusted), "198.51.100.9");
    }
}

#[test]
fn behind_a_trusted_proxy_the_right_most_untrusted_hop_counts() {
    let trusted = "127.0.0.1,10.0.0.0/8";
    assert_eq!(forwarded("198.51.100.9", trusted), "198.51.100.9");
    assert_eq!(forwarded("198.51.100.9, 10.1.2.3", trusted), "198.51.100.9");
    for spoofed in ["192.0.2.1", "10.9.9.9", "127.0.0.1", "::1", "rubbish", ""] {
        let list = format!("{spoofed}, 198.51.100.9, 10.1.2.3");
        assert_eq!(forwarded(&list, trusted), "198.51.100.9", "{list}");
    }
}

#[test]
fn if_every_hop_is_trusted_the_left_most_is_the_client() {
    let trusted = "127.0.0.0/8,10.0.0.0/8";
    assert_eq!(forwarded("10.0.0.1,10.0.0.2,10.0.0.3", trusted), "10.0.0.1");
}

#[test]
fn a_trusted_proxy_that_names_nobody_is_the_client() {
    assert_eq!(client("127.0.0.1", &[], "127.0.0.1"), "127.0.0.1");
    assert_eq!(forwarded("", "127.0.0.1"), "127.0.0.1");
}

#[test]
fn several_headers_are_one_list_in_their_order() {
    let headers = [
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-for", "198.51.100.9, 10.0.0.1"),
        ("x-forwarded-for", "10.0.0.2"),
    ];
    let seen = client("127.0.0.1", &headers, "127.0.0.1,10.0.0.0/8");
    assert_eq!(seen, "198.51.100.9");
}

#[test]
fn ports_and_brackets_are_read_past() {
    for (entry, seen) in [
        ("198.51.100.9:1234", "198.51.100.9"),
        ("2001:db8::9", "2001:db8::9"),
        ("[2001:db8::9]", "2001:db8::9"),
        ("[2001:db8::9]:443", "2001:db8::9"),
        (" \t2001:db8::9 ", "2001:db8::9"),
        ("::ffff:198.51.100.9", "198.51.100.9"),
        ("[::ffff:198.51.100.9]:80", "198.51.100.9"),
    ] {
        assert_eq!(forwarded(entry, "127.0.0.1"), seen, "{entry}");
    }
}

#[test]
fn rubbish_ends_the_walk_at_the_last_good_hop() {
    let trusted = "127.0.0.1,10.0.0.0/8";
    for rubbish in [
        "unknown",
        "_hidden",
        "198.51.100",
        "198.51.100.9:99999",
        "[198.51.100.9]",
        "[2001:db8::9",
        "fe80::1%eth0",
        "\"198.51.100.9\"",
        "",
        "\u{e9}",
    ] {
        let list = format!("192.0.2.1, {rubbish}, 10.0.0.1");
        assert_eq!(forwarded(&list, trusted), "10.0.0.1", "{list}");
        assert_eq!(forwarded(rubbish, trusted), "127.0.0.1", "{rubbish}");
    }
}

#[test]
fn a_mapped_socket_address_is_an_ipv4_address() {
    let mapped = "::ffff:127.0.0.1";
    let headers = [("x-forwarded-for", "198.51.100.9")];
    assert_eq!(client(mapped, &headers, ""), "127.0.0.1");
    assert_eq!(client(mapped, &headers, "127.0.0.1"), "198.51.100.9");
}

/// The headers as Fly sends them: the client's address is appended to the client's own list, then an address of the
/// app.
fn through_fly(spoofed: &str, client: &str) -> String {
    format!("{spoofed}, {client}, 66.241.124.230")
}

#[test]
fn behind_fly_its_own_header_counts_and_the_list_does_not() {
    for socket in ["172.16.3.2", "::ffff:172.19.0.1", "fdaa:0:1::3"] {
        let list = through_fly("192.0.2.1", "198.51.100.9");
        let headers = [
            ("x-forwarded-for", list.as_str()),
            ("fly-client-ip", "198.51.100.9"),
        ];
        assert_eq!(client(socket, &headers, "fly"), "198.51.100.9");
    }
}

#[test]
fn flys_header_counts_from_flys_proxy_alone() {
    let headers = [
        ("x-forwarded-for", "198.51.100.9"),
        ("fly-client-ip", "192.0.2.1"),
    ];
    let behind_nginx = client("127.0.0.1", &headers, "127.0.0.1,fly");
    assert_eq!(behind_nginx, "198.51.100.9");
    // The block is trusted, but no setting says that it is Fly's.
    let elsewhere = client("172.16.3.2", &headers, "172.16.0.0/12");
    assert_eq!(elsewhere, "198.51.100.9");
}

#[test]
fn from_flys_network_but_not_through_its_proxy_the_socket_is_the_client() {
    let list = [("x-forwarded-for", "192.0.2.1")];
    assert_eq!(client("fdaa:0:1::3", &list, "fly"), "fdaa:0:1::3");
    for odd in [
        [
            ("fly-client-ip", "192.0.2.1"),
            ("fly-client-ip", "192.0.2.2"),
        ],
        [
            ("fly-client-ip", "nobody"),
            ("x-forwarded-for", "192.0.2.1"),
        ],
    ] {
        assert_eq!(client("172.16.3.2", &odd, "fly"), "172.16.3.2");
    }
}

#[test]
fn a_trusted_proxy_in_front_of_fly_is_seen_through() {
    let list = through_fly("192.0.2.1, 198.51.100.9", "203.0.113.7");
    let headers = [
        ("x-forwarded-for", list.as_str()),
        ("fly-client-ip", "203.0.113.7"),
    ];
    let seen = client("172.16.3.2", &headers, "fly,203.0.113.0/24");
    assert_eq!(seen, "198.51.100.9");
    // An address that is not trusted is the client's.
    assert_eq!(client("172.16.3.2", &headers, "fly"), "203.0.113.7");
    // A list without the address of the header proves nothing.
    let without = [
        ("x-forwarded-for", "192.0.2.1, 66.241.124.230"),
        ("fly-client-ip", "203.0.113.7"),
    ];
    let seen = client("172.16.3.2", &without, "fly,203.0.113.0/24");
    assert_eq!(seen, "203.0.113.7");
}

/// Entries of which some are addresses, and bytes without a meaning.
fn any_headers() -> impl Strategy<Value = HeaderMap> {
    let entry = prop_oneof![
        any::<std::net::IpAddr>().prop_map(|ip| ip.to_string()),
        any::<SocketAddr>().prop_map(|socket| socket.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|ip| format!("[{ip}]")),
        "[ -~]{0,20}",
    ];
    let list = proptest::collection::vec(entry, 0..5).prop_map(|list| list.join(",").into_bytes());
    let value = prop_oneof![4 => list, 1 => proptest::collection::vec(any::<u8>(), 0..40)];
    let header = (any::<bool>(), value);
    proptest::collection::vec(header, 0..5).prop_map(|headers| {
        let mut map = HeaderMap::new();
        for (fly, value) in headers {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                map.append(if fly { FLY_CLIENT } else { FORWARDED_FOR }, value);
            }
        }
        map
    })
}

proptest! {
    #[test]
    fn an_untrusted_socket_is_its_own_client_whatever_the_headers(
        socket: SocketAddr,
        headers in any_headers(),
        blocks in proptest::collection::vec((any::<std::net::IpAddr>(), 1u8..=32), 0..4),
        fly: bool,
    ) {
        let mut list: Vec<String> = blocks
            .iter()
            .filter(|(ip, _)| *ip == ip.to_canonical())
            .map(|(ip, bits)| format!("{ip}/{bits}"))
            .collect();
        list.extend(fly.then(|| "fly".to_owned()));
        let trusted: TrustedProxies = list.join(",").parse().expect("a list");
        let own = socket.ip().to_canonical();
        let seen = client_ip(socket, &headers, &trusted);
        if !trusted.trusts(own) && !trusted.is_fly(own) {
            prop_assert_eq!(seen, own);
        }
        prop_assert_eq!(seen, seen.to_canonical());
    }

    #[test]
    fn a_client_cannot_move_the_entry_that_a_trusted_proxy_appends(
        headers in any_headers(),
        real: std::net::Ipv4Addr,
    ) {
        prop_assume!(!real.is_loopback());
        let mut headers = headers;
        let appended = HeaderValue::from_str(&real.to_string()).expect("digits");
        headers.append(FORWARDED_FOR, appended);
        let trusted = "127.0.0.0/8".parse().expect("a list");
        let socket = SocketAddr::from(([127, 0, 0, 1], 4000));
        prop_assert_eq!(client_ip(socket, &headers, &trusted), IpAddr::V4(real));
    }
}
