//! Where Machines are, and of which kinds.

use kube::Client;

/// Where Machines are: in the cluster of their Nodes, or in a management cluster.
#[derive(Clone)]
pub struct MachineCluster {
    /// Talks to it.
    pub client: Client,
    /// Its address, for messages.
    pub server: String,
    /// The only namespace whose Machines count; all do where there is none.
    pub namespace: Option<String>,
    /// Whether it is another cluster than that of the Nodes.
    pub is_other: bool,
}

/// A kind of Machine.
#[derive(Debug)]
pub struct MachineKind {
    /// As it is called in messages: `machines` and the group.
    pub name: &'static str,
    /// Its API group.
    pub group: &'static str,
    /// The versions that are understood, best first.
    pub versions: &'static [&'static str],
}

/// The kinds of Machine there are: Cluster API, OpenShift, kubermatic's machine-controller.
pub const MACHINES: &[MachineKind] = &[
    MachineKind { name: "machines.cluster.x-k8s.io", group: "cluster.x-k8s.io", versions: &["v1beta2", "v1beta1"] },
    MachineKind { name: "machines.machine.openshift.io", group: "machine.openshift.io", versions: &["v1beta1"] },
    MachineKind { name: "machines.cluster.k8s.io", group: "cluster.k8s.io", versions: &["v1alpha1"] },
];
