//! The forged frames of a rogue, of every kind: some built from frames that it received, some random.
//!
//! Must not know the world: it is given the rogue's knowledge ([`Heard`]) and its kinds of lies ([`Manners`]). All its
//! frames can be encoded.

mod data;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::{AnyFrame, Manners, made_up_id};
use hubmesh_core::api::Bye;
use hubmesh_core::directory::ClaimView;
use hubmesh_core::frames::{
    Change, Claim, ControlFrame, DataFrame, Delta, DigestEntry, Entry, FrameHead, LinkRecord,
    SignalBody, SignalFrame, Summary, UnknownChange,
};
use hubmesh_core::ids::{ClaimNo, Hlc, HubId, Incarnation, LeaveReason, NetworkKey, PeerId};
use hubmesh_core::rng::Rng;

/// Most of the time, the made-up hubs of a rogue are drawn from this many.
const CAST: u64 = 24;

/// The knowledge of the rogue.
pub(super) struct Heard {
    pub(super) wall_ms: u64,
    /// The rogue's own id and incarnation.
    pub(super) me: HubId,
    pub(super) incarnation: Incarnation,
    /// The hub to which it sends.
    pub(super) to: HubId,
    /// The incarnations of honest hubs.
    pub(super) records: Vec<LinkRecord>,
    pub(super) claims: Vec<(HubId, ClaimView)>,
}

/// Its earlier frames, so that later ones may continue them.
#[derive(Default)]
pub(super) struct Forger {
    /// The incarnation and the number of the last record of each made-up hub, and of itself.
    incarnations: BTreeMap<HubId, (Incarnation, u64)>,
    /// The last change of each of these.
    changes: BTreeMap<HubId, u64>,
    /// Claims that it made, for the signals in their name.
    claims: Vec<(HubId, ClaimNo, u64, NetworkKey, PeerId)>,
    /// The last number of each pair of hubs.
    signals: BTreeMap<(HubId, HubId), u64>,
    count: u64,
}

impl Forger {
    /// The hub that it claims to be on a raw link.
    pub(super) fn face(
        &mut self,
        rng: &mut Rng,
        manners: Manners,
        heard: &Heard,
    ) -> (HubId, Incarnation) {
        match rng.below(10) {
            0..=3 => (heard.me, self.incarnation(rng, heard, heard.me, manners)),
            4 if manners.impostor => self.honest(rng, heard, manners),
            _ => {
                let hub = self.made_up(rng);
                (hub, self.incarnation(rng, heard, hub, manners))
            }
        }
    }

    /// Frames without a cause: often one, sometimes many.
    pub(super) fn speak(
        &mut self,
        rng: &mut Rng,
        manners: Manners,
        heard: &Heard,
        passed: &VecDeque<DataFrame>,
    ) -> Vec<AnyFrame> {
        let many = match rng.below(60) {
            0 => 200,
            1..=10 => 10,
            _ => 1 + rng.below(3),
        };
        (0..many)
            .map(|_| self.frame(rng, manners, heard, passed))
            .collect()
    }

    /// A signal or an acknowledgement that it should forward: it may be lost, doubled, sent with another time to live,
    /// or changed.
    pub(super) fn pass(
        &mut self,
        rng: &mut Rng,
        manners: Manners,
        frame: DataFrame,
    ) -> Vec<DataFrame> {
        match rng.below(12) {
            0 => Vec::new(),
            1 => vec![frame.clone(), frame],
            2 => match frame {
                DataFrame::Signal(signal) => {
                    let ttl = signal.head.ttl.saturating_sub(rng.below(4) as u8);
                    vec![DataFrame::Signal(SignalFrame {
                        head: FrameHead { ttl, ..signal.head },
                        ..signal
                    })]
                }
                frame => vec![frame],
            },
            3 if manners.thief => match frame {
                DataFrame::Signal(signal) => {
                    let body = SignalBody::Hub {
                        payload: Bytes::from_static(b"stolen"),
                    };
                    vec![DataFrame::Signal(SignalFrame { body, ..signal })]
                }
                frame => vec![frame],
            },
            _ => vec![frame],
        }
    }

    /// A frame of its own core. It is mostly left as it is: a hub that answers nothing soon has no links.
    pub(super) fn tell(
        &mut self,
        rng: &mut Rng,
        manners: Manners,
        frame: ControlFrame,
    ) -> Option<ControlFrame> {
        match frame {
            ControlFrame::Delta(_) if rng.below(6) == 0 => None,
            ControlFrame::Delta(mut delta) if manners.thief && rng.below(4) == 0 => {
                delta.entries.truncate(rng.below(3) as usize);
                Some(ControlFrame::Delta(delta))
            }
            ControlFrame::Pong { .. } if rng.below(12) == 0 => None,
            ControlFrame::Subscribe { .. } | ControlFrame::Digest(_) if rng.below(12) == 0 => None,
            ControlFrame::Announce(_) | ControlFrame::Want(_) if rng.below(12) == 0 => None,
            frame => Some(frame),
        }
    }

    fn frame(
        &mut self,
        rng: &mut Rng,
        manners: Manners,
        heard: &Heard,
        passed: &VecDeque<DataFrame>,
    ) -> AnyFrame {
        self.count += 1;
        let frame = match rng.below(100) {
            0..=29 => ControlFrame::Delta(self.delta(rng, manners, heard)),
            30..=49 => self.records(rng, manners, heard),
            50..=53 => self.digest(rng, manners, heard),
            54..=57 => {
                let origin = self.anybody(rng, heard);
                ControlFrame::Subscribe {
                    origin,
                    incarnation: self.incarnation(rng, heard, origin, manners),
                    seq: number(rng, 5),
                }
            }
            58 => ControlFrame::Unsubscribe {
                origin: self.anybody(rng, heard),
            },
            59..=60 => {
                let origin = self.anybody(rng, heard);
                ControlFrame::Audit {
                    origin,
                    incarnation: self.incarnation(rng, heard, origin, manners),
                    seq: number(rng, 5),
                    hash: rng.next_u64(),
                }
            }
            61..=80 => return DataFrame::Signal(self.signal(rng, manners, heard)).into(),
            81..=87 => return DataFrame::Ack(self.ack(rng, manners, heard)).into(),
            88..=90 => ControlFrame::Ping {
                token: number(rng, 3),
            },
            91..=93 => ControlFrame::Pong {
                token: number(rng, 3),
            },
            94 => self.bye(rng, manners, heard),
            _ => {
                let last = passed.len() as u64;
                match passed.get(rng.below(last) as usize) {
                    Some(again) => return again.clone().into(),
                    None => ControlFrame::Pong { token: 0 },
                }
            }
        };
        frame.into()
    }

    /// A hub that does not exist; sometimes one that was never named before.
    fn made_up(&mut self, rng: &mut Rng) -> HubId {
        match rng.below(12) {
            0 => made_up_id(rng.next_u64()),
            _ => made_up_id(rng.below(CAST)),
        }
    }

    fn honest(&mut self, rng: &mut Rng, heard: &Heard, manners: Manners) -> (HubId, Incarnation) {
        let hub = pick(rng, &heard.records).map_or(heard.to, |record| record.hub);
        (hub, self.incarnation(rng, heard, hub, manners))
    }

    fn anybody(&mut self, rng: &mut Rng, heard: &Heard) -> HubId {
        match rng.below(10) {
            0..=2 => heard.me,
            3..=5 => self.made_up(rng),
            6 => heard.to,
            _ => pick(rng, &heard.records).map_or(heard.me, |record| record.hub),
        }
    }

    /// An incarnation that this hub has, had or could have. For an honest hub none that is later than its present one,
    /// unless the rogue is an impostor.
    fn incarnation(
        &mut self,
        rng: &mut Rng,
        heard: &Heard,
        hub: HubId,
        manners: Manners,
    ) -> Incarnation {
        let known = heard.records.iter().find(|record| record.hub == hub);
        let Some(known) = known.map(|record| record.incarnation) else {
            let first = match hub == heard.me {
                true => heard.incarnation,
                false => Incarnation {
                    epoch: 0,
                    nonce: rng.next_u64(),
                },
            };
            let (incarnation, _) = *self.incarnations.entry(hub).or_insert((first, 0));
            let incarnation = match rng.below(20) {
                0 => later(rng, incarnation),
                1 => Incarnation {
                    epoch: u32::MAX - rng.below(2) as u32,
                    nonce: incarnation.nonce,
                },
                _ => incarnation,
            };
            return incarnation;
        };
        match rng.below(4) {
            0 if manners.impostor => later(rng, known),
            1 => Incarnation {
                epoch: known.epoch,
                nonce: rng.below(known.nonce.max(1)),
            },
            _ => known,
        }
    }

    fn delta(&mut self, rng: &mut Rng, manners: Manners, heard: &Heard) -> Delta {
        let origin = match rng.below(10) {
            0..=4 => heard.me,
            5..=7 if manners.in_names => self.anybody(rng, heard),
            _ => self.made_up(rng),
        };
        let incarnation = self.incarnation(rng, heard, origin, manners);
        let reset = rng.below(4) == 0;
        let before = self.changes.get(&origin).copied().unwrap_or(0);
        let from = match rng.below(8) {
            0 => number(rng, 20),
            1 => before.saturating_add(rng.below(3)),
            _ if reset => 0,
            _ => before,
        };
        let entries = self.entries(rng, manners, heard, origin, from.max(before));
        let end = entries.last().map_or(from, |entry| entry.seq);
        let to = if rng.below(12) == 0 {
            number(rng, 50)
        } else {
            end
        };
        self.changes.insert(origin, end);
        Delta {
            origin,
            incarnation,
            from,
            reset,
            last: rng.below(6) > 0,
            to,
            entries,
        }
    }

    fn entries(
        &mut self,
        rng: &mut Rng,
        manners: Manners,
        heard: &Heard,
        origin: HubId,
        above: u64,
    ) -> Vec<Entry> {
        let many = match rng.below(200) {
            0 => 9_000,
            1..=20 => 80,
            _ => 1 + rng.below(6),
        };
        // One id again and again, in some.
        let same = (rng.below(6) == 0).then(|| self.peer(rng));
        let mut seq = above;
        let mut entries = Vec::new();
        for _ in 0..many {
            seq = match rng.below(40) {
                0 => seq.saturating_add(rng.next_u64() >> rng.below(64)),
                1 => seq,
                _ => seq.saturating_add(1),
            };
            let change = self.change(rng, manners, heard, origin, seq, same.as_ref());
            entries.push(Entry { seq, change });
        }
        entries
    }

    fn change(
        &mut self,
        rng: &mut Rng,
        manners: Manners,
        heard: &Heard,
        origin: HubId,
        seq: u64,
        same: Option<&PeerId>,
    ) -> Change {
        let known = pick(rng, &heard.claims).cloned();
        let network = match (&known, rng.below(8)) {
            (_, 0) => fresh_network(rng),
            (Some((_, claim)), _) => claim.network.clone(),
            _ => fresh_network(rng),
        };
        let peer = match (known, same) {
            (Some((_, claim)), _) if manners.thief && rng.below(4) == 0 => claim.peer,
            (_, Some(same)) => same.clone(),
            _ => self.peer(rng),
        };
        let claim = ClaimNo(if same.is_some() { seq } else { number(rng, 40) } & (u64::MAX >> 1));
        match rng.below(20) {
            0 => Change::Unknown(UnknownChange {
                tag: (2 + claim.0 % 6) as u8 | (claim.0 as u8 & 0xf) << 4,
                network,
                item: claim.0 % 4,
                body: Bytes::from_static(b"made up"),
            }),
            1..=3 => Change::Gone {
                network,
                peer,
                claim,
                reason: LeaveReason::from_code(rng.below(8) as u8),
            },
            _ => {
                if self.claims.len() < 200 {
                    let made = (origin, claim, seq, network.clone(), peer.clone());
                    self.claims.push(made);
                }
                let ahead = match rng.below(12) {
                    0 => 1 << 40,
                    1 => 3_600_000,
                    _ => rng.below(1_000),
                };
                Change::Claim(Claim {
                    network,
                    peer,
                    claim,
                    hlc: Hlc::from_wall((heard.wall_ms + ahead) & (u64::MAX >> 16)),
                    quiet: rng.below(8) == 0,
                    data: data(rng),
                })
            }
        }
    }

    fn peer(&mut self, rng: &mut Rng) -> PeerId {
        let number = match rng.below(3) {
            0 => rng.below(100_000),
            _ => rng.below(12),
        };
        PeerId::Text(format!("rogue-{number}").into())
    }

    fn records(&mut self, rng: &mut Rng, manners: Manners, heard: &Heard) -> ControlFrame {
        let many = match rng.below(40) {
            0 => 120,
            1..=4 => 20,
            _ => 1 + rng.below(3),
        };
        let anew = rng.below(3) == 0;
        let mut records = Vec::new();
        for _ in 0..many {
            let hub = match rng.below(10) {
                0..=2 => heard.me,
                3..=7 if anew => made_up_id(rng.next_u64()),
                3..=7 => self.made_up(rng),
                _ => self.honest(rng, heard, manners).0,
            };
            records.push(self.record(rng, manners, heard, hub));
        }
        ControlFrame::Records(records)
    }

    fn record(&mut self, rng: &mut Rng, manners: Manners, heard: &Heard, hub: HubId) -> LinkRecord {
        let incarnation = self.incarnation(rng, heard, hub, manners);
        let known = heard.records.iter().find(|record| record.hub == hub);
        let number = match known {
            // A record of an honest hub that is older than its last, or equally old and different.
            Some(known) if !manners.impostor => known.number.saturating_sub(rng.below(3)),
            Some(known) => known.number.saturating_add(rng.below(4)),
            None => {
                let (claimed, number) = self.incarnations.entry(hub).or_insert((incarnation, 0));
                *claimed = (*claimed).max(incarnation);
                *number = number.saturating_add(rng.below(3));
                *number
            }
        };
        LinkRecord {
            hub,
            incarnation,
            number,
            draining: rng.below(10) == 0,
            urls: urls(rng, heard),
            region: "nowhere".into(),
            neighbours: self.neighbours(rng, heard, hub),
        }
    }

    /// Its own neighbours, made-up hubs that list each other, and honest hubs that list none of them.
    fn neighbours(&mut self, rng: &mut Rng, heard: &Heard, of: HubId) -> Vec<(HubId, u16)> {
        let mut listed = BTreeMap::new();
        let cost = |rng: &mut Rng| match rng.below(3) {
            0 => 0,
            1 => 1 + rng.below(20) as u16,
            _ => u16::MAX,
        };
        if of == heard.me {
            for record in &heard.records {
                if rng.below(8) > 0 {
                    listed.insert(record.hub, cost(rng));
                }
            }
            for made in 0..rng.below(CAST) {
                listed.insert(made_up_id(made), cost(rng));
            }
        } else {
            listed.insert(heard.me, cost(rng));
            for _ in 0..rng.below(4) {
                listed.insert(self.anybody(rng, heard), cost(rng));
            }
        }
        listed.remove(&of);
        listed.into_iter().collect()
    }

    /// The records that it has, asks for, or has the sums of.
    fn digest(&mut self, rng: &mut Rng, manners: Manners, heard: &Heard) -> ControlFrame {
        let mut lines: Vec<DigestEntry> = Vec::new();
        for _ in 0..rng.below(12) {
            let hub = self.anybody(rng, heard);
            lines.push(DigestEntry {
                hub,
                incarnation: self.incarnation(rng, heard, hub, manners),
                number: number(rng, 20),
            });
        }
        if rng.below(3) > 0 {
            lines.sort_by_key(|line| line.hub);
            lines.dedup_by_key(|line| line.hub);
        }
        match rng.below(4) {
            0 => ControlFrame::Digest(lines),
            1 => ControlFrame::Want(lines.into_iter().map(|line| line.hub).collect()),
            2 => ControlFrame::Summary(Summary {
                wants_all: rng.below(2) == 0,
                is_answer: rng.below(2) == 0,
                sums: vec![rng.below(3) as u32; Summary::SHARES],
            }),
            _ => ControlFrame::Announce(lines),
        }
    }

    fn bye(&mut self, rng: &mut Rng, manners: Manners, heard: &Heard) -> ControlFrame {
        ControlFrame::Bye(match rng.below(9) {
            0 => Bye::Draining {
                retry_after: Duration::from_millis(rng.next_u64() >> rng.below(64)),
            },
            1 => Bye::Duplicate,
            2 => Bye::SelfDial,
            3 if manners.impostor => Bye::StaleIncarnation {
                known: self.incarnation(rng, heard, heard.to, manners),
            },
            4 => Bye::IdentityClash,
            5 => Bye::Full,
            6 => Bye::BadFrame,
            7 => Bye::Silent,
            _ => Bye::Overflow,
        })
    }
}

/// An incarnation above this one, by a little or by far.
fn later(rng: &mut Rng, incarnation: Incarnation) -> Incarnation {
    let up = match rng.below(5) {
        0 => 1 << 16,
        1 => (1 << 16) + 1,
        2 => u32::MAX,
        _ => 1 + rng.below(3) as u32,
    };
    Incarnation {
        epoch: incarnation.epoch.saturating_add(up),
        nonce: match rng.below(2) {
            0 => incarnation.nonce,
            _ => rng.next_u64(),
        },
    }
}

/// Small, most of the time; sometimes any.
fn number(rng: &mut Rng, small: u64) -> u64 {
    match rng.below(10) {
        0 => rng.next_u64() >> rng.below(64),
        _ => rng.below(small),
    }
}

fn pick<'a, T>(rng: &mut Rng, list: &'a [T]) -> Option<&'a T> {
    list.get(rng.below(list.len() as u64) as usize)
}

fn data(rng: &mut Rng) -> Option<Bytes> {
    let size = match rng.below(10) {
        0..=5 => return None,
        6 => 9_000,
        7 => 1_000,
        _ => 20,
    };
    Some(Bytes::from(vec![b'x'; size]))
}

fn fresh_network(rng: &mut Rng) -> NetworkKey {
    let name = format!("progue{}", rng.below(50));
    NetworkKey::from_wire(&name).unwrap_or_else(|_| unreachable!("a short name is valid"))
}

fn urls(rng: &mut Rng, heard: &Heard) -> Vec<String> {
    match rng.below(4) {
        0 => pick(rng, &heard.records).map_or_else(Vec::new, |record| record.urls.clone()),
        1 => vec![format!("ws://nowhere-{}.example/mesh", rng.below(30))],
        _ => Vec::new(),
    }
}
