//! Hubs of the next version: they send frames that the others do not know, and these have to arrive.
//!
//! A later hub runs the same core, which says that it has the next wire level. It sends messages in a variant of
//! signals that only later hubs understand, and has items beside its claims. Owns the result of each such message.

use bytes::Bytes;

use super::{HostNo, World};
use crate::ids::Boot;
use hubmesh_core::frames::UnknownChange;
use hubmesh_core::ids::{HubId, Moment, NetworkKey};

/// The variant of their signals.
const VARIANT: u8 = 2;
/// The kind of their changes.
const KIND: u8 = 2;
/// The first bytes of their messages: no message of this version begins with them.
const MARK: &[u8] = b"\xfflater";
/// The lowest number of their messages; contests count theirs from 0.
const TOKENS: u64 = 1 << 62;

/// A message, and its result.
#[derive(Debug)]
struct Message {
    by: Boot,
    to: HubId,
    /// Whether the destination knew its variant when it was sent.
    understood: bool,
    sent_at: u64,
    delivered: bool,
    failed: bool,
}

/// All messages in a variant that this version does not know.
#[derive(Debug, Default)]
pub(super) struct Messages(Vec<Message>);

impl World {
    /// Whether the hub of a machine is one of the version after this one.
    pub fn is_later(&self, no: HostNo) -> bool {
        self.hosts[no].later
    }

    /// A later hub sends a message to another, in a variant that only later hubs know. Unless it is `careless`, it
    /// first checks whether the other knows it. False if it sends none.
    pub fn send_later(&mut self, no: HostNo, to: HostNo, careless: bool) -> bool {
        let (Some(by), Some(core)) = (self.boot_of(no), self.core(no)) else {
            return false;
        };
        let hub = self.hosts[to].id;
        let exchange = core.exchange().clone();
        let mut exchange = exchange.lock();
        if !careless && !exchange.can_send_variant(&hub, VARIANT) {
            return false;
        }
        let number = self.later.0.len() as u64;
        self.later.0.push(Message {
            by,
            to: hub,
            understood: self.is_later(to),
            sent_at: self.now,
            delivered: false,
            failed: false,
        });
        let payload = [MARK, &number.to_be_bytes()].concat().into();
        let token = TOKENS + number;
        exchange.send_variant(Moment(self.now), hub, VARIANT, payload, token);
        drop(exchange);
        self.log(|| format!("host {no} sends host {to} message {number} of a later version"));
        self.settle(no);
        true
    }

    /// A later hub sends a change of one of its items; without a `body` the item is gone. It does not while a hub is in
    /// reach that would not forward it.
    pub fn say_item(
        &mut self,
        no: HostNo,
        network: &NetworkKey,
        item: u64,
        body: Option<Bytes>,
    ) -> bool {
        let now = self.clocks(no);
        let Some(running) = self.hosts[no].running.as_mut() else {
            return false;
        };
        if !running.core.can_author_unknown() {
            return false;
        }
        let gone = match body {
            Some(_) => 0,
            None => UnknownChange::GONE,
        };
        let change = UnknownChange {
            tag: KIND | gone,
            network: network.clone(),
            item,
            body: body.unwrap_or_default(),
        };
        running.core.author_unknown(now, change);
        self.log(|| format!("host {no} says something of item {item} in {network:?}"));
        self.settle(no);
        true
    }

    /// A message of another hub arrived. False if its variant is known to all.
    pub(super) fn take_later(&mut self, no: HostNo, payload: &[u8]) -> bool {
        let Some(number) = payload.strip_prefix(MARK) else {
            return false;
        };
        let number: Option<[u8; 8]> = number.try_into().ok();
        let number = number.map_or(u64::MAX, u64::from_be_bytes);
        let me = self.hosts[no].id;
        let later = self.is_later(no);
        let message = usize::try_from(number)
            .ok()
            .and_then(|number| self.later.0.get_mut(number));
        let fault = match message {
            None => Some("was never sent"),
            Some(_) if !later => Some("is of a variant that it does not know"),
            Some(message) if message.to != me => Some("is for another hub"),
            Some(message) if message.delivered => Some("was there before"),
            Some(message) => {
                message.delivered = true;
                None
            }
        };
        if let Some(fault) = fault {
            self.fault(format!(
                "13: message {number} came to host {no}, and {fault}"
            ));
        }
        true
    }

    /// A message was not delivered, or may not have been. False if its variant is known to all.
    pub(super) fn fail_later(&mut self, token: u64) -> bool {
        let Some(number) = token.checked_sub(TOKENS) else {
            return false;
        };
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        if let Some(message) = self.later.0.get_mut(number) {
            message.failed = true;
        }
        true
    }

    /// 14: messages that were sent before this moment and have no result, although their hubs live.
    pub(crate) fn open_later(&self, before: u64) -> Vec<String> {
        let messages = self.later.0.iter().enumerate();
        let open = messages.filter(|(_, message)| {
            !message.delivered && !message.failed && message.sent_at < before && self.is(message.by)
        });
        let tell = |(number, message): (usize, &Message)| {
            format!("14: message {number} has no end: {message:?}")
        };
        open.map(tell).collect()
    }

    /// Messages that were sent from this moment on and do not have the right result: those that are understood must
    /// arrive, and the senders of others must be told.
    pub(crate) fn unheard_later(&self, from: u64) -> Vec<String> {
        let messages = self.later.0.iter().enumerate();
        let recent = messages.filter(|(_, message)| message.sent_at >= from);
        let amiss = recent.filter(|(_, message)| match message.understood {
            true => !message.delivered,
            false => !message.failed,
        });
        let tell = |(number, message): (usize, &Message)| {
            format!("14: message {number}, of a later version: {message:?}")
        };
        amiss.map(tell).collect()
    }
}
