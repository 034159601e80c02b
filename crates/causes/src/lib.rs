//! Says in words why a WebSocket could not be opened, for the person who can fix it.
//!
//! Knows the errors of the system, of rustls and of tungstenite, and nothing of hubs. The sentences go on from "cannot reach
//! it: …". Called by the client and by the links between hubs.
#![warn(missing_docs)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

use std::io;

use http::StatusCode;
use rustls::{CertificateError, Error as TlsError};
use tokio_tungstenite::tungstenite::Error as SocketError;

/// The most characters that are repeated of what another end says.
const MOST_SAID: usize = 400;
/// What the standard library says before the resolver's own words.
const NO_NAME: &str = "failed to lookup address information: ";

/// What webpki says of a certificate that is an authority's own, as `openssl req -x509` makes them by default.
const OF_AUTHORITY: &str = "CaUsedAsEndEntity";

/// Why a WebSocket was not opened.
pub fn of_socket(error: &SocketError) -> String {
    match error {
        SocketError::Io(error) => of_io(error),
        SocketError::Http(answer) => {
            let said = said(answer.body().as_deref().unwrap_or_default());
            of_answer(answer.status(), &said)
        }
        SocketError::ConnectionClosed | SocketError::AlreadyClosed => {
            "it closed the connection".to_owned()
        }
        SocketError::Protocol(_) | SocketError::HttpFormat(_) | SocketError::Utf8(_) => {
            format!("what answers there speaks no WebSocket, or TLS, for which wss:// is: {error}")
        }
        other => other.to_string(),
    }
}

/// Why the system made no connection, or ended it.
pub fn of_io(error: &io::Error) -> String {
    use io::ErrorKind as Kind;
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
    if let Some(tls) = tls {
        return of_tls(tls);
    }
    match error.kind() {
        Kind::ConnectionRefused => "nobody listens there".to_owned(),
        Kind::TimedOut | Kind::WouldBlock => "no answer in time".to_owned(),
        Kind::HostUnreachable | Kind::NetworkUnreachable => "no way leads there".to_owned(),
        Kind::ConnectionReset
        | Kind::ConnectionAborted
        | Kind::BrokenPipe
        | Kind::UnexpectedEof => "it broke the connection off".to_owned(),
        _ => of_others(&error.to_string()),
    }
}

fn of_others(text: &str) -> String {
    match text.strip_prefix(NO_NAME) {
        Some(resolver) => format!("the name has no address ({resolver})"),
        None => text.to_owned(),
    }
}

/// Why two ends do not agree on TLS.
pub fn of_tls(error: &TlsError) -> String {
    use CertificateError as Bad;
    match error {
        TlsError::InvalidCertificate(Bad::UnknownIssuer) => {
            "its certificate is of an issuer that is not believed here (SSL_CERT_FILE can name a PEM file with the issuer's)"
        }
        TlsError::InvalidCertificate(Bad::NotValidForName) => {
            "its certificate is for another name"
        }
        TlsError::InvalidCertificate(Bad::NotValidForNameContext {
            expected,
            presented,
        }) => return of_name(&expected.to_str(), presented),
        TlsError::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            "its certificate ran out, or this machine's clock is ahead"
        }
        TlsError::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => {
            "its certificate is not valid yet, or this machine's clock is behind"
        }
        TlsError::InvalidCertificate(Bad::Other(why)) if why.to_string().contains(OF_AUTHORITY) => {
            "its certificate is one of an authority, which is none of a server: make it with basicConstraints=CA:FALSE"
        }
        TlsError::InvalidCertificate(_) => "its certificate is of a kind that is not believed here",
        TlsError::InvalidMessage(_) => "it speaks no TLS: for that, ws:// is",
        TlsError::PeerIncompatible(_) => "it speaks no version of TLS that is spoken here",
        TlsError::AlertReceived(_) => "it broke TLS off",
        other => return format!("TLS failed: {other}"),
    }
    .to_owned()
}

fn of_name(wanted: &str, presented: &[String]) -> String {
    // As `DnsName("hub.example.org")`.
    let name = |name: &String| name.split('"').nth(1).unwrap_or(name).to_owned();
    let names: Vec<String> = presented.iter().map(name).collect();
    format!(
        "its certificate is for {} and not for {wanted}",
        names.join(", ")
    )
}

/// What an answer in place of a WebSocket means; `said` is the reason in it, if any.
pub fn of_answer(status: StatusCode, said: &str) -> String {
    let reason = match said {
        "" => String::new(),
        said => format!(": {said}"),
    };
    format!("it answers {status} in place of a WebSocket{reason}")
}

/// The reason in the body of a refusal: the text of its `error`, where it is such JSON as hubs answer, or what it says in
/// plain text. Bounded, and without what could move a terminal's cursor.
pub fn said(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Answer {
        error: String,
    }
    let text = match serde_json::from_slice::<Answer>(body) {
        Ok(answer) => answer.error,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    if text.trim_start().starts_with('<') {
        // A page of a proxy: its status says as much.
        return String::new();
    }
    let printable = text.trim().chars().map(|c| match c {
        c if c.is_control() => ' ',
        c => c,
    });
    printable.take(MOST_SAID).collect()
}

/// Why a text is no URL.
pub fn of_url(error: url::ParseError) -> &'static str {
    use url::ParseError as Bad;
    match error {
        Bad::RelativeUrlWithoutBase | Bad::RelativeUrlWithCannotBeABaseBase => {
            "it does not begin with ws:// or wss://"
        }
        Bad::EmptyHost => "it names no host",
        Bad::InvalidPort => "its port is no number up to 65535",
        Bad::InvalidIpv4Address | Bad::InvalidIpv6Address => "its host is no IP address",
        Bad::IdnaError | Bad::InvalidDomainCharacter => "its host has characters that no name has",
        _ => "it is not written as a URL is",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_and_tls_say_is_put_in_words() {
        let refused = io::Error::from_raw_os_error(111);
        let name = io::Error::other(format!("{NO_NAME}Name or service not known"));
        let issuer = TlsError::InvalidCertificate(CertificateError::UnknownIssuer);
        let plain = TlsError::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        for (error, words) in [
            (refused, "nobody listens there"),
            (name, "the name has no address (Name or service not known)"),
            (
                io::ErrorKind::UnexpectedEof.into(),
                "it broke the connection off",
            ),
            (io::Error::other(issuer), "not believed here"),
            (io::Error::other(plain), "ws://"),
        ] {
            let told = of_socket(&SocketError::Io(error));
            assert!(told.contains(words), "{words}: {told}");
            assert!(!told.contains("os error"), "{told}");
        }
    }

    #[test]
    fn the_reason_of_a_refusal_is_its_error_or_its_text_and_moves_no_cursor() {
        for (body, reason) in [
            (&br#"{"error":"the hub is full"}"#[..], "the hub is full"),
            (b"try later\r\n", "try later"),
            (b"\x1b[2Jgone", " [2Jgone"),
            (b"<html>502</html>", ""),
            (b"", ""),
        ] {
            assert_eq!(said(body), reason);
        }
        assert_eq!(said(&[b'x'; 5_000]).len(), MOST_SAID);
        let answer = of_answer(StatusCode::NOT_FOUND, "");
        assert_eq!(answer, "it answers 404 Not Found in place of a WebSocket");
    }
}
