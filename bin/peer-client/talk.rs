//! The conversation: announces, prints what happens, carries out what is typed, and decides how it ended.
//!
//! Owns the client and the list of discovered peers. Invariant: however it ends, short of the connection being gone,
//! the hub is told `goodbye` and the socket is closed properly. Called once, by `main`.

use std::{collections::BTreeMap, future::pending, io, time::Duration};

use hubmesh_cli::Exit;
use hubmesh_client::{Client, Event, SendError, SignalKind};
use serde_json::{json, value::RawValue};
use tokio::{sync::mpsc, time::timeout};

use crate::{
    Arguments,
    command::{self, Command},
    output::Output,
    typing,
};

/// How long to wait for the hub's greeting; a hub that does not greet is used all the same.
const GREETING_WAIT: Duration = Duration::from_secs(2);

/// The typed lines.
type Typed = mpsc::Receiver<io::Result<String>>;

pub struct Talk {
    client: Client,
    output: Output,
    arguments: Arguments,
    /// Id → announced data of the peers that are there now.
    peers: BTreeMap<String, String>,
}

/// Why the conversation stops before its time.
enum Stop {
    /// Leave, saying goodbye.
    Leave(Exit),
    /// The connection is gone already.
    Gone(Exit),
}

impl From<SendError> for Stop {
    fn from(error: SendError) -> Self {
        eprintln!("peer-client: {error}");
        Self::Gone(Exit::Unreachable)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::Leave(Exit::Ok);
        }
        eprintln!("peer-client: cannot print: {error}");
        Self::Leave(Exit::Failed)
    }
}

impl Talk {
    pub fn new(client: Client, output: Output, arguments: Arguments) -> Self {
        Self {
            client,
            output,
            arguments,
            peers: BTreeMap::new(),
        }
    }

    /// Talks until `patience` is over, the user stops it, or the offer of `--send` is settled.
    pub async fn run(mut self, interactive: bool, patience: Option<Duration>) -> Exit {
        let mut typed = match interactive.then(typing::lines).transpose() {
            Ok(typed) => typed,
            Err(error) => {
                eprintln!("peer-client: no commands are read: {error}");
                None
            }
        };
        let over = async {
            match patience {
                Some(patience) => tokio::time::sleep(patience).await,
                None => pending().await,
            }
        };
        let stop = tokio::select! {
            biased;
            _ = interrupted() => Stop::Leave(Exit::Ok),
            stop = self.converse(&mut typed) => stop,
            () = over => Stop::Leave(self.time_is_up()),
        };
        match stop {
            Stop::Leave(exit) => {
                self.client.close().await;
                exit
            }
            Stop::Gone(exit) => exit,
        }
    }

    fn time_is_up(&self) -> Exit {
        match &self.arguments.send {
            Some(peer) => {
                eprintln!("peer-client: no answer from {peer} in time");
                Exit::NoAnswer
            }
            None => Exit::Ok,
        }
    }

    async fn converse(&mut self, typed: &mut Option<Typed>) -> Stop {
        if let Err(stop) = self.open().await {
            return stop;
        }
        loop {
            let done = tokio::select! {
                event = self.client.next_event() => self.on_event(event).await,
                line = next_line(typed) => self.on_line(line).await,
            };
            if let Err(stop) = done {
                return stop;
            }
        }
    }

    async fn open(&mut self) -> Result<(), Stop> {
        // A peer that is refused after the upgrade is told so instead of a greeting.
        if let Ok(first) = timeout(GREETING_WAIT, self.client.next_event()).await {
            self.on_event(first).await?;
        }
        let network = self.arguments.network.clone();
        self.announce(&network).await?;
        if let Some(peer) = self.arguments.send.clone() {
            let text = format!("hello from {}", self.arguments.name);
            self.send_text(peer.as_str(), &text).await?;
        }
        Ok(())
    }

    async fn announce(&mut self, network: &str) -> Result<(), Stop> {
        let data = json!({"name": self.arguments.name});
        self.client.announce(network, &data).await?;
        self.output.announced(self.client.id().as_str(), network)?;
        Ok(())
    }

    async fn send_text(&mut self, to: &str, text: &str) -> Result<(), Stop> {
        let data = raw(json!({"type": "offer", "text": text}));
        self.signal(SignalKind::Offer, to, &data).await
    }

    async fn signal(&mut self, kind: SignalKind, to: &str, data: &RawValue) -> Result<(), Stop> {
        self.client.signal(kind, to, data).await?;
        self.output.sent(kind.as_str(), to)?;
        Ok(())
    }

    async fn on_event(&mut self, event: Event) -> Result<(), Stop> {
        self.output.event(&event)?;
        match event {
            Event::Discovered { id, data, .. } => {
                self.peers.insert(id, data.get().to_owned());
            }
            Event::Disconnected { id, .. } => {
                self.peers.remove(&id);
            }
            Event::Signal { kind, from, .. } => return self.on_signal(kind, &from).await,
            Event::Error { error, text } => return self.on_error(&error, &text),
            Event::Closed { code, .. } => return Err(Stop::Gone(closed_with(code))),
            Event::Connected { .. } | Event::Goodbye { .. } | Event::Pong | Event::Other { .. } => {
            }
        }
        Ok(())
    }

    /// An error that names the peer of `--send` is about the offer; after any other an answer may still come.
    fn on_error(&self, error: &str, text: &str) -> Result<(), Stop> {
        match &self.arguments.send {
            Some(peer) if text.contains(peer.as_str()) => {
                eprintln!("peer-client: the hub could not deliver to {peer}: {error}");
                Err(Stop::Leave(Exit::UnknownPeer))
            }
            _ => Ok(()),
        }
    }

    async fn on_signal(&mut self, kind: SignalKind, from: &str) -> Result<(), Stop> {
        let awaited = self.arguments.send.as_ref().map(AsRef::as_ref) == Some(from);
        if kind == SignalKind::Answer && awaited {
            return Err(Stop::Leave(Exit::Ok));
        }
        if kind == SignalKind::Offer && self.arguments.answer {
            let text = format!("{} heard you", self.arguments.name);
            let data = raw(json!({"type": "answer", "text": text}));
            return self.signal(SignalKind::Answer, from, &data).await;
        }
        Ok(())
    }

    async fn on_line(&mut self, line: io::Result<Option<String>>) -> Result<(), Stop> {
        let line = match line {
            Ok(Some(line)) => line,
            Ok(None) => return Err(Stop::Leave(Exit::Ok)),
            Err(error) => {
                eprintln!("peer-client: cannot read what is typed: {error}");
                return Err(Stop::Leave(Exit::Failed));
            }
        };
        match command::read(&line) {
            Ok(command) => self.carry_out(command).await,
            Err(wrong) => {
                eprintln!("{wrong}");
                Ok(())
            }
        }
    }

    async fn carry_out(&mut self, command: Command) -> Result<(), Stop> {
        match command {
            Command::Nothing => {}
            Command::Help => self.output.note(command::HELP)?,
            Command::Peers => self.list_peers()?,
            Command::Ping => self.client.ping().await?,
            Command::Quit => return Err(Stop::Leave(Exit::Ok)),
            Command::Network(network) => {
                self.peers.clear();
                self.announce(&network).await?;
            }
            Command::Send { to, text } => {
                if let Some(to) = self.whole_id(&to) {
                    self.send_text(&to, &text).await?;
                }
            }
            Command::Signal { kind, to, data } => {
                if let Some(to) = self.whole_id(&to) {
                    self.signal(kind, &to, &data).await?;
                }
            }
        }
        Ok(())
    }

    fn list_peers(&self) -> io::Result<()> {
        if self.peers.is_empty() {
            return self.output.note("nobody yet");
        }
        for (id, data) in &self.peers {
            self.output.note(&format!("{id} {data}"))?;
        }
        Ok(())
    }

    /// The id that is meant: a whole id as it is, else the only discovered one that begins with the typed text.
    fn whole_id(&self, typed: &str) -> Option<String> {
        if typed.parse::<hubmesh_client::PeerId>().is_ok() {
            return Some(typed.to_owned());
        }
        let mut meant = self.peers.keys().filter(|id| id.starts_with(typed));
        match (meant.next(), meant.next()) {
            (Some(id), None) => Some(id.clone()),
            (None, _) => {
                eprintln!("no peer here has an id that begins with {typed}");
                None
            }
            (Some(_), Some(_)) => {
                eprintln!("several ids begin with {typed}; type more of it");
                None
            }
        }
    }
}

/// Ends with Ctrl-C or SIGTERM.
pub async fn interrupted() {
    use tokio::signal::unix::{SignalKind as Unix, signal};
    match signal(Unix::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(error) => {
            eprintln!("peer-client: cannot listen for signals: {error}");
            pending().await
        }
    }
}

/// The next line typed; never, for a peer that is not interactive.
async fn next_line(typed: &mut Option<Typed>) -> io::Result<Option<String>> {
    match typed {
        Some(lines) => lines.recv().await.transpose(),
        None => pending().await,
    }
}

fn closed_with(code: u16) -> Exit {
    match code {
        // Policy: the id is taken, or the hub refuses this peer for good.
        1008 => Exit::Refused,
        // Going away, gone without a word, restarting, try again later.
        1001 | 1006 | 1012 | 1013 => Exit::Unreachable,
        _ => Exit::Failed,
    }
}

fn raw(value: serde_json::Value) -> Box<RawValue> {
    // A `Value` is JSON by construction.
    RawValue::from_string(value.to_string()).unwrap_or_default()
}
