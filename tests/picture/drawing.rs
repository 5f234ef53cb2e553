//! Panels as SVG.

use std::fmt::Write as _;

use anyhow::Result;

use crate::panel::{Answered, Kind};
use crate::prometheus::Span;

const COLUMN: f64 = 50.0;
const ROW: f64 = 28.0;
const GAP: f64 = 8.0;
const COLOURS: [&str; 10] =
    ["#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#37872d", "#fade2a", "#8ab8ff", "#a352cc"];

/// A rectangle to draw in.
struct Area {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

/// The whole dashboard.
pub fn draw(panels: &[Answered], span: Span) -> Result<String> {
    let bottom = panels.iter().map(|panel| panel.place[1] + panel.place[3]).fold(0.0, f64::max);
    let (width, height) = (24.0 * COLUMN + GAP, bottom * ROW + GAP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"11\" fill=\"#ccccdc\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#111217\"/>\n"
    );
    for panel in panels {
        let [x, y, w, h] = panel.place;
        let frame = Area { x: x * COLUMN + GAP, y: y * ROW + GAP, width: w * COLUMN - GAP, height: h * ROW - GAP };
        writeln!(
            svg,
            "<rect x=\"{:.0}\" y=\"{:.0}\" width=\"{:.0}\" height=\"{:.0}\" rx=\"2\" fill=\"#181b1f\" stroke=\"#2c3235\"/>",
            frame.x, frame.y, frame.width, frame.height
        )?;
        text(&mut svg, frame.x + 8.0, frame.y + 16.0, &panel.title, "font-weight=\"bold\"")?;
        match panel.kind {
            Kind::Stat => stat(&mut svg, panel, &frame)?,
            Kind::Lines => lines(&mut svg, panel, &frame, span)?,
            Kind::Heatmap => heatmap(&mut svg, panel, &frame, span)?,
        }
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

fn text(svg: &mut String, x: f64, y: f64, text: &str, attributes: &str) -> Result<()> {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    Ok(writeln!(svg, "<text x=\"{x:.0}\" y=\"{y:.0}\" {attributes}>{text}</text>")?)
}

/// A number as Grafana shows it.
fn shown(value: f64, unit: &str) -> String {
    match unit {
        "bytes" => format!("{:.1} MiB", value / 1_048_576.0),
        "s" if value != 0.0 && value.abs() < 0.001 => format!("{:.0} µs", value * 1e6),
        "s" if value != 0.0 && value.abs() < 1.0 => format!("{:.3} ms", value * 1e3).replace(".000", ""),
        "s" => format!("{value:.0} s"),
        "ops" => format!("{value:.1}/s"),
        "reqps" => format!("{value:.0}/s"),
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

fn stat(svg: &mut String, panel: &Answered, frame: &Area) -> Result<()> {
    let named = panel.unit.is_empty() && panel.series.iter().any(|(name, _)| name.contains('.') || name.len() > 30);
    let all: Vec<String> = panel
        .series
        .iter()
        .filter_map(|(name, points)| {
            let value = shown(points.last()?.1, &panel.unit);
            let mapped = panel.mappings.iter().find(|(from, _)| *from == value).map(|(_, to)| to.clone());
            Some(if named { name.clone() } else { mapped.unwrap_or(value) })
        })
        .collect();
    let shown = all.join(" · ");
    // A hash is known by its beginning.
    let short: String = if shown.len() > 20 { shown.chars().take(12).collect() } else { shown };
    // As large as there is room for; most characters are about two thirds as wide as high.
    let characters = f64::from(u32::try_from(short.chars().count())?);
    let size = (1.5 * (frame.width - 16.0) / characters).min(32.0);
    let attributes = format!("font-size=\"{size:.0}\" text-anchor=\"middle\" fill=\"#73bf69\"");
    text(svg, frame.x + frame.width / 2.0, frame.y + frame.height / 2.0 + 18.0, &short, &attributes)
}

/// Where the curves go: below the title, above the legend, right of the scale.
fn plot_of(frame: &Area) -> Area {
    Area { x: frame.x + 62.0, y: frame.y + 28.0, width: frame.width - 74.0, height: frame.height - 68.0 }
}

fn lines(svg: &mut String, panel: &Answered, frame: &Area, span: Span) -> Result<()> {
    let plot = plot_of(frame);
    let values = panel.series.iter().flat_map(|(_, points)| points.iter().map(|(_, value)| *value));
    let highest = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
    let highest = if highest > 0.0 { highest * 1.1 } else { 1.0 };
    for step in 0..=4 {
        let part = f64::from(step) / 4.0;
        let y = plot.y + plot.height * (1.0 - part);
        writeln!(svg, "<path d=\"M{:.0} {y:.0}h{:.0}\" stroke=\"#2c3235\"/>", plot.x, plot.width)?;
        text(svg, plot.x - 6.0, y + 4.0, &shown(highest * part, &panel.unit), "text-anchor=\"end\" fill=\"#9fa7b3\"")?;
    }
    times(svg, &plot, span)?;
    let mut left = plot.x;
    for ((name, points), colour) in panel.series.iter().zip(COLOURS.iter().cycle()) {
        let mut path = String::new();
        let mut before = f64::NEG_INFINITY;
        for (time, value) in points.iter().filter(|(_, value)| value.is_finite()) {
            let x = plot.x + (time - span.start) / (span.end - span.start) * plot.width;
            let y = plot.y + plot.height * (1.0 - value / highest);
            let pen = if time - before > 1.5 * span.step { 'M' } else { 'L' };
            write!(path, "{pen}{x:.1} {y:.1}")?;
            before = *time;
        }
        writeln!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>")?;
        #[allow(clippy::cast_precision_loss)] // a name has a few letters
        let wide = name.chars().count() as f64 * 6.2 + 26.0;
        if left + wide < frame.x + frame.width {
            let y = frame.y + frame.height - 10.0;
            writeln!(svg, "<rect x=\"{left:.0}\" y=\"{:.0}\" width=\"10\" height=\"3\" fill=\"{colour}\"/>", y - 5.0)?;
            text(svg, left + 14.0, y, name, "")?;
            left += wide;
        }
    }
    Ok(())
}

fn times(svg: &mut String, plot: &Area, span: Span) -> Result<()> {
    for step in 0..=5 {
        let part = f64::from(step) / 5.0;
        let label = format!("{:.0} s", (span.end - span.start) * part);
        let attributes = "text-anchor=\"middle\" fill=\"#9fa7b3\"";
        text(svg, plot.x + plot.width * part, plot.y + plot.height + 16.0, &label, attributes)?;
    }
    Ok(())
}

/// Buckets from bottom to top; Prometheus counts each with all below it.
fn heatmap(svg: &mut String, panel: &Answered, frame: &Area, span: Span) -> Result<()> {
    let plot = plot_of(frame);
    let mut buckets: Vec<(f64, &Vec<(f64, f64)>)> =
        panel.series.iter().filter_map(|(name, points)| Some((name.parse().ok()?, points))).collect();
    buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let at =
        |points: &[(f64, f64)], time: f64| points.iter().find(|it| (it.0 - time).abs() < 0.01).map_or(0.0, |it| it.1);
    let mut cells = Vec::new();
    for (row, (_, points)) in buckets.iter().enumerate() {
        for (time, all) in *points {
            let below =
                row.checked_sub(1).and_then(|row| buckets.get(row)).map_or(0.0, |(_, points)| at(points, *time));
            cells.push((row, *time, (all - below).max(0.0)));
        }
    }
    let most = cells.iter().map(|cell| cell.2).fold(1.0, f64::max);
    #[allow(clippy::cast_precision_loss)] // there are a few buckets
    let (tall, row_of) = (plot.height / buckets.len().max(1) as f64, |row: usize| row as f64);
    let wide = plot.width * span.step / (span.end - span.start);
    for (row, time, count) in cells.into_iter().filter(|cell| cell.2 > 0.05) {
        let x = plot.x + (time - span.start) / (span.end - span.start) * plot.width;
        let y = plot.y + plot.height - tall * (row_of(row) + 1.0);
        let strength = 0.15 + 0.85 * (count / most).sqrt();
        writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" height=\"{:.1}\" fill=\"#ff9830\" opacity=\"{strength:.2}\"/>",
            tall - 1.0
        )?;
    }
    for (row, (bound, _)) in buckets.iter().enumerate().step_by(2) {
        let label = if bound.is_finite() { shown(*bound, "s") } else { "more".to_owned() };
        let y = plot.y + plot.height - tall * row_of(row);
        text(svg, plot.x - 6.0, y, &label, "text-anchor=\"end\" fill=\"#9fa7b3\"")?;
    }
    times(svg, &plot, span)
}
