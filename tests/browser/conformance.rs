//! The checklist of `tests/browser/peerjs/conformance.mjs`, run against npm `peer`, one hub and two linked hubs.
//!
//! Owns the settings that each suite of checks needs. The files `checks.mjs` and `rooms.mjs` in `tests/browser/peerjs`
//! have the expectations and the differences of npm `peer`. The page of differences in `docs` is printed from
//! `checks.mjs`.

use std::path::Path;
use std::process::Command;

use crate::hub::Hub;
use crate::node::{folder, reason_to_skip};
use crate::run;

const RELAY: &[(&str, &str)] = &[
    ("PEERJS_ALLOW_DISCOVERY", "true"),
    ("PEERJS_EXPIRE_TIMEOUT_MS", "2000"),
    ("PEERJS_ALIVE_TIMEOUT_MS", "3000"),
];
const RELAY_OPTIONS: &[&str] = &["--discovery", "--expire", "2000", "--alive", "3000"];

const LIMIT: &[(&str, &str)] = &[("PEERJS_CONCURRENT_LIMIT", "2")];
const LIMIT_OPTIONS: &[&str] = &["--suite", "limit", "--limit", "2"];

const ROOMS: &[(&str, &str)] = &[
    ("PEERJS_ROOMS", "true"),
    ("MAX_PEERS_PER_ROOM", "4"),
    ("PEERJS_ALIVE_TIMEOUT_MS", "3000"),
];
const ROOM_OPTIONS: &[&str] = &["--suite", "rooms", "--limit", "4", "--alive", "3000"];

const SHUTDOWN: &[(&str, &str)] = &[("DRAIN_MS", "500")];

const BEGIN: &str = "<!-- differences:begin -->\n";
const END: &str = "<!-- differences:end -->";

/// Runs the checks on the first hub. If there is a second hub, checks with two clients use both.
fn ask(hubs: impl FnOnce() -> Vec<Hub>, path: &str, options: &[&str]) {
    run(hubs, |hubs| {
        let mut words = vec!["peerjs/conformance.mjs".to_owned()];
        for (name, hub) in ["--server", "--other"].iter().zip(hubs) {
            words.extend([(*name).to_owned(), hub.page(path)]);
        }
        words.extend(options.iter().map(|&option| option.to_owned()));
        words
    });
}

#[test]
fn the_reference_behaves_as_the_checks_record() {
    run(Vec::new, |_| {
        ["peerjs/conformance.mjs", "--reference"]
            .map(str::to_owned)
            .to_vec()
    });
}

#[test]
fn one_hub_behaves_as_the_checks_expect() {
    ask(|| vec![Hub::start(RELAY)], "/", RELAY_OPTIONS);
}

#[test]
fn two_hubs_behave_as_one_server_does() {
    ask(|| Hub::two_linked(RELAY), "/peerjs/", RELAY_OPTIONS);
}

#[test]
fn a_full_hub_says_so() {
    ask(|| vec![Hub::start(LIMIT)], "/", LIMIT_OPTIONS);
}

#[test]
fn rooms_are_bounded_and_apart_on_one_hub() {
    ask(|| vec![Hub::start(ROOMS)], "/", ROOM_OPTIONS);
}

#[test]
fn rooms_are_bounded_and_apart_across_two_hubs() {
    ask(|| Hub::two_linked(ROOMS), "/", ROOM_OPTIONS);
}

#[test]
fn a_hub_that_is_told_to_stop_sends_its_clients_elsewhere() {
    run(
        || vec![Hub::start(SHUTDOWN)],
        |hubs| {
            let [hub] = hubs else {
                unreachable!("one was started")
            };
            let (server, pid) = (hub.page("/"), hub.pid().to_string());
            let script = "peerjs/conformance.mjs";
            [
                script, "--suite", "shutdown", "--server", &server, "--stop", &pid,
            ]
            .map(str::to_owned)
            .to_vec()
        },
    );
}

#[test]
fn the_page_of_differences_shows_what_the_checks_record() {
    if let Some(reason) = reason_to_skip() {
        println!("skipped: {reason}");
        return;
    }
    let printed = Command::new("node")
        .current_dir(folder())
        .args(["peerjs/conformance.mjs", "--table"])
        .output()
        .expect("node runs");
    assert!(printed.status.success(), "the table is printed");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/peerjs-differences.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let (_, rest) = page
        .split_once(BEGIN)
        .expect("the page has the first marker");
    let (shown, _) = rest.split_once(END).expect("the page has the last marker");
    assert_eq!(shown, String::from_utf8_lossy(&printed.stdout));
}
