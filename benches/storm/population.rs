//! Nodes, and requests that are filed as theirs.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client, ResourceExt};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::harness::requests::{Request, SIGNER, submit_as_node};
use crate::harness::wait;
use crate::node;

/// How many objects are written at once.
const AT_ONCE: usize = 16;
const PATIENCE: Duration = Duration::from_mins(5);

/// All Nodes, and whose turn it is to file a request.
pub struct Population {
    admin: Client,
    nodes: usize,
    filed: usize,
}

/// A request that only has to be filed.
pub struct Ready {
    node: String,
    object: CertificateSigningRequest,
}

/// A request as the API server has taken it.
pub struct Filed {
    pub name: String,
    pub uid: String,
    pub resource_version: String,
}

impl Population {
    pub fn new(cluster: &Cluster, nodes: usize) -> Self {
        Self { admin: cluster.control_plane.client(), nodes, filed: 0 }
    }

    /// How many Nodes there are.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// Creates the Nodes, and gives the size of one as the API server sends it.
    pub async fn create_nodes(&self) -> Result<usize> {
        let mut template = node::template();
        let metadata = template.pointer_mut("/metadata").and_then(Value::as_object_mut);
        metadata.context("a Node without metadata")?.remove("resourceVersion");
        let template = template.to_string();
        stream::iter((0..self.nodes).map(anyhow::Ok))
            .try_for_each_concurrent(AT_ONCE, async |number| {
                let words = node::of_node(number);
                let text = words.iter().fold(template.clone(), |text, (from, to)| text.replace(from, to));
                let request = http::Request::post("/api/v1/nodes").header("Content-Type", "application/json");
                self.admin.request::<IgnoredAny>(request.body(text.into_bytes())?).await?;
                Ok(())
            })
            .await?;
        let request = http::Request::get(format!("/api/v1/nodes/{}", node::name(0))).body(Vec::new())?;
        Ok(self.admin.request_text(request).await?.len())
    }

    /// Requests of as many nodes, in turn, for what is their own.
    pub fn prepare(&mut self, count: usize, signer: &str) -> Result<Vec<Ready>> {
        let nodes = self.nodes;
        self.prepare_of(count, signer, |number| number % nodes)
    }

    /// Requests of the node whose turn it would be, all of them.
    pub fn prepare_of_one_node(&mut self, count: usize) -> Result<Vec<Ready>> {
        let node = self.filed % self.nodes;
        self.prepare_of(count, SIGNER, |_| node)
    }

    fn prepare_of(&mut self, count: usize, signer: &str, node_of: impl Fn(usize) -> usize) -> Result<Vec<Ready>> {
        let first = self.filed;
        self.filed += count;
        let ready = |number: usize| {
            let node = node::name(node_of(number));
            let address: std::net::IpAddr = node::address(node_of(number)).parse()?;
            let request = Request::of_node(&node).dns(&node)?.dns(&format!("{node}.example.com"))?.ip(address);
            let request = Request { name: Some(format!("csr-{number:06}")), signer: signer.to_owned(), ..request };
            Ok(Ready { node, object: request.object()? })
        };
        (first..self.filed).map(ready).collect()
    }

    /// Files as many requests, many at once.
    pub async fn file(&mut self, count: usize) -> Result<Vec<Filed>> {
        let ready = self.prepare(count, SIGNER)?;
        let filed = stream::iter(ready).map(async |ready| ready.file(&self.admin).await).buffer_unordered(AT_ONCE);
        filed.try_collect().await
    }

    /// A client that files requests.
    pub fn client(&self) -> Client {
        self.admin.clone()
    }

    /// Removes all requests.
    pub async fn clear(&self) -> Result<()> {
        let api: Api<CertificateSigningRequest> = Api::all(self.admin.clone());
        wait::until("all requests to be gone", PATIENCE, async || {
            api.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
            let left = api.list_metadata(&ListParams::default().limit(1)).await?;
            Ok(left.items.is_empty().then_some(()))
        })
        .await
    }
}

impl Ready {
    pub fn name(&self) -> &str {
        self.object.metadata.name.as_deref().unwrap_or_default()
    }

    /// Files it as its node.
    pub async fn file(&self, admin: &Client) -> Result<Filed> {
        let object = submit_as_node(admin, &self.node, &self.object).await?;
        let resource_version = object.resource_version().context("a request without resourceVersion")?;
        let uid = object.uid().context("a request without uid")?;
        Ok(Filed { name: object.name_any(), uid, resource_version })
    }
}
