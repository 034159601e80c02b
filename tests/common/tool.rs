//! A command line tool as a process, for tests that run it as a person or a script would.
//!
//! Invariants: every wait has a limit; the process ends when its value is dropped. Use it with
//! `#[path = "common/tool.rs"] mod tool;` beside `mod hub_process`, whose limit it uses.
#![allow(dead_code, reason = "every test binary uses a part of its own")]

use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use crate::hub_process::LIMIT;

/// The program with its arguments and piped output, without the variables of the tests' environment that it would read.
pub fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_remove("HUB_URL")
        .env_remove("AUTH_TOKEN")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs the program to its end.
pub async fn run(program: &str, arguments: &[&str]) -> Output {
    timeout(LIMIT, command(program, arguments).output())
        .await
        .unwrap_or_else(|_| panic!("{program} {arguments:?} does not end"))
        .unwrap()
}

pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}

pub fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Checks that the program ends with exit code 64 for these arguments, and says why.
pub async fn refuses(program: &str, arguments: &[&str]) {
    let output = run(program, arguments).await;
    assert_eq!(code(&output), 64, "{arguments:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    assert!(!output.stderr.is_empty(), "{arguments:?}");
}

/// Checks that the program has a help with examples and exit codes, and tells its version.
pub async fn explains_itself(program: &str) {
    let help = run(program, &["-help"]).await;
    assert_eq!(code(&help), 0);
    assert!(stdout(&help).contains("Examples:") && stdout(&help).contains("Exit codes:"));
    let version = run(program, &["--version"]).await;
    assert!(stdout(&version).contains(env!("CARGO_PKG_VERSION")));
}
