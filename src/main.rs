//! The daemon: reads its configuration, serves until it is told to stop, drains, and tells the outcome by its exit
//! code.
//!
//! Exit codes: 0 after a drain, or when a check succeeds; 1 when `--healthcheck` finds no healthy hub; 64 when the
//! configuration or the command line cannot be used; 69 when the address cannot be listened on; 70 when the system
//! refuses something else, standard output included; 130 when a second signal cuts the drain short.

mod health;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use hubmesh::config::{Config, settings_table};
use hubmesh::hub::{Hub, RunningHub, StartError};
use hubmesh::nat::NatError;
use hubmesh::tls;
use hubmesh_cli as cli;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The configuration cannot be used (`EX_USAGE`).
const BAD_CONFIG: u8 = 64;
/// The address cannot be listened on (`EX_UNAVAILABLE`).
const CANNOT_LISTEN: u8 = 69;
/// The system refuses a thread, a signal handler or what is printed (`EX_SOFTWARE`).
const SYSTEM_REFUSES: u8 = 70;
/// A second signal arrived while the hub drained.
const CUT_SHORT: u8 = 130;

/// A federated WebRTC signaling hub. It is configured by environment variables alone; see --print-settings.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// Print all settings with their defaults, as a Markdown table, and exit.
    #[arg(long, group = "instead")]
    print_settings: bool,
    /// Check the configuration and exit: 0 if it can be used, 64 with a list of what is wrong if not.
    #[arg(long, group = "instead")]
    check_config: bool,
    /// Ask the hub on this machine's PORT whether it is healthy and exit: 0 if it is, 1 if not.
    #[arg(long, group = "instead")]
    healthcheck: bool,
}

fn main() -> ExitCode {
    let arguments = match cli::parse::<Arguments>() {
        Ok(arguments) => arguments,
        Err(exit) => return exit.into(),
    };
    if arguments.print_settings {
        return print(&settings_table());
    }
    let config = match Config::from_env() {
        Ok(config) => config,
        Err(error) => {
            complain(error);
            return ExitCode::from(BAD_CONFIG);
        }
    };
    if arguments.check_config {
        return check_config(&config);
    }
    if arguments.healthcheck {
        return health::check(&config);
    }
    hubmesh::log::init(config.log_format, &config.log_filter);
    hubmesh::log::panics();
    for caution in &config.cautions {
        tracing::warn!("{caution}");
    }
    if let Err(why) = cli::open_files::allow(
        config.max_connections + config.http_connections() + config.nat.sockets(),
    ) {
        tracing::warn!("{why}");
    }
    serve(config)
}

/// Checks the rest of a configuration that could be read: the files that it names.
fn check_config(config: &Config) -> ExitCode {
    for caution in &config.cautions {
        complain(caution);
    }
    if let Some(Err(bad)) = config.tls.as_ref().map(tls::check) {
        complain(StartError::from(bad));
        return ExitCode::from(BAD_CONFIG);
    }
    print("hubmesh: the configuration can be used\n")
}

/// Prints this text. A reader that closes early, as `head` does, is no failure.
fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(why) if why.kind() != io::ErrorKind::BrokenPipe => {
            complain(format_args!("cannot print: {why}"));
            ExitCode::from(SYSTEM_REFUSES)
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Says on standard error what is wrong. If that fails too, only the exit code says it.
fn complain(what: impl Display) {
    let _ = writeln!(io::stderr(), "hubmesh: {what}");
}

fn serve(config: Config) -> ExitCode {
    let runtime = match runtime(config.worker_threads) {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("cannot start its threads: {error}"));
            return ExitCode::from(SYSTEM_REFUSES);
        }
    };
    let code = runtime.block_on(run(config));
    // A name that is still being looked up must not delay the end.
    runtime.shutdown_background();
    code
}

/// One thread takes the least CPU for each message, because no hand-over wakes another thread.
fn runtime(threads: usize) -> std::io::Result<Runtime> {
    match threads {
        1 => Builder::new_current_thread().enable_all().build(),
        _ => Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build(),
    }
}

async fn run(config: Config) -> ExitCode {
    let mut signals = match Signals::new(config.tls.is_some()) {
        Ok(signals) => signals,
        Err(error) => {
            complain(format_args!("cannot listen for signals: {error}"));
            return ExitCode::from(SYSTEM_REFUSES);
        }
    };
    let hub = match Hub::start(config).await {
        Ok(hub) => hub,
        Err(error) => {
            complain(&error);
            return ExitCode::from(match error {
                StartError::Nat(NatError::Thread(_) | NatError::Machine(_)) => SYSTEM_REFUSES,
                StartError::Nat(NatError::Address(_)) | StartError::Tls(_) => BAD_CONFIG,
                StartError::Bind(_)
                | StartError::BindSignaling(_)
                | StartError::BindAdmin(_)
                | StartError::Nat(NatError::Port(_)) => CANNOT_LISTEN,
            });
        }
    };
    announce(&hub);
    let name = loop {
        match signals.next().await {
            Told::Stop(name) => break name,
            Told::Reload => hub.reload_certificates(),
        }
    };
    let drain_ms = u64::try_from(hub.config().drain.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(signal = name, drain_ms, "hubmesh is draining");
    tokio::select! {
        () = hub.drain() => {}
        name = signals.next_stop() => {
            tracing::warn!(signal = name, "hubmesh stops without having drained");
            return ExitCode::from(CUT_SHORT);
        }
    }
    tracing::info!("hubmesh has stopped");
    ExitCode::SUCCESS
}

/// One line that says what is served, and where.
fn announce(hub: &RunningHub) {
    let config = hub.config();
    let addrs: Vec<String> = hub.addrs().iter().map(ToString::to_string).collect();
    let addr = hub.addr();
    let role = if config.is_hub { "hub" } else { "server" };
    let hub_id = config.is_hub.then(|| config.mesh.hub_id.to_string());
    tracing::info!(
        addr = %addr,
        addrs = addrs.join(","),
        url = format!("{}://{addr}/ws", if config.tls.is_some() { "wss" } else { "ws" }),
        role,
        hub_id,
        namespace = config.is_hub.then_some(config.mesh.namespace.as_str()),
        public_url = config.mesh.public_url.as_ref().map(ToString::to_string),
        version = env!("CARGO_PKG_VERSION"),
        "hubmesh is serving"
    );
    if !hub.admin_addrs().is_empty() {
        let addrs: Vec<String> = hub.admin_addrs().iter().map(ToString::to_string).collect();
        tracing::info!(
            addrs = addrs.join(","),
            "the pages for operators are served"
        );
    }
    if !hub.nat_ports().is_empty() {
        let ports: Vec<String> = hub.nat_ports().iter().map(ToString::to_string).collect();
        tracing::info!(ports = ports.join(","), "STUN and TURN are served");
    }
    if !config.is_hub && !config.mesh.bootstrap.is_empty() {
        tracing::warn!("BOOTSTRAP_HUBS has no effect: IS_HUB is false");
    }
    if !config.is_hub {
        return;
    }
    if config.mesh.token.is_none() {
        tracing::warn!(
            "the mesh is open: links are taken from loopback and private addresses only; set HUB_TOKEN for hubs elsewhere, and to keep strangers nearby out"
        );
    } else if config.mesh.token == config.auth_token {
        tracing::warn!(
            "AUTH_TOKEN opens the mesh too, so every peer could link up as a hub: set a HUB_TOKEN of its own"
        );
    }
}

/// What a signal asks for.
enum Told {
    /// To end, by the signal of this name.
    Stop(&'static str),
    /// To look at the certificate again.
    Reload,
}

/// The signals that the hub handles.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Handled only by a hub with a certificate: any other ends with its terminal, as usual.
    hangup: Option<Signal>,
}

impl Signals {
    fn new(reloads: bool) -> std::io::Result<Self> {
        let hangup = reloads.then(|| signal(SignalKind::hangup())).transpose()?;
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup,
        })
    }

    /// Waits for the next one.
    async fn next(&mut self) -> Told {
        let hung_up = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Told::Stop("SIGINT"),
            _ = hung_up => Told::Reload,
        }
    }

    /// Waits for the next one that ends the hub; gives its name.
    async fn next_stop(&mut self) -> &'static str {
        loop {
            if let Told::Stop(name) = self.next().await {
                return name;
            }
        }
    }
}
