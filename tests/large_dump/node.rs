//! Nodes as a cluster has them after years: most of each is images and managedFields.

use serde_json::{Map, Value, json};

/// As many as a kubelet reports (`nodeStatusMaxImages`).
const IMAGES: usize = 50;

/// A Node of 15 KB, with words in it in place of what differs between Nodes; see [`of_node`].
pub fn template() -> Value {
    let images: Vec<_> = (0..IMAGES).map(|number| json!({
        "names": [
            format!("registry.example.com/team-{number}/service-{number}@sha256:{}", "0123456789abcdef".repeat(4)),
            format!("registry.example.com/team-{number}/service-{number}:v1.{number}.0"),
        ],
        "sizeBytes": 10_000_000 + number,
    })).collect();
    let conditions: Vec<_> = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"]
        .into_iter()
        .map(|type_| {
            json!({
                "type": type_, "status": "False", "reason": "KubeletHasSufficientMemory",
                "message": "kubelet has sufficient memory available",
                "lastHeartbeatTime": "2026-01-02T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        })
        .collect();
    let resources = json!({
        "cpu": "64", "ephemeral-storage": "959786032Ki", "hugepages-1Gi": "0", "hugepages-2Mi": "0",
        "memory": "263856772Ki", "pods": "110",
    });
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "annotations": {
                "csi.volume.kubernetes.io/nodeid": "{\"csi.example.com\":\"NODENAME\"}",
                "node.alpha.kubernetes.io/ttl": "0",
                "volumes.kubernetes.io/controller-managed-attach-detach": "true",
            },
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {
                "beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
                "kubernetes.io/hostname": "NODENAME", "kubernetes.io/os": "linux",
                "node.kubernetes.io/instance-type": "m5.4xlarge", "topology.kubernetes.io/region": "eu-central-1",
                "topology.kubernetes.io/zone": "eu-central-1a",
            },
            "managedFields": managed_fields(),
            "name": "NODENAME", "resourceVersion": "123456789", "uid": "6f3e9d0a-7b53-4c1d-9d0e-0f5a3c2b1a90",
        },
        "spec": {
            "podCIDR": "PODRANGE", "podCIDRs": ["PODRANGE"], "providerID": "example:///eu-central-1a/NODENAME",
        },
        "status": {
            "addresses": [
                {"address": "NODEADDRESS", "type": "InternalIP"}, {"address": "NODENAME", "type": "Hostname"},
                {"address": "NODENAME.example.com", "type": "InternalDNS"},
            ],
            "allocatable": resources, "capacity": resources, "conditions": conditions,
            "volumesAttached": volumes("devicePath"), "volumesInUse": volumes("name"),
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "images": images,
            "nodeInfo": {
                "architecture": "amd64", "bootID": "0d1c2b3a-0000-4000-8000-000000000000",
                "containerRuntimeVersion": "containerd://2.1.4", "kernelVersion": "6.12.41", "kubeProxyVersion": "",
                "kubeletVersion": "v1.37.2", "machineID": "ec2a0b1c2d3e4f5061728394a5b6c7d8",
                "operatingSystem": "linux", "osImage": "Debian GNU/Linux 13 (trixie)",
                "systemUUID": "ec2a0b1c-2d3e-4f50-6172-8394a5b6c7d8",
            },
        },
    })
}

fn volumes(field: &str) -> Value {
    let name = |number: usize| format!("kubernetes.io/csi/csi.example.com^vol-0123456789abcdef{number}");
    (0..3)
        .map(|number| if field == "name" { json!(name(number)) } else { json!({field: "", "name": name(number)}) })
        .collect()
}

fn managed_fields() -> Value {
    let fields = |names: &[&str]| -> Value {
        names.iter().map(|name| ((*name).to_owned(), json!({}))).collect::<Map<_, _>>().into()
    };
    let of_conditions: Map<_, _> = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"]
        .into_iter()
        .map(|type_| {
            let of_one = fields(&[
                ".",
                "f:lastHeartbeatTime",
                "f:lastTransitionTime",
                "f:message",
                "f:reason",
                "f:status",
                "f:type",
            ]);
            (format!("k:{{\"type\":\"{type_}\"}}"), of_one)
        })
        .collect();
    let resources = ["f:cpu", "f:ephemeral-storage", "f:hugepages-1Gi", "f:hugepages-2Mi", "f:memory", "f:pods"];
    let entry = |manager: &str, subresource: &str, fields: Value| {
        json!({
            "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields, "manager": manager, "operation": "Update",
            "subresource": subresource, "time": "2026-01-01T00:00:00Z",
        })
    };
    json!([
        entry(
            "kubelet",
            "",
            json!({"f:metadata": {
            "f:annotations": fields(&[".", "f:volumes.kubernetes.io/controller-managed-attach-detach"]),
            "f:labels": fields(&[
                ".", "f:beta.kubernetes.io/arch", "f:beta.kubernetes.io/os", "f:kubernetes.io/arch",
                "f:kubernetes.io/hostname", "f:kubernetes.io/os", "f:node.kubernetes.io/instance-type",
                "f:topology.kubernetes.io/region", "f:topology.kubernetes.io/zone",
            ]),
        }, "f:spec": fields(&["f:providerID"])})
        ),
        entry(
            "kube-controller-manager",
            "",
            json!({
                "f:metadata": {"f:annotations": fields(&["f:node.alpha.kubernetes.io/ttl"])},
                "f:spec": {"f:podCIDR": {}, "f:podCIDRs": fields(&[".", "v:\"PODRANGE\""])},
            })
        ),
        entry(
            "kubelet",
            "status",
            json!({"f:status": {
                "f:addresses": {
                    ".": {}, "k:{\"type\":\"Hostname\"}": fields(&[".", "f:address", "f:type"]),
                    "k:{\"type\":\"InternalIP\"}": fields(&[".", "f:address", "f:type"]),
                },
                "f:allocatable": fields(&resources), "f:capacity": fields(&resources), "f:conditions": of_conditions,
                "f:images": {}, "f:nodeInfo": fields(&[
                    "f:architecture", "f:bootID", "f:containerRuntimeVersion", "f:kernelVersion", "f:kubeletVersion",
                    "f:machineID", "f:operatingSystem", "f:osImage", "f:systemUUID",
                ]),
            }})
        ),
    ])
}

/// What is filled into the template, in the place of which words.
pub fn of_node(number: usize) -> Vec<(&'static str, String)> {
    vec![
        ("NODENAME", name(number)),
        ("NODEADDRESS", address(number)),
        ("PODRANGE", format!("100.{}.{}.0/24", 64 + number / 256, number % 256)),
    ]
}

/// The name of a Node.
pub fn name(number: usize) -> String {
    format!("ip-10-{}-{}.eu-central-1.compute.internal", number / 250, number % 250 + 1)
}

/// Its address.
pub fn address(number: usize) -> String {
    format!("10.{}.{}.1", number / 250, number % 250 + 1)
}
