//! The latest events, for readers: two rings of a thousand events each.
//!
//! One ring has the events of this hub, for other hubs and the webhook. The other ring has the events of all hubs, for
//! readers. Code that notes an event takes a lock for a moment and never waits. Nothing waits for a slow reader: it loses
//! events, and is told how many.
//!
//! Grave events (about hubs, links, alarms and operators) stay longer than others: each ring keeps a hundred older ones, so
//! that a storm of joins and leaves does not remove them.
//!
//! Strangers can cause any number of refusals, so only a few a second are shown, and the others are counted.
//!
//! Invariants: numbers rise by one. A reader gets each event once and in order, or is told how many events it has lost.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hubmesh_core::ids::{HubId, NetworkKey, PeerId};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::event::{Event, What};
use super::ring::{KEPT, Ring};
use crate::clock::unix_ms;
use crate::metrics::Metrics;

/// The most refusals that are shown in a second.
const REFUSALS_A_SECOND: u32 = 50;
/// How long a hub still receives the events of other hubs after its last reader has gone.
const LINGER: Duration = Duration::from_secs(60);

/// The position of a reader: the number of its last event, in one life of a hub. Also the id of that event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Read {
    /// The life of the hub. 0 stands for no life, before all events.
    pub life: u64,
    /// The number.
    pub number: u64,
}

impl fmt::Display for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.life, self.number)
    }
}

/// The text is not the id of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("after and Last-Event-ID have to be the id of an event, or 0")]
pub struct BadRead;

impl FromStr for Read {
    type Err = BadRead;

    fn from_str(text: &str) -> Result<Self, BadRead> {
        if text == "0" {
            return Ok(Read { life: 0, number: 0 });
        }
        let (life, number) = text.split_once('-').ok_or(BadRead)?;
        let life = u64::from_str_radix(life, 16).map_err(|_| BadRead)?;
        let number = number.parse().map_err(|_| BadRead)?;
        Ok(Read { life, number })
    }
}

/// The next events for a reader.
#[derive(Debug, Default)]
pub struct Batch {
    /// How many events the reader has lost before these. `Some(None)`: it has lost events, and their number is unknown.
    pub missed: Option<Option<u64>>,
    /// The events, with their numbers.
    pub events: Vec<(u64, Arc<Event>)>,
}

struct State {
    me: HubId,
    own: Ring,
    all: Ring,
    /// The start of the present second, and how many more refusals may be shown in it.
    refusals: (Instant, u32),
    left_out: u64,
    last_reader: Option<Instant>,
}

/// The latest events of this hub and of other hubs.
pub struct Events {
    life: u64,
    state: Mutex<State>,
    wake: Notify,
    wake_own: Notify,
    readers: AtomicUsize,
    most_readers: usize,
    metrics: Arc<Metrics>,
}

/// There are `MAX_EVENT_READERS` readers already.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("this hub has as many readers of events as MAX_EVENT_READERS allows")]
pub struct TooManyReaders;

impl Events {
    /// No events yet.
    pub fn new(me: HubId, most_readers: usize, metrics: Arc<Metrics>) -> Self {
        Events {
            life: rand::random::<u64>() | 1,
            state: Mutex::new(State {
                me,
                own: Ring::default(),
                all: Ring::default(),
                refusals: (Instant::now(), REFUSALS_A_SECOND),
                left_out: 0,
                last_reader: None,
            }),
            wake: Notify::new(),
            wake_own: Notify::new(),
            readers: AtomicUsize::new(0),
            most_readers,
            metrics,
        }
    }

    /// The hub has this id from now on.
    pub fn set_id(&self, me: HubId) {
        self.state.lock().me = me;
    }

    /// Notes an event of this hub.
    pub fn note(&self, what: What) {
        self.push(&mut self.state.lock(), what);
        self.rouse();
    }

    /// Notes that this hub refused a client.
    pub fn note_refusal(
        &self,
        reason: &'static str,
        address: Option<IpAddr>,
        wanted: Option<(NetworkKey, PeerId)>,
    ) {
        let now = Instant::now();
        let mut state = self.state.lock();
        if now - state.refusals.0 >= Duration::from_secs(1) {
            state.refusals = (now, REFUSALS_A_SECOND);
            let count = std::mem::take(&mut state.left_out);
            if count > 0 {
                self.push(&mut state, What::Missed { count });
            }
        }
        if state.refusals.1 == 0 {
            state.left_out += 1;
            return;
        }
        state.refusals.1 -= 1;
        let what = What::Refusal {
            reason: reason.into(),
            address,
            wanted,
        };
        self.push(&mut state, what);
        drop(state);
        self.rouse();
    }

    fn push(&self, state: &mut State, what: What) {
        let event = Arc::new(Event {
            at_ms: unix_ms(),
            hub: state.me,
            what,
        });
        state.own.push(Arc::clone(&event));
        state.all.push(event);
    }

    fn rouse(&self) {
        self.wake_own.notify_waiters();
        self.rouse_readers();
    }

    fn rouse_readers(&self) {
        if self.readers.load(Ordering::Relaxed) > 0 {
            self.wake.notify_waiters();
        }
    }

    /// Takes in events of another hub, which has left out `missed` others.
    pub(crate) fn take_in(&self, from: HubId, events: Vec<Event>, missed: u64) {
        let mut state = self.state.lock();
        if from == state.me {
            return;
        }
        if missed > 0 {
            state.all.push(Arc::new(Event {
                at_ms: unix_ms(),
                hub: from,
                what: What::Missed { count: missed },
            }));
        }
        for event in events.into_iter().filter(Event::is_bounded) {
            // A hub may report only its own events.
            state.all.push(Arc::new(Event { hub: from, ..event }));
        }
        drop(state);
        self.rouse_readers();
    }

    /// Whether there is a reader, or was one within [`LINGER`].
    pub(crate) fn is_listened_to(&self) -> bool {
        if self.readers.load(Ordering::Relaxed) > 0 {
            return true;
        }
        let last = self.state.lock().last_reader;
        last.is_some_and(|last| last.elapsed() < LINGER)
    }

    /// The number of this hub's last event.
    pub(crate) fn last_own(&self) -> u64 {
        self.state.lock().own.last
    }

    /// At most `most` of this hub's events after this number, and how many events were lost before and between them.
    pub(crate) fn own_after(&self, number: u64, most: usize) -> (u64, Vec<(u64, Arc<Event>)>) {
        self.state.lock().own.after(number, number, most)
    }

    /// Waits until there is an event of this hub after this number.
    pub(crate) async fn own_beyond(&self, number: u64) {
        loop {
            let mut woken = std::pin::pin!(self.wake_own.notified());
            woken.as_mut().enable();
            if self.last_own() > number {
                return;
            }
            woken.await;
        }
    }

    /// Adds a reader. It begins after this event, or with the next event if there is none.
    pub fn reader(self: &Arc<Self>, after: Option<Read>) -> Result<Reader, TooManyReaders> {
        let taken = self
            .readers
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |readers| {
                (readers < self.most_readers).then_some(readers + 1)
            });
        taken.map_err(|_| TooManyReaders)?;
        self.metrics.operating.event_readers.inc();
        let state = self.state.lock();
        let (number, unheard, is_lost) = match after {
            None => (state.all.last, 0, false),
            Some(read) if read.life == self.life => (read.number.min(state.all.last), 0, false),
            // The reader is new, or was at another hub, or in another life of this hub. In the last two cases, the number of
            // events that it has lost is unknown.
            Some(read) => (
                state.all.before_all(),
                state.all.first() - 1,
                read.life != 0,
            ),
        };
        drop(state);
        Ok(Reader {
            events: Arc::clone(self),
            number,
            unheard,
            is_lost,
        })
    }

    /// The id of an event of this number.
    pub fn id(&self, number: u64) -> Read {
        Read {
            life: self.life,
            number,
        }
    }
}

/// A reader of events. When it is dropped, its place is free again.
pub struct Reader {
    events: Arc<Events>,
    number: u64,
    /// Events up to this number do not count as lost: the hub had dropped them before the reader came.
    unheard: u64,
    /// The reader has lost an unknown number of events.
    is_lost: bool,
}

impl Reader {
    /// Waits for the next events.
    pub async fn next(&mut self) -> Batch {
        let events = Arc::clone(&self.events);
        loop {
            let mut woken = std::pin::pin!(events.wake.notified());
            woken.as_mut().enable();
            let (gone, next) = {
                let state = events.state.lock();
                state.all.after(self.number, self.unheard, KEPT)
            };
            if let Some((last, _)) = next.last() {
                self.number = *last;
                let missed = match (std::mem::take(&mut self.is_lost), gone) {
                    (true, _) => Some(None),
                    (false, 0) => None,
                    (false, gone) => Some(Some(gone)),
                };
                return Batch {
                    missed,
                    events: next,
                };
            }
            woken.await;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.events.readers.fetch_sub(1, Ordering::Relaxed);
        self.events.metrics.operating.event_readers.dec();
        self.events.state.lock().last_reader = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::Operator;
    use super::super::ring::KEPT_GRAVE;
    use super::*;

    const ME: HubId = HubId([1; 20]);
    const OTHER: HubId = HubId([2; 20]);

    fn events(readers: usize) -> Arc<Events> {
        Arc::new(Events::new(ME, readers, Metrics::new()))
    }

    fn up(no: u8) -> What {
        What::HubUp {
            other: HubId([no; 20]),
        }
    }

    fn numbers(batch: &Batch) -> Vec<u64> {
        batch.events.iter().map(|(number, _)| *number).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_gets_each_event_once_and_resumes_after_its_last_one() {
        let events = events(2);
        events.note(up(1));
        let mut reader = events.reader(None).expect("a place");
        events.note(up(2));
        events.note(up(3));
        let batch = reader.next().await;
        assert_eq!((numbers(&batch), batch.missed), (vec![2, 3], None));
        drop(reader);
        events.note(up(4));
        let read: Read = events.id(2).to_string().parse().expect("an id");
        let mut again = events.reader(Some(read)).expect("a place");
        assert_eq!(numbers(&again.next().await), [3, 4]);
        let zero = "0".parse().expect("an id");
        let mut all = events.reader(Some(zero)).expect("a place");
        assert_eq!(numbers(&all.next().await), [1, 2, 3, 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_is_too_slow_is_told_how_many_events_it_has_lost() {
        let events = events(1);
        let mut reader = events.reader(None).expect("a place");
        for _ in 0..KEPT + 5 {
            events.note(What::Missed { count: 1 });
        }
        let batch = reader.next().await;
        assert_eq!(batch.missed, Some(Some(5)));
        assert_eq!((batch.events.len(), batch.events[0].0), (KEPT, 6));
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_of_other_events_removes_no_grave_event() {
        let events = events(1);
        let mut reader = events.reader(None).expect("a place");
        events.note(up(1));
        events.note(What::Missed { count: 1 });
        events.note(What::Operator(Operator::default()));
        for _ in 0..3 * KEPT {
            events.note(What::Missed { count: 1 });
        }
        for (gone, next) in [events.own_after(0, 2 * KEPT), {
            let batch = reader.next().await;
            (batch.missed.flatten().unwrap_or(0), batch.events)
        }] {
            let numbers: Vec<u64> = next.iter().map(|(number, _)| *number).collect();
            assert_eq!(&numbers[..2], [1, 3]);
            let last = *numbers.last().expect("one");
            assert_eq!(gone, last - numbers.len() as u64);
        }
        // When the events are read one by one, each lost event is counted once.
        let (mut at, mut got, mut lost) = (0, 0, 0);
        loop {
            let (gone, next) = events.own_after(at, 1);
            let Some((number, _)) = next.last() else {
                break;
            };
            (at, got, lost) = (*number, got + 1, lost + gone);
        }
        assert_eq!((at, got + lost), (3 * KEPT as u64 + 3, 3 * KEPT as u64 + 3));
        for no in 0..=u8::MAX {
            events.note(up(no));
        }
        for _ in 0..KEPT {
            events.note(What::Missed { count: 1 });
        }
        let (_, next) = events.own_after(0, 2 * KEPT);
        assert_eq!(next.len(), KEPT + KEPT_GRAVE, "so many and no more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_reader_has_lost_only_events_that_were_dropped_since_it_came() {
        let events = events(1);
        let some = |number: usize| {
            for _ in 0..number {
                events.note(What::Missed { count: 1 });
            }
        };
        events.note(up(1));
        some(4 * KEPT);
        let mut reader = events.reader(Some(Read { life: 0, number: 0 }));
        let reader = reader.as_mut().expect("a place");
        let batch = reader.next().await;
        assert_eq!((batch.missed, batch.events.len()), (None, KEPT));
        assert_eq!(batch.events[0].0, 1, "the grave one");
        some(KEPT + 5);
        // One was left of the first batch.
        let batch = reader.next().await;
        assert_eq!((batch.missed, batch.events.len()), (Some(Some(6)), KEPT));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_from_another_life_gets_all_events_that_are_kept() {
        let events = events(1);
        events.note(up(1));
        let other = Read {
            life: events.life ^ 2,
            number: 900,
        };
        let mut reader = events.reader(Some(other)).expect("a place");
        let batch = reader.next().await;
        assert_eq!((batch.missed, numbers(&batch)), (Some(None), vec![1]));
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_readers_is_bounded_and_a_place_becomes_free_again() {
        let events = events(1);
        let reader = events.reader(None).expect("a place");
        assert_eq!(events.reader(None).err(), Some(TooManyReaders));
        drop(reader);
        assert!(events.is_listened_to(), "for a while");
        assert!(events.reader(None).is_ok());
        tokio::time::advance(LINGER + Duration::from_secs(1)).await;
        assert!(!events.is_listened_to());
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_of_refusals_removes_no_other_event() {
        let events = events(1);
        let mut reader = events.reader(None).expect("a place");
        for _ in 0..10_000 {
            events.note_refusal("full", None, None);
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        events.note_refusal("full", None, None);
        let batch = reader.next().await;
        let shown = usize::try_from(REFUSALS_A_SECOND).expect("a size");
        assert_eq!(batch.events.len(), shown + 2);
        let missed = &batch.events[shown].1.what;
        assert_eq!(
            *missed,
            What::Missed {
                count: 10_000 - shown as u64
            }
        );
    }

    #[tokio::test(start_paused = true)]
    async fn another_hub_reports_only_its_own_events() {
        let events = events(1);
        let mut reader = events.reader(None).expect("a place");
        let forged = Event {
            at_ms: 1,
            hub: ME,
            what: up(3),
        };
        events.take_in(OTHER, vec![forged], 2);
        let batch = reader.next().await;
        let hubs: Vec<HubId> = batch.events.iter().map(|(_, event)| event.hub).collect();
        assert_eq!(hubs, [OTHER, OTHER]);
        assert_eq!(events.own_after(0, 10), (0, vec![]), "they are not ours");
    }

    #[test]
    fn a_text_that_is_not_the_id_of_an_event_is_refused() {
        for text in ["", "1", "-", "x-1", "1-x", "1-", "-1", "1--1"] {
            assert_eq!(text.parse::<Read>(), Err(BadRead), "{text:?}");
        }
    }
}
