use std::collections::HashSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use ipnet::IpNet;
use kube_core::Expression;

use super::condition::Condition;
use super::labels::{RESTRICTED_NAMESPACE, kubelet_can_set};
use super::schema::{self, Operator, Require, ServingPolicy, Source};
use super::yaml::{FieldPath, File, FileError, Problem, read};
use super::{Policy, Rule};
use crate::identity::Additions;
use crate::request::KeyKind;
use crate::verdict::NonEmpty;

/// How many names, and how many addresses, a request may have unless the policy says otherwise.
const DEFAULT_MAX_SANS: usize = 32;
/// How many approvals a node gets in an hour unless the policy says otherwise.
const DEFAULT_APPROVALS_PER_HOUR: u32 = 120;

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// [`FileError`] with everything that is wrong with it.
    pub fn load(bytes: &[u8]) -> Result<Self, FileError> {
        Self::load_with_warnings(bytes).map(|(policy, _)| policy)
    }

    /// Reads a policy file, and tells of what is allowed but protects less than it seems to.
    ///
    /// # Errors
    /// [`FileError`] with everything that is wrong with it.
    pub fn load_with_warnings(bytes: &[u8]) -> Result<(Self, Vec<Problem>), FileError> {
        let file: File<ServingPolicy> = read(bytes).map_err(FileError::new)?;
        let mut check = Check { file: &file, problems: Vec::new(), warnings: Vec::new() };
        let root = FieldPath::default();
        let protected = check.additions(&root.key("protected"));
        let rules: Vec<Rule> = check.rules(&root.key("rules"));
        let Check { problems, warnings, .. } = check;
        match (NonEmpty::from_vec(rules), problems.is_empty()) {
            (Some(rules), true) => {
                let policy = Self {
                    mode: file.value.mode,
                    superseded: file.value.superseded,
                    other_requestors: file.value.other_requestors,
                    protected,
                    load_balancers: file.value.protected.load_balancers,
                    rules,
                    sha256: sha256(bytes),
                };
                Ok((policy, warnings))
            }
            (Some(_) | None, _) => Err(FileError::new(problems)),
        }
    }

    /// The policy for every cluster, `policies/default.yaml`, which the commands for people take where none is given.
    ///
    /// # Errors
    /// None: tests read it.
    pub fn built_in() -> Result<Self, FileError> {
        Self::load(include_bytes!("../../../policies/default.yaml"))
    }

    /// The JSON Schema of a policy file (draft 2020-12), made from the types that read it.
    #[must_use]
    pub fn json_schema() -> schemars::Schema {
        schemars::schema_for!(ServingPolicy)
    }
}

/// Collects everything that is well-formed but makes no sense.
struct Check<'a> {
    file: &'a File<ServingPolicy>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Check<'_> {
    fn problem(&mut self, path: &FieldPath, message: impl Into<String>) {
        self.problems.push(self.file.problem(path.clone(), message));
    }

    /// Parses each text of a list; those that cannot be parsed become problems.
    fn parse<T: FromStr<Err = E>, E: std::fmt::Display>(&mut self, texts: &[String], path: &FieldPath) -> Vec<T> {
        let mut values = Vec::with_capacity(texts.len());
        for (position, text) in texts.iter().enumerate() {
            match text.parse::<T>() {
                Ok(value) => values.push(value),
                Err(error) => self.problem(&path.index(position), error.to_string()),
            }
        }
        values
    }

    fn ranges(&mut self, texts: &[String], path: &FieldPath) -> Vec<IpNet> {
        let mut ranges = Vec::with_capacity(texts.len());
        for (position, text) in texts.iter().enumerate() {
            match range(text) {
                Ok(range) => ranges.push(range),
                Err(problem) => self.problem(&path.index(position), problem),
            }
        }
        ranges
    }

    fn additions(&mut self, path: &FieldPath) -> Additions {
        let protected = &self.file.value.protected;
        let names = self.parse(&protected.dns_names, &path.key("dnsNames"));
        let addresses = self.ranges(&protected.addresses, &path.key("addresses"));
        Additions::new(names, addresses)
    }

    fn rules(&mut self, path: &FieldPath) -> Vec<Rule> {
        let rules = &self.file.value.rules;
        if rules.is_empty() {
            self.problem(path, "at least one rule is needed");
        }
        let mut names = HashSet::new();
        let mut checked = Vec::with_capacity(rules.len());
        for (position, rule) in rules.iter().enumerate() {
            let path = path.index(position);
            if !names.insert(&rule.name) {
                self.problem(&path.key("name"), format!("{:?} is the name of two rules", rule.name));
            }
            checked.push(self.rule(rule, &path));
        }
        checked
    }

    fn rule(&mut self, rule: &schema::Rule, path: &FieldPath) -> Rule {
        if rule.name.is_empty() || rule.name.len() > 63 {
            self.problem(&path.key("name"), "a rule's name has 1 to 63 characters");
        }
        let match_ = path.key("match");
        let all = vec!["*".to_owned()];
        let node_names = rule.match_.node_names.as_ref().unwrap_or(&all);
        if node_names.is_empty() {
            self.problem(&match_.key("nodeNames"), "an empty list matches no node; leave it out to match all");
        }
        let identity = path.key("identity");
        let mut sources = rule.identity.sources.clone();
        sources.sort_unstable();
        sources.dedup();
        if sources.is_empty() {
            self.problem(&identity.key("sources"), "at least one source is needed");
        }
        if sources.contains(&Source::Dns) && (sources.len() == 1 || rule.identity.require == Require::Any) {
            // Names and addresses of one machine fit each other whoever asks for them.
            let message = "dns only confirms what another source says: it needs one beside it, and require: all";
            self.problem(&identity.key("sources"), message);
        }
        let keys = rule.keys.clone().unwrap_or_else(|| KeyKind::ALL.to_vec());
        if keys.is_empty() {
            self.problem(&path.key("keys"), "an empty list allows no key; leave it out to allow all");
        }
        if rule.approvals_per_hour == Some(0) {
            self.problem(&path.key("approvalsPerHour"), "at least 1 an hour is needed");
        }
        let max = |max: Option<u32>| max.and_then(|max| usize::try_from(max).ok()).unwrap_or(DEFAULT_MAX_SANS);
        Rule {
            name: rule.name.clone(),
            node_names: self.parse(node_names, &match_.key("nodeNames")),
            node_selector: rule.match_.node_selector.as_ref().map(|it| self.selector(it, &match_.key("nodeSelector"))),
            sources,
            require: rule.identity.require,
            dns_patterns: rule
                .dns_names
                .patterns
                .as_ref()
                .map(|texts| self.parse(texts, &path.key("dnsNames").key("patterns"))),
            max_dns_names: max(rule.dns_names.max),
            ranges: rule
                .ip_addresses
                .ranges
                .as_ref()
                .map(|texts| self.ranges(texts, &path.key("ipAddresses").key("ranges"))),
            max_ip_addresses: max(rule.ip_addresses.max),
            keys,
            max_expiration: rule
                .max_expiration
                .as_ref()
                .and_then(|text| self.duration(text, &path.key("maxExpiration"))),
            conditions: self.conditions(&rule.conditions, &path.key("conditions")),
            approvals_per_hour: rule.approvals_per_hour.unwrap_or(DEFAULT_APPROVALS_PER_HOUR).max(1),
            on_violation: rule.on_violation,
        }
    }

    fn selector(&mut self, selector: &schema::NodeSelector, path: &FieldPath) -> Vec<Expression> {
        let mut expressions: Vec<Expression> =
            selector.match_labels.iter().map(|(key, value)| Expression::Equal(key.clone(), value.clone())).collect();
        for key in selector.match_labels.keys() {
            self.warn_of_label(key, path.key("matchLabels").key(key));
        }
        for (position, requirement) in selector.match_expressions.iter().enumerate() {
            let values = requirement.values.iter().cloned().collect();
            let key = requirement.key.clone();
            let path = path.key("matchExpressions").index(position);
            self.warn_of_label(&key, path.key("key"));
            let path = path.key("values");
            let wants_values = matches!(requirement.operator, Operator::In | Operator::NotIn);
            if wants_values == requirement.values.is_empty() {
                let message =
                    if wants_values { "In and NotIn need values" } else { "Exists and DoesNotExist take no values" };
                self.problem(&path, message);
            }
            expressions.push(match requirement.operator {
                Operator::In => Expression::In(key, values),
                Operator::NotIn => Expression::NotIn(key, values),
                Operator::Exists => Expression::Exists(key),
                Operator::DoesNotExist => Expression::DoesNotExist(key),
            });
        }
        if expressions.is_empty() {
            self.problem(path, "an empty selector matches every Node; leave it out for that");
        }
        expressions
    }

    /// A rule that a node can choose by itself is no boundary between nodes.
    fn warn_of_label(&mut self, label: &str, path: FieldPath) {
        if kubelet_can_set(label) {
            let message = format!(
                "a kubelet can give its own Node the label {label:?}, and so choose whether the rule is about it; labels \
                 below {RESTRICTED_NAMESPACE}/ are kept from kubelets"
            );
            self.warnings.push(self.file.problem(path, message));
        }
    }

    fn conditions(&mut self, conditions: &[schema::Condition], path: &FieldPath) -> Vec<Condition> {
        let mut compiled = Vec::with_capacity(conditions.len());
        for (position, condition) in conditions.iter().enumerate() {
            match Condition::compile(&condition.expression, condition.message.as_deref()) {
                Ok(condition) => compiled.push(condition),
                Err(problem) => self.problem(&path.index(position).key("expression"), problem),
            }
        }
        compiled
    }

    fn duration(&mut self, text: &str, path: &FieldPath) -> Option<Duration> {
        let duration = text.parse::<jiff::SignedDuration>().ok().and_then(|it| Duration::try_from(it).ok());
        match duration {
            Some(duration) if !duration.is_zero() => Some(duration),
            Some(_) | None => {
                self.problem(
                    path,
                    format!("{text:?} is not a time in hours, minutes and seconds, such as 8760h or 30m"),
                );
                None
            }
        }
    }
}

/// Reads an address or a range. One with bits set beyond its prefix is most likely mistyped.
pub(crate) fn range(text: &str) -> Result<IpNet, String> {
    let expected =
        || format!("{text:?} is neither an address nor a range in CIDR notation, such as 10.1.0.0/16 or fd00:1::/48");
    let address = text.split_once('/').map_or(text, |(address, _)| address);
    // The library for ranges reads 010.0.0.1 as 10.0.0.1, where others take 010 for an octal number.
    let address: IpAddr = address.parse().map_err(|_| expected())?;
    let range = if text.contains('/') { text.parse().map_err(|_| expected())? } else { IpNet::from(address) };
    if range.trunc() == range {
        Ok(range)
    } else {
        Err(format!("{text:?} has bits set beyond its prefix; {} was probably meant", range.trunc()))
    }
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
    use crate::policy::{Mode, Refusal};
    use crate::san::NodeName;

    const MINIMAL: &str = "apiVersion: countersign/v1\nkind: ServingPolicy\nrules:\n- name: all\n";

    fn errors(text: &str) -> Vec<String> {
        Policy::load(text.as_bytes()).unwrap_err().problems().iter().map(ToString::to_string).collect()
    }

    fn with(rule: &str) -> Vec<String> {
        errors(&format!("{MINIMAL}{rule}\n"))
    }

    #[test]
    fn a_range_is_written_in_one_way() {
        for text in ["10.1.0.0/16", "10.1.2.3", "10.1.2.3/32", "0.0.0.0/0", "fd00:1::/48", "fd00::1"] {
            assert!(range(text).is_ok(), "{text}");
        }
        for text in
            ["010.1.0.0/16", "10.1.0.00/16", "10.01.2.3", "10.1/16", "0x0a.1.0.0/16", "10.1.0.0/33", "10.1.0.0/", "/8"]
        {
            assert!(range(text).unwrap_err().contains("neither an address nor a range"), "{text}");
        }
    }

    #[test]
    fn the_shortest_policy_enforces_one_rule_for_every_node() {
        let policy = Policy::load(MINIMAL.as_bytes()).unwrap();
        assert_eq!((policy.mode(), policy.mode().to_string().as_str()), (Mode::Enforce, "enforce"));
        assert_eq!(policy.sha256().len(), 64);
        assert!(!policy.protects_load_balancers());
        let rule = policy.rules().next().unwrap();
        assert_eq!((rule.name(), rule.on_violation(), rule.approvals_per_hour()), ("all", Refusal::Deny, 120));
        let node: NodeName = "any-node.example.com".parse().unwrap();
        assert!(matches!(policy.select(&node, None), crate::policy::Selection::Rule { by_labels: false, .. }));
    }

    #[test]
    fn finds_all_mistakes_at_once_and_says_where() {
        let text = "apiVersion: countersign/v1\nkind: ServingPolicy\nmod: audit\nrules:\n- name: a\n  match:\n    nodeName: [x]\n  \
                    identity: {sources: [oracle, nod, node]}\n- match: {}\n- name: c\n  onViolation: shout\n";
        assert_eq!(
            errors(text),
            [
                "line 3, column 1: mod: unknown field `mod`, expected one of `apiVersion`, `kind`, `mode`, `protected`, \
                 `superseded`, `otherRequestors`, `rules`; did you mean `mode`?",
                "line 7, column 5: rules[0].match.nodeName: unknown field `nodeName`, expected `nodeNames` or \
                 `nodeSelector`; did you mean `nodeNames`?",
                "line 8, column 24: rules[0].identity.sources[0]: unknown variant `oracle`, expected one of `node`, `machine`, \
                 `inventory`, `dns`",
                "line 8, column 32: rules[0].identity.sources[1]: unknown variant `nod`, expected one of `node`, \
                 `machine`, `inventory`, `dns`; did you mean `node`?",
                "line 9, column 3: rules[1]: missing field `name`",
                "line 11, column 3: rules[2].onViolation: unknown variant `shout`, expected `deny` or `leave`",
            ]
        );
    }

    #[test]
    fn says_where_a_mistake_is_behind_what_is_written_once_and_used_twice() {
        let text =
            "apiVersion: countersign/v1\nkind: ServingPolicy\nrules:\n- &a {name: a}\n- *a\n- {name: b, keys: []}\n";
        assert_eq!(
            errors(text),
            [
                "line 5, column 3: rules[1].name: \"a\" is the name of two rules",
                "line 6, column 13: rules[2].keys: an empty list allows no key; leave it out to allow all",
            ]
        );
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        let cases = [
            ("- name: all", "line 5, column 3: rules[1].name: \"all\" is the name of two rules"),
            ("- name: ''", "line 5, column 3: rules[1].name: a rule's name has 1 to 63 characters"),
            (
                "- {name: b, match: {nodeNames: []}}",
                "line 5, column 21: rules[1].match.nodeNames: an empty list matches no node; leave it out to match all",
            ),
            (
                "- {name: b, match: {nodeSelector: {}}}",
                "line 5, column 21: rules[1].match.nodeSelector: an empty selector matches every Node; leave it out for that",
            ),
            (
                "- {name: b, match: {nodeSelector: {matchExpressions: [{key: a, operator: In}]}}}",
                "line 5, column 55: rules[1].match.nodeSelector.matchExpressions[0].values: In and NotIn need values",
            ),
            (
                "- {name: b, identity: {sources: []}}",
                "line 5, column 24: rules[1].identity.sources: at least one source is needed",
            ),
            (
                "- {name: b, identity: {sources: [dns]}}",
                "line 5, column 24: rules[1].identity.sources: dns only confirms what another source says: it needs one \
                 beside it, and require: all",
            ),
            (
                "- {name: b, identity: {sources: [inventory, dns], require: any}}",
                "line 5, column 24: rules[1].identity.sources: dns only confirms what another source says: it needs one \
                 beside it, and require: all",
            ),
            (
                "- {name: b, dnsNames: {patterns: ['a_b']}}",
                "line 5, column 35: rules[1].dnsNames.patterns[0]: \"a_b\" is not a pattern for names: lower-case letters, \
                 digits, '-', '.', '*' and {node} are allowed",
            ),
            (
                "- {name: b, ipAddresses: {ranges: [10.0.0.1/8]}}",
                "line 5, column 36: rules[1].ipAddresses.ranges[0]: \"10.0.0.1/8\" has bits set beyond its prefix; \
                 10.0.0.0/8 was probably meant",
            ),
            (
                "- {name: b, ipAddresses: {ranges: [10.0.0.0/33]}}",
                "line 5, column 36: rules[1].ipAddresses.ranges[0]: \"10.0.0.0/33\" is neither an address nor a range in \
                 CIDR notation, such as 10.1.0.0/16 or fd00:1::/48",
            ),
            (
                "- {name: b, maxExpiration: soon}",
                "line 5, column 13: rules[1].maxExpiration: \"soon\" is not a time in hours, minutes and seconds, such as \
                 8760h or 30m",
            ),
            (
                "- {name: b, maxExpiration: 0h}",
                "line 5, column 13: rules[1].maxExpiration: \"0h\" is not a time in hours, minutes and seconds, such as \
                 8760h or 30m",
            ),
            (
                "- {name: b, approvalsPerHour: 0}",
                "line 5, column 13: rules[1].approvalsPerHour: at least 1 an hour is needed",
            ),
            (
                "- {name: b, keys: []}",
                "line 5, column 13: rules[1].keys: an empty list allows no key; leave it out to allow all",
            ),
        ];
        for (rule, expected) in cases {
            assert_eq!(with(rule), [expected], "{rule}");
        }
    }

    #[test]
    fn a_rules_name_has_at_most_63_characters() {
        let policy = |length| MINIMAL.replace("all", &"a".repeat(length));
        assert!(Policy::load(policy(63).as_bytes()).is_ok());
        assert_eq!(errors(&policy(64)), ["line 4, column 3: rules[0].name: a rule's name has 1 to 63 characters"]);
    }

    #[test]
    fn warns_of_labels_that_kubelets_can_set() {
        let text = "apiVersion: countersign/v1\nkind: ServingPolicy\nrules:\n- name: a\n  match:\n    nodeSelector:\n      \
                    matchLabels: {node-restriction.kubernetes.io/pool: a, pool: a}\n      matchExpressions:\n      \
                    - {key: node-role.kubernetes.io/control-plane, operator: Exists}\n      \
                    - {operator: DoesNotExist, key: topology.kubernetes.io/zone}\n";
        let (_, warnings) = Policy::load_with_warnings(text.as_bytes()).unwrap();
        let because = "and so choose whether the rule is about it; labels below node-restriction.kubernetes.io/ are \
                       kept from kubelets";
        assert_eq!(
            warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                format!(
                    "line 7, column 61: rules[0].match.nodeSelector.matchLabels.pool: a kubelet can give its own Node the \
                     label \"pool\", {because}"
                ),
                format!(
                    "line 10, column 34: rules[0].match.nodeSelector.matchExpressions[1].key: a kubelet can give its own \
                     Node the label \"topology.kubernetes.io/zone\", {because}"
                ),
            ]
        );
    }

    #[test]
    fn refuses_files_that_are_no_policy() {
        assert_eq!(errors(""), ["the file is empty"]);
        assert_eq!(errors(&" ".repeat(2_000_000)), ["the file has 2000000 bytes; 1048576 are allowed"]);
        let long = |length: usize| MINIMAL.to_owned() + &"#".repeat(length - MINIMAL.len());
        assert!(Policy::load(long(1_048_576).as_bytes()).is_ok());
        assert_eq!(errors(&long(1_048_577)), ["the file has 1048577 bytes; 1048576 are allowed"]);
        assert!(errors("rules: [").first().unwrap().starts_with("line "));
        assert!(errors(&format!("{MINIMAL}---\n{MINIMAL}")).first().unwrap().contains("more than one document"));
        assert!(errors(&MINIMAL.replace("v1", "v2")).first().unwrap().contains("unknown variant `countersign/v2`"));
        assert_eq!(
            errors(&MINIMAL.replace("- name: all", "  []")),
            ["line 3, column 1: rules: at least one rule is needed"]
        );
        let error = Policy::load(&[0xff, 0xfe]).unwrap_err().to_string();
        assert_eq!(error, "the file is not UTF-8 text");
    }

    #[test]
    fn reads_every_field() {
        let text = r#"
apiVersion: countersign/v1
kind: ServingPolicy
mode: audit
protected: {dnsNames: ["vault.example.com", "*.db.example.com"], addresses: ["10.0.0.10", "10.20.0.0/16"], loadBalancers: true}
superseded: leave
otherRequestors: leave
rules:
- name: workers
  match:
    nodeNames: ["worker-*"]
    nodeSelector:
      matchLabels: {node-restriction.kubernetes.io/pool: workers}
      matchExpressions: [{key: a, operator: NotIn, values: [b]}, {key: c, operator: Exists}]
  identity: {sources: [inventory, node], require: any}
  dnsNames: {patterns: ["{node}", "{node}.example.com"], max: 4}
  ipAddresses: {ranges: ["10.1.0.0/16", "fd00:1::/48"], max: 8}
  keys: [ecdsa-p256, rsa-2048]
  maxExpiration: 8760h
  approvalsPerHour: 60
  onViolation: leave
"#;
        let policy = Policy::load(text.as_bytes()).unwrap();
        let rule = policy.rules().next().unwrap();
        assert_eq!((policy.mode(), policy.mode().to_string().as_str()), (Mode::Audit, "audit"));
        assert!(policy.protects_load_balancers());
        assert!(policy.asks(Source::Inventory) && policy.asks(Source::Node) && !policy.asks(Source::Machine));
        assert_eq!(policy.on_superseded(), Refusal::Leave);
        assert_eq!((rule.max_dns_names, rule.max_ip_addresses, rule.approvals_per_hour), (4, 8, 60));
        assert_eq!(rule.max_expiration, Some(Duration::from_hours(8760)));
        assert_eq!(rule.keys, [KeyKind::EcdsaP256, KeyKind::Rsa2048]);
        assert_eq!(
            (rule.on_violation, policy.superseded, policy.other_requestors),
            (Refusal::Leave, Refusal::Leave, Refusal::Leave)
        );
    }
}
