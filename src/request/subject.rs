use thiserror::Error;
use x509_parser::asn1_rs::Tag;
use x509_parser::oid_registry::{OID_X509_COMMON_NAME, OID_X509_ORGANIZATION_NAME};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::requestor::NODES_GROUP;
use crate::quote::Quoted;

/// Why the subject is not exactly the requestor's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SubjectError {
    /// A relative distinguished name has several attributes, which Go and others flatten differently.
    #[error("the subject has a multi-valued RDN")]
    MultiValued,
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
pub(super) fn check(subject: &X509Name<'_>, username: &str) -> Result<(), SubjectError> {
    let (mut common_names, mut organizations) = (Vec::new(), Vec::new());
    for rdn in subject.iter_rdn() {
        let mut attributes = rdn.iter();
        let (Some(attribute), None) = (attributes.next(), attributes.next()) else {
            return Err(SubjectError::MultiValued);
        };
        let kind = attribute.attr_type();
        if *kind == OID_X509_COMMON_NAME {
            common_names.push(text(attribute)?);
        } else if *kind == OID_X509_ORGANIZATION_NAME {
            organizations.push(text(attribute)?);
        } else {
            return Err(SubjectError::OtherAttribute(kind.to_id_string()));
        }
    }
    let [common_name] = common_names.as_slice() else {
        return Err(SubjectError::CommonNames(common_names.len()));
    };
    let [organization] = organizations.as_slice() else {
        return Err(SubjectError::Organizations(organizations.len()));
    };
    if *common_name != username {
        return Err(SubjectError::OtherCommonName {
            common_name: (*common_name).to_owned(),
            username: username.to_owned(),
        });
    }
    if *organization != NODES_GROUP {
        return Err(SubjectError::OtherOrganization((*organization).to_owned()));
    }
    Ok(())
}

fn text<'a>(attribute: &'a AttributeTypeAndValue<'_>) -> Result<&'a str, SubjectError> {
    let value = attribute.attr_value();
    if value.tag() != Tag::PrintableString && value.tag() != Tag::Utf8String {
        return Err(SubjectError::StringType);
    }
    std::str::from_utf8(value.data).map_err(|_| SubjectError::StringType)
}
