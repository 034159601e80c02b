//! `deploy-hub.sh`, run with a `flyctl` and a `curl` that only write down their calls.

use crate::workshop::{Outcome, Workshop};

const TOKEN: &str = "mesh-token-of-this-test";
const PEER_TOKEN: &str = "peer-token-of-this-test";

/// A stub that obeys three variables: EXISTING (the apps that Fly knows), FAILING (each call that
/// contains this text fails) and LOGGED_OUT.
const FLYCTL: &str = r#"
if [[ -n ${FAILING:-} && "$*" == *"$FAILING"* ]]; then echo "Error: refused" >&2; exit 1; fi
case "$1 ${2:-}" in
  "auth whoami") [[ -z ${LOGGED_OUT:-} ]] ;;
  "status --app") [[ " ${EXISTING:-} " == *" $3 "* ]] ;;
  "secrets import") cat >>"$WORKSHOP/piped" ;;
esac
"#;

const CURL: &str = r#"
case "$*" in
  *"${UNHEALTHY:-nothing at all}"*/ready) exit 22 ;;
  *write-out*/hubs) printf '%s' "${NO_HUBS:-}" ;;
  */hubs) [[ -z ${NO_HUBS:-} ]] && printf '%s' '{"totalHubs":2}' ;;
esac
"#;

fn workshop() -> Workshop {
    let workshop = Workshop::new().set("HUB_TOKEN", TOKEN);
    workshop.stub("flyctl", FLYCTL);
    workshop.stub("curl", CURL);
    workshop
}

fn deploy(workshop: &Workshop, arguments: &[&str]) -> Outcome {
    workshop.run("deploy-hub.sh", arguments)
}

/// The app of each `flyctl deploy`, in order.
fn deployed_apps(outcome: &Outcome) -> Vec<&str> {
    outcome
        .calls_of("flyctl deploy")
        .into_iter()
        .filter_map(|call| option(call, "--app"))
        .collect()
}

fn option<'a>(call: &'a str, name: &str) -> Option<&'a str> {
    call.split(' ').skip_while(|word| *word != name).nth(1)
}

#[test]
fn the_bootstrap_hub_is_deployed_first_and_the_others_are_linked_to_it() {
    let outcome = deploy(&workshop(), &["iad", "fra", "my-hub:syd"]);

    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(
        deployed_apps(&outcome),
        ["hubmesh-iad", "hubmesh-fra", "my-hub"]
    );
    let calls = outcome.calls_of("flyctl deploy");
    assert!(
        !calls[0].contains("BOOTSTRAP_HUBS"),
        "the first hub has nobody to dial: {}",
        calls[0]
    );
    for call in &calls[1..] {
        assert!(
            call.contains("--env BOOTSTRAP_HUBS=wss://hubmesh-iad.fly.dev"),
            "{call}"
        );
    }
}

#[test]
fn every_hub_advertises_its_own_name_and_runs_in_its_own_region() {
    let outcome = deploy(&workshop(), &["iad", "my-hub:fra"]);

    let calls = outcome.calls_of("flyctl deploy");
    assert_eq!(option(calls[0], "--primary-region"), Some("iad"));
    assert!(
        calls[0].contains("--env PUBLIC_URL=wss://hubmesh-iad.fly.dev"),
        "{}",
        calls[0]
    );
    assert_eq!(option(calls[1], "--primary-region"), Some("fra"));
    assert!(
        calls[1].contains("--env PUBLIC_URL=wss://my-hub.fly.dev"),
        "{}",
        calls[1]
    );
    assert!(
        calls.iter().all(|call| call.contains("--ha=false")),
        "one machine to a name: {calls:?}"
    );
}

#[test]
fn each_hub_is_healthy_before_the_next_one_is_touched() {
    let outcome = deploy(&workshop(), &["iad", "fra"]);

    let order: Vec<&str> = outcome
        .calls
        .iter()
        .filter_map(|call| match call.as_str() {
            call if call.starts_with("flyctl deploy") => option(call, "--app"),
            call if call.starts_with("curl") => call.rsplit(' ').next(),
            _ => None,
        })
        .collect();
    assert_eq!(
        order,
        [
            "hubmesh-iad",
            "https://hubmesh-iad.fly.dev/ready",
            "hubmesh-fra",
            "https://hubmesh-fra.fly.dev/ready",
            "https://hubmesh-iad.fly.dev/hubs",
        ]
    );
    assert!(
        outcome.stdout.contains(r#"{"totalHubs":2}"#),
        "the mesh is shown: {}",
        outcome.stdout
    );
}

#[test]
fn the_wait_for_health_is_bounded() {
    let outcome = deploy(&workshop(), &["--timeout", "17", "iad"]);

    let call = outcome.calls_of("curl")[0];
    assert_eq!(option(call, "--retry-max-time"), Some("17"));
    assert!(
        option(call, "--max-time").is_some(),
        "no single request hangs: {call}"
    );
}

#[test]
fn tokens_are_piped_and_never_shown() {
    let workshop = workshop().set("AUTH_TOKEN", PEER_TOKEN);
    let outcome = deploy(&workshop, &["iad", "fra"]);

    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let once = format!("HUB_TOKEN={TOKEN}\nAUTH_TOKEN={PEER_TOKEN}\n");
    assert_eq!(outcome.piped, once.repeat(2), "both hubs get both tokens");
    assert_eq!(
        outcome.calls_of("flyctl secrets"),
        [
            "flyctl secrets import --app hubmesh-iad --stage",
            "flyctl secrets import --app hubmesh-fra --stage",
        ],
        "staged, so that the deployment restarts the hub and nothing else does"
    );
    for secret in [TOKEN, PEER_TOKEN] {
        assert!(!outcome.visible().contains(secret), "{}", outcome.visible());
    }
}

#[test]
fn tokens_stay_hidden_when_a_step_fails_and_on_a_dry_run() {
    let failing = deploy(&workshop().set("FAILING", "secrets import"), &["iad"]);
    assert_eq!(failing.code, Some(1));
    assert!(!failing.visible().contains(TOKEN), "{}", failing.visible());

    let dry = deploy(&workshop(), &["--dry-run", "iad"]);
    assert!(
        dry.stdout.contains("HUB_TOKEN"),
        "it says that one would be set: {}",
        dry.stdout
    );
    assert!(!dry.visible().contains(TOKEN), "{}", dry.visible());
}

#[test]
fn an_app_that_exists_is_updated_and_not_created_again() {
    let outcome = deploy(&workshop().set("EXISTING", "hubmesh-iad"), &["iad", "fra"]);

    assert_eq!(
        outcome.calls_of("flyctl apps create"),
        ["flyctl apps create hubmesh-fra"]
    );
    assert_eq!(deployed_apps(&outcome), ["hubmesh-iad", "hubmesh-fra"]);
}

#[test]
fn a_new_app_goes_to_the_organization_that_was_named() {
    let outcome = deploy(&workshop(), &["--org", "acme", "iad"]);

    assert_eq!(
        outcome.calls_of("flyctl apps create"),
        ["flyctl apps create hubmesh-iad --org acme"]
    );
}

#[test]
fn hubs_prefix_and_namespace_can_come_from_the_environment() {
    let workshop = workshop()
        .set("HUBS", "iad other:fra")
        .set("FLY_APP_PREFIX", "acme")
        .set("HUB_MESH_NAMESPACE", "staging");
    let outcome = deploy(&workshop, &[]);

    assert_eq!(
        deployed_apps(&outcome),
        ["acme-iad", "other"],
        "{}",
        outcome.stderr
    );
    for call in outcome.calls_of("flyctl deploy") {
        assert!(call.contains("--env HUB_MESH_NAMESPACE=staging"), "{call}");
    }
}

#[test]
fn a_given_image_is_deployed_in_place_of_a_build() {
    let built = deploy(&workshop(), &["iad"]);
    assert!(built.calls_of("flyctl deploy")[0].contains("--remote-only"));

    let given = deploy(
        &workshop(),
        &["--image", "registry.example/hubmesh:1", "iad"],
    );
    let call = given.calls_of("flyctl deploy")[0];
    assert_eq!(option(call, "--image"), Some("registry.example/hubmesh:1"));
    assert!(!call.contains("--remote-only"), "{call}");
}

#[test]
fn a_failing_deployment_stops_the_rest_and_says_how_far_it_came() {
    let outcome = deploy(
        &workshop().set("FAILING", "--app hubmesh-fra --config"),
        &["iad", "fra", "syd"],
    );

    assert_eq!(outcome.code, Some(1));
    assert_eq!(
        deployed_apps(&outcome),
        ["hubmesh-iad", "hubmesh-fra"],
        "the third is not tried"
    );
    assert!(
        outcome.stderr.contains("deployment of hubmesh-fra failed"),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.stderr.contains("before it: hubmesh-iad."),
        "{}",
        outcome.stderr
    );
}

#[test]
fn an_app_that_cannot_be_created_is_not_deployed() {
    let outcome = deploy(&workshop().set("FAILING", "apps create"), &["iad"]);

    assert_eq!(outcome.code, Some(1));
    assert!(
        outcome.stderr.contains("creation of hubmesh-iad failed"),
        "{}",
        outcome.stderr
    );
    assert!(deployed_apps(&outcome).is_empty());
}

#[test]
fn a_hub_that_stays_unhealthy_stops_the_rest_with_a_code_of_its_own() {
    let outcome = deploy(&workshop().set("UNHEALTHY", "hubmesh-iad"), &["iad", "fra"]);

    assert_eq!(outcome.code, Some(75));
    assert!(
        outcome.stderr.contains("health check"),
        "{}",
        outcome.stderr
    );
    assert_eq!(deployed_apps(&outcome), ["hubmesh-iad"]);
}

#[test]
fn a_mesh_that_is_listed_for_operators_alone_is_deployed_all_the_same() {
    for status in ["401", "404"] {
        let outcome = deploy(&workshop().set("NO_HUBS", status), &["iad"]);

        outcome.succeeded();
        outcome.says("only to operators");
    }
}

#[test]
fn a_mesh_that_cannot_be_listed_is_not_called_a_success() {
    let outcome = deploy(&workshop().set("NO_HUBS", "1"), &["iad"]);

    assert_eq!(outcome.code, Some(1));
    assert!(
        outcome.stderr.contains("did not list them"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_dry_run_prints_every_step_and_needs_no_tool_and_no_token() {
    let outcome = Workshop::new().run("deploy-hub.sh", &["--dry-run", "iad", "fra"]);

    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.calls.is_empty());
    for step in [
        "+ flyctl apps create hubmesh-iad",
        "+ flyctl secrets import --app hubmesh-fra --stage",
        "BOOTSTRAP_HUBS=wss://hubmesh-iad.fly.dev",
        "https://hubmesh-fra.fly.dev/ready",
        "https://hubmesh-iad.fly.dev/hubs",
    ] {
        assert!(
            outcome.stdout.contains(step),
            "{step} is missing in:\n{}",
            outcome.stdout
        );
    }
}

#[test]
fn a_dry_run_calls_nothing_even_when_the_tools_are_there() {
    let outcome = deploy(&workshop(), &["--dry-run", "iad"]);

    assert_eq!(outcome.calls, Vec::<String>::new());
}

#[test]
fn without_flyctl_it_stops_with_a_clear_message() {
    let workshop = Workshop::new().set("HUB_TOKEN", TOKEN);
    workshop.stub("curl", CURL);
    let outcome = deploy(&workshop, &["iad"]);

    assert_eq!(outcome.code, Some(69));
    assert!(
        outcome.stderr.contains("flyctl is not installed"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn flyctl_under_its_short_name_will_do() {
    let workshop = Workshop::new().set("HUB_TOKEN", TOKEN);
    workshop.stub("fly", FLYCTL);
    workshop.stub("curl", CURL);
    let outcome = deploy(&workshop, &["iad"]);

    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(outcome.calls_of("fly deploy").len(), 1);
}

#[test]
fn without_curl_or_a_login_nothing_is_touched() {
    let no_curl = Workshop::new().set("HUB_TOKEN", TOKEN);
    no_curl.stub("flyctl", FLYCTL);
    let outcome = deploy(&no_curl, &["iad"]);
    assert_eq!(outcome.code, Some(69));
    assert!(
        outcome.stderr.contains("curl is not installed"),
        "{}",
        outcome.stderr
    );
    assert!(outcome.calls.is_empty());

    let outcome = deploy(&workshop().set("LOGGED_OUT", "1"), &["iad"]);
    assert_eq!(outcome.code, Some(69));
    assert!(
        outcome.stderr.contains("not logged in"),
        "{}",
        outcome.stderr
    );
    assert_eq!(outcome.calls, ["flyctl auth whoami"]);
}

#[test]
fn a_mesh_is_not_put_on_the_internet_without_a_token_unless_the_apps_have_theirs() {
    let bare = Workshop::new();
    bare.stub("flyctl", FLYCTL);
    bare.stub("curl", CURL);
    let refused = deploy(&bare, &["iad"]);
    assert_eq!(refused.code, Some(64));
    assert!(
        refused.stderr.contains("set HUB_TOKEN"),
        "{}",
        refused.stderr
    );

    let kept = deploy(&bare, &["--keep-secrets", "iad"]);
    assert_eq!(kept.code, Some(0), "{}", kept.stderr);
    assert!(kept.calls_of("flyctl secrets").is_empty());
}

#[test]
fn nonsense_is_refused_before_anything_is_called() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "at least one hub"),
        (&["frankfurt"], "not a Fly region"),
        (&["Bad_Name:fra"], "not an app name"),
        (&["iad", "iad"], "named twice"),
        (&["--timeout", "soon", "iad"], "--timeout takes"),
        (&["--timeout"], "needs a value"),
        (
            &["--config", "/nowhere/fly.toml", "iad"],
            "no Fly configuration",
        ),
        (&["--frobnicate", "iad"], "unknown option"),
    ];
    for (arguments, complaint) in cases {
        let outcome = deploy(&workshop(), arguments);
        assert_eq!(outcome.code, Some(64), "{arguments:?}: {}", outcome.stderr);
        assert!(
            outcome.stderr.contains(complaint),
            "{arguments:?}: {}",
            outcome.stderr
        );
        assert!(
            outcome.calls.is_empty(),
            "{arguments:?}: {:?}",
            outcome.calls
        );
    }
}

#[test]
fn a_token_that_would_smuggle_in_another_secret_is_refused() {
    let workshop = workshop().set("AUTH_TOKEN", "harmless\nHUB_TOKEN=chosen-by-someone-else");
    let outcome = deploy(&workshop, &["iad"]);

    assert_eq!(outcome.code, Some(64));
    assert!(outcome.stderr.contains("line break"), "{}", outcome.stderr);
    assert!(outcome.calls.is_empty());
}

#[test]
fn help_names_every_option_and_every_exit_code() {
    let outcome = Workshop::new().run("deploy-hub.sh", &["--help"]);

    assert_eq!(outcome.code, Some(0));
    for word in [
        "--prefix",
        "--org",
        "--config",
        "--image",
        "--timeout",
        "--keep-secrets",
        "--dry-run",
    ] {
        assert!(outcome.stdout.contains(word), "{word}");
    }
    for code in ["0 ", "1 ", "64 ", "69 ", "75 "] {
        assert!(outcome.stdout.contains(&format!("  {code}")), "{code}");
    }
}
