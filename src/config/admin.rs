//! Who may see the operators' pages, and where: `ADMIN_TOKEN` and `ADMIN_ADDR`.
//!
//! Without both, the status pages are open to everybody. Contradictions are refused: a token that is also another
//! secret, and a second listener at the address of the first. Knows nothing of HTTP.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;

use url::Url;

use super::read::{Reader, is_host_name};
use super::{Caution, Secret};

/// The shortest token that cannot be guessed.
const MIN_TOKEN_BYTES: usize = 16;

/// Who may see the operators' pages.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AdminSettings {
    /// The token that operators show.
    pub token: Option<Secret>,
    /// The only listener with these pages.
    pub addr: Option<AdminAddr>,
    /// The most bans that count; 0 if the setting could not be read.
    pub max_bans: usize,
    /// Wrong logins a minute from one address.
    pub logins_per_minute: Option<NonZeroU32>,
    /// The most readers of events.
    pub max_event_readers: usize,
    /// Where events are posted.
    pub webhook: Option<WebhookSettings>,
}

/// Where events are posted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WebhookSettings {
    /// The address, by http or https.
    pub url: Url,
    /// The secret that signs the posts.
    pub secret: Secret,
}

/// The text is not an address to post to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("it takes http:// or https:// with a host, without a user or a password")]
struct BadWebhook;

/// An address to post to.
struct WebhookUrl(Url);

impl FromStr for WebhookUrl {
    type Err = BadWebhook;

    fn from_str(text: &str) -> Result<Self, BadWebhook> {
        let url = Url::parse(text).map_err(|_| BadWebhook)?;
        let is_bare = url.username().is_empty() && url.password().is_none();
        let fits = matches!(url.scheme(), "http" | "https") && url.has_host() && is_bare;
        fits.then_some(WebhookUrl(url)).ok_or(BadWebhook)
    }
}

impl AdminSettings {
    /// The caution about an open listener, if there is one.
    pub(super) fn caution(&self) -> Option<Caution> {
        let addr = self.addr.as_ref().filter(|_| self.token.is_none())?;
        (!addr.is_of_this_machine()).then(|| Caution {
            name: String::from("ADMIN_ADDR"),
            text: String::from(
                "can be reached from other machines, and without ADMIN_TOKEN anyone who reaches it sees all networks: \
                 set one, or keep others out by a firewall",
            ),
        })
    }
}

/// An address to listen on, `host:port`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AdminAddr {
    /// An address, or a name, without brackets.
    pub host: String,
    /// 0 takes a free one.
    pub port: u16,
}

/// The text is not an address to listen on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("it takes an address and a port, such as 127.0.0.1:9090 or [::]:9090")]
pub struct BadAddr;

impl FromStr for AdminAddr {
    type Err = BadAddr;

    fn from_str(text: &str) -> Result<Self, BadAddr> {
        let (host, port) = text.rsplit_once(':').ok_or(BadAddr)?;
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let is_host = match (bare, host.parse::<IpAddr>()) {
            (Some(bare), _) => bare.parse::<std::net::Ipv6Addr>().is_ok(),
            (None, Ok(ip)) => ip.is_ipv4(),
            (None, Err(_)) => is_host_name(host),
        };
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        match port.parse() {
            Ok(port) if is_host && digits => Ok(AdminAddr {
                host: bare.unwrap_or(host).to_owned(),
                port,
            }),
            _ => Err(BadAddr),
        }
    }
}

impl AdminAddr {
    fn is_of_this_machine(&self) -> bool {
        let is_loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
        self.host.eq_ignore_ascii_case("localhost") || self.host.parse().is_ok_and(is_loopback)
    }

    /// Whether both listeners would need the same port of one address.
    fn meets(&self, host: &str, port: u16) -> bool {
        let is_every = |host: &str| host.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified());
        let same = self.host.eq_ignore_ascii_case(host) || is_every(host) || is_every(&self.host);
        port != 0 && port == self.port && same
    }
}

/// Secrets that are known to others than operators.
const OF_OTHERS: [(&str, &str); 4] = [
    ("AUTH_TOKEN", "every peer"),
    ("HUB_TOKEN", "every hub"),
    ("JWT_SECRET", "the issuer of tokens"),
    ("TURN_SECRET", "every TURN server"),
];

/// Both settings, beside those of the public port.
pub(super) fn read(reader: &mut Reader, host: Option<&str>, port: Option<u16>) -> AdminSettings {
    let token = reader.secret("ADMIN_TOKEN");
    let addr: Option<AdminAddr> = reader.optional("ADMIN_ADDR");
    if let Some(token) = &token {
        if token.expose().len() < MIN_TOKEN_BYTES {
            let why = "is shorter than 16 characters, so it can be guessed";
            reader.problem("ADMIN_TOKEN", why);
        }
        for (other, holders) in OF_OTHERS {
            if reader.is_same("ADMIN_TOKEN", other) {
                let text =
                    format!("is {other} too, which {holders} holds: use a secret of its own");
                reader.problem("ADMIN_TOKEN", text);
            }
        }
    }
    if let (Some(addr), Some(host), Some(port)) = (&addr, host, port)
        && addr.meets(host, port)
    {
        let why =
            "is the port of PORT: use another port, or set only ADMIN_TOKEN to keep to one port";
        reader.problem("ADMIN_ADDR", why);
    }
    AdminSettings {
        token,
        addr,
        max_bans: reader.number("MAX_BANS", 1..=10_000).unwrap_or_default(),
        logins_per_minute: reader
            .number("ADMIN_LOGINS_PER_MINUTE", 1..=1_000)
            .and_then(NonZeroU32::new),
        max_event_readers: reader
            .number("MAX_EVENT_READERS", 1..=10_000)
            .unwrap_or_default(),
        webhook: webhook(reader),
    }
}

/// Where events are posted. They are signed, so that the receiver can tell which hub they come from.
fn webhook(reader: &mut Reader) -> Option<WebhookSettings> {
    let url: Option<WebhookUrl> = reader.optional("EVENTS_WEBHOOK_URL");
    let secret = reader.secret("EVENTS_WEBHOOK_SECRET");
    if let Some(secret) = &secret
        && secret.expose().len() < MIN_TOKEN_BYTES
    {
        let why = "is shorter than 16 characters, so it can be guessed";
        reader.problem("EVENTS_WEBHOOK_SECRET", why);
    }
    if url.is_some() && secret.is_none() {
        let why = "needs EVENTS_WEBHOOK_SECRET, which signs the posts";
        reader.problem("EVENTS_WEBHOOK_URL", why);
    }
    let WebhookUrl(url) = url?;
    Some(WebhookSettings {
        url,
        secret: secret?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(String, u16)> {
        let addr: AdminAddr = text.parse().ok()?;
        Some((addr.host, addr.port))
    }

    #[test]
    fn an_address_has_a_host_and_a_port_and_nothing_else() {
        for (text, host, port) in [
            ("127.0.0.1:9090", "127.0.0.1", 9090),
            ("[::]:0", "::", 0),
            ("localhost:1", "localhost", 1),
            ("hub-0.hubs:65535", "hub-0.hubs", 65_535),
        ] {
            assert_eq!(parsed(text), Some((host.to_owned(), port)), "{text}");
        }
        for text in [
            "9090",
            ":9090",
            "localhost",
            "localhost:",
            "::1:9090",
            "[::1]",
            "[127.0.0.1]:1",
            "a b:1",
            "8080:1",
            "http://a:1",
            "a:+1",
            "a:65536",
            "a:1/",
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn two_listeners_meet_where_one_address_and_port_would_be_of_both() {
        let admin = |text: &str| -> AdminAddr { text.parse().expect("an address") };
        for (ours, host, port, meet) in [
            ("127.0.0.1:8080", "127.0.0.1", 8080, true),
            ("127.0.0.1:8080", "0.0.0.0", 8080, true),
            ("[::]:8080", "localhost", 8080, true),
            ("LOCALHOST:8080", "localhost", 8080, true),
            ("127.0.0.1:8080", "192.0.2.1", 8080, false),
            ("127.0.0.1:9090", "127.0.0.1", 8080, false),
            ("127.0.0.1:0", "127.0.0.1", 0, false),
        ] {
            assert_eq!(
                admin(ours).meets(host, port),
                meet,
                "{ours} and {host} {port}"
            );
        }
    }
}
