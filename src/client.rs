//! The connection to the API server: where it is, how long it may take, and what goes over it.

use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::anyhow;
use futures::future::BoxFuture;
use http::{Method, Request, Response};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIGroup;
use kube::client::{Body, ClientBuilder, ConfigExt as _};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::watcher;
use kube::{Client, Config};
use thiserror::Error;
use tokio::time::timeout;
use tower::{BoxError, Layer, Service, ServiceBuilder};

use crate::lease::{GuardedConnector, Leadership, NotLeading};
use crate::metrics::Metrics;
use crate::watch::Watches;

/// How long one request may take, from sending it to having read the answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Finds the API server: by the kubeconfig given, or the service account of the pod, or the user's own kubeconfig.
///
/// # Errors
/// When there is no usable configuration.
pub async fn config(kubeconfig: Option<&Path>) -> anyhow::Result<Config> {
    let options = KubeConfigOptions::default();
    let config = match kubeconfig {
        Some(path) => {
            let read = read_kubeconfig(path)?;
            Config::from_custom_kubeconfig(read, &options).await.map_err(|error| unusable(path, &error))?
        }
        None if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() => Config::incluster()
            .map_err(|error| anyhow!("cannot use the pod's service account: {}", root_cause(&error)))?,
        None => Config::from_kubeconfig(&options).await.map_err(|error| {
            anyhow!(
                "not in a pod, and no usable kubeconfig (give --kubeconfig or set KUBECONFIG): {}",
                root_cause(&error)
            )
        })?,
    };
    Ok(impatient(config))
}

/// Finds the API server as kubectl does, for a person: by the kubeconfig and the context given, or the user's own
/// kubeconfig and its current context, or the service account of the pod.
///
/// # Errors
/// When there is no usable configuration.
pub async fn user_config(kubeconfig: Option<&Path>, context: Option<&str>) -> anyhow::Result<Config> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let read = match kubeconfig {
        Some(path) => Kubeconfig::read_from(path)
            .map_err(|error| anyhow!("cannot use the kubeconfig {}: {}", path.display(), root_cause(&error)))?,
        None => match Kubeconfig::read() {
            Ok(read) => read,
            Err(_) if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() => return self::config(None).await,
            Err(error) => {
                let cause = root_cause(&error);
                return Err(anyhow!("no dump (-f), and no usable kubeconfig (--kubeconfig, KUBECONFIG): {cause}"));
            }
        },
    };
    let config = Config::from_custom_kubeconfig(read, &options).await;
    config.map(impatient).map_err(|error| anyhow!("cannot use the kubeconfig: {}", root_cause(&error)))
}

/// Calls are tried once, and where nobody answers that is noticed soon.
fn impatient(mut config: Config) -> Config {
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.default_retry = false;
    config
}

fn read_kubeconfig(path: &Path) -> anyhow::Result<Kubeconfig> {
    Kubeconfig::read_from(path).map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, error: &KubeconfigError) -> anyhow::Error {
    anyhow!("cannot use the kubeconfig {}: {}", path.display(), root_cause(error))
}

/// The namespace that a kubeconfig's current context names, if it names one.
///
/// # Errors
/// When the file cannot be read.
pub fn namespace(kubeconfig: &Path) -> anyhow::Result<Option<String>> {
    let read = read_kubeconfig(kubeconfig)?;
    let current = read.contexts.into_iter().find(|named| Some(&named.name) == read.current_context.as_ref());
    Ok(current.and_then(|named| named.context?.namespace))
}

/// Where Machines are: in the cluster of their Nodes, or in a management cluster.
#[derive(Clone)]
pub struct MachineCluster {
    /// Talks to it.
    pub client: Client,
    /// Its address, for messages.
    pub server: String,
    /// The only namespace whose Machines count; all do where there is none.
    pub namespace: Option<String>,
    /// Whether it is another cluster than that of the Nodes.
    pub is_other: bool,
}

/// A client that counts its requests and notices when a watch is accepted again.
///
/// # Errors
/// When the configuration's certificates or credentials cannot be used.
pub fn client(config: Config, metrics: Arc<Metrics>, watched: Watches) -> kube::Result<Client> {
    Ok(ClientBuilder::try_from(config)?.with_layer(&Observe { metrics, watched }).build())
}

/// A client for what only the leader may do: nothing goes over its connections when the time of this instance is over.
///
/// # Errors
/// When the configuration's certificates or credentials cannot be used.
pub fn leaders_client(
    config: &Config,
    leadership: Leadership,
    metrics: Arc<Metrics>,
    watched: Watches,
) -> kube::Result<Client> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let connector = config.rustls_https_connector_with_connector(GuardedConnector::new(connector, leadership))?;
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client);
    let builder = ClientBuilder::new(service, config.default_namespace.clone());
    Ok(builder.with_layer(&Observe { metrics, watched }).build())
}

/// One sentence for people, without the structure that the library prints.
#[must_use]
pub fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.message.is_empty() => format!("{} {}", status.code, status.reason),
        kube::Error::Api(status) => format!("{} ({} {})", status.message, status.code, status.reason),
        other => root_cause(other),
    }
}

/// One sentence for people about a watch that broke.
#[must_use]
pub fn describe_watch(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => describe(error),
        watcher::Error::WatchError(status) => format!("{} ({} {})", status.message, status.code, status.reason),
        watcher::Error::NoResourceVersion => error.to_string(),
    }
}

/// The innermost error says what happened; the outer ones only repeat it.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let timed_out = |error: &std::io::Error| error.kind() == std::io::ErrorKind::TimedOut;
    if cause.downcast_ref().is_some_and(timed_out) { "no answer in time".to_owned() } else { cause.to_string() }
}

/// Why a call did not succeed. All are worth another try.
#[derive(Debug, Error)]
pub(crate) enum ApiError {
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
    /// Another instance leads, or may by now. What was sent may have been done all the same.
    #[error("{what}: {source}")]
    NotLeading {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: NotLeading,
    },
}

impl ApiError {
    /// The HTTP status of the answer, where there was one.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Call { error: kube::Error::Api(status), .. } => Some(status.code),
            Self::Call { .. } | Self::Timeout { .. } | Self::NotLeading { .. } => None,
        }
    }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs())
}

/// Makes a call with a time-out.
pub(crate) async fn call<T>(what: &'static str, future: impl Future<Output = kube::Result<T>>) -> Result<T, ApiError> {
    match timeout(REQUEST_TIMEOUT, future).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(ApiError::Call { what, error }),
        Err(_) => Err(ApiError::Timeout { what }),
    }
}

/// Counts requests by operation and outcome, and tells a [`Watched`] when the server has accepted its watch.
#[derive(Clone)]
struct Observe {
    metrics: Arc<Metrics>,
    watched: Watches,
}

impl<S> Layer<S> for Observe {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed { inner, observe: self.clone() }
    }
}

struct Observed<S> {
    inner: S,
    observe: Observe,
}

impl<S, B> Service<Request<Body>> for Observed<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
    B: 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<B>, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let operation = Operation::of(&request);
        let observe = self.observe.clone();
        let response = self.inner.call(request);
        Box::pin(async move {
            let result = response.await;
            let code = result.as_ref().map_or("error".to_owned(), |response| response.status().as_u16().to_string());
            observe.metrics.api_requests.with_label_values(&[operation.name, &code]).inc();
            if result.as_ref().is_ok_and(|response| response.status().is_success())
                && let Some(plural) = operation.watches
            {
                observe.watched.resumed(plural);
            }
            result
        })
    }
}

/// The kinds of object that are followed.
pub const PLURALS: &[&str] =
    &["nodes", "certificatesigningrequests", "servicecidrs", "endpointslices", "configmaps", "services"];

/// A kind of Machine.
#[derive(Debug)]
pub struct MachineKind {
    /// As it is called in messages: `machines` and the group.
    pub name: &'static str,
    /// Its API group.
    pub group: &'static str,
    /// The versions that are understood, best first.
    pub versions: &'static [&'static str],
}

/// The kinds of Machine there are: Cluster API, OpenShift, kubermatic's machine-controller.
pub const MACHINES: &[MachineKind] = &[
    MachineKind { name: "machines.cluster.x-k8s.io", group: "cluster.x-k8s.io", versions: &["v1beta2", "v1beta1"] },
    MachineKind { name: "machines.machine.openshift.io", group: "machine.openshift.io", versions: &["v1beta1"] },
    MachineKind { name: "machines.cluster.k8s.io", group: "cluster.k8s.io", versions: &["v1alpha1"] },
];

/// The version in which the API server serves a kind of Machine; none where it does not know it.
pub(crate) async fn discover(client: &Client, kind: &MachineKind) -> Result<Option<ApiResource>, ApiError> {
    let request = http::Request::get(format!("/apis/{}", kind.group)).body(Vec::new());
    let what = "looking for Machines";
    let request = request.map_err(|error| ApiError::Call { what, error: kube::Error::HttpError(error) })?;
    let group: APIGroup = match call(what, client.request(request)).await {
        Ok(group) => group,
        Err(error) if error.code() == Some(404) => return Ok(None),
        Err(error) => return Err(error),
    };
    let served = |version: &&&str| group.versions.iter().any(|served| served.version == **version);
    Ok(kind.versions.iter().find(served).map(|version| {
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(kind.group, version, "Machine"), "machines")
    }))
}

/// What a request to the API server is for.
struct Operation {
    name: &'static str,
    watches: Option<&'static str>,
}

impl Operation {
    fn of(request: &Request<Body>) -> Self {
        let uri = request.uri();
        let mut segments = uri.path().rsplit('/');
        let (last, parent) = (segments.next().unwrap_or_default(), segments.next().unwrap_or_default());
        let watching = uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"));
        let plural = |segment: &str| PLURALS.iter().copied().find(|plural| *plural == segment);
        let (name, watches) = match (request.method(), parent, last) {
            (&Method::GET, _, "machines") if watching => {
                // Namespaced or not, and behind whatever proxy: the group comes after `apis`.
                let group = uri.path().split('/').skip_while(|segment| *segment != "apis").nth(1).unwrap_or_default();
                ("watch", MACHINES.iter().find(|kind| kind.group == group).map(|kind| kind.name))
            }
            (&Method::GET, _, "machines") => ("list", None),
            (&Method::GET, _, last) if watching => ("watch", plural(last)),
            (&Method::GET, "nodes", _) => ("get_node", None),
            (&Method::GET, "certificatesigningrequests", _) => ("get_request", None),
            (&Method::GET, _, last) if plural(last).is_some() => ("list", None),
            (&Method::PATCH, _, "approval") => ("write_approval", None),
            (&Method::POST, _, "events") => ("create_event", None),
            (&Method::POST, _, "selfsubjectaccessreviews") => ("review_access", None),
            (_, "leases", _) | (&Method::POST, _, "leases") => ("lease", None),
            (_, "configmaps", _) | (&Method::POST, _, "configmaps") => ("keep_claims", None),
            _ => ("other", None),
        };
        Self { name, watches }
    }
}
