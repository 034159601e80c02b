//! The programs of other packages. Cargo tells a test only the paths of the programs of its own package.
//!
//! A part of `hub_process`.

use std::path::PathBuf;
use std::process::Command;

/// The program of this name, from the directory that this test was built into. It is built here if it does not exist; a
/// run of the whole workspace has built it already.
pub fn program(package: &str, name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a test has a path");
    let built = own.ancestors().nth(2).expect("it is in deps");
    let program = built.join(name);
    if !program.exists() {
        let target = built.parent().expect("a profile has a target directory");
        let profile = match built.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(profile) => profile,
        };
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "--package", package])
            .args(["--bin", name, "--profile", profile, "--target-dir"])
            .arg(target)
            .status();
        assert!(
            status.expect("cargo starts").success(),
            "{name} is not built"
        );
    }
    program
}
