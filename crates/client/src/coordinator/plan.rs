//! Which ways to try between two ends, and in which order. Pure: the knowledge of both ends about their NATs goes in.
//!
//! A way is left out only if it must fail, whatever the NATs turn out to be. Hole punching cannot connect two pairs:
//! symmetric with symmetric, and symmetric with a NAT that filters by port. The port of the symmetric end cannot be
//! known in advance, and the other end accepts no other port.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use super::nat_type::NatType;

/// A way between two peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Both can be reached directly: public addresses, or one network.
    Direct,
    /// UDP from both ends at once, so that each NAT takes the other's packets for answers.
    UdpPunch,
    /// Hole punching with one unknown port: many sockets on one side, random ports from the other.
    Birthday,
    /// TCP from both ends at once, with a mapping of its own.
    TcpPunch,
    /// Through a TURN server.
    Relay,
}

impl Method {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Self; 5] = [
        Self::Direct,
        Self::UdpPunch,
        Self::Birthday,
        Self::TcpPunch,
        Self::Relay,
    ];

    /// Its name in JSON and on command lines.
    pub fn as_name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::UdpPunch => "udp-punch",
            Self::Birthday => "birthday",
            Self::TcpPunch => "tcp-punch",
            Self::Relay => "relay",
        }
    }

    /// Its name in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::UdpPunch => "UDP hole punching",
            Self::Birthday => "birthday probing",
            Self::TcpPunch => "TCP simultaneous open",
            Self::Relay => "TURN relay",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL
            .into_iter()
            .find(|method| method.as_name() == text);
        found.ok_or_else(|| format!("there are {}", Self::ALL.map(Self::as_name).join(", ")))
    }
}

/// The description of one end, which is sent to the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The types that its NAT may be; none when UDP is blocked.
    pub possible: Vec<NatType>,
    /// Whether UDP does not work.
    pub udp_blocked: bool,
    /// Its public address.
    pub public: Option<IpAddr>,
    /// Whether it has a TURN server.
    pub relay: bool,
}

/// The two ends of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The end that asked.
    Asking,
    /// The end that was asked.
    Asked,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Asking => Self::Asked,
            Self::Asked => Self::Asking,
        }
    }
}

/// One way of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The way.
    pub method: Method,
    /// For birthday probing: the symmetric end, which opens the many sockets.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub many: Option<Side>,
}

/// Whether UDP hole punching joins NATs of these types.
pub fn punches(a: NatType, b: NatType) -> bool {
    let hopeless = |a: NatType, b: NatType| a == NatType::Symmetric && b.filters_by_port();
    !hopeless(a, b) && !hopeless(b, a)
}

/// The ways between two ends, in the order in which they are to be tried.
pub fn plan(asking: &End, asked: &End) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut add = |method, many| steps.push(Step { method, many });
    let udp = !asking.udp_blocked && !asked.udp_blocked;
    if are_near(asking, asked) && udp {
        add(Method::Direct, None);
    }
    let may_punch = asking
        .possible
        .iter()
        .any(|a| asked.possible.iter().any(|b| punches(*a, *b)));
    if udp && may_punch {
        add(Method::UdpPunch, None);
    }
    if udp && let Some(many) = symmetric_side(asking, asked) {
        add(Method::Birthday, Some(many));
    }
    if may_punch || !udp {
        add(Method::TcpPunch, None);
    }
    if asking.relay || asked.relay {
        add(Method::Relay, None);
    }
    steps
}

/// Whether both are without NAT, or behind the same one.
fn are_near(a: &End, b: &End) -> bool {
    let bare = |end: &End| {
        let untranslated = |kind: &NatType| matches!(kind, NatType::Open | NatType::Firewalled);
        !end.possible.is_empty() && end.possible.iter().all(untranslated)
    };
    (bare(a) && bare(b)) || (a.public.is_some() && a.public == b.public)
}

/// The end that is certainly symmetric, when the other may filter by port and is not symmetric.
fn symmetric_side(asking: &End, asked: &End) -> Option<Side> {
    let certain = |end: &End| end.possible == [NatType::Symmetric];
    let other = |end: &End| {
        let fits = |kind: &NatType| kind.filters_by_port() && *kind != NatType::Symmetric;
        end.possible.iter().any(fits)
    };
    match (certain(asking), certain(asked)) {
        (true, false) if other(asked) => Some(Side::Asking),
        (false, true) if other(asking) => Some(Side::Asked),
        _ => None,
    }
}

/// Which connections to expect, before anything is tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recommendation {
    /// The way that is most likely to succeed.
    pub method: Method,
    /// Why, in a sentence.
    pub description: String,
    /// Whether there are peers that can only be reached through a TURN server.
    pub requires_turn: bool,
}

/// What this end can expect with peers of which nothing is known yet.
pub fn recommend(own: &End) -> Recommendation {
    let (method, description, requires_turn) = match own.possible.iter().max() {
        _ if own.udp_blocked => (
            Method::Relay,
            "UDP is blocked: peers are reached by TCP where their NAT allows it, else by a TURN server over TCP or TLS",
            true,
        ),
        None => (
            Method::Relay,
            "nothing is known of the network: a TURN server leads to every peer",
            true,
        ),
        Some(NatType::Open) => (
            Method::Direct,
            "any peer can reach this one directly",
            false,
        ),
        Some(NatType::FullCone | NatType::Restricted) => (
            Method::UdpPunch,
            "UDP hole punching leads to peers behind every kind of NAT",
            false,
        ),
        Some(NatType::Firewalled | NatType::PortRestricted) => (
            Method::UdpPunch,
            "UDP hole punching leads to all peers but those behind a symmetric NAT, where birthday probing may, and a TURN server does",
            true,
        ),
        Some(NatType::Symmetric) => (
            Method::UdpPunch,
            "UDP hole punching leads to peers whose NAT is open, full cone or restricted; to a symmetric one leads a TURN server alone",
            true,
        ),
    };
    Recommendation {
        method,
        description: description.to_owned(),
        requires_turn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use NatType::*;

    fn end(possible: &[NatType]) -> End {
        End {
            possible: possible.to_vec(),
            udp_blocked: possible.is_empty(),
            public: None,
            relay: true,
        }
    }

    fn methods(a: &End, b: &End) -> Vec<Method> {
        plan(a, b).iter().map(|step| step.method).collect()
    }

    #[test]
    fn every_pair_has_a_way_and_two_pairs_no_punching() {
        for a in NatType::ALL {
            for b in NatType::ALL {
                let ways = methods(&end(&[a]), &end(&[b]));
                let hopeless = (a == Symmetric && b.filters_by_port())
                    || (b == Symmetric && a.filters_by_port());
                assert_eq!(ways.contains(&Method::UdpPunch), !hopeless, "{a} {b}");
                assert_eq!(ways.contains(&Method::TcpPunch), !hopeless, "{a} {b}");
                assert_eq!(ways.last(), Some(&Method::Relay));
            }
        }
        assert_eq!(
            methods(&end(&[Symmetric]), &end(&[Symmetric])),
            [Method::Relay]
        );
    }

    #[test]
    fn two_port_restricted_nats_punch_over_udp_first() {
        let ways = methods(&end(&[PortRestricted]), &end(&[PortRestricted]));
        assert_eq!(ways, [Method::UdpPunch, Method::TcpPunch, Method::Relay]);
    }

    #[test]
    fn the_symmetric_end_opens_the_many_sockets_whoever_asks() {
        let (sym, port) = (end(&[Symmetric]), end(&[PortRestricted]));
        let many = |a, b| plan(a, b).first().map(|step| (step.method, step.many));
        let birthday = |side| Some((Method::Birthday, Some(side)));
        assert_eq!(many(&sym, &port), birthday(Side::Asking));
        assert_eq!(many(&port, &sym), birthday(Side::Asked));
    }

    #[test]
    fn what_is_undetermined_is_tried_as_the_best_and_as_the_worst() {
        let unsure = end(&[PortRestricted, Symmetric]);
        assert_eq!(
            methods(&unsure, &unsure),
            [Method::UdpPunch, Method::TcpPunch, Method::Relay]
        );
        assert_eq!(
            methods(&unsure, &end(&[Symmetric])),
            [Method::Birthday, Method::Relay]
        );
    }

    #[test]
    fn without_udp_there_are_tcp_and_the_relay() {
        let blocked = end(&[]);
        let expected = [Method::TcpPunch, Method::Relay];
        assert_eq!(methods(&blocked, &end(&[Open])), expected);
        assert_eq!(methods(&end(&[Symmetric]), &blocked), expected);
    }

    #[test]
    fn the_same_address_outside_means_one_network_and_no_server_no_relay() {
        let mut a = end(&[Symmetric]);
        a.public = Some([198, 51, 100, 7].into());
        a.relay = false;
        assert_eq!(methods(&a, &a), [Method::Direct]);
        assert_eq!(
            methods(&end(&[Open]), &end(&[Firewalled])).first(),
            Some(&Method::Direct)
        );
    }

    #[test]
    fn the_name_of_a_way_is_the_same_in_json_and_on_command_lines() {
        for method in Method::ALL {
            let json = serde_json::to_value(method).unwrap();
            assert_eq!(json, method.as_name());
            assert_eq!(method.as_name().parse(), Ok(method));
        }
        assert!("dance".parse::<Method>().is_err());
    }

    #[test]
    fn advice_follows_the_worst_that_is_possible() {
        let turn = |possible: &[NatType]| recommend(&end(possible)).requires_turn;
        assert!(!turn(&[Open]) && !turn(&[FullCone, Restricted]));
        assert!(turn(&[PortRestricted]) && turn(&[Restricted, Symmetric]) && turn(&[]));
        assert_eq!(recommend(&end(&[Open])).method, Method::Direct);
        assert_eq!(recommend(&end(&[PortRestricted])).method, Method::UdpPunch);
    }
}
