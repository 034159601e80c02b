//! The environment before it is read: which variables are settings, and which may be misspelt settings.
//!
//! Knows names and the traces that other programs leave in values (quotes, `${…}`), not what a value means. Pure.

use std::ffi::{OsStr, OsString};

use strsim::damerau_levenshtein;

use super::{Caution, Problem, SETTINGS, Setting};

/// A prefix that operators put before names, and that settings do not have.
const PREFIX: &str = "HUBMESH_";
/// Other names of settings. They count if the setting's own name is unset.
const ALSO: [(&str, &str); 2] = [
    ("CORS_ORIGINS", "CORS_ORIGIN"),
    ("CLEANUP_CHECK_INTERVAL", "CLEANUP_INTERVAL_MS"),
];
/// Names that other servers have for settings of a hub, and the hub's names.
const ELSEWHERE: [(&str, &str); 1] = [("PEERSERVER_PATH", "PEERJS_PATH")];

/// The variables of an environment that concern the hub.
#[derive(Default)]
pub(super) struct Variables {
    /// Settings and their texts; no name twice.
    pub(super) known: Vec<(String, String)>,
    /// Settings with a text that cannot be used as it is.
    pub(super) problems: Vec<Problem>,
    /// Variables that are not settings, but may be misspelt ones.
    pub(super) cautions: Vec<Caution>,
}

impl Variables {
    /// An empty variable counts as unset. If a name occurs twice, the later one counts.
    pub(super) fn sort(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let names: Vec<String> = SETTINGS.iter().map(Setting::name).collect();
        let mut sorted = Variables::default();
        let mut also = Vec::new();
        for (name, value) in vars {
            if let Some((_, own)) = ALSO.iter().find(|(other, _)| name == *other) {
                also.push((*own, value));
                continue;
            }
            match names.iter().find(|known| name == known.as_str()) {
                Some(name) => sorted.take(name, value),
                None if is_of_a_service(&value) => {}
                None => sorted.cautions.extend(caution(&name, &names)),
            }
        }
        for (own, value) in also {
            if !sorted.names(own) {
                sorted.take(own, value);
            }
        }
        sorted.cautions.sort_by(|a, b| a.name.cmp(&b.name));
        sorted
    }

    /// Whether this setting was there, with a usable text or not.
    fn names(&self, own: &str) -> bool {
        let well = self.known.iter().any(|(name, _)| name == own);
        well || self.problems.iter().any(|problem| problem.name == own)
    }

    fn take(&mut self, name: &str, value: OsString) {
        self.known.retain(|(earlier, _)| earlier != name);
        self.problems.retain(|earlier| earlier.name != name);
        let mut problem = |text: &str| {
            let (name, text) = (name.to_owned(), text.to_owned());
            self.problems.push(Problem { name, text });
        };
        let Ok(value) = value.into_string() else {
            return problem("is not UTF-8");
        };
        let mut value = value.trim();
        if let Some(bare) = without_quotes(value) {
            problem(
                "is in quotes, which are a part of the value here: docker's --env-file and others pass \
                 them on, so write it without",
            );
            // Its other problems are told too.
            value = bare;
        }
        if is_unexpanded(value) {
            problem("is a shell's ${…} or $(…), which was not filled in: no shell reads this file");
        } else if !value.trim().is_empty() {
            self.known.push((name.to_owned(), value.to_owned()));
        }
    }
}

/// The text between the quotes, if the text is in quotes.
fn without_quotes(text: &str) -> Option<&str> {
    let between = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    ['"', '\'', '`'].into_iter().find_map(between)
}

fn is_unexpanded(text: &str) -> bool {
    (text.starts_with("${") && text.ends_with('}'))
        || (text.starts_with("$(") && text.ends_with(')'))
}

/// Whether this is the address of another container. Kubernetes and docker's links put such variables into the
/// environment.
fn is_of_a_service(value: &OsStr) -> bool {
    let value = value.to_str().unwrap_or_default();
    value.starts_with("tcp://") || value.starts_with("udp://")
}

/// The setting that this variable may have been meant as.
fn caution(name: &OsString, settings: &[String]) -> Option<Caution> {
    let name = name.to_str()?;
    let meant = near(name, settings)?.to_owned();
    Some(Caution {
        name: name.to_owned(),
        text: format!("is not a setting and has no effect; {meant} is one"),
    })
}

fn near<'s>(name: &str, settings: &'s [String]) -> Option<&'s str> {
    let upper = name.to_ascii_uppercase().replace('-', "_");
    let other = ELSEWHERE.iter().find(|(theirs, _)| *theirs == upper);
    if let Some((_, ours)) = other {
        return settings.iter().map(String::as_str).find(|one| one == ours);
    }
    let bare = upper.strip_prefix(PREFIX).unwrap_or(&upper);
    let distances = settings
        .iter()
        .map(|setting| (damerau_levenshtein(bare, setting), setting));
    let (distance, setting) = distances.min()?;
    (distance <= tolerance(setting)).then_some(setting)
}

/// How many letters a name may differ in from a setting's name.
fn tolerance(setting: &str) -> usize {
    // Short names are too similar: one letter makes HOST of POST, and PORT of SORT.
    match setting.len() {
        ..=4 => 0,
        5..=10 => 1,
        _ => 2,
    }
}
