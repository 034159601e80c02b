use std::time::Duration;

use tokio::time::advance;

use super::*;

const KIB: usize = 1024;

fn intake(budget: usize) -> Arc<Intake> {
    Arc::new(Intake::new(1 << 20, budget))
}

/// A message of which this many bytes have arrived, in pieces, and more will follow.
fn begun(intake: &Arc<Intake>, bytes: usize) -> Partial {
    let mut message = Partial::new();
    for _ in 0..bytes / KIB {
        message.add(&[b'x'; KIB], 1 << 20, intake);
    }
    message
}

#[test]
fn a_message_in_pieces_is_whole_in_the_end_and_gives_its_room_back() {
    let intake = intake(256 * KIB);
    for length in [0, 1, FREE_BYTES, FREE_BYTES + 1, 100 * KIB] {
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
        let mut message = Partial::new();
        let mut left = length as u64;
        for piece in bytes.chunks(7000) {
            left -= piece.len() as u64;
            message.add(piece, left, &intake);
        }
        assert_eq!(intake.taken() > 0, length > FREE_BYTES, "{length}");
        assert_eq!(message.finish().expect("there is space"), bytes);
        assert_eq!(intake.taken(), 0);
    }
}

#[test]
fn what_is_counted_is_what_is_allocated_and_never_more_than_the_message() {
    let intake = intake(256 * KIB);
    let mut message = Partial::new();
    for n in 1..=100 {
        message.add(&[b'x'; KIB], (100 - n) * KIB as u64, &intake);
        assert!(intake.taken() <= 100 * KIB);
        if let Collected::Counted(ticket) = &message.collected
            && let Content::Here(bytes) = &*ticket.content.lock()
        {
            assert_eq!(bytes.capacity(), intake.taken());
        }
    }
    drop(message);
    assert_eq!(intake.taken(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_holds_the_most_for_the_longest_gives_way_and_others_notice_nothing() {
    let intake = intake(256 * KIB);
    let slow: Vec<Partial> = (0..4).map(|_| begun(&intake, 64 * KIB)).collect();
    assert_eq!(intake.taken(), 256 * KIB);
    advance(Duration::from_secs(5)).await;
    for _ in 0..10 {
        let whole = begun(&intake, 60 * KIB).finish().expect("there is space");
        assert_eq!(whole.len(), 60 * KIB);
        assert!(intake.taken() <= 256 * KIB);
    }
    let lost = slow
        .into_iter()
        .filter_map(|message| message.finish().err());
    let lost: Vec<_> = lost.collect();
    assert_eq!(lost.len(), 1, "one makes space for all that are quick");
    assert_eq!((lost[0].why, lost[0].size), (Why::NoSpace, 64 * KIB as u64));
    assert_eq!(intake.taken(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_gave_way_is_read_past_and_takes_nothing_more() {
    let intake = intake(64 * KIB);
    let mut slow = begun(&intake, 40 * KIB);
    advance(Duration::from_secs(1)).await;
    let quick = begun(&intake, 40 * KIB);
    let taken = intake.taken();
    slow.add(&[b'y'; 30 * KIB], 10, &intake);
    slow.add(b"0123456789", 0, &intake);
    assert_eq!(intake.taken(), taken);
    let unread = slow.finish().expect_err("it gave way");
    assert_eq!(unread.size, 70 * KIB as u64 + 10);
    assert_eq!(unread.ends.head, [b'x'; END_BYTES]);
    assert_eq!(unread.ends.tail.len(), END_BYTES);
    assert!(unread.ends.tail.ends_with(b"yy0123456789"));
    assert!(quick.finish().is_ok());
}

#[test]
fn a_message_that_alone_is_more_than_there_is_room_for_is_read_past() {
    let intake = intake(64 * KIB);
    let message = begun(&intake, 100 * KIB);
    assert!(message.is_past());
    assert_eq!(intake.taken(), 0);
}

#[test]
fn the_ends_of_what_is_read_past_overlap_nowhere() {
    let intake = intake(0);
    let bytes: Vec<u8> = (0..3000).map(|n| (n % 251) as u8).collect();
    for length in [0, 1, END_BYTES, END_BYTES + 1, 2 * END_BYTES, 3000] {
        for piece in [1, 7, 600, 3000] {
            let bytes = bytes.get(..length).expect("enough of them");
            let mut message = Partial::new();
            message.read_past();
            for piece in bytes.chunks(piece) {
                message.add(piece, 0, &intake);
            }
            let Ends { head, tail } = message.finish().expect_err("it is read past").ends;
            assert_eq!(head, bytes[..length.min(END_BYTES)]);
            let rest = &bytes[length.min(END_BYTES)..];
            assert_eq!(tail, rest[rest.len().saturating_sub(END_BYTES)..]);
        }
    }
}
