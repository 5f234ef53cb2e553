use thiserror::Error;
use x509_cert::der::asn1::BitString;
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::pem::{self, LineEnding};
use x509_cert::der::{self, Decode, Encode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::{GeneralName, GeneralNames};
use x509_cert::name::Name;
use x509_cert::request::{CertReq, CertReqInfo, ExtensionReq};
use x509_cert::spki::AlgorithmIdentifierOwned as AlgorithmIdentifier;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::error::X509Error;
use x509_parser::prelude::FromDer;

use crate::api::RequestBytes;
use crate::quote::Quoted;

/// The PEM label of a PKCS#10 request (RFC 7468 section 7).
const LABEL: &str = "CERTIFICATE REQUEST";

/// Why the bytes of a request are not exactly one well-formed PKCS#10 request for subject alternative names.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MalformedRequest {
    /// Longer than [`RequestBytes::MAX`].
    #[error("the request has {0} bytes; {max} are allowed", max = RequestBytes::MAX)]
    TooLong(usize),
    /// Not one PEM block as RFC 7468 writes it, or more than one block.
    #[error("the request is not exactly one PEM block of 64-character lines and nothing else")]
    Pem,
    /// The PEM block holds something else.
    #[error("the request's PEM block is a {}, not a \"CERTIFICATE REQUEST\"", Quoted(.0))]
    Label(String),
    /// Not DER, or not a PKCS#10 request of version 0 (RFC 2986).
    #[error("{part} is not strict DER (RFC 2986, X.690): {problem}")]
    Der {
        /// Which layer.
        part: &'static str,
        /// What the decoder says.
        problem: String,
    },
    /// It decodes, but its one canonical encoding is another: readers may disagree on it.
    #[error("{0} is not in its one canonical encoding (X.690 section 10)")]
    NotCanonical(&'static str),
    /// A bit string with unused bits, where bytes belong.
    #[error("the {0} is not a whole number of bytes")]
    UnusedBits(&'static str),
    /// There is not exactly one attribute.
    #[error("the request has {0} attributes; exactly one, an extensionRequest, is allowed")]
    Attributes(usize),
    /// The attribute is another than extensionRequest (RFC 2985 section 5.4.2).
    #[error("the request's attribute is {0}, not an extensionRequest")]
    OtherAttribute(String),
    /// The extensionRequest has no value or several.
    #[error("the extensionRequest has {0} values; exactly one is allowed")]
    Values(usize),
    /// There is not exactly one extension.
    #[error("the request asks for {0} extensions; exactly one, subjectAltName, is allowed")]
    Extensions(usize),
    /// The extension is another than subjectAltName.
    #[error("the request asks for the extension {0}, not subjectAltName")]
    OtherExtension(String),
    /// The two parsers that every request has to pass read it differently.
    #[error("the request can be read in more than one way")]
    Ambiguous,
}

/// Takes the DER out of the one PEM block.
///
/// Go's decoder skips what stands before, after and in the header of a block; here the text has to be the one that
/// encoding the DER again gives.
pub(super) fn decode_pem(text: &[u8]) -> Result<Vec<u8>, MalformedRequest> {
    let (label, der) = pem::decode_vec(text).map_err(|_| MalformedRequest::Pem)?;
    if label != LABEL {
        return Err(MalformedRequest::Label(label.to_owned()));
    }
    let again = pem::encode_string(LABEL, LineEnding::LF, &der).map_err(|_| MalformedRequest::Pem)?;
    if again.trim_end_matches('\n').as_bytes() == text.strip_suffix(b"\n").unwrap_or(text) {
        Ok(der)
    } else {
        Err(MalformedRequest::Pem)
    }
}

/// A PKCS#10 request in strict DER with subjectAltName as its only extension.
///
/// INVARIANT: every value is read by x509-cert, which knows only DER, and whose encoding of what it has read is the
/// very input, layer by layer. x509-parser verifies the signature and nothing more: it stops at a relative
/// distinguished name that it does not understand, and does not look at the class of a tag.
pub(super) struct Pkcs10<'a> {
    request: CertReq,
    names: GeneralNames,
    signed: X509CertificationRequest<'a>,
}

impl<'a> Pkcs10<'a> {
    /// Reads `der`, which outlives the result.
    pub(super) fn from_der(der: &'a [u8]) -> Result<Self, MalformedRequest> {
        let request: CertReq = strict(der, "the request")?;
        whole_bytes(&request.info.public_key.subject_public_key, "public key")?;
        whole_bytes(&request.signature, "signature")?;
        let names = requested_names(&request.info)?;

        let info = request.info.to_der().map_err(|error| not_der("the request", &error))?;
        match X509CertificationRequest::from_der(der) {
            Ok((&[], signed)) if signed.certification_request_info.raw == info => Ok(Self { request, names, signed }),
            Ok(_) | Err(_) => Err(MalformedRequest::Ambiguous),
        }
    }

    /// The subject.
    pub(super) fn subject(&self) -> &Name {
        &self.request.info.subject
    }

    /// The public key's algorithm.
    pub(super) fn key_algorithm(&self) -> &AlgorithmIdentifier {
        &self.request.info.public_key.algorithm
    }

    /// The public key's own bytes, a whole number of them.
    pub(super) fn key_bytes(&self) -> &[u8] {
        self.request.info.public_key.subject_public_key.raw_bytes()
    }

    /// The algorithm of the request's signature.
    pub(super) fn signature_algorithm(&self) -> &AlgorithmIdentifier {
        &self.request.algorithm
    }

    /// The general names of the subjectAltName extension.
    pub(super) fn general_names(&self) -> &[GeneralName] {
        &self.names
    }

    /// Verifies that the request is signed with the private key of its public key (RFC 2986 section 3, note 2).
    pub(super) fn verify_possession(&self) -> Result<(), X509Error> {
        self.signed.verify_signature()
    }
}

/// The names of the one extension of the one value of the one attribute.
fn requested_names(info: &CertReqInfo) -> Result<GeneralNames, MalformedRequest> {
    let attributes = info.attributes.as_slice();
    let [attribute] = attributes else { return Err(MalformedRequest::Attributes(attributes.len())) };
    if attribute.oid != ExtensionReq::OID {
        return Err(MalformedRequest::OtherAttribute(attribute.oid.to_string()));
    }
    let values = attribute.values.as_slice();
    let [value] = values else { return Err(MalformedRequest::Values(values.len())) };
    let value = value.to_der().map_err(|error| not_der("the extensionRequest", &error))?;

    let ExtensionReq(extensions) = strict(&value, "the extensionRequest")?;
    let [extension] = extensions.as_slice() else { return Err(MalformedRequest::Extensions(extensions.len())) };
    if extension.extn_id != SubjectAltName::OID {
        return Err(MalformedRequest::OtherExtension(extension.extn_id.to_string()));
    }
    strict(extension.extn_value.as_bytes(), "the subjectAltName").map(|SubjectAltName(names)| names)
}

/// Decodes with a decoder that knows only DER, and compares the encoding of what it has read with the input.
fn strict<'a, T: Decode<'a, Error = der::Error> + Encode>(
    bytes: &'a [u8],
    part: &'static str,
) -> Result<T, MalformedRequest> {
    let value = T::from_der(bytes).map_err(|error| not_der(part, &error))?;
    let again = value.to_der().map_err(|error| not_der(part, &error))?;
    if again == bytes { Ok(value) } else { Err(MalformedRequest::NotCanonical(part)) }
}

fn not_der(part: &'static str, error: &der::Error) -> MalformedRequest {
    MalformedRequest::Der { part, problem: error.to_string() }
}

fn whole_bytes(bits: &BitString, part: &'static str) -> Result<(), MalformedRequest> {
    if bits.has_unused_bits() { Err(MalformedRequest::UnusedBits(part)) } else { Ok(()) }
}
