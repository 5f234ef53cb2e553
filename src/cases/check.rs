//! What in a case file makes no sense.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use ipnet::IpNet;

use super::cluster::NodeSource;
use super::{CaseFile, PolicySource};
use crate::identity::{ClusterDomain, Inventory, MachineIndex, Order, Protected};
use crate::policy::{FieldPath, File, FileError, Policy, Problem};
use crate::san::San;

/// Collects everything that is well-formed but makes no sense.
pub(super) struct Check<'a> {
    file: &'a File<CaseFile>,
    problems: Vec<Problem>,
}

impl<'a> Check<'a> {
    pub(super) fn new(file: &'a File<CaseFile>) -> Self {
        Self { file, problems: Vec::new() }
    }

    /// What was found.
    pub(super) fn problems(self) -> Vec<Problem> {
        self.problems
    }

    fn problem(&mut self, path: FieldPath, message: impl Into<String>) {
        self.problems.push(self.file.problem(path, message));
    }

    /// Takes in the mistakes of a file that stands within this one.
    fn within<T>(&mut self, path: &FieldPath, result: Result<T, FileError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                for problem in error.problems() {
                    self.problem(path.join(&problem.path), problem.message.clone());
                }
                None
            }
        }
    }

    pub(super) fn policy(&mut self, folder: &Path) -> Option<Policy> {
        let path = FieldPath::default().key("policy");
        match &self.file.value.policy {
            None => self.within(&path, Policy::built_in()),
            Some(PolicySource::Inline(policy)) => {
                let loaded = Policy::load(serde_yaml::to_string(policy).unwrap_or_default().as_bytes());
                self.within(&path, loaded)
            }
            Some(PolicySource::File(name)) => match fs::read(folder.join(name)) {
                Ok(bytes) => match Policy::load(&bytes) {
                    Ok(policy) => Some(policy),
                    Err(error) => {
                        self.problem(path, format!("{name}: {error}"));
                        None
                    }
                },
                Err(error) => {
                    self.problem(path, format!("{name}: {error}"));
                    None
                }
            },
        }
    }

    pub(super) fn inventory(&mut self) -> Option<Inventory> {
        let inventory = self.file.value.inventory.as_ref()?;
        let loaded = Inventory::load(serde_yaml::to_string(inventory).unwrap_or_default().as_bytes());
        self.within(&FieldPath::default().key("inventory"), loaded)
    }

    pub(super) fn protected(&mut self) -> Option<Protected> {
        let file = &self.file.value;
        let path = FieldPath::default().key("serviceRanges");
        let mut ranges: Vec<IpNet> = Vec::new();
        for (position, text) in file.service_ranges.iter().enumerate() {
            match text.parse() {
                Ok(range) => ranges.push(range),
                Err(_) => self.problem(path.index(position), format!("{text:?} is not a range in CIDR notation")),
            }
        }
        let domain: ClusterDomain = match file.cluster_domain.parse() {
            Ok(domain) => domain,
            Err(error) => {
                self.problem(FieldPath::default().key("clusterDomain"), error.to_string());
                return None;
            }
        };
        let mut protected = Protected::new(domain, ranges);
        protected.load_balancers = file.load_balancers.iter().copied().collect();
        protected.api_server.addresses = file.api_server.iter().copied().collect();
        Some(protected)
    }

    pub(super) fn machines(&mut self) -> MachineIndex {
        let path = FieldPath::default().key("machines");
        let mut machines = MachineIndex::default();
        for (position, machine) in self.file.value.machines.iter().enumerate() {
            let record = machine.record();
            if record.is_none() {
                self.problem(path.index(position), format!("{:?} is not the name of a Node", machine.node));
            }
            machines.apply(&position.to_string(), record);
        }
        machines
    }

    pub(super) fn remembered(&mut self) -> Vec<(San, Order)> {
        let path = FieldPath::default().key("remembered");
        let mut remembered = Vec::new();
        for (san, order) in &self.file.value.remembered {
            match (San::from_node_address(san), order.parse::<Order>()) {
                (Ok(san), Ok(order)) => remembered.push((san, order)),
                (Err(error), _) => self.problem(path.key(san), error.to_string()),
                (Ok(_), Err(error)) => self.problem(path.key(san), error.to_string()),
            }
        }
        remembered
    }

    pub(super) fn nodes(&mut self) {
        let file = &self.file.value;
        let root = FieldPath::default();
        let own = file.cases.iter().enumerate().filter_map(|(position, case)| {
            case.nodes.as_ref().map(|nodes| (root.key("cases").index(position).key("nodes"), nodes))
        });
        let all: Vec<(FieldPath, &Vec<NodeSource>)> = own.chain([(root.key("nodes"), &file.nodes)]).collect();
        for (path, nodes) in all {
            for (position, node) in nodes.iter().enumerate() {
                if node.record().is_none() {
                    self.problem(path.index(position), format!("{:?} is not the name of a Node", node.name));
                }
            }
        }
    }

    pub(super) fn cases(&mut self) {
        let path = FieldPath::default().key("cases");
        let mut names = HashSet::new();
        for (position, case) in self.file.value.cases.iter().enumerate() {
            let path = path.index(position);
            if !names.insert(&case.name) {
                self.problem(path.key("name"), format!("two cases have the name {:?}", case.name));
            }
            if case.verdict.has_reasons() == case.reasons.is_empty() {
                let message = "deny and defer come with reasons, approve and ignore without";
                self.problem(path.key("verdict"), message);
            }
        }
    }
}
