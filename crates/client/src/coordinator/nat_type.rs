//! Infers the type of the NAT from STUN answers.
//!
//! Pure: [`Observations`] go in, the set of types that fit them comes out. A missing observation excludes no type. So a
//! type is only called determined when no other one fits.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a NAT maps and filters, from the most to the least permissive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NatType {
    /// No translation, and packets of unknown hosts come in.
    Open,
    /// One public address for all destinations, open for every host.
    FullCone,
    /// One public address, open for hosts to which this end has sent.
    Restricted,
    /// No translation, but a firewall: open for addresses to which this end has sent.
    Firewalled,
    /// One public address, open for addresses to which this end has sent.
    PortRestricted,
    /// Another public address for each destination.
    Symmetric,
}

impl NatType {
    /// All of them, in order.
    pub const ALL: [Self; 6] = [
        Self::Open,
        Self::FullCone,
        Self::Restricted,
        Self::Firewalled,
        Self::PortRestricted,
        Self::Symmetric,
    ];

    /// Its name in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::FullCone => "full cone",
            Self::Restricted => "restricted",
            Self::Firewalled => "open behind a firewall",
            Self::PortRestricted => "port-restricted",
            Self::Symmetric => "symmetric",
        }
    }

    /// Whether only addresses to which this end has sent get in, including the port.
    pub(super) fn filters_by_port(self) -> bool {
        matches!(
            self,
            Self::Firewalled | Self::PortRestricted | Self::Symmetric
        )
    }
}

impl fmt::Display for NatType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The observations of the NAT. `None`: no server could show it, or an answer was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observations {
    /// Whether the public address, including the port, differs from the socket's own. An equal port shows nothing: most
    /// NATs keep the port while it is free.
    pub translated: Option<bool>,
    /// Whether another port of a server sees the same public address.
    pub same_for_port: Option<bool>,
    /// Whether a server on another host sees the same one.
    pub same_for_host: Option<bool>,
    /// Whether a packet arrived from another port of a host to which this end has sent.
    pub from_port: Option<bool>,
    /// Whether a packet arrived from a host to which this end has not sent. Any probe may show it: a server with two
    /// addresses, a relay on another host, another hub.
    pub from_elsewhere: Option<bool>,
}

impl Observations {
    /// The types that fit, in order; none when the observations contradict each other.
    pub fn possible(self) -> Vec<NatType> {
        NatType::ALL
            .into_iter()
            .filter(|kind| self.fits(*kind))
            .collect()
    }

    fn fits(self, kind: NatType) -> bool {
        let untranslated = matches!(kind, NatType::Open | NatType::Firewalled);
        if self.translated.is_some_and(|seen| seen == untranslated) {
            return false;
        }
        let differs = self.same_for_port == Some(false) || self.same_for_host == Some(false);
        if kind == NatType::Symmetric {
            // By address alone is possible for as long as one host was asked; it filters in whatever way.
            return differs || self.same_for_host.is_none();
        }
        !differs && self.filters_as(kind)
    }

    fn filters_as(self, kind: NatType) -> bool {
        match (self.from_elsewhere, self.from_port) {
            // A NAT that accepts unknown hosts accepts other ports too: the other packet was lost.
            (Some(true), _) => matches!(kind, NatType::Open | NatType::FullCone),
            (Some(false), Some(true)) => kind == NatType::Restricted || kind == NatType::Firewalled,
            (Some(false), None) => !matches!(kind, NatType::Open | NatType::FullCone),
            // No firewall checks addresses but not ports.
            (None, Some(true)) => !kind.filters_by_port(),
            (_, Some(false)) => kind.filters_by_port(),
            (None, None) => true,
        }
    }

    /// Why more than one type fits, in words.
    pub fn reason(self) -> String {
        let mut why = Vec::new();
        if self.possible().is_empty() {
            return "the answers contradict each other: the NAT changed while it was asked".into();
        }
        if self.translated.is_none() {
            why.push("no server said which address it sees");
        }
        if self.same_for_host.is_none() && self.translated != Some(false) {
            why.push("only one STUN server answered, so another host may see another address");
        }
        if self.from_port.is_none() && self.from_elsewhere != Some(true) {
            why.push("no server answers from another port (CHANGE-REQUEST)");
        }
        if self.from_elsewhere.is_none() && self.from_port != Some(false) {
            why.push("no server could be asked for a packet from a host that was not spoken to");
        }
        why.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use NatType::*;

    /// What a full set of servers would observe of a NAT of this type.
    fn all_of(kind: NatType) -> Observations {
        Observations {
            translated: Some(!matches!(kind, Open | Firewalled)),
            same_for_port: Some(kind != Symmetric),
            same_for_host: Some(kind != Symmetric),
            from_port: Some(!kind.filters_by_port()),
            from_elsewhere: Some(matches!(kind, Open | FullCone)),
        }
    }

    #[test]
    fn with_every_vantage_point_each_type_is_told_from_the_others() {
        for kind in NatType::ALL {
            assert_eq!(all_of(kind).possible(), [kind]);
        }
    }

    #[test]
    fn what_is_not_observed_excludes_nothing_and_the_true_type_always_fits() {
        for kind in NatType::ALL {
            for missing in 0..32_u8 {
                let mut seen = all_of(kind);
                let keep = |bit: u8, value: Option<bool>| value.filter(|_| missing & bit == 0);
                seen.translated = keep(1, seen.translated);
                seen.same_for_port = keep(2, seen.same_for_port);
                seen.same_for_host = keep(4, seen.same_for_host);
                seen.from_port = keep(8, seen.from_port);
                seen.from_elsewhere = keep(16, seen.from_elsewhere);
                let possible = seen.possible();
                assert!(possible.contains(&kind), "{kind} {seen:?} {possible:?}");
                assert_eq!(
                    possible.len() > 1,
                    !seen.reason().is_empty() && possible != [kind]
                );
            }
        }
    }

    #[test]
    fn one_hub_with_two_ports_finds_symmetric_and_two_hubs_leave_two_cones() {
        let one_hub = |kind| Observations {
            same_for_host: None,
            from_elsewhere: None,
            ..all_of(kind)
        };
        assert_eq!(one_hub(Symmetric).possible(), [Symmetric]);
        assert_eq!(one_hub(Open).possible(), [Open]);
        assert_eq!(
            one_hub(FullCone).possible(),
            [FullCone, Restricted, Symmetric]
        );
        assert_eq!(
            one_hub(PortRestricted).possible(),
            [PortRestricted, Symmetric]
        );
        let two_hubs = |kind| Observations {
            from_elsewhere: None,
            ..all_of(kind)
        };
        assert_eq!(two_hubs(FullCone).possible(), [FullCone, Restricted]);
        assert_eq!(two_hubs(PortRestricted).possible(), [PortRestricted]);
        assert!(two_hubs(FullCone).reason().contains("not spoken to"));
    }

    #[test]
    fn a_port_that_is_kept_is_not_taken_for_no_nat() {
        // Linux' masquerade: 10.1.0.2:58234 is seen as 198.51.100.11:58234, so the whole address counts.
        let seen = Observations {
            translated: Some(true),
            ..Observations::default()
        };
        assert!(!seen.possible().contains(&Open));
    }

    #[test]
    fn contradictions_leave_nothing_and_say_so() {
        let seen = Observations {
            same_for_port: Some(false),
            translated: Some(false),
            ..Observations::default()
        };
        assert_eq!(seen.possible(), []);
        assert!(seen.reason().contains("contradict"));
    }
}
