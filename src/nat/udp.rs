//! One UDP socket: one system call reads many datagrams, and one sends many that go the same way.
//!
//! Datagrams of one size from one socket to one address are put together and given to the kernel at once (segmentation
//! offload); where it refuses that, they are sent one by one. A datagram that the kernel has no space for is lost, as
//! on any wire. Fragmentation stays allowed: the header that TURN adds may make a datagram longer than the path allows.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;

use hubmesh_turn::{Counters, Passing};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use rustix::net::sockopt;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Space for what the kernel puts together on the way in.
const BUFFER_BYTES: usize = 64 * 1024;
/// Longer datagrams are sent one by one: a segment has to fit the path.
const LONGEST_SEGMENT: usize = 1_400;
/// The most that is sent at once.
const LONGEST_BATCH: usize = 60_000;

/// A socket.
pub(super) struct Udp {
    socket: UdpSocket,
    state: UdpSocketState,
    /// What it is bound to.
    pub(super) local: SocketAddr,
}

impl Udp {
    pub(super) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        let local = socket.local_addr()?;
        allow_fragments(&socket, local);
        Ok(Udp {
            socket: UdpSocket::from_std(socket)?,
            state,
            local,
        })
    }

    /// Waits until there may be something to read.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Reads the datagrams that are there, up to a batch, and hands each over with its source and, if the system tells,
    /// the address of this machine that it came to.
    pub(super) fn read(
        &self,
        receive_buffer: &mut ReceiveBuffer,
        mut take: impl FnMut(SocketAddr, Option<IpAddr>, &[u8]),
    ) {
        let ReceiveBuffer { bytes, meta } = receive_buffer;
        let mut buffers = bytes.chunks_mut(BUFFER_BYTES).map(IoSliceMut::new);
        let mut buffers: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| buffers.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
        let reading = || self.state.recv((&self.socket).into(), &mut buffers, meta);
        // When a peer's host reports an unreachable port, this comes as an error, and is no reason to stop.
        let Ok(count) = self.socket.try_io(Interest::READABLE, reading) else {
            return;
        };
        for (meta, buffer) in meta.iter().zip(&buffers).take(count) {
            let whole = buffer.get(..meta.len).unwrap_or_default();
            for datagram in whole.chunks(meta.stride.max(1)) {
                take(meta.addr, meta.dst_ip, datagram);
            }
        }
    }

    /// Sends one datagram, or several of `size` bytes each, the last one perhaps shorter; gives which were sent.
    fn send(&self, way: &Way, bytes: &[u8], size: usize) -> Taken {
        let transmit = |contents, segment_size| Transmit {
            destination: way.to,
            ecn: None,
            contents,
            segment_size,
            src_ip: way.from,
        };
        let sending = |transmit: &Transmit<'_>| {
            let send = || self.state.try_send((&self.socket).into(), transmit);
            self.socket.try_io(Interest::WRITABLE, send)
        };
        let is_batch = bytes.len() > size;
        match sending(&transmit(bytes, is_batch.then_some(size))) {
            Err(why) if is_batch && why.kind() != io::ErrorKind::WouldBlock => {
                let one = |datagram| sending(&transmit(datagram, None)).is_ok();
                Taken::Each(bytes.chunks(size).map(one).collect())
            }
            done => Taken::All(done.is_ok()),
        }
    }
}

/// Which datagrams the kernel took.
enum Taken {
    /// All of them, or none.
    All(bool),
    /// One by one.
    Each(Vec<bool>),
}

/// Undoes a setting that is right for QUIC, which finds the limit of the path itself.
fn allow_fragments(socket: &std::net::UdpSocket, local: SocketAddr) {
    let done = match local {
        SocketAddr::V4(_) => {
            sockopt::set_ip_mtu_discover(socket, sockopt::Ipv4PathMtuDiscovery::DONT)
                .map_err(io::Error::from)
        }
        SocketAddr::V6(_) => {
            sockopt::set_ipv6_mtu_discover(socket, sockopt::Ipv6PathMtuDiscovery::DONT)
                .map_err(io::Error::from)
                .and_then(|()| allow_ipv6_fragments(socket))
        }
    };
    if let Err(why) = done {
        tracing::debug!(%why, "long datagrams may be lost");
    }
}

/// No crate that the hub uses has this option, so the system call is here.
fn allow_ipv6_fragments(socket: &std::net::UdpSocket) -> io::Result<()> {
    let value: libc::c_int = 0;
    let length = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(0);
    // SAFETY: the descriptor is open for as long as the socket is borrowed, and the kernel copies `length` bytes of
    // `value`, which is as long, before the call returns.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_DONTFRAG,
            (&raw const value).cast(),
            length,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Where datagrams are read into; one for all sockets of a thread.
pub(super) struct ReceiveBuffer {
    bytes: Vec<u8>,
    meta: [RecvMeta; BATCH_SIZE],
}

impl ReceiveBuffer {
    pub(super) fn new() -> Self {
        ReceiveBuffer {
            bytes: vec![0; BUFFER_BYTES * BATCH_SIZE],
            meta: [RecvMeta::default(); BATCH_SIZE],
        }
    }
}

/// The way of a datagram: its socket, its target, and its source among this machine's addresses.
#[derive(Clone)]
struct Way {
    socket: Rc<Udp>,
    to: SocketAddr,
    from: Option<IpAddr>,
}

impl Way {
    fn is(&self, other: &Way) -> bool {
        Rc::ptr_eq(&self.socket, &other.socket) && self.to == other.to && self.from == other.from
    }
}

/// How many different ways waiting datagrams may have. If one read brings datagrams for more, some are sent in between.
const WAYS: usize = 16;

/// Datagrams on their way out; those that go the same way are sent at once, in their order. Relayed data is counted
/// when the kernel has taken it.
pub(super) struct SendBuffer {
    counters: Arc<Counters>,
    /// The first `waiting` have something; the others keep their memory.
    batches: Vec<Batch>,
    waiting: usize,
}

/// Datagrams that go one way.
#[derive(Default)]
struct Batch {
    way: Option<Way>,
    bytes: Vec<u8>,
    /// How long each datagram is, in bytes, but for the last one.
    size: usize,
    /// The last datagram was shorter, so none may follow it.
    closed: bool,
    /// What each datagram relays, to be counted.
    passing: Vec<Option<Passing>>,
}

impl SendBuffer {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        SendBuffer {
            counters,
            batches: Vec::new(),
            waiting: 0,
        }
    }

    /// Adds a datagram. It is sent at the latest by [`flush`](Self::flush).
    pub(super) fn push(
        &mut self,
        socket: &Rc<Udp>,
        (to, from): (SocketAddr, Option<IpAddr>),
        datagram: &[u8],
        passing: Option<Passing>,
    ) {
        let socket = Rc::clone(socket);
        let way = Way { socket, to, from };
        let waiting = self.batches.iter_mut().take(self.waiting);
        let mut its = waiting.filter(|batch| batch.goes(&way));
        if let Some(batch) = its.next() {
            if !batch.takes(datagram) {
                batch.flush(&self.counters);
            }
            return batch.put(way, datagram, passing);
        }
        if self.waiting == WAYS {
            self.flush();
        }
        if self.waiting == self.batches.len() {
            self.batches.push(Batch::default());
        }
        if let Some(batch) = self.batches.get_mut(self.waiting) {
            batch.put(way, datagram, passing);
            self.waiting += 1;
        }
    }

    /// Sends what is there.
    pub(super) fn flush(&mut self) {
        for batch in self.batches.iter_mut().take(self.waiting) {
            batch.flush(&self.counters);
        }
        self.waiting = 0;
    }
}

impl Batch {
    fn goes(&self, way: &Way) -> bool {
        self.way.as_ref().is_some_and(|its| its.is(way))
    }

    /// Whether one more can go with those that are there.
    fn takes(&self, datagram: &[u8]) -> bool {
        let most = self
            .way
            .as_ref()
            .map(|way| way.socket.state.max_gso_segments());
        !self.closed
            && datagram.len() <= self.size.min(LONGEST_SEGMENT)
            && !datagram.is_empty()
            && Some(self.passing.len()) < most
            && self.bytes.len() + datagram.len() <= LONGEST_BATCH
    }

    fn put(&mut self, way: Way, datagram: &[u8], passing: Option<Passing>) {
        if self.passing.is_empty() {
            (self.way, self.size) = (Some(way), datagram.len());
        }
        self.closed = datagram.len() < self.size;
        self.passing.push(passing);
        self.bytes.extend_from_slice(datagram);
    }

    fn flush(&mut self, counters: &Counters) {
        if let Some(way) = self.way.take() {
            let taken = way.socket.send(&way, &self.bytes, self.size.max(1));
            let which = |at| match &taken {
                Taken::All(all) => *all,
                Taken::Each(each) => each.get(at).copied().unwrap_or_default(),
            };
            for (passing, at) in self.passing.iter().zip(0..) {
                if let Some(passing) = passing {
                    tell(counters, *passing, which(at));
                }
            }
        }
        self.bytes.clear();
        self.passing.clear();
        self.closed = false;
    }
}

/// Counts data that was allowed to pass: as sent, or as lost where the kernel had no space.
pub(super) fn tell(counters: &Counters, passing: Passing, is_sent: bool) {
    match is_sent {
        true => counters.sent(passing),
        false => counters.unsent(),
    }
}

#[cfg(test)]
mod tests {
    use hubmesh_turn::{Drop, Toward};

    use super::*;

    #[tokio::test]
    async fn datagrams_of_many_ways_keep_their_order_on_each() {
        let bind = || std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let here = bind();
        here.set_nonblocking(true).expect("set");
        let socket = Rc::new(Udp::new(here).expect("a socket"));
        socket.socket.writable().await.expect("there is space");
        let peers: Vec<_> = (0..WAYS + 3).map(|_| bind()).collect();
        let mut send_buffer = SendBuffer::new(Arc::default());
        // The third is shorter than those before it, and the fourth longer.
        let lengths = [40_usize, 40, 7, 90, 0, 90];
        for (length, number) in lengths.into_iter().zip(0_u8..) {
            for peer in &peers {
                let to = peer.local_addr().expect("bound");
                send_buffer.push(&socket, (to, None), &vec![number; length], None);
            }
        }
        send_buffer.flush();
        for peer in &peers {
            let wait = std::time::Duration::from_secs(5);
            peer.set_read_timeout(Some(wait)).expect("a time");
            for (length, number) in lengths.into_iter().zip(0_u8..) {
                let mut buffer = [0; 128];
                let got = peer.recv(&mut buffer).expect("it comes");
                assert_eq!(buffer.get(..got), Some(&vec![number; length][..]));
            }
        }
    }

    #[tokio::test]
    async fn only_what_the_kernel_takes_is_counted_as_relayed() {
        let bind = || std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let (here, there) = (bind(), bind());
        here.set_nonblocking(true).expect("set");
        let to = there.local_addr().expect("bound");
        let socket = Rc::new(Udp::new(here).expect("a socket"));
        socket.socket.writable().await.expect("there is space");
        let counters = Arc::new(Counters::default());
        let mut send_buffer = SendBuffer::new(Arc::clone(&counters));
        let passing = |bytes| {
            let to = Toward::Peer;
            Some(Passing { to, bytes })
        };
        for _ in 0..3 {
            send_buffer.push(&socket, (to, None), &[7; 100], passing(100));
        }
        send_buffer.push(&socket, (to, None), b"an answer", None);
        // No datagram is as long as that.
        send_buffer.push(&socket, (to, None), &[7; 70_000], passing(70_000));
        // Nothing can be sent there.
        let nowhere: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        send_buffer.push(&socket, (nowhere, None), &[7; 100], passing(100));
        send_buffer.push(&socket, (nowhere, None), &[7; 100], passing(100));
        send_buffer.flush();
        assert_eq!(counters.to_peers.packets.total(), 3);
        assert_eq!(counters.to_peers.bytes.total(), 300);
        assert_eq!(counters.of(Drop::Unsent).total(), 3);
    }
}
