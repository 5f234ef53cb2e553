//! Every reason for a denial that a request can have once the API server has let it in.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use libtest_mimic::Trial;
use rcgen::SanType;
use serde_json::{from_value, json};

use crate::fixture::{Cluster, SOON, shared};
use crate::harness::kubeconfig::{self, Credentials};
use crate::harness::requests::{Key, Request};
use crate::harness::{account, approval};

pub fn trials() -> Vec<Trial> {
    vec![
        shared("denials::approves_what_the_node_lists_and_has_it_issued", approves_and_has_it_issued),
        shared("denials::denies_names_and_addresses_that_no_node_may_have", denies_protected),
        shared("denials::denies_the_name_of_another_node", denies_another_nodes_name),
        shared("denials::denies_sans_that_are_neither_host_names_nor_addresses", denies_forbidden_sans),
        shared("denials::denies_other_usages", denies_usages),
        shared("denials::denies_weak_and_unknown_keys", denies_keys),
        shared("denials::denies_a_subject_with_more_in_it", denies_subject),
        shared("denials::denies_requestors_that_are_not_nodes", denies_other_requestors),
        shared("denials::leaves_other_signers_alone", leaves_other_signers_alone),
        shared("denials::leaves_decided_requests_alone", leaves_decided_alone),
        shared("denials::answers_requests_of_any_name", answers_any_name),
        shared("denials::leaves_requests_with_endless_names_alone", leaves_endless_names_alone),
        shared("denials::leaves_all_else_of_a_request_as_it_was", leaves_all_else),
        shared("denials::denies_superseded_requests_and_approves_the_newest", prunes_superseded),
        shared("denials::tells_what_it_did_in_events_and_metrics", tells),
    ]
}

async fn approves_and_has_it_issued(cluster: &Cluster) -> Result<()> {
    cluster.node("honest-1", &["honest-1", "Honest-1.Example.com", "10.10.1.1", "fd00:10:1::1"]).await?;
    let request = Request::of_node("honest-1")
        .dns("honest-1")?
        .dns("honest-1.example.COM")?
        .ip([10, 10, 1, 1])
        .ip([0xfd00, 0x10, 0x1, 0, 0, 0, 0, 1]);
    for key in [Key::EcdsaP256, Key::EcdsaP384, Key::Ed25519, Key::Rsa2048, Key::Rsa3072, Key::Rsa4096] {
        let mut request = request.clone().key(key);
        if matches!(key, Key::Rsa2048) {
            request.usages.push("key encipherment".to_owned());
        }
        let filed = cluster.file_as_node("honest-1", &request).await?;
        cluster.answer(&filed.name_any()).await?.ensure_approved()?;
        let issued = approval::wait_issued(&cluster.admin(), &filed.name_any(), SOON).await?;
        ensure!(approval::certificate(&issued).is_some(), "not issued: {:?}", issued.status);
    }
    Ok(())
}

async fn denies_protected(cluster: &Cluster) -> Result<()> {
    // The node has written all of it into its own status, which gives it no right to any of it.
    let names =
        ["localhost", "kubernetes", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "hook.team.svc"];
    let addresses = ["127.0.0.1", "10.96.0.1", "169.254.169.254", "0.0.0.0", "::1", "fe80::1", "224.0.0.1"];
    let listed: Vec<&str> = names.iter().chain(&addresses).copied().collect();
    cluster.node("greedy-1", &listed).await?;
    for name in names {
        let request = Request::of_node("greedy-1").dns(name)?;
        cluster.answer_to("greedy-1", &request).await?.ensure_denied("ProtectedName", name)?;
    }
    for address in addresses {
        let request = Request::of_node("greedy-1").ip(address.parse::<std::net::IpAddr>()?);
        cluster.answer_to("greedy-1", &request).await?.ensure_denied("ProtectedAddress", address)?;
    }
    Ok(())
}

async fn denies_another_nodes_name(cluster: &Cluster) -> Result<()> {
    cluster.node("victim-1", &["victim-1", "10.10.2.1"]).await?;
    cluster.node("thief-1", &["thief-1", "victim-1", "VICTIM-1", "10.10.2.2"]).await?;
    for name in ["victim-1", "Victim-1"] {
        let request = Request::of_node("thief-1").dns("thief-1")?.dns(name)?;
        cluster.answer_to("thief-1", &request).await?.ensure_denied("NameOfAnotherNode", "victim-1")?;
    }
    Ok(())
}

async fn denies_forbidden_sans(cluster: &Cluster) -> Result<()> {
    cluster.node("sans-1", &["sans-1", "*.example.com", "10.10.3.1"]).await?;
    let base = Request::of_node("sans-1").dns("sans-1")?;
    let with = |san: SanType| {
        let mut request = base.clone();
        request.sans.push(san);
        request
    };
    let cases = [
        (base.clone().dns("*.example.com")?, "wildcard"),
        (base.clone().dns("sans-1.")?, "ends in a dot"),
        (base.clone().dns("under_score")?, "letters, digits"),
        (base.clone().dns("10.10.3.1")?, "reads as an IP address"),
        (base.clone().ip([0, 0, 0, 0, 0, 0xffff, 0x0a0a, 0x0301]), "IPv4-mapped"),
        (with(SanType::URI("spiffe://example.com/a".try_into()?)), "uniformResourceIdentifier"),
        (with(SanType::Rfc822Name("a@example.com".try_into()?)), "rfc822Name"),
    ];
    for (request, text) in cases {
        cluster.answer_to("sans-1", &request).await?.ensure_denied("ForbiddenSan", text)?;
    }
    let none = cluster.answer_to("sans-1", &Request::of_node("sans-1")).await?;
    none.ensure_denied("MalformedRequest", "attributes")
}

async fn denies_usages(cluster: &Cluster) -> Result<()> {
    cluster.node("usages-1", &["usages-1", "10.10.4.1"]).await?;
    let cases = [&["digital signature", "server auth", "client auth"][..], &["server auth"], &["client auth"]];
    for usages in cases {
        let mut request = Request::of_node("usages-1").dns("usages-1")?;
        request.usages = usages.iter().map(|usage| (*usage).to_owned()).collect();
        cluster.answer_to("usages-1", &request).await?.ensure_denied("UsageNotAllowed", &format!("{usages:?}"))?;
    }
    Ok(())
}

async fn denies_keys(cluster: &Cluster) -> Result<()> {
    cluster.node("keys-1", &["keys-1", "10.10.5.1"]).await?;
    let client = cluster.control_plane.client_of_node("keys-1").await?;
    let api: Api<CertificateSigningRequest> = Api::all(client);
    for (pem, reason, text) in [
        (include_str!("requests/rsa-1024.pem"), "WeakKey", "1024 bits"),
        (include_str!("requests/ecdsa-p521.pem"), "KeyNotAllowed", "curve"),
    ] {
        let object = Request::of_node("keys-1").object_around(pem.as_bytes().to_vec())?;
        let filed = api.create(&PostParams::default(), &object).await?;
        cluster.answer(&filed.name_any()).await?.ensure_denied(reason, text)?;
    }
    Ok(())
}

async fn denies_subject(cluster: &Cluster) -> Result<()> {
    cluster.node("subject-1", &["subject-1", "10.10.6.1"]).await?;
    let mut two = Request::of_node("subject-1").dns("subject-1")?;
    two.organizations.push("system:masters".to_owned());
    cluster.answer_to("subject-1", &two).await?.ensure_denied("SubjectMismatch", "2 organizations")?;
    let mut other = Request::of_node("subject-1").dns("subject-1")?;
    other.organizations = vec!["system:masters".to_owned()];
    cluster.answer_to("subject-1", &other).await?.ensure_denied("SubjectMismatch", "system:masters")?;
    let mut none = Request::of_node("subject-1").dns("subject-1")?;
    none.organizations.clear();
    cluster.answer_to("subject-1", &none).await?.ensure_denied("SubjectMismatch", "0 organizations")?;
    // A node cannot name another one in the subject: NodeRestriction refuses to store that.
    let foreign = cluster.file_as_node("subject-1", &Request::of_node("honest-9").dns("honest-9")?).await;
    ensure!(foreign.is_err(), "the API server took another node's subject");
    Ok(())
}

/// Whoever may create requests may name any node in the subject: NodeRestriction binds nodes only.
async fn denies_other_requestors(cluster: &Cluster) -> Result<()> {
    cluster.node("target-1", &["target-1", "10.10.7.1"]).await?;
    let request = Request::of_node("target-1").dns("target-1")?.ip([10, 10, 7, 1]);

    let creates = account::rules(serde_json::json!([
        {"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"], "verbs": ["create"]},
    ]))?;
    account::create(&cluster.control_plane, "requestor", creates, Vec::new()).await?;
    let service_account = account::client_of(&cluster.control_plane, account::NAMESPACE, "requestor").await?;
    let filed = request.submit(&service_account).await?;
    let answer = cluster.answer(&filed.name_any()).await?;
    answer.ensure_denied("RequestorNotANode", "system:serviceaccount:countersign:requestor")?;

    let token = Credentials::Token(cluster.control_plane.bootstrap_token().to_owned());
    let bootstrap = kubeconfig::client(&cluster.control_plane.kubeconfig_for(token)).await?;
    let filed = request.submit(&bootstrap).await?;
    cluster.answer(&filed.name_any()).await?.ensure_denied("RequestorNotANode", "system:bootstrap:")?;

    let admin = request.submit(&cluster.admin()).await?;
    cluster.answer(&admin.name_any()).await?.ensure_denied("RequestorNotANode", "is not a node")
}

async fn leaves_other_signers_alone(cluster: &Cluster) -> Result<()> {
    cluster.node("client-1", &["client-1", "10.10.8.1"]).await?;
    let mut foreign = Vec::new();
    for (signer, usages) in [
        ("kubernetes.io/kube-apiserver-client-kubelet", &["digital signature", "client auth"][..]),
        ("kubernetes.io/kube-apiserver-client", &["digital signature", "client auth"]),
        ("example.com/mine", &["digital signature", "server auth"]),
    ] {
        let mut request = Request::of_node("client-1").dns("client-1")?;
        request.signer = signer.to_owned();
        request.usages = usages.iter().map(|usage| (*usage).to_owned()).collect();
        foreign.push(request.submit(&cluster.admin()).await?.name_any());
    }
    // A request that came later is answered: the controller has had every chance to touch the others.
    let own = Request::of_node("client-1").dns("client-1")?;
    cluster.answer_to("client-1", &own).await?.ensure_approved()?;
    for name in foreign {
        cluster.ensure_pending(&name).await?;
    }
    Ok(())
}

async fn leaves_decided_alone(cluster: &Cluster) -> Result<()> {
    cluster.node("decided-1", &["decided-1"]).await?;
    // Left pending for its address, and then decided by hand.
    let request = Request::of_node("decided-1").dns("decided-1")?.ip([10, 10, 9, 1]);
    let by_hand = cluster.file_as_node("decided-1", &request).await?.name_any();
    cluster.wait_deferred(&by_hand, "AddressNotOwned").await?;
    approval::deny(&cluster.admin(), &by_hand).await?;
    cluster.set_addresses("decided-1", &["decided-1", "10.10.9.1"]).await?;
    cluster.answer_to("decided-1", &request).await?.ensure_approved()?;
    let answer = cluster.answer(&by_hand).await?;
    ensure!(answer.reason == "Harness", "written over: {answer:?}");
    Ok(())
}

/// The API server takes nearly any text for a request's name.
async fn answers_any_name(cluster: &Cluster) -> Result<()> {
    cluster.node("names-1", &["names-1", "10.10.10.1"]).await?;
    for name in ["CSR_of names-1?dryRun=All&x=#1", "ünïcode", "a:b@c", "x".repeat(300).as_str()] {
        let mut request = Request::of_node("names-1").dns("names-1")?;
        request.name = Some(name.to_owned());
        cluster.file_as_node("names-1", &request).await?;
        // The library does not escape names, so that a list has to serve.
        let decided = crate::harness::wait::until(&format!("{name:?} to be decided"), SOON, async || {
            let all: Api<CertificateSigningRequest> = Api::all(cluster.admin());
            let listed = all.list(&kube::api::ListParams::default()).await?;
            let found = listed.items.into_iter().find(|csr| csr.name_any() == name);
            Ok(found.filter(|csr| approval::decision(csr).is_some()))
        })
        .await?;
        ensure!(approval::condition(&decided, "Approved").is_some(), "{name:?}: {:?}", decided.status);
    }
    Ok(())
}

/// What a requestor has written into the metadata is there after the answer, and so is who wrote what.
async fn leaves_all_else(cluster: &Cluster) -> Result<()> {
    cluster.node("metadata-1", &["metadata-1"]).await?;
    let node = Api::<Node>::all(cluster.admin()).get("metadata-1").await?;
    let owners = json!([{"apiVersion": "v1", "kind": "Node", "name": "metadata-1", "uid": node.uid()}]);
    let requests: Api<CertificateSigningRequest> = Api::all(cluster.control_plane.client_of_node("metadata-1").await?);
    for metadata in [
        json!({"generateName": "csr-"}),
        json!({"name": "metadata-1-named"}),
        json!({"name": "metadata-1-renamed", "generateName": "csr-"}),
        json!({"generateName": "csr-", "labels": {"example.com/a": "b"}}),
        json!({"generateName": "csr-", "annotations": {"example.com/a": "b"}}),
        json!({"generateName": "csr-", "ownerReferences": owners}),
        json!({"generateName": "csr-", "finalizers": ["example.com/stays"]}),
    ] {
        let mut request = Request::of_node("metadata-1").dns("metadata-1")?.object()?;
        request.metadata = from_value(metadata)?;
        let before = requests.create(&PostParams::default(), &request).await?;
        cluster.answer(&before.name_any()).await?.ensure_approved()?;
        let after = approval::wait_issued(&cluster.admin(), &before.name_any(), SOON).await?;
        let left = |csr: &CertificateSigningRequest| {
            let mut metadata = csr.metadata.clone();
            (metadata.managed_fields, metadata.resource_version) = (None, None);
            (metadata, csr.spec.clone())
        };
        ensure!(left(&before) == left(&after), "{before:#?} became {after:#?}");
        let fields = after.metadata.managed_fields.unwrap_or_default();
        let is_left = before.metadata.managed_fields.iter().flatten().all(|it| fields.contains(it));
        ensure!(is_left, "{:#?} became {fields:#?}", before.metadata.managed_fields);
    }
    Ok(())
}

async fn leaves_endless_names_alone(cluster: &Cluster) -> Result<()> {
    cluster.node("names-2", &["names-2"]).await?;
    let request = Request::of_node("names-2").dns("names-2")?;
    let endless = "x".repeat(1025);
    cluster.file_as_node("names-2", &Request { name: Some(endless.clone()), ..request.clone() }).await?;
    let longest = "x".repeat(1024);
    cluster.file_as_node("names-2", &Request { name: Some(longest.clone()), ..request.clone() }).await?;
    // One that came later is answered: the controller has had every chance to touch the first.
    cluster.answer(&longest).await?.ensure_approved()?;
    let all: Api<CertificateSigningRequest> = Api::all(cluster.admin());
    let listed = all.list(&kube::api::ListParams::default()).await?;
    let found = listed.items.iter().find(|csr| csr.name_any() == endless).context("it is gone")?;
    ensure!(approval::decision(found).is_none(), "answered: {:?}", found.status);
    Ok(())
}

/// What one finds in the field: a node's requests of days, and a fresh one.
async fn prunes_superseded(cluster: &Cluster) -> Result<()> {
    let request = Request::of_node("stale-1").dns("stale-1")?.ip([10, 10, 11, 1]);
    let mut stale = Vec::new();
    for _ in 0..7 {
        stale.push(cluster.file_as_node("stale-1", &request).await?);
    }
    // Creation is only known to the second, and only what is strictly older is superseded.
    let second =
        |csr: &CertificateSigningRequest| csr.metadata.creation_timestamp.as_ref().map(|time| time.0.as_second());
    let newest = stale.last().and_then(second);
    let fresh = loop {
        let fresh = cluster.file_as_node("stale-1", &request).await?;
        if second(&fresh) > newest {
            break fresh;
        }
        stale.push(fresh);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    };
    cluster.node("stale-1", &["stale-1", "10.10.11.1"]).await?;
    cluster.answer(&fresh.name_any()).await?.ensure_approved()?;
    for old in stale {
        cluster.answer(&old.name_any()).await?.ensure_denied("Superseded", "newer request")?;
    }
    Ok(())
}

async fn tells(cluster: &Cluster) -> Result<()> {
    cluster.node("told-1", &["told-1", "127.0.0.1", "10.10.12.1"]).await?;
    let bad = cluster.file_as_node("told-1", &Request::of_node("told-1").dns("told-1")?.ip([127, 0, 0, 1])).await?;
    let answer = cluster.answer(&bad.name_any()).await?;
    answer.ensure_denied("ProtectedAddress", "127.0.0.1")?;
    ensure!(answer.message.contains("rule \"every-node\" of policy "), "no source: {answer:?}");
    cluster.wait_event("CertificateSigningRequest", &bad.name_any(), "ProtectedAddress").await?;
    cluster.wait_event("Node", "told-1", "ProtectedAddress").await?;

    let good = cluster.file_as_node("told-1", &Request::of_node("told-1").ip([10, 10, 12, 1])).await?;
    cluster.answer(&good.name_any()).await?.ensure_approved()?;
    cluster.wait_event("CertificateSigningRequest", &good.name_any(), "AutoApproved").await?;

    let metrics = cluster.controller.metrics().await?;
    let decisions = crate::fixture::series(&metrics, "countersign_decisions_total");
    let count = |labels: &str| decisions.get(labels).copied().unwrap_or_default();
    ensure!(count(r#"{decision="denied",reason="ProtectedAddress"}"#) >= 1.0, "{decisions:?}");
    ensure!(count(r#"{decision="approved",reason="AutoApproved"}"#) >= 1.0, "{decisions:?}");
    for metric in
        ["countersign_decision_seconds_count", "countersign_evaluation_seconds_count", "process_resident_memory_bytes"]
    {
        ensure!(cluster.controller.metric(metric).await?.is_some_and(|value| value > 0.0), "no {metric}");
    }
    Ok(())
}
