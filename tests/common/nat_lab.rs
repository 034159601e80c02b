//! A small internet in network namespaces: two hubs on it, and two homes behind NATs of a kind that the test chooses.
//!
//! `nat-lab.sh` builds it, as root or in a user namespace. If the machine allows neither, a test prints one line and is
//! skipped. Each test has namespaces with names of its own, which are removed when the value is dropped. Use it with
//! `#[path = "../common/nat_lab.rs"] mod nat_lab;` beside `mod hub_process;`.
#![allow(dead_code, reason = "every test binary uses a part of its own")]

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::hub_process::{LIMIT, binary, eventually, prints};

/// The kinds of NAT, as the script calls them, from open to closed.
pub const KINDS: [&str; 6] = [
    "none",
    "full-cone",
    "restricted",
    "port-restricted",
    "symmetric",
    "udp-blocked",
];

const PEER: &str = env!("CARGO_BIN_EXE_peer-client");
const SECRET: &str = "of-the-lab";

/// The address of the first hub. Each of the two hubs names the STUN and TURN servers of both.
pub const HUB: &str = "ws://198.51.100.1:8080";
/// The address of the second hub, on a machine of its own.
pub const OTHER_HUB: &str = "ws://198.51.100.21:8080";

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/nat-lab.sh")
}

/// Whether this process may build the lab. If it is not root, it runs the same test again as the root of a user
/// namespace, and this run of the test is over.
async fn is_here(test: &str) -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    let mut probe = Command::new("unshare");
    probe.args(["-Urnm", "true"]).stderr(Stdio::null());
    if !probe.status().await.is_ok_and(|status| status.success()) {
        println!("skipped: not root, and user namespaces are not allowed");
        return false;
    }
    let mut again = Command::new("unshare");
    again
        .args(["-Urnm", "--propagation", "private", "bash", "-c"])
        .args(["mount -t tmpfs tmpfs /run && exec \"$@\"", "-"])
        .arg(std::env::current_exe().expect("a test has a path"))
        .args(["--exact", "--nocapture", test])
        .kill_on_drop(true);
    let output = again.output().await.expect("unshare starts");
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(output.status.success(), "in a user namespace: {output:?}");
    assert!(said.contains("1 passed"), "no test is called {test}");
    false
}

/// The lab with two hubs that know each other, if this process can build it: see [`is_here`].
pub async fn lab(test: &str) -> Option<Lab> {
    if !is_here(test).await {
        return None;
    }
    Lab::start().await
}

/// The lab without hubs.
pub async fn bare_lab(test: &str) -> Option<Lab> {
    if !is_here(test).await {
        return None;
    }
    Lab::bare().await
}

/// The lab. When it is dropped, its processes end and its namespaces are removed.
pub struct Lab {
    prefix: String,
    servers: Vec<Child>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        let mut down = std::process::Command::new(script());
        // If this fails, the namespaces stay until the machine starts again.
        let _ = down.arg("down").env("NATLAB", &self.prefix).status();
    }
}

impl Lab {
    /// Builds the lab with two hubs that know each other.
    async fn start() -> Option<Self> {
        let mut lab = Self::bare().await?;
        let first = [("HOST", "198.51.100.1")].as_slice();
        let second = [("HOST", "198.51.100.21"), ("BOOTSTRAP_HUBS", HUB)].as_slice();
        for (node, own) in [("hub", first), ("o", second)] {
            let more = [
                ("STUN_PORT", "3478"),
                ("TURN_PORT", "3478"),
                ("TURN_SECRET", SECRET),
            ];
            lab.hub(node, &[own, &more].concat()).await;
        }
        for hub in [HUB, OTHER_HUB] {
            eventually("each hub names the servers of both", async || {
                let found = lab.detected("hub", &["--hub", hub]).await;
                let answered = found["nat"]["answered"].as_array().expect("a list");
                let by = |host: &str| {
                    let mut all = answered.iter().filter_map(Value::as_str);
                    all.any(|server| server.starts_with(host))
                };
                by("198.51.100.1:") && by("198.51.100.21:")
            })
            .await;
        }
        Some(lab)
    }

    /// Builds the lab without hubs.
    async fn bare() -> Option<Self> {
        let prefix = format!("hm{}", std::process::id());
        let mut up = Command::new(script());
        up.arg("up").env("NATLAB", &prefix);
        let output = output(up).await;
        if output.status.code() == Some(77) {
            println!(
                "skipped: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
            return None;
        }
        assert!(output.status.success(), "{output:?}");
        Some(Lab {
            prefix,
            servers: Vec::new(),
        })
    }

    /// Starts a hub on a node and waits until it serves.
    pub async fn hub(&mut self, node: &str, settings: &[(&str, &str)]) {
        let mut command = self.command(node, binary());
        command
            .envs([
                ("PORT", "8080"),
                ("LOG_FORMAT", "json"),
                ("HUB_TOKEN", "of-the-hubs"),
                ("CONNECTS_PER_MINUTE_PER_IP", "100000"),
            ])
            .envs(settings.iter().copied());
        self.serve(command, "hubmesh is serving").await;
    }

    /// Starts a program that runs until the lab is dropped, and waits until it prints `ready`.
    pub async fn serve(&mut self, mut command: Command, ready: &'static str) {
        let mut server = command.stdout(Stdio::piped()).spawn().expect("it starts");
        prints(&mut server, ready).await;
        self.servers.push(server);
    }

    /// The prefix of the names of the lab's namespaces.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Gives a home another NAT.
    pub async fn nat(&self, home: &str, kind: &str) {
        let mut nat = Command::new(script());
        nat.args(["nat", home, kind]).env("NATLAB", &self.prefix);
        let output = output(nat).await;
        assert!(output.status.success(), "{output:?}");
    }

    /// Makes the NATs of both homes forget a UDP mapping that is silent for this many seconds.
    pub async fn forget_after(&self, seconds: u8) {
        for home in ["nata", "natb"] {
            for name in ["udp_timeout", "udp_timeout_stream"] {
                let value = format!("net.netfilter.nf_conntrack_{name}={seconds}");
                let mut sysctl = self.command(home, "sysctl");
                sysctl.args(["-qw", &value]);
                let output = output(sysctl).await;
                assert!(output.status.success(), "{output:?}");
            }
        }
    }

    /// A program on a node, without the environment of this process, except for the variables that tests keep.
    pub fn command(&self, node: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &format!("{}-{node}", self.prefix)])
            .arg(program)
            .env_clear()
            .stdin(Stdio::null())
            .kill_on_drop(true);
        for kept in ["PATH", "LLVM_PROFILE_FILE", "RUST_BACKTRACE"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        command
    }

    /// A `peer-client` in a home.
    pub fn peer(&self, home: &str, arguments: &[&str]) -> Command {
        let mut command = self.command(home, PEER);
        command
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// The output of `peer-client nat --json` in a home.
    pub async fn detected(&self, home: &str, more: &[&str]) -> Value {
        let arguments = [&["nat", "--json"], more].concat();
        let output = output(self.peer(home, &arguments)).await;
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

pub async fn output(mut command: Command) -> Output {
    let output = timeout(3 * LIMIT, command.output()).await;
    output.expect("it ends in time").expect("it starts")
}
