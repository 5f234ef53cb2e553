//! Which labels a kubelet can give its own Node where the admission plugin NodeRestriction is on, as it is with kubeadm
//! (KEP-279; upstream: `plugin/pkg/admission/noderestriction`, `getForbiddenLabels`).

/// Labels of Kubernetes' own that kubelets set (upstream: `k8s.io/kubelet/pkg/apis`, `KubeletLabels`).
const KUBELET_LABELS: &[&str] = &[
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];
/// Namespaces of labels that kubelets set, with everything below (upstream: `KubeletLabelNamespaces`).
const KUBELET_NAMESPACES: &[&str] = &["kubelet.kubernetes.io", "node.kubernetes.io"];
/// The namespace that is kept from kubelets, with everything below.
pub(super) const RESTRICTED_NAMESPACE: &str = "node-restriction.kubernetes.io";
/// Kubernetes' own namespaces, with everything below.
const KUBERNETES_NAMESPACES: &[&str] = &["kubernetes.io", "k8s.io"];

/// Whether a kubelet can add, change or remove the label on its own Node.
pub(super) fn kubelet_can_set(label: &str) -> bool {
    let namespace = label.split_once('/').map_or("", |(namespace, _)| namespace);
    let within = |namespaces: &[&str]| namespaces.iter().any(|outer| is_within(namespace, outer));
    if within(&[RESTRICTED_NAMESPACE]) {
        return false;
    }
    !within(KUBERNETES_NAMESPACES) || KUBELET_LABELS.contains(&label) || within(KUBELET_NAMESPACES)
}

fn is_within(namespace: &str, outer: &str) -> bool {
    namespace.strip_suffix(outer).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_node_restriction_keeps_from_kubelets() {
        for label in [
            "pool",
            "example.com/pool",
            "kubernetes.io/hostname",
            "topology.kubernetes.io/zone",
            "node.kubernetes.io/anything",
            "my.node.kubernetes.io/anything",
            "kubelet.kubernetes.io/anything",
            "mykubernetes.io/pool",
            "node-restriction.kubernetes.io.example.com/pool",
            "node-restriction.kubernetes.io",
            "",
        ] {
            assert!(kubelet_can_set(label), "{label}");
        }
        for label in [
            "node-restriction.kubernetes.io/pool",
            "example.com.node-restriction.kubernetes.io/pool",
            "node-role.kubernetes.io/control-plane",
            "kubernetes.io/role",
            "topology.kubernetes.io/rack",
            "cluster.k8s.io/pool",
            "k8s.io/pool",
            "mynode.kubernetes.io/pool",
        ] {
            assert!(!kubelet_can_set(label), "{label}");
        }
    }
}
