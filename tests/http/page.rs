//! The page of a hub: the clients that get it, its headers for browsers, and the settings that the hub gives it.

use serde_json::json;

use crate::served::Served;

/// The `Accept` header of Chromium and Firefox for a page.
const BROWSER: (&str, &str) = (
    "Accept",
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
);

/// The assets that the page names.
fn assets(page: &str) -> Vec<String> {
    page.split('"')
        .filter(|word| word.starts_with("/assets/"))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn a_browser_gets_a_page_and_everyone_else_json() {
    let served = Served::new(&[]).await;
    let page = served.request("GET", "/", &[BROWSER]).await;
    let html = Some("text/html; charset=utf-8");
    assert_eq!((page.status, page.header("content-type")), (200, html));
    assert!(page.body.starts_with("<!doctype html>"), "{}", page.body);
    for headers in [
        &[][..],
        &[("Accept", "*/*")],
        &[("Accept", "application/json, text/html;q=0.9")],
    ] {
        let answer = served.request("GET", "/", headers).await;
        assert_eq!(answer.json()["name"], "hubmesh", "{headers:?}");
        assert_eq!(answer.list("vary"), "Accept");
    }
    assert_eq!(page.list("vary"), "Accept");
}

#[tokio::test]
async fn the_page_runs_nothing_but_what_the_hub_serves() {
    let served = Served::new(&[]).await;
    let page = served.request("GET", "/", &[BROWSER]).await;
    let policy = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                  object-src 'none'";
    let mut answers = vec![page];
    for asset in assets(&answers[0].body) {
        answers.push(served.get(&asset).await);
    }
    assert_eq!(
        answers.len(),
        5,
        "the page, two scripts, a style and an icon"
    );
    for answer in &answers {
        assert_eq!(answer.header("content-security-policy"), Some(policy));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    }
}

#[tokio::test]
async fn assets_are_kept_for_ever_and_the_page_is_asked_for_again() {
    let served = Served::new(&[]).await;
    let page = served.request("GET", "/", &[BROWSER]).await;
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    let mut types = Vec::new();
    for path in assets(&page.body) {
        let asset = served.get(&path).await;
        assert_eq!(asset.status, 200, "{path}");
        let kept = Some("public, max-age=31536000, immutable");
        assert_eq!(asset.header("cache-control"), kept);
        types.push(asset.header("content-type").expect("a type").to_owned());

        let tag = asset.header("etag").expect("a tag").to_owned();
        let again = [("If-None-Match", tag.as_str())];
        let again = served.request("GET", &path, &again).await;
        assert_eq!((again.status, again.body.as_str()), (304, ""));
        assert_eq!(again.header("etag"), Some(tag.as_str()));
    }
    types.sort();
    let expected = [
        "image/svg+xml",
        "text/css; charset=utf-8",
        "text/javascript; charset=utf-8",
        "text/javascript; charset=utf-8",
    ];
    assert_eq!(types, expected);
    let tag = page.header("etag").expect("a tag");
    let again = [BROWSER, ("If-None-Match", tag)];
    assert_eq!(served.request("GET", "/", &again).await.status, 304);
}

#[tokio::test]
async fn head_has_the_headers_and_no_body() {
    let served = Served::new(&[]).await;
    let page = served.request("GET", "/", &[BROWSER]).await;
    let asset = assets(&page.body).remove(0);
    for (path, headers) in [("/", &[BROWSER][..]), (asset.as_str(), &[])] {
        let got = served.request("GET", path, headers).await;
        let head = served.request("HEAD", path, headers).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        for name in ["content-type", "content-length", "etag", "cache-control"] {
            assert!(got.header(name).is_some(), "{path}: {name}");
            assert_eq!(head.header(name), got.header(name), "{path}: {name}");
        }
    }
}

#[tokio::test]
async fn what_is_no_asset_is_not_there() {
    let served = Served::new(&[]).await;
    for path in [
        "/assets/index-00000000.js",
        "/assets/",
        "/assets",
        "/assets/../index.html",
        "/assets/%2e%2e/index.html",
        "/index.html",
        "/licenses.md",
    ] {
        let answer = served.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.json()["error"].is_string(), "{path}");
    }
    let page = served.request("GET", "/", &[BROWSER]).await;
    let asset = assets(&page.body).remove(0);
    assert_eq!(served.request("POST", &asset, &[]).await.status, 405);
}

#[tokio::test]
async fn a_hub_that_shuts_down_serves_no_page() {
    let served = Served::new(&[]).await;
    served.app.drain();
    assert_eq!(served.request("GET", "/", &[BROWSER]).await.status, 503);
}

#[tokio::test]
async fn the_page_is_told_how_clients_come_in() {
    let served = Served::new(&[("FLY_REGION", "fra")]).await;
    let about = served.get("/page.json").await.json();
    let expected = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "hub": "01".repeat(20),
        "isHub": true,
        "region": "fra",
        "needsToken": false,
        "showsMesh": true,
        "demo": true,
        "iceServers": false,
        "peerjs": { "paths": ["/", "/peerjs/"], "defaultKey": true, "rooms": false },
    });
    assert_eq!(about, expected);
}

#[tokio::test]
async fn the_page_is_told_of_other_settings_and_of_no_secret() {
    let served = Served::new(&[
        ("DEMO", "false"),
        ("AUTH_TOKEN", "sesame"),
        ("ADMIN_TOKEN", "for-operators-alone"),
        ("PEERJS_PATH", "/myapp"),
        ("PEERJS_KEY", "hushhush"),
        ("PEERJS_ROOMS", "true"),
        ("TURN_URLS", "stun:stun.example.org"),
    ])
    .await;
    let answer = served.get("/page.json").await;
    let about = answer.json();
    assert_eq!(about["demo"], false);
    assert_eq!(about["needsToken"], true);
    assert_eq!(about["iceServers"], true);
    assert_eq!(about["showsMesh"], false);
    let peerjs = json!({ "paths": ["/myapp/"], "defaultKey": false, "rooms": true });
    assert_eq!(about["peerjs"], peerjs);
    for secret in ["sesame", "hushhush", "for-operators-alone"] {
        assert!(!answer.body.contains(secret), "{}", answer.body);
    }

    let off = Served::new(&[("PEERJS_PATH", "off")]).await;
    assert!(off.get("/page.json").await.json()["peerjs"].is_null());
    let lone = Served::new(&[("IS_HUB", "false")]).await;
    let about = lone.get("/page.json").await.json();
    assert_eq!(
        (&about["hub"], &about["isHub"]),
        (&json!(null), &json!(false))
    );
}
