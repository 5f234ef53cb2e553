//! What is done with every request to the API server.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Method, Request, Response, Uri};
use kube::client::Body;
use tokio::time::timeout;
use tower::{BoxError, Layer, Service};

use super::patience::{NoAnswer, Patient};
use super::{MACHINES, PLURALS, REQUEST_TIMEOUT};
use crate::metrics::Metrics;
use crate::watch::Watches;

/// Counts requests by operation and outcome, gives up those that nobody answers, and tells a
/// [`crate::watch::Watched`] when the server has accepted its watch.
#[derive(Clone)]
pub(super) struct Observe {
    pub(super) metrics: Arc<Metrics>,
    pub(super) watched: Watches,
}

impl<S> Layer<S> for Observe {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed { inner, observe: self.clone() }
    }
}

#[derive(Clone)]
pub(super) struct Observed<S> {
    inner: S,
    observe: Observe,
}

impl<S, B> Service<Request<Body>> for Observed<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
    B: 'static,
{
    type Response = Response<Patient<B>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let operation = Operation::of(&request);
        let observe = self.observe.clone();
        let response = self.inner.call(request);
        Box::pin(async move {
            let result = match timeout(REQUEST_TIMEOUT, response).await {
                Ok(result) => result,
                Err(_) => Err(NoAnswer.into()),
            };
            let code = result.as_ref().map_or("error".to_owned(), |response| response.status().as_u16().to_string());
            observe.metrics.api_requests.with_label_values(&[operation.name, &code]).inc();
            if result.as_ref().is_ok_and(|response| response.status().is_success())
                && let Some(plural) = operation.watches
            {
                observe.watched.resumed(plural);
            }
            // The watcher itself gives up a watch on which nothing comes.
            let patience = (operation.name != "watch").then_some(REQUEST_TIMEOUT);
            result.map(|response| response.map(|body| Patient::new(body, patience)))
        })
    }
}

/// Whether events are asked for, and not a list.
pub(super) fn is_watch(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"))
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
        let watching = is_watch(uri);
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
            (&Method::PUT | &Method::PATCH, _, "approval") => ("write_approval", None),
            (&Method::POST, _, "events") => ("create_event", None),
            (&Method::POST, _, "selfsubjectaccessreviews") => ("review_access", None),
            (_, "leases", _) | (&Method::POST, _, "leases") => ("lease", None),
            (_, "configmaps", _) | (&Method::POST, _, "configmaps") => ("keep_claims", None),
            _ => ("other", None),
        };
        Self { name, watches }
    }
}
