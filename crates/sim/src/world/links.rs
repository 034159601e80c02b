//! Connections: dials, handshakes, arriving data, and their end.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::{HostNo, World};
use crate::ids::Boot;
use crate::ids::{ConnNo, Side};
use crate::net::{Conn, InFlight};
use crate::queue::Event;
use hubmesh_core::api::{Bye, DialFailure, DialTarget, LinkUp};
use hubmesh_core::frames::ControlFrame;
use hubmesh_core::ids::{DialId, Incarnation, LinkId};
use hubmesh_core::wire;

/// The longest wait for the answer to a dial.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Trips that a dial takes until the dialled hub has it: TCP, upgrade, hello and proof.
const HANDSHAKE_TRIPS: u64 = 5;

fn address(target: &DialTarget) -> &str {
    match target {
        DialTarget::Bootstrap(url) | DialTarget::Learned { url, .. } => url,
    }
}

impl World {
    pub(super) fn send(&mut self, conn_no: ConnNo, side: Side, item: InFlight) {
        let jitter = self.rng.below(self.config.jitter + 1);
        let Some(conn) = self.conns.get_mut(conn_no) else {
            return;
        };
        let arrival = conn.pipes[side].send(self.now, jitter, item);
        self.queue.push(
            arrival,
            Event::Arrive {
                conn: conn_no,
                from: side,
            },
        );
    }

    pub(super) fn on_arrival(&mut self, conn_no: ConnNo, from: Side) {
        let Some(conn) = self.conns.get_mut(conn_no) else {
            return;
        };
        let (sender, receiver) = (conn.ends[from].owner, conn.ends[1 - from].owner);
        if self.blocked.contains(&(sender.host, receiver.host)) {
            return;
        }
        let Some(item) = conn.pipes[from].arrived(self.now) else {
            return;
        };
        let writer = conn.ends[from].open_link();
        let reader = conn.ends[1 - from].open_link();
        if let Some(link) = writer.filter(|_| self.is(sender)) {
            self.pump(sender.host, link, conn_no, from);
        }
        match (item, reader) {
            (InFlight::Message(message), Some(link)) if self.is(receiver) => {
                self.receive(receiver.host, link, &message);
            }
            (InFlight::Fin, _) => self.on_lost(conn_no, 1 - from),
            // No hub is there any more: a machine that is on says so.
            _ => self.reset_writer(conn_no, from),
        }
    }

    fn reset_writer(&mut self, conn_no: ConnNo, writer: Side) {
        let Some(conn) = self.conns.get(conn_no) else {
            return;
        };
        let (reader, latency) = (&conn.ends[1 - writer], conn.pipes[writer].latency);
        if reader.closed
            && !reader.lingers
            && self.hosts[reader.owner.host].powered
            && !conn.ends[writer].closed
        {
            self.queue.push(
                self.now + latency,
                Event::Lost {
                    conn: conn_no,
                    side: writer,
                },
            );
        }
    }

    pub(super) fn on_garbage(&mut self, conn_no: ConnNo, from: Side, bytes: &Bytes) {
        let Some(conn) = self.conns.get(conn_no) else {
            return;
        };
        let end = &conn.ends[1 - from];
        let (owner, link) = (end.owner, end.open_link());
        if let Some(link) = link.filter(|_| self.is(owner)) {
            self.receive(owner.host, link, bytes);
        }
    }

    pub(super) fn dial(&mut self, no: HostNo, dial: DialId, target: DialTarget) {
        self.mark(3 << 56 | no as u64);
        self.log(|| format!("host {no} dials {target:?}"));
        let Some(by) = self.boot_of(no) else { return };
        let to = self.by_url.get(address(&target)).copied();
        let Some(to) = to.filter(|to| self.reaches(no, *to)) else {
            return self.fail_dial_in(DIAL_TIMEOUT.as_micros() as u64, by, dial);
        };
        let at = self.now + HANDSHAKE_TRIPS * self.latency(no, to);
        self.queue.push(at, Event::Dialed { by, dial, target });
    }

    fn fail_dial_in(&mut self, micros: u64, by: Boot, dial: DialId) {
        self.queue
            .push(self.now + micros, Event::DialFailed { by, dial });
    }

    pub(super) fn reaches(&self, a: HostNo, b: HostNo) -> bool {
        self.hosts[b].powered && !self.blocked.contains(&(a, b)) && !self.blocked.contains(&(b, a))
    }

    pub(super) fn on_dialed(&mut self, by: Boot, dial: DialId, target: &DialTarget) {
        let Some(to) = self
            .by_url
            .get(address(target))
            .copied()
            .filter(|_| self.is(by))
        else {
            return;
        };
        if !self.reaches(by.host, to) {
            return self.fail_dial_in(DIAL_TIMEOUT.as_micros() as u64, by, dial);
        }
        let latency = self.latency(by.host, to);
        let Some(callee) = self.boot_of(to) else {
            return self.fail_dial_in(latency, by, dial);
        };
        let conn = Conn::new([by, callee], latency, self.config.bandwidth, dial.0);
        let conn_no = self.conns.add(conn);
        self.queue.push(
            self.now + latency,
            Event::HandshakeDone {
                conn: conn_no,
                dial,
            },
        );
        self.link_up(conn_no, 1, None);
    }

    pub(super) fn on_handshake_done(&mut self, conn_no: ConnNo, dial: DialId) {
        let Some(conn) = self.conns.get(conn_no) else {
            return;
        };
        let (by, callee) = (conn.ends[0].owner, conn.ends[1].owner);
        if conn.ends[0].closed || !self.is(by) {
            return;
        }
        if self.blocked.contains(&(callee.host, by.host)) {
            // The last message of the handshake is lost: the dialled end has a link, the dialler none.
            self.abandon(conn_no);
            return self.on_dial_failed(by, dial);
        }
        self.link_up(conn_no, 0, Some(dial));
    }

    fn abandon(&mut self, conn_no: ConnNo) {
        if let Some(conn) = self.conns.get_mut(conn_no) {
            conn.ends[0].closed = true;
        }
    }

    pub(super) fn link_up(&mut self, conn_no: ConnNo, side: Side, dialed: Option<DialId>) {
        let Some(conn) = self.conns.get(conn_no) else {
            return;
        };
        let (me, other) = (conn.ends[side].owner, conn.ends[1 - side].owner);
        let dial_number = conn.dial_number;
        let version = self.hosts[me.host]
            .version
            .min(self.hosts[other.host].version);
        // The incarnation that it had in the handshake. If its hub has ended since, the first message shows it.
        let nobody = Incarnation { epoch: 0, nonce: 0 };
        let incarnation = self.lives_told.get(&other).copied().unwrap_or(nobody);
        let (hub, incarnation) = self
            .face(other.host, conn_no)
            .unwrap_or((self.hosts[other.host].id, incarnation));
        let now = self.clocks(me.host);
        let Some(running) = self.hosts[me.host].running.as_mut() else {
            return;
        };
        let link = LinkId(running.next_link);
        running.next_link += 1;
        running.links.insert(link, (conn_no, side));
        if let Some(conn) = self.conns.get_mut(conn_no) {
            conn.ends[side].link = Some(link);
        }
        running.core.handle_link_up(
            now,
            LinkUp {
                link,
                hub,
                incarnation,
                dialed,
                dial_number,
                version,
            },
        );
        self.mark(4 << 56 | me.host as u64);
        self.log(|| {
            format!(
                "host {} has link {} with host {} living {incarnation:?}",
                me.host, link.0, other.host
            )
        });
        self.disturb();
        self.settle(me.host);
    }

    pub(super) fn on_dial_failed(&mut self, by: Boot, dial: DialId) {
        if !self.is(by) {
            return;
        }
        let now = self.clocks(by.host);
        if let Some(running) = self.hosts[by.host].running.as_mut() {
            running
                .core
                .handle_dial_failed(now, dial, DialFailure::Unreachable);
        }
        self.settle(by.host);
    }

    /// The core closes a link: its reason is sent after the frames in the queue, then the end of the stream.
    pub(super) fn close(&mut self, no: HostNo, link: LinkId, bye: Bye) {
        self.mark(5 << 56 | no as u64);
        self.disturb();
        *self.totals.closed.entry(bye.label()).or_default() += 1;
        self.log(|| format!("host {no} closes link {}: {bye:?}", link.0));
        let Some(running) = self.hosts[no].running.as_mut() else {
            return;
        };
        let Some((conn_no, side)) = running.links.remove(&link) else {
            return;
        };
        let Some(conn) = self.conns.get_mut(conn_no) else {
            return;
        };
        conn.ends[side].closed = true;
        conn.ends[side].lingers = true;
        if bye == Bye::Full {
            self.full_at.insert(conn.hosts(), self.now);
        }
        for message in std::mem::take(&mut conn.pipes[side].data_queue) {
            self.send(conn_no, side, InFlight::Message(message));
        }
        let mut message = BytesMut::new();
        wire::Encoder::new().encode(&ControlFrame::Bye(bye), &mut message);
        self.send(conn_no, side, InFlight::Message(message.freeze()));
        self.send(conn_no, side, InFlight::Fin);
    }

    /// An end learns that its connection is over.
    pub(super) fn on_lost(&mut self, conn_no: ConnNo, side: Side) {
        let Some(conn) = self.conns.get_mut(conn_no) else {
            return;
        };
        let end = &mut conn.ends[side];
        let (owner, link) = (end.owner, end.open_link());
        end.closed = true;
        if conn.ends[1 - side].closed {
            self.conns.remove(conn_no);
        }
        let Some(link) = link.filter(|_| self.is(owner)) else {
            return;
        };
        self.disturb();
        self.log(|| format!("host {} loses link {}", owner.host, link.0));
        let now = self.clocks(owner.host);
        if let Some(running) = self.hosts[owner.host].running.as_mut() {
            running.links.remove(&link);
            running.core.handle_link_down(now, link);
        }
        self.settle(owner.host);
    }
}
