//! The operator's page, in Chromium: on real hubs, and on simulated meshes.
//!
//! Owns which hubs each story of `tests/browser/admin/stories.mjs` is played on, and nothing of the stories.

use crate::hub::Hub;
use crate::play;

const TOKEN: (&str, &str) = ("ADMIN_TOKEN", "for-operators-alone");

fn play_on(story: &str, hubs: impl FnOnce() -> Vec<Hub>) {
    play("admin", story, hubs, |hub| hub.page("/"));
}

#[test]
fn an_operator_sees_the_mesh_live_and_steers_it() {
    play_on("mesh", || {
        let first = Hub::start(&[TOKEN, ("REGION", "fra")]);
        let others = ["iad", "syd"];
        let others = others.map(|region| Hub::start_linked(&first, &[TOKEN, ("REGION", region)]));
        [first].into_iter().chain(others).collect()
    });
}

#[test]
fn the_operator_s_page_is_read_only_where_operators_are_not_told_apart() {
    play_on("reader", || Hub::two_linked(&[]));
}

#[test]
fn an_operator_sees_signals_that_wait_and_ids_that_are_contested() {
    play_on("pending", || {
        Hub::two_linked(&[TOKEN, ("PEERJS_EXPIRE_TIMEOUT_MS", "60000")])
    });
}

/// The story simulates a mesh of its own. The runner needs one hub.
#[test]
fn waiting_signals_and_contests_come_page_by_page() {
    play_on("pages", || vec![Hub::start(&[])]);
}

/// The story simulates a mesh of its own. The runner needs one hub.
#[test]
fn the_operator_s_page_stays_quick_with_a_hundred_hubs_and_ten_thousand_networks() {
    play_on("large", || vec![Hub::start(&[])]);
}
