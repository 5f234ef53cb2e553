//! `countersign policy diff`: which verdicts another policy would change.

use std::io::Write;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::args::{DiffArguments, DiffFormat};
use super::progress::Progress;
use super::report::{Judge, NameReport, PolicyReport, ReasonReport, RequestReport, VerdictReport};
use super::review::{or_dash, requested};
use super::source::{self, PolicySource, Scope};
use super::table::{Cell, Column, Cut, Table};
use super::text::count;
use super::{Outcome, notes, screen};
use crate::gather::Request;
use crate::policy::{ApiVersion, Policy};
use crate::quote::plain;

/// The `kind` of a comparison of policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) enum DiffKind {
    /// The only one there is.
    PolicyDiff,
}

/// What another policy would change.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PolicyDiff {
    /// `countersign/v1`.
    api_version: ApiVersion,
    /// `PolicyDiff`.
    kind: DiffKind,
    /// The one policy.
    old: PolicyReport,
    /// The other policy.
    new: PolicyReport,
    /// What has to be known to read the rest.
    notes: Vec<String>,
    /// The requests with another verdict under the other policy.
    changes: Vec<Change>,
    /// How many requests there are.
    summary: DiffSummary,
}

/// A request with another verdict under the other policy.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Change {
    /// The request's name.
    name: String,
    /// The node, where the requestor is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    /// The names and addresses that it asks for.
    requested: Vec<NameReport>,
    /// Under the one policy.
    old: Side,
    /// Under the other policy.
    new: Side,
}

/// What would become of a request under one of the policies.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Side {
    /// The verdict.
    verdict: VerdictReport,
    /// Every reason for it.
    reasons: Vec<ReasonReport>,
    /// The rule that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
}

/// How many requests there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct DiffSummary {
    /// All that were looked at.
    requests: usize,
    /// Those with another verdict.
    changed: usize,
    /// Those with the same verdict for other reasons.
    other_reasons: usize,
}

/// Runs `countersign policy diff`.
///
/// # Errors
/// Files that cannot be read or used, and a cluster that cannot be read.
pub(super) fn diff(arguments: &DiffArguments) -> anyhow::Result<Outcome> {
    let old = PolicySource::load(Some(&arguments.old))?;
    let new = PolicySource::load(Some(&arguments.new))?;
    let inventory = source::inventory(&arguments.source)?;
    let policies = [&old.policy, &new.policy];
    let scope = Scope { policies: &policies, inventory: inventory.as_ref(), is_meant: &|_| true };
    let snapshot = source::snapshot(&arguments.files, &arguments.source, &scope)?;
    let judge = |policy| Judge { snapshot: &snapshot, policy, inventory: inventory.as_ref(), now: Timestamp::now() };
    let (before, after) = (judge(&old.policy), judge(&new.policy));
    let progress = Progress::of_requests(snapshot.requests().len());
    let mut summary = DiffSummary::default();
    let mut changes = Vec::new();
    for request in snapshot.requests() {
        progress.add(1);
        let (Some(old), Some(new)) = (report(&before, request), report(&after, request)) else { continue };
        summary.requests += 1;
        if old.verdict != new.verdict {
            summary.changed += 1;
            changes.push(Change::new(old, new));
        } else if old.reasons != new.reasons {
            summary.other_reasons += 1;
        }
    }
    drop(progress);
    let notes = notes::of_source(&new, &snapshot);
    let mut output = screen::output();
    match arguments.output {
        DiffFormat::Table => {
            table(&changes, screen::width(), &mut output)?;
            writeln!(output, "{}", sentence(&summary))?;
            output.flush()?;
            notes::show(&notes)?;
        }
        DiffFormat::Json => {
            let (api_version, kind) = (ApiVersion::V1, DiffKind::PolicyDiff);
            let (old, new) = (old.report(), new.report());
            let diff = PolicyDiff { api_version, kind, old, new, notes, changes, summary };
            serde_json::to_writer_pretty(&mut output, &diff)?;
            writeln!(output)?;
            output.flush()?;
        }
    }
    Ok(if summary.changed == 0 { Outcome::Good } else { Outcome::Refused })
}

fn report(judge: &Judge<'_>, request: &Request) -> Option<RequestReport> {
    let policy: &Policy = judge.policy;
    judge.judge(request).report(policy)
}

impl Change {
    fn new(old: RequestReport, new: RequestReport) -> Self {
        let side = |verdict, reasons, rule| Side { verdict, reasons, rule };
        Self {
            name: new.name,
            node: new.node,
            requested: new.requested,
            old: side(old.verdict, old.reasons, old.rule),
            new: side(new.verdict, new.reasons, new.rule),
        }
    }
}

fn table(changes: &[Change], room: Option<usize>, output: &mut dyn Write) -> std::io::Result<()> {
    let column = |title, cut| Column { title, cut };
    let columns = vec![
        column("NAME", Cut::To(12, 6)),
        column("NODE", Cut::To(12, 5)),
        column("OLD", Cut::Never),
        column("NEW", Cut::Never),
        column("REASON", Cut::Late(8)),
        column("RULE", Cut::To(12, 4)),
        column("REQUESTED", Cut::To(12, 6)),
    ];
    let mut table = Table::new(columns, room);
    for change in changes {
        let verdict = |side: &Side| Cell { text: side.verdict.as_str().to_owned(), style: side.verdict.style() };
        let row = vec![
            plain(&change.name).into(),
            or_dash(change.node.clone()).into(),
            verdict(&change.old),
            verdict(&change.new),
            change.reason().to_owned().into(),
            or_dash(change.new.rule.clone()).into(),
            requested(&change.requested).into(),
        ];
        table.row(output, row)?;
    }
    table.end(output)?;
    if changes.is_empty() { Ok(()) } else { writeln!(output) }
}

impl Change {
    /// Why the verdict is another: the reason that is there now, or the one that is gone.
    fn reason(&self) -> &str {
        let side = if self.new.verdict == VerdictReport::Approve { &self.old } else { &self.new };
        side.reasons.first().map_or("-", |reason| &reason.reason)
    }
}

fn sentence(summary: &DiffSummary) -> String {
    let DiffSummary { requests, changed, other_reasons } = summary;
    let others = match other_reasons {
        0 => String::new(),
        others => format!("; {others} for other reasons"),
    };
    format!("{}: {changed} with another verdict{others}", count(*requests, "request"))
}
