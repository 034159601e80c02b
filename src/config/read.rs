//! Reads single settings from their texts, and collects the problems.
//!
//! A reader never stops at a problem: each method returns the value, or `None` and adds a problem. [`Reader::finish`]
//! returns all problems at once. It knows how values are written, not what they are for.

use std::fmt::Display;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::log_filter;
use super::settings::Setting;
use super::types::{entries, without_passwords};
use super::{Problem, SETTINGS};
use crate::auth::Secret;
use crate::auth::jwt::{BadKey, JwtKey};

/// Whether this is a host name. A bare number is not: the system reads `8080` as the address 0.0.31.144.
pub(super) fn is_host_name(text: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "-._".contains(c);
    text.chars().all(plain) && matches!(url::Host::parse(text), Ok(url::Host::Domain(_)))
}

/// The texts of all settings, and the problems found so far.
pub(super) struct Reader {
    texts: Vec<(&'static Setting, Option<String>)>,
    /// The names of the settings that were read.
    read: Vec<String>,
    problems: Vec<Problem>,
}

impl Reader {
    pub(super) fn new(texts: Vec<(&'static Setting, Option<String>)>) -> Self {
        Reader {
            texts,
            read: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// All problems, in the order in which they were found.
    ///
    /// # Panics
    /// In debug builds, if a setting was never read: such a setting is documented but has no effect.
    pub(super) fn finish(self) -> Vec<Problem> {
        debug_assert!(
            SETTINGS
                .iter()
                .all(|setting| self.read.contains(&setting.name())),
            "a setting is not read"
        );
        self.problems
    }

    pub(super) fn problem(&mut self, name: &str, text: impl Into<String>) {
        self.problems.push(Problem {
            name: name.into(),
            text: text.into(),
        });
    }

    /// The value of the variable, or else the default; trimmed. Marks the setting as read.
    fn text_of(&mut self, name: &str) -> String {
        self.read.push(name.into());
        let found = self
            .texts
            .iter()
            .find(|(setting, _)| setting.name() == name);
        debug_assert!(found.is_some(), "{name} is not a setting");
        let text = found.map(|(setting, text)| text.as_deref().unwrap_or(setting.default));
        text.unwrap_or_default().trim().to_owned()
    }

    /// A whole number within these bounds.
    pub(super) fn number<T: TryFrom<u64>>(
        &mut self,
        name: &str,
        bounds: RangeInclusive<u64>,
    ) -> Option<T> {
        let text = self.text_of(name);
        let number = text.parse().ok().filter(|number| bounds.contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        if number.is_none() {
            let (low, high) = (bounds.start(), bounds.end());
            self.problem(
                name,
                format!("{text:?} is not a whole number from {low} to {high}"),
            );
        }
        number
    }

    /// A time in milliseconds within these bounds.
    pub(super) fn millis(&mut self, name: &str, bounds: RangeInclusive<u64>) -> Option<Duration> {
        self.number(name, bounds).map(Duration::from_millis)
    }

    /// A time in seconds within these bounds.
    pub(super) fn seconds(&mut self, name: &str, bounds: RangeInclusive<u64>) -> Option<Duration> {
        self.number(name, bounds).map(Duration::from_secs)
    }

    /// A port from 0 to 65535. `Some(None)` if unset; `None`, and a problem, if it is wrong.
    pub(super) fn optional_port(&mut self, name: &str) -> Option<Option<u16>> {
        match self.has_text(name) {
            true => self.number(name, 0..=65_535).map(Some),
            false => Some(None),
        }
    }

    /// `true` or `false`, also written 1, 0, yes, no, on, off.
    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        let text = self.text_of(name);
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => {
                self.problem(name, format!("{text:?} is neither true nor false"));
                None
            }
        }
    }

    /// A value that parses as `T`.
    pub(super) fn parse<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        let text = self.text_of(name);
        self.parsed(name, &text)
    }

    /// A value that parses as `T`. `None` if it is unset or wrong; a wrong value is a problem.
    pub(super) fn optional<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        let text = self.text_of(name);
        if text.is_empty() {
            None
        } else {
            self.parsed(name, &text)
        }
    }

    fn parsed<T: FromStr<Err: Display>>(&mut self, name: &str, text: &str) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(why) => {
                let shown = without_passwords(text);
                self.problem(name, format!("{shown:?} cannot be used: {why}"));
                None
            }
        }
    }

    /// Text of 1 to `max` bytes, without control characters.
    pub(super) fn text(&mut self, name: &str, max: usize) -> Option<String> {
        let text = self.text_of(name);
        if text.is_empty() || text.len() > max || text.chars().any(char::is_control) {
            self.problem(
                name,
                format!("{text:?} is not 1 to {max} bytes of text without control characters"),
            );
            return None;
        }
        Some(text)
    }

    /// Text of 1 to `max` bytes, without control characters. `None` if it is unset or wrong; a wrong value is a problem.
    pub(super) fn optional_text(&mut self, name: &str, max: usize) -> Option<String> {
        let unset = self.text_of(name).is_empty();
        if unset { None } else { self.text(name, max) }
    }

    /// A token. `None` if it is unset or wrong; the problem does not show the token.
    pub(super) fn secret(&mut self, name: &str) -> Option<Secret> {
        let text = self.text_of(name);
        if text.is_empty() {
            return None;
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            self.problem(
                name,
                "has characters that a header cannot carry: use printable ASCII without spaces",
            );
            return None;
        }
        Some(Secret::new(text))
    }

    /// Whether the value, or else the default, is not empty.
    pub(super) fn has_text(&mut self, name: &str) -> bool {
        !self.text_of(name).is_empty()
    }

    /// Whether the variable is in the environment, even if it has the default's value.
    pub(super) fn is_in_environment(&self, name: &str) -> bool {
        let mut texts = self.texts.iter();
        texts.any(|(setting, text)| setting.name() == name && text.is_some())
    }

    /// Whether two secrets are set to the same text.
    pub(super) fn is_same(&mut self, name: &str, other: &str) -> bool {
        self.has_text(name) && self.text_of(name) == self.text_of(other)
    }

    /// The secret of JWTs. `None` if it is unset or wrong; a wrong one is a problem.
    pub(super) fn jwt_secret(&mut self, name: &str) -> Option<JwtKey> {
        let text = self.text_of(name);
        if text.is_empty() {
            return None;
        }
        self.key(name, JwtKey::secret(&text))
    }

    /// The public key of JWTs: PEM, in which `\n` may stand for the end of a line, or the path of a file. `None` if it is
    /// unset or wrong; a wrong one is a problem.
    pub(super) fn jwt_public_key(&mut self, name: &str) -> Option<JwtKey> {
        let text = self.text_of(name);
        if text.is_empty() {
            return None;
        }
        let pem = if text.contains("-----BEGIN") {
            text.replace("\\n", "\n")
        } else {
            match std::fs::read_to_string(&text) {
                Ok(pem) => pem,
                Err(why) => {
                    self.problem(name, format!("{text:?} cannot be read: {why}"));
                    return None;
                }
            }
        };
        self.key(name, JwtKey::public(&pem))
    }

    fn key(&mut self, name: &str, key: Result<JwtKey, BadKey>) -> Option<JwtKey> {
        key.map_err(|why| self.problem(name, why.to_string())).ok()
    }

    /// A host to listen on: an address or a name, without a port.
    pub(super) fn host(&mut self, name: &str) -> Option<String> {
        let text = self.text(name, 253)?;
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(&text);
        if bare.parse::<IpAddr>().is_ok() || is_host_name(bare) {
            return Some(bare.to_owned());
        }
        self.problem(
            name,
            format!(
                "{text:?} is neither an address nor a host name: use one of them, or :: or 0.0.0.0 for every \
                 interface (the port goes into PORT)"
            ),
        );
        None
    }

    /// A host for a URL: a name or an IPv4 address. `None` if it is unset or wrong; a wrong one is a problem.
    pub(super) fn url_host(&mut self, name: &str) -> Option<String> {
        let text = self.optional_text(name, 253)?;
        if is_host_name(&text) || text.parse::<std::net::Ipv4Addr>().is_ok() {
            return Some(text);
        }
        self.problem(
            name,
            format!(
                "{text:?} is neither a host name, such as turn.example.org, nor an IPv4 address"
            ),
        );
        None
    }

    /// Directives for the log.
    pub(super) fn log_filter(&mut self, name: &str) -> Option<String> {
        let text = self.text_of(name);
        let checked = EnvFilter::try_new(&text).map_err(|why| why.to_string());
        match checked.and_then(|_| log_filter::check(&text)) {
            Ok(()) => Some(text),
            Err(why) => {
                self.problem(name, format!("{text:?} cannot be used: {why}"));
                None
            }
        }
    }

    /// A list separated by commas. Duplicates are dropped. Each wrong entry is a problem of its own.
    pub(super) fn list<T: FromStr<Err: Display> + PartialEq>(
        &mut self,
        name: &str,
    ) -> Option<Vec<T>> {
        let text = self.text_of(name);
        let mut values = Vec::new();
        let before = self.problems.len();
        for entry in entries(&text) {
            match self.parsed::<T>(name, entry) {
                Some(value) if !values.contains(&value) => values.push(value),
                _ => {}
            }
        }
        (self.problems.len() == before).then_some(values)
    }
}
