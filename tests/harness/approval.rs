//! The fate of CertificateSigningRequests: watched, and decided by hand.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use kube::api::PostParams;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use serde_json::{from_value, json};

use super::requests::SIGNER;
use super::wait;

/// The condition of this type, if it is true.
pub fn condition<'a>(
    request: &'a CertificateSigningRequest,
    kind: &str,
) -> Option<&'a CertificateSigningRequestCondition> {
    let conditions = request.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind && condition.status == "True")
}

/// The Approved or the Denied condition.
pub fn decision(request: &CertificateSigningRequest) -> Option<&CertificateSigningRequestCondition> {
    condition(request, "Approved").or_else(|| condition(request, "Denied"))
}

/// The certificate (PEM), once issued.
pub fn certificate(request: &CertificateSigningRequest) -> Option<&ByteString> {
    request.status.as_ref()?.certificate.as_ref()
}

/// Waits until a request has been approved or denied.
pub async fn wait_decided(client: &Client, name: &str, limit: Duration) -> Result<CertificateSigningRequest> {
    wait_for(client, name, &format!("{name} to be decided"), limit, |request| decision(request).is_some()).await
}

/// Waits until the signer has answered: with a certificate, or with Failed.
pub async fn wait_issued(client: &Client, name: &str, limit: Duration) -> Result<CertificateSigningRequest> {
    let answered = |request: &_| certificate(request).is_some() || condition(request, "Failed").is_some();
    wait_for(client, name, &format!("{name} to be signed"), limit, answered).await
}

/// Waits for a request for a serving certificate of this user that is still pending.
pub async fn wait_pending(client: &Client, user: &str, limit: Duration) -> Result<CertificateSigningRequest> {
    let config = watcher::Config::default().fields(&format!("spec.signerName={SIGNER}"));
    let pending = |request: &CertificateSigningRequest| {
        let conditions = request.status.as_ref().and_then(|status| status.conditions.as_ref());
        request.spec.username.as_deref() == Some(user) && conditions.is_none_or(Vec::is_empty)
    };
    wait::for_object(&format!("a serving request of {user}"), limit, Api::all(client.clone()), config, pending).await
}

/// Approves a request, as `kubectl certificate approve` does.
pub async fn approve(client: &Client, name: &str) -> Result<CertificateSigningRequest> {
    decide(client, name, "Approved").await
}

/// Denies a request, as `kubectl certificate deny` does.
pub async fn deny(client: &Client, name: &str) -> Result<CertificateSigningRequest> {
    decide(client, name, "Denied").await
}

async fn decide(client: &Client, name: &str, kind: &str) -> Result<CertificateSigningRequest> {
    let api: Api<CertificateSigningRequest> = Api::all(client.clone());
    let mut request = api.get(name).await?;
    let condition =
        from_value(json!({"type": kind, "status": "True", "reason": "Harness", "message": "decided by hand"}))?;
    request.status.get_or_insert_default().conditions.get_or_insert_default().push(condition);
    let decided = api.replace_subresource("approval", &request.name_any(), &PostParams::default(), &request).await;
    decided.with_context(|| format!("set {kind} on {name}"))
}

async fn wait_for(
    client: &Client,
    name: &str,
    what: &str,
    limit: Duration,
    wanted: impl FnMut(&CertificateSigningRequest) -> bool,
) -> Result<CertificateSigningRequest> {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    wait::for_object(what, limit, Api::all(client.clone()), config, wanted).await
}
