use std::fmt;

use thiserror::Error;
use x509_cert::der::asn1::UintRef;
use x509_cert::der::{Decode, Reader, SliceReader};
use x509_parser::asn1_rs::{Any, Oid, Tag};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION, OID_PKCS1_SHA256WITHRSA,
    OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384,
    OID_SIG_ED25519,
};
use x509_parser::x509::AlgorithmIdentifier;

use super::pkcs10::Pkcs10;

/// The public exponent of RSA that is allowed (F4); smaller ones have a history of attacks.
const RSA_EXPONENT: [u8; 3] = [1, 0, 1];

/// The kinds of key that a kubelet-serving certificate may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256 (secp256r1): what kubelets make.
    EcdsaP256,
    /// ECDSA on P-384 (secp384r1).
    EcdsaP384,
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// RSA with a modulus of 2048 bits.
    Rsa2048,
    /// RSA with a modulus of 3072 bits.
    Rsa3072,
    /// RSA with a modulus of 4096 bits.
    Rsa4096,
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::Ed25519 => "ed25519",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
        })
    }
}

/// Why a key or signature algorithm is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The public key's algorithm is none of RSA, ECDSA on P-256 and P-384, Ed25519.
    #[error("the public key's algorithm {0} is not allowed; RSA, ECDSA on P-256 or P-384 and Ed25519 are")]
    Algorithm(String),
    /// The curve is another than P-256 and P-384.
    #[error("the elliptic curve {0} is not allowed; P-256 and P-384 are")]
    Curve(String),
    /// The algorithm's parameters are not the ones its standard asks for (RFC 3279, RFC 5480, RFC 8410).
    #[error("the parameters of the {0} are not the ones its standard asks for")]
    Parameters(&'static str),
    /// The key's own encoding is wrong.
    #[error("the public key is not in the encoding its standard asks for")]
    Encoding,
    /// The signature's algorithm is not one with SHA-2 that goes with the key.
    #[error("the signature algorithm {signature} is not allowed with a key of the kind {key}; SHA-2 is asked for")]
    Signature {
        /// The object identifier of the signature's algorithm.
        signature: String,
        /// The kind of key.
        key: KeyKind,
    },
    /// An RSA modulus shorter than 2048 bits.
    #[error("an RSA key of {0} bits is too weak; 2048, 3072 and 4096 are allowed")]
    RsaTooShort(usize),
    /// An RSA modulus of an unusual length.
    #[error("an RSA key of {0} bits is not allowed; 2048, 3072 and 4096 are")]
    RsaLength(usize),
    /// An RSA exponent other than 65537.
    #[error("the RSA key's public exponent is not 65537")]
    RsaExponent,
}

impl KeyError {
    /// Whether the key is of an allowed kind, but weak.
    pub(super) fn is_weakness(&self) -> bool {
        match self {
            Self::RsaTooShort(_) | Self::RsaExponent => true,
            Self::Algorithm(_)
            | Self::Curve(_)
            | Self::Parameters(_)
            | Self::Encoding
            | Self::Signature { .. }
            | Self::RsaLength(_) => false,
        }
    }
}

/// Reads the kind of the request's key and checks that its signature is made with SHA-2 and goes with it.
pub(super) fn read(pkcs10: &Pkcs10<'_>) -> Result<KeyKind, KeyError> {
    let public_key = pkcs10.public_key();
    let bytes = &public_key.subject_public_key.data;
    let key = key_kind(&public_key.algorithm, bytes)?;
    check_signature_algorithm(pkcs10.signature_algorithm(), key)?;
    Ok(key)
}

fn key_kind(algorithm: &AlgorithmIdentifier<'_>, bytes: &[u8]) -> Result<KeyKind, KeyError> {
    let parameters = algorithm.parameters.as_ref();
    if algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = parameters.and_then(|any| any.as_oid().ok()).ok_or(KeyError::Parameters("public key"))?;
        let (kind, coordinate) = if curve == OID_EC_P256 {
            (KeyKind::EcdsaP256, 32)
        } else if curve == OID_NIST_EC_P384 {
            (KeyKind::EcdsaP384, 48)
        } else {
            return Err(KeyError::Curve(curve.to_id_string()));
        };
        // Go reads uncompressed points only (SEC 1 section 2.3.3). That the point is on the curve is checked with the signature.
        if bytes.len() == 1 + 2 * coordinate && bytes.first() == Some(&4) { Ok(kind) } else { Err(KeyError::Encoding) }
    } else if algorithm.algorithm == OID_SIG_ED25519 {
        match (parameters, bytes.len()) {
            (None, 32) => Ok(KeyKind::Ed25519),
            (None, _) => Err(KeyError::Encoding),
            (Some(_), _) => Err(KeyError::Parameters("public key")),
        }
    } else if algorithm.algorithm == OID_PKCS1_RSAENCRYPTION {
        if is_null(parameters) { rsa_kind(bytes) } else { Err(KeyError::Parameters("public key")) }
    } else {
        Err(KeyError::Algorithm(algorithm.algorithm.to_id_string()))
    }
}

/// Reads an RSAPublicKey (RFC 8017 appendix A.1.1).
fn rsa_kind(bytes: &[u8]) -> Result<KeyKind, KeyError> {
    let mut reader = SliceReader::new(bytes).map_err(|_| KeyError::Encoding)?;
    let (modulus, exponent) = reader
        .sequence(|inner| Ok::<_, x509_cert::der::Error>((UintRef::decode(inner)?, UintRef::decode(inner)?)))
        .map_err(|_| KeyError::Encoding)?;
    reader.finish().map_err(|_| KeyError::Encoding)?;

    let modulus = modulus.as_bytes();
    let leading = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    let bits = modulus.len() * 8 - leading;
    if bits < 2048 {
        return Err(KeyError::RsaTooShort(bits));
    }
    if exponent.as_bytes() != RSA_EXPONENT {
        return Err(KeyError::RsaExponent);
    }
    match bits {
        2048 => Ok(KeyKind::Rsa2048),
        3072 => Ok(KeyKind::Rsa3072),
        4096 => Ok(KeyKind::Rsa4096),
        _ => Err(KeyError::RsaLength(bits)),
    }
}

fn check_signature_algorithm(signature: &AlgorithmIdentifier<'_>, key: KeyKind) -> Result<(), KeyError> {
    let parameters = signature.parameters.as_ref();
    let (allowed, parameters_fit): (&[Oid<'_>], bool) = match key {
        KeyKind::EcdsaP256 | KeyKind::EcdsaP384 => {
            (&[OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384], parameters.is_none())
        }
        KeyKind::Ed25519 => (&[OID_SIG_ED25519], parameters.is_none()),
        KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => {
            (&[OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA], is_null(parameters))
        }
    };
    if !allowed.contains(&signature.algorithm) {
        return Err(KeyError::Signature { signature: signature.algorithm.to_id_string(), key });
    }
    if parameters_fit { Ok(()) } else { Err(KeyError::Parameters("signature")) }
}

/// RSA's algorithms have NULL for parameters (RFC 3279 section 2.3.1, RFC 4055 section 5).
fn is_null(parameters: Option<&Any<'_>>) -> bool {
    parameters.is_some_and(|any| any.tag() == Tag::Null && any.data.is_empty())
}
