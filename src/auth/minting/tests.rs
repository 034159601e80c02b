//! An asker gets its own rights or fewer, and the same hub accepts the new token with the requested rights.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::auth::jwt::JwtKey;
use crate::clock::unix_ms;

fn jwt() -> Jwt {
    let key = JwtKey::secret(&"s".repeat(32)).expect("a key");
    Jwt::new(key, Some("tests"), Some("hub"))
}

fn now() -> u64 {
    unix_ms() / 1_000
}

fn request(text: &str) -> TokenRequest {
    serde_json::from_str(text).expect("a request")
}

/// The grant of the token that this asker gets by this request.
fn granted(asker: Asker<'_>, text: &str) -> Result<Grant, NotMinted> {
    let minted = mint(&jwt(), asker, request(text), now())?;
    Ok(jwt().check(&minted.token).expect("it is valid"))
}

fn refused(grant: &Grant, text: &str) -> NotMinted {
    granted(Asker::Holder(grant), text).expect_err(text)
}

#[test]
fn an_operator_gets_what_it_asks_for() {
    let all = r#"{"userId":"ada","networks":["b","a","a"],"dialect":"rooms","rights":["create"],"expiresIn":60}"#;
    let grant = granted(Asker::Operator, all).expect("it is made");
    assert_eq!(
        grant.scope,
        Scope {
            peer: Some("ada".into()),
            networks: Some(vec!["a".into(), "b".into()]),
            dialects: Some(vec!["rooms"]),
            rights: Some(vec![Right::Create]),
        }
    );
    assert_eq!(grant.proof, jwt().proof_of("ada"));
    let left = grant.expires_ms.expect("it ends") / 1_000 - now();
    assert!((58..=60).contains(&left), "{left}");
    let free = granted(Asker::Operator, "{}").expect("it is made");
    assert_eq!((free.scope, free.proof), (Scope::default(), Bytes::new()));
    let one = mint(&jwt(), Asker::Operator, request(r#"{"roomId":"r"}"#), now());
    let one = one.expect("it is made");
    assert_eq!((one.room_id.as_deref(), one.expires_in), (Some("r"), 3_600));
}

#[test]
fn what_may_not_be_asked_for_is_refused_by_its_name() {
    let long = "x".repeat(129);
    let many: Vec<String> = (0..65).map(|n| n.to_string()).collect();
    for (text, field) in [
        (r#"{"userId":""}"#.to_owned(), "userId"),
        (format!(r#"{{"userId":"{long}"}}"#), "userId"),
        (format!(r#"{{"roomId":"{long}"}}"#), "roomId"),
        (r#"{"roomId":"a","networks":["a"]}"#.to_owned(), "roomId"),
        (r#"{"networks":[""]}"#.to_owned(), "networks"),
        (format!(r#"{{"networks":{many:?}}}"#), "networks"),
        (r#"{"dialect":["rooms","dance"]}"#.to_owned(), "dialect"),
        (r#"{"rights":["publish","all"]}"#.to_owned(), "rights"),
        (r#"{"sub":""}"#.to_owned(), "sub"),
        (r#"{"expiresIn":0}"#.to_owned(), "expiresIn"),
        (r#"{"expiresIn":2592001}"#.to_owned(), "expiresIn"),
    ] {
        let why = granted(Asker::Operator, &text).expect_err(&text);
        assert!(matches!(why, NotMinted::Field { .. }), "{text}");
        assert!(why.to_string().starts_with(field), "{text}: {why}");
    }
    for text in [r#"{"right":["publish"]}"#, r#"{"networks":"a"}"#, "[]"] {
        assert!(
            serde_json::from_str::<TokenRequest>(text).is_err(),
            "{text}"
        );
    }
}

/// The grant of a token with all kinds of bounds.
fn bound() -> Grant {
    let asked = r#"{"userId":"ada","networks":["a","b"],"dialect":["rooms","yjs"],"rights":["publish","discover"],
        "sub":"ada's","expiresIn":600}"#;
    granted(Asker::Operator, asked).expect("it is made")
}

#[test]
fn a_holder_gets_what_it_holds_or_less_and_nothing_beside_it() {
    let own = bound();
    let same = granted(Asker::Holder(&own), "{}").expect("it is made");
    assert_eq!(same.scope, own.scope);
    assert!(same.expires_ms <= own.expires_ms, "no later");
    assert_eq!(
        (same.proof, same.subject),
        (own.proof.clone(), own.subject.clone())
    );
    let narrow = r#"{"roomId":"b","dialect":"yjs","rights":[],"expiresIn":5,"sub":"ada's"}"#;
    let less = granted(Asker::Holder(&own), narrow).expect("it is made");
    assert_eq!(less.scope.networks, Some(vec!["b".into()]));
    assert_eq!(less.scope.rights, Some(Vec::new()));
    assert_eq!(less.scope.peer.as_deref(), Some("ada"));
    assert_eq!(less.proof, own.proof);
    for (text, field) in [
        (r#"{"userId":"bob"}"#, "userId"),
        (r#"{"roomId":"c"}"#, "networks"),
        (r#"{"networks":["a","c"]}"#, "networks"),
        (r#"{"dialect":"pigeon"}"#, "dialect"),
        (r#"{"rights":["create"]}"#, "rights"),
        (r#"{"expiresIn":601}"#, "expiresIn"),
        (r#"{"sub":"bob's"}"#, "sub"),
    ] {
        assert_eq!(refused(&own, text), NotMinted::Wider(field), "{text}");
    }
}

#[test]
fn what_is_made_by_a_token_is_of_its_subject_issuer_and_audience() {
    let key = || JwtKey::secret(&"s".repeat(32)).expect("a key");
    let any = Jwt::new(key(), None, None);
    for aud in [json!("hub"), json!(["hub", "shop"])] {
        let claims = json!({"sub": "ada", "iss": "elsewhere", "aud": aud, "exp": now() + 600});
        let own = any.sign(&claims).expect("it is signed");
        let own = any.check(&own).expect("it is valid");
        for text in ["{}", r#"{"sub":"ada"}"#] {
            let made = mint(&any, Asker::Holder(&own), request(text), now()).expect(text);
            let of = Jwt::new(key(), Some("elsewhere"), Some("hub"));
            let made = of
                .check(&made.token)
                .expect("of the same issuer and audience");
            assert_eq!(made.proof, own.proof, "{text}");
            assert_eq!(made.subject.as_deref(), Some("ada"), "{text}");
            assert_eq!(made.audience, own.audience, "{text}");
        }
        let other = mint(
            &any,
            Asker::Holder(&own),
            request(r#"{"sub":"bob"}"#),
            now(),
        );
        assert_eq!(other, Err(NotMinted::Wider("sub")));
    }
}

#[test]
fn whoever_proves_to_be_nobody_makes_nobody_a_subject() {
    let shared = Grant::default();
    assert_eq!(
        refused(&shared, r#"{"sub":"ada"}"#),
        NotMinted::Wider("sub")
    );
    let made = granted(Asker::Holder(&shared), r#"{"userId":"ada"}"#).expect("it is made");
    assert!(made.proof.is_empty());
}

#[test]
fn a_token_that_is_over_makes_no_other_though_it_has_grace() {
    let over = Grant {
        expires_ms: Some((now() - 5) * 1_000),
        ..Grant::default()
    };
    assert_eq!(refused(&over, "{}"), NotMinted::Expired(Denied::Expired));
}

#[test]
fn whoever_has_but_a_public_key_makes_none() {
    let pem = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEVs/o5+uQbTjL3chynL4wXgUg2R9
q9UU8I5mEovUf86QZ7kOBIjJwqnzD1omageEHWwHdBO6B+dFabmdT9POxg==
-----END PUBLIC KEY-----";
    let jwt = Jwt::new(JwtKey::public(pem).expect("a key"), None, None);
    let refused = mint(&jwt, Asker::Operator, TokenRequest::default(), now());
    assert_eq!(refused, Err(NotMinted::CannotSign(CannotSign)));
}

/// Any subset of these, or nothing said of it.
fn some(of: &'static [&'static str]) -> impl Strategy<Value = Option<Vec<String>>> {
    let any = proptest::sample::subsequence(of, 0..=of.len());
    let owned = |all: Vec<&str>| all.into_iter().map(str::to_owned).collect();
    proptest::option::of(any.prop_map(owned))
}

prop_compose! {
    fn any_request()(
        user_id in proptest::option::of("[ab]"),
        networks in some(&["x", "y", "z"]),
        dialect in some(&["pigeon", "rooms", "yjs"]),
        rights in some(&["publish", "discover", "create"]),
        expires_in in proptest::option::of(1_u64..5_000),
    ) -> TokenRequest {
        let dialect = dialect.map(OneOrMany::Many);
        TokenRequest { user_id, networks, dialect, rights, expires_in, ..TokenRequest::default() }
    }
}

/// Whether one opens nothing that the other does not.
fn is_within(less: &Grant, more: &Grant) -> bool {
    let (one, all) = (&less.scope, &more.scope);
    ["a", "b"]
        .iter()
        .all(|id| all.admits(*id) || !one.admits(*id))
        && ["x", "y", "z", "w"]
            .iter()
            .all(|name| all.opens(name) || !one.opens(name))
        && hubmesh_core::ids::Dialect::ALL
            .iter()
            .all(|dialect| all.speaks(*dialect) || !one.speaks(*dialect))
        && Right::ALL
            .into_iter()
            .all(|right| all.has(right) || !one.has(right))
        && more
            .expires_ms
            .is_none_or(|ends| less.expires_ms.is_some_and(|own| own <= ends))
}

proptest! {
    #[test]
    fn no_chain_of_tokens_ever_widens(requests in proptest::collection::vec(any_request(), 1..5)) {
        let mut own: Option<Grant> = None;
        for request in requests {
            let asker = own.as_ref().map_or(Asker::Operator, Asker::Holder);
            let Ok(minted) = mint(&jwt(), asker, request, now()) else {
                continue;
            };
            let made = jwt().check(&minted.token).expect("it is valid");
            if let Some(own) = &own {
                prop_assert!(is_within(&made, own), "{made:?} of {own:?}");
            }
            own = Some(made);
        }
    }
}
