//! The environment of the daemon, checked as a whole before anything binds.
//!
//! [`Config`] holds only valid values: every number is within its bounds, every address is parsed, every relation
//! between two settings holds. Code with a `Config` need not check again. Nothing outside this module reads the
//! environment. This module opens no socket, and no file but the one that `JWT_PUBLIC_KEY` may name. `main` calls it
//! first, and exits with 64 if it refuses.

mod admin;
mod log_filter;
mod memory;
mod nat;
mod origins;
mod peer_limits;
mod policies;
mod proxies;
mod read;
mod relations;
mod settings;
mod types;
mod variables;

use std::ffi::OsString;
use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use crate::auth::Secret;
use crate::auth::jwt::Jwt;

pub use admin::{AdminAddr, AdminSettings, WebhookSettings};
use hubmesh_core::RoomsConfig;
use hubmesh_core::ids::HubId;
use hubmesh_core::policy::Policies;
pub use memory::MemoryThresholds;
pub use nat::{IceUrl, NatSettings, StunSettings, TurnSettings};
pub use origins::{CorsOrigins, Origin};
pub use peer_limits::PeerLimits;
pub use proxies::TrustedProxies;
pub use settings::{SETTINGS, Setting, settings_table};
pub use types::{BootstrapHub, DuplicatePeer, HubUrl, LogFormat, PeerJsKeys, PeerJsPaths};

use read::Reader;
pub(crate) use relations::ROSTER_ENVELOPE_BYTES;
use relations::{
    check_data_within_message, check_message_budget, check_outbox, check_ports, check_room_bytes,
    check_room_members,
};
use settings::Raw;
use variables::Variables;

/// Everything that can be set, in force from start to exit.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address or name to listen on.
    pub host: String,
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
    /// The second port with the same routes.
    pub signaling_port: Option<u16>,
    /// The certificate of `port`; `None` is plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Whether this is a hub, or a lone server without `/mesh`.
    pub is_hub: bool,
    /// Pages that may use this hub.
    pub cors: CorsOrigins,
    /// Whether the page at `/` has a demo.
    pub demo: bool,
    /// What peers must show.
    pub auth_token: Option<Secret>,
    /// The check of JWTs, which peers may show instead.
    pub jwt: Option<Jwt>,
    /// Who may see the operators' pages.
    pub admin: AdminSettings,
    /// Peers connected at once.
    pub max_connections: usize,
    /// Proxies whose word about the client's address is believed.
    pub trusted_proxies: TrustedProxies,
    /// Peers connected at once from one address; `None` is no limit.
    pub max_connections_per_ip: Option<usize>,
    /// Upgrade requests of peers from one address in a minute; `None` is no limit.
    pub connects_per_minute_per_ip: Option<NonZeroU32>,
    /// TCP connections that are not peers.
    pub max_http_connections: usize,
    /// Clients at once that have yet to show their token.
    pub max_unproven_clients: usize,
    /// TLS handshakes at once.
    pub max_tls_handshakes: usize,
    /// From a TCP connection to its whole request head, and from the 101 to the WebSocket.
    pub header_timeout: Duration,
    /// Between two rounds of housekeeping.
    pub cleanup_interval: Duration,
    /// After this time a hub is ready even if it did not get into the mesh.
    pub ready_timeout: Duration,
    /// The pause between the end of `/ready` and the rest of a drain, if a proxy asks for `/ready`.
    pub drain_pause: Duration,
    /// The time over which peers are sent away at the end.
    pub drain: Duration,
    /// What a single peer may do and cost.
    pub peer: PeerLimits,
    /// What holds for the networks of each dialect.
    pub policies: Policies,
    /// The bounds on rooms.
    pub rooms: RoomsConfig,
    /// The amounts of memory from which rooms end, and from which no newcomer is let in.
    pub memory: MemoryThresholds,
    /// How PeerJS clients are served.
    pub peerjs: PeerJsSettings,
    /// How clients find their way through NATs.
    pub nat: NatSettings,
    /// How this hub meets others.
    pub mesh: MeshSettings,
    /// How log lines look.
    pub log_format: LogFormat,
    /// What is logged, as `tracing` directives. They were checked.
    pub log_filter: String,
    /// Threads that serve peers; 1 is the current-thread runtime.
    pub worker_threads: usize,
    /// The application's name at its host, for the statistics.
    pub app_name: Option<String>,
    /// Settings that can be used but may be mistakes.
    pub cautions: Vec<Caution>,
}

/// Where the hub's certificate and its key are. The contents of the files are not known here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFiles {
    /// The certificate chain, as PEM.
    pub cert: PathBuf,
    /// The private key of its first certificate, as PEM.
    pub key: PathBuf,
}

/// How PeerJS clients are served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerJsSettings {
    /// The paths under which they are served.
    pub paths: PeerJsPaths,
    /// Which realms there are.
    pub keys: PeerJsKeys,
    /// Whether the ids of a realm may be listed.
    pub allow_discovery: bool,
    /// The most ids in one such list.
    pub discovery_limit: usize,
    /// Clients connected at once.
    pub concurrent_limit: usize,
    /// Whether a client's token names a room.
    pub rooms: bool,
}

impl PeerJsSettings {
    /// Whether they are served at all.
    pub fn is_served(&self) -> bool {
        self.paths.iter().next().is_some()
    }
}

/// How this hub meets others.
#[derive(Clone, Debug)]
pub struct MeshSettings {
    /// This hub's id: set, or random at this start.
    pub hub_id: HubId,
    /// Whether the id is random.
    pub random_id: bool,
    /// The mesh it belongs to.
    pub namespace: String,
    /// The token that all hubs of the mesh share; `None` is an open mesh.
    pub token: Option<Secret>,
    /// Hubs to link to in any case.
    pub bootstrap: Vec<BootstrapHub>,
    /// Where others reach this hub.
    pub public_url: Option<HubUrl>,
    /// Whether to link to hubs that other hubs tell of.
    pub auto_connect: bool,
    /// For how long the peers of an unreachable hub stay visible.
    pub hold: Duration,
    /// Claims of one other hub that are kept.
    pub claims_per_hub: usize,
    /// Bytes of data of one other hub's peers that are kept.
    pub data_per_hub: usize,
    /// Peers in the mesh up to which every hub keeps all of them.
    pub full_directory_peers: usize,
    /// Peers of a network that a newcomer is told of.
    pub discovery_limit: usize,
    /// What happens to a second connection with a living peer's id.
    pub duplicate_peer: DuplicatePeer,
    /// Where this hub runs; empty if unknown.
    pub region: String,
    /// How signals wait for targets that nobody holds.
    pub wait: SignalWait,
}

/// How signals wait for targets that nobody holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignalWait {
    /// For how long; zero: not at all.
    pub time: Duration,
    /// The most signals of one sender.
    pub per_sender: usize,
    /// The most signals for one target.
    pub per_target: usize,
    /// The most signals of all senders together.
    pub total: usize,
}

/// One variable that cannot be used, and what would be allowed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The variable.
    pub name: String,
    /// What is wrong with it, and what is allowed.
    pub text: String,
}

/// One variable that may not do what the operator meant. The hub starts all the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caution {
    /// The variable.
    pub name: String,
    /// What the operator should know.
    pub text: String,
}

impl fmt::Display for Caution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.text)
    }
}

/// The environment cannot be used: all its problems, in the order of the settings.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
    /// Cautions: one of them may be the cause of a problem.
    pub cautions: Vec<Caution>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration cannot be used:")?;
        for problem in &self.problems {
            write!(f, "\n  {}: {}", problem.name, problem.text)?;
        }
        for caution in &self.cautions {
            write!(f, "\n  {caution}")?;
        }
        Ok(())
    }
}

impl Config {
    /// The configuration of this process's environment.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_os_vars(std::env::vars_os())
    }

    /// The configuration of these variables. If a name occurs twice, the later one counts. A variable that is not a
    /// setting has no effect, but causes a caution if it looks like one.
    pub fn from_vars<N: Into<String>, V: Into<String>>(
        vars: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, ConfigError> {
        let vars = vars
            .into_iter()
            .map(|(name, value)| (OsString::from(name.into()), OsString::from(value.into())));
        Self::from_os_vars(vars)
    }

    fn from_os_vars(
        vars: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let Variables {
            known,
            mut problems,
            mut cautions,
        } = Variables::sort(vars);
        let raw: Raw = match envy::from_iter(known) {
            Ok(raw) => raw,
            Err(error) => {
                let name = String::from("environment");
                problems.push(Problem {
                    name,
                    text: error.to_string(),
                });
                return Err(ConfigError { problems, cautions });
            }
        };
        let mut reader = Reader::new(raw.into_texts());
        let config = read_config(&mut reader);
        problems.extend(reader.finish());
        problems.sort_by_key(|problem| place_of(&problem.name));
        match config {
            Some(config) if problems.is_empty() => {
                cautions.extend(hard_to_show(config.auth_token.as_ref()));
                let open = config.auth_token.is_none() && config.jwt.is_none();
                cautions.extend(config.nat.cautions(open));
                cautions.extend(config.admin.caution());
                Ok(Config { cautions, ..config })
            }
            _ => Err(ConfigError { problems, cautions }),
        }
    }

    /// TCP connections that are no peers, at all listeners.
    pub fn http_connections(&self) -> usize {
        let listeners = if self.admin.addr.is_some() { 2 } else { 1 };
        listeners * self.max_http_connections
    }

    /// All that can be set: name, default and meaning.
    pub fn settings() -> &'static [Setting] {
        SETTINGS
    }
}

/// The characters of a token that an address cannot carry unencoded.
fn hard_to_show(token: Option<&Secret>) -> Option<Caution> {
    let token = token?.expose();
    let lost: Vec<String> = ['&', '#', '%']
        .into_iter()
        .filter(|odd| token.contains(*odd))
        .map(|odd| format!("`{odd}`"))
        .collect();
    let name = String::from("AUTH_TOKEN");
    let text = format!(
        "has {}, which clients can show as ?token= only encoded, and PeerJS clients encode nothing: use letters, \
         digits and -._~+/=",
        lost.join(" and ")
    );
    (!lost.is_empty()).then_some(Caution { name, text })
}

/// The place of a setting in the list.
fn place_of(name: &str) -> Option<usize> {
    SETTINGS.iter().position(|setting| setting.name() == name)
}

/// Reads every setting, good or bad, so that all problems come to light; `None` if one has no usable value.
fn read_config(reader: &mut Reader) -> Option<Config> {
    let host = reader.host("HOST");
    let port = reader.number("PORT", 0..=65_535);
    let signaling_port = reader.optional_port("SIGNALING_PORT");
    let tls = read_tls(reader);
    let is_hub = reader.flag("IS_HUB");
    let auth_token = reader.secret("AUTH_TOKEN");
    let jwt = read_jwt(reader);
    let admin = admin::read(reader, host.as_deref(), port);
    let discovery_limit = reader.number("DISCOVERY_LIMIT", 1..=100_000);
    let mesh = read_mesh(reader, auth_token.clone(), discovery_limit);
    let cors = reader.parse("CORS_ORIGIN");
    let demo = reader.flag("DEMO");
    let max_connections = reader.number("MAX_CONNECTIONS", 1..=1_000_000);
    let trusted_proxies = reader.parse("TRUSTED_PROXIES");
    let per_ip: Option<usize> = reader.number("MAX_CONNECTIONS_PER_IP", 0..=1_000_000);
    let connects_per_ip = reader.number("CONNECTS_PER_MINUTE_PER_IP", 0..=1_000_000);
    let max_unproven_clients = reader.number("MAX_UNPROVEN_CLIENTS", 0..=1_000_000);
    let max_http_connections = reader.number("MAX_HTTP_CONNECTIONS", 1..=1_000_000);
    let max_tls_handshakes = reader.number("MAX_TLS_HANDSHAKES", 1..=1_000_000);
    let header_timeout = reader.millis("HEADER_TIMEOUT_MS", 100..=600_000);
    let cleanup_interval = reader.millis("CLEANUP_INTERVAL_MS", 100..=3_600_000);
    let peer = peer_limits::read(reader);
    let peerjs = read_peerjs(reader);
    let mut policies = policies::read(reader);
    if let (Some(policies), Some(discovery_limit)) = (&mut policies, discovery_limit) {
        check_room_members(reader, policies, discovery_limit);
    }
    let rooms = policies::read_rooms(reader);
    let memory = memory::read(reader);
    let nat = nat::read(reader, is_hub.unwrap_or(true));
    let ready_timeout = reader.millis("READY_TIMEOUT_MS", 0..=600_000);
    let drain_pause = reader.millis("DRAIN_PAUSE_MS", 0..=600_000);
    let drain = reader.millis("DRAIN_MS", 0..=600_000);
    let log_format = reader.parse("LOG_FORMAT");
    let log_filter = reader.log_filter("RUST_LOG");
    let worker_threads = reader.number("WORKER_THREADS", 1..=256);
    let app_name = reader.optional_text("FLY_APP_NAME", 64);
    if let Some(peer) = &peer {
        check_data_within_message(reader, peer);
        check_message_budget(reader, peer);
        if let Some(discovery_limit) = discovery_limit {
            check_outbox(reader, peer, discovery_limit);
        }
        if let Some(mesh) = &mesh {
            check_room_bytes(reader, peer, mesh.data_per_hub);
        }
    }
    if let (Some(port), Some(nat)) = (port, &nat) {
        check_ports(reader, port, signaling_port.flatten(), nat);
    }
    Some(Config {
        host: host?,
        port: port?,
        signaling_port: signaling_port?,
        tls,
        is_hub: is_hub?,
        cors: cors?,
        demo: demo?,
        auth_token,
        jwt,
        admin,
        max_connections: max_connections?,
        trusted_proxies: trusted_proxies?,
        max_connections_per_ip: Some(per_ip?).filter(|max| *max > 0),
        connects_per_minute_per_ip: NonZeroU32::new(connects_per_ip?),
        max_unproven_clients: max_unproven_clients?,
        max_http_connections: max_http_connections?,
        max_tls_handshakes: max_tls_handshakes?,
        header_timeout: header_timeout?,
        cleanup_interval: cleanup_interval?,
        ready_timeout: ready_timeout?,
        drain_pause: drain_pause?,
        drain: drain?,
        peer: peer?,
        policies: policies?,
        rooms: rooms?,
        memory: memory?,
        peerjs: peerjs?,
        nat: nat?,
        mesh: mesh?,
        log_format: log_format?,
        log_filter: log_filter?,
        worker_threads: worker_threads?,
        app_name,
        cautions: Vec::new(),
    })
}

/// Both files or neither: with one of them the operator would believe that the port speaks TLS.
fn read_tls(reader: &mut Reader) -> Option<TlsFiles> {
    let cert = reader.optional_text("TLS_CERT", MAX_PATH_BYTES);
    let key = reader.optional_text("TLS_KEY", MAX_PATH_BYTES);
    match (cert, key) {
        (Some(cert), Some(key)) => Some(TlsFiles {
            cert: cert.into(),
            key: key.into(),
        }),
        (Some(_), None) => {
            reader.problem(
                "TLS_KEY",
                "is unset, while TLS_CERT is set: set both or neither",
            );
            None
        }
        (None, Some(_)) => {
            reader.problem(
                "TLS_CERT",
                "is unset, while TLS_KEY is set: set both or neither",
            );
            None
        }
        (None, None) => None,
    }
}

/// The longest path that Linux takes.
const MAX_PATH_BYTES: usize = 4096;

/// The check of JWTs, if there is a key. A second key is a problem, and so is a demand on tokens without a key.
fn read_jwt(reader: &mut Reader) -> Option<Jwt> {
    let secret = reader.has_text("JWT_SECRET");
    let public = reader.has_text("JWT_PUBLIC_KEY");
    let shared = reader.jwt_secret("JWT_SECRET");
    let key = shared.or(reader.jwt_public_key("JWT_PUBLIC_KEY"));
    let issuer = reader.optional_text("JWT_ISSUER", 256);
    let audience = reader.optional_text("JWT_AUDIENCE", 256);
    if secret && public {
        let why = "is set beside JWT_SECRET: a hub has one key for tokens, so unset one of the two";
        reader.problem("JWT_PUBLIC_KEY", why);
    }
    for (name, asked) in [("JWT_ISSUER", &issuer), ("JWT_AUDIENCE", &audience)] {
        if asked.is_some() && !secret && !public {
            reader.problem(name, "has no effect without JWT_SECRET or JWT_PUBLIC_KEY");
        }
    }
    Some(Jwt::new(key?, issuer.as_deref(), audience.as_deref()))
}

fn read_peerjs(reader: &mut Reader) -> Option<PeerJsSettings> {
    let paths = reader.parse("PEERJS_PATH");
    let keys = reader.parse("PEERJS_KEY");
    let allow_discovery = reader.flag("PEERJS_ALLOW_DISCOVERY");
    let discovery_limit = reader.number("PEERJS_DISCOVERY_LIMIT", 1..=1_000_000);
    let concurrent_limit = reader.number("PEERJS_CONCURRENT_LIMIT", 1..=1_000_000);
    let rooms = reader.flag("PEERJS_ROOMS");
    if allow_discovery == Some(true) && rooms == Some(true) {
        let text = "does not go with PEERJS_ROOMS: a list would show each room the others";
        reader.problem("PEERJS_ALLOW_DISCOVERY", text);
    }
    Some(PeerJsSettings {
        paths: paths?,
        keys: keys?,
        allow_discovery: allow_discovery?,
        discovery_limit: discovery_limit?,
        concurrent_limit: concurrent_limit?,
        rooms: rooms?,
    })
}

fn read_mesh(
    reader: &mut Reader,
    auth_token: Option<Secret>,
    discovery_limit: Option<usize>,
) -> Option<MeshSettings> {
    let namespace = reader.text("HUB_MESH_NAMESPACE", 64);
    let bootstrap = reader.list("BOOTSTRAP_HUBS");
    let public_url = reader.optional("PUBLIC_URL");
    let token = reader.secret("HUB_TOKEN").or(auth_token);
    let hub_id = reader.optional("HUB_ID");
    let auto_connect = reader.flag("MESH_AUTO_CONNECT");
    let hold = reader.millis("MESH_HOLD_MS", 0..=60_000);
    let claims_per_hub = reader.number("MESH_CLAIMS_PER_HUB", 1_000..=10_000_000);
    let data_per_hub = reader.number("MESH_DATA_PER_HUB", 65_536..=4_294_967_296);
    let full_directory_peers = reader.number("MESH_FULL_DIRECTORY_PEERS", 0..=100_000_000);
    let duplicate_peer = reader.parse("DUPLICATE_PEER");
    let wait = read_wait(reader);
    let fly_region = reader.optional_text("FLY_REGION", 32);
    let region = reader.optional_text("REGION", 32);
    Some(MeshSettings {
        random_id: hub_id.is_none(),
        hub_id: hub_id.unwrap_or_else(|| HubId(rand::random())),
        namespace: namespace?,
        token,
        bootstrap: bootstrap?,
        public_url,
        auto_connect: auto_connect?,
        hold: hold?,
        claims_per_hub: claims_per_hub?,
        data_per_hub: data_per_hub?,
        full_directory_peers: full_directory_peers?,
        discovery_limit: discovery_limit?,
        duplicate_peer: duplicate_peer?,
        region: fly_region.or(region).unwrap_or_default(),
        wait: wait?,
    })
}

fn read_wait(reader: &mut Reader) -> Option<SignalWait> {
    let time = reader.millis("SIGNAL_WAIT_MS", 0..=60_000);
    let per_sender = reader.number("SIGNAL_WAIT_PER_SENDER", 1..=100_000);
    let per_target = reader.number("SIGNAL_WAIT_PER_TARGET", 1..=100_000);
    let total = reader.number("SIGNAL_WAIT_TOTAL", 1..=1_000_000);
    Some(SignalWait {
        time: time?,
        per_sender: per_sender?,
        per_target: per_target?,
        total: total?,
    })
}
