//! What somebody tries who has taken over a node: with the node's real credentials, against the real API server.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Node, NodeAddress};
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::harness::control_plane::ControlPlane;
use crate::harness::kubeconfig::{self, Credentials};
use crate::harness::kubelet::Kubelet;
use crate::harness::pki::Identity;
use crate::harness::requests::Request;
use crate::harness::{approval, wait};
use crate::screen::{Colour, Screen};

const SOON: Duration = Duration::from_secs(30);

/// Tries it all; fails if anything is granted.
pub async fn act(control_plane: &ControlPlane, kubelets: &[Kubelet], screen: &Screen) -> Result<()> {
    let [thief, victim] = kubelets else { anyhow::bail!("there are two kubelets") };
    let address = *victim.addresses().first().context("a kubelet without an address")?;
    let attempt = Attempt {
        thief: credentials_of(control_plane, thief).await?,
        admin: control_plane.client(),
        screen,
        thief_name: thief.name(),
    };

    let own = || Request::of_node(thief.name()).dns(thief.name());
    attempt.denied("the API server's name", &own()?.dns("kubernetes.default.svc")?, "ProtectedName").await?;
    attempt.denied(&format!("the name {}", victim.name()), &own()?.dns(victim.name())?, "NameOfAnotherNode").await?;
    attempt
        .pending(&format!("{address}, which is {}'s", victim.name()), &own()?.ip(address), "AddressNotOwned")
        .await?;
    let before = attempt.plant(address).await?;
    let what = format!("{address} once more");
    attempt.pending(&what, &own()?.ip(address), "ClaimedByAnotherNode").await?;
    // The kubelet, which goes on, would ask for what its status lists.
    attempt.set_addresses(&before).await
}

/// The client certificate that the kubelet has obtained and keeps in its directory.
async fn credentials_of(control_plane: &ControlPlane, kubelet: &Kubelet) -> Result<Client> {
    let pem = std::fs::read_to_string(kubelet.client_certificate_path())?;
    let identity = Identity { certificate: pem.clone(), key: pem };
    kubeconfig::client(&control_plane.kubeconfig_for(Credentials::Certificate(identity))).await
}

struct Attempt<'a> {
    thief: Client,
    admin: Client,
    screen: &'a Screen,
    thief_name: &'a str,
}

impl Attempt<'_> {
    async fn file(&self, what: &str, request: &Request) -> Result<String> {
        self.screen.node(self.thief_name, &format!("asks for {what}"));
        Ok(request.submit(&self.thief).await?.name_any())
    }

    async fn denied(&self, what: &str, request: &Request, reason: &str) -> Result<()> {
        let name = self.file(what, request).await?;
        let decided = approval::wait_decided(&self.admin, &name, SOON).await?;
        let condition = approval::decision(&decided).context("decided, without a decision")?;
        let right = condition.type_ == "Denied" && condition.reason.as_deref() == Some(reason);
        ensure!(right, "{what} was to be denied as {reason}, but: {condition:?}");
        self.quote(condition.message.as_deref().unwrap_or_default());
        Ok(())
    }

    /// An address that is not the node's may become its own, so that the request waits; it is never approved meanwhile.
    async fn pending(&self, what: &str, request: &Request, reason: &str) -> Result<()> {
        let name = self.file(what, request).await?;
        let events: Api<Event> = Api::namespaced(self.admin.clone(), "default");
        let params = ListParams::default().fields(&format!("reason={reason}"));
        let note = wait::until(&format!("{name} to be left pending as {reason}"), SOON, async || {
            let listed = events.list(&params).await?;
            let about = |event: &Event| event.regarding.as_ref().and_then(|it| it.name.clone());
            Ok(listed
                .items
                .into_iter()
                .find(|event| about(event).as_deref() == Some(&name))
                .and_then(|event| event.note))
        })
        .await?;
        self.screen.node(
            self.thief_name,
            &format!("{name:<10} {}: {reason}", self.screen.paint(Colour::Yellow, "left pending")),
        );
        self.quote(&note);
        Ok(())
    }

    /// A node may write its own status: the thief claims the address there. Returns what was there before.
    async fn plant(&self, address: IpAddr) -> Result<Vec<NodeAddress>> {
        self.screen.node(self.thief_name, &format!("writes {address} into its own status.addresses"));
        let own = Api::<Node>::all(self.thief.clone()).get(self.thief_name).await?;
        let before = own.status.and_then(|status| status.addresses).unwrap_or_default();
        let mut addresses = before.clone();
        addresses.push(NodeAddress { type_: "InternalIP".to_owned(), address: address.to_string() });
        self.set_addresses(&addresses).await?;
        Ok(before)
    }

    async fn set_addresses(&self, addresses: &[NodeAddress]) -> Result<()> {
        let patch = Patch::Merge(json!({"status": {"addresses": addresses}}));
        let nodes: Api<Node> = Api::all(self.thief.clone());
        nodes.patch_status(self.thief_name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    fn quote(&self, message: &str) {
        let mut line = String::new();
        for word in message.split(' ') {
            if line.len() + word.len() > 58 {
                self.screen.plain(&format!("                    {line}"));
                line.clear();
            }
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(word);
        }
        self.screen.plain(&format!("                    {line}"));
    }
}
