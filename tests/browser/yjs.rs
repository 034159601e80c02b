//! Unmodified `y-webrtc` clients and their `yjs` documents against one hub and two linked hubs.
//!
//! Owns which hubs each story of `tests/browser/yjs/stories.mjs` is played on, and nothing of the stories.

use crate::hub::Hub;
use crate::play;

fn play_on(story: &str, hubs: impl FnOnce() -> Vec<Hub>) {
    play("yjs", story, hubs, Hub::url);
}

fn one() -> Vec<Hub> {
    vec![Hub::start(&[])]
}

fn two() -> Vec<Hub> {
    Hub::two_linked(&[])
}

#[test]
fn documents_sync_on_one_hub() {
    play_on("plain", one);
}

#[test]
fn documents_sync_across_two_hubs() {
    play_on("plain", two);
}

#[test]
fn documents_with_a_password_sync_on_one_hub() {
    play_on("secret", one);
}

#[test]
fn documents_with_a_password_sync_across_two_hubs() {
    play_on("secret", two);
}

#[test]
fn documents_outlive_their_hub_and_meet_others_on_the_next() {
    play_on("survivors", two);
}

#[test]
fn a_document_comes_back_to_a_restarted_hub() {
    play_on("restart", one);
}
