//! A cluster at one moment.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::Read;

use ipnet::IpNet;
use jiff::Timestamp;
use kube::ResourceExt as _;

use super::contested;
use super::dump::{self, DumpError, Object};
use super::surroundings::Surroundings;
use crate::api::{CertificateSigningRequest, KUBELET_SERVING};
use crate::client::PLURALS;
use crate::identity::{
    ClusterDomain, Inventory, MachineIndex, MachineRecord, NodeIndex, NodeRecord, Nodes, Order, Protected, Resolutions,
};
use crate::policy::{Evaluation, Facts, Policy, Source, evaluate};
use crate::request::Reading;
use crate::san::{DnsName, San};
use crate::verdict::Unavailable;

/// What is called `machines` of whichever API group.
const MACHINES: &str = "machines";

/// A request, and what has become of it so far.
#[derive(Clone, Debug)]
pub struct Request {
    /// The request as it was filed: without its answer.
    pub csr: CertificateSigningRequest,
    /// What was answered, if anything was.
    pub answer: Option<Answered>,
    /// Whether the signer has issued a certificate.
    pub issued: bool,
    /// Whether the signer has given up on it.
    pub failed: bool,
}

/// An answer that a request has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Whether it is an approval.
    pub approved: bool,
    /// The condition's reason.
    pub reason: String,
    /// The condition's message.
    pub message: String,
    /// When, as far as the condition says.
    pub at: Option<Timestamp>,
}

impl Request {
    fn new(mut csr: CertificateSigningRequest) -> Self {
        let of_type = |type_: &str| csr.status.conditions.iter().find(|condition| condition.type_ == type_);
        let condition = of_type("Denied").or_else(|| of_type("Approved"));
        let answer = condition.map(|condition| Answered {
            approved: condition.type_ == "Approved",
            reason: condition.reason.clone(),
            message: condition.message.clone(),
            at: condition.last_update_time.as_deref().and_then(|text| text.parse().ok()),
        });
        let failed = csr.has_condition("Failed");
        csr.status.conditions.clear();
        Self { issued: csr.status.issued, csr, answer, failed }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.csr.metadata.name.as_deref().unwrap_or_default()
    }

    /// Whether nobody has answered it.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.answer.is_none() && !self.failed
    }
}

/// A cluster at one moment: its requests for kubelets' serving certificates, and what decisions about them rest on.
#[derive(Debug)]
pub struct Snapshot {
    nodes: NodeIndex,
    machines: MachineIndex,
    no_machines: MachineIndex,
    protected: Protected,
    /// What DNS said, as far as it was asked.
    dns: Resolutions,
    requests: Vec<Request>,
    created: HashMap<String, Vec<Timestamp>>,
    other_signers: HashSet<String>,
    long_names: usize,
    absent: Vec<&'static str>,
    is_dump: bool,
    has_history: bool,
}

impl Snapshot {
    /// The requests for kubelets' serving certificates, in the order in which they came.
    #[must_use]
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// How many requests are for other signers.
    #[must_use]
    pub fn other_signers(&self) -> usize {
        self.other_signers.len()
    }

    /// Whether the request of this name is for another signer.
    #[must_use]
    pub fn is_for_another_signer(&self, name: &str) -> bool {
        self.other_signers.contains(name)
    }

    /// How many requests are left alone, since their names are too long.
    #[must_use]
    pub fn long_names(&self) -> usize {
        self.long_names
    }

    /// The kinds of object that the dump has none of, by their plurals; none where it is not a dump.
    #[must_use]
    pub fn absent(&self) -> &[&'static str] {
        &self.absent
    }

    /// Whether it comes from files, and all that can be known is in them.
    #[must_use]
    pub fn is_dump(&self) -> bool {
        self.is_dump
    }

    /// The names that have to be looked up, for these requests, before they can be judged by these policies.
    #[must_use]
    pub fn to_resolve(
        &self,
        policies: &[&Policy],
        inventory: Option<&Inventory>,
        now: Timestamp,
        is_meant: &dyn Fn(&Request) -> bool,
    ) -> HashSet<DnsName> {
        let mut names = HashSet::new();
        let asking: Vec<&Policy> = policies.iter().copied().filter(|policy| policy.asks(Source::Dns)).collect();
        if asking.is_empty() {
            return names;
        }
        for request in self.requests.iter().filter(|request| is_meant(request)) {
            let reading = Reading::of(&request.csr);
            for policy in &asking {
                names.extend(self.judge(request, &reading, policy, inventory, now).to_resolve().cloned());
            }
        }
        names
    }

    /// Takes in what came of looking them up.
    pub fn set_resolved(&mut self, answers: Resolutions) {
        self.dns = answers;
    }

    /// Whether it is known in what order contested names and addresses were claimed: as far as a controller has written
    /// it down.
    #[must_use]
    pub fn has_history(&self) -> bool {
        self.has_history
    }

    /// The Nodes.
    #[must_use]
    pub fn nodes(&self) -> Nodes<'_> {
        Nodes::new(&self.nodes, &[])
    }

    /// Decides about a request as if it had no answer, by the function that the controller decides by. `reading` is
    /// what the request was understood as.
    #[must_use]
    pub fn judge<'p>(
        &self,
        request: &Request,
        reading: &Reading,
        policy: &'p Policy,
        inventory: Option<&Inventory>,
        now: Timestamp,
    ) -> Evaluation<'p> {
        self.with_facts(request, policy, inventory, now, |facts| evaluate(reading, facts, policy))
    }

    /// The facts that a decision about a request rests on: those that the controller gathers under the policy.
    pub fn with_facts<T>(
        &self,
        request: &Request,
        policy: &Policy,
        inventory: Option<&Inventory>,
        now: Timestamp,
        use_them: impl FnOnce(&Facts<'_>) -> T,
    ) -> T {
        let without = |kind: &'static str| self.absent.contains(&kind).then_some(Unavailable::NotInDump(kind));
        let unavailable = Vec::from_iter(without("nodes"));
        let machines_unavailable = Vec::from_iter(without(MACHINES));
        use_them(&Facts {
            now,
            nodes: self.nodes(),
            unavailable: &unavailable,
            machines: if policy.asks(Source::Machine) { &self.machines } else { &self.no_machines },
            machines_unavailable: &machines_unavailable,
            inventory,
            dns: &self.dns,
            protected: &self.protected,
            superseded: self.is_superseded(request),
            budget: None,
        })
    }

    /// Whether the same requestor had filed a strictly newer request by the time that counts: now for what is pending,
    /// and when it was answered for the rest.
    fn is_superseded(&self, request: &Request) -> bool {
        let created = request.csr.created();
        let Some(all) = self.created.get(&request.csr.spec.username) else { return false };
        let Some(newer) = all.get(all.partition_point(|other| *other <= created)) else { return false };
        match &request.answer {
            None => true,
            // Times are known to the second. What came first within one, only the answer can tell.
            Some(Answered { at: Some(at), approved, .. }) => newer < at || (newer == at && !approved),
            Some(Answered { at: None, .. }) => false,
        }
    }
}

/// Puts a [`Snapshot`] together.
#[derive(Debug)]
pub struct Gathering {
    nodes: Vec<NodeRecord>,
    machines: MachineIndex,
    surroundings: Surroundings,
    requests: Vec<Request>,
    places: HashMap<String, usize>,
    orders: Option<Vec<(San, Order)>>,
    other_signers: HashSet<String>,
    long_names: usize,
    present: BTreeSet<&'static str>,
}

impl Gathering {
    /// Knows nothing yet but what the operator says of the cluster.
    #[must_use]
    pub fn new(domain: ClusterDomain, service_ranges: Vec<IpNet>) -> Self {
        Self {
            nodes: Vec::new(),
            machines: MachineIndex::default(),
            surroundings: Surroundings::new(domain, service_ranges),
            requests: Vec::new(),
            places: HashMap::new(),
            orders: None,
            other_signers: HashSet::new(),
            long_names: 0,
            present: BTreeSet::new(),
        }
    }

    /// Takes in all objects of a dump: what `kubectl get … -o yaml` or `-o json` prints, several documents too. Errors
    /// call it by this name.
    ///
    /// # Errors
    /// [`DumpError`], with the line. What comes before it has been taken in.
    pub fn read_dump(&mut self, name: &str, input: impl Read) -> Result<(), DumpError> {
        dump::read(name, input, &mut |object| self.add(object))
    }

    /// Takes in an object. Of one that comes twice, the later counts.
    pub(crate) fn add(&mut self, object: Object) {
        match object {
            Object::Request(csr) => self.add_request(*csr),
            Object::Node(node) => {
                self.present.insert("nodes");
                self.nodes.extend(NodeRecord::read(&node));
            }
            Object::Machine(group, machine) => {
                self.present.insert(MACHINES);
                let key = format!("{group}/{}/{}", machine.namespace().unwrap_or_default(), machine.name_any());
                self.machines.apply(&key, MachineRecord::read(&machine));
            }
            Object::ServiceCidr(range) => {
                self.present.insert("servicecidrs");
                self.surroundings.insert(range.name_any(), &range);
            }
            Object::EndpointSlice(slice) => {
                if slice.is_of_api_server() {
                    self.present.insert("endpointslices");
                    self.surroundings.insert(slice.name_any(), &slice);
                }
            }
            Object::Service(service) => {
                self.present.insert("services");
                let key = format!("{}/{}", service.namespace().unwrap_or_default(), service.name_any());
                self.surroundings.insert(key, &*service);
            }
            Object::ConfigMap(map) => {
                if map.is_cluster_info() {
                    self.present.insert("configmaps");
                    self.surroundings.insert(map.name_any(), &map);
                } else if map.metadata.name.as_deref() == Some(contested::NAME) {
                    self.remember(map.data.get(contested::KEY).map_or("", String::as_str));
                }
            }
            Object::Other => {}
        }
    }

    fn add_request(&mut self, csr: CertificateSigningRequest) {
        self.present.insert("certificatesigningrequests");
        if csr.spec.signer_name != KUBELET_SERVING {
            self.other_signers.extend(csr.metadata.name);
            return;
        }
        if csr.has_long_name() {
            self.long_names += 1;
            return;
        }
        let request = Request::new(csr);
        if let Some(known) = self.places.get(request.name()).and_then(|place| self.requests.get_mut(*place)) {
            *known = request;
            return;
        }
        self.places.insert(request.name().to_owned(), self.requests.len());
        self.requests.push(request);
    }

    /// What there is in a dump for a policy. What is absent is not known.
    #[must_use]
    pub fn finish_dump(self, policies: &[&Policy]) -> Snapshot {
        let asked = |kind: &str| match kind {
            "services" => policies.iter().any(|policy| policy.protects_load_balancers()),
            MACHINES => policies.iter().any(|policy| policy.asks(Source::Machine)),
            _ => true,
        };
        let kinds = PLURALS.iter().copied().chain([MACHINES]);
        let absent = kinds.filter(|kind| !self.present.contains(kind) && asked(kind)).collect();
        Snapshot { is_dump: true, ..self.finish(absent) }
    }

    /// What there is in a live cluster. What is absent does not exist.
    pub(crate) fn finish_live(self) -> Snapshot {
        self.finish(Vec::new())
    }

    /// Takes in the order of contested claims as a controller has written it down.
    pub(crate) fn remember(&mut self, text: &str) {
        self.orders = Some(contested::parse(text));
    }

    fn finish(mut self, absent: Vec<&'static str>) -> Snapshot {
        self.surroundings.rebuild();
        let protected = self.surroundings.protected().clone();
        let has_history = self.orders.is_some();
        let mut nodes = NodeIndex::default();
        nodes.remember(self.orders.unwrap_or_default(), 0);
        // All were seen at one moment: nobody knows which of them claimed something first.
        for record in self.nodes {
            nodes.apply(record, 0);
        }
        let mut created: HashMap<String, Vec<Timestamp>> = HashMap::new();
        for request in &self.requests {
            let username = request.csr.spec.username.as_str();
            match created.get_mut(username) {
                Some(times) => times.push(request.csr.created()),
                None => {
                    created.insert(username.to_owned(), vec![request.csr.created()]);
                }
            }
        }
        for times in created.values_mut() {
            times.sort_unstable();
        }
        Snapshot {
            nodes,
            machines: self.machines,
            no_machines: MachineIndex::default(),
            protected,
            dns: Resolutions::default(),
            requests: self.requests,
            created,
            other_signers: self.other_signers,
            long_names: self.long_names,
            absent,
            is_dump: false,
            has_history,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::MAX_CSR_NAME;
    use serde_json::json;

    fn request(name: &str, created: i64, answer: Option<(&str, i64)>) -> Object {
        let time = |second: i64| Timestamp::from_second(second).unwrap().to_string();
        let conditions: Vec<_> = answer
            .iter()
            .map(|(type_, at)| json!({"type": type_, "status": "True", "lastUpdateTime": time(*at)}))
            .collect();
        let csr = json!({
            "metadata": {"name": name, "creationTimestamp": time(created)},
            "spec": {
                "request": "aGk=", "signerName": KUBELET_SERVING, "username": "system:node:a", "groups": ["system:nodes"],
                "usages": ["digital signature", "server auth"],
            },
            "status": {"conditions": conditions},
        });
        Object::Request(serde_json::from_value(csr).unwrap())
    }

    fn gather(objects: impl IntoIterator<Item = Object>) -> Snapshot {
        let mut gathering = Gathering::new("cluster.local".parse().unwrap(), Vec::new());
        objects.into_iter().for_each(|object| gathering.add(object));
        let policy = Policy::load(b"{apiVersion: countersign/v1, kind: ServingPolicy, rules: [{name: a}]}").unwrap();
        gathering.finish_dump(&[&policy])
    }

    #[test]
    fn a_decided_request_is_superseded_by_what_there_was_when_it_was_decided() {
        let snapshot = gather([
            request("first, approved at once", 10, Some(("Approved", 11))),
            request("approved in the second of the next", 12, Some(("Approved", 20))),
            request("denied in the second of the next", 12, Some(("Denied", 20))),
            request("denied after the next", 12, Some(("Denied", 21))),
            request("pending behind another", 20, None),
            request("newest", 30, None),
        ]);
        let superseded: Vec<bool> = snapshot.requests().iter().map(|it| snapshot.is_superseded(it)).collect();
        assert_eq!(superseded, [false, false, true, true, true, false]);
    }

    #[test]
    fn a_request_whose_name_is_too_long_is_left_alone_and_supersedes_nothing() {
        let [longest, too_long] = [MAX_CSR_NAME, MAX_CSR_NAME + 1].map(|length| "x".repeat(length));
        let snapshot = gather([request(&longest, 1, None), request(&too_long, 2, None)]);
        let [kept] = snapshot.requests() else { panic!("{} requests", snapshot.requests().len()) };
        assert!(kept.name() == longest && !snapshot.is_superseded(kept));
        assert_eq!(snapshot.long_names(), 1);
    }

    #[test]
    fn an_object_that_comes_twice_counts_once() {
        let snapshot = gather([request("a", 1, None), request("b", 1, None), request("a", 1, Some(("Denied", 2)))]);
        let requests: Vec<_> = snapshot.requests().iter().map(|it| (it.name(), it.is_pending())).collect();
        assert_eq!(requests, [("a", false), ("b", true)]);
    }
}
