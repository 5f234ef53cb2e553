//! What each source says about a node and one name or address.

use std::net::IpAddr;

use super::{Inventory, MachineIndex, NodeRecord, Resolution, Resolutions};
use crate::policy::Source;
use crate::san::{NodeName, San};

/// The answer of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is the node's own.
    Owned,
    /// It is not, or not yet.
    NotOwned,
    /// The source cannot say at the moment.
    Unavailable,
    /// The source never says anything about this kind of SAN.
    Abstains,
}

/// The sources, as one decision sees them.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The Node object.
    pub record: &'a NodeRecord,
    /// The Machines on which Nodes run.
    pub machines: &'a MachineIndex,
    /// Whether these are all Machines there are.
    pub machines_live: bool,
    /// The operator's inventory, where there is one.
    pub inventory: Option<&'a Inventory>,
    /// What came of looking up requested names.
    pub dns: &'a Resolutions,
    /// Everything that is requested.
    pub requested: &'a [San],
}

impl Evidence<'_> {
    /// Asks one source.
    #[must_use]
    pub fn ask(&self, source: Source, san: &San, node: &NodeName) -> Answer {
        let owned = |owned: bool| if owned { Answer::Owned } else { Answer::NotOwned };
        match source {
            Source::Node => owned(self.record.lists(san)),
            Source::Machine if self.machines.vouch(self.record, san) => Answer::Owned,
            Source::Machine if self.machines_live => Answer::NotOwned,
            Source::Machine => Answer::Unavailable,
            Source::Inventory => match self.inventory {
                Some(inventory) => owned(inventory.owner(san) == Some(node)),
                None => Answer::Unavailable,
            },
            // An address is its node's with or without a name: only the other sources know of it.
            Source::Dns => match san.as_dns().map(|name| self.dns.get(name)) {
                None => Answer::Abstains,
                Some(None | Some(Resolution::Failed(_))) => Answer::Unavailable,
                Some(Some(Resolution::Addresses(found))) => owned(self.confirms(found)),
            },
        }
    }

    /// Whether a name with these addresses leads to where the request says, and nowhere else.
    #[must_use]
    pub fn confirms(&self, found: &[IpAddr]) -> bool {
        !found.is_empty() && found.iter().all(|address| self.requested.contains(&San::Ip(*address)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;
    use crate::identity::MachineRecord;

    #[test]
    fn where_machines_may_be_missing_what_none_lists_is_left_open() {
        let record = NodeRecord::read(&from_value(json!({"metadata": {"name": "a"}})).unwrap()).unwrap();
        let machine = json!({
            "metadata": {"name": "m"},
            "status": {"nodeRef": {"name": "a"}, "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]},
        });
        let mut machines = MachineIndex::default();
        machines.apply("m", MachineRecord::read(&from_value(machine).unwrap()));
        for (address, machines_live, expected) in [
            ("10.0.0.1", true, Answer::Owned),
            ("10.0.0.1", false, Answer::Owned),
            ("10.0.0.2", true, Answer::NotOwned),
            ("10.0.0.2", false, Answer::Unavailable),
        ] {
            let (dns, requested) = (Resolutions::default(), [San::from_node_address(address).unwrap()]);
            let evidence = Evidence {
                record: &record,
                machines: &machines,
                machines_live,
                inventory: None,
                dns: &dns,
                requested: &requested,
            };
            let [san] = &requested;
            assert_eq!(evidence.ask(Source::Machine, san, record.name()), expected, "{address} {machines_live}");
        }
    }
}
