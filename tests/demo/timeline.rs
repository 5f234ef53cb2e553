//! What becomes of each kubelet-serving request, told as it happens.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;

use crate::harness::approval;
use crate::harness::requests::SIGNER;
use crate::screen::{Colour, Screen};

/// How far a request has come, in times since it was first seen.
pub struct Fate {
    pub node: String,
    seen: Instant,
    pub approved: Option<Duration>,
    pub denied: Option<Duration>,
    pub issued: Option<Duration>,
}

/// Every request that was seen, by name.
#[derive(Clone)]
pub struct Timeline(Arc<Mutex<BTreeMap<String, Fate>>>);

impl Timeline {
    /// Begins to watch.
    pub fn start(client: Client, screen: Screen) -> Self {
        let timeline = Self(Arc::default());
        let watching = timeline.clone();
        tokio::spawn(async move {
            let config = watcher::Config::default().fields(&format!("spec.signerName={SIGNER}"));
            let events = watcher(Api::<CertificateSigningRequest>::all(client), config);
            let mut requests = pin!(events.default_backoff().applied_objects());
            while let Some(request) = requests.next().await {
                if let Ok(request) = request {
                    watching.see(&request, &screen);
                }
            }
        });
        timeline
    }

    /// Looks at every request.
    pub fn read<T>(&self, look: impl FnOnce(&BTreeMap<String, Fate>) -> T) -> T {
        look(&self.0.lock())
    }

    fn see(&self, request: &CertificateSigningRequest, screen: &Screen) {
        let mut fates = self.0.lock();
        let name = request.name_any();
        let user = request.spec.username.as_deref().unwrap_or_default();
        let node = user.strip_prefix("system:node:").unwrap_or(user).to_owned();
        let tell = |state: &str| screen.node(&node, &format!("{name:<10} {state}"));
        let fate = fates.entry(name.clone()).or_insert_with(|| {
            tell("Pending");
            Fate { node: node.clone(), seen: Instant::now(), approved: None, denied: None, issued: None }
        });
        let elapsed = fate.seen.elapsed();
        let milliseconds = format!("after {} ms", elapsed.as_millis());
        if fate.approved.is_none() && approval::condition(request, "Approved").is_some() {
            fate.approved = Some(elapsed);
            tell(&format!("{} {milliseconds}", screen.paint(Colour::Green, "Approved")));
        }
        if fate.issued.is_none() && approval::certificate(request).is_some() {
            fate.issued = Some(elapsed);
            tell(&format!("{}   {milliseconds}", screen.paint(Colour::Green, "Issued")));
        }
        if fate.denied.is_none()
            && let Some(denied) = approval::condition(request, "Denied")
        {
            fate.denied = Some(elapsed);
            let reason = denied.reason.as_deref().unwrap_or_default();
            tell(&format!("{}   {milliseconds}: {reason}", screen.paint(Colour::Red, "Denied")));
        }
    }
}
