use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use hubmesh_core::ids::Dialect;

use super::*;

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn mailbox(messages: u32, bytes: u32) -> Mailbox {
    Mailbox::new(Capacity { messages, bytes })
}

fn roster(members: u8) -> Box<PendingRoster> {
    let left = (0..members).map(|n| (PeerId::Hex([n; 20]), Some(Bytes::from_static(b"{}"))));
    Box::new(PendingRoster {
        network: NetworkKey::new(Dialect::Pigeon, "room").expect("a name"),
        left: left.collect(),
    })
}

/// What a roster of three takes.
fn roster_bytes() -> u32 {
    u32::try_from(roster(3).bytes()).expect("few")
}

fn by(author: u64) -> Receipt {
    Receipt {
        sender: Sender::Here(ClaimNo(author)),
        to: ClaimNo(0),
        kind: SignalKind(7),
    }
}

/// How many signals of this sender and length are accepted until one is refused.
fn fill(mailbox: &Mailbox, author: u64, bytes: usize) -> usize {
    let signal = || mailbox.push_signal("x".repeat(bytes).into(), by(author));
    std::iter::from_fn(|| signal().ok()).count()
}

fn take(mailbox: &Mailbox, enough: usize) -> Vec<String> {
    let mut taken = Vec::new();
    let roster = mailbox.drain(enough, |text| taken.push(text.to_owned()));
    assert!(roster.is_none());
    taken
}

#[test]
fn messages_leave_in_the_order_in_which_they_came() {
    let mailbox = mailbox(10, 100);
    for text in ["a", "b", "c"] {
        mailbox.push(text.into()).expect("there is space");
    }
    assert_eq!(take(&mailbox, 2), ["a", "b"]);
    assert_eq!(take(&mailbox, usize::MAX), ["c"]);
}

#[test]
fn what_does_not_fit_is_refused_and_closes_the_session_for_good() {
    for mailbox in [mailbox(2, 100), mailbox(10, 2)] {
        mailbox.push("a".into()).expect("there is space");
        mailbox.push("b".into()).expect("there is space");
        assert_eq!(mailbox.push("c".into()), Err(MailboxFull));
        take(&mailbox, usize::MAX);
        assert_eq!(mailbox.push("d".into()), Err(MailboxFull));
        mailbox.close(CloseReason::Draining);
        let close = Some(Control::Close(CloseReason::OutboxFull));
        assert_eq!(mailbox.next_control(), close);
    }
}

#[test]
fn room_is_free_again_once_messages_are_taken() {
    let mailbox = mailbox(2, 4);
    for _ in 0..100 {
        mailbox.push("ab".into()).expect("there is space");
        mailbox.push("cd".into()).expect("there is space");
        assert_eq!(take(&mailbox, usize::MAX).len(), 2);
    }
}

#[test]
fn an_emptied_mailbox_holds_no_memory() {
    let mailbox = mailbox(10_000, 1 << 20);
    for _ in 0..1000 {
        mailbox.push("message".into()).expect("there is space");
    }
    take(&mailbox, usize::MAX);
    assert_eq!(mailbox.queue.lock().items.capacity(), 0);
}

#[test]
fn rosters_that_pile_up_unread_close_the_session_like_messages() {
    let mailbox = mailbox(1000, 10 * roster_bytes());
    for _ in 0..10 {
        mailbox.push_roster(roster(3)).expect("there is space");
    }
    assert_eq!(mailbox.push_roster(roster(3)), Err(MailboxFull));
    let close = Some(Control::Close(CloseReason::OutboxFull));
    assert_eq!(mailbox.next_control(), close);
}

#[test]
fn a_roster_that_is_taken_leaves_its_room_to_the_next() {
    let mailbox = mailbox(10, roster_bytes());
    for _ in 0..100 {
        mailbox.push_roster(roster(3)).expect("there is space");
        assert!(mailbox.drain(usize::MAX, |_| {}).is_some());
    }
}

#[test]
fn a_roster_is_given_out_in_its_turn() {
    let mailbox = mailbox(10, 10_000);
    mailbox.push("a".into()).expect("there is space");
    mailbox.push_roster(roster(1)).expect("there is space");
    let mut taken = Vec::new();
    assert!(
        mailbox
            .drain(usize::MAX, |text| taken.push(text.to_owned()))
            .is_some()
    );
    assert_eq!(taken, ["a"]);
}

#[test]
fn a_session_is_woken_by_the_first_message_and_by_each_word_of_the_hub() {
    let (mailbox, wakes) = (mailbox(10, 100), Arc::new(Wakes::default()));
    let woken = || {
        mailbox.register(&Arc::clone(&wakes).into());
        wakes.0.swap(0, Ordering::Relaxed)
    };
    woken();
    mailbox.push("a".into()).expect("there is space");
    assert_eq!(woken(), 1);
    mailbox.push("b".into()).expect("there is space");
    assert_eq!(woken(), 0);
    mailbox.tell(Control::Accepted(ClaimNo(1)));
    assert_eq!(woken(), 1);
    mailbox.close(CloseReason::Draining);
    assert_eq!(woken(), 1);
}

#[test]
fn notices_held_back_leave_in_order_with_the_message_that_wakes_the_session() {
    let (mailbox, wakes) = (mailbox(10, 100), Arc::new(Wakes::default()));
    let woken = || {
        mailbox.register(&Arc::clone(&wakes).into());
        wakes.0.swap(0, Ordering::Relaxed)
    };
    woken();
    for notice in ["a", "b"] {
        mailbox
            .push_notice(notice.into(), WakeUp::Later)
            .expect("there is space");
    }
    assert_eq!(woken(), 0);
    mailbox.push("signal".into()).expect("there is space");
    assert_eq!(woken(), 1);
    mailbox
        .push_notice("c".into(), WakeUp::Later)
        .expect("there is space");
    mailbox.release();
    assert_eq!(woken(), 0, "it is awake already");
    assert_eq!(take(&mailbox, usize::MAX), ["a", "b", "signal", "c"]);
}

#[test]
fn a_release_wakes_a_session_that_has_something_held_back_and_no_other() {
    let (mailbox, wakes) = (mailbox(10, 100), Arc::new(Wakes::default()));
    let woken = || {
        mailbox.register(&Arc::clone(&wakes).into());
        wakes.0.swap(0, Ordering::Relaxed)
    };
    woken();
    let hold = |text: &str| mailbox.push_notice(text.into(), WakeUp::Later);
    mailbox.release();
    assert_eq!(woken(), 0);
    hold("a").expect("there is space");
    mailbox.release();
    assert_eq!(woken(), 1);
    hold("b").expect("there is space");
    assert_eq!(take(&mailbox, usize::MAX), ["a", "b"]);
    mailbox.release();
    assert_eq!(woken(), 0, "it has looked meanwhile");
    hold("c").expect("there is space");
    mailbox.release();
    assert_eq!(woken(), 1);
}

#[test]
fn the_hub_s_word_comes_in_order_but_closing_comes_first() {
    let mailbox = mailbox(10, 100);
    let probe = Control::Probe {
        claim: ClaimNo(1),
        token: 2,
        within: Duration::from_secs(2),
    };
    mailbox.tell(Control::Accepted(ClaimNo(1)));
    mailbox.tell(probe);
    assert_eq!(mailbox.next_control(), Some(Control::Accepted(ClaimNo(1))));
    assert_eq!(mailbox.next_control(), Some(probe));
    assert_eq!(mailbox.next_control(), None);
    mailbox.tell(probe);
    mailbox.tell(Control::Close(CloseReason::Superseded));
    let close = Some(Control::Close(CloseReason::Superseded));
    assert_eq!(mailbox.next_control(), close);
}

#[test]
fn signals_fill_half_at_most_and_end_no_session() {
    let mailbox = mailbox(1000, 10_000);
    for author in 0..100 {
        fill(&mailbox, author, 10);
    }
    let queue = mailbox.queue.lock();
    assert!(
        (450..=500).contains(&queue.items.len()),
        "{}",
        queue.items.len()
    );
    assert!(queue.bytes <= 5_000);
    drop(queue);
    assert_eq!(mailbox.next_control(), None);
    for _ in 0..400 {
        mailbox
            .push("notice".into())
            .expect("there is space for the hub");
    }
}

#[test]
fn words_that_others_cause_and_signals_fill_half_together_and_end_no_session() {
    let mailbox = mailbox(16, 1000);
    let spare = || mailbox.push_spare("s".into()).ok();
    assert_eq!(std::iter::from_fn(spare).count(), 4);
    let signals: usize = (1..20).map(|author| fill(&mailbox, author, 1)).sum();
    assert_eq!(signals, 4);
    for text in ["notice"; 8] {
        mailbox.push(text.into()).expect("the other half is free");
    }
    assert_eq!(mailbox.next_control(), None);
    assert_eq!(take(&mailbox, 4), ["s"; 4]);
    assert_eq!(mailbox.push_spare("s".into()), Ok(()));
}

#[test]
fn a_sender_alone_fills_half_of_what_signals_may_and_leaves_the_others_theirs() {
    // By messages, and by bytes.
    for (mailbox, bytes) in [(mailbox(800, 1 << 30), 1), (mailbox(1 << 20, 800), 1)] {
        assert_eq!(fill(&mailbox, 1, bytes), 200);
        assert_eq!(fill(&mailbox, 2, bytes), 100);
        assert_eq!(fill(&mailbox, 3, bytes), 50);
        assert_eq!(fill(&mailbox, 1, bytes), 0);
        take(&mailbox, usize::MAX);
        assert_eq!(fill(&mailbox, 1, bytes), 200);
    }
}

#[test]
fn what_a_sender_may_add_grows_as_the_mailbox_empties() {
    let mailbox = mailbox(800, 1 << 30);
    fill(&mailbox, 1, 10);
    fill(&mailbox, 2, 10);
    assert_eq!(take(&mailbox, 1000).len(), 100);
    assert_eq!(fill(&mailbox, 1, 10), 50);
}

#[test]
fn a_mailbox_that_shuts_gives_back_the_signals_in_it_in_order() {
    let mailbox = mailbox(10, 1000);
    mailbox.push("hub".into()).expect("there is space");
    for author in [3, 1, 2] {
        let pushed = mailbox.push_signal("signal".into(), by(author));
        pushed.expect("there is space");
    }
    assert_eq!(take(&mailbox, 4), ["hub", "signal"]);
    assert_eq!(mailbox.shut(), [by(1), by(2)]);
    assert_eq!(mailbox.shut(), []);
    assert_eq!(mailbox.push_signal("late".into(), by(1)), Err(MailboxFull));
}

#[test]
fn pushers_on_many_threads_lose_nothing() {
    let mailbox = Arc::new(mailbox(100_000, 1 << 20));
    let pushers: Vec<_> = (0..4)
        .map(|_| {
            let mailbox = Arc::clone(&mailbox);
            std::thread::spawn(move || {
                for _ in 0..1000 {
                    mailbox.push("x".into()).expect("there is space");
                }
            })
        })
        .collect();
    let mut taken = 0;
    while pushers.iter().any(|pusher| !pusher.is_finished()) {
        taken += take(&mailbox, 64).len();
    }
    taken += take(&mailbox, usize::MAX).len();
    assert_eq!(taken, 4000);
}
