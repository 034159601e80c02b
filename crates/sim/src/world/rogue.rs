//! A rogue hub: one that has the mesh token and breaks the rules.
//!
//! It runs a real core, so that it knows what a hub of the mesh knows, and links to others as one. The frames of that
//! core go through [`World::rogue_says`], which may hold them back or change them. It also sends frames that
//! [`forging`] makes up, on these links and on *raw* ones, which it opens under any name and whose rules it breaks.
//! Every message is well formed: malformed ones are tested by the script of random bytes and by the fuzzers.

mod forging;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};

use super::{HostNo, World};
use crate::ids::{ConnNo, Side};
use crate::net::{Conn, InFlight};
use crate::queue::Event;
use hubmesh_core::frames::{ControlFrame, DataFrame};
use hubmesh_core::ids::{HubId, Incarnation, LinkId, PeerId, mix};
use hubmesh_core::wire::{self, Decoder, Encoder};

/// Numbers of raw links, of which the rogue's core knows nothing, begin here.
const RAW: u64 = 1 << 40;
/// How many data frames of others it keeps to send again.
const REMEMBERED: usize = 32;
/// Made-up payloads of a rogue begin with a number from here on, so that no honest signal has it.
pub(super) const MADE_UP: u64 = u64::MAX << 16;

/// The kinds of lies of a rogue. Without any of these it speaks only for itself and for hubs that it made up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Manners {
    /// It writes others' names into claims and signals.
    pub in_names: bool,
    /// It announces incarnations that honest hubs do not have, and links in their names.
    pub impostor: bool,
    /// It changes frames that it forwards, and claims the ids of honest peers.
    pub thief: bool,
}

/// A frame of a rogue, of either class.
#[derive(Clone, PartialEq, Debug)]
pub enum AnyFrame {
    /// Of the control plane.
    Control(ControlFrame),
    /// Of the data path.
    Data(DataFrame),
}

impl From<ControlFrame> for AnyFrame {
    fn from(frame: ControlFrame) -> Self {
        AnyFrame::Control(frame)
    }
}

impl From<DataFrame> for AnyFrame {
    fn from(frame: DataFrame) -> Self {
        AnyFrame::Data(frame)
    }
}

/// The state of a rogue's machine.
#[derive(Default)]
pub(super) struct Rogue {
    pub(super) manners: Manners,
    /// Per connection, the decoder and the encoder for the frames of its own core.
    tongues: BTreeMap<ConnNo, (Decoder, Encoder)>,
    /// The decoders of its raw links.
    ears: BTreeMap<ConnNo, Decoder>,
    /// Whether it answers pings on a raw link.
    answers: BTreeSet<ConnNo>,
    /// The hub that it claims to be on a raw link.
    faces: BTreeMap<ConnNo, (HubId, Incarnation)>,
    /// Data frames that it forwarded.
    passed: VecDeque<DataFrame>,
    forger: forging::Forger,
}

impl World {
    /// The machine runs a rogue from now on.
    pub fn make_rogue(&mut self, no: HostNo, manners: Manners) {
        let rogue = Rogue {
            manners,
            ..Rogue::default()
        };
        self.rogues.insert(no, rogue);
    }

    /// Whether the machine runs a rogue.
    pub fn is_rogue(&self, no: HostNo) -> bool {
        self.rogues.contains_key(&no)
    }

    /// Whether an honest machine uses this id.
    pub(crate) fn is_honest_id(&self, hub: &HubId) -> bool {
        if self.rogues.is_empty() {
            return true;
        }
        let hosts = self.hosts.iter().enumerate();
        hosts
            .filter(|(_, host)| host.id == *hub)
            .any(|(no, _)| !self.is_rogue(no))
    }

    /// Whether this is the id of one of a rogue's peers.
    pub(crate) fn is_made_up(peer: &PeerId) -> bool {
        matches!(peer, PeerId::Text(text) if text.starts_with("rogue-"))
    }

    /// The identity of this end that the other end of a raw link is given.
    pub(super) fn face(&self, host: HostNo, conn: ConnNo) -> Option<(HubId, Incarnation)> {
        self.rogues.get(&host)?.faces.get(&conn).copied()
    }

    /// A rogue opens a link of which its core knows nothing, under any name.
    pub fn open_raw_link(&mut self, no: HostNo, to: HostNo) {
        let heard = self.heard(no, to);
        let Some(rogue) = self.rogues.get_mut(&no) else {
            return;
        };
        let face = rogue.forger.face(&mut self.rng, rogue.manners, &heard);
        let answers = self.rng.below(2) == 0;
        self.open_raw_link_as(no, to, face, answers);
    }

    /// Opens a raw link under this name; pings may be left unanswered.
    pub fn open_raw_link_as(
        &mut self,
        no: HostNo,
        to: HostNo,
        face: (HubId, Incarnation),
        answers: bool,
    ) {
        let (Some(by), Some(callee)) = (self.boot_of(no), self.boot_of(to)) else {
            return;
        };
        if !self.reaches(no, to) {
            return;
        }
        let latency = self.latency(no, to);
        let dial_number = self.rng.clone().below(1_000);
        let conn = Conn::new([by, callee], latency, self.config.bandwidth, dial_number);
        let conn = self.conns.add(conn);
        let Some(rogue) = self.rogues.get_mut(&no) else {
            return;
        };
        rogue.faces.insert(conn, face);
        if answers {
            rogue.answers.insert(conn);
        }
        let link = LinkId(RAW + conn);
        if let Some(end) = self.conns.get_mut(conn) {
            end.ends[0].link = Some(link);
        }
        if let Some(running) = self.hosts[no].running.as_mut() {
            running.links.insert(link, (conn, 0));
        }
        self.log(|| format!("rogue {no} opens a raw link to host {to} as {face:?}"));
        self.link_up(conn, 1, None);
    }

    /// A message for a rogue. True if its core must not get it.
    pub(super) fn rogue_hears(&mut self, no: HostNo, link: LinkId, message: &Bytes) -> bool {
        let Some(rogue) = self.rogues.get_mut(&no) else {
            return false;
        };
        if wire::is_data(message) {
            for frame in wire::decode_data(message).unwrap_or_default() {
                rogue.passed.push_back(frame);
                if rogue.passed.len() > REMEMBERED {
                    rogue.passed.pop_front();
                }
            }
            // It may lose frames that it should forward.
            return link.0 >= RAW || self.rng.below(8) == 0;
        }
        let Some(conn) = link.0.checked_sub(RAW) else {
            return false;
        };
        let frames = rogue.ears.entry(conn).or_default().decode(message);
        let answers = rogue.answers.contains(&conn);
        let pongs: Vec<AnyFrame> = frames
            .unwrap_or_default()
            .into_iter()
            .filter_map(|frame| match frame {
                ControlFrame::Ping { token } if answers => {
                    Some(ControlFrame::Pong { token }.into())
                }
                _ => None,
            })
            .collect();
        self.rogue_tells(no, conn, 0, &pongs);
        true
    }

    /// A message from a core to a link: a rogue's may be held back, or changed.
    pub(super) fn rogue_says(&mut self, no: HostNo, conn: ConnNo, message: Bytes) -> Option<Bytes> {
        let Some(rogue) = self.rogues.get_mut(&no) else {
            return Some(message);
        };
        let rng = &mut self.rng;
        if wire::is_data(&message) {
            let frames = wire::decode_data(&message).unwrap_or_default();
            let mut out = BytesMut::new();
            for frame in frames {
                for frame in rogue.forger.pass(rng, rogue.manners, frame) {
                    wire::encode_data(&frame, &mut out);
                }
            }
            return (!out.is_empty()).then(|| out.freeze());
        }
        let (decoder, encoder) = rogue.tongues.entry(conn).or_default();
        let frames = decoder.decode(&message).unwrap_or_default();
        let mut out = BytesMut::new();
        for frame in frames {
            if let Some(frame) = rogue.forger.tell(rng, rogue.manners, frame) {
                encoder.encode(&frame, &mut out);
            }
        }
        (!out.is_empty()).then(|| out.freeze())
    }

    /// A rogue sends a made-up frame on one of its links.
    pub fn rogue_speaks(&mut self, no: HostNo) {
        let Some(running) = self.hosts[no].running.as_ref() else {
            return;
        };
        let links: Vec<(ConnNo, Side)> = running.links.values().copied().collect();
        let Some((conn, side)) = links.get(self.rng.below(links.len() as u64) as usize) else {
            return;
        };
        let Some(other) = self.conns.get(*conn).map(|c| c.ends[1 - side].owner.host) else {
            return;
        };
        let heard = self.heard(no, other);
        let Some(rogue) = self.rogues.get_mut(&no) else {
            return;
        };
        let frames = rogue
            .forger
            .speak(&mut self.rng, rogue.manners, &heard, &rogue.passed);
        self.log(|| format!("rogue {no} says to host {other}: {}", brief(&frames)));
        self.rogue_tells(no, *conn, *side, &frames);
    }

    /// A rogue sends exactly this to another machine's hub, on the first link between them.
    pub fn rogue_sends<F: Into<AnyFrame>>(
        &mut self,
        no: HostNo,
        to: HostNo,
        frames: impl IntoIterator<Item = F>,
    ) {
        let conn = self.conns_between(no, to).into_iter().find(|conn| {
            let conn = self.conns.get(*conn);
            conn.is_some_and(Conn::is_open)
        });
        let Some(conn) = conn else { return };
        let dialler = self.conns.get(conn).map(|conn| conn.ends[0].owner.host);
        let frames: Vec<AnyFrame> = frames.into_iter().map(Into::into).collect();
        self.rogue_tells(no, conn, usize::from(dialler != Some(no)), &frames);
    }

    fn rogue_tells(&mut self, no: HostNo, conn: ConnNo, side: Side, frames: &[AnyFrame]) {
        let Some(rogue) = self.rogues.get_mut(&no) else {
            return;
        };
        let (_, encoder) = rogue.tongues.entry(conn).or_default();
        let (mut control, mut data) = (BytesMut::new(), BytesMut::new());
        for frame in frames {
            match frame {
                AnyFrame::Data(frame) => wire::encode_data(frame, &mut data),
                AnyFrame::Control(frame) => encoder.encode(frame, &mut control),
            }
        }
        for message in [control, data] {
            if !message.is_empty() {
                self.send(conn, side, InFlight::Message(message.freeze()));
            }
        }
    }

    /// The knowledge of a rogue when it sends to a hub.
    fn heard(&self, no: HostNo, to: HostNo) -> forging::Heard {
        let honest: BTreeSet<HubId> = (0..self.hosts.len())
            .filter(|no| !self.is_rogue(*no))
            .map(|no| self.hosts[no].id)
            .collect();
        let mut heard = forging::Heard {
            wall_ms: self.clocks(no).wall_ms,
            me: self.hosts[no].id,
            incarnation: Incarnation { epoch: 0, nonce: 0 },
            to: self.hosts[to].id,
            records: Vec::new(),
            claims: Vec::new(),
        };
        let Some(core) = self.core(no) else {
            return heard;
        };
        let directory = core.directory().read();
        heard.incarnation = core.incarnation();
        for record in core.topology().records() {
            if !honest.contains(&record.hub) {
                continue;
            }
            heard.records.push(record.clone());
            for claim in directory.claims_of(&record.hub) {
                heard.claims.push((record.hub, claim));
            }
        }
        // Directories are read in no meaningful order.
        heard.claims.sort_by_key(|(hub, claim)| (*hub, claim.claim));
        heard
    }

    /// A rogue's connection ends as if its socket were reset.
    pub fn drop_raw_link(&mut self, no: HostNo) {
        let Some(running) = self.hosts[no].running.as_ref() else {
            return;
        };
        let raw = running.links.range(LinkId(RAW)..);
        let raw: Vec<ConnNo> = raw.map(|(_, (conn, _))| *conn).collect();
        let Some(conn) = raw.get(self.rng.below(raw.len() as u64) as usize) else {
            return;
        };
        for side in 0..2 {
            let conn = *conn;
            self.queue.push(self.now, Event::Lost { conn, side });
        }
    }
}

fn brief(frames: &[AnyFrame]) -> String {
    let text = format!("{frames:?}");
    text.chars().take(400).collect()
}

/// An id that no hub has.
fn made_up_id(number: u64) -> HubId {
    let mut id = [0; 20];
    for (chunk, salt) in id.chunks_mut(8).zip(1..) {
        let bytes = mix(number ^ mix(salt)).to_be_bytes();
        chunk.copy_from_slice(&bytes[..chunk.len()]);
    }
    HubId(id)
}
