//! The descriptions of `/api` and `/admin/api` are true of their routes, and of the answers to requests that
//! schemathesis makes from the descriptions. `src/http/openapi.rs` checks that the descriptions have every route, and
//! no other.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;

use crate::hub_process::{HubBuilder, HubProcess};
use crate::{authenticated, get};

#[tokio::test]
async fn every_path_that_is_described_answers_the_methods_that_are_described() {
    let hub = HubProcess::start().await;
    let document = get(&hub, "/api/openapi.json", StatusCode::OK).await;
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() >= 15, "{:?}", paths.keys());
    for (path, item) in paths {
        let asked = path.replace("{roomId}", "r");
        let answer = hub.http(Method::OPTIONS, &asked, &[]).await;
        let allowed = answer.headers["allow"].to_str().expect("text").split(", ");
        let allowed: BTreeSet<String> = allowed
            .filter(|method| !["HEAD", "OPTIONS"].contains(method))
            .map(str::to_lowercase)
            .collect();
        let item = item.as_object().expect("an object");
        let described: BTreeSet<String> = item
            .keys()
            .filter(|key| ["get", "post", "put", "delete", "patch"].contains(&key.as_str()))
            .cloned()
            .collect();
        assert_eq!(allowed, described, "{path}");
    }
    let info = get(&hub, "/api/info", StatusCode::OK).await;
    let named = info["endpoints"].as_array().expect("a list").iter();
    let named: BTreeSet<&str> = named.filter_map(|one| one["path"].as_str()).collect();
    assert_eq!(named, paths.keys().map(String::as_str).collect());
}

/// With one seed, the requests are the same in each run.
const SEED: &str = "20261121";
/// The number of requests of each kind for each operation.
const EXAMPLES: &str = "8";
/// Two threads that parse Python at once are an error now and then in CPython 3.11: "AST constructor recursion depth
/// mismatch" (gh-106905).
const WORKERS: &str = "1";
/// The limit of a run, which takes about twenty seconds.
const LIMIT: Duration = Duration::from_secs(110);

/// The program that `scripts/test` installs, or the one of this machine. If there is neither, it prints a line.
fn schemathesis() -> Option<std::path::PathBuf> {
    let own =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/schemathesis/bin/schemathesis");
    match own.is_file() {
        true => Some(own),
        false => crate::installed::program("schemathesis"),
    }
}

/// Makes requests from a description, and fails if an answer is not as the description says.
async fn fuzz(hub: &HubProcess, description: &str, more: &[&str]) {
    let Some(program) = schemathesis() else {
        return;
    };
    let home = tempfile::tempdir().expect("a directory");
    let run = Command::new(program)
        .arg("run")
        .arg(format!("http://{}{description}", hub.addr))
        .args([
            "--seed",
            SEED,
            "--max-examples",
            EXAMPLES,
            "--generation-database",
            "none",
        ])
        .args([
            "--workers",
            WORKERS,
            "--request-timeout",
            "10",
            "--no-color",
        ])
        .args(["--exclude-checks", EXCLUDED])
        .args(more)
        .current_dir(home.path())
        .env("HOME", home.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(LIMIT, run)
        .await
        .expect("it ends in time")
        .expect("it starts");
    let shown = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shown}\n{complained}");
    // The hub still works.
    get(hub, "/api/health", StatusCode::OK).await;
}

/// A check that is left out: a description cannot state bounds in bytes of UTF-8, or rooms that were created meanwhile.
const EXCLUDED: &str = "positive_data_acceptance";

const TOKEN: &str = "for-operators-and-for-clients";

/// A hub without a limit for the requests of one address.
fn patient() -> HubBuilder {
    HubProcess::builder().env("CONNECTS_PER_MINUTE_PER_IP", "0")
}

#[tokio::test]
async fn requests_that_are_made_of_the_description_are_answered_as_it_says() {
    let hub = patient().start().await;
    // Without a key to sign with, requests for tokens get 501, which a fuzzer takes for a fault.
    fuzz(
        &hub,
        "/api/openapi.json",
        &["--exclude-path", "/api/auth/token"],
    )
    .await;
}

#[tokio::test]
async fn so_are_those_of_whoever_shows_a_token() {
    let hub = patient()
        .env("AUTH_TOKEN", TOKEN)
        .env("JWT_SECRET", "a-secret-of-thirty-two-bytes-or-more")
        .start()
        .await;
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let those = "^/api/auth/token$|^/rooms|^/api/maintenance|^/api/rooms$";
    let more = ["--header", &bearer, "--include-path-regex", those];
    fuzz(&hub, "/api/openapi.json", &more).await;
}

#[tokio::test]
async fn so_are_those_of_operators() {
    let hub = patient()
        .env("ADMIN_TOKEN", TOKEN)
        .env("ADMIN_LOGINS_PER_MINUTE", "1000")
        .start()
        .await;
    let mut client = authenticated(&hub, "ada", "notes").await;
    client
        .send(json!({"type": "create-room", "data": {"roomName": "Notes", "userName": "Ada"}}))
        .await;
    let bearer = format!("Authorization: Bearer {TOKEN}");
    // A stream of events never ends, and would be waited for.
    let more = ["--header", &bearer, "--exclude-path", "/admin/api/events"];
    fuzz(&hub, "/admin/api/openapi.json", &more).await;
}
