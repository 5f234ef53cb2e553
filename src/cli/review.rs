//! `countersign review`: what would become of every request.

use std::io::Write;

use jiff::Timestamp;

use super::args::{Only, ReviewArguments, ReviewFormat};
use super::progress::Progress;
use super::report::{ConditionType, Judge, NameReport, RequestReport, Review, ReviewKind, Summary, VerdictReport};
use super::source::{self, PolicySource, Scope};
use super::table::{Cell, Column, Cut, Table};
use super::text::{age, count};
use super::{Outcome, notes, screen};
use crate::gather::Request;
use crate::policy::ApiVersion;
use crate::quote::plain;
use crate::request::USER_PREFIX;

/// Runs `countersign review`.
///
/// # Errors
/// Files that cannot be read or used, and a cluster that cannot be read.
pub fn review(arguments: &ReviewArguments) -> anyhow::Result<Outcome> {
    let policy = PolicySource::load(arguments.policy.as_deref())?;
    let inventory = source::inventory(&arguments.source)?;
    let is_meant = |request: &Request| is_meant(arguments.node.as_deref(), request);
    let scope = Scope { policies: &[&policy.policy], inventory: inventory.as_ref(), is_meant: &is_meant };
    let snapshot = source::snapshot(&arguments.files, &arguments.source, &scope)?;
    let judge =
        Judge { snapshot: &snapshot, policy: &policy.policy, inventory: inventory.as_ref(), now: Timestamp::now() };
    let mut output = screen::output();
    let show = Show { arguments, room: screen::width(), source: &policy };
    let told = show.show(&judge, &mut output)?;
    output.flush()?;
    notes::show(&told.notes)?;
    Ok(if told.summary.deny > 0 || told.summary.differ > 0 { Outcome::Refused } else { Outcome::Good })
}

/// What was found.
pub(super) struct Told {
    pub(super) summary: Summary,
    /// What people have to know to read it, where the output itself does not have it.
    pub(super) notes: Vec<String>,
}

/// How a review is shown.
pub(super) struct Show<'a> {
    pub(super) arguments: &'a ReviewArguments,
    /// The width of the terminal, where the output is one.
    pub(super) room: Option<usize>,
    pub(super) source: &'a PolicySource,
}

impl Show<'_> {
    /// Judges the requests and shows them.
    pub(super) fn show(&self, judge: &Judge<'_>, output: &mut dyn Write) -> anyhow::Result<Told> {
        let requests: Vec<&Request> =
            judge.snapshot.requests().iter().filter(|it| is_meant(self.arguments.node.as_deref(), it)).collect();
        let mut notes = notes::of_source(self.source, judge.snapshot);
        let mut contested = None;
        let other_signers = judge.snapshot.other_signers();
        let mut summary = Summary { other_signers, ..Summary::default() };
        let progress = Progress::of_requests(requests.len());
        let reports = requests.iter().filter_map(|request| {
            progress.add(1);
            let report = judge.judge(request).report(judge.policy)?;
            summary.count(&report);
            contested = contested.take().or_else(|| notes::of_report(&report, judge.snapshot));
            Some(report).filter(|report| self.arguments.only.is_none_or(|only| only.has(report.verdict)))
        });
        match self.arguments.output {
            ReviewFormat::Table | ReviewFormat::Wide => {
                let any_answered = requests.iter().any(|request| !request.is_pending());
                let wide = self.arguments.output == ReviewFormat::Wide;
                table(reports, Layout { wide, any_answered }, self.room, judge.now, output)?;
                drop(progress);
                if summary.requests > 0 {
                    writeln!(output)?;
                }
                writeln!(output, "{}", sentence(&summary))?;
                notes.extend(contested);
                Ok(Told { summary, notes })
            }
            ReviewFormat::Jsonl => {
                for report in reports {
                    serde_json::to_writer(&mut *output, &report)?;
                    writeln!(output)?;
                    output.flush()?;
                }
                drop(progress);
                notes.extend(contested);
                notes.push(sentence(&summary));
                Ok(Told { summary, notes })
            }
            ReviewFormat::Json | ReviewFormat::Yaml => {
                let requests = reports.collect();
                drop(progress);
                notes.extend(contested);
                let review = Review {
                    api_version: ApiVersion::V1,
                    kind: ReviewKind::Review,
                    policy: self.source.report(),
                    notes,
                    requests,
                    summary,
                };
                if self.arguments.output == ReviewFormat::Json {
                    serde_json::to_writer_pretty(&mut *output, &review)?;
                    writeln!(output)?;
                } else {
                    serde_yaml::to_writer(&mut *output, &review)?;
                }
                Ok(Told { summary, notes: Vec::new() })
            }
        }
    }
}

/// Whether a request is one of this node, where one is given.
fn is_meant(node: Option<&str>, request: &Request) -> bool {
    node.is_none_or(|node| request.csr.spec.username.strip_prefix(USER_PREFIX) == Some(node))
}

impl Only {
    fn has(self, verdict: VerdictReport) -> bool {
        match self {
            Self::Approved => verdict == VerdictReport::Approve,
            Self::Denied => verdict == VerdictReport::Deny,
            Self::Deferred => verdict == VerdictReport::Defer,
        }
    }
}

fn sentence(summary: &Summary) -> String {
    if summary.requests == 0 {
        return match summary.other_signers {
            0 => "no requests for kubelets' serving certificates".to_owned(),
            others => format!("no requests for kubelets' serving certificates, and {others} for other signers"),
        };
    }
    let Summary { requests, approve, deny, defer, differ, other_signers } = summary;
    let mut text = format!("{}: {approve} approve, {deny} deny, {defer} defer", count(*requests, "request"));
    if *differ > 0 {
        text = format!("{text}; {differ} marked ! would be answered otherwise than they were");
    }
    if *other_signers > 0 {
        text = format!("{text}; {other_signers} for other signers not looked at");
    }
    text
}

/// Which columns a table has.
#[derive(Clone, Copy)]
struct Layout {
    wide: bool,
    /// Whether any request has an answer already.
    any_answered: bool,
}

fn table(
    reports: impl Iterator<Item = RequestReport>,
    layout: Layout,
    room: Option<usize>,
    now: Timestamp,
    output: &mut dyn Write,
) -> std::io::Result<()> {
    let mut table = Table::new(layout.columns(), room);
    for report in reports {
        table.row(output, layout.row(&report, now))?;
    }
    table.end(output)
}

impl Layout {
    fn columns(self) -> Vec<Column> {
        let column = |title, cut| Column { title, cut };
        let mut columns =
            vec![column("NAME", Cut::To(12, 6)), column("AGE", Cut::Never), column("NODE", Cut::To(12, 5))];
        columns.extend(self.any_answered.then_some(column("CONDITION", Cut::Late(8))));
        columns.push(column("VERDICT", Cut::Never));
        if self.wide {
            columns.extend([column("REASONS", Cut::To(20, 7)), column("RULE", Cut::Late(4))]);
            columns.extend([column("KEY", Cut::Late(4)), column("REQUESTED", Cut::To(20, 6))]);
            columns.push(column("MESSAGE", Cut::To(60, 6)));
        } else {
            columns.extend([column("REASON", Cut::Late(8)), column("REQUESTED", Cut::To(12, 6))]);
        }
        columns
    }

    fn row(self, report: &RequestReport, now: Timestamp) -> Vec<Cell> {
        let mut row: Vec<Cell> = vec![
            plain(&report.name).into(),
            report.created.map_or("<unknown>".to_owned(), |created| age(created, now)).into(),
            or_dash(report.node.clone()).into(),
        ];
        row.extend(self.any_answered.then(|| condition(report).into()));
        row.push(verdict(report));
        let requested = requested(&report.requested);
        let is_approved = report.verdict == VerdictReport::Approve;
        let mut reasons: Vec<&str> = report.reasons.iter().map(|it| it.reason.as_str()).collect();
        if self.wide {
            reasons.dedup();
            row.extend([reasons.join(","), or_dash(report.rule.clone()), or_dash(report.key.clone())].map(Cell::from));
            row.extend([requested, report.message.clone()].map(Cell::from));
        } else {
            let reason = reasons.first().filter(|_| !is_approved).map(|reason| (*reason).to_owned());
            row.extend([or_dash(reason), requested].map(Cell::from));
        }
        row
    }
}

/// The names and addresses that are asked for, in one cell.
pub(super) fn requested(names: &[NameReport]) -> String {
    joined(names.iter().map(|name| &name.value))
}

/// Untrusted texts, in one cell.
pub(super) fn joined<'a>(texts: impl Iterator<Item = &'a String>) -> String {
    let texts: Vec<String> = texts.map(|text| plain(text)).collect();
    or_dash(Some(texts.join(", ")).filter(|text| !text.is_empty()))
}

/// A cell of which there may be nothing to say.
pub(super) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

fn condition(report: &RequestReport) -> String {
    let condition = &report.condition;
    let more = match (condition.type_, condition.issued, condition.failed) {
        (ConditionType::Approved, true, _) => ",Issued",
        (ConditionType::Approved, _, true) => ",Failed",
        _ => "",
    };
    format!("{}{more}", condition.type_.as_str())
}

fn verdict(report: &RequestReport) -> Cell {
    let style = report.verdict.style();
    let mark = if report.differs { "!" } else { "" };
    Cell {
        text: format!("{}{mark}", report.verdict.as_str()),
        style: if report.differs { style.bold() } else { style },
    }
}
