//! Text messages in correct frames whose content is an attack: malformed JSON, names, and identities.

use serde_json::{Value, json};

use crate::arena::{Arena, count, counted, crowd};
use crate::hub_process::{HubProcess, eventually};
use crate::raw::{Raw, fresh_id};

const MALFORMED: (&str, &str) = ("hubmesh_messages_received_total", "type=\"malformed\"");
const SOMEONE: &str = "00000000000000000000000000000000000000aa";

/// The complaint that a message causes; the connection stays open.
async fn complaint(peer: &mut Raw, text: &str) -> Value {
    peer.say(text).await.expect("a live hub");
    let complaint = peer.message_of("error").await;
    peer.pong().await;
    complaint
}

async fn is_told(hub: &HubProcess, network: &str, cases: &[(&str, String)]) {
    let mut peer = Raw::member(hub, &fresh_id(), network).await;
    for (code, text) in cases {
        let shown: String = text.chars().take(80).collect();
        let answer = complaint(&mut peer, text).await;
        assert_eq!(answer["code"], *code, "{shown}: {answer}");
        assert!(answer.to_string().len() < 1024, "{shown}: echoed");
    }
}

fn nested(depth: usize) -> String {
    "[".repeat(depth) + &"]".repeat(depth)
}

fn offer(data: &str) -> String {
    format!(r#"{{"type":"offer","targetPeerId":"{SOMEONE}","data":{data}}}"#)
}

#[tokio::test]
async fn malformed_json_is_complained_of_and_the_connection_goes_on() {
    let mut arena = Arena::open().await;
    let deep = "{\"a\":".repeat(10_000);
    let cases: Vec<(&str, String)> = [
        ("not-json", ""),
        ("not-json", "{"),
        ("not-json", "\0"),
        ("not-json", "{'type':'ping'}"),
        ("not-json", r#"{"type":"announce",}"#),
        ("not-json", r#"{"type":"ping"} {"type":"ping"}"#),
        ("not-json", "{\"type\":\"pi\nng\"}"),
        ("not-json", r#"{"type":"ping","data":1e999999999,"x":-}"#),
        ("not-json", &deep),
        ("not-an-object", "[]"),
        ("not-an-object", "null"),
        ("not-an-object", "\"ping\""),
        ("not-an-object", &nested(10_000)),
        ("missing-field", "{}"),
        ("missing-field", r#"{"type":"offer","data":{}}"#),
        ("missing-field", r#"{"type":null}"#),
        ("wrong-type", r#"{"type":1}"#),
        ("wrong-type", r#"{"type":{"type":"ping"}}"#),
        ("unsupported-type", r#"{"type":"\ud800"}"#),
        (
            "wrong-type",
            r#"{"type":"offer","targetPeerId":"","data":1}"#,
        ),
        (
            "wrong-type",
            r#"{"type":"offer","targetPeerId":["x"],"data":1}"#,
        ),
        ("wrong-type", r#"{"type":"announce","data":[1]}"#),
        ("duplicate-field", r#"{"type":"ping","type":"ping"}"#),
    ]
    .into_iter()
    .map(|(code, text)| (code, text.to_owned()))
    .collect();
    arena
        .attack("malformed JSON", async |hub| {
            // A message with an unknown type is well-formed.
            let malformed = cases.iter().filter(|(code, _)| *code != "unsupported-type");
            let many = 4 * malformed.count() as u64;
            counted(hub, MALFORMED, many, async {
                crowd(4, async |_| is_told(hub, "malformed", &cases).await).await
            })
            .await;
        })
        .await;
}

#[tokio::test]
async fn deeply_nested_data_is_refused_and_never_passed_on() {
    let mut arena = Arena::open().await;
    let objects = "{\"a\":".repeat(5_000) + "1" + &"}".repeat(5_000);
    let cases = [
        ("too-deep", offer(&nested(10_000))),
        ("too-deep", offer(&objects)),
        ("too-deep", offer(&nested(65))),
        (
            "too-deep",
            format!(r#"{{"type":"announce","data":{}}}"#, nested(10_000)),
        ),
    ];
    arena
        .attack("nesting", async |hub| {
            counted(hub, MALFORMED, 40, async {
                crowd(10, async |_| is_told(hub, "nested", &cases).await).await
            })
            .await;
        })
        .await;
    arena
        .attack("nesting where nobody looks", async |hub| {
            let mut peer = Raw::member(hub, &fresh_id(), "nested").await;
            let ping = format!(r#"{{"type":"ping","else":{}}}"#, nested(10_000));
            for _ in 0..20 {
                peer.say(&ping).await.expect("a live hub");
                peer.message_of("pong").await;
            }
        })
        .await;
}

#[tokio::test]
async fn nobody_passes_for_someone_else() {
    let mut arena = Arena::open().await;
    let forged = ("hubmesh_forged_total", "");
    arena
        .attack("forged identities", async |hub| {
            let victim = fresh_id();
            let mut victim_ear = Raw::member(hub, &victim, "forgers").await;
            let forger = fresh_id();
            let mut peer = Raw::member(hub, &forger, "forgers").await;
            victim_ear.message_of("peer-discovered").await;
            counted(hub, forged, 2, async {
                let signal = json!({"type": "offer", "fromPeerId": SOMEONE, "targetPeerId": victim, "data": 1});
                let answer = complaint(&mut peer, &signal.to_string()).await;
                assert_eq!(answer["code"], "forged-sender");
                let hub = r#"{"type":"announce","networkName":"forgers","data":{"isHub":true,"peerId":"me","n":1}}"#;
                let answer = complaint(&mut peer, hub).await;
                assert_eq!(answer["code"], "not-a-hub");
            })
            .await;
            let news = victim_ear.message_of("peer-discovered").await;
            assert_eq!(news["data"], json!({"peerId": forger, "isHub": false, "n": 1}));
            let inject = json!({"type": "peer-discovered", "networkName": "forgers", "data": {"peerId": SOMEONE, "isHub": true}});
            peer.say(&inject.to_string()).await.expect("a live hub");
            let itself = json!({"type": "offer", "targetPeerId": forger, "data": 1});
            assert_eq!(complaint(&mut peer, &itself.to_string()).await["code"], "own-id");
            let beyond = json!({"type": "offer", "targetPeerId": victim, "networkName": "global", "data": 1});
            assert_eq!(complaint(&mut peer, &beyond.to_string()).await["code"], "other-network");
            // No forged message was delivered: the next message that the victim receives is an honest offer.
            let honest = json!({"type": "offer", "targetPeerId": victim, "data": "honest"});
            peer.say(&honest.to_string()).await.expect("a live hub");
            let heard = victim_ear.message().await.expect("a live hub");
            assert_eq!((&heard["type"], &heard["data"]), (&json!("offer"), &json!("honest")));
            assert_eq!(heard["fromPeerId"], forger);
        })
        .await;
}

#[tokio::test]
async fn data_cannot_break_out_of_the_message_around_it() {
    let mut arena = Arena::open().await;
    arena
        .attack("data that would be envelopes", async |hub| {
            let target = fresh_id();
            let mut ear = Raw::member(hub, &target, "breakers").await;
            let mut peer = Raw::member(hub, &fresh_id(), "breakers").await;
            for data in [
                r#""\",\"fromPeerId\":\"x""#,
                r#"{"fromPeerId":"x","type":"connected"}"#,
                r#""\ud800""#,
                "\"\u{2028}\u{7f}\u{feff}\"",
                "-0.000e-400",
                "null",
            ] {
                let message =
                    format!(r#"{{"type":"answer","targetPeerId":"{target}","data":{data}}}"#);
                peer.say(&message).await.expect("a live hub");
                let text = loop {
                    let (_, text) = ear.next_frame().await.expect("a live hub");
                    let text = String::from_utf8(text).expect("UTF-8");
                    if text.starts_with(r#"{"type":"answer""#) {
                        break text;
                    }
                };
                assert!(
                    text.contains(&format!(r#""data":{data},"fromPeerId":""#)),
                    "{text}"
                );
                assert_eq!(text.matches("\"targetPeerId\"").count(), 1);
            }
        })
        .await;
}

#[tokio::test]
async fn network_names_are_bounded_and_never_break_a_page() {
    let mut arena = Arena::open().await;
    let long = |bytes: usize| {
        let name = "n".repeat(bytes);
        format!(r#"{{"type":"announce","networkName":"{name}"}}"#)
    };
    let cases = [
        ("wrong-type", long(129)),
        ("wrong-type", long(60_000)),
        (
            "wrong-type",
            r#"{"type":"announce","networkName":{}}"#.to_owned(),
        ),
        (
            "unsupported-type",
            format!(r#"{{"type":"{}"}}"#, "t".repeat(60_000)),
        ),
    ];
    arena
        .attack("long names", async |hub| {
            crowd(8, async |_| is_told(hub, "names", &cases).await).await;
        })
        .await;
    arena
        .attack("a name of 1 MB", async |hub| {
            let mut peer = Raw::member(hub, &fresh_id(), "names").await;
            let said = peer.say(&long(1024 * 1024)).await;
            said.expect("a live hub");
            assert_eq!(peer.message_of("error").await["code"], "message-too-long");
            peer.pong().await;
        })
        .await;
    arena
        .attack("strange names", async |hub| {
            let names = [
                "\0\u{1b}[2J\r\n",
                "\"}{,",
                "hubmesh_x{a=\"b\"} 1\n",
                "\u{202e}",
                "'; --",
            ];
            let mut peers = Vec::new();
            for name in names {
                peers.push(Raw::member(hub, &fresh_id(), name).await);
            }
            let page = hub.http_get("/metrics").await.json();
            for name in names {
                assert_eq!(page["peers"]["networks"][name], 1, "{page}");
            }
            assert_eq!(count(hub, "hubmesh_x", "").await, 0);
        })
        .await;
    arena
        .attack("an empty name is the default network", async |hub| {
            let mut peer = Raw::member(hub, &fresh_id(), "").await;
            peer.say(r#"{"type":"ping"}"#).await.expect("a live hub");
            assert_eq!(peer.message_of("pong").await["networkName"], "global");
        })
        .await;
}

#[tokio::test]
async fn a_peer_is_in_one_network_however_many_it_names() {
    let mut arena = Arena::open().await;
    arena
        .attack("many networks", async |hub| {
            crowd(8, async |place| {
                let mut peer = Raw::peer(hub, &fresh_id()).await;
                for number in 0..8 {
                    let name = format!("wander {place} {number}");
                    let announce = json!({"type": "announce", "networkName": name});
                    peer.say(&announce.to_string()).await.expect("a live hub");
                }
                peer.pong().await;
                // The last announcement may be decided after that, and the page is a moment old.
                eventually("it is in the last network alone", async || {
                    let page = hub.http_get("/metrics").await.json();
                    let networks = page["peers"]["networks"].as_object().expect("an object");
                    let mine = format!("wander {place} ");
                    let mine: Vec<_> = networks
                        .keys()
                        .filter(|name| name.starts_with(&mine))
                        .collect();
                    assert!(mine.len() <= 1, "{mine:?}");
                    mine == [&format!("wander {place} 7")]
                })
                .await;
            })
            .await;
        })
        .await;
}

#[tokio::test]
async fn announced_data_is_bounded_and_announcing_too_often_is_too() {
    let mut arena = Arena::open().await;
    let announce = |bytes: usize| {
        json!({"type": "announce", "networkName": "data", "data": {"x": "y".repeat(bytes)}})
            .to_string()
    };
    let cases = [
        ("announce-too-long", announce(1024)),
        ("announce-too-long", announce(60_000)),
    ];
    arena
        .attack("huge announcements", async |hub| {
            crowd(8, async |_| is_told(hub, "data", &cases).await).await;
        })
        .await;
    let limited = ("hubmesh_rate_limited_total", "");
    arena
        .attack("announcement floods", async |hub| {
            // Each announcement changes the data, and the hub has to tell an audience of four peers.
            let mut audience = Vec::new();
            for _ in 0..4 {
                audience.push(Raw::member(hub, &fresh_id(), "crowded").await);
            }
            counted(hub, limited, 100, async {
                crowd(4, async |_| {
                    let mut peer = Raw::member(hub, &fresh_id(), "crowded").await;
                    for number in 0..400 {
                        let data = json!({"n": number, "x": "y".repeat(900)});
                        let text =
                            json!({"type": "announce", "networkName": "crowded", "data": data});
                        peer.say(&text.to_string()).await.expect("a live hub");
                    }
                    loop {
                        let told = peer.message_of("error").await;
                        if told["code"] == "rate-limited" {
                            break;
                        }
                    }
                })
                .await
            })
            .await;
        })
        .await;
}
