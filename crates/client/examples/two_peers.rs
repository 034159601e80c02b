//! Two peers find each other through a hub, and one accepts the other's offer.
//!
//! With a hub on this machine (`cargo run --release`):
//! `cargo run -p hubmesh-client --example two_peers -- ws://localhost:8080`

use std::{error::Error, time::Duration};

use hubmesh_client::{Client, ConnectOptions, Event, HubUrl, SignalKind};
use serde_json::{json, value::to_raw_value};

/// How long both may take together.
const LIMIT: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let hub = std::env::args().nth(1);
    let hub: HubUrl = hub.as_deref().unwrap_or("ws://localhost:8080").parse()?;
    let answer = tokio::time::timeout(LIMIT, conversation(&hub, "two-peers")).await??;
    println!("Ada's offer was accepted with {answer}");
    Ok(())
}

/// Ada offers a connection to the first peer that she discovers in `network`. Gives the answer, as JSON.
pub async fn conversation(hub: &HubUrl, network: &str) -> Result<String, Box<dyn Error>> {
    let mut ada = Client::connect(&ConnectOptions::new(hub.clone())).await?;
    let mut bob = Client::connect(&ConnectOptions::new(hub.clone())).await?;
    ada.announce(network, &json!({"name": "Ada"})).await?;
    bob.announce(network, &json!({"name": "Bob"})).await?;

    let (asked, answered) = tokio::join!(ask(&mut ada), answer_one(&mut bob));
    answered?;
    ada.close().await;
    bob.close().await;
    asked
}

/// Sends an offer to the first peer that appears, and waits for its answer.
async fn ask(peer: &mut Client) -> Result<String, Box<dyn Error>> {
    loop {
        match peer.next_event().await {
            Event::Discovered { id, .. } => {
                // A real peer's offer comes from its WebRTC library.
                let offer = to_raw_value(&json!({"type": "offer", "sdp": "v=0"}))?;
                peer.signal(SignalKind::Offer, &id, &offer).await?;
            }
            Event::Signal {
                kind: SignalKind::Answer,
                data,
                ..
            } => {
                return Ok(data.get().to_owned());
            }
            Event::Closed { reason, .. } | Event::Error { error: reason, .. } => {
                return Err(reason.into());
            }
            _ => {}
        }
    }
}

/// Accepts the first offer that comes.
async fn answer_one(peer: &mut Client) -> Result<(), Box<dyn Error>> {
    loop {
        match peer.next_event().await {
            Event::Signal {
                kind: SignalKind::Offer,
                from,
                ..
            } => {
                let answer = to_raw_value(&json!({"type": "answer", "sdp": "v=0"}))?;
                peer.signal(SignalKind::Answer, &from, &answer).await?;
                return Ok(());
            }
            Event::Closed { reason, .. } | Event::Error { error: reason, .. } => {
                return Err(reason.into());
            }
            _ => {}
        }
    }
}
