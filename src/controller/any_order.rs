//! Whatever comes first, requests end in the same way, and a restart at any point changes nothing. Also, that everything
//! which matters to a request has it judged again: nothing here looks at one without cause.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use proptest::prelude::*;
use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use serde_json::json;

use super::Orders;
use super::plan::{Plan, plan};
use super::store::{Body, RequestId, Store};
use crate::api::CertificateSigningRequest;
use crate::gather::Surroundings;
use crate::identity::{Inventory, MachineRecord, NodeRecord, Nodes, Resolutions};
use crate::policy::{Facts, Policy, evaluate};
use crate::request::Reading;

const POLICIES: [&str; 2] = [
    "{apiVersion: countersign/v1, kind: ServingPolicy, rules: [{name: nobody, match: {nodeNames: [nobody]}}]}",
    "
apiVersion: countersign/v1
kind: ServingPolicy
rules:
- {name: by-label, match: {nodeNames: [node-0, node-1], nodeSelector: {matchLabels: {pool: a}}}, identity: {sources: [machine, node]}}
- {name: listed, match: {nodeNames: [node-2, node-3]}, identity: {sources: [inventory, machine], require: any}}
- {name: others, match: {nodeNames: [node-4, node-5]}, identity: {sources: [node]}, dnsNames: {patterns: ['{node}']}}
",
];
const INVENTORY: &str = "
apiVersion: countersign/v1
kind: NodeInventory
nodes:
- {name: node-2, addresses: [10.0.0.2], dnsNames: [node-2]}
";
const NODES: usize = 6;
/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Policy,
    Inventory,
    /// The Node is created, without labels and addresses.
    Node(usize),
    /// Its status is written.
    Status(usize),
    /// Its labels are written.
    Labels(usize),
    Machine(usize),
    Request(usize),
    /// Everything known is forgotten, and listed again.
    Restart,
}

/// What the cluster and the operator have by now.
#[derive(Default)]
struct World {
    policy: usize,
    inventory: bool,
    /// Whether their status and their labels are written.
    nodes: BTreeMap<usize, (bool, bool)>,
    machines: Vec<usize>,
    requests: Vec<usize>,
    /// The conditions that were written.
    decided: BTreeMap<usize, &'static str>,
}

/// A request for what is the node's own, or for more: node 4 asks for a Service's address, node 5 for one that is
/// nobody's.
fn request(number: usize, decided: Option<&str>) -> CertificateSigningRequest {
    static PEMS: LazyLock<Vec<String>> = LazyLock::new(|| (0..NODES).map(pem).collect());
    let conditions: Vec<_> = decided.iter().map(|kind| json!({"type": kind, "status": "True"})).collect();
    serde_json::from_value(json!({
        "metadata": {
            "name": format!("csr-{number}"),
            "uid": "1",
            "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "request": ByteString(PEMS[number].clone().into_bytes()),
            "signerName": "kubernetes.io/kubelet-serving",
            "username": format!("system:node:node-{number}"),
            "groups": ["system:nodes"],
            "usages": ["digital signature", "server auth"],
        },
        "status": {"conditions": conditions},
    }))
    .unwrap()
}

fn pem(number: usize) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
    params.distinguished_name.push(DnType::CommonName, format!("system:node:node-{number}"));
    let octet = u8::try_from(number).unwrap();
    let mut addresses = vec![[10, 0, 0, octet]];
    match number {
        4 => addresses.push([10, 96, 0, 1]),
        5 => addresses.push([10, 9, 9, 9]),
        _ => {}
    }
    let names = SanType::DnsName(format!("node-{number}").try_into().unwrap());
    params.subject_alt_names =
        [names].into_iter().chain(addresses.into_iter().map(|a| SanType::IpAddress(a.into()))).collect();
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
}

fn node(number: usize, (status, labels): (bool, bool)) -> NodeRecord {
    let name = format!("node-{number}");
    let addresses = json!([
        {"type": "Hostname", "address": name},
        {"type": "InternalIP", "address": format!("10.0.0.{number}")},
    ]);
    let addresses = if status { addresses } else { json!([]) };
    let labels = if labels { json!({"pool": "a"}) } else { json!({}) };
    let node = json!({"metadata": {"name": name, "uid": "u", "labels": labels}, "status": {"addresses": addresses}});
    NodeRecord::read(&serde_json::from_value(node).unwrap()).unwrap()
}

fn machine(number: usize) -> MachineRecord {
    let name = format!("node-{number}");
    let machine = json!({
        "metadata": {"name": name},
        "status": {"nodeRef": {"name": name}, "addresses": [{"address": format!("10.0.0.{number}")}]},
    });
    MachineRecord::read(&serde_json::from_value(machine).unwrap()).unwrap()
}

impl World {
    fn orders(&self) -> Orders {
        static LOADED: LazyLock<([Arc<Policy>; 2], Arc<Inventory>)> = LazyLock::new(|| {
            let policies = POLICIES.map(|text| Arc::new(Policy::load(text.as_bytes()).unwrap()));
            (policies, Arc::new(Inventory::load(INVENTORY.as_bytes()).unwrap()))
        });
        let (policies, inventory) = &*LOADED;
        Orders { policy: policies[self.policy].clone(), inventory: self.inventory.then(|| inventory.clone()) }
    }

    /// A program that has just listed what there is.
    fn listed(&self) -> Store {
        let ranges = vec!["10.96.0.0/12".parse().unwrap()];
        let mut store = Store::new(Surroundings::new("cluster.local".parse().unwrap(), ranges));
        for (&number, &written) in &self.nodes {
            store.apply_node(node(number, written));
        }
        for &number in &self.machines {
            store.apply_machine(&number.to_string(), Some(machine(number)));
        }
        for &number in &self.requests {
            store.apply_request(request(number, self.decided.get(&number).copied()), None);
        }
        store
    }

    /// What happens, and the program sees it.
    fn happen(&mut self, event: Event, store: &mut Store) {
        match event {
            Event::Policy => {
                self.policy = 1;
                store.push_all();
            }
            Event::Inventory => {
                self.inventory = true;
                store.push_all();
            }
            Event::Node(number) | Event::Status(number) | Event::Labels(number) => {
                let written = self.nodes.entry(number).or_default();
                written.0 |= event == Event::Status(number);
                written.1 |= event == Event::Labels(number);
                store.next_moment();
                store.apply_node(node(number, *written));
            }
            Event::Machine(number) => {
                self.machines.push(number);
                store.apply_machine(&number.to_string(), Some(machine(number)));
            }
            Event::Request(number) => {
                self.requests.push(number);
                store.apply_request(request(number, None), Some(Instant::now()));
            }
            Event::Restart => *store = self.listed(),
        }
    }

    /// Works until there is nothing to do, as the workers do, and keeps what is said of each request.
    fn work(&mut self, store: &mut Store, said: &mut BTreeMap<String, String>) {
        let orders = self.orders();
        while let Some((requestor, name)) = store.queue.pop(Instant::now()) {
            let request = store.named(&name).unwrap();
            if let Some(plan) = decide(store, &orders, &request) {
                let number = name.strip_prefix("csr-").unwrap().parse().unwrap();
                let text = match plan {
                    Plan::Write(answer) => {
                        let kind = answer.decision.condition_type();
                        self.decided.insert(number, kind);
                        store.set_decided(&request, kind == "Approved");
                        format!("{kind}: {}", answer.message)
                    }
                    Plan::Wait(waiting) => format!("waits: {}", waiting.message),
                    Plan::Nothing | Plan::Tell(_) => panic!("{plan:?}"),
                };
                said.insert(name.to_string(), text);
            }
            store.queue.done(&requestor);
        }
    }
}

fn decide(store: &Store, orders: &Orders, request: &RequestId) -> Option<Plan> {
    let Body::Unread(spec) = &store.pending(request)?.body else { panic!("nobody has read it") };
    let reading = Reading::of_spec(spec);
    let facts = Facts {
        now: Timestamp::UNIX_EPOCH,
        nodes: Nodes::new(&store.nodes, &[]),
        unavailable: &[],
        machines: &store.machines,
        machines_unavailable: &[],
        inventory: orders.inventory.as_deref(),
        dns: &Resolutions::default(),
        protected: store.surroundings.protected(),
        superseded: store.queue.is_superseded(&request.name),
        budget: None,
    };
    Some(plan(&evaluate(&reading, &facts, &orders.policy), &orders.policy))
}

/// Lets all of it happen in this order.
fn live(events: &[(Event, bool)]) -> BTreeMap<String, String> {
    let mut world = World::default();
    let mut store = world.listed();
    let mut said = BTreeMap::new();
    for (event, work) in events {
        world.happen(*event, &mut store);
        if *work {
            world.work(&mut store, &mut said);
        }
    }
    world.work(&mut store, &mut said);
    said
}

fn all() -> Vec<Event> {
    let of_nodes = (0..NODES).flat_map(|number| {
        [Event::Node, Event::Status, Event::Labels, Event::Request, Event::Machine].map(|event| event(number))
    });
    // Node 2 is in the inventory only, so that its approval rests on that whenever it comes; and node 3 is nowhere.
    let of_nodes = of_nodes.filter(|event| !matches!(event, Event::Machine(2 | 3)));
    [Event::Policy, Event::Inventory, Event::Restart, Event::Restart].into_iter().chain(of_nodes).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everything_ends_the_same_in_any_order(
        events in Just(all()).prop_shuffle(),
        work in prop::collection::vec(any::<bool>(), all().len()),
    ) {
        let events: Vec<(Event, bool)> = events.into_iter().zip(work).collect();
        let at_once: Vec<(Event, bool)> = all().into_iter().map(|event| (event, false)).collect();
        prop_assert_eq!(live(&events), live(&at_once));
    }
}

#[test]
fn the_requests_end_in_different_ways() {
    let said = live(&all().into_iter().map(|event| (event, false)).collect::<Vec<_>>());
    let ends = said.values().map(|text| text.split(['(', ';', ':']).next().unwrap_or_default()).collect::<Vec<_>>();
    assert_eq!(ends, ["Approved", "Approved", "Approved", "waits", "Denied", "waits"], "{said:#?}");
}
