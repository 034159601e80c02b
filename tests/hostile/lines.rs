//! Attackers that use up the bandwidth of a link, and long messages on slow connections.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{interval, sleep};

use crate::arena::{count, counted};
use crate::hub_process::{HubBuilder, HubProcess};
use crate::proxy::Proxy;
use crate::raw::{Raw, TEXT, frame, fresh_id};

/// Starts a proxy to `hub` that carries `rate` bytes a second in each direction, however much the kernel's buffers
/// hold. Gives the proxy's address, and a handle that stops it.
async fn slow_way_to(hub: SocketAddr, rate: usize) -> (SocketAddr, AbortHandle) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(64 * 1024).expect("it is fresh");
    socket
        .bind(([127, 0, 0, 1], 0).into())
        .expect("a free port");
    let listener: TcpListener = socket.listen(8).expect("it is bound");
    let address = listener.local_addr().expect("it is bound");
    let task = tokio::spawn(async move {
        let mut ways = JoinSet::new();
        while let Ok((here, _)) = listener.accept().await {
            let there = TcpStream::connect(hub).await.expect("the hub listens");
            let (here, there) = (here.into_split(), there.into_split());
            ways.spawn(carry(here.0, there.1, rate));
            ways.spawn(carry(there.0, here.1, rate));
        }
    });
    (address, task.abort_handle())
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, rate: usize) {
    let mut chunk = vec![0; 8 * 1024];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        sleep(Duration::from_secs_f64(count as f64 / rate as f64)).await;
        if to.write_all(&chunk[..count]).await.is_err() {
            return;
        }
    }
}

fn lavish() -> HubBuilder {
    HubProcess::builder()
        .env("RATE_LIMIT_PER_SEC", "0")
        .env("MESH_AUTO_CONNECT", "false")
}

/// One peer on each hub, of which the near one knows the far one. Gives both, and the far one's id.
async fn couple(near: &HubProcess, far: &HubProcess, network: &str) -> (Raw, Raw, String) {
    // The near peer joins first. `Raw::member` skips notices that arrive while a peer announces itself.
    let mut here = Raw::member(near, &fresh_id(), network).await;
    let id = fresh_id();
    let there = Raw::member(far, &id, network).await;
    let told = here.message_of("peer-discovered").await;
    assert_eq!(told["data"]["peerId"], id, "{told}");
    (here, there, id)
}

fn signal(kind: &str, target: &str, data: impl Into<serde_json::Value>) -> String {
    json!({"type": kind, "targetPeerId": target, "data": data.into()}).to_string()
}

/// Sends as many signals as the socket accepts to a peer on the other hub, which reads them all.
async fn flood(mut here: Raw, mut there: Raw, target: String) {
    let offer = signal("offer", &target, "x".repeat(60_000));
    let offer = frame(TEXT, offer.as_bytes());
    let reading = async { while there.next_frame().await.is_some() {} };
    let (mut told, mut say) = here.stream.split();
    let hearing = async {
        let mut heard = vec![0; 64 * 1024];
        while let Ok(1..) = told.read(&mut heard).await {}
    };
    let saying = async { while say.write_all(&offer).await.is_ok() {} };
    tokio::join!(reading, hearing, saying);
}

#[tokio::test]
async fn a_link_that_is_flooded_stays_up_and_loses_nothing_of_those_who_send_little() {
    let near = lavish().start().await;
    let (way, proxy) = slow_way_to(near.addr, 8 << 20).await;
    let far = lavish().env("BOOTSTRAP_HUBS", format!("ws://{way}"));
    let far = far.start().await;
    let behind = || lavish().env("BOOTSTRAP_HUBS", far.ws_url()).start();
    let (second, third) = (behind().await, behind().await);
    let (mut quiet, mut listener, target) = couple(&near, &far, "the quiet").await;
    let mut floods = JoinSet::new();
    for (n, hub) in [&far, &second, &third, &far, &second, &third]
        .into_iter()
        .enumerate()
    {
        let (here, there, id) = couple(&near, hub, &format!("loud {n}")).await;
        floods.spawn(flood(here, there, id));
    }
    let refused = ("hubmesh_signals_failed_total", "reason=\"overload\"");
    counted(&near, refused, 200, async {
        let mut tick = interval(Duration::from_millis(20));
        for number in 0..100 {
            tick.tick().await;
            let said = quiet.say(&signal("ice-candidate", &target, number)).await;
            said.expect("a live hub");
        }
        for number in 0..100 {
            assert_eq!(listener.message_of("ice-candidate").await["data"], number);
        }
    })
    .await;
    // The quiet peer receives no complaint before its pong.
    quiet.say(r#"{"type":"ping"}"#).await.expect("a live hub");
    let told = quiet.message().await.expect("a live hub");
    assert_eq!(told["type"], "pong", "{told}");
    for hub in [&near, &far] {
        assert_eq!(count(hub, "hubmesh_mesh_links_down_total", "").await, 0);
    }
    floods.abort_all();
    proxy.abort();
}

#[tokio::test]
async fn a_message_that_takes_longer_than_a_hub_may_be_silent_ends_no_link() {
    let long = || {
        let lavish = lavish().env("MAX_MESSAGE_BYTES", "1048576");
        lavish.env("OUTBOX_BYTES", "16777216")
    };
    let near = long().start().await;
    // One long message takes about five seconds.
    let (way, proxy) = slow_way_to(near.addr, 200_000).await;
    let far = long().env("BOOTSTRAP_HUBS", format!("ws://{way}"));
    let far = far.start().await;
    let (mut here, mut there, target) = couple(&near, &far, "patient").await;
    let offer = signal("offer", &target, "x".repeat(1_000_000));
    here.say(&offer).await.expect("a live hub");
    let came = there.message_of("offer").await;
    assert_eq!(came["data"].as_str().map(str::len), Some(1_000_000));
    for hub in [&near, &far] {
        assert_eq!(count(hub, "hubmesh_mesh_links_down_total", "").await, 0);
    }
    proxy.abort();
}

#[tokio::test]
async fn a_link_whose_other_end_is_gone_is_closed_as_silent_however_much_is_sent_over_it() {
    let near = lavish().start().await;
    let wire = Proxy::to(near.addr).await;
    let far = lavish().env("BOOTSTRAP_HUBS", wire.ws_url());
    let far = far.start().await;
    let mut floods = JoinSet::new();
    for n in 0..2 {
        let (here, there, id) = couple(&near, &far, &format!("loud {n}")).await;
        floods.spawn(flood(here, there, id));
    }
    let silent = ("hubmesh_mesh_links_down_total", "reason=\"silent\"");
    counted(&near, silent, 1, async { wire.stall() }).await;
    floods.abort_all();
}
