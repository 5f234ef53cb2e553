//! What is asked for.

use serde::Serialize;

/// The most or the least that a figure may be.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
    Exactly(f64),
}

impl Target {
    pub fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
            Self::Exactly(wanted) => (value - wanted).abs() < f64::EPSILON,
        }
    }
}

/// In MiB, with as many requests as Nodes.
pub fn peak(nodes: usize) -> Option<Target> {
    match nodes {
        ..=2_000 => Some(Target::AtMost(24.0)),
        2_001..=5_000 => Some(Target::AtMost(40.0)),
        _ => None,
    }
}
