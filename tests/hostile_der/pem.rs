use crate::common::csr::{Csr, pem};
use crate::common::key::{Key, SHARED};
use crate::common::pkcs10::{dns, honest, ip, sign, with_sans};
use crate::expect::{approved, denied};

const NOT_ONE_BLOCK: &str = "not exactly one PEM block of 64-character lines and nothing else";

fn honest_pem() -> String {
    pem(&sign(&honest(&SHARED), &SHARED).bytes())
}

/// The text with the lines between its first and last changed.
fn with_body(text: &str, change: impl Fn(&str) -> String) -> String {
    let (begin, rest) = text.split_once('\n').unwrap();
    let (body, end) = rest.split_once("-----END").unwrap();
    format!("{begin}\n{}-----END{end}", change(body))
}

#[test]
fn takes_the_one_block_with_or_without_its_final_newline() {
    let text = honest_pem();
    approved(&Csr::with_request(text.clone()));
    approved(&Csr::with_request(text.trim_end()));
}

#[test]
fn refuses_text_around_the_block() {
    let text = honest_pem();
    let around = [
        format!("{text}{text}"),
        format!("{text}\n"),
        format!("{text}\n\n\n"),
        format!("{text} "),
        format!("{text}\0"),
        format!("{text}# comment\n"),
        format!("\n{text}"),
        format!(" {text}"),
        format!("\u{feff}{text}"),
        format!("subject=O = system:nodes\n{text}"),
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}"),
        format!("{text}-----END CERTIFICATE REQUEST-----\n"),
        text.replace('\n', "\r\n"),
        text.replace('\n', "\r"),
        text.trim_end().to_owned() + "\r\n",
        text.replace("-----\n", "----- \n"),
        text.replace("-----\n", "-----\t\n"),
        text.replace("-----END", " -----END"),
    ];
    for text in around {
        denied(&Csr::with_request(text.clone()), &["MalformedRequest"], NOT_ONE_BLOCK);
    }
}

#[test]
fn refuses_every_other_way_to_write_the_same_bytes() {
    let text = honest_pem();
    let joined = |body: &str| body.replace('\n', "");
    let width = |width: usize| {
        move |body: &str| {
            let body = joined(body);
            let lines = body.as_bytes().chunks(width).map(|line| String::from_utf8(line.to_vec()).unwrap() + "\n");
            lines.collect::<String>()
        }
    };
    let ways = [
        with_body(&text, width(76)),
        with_body(&text, width(63)),
        with_body(&text, width(10_000)),
        with_body(&text, |body| format!("Proc-Type: 4,ENCRYPTED\n\n{body}")),
        with_body(&text, |body| format!("X: y\n{body}")),
        with_body(&text, |body| format!("\n{body}")),
        with_body(&text, |body| format!("{body}\n")),
        with_body(&text, |body| body.replacen('\n', " \n", 1)),
        with_body(&text, |body| body.replacen('\n', "\n ", 1)),
        with_body(&text, |body| body.replacen('\n', "\n\n", 1)),
        with_body(&text, |body| joined(body).replace('=', "") + "\n"),
        with_body(&text, |body| body.replace('+', "-").replace('/', "_")).replace("\nMII", "\nMI-"),
        with_body(&text, |_| String::new()),
    ];
    for text in ways {
        denied(&Csr::with_request(text.clone()), &["MalformedRequest"], "");
        assert_ne!(text, honest_pem());
    }
}

#[test]
fn refuses_base64_with_bits_behind_its_end() {
    // RFC 4648 section 3.5: the bits that pad the last character may hold anything for a lenient reader.
    let mut der = sign(&honest(&SHARED), &SHARED).bytes();
    while der.len() % 3 != 1 {
        // Signatures differ in length, so that the padding comes in time.
        der = sign(&honest(&SHARED), &SHARED).bytes();
    }
    let text = pem(&der);
    approved(&Csr::with_request(text.clone()));
    let last = text.find("==").unwrap() - 1;
    let next = char::from(text.as_bytes()[last] + 1);
    let text = format!("{}{next}{}", &text[..last], &text[last + 1..]);
    denied(&Csr::with_request(text), &["MalformedRequest"], NOT_ONE_BLOCK);
}

#[test]
fn refuses_padding_in_any_line_but_the_last() {
    let names = (0..40).map(|n| dns(format!("name-{n}.a-long-domain.example.com"))).collect();
    let text = pem(&sign(&with_sans(&SHARED, names), &SHARED).bytes());
    denied(&Csr::with_request(text.clone()), &["TooManySans"], "");
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() > 33, "{}", lines.len());
    for line in 1..lines.len() - 2 {
        for padding in ["=", "=="] {
            let mut changed = lines.clone();
            let padded = format!("{}{padding}", &lines[line][..64 - padding.len()]);
            changed[line] = &padded;
            denied(&Csr::with_request(changed.join("\n") + "\n"), &["MalformedRequest"], NOT_ONE_BLOCK);
        }
    }
}

/// A request of more than 32 lines, the last of which stands for this many bytes, at most 48.
fn with_last_line_of(bytes: usize) -> Vec<u8> {
    // Names and signatures differ in length, so that it comes in time.
    let mut ders = (1..=48).cycle().map(|length| {
        let names = (0..40).map(|n| dns(format!("name-{n}.a-long-domain.example.com")));
        let names = names.chain([dns("a".repeat(length))]).collect();
        sign(&with_sans(&SHARED, names), &SHARED).bytes()
    });
    let der = ders.find(|der| der.len() % 48 == bytes % 48).unwrap();
    denied(&Csr::with_request(pem(&der)), &["TooManySans"], "");
    der
}

#[test]
fn refuses_the_same_bytes_with_padding_in_between() {
    let body = |der: &[u8]| pem(der).lines().filter(|line| !line.starts_with('-')).collect::<Vec<_>>().join("\n");
    for last in [1, 24, 47, 48] {
        let der = with_last_line_of(last);
        for whole in (48..der.len()).step_by(48) {
            for padding in [1, 2] {
                let (first, second) = der.split_at(whole - padding);
                let text = with_body(&pem(&der), |_| format!("{}\n{}\n", body(first), body(second)));
                denied(&Csr::with_request(text), &["MalformedRequest"], NOT_ONE_BLOCK);
            }
        }
    }
}

#[test]
fn refuses_an_empty_line_behind_the_last_however_long_that_is() {
    for last in [1, 24, 47, 48] {
        let text = with_body(&pem(&with_last_line_of(last)), |body| format!("{body}\n"));
        denied(&Csr::with_request(text), &["MalformedRequest"], NOT_ONE_BLOCK);
    }
}

#[test]
fn refuses_other_labels_and_says_which() {
    let labels =
        ["NEW CERTIFICATE REQUEST", "CERTIFICATE", "certificate request", "CERTIFICATE_REQUEST", "X509 CRL", ""];
    for label in labels {
        let text = honest_pem().replace("CERTIFICATE REQUEST", label);
        denied(&Csr::with_request(text), &["MalformedRequest"], &format!("{label:?}, not a \"CERTIFICATE REQUEST\""));
    }
    let text = honest_pem();
    let halves = [
        text.replace("BEGIN CERTIFICATE REQUEST", "BEGIN CERTIFICATE"),
        text.replace("END CERTIFICATE REQUEST", "END CERTIFICATE"),
        text.replace("CERTIFICATE REQUEST", "CERTIFICATE  REQUEST"),
        text.replace("CERTIFICATE REQUEST", "CERTIFICATE REQUEST "),
        text.replace("-----BEGIN", "----BEGIN"),
        text.replace("BEGIN", "begin"),
    ];
    for text in halves {
        denied(&Csr::with_request(text), &["MalformedRequest"], "");
    }
}

#[test]
fn refuses_what_is_no_text_at_all() {
    let der = sign(&honest(&SHARED), &SHARED).bytes();
    let nothing: [&[u8]; 7] = [b"", b"\n", b"\0", &[0xff; 64], &der, b"-----BEGIN CERTIFICATE REQUEST-----", b"-----"];
    for bytes in nothing {
        denied(&Csr::with_request(bytes), &["MalformedRequest"], NOT_ONE_BLOCK);
    }
    denied(&Csr::with_der(&[]), &["MalformedRequest"], "");
}

/// A request for as many addresses as fit, whose PEM has exactly `length` bytes, and the number of its SANs.
fn of_length(length: usize) -> (String, usize) {
    // Ed25519: its signatures all have the same length. An address takes 6 bytes; the name fills the gap.
    let key = Key::ed25519();
    for count in 1_930_u16..1_980 {
        for name in ["a", "aa", "aaa", "aaaa", "aaaaa", "aaaaaa"] {
            let mut names: Vec<_> = (0..count).map(|i| ip(&[&[10, 1], &i.to_be_bytes()[..]].concat())).collect();
            names.push(dns(name));
            let wanted = names.len();
            let text = pem(&sign(&with_sans(&key, names), &key).bytes());
            if text.len() == length {
                return (text, wanted);
            }
        }
    }
    panic!("no request of {length} bytes");
}

#[test]
fn takes_16_kib_and_not_a_byte_more() {
    let (text, names) = of_length(16 * 1024 + 1);
    denied(&Csr::with_request(text.clone()), &["MalformedRequest"], "the request has more than 16384 bytes");
    let text = text.strip_suffix('\n').unwrap();
    assert_eq!(text.len(), 16 * 1024);
    let read = format!("{names} names and addresses are requested, more than the 256 that are looked at");
    denied(&Csr::with_request(text), &["ForbiddenSan"], &read);
    denied(&Csr::with_request(vec![b'a'; 1 << 20]), &["MalformedRequest"], "the request has more than 16384 bytes");
}
