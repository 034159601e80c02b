//! How often clients may cause questions to other hubs, where a hub does not know all networks.

use std::time::{Duration, Instant};

use futures::future::{join_all, select_all};
use hubmesh_core::ids::Dialect;

use crate::served::{ROOMS, Served};

async fn served() -> Served {
    Served::with(&[], Some(Dialect::Rooms)).await
}

fn questions(served: &Served) -> Vec<usize> {
    let sketched = served.app.backend().sketched.lock();
    sketched.expect("nobody panicked").clone()
}

#[tokio::test]
async fn those_who_ask_for_one_list_at_once_share_one_answer() {
    let served = served().await;
    // As many requests as one address may have waiting.
    let asked = (0..4).map(|_| served.get("/api/rooms"));
    for answer in join_all(asked).await {
        assert_eq!(answer.status, 200, "{}", answer.body);
        let rooms = answer.json()["rooms"].as_array().map(Vec::len);
        assert_eq!(rooms, Some(ROOMS));
    }
    assert_eq!(questions(&served), [ROOMS]);
}

#[tokio::test]
async fn questions_have_a_pace_however_the_pages_are_cut() {
    let served = served().await;
    let began = Instant::now();
    for number in 0..ROOMS - 1 {
        let page = format!("/api/rooms?limit=1&after={number:02}");
        let page = served.get(&page).await;
        assert_eq!(page.status, 200, "{}", page.body);
    }
    let asked = questions(&served);
    assert_eq!(asked, [1; ROOMS - 1]);
    let pauses = u32::try_from(asked.len() - 1).expect("few");
    assert!(began.elapsed() >= Duration::from_millis(5) * pauses);
}

#[tokio::test]
async fn one_address_looks_at_no_more_networks_than_are_left_to_all_others() {
    let served = served().await;
    // Each look waits for a permit.
    let asked = (0..=128).map(|number| {
        let served = &served;
        Box::pin(async move { served.get(&format!("/api/rooms/r{number}")).await })
    });
    let (refused, _, waiting) = select_all(asked).await;
    assert_eq!(refused.status, 429, "{}", refused.body);
    assert!(refused.header("retry-after").is_some());
    served.app.backend().looks.add_permits(waiting.len());
    for answer in join_all(waiting).await {
        // The hub that knows the network did not answer.
        assert_eq!(answer.status, 503, "{}", answer.body);
        let named = answer.json()["notAnswered"].as_array().map(Vec::len);
        assert_eq!(named, Some(1));
    }
}
