use countersign::request::{Reading, ServingRequest};

use crate::common::csr::{Cluster, Csr, describe};

/// The request that an acceptable CertificateSigningRequest is read as.
#[track_caller]
pub fn serving(csr: &Csr) -> ServingRequest {
    match csr.read() {
        Reading::Serving(request) => request,
        Reading::Refused(refused) => panic!("refused: {}", refused.reasons),
        Reading::NotOurs(reason) => panic!("not ours: {reason:?}"),
    }
}

/// The names and addresses that an acceptable CertificateSigningRequest asks for.
#[track_caller]
pub fn sans(csr: &Csr) -> Vec<String> {
    serving(csr).sans().iter().map(ToString::to_string).collect()
}

/// Expects an approval.
#[track_caller]
pub fn approved(csr: &Csr) {
    let (verdict, reasons, sentence) = describe(&csr.judge(&Cluster::default()));
    assert_eq!((verdict, &reasons[..]), ("approve", &[][..]), "{sentence}");
}

/// Expects a denial for exactly these reasons, in this order, with a message that contains `sentence`.
#[track_caller]
pub fn denied(csr: &Csr, reasons: &[&str], sentence: &str) {
    let (verdict, given, text) = describe(&csr.judge(&Cluster::default()));
    assert_eq!((verdict, &given[..]), ("deny", reasons), "{text}");
    assert!(text.contains(sentence), "{sentence:?} is not in {text:?}");
}

/// Expects a denial for one reason out of these, where more than one layer can be the first to notice.
#[track_caller]
pub fn denied_for_one_of(csr: &Csr, reasons: &[&str]) {
    let (verdict, given, text) = describe(&csr.judge(&Cluster::default()));
    let fits = |reason: &&str| reasons.contains(reason);
    assert!(verdict == "deny" && given.len() == 1 && given.iter().all(fits), "{verdict} {given:?}: {text}");
}

/// What a message calls an algorithm or a curve: by its name as well, where it has one that people know.
pub fn named(oid: &str) -> String {
    let name = match oid {
        "1.2.840.10045.3.1.1" => "P-192",
        "1.3.132.0.33" => "P-224",
        "1.3.132.0.35" => "P-521",
        "1.3.132.0.10" => "secp256k1",
        "1.3.36.3.3.2.8.1.1.7" => "brainpoolP256r1",
        "1.3.101.110" => "X25519",
        "1.3.101.112" => "Ed25519",
        "1.3.101.113" => "Ed448",
        "1.2.840.10040.4.1" => "DSA",
        "1.2.840.10045.2.1" => "EC",
        "1.3.132.1.12" => "ECDH",
        "1.3.132.1.13" => "ECMQV",
        "2.16.840.1.101.3.4.3.18" => "ML-DSA-65",
        "1.2.840.113549.1.1.1" => "RSA",
        "1.2.840.113549.1.1.4" => "RSA with MD5",
        "1.2.840.113549.1.1.5" => "RSA with SHA-1",
        "1.2.840.113549.1.1.10" => "RSASSA-PSS",
        "1.2.840.113549.1.1.11" => "RSA with SHA-256",
        "1.2.840.113549.1.1.14" => "RSA with SHA-224",
        "1.2.840.10045.4.1" => "ECDSA with SHA-1",
        "1.2.840.10045.4.3.2" => "ECDSA with SHA-256",
        "1.2.840.10045.4.3.4" => "ECDSA with SHA-512",
        unknown => return unknown.to_owned(),
    };
    format!("{name} ({oid})")
}
