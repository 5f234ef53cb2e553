//! Keys for the requests of cases, and requests that are really signed with them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use parking_lot::Mutex;
use serde::Deserialize;
use x509_cert::der::asn1::{BitString, ObjectIdentifier};
use x509_cert::der::oid::db::rfc5912::{
    ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ECDSA_WITH_SHA_512, SHA_256_WITH_RSA_ENCRYPTION,
};
use x509_cert::der::oid::db::rfc8410::ID_ED_25519;
use x509_cert::der::pem::{self, LineEnding};
use x509_cert::der::{Any, Decode as _, Encode as _};
use x509_cert::request::{CertReq, CertReqInfo};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

/// The kind of a request's key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Key {
    /// What kubelets make.
    #[default]
    EcdsaP256,
    EcdsaP384,
    EcdsaP521,
    Ed25519,
    #[serde(rename = "rsa-2048")]
    Rsa2048,
    #[serde(rename = "rsa-3072")]
    Rsa3072,
    #[serde(rename = "rsa-4096")]
    Rsa4096,
}

/// A private key.
enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

/// One key of each kind, made when it is first asked for: RSA's take long.
static PAIRS: LazyLock<Mutex<HashMap<Key, Arc<Pair>>>> = LazyLock::new(Mutex::default);

impl Key {
    /// The SubjectPublicKeyInfo of the key.
    pub(super) fn public(self) -> Result<SubjectPublicKeyInfoOwned, String> {
        let der = self.pair()?.public().map_err(|_| failed("encode"))?;
        SubjectPublicKeyInfoOwned::from_der(der.as_ref()).map_err(|error| error.to_string())
    }

    /// Signs a request, and gives it in PEM.
    pub(super) fn sign(self, info: CertReqInfo) -> Result<String, String> {
        let der = |error: x509_cert::der::Error| error.to_string();
        let (oid, has_null) = self.algorithm();
        let signature = self.pair()?.sign(&info.to_der().map_err(der)?).map_err(|_| failed("sign with"))?;
        let request = CertReq {
            info,
            algorithm: AlgorithmIdentifierOwned { oid, parameters: has_null.then(Any::null) },
            signature: BitString::from_bytes(&signature).map_err(der)?,
        };
        pem::encode_string("CERTIFICATE REQUEST", LineEnding::LF, &request.to_der().map_err(der)?)
            .map_err(|error| error.to_string())
    }

    fn pair(self) -> Result<Arc<Pair>, String> {
        let mut pairs = PAIRS.lock();
        if let Some(pair) = pairs.get(&self) {
            return Ok(pair.clone());
        }
        let pair = Arc::new(self.generate().map_err(|_| failed("make"))?);
        pairs.insert(self, pair.clone());
        Ok(pair)
    }

    fn generate(self) -> Result<Pair, Unspecified> {
        let ecdsa = |algorithm: &'static EcdsaSigningAlgorithm| EcdsaKeyPair::generate(algorithm).map(Pair::Ecdsa);
        let rsa = |size: KeySize| RsaKeyPair::generate(size).map(Pair::Rsa);
        match self {
            Self::EcdsaP256 => ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING),
            Self::EcdsaP384 => ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING),
            Self::EcdsaP521 => ecdsa(&ECDSA_P521_SHA512_ASN1_SIGNING),
            Self::Ed25519 => Ed25519KeyPair::generate().map(Pair::Ed25519),
            Self::Rsa2048 => rsa(KeySize::Rsa2048),
            Self::Rsa3072 => rsa(KeySize::Rsa3072),
            Self::Rsa4096 => rsa(KeySize::Rsa4096),
        }
    }

    /// The signature's algorithm, and whether NULL is its parameter.
    fn algorithm(self) -> (ObjectIdentifier, bool) {
        match self {
            Self::EcdsaP256 => (ECDSA_WITH_SHA_256, false),
            Self::EcdsaP384 => (ECDSA_WITH_SHA_384, false),
            Self::EcdsaP521 => (ECDSA_WITH_SHA_512, false),
            Self::Ed25519 => (ID_ED_25519, false),
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => (SHA_256_WITH_RSA_ENCRYPTION, true),
        }
    }
}

fn failed(what: &str) -> String {
    format!("the cryptographic library cannot {what} a key")
}

impl Pair {
    fn public(&self) -> Result<PublicKeyX509Der<'static>, Unspecified> {
        match self {
            Self::Ecdsa(pair) => pair.public_key().as_der(),
            Self::Ed25519(pair) => pair.public_key().as_der(),
            Self::Rsa(pair) => pair.public_key().as_der(),
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        match self {
            Self::Ecdsa(pair) => pair.sign(&SystemRandom::new(), message).map(|signature| signature.as_ref().to_vec()),
            Self::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)?;
                Ok(signature)
            }
        }
    }
}
