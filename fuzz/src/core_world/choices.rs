//! Turns bytes into choices: small numbers, ids from a small set, and frames that are well formed but may say anything.

use std::time::Duration;

use bytes::Bytes;
use hubmesh::limits::AddressGroup;
use hubmesh_core::api::Bye;
use hubmesh_core::frames::{
    AckFrame, Change, Claim, ControlFrame, DataFrame, Delta, DigestEntry, Entry, FrameHead,
    LinkRecord, PeerSignal, RefusedSignal, RefusedWhy, SignalBody, SignalFrame, Summary,
    UnknownChange,
};
use hubmesh_core::ids::{
    ClaimNo, Hlc, HubId, Incarnation, LeaveReason, NetworkKey, PeerId, SignalKind,
};

/// The rest of the input. After its end, each choice is the first one.
pub struct Choices<'a>(pub &'a [u8]);

impl Choices<'_> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *byte
    }

    pub fn below(&mut self, end: u8) -> u8 {
        self.byte() % end
    }

    pub fn one_in(&mut self, many: u8) -> bool {
        self.below(many) == 0
    }

    pub fn of<T: Copy, const N: usize>(&mut self, all: [T; N]) -> T {
        all[usize::from(self.byte()) % N]
    }

    /// One of the first four items, or of all if there are fewer.
    pub fn one_of<'i, T: Copy + 'i>(&mut self, mut all: impl Iterator<Item = &'i T>) -> Option<T> {
        all.nth(usize::from(self.below(4))).copied()
    }

    fn any_number(&mut self) -> u64 {
        match self.below(8) {
            0 => 0,
            1 => 1,
            2 => u64::MAX,
            3 => u64::MAX - 1,
            4 => 1 << 32,
            5 => (1 << 63) + u64::from(self.byte()),
            6 => u64::from(self.byte()) << 24 | u64::from(self.byte()),
            _ => self.byte().into(),
        }
    }

    /// Mostly a small number.
    pub fn number(&mut self) -> u64 {
        match self.one_in(8) {
            true => self.any_number(),
            false => self.below(24).into(),
        }
    }

    /// Six hubs, the one under test among them.
    pub fn hub(&mut self) -> HubId {
        HubId([self.below(6) * 40; 20])
    }

    pub fn incarnation(&mut self) -> Incarnation {
        Incarnation {
            epoch: self.of([0, 0, 0, 1, 2, u32::MAX]),
            nonce: self.below(3).into(),
        }
    }

    /// A network of any dialect; one of the dialects is unknown to this hub.
    pub fn network(&mut self) -> NetworkKey {
        let name = self.of(["pglobal", "pa", "jpeerjs", "rk/room", "xz", "p\u{e4}"]);
        NetworkKey::from_wire(name).expect("a network")
    }

    pub fn peer(&mut self) -> PeerId {
        match self.below(5) {
            4 => PeerId::new("text").expect("a peer"),
            n => PeerId::Hex([n; 20]),
        }
    }

    /// One of the addresses of three clients.
    pub fn address(&mut self) -> AddressGroup {
        AddressGroup::of([192, 0, 2, self.below(3)].into())
    }

    pub fn data(&mut self) -> Option<Bytes> {
        self.of([None, None, Some(&b"{\"a\":1}"[..]), Some(b"\xff")])
            .map(Bytes::from_static)
    }

    fn clock(&mut self) -> Hlc {
        match self.below(5) {
            0 => Hlc(u64::MAX),
            1 => Hlc(0),
            n => Hlc::from_wall(1_700_000_000_000 + u64::from(n)),
        }
    }

    fn many<T>(&mut self, below: u8, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(below)).map(|_| one(self)).collect()
    }

    fn entry(&mut self) -> Entry {
        let seq = self.number();
        let change = match self.below(5) {
            0 => Change::Gone {
                network: self.network(),
                peer: self.peer(),
                claim: ClaimNo(self.number()),
                reason: LeaveReason::from_code(self.below(7)),
            },
            1 => Change::Unknown(UnknownChange {
                tag: (2 + self.below(6)) | (self.below(16) << 4),
                network: self.network(),
                item: self.number(),
                body: Bytes::from_static(b"new"),
            }),
            _ => Change::Claim(Claim {
                network: self.network(),
                peer: self.peer(),
                claim: ClaimNo(self.number()),
                hlc: self.clock(),
                quiet: self.one_in(4),
                data: self.data(),
            }),
        };
        Entry { seq, change }
    }

    fn bye(&mut self) -> Bye {
        match self.below(9) {
            0 => Bye::Draining {
                retry_after: Duration::from_millis(self.any_number() >> 1),
            },
            1 => Bye::Duplicate,
            2 => Bye::SelfDial,
            3 => Bye::StaleIncarnation {
                known: self.incarnation(),
            },
            4 => Bye::IdentityClash,
            5 => Bye::Full,
            6 => Bye::BadFrame,
            7 => Bye::Silent,
            _ => Bye::Overflow,
        }
    }

    fn digest(&mut self) -> Vec<DigestEntry> {
        let mut lines = self.many(4, |choices| DigestEntry {
            hub: choices.hub(),
            incarnation: choices.incarnation(),
            number: choices.number(),
        });
        if !self.one_in(4) {
            lines.sort_by_key(|line| line.hub);
            lines.dedup_by_key(|line| line.hub);
        }
        lines
    }

    fn record(&mut self) -> LinkRecord {
        let mut neighbours = self.many(5, |choices| {
            (choices.hub(), u16::from(choices.byte()) * 257)
        });
        neighbours.sort_unstable();
        neighbours.dedup_by_key(|neighbour| neighbour.0);
        LinkRecord {
            hub: self.hub(),
            incarnation: self.incarnation(),
            number: self.number(),
            draining: self.one_in(4),
            urls: self.many(3, |choices| format!("ws://h{}/mesh", choices.below(4))),
            region: String::new(),
            neighbours,
        }
    }

    fn delta(&mut self) -> Delta {
        let mut entries = self.many(6, Self::entry);
        if !self.one_in(4) {
            entries.sort_by_key(|entry| entry.seq);
        }
        Delta {
            origin: self.hub(),
            incarnation: self.incarnation(),
            from: self.number(),
            reset: self.one_in(2),
            last: self.one_in(2),
            to: self.number(),
            entries,
        }
    }

    pub fn control_frame(&mut self) -> ControlFrame {
        match self.below(13) {
            0 => ControlFrame::Ping {
                token: self.any_number(),
            },
            1 => ControlFrame::Pong {
                token: self.number(),
            },
            2 => ControlFrame::Bye(self.bye()),
            3 => ControlFrame::Digest(self.digest()),
            4 | 5 => ControlFrame::Records(self.many(4, Self::record)),
            6 => ControlFrame::Subscribe {
                origin: self.hub(),
                incarnation: self.incarnation(),
                seq: self.number(),
            },
            7 => ControlFrame::Unsubscribe { origin: self.hub() },
            8 => ControlFrame::Audit {
                origin: self.hub(),
                incarnation: self.incarnation(),
                seq: self.number(),
                hash: self.any_number(),
            },
            9 => ControlFrame::Announce(self.digest()),
            10 => ControlFrame::Want(self.many(6, Self::hub)),
            11 => ControlFrame::Summary(self.summary()),
            _ => ControlFrame::Delta(self.delta()),
        }
    }

    fn summary(&mut self) -> Summary {
        let compares = self.one_in(2);
        let sums = vec![u32::from(self.below(4)); Summary::SHARES];
        Summary {
            wants_all: self.one_in(2),
            is_answer: self.one_in(2),
            sums: if compares { sums } else { Vec::new() },
        }
    }

    pub fn data_frame(&mut self) -> DataFrame {
        match self.one_in(3) {
            true => DataFrame::Ack(AckFrame {
                head: FrameHead {
                    ttl: self.below(5),
                    source: self.hub(),
                    source_incarnation: self.incarnation(),
                    dest: self.hub(),
                    dest_incarnation: self.incarnation(),
                },
                upto: self.number(),
                refused: self.many(4, |choices| RefusedSignal {
                    seq: choices.number(),
                    why: choices.of([
                        RefusedWhy::NotHere,
                        RefusedWhy::Overload,
                        RefusedWhy::Forged,
                        RefusedWhy::NotUnderstood,
                    ]),
                }),
            }),
            false => DataFrame::Signal(SignalFrame {
                head: FrameHead {
                    ttl: self.below(5),
                    source: self.hub(),
                    source_incarnation: self.incarnation(),
                    dest: self.hub(),
                    dest_incarnation: self.incarnation(),
                },
                seq: self.number(),
                base: self.number(),
                body: self.body(),
            }),
        }
    }

    fn body(&mut self) -> SignalBody {
        if self.one_in(4) {
            let length = usize::from(self.below(60)).min(self.0.len());
            let (payload, rest) = self.0.split_at(length);
            self.0 = rest;
            return SignalBody::Hub {
                payload: Bytes::copy_from_slice(payload),
            };
        }
        if self.one_in(8) {
            return SignalBody::Other {
                variant: self.below(5),
                payload: Bytes::from_static(b"new"),
            };
        }
        SignalBody::Peer(PeerSignal {
            network: self.network(),
            from: self.peer(),
            from_claim: ClaimNo(self.number()),
            from_seq: self.number(),
            target: self.peer(),
            target_claim: ClaimNo(self.number()),
            kind: SignalKind(self.below(6)),
            payload: Bytes::from_static(b"{}"),
        })
    }
}
