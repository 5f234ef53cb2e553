//! What a server presents to somebody who trusts the cluster's authority alone.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::pki::Identity;

/// Connects to a server, and verifies its certificate up to the authority and for its address.
pub async fn connect(server: SocketAddr, ca_pem: &str) -> Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes())?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(server).await.with_context(|| format!("connect to {server}"))?;
    let name = ServerName::IpAddress(server.ip().into());
    Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
}

/// A server's side of TLS, with this certificate.
pub fn server_config(identity: &Identity) -> Result<ServerConfig> {
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
    Ok(ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?)
}

/// The certificate (DER) a server proves to have, verified likewise.
pub async fn verified_certificate(server: SocketAddr, ca_pem: &str) -> Result<Vec<u8>> {
    let stream = connect(server, ca_pem).await?;
    let leaf =
        stream.get_ref().1.peer_certificates().and_then(<[_]>::first).context("the server presented no certificate")?;
    Ok(leaf.to_vec())
}

/// The first certificate (DER) of a PEM file.
pub fn certificate_in(path: &Path) -> Result<Vec<u8>> {
    let certificate = CertificateDer::from_pem_file(path).with_context(|| format!("read {}", path.display()))?;
    Ok(certificate.to_vec())
}
