//! Ids whose holder has disappeared without its hub noticing, and the clients that wait for these ids.

use serde_json::json;
use tokio::time::{Duration, sleep, timeout};

use crate::{
    client::{Client, Way, knows, pair},
    hub_process::{HubProcess, LIMIT},
};

/// The indexes of the holder's hub and of the other hub.
const HERE_AND_THERE: [usize; 2] = [0, 1];

/// A client that holds an id on the first of these hubs. Both hubs know the client, and it has stopped reading.
async fn half_open(hubs: &[HubProcess; 2], id: &str, peers: usize) -> Client {
    let holder = Client::open(&hubs[0], id, "old page").await;
    knows(&hubs[1], peers).await;
    holder.go_deaf();
    holder
}

/// Asks for an id and does not wait for the answer.
async fn asks(hub: &HubProcess, id: &str, token: &str) -> Client {
    let connected = Client::connect(&hub.ws_url(), &Way::new(id, token)).await;
    connected.expect("a socket")
}

async fn is_open(client: &mut Client) {
    assert_eq!(client.next().await["type"], "OPEN", "{}", client.id);
}

#[tokio::test]
async fn what_a_page_said_before_it_was_reloaded_does_not_keep_its_id_from_the_next_one() {
    let hubs = pair(|hub| hub).await;
    for to in HERE_AND_THERE {
        let id = format!("reloaded {to}");
        let mut old = half_open(&hubs, &id, 1).await;
        let mut new = asks(&hubs[to], &id, "new page").await;
        let talk = async {
            // These messages stand for messages on their way: they arrive after the hub has probed the old client.
            loop {
                old.say(json!({"type": "HEARTBEAT"})).await;
                sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            () = talk => {}
            () = is_open(&mut new) => {}
        }
        new.close().await;
        knows(&hubs[1], 0).await;
    }
}

#[tokio::test]
async fn a_holder_that_goes_while_it_is_asked_frees_its_id_before_its_time_is_over() {
    let hubs = pair(|hub| hub).await;
    for to in HERE_AND_THERE {
        for way in ["LEAVE", "close"] {
            let id = format!("{way} {to}");
            let _silent = half_open(&hubs, &format!("silent {id}"), 1).await;
            let mut old = half_open(&hubs, &id, 2).await;
            let mut measure = asks(&hubs[to], &format!("silent {id}"), "new page").await;
            let mut new = asks(&hubs[to], &id, "new page").await;
            match way {
                "LEAVE" => old.say(json!({"type": "LEAVE"})).await,
                _ => old.say_close().await,
            }
            tokio::select! {
                biased;
                () = is_open(&mut new) => {}
                () = is_open(&mut measure) => panic!("{id}: as late as if it had said nothing"),
            }
            is_open(&mut measure).await;
            measure.close().await;
            new.close().await;
            knows(&hubs[1], 0).await;
        }
    }
}

#[tokio::test]
async fn of_five_pages_that_wait_for_a_dead_one_the_living_gets_the_id_whoever_died_before_it() {
    let hubs = pair(|hub| hub).await;
    for to in HERE_AND_THERE {
        let id = format!("impatient {to}");
        let _old = half_open(&hubs, &id, 1).await;
        let mut reloaded = asks(&hubs[to], &id, "page 1").await;
        reloaded.say_close().await;
        let mut left = asks(&hubs[to], &id, "page 2").await;
        left.say(json!({"type": "LEAVE"})).await;
        drop(asks(&hubs[to], &id, "page 3").await);
        // The hub does not even notice that this page has died.
        let lost = asks(&hubs[to], &id, "page 4").await;
        lost.go_deaf();
        let mut living = asks(&hubs[to], &id, "page 5").await;
        is_open(&mut living).await;
        let mut caller = Client::open(&hubs[0], &format!("caller {to}"), "c").await;
        caller.send("OFFER", &id, json!("for the living")).await;
        assert_eq!(living.next().await["payload"], "for the living");
        caller.close().await;
        living.close().await;
        knows(&hubs[1], 0).await;
    }
}

#[tokio::test]
async fn a_page_that_waits_is_closed_as_soon_as_it_asks_for_it() {
    let hubs = pair(|hub| hub).await;
    for to in HERE_AND_THERE {
        let id = format!("closed {to}");
        let _old = half_open(&hubs, &id, 1).await;
        let mut measure = asks(&hubs[to], &id, "waits").await;
        let closes = asks(&hubs[to], &id, "closes").await;
        tokio::select! {
            biased;
            () = closes.close() => {}
            () = is_open(&mut measure) => panic!("its close frame was read when the id was free"),
        }
        let opened = timeout(LIMIT, is_open(&mut measure)).await;
        opened.expect("the other gets the id");
        measure.close().await;
        knows(&hubs[1], 0).await;
    }
}
