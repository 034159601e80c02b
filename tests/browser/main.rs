//! Unmodified clients in headless Chromium, and a checklist in node, against real hubs linked as users link them.
//!
//! Owns how a story is played: `hub` has the hubs, and `node` has the process that plays the story. The stories, with
//! all their checks, are in `tests/browser/CLIENT/stories.mjs`. The tests need node, Chromium (`CHROMIUM`, else
//! `/usr/bin/chromium`) and `npm ci` in `tests/browser`. `HUBMESH_SKIP_BROWSER=reason` skips these tests and prints the
//! reason. Invariants: every process started here ends with its test, also when the test fails or is interrupted; every
//! wait has a deadline; a story that checked nothing has failed.

mod admin;
mod conformance;
mod flows;
mod hub;
#[path = "../common/hub_process.rs"]
mod hub_process;
mod nat;
#[path = "../common/nat_lab.rs"]
mod nat_lab;
mod node;
mod page;
mod peerjs;
mod peerpigeon;
mod readme;
mod turn;
mod yjs;

use hub::Hub;
use node::{Script, reason_to_skip};

/// Plays `story` of `client` on `hubs`, in this order; `url` gives the URL at which the clients of a hub connect.
fn play(client: &str, story: &str, hubs: impl FnOnce() -> Vec<Hub>, url: impl Fn(&Hub) -> String) {
    run(hubs, |hubs| {
        let words = ["run.mjs", client, story].map(str::to_owned);
        words.into_iter().chain(hubs.iter().map(&url)).collect()
    });
}

/// Runs a script on `hubs`; `arguments` is its command line. If a check of the script fails, prints the hubs' logs and
/// fails.
fn run(hubs: impl FnOnce() -> Vec<Hub>, arguments: impl FnOnce(&[Hub]) -> Vec<String>) {
    if let Some(reason) = reason_to_skip() {
        println!("skipped: {reason}");
        return;
    }
    let mut hubs = hubs();
    let arguments = arguments(&hubs);
    let mut script = Script::start(&arguments);
    if let Err(why) = script.run(&mut hubs) {
        drop(script);
        hubs.iter_mut().for_each(Hub::tell_its_log);
        panic!("node {}: {why}", arguments.join(" "));
    }
}
