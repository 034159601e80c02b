//! The certificate that the hub's own port shows: read, checked, and replaced while the hub runs.
//!
//! [`Certificates`] holds the pair of `TLS_CERT` and `TLS_KEY` that is in force. It reads the files again on a timer
//! and on request, and compares their contents, because the times say nothing if a symbolic link changes its target.
//! Files that cannot be used leave the earlier pair in force; each state of the files is tried, logged and counted
//! once. Open connections keep their pair.
//!
//! Invariants: the pair in force has a key that fits its certificate; no file is read on a runtime thread; nothing of a
//! key is ever shown. Started by the hub; the accept loop asks it for each connection.

mod door;
mod roots;
mod stream;
mod trust;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::Acceptor;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::TlsFiles;
use crate::limits::HandshakeSlot;
use crate::metrics::{Metrics, Reload};

pub(crate) use door::{StepTurns, TlsDoor};
pub use roots::NoRoots;
pub use stream::Stream;
pub(crate) use trust::Trust;

/// The longest file that is read, in bytes: a chain takes some thousands.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// How many handshakes each thread answers before it turns to the sockets of peers: these wait some milliseconds at
/// worst, and a busy hub still lets clients in.
pub(crate) const ANSWERED_AT_ONCE: usize = 4;
/// The most unwritten bytes of one connection that rustls keeps: the writer keeps the rest.
const UNWRITTEN_BYTES: usize = 16 * 1024;

/// A file of the pair cannot be used. Nothing changed; the operator has to mend it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{variable}: {}: {why}", path.display())]
pub struct BadFile {
    /// The variable that names it.
    pub variable: &'static str,
    /// Where it is.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: Fault,
}

/// What is wrong with a file of the pair.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// The system refuses to read it.
    #[error("{0}")]
    Unreadable(String),
    /// It is longer than any certificate chain.
    #[error("it is longer than {MAX_FILE_BYTES} bytes")]
    TooLong,
    /// There is no certificate in it.
    #[error(
        "there is no certificate in it that can be read (wanted: a PEM chain, this hub's first)"
    )]
    NoCertificate,
    /// Its first certificate cannot be used.
    #[error("its first certificate cannot be used: {0}")]
    BadCertificate(String),
    /// There is no key in it.
    #[error(
        "there is no private key in it that can be read (wanted: PEM, PKCS#8, PKCS#1 or SEC1, not encrypted)"
    )]
    NoKey,
    /// Its key cannot sign.
    #[error("its key cannot be used: {0}")]
    BadKey(String),
    /// The key belongs to another certificate.
    #[error("its key does not fit the first certificate in {}", .0.display())]
    Mismatch(PathBuf),
}

/// Reads the pair once, to see whether it can be used. Blocks while it reads.
pub fn check(files: &TlsFiles) -> Result<(), BadFile> {
    read(files).1.map(drop)
}

/// The result of the last look: a hash of the files' contents, or why they could not be read.
type Seen = Result<[u8; 32], BadFile>;

/// The pair that is in force.
pub struct Certificates {
    files: TlsFiles,
    metrics: Arc<Metrics>,
    in_force: Mutex<Arc<ServerConfig>>,
    seen: tokio::sync::Mutex<Seen>,
    asked: Notify,
}

impl Certificates {
    /// Reads the pair for the first time.
    pub async fn load(files: TlsFiles, metrics: Arc<Metrics>) -> Result<Arc<Self>, BadFile> {
        let (seen, made) = read_elsewhere(&files).await;
        Ok(Arc::new(Certificates {
            in_force: Mutex::new(made?),
            seen: tokio::sync::Mutex::new(seen),
            asked: Notify::new(),
            files,
            metrics,
        }))
    }

    /// Looks at the files at this interval, and whenever [`look_again`](Self::look_again) is called. Never returns.
    pub async fn follow(&self, every: Duration) {
        loop {
            // Both events have the same effect.
            let _ = timeout(every, self.asked.notified()).await;
            self.refresh().await;
        }
    }

    /// Makes [`follow`](Self::follow) look at the files now.
    pub fn look_again(&self) {
        self.asked.notify_one();
    }

    /// Takes the pair of the files if it has changed since the last look, and can be used.
    async fn refresh(&self) {
        let mut before = self.seen.lock().await;
        let (seen, made) = read_elsewhere(&self.files).await;
        if *before == seen {
            return;
        }
        *before = seen;
        match made {
            Ok(config) => {
                *self.in_force.lock() = config;
                self.metrics.tls_reloads.inc(Reload::Ok);
                tracing::info!(cert = %self.files.cert.display(), "new connections get the new certificate");
            }
            Err(why) => {
                self.metrics.tls_reloads.inc(Reload::Failed);
                tracing::warn!(%why, "the new certificate cannot be used: the old one stays in force");
            }
        }
    }

    /// The pair in force, for TURN: clients that name a protocol name another one there (RFC 7443).
    fn for_turn(&self) -> Arc<ServerConfig> {
        let mut config = ServerConfig::clone(&self.in_force.lock());
        config.alpn_protocols = vec![b"stun.turn".to_vec(), b"stun.nat-discovery".to_vec()];
        Arc::new(config)
    }

    /// As [`accept`](Self::accept), for clients of TURN.
    pub(crate) async fn accept_for_turn(
        &self,
        tcp: TcpStream,
        place: &HandshakeSlot,
        turns: &StepTurns,
    ) -> io::Result<TlsStream<TcpStream>> {
        shake_hands(tcp, || self.for_turn(), place, turns).await
    }

    /// The server's part of the handshake, with the pair in force. The client decides how long it takes.
    ///
    /// The answer to the client is the costly step: a signature takes up to a millisecond, after the client's first
    /// message or, after a HelloRetryRequest, after a later one. So only a few handshakes take a step at a time, in
    /// `turns` and by turns among the addresses. The sockets of peers go first.
    pub(super) async fn accept(
        &self,
        tcp: TcpStream,
        place: &HandshakeSlot,
        turns: &StepTurns,
    ) -> io::Result<Stream> {
        let config = || Arc::clone(&self.in_force.lock());
        let stream = shake_hands(tcp, config, place, turns).await?;
        Ok(Stream::Tls(Box::new(stream)))
    }
}

async fn shake_hands(
    tcp: TcpStream,
    config: impl FnOnce() -> Arc<ServerConfig>,
    place: &HandshakeSlot,
    turns: &StepTurns,
) -> io::Result<TlsStream<TcpStream>> {
    let begun = LazyConfigAcceptor::new(Acceptor::default(), tcp).await?;
    place.spoke();
    let accepting =
        begun.into_stream_with(config(), |tls| tls.set_buffer_limit(Some(UNWRITTEN_BYTES)));
    in_turn(accepting, place.turn(), turns).await
}

/// Takes each step of some work when both give it a turn, and keeps the turns only for the step.
async fn in_turn<W: Future>(work: W, own_turns: &Semaphore, turns: &StepTurns) -> W::Output {
    let stirred = Arc::new(Stirred::default());
    let waker = Waker::from(Arc::clone(&stirred));
    let mut work = pin!(work);
    loop {
        // The semaphore is never closed.
        let own_turn = own_turns.acquire().await;
        let turn = turns.take().await;
        let began = Instant::now();
        let step = work.as_mut().poll(&mut Context::from_waker(&waker));
        turns.rest(began.elapsed()).await;
        drop((turn, own_turn));
        if let Poll::Ready(done) = step {
            return done;
        }
        stirred.0.notified().await;
    }
}

/// Remembers that the work can go on, even while no task waits for that.
#[derive(Default)]
struct Stirred(Notify);

impl Wake for Stirred {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

type Made = Result<Arc<ServerConfig>, BadFile>;

async fn read_elsewhere(files: &TlsFiles) -> (Seen, Made) {
    let theirs = files.clone();
    let reading = spawn_blocking(move || read(&theirs));
    reading.await.unwrap_or_else(|why| {
        let bad = files.bad_cert(Fault::Unreadable(why.to_string()));
        (Err(bad.clone()), Err(bad))
    })
}

fn read(files: &TlsFiles) -> (Seen, Made) {
    let cert = contents(&files.cert).map_err(|why| files.bad_cert(why));
    let key = contents(&files.key).map_err(|why| files.bad_key(why));
    match (cert, key) {
        (Ok(cert), Ok(key)) => (Ok(hash(&cert, &key)), server_config(files, &cert, &key)),
        (Err(bad), _) | (_, Err(bad)) => (Err(bad.clone()), Err(bad)),
    }
}

fn contents(path: &Path) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|why| Fault::Unreadable(why.to_string()))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Fault::TooLong);
    }
    Ok(bytes)
}

fn hash(cert: &[u8], key: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    // The length of the first keeps any two pairs from having the same bytes.
    hash.update((cert.len() as u64).to_be_bytes());
    hash.update(cert);
    hash.update(key);
    hash.finalize().into()
}

fn server_config(files: &TlsFiles, cert: &[u8], key: &[u8]) -> Made {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(cert)
        .collect::<Result<_, _>>()
        .map_err(|_| files.bad_cert(Fault::NoCertificate))?;
    if chain.is_empty() {
        return Err(files.bad_cert(Fault::NoCertificate));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| files.bad_key(Fault::NoKey))?;
    let config = build(chain, key).map_err(|why| files.refused(why))?;
    Ok(Arc::new(config))
}

fn build(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Returning clients can resume without memory for each of them here; a new pair begins with new tickets.
    config.ticketer = ring::Ticketer::new()?;
    Ok(config)
}

impl TlsFiles {
    fn bad_cert(&self, why: Fault) -> BadFile {
        BadFile {
            variable: "TLS_CERT",
            path: self.cert.clone(),
            why,
        }
    }

    fn bad_key(&self, why: Fault) -> BadFile {
        BadFile {
            variable: "TLS_KEY",
            path: self.key.clone(),
            why,
        }
    }

    fn refused(&self, why: rustls::Error) -> BadFile {
        match why {
            rustls::Error::InconsistentKeys(_) => self.bad_key(Fault::Mismatch(self.cert.clone())),
            rustls::Error::InvalidCertificate(why) => {
                self.bad_cert(Fault::BadCertificate(why.to_string()))
            }
            why => self.bad_key(Fault::BadKey(why.to_string())),
        }
    }
}

#[cfg(test)]
mod tests;
