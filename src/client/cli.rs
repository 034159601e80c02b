//! What the command line tools share: single-dash long flags, durations and exit codes.
//!
//! Owns no state and talks to no hub. The reference implementation's tools use the flag style of Go (`-listen 10s`), so
//! [`parse`] turns `-name` into `--name` wherever `name` is a long flag of the command, and leaves everything else to
//! clap: `-n 5` stays a short flag, and whatever follows `--` stays as it is.

use std::{collections::HashSet, ffi::OsString, process::ExitCode, time::Duration};

use clap::{Command, Parser};

/// How a tool ended, with the numbers of `sysexits.h` where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Ok,
    Failed,
    Usage,
    UnknownPeer,
    Unreachable,
    NoAnswer,
    Refused,
}

impl Exit {
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
