//! The status pages, errors and CORS.

use serde_json::json;

use crate::served::Served;

#[tokio::test]
async fn the_root_says_what_this_is() {
    let served = Served::new(&[]).await;
    let answer = served.get("/").await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/json"))
    );
    assert_eq!(answer.json()["name"], "hubmesh");
    assert_eq!(answer.json()["endpoints"]["mesh"], "/mesh");
}

#[tokio::test]
async fn health_has_the_fields_that_clients_read() {
    let served = Served::new(&[]).await;
    let answer = served.get("/health").await;
    assert_eq!(answer.status, 200);
    let body = answer.json();
    assert_eq!(body["status"], "healthy");
    assert_eq!(body["isHub"], true);
    assert_eq!(
        (&body["connections"], &body["peers"]),
        (&json!(0), &json!(6))
    );
    assert_eq!((&body["hubs"], &body["networks"]), (&json!(1), &json!(2)));
    assert!(
        body["uptime"].is_u64() && body["timestamp"].is_string(),
        "{body}"
    );
}

#[tokio::test]
async fn metrics_are_json_unless_the_text_is_asked_for() {
    let served = Served::new(&[("FLY_REGION", "fra"), ("FLY_APP_NAME", "pigeons")]).await;
    let body = served
        .request("GET", "/metrics", &[("Accept", "*/*")])
        .await
        .json();
    let server =
        json!({"is_hub": true, "namespace": "tests", "region": "fra", "app_name": "pigeons"});
    assert_eq!(body["server"], server);
    assert_eq!(body["connections"]["max"], 10_000);
    assert_eq!(body["peers"]["networks"], json!({"global": 5, "other": 1}));
    assert_eq!(
        body["hubs"],
        json!({"discovered": 1, "bootstrap_connected": 1})
    );
    assert!(
        body["uptime_ms"].is_u64() && body["messages"].is_object(),
        "{body}"
    );

    let text = served
        .request("GET", "/metrics", &[("Accept", "text/plain;version=0.0.4")])
        .await;
    let text_type = Some("text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(text.header("content-type"), text_type);
    assert!(
        text.body.contains("\nhubmesh_directory_peers 6\n"),
        "{}",
        text.body
    );
}

#[tokio::test]
async fn hubs_stats_and_hubstats_show_the_mesh() {
    let served = Served::new(&[]).await;
    let (own, other) = ("01".repeat(20), "02".repeat(20));
    let hubs = served.get("/hubs").await.json();
    assert_eq!(hubs["totalHubs"], 1);
    let hub = &hubs["hubs"][0];
    assert_eq!(
        (&hub["peerId"], &hub["networkName"]),
        (&json!(other), &json!("tests"))
    );
    assert_eq!(
        (&hub["registeredAt"], &hub["lastActivity"]),
        (&json!(1000), &json!(2000))
    );
    assert_eq!(
        (&hub["rttMs"], &hub["direct"], &hub["peers"]),
        (&json!(1.5), &json!(true), &json!(4))
    );

    let stats = served.get("/stats").await.json();
    assert_eq!(
        (&stats["isRunning"], &stats["hubPeerId"]),
        (&json!(true), &json!(own))
    );
    assert_eq!(stats["bootstrapHubs"], json!({"total": 2, "connected": 1}));
    assert_eq!(stats["port"], served.addr.port());

    let hubstats = served.get("/hubstats").await.json();
    assert_eq!(
        (&hubstats["totalHubs"], &hubstats["connectedHubs"]),
        (&json!(1), &json!(1))
    );
    let second = json!({
        "uri": "dns+ws://hubs:80", "connected": false, "hub": null, "lastAttempt": null,
        "attemptNumber": 7, "problem": "the name has no address"
    });
    assert_eq!(hubstats["bootstrapHubs"][1], second);
}

#[tokio::test]
async fn errors_are_json_with_the_right_status() {
    let served = Served::new(&[]).await;
    for (method, target, status) in [
        ("GET", "/nothing", 404),
        ("GET", "/health/more", 404),
        ("POST", "/nothing", 404),
        ("POST", "/health", 405),
        ("DELETE", "/", 405),
        ("GET", "/ws", 426),
        ("GET", "/mesh", 426),
    ] {
        let answer = served.request(method, target, &[]).await;
        assert_eq!(answer.status, status, "{method} {target}");
        assert!(
            answer.json()["error"].is_string(),
            "{method} {target}: {}",
            answer.body
        );
    }
    let not_allowed = served.request("POST", "/health", &[]).await;
    assert_eq!(not_allowed.header("allow"), Some("GET, HEAD, OPTIONS"));
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let served = Served::new(&[]).await;
    let answer = served.request("HEAD", "/health", &[]).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn every_origin_may_read_by_default() {
    let served = Served::new(&[]).await;
    let origin = [("Origin", "https://a.example")];
    let answer = served.request("GET", "/health", &origin).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let preflight = served.request("OPTIONS", "/health", &origin).await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
    assert_eq!(
        preflight.header("access-control-allow-methods"),
        Some("GET, HEAD, OPTIONS")
    );
    let headers = preflight.header("access-control-allow-headers");
    assert_eq!(headers, Some("Authorization, Content-Type"));
}

const TRACING: &str = "baggage,sentry-trace,traceparent";

#[tokio::test]
async fn a_preflight_of_an_allowed_page_is_granted_whatever_headers_it_asks_for() {
    let page = "https://a.example";
    for (allowed, origin, granted) in [
        ("*", page, true),
        (page, page, true),
        ("null", "null", true),
        (page, "https://b.example", false),
    ] {
        let served = Served::new(&[("CORS_ORIGIN", allowed)]).await;
        let headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "GET"),
            ("Access-Control-Request-Headers", TRACING),
            ("Access-Control-Request-Headers", "x-mine"),
        ];
        let answer = served.request("OPTIONS", "/peerjs/id", &headers).await;
        assert_eq!(answer.status, 204);
        let list = answer.list("access-control-allow-headers");
        let reflected = list.contains(TRACING) && list.contains("x-mine");
        assert_eq!(reflected, granted, "{origin} at {allowed}: {list}");
        let may = answer.header("access-control-allow-origin").is_some();
        assert_eq!(may, granted, "{origin} at {allowed}");
        let vary = answer.list("vary");
        assert!(vary.contains("Access-Control-Request-Headers"), "{vary}");
        assert_eq!(vary.contains("Origin"), allowed != "*", "{vary}");
    }
}

#[tokio::test]
async fn a_preflight_that_asks_for_no_headers_is_granted_the_usual_ones() {
    let served = Served::new(&[]).await;
    let page = [
        ("Origin", "https://a.example"),
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", ""),
    ];
    let answer = served.request("OPTIONS", "/health", &page).await;
    assert_eq!(
        answer.list("access-control-allow-headers"),
        "Authorization, Content-Type"
    );
}

#[tokio::test]
async fn whoever_reads_json_as_well_as_text_gets_json() {
    let served = Served::new(&[]).await;
    let axios = [("Accept", "application/json, text/plain, */*")];
    let answer = served.request("GET", "/metrics", &axios).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.body.starts_with('{'), "{}", answer.body);
    assert!(answer.list("vary").contains("Accept"));
    let both = [("Accept", "application/json;q=0.5"), ("Accept", "text/*")];
    let answer = served.request("GET", "/metrics", &both).await;
    assert!(answer.body.starts_with('#'), "{}", answer.body);
}

#[tokio::test]
async fn a_draining_hub_is_unwell_to_every_kind_of_health_check() {
    let served = Served::new(&[]).await;
    let checks = [
        ("OPTIONS", "/"),
        ("OPTIONS", "*"),
        ("OPTIONS", "/health"),
        ("GET", "/"),
        ("HEAD", "/"),
        ("GET", "/peerjs/"),
        ("GET", "/health"),
        ("HEAD", "/health"),
    ];
    for (method, target) in checks {
        let answer = served.request(method, target, &[]).await;
        assert!(answer.status < 300, "{method} {target}: {}", answer.status);
    }
    served.app.drain();
    for (method, target) in checks {
        let answer = served.request(method, target, &[]).await;
        assert_eq!(answer.status, 503, "{method} {target}");
    }
    let preflight = [
        ("Origin", "https://a.example"),
        ("Access-Control-Request-Method", "GET"),
    ];
    let answer = served.request("OPTIONS", "/metrics", &preflight).await;
    assert_eq!(answer.status, 204, "what pages may read, they still may");
}
