//! The dashboard's panels, and what Prometheus answers to their queries.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::prometheus::{Prometheus, Span};

/// What Grafana would put in the place of its variables.
const VARIABLES: [(&str, &str); 2] = [("$__rate_interval", "10s"), ("$job", ".+")];

/// A dashboard as Grafana keeps it.
pub struct Dashboard(Value);

/// One panel of it.
pub struct Panel<'a>(&'a Value);

/// How a panel is drawn.
#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Stat,
    Lines,
    Heatmap,
}

/// A panel with its answers.
pub struct Answered {
    pub title: String,
    pub kind: Kind,
    pub unit: String,
    /// Left, top, width and height in the dashboard's grid of 24 columns.
    pub place: [f64; 4],
    /// The name in the legend, and points of time and value.
    pub series: Vec<(String, Vec<(f64, f64)>)>,
    /// What the values are called instead.
    pub mappings: Vec<(String, String)>,
}

impl Dashboard {
    /// Reads it from a file.
    pub fn read(path: &Path) -> Result<Self> {
        Ok(Self(serde_json::from_slice(&std::fs::read(path)?)?))
    }

    /// Its panels, in the order of the file.
    pub fn panels(&self) -> Vec<Panel<'_>> {
        self.0.get("panels").and_then(Value::as_array).into_iter().flatten().map(Panel).collect()
    }
}

impl Panel<'_> {
    fn text(&self, pointer: &str) -> Result<&str> {
        self.0.pointer(pointer).and_then(Value::as_str).with_context(|| format!("a panel without {pointer}"))
    }

    fn place(&self, field: &str) -> Result<f64> {
        let value = self.0.pointer(&format!("/gridPos/{field}")).and_then(Value::as_f64);
        value.with_context(|| format!("a panel without {field}"))
    }

    /// Asks its queries.
    pub async fn ask(&self, prometheus: &Prometheus, span: Span) -> Result<Answered> {
        let kind = match self.text("/type")? {
            "stat" => Kind::Stat,
            "heatmap" => Kind::Heatmap,
            _ => Kind::Lines,
        };
        let mut series = Vec::new();
        for target in self.0.get("targets").and_then(Value::as_array).into_iter().flatten() {
            let field = |name: &str| target.get(name).and_then(Value::as_str).context("a query without text");
            let mut expression = field("expr")?.to_owned();
            for (variable, value) in VARIABLES {
                expression = expression.replace(variable, value);
            }
            let legend = field("legendFormat")?;
            let answers = prometheus.range(&expression, span).await?;
            series.extend(answers.into_iter().map(|(labels, points)| (name(legend, &labels), points)));
        }
        let options = self.0.pointer("/fieldConfig/defaults/mappings/0/options").and_then(Value::as_object);
        let mapping =
            |(value, shown): (&String, &Value)| Some((value.clone(), shown.get("text")?.as_str()?.to_owned()));
        Ok(Answered {
            title: self.text("/title")?.to_owned(),
            kind,
            unit: self.text("/fieldConfig/defaults/unit").unwrap_or_default().to_owned(),
            place: [self.place("x")?, self.place("y")?, self.place("w")?, self.place("h")?],
            series,
            mappings: options.into_iter().flatten().filter_map(mapping).collect(),
        })
    }
}

/// A legend with the labels' values in it.
fn name(legend: &str, labels: &Value) -> String {
    let mut name = legend.to_owned();
    for (label, value) in labels.as_object().into_iter().flatten() {
        name = name.replace(&format!("{{{{{label}}}}}"), value.as_str().unwrap_or_default());
    }
    // A label that a series does not have is nothing.
    while let Some((before, rest)) = name.split_once("{{") {
        let after = rest.split_once("}}").map(|(_, after)| after).unwrap_or_default();
        name = format!("{before}{after}");
    }
    name.trim().to_owned()
}
