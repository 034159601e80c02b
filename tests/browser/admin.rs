//! The operator's page, in Chromium, on a simulated mesh of a hundred hubs.
//!
//! Owns which hubs each story of `tests/browser/admin/stories.mjs` is played on, and nothing of the stories.

use crate::hub::Hub;
use crate::play;

fn play_on(story: &str, hubs: impl FnOnce() -> Vec<Hub>) {
    play("admin", story, hubs, |hub| hub.page("/"));
}

/// The hub only has to be there: this mesh is simulated.
#[test]
fn the_operator_s_page_stays_quick_with_a_hundred_hubs_and_ten_thousand_networks() {
    play_on("large", || vec![Hub::start(&[])]);
}
