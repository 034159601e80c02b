//! A person at a terminal: an interactive bash on a pseudo-terminal of its own, with job control.
//!
//! Owns the shell, its input and its output. `script` of util-linux makes the terminal. Invariants: every wait has a
//! limit, and fails with the output so far. When the value is dropped, all processes that the shell started are ended,
//! in any process group. The tests' environment does not leak into the shell. Use it with
//! `#[path = "common/terminal.rs"] mod terminal;` beside `mod hub_process;`.
#![allow(dead_code, reason = "every test binary uses a part of its own")]

use std::fs;
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::hub_process::LIMIT;

const SCRIPT: &str = "script";
const BASH: &str = "bash --norc --noprofile --noediting -i";

/// Whether a program is on the search path.
pub fn is_installed(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(tool).is_file())
}

/// Says that a test is skipped, and why, if one of these programs is missing or there is no `/proc`.
pub fn is_skipped(tools: &[&str]) -> bool {
    let needed = [SCRIPT, "bash"];
    let missing = needed.iter().chain(tools).find(|tool| !is_installed(tool));
    let linux = Path::new("/proc/self/stat").exists();
    match missing {
        Some(missing) => eprintln!("skipped: {missing} is not installed"),
        None if !linux => eprintln!("skipped: there is no /proc to find the shell's processes in"),
        None => return false,
    }
    true
}

/// A shell and the input and output of its terminal.
pub struct Terminal {
    keys: ChildStdin,
    screen: watch::Receiver<String>,
    /// The length of the output that a wait has read already.
    seen: usize,
    commands: usize,
    /// The id of the shell's session, once it is known.
    session: Option<Pid>,
    home: TempDir,
    _script: Child,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The shell itself ends with `script`.
        for process in self.session.iter().flat_map(processes_of) {
            // The process may just have ended by itself.
            let _ = kill_process(process, Signal::KILL);
        }
    }
}

impl Terminal {
    /// A new shell in an empty directory. The built binaries come first on its search path.
    pub async fn open() -> Self {
        let home = TempDir::new().expect("a directory");
        let mut script = Command::new(SCRIPT)
            .args(["--quiet", "--flush", "--command", BASH, "/dev/null"])
            .env_clear()
            .env("TERM", "dumb")
            .env("PATH", search_path())
            .env("HOME", home.path())
            .current_dir(home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("script starts");
        let output = script.stdout.take().expect("stdout is piped");
        let (shown, screen) = watch::channel(String::new());
        tokio::spawn(follow(output, shown));
        let mut terminal = Terminal {
            keys: script.stdin.take().expect("stdin is piped"),
            screen,
            seen: 0,
            commands: 0,
            session: None,
            home,
            _script: script,
        };
        terminal.learn_session().await;
        terminal
    }

    async fn learn_session(&mut self) {
        // From here on the terminal shows only printed text: no echo of typed text, and no prompts.
        self.types("stty -echo; PS1= PS2=; echo \"sh\"\"ell $$.\"\n")
            .await;
        self.shows("shell ").await;
        let shell = self.shows(".\n").await.parse().expect("a pid");
        // The leader is the `sh` that `script` starts. Whether bash takes its place or is its child depends on that `sh`.
        self.session = session_of(shell).and_then(Pid::from_raw);
        assert!(self.session.is_some(), "the shell {shell} has a session");
    }

    /// The directory in which the shell began.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub async fn types(&mut self, keys: &str) {
        let typed = timeout(LIMIT, self.keys.write_all(keys.as_bytes())).await;
        typed.expect("taken in time").expect("the terminal is open");
        self.keys.flush().await.expect("the terminal is open");
    }

    /// Waits until `words` are shown, after the end of the last wait; gives the text in between.
    pub async fn shows(&mut self, words: &str) -> String {
        let mut screen = self.screen.clone();
        let seen = self.seen;
        let found = |screen: &String| {
            let place = screen[seen..].find(words)?;
            Some((
                screen[seen..seen + place].to_owned(),
                seen + place + words.len(),
            ))
        };
        let shown = timeout(2 * LIMIT, screen.wait_for(|screen| found(screen).is_some())).await;
        let Ok(Ok(screen)) = shown else {
            panic!("never shown: {words:?}, but:\n{}", *self.screen.borrow());
        };
        let (between, end) = found(&screen).expect("it was found a moment ago");
        drop(screen);
        self.seen = end;
        between
    }

    /// Pastes a block of commands, and waits until the last one ends; gives the text that was shown meanwhile, and the
    /// exit code of the last command.
    pub async fn runs(&mut self, block: &str) -> (String, i32) {
        self.commands += 1;
        let number = self.commands;
        // The `echo` is on the same line. On a line of its own, a command that reads the terminal would read it.
        self.types(&format!("{block}; echo \"<{number} $?>\"\n"))
            .await;
        let shown = self.shows(&format!("<{number} ")).await;
        let code = self.shows(">\n").await;
        (shown, code.parse().expect("an exit code"))
    }
}

fn search_path() -> String {
    let hubmesh = Path::new(env!("CARGO_BIN_EXE_hubmesh"));
    let built = hubmesh.parent().expect("a directory").display();
    let path = std::env::var("PATH").expect("a search path");
    format!("{built}:{path}")
}

async fn follow(mut output: impl AsyncReadExt + Unpin, screen: watch::Sender<String>) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = output.read(&mut bytes).await {
        let text = String::from_utf8_lossy(&bytes[..count]).replace('\r', "");
        screen.send_modify(|screen| screen.push_str(&text));
    }
}

/// The processes of a session, in all its process groups.
fn processes_of(session: &Pid) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").expect("there is /proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| session_of(*pid) == Some(session.as_raw_nonzero().get()))
        .filter_map(Pid::from_raw)
        .collect()
}

/// Field 6 of `/proc/PID/stat`, counted after the name, which may hold spaces.
fn session_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(3)?.parse().ok()
}
