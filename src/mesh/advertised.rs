//! Which advertised addresses may be dialled.
//!
//! Any hub that has the mesh token can advertise any address. If this hub dialled all of them, other hubs could make it
//! call services that only it can reach: the services of its machine, of its private network, of its cloud. So the
//! address must have the form of a hub's ([`Address::of`]). Only IP addresses that the advertising hub may tell of are
//! called ([`may_be_told`]). And no address is called too often, whichever hub it is said to belong to ([`Budget`]).
//! Bootstrap addresses come from the operator, and are not checked here. Called by `handle`, once for each dial.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use hubmesh_core::reach::Reach;
use parking_lot::Mutex;
use tokio::net::lookup_host;
use url::{Host, Url};

use super::address::MESH_PATH;
use crate::limits::{AddressGroup, ConnectRate};

/// The most dials of one IP address and port at once; refilled at [`PER_ADDRESS_A_MINUTE`].
const PER_ADDRESS: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// Dials of one IP address and port per minute.
const PER_ADDRESS_A_MINUTE: NonZeroU32 = NonZeroU32::new(15).unwrap();
/// Dials of one IP address (or /64 of IPv6), whatever the port: at once, and a minute.
const PER_HOST: NonZeroU32 = NonZeroU32::new(120).unwrap();
/// The most pairs of address and port that are remembered, at about 60 bytes each; if there are more, all are
/// forgotten.
const MAX_TRACKED: usize = 4096;
/// The most IP addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// Why an address that another hub told of is not dialled. No connection was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotDialled {
    /// It is not `ws://host:port/mesh` or `wss://host:port/mesh`.
    #[error("no address of a hub")]
    Form,
    /// The host name has no IP address.
    #[error("the name has no address")]
    Unknown,
    /// All its IP addresses are nearer than the hub that told of it.
    #[error("the hub that told of it is too far away to tell of such an address")]
    TooNear,
    /// It was called too often.
    #[error("called too often lately")]
    Resting,
}

impl NotDialled {
    /// The label in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            NotDialled::Form => "bad-address",
            NotDialled::Unknown => "unreachable",
            NotDialled::TooNear => "address-too-near",
            NotDialled::Resting => "resting",
        }
    }
}

/// An address with the form of a hub's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    url: Url,
    port: u16,
}

impl Address {
    /// The address in this text: `ws` or `wss`, a host, a port, the path of hubs, and nothing else.
    pub fn of(text: &str) -> Result<Self, NotDialled> {
        let url = Url::parse(text).map_err(|_| NotDialled::Form)?;
        let bare = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        let port = url.port_or_known_default().filter(|port| *port > 0);
        match (url.scheme(), port) {
            ("ws" | "wss", Some(port)) if bare && url.path() == MESH_PATH => {
                Ok(Address { url, port })
            }
            _ => Err(NotDialled::Form),
        }
    }

    /// The URL to ask for once connected.
    pub fn into_url(self) -> String {
        self.url.into()
    }

    /// The IP addresses to connect to: those that a hub this far away may tell of, and that may be called now. Each
    /// counts as called.
    pub async fn resolve(
        &self,
        told_by: Reach,
        budget: &Budget,
    ) -> Result<Vec<SocketAddr>, NotDialled> {
        let found = self.look_up().await?;
        let allowed: Vec<SocketAddr> = found
            .into_iter()
            .filter(|address| may_be_told(Reach::of(address.ip()), told_by))
            .take(MAX_ADDRESSES)
            .collect();
        if allowed.is_empty() {
            return Err(NotDialled::TooNear);
        }
        let due: Vec<SocketAddr> = allowed.into_iter().filter(|at| budget.take(*at)).collect();
        match due.is_empty() {
            true => Err(NotDialled::Resting),
            false => Ok(due),
        }
    }

    async fn look_up(&self) -> Result<Vec<SocketAddr>, NotDialled> {
        let found = match self.url.host() {
            Some(Host::Ipv4(ip)) => vec![SocketAddr::from((ip, self.port))],
            Some(Host::Ipv6(ip)) => vec![SocketAddr::from((ip, self.port))],
            Some(Host::Domain(name)) => {
                let found = lookup_host((name, self.port)).await;
                found.map_err(|_| NotDialled::Unknown)?.collect()
            }
            None => return Err(NotDialled::Form),
        };
        match found.is_empty() {
            true => Err(NotDialled::Unknown),
            false => Ok(found),
        }
    }
}

/// Whether a hub at the reach `told_by` may tell of such an address: not of an address that is nearer to this hub than
/// that hub is, and never of an address that no hub can have.
pub(super) fn may_be_told(address: Reach, told_by: Reach) -> bool {
    match address {
        Reach::Loopback => told_by == Reach::Loopback,
        Reach::Private | Reach::Shared => {
            matches!(told_by, Reach::Loopback | Reach::Private | Reach::Shared)
        }
        Reach::Global => true,
        Reach::Nowhere => false,
    }
}

/// How often each address may still be called.
pub struct Budget {
    addresses: Mutex<DefaultKeyedRateLimiter<SocketAddr>>,
    hosts: ConnectRate,
}

impl Default for Budget {
    fn default() -> Self {
        Budget {
            addresses: Mutex::new(fresh()),
            hosts: ConnectRate::new(PER_HOST),
        }
    }
}

fn fresh() -> DefaultKeyedRateLimiter<SocketAddr> {
    let quota = Quota::per_minute(PER_ADDRESS_A_MINUTE).allow_burst(PER_ADDRESS);
    RateLimiter::keyed(quota)
}

impl Budget {
    /// Counts one call, if it may be made.
    fn take(&self, address: SocketAddr) -> bool {
        let mut addresses = self.addresses.lock();
        if addresses.len() >= MAX_TRACKED {
            addresses.retain_recent();
        }
        if addresses.len() >= MAX_TRACKED {
            *addresses = fresh();
        }
        addresses.check_key(&address).is_ok()
            && self.hosts.check(AddressGroup::of(address.ip())).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_a_hub_is_a_scheme_a_host_a_port_and_the_path_of_hubs() {
        for good in [
            "ws://hub.example:8080/mesh",
            "wss://hub.example/mesh",
            "ws://[2001:db8::1]:80/mesh",
            "ws://10.0.0.1:1/mesh",
        ] {
            assert!(Address::of(good).is_ok(), "{good}");
        }
        for bad in [
            "ws://hub.example:8080/admin/shutdown?now=1",
            "ws://hub.example:8080/mesh?now=1",
            "ws://hub.example:8080/mesh#x",
            "ws://hub.example:8080/mesh/../x",
            "ws://hub.example:8080/",
            "ws://hub.example:8080",
            "ws://user:pw@hub.example/mesh",
            "ws://user@hub.example/mesh",
            "ws://hub.example:0/mesh",
            "ws://hub.example/%6desh",
            "http://hub.example/mesh",
            "file:///mesh",
            "ftp://hub.example/mesh",
            "ws:///mesh/x",
            "hub.example/mesh",
            "",
        ] {
            assert_eq!(Address::of(bad).err(), Some(NotDialled::Form), "{bad}");
        }
        let folded = Address::of("ws://hub.example:1/mesh\r\nX-Injected: 1");
        assert_eq!(folded.err(), Some(NotDialled::Form));
    }

    async fn resolve(text: &str, told_by: Reach) -> Result<usize, NotDialled> {
        let found = Address::of(text)?
            .resolve(told_by, &Budget::default())
            .await;
        found.map(|addresses| addresses.len())
    }

    #[tokio::test]
    async fn no_hub_tells_of_addresses_nearer_than_itself() {
        use Reach::{Global, Loopback, Private, Shared};
        let near = Err(NotDialled::TooNear);
        for (text, tellers) in [
            ("ws://127.0.0.1:1/mesh", &[Loopback][..]),
            ("ws://2130706433:1/mesh", &[Loopback]),
            ("ws://0x7f.1:1/mesh", &[Loopback]),
            ("ws://[::ffff:127.0.0.1]:1/mesh", &[Loopback]),
            ("ws://localhost:1/mesh", &[Loopback]),
            ("ws://10.0.0.1:1/mesh", &[Loopback, Private, Shared]),
            ("ws://[fd00::1]:1/mesh", &[Loopback, Private, Shared]),
            ("ws://1.1.1.1:1/mesh", &[Loopback, Private, Shared, Global]),
            ("ws://169.254.169.254:80/mesh", &[]),
            ("ws://[fe80::1]:80/mesh", &[]),
            ("ws://[fd00:ec2::254]:80/mesh", &[]),
            ("ws://0.0.0.0:80/mesh", &[]),
        ] {
            for teller in [Loopback, Private, Shared, Global, Reach::Nowhere] {
                let resolved = resolve(text, teller).await;
                let allowed = tellers.contains(&teller) || text.contains("1.1.1.1");
                assert_eq!(resolved.is_ok(), allowed, "{text} by {teller:?}");
                assert!(
                    allowed || resolved == near,
                    "{text} by {teller:?}: {resolved:?}"
                );
            }
        }
    }

    #[tokio::test]
    async fn an_address_is_called_so_often_whatever_name_leads_to_it() {
        let budget = Budget::default();
        let mut called = 0;
        for number in 0..100 {
            let text = format!("ws://127.0.0.1:{}/mesh", 1 + number % 2);
            let address = Address::of(&text).expect("a hub's");
            match address.resolve(Reach::Loopback, &budget).await {
                Ok(_) => called += 1,
                Err(why) => assert_eq!(why, NotDialled::Resting),
            }
        }
        assert_eq!(called, 20, "ten of each port");
    }

    #[tokio::test]
    async fn one_host_is_not_called_at_all_its_ports() {
        let budget = Budget::default();
        let mut called = 0;
        for port in 1..=1000 {
            let address = Address::of(&format!("ws://192.0.2.1:{port}/mesh")).expect("a hub's");
            called += u32::from(address.resolve(Reach::Global, &budget).await.is_ok());
        }
        assert!((120..=122).contains(&called), "{called}");
    }
}
