//! `peer-client`: one native peer on the command line.
//!
//! Owns the command line and the exit codes; the conversation itself is in [`talk`], what is printed in [`output`], what
//! may be typed in [`command`], and how it is read in [`typing`]. Connections past NATs are in [`p2p`]. Speaks to the hub through `hubmesh_client` alone.
//! Standard output carries what happens (lines for people, or one JSON object a line with `--json`), standard error
//! carries diagnostics.

mod command;
mod output;
mod p2p;
mod talk;
mod typing;

use std::{io::IsTerminal, process::ExitCode, time::Duration};

use clap::{CommandFactory, Parser, error::ErrorKind};
use hubmesh_cli::{self as cli, Exit};
use hubmesh_client::{Client, ConnectError, ConnectOptions, DEFAULT_NETWORK, HubUrl, PeerId};

use output::Output;
use talk::Talk;

/// The hub that is used if none is named.
const LOCAL_HUB: &str = "ws://localhost:8080";
/// How long `--send` waits for an answer when `--listen` does not say.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// Connects to a hub as a peer, announces itself, and prints discovered peers and received messages.
#[derive(Debug, Parser)]
#[command(
    name = "peer-client",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "\
On a terminal it reads commands while it is in the foreground; `help` lists them. Ctrl-C says goodbye and closes.
Long flags may be written with one dash, as the Go tool's: -name, -hub, -listen 10s.

Examples:
  peer-client --name ada --hub ws://localhost:8080
  peer-client -name ada -hub ws://localhost:8080 -listen 10s
  peer-client --hub ws://localhost:8080 --json --listen 1m | jq -c 'select(.event == \"discovered\")'
  peer-client --hub ws://localhost:8080 --answer --id \"$ID\"
  peer-client --hub ws://localhost:8081 --send \"$ID\" && echo answered
  peer-client nat --hub wss://hub.example.org
  peer-client connect --answer --id \"$ID\" --hub wss://hub.example.org
  peer-client connect \"$ID\" --hub wss://hub.example.org --pings 5

Exit codes:
   0  done, or the time of --listen is over; with --send: the peer answered; connect: the pings came back, or the pipe ended
   1  anything else, the hub closing the connection without cause among it
  64  wrong usage
  68  --send: the hub could not deliver to that peer; connect: no way led there
  69  the hub cannot be reached, is full or is going away
  75  --send and connect: no answer in time; connect: the other end is gone without a word
  77  refused: wrong token, or the id is taken"
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<p2p::Command>,
    /// The name that others see in the announcement.
    #[arg(long, default_value = "peer-client")]
    name: String,
    /// The hub to connect to.
    #[arg(
        long,
        default_value = LOCAL_HUB,
        value_name = "URL",
        env = "HUB_URL"
    )]
    hub: HubUrl,
    /// How long to stay, as in 10s or 1m30s; until Ctrl-C when absent.
    #[arg(long, value_name = "DURATION", value_parser = cli::positive_duration)]
    listen: Option<Duration>,
    /// The network to join.
    #[arg(long, default_value = DEFAULT_NETWORK)]
    network: String,
    /// The bearer token of the hub.
    #[arg(long, env = "AUTH_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The peer's id; a random one when absent.
    #[arg(long, value_name = "PEER_ID")]
    id: Option<PeerId>,
    /// Send an offer to this peer, wait for its answer (10s, or as long as --listen says), and exit.
    #[arg(long, value_name = "PEER_ID", conflicts_with = "interactive")]
    send: Option<PeerId>,
    /// Answer every offer that arrives.
    #[arg(long)]
    answer: bool,
    /// Read commands from standard input although it is no terminal.
    #[arg(long)]
    interactive: bool,
    /// One JSON object a line on standard output.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = match cli::parse::<Arguments>() {
        Ok(arguments) => arguments,
        Err(exit) => return exit.into(),
    };
    if let Err(exit) = refuse_talking_to_oneself(&arguments) {
        return exit.into();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("peer-client: cannot start: {error}");
            return Exit::Failed.into();
        }
    };
    let exit = runtime.block_on(async {
        match arguments.command {
            Some(command) => p2p::run(command).await,
            None => run(arguments).await,
        }
    });
    // The lookup of a name may still run in a thread; no task waits for it any more.
    runtime.shutdown_background();
    exit.into()
}

fn refuse_talking_to_oneself(arguments: &Arguments) -> Result<(), Exit> {
    if arguments.send.is_none() || arguments.send != arguments.id {
        return Ok(());
    }
    let message = "--send names this peer's own --id";
    let error = Arguments::command().error(ErrorKind::ArgumentConflict, message);
    // Nothing is left to do when not even the message can be printed.
    let _ = error.print();
    Err(Exit::Usage)
}

async fn run(arguments: Arguments) -> Exit {
    let mut options = ConnectOptions::new(arguments.hub.clone());
    options.token = arguments.token.clone().filter(|token| !token.is_empty());
    if let Some(id) = &arguments.id {
        options.id = id.clone();
    }
    let client = match Client::connect(&options).await {
        Ok(client) => client,
        Err(error) => {
            eprintln!("peer-client: {error}");
            return refused_or_unreachable(&error);
        }
    };
    let interactive =
        arguments.interactive || (std::io::stdin().is_terminal() && arguments.send.is_none());
    let patience = arguments
        .listen
        .or_else(|| arguments.send.is_some().then_some(ANSWER_WAIT));
    let output = Output::new(arguments.json);
    Talk::new(client, output, arguments)
        .run(interactive, patience)
        .await
}

fn refused_or_unreachable(error: &ConnectError) -> Exit {
    match error {
        ConnectError::BadToken => Exit::Usage,
        ConnectError::Unreachable { .. } => Exit::Unreachable,
        ConnectError::Refused { status, .. } => of_status(*status),
    }
}

/// What the status of a hub means that refused this program.
fn of_status(status: http::StatusCode) -> Exit {
    match status.as_u16() {
        401 | 403 | 409 => Exit::Refused,
        429 | 502..=504 => Exit::Unreachable,
        _ => Exit::Failed,
    }
}
