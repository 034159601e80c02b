//! What the programs of hubmesh share: single-dash long flags, durations, exit codes, and the limit on open files.
//!
//! Owns no state and talks to no hub. The reference implementation's tools use the flag style of Go (`-listen 10s`), so
//! [`parse`] turns `-name` into `--name` wherever `name` is a long flag of the command, and leaves everything else to
//! clap: `-n 5` stays a short flag, and whatever follows `--` stays as it is.
#![warn(missing_docs)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod open_files;

use std::collections::HashSet;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Command, Parser};

/// How a tool ended, with the numbers of `sysexits.h` where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Ok,
    /// Something failed that has no code of its own.
    Failed,
    /// The command line cannot be used (`EX_USAGE`).
    Usage,
    /// The peer asked for is not there (`EX_NOHOST`).
    UnknownPeer,
    /// Nothing answers at the address (`EX_UNAVAILABLE`).
    Unreachable,
    /// What was waited for did not come in time (`EX_TEMPFAIL`).
    NoAnswer,
    /// The hub refuses this peer (`EX_NOPERM`).
    Refused,
}

impl Exit {
    /// The number to exit with.
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 64,
            Self::UnknownPeer => 68,
            Self::Unreachable => 69,
            Self::NoAnswer => 75,
            Self::Refused => 77,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Parses the process's arguments, or prints clap's message and gives the code to exit with.
pub fn parse<P: Parser>() -> Result<P, Exit> {
    let arguments = double_dashes(&P::command(), std::env::args_os());
    P::try_parse_from(arguments).map_err(|error| {
        // Nothing is left to do when not even the message can be printed.
        let _ = error.print();
        if error.use_stderr() {
            Exit::Usage
        } else {
            Exit::Ok
        }
    })
}

/// Rewrites `-flag` and `-flag=value` to `--flag…` for the long flags of `command` and of its subcommands.
pub fn double_dashes(
    command: &Command,
    arguments: impl IntoIterator<Item = OsString>,
) -> Vec<OsString> {
    let mut command = command.clone();
    command.build();
    let flags = long_flags(&command);
    let mut rest_is_literal = false;
    arguments
        .into_iter()
        .map(|argument| {
            rest_is_literal |= argument == "--";
            match argument.to_str() {
                Some(text) if !rest_is_literal && is_single_dashed(text, &flags) => {
                    OsString::from(format!("-{text}"))
                }
                _ => argument,
            }
        })
        .collect()
}

fn long_flags(command: &Command) -> HashSet<String> {
    let own = command
        .get_arguments()
        .flat_map(|argument| argument.get_long_and_visible_aliases().unwrap_or_default())
        .map(str::to_owned);
    let below = command.get_subcommands().flat_map(long_flags);
    own.chain(below).collect()
}

fn is_single_dashed(text: &str, flags: &HashSet<String>) -> bool {
    let Some(name) = text.strip_prefix('-') else {
        return false;
    };
    let name = name.split_once('=').map_or(name, |(name, _value)| name);
    name.len() > 1 && flags.contains(name)
}

/// Reads `10s`, `500ms`, `2m`, `1h` and sums such as `1m30s`, as Go writes durations.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration; write it like 10s, 500ms, 2m or 1m30s");
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let number = leading(rest, |c| c.is_ascii_digit() || c == '.');
        let after = rest.strip_prefix(number).unwrap_or_default();
        let unit = leading(after, |c| c.is_ascii_alphabetic());
        rest = after.strip_prefix(unit).unwrap_or_default();
        let count: f64 = number.parse().map_err(|_| wrong())?;
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        let part = Duration::try_from_secs_f64(count * seconds).map_err(|_| wrong())?;
        total = total.checked_add(part).ok_or_else(wrong)?;
    }
    if text.is_empty() {
        Err(wrong())
    } else {
        Ok(total)
    }
}

fn leading(text: &str, belongs: impl Fn(char) -> bool) -> &str {
    let end = text.find(|c| !belongs(c)).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// The same for clap, refusing zero: a bound on time that is no bound.
pub fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than zero".to_owned()),
        positive => Ok(positive),
    }
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    fn rewritten(arguments: &[&str]) -> Vec<String> {
        let command = Command::new("tool")
            .arg(Arg::new("n").short('n').long("count"))
            .arg(Arg::new("name").long("name"))
            .subcommand(Command::new("sub").arg(Arg::new("rate").long("rate")));
        double_dashes(&command, arguments.iter().map(OsString::from))
            .into_iter()
            .map(|argument| argument.into_string().unwrap())
            .collect()
    }

    #[test]
    fn single_dashed_long_flags_get_their_second_dash() {
        assert_eq!(
            rewritten(&[
                "tool", "-name", "ada", "-name=bo", "-n", "5", "-n5", "--name", "c", "sub",
                "-rate", "1"
            ]),
            [
                "tool",
                "--name",
                "ada",
                "--name=bo",
                "-n",
                "5",
                "-n5",
                "--name",
                "c",
                "sub",
                "--rate",
                "1"
            ]
        );
        assert_eq!(
            rewritten(&["tool", "-help", "-h", "-version"]),
            ["tool", "--help", "-h", "-version"]
        );
    }

    #[test]
    fn what_is_no_known_flag_or_follows_a_double_dash_stays_as_it_is() {
        let untouched = ["tool", "-nam", "-", "-é=1", "--", "-name"];
        assert_eq!(rewritten(&untouched), untouched);
    }

    #[test]
    fn durations_read_as_go_writes_them() {
        for (text, milliseconds) in [
            ("10s", 10_000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("1.5s", 1_500),
            ("1h", 3_600_000),
            ("0s", 0),
        ] {
            assert_eq!(
                duration(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for wrong in [
            "",
            "10",
            "s",
            "-1s",
            "1x",
            "1 s",
            "é",
            "1e9h",
            "99999999999999999999h",
            "1..2s",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert!(positive_duration("0s").is_err());
    }
}
