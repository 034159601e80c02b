//! The page of a hub and its demo, in Chromium.
//!
//! Owns which hubs each story of `tests/browser/page/stories.mjs` is played on, and nothing of the stories.

use crate::hub::Hub;
use crate::play;

fn play_on(story: &str, hubs: impl FnOnce() -> Vec<Hub>) {
    play("page", story, hubs, |hub| hub.page("/"));
}

#[test]
fn the_demo_connects_two_browsers_on_two_hubs() {
    play_on("demo", || Hub::two_linked(&[("REGION", "north")]));
}

#[test]
fn who_has_gone_keeps_nobody_out_of_a_room_of_the_demo() {
    play_on("ghost", || Hub::two_linked(&[]));
}

#[test]
fn the_page_follows_the_hub_and_names_its_own_address() {
    play_on("live", || Hub::two_linked(&[("PEERJS_PATH", "/myapp")]));
}

#[test]
fn the_demo_asks_for_the_token_and_keeps_it_out_of_the_address() {
    play_on("token", || {
        vec![Hub::start(&[
            ("AUTH_TOKEN", "open-sesame"),
            ("DEMO", "true"),
        ])]
    });
}

#[test]
fn the_demo_goes_through_the_hub_s_own_relays_where_nothing_else_does() {
    play_on("relay", || vec![Hub::start(&[("TURN_PORT", "0")])]);
}

#[test]
fn the_demo_says_why_there_is_no_connection() {
    play_on("failure", || vec![Hub::start(&[])]);
}

#[test]
fn a_hub_without_a_demo_shows_none() {
    play_on("without", || vec![Hub::start(&[("DEMO", "false")])]);
}

#[test]
fn the_page_of_a_hub_with_operators_shows_no_mesh() {
    play_on("closed", || {
        vec![Hub::start(&[("ADMIN_TOKEN", "for-operators-alone")])]
    });
}
