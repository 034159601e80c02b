//! Which dialect has which story, in which places it is played, and why a dialect lacks a story.

use std::fmt::Write as _;

use crate::words::Dialect;

/// The number of hubs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    One,
    Two,
}

/// The stories of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Story {
    Join,
    Discover,
    Offer,
    Answer,
    Candidate,
    Leave,
    TakeOver,
    Timeout,
    Publish,
    CrossHub,
    HubDeath,
    Drain,
    OverLimit,
}

const STORIES: [Story; 13] = [
    Story::Join,
    Story::Discover,
    Story::Offer,
    Story::Answer,
    Story::Candidate,
    Story::Leave,
    Story::TakeOver,
    Story::Timeout,
    Story::Publish,
    Story::CrossHub,
    Story::HubDeath,
    Story::Drain,
    Story::OverLimit,
];

/// The dialects that have a column in docs/conformance.md.
const SHOWN: [Dialect; 6] = [
    Dialect::Pigeon,
    Dialect::PeerJs,
    Dialect::PeerJsRooms,
    Dialect::Rooms,
    Dialect::Coordinator,
    Dialect::Yjs,
];

impl Story {
    pub fn name(self) -> &'static str {
        match self {
            Story::Join => "join",
            Story::Discover => "discover",
            Story::Offer => "offer",
            Story::Answer => "answer",
            Story::Candidate => "candidate",
            Story::Leave => "leave",
            Story::TakeOver => "take-over",
            Story::Timeout => "timeout",
            Story::Publish => "publish",
            Story::CrossHub => "cross-hub",
            Story::HubDeath => "hub death",
            Story::Drain => "drain",
            Story::OverLimit => "over the limit",
        }
    }

    /// The events of the story, in the words of docs/conformance.md.
    fn told(self) -> &'static str {
        match self {
            Story::Join => "a client comes in, and hears that it is there",
            Story::Discover => "each of two hears of the other",
            Story::Offer => {
                "an offer reaches its target alone, byte for byte, with its sender's name"
            }
            Story::Answer => "so does the answer",
            Story::Candidate => "so do candidates, in their order",
            Story::Leave => "one leaves, and the other notices",
            Story::TakeOver => {
                "the same party comes again: the old connection is told and closed, the new one is reached"
            }
            Story::Timeout => "one falls silent and is closed, and the other notices",
            Story::Publish => "what is published reaches all others, in its order",
            Story::CrossHub => "thirty messages each way at once, all there and in their order",
            Story::HubDeath => "a hub is killed, and the client at the other notices within 5.5 s",
            Story::Drain => {
                "a hub that stops says so and closes with 1012, and a client at the other notices"
            }
            Story::OverLimit => {
                "who is too fast is told, or slowed down, and goes on; who keeps on is told and closed"
            }
        }
    }

    fn is_played(self, place: Place) -> bool {
        match self {
            Story::CrossHub | Story::HubDeath => place == Place::Two,
            _ => true,
        }
    }
}

/// The reason why a dialect lacks a story; `None` if the dialect has it.
fn reason(story: Story, dialect: Dialect) -> Option<&'static str> {
    match (story, dialect) {
        (Story::Discover, Dialect::PeerJs) => Some(
            "clients of a realm are told of nobody: they know whom to call, or ask for the list of ids",
        ),
        (Story::Discover, Dialect::PeerJsRooms) => {
            Some("a room is told of who leaves, and of nobody who comes, as its original has it")
        }
        (Story::Discover, Dialect::Yjs) => {
            Some("clients are nobody by name, and find each other by what they publish")
        }
        (Story::Offer | Story::Answer | Story::Candidate, Dialect::Yjs) => {
            Some("clients signal to each other by publishing")
        }
        (Story::TakeOver, Dialect::Yjs) => Some("a client has no id that could be taken over"),
        #[cfg(feature = "trial-dialect")]
        (Story::TakeOver, Dialect::Trial) => {
            Some("a topic that is lost leaves the connection and its other topics alone")
        }
        (Story::Publish, Dialect::Pigeon) => {
            Some("the dialect has no word to all of a network but what a client shows of itself")
        }
        (Story::Publish, Dialect::PeerJs | Dialect::PeerJsRooms) => {
            Some("the dialect has no word to all of a realm or a room")
        }
        _ => None,
    }
}

/// The stories of a dialect in a place.
pub fn stories_of(dialect: Dialect, place: Place) -> Vec<Story> {
    let mut all = STORIES.to_vec();
    all.retain(|story| story.is_played(place) && reason(*story, dialect).is_none());
    all
}

/// The table, and the reasons below it, in Markdown.
fn page() -> String {
    let mut page = String::from("| story | what happens |");
    let mut rule = String::from("|---|---|");
    for dialect in SHOWN {
        write!(page, " {} |", dialect.name()).expect("text");
        rule.push_str("---|");
    }
    page = format!("{page}\n{rule}\n");
    let mut reasons = Vec::new();
    for story in STORIES {
        write!(page, "| {} | {} |", story.name(), story.told()).expect("text");
        for dialect in SHOWN {
            let cell = match reason(story, dialect) {
                None if story.is_played(Place::One) => "one, two".to_owned(),
                None => "two".to_owned(),
                Some(why) => {
                    let number = reasons.iter().position(|known| *known == why);
                    let number = number.unwrap_or_else(|| {
                        reasons.push(why);
                        reasons.len() - 1
                    });
                    format!("– ({})", number + 1)
                }
            };
            write!(page, " {cell} |").expect("text");
        }
        page.push('\n');
    }
    page.push('\n');
    for (number, why) in reasons.iter().enumerate() {
        writeln!(page, "{}. {why}", number + 1).expect("text");
    }
    page
}

#[test]
fn the_page_shows_which_dialect_has_which_story() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/conformance.md");
    let shown = std::fs::read_to_string(path).expect("docs/conformance.md");
    let between = shown
        .split_once("<!-- conformance:begin -->\n")
        .and_then(|(_, rest)| {
            let (table, _) = rest.split_once("<!-- conformance:end -->")?;
            Some(table)
        });
    let table = between.expect("a table between its marks");
    assert!(
        table == page(),
        "docs/conformance.md has to show:\n{}",
        page()
    );
}
