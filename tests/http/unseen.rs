//! How often clients may cause questions to other hubs, where a hub does not know all networks.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::future::{join_all, select_all};
use hubmesh::mesh::{NetworkSketch, RoomSketch};
use hubmesh_core::api::{Room, RoomClaim, RoomRecord};
use hubmesh_core::ids::{ClaimNo, Dialect, Hlc, HubId, PeerId};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::served::{Answer, ROOMS, Served, TIMEOUT};

/// As many looks as one address may have, if there are no others.
const LOOKS_OF_ONE: usize = 128;

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
    let asked = (0..=LOOKS_OF_ONE).map(|number| {
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

/// Sends a request for this and gives the connection, on which the answer is not read.
async fn unread(served: &Served, target: &str) -> TcpStream {
    let mut stream = TcpStream::connect(served.addr).await.expect("it listens");
    let head = format!("GET {target} HTTP/1.1\r\nHost: hub\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("it reads");
    stream
}

async fn eventually(what: &str, is_so: impl AsyncFn() -> bool) {
    let wait = async {
        while !is_so().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(TIMEOUT, wait).await.expect(what);
}

async fn room(served: &Served, number: usize) -> Answer {
    served.get(&format!("/api/rooms/r{number}")).await
}

#[tokio::test]
async fn a_look_has_its_slot_while_its_client_is_gone_and_not_for_ever() {
    let served = served().await;
    let echo = served.app.backend();
    let mut closing = Vec::new();
    for number in 0..LOOKS_OF_ONE {
        closing.push(unread(&served, &format!("/api/rooms/r{number}")).await);
    }
    eventually("all look", async || {
        echo.looked.load(Ordering::Relaxed) == LOOKS_OF_ONE
    })
    .await;
    // The clients close while their looks wait.
    drop(closing);
    let refused = room(&served, LOOKS_OF_ONE).await;
    assert_eq!(refused.status, 429, "{}", refused.body);
    echo.looks.add_permits(LOOKS_OF_ONE);
    eventually("the slots are free again", async || {
        room(&served, LOOKS_OF_ONE).await.status == 503
    })
    .await;
}

#[tokio::test]
async fn a_network_has_one_slot_however_often_it_is_looked_at() {
    let served = served().await;
    let looks = &served.app.backend().looks;
    looks.add_permits(LOOKS_OF_ONE + 1);
    for _ in 0..=LOOKS_OF_ONE {
        let answer = room(&served, 1).await;
        assert_eq!(answer.status, 503, "{}", answer.body);
    }
}

#[tokio::test]
async fn a_look_after_which_nothing_is_known_has_no_slot() {
    let served = served().await;
    let echo = served.app.backend();
    echo.is_kept.store(false, Ordering::Relaxed);
    echo.looks.add_permits(LOOKS_OF_ONE + 1);
    for number in 0..=LOOKS_OF_ONE {
        let answer = room(&served, number).await;
        assert_eq!(answer.status, 503, "{}", answer.body);
    }
}

#[tokio::test]
async fn a_silent_hub_is_left_alone_though_whoever_asked_did_not_wait_for_it() {
    let served = served().await;
    let echo = served.app.backend();
    echo.is_silent.store(true, Ordering::Relaxed);
    echo.answers.forget_permits(usize::MAX);
    let asking = unread(&served, "/api/rooms").await;
    eventually("it is asked", async || questions(&served) == [ROOMS]).await;
    drop(asking);
    // A request that ended with its client would let the next one ask.
    let next = served.get("/api/rooms?limit=5");
    let answered = async {
        sleep(Duration::from_millis(200)).await;
        echo.answers.add_permits(2);
    };
    let (next, ()) = tokio::join!(next, answered);
    assert_eq!(next.status, 200, "{}", next.body);
    assert_eq!(
        next.json()["notAnswered"],
        json!([HubId([2; 20]).to_string()])
    );
    assert_eq!(questions(&served), [ROOMS]);
}

#[tokio::test]
async fn a_request_that_gets_no_turn_names_no_hub() {
    let served = served().await;
    let echo = served.app.backend();
    echo.answers.forget_permits(usize::MAX);
    let _asking = unread(&served, "/api/rooms").await;
    eventually("it is asked", async || questions(&served) == [ROOMS]).await;
    let refused = served.get("/api/rooms").await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.header("retry-after").is_some());
    let body = refused.json();
    let members = body.as_object().expect("an object");
    assert_eq!(members.keys().collect::<Vec<_>>(), ["error"]);
}

#[tokio::test]
async fn a_page_ends_where_too_many_hubs_would_have_to_be_asked() {
    let served = served().await;
    served.app.backend().most_asked.store(7, Ordering::Relaxed);
    let (mut after, mut pages) = (String::new(), Vec::new());
    loop {
        let page = served
            .get(&format!("/api/rooms?limit=1000{after}"))
            .await
            .json();
        assert_eq!(page["count"], ROOMS, "{page}");
        pages.push(page["rooms"].as_array().map_or(0, Vec::len));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(pages, [7, 7, ROOMS - 14]);
}

fn known_room() -> Room {
    let by = HubId([1; 20]);
    Room {
        record: RoomRecord {
            created: Hlc::from_wall(7),
            by,
            creator: "ada".into(),
            left_ms: 7,
            about: Vec::new(),
        },
        members: vec![RoomClaim {
            hub: by,
            claim: ClaimNo(1),
            hlc: Hlc::from_wall(8),
            peer: PeerId::new("ada").expect("an id"),
            data: None,
        }],
    }
}

#[tokio::test]
async fn a_hub_that_knows_less_than_this_one_has_no_say_and_is_not_silent() {
    let served = served().await;
    let echo = served.app.backend();
    *echo.known.lock().expect("nobody panicked") = Some(known_room());
    let with_members = |members, room: Option<RoomSketch>| NetworkSketch {
        members,
        ids: Vec::new(),
        room,
    };
    let other = RoomSketch {
        host: "bob".into(),
        ..RoomSketch::default()
    };
    // Each page is another one, so that no answer of the page before is used.
    for (page, told, host, members) in [
        (1, with_members(0, None), "ada", 1),
        (2, with_members(3, None), "ada", 1),
        (3, with_members(0, Some(other.clone())), "ada", 1),
        (4, with_members(2, Some(other)), "bob", 2),
    ] {
        *echo.told.lock().expect("nobody panicked") = told;
        let list = served
            .get(&format!("/api/rooms?limit=1&after={page:02}"))
            .await
            .json();
        assert_eq!(list["rooms"][0]["hostId"], host, "{page}: {list}");
        assert_eq!(list["rooms"][0]["peerCount"], members, "{page}: {list}");
        assert_eq!(list["notAnswered"], Value::Null, "{page}: {list}");
    }
}

#[tokio::test]
async fn a_coordinator_s_room_has_the_peers_that_are_known_here_if_another_hub_knows_of_none() {
    let served = Served::with(&[], Some(Dialect::Coordinator)).await;
    let list = served.get("/rooms").await.json();
    assert_eq!(
        list["rooms"][0]["peers"],
        json!(["ada in movie", "bob in movie"]),
        "{list}"
    );
    assert_eq!(list["rooms"][0]["peerCount"], 2, "{list}");
}

#[tokio::test]
async fn a_hub_of_which_it_is_not_known_what_it_lists_is_waited_for_and_named() {
    // This hub lacks no member of any room that is listed.
    let served = Served::with(&[], Some(Dialect::Coordinator)).await;
    let echo = served.app.backend();
    let hub = HubId([3; 20]);
    *echo.unlisted.lock().expect("nobody panicked") = vec![hub];
    let named = json!([hub.to_string()]);
    let list = served.get("/api/rooms").await.json();
    assert_eq!(list["notAnswered"], named, "{list}");
    assert!(questions(&served).is_empty());
    let created = served.request_with(
        "POST",
        "/api/rooms",
        &[("Content-Type", "application/json")],
        r#"{"roomId":"r","hostId":"ada"}"#,
    );
    let (created, read, ()) = tokio::join!(created, room(&served, 1), async {
        echo.looks.add_permits(2);
    });
    assert_eq!(read.status, 503, "{}", read.body);
    assert_eq!(read.json()["notAnswered"], named);
    // It keeps nobody from creating a room.
    assert_ne!(created.status, 503, "{}", created.body);
    // By the end of the next look its list is there.
    let (read, ()) = tokio::join!(room(&served, 2), async {
        eventually("it is waited for", async || {
            echo.looked.load(Ordering::Relaxed) == 3
        })
        .await;
        echo.unlisted.lock().expect("nobody panicked").clear();
        echo.looks.add_permits(1);
    });
    assert_eq!(read.status, 404, "{}", read.body);
}

#[tokio::test]
async fn a_user_that_a_silent_hub_may_have_neither_leaves_nor_loses_its_id() {
    let replace = [("DUPLICATE_PEER", "replace")];
    let served = Served::with(&replace, Some(Dialect::Rooms)).await;
    let echo = served.app.backend();
    // The room is known all the same, of a hub that answers.
    *echo.known.lock().expect("nobody panicked") = Some(known_room());
    echo.looks.add_permits(3);
    let named = json!([HubId([2; 20]).to_string()]);
    for path in ["/api/rooms/r/leave", "/api/rooms/r/join"] {
        let json = [("Content-Type", "application/json")];
        let answer = served.request_with("POST", path, &json, r#"{"userId":"bob"}"#);
        let answer = answer.await;
        assert_eq!(answer.status, 503, "{path}: {}", answer.body);
        assert_eq!(answer.json()["notAnswered"], named, "{path}");
        assert!(answer.header("retry-after").is_some(), "{path}");
    }
    let shown = room(&served, 1).await;
    assert_eq!(shown.status, 200, "{}", shown.body);
    assert_eq!(shown.json()["notAnswered"], named);
    echo.is_silent.store(true, Ordering::Relaxed);
    let list = served.get("/api/rooms").await.json();
    assert_eq!(list["notAnswered"], named, "{list}");
    assert_eq!(
        list["rooms"].as_array().map(Vec::len),
        Some(ROOMS),
        "{list}"
    );
}
