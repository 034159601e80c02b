use hubmesh_core::reach::Reach;

use super::*;

const SECRET: &str = "of-all-hubs-of-a-mesh";

fn relays(nearby: &str) -> Relays {
    let vars = [("TURN_SECRET", SECRET), ("ICE_SERVERS_NEARBY", nearby)];
    Relays::new(&Config::from_vars(vars).expect("fine"))
}

fn id(number: u8) -> HubId {
    HubId([number; 20])
}

/// Hubs by id, with these costs of their paths.
fn hubs(costs: &[u32]) -> Vec<HubView> {
    let hub = |(cost, number): (&u32, u8)| HubView {
        id: id(number),
        url: None,
        region: String::new(),
        direct: true,
        next_hop: None,
        hops: 1,
        cost: *cost,
        told_by: Reach::Global,
        rtt: None,
        peers: 0,
        synced: true,
        draining: false,
        first_seen_ms: 0,
        last_seen_ms: 0,
    };
    costs.iter().zip(1..).map(hub).collect()
}

fn names(urls: &[IceUrl]) -> Vec<&str> {
    urls.iter().map(IceUrl::as_str).collect()
}

fn list(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Asks all hubs, and lets each hub that has servers name them.
fn all_answer(relays: &Relays, hubs: &[HubView], now: Instant) {
    for (hub, question) in relays.questions(hubs, now) {
        let Message::Ask { number } = question else {
            panic!("{question:?}")
        };
        let urls = list(&[&format!("turn:hub{}.example", hub.0[0])]);
        let answer = Answer {
            number,
            by: hub,
            to: id(99),
            urls: &urls,
        };
        let proof = answer.prove(SECRET);
        assert_eq!(
            relays.hear(&answer, &proof, now),
            AnswerOutcome::Check(urls.clone())
        );
        assert_eq!(
            relays.hear(&answer, &proof, now),
            AnswerOutcome::Unasked,
            "once"
        );
        let urls = urls.iter().map(|url| url.parse().expect("an address"));
        relays.keep(hub, urls.collect(), now);
    }
}

#[tokio::test(start_paused = true)]
async fn the_nearest_are_named_and_none_that_drains_or_is_silent() {
    let relays = relays("2");
    let mut all = hubs(&[30, 10, 20, 40]);
    all_answer(&relays, &all, Instant::now());
    let near = relays.nearby(&all);
    assert_eq!(names(&near), ["turn:hub2.example", "turn:hub3.example"]);
    all[1].draining = true;
    let near = relays.nearby(&all);
    assert_eq!(names(&near), ["turn:hub3.example", "turn:hub1.example"]);
    tokio::time::advance(KEEP).await;
    assert_eq!(names(&relays.nearby(&all)), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn hubs_that_have_servers_are_asked_often_and_others_seldom() {
    let relays = relays("2");
    let all = hubs(&[1, 2]);
    let now = Instant::now();
    all_answer(&relays, &all[..1], now);
    let asked = |at: Duration| {
        let due = relays.questions(&all, now + at);
        due.into_iter().map(|(hub, _)| hub.0[0]).collect::<Vec<_>>()
    };
    assert_eq!(asked(Duration::ZERO), [2]);
    assert_eq!(asked(Duration::from_secs(1)), [0; 0]);
    assert_eq!(asked(ASK_SOON), [2], "it has not answered");
    assert_eq!(asked(ASK_SOON * 2), [0; 0]);
    assert_eq!(asked(ASK), [1, 2]);
    let far = hubs(&(0..100).collect::<Vec<u32>>());
    let near = relays.questions(&far, now + ASK_AGAIN * 2);
    assert_eq!(near.len(), ASKED);
    assert!(near.iter().all(|(hub, _)| hub.0[0] <= 32));
    relays.questions(&far[..1], now + ASK_AGAIN * 2);
    assert_eq!(
        relays.known.lock().len(),
        1,
        "who is out of reach is forgotten"
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_the_secret_or_the_question_counts_for_nothing() {
    let relays = relays("2");
    let all = hubs(&[1]);
    let now = Instant::now();
    let (hub, question) = relays.questions(&all, now).remove(0);
    let Message::Ask { number } = question else {
        panic!("{question:?}")
    };
    let urls = list(&["turn:evil.example"]);
    let answer = |number, by| Answer {
        number,
        by,
        to: id(99),
        urls: &urls,
    };
    let good = answer(number, hub);
    let guessed = good.prove("guessed");
    assert_eq!(relays.hear(&good, &guessed, now), AnswerOutcome::Unproved);
    let other = answer(number.wrapping_add(1), hub);
    assert_eq!(
        relays.hear(&other, &other.prove(SECRET), now),
        AnswerOutcome::Unasked
    );
    let of_another = answer(number, id(7));
    assert_eq!(
        relays.hear(&of_another, &of_another.prove(SECRET), now),
        AnswerOutcome::Unasked
    );
    assert_eq!(names(&relays.nearby(&all)), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_question_is_answered_with_what_there_is_then_and_not_too_often() {
    let relays = relays("2");
    let now = Instant::now();
    let told = |at: Instant| match relays.answer(5, id(1), id(2), at)? {
        Message::Tell {
            number: 5,
            urls,
            proof,
        } => {
            let answer = Answer {
                number: 5,
                by: id(1),
                to: id(2),
                urls: &urls,
            };
            assert!(answer.is_proved(SECRET, &proof));
            Some(urls)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(told(now), Some(Vec::new()), "it has none");
    relays.offer(Box::new(|| vec!["stun:a.example".into(); 20]));
    assert_eq!(told(now), None);
    assert_eq!(told(now + ANSWER).map(|urls| urls.len()), Some(MOST_URLS));
    for number in 0..=MOST_KNOWN {
        let mut many = [0; 20];
        many[..8].copy_from_slice(&number.to_be_bytes());
        relays.answer(1, id(1), HubId(many), now);
    }
    assert_eq!(relays.known.lock().len(), MOST_KNOWN);
}

#[test]
fn without_a_secret_or_other_hubs_nobody_is_asked_or_answered() {
    for vars in [
        &[("TURN_PORT", "1")][..],
        &[
            ("TURN_SECRET", SECRET),
            ("TURN_PORT", "1"),
            ("ICE_SERVERS_NEARBY", "0"),
        ],
        &[
            ("TURN_SECRET", SECRET),
            ("TURN_PORT", "1"),
            ("IS_HUB", "false"),
        ],
    ] {
        let config = Config::from_vars(vars.iter().copied()).expect("fine");
        let relays = Relays::new(&config);
        let now = Instant::now();
        assert_eq!(relays.answer(1, id(1), id(2), now), None, "{vars:?}");
        assert!(relays.questions(&hubs(&[1]), now).is_empty(), "{vars:?}");
    }
}
