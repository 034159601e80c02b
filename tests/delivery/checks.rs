//! `scripts/test` and `.ci/run`: the checks that they run, the order of these, the packages that
//! they install, and that they name each check that is left out.
//!
//! The scripts run in a copy of the repository's frame, with a `cargo` that only writes down its
//! calls.

use std::fs;
use std::path::PathBuf;

use crate::workshop::{Outcome, Workshop, read, repository};

/// FAILING names a subcommand that fails. The stub writes down the script's settings for the browser suite.
const CARGO: &str = r#"
if [[ $1 == "${FAILING:-}" ]]; then exit 101; fi
if [[ $1 == nextest ]]; then
  printf '%s\n' "browser: ${HUBMESH_SKIP_BROWSER:-runs in ${CHROMIUM:-nothing}}" >"$WORKSHOP/piped"
  echo "Summary: 3 tests run: 3 passed"
fi
"#;

const FRAME: &[&str] = &[
    ".ci/run",
    "scripts/test",
    "scripts/tools.sh",
    "scripts/hadolint.txt",
    "deploy-hub.sh",
    "Dockerfile",
    "docker-compose.yml",
    "scripts/kubernetes-validate.txt",
    "packaging/k8s/pdb.yaml",
];

/// A workshop with a copy of the scripts and no tool beyond the shell's own and `cargo`.
fn bare_machine() -> Workshop {
    let workshop = Workshop::new();
    for file in FRAME {
        let copy = frame(&workshop).join(file);
        fs::create_dir_all(copy.parent().expect("a directory")).expect("the frame");
        fs::copy(repository().join(file), copy).expect("a copy of the script");
    }
    let lock = frame(&workshop).join("tests/browser/package-lock.json");
    fs::create_dir_all(lock.parent().expect("a directory")).expect("the browser tests");
    fs::write(lock, "{}").expect("a lock file");
    for tool in ["find", "mkdir", "mktemp", "mv", "rm", "touch"] {
        workshop.borrow(tool);
    }
    workshop.stub("cargo", CARGO);
    workshop.stub("cargo-nextest", "");
    workshop.stub("id", "echo \"${USER_ID:-0}\"");
    workshop
}

/// A bare machine on which all tools that the checks need are installed.
fn furnished_machine() -> Workshop {
    let workshop = bare_machine();
    for tool in [
        "cc",
        "c++",
        "shellcheck",
        "hadolint",
        "kubernetes-validate",
        "docker",
        "systemd-analyze",
        "promtool",
        "openssl",
        "curl",
        "script",
        "nginx",
        "haproxy",
        "turnserver",
        "schemathesis",
        "ip",
        "nft",
        "chromium",
    ] {
        workshop.stub(tool, "");
    }
    workshop.stub("node", "echo v20.20.2");
    workshop.stub(
        "npm",
        "mkdir -p tests/browser/node_modules && echo {} >tests/browser/node_modules/.package-lock.json",
    );
    workshop
}

/// A furnished machine, and a repository with fuzz targets.
fn fuzzing_machine() -> Workshop {
    let machine = furnished_machine();
    fs::create_dir(frame(&machine).join("fuzz")).expect("a directory");
    fs::write(frame(&machine).join("fuzz/Cargo.toml"), "").expect("a manifest");
    machine
}

fn frame(workshop: &Workshop) -> PathBuf {
    workshop.path().join("repository")
}

fn check(workshop: &Workshop, arguments: &[&str]) -> Outcome {
    workshop.run_in(&frame(workshop), "scripts/test", arguments)
}

/// The subcommands that cargo was called with, in order.
fn cargo_stages(outcome: &Outcome) -> Vec<&str> {
    outcome
        .calls_of("cargo ")
        .into_iter()
        .filter_map(|call| call.split(' ').nth(1))
        .collect()
}

#[test]
fn everything_runs_in_order_and_the_test_runner_has_the_last_word() {
    let outcome = check(&furnished_machine(), &[]);

    outcome.succeeded();
    assert_eq!(
        cargo_stages(&outcome),
        ["fmt", "clippy", "doc", "bench", "test", "nextest"]
    );
    assert_eq!(
        outcome.stdout.lines().last(),
        Some("Summary: 3 tests run: 3 passed")
    );
    outcome.says("Nothing is skipped.");
    for lint in [
        "hadolint Dockerfile",
        "docker compose -f docker-compose.yml config --quiet",
        "kubernetes-validate --strict --no-warn packaging/k8s/pdb.yaml",
    ] {
        assert!(
            outcome.calls.iter().any(|call| call == lint),
            "{lint}: {:#?}",
            outcome.calls
        );
    }
}

#[test]
fn clippy_and_the_documentation_let_no_warning_pass() {
    let outcome = check(&furnished_machine(), &["--lint"]);

    assert_eq!(
        outcome.calls_of("cargo clippy"),
        ["cargo clippy --locked --workspace --all-features --all-targets -- -D warnings"]
    );
    assert!(read("scripts/test").contains(r#"RUSTDOCFLAGS="-D warnings" cargo doc"#));
}

#[test]
fn every_shell_script_is_linted() {
    let outcome = check(&furnished_machine(), &["--lint"]);

    let call = outcome.calls_of("shellcheck")[0];
    for script in [
        "./deploy-hub.sh",
        "./scripts/test",
        "./scripts/tools.sh",
        "./.ci/run",
    ] {
        assert!(call.contains(script), "{script} is not in {call}");
    }
}

#[test]
fn the_fuzz_targets_are_checked_as_soon_as_there_are_any() {
    let machine = fuzzing_machine();

    let outcome = check(&machine, &["--lint"]);

    assert_eq!(
        outcome
            .calls_of("cargo check --locked --manifest-path fuzz/Cargo.toml")
            .len(),
        1
    );
}

/// A furnished machine, and a repository whose page npm "builds" as BUNDLE says.
fn bundling_machine() -> Workshop {
    let machine = furnished_machine();
    let web = frame(&machine).join("web");
    fs::create_dir_all(web.join("dist")).expect("a directory");
    for (file, text) in [
        ("package.json", "{}"),
        ("package-lock.json", "{}"),
        ("dist/index.html", "a page\n"),
    ] {
        fs::write(web.join(file), text).expect("a file");
    }
    machine.borrow("diff");
    machine.stub(
        "npm",
        r#"
if [[ $3 == ci ]]; then mkdir -p "$2/node_modules" && echo {} >"$2/node_modules/.package-lock.json"; fi
if [[ $3 == run ]]; then mkdir -p target/web-dist && echo "${BUNDLE:-a page}" >target/web-dist/index.html; fi
"#,
    );
    machine
}

#[test]
fn the_page_is_built_again_and_compared_with_what_is_committed() {
    let machine = bundling_machine();
    let outcome = check(&machine, &["--lint"]);
    outcome.succeeded();
    assert_eq!(outcome.calls_of("npm --prefix web ci").len(), 1);
    assert_eq!(outcome.calls_of("npm --prefix web run").len(), 1);

    let outcome = check(&machine.set("BUNDLE", "another page"), &["--lint"]);
    assert_ne!(outcome.code, Some(0), "{}", outcome.stdout);
    outcome.complains("web/dist is not what web gives");
}

#[test]
fn without_npm_the_page_is_left_out_by_name() {
    let machine = bundling_machine();
    fs::remove_file(machine.path().join("bin/npm")).expect("the stub is removed");

    let outcome = check(&machine.set("NO_INSTALL", "1"), &["--lint"]);

    outcome.succeeded();
    outcome.says("Skipped here: page bundle: nodejs npm not installed, and NO_INSTALL is set");
}

#[test]
fn without_a_c_plus_plus_compiler_the_fuzz_targets_are_left_out_by_name() {
    let machine = fuzzing_machine();
    fs::remove_file(machine.path().join("bin/c++")).expect("the stub is removed");

    let outcome = check(&machine, &["--lint"]);

    outcome.succeeded();
    assert!(outcome.calls_of("cargo check").is_empty());
    outcome.says("Skipped here: fuzz targets: g++");
}

#[test]
fn a_furnished_machine_is_left_as_it_is() {
    let machine = furnished_machine();
    machine.stub("apt-get", "");
    let first = check(&machine, &[]);
    assert!(first.calls_of("apt-get").is_empty(), "{:#?}", first.calls);
    assert_eq!(first.calls_of("npm").len(), 1);

    let second = check(&machine, &[]);
    assert_eq!(second.code, Some(0), "{}", second.stderr);
    assert_eq!(
        second.calls_of("npm").len(),
        1,
        "both runs together install once"
    );
}

#[test]
fn on_a_bare_machine_the_missing_tools_are_installed_without_a_question() {
    let machine = bare_machine();
    machine.stub("apt-cache", "");
    // This stub stands for the archive: a tool exists once its package is installed.
    machine.stub(
        "apt-get",
        r#"
[[ $DEBIAN_FRONTEND == noninteractive ]] || exit 9
furnish() { printf '#!%s\n%s\n' "$WORKSHOP/bin/bash" "$2" >"$WORKSHOP/bin/$1"; chmod +x "$WORKSHOP/bin/$1"; }
case "$*" in
  *download*) for last in "$@"; do :; done; : >"${last}_1_all.deb" ;;
  *python3-pip*) furnish python3 'for tool in hadolint kubernetes-validate schemathesis; do
    mkdir -p target/tools/$tool/bin
    for name in $tool pip; do cp "$WORKSHOP/bin/shellcheck" target/tools/$tool/bin/$name; done
  done' ;;
  *nodejs*) furnish node "echo v22.1.0"; furnish npm "" ;;
  *install*) for last in "$@"; do :; done; furnish "$last" "" ;;
esac
"#,
    );
    machine.stub(
        "dpkg-deb",
        "mkdir -p usr/bin usr/sbin; : >usr/bin/promtool; : >usr/sbin/nginx; : >usr/sbin/haproxy; \
         for program in server utils_stunclient utils_uclient utils_peer; do : >usr/bin/turn$program; done",
    );
    machine.stub(
        "apt-cache",
        r#"if [[ $* == "depends haproxy" ]]; then printf '  %s\n' "Depends: liblua" "Depends: adduser" "Suggests: libx"; fi"#,
    );
    for tool in ["chmod", "cp"] {
        machine.borrow(tool);
    }

    let outcome = check(&machine, &[]);

    outcome.succeeded();
    let installs = outcome.calls_of("apt-get install").join("\n");
    for package in [
        "gcc",
        "shellcheck",
        "python3-pip",
        "docker-compose",
        "openssl curl bsdutils",
        "nodejs npm",
        "chromium",
    ] {
        assert!(
            installs.contains(package),
            "{package} is not in\n{installs}"
        );
    }
    assert!(
        installs.lines().all(|call| call.contains(" -y ")),
        "{installs}"
    );
    assert_eq!(
        outcome.calls_of("apt-get update").len(),
        1,
        "the lists are fetched once"
    );
    assert!(installs.contains(" liblua"), "{installs}");
    assert!(!installs.contains("adduser") && !installs.contains("libx"));
    assert!(
        ["nginx", "haproxy", "coturn"]
            .iter()
            .all(|server| !installs.contains(server)),
        "that would start servers: {installs}"
    );
    for program in [
        "promtool",
        "nginx",
        "haproxy",
        "turnserver",
        "turnutils_uclient",
    ] {
        let unpacked = frame(&machine).join("target/tools/bin").join(program);
        assert!(unpacked.is_file(), "{program}");
    }
    assert_eq!(
        outcome.piped,
        format!(
            "browser: runs in {}/bin/chromium\n",
            machine.path().display()
        )
    );
}

#[test]
fn an_installation_that_fails_ends_the_run() {
    let machine = bare_machine();
    machine.stub("apt-cache", "");
    machine.stub("apt-get", "[[ $1 != install ]]");

    let outcome = check(&machine, &[]);

    assert_eq!(outcome.code, Some(1));
    outcome.complains("could not install gcc");
    outcome.complains("NO_INSTALL=1");
    assert!(cargo_stages(&outcome).is_empty());
}

#[test]
fn package_lists_that_cannot_be_fetched_end_the_run_in_place_of_leaving_checks_out() {
    let machine = bare_machine();
    machine.stub("apt-get", "[[ $1 != update ]]");
    // Without the lists, no package is known.
    machine.stub("apt-cache", "exit 100");

    let outcome = check(&machine, &[]);

    assert_eq!(outcome.code, Some(1), "{}", outcome.stdout);
    outcome.complains("could not install gcc");
    assert!(cargo_stages(&outcome).is_empty());
}

/// Runs the checks on a bare machine where nothing may be installed, and expects `reason` in the output.
fn expect_named_skips(machine: &Workshop, reason: &str) {
    let outcome = check(machine, &[]);

    outcome.succeeded();
    assert!(
        outcome.calls_of("apt-get install").is_empty(),
        "{:#?}",
        outcome.calls
    );
    for check in [
        "shell lint",
        "Dockerfile lint",
        "Compose file check",
        "Kubernetes files",
        "promtool on /metrics",
        "tests behind nginx",
        "tests behind haproxy",
        "tests against coturn",
        "tests in the NAT lab",
        "requests made of the description of /api",
        "browser tests",
    ] {
        let line = outcome
            .stdout
            .lines()
            .find(|line| line.starts_with(&format!("Skipped here: {check}: ")))
            .unwrap_or_else(|| panic!("{check} is left out in silence:\n{}", outcome.stdout));
        assert!(line.contains(reason), "{line}");
    }
    assert!(
        outcome.piped.contains(reason),
        "the browser suite is told why: {}",
        outcome.piped
    );
    assert_eq!(
        outcome.stdout.lines().last(),
        Some("Summary: 3 tests run: 3 passed")
    );
}

#[test]
fn where_pypi_has_no_schemathesis_that_is_said_and_the_rest_goes_on() {
    let machine = furnished_machine();
    fs::remove_file(machine.path().join("bin/schemathesis")).expect("the stub is removed");
    machine.stub("python3", "[[ $2 != venv ]]");

    let outcome = check(&machine, &[]);

    outcome.succeeded();
    outcome.says(
        "Skipped here: requests made of the description of /api: PyPI did not give what scripts/schemathesis.txt names",
    );
}

#[test]
fn what_no_install_leaves_out_is_named_with_the_reason() {
    let machine = bare_machine().set("NO_INSTALL", "1");
    machine.stub("apt-get", "");
    expect_named_skips(&machine, "NO_INSTALL is set");
}

#[test]
fn without_apt_the_checks_that_need_more_are_named_with_the_reason() {
    expect_named_skips(&bare_machine(), "no apt-get");
}

#[test]
fn without_root_the_checks_that_need_more_are_named_with_the_reason() {
    let machine = bare_machine().set("USER_ID", "1000");
    machine.stub("apt-get", "");
    expect_named_skips(&machine, "root, or sudo without a password");
}

#[test]
fn sudo_without_a_password_is_as_good_as_root() {
    let machine = bare_machine().set("USER_ID", "1000");
    machine.stub("apt-cache", "");
    machine.stub("apt-get", "[[ $1 != install ]]");
    machine.stub("sudo", "[[ $1 == -n ]] && shift && \"$@\"");

    let outcome = check(&machine, &[]);

    assert!(
        !outcome.calls_of("sudo -n apt-get install").is_empty(),
        "{:#?}",
        outcome.calls
    );
}

#[test]
fn a_package_that_this_system_does_not_have_is_named() {
    let machine = bare_machine();
    machine.stub("apt-get", "");
    machine.stub("apt-cache", "exit 100");
    machine.stub("promtool", "");
    let outcome = check(&machine, &[]);

    outcome.says("Skipped here: browser tests: this system's package sources have no");
}

#[test]
fn a_node_that_is_too_old_for_the_client_is_named() {
    let machine = furnished_machine();
    machine.stub("node", "echo v18.20.4");
    let outcome = check(&machine, &[]);

    outcome.succeeded();
    let reason = "node v18.20.4 is older than 20";
    outcome.says(&format!("Skipped here: browser tests: {reason}"));
    assert_eq!(outcome.piped, format!("browser: {reason}\n"));
}

#[test]
fn fast_installs_nothing_and_leaves_the_big_suites_out() {
    let machine = bare_machine();
    machine.stub("apt-get", "");
    let outcome = check(&machine, &["--fast"]);

    outcome.succeeded();
    assert!(outcome.calls_of("apt-get").is_empty());
    assert_eq!(cargo_stages(&outcome), ["fmt", "clippy", "nextest"]);
    assert_eq!(
        outcome.calls_of("cargo nextest"),
        ["cargo nextest run --locked --workspace --all-features --profile fast"]
    );
    assert_eq!(outcome.piped, "browser: --fast was asked for\n");
}

#[test]
fn without_nextest_the_tests_run_all_the_same_and_the_difference_is_named() {
    let machine = furnished_machine();
    fs::remove_file(machine.path().join("bin/cargo-nextest")).expect("the stub is removed");

    let outcome = check(&machine, &[]);

    assert_eq!(
        outcome.calls_of("cargo").last(),
        Some(&"cargo test --locked --workspace --all-features --lib --bins --tests")
    );
    outcome.says("Skipped here: cargo-nextest");
}

#[test]
fn a_failing_stage_fails_the_run_by_name() {
    for (stage, name) in [
        ("fmt", "formatting"),
        ("clippy", "clippy"),
        ("doc", "documentation"),
        ("nextest", "tests"),
    ] {
        let outcome = check(&furnished_machine().set("FAILING", stage), &[]);

        assert_eq!(outcome.code, Some(101), "{stage}");
        assert!(
            outcome.stderr.contains(&format!("FAILED: {name} ")),
            "{stage}: {}",
            outcome.stderr
        );
        assert_eq!(
            cargo_stages(&outcome).last(),
            Some(&stage),
            "nothing runs after a failure"
        );
    }
}

#[test]
fn a_failing_lint_fails_the_run() {
    for linter in ["shellcheck", "hadolint", "kubernetes-validate"] {
        let machine = furnished_machine();
        machine.stub(linter, "exit 1");
        let outcome = check(&machine, &[]);

        assert_eq!(outcome.code, Some(1), "{linter}");
        assert!(!cargo_stages(&outcome).contains(&"nextest"), "{linter}");
    }
}

#[test]
fn an_unknown_argument_is_refused() {
    let outcome = check(&furnished_machine(), &["--fats"]);

    assert_eq!(outcome.code, Some(64));
    outcome.complains("--fats");
    assert!(outcome.calls.is_empty());
}

#[test]
fn ci_runs_what_a_developer_runs() {
    let machine = furnished_machine().set("CI", "true");
    let outcome = machine.run_in(&frame(&machine), ".ci/run", &[]);

    assert_eq!(
        cargo_stages(&outcome),
        ["fmt", "clippy", "doc", "bench", "test", "nextest"]
    );
    assert!(read("justfile").contains("ci:\n    bash .ci/run\n"));
}
