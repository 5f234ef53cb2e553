//! `countersign explain`: one request, and everything that speaks for and against it.

mod checks;
mod help;
mod names;
mod render;
mod report;

use std::io::Write;

use anyhow::Context as _;
use jiff::Timestamp;

use super::args::{ExplainArguments, ExplainFormat};
use super::report::{Judge, VerdictReport};
use super::source::{self, PolicySource, Scope};
use super::{Outcome, notes, screen};
use crate::gather::{Request, Snapshot};
use crate::quote::plain;
pub(super) use report::Explanation;

/// Runs `countersign explain`.
///
/// # Errors
/// Files that cannot be read or used, a cluster that cannot be read, and a request that is not there.
pub fn explain(arguments: &ExplainArguments) -> anyhow::Result<Outcome> {
    let policy = PolicySource::load(arguments.policy.as_deref())?;
    let inventory = source::inventory(&arguments.source)?;
    let is_meant = |request: &Request| arguments.request.as_deref().is_none_or(|name| name == request.name());
    let scope = Scope { policies: &[&policy.policy], inventory: inventory.as_ref(), is_meant: &is_meant };
    let snapshot = source::snapshot(&arguments.files, &arguments.source, &scope)?;
    let request = find(&snapshot, arguments.request.as_deref())?;
    let now = Timestamp::now();
    let judge = Judge { snapshot: &snapshot, policy: &policy.policy, inventory: inventory.as_ref(), now };
    let mut notes = notes::of_source(&policy, &snapshot);
    let mut explanation = report::explain(&judge, request, policy.report(), Vec::new())
        .with_context(|| format!("{} is not for this program to answer", plain(request.name())))?;
    notes.extend(notes::of_report(&explanation.request, &snapshot));
    let mut output = screen::output();
    match arguments.output {
        ExplainFormat::Text => {
            render::write(&explanation, now, screen::width(), &mut output)?;
            output.flush()?;
            notes::show(&notes)?;
        }
        ExplainFormat::Json => {
            explanation.notes = notes;
            serde_json::to_writer_pretty(&mut output, &explanation)?;
            writeln!(output)?;
        }
        ExplainFormat::Yaml => {
            explanation.notes = notes;
            serde_yaml::to_writer(&mut output, &explanation)?;
        }
    }
    output.flush()?;
    Ok(if explanation.request.verdict == VerdictReport::Deny { Outcome::Refused } else { Outcome::Good })
}

fn find<'s>(snapshot: &'s Snapshot, name: Option<&str>) -> anyhow::Result<&'s Request> {
    let Some(name) = name else {
        return match snapshot.requests() {
            [one] => Ok(one),
            [] => anyhow::bail!("there are no requests for kubelets' serving certificates"),
            all => anyhow::bail!("say which of {} requests: countersign explain CSR", all.len()),
        };
    };
    if let Some(request) = snapshot.requests().iter().find(|request| request.name() == name) {
        return Ok(request);
    }
    let is_other = snapshot.is_for_another_signer(name);
    let name = plain(name);
    if is_other {
        anyhow::bail!(
            "{name} is for another signer than kubernetes.io/kubelet-serving, which this program leaves alone"
        );
    }
    let count = snapshot.requests().len();
    anyhow::bail!("there is no request {name} among {count} for kubelets' serving certificates")
}
