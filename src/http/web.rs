//! The pages of a hub for people, at `/` and, for operators, at `/admin`, with their scripts, styles and pictures, and
//! the facts about this hub that the first page needs.
//!
//! The files are built in `web/` and compiled in from `web/dist`, so a hub needs no file beside its binary. The names
//! of assets carry a hash of their contents: browsers may keep the assets for ever, and request the page that names
//! them each time. A page runs only what this hub serves: the policy in [`CSP`] allows no inline script and no other
//! host. Changing data is polled from the JSON pages of `status`.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use include_dir::{Dir, File, include_dir};
use serde_json::json;
use sha2::{Digest, Sha256};
use warp::reply::Response;

use super::{App, Backend, Head, reply};

static DIST: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/web/dist");

/// The path of the page for everybody, among the files.
const INDEX: &str = "/index.html";
/// The path of the page for operators, among the files.
const OPERATORS: &str = "/admin.html";

const CSP: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
);

/// All files, by the path that they are asked for by.
static ASSETS: LazyLock<BTreeMap<String, Asset>> = LazyLock::new(|| {
    let mut all = BTreeMap::new();
    gather(&DIST, &mut all);
    all
});

fn gather(folder: &'static Dir<'static>, all: &mut BTreeMap<String, Asset>) {
    for file in folder.files() {
        all.insert(format!("/{}", file.path().display()), Asset::new(file));
    }
    for inner in folder.dirs() {
        gather(inner, all);
    }
}

/// One file of the page.
pub(super) struct Asset {
    body: &'static [u8],
    content_type: HeaderValue,
    /// For how long browsers may keep it.
    cache: HeaderValue,
    etag: String,
}

impl Asset {
    fn new(file: &'static File<'static>) -> Self {
        let (body, path) = (file.contents(), file.path());
        let suffix = path.extension().and_then(|suffix| suffix.to_str());
        let digest = hex::encode(Sha256::digest(body));
        Asset {
            body,
            content_type: HeaderValue::from_static(content_type(suffix.unwrap_or_default())),
            cache: HeaderValue::from_static(match path.starts_with("assets") {
                true => "public, max-age=31536000, immutable",
                false => "no-cache",
            }),
            etag: format!("\"{}\"", digest.get(..32).unwrap_or(&digest)),
        }
    }

    /// The file, unless the client has it already.
    pub(super) fn response(&self, asked: &HeaderMap) -> Response {
        let known = is_known(asked, &self.etag);
        let body = if known { &[][..] } else { self.body };
        let mut response = Response::new(bytes::Bytes::from_static(body).into());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, self.content_type.clone());
        headers.insert(CACHE_CONTROL, self.cache.clone());
        headers.insert(CONTENT_SECURITY_POLICY, CSP);
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        if let Ok(etag) = HeaderValue::from_str(&self.etag) {
            headers.insert(ETAG, etag);
        }
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        response
    }
}

fn content_type(suffix: &str) -> &'static str {
    match suffix {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

/// Whether the browser has the file already: one of the tags in its `If-None-Match` is this one. A weak tag counts too,
/// because the body is the same to the byte.
fn is_known(asked: &HeaderMap, etag: &str) -> bool {
    let lists = asked.get_all(IF_NONE_MATCH).into_iter();
    let texts = lists.filter_map(|value| value.to_str().ok());
    let mut tags = texts.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// The script, style or picture at this path.
pub(super) fn asset(path: &str) -> Option<&'static Asset> {
    path.starts_with("/assets/")
        .then(|| ASSETS.get(path))
        .flatten()
}

/// `GET /` of a browser.
pub(super) fn page(asked: &HeaderMap) -> Response {
    compiled_in(INDEX, asked)
}

/// `GET /admin`. The page holds nothing of the mesh, and asks for it with the rights of its visitor.
pub(super) fn operators_page<B: Backend>(_: &Arc<App<B>>, head: Head) -> Response {
    compiled_in(OPERATORS, &head.headers)
}

fn compiled_in(path: &str, asked: &HeaderMap) -> Response {
    match ASSETS.get(path) {
        Some(page) => page.response(asked),
        None => reply::error(StatusCode::NOT_FOUND, "this hub was built without its page"),
    }
}

/// `GET /page.json`: this hub's settings that the page needs. It holds no token, and no key but the one that every
/// PeerJS client knows: a client that knows a realm's key may enter the realm.
pub(super) fn about<B: Backend>(app: &Arc<App<B>>, _: Head) -> Response {
    let config = &app.config;
    let peerjs = config.peerjs.is_served().then(|| {
        json!({
            "paths": config.peerjs.paths.iter().map(|path| format!("{path}/")).collect::<Vec<_>>(),
            "defaultKey": config.peerjs.keys.has("peerjs"),
            "rooms": config.peerjs.rooms,
        })
    });
    let body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "hub": app.own_id(&app.backend.view()),
        "isHub": config.is_hub,
        "region": config.mesh.region,
        "needsToken": !app.gate.is_open(),
        "showsMesh": !app.operators.are_told_apart(),
        "demo": config.demo,
        "iceServers": app.has_ice_servers(),
        "peerjs": peerjs,
    });
    reply::json(StatusCode::OK, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_name_only_assets_that_there_are_and_no_other_host() {
        for path in [INDEX, OPERATORS] {
            let page = ASSETS.get(path).expect("a page is compiled in");
            let text = std::str::from_utf8(page.body).expect("text");
            let named: Vec<&str> = text
                .split('"')
                .filter(|word| word.starts_with("/assets/"))
                .collect();
            assert!(named.len() >= 3, "a script, a style and an icon: {named:?}");
            for path in named {
                assert!(asset(path).is_some(), "{path}");
            }
            for foreign in ["http:", "https:", "<style", "style=", "javascript:"] {
                assert!(!text.contains(foreign), "{foreign}");
            }
        }
    }

    #[test]
    fn a_tag_is_known_alone_in_a_list_and_weak() {
        let known = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static(value));
            is_known(&headers, "\"a\"")
        };
        for value in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            assert!(known(value), "{value}");
        }
        for value in ["", "a", "\"b\"", "\"a"] {
            assert!(!known(value), "{value}");
        }
    }

    #[test]
    fn nothing_but_what_is_under_assets_is_an_asset() {
        for path in [
            INDEX,
            OPERATORS,
            "/assets/",
            "/assets/../index.html",
            "/assets",
            "//assets/x",
        ] {
            assert!(asset(path).is_none(), "{path}");
        }
    }
}
