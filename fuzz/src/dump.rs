//! A dump of a cluster to verdicts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use countersign::api::KUBELET_SERVING;
use countersign::gather::Gathering;
use countersign::request::Reading;
use countersign::verdict::Verdict;
use jiff::Timestamp;

use super::naive;
use super::whole::{self, Any, Object};
use super::world::ANY;

/// Reads a dump, and judges every request in it that is pending.
///
/// What is approved is allowed by all that a whole reading of the same bytes finds, which reads at least as much. Says
/// whether anything is approved.
pub fn run(data: &[u8]) -> bool {
    let mut gathering = Gathering::new("cluster.local".parse().unwrap(), vec!["10.96.0.0/12".parse().unwrap()]);
    if let Err(error) = gathering.read_dump("the dump", data) {
        assert!(error.to_string().starts_with("the dump: "));
        return false;
    }
    let snapshot = gathering.finish_dump(&[&ANY]);
    let Some(objects) = whole::read(data) else { return false };
    let mut any = false;
    for request in snapshot.requests().iter().filter(|request| request.is_pending()) {
        let reading = Reading::of(&request.csr);
        let evaluation = snapshot.judge(request, &reading, &ANY, None, Timestamp::UNIX_EPOCH);
        if matches!(evaluation.verdict, Verdict::Approve(_)) {
            assert!(allowed(&objects, request.name()), "{:?} of {objects:#?}", request.name());
            any = true;
        }
    }
    any
}

/// Whether the naive rules allow a request by all that there is in the dump.
fn allowed(objects: &[Object], name: &str) -> bool {
    let nodes = last(objects, "", "Node", |_| true);
    let requests = last(objects, "certificates.k8s.io", "CertificateSigningRequest", |it| {
        it.get("spec").get("signerName").text() == KUBELET_SERVING
    });
    let Some(request) = requests.get(name) else { return false };
    let (spec, conditions) = (request.get("spec"), request.get("status").get("conditions").list());
    let username = spec.get("username").text();
    let texts = |key| spec.get(key).list().iter().map(|it| it.text().to_owned()).collect::<Vec<_>>();
    let text = naive::from_base64(spec.get("request").text().bytes());
    let Some(sans) = naive::asked_for(&text, username, &texts("groups"), &texts("usages")) else { return false };

    let node = username.strip_prefix("system:node:").unwrap_or_default();
    let Some(own) = nodes.get(node) else { return false };
    let by_now = |other: &Any| other.get("spec").get("username").text() != username || filed(other) <= filed(request);
    let left =
        |san: &str| nodes.iter().all(|(other, fields)| *other == node || leaves(objects, san, node, other, fields));
    conditions.iter().all(|it| !["Approved", "Denied", "Failed"].contains(&it.get("type").text()))
        && requests.values().all(|other| by_now(other))
        && own.get("metadata").get("deletionTimestamp") == &Any::Null
        && sans.iter().all(|san| {
            lists(own, san)
                && ranges_with(own, san).next().is_none()
                && left(san)
                && !naive::is_protected(san)
                && !is_taken(objects, san)
        })
}

/// The objects of a kind by name; of those of one name, the last.
fn last<'o>(objects: &'o [Object], group: &str, kind: &str, is_meant: fn(&Any) -> bool) -> BTreeMap<&'o str, &'o Any> {
    let of_kind = objects.iter().filter(|it| it.group == group && it.kind == kind && is_meant(&it.fields));
    let named = of_kind.map(|it| (it.fields.get("metadata").get("name").text(), &it.fields));
    named.filter(|(name, _)| kind != "Node" || naive::is_node_name(name)).collect()
}

fn filed(request: &Any) -> Timestamp {
    request.get("metadata").get("creationTimestamp").text().parse().unwrap_or_default()
}

fn lists(node: &Any, san: &str) -> bool {
    node.get("status").get("addresses").list().iter().take(256).any(|it| naive::same(it.get("address").text(), san))
}

/// The ranges of a Node's pods that an address is in.
fn ranges_with<'n>(node: &'n Any, san: &'n str) -> impl Iterator<Item = &'n str> {
    node.get("spec").get("podCIDRs").list().iter().map(Any::text).filter(|range| is_within(san, range))
}

/// Whether an address has the first bits of a range, which is of the same family.
fn is_within(san: &str, range: &str) -> bool {
    let Some((start, length)) = range.split_once('/') else { return false };
    let (Ok(address), Ok(start)) = (san.parse::<IpAddr>(), start.parse::<IpAddr>()) else { return false };
    // Without a sign, and without zeros before it.
    let length = length.parse().ok().filter(|number: &u32| number.to_string() == length);
    length.is_some_and(|length| naive::agree(address, start, length))
}

/// Whether it is where the dump says that Services or the API server are.
fn is_taken(objects: &[Object], san: &str) -> bool {
    let services = last(objects, "networking.k8s.io", "ServiceCIDR", |_| true);
    let slices = last(objects, "discovery.k8s.io", "EndpointSlice", |it| {
        let metadata = it.get("metadata");
        let service = metadata.get("labels").get("kubernetes.io/service-name").text();
        metadata.get("namespace").text() == "default" && service == "kubernetes"
    });
    let mut ranges = services.values().flat_map(|it| it.get("spec").get("cidrs").list());
    let mut addresses =
        slices.values().flat_map(|it| it.get("endpoints").list()).flat_map(|it| it.get("addresses").list());
    ranges.any(|range| is_within(san, range.text())) || addresses.any(|it| naive::same(it.text(), san))
}

/// Whether another Node leaves a name or an address to this one: it is not called so and has no claim to it, or came
/// later by what a controller has written down.
fn leaves(objects: &[Object], san: &str, node: &str, other: &str, fields: &Any) -> bool {
    let claims: Vec<String> = if lists(fields, san) { vec![other.to_owned()] } else { Vec::new() };
    let of_pods = ranges_with(fields, san).map(|range| (range, other));
    let claims: BTreeSet<String> =
        claims.into_iter().chain(of_pods.map(|(range, other)| format!("{range}~{other}"))).collect();
    let orders = last(objects, "", "ConfigMap", |it| it.get("metadata").get("name").text() == "countersign-claims");
    let mut lines = orders.values().flat_map(|it| it.get("data").get("order").text().lines());
    let is_first = |line: &str| {
        let (contested, order) = line.split_once(' ').unwrap_or_default();
        let place = |claim: &str| order.split(' ').position(|moment| moment.split(',').any(|it| it == claim));
        let own = place(node).unwrap_or(usize::MAX);
        naive::same(contested, san) && claims.iter().all(|claim| own < place(claim).unwrap_or(usize::MAX))
    };
    !naive::same(other, san) && (claims.is_empty() || lines.any(is_first))
}
