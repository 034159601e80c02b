//! JSON Web Tokens, signed with the secret of the hubs or with another. Use it with
//! `#[path = "../common/jwt.rs"] mod jwt;`.

#![allow(dead_code, reason = "every test binary uses a part of its own")]

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// The `JWT_SECRET` of the hubs.
pub const SECRET: &str = "a secret of these tests, long enough";

/// A token with these claims that is valid for a quarter of an hour.
pub fn token(more: Value) -> String {
    signed(&json!({"alg": "HS256"}), more, SECRET)
}

/// A token with this header and these claims. It is signed with this secret by HS256, even if the header says
/// otherwise.
pub fn signed(header: &Value, more: Value, secret: &str) -> String {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
    let mut claims = json!({"exp": (now + Duration::from_secs(900)).as_secs(), "iss": "tests"});
    let all = claims.as_object_mut().expect("an object");
    all.extend(more.as_object().expect("an object").clone());
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(&claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length does");
    mac.update(message.as_bytes());
    let signed = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("{message}.{signed}")
}
