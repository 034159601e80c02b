//! A client that can send any bytes: HTTP and WebSocket frames byte by byte, over one TCP connection.
//!
//! Owns the attackers' side of the connection. Every read has a time limit. A write reports that the hub has closed the
//! connection, because many attacks end that way. This file knows no rule about the hub's behaviour.

use std::io;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::hub_process::{HubProcess, LIMIT};

pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8a;

/// One connection.
pub struct Raw {
    pub stream: TcpStream,
    unread: Vec<u8>,
}

/// The end of a WebSocket.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct End {
    /// The `code` of each `error` message.
    pub complaints: Vec<String>,
    /// The close frame's code and text, if there was one.
    pub close: Option<(u16, String)>,
}

/// A peer id that no other peer has.
pub fn fresh_id() -> String {
    hex::encode(rand::random::<[u8; 20]>())
}

/// A request for a WebSocket at this target, with `more` header lines.
pub fn upgrade_request(target: &str, more: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// A client's frame with this first byte, masked with zeros.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(first, payload.len() as u64, 0x80);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(payload);
    bytes
}

/// A frame's first bytes, up to its length.
pub fn head(first: u8, length: u64, mask_bit: u8) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..=125 => bytes.push(mask_bit | length as u8),
        126..=0xffff => {
            bytes.push(mask_bit | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(mask_bit | 127);
            bytes.extend_from_slice(&length.to_be_bytes());
        }
    }
    bytes
}

impl Raw {
    /// A TCP connection on which nothing has been sent.
    pub async fn connect(hub: &HubProcess) -> Self {
        let stream = TcpStream::connect(hub.addr).await.expect("the hub listens");
        stream.set_nodelay(true).expect("a fresh socket");
        Self::over(stream)
    }

    /// A TCP connection whose kernel buffers as little as possible while the client does not read.
    pub async fn connect_narrow(hub: &HubProcess) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(1).expect("a fresh socket");
        Self::over(socket.connect(hub.addr).await.expect("the hub listens"))
    }

    /// A TCP connection from this address of the loopback network.
    pub async fn connect_from(hub: &HubProcess, address: [u8; 4]) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .bind((address, 0).into())
            .expect("an address of this machine");
        Self::over(socket.connect(hub.addr).await.expect("the hub listens"))
    }

    fn over(stream: TcpStream) -> Self {
        let unread = Vec::new();
        Self { stream, unread }
    }

    /// A peer's WebSocket, on which the hub has sent its greeting and the peer has not announced itself.
    pub async fn peer(hub: &HubProcess, id: &str) -> Self {
        Self::connect(hub).await.upgraded(id).await
    }

    /// A member of a network.
    pub async fn member(hub: &HubProcess, id: &str, network: &str) -> Self {
        let mut raw = Self::peer(hub, id).await;
        raw.announce(network).await;
        raw
    }

    /// Switches to a peer's WebSocket and reads the greeting.
    pub async fn upgraded(mut self, id: &str) -> Self {
        let request = upgrade_request(&format!("/ws?peerId={id}"), "");
        self.send(request.as_bytes()).await.expect("a live hub");
        let head = self.answer_head().await.expect("an answer");
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        let greeting = self.message().await.expect("a greeting");
        assert_eq!(greeting["type"], "connected");
        self
    }

    /// Announces the peer, and waits until the hub has accepted the claim.
    pub async fn announce(&mut self, network: &str) {
        let announce = serde_json::json!({"type": "announce", "networkName": network, "data": {}});
        self.say(&announce.to_string()).await.expect("a live hub");
        self.pong().await;
    }

    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match timeout(LIMIT, self.stream.write_all(bytes)).await {
            Ok(sent) => sent,
            Err(_) => panic!("the hub neither reads nor closes"),
        }
    }

    pub async fn send_frame(&mut self, first: u8, payload: &[u8]) -> io::Result<()> {
        self.send(&frame(first, payload)).await
    }

    /// Sends one text message.
    pub async fn say(&mut self, text: &str) -> io::Result<()> {
        self.send_frame(TEXT, text.as_bytes()).await
    }

    /// Reads more bytes; false at the end of the stream, whether by a close or an error.
    async fn fill(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        match timeout(LIMIT, self.stream.read(&mut chunk)).await {
            Ok(Ok(count)) => {
                self.unread.extend_from_slice(&chunk[..count]);
                count > 0
            }
            Ok(Err(_)) => false,
            Err(_) => panic!(
                "the hub neither writes nor closes; unread: {:?}",
                self.unread
            ),
        }
    }

    /// The head of an HTTP answer; `None` if the connection ends without one.
    pub async fn answer_head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.unread.drain(..end + 4).collect();
                return Some(String::from_utf8_lossy(&head).into_owned());
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// The status of an HTTP answer; `None` if the connection ends without one.
    pub async fn status(&mut self) -> Option<u16> {
        self.answer_head().await?.get(9..12)?.parse().ok()
    }

    /// All bytes that arrive until the connection ends.
    pub async fn rest(mut self) -> String {
        while self.fill().await {}
        String::from_utf8_lossy(&self.unread).into_owned()
    }

    /// The next frame of the hub: its first byte and its payload.
    pub async fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((first, length, start)) = self.frame_head() {
                let end = start + length;
                if self.unread.len() >= end {
                    let payload = self.unread[start..end].to_vec();
                    self.unread.drain(..end);
                    return Some((first, payload));
                }
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    fn frame_head(&self) -> Option<(u8, usize, usize)> {
        let [first, short, rest @ ..] = self.unread.as_slice() else {
            return None;
        };
        assert!(short & 0x80 == 0, "a hub masks nothing");
        Some(match short {
            126 => {
                let length = u16::from_be_bytes(*rest.first_chunk()?);
                (*first, usize::from(length), 4)
            }
            127 => {
                let length = u64::from_be_bytes(*rest.first_chunk()?);
                (*first, usize::try_from(length).expect("a sane length"), 10)
            }
            short => (*first, usize::from(*short), 2),
        })
    }

    /// The next message; `None` once the hub closes. Answers pings and skips pongs.
    pub async fn message(&mut self) -> Option<Value> {
        loop {
            match self.next_frame().await? {
                (TEXT, text) => return Some(serde_json::from_slice(&text).expect("JSON")),
                (PING, payload) => self.answer(&payload).await,
                (PONG, _) => {}
                _ => return None,
            }
        }
    }

    async fn answer(&mut self, ping: &[u8]) {
        // A hub that is closing needs no answer.
        let _ = self.send_frame(PONG, ping).await;
    }

    /// The next message of this type.
    pub async fn message_of(&mut self, kind: &str) -> Value {
        loop {
            let message = self.message().await;
            let message = message.unwrap_or_else(|| panic!("closed before `{kind}`"));
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// Asks for a pong and waits for it. By then the hub has handled all earlier messages.
    pub async fn pong(&mut self) {
        self.say(r#"{"type":"ping"}"#).await.expect("a live hub");
        self.message_of("pong").await;
    }

    /// Reads until the hub has closed, and answers nothing.
    pub async fn end(&mut self) -> End {
        self.read_to_the_end(false).await
    }

    /// Like [`Self::end`], but as a client that is alive and answers pings.
    pub async fn end_alive(&mut self) -> End {
        self.read_to_the_end(true).await
    }

    async fn read_to_the_end(&mut self, alive: bool) -> End {
        let mut end = End::default();
        while let Some((first, payload)) = self.next_frame().await {
            match first {
                TEXT => {
                    let message: Value = serde_json::from_slice(&payload).expect("JSON");
                    if let Some(code) = message["code"].as_str() {
                        end.complaints.push(code.to_owned());
                    }
                }
                CLOSE => {
                    let (code, text) = payload.split_first_chunk().expect("a code");
                    let text = String::from_utf8(text.to_vec()).expect("UTF-8");
                    end.close = Some((u16::from_be_bytes(*code), text));
                }
                PING if alive => self.answer(&payload).await,
                _ => {}
            }
        }
        end
    }
}
