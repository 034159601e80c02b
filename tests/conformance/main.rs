//! One suite of stories for clients of every dialect, on one hub and across two linked hubs.
//!
//! The stories are written once (`stories`). They know the abilities of a client (`client`): join, signal, hear. The
//! messages of each dialect for these abilities are its `words`. One table (`table`) says which dialect has which
//! story, and why not; docs/conformance.md shows the table. No story assumes a speed, except for the death of a hub,
//! where the time limit is promised.

#[path = "../common/hub_process.rs"]
mod hub_process;
#[path = "../common/jwt.rs"]
mod jwt;

mod client;
mod stage;
mod stories;
mod table;
mod words;

use tokio::task::{LocalSet, spawn_local};

use table::{Place, stories_of};
use words::Dialect;

/// Plays all stories of a dialect in this place, all at the same time.
async fn all(dialect: Dialect, place: Place) {
    LocalSet::new().run_until(play_all(dialect, place)).await;
}

async fn play_all(dialect: Dialect, place: Place) {
    let played = stories_of(dialect, place).into_iter().map(|story| {
        let playing = spawn_local(stories::play(story, dialect, place));
        async move { (story, playing.await) }
    });
    let mut failed = Vec::new();
    for (story, ended) in futures::future::join_all(played).await {
        if ended.is_err() {
            failed.push(story.name());
        }
    }
    assert!(failed.is_empty(), "{dialect:?} on {place:?}: {failed:?}");
}

macro_rules! conform {
    ($($(#[$only:meta])* $name:ident => $dialect:ident;)+) => {
        $($(#[$only])* mod $name {
            use super::{Dialect, Place, all};

            #[tokio::test]
            async fn clients_live_all_their_stories_on_one_hub() {
                all(Dialect::$dialect, Place::One).await;
            }

            #[tokio::test]
            async fn clients_live_all_their_stories_across_two_hubs() {
                all(Dialect::$dialect, Place::Two).await;
            }
        })+
    };
}

conform! {
    pigeon => Pigeon;
    peerjs => PeerJs;
    peerjs_rooms => PeerJsRooms;
    rooms => Rooms;
    coordinator => Coordinator;
    yjs => Yjs;
    #[cfg(feature = "trial-dialect")]
    trial => Trial;
}
