//! Requests of one user that arrive at the same moment, at one hub and at two.

use futures::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};

use crate::hub_process::{HttpAnswer, HubProcess, eventually};
use crate::{get, has_members, post};

/// Two hubs with a room that both know. `duplicate` decides who has an id: the newest client, or the client that is
/// alive.
async fn two(duplicate: &str) -> [HubProcess; 2] {
    let first = HubProcess::builder().env("DUPLICATE_PEER", duplicate);
    let first = first.start().await;
    let second = first.neighbour().env("DUPLICATE_PEER", duplicate);
    let second = second.start().await;
    second.reaches_hubs(1).await;
    let host = json!({"roomId": "r", "hostId": "ada"});
    let made = post(&first, "/api/rooms", &host).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    has_members(&second, "r", 1).await;
    [first, second]
}

async fn join(hub: &HubProcess, user: &str) -> HttpAnswer {
    post(hub, "/api/rooms/r/join", &json!({"userId": user})).await
}

fn users(told: &Value) -> Vec<&str> {
    let peers = told["peers"].as_array().expect("a list").iter();
    peers.filter_map(|peer| peer["userId"].as_str()).collect()
}

#[tokio::test]
async fn a_user_who_asks_several_times_at_once_at_one_hub_is_let_in_each_time() {
    for duplicate in ["refuse", "replace"] {
        let [_first, second] = two(duplicate).await;
        for round in 0..5 {
            let user = format!("user {round}");
            for answer in join_all((0..4).map(|_| join(&second, &user))).await {
                assert_eq!(
                    answer.status,
                    StatusCode::OK,
                    "{duplicate}: {}",
                    answer.body
                );
            }
        }
        has_members(&second, "r", 6).await;
    }
}

#[tokio::test]
async fn a_user_who_asks_at_two_hubs_at_once_is_in_the_room_once() {
    for duplicate in ["refuse", "replace"] {
        let hubs = two(duplicate).await;
        let asked = [0, 1, 0, 1].map(|no| join(&hubs[no], "bob"));
        let answers = join_all(asked).await;
        for answer in &answers {
            let is_fair = [
                StatusCode::OK,
                // The other hub let the user in first.
                StatusCode::CONFLICT,
                // The user moved between the hubs too often.
                StatusCode::TOO_MANY_REQUESTS,
            ];
            assert!(
                is_fair.contains(&answer.status),
                "{duplicate}: {}",
                answer.body
            );
        }
        let let_in = answers.iter().any(|answer| answer.status == StatusCode::OK);
        assert!(let_in, "{duplicate}: nobody was let in");
        for hub in &hubs {
            eventually("he is there, once", async || {
                let told = get(hub, "/api/rooms/r/peers", StatusCode::OK).await;
                users(&told) == ["ada", "bob"]
            })
            .await;
        }
        // One hub keeps bob's visit for longer. The other hub knows which one that is.
        eventually("he leaves", async || {
            let left = post(&hubs[0], "/api/rooms/r/leave", &json!({"userId": "bob"})).await;
            left.status == StatusCode::OK
        })
        .await;
        for hub in &hubs {
            has_members(hub, "r", 1).await;
        }
    }
}
