//! The configuration: the defaults, the values that are refused, the words of refusals, and the table of settings in
//! docs/configuration.md.

use std::process::{Command, Output};
use std::time::Duration;

use hubmesh::config::{
    BootstrapHub, Config, ConfigError, CorsOrigins, DuplicatePeer, IceUrl, LogFormat,
    settings_table,
};
use hubmesh_core::ids::Dialect;

const NONE: [(&str, &str); 0] = [];

fn problems(vars: &[(&str, &str)]) -> Vec<(String, String)> {
    let ConfigError { problems, .. } =
        Config::from_vars(vars.iter().copied()).expect_err("refused");
    problems
        .into_iter()
        .map(|problem| (problem.name, problem.text))
        .collect()
}

#[test]
fn an_empty_environment_is_a_lone_hub_on_localhost() {
    let config = Config::from_vars(NONE).expect("the defaults are fine");
    assert_eq!(
        (config.host.as_str(), config.port, config.is_hub),
        ("localhost", 8080, true)
    );
    assert_eq!(config.cors, CorsOrigins::Any);
    assert_eq!(config.auth_token, None);
    assert_eq!((config.max_connections, config.worker_threads), (10_000, 1));
    assert_eq!(config.cleanup_interval, Duration::from_secs(30));
    assert_eq!(config.drain, Duration::from_secs(10));
    assert_eq!(config.log_format, LogFormat::Auto);
    assert_eq!(
        config.policies.of(Dialect::Pigeon).silence,
        Duration::from_secs(300)
    );
    assert_eq!(config.peer.max_message_bytes, 262_144);
    assert_eq!(
        (config.peer.rate_per_sec, config.peer.rate_burst),
        (Some(100), 1000)
    );
    assert_eq!(config.mesh.namespace, "pigeonhub-mesh");
    assert!(config.mesh.bootstrap.is_empty() && config.mesh.token.is_none());
    assert_eq!(config.mesh.duplicate_peer, DuplicatePeer::Refuse);
    assert_eq!(config.mesh.hold, Duration::from_secs(2));
}

#[test]
fn an_empty_variable_counts_as_unset_and_blanks_around_a_value_do_not_count() {
    let config = Config::from_vars([("PORT", ""), ("AUTH_TOKEN", " "), ("IS_HUB", " false ")]);
    let config = config.expect("fine");
    assert_eq!(
        (config.port, config.auth_token, config.is_hub),
        (8080, None, false)
    );
}

#[test]
fn variables_that_are_no_settings_are_ignored() {
    assert!(Config::from_vars([("port", "nonsense"), ("PATH", "/bin")]).is_ok());
}

#[test]
fn every_problem_is_told_at_once_in_the_order_of_the_settings() {
    let found = problems(&[
        ("DRAIN_MS", "soon"),
        ("PORT", "65536"),
        ("BOOTSTRAP_HUBS", "http://a, ws://b, c"),
        ("LOG_FORMAT", "xml"),
        ("OUTBOX_MESSAGES", "10"),
    ]);
    let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    let all = [
        "PORT",
        "BOOTSTRAP_HUBS",
        "BOOTSTRAP_HUBS",
        "OUTBOX_MESSAGES",
        "DRAIN_MS",
        "LOG_FORMAT",
    ];
    assert_eq!(names, all);
}

#[test]
fn nonsense_is_refused_with_what_is_allowed() {
    for (name, value, allowed) in [
        ("PORT", "-1", "0 to 65535"),
        ("PORT", "80.0", "0 to 65535"),
        ("IS_HUB", "maybe", "true nor false"),
        ("DEMO", "perhaps", "true nor false"),
        ("HOST", "localhost:80", "PORT"),
        ("HUB_ID", "abc", "40 hex digits"),
        ("PUBLIC_URL", "http://a", "ws:// or wss://"),
        ("PUBLIC_URL", "ws://user@a", "no user"),
        ("BOOTSTRAP_HUBS", "dns+ws://name", "dns+ws://name:port"),
        ("BOOTSTRAP_HUBS", "dns+wss://name:80", "dns+ws://name:port"),
        ("CORS_ORIGIN", "example.org", "https://example.org"),
        (
            "CORS_ORIGIN",
            "https://example.org/path",
            "https://example.org",
        ),
        ("CORS_ORIGIN", "*,https://example.org", "* alone"),
        ("CORS_ORIGIN", "wss://example.org", "matches no page"),
        ("CORS_ORIGIN", "https://a*.example.org", "subdomains alone"),
        ("HOST", "*", "every interface"),
        ("HOST", "0.0.0.0,::", "every interface"),
        ("HOST", "8080", "neither an address"),
        ("HOST", "127.1", "neither an address"),
        ("HOST", "http://localhost", "neither an address"),
        ("PEERJS_PATH", "/..", "never asked for"),
        ("PEERJS_PATH", "/,/a/./b", "never asked for"),
        ("PEERJS_PATH", "/a/../b", "never asked for"),
        ("PEERJS_PATH", ",", "paths like /peerjs"),
        ("PEERJS_PATH", "/a%2Fb", "paths like /peerjs"),
        ("PEERJS_KEY", "..", "not . or .."),
        ("PUBLIC_URL", "wss://a/hub", "/mesh and no other path"),
        ("PUBLIC_URL", "wss://a?x=y", "no query"),
        ("BOOTSTRAP_HUBS", "ws://a/ws", "/mesh and no other path"),
        ("BOOTSTRAP_HUBS", "ws://a/mesh/", "/mesh and no other path"),
        ("BOOTSTRAP_HUBS", "ws://a:1,ws://b?token=t", "HUB_TOKEN"),
        ("BOOTSTRAP_HUBS", "dns+ws://a:1?token=t", "HUB_TOKEN"),
        ("RUST_LOG", "verbose", "mute the hub"),
        ("RUST_LOG", "warning", "mute the hub"),
        ("RUST_LOG", "hubmehs=debug", "hubmesh=info"),
        ("AUTH_TOKEN", "${TOKEN}", "was not filled in"),
        ("HUB_TOKEN", "$(cat token)", "was not filled in"),
        ("DUPLICATE_PEER", "both", "refuse or replace"),
        ("LOG_FORMAT", "xml", "json, text or auto"),
        ("RUST_LOG", "hubmesh=loud", "cannot be used"),
        ("WORKER_THREADS", "0", "1 to 256"),
        ("MAX_CONNECTIONS", "0", "1 to 1000000"),
        ("MAX_CONNECTIONS_PER_IP", "-1", "0 to 1000000"),
        ("CONNECTS_PER_MINUTE_PER_IP", "x", "0 to 1000000"),
        ("TRUSTED_PROXIES", "127.0.0.1,nginx", "10.0.0.0/8"),
        ("TRUSTED_PROXIES", "0.0.0.0/0", "covers every address"),
        ("JWT_PUBLIC_KEY", "/no/such/file", "cannot be read"),
        (
            "JWT_PUBLIC_KEY",
            "-----BEGIN CERTIFICATE-----",
            "PUBLIC KEY",
        ),
        ("JWT_ISSUER", "me", "JWT_SECRET"),
        ("JWT_AUDIENCE", "hub", "JWT_SECRET"),
        ("PEER_TIMEOUT_MS", "999", "1000 to"),
        (
            "FLY_REGION",
            "a region name that is longer than thirty-two bytes",
            "1 to 32",
        ),
    ] {
        let found = problems(&[(name, value)]);
        let [(told, text)] = found.as_slice() else {
            panic!("{name}={value}: {found:?}")
        };
        assert_eq!(told, name);
        assert!(text.contains(allowed), "{name}={value}: {text}");
    }
}

#[test]
fn what_is_wrong_with_a_token_is_told_without_showing_it() {
    for name in ["AUTH_TOKEN", "HUB_TOKEN"] {
        let found = problems(&[(name, "open sesame")]);
        assert_eq!(found[0].0, name);
        assert!(!found[0].1.contains("sesame"), "{}", found[0].1);
    }
    let config = Config::from_vars([("AUTH_TOKEN", "sesame"), ("HUB_TOKEN", "sesame2")]);
    assert!(!format!("{config:?}").contains("sesame"));
}

#[test]
fn what_tells_operators_from_others_is_refused_where_it_contradicts_itself() {
    const TOKEN: &str = "sesame-for-operators-and-so-on-32-bytes";
    let admin = |others: &[(&'static str, &'static str)]| {
        let all = [
            &[("ADMIN_TOKEN", TOKEN), ("ADMIN_ADDR", "127.0.0.1:9090")],
            others,
        ]
        .concat();
        problems(&all)
    };
    assert!(Config::from_vars([("ADMIN_TOKEN", TOKEN)]).is_ok());
    for (others, name, word) in [
        (&[("AUTH_TOKEN", TOKEN)][..], "ADMIN_TOKEN", "every peer"),
        (&[("HUB_TOKEN", TOKEN)], "ADMIN_TOKEN", "every hub"),
        (&[("JWT_SECRET", TOKEN)], "ADMIN_TOKEN", "issuer"),
        (
            &[("TURN_SECRET", TOKEN), ("TURN_PORT", "0")],
            "ADMIN_TOKEN",
            "TURN server",
        ),
        (&[("ADMIN_TOKEN", "sesame-of-15-by")], "ADMIN_TOKEN", "16"),
        (
            &[("ADMIN_TOKEN", "sesame and blanks")],
            "ADMIN_TOKEN",
            "ASCII",
        ),
        (&[("ADMIN_ADDR", "9090")], "ADMIN_ADDR", "127.0.0.1:9090"),
        (
            &[("PORT", "9090"), ("HOST", "127.0.0.1")],
            "ADMIN_ADDR",
            "PORT",
        ),
        (&[("PORT", "9090"), ("HOST", "::")], "ADMIN_ADDR", "PORT"),
    ] {
        let found = admin(others);
        let [(told, text)] = found.as_slice() else {
            panic!("{others:?}: {found:?}")
        };
        assert_eq!(told, name, "{others:?}");
        assert!(text.contains(word) && !text.contains("sesame"), "{text}");
    }
    // The same port number at another address is another port.
    let apart = [
        ("HOST", "192.0.2.1"),
        ("PORT", "9090"),
        ("ADMIN_ADDR", "127.0.0.1:9090"),
    ];
    assert!(Config::from_vars(apart).is_ok());
}

#[test]
fn a_door_for_operators_that_others_reach_and_no_token_keeps_is_warned_of() {
    let warned = |vars: &[(&str, &str)]| {
        let config = Config::from_vars(vars.iter().copied()).expect("a good configuration");
        let names = config.cautions.iter().map(|caution| caution.name.as_str());
        names.collect::<Vec<_>>() == ["ADMIN_ADDR"]
    };
    for addr in [
        "0.0.0.0:9090",
        "[::]:9090",
        "192.0.2.1:9090",
        "hub.example.org:9090",
    ] {
        assert!(warned(&[("ADMIN_ADDR", addr)]), "{addr}");
        assert!(!warned(&[
            ("ADMIN_ADDR", addr),
            ("ADMIN_TOKEN", "for-operators-alone")
        ]));
    }
    for addr in ["127.0.0.1:9090", "[::1]:9090", "localhost:9090"] {
        assert!(!warned(&[("ADMIN_ADDR", addr)]), "{addr}");
    }
}

#[test]
fn a_value_in_quotes_is_refused_because_they_would_count_and_no_secret_is_shown() {
    for (name, value) in [
        ("AUTH_TOKEN", "\"sesame\""),
        ("HUB_TOKEN", "'sesame'"),
        ("JWT_SECRET", "\"sesame-sesame-sesame-sesame-sesame\""),
        ("PORT", "'8080'"),
        ("IS_HUB", "\"true\""),
        ("RUST_LOG", "`info`"),
        ("CORS_ORIGIN", "\"https://example.org\""),
        ("TLS_CERT", "\"\""),
    ] {
        let found = problems(&[(name, value)]);
        let [(told, text)] = found.as_slice() else {
            panic!("{name}={value}: {found:?}")
        };
        assert_eq!(told, name);
        assert!(
            text.contains("quotes") && !text.contains("sesame"),
            "{text}"
        );
    }
    // The value between the quotes is checked as well.
    let found = problems(&[("PORT", "\"none\"")]);
    assert_eq!(found.len(), 2, "{found:?}");
    // Without a second quote, a quote may belong to a secret.
    assert!(Config::from_vars([("AUTH_TOKEN", "\"se'same")]).is_ok());
}

#[test]
fn a_secret_in_an_address_is_not_shown_with_the_problem() {
    let found = problems(&[("BOOTSTRAP_HUBS", "wss://a?token=hunter2")]);
    let (_, text) = &found[0];
    assert!(
        text.contains("wss://a?***") && !text.contains("hunter2"),
        "{text}"
    );
}

fn cautions(names: &[&str]) -> Vec<String> {
    let vars = names.iter().map(|name| (*name, "x"));
    let config = Config::from_vars(vars).expect("no setting is wrong");
    config.cautions.iter().map(ToString::to_string).collect()
}

#[test]
fn a_variable_that_is_nearly_a_setting_is_named_with_the_setting() {
    for (name, meant) in [
        ("MAX_CONECTIONS", "MAX_CONNECTIONS"),
        ("MAX_CONNECTION", "MAX_CONNECTIONS"),
        ("CORS_ORIGN", "CORS_ORIGIN"),
        ("BOOTSTRAP_HUB", "BOOTSTRAP_HUBS"),
        ("AUTHTOKEN", "AUTH_TOKEN"),
        ("HUB_TOKENS", "HUB_TOKEN"),
        ("RUSTLOG", "RUST_LOG"),
        ("port", "PORT"),
        ("Auth_Token", "AUTH_TOKEN"),
        ("PEERJS-PATH", "PEERJS_PATH"),
        ("PEERJS_PATHS", "PEERJS_PATH"),
        ("HUBMESH_PORT", "PORT"),
        ("PEERSERVER_PATH", "PEERJS_PATH"),
    ] {
        let told = cautions(&[name]);
        let expected = format!("{name} is not a setting and has no effect; {meant} is one");
        assert_eq!(told, [expected]);
    }
}

#[test]
fn a_setting_s_other_name_counts_where_its_own_is_unset() {
    let origins = |vars: &[(&'static str, &'static str)]| {
        let config = Config::from_vars(vars.to_vec()).expect("fine");
        (config.cors, config.cautions.len())
    };
    let ours = "https://a.example".parse().expect("an origin");
    let other = [("CORS_ORIGINS", "https://a.example")];
    assert_eq!(origins(&other), (ours, 0));
    let ours: CorsOrigins = "https://b.example".parse().expect("an origin");
    let (own, other) = (("CORS_ORIGIN", "https://b.example"), other[0]);
    assert_eq!(origins(&[own, other]), (ours.clone(), 0));
    assert_eq!(origins(&[other, own]), (ours, 0));
}

#[test]
fn the_second_port_is_another_one() {
    let read = |port| Config::from_vars([("PORT", "3000"), ("SIGNALING_PORT", port)]);
    let config = read("3001").expect("fine");
    assert_eq!(config.signaling_port, Some(3001));
    let same = read("3000").expect_err("it is taken").to_string();
    assert!(
        same.contains("SIGNALING_PORT: is 3000, as PORT is"),
        "{same}"
    );
}

#[test]
fn the_variables_of_other_programs_are_none_of_the_hubs_business() {
    let others = [
        "HOME",
        "PATH",
        "POST",
        "SORT",
        "HOSTNAME",
        "HOSTTYPE",
        "USER",
        "PWD",
        "TERM",
        "LANG",
        "SHLVL",
        "RUST_BACKTRACE",
        "RUST_LOG_STYLE",
        "AWS_REGION",
        "FLY_ALLOC_ID",
        "FLY_MACHINE_ID",
        "GITHUB_TOKEN",
        "KUBERNETES_PORT",
        "KUBERNETES_SERVICE_HOST",
        "HUB_SERVICE_HOST",
        "CARGO_HOME",
        "SSL_CERT_FILE",
        "HUBMESH_SKIP_BROWSER",
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "LOGNAME",
        "MAIL",
        "_",
    ];
    assert_eq!(cautions(&others), [""; 0]);
    // Kubernetes sets this variable in every pod beside a service with the name of the hub.
    let vars = [("HUBMESH_PORT", "tcp://10.0.0.1:8080")];
    let config = Config::from_vars(vars).expect("no setting is wrong");
    assert!(config.cautions.is_empty(), "{:?}", config.cautions);
}

const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----";

#[test]
fn a_jwt_has_one_key_and_what_is_wrong_with_it_is_told_without_showing_it() {
    let secret = "0123456789abcdef0123456789abcdef";
    let has_jwt = |vars: &[(&str, &str)]| {
        let config = Config::from_vars(vars.iter().copied()).expect("fine");
        config.jwt.is_some()
    };
    assert!(!has_jwt(&[]));
    assert!(has_jwt(&[("JWT_SECRET", secret), ("JWT_ISSUER", "me")]));
    assert!(has_jwt(&[("JWT_PUBLIC_KEY", PUBLIC_KEY)]));
    assert!(has_jwt(&[(
        "JWT_PUBLIC_KEY",
        &PUBLIC_KEY.replace('\n', "\\n")
    )]));
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("issuer.pem");
    std::fs::write(&path, PUBLIC_KEY).expect("written");
    assert!(has_jwt(&[(
        "JWT_PUBLIC_KEY",
        path.to_str().expect("a text")
    )]));

    let both = problems(&[("JWT_SECRET", secret), ("JWT_PUBLIC_KEY", PUBLIC_KEY)]);
    assert!(both[0].0 == "JWT_PUBLIC_KEY" && both[0].1.contains("beside JWT_SECRET"));
    for wrong in [&secret[1..], PUBLIC_KEY] {
        let found = problems(&[("JWT_SECRET", wrong)]);
        assert_eq!(found[0].0, "JWT_SECRET");
        assert!(!found[0].1.contains(wrong) && found.len() == 1, "{found:?}");
    }
}

#[test]
fn limits_for_each_address_are_off_unless_set() {
    let config = Config::from_vars(NONE).expect("the defaults are fine");
    assert_eq!(config.max_connections_per_ip, None);
    assert_eq!(config.connects_per_minute_per_ip, None);
    let set = [
        ("MAX_CONNECTIONS_PER_IP", "5"),
        ("CONNECTS_PER_MINUTE_PER_IP", "7"),
    ];
    let config = Config::from_vars(set).expect("fine");
    assert_eq!(config.max_connections_per_ip, Some(5));
    assert_eq!(config.connects_per_minute_per_ip.map(u32::from), Some(7));
}

#[test]
fn the_mesh_opens_to_the_hub_token_else_to_the_peers_token() {
    let token = |vars: &[(&str, &str)]| {
        let config = Config::from_vars(vars.iter().copied()).expect("fine");
        config.mesh.token.map(|token| token.expose().to_owned())
    };
    assert_eq!(token(&[]), None);
    assert_eq!(token(&[("AUTH_TOKEN", "a")]).as_deref(), Some("a"));
    assert_eq!(
        token(&[("AUTH_TOKEN", "a"), ("HUB_TOKEN", "h")]).as_deref(),
        Some("h")
    );
}

#[test]
fn bootstrap_hubs_are_addresses_or_names_to_look_up_each_once() {
    let list = "ws://a:1, wss://b/mesh,, dns+ws://hubs.internal:80, ws://a:1";
    let config = Config::from_vars([("BOOTSTRAP_HUBS", list)]).expect("fine");
    let [one, two, three] = config.mesh.bootstrap.as_slice() else {
        panic!("three, not {:?}", config.mesh.bootstrap)
    };
    assert_eq!(
        (one.to_string(), two.to_string()),
        ("ws://a:1/".into(), "wss://b/mesh".into())
    );
    assert_eq!(
        three,
        &BootstrapHub::Dns {
            host: "hubs.internal".into(),
            port: 80
        }
    );
    assert_eq!(three.to_string(), "dns+ws://hubs.internal:80");
}

#[test]
fn a_hub_id_is_taken_or_drawn_anew() {
    let drawn = || Config::from_vars(NONE).expect("fine").mesh.hub_id;
    assert_ne!(drawn(), drawn());
    let id = "ab".repeat(20);
    let set = Config::from_vars([("HUB_ID", &id)]).expect("fine");
    assert_eq!(set.mesh.hub_id.to_string(), id);
}

#[test]
fn the_region_is_fly_ios_else_the_plain_one() {
    let region = |vars: &[(&str, &str)]| {
        Config::from_vars(vars.iter().copied())
            .expect("fine")
            .mesh
            .region
    };
    assert_eq!(region(&[]), "");
    assert_eq!(region(&[("REGION", "eu")]), "eu");
    assert_eq!(region(&[("REGION", "eu"), ("FLY_REGION", "fra")]), "fra");
}

#[test]
fn a_host_is_an_address_with_or_without_brackets_or_a_name() {
    for (text, host) in [
        ("0.0.0.0", "0.0.0.0"),
        ("::", "::"),
        ("[::1]", "::1"),
        ("hub.internal", "hub.internal"),
    ] {
        assert_eq!(
            Config::from_vars([("HOST", text)]).expect("fine").host,
            host
        );
    }
}

#[test]
fn of_two_variables_with_one_name_the_later_counts() {
    assert_eq!(
        Config::from_vars([("PORT", "1"), ("PORT", "2")])
            .expect("fine")
            .port,
        2
    );
}

#[test]
fn a_rate_of_zero_is_no_limit() {
    let config = Config::from_vars([("RATE_LIMIT_PER_SEC", "0")]).expect("fine");
    assert_eq!(config.peer.rate_per_sec, None);
}

#[test]
fn an_outbox_holds_a_full_roster_or_the_configuration_is_refused() {
    let found = problems(&[("DISCOVERY_LIMIT", "20000")]);
    let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["OUTBOX_MESSAGES", "OUTBOX_BYTES"]);
    assert!(found[0].1.contains("20256"), "{}", found[0].1);
    let enough = [
        ("DISCOVERY_LIMIT", "20000"),
        ("OUTBOX_MESSAGES", "20256"),
        ("OUTBOX_BYTES", "31768576"),
    ];
    assert!(Config::from_vars(enough).is_ok());
    assert_eq!(
        problems(&[enough[0], enough[1], ("OUTBOX_BYTES", "31768575")]).len(),
        1
    );
}

#[test]
fn the_longest_room_has_a_place_among_the_records_of_a_hub() {
    let data = ("MESH_DATA_PER_HUB", "65536");
    let found = problems(&[data, ("MAX_ROOM_BYTES", "16385")]);
    assert_eq!(found[0].0, "MAX_ROOM_BYTES");
    assert!(found[0].1.contains("MESH_DATA_PER_HUB"), "{found:?}");
    assert!(Config::from_vars([data, ("MAX_ROOM_BYTES", "16384")]).is_ok());
}

#[test]
fn a_room_has_no_more_members_than_a_newcomer_is_told_of() {
    let capacity = |vars: &[(&str, &str)]| {
        let config = Config::from_vars(vars.iter().copied()).expect("fine");
        config.policies.of(Dialect::Rooms).capacity
    };
    assert_eq!(capacity(&[]), Some(256));
    let few = ("DISCOVERY_LIMIT", "100");
    assert_eq!(capacity(&[few]), Some(100));
    assert_eq!(capacity(&[few, ("MAX_ROOM_MEMBERS", "100")]), Some(100));
    let found = problems(&[few, ("MAX_ROOM_MEMBERS", "101")]);
    assert_eq!(found[0].0, "MAX_ROOM_MEMBERS");
    assert!(found[0].1.contains("DISCOVERY_LIMIT = 100"), "{found:?}");
}

#[test]
fn four_of_the_longest_messages_fit_into_their_budget() {
    let long = ("MAX_MESSAGE_BYTES", "1000000");
    let found = problems(&[long, ("MESSAGE_BUDGET_BYTES", "3999999")]);
    assert_eq!(found[0].0, "MESSAGE_BUDGET_BYTES");
    assert!(found[0].1.contains("4000000"), "{}", found[0].1);
    let outbox = ("OUTBOX_BYTES", "10000000");
    assert!(Config::from_vars([long, outbox, ("MESSAGE_BUDGET_BYTES", "4000000")]).is_ok());
}

#[test]
fn messages_may_be_set_to_sixteen_mebibytes_and_what_holds_them_has_to_follow() {
    let longest = ("MAX_MESSAGE_BYTES", "16777216");
    let roster_and_four = ("OUTBOX_BYTES", "68644864");
    assert!(Config::from_vars([longest, roster_and_four]).is_ok());
    let found = problems(&[longest]);
    assert_eq!(found[0].0, "OUTBOX_BYTES");
    assert!(found[0].1.contains("68644864"), "{}", found[0].1);
    let found = problems(&[
        longest,
        roster_and_four,
        ("MESSAGE_BUDGET_BYTES", "67108863"),
    ]);
    assert_eq!(found[0].0, "MESSAGE_BUDGET_BYTES");
    let found = problems(&[("MAX_MESSAGE_BYTES", "16777217")]);
    assert_eq!(found[0].0, "MAX_MESSAGE_BYTES");
    let found = problems(&[longest, roster_and_four, ("MAX_ANNOUNCE_BYTES", "1048577")]);
    assert_eq!(found[0].0, "MAX_ANNOUNCE_BYTES");
}

#[test]
fn announced_data_fits_into_a_message() {
    let found = problems(&[
        ("MAX_MESSAGE_BYTES", "1024"),
        ("MAX_ANNOUNCE_BYTES", "1025"),
    ]);
    assert_eq!(found[0].0, "MAX_ANNOUNCE_BYTES");
}

/// Runs the daemon with only these variables.
fn daemon(arguments: &[&str], vars: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hubmesh"));
    command
        .args(arguments)
        .env_clear()
        .envs(vars.iter().copied());
    command.output().expect("the daemon runs")
}

#[test]
fn the_daemon_exits_with_64_and_names_every_problem() {
    let output = daemon(&[], &[("PORT", "no"), ("DRAIN_MS", "no")]);
    assert_eq!(output.status.code(), Some(64));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.contains("PORT:") && told.contains("DRAIN_MS:"),
        "{told}"
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn the_daemon_checks_a_configuration_without_serving() {
    assert_eq!(daemon(&["--check-config"], &[]).status.code(), Some(0));
    assert_eq!(
        daemon(&["--check-config"], &[("PORT", "no")]).status.code(),
        Some(64)
    );
}

#[test]
fn near_misses_are_told_by_the_check_and_with_other_problems() {
    let output = daemon(&["--check-config"], &[("MAX_CONECTIONS", "5")]);
    assert_eq!(output.status.code(), Some(0));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.contains("MAX_CONECTIONS") && told.contains("MAX_CONNECTIONS"),
        "{told}"
    );
    let output = daemon(&[], &[("MAX_CONECTIONS", "5"), ("PORT", "no")]);
    assert_eq!(output.status.code(), Some(64));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("MAX_CONECTIONS is not a setting"), "{told}");
}

#[test]
fn turn_servers_are_checked_whole_and_their_secret_is_never_shown() {
    let secret = ("TURN_SECRET", "north");
    let turn = |urls| ("TURN_URLS", urls);
    let config = Config::from_vars([turn("turn:a.example,stun:b.example:3478"), secret]);
    let nat = config.expect("fine").nat;
    let urls: Vec<&str> = nat.urls.iter().map(IceUrl::as_str).collect();
    assert_eq!(urls, ["turn:a.example", "stun:b.example:3478"]);
    assert_eq!(nat.ttl, Duration::from_secs(300));
    assert!(Config::from_vars([turn("stun:b.example")]).is_ok());

    let told = |vars: &[(&str, &str)]| {
        let texts = problems(vars).into_iter();
        let told: Vec<String> = texts.map(|(name, text)| format!("{name} {text}")).collect();
        told.join("\n")
    };
    let both = told(&[turn("turn://a.example,turn:b.example,x"), secret]);
    assert_eq!(both.lines().count(), 2, "{both}");
    assert!(
        both.contains("no slashes") && !both.contains("north"),
        "{both}"
    );
    let password = told(&[turn("turn:ada:north@a.example"), secret]);
    assert!(!password.contains("north"), "{password}");
    assert!(told(&[turn("turn:a.example")]).starts_with("TURN_SECRET is unset"));
    let lone = [secret, ("IS_HUB", "false")];
    assert!(told(&lone).starts_with("TURN_SECRET has no effect"));

    let output = daemon(&["--check-config"], &[turn("turn:a.example"), secret]);
    assert_eq!(output.status.code(), Some(0));
    let told = String::from_utf8_lossy(&output.stderr);
    for caution in ["shorter than 16 bytes", "open to everybody"] {
        assert!(told.contains(caution), "{told}");
    }
    assert!(!told.contains("north"), "{told}");
}

#[test]
fn a_hub_s_own_stun_and_turn_are_off_unless_set_and_checked_whole() {
    let nat = |vars: &[(&str, &str)]| Config::from_vars(vars.iter().copied()).expect("fine").nat;
    let off = nat(&[]);
    assert!(off.stun.is_none() && off.turn.is_none());
    assert_eq!(off.sockets(), 0);
    let on = nat(&[
        ("STUN_PORT", "3478"),
        ("TURN_PORT", "3478"),
        ("TURN_ALLOW_PEERS", "10.1.0.0/16, ::1"),
        ("TURN_PUBLIC_ADDRESS", "203.0.113.5,2001:db8::5"),
        ("TURN_BYTES_PER_SEC_PER_USER", "0"),
    ]);
    let turn = on.turn.as_ref().expect("it is on");
    assert_eq!(turn.relay_ports, 20_000..=29_999);
    assert_eq!((turn.allow_peers.len(), on.public.len()), (2, 2));
    assert_eq!(on.limits.user_bytes_per_s, None);
    assert_eq!(on.sockets(), 1_000 + 1_024);
    let port = ("TURN_PORT", "3478");
    for (vars, name, text) in [
        (&[("STUN_ALT_PORT", "1")][..], "STUN_ALT_PORT", "no effect"),
        (
            &[("STUN_PORT", "9"), ("STUN_ALT_PORT", "9")],
            "STUN_ALT_PORT",
            "another port",
        ),
        (&[("TURN_TLS_PORT", "1")], "TURN_TLS_PORT", "no effect"),
        (&[port, ("TURN_TLS_PORT", "1")], "TURN_TLS_PORT", "TLS_CERT"),
        (
            &[port, ("TURN_RELAY_PORTS", "5-4")],
            "TURN_RELAY_PORTS",
            "the lower first",
        ),
        (
            &[port, ("TURN_RELAY_PORTS", "9000-9009")],
            "TURN_RELAY_PORTS",
            "10 ports",
        ),
        (
            &[("TURN_ALLOW_PEERS", "::ffff:10.0.0.0/104")],
            "TURN_ALLOW_PEERS",
            "without ::ffff:",
        ),
        (&[("TURN_ALLOW_PEERS", "lan")], "TURN_ALLOW_PEERS", "blocks"),
        (
            &[("TURN_PUBLIC_ADDRESS", "192.0.2.1,192.0.2.2")],
            "TURN_PUBLIC_ADDRESS",
            "two addresses",
        ),
        (
            &[("TURN_PUBLIC_ADDRESS", "::")],
            "TURN_PUBLIC_ADDRESS",
            "no client",
        ),
        (
            &[("TURN_PUBLIC_NAME", "a b")],
            "TURN_PUBLIC_NAME",
            "neither a host name",
        ),
        (&[("TURN_PORT", "x")], "TURN_PORT", "65535"),
        (
            &[("TURN_MAX_LIFETIME_S", "5")],
            "TURN_MAX_LIFETIME_S",
            "600",
        ),
    ] {
        let told = problems(vars);
        let good = told.len() == 1 && told[0].0 == name && told[0].1.contains(text);
        assert!(good, "{vars:?}: {told:?}");
    }
}

#[test]
fn ports_of_one_hub_differ() {
    let tls = [("TLS_CERT", "cert"), ("TLS_KEY", "key")];
    let stun = ("STUN_PORT", "3478");
    for (vars, name, other) in [
        (&[("PORT", "3478"), stun][..], "STUN_PORT", "PORT"),
        (&[("PORT", "3479"), stun], "STUN_ALT_PORT", "PORT"),
        (
            &[("PORT", "65534"), ("STUN_PORT", "65535")],
            "STUN_ALT_PORT",
            "PORT",
        ),
        (&[stun, ("TURN_PORT", "3479")], "TURN_PORT", "STUN_ALT_PORT"),
        (
            &[stun, ("STUN_ALT_PORT", "9"), ("TURN_PORT", "9")],
            "TURN_PORT",
            "STUN_ALT_PORT",
        ),
        (&[("PORT", "9"), ("TURN_PORT", "9")], "TURN_PORT", "PORT"),
        (
            &[("PORT", "9"), ("TURN_PORT", "8"), ("TURN_TLS_PORT", "9")],
            "TURN_TLS_PORT",
            "PORT",
        ),
        (
            &[stun, ("TURN_PORT", "3478"), ("TURN_TLS_PORT", "3478")],
            "TURN_TLS_PORT",
            "STUN_PORT",
        ),
        (
            &[stun, ("TURN_PORT", "8"), ("TURN_TLS_PORT", "3479")],
            "TURN_TLS_PORT",
            "STUN_ALT_PORT",
        ),
    ] {
        let told = problems(&[vars, &tls].concat());
        let words = format!("as {other} is");
        let good = told.len() == 1 && told[0].0 == name && told[0].1.contains(&words);
        assert!(good, "{vars:?}: {told:?}");
    }
    let implied = problems(&[stun, ("TURN_PORT", "3479")]);
    assert!(implied[0].1.contains("the port after STUN_PORT"));
    for vars in [
        &[("PORT", "1"), stun, ("TURN_PORT", "3478")][..],
        &[("PORT", "0"), ("STUN_PORT", "0"), ("TURN_PORT", "0")],
        &[stun, ("STUN_ALT_PORT", "0"), ("TURN_PORT", "3479")],
    ] {
        let vars = [vars, &tls].concat();
        assert!(Config::from_vars(vars.iter().copied()).is_ok(), "{vars:?}");
    }
}

#[test]
fn cautions_about_relays_name_the_setting_that_is_there() {
    let cautions = |vars: &[(&str, &str)]| -> Vec<String> {
        let config = Config::from_vars(vars.iter().copied()).expect("fine");
        config.cautions.iter().map(|one| one.name.clone()).collect()
    };
    let port = ("TURN_PORT", "3478");
    assert_eq!(cautions(&[port]), ["TURN_PORT"]);
    let secret = ("TURN_SECRET", "0123456789abcdef");
    assert_eq!(cautions(&[port, secret]), ["TURN_SECRET"]);
    let token = ("AUTH_TOKEN", "0123456789abcdef");
    assert_eq!(cautions(&[port, token]), [""; 0]);
    let ports = ("TURN_RELAY_PORTS", "3000-9000");
    assert_eq!(cautions(&[port, token, ports]), ["TURN_RELAY_PORTS"]);
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_printed_ends_the_daemon_with_70_and_no_panic() {
    for argument in ["--print-settings", "--check-config"] {
        for mute in [false, true] {
            let full = || std::fs::File::options().write(true).open("/dev/full");
            let mut command = Command::new(env!("CARGO_BIN_EXE_hubmesh"));
            command
                .arg(argument)
                .env_clear()
                .stdout(full().expect("a device"));
            if mute {
                command.stderr(full().expect("a device"));
            }
            let output = command.output().expect("the daemon runs");
            let told = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(70), "{argument}: {told}");
            assert!(mute || told.starts_with("hubmesh: cannot print"), "{told}");
        }
    }
}

#[test]
fn characters_that_cannot_be_shown_in_an_address_are_warned_of_without_the_token() {
    for (token, named) in [
        ("sesame&1", "`&`"),
        ("sesame#1", "`#`"),
        ("100%sesame", "`%`"),
        ("se&sa#me%", "`&` and `#` and `%`"),
    ] {
        let output = daemon(&["--check-config"], &[("AUTH_TOKEN", token)]);
        assert_eq!(output.status.code(), Some(0), "{token}");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(
            told.contains("AUTH_TOKEN") && told.contains(named),
            "{told}"
        );
        assert!(!told.contains("sesame") && !told.contains(token), "{told}");
    }
    let good = [("AUTH_TOKEN", "ab+cd/ef==-._~!*"), ("HUB_TOKEN", "a&b")];
    let output = daemon(&["--check-config"], &good);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn the_daemon_prints_its_settings_even_in_a_broken_environment() {
    let output = daemon(&["--print-settings"], &[("PORT", "no")]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stdout), settings_table());
}

#[test]
fn a_password_in_an_address_is_not_shown_with_the_problem() {
    for (name, value, shown) in [
        ("PUBLIC_URL", "ws://hub:hunter2@a", "ws://***@a"),
        (
            "BOOTSTRAP_HUBS",
            "ws://a, dns+ws://hunter2@b:80",
            "dns+ws://***@b:80",
        ),
        ("BOOTSTRAP_HUBS", "hub:hunter2@a", "***@a"),
        (
            "CORS_ORIGIN",
            "https://a,https://hub:hunter2@b",
            "https://***@b",
        ),
    ] {
        let found = problems(&[(name, value)]);
        let (_, text) = found.first().expect("a problem");
        assert!(text.contains(shown) && !text.contains("hunter2"), "{text}");
    }
}

/// A value that is not UTF-8 is a problem of its variable, not a panic.
#[cfg(unix)]
#[test]
fn bytes_that_are_no_text_are_refused() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let mut command = Command::new(env!("CARGO_BIN_EXE_hubmesh"));
    command.arg("--check-config").env_clear();
    command
        .env("LOG_FORMAT", OsStr::from_bytes(b"\xff"))
        .env("HOST", OsStr::from_bytes(b"\xff"))
        .env("PORT", "none")
        .env("OTHER", OsStr::from_bytes(b"\xff"));
    let output = command.output().expect("the daemon runs");
    assert_eq!(output.status.code(), Some(64));
    let told = String::from_utf8_lossy(&output.stderr);
    let about = |line: &str| Some(line.strip_prefix("  ")?.split_once(':')?.0.to_owned());
    let names: Vec<String> = told.lines().filter_map(about).collect();
    assert_eq!(names, ["HOST", "PORT", "LOG_FORMAT"], "{told}");
    assert!(told.contains("HOST: is not UTF-8"), "{told}");
}

/// The table between the markers of docs/configuration.md is the same as the printed one, word by word.
#[test]
fn the_manual_has_the_table_of_settings_as_the_hub_prints_it() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let text = std::fs::read_to_string(path).expect("the page is there");
    let (_, rest) = text
        .split_once("<!-- settings:begin -->")
        .expect("the table begins");
    let (table, _) = rest
        .split_once("<!-- settings:end -->")
        .expect("the table ends");
    let shown: Vec<&str> = table.trim().lines().collect();
    let printed = settings_table();
    let printed: Vec<&str> = printed.trim().lines().collect();
    for row in &printed {
        assert!(
            shown.contains(row),
            "missing or outdated; run hubmesh --print-settings: {row}"
        );
    }
    assert_eq!(shown, printed, "the same rows in the same order");
}
