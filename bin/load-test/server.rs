//! Servers started for a comparison: the floor, hubs, NATS and those on Node, each a process of its own that ends with its
//! owner.
//!
//! Owns the starting and the finding of addresses. Every server listens on loopback, on a port that the system chose;
//! only for [`Server::meshed_hub`] the caller chooses it. Dropping a [`Server`] kills its process.

pub mod node;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use hubmesh_client::HubUrl;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::Instant;

use crate::connection::{Failure, within};
use crate::target;

/// The longest that a server may take until it serves.
const START_LIMIT: Duration = Duration::from_secs(15);
const FLOOR_LINE: &str = "floor relay on ";
/// How many clients each server lets in.
const MOST_CLIENTS: &str = "100000";

pub struct Server {
    child: Child,
    pub url: HubUrl,
}

impl Server {
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// This program's own floor relay.
    pub async fn floor() -> Result<Self, Failure> {
        let own = std::env::current_exe()?;
        let mut command = Command::new(own);
        command.args(["floor", "--listen", "127.0.0.1:0"]);
        let (child, lines) = start(&mut command)?;
        let address = first(lines, |line| {
            line.strip_prefix(FLOOR_LINE).map(str::to_owned)
        });
        let address = within(START_LIMIT, "for the floor relay to listen", address).await?;
        Self::at(child, &address)
    }

    /// A hub of `binary`, linked to `bootstrap`, if there is one. Its limits are so high that the load does not reach them.
    pub async fn hub(binary: &Path, bootstrap: Option<&HubUrl>) -> Result<Self, Failure> {
        Self::serve(hub_command(binary, 0, bootstrap)).await
    }

    /// Like [`Self::hub`], but at `port`, so that other hubs can dial it; linked to the hub at the port `bootstrap`, if
    /// there is one.
    pub async fn meshed_hub(
        binary: &Path,
        port: u16,
        bootstrap: Option<u16>,
    ) -> Result<Self, Failure> {
        let url = |port: u16| target::parse(&format!("ws://127.0.0.1:{port}"));
        let bootstrap = bootstrap.map(url).transpose().map_err(Failure::Other)?;
        let mut command = hub_command(binary, port, bootstrap.as_ref());
        command.env("PUBLIC_URL", format!("ws://127.0.0.1:{port}"));
        Self::serve(command).await
    }

    async fn serve(mut command: Command) -> Result<Self, Failure> {
        let (child, lines) = start(&mut command)?;
        let address = within(START_LIMIT, "for a hub to serve", first(lines, hub_address)).await?;
        Self::at(child, &address)
    }

    /// Ends the process at once, without a word.
    pub fn kill(&mut self) -> Result<(), Failure> {
        Ok(self.child.start_kill()?)
    }

    /// Waits until the process has ended.
    pub async fn ended(&mut self) -> Result<(), Failure> {
        self.child.wait().await?;
        Ok(())
    }

    /// A NATS server with a port for a cluster, and the route to another's.
    pub async fn nats(cluster_port: u16, route: Option<u16>) -> Result<Self, Failure> {
        let port = free_port()?;
        let mut command = Command::new("nats-server");
        command
            .args(["-a", "127.0.0.1", "-p", &port.to_string()])
            .args(["--cluster_name", "load-test", "--cluster"])
            .arg(format!("nats://127.0.0.1:{cluster_port}"))
            .stderr(Stdio::null());
        if let Some(route) = route {
            command.args(["--routes", &format!("nats://127.0.0.1:{route}")]);
        }
        // It writes only to stderr: nothing has to be read from its stdout.
        let (child, _lines) = start(&mut command)?;
        within(START_LIMIT, "for nats-server to listen", listening(port)).await?;
        Self::at(child, &format!("127.0.0.1:{port}"))
    }

    /// A server on Node, of the npm package in the `node_modules` of `folder`.
    pub async fn on_node(folder: &Path, program: node::Program) -> Result<Self, Failure> {
        let (child, lines) = start(&mut program.command(folder, MOST_CLIENTS))?;
        let address = first(lines, |line| {
            line.strip_prefix(node::LINE).map(str::to_owned)
        });
        let address = within(START_LIMIT, "for a server on Node to listen", address).await?;
        Self::at(child, &address)
    }

    fn at(child: Child, address: &str) -> Result<Self, Failure> {
        let url = target::parse(address).map_err(Failure::Other)?;
        Ok(Self { child, url })
    }
}

fn hub_command(binary: &Path, port: u16, bootstrap: Option<&HubUrl>) -> Command {
    let mut command = Command::new(binary);
    command
        .env("HOST", "127.0.0.1")
        .env("PORT", port.to_string())
        .env("LOG_FORMAT", "json")
        .env("RUST_LOG", "info")
        .env("RATE_LIMIT_PER_SEC", "0")
        .env("MAX_CONNECTIONS", MOST_CLIENTS)
        .env("PEERJS_CONCURRENT_LIMIT", MOST_CLIENTS)
        .env_remove("AUTH_TOKEN")
        .env_remove("HUB_TOKEN")
        .env_remove("BOOTSTRAP_HUBS")
        .env_remove("PUBLIC_URL")
        .env_remove("PEERJS_KEY")
        .env_remove("PEERJS_PATH")
        .env_remove("PEERJS_ROOMS")
        // Clients of rooms make a room of each pair, or of each four of them.
        .env("MAX_ROOMS", MOST_CLIENTS);
    if let Some(bootstrap) = bootstrap {
        command.env("BOOTSTRAP_HUBS", bootstrap.to_string());
    }
    command
}

/// Whether there is a `nats-server` to compare with.
pub fn nats_is_installed() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder: PathBuf| folder.join("nats-server").is_file())
}

/// A port that was free a moment ago.
pub fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn start(command: &mut Command) -> Result<(Child, Lines<BufReader<ChildStdout>>), Failure> {
    let program = command.as_std().get_program().to_owned();
    let cannot = |error| Failure::Other(format!("cannot start {}: {error}", program.display()));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(cannot)?;
    let stdout = child.stdout.take();
    let stdout = stdout.ok_or_else(|| Failure::Other("a server without output".to_owned()))?;
    Ok((child, BufReader::new(stdout).lines()))
}

/// The first thing that `wanted` finds in a line. The rest of the output is read and dropped, lest the server block.
async fn first(
    mut lines: Lines<BufReader<ChildStdout>>,
    wanted: impl Fn(&str) -> Option<String>,
) -> Result<String, Failure> {
    while let Some(line) = lines.next_line().await? {
        if let Some(found) = wanted(&line) {
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(found);
        }
    }
    Err(Failure::Other("a server ended before it served".to_owned()))
}

/// The address in the line that a hub logs once it serves; `None` if this is another line.
fn hub_address(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    Some(line.get("fields")?.get("addr")?.as_str()?.to_owned())
}

async fn listening(port: u16) -> Result<(), Failure> {
    let mut attempts = tokio::time::interval(Duration::from_millis(20));
    let began = Instant::now();
    loop {
        attempts.tick().await;
        match tokio::net::TcpStream::connect(("127.0.0.1", port)).await {
            Ok(_) => return Ok(()),
            Err(error) if began.elapsed() > START_LIMIT => return Err(error.into()),
            Err(_) => {}
        }
    }
}
