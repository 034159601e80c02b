//! A connection whose first text tells its dialect: first come frames that are not text, then that text.

use hubmesh::dialect::coordinator::{Said, decode};
use hubmesh::dialect::protocol::{Actions, Beginning};
use hubmesh::dialect::sniffing::{Sniffing, error};
use hubmesh::dialect::{HubEvent, Protocol};
use hubmesh_core::ids::{Dialect, PeerId};

/// The first two bytes are the number of other frames before the text; the rest is the text. If no dialect begins with
/// the text, the hub's answer is JSON. If a dialect is recognised, its protocol handles the text, and knows the kind of
/// message.
pub fn sniffing(input: &[u8]) {
    let Some((frames, text)) = input.split_first_chunk() else {
        return;
    };
    let mut sniffing = Sniffing::default();
    for _ in 0..u16::from_be_bytes(*frames) {
        if sniffing.pass().is_err() {
            return;
        }
    }
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let dialect = match sniffing.hear(text) {
        Ok(dialect) => dialect,
        Err(why) => {
            let told = error(&why);
            serde_json::from_str::<serde_json::Value>(&told).expect("what is told is JSON");
            return;
        }
    };
    if dialect == Dialect::Coordinator {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let said = decode(text);
        assert!(!matches!(said, Ok(Said::Unknown(_))), "{said:?}");
    }
    let mut protocol = Protocol::new(Beginning {
        dialect,
        peer: PeerId::new("somebody")
            .ok()
            .filter(|_| dialect == Dialect::Yjs),
        fresh: None,
        network: None,
        needs_token: false,
        max_announce_bytes: 1_024,
        max_room_bytes: 1_024,
    });
    let mut actions = Actions::new(|| 0);
    protocol.tell(&HubEvent::Connected, &mut actions);
    protocol.hear(text, &mut actions);
    assert!(actions.received().is_some(), "it is counted");
}
