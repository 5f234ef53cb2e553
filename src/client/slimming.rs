//! Every answer about an object that is followed is slimmed on its way, before anybody reads it as text. Only what comes
//! back of an object that was written stays as it is: that of a request is passed over, and the ConfigMap is our own.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use hyper::body::{Body, Bytes, Frame};
use tower::{BoxError, Layer, Service};

use super::kept;
use super::observe::is_watch;
use super::slim::Slim;

/// Slims lists, watches, and answers of single objects.
#[derive(Clone, Copy)]
pub(super) struct Slimming;

impl<S> Layer<S> for Slimming {
    type Service = SlimmingService<S>;

    fn layer(&self, inner: S) -> SlimmingService<S> {
        SlimmingService { inner }
    }
}

#[derive(Clone)]
pub(super) struct SlimmingService<S> {
    inner: S,
}

impl<S, B, Sent> Service<Request<Sent>> for SlimmingService<S>
where
    S: Service<Request<Sent>, Response = Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<Slimmed<B>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Sent>) -> Self::Future {
        let slim = kept::at(request.uri().path()).map(Slim::new);
        let (is_watch, is_read) = (is_watch(request.uri()), request.method() == Method::GET);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            // What the server says against a write is kept, and may quote the object.
            let slim = slim.filter(|_| is_read || !answer.status().is_success());
            Ok(answer.map(|body| Slimmed { body: Box::pin(body), slim, is_watch }))
        })
    }
}

/// The body of an answer, without what nothing here reads.
pub(super) struct Slimmed<B> {
    body: Pin<Box<B>>,
    slim: Option<Slim>,
    is_watch: bool,
}

impl<B> Body for Slimmed<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Slimmed { body, slim, is_watch } = &mut *self;
        loop {
            let frame = ready!(body.as_mut().poll_frame(context)).transpose().map_err(Into::into)?;
            let Some(slim) = slim else { return Poll::Ready(frame.map(Ok)) };
            let kept = match frame.map(Frame::into_data) {
                Some(Ok(part)) if *is_watch => of_lines(slim, &part),
                Some(Ok(part)) => {
                    slim.push(&part);
                    slim.take()
                }
                Some(Err(other)) => return Poll::Ready(Some(Ok(other))),
                None => {
                    let rest = slim.finish();
                    return Poll::Ready((!rest.is_empty()).then(|| Ok(Frame::data(rest.into()))));
                }
            };
            // Of megabytes that nobody reads, nothing is left for a while.
            if !kept.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(kept.into()))));
            }
        }
    }
}

/// Each event of a watch is a line of its own. Whatever one of them holds, the next is read.
fn of_lines(slim: &mut Slim, part: &[u8]) -> Vec<u8> {
    for line in part.split_inclusive(|byte| *byte == b'\n') {
        slim.push(line);
        if line.ends_with(b"\n") {
            slim.next_line();
        }
    }
    slim.take()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::ready;

    use futures::stream;
    use http_body_util::{BodyExt, StreamBody};
    use tower::ServiceExt;

    use super::*;

    /// What is left of an answer that comes in these parts.
    async fn answer(uri: &'static str, parts: Vec<Vec<u8>>) -> String {
        answer_to(Request::get(uri).body(()).unwrap(), 200, parts).await
    }

    async fn answer_to(request: Request<()>, status: u16, parts: Vec<Vec<u8>>) -> String {
        let frames = parts.into_iter().map(|part| Ok::<_, Infallible>(Frame::data(Bytes::from(part))));
        let body = StreamBody::new(stream::iter(frames));
        let answer = Response::builder().status(status).body(body).unwrap();
        let service = tower::service_fn(move |_| ready(Ok::<_, BoxError>(answer.clone())));
        let answer = Slimming.layer(service).oneshot(request).await.unwrap();
        String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    const NODE: &[u8] = b"{\"metadata\": {\"name\": \"a\", \"managedFields\": [{\"f:\xff\": {}}]}}";
    const SLIM: &str = r#"{"metadata": {"name": "a", "managedFields": []}}"#;

    #[tokio::test]
    async fn lists_watches_and_single_objects_become_slim_and_text() {
        for end in 0..NODE.len() {
            let (first, second) = NODE.split_at(end);
            let parts = vec![first.to_vec(), second.to_vec()];
            for uri in ["/api/v1/nodes", "/api/v1/nodes/a", "/api/v1/nodes?watch=true", "/apis/g/v1/machines?&limit=7"]
            {
                assert_eq!(answer(uri, parts.clone()).await, SLIM, "{uri}");
            }
        }
        let lease = r#"{"metadata": {"name": "a", "annotations": {"a": "b"}}}"#;
        let uri = "/apis/coordination.k8s.io/v1/namespaces/nodes/leases/nodes";
        assert_eq!(answer(uri, vec![lease.into()]).await, lease);
    }

    #[tokio::test]
    async fn what_is_said_against_a_write_becomes_slim_and_what_was_written_does_not() {
        let write = || Request::patch("/apis/certificates.k8s.io/v1/certificatesigningrequests/a/approval").body(());
        let said = format!(r#"{{"message": "{}"}}"#, "a".repeat(1 << 20));
        let of = async |status| answer_to(write().unwrap(), status, vec![said.clone().into_bytes()]).await;
        assert_eq!(of(200).await, said);
        for status in [400, 422, 500] {
            assert!(of(status).await.len() < 100, "{status}");
        }
    }

    #[tokio::test]
    async fn events_come_as_they_are_whatever_came_before() {
        let events = [b"{\"metadata\": {\"a\": [\"\n", NODE, b"\n", NODE, b"\n{\"type\": \"BOOK"].concat();
        for end in 0..events.len() {
            let (first, second) = events.split_at(end);
            let kept = answer("/api/v1/nodes?watch=true", vec![first.to_vec(), second.to_vec()]).await;
            let lines: Vec<&str> = kept.lines().collect();
            assert_eq!(lines[lines.len() - 3..], [SLIM, SLIM, "{\"type\": \"BOOK"], "{end}");
        }
    }
}
