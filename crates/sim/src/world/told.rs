//! The messages that clients get from their hubs.

use std::time::Duration;

use bytes::Bytes;

use super::rogue::MADE_UP;
use super::{HostNo, World};
use crate::ids::Boot;
use crate::queue::Event;
use crate::sessions::Status;
use hubmesh_core::api::{Delivery, Failed, PeerEvent, Recipients, Sender, Unread};
use hubmesh_core::ids::{ClaimNo, NetworkKey, PeerId};

/// How long a living client takes to answer a probe.
const PROBE_ANSWER: Duration = Duration::from_millis(30);

impl World {
    pub(super) fn on_accepted(
        &mut self,
        no: HostNo,
        claim: ClaimNo,
        roster: Vec<(PeerId, Option<Bytes>)>,
    ) {
        let Some(session_no) = self.session_of(no, claim) else {
            return;
        };
        let session = &mut self.sessions[session_no];
        session.status = Status::Live;
        let (count, network, shown) = (roster.len(), session.network.clone(), !session.quiet);
        session.roster = roster.into_iter().collect();
        let twice = session.roster.len() != count;
        let itself = session.roster.contains_key(&session.peer);
        if let Some(running) = self.hosts[no].running.as_mut().filter(|_| shown) {
            running.told.entry(network).or_default().insert(claim);
        }
        if twice {
            self.fault("18: a roster names a peer twice".to_owned());
        }
        if itself {
            self.fault("15: a roster names its reader".to_owned());
        }
    }

    pub(super) fn on_refused(&mut self, no: HostNo, claim: ClaimNo) {
        self.close_session(no, claim, Status::Refused);
    }

    pub(super) fn on_superseded(&mut self, no: HostNo, claim: ClaimNo) {
        self.close_session(no, claim, Status::Superseded);
    }

    pub(super) fn on_probe(&mut self, no: HostNo, claim: ClaimNo, token: u64, within: Duration) {
        let Some(host) = self.boot_of(no) else { return };
        let alive = self
            .session_of(no, claim)
            .is_some_and(|session| self.sessions[session].alive);
        let after = if alive { PROBE_ANSWER } else { within };
        let at = self.now + after.as_micros() as u64;
        self.queue.push(
            at,
            Event::Probed {
                host,
                claim,
                token,
                alive,
            },
        );
    }

    pub(super) fn on_probed(&mut self, host: Boot, claim: ClaimNo, token: u64, alive: bool) {
        if !self.is(host) {
            return;
        }
        let alive = alive && self.session_of(host.host, claim).is_some();
        let now = self.clocks(host.host);
        if let Some(running) = self.hosts[host.host].running.as_mut() {
            running.core.handle_probe_result(now, token, alive);
        }
        self.settle(host.host);
    }

    pub(super) fn on_notify(
        &mut self,
        no: HostNo,
        network: &NetworkKey,
        to: &Recipients,
        event: &PeerEvent,
    ) {
        self.totals.notified += 1;
        let Some(running) = self.hosts[no].running.as_ref() else {
            return;
        };
        let claims: Vec<ClaimNo> = match to {
            Recipients::Network => running
                .told
                .get(network)
                .into_iter()
                .flatten()
                .copied()
                .collect(),
            Recipients::Only(claims) => claims.clone(),
        };
        for claim in claims {
            let Some(session_no) = self.session_of(no, claim) else {
                continue;
            };
            let session = &mut self.sessions[session_no];
            if matches!(to, Recipients::Network) && session.peer == *event.peer() {
                continue;
            }
            let result = if session.network == *network {
                session.tell(event)
            } else {
                Err(format!(
                    "15: an event of {network:?} reaches {:?}",
                    session.network
                ))
            };
            self.note(result);
        }
    }

    /// False if the session is gone.
    pub(super) fn on_delivery(&mut self, no: HostNo, delivery: &Delivery) -> bool {
        let Some(session_no) = self.session_of(no, delivery.to) else {
            return false;
        };
        let Some(number) = delivery.payload.first_chunk::<8>() else {
            self.fault("13: a payload changed on its way".to_owned());
            return true;
        };
        let number = u64::from_be_bytes(*number);
        if number >= MADE_UP && !self.rogues.is_empty() {
            self.on_made_up(no, delivery);
            return true;
        }
        let signal = number as usize;
        let session = &self.sessions[session_no];
        let source = self
            .ledger
            .signals
            .get(signal)
            .map(|signal| &self.sessions[signal.source]);
        let right = session.peer == delivery.target
            && session.network == delivery.network
            && source.is_some_and(|source| {
                source.peer == delivery.from && source.network == delivery.network
            });
        if !right {
            self.fault(format!("15: signal {signal} was delivered as {delivery:?}"));
        }
        if let (Some(unread), Sender::There(sender)) =
            (&mut self.sessions[session_no].unread, delivery.sender)
        {
            let (to, kind) = (delivery.to, delivery.kind);
            unread.push(Unread { sender, to, kind });
            return true;
        }
        let result = self.ledger.delivered(
            signal,
            session_no,
            (self.hosts[no].id, delivery.to),
            self.now,
        );
        self.note(result);
        true
    }

    /// A forged signal of a rogue was delivered. It may send as its own peers.
    fn on_made_up(&mut self, no: HostNo, delivery: &Delivery) {
        let honest = !World::is_made_up(&delivery.from);
        if honest && !self.rogues.values().any(|rogue| rogue.manners.impostor) {
            self.fault(format!(
                "15: host {no} delivered what a rogue says as {:?}",
                delivery.from
            ));
        }
    }

    pub(super) fn on_failed(&mut self, no: HostNo, failed: &Failed) {
        let Some(session_no) = self.session_of(no, failed.source) else {
            return;
        };
        let result = self
            .ledger
            .failed(session_no, &failed.target, failed.kind, failed.why);
        self.note(result);
    }
}
