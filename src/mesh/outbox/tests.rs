use super::*;
use crate::mesh::core::ids::{HubId, Incarnation};
use crate::mesh::frames::{AckFrame, SignalBody};
use std::task::Waker;

fn ack(upto: u64) -> Frame {
    let incarnation = Incarnation { epoch: 0, nonce: 1 };
    Frame::Ack(AckFrame {
        ttl: 4,
        source: HubId([1; 20]),
        source_incarnation: incarnation,
        dest: HubId([2; 20]),
        dest_incarnation: incarnation,
        upto,
        refused: Vec::new(),
    })
}

/// A signal of this hub.
fn signal(source: u8, payload: usize) -> Frame {
    let incarnation = Incarnation { epoch: 0, nonce: 1 };
    Frame::Signal(SignalFrame {
        ttl: 4,
        source: HubId([source; 20]),
        source_incarnation: incarnation,
        dest: HubId([0; 20]),
        dest_incarnation: incarnation,
        seq: 1,
        base: 1,
        body: SignalBody::Hub {
            payload: vec![0; payload].into(),
        },
    })
}

fn poll(outbox: &Outbox) -> Poll<Work> {
    outbox.poll_work(&Context::from_waker(Waker::noop()))
}

#[test]
fn frames_pushed_between_two_writes_share_a_message() {
    let outbox = Outbox::default();
    assert_eq!(poll(&outbox), Poll::Pending);
    assert_eq!(outbox.push_data(&ack(1)), Pushed::Taken);
    assert_eq!(outbox.push_data(&ack(2)), Pushed::Taken);
    let Poll::Ready(Work::Write { messages, control }) = poll(&outbox) else {
        panic!("there is work")
    };
    assert!(!control);
    assert_eq!(messages.len(), 1);
    assert_eq!(wire::decode_data(&messages[0]).unwrap(), [ack(1), ack(2)]);
}

/// Pushes signals of this hub until one is not `wanted`; gives how many bytes of signals wait then.
fn push_while(outbox: &Outbox, source: u8, wanted: Pushed) -> usize {
    let frame = signal(source, 1000);
    for _ in 0..20_000 {
        if outbox.push_data(&frame) != wanted {
            return outbox.lanes.lock().data.bytes;
        }
    }
    panic!("it takes all");
}

/// How much of what waits is this hub's, in bytes.
fn of_hub(outbox: &Outbox, source: u8) -> usize {
    let mut lanes = outbox.lanes.lock();
    let mut bytes = 0;
    for batch in lanes.data.batches.iter_mut() {
        for frame in wire::decode_data(&batch.message.clone().freeze()).expect("it is whole") {
            if matches!(&frame, Frame::Signal(signal) if signal.source == HubId([source; 20])) {
                bytes += 1000;
            }
        }
    }
    bytes
}

#[test]
fn a_link_that_takes_nothing_is_backed_up_and_then_drops_what_is_too_much() {
    let outbox = Outbox::default();
    let backed_up = push_while(&outbox, 1, Pushed::Taken);
    assert!((BACKED_UP..BACKED_UP + 2000).contains(&backed_up));
    assert!(outbox.is_backed_up());
    let alone = push_while(&outbox, 1, Pushed::BackedUp);
    // Half of the room, and what was there before it was counted.
    assert!((MAX_WAITING / 2..MAX_WAITING / 2 + BACKED_UP).contains(&alone));
    assert_eq!(outbox.push_data(&signal(1, 1000)), Pushed::Dropped);
}

#[test]
fn whatever_the_loud_hubs_have_waiting_there_is_room_for_the_quiet_one() {
    let outbox = Outbox::default();
    for _ in 0..3 {
        for source in 1..=4 {
            push_while(&outbox, source, Pushed::BackedUp);
            push_while(&outbox, source, Pushed::Taken);
        }
    }
    for _ in 0..100 {
        assert_eq!(outbox.push_data(&signal(9, 1000)), Pushed::BackedUp);
    }
    assert!(outbox.lanes.lock().data.bytes <= MAX_WAITING);
    assert!(of_hub(&outbox, 4) > 100_000);
    while poll(&outbox).is_ready() {}
    let lanes = outbox.lanes.lock();
    assert_eq!(lanes.data.bytes, 0);
    assert!(!lanes.shares.is_counting());
}

#[test]
fn control_and_acknowledgements_wait_behind_little_and_a_link_that_is_written_is_backed_up_no_more()
{
    let outbox = Outbox::default();
    push_while(&outbox, 1, Pushed::Taken);
    assert_eq!(outbox.push_data(&ack(7)), Pushed::Taken);
    outbox.put_control(Bytes::from_static(b"control"));
    let mut rounds = 0;
    while let Poll::Ready(Work::Write { messages, control }) = poll(&outbox) {
        assert_eq!(control, rounds == 0);
        if rounds == 0 {
            assert_eq!(messages[0], &b"control"[..]);
            assert_eq!(wire::decode_data(&messages[1]).unwrap(), [ack(7)]);
        }
        rounds += 1;
        let bytes: usize = messages.iter().map(Bytes::len).sum();
        assert!(bytes <= AT_ONCE + 2 * BATCH, "{bytes} bytes at once");
        let waiting = outbox.lanes.lock().data.bytes;
        assert_eq!(outbox.is_backed_up(), waiting > BACKED_UP / 2);
    }
    assert!(rounds > BACKED_UP / (AT_ONCE + 2 * BATCH));
    assert!(!outbox.is_backed_up());
}

#[test]
fn acknowledgements_that_nobody_takes_are_bounded() {
    let outbox = Outbox::default();
    push_while(&outbox, 1, Pushed::Taken);
    let taken = (0..u64::MAX).take_while(|n| outbox.push_data(&ack(*n)) == Pushed::Taken);
    assert!(taken.count() > 1000);
    assert!(outbox.lanes.lock().acks.bytes < MAX_ACKS + 200);
}

#[test]
fn closing_comes_after_what_waits() {
    let outbox = Outbox::default();
    outbox.put_control(Bytes::from_static(b"control"));
    outbox.close(Bytes::from_static(b"bye"));
    assert!(!outbox.takes_control());
    assert_eq!(
        poll(&outbox),
        Poll::Ready(Work::Write {
            messages: vec![Bytes::from_static(b"control")],
            control: true
        })
    );
    assert_eq!(
        poll(&outbox),
        Poll::Ready(Work::Close(Bytes::from_static(b"bye")))
    );
}
