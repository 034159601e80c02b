//! `render.yaml`: a hub on Render, with OctateCode's environment unchanged.

use http::StatusCode;
use hubmesh::config::{Config, SETTINGS, Setting};

use crate::get;
use crate::hub_process::HubProcess;

const BLUEPRINT: &str = include_str!("../../render.yaml");
/// Variables of OctateCode's deployments for settings that have other names here.
const ALSO: [&str; 2] = ["CORS_ORIGINS", "CLEANUP_CHECK_INTERVAL"];

fn value(line: &str) -> Option<&str> {
    let (_, value) = line.split_once(": ")?;
    Some(value.trim().trim_matches('"'))
}

/// The value of this key.
fn of(key: &str) -> &'static str {
    let mut lines = BLUEPRINT.lines().map(str::trim);
    let line = lines.find(|line| line.starts_with(&format!("{key}: ")));
    line.and_then(value).unwrap_or_else(|| panic!("no {key}"))
}

fn environment() -> Vec<(&'static str, &'static str)> {
    let lines: Vec<&str> = BLUEPRINT.lines().map(str::trim).collect();
    let pairs = lines
        .windows(2)
        .filter(|pair| pair[0].starts_with("- key: "));
    let pairs = pairs.filter_map(|pair| Some((value(pair[0])?, value(pair[1])?)));
    pairs.collect()
}

#[test]
fn every_setting_that_the_blueprint_names_is_one_and_has_a_value_that_is_allowed() {
    let names: Vec<String> = SETTINGS.iter().map(Setting::name).collect();
    let environment = environment();
    for (name, _) in &environment {
        let is_one = names.iter().any(|known| known == name) || ALSO.contains(name);
        assert!(is_one, "{name} is no setting");
    }
    let config = Config::from_vars(environment.iter().copied()).expect("it can be used");
    assert_eq!(config.cautions, []);
    assert_eq!((config.port, config.signaling_port), (3000, Some(3001)));
    let mib = |mib: u64| Some(mib << 20);
    assert_eq!(
        (config.memory.warning, config.memory.critical),
        (mib(200), mib(300))
    );
    let drain = config.drain_pause + config.drain;
    let waits: u64 = of("maxShutdownDelaySeconds").parse().expect("a number");
    assert!(
        waits > drain.as_secs() + 11,
        "Render kills before the drain is over"
    );
}

#[test]
fn octatecode_s_own_environment_is_in_the_blueprint() {
    let environment = environment();
    for wanted in [("PORT", "3000"), ("SIGNALING_PORT", "3001")] {
        assert!(environment.contains(&wanted), "{wanted:?}");
    }
    assert!(environment.iter().any(|(name, _)| *name == "CORS_ORIGINS"));
    assert_eq!(of("plan"), "starter", "512 MB");
    assert_eq!(of("runtime"), "docker");
}

#[tokio::test]
async fn a_hub_with_the_blueprint_s_environment_is_healthy_where_render_asks() {
    let mut hub = HubProcess::builder();
    for (name, value) in environment() {
        let port = name.ends_with("PORT");
        hub = hub.env(name, if port { "0" } else { value });
    }
    let hub = hub.start().await;
    assert_eq!(
        get(&hub, of("healthCheckPath"), StatusCode::OK).await["status"],
        "ok"
    );
}
