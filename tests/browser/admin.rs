//! The operator's page, in Chromium: on three hubs, and on a simulated mesh of a hundred.
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

/// The hub only has to be there: this mesh is simulated.
#[test]
fn the_operator_s_page_stays_quick_with_a_hundred_hubs_and_ten_thousand_networks() {
    play_on("large", || vec![Hub::start(&[])]);
}
