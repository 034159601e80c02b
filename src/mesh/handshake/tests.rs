use super::*;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role as SocketRole;

fn identity(hub: u8, namespace: &str, token: &str) -> Identity {
    Identity {
        hub: HubId([hub; 20]),
        incarnation: Incarnation {
            epoch: 0,
            nonce: u64::from(hub),
        },
        namespace: namespace.to_owned(),
        token: token.to_owned(),
    }
}

async fn shake(
    dialler: Identity,
    acceptor: Identity,
) -> (
    Result<Peered, HandshakeError>,
    Result<Peered, HandshakeError>,
) {
    let (near, far) = tokio::io::duplex(4096);
    let mut near = WebSocketStream::from_raw_socket(near, SocketRole::Client, None).await;
    let mut far = WebSocketStream::from_raw_socket(far, SocketRole::Server, None).await;
    tokio::join!(
        dial(&mut near, &dialler, 7),
        accept(&mut far, &acceptor, || ())
    )
}

#[tokio::test]
async fn hubs_with_one_token_learn_of_each_other() {
    let (near, far) = shake(identity(1, "m", "secret"), identity(2, "m", "secret")).await;
    assert_eq!(near.unwrap().hub, HubId([2; 20]));
    let far = far.unwrap();
    assert_eq!((far.hub, far.dial_number), (HubId([1; 20]), 7));
}

#[tokio::test]
async fn another_token_is_refused_and_both_know_why() {
    let (near, far) = shake(identity(1, "m", "guess"), identity(2, "m", "secret")).await;
    assert_eq!(near, Err(HandshakeError::Refused(Rejection::Token)));
    assert_eq!(far, Err(HandshakeError::RefusedByOther(Rejection::Token)));
}

#[tokio::test]
async fn another_namespace_is_refused_and_both_know_why() {
    let (near, far) = shake(
        identity(1, "mine", "secret"),
        identity(2, "yours", "secret"),
    )
    .await;
    assert_eq!(
        near,
        Err(HandshakeError::RefusedByOther(Rejection::Namespace))
    );
    assert_eq!(far, Err(HandshakeError::Refused(Rejection::Namespace)));
}

#[tokio::test(start_paused = true)]
async fn a_silent_other_end_is_given_up_in_time() {
    let (near, _far) = tokio::io::duplex(4096);
    let mut near = WebSocketStream::from_raw_socket(near, SocketRole::Server, None).await;
    assert_eq!(
        accept(&mut near, &identity(1, "m", ""), || ()).await,
        Err(HandshakeError::Late)
    );
}

#[tokio::test]
async fn noise_is_refused() {
    let (near, far) = tokio::io::duplex(4096);
    let mut near = WebSocketStream::from_raw_socket(near, SocketRole::Client, None).await;
    let mut far = WebSocketStream::from_raw_socket(far, SocketRole::Server, None).await;
    let acceptor = identity(2, "m", "secret");
    let noise = near.send(Message::Binary(Bytes::from_static(&[0xff; 40])));
    let (sent, refused) = tokio::join!(noise, accept(&mut far, &acceptor, || ()));
    assert!(sent.is_ok());
    assert_eq!(refused, Err(HandshakeError::Refused(Rejection::Malformed)));
}

#[test]
fn a_proof_fits_one_direction_only() {
    let me = identity(1, "m", "secret");
    let hello = Hello {
        versions: VERSIONS,
        namespace: "m".to_owned(),
        hub: me.hub,
        incarnation: me.incarnation,
        nonce: [1; 32],
        dial_number: 1,
    };
    let welcome = Welcome {
        version: 1,
        hub: me.hub,
        incarnation: me.incarnation,
        nonce: [2; 32],
        proof: [0; 32],
    };
    let said = Greetings::new(
        &encode(&Greeting::Hello(hello)).unwrap(),
        &encode(&Greeting::Welcome(welcome.clone())).unwrap(),
        &welcome,
    );
    let proved = proof(&me, Role::Dialler, &said);
    assert!(check(&proved, &me, Role::Dialler, &said).is_ok());
    assert!(check(&proved, &me, Role::Acceptor, &said).is_err());
}

#[tokio::test]
async fn a_dialler_that_says_more_than_this_version_knows_is_admitted() {
    let (near, far) = tokio::io::duplex(4096);
    let mut near = WebSocketStream::from_raw_socket(near, SocketRole::Client, None).await;
    let mut far = WebSocketStream::from_raw_socket(far, SocketRole::Server, None).await;
    let me = identity(1, "m", "secret");
    let later = async {
        let hello = Greeting::Hello(Hello {
            versions: (1, VERSIONS.1 + 1),
            namespace: "m".to_owned(),
            hub: me.hub,
            incarnation: me.incarnation,
            nonce: [1; 32],
            dial_number: 9,
        });
        let mut hello = encode(&hello)?.to_vec();
        hello.extend_from_slice(b"a field of a later version");
        let hello = Bytes::from(hello);
        send(&mut near, hello.clone()).await?;
        let (Greeting::Welcome(welcome), answer) = receive(&mut near).await? else {
            panic!("a welcome is expected")
        };
        let said = Greetings::new(&hello, &answer, &welcome);
        check(&welcome.proof, &me, Role::Acceptor, &said)?;
        let proof = Greeting::Proof(proof(&me, Role::Dialler, &said));
        send(&mut near, encode(&proof)?).await?;
        receive(&mut near).await
    };
    let acceptor = identity(2, "m", "secret");
    let (ready, peered) = tokio::join!(later, accept(&mut far, &acceptor, || ()));
    assert!(matches!(ready, Ok((Greeting::Ready, _))), "{ready:?}");
    let peered = peered.unwrap();
    assert_eq!(peered.dial_number, 9);
    assert_eq!(peered.version, VERSIONS.1);
}

#[tokio::test]
async fn a_dialler_of_the_version_before_is_spoken_to_in_that_version() {
    let (near, far) = tokio::io::duplex(4096);
    let mut near = WebSocketStream::from_raw_socket(near, SocketRole::Client, None).await;
    let mut far = WebSocketStream::from_raw_socket(far, SocketRole::Server, None).await;
    let me = identity(1, "m", "secret");
    let earlier = async {
        let hello = encode(&Greeting::Hello(Hello {
            versions: (1, 1),
            namespace: "m".to_owned(),
            hub: me.hub,
            incarnation: me.incarnation,
            nonce: [1; 32],
            dial_number: 9,
        }))?;
        send(&mut near, hello.clone()).await?;
        let (Greeting::Welcome(welcome), answer) = receive(&mut near).await? else {
            panic!("a welcome is expected")
        };
        assert_eq!(welcome.version, 1);
        let said = Greetings::new(&hello, &answer, &welcome);
        let proof = Greeting::Proof(proof(&me, Role::Dialler, &said));
        send(&mut near, encode(&proof)?).await?;
        receive(&mut near).await
    };
    let acceptor = identity(2, "m", "secret");
    let (ready, peered) = tokio::join!(earlier, accept(&mut far, &acceptor, || ()));
    assert!(matches!(ready, Ok((Greeting::Ready, _))), "{ready:?}");
    assert_eq!(peered.unwrap().version, 1);
}
