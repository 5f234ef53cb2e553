use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;
use x509_cert::der::asn1::{BitStringRef, ObjectIdentifier, OctetStringRef};
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::pem;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::request::ExtensionReq;
use x509_cert::spki::AlgorithmIdentifierRef;
use x509_parser::asn1_rs;
use x509_parser::error::X509Error;
use x509_parser::prelude::FromDer;
use x509_parser::verify::verify_signature;
use x509_parser::x509;

use super::der::{BOOLEAN, SEQUENCE, SET, Value, Values};
use crate::api::RequestBytes;
use crate::quote::Quoted;

/// The PEM label of a PKCS#10 request (RFC 7468 section 7), and the lines around it.
const LABEL: &str = "CERTIFICATE REQUEST";
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE REQUEST-----\n";
const END: &[u8] = b"-----END CERTIFICATE REQUEST-----";
/// The digits of every line but the last (RFC 7468 section 2).
const LINE: usize = 64;
/// How many lines are decoded at once.
const AT_ONCE: usize = 16;

/// The layers of a request, for messages.
const REQUEST: &str = "the request";
const EXTENSION_REQUEST: &str = "the extensionRequest";
const SUBJECT_ALT_NAME: &str = "the subjectAltName";

/// The INTEGER that the version is.
const VERSION_0: [u8; 3] = [2, 1, 0];
/// `attributes [0] IMPLICIT SET OF` (RFC 2986 section 4.1).
const ATTRIBUTES: u8 = 0xa0;

/// Why the bytes of a request are not exactly one well-formed PKCS#10 request for subject alternative names.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MalformedRequest {
    /// Longer than [`RequestBytes::MAX`].
    #[error("the request has more than {max} bytes", max = RequestBytes::MAX)]
    TooLong,
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
    lines_of(text).and_then(decode_lines).ok_or_else(|| match pem::decode_vec(text) {
        Ok((label, _)) if label != LABEL => MalformedRequest::Label(label.to_owned()),
        Ok(_) | Err(_) => MalformedRequest::Pem,
    })
}

/// What stands between the first line of the block and the last.
fn lines_of(text: &[u8]) -> Option<&[u8]> {
    text.strip_suffix(b"\n").unwrap_or(text).strip_prefix(BEGIN)?.strip_suffix(END)
}

/// Decodes lines of which all but the last have the length that they have to have.
fn decode_lines(lines: &[u8]) -> Option<Vec<u8>> {
    let (full, last) = lines.as_chunks::<{ LINE + 1 }>();
    let mut der = Vec::with_capacity(lines.len() / 4 * 3);
    for lines in full.chunks(AT_ONCE) {
        let mut digits = [[0; LINE]; AT_ONCE];
        for (place, line) in digits.iter_mut().zip(lines) {
            let [line @ .., b'\n'] = line else { return None };
            *place = *line;
        }
        // Four digits are three bytes. Those that stand for nothing fill up the last line, and no other.
        if !der.len().is_multiple_of(3) {
            return None;
        }
        STANDARD.decode_vec(digits.get(..lines.len())?.as_flattened(), &mut der).ok()?;
    }
    match last {
        [] => Some(der),
        [line @ .., b'\n'] if !line.is_empty() && der.len().is_multiple_of(3) => {
            STANDARD.decode_vec(line, &mut der).ok().map(|()| der)
        }
        _ => None,
    }
}

/// A PKCS#10 request in strict DER with subjectAltName as its only extension.
///
/// INVARIANT: it has exactly one encoding, and that is the input. Every tag and length is read by a decoder that knows
/// only DER; at every level, exactly the values that belong there are taken and nothing may follow; and of values that
/// DER leaves a choice in (sets, defaults, unused bits) one form is taken. x509-parser verifies the signature and nothing
/// more: it stops at a relative distinguished name that it does not understand, and does not look at the class of a tag.
pub(super) struct Pkcs10<'a> {
    signed: &'a [u8],
    subject: Vec<Rdn<'a>>,
    key_algorithm: AlgorithmIdentifierRef<'a>,
    key: &'a [u8],
    algorithm: AlgorithmIdentifierRef<'a>,
    signature: &'a [u8],
    names: Vec<Name<'a>>,
    verification: (x509::SubjectPublicKeyInfo<'a>, x509::AlgorithmIdentifier<'a>),
}

/// A relative distinguished name of a subject.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rdn<'a> {
    /// One attribute: its type and value.
    One(ObjectIdentifier, Value<'a>),
    /// Another number of attributes.
    Other(usize),
}

/// A general name (RFC 5280 section 4.2.1.6).
#[derive(Clone, Copy, Debug)]
pub(super) enum Name<'a> {
    /// A dNSName in ASCII.
    Dns(&'a str),
    /// The bytes of an iPAddress.
    Ip(&'a [u8]),
    /// A name of this other kind.
    Other(&'static str),
}

impl<'a> Pkcs10<'a> {
    /// Reads `der`, which outlives the result.
    pub(super) fn from_der(der: &'a [u8]) -> Result<Self, MalformedRequest> {
        let mut request = Values::only(der, REQUEST, SEQUENCE)?;
        let (signed, algorithm, signature) = (request.next()?, request.next()?, request.decode()?);
        request.finish()?;
        let mut info = signed.values(REQUEST, SEQUENCE)?;
        if info.next()?.whole != VERSION_0 {
            return Err(MalformedRequest::Der { part: REQUEST, problem: "its version is not 0".to_owned() });
        }
        let subject = subject(info.within(SEQUENCE)?)?;
        let public_key = info.next()?;
        let attributes = info.within(ATTRIBUTES)?;
        info.finish()?;
        let names = requested_names(attributes)?;

        let by_x509_parser = (
            x509::SubjectPublicKeyInfo::from_der(public_key.whole),
            x509::AlgorithmIdentifier::from_der(algorithm.whole),
        );
        let verification = match by_x509_parser {
            (Ok((&[], key)), Ok((&[], algorithm))) => (key, algorithm),
            (Ok(_) | Err(_), _) => return Err(MalformedRequest::Ambiguous),
        };
        let algorithm = algorithm_of(algorithm.values(REQUEST, SEQUENCE)?)?;
        let mut public_key = public_key.values(REQUEST, SEQUENCE)?;
        let (key_algorithm, key) = (algorithm_of(public_key.within(SEQUENCE)?)?, public_key.decode()?);
        public_key.finish()?;
        let key = whole_bytes(key, "public key")?;
        let signature = whole_bytes(signature, "signature")?;
        Ok(Self { signed: signed.whole, subject, key_algorithm, key, algorithm, signature, names, verification })
    }

    /// The relative distinguished names of the subject.
    pub(super) fn subject(&self) -> &[Rdn<'a>] {
        &self.subject
    }

    /// The public key's algorithm.
    pub(super) fn key_algorithm(&self) -> AlgorithmIdentifierRef<'a> {
        self.key_algorithm
    }

    /// The public key's own bytes, a whole number of them.
    pub(super) fn key_bytes(&self) -> &'a [u8] {
        self.key
    }

    /// The algorithm of the request's signature.
    pub(super) fn signature_algorithm(&self) -> AlgorithmIdentifierRef<'a> {
        self.algorithm
    }

    /// The general names of the subjectAltName extension.
    pub(super) fn names(&self) -> &[Name<'a>] {
        &self.names
    }

    /// Verifies that the request is signed with the private key of its public key (RFC 2986 section 3, note 2).
    pub(super) fn verify_possession(&self) -> Result<(), X509Error> {
        let (key, algorithm) = &self.verification;
        verify_signature(key, algorithm, &asn1_rs::BitString::new(0, self.signature), self.signed)
    }
}

/// An AlgorithmIdentifier (RFC 5280 section 4.1.1.2).
fn algorithm_of(mut values: Values<'_>) -> Result<AlgorithmIdentifierRef<'_>, MalformedRequest> {
    let oid = values.decode()?;
    let parameters = if values.is_finished() { None } else { Some(values.decode()?) };
    values.finish()?;
    Ok(AlgorithmIdentifierRef { oid, parameters })
}

fn subject(mut rdns: Values<'_>) -> Result<Vec<Rdn<'_>>, MalformedRequest> {
    let mut subject = Vec::with_capacity(2);
    while !rdns.is_finished() {
        let mut attributes = rdns.within(SET)?;
        let mut rdn = Rdn::Other(0);
        while !attributes.is_finished() {
            let mut attribute = attributes.within(SEQUENCE)?;
            let (kind, value) = (attribute.decode()?, attribute.next()?);
            attribute.finish()?;
            rdn = match rdn {
                Rdn::Other(0) => Rdn::One(kind, value),
                Rdn::One(..) => Rdn::Other(2),
                Rdn::Other(count) => Rdn::Other(count + 1),
            };
        }
        subject.push(rdn);
    }
    Ok(subject)
}

/// The names of the one extension of the one value of the one attribute.
fn requested_names(attributes: Values<'_>) -> Result<Vec<Name<'_>>, MalformedRequest> {
    let mut attribute = attributes.one(MalformedRequest::Attributes)?.values(REQUEST, SEQUENCE)?;
    attribute.expect(ExtensionReq::OID, MalformedRequest::OtherAttribute)?;
    let values = attribute.within(SET)?;
    attribute.finish()?;

    let extensions = values.one(MalformedRequest::Values)?.values(EXTENSION_REQUEST, SEQUENCE)?;
    let mut extension = extensions.one(MalformedRequest::Extensions)?.values(EXTENSION_REQUEST, SEQUENCE)?;
    extension.expect(SubjectAltName::OID, MalformedRequest::OtherExtension)?;
    // FALSE is what is meant where nothing stands here, and must not be written (X.690 section 11.5).
    if extension.next_is(BOOLEAN) && !extension.decode::<bool>()? {
        return Err(MalformedRequest::NotCanonical(EXTENSION_REQUEST));
    }
    let value: &OctetStringRef = extension.decode()?;
    extension.finish()?;

    let mut names = Values::only(value.as_bytes(), SUBJECT_ALT_NAME, SEQUENCE)?;
    let mut read = Vec::with_capacity(8);
    while !names.is_finished() {
        read.push(name(names.next()?)?);
    }
    Ok(read)
}

fn name(value: Value<'_>) -> Result<Name<'_>, MalformedRequest> {
    let problem = |problem: &str| Err(MalformedRequest::Der { part: SUBJECT_ALT_NAME, problem: problem.to_owned() });
    match value.tag {
        0x82 => match str::from_utf8(value.content) {
            Ok(text) if text.is_ascii() => Ok(Name::Dns(text)),
            Ok(_) | Err(_) => problem("a dNSName that is not an IA5String"),
        },
        0x87 => Ok(Name::Ip(value.content)),
        0xa0 => Ok(Name::Other("otherName")),
        0x81 => Ok(Name::Other("rfc822Name")),
        0xa3 => Ok(Name::Other("x400Address")),
        0xa4 => Ok(Name::Other("directoryName")),
        0xa5 => Ok(Name::Other("ediPartyName")),
        0x86 => Ok(Name::Other("uniformResourceIdentifier")),
        0x88 => Ok(Name::Other("registeredID")),
        _ => problem("no general name"),
    }
}

fn whole_bytes<'a>(bits: BitStringRef<'a>, part: &'static str) -> Result<&'a [u8], MalformedRequest> {
    bits.as_bytes().ok_or(MalformedRequest::UnusedBits(part))
}
