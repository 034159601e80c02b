//! Hubs that spread addresses at which there is no hub, or which they have no right to name.

use hubmesh_core::frames::{ControlFrame, LinkRecord};
use hubmesh_core::ids::HubId;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::arena::{Arena, counted, impatient};
use crate::evil_hub::EvilHub;
use crate::hub_process::HubProcess;

const FAILED: &str = "hubmesh_mesh_dials_failed_total";

/// A service that hubs have no reason to call. It counts the calls.
struct Bystander {
    port: u16,
    calls: JoinHandle<u32>,
    listener: std::sync::Arc<tokio::sync::Notify>,
}

impl Bystander {
    async fn listen() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = socket.local_addr().expect("it is bound").port();
        let listener = std::sync::Arc::new(tokio::sync::Notify::new());
        let end = std::sync::Arc::clone(&listener);
        let calls = tokio::spawn(async move {
            let mut calls = 0;
            loop {
                tokio::select! {
                    _ = socket.accept() => calls += 1,
                    () = end.notified() => return calls,
                }
            }
        });
        Self {
            port,
            calls,
            listener,
        }
    }

    /// How many calls the service received.
    async fn calls(self) -> u32 {
        self.listener.notify_one();
        self.calls.await.expect("it listens")
    }
}

/// Tells the hub of `many` made-up hubs. Each is reachable through the attacker, and has all these `urls`.
async fn tell(evil: &mut EvilHub, many: usize, urls: &[String]) {
    evil.enter().await;
    let ghosts: Vec<HubId> = (0..many).map(|_| HubId(rand::random())).collect();
    let mut records = vec![evil.record(2, &ghosts)];
    records.extend(ghosts.iter().map(|ghost| LinkRecord {
        hub: *ghost,
        urls: urls.to_vec(),
        neighbours: vec![(evil.me.hub, 1)],
        ..evil.record(1, &[])
    }));
    for part in records.chunks(100) {
        assert!(evil.control(&ControlFrame::Records(part.to_vec())).await);
    }
    assert!(evil.stands().await);
}

/// Lets a rogue link to the hub and tell it of `many` hubs with these `urls`. Waits until the hub has counted this many
/// failed dials with this reason.
async fn refused(
    hub: &HubProcess,
    link: impl Future<Output = EvilHub>,
    (many, urls): (usize, &[String]),
    (reason, times): (&str, u64),
) {
    let reason = format!("reason=\"{reason}\"");
    let told = async {
        let mut evil = link.await;
        tell(&mut evil, many, urls).await;
        evil
    };
    counted(hub, (FAILED, &reason), times, told).await;
}

#[tokio::test]
async fn what_hubs_tell_of_is_dialled_at_the_path_of_hubs_alone() {
    let mut arena = Arena::open().await;
    let target = Bystander::listen().await;
    let port = target.port;
    let urls = [
        format!("ws://127.0.0.1:{port}/admin/shutdown?now=1"),
        format!("ws://user:pw@127.0.0.1:{port}/mesh"),
        format!("http://127.0.0.1:{port}/mesh"),
        format!("ws://127.0.0.1:{port}/mesh?now=1"),
    ];
    arena
        .attack("addresses of something else", async |hub| {
            refused(hub, EvilHub::link(hub), (5, &urls), ("bad-address", 8)).await;
        })
        .await;
    assert_eq!(target.calls().await, 0);
}

#[tokio::test]
async fn a_hub_that_is_far_away_cannot_have_its_neighbour_call_what_is_near() {
    // The proxy's header decides how far away the attacker is.
    let attacked = impatient().env("TRUSTED_PROXIES", "127.0.0.1");
    // The neighbour is near the attacked hub, and believes the addresses that this hub passes on.
    let mut arena = Arena::between(attacked, |neighbour| {
        neighbour.env("MESH_AUTO_CONNECT", "false")
    })
    .await;
    let target = Bystander::listen().await;
    let port = target.port;
    let urls = [
        format!("ws://127.0.0.1:{port}/mesh"),
        format!("ws://localhost:{port}/mesh"),
        format!("ws://[::ffff:127.0.0.1]:{port}/mesh"),
        "ws://169.254.169.254:80/mesh".to_owned(),
    ];
    for from in ["203.0.113.9", "10.1.2.3"] {
        arena
            .attack("loopback and the keys of the machine", async |hub| {
                let link = EvilHub::link_from(hub, from);
                refused(hub, link, (5, &urls), ("address-too-near", 4)).await;
            })
            .await;
    }
    assert_eq!(target.calls().await, 0);
}

#[tokio::test]
async fn one_address_is_not_called_for_each_hub_that_is_said_to_be_there() {
    let mut arena = Arena::open().await;
    let target = Bystander::listen().await;
    let urls = [format!("ws://127.0.0.1:{}/mesh", target.port)];
    let began = tokio::time::Instant::now();
    arena
        .attack("five hundred hubs at one address", async |hub| {
            refused(hub, EvilHub::link(hub), (500, &urls), ("resting", 20)).await;
        })
        .await;
    let calls = target.calls().await;
    let seconds = u32::try_from(began.elapsed().as_secs()).expect("some");
    // The neighbour hears of the made-up hubs as well.
    let allowed = 2 * (10 + seconds / 4 + 1);
    assert!(
        calls <= allowed,
        "{calls} calls, of which each hub may make ten at once and one each 4 s"
    );
}
