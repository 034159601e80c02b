use hubmesh_core::frames::{AckFrame, FrameHead, SignalBody, SignalFrame};
use hubmesh_core::ids::{HubId, Incarnation};

use super::*;
use std::task::Waker;

fn ack(upto: u64) -> DataFrame {
    let incarnation = Incarnation { epoch: 0, nonce: 1 };
    DataFrame::Ack(AckFrame {
        head: FrameHead {
            ttl: 4,
            source: HubId([1; 20]),
            source_incarnation: incarnation,
            dest: HubId([2; 20]),
            dest_incarnation: incarnation,
        },
        upto,
        refused: Vec::new(),
    })
}

/// A signal of this hub.
fn signal(source: u8, payload: usize) -> DataFrame {
    let incarnation = Incarnation { epoch: 0, nonce: 1 };
    DataFrame::Signal(SignalFrame {
        head: FrameHead {
            ttl: 4,
            source: HubId([source; 20]),
            source_incarnation: incarnation,
            dest: HubId([0; 20]),
            dest_incarnation: incarnation,
        },
        seq: 1,
        base: 1,
        body: SignalBody::Hub {
            payload: vec![0; payload].into(),
        },
    })
}

fn poll(queue: &LinkQueue) -> Poll<Work> {
    queue.poll_work(&Context::from_waker(Waker::noop()))
}

#[test]
fn frames_pushed_between_two_writes_share_a_message() {
    let queue = LinkQueue::default();
    assert_eq!(poll(&queue), Poll::Pending);
    assert_eq!(queue.push_data(&ack(1), None), Pushed::Taken);
    assert_eq!(queue.push_data(&ack(2), None), Pushed::Taken);
    let Poll::Ready(Work::Write { messages, control }) = poll(&queue) else {
        panic!("there is work")
    };
    assert!(!control);
    assert_eq!(messages.len(), 1);
    assert_eq!(wire::decode_data(&messages[0]).unwrap(), [ack(1), ack(2)]);
}

/// Pushes signals of this hub until one is not `wanted`; returns the bytes of signals that wait then.
fn push_while(queue: &LinkQueue, source: u8, wanted: Pushed) -> usize {
    push_while_by(queue, None, source, wanted)
}

/// The same with signals that arrived on this link.
fn push_while_by(queue: &LinkQueue, by: Option<LinkId>, source: u8, wanted: Pushed) -> usize {
    let frame = signal(source, 1000);
    for _ in 0..20_000 {
        if queue.push_data(&frame, by) != wanted {
            return queue.lanes.lock().data.bytes;
        }
    }
    panic!("it takes all");
}

/// How many of the waiting bytes are this hub's.
fn of_hub(queue: &LinkQueue, source: u8) -> usize {
    let mut lanes = queue.lanes.lock();
    let mut bytes = 0;
    for batch in lanes.data.batches.iter_mut() {
        for frame in wire::decode_data(&batch.message.clone().freeze()).expect("it is whole") {
            if matches!(&frame, DataFrame::Signal(signal) if signal.head.source == HubId([source; 20]))
            {
                bytes += 1000;
            }
        }
    }
    bytes
}

#[test]
fn a_link_that_takes_nothing_is_backed_up_and_then_drops_what_is_too_much() {
    let queue = LinkQueue::default();
    let backed_up = push_while(&queue, 1, Pushed::Taken);
    assert!((BACKED_UP..BACKED_UP + 2000).contains(&backed_up));
    assert!(queue.is_backed_up());
    let alone = push_while(&queue, 1, Pushed::BackedUp);
    // Half of the space, and the bytes that were queued before counting began.
    assert!((MAX_WAITING / 2..MAX_WAITING / 2 + BACKED_UP).contains(&alone));
    assert_eq!(queue.push_data(&signal(1, 1000), None), Pushed::Dropped);
}

#[test]
fn whatever_the_loud_hubs_have_waiting_there_is_room_for_the_quiet_one() {
    let queue = LinkQueue::default();
    let by = Some(LinkId(1));
    for _ in 0..3 {
        for source in 1..=4 {
            push_while_by(&queue, by, source, Pushed::BackedUp);
            push_while_by(&queue, by, source, Pushed::Taken);
        }
    }
    for _ in 0..100 {
        assert_eq!(queue.push_data(&signal(9, 1000), by), Pushed::BackedUp);
    }
    assert!(queue.lanes.lock().data.bytes <= MAX_WAITING);
    assert!(of_hub(&queue, 4) > 100_000);
    while poll(&queue).is_ready() {}
    let lanes = queue.lanes.lock();
    assert_eq!(lanes.data.bytes, 0);
    assert!(!lanes.data.shares.is_counting());
}

#[test]
fn hubs_that_one_link_made_up_leave_others_the_room_of_one_link() {
    let queue = LinkQueue::default();
    push_while_by(&queue, Some(LinkId(1)), 1, Pushed::Taken);
    for source in 1..=200 {
        push_while_by(&queue, Some(LinkId(1)), source, Pushed::BackedUp);
    }
    for (by, source) in [(Some(LinkId(2)), 201), (None, 202)] {
        let before = queue.lanes.lock().data.bytes;
        let after = push_while_by(&queue, by, source, Pushed::BackedUp);
        assert!(after - before > MAX_WAITING / 16, "{}", after - before);
    }
    assert!(queue.lanes.lock().data.bytes <= MAX_WAITING);
}

#[test]
fn control_and_acknowledgements_wait_behind_little_and_a_link_that_is_written_is_backed_up_no_more()
{
    let queue = LinkQueue::default();
    push_while(&queue, 1, Pushed::Taken);
    assert_eq!(queue.push_data(&ack(7), None), Pushed::Taken);
    queue.put_control(Bytes::from_static(b"control"));
    let mut rounds = 0;
    while let Poll::Ready(Work::Write { messages, control }) = poll(&queue) {
        assert_eq!(control, rounds == 0);
        if rounds == 0 {
            assert_eq!(messages[0], &b"control"[..]);
            assert_eq!(wire::decode_data(&messages[1]).unwrap(), [ack(7)]);
        }
        rounds += 1;
        let bytes: usize = messages.iter().map(Bytes::len).sum();
        assert!(bytes <= AT_ONCE + 2 * BATCH, "{bytes} bytes at once");
        let waiting = queue.lanes.lock().data.bytes;
        assert_eq!(queue.is_backed_up(), waiting > BACKED_UP / 2);
    }
    assert!(rounds > BACKED_UP / (AT_ONCE + 2 * BATCH));
    assert!(!queue.is_backed_up());
}

/// Pushes acknowledgements that arrived on this link until one is dropped; returns the number of those before.
fn push_acks(queue: &LinkQueue, by: Option<LinkId>) -> usize {
    let taken = (0..u64::MAX).take_while(|n| queue.push_data(&ack(*n), by) == Pushed::Taken);
    taken.count()
}

#[test]
fn acknowledgements_that_nobody_takes_are_bounded_and_leave_room_for_those_of_other_links() {
    let queue = LinkQueue::default();
    push_while(&queue, 1, Pushed::Taken);
    assert!(push_acks(&queue, Some(LinkId(1))) > 500);
    assert!(push_acks(&queue, Some(LinkId(2))) > 250);
    assert!(push_acks(&queue, None) > 250);
    assert!(queue.lanes.lock().acks.bytes < MAX_ACKS);
}

#[test]
fn acknowledgements_that_come_faster_than_they_are_written_stop_no_signals() {
    let queue = LinkQueue::default();
    push_while(&queue, 1, Pushed::Taken);
    let rounds = queue.lanes.lock().data.bytes / (AT_ONCE / 4);
    let are_written = (0..rounds).any(|_| {
        for link in 1..=3 {
            push_acks(&queue, Some(LinkId(link)));
        }
        let _ = poll(&queue);
        queue.lanes.lock().data.bytes == 0
    });
    assert!(are_written);
}

#[test]
fn closing_comes_after_what_waits() {
    let queue = LinkQueue::default();
    queue.put_control(Bytes::from_static(b"control"));
    queue.close(Bytes::from_static(b"bye"));
    assert!(!queue.takes_control());
    assert_eq!(
        poll(&queue),
        Poll::Ready(Work::Write {
            messages: vec![Bytes::from_static(b"control")],
            control: true
        })
    );
    assert_eq!(
        poll(&queue),
        Poll::Ready(Work::Close(Bytes::from_static(b"bye")))
    );
}
