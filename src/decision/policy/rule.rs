use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use kube_core::Expression;

use super::condition::{Condition, Outcome};
use super::pattern::{DnsPattern, NamePattern};
use super::schema::{Refusal, Require, Source};
use crate::identity::NodeRecord;
use crate::request::{KeyError, KeyKind, ServingRequest};
use crate::san::{DnsName, NodeName, San};
use crate::verdict::{DeferReason, DenyReason, SanKind};

/// What is asked of the nodes that a rule matches.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(super) name: String,
    pub(super) node_names: Vec<NamePattern>,
    pub(super) node_selector: Option<Vec<Expression>>,
    pub(super) sources: Vec<Source>,
    pub(super) require: Require,
    pub(super) dns_patterns: Option<Vec<DnsPattern>>,
    pub(super) max_dns_names: usize,
    pub(super) ranges: Option<Vec<IpNet>>,
    pub(super) max_ip_addresses: usize,
    pub(super) keys: Vec<KeyKind>,
    pub(super) max_expiration: Option<Duration>,
    pub(super) approvals_per_hour: u32,
    pub(super) conditions: Vec<Condition>,
    pub(super) on_violation: Refusal,
}

/// Whether a rule is about a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// By its name alone.
    Yes,
    /// By its name and its Node's labels.
    ByLabels,
    /// Not by its name.
    OtherName,
    /// By its name, but not by its Node's labels.
    OtherLabels,
    /// That depends on the labels of a Node that does not exist.
    NeedsNode,
}

impl Rule {
    /// The rule's name, unique within the policy.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether violations are denied or left pending.
    #[must_use]
    pub fn on_violation(&self) -> Refusal {
        self.on_violation
    }

    /// The sources that are asked whose a name or address is, and whether all of them have to agree.
    #[must_use]
    pub fn sources(&self) -> (&[Source], Require) {
        (&self.sources, self.require)
    }

    /// How many approvals a node gets in an hour.
    #[must_use]
    pub fn approvals_per_hour(&self) -> u32 {
        self.approvals_per_hour
    }

    pub(super) fn matches(&self, node: &NodeName, record: Option<&NodeRecord>) -> Match {
        if !self.node_names.iter().any(|pattern| pattern.matches(node)) {
            return Match::OtherName;
        }
        match (&self.node_selector, record) {
            (None, _) => Match::Yes,
            (Some(_), None) => Match::NeedsNode,
            (Some(selector), Some(record)) if selector.iter().all(|it| holds(it, record)) => Match::ByLabels,
            (Some(_), Some(_)) => Match::OtherLabels,
        }
    }

    /// What in the request itself is against the rule.
    pub(super) fn violations(&self, request: &ServingRequest) -> Vec<DenyReason> {
        let mut reasons = Vec::new();
        if !self.keys.contains(&request.key()) {
            let error = KeyError::NotInRule { key: request.key(), allowed: self.keys.clone() };
            reasons.push(DenyReason::KeyNotAllowed(error));
        }
        let names = || request.sans().iter().filter_map(San::as_dns);
        let addresses = || request.sans().iter().filter_map(San::as_ip);
        for (kind, count, max) in [
            (SanKind::Dns, names().count(), self.max_dns_names),
            (SanKind::Ip, addresses().count(), self.max_ip_addresses),
        ] {
            if count > max {
                reasons.push(DenyReason::TooManySans { kind, count, max });
            }
        }
        reasons.extend(names().filter_map(|name| self.outside_patterns(name, request.node())));
        reasons.extend(addresses().filter_map(|address| self.outside_ranges(address)));
        if let (Some(max), Some(requested)) = (self.max_expiration, request.expiration())
            && requested > max
        {
            reasons.push(DenyReason::ExpirationTooLong { requested, max });
        }
        reasons
    }

    /// What the rule's conditions come to, for a request that is within the rule's limits.
    pub(super) fn check_conditions(
        &self,
        request: &ServingRequest,
        record: &NodeRecord,
    ) -> (Vec<DenyReason>, Vec<DeferReason>) {
        let (mut violations, mut doubts) = (Vec::new(), Vec::new());
        for condition in &self.conditions {
            match condition.evaluate(request, record) {
                Outcome::Holds => {}
                Outcome::Fails => violations.push(DenyReason::ConditionFailed {
                    message: condition.message().to_owned(),
                    node: request.node().clone(),
                }),
                Outcome::Error(problem) => {
                    doubts.push(DeferReason::ConditionError { expression: condition.expression().to_owned(), problem });
                }
            }
        }
        (violations, doubts)
    }

    fn outside_patterns(&self, name: &DnsName, node: &NodeName) -> Option<DenyReason> {
        let patterns = self.dns_patterns.as_ref()?;
        if patterns.iter().any(|pattern| pattern.matches(name, node)) {
            return None;
        }
        let patterns = patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect();
        Some(DenyReason::NameOutsidePattern { name: name.clone(), patterns })
    }

    fn outside_ranges(&self, address: IpAddr) -> Option<DenyReason> {
        let ranges = self.ranges.as_ref()?;
        if ranges.iter().any(|range| range.contains(&address)) {
            return None;
        }
        Some(DenyReason::AddressOutsideRange { address, ranges: ranges.clone() })
    }
}

/// Whether an expression of a selector is true of a Node (upstream: `apimachinery/pkg/labels.Requirement.Matches`). The
/// client library's own form would want the labels as a map of strings, made anew for every rule.
pub(super) fn holds(expression: &Expression, record: &NodeRecord) -> bool {
    match expression {
        Expression::In(key, values) => record.label(key).is_some_and(|value| values.contains(value)),
        Expression::NotIn(key, values) => record.label(key).is_none_or(|value| !values.contains(value)),
        Expression::Equal(key, value) => record.has_label(key, value),
        Expression::NotEqual(key, value) => !record.has_label(key, value),
        Expression::Exists(key) => record.label(key).is_some(),
        Expression::DoesNotExist(key) => record.label(key).is_none(),
    }
}

#[cfg(test)]
mod tests {
    use kube_core::SelectorExt as _;

    use super::*;

    #[test]
    fn expressions_hold_where_the_client_library_says_so() {
        let values = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let key = |key: &str| key.to_owned();
        for labels in [&[][..], &[("b", "1")], &[("a", "x"), ("b", "2"), ("c", "")]] {
            let labels: serde_json::Map<_, _> =
                labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
            let node = serde_json::json!({"metadata": {"name": "n", "labels": labels}});
            let record = NodeRecord::read(&serde_json::from_value(node).unwrap()).unwrap();
            for name in ["a", "b", "c", "d"] {
                for expression in [
                    Expression::In(key(name), values(&["1", ""])),
                    Expression::NotIn(key(name), values(&["1", "x"])),
                    Expression::Equal(key(name), "1".to_owned()),
                    Expression::NotEqual(key(name), "1".to_owned()),
                    Expression::Exists(key(name)),
                    Expression::DoesNotExist(key(name)),
                ] {
                    assert_eq!(holds(&expression, &record), expression.matches(&record.labels()), "{expression}");
                }
            }
        }
    }
}
