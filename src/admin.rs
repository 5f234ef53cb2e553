//! `/metrics`, `/healthz` and `/readyz` on one port.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::controller::Controller;
use crate::metrics::Metrics;
use crate::watch::{Health, Watches};

/// How many connections there may be. One more, and the oldest is closed: who asks has its answer within milliseconds,
/// and who does not keeps nobody else from asking.
const CONNECTIONS: usize = 64;
/// How long a connection may last, for one request and its answer.
const LASTS: Duration = Duration::from_secs(10);
/// How long to wait where no connection can be taken.
const PAUSE: Duration = Duration::from_secs(1);

/// What the endpoints tell of.
pub struct Admin {
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// What is followed.
    pub watched: Watches,
    /// What knows the gauges.
    pub controller: Arc<Controller>,
}

/// Takes the port, so that an occupied one is found before anything else is begun.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address} (--admin-address)"))
}

/// Serves until the program ends.
pub async fn serve(listener: TcpListener, admin: Arc<Admin>) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(admin);
    take_connections(listener, router).await;
}

/// Anybody in the network of the pods may connect, and say nothing.
async fn take_connections(listener: TcpListener, router: Router) {
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the admin port takes no connections; trying again");
                sleep(PAUSE).await;
                continue;
            }
        };
        open.retain(|connection| !connection.is_finished());
        if open.len() >= CONNECTIONS
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        let service = TowerToHyperService::new(router.clone());
        let connection = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
        open.push_back(tokio::spawn(timeout(LASTS, connection)).abort_handle());
    }
}

async fn metrics(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    admin.controller.update_gauges();
    match admin.metrics.render() {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text),
        Err(error) => {
            let text = format!("{error}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
        }
    }
}

/// Ready means: the policy is loaded, without which the program does not start, and every watch follows the cluster.
async fn readyz(State(admin): State<Arc<Admin>>) -> (StatusCode, String) {
    let mut text = "[+] policy loaded\n".to_owned();
    let mut status = StatusCode::OK;
    for watched in admin.watched.iter() {
        let (mark, state) = match watched.health() {
            Health::Live => ('+', "followed".to_owned()),
            Health::Syncing => ('-', "being listed".to_owned()),
            Health::Down(why) => ('-', format!("not followed: {why}")),
        };
        if mark == '-' {
            status = StatusCode::SERVICE_UNAVAILABLE;
        }
        let _ = writeln!(text, "[{mark}] {} {state}", watched.name()); // a String takes whatever is written
    }
    (status, text)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    async fn served() -> SocketAddr {
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(|| async { "ok" }));
        tokio::spawn(take_connections(listener, router));
        address
    }

    /// Everything that comes until the connection is closed; none where it is not.
    async fn rest(stream: &mut TcpStream) -> Option<String> {
        let mut text = String::new();
        let read = timeout(LASTS / 4, stream.read_to_string(&mut text)).await;
        read.ok().map(|read| read.map_or_else(|error| error.to_string(), |_| text))
    }

    #[tokio::test]
    async fn connections_that_say_nothing_keep_nobody_from_asking() {
        let address = served().await;
        let mut silent = Vec::new();
        for _ in 0..2 * CONNECTIONS {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let mut asking = TcpStream::connect(address).await.unwrap();
        asking.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let answer = rest(&mut asking).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer}");
        assert_eq!(rest(&mut silent[0]).await.as_deref(), Some(""), "the oldest is open");
        let newest = silent.last_mut().unwrap();
        assert_eq!(rest(newest).await, None, "the newest is closed");
    }

    #[tokio::test]
    async fn a_connection_that_goes_on_without_end_is_closed() {
        let mut stream = TcpStream::connect(served().await).await.unwrap();
        // The time goes on by itself where nothing else happens.
        tokio::time::pause();
        stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        sleep(LASTS * 3 / 4).await;
        stream.write_all(b"Host: a\r\n").await.unwrap();
        sleep(LASTS / 2).await;
        tokio::time::resume();
        assert!(rest(&mut stream).await.is_some(), "it is open");
    }
}
