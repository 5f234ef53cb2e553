//! Looking up requested names, for rules that ask DNS. Never in a worker's time: a slow resolver delays only the requests
//! that wait for it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::ResolveHosts;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use tokio::time::timeout;

use super::Controller;
use super::store::RequestId;
use super::turns::Turns;
use crate::identity::{Resolution, Resolutions};
use crate::san::DnsName;

/// How long one server is waited for; each is asked twice.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long one name may take, over all servers.
const NAME_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer is kept at the most, whatever its time to live: a record may be mended while a kubelet waits.
const MAX_TTL: Duration = Duration::from_secs(30);
/// How many answers are kept.
const CACHE: u64 = 4096;
/// How many requests are looked up at once.
pub(crate) const AT_ONCE: usize = 64;
/// How many of those may be of one node: a few slow names of its own choice delay nobody else.
const OF_ONE_NODE: usize = 4;

/// The resolver, as `/etc/resolv.conf` has it.
pub(crate) struct Dns {
    /// Why there is none, in a sentence.
    resolver: Result<TokioResolver, String>,
    turns: Turns,
}

impl Dns {
    /// Reads the system's configuration.
    pub(crate) fn new() -> Self {
        let resolver = system().map_err(|error| format!("/etc/resolv.conf cannot be used: {error}"));
        Self { resolver, turns: Turns::new(AT_ONCE, OF_ONE_NODE) }
    }

    /// Looks up names that a node asks for all at once, when it is their turn.
    async fn resolve(&self, node: &str, names: Vec<DnsName>) -> Resolutions {
        let answers = self.turns.take(node, join_all(names.iter().map(|name| self.resolve_one(name)))).await;
        names.into_iter().zip(answers).collect()
    }

    /// Looks up one name.
    pub(crate) async fn look_up(&self, name: DnsName) -> (DnsName, Resolution) {
        let answer = self.resolve_one(&name).await;
        (name, answer)
    }

    async fn resolve_one(&self, name: &DnsName) -> Resolution {
        let resolver = match &self.resolver {
            Ok(resolver) => resolver,
            Err(problem) => return Resolution::Failed(problem.clone()),
        };
        // A name of several labels is whole; what a pod's search list would make of it is another name.
        let dot = if name.as_str().contains('.') { "." } else { "" };
        let text = format!("{name}{dot}");
        // One family alone would not do: the name may lead elsewhere by the other.
        let both = async { tokio::join!(resolver.ipv4_lookup(text.as_str()), resolver.ipv6_lookup(text.as_str())) };
        let Ok((v4, v6)) = timeout(NAME_TIMEOUT, both).await else {
            return Resolution::Failed(format!("no answer within {} s", NAME_TIMEOUT.as_secs()));
        };
        let mut addresses = Vec::new();
        for answer in [v4, v6] {
            match answer {
                Ok(found) => addresses.extend(
                    found
                        .answers()
                        .iter()
                        .filter_map(|record| record.data.ip_addr())
                        .map(|ip: IpAddr| ip.to_canonical()),
                ),
                Err(error) if is_no_such(&error) => {}
                Err(error) => return Resolution::Failed(error.to_string()),
            }
        }
        Resolution::Addresses(addresses)
    }
}

fn system() -> Result<TokioResolver, NetError> {
    let mut builder = TokioResolver::builder_tokio()?;
    let options = builder.options_mut();
    options.timeout = ANSWER_TIMEOUT;
    options.attempts = 2;
    options.cache_size = CACHE;
    options.positive_max_ttl = Some(MAX_TTL);
    options.negative_max_ttl = Some(MAX_TTL);
    // A pod's own hosts file has nothing to say of nodes.
    options.use_hosts_file = ResolveHosts::Never;
    builder.build()
}

/// Whether the answer is that there is no such name, or no address of the family.
fn is_no_such(error: &NetError) -> bool {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(answer)) => {
            matches!(answer.response_code, ResponseCode::NXDomain | ResponseCode::NoError)
        }
        _ => false,
    }
}

impl Controller {
    /// Looks up a request's names in the background; the request is judged again when that is done.
    pub(super) fn resolve_later(self: &Arc<Self>, request: &RequestId, node: &str, names: Vec<DnsName>) {
        if !self.store.lock().start_resolving(request) {
            return;
        }
        let (controller, request, node) = (self.clone(), request.clone(), node.to_owned());
        tokio::spawn(async move {
            let answers = controller.dns.resolve(&node, names).await;
            let mut store = controller.store.lock();
            store.set_resolved(&request, answers, Instant::now());
            controller.wake_workers(&store);
        });
    }
}
