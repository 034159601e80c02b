//! The documentation is compared with the programs that it describes.
//!
//! The examples in the README and in docs/ are run, or compared with the answers of real hubs. Files, metrics and links
//! that the pages name must exist. A comment in front of a block says which test it belongs to: `<!-- test: … -->`,
//! `<!-- answer: /path -->`.

#[path = "common/hub_process.rs"]
mod hub_process;
#[path = "common/terminal.rs"]
mod terminal;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use futures::{SinkExt, StreamExt};
use serde_json::{Map, Value};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use hub_process::{HubProcess, LIMIT, eventually};
use terminal::Terminal;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// The pages for users whose blocks are run or compared.
const MANUAL: [&str; 11] = [
    "README.md",
    "docs/tools.md",
    "docs/configuration.md",
    "docs/deployment.md",
    "docs/admin.md",
    "docs/http.md",
    "docs/mesh-operation.md",
    "docs/operations.md",
    "docs/peerjs.md",
    "docs/protocol.md",
    "docs/rooms.md",
];
/// The other pages.
const OTHERS: [&str; 12] = [
    "ARCHITECTURE.md",
    "MESH.md",
    "CHANGELOG.md",
    "docs/conformance.md",
    "docs/coordinator.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/nat.md",
    "docs/page.md",
    "docs/peerjs-differences.md",
    "docs/performance.md",
    "docs/y-webrtc.md",
];
/// The most lines of the README. It is for new readers; the rest is in docs/.
const README_LINES: usize = 200;

fn pages() -> impl Iterator<Item = &'static str> {
    MANUAL.into_iter().chain(OTHERS)
}

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The fenced block behind this comment, on any page of the manual.
fn block(comment: &str) -> String {
    let marker = format!("<!-- {comment} -->\n```");
    let manual = MANUAL.map(page);
    let (_, rest) = manual
        .iter()
        .find_map(|page| page.split_once(&marker))
        .unwrap_or_else(|| panic!("no block behind {marker:?}"));
    let (block, _) = rest.split_once("\n```").expect("the block ends");
    let (_language, block) = block.split_once('\n').expect("the block has lines");
    block.to_owned()
}

// ---- Blocks that are pasted -----------------------------------------------------------------------------

/// The ports that the blocks name.
const PORTS: [&str; 8] = [
    "8081", "8082", "8085", "8086", "8087", "8443", "3000", "3001",
];

/// The first lines of blocks that build the programs that they run.
const BUILDS: [&str; 2] = [
    "cargo build --release && export PATH=\"$PWD/target/release:$PATH\"",
    "cargo build --release --package load-test",
];

/// The number of ports that each process of the tests has to itself.
const PORTS_EACH: u32 = 20;

/// Free ports, below the ports that systems give for port 0. Tests that run at once have different ranges, so that no
/// other test gets one of these ports meanwhile.
fn free_ports() -> impl Iterator<Item = u16> {
    let start = 10_000 + std::process::id() % (20_000 / PORTS_EACH) * PORTS_EACH;
    let ports = (start..30_000).filter_map(|port| u16::try_from(port).ok());
    // A port whose digits contain a named port would be replaced again.
    let is_apart = |port: &u16| !PORTS.iter().any(|named| port.to_string().contains(named));
    let ports = ports.filter(is_apart);
    ports.filter(|port| {
        ["127.0.0.1", "::1"]
            .into_iter()
            .all(|host| can_listen(host, *port))
    })
}

/// Whether the address is free. On a machine without IPv6, an IPv6 address counts as free.
fn can_listen(host: &str, port: u16) -> bool {
    match TcpListener::bind((host, port)) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::AddrInUse,
    }
}

/// A block that is pasted into a terminal.
struct Pasted {
    name: &'static str,
    /// The programs that the block needs beside those of this repository.
    needs: &'static [&'static str],
    /// Parts of the block that are made shorter for the test, because they do not matter to the block.
    shorter: &'static [(&'static str, &'static str)],
    shows: &'static [&'static str],
}

/// The pasted blocks, in the order of the pages.
const PASTED: [Pasted; 6] = [
    Pasted {
        name: "conversation",
        needs: &[],
        shorter: &[],
        shows: &["link up", "hello from bob", "ada heard you"],
    },
    Pasted {
        name: "load",
        needs: &[],
        shorter: &[("--paced 5000", "--paced 50 --pairs 5 --duration 1s")],
        shows: &["paced", "resident"],
    },
    Pasted {
        name: "jwt",
        needs: &["openssl"],
        shorter: &[("--listen 5s", "--listen 1s")],
        shows: &["announced in global"],
    },
    Pasted {
        name: "token",
        needs: &["openssl", "curl"],
        shorter: &[],
        shows: &[r#""token":"ey"#, r#""roomId":"notes""#],
    },
    Pasted {
        name: "tls",
        needs: &["openssl", "curl"],
        shorter: &[],
        shows: &["wss://", r#""status":"healthy""#, "announced in global"],
    },
    Pasted {
        name: "rooms-api",
        needs: &["curl"],
        shorter: &[],
        shows: &[
            r#""status":"ok""#,
            r#""message":"Room created""#,
            r#""message":"User joined room""#,
            r#""count":1,"rooms":[{"roomId":"notes","roomName":"Notes","hostId":"ada","peerCount":2"#,
            r#""userId":"bob","userName":"Bob","isHost":false"#,
            r#""message":"User left room""#,
            r#""before":1,"after":0,"cleaned":1"#,
            r#""freed":"#,
            r#"{"error":"Room not found","roomId":"notes""#,
            r#""openapi":"3.1.0""#,
        ],
    },
];

impl Pasted {
    /// The block as the page has it, but with free ports, and without the builds, which are done already.
    fn text(&self, free: &[String]) -> String {
        let mut text = block(&format!("test: {}", self.name));
        if let Some((build, rest)) = text.split_once('\n')
            && BUILDS.contains(&build)
        {
            text = rest.to_owned();
        }
        for (long, short) in self.shorter {
            assert!(text.contains(long), "{}: {long}", self.name);
            text = text.replace(long, short);
        }
        for (port, free) in PORTS.iter().zip(free) {
            text = text.replace(port, free);
        }
        text
    }

    async fn works_in(&self, terminal: &mut Terminal, free: &[String]) {
        if self.name == "load" {
            hub_process::built::program("load-test", "load-test");
        }
        let (shown, code) = terminal.runs(&self.text(free)).await;
        assert_eq!(code, 0, "{}: {shown}", self.name);
        for words in self.shows {
            assert!(shown.contains(words), "{}: {words:?}: {shown}", self.name);
        }
        for words in ["Stopped", "is in use"] {
            assert!(!shown.contains(words), "{}: {words:?}: {shown}", self.name);
        }
    }
}

fn free_for_each() -> Vec<String> {
    let free = free_ports().take(PORTS.len());
    free.map(|port| port.to_string()).collect()
}

async fn works_alone(name: &str) {
    let pasted = PASTED.iter().find(|pasted| pasted.name == name);
    let pasted = pasted.expect("a block of this name");
    if !terminal::is_skipped(pasted.needs) {
        let mut terminal = Terminal::open().await;
        pasted.works_in(&mut terminal, &free_for_each()).await;
    }
}

#[tokio::test]
async fn the_first_conversation_works_as_pasted() {
    works_alone("conversation").await;
}

#[tokio::test]
async fn load_is_measured_as_pasted() {
    works_alone("load").await;
}

#[tokio::test]
async fn a_token_that_the_hub_makes_comes_as_pasted() {
    works_alone("token").await;
}

#[tokio::test]
async fn a_token_of_one_s_own_works_as_pasted() {
    works_alone("jwt").await;
}

#[tokio::test]
async fn the_certificate_of_one_s_own_works_as_pasted() {
    works_alone("tls").await;
}

#[tokio::test]
async fn rooms_are_made_and_cleaned_up_over_http_as_pasted() {
    works_alone("rooms-api").await;
}

#[tokio::test]
async fn all_blocks_work_one_after_the_other_and_leave_nothing_behind() {
    let needed: Vec<&str> = PASTED
        .iter()
        .flat_map(|pasted| pasted.needs)
        .copied()
        .collect();
    if terminal::is_skipped(&needed) {
        return;
    }
    let mut terminal = Terminal::open().await;
    let free = free_for_each();
    for pasted in &PASTED {
        pasted.works_in(&mut terminal, &free).await;
    }
    let ending = "kill %1 %2 %3";
    assert!(page("README.md").contains(&format!("`{ending}` ends the hubs and Ada")));
    let (shown, code) = terminal.runs(&format!("{ending}; wait; jobs")).await;
    assert_eq!(code, 0, "{shown}");
    for port in &free {
        let port = port.parse().expect("a port");
        eventually("its hub is gone", async || can_listen("127.0.0.1", port)).await;
    }
}

/// A command behind `$`, and the output that the page shows for it.
fn transcript(name: &str) -> (String, String) {
    let block = block(&format!("test: {name}"));
    let (command, shown) = block.split_once('\n').expect("an answer");
    let command = command.strip_prefix("$ ").expect("a command");
    (command.to_owned(), format!("{shown}\n"))
}

/// The text with every id in it made the same.
fn without_ids(text: &str) -> String {
    let mut kept = String::new();
    let mut digits = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_hexdigit() {
            digits.push(c);
            continue;
        }
        kept.push_str(if digits.len() == 40 { "ID" } else { &digits });
        digits.clear();
        kept.push(c);
    }
    kept.trim_end_matches('\0').to_owned()
}

#[tokio::test]
async fn commands_answer_as_the_pages_show() {
    if terminal::is_skipped(&[]) {
        return;
    }
    let mut terminal = Terminal::open().await;
    for name in ["refused", "ids"] {
        let (command, expected) = transcript(name);
        let (shown, _) = terminal.runs(&command).await;
        assert_eq!(without_ids(&shown), without_ids(&expected), "{name}");
    }
}

#[tokio::test]
async fn a_peer_prints_what_the_pages_show() {
    if terminal::is_skipped(&[]) {
        return;
    }
    let hub = HubProcess::start().await;
    let (command, expected) = transcript("peer");
    let command = command.replace("ws://localhost:8081", &hub.ws_url());
    let mut terminal = Terminal::open().await;
    terminal.types(&format!("{command}\n")).await;
    terminal.shows("connected as ").await;
    let ada = terminal.shows("\n").await;
    let at = hub.ws_url();
    let bob = [
        "--hub", &at, "--name", "bob", "--send", &ada, "--listen", "1s",
    ];
    let bob = Command::new(env!("CARGO_BIN_EXE_peer-client"))
        .args(bob)
        .stdout(Stdio::null())
        .status();
    timeout(LIMIT, bob)
        .await
        .expect("in time")
        .expect("he runs");
    let shown = terminal.shows("(goodbye)").await;
    let shown = format!("connected as {ada}\n{shown}(goodbye)\n");
    assert_eq!(without_ids(&shown), without_ids(&expected));
}

/// The beginnings of blocks that no test runs, because they need other programs or too much time.
const NOT_RUN: [&str; 6] = [
    "cargo run --release",
    "docker ",
    "kubectl ",
    "TURN_URLS=",
    "TURN_PORT=",
    "HUB_TOKEN=$(openssl rand -hex 32) ./deploy-hub.sh",
];

#[test]
fn every_block_for_a_shell_is_run_or_takes_what_a_test_has_not() {
    let mut blocks = 0;
    for (name, page) in MANUAL.map(|name| (name, page(name))) {
        for language in ["```sh\n", "```console\n"] {
            for (place, _) in page.match_indices(language) {
                blocks += 1;
                let (before, block) = (&page[..place], &page[place + language.len()..]);
                let is_run = before.ends_with(" -->\n");
                let is_excused = NOT_RUN.iter().any(|beginning| block.starts_with(beginning));
                assert!(is_run || is_excused, "{name}: nobody runs {}", &block[..40]);
            }
        }
    }
    assert!(blocks > 8, "only {blocks} blocks for a shell");
}

// ---- Answers of hubs ------------------------------------------------------------------------------------

/// The value with only its keys: leaves are null, and an array keeps only its first element.
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

/// Two linked hubs with one peer each. The peers have discovered each other.
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
async fn every_path_answers_with_the_keys_that_the_pages_show() {
    let ([_first, second], _peers) = two_hubs_with_ada_and_bob().await;
    for path in ["/", "/health", "/hubs", "/hubstats", "/stats", "/metrics"] {
        let shown = block(&format!("answer: {path}"));
        let shown: Value = serde_json::from_str(&shown).expect("the page shows JSON");
        let mut answered = second.http_get(path).await.json();
        if let Some(dialects) = answered.get_mut("dialects").and_then(Value::as_object_mut) {
            // The dialect `trial` is only for tests, and exists only with the feature `trial-dialect`.
            dialects.remove("trial");
        }
        assert_eq!(shape(&shown), shape(&answered), "{path}");
    }
}

#[tokio::test]
async fn every_message_of_a_hub_has_the_keys_that_the_pages_show() {
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

    let shown = block("test: messages");
    let shown: BTreeMap<String, Value> = shown
        .lines()
        .map(|line| serde_json::from_str(line).expect("the page shows JSON"))
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

// ---- Names in the pages ---------------------------------------------------------------------------------

/// The words of a text that begin with `prefix`, with all small letters, digits and underscores that follow.
fn words<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(prefix).map(move |(start, _)| {
        let word = &text[start..];
        let end = word.find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
        &word[..end.unwrap_or(word.len())]
    })
}

#[test]
fn every_metric_that_a_page_names_is_one() {
    let sources = [
        "src/metrics.rs",
        "src/metrics/maker.rs",
        "src/metrics/operating.rs",
        "src/metrics/rooms.rs",
        "src/metrics/turn.rs",
    ];
    let source: String = sources.map(page).concat();
    let mut named = 0;
    for name in pages() {
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

/// The anchor of each heading of a page, as the sites of repositories make it.
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
fn the_readme_is_short_and_names_every_page() {
    let readme = page("README.md");
    let lines = readme.lines().count();
    assert!(lines <= README_LINES, "{lines} lines");
    for file in fs::read_dir(Path::new(ROOT).join("docs")).expect("pages") {
        let name = file.expect("a page").file_name().into_string();
        let name = format!("docs/{}", name.expect("a name"));
        if name.ends_with(".md") {
            assert!(readme.contains(&format!("]({name})")), "{name}");
            assert!(pages().any(|page| page == name), "no test reads {name}");
        }
    }
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    for name in pages() {
        let text = page(name);
        for link in links(&text) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() { name } else { file };
            let file = match Path::new(name).parent() {
                Some(directory) if file != name => directory.join(file),
                _ => PathBuf::from(file),
            };
            assert!(Path::new(ROOT).join(&file).exists(), "{name}: {link}");
            let known = || anchors(&page(&file.to_string_lossy())).contains(anchor);
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

/// The files of the tree in ARCHITECTURE.md. Its lines are indented by two spaces for each level.
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
    for base in ["src", "bin", "crates"] {
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
