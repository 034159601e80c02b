//! Whether the directives of `RUST_LOG` say what the operator meant.
//!
//! `EnvFilter` takes an unknown word for the name of a module, and then shows only that module: `RUST_LOG=verbose`
//! would mute the hub. This finds such words. Pure; `read` calls it once the directives parse.

use strsim::damerau_levenshtein;
use tracing_subscriber::filter::LevelFilter;

/// The name of this program's own modules.
const OWN: &str = "hubmesh";
/// How many wrong letters a name may have to count as a misspelling.
const TYPOS: usize = 2;

/// Refuses a word that is neither a level nor a module of the hub, and the hub's name misspelt. Directives with spans in
/// brackets are left alone.
pub(super) fn check(directives: &str) -> Result<(), String> {
    if directives.contains(['[', ']', '{', '}']) {
        return Ok(());
    }
    let directives = directives.split(',').map(str::trim);
    directives
        .filter(|directive| !directive.is_empty())
        .try_for_each(check_one)
}

fn check_one(directive: &str) -> Result<(), String> {
    let (target, level) = match directive.split_once('=') {
        Some((target, level)) => (target.trim(), Some(level)),
        None => (directive, None),
    };
    let name = target.split("::").next().unwrap_or_default();
    if name == OWN || (level.is_none() && target.parse::<LevelFilter>().is_ok()) {
        return Ok(());
    }
    if damerau_levenshtein(&name.to_ascii_lowercase(), OWN) <= TYPOS {
        return Err(format!(
            "{name:?} is not a module; use {OWN}=info and the like"
        ));
    }
    match level {
        Some(_) => Ok(()),
        None => Err(format!(
            "{target:?} is not a level, and as a module it would mute the hub; use off, error, warn, info, debug or \
             trace, or {target}=trace for a module"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_word_that_is_neither_a_level_nor_a_module_of_the_hub_is_refused() {
        for wrong in [
            "verbose",
            "warning",
            "all",
            "*",
            "debugg",
            "hyper",
            "hubmesh=info,verbose",
            "hubmehs=debug",
            "Hubmesh=debug",
            "hub_mesh::session=debug",
            "hubmes",
        ] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn levels_modules_of_the_hub_and_named_others_will_do() {
        for fine in [
            "info",
            "WARN",
            "off",
            "3",
            "hubmesh",
            "hubmesh::session",
            "hubmesh=debug,warn",
            " hubmesh=info , hyper=debug,",
            "hyper=trace",
            "hubmesh[peer]=debug",
            "hubmesh[{peer=abc,part=1}]=debug",
        ] {
            assert_eq!(check(fine), Ok(()), "{fine}");
        }
    }
}
