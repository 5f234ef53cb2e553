//! What `countersign run --once` prints: the table of a review, with what was written.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use anstyle::Style;
use jiff::Timestamp;

use super::report::VerdictReport;
use super::review::{joined, or_dash};
use super::screen;
use super::table::{Cell, Column, Cut, Table};
use super::text::{age, count};
use crate::controller::{Decision, Entry};
use crate::quote::plain;

/// How many requests came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    requests: usize,
    approved: usize,
    /// Those that were denied, or would be in audit mode.
    pub(crate) denied: usize,
    left: usize,
    written: usize,
}

/// Prints the requests that were judged.
pub(crate) fn print_once(entries: &BTreeMap<Arc<str>, Entry>) -> io::Result<Summary> {
    let mut output = screen::output();
    let summary = print(entries, screen::width(), Timestamp::now(), &mut output)?;
    output.flush()?;
    Ok(summary)
}

fn print(
    entries: &BTreeMap<Arc<str>, Entry>,
    room: Option<usize>,
    now: Timestamp,
    output: &mut dyn Write,
) -> io::Result<Summary> {
    let mut summary = Summary::default();
    let mut table = Table::new(columns(), room);
    // What has neither a finding nor a problem was answered by somebody else meanwhile.
    let ours = entries.iter().filter(|(_, entry)| entry.finding.is_some() || entry.problem.is_some());
    for (name, entry) in ours {
        summary.count(entry);
        table.row(output, row(name, entry, now))?;
    }
    table.end(output)?;
    if summary.requests > 0 {
        writeln!(output)?;
    }
    writeln!(output, "{}", summary.sentence())?;
    Ok(summary)
}

fn columns() -> Vec<Column> {
    let column = |title, cut| Column { title, cut };
    vec![
        column("NAME", Cut::To(12, 6)),
        column("AGE", Cut::Never),
        column("NODE", Cut::To(12, 5)),
        column("VERDICT", Cut::Never),
        column("WRITTEN", Cut::Never),
        column("REASON", Cut::Late(8)),
        column("REQUESTED", Cut::To(12, 6)),
    ]
}

fn row(name: &str, entry: &Entry, now: Timestamp) -> Vec<Cell> {
    let finding = entry.finding.as_ref();
    let verdict = finding.map(|finding| match finding.decision {
        Some(Decision::Approved) => VerdictReport::Approve,
        Some(Decision::Denied) => VerdictReport::Deny,
        None => VerdictReport::Defer,
    });
    let written = finding.filter(|it| it.written).and_then(|it| it.decision).map(|it| it.condition_type().to_owned());
    let reason = finding.filter(|_| verdict != Some(VerdictReport::Approve)).map(|it| (*it.reasons.first()).to_owned());
    vec![
        plain(name).into(),
        age(entry.created, now).into(),
        or_dash(entry.node.clone()).into(),
        Cell {
            text: or_dash(verdict.map(|verdict| verdict.as_str().to_owned())),
            style: verdict.map_or(Style::new(), VerdictReport::style),
        },
        or_dash(written).into(),
        or_dash(reason).into(),
        joined(entry.requested.iter()).into(),
    ]
}

impl Summary {
    fn count(&mut self, entry: &Entry) {
        self.requests += 1;
        let Some(finding) = &entry.finding else { return };
        match finding.decision {
            Some(Decision::Approved) => self.approved += 1,
            Some(Decision::Denied) => self.denied += 1,
            None => self.left += 1,
        }
        self.written += usize::from(finding.written);
    }

    fn sentence(&self) -> String {
        let Self { requests, approved, denied, left, written } = *self;
        if requests == 0 {
            return "no requests for kubelets' serving certificates are pending".to_owned();
        }
        let mut text = format!("{}: {approved} approve, {denied} deny, {left} defer", count(requests, "request"));
        let failed = requests - approved - denied - left;
        if failed > 0 {
            text = format!("{text}, {failed} not settled");
        }
        match written {
            0 => format!("{text}; nothing written"),
            _ => format!("{text}; {} written", count(written, "answer")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::Finding;
    use crate::verdict::NonEmpty;

    fn entries(written: bool) -> BTreeMap<Arc<str>, Entry> {
        let entry = |name: &str, node: Option<&str>, finding: Option<(Option<Decision>, &'static str)>, problem| {
            let finding = finding.map(|(decision, reason)| Finding {
                decision,
                written: written && decision.is_some(),
                reasons: NonEmpty::one(reason),
                message: String::new(),
            });
            let requested = vec![node.unwrap_or("a").to_owned(), "10.0.0.1".to_owned()];
            let (created, node) =
                (Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(1), node.map(str::to_owned));
            (Arc::from(name), Entry { created, node, requested, finding, problem })
        };
        BTreeMap::from([
            entry("csr-1", Some("worker-1"), Some((Some(Decision::Approved), "AutoApproved")), None),
            entry("csr-2", Some("worker-2"), Some((Some(Decision::Denied), "ProtectedName")), None),
            entry("csr-3", Some("worker-3"), Some((None, "AddressNotOwned")), None),
            entry("csr-4\u{1b}", None, None, Some("writing an answer: refused".to_owned())),
            // Somebody else was quicker.
            entry("csr-5", Some("worker-5"), None, None),
        ])
    }

    fn shown(entries: &BTreeMap<Arc<str>, Entry>, room: Option<usize>) -> String {
        let mut output = Vec::new();
        let now = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(3);
        print(entries, room, now, &mut output).unwrap();
        anstream::adapter::strip_str(&String::from_utf8(output).unwrap()).to_string()
    }

    #[test]
    fn shows_what_was_found_and_what_was_written() {
        assert_eq!(
            shown(&entries(true), None),
            "NAME           AGE   NODE      VERDICT  WRITTEN   REASON           REQUESTED\n\
             csr-1          120m  worker-1  approve  Approved  -                worker-1, 10.0.0.1\n\
             csr-2          120m  worker-2  deny     Denied    ProtectedName    worker-2, 10.0.0.1\n\
             csr-3          120m  worker-3  defer    -         AddressNotOwned  worker-3, 10.0.0.1\n\
             \"csr-4\\u{1b}\"  120m  -         -        -         -                a, 10.0.0.1\n\
             \n4 requests: 1 approve, 1 deny, 1 defer, 1 not settled; 2 answers written\n"
        );
        assert!(shown(&entries(false), None).ends_with(", 1 not settled; nothing written\n"));
        assert_eq!(shown(&BTreeMap::new(), None), "no requests for kubelets' serving certificates are pending\n");
    }

    #[test]
    fn takes_one_line_for_each_request_on_any_terminal() {
        for width in [80, 200] {
            let shown = shown(&entries(true), Some(width));
            assert!(shown.lines().all(|line| line.chars().count() <= width), "{shown}");
            assert_eq!(shown.lines().count(), 7, "{shown}");
        }
    }
}
