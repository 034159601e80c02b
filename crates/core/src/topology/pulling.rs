//! Asks for records that neighbours have and this hub lacks: one neighbour at a time.
//!
//! If a neighbour does not answer in time, or its link is lost, the next one is asked that has the record, in the order
//! of their announcements. A neighbour that sends other records meanwhile gets more time, within bounds: on a slow link
//! ours may be behind them. If no other neighbour has the record, the question is dropped once it was sent: a hub that
//! has the record announces it again, at the latest when the two ends of a link compare their records (`comparing`).
//!
//! There are at most as many questions as records. When one more is needed, a question to the neighbour with the most
//! of them is dropped, so that a neighbour that announces hubs that do not exist does not keep us from asking others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::super::ids::{HubId, Incarnation, LinkId, Moment};
use super::Topology;
use super::flooding::earliest;
use crate::frames::DigestEntry;
use crate::reach::Reach;

type RecordVersion = (Incarnation, u64);

/// A neighbour that keeps sending other records gets up to this many times as long as one that sends none.
const PATIENCE: u32 = 4;

#[derive(Debug)]
struct Question {
    version: RecordVersion,
    asked: LinkId,
    since: Moment,
    /// When another neighbour is asked.
    until: Moment,
    /// The nearest hub that announced this version.
    told_by: Option<Reach>,
    /// Other links whose ends have a version that we lack.
    others: VecDeque<LinkId>,
}

/// The open questions: at most one for each hub.
#[derive(Debug, Default)]
pub(super) struct Pulls {
    questions: BTreeMap<HubId, Question>,
    /// The hubs whose records each link is asked for.
    by_link: BTreeMap<LinkId, BTreeSet<HubId>>,
    pub(super) due: Option<Moment>,
}

/// A request to withdraw if it was not sent yet, and the link to ask by instead, if there is another.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overdue {
    hub: HubId,
    asked: LinkId,
    next: Option<LinkId>,
}

impl Pulls {
    /// The other end of `link` announced a record that we lack. Returns whether to ask for it there.
    fn on_word(
        &mut self,
        now: Moment,
        link: LinkId,
        (hub, version): (HubId, RecordVersion),
        until: Moment,
    ) -> bool {
        let Some(question) = self.questions.get_mut(&hub) else {
            let question = Question {
                version,
                asked: link,
                since: now,
                until,
                told_by: None,
                others: VecDeque::new(),
            };
            self.questions.insert(hub, question);
            self.by_link.entry(link).or_default().insert(hub);
            self.due = earliest(self.due, Some(until));
            return true;
        };
        let newer = question.version < version;
        let before = question.asked;
        // A neighbour that announces ever newer versions must not delay the question to another: `until` stays.
        let other = if newer {
            question.version = version;
            question.told_by = None;
            std::mem::replace(&mut question.asked, link)
        } else {
            link
        };
        if other != question.asked && !question.others.contains(&other) {
            question.others.push_back(other);
        }
        if newer {
            self.move_question(hub, before, Some(link));
        }
        newer
    }

    /// A record was accepted. Returns the reach of the nearest hub that announced this version meanwhile.
    pub(super) fn on_record(&mut self, hub: HubId, version: RecordVersion) -> Option<Reach> {
        let question = self.questions.get(&hub)?;
        let told_by = question.told_by.filter(|_| question.version == version);
        if question.version <= version {
            self.drop_question(hub);
        }
        told_by
    }

    /// A hub at this reach has a version that may be asked for.
    pub(super) fn note_teller(&mut self, hub: HubId, version: RecordVersion, reach: Reach) {
        if let Some(question) = self.questions.get_mut(&hub)
            && question.version == version
        {
            question.told_by = Some(question.told_by.map_or(reach, |known| known.min(reach)));
        }
    }

    /// A link is gone: questions on it will not be answered.
    pub(super) fn on_link_gone(&mut self, link: LinkId) {
        let at_once = Moment::default();
        for question in self.questions.values_mut() {
            question.others.retain(|other| *other != link);
            if question.asked == link {
                question.until = at_once;
                self.due = Some(at_once);
            }
        }
    }

    /// Questions that were not answered in time. A question gets more time if it was not sent yet and no other
    /// neighbour has the record, or if its link has brought other records so recently that ours may be behind them.
    fn overdue(
        &mut self,
        now: Moment,
        within: Duration,
        is_unsent: impl Fn(LinkId, HubId) -> bool,
        told_at: impl Fn(LinkId) -> Option<Moment>,
    ) -> Vec<Overdue> {
        let late = |question: &Question| question.until <= now;
        for (hub, question) in &mut self.questions {
            if !late(question) {
                continue;
            }
            if question.others.is_empty() && is_unsent(question.asked, *hub) {
                question.until = now + within;
            }
            let comes = told_at(question.asked).map(|told| told + within);
            let most = question.since + within * PATIENCE;
            question.until = question
                .until
                .max(comes.map_or(now, |comes| comes.min(most)));
        }
        let late: Vec<HubId> = self
            .questions
            .iter()
            .filter(|(_, question)| late(question))
            .map(|(hub, _)| *hub)
            .collect();
        let overdue = late
            .into_iter()
            .filter_map(|hub| self.pass_on(now, hub, now + within))
            .collect();
        let due = self.questions.values().map(|question| question.until);
        self.due = due.min();
        overdue
    }

    /// Asks the next neighbour that has the record, until this time, if there is one.
    fn pass_on(&mut self, now: Moment, hub: HubId, until: Moment) -> Option<Overdue> {
        let question = self.questions.get_mut(&hub)?;
        let asked = question.asked;
        let next = question.others.pop_front();
        match next {
            Some(link) => {
                question.asked = link;
                question.since = now;
                question.until = until;
                self.move_question(hub, asked, next);
            }
            None => self.drop_question(hub),
        }
        Some(Overdue { hub, asked, next })
    }

    /// Makes space for one more question on this link, if another link has more: returns the question that is dropped
    /// there.
    fn make_space(&mut self, link: LinkId) -> Option<Overdue> {
        let ours = self.by_link.get(&link).map_or(0, BTreeSet::len);
        let (asked, most) = self.by_link.iter().max_by_key(|(_, hubs)| hubs.len())?;
        if most.len() <= ours + 1 {
            return None;
        }
        let (asked, hub) = (*asked, *most.last()?);
        self.drop_question(hub);
        let next = None;
        Some(Overdue { hub, asked, next })
    }

    fn drop_question(&mut self, hub: HubId) {
        if let Some(question) = self.questions.remove(&hub) {
            self.move_question(hub, question.asked, None);
        }
    }

    fn move_question(&mut self, hub: HubId, from: LinkId, to: Option<LinkId>) {
        if let Some(hubs) = self.by_link.get_mut(&from) {
            hubs.remove(&hub);
            if hubs.is_empty() {
                self.by_link.remove(&from);
            }
        }
        if let Some(to) = to {
            self.by_link.entry(to).or_default().insert(hub);
        }
    }
}

impl Topology {
    /// The other end of `link` has these records.
    pub fn handle_announce(&mut self, now: Moment, link: LinkId, entries: &[DigestEntry]) {
        for entry in entries {
            let (hub, version) = (entry.hub, (entry.incarnation, entry.number));
            let held = self.version_of(hub);
            if Some(version) < held {
                if self.records.contains_key(&hub) {
                    self.tell_later(now, link, hub);
                } else {
                    // We know only its incarnation, and send that.
                    self.record_queue(link).give(hub);
                }
                continue;
            }
            self.record_queue(link).has(&hub);
            if !self.is_plausible(hub, entry.incarnation) {
                self.refused += 1;
            } else if Some(version) > held {
                self.hear_word(now, link, hub, version);
            }
        }
    }

    fn hear_word(&mut self, now: Moment, link: LinkId, hub: HubId, version: RecordVersion) {
        let known = self.pulls.questions.contains_key(&hub);
        if !known && self.pulls.questions.len() >= self.config.max_hubs {
            let Some(given_up) = self.pulls.make_space(link) else {
                self.refused += 1;
                return;
            };
            self.ask_next(&given_up);
        }
        let until = now + self.config.ask_again_after;
        let asks = self.pulls.on_word(now, link, (hub, version), until);
        if asks && !self.config.mutants.pull_forgotten() {
            self.record_queue(link).wants.insert(hub);
        }
    }

    /// The version of this hub's record that we can send.
    fn version_of(&self, hub: HubId) -> Option<RecordVersion> {
        if hub == self.me {
            return Some((self.own.incarnation, self.own.number));
        }
        match self.records.get(&hub) {
            Some(stored) => Some(stored.record.version()),
            None => self
                .past_incarnations
                .of(hub)
                .map(|incarnation| (incarnation, 0)),
        }
    }

    /// Asks other neighbours for records that did not arrive.
    pub(super) fn ask_again(&mut self, now: Moment) {
        if self.pulls.due.is_none_or(|due| due > now) {
            return;
        }
        let is_unsent = |link: LinkId, hub: HubId| {
            let queue = self.record_queues.get(&link);
            queue.is_some_and(|queue| !queue.closed && queue.wants.contains(&hub))
        };
        let told_at = |link: LinkId| {
            let queue = self.record_queues.get(&link);
            queue.filter(|queue| !queue.closed)?.told_at
        };
        let within = self.config.ask_again_after;
        for overdue in self.pulls.overdue(now, within, is_unsent, told_at) {
            self.ask_next(&overdue);
        }
    }

    fn ask_next(&mut self, overdue: &Overdue) {
        if let Some(queue) = self.record_queues.get_mut(&overdue.asked) {
            queue.wants.remove(&overdue.hub);
        }
        let next = overdue
            .next
            .and_then(|next| self.record_queues.get_mut(&next));
        if let Some(queue) = next {
            queue.wants.insert(overdue.hub);
        }
    }

    /// The other end of `link` asks for the records of these hubs.
    pub fn handle_want(&mut self, link: LinkId, hubs: &[HubId]) {
        for hub in hubs {
            if self.version_of(*hub).is_some() {
                self.record_queue(link).give(*hub);
            }
        }
    }
}
