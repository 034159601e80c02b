//! The stories, each written once: the actions of clients, and the messages that they receive.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::client::Client;
use crate::stage::{ADA, BOB, Stage};
use crate::table::{Place, Story};
use crate::words::{Dialect, Kind};

/// Settings with short timeouts, so that a hub soon closes a silent connection.
const IMPATIENT: [(&str, &str); 4] = [
    ("PEER_TIMEOUT_MS", "1000"),
    ("PEERJS_ALIVE_TIMEOUT_MS", "1000"),
    ("PEER_HEARTBEAT_TIMEOUT", "1000"),
    ("PEERJS_EXPIRE_TIMEOUT_MS", "200"),
];

/// With this setting, a call to a peer that has left fails soon.
const SOON: [(&str, &str); 1] = [("PEERJS_EXPIRE_TIMEOUT_MS", "200")];

/// With these settings, a client is soon too fast. It may still join one network: a further announcement costs 19
/// messages.
const SLOW: [(&str, &str); 2] = [("RATE_LIMIT_PER_SEC", "50"), ("RATE_LIMIT_BURST", "40")];

pub async fn play(story: Story, dialect: Dialect, place: Place) {
    let settings: &[(&str, &str)] = match story {
        Story::Leave | Story::HubDeath | Story::Drain => &SOON,
        Story::Timeout => &IMPATIENT,
        Story::OverLimit => &SLOW,
        _ => &[],
    };
    let stage = Stage::new(dialect, place, settings).await;
    match story {
        Story::Join => join(&stage).await,
        Story::Discover => discover(&stage).await,
        Story::Offer => signals(&stage, Kind::Offer, 1).await,
        Story::Answer => signals(&stage, Kind::Answer, 1).await,
        Story::Candidate => signals(&stage, Kind::Candidate, 20).await,
        Story::Leave => leave(&stage).await,
        Story::TakeOver => take_over(&stage).await,
        Story::Timeout => timeout(&stage).await,
        Story::Publish => publish(&stage).await,
        Story::CrossHub => cross_hub(&stage).await,
        Story::HubDeath => hub_death(stage).await,
        Story::Drain => drain(stage).await,
        Story::OverLimit => over_limit(&stage).await,
    }
}

async fn join(stage: &Stage) {
    let _ada = stage.first(ADA).await;
    let _bob = stage.second(BOB).await;
}

async fn discover(stage: &Stage) {
    let mut ada = stage.first(ADA).await;
    let mut bob = stage.second(BOB).await;
    ada.knows(BOB).await;
    bob.knows(ADA).await;
}

/// A payload that has to arrive unchanged.
fn payload(number: usize) -> Value {
    json!({"sdp": "v=0\r\n", "half": "\u{fffd}", "deep": [[{"n": number}]], "none": null})
}

async fn signals(stage: &Stage, kind: Kind, many: usize) {
    let (mut ada, mut bob) = stage.two().await;
    for number in 0..many {
        ada.signal(kind, BOB, &payload(number)).await;
    }
    for number in 0..many {
        assert_eq!(bob.hears(kind, ADA).await, payload(number));
    }
    bob.signal(kind, ADA, &payload(many)).await;
    assert_eq!(ada.hears(kind, BOB).await, payload(many));
}

async fn leave(stage: &Stage) {
    let (mut ada, mut bob) = stage.two().await;
    bob.leave().await;
    ada.misses(BOB).await;
}

async fn take_over(stage: &Stage) {
    let (mut ada, mut bob) = stage.two().await;
    let mut again = stage.at_first(BOB).await;
    let (told, code) = bob.is_closed().await;
    assert_eq!(code, 1008, "{told:?}");
    assert!(!told.is_empty(), "it is told");
    ada.signal(Kind::Offer, BOB, &json!("to whom?")).await;
    assert_eq!(again.hears(Kind::Offer, ADA).await, "to whom?");
}

async fn timeout(stage: &Stage) {
    let (mut ada, bob) = stage.two().await;
    bob.falls_silent();
    ada.misses(BOB).await;
}

async fn publish(stage: &Stage) {
    let (mut ada, mut bob) = stage.two().await;
    for number in 0..20 {
        ada.publish(&payload(number)).await;
    }
    for number in 0..20 {
        assert_eq!(bob.hears_published(ADA).await, payload(number));
    }
}

/// Sends a number to the other client: as a signal or, in dialects without signals, as a publication.
async fn say(client: &mut Client, other: &str, number: usize) {
    match client.dialect().signals() {
        true => client.signal(Kind::Candidate, other, &json!(number)).await,
        false => client.publish(&json!({"to": other, "n": number})).await,
    }
}

async fn is_told(client: &mut Client, by: &str, number: usize) {
    let told = match client.dialect().signals() {
        true => client.hears(Kind::Candidate, by).await,
        false => loop {
            let told = client.hears_published(by).await;
            // A client also receives its own publications.
            if told["to"] == client.id() {
                break told["n"].clone();
            }
        },
    };
    assert_eq!(told, number);
}

async fn cross_hub(stage: &Stage) {
    let (mut ada, mut bob) = stage.two().await;
    for number in 0..30 {
        say(&mut ada, BOB, number).await;
        say(&mut bob, ADA, number).await;
    }
    for number in 0..30 {
        is_told(&mut ada, BOB, number).await;
        is_told(&mut bob, ADA, number).await;
    }
}

async fn hub_death(mut stage: Stage) {
    let (mut ada, _bob) = stage.two().await;
    let mut second = stage.hubs.pop().expect("there are two");
    second.kill9().await;
    let began = Instant::now();
    ada.misses(BOB).await;
    let took = began.elapsed();
    assert!(took < Duration::from_millis(5_500), "{took:?}");
}

async fn drain(mut stage: Stage) {
    let (mut ada, mut bob) = stage.two().await;
    let mut last = stage.hubs.pop().expect("one at least");
    last.terminate();
    let (_, code) = bob.is_closed().await;
    assert_eq!(code, 1012);
    if stage.hubs.is_empty() {
        let (_, code) = ada.is_closed().await;
        assert_eq!(code, 1012);
    } else {
        ada.misses(BOB).await;
    }
    last.wait_exit().await;
}

async fn over_limit(stage: &Stage) {
    let (mut ada, mut bob) = stage.two().await;
    match stage.dialect.is_slowed_down() {
        true => {
            for number in 0..60 {
                ada.signal(Kind::Candidate, BOB, &json!(number)).await;
            }
            for number in 0..60 {
                assert_eq!(bob.hears(Kind::Candidate, ADA).await, number);
            }
        }
        false => {
            ada.pings(120).await;
            ada.is_told("rate-limited").await;
        }
    }
    // The hub answers the client again when the client has been quiet for long enough.
    ada.is_answered().await;
    ada.pings(2_000).await;
    let (told, code) = ada.is_closed().await;
    let last = told.last().unwrap_or(&Value::Null);
    assert_eq!(code, 1008, "{last}");
    assert_eq!(stage.dialect.code(last), "rate-abuse", "{last}");
    bob.is_answered().await;
}
