//! One connection to the API server with nothing on top of HTTP: no retries, no counting, no reading of answers.

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::task::JoinSet;

use crate::cluster::Cluster;
use crate::harness::tls;
use crate::population::Filed;

/// A connection of the bare worker's.
pub struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    host: HeaderValue,
    authorization: HeaderValue,
}

/// How the bare worker writes approvals.
#[derive(Clone, Copy)]
pub enum Form {
    /// As a merge patch.
    Patch,
    /// As the program does: the whole object, with nothing in it but what an answer changes.
    Whole,
}

/// The write of an approval, ready to be sent.
pub struct Approval {
    form: Form,
    path: String,
    body: Bytes,
}

impl Approval {
    /// With a message as long as that of the program's.
    pub fn of(filed: &Filed, form: Form) -> Self {
        let body = json!({
            "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
            "metadata": {"name": filed.name, "uid": filed.uid, "resourceVersion": filed.resource_version},
            "status": {"conditions": [{
                "type": "Approved", "status": "True", "reason": "AutoApproved", "message": "m".repeat(200),
            }]},
        });
        let path = format!("/apis/certificates.k8s.io/v1/certificatesigningrequests/{}/approval", filed.name);
        Self { form, path, body: body.to_string().into() }
    }
}

impl Connection {
    /// Connects as the bare worker.
    pub async fn open(cluster: &Cluster) -> Result<Self> {
        let server = cluster.api_server();
        let stream = tls::connect(server, cluster.control_plane.pki().ca_pem()).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the sender; what breaks it, the sender tells.
        tokio::spawn(connection);
        let host = HeaderValue::try_from(server.to_string())?;
        Ok(Self { sender, host, authorization: HeaderValue::try_from(format!("Bearer {}", cluster.token()))? })
    }

    /// As many of them.
    pub async fn open_all(cluster: &Cluster, count: usize) -> Result<Vec<Self>> {
        let mut connections = Vec::new();
        for _ in 0..count {
            connections.push(Self::open(cluster).await?);
        }
        Ok(connections)
    }

    /// Writes an approval, and waits for the answer.
    pub async fn approve(&mut self, approval: &Approval) -> Result<()> {
        let (method, content) = match approval.form {
            Form::Patch => (Method::PATCH, "application/merge-patch+json"),
            Form::Whole => (Method::PUT, "application/json"),
        };
        let content = HeaderValue::from_static(content);
        let mut answer = self.send(method, &approval.path, approval.body.clone(), Some(content)).await?;
        while let Some(frame) = answer.body_mut().frame().await {
            frame?;
        }
        ensure!(answer.status().is_success(), "{} was answered with {}", approval.path, answer.status());
        Ok(())
    }

    /// Reads a page of a list, and gives the text with which the next one continues, if there is one.
    pub async fn page(&mut self, path: &str) -> Result<Option<String>> {
        let answer = self.send(Method::GET, path, Bytes::new(), None).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        ensure!(status.is_success(), "{path} was answered with {status}");
        // The metadata of a list comes before its items.
        let start = std::str::from_utf8(body.get(..body.len().min(2000)).context("no answer")?).unwrap_or_default();
        let metadata = start.split("\"items\":").next().unwrap_or_default();
        let token = metadata.split_once("\"continue\":\"").and_then(|(_, rest)| rest.split('"').next());
        Ok(token.map(str::to_owned))
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
        content: Option<HeaderValue>,
    ) -> Result<Response<hyper::body::Incoming>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse()?;
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(AUTHORIZATION, self.authorization.clone());
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.extend(content.map(|content| (CONTENT_TYPE, content)));
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }
}

/// Waits until all of them have ended; the first that fails ends the rest.
pub async fn until_ended<T: 'static>(mut working: JoinSet<Result<T>>) -> Result<()> {
    while let Some(ended) = working.join_next().await {
        ended??;
    }
    Ok(())
}
