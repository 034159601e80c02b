//! A webhook with an `https://` URL, and the certificates that the hub believes when it posts there.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::authority::{Authority, Pair, files};
use crate::hub_process::{HubProcess, LIMIT};
use crate::peer::Peer;

fn acceptor(pair: &Pair) -> TlsAcceptor {
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions that ring has")
        .with_no_client_auth()
        .with_single_cert(vec![pair.der.clone()], key);
    TlsAcceptor::from(Arc::new(config.expect("a pair")))
}

#[tokio::test]
async fn another_authority_is_believed_without_a_restart_of_the_hub() {
    let (old, new) = (Authority::new(), Authority::new());
    let own = files(&old);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let hub = HubProcess::builder()
        .env("SSL_CERT_FILE", own.roots())
        .env("EVENTS_WEBHOOK_URL", format!("https://localhost:{port}/"))
        .env("EVENTS_WEBHOOK_SECRET", "of-the-webhook-alone")
        .start()
        .await;
    let _peer = Peer::join(&hub, "kept").await;
    let acceptor = acceptor(&new.issue());
    let shaken = async || {
        let (tcp, _) = listener.accept().await.expect("a post");
        acceptor.accept(tcp).await
    };
    let refused = timeout(LIMIT, shaken()).await.expect("in time");
    assert!(refused.is_err(), "it believes the old authority alone");
    own.put_roots([&new]);
    let posted = async {
        loop {
            if let Ok(mut stream) = shaken().await {
                let mut head = [0; 4];
                stream.read_exact(&mut head).await.expect("it is sent");
                let answer = b"HTTP/1.1 204 X\r\nConnection: close\r\n\r\n";
                stream.write_all(answer).await.expect("it is read");
                return head;
            }
        }
    };
    let head = timeout(LIMIT, posted).await.expect("in time");
    assert_eq!(&head, b"POST");
}
