//! What may be typed: one line in, one [`Command`] out.
//!
//! Owns the grammar and the help text. Knows neither hub nor terminal. A line is never sent anywhere unless it reads as
//! a command as a whole.

use hubmesh_client::SignalKind;
use serde_json::value::RawValue;

pub const HELP: &str = "\
  peers                     whom this peer has discovered
  send PEER [TEXT]          an offer-like message to a peer; the beginning of its id is enough
  offer PEER JSON           an offer with this data; answer and candidate likewise
  network NAME              move to another network
  ping                      ask the hub for a pong
  help                      this list
  quit                      say goodbye and leave (so does Ctrl-C, and Ctrl-D)";

#[derive(Debug)]
pub enum Command {
    Nothing,
    Peers,
    Send {
        to: String,
        text: String,
    },
    Signal {
        kind: SignalKind,
        to: String,
        data: Box<RawValue>,
    },
    Network(String),
    Ping,
    Help,
    Quit,
}

/// Reads one line; the error says what is wrong with it.
pub fn read(line: &str) -> Result<Command, String> {
    let (word, rest) = split(line);
    let command = match word {
        "" => Command::Nothing,
        "peers" => Command::Peers,
        "ping" => Command::Ping,
        "help" | "?" => Command::Help,
        "quit" | "exit" => Command::Quit,
        "network" if !rest.is_empty() => Command::Network(rest.to_owned()),
        "send" => {
            let (to, text) = recipient(word, rest)?;
            Command::Send { to, text }
        }
        "offer" => signal(SignalKind::Offer, word, rest)?,
        "answer" => signal(SignalKind::Answer, word, rest)?,
        "candidate" => signal(SignalKind::IceCandidate, word, rest)?,
        _ => return Err(format!("`{line}` is not a command; `help` lists all")),
    };
    Ok(command)
}

fn signal(kind: SignalKind, word: &str, rest: &str) -> Result<Command, String> {
    let (to, data) = recipient(word, rest)?;
    let data = RawValue::from_string(data)
        .map_err(|error| format!("{word} takes a peer and JSON data: {error}"))?;
    Ok(Command::Signal { kind, to, data })
}

fn recipient(word: &str, rest: &str) -> Result<(String, String), String> {
    let (to, text) = split(rest);
    if to.is_empty() {
        return Err(format!("{word} to whom? `peers` lists them"));
    }
    Ok((to.to_owned(), text.to_owned()))
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    text.split_once(char::is_whitespace)
        .map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_keeps_its_data_as_it_was_typed() {
        match read("candidate ab12 { \"x\":1.0 }  ") {
            Ok(Command::Signal { kind, to, data }) => {
                assert_eq!(kind, SignalKind::IceCandidate);
                assert_eq!((to.as_str(), data.get()), ("ab12", "{ \"x\":1.0 }"));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_does_not_read_as_a_whole_is_refused_with_a_reason() {
        for (line, reason) in [
            ("dance", "not a command"),
            ("network", "not a command"),
            ("send", "to whom"),
            ("offer ab12", "JSON"),
            ("offer ab12 {", "JSON"),
        ] {
            let error = read(line).err();
            assert!(error.is_some_and(|text| text.contains(reason)), "{line}");
        }
    }

    #[test]
    fn an_empty_line_is_nothing_and_quit_is_quit() {
        assert!(matches!(read("   "), Ok(Command::Nothing)));
        assert!(matches!(read(" quit "), Ok(Command::Quit)));
    }
}
