//! Actions of operators at one hub of three, and their effects at the others.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use futures::{SinkExt, StreamExt};
use hmac::{Hmac, KeyInit, Mac};
use http::{Method, StatusCode};
use hubmesh_client::{ConnectOptions, PeerId, SignalKind};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::hub_process::{HubBuilder, HubProcess, LIMIT, eventually, eventually_within};
use crate::jwt;
use crate::peer::{Peer, way_to};
use crate::stage::{Site, shaped};

pub const TOKEN: &str = "for-operators-alone";
const BEARER: (&str, &str) = ("authorization", "Bearer for-operators-alone");

pub fn kept() -> HubBuilder {
    shaped().env("ADMIN_TOKEN", TOKEN)
}

pub async fn asked(hub: &HubProcess, path: &str) -> Value {
    let answer = hub.http(Method::GET, path, &[BEARER]).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
    answer.json()
}

pub async fn id(hub: &HubProcess) -> String {
    let session = asked(hub, "/admin/api/session").await;
    session["hub"].as_str().expect("an id").to_owned()
}

async fn bans(hub: &HubProcess) -> BTreeSet<String> {
    let body = asked(hub, "/admin/api/bans").await;
    let bans = body["bans"].as_array().expect("a list").iter();
    bans.map(|ban| ban["ban"].as_str().expect("a number").to_owned())
        .collect()
}

pub async fn place(hub: &HubProcess, ban: &Value) -> String {
    let body = ban.to_string();
    let answer = hub.post("/admin/api/bans", &[BEARER], &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    answer.json()["ban"]["ban"]
        .as_str()
        .expect("a number")
        .to_owned()
}

pub async fn lift(hub: &HubProcess, ban: &str) {
    let path = format!("/admin/api/bans/{ban}");
    let answer = hub.http(Method::DELETE, &path, &[BEARER]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
}

pub async fn agree(hubs: &[&HubProcess], want: &BTreeSet<String>) {
    for hub in hubs {
        eventually("all hubs go by the same bans", async || {
            bans(hub).await == *want
        })
        .await;
    }
}

/// Three hubs in a row.
pub async fn a_chain(builder: &HubBuilder) -> [HubProcess; 3] {
    let first = builder.clone().start().await;
    let linked = |hub: &HubProcess| builder.clone().env("BOOTSTRAP_HUBS", hub.ws_url());
    let second = linked(&first).start().await;
    let third = linked(&second).start().await;
    for hub in [&first, &third] {
        eventually("the ends know each other", async || {
            asked(hub, "/stats").await["hubs"] == 2
        })
        .await;
    }
    [first, second, third]
}

#[tokio::test]
async fn what_waits_and_what_is_contested_is_listed_at_any_hub_page_by_page() {
    let [first, _second, third] = a_chain(&kept().env("SIGNAL_WAIT_MS", "60000")).await;
    let (here, there) = (
        Peer::join(&first, "kept").await,
        Peer::join(&third, "kept").await,
    );
    let mut targets: Vec<PeerId> = (0..3).map(|_| PeerId::random()).collect();
    targets.sort();
    for target in &targets {
        here.signal(SignalKind::Offer, target, r#""a secret""#)
            .await;
    }
    there.signal(SignalKind::Offer, &targets[0], "1").await;
    there
        .signal(SignalKind::IceCandidate, &targets[0], "2")
        .await;
    here.fence().await;
    there.fence().await;
    let (own, other) = (id(&first).await, id(&third).await);
    let mut want: Vec<(String, String, u64)> = targets
        .iter()
        .map(|target| (target.to_string(), own.clone(), 1))
        .collect();
    want.push((targets[0].to_string(), other.clone(), 2));
    want.sort();
    let mut told = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("/admin/api/waiting?limit=2{after}");
        let page = asked(&third, &path).await;
        assert_eq!(
            (&page["ids"], &page["total"]),
            (&json!(4), &json!(5)),
            "{page}"
        );
        assert_eq!(page["notAnswered"], json!([]), "{page}");
        assert!(!page.to_string().contains("secret"), "{page}");
        for row in page["waiting"].as_array().expect("a list") {
            assert_eq!(
                (&row["dialect"], &row["network"]),
                (&json!("pigeon"), &json!("kept"))
            );
            assert!(row["sinceMs"].as_u64().expect("a time") > 1_700_000_000_000);
            let text = |field: &str| row[field].as_str().expect("a text").to_owned();
            told.push((
                text("id"),
                text("hub"),
                row["count"].as_u64().expect("a number"),
            ));
        }
        let Some(next) = page["next"].as_str() else {
            break;
        };
        let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        after = format!("&after={next}");
    }
    assert_eq!(told, want, "in order, and each once");
    for (filter, ids) in [
        (format!("hub={other}"), 1),
        ("network=ep".into(), 4),
        ("network=none".into(), 0),
        ("dialect=rooms".into(), 0),
    ] {
        let page = asked(&first, &format!("/admin/api/waiting?{filter}")).await;
        assert_eq!(page["ids"], ids, "{filter}: {page}");
    }
    let contests = asked(&first, "/admin/api/contests").await;
    assert_eq!(
        (&contests["contests"], &contests["total"]),
        (&json!([]), &json!(0))
    );
}

#[tokio::test]
async fn a_peer_is_removed_wherever_it_is_and_gone_everywhere() {
    let [first, _second, third] = a_chain(&kept()).await;
    let watcher = Peer::join(&first, "kept").await;
    let target = Peer::join(&third, "kept").await;
    watcher.sees(&target.id).await;
    let path = format!("/admin/api/peers/pigeon/kept/{}", target.id());
    let answer = first.http(Method::DELETE, &path, &[BEARER]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(answer.json()["hub"], id(&third).await);
    assert_eq!(
        target.is_closed().await,
        (1008, "removed by an operator".to_owned())
    );
    target.is_told("removed", 1).await;
    assert_eq!(watcher.loses(&target.id).await, "disconnected");
    let answer = first.http(Method::DELETE, &path, &[BEARER]).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.body);
    // The peer may come back: only a ban would keep it out.
    let back = Peer::join_as(&third, "kept", target.id.clone()).await;
    watcher.sees(&back.id).await;
    let lines = first.log_lines();
    let noted = lines
        .iter()
        .filter(|line| line.contains("an operator's action"));
    let noted: Vec<&String> = noted.collect();
    assert_eq!(noted.len(), 1, "{noted:#?}");
    assert!(noted[0].contains("127.0.0.1") && noted[0].contains("bearer"));
    assert!(lines.iter().all(|line| !line.contains(TOKEN)));
}

#[tokio::test]
async fn a_ban_at_one_hub_keeps_a_peer_out_of_the_last_also_after_a_restart_of_the_first() {
    let mut sites = Vec::new();
    for at in 0..3 {
        let site = Site::configured(kept()).await;
        let before: Vec<&Site> = sites.last().into_iter().collect();
        let mut site = if at == 0 {
            site
        } else {
            site.bootstrap(&before)
        };
        site.start().await;
        sites.push(site);
    }
    for site in &sites {
        eventually("all know each other", async || {
            asked(site, "/stats").await["hubs"] == 2
        })
        .await;
    }
    let mallory = PeerId::random();
    let standing = Peer::join_as(&sites[2], "kept", mallory.clone()).await;
    let bystander = Peer::join(&sites[2], "kept").await;
    let ban = place(
        &sites[0],
        &json!({ "id": mallory.as_str(), "reason": "spam" }),
    )
    .await;
    assert_eq!(
        standing.is_closed().await,
        (1008, "banned by an operator".to_owned())
    );
    let want = BTreeSet::from([ban.clone()]);
    agree(&[&sites[0], &sites[1], &sites[2]], &want).await;
    let out = async |hub: &HubProcess| {
        let again = Peer::ask_to_join(hub, "kept", mallory.clone()).await;
        let (code, reason) = again.is_closed().await;
        assert_eq!((code, reason.as_str()), (1008, "banned by an operator"));
    };
    out(&sites[2]).await;
    bystander.fence().await;
    sites[0].kill().await;
    out(&sites[2]).await;
    sites[0].start().await;
    agree(&[&sites[0], &sites[1], &sites[2]], &want).await;
    out(&sites[0]).await;
    out(&sites[2]).await;
    // The hubs that know the ban are killed one after the other. Each is back before the next is killed.
    for at in [1, 2] {
        sites[at].kill().await;
        sites[at].start().await;
        agree(&[&sites[0], &sites[1], &sites[2]], &want).await;
    }
    lift(&sites[1], &ban).await;
    agree(&[&sites[0], &sites[1], &sites[2]], &BTreeSet::new()).await;
    Peer::join_as(&sites[2], "kept", mallory.clone()).await;
}

#[tokio::test]
async fn a_subject_is_kept_out_whatever_its_id_and_closed_where_it_is() {
    let builder = kept().env("JWT_SECRET", jwt::SECRET);
    let [first, _second, third] = a_chain(&builder).await;
    let token = |subject: &str| jwt::token(json!({ "sub": subject }));
    let connect = async |subject: &str| {
        let options = ConnectOptions {
            token: Some(token(subject)),
            ..way_to(&third, &PeerId::random())
        };
        Peer::connect(&options, "kept").await
    };
    let standing = connect("mallory").await.expect("it is let in");
    standing.announce("{}").await;
    let other = connect("ada").await.expect("it is let in");
    other.announce("{}").await;
    other.fence().await;
    place(&first, &json!({ "subject": "mallory", "seconds": 600 })).await;
    assert_eq!(standing.is_closed().await.0, 1008);
    eventually("it is kept out", async || connect("mallory").await.is_err()).await;
    let again = connect("ada").await.expect("others are let in");
    assert!(other.is_open() && again.is_open());
    let page = "/admin/api/peers?network=kept&details=1";
    let row = asked(&first, page).await["peers"][0].clone();
    assert_eq!(
        (&row["address"], &row["subject"]),
        (&json!("127.0.0.1"), &json!("ada")),
        "{row}"
    );
    let since = row["sinceMs"].as_u64().expect("a time");
    let now = asked(&first, "/admin/api/topology").await;
    assert_eq!(now["hubs"].as_array().map(Vec::len), Some(3), "{now}");
    assert_eq!(now["links"].as_array().map(Vec::len), Some(2), "{now}");
    assert_eq!(now["notAnswered"], json!([]), "{now}");
    assert!(since > 1_600_000_000_000, "{row}");
}

#[tokio::test]
async fn no_more_bans_than_allowed_are_placed_at_any_hub() {
    let [first, _second, third] = a_chain(&kept().env("MAX_BANS", "2")).await;
    let ban = |no: u8| json!({ "address": format!("192.0.2.{no}") });
    place(&first, &ban(1)).await;
    let second = place(&third, &ban(2)).await;
    for hub in [&first, &third] {
        eventually("both know both", async || bans(hub).await.len() == 2).await;
        let body = ban(3).to_string();
        let full = hub.post("/admin/api/bans", &[BEARER], &body).await;
        assert_eq!(full.status, StatusCode::CONFLICT, "{}", full.body);
    }
    lift(&first, &second).await;
    place(&first, &ban(3)).await;
}

#[tokio::test]
async fn the_last_hour_is_that_of_all_hubs() {
    let [first, _second, third] = a_chain(&kept()).await;
    let peers = [
        Peer::join(&third, "kept").await,
        Peer::join(&first, "kept").await,
    ];
    peers[0].sees(&peers[1].id).await;
    peers[0].reaches(&peers[1], "1").await;
    // A step of the history is ten seconds long.
    eventually_within(3 * LIMIT, "a step is over", async || {
        let history = asked(&first, "/admin/api/history").await;
        assert_eq!(history["notAnswered"], json!([]), "{history}");
        let sum = |name: &str| {
            let column = history[name].as_array().expect("a column").iter();
            column.filter_map(Value::as_u64).sum::<u64>()
        };
        let length = history["t"].as_array().expect("a column").len();
        let same = history["signals"].as_array().expect("a column").len() == length;
        same && sum("joins") == 2 && sum("signals") >= 1
    })
    .await;
}

#[tokio::test]
async fn a_client_of_peerjs_is_told_and_its_id_is_not_kept() {
    let [first, _second, third] = a_chain(&kept()).await;
    let url = format!("{}/peerjs?key=peerjs&id=ada&token=secret", third.ws_url());
    let (mut socket, _) = tokio_tungstenite::connect_async(&url)
        .await
        .expect("it is let in");
    let open = socket.next().await.expect("a message").expect("open");
    assert!(open.to_text().expect("text").contains("OPEN"));
    eventually("its hub is known at the first", async || {
        let answer = first
            .http(
                Method::DELETE,
                "/admin/api/peers/peerjs/peerjs/ada",
                &[BEARER],
            )
            .await;
        answer.status == StatusCode::OK
    })
    .await;
    let mut heard = Vec::new();
    while let Some(Ok(message)) = timeout(LIMIT, socket.next()).await.expect("in time") {
        heard.push(message.clone());
        if let Message::Close(frame) = message {
            let frame = frame.expect("a code");
            assert_eq!(u16::from(frame.code), 1008);
            assert_eq!(frame.reason.as_str(), "removed by an operator");
            break;
        }
    }
    let told = heard.iter().any(|message| {
        let text = message.to_text().unwrap_or_default();
        text.contains("ERROR") && text.contains("removed by an operator")
    });
    assert!(told, "{heard:?}");
    let _ = socket.close(None).await;
    // Another client may take the id at once: it is not kept for the client that was sent away.
    let url = format!("{}/peerjs?key=peerjs&id=ada&token=another", third.ws_url());
    eventually("the id is free", async || {
        let (mut socket, _) = tokio_tungstenite::connect_async(&url)
            .await
            .expect("a socket");
        let first = socket.next().await.expect("a message").expect("open");
        let free = first.to_text().is_ok_and(|text| text.contains("OPEN"));
        let _ = socket.send(Message::Close(None)).await;
        free
    })
    .await;
}

// ---- The webhook ----------------------------------------------------------------------------------------

const SECRET: &str = "of-the-webhook-alone";

/// Accepts one post, and answers it with this status. Returns its headers and its body.
async fn take(listener: &TcpListener, status: u16) -> (Vec<(String, String)>, String) {
    let (mut stream, _) = timeout(LIMIT, listener.accept())
        .await
        .expect("in time")
        .expect("a post");
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    let (head, mut body) = loop {
        let length = stream.read(&mut buffer).await.expect("it is sent");
        assert!(length > 0, "it ended");
        read.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            break (head.to_owned(), body.to_owned());
        }
    };
    let headers: Vec<(String, String)> = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = header(&headers, "content-length")
        .parse()
        .expect("a length");
    while body.len() < length {
        let length = stream.read(&mut buffer).await.expect("it is sent");
        assert!(length > 0, "it ended");
        body += &String::from_utf8_lossy(&buffer[..length]);
    }
    let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream
        .write_all(answer.as_bytes())
        .await
        .expect("it is read");
    (headers, body)
}

fn header<'h>(headers: &'h [(String, String)], name: &str) -> &'h str {
    let found = headers.iter().find(|(found, _)| found == name);
    found.map_or_else(|| panic!("no {name}: {headers:?}"), |(_, value)| value)
}

fn signature(at: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any length does");
    mac.update(format!("{at}.{body}").as_bytes());
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

#[tokio::test]
async fn events_are_posted_signed_and_again_until_they_are_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at: SocketAddr = listener.local_addr().expect("bound");
    let builder = kept()
        .env("EVENTS_WEBHOOK_URL", format!("http://{at}/hook?of=hub"))
        .env("EVENTS_WEBHOOK_SECRET", SECRET);
    let hub = builder.start().await;
    let peer = Peer::join(&hub, "kept").await;
    let mut posts = Vec::new();
    for status in [500, 302, 204] {
        posts.push(take(&listener, status).await);
    }
    for (headers, body) in &posts {
        let signed = signature(header(headers, "x-hubmesh-timestamp"), body);
        assert_eq!(header(headers, "x-hubmesh-signature"), signed);
        assert_eq!(*body, posts[0].1, "the same is posted again");
        let number = header(headers, "x-hubmesh-delivery");
        assert_eq!(number, header(&posts[0].0, "x-hubmesh-delivery"));
    }
    let body: Value = serde_json::from_str(&posts[0].1).expect("JSON");
    assert_eq!(body["dropped"], 0, "{body}");
    let events = body["events"].as_array().expect("a list");
    let join = events
        .iter()
        .find(|event| event["event"] == "join")
        .expect("the join");
    assert_eq!(join["peer"], peer.id());
    // An event that happens while no reader accepts posts is not lost.
    let (headers, later) = {
        peer.goodbye().await;
        take(&listener, 200).await
    };
    assert!(later.contains("\"leave\""), "{later}");
    assert_ne!(
        header(&headers, "x-hubmesh-delivery"),
        header(&posts[0].0, "x-hubmesh-delivery")
    );
}
