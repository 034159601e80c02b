//! The message flows that applications publish, played by the `ws` package against one hub and two linked hubs.
//!
//! Owns which fixture is played on which hubs; `tests/browser/flow.mjs` plays it. `tests/coordinator` and `tests/rooms`
//! play the same fixtures without node.

use crate::hub::Hub;
use crate::run;

const COORDINATOR: &str = "../fixtures/coordinator/flow.jsonl";
const ROOMS: &str = "../fixtures/rooms/flow.jsonl";

fn play(fixture: &str, path: &str, hubs: impl FnOnce() -> Vec<Hub>) {
    run(hubs, |hubs| {
        let words = ["flow.mjs", fixture, path].map(str::to_owned);
        words.into_iter().chain(hubs.iter().map(Hub::url)).collect()
    });
}

fn one() -> Vec<Hub> {
    vec![Hub::start(&[])]
}

fn two() -> Vec<Hub> {
    Hub::two_linked(&[])
}

#[test]
fn the_coordinator_s_flow_goes_on_one_hub() {
    play(COORDINATOR, "/p2p", one);
}

#[test]
fn the_coordinator_s_flow_goes_across_two_hubs() {
    play(COORDINATOR, "/p2p", two);
}

#[test]
fn the_flow_of_rooms_goes_on_one_hub() {
    play(ROOMS, "/rooms", one);
}

#[test]
fn the_flow_of_rooms_goes_across_two_hubs() {
    play(ROOMS, "/rooms", two);
}
