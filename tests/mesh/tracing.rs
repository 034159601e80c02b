//! One signal in the logs of hubs: its steps can be followed by three values that all these logs show.

use hubmesh_client::SignalKind;
use serde_json::Value;

use crate::hub_process::HubProcess;
use crate::peer::Peer;
use crate::stage::{all_linked, eventually, hub_id, shaped};

/// The payload of the offers of these tests. No line of a log may show it.
const SECRET: &str = "only-the-two-may-read-this";

/// The steps of signals so far: the lines that the data path wrote.
fn steps(hub: &HubProcess) -> Vec<Value> {
    let lines = hub.log_lines();
    let lines = lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"));
    lines.filter(|line| line["level"] == "TRACE").collect()
}

/// The lines whose fields have all of these values.
fn with(lines: &[Value], fields: &[(&str, &Value)]) -> Vec<Value> {
    let has = |line: &&Value| {
        fields
            .iter()
            .all(|(name, value)| line["fields"][*name] == **value)
    };
    lines.iter().filter(has).cloned().collect()
}

fn messages(lines: &[Value]) -> Vec<&str> {
    lines
        .iter()
        .filter_map(|line| line["message"].as_str())
        .collect()
}

/// A chain of hubs: each is linked only with the ones before and after it.
async fn chain(hubs: usize) -> Vec<HubProcess> {
    let hub = || shaped().env("RUST_LOG", "hubmesh=trace");
    let mut chain: Vec<HubProcess> = vec![hub().start().await];
    for at in 1..hubs {
        let next = hub().env("BOOTSTRAP_HUBS", chain[at - 1].ws_url());
        chain.push(next.start().await);
    }
    all_linked(&chain.iter().collect::<Vec<_>>()).await;
    chain
}

async fn two_peers(from: &HubProcess, to: &HubProcess) -> [Peer; 2] {
    let peers = [
        Peer::join(from, "traced").await,
        Peer::join(to, "traced").await,
    ];
    peers[0].sees(&peers[1].id).await;
    peers[1].sees(&peers[0].id).await;
    peers
}

/// Sends one offer and follows it. The log of the sender's hub gives the values by which the offer is found in the logs
/// of all hubs. Returns these lines of each hub.
async fn follows_an_offer(hubs: &[HubProcess]) -> Vec<Vec<Value>> {
    let (first, last) = (&hubs[0], &hubs[hubs.len() - 1]);
    let [sender, receiver] = two_peers(first, last).await;
    sender.reaches(&receiver, &format!("\"{SECRET}\"")).await;
    let ids = [Value::from(sender.id()), Value::from(receiver.id())];
    let ends = [("from", &ids[0]), ("to", &ids[1])];
    eventually("the hub of the sender tells of it", async || {
        messages(&with(&steps(first), &ends)) == ["signal accepted", "signal sent"]
    })
    .await;
    let sent = with(&steps(first), &ends).remove(1);
    let known_by =
        ["source_hub", "destination_hub", "number"].map(|name| (name, &sent["fields"][name]));
    assert_eq!(*known_by[0].1, hub_id(first).await);
    assert_eq!(*known_by[1].1, hub_id(last).await);
    eventually("the hub of the receiver tells of it", async || {
        messages(&with(&steps(last), &known_by)) == ["signal delivered"]
    })
    .await;
    let delivered = with(&steps(last), &known_by).remove(0);
    assert_eq!(messages(&with(&[delivered], &ends)), ["signal delivered"]);
    let follow = |hub| with(&steps(hub), &known_by);
    let followed = hubs.iter().map(follow).collect();
    for hub in hubs {
        let shown = hub
            .log_lines()
            .into_iter()
            .find(|line| line.contains(SECRET));
        assert_eq!(shown, None, "no log shows what a signal says");
    }
    followed
}

#[tokio::test]
async fn an_offer_is_followed_over_two_hubs_by_the_same_three_values() {
    let hubs = chain(2).await;
    let followed = follows_an_offer(&hubs).await;
    for line in followed.iter().flatten() {
        println!("{line}");
    }
    assert_eq!(messages(&followed[0]), ["signal sent"]);
    assert_eq!(messages(&followed[1]), ["signal delivered"]);
    let fields = [&followed[0][0]["fields"], &followed[1][0]["fields"]];
    assert_eq!(
        fields.map(|fields| fields["kind"].as_str()),
        [Some("offer"); 2]
    );
    assert!(fields[0]["connection"].is_u64(), "of whom: {:?}", fields[0]);
    assert!(fields[1]["link"].is_u64(), "by which link: {:?}", fields[1]);
    assert_eq!(fields[1]["hub"], hub_id(&hubs[0]).await);
}

#[tokio::test]
async fn a_hub_on_the_way_tells_which_signals_it_forwards() {
    let followed = follows_an_offer(&chain(3).await).await;
    assert_eq!(messages(&followed[0]), ["signal sent"]);
    assert_eq!(messages(&followed[1]), ["signal forwarded"]);
    assert_eq!(messages(&followed[2]), ["signal delivered"]);
}

#[tokio::test]
async fn a_signal_that_is_refused_is_told_with_the_reason() {
    let hub = HubProcess::builder()
        .env("RUST_LOG", "hubmesh=trace")
        .env("SIGNAL_WAIT_MS", "0");
    let hub = hub.start().await;
    let [sender, receiver] = two_peers(&hub, &hub).await;
    let gone = receiver.id.clone();
    receiver.goodbye().await;
    sender.loses(&gone).await;
    sender
        .signal(SignalKind::Offer, &gone, &format!("\"{SECRET}\""))
        .await;
    sender.is_told("no-such-peer", 1).await;
    let to = Value::from(gone.as_str());
    eventually("the log tells it", async || {
        messages(&with(&steps(&hub), &[("to", &to)])) == ["signal accepted", "signal refused"]
    })
    .await;
    let refused = with(&steps(&hub), &[("to", &to)]).remove(1);
    assert_eq!(refused["fields"]["reason"], "no-such-peer");
    assert!(!hub.log_lines().iter().any(|line| line.contains(SECRET)));
}

#[tokio::test]
async fn a_hub_that_is_not_asked_for_it_tells_of_no_signal() {
    let hub = HubProcess::start().await;
    let [sender, receiver] = two_peers(&hub, &hub).await;
    sender.reaches(&receiver, "7").await;
    assert_eq!(steps(&hub), Vec::<Value>::new());
}
