//! The documentation against the thing that it describes.
//!
//! What the README shows is run, or compared with what real hubs answer; what the other pages name has to exist. The
//! README marks what belongs to a test by a comment in front of the block: `<!-- test: … -->`, `<!-- answer: /path -->`.

#[path = "common/hub_process.rs"]
mod hub_process;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use futures::{SinkExt, StreamExt};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Map, Value};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use hub_process::{HubProcess, LIMIT};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const PAGES: [&str; 6] = [
    "README.md",
    "ARCHITECTURE.md",
    "MESH.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
];

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The fenced block behind this comment.
fn block(page: &str, comment: &str) -> String {
    let marker = format!("<!-- {comment} -->\n```");
    let (_, rest) = page
        .split_once(&marker)
        .unwrap_or_else(|| panic!("no block behind {marker:?}"));
    let (block, _) = rest.split_once("\n```").expect("the block ends");
    let (_language, block) = block.split_once('\n').expect("the block has lines");
    block.to_owned()
}

// ---- What can be pasted ---------------------------------------------------------------------------------

/// Two ports below those that systems hand out for port 0, so that no other test is given one of them meanwhile.
fn two_free_ports() -> [u16; 2] {
    let start = 10_000 + u16::try_from(std::process::id() % 20_000).expect("below 20,000");
    let free = |port: &u16| {
        ["127.0.0.1", "::1"]
            .into_iter()
            .all(|host| can_listen(host, *port))
    };
    let mut ports = (start..30_000).chain(10_000..start).filter(free);
    [(); 2].map(|()| ports.next().expect("a free port"))
}

/// Whether nobody listens there; a machine without IPv6 has nobody either.
fn can_listen(host: &str, port: u16) -> bool {
    match TcpListener::bind((host, port)) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::AddrInUse,
    }
}

/// A shell and everything that it started, ended together.
struct Shell(Pid);

impl Drop for Shell {
    fn drop(&mut self) {
        // Gone already, if the script ended its jobs itself.
        let _ = kill_process_group(self.0, Signal::KILL);
    }
}

/// Runs a script in bash, the built binaries first on its path; gives what it printed, and whether it succeeded.
async fn run_in_bash(script: &str) -> (String, bool) {
    let hubmesh = Path::new(env!("CARGO_BIN_EXE_hubmesh"));
    let built = hubmesh.parent().expect("a directory").display();
    let path = std::env::var("PATH").expect("a search path");
    let mut child = Command::new("bash")
        .args(["-c", script])
        .env_clear()
        .env("PATH", format!("{built}:{path}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .expect("bash starts");
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    let _shell = Shell(pid.and_then(Pid::from_raw).expect("a valid pid"));
    let mut stdout = child.stdout.take().expect("stdout is piped");
    let mut printed = String::new();
    let ended = timeout(2 * LIMIT, async {
        let _ = stdout.read_to_string(&mut printed).await;
        child.wait().await.expect("bash can be waited for")
    });
    let ended = ended.await;
    let ended = ended.unwrap_or_else(|_| panic!("no end in time, after:\n{printed}"));
    (printed, ended.success())
}

#[tokio::test]
async fn the_first_conversation_works_as_pasted() {
    let pasted = block(&page("README.md"), "test: conversation");
    let (build, rest) = pasted.split_once('\n').expect("five lines");
    assert!(build.starts_with("cargo build --release && export PATH="));
    assert_eq!(rest.lines().count(), 4);
    let [first, second] = two_free_ports().map(|port| port.to_string());
    let rest = rest.replace("8081", &first).replace("8082", &second);
    let script = format!("{rest}\nstatus=$?; kill $(jobs -p); wait; exit $status");
    let (printed, succeeded) = run_in_bash(&script).await;
    assert!(succeeded, "{printed}");
    for said in ["link up", "hello from bob", "ada heard you"] {
        assert!(printed.contains(said), "no {said:?} in:\n{printed}");
    }
}

fn is_installed(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(tool).is_file())
}

#[tokio::test]
async fn the_certificate_of_one_s_own_works_as_pasted() {
    if let Some(missing) = ["openssl", "curl"]
        .into_iter()
        .find(|tool| !is_installed(tool))
    {
        eprintln!("skipped: {missing} is not installed");
        return;
    }
    let pasted = block(&page("README.md"), "test: tls");
    let [port, _] = two_free_ports().map(|port| port.to_string());
    let pasted = pasted.replace("8443", &port);
    let place = tempfile::TempDir::new().expect("a directory");
    let place = place.path().display();
    let script = format!("cd {place}\n{pasted}\nstatus=$?; kill $(jobs -p); wait; exit $status");
    let (printed, succeeded) = run_in_bash(&script).await;
    assert!(succeeded, "{printed}");
    for said in ["wss://", r#""status":"healthy""#, "announced in global"] {
        assert!(printed.contains(said), "no {said:?} in:\n{printed}");
    }
}

// ---- What hubs answer -----------------------------------------------------------------------------------

/// The value with its keys alone: leaves are null, and of an array there is the first element.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(key, value)| (key.clone(), shape(value)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        Value::Array(elements) => Value::Array(elements.iter().take(1).map(shape).collect()),
        _ => Value::Null,
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A peer that keeps one message of each type that its hub sends it.
struct Listener {
    socket: Socket,
    heard: BTreeMap<String, Value>,
}

impl Listener {
    async fn connect(hub: &HubProcess, digit: &str) -> Self {
        let url = format!("{}/ws?peerId={}", hub.ws_url(), digit.repeat(40));
        let connected = timeout(LIMIT, tokio_tungstenite::connect_async(url)).await;
        let (socket, _) = connected.expect("in time").expect("let in");
        let heard = BTreeMap::new();
        Listener { socket, heard }
    }

    async fn say(&mut self, text: &str) {
        let sent = self.socket.send(Message::text(text)).await;
        sent.expect("the hub takes it");
    }

    /// Waits for a message of this type.
    async fn hear(&mut self, kind: &str) {
        let hearing = async {
            while !self.heard.contains_key(kind) {
                let message = self.socket.next().await.expect("open").expect("a message");
                let Message::Text(text) = message else {
                    continue;
                };
                let message: Value = serde_json::from_str(&text).expect("JSON");
                let kind = message["type"].as_str().expect("a type").to_owned();
                self.heard.entry(kind).or_insert(message);
            }
        };
        let heard = timeout(LIMIT, hearing).await;
        heard.unwrap_or_else(|_| panic!("no {kind} in time"));
    }
}

/// Two linked hubs with a peer each, who have discovered each other.
async fn two_hubs_with_ada_and_bob() -> ([HubProcess; 2], [Listener; 2]) {
    let first = HubProcess::start().await;
    let second = first.neighbour().start().await;
    let mut ada = Listener::connect(&first, "1").await;
    let mut bob = Listener::connect(&second, "2").await;
    ada.say(r#"{"type":"announce","data":{"name":"ada"}}"#)
        .await;
    bob.say(r#"{"type":"announce","data":{"name":"bob"}}"#)
        .await;
    ada.hear("peer-discovered").await;
    bob.hear("peer-discovered").await;
    ([first, second], [ada, bob])
}

#[tokio::test]
async fn every_page_answers_with_the_keys_that_the_readme_shows() {
    let readme = page("README.md");
    let ([_first, second], _peers) = two_hubs_with_ada_and_bob().await;
    for path in ["/", "/health", "/hubs", "/hubstats", "/stats", "/metrics"] {
        let shown = block(&readme, &format!("answer: {path}"));
        let shown: Value = serde_json::from_str(&shown).expect("the README shows JSON");
        let answered = second.http_get(path).await.json();
        assert_eq!(shape(&shown), shape(&answered), "{path}");
    }
}

#[tokio::test]
async fn every_message_of_a_hub_has_the_keys_that_the_readme_shows() {
    let (_hubs, [mut ada, mut bob]) = two_hubs_with_ada_and_bob().await;
    let target = "1".repeat(40);
    bob.say(&format!(
        r#"{{"type":"offer","targetPeerId":"{target}","data":{{"type":"offer","sdp":"v=0"}}}}"#
    ))
    .await;
    ada.hear("offer").await;
    ada.say(r#"{"type":"ping"}"#).await;
    ada.hear("pong").await;
    ada.say(r#"{"type":"dance"}"#).await;
    ada.hear("error").await;
    bob.say(r#"{"type":"goodbye"}"#).await;
    ada.hear("peer-disconnected").await;

    let shown = block(&page("README.md"), "test: messages");
    let shown: BTreeMap<String, Value> = shown
        .lines()
        .map(|line| serde_json::from_str(line).expect("the README shows JSON"))
        .map(|message: Value| (message["type"].as_str().expect("a type").into(), message))
        .collect();
    let shapes = |messages: &BTreeMap<String, Value>| -> BTreeMap<String, Value> {
        let shapes = messages
            .iter()
            .map(|(kind, message)| (kind.clone(), shape(message)));
        shapes.collect()
    };
    assert_eq!(shapes(&shown), shapes(&ada.heard));
}

// ---- What the pages name --------------------------------------------------------------------------------

/// The words of a text that begin with `prefix` and go on in small letters, digits and underscores.
fn words<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(prefix).map(move |(start, _)| {
        let word = &text[start..];
        let end = word.find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
        &word[..end.unwrap_or(word.len())]
    })
}

#[test]
fn every_metric_that_a_page_names_is_one() {
    let source = page("src/metrics.rs");
    let mut named = 0;
    for name in PAGES {
        for word in words(&page(name), "hubmesh_") {
            let metric = word.trim_start_matches("hubmesh_");
            let metric = ["_bucket", "_sum", "_count"]
                .into_iter()
                .find_map(|part| metric.strip_suffix(part))
                .unwrap_or(metric);
            assert!(source.contains(&format!("\"{metric}\"")), "{name}: {word}");
            named += 1;
        }
    }
    assert!(named > 20, "only {named} metrics are named");
}

/// The targets of a page's links, without those to other sites.
fn links(page: &str) -> impl Iterator<Item = &str> {
    let targets = page.split("](").skip(1);
    targets
        .filter_map(|rest| Some(rest.split_once(')')?.0))
        .filter(|target| !target.contains("://"))
}

/// The anchor of each heading of a page, as repositories' sites make them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let text = line.trim_start_matches('#').trim().to_lowercase();
            let kept = text
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    for name in PAGES {
        let text = page(name);
        for link in links(&text) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() { name } else { file };
            assert!(Path::new(ROOT).join(file).exists(), "{name}: {link}");
            let known = || anchors(&page(file)).contains(anchor);
            assert!(anchor.is_empty() || known(), "{name}: {link}");
        }
    }
}

/// The Rust sources below a directory, those of unit tests left out.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let is_tests = path.file_stem().is_some_and(|stem| stem == "tests");
        if is_tests {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The files of the tree in ARCHITECTURE.md, whose lines are indented by two spaces a level.
fn mapped_files(tree: &str) -> BTreeSet<PathBuf> {
    let mut directories: Vec<&str> = Vec::new();
    let mut files = BTreeSet::new();
    for line in tree.lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let level = (line.len() - line.trim_start().len()) / 2;
        directories.truncate(level);
        match name.strip_suffix('/') {
            Some(directory) => directories.push(directory),
            None => {
                files.insert(directories.iter().collect::<PathBuf>().join(name));
            }
        }
    }
    files
}

#[test]
fn the_map_names_every_source_file_and_no_other() {
    let architecture = page("ARCHITECTURE.md");
    let (_, rest) = architecture
        .split_once("## The tree\n\n```text\n")
        .expect("there is a tree");
    let (tree, _) = rest.split_once("\n```").expect("the tree ends");
    let (code, _) = tree
        .split_once("\ntests/")
        .expect("the tests come after the code");
    let mut found = Vec::new();
    for base in ["src", "bin"] {
        sources(&Path::new(ROOT).join(base), &mut found);
    }
    let found: BTreeSet<PathBuf> = found
        .iter()
        .map(|path| path.strip_prefix(ROOT).expect("below the root").to_owned())
        .collect();
    let mapped = mapped_files(code);
    let unmapped: Vec<_> = found.difference(&mapped).collect();
    let gone: Vec<_> = mapped.difference(&found).collect();
    assert!(
        unmapped.is_empty(),
        "ARCHITECTURE.md does not name {unmapped:?}"
    );
    assert!(
        gone.is_empty(),
        "ARCHITECTURE.md names {gone:?}, which are not there"
    );
}
