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
