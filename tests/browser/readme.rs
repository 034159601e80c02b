//! The examples of the README for browsers, bundled as it says and opened in Chromium.
//!
//! Owns which hubs they are played on; `tests/browser/readme/page.mjs` takes them out of the README.

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
