//! The one owner of the server: hands it the packets that the sockets read, and carries out its effects.
//!
//! Everything here is on one thread and behind one [`RefCell`], which is never borrowed across an await. A task reads
//! each socket; each batch that it reads is handled whole, and then the others have their turn, so that a flood on one
//! socket keeps none of them waiting. Sending never waits: a packet that a socket or a connection has no space for is
//! lost, and clients of TURN expect this.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use hubmesh_turn::{
    AllocationId, Counters, Effect, Family, FiveTuple, Moment, Passing, Server, ToPeer, Toward,
    Transport,
};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local, yield_now};
use tokio::time::Instant;

use super::addresses::Machine;
use super::ports::bind_relay;
use super::queue::Queue;
use super::udp::{ReceiveBuffer, SendBuffer, Udp, tell};
use crate::clock;

/// The server and its sockets.
pub(super) struct Engine {
    server: Server,
    counters: Arc<Counters>,
    /// Asked for addresses if there are relays.
    machine: Option<Machine>,
    /// Told when a task panics.
    panicked: Rc<Notify>,
    listening: Vec<Rc<Udp>>,
    relays: HashMap<AllocationId, Relay>,
    /// Where packets for clients in streams go.
    connections: HashMap<FiveTuple, Queue>,
    hosts: Vec<IpAddr>,
    send_buffer: SendBuffer,
    scratch: Vec<u8>,
}

/// The port of a relay, and the task that reads it.
struct Relay {
    socket: Rc<Udp>,
    reading: AbortHandle,
}

/// The engine as tasks share it.
pub(super) type SharedEngine = Rc<RefCell<Engine>>;

pub(super) fn now() -> Moment {
    Moment {
        at: Instant::now().into_std(),
        unix_s: clock::unix_ms() / 1_000,
    }
}

impl Engine {
    /// Without sockets yet. Relays are bound to these hosts.
    pub(super) fn new(server: Server, hosts: Vec<IpAddr>, machine: Option<Machine>) -> Self {
        let counters = Arc::clone(server.counters());
        Engine {
            server,
            machine,
            panicked: Rc::default(),
            listening: Vec::new(),
            relays: HashMap::new(),
            connections: HashMap::new(),
            hosts,
            send_buffer: SendBuffer::new(Arc::clone(&counters)),
            counters,
            scratch: Vec::new(),
        }
    }

    /// Told when one of its tasks panics.
    pub(super) fn panicked(this: &SharedEngine) -> Rc<Notify> {
        Rc::clone(&this.borrow().panicked)
    }

    /// A packet of a client.
    pub(super) fn client(this: &SharedEngine, now: Moment, from: FiveTuple, packet: &[u8]) {
        let mut engine = this.borrow_mut();
        let engine = &mut *engine;
        if let Some(ToPeer {
            allocation,
            peer,
            data,
        }) = engine.server.handle_client(now, from, packet)
            && let Some(relay) = engine.relays.get(&allocation)
        {
            let bytes = data.len();
            let to = Toward::Peer;
            let passing = Some(Passing { to, bytes });
            engine
                .send_buffer
                .push(&relay.socket, (peer, None), data, passing);
        }
        engine.settle(this);
    }

    /// Carries out the effects of the server.
    fn settle(&mut self, this: &SharedEngine) {
        while let Some(effect) = self.server.poll_effect() {
            match effect {
                Effect::Send { to, bytes, passing } => self.send(to, &bytes, passing),
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
                        self.send_buffer.flush();
                        // It closes the port when it has its turn.
                        relay.reading.abort();
                    }
                }
            }
        }
    }

    /// To a client, as far as there is space.
    fn send(&mut self, to: FiveTuple, bytes: &[u8], passing: Option<Passing>) {
        if to.transport == Transport::Stream {
            let connection = self.connections.get(&to);
            let is_taken = connection.is_some_and(|connection| connection.put(bytes));
            if let Some(passing) = passing {
                tell(&self.counters, passing, is_taken);
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
        match from {
            Some(socket) => {
                let way = (to.client, Some(ip));
                self.send_buffer.push(socket, way, bytes, passing);
            }
            // No packet came to that address, so none is sent from it.
            None => passing.into_iter().for_each(|_| self.counters.unsent()),
        }
    }

    fn open(&mut self, this: &SharedEngine, id: AllocationId, family: Family, port: u16) -> bool {
        let host = self.hosts.iter().find(|ip| match family {
            Family::V4 => ip.is_ipv4(),
            Family::V6 => ip.is_ipv6(),
        });
        let socket = host.ok_or(std::io::ErrorKind::AddrNotAvailable.into());
        let socket = socket.and_then(|host| bind_relay(SocketAddr::new(*host, port)));
        match socket.and_then(Udp::new) {
            Ok(socket) => {
                let socket = Rc::new(socket);
                let reading = read_relay(Rc::clone(this), id, Rc::clone(&socket));
                let reading = spawn(&self.panicked, reading);
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

    pub(super) fn disconnected(this: &SharedEngine, client: FiveTuple) {
        let mut engine = this.borrow_mut();
        engine.connections.remove(&client);
        engine.server.client_gone(client);
        engine.settle(this);
        engine.send_buffer.flush();
    }

    pub(super) fn has_allocation(&self, client: FiveTuple) -> bool {
        self.server.has_allocation(client)
    }

    pub(super) fn flush(this: &SharedEngine) {
        this.borrow_mut().send_buffer.flush();
    }

    /// Runs a task that is one of many; if it panics, [`panicked`](Self::panicked) is told.
    pub(super) fn spawn(
        this: &SharedEngine,
        task: impl Future<Output = ()> + 'static,
    ) -> AbortHandle {
        spawn(&this.borrow().panicked, task)
    }

    fn port_lost(this: &SharedEngine, id: AllocationId) {
        let mut engine = this.borrow_mut();
        engine.server.port_lost(id);
        engine.settle(this);
        engine.send_buffer.flush();
    }

    /// Looks at what is due.
    pub(super) fn tick(this: &SharedEngine) {
        let mut engine = this.borrow_mut();
        let engine = &mut *engine;
        let machine = engine.machine.as_mut();
        if let Some(own) = machine.and_then(|machine| machine.look_again(Instant::now())) {
            engine.server.set_own(&own);
        }
        engine.server.handle_timeout(now().at);
        engine.settle(this);
        engine.send_buffer.flush();
    }

    /// No new relays from now on, and none is refreshed.
    pub(super) fn drain(this: &SharedEngine) {
        this.borrow_mut().server.drain();
    }

    /// Ends all relays and connections.
    pub(super) fn end(this: &SharedEngine) {
        let mut engine = this.borrow_mut();
        engine.server.end_all();
        engine.settle(this);
        engine.send_buffer.flush();
        engine.connections.clear();
    }
}

thread_local! {
    /// All sockets of the thread are read into the same memory, one batch at a time.
    static INBOX: RefCell<ReceiveBuffer> = RefCell::new(ReceiveBuffer::new());
}

/// Reports when a task panics.
struct Alarm(Rc<Notify>);

impl std::ops::Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.notify_one();
        }
    }
}

fn spawn(panicked: &Rc<Notify>, task: impl Future<Output = ()> + 'static) -> AbortHandle {
    let alarm = Alarm(Rc::clone(panicked));
    let watched = async move {
        let _alarm = alarm;
        task.await;
    };
    spawn_local(watched).abort_handle()
}

/// Reads one of the sockets that clients come to, and answers from it.
pub(super) async fn read_clients(this: SharedEngine, socket: Rc<Udp>) {
    this.borrow_mut().listening.push(Rc::clone(&socket));
    let local = socket.local;
    while socket.readable().await.is_ok() {
        INBOX.with_borrow_mut(|receive_buffer| {
            let now = now();
            socket.read(receive_buffer, |client, to, packet| {
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
async fn read_relay(this: SharedEngine, id: AllocationId, socket: Rc<Udp>) {
    while socket.readable().await.is_ok() {
        INBOX.with_borrow_mut(|receive_buffer| {
            let now = now();
            let mut engine = this.borrow_mut();
            let engine = &mut *engine;
            socket.read(receive_buffer, |peer, _, data| {
                let mut packet = std::mem::take(&mut engine.scratch);
                packet.clear();
                let to = engine.server.handle_peer(now, id, peer, data, &mut packet);
                if let Some(to) = to {
                    let (to_whom, bytes) = (Toward::Client, data.len());
                    let passing = Passing { to: to_whom, bytes };
                    engine.send(to, &packet, Some(passing));
                }
                engine.scratch = packet;
            });
            engine.settle(&this);
            engine.send_buffer.flush();
        });
        yield_now().await;
    }
    Engine::port_lost(&this, id);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::task::LocalSet;

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_noticed_and_one_that_ends_or_is_ended_is_not() {
        let tasks = LocalSet::new();
        let panicked = Rc::new(Notify::new());
        let in_time = |wait: Duration| {
            let panicked = Rc::clone(&panicked);
            async move {
                tokio::time::timeout(wait, panicked.notified())
                    .await
                    .is_ok()
            }
        };
        let play = async {
            spawn(&panicked, async {});
            spawn(&panicked, std::future::pending()).abort();
            yield_now().await;
            assert!(!in_time(Duration::ZERO).await);
            spawn(&panicked, async { panic!("as it is meant to") });
            assert!(in_time(Duration::from_secs(5)).await);
        };
        tasks.run_until(play).await;
    }
}
