//! The next page of a list is asked for while the one before is on its way.
//!
//! The API server takes about as long to make a page as it takes to send and read one: asked for one after the other,
//! each side would wait for the other half of the time.

use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Bytes;
use kube::client::Body;
use parking_lot::Mutex;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, yield_now};
use tower::{BoxError, Layer, Service, ServiceExt};

/// Asks for the page after the one that is waited for, if there is one, as soon as its beginning has come. Of each list, no
/// more than one page waits.
#[derive(Clone, Copy)]
pub(super) struct ReadAhead;

impl<S> Layer<S> for ReadAhead {
    type Service = ReadingAhead<S>;

    fn layer(&self, inner: S) -> ReadingAhead<S> {
        ReadingAhead { inner, pages: Arc::default() }
    }
}

#[derive(Clone)]
pub(super) struct ReadingAhead<S> {
    inner: S,
    /// By their lists, with the token at which each begins.
    pages: Arc<Mutex<HashMap<String, (String, Page)>>>,
}

/// A page that was asked for.
struct Page {
    /// The token at which the next one begins; nothing where there is none, or the page cannot be had.
    next: oneshot::Receiver<String>,
    answer: JoinHandle<Result<Response<Vec<u8>>, BoxError>>,
}

impl Page {
    fn ask<S, B>(service: S, request: Request<Body>) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error = BoxError> + Send + 'static,
        S::Future: Send + 'static,
        B: hyper::body::Body<Data = Bytes, Error = BoxError> + Send + 'static,
    {
        let (tell_next, next) = oneshot::channel();
        Self { next, answer: tokio::spawn(read(service, request, tell_next)) }
    }
}

impl Drop for Page {
    /// Nobody is going to ask for it.
    fn drop(&mut self) {
        self.answer.abort();
    }
}

impl<S, B> Service<Request<Body>> for ReadingAhead<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: hyper::body::Body<Data = Bytes, Error = BoxError> + Send + 'static,
{
    type Response = Response<Either<B, Full<Bytes>>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some((list, token)) = page(&request) else {
            let answer = self.inner.call(request);
            return Box::pin(async { Ok(answer.await?.map(Either::Left)) });
        };
        let inner = self.inner.clone();
        let ahead = self.pages.lock().remove(list).filter(|(begins, _)| Some(&**begins) == token);
        let (list, pages) = (list.to_owned(), self.pages.clone());
        let headers = request.headers().clone();
        Box::pin(async move {
            let mut page = match ahead {
                Some((_, page)) => page,
                None => Page::ask(inner.clone(), request),
            };
            if let Ok(token) = (&mut page.next).await
                && let Ok(uri) = format!("{list}{CONTINUE}{token}").parse::<Uri>()
            {
                let mut request = Request::new(Body::empty());
                (*request.uri_mut(), *request.headers_mut()) = (uri, headers);
                pages.lock().insert(list, (token, Page::ask(inner, request)));
                // What reads this page, if all of it is there, would keep the request from being sent.
                yield_now().await;
            }
            let answer = (&mut page.answer).await??;
            Ok(answer.map(|body| Either::Right(Full::new(body.into()))))
        })
    }
}

const CONTINUE: &str = "&continue=";

/// What list a request is for a page of, and at what token it begins if it is not the first. The library puts the token
/// last.
fn page(request: &Request<Body>) -> Option<(&str, Option<&str>)> {
    let text = request.uri().path_and_query()?.as_str();
    if request.method() != Method::GET || !text.contains("&limit=") {
        return None;
    }
    Some(text.split_once(CONTINUE).map_or((text, None), |(list, token)| (list, Some(token))))
}

/// A whole answer. Tells where the next page begins as soon as it is known: an error has a token, too, where a list
/// expired, for those who go on with what is not of one moment.
async fn read<S, B>(
    service: S,
    request: Request<Body>,
    tell_next: oneshot::Sender<String>,
) -> Result<Response<Vec<u8>>, BoxError>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    B: hyper::body::Body<Data = Bytes, Error = BoxError>,
{
    let (head, body) = service.oneshot(request).await?.into_parts();
    let mut tell_next = Some(tell_next).filter(|_| head.status.is_success());
    let mut body = pin!(body);
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(part) = frame?.into_data() {
            read.extend_from_slice(&part);
            if tell_next.is_some()
                && let Some(token) = next_token(&read)
                && let Some(tell_next) = tell_next.take()
            {
                // Nobody may want to know any more.
                let _ = tell_next.send(token);
            }
        }
    }
    Ok(Response::from_parts(head, read))
}

/// The token at which the next page begins, if there is one and it has come: of a list, which comes before what is in it.
fn next_token(answer: &[u8]) -> Option<String> {
    let mut token = None;
    // Ends at what is looked for, as if that were an error.
    let _ = serde_json::Deserializer::from_slice(answer).deserialize_map(ToToken(&mut token));
    // Others would have to be encoded; the API server uses none.
    token.filter(|token| !token.is_empty() && token.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it)))
}

struct ToToken<'a>(&'a mut Option<String>);

impl<'de> Visitor<'de> for ToToken<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        #[derive(Deserialize)]
        struct Metadata {
            #[serde(rename = "continue")]
            token: Option<String>,
        }
        while let Some(key) = map.next_key::<String>()? {
            if key == "metadata" {
                *self.0 = map.next_value::<Metadata>()?.token;
                return Ok(());
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::{StreamExt, stream};
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use kube::api::ListParams;
    use kube::{Api, Client};
    use tokio::sync::Notify;
    use tokio::time::timeout;

    use super::*;
    use crate::api::Node;

    /// An API server with pages of one Node, that notes what it was asked for. What comes after the beginning of a page
    /// that is not the last comes when another one was asked for.
    #[derive(Default)]
    struct Server {
        asked: Mutex<Vec<String>>,
        again: Notify,
        expired: bool,
    }

    impl Server {
        fn client(self: &Arc<Self>) -> Client {
            let server = self.clone();
            let service = tower::service_fn(move |request: Request<Body>| {
                let server = server.clone();
                let status = if server.expired { 410 } else { 200 };
                async move {
                    let (is_last, parts) = server.answer(&request);
                    let asked = server.asked.lock().len();
                    let parts = stream::iter(parts.into_iter().enumerate()).then(move |(number, part)| {
                        let server = server.clone();
                        async move {
                            if number > 0 && !is_last && !server.expired {
                                server.asked(asked + 1).await;
                            }
                            Ok::<_, BoxError>(Frame::data(part))
                        }
                    });
                    Ok::<_, BoxError>(Response::builder().status(status).body(StreamBody::new(Box::pin(parts)))?)
                }
            });
            Client::new(ReadAhead.layer(service), "default")
        }

        /// Whether it is the last page, and its parts.
        fn answer(&self, request: &Request<Body>) -> (bool, [Bytes; 2]) {
            let query = request.uri().query().unwrap_or_default().to_owned();
            let next = match query.split_once("continue=") {
                None => r#""continue": "2""#,
                Some((_, "2")) => r#""continue": "3", "remainingItemCount": 1"#,
                Some(_) => "",
            };
            self.asked.lock().push(query);
            self.again.notify_waiters();
            let node = r#"{"metadata": {"name": "n", "managedFields": [{"manager": "\""}]}}"#;
            let beginning = format!(r#"{{"kind": "NodeList", "metadata": {{{next}}}, "items": ["#);
            (next.is_empty(), [beginning.into(), format!("{node}]}}").into()])
        }

        /// Waits until it was asked so many times.
        async fn asked(&self, times: usize) {
            while self.asked.lock().len() < times {
                self.again.notified().await;
            }
        }
    }

    async fn page(client: &Client, token: Option<&str>) -> Option<String> {
        let parameters = ListParams { continue_token: token.map(str::to_owned), ..ListParams::default().limit(1) };
        let list = Api::<Node>::all(client.clone()).list(&parameters).await.unwrap();
        assert_eq!(list.items[0].metadata.name.as_deref(), Some("n"));
        list.metadata.continue_
    }

    #[tokio::test(start_paused = true)]
    async fn one_page_is_asked_for_ahead_and_no_page_twice() {
        let server = Arc::new(Server::default());
        let client = server.client();
        let second = page(&client, None).await;
        server.asked(2).await;
        // Nothing more comes before the second page is taken.
        assert!(timeout(Duration::from_mins(1), server.asked(3)).await.is_err());
        let third = page(&client, second.as_deref()).await;
        server.asked(3).await;
        assert_eq!(page(&client, third.as_deref()).await, None);
        assert_eq!(*server.asked.lock(), ["&limit=1", "&limit=1&continue=2", "&limit=1&continue=3"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_begins_anew_gets_no_page_of_the_last_one() {
        let server = Arc::new(Server::default());
        let client = server.client();
        page(&client, None).await;
        server.asked(2).await;
        page(&client, None).await;
        server.asked(4).await;
        assert_eq!(page(&client, Some("3")).await, None);
        let first_twice = ["&limit=1", "&limit=1&continue=2", "&limit=1", "&limit=1&continue=2", "&limit=1&continue=3"];
        assert_eq!(*server.asked.lock(), first_twice);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_asked_for_after_an_error() {
        let server = Arc::new(Server { expired: true, ..Server::default() });
        let api = Api::<Node>::all(server.client());
        assert!(api.list(&ListParams::default().limit(1)).await.is_err());
        assert!(timeout(Duration::from_mins(1), server.asked(2)).await.is_err());
    }

    #[test]
    fn the_token_is_the_lists_own() {
        for (answer, token) in [
            (
                r#"{"kind": "List", "metadata": {"resourceVersion": "7", "continue": "a-Z_0"}, "items": []}"#,
                Some("a-Z_0"),
            ),
            (r#"{"items": [{"metadata": {"continue": "no"}}], "metadata": {"continue": "yes"}}"#, Some("yes")),
            (r#"{"metadata": {"continue": ""}, "items": []}"#, None),
            (r#"{"metadata": {"continue": "a&limit=9"}, "items": []}"#, None),
            (r#"{"metadata": {}, "items": [{"metadata": {"continue": "no"}}]}"#, None),
            (r#"{"kind": "Status", "code": 410}"#, None),
            ("no JSON", None),
            ("", None),
        ] {
            assert_eq!(next_token(answer.as_bytes()).as_deref(), token, "{answer}");
        }
    }
}
