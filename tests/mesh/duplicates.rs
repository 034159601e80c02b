//! One id and two connections: which connection keeps the id, and that the other one is told.

use hubmesh_client::{Client, Event, PeerId};
use tokio::time::{Duration, sleep, timeout};

use crate::hub_process::{HubBuilder, HubProcess, LIMIT};
use crate::peer::{Peer, way_to};
use crate::stage::{TOKEN, all_linked, metric, metric_reaches};

/// Two linked hubs with these settings.
async fn pair(settings: impl Fn(HubBuilder) -> HubBuilder) -> [HubProcess; 2] {
    let first = settings(HubProcess::builder()).start().await;
    let second = settings(first.neighbour()).start().await;
    all_linked(&[&first, &second]).await;
    [first, second]
}

#[tokio::test]
async fn a_peer_that_comes_back_on_another_hub_gets_its_signals_there_and_nowhere_else() {
    let hubs = pair(|hub| hub.env("DUPLICATE_PEER", "replace")).await;
    let watchers = [
        Peer::join(&hubs[0], "move").await,
        Peer::join(&hubs[1], "move").await,
    ];
    let old = Peer::join(&hubs[0], "move").await;
    for watcher in &watchers {
        watcher.sees(&old.id).await;
        watcher.reaches(&old, r#""before""#).await;
    }

    let new = Peer::join_as(&hubs[1], "move", old.id.clone()).await;
    old.is_told("superseded", 1).await;
    assert_eq!(old.is_closed().await.0, 1008);
    metric_reaches(&hubs[0], "hubmesh_takeovers_total", &[], 1.0).await;
    let before = old.signals().len();
    for watcher in &watchers {
        watcher.reaches(&new, r#""after""#).await;
        new.reaches(watcher, r#""answer""#).await;
    }
    assert_eq!(old.signals().len(), before);
    new.sees(&watchers[0].id).await;
    new.sees(&watchers[1].id).await;
    for watcher in &watchers {
        watcher.sees(&new.id).await;
        watcher.fence().await;
        // The peer moved; it did not leave.
        assert!(watcher.lost_nobody(), "{watcher:?}");
        assert_eq!(watcher.roster().len(), 2);
    }
}

/// A peer that has joined. From now on it reads and answers nothing, while its socket stays open.
pub async fn half_open(hub: &HubProcess, network: &str) -> Client {
    let id = PeerId::random();
    let mut client = Client::connect(&way_to(hub, &id))
        .await
        .expect("the hub lets it in");
    client.announce(network, &()).await.expect("an open socket");
    client.ping().await.expect("an open socket");
    let joined = async { while !matches!(client.next_event().await, Event::Pong) {} };
    timeout(LIMIT, joined).await.expect("the hub answers");
    client
}

/// The holder of an id is dead, and its hub does not know it. The newcomer, on `hubs[to]`, gets the id.
async fn a_dead_holder_gives_way(to: usize) {
    let hubs = pair(|hub| hub).await;
    let mut dead = half_open(&hubs[0], "half-open").await;
    let id = dead.id().clone();
    let watchers = [
        Peer::join(&hubs[0], "half-open").await,
        Peer::join(&hubs[1], "half-open").await,
    ];
    for watcher in &watchers {
        watcher.sees(&id).await;
    }

    let new = Peer::join_as(&hubs[to], "half-open", id.clone()).await;
    for watcher in &watchers {
        new.sees(&watcher.id).await;
        watcher.reaches(&new, r#""are you there?""#).await;
        new.reaches(watcher, r#""I am""#).await;
    }
    assert!(new.is_open());
    // Reads the messages that the dead peer would have read if it had lived.
    let last = async {
        loop {
            match dead.next_event().await {
                Event::Closed { code, .. } => return code,
                Event::Signal { data, .. } => panic!("{data} went to the dead"),
                _ => {}
            }
        }
    };
    let code = timeout(LIMIT, last)
        .await
        .expect("the old socket is closed");
    assert!([1008, 1006].contains(&code), "{code}");
    for watcher in &watchers {
        watcher.sees(&id).await;
        assert_eq!(watcher.roster().len(), 2);
    }
}

#[tokio::test]
async fn a_dead_holder_is_found_out_and_its_id_given_to_the_newcomer_on_another_hub() {
    a_dead_holder_gives_way(1).await;
}

#[tokio::test]
async fn a_dead_holder_is_found_out_and_its_id_given_to_the_newcomer_on_the_same_hub() {
    a_dead_holder_gives_way(0).await;
}

/// Messages that a client sent before it died arrive while its hub asks whether it is alive. They are no answer to the
/// question.
async fn late_words_keep_no_id(to: usize) {
    let hubs = pair(|hub| hub).await;
    let mut dead = half_open(&hubs[0], "late").await;
    let id = dead.id().clone();
    let watcher = Peer::join(&hubs[to], "late").await;
    watcher.sees(&id).await;

    let new = Peer::ask_to_join(&hubs[to], "late", id.clone()).await;
    let talk = async {
        loop {
            // The hub may have closed the socket already.
            let _ = dead.ping().await;
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = talk => {}
        () = new.fence() => {}
    }
    watcher.reaches(&new, r#""are you there?""#).await;
}

#[tokio::test]
async fn what_a_dead_holder_said_last_does_not_keep_its_id_on_the_same_hub() {
    late_words_keep_no_id(0).await;
}

#[tokio::test]
async fn what_a_dead_holder_said_last_does_not_keep_its_id_on_another_hub() {
    late_words_keep_no_id(1).await;
}

/// The holder of an id is dead, and so are the first newcomers that ask for it. The newcomer that lives gets the id.
async fn the_living_gets_the_id(to: usize) {
    let hubs = pair(|hub| hub).await;
    let dead = half_open(&hubs[0], "impatient").await;
    let id = dead.id().clone();
    let watcher = Peer::join(&hubs[to], "impatient").await;
    watcher.sees(&id).await;

    for _ in 0..2 {
        drop(Peer::ask_to_join(&hubs[to], "impatient", id.clone()).await);
        let left = Peer::ask_to_join(&hubs[to], "impatient", id.clone()).await;
        left.goodbye().await;
    }
    let mut lost = Vec::new();
    for _ in 0..4 {
        let connected = Client::connect(&way_to(&hubs[to], &id)).await;
        let mut client = connected.expect("the hub lets it in");
        let announced = client.announce("impatient", &()).await;
        announced.expect("an open socket");
        lost.push(client);
    }
    let living = Peer::join_as(&hubs[to], "impatient", id.clone()).await;
    watcher.reaches(&living, r#""are you there?""#).await;
    assert!(living.is_open());
}

#[tokio::test]
async fn of_those_who_wait_for_a_dead_holder_the_living_gets_the_id_on_the_same_hub() {
    the_living_gets_the_id(0).await;
}

#[tokio::test]
async fn of_those_who_wait_for_a_dead_holder_the_living_gets_the_id_on_another_hub() {
    the_living_gets_the_id(1).await;
}

/// The holder of an id lives: the newcomer, on `hubs[to]`, is told that the id is taken, and is closed.
async fn a_living_holder_keeps_its_id(to: usize, settings: impl Fn(HubBuilder) -> HubBuilder) {
    let hubs = pair(&settings).await;
    let connect = async |hub: &HubProcess, id: PeerId| {
        let mut options = way_to(hub, &id);
        options.token = Some(TOKEN.to_owned());
        let peer = Peer::connect(&options, "taken")
            .await
            .expect("the hub lets it in");
        peer.announce("{}").await;
        peer
    };
    let holder = connect(&hubs[0], PeerId::random()).await;
    let watcher = connect(&hubs[1], PeerId::random()).await;
    watcher.sees(&holder.id).await;

    let newcomer = connect(&hubs[to], holder.id.clone()).await;
    newcomer.is_told("id-taken", 1).await;
    let closed = newcomer.is_closed().await;
    assert_eq!(closed, (1008, "Peer already connected".to_owned()));
    metric_reaches(&hubs[to], "hubmesh_duplicates_total", &[], 1.0).await;

    watcher.reaches(&holder, r#""it is still you""#).await;
    assert!(newcomer.signals().is_empty());
    watcher.fence().await;
    assert!(watcher.lost_nobody(), "{watcher:?}");
    assert_eq!(watcher.roster().len(), 1);
    assert_eq!(metric(&hubs[0], "hubmesh_takeovers_total", &[]).await, 0.0);
}

#[tokio::test]
async fn a_living_holder_keeps_its_id_against_a_newcomer_on_another_hub() {
    a_living_holder_keeps_its_id(1, |hub| hub).await;
}

#[tokio::test]
async fn a_living_holder_keeps_its_id_against_a_newcomer_on_the_same_hub() {
    a_living_holder_keeps_its_id(0, |hub| hub).await;
}

#[tokio::test]
async fn a_token_that_everybody_has_proves_nobody_the_holder_of_an_id() {
    a_living_holder_keeps_its_id(1, |hub| hub.env("AUTH_TOKEN", TOKEN)).await;
}

/// Two connections on two hubs announce the same id at the same time.
async fn two_at_once(settings: impl Fn(HubBuilder) -> HubBuilder) {
    let hubs = pair(settings).await;
    let watchers = [
        Peer::join(&hubs[0], "at once").await,
        Peer::join(&hubs[1], "at once").await,
    ];
    for round in 0..5 {
        let id = PeerId::random();
        let (one, other) = tokio::join!(
            Peer::ask_to_join(&hubs[0], "at once", id.clone()),
            Peer::ask_to_join(&hubs[1], "at once", id.clone()),
        );
        let (winner, loser) = tokio::select! {
            _ = one.is_closed() => (&other, &one),
            _ = other.is_closed() => (&one, &other),
        };
        assert_eq!(loser.is_closed().await.0, 1008, "{loser:?}");
        let why = loser.complaints("superseded") + loser.complaints("id-taken");
        assert_eq!(why, 1, "{loser:?}");
        winner.fence().await;
        for watcher in &watchers {
            watcher.sees(&id).await;
            watcher.reaches(winner, &format!("\"round {round}\"")).await;
        }
        assert!(winner.is_open());
        assert!(loser.signals().is_empty());
    }
}

#[tokio::test]
async fn of_two_that_arrive_at_once_on_two_hubs_exactly_one_stays_and_the_other_is_told() {
    two_at_once(|hub| hub).await;
}

#[tokio::test]
async fn of_two_that_replace_each_other_at_once_exactly_one_stays_and_the_other_is_told() {
    two_at_once(|hub| hub.env("DUPLICATE_PEER", "replace")).await;
}
