//! The parameters of an address, as clients write them: encoded, encoded as forms are, or not at all.
//!
//! `peerjs` writes its token into the address unencoded, where `+` stands for itself; form encoding writes it for a
//! blank. An address does not say which of the two it uses, so a value that has to equal a secret is compared in both
//! readings. Knows no parameter; called by the code that lets clients in.

use percent_encoding::percent_decode_str;

/// The value of a parameter, in both of its readings.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Value {
    /// The reading in which `+` is a blank.
    pub(super) form: String,
    /// The reading in which `+` is itself.
    pub(super) plain: String,
}

impl Value {
    fn read(text: &str) -> Self {
        Value {
            form: decoded(&text.replace('+', " ")),
            plain: decoded(text),
        }
    }

    /// Both readings.
    pub(super) fn readings(&self) -> impl Iterator<Item = &str> {
        [self.plain.as_str(), self.form.as_str()].into_iter()
    }
}

/// The values of the parameters of this name, in their order.
pub(super) fn values<'q>(query: &'q str, name: &'q str) -> impl Iterator<Item = Value> + 'q {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.filter_map(move |pair| {
        let (its, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(its) == name).then(|| Value::read(value))
    })
}

/// The text of a `%` encoding, with U+FFFD for bytes that are not text. Half of a surrogate pair, which some programs
/// encode as a character, is one U+FFFD, as browsers write it.
fn decoded(text: &str) -> String {
    let mut bytes: Vec<u8> = percent_decode_str(text).collect();
    for at in 0..bytes.len() {
        if let Some(half @ [0xed, 0xa0..=0xbf, 0x80..=0xbf]) = bytes.get_mut(at..at + 3) {
            half.copy_from_slice("\u{fffd}".as_bytes());
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(query: &str) -> (String, String) {
        let value = values(query, "token").next().expect("a value");
        (value.form, value.plain)
    }

    #[test]
    fn a_plus_is_read_as_itself_and_as_a_blank() {
        let both = |text: &str| (text.to_owned(), text.to_owned());
        let read = first("a=b&token=ab+cd/ef==&token=x");
        assert_eq!(read, ("ab cd/ef==".into(), "ab+cd/ef==".into()));
        assert_eq!(first("token=ab%2Bcd%2Fef%3D%3D"), both("ab+cd/ef=="));
        assert_eq!(first("t%6Fken=a%20b"), both("a b"));
        assert_eq!(first("&&token"), both(""));
        assert_eq!(first("token=50%&x"), both("50%"));
        assert!(values("Token=a&x=token", "token").next().is_none());
    }

    #[test]
    fn what_is_no_text_becomes_replacement_characters() {
        for (query, text) in [
            ("token=bob%EF%BF%BD", "bob\u{fffd}"),
            ("token=bob%ED%A0%BD", "bob\u{fffd}"),
            ("token=%ED%B0%80%ED%A0%BDx", "\u{fffd}\u{fffd}x"),
            ("token=%ED%9F%BF", "\u{d7ff}"),
            ("token=%FF%ED%A0", "\u{fffd}\u{fffd}\u{fffd}"),
            ("token=%F0%9F%92%A5", "💥"),
        ] {
            assert_eq!(first(query).1, text, "{query}");
        }
    }
}
