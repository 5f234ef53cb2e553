//! What Prometheus sees. Labels come from closed sets, never from the names of requests or nodes.

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::policy::Policy;

/// Upper bounds of the latency buckets in seconds: an answer takes milliseconds, a deferred request minutes.
const LATENCY_BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0];
/// Upper bounds of the evaluation buckets in seconds: most of the time goes into one signature.
const EVALUATION_BUCKETS: &[f64] =
    &[0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.1];

/// Every metric of the program, in a registry of its own.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Answers, by decision and first reason; in audit mode, answers that would have been given.
    pub decisions: IntCounterVec,
    /// Every violation that was found, by reason.
    pub violations: IntCounterVec,
    /// Requests without an answer, by first reason.
    pub pending: IntGaugeVec,
    /// Age of the oldest request without an answer.
    pub oldest_pending: Gauge,
    /// Time from a request's creation to its written answer.
    pub decision_seconds: Histogram,
    /// Time it takes to read a request and verify its signature: nearly all that a verdict takes.
    pub evaluation_seconds: Histogram,
    /// Requests to the API server, by operation and HTTP status, or `error` where there was no answer.
    pub api_requests: IntCounterVec,
    /// Requests that are approved but have no certificate so far.
    pub unissued: IntGauge,
    /// Approved requests that the signer gave up on.
    pub signer_failures: IntCounter,
    /// Events that were not sent, since too many were waiting.
    pub events_dropped: IntCounter,
    /// Whether this instance leads.
    pub leader: IntGauge,
    /// Whether the last change of the policy or the inventory could be used.
    pub policy_reload_success: IntGauge,
    /// When the policy or the inventory was last taken in.
    pub policy_reload_timestamp: Gauge,
    policy_info: IntGaugeVec,
}

impl Metrics {
    /// Makes and registers all metrics.
    ///
    /// # Errors
    /// When a metric is ill-defined, which is a fault of this program.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let metrics = Self {
            decisions: counters(
                &registry,
                "decisions_total",
                "Answers to kubelet-serving requests; in audit mode, answers that would have been given.",
                &["decision", "reason"],
            )?,
            violations: counters(
                &registry,
                "violations_total",
                "Violations found in kubelet-serving requests.",
                &["reason"],
            )?,
            pending: gauges(&registry, "pending_requests", "Kubelet-serving requests without an answer.", &["reason"])?,
            oldest_pending: register(
                &registry,
                Gauge::new(
                    "countersign_oldest_pending_seconds",
                    "Age of the oldest kubelet-serving request without an answer.",
                )?,
            )?,
            decision_seconds: histogram(
                &registry,
                "decision_seconds",
                "Time from a request's creation, as the watch brought it, to its written answer.",
                LATENCY_BUCKETS,
            )?,
            evaluation_seconds: histogram(
                &registry,
                "evaluation_seconds",
                "Time it takes to read a request and verify its signature.",
                EVALUATION_BUCKETS,
            )?,
            api_requests: counters(
                &registry,
                "api_requests_total",
                "Requests to the API server.",
                &["operation", "code"],
            )?,
            unissued: register(
                &registry,
                IntGauge::new(
                    "countersign_unissued_requests",
                    "Kubelet-serving requests that are approved but have no certificate so far.",
                )?,
            )?,
            signer_failures: register(
                &registry,
                IntCounter::new(
                    "countersign_signer_failures_total",
                    "Approved kubelet-serving requests that the signer gave up on.",
                )?,
            )?,
            events_dropped: register(
                &registry,
                IntCounter::new(
                    "countersign_events_dropped_total",
                    "Kubernetes Events that were not sent, since too many were waiting.",
                )?,
            )?,
            leader: register(
                &registry,
                IntGauge::new("countersign_leader", "Whether this instance is the one that answers requests.")?,
            )?,
            policy_reload_success: register(
                &registry,
                IntGauge::new(
                    "countersign_policy_reload_success",
                    "Whether the last change of the policy or the inventory could be used.",
                )?,
            )?,
            policy_reload_timestamp: register(
                &registry,
                Gauge::new(
                    "countersign_policy_reload_timestamp_seconds",
                    "When the policy or the inventory was last taken in, in seconds since the epoch.",
                )?,
            )?,
            policy_info: gauges(
                &registry,
                "policy_info",
                "The policy in force, by the SHA-256 of its file.",
                &["sha256"],
            )?,
            registry,
        };
        let build = gauges(&metrics.registry, "build_info", "The version of this program.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        metrics.registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(metrics)
    }

    /// Notes which policy is in force.
    pub fn policy_loaded(&self, policy: &Policy) {
        self.policy_info.reset();
        self.policy_info.with_label_values(&[policy.sha256()]).set(1);
    }

    /// All metrics in Prometheus' text format.
    ///
    /// # Errors
    /// When a metric cannot be encoded, which is a fault of this program.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let mut buffer = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer).into_owned())
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    register(registry, IntCounterVec::new(Opts::new(name, help).namespace("countersign"), labels)?)
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
    register(registry, IntGaugeVec::new(Opts::new(name, help).namespace("countersign"), labels)?)
}

fn histogram(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, prometheus::Error> {
    let options = HistogramOpts::new(name, help).namespace("countersign").buckets(buckets.to_vec());
    register(registry, Histogram::with_opts(options)?)
}
