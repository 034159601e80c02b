//! coturn's clients against the hub's own STUN and TURN.

use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use hubmesh_turn::Credentials;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::coturn::uclient;
use crate::hub_process::{HubProcess, LIMIT};
use crate::installed::program;
use crate::stage::{SECRET, hub, ice_servers, metric, place, urls};

/// Whether coturn's client succeeded and received all of its packets back.
async fn comes_through(arguments: &[&str]) -> bool {
    let output = uclient(arguments).await.expect("coturn is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    let sums = text.lines().rev().find_map(|line| {
        let (_, sums) = line.split_once("start_mclient: tot_send_msgs=")?;
        sums.split_once(", tot_recv_msgs=")
    });
    let whole = output.status.success()
        && text.contains("Total lost packets 0 ")
        && sums.is_some_and(|(sent, got)| sent == got && sent != "0");
    if !whole {
        println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    }
    whole
}

/// coturn's peer program, which echoes the datagrams that relays send it.
fn peer(address: &str) -> Option<Child> {
    let mut command = Command::new(program("turnutils_peer")?);
    command
        .args(["-L", address, "-p", "3480"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    Some(command.spawn().expect("coturn's peer starts"))
}

#[tokio::test]
async fn coturn_s_stun_client_learns_its_address() {
    let Some(client) = program("turnutils_stunclient") else {
        return;
    };
    let (address, builder) = hub();
    let _hub = builder.start().await;
    for port in ["3478", "3479"] {
        let mut command = Command::new(&client);
        command
            .args(["-p", port, &address.to_string()])
            .kill_on_drop(true);
        let output = timeout(LIMIT, command.output()).await.expect("in time");
        let text = String::from_utf8_lossy(&output.expect("it starts").stdout).into_owned();
        assert!(text.contains("UDP reflexive addr: 127."), "{text}");
    }
}

#[tokio::test]
async fn coturn_s_client_relays_by_channels_and_indications_over_udp_and_tcp() {
    if program("turnutils_uclient").is_none() {
        return;
    }
    let (address, builder) = hub();
    let address = address.to_string();
    let hub = builder.env("TURN_ALLOW_PEERS", &address).start().await;
    let _peer = peer(&address);
    let base = [
        "-p", "3478", "-u", "ada", "-W", SECRET, "-c", "-n", "20", "-l", "200", "-m", "2",
    ];
    for (kind, more) in [
        ("channels between relays", &["-y"][..]),
        ("indications between relays", &["-y", "-s"]),
        ("TCP between relays", &["-y", "-t"]),
        ("indications by TCP", &["-y", "-t", "-s"]),
        ("a peer elsewhere", &["-e", &address, "-r", "3480"]),
        (
            "a peer elsewhere by TCP and indications",
            &["-t", "-s", "-e", &address, "-r", "3480"],
        ),
        ("an explicit IPv4 relay", &["-y", "-X"]),
    ] {
        let arguments = [&base[..], more, &[&address]].concat();
        assert!(comes_through(&arguments).await, "{kind}");
    }
    assert!(metric(&hub, "hubmesh_turn_allocations_total").await >= 14);
    assert!(metric(&hub, r#"hubmesh_turn_relayed_packets_total{to="peer"}"#).await >= 7 * 40);
}

#[tokio::test]
async fn over_ipv6_all_is_as_over_ipv4() {
    if program("turnutils_uclient").is_none() {
        return;
    }
    let hub = HubProcess::builder()
        .env("HOST", "::1")
        .env("TURN_PORT", "0")
        .env("TURN_SECRET", SECRET)
        .start()
        .await;
    let servers = ice_servers(&hub, "ada").await;
    let port = place(&urls(&servers, "turn:[::1]")[0]).port().to_string();
    for more in [&["-y"][..], &["-y", "-s"], &["-y", "-t"]] {
        let base = [
            "-p", &port, "-u", "ada", "-W", SECRET, "-c", "-x", "-n", "10", "-m", "2",
        ];
        let arguments = [&base[..], more, &["::1"]].concat();
        assert!(comes_through(&arguments).await, "{more:?}");
    }
}

#[tokio::test]
async fn coturn_s_client_relays_over_tls_with_the_hub_s_certificate() {
    if program("turnutils_uclient").is_none() {
        return;
    }
    let (address, builder) = hub();
    let address = address.to_string();
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec![address.clone()]).expect("a certificate");
    let files = tempfile::tempdir().expect("a directory");
    let (cert_file, key_file) = (files.path().join("cert"), files.path().join("key"));
    std::fs::write(&cert_file, cert.pem()).expect("written");
    std::fs::write(&key_file, signing_key.serialize_pem()).expect("written");
    let _hub = builder
        .env("TURN_TLS_PORT", "5349")
        .env("TLS_CERT", &cert_file)
        .env("TLS_KEY", &key_file)
        .start()
        .await;
    let cert_file = cert_file.display().to_string();
    for more in [&["-y"][..], &["-y", "-s"]] {
        let base = [
            "-p", "5349", "-u", "ada", "-W", SECRET, "-c", "-n", "10", "-m", "2", "-t", "-S", "-E",
            &cert_file,
        ];
        let arguments = [&base[..], more, &[&address]].concat();
        assert!(comes_through(&arguments).await, "{more:?}");
    }
}

#[tokio::test]
async fn what_the_hub_hands_out_opens_a_relay_without_a_secret_being_set() {
    if program("turnutils_uclient").is_none() {
        return;
    }
    let (address, builder) = hub();
    let hub = builder.env("TURN_SECRET", "").start().await;
    let servers = ice_servers(&hub, "ada").await;
    let turn = &servers[1];
    assert_eq!(urls(&servers, "stun:").len(), 2);
    assert_eq!(
        urls(&servers, "turn:"),
        [
            format!("turn:{address}:3478?transport=udp"),
            format!("turn:{address}:3478?transport=tcp")
        ]
    );
    let text = |field: &str| turn[field].as_str().expect("text").to_owned();
    let (username, credential) = (text("username"), text("credential"));
    let address = address.to_string();
    let with = |username: &str, credential: &str| {
        let all = [
            "-p", "3478", "-u", username, "-w", credential, "-y", "-c", "-n", "5", "-m", "1",
            &address,
        ];
        all.map(str::to_owned)
    };
    let comes = async |username: &str, credential: &str| {
        let arguments = with(username, credential);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        comes_through(&arguments).await
    };
    assert!(comes(&username, &credential).await);
    assert!(!comes(&username, "guessed").await);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let other = Credentials::new(SECRET, "ada", now + 300);
    assert!(
        !comes(&other.username, &other.credential).await,
        "that is no secret of this hub"
    );
    let log = hub.log_lines().concat();
    assert!(!log.contains(&credential), "{log}");
}
