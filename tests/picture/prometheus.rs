//! A Prometheus with one target.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::harness::control_plane::PATIENCE;
use crate::harness::process::{Process, arguments};
use crate::harness::{binary, network, plain_http, wait};

/// From when to when, in seconds since the epoch, and in what steps.
#[derive(Clone, Copy)]
pub struct Span {
    pub start: f64,
    pub end: f64,
    pub step: f64,
}

/// A running Prometheus, gone when dropped.
pub struct Prometheus {
    address: SocketAddr,
    _process: Process,
}

impl Prometheus {
    /// Starts one that scrapes `target` every second, and waits until it has done so.
    pub async fn start(directory: &Path, target: SocketAddr) -> Result<Self> {
        let config = directory.join("prometheus.yml");
        let scrape = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n- job_name: countersign\n  \
             static_configs:\n  - targets: ['{target}']\n"
        );
        std::fs::write(&config, scrape)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, network::free_port()?));
        let flags = [
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", directory.join("tsdb").display()),
            format!("--web.listen-address={address}"),
        ];
        let log = directory.join("prometheus.log");
        let mut process =
            Process::start("prometheus", &binary::prometheus()?.locate()?, arguments(flags), Vec::new(), log)?;
        let probe = async || {
            let answer = plain_http::get(address, "/api/v1/query?query=countersign_build_info").await;
            Ok(answer.ok().filter(|(status, body)| *status == 200 && body.contains("\"version\"")).map(|_| ()))
        };
        process.while_running(wait::until("Prometheus to scrape", PATIENCE, probe)).await?;
        Ok(Self { address, _process: process })
    }

    /// The series of an expression over a span: labels, and points of time and value.
    pub async fn range(&self, expression: &str, span: Span) -> Result<Vec<(Value, Vec<(f64, f64)>)>> {
        let query = utf8_percent_encode(expression, NON_ALPHANUMERIC);
        let Span { start, end, step } = span;
        let path = format!("/api/v1/query_range?query={query}&start={start}&end={end}&step={step}");
        let (status, body) = plain_http::get(self.address, &path).await?;
        ensure!(status == 200, "{expression}: {body}");
        let answer: Value = serde_json::from_str(&body)?;
        let result = answer.pointer("/data/result").and_then(Value::as_array).context("an answer without a result")?;
        result.iter().map(|series| Ok((series.get("metric").cloned().unwrap_or_default(), points(series)?))).collect()
    }
}

fn points(series: &Value) -> Result<Vec<(f64, f64)>> {
    let values = series.get("values").and_then(Value::as_array).context("a series without values")?;
    let point = |pair: &Value| {
        let time = pair.get(0).and_then(Value::as_f64).context("a point without a time")?;
        let value = pair.get(1).and_then(Value::as_str).context("a point without a value")?;
        Ok((time, value.parse()?))
    };
    values.iter().map(point).collect()
}
