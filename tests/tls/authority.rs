//! The test's own certificate authority, and the files with a hub's certificate and key.

use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;

/// Signs certificates. Clients and hubs that trust this authority believe them.
pub struct Authority {
    pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
pub struct Pair {
    pub cert: String,
    pub key: String,
    pub der: CertificateDer<'static>,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([]).expect("no names");
        // Each authority has its own name. With one name for all, a client would take one for another, and find its
        // signatures wrong.
        let name = format!("authority {:016x}", rand::random::<u64>());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        Authority {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A pair for `localhost`, unlike every other.
    pub fn issue(&self) -> Pair {
        self.issue_for("localhost")
    }

    pub fn issue_for(&self, name: &str) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        Pair {
            cert: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().clone(),
        }
    }

    /// The settings of a client that trusts only this authority.
    pub fn client(&self) -> Arc<ClientConfig> {
        self.client_of(rustls::ALL_VERSIONS)
    }

    /// The settings of a client that trusts only this authority and uses only these versions of TLS.
    pub fn client_of(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions that ring has");
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

/// A directory with the files that a hub's settings name.
pub struct Files {
    directory: TempDir,
}

impl Files {
    pub fn of(pair: &Pair) -> Self {
        let files = Files {
            directory: TempDir::new().expect("a directory"),
        };
        files.put(pair);
        files
    }

    /// The files behind symbolic links, as Kubernetes mounts a secret: `cert.pem` is a link into `current`, which is a
    /// link to the directory in use.
    pub fn linked(pair: &Pair) -> Self {
        let files = Files {
            directory: TempDir::new().expect("a directory"),
        };
        files.turn_to("first", pair);
        for name in ["cert.pem", "key.pem"] {
            let target = Path::new("current").join(name);
            std::os::unix::fs::symlink(target, files.path(name)).expect("a link");
        }
        files
    }

    /// Points `current` to a new directory with this pair, in one step. The new files have the times of the old ones.
    pub fn turn_to(&self, directory: &str, pair: &Pair) {
        fs::create_dir(self.path(directory)).expect("a directory");
        let epoch = std::time::SystemTime::UNIX_EPOCH;
        for (name, text) in [("cert.pem", &pair.cert), ("key.pem", &pair.key)] {
            let path = self.path(directory).join(name);
            fs::write(&path, text).expect("written");
            let file = fs::File::options().append(true).open(&path).expect("there");
            file.set_modified(epoch).expect("a time");
        }
        std::os::unix::fs::symlink(directory, self.path("next")).expect("a link");
        fs::rename(self.path("next"), self.path("current")).expect("turned");
    }

    pub fn put(&self, pair: &Pair) {
        self.put_cert(&pair.cert);
        self.put_key(&pair.key);
    }

    pub fn put_cert(&self, text: &str) {
        self.replace("cert.pem", text);
    }

    pub fn put_key(&self, text: &str) {
        self.replace("key.pem", text);
    }

    pub fn put_roots<'a>(&self, authorities: impl IntoIterator<Item = &'a Authority>) {
        let all: String = authorities
            .into_iter()
            .map(|one| one.pem.as_str())
            .collect();
        self.replace("roots.pem", &all);
    }

    /// Replaces a file in one step. A hub that looks meanwhile must not find an empty file, because it would log that.
    fn replace(&self, name: &str, text: &str) {
        let beside = self.path("beside");
        fs::write(&beside, text).expect("written");
        fs::rename(beside, self.path(name)).expect("put in place");
    }

    pub fn cert(&self) -> PathBuf {
        self.path("cert.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.path("key.pem")
    }

    /// The value of `SSL_CERT_FILE`.
    pub fn roots(&self) -> PathBuf {
        self.path("roots.pem")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// A pair for `localhost` on disk, and the roots by which it is believed.
pub fn files(authority: &Authority) -> Files {
    let files = Files::of(&authority.issue());
    files.put_roots(iter::once(authority));
    files
}
