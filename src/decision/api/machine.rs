use std::borrow::Cow;

use kube_core::{ApiResource, DynamicResourceScope, ObjectMeta, Resource};
use serde::Deserialize;

/// A Machine of Cluster API, OpenShift or kubermatic's machine-controller, trimmed to what they have in common.
#[derive(Clone, Debug, Deserialize)]
pub struct Machine {
    /// Name, namespace, uid, resourceVersion and timestamps.
    #[serde(deserialize_with = "super::metadata")]
    pub metadata: ObjectMeta,
    /// What is asked for.
    #[serde(default)]
    pub spec: MachineSpec,
    /// What was given.
    #[serde(default)]
    pub status: MachineStatus,
}

/// `spec` of a Machine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MachineSpec {
    /// What the infrastructure calls it: the same as the Node's `spec.providerID`.
    #[serde(default, rename = "providerID", deserialize_with = "super::text")]
    pub provider_id: Option<String>,
}

/// `status` of a Machine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MachineStatus {
    /// The Node that runs on it.
    #[serde(default)]
    pub node_ref: Option<NodeRef>,
    /// Host names and addresses, as the infrastructure gave them.
    #[serde(default)]
    pub addresses: Vec<super::node::Address>,
}

/// A reference to a Node.
#[derive(Clone, Debug, Deserialize)]
pub struct NodeRef {
    /// Its name.
    #[serde(default)]
    pub name: String,
}

/// The group and version differ between projects, so that they come with each use.
impl Resource for Machine {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }
    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }
    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }
    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use kube_core::{GroupVersionKind, ResourceExt as _};

    use super::*;

    #[test]
    fn a_machine_is_of_the_kind_it_is_asked_for_as() {
        let kind = GroupVersionKind::gvk("cluster.x-k8s.io", "v1beta2", "Machine");
        let resource = ApiResource::from_gvk_with_plural(&kind, "machines");
        assert_eq!((Machine::kind(&resource), Machine::plural(&resource)), ("Machine".into(), "machines".into()));
        assert_eq!(Machine::api_version(&resource), "cluster.x-k8s.io/v1beta2");
        assert_eq!(Machine::url_path(&resource, Some("a")), "/apis/cluster.x-k8s.io/v1beta2/namespaces/a/machines");
        let mut machine: Machine = serde_json::from_str(r#"{"metadata": {"name": "m", "uid": "1"}}"#).unwrap();
        assert_eq!(machine.uid().as_deref(), Some("1"));
        machine.meta_mut().uid = Some("2".to_owned());
        assert_eq!(machine.metadata.uid.as_deref(), Some("2"));
    }
}
