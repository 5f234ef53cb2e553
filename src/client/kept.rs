//! What is read of the objects of each kind. All else may be as large as etcd takes it, and is not kept.

use crate::api::RequestBytes;

/// What is kept of the objects of one kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// The lists and objects in `metadata` that are read.
    pub(super) metadata: &'static [&'static [u8]],
    /// The same of `spec`.
    pub(super) spec: &'static [&'static [u8]],
    /// The same of `status`.
    pub(super) status: &'static [&'static [u8]],
    /// The longest text, in bytes of JSON. Longer ones are told to be so.
    pub(super) longest: usize,
    /// How many `addresses` of `status` are kept.
    pub(super) addresses: usize,
}

/// More than the longest request that is looked into takes in base64, and many times what anything else needs.
const LONGEST: usize = 24 * 1024;
const _: () = assert!(LONGEST > RequestBytes::MAX.div_ceil(3) * 4);
/// Several times as many as are looked at of one Node.
const MOST_ADDRESSES: usize = 1024;

const NOTHING: Kept = Kept { metadata: &[], spec: &[], status: &[], longest: LONGEST, addresses: usize::MAX };
const KINDS: &[(&str, Kept)] = &[
    (
        "nodes",
        Kept {
            metadata: &[b"labels"],
            spec: &[b"podCIDRs"],
            status: &[b"addresses"],
            addresses: MOST_ADDRESSES,
            ..NOTHING
        },
    ),
    ("certificatesigningrequests", Kept { spec: &[b"groups", b"usages"], status: &[b"conditions"], ..NOTHING }),
    ("machines", Kept { status: &[b"addresses", b"nodeRef"], ..NOTHING }),
    ("servicecidrs", Kept { spec: &[b"cidrs"], ..NOTHING }),
    ("endpointslices", Kept { metadata: &[b"labels"], ..NOTHING }),
    ("services", Kept { spec: &[b"externalIPs"], status: &[b"loadBalancer"], ..NOTHING }),
    // Read by their names, and long by nature.
    ("configmaps", Kept { longest: usize::MAX, ..NOTHING }),
];

/// What is kept of what is at a path of the API: everything where this says nothing.
pub(super) fn at(path: &str) -> Option<&'static Kept> {
    let mut segments = path.split('/').skip(1);
    let group_and_version = if segments.next()? == "apis" { 2 } else { 1 };
    let mut segments = segments.skip(group_and_version);
    let plural = match segments.next()? {
        "namespaces" => segments.nth(1)?,
        plural => plural,
    };
    KINDS.iter().find(|(kind, _)| *kind == plural).map(|(_, kept)| kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::PLURALS;

    #[test]
    fn every_kind_that_is_followed_is_known_by_its_paths() {
        for plural in PLURALS.iter().chain(&["machines"]) {
            let kept = KINDS.iter().find(|(kind, _)| kind == plural).map(|(_, kept)| kept);
            assert!(kept.is_some(), "{plural}");
            for path in ["/api/v1/", "/api/v1/namespaces/a/", "/apis/group/v1/", "/apis/group/v1/namespaces/nodes/"] {
                for object in ["", "/nodes", "/a/approval"] {
                    let path = format!("{path}{plural}{object}");
                    assert_eq!(at(&path), kept, "{path}");
                }
            }
        }
        let others = [
            "/api/v1",
            "/apis",
            "/api/v1/namespaces/nodes",
            "/apis/coordination.k8s.io/v1/namespaces/a/leases/nodes",
            "/",
        ];
        assert_eq!(others.map(at), [None; 5]);
    }
}
