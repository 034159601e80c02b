//! The dependencies of the packages, as cargo sees them. The manifests are the walls; these tests say which walls must
//! stand.

use std::collections::BTreeSet;
use std::process::Command;

/// The names of all packages that this one is built from, itself included.
fn built_into(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--locked", "--offline", "--prefix", "none"])
        .args(["--edges", "normal", "--package", package])
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{output:?}");
    let tree = String::from_utf8(output.stdout).expect("names of packages");
    let names: BTreeSet<String> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    assert!(names.contains(package), "{names:?}");
    names
}

fn is_built_without(package: &str, others: &[&str]) {
    let names = built_into(package);
    for other in others {
        assert!(!names.contains(*other), "{package} is built with {other}");
    }
}

#[test]
fn the_core_has_no_runtime_no_http_no_clock_and_no_entropy() {
    let others = [
        "tokio",
        "hyper",
        "warp",
        "futures",
        "rand",
        "getrandom",
        "quanta",
        "chrono",
        "time",
    ];
    is_built_without("hubmesh-core", &others);
    is_built_without("hubmesh-sim", &others);
    is_built_without(
        "hubmesh-turn",
        &["tokio", "hyper", "warp", "futures", "hubmesh-core"],
    );
}

#[test]
fn what_others_use_is_built_without_the_daemon() {
    for package in [
        "hubmesh-client",
        "hubmesh-core",
        "hubmesh-sim",
        "hubmesh-turn",
        "load-test",
        "mesh-sim",
    ] {
        is_built_without(package, &["hubmesh"]);
    }
    is_built_without("hubmesh-client", &["hubmesh-core", "clap"]);
}

#[test]
fn a_plain_client_is_built_without_what_leads_through_nats() {
    let others = ["stun-types", "turn-client-proto", "hyper"];
    is_built_without("hubmesh-client", &others);
}

#[test]
fn the_daemon_is_built_without_what_only_the_tools_need() {
    is_built_without(
        "hubmesh",
        &["indicatif", "hdrhistogram", "hubmesh-sim", "load-test"],
    );
}
