#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, and nothing here comes from a peer"
)]

use super::*;

fn client(dialect: Dialect, network: Option<&str>) -> OneNetwork {
    OneNetwork::new(Beginning {
        dialect,
        peer: PeerId::new("ada").ok(),
        fresh: None,
        network: network.map(|name| key(dialect, name)),
        needs_token: false,
        max_announce_bytes: 100,
        max_room_bytes: 100,
    })
}

fn key(dialect: Dialect, name: &str) -> NetworkKey {
    NetworkKey::new(dialect, name).expect("a name")
}

fn room(name: &str) -> NetworkKey {
    key(Dialect::Pigeon, name)
}

fn heard<'a>(client: &mut OneNetwork, text: &'a str) -> Vec<Action<'a>> {
    let mut actions = Actions::new(|| 7);
    client.hear(text, &mut actions);
    actions.into_iter().collect()
}

fn told(client: &mut OneNetwork, event: &HubEvent<'_>) -> Vec<Action<'static>> {
    let mut actions = Actions::new(|| 7);
    client.tell(event, &mut actions);
    actions.into_iter().map(Action::into_owned).collect()
}

fn joins(network: &str, quiet: bool, leaving: Option<&str>) -> Action<'static> {
    Action::Join {
        network: room(network),
        data: None,
        quiet,
        leaving: leaving.map(room),
        room: None,
    }
}

/// The codes of the complaints.
fn codes(actions: &[Action<'_>]) -> Vec<&'static str> {
    let code = |action: &Action<'_>| match action {
        Action::Complain { code, .. } => Some(*code),
        _ => None,
    };
    actions.iter().filter_map(code).collect()
}

const OFFER: &str = r#"{"type":"offer","targetPeerId":"bob","data":1}"#;
const ANNOUNCE: &str = r#"{"type":"announce","networkName":"a"}"#;

#[test]
fn a_native_client_moves_by_announcing_and_shows_new_data_where_it_is() {
    let mut ada = client(Dialect::Pigeon, None);
    assert!(matches!(
        told(&mut ada, &HubEvent::Connected)[..],
        [Action::Greet(Some(_))]
    ));
    assert_eq!(heard(&mut ada, ANNOUNCE), [joins("a", false, None)]);
    let (network, data) = (room("a"), None);
    assert_eq!(
        heard(&mut ada, ANNOUNCE),
        [Action::Update { network, data }]
    );
    let elsewhere = r#"{"type":"announce","networkName":"b"}"#;
    assert_eq!(heard(&mut ada, elsewhere), [joins("b", false, Some("a"))]);
    // It came too soon: the client is where it was.
    let leaving = room("a");
    let declined = HubEvent::Declined {
        leaving: Some(&leaving),
    };
    assert_eq!(told(&mut ada, &declined), []);
    let to_b = r#"{"type":"offer","targetPeerId":"bob","networkName":"b","data":1}"#;
    assert_eq!(codes(&heard(&mut ada, to_b)), ["other-network"]);
}

#[test]
fn a_first_signal_joins_unseen_and_nothing_but_an_announcement_does_after_a_goodbye() {
    let mut ada = client(Dialect::Pigeon, None);
    let first = heard(&mut ada, OFFER);
    assert_eq!(first[0], joins("global", true, None));
    assert!(matches!(
        first[1],
        Action::Signal {
            about: About::Only,
            ..
        }
    ));
    let goodbye = r#"{"type":"goodbye"}"#;
    let network = room("global");
    let leaves = Action::Leave {
        network,
        goodbye: true,
    };
    assert_eq!(heard(&mut ada, goodbye), [leaves]);
    assert_eq!(heard(&mut ada, goodbye), []);
    assert_eq!(codes(&heard(&mut ada, OFFER)), ["not-announced"]);
    assert_eq!(heard(&mut ada, ANNOUNCE), [joins("a", false, None)]);
    assert_eq!(heard(&mut ada, OFFER).len(), 1);
}

#[test]
fn what_was_not_heard_may_have_been_an_announcement() {
    let mut ada = client(Dialect::Pigeon, None);
    assert_eq!(told(&mut ada, &HubEvent::Missed), []);
    assert_eq!(codes(&heard(&mut ada, OFFER)), ["not-announced"]);
    let mut present = client(Dialect::Pigeon, None);
    heard(&mut present, ANNOUNCE);
    told(&mut present, &HubEvent::Missed);
    assert_eq!(heard(&mut present, OFFER).len(), 1);
}

#[test]
fn a_client_that_joins_by_connecting_is_greeted_once_it_is_in_and_goes_with_its_network() {
    let mut ada = client(Dialect::PeerJs, Some("peerjs"));
    let network = key(Dialect::PeerJs, "peerjs");
    let connected = told(&mut ada, &HubEvent::Connected);
    assert!(
        matches!(&connected[..], [Action::Join { network: asked, quiet: false, .. }] if *asked == network)
    );
    let joined = HubEvent::Joined { network: &network };
    assert!(matches!(
        told(&mut ada, &joined)[..],
        [Action::Greet(Some(_))]
    ));
    let lost = HubEvent::Lost {
        network: &network,
        why: Complaint::new("id-taken", "taken"),
    };
    let last = told(&mut ada, &lost);
    assert!(
        matches!(&last[..], [Action::Reply { text, .. }, Action::Close] if text.contains("ID-TAKEN"))
    );
    let left = heard(&mut ada, r#"{"type":"LEAVE"}"#);
    assert!(matches!(
        left[..],
        [Action::Leave { goodbye: true, .. }, Action::Close]
    ));
}

#[test]
fn a_dropped_signal_expires_where_an_error_would_end_the_connection() {
    let bob = PeerId::new("bob").expect("an id");
    let dropped = |kind| HubEvent::Dropped {
        what: Dropped::Signal { target: &bob, kind },
        why: Complaint::new("no-room", "none"),
    };
    let mut realm = client(Dialect::PeerJs, Some("peerjs"));
    let told_realm = told(&mut realm, &dropped(peerjs::OFFER));
    assert!(
        matches!(&told_realm[..], [Action::Complain { text: None, .. }, Action::UnknownTarget { name, about: About::Nothing, .. }] if name == "bob")
    );
    let untold = told(&mut realm, &dropped(peerjs::LEAVE));
    assert!(matches!(untold[..], [Action::Complain { text: None, .. }]));
    let mut native = client(Dialect::Pigeon, None);
    let told_native = told(&mut native, &dropped(pigeon::OFFER));
    assert!(matches!(
        told_native[..],
        [Action::Complain { text: Some(_), .. }]
    ));
}
