use kube_core::Expression;

use super::rule::{Match, holds};
use super::{Policy, Rule};
use crate::identity::NodeRecord;
use crate::san::NodeName;

/// A rule of the policy, and whether it is about a node.
#[derive(Clone, Debug)]
pub struct Matching<'p> {
    /// The rule.
    pub rule: &'p Rule,
    /// Whether it is.
    pub about: About,
    /// Why, in a sentence.
    pub why: String,
}

/// Whether a rule is about a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// It is the first that is, and decides.
    Decides,
    /// It is about other nodes.
    OtherNodes,
    /// That depends on the labels of a Node that does not exist; later rules are not tried.
    NeedsNode,
    /// It was not looked at, since an earlier one has ended the search.
    NotLookedAt,
}

impl Policy {
    /// Every rule in the order of the file, and why it decides about a node or does not.
    #[must_use]
    pub fn matching(&self, node: &NodeName, record: Option<&NodeRecord>) -> Vec<Matching<'_>> {
        let mut ended = false;
        let mut all = Vec::new();
        for rule in self.rules() {
            if ended {
                let why = "an earlier rule has ended the search".to_owned();
                all.push(Matching { rule, about: About::NotLookedAt, why });
                continue;
            }
            let about = match rule.matches(node, record) {
                Match::Yes | Match::ByLabels => About::Decides,
                Match::OtherName | Match::OtherLabels => About::OtherNodes,
                Match::NeedsNode => About::NeedsNode,
            };
            ended = about != About::OtherNodes;
            all.push(Matching { rule, about, why: rule.why(node, record) });
        }
        all
    }
}

impl Rule {
    /// Why the rule is about a node, or is not.
    fn why(&self, node: &NodeName, record: Option<&NodeRecord>) -> String {
        let names = self.node_names.iter().map(super::NamePattern::as_str).collect::<Vec<_>>().join(", ");
        let selector = self.node_selector.as_deref().map(|selector| show(selector, ",")).unwrap_or_default();
        match self.matches(node, record) {
            Match::Yes => format!("nodeNames [{names}] fits {node}"),
            Match::ByLabels => {
                format!("nodeNames [{names}] fits {node}, and nodeSelector [{selector}] its Node's labels")
            }
            Match::OtherName => format!("nodeNames [{names}] does not fit {node}"),
            Match::OtherLabels => {
                let unmet = self.node_selector.iter().zip(record).map(|(selector, record)| unmet(selector, record));
                format!("nodeSelector: the labels of Node {node} do not meet {}", unmet.collect::<String>())
            }
            Match::NeedsNode => {
                format!(
                    "nodeSelector [{selector}] needs Node {node}, which is not there (yet); later rules are not tried"
                )
            }
        }
    }
}

/// The requirements of a selector that a Node's labels do not meet.
fn unmet(selector: &[Expression], record: &NodeRecord) -> String {
    show(selector.iter().filter(|requirement| !holds(requirement, record)), ", ")
}

fn show<'e>(selector: impl IntoIterator<Item = &'e Expression>, separator: &str) -> String {
    selector.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(separator)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_rule_says_why_it_decides_or_does_not() {
        let policy = Policy::load(
            b"{apiVersion: countersign/v1, kind: ServingPolicy, rules: [\
              {name: control, match: {nodeNames: [\"control-*\", \"master\"]}}, \
              {name: pool, match: {nodeSelector: {matchLabels: {pool: a, zone: b}}}}, \
              {name: workers, match: {nodeNames: [\"worker-*\"]}}, {name: rest}]}",
        )
        .unwrap();
        let node: NodeName = "worker-1".parse().unwrap();
        let record = |labels| {
            let node = json!({"metadata": {"name": "worker-1", "labels": labels}});
            NodeRecord::read(&serde_json::from_value(node).unwrap()).unwrap()
        };
        let say = |record: Option<&NodeRecord>| {
            let all = policy.matching(&node, record);
            all.into_iter().map(|it| format!("{} {:?}: {}", it.rule.name(), it.about, it.why)).collect::<Vec<_>>()
        };
        let control = "control OtherNodes: nodeNames [control-*, master] does not fit worker-1";
        let skipped = |rule| format!("{rule} NotLookedAt: an earlier rule has ended the search");
        assert_eq!(
            say(Some(&record(json!({"pool": "a"})))),
            [
                control,
                "pool OtherNodes: nodeSelector: the labels of Node worker-1 do not meet zone=b",
                "workers Decides: nodeNames [worker-*] fits worker-1",
                &skipped("rest"),
            ]
        );
        assert_eq!(
            say(Some(&record(json!({"pool": "a", "zone": "b"}))))[1],
            "pool Decides: nodeNames [*] fits worker-1, and nodeSelector [pool=a,zone=b] its Node's labels"
        );
        assert_eq!(
            say(None),
            [
                control,
                "pool NeedsNode: nodeSelector [pool=a,zone=b] needs Node worker-1, which is not there (yet); later rules are \
                 not tried",
                &skipped("workers"),
                &skipped("rest"),
            ]
        );
    }
}
