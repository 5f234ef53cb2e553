//! The few calls the controller makes to the API server, each with a time-out.

use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use thiserror::Error;
use tokio::time::timeout;

use super::plan::ApprovalPatch;
use crate::api::{CertificateSigningRequest, Node};
use crate::client::{REQUEST_TIMEOUT, describe};
use crate::identity::NodeRecord;
use crate::san::NodeName;

/// What has to be escaped in a path segment (RFC 3986 section 3.3). The API server takes nearly any text for the name
/// of a CertificateSigningRequest, and the library puts names into URLs as they are: `?` would start a query.
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Why a call did not succeed. All are worth another try.
#[derive(Debug, Error)]
pub(super) enum ApiError {
    /// The API server said no, or could not be reached.
    #[error("{what}: {}", describe(.error))]
    Call {
        /// What was tried.
        what: &'static str,
        /// What came back.
        error: kube::Error,
    },
    /// No answer in time. It may have been done all the same.
    #[error("{what}: no answer from the API server within {}", seconds(REQUEST_TIMEOUT))]
    Timeout {
        /// What was tried.
        what: &'static str,
    },
}

impl ApiError {
    /// The HTTP status of the answer, where there was one.
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Call { error: kube::Error::Api(status), .. } => Some(status.code),
            Self::Call { .. } | Self::Timeout { .. } => None,
        }
    }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs())
}

/// Access to the API server.
#[derive(Clone)]
pub(super) struct Cluster {
    client: Client,
}

impl Cluster {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    /// The Node as it is at this moment; none where there is none.
    pub(super) async fn node(&self, name: &NodeName) -> Result<Option<NodeRecord>, ApiError> {
        let api: Api<Node> = Api::all(self.client.clone());
        let node = call("reading a Node", api.get_opt(name.as_str())).await?;
        Ok(node.as_ref().and_then(NodeRecord::read))
    }

    /// The request as it is at this moment; none where there is none.
    pub(super) async fn request(&self, name: &str) -> Result<Option<CertificateSigningRequest>, ApiError> {
        let api: Api<CertificateSigningRequest> = Api::all(self.client.clone());
        call("reading a request", api.get_opt(&segment(name))).await
    }

    /// Writes an answer.
    pub(super) async fn approve(&self, name: &str, patch: &ApprovalPatch<'_>) -> Result<(), ApiError> {
        let api: Api<CertificateSigningRequest> = Api::all(self.client.clone());
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        call("writing an answer", api.patch_subresource("approval", &segment(name), &params, &patch)).await.map(drop)
    }

    /// Sends an Event.
    pub(super) async fn create_event(&self, event: &Event) -> Result<(), ApiError> {
        let namespace = event.metadata.namespace.as_deref().unwrap_or("default");
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        call("sending an Event", api.create(&PostParams::default(), event)).await.map(drop)
    }
}

pub(super) async fn call<T>(what: &'static str, future: impl Future<Output = kube::Result<T>>) -> Result<T, ApiError> {
    match timeout(REQUEST_TIMEOUT, future).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(ApiError::Call { what, error }),
        Err(_) => Err(ApiError::Timeout { what }),
    }
}

fn segment(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_of_any_name_stays_one_path_segment() {
        assert_eq!(segment("csr-x7k2p"), "csr-x7k2p");
        assert_eq!(segment("a?dryRun=All#b c/../d%"), "a%3FdryRun=All%23b%20c%2F..%2Fd%25");
        assert_eq!(segment("ä:b@c"), "%C3%A4:b@c");
    }
}
