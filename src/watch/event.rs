//! One event, with the words that operators read.
//!
//! An event goes to readers and to the webhook as JSON, and to other hubs. Clients choose the names of peers and networks,
//! so these are passed on as they are and never interpreted. Knows no reader.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use hubmesh_core::ids::{Dialect, HubId, NetworkKey, PeerId};
use serde::{Deserialize, Serialize, Serializer};

/// The longest text in an event of another hub, in bytes.
const MAX_TEXT: usize = 1_024;

/// The latest time that a browser can show.
const MAX_AT_MS: u64 = 8_640_000_000_000_000;

/// An event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// The time of the event in Unix milliseconds, by the clock of its hub.
    pub at_ms: u64,
    /// The hub at which the event happened.
    pub hub: HubId,
    /// The kind of event, and its details.
    pub what: What,
}

/// The kinds of events.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum What {
    /// A peer joined a network.
    Join {
        /// The network.
        #[serde(with = "network_text")]
        network: NetworkKey,
        /// The peer.
        #[serde(with = "peer_text")]
        peer: PeerId,
    },
    /// A peer left a network.
    Leave {
        /// The network.
        #[serde(with = "network_text")]
        network: NetworkKey,
        /// The peer.
        #[serde(with = "peer_text")]
        peer: PeerId,
        /// The reason.
        reason: Cow<'static, str>,
    },
    /// A newer connection has the id of a peer of this hub.
    Takeover {
        /// The network.
        #[serde(with = "network_text")]
        network: NetworkKey,
        /// The peer.
        #[serde(with = "peer_text")]
        peer: PeerId,
    },
    /// A client was refused.
    Refusal {
        /// The label of the reason.
        reason: Cow<'static, str>,
        /// The client's address.
        address: Option<IpAddr>,
        /// The network and the id that the client asked for.
        #[serde(with = "place_text")]
        wanted: Option<(NetworkKey, PeerId)>,
    },
    /// There is a link to another hub.
    LinkUp {
        /// The hub.
        other: HubId,
    },
    /// The link to another hub has ended.
    LinkDown {
        /// The hub.
        other: HubId,
        /// The reason.
        reason: Cow<'static, str>,
    },
    /// Another hub came into reach.
    HubUp {
        /// The hub.
        other: HubId,
    },
    /// Another hub is out of reach.
    HubLost {
        /// The hub.
        other: HubId,
    },
    /// Something that an operator should look at.
    Alarm {
        /// The alarm's name, which does not change between versions.
        label: Cow<'static, str>,
        /// The alarm in words.
        text: String,
    },
    /// An operator did something.
    Operator(Operator),
    /// Events of this hub were left out.
    Missed {
        /// The number of these events.
        count: u64,
    },
}

/// An operator's action, and how the operator was recognised. Never has a token.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Operator {
    /// The name of the action.
    pub action: Cow<'static, str>,
    /// The operator's address.
    pub by: Option<IpAddr>,
    /// How the operator was recognised.
    pub with: Cow<'static, str>,
    /// The dialect of the network.
    pub dialect: Option<String>,
    /// The network.
    pub network: Option<String>,
    /// The peer.
    pub peer: Option<String>,
    /// The number of the ban.
    pub ban: Option<String>,
    /// The kind of the ban.
    pub kind: Option<String>,
    /// The target of the ban.
    pub value: Option<String>,
    /// The reason that the operator gave.
    pub reason: Option<String>,
}

impl Event {
    /// The name of the event's type.
    pub fn kind(&self) -> &'static str {
        match self.what {
            What::Join { .. } => "join",
            What::Leave { .. } => "leave",
            What::Takeover { .. } => "takeover",
            What::Refusal { .. } => "refusal",
            What::LinkUp { .. } => "link-up",
            What::LinkDown { .. } => "link-down",
            What::HubUp { .. } => "hub-up",
            What::HubLost { .. } => "hub-lost",
            What::Alarm { .. } => "alarm",
            What::Operator(_) => "operator",
            What::Missed { .. } => "missed",
        }
    }

    /// Whether the event is grave: it is kept even if many peers come and go meanwhile.
    pub(crate) fn is_grave(&self) -> bool {
        match self.what {
            What::LinkUp { .. }
            | What::LinkDown { .. }
            | What::HubUp { .. }
            | What::HubLost { .. }
            | What::Alarm { .. }
            | What::Operator(_) => true,
            What::Join { .. }
            | What::Leave { .. }
            | What::Takeover { .. }
            | What::Refusal { .. }
            | What::Missed { .. } => false,
        }
    }

    /// All types.
    pub const KINDS: [&str; 11] = [
        "join",
        "leave",
        "takeover",
        "refusal",
        "link-up",
        "link-down",
        "hub-up",
        "hub-lost",
        "alarm",
        "operator",
        "missed",
    ];

    /// The fields of the event, without its type. They are written directly and not as a tree of values, because this is
    /// most of the cost of a reader while peers come and go.
    pub fn fields(&self) -> impl Serialize {
        Fields {
            at: self.at_ms,
            hub: Shown(&self.hub),
            own: OwnFields::of(&self.what),
        }
    }

    /// Whether this event is accepted from another hub: its texts are no longer than those of this version, and its time
    /// can be shown.
    pub(crate) fn is_bounded(&self) -> bool {
        let short = |text: &str| text.len() <= MAX_TEXT;
        if self.at_ms > MAX_AT_MS {
            return false;
        }
        match &self.what {
            What::Leave { reason, .. }
            | What::LinkDown { reason, .. }
            | What::Refusal { reason, .. } => short(reason),
            What::Alarm { label, text } => short(label) && short(text),
            What::Operator(operator) => {
                let Operator {
                    action,
                    by: _,
                    with,
                    dialect,
                    network,
                    peer,
                    ban,
                    kind,
                    value,
                    reason,
                } = operator;
                let given = [dialect, network, peer, ban, kind, value, reason];
                let given = given.into_iter().flatten().map(String::as_str);
                given.chain([&**action, &**with]).all(short)
            }
            What::Join { .. }
            | What::Takeover { .. }
            | What::LinkUp { .. }
            | What::HubUp { .. }
            | What::HubLost { .. }
            | What::Missed { .. } => true,
        }
    }
}

/// The fields of an event, as operators read them.
#[derive(Serialize)]
struct Fields<'a> {
    at: u64,
    hub: Shown<&'a HubId>,
    #[serde(flatten)]
    own: OwnFields<'a>,
}

/// The fields that an event has by its type.
#[derive(Serialize)]
#[serde(untagged)]
enum OwnFields<'a> {
    OfPeer(Place<'a>),
    Leave {
        #[serde(flatten)]
        place: Place<'a>,
        reason: &'a str,
    },
    Refusal {
        #[serde(flatten)]
        place: Place<'a>,
        reason: &'a str,
        address: &'a Option<IpAddr>,
    },
    OfHub {
        other: Shown<&'a HubId>,
    },
    LinkDown {
        other: Shown<&'a HubId>,
        reason: &'a str,
    },
    Alarm {
        label: &'a str,
        text: &'a str,
    },
    Operator(&'a Operator),
    Missed {
        count: u64,
    },
}

impl<'a> OwnFields<'a> {
    fn of(what: &'a What) -> Self {
        match what {
            What::Join { network, peer } | What::Takeover { network, peer } => {
                OwnFields::OfPeer(Place::of(network, peer))
            }
            What::Leave {
                network,
                peer,
                reason,
            } => OwnFields::Leave {
                place: Place::of(network, peer),
                reason,
            },
            What::Refusal {
                reason,
                address,
                wanted,
            } => OwnFields::Refusal {
                place: wanted
                    .as_ref()
                    .map(|(network, peer)| Place::of(network, peer))
                    .unwrap_or_default(),
                reason,
                address,
            },
            What::LinkUp { other } | What::HubUp { other } | What::HubLost { other } => {
                OwnFields::OfHub {
                    other: Shown(other),
                }
            }
            What::LinkDown { other, reason } => OwnFields::LinkDown {
                other: Shown(other),
                reason,
            },
            What::Alarm { label, text } => OwnFields::Alarm { label, text },
            What::Operator(operator) => OwnFields::Operator(operator),
            What::Missed { count } => OwnFields::Missed { count: *count },
        }
    }
}

/// A peer in a network, or neither.
#[derive(Default, Serialize)]
struct Place<'a> {
    dialect: Option<&'static str>,
    network: Option<&'a str>,
    peer: Option<Shown<&'a PeerId>>,
}

impl<'a> Place<'a> {
    fn of(network: &'a NetworkKey, peer: &'a PeerId) -> Self {
        Place {
            dialect: network.dialect().map(Dialect::label),
            network: Some(network.name()),
            peer: Some(Shown(peer)),
        }
    }
}

/// Writes a value as its text.
struct Shown<T>(T);

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}

/// Encodes a network as text, for other hubs.
mod network_text {
    use hubmesh_core::ids::NetworkKey;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(key: &NetworkKey, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(key.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<NetworkKey, D::Error> {
        let text = String::deserialize(from)?;
        NetworkKey::from_wire(&text).map_err(D::Error::custom)
    }
}

/// Encodes a peer as text, for other hubs.
mod peer_text {
    use hubmesh_core::ids::PeerId;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(peer: &PeerId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(peer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PeerId, D::Error> {
        let text = String::deserialize(from)?;
        PeerId::new(&text).map_err(D::Error::custom)
    }
}

/// Encodes a network and a peer, or neither, for other hubs.
mod place_text {
    use hubmesh_core::ids::{NetworkKey, PeerId};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    type Place = Option<(NetworkKey, PeerId)>;

    pub(super) fn serialize<S: Serializer>(place: &Place, to: S) -> Result<S::Ok, S::Error> {
        let text = place
            .as_ref()
            .map(|(network, peer)| (network.as_str(), peer.to_string()));
        text.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Place, D::Error> {
        let text: Option<(String, String)> = Option::deserialize(from)?;
        let read = |(network, peer): (String, String)| {
            let network = NetworkKey::from_wire(&network).map_err(D::Error::custom)?;
            let peer = PeerId::new(&peer).map_err(D::Error::custom)?;
            Ok((network, peer))
        };
        text.map(read).transpose()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(what: What) -> Event {
        Event {
            at_ms: 7,
            hub: HubId([1; 20]),
            what,
        }
    }

    fn here() -> (NetworkKey, PeerId) {
        let network = NetworkKey::new(Dialect::Pigeon, "global").expect("a name");
        (network, PeerId::new("<img src=x>").expect("an id"))
    }

    /// An event of each kind, in the order of [`Event::KINDS`], and the fields that operators read of it.
    fn one_of_each() -> [(What, Value); 11] {
        let (network, peer) = here();
        let other = HubId([2; 20]);
        let joined = What::Join {
            network: network.clone(),
            peer: peer.clone(),
        };
        let left = What::Leave {
            network: network.clone(),
            peer: peer.clone(),
            reason: "removed".into(),
        };
        let lost = What::LinkDown {
            other,
            reason: "lost".into(),
        };
        let alarm = What::Alarm {
            label: "full".into(),
            text: "look".into(),
        };
        let operator = Operator::default();
        let fields = json!(operator);
        let place = json!({ "dialect": "pigeon", "network": "global", "peer": "<img src=x>" });
        let of_hub = json!({ "other": "02".repeat(20) });
        [
            (joined, place.clone()),
            (left, with(&place, json!({ "reason": "removed" }))),
            (What::Takeover { network, peer }, place.clone()),
            (refusal(Some(here())), with(&place, refused())),
            (What::LinkUp { other }, of_hub.clone()),
            (lost, with(&of_hub, json!({ "reason": "lost" }))),
            (What::HubUp { other }, of_hub.clone()),
            (What::HubLost { other }, of_hub),
            (alarm, json!({ "label": "full", "text": "look" })),
            (What::Operator(operator), fields),
            (What::Missed { count: 3 }, json!({ "count": 3 })),
        ]
    }

    fn refusal(wanted: Option<(NetworkKey, PeerId)>) -> What {
        What::Refusal {
            reason: "banned".into(),
            address: Some([192, 0, 2, 1].into()),
            wanted,
        }
    }

    fn refused() -> Value {
        json!({ "reason": "banned", "address": "192.0.2.1" })
    }

    /// The fields of both objects.
    fn with(one: &Value, other: Value) -> Value {
        let both = [one.clone(), other].into_iter();
        let fields = both.flat_map(|one| one.as_object().cloned().unwrap_or_default());
        Value::Object(fields.collect())
    }

    #[test]
    fn every_event_is_read_by_other_hubs_as_it_was_written() {
        for ((what, _), kind) in one_of_each().into_iter().zip(Event::KINDS) {
            let event = event(what);
            let bytes = postcard::to_stdvec(&event).expect("it is written");
            assert_eq!(postcard::from_bytes(&bytes), Ok(event.clone()));
            assert_eq!(event.kind(), kind);
            assert!(event.is_bounded());
        }
    }

    #[test]
    fn operators_read_each_event_by_these_fields() {
        let nowhere = json!({ "dialect": null, "network": null, "peer": null });
        let of_nobody = (refusal(None), with(&nowhere, refused()));
        for (what, own) in one_of_each().into_iter().chain([of_nobody]) {
            let event = event(what);
            let read = serde_json::to_value(event.fields()).expect("it serializes");
            let wanted = with(&json!({ "at": 7, "hub": "01".repeat(20) }), own);
            assert_eq!(read, wanted, "{event:?}");
        }
    }

    #[test]
    fn no_hub_makes_another_hub_keep_long_texts() {
        let long = "x".repeat(MAX_TEXT + 1);
        let alarm = What::Alarm {
            label: "full".into(),
            text: long.clone(),
        };
        let operator = What::Operator(Operator {
            value: Some(long),
            ..Operator::default()
        });
        for what in [alarm, operator] {
            assert!(!event(what).is_bounded());
        }
        let late = Event {
            at_ms: MAX_AT_MS + 1,
            ..event(What::Missed { count: 1 })
        };
        assert!(!late.is_bounded(), "no browser can show it");
    }
}
