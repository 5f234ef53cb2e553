//! Whose name is it: what the cluster and its operator know of nodes, and what no node may have.

mod claims;
mod dns;
mod evidence;
mod inventory;
mod machine;
mod node;
mod protected;

pub use claims::{Claim, Claims, Contest, Moment, Order, PodRange};
pub use dns::{Resolution, Resolutions};
pub use evidence::{Answer, Evidence};
pub use inventory::Inventory;
pub use machine::{MachineIndex, MachineRecord};
pub use node::{NodeChange, NodeIndex, NodeRecord, Nodes};
pub use protected::{Additions, ApiServer, ClusterDomain, Protected, ProtectedName, Protection};
