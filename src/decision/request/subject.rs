use thiserror::Error;
use x509_cert::der::oid::db::rfc4519::{COMMON_NAME, ORGANIZATION_NAME};

use super::der::{PRINTABLE_STRING, UTF8_STRING, Value};
use super::pkcs10::Rdn;
use super::requestor::NODES_GROUP;
use crate::quote::Quoted;

/// Why the subject is not exactly the requestor's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SubjectError {
    /// A relative distinguished name has several attributes or none, which readers flatten, skip or stop at.
    #[error("the subject has an RDN of {0} attributes; exactly one is allowed")]
    RdnAttributes(usize),
    /// An attribute that is neither a common name nor an organization.
    #[error("the subject has the attribute {0}; only one common name and one organization are allowed")]
    OtherAttribute(String),
    /// The value is of a string type that readers decode differently.
    #[error("a value of the subject is neither a PrintableString nor a UTF8String")]
    StringType,
    /// There is not exactly one common name.
    #[error("the subject has {0} common names; exactly one is allowed")]
    CommonNames(usize),
    /// There is not exactly one organization.
    #[error("the subject has {0} organizations; exactly one is allowed")]
    Organizations(usize),
    /// The common name is another than the requestor's username.
    #[error("the subject's common name {} is not the requestor {}", Quoted(.common_name), Quoted(.username))]
    OtherCommonName {
        /// As requested.
        common_name: String,
        /// As authenticated.
        username: String,
    },
    /// The organization is another than `system:nodes`.
    #[error("the subject's organization {} is not \"system:nodes\"", Quoted(.0))]
    OtherOrganization(String),
}

/// Checks that the subject is exactly one CN equal to the username and exactly one O equal to `system:nodes`,
/// each an RDN of its own, and nothing else.
pub(super) fn check(subject: &[Rdn<'_>], username: &str) -> Result<(), SubjectError> {
    let (mut common_names, mut organizations) = ((0, ""), (0, ""));
    for rdn in subject {
        match rdn {
            Rdn::One(COMMON_NAME, value) => common_names = (common_names.0 + 1, text(*value)?),
            Rdn::One(ORGANIZATION_NAME, value) => organizations = (organizations.0 + 1, text(*value)?),
            Rdn::One(other, _) => return Err(SubjectError::OtherAttribute(other.to_string())),
            Rdn::Other(attributes) => return Err(SubjectError::RdnAttributes(*attributes)),
        }
    }
    let (1, common_name) = common_names else { return Err(SubjectError::CommonNames(common_names.0)) };
    let (1, organization) = organizations else { return Err(SubjectError::Organizations(organizations.0)) };
    if common_name != username {
        return Err(SubjectError::OtherCommonName {
            common_name: common_name.to_owned(),
            username: username.to_owned(),
        });
    }
    if organization != NODES_GROUP {
        return Err(SubjectError::OtherOrganization(organization.to_owned()));
    }
    Ok(())
}

/// INVARIANT: the tag is compared whole. Go takes `[12]`, the number of UTF8String in another class, for no text at
/// all, and the certificate would lack it.
fn text(value: Value<'_>) -> Result<&str, SubjectError> {
    if value.tag != PRINTABLE_STRING && value.tag != UTF8_STRING {
        return Err(SubjectError::StringType);
    }
    std::str::from_utf8(value.content).map_err(|_| SubjectError::StringType)
}
