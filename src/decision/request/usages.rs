use thiserror::Error;

use crate::quote::QuotedList;

/// The usages are not those of a kubelet's serving certificate.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "the usages {} are not those of a kubelet's serving certificate: digital signature and server auth, \
     with or without key encipherment",
    QuotedList(.0)
)]
pub struct UsageError(Vec<String>);

/// Compares the requested usages, as a set, with the two sets that the signer takes
/// (upstream: `ValidateKubeletServingCSR`). A kubelet before 1.27 always asks for key encipherment, a later one
/// with an RSA key only.
pub(super) fn check(usages: &[String]) -> Result<(), UsageError> {
    const NEEDED: [&str; 2] = ["digital signature", "server auth"];
    let has = |usage| usages.iter().any(|requested| requested == usage);
    let is_known = |usage: &String| NEEDED.contains(&usage.as_str()) || usage == "key encipherment";
    if NEEDED.into_iter().all(has) && usages.iter().all(is_known) { Ok(()) } else { Err(UsageError(usages.to_vec())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_two_sets_of_the_signer_and_no_other() {
        let allowed: &[&[&str]] = &[
            &["digital signature", "server auth"],
            &["server auth", "digital signature", "key encipherment"],
            &["server auth", "server auth", "digital signature"],
        ];
        let refused: &[&[&str]] = &[
            &[],
            &["server auth"],
            &["digital signature"],
            &["key encipherment", "digital signature"],
            &["digital signature", "client auth"],
            &["digital signature", "server auth", "client auth"],
            &["digital signature", "server auth", "cert sign"],
            &["digital signature", "server auth", "any"],
            &["Digital Signature", "server auth"],
        ];
        let owned = |usages: &[&str]| usages.iter().map(|usage| (*usage).to_owned()).collect::<Vec<_>>();
        for usages in allowed {
            assert_eq!(check(&owned(usages)), Ok(()), "{usages:?}");
        }
        for usages in refused {
            assert_eq!(check(&owned(usages)), Err(UsageError(owned(usages))), "{usages:?}");
        }
    }
}
