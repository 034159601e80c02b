use std::future::poll_fn;

use futures::{FutureExt, SinkExt};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::Frame as Raw;

use super::super::intake::Why;
use super::*;

const MAX: usize = 1000;

fn socket_over(ours: DuplexStream, ahead: &[u8]) -> Socket<DuplexStream> {
    Socket::new(ours, ahead, Arc::new(Intake::new(MAX, 4 * MAX)))
}

async fn pair() -> (Socket<DuplexStream>, WebSocketStream<DuplexStream>) {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let client = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
    (socket_over(ours, &[]), client)
}

async fn next(socket: &mut Socket<DuplexStream>) -> Result<Incoming, ReadError> {
    loop {
        match socket.next_incoming()? {
            Some(Incoming::Fragment) => continue,
            Some(incoming) => return Ok(incoming),
            None => {}
        }
        let count = poll_fn(|cx| socket.poll_fill(cx)).await.expect("it reads");
        assert_ne!(count, 0, "the stream ended");
    }
}

fn fragment(text: &'static str, opcode: Data, last: bool) -> Message {
    Message::Frame(Raw::message(text, OpCode::Data(opcode), last))
}

#[tokio::test]
async fn messages_in_pieces_are_put_together_around_pings() {
    let (mut socket, mut client) = pair().await;
    for message in [
        fragment("he", Data::Text, false),
        Message::Ping("?".into()),
        fragment("ll", Data::Continue, false),
        fragment("o", Data::Continue, true),
        Message::text("next"),
    ] {
        client.send(message).await.expect("it is sent");
    }
    assert_eq!(next(&mut socket).await, Ok(Incoming::Ping));
    assert_eq!(next(&mut socket).await, Ok(Incoming::Text("hello".into())));
    assert_eq!(next(&mut socket).await, Ok(Incoming::Text("next".into())));
}

/// The message that was read past.
async fn unread(socket: &mut Socket<DuplexStream>) -> ReadPast {
    match next(socket).await {
        Ok(Incoming::ReadPast(unread)) => *unread,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_over_the_limit_is_read_past_in_pieces_or_not_and_what_follows_is_read() {
    let half: &'static str = Box::leak("x".repeat(MAX / 2 + 1).into_boxed_str());
    for messages in [
        vec![
            fragment(half, Data::Text, false),
            Message::Ping("?".into()),
            fragment(half, Data::Continue, false),
            fragment(half, Data::Continue, true),
        ],
        vec![Message::Ping("?".into()), Message::text(half.repeat(3))],
    ] {
        let (mut socket, mut client) = pair().await;
        for message in messages {
            client.send(message).await.expect("it is sent");
        }
        let next_one = client.send(Message::text("next")).await;
        next_one.expect("it is sent");
        assert_eq!(next(&mut socket).await, Ok(Incoming::Ping));
        let unread = unread(&mut socket).await;
        assert_eq!(
            (unread.why, unread.size),
            (Why::TooLong, 3 * half.len() as u64)
        );
        assert_eq!(next(&mut socket).await, Ok(Incoming::Text("next".into())));
    }
}

#[tokio::test]
async fn reading_past_holds_next_to_nothing_and_is_told_of_as_it_goes_on() {
    let (mut socket, mut client) = pair().await;
    let length = 20 * MAX;
    let writer = tokio::spawn(async move {
        let sent = client.send(Message::text("x".repeat(length))).await;
        sent.expect("it is sent");
        client
    });
    let mut told = 0;
    loop {
        match socket.next_incoming().expect("a fit frame") {
            Some(Incoming::Fragment) => told += 1,
            Some(Incoming::ReadPast(unread)) => break assert_eq!(unread.size, length as u64),
            Some(other) => panic!("{other:?}"),
            None => drop(poll_fn(|cx| socket.poll_fill(cx)).await.expect("it reads")),
        }
        assert!(socket.intake.taken() == 0 && socket.inbox.len() <= READ_BYTES);
    }
    assert!(told >= 1, "{told}");
    assert!(socket.arriving.is_none());
    writer.await.expect("all is sent");
}

#[tokio::test]
async fn a_message_of_the_greatest_length_is_taken_however_it_is_cut() {
    for cut in [1, 7, MAX - 1, MAX] {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        let mut socket = socket_over(ours, &[]);
        let text: String = "0123456789".repeat(MAX / 10);
        let pieces: Vec<_> = text.as_bytes().chunks(cut).collect();
        for (n, piece) in pieces.iter().enumerate() {
            let last = if n + 1 == pieces.len() { 0x80 } else { 0 };
            let opcode = if n == 0 { 1 } else { 0 };
            let mut frame = vec![last | opcode];
            match u8::try_from(piece.len()) {
                Ok(short @ ..126) => frame.push(0x80 | short),
                _ => {
                    frame.push(0x80 | 126);
                    frame.extend(u16::try_from(piece.len()).expect("two bytes").to_be_bytes());
                }
            }
            let mask = [1, 2, 3, 4];
            frame.extend(mask);
            frame.extend(
                piece
                    .iter()
                    .zip(mask.into_iter().cycle())
                    .map(|(b, m)| b ^ m),
            );
            theirs.write_all(&frame).await.expect("it is written");
        }
        assert_eq!(
            next(&mut socket).await,
            Ok(Incoming::Text(text.into())),
            "{cut}"
        );
    }
}

#[tokio::test]
async fn what_announces_more_than_is_read_past_and_a_length_that_is_none_are_refused() {
    let head = |length: u64| [&[0x81, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat();
    for (length, why) in [
        (LONGEST_READ_PAST + 1, ReadError::TooLong),
        ((1 << 63) - 1, ReadError::TooLong),
        (1 << 63, ReadError::Protocol),
        (u64::MAX, ReadError::Protocol),
    ] {
        let (ours, _theirs) = tokio::io::duplex(64);
        let mut socket = socket_over(ours, &head(length));
        assert_eq!(next(&mut socket).await, Err(why), "{length}");
    }
}

#[tokio::test]
async fn each_fragment_is_heard_of_before_its_message_is_whole() {
    let (mut socket, mut client) = pair().await;
    for (part, opcode, last) in [
        ("a", Data::Text, false),
        ("", Data::Continue, false),
        ("b", Data::Continue, true),
    ] {
        let sent = client.send(fragment(part, opcode, last)).await;
        sent.expect("it is sent");
    }
    let mut heard = Vec::new();
    while heard.len() < 3 {
        match socket.next_incoming().expect("fit frames") {
            Some(incoming) => heard.push(incoming),
            None => drop(poll_fn(|cx| socket.poll_fill(cx)).await),
        }
    }
    let whole = Incoming::Text("ab".into());
    assert_eq!(heard, [Incoming::Fragment, Incoming::Fragment, whole]);
}

#[tokio::test]
async fn frames_against_the_protocol_are_refused() {
    let unmasked: &[u8] = &[0x81, 0x01, b'x'];
    let reserved_opcode: &[u8] = &[0x83, 0x80, 0, 0, 0, 0];
    let stray_continuation: &[u8] = &[0x80, 0x80, 0, 0, 0, 0];
    let split_ping: &[u8] = &[0x09, 0x80, 0, 0, 0, 0];
    let long_ping: &[u8] = &[0x89, 0xfe, 0x00, 0x7e, 0, 0, 0, 0];
    let text_in_text: &[u8] = &[0x01, 0x80, 0, 0, 0, 0, 0x81, 0x80, 0, 0, 0, 0];
    for bytes in [
        unmasked,
        reserved_opcode,
        stray_continuation,
        split_ping,
        long_ping,
        text_in_text,
    ] {
        let (ours, _theirs) = tokio::io::duplex(64);
        let mut socket = socket_over(ours, bytes);
        assert_eq!(
            next(&mut socket).await,
            Err(ReadError::Protocol),
            "{bytes:?}"
        );
    }
}

#[tokio::test]
async fn all_that_waits_is_written_and_no_buffer_is_kept() {
    let (mut socket, mut client) = pair().await;
    let texts: Vec<_> = [0, 1, 125, 126, 65_535, 65_536]
        .map(|n| "é".repeat(n / 2))
        .into();
    let sizes = texts.clone();
    let reader = tokio::spawn(async move {
        for text in texts {
            let message = futures::StreamExt::next(&mut client).await;
            assert_eq!(
                message.expect("it goes on").expect("a message"),
                Message::text(text)
            );
        }
        client
    });
    for text in &sizes {
        socket.put_text(text);
    }
    poll_fn(|cx| socket.poll_write(cx))
        .await
        .expect("it writes");
    let mut client = reader.await.expect("all was read");
    client.send(Message::text("x")).await.expect("it is sent");
    assert_eq!(next(&mut socket).await, Ok(Incoming::Text("x".into())));
    assert_eq!((socket.out.capacity(), socket.inbox.capacity()), (0, 0));
}

#[tokio::test]
async fn bytes_that_a_stream_takes_show_life_only_once_it_took_no_more() {
    let (ours, mut theirs) = tokio::io::duplex(8);
    let ours = tokio::io::BufWriter::with_capacity(1000, ours);
    let mut socket = Socket::new(ours, &[], Arc::new(Intake::new(MAX, 4 * MAX)));
    for _ in 0..3 {
        socket.put_text("some words");
        assert!(poll_fn(|cx| socket.poll_write(cx)).now_or_never().is_none());
        assert_eq!(socket.moves(), 0);
    }
    let mut all = [0; 36];
    let read = theirs.read_exact(&mut all);
    let written = poll_fn(|cx| socket.poll_write(cx));
    let (read, written) = tokio::join!(read, written);
    read.expect("it is open");
    written.expect("it is open");
    assert_ne!(socket.moves(), 0);
}

#[tokio::test]
async fn a_ping_is_answered_with_its_own_words() {
    let (mut socket, mut client) = pair().await;
    client
        .send(Message::Ping("token".into()))
        .await
        .expect("it is sent");
    assert_eq!(next(&mut socket).await, Ok(Incoming::Ping));
    poll_fn(|cx| socket.poll_write(cx))
        .await
        .expect("it writes");
    let answer = futures::StreamExt::next(&mut client).await;
    assert_eq!(
        answer.expect("it goes on").expect("a message"),
        Message::Pong("token".into())
    );
}

#[tokio::test]
async fn a_flood_of_pings_costs_no_memory() {
    let (ours, mut theirs) = tokio::io::duplex(1 << 20);
    let mut socket = socket_over(ours, &[]);
    let ping = [vec![0x89, 0xfd, 0, 0, 0, 0], vec![b'x'; 125]].concat();
    for _ in 0..2000 {
        theirs.write_all(&ping).await.expect("it is written");
    }
    for _ in 0..2000 {
        assert_eq!(next(&mut socket).await, Ok(Incoming::Ping));
    }
    assert!(socket.waiting() <= PONG_BACKLOG_BYTES + MAX_CONTROL_BYTES + 2);
}

#[tokio::test]
async fn the_close_frame_has_its_code_and_its_words() {
    let (ours, mut theirs) = tokio::io::duplex(1 << 10);
    let mut socket = socket_over(ours, &[]);
    socket.put_close(CloseCode::Again, "later");
    poll_fn(|cx| socket.poll_write(cx))
        .await
        .expect("it writes");
    drop(socket);
    let mut bytes = Vec::new();
    theirs.read_to_end(&mut bytes).await.expect("it is read");
    assert_eq!(bytes, [b"\x88\x07\x03\xf5".as_slice(), b"later"].concat());
}

/// The masked close frame with this payload; the mask is zero.
fn close_with(payload: &[u8]) -> Vec<u8> {
    let length = 0x80 | u8::try_from(payload.len()).expect("a control frame");
    [&[0x88, length, 0, 0, 0, 0], payload].concat()
}

#[tokio::test]
async fn a_close_is_answered_with_its_own_code_and_words_and_nothing_follows() {
    let texts: [&[u8]; 6] = [
        b"",
        b"\x03\xe8",
        b"\x03\xe9going away",
        b"\x03\xf6",
        b"\x0b\xb8ours",
        b"\x13\x87\xc3\xa9",
    ];
    for payload in texts {
        let (ours, mut theirs) = tokio::io::duplex(1 << 10);
        let mut socket = socket_over(ours, &close_with(payload));
        assert_eq!(next(&mut socket).await, Ok(Incoming::Close));
        socket.put_text("too late");
        socket.put_close(CloseCode::Normal, "and so is this");
        let written = poll_fn(|cx| socket.poll_write(cx)).await;
        written.expect("it writes");
        drop(socket);
        let mut bytes = Vec::new();
        theirs.read_to_end(&mut bytes).await.expect("it is read");
        let length = u8::try_from(payload.len()).expect("a control frame");
        assert_eq!(bytes, [&[0x88, length], payload].concat());
    }
}

#[tokio::test]
async fn a_close_that_answers_ours_is_not_answered() {
    let (ours, mut theirs) = tokio::io::duplex(1 << 10);
    let mut socket = socket_over(ours, &close_with(b"\x03\xf4"));
    socket.put_close(CloseCode::Restart, "");
    assert_eq!(next(&mut socket).await, Ok(Incoming::Close));
    let written = poll_fn(|cx| socket.poll_write(cx)).await;
    written.expect("it writes");
    drop(socket);
    let mut bytes = Vec::new();
    theirs.read_to_end(&mut bytes).await.expect("it is read");
    assert_eq!(bytes, b"\x88\x02\x03\xf4");
}

#[tokio::test]
async fn a_close_with_a_code_that_may_not_be_sent_or_words_that_are_no_text_is_refused() {
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 0xffff] {
        let (ours, _theirs) = tokio::io::duplex(64);
        let mut socket = socket_over(ours, &close_with(&code.to_be_bytes()));
        assert_eq!(next(&mut socket).await, Err(ReadError::Protocol), "{code}");
    }
    for (payload, why) in [
        (&b"\x03"[..], ReadError::Protocol),
        (b"\x03\xe8\xff", ReadError::NotUtf8),
        (b"\x03\xe8\xed\xa0\xbd", ReadError::NotUtf8),
    ] {
        let (ours, _theirs) = tokio::io::duplex(64);
        let mut socket = socket_over(ours, &close_with(payload));
        assert_eq!(next(&mut socket).await, Err(why), "{payload:?}");
    }
}

#[test]
fn a_small_part_of_a_long_message_does_not_keep_all_of_it() {
    let long = Utf8Bytes::from(format!("{}end", "x".repeat(1000)));
    let whole: &Bytes = long.as_ref();
    let inside = |part: &Bytes| whole.as_ptr_range().contains(&part.as_ptr());
    assert!(!inside(&share(&long, long.get(1000..).expect("the end"))));
    assert!(inside(&share(&long, long.get(100..).expect("most of it"))));
}

proptest! {
    #[test]
    fn no_bytes_make_reading_panic_or_go_on_for_ever(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let (ours, _theirs) = tokio::io::duplex(64);
        let mut socket = socket_over(ours, &bytes);
        let mut seen = 0;
        while let Ok(Some(_)) = socket.next_incoming() {
            seen += 1;
        }
        prop_assert!(seen <= bytes.len());
    }

    #[test]
    fn unmasking_is_the_textbook_s(payload in any::<Vec<u8>>(), mask in any::<[u8; 4]>()) {
        let expected: Vec<_> = payload.iter().enumerate().map(|(i, b)| b ^ mask[i % 4]).collect();
        let mut unmasked = payload;
        unmask(&mut unmasked, mask);
        prop_assert_eq!(unmasked, expected);
    }
}
