//! The key that tokens are signed with, from an operator's settings, and the algorithms for it.
//!
//! A shared secret, or a public key as PEM (`SubjectPublicKeyInfo`, RFC 5280, the block that `openssl pkey -pubout`
//! writes). The accepted algorithms are those that ring verifies. Reads no file and no environment. Errors never show
//! the key.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;

/// The shortest secret, in bytes: the size of an HS256 signature (RFC 7518, 3.2).
const MIN_SECRET_BYTES: usize = 32;

/// The bytes of a P-256 key before its point, and the first byte of the point.
pub(super) const P256: &[u8] =
    b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\
    \x03\x42\x00";
/// The same for P-384.
pub(super) const P384: &[u8] =
    b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00";
/// The same for Ed25519.
pub(super) const ED25519: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
/// The algorithm of an RSA key: rsaEncryption, without parameters.
pub(super) const RSA: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
/// The size of the DER of an RSA key of 2048 bits, the shortest that ring accepts.
const MIN_RSA_BYTES: usize = 266;

/// A key for tokens, and its algorithms.
#[derive(Clone, Debug)]
pub struct JwtKey {
    key: DecodingKey,
    algorithms: Vec<Algorithm>,
    /// The key that signs, if it is known.
    signing: Option<EncodingKey>,
}

/// Why a text is not a key. It is the operator's mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadKey {
    /// A secret that can be guessed.
    #[error("is too short: use at least 32 bytes, for example from `openssl rand -hex 32`")]
    ShortSecret,
    /// A public key in place of a secret: everybody knows it, so anybody could sign.
    #[error("is a PEM block: a public key goes into JWT_PUBLIC_KEY")]
    PemSecret,
    /// A PEM block that does not hold a public key.
    #[error("is not a PEM block `PUBLIC KEY`, as `openssl pkey -pubout` writes it")]
    NoPublicKey,
    /// A public key of another kind.
    #[error(
        "is a public key of a kind that is not supported: use RSA of 2048 bits or more, P-256, P-384 or Ed25519"
    )]
    Unsupported,
}

impl JwtKey {
    /// The secret that the hub shares with the issuer: HS256, HS384, HS512.
    pub fn secret(secret: &str) -> Result<Self, BadKey> {
        if secret.starts_with("-----BEGIN") {
            return Err(BadKey::PemSecret);
        }
        if secret.len() < MIN_SECRET_BYTES {
            return Err(BadKey::ShortSecret);
        }
        Ok(JwtKey {
            key: DecodingKey::from_secret(secret.as_bytes()),
            algorithms: vec![Algorithm::HS256, Algorithm::HS384, Algorithm::HS512],
            signing: Some(EncodingKey::from_secret(secret.as_bytes())),
        })
    }

    /// The public key of the issuer, as PEM: RS256 to RS512 and PS256 to PS512, ES256 or ES384, or EdDSA.
    pub fn public(pem: &str) -> Result<Self, BadKey> {
        let info = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| BadKey::NoPublicKey)?;
        let info = info.as_ref();
        // The point of a P-256 key: a mark and two coordinates. ring checks that the point is on the curve.
        let sized = |prefix, size| {
            let key: Option<&[u8]> = info.strip_prefix(prefix);
            key.filter(|key| key.len() == size)
        };
        let (key, algorithms) = if let Some(point) = sized(P256, 65) {
            (DecodingKey::from_ec_der(point), vec![Algorithm::ES256])
        } else if let Some(point) = sized(P384, 97) {
            (DecodingKey::from_ec_der(point), vec![Algorithm::ES384])
        } else if let Some(point) = sized(ED25519, 32) {
            (DecodingKey::from_ed_der(point), vec![Algorithm::EdDSA])
        } else {
            let key = rsa(info).ok_or(BadKey::Unsupported)?;
            (DecodingKey::from_rsa_der(key), RSA_ALGORITHMS.to_vec())
        };
        Ok(JwtKey {
            key,
            algorithms,
            signing: None,
        })
    }

    pub(super) fn into_parts(self) -> (DecodingKey, Vec<Algorithm>, Option<EncodingKey>) {
        (self.key, self.algorithms, self.signing)
    }
}

const RSA_ALGORITHMS: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// The `RSAPublicKey` inside: a sequence, the algorithm, and a bit string without unused bits.
fn rsa(info: &[u8]) -> Option<&[u8]> {
    let bits = long(info, 0x30)?.strip_prefix(RSA)?;
    let key = long(bits, 0x03)?.strip_prefix(&[0])?;
    (key.len() >= MIN_RSA_BYTES).then_some(key)
}

/// The content of a DER value with this tag that fills `der`. Its length takes two bytes, as in every RSA key that is
/// long enough.
fn long(der: &[u8], tag: u8) -> Option<&[u8]> {
    let (&[first, 0x82, high, low], content) = der.split_first_chunk::<4>()? else {
        return None;
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    (first == tag && content.len() == length).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    const P256_PEM: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEVs/o5+uQbTjL3chynL4wXgUg2R9
q9UU8I5mEovUf86QZ7kOBIjJwqnzD1omageEHWwHdBO6B+dFabmdT9POxg==
-----END PUBLIC KEY-----";

    #[test]
    fn a_secret_has_thirty_two_bytes_and_is_no_public_key() {
        let outcome = |secret: &str| JwtKey::secret(secret).map(drop);
        assert_eq!(outcome(&"x".repeat(32)), Ok(()));
        assert_eq!(outcome(&"x".repeat(31)), Err(BadKey::ShortSecret));
        assert_eq!(outcome(P256_PEM), Err(BadKey::PemSecret));
    }

    #[test]
    fn a_public_key_decides_the_algorithms() {
        let key = JwtKey::public(P256_PEM).expect("a key");
        assert_eq!(key.algorithms, [Algorithm::ES256]);
    }

    #[test]
    fn what_is_no_public_key_of_a_known_kind_is_refused() {
        let outcome = |pem: &str| JwtKey::public(pem).map(drop);
        for text in ["", "x", "-----BEGIN PUBLIC KEY-----"] {
            assert_eq!(outcome(text), Err(BadKey::NoPublicKey), "{text}");
        }
        let private = P256_PEM.replace("PUBLIC", "PRIVATE");
        assert_eq!(outcome(&private), Err(BadKey::NoPublicKey));
        // Another curve, and a key that is cut short.
        let other = P256_PEM.replace("AQcDQgAE", "AQYDQgAE");
        assert_eq!(outcome(&other), Err(BadKey::Unsupported));
        let short = P256_PEM.replace(
            "q9UU8I5mEovUf86QZ7kOBIjJwqnzD1omageEHWwHdBO6B+dFabmdT9POxg==\n",
            "",
        );
        assert_eq!(outcome(&short), Err(BadKey::Unsupported));
    }

    #[test]
    fn a_key_does_not_print_itself() {
        let secret = "0123456789abcdef0123456789abcdef";
        let shown = format!("{:?}", JwtKey::secret(secret).expect("a key"));
        assert!(
            shown.contains("redacted") && !shown.contains(secret),
            "{shown}"
        );
    }
}
