//! Forged signals and acknowledgements.

use bytes::Bytes;

use super::{Forger, Heard, number, pick};
use crate::world::Manners;
use crate::world::rogue::MADE_UP;
use hubmesh_core::directory::ClaimView;
use hubmesh_core::frames::{
    AckFrame, FrameHead, PeerSignal, RefusedSignal, RefusedWhy, SignalBody, SignalFrame,
};
use hubmesh_core::ids::{ClaimNo, HubId, PeerId, SignalKind};
use hubmesh_core::rng::Rng;

impl Forger {
    pub(super) fn signal(&mut self, rng: &mut Rng, manners: Manners, heard: &Heard) -> SignalFrame {
        let source = self.speaker(rng, manners, heard);
        let dest = self.addressee(rng, heard);
        let last = self.signals.entry((source, dest)).or_default();
        let seq = match rng.below(12) {
            0 => *last + rng.below(100),
            1 => *last + (1 << 47),
            2 => *last + (1 << 48) + rng.below(3),
            3 => u64::MAX - rng.below(3),
            _ => *last + 1,
        };
        // A hub gives up numbers that jump far at once, so that there can be several jumps.
        *last = if seq - *last < 1_000 { seq } else { *last };
        let base = match rng.below(8) {
            0 => seq,
            1 => number(rng, 10),
            _ => 1,
        };
        SignalFrame {
            head: FrameHead {
                ttl: rng.below(9) as u8,
                source,
                source_incarnation: self.incarnation(rng, heard, source, manners),
                dest,
                dest_incarnation: self.incarnation(rng, heard, dest, manners),
            },
            seq,
            base: base.min(seq),
            body: self.body(rng, heard, source, dest),
        }
    }

    fn speaker(&mut self, rng: &mut Rng, manners: Manners, heard: &Heard) -> HubId {
        match rng.below(10) {
            0..=3 => heard.me,
            4..=7 if manners.in_names => pick(rng, &heard.records).map_or(heard.me, |r| r.hub),
            _ => self.made_up(rng),
        }
    }

    fn addressee(&mut self, rng: &mut Rng, heard: &Heard) -> HubId {
        match rng.below(10) {
            0..=5 => heard.to,
            6 => self.anybody(rng, heard),
            _ => pick(rng, &heard.records).map_or(heard.to, |record| record.hub),
        }
    }

    fn body(&mut self, rng: &mut Rng, heard: &Heard, source: HubId, dest: HubId) -> SignalBody {
        let there: Vec<&(HubId, ClaimView)> = heard
            .claims
            .iter()
            .filter(|(hub, _)| *hub == dest)
            .collect();
        let target = there.get(rng.below(there.len() as u64) as usize);
        let Some((_, target)) = target.filter(|_| rng.below(4) > 0) else {
            return SignalBody::Hub {
                payload: self.hub_message(rng, heard),
            };
        };
        let of_source = heard.claims.iter().filter(|(hub, _)| *hub == source);
        let own = self.claims.iter().filter(|(hub, ..)| *hub == source);
        let from = own
            .map(|(_, claim, seq, _, peer)| (peer.clone(), *claim, *seq))
            .chain(of_source.map(|(_, claim)| (claim.peer.clone(), claim.claim, claim.seq)))
            .nth(rng.below(6) as usize);
        let (from, from_claim, from_seq) = from.unwrap_or((
            PeerId::Text("rogue-nobody".into()),
            ClaimNo(1),
            number(rng, 9),
        ));
        SignalBody::Peer(PeerSignal {
            network: target.network.clone(),
            from,
            from_claim,
            from_seq,
            target: target.peer.clone(),
            target_claim: target.claim,
            kind: SignalKind(rng.below(256) as u8),
            payload: self.payload(rng),
        })
    }

    fn payload(&mut self, rng: &mut Rng) -> Bytes {
        let mut payload = (MADE_UP | (self.count & 0xffff)).to_be_bytes().to_vec();
        if rng.below(6) == 0 {
            payload.resize(8 + (1 << rng.below(13)), b'x');
        }
        Bytes::from(payload)
    }

    /// A message about a contested id, as between hubs: a contest, a verdict, or nonsense.
    fn hub_message(&mut self, rng: &mut Rng, heard: &Heard) -> Bytes {
        let known = pick(rng, &heard.claims).filter(|_| rng.below(4) > 0);
        let message = match known {
            Some((_, claim)) => {
                let contest = (
                    0_u8,
                    number(rng, 9),
                    claim.network.as_str(),
                    claim.peer.to_string(),
                    claim.claim,
                    b"forged".to_vec(),
                );
                postcard::to_allocvec(&contest)
            }
            None => postcard::to_allocvec(&(1_u8, number(rng, 30), rng.below(5) as u8)),
        };
        Bytes::from(message.unwrap_or_default())
    }

    pub(super) fn ack(&mut self, rng: &mut Rng, manners: Manners, heard: &Heard) -> AckFrame {
        let source = self.speaker(rng, manners, heard);
        let dest = self.addressee(rng, heard);
        let upto = match rng.below(6) {
            0 => u64::MAX,
            1 => 1 << 48,
            2 => 1 << 49,
            _ => rng.below(30),
        };
        let mut refused = Vec::new();
        for back in 0..rng.below(4) {
            let why = match rng.below(3) {
                0 => RefusedWhy::NotHere,
                1 => RefusedWhy::Overload,
                _ => RefusedWhy::Forged,
            };
            let seq = upto.saturating_sub(back);
            refused.push(RefusedSignal { seq, why });
        }
        AckFrame {
            head: FrameHead {
                ttl: rng.below(9) as u8,
                source,
                source_incarnation: self.incarnation(rng, heard, source, manners),
                dest,
                dest_incarnation: self.incarnation(rng, heard, dest, manners),
            },
            upto,
            refused,
        }
    }
}
