//! Keys that sign for real.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256K1_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};

use super::der::{Tlv, bit_string, null, oid, sequence};

pub const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
pub const P256: &str = "1.2.840.10045.3.1.7";
pub const P384: &str = "1.3.132.0.34";
pub const P521: &str = "1.3.132.0.35";
pub const SECP256K1: &str = "1.3.132.0.10";
pub const ED25519: &str = "1.3.101.112";
pub const RSA: &str = "1.2.840.113549.1.1.1";
pub const RSA_PSS: &str = "1.2.840.113549.1.1.10";
pub const SHA1_WITH_RSA: &str = "1.2.840.113549.1.1.5";
pub const MD5_WITH_RSA: &str = "1.2.840.113549.1.1.4";
pub const SHA256_WITH_RSA: &str = "1.2.840.113549.1.1.11";
pub const SHA384_WITH_RSA: &str = "1.2.840.113549.1.1.12";
pub const SHA512_WITH_RSA: &str = "1.2.840.113549.1.1.13";
pub const ECDSA_WITH_SHA1: &str = "1.2.840.10045.4.1";
pub const ECDSA_WITH_SHA256: &str = "1.2.840.10045.4.3.2";
pub const ECDSA_WITH_SHA384: &str = "1.2.840.10045.4.3.3";
pub const ECDSA_WITH_SHA512: &str = "1.2.840.10045.4.3.4";

/// A private key, and what a request says of its public key and its signatures.
pub struct Key {
    /// SubjectPublicKeyInfo.
    pub public: Tlv,
    /// The AlgorithmIdentifier of the signature.
    pub algorithm: Tlv,
    signer: Signer,
}

enum Signer {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
}

impl Key {
    /// What a kubelet makes.
    pub fn p256() -> Self {
        Self::ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING, P256, ECDSA_WITH_SHA256)
    }

    pub fn p384() -> Self {
        Self::ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING, P384, ECDSA_WITH_SHA384)
    }

    pub fn p521() -> Self {
        Self::ecdsa(&ECDSA_P521_SHA512_ASN1_SIGNING, P521, ECDSA_WITH_SHA512)
    }

    pub fn secp256k1() -> Self {
        Self::ecdsa(&ECDSA_P256K1_SHA256_ASN1_SIGNING, SECP256K1, ECDSA_WITH_SHA256)
    }

    fn ecdsa(signing: &'static EcdsaSigningAlgorithm, curve: &str, algorithm: &str) -> Self {
        let pair = EcdsaKeyPair::generate(signing).unwrap();
        Self {
            public: public(sequence(vec![oid(EC_PUBLIC_KEY), oid(curve)]), pair.public_key().as_ref()),
            algorithm: sequence(vec![oid(algorithm)]),
            signer: Signer::Ecdsa(pair),
        }
    }

    pub fn ed25519() -> Self {
        Self::of_ed25519(Ed25519KeyPair::generate().unwrap())
    }

    /// An Ed25519 key that is always the same, and whose signatures are.
    pub fn ed25519_from(seed: [u8; 32]) -> Self {
        Self::of_ed25519(Ed25519KeyPair::from_seed_unchecked(&seed).unwrap())
    }

    fn of_ed25519(pair: Ed25519KeyPair) -> Self {
        Self {
            public: public(sequence(vec![oid(ED25519)]), pair.public_key().as_ref()),
            algorithm: sequence(vec![oid(ED25519)]),
            signer: Signer::Ed25519(pair),
        }
    }

    /// An RSA key that signs with PKCS#1 and SHA-256.
    pub fn rsa(size: KeySize) -> Self {
        let pair = RsaKeyPair::generate(size).unwrap();
        Self {
            public: public(sequence(vec![oid(RSA), null()]), pair.public_key().as_ref()),
            algorithm: sequence(vec![oid(SHA256_WITH_RSA), null()]),
            signer: Signer::Rsa(pair, &RSA_PKCS1_SHA256),
        }
    }

    /// The same RSA key, signing with PKCS#1 and SHA-384.
    pub fn with_sha384(self) -> Self {
        self.with_encoding(&RSA_PKCS1_SHA384, sequence(vec![oid(SHA384_WITH_RSA), null()]))
    }

    /// The same RSA key, signing with PKCS#1 and SHA-512.
    pub fn with_sha512(self) -> Self {
        self.with_encoding(&RSA_PKCS1_SHA512, sequence(vec![oid(SHA512_WITH_RSA), null()]))
    }

    /// The same RSA key, signing with PSS, SHA-256 and a salt of 32 bytes (RFC 4055 section 3.1).
    pub fn with_pss(self) -> Self {
        let hash = || sequence(vec![oid("2.16.840.1.101.3.4.2.1"), null()]);
        let parameters = sequence(vec![
            Tlv::constructed(0xa0, vec![hash()]),
            Tlv::constructed(0xa1, vec![sequence(vec![oid("1.2.840.113549.1.1.8"), hash()])]),
            Tlv::constructed(0xa2, vec![Tlv::primitive(0x02, [32])]),
        ]);
        self.with_encoding(&RSA_PSS_SHA256, sequence(vec![oid(RSA_PSS), parameters]))
    }

    fn with_encoding(self, encoding: &'static dyn RsaEncoding, algorithm: Tlv) -> Self {
        let Signer::Rsa(pair, _) = self.signer else { panic!("not an RSA key") };
        Self { algorithm, signer: Signer::Rsa(pair, encoding), ..self }
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.signer {
            Signer::Ecdsa(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Signer::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Signer::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }
}

/// A SubjectPublicKeyInfo.
pub fn public(algorithm: Tlv, bytes: &[u8]) -> Tlv {
    sequence(vec![algorithm, bit_string(bytes)])
}

/// A P-256 key that tests share where it does not matter whose it is.
pub static SHARED: LazyLock<Key> = LazyLock::new(Key::p256);
