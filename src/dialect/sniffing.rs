//! Detects the dialect of a connection whose address does not show it: its first text does.
//!
//! Clients of several dialects connect to `/` and send nothing else. Their first text is enough to distinguish them. A
//! client that sends another text, or frame after frame and no text, is told the correct form. Reads the type of a
//! message and the names of its members, and nothing more; knows no socket and no time.

use hubmesh_core::ids::Dialect;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::written::Object;
use super::{Complaint, fields, json, start_of};

/// The frames that may come before the first text is whole: pings, and fragments of it.
const MOST_FRAMES: u32 = 1_024;

/// A connection of which no text was read.
#[derive(Debug, Default)]
pub struct Sniffing {
    frames: u32,
}

impl Sniffing {
    /// A frame came that is no text, or only a part of one.
    ///
    /// # Errors
    /// Too many frames came.
    pub fn pass(&mut self) -> Result<(), Complaint<'static>> {
        self.frames += 1;
        match self.frames <= MOST_FRAMES {
            true => Ok(()),
            false => Err(undecided("frames came, and no text")),
        }
    }

    /// The dialect of a connection whose first text this is.
    ///
    /// # Errors
    /// No dialect begins with this text.
    pub fn hear(self, text: &str) -> Result<Dialect, Complaint<'static>> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let names = &["type", "userId", "peerId", "from"];
        let [kind, ids @ ..] =
            fields::read(text, names).map_err(|why| undecided(&why.to_string()))?;
        let Some(kind) = kind.and_then(json::string) else {
            return Err(undecided("`type` is missing"));
        };
        let names_itself = ids.iter().any(Option::is_some);
        match &*kind {
            "auth" => Ok(Dialect::Rooms),
            "register" => Ok(Dialect::Coordinator),
            "subscribe" | "publish" | "ping" if !names_itself => Ok(Dialect::Yjs),
            other => Err(undecided(&format!(
                "a message of type `{}` came",
                start_of(other)
            ))),
        }
    }
}

/// Why a connection is closed: the received text, and the correct form.
pub fn undecided(what: &str) -> Complaint<'static> {
    let text = format!(
        "{what}; begin with `auth` (OctateCode), `register` (Self-Streme) or `subscribe`, `publish` or `ping` (y-webrtc), or \
         connect to /ws?peerId=…"
    );
    Complaint::new("undecided", text)
}

/// The error for a client whose dialect is unknown.
pub fn error(why: &Complaint<'_>) -> Utf8Bytes {
    Object::of("error", 2 * why.text.len())
        .text("message", &why.text)
        .text("error", &why.text)
        .text("code", why.code)
        .end()
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;

    fn first(text: &str) -> Result<Dialect, Complaint<'static>> {
        Sniffing::default().hear(text)
    }

    #[test]
    fn the_first_text_tells_what_is_spoken() {
        for (text, dialect) in [
            (
                r#"{"type":"register","peerId":"ada"}"#,
                Dialect::Coordinator,
            ),
            (r#"{"type":"register"}"#, Dialect::Coordinator),
            (
                r#"{"type":"auth","userId":"ada","roomId":"r"}"#,
                Dialect::Rooms,
            ),
            (r#"{"type":"subscribe","topics":["a"]}"#, Dialect::Yjs),
            (
                r#"{"topic":"a","type":"publish","data":{"from":"x"}}"#,
                Dialect::Yjs,
            ),
            ("\u{feff}{\"type\":\"ping\"}", Dialect::Yjs),
        ] {
            assert_eq!(first(text), Ok(dialect), "{text}");
        }
    }

    #[test]
    fn anything_else_is_told_what_would_have_been_right() {
        for (text, named) in [
            ("", "not JSON"),
            ("GET /", "not JSON"),
            ("[]", "object"),
            ("{}", "`type`"),
            (r#"{"type":7}"#, "`type`"),
            (r#"{"type":"announce"}"#, "`announce`"),
            (r#"{"type":"ping","userId":"ada"}"#, "`ping`"),
            (
                r#"{"type":"publish","topic":"a","from":"ada"}"#,
                "`publish`",
            ),
        ] {
            let why = first(text).expect_err(text);
            assert_eq!(why.code, "undecided");
            assert!(
                why.text.contains(named) && why.text.contains("register"),
                "{}",
                why.text
            );
            assert!(error(&why).starts_with(r#"{"type":"error","message":"#));
        }
    }

    #[test]
    fn frames_without_a_text_end_it() {
        let mut sniffing = Sniffing::default();
        let passed = (0..MOST_FRAMES).all(|_| sniffing.pass().is_ok());
        assert!(passed && sniffing.pass().is_err());
    }
}
