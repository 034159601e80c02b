//! A node script of `tests/browser` as a process: its lines are read, its requests are carried out, and it is ended.
//!
//! Knows nothing of the script's checks, except that a line of a passed check begins with `ok `. Invariants: dropping a
//! script ends node and the browser that node started; every wait has a deadline; a script that checked nothing has
//! failed.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::hub::Hub;

const OVER_WITHIN: Duration = Duration::from_secs(240);
const GIVES_UP_WITHIN: Duration = Duration::from_secs(10);

/// The reason to skip the tests that need node, if `HUBMESH_SKIP_BROWSER` gives one. Otherwise fails if a thing that
/// they need is missing.
pub fn reason_to_skip() -> Option<String> {
    if let Some(reason) = std::env::var_os("HUBMESH_SKIP_BROWSER") {
        return Some(reason.to_string_lossy().into_owned());
    }
    demand_what_is_installed();
    None
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
        ["playwright-core", "esbuild"]
            .iter()
            .all(|package| folder().join("node_modules").join(package).exists()),
    );
}

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser")
}

/// Reads lines on a separate thread, which ends when the pipe is closed.
pub fn lines_of(pipe: impl Read + Send + 'static) -> Receiver<String> {
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

/// A running script.
pub struct Script {
    process: Child,
    answers: Option<ChildStdin>,
    lines: Receiver<String>,
    browser: Option<u32>,
}

impl Script {
    /// Runs `node ARGUMENTS…` in `tests/browser`.
    pub fn start(arguments: &[String]) -> Self {
        let mut process = Command::new("node")
            .current_dir(folder())
            .args(arguments)
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

    /// Reads the script's lines until it ends, and carries out its requests on `hubs`. The error has the cause of a
    /// failure that the printed lines do not show.
    pub fn run(&mut self, hubs: &mut [Hub]) -> Result<(), String> {
        let deadline = Instant::now() + OVER_WITHIN;
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
                    return Err(format!("not over within {OVER_WITHIN:?}"));
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

    /// The rest of the first line that begins with `start`.
    pub fn line(&self, start: &str) -> Option<String> {
        let deadline = Instant::now() + GIVES_UP_WITHIN;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).ok()?;
            if let Some(rest) = line.strip_prefix(start) {
                return Some(rest.to_owned());
            }
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
                    _ => return Err(format!("it asks for what cannot be done: {line}")),
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

impl Drop for Script {
    fn drop(&mut self) {
        // The end of its input tells the script to print its state, close the browser and exit.
        drop(self.answers.take());
        let deadline = Instant::now() + GIVES_UP_WITHIN;
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
            // Chromium leads a separate process group, and node was killed before it could end that group.
            let _ = Command::new("kill")
                .args(["-KILL", "--", &format!("-{browser}")])
                .status();
        }
    }
}
