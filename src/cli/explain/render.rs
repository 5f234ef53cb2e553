//! An explanation for people, in the manner of a compiler: what there is, and at the end what is wrong with it.

use std::io::{self, Write};

use anstream::adapter::strip_str;
use anstyle::Style;
use jiff::Timestamp;

use super::checks::CheckOutcome;
use super::names::{EvidenceAnswer, SanReport};
use super::report::{AboutReport, Explanation};
use crate::cli::report::{ConditionType, RequestReport, VerdictReport};
use crate::cli::screen::{BAD, GOOD, WAITING};
use crate::cli::text::{age, wrap};
use crate::quote::plain;

/// How wide lines are where the terminal does not say, or is wider: longer ones are hard to read.
const WIDEST: usize = 110;
/// What is said last and first.
const LOUD: Style = Style::new().bold();
/// What did not come to pass.
const FAINT: Style = Style::new().dimmed();

/// Writes an explanation.
pub(super) fn write(
    explanation: &Explanation,
    now: Timestamp,
    room: Option<usize>,
    output: &mut dyn Write,
) -> io::Result<()> {
    let mut page = Page { output, width: room.unwrap_or(WIDEST).min(WIDEST) };
    page.head(explanation, now)?;
    page.rules(explanation)?;
    page.names(&explanation.names)?;
    page.checks(explanation)?;
    page.verdict(explanation)
}

struct Page<'o> {
    output: &'o mut dyn Write,
    width: usize,
}

impl Page<'_> {
    fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.output, "{text}")
    }

    /// A text that goes on below itself where it is too long, after so many blanks.
    fn text(&mut self, first: &str, indentation: usize, text: &str) -> io::Result<()> {
        let taken = strip_str(first).to_string().trim_start_matches('\n').chars().count();
        let room = |taken: usize| self.width.saturating_sub(taken).max(20);
        let lines = wrap(text, room(taken), room(indentation));
        for (position, line) in lines.iter().enumerate() {
            if position == 0 {
                writeln!(self.output, "{first}{line}")?;
            } else {
                writeln!(self.output, "{:indentation$}{line}", "")?;
            }
        }
        Ok(())
    }

    fn field(&mut self, name: &str, text: &str) -> io::Result<()> {
        self.text(&format!("  {name:<11}"), 13, text)
    }

    fn head(&mut self, explanation: &Explanation, now: Timestamp) -> io::Result<()> {
        let (request, content) = (&explanation.request, &explanation.content);
        let would = match request.verdict {
            VerdictReport::Approve => "would be approved",
            VerdictReport::Deny => "would be denied",
            VerdictReport::Defer => "would be left pending",
        };
        let style = request.verdict.style().bold();
        self.line(&format!("{LOUD}{}{LOUD:#} {style}{would}{style:#}\n", plain(&request.name)))?;
        if let Some(created) = request.created {
            self.field("filed", &format!("{created:.0}, {} ago", age(created, now)))?;
        }
        let groups = content.groups.iter().map(|group| plain(group)).collect::<Vec<_>>().join(", ");
        self.field("requestor", &format!("{}, in {groups}", plain(&request.requestor)))?;
        match &content.subject {
            Some(subject) => self.field("subject", &printable(subject))?,
            None => self.field("request", "cannot be read")?,
        }
        if let (Some(key), Some(signature)) = (&request.key, &content.signature) {
            self.field("key", &format!("{key}, signed with {signature}"))?;
        }
        self.field("usages", &content.usages.iter().map(|it| printable(it)).collect::<Vec<_>>().join(", "))?;
        self.field("lifetime", &content.expiration_seconds.map_or("the signer's".to_owned(), |it| format!("{it} s")))?;
        if !content.others.is_empty() {
            self.field("also", &content.others.join(", "))?;
        }
        self.field("condition", &condition(request, now))
    }

    fn rules(&mut self, explanation: &Explanation) -> io::Result<()> {
        if explanation.rules.is_empty() {
            return Ok(());
        }
        let policy = &explanation.policy;
        let hash = policy.sha256.get(..12).unwrap_or_default();
        let file = policy.file.as_deref().unwrap_or("built in");
        self.line(&format!("\n{LOUD}rules{LOUD:#} of policy {hash} ({file})"))?;
        let longest = explanation.rules.iter().map(|rule| rule.name.chars().count()).max().unwrap_or_default();
        for rule in &explanation.rules {
            let (mark, style) = match rule.about {
                AboutReport::Decides => ("->", GOOD),
                AboutReport::NeedsNode => ("->", WAITING),
                AboutReport::OtherNodes | AboutReport::NotLookedAt => ("  ", FAINT),
            };
            let name = format!("{style}{mark} {:<longest$}{style:#}  ", rule.name);
            self.text(&name, longest + 5, &rule.why)?;
        }
        Ok(())
    }

    fn names(&mut self, names: &[SanReport]) -> io::Result<()> {
        if !names.is_empty() {
            self.line(&format!("\n{LOUD}names and addresses{LOUD:#}"))?;
        }
        for name in names {
            let style = if name.problems.is_empty() { GOOD } else { BAD };
            self.line(&format!("  {style}{}{style:#}  {}", plain(&name.value), name.type_))?;
            for evidence in name.evidence.iter().filter(|evidence| evidence.asked) {
                let style = if evidence.answer == EvidenceAnswer::Owned { GOOD } else { WAITING };
                self.line(&format!("    {:<11}{style}{}{style:#}", evidence.source, answer(evidence.answer)))?;
            }
            let not_asked = name.evidence.iter().filter(|evidence| !evidence.asked);
            let not_asked: Vec<String> =
                not_asked.map(|evidence| format!("{}: {}", evidence.source, answer(evidence.answer))).collect();
            if !not_asked.is_empty() {
                self.line(&format!("    {FAINT}not asked  {}{FAINT:#}", not_asked.join("; ")))?;
            }
            if !name.listed_by_others.is_empty() {
                self.text("    also       ", 15, &format!("listed by Node {}", name.listed_by_others.join(", ")))?;
            }
            for problem in &name.problems {
                self.text(&format!("    {BAD}but{BAD:#}        "), 15, problem)?;
            }
        }
        Ok(())
    }

    fn checks(&mut self, explanation: &Explanation) -> io::Result<()> {
        self.line(&format!("\n{LOUD}checks{LOUD:#}"))?;
        for check in &explanation.checks {
            let (style, mark) = match check.outcome {
                CheckOutcome::Passed => (GOOD, "ok"),
                CheckOutcome::Failed => (BAD, "fail"),
                CheckOutcome::Waits => (WAITING, "wait"),
                CheckOutcome::NotReached => (FAINT, "-"),
            };
            self.text(&format!("  {style}{mark:<4}{style:#}  {:<22}", check.reason), 30, &check.what)?;
        }
        Ok(())
    }

    fn verdict(&mut self, explanation: &Explanation) -> io::Result<()> {
        let request = &explanation.request;
        let (style, word) = (request.verdict.style().bold(), request.verdict.as_str());
        for (position, reason) in request.reasons.iter().enumerate() {
            let title = format!("\n{style}{word}[{}]{style:#}: ", reason.reason);
            let indentation = word.len() + reason.reason.len() + 4;
            self.text(&title, indentation.min(4), &reason.message)?;
            if let Some(help) = explanation.help.get(position) {
                self.text(&format!("  = {LOUD}help{LOUD:#}: "), 10, help)?;
            }
        }
        let by = request.rule.as_ref().map(|rule| format!("rule {rule:?} of ")).unwrap_or_default();
        let hash = explanation.policy.sha256.get(..12).unwrap_or_default();
        let mode = if explanation.policy.mode == "audit" { ", which is in audit mode: nothing is written" } else { "" };
        self.line(&format!("  = by {by}policy {hash}{mode}"))?;
        if request.differs {
            self.text("  = ", 4, &format!("but it was {}", answered(request)))?;
        }
        Ok(())
    }
}

fn answer(answer: EvidenceAnswer) -> &'static str {
    match answer {
        EvidenceAnswer::Owned => "the node's",
        EvidenceAnswer::NotOwned => "not the node's",
        EvidenceAnswer::Unavailable => "cannot say",
    }
}

fn condition(request: &RequestReport, now: Timestamp) -> String {
    let condition = &request.condition;
    let mut text = answered(request);
    if let Some(at) = condition.at {
        text = format!("{text}, {} ago", age(at, now));
    }
    if condition.failed {
        text.push_str("; the signer has failed");
    } else if condition.issued {
        text.push_str("; a certificate was issued");
    } else if condition.type_ == ConditionType::Approved {
        text.push_str("; no certificate was issued so far");
    }
    text
}

/// What has become of a request, and why in the words of whoever answered.
fn answered(request: &RequestReport) -> String {
    let condition = &request.condition;
    let said = [condition.reason.as_deref(), condition.message.as_deref()].into_iter().flatten();
    let said: Vec<String> = said.filter(|text| !text.is_empty()).map(printable).collect();
    let type_ = condition.type_.as_str();
    if said.is_empty() { type_.to_owned() } else { format!("{type_}, {}", said.join(": ")) }
}

/// Untrusted text with blanks in it, with everything that a terminal could take for a command escaped.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c == ' ' || c.is_ascii_graphic() { c.to_string() } else { c.escape_default().to_string() })
        .collect()
}
