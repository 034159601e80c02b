//! Frames that break the WebSocket protocol or the hub's limits on it.

use std::time::Duration;

use crate::arena::{Arena, counted, crowd};
use crate::hub_process::HubProcess;
use crate::raw::{BINARY, CLOSE, End, PING, PONG, Raw, TEXT, frame, fresh_id, head};

const CLOSED: &str = "hubmesh_connections_closed_total";
const TEN_MEGABYTES: usize = 10 * 1024 * 1024;
/// How many attackers send the same bytes at once.
const CROWD: usize = 8;

/// The bytes of an attack, and the hub's answer: a close frame, in some cases after a complaint.
struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    complaint: Option<&'static str>,
    close: (u16, &'static str),
    reason: &'static str,
}

impl Case {
    fn protocol(name: &'static str, bytes: Vec<u8>) -> Self {
        Case {
            name,
            bytes,
            complaint: None,
            close: (1002, "WebSocket protocol error"),
            reason: "protocol",
        }
    }

    fn too_long(name: &'static str, bytes: Vec<u8>) -> Self {
        Case {
            name,
            bytes,
            complaint: Some("message-too-long"),
            close: (1009, "Message too long"),
            reason: "message-too-long",
        }
    }

    fn not_utf8(name: &'static str, bytes: Vec<u8>) -> Self {
        Case {
            name,
            bytes,
            complaint: Some("not-utf8"),
            close: (1007, "Text that is not UTF-8"),
            reason: "not-utf8",
        }
    }

    async fn run(&self, hub: &HubProcess) {
        let label = format!("reason=\"{}\"", self.reason);
        counted(hub, (CLOSED, &label), CROWD as u64, async {
            for end in crowd(CROWD, async |_| self.attack(hub).await).await {
                assert_eq!(end, self.expected(), "{}", self.name);
            }
        })
        .await;
    }

    async fn attack(&self, hub: &HubProcess) -> End {
        let mut raw = Raw::peer(hub, &fresh_id()).await;
        // The hub may close the connection before it has read all bytes.
        let _ = raw.send(&self.bytes).await;
        raw.end().await
    }

    fn expected(&self) -> End {
        let (code, text) = self.close;
        End {
            complaints: self.complaint.iter().map(ToString::to_string).collect(),
            close: Some((code, text.to_owned())),
        }
    }
}

/// The whole head of a frame, without its payload.
fn with_mask(mut head: Vec<u8>) -> Vec<u8> {
    head.extend_from_slice(&[0; 4]);
    head
}

async fn withstands(cases: Vec<Case>) {
    let mut arena = Arena::open().await;
    for case in cases {
        arena
            .attack(case.name, async |hub| case.run(hub).await)
            .await;
    }
}

#[tokio::test]
async fn frames_against_the_protocol_end_their_connection_with_1002() {
    let unmasked = [head(TEXT, 2, 0), b"{}".to_vec()].concat();
    let interrupted = [frame(0x01, b"{"), frame(TEXT, b"}")].concat();
    withstands(vec![
        Case::protocol("unmasked frames", unmasked),
        Case::protocol("the first reserved bit", frame(TEXT | 0x40, b"{}")),
        Case::protocol("the second reserved bit", frame(TEXT | 0x20, b"{}")),
        Case::protocol("the third reserved bit", frame(TEXT | 0x10, b"{}")),
        Case::protocol("a reserved data opcode", frame(0x83, b"{}")),
        Case::protocol("a reserved control opcode", frame(0x8b, b"")),
        Case::protocol("the rest of nothing", frame(0x80, b"{}")),
        Case::protocol("a message within a message", interrupted),
        Case::protocol("a ping in fragments", frame(0x09, b"")),
        Case::protocol("a ping of 126 bytes", frame(PING, &[b'x'; 126])),
        Case::protocol(
            "HTTP once more",
            b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n".to_vec(),
        ),
        Case::protocol("noise", vec![0xff; 4096]),
    ])
    .await;
}

#[tokio::test]
async fn messages_that_are_too_long_are_refused_alone() {
    let ten = vec![b'x'; TEN_MEGABYTES];
    let mut fragments = frame(0x01, &[b'x'; 64 * 1024]);
    for last in [0x00, 0x00, 0x00, 0x80] {
        fragments.extend(frame(last, &[b'x'; 64 * 1024]));
    }
    let mut arena = Arena::open().await;
    for (name, bytes) in [
        ("messages of 10 MB", frame(TEXT, &ten)),
        ("fragments that add up", fragments),
    ] {
        arena
            .attack(name, async |hub| {
                crowd(CROWD, async |_| {
                    let mut raw = Raw::member(hub, &fresh_id(), "long").await;
                    raw.send(&bytes).await.expect("a live hub");
                    let told = raw.message_of("error").await;
                    assert_eq!(told["code"], "message-too-long", "{told}");
                    raw.pong().await;
                })
                .await;
            })
            .await;
    }
}

#[tokio::test]
async fn messages_that_never_end_are_binary_or_not_text_end_their_connection() {
    let binary = Case {
        name: "binary messages",
        bytes: frame(BINARY, &[0; 64]),
        complaint: Some("binary"),
        close: (1003, "Only text messages are understood"),
        reason: "binary",
    };
    let split = [frame(0x01, &[0xc3]), frame(0x80, &[0x28])].concat();
    withstands(vec![
        binary,
        Case::too_long("a length of 2^62", with_mask(head(TEXT, 1 << 62, 0x80))),
        Case::protocol("a length of 2^63", with_mask(head(TEXT, 1 << 63, 0x80))),
        Case::protocol(
            "a length of 2^64 - 1",
            with_mask(head(BINARY, u64::MAX, 0x80)),
        ),
        Case::not_utf8("bytes that are no text", frame(TEXT, &[0xff, 0xfe, 0x80])),
        Case::not_utf8(
            "half a character",
            frame(
                TEXT,
                "{\"type\":\"é".as_bytes().split_last().expect("text").1,
            ),
        ),
        Case::not_utf8("half a character in each of two fragments", split),
        Case::not_utf8("a surrogate", frame(TEXT, &[b'"', 0xed, 0xa0, 0x80, b'"'])),
    ])
    .await;
}

#[tokio::test]
async fn a_close_frame_is_answered_with_itself_and_a_bad_one_with_what_is_wrong() {
    let payload = |code: u16, words: &[u8]| [&code.to_be_bytes(), words].concat();
    let bad = |name, payload: &[u8]| Case::protocol(name, frame(CLOSE, payload));
    let mut cases = vec![
        bad("a close frame with half a code", &[3]),
        bad("close code 0", &payload(0, b"")),
        bad("close code 1005", &payload(1005, b"")),
        bad("close code 2999", &payload(2999, b"x")),
        bad("close code 65535", &payload(65_535, b"")),
    ];
    let not_text = frame(CLOSE, &payload(1000, &[0xff, 0xff]));
    cases.push(Case::not_utf8(
        "words of a close that are no text",
        not_text,
    ));
    for (code, words) in [(1000, ""), (1001, "going away"), (3000, "é"), (4999, "bye")] {
        cases.push(Case {
            name: "a close frame",
            bytes: frame(CLOSE, &payload(code, words.as_bytes())),
            complaint: None,
            close: (code, words),
            reason: "peer-closed",
        });
    }
    withstands(cases).await;
}

/// Sends `first`, and then `again` repeatedly, until the hub closes the connection.
async fn flood(hub: &HubProcess, first: &[u8], again: &[u8]) -> End {
    /// The most bytes that are sent. After its close frame, the hub still reads for a moment and drops the bytes.
    const MOST: usize = 16 * 1024 * 1024;
    let mut raw = Raw::member(hub, &fresh_id(), "floods").await;
    raw.send(first).await.expect("a live hub");
    let batch = again.repeat(64 * 1024 / again.len());
    let mut sent = 0;
    while sent < MOST && raw.send(&batch).await.is_ok() {
        sent += batch.len();
    }
    raw.end().await
}

async fn is_cut_off(name: &str, first: Vec<u8>, again: Vec<u8>) {
    let mut arena = Arena::open().await;
    arena
        .attack(name, async |hub| {
            counted(hub, (CLOSED, "reason=\"rate-abuse\""), 4, async {
                for end in crowd(4, async |_| flood(hub, &first, &again).await).await {
                    // Bytes that were still on their way may have reset the connection. Then the close frame is lost.
                    if let Some(close) = end.close {
                        assert_eq!(close, (1008, "Too many messages".to_owned()), "{name}");
                    }
                }
            })
            .await;
        })
        .await;
}

#[tokio::test]
async fn a_flood_of_pings_is_cut_off() {
    is_cut_off("pings", Vec::new(), frame(PING, b"are you there?")).await;
}

#[tokio::test]
async fn a_flood_of_pongs_is_cut_off() {
    is_cut_off("pongs", Vec::new(), frame(PONG, b"")).await;
}

#[tokio::test]
async fn a_flood_of_empty_messages_is_cut_off() {
    is_cut_off("empty messages", Vec::new(), frame(TEXT, b"")).await;
}

#[tokio::test]
async fn a_message_that_never_ends_is_cut_off() {
    is_cut_off("empty fragments", frame(0x01, b"{"), frame(0x00, b"")).await;
}

#[tokio::test]
async fn a_message_that_begins_and_stays_away_is_no_announcement() {
    let mut arena = Arena::open().await;
    arena
        .attack("a fragment and then silence", async |hub| {
            let mut raw = Raw::peer(hub, &fresh_id()).await;
            let begun = raw.send_frame(0x01, &[b'x'; 32 * 1024]).await;
            begun.expect("a live hub");
            let closing = tokio::time::timeout(Duration::from_secs(5), raw.end()).await;
            let end = closing.expect("closed in time");
            assert_eq!(end.complaints, ["announce-timeout"]);
            let close = (1008, "No announcement in time".to_owned());
            assert_eq!(end.close, Some(close));
        })
        .await;
}
