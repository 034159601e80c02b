//! The changes that operators make, the proof that a browser has to show for them, and the attempts of others.

use std::time::Duration;

use hubmesh::metrics::Refusal;
use hubmesh::watch::What;
use hubmesh_core::ids::{Dialect, HubId, NetworkKey, PeerId};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::operated::MAX_BANS;
use crate::served::{Answer, PEER, Served, TIMEOUT};

const TOKEN: &str = "for-operators-alone";
const BEARER: (&str, &str) = ("Authorization", "Bearer for-operators-alone");
const OURS: (&str, &str) = ("X-Hubmesh-Admin", "1");
const JSON: (&str, &str) = ("Content-Type", "application/json");
const KICK: &str = "/admin/api/peers/pigeon/global/ada";

/// The headers of a request.
type Headers<'h> = Vec<(&'h str, &'h str)>;

async fn with_token() -> Served {
    Served::new(&[("ADMIN_TOKEN", TOKEN)]).await
}

async fn post(served: &Served, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    served.request_with("POST", target, headers, body).await
}

async fn delete(served: &Served, target: &str, headers: &[(&str, &str)]) -> Answer {
    served.request("DELETE", target, headers).await
}

/// Logs in, and gives the cookie as a browser sends it back.
async fn logged_in(served: &Served) -> String {
    let body = json!({ "token": TOKEN }).to_string();
    let answer = post(served, "/admin/api/login", &[JSON], &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let cookie = answer.header("set-cookie").expect("a cookie");
    cookie.split(';').next().expect("a pair").to_owned()
}

fn removed(served: &Served) -> Vec<String> {
    let removed = served.app.backend().removed.lock();
    removed.expect("nobody panicked").clone()
}

#[tokio::test]
async fn nobody_changes_anything_who_does_not_show_all_that_it_takes() {
    let served = with_token().await;
    let cookie = logged_in(&served).await;
    let cookie = ("Cookie", cookie.as_str());
    let same = ("Sec-Fetch-Site", "same-origin");
    let attempts: [(&str, Headers<'_>, u16); 16] = [
        ("no token", vec![], 401),
        ("no token, but the header", vec![OURS], 401),
        (
            "a wrong token",
            vec![("Authorization", "Bearer no"), OURS],
            401,
        ),
        (
            "a wrong token beside a cookie",
            vec![("Authorization", "Bearer no"), cookie, OURS],
            401,
        ),
        (
            "a cookie that was made up",
            vec![("Cookie", "hubmesh_admin=9999999999.00.00"), OURS],
            401,
        ),
        (
            "an empty cookie",
            vec![("Cookie", "hubmesh_admin="), OURS],
            401,
        ),
        (
            "the token as a cookie",
            vec![("Cookie", "hubmesh_admin=for-operators-alone"), OURS],
            401,
        ),
        ("a form of another page", vec![cookie], 403),
        (
            "a form of another page, same site",
            vec![cookie, ("Sec-Fetch-Site", "same-site")],
            403,
        ),
        (
            "the header with another value",
            vec![cookie, ("X-Hubmesh-Admin", "true")],
            403,
        ),
        (
            "a script of another origin",
            vec![cookie, OURS, ("Origin", "https://evil.example")],
            403,
        ),
        (
            "a script of another port",
            vec![cookie, OURS, ("Origin", "http://hub:81")],
            403,
        ),
        (
            "a sandboxed page",
            vec![cookie, OURS, ("Origin", "null")],
            403,
        ),
        (
            "another site",
            vec![cookie, OURS, ("Sec-Fetch-Site", "cross-site")],
            403,
        ),
        (
            "the address bar",
            vec![cookie, OURS, ("Sec-Fetch-Site", "none")],
            403,
        ),
        (
            "two answers to one question",
            vec![cookie, OURS, same, ("Sec-Fetch-Site", "cross-site")],
            403,
        ),
    ];
    let ban = json!({ "id": "ada" }).to_string();
    for (what, headers, status) in attempts {
        let answer = delete(&served, KICK, &headers).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.body);
        assert!(!answer.body.contains(TOKEN));
        let answer = post(&served, "/admin/api/bans", &headers, &ban).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.body);
        let answer = delete(&served, "/admin/api/bans/00", &headers).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.body);
    }
    assert_eq!(removed(&served), Vec::<String>::new());
    assert!(served.app.backend().watch.bans.all().is_empty());
    for headers in [
        vec![BEARER],
        vec![cookie, OURS],
        vec![cookie, OURS, same],
        vec![cookie, OURS, ("Origin", "http://hub")],
    ] {
        let answer = delete(&served, KICK, &headers).await;
        assert_eq!(answer.status, 200, "{headers:?}: {}", answer.body);
    }
    assert_eq!(removed(&served).len(), 4);
}

#[tokio::test]
async fn where_operators_are_not_told_apart_this_machine_looks_and_nobody_changes() {
    let served = Served::new(&[]).await;
    for page in [
        "hubs",
        "networks",
        "topology",
        "history",
        "peers?network=global",
        "waiting",
        "contests",
    ] {
        let target = format!("/admin/api/{page}");
        let local = [("Host", "localhost:8080")];
        let answer = served.request("GET", &target, &local).await;
        assert_eq!(answer.status, 200, "{page}: {}", answer.body);
        assert_eq!(answer.header("access-control-allow-origin"), None);
        for (what, headers) in [
            ("through a proxy", ("X-Forwarded-For", "127.0.0.1")),
            ("through another", ("Forwarded", "for=127.0.0.1")),
            ("through a third", ("X-Real-IP", "127.0.0.1")),
            ("through one that names itself", ("Via", "1.1 proxy")),
            ("a name of somebody's", ("Host", "evil.example")),
            ("another page", ("Origin", "https://evil.example")),
            ("another site", ("Sec-Fetch-Site", "cross-site")),
        ] {
            let answer = served.request("GET", &target, &[headers]).await;
            assert_eq!(answer.status, 403, "{page}, {what}: {}", answer.body);
        }
    }
    // Behind a proxy that adds no header, strangers look like clients on this machine. Pages that tell about persons
    // are therefore refused.
    for page in [
        "bans",
        "events",
        "events?after=0",
        "peers?network=global&details=1",
        "peers?network=global&%64etails=1",
    ] {
        let target = format!("/admin/api/{page}");
        let local = [("Host", "localhost:8080")];
        let answer = served.request("GET", &target, &local).await;
        assert_eq!(answer.status, 403, "{page}: {}", answer.body);
        assert!(answer.body.contains("ADMIN_TOKEN"), "{}", answer.body);
    }
    let local = [("Host", "localhost"), OURS];
    assert_eq!(delete(&served, KICK, &local).await.status, 403);
    let answer = post(&served, "/admin/api/bans", &local, r#"{"id":"ada"}"#).await;
    assert_eq!(answer.status, 403);
    let answer = post(&served, "/admin/api/login", &[JSON], "{}").await;
    assert_eq!(answer.status, 404, "there is nothing to log in to");
    let session = served
        .request("GET", "/admin/api/session", &local)
        .await
        .json();
    assert_eq!(
        (&session["access"], &session["login"]),
        (&json!("read"), &json!(false))
    );
    assert!(removed(&served).is_empty());
}

#[tokio::test]
async fn a_door_without_a_token_takes_changes_of_its_own_pages_alone() {
    let served = Served::new(&[("ADMIN_ADDR", "127.0.0.1:0")]).await;
    let door = served.admin.expect("a door");
    for (headers, status) in [
        (vec![], 403),
        (vec![OURS], 200),
        (vec![OURS, ("Origin", "https://evil.example")], 403),
        (vec![OURS, ("Host", "evil.example")], 403),
    ] {
        let answer = Served::request_at(door, "DELETE", KICK, &headers).await;
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.body);
    }
    for target in ["/admin/api/hubs", "/admin/api/session", "/admin/api/events"] {
        let answer = served.request("GET", target, &[BEARER]).await;
        assert_eq!(answer.status, 404, "{target}");
    }
    let answer = post(&served, "/admin/api/login", &[JSON], "{}").await;
    assert_eq!(answer.status, 404);
    assert_eq!(removed(&served).len(), 1);
}

#[tokio::test]
async fn a_login_is_a_cookie_that_no_script_reads_and_that_can_be_given_back() {
    let served = with_token().await;
    let body = json!({ "token": TOKEN }).to_string();
    let answer = post(&served, "/admin/api/login", &[JSON], &body).await;
    let cookie = answer.header("set-cookie").expect("a cookie").to_owned();
    for part in [
        "HttpOnly",
        "SameSite=Strict",
        "Path=/admin",
        "Max-Age=43200",
    ] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(
        !cookie.contains("Secure") && !cookie.contains(TOKEN),
        "{cookie}"
    );
    let pair = cookie.split(';').next().expect("a pair");
    let shown = [("Cookie", pair)];
    let session = served
        .request("GET", "/admin/api/session", &shown)
        .await
        .json();
    assert_eq!(
        (&session["access"], &session["with"]),
        (&json!("full"), &json!("cookie"))
    );
    assert_eq!(
        served
            .request("GET", "/admin/api/hubs", &shown)
            .await
            .status,
        200
    );
    // Pages for programs accept only the bearer token.
    assert_eq!(served.request("GET", "/metrics", &shown).await.status, 401);
    let logout = [("Cookie", pair), OURS];
    let answer = post(&served, "/admin/api/logout", &logout, "").await;
    assert_eq!(answer.status, 204);
    assert!(
        answer
            .header("set-cookie")
            .expect("it is taken back")
            .contains("Max-Age=0")
    );
    assert_eq!(
        served
            .request("GET", "/admin/api/hubs", &shown)
            .await
            .status,
        401
    );
    let session = served
        .request("GET", "/admin/api/session", &shown)
        .await
        .json();
    assert_eq!(
        session,
        json!({"access": "none", "with": null, "login": true, "hub": null})
    );
}

#[tokio::test]
async fn a_cookie_is_for_tls_alone_where_the_browser_speaks_it() {
    let proxied = [("ADMIN_TOKEN", TOKEN), ("TRUSTED_PROXIES", "127.0.0.1")];
    let forwarded = [JSON, ("X-Forwarded-Proto", "https")];
    let body = json!({ "token": TOKEN }).to_string();
    let served = Served::new(&proxied).await;
    let answer = post(&served, "/admin/api/login", &forwarded, &body).await;
    assert!(
        answer
            .header("set-cookie")
            .expect("a cookie")
            .ends_with("; Secure")
    );
    let served = with_token().await;
    let answer = post(&served, "/admin/api/login", &forwarded, &body).await;
    let cookie = answer.header("set-cookie").expect("a cookie");
    assert!(
        !cookie.contains("Secure"),
        "nobody believes that proxy: {cookie}"
    );
}

#[tokio::test]
async fn guesses_by_bearer_are_as_few_and_are_noted() {
    for target in ["/admin/api/session", "/admin/api/hubs", "/metrics"] {
        let settings = [("ADMIN_TOKEN", TOKEN), ("ADMIN_LOGINS_PER_MINUTE", "3")];
        let served = Served::new(&settings).await;
        let cookie = logged_in(&served).await;
        let wrong = [("Authorization", "Bearer another-token-than-it")];
        let first = served.request("GET", target, &wrong).await.status;
        assert!(matches!(first, 200 | 401), "{target}: {first}");
        served.request("GET", target, &wrong).await;
        assert_eq!(served.refused(Refusal::Operator), 2, "{target}");
        for _ in 0..2 {
            let answer = served.request("GET", target, &wrong).await;
            assert_eq!(answer.status, 429, "{target}: {}", answer.body);
            assert!(answer.header("retry-after").is_some());
        }
        let answer = served.request("GET", target, &[BEARER]).await;
        assert_eq!(answer.status, 429, "nor is one that is right compared");
        let shown = [("Cookie", cookie.as_str())];
        let answer = served.request("GET", "/admin/api/hubs", &shown).await;
        assert_eq!(answer.status, 200, "who is in stays in");
        assert_eq!(served.request("GET", "/live", &wrong).await.status, 200);
    }
}

#[tokio::test]
async fn nor_are_guesses_more_where_the_token_opens_other_things() {
    for (method, target) in [
        ("GET", "/api/stats"),
        ("GET", "/api/rooms"),
        ("GET", "/rooms"),
        ("POST", "/api/maintenance/gc"),
        ("POST", "/api/maintenance/cleanup"),
        // These pages answer all clients, and tell operators more.
        ("GET", "/api/health"),
        ("GET", "/health"),
        ("GET", "/api/rooms/r"),
        ("POST", "/api/auth/token"),
    ] {
        let served = Served::new(&[
            ("ADMIN_TOKEN", TOKEN),
            ("JWT_SECRET", "a-secret-of-thirty-two-bytes-or-more"),
            ("ADMIN_LOGINS_PER_MINUTE", "3"),
        ])
        .await;
        let events = &served.app.backend().watch.events;
        let mut reader = events.reader(None).expect("a place");
        let wrong = [("Authorization", "Bearer another-token-than-it")];
        for _ in 0..3 {
            let answer = served.request(method, target, &wrong).await;
            assert_ne!(answer.status, 429, "{target}: {}", answer.body);
        }
        assert_eq!(served.refused(Refusal::Operator), 3, "{target}");
        let noted = reader.next().await.events;
        assert_eq!(noted.len(), 3, "{target}");
        served.request(method, target, &wrong).await;
        assert_eq!(served.refused(Refusal::Operator), 4, "{target}");
        for target in [target, "/admin/api/hubs"] {
            let answer = served.request("GET", target, &[BEARER]).await;
            let tells = answer.status == 200 && answer.body.contains("memory");
            assert!(!tells, "{target}: {}", answer.body);
        }
        let answer = served.request("GET", "/metrics", &[BEARER]).await;
        assert_eq!(answer.status, 429, "{target}: no bearer is compared");
    }
}

#[tokio::test]
async fn a_clients_own_token_is_no_guess_at_that_of_operators() {
    let served = Served::new(&[
        ("ADMIN_TOKEN", TOKEN),
        ("AUTH_TOKEN", "for-clients-alone"),
        ("ADMIN_LOGINS_PER_MINUTE", "3"),
    ])
    .await;
    let own = [("Authorization", "Bearer for-clients-alone")];
    for _ in 0..5 {
        for target in ["/api/rooms/r", "/", "/health", "/api/health"] {
            let answer = served.request("GET", target, &own).await;
            assert!(
                matches!(answer.status, 200 | 404),
                "{target}: {}",
                answer.body
            );
        }
    }
    assert_eq!(served.refused(Refusal::Operator), 0);
    for _ in 0..5 {
        for (method, target) in [
            ("GET", "/api/stats"),
            ("GET", "/api/rooms"),
            ("GET", "/rooms"),
            ("POST", "/api/rooms"),
            ("POST", "/api/maintenance/gc"),
        ] {
            let headers = [own[0], JSON];
            let room = r#"{"roomId":"r"}"#;
            let answer = served.request_with(method, target, &headers, room).await;
            assert_eq!(answer.status, 401, "{target}: {}", answer.body);
        }
    }
    assert_eq!(
        served.request("GET", "/metrics", &[BEARER]).await.status,
        200
    );
}

/// A token that expired in 1970, signed with a secret of 32 zeros: `{"alg":"HS256"}`, `{"exp":1}`.
const EXPIRED: &str =
    "Bearer eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjF9.TCVDkpGG6a6FsUpNMrdPJxFgK5IHugNPvyYifgIyolg";

#[tokio::test]
async fn nor_is_a_clients_token_that_has_expired_while_one_of_another_key_is() {
    let secret = "0".repeat(32);
    let served = Served::new(&[
        ("ADMIN_TOKEN", TOKEN),
        ("JWT_SECRET", &secret),
        ("ADMIN_LOGINS_PER_MINUTE", "3"),
    ])
    .await;
    for _ in 0..5 {
        for target in ["/", "/health", "/api/health"] {
            let expired = [("Authorization", EXPIRED)];
            served.request("GET", target, &expired).await;
        }
    }
    assert_eq!(served.refused(Refusal::Operator), 0);
    let answer = served.request("GET", "/metrics", &[BEARER]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let forged = EXPIRED.replace(".TCVD", ".TCVE");
    let forged = [("Authorization", forged.as_str())];
    served.request("GET", "/health", &forged).await;
    assert_eq!(served.refused(Refusal::Operator), 1);
}

#[tokio::test]
async fn a_client_with_its_own_token_is_not_refused_where_its_address_has_guessed() {
    let served = Served::new(&[
        ("ADMIN_TOKEN", TOKEN),
        ("AUTH_TOKEN", "for-clients-alone"),
        ("ADMIN_LOGINS_PER_MINUTE", "3"),
    ])
    .await;
    let wrong = [("Authorization", "Bearer another-token-than-it")];
    for _ in 0..4 {
        served.request("GET", "/health", &wrong).await;
    }
    assert_eq!(served.refused(Refusal::Operator), 4);
    let own = [("Authorization", "Bearer for-clients-alone")];
    for target in ["/", "/health", "/api/health", "/api/rooms/r"] {
        served.request("GET", target, &own).await;
    }
    assert_eq!(served.refused(Refusal::Operator), 4);
    let answer = served.request("GET", "/api/stats", &own).await;
    assert_eq!(answer.status, 401, "{}", answer.body);
    let answer = served.request("GET", "/api/stats", &[BEARER]).await;
    assert_eq!(answer.status, 429, "{}", answer.body);
}

#[tokio::test]
async fn an_operators_token_is_not_called_wrong_where_tokens_are_made_and_it_is_not_compared() {
    let served = Served::new(&[
        ("ADMIN_TOKEN", TOKEN),
        ("JWT_SECRET", &"0".repeat(32)),
        ("ADMIN_LOGINS_PER_MINUTE", "3"),
    ])
    .await;
    let wrong = [("Authorization", "Bearer another-token-than-it")];
    for _ in 0..4 {
        served.request("GET", "/health", &wrong).await;
    }
    let answer = post(&served, "/api/auth/token", &[BEARER, JSON], "{}").await;
    assert_eq!(answer.status, 429, "{}", answer.body);
    assert!(answer.header("retry-after").is_some());
    assert_eq!(served.refused(Refusal::Operator), 5);
    let expired = [("Authorization", EXPIRED), JSON];
    let answer = post(&served, "/api/auth/token", &expired, "{}").await;
    assert_eq!(answer.status, 401, "{}", answer.body);
    assert!(answer.body.contains("expired"), "{}", answer.body);
}

#[tokio::test]
async fn a_guess_beside_a_clients_own_token_is_counted() {
    let served = Served::new(&[
        ("ADMIN_TOKEN", TOKEN),
        ("AUTH_TOKEN", "for-clients-alone"),
        ("ADMIN_LOGINS_PER_MINUTE", "3"),
    ])
    .await;
    let own = ("Authorization", "Bearer for-clients-alone");
    let wrong = ("Authorization", "Bearer another-token-than-it");
    for headers in [[own, wrong], [wrong, own], [wrong, wrong]] {
        let answer = served.request("GET", "/health", &headers).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    assert_eq!(served.refused(Refusal::Operator), 3);
    served.request("GET", "/health", &[own, wrong]).await;
    let answer = served.request("GET", "/metrics", &[BEARER]).await;
    assert_eq!(answer.status, 429, "no turn is left: {}", answer.body);
}

#[tokio::test]
async fn one_request_guesses_no_more_than_once() {
    let served = with_token().await;
    let wrong = ("Authorization", "Bearer another-token-than-it");
    for target in ["/metrics", "/api/stats", "/admin/api/hubs"] {
        for headers in [[wrong, BEARER], [BEARER, wrong], [BEARER, BEARER]] {
            let answer = served.request("GET", target, &headers).await;
            assert_eq!(answer.status, 401, "{target}: {}", answer.body);
        }
        let answer = served.request("GET", target, &[BEARER]).await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.body);
    }
    assert_eq!(served.refused(Refusal::Operator), 9);
}

#[tokio::test]
async fn a_login_counts_beside_what_a_proxy_wants_to_be_shown() {
    let served = with_token().await;
    let cookie = logged_in(&served).await;
    let both = [("Authorization", "Basic YTpi"), ("Cookie", cookie.as_str())];
    let answer = served.request("GET", "/admin/api/hubs", &both).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer = served.request("GET", "/admin/api/hubs", &both[..1]).await;
    assert_eq!(answer.status, 401, "{}", answer.body);
}

#[tokio::test]
async fn a_peer_is_named_in_the_query_whatever_it_is_called() {
    let served = with_token().await;
    for (query, status) in [
        ("dialect=pigeon&network=..&id=.", 200),
        ("id=a%2Fb%26c&network=x&dialect=peerjs", 200),
        ("dialect=pigeon&network=global", 400),
        ("dialect=pigeon&network=global&id=a&id=b", 400),
        ("dialect=pigeon&network=global&id=a&more=1", 400),
        ("dialect=none&network=global&id=a", 400),
        ("dialect=pigeon&network=global&id=", 400),
        ("dialect=pigeon&network=global&id=nobody", 404),
        ("dialect=pigeon&network=global&id=frozen", 504),
    ] {
        let target = format!("/admin/api/peers?{query}");
        let answer = delete(&served, &target, &[BEARER]).await;
        assert_eq!(answer.status, status, "{query}: {}", answer.body);
        assert_eq!(delete(&served, &target, &[]).await.status, 401);
    }
    let asked = removed(&served);
    assert_eq!(asked[..2], ["..:.", "x:a/b&c"]);
    // A removal that the peer's hub did not answer is counted as well.
    let noted = served.metrics.operating.actions.handle("remove").get();
    assert_eq!(noted, 3);
    for (page, status) in [("hubs", 405), ("bans", 405), ("login", 405), ("none", 404)] {
        let target = format!("/admin/api/{page}");
        assert_eq!(delete(&served, &target, &[BEARER]).await.status, status);
    }
}

#[tokio::test]
async fn guesses_at_the_token_are_few() {
    let served = Served::new(&[("ADMIN_TOKEN", TOKEN), ("ADMIN_LOGINS_PER_MINUTE", "3")]).await;
    for body in ["{}", "", r#"{"token":"x"}"#] {
        let answer = post(&served, "/admin/api/login", &[JSON], body).await;
        assert!(matches!(answer.status, 400 | 401), "{}", answer.body);
    }
    let right = json!({ "token": TOKEN }).to_string();
    let answer = post(&served, "/admin/api/login", &[JSON], &right).await;
    assert_eq!(answer.status, 429, "{}", answer.body);
    assert!(answer.header("retry-after").is_some());
    let plain = [("Content-Type", "text/plain")];
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    for headers in [&plain[..], &form, &[]] {
        let answer = post(&served, "/admin/api/login", headers, &right).await;
        assert_eq!(answer.status, 415, "a form of another page can send it");
    }
    let other = [JSON, ("Sec-Fetch-Site", "cross-site")];
    assert_eq!(
        post(&served, "/admin/api/login", &other, &right)
            .await
            .status,
        403
    );
}

#[tokio::test]
async fn ids_are_compared_as_they_are_whatever_stands_in_them() {
    let served = with_token().await;
    for (path, place) in [
        ("pigeon/global/ada", "global:ada"),
        ("pigeon/a%2Fb/c%2Fd", "a/b:c/d"),
        ("pigeon/global/%2E%2E", "global:.."),
        ("pigeon/%2E/%2E%2E%2Fhubs", ".:../hubs"),
        ("pigeon/global/%3Cimg%20src%3Dx%3E", "global:<img src=x>"),
        ("pigeon/global/%252F", "global:%2F"),
        ("pigeon/global/a%00b", "global:a\0b"),
        ("yjs/global/a%3Fb%23c", "global:a?b#c"),
    ] {
        let target = format!("/admin/api/peers/{path}");
        let answer = delete(&served, &target, &[BEARER]).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert_eq!(removed(&served).last().map(String::as_str), Some(place));
    }
    let before = removed(&served).len();
    let long = format!("pigeon/global/{}", "x".repeat(129));
    for (path, status) in [
        ("latin/global/ada", 400),
        ("pigeon/global/%FF", 400),
        ("pigeon/global/%", 200),
        (&long, 400),
        ("pigeon/global/", 404),
        ("pigeon/global", 404),
        ("pigeon//ada", 404),
        ("pigeon/global/ada/more", 404),
        ("pigeon/global/../ada", 404),
        ("pigeon/global/nobody", 404),
        ("pigeon/global/frozen", 504),
    ] {
        let target = format!("/admin/api/peers/{path}");
        let answer = delete(&served, &target, &[BEARER]).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
    }
    assert_eq!(removed(&served).len(), before + 3);
    for method in ["GET", "POST", "PUT"] {
        let answer = served.request(method, KICK, &[BEARER]).await;
        assert_eq!(answer.status, 405, "{method}");
    }
}

#[tokio::test]
async fn bans_are_placed_listed_and_lifted_and_a_full_list_takes_none() {
    let served = with_token().await;
    let place =
        async |body: &Value| post(&served, "/admin/api/bans", &[BEARER], &body.to_string()).await;
    for wrong in [
        json!({}),
        json!([]),
        json!({ "id": "a", "address": "192.0.2.1" }),
        json!({ "address": "not one" }),
        json!({ "block": "0.0.0.0/0" }),
        json!({ "id": "" }),
        json!({ "id": "a", "dialect": "latin" }),
        json!({ "address": "192.0.2.1", "dialect": "pigeon" }),
        json!({ "id": "a", "seconds": 0 }),
        json!({ "id": "a", "seconds": -1 }),
        json!({ "id": "a", "seconds": 1e12 }),
        json!({ "id": "a", "reason": "x".repeat(201) }),
        json!({ "id": "a", "until": 5 }),
    ] {
        let answer = place(&wrong).await;
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.body);
    }
    let too_long = format!("{{\"id\":\"{}\"}}", "x".repeat(5_000));
    let answer = post(&served, "/admin/api/bans", &[BEARER], &too_long).await;
    assert_eq!(answer.status, 413);
    let body = json!({ "id": "ada", "dialect": "pigeon", "reason": "spam", "seconds": 60 });
    let first = place(&body).await;
    assert_eq!(first.status, 201, "{}", first.body);
    let first = first.json()["ban"].clone();
    assert_eq!(
        (
            &first["kind"],
            &first["value"],
            &first["dialect"],
            &first["network"]
        ),
        (&json!("id"), &json!("ada"), &json!("pigeon"), &json!(null))
    );
    let span =
        first["until"].as_u64().expect("a time") - first["placedAt"].as_u64().expect("a time");
    assert_eq!(span, 60_000);
    for body in [
        json!({ "subject": "mallory" }),
        json!({ "block": "192.0.2.0/24" }),
    ] {
        assert_eq!(place(&body).await.status, 201);
    }
    let full = place(&json!({ "id": "bob" })).await;
    assert_eq!(full.status, 409, "{}", full.body);
    assert!(full.body.contains("MAX_BANS"));
    let page = served
        .request("GET", "/admin/api/bans?limit=2", &[BEARER])
        .await
        .json();
    assert_eq!(
        (&page["total"], page["bans"].as_array().map(Vec::len)),
        (&json!(MAX_BANS), Some(2))
    );
    let after = page["next"].as_str().expect("there is more");
    let target = format!("/admin/api/bans?after={after}");
    let rest = served.request("GET", &target, &[BEARER]).await.json();
    assert_eq!(rest["bans"].as_array().map(Vec::len), Some(1));
    let number = first["ban"].as_str().expect("a number");
    let target = format!("/admin/api/bans/{number}");
    let lifted = delete(&served, &target, &[BEARER]).await;
    assert_eq!((lifted.status, &lifted.json()["lifted"]), (200, &first));
    assert_eq!(delete(&served, &target, &[BEARER]).await.status, 404);
    for other in ["00", "%2E%2E", "x", &"0".repeat(40)] {
        let target = format!("/admin/api/bans/{other}");
        assert_eq!(
            delete(&served, &target, &[BEARER]).await.status,
            404,
            "{other}"
        );
    }
}

#[tokio::test]
async fn who_is_banned_by_its_address_gets_no_socket() {
    let served = with_token().await;
    let ban = json!({ "block": "127.0.0.0/8" }).to_string();
    let answer = post(&served, "/admin/api/bans", &[BEARER], &ban).await;
    let number = answer.json()["ban"]["ban"]
        .as_str()
        .expect("a number")
        .to_owned();
    let target = format!("/ws?peerId={PEER}");
    let (status, body) = served
        .connect(&target, &[])
        .await
        .expect_err("it is kept out");
    assert_eq!(
        (status.as_u16(), &body["error"]),
        (403, &json!("banned by an operator"))
    );
    assert_eq!(served.refused(Refusal::Banned), 1);
    // A ban of this address does not keep operators out.
    let target_of_ban = format!("/admin/api/bans/{number}");
    assert_eq!(delete(&served, &target_of_ban, &[BEARER]).await.status, 200);
    served
        .connect(&target, &[])
        .await
        .expect("it is let in again");
}

// ---- Events ---------------------------------------------------------------------------------------------

/// A reader of events.
struct Listener {
    stream: TcpStream,
    heard: String,
}

impl Listener {
    async fn new(served: &Served, target: &str, headers: &[(&str, &str)]) -> Self {
        let stream = TcpStream::connect(served.addr).await.expect("a connection");
        let mut listener = Listener {
            stream,
            heard: String::new(),
        };
        let mut head = format!("GET {target} HTTP/1.1\r\nHost: hub\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        listener
            .stream
            .write_all(head.as_bytes())
            .await
            .expect("it is sent");
        listener
    }

    /// Reads until `word` has arrived.
    async fn until(&mut self, word: &str) -> &str {
        let mut buffer = [0; 4096];
        while !self.heard.contains(word) {
            let read = timeout(TIMEOUT, self.stream.read(&mut buffer)).await;
            let read = read.unwrap_or_else(|_| panic!("no {word} in time: {}", self.heard));
            let read = read.expect("the connection stands");
            assert!(read > 0, "it ended: {}", self.heard);
            self.heard += &String::from_utf8_lossy(&buffer[..read]);
        }
        &self.heard
    }

    fn status(&self) -> &str {
        self.heard.split(' ').nth(1).expect("a status")
    }
}

fn happens(served: &Served, no: u8) {
    let other = HubId([no; 20]);
    served
        .app
        .backend()
        .watch
        .events
        .note(What::HubUp { other });
}

#[tokio::test]
async fn events_go_on_where_a_reader_left_off() {
    let served = with_token().await;
    happens(&served, 9);
    let mut listener = Listener::new(&served, "/admin/api/events", &[BEARER]).await;
    listener.until("event: hello").await;
    assert_eq!(listener.status(), "200");
    assert!(listener.heard.contains("content-type: text/event-stream"));
    happens(&served, 10);
    let heard = listener.until(&"0a".repeat(20)).await;
    assert!(!heard.contains(&"09".repeat(20)), "it was before: {heard}");
    let id = heard.split("id: ").nth(1).expect("an id");
    let id = id.split(['\r', '\n']).next().expect("a line").to_owned();
    drop(listener);
    happens(&served, 11);
    let again = [BEARER, ("Last-Event-ID", id.as_str())];
    let mut again = Listener::new(&served, "/admin/api/events?after=0", &again).await;
    let heard = again.until(&"0b".repeat(20)).await;
    assert!(!heard.contains(&"0a".repeat(20)), "it has that: {heard}");
    let mut all = Listener::new(
        &served,
        "/admin/api/events?after=0&types=alarm,hub-up",
        &[BEARER],
    )
    .await;
    let heard = all.until(&"0b".repeat(20)).await;
    assert!(heard.contains(&"09".repeat(20)), "{heard}");
    for wrong in ["after=x", "types=nothing", "since=1"] {
        let target = format!("/admin/api/events?{wrong}");
        let answer = served.request("GET", &target, &[BEARER]).await;
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.body);
    }
}

#[tokio::test]
async fn who_was_away_too_long_is_told_how_much_it_missed() {
    let served = with_token().await;
    happens(&served, 1);
    let events = std::sync::Arc::clone(&served.app.backend().watch.events);
    let first = events.id(1).to_string();
    for _ in 0..1_200 {
        events.note(What::Takeover {
            network: NetworkKey::new(Dialect::Pigeon, "global").expect("a name"),
            peer: PeerId::new("ada").expect("an id"),
        });
    }
    let back = [BEARER, ("Last-Event-ID", first.as_str())];
    let mut listener = Listener::new(&served, "/admin/api/events", &back).await;
    let heard = listener.until("event: missed\ndata: {\"at\"").await;
    let told = heard.split("event: missed").nth(1).expect("it is told");
    assert!(told.contains("\"count\":200"), "{told}");
    let stranger = [BEARER, ("Last-Event-ID", "00000000000000ff-7")];
    let mut listener = Listener::new(&served, "/admin/api/events", &stranger).await;
    listener.until("event: missed").await;
    listener.until("\"count\":null").await;
}

#[tokio::test]
async fn a_thousand_strangers_hold_no_stream_open_and_few_operators_do() {
    let served = Served::new(&[("ADMIN_TOKEN", TOKEN), ("MAX_EVENT_READERS", "2")]).await;
    for at in 0..1_000 {
        let headers: &[_] = if at % 2 == 0 {
            &[]
        } else {
            &[("Cookie", "hubmesh_admin=1.2.3")]
        };
        let answer = served.request("GET", "/admin/api/events", headers).await;
        assert_eq!(answer.status, 401);
    }
    assert_eq!(served.metrics.operating.event_readers.get(), 0);
    let mut listeners = Vec::new();
    for _ in 0..2 {
        let mut listener = Listener::new(&served, "/admin/api/events", &[BEARER]).await;
        listener.until("event: hello").await;
        listeners.push(listener);
    }
    let answer = served.request("GET", "/admin/api/events", &[BEARER]).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.header("retry-after").is_some());
    drop(listeners);
    let free = async {
        while served.metrics.operating.event_readers.get() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(TIMEOUT, free)
        .await
        .expect("the places are free again");
}

#[tokio::test]
async fn a_stream_outlives_the_time_that_other_requests_have() {
    let served = Served::new(&[("ADMIN_TOKEN", TOKEN), ("HEADER_TIMEOUT_MS", "100")]).await;
    let mut listener = Listener::new(&served, "/admin/api/events", &[BEARER]).await;
    listener.until("event: hello").await;
    // Meanwhile the hub closes several connections that send no request, one after the other: each after the timeout.
    for _ in 0..5 {
        let mut idle = TcpStream::connect(served.addr).await.expect("a connection");
        let read = timeout(TIMEOUT, idle.read(&mut [0; 1])).await;
        assert_eq!(read.expect("it is closed").expect("in order"), 0);
    }
    happens(&served, 12);
    listener.until(&"0c".repeat(20)).await;
}

#[tokio::test]
async fn each_deed_is_an_event_with_who_did_it_and_never_a_token() {
    let served = with_token().await;
    let mut listener = Listener::new(&served, "/admin/api/events?types=operator", &[BEARER]).await;
    listener.until("event: hello").await;
    let cookie = logged_in(&served).await;
    let by_cookie = [("Cookie", cookie.as_str()), OURS];
    delete(&served, KICK, &by_cookie).await;
    let ban = json!({ "address": "192.0.2.9", "reason": "why" }).to_string();
    post(&served, "/admin/api/bans", &[BEARER], &ban).await;
    post(&served, "/admin/api/logout", &by_cookie, "").await;
    let heard = listener.until("\"action\":\"logout\"").await;
    for word in [
        "\"action\":\"login\"",
        "\"action\":\"remove\"",
        "\"action\":\"ban\"",
        "\"by\":\"127.0.0.1\"",
        "\"with\":\"cookie\"",
        "\"with\":\"bearer\"",
        "\"value\":\"192.0.2.9\"",
        "\"peer\":\"ada\"",
    ] {
        assert!(heard.contains(word), "no {word}: {heard}");
    }
    assert!(
        !heard.contains(TOKEN) && !heard.contains(&cookie),
        "{heard}"
    );
    let actions = &served.metrics.operating.actions;
    assert_eq!(actions.total(), 4);
}

#[tokio::test]
async fn pictures_name_who_did_not_answer() {
    let served = with_token().await;
    let get = async |page: &str| {
        let target = format!("/admin/api/{page}");
        served.request("GET", &target, &[BEARER]).await.json()
    };
    let (own, other) = ("01".repeat(20), "02".repeat(20));
    let picture = get("topology").await;
    assert_eq!(
        picture["links"],
        json!([{ "a": own, "b": other, "rttMs": 2 }])
    );
    assert_eq!(picture["notAnswered"], json!([other]), "{picture}");
    let hubs = picture["hubs"].as_array().expect("a list");
    let first = hubs.iter().find(|hub| hub["self"] == true).expect("itself");
    assert_eq!(first["condition"]["waiting"], 4, "{first}");
    let waiting = get("waiting").await;
    assert_eq!(
        (&waiting["total"], &waiting["notAnswered"]),
        (&json!(4), &json!([other]))
    );
    assert_eq!(
        (&waiting["waiting"], &waiting["ids"]),
        (&json!([]), &json!(0))
    );
    get("contests?limit=1").await;
    get("contests?limit=1000").await;
    let listed = served.app.backend().listed.lock();
    let listed = listed.expect("nobody panicked").clone();
    assert_eq!(listed, [102, 3, 1_002], "no more than fit on the page");
    for wrong in [
        "waiting?after=x",
        "contests?dialect=latin",
        "waiting?peer=a",
    ] {
        let target = format!("/admin/api/{wrong}");
        let answer = served.request("GET", &target, &[BEARER]).await;
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.body);
    }
    let history = get("history").await;
    assert_eq!(
        (&history["stepMs"], &history["hubs"]),
        (&json!(10_000), &json!([own]))
    );
    assert_eq!(history["notAnswered"], json!([other]));
    let answer = served
        .request("GET", "/admin/api/history?hub=ff", &[BEARER])
        .await;
    assert_eq!(answer.status, 404);
    let peers = get("peers?network=global&details=1").await;
    let rows = peers["peers"].as_array().expect("a list");
    let ada = rows
        .iter()
        .find(|row| row["id"] == "ada in global")
        .expect("ada");
    assert_eq!(
        (&ada["address"], &ada["subject"]),
        (&json!("192.0.2.1"), &json!(null))
    );
    assert_eq!(ada["sinceMs"], 1_700_000_000_000_u64);
    assert_eq!(peers["notAnswered"], json!([other]), "{peers}");
}
