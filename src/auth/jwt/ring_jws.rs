//! Signatures of JSON Web Tokens, verified and made by ring.
//!
//! `jsonwebtoken` leaves the arithmetic to a provider, which a process chooses once. TLS uses ring already, so this
//! provider brings no second crypto library into the binary. It verifies all algorithms that hubs accept, and signs
//! with HS256 alone, as hubs do.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{Error as SignatureError, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey};
use ring::hmac;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes ring do the arithmetic from now on.
pub(super) fn install() {
    // This fails only the second time, when the provider is there already.
    let _ = PROVIDER.install_default();
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    if *algorithm != Algorithm::HS256 || key.family() != AlgorithmFamily::Hmac {
        return Err(ErrorKind::UnsupportedAlgorithm.into());
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    Ok(Box::new(RingSigner { key }))
}

/// One secret, for HS256.
struct RingSigner {
    key: hmac::Key,
}

impl JwtSigner for RingSigner {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl Signer<Vec<u8>> for RingSigner {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        Ok(hmac::sign(&self.key, message).as_ref().to_vec())
    }
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    if algorithm.family() != key.family() {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    Ok(Box::new(RingVerifier {
        algorithm: *algorithm,
        key: key.try_get_as_bytes()?.to_vec(),
    }))
}

/// One key, for one algorithm of its kind.
struct RingVerifier {
    algorithm: Algorithm,
    key: Vec<u8>,
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signed: &Vec<u8>) -> Result<(), SignatureError> {
        let verified = match self.algorithm {
            Algorithm::HS256 => self.hmac(hmac::HMAC_SHA256, message, signed),
            Algorithm::HS384 => self.hmac(hmac::HMAC_SHA384, message, signed),
            Algorithm::HS512 => self.hmac(hmac::HMAC_SHA512, message, signed),
            public => {
                let algorithm = public_key(public).ok_or_else(SignatureError::new)?;
                UnparsedPublicKey::new(algorithm, &self.key).verify(message, signed)
            }
        };
        verified.map_err(|_| SignatureError::new())
    }
}

impl RingVerifier {
    /// Compares in constant time.
    fn hmac(
        &self,
        algorithm: hmac::Algorithm,
        message: &[u8],
        tag: &[u8],
    ) -> Result<(), ring::error::Unspecified> {
        hmac::verify(&hmac::Key::new(algorithm, &self.key), message, tag)
    }
}

fn public_key(algorithm: Algorithm) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match algorithm {
        Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::ES256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::ES384 => &signature::ECDSA_P384_SHA384_FIXED,
        Algorithm::EdDSA => &signature::ED25519,
        _ => return None,
    })
}
