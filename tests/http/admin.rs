//! The pages of operators, and the tricks by which others try to see them.

use hubmesh::metrics::Refusal;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::served::{Answer, PEER, Served};

const TOKEN: &str = "for-operators-alone";
const BEARER: (&str, &str) = ("Authorization", "Bearer for-operators-alone");
const ADDR: (&str, &str) = ("ADMIN_ADDR", "127.0.0.1:0");
/// The three ways to tell operators from others.
const CLOSED: [&[(&str, &str)]; 3] = [
    &[("ADMIN_TOKEN", TOKEN)],
    &[ADDR],
    &[("ADMIN_TOKEN", TOKEN), ADDR],
];
const PAGES: [&str; 4] = ["/metrics", "/hubs", "/stats", "/hubstats"];

/// Checks that the answer tells nothing of the mesh: no network, no other hub, no number of peers, no metric.
fn says_nothing(answer: &Answer, what: &str) {
    let other_hub = "02".repeat(20);
    for word in [
        "global",
        "etworks",
        "tests",
        "ams",
        "otalHubs",
        "\"peers\"",
        "\"connections\"",
        "hubmesh_",
        &other_hub,
    ] {
        assert!(
            !answer.body.contains(word),
            "{what} tells {word}: {}",
            answer.body
        );
    }
}

async fn operator(served: &Served, target: &str) -> Answer {
    let door = served.admin.unwrap_or(served.addr);
    Served::request_at(door, "GET", target, &[BEARER]).await
}

#[tokio::test]
async fn operators_see_what_all_see_where_they_are_not_told_apart() {
    let open = Served::new(&[("FLY_REGION", "fra")]).await;
    for settings in CLOSED {
        let served = Served::new(settings).await;
        for page in PAGES {
            let shown = operator(&served, page).await;
            assert_eq!(shown.status, 200, "{page} with {settings:?}");
            let keys = |value: &Value| -> Vec<String> {
                value
                    .as_object()
                    .expect("an object")
                    .keys()
                    .cloned()
                    .collect()
            };
            assert_eq!(
                keys(&shown.json()),
                keys(&open.get(page).await.json()),
                "{page}"
            );
        }
        assert_eq!(operator(&served, "/health").await.json()["networks"], 2);
        let root = operator(&served, "/").await.json();
        assert_eq!(root["endpoints"]["metrics"], "/metrics", "{root}");
    }
}

#[tokio::test]
async fn the_public_door_tells_nobody_else_of_the_mesh() {
    for settings in CLOSED {
        let served = Served::new(settings).await;
        for open in ["/health", "/", "/live", "/ready", "/page.json"] {
            let answer = served.get(open).await;
            assert_eq!(answer.status, 200, "{open} with {settings:?}");
            says_nothing(&answer, open);
        }
        let root = served.get("/").await.json();
        assert!(root["endpoints"]["metrics"].is_null(), "{root}");
        let target = format!("/ws?peerId={PEER}");
        served
            .connect(&target, &[])
            .await
            .expect("peers come in as ever");
    }
}

/// Headers of requests that do not come from an operator.
const ATTEMPTS: [&[(&str, &str)]; 15] = [
    &[],
    &[("Authorization", "Bearer")],
    &[("Authorization", "Bearer ")],
    &[("Authorization", "Bearer for-operators-alon")],
    &[("Authorization", "Bearer for-operators-alonee")],
    &[("Authorization", "Bearer For-Operators-Alone")],
    &[("Authorization", "Basic for-operators-alone")],
    &[("Authorization", "for-operators-alone")],
    &[("Authorization", "Bearer for-all-peers-here")],
    &[("Authorization", "Bearer a"), ("Authorization", "Bearer b")],
    &[("Cookie", "token=for-operators-alone")],
    &[("Origin", "https://evil.example")],
    &[("X-Forwarded-For", "127.0.0.1"), ("Host", "localhost")],
    &[
        ("X-Original-URL", "/live"),
        ("X-HTTP-Method-Override", "GET"),
    ],
    &[("Upgrade", "websocket"), ("Connection", "Upgrade, close")],
];

/// Targets by which a client may try to reach a page.
fn tricks(page: &str) -> Vec<String> {
    let bare = page.trim_start_matches('/');
    let (first, rest) = bare.split_at(1);
    let code = first.as_bytes()[0];
    vec![
        page.to_owned(),
        format!("{page}/"),
        format!("{page}?token={TOKEN}"),
        format!("{page}?access_token={TOKEN}&authorization=Bearer%20{TOKEN}"),
        format!("/{page}"),
        format!("/./{bare}"),
        format!("/live/../{bare}"),
        format!("/%{code:02x}{rest}"),
        format!("{page}%2f"),
        format!("{page};a=b"),
        format!("{page}%00"),
        format!("/{}", bare.to_uppercase()),
        format!("http://localhost{page}"),
        format!("/peerjs{page}"),
        format!("/assets/..{page}"),
    ]
}

#[tokio::test]
async fn nobody_without_the_token_sees_a_page_for_operators_however_it_is_asked_for() {
    for settings in [CLOSED[0], CLOSED[2]] {
        let settings: Vec<_> = settings
            .iter()
            .copied()
            .chain([("AUTH_TOKEN", "for-all-peers-here")])
            .collect();
        let served = Served::new(&settings).await;
        let doors = [Some(served.addr), served.admin];
        for door in doors.into_iter().flatten() {
            let targets = PAGES.into_iter().chain(["/admin/api/networks"]);
            for target in targets.flat_map(tricks) {
                let with_get = ATTEMPTS.map(|headers| ("GET", headers));
                let others = [("HEAD", ATTEMPTS[0]), ("POST", ATTEMPTS[0])];
                for (method, headers) in with_get.into_iter().chain(others) {
                    let answer = Served::request_at(door, method, &target, headers).await;
                    let what = format!("{method} {target} {headers:?}");
                    assert!(
                        (400..500).contains(&answer.status),
                        "{what}: {}",
                        answer.status
                    );
                    says_nothing(&answer, &what);
                    assert!(!answer.body.contains(TOKEN), "{what}");
                }
            }
        }
    }
}

#[tokio::test]
async fn who_is_refused_is_told_how_to_ask_and_counted() {
    let served = Served::new(CLOSED[0]).await;
    let missing = served.get("/stats").await;
    assert_eq!(
        (missing.status, missing.header("www-authenticate")),
        (401, Some("Bearer"))
    );
    assert!(
        missing.json()["error"]
            .as_str()
            .expect("text")
            .contains("ADMIN_TOKEN")
    );
    let wrong = [("Authorization", "Bearer wrong")];
    let wrong = served.request("GET", "/stats", &wrong).await;
    assert_eq!(
        (wrong.status, wrong.header("www-authenticate")),
        (401, Some("Bearer"))
    );
    assert_eq!(served.refused(Refusal::Operator), 2);
    let both = [("Authorization", "Bearer wrong"), BEARER];
    let answer = served.request("GET", "/stats", &both).await;
    assert_eq!(answer.status, 401, "a turn pays for one guess");
    assert_eq!(served.refused(Refusal::Operator), 3);
}

#[tokio::test]
async fn with_a_door_of_their_own_there_is_nothing_at_the_public_one() {
    for settings in [CLOSED[1], CLOSED[2]] {
        let served = Served::new(settings).await;
        for target in PAGES.into_iter().flat_map(tricks) {
            for method in ["GET", "POST"] {
                let answer = served.request(method, &target, &[BEARER]).await;
                assert_eq!(answer.status, 404, "{method} {target}");
                says_nothing(&answer, &target);
            }
        }
    }
}

#[tokio::test]
async fn no_peer_and_no_hub_comes_in_by_the_door_for_operators() {
    let served = Served::new(CLOSED[1]).await;
    let admin = served.admin.expect("a door");
    let socket = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade, close"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let as_peer = format!("/ws?peerId={PEER}");
    for target in [
        &as_peer,
        "/",
        "/mesh",
        "/peerjs?key=peerjs&id=a&token=b",
        "/live",
    ] {
        let answer = Served::request_at(admin, "GET", target, &socket).await;
        assert!(
            (400..500).contains(&answer.status),
            "{target}: {}",
            answer.status
        );
    }
    for target in [
        &as_peer,
        "/mesh",
        "/peerjs/id",
        "/ice-servers",
        "/page.json",
        "/assets/",
    ] {
        let answer = Served::request_at(admin, "GET", target, &[]).await;
        assert_eq!(answer.status, 404, "{target}");
    }
}

/// The assets that a page names: its scripts, styles and pictures.
fn assets_of(page: &Answer) -> Vec<String> {
    let words = page.body.split('"');
    let named = words.filter(|word| word.starts_with("/assets/"));
    named.map(str::to_owned).collect()
}

#[tokio::test]
async fn the_page_for_operators_is_where_their_pages_are_and_says_nothing_by_itself() {
    for (number, settings) in [&[][..], CLOSED[0], CLOSED[1], CLOSED[2]]
        .into_iter()
        .enumerate()
    {
        let served = Served::new(settings).await;
        let door = served.admin.unwrap_or(served.addr);
        // No login is needed, because this page asks for the login.
        let page = Served::request_at(door, "GET", "/admin", &[]).await;
        assert_eq!(page.status, 200, "{number}");
        says_nothing(&page, "/admin");
        let named = assets_of(&page);
        assert!(named.len() >= 3, "{named:?}");
        for asset in named {
            let answer = Served::request_at(door, "GET", &asset, &[]).await;
            assert_eq!(answer.status, 200, "{asset}");
        }
        if served.admin.is_some() {
            assert_eq!(served.request("GET", "/admin", &[]).await.status, 404);
        }
    }
}

#[tokio::test]
async fn pages_of_other_origins_read_nothing_that_is_for_operators() {
    for settings in CLOSED {
        let served = Served::new(settings).await;
        let door = served.admin.unwrap_or(served.addr);
        for page in PAGES {
            let headers = [BEARER, ("Origin", "https://evil.example")];
            let answer = Served::request_at(door, "GET", page, &headers).await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("access-control-allow-origin"), None, "{page}");
        }
        let Some(admin) = served.admin else { continue };
        let preflight = [
            ("Origin", "https://evil.example"),
            ("Access-Control-Request-Method", "GET"),
            ("Access-Control-Request-Headers", "authorization"),
        ];
        let answer = Served::request_at(admin, "OPTIONS", "/metrics", &preflight).await;
        for name in ["origin", "methods", "headers"] {
            let name = format!("access-control-allow-{name}");
            assert_eq!(answer.header(&name), None, "{name}");
        }
    }
}

#[tokio::test]
async fn no_stranger_s_name_leads_a_browser_to_a_door_without_a_token() {
    let (open, closed) = (Served::new(CLOSED[1]).await, Served::new(CLOSED[2]).await);
    for (host, status) in [
        ("localhost:9090", 200),
        ("127.0.0.1", 200),
        ("hub-a:9090", 200),
        ("evil.example:9090", 403),
        ("127.0.0.1.evil.example", 403),
    ] {
        let asked = |served: &Served| served.admin.expect("a door");
        let host = [("Host", host), BEARER];
        let answer = Served::request_at(asked(&open), "GET", "/metrics", &host).await;
        assert_eq!(answer.status, status, "{host:?}");
        if status != 200 {
            says_nothing(&answer, "the refusal");
        }
        // With the token, any host name is accepted.
        let answer = Served::request_at(asked(&closed), "GET", "/metrics", &host).await;
        assert_eq!(answer.status, 200, "{host:?}");
    }
}

#[tokio::test]
async fn a_crowd_at_the_public_door_keeps_no_operator_out() {
    let served = Served::new(&[ADDR, ("MAX_HTTP_CONNECTIONS", "2")]).await;
    let mut crowd = Vec::new();
    while served.refused(Refusal::HttpFull) == 0 {
        crowd.push(TcpStream::connect(served.addr).await.expect("a connection"));
        tokio::task::yield_now().await;
    }
    assert_eq!(operator(&served, "/metrics").await.status, 200);
}

// ---- The API --------------------------------------------------------------------------------------------

async fn api(query: &str) -> Answer {
    let served = Served::new(CLOSED[0]).await;
    operator(&served, &format!("/admin/api/{query}")).await
}

#[tokio::test]
async fn programs_of_operators_see_hubs_with_what_each_says_and_who_says_nothing() {
    let body = api("hubs").await.json();
    let (own, other) = ("01".repeat(20), "02".repeat(20));
    let [first, second] = body["hubs"].as_array().expect("a list").as_slice() else {
        panic!("two hubs: {body}")
    };
    assert_eq!((&first["id"], &first["self"]), (&json!(own), &json!(true)));
    let condition = &first["condition"];
    assert_eq!(
        (&condition["version"], &condition["connections"]),
        (&json!("9.9.9"), &json!(3))
    );
    assert_eq!(condition["clockAheadMs"], -7);
    assert_eq!(
        (&second["id"], &second["rttMs"]),
        (&json!(other), &json!(1.5))
    );
    assert!(second["condition"].is_null(), "{second}");
    assert_eq!(body["notAnswered"], json!([other]));
    assert_eq!((&body["next"], &body["total"]), (&json!(null), &json!(2)));
}

/// The values of a field of a list.
fn column(body: &Value, list: &str, field: &str) -> Vec<String> {
    let rows = body[list].as_array().expect("a list").iter();
    rows.map(|row| row[field].as_str().expect("text").to_owned())
        .collect()
}

#[tokio::test]
async fn lists_are_filtered_and_come_page_by_page() {
    for (query, list, field, expected) in [
        ("networks", "networks", "network", &["global", "other"][..]),
        ("networks?network=the", "networks", "network", &["other"]),
        ("networks?dialect=peerjs", "networks", "network", &[]),
        (
            "networks?dialect=&network=",
            "networks",
            "network",
            &["global", "other"],
        ),
        ("networks?limit=1", "networks", "network", &["global"]),
        (
            "networks?limit=1&after=pigeon/global",
            "networks",
            "network",
            &["other"],
        ),
        ("networks?after=pigeon/other", "networks", "network", &[]),
        (
            "peers?network=global",
            "peers",
            "id",
            &["ada in global", "bob in global"],
        ),
        (
            "peers?network=global&hub=01",
            "peers",
            "id",
            &["ada in global"],
        ),
        (
            "peers?network=global&limit=1",
            "peers",
            "id",
            &["ada in global"],
        ),
        (
            "peers?network=global&after=ada+in%20global",
            "peers",
            "id",
            &["bob in global"],
        ),
        (
            "peers?network=r%C3%A9alm&dialect=peerjs&limit=1",
            "peers",
            "id",
            &["ada in réalm"],
        ),
        ("hubs?region=ams", "hubs", "region", &["ams"]),
        ("hubs?hub=01&limit=1000", "hubs", "region", &[""]),
    ] {
        let body = api(query).await.json();
        assert_eq!(column(&body, list, field), expected, "{query}: {body}");
    }
    let first = api("networks?limit=1").await.json();
    assert_eq!(
        (&first["next"], &first["total"]),
        (&json!("pigeon/global"), &json!(2))
    );
    assert_eq!(
        first["networks"][0],
        json!({"dialect": "pigeon", "network": "global", "peers": 5})
    );
    let last = api("networks?limit=1&after=pigeon/global").await.json();
    assert!(last["next"].is_null(), "{last}");
    let peers = api("peers?network=global").await.json();
    assert_eq!(
        peers["peers"][1],
        json!({
            "id": "bob in global",
            "hub": "02".repeat(20),
            "sinceMs": 1_700_000_000_000_u64,
            "address": null,
            "subject": null,
        })
    );
}

#[tokio::test]
async fn what_cannot_be_listed_is_refused_in_words() {
    for (query, word) in [
        ("networks?netwrok=a", "netwrok"),
        ("networks?limit=0", "1000"),
        ("networks?limit=1001", "1000"),
        ("networks?limit=ten", "1000"),
        ("networks?dialect=klingon", "peerjs-rooms"),
        ("networks?after=global", "next"),
        ("networks?hub=01", "hub"),
        ("peers", "network"),
        ("peers?network=", "network"),
    ] {
        let answer = api(query).await;
        let body = answer.json();
        assert_eq!(answer.status, 400, "{query}: {body}");
        assert!(
            body["error"].as_str().expect("text").contains(word),
            "{query}: {body}"
        );
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    assert_eq!(api("rooms").await.status, 404);
    let served = Served::new(CLOSED[0]).await;
    let posted = served.request("POST", "/admin/api/hubs", &[BEARER]).await;
    assert_eq!(posted.status, 405);
}

#[tokio::test]
async fn the_api_is_for_operators_alone() {
    for settings in CLOSED {
        let served = Served::new(settings).await;
        for page in ["hubs", "networks", "peers?network=global", "bans"] {
            let answer = served.get(&format!("/admin/api/{page}")).await;
            let expected = if served.admin.is_some() { 404 } else { 401 };
            assert_eq!(answer.status, expected, "{page} with {settings:?}");
            says_nothing(&answer, page);
        }
    }
}
