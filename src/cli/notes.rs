//! What people have to know to read what is told of requests.

use std::io::{self, Write as _};

use super::report::RequestReport;
use super::screen;
use super::source::PolicySource;
use super::text::count;
use crate::api::MAX_CSR_NAME;
use crate::gather::Snapshot;
use crate::policy::Source;

/// What has to be known of the policy and the facts.
pub(super) fn of_source(policy: &PolicySource, snapshot: &Snapshot) -> Vec<String> {
    let mut notes = Vec::new();
    if policy.file.is_none() {
        notes
            .push("judged by the policy that is built in, policies/default.yaml; give --policy for another".to_owned());
    }
    let absent = |kind: &str| snapshot.absent().contains(&kind);
    if absent("nodes") {
        notes.push("there are no nodes in the dump: whose a name or address is cannot be told".to_owned());
    }
    if absent("machines") {
        notes.push("the policy asks for machines, and there are none in the dump".to_owned());
    }
    if snapshot.long_names() > 0 {
        let requests = count(snapshot.long_names(), "request");
        notes.push(format!(
            "left alone, as by the controller: {requests} with a name of more than {MAX_CSR_NAME} bytes"
        ));
    }
    if policy.policy.asks(Source::Dns) {
        notes.push(if snapshot.is_dump() {
            "the policy asks DNS, which is not asked for a dump: what has to be confirmed is shown as waiting"
                .to_owned()
        } else {
            "DNS was asked by this machine's /etc/resolv.conf, which need not be the controller's".to_owned()
        });
    }
    let unprotected: Vec<&str> = [
        ("servicecidrs", "servicecidrs (or give --service-cidr)"),
        ("services", "services"),
        ("endpointslices", "endpointslices of the Service default/kubernetes"),
        ("configmaps", "the configmap kube-public/cluster-info"),
    ]
    .into_iter()
    .filter_map(|(kind, name)| absent(kind).then_some(name))
    .collect();
    if !unprotected.is_empty() {
        notes.push(format!("not in the dump, so that what they protect is not known: {}", unprotected.join(", ")));
    }
    notes
}

/// What has to be known of one request: who was first is seen by a controller that watches, and is in no dump or list
/// unless it has written that down.
pub(super) fn of_report(report: &RequestReport, snapshot: &Snapshot) -> Option<String> {
    let contested = report.reasons.iter().any(|it| it.reason == "ClaimedByAnotherNode");
    (contested && !snapshot.has_history()).then(|| {
        "who claimed a contested name or address first is not known here; a running controller knows, and serves that \
         node"
            .to_owned()
    })
}

/// Writes notes to standard error.
pub(super) fn show(notes: &[String]) -> io::Result<()> {
    let mut errors = screen::errors();
    notes.iter().try_for_each(|note| writeln!(errors, "note: {note}"))
}
