//! Unmodified `peerpigeon` clients in headless Chromium against real hubs, linked as users link them.
//!
//! Owns the hubs and the node process that plays a story of `tests/browser/stories.mjs` on them; the story
//! itself, and every check in it, is written there. Needs node, Chromium (`CHROMIUM`, else `/usr/bin/chromium`)
//! and `npm ci` in `tests/browser`; `HUBMESH_SKIP_BROWSER=reason` skips these tests and says why.
//! Invariants: nothing started here outlives its test, also when that test fails or is interrupted; every wait
//! has a deadline; a story that checked nothing has failed.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

const STORY_WITHIN: Duration = Duration::from_secs(240);
const HUB_SERVES_WITHIN: Duration = Duration::from_secs(15);
const PLAYER_GIVES_UP_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn clients_meet_talk_and_part_on_one_hub() {
    play("gathering", || vec![Hub::start(&[])]);
}

#[test]
fn clients_meet_talk_and_part_across_two_hubs_that_ask_for_a_token() {
    play("gathering", || {
        let secured = [("AUTH_TOKEN", "cGVlcnM+/w=="), ("HUB_TOKEN", "aHVicw==")];
        let first = Hub::start(&secured);
        let second = Hub::start_linked(&first, &secured);
        vec![first, second]
    });
}

#[test]
fn clients_meet_talk_and_part_across_a_chain_of_three_hubs() {
    play("gathering", || {
        let first = Hub::start(&[]);
        let middle = Hub::start_linked(&first, &[]);
        let last = Hub::start_linked(&middle, &[]);
        vec![first, middle, last]
    });
}

#[test]
fn networks_stay_apart_across_two_hubs() {
    play("networks", two_linked_hubs);
}

#[test]
fn clients_come_back_to_a_restarted_hub_and_keep_their_channels() {
    play("restart", two_linked_hubs);
}

#[test]
fn clients_come_back_to_a_restarted_bootstrap_hub_and_keep_their_channels() {
    play("restart", || {
        let mut hubs = two_linked_hubs();
        hubs.reverse();
        hubs
    });
}

#[test]
fn a_client_whose_socket_died_comes_back_under_its_own_id() {
    play("cut", two_linked_hubs);
}

fn two_linked_hubs() -> Vec<Hub> {
    let first = Hub::start(&[]);
    let second = Hub::start_linked(&first, &[]);
    vec![first, second]
}

/// Plays `story` on `hubs`, in the order in which they are given.
fn play(story: &str, hubs: impl FnOnce() -> Vec<Hub>) {
    if let Some(reason) = std::env::var_os("HUBMESH_SKIP_BROWSER") {
        println!("skipped: {}", reason.display());
        return;
    }
    demand_what_is_installed();
    let mut hubs = hubs();
    let mut player = Player::start(story, &hubs);
    if let Err(why) = player.run(&mut hubs) {
        drop(player);
        for hub in &mut hubs {
            hub.stop();
            println!("--- the log of {}", hub.url());
            hub.log.iter().for_each(|line| println!("{line}"));
        }
        panic!("{story}: {why}");
    }
}

fn demand_what_is_installed() {
    let installed = |what: &str, here: bool| {
        assert!(
            here,
            "{what} is missing: run ./scripts/test, which installs it"
        );
    };
    let node = Command::new("node").arg("--version").output();
    installed("node", node.is_ok_and(|output| output.status.success()));
    let chromium = std::env::var_os("CHROMIUM").unwrap_or("/usr/bin/chromium".into());
    installed("Chromium", Path::new(&chromium).exists());
    installed(
        "tests/browser/node_modules",
        folder().join("node_modules/playwright-core").exists(),
    );
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser")
}

/// Reads lines on a thread of its own, which ends with the pipe.
fn lines_of(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// A real hub on 127.0.0.1. Dropping it kills it.
struct Hub {
    settings: Vec<(String, String)>,
    address: String,
    process: Child,
    log: Receiver<String>,
}

impl Hub {
    fn start(settings: &[(&str, &str)]) -> Self {
        let mut all = vec![("PORT".to_owned(), "0".to_owned())];
        all.extend(
            settings
                .iter()
                .map(|&(name, value)| (name.to_owned(), value.to_owned())),
        );
        Self::launch(all)
    }

    fn start_linked(other: &Self, settings: &[(&str, &str)]) -> Self {
        let bootstrap = format!("ws://{}", other.address);
        let mut all = vec![("BOOTSTRAP_HUBS", bootstrap.as_str())];
        all.extend(settings);
        Self::start(&all)
    }

    fn launch(settings: Vec<(String, String)>) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_hubmesh"))
            .env_clear()
            .envs([
                ("HOST", "127.0.0.1"),
                ("IS_HUB", "true"),
                ("LOG_FORMAT", "json"),
            ])
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the hub's binary runs");
        let log = lines_of(process.stdout.take().expect("its output is piped"));
        let mut hub = Self {
            settings,
            address: String::new(),
            process,
            log,
        };
        hub.address = hub.wait_until_it_serves();
        hub
    }

    fn wait_until_it_serves(&self) -> String {
        let deadline = Instant::now() + HUB_SERVES_WITHIN;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self
                .log
                .recv_timeout(left)
                .expect("the hub says that it is serving");
            let entry: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if entry["message"] == "hubmesh is serving" {
                return entry["fields"]["addr"]
                    .as_str()
                    .expect("it names its address")
                    .to_owned();
            }
        }
    }

    /// Where clients connect: the bare address, or the long form with a token when the hub asks for one.
    fn url(&self) -> String {
        match self.settings.iter().find(|(name, _)| name == "AUTH_TOKEN") {
            None => format!("ws://{}", self.address),
            Some((_, token)) => {
                let base = format!("ws://{}/ws", self.address);
                url::Url::parse_with_params(&base, [("token", token)])
                    .expect("a URL")
                    .to_string()
            }
        }
    }

    fn stop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.process.kill();
        self.process.wait().expect("a killed hub ends");
    }

    /// Starts it anew where its clients expect it.
    fn restart(&mut self) {
        self.stop();
        let port = self
            .address
            .rsplit(':')
            .next()
            .expect("an address has a port")
            .to_owned();
        let mut settings = self.settings.clone();
        settings.retain(|(name, _)| name != "PORT");
        settings.push(("PORT".to_owned(), port));
        *self = Self::launch(settings);
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The node process that plays a story. Dropping it ends node and the browser that node started.
struct Player {
    process: Child,
    answers: Option<ChildStdin>,
    lines: Receiver<String>,
    browser: Option<u32>,
}

impl Player {
    fn start(story: &str, hubs: &[Hub]) -> Self {
        let mut process = Command::new("node")
            .current_dir(folder())
            .args(["run.mjs", story])
            .args(hubs.iter().map(Hub::url))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node runs");
        let lines = lines_of(process.stdout.take().expect("its output is piped"));
        let answers = process.stdin.take();
        Self {
            process,
            answers,
            lines,
            browser: None,
        }
    }

    /// Follows the story to its end. The error says what went wrong beyond the lines already printed.
    fn run(&mut self, hubs: &mut [Hub]) -> Result<(), String> {
        let deadline = Instant::now() + STORY_WITHIN;
        let mut checks = 0;
        loop {
            match self
                .lines
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) => {
                    println!("{line}");
                    checks += u32::from(line.starts_with("ok "));
                    self.follow(&line, hubs)?;
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("not over within {STORY_WITHIN:?}"));
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = self.process.wait().map_err(|error| error.to_string())?;
        match (status.success(), checks) {
            (false, _) => Err(format!("a check failed ({status})")),
            (true, 0) => Err("nothing was checked".to_owned()),
            (true, _) => Ok(()),
        }
    }

    fn follow(&mut self, line: &str, hubs: &mut [Hub]) -> Result<(), String> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["browser", pid] => self.browser = pid.parse().ok(),
            ["ask", doing, which] => {
                let hub = which
                    .parse()
                    .ok()
                    .and_then(|index: usize| hubs.get_mut(index));
                match (doing, hub) {
                    ("stop-hub", Some(hub)) => hub.stop(),
                    ("start-hub", Some(hub)) => hub.restart(),
                    _ => return Err(format!("the story asks for what cannot be done: {line}")),
                }
                let answers = self.answers.as_mut().expect("it is open until the end");
                answers
                    .write_all(b"done\n")
                    .map_err(|error| error.to_string())?;
            }
            _ => {}
        }
        Ok(())
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        // The end of its input tells it to say how things stand, close the browser and go.
        drop(self.answers.take());
        let deadline = Instant::now() + PLAYER_GIVES_UP_WITHIN;
        while let Ok(line) = self
            .lines
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            println!("{line}");
        }
        let _ = self.process.kill();
        let ended = self.process.wait();
        if ended.is_ok_and(|status| status.code().is_some()) {
            return;
        }
        if let Some(browser) = self.browser {
            // Chromium leads a process group of its own, which node did not live to end.
            let _ = Command::new("kill")
                .args(["-KILL", "--", &format!("-{browser}")])
                .status();
        }
    }
}
