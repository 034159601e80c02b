//! Data channels of Chromium through this hub's own TURN server, by UDP, TCP and TLS, with the answer of
//! `/ice-servers`.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;

use crate::hub::Hub;
use crate::play;

#[test]
fn a_data_channel_opens_through_the_hub_s_relays_by_udp_and_tcp() {
    let hubs = || vec![Hub::start(&[("TURN_PORT", "0"), ("STUN_PORT", "0")])];
    play("turn", "plain", hubs, |hub| hub.page("/"));
}

#[test]
fn a_data_channel_opens_through_the_hub_s_relays_by_tls() {
    let files = Certificate::new();
    let (cert, key) = (files.path("cert"), files.path("key"));
    let settings = [
        ("TURN_PORT", "0"),
        ("TURN_TLS_PORT", "0"),
        ("TLS_CERT", cert.as_str()),
        ("TLS_KEY", key.as_str()),
    ];
    let secure = |hub: &Hub| hub.page("/").replacen("http:", "https:", 1);
    play("turn", "secure", || vec![Hub::start(&settings)], secure);
}

/// A self-signed certificate for 127.0.0.1.
struct Certificate(TempDir);

impl Certificate {
    fn new() -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["127.0.0.1".into()]).expect("a certificate");
        let files = Certificate(tempfile::tempdir().expect("a directory"));
        std::fs::write(files.path("cert"), cert.pem()).expect("written");
        std::fs::write(files.path("key"), signing_key.serialize_pem()).expect("written");
        files
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
}
