//! The one owner of the server: hands it what the sockets read, and does what it wants done.
//!
//! Everything here is on one thread and behind one [`RefCell`], which is never borrowed across an await. A task reads each
//! socket; each batch that it reads is handled whole, and then the others have their turn, so that a flood on one socket
//! keeps none of them waiting. Sending never waits: what a socket or a connection has no room for is lost, and clients of
//! TURN expect no better.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hubmesh_turn::{AllocationId, Effect, Family, FiveTuple, Moment, Server, ToPeer, Transport};
use tokio::sync::watch;
use tokio::task::{AbortHandle, spawn_local, yield_now};
use tokio::time::{Instant, interval};

use super::Order;
use super::ports::{Ports, bind_relay};
use super::streams::{self, Queue, Streams};
use super::udp::{Inbox, Outbox, Udp};
use crate::clock;
use crate::config::Config;
use crate::http::Certificates;

/// How often relays are looked at whose time may be over. Data is held to it at once, ports are closed within this.
const TICK: Duration = Duration::from_secs(1);

/// The server and its sockets.
pub(super) struct Engine {
    server: Server,
    listening: Vec<Rc<Udp>>,
    relays: HashMap<AllocationId, Relay>,
    /// Where packets for clients in streams go.
    connections: HashMap<FiveTuple, Queue>,
    hosts: Vec<IpAddr>,
    outbox: Outbox,
    scratch: Vec<u8>,
    pub(super) streams: Rc<Streams>,
}

/// The port of a relay, and the task that reads it.
struct Relay {
    socket: Rc<Udp>,
    reading: AbortHandle,
}

/// The engine as tasks share it.
pub(super) type Shared = Rc<RefCell<Engine>>;

pub(super) fn now() -> Moment {
    Moment {
        at: Instant::now().into_std(),
        unix_s: clock::unix_ms() / 1_000,
    }
}

impl Engine {
    /// Without sockets yet. Relays are bound to these hosts.
    pub(super) fn new(
        server: Server,
        hosts: Vec<IpAddr>,
        config: &Arc<Config>,
        certificates: Option<Arc<Certificates>>,
    ) -> Self {
        Engine {
            server,
            listening: Vec::new(),
            relays: HashMap::new(),
            connections: HashMap::new(),
            hosts,
            outbox: Outbox::default(),
            scratch: Vec::new(),
            streams: Rc::new(Streams::new(config, certificates)),
        }
    }

    /// A packet of a client.
    pub(super) fn client(this: &Shared, now: Moment, from: FiveTuple, packet: &[u8]) {
        let mut engine = this.borrow_mut();
        let engine = &mut *engine;
        if let Some(ToPeer {
            allocation,
            peer,
            data,
        }) = engine.server.handle_client(now, from, packet)
            && let Some(relay) = engine.relays.get(&allocation)
        {
            engine.outbox.push(&relay.socket, peer, None, data);
        }
        engine.settle(this);
    }

    /// Does what the server wants done.
    fn settle(&mut self, this: &Shared) {
        while let Some(effect) = self.server.poll_effect() {
            match effect {
                Effect::Send { to, bytes } => self.send(to, &bytes),
                Effect::Open {
                    allocation,
                    family,
                    port,
                } => {
                    let is_open = self.open(this, allocation, family, port);
                    self.server.opened(allocation, is_open);
                }
                Effect::Close { allocation } => {
                    if let Some(relay) = self.relays.remove(&allocation) {
                        self.outbox.flush();
                        // It lets go of the port when it has its turn.
                        relay.reading.abort();
                    }
                }
            }
        }
    }

    /// To a client, as far as there is room.
    fn send(&mut self, to: FiveTuple, bytes: &[u8]) {
        if to.transport == Transport::Stream {
            if let Some(connection) = self.connections.get(&to) {
                connection.put(bytes);
            }
            return;
        }
        let port = to.server.port();
        let is_v4 = to.client.is_ipv4();
        let ip = to.server.ip();
        let from = self.listening.iter().find(|socket| {
            let local = socket.local;
            let same = local.ip() == ip || local.ip().is_unspecified();
            local.port() == port && local.is_ipv4() == is_v4 && same
        });
        if let Some(socket) = from {
            self.outbox.push(socket, to.client, Some(ip), bytes);
        }
    }

    fn open(&mut self, this: &Shared, id: AllocationId, family: Family, port: u16) -> bool {
        let host = self.hosts.iter().find(|ip| match family {
            Family::V4 => ip.is_ipv4(),
            Family::V6 => ip.is_ipv6(),
        });
        let socket = host.ok_or(std::io::ErrorKind::AddrNotAvailable.into());
        let socket = socket.and_then(|host| bind_relay(SocketAddr::new(*host, port)));
        match socket.and_then(Udp::new) {
            Ok(socket) => {
                let socket = Rc::new(socket);
                let reading = spawn_local(read_relay(Rc::clone(this), id, Rc::clone(&socket)));
                let reading = reading.abort_handle();
                self.relays.insert(id, Relay { socket, reading });
                true
            }
            Err(why) => {
                tracing::debug!(%why, port, "a port for a relay cannot be opened");
                false
            }
        }
    }

    /// A client that came by a stream, until it is gone.
    pub(super) fn connected(&mut self, client: FiveTuple, queue: Queue) {
        self.connections.insert(client, queue);
    }

    pub(super) fn disconnected(this: &Shared, client: FiveTuple) {
        let mut engine = this.borrow_mut();
        engine.connections.remove(&client);
        engine.server.client_gone(client);
        engine.settle(this);
        engine.outbox.flush();
    }

    pub(super) fn has_allocation(&self, client: FiveTuple) -> bool {
        self.server.has_allocation(client)
    }

    pub(super) fn flush(this: &Shared) {
        this.borrow_mut().outbox.flush();
    }

    fn tick(this: &Shared) {
        let mut engine = this.borrow_mut();
        engine.server.handle_timeout(now().at);
        engine.settle(this);
        engine.outbox.flush();
    }

    fn end(this: &Shared) {
        let mut engine = this.borrow_mut();
        engine.server.end_all();
        engine.settle(this);
        engine.outbox.flush();
        engine.connections.clear();
    }
}

thread_local! {
    /// All sockets of the thread are read into the same memory, one batch at a time.
    static INBOX: RefCell<Inbox> = RefCell::new(Inbox::new());
}

/// Serves these ports until it is told to stop.
pub(super) async fn serve(engine: Engine, ports: Ports, mut orders: watch::Receiver<Order>) {
    let this: Shared = Rc::new(RefCell::new(engine));
    let Ports { udp, tcp, tls, .. } = ports;
    for socket in udp {
        match Udp::new(socket) {
            Ok(socket) => {
                let socket = Rc::new(socket);
                this.borrow_mut().listening.push(Rc::clone(&socket));
                spawn_local(read_clients(Rc::clone(&this), socket));
            }
            Err(why) => tracing::error!(%why, "a UDP port of STUN and TURN cannot be read"),
        }
    }
    for (listeners, secure) in [(tcp, false), (tls, true)] {
        for listener in listeners {
            spawn_local(streams::accept(Rc::clone(&this), listener, secure));
        }
    }
    let mut ticks = interval(TICK);
    loop {
        tokio::select! {
            _ = ticks.tick() => Engine::tick(&this),
            told = orders.changed() => match (told, *orders.borrow()) {
                (Ok(()), Order::Serve) => {}
                (Ok(()), Order::Drain) => this.borrow_mut().server.drain(),
                _ => break,
            },
        }
    }
    Engine::end(&this);
}

/// Reads one of the sockets that clients come to.
async fn read_clients(this: Shared, socket: Rc<Udp>) {
    let local = socket.local;
    while socket.readable().await.is_ok() {
        INBOX.with_borrow_mut(|inbox| {
            let now = now();
            socket.read(inbox, |client, to, packet| {
                let server = SocketAddr::new(to.unwrap_or(local.ip()), local.port());
                let from = FiveTuple {
                    transport: Transport::Udp,
                    client,
                    server,
                };
                Engine::client(&this, now, from, packet);
            });
        });
        Engine::flush(&this);
        // As long as there is more to read, `readable` does not wait.
        yield_now().await;
    }
}

/// Reads the port of a relay.
async fn read_relay(this: Shared, id: AllocationId, socket: Rc<Udp>) {
    while socket.readable().await.is_ok() {
        INBOX.with_borrow_mut(|inbox| {
            let now = now();
            let mut engine = this.borrow_mut();
            let engine = &mut *engine;
            socket.read(inbox, |peer, _, data| {
                let mut packet = std::mem::take(&mut engine.scratch);
                packet.clear();
                let to = engine.server.handle_peer(now, id, peer, data, &mut packet);
                if let Some(to) = to {
                    engine.send(to, &packet);
                }
                engine.scratch = packet;
            });
            engine.settle(&this);
            engine.outbox.flush();
        });
        yield_now().await;
    }
}
