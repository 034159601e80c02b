//! Unmodified `peerjs` clients against one hub, two linked hubs and npm `peer`, which shows that the stories are right.
//!
//! Owns which servers each story of `tests/browser/peerjs/stories.mjs` is played on, and nothing of the stories.

use crate::hub::Hub;
use crate::node::{Script, reason_to_skip};
use crate::play;

fn play_on(story: &str, hubs: impl FnOnce() -> Vec<Hub>) {
    play("peerjs", story, hubs, |hub| hub.page("/"));
}

fn one() -> Vec<Hub> {
    vec![Hub::start(&[])]
}

fn two() -> Vec<Hub> {
    Hub::two_linked(&[])
}

#[test]
fn data_connections_carry_strings_objects_and_bytes_on_one_hub() {
    play_on("data", one);
}

#[test]
fn data_connections_carry_strings_objects_and_bytes_across_two_hubs() {
    play_on("data", two);
}

#[test]
fn data_connections_work_under_the_path_peerjs_too() {
    play("peerjs", "data", two, |hub| hub.page("/peerjs/"));
}

#[test]
fn a_call_shows_each_the_other_on_one_hub() {
    play_on("call", one);
}

#[test]
fn a_call_shows_each_the_other_across_two_hubs() {
    play_on("call", two);
}

#[test]
fn ids_are_made_up_taken_and_missing_on_one_hub() {
    play_on("ids", one);
}

#[test]
fn ids_are_made_up_taken_and_missing_across_two_hubs() {
    play_on("ids", two);
}

#[test]
fn a_client_disconnects_reconnects_and_is_destroyed_on_one_hub() {
    play_on("comings", one);
}

#[test]
fn a_client_disconnects_reconnects_and_is_destroyed_across_two_hubs() {
    play_on("comings", two);
}

#[test]
fn all_peers_of_the_mesh_are_listed_where_that_is_allowed() {
    play_on("listed", || {
        Hub::two_linked(&[("PEERJS_ALLOW_DISCOVERY", "true")])
    });
}

#[test]
fn no_peers_are_listed_where_that_is_not_allowed() {
    play_on("unlisted", one);
}

/// A browser may take longer to open one more page than a message waits by default.
const PATIENT: [(&str, &str); 1] = [("PEERJS_EXPIRE_TIMEOUT_MS", "30000")];

#[test]
fn an_offer_waits_for_a_target_that_comes_later_on_one_hub() {
    play_on("late", || vec![Hub::start(&PATIENT)]);
}

#[test]
fn an_offer_waits_for_a_target_that_comes_later_on_another_hub() {
    play_on("late", || Hub::two_linked(&PATIENT));
}

#[test]
fn twenty_pairs_connect_at_once_on_one_hub() {
    play_on("crowd", one);
}

#[test]
fn twenty_pairs_connect_at_once_across_two_hubs() {
    play_on("crowd", two);
}

#[test]
fn a_host_talks_to_forty_guests_at_once_across_two_hubs() {
    play_on("party", two);
}

#[test]
fn a_client_that_an_operator_removes_is_told_by_its_library() {
    play_on("removed", || {
        Hub::two_linked(&[("ADMIN_TOKEN", "for-operators-alone")])
    });
}

#[test]
fn links_outlive_a_restarted_hub_and_its_clients_come_back_to_it() {
    play_on("restart", one);
}

#[test]
fn links_outlive_a_restarted_hub_of_two_and_its_clients_come_back_to_it() {
    play_on("restart", two);
}

const PLAYED_ON_THE_REFERENCE: &[(&str, &[&str])] = &[
    (
        "allow_discovery=true",
        &[
            "data", "call", "ids", "comings", "listed", "late", "crowd", "party",
        ],
    ),
    ("allow_discovery=false", &["unlisted"]),
];

#[test]
fn the_stories_hold_on_the_server_that_peerjs_applications_run() {
    if let Some(reason) = reason_to_skip() {
        println!("skipped: {reason}");
        return;
    }
    for (setting, stories) in PLAYED_ON_THE_REFERENCE {
        let server = Script::start(&["peerjs/reference.mjs", setting].map(str::to_owned));
        let url = server.line("serving ").expect("it says where it serves");
        for story in *stories {
            let words = ["run.mjs", "peerjs", story, &url].map(str::to_owned);
            let outcome = Script::start(&words).run(&mut []);
            outcome.unwrap_or_else(|why| panic!("{story} on npm peer: {why}"));
        }
    }
}
