//! The tests of the tests: switches on one mutant in every core, and reports which test finds it.
//!
//! The quick scripts run first, in their order, then random histories from seed 1 on, then the slow scripts. Must not
//! know the effect of any mutant. Called by `tests/simulation.rs` and `mesh-sim mutants`.

use std::fmt;

use super::scripts::{self, Script};
use super::{history, siege};
use hubmesh_core::mutants::Mutants;

/// The test that found a mutant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Finder {
    /// A script, by its name.
    Script(&'static str),
    /// The history of this seed; those of lower seeds found nothing, nor did those with a rogue.
    Seed(u64),
    /// The narrow history of this seed; those of lower seeds found nothing, nor did the others.
    Interest(u64),
    /// The history with a rogue of this seed; those of lower seeds found nothing, nor did those without.
    Rogue(u64),
}

/// The result for one mutant.
#[derive(Clone, Debug)]
pub struct Catch {
    /// The mutant's name.
    pub mutant: &'static str,
    /// The test that found it, and the fault that this test saw; `None` if it survived everything.
    pub caught: Option<(Finder, String)>,
}

/// Runs tests until one finds the mutant, at most `limit` histories.
pub fn catch(name: &'static str, mutant: Mutants, limit: u64) -> Catch {
    Catch {
        mutant: name,
        caught: by_script(scripts::QUICK, mutant)
            .or_else(|| by_seed(mutant, limit))
            .or_else(|| by_script(scripts::SLOW, mutant)),
    }
}

fn by_script(scripts: &[Script], mutant: Mutants) -> Option<(Finder, String)> {
    scripts.iter().find_map(|(name, script)| {
        let why = script(mutant).err()?;
        Some((Finder::Script(name), why))
    })
}

fn by_seed(mutant: Mutants, limit: u64) -> Option<(Finder, String)> {
    (1..=limit).find_map(|seed| {
        let honest = || history::play(seed, mutant).faults.into_iter().next();
        let interested = || {
            let faults = history::play_with_interest(seed, mutant).faults;
            Some((Finder::Interest(seed), faults.into_iter().next()?))
        };
        let besieged = || siege::play(seed, mutant).faults.into_iter().next();
        let fault = honest().map(|fault| (Finder::Seed(seed), fault));
        fault
            .or_else(interested)
            .or_else(|| Some((Finder::Rogue(seed), besieged()?)))
    })
}

impl fmt::Display for Catch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<28} ", self.mutant)?;
        match &self.caught {
            Some((Finder::Script(name), why)) => {
                write!(f, "the script \"{name}\": {}", brief(why))
            }
            Some((Finder::Seed(seed), why)) => write!(f, "{seed} seeds: {}", brief(why)),
            Some((Finder::Interest(seed), why)) => {
                write!(f, "{seed} seeds, with interest: {}", brief(why))
            }
            Some((Finder::Rogue(seed), why)) => {
                write!(f, "{seed} seeds, with a rogue: {}", brief(why))
            }
            None => write!(f, "SURVIVED"),
        }
    }
}

fn brief(why: &str) -> String {
    why.chars().take(160).collect()
}
