//! Just enough HTTP to read a health endpoint or metrics.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// The status code and body of a GET.
pub async fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    get_over(TcpStream::connect(address).await?, path).await
}

/// The status code and body of a GET over a connection. HTTP/1.0, so that the body ends with the connection and is never chunked.
pub async fn get_over(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> Result<(u16, String)> {
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an HTTP answer without an empty line")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((status.with_context(|| format!("no status code in {head:?}"))?, body.to_owned()))
}
