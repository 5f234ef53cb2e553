//! The few calls the controller makes to the API server, each with a time-out.

use futures::io::{copy_buf, sink};
use k8s_openapi::api::events::v1::Event;
use kube::api::{Patch, PatchParams, PostParams, Request};
use kube::{Api, Client, Resource};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::approval::{Approval, Form};
use crate::api::{CertificateSigningRequest, Node};
use crate::client::get_opt;
pub(super) use crate::client::{ApiError, call};
use crate::identity::NodeRecord;
use crate::lease::Leadership;
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

/// Access to the API server.
#[derive(Clone)]
pub(super) struct Cluster {
    client: Client,
    leaders_client: Client,
    leadership: Leadership,
}

impl Cluster {
    pub(super) fn new(client: Client, leaders_client: Client, leadership: Leadership) -> Self {
        Self { client, leaders_client, leadership }
    }

    /// The Node as it is at this moment; none where there is none.
    pub(super) async fn node(&self, name: &NodeName) -> Result<Option<NodeRecord>, ApiError> {
        let api: Api<Node> = Api::all(self.client.clone());
        let node = call("reading a Node", get_opt(&api, name.as_str())).await?;
        Ok(node.as_ref().and_then(NodeRecord::read))
    }

    /// The request as it is at this moment; none where there is none.
    pub(super) async fn request(&self, name: &str) -> Result<Option<CertificateSigningRequest>, ApiError> {
        let api: Api<CertificateSigningRequest> = Api::all(self.client.clone());
        call("reading a request", get_opt(&api, &segment(name))).await
    }

    /// Writes an answer, if this instance leads.
    pub(super) async fn approve(&self, name: &str, approval: &Approval<'_>) -> Result<(), ApiError> {
        let requests = Request::new(CertificateSigningRequest::url_path(&(), None));
        let name = segment(name);
        let write = async {
            let request = match approval.form {
                Form::Whole => {
                    let text = serde_json::to_vec(approval).map_err(kube::Error::SerdeError)?;
                    requests.replace_subresource("approval", &name, &PostParams::default(), text)
                }
                Form::Patch => {
                    requests.patch_subresource("approval", &name, &PatchParams::default(), &Patch::Merge(approval))
                }
            };
            let request = request.map_err(kube::Error::BuildRequest)?;
            let written = self.leaders_client.request_stream(request).await?;
            // What the request is like now, the watch tells. Here it is read so that the connection can be used again,
            // and no more of it kept than comes at a time; should it break off, the answer is written all the same.
            let _ = copy_buf(written, &mut sink()).await;
            Ok(())
        };
        call_as_leader("writing an answer", &self.leadership, write).await
    }

    /// Sends an Event of this instance alone.
    pub(super) async fn create_own_event(&self, event: &Event) -> Result<(), ApiError> {
        call("sending an Event", events(&self.client, event).create(&PostParams::default(), event)).await.map(drop)
    }

    /// Sends an Event, if this instance leads.
    pub(super) async fn create_event(&self, event: &Event) -> Result<(), ApiError> {
        let (api, params) = (events(&self.leaders_client, event), PostParams::default());
        call_as_leader("sending an Event", &self.leadership, api.create(&params, event)).await.map(drop)
    }
}

/// Where an Event belongs.
fn events(client: &Client, event: &Event) -> Api<Event> {
    Api::namespaced(client.clone(), event.metadata.namespace.as_deref().unwrap_or("default"))
}

/// A call that only the leader may make; see [`Leadership::write`].
pub(super) async fn call_as_leader<T>(
    what: &'static str,
    leadership: &Leadership,
    future: impl Future<Output = kube::Result<T>>,
) -> Result<T, ApiError> {
    leadership.write(call(what, future)).await.unwrap_or_else(|source| Err(ApiError::NotLeading { what, source }))
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
