//! The connection to the API server: where it is, how long it may take, and what goes over it.

mod discovery;
mod failure;
mod kept;
mod machines;
mod observe;
mod patience;
mod read_ahead;
mod slim;
mod slimming;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ClientBuilder, ConfigExt as _};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tower::{BoxError, Service, ServiceBuilder};

use crate::lease::{GuardedConnector, Leadership};
use crate::metrics::Metrics;
use crate::watch::Watches;
pub(crate) use discovery::{discover, is_served};
use failure::root_cause;
pub(crate) use failure::{ApiError, call, get_opt};
pub use failure::{describe, describe_watch};
pub use machines::{MACHINES, MachineCluster, MachineKind};
use observe::Observe;
use read_ahead::ReadAhead;
use slimming::Slimming;

/// How long one request may take, from sending it to having read the answer. Of what is long, such as lists, each part.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection is kept on which nothing goes: what a storm has opened is closed soon after it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

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

/// A client that counts its requests and notices when a watch is accepted again.
///
/// # Errors
/// When the configuration's certificates or credentials cannot be used.
pub fn client(config: &Config, metrics: Arc<Metrics>, watched: Watches) -> kube::Result<Client> {
    let service = service(config, connector())?;
    let builder = ClientBuilder::new(service, config.default_namespace.clone());
    Ok(builder.with_layer(&Observe { metrics, watched }).with_layer(&Slimming).with_layer(&ReadAhead).build())
}

/// A client for what a person asks. It follows nothing.
///
/// # Errors
/// When the configuration's certificates or credentials cannot be used, or it asks for a proxy.
pub fn users_client(config: &Config) -> kube::Result<Client> {
    if let Some(proxy) = &config.proxy_url {
        return Err(kube::Error::ProxyProtocolUnsupported { proxy_url: Box::new(proxy.clone()) });
    }
    let builder = ClientBuilder::new(service(config, connector())?, config.default_namespace.clone());
    Ok(builder.with_layer(&Slimming).with_layer(&ReadAhead).build())
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
    let service = service(config, GuardedConnector::new(connector(), leadership))?;
    let builder = ClientBuilder::new(service, config.default_namespace.clone());
    Ok(builder.with_layer(&Observe { metrics, watched }).with_layer(&Slimming).build())
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    // What is sent in two parts would wait for the acknowledgement of the first, which takes 40 ms.
    connector.set_nodelay(true);
    connector
}

/// Sends requests as the configuration wants them, over connections that are made like this.
fn service<C>(
    config: &Config,
    connector: C,
) -> kube::Result<
    impl Service<Request<Body>, Response = Response<Incoming>, Error = BoxError, Future: Send> + Clone + Send + use<C>,
>
where
    C: Service<Uri, Response: Read + Write + Connection + Send + Unpin, Error: Into<BoxError>, Future: Send>,
    C: Clone + Send + Sync + 'static,
{
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(connector)?);
    // With the handshake.
    connector.set_connect_timeout(config.connect_timeout);
    let mut client = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
    let client = client.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_TIMEOUT).build(connector);
    Ok(ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client))
}

/// The kinds of object that are followed.
pub const PLURALS: &[&str] =
    &["nodes", "certificatesigningrequests", "servicecidrs", "endpointslices", "configmaps", "services"];
