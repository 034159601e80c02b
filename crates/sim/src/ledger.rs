//! Every signal that clients sent, and its result.

use std::collections::BTreeMap;

use super::sessions::SessionNo;
use hubmesh_core::api::SignalFailure;
use hubmesh_core::ids::{ClaimNo, HubId, PeerId, SignalKind};

/// The number of a signal, in the order of sending; it is in the payload.
pub(super) type SignalNo = usize;

/// The result of a signal.
#[derive(Debug)]
pub(super) struct Signal {
    pub(super) source: SessionNo,
    pub(super) sent_at: u64,
    /// The claim to which it was sent at once; `None` if it had to wait for its target.
    pub(super) aimed: Option<(HubId, ClaimNo)>,
    pub(super) delivered: Option<(SessionNo, u64)>,
    pub(super) failed: Option<SignalFailure>,
    /// Its source was closed before it could be told.
    pub(super) orphaned: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) signals: Vec<Signal>,
    /// The last signal delivered, per source and target session.
    last: BTreeMap<(SessionNo, SessionNo), SignalNo>,
    /// Senders are told of a failure without a number: source, target and kind identify the signal.
    by_kind: BTreeMap<(SessionNo, PeerId, u8), SignalNo>,
}

impl Ledger {
    /// Notes a signal, and returns the kind with which to send it.
    pub(super) fn sent(
        &mut self,
        source: SessionNo,
        target: &PeerId,
        now: u64,
    ) -> (SignalNo, SignalKind) {
        let no = self.signals.len();
        let kind = (no % 256) as u8;
        self.by_kind.insert((source, target.clone(), kind), no);
        self.signals.push(Signal {
            source,
            sent_at: now,
            aimed: None,
            delivered: None,
            failed: None,
            orphaned: false,
        });
        (no, SignalKind(kind))
    }

    /// The signal is on its way to this claim.
    pub(super) fn aim(&mut self, no: SignalNo, at: (HubId, ClaimNo)) {
        if let Some(signal) = self.signals.get_mut(no) {
            signal.aimed = Some(at);
        }
    }

    /// The signal was not accepted.
    pub(super) fn refuse(&mut self, no: SignalNo, why: SignalFailure) {
        if let Some(signal) = self.signals.get_mut(no) {
            signal.failed = Some(why);
        }
    }

    pub(super) fn delivered(
        &mut self,
        no: SignalNo,
        to: SessionNo,
        at: (HubId, ClaimNo),
        now: u64,
    ) -> Result<(), String> {
        let Some(signal) = self.signals.get_mut(no) else {
            return Err(format!("13: signal {no} was never sent"));
        };
        if let Some((first, _)) = signal.delivered {
            return Err(format!(
                "13: signal {no} delivered twice, to {first} and {to}"
            ));
        }
        signal.delivered = Some((to, now));
        if let Some(why) = signal.failed
            && why != SignalFailure::Unknown
        {
            return Err(format!(
                "14: signal {no} delivered after its sender was told {why:?}"
            ));
        }
        // A signal that was sent once more, because its target had moved, may arrive after later ones.
        if signal.aimed != Some(at) {
            return Ok(());
        }
        match self.last.insert((signal.source, to), no) {
            Some(last) if last > no => Err(format!("13: signal {no} delivered after {last}")),
            _ => Ok(()),
        }
    }

    /// The sender was told of a failure.
    pub(super) fn failed(
        &mut self,
        source: SessionNo,
        target: &PeerId,
        kind: SignalKind,
        why: SignalFailure,
    ) -> Result<(), String> {
        let Some(no) = self.by_kind.get(&(source, target.clone(), kind.0)).copied() else {
            return Err(format!(
                "14: session {source} hears of a signal that it never sent"
            ));
        };
        let Some(signal) = self.signals.get_mut(no) else {
            return Err(format!(
                "14: a failure of signal {no}, which was never sent"
            ));
        };
        if signal.failed.replace(why).is_some() {
            return Err(format!("14: signal {no} failed twice"));
        }
        if signal.delivered.is_some() && why != SignalFailure::Unknown {
            return Err(format!(
                "14: signal {no} failed as {why:?} after its delivery"
            ));
        }
        Ok(())
    }

    /// Signals without a result that were sent before `before`.
    pub(super) fn open(&self, before: u64) -> impl Iterator<Item = (SignalNo, &Signal)> {
        self.signals.iter().enumerate().filter(move |(_, signal)| {
            signal.delivered.is_none()
                && signal.failed.is_none()
                && !signal.orphaned
                && signal.sent_at < before
        })
    }
}
