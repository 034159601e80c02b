//! The STUN and TURN servers of other hubs that clients may be told of.
//!
//! A hub that names a server can make every client of this hub call it. So its address must be one that browsers
//! accept, at a port that such servers use, and, as with the addresses of hubs ([`super::super::advertised`]), not
//! nearer than the hub that names it. A name is looked up here; the owner of the name decides whether clients get the
//! same address.

use std::net::SocketAddr;
use std::time::Duration;

use hubmesh_core::reach::Reach;
use tokio::net::lookup_host;
use tokio::time::timeout;
use url::Host;

use super::message::MOST_URLS;
use crate::config::IceUrl;
use crate::mesh::advertised::may_be_told;

/// The longest address.
const LONGEST_URL: usize = 256;
/// The longest time for looking up a name.
const LOOK_UP: Duration = Duration::from_secs(3);
/// The lowest port that is not one of well-known services.
const FIRST_FREE_PORT: u16 = 1_024;
/// Lower ports that TURN servers use, because firewalls let them through.
const WEB: [u16; 2] = [80, 443];

/// Why none of a hub's addresses is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(in crate::mesh) enum NotAllowed {
    /// There are too many addresses, or one is malformed.
    #[error("no list of STUN and TURN servers")]
    Form,
    /// A port belongs to other services.
    #[error("a port of another service")]
    Port,
    /// An address is nearer than the hub that named it.
    #[error("the hub that told of it is too far away to tell of such an address")]
    TooNear,
    /// A name has no address.
    #[error("a name without an address")]
    Unknown,
}

impl NotAllowed {
    /// The label in metrics.
    pub(in crate::mesh) const fn label(self) -> &'static str {
        match self {
            NotAllowed::Form => "bad-address",
            NotAllowed::Port => "bad-port",
            NotAllowed::TooNear => "address-too-near",
            NotAllowed::Unknown => "unknown-name",
        }
    }
}

/// All of these addresses, if a hub at this reach may name each of them.
pub(in crate::mesh) async fn check(
    urls: &[String],
    told_by: Reach,
) -> Result<Vec<IceUrl>, NotAllowed> {
    if urls.len() > MOST_URLS {
        return Err(NotAllowed::Form);
    }
    let mut all = Vec::with_capacity(urls.len());
    for text in urls {
        if text.len() > LONGEST_URL {
            return Err(NotAllowed::Form);
        }
        let url: IceUrl = text.parse().map_err(|_| NotAllowed::Form)?;
        let (host, port) = url.place().ok_or(NotAllowed::Form)?;
        if port < FIRST_FREE_PORT && !WEB.contains(&port) {
            return Err(NotAllowed::Port);
        }
        for address in addresses(host, port).await? {
            if !may_be_told(Reach::of(address.ip()), told_by) {
                return Err(NotAllowed::TooNear);
            }
        }
        all.push(url);
    }
    Ok(all)
}

async fn addresses(host: Host, port: u16) -> Result<Vec<SocketAddr>, NotAllowed> {
    let found: Vec<SocketAddr> = match host {
        Host::Ipv4(ip) => vec![(ip, port).into()],
        Host::Ipv6(ip) => vec![(ip, port).into()],
        Host::Domain(name) => {
            let found = timeout(LOOK_UP, lookup_host((name.as_str(), port))).await;
            let found = found.map_err(|_| NotAllowed::Unknown)?;
            found.map_err(|_| NotAllowed::Unknown)?.collect()
        }
    };
    match found.is_empty() {
        true => Err(NotAllowed::Unknown),
        false => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told(text: &str, by: Reach) -> Result<usize, NotAllowed> {
        let urls = [text.to_owned()];
        check(&urls, by).await.map(|urls| urls.len())
    }

    #[tokio::test]
    async fn no_hub_has_clients_call_what_is_nearer_than_itself() {
        use Reach::{Global, Loopback, Private};
        for (text, tellers) in [
            (
                "turn:1.1.1.1:3478?transport=udp",
                &[Loopback, Private, Global][..],
            ),
            (
                "turns:[2606:4700::1111]:443?transport=tcp",
                &[Loopback, Private, Global],
            ),
            ("turn:10.0.0.1:3478", &[Loopback, Private]),
            ("stun:[fd00::1]:3478", &[Loopback, Private]),
            ("turn:127.0.0.1:3478", &[Loopback]),
            ("turn:2130706433:3478", &[Loopback]),
            ("turn:0x7f.1:3478", &[Loopback]),
            ("turn:localhost:3478", &[Loopback]),
            ("turn:[::1]:3478", &[Loopback]),
            ("turn:[::ffff:127.0.0.1]:3478", &[Loopback]),
            ("turn:169.254.169.254:80", &[]),
            ("turn:[fe80::1]:3478", &[]),
            ("stun:0.0.0.0:3478", &[]),
            ("stun:224.0.0.1:3478", &[]),
        ] {
            for teller in [Loopback, Private, Global] {
                let expected = match tellers.contains(&teller) {
                    true => Ok(1),
                    false => Err(NotAllowed::TooNear),
                };
                assert_eq!(told(text, teller).await, expected, "{text} by {teller:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_server_s_is_refused() {
        for (text, why) in [
            ("http://1.1.1.1/", NotAllowed::Form),
            ("turn:ada:word@1.1.1.1", NotAllowed::Form),
            ("turn:1.1.1.1:3478?transport=sctp", NotAllowed::Form),
            ("turn:1.1.1.1:53", NotAllowed::Port),
            ("turn:1.1.1.1:25?transport=tcp", NotAllowed::Port),
            ("turn:nobody.invalid:3478", NotAllowed::Unknown),
        ] {
            assert_eq!(told(text, Reach::Global).await, Err(why), "{text}");
        }
        let long = format!("turn:{}.example:3478", "a".repeat(300));
        assert_eq!(told(&long, Reach::Global).await, Err(NotAllowed::Form));
        let one = String::from("stun:1.1.1.1");
        let many = vec![one.clone(); MOST_URLS + 1];
        assert_eq!(check(&many, Reach::Global).await, Err(NotAllowed::Form));
        assert!(
            check(&[one], Reach::Global).await.is_ok(),
            "the port is its scheme's"
        );
        assert_eq!(check(&[], Reach::Global).await, Ok(Vec::new()));
    }
}
