//! What each source says about a node and one name or address.

use super::{Inventory, MachineIndex, NodeRecord};
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
}

/// The sources, as one decision sees them.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The Node object.
    pub record: &'a NodeRecord,
    /// The Machines on which Nodes run.
    pub machines: &'a MachineIndex,
    /// The operator's inventory, where there is one.
    pub inventory: Option<&'a Inventory>,
}

impl Evidence<'_> {
    /// Asks one source.
    #[must_use]
    pub fn ask(&self, source: Source, san: &San, node: &NodeName) -> Answer {
        let owned = |owned: bool| if owned { Answer::Owned } else { Answer::NotOwned };
        match source {
            Source::Node => owned(self.record.lists(san)),
            Source::Machine => owned(self.machines.vouch(self.record, san)),
            Source::Inventory => match self.inventory {
                Some(inventory) => owned(inventory.owner(san) == Some(node)),
                None => Answer::Unavailable,
            },
        }
    }
}
