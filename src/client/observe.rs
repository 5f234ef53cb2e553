//! What is done with every request to the API server.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Method, Request, Response};
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

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        read_consistently(&mut request);
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

/// A list that is the beginning of a watch is asked for as it is now. The library asks for one of any age, which an API
/// server that lags behind may give; asked for without a version it is at least as new as the request (KEP-3157).
fn read_consistently(request: &mut Request<Body>) {
    let uri = request.uri();
    if !is_streamed_list(uri) {
        return;
    }
    let Some(fresh) = uri.path_and_query().map(|it| it.as_str().replace("&resourceVersion=0", "")) else { return };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = fresh.parse().ok();
    if let Ok(uri) = http::Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

fn has(uri: &http::Uri, parameter: &str) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|pair| pair == parameter))
}

fn is_streamed_list(uri: &http::Uri) -> bool {
    has(uri, "sendInitialEvents=true")
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
        let watching = has(uri, "watch=true");
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
        // One that begins with a list is not where it was before that broke.
        Self { name, watches: watches.filter(|_| !is_streamed_list(uri)) }
    }
}

#[cfg(test)]
mod tests {
    use kube::api::WatchParams;
    use kube::core;

    use super::*;

    /// The query of a watch as it is sent, which the library would begin at this version.
    fn sent(parameters: &WatchParams, version: &str) -> String {
        let request = core::Request::new("/api/v1/nodes").watch(parameters, version).unwrap();
        let mut request = request.map(Body::from);
        read_consistently(&mut request);
        request.uri().query().unwrap().to_owned()
    }

    #[test]
    fn a_streamed_list_is_not_one_of_any_age() {
        let listing = WatchParams::default().initial_events();
        let query = sent(&listing, "0");
        assert!(
            query.contains("sendInitialEvents=true") && query.contains("resourceVersionMatch=NotOlderThan"),
            "{query}"
        );
        assert!(!query.contains("resourceVersion="), "{query}");
        let query = sent(&WatchParams::default(), "0");
        assert!(query.contains("resourceVersion=0"), "{query}");
    }
}
