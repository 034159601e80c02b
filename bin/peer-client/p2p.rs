//! Connections past NATs: `nat`, `connect` and `serve`.
//!
//! Owns their command lines, and the exit codes. Progress goes to standard error, a line or, with `--json`, an object
//! each; standard output is for results and for the data of a pipe.

mod connect;
mod nat;
mod serve;

use std::time::Duration;

use clap::{Args, Subcommand};
use futures::StreamExt as _;
use hubmesh_cli::{self as cli, Exit};
use hubmesh_client::HubUrl;
use hubmesh_client::coordinator::{
    Builder, ConnectFailure, Coordinator, Error, Event, IceServersError, Method, NETWORK,
};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::{LOCAL_HUB, of_status, refused_or_unreachable};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Finds out the type of this machine's NAT, its public address, and what to expect.
    Nat(nat::Arguments),
    /// Connects to a peer by any path that works, or with --answer waits for peers that do so.
    Connect(connect::Arguments),
    /// Makes connections on request, over HTTP: GET /p2p/status, POST /p2p/connect/PEER.
    Serve(serve::Arguments),
}

/// What all of them take.
#[derive(Debug, Args)]
pub struct Common {
    /// The hub that carries signals and names STUN and TURN servers.
    #[arg(long, value_name = "URL", env = "HUB_URL")]
    hub: Option<HubUrl>,
    /// The bearer token of the hub.
    #[arg(long, env = "AUTH_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The network of the hub in which both ends meet.
    #[arg(long, default_value = NETWORK)]
    network: String,
    /// A STUN server beside those of the hub, as stun:HOST:PORT; as often as wanted.
    #[arg(long, value_name = "URL")]
    stun: Vec<String>,
    /// A TURN server beside those of the hub, as turn:HOST:PORT[?transport=tcp] or turns:HOST:PORT; as often as wanted.
    #[arg(long, value_name = "URL")]
    turn: Vec<String>,
    /// The name for those TURN servers.
    #[arg(long, default_value = "", value_name = "NAME")]
    turn_username: String,
    /// The password for those TURN servers.
    #[arg(
        long,
        env = "TURN_CREDENTIAL",
        hide_env_values = true,
        default_value = "",
        value_name = "PASSWORD"
    )]
    turn_credential: String,
    /// The port of UDP sockets here; any if it is 0.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    local_port: u16,
    /// The longest that a connection may take, all ways together.
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = cli::positive_duration)]
    timeout: Duration,
    /// Try only this method: direct, udp-punch, birthday, tcp-punch or relay; as often as wanted.
    #[arg(long, value_name = "WAY")]
    only: Vec<Method>,
    /// How often to dial a hub again that is gone, and to ask a peer again that does not answer.
    #[arg(long, default_value_t = 3, value_name = "N")]
    retries: u32,
    /// How often an idle connection is kept alive.
    #[arg(long, default_value = "25s", value_name = "DURATION", value_parser = cli::positive_duration)]
    keep_alive: Duration,
    /// One JSON object a line in place of lines for people.
    #[arg(long)]
    json: bool,
}

pub async fn run(command: Command) -> Exit {
    match command {
        Command::Nat(arguments) => nat::run(arguments).await,
        Command::Connect(arguments) => connect::run(arguments).await,
        Command::Serve(arguments) => serve::run(arguments).await,
    }
}

impl Common {
    /// A coordinator of these options. The hub is the one on this machine, unless servers are named and no hub is.
    fn coordinator(&self, needs_hub: bool) -> Result<Coordinator, Exit> {
        let wrong = |error: &dyn std::fmt::Display| {
            eprintln!("peer-client: {error}");
            Exit::Usage
        };
        let mut builder: Builder = Coordinator::builder()
            .network(&self.network)
            .local_port(self.local_port)
            .connection_timeout(self.timeout)
            .retries(self.retries)
            .keep_alive(self.keep_alive)
            .only(&self.only)
            .detailed_logging(true);
        for url in &self.stun {
            builder = builder.stun(url).map_err(|error| wrong(&error))?;
        }
        for url in &self.turn {
            let (name, password) = (&self.turn_username, &self.turn_credential);
            builder = builder
                .turn(url, name, password)
                .map_err(|error| wrong(&error))?;
        }
        let named = self.hub.clone();
        let local = || LOCAL_HUB.parse().ok();
        let hub = if needs_hub || self.stun.is_empty() {
            named.or_else(local)
        } else {
            named
        };
        if let Some(hub) = hub {
            builder = builder.signaling(hub);
        }
        if let Some(token) = self.token.as_ref().filter(|token| !token.is_empty()) {
            builder = builder.token(token);
        }
        Ok(builder.build())
    }
}

/// Prints events on standard error, until the coordinator is gone.
fn follow(coordinator: &Coordinator, as_json: bool) -> JoinHandle<()> {
    let mut events = coordinator.events();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if as_json {
                eprintln!("{}", object(&event));
            } else {
                eprintln!("{event}");
            }
            if matches!(event, Event::Shutdown) {
                return;
            }
        }
    })
}

/// Waits until no hub carries signals any more.
async fn lost(coordinator: &Coordinator) -> Exit {
    let mut events = coordinator.events();
    while let Some(event) = events.next().await {
        if matches!(event, Event::PeerLost { .. }) {
            break;
        }
    }
    Exit::Unreachable
}

/// Says that nothing follows, to the hub and to TURN servers, too, and waits until all is printed.
async fn finish(coordinator: &Coordinator, printing: JoinHandle<()>) {
    coordinator.shutdown();
    coordinator.closed().await;
    // It ends with the event that was just sent.
    let _ = printing.await;
}

fn object(event: &Event) -> serde_json::Value {
    match event {
        Event::Initialized { nat } => json!({"event": "initialized", "nat": nat}),
        Event::PeerRegistered { id } => json!({"event": "peerRegistered", "peer": id}),
        Event::PeerLost { id, reason } => {
            json!({"event": "peerLost", "peer": id, "reason": reason})
        }
        Event::Connected { peer, method, took } => {
            json!({"event": "connected", "peer": peer, "method": method, "milliseconds": milliseconds(*took)})
        }
        Event::ConnectionFailed { peer, reason } => {
            json!({"event": "connectionFailed", "peer": peer, "reason": reason})
        }
        Event::Step { peer, after, text } => {
            json!({"event": "step", "peer": peer, "milliseconds": milliseconds(*after), "text": text})
        }
        Event::Shutdown => json!({"event": "shutdown"}),
    }
}

/// With a resolution of a microsecond.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn exit_of(error: &Error) -> Exit {
    match error {
        Error::Connect(failure) => match failure {
            ConnectFailure::NoAnswer { .. } => Exit::NoAnswer,
            ConnectFailure::Undeliverable { .. }
            | ConnectFailure::Refused { .. }
            | ConnectFailure::NoWay { .. }
            | ConnectFailure::TimedOut { .. } => Exit::UnknownPeer,
            ConnectFailure::Signaling { .. } => Exit::Unreachable,
        },
        Error::Hub(error) => refused_or_unreachable(error),
        Error::IceServers(IceServersError::Unreachable { .. }) => Exit::Unreachable,
        Error::IceServers(IceServersError::Refused { status, .. }) => of_status(*status),
        Error::IceServers(IceServersError::BadToken)
        | Error::NoHub
        | Error::Id(_)
        | Error::Metadata { .. } => Exit::Usage,
        Error::TooLong { .. } => Exit::Unreachable,
        Error::ShutDown => Exit::Failed,
    }
}

/// Says why it failed, unless an event has said so, and gives the code to exit with.
fn failed(error: &Error) -> Exit {
    if !matches!(error, Error::Connect(_)) {
        eprintln!("peer-client: {error}");
    }
    exit_of(error)
}
