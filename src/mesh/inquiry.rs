//! Asks the nearest hubs for their STUN and TURN servers, answers such questions, and has answers checked.
//!
//! One task for each hub, started by `handle`. `relays` decides which hubs to ask and which answers to accept. Messages
//! use the data path; if one is lost, the hub asks again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hubmesh_core::ids::HubId;
use hubmesh_core::reach::Reach;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::relays::{self, Answer, AnswerOutcome, Message, NotAllowed};
use super::shared::MeshContext;
use crate::config::IceUrl;

/// The time between two checks for hubs to ask.
const TICK: Duration = Duration::from_secs(1);
/// The most messages that wait. Further messages are dropped, and the hub asks for them again.
pub(super) const WAITING: usize = 256;
/// The most answers that are checked at once.
const CHECKS: usize = 16;

/// Asks and answers for as long as the hub runs.
pub(super) async fn follow(
    shared: Arc<MeshContext>,
    mut inquiries: mpsc::Receiver<(HubId, Bytes)>,
) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut checks: JoinSet<(HubId, Result<Vec<IceUrl>, NotAllowed>)> = JoinSet::new();
    loop {
        tokio::select! {
            () = shared.inputs.closed() => return,
            _ = ticks.tick() => {
                let published = shared.published();
                for (hub, question) in shared.relays.questions(published.hubs(), Instant::now()) {
                    shared.router.tell_hub(hub, question.encode());
                }
            }
            Some((from, payload)) = inquiries.recv() => {
                if let Some((urls, told_by)) = take(&shared, from, &payload)
                    && checks.len() < CHECKS
                {
                    checks.spawn(async move { (from, relays::check(&urls, told_by).await) });
                }
            }
            Some(Ok((hub, checked))) = checks.join_next() => match checked {
                Ok(urls) => {
                    shared.metrics.ice_answers.inc("taken");
                    shared.relays.keep(hub, urls, Instant::now());
                }
                Err(why) => {
                    shared.metrics.ice_answers.inc(why.label());
                    tracing::debug!(%hub, %why, "the STUN and TURN servers of a hub are not named");
                }
            },
        }
    }
}

/// Handles a message; returns the addresses that have to be checked, and the reach of the hub that tells of them.
fn take(shared: &MeshContext, from: HubId, payload: &[u8]) -> Option<(Vec<String>, Reach)> {
    let (relays, me, now) = (&shared.relays, shared.identity().hub, Instant::now());
    match Message::decode(payload)? {
        Message::Ask { number } => {
            if let Some(answer) = relays.answer(number, me, from, now) {
                shared.router.tell_hub(from, answer.encode());
            }
            None
        }
        Message::Tell {
            number,
            urls,
            proof,
        } => {
            let (by, to, urls) = (from, me, urls.as_slice());
            let answer = Answer {
                number,
                by,
                to,
                urls,
            };
            let count = |label| shared.metrics.ice_answers.inc(label);
            match relays.hear(&answer, &proof, now) {
                AnswerOutcome::Same => count("taken"),
                AnswerOutcome::Unasked => count("unasked"),
                AnswerOutcome::Unproved => count("other-secret"),
                AnswerOutcome::Check(urls) => {
                    return Some((urls, shared.published().told_by(from)));
                }
            }
            None
        }
    }
}
