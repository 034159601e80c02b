//! Reads all ports, by UDP and by streams, until it is told to stop.
//!
//! One future on the thread of STUN and TURN, above the engine and the streams, which know nothing of it. It ends by
//! itself when a reader ends or a task panics: the shared state may be inconsistent then.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::interval;

use super::Order;
use super::engine::{Engine, SharedEngine, read_clients};
use super::ports::Ports;
use super::streams::{Streams, accept};
use super::udp::Udp;

/// How often the hub looks for relays whose time is over. Their data is refused at once, their ports close within this.
const TICK: Duration = Duration::from_secs(1);

/// Why serving ended without an order to stop.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// A port cannot be read.
    #[error("a port cannot be read: {0}")]
    Port(#[from] io::Error),
    /// The task that reads one of the ports has ended.
    #[error("a port is not read any more")]
    Reader,
    /// A task panicked, and the shared state may be inconsistent.
    #[error("a task of it panicked")]
    Panicked,
}

/// Serves these ports until it is told to stop, or cannot.
pub(super) async fn serve(
    engine: Engine,
    streams: Streams,
    ports: Ports,
    mut orders: watch::Receiver<Order>,
) -> Result<(), Ended> {
    let this: SharedEngine = Rc::new(RefCell::new(engine));
    let panicked = Engine::panicked(&this);
    let mut readers = read(&this, &Rc::new(streams), ports)?;
    let mut ticks = interval(TICK);
    let done = loop {
        tokio::select! {
            _ = ticks.tick() => Engine::tick(&this),
            told = orders.changed() => match (told, *orders.borrow()) {
                (Ok(()), Order::Serve) => {}
                (Ok(()), Order::Drain) => Engine::drain(&this),
                _ => break Ok(()),
            },
            Some(_) = readers.join_next() => break Err(Ended::Reader),
            () = panicked.notified() => break Err(Ended::Panicked),
        }
    };
    Engine::end(&this);
    done
}

/// Starts to read all ports. None of these tasks ends by itself.
fn read(this: &SharedEngine, streams: &Rc<Streams>, ports: Ports) -> Result<JoinSet<()>, Ended> {
    let mut readers = JoinSet::new();
    let Ports { udp, tcp, tls, .. } = ports;
    for socket in udp {
        let socket = Rc::new(Udp::new(socket)?);
        readers.spawn_local(read_clients(Rc::clone(this), socket));
    }
    for (listeners, secure) in [(tcp, false), (tls, true)] {
        for listener in listeners {
            let listener = TcpListener::from_std(listener)?;
            readers.spawn_local(accept(
                Rc::clone(this),
                Rc::clone(streams),
                listener,
                secure,
            ));
        }
    }
    Ok(readers)
}
