//! The examples of the README and of docs/nat.md for browsers, bundled as the README says and opened in Chromium.
//!
//! Owns on which hubs the examples are played; `tests/browser/readme/page.mjs` takes the examples out of the two files.

use crate::hub::Hub;
use crate::play;

#[test]
fn the_example_of_the_native_client_works_as_it_is_written() {
    play("readme", "peerpigeon", || Hub::two_linked(&[]), Hub::url);
}

#[test]
fn the_example_of_peerjs_works_as_it_is_written() {
    play("readme", "peerjs", || Hub::two_linked(&[]), Hub::url);
}

/// The relays of two hubs on this machine; each relay may exchange datagrams with the other on loopback.
const RELAYS: [(&str, &str); 3] = [
    ("STUN_PORT", "0"),
    ("TURN_PORT", "0"),
    ("TURN_ALLOW_PEERS", "127.0.0.1"),
];

#[test]
fn the_lines_for_relays_work_with_the_native_client() {
    play(
        "readme",
        "peerpigeon_relayed",
        || Hub::two_linked(&RELAYS),
        Hub::url,
    );
}

#[test]
fn the_lines_for_relays_work_with_peerjs() {
    play(
        "readme",
        "peerjs_relayed",
        || Hub::two_linked(&RELAYS),
        Hub::url,
    );
}
