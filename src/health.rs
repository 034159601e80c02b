//! `hubmesh --healthcheck`: asks the hub that runs with this environment how it is, for Docker and for scripts.
//!
//! Part of the binary alone. Speaks just enough HTTP, without a runtime, so that the check takes next to nothing.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use hubmesh::config::Config;

/// For each step of the check.
const TIMEOUT: Duration = Duration::from_secs(3);
/// `HTTP/1.1 200` is all that is read of the answer.
const STATUS_BYTES: usize = 12;

/// Succeeds if `/health` answers 200; says on standard error why it does not.
pub(crate) fn check(config: &Config) -> ExitCode {
    let host = reachable(&config.host);
    match status(host, config.port) {
        Ok(status) if status.ends_with(" 200") => ExitCode::SUCCESS,
        Ok(status) => {
            eprintln!("hubmesh: {host} port {} answers {status:?}", config.port);
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("hubmesh: {host} port {}: {error}", config.port);
            ExitCode::FAILURE
        }
    }
}

/// Where a hub that listens on `host` is reached from its own machine.
fn reachable(host: &str) -> &str {
    match host {
        "localhost" | "0.0.0.0" | "::" => "127.0.0.1",
        other => other,
    }
}

fn status(host: &str, port: u16) -> io::Result<String> {
    let addr = (host, port)
        .to_socket_addrs()?
        .next()
        .ok_or(io::ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect_timeout(&addr, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = [0; STATUS_BYTES];
    stream.read_exact(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
