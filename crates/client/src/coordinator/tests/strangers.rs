//! What others can have a peer do: asked by hand, by whoever knows the words.

use serde_json::{Value, json};

use super::*;

/// A peer whose signals the test writes and reads.
struct ByHand {
    to_it: mpsc::Sender<Incoming>,
    from_it: mpsc::Receiver<Outgoing>,
}

impl ByHand {
    fn register(coordinator: &Coordinator) -> Self {
        let (outgoing, from_it) = mpsc::channel(256);
        let (to_it, incoming) = mpsc::channel(256);
        let signaling = Signaling { outgoing, incoming };
        coordinator.register_with("bob", signaling).unwrap();
        Self { to_it, from_it }
    }

    async fn say(&self, from: &str, attempt: &str, more: Value) {
        let mut message = json!({"p2p": 1, "attempt": attempt});
        let fields = more.as_object().unwrap().clone();
        message.as_object_mut().unwrap().extend(fields);
        let data = serde_json::value::to_raw_value(&message).unwrap();
        let from = from.to_owned();
        self.to_it
            .send(Incoming::Signal { from, data })
            .await
            .unwrap();
    }

    async fn ask(&self, from: &str, attempt: &str, metadata: Option<&str>) {
        let end =
            json!({"possible": ["open"], "udp_blocked": false, "public": null, "relay": false});
        let (say, nonce) = ("ask", "00".repeat(16));
        let ask = json!({
            "say": say, "nonce": nonce, "end": end, "keep_alive_ms": 25_000, "metadata": metadata,
        });
        self.say(from, attempt, ask).await;
    }

    /// The next word of the peer, and its reason, if it has one.
    async fn hear(&mut self) -> (String, String, String) {
        let Outgoing { to, data, .. } = timeout(LIMIT, self.from_it.recv()).await.unwrap().unwrap();
        let said: Value = serde_json::from_str(data.get()).unwrap();
        let text = |field: &str| said[field].as_str().unwrap_or_default().to_owned();
        (to, text("say"), text("reason"))
    }

    /// Asks, and hears whether it is agreed to.
    async fn agrees(&mut self, from: &str, attempt: &str) -> bool {
        self.ask(from, attempt, None).await;
        let (to, said, reason) = self.hear().await;
        assert_eq!(to, from);
        match said.as_str() {
            "accept" => true,
            "refuse" => {
                assert!(reason.contains("already"), "{reason}");
                false
            }
            other => panic!("{other}"),
        }
    }
}

fn accepting() -> Coordinator {
    let bob = Coordinator::builder().build();
    let accepting = bob.clone();
    tokio::spawn(async move { while accepting.accept().await.is_some() {} });
    bob
}

#[tokio::test]
async fn one_peer_has_two_places_and_all_together_have_sixteen() {
    let bob = accepting();
    let mut hand = ByHand::register(&bob);
    assert!(hand.agrees("mallory", "1").await);
    assert!(hand.agrees("mallory", "2").await);
    for attempt in 3..20 {
        assert!(!hand.agrees("mallory", &attempt.to_string()).await);
    }
    assert!(hand.agrees("carol", "1").await, "there is space for others");
    for number in 0..13 {
        assert!(hand.agrees(&format!("peer {number}"), "1").await);
    }
    assert!(!hand.agrees("dave", "1").await, "sixteen");
}

#[tokio::test]
async fn whoever_gives_up_gives_the_place_back() {
    let bob = accepting();
    let mut hand = ByHand::register(&bob);
    for attempt in ["1", "2"] {
        assert!(hand.agrees("mallory", attempt).await);
    }
    hand.say("mallory", "1", json!({"say": "give-up"})).await;
    let freed = async {
        let mut attempt = 3;
        while !hand.agrees("mallory", &attempt.to_string()).await {
            attempt += 1;
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, freed).await.unwrap();
}

#[tokio::test]
async fn an_end_that_was_asked_gives_up_one_who_says_nothing_more_and_tells_it() {
    let limit = Duration::from_millis(200);
    let bob = Coordinator::builder().connection_timeout(limit).build();
    let accepting = bob.clone();
    tokio::spawn(async move { accepting.accept().await });
    let mut hand = ByHand::register(&bob);
    assert!(hand.agrees("mallory", "1").await);
    assert_eq!(hand.hear().await.1, "give-up");
    assert_eq!(bob.stats().failed, 1);
}

#[tokio::test]
async fn what_is_given_up_here_is_told_to_the_other_end() {
    let ada = Coordinator::builder().build();
    let mut hand = ByHand::register(&ada);
    let asking = async { timeout(Duration::from_millis(300), ada.connect_to_peer("carol")).await };
    let (given_up, first) = tokio::join!(asking, hand.hear());
    assert!(given_up.is_err(), "nobody answers");
    assert_eq!((first.0.as_str(), first.1.as_str()), ("carol", "ask"));
    assert_eq!(hand.hear().await.1, "give-up");
    let bob = accepting();
    let mut hand = ByHand::register(&bob);
    assert!(hand.agrees("mallory", "1").await);
    bob.unregister_peer("bob");
    assert_eq!(hand.hear().await.1, "give-up");
}

#[tokio::test]
async fn an_end_that_hears_that_the_other_gave_up_does_not_go_on() {
    let ada = Coordinator::builder().build();
    let mut hand = ByHand::register(&ada);
    let asking = ada.clone();
    let asking = tokio::spawn(async move { asking.connect_to_peer("carol").await });
    let Outgoing { data, .. } = timeout(LIMIT, hand.from_it.recv()).await.unwrap().unwrap();
    let said: Value = serde_json::from_str(data.get()).unwrap();
    let attempt = said["attempt"].as_str().unwrap();
    hand.say("carol", attempt, json!({"say": "give-up"})).await;
    let failed = timeout(LIMIT, asking).await.unwrap().unwrap();
    let told = matches!(&failed, Err(Error::Connect(ConnectFailure::Refused { reason, .. })) if reason.contains("gave up"));
    assert!(told, "{failed:?}");
}

#[tokio::test]
async fn where_nobody_accepts_or_too_many_wait_whoever_asks_is_refused_and_told_why() {
    let (ada, bob) = (
        Coordinator::builder().build(),
        Coordinator::builder().build(),
    );
    let (for_ada, for_bob, _) = wired("ada", "bob");
    ada.register_with("ada", for_ada).unwrap();
    bob.register_with("bob", for_bob).unwrap();
    let refused = |failed: &Result<Connected, Error>| matches!(failed, Err(Error::Connect(ConnectFailure::Refused { reason, .. })) if reason.contains("accepts no connections"));
    let failed = timeout(LIMIT, ada.connect_to_peer("bob")).await.unwrap();
    assert!(refused(&failed), "nobody has ever accepted: {failed:?}");
    // Once is enough; then they wait.
    let nobody = timeout(Duration::from_millis(1), bob.accept()).await;
    assert!(nobody.is_err());
    let mut made = Vec::new();
    let failed = loop {
        match timeout(LIMIT, ada.connect_to_peer("bob")).await.unwrap() {
            Ok(one) => made.push(one),
            failed => break failed,
        }
    };
    assert!(refused(&failed), "{failed:?}");
    assert_eq!(made.len(), ACCEPTED);
    assert!(bob.accept().await.is_some());
    let again = timeout(LIMIT, ada.connect_to_peer("bob")).await.unwrap();
    assert!(again.is_ok(), "there is space again: {again:?}");
}

#[tokio::test]
async fn metadata_has_a_bound_at_both_ends() {
    let bob = accepting();
    let mut hand = ByHand::register(&bob);
    let long = "x".repeat(5000);
    let failed = bob.connect_with("ada", Some(json!(long))).await;
    assert!(matches!(failed, Err(Error::Metadata { limit: 4096 })));
    hand.ask("mallory", "1", Some(&long)).await;
    let (_, said, reason) = hand.hear().await;
    assert_eq!(said, "refuse");
    assert!(reason.contains("4096"), "{reason}");
}

#[tokio::test]
async fn no_round_is_played_twice() {
    let bob = accepting();
    let mut hand = ByHand::register(&bob);
    assert!(hand.agrees("mallory", "1").await);
    // A way that fails at once, for want of a server that says where this end is seen.
    let step = json!({"method": "birthday", "many": "asked"});
    for round in [3, 3, 2, 4] {
        let next = json!({"say": "try", "round": round, "step": step});
        hand.say("mallory", "1", next).await;
        let told = json!({"say": "candidates", "round": round, "addresses": []});
        hand.say("mallory", "1", told).await;
    }
    let mut rounds = Vec::new();
    for _ in 0..2 {
        let came = timeout(LIMIT, hand.from_it.recv()).await.unwrap().unwrap();
        let said: Value = serde_json::from_str(came.data.get()).unwrap();
        rounds.push(said["round"].clone());
    }
    assert_eq!(rounds, [3, 4]);
}

#[tokio::test]
async fn one_who_names_addresses_of_this_machine_has_none_of_them_knocked_at() {
    let bob = accepting();
    let mut hand = ByHand::register(&bob);
    let victim = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let quiet = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    assert!(hand.agrees("mallory", "1").await);
    let places = [victim.local_addr().unwrap(), quiet.local_addr().unwrap()];
    for (round, method) in [(0, "udp-punch"), (1, "tcp-punch")] {
        let step = json!({"method": method, "many": null});
        let next = json!({"say": "try", "round": round, "step": step});
        hand.say("mallory", "1", next).await;
        assert_eq!(hand.hear().await.1, "candidates");
        let told = json!({"say": "candidates", "round": round, "addresses": places});
        hand.say("mallory", "1", told).await;
        let knocked = async {
            let mut bytes = [0; 64];
            tokio::select! {
                _ = victim.accept() => {}
                _ = quiet.recv_from(&mut bytes) => {}
            }
        };
        let knocked = timeout(Duration::from_millis(300), knocked).await;
        assert!(knocked.is_err(), "{method}");
    }
}
