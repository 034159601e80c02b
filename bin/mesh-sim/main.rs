//! Runs simulated meshes by hand: random histories, one history again, the known faults, and the figures.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use hubmesh_cli as cli;
use hubmesh_core::mutants::Mutants;
use hubmesh_sim::figures::scale::{self, Bootstraps, ScalePlan};
use hubmesh_sim::figures::{self, Figure, Meters, Plan, Progress, Section};
use hubmesh_sim::history::{self, Outcome};
use hubmesh_sim::{scripts, siege};

/// Simulated meshes, in virtual time.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures a mesh: how long things take, what crosses the links, what a peer costs.
    Measure {
        /// How many hubs.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(4..))]
        hubs: u16,
        /// The number of peers of the whole mesh. Every hub keeps all of them, so a mesh of many hubs is measured with
        /// as many as fit in memory, and all of them in a second section on three hubs.
        #[arg(long, default_value_t = 1_000)]
        peers: usize,
        /// Hubs take from each other only the networks of interest: fifty peers in each, on one to four hubs.
        #[arg(long)]
        interest: bool,
        /// The seed of all random choices.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Print JSON in place of a table.
        #[arg(long)]
        json: bool,
    },
    /// Measures how the control plane grows with the number of hubs: cold start, rest, restart, a hub that dies, a
    /// split.
    Scale {
        /// How many hubs.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(4..))]
        hubs: u16,
        /// The hubs that each hub is told of: only the first, or the first and one other.
        #[arg(long, value_enum, default_value_t = Told::Tree)]
        bootstraps: Told,
        /// All hubs speak the version of the link protocol before this one: digests, and every record on every link.
        #[arg(long)]
        before: bool,
        /// The seed of all random choices.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Print JSON in place of a table.
        #[arg(long)]
        json: bool,
    },
    /// Plays random histories and checks every invariant after each.
    Histories {
        /// How many.
        #[arg(long, default_value_t = 2_000)]
        count: u64,
        /// How many at once.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How many at once.
        #[arg(long, default_value_t = 1)]
        threads: u64,
        #[command(flatten)]
        kind: Kind,
    },
    /// Plays one history again, twice, and shows what was broken.
    Replay {
        /// The seed.
        #[arg(long)]
        seed: u64,
        /// Print all events.
        #[arg(long)]
        verbose: bool,
        #[command(flatten)]
        kind: Kind,
    },
    /// Plays the scripts of known troubles.
    Scripts {
        /// Only those with this text in their name.
        #[arg(long)]
        only: Option<String>,
        /// Also those that take minutes.
        #[arg(long)]
        large: bool,
    },
    /// Puts each known fault into the core in turn, and shows which script finds it, or how many histories it takes.
    Mutants {
        /// How many histories each may take.
        #[arg(long, default_value_t = 2_000)]
        limit: u64,
        /// Only those with this text in their name.
        #[arg(long)]
        only: Option<String>,
    },
}

/// Which kind of history a seed stands for.
#[derive(clap::Args)]
struct Kind {
    /// With a rogue hub.
    #[arg(long, conflicts_with = "hubs")]
    rogue: bool,
    /// With this many hubs, as in 60-120; by default 3 to 9, and now and then up to 27.
    #[arg(long, value_parser = range)]
    hubs: Option<RangeInclusive<usize>>,
    /// In a mesh whose hubs take from each other only the networks of interest.
    #[arg(long, conflicts_with = "rogue")]
    interest: bool,
    /// Without hubs of a later version.
    #[arg(long)]
    no_later: bool,
}

impl Kind {
    fn play(&self, seed: u64, verbose: bool) -> Outcome {
        let mutants = Mutants::default();
        if self.rogue {
            return siege::play_aloud(seed, mutants, verbose);
        }
        history::play_as(&history::Plan {
            seed,
            mutants,
            verbose,
            hubs: self.hubs.clone(),
            interest: self.interest,
            later: !self.no_later,
        })
    }
}

/// The hubs that each hub is told of.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Told {
    /// The first hub alone.
    One,
    /// The first hub, and one other.
    Tree,
}

fn main() -> ExitCode {
    let arguments = match cli::parse::<Arguments>() {
        Ok(arguments) => arguments,
        Err(exit) => return exit.into(),
    };
    match arguments.command {
        Command::Measure {
            hubs,
            peers,
            interest,
            seed,
            json,
        } => {
            let hubs = usize::from(hubs);
            let plan = Plan { hubs, peers, seed };
            print(json, |meters| match interest {
                true => figures::measure_interest(plan, meters),
                false => figures::measure(plan, meters),
            })
        }
        Command::Scale {
            hubs,
            bootstraps,
            before,
            seed,
            json,
        } => {
            let plan = ScalePlan {
                hubs: hubs.into(),
                bootstraps: match bootstraps {
                    Told::One => Bootstraps::One,
                    Told::Tree => Bootstraps::Tree,
                },
                before,
                seed,
            };
            print(json, |meters| vec![scale::measure(plan, meters)])
        }
        Command::Histories {
            count,
            seed,
            threads,
            kind,
        } => histories(count, seed, threads, &kind),
        Command::Replay {
            seed,
            verbose,
            kind,
        } => replay(seed, verbose, &kind),
        Command::Scripts { only, large } => scripts(only.as_deref(), large),
        Command::Mutants { limit, only } => mutants(limit, only.as_deref()),
    }
}

/// Counts what is allocated, for the figure of what a peer costs.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps to the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps to the contract of `dealloc`.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// CPU time of this process's first thread so far, from /proc; zero where there is none.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanoseconds = text.split_whitespace().next().unwrap_or_default();
    Duration::from_nanos(nanoseconds.parse().unwrap_or_default())
}

/// A line of /proc/self/status that is given in kB, in bytes; zero where there is none.
fn status(name: &str) -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0) * 1024
}

/// Prints the measurements, as they come or as JSON at the end.
fn print(json: bool, measure: impl FnOnce(Meters) -> Vec<Section>) -> ExitCode {
    let sections = measure(Meters {
        memory: || ALLOCATED.load(Ordering::Relaxed),
        resident: || status("VmRSS:"),
        cpu: cpu_time,
        told: if json { |_| {} } else { print_progress },
    });
    if json {
        match serde_json::to_string_pretty(&sections) {
            Ok(text) => println!("{text}"),
            Err(_) => return ExitCode::FAILURE,
        }
        return ExitCode::SUCCESS;
    }
    println!(
        "in all {:.1} s of CPU time, at most {:.2} GB resident",
        cpu_time().as_secs_f64(),
        status("VmHWM:") as f64 / 1e9
    );
    ExitCode::SUCCESS
}

fn print_progress(progress: Progress<'_>) {
    match progress {
        Progress::Section(title) => println!("{title}"),
        Progress::Figure(Figure {
            name,
            value,
            unit,
            target,
        }) => {
            let target = target.map_or(String::new(), |target| format!("target {target} {unit}"));
            let line = format!("  {name:<56} {value:>12.2} {unit:<4} {target}");
            println!("{}", line.trim_end());
        }
    }
}

/// Reads `60-120`.
fn range(text: &str) -> Result<RangeInclusive<usize>, String> {
    let ends = text.split_once('-').unwrap_or((text, text));
    let (Ok(least), Ok(most)) = (ends.0.parse(), ends.1.parse()) else {
        return Err("two numbers with a dash between them, as in 60-120".to_owned());
    };
    if least < 3 || most < least {
        return Err("at least 3 hubs, the lower number first".to_owned());
    }
    Ok(least..=most)
}

fn histories(count: u64, first: u64, threads: u64, kind: &Kind) -> ExitCode {
    let (next, failed, slowest) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let no = next.fetch_add(1, Ordering::Relaxed);
                    if no >= count {
                        return;
                    }
                    let outcome = kind.play(first + no, false);
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
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn show(outcome: &Outcome) {
    println!(
        "seed {} is broken; play it again with: mesh-sim replay --seed {}",
        outcome.seed, outcome.seed
    );
    for fault in &outcome.faults {
        println!("  {fault}");
    }
}

fn replay(seed: u64, verbose: bool, kind: &Kind) -> ExitCode {
    let first = kind.play(seed, verbose);
    let second = kind.play(seed, false);
    println!(
        "trace {:016x}, settled after {:.1} s, signals {:?}",
        first.trace,
        first.settled_after as f64 / 1e6,
        first.signals
    );
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

fn scripts(only: Option<&str>, large: bool) -> ExitCode {
    let mut failed = 0;
    let large = if large { scripts::LARGE } else { &[] };
    for (name, script) in scripts::QUICK.iter().chain(scripts::SLOW).chain(large) {
        if only.is_some_and(|only| !name.contains(only)) {
            continue;
        }
        let began = std::time::Instant::now();
        match script(Mutants::default()) {
            Ok(_) => println!("ok      {name} ({:.1} s)", began.elapsed().as_secs_f64()),
            Err(why) => {
                failed += 1;
                println!("BROKEN  {name}: {why}");
            }
        }
    }
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Puts each known fault into the core, and plays scripts and histories until one finds it.
#[cfg(feature = "mutants")]
fn mutants(limit: u64, only: Option<&str>) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    let wanted = |name: &str| only.is_none_or(|only| name.contains(only));
    for (name, mutant) in Mutants::EACH.iter().filter(|(name, _)| wanted(name)) {
        let row = hubmesh_sim::catch::catch(name, *mutant, limit);
        println!("{row}");
        if row.caught.is_none() {
            code = ExitCode::FAILURE;
        }
    }
    code
}

#[cfg(not(feature = "mutants"))]
fn mutants(_limit: u64, _only: Option<&str>) -> ExitCode {
    eprintln!("mesh-sim: build with --features mutants");
    ExitCode::from(64)
}
