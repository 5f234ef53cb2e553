//! A proxy between a client and the API server that does to requests what networks, load balancers and busy API servers
//! do. It ends TLS with a certificate of the cluster's authority, and speaks TLS to the API server; tokens pass through.

mod exchange;
pub mod fault;
mod stream;

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::components::API_PORT;
use super::control_plane::{ControlPlane, url};
use super::{network, tls};
use exchange::Upstream;
use fault::Faults;

/// What the proxy answers with. An error in it tears the connection down.
pub(crate) type Body = BoxBody<Bytes, io::Error>;

/// A running proxy, gone when dropped.
pub struct Proxy {
    address: Ipv4Addr,
    faults: Arc<Faults>,
    open: Arc<AtomicUsize>,
    task: JoinHandle<Infallible>,
}

impl Proxy {
    /// Starts one in front of the control plane's API server.
    pub async fn start(control_plane: &ControlPlane) -> Result<Self> {
        let address = network::next_control_plane();
        network::add_addresses(&[address.into()])?;
        let identity = control_plane.pki().server("kube-apiserver", &[], &[address.into()])?;
        let acceptor = TlsAcceptor::from(Arc::new(tls::server_config(&identity)?));
        let listener = TcpListener::bind(SocketAddr::from((address, API_PORT))).await?;
        let faults = Arc::new(Faults::default());
        let open = Arc::new(AtomicUsize::new(0));
        let server = SocketAddr::from((control_plane.address(), API_PORT));
        let upstream = Upstream::new(server, control_plane.pki().ca_pem(), faults.clone());
        let task = tokio::spawn(accept(listener, acceptor, upstream, open.clone()));
        Ok(Self { address, faults, open, task })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        url(self.address)
    }

    /// What it does to requests.
    pub fn faults(&self) -> &Arc<Faults> {
        &self.faults
    }

    /// How many connections clients have to it.
    pub fn open_connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    upstream: Upstream,
    open: Arc<AtomicUsize>,
) -> Infallible {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, say: those that are open come free.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (acceptor, upstream, open) = (acceptor.clone(), upstream.clone(), open.clone());
        tokio::spawn(async move {
            open.fetch_add(1, Ordering::Relaxed);
            // A client that goes away in between is part of the game.
            let _ = serve(stream, acceptor, upstream).await;
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, upstream: Upstream) -> Result<()> {
    stream.set_nodelay(true)?;
    let stream = TokioIo::new(acceptor.accept(stream).await?);
    let service = service_fn(move |request: Request<Incoming>| {
        let upstream = upstream.clone();
        async move { upstream.answer(request).await }
    });
    http1::Builder::new().serve_connection(stream, service).await?;
    Ok(())
}

/// An answer, or an error that tears the connection down in its place.
pub(crate) type Answer = Result<Response<Body>, io::Error>;

pub(crate) fn torn() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionReset)
}
