use crate::common::csr::Csr;
use crate::common::der::{Length, Tlv, boolean, integer, null, oid, split};
use crate::common::key::SHARED;
use crate::common::pkcs10::{at, dns, honest, sign};
use crate::expect::{approved, denied, denied_for_one_of, sans};

/// Where a request's own pieces are, for [`Tlv::at`].
const INFO: usize = 0;
const SIGNATURE: &[usize] = &[2];

/// Every request that comes of changing one piece of the honest one, the signature made over what was changed.
///
/// Within the CertificationRequestInfo, the change comes before the signature; around it, after.
fn changed_everywhere(change: impl Fn(&mut Tlv)) -> Vec<(Vec<usize>, Tlv)> {
    let whole = sign(&honest(&SHARED), &SHARED);
    let change_at = |path: Vec<usize>| {
        let mut request = whole.clone();
        if let [INFO, inner @ ..] = path.as_slice() {
            let mut info = honest(&SHARED);
            change(info.at(inner));
            request = sign(&info, &SHARED);
        } else {
            change(request.at(&path));
        }
        (path, request)
    };
    whole.paths().into_iter().map(change_at).collect()
}

fn is_constructed(tlv: &Tlv) -> bool {
    !tlv.children.is_empty()
}

#[test]
fn the_honest_request_is_approved() {
    approved(&Csr::of(&sign(&honest(&SHARED), &SHARED)));
}

#[test]
fn refuses_ber_lengths_at_every_level() {
    // X.690 section 10.1: the definite form, in as few bytes as possible.
    for length in [Length::Long(0), Length::Long(1), Length::Long(5), Length::Long(100)] {
        for (_, request) in changed_everywhere(|tlv| tlv.length = length) {
            // The long form is the shortest there is where the content has 128 bytes or more.
            if request.bytes() != with_minimal_lengths(&request).bytes() {
                denied(&Csr::of(&request), &["MalformedRequest"], "");
            }
        }
    }
}

fn with_minimal_lengths(tlv: &Tlv) -> Tlv {
    let children = tlv.children.iter().map(with_minimal_lengths).collect();
    Tlv { length: Length::Minimal, children, ..tlv.clone() }
}

#[test]
fn refuses_indefinite_and_lying_lengths_at_every_level() {
    for length in [Length::Indefinite, Length::Beyond(1), Length::Beyond(1 << 20), Length::Beyond(1 << 40)] {
        for (_, request) in changed_everywhere(|tlv| tlv.length = length) {
            denied(&Csr::of(&request), &["MalformedRequest"], "");
        }
    }
}

#[test]
fn refuses_trailing_bytes_at_every_level() {
    for suffix in [&[0][..], &[0, 0], &[5, 0], &[0x30, 0], &[0x31, 0], &[0xff; 9]] {
        for (path, request) in changed_everywhere(|tlv| tlv.suffix = suffix.to_vec()) {
            let mut whole = sign(&honest(&SHARED), &SHARED);
            if is_constructed(whole.at(&path)) {
                // A NULL more is the signature's parameters, a SET more a relative distinguished name.
                let known = ["MalformedRequest", "KeyNotAllowed", "SubjectMismatch"];
                denied_for_one_of(&Csr::of(&request), if suffix.len() == 2 { &known } else { &known[..1] });
            }
        }
        let behind = [&sign(&honest(&SHARED), &SHARED).bytes(), suffix].concat();
        denied(&Csr::with_der(&behind), &["MalformedRequest"], "the request is not strict DER");
    }
}

#[test]
fn refuses_another_class_or_form_of_tag_at_every_level() {
    // X.690 section 8.1.2: bits 8 and 7 are the class, bit 6 says constructed. A reader that looks at the number only
    // takes [APPLICATION 12] for a UTF8String.
    for bits in [0x20, 0x40, 0x60, 0x80, 0xa0, 0xc0, 0xe0] {
        for (path, request) in changed_everywhere(|tlv| tlv.tag[0] ^= bits) {
            refuse_for_any_reason(&path, &request);
        }
    }
}

#[test]
fn refuses_every_other_tag_number_at_every_level() {
    for number in 1..0x1f {
        for (path, request) in changed_everywhere(|tlv| tlv.tag[0] ^= number) {
            let mut whole = sign(&honest(&SHARED), &SHARED);
            let (before, after) = (whole.at(&path).tag[0], whole.at(&path).tag[0] ^ number);
            // The two strings that a subject may be made of, and two kinds of name where one fits for the other.
            if matches!((before, after), (0x13, 0x0c)) {
                approved(&Csr::of(&request));
            } else {
                refuse_for_any_reason(&path, &request);
            }
        }
    }
}

#[test]
fn refuses_tags_in_the_long_form() {
    // X.690 section 8.1.2.2: numbers below 31 are written in the short form.
    for (path, request) in changed_everywhere(|tlv| tlv.tag = vec![tlv.tag[0] | 0x1f, tlv.tag[0] & 0x1f]) {
        refuse_for_any_reason(&path, &request);
    }
}

#[track_caller]
fn refuse_for_any_reason(path: &[usize], request: &Tlv) {
    let csr = Csr::of(request);
    assert!(
        matches!(csr.read(), countersign::request::Reading::Refused(_)),
        "taken: {path:?} with the tag {:02x?}",
        request.clone().at(path).tag
    );
}

#[test]
fn refuses_a_piece_missing_or_twice_at_every_level() {
    let whole = sign(&honest(&SHARED), &SHARED);
    let is_a_san = |path: &[usize]| path.len() == at::SANS.len() + 2 && path[1..].starts_with(at::SANS);
    for path in whole.paths() {
        let Some((&step, parent)) = path.split_last() else { continue };
        let edits: [fn(&mut Vec<Tlv>, usize); 2] =
            [|list, step| drop(list.remove(step)), |list, step| list.insert(step, list[step].clone())];
        for edit in edits {
            let request = if let [INFO, inner @ ..] = parent {
                let mut info = honest(&SHARED);
                edit(&mut info.at(inner).children, step);
                sign(&info, &SHARED)
            } else {
                let mut request = whole.clone();
                edit(&mut request.at(parent).children, step);
                request
            };
            if is_a_san(&path) {
                // One of several names may be left out or said twice: it is no less clear what is asked for.
                assert!(sans(&Csr::of(&request)).len() >= 2);
            } else {
                refuse_for_any_reason(&[], &request);
            }
        }
    }
}

#[test]
fn refuses_a_request_cut_off_anywhere() {
    let der = sign(&honest(&SHARED), &SHARED).bytes();
    for end in 1..der.len() {
        denied(&Csr::with_der(&der[..end]), &["MalformedRequest"], "the request is not strict DER");
    }
}

#[test]
fn takes_version_0_only() {
    // RFC 2986 section 4.1: version INTEGER { v1(0) }. Go does not look at it.
    for content in [&[1][..], &[2], &[0xff], &[0, 0], &[0xff, 0xff], &[0, 1], &[], &[0; 9], &[0x7f, 0xff]] {
        let mut info = honest(&SHARED);
        *info.at(at::VERSION) = integer(content);
        denied(&Csr::of(&sign(&info, &SHARED)), &["MalformedRequest"], "the request is not strict DER");
    }
    for other in [null(), boolean(0), oid("1.2.3"), Tlv::primitive(0x0a, [0])] {
        let mut info = honest(&SHARED);
        *info.at(at::VERSION) = other;
        denied(&Csr::of(&sign(&info, &SHARED)), &["MalformedRequest"], "the request is not strict DER");
    }
}

#[test]
fn refuses_bit_strings_with_unused_bits() {
    let mut info = honest(&SHARED);
    let key = info.at(&[at::PUBLIC_KEY, &[1]].concat());
    key.prefix[0] = 1;
    *key.prefix.last_mut().unwrap() &= 0xfe;
    denied(&Csr::of(&sign(&info, &SHARED)), &["MalformedRequest"], "the public key is not a whole number of bytes");

    let mut request = sign(&honest(&SHARED), &SHARED);
    let signature = request.at(SIGNATURE);
    signature.prefix[0] = 1;
    *signature.prefix.last_mut().unwrap() &= 0xfe;
    denied(&Csr::of(&request), &["MalformedRequest"], "the signature is not a whole number of bytes");

    for (unused, bytes) in [(8, &[0][..]), (0xff, &[0]), (1, &[]), (7, &[0xff]), (1, &[1])] {
        request.at(SIGNATURE).prefix = [&[unused], bytes].concat();
        denied(&Csr::of(&request), &["MalformedRequest"], "");
    }
    request.at(SIGNATURE).prefix.clear();
    denied(&Csr::of(&request), &["MalformedRequest"], "");
}

#[test]
fn refuses_object_identifiers_with_padded_arcs() {
    // X.690 section 8.19.2: the leading byte of an arc is not 0x80.
    for path in [&[3, 0, 0][..], &[3, 0, 1, 0, 0, 0], &[1, 0, 0, 0], &[2, 0, 0], &[2, 0, 1]] {
        let mut info = honest(&SHARED);
        info.at(path).prefix.insert(1, 0x80);
        refuse_for_any_reason(&[], &sign(&info, &SHARED));
        let mut info = honest(&SHARED);
        info.at(path).prefix.push(0x80);
        refuse_for_any_reason(&[], &sign(&info, &SHARED));
        let mut info = honest(&SHARED);
        info.at(path).prefix = vec![0xff; 60];
        refuse_for_any_reason(&[], &sign(&info, &SHARED));
        let mut info = honest(&SHARED);
        info.at(path).prefix.clear();
        refuse_for_any_reason(&[], &sign(&info, &SHARED));
    }
}

#[test]
fn the_builder_and_the_naive_reader_of_these_tests_agree() {
    let value = Tlv::constructed(0xa0, vec![dns("a".repeat(300)), null()]);
    let bytes = value.bytes();
    let (tag, content, rest) = split(&bytes).unwrap();
    assert_eq!((tag, content, rest), (0xa0, &value.content()[..], &[][..]));
    let (tag, content, rest) = split(content).unwrap();
    assert_eq!((tag, content.len(), rest), (0x82, 300, &[5, 0][..]));
}
