//! Every algorithm that is accepted, and every way to be refused. Tokens are minted here with ring; keys are made anew
//! for each test but RSA's, which ring cannot make (`tests/fixtures/jwt`, a key of these tests and of nothing else).

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use ring::{hmac, signature::EcdsaSigningAlgorithm};
use serde_json::{Value, json};

use super::*;
use crate::auth::scope::{Right, Scope};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Signs the first two parts of a token.
type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// A token with this header.
fn minted(header: &Value, claims: &Value, sign: &Sign) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signed = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signed}")
}

fn token(algorithm: &str, claims: &Value, sign: &Sign) -> String {
    minted(&json!({"alg": algorithm, "typ": "JWT"}), claims, sign)
}

fn hs(algorithm: hmac::Algorithm, secret: &str) -> Sign {
    let key = hmac::Key::new(algorithm, secret.as_bytes());
    Box::new(move |message| hmac::sign(&key, message).as_ref().to_vec())
}

fn hs256(claims: &Value) -> String {
    token("HS256", claims, &hs(hmac::HMAC_SHA256, SECRET))
}

/// A PEM block of a public key: the bytes before the key in its DER, and the key.
fn pem(prefix: &[u8], key: &[u8]) -> String {
    let body = STANDARD.encode([prefix, key].concat());
    format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
}

fn ec(algorithm: &'static EcdsaSigningAlgorithm, prefix: &[u8]) -> (Sign, String) {
    let random = SystemRandom::new();
    let made = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, made.as_ref(), &random).expect("a key");
    let pem = pem(prefix, pair.public_key().as_ref());
    let sign = move |message: &[u8]| {
        pair.sign(&random, message)
            .expect("signed")
            .as_ref()
            .to_vec()
    };
    (Box::new(sign), pem)
}

fn p256() -> (Sign, String) {
    ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, key::P256)
}

fn p384() -> (Sign, String) {
    ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, key::P384)
}

fn ed25519() -> (Sign, String) {
    let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
    let pair = Ed25519KeyPair::from_pkcs8(made.as_ref()).expect("a key");
    let pem = pem(key::ED25519, pair.public_key().as_ref());
    (
        Box::new(move |message| pair.sign(message).as_ref().to_vec()),
        pem,
    )
}

/// This value in DER, with a length of two bytes.
fn long(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("short").to_be_bytes();
    [&[tag, 0x82], length.as_slice(), content].concat()
}

fn rsa(padding: &'static dyn signature::RsaEncoding) -> (Sign, String) {
    let made = include_bytes!("../../../tests/fixtures/jwt/rsa.pk8.der");
    let pair = RsaKeyPair::from_pkcs8(made).expect("a key");
    let bits = long(0x03, &[&[0], pair.public_key().as_ref()].concat());
    let pem = pem(&long(0x30, &[key::RSA, &bits].concat()), &[]);
    let sign = move |message: &[u8]| {
        let mut signed = vec![0; pair.public().modulus_len()];
        pair.sign(padding, &SystemRandom::new(), message, &mut signed)
            .expect("signed");
        signed
    };
    (Box::new(sign), pem)
}

/// Seconds since 1970, so far from now.
fn from_now(seconds: i64) -> u64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
    (now + Duration::from_secs(10_000))
        .as_secs()
        .saturating_add_signed(seconds - 10_000)
}

/// Claims that expire in an hour, and these.
fn claims(more: Value) -> Value {
    let mut claims = json!({"exp": from_now(3600)});
    let all = claims.as_object_mut().expect("an object");
    all.extend(more.as_object().expect("an object").clone());
    claims
}

/// Confined to nothing.
const FREE: Result<Scope, Denied> = Ok(Scope {
    peer: None,
    networks: None,
    dialects: None,
    rights: None,
});

fn scope(grant: Grant) -> Scope {
    assert!(grant.proof.is_empty(), "nobody in particular");
    assert!(grant.expires_ms.is_some(), "every JWT ends");
    grant.scope
}

fn with_secret() -> Jwt {
    Jwt::new(JwtKey::secret(SECRET).expect("a key"), None, None)
}

fn with_public(pem: &str) -> Jwt {
    Jwt::new(JwtKey::public(pem).expect("a key"), None, None)
}

#[test]
fn every_hmac_is_taken_from_a_secret() {
    for (name, algorithm) in [
        ("HS256", hmac::HMAC_SHA256),
        ("HS384", hmac::HMAC_SHA384),
        ("HS512", hmac::HMAC_SHA512),
    ] {
        let good = token(name, &claims(json!({})), &hs(algorithm, SECRET));
        assert_eq!(with_secret().check(&good).map(scope), FREE, "{name}");
        let other = token(
            name,
            &claims(json!({})),
            &hs(algorithm, "another secret of 32 characters."),
        );
        assert_eq!(
            with_secret().check(&other),
            Err(Denied::Signature),
            "{name}"
        );
    }
}

#[test]
fn every_signature_is_taken_from_its_public_key() {
    let keys: [(&str, (Sign, String)); 9] = [
        ("RS256", rsa(&signature::RSA_PKCS1_SHA256)),
        ("RS384", rsa(&signature::RSA_PKCS1_SHA384)),
        ("RS512", rsa(&signature::RSA_PKCS1_SHA512)),
        ("PS256", rsa(&signature::RSA_PSS_SHA256)),
        ("PS384", rsa(&signature::RSA_PSS_SHA384)),
        ("PS512", rsa(&signature::RSA_PSS_SHA512)),
        ("ES256", p256()),
        ("ES384", p384()),
        ("EdDSA", ed25519()),
    ];
    for (name, (sign, pem)) in &keys {
        let good = token(name, &claims(json!({})), sign);
        assert_eq!(with_public(pem).check(&good).map(scope), FREE, "{name}");
    }
    // A key of the same kind and another owner.
    let good = token("ES256", &claims(json!({})), &p256().0);
    assert_eq!(with_public(&p256().1).check(&good), Err(Denied::Signature));
}

#[test]
fn the_key_and_not_the_token_decides_the_algorithm() {
    let (_, pem) = p256();
    let confused = [
        // Signed with the public key, which everybody knows, as if it were a secret.
        token("HS256", &claims(json!({})), &hs(hmac::HMAC_SHA256, &pem)),
        token(
            "HS256",
            &claims(json!({})),
            &hs(hmac::HMAC_SHA256, pem.trim()),
        ),
        token("EdDSA", &claims(json!({})), &ed25519().0),
        token("ES384", &claims(json!({})), &p384().0),
    ];
    for token in &confused {
        assert_eq!(with_public(&pem).check(token), Err(Denied::Algorithm));
    }
    let rsa = token(
        "RS256",
        &claims(json!({})),
        &rsa(&signature::RSA_PKCS1_SHA256).0,
    );
    assert_eq!(with_secret().check(&rsa), Err(Denied::Algorithm));
}

#[test]
fn an_unsigned_token_is_refused() {
    let unsigned: Sign = Box::new(|_| Vec::new());
    for name in ["none", "None", "NONE", "nOnE", ""] {
        let token = token(name, &claims(json!({})), &unsigned);
        assert_eq!(with_secret().check(&token), Err(Denied::Wrong), "{name}");
    }
    let stripped = token("HS256", &claims(json!({})), &unsigned);
    assert_eq!(with_secret().check(&stripped), Err(Denied::Signature));
}

#[test]
fn a_tampered_token_is_refused() {
    let good = hs256(&claims(json!({"sub": "ada"})));
    let forged = hs256(&claims(json!({"sub": "bob"})));
    let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (good, forged) = (parts(&good), parts(&forged));
    let mixed = format!("{}.{}.{}", good[0], forged[1], good[2]);
    assert_eq!(with_secret().check(&mixed), Err(Denied::Signature));
    let whole = good.join(".");
    for wrong in [
        &whole[..whole.len() - 1],
        &format!("{whole}A"),
        &format!("{whole}."),
        &format!("{}.{}", good[0], good[1]),
        "..",
        "",
    ] {
        assert!(with_secret().check(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_token_counts_from_nbf_to_exp_with_half_a_minute_of_grace() {
    let outcome = |claims: Value| with_secret().check(&hs256(&claims)).map(drop);
    let soon = from_now(3600);
    assert_eq!(outcome(json!({"exp": from_now(-20)})), Ok(()));
    assert_eq!(outcome(json!({"exp": from_now(-60)})), Err(Denied::Expired));
    assert_eq!(outcome(json!({"exp": soon, "nbf": from_now(20)})), Ok(()));
    assert_eq!(
        outcome(json!({"exp": soon, "nbf": from_now(60)})),
        Err(Denied::NotYetValid)
    );
    assert_eq!(outcome(json!({})), Err(Denied::NoExpiry));
    for odd in [json!("tomorrow"), json!(-1), json!([soon]), Value::Null] {
        assert_eq!(outcome(json!({"exp": odd})), Err(Denied::NoExpiry), "{odd}");
    }
    assert_eq!(outcome(json!({"exp": soon as f64 + 0.5})), Ok(()));
    for odd in [json!("yesterday"), json!(-1), Value::Null, json!({})] {
        let refused = outcome(json!({"exp": soon, "nbf": odd})).expect_err("refused");
        assert!(refused.to_string().contains("nbf must be"), "{refused}");
    }
}

#[test]
fn times_in_milliseconds_are_refused_by_name() {
    let outcome = |claims: Value| with_secret().check(&hs256(&claims)).map(drop);
    let soon = from_now(3600);
    assert_eq!(outcome(json!({"exp": 253_402_300_799_u64})), Ok(()));
    for late in [
        json!(soon * 1000),
        json!(253_402_300_800_u64),
        json!(1e300),
        json!(u64::MAX),
    ] {
        let refused = Err(Denied::Milliseconds("exp"));
        assert_eq!(outcome(json!({"exp": late})), refused, "{late}");
        let refused = Err(Denied::Milliseconds("nbf"));
        assert_eq!(
            outcome(json!({"exp": soon, "nbf": late})),
            refused,
            "{late}"
        );
    }
}

#[test]
fn what_a_header_calls_critical_is_refused() {
    let sign = hs(hmac::HMAC_SHA256, SECRET);
    for critical in [
        json!(["exp"]),
        json!(["b64"]),
        json!([]),
        Value::Null,
        json!("exp"),
    ] {
        let header = json!({"alg": "HS256", "crit": critical, "b64": true});
        let token = minted(&header, &claims(json!({})), &sign);
        assert_eq!(
            with_secret().check(&token),
            Err(Denied::Critical),
            "{critical}"
        );
    }
    // Fields that only name a key are ignored.
    let header = json!({"alg": "HS256", "kid": 7, "typ": null, "jwk": "odd"});
    let token = minted(&header, &claims(json!({})), &sign);
    assert_eq!(with_secret().check(&token).map(scope), FREE);
}

/// A token whose claims are exactly this text.
fn of_text(claims: &str) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", part(r#"{"alg":"HS256"}"#), part(claims));
    let sign = hs(hmac::HMAC_SHA256, SECRET);
    format!(
        "{message}.{}",
        URL_SAFE_NO_PAD.encode(sign(message.as_bytes()))
    )
}

#[test]
fn claims_are_read_as_javascript_writes_them() {
    let soon = from_now(3600);
    let granted =
        |rest: &str| with_secret().check(&of_text(&format!(r#"{{"exp":{soon},{rest}}}"#)));
    let half = granted(r#""peerId":"bob\ud83d","\udca5":"\ud83d","room":"\ud83d\udca5""#);
    let half = half.expect("valid");
    assert_eq!(half.scope.peer.as_deref(), Some("bob\u{fffd}"));
    assert!(half.scope.opens("💥") && !half.scope.opens("a"));
    let twice = granted(r#""peerId":"ada","peerId":"bob""#).expect("valid");
    assert_eq!(twice.scope.peer.as_deref(), Some("bob"));
    let deep = format!(r#""deep":{}{}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(granted(&deep).map(scope), FREE);
    for odd in ["7", "[]", "null", "", "{", "\"exp\"", "{} {}"] {
        assert_eq!(
            with_secret().check(&of_text(odd)),
            Err(Denied::Claims),
            "{odd}"
        );
    }
}

#[test]
fn a_subject_that_is_a_number_is_its_decimal_text() {
    let soon = from_now(3600);
    let proof = |sub: &str| {
        let token = of_text(&format!(r#"{{"exp":{soon},"sub":{sub}}}"#));
        with_secret().check(&token).map(|grant| grant.proof)
    };
    for (number, text) in [
        ("42", "42"),
        ("-7", "-7"),
        ("0", "0"),
        ("-0", "0"),
        ("42.0", "42"),
        ("4.2e1", "42"),
        ("1.5", "1.5"),
        ("12345678901234567890123", "12345678901234567890123"),
    ] {
        let as_text = proof(&format!("\"{text}\""));
        assert_eq!(proof(number), as_text, "{number}");
        assert!(as_text.is_ok_and(|proof| proof.len() == 32));
    }
    assert_ne!(proof("42"), proof("43"));
    for odd in ["true", "[42]", "{}", "1e999"] {
        let claim = "sub";
        let want = "a string or a number";
        assert_eq!(proof(odd), Err(Denied::Claim { claim, want }), "{odd}");
    }
}

#[test]
fn a_refusal_names_the_claim_and_not_its_value() {
    for claim in ["iss", "peerId", "room"] {
        let token = hs256(&claims(json!({claim: ["sesame"]})));
        let refused = with_secret()
            .check(&token)
            .expect_err("refused")
            .to_string();
        assert!(
            refused.contains(claim) && !refused.contains("sesame"),
            "{refused}"
        );
    }
    let named = [
        (Denied::Expired, "exp"),
        (Denied::NoExpiry, "exp"),
        (Denied::NotYetValid, "nbf"),
        (Denied::Issuer, "iss"),
        (Denied::Audience, "aud"),
        (Denied::Critical, "crit"),
    ];
    for (denied, claim) in named {
        assert!(denied.to_string().contains(claim), "{denied}");
    }
}

#[test]
fn issuer_and_audience_are_asked_for_where_they_are_configured() {
    let key = JwtKey::secret(SECRET).expect("a key");
    let strict = Jwt::new(key, Some("me"), Some("hub"));
    let outcome = |more: Value| strict.check(&hs256(&claims(more))).map(drop);
    assert_eq!(outcome(json!({"iss": "me", "aud": "hub"})), Ok(()));
    assert_eq!(outcome(json!({"iss": "me", "aud": ["x", "hub"]})), Ok(()));
    for wrong in [json!({"aud": "hub"}), json!({"iss": "you", "aud": "hub"})] {
        assert_eq!(outcome(wrong), Err(Denied::Issuer));
    }
    for wrong in [json!({"iss": "me"}), json!({"iss": "me", "aud": ["x"]})] {
        assert_eq!(outcome(wrong), Err(Denied::Audience));
    }
    let anyhow = hs256(&claims(json!({"iss": "you", "aud": "elsewhere"})));
    assert_eq!(with_secret().check(&anyhow).map(drop), Ok(()));
}

#[test]
fn a_subject_proves_the_same_by_every_token_and_no_other_subject_does() {
    let proof = |more: Value| {
        let granted = with_secret().check(&hs256(&claims(more)));
        granted.expect("valid").proof
    };
    let ada = proof(json!({"sub": "ada", "iss": "me"}));
    assert_eq!(ada.len(), 32);
    assert_eq!(
        ada,
        proof(json!({"iss": "me", "sub": "ada", "exp": from_now(60)}))
    );
    for other in [
        json!({"sub": "bob", "iss": "me"}),
        json!({"sub": "ada", "iss": "you"}),
        json!({"sub": "ada"}),
        json!({"sub": "ada", "iss": ""}),
        json!({"sub": "eada", "iss": "m"}),
    ] {
        assert_ne!(proof(other.clone()), ada, "{other}");
    }
    assert!(proof(json!({"iss": "me"})).is_empty());
    assert!(proof(json!({"sub": "", "iss": "me"})).is_empty());
}

#[test]
fn the_id_and_the_room_of_a_token_are_handed_on() {
    let token = hs256(&claims(json!({"peerId": "ada", "room": "chess"})));
    let grant = with_secret().check(&token).expect("valid");
    let scope = grant.scope;
    assert!(scope.admits("ada") && !scope.admits("Ada") && !scope.admits("bob"));
    assert_eq!(scope.networks, Some(vec!["chess".into()]));
    let odd = hs256(&claims(json!({"peerId": 7})));
    let (claim, want) = ("peerId", "a string");
    assert_eq!(
        with_secret().check(&odd),
        Err(Denied::Claim { claim, want })
    );
}

#[test]
fn what_a_token_confines_to_is_read_and_what_is_no_list_is_refused() {
    let scope = |more: Value| with_secret().check(&hs256(&claims(more))).map(scope);
    let all = json!({"networks": ["a", "b"], "dialect": ["yjs", "rooms", "of a later hub"], "rights": ["publish", "fly"]});
    assert_eq!(
        scope(all),
        Ok(Scope {
            peer: None,
            networks: Some(vec!["a".into(), "b".into()]),
            dialects: Some(vec!["yjs", "rooms"]),
            rights: Some(vec![Right::Publish]),
        })
    );
    let one = scope(json!({"dialect": "peerjs", "rights": null, "networks": null})).expect("valid");
    assert_eq!((one.dialects, one.rights), (Some(vec!["peerjs"]), None));
    // Both hold.
    for (networks, left) in [(json!(["a", "r"]), vec!["r"]), (json!(["a"]), vec![])] {
        let both = scope(json!({"room": "r", "networks": networks})).expect("valid");
        assert_eq!(
            both.networks,
            Some(left.into_iter().map(str::to_owned).collect())
        );
    }
    let many: Vec<usize> = (0..65).collect();
    let many: Vec<String> = many.iter().map(usize::to_string).collect();
    for (claim, odd) in [
        ("networks", json!("a")),
        ("networks", json!([1])),
        ("networks", json!(many)),
        ("dialect", json!(7)),
        ("dialect", json!([null])),
        ("rights", json!("publish")),
        ("rights", json!({})),
    ] {
        let refused = scope(json!({claim: odd})).expect_err("refused").to_string();
        assert!(refused.contains(claim), "{refused}");
    }
}

#[test]
fn a_key_signs_what_it_verifies_and_a_public_one_signs_nothing() {
    let made = claims(json!({"sub": "ada"}));
    let signed = with_secret().sign(&made).expect("it has a secret");
    let granted = with_secret().check(&signed).expect("valid");
    assert_eq!(granted.proof, with_secret().proof_of("ada"));
    let other = Jwt::new(JwtKey::secret(&"1".repeat(32)).expect("a key"), None, None);
    assert_eq!(
        other.check(&signed),
        Err(Denied::Signature),
        "the key has changed"
    );
    let public = with_public(&p256().1);
    assert!(!public.signs() && public.sign(&made) == Err(CannotSign));
}

#[test]
fn what_a_header_says_of_keys_chooses_none() {
    let sign = hs(hmac::HMAC_SHA256, "a secret that the attacker has made");
    for header in [
        json!({"alg": "HS256", "kid": "../../../dev/null"}),
        json!({"alg": "HS256", "kid": "' UNION SELECT 'k"}),
        json!({"alg": "HS256", "kid": ["a"], "jku": "http://127.0.0.1/keys"}),
        json!({"alg": "HS256", "jwk": {"kty": "oct", "k": "YSBzZWNyZXQ"}}),
        json!({"alg": "HS256", "x5u": "http://127.0.0.1/", "x5c": ["AAAA"]}),
    ] {
        let token = minted(&header, &claims(json!({})), &sign);
        assert_eq!(
            with_secret().check(&token),
            Err(Denied::Signature),
            "{header}"
        );
    }
}

proptest! {
    #[test]
    fn no_text_panics_or_opens(text in "[ -~]{0,60}|([A-Za-z0-9_-]{0,40}\\.){0,4}[A-Za-z0-9_-]{0,40}") {
        prop_assert!(with_secret().check(&text).is_err());
    }

    #[test]
    fn no_header_and_claims_open_without_the_secret(
        header in "\\{\"alg\":\"(HS256|none|RS256)\"(,\"[a-z]{1,4}\":[0-9]{1,3})?\\}",
        claims in "\\{(\"(exp|sub|iss)\":[0-9]{0,12})?\\}",
        signed in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
        let token = [encode(header.as_bytes()), encode(claims.as_bytes()), encode(&signed)].join(".");
        prop_assert!(with_secret().check(&token).is_err());
    }
}
