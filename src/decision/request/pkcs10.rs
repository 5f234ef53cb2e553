use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;
use x509_cert::der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, OctetStringRef};
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::{self, Decode, Reader, SliceReader, Tag, TagNumber, Tagged, pem};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::request::ExtensionReq;
use x509_cert::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use x509_parser::asn1_rs;
use x509_parser::error::X509Error;
use x509_parser::prelude::FromDer;
use x509_parser::verify::verify_signature;
use x509_parser::x509;

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
const ATTRIBUTES: Tag = Tag::ContextSpecific { constructed: true, number: TagNumber(0) };

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
    public_key: SubjectPublicKeyInfoRef<'a>,
    algorithm: AlgorithmIdentifierRef<'a>,
    signature: &'a [u8],
    names: Vec<Name<'a>>,
    verification: (x509::SubjectPublicKeyInfo<'a>, x509::AlgorithmIdentifier<'a>),
}

/// A relative distinguished name of a subject.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rdn<'a> {
    /// One attribute: its type and value.
    One(ObjectIdentifier, AnyRef<'a>),
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
        let mut request = Values::only(der, REQUEST, Tag::Sequence)?;
        let (signed, algorithm, signature) = (request.raw()?, request.raw()?, request.decode()?);
        request.finish()?;
        let mut info = Values::only(signed, REQUEST, Tag::Sequence)?;
        if info.raw()? != VERSION_0 {
            return Err(MalformedRequest::Der { part: REQUEST, problem: "its version is not 0".to_owned() });
        }
        let subject = subject(info.within(Tag::Sequence)?)?;
        let public_key = info.raw()?;
        let attributes = info.within(ATTRIBUTES)?;
        info.finish()?;
        let names = requested_names(attributes)?;

        let verification =
            match (x509::SubjectPublicKeyInfo::from_der(public_key), x509::AlgorithmIdentifier::from_der(algorithm)) {
                (Ok((&[], key)), Ok((&[], algorithm))) => (key, algorithm),
                (Ok(_) | Err(_), _) => return Err(MalformedRequest::Ambiguous),
            };
        let public_key = SubjectPublicKeyInfoRef::from_der(public_key).map_err(|error| not_der(REQUEST, &error))?;
        let algorithm = AlgorithmIdentifierRef::from_der(algorithm).map_err(|error| not_der(REQUEST, &error))?;
        whole_bytes(public_key.subject_public_key, "public key")?;
        let signature = whole_bytes(signature, "signature")?;
        Ok(Self { signed, subject, public_key, algorithm, signature, names, verification })
    }

    /// The relative distinguished names of the subject.
    pub(super) fn subject(&self) -> &[Rdn<'a>] {
        &self.subject
    }

    /// The public key's algorithm.
    pub(super) fn key_algorithm(&self) -> AlgorithmIdentifierRef<'a> {
        self.public_key.algorithm
    }

    /// The public key's own bytes, a whole number of them.
    pub(super) fn key_bytes(&self) -> &'a [u8] {
        self.public_key.subject_public_key.raw_bytes()
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

fn subject(mut rdns: Values<'_>) -> Result<Vec<Rdn<'_>>, MalformedRequest> {
    let mut subject = Vec::with_capacity(2);
    while !rdns.is_finished() {
        let mut attributes = rdns.within(Tag::Set)?;
        let mut rdn = Rdn::Other(0);
        while !attributes.is_finished() {
            let mut attribute = attributes.within(Tag::Sequence)?;
            let (kind, value) = (attribute.decode()?, attribute.decode()?);
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
    let mut attribute = Values::only(attributes.one(MalformedRequest::Attributes)?, REQUEST, Tag::Sequence)?;
    attribute.expect(ExtensionReq::OID, MalformedRequest::OtherAttribute)?;
    let values = attribute.within(Tag::Set)?;
    attribute.finish()?;

    let extensions = Values::only(values.one(MalformedRequest::Values)?, EXTENSION_REQUEST, Tag::Sequence)?;
    let extension = extensions.one(MalformedRequest::Extensions)?;
    let mut extension = Values::only(extension, EXTENSION_REQUEST, Tag::Sequence)?;
    extension.expect(SubjectAltName::OID, MalformedRequest::OtherExtension)?;
    // FALSE is what is meant where nothing stands here, and must not be written (X.690 section 11.5).
    if extension.next_is(Tag::Boolean) && !extension.decode::<bool>()? {
        return Err(MalformedRequest::NotCanonical(EXTENSION_REQUEST));
    }
    let value: &OctetStringRef = extension.decode()?;
    extension.finish()?;

    let mut names = Values::only(value.as_bytes(), SUBJECT_ALT_NAME, Tag::Sequence)?;
    let mut read = Vec::with_capacity(8);
    while !names.is_finished() {
        read.push(name(names.decode()?)?);
    }
    Ok(read)
}

fn name(value: AnyRef<'_>) -> Result<Name<'_>, MalformedRequest> {
    let problem = |problem: &str| Err(MalformedRequest::Der { part: SUBJECT_ALT_NAME, problem: problem.to_owned() });
    let Tag::ContextSpecific { constructed, number } = value.tag() else { return problem("no general name") };
    match (number.value(), constructed) {
        (2, false) => match str::from_utf8(value.value()) {
            Ok(text) if text.is_ascii() => Ok(Name::Dns(text)),
            Ok(_) | Err(_) => problem("a dNSName that is not an IA5String"),
        },
        (7, false) => Ok(Name::Ip(value.value())),
        (0, true) => Ok(Name::Other("otherName")),
        (1, false) => Ok(Name::Other("rfc822Name")),
        (3, true) => Ok(Name::Other("x400Address")),
        (4, true) => Ok(Name::Other("directoryName")),
        (5, true) => Ok(Name::Other("ediPartyName")),
        (6, false) => Ok(Name::Other("uniformResourceIdentifier")),
        (8, false) => Ok(Name::Other("registeredID")),
        _ => problem("no general name"),
    }
}

/// Values that stand one after another, as a decoder reads them that knows only DER.
struct Values<'a> {
    reader: SliceReader<'a>,
    part: &'static str,
}

impl<'a> Values<'a> {
    /// Those within the one value that `bytes` are, and that has this tag.
    fn only(bytes: &'a [u8], part: &'static str, tag: Tag) -> Result<Self, MalformedRequest> {
        let reader = SliceReader::new(bytes).map_err(|error| not_der(part, &error))?;
        let mut outer = Self { reader, part };
        let inner = outer.within(tag)?;
        outer.finish()?;
        Ok(inner)
    }

    /// Those within the next value, which has this tag.
    fn within(&mut self, tag: Tag) -> Result<Self, MalformedRequest> {
        let value: AnyRef<'a> = self.decode()?;
        let reader = value.tag().assert_eq(tag).and_then(|_| SliceReader::new(value.value()));
        reader.map(|reader| Self { reader, part: self.part }).map_err(|error| not_der(self.part, &error))
    }

    /// The next value.
    fn decode<T: Decode<'a, Error = der::Error>>(&mut self) -> Result<T, MalformedRequest> {
        T::decode(&mut self.reader).map_err(|error| not_der(self.part, &error))
    }

    /// Takes this identifier; an error made of what stands there instead.
    fn expect(&mut self, oid: ObjectIdentifier, error: fn(String) -> MalformedRequest) -> Result<(), MalformedRequest> {
        let value: AnyRef<'a> = self.decode()?;
        if value.tag() == Tag::ObjectIdentifier && value.value() == oid.as_bytes() {
            return Ok(());
        }
        let other: ObjectIdentifier = value.decode_as().map_err(|problem| not_der(self.part, &problem))?;
        Err(error(other.to_string()))
    }

    /// The next value with its tag and length.
    fn raw(&mut self) -> Result<&'a [u8], MalformedRequest> {
        self.reader.tlv_bytes().map_err(|error| not_der(self.part, &error))
    }

    /// The only value, with its tag and length; an error made of their number where there are others.
    fn one(mut self, error: fn(usize) -> MalformedRequest) -> Result<&'a [u8], MalformedRequest> {
        let mut values = (0, [].as_slice());
        while !self.is_finished() {
            values = (values.0 + 1, self.raw()?);
        }
        if values.0 == 1 { Ok(values.1) } else { Err(error(values.0)) }
    }

    fn next_is(&self, tag: Tag) -> bool {
        Tag::peek(&self.reader).is_ok_and(|next| next == tag)
    }

    fn is_finished(&self) -> bool {
        self.reader.is_finished()
    }

    /// Nothing may follow.
    fn finish(self) -> Result<(), MalformedRequest> {
        self.reader.finish().map_err(|error| not_der(self.part, &error))
    }
}

fn not_der(part: &'static str, error: &der::Error) -> MalformedRequest {
    MalformedRequest::Der { part, problem: error.to_string() }
}

fn whole_bytes<'a>(bits: BitStringRef<'a>, part: &'static str) -> Result<&'a [u8], MalformedRequest> {
    bits.as_bytes().ok_or(MalformedRequest::UnusedBits(part))
}
