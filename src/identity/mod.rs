//! Whose name is it: what the cluster knows of its nodes, and what no node may have.

mod node;
mod protected;

pub use node::{NodeIndex, NodeRecord, Nodes};
pub use protected::{ClusterDomain, Protected, Protection};
