//! `peer-client connect`: one connection, for pings or as a pipe; or with `--answer` the other end of it.
//!
//! The asking end says the purpose of the connection, so that the other one knows whether to echo or to pipe. A pipe
//! over datagrams works like `nc -u`: its input goes out in datagrams of up to 1200 bytes, which may be lost. However
//! it ends, even by an interrupt, the other end is told.

use std::io;
use std::time::Duration;

use clap::Args;
use hubmesh_causes as causes;
use hubmesh_cli::{self as cli, Exit};
use hubmesh_client::PeerId;
use hubmesh_client::coordinator::{Channel, Connected, Coordinator, Datagram};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::{Common, failed, finish, follow, lost, milliseconds};
use crate::talk::interrupted;

/// Bytes of a ping.
const PING: usize = 32;
/// How long to wait for one ping; it is sent again this often.
const PING_WAIT: Duration = Duration::from_secs(1);
const PING_TRIES: usize = 3;
/// Bytes of a datagram of a pipe: fits every path.
const CHUNK: usize = 1200;
/// Connections whose pings are echoed at once; more wait, and those beyond are refused.
pub const MOST_ECHOES: usize = 256;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The peer to connect to.
    #[arg(
        value_name = "PEER",
        required_unless_present = "answer",
        conflicts_with = "answer"
    )]
    peer: Option<PeerId>,
    #[command(flatten)]
    common: Common,
    /// This end's id; a random one when absent.
    #[arg(long, value_name = "PEER_ID")]
    id: Option<PeerId>,
    /// Wait for peers that connect: echo their pings, and be the other end of the first pipe.
    #[arg(long)]
    answer: bool,
    /// Measure this many round trips in place of a pipe.
    #[arg(long, value_name = "N", conflicts_with = "answer")]
    pings: Option<u32>,
    /// With --answer: how long to stay, as in 10s; until Ctrl-C when absent.
    #[arg(long, value_name = "DURATION", value_parser = cli::positive_duration, requires = "answer")]
    listen: Option<Duration>,
}

pub async fn run(arguments: Arguments) -> Exit {
    if arguments.peer.is_some() && arguments.peer == arguments.id {
        eprintln!("peer-client: that is this peer's own --id");
        return Exit::Usage;
    }
    let coordinator = match arguments.common.coordinator(true) {
        Ok(coordinator) => coordinator,
        Err(exit) => return exit,
    };
    let printing = follow(&coordinator, arguments.common.json);
    let exit = tokio::select! {
        () = interrupted() => Exit::Ok,
        exit = work(&coordinator, &arguments) => exit,
    };
    finish(&coordinator, printing).await;
    exit
}

async fn work(coordinator: &Coordinator, arguments: &Arguments) -> Exit {
    let id = arguments.id.clone().unwrap_or_else(PeerId::random);
    if let Err(error) = coordinator.register_peer(&id).await {
        return failed(&error);
    }
    let Some(peer) = &arguments.peer else {
        return tokio::select! {
            exit = answer(coordinator, arguments.listen) => exit,
            exit = lost(coordinator) => exit,
        };
    };
    let purpose = match arguments.pings {
        Some(_) => "pings",
        None => "pipe",
    };
    let metadata = json!({"use": purpose});
    let connected = coordinator
        .connect_with(peer.as_str(), Some(metadata))
        .await;
    let connected = match connected {
        Ok(connected) => connected,
        Err(error) => return failed(&error),
    };
    match arguments.pings {
        Some(count) => ping(connected, count, arguments.common.json).await,
        None => ended(pipe(connected).await),
    }
}

fn ended(pipe: io::Result<()>) -> Exit {
    let Err(error) = pipe else { return Exit::Ok };
    // An error of ours has words already.
    let why = match error.get_ref() {
        Some(own) => own.to_string(),
        None => causes::of_io(&error),
    };
    eprintln!("peer-client: the connection broke: {why}");
    match error.kind() {
        io::ErrorKind::TimedOut => Exit::NoAnswer,
        _ => Exit::Failed,
    }
}

async fn answer(coordinator: &Coordinator, listen: Option<Duration>) -> Exit {
    let mut echoes = JoinSet::new();
    let answering = async {
        loop {
            tokio::select! {
                connected = coordinator.accept(), if echoes.len() < MOST_ECHOES => {
                    let Some(connected) = connected else { return Exit::Ok };
                    let data = connected.metadata.as_ref();
                    if !data.is_some_and(|data| data["use"] == "pings") {
                        return ended(pipe(connected).await);
                    }
                    // A broken echo concerns only the other end.
                    echoes.spawn(async move { echo(connected).await.ok() });
                }
                Some(_) = echoes.join_next() => {}
            }
        }
    };
    let exit = match listen {
        Some(limit) => timeout(limit, answering).await.unwrap_or(Exit::Ok),
        None => answering.await,
    };
    echoes.shutdown().await;
    exit
}

/// Sends back all that comes, until the other end is done.
pub async fn echo(mut connected: Connected) -> io::Result<()> {
    match &mut connected.channel {
        Channel::Datagram(datagram) => {
            while let Some(bytes) = datagram.recv().await? {
                datagram.send(&bytes).await?;
            }
            Ok(())
        }
        Channel::Stream(stream) => {
            let (mut from, mut to) = stream.split();
            tokio::io::copy(&mut from, &mut to).await.map(drop)
        }
    }
}

/// Takes all that comes, until the other end is done. Of two ends one echoes, or they would do so for ever.
pub async fn listen(mut connected: Connected) -> io::Result<()> {
    match &mut connected.channel {
        Channel::Datagram(datagram) => {
            while datagram.recv().await?.is_some() {}
            Ok(())
        }
        Channel::Stream(stream) => {
            let copied = tokio::io::copy(stream, &mut tokio::io::sink()).await;
            copied.map(drop)
        }
    }
}

async fn ping(mut connected: Connected, count: u32, as_json: bool) -> Exit {
    let mut times = Vec::new();
    for number in 1..=count {
        let Some(time) = one_ping(&mut connected.channel, number).await else {
            eprintln!("peer-client: ping {number} did not come back");
            return Exit::NoAnswer;
        };
        times.push(time);
        let time = milliseconds(time);
        if as_json {
            println!(
                "{}",
                json!({"event": "ping", "number": number, "milliseconds": time})
            );
        } else {
            println!("{number}: {time:.3} ms from {}", connected.remote);
        }
    }
    let sum: Duration = times.iter().sum();
    let mean = milliseconds(sum / u32::try_from(times.len().max(1)).unwrap_or(1));
    let (least, most) = (times.iter().min().copied(), times.iter().max().copied());
    let bound = |time: Option<Duration>| milliseconds(time.unwrap_or_default());
    let (least, most) = (bound(least), bound(most));
    if as_json {
        let way = json!({
            "event": "pings", "count": count, "method": connected.method, "way": connected.way,
            "remote": connected.remote, "connectMilliseconds": milliseconds(connected.took),
            "min": least, "mean": mean, "max": most,
        });
        println!("{way}");
    } else {
        println!(
            "{count} of {count} by {}: {least:.3}/{mean:.3}/{most:.3} ms",
            connected.way
        );
    }
    if let Channel::Datagram(datagram) = connected.channel {
        datagram.close().await;
    }
    Exit::Ok
}

/// The time of one round trip; nothing when it did not come back.
async fn one_ping(channel: &mut Channel, number: u32) -> Option<Duration> {
    let mut ping = [0; PING];
    let text = format!("ping {number}");
    ping.iter_mut()
        .zip(text.bytes())
        .for_each(|(to, from)| *to = from);
    let tries = match channel {
        Channel::Datagram(_) => PING_TRIES,
        Channel::Stream(_) => 1,
    };
    for _ in 0..tries {
        let sent = Instant::now();
        let trip = async {
            match &mut *channel {
                Channel::Datagram(datagram) => round_trip(datagram, &ping).await,
                Channel::Stream(stream) => {
                    stream.write_all(&ping).await?;
                    let mut back = [0; PING];
                    stream.read_exact(&mut back).await.map(drop)
                }
            }
        };
        if let Ok(Ok(())) = timeout(PING_WAIT, trip).await {
            return Some(sent.elapsed());
        }
    }
    None
}

async fn round_trip(datagram: &Datagram, ping: &[u8]) -> io::Result<()> {
    datagram.send(ping).await?;
    loop {
        match datagram.recv().await? {
            Some(bytes) if bytes == ping => return Ok(()),
            // An earlier one that was late.
            Some(_) => {}
            None => return Err(io::ErrorKind::ConnectionReset.into()),
        }
    }
}

/// Standard input to the other end and what it sends to standard output, until either is done.
async fn pipe(connected: Connected) -> io::Result<()> {
    match connected.channel {
        Channel::Datagram(datagram) => pipe_datagrams(datagram).await,
        Channel::Stream(stream) => pipe_stream(stream).await,
    }
}

async fn pipe_datagrams(datagram: Datagram) -> io::Result<()> {
    let (mut input, mut output) = (tokio::io::stdin(), tokio::io::stdout());
    let mut chunk = [0; CHUNK];
    let mut reads = true;
    let mut said_anything = false;
    loop {
        tokio::select! {
            read = input.read(&mut chunk), if reads => match read? {
                // An end without input, such as one without a terminal, goes on listening.
                0 if !said_anything => reads = false,
                0 => {
                    datagram.close().await;
                    return Ok(());
                }
                length => {
                    said_anything = true;
                    datagram.send(&chunk[..length]).await?;
                }
            },
            came = datagram.recv() => match came? {
                Some(bytes) => {
                    output.write_all(&bytes).await?;
                    output.flush().await?;
                }
                None => return Ok(()),
            },
        }
    }
}

async fn pipe_stream(mut stream: TcpStream) -> io::Result<()> {
    let (mut from, mut to) = stream.split();
    let sending = async {
        tokio::io::copy(&mut tokio::io::stdin(), &mut to).await?;
        // The other end may still have something to say.
        to.shutdown().await
    };
    let receiving = async {
        let mut output = tokio::io::stdout();
        tokio::io::copy(&mut from, &mut output).await?;
        output.flush().await
    };
    tokio::pin!(sending);
    tokio::select! {
        received = receiving => received,
        Err(error) = &mut sending => Err(error),
    }
}
