use std::fmt;

use aws_lc_rs::signature::{self, ParsedPublicKey};
use schemars::JsonSchema;
use serde::Deserialize;
use thiserror::Error;
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier, UintRef};
use x509_cert::der::oid::db::fips204::{ID_ML_DSA_44, ID_ML_DSA_65, ID_ML_DSA_87};
use x509_cert::der::oid::db::rfc5639::{
    BRAINPOOL_P_160_R_1, BRAINPOOL_P_192_R_1, BRAINPOOL_P_224_R_1, BRAINPOOL_P_256_R_1, BRAINPOOL_P_320_R_1,
    BRAINPOOL_P_384_R_1, BRAINPOOL_P_512_R_1,
};
use x509_cert::der::oid::db::rfc5912::{
    DSA_WITH_SHA_1, DSA_WITH_SHA_224, DSA_WITH_SHA_256, ECDSA_WITH_SHA_224, ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384,
    ECDSA_WITH_SHA_512, ID_DSA, ID_EC_DH, ID_EC_MQV, ID_EC_PUBLIC_KEY, ID_RSASSA_PSS, MD_2_WITH_RSA_ENCRYPTION,
    MD_5_WITH_RSA_ENCRYPTION, RSA_ENCRYPTION, SECP_224_R_1, SECP_256_R_1, SECP_384_R_1, SECP_521_R_1,
    SHA_1_WITH_RSA_ENCRYPTION, SHA_224_WITH_RSA_ENCRYPTION, SHA_256_WITH_RSA_ENCRYPTION, SHA_384_WITH_RSA_ENCRYPTION,
    SHA_512_WITH_RSA_ENCRYPTION,
};
use x509_cert::der::oid::db::rfc8410::{ID_ED_448, ID_ED_25519, ID_X_448, ID_X_25519};
use x509_cert::der::{Decode, Reader, SliceReader};
use x509_cert::spki::AlgorithmIdentifierRef;

use super::pkcs10::Pkcs10;
use super::rsa;
use crate::quote::list;

/// The public exponent of RSA that is allowed (F4); smaller ones have a history of attacks.
const RSA_EXPONENT: [u8; 3] = [1, 0, 1];

/// The y coordinates, little-endian, of the points of order 1, 2, 4 and 8 on edwards25519: 1, -1, 0 and the two of
/// order 8; and 0 and 1 as p and p + 1, which lenient readers take. With a public key among them, S·B = R + k·A
/// (RFC 8032 section 5.1.7) holds for signatures that anyone can make up.
#[rustfmt::skip]
const ED25519_SMALL_ORDER: [[u8; 32]; 7] = [
    [0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
     0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00],
    [0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    [0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
     0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00],
    [0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
     0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05],
    [0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
     0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a],
    [0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    [0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
];

/// The kinds of key that a kubelet-serving certificate may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum KeyKind {
    /// ECDSA on P-256 (secp256r1): what kubelets make.
    #[serde(rename = "ecdsa-p256")]
    EcdsaP256,
    /// ECDSA on P-384 (secp384r1).
    #[serde(rename = "ecdsa-p384")]
    EcdsaP384,
    /// Ed25519 (RFC 8410).
    #[serde(rename = "ed25519")]
    Ed25519,
    /// RSA with a modulus of 2048 bits.
    #[serde(rename = "rsa-2048")]
    Rsa2048,
    /// RSA with a modulus of 3072 bits.
    #[serde(rename = "rsa-3072")]
    Rsa3072,
    /// RSA with a modulus of 4096 bits.
    #[serde(rename = "rsa-4096")]
    Rsa4096,
}

impl KeyKind {
    /// All of them, which is what a policy allows unless it says otherwise.
    pub const ALL: [Self; 6] =
        [Self::EcdsaP256, Self::EcdsaP384, Self::Ed25519, Self::Rsa2048, Self::Rsa3072, Self::Rsa4096];
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
        /// The signature's algorithm: its name, where it is a well-known one, and its object identifier.
        signature: String,
        /// The kind of key.
        key: KeyKind,
    },
    /// A kind that the policy's rule does not list.
    #[error("a key of the kind {key} is not among those that the policy's rule allows: {}", list(.allowed))]
    NotInRule {
        /// The kind of key.
        key: KeyKind,
        /// What the rule lists.
        allowed: Vec<KeyKind>,
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
    /// An RSA modulus that 2 divides.
    #[error("the RSA key's modulus is even")]
    RsaEven,
    /// An RSA modulus that a small prime divides.
    #[error("the RSA key's modulus is divisible by {0}")]
    RsaSmallFactor(u64),
    /// An RSA modulus with the fingerprint of the library whose keys can be factored.
    #[error("the RSA key was made by a library whose keys can be factored (ROCA, CVE-2017-15361)")]
    RsaRoca,
    /// An RSA modulus whose two primes are close to each other.
    #[error("the RSA key's primes are so close to each other that it can be factored (CVE-2022-26320)")]
    RsaClosePrimes,
    /// An Ed25519 key for which signatures can be made without a private key.
    #[error("the Ed25519 key is a point of small order: anyone can sign with it")]
    SmallOrder,
}

impl KeyError {
    /// Whether the key is of an allowed kind, but weak.
    pub(super) fn is_weakness(&self) -> bool {
        match self {
            Self::RsaTooShort(_)
            | Self::RsaExponent
            | Self::RsaEven
            | Self::RsaSmallFactor(_)
            | Self::RsaRoca
            | Self::RsaClosePrimes
            | Self::SmallOrder => true,
            Self::Algorithm(_)
            | Self::Curve(_)
            | Self::Parameters(_)
            | Self::Encoding
            | Self::Signature { .. }
            | Self::NotInRule { .. }
            | Self::RsaLength(_) => false,
        }
    }
}

/// Reads the kind of the request's key and checks that its signature is made with SHA-2 and goes with it.
pub(super) fn read(pkcs10: &Pkcs10<'_>) -> Result<KeyKind, KeyError> {
    let key = key_kind(pkcs10.key_algorithm(), pkcs10.key_bytes())?;
    check_signature_algorithm(pkcs10.signature_algorithm(), key)?;
    Ok(key)
}

/// Whether a key on an elliptic curve of NIST's is a point of it; any other key passes.
///
/// A signature is never good for a key that is no point; this tells why, once it has turned out not to be good.
pub(super) fn is_point(pkcs10: &Pkcs10<'_>, key: KeyKind) -> bool {
    let curve = match key {
        KeyKind::EcdsaP256 => &signature::ECDSA_P256_SHA256_ASN1,
        KeyKind::EcdsaP384 => &signature::ECDSA_P384_SHA384_ASN1,
        KeyKind::Ed25519 | KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => return true,
    };
    ParsedPublicKey::new(curve, pkcs10.key_bytes()).is_ok()
}

/// What people call a key, whether it is allowed or not.
pub(super) fn describe(algorithm: AlgorithmIdentifierRef<'_>, bytes: &[u8]) -> String {
    match key_kind(algorithm, bytes) {
        Ok(kind) => kind.to_string(),
        Err(KeyError::RsaTooShort(bits) | KeyError::RsaLength(bits)) => format!("RSA of {bits} bits"),
        Err(KeyError::Curve(curve)) => format!("EC on {curve}"),
        Err(_) => named(algorithm.oid),
    }
}

fn key_kind(algorithm: AlgorithmIdentifierRef<'_>, bytes: &[u8]) -> Result<KeyKind, KeyError> {
    let parameters = algorithm.parameters;
    match algorithm.oid {
        ID_EC_PUBLIC_KEY => ec_kind(parameters, bytes),
        ID_ED_25519 if parameters.is_none() => ed25519_kind(bytes),
        RSA_ENCRYPTION if is_null(parameters) => rsa_kind(bytes),
        ID_ED_25519 | RSA_ENCRYPTION => Err(KeyError::Parameters("public key")),
        other => Err(KeyError::Algorithm(named(other))),
    }
}

/// Reads an ECPoint on a named curve (RFC 5480 sections 2.1.1 and 2.2).
fn ec_kind(parameters: Option<AnyRef<'_>>, bytes: &[u8]) -> Result<KeyKind, KeyError> {
    let curve = parameters
        .and_then(|any| any.decode_as::<ObjectIdentifier>().ok())
        .ok_or(KeyError::Parameters("public key"))?;
    let (kind, coordinate) = match curve {
        SECP_256_R_1 => (KeyKind::EcdsaP256, 32),
        SECP_384_R_1 => (KeyKind::EcdsaP384, 48),
        other => return Err(KeyError::Curve(named(other))),
    };
    // Go reads uncompressed points only (SEC 1 section 2.3.3). That the point is on the curve is checked with the signature.
    if bytes.len() == 1 + 2 * coordinate && bytes.first() == Some(&4) { Ok(kind) } else { Err(KeyError::Encoding) }
}

/// Reads an Ed25519 public key (RFC 8410 section 4).
fn ed25519_kind(bytes: &[u8]) -> Result<KeyKind, KeyError> {
    let mut point = <[u8; 32]>::try_from(bytes).map_err(|_| KeyError::Encoding)?;
    // The last bit is the sign of x; a point of small order is one with either sign.
    point[31] &= 0x7f;
    if ED25519_SMALL_ORDER.contains(&point) { Err(KeyError::SmallOrder) } else { Ok(KeyKind::Ed25519) }
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
    let kind = match bits {
        2048 => KeyKind::Rsa2048,
        3072 => KeyKind::Rsa3072,
        4096 => KeyKind::Rsa4096,
        _ => return Err(KeyError::RsaLength(bits)),
    };
    rsa::check(modulus)?;
    Ok(kind)
}

fn check_signature_algorithm(signature: AlgorithmIdentifierRef<'_>, key: KeyKind) -> Result<(), KeyError> {
    let parameters = signature.parameters;
    let (allowed, parameters_fit): (&[ObjectIdentifier], bool) = match key {
        KeyKind::EcdsaP256 | KeyKind::EcdsaP384 => (&[ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384], parameters.is_none()),
        KeyKind::Ed25519 => (&[ID_ED_25519], parameters.is_none()),
        KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => (
            &[SHA_256_WITH_RSA_ENCRYPTION, SHA_384_WITH_RSA_ENCRYPTION, SHA_512_WITH_RSA_ENCRYPTION],
            is_null(parameters),
        ),
    };
    if !allowed.contains(&signature.oid) {
        return Err(KeyError::Signature { signature: named(signature.oid), key });
    }
    if parameters_fit { Ok(()) } else { Err(KeyError::Parameters("signature")) }
}

/// RSA's algorithms have NULL for parameters (RFC 3279 section 2.3.1, RFC 4055 section 5).
fn is_null(parameters: Option<AnyRef<'_>>) -> bool {
    parameters.is_some_and(AnyRef::is_null)
}

/// What people call an algorithm or a curve, beside its object identifier; the identifier alone where it is not known.
pub(super) fn named(oid: ObjectIdentifier) -> String {
    NAMES.iter().find(|(known, _)| *known == oid).map_or_else(|| oid.to_string(), |(_, name)| format!("{name} ({oid})"))
}

/// Well-known algorithms and curves that are refused, or are refused with a key of another kind.
#[rustfmt::skip]
const NAMES: [(ObjectIdentifier, &str); 40] = [
    // FIPS 204, RFC 9881
    (ID_ML_DSA_44, "ML-DSA-44"),
    (ID_ML_DSA_65, "ML-DSA-65"),
    (ID_ML_DSA_87, "ML-DSA-87"),
    // RFC 8410
    (ID_X_25519, "X25519"),
    (ID_X_448, "X448"),
    (ID_ED_25519, "Ed25519"),
    (ID_ED_448, "Ed448"),
    // RFC 3279, RFC 4055, RFC 5480, RFC 5758
    (RSA_ENCRYPTION, "RSA"),
    (ID_RSASSA_PSS, "RSASSA-PSS"),
    (MD_2_WITH_RSA_ENCRYPTION, "RSA with MD2"),
    (MD_5_WITH_RSA_ENCRYPTION, "RSA with MD5"),
    (SHA_1_WITH_RSA_ENCRYPTION, "RSA with SHA-1"),
    (ObjectIdentifier::new_unwrap("1.3.14.3.2.29"), "RSA with SHA-1"),
    (SHA_224_WITH_RSA_ENCRYPTION, "RSA with SHA-224"),
    (SHA_256_WITH_RSA_ENCRYPTION, "RSA with SHA-256"),
    (SHA_384_WITH_RSA_ENCRYPTION, "RSA with SHA-384"),
    (SHA_512_WITH_RSA_ENCRYPTION, "RSA with SHA-512"),
    (ID_DSA, "DSA"),
    (DSA_WITH_SHA_1, "DSA with SHA-1"),
    (DSA_WITH_SHA_224, "DSA with SHA-224"),
    (DSA_WITH_SHA_256, "DSA with SHA-256"),
    (ID_EC_PUBLIC_KEY, "EC"),
    (ID_EC_DH, "ECDH"),
    (ID_EC_MQV, "ECMQV"),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.1"), "ECDSA with SHA-1"),
    (ECDSA_WITH_SHA_224, "ECDSA with SHA-224"),
    (ECDSA_WITH_SHA_256, "ECDSA with SHA-256"),
    (ECDSA_WITH_SHA_384, "ECDSA with SHA-384"),
    (ECDSA_WITH_SHA_512, "ECDSA with SHA-512"),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.1"), "P-192"),
    (SECP_224_R_1, "P-224"),
    (SECP_521_R_1, "P-521"),
    // SEC 2 section A.2.1
    (ObjectIdentifier::new_unwrap("1.3.132.0.10"), "secp256k1"),
    // RFC 5639
    (BRAINPOOL_P_160_R_1, "brainpoolP160r1"),
    (BRAINPOOL_P_192_R_1, "brainpoolP192r1"),
    (BRAINPOOL_P_224_R_1, "brainpoolP224r1"),
    (BRAINPOOL_P_256_R_1, "brainpoolP256r1"),
    (BRAINPOOL_P_320_R_1, "brainpoolP320r1"),
    (BRAINPOOL_P_384_R_1, "brainpoolP384r1"),
    (BRAINPOOL_P_512_R_1, "brainpoolP512r1"),
];
