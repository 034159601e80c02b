//! Files that cannot be used: the start fails before a port is bound, and says what the operator has to mend.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::process::Command;

use crate::authority::{Authority, Files};
use crate::hub_process::HubProcess;
use crate::stage::hub;

/// Asserts that the start of a hub and `--check-config` refuse these files, with these words.
async fn is_refused(files: &Files, words: &[&str]) {
    let cert_and_key = [("TLS_CERT", files.cert()), ("TLS_KEY", files.key())];
    let check = Command::new(env!("CARGO_BIN_EXE_hubmesh"))
        .arg("--check-config")
        .env_clear()
        .envs(cert_and_key)
        .output()
        .expect("it runs");
    let checked = String::from_utf8_lossy(&check.stderr).into_owned();
    // The port is taken: if the hub bound it first, the start would end with code 69.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let (status, told) = hub(files).env("PORT", port).start_and_fail().await;
    for (code, text) in [(check.status.code(), checked), (status.code(), told)] {
        assert_eq!(code, Some(64), "{text}");
        for word in words {
            assert!(text.contains(word), "no {word:?} in: {text}");
        }
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named_with_its_variable() {
    let files = Files::of(&Authority::new().issue());
    fs::remove_file(files.key()).expect("removed");
    let key = files.key().display().to_string();
    is_refused(&files, &["TLS_KEY", &key, "No such file"]).await;
    fs::remove_file(files.cert()).expect("removed");
    let cert = files.cert().display().to_string();
    is_refused(&files, &["TLS_CERT", &cert, "No such file"]).await;
}

#[tokio::test]
async fn a_file_without_what_it_is_for_is_named() {
    let pair = Authority::new().issue();
    let files = Files::of(&pair);
    let (cert, key) = (
        files.cert().display().to_string(),
        files.key().display().to_string(),
    );
    for empty in ["", "not PEM", &pair.key] {
        files.put_cert(empty);
        is_refused(&files, &["TLS_CERT", &cert, "no certificate"]).await;
    }
    files.put_cert(&pair.cert);
    for empty in ["", "not PEM", &pair.cert] {
        files.put_key(empty);
        is_refused(&files, &["TLS_KEY", &key, "no private key"]).await;
    }
}

#[tokio::test]
async fn what_is_pem_and_yet_no_certificate_or_key_is_named() {
    let pair = Authority::new().issue();
    let files = Files::of(&pair);
    files.put_cert("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    is_refused(&files, &["TLS_CERT", "cannot be used"]).await;
    files.put_cert(&pair.cert);
    files.put_key("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    is_refused(&files, &["TLS_KEY", "cannot be used"]).await;
    // The key is a truncated copy.
    files.put_key(&pair.key[..pair.key.len() / 2]);
    is_refused(&files, &["TLS_KEY", "no private key"]).await;
}

#[tokio::test]
async fn a_key_of_another_certificate_is_refused() {
    let authority = Authority::new();
    let files = Files::of(&authority.issue());
    files.put_key(&authority.issue().key);
    let (cert, key) = (
        files.cert().display().to_string(),
        files.key().display().to_string(),
    );
    is_refused(&files, &["TLS_KEY", "does not fit", &cert, &key]).await;
}

#[tokio::test]
async fn half_a_pair_is_a_configuration_that_cannot_be_used() {
    for (set, missing) in [("TLS_CERT", "TLS_KEY"), ("TLS_KEY", "TLS_CERT")] {
        let half = HubProcess::builder().env(set, OsString::from("/some.pem"));
        let (status, told) = half.start_and_fail().await;
        assert_eq!(status.code(), Some(64), "{told}");
        let line = format!("{missing}: is unset, while {set} is set");
        assert!(told.contains(&line), "{told}");
    }
}
