//! Debian's coturn: its server, started as operators start it, and its test client.

use std::net::Ipv4Addr;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::hub_process::{LIMIT, prints};
use crate::installed::program;

/// A loopback address that no other test on this machine uses. It is made from the process id, because each test runs
/// in its own process.
pub fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Ipv4Addr::new(127, high.wrapping_add(number << 6) | 1, low, number)
}

/// coturn's server with a secret for time-limited credentials. It ends when this is dropped.
pub struct Coturn {
    pub address: Ipv4Addr,
    _child: Child,
    _directory: TempDir,
}

impl Coturn {
    pub const PORT: u16 = 3478;

    pub async fn start(secret: &str) -> Option<Self> {
        let turnserver = program("turnserver")?;
        let directory = tempfile::tempdir().expect("a directory");
        let address = own_address();
        let mut command = Command::new(turnserver);
        let ip = address.to_string();
        command
            .current_dir(&directory)
            .args([
                "-n",
                "-L",
                &ip,
                "-E",
                &ip,
                "--use-auth-secret",
                "--static-auth-secret",
                secret,
            ])
            .args([
                "--realm",
                "test",
                "--allow-loopback-peers",
                "--no-cli",
                "--no-tls",
                "--no-dtls",
            ])
            .args([
                "--log-file",
                "stdout",
                "--pidfile",
                "pid",
                "--userdb",
                "db",
                "--verbose",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().expect("coturn starts");
        prints(&mut child, "Total General servers").await;
        Some(Coturn {
            address,
            _child: child,
            _directory: directory,
        })
    }
}

/// The output of coturn's test client with these arguments; `None` if coturn is not installed.
pub async fn uclient(arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new(program("turnutils_uclient")?);
    command.args(arguments).kill_on_drop(true);
    let output = timeout(LIMIT, command.output()).await;
    Some(output.expect("it ends in time").expect("it starts"))
}
