//! The one list of what can be set: name, default, meaning.
//!
//! Everything else about a setting is derived from its line here: the field that `envy` fills, the default that
//! applies when the variable is unset, and the table that `hubmesh --print-settings` prints and docs/configuration.md shows.
//! This file must not know what a value means; `config.rs` reads and checks the values.

use std::fmt::Write as _;

use serde::Deserialize;

/// One environment variable of the daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setting {
    /// The variable, in lower case.
    field: &'static str,
    /// The text that applies when the variable is unset or empty.
    pub default: &'static str,
    /// What it does, its unit, its bounds, and its worst case where it is a cap.
    pub description: &'static str,
}

impl Setting {
    /// The variable's name.
    pub fn name(&self) -> String {
        self.field.to_ascii_uppercase()
    }
}

macro_rules! settings {
    ($($(#[doc = $line:literal])+ $field:ident = $default:literal;)+) => {
        /// Every setting, in the order of the table in docs/configuration.md.
        pub const SETTINGS: &[Setting] = &[
            $(Setting { field: stringify!($field), default: $default, description: concat!($($line),+) },)+
        ];

        /// The environment as `envy` reads it: the text of each variable, unchecked.
        #[derive(Deserialize, Default)]
        pub(super) struct Raw {
            $($(#[doc = $line])+ $field: Option<String>,)+
        }

        impl Raw {
            /// The variables that are set, with their settings.
            pub(super) fn into_texts(self) -> Vec<(&'static Setting, Option<String>)> {
                let texts = [$(self.$field,)+];
                SETTINGS.iter().zip(texts).collect()
            }
        }
    };
}

settings! {
    /// Address or name to listen on. `localhost` listens on 127.0.0.1 and, where there is one, on ::1; `::` on every interface, `0.0.0.0` on those of IPv4.
    host = "localhost";
    /// TCP port, 0 to 65535. 0 takes a free one, which the first log line names.
    port = "8080";
    /// Second TCP port at the addresses of `HOST` that serves all that `PORT` does, for clients that were told of two; 0 takes a free one. Unset: none.
    signaling_port = "";
    /// PEM file with the certificate chain that `PORT` shows, this hub's own certificate first; `PORT` then speaks HTTPS and WSS only. Set with `TLS_KEY` or not at all. Unset: plain HTTP and WS.
    tls_cert = "";
    /// PEM file with the private key of `TLS_CERT` (PKCS#8, PKCS#1 or SEC1, not encrypted).
    tls_key = "";
    /// `true`: a hub that links to others on `/mesh`. `false`: a lone server without `/mesh`.
    is_hub = "true";
    /// The mesh that this hub belongs to, 1 to 64 bytes. Hubs of different namespaces refuse each other.
    hub_mesh_namespace = "pigeonhub-mesh";
    /// Hubs to link to, from the start on and again whenever a link is lost: a comma list of `ws://`, `wss://` and `dns+ws://name:port` (every address of the name is a hub).
    bootstrap_hubs = "";
    /// The address at which other hubs reach this one, `ws://` or `wss://`. Unset: this hub dials the others and they cannot dial it.
    public_url = "";
    /// Secret that opens `/mesh`, the same on every hub; never sent. Unset: `AUTH_TOKEN`, which every peer holds; both unset: the mesh is open, and takes links from loopback and private addresses alone.
    hub_token = "";
    /// This hub's id, 40 hex digits. Unset: a new random one at every start.
    hub_id = "";
    /// `true`: link to hubs that others tell of. `false`: keep to `BOOTSTRAP_HUBS`.
    mesh_auto_connect = "true";
    /// Peers of one other hub that this hub keeps, 1000 to 10000000; of all others together four times as many. More are left out, with the alarm `claims-left-out`. At worst about 100 bytes each.
    mesh_claims_per_hub = "1000000";
    /// Bytes of announced data that this hub keeps for one other hub's peers, 65536 to 4294967296; for all others together four times as much. Claims of a later version count too, with 256 bytes more each. More are left out likewise. At worst five times this, and as much while it arrives.
    mesh_data_per_hub = "67108864";
    /// Peers in the mesh up to which every hub keeps all of them, 0 to 100000000; past it, or past 100 hubs, a hub keeps only those peers of other hubs that are in its own peers' networks. At worst about 100 bytes a peer, and past it about 200 a network.
    mesh_full_directory_peers = "1000000";
    /// Milliseconds that the peers of a hub which cannot be reached stay visible, 0 to 60000.
    mesh_hold_ms = "2000";
    /// Bearer that peers must show, in `Authorization` or as `?token=`. Unset, and no JWT key set either: open to all.
    auth_token = "";
    /// Bearer that operators must show in `Authorization`, at least 16 characters. With it, only operators see `/metrics`, `/hubs`, `/stats` and `/hubstats`, and only they see peers and hubs at `/health` and `/`. Unset, and no `ADMIN_ADDR` either: open to all.
    admin_token = "";
    /// `host:port` of a second listener, such as `127.0.0.1:9090`. Only there are those pages served, to all who reach it, or with `ADMIN_TOKEN` to operators. It has `MAX_HTTP_CONNECTIONS` of its own, and speaks TLS if `PORT` does. Without `ADMIN_TOKEN` it answers only requests for an address, for `localhost`, or for a name without a dot: an attacker can make any other name lead there from a browser.
    admin_addr = "";
    /// Bans that count in the mesh, 1 to 10000. As many lifted bans are remembered for as long as they would have lasted. One more is refused (409); one more of another hub is left out, with an alarm. At worst 1 KiB each on every hub, within `MESH_DATA_PER_HUB`. The same on every hub.
    max_bans = "1000";
    /// Logins a minute, right or wrong, at `/admin/api/login` from one address (IPv6: one /64), 1 to 1000; more get 429. A wrong bearer at any page takes one as well; once none is left, bearers of that address get 429, right ones too. Remembers up to 65536 addresses, and as many again that have none left, about 50 bytes each. Behind a proxy that `TRUSTED_PROXIES` does not name, all have one address.
    admin_logins_per_minute = "20";
    /// Operators who may listen to `/admin/api/events` of this hub at once, 1 to 10000, within `MAX_HTTP_CONNECTIONS`; more get 503. At worst 1 MiB each of what they have not read.
    max_event_readers = "64";
    /// The address to which this hub posts its events as JSON, `http://` or `https://`. Up to 1000 events wait while it does not take them, and 100 more about hubs, links, alarms and operators; lost events are counted (`hubmesh_webhook_dropped_events_total`) and reported. Unset: nowhere.
    events_webhook_url = "";
    /// Secret that signs those posts, HMAC-SHA256, at least 16 characters of printable ASCII. Needed with `EVENTS_WEBHOOK_URL`.
    events_webhook_secret = "";
    /// Secret of at least 32 bytes that signs JWTs (HS256, HS384, HS512). With it or `JWT_PUBLIC_KEY`, a peer may show a valid JWT where the bearer goes; it has to, if `AUTH_TOKEN` is unset.
    jwt_secret = "";
    /// Public key that JWTs are verified with, in place of `JWT_SECRET`: PEM text (`\n` may stand for a new line) or the path of a PEM file. RSA (RS256 to RS512, PS256 to PS512), P-256 (ES256), P-384 (ES384) or Ed25519 (EdDSA).
    jwt_public_key = "";
    /// The `iss` that JWTs must have, up to 256 bytes. Unset: not checked.
    jwt_issuer = "";
    /// The `aud` that JWTs must have, up to 256 bytes. Unset: not checked.
    jwt_audience = "";
    /// Who may use this hub from a web page (`CORS_ORIGINS` says the same, where this is unset): `*`, or a comma list of origins such as `https://example.org`. `https://*.example.org` stands for all its subdomains, `null` and `file://` for pages that are files or sandboxed.
    cors_origin = "*";
    /// `true`: the page at `/` has a demo, a room for two browsers with a data channel. `false`: it has none.
    demo = "true";
    /// Proxies whose `X-Forwarded-For` is believed to name the client's address: a comma list of addresses, blocks such as `10.0.0.0/8`, and `fly` for Fly.io's proxy and its `Fly-Client-IP`. Unset: the address of a client is that of its connection.
    trusted_proxies = "";
    /// Peers connected at once, 1 to 1000000; more get 503. Each takes a file descriptor (`ulimit -n`) and, idle, about 6 KiB, with TLS 14 KiB; at worst `OUTBOX_BYTES` more.
    max_connections = "10000";
    /// Peers connected at once from one address (IPv6: one /64), 0 to 1000000; more get 429. 0: no limit. Behind a proxy that `TRUSTED_PROXIES` does not name, all peers have one address.
    max_connections_per_ip = "0";
    /// Requests for a peer's WebSocket a minute from one address (IPv6: one /64), 0 to 1000000, and as many at once; more get 429. Requests that change rooms over HTTP, or show a client's token to see them, count too. 0: no limit. Remembers up to 65536 addresses, about 50 bytes each. Behind a proxy, as above.
    connects_per_minute_per_ip = "0";
    /// Notices a second that peers of one address (IPv6: one /64) may cause by joining, 0 to 100000000, and ten times as many at once; a later join waits for its turn. 0: no limit. A join counts as three for each peer of the network, up to `DISCOVERY_LIMIT`: those that the newcomer is told of, and that are told that it came and that it left. Remembers up to 65536 addresses, about 50 bytes each. Behind a proxy, as above.
    notices_per_sec_per_ip = "200000";
    /// Clients at `/rooms` at once that need a token and have not shown it yet in their message `auth`, 0 to 1000000; more get 503. One address (IPv6: one /64) may have as many as are left for all others, so alone half; trusted proxies are exempt. Each has `ANNOUNCE_TIMEOUT_MS`, and takes as much as a peer, within `MAX_CONNECTIONS`. 0: none; the token has to come with the request.
    max_unproven_clients = "256";
    /// TCP connections that are not (yet) peers, 1 to 1000000; more are closed at once. One address (IPv6: one /64) may have as many as are left for all others, so alone half; trusted proxies are exempt. At worst 16 KiB each, 100 KiB with TLS.
    max_http_connections = "1024";
    /// TLS handshakes at once, 1 to 1000000. One address (IPv6: one /64) may have half; trusted proxies are exempt. When all are taken, a handshake gives way in which the client has sent nothing yet: the oldest of the address that has the most. At worst 100 KiB each, within the above. `TURN_TLS_PORT` has as many of its own.
    max_tls_handshakes = "512";
    /// Milliseconds from a TCP connection to its whole request head, from the 101 to the WebSocket, and for a TLS handshake, 100 to 600000.
    header_timeout_ms = "10000";
    /// Milliseconds from the WebSocket to the first announcement, 100 to 600000. Later ones are closed. Clients at `/rooms` and `/p2p` have 300000 to say who they are, or this if it is more.
    announce_timeout_ms = "10000";
    /// Milliseconds of silence (WebSocket pings unanswered) after which a peer is closed, 1000 to 86400000; at `/yjs` and `/p2p` 60000, or this if it is less.
    peer_timeout_ms = "300000";
    /// Milliseconds between two rounds of housekeeping, 100 to 3600000: the hub forgets old retractions, audits the claims of other hubs, and looks at the files of `TLS_CERT` and `TLS_KEY`. If this is unset, `CLEANUP_CHECK_INTERVAL` counts.
    cleanup_interval_ms = "30000";
    /// Milliseconds that a room without a member stays, 1000 to 604800000.
    room_inactivity_timeout = "10800000";
    /// Milliseconds of silence (WebSocket pings unanswered) after which a client of rooms (`/rooms`) is closed, 1000 to 86400000.
    peer_heartbeat_timeout = "300000";
    /// Rooms whose record this hub holds, 1 to 1000000: those whose host is here, and those whose last member left from here. All records together take a quarter of `MESH_DATA_PER_HUB` at most, which should be the same on all hubs. When there is no space left, a room without a member ends: of the address that made the most of these, the room that was left first. If there is none, creating is refused (`too-many-rooms`). Once rooms with members take half of that, one address may have made a quarter of it at most, or 16 rooms if these take no more than a quarter of the bytes; past that it creates none, and nobody enters those of its rooms that are without a member (`too-many-rooms-of-address`). At worst a quarter of `MESH_DATA_PER_HUB` and 700 bytes each on every hub, and the first once more here and on each hub that has members in the rooms.
    max_rooms = "10000";
    /// Members of one room (`/rooms`), mesh-wide, 1 to 100000, and never more than `DISCOVERY_LIMIT`; more get an error (`room-full`). Its members are told of all others, each newcomer in one message. The same on every hub.
    max_room_members = "256";
    /// Longest text that the hub keeps of a room (its name, `fileId`, `content` and `version`) in bytes, 64 to 1048576, at most a quarter of `MESH_DATA_PER_HUB`. A longer one is refused.
    max_room_bytes = "16384";
    /// Resident memory in MiB from which rooms without a member end before their time, 1 to 1048576; the hub looks once a second, and ends a quarter of those that it keeps at each look. Unset: never.
    memory_warning_threshold = "";
    /// Resident memory in MiB from which all rooms without a member end, at least `MEMORY_WARNING_THRESHOLD`, up to 1048576. Until it is below again, new peers get 503, and a client that asks for a room (`/rooms`) gets the error `out-of-memory`. Members of rooms stay. Unset: never.
    memory_critical_threshold = "";
    /// A second connection with an id that a living peer holds: `refuse` it, or let it `replace` the first.
    duplicate_peer = "refuse";
    /// Peers of a network that a newcomer is told of, 1 to 100000. In larger networks it learns of the nearest and of a sample.
    discovery_limit = "1000";
    /// Longest message of a peer in bytes, 1024 to 16777216. A longer one is skipped and its sender told; one of more than 100 MiB closes the connection. A signal to a peer of another hub carries at most 1048576 bytes of data. The same on every hub.
    max_message_bytes = "262144";
    /// Bytes that the unfinished messages of all peers may take together, at least 4 × `MAX_MESSAGE_BYTES`, up to 17179869184; beside 32 KiB for each peer. When they are used up, the message is refused that has held the most for the longest.
    message_budget_bytes = "67108864";
    /// Longest announced data of a peer in bytes, 64 to 1048576, at most `MAX_MESSAGE_BYTES`. Every hub keeps it while the peer is connected.
    max_announce_bytes = "1024";
    /// Networks (topics, rooms) that one connection may be in at once, 1 to 10000; for one more the client gets the error `too-many-networks`. At worst 1 KiB each on this hub, and 100 bytes on others.
    max_networks_per_connection = "256";
    /// Messages a second that a peer may send for long, 0 to 1000000. 0: no limit. Further messages are dropped and the sender is told. PeerJS clients (without `PEERJS_ROOMS`) are read more slowly instead; at worst one message of each waits, within `MESSAGE_BUDGET_BYTES` beyond 16 KiB. A client that goes on for five times `RATE_LIMIT_BURST` is told and closed. Changes to rooms over HTTP (`/api/rooms`) have the same allowance, shared by all of one address (IPv6: one /64); more get 429.
    rate_limit_per_sec = "100";
    /// Messages that a peer may send at once, 1 to 1000000. Announcing again counts as 20, and one more for each 10 peers of the network, up to `DISCOVERY_LIMIT`.
    rate_limit_burst = "1000";
    /// Bytes of a message that count as one for `RATE_LIMIT_PER_SEC` and `RATE_LIMIT_BURST`, 256 to 16777216; a longer one counts as several. So a peer may send about 1 MB a second for long, and 10 MB at once.
    rate_limit_message_bytes = "10240";
    /// Messages that may wait for one peer's socket, at least `DISCOVERY_LIMIT` + 256, up to 1000000. Signals may fill half of it, and one sender a part of that; further signals fail to their sender. If a message of the hub itself finds no space, the socket is closed.
    outbox_messages = "4096";
    /// Bytes that may wait for one peer's socket, at least `DISCOVERY_LIMIT` × (`MAX_ANNOUNCE_BYTES` + 512) + 4 × `MAX_MESSAGE_BYTES`, up to 1073741824. Signals may fill half, as above. At worst `MAX_CONNECTIONS` times this in all.
    outbox_bytes = "4194304";
    /// Milliseconds that a signal waits for a target that is at no hub yet, 0 to 60000. 0: its sender is told at once.
    signal_wait_ms = "5000";
    /// Signals of one sender that may wait, 1 to 100000.
    signal_wait_per_sender = "256";
    /// Signals for one target that may wait, 1 to 100000.
    signal_wait_per_target = "512";
    /// All signals that may wait, 1 to 1000000. Together they take at most 16 MiB, or 4 × `MAX_MESSAGE_BYTES` if that is more.
    signal_wait_total = "4096";
    /// Paths under which PeerJS clients are served (their option `path`), a comma list. `off`: none.
    peerjs_path = "/,/peerjs";
    /// Keys that PeerJS clients may name (their option `key`), a comma list of 1 to 64 characters each. Each is a realm of its own, apart from the others.
    peerjs_key = "peerjs";
    /// Milliseconds that a PeerJS message waits for a peer that is not connected, 0 to 60000; then its sender gets `EXPIRE`. Bounded by the `SIGNAL_WAIT_` settings.
    peerjs_expire_timeout_ms = "5000";
    /// Milliseconds without any message, heartbeat or WebSocket pong after which a PeerJS client is closed, 1000 to 86400000.
    peerjs_alive_timeout_ms = "60000";
    /// `true`: a client that knows a key may list the ids of its realm, mesh-wide, at `{path}{key}/peers`. `false`: 401.
    peerjs_allow_discovery = "false";
    /// Ids in one such list, 1 to 1000000, at worst 65 bytes each in the answer.
    peerjs_discovery_limit = "10000";
    /// PeerJS clients connected to this hub at once, 1 to 1000000, within `MAX_CONNECTIONS`.
    peerjs_concurrent_limit = "5000";
    /// `true`: the token of a PeerJS client names a room, and only clients of one room reach each other. `false`: the token is the client's secret, which lets it take its id over from an older connection.
    peerjs_rooms = "false";
    /// Peers in one such room, mesh-wide, 1 to 1000; more get 429. The same on every hub.
    max_peers_per_room = "4";
    /// STUN and TURN servers elsewhere that `/ice-servers` names: a comma list of up to 16 of `turn:host:port`, `turns:host:port` and `stun:host:port`, TURN also with `?transport=udp` or `?transport=tcp`. Unset: none.
    turn_urls = "";
    /// Secret that those TURN servers share with this hub (coturn's `static-auth-secret`), and that this hub's own TURN uses; printable ASCII, at least 16 bytes so that it cannot be guessed. Every client gets credentials of its own, made with this secret. Hubs with the same secret name each other's servers (`ICE_SERVERS_NEARBY`).
    turn_secret = "";
    /// Seconds for which such credentials are valid, 30 to 86400. A relay that was opened with them stays open afterwards.
    turn_ttl_s = "300";
    /// Number of other hubs, the nearest ones, whose own STUN and TURN `/ice-servers` names beside this hub's, 0 to 8; up to 8 addresses each. Only hubs with the same `TURN_SECRET` are named, because credentials of this hub are valid there.
    ice_servers_nearby = "2";
    /// Port of this hub's own STUN, UDP and TCP, at the addresses of `HOST`; 0 takes a free one. Unset: none.
    stun_port = "";
    /// Second port of STUN. Answers come from it if a client asks for a change of port to find out its type of NAT. Unset: the one after `STUN_PORT`.
    stun_alt_port = "";
    /// Port of this hub's own TURN (and STUN), UDP and TCP, at the addresses of `HOST`; may be that of `STUN_PORT`; 0 takes a free one. Credentials come from `/ice-servers`, made with `TURN_SECRET` or, if that is unset, with a random secret of this start. Unset: none.
    turn_port = "";
    /// Port of TURN over TLS, with the certificate of `TLS_CERT`; 0 takes a free one. Unset: none.
    turn_tls_port = "";
    /// Addresses at which clients and peers reach this hub's TURN and STUN: at most one IPv4 and one IPv6 address, comma between. Unset: the addresses of `HOST`; where that is every interface, the one that leads to the internet.
    turn_public_address = "";
    /// Host name that `/ice-servers` gives in place of the address; TLS needs the one in the certificate.
    turn_public_name = "";
    /// UDP ports of relays, one each; a firewall has to let them in. The default lies below the ports that Linux gives to other programs (32768 and up).
    turn_relay_ports = "20000-29999";
    /// Peers that relays may reach although they are not on the internet: a comma list of addresses and blocks such as `10.1.0.0/16`. Of this machine's own addresses only those that are named one by one are allowed. Unset: this machine, private, shared and link-local networks, multicast and reserved addresses are refused, whatever form they are written in.
    turn_allow_peers = "";
    /// Relays at once, 1 to 60000; more get 508. One address (IPv6: one /64) may have as many as are left for all others, so alone half. Each takes a file descriptor, about 3 KB, at worst 40 KB, and what the system holds for its socket.
    turn_max_allocations = "1000";
    /// Relays of one user at once, 1 to 60000; more get 486. A user is the name in its credentials at one address (IPv6: one /64): its `peerId`, or a word for the `sub` of a JWT that is bound to no `peerId`. A browser takes a relay for each connection, TURN address and interface.
    turn_max_allocations_per_user = "50";
    /// TCP and TLS connections of TURN and STUN, 1 to 1000000; more are closed at once. One address may have as many as are left for all others. At worst each takes 64 KiB for an unfinished packet and 256 KiB that wait for the client, with TLS 100 KiB more.
    turn_max_connections = "1024";
    /// Bytes a second that all relays together pass on, both ways, 0 to 1000000000000, and as many at once; more are dropped. Each datagram counts with 28 bytes (IPv6: 48) of headers. 0: no limit.
    turn_bytes_per_sec = "0";
    /// The same for one user, whose first second begins with its first relay.
    turn_bytes_per_sec_per_user = "2500000";
    /// Longest lifetime that a client may ask for when it opens or refreshes a relay, in seconds, 600 to 86400.
    turn_max_lifetime_s = "3600";
    /// Seconds after which a relay ends even if it is refreshed, 600 to 31536000. So no relay outlives its credentials by more.
    turn_max_age_s = "86400";
    /// Milliseconds after the start from which `/ready` is 200 even if no hub of `BOOTSTRAP_HUBS` was reached, or its peers are not known yet, 0 to 600000. 0: at once.
    ready_timeout_ms = "10000";
    /// Milliseconds between the end of `/ready` and the rest of a drain, 0 to 600000: proxies have this time to notice, and peers are let in meanwhile. The hub pauses only if a client has asked for `/ready` within the last minute.
    drain_pause_ms = "5000";
    /// Milliseconds over which peers are sent away when the hub is told to stop, 0 to 600000. Relays of its own TURN stay for as long.
    drain_ms = "10000";
    /// `json` or `text`. `auto`: text on a terminal, JSON lines elsewhere.
    log_format = "auto";
    /// Which lines are logged, as `tracing` directives: `debug`, `hubmesh=debug,warn` and so on.
    rust_log = "hubmesh=info";
    /// Threads that serve peers, 1 to 256. 1 runs everything on one thread, which takes the least CPU per message.
    worker_threads = "1";
    /// Region shown to other hubs and in the statistics, up to 32 bytes. Set by Fly.io; unset: `REGION`.
    fly_region = "";
    /// Region where `FLY_REGION` is not set, up to 32 bytes.
    region = "";
    /// Application shown in the statistics, up to 64 bytes. Set by Fly.io.
    fly_app_name = "";
}

/// The table of settings in docs/configuration.md, in Markdown, with its header and without the markers around it.
pub fn settings_table() -> String {
    let mut table = String::from("| variable | default | meaning |\n|---|---|---|\n");
    for setting in SETTINGS {
        let default = match setting.default {
            "" => String::from("(unset)"),
            text => format!("`{text}`"),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            "| `{}` | {default} | {} |",
            setting.name(),
            setting.description.trim()
        );
    }
    table
}
