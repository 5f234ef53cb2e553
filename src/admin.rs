//! `/metrics`, `/healthz` and `/readyz` on one port.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::controller::Controller;
use crate::metrics::Metrics;
use crate::watch::{Health, Watches};

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
///
/// # Errors
/// When the listener breaks.
pub async fn serve(listener: TcpListener, admin: Arc<Admin>) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(admin);
    axum::serve(listener, router).await
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
