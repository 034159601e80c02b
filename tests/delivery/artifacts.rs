//! The container, Fly, Compose and systemd files: they must agree with each other and with the
//! sources. The tests check their text, because no engine runs here.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::workshop::{installed, read, repository};

/// The time that a hub may take to end beyond its pause and its drain, with a second to spare, in milliseconds
/// (docs/deployment.md).
const BEYOND_DRAIN_MS: u64 = 11_000;

/// The value of `key` in a file of `key = value` or `key: value` lines, without quotes.
fn value(text: &str, key: &str) -> String {
    let found = text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix(key)?.trim_start();
        rest.strip_prefix(['=', ':'])
            .map(|rest| rest.trim().trim_matches('"').to_owned())
    });
    found.unwrap_or_else(|| panic!("no {key} in:\n{text}"))
}

fn number(text: &str, key: &str) -> u64 {
    let value = value(text, key);
    let digits = value.strip_suffix('s').unwrap_or(&value);
    digits
        .parse()
        .unwrap_or_else(|_| panic!("{key} is {value}, not a number"))
}

/// The programs of the daemon's package and of the packages below `bin`.
fn binaries() -> Vec<String> {
    let below = fs::read_dir(repository().join("bin")).expect("the directory of the programs");
    let below = below
        .map(|entry| entry.expect("an entry").path().join("Cargo.toml"))
        .filter(|manifest| manifest.exists())
        .map(|manifest| fs::read_to_string(manifest).expect("a manifest"));
    let manifests = below.chain([read("Cargo.toml")]);
    manifests
        .flat_map(|manifest| {
            let entries = manifest.split("[[bin]]").skip(1);
            entries
                .map(|entry| value(entry, "name"))
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn the_image_is_built_with_the_toolchain_of_the_repository() {
    assert_eq!(
        value(&read("Dockerfile"), "ARG RUST_VERSION"),
        value(&read("rust-toolchain.toml"), "channel")
    );
}

#[test]
fn the_image_carries_every_binary_of_the_manifests() {
    let dockerfile = read("Dockerfile");
    let list = dockerfile
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("&& for name in "))
        .and_then(|rest| rest.split(';').next())
        .expect("the loop over the binaries");
    let shipped: Vec<&str> = list.split_whitespace().collect();
    assert!(binaries().contains(&"load-test".to_owned()));
    for binary in binaries() {
        assert!(
            shipped.contains(&binary.as_str()),
            "{binary} is not among {shipped:?}"
        );
    }
}

/// The paths that the Dockerfile copies from the repository, in order.
fn copied_sources() -> Vec<String> {
    let dockerfile = read("Dockerfile");
    let copies = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "));
    let ours = copies.filter(|copy| !copy.starts_with("--from"));
    ours.flat_map(|copy| {
        let words: Vec<&str> = copy.split_whitespace().collect();
        let (_target, sources) = words.split_last().expect("a target");
        sources
            .iter()
            .map(|source| (*source).to_owned())
            .collect::<Vec<_>>()
    })
    .collect()
}

#[test]
fn everything_that_the_image_copies_exists_and_is_let_through_to_the_builder() {
    let ignore = read(".dockerignore");
    let allowed: Vec<&str> = ignore
        .lines()
        .filter_map(|line| line.strip_prefix('!'))
        .collect();
    let sources = copied_sources();
    assert!(sources.iter().any(|source| source == "src"), "{sources:?}");
    for source in &sources {
        assert!(
            allowed.contains(&source.as_str()),
            "{source} is not in .dockerignore's allow-list"
        );
        assert!(
            repository().join(source).exists(),
            "there is no {source} to copy"
        );
    }
}

#[test]
fn the_runtime_image_has_no_root_and_asks_the_daemon_itself_for_its_health() {
    let dockerfile = read("Dockerfile");
    let runtime = dockerfile.rsplit("\nFROM ").next().expect("a last stage");
    assert!(runtime.starts_with("gcr.io/distroless/"), "{runtime}");
    assert_eq!(value(runtime, "USER 65532"), "65532");
    assert!(runtime.contains("HEALTHCHECK"), "{runtime}");
    assert!(
        runtime.contains(r#"CMD ["/usr/local/bin/hubmesh", "--healthcheck"]"#),
        "{runtime}"
    );
    assert_eq!(
        value(runtime, "ENV HOST").trim_end_matches([' ', '\\']),
        "0.0.0.0"
    );
}

#[test]
fn fly_waits_for_the_drain_before_it_kills() {
    let fly = read("fly.toml");
    assert_eq!(value(&fly, "kill_signal"), "SIGTERM");
    let needed = number(&fly, "DRAIN_PAUSE_MS") + number(&fly, "DRAIN_MS") + BEYOND_DRAIN_MS;
    assert!(number(&fly, "kill_timeout") * 1000 > needed);
}

#[test]
fn fly_asks_the_port_that_the_daemon_listens_on_whether_it_is_ready_and_for_metrics() {
    let fly = read("fly.toml");
    let port = number(&fly, "PORT");
    assert_eq!(number(&fly, "internal_port"), port);
    let metrics = fly.split("[metrics]").nth(1).expect("a [metrics] table");
    assert_eq!(number(metrics, "port"), port);
    assert_eq!(value(metrics, "path"), "/metrics");
    let check = fly
        .split("[[http_service.checks]]")
        .nth(1)
        .expect("a health check");
    assert_eq!(value(check, "path"), "/ready");
}

#[test]
fn fly_counts_connections_and_leaves_it_to_the_hub_to_say_that_it_is_full() {
    let fly = read("fly.toml");
    assert_eq!(value(&fly, "type"), "connections");
    assert_eq!(value(&fly, "auto_stop_machines"), "off");
    assert!(number(&fly, "min_machines_running") >= 1);
    assert!(number(&fly, "hard_limit") > number(&fly, "MAX_CONNECTIONS"));
    assert!(number(&fly, "soft_limit") < number(&fly, "hard_limit"));
}

#[test]
fn compose_runs_three_hubs_of_which_two_dial_the_first() {
    let compose = read("docker-compose.yml");
    let services = compose.split("\nservices:\n").nth(1).expect("services");
    let hubs: Vec<&str> = services.split("\n\n").collect();
    assert_eq!(hubs.len(), 3, "{services}");
    for (hub, name) in hubs.iter().zip(["hub-a", "hub-b", "hub-c"]) {
        assert!(hub.trim_start().starts_with(name), "{hub}");
        assert_eq!(value(hub, "PUBLIC_URL"), format!("ws://{name}:8080"));
    }
    assert!(!hubs[0].contains("BOOTSTRAP_HUBS"), "{}", hubs[0]);
    for hub in &hubs[1..] {
        assert_eq!(value(hub, "BOOTSTRAP_HUBS"), "ws://hub-a:8080");
    }
}

#[test]
fn compose_waits_for_the_drain_and_watches_the_health_of_its_hubs() {
    let compose = read("docker-compose.yml");
    let drain = number(&compose, "DRAIN_MS") + 5_000 + BEYOND_DRAIN_MS;
    assert!(number(&compose, "stop_grace_period") * 1000 > drain);
    assert!(compose.contains(r#"test: ["CMD", "/usr/local/bin/hubmesh", "--healthcheck"]"#));
    assert_eq!(
        compose.matches("<<: *hub\n").count(),
        3,
        "all three share the health check"
    );
}

/// The name and text of each file of the Kubernetes base.
fn kubernetes() -> Vec<(String, String)> {
    let folder = repository().join("packaging/k8s");
    let entries = fs::read_dir(folder).expect("the base");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let names = names.map(|name| name.into_string().expect("text"));
    names
        .map(|name| (name.clone(), read(&format!("packaging/k8s/{name}"))))
        .collect()
}

#[test]
fn the_base_for_kustomize_lists_each_of_its_files() {
    let list = read("packaging/k8s/kustomization.yaml");
    let files = kubernetes();
    assert!(files.len() > 5);
    for (name, _) in files {
        let is_listed = list.lines().any(|line| line == format!("  - {name}"));
        assert_eq!(is_listed, name != "kustomization.yaml", "{name}");
    }
}

#[test]
fn everything_in_the_base_is_about_its_own_pods() {
    let files = kubernetes();
    let others = files
        .iter()
        .filter(|(name, _)| name != "kustomization.yaml");
    for (name, text) in others {
        for resource in text.split("\n---\n") {
            assert!(
                resource.contains("app.kubernetes.io/name: hubmesh"),
                "{name} selects whatever is in its namespace"
            );
        }
        assert!(!text.contains("elector: {}"), "{name}");
    }
}

#[test]
fn kubernetes_waits_for_the_pause_and_the_drain_before_it_kills() {
    let settings = read("packaging/k8s/kustomization.yaml");
    let hubs = read("packaging/k8s/statefulset.yaml");
    let millis = |name: &str| number(&settings, &format!("- {name}"));
    let needed = millis("DRAIN_PAUSE_MS") + millis("DRAIN_MS") + BEYOND_DRAIN_MS;
    assert!(number(&hubs, "terminationGracePeriodSeconds") * 1000 > needed);
    let probe = hubs.split("readinessProbe:").nth(1).expect("a probe");
    assert!(probe.contains("path: /ready"), "{probe}");
    let noticed = number(probe, "periodSeconds") * number(probe, "failureThreshold");
    assert!(noticed * 1000 < millis("DRAIN_PAUSE_MS"));
    let probe = hubs.split("livenessProbe:").nth(1).expect("a probe");
    assert_eq!(value(probe, "path"), "/live");
}

#[test]
fn in_kubernetes_prometheus_alone_reaches_what_is_for_operators() {
    let hubs = read("packaging/k8s/statefulset.yaml");
    let port = hubs.split("name: admin").nth(1).expect("a port");
    let addr = hubs.split("name: ADMIN_ADDR").nth(1).expect("a setting");
    let expected = format!("0.0.0.0:{}", number(port, "containerPort"));
    assert_eq!(value(addr, "value"), expected);
    let monitor = read("packaging/k8s/podmonitor.yaml");
    assert_eq!(value(&monitor, "- port"), "admin");
    assert_eq!(value(&monitor, "key"), "ADMIN_TOKEN");
    let policy = read("packaging/k8s/networkpolicy.yaml");
    let (others, for_admin) = policy.split_once("namespaceSelector").expect("a rule");
    assert!(for_admin.contains("port: admin") && !others.contains("port: admin"));
    assert!(!read("packaging/k8s/services.yaml").contains("admin"));
}

#[test]
fn hubs_in_kubernetes_find_each_other_before_they_are_ready() {
    let hubs = read("packaging/k8s/statefulset.yaml");
    let services = read("packaging/k8s/services.yaml");
    let headless = services.split("\n---\n").next().expect("a service");
    let name = value(headless, "name");
    assert_eq!(value(&hubs, "serviceName"), name);
    assert!(hubs.contains(&format!("ws://$(POD_NAME).{name}:8080")));
    assert!(hubs.contains(&format!("dns+ws://{name}:8080")));
    assert_eq!(value(headless, "publishNotReadyAddresses"), "true");
    assert_eq!(value(&hubs, "enableServiceLinks"), "false");
}

#[test]
fn systemd_waits_for_the_drain_before_it_kills() {
    let unit = read("packaging/hubmesh.service");
    let sample = read("packaging/hubmesh.env");
    assert_eq!(value(&unit, "KillSignal"), "SIGTERM");
    let drain = number(&sample, "#DRAIN_PAUSE_MS") + number(&sample, "#DRAIN_MS") + BEYOND_DRAIN_MS;
    assert!(number(&unit, "TimeoutStopSec") * 1000 > drain);
    assert_eq!(value(&unit, "RestartPreventExitStatus"), "64");
}

#[test]
fn systemd_accepts_the_unit() {
    let Some(analyze) = installed("systemd-analyze") else {
        eprintln!("skipped: systemd-analyze is not installed");
        return;
    };
    // The unit names the installed path. systemd checks that the file exists, so the test puts the path of the built
    // file into the unit.
    let unit = read("packaging/hubmesh.service").replace(
        "ExecStart=/usr/local/bin/hubmesh",
        concat!("ExecStart=", env!("CARGO_BIN_EXE_hubmesh")),
    );
    let directory = TempDir::new().expect("a temporary directory");
    let path = directory.path().join("hubmesh.service");
    std::fs::write(&path, unit).expect("the unit is written");

    let output = Command::new(analyze)
        .args(["verify", "--man=no"])
        .arg(&path)
        .output()
        .expect("systemd-analyze runs");

    let complaints = String::from_utf8_lossy(&output.stderr);
    let about_ours: Vec<&str> = complaints
        .lines()
        .filter(|line| line.contains("hubmesh"))
        .collect();
    assert!(about_ours.is_empty(), "{about_ours:#?}");
    assert!(output.status.success(), "{complaints}");
}
