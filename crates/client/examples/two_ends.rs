//! Two ends in one process find a way to each other and say hello; two queues stand in for the hub.
//!
//! `cargo run -p hubmesh-client --features coordinator --example two_ends -- stun:stun.example.org:3478`
//! (without servers they meet at their local addresses).

use std::error::Error;

use hubmesh_client::coordinator::{Channel, Connected, Coordinator, Incoming, Outgoing, Signaling};
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let servers: Vec<String> = std::env::args().skip(1).collect();
    println!("{}", conversation(&servers).await?);
    Ok(())
}

/// Ada asks Bob for a connection and says hello. Gives what Bob heard, and by which way.
pub async fn conversation(servers: &[String]) -> Result<String, Box<dyn Error>> {
    let (ada, bob) = (end(servers)?, end(servers)?);
    let (for_ada, for_bob) = wired("ada", "bob");
    ada.register_with("ada", for_ada)?;
    bob.register_with("bob", for_bob)?;
    let (asked, accepted) = tokio::join!(ada.connect_to_peer("bob"), bob.accept());
    let (asked, accepted) = (asked?, accepted.ok_or("nobody asked")?);
    let heard = hello(&asked, &accepted).await?;
    Ok(format!("{heard:?} by {}", asked.way))
}

fn end(servers: &[String]) -> Result<Coordinator, Box<dyn Error>> {
    let mut builder = Coordinator::builder();
    for server in servers {
        builder = builder.stun(server)?;
    }
    Ok(builder.build())
}

async fn hello(from: &Connected, to: &Connected) -> Result<String, Box<dyn Error>> {
    let (Channel::Datagram(from), Channel::Datagram(to)) = (&from.channel, &to.channel) else {
        return Err("that is a stream".into());
    };
    from.send(b"hello").await?;
    let heard = to.recv().await?.ok_or("the other end is gone")?;
    Ok(String::from_utf8(heard)?)
}

/// Two ends of one line: what one sends, the other gets.
fn wired(one: &'static str, other: &'static str) -> (Signaling, Signaling) {
    let (from_one, to_other) = carried(one);
    let (from_other, to_one) = carried(other);
    let signaling = |outgoing, incoming| Signaling { outgoing, incoming };
    (signaling(from_one, to_one), signaling(from_other, to_other))
}

fn carried(from: &'static str) -> (mpsc::Sender<Outgoing>, mpsc::Receiver<Incoming>) {
    let (outgoing, mut messages) = mpsc::channel::<Outgoing>(16);
    let (told, incoming) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Some(message) = messages.recv().await {
            let signal = Incoming::Signal {
                from: from.to_owned(),
                data: message.data,
            };
            if told.send(signal).await.is_err() {
                return;
            }
        }
    });
    (outgoing, incoming)
}
