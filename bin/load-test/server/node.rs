//! The servers on Node that a hub is measured beside: npm packages, installed by a user who wants the comparison.
//!
//! Owns which packages those are and the few lines of JavaScript that start each. Each says [`LINE`] and its address once
//! it listens.

use std::path::Path;

use serde_json::Value;
use tokio::process::Command;

/// What comes before the address in a server's first line.
pub const LINE: &str = "server on ";

/// A server of an npm package.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The package's name.
    package: &'static str,
    /// What starts it.
    text: &'static str,
}

pub const PEER_SERVER: Program = Program {
    package: "peer",
    text: include_str!("peer-server.mjs"),
};

pub const Y_WEBRTC: Program = Program {
    package: "y-webrtc",
    text: include_str!("y-webrtc.mjs"),
};

impl Program {
    /// What starts it in `folder`, for at most so many clients.
    pub fn command(self, folder: &Path, most_clients: &str) -> Command {
        let mut command = Command::new("node");
        command
            .args(["--input-type=module", "--eval", self.text, most_clients])
            .current_dir(folder);
        command
    }

    /// Which version there is in `folder`, or why there is none.
    pub async fn version(self, folder: &Path) -> Result<String, String> {
        let package = folder.join(format!("node_modules/{}/package.json", self.package));
        let version = std::fs::read(&package)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .and_then(|package: Value| Some(package.get("version")?.as_str()?.to_owned()))
            .ok_or_else(|| format!("there is no npm package at {}", package.display()))?;
        let node = Command::new("node").arg("--version").output().await;
        let node = node.map_err(|error| format!("cannot start node: {error}"))?;
        let node = String::from_utf8_lossy(&node.stdout);
        Ok(format!("{version} on Node {}", node.trim()))
    }
}
