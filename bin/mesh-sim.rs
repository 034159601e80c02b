//! Runs simulated meshes by hand: random histories, one history again, the known faults, and the figures.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::{Parser, Subcommand};
use hubmesh::mesh::core::mutants::Mutants;
use hubmesh::sim::history::{self, Outcome};

/// Simulated meshes, in virtual time.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Plays random histories and checks every invariant after each.
    Histories {
        /// How many.
        #[arg(long, default_value_t = 2_000)]
        count: u64,
        /// The first seed; the others follow.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How many at once.
        #[arg(long, default_value_t = 1)]
        threads: u64,
    },
    /// Plays one history again, twice, and shows what was broken.
    Replay {
        /// Which.
        #[arg(long)]
        seed: u64,
        /// Print all that happens.
        #[arg(long)]
        verbose: bool,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Histories { count, seed, threads } => histories(count, seed, threads),
        Command::Replay { seed, verbose } => replay(seed, verbose),
    }
}

fn histories(count: u64, first: u64, threads: u64) -> ExitCode {
    let (next, failed, slowest) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let began = std::time::Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let no = next.fetch_add(1, Ordering::Relaxed);
                    if no >= count {
                        return;
                    }
                    let outcome = history::play(first + no, Mutants::default());
                    slowest.fetch_max(outcome.settled_after, Ordering::Relaxed);
                    if !outcome.faults.is_empty() {
                        failed.fetch_add(1, Ordering::Relaxed);
                        show(&outcome);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    println!(
        "{count} histories from seed {first}: {failed} broken; slowest peace {:.1} s; {:.1} s",
        slowest.into_inner() as f64 / 1e6,
        began.elapsed().as_secs_f64(),
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn show(outcome: &Outcome) {
    println!("seed {} is broken; play it again with: mesh-sim replay --seed {}", outcome.seed, outcome.seed);
    for fault in &outcome.faults {
        println!("  {fault}");
    }
}

fn replay(seed: u64, verbose: bool) -> ExitCode {
    let first = history::play_aloud(seed, Mutants::default(), verbose);
    let second = history::play(seed, Mutants::default());
    println!("trace {:016x}, settled after {:.1} s, signals {:?}", first.trace, first.settled_after as f64 / 1e6, first.signals);
    if first.trace != second.trace {
        println!("a second run gave another trace: {:016x}", second.trace);
        return ExitCode::FAILURE;
    }
    if first.faults.is_empty() {
        return ExitCode::SUCCESS;
    }
    show(&first);
    ExitCode::FAILURE
}
