//! Ten thousand peers that join and leave use up no memory.
//!
//! Resident memory is compared between rounds of the same work. The first two rounds fill the memory that is kept on
//! purpose: buffers of the allocator and of the threads, and the ring of tombstones. A leak grows with each later
//! round.

use crate::arena::{Arena, TOKEN, crowd};
use crate::hub_process::HubProcess;
use crate::raw::{Raw, fresh_id};

/// Rounds of joins and leaves; the first [`WARM`] of them are not measured.
const ROUNDS: usize = 5;
const WARM: usize = 2;
/// Joins and leaves in a round.
const PEERS: usize = 2_000;
/// How many peers are connected at once.
const AT_ONCE: usize = 50;
/// The growth that is allowed, for pages that the allocator has not given back.
const SLACK: usize = 3 * 1024 * 1024;

/// Resident bytes of a process.
pub fn resident(pid: u32) -> usize {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).expect("the process lives");
    let pages = statm.split_whitespace().nth(1).expect("a second field");
    pages.parse::<usize>().expect("a number") * rustix::param::page_size()
}

/// Each peer has an id, a network and data of its own, and every second one says goodbye.
async fn come_and_go(hub: &HubProcess, round: usize) {
    crowd(AT_ONCE, async |lane| {
        for number in 0..PEERS / AT_ONCE {
            let network = format!("round {round} lane {lane} of {number}");
            let mut peer = Raw::peer(hub, &fresh_id()).await;
            let data = format!("{{\"n\":\"{}\"}}", "x".repeat(500));
            let announce =
                format!(r#"{{"type":"announce","networkName":"{network}","data":{data}}}"#);
            peer.say(&announce).await.expect("a live hub");
            peer.pong().await;
            if number % 2 == 0 {
                peer.say(r#"{"type":"goodbye"}"#).await.expect("a live hub");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn ten_thousand_joins_and_leaves_leave_no_memory_behind() {
    // On a busy machine peers may be slow to announce themselves. This test is not about that deadline.
    let patient = HubProcess::builder().env("HUB_TOKEN", TOKEN);
    let mut arena = Arena::around(patient).await;
    let mut sizes = Vec::new();
    for round in 0..ROUNDS {
        arena
            .attack("joins and leaves", async |hub| {
                come_and_go(hub, round).await
            })
            .await;
        sizes.push((resident(arena.hub.pid()), resident(arena.neighbour.pid())));
    }
    println!("resident after each round: {sizes:?}");
    let (base, last) = (sizes[WARM - 1], sizes[ROUNDS - 1]);
    assert!(last.0 < base.0 + SLACK, "the hub grows: {sizes:?}");
    assert!(last.1 < base.1 + SLACK, "its neighbour grows: {sizes:?}");
}
