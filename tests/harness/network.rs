//! Addresses for the servers and nodes of the sandbox.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Context, Result, bail};

use super::binary;

static CONTROL_PLANES: AtomicU8 = AtomicU8::new(1);
static NODES: AtomicU8 = AtomicU8::new(11);

/// An address for the next control plane: each has its own, so all can use the usual ports.
pub fn next_control_plane() -> Ipv4Addr {
    Ipv4Addr::new(10, 231, 255, CONTROL_PLANES.fetch_add(1, Ordering::Relaxed))
}

/// An address for the next node that asks for none in particular.
pub fn next_node() -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 231, 0, NODES.fetch_add(1, Ordering::Relaxed)))
}

/// Makes the sandbox answer on these addresses.
pub fn add_addresses(addresses: &[IpAddr]) -> Result<()> {
    let networks = addresses.iter().map(|address| format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 }));
    let output = Command::new(binary::locate()?).arg("address").args(networks).output().context("add addresses")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// A free port on 127.0.0.1. The sandbox is the program's own, so nobody else takes it in the meantime.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
