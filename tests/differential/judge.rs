//! Asks the signer, and compares.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use countersign::request::{Reading, ServingRequest};
use countersign::san::San;
use k8s_openapi::ByteString;
use serde::Deserialize;
use serde_json::json;

use crate::Counts;
use crate::common::csr::Csr;

/// How many requests may be on their way through the signer: more than fit into the buffers in between.
const UNDER_WAY: usize = 4096;

const COMMON_NAME: &str = "2.5.4.3";
const ORGANIZATION: &str = "2.5.4.10";
const SUBJECT_ALT_NAME: &str = "2.5.29.17";

/// What the signer says of a request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Answer {
    error: Option<String>,
    #[serde(rename = "names")]
    asked: Option<Identity>,
    extensions: Option<Vec<String>>,
    refused: Option<String>,
    issued: Option<Identity>,
}

/// Whom a request or a certificate speaks of.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Identity {
    common_name: String,
    organization: Option<Vec<String>>,
    subject: Option<Vec<Vec<String>>>,
    dns_names: Option<Vec<String>>,
    ip_addresses: Option<Vec<String>>,
    email_addresses: Option<Vec<String>>,
    uris: Option<Vec<String>>,
}

/// Has the signer read each request, and fails at the first that is taken here and read otherwise there.
pub fn compare(program: &Path, requests: impl IntoIterator<Item = Csr, IntoIter: Send>) -> Result<Counts> {
    let mut signer = Command::new(program)
        .arg("read-requests")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", program.display()))?;
    let mut input = BufWriter::new(signer.stdin.take().context("no stdin")?);
    let answers = BufReader::new(signer.stdout.take().context("no stdout")?);
    let (sender, receiver) = sync_channel::<(Csr, Option<ServingRequest>)>(UNDER_WAY);
    let requests = requests.into_iter();
    let counts = thread::scope(|scope| {
        let asking = scope.spawn(move || -> Result<()> {
            for csr in requests {
                let taken = match csr.read() {
                    Reading::Serving(request) => Some(request),
                    Reading::Refused(_) | Reading::NotOurs(_) => None,
                };
                let filed = json!({"request": ByteString(csr.request.clone()), "usages": csr.usages});
                writeln!(input, "{filed}")?;
                if sender.send((csr, taken)).is_err() {
                    break;
                }
            }
            Ok(input.flush()?)
        });
        let counts = count(answers, receiver.into_iter());
        let asked = asking.join().unwrap();
        counts.and_then(|counts| asked.map(|()| counts))
    });
    // It ends when its input does.
    let status = signer.wait()?;
    let counts = counts?;
    ensure!(status.success(), "read-requests: {status}");
    Ok(counts)
}

fn count(answers: impl BufRead, requests: impl Iterator<Item = (Csr, Option<ServingRequest>)>) -> Result<Counts> {
    let mut counts = Counts::default();
    let mut answers = answers.lines();
    for (csr, taken) in requests {
        let line = answers.next().context("read-requests has ended")??;
        let answer: Answer = serde_json::from_str(&line).with_context(|| line.clone())?;
        counts.requests += 1;
        counts.issued += usize::from(answer.issued.is_some());
        if let Some(request) = &taken {
            counts.taken += 1;
            agree(&csr, request, &answer).with_context(|| {
                let text = String::from_utf8_lossy(&csr.request);
                format!("{text}of {:?}\nis read as {request:?},\nby the signer as {line}", csr.usages)
            })?;
        }
    }
    Ok(counts)
}

/// Fails unless the signer has read and issued exactly what was judged.
fn agree(csr: &Csr, request: &ServingRequest, answer: &Answer) -> Result<()> {
    let Answer { error: None, refused: None, asked: Some(asked), extensions, issued: Some(issued) } = answer else {
        bail!("the signer does not issue it");
    };
    ensure!(extensions.as_deref() == Some(&[SUBJECT_ALT_NAME.to_owned()]), "other extensions");
    for (stage, names) in [("read", asked), ("issued", issued)] {
        same(csr, request, names).context(stage)?;
    }
    // What is issued is what was read, to the letter.
    ensure!((&asked.dns_names, &asked.ip_addresses) == (&issued.dns_names, &issued.ip_addresses), "issued otherwise");
    Ok(())
}

fn same(csr: &Csr, request: &ServingRequest, names: &Identity) -> Result<()> {
    let attributes = [format!("{COMMON_NAME}={}", csr.username), format!("{ORGANIZATION}=system:nodes")];
    let subject: BTreeSet<&str> = names.subject.iter().flatten().flatten().map(String::as_str).collect();
    ensure!(names.common_name == csr.username, "another common name");
    ensure!(names.organization.as_deref() == Some(&["system:nodes".to_owned()]), "another organization");
    ensure!(subject == attributes.iter().map(String::as_str).collect(), "another subject");
    ensure!(names.subject.as_ref().is_some_and(|subject| subject.iter().map(Vec::len).eq([1, 1])), "other RDNs");
    ensure!(csr.username == format!("system:node:{}", request.node()), "another node");
    ensure!(names.email_addresses.is_none() && names.uris.is_none(), "other kinds of names");

    let dns_names = names.dns_names.iter().flatten().map(|name| name.to_ascii_lowercase());
    let addresses = names.ip_addresses.iter().flatten().map(|digits| address(digits));
    let read: Result<BTreeSet<String>> = dns_names.map(Ok).chain(addresses).collect();
    let judged: BTreeSet<String> = request.sans().iter().map(San::to_string).collect();
    ensure!(read? == judged, "other names or addresses");
    Ok(())
}

/// The text of an address that is given by the hexadecimal digits of its bytes.
fn address(digits: &str) -> Result<String> {
    let bytes: Vec<u8> = (0..digits.len() / 2)
        .map(|place| u8::from_str_radix(&digits[2 * place..2 * place + 2], 16))
        .collect::<Result<_, _>>()?;
    if let Ok(v4) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Ok(IpAddr::from(v4).to_string());
    }
    let v6 = <[u8; 16]>::try_from(bytes.as_slice()).ok().context("an address of another length")?;
    Ok(IpAddr::from(v6).to_string())
}
