//! Counts the traffic of links, and decodes it for checks that need that.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{HostNo, World};
use crate::net::websocket_header;
use hubmesh_core::SentFrames;
use hubmesh_core::frames::{ControlFrame, DataFrame, SignalFrame};
use hubmesh_core::ids::{HubId, Incarnation, LinkId};
use hubmesh_core::wire::{self, Decoder};

/// Messages and bytes, WebSocket headers included, since the world began or since the last call.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Control messages.
    pub control_messages: u64,
    /// Their bytes.
    pub control_bytes: u64,
    /// Signals and acknowledgements.
    pub data_messages: u64,
    /// Their bytes.
    pub data_bytes: u64,
    /// The deltas and link records among it, without headers.
    pub sent: SentFrames,
    /// Notices to clients.
    pub notified: u64,
    /// Control bytes sent, per machine.
    pub by_host: BTreeMap<HostNo, u64>,
    /// Links that cores closed, by reason.
    pub closed: BTreeMap<&'static str, u64>,
    /// The counters of the exchanges.
    pub counted: BTreeMap<&'static str, u64>,
}

/// The observations of a check.
#[derive(Default)]
pub struct Sniffed {
    decoders: BTreeMap<(HostNo, u32, LinkId), Decoder>,
    /// How often each change crossed a link.
    pub changes: BTreeMap<(HubId, Incarnation, u64), u32>,
    /// Bytes of control messages by the kind of their first frame.
    pub bytes: BTreeMap<&'static str, u64>,
    /// How often each machine sent or forwarded a signal, by its source, destination and number.
    pub paths: BTreeMap<(HubId, HubId, u64), Path>,
}

/// The hubs that forwarded a signal. Its source may send it again while an earlier copy is still on its way.
pub struct Path {
    source: HostNo,
    sent: BTreeMap<HostNo, u32>,
}

impl Path {
    /// A machine that forwarded the signal more often than its source sent it: it passed there twice.
    pub fn passed_twice(&self) -> Option<HostNo> {
        let begun = self.sent.get(&self.source)?;
        let more = self.sent.iter().find(|(_, sent)| *sent > begun);
        more.map(|(no, _)| *no)
    }
}

/// A signal that is being handled.
#[derive(Clone, Copy)]
pub(super) struct Arriving {
    key: (HubId, HubId, u64),
    link: LinkId,
    /// Its time to live on arrival.
    ttl: u8,
}

fn key(signal: &SignalFrame) -> (HubId, HubId, u64) {
    (signal.head.source, signal.head.dest, signal.seq)
}

/// The signal in a frame, even if the hub that forwards it has not decoded it.
fn signal_in(frame: DataFrame) -> Option<SignalFrame> {
    let frame = match frame {
        DataFrame::Raw(frame) => wire::read_data(frame).ok()?,
        frame => frame,
    };
    match frame {
        DataFrame::Signal(signal) => Some(signal),
        _ => None,
    }
}

impl World {
    pub(super) fn count_message(&mut self, no: HostNo, message: &Bytes) {
        let size = (message.len() + websocket_header(message.len())) as u64;
        let totals = &mut self.totals;
        if wire::is_data(message) {
            totals.data_messages += 1;
            totals.data_bytes += size;
        } else {
            totals.control_messages += 1;
            totals.control_bytes += size;
            *totals.by_host.entry(no).or_default() += size;
        }
    }

    /// The traffic of the links since the last call.
    pub fn take_totals(&mut self) -> Totals {
        std::mem::take(&mut self.totals)
    }

    /// The traffic of the links in this time from now.
    pub fn take_totals_over(&mut self, span: std::time::Duration) -> Totals {
        self.totals = Totals::default();
        self.run_for(span);
        self.take_totals()
    }

    /// Starts to decode the traffic of the links. To be called before the first link is made, because messages have to
    /// be decoded in order from the start of a link.
    pub fn start_sniffing(&mut self) {
        self.sniffed = Some(Sniffed::default());
    }

    /// The observations since the last call.
    pub fn take_sniffed(&mut self) -> Sniffed {
        let Some(sniffed) = self.sniffed.as_mut() else {
            return Sniffed::default();
        };
        let decoders = std::mem::take(&mut sniffed.decoders);
        std::mem::replace(
            sniffed,
            Sniffed {
                decoders,
                ..Sniffed::default()
            },
        )
    }

    pub(super) fn sniff_control(&mut self, no: HostNo, link: LinkId, message: &Bytes) {
        let Some(boot) = self.boot_of(no) else { return };
        let Some(sniffed) = self.sniffed.as_mut() else {
            return;
        };
        let decoder = sniffed.decoders.entry((no, boot.boot, link)).or_default();
        let Ok(frames) = decoder.decode(message) else {
            return;
        };
        let size = (message.len() + websocket_header(message.len())) as u64;
        *sniffed
            .bytes
            .entry(frames.first().map_or("none", label))
            .or_default() += size;
        for frame in frames {
            let ControlFrame::Delta(delta) = frame else {
                continue;
            };
            for entry in &delta.entries {
                *sniffed
                    .changes
                    .entry((delta.origin, delta.incarnation, entry.seq))
                    .or_default() += 1;
            }
        }
    }

    /// Data frames are about to be handled. A rogue may put one signal into a message several times, and all are
    /// handled before the first is forwarded.
    pub(super) fn sniff_arrivals(&mut self, link: LinkId, message: &Bytes) {
        let frames = wire::split_data(message).unwrap_or_default();
        self.arriving = frames
            .into_iter()
            .filter_map(|frame| signal_in(DataFrame::Raw(frame)))
            .map(|signal| Arriving {
                key: key(&signal),
                link,
                ttl: signal.head.ttl,
            })
            .collect();
    }

    /// A data frame is sent. A forwarded one has less time to live than before, and does not go back.
    pub(super) fn sniff_signal(&mut self, no: HostNo, link: LinkId, frame: &DataFrame) {
        let Some(signal) = signal_in(frame.clone()) else {
            return;
        };
        let signal = &signal;
        let me = self.hosts[no].id;
        if let Some(sniffed) = self.sniffed.as_mut() {
            // Frames that were sent before the check began are not checked.
            if signal.head.source == me {
                let (source, sent) = (no, BTreeMap::new());
                let path = sniffed.paths.entry(key(signal));
                path.or_insert(Path { source, sent });
            }
            if let Some(path) = sniffed.paths.get_mut(&key(signal)) {
                *path.sent.entry(no).or_default() += 1;
            }
        }
        if self.is_rogue(no) {
            return;
        }
        if signal.head.source == me {
            return;
        }
        let same = |came: &Arriving| came.key == key(signal);
        let came = self.arriving.iter().filter(|came| same(came));
        let Some(came) = came.max_by_key(|came| came.ttl).copied() else {
            return;
        };
        self.arriving.retain(|came| !same(came));
        if signal.head.ttl >= came.ttl {
            self.fault(format!(
                "13: host {no} sent a signal on with a time to live of {}",
                signal.head.ttl
            ));
        }
        if link == came.link {
            self.fault(format!(
                "13: host {no} sent signal {:?} back over the link that it came by",
                came.key
            ));
        }
    }
}

fn label(frame: &ControlFrame) -> &'static str {
    match frame {
        ControlFrame::Ping { .. } | ControlFrame::Pong { .. } => "ping",
        ControlFrame::Bye(_) => "bye",
        ControlFrame::Digest(_) => "digest",
        ControlFrame::Records(_) => "records",
        ControlFrame::Summary(_) | ControlFrame::Announce(_) | ControlFrame::Want(_) => "words",
        ControlFrame::Subscribe { .. } | ControlFrame::Unsubscribe { .. } => "subscribe",
        ControlFrame::Follow { .. } | ControlFrame::Unfollow { .. } => "follow",
        ControlFrame::Delta(_) | ControlFrame::Changes(..) => "delta",
        ControlFrame::Audit { .. } => "audit",
        ControlFrame::Unknown { .. } => "other",
    }
}
