use std::collections::HashSet;
use std::fmt::{self, Write as _};

use aws_lc_rs::digest::{SHA256, digest};

use super::schema::{API_VERSION, KIND, Match, ServingPolicy};
use super::{NamePattern, Policy, Rule};
use crate::verdict::NonEmpty;

/// The largest policy file that is read, in bytes.
const MAX_FILE: usize = 1024 * 1024;

/// Why a policy file is not taken: one sentence, with the line and column where they are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    place: Option<(usize, usize)>,
    problem: String,
}

impl PolicyError {
    fn new(problem: impl Into<String>) -> Self {
        Self { place: None, problem: problem.into() }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.place {
            write!(f, "line {line}, column {column}: ")?;
        }
        f.write_str(&self.problem)
    }
}

impl std::error::Error for PolicyError {}

impl From<serde_yaml::Error> for PolicyError {
    fn from(error: serde_yaml::Error) -> Self {
        let place = error.location().map(|place| (place.line(), place.column()));
        let text = error.to_string();
        let problem = match place {
            Some((line, column)) => text.replace(&format!(" at line {line} column {column}"), ""),
            None => text,
        };
        Self { place, problem }
    }
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// [`PolicyError`] when it is not YAML, has an unknown field, or does not make sense.
    pub fn load(bytes: &[u8]) -> Result<Self, PolicyError> {
        if bytes.len() > MAX_FILE {
            return Err(PolicyError::new(format!("the file has {} bytes; {MAX_FILE} are allowed", bytes.len())));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| PolicyError::new("the file is not UTF-8 text"))?;
        let read: ServingPolicy = serde_yaml::from_str(text)?;
        if read.api_version != API_VERSION || read.kind != KIND {
            return Err(PolicyError::new(format!(
                "the file is a {} of {:?}; this program reads a {KIND} of {API_VERSION:?}",
                read.kind, read.api_version
            )));
        }
        let mut names = HashSet::new();
        let mut rules = Vec::with_capacity(read.rules.len());
        for (position, rule) in read.rules.into_iter().enumerate() {
            let path = format!("rules[{position}]");
            if rule.name.is_empty() || rule.name.len() > 63 {
                return Err(PolicyError::new(format!("{path}.name: a rule's name has 1 to 63 characters")));
            }
            if !names.insert(rule.name.clone()) {
                return Err(PolicyError::new(format!("{path}.name: {:?} is the name of two rules", rule.name)));
            }
            if rule.identity.sources.is_empty() {
                return Err(PolicyError::new(format!("{path}.identity.sources: at least one source is needed")));
            }
            rules.push(Rule {
                node_names: node_names(rule.match_, &path)?,
                name: rule.name,
                on_violation: rule.on_violation,
            });
        }
        let rules = NonEmpty::from_vec(rules).ok_or_else(|| PolicyError::new("rules: at least one rule is needed"))?;
        Ok(Self { mode: read.mode, rules, sha256: sha256(bytes) })
    }
}

fn node_names(match_: Match, path: &str) -> Result<Vec<NamePattern>, PolicyError> {
    let patterns = match_.node_names.unwrap_or_else(|| vec!["*".to_owned()]);
    if patterns.is_empty() {
        return Err(PolicyError::new(format!(
            "{path}.match.nodeNames: an empty list matches no node; leave it out to match all"
        )));
    }
    let parse = |(position, text): (usize, &String)| {
        text.parse().map_err(|error| PolicyError::new(format!("{path}.match.nodeNames[{position}]: {error}")))
    };
    patterns.iter().enumerate().map(parse).collect()
}

fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // a String takes whatever is written
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Mode, OnViolation};

    const MINIMAL: &str = "apiVersion: countersign/v1\nkind: ServingPolicy\nrules:\n- name: all\n";

    fn error(text: &str) -> String {
        Policy::load(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn the_shortest_policy_enforces_one_rule_for_every_node() {
        let policy = Policy::load(MINIMAL.as_bytes()).unwrap();
        assert_eq!(policy.mode(), Mode::Enforce);
        let rule = policy.rule_for(&"any-node.example.com".parse().unwrap()).unwrap();
        assert_eq!((rule.name(), rule.on_violation()), ("all", OnViolation::Deny));
        assert_eq!(policy.sha256().len(), 64);
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let text = format!(
            "{MINIMAL}  match: {{nodeNames: [\"a-*\"]}}\n- name: more\n  match: {{nodeNames: [\"a-1\", \"b\"]}}\n"
        );
        let policy = Policy::load(text.as_bytes()).unwrap();
        let rule = |node: &str| policy.rule_for(&node.parse().unwrap()).map(Rule::name);
        assert_eq!((rule("a-1"), rule("b"), rule("c")), (Some("all"), Some("more"), None));
    }

    #[test]
    fn says_where_an_unknown_field_is() {
        let text = MINIMAL.replace("- name: all\n", "- name: all\n  match: {nodeName: [a]}\n");
        assert_eq!(error(&text), "line 5, column 11: rules[0].match: unknown field `nodeName`, expected `nodeNames`");
        let text = format!("{MINIMAL}colour: red\n");
        assert_eq!(
            error(&text),
            "line 5, column 1: unknown field `colour`, expected one of `apiVersion`, `kind`, `mode`, `rules`"
        );
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        let with = |rule: &str| error(&format!("{MINIMAL}{rule}"));
        assert_eq!(with("- name: all\n"), "rules[1].name: \"all\" is the name of two rules");
        assert_eq!(with("- name: ''\n"), "rules[1].name: a rule's name has 1 to 63 characters");
        assert_eq!(
            with("- {name: b, match: {nodeNames: []}}\n"),
            "rules[1].match.nodeNames: an empty list matches no node; leave it out to match all"
        );
        assert!(
            with("- {name: b, match: {nodeNames: [ok, 'Not Ok']}}\n")
                .starts_with("rules[1].match.nodeNames[1]: \"Not Ok\"")
        );
        assert_eq!(
            with("- {name: b, identity: {sources: []}}\n"),
            "rules[1].identity.sources: at least one source is needed"
        );
        assert!(with("- {name: b, identity: {sources: [oracle]}}\n").contains("unknown variant `oracle`"));
        assert!(with("- {name: b, onViolation: shout}\n").contains("unknown variant `shout`"));
        assert!(error("").contains("missing field") || error("").contains("EOF"), "{}", error(""));
        assert!(error("rules: [").starts_with("line "), "{}", error("rules: ["));
        assert_eq!(error(&MINIMAL.replace("- name: all\n", "  []\n")), "rules: at least one rule is needed");
        assert!(
            error(&MINIMAL.replace("countersign/v1", "countersign/v2"))
                .contains("reads a ServingPolicy of \"countersign/v1\"")
        );
        assert!(error(&format!("{MINIMAL}---\n{MINIMAL}")).contains("more than one document"));
        assert_eq!(Policy::load(&[0xff, 0xfe]).unwrap_err().to_string(), "the file is not UTF-8 text");
        assert!(error(&" ".repeat(MAX_FILE + 1)).contains("1048576 are allowed"));
    }
}
