//! Control frames: one encoder and one decoder per link.

use bytes::{BufMut, Bytes, BytesMut};

use super::dictionary::{DecodeDictionary, EncodeDictionary, put_scope, read_scope};
use super::primitives::{MAX_VARINT, Reader, put_bytes, put_varint};
use super::{DATA_BIT, DIGEST_ENTRY_SIZE, WireError, bye, close_frame, delta, kind, next_frame};
use crate::frames::{ControlFrame, DigestEntry, LinkRecord, Set, Summary};
use crate::ids::HubId;

/// A flag of a record.
const DRAINING: u8 = 0x01;
/// A flag of a summary.
const WANTS_ALL: u8 = 0x01;
/// A flag of a summary.
const IS_ANSWER: u8 = 0x02;

/// Writes the control frames of one direction of one link, in order.
#[derive(Default)]
pub struct Encoder {
    dictionary: EncodeDictionary,
}

impl Encoder {
    /// It starts with an empty dictionary, as a link does.
    pub fn new() -> Self {
        Encoder::default()
    }

    /// Appends `frame` to the message in `out`.
    pub fn encode(&mut self, frame: &ControlFrame, out: &mut BytesMut) {
        let start = out.len();
        let kind = self.put_body(frame, out);
        close_frame(out, start, kind, 0);
    }

    fn put_body(&mut self, frame: &ControlFrame, out: &mut BytesMut) -> u8 {
        match frame {
            ControlFrame::Ping { token } => {
                put_varint(out, *token);
                kind::PING
            }
            ControlFrame::Pong { token } => {
                put_varint(out, *token);
                kind::PONG
            }
            ControlFrame::Bye(reason) => {
                bye::put(out, reason);
                kind::BYE
            }
            ControlFrame::Digest(lines) => {
                for line in lines {
                    self.put_line(out, line);
                }
                kind::DIGEST
            }
            ControlFrame::Records(records) => {
                for record in records {
                    self.put_record(out, record);
                }
                kind::RECORDS
            }
            ControlFrame::Summary(summary) => {
                put_summary(out, summary);
                kind::SUMMARY
            }
            ControlFrame::Announce(lines) => {
                for line in lines {
                    self.put_line(out, line);
                }
                kind::ANNOUNCE
            }
            ControlFrame::Want(hubs) => {
                for hub in hubs {
                    self.dictionary.put_hub(out, *hub);
                }
                kind::WANT
            }
            ControlFrame::Subscribe {
                origin,
                incarnation,
                seq,
            } => {
                let line = DigestEntry {
                    hub: *origin,
                    incarnation: *incarnation,
                    number: *seq,
                };
                self.put_line(out, &line);
                kind::SUBSCRIBE
            }
            ControlFrame::Unsubscribe { origin } => {
                self.dictionary.put_hub(out, *origin);
                kind::UNSUBSCRIBE
            }
            ControlFrame::Delta(delta) => {
                delta::put(out, &mut self.dictionary, delta);
                kind::DELTA
            }
            ControlFrame::Follow {
                set,
                incarnation,
                seq,
            } => {
                let line = DigestEntry {
                    hub: set.hub,
                    incarnation: *incarnation,
                    number: *seq,
                };
                self.put_line(out, &line);
                put_scope(out, &set.scope);
                kind::FOLLOW
            }
            ControlFrame::Unfollow { set } => {
                self.dictionary.put_hub(out, set.hub);
                put_scope(out, &set.scope);
                kind::UNFOLLOW
            }
            ControlFrame::Changes(scope, delta) => {
                delta::put_of(out, &mut self.dictionary, scope, delta);
                kind::CHANGES
            }
            ControlFrame::Audit {
                origin,
                incarnation,
                seq,
                hash,
            } => {
                let line = DigestEntry {
                    hub: *origin,
                    incarnation: *incarnation,
                    number: *seq,
                };
                self.put_line(out, &line);
                out.put_u64(*hash);
                kind::AUDIT
            }
            ControlFrame::Unknown { kind } => *kind,
        }
    }

    /// A hub, its incarnation and a number: a line of a digest, and the beginning of subscriptions and audits.
    fn put_line(&mut self, out: &mut BytesMut, line: &DigestEntry) {
        let slot = self.dictionary.put_hub(out, line.hub);
        self.dictionary.put_incarnation(out, slot, line.incarnation);
        put_varint(out, line.number);
    }

    fn put_record(&mut self, out: &mut BytesMut, record: &LinkRecord) {
        self.put_line(out, &record.digest());
        out.put_u8(if record.draining { DRAINING } else { 0 });
        put_varint(out, record.urls.len() as u64);
        for url in &record.urls {
            put_bytes(out, url.as_bytes());
        }
        put_bytes(out, record.region.as_bytes());
        put_varint(out, record.neighbours.len() as u64);
        for (hub, cost) in &record.neighbours {
            self.dictionary.put_hub(out, *hub);
            put_varint(out, u64::from(*cost));
        }
    }
}

fn put_summary(out: &mut BytesMut, summary: &Summary) {
    let wants_all = if summary.wants_all { WANTS_ALL } else { 0 };
    let is_answer = if summary.is_answer { IS_ANSWER } else { 0 };
    out.put_u8(wants_all | is_answer);
    for sum in &summary.sums {
        out.put_u32(*sum);
    }
}

fn read_summary(body: &mut Reader<'_>) -> Result<Summary, WireError> {
    let flags = body.u8()?;
    let mut sums = Vec::new();
    while !body.is_empty() {
        sums.push(body.u32_be()?);
    }
    Ok(Summary {
        wants_all: flags & WANTS_ALL != 0,
        is_answer: flags & IS_ANSWER != 0,
        sums,
    })
}

/// The most bytes that this record can have in a message.
pub fn record_size(record: &LinkRecord) -> usize {
    let urls: usize = record.urls.iter().map(|url| MAX_VARINT + url.len()).sum();
    let texts = urls + MAX_VARINT + record.region.len();
    DIGEST_ENTRY_SIZE + 1 + 2 * MAX_VARINT + texts + record.neighbours.len() * (1 + 20 + 3)
}

/// Reads the control messages of one direction of one link, in order.
#[derive(Default)]
pub struct Decoder {
    dictionary: DecodeDictionary,
}

impl Decoder {
    /// It starts with an empty dictionary, as a link does.
    pub fn new() -> Self {
        Decoder::default()
    }

    /// The frames of a control message, in order.
    pub fn decode(&mut self, message: &Bytes) -> Result<Vec<ControlFrame>, WireError> {
        let mut reader = Reader::new(message);
        let mut frames = Vec::new();
        while !reader.is_empty() {
            let (kind, body) = next_frame(&mut reader)?;
            frames.push(self.read_frame(kind, &mut Reader::new(body))?);
        }
        if frames.is_empty() {
            return Err(WireError::Empty);
        }
        Ok(frames)
    }

    fn read_frame(&mut self, kind: u8, body: &mut Reader<'_>) -> Result<ControlFrame, WireError> {
        Ok(match kind {
            kind::PING => ControlFrame::Ping {
                token: body.varint()?,
            },
            kind::PONG => ControlFrame::Pong {
                token: body.varint()?,
            },
            kind::BYE => bye::read(body.remainder())
                .map_or(ControlFrame::Unknown { kind }, ControlFrame::Bye),
            kind::DIGEST => ControlFrame::Digest(self.read_list(body, Self::read_line)?),
            kind::RECORDS => ControlFrame::Records(self.read_list(body, Self::read_record)?),
            kind::SUMMARY => ControlFrame::Summary(read_summary(body)?),
            kind::ANNOUNCE => ControlFrame::Announce(self.read_list(body, Self::read_line)?),
            kind::WANT => ControlFrame::Want(self.read_list(body, Self::read_hub)?),
            kind::SUBSCRIBE => {
                let line = self.read_line(body)?;
                ControlFrame::Subscribe {
                    origin: line.hub,
                    incarnation: line.incarnation,
                    seq: line.number,
                }
            }
            kind::UNSUBSCRIBE => ControlFrame::Unsubscribe {
                origin: self.dictionary.read_hub(body)?.0,
            },
            kind::DELTA => ControlFrame::Delta(delta::read(body, &mut self.dictionary)?),
            kind::FOLLOW => {
                let line = self.read_line(body)?;
                let set = Set {
                    hub: line.hub,
                    scope: read_scope(body)?,
                };
                ControlFrame::Follow {
                    set,
                    incarnation: line.incarnation,
                    seq: line.number,
                }
            }
            kind::UNFOLLOW => {
                let hub = self.read_hub(body)?;
                let scope = read_scope(body)?;
                let set = Set { hub, scope };
                ControlFrame::Unfollow { set }
            }
            kind::CHANGES => {
                let (scope, delta) = delta::read_of(body, &mut self.dictionary)?;
                ControlFrame::Changes(scope, delta)
            }
            kind::AUDIT => {
                let line = self.read_line(body)?;
                ControlFrame::Audit {
                    origin: line.hub,
                    incarnation: line.incarnation,
                    seq: line.number,
                    hash: body.u64_be()?,
                }
            }
            data if data & DATA_BIT != 0 => return Err(WireError::WrongClass),
            kind => ControlFrame::Unknown { kind },
        })
    }

    fn read_list<T>(
        &mut self,
        body: &mut Reader<'_>,
        read: fn(&mut Self, &mut Reader<'_>) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        let mut list = Vec::new();
        while !body.is_empty() {
            list.push(read(self, body)?);
        }
        Ok(list)
    }

    fn read_hub(&mut self, body: &mut Reader<'_>) -> Result<HubId, WireError> {
        Ok(self.dictionary.read_hub(body)?.0)
    }

    fn read_line(&mut self, body: &mut Reader<'_>) -> Result<DigestEntry, WireError> {
        let (hub, slot) = self.dictionary.read_hub(body)?;
        Ok(DigestEntry {
            hub,
            incarnation: self.dictionary.read_incarnation(body, slot)?,
            number: body.varint()?,
        })
    }

    fn read_record(&mut self, body: &mut Reader<'_>) -> Result<LinkRecord, WireError> {
        let line = self.read_line(body)?;
        let flags = body.u8()?;
        let urls = (0..body.bounded(LinkRecord::MAX_URLS)?)
            .map(|_| body.text(LinkRecord::MAX_URL_BYTES).map(str::to_owned))
            .collect::<Result<_, _>>()?;
        let region = body.text(LinkRecord::MAX_REGION_BYTES)?.to_owned();
        let mut neighbours = Vec::new();
        for _ in 0..body.bounded(LinkRecord::MAX_NEIGHBOURS)? {
            let (hub, _) = self.dictionary.read_hub(body)?;
            let cost = u16::try_from(body.varint()?).map_err(|_| WireError::OutOfRange)?;
            neighbours.push((hub, cost));
        }
        if !neighbours.is_sorted_by(|(a, _), (b, _)| a < b) {
            return Err(WireError::Disorder);
        }
        Ok(LinkRecord {
            hub: line.hub,
            incarnation: line.incarnation,
            number: line.number,
            draining: flags & DRAINING != 0,
            urls,
            region,
            neighbours,
        })
    }
}
