//! A real hub as a process, for clients in a browser: started, linked, stopped, and started again at its address.
//!
//! Knows nothing of the stories that are played on the hub. Invariant: dropping a hub kills it.

use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use crate::node::lines_of;

const SERVES_WITHIN: Duration = Duration::from_secs(15);

/// A real hub on 127.0.0.1.
pub struct Hub {
    settings: Vec<(String, String)>,
    address: String,
    process: Child,
    log: Receiver<String>,
}

impl Hub {
    pub fn start(settings: &[(&str, &str)]) -> Self {
        let mut all = vec![("PORT".to_owned(), "0".to_owned())];
        all.extend(
            settings
                .iter()
                .map(|&(name, value)| (name.to_owned(), value.to_owned())),
        );
        Self::launch(all)
    }

    pub fn start_linked(other: &Self, settings: &[(&str, &str)]) -> Self {
        let bootstrap = format!("ws://{}", other.address);
        let mut all = vec![("BOOTSTRAP_HUBS", bootstrap.as_str())];
        all.extend(settings);
        Self::start(&all)
    }

    fn launch(settings: Vec<(String, String)>) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_hubmesh"))
            .env_clear()
            .envs([
                ("HOST", "127.0.0.1"),
                ("IS_HUB", "true"),
                ("LOG_FORMAT", "json"),
            ])
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the hub's binary runs");
        let log = lines_of(process.stdout.take().expect("its output is piped"));
        let mut hub = Self {
            settings,
            address: String::new(),
            process,
            log,
        };
        hub.address = hub.wait_until_it_serves();
        hub
    }

    fn wait_until_it_serves(&self) -> String {
        let deadline = Instant::now() + SERVES_WITHIN;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self
                .log
                .recv_timeout(left)
                .expect("the hub says that it is serving");
            let entry: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if entry["message"] == "hubmesh is serving" {
                return entry["fields"]["addr"]
                    .as_str()
                    .expect("it names its address")
                    .to_owned();
            }
        }
    }

    /// Two hubs of one mesh, with these settings.
    pub fn two_linked(settings: &[(&str, &str)]) -> Vec<Self> {
        let first = Self::start(settings);
        let second = Self::start_linked(&first, settings);
        vec![first, second]
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The URL of a page of the hub; `path` begins and ends with a slash.
    pub fn page(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The URL for native clients: the bare address, or the long form with a token if the hub asks for one.
    pub fn url(&self) -> String {
        match self.settings.iter().find(|(name, _)| name == "AUTH_TOKEN") {
            None => format!("ws://{}", self.address),
            Some((_, token)) => {
                let base = format!("ws://{}/ws", self.address);
                url::Url::parse_with_params(&base, [("token", token)])
                    .expect("a URL")
                    .to_string()
            }
        }
    }

    pub fn stop(&mut self) {
        // The process may have ended by itself. In both cases it has ended afterwards.
        let _ = self.process.kill();
        self.process.wait().expect("a killed hub ends");
    }

    /// Starts the hub again at the address that its clients know.
    pub fn restart(&mut self) {
        self.stop();
        let port = self
            .address
            .rsplit(':')
            .next()
            .expect("an address has a port")
            .to_owned();
        let mut settings = self.settings.clone();
        settings.retain(|(name, _)| name != "PORT");
        settings.push(("PORT".to_owned(), port));
        *self = Self::launch(settings);
    }

    /// Stops the hub and prints its log.
    pub fn tell_its_log(&mut self) {
        self.stop();
        println!("--- the log of {}", self.address);
        self.log.iter().for_each(|line| println!("{line}"));
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.stop();
    }
}
