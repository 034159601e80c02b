//! Unmodified `peerpigeon` clients against one, two and three hubs, linked as users link them.
//!
//! Owns which hubs each story of `tests/browser/peerpigeon/stories.mjs` is played on, and nothing of the stories.

use crate::hub::Hub;
use crate::play;

fn play_on(story: &str, hubs: impl FnOnce() -> Vec<Hub>) {
    play("peerpigeon", story, hubs, Hub::url);
}

fn two() -> Vec<Hub> {
    Hub::two_linked(&[])
}

#[test]
fn clients_meet_talk_and_part_on_one_hub() {
    play_on("gathering", || vec![Hub::start(&[])]);
}

#[test]
fn clients_meet_talk_and_part_across_two_hubs_that_ask_for_a_token() {
    play_on("gathering", || {
        let secured = [("AUTH_TOKEN", "cGVlcnM+/w=="), ("HUB_TOKEN", "aHVicw==")];
        Hub::two_linked(&secured)
    });
}

#[test]
fn clients_meet_talk_and_part_across_a_chain_of_three_hubs() {
    play_on("gathering", || {
        let first = Hub::start(&[]);
        let middle = Hub::start_linked(&first, &[]);
        let last = Hub::start_linked(&middle, &[]);
        vec![first, middle, last]
    });
}

#[test]
fn networks_stay_apart_across_two_hubs() {
    play_on("networks", two);
}

#[test]
fn clients_come_back_to_a_restarted_hub_and_keep_their_channels() {
    play_on("restart", two);
}

#[test]
fn clients_come_back_to_a_restarted_bootstrap_hub_and_keep_their_channels() {
    play_on("restart", || {
        let mut hubs = two();
        hubs.reverse();
        hubs
    });
}

#[test]
fn a_client_whose_socket_died_comes_back_under_its_own_id() {
    play_on("cut", two);
}
