//! A relay on a TURN server: this end sends and receives datagrams through an address of the server.
//!
//! A task owns the connection to the server. It keeps the relay alive, and gives it up when the [`Relay`] is dropped. Only
//! this file uses `turn-client-proto`. The first datagram to an address also asks the server for a permission; datagrams that
//! reach the server before the permission does are lost, as any datagram may be. A *peer* is here an address at which the
//! other end may be (TURN's word).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, timeout};
use turn_client_proto::api::{
    DelayedMessageOrChannelSend, Transmit, TransmitBuild, TurnClientApi as _, TurnConfig,
    TurnEvent, TurnPollRet, TurnRecvRet,
};
use turn_client_proto::client::TurnClient;
use turn_client_proto::stun::auth::Feature;
use turn_client_proto::tcp::TurnClientTcp;
use turn_client_proto::types::{
    AddressFamily, Instant as TurnInstant, TransportType, TurnCredentials,
};
use turn_client_proto::udp::TurnClientUdp;

use super::ice::{self, Transport, TurnServer};
use super::lingering::{Lingering, Lingers};
use super::tls::{self, AnyError};
use super::{own, stun};
use hubmesh_causes as causes;

/// The time within which a server has to give a relay, by UDP.
const UDP_LIMIT: Duration = Duration::from_secs(3);
/// The time within which a server has to give a relay, by TCP or TLS: a connection is opened first.
const STREAM_LIMIT: Duration = Duration::from_secs(6);
/// If the server reads nothing for this long, it is given up.
const STALLED: Duration = Duration::from_secs(5);
/// How long to wait for the server's answer when the relay is given up.
const END_LIMIT: Duration = Duration::from_millis(500);
/// Size of the queues to and from the task. When the one to it is full, `send_to` and `bind` wait and `send_now` drops the
/// datagram; when the one from it is full, received datagrams are dropped.
const QUEUE: usize = 256;
/// The longest datagram that is received from a server.
const LONGEST: usize = 64 * 1024;

/// STUN errors after which the request is sent again: they do not end the attempt.
const UNAUTHORIZED: u16 = 401;
const STALE_NONCE: u16 = 438;

/// Why there is no relay.
#[derive(Debug, Error)]
pub(super) enum RelayError {
    #[error("{0} has no address")]
    NoAddress(String),
    #[error("no connection to {0}: {1}")]
    Unreachable(String, String),
    #[error("{0} did not answer within {1:?}")]
    Silent(String, Duration),
    #[error("{0} refused: error {1}")]
    Refused(String, u16),
    #[error("{0} gave no relay")]
    Failed(String),
}

enum Order {
    Send(SocketAddr, Vec<u8>),
    Bind(SocketAddr),
    End,
}

/// An open relay.
#[derive(Debug)]
pub(super) struct Relay {
    /// Its address: peers send to this.
    pub(super) address: SocketAddr,
    /// The transport to the server.
    pub(super) transport: Transport,
    orders: mpsc::Sender<Order>,
    received: Mutex<mpsc::Receiver<(Vec<u8>, SocketAddr)>>,
}

impl Relay {
    /// Opens a relay. `tls` verifies a server by TLS; `None`: use the system's root certificates.
    pub(super) async fn open(
        server: &TurnServer,
        tls: Option<Arc<rustls::ClientConfig>>,
        lingering: &Lingering,
    ) -> Result<Self, RelayError> {
        let name = format!("{} by {}", server.place, server.transport);
        let limit = match server.transport {
            Transport::Udp => UDP_LIMIT,
            Transport::Tcp | Transport::Tls => STREAM_LIMIT,
        };
        let opening = async {
            let addresses = ice::resolve(&server.place).await;
            let Some(address) = addresses.first() else {
                return Err(RelayError::NoAddress(name.clone()));
            };
            let wire = connect(server, *address, tls).await;
            let wire =
                wire.map_err(|error| RelayError::Unreachable(name.clone(), tls::words(&*error)))?;
            start(wire, server, &name, lingering.enter()).await
        };
        let opened = timeout(limit, opening).await;
        opened.unwrap_or_else(|_| Err(RelayError::Silent(name.clone(), limit)))
    }

    /// Sends a datagram to a peer.
    pub(super) async fn send_to(&self, bytes: &[u8], to: SocketAddr) -> std::io::Result<()> {
        self.order(Order::Send(to, bytes.to_vec())).await
    }

    /// Binds a TURN channel to a peer. A datagram then has 4 extra bytes instead of 36.
    pub(super) async fn bind(&self, peer: SocketAddr) -> std::io::Result<()> {
        self.order(Order::Bind(peer)).await
    }

    /// Gives the relay up and waits until the task has ended. Call it before the program exits; otherwise the server may keep
    /// the port until the lifetime is over.
    pub(super) async fn close(&self) {
        // The task may have ended already.
        let _ = self.order(Order::End).await;
        self.orders.closed().await;
    }

    /// Sends a datagram if the queue has space; drops it otherwise.
    pub(super) fn send_now(&self, bytes: &[u8], to: SocketAddr) {
        let _ = self.orders.try_send(Order::Send(to, bytes.to_vec()));
    }

    /// Waits until the queue has space. Fails if the task has ended.
    async fn order(&self, order: Order) -> std::io::Result<()> {
        self.orders.send(order).await.map_err(|_| ended())
    }

    /// The next datagram, and which peer it is from. Cancel-safe.
    pub(super) async fn recv_from(&self) -> std::io::Result<(Vec<u8>, SocketAddr)> {
        self.received.lock().await.recv().await.ok_or_else(ended)
    }
}

fn ended() -> std::io::Error {
    std::io::Error::new(
        std::io::ErrorKind::ConnectionAborted,
        "the relay has ended: the TURN server is gone",
    )
}

/// The connection to a server.
enum Wire {
    Udp(UdpSocket),
    Stream(Box<dyn Stream>, SocketAddr),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

async fn connect(
    server: &TurnServer,
    address: SocketAddr,
    tls: Option<Arc<rustls::ClientConfig>>,
) -> Result<(Wire, SocketAddr), AnyError> {
    if server.transport == Transport::Udp {
        let socket = UdpSocket::bind((own::address(address)?, 0)).await?;
        socket.connect(address).await?;
        return Ok((Wire::Udp(socket), address));
    }
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    if server.transport == Transport::Tcp {
        return Ok((Wire::Stream(Box::new(stream), local), address));
    }
    let stream = tls::connect(stream, server.place.host.clone(), tls).await?;
    Ok((Wire::Stream(Box::new(stream), local), address))
}

impl Wire {
    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        match self {
            Self::Udp(socket) => socket.local_addr(),
            Self::Stream(_, local) => Ok(*local),
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            // A failed send is a lost datagram, as any may be.
            Self::Udp(socket) => socket.send(bytes).await.map(drop).or(Ok(())),
            Self::Stream(stream, _) => {
                let writing = async {
                    stream.write_all(bytes).await?;
                    stream.flush().await
                };
                let written = timeout(STALLED, writing).await;
                written.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
            }
        }
    }

    /// Cancel-safe.
    async fn recv<'b>(&mut self, buffer: &'b mut [u8]) -> std::io::Result<&'b [u8]> {
        let length = match self {
            Self::Udp(socket) => socket.recv(buffer).await?,
            Self::Stream(stream, _) => match stream.read(buffer).await? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                length => length,
            },
        };
        Ok(buffer.get(..length).unwrap_or_default())
    }
}

async fn start(
    (wire, address): (Wire, SocketAddr),
    server: &TurnServer,
    name: &str,
    lingers: Lingers,
) -> Result<Relay, RelayError> {
    let unreachable =
        |error: std::io::Error| RelayError::Unreachable(name.into(), causes::of_io(&error));
    let local = wire.local_addr().map_err(unreachable)?;
    let credentials = TurnCredentials::new(&server.username, &server.credential);
    let mut config = TurnConfig::new(credentials);
    // A server with time-limited credentials stores no user names. So it cannot find a name from its hash.
    config.set_anonymous_username(Feature::Disabled);
    if address.is_ipv6() {
        config.set_address_family(AddressFamily::IPV6);
    }
    let (first, longest) = (Duration::from_millis(250), Duration::from_secs(2));
    config.set_request_retransmits(first, longest, 5, longest);
    let client = match wire {
        Wire::Udp(_) => TurnClientUdp::allocate(local, address, config).into(),
        Wire::Stream(..) => TurnClientTcp::allocate(local, address, config).into(),
    };
    let (orders, inbox) = mpsc::channel(QUEUE);
    let (outbox, received) = mpsc::channel(QUEUE);
    let (ready, opened) = oneshot::channel();
    let task = Task {
        wire,
        client,
        began: Instant::now(),
        local,
        address,
        outbox,
        ready: Some(ready),
        refusal: None,
        _lingers: lingers,
    };
    tokio::spawn(task.run(inbox));
    match opened.await {
        Ok(Ok(address)) => Ok(Relay {
            address,
            transport: server.transport,
            orders,
            received: Mutex::new(received),
        }),
        Ok(Err(Some(code))) => Err(RelayError::Refused(name.into(), code)),
        Ok(Err(None)) | Err(_) => Err(RelayError::Failed(name.into())),
    }
}

struct Task {
    wire: Wire,
    client: TurnClient,
    began: Instant,
    local: SocketAddr,
    address: SocketAddr,
    outbox: mpsc::Sender<(Vec<u8>, SocketAddr)>,
    ready: Option<oneshot::Sender<Result<SocketAddr, Option<u16>>>>,
    refusal: Option<u16>,
    _lingers: Lingers,
}

/// The task has to stop: the relay has ended, or the server is gone.
struct Ended;

impl From<std::io::Error> for Ended {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

impl Task {
    async fn run(mut self, mut inbox: mpsc::Receiver<Order>) {
        let mut buffer = vec![0; LONGEST];
        while let Ok(deadline) = self.settle().await {
            let step = tokio::select! {
                () = tokio::time::sleep_until(deadline) => Ok(()),
                came = self.wire.recv(&mut buffer) => match came {
                    Ok(bytes) => {
                        let bytes = bytes.to_vec();
                        self.on_packet(bytes);
                        Ok(())
                    }
                    // By UDP, an error is an ICMP message about an earlier datagram: go on. A stream that fails has ended.
                    Err(_) if matches!(self.wire, Wire::Udp(_)) => Ok(()),
                    Err(error) => Err(error.into()),
                },
                order = inbox.recv() => match order {
                    Some(Order::End) | None => return self.end(&mut buffer).await,
                    Some(order) => self.carry_out(order).await,
                },
            };
            if step.is_err() {
                return;
            }
        }
    }

    fn now(&self) -> TurnInstant {
        let elapsed = self.began.elapsed().as_nanos();
        TurnInstant::from_nanos(i64::try_from(elapsed).unwrap_or(i64::MAX))
    }

    /// Does everything that is due now; returns when to call it again.
    async fn settle(&mut self) -> Result<Instant, Ended> {
        loop {
            let now = self.now();
            let next = match self.client.poll(now) {
                TurnPollRet::WaitUntil(next) => next,
                TurnPollRet::Closed => return Err(Ended),
                TurnPollRet::AllocateTcpSocket { .. } | TurnPollRet::TcpClose { .. } => now,
            };
            let mut idle = true;
            while let Some(transmit) = self.client.poll_transmit(now) {
                idle = false;
                self.wire.send(transmit.data.as_ref()).await?;
            }
            while let Some(event) = self.client.poll_event() {
                idle = false;
                self.on_event(&event)?;
            }
            while let Some(data) = self.client.poll_recv(now) {
                self.hand_over(data.data().to_vec(), data.peer);
            }
            if idle {
                let wait = next.saturating_duration_since(now);
                // At least 1 ms, so that a wrong answer of the client cannot make this spin.
                let wait = wait.clamp(Duration::from_millis(1), Duration::from_secs(60));
                return Ok(Instant::now() + wait);
            }
        }
    }

    fn on_event(&mut self, event: &TurnEvent) -> Result<(), Ended> {
        match event {
            TurnEvent::AllocationCreated(_, address) => {
                if let Some(ready) = self.ready.take() {
                    // `start` may have given up; then the orders end, too, and that ends the task.
                    let _ = ready.send(Ok(*address));
                }
                Ok(())
            }
            TurnEvent::AllocationCreateFailed(_) => {
                self.refuse();
                Err(Ended)
            }
            _ => Ok(()),
        }
    }

    /// Tells `start` that there is no relay. `start` then drops the orders, and that ends the task.
    fn refuse(&mut self) {
        if let Some(ready) = self.ready.take() {
            let _ = ready.send(Err(self.refusal));
        }
    }

    fn on_packet(&mut self, bytes: Vec<u8>) {
        match stun::error_code(&bytes) {
            // Every login begins with one 401. A second one means that the credentials are wrong: `TurnClient` does not
            // report that, so it is noticed here.
            Some(UNAUTHORIZED) if self.refusal.is_none() => self.refusal = Some(UNAUTHORIZED),
            Some(UNAUTHORIZED) => self.refuse(),
            Some(STALE_NONCE) | None => {}
            Some(code) => self.refusal = Some(code),
        }
        let transport = match self.wire {
            Wire::Udp(_) => TransportType::Udp,
            Wire::Stream(..) => TransportType::Tcp,
        };
        let transmit = Transmit::new(bytes, transport, self.address, self.local);
        let now = self.now();
        if let TurnRecvRet::PeerData(data) = self.client.recv(transmit, now) {
            let (bytes, peer) = (data.data().to_vec(), data.peer);
            self.hand_over(bytes, peer);
        }
    }

    fn hand_over(&self, bytes: Vec<u8>, peer: SocketAddr) {
        // If the reader is too slow, datagrams are dropped; the relay stays.
        let _ = self.outbox.try_send((bytes, peer));
    }

    async fn carry_out(&mut self, order: Order) -> Result<(), Ended> {
        let now = self.now();
        match order {
            Order::End => return Err(Ended),
            Order::Bind(peer) => {
                self.permit(peer.ip(), now);
                // An error means that the channel exists, or that there are too many. Then datagrams go as indications.
                let _ = self.client.bind_channel(TransportType::Udp, peer, now);
            }
            Order::Send(to, bytes) => {
                self.permit(to.ip(), now);
                let sent = self.client.send_to(TransportType::Udp, to, bytes, now);
                if let Ok(Some(transmit)) = sent {
                    let transmit: TransmitBuild<DelayedMessageOrChannelSend<Vec<u8>>> = transmit;
                    self.wire.send(&transmit.build().data).await?;
                }
            }
        }
        Ok(())
    }

    fn permit(&mut self, peer: IpAddr, now: TurnInstant) {
        if !self.client.have_permission(TransportType::Udp, peer) {
            // An error means that the permission was already requested.
            let _ = self.client.create_permission(TransportType::Udp, peer, now);
        }
    }

    /// Gives the relay up, so that the server can use its port again before the lifetime is over.
    async fn end(mut self, buffer: &mut [u8]) {
        let now = self.now();
        if self.client.delete(now).is_err() {
            return;
        }
        let ending = async {
            while let Ok(deadline) = self.settle().await {
                tokio::select! {
                    () = tokio::time::sleep_until(deadline) => {}
                    came = self.wire.recv(buffer) => {
                        let Ok(bytes) = came else { return };
                        let bytes = bytes.to_vec();
                        self.on_packet(bytes);
                    }
                }
            }
        };
        // If the server does not answer, it ends the relay when the lifetime is over.
        let _ = timeout(END_LIMIT, ending).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_server_that_takes_nothing_any_more_is_given_up_and_holds_nobody() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connecting, accepting) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (stream, local) = (connecting.unwrap(), address);
        // It is never read from.
        let _stalls = accepting.unwrap();
        let mut wire = Wire::Stream(Box::new(stream), local);
        // From here on the clock goes on whenever all wait.
        tokio::time::pause();
        let began = Instant::now();
        let bytes = vec![0; 1024 * 1024];
        let failed = loop {
            if let Err(error) = wire.send(&bytes).await {
                break error;
            }
        };
        assert_eq!(failed.kind(), std::io::ErrorKind::TimedOut);
        let took = began.elapsed();
        assert!(STALLED <= took && took < 2 * STALLED, "{took:?}");
    }
}
