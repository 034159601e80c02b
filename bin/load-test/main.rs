//! `load-test`: bounded load on hubs of this machine, and what it costs them.
//!
//! Owns the command line; the modes are in [`mode`], the protocols in [`dialect`]. One thread does all of the client's
//! work, because the server under load shares the machine. Standard output carries the table (or JSON), standard error
//! the progress and diagnostics.

mod arguments;
mod connection;
mod dialect;
mod lab;
mod mode;
mod process;
mod report;
mod server;
mod stamp;
mod target;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;

use hubmesh_cli::{self as cli, Exit};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use arguments::{Aim, Arguments, Mode};
use connection::Failure;
use dialect::DialectError;
use lab::Lab;
use mode::{accept, floor, idle, join_latency, join_storm, mesh, relay, table};
use process::Watched;
use target::{BadTarget, Target};

/// What is printed at the end.
struct Outcome {
    text: String,
    json: serde_json::Value,
}

/// Why nothing is printed, and the code that says so.
struct Unable {
    exit: Exit,
    reason: String,
}

impl From<Failure> for Unable {
    fn from(failure: Failure) -> Self {
        let exit = match &failure {
            Failure::Unreachable(..) => Exit::Unreachable,
            Failure::Dialect(DialectError::Refused(_)) => Exit::Refused,
            _ => Exit::Failed,
        };
        Self {
            exit,
            reason: failure.to_string(),
        }
    }
}

impl From<BadTarget> for Unable {
    fn from(error: BadTarget) -> Self {
        let exit = match &error {
            BadTarget::Unresolved { .. } => Exit::Unreachable,
            BadTarget::Tls(_) | BadTarget::Remote { .. } => Exit::Usage,
        };
        Self {
            exit,
            reason: error.to_string(),
        }
    }
}

fn main() -> ExitCode {
    let arguments = match cli::parse::<Arguments>() {
        Ok(arguments) => arguments,
        Err(exit) => return exit.into(),
    };
    let json = arguments.json;
    let done = run(arguments).and_then(|outcome| print(&outcome, json));
    match done {
        Ok(()) => Exit::Ok.into(),
        Err(unable) => {
            eprintln!("load-test: {}", unable.reason);
            unable.exit.into()
        }
    }
}

fn print(outcome: &Outcome, json: bool) -> Result<(), Unable> {
    let text = if json {
        outcome.json.to_string()
    } else {
        outcome.text.clone()
    };
    if text.is_empty() {
        return Ok(());
    }
    writeln!(io::stdout().lock(), "{}", text.trim_end()).map_err(|error| Failure::Io(error).into())
}

fn run(arguments: Arguments) -> Result<Outcome, Unable> {
    if let Mode::Floor(floor) = &arguments.mode {
        return run_floor(floor.listen, floor.workers, floor.allow_remote);
    }
    cli::open_files::allow(arguments.connections()).map_err(|reason| Unable {
        exit: Exit::Failed,
        reason,
    })?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::Io)?;
    let local = LocalSet::new();
    let interruptible = async {
        tokio::select! {
            outcome = run_mode(arguments.mode) => outcome,
            _ = tokio::signal::ctrl_c() => Err(Failure::Other("interrupted".to_owned()).into()),
        }
    };
    runtime.block_on(local.run_until(interruptible))
}

async fn run_mode(mode: Mode) -> Result<Outcome, Unable> {
    let report = match mode {
        Mode::Relay(relay) => relay::run(&*lab(&relay.aim).await?, &relay.options()).await,
        Mode::Idle(idle) => {
            let options = idle::Options {
                peers: idle.peers,
                per_network: idle.per_network,
                hold: idle.hold,
            };
            idle::run(&*lab(&idle.aim).await?, &options).await
        }
        Mode::JoinStorm(storm) => {
            let options = join_storm::Options {
                peers: storm.peers,
                spread: storm.spread,
                limit: storm.limit,
            };
            join_storm::run(&*lab(&storm.aim).await?, &options).await
        }
        Mode::Accept(accept) => {
            let options = accept::Options {
                connections: accept.connections,
            };
            accept::run(&*lab(&accept.aim).await?, &options).await
        }
        Mode::JoinLatency(joins) => {
            join_latency::run(&lab(&joins.aim).await?, &joins.options()).await
        }
        Mode::Mesh(started) => {
            let options = started.options().map_err(|reason| Unable {
                exit: Exit::Usage,
                reason,
            })?;
            mesh::run(&options).await
        }
        Mode::Table(table) => {
            let compared = table::run(&table.options(), false).await?;
            return Ok(Outcome {
                text: compared.text,
                json: compared.json,
            });
        }
        Mode::Floor(_) => {
            return Err(Failure::Other("the floor is served elsewhere".to_owned()).into());
        }
    }?;
    Ok(Outcome {
        text: report.to_table(),
        json: report.to_json(),
    })
}

async fn lab(aim: &Aim) -> Result<Rc<Lab>, Unable> {
    let mut targets = vec![Target::resolve(&aim.hub, aim.allow_remote).await?];
    if let Some(hub) = &aim.hub_b {
        targets.push(Target::resolve(hub, aim.allow_remote).await?);
    }
    let watched = Watched::new(aim.pids());
    // A wrong pid is said before the load, not after it.
    watched.sample().map_err(Failure::Unreadable)?;
    let token = aim.token.clone().filter(|token| !token.is_empty());
    Ok(Rc::new(Lab::new(aim.dialect, targets, token, watched)))
}

fn run_floor(listen: SocketAddr, workers: usize, allow_remote: bool) -> Result<Outcome, Unable> {
    let hub = target::parse(&listen.to_string()).map_err(Failure::Other)?;
    target::check(&hub, listen, allow_remote)?;
    let mut builder = if workers == 1 {
        Builder::new_current_thread()
    } else {
        Builder::new_multi_thread()
    };
    let runtime = builder.worker_threads(workers).enable_all().build();
    let runtime = runtime.map_err(Failure::Io)?;
    let served = runtime.block_on(async {
        tokio::select! {
            served = floor::serve(listen) => served,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    });
    served.map_err(|error| Failure::Unreachable(listen.to_string(), error))?;
    Ok(Outcome {
        text: String::new(),
        json: serde_json::Value::Null,
    })
}
