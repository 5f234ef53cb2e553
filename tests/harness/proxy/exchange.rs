//! One request: forwarded, answered, and what goes wrong in between.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::stream;
use http::header::{CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::super::tls;
use super::fault::{Fault, Faults, Target};
use super::{Answer, Body, stream as watch_stream, torn};

/// How large the pieces of a slow answer are, and how long the pauses between them.
const PIECE: usize = 2048;
const PAUSE: Duration = Duration::from_millis(5);

/// The API server behind the proxy.
#[derive(Clone)]
pub struct Upstream {
    server: SocketAddr,
    ca_pem: Arc<str>,
    faults: Arc<Faults>,
}

/// An answer of the API server that is complete.
type Complete = Response<Bytes>;

impl Upstream {
    pub fn new(server: SocketAddr, ca_pem: &str, faults: Arc<Faults>) -> Self {
        Self { server, ca_pem: ca_pem.into(), faults }
    }

    /// Answers a request of a client.
    pub async fn answer(&self, request: Request<Incoming>) -> Answer {
        let target = Target::of(request.method(), request.uri());
        let fault = self.faults.take(target, request.uri().path());
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let mut request = Request::from_parts(parts, Full::new(body));
        if let Ok(host) = HeaderValue::from_str(&self.server.to_string()) {
            request.headers_mut().insert(HOST, host);
        }
        match fault {
            Some(Fault::Refused) => return Err(torn()),
            Some(Fault::Hung) => pending().await,
            Some(Fault::Status(code)) => return Ok(status(code)),
            Some(Fault::Late(time)) => sleep(time).await,
            _ => {}
        }
        if target == Target::Watch {
            return self.watch(request, fault).await;
        }
        // Once it is forwarded it is carried through, whatever the client does meanwhile.
        let (answer, answered) = oneshot::channel();
        let upstream = self.clone();
        let forwarding = tokio::spawn(async move { answer.send(upstream.forward(request).await) }).abort_handle();
        if fault == Some(Fault::Cut) {
            return cut_off(&forwarding).await;
        }
        let answer = answered.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
        self.spoil(answer, fault).await
    }

    async fn spoil(&self, answer: Complete, fault: Option<Fault>) -> Answer {
        match fault {
            Some(Fault::AnswerLost) => Err(torn()),
            Some(Fault::DoneButHung) => pending().await,
            Some(Fault::DoneButStatus(code)) => Ok(status(code)),
            Some(Fault::AnswerLate(time)) => {
                sleep(time).await;
                Ok(whole(answer))
            }
            Some(Fault::Slow) => Ok(slow(answer)),
            Some(Fault::Truncated) => Ok(truncated(answer)),
            _ => Ok(whole(answer)),
        }
    }

    async fn forward(&self, request: Request<Full<Bytes>>) -> Result<Complete> {
        let (parts, body) = self.send(request).await?.into_parts();
        Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
    }

    async fn watch(&self, request: Request<Full<Bytes>>, fault: Option<Fault>) -> Answer {
        let path = request.uri().path().to_owned();
        let answer = self.send(request).await.map_err(io::Error::other)?;
        match fault {
            Some(Fault::AnswerLost | Fault::Cut | Fault::Truncated) => return Err(torn()),
            Some(Fault::DoneButHung) => pending().await,
            Some(Fault::DoneButStatus(code)) => return Ok(status(code)),
            Some(Fault::AnswerLate(time)) => sleep(time).await,
            _ => {}
        }
        let (parts, body) = answer.into_parts();
        let slow = fault == Some(Fault::Slow);
        let body = watch_stream::pump(body, self.faults.open_stream(path), if slow { PAUSE } else { Duration::ZERO });
        Ok(Response::from_parts(parts, body))
    }

    /// Over a connection of its own, so that nothing is shared that could hide a fault.
    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        let stream = TokioIo::new(tls::connect(self.server, &self.ca_pem).await?);
        let (mut sender, connection) = http1::handshake(stream).await?;
        tokio::spawn(connection);
        sender.send_request(request).await.context("no answer of the API server")
    }
}

/// Lets the API server begin, and breaks the connections at a moment that nobody chose.
async fn cut_off(forwarding: &AbortHandle) -> Answer {
    sleep(Duration::from_millis(3)).await;
    forwarding.abort();
    Err(torn())
}

fn whole(answer: Complete) -> Response<Body> {
    answer.map(|bytes| Full::new(bytes).map_err(|never| match never {}).boxed())
}

fn slow(answer: Complete) -> Response<Body> {
    answer.map(|bytes| {
        let pieces = stream::unfold(bytes, async |mut rest| {
            if rest.is_empty() {
                return None;
            }
            sleep(PAUSE).await;
            let piece = rest.split_to(PIECE.min(rest.len()));
            Some((Ok(Frame::data(piece)), rest))
        });
        BodyExt::boxed(StreamBody::new(Box::pin(pieces)))
    })
}

fn truncated(answer: Complete) -> Response<Body> {
    answer.map(|mut bytes| {
        bytes.truncate(bytes.len() / 2);
        BodyExt::boxed(StreamBody::new(stream::iter([Ok(Frame::data(bytes)), Err(torn())])))
    })
}

/// What load balancers and busy API servers say.
fn status(code: u16) -> Response<Body> {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let reason = status.canonical_reason().unwrap_or_default().replace(' ', "");
    let text = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason,
        "message": format!("made up by the proxy of the tests: {code}"),
    });
    // A load balancer knows nothing of Status objects.
    let text = match code {
        404 => "no such backend\n".to_owned(),
        503 | 504 => String::new(),
        _ => text.to_string(),
    };
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed();
    let mut response: Response<Body> = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if code == 429 {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
