//! Plots of what was measured, from the JSON.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde_json::Value;

use crate::Failure;
use crate::figures::LATENCY;

const SIZE: (u32, u32) = (900, 520);
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(60, 60, 60);
/// For those that nobody can be faster than.
const LIMIT: RGBColor = RGBColor(150, 150, 150);
/// Told apart also by those who see few colours.
const COLORS: [RGBColor; 12] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(117, 112, 179),
    RGBColor(102, 85, 60),
    RGBColor(166, 28, 60),
    RGBColor(120, 150, 20),
    RGBColor(30, 50, 130),
    RGBColor(0, 60, 55),
];

/// Behind what a plot is against.
const SIBLINGS: &str =
    ". Some or all measured where the processors looked like two threads of one core";

/// One peer's line, or that of what else a plot tells apart.
#[derive(Default)]
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
    /// A height that is drawn thin, from side to side.
    level: Option<f64>,
    /// Whether some of it was measured where the processors looked like two threads of one core.
    siblings: bool,
}

/// What is the same for all points of a plot.
struct Frame<'a> {
    title: &'a str,
    x: &'a str,
    y: &'a str,
    /// Where the axis has its labels.
    marks: &'a [f64],
    x_label: &'a dyn Fn(&f64) -> String,
    y_label: &'a dyn Fn(&f64) -> String,
}

/// An axis whose labels stand where it is said.
struct Marked {
    range: (f64, f64),
    marks: Vec<f64>,
}

impl Ranged for Marked {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, pixels: (i32, i32)) -> i32 {
        let share = (value - self.range.0) / (self.range.1 - self.range.0);
        pixels.0 + (share * f64::from(pixels.1 - pixels.0)) as i32
    }

    fn key_points<H: KeyPointHint>(&self, _: H) -> Vec<f64> {
        let (low, high) = self.range;
        self.marks.iter().copied().filter(|mark| (low..=high + 0.01).contains(mark)).collect()
    }

    fn range(&self) -> Range<f64> {
        self.range.0..self.range.1
    }
}

/// Draws all plots into a directory.
pub fn draw(file: &Path, directory: &Path) -> Result<(), Failure> {
    let report: Value = serde_json::from_str(&fs::read_to_string(file)?)?;
    fs::create_dir_all(directory)?;
    let figures: Vec<&Value> =
        report["figures"].as_object().into_iter().flat_map(|figures| figures.values()).collect();
    // Each step to the right is ten times rarer: the tail is what matters.
    let latency = Frame {
        title: "A small struct there and back, two cores: distribution",
        x: "percentile",
        y: "round trip",
        marks: &[0.0, 0.301, 1.0, 2.0, 3.0],
        x_label: &|nines| percentile(*nines),
        y_label: &|nanos| time(*nanos),
    };
    plot(&directory.join("latency.svg"), &latency, &latencies(&figures))?;
    for (file, prefix, title) in [
        ("owned.svg", "bytes_", "Bytes from a vector to a vector, stream, two cores"),
        ("in-place.svg", "in_place_", "Bytes written and read in place, stream, two cores"),
    ] {
        let throughput = Frame {
            title,
            x: "size of a value",
            y: "throughput",
            marks: &[6.0, 10.0, 13.0, 16.0, 20.0, 24.0],
            x_label: &|bits| size(*bits),
            y_label: &|rate| speed(*rate),
        };
        plot(&directory.join(file), &throughput, &throughputs(&figures, prefix))?;
    }
    let capacity = Frame {
        title: "Bytes from a vector to a vector, by their size; thin: default options",
        x: "capacity of the ring",
        y: "throughput",
        marks: &[16.0, 18.0, 20.0, 22.0, 24.0],
        x_label: &|bits| size(*bits),
        y_label: &|rate| speed(*rate),
    };
    plot(&directory.join("capacity.svg"), &capacity, &capacities(&figures))
}

/// Percentiles, each by how many times more seldom what is above it is, and nanoseconds.
fn latencies(figures: &[&Value]) -> Vec<Line> {
    let of = figures.iter().filter(|figure| figure["figure"] == LATENCY);
    let line = |figure: &&Value| {
        let points = figure["latency_ns"].as_array()?.iter().filter_map(|point| {
            let (share, nanos) = (point[0].as_f64()?, point[1].as_f64()?);
            Some((-(1.0 - share / 100.0).log10(), nanos))
        });
        // What is rarer is too much up to chance for a line.
        let points = points.filter(|point| point.0 < 3.01);
        let (name, siblings) = (peer(figure)?, siblings(figure));
        Some(Line { name, points: points.collect(), level: None, siblings })
    };
    of.filter_map(line).collect()
}

/// Sizes, as powers of two, and bytes a second.
fn throughputs(figures: &[&Value], prefix: &str) -> Vec<Line> {
    let mut lines: BTreeMap<String, Line> = BTreeMap::new();
    for figure in figures {
        if let Some(point) = throughput(figure, prefix)
            && let Some(name) = peer(figure)
        {
            let line = lines.entry(name).or_default();
            line.points.push(point);
            line.siblings |= siblings(figure);
        }
    }
    finished(lines)
}

/// Capacities, as powers of two, and bytes a second, a line for each size.
fn capacities(figures: &[&Value]) -> Vec<Line> {
    let mut lines: BTreeMap<String, Line> = BTreeMap::new();
    for figure in figures {
        if let Some((bits, rate)) = throughput(figure, "capacity_") {
            let line = lines.entry(size(bits)).or_default();
            match figure["peer"].as_str().and_then(power) {
                Some(capacity) => line.points.push((capacity, rate)),
                None => line.level = Some(rate),
            }
            line.siblings |= siblings(figure);
        }
    }
    finished(lines)
}

/// The size of a figure's values, as a power of two, and bytes a second.
fn throughput(figure: &Value, prefix: &str) -> Option<(f64, f64)> {
    let bits = power(figure["figure"].as_str()?.strip_prefix(prefix)?)?;
    Some((bits, bits.exp2() / figure["ns"]["median"].as_f64()? * 1e9))
}

/// The power of two that a text such as `64`, `64k` or `64 KiB` names.
fn power(text: &str) -> Option<f64> {
    let end = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = match unit.trim_start().chars().next() {
        Some('k' | 'K') => 10.0,
        Some('m' | 'M') => 20.0,
        _ => 0.0,
    };
    Some(number.parse::<f64>().ok()?.log2() + unit)
}

/// Lines with their names, and their points from left to right.
fn finished(lines: BTreeMap<String, Line>) -> Vec<Line> {
    let finish = |(name, mut line): (String, Line)| {
        line.points.sort_by(|one, other| one.0.total_cmp(&other.0));
        Line { name, ..line }
    };
    lines.into_iter().map(finish).collect()
}

fn peer(figure: &Value) -> Option<String> {
    figure["peer"].as_str().map(str::to_owned)
}

fn siblings(figure: &Value) -> bool {
    figure["look_like_siblings"] == true
}

/// Lines with their names at the right end, in the order in which they end there.
fn plot(file: &Path, frame: &Frame<'_>, lines: &[Line]) -> Result<(), Failure> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let (mut x, mut y) = ((f64::MAX, f64::MIN), (f64::MAX, f64::MIN));
    for point in points() {
        x = (x.0.min(point.0), x.1.max(point.0));
        y = (y.0.min(point.1), y.1.max(point.1));
    }
    for level in lines.iter().filter_map(|line| line.level) {
        y = (y.0.min(level), y.1.max(level));
    }
    if points().next().is_none() {
        return Ok(());
    }
    let siblings = lines.iter().any(|line| line.siblings);
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (left, names) = root.split_horizontally(SIZE.0 - 170);
    let y_range = (y.0 * 0.8)..(y.1 * 1.25);
    let mut chart = ChartBuilder::on(&left)
        .caption(frame.title, (FONT, 19).into_font().color(&INK))
        .margin(12)
        .x_label_area_size(46)
        .y_label_area_size(76)
        .build_cartesian_2d(
            Marked { range: x, marks: frame.marks.to_vec() },
            y_range.log_scale(),
        )?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(LIMIT.mix(0.35))
        .axis_style(INK)
        .label_style((FONT, 13).into_font().color(&INK))
        .x_desc(format!("{}{}", frame.x, if siblings { SIBLINGS } else { "" }))
        .y_desc(frame.y)
        .x_labels(8)
        .y_labels(10)
        .x_label_formatter(&frame.x_label)
        .y_label_formatter(&frame.y_label)
        .draw()?;
    let mut ends = Vec::new();
    let mut colors = COLORS.iter().cycle();
    for line in ordered(lines) {
        let limit = line.name.starts_with("copy") || line.name.starts_with("bare");
        let own = line.name == "ring only";
        let color = if limit { LIMIT } else { *colors.next().unwrap_or(&INK) };
        let style = color.stroke_width(if own { 4 } else { 2 });
        chart.draw_series(LineSeries::new(line.points.iter().copied(), style))?;
        if let Some(level) = line.level {
            chart.draw_series(LineSeries::new([(x.0, level), (x.1, level)], color))?;
        }
        if let Some(&end) = line.points.last() {
            ends.push((chart.backend_coord(&end).1, &line.name, color));
        }
    }
    name(&names, ends)?;
    root.present()?;
    Ok(())
}

/// This crate first, whose colour is the same in all plots.
fn ordered(lines: &[Line]) -> Vec<&Line> {
    let mut ordered: Vec<_> = lines.iter().collect();
    ordered.sort_by_key(|line| (line.name != "ring only", line.name != "mixed"));
    ordered
}

/// Writes the names beside the ends of their lines, so far apart that they can be read.
fn name(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    mut ends: Vec<(i32, &String, RGBColor)>,
) -> Result<(), Failure> {
    const APART: i32 = 17;
    ends.sort_by_key(|end| end.0);
    let lowest = SIZE.1 as i32 - 60;
    for at in 1..ends.len() {
        ends[at].0 = ends[at].0.max(ends[at - 1].0 + APART);
    }
    // What was pushed out below goes up again.
    let mut limit = lowest;
    for end in ends.iter_mut().rev() {
        end.0 = end.0.min(limit);
        limit = end.0 - APART;
    }
    for (y, peer, color) in ends {
        let style = (FONT, 14).into_font().color(&color).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(peer.clone(), (2, y), style))?;
    }
    Ok(())
}

fn percentile(nines: f64) -> String {
    let share = 100.0 * (1.0 - 10_f64.powf(-nines));
    if share < 99.5 { format!("{share:.0} %") } else { format!("{share:.1} %") }
}

fn size(bits: f64) -> String {
    let bytes = bits.exp2();
    let (unit, name) = match bits {
        ..10.0 => (1.0, "B"),
        ..20.0 => (1024.0, "KiB"),
        _ => (1024.0 * 1024.0, "MiB"),
    };
    format!("{:.0} {name}", bytes / unit)
}

fn time(nanos: f64) -> String {
    if nanos < 1e3 { format!("{nanos:.0} ns") } else { format!("{:.0} us", nanos / 1e3) }
}

fn speed(rate: f64) -> String {
    if rate < 1e9 { format!("{:.0} MB/s", rate / 1e6) } else { format!("{:.0} GB/s", rate / 1e9) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_keys_and_peers_have_them() {
        assert_eq!(
            ["64", "64k", "64 KiB", "16m", "16 MiB"].map(power),
            [Some(6.0), Some(16.0), Some(16.0), Some(24.0), Some(24.0)]
        );
        assert_eq!(power("default"), None);
    }
}
