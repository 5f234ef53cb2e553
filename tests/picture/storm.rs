//! What happens while the picture is taken.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{from_value, json};
use tokio::time::{Instant, sleep_until};

use crate::harness::control_plane::ControlPlane;
use crate::harness::requests::Request;
use crate::prometheus::Span;

/// How long it takes.
pub const LENGTH: Duration = Duration::from_secs(150);
/// While the signer is stopped, from the start.
const SIGNER_STOPPED: std::ops::Range<u64> = 100..120;
/// While many nodes come at once.
const RUSH: std::ops::Range<u64> = 40..70;

/// Lets nodes file requests: honest ones all the time, many at once for a while, and some that lie or are early.
pub async fn run(control_plane: &mut ControlPlane) -> Result<Span> {
    let start = seconds();
    let begun = Instant::now();
    let admin = control_plane.client();
    for second in 0..LENGTH.as_secs() {
        sleep_until(begun + Duration::from_secs(second)).await;
        if second == SIGNER_STOPPED.start {
            control_plane.controller_manager().pause()?;
        }
        if second == SIGNER_STOPPED.end {
            control_plane.controller_manager().resume()?;
        }
        let count = if RUSH.contains(&second) { 12 } else { 2 };
        for number in 0..count {
            let name = format!("node-{second}-{number}");
            let (second, number) = (u8::try_from(second)?, u8::try_from(number)?);
            act(control_plane, &admin, &name, second, number).await?;
        }
    }
    Ok(Span { start, end: seconds(), step: 1.0 })
}

async fn act(control_plane: &ControlPlane, admin: &Client, name: &str, second: u8, number: u8) -> Result<()> {
    let address = [10, 60, second, number];
    let text = format!("10.60.{second}.{number}");
    let client = control_plane.client_of_node(name).await?;
    let request = Request::of_node(name).dns(name)?.ip(address);
    let kind = (u32::from(second) * 5 + u32::from(number)) % 17;
    // Some are early: their Node lists the address half a minute later, or never.
    let listed = if kind == 3 { vec![name.to_owned()] } else { vec![name.to_owned(), text.clone()] };
    node(admin, name, &listed).await?;
    match kind {
        5 => request.dns("kubernetes.default.svc")?.submit(&client).await?,
        11 => request.ip([127, 0, 0, 1]).submit(&client).await?,
        _ => request.submit(&client).await?,
    };
    if kind == 3 && second.is_multiple_of(2) {
        let (admin, name, listed) = (admin.clone(), name.to_owned(), vec![name.to_owned(), text]);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(25)).await;
            set_addresses(&admin, &name, &listed).await
        });
    }
    Ok(())
}

async fn node(admin: &Client, name: &str, addresses: &[String]) -> Result<()> {
    let node: Node = from_value(json!({"metadata": {"name": name}}))?;
    Api::all(admin.clone()).create(&PostParams::default(), &node).await?;
    set_addresses(admin, name, addresses).await
}

async fn set_addresses(admin: &Client, name: &str, addresses: &[String]) -> Result<()> {
    let list: Vec<_> = addresses.iter().map(|address| json!({"type": "InternalDNS", "address": address})).collect();
    let patch = Patch::Merge(json!({"status": {"addresses": list}}));
    Api::<Node>::all(admin.clone()).patch_status(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

fn seconds() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
