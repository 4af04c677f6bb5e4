//! Plots of the instructions by stage and of their growth, of the lag by rate, and of the cost by
//! volume. They are plain SVG, readable on light and on dark pages.

use std::fmt::{self, Write};
use std::time::Duration;

use crate::callgrind::thousands;
use crate::lag::{Destination, Lag};
use crate::month::{Mode, Month, Months, Plan, VOLUMES, dollars};

const STYLE: &str = "<style>
text { font: 12px sans-serif; fill: #24292f } .title { font-weight: 600 } .bar { fill: #2f6f9f }
.axis { stroke: #8c959f; fill: none } .grid { stroke: #8c959f; stroke-dasharray: 2 4 }
.one { stroke: #2f6f9f; fill: none; stroke-width: 2 } \
.two { stroke: #b35900; fill: none; stroke-width: 2 }
.dot.one { fill: #2f6f9f } .dot.two { fill: #b35900 } \
text.one { fill: #2f6f9f; stroke: none } \
text.two { fill: #b35900; stroke: none }
@media (prefers-color-scheme: dark) { text { fill: #d0d7de } .bar { fill: #5aa9dd } \
.one { stroke: #5aa9dd }
.two { stroke: #e8a15a } .dot.one, text.one { fill: #5aa9dd } .dot.two, text.two { fill: #e8a15a } }
</style>
";

/// Named line of the growth panel, with its points (x, y).
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: [(u64, u64); 3],
}

/// Draws a bar for each stage, and the lines with a logarithmic axis.
pub(crate) fn svg(stages: &[(&str, u64)], lines: &[Line; 2]) -> Result<String, fmt::Error> {
    let mut out = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" \
         width=\"860\" height=\"300\" viewBox=\"0 0 860 300\" role=\"img\">\n",
    );
    out.push_str(STYLE);
    bars(&mut out, stages)?;
    growth(&mut out, lines)?;
    out.push_str("</svg>\n");
    Ok(out)
}

fn bars(out: &mut String, stages: &[(&str, u64)]) -> fmt::Result {
    const LEFT: u64 = 175;
    const WIDTH: u64 = 180;
    writeln!(
        out,
        "<text class=\"title\" x=\"10\" y=\"24\">Instructions a record, by stage</text>"
    )?;
    let most = stages
        .iter()
        .map(|(_, count)| *count)
        .max()
        .unwrap_or(1)
        .max(1);
    for (row, (name, count)) in (0_u64..).zip(stages) {
        let (y, width) = (44 + row * 28, count * WIDTH / most);
        writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>",
            LEFT - 8,
            y + 13
        )?;
        writeln!(
            out,
            "<rect class=\"bar\" x=\"{LEFT}\" y=\"{y}\" width=\"{width}\" height=\"18\"/>"
        )?;
        writeln!(
            out,
            "<text x=\"{}\" y=\"{}\">{}</text>",
            LEFT + width + 6,
            y + 13,
            thousands(*count)
        )?;
    }
    Ok(())
}

fn growth(out: &mut String, lines: &[Line; 2]) -> fmt::Result {
    const LEFT: u64 = 510;
    const RIGHT: u64 = 840;
    const TOP: u64 = 44;
    const BOTTOM: u64 = 250;
    writeln!(
        out,
        "<text class=\"title\" x=\"440\" y=\"24\">\
         Instructions a record: level is linear growth</text>"
    )?;
    writeln!(
        out,
        "<path class=\"axis\" d=\"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}\"/>"
    )?;
    let most = lines
        .iter()
        .flat_map(|line| line.points)
        .map(|(_, y)| y)
        .max()
        .unwrap_or(1);
    let top = most.next_multiple_of(20_000);
    let height = |y: u64| BOTTOM - y * (BOTTOM - TOP) / top;
    for tick in (0..=top).step_by(20_000) {
        let y = height(tick);
        if tick > 0 {
            writeln!(out, "<path class=\"grid\" d=\"M{LEFT} {y}H{RIGHT}\"/>")?;
        }
        writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            LEFT - 8,
            y + 4,
            thousands(tick)
        )?;
    }
    let place = |x: u64| LEFT + 20 + u64::from(x.ilog10()) * 70;
    for power in 0..=4 {
        let x = 10_u64.pow(power);
        writeln!(
            out,
            "<text x=\"{}\" y=\"268\" text-anchor=\"middle\">{}</text>",
            place(x),
            thousands(x)
        )?;
    }
    for ((line, class), row) in lines.iter().zip(["one", "two"]).zip([0, 1]) {
        let points: Vec<(u64, u64)> = line
            .points
            .iter()
            .map(|(x, y)| (place(*x), height(*y)))
            .collect();
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x},{y}")).collect();
        writeln!(
            out,
            "<polyline class=\"{class}\" points=\"{}\"/>",
            path.join(" ")
        )?;
        for (x, y) in points {
            writeln!(
                out,
                "<circle class=\"dot {class}\" cx=\"{x}\" cy=\"{y}\" r=\"3\"/>"
            )?;
        }
        let x = LEFT + 10 + row * 170;
        writeln!(out, "<path class=\"{class}\" d=\"M{x} 286h22\"/>")?;
        writeln!(
            out,
            "<circle class=\"dot {class}\" cx=\"{}\" cy=\"286\" r=\"3\"/>",
            x + 11
        )?;
        writeln!(
            out,
            "<text class=\"{class}\" x=\"{}\" y=\"290\">{}</text>",
            x + 28,
            line.name
        )?;
    }
    Ok(())
}

const COLORS: &str = "<style>
text { font: 12px sans-serif; fill: #24292f } .title { font-weight: 600 }
.axis { stroke: #8c959f; fill: none } .grid { stroke: #8c959f; stroke-dasharray: 2 4 }
polyline { fill: none; stroke-width: 2 } .p99 { stroke-dasharray: 6 4 }
.c0 { --c: #2f6f9f } .c1 { --c: #b35900 } .c2 { --c: #4c8c3f } .c3 { --c: #8b5fbf }
.c4 { --c: #b8383d } .c5 { --c: #75808b }
polyline.c0, polyline.c1, polyline.c2 { stroke: var(--c) }
circle, rect { fill: var(--c) } .key { stroke: #24292f }
@media (prefers-color-scheme: dark) { text { fill: #d0d7de } .key { stroke: #d0d7de }
.c0 { --c: #5aa9dd } .c1 { --c: #e8a15a } .c2 { --c: #82c274 } .c3 { --c: #b794e0 }
.c4 { --c: #ee7a7e } .c5 { --c: #a5b0bb } }
</style>
";

fn open(width: u32, height: u32) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\">\n{COLORS}"
    )
}

/// Batch windows of the plot, in seconds. Each has the default `BatchSize`.
const WINDOWS: [u64; 3] = [0, 1, 5];

/// Draws the median and the p99 of the lag by rate, for each system and window.
pub(crate) fn lag(lags: &[Lag]) -> Result<String, fmt::Error> {
    let mut out = open(860, 320);
    for (panel, destination) in Destination::BOTH.into_iter().enumerate() {
        let left = 70.0 + 420.0 * if panel == 0 { 0.0 } else { 1.0 };
        lag_panel(&mut out, lags, destination, left)?;
    }
    let mut x = 70;
    for (color, window) in WINDOWS.iter().enumerate() {
        writeln!(
            out,
            "<circle class=\"c{color}\" cx=\"{x}\" cy=\"302\" r=\"5\"/>\
             <text x=\"{}\" y=\"306\">window of {window} s</text>",
            x + 10
        )?;
        x += 130;
    }
    writeln!(
        out,
        "<path class=\"key\" d=\"M{x} 302h30\"/><text x=\"{}\" y=\"306\">median</text>\
         <path class=\"key p99\" d=\"M{} 302h30\"/><text x=\"{}\" y=\"306\">p99</text>",
        x + 36,
        x + 100,
        x + 136
    )?;
    out.push_str("</svg>\n");
    Ok(out)
}

fn lag_panel(out: &mut String, lags: &[Lag], destination: Destination, left: f64) -> fmt::Result {
    const TOP: f64 = 44.0;
    const BOTTOM: f64 = 256.0;
    const WIDTH: f64 = 330.0;
    // Powers of ten of a second, from a tenth of a second to a hundred seconds.
    let height = |lag: Duration| {
        let power = lag.as_secs_f64().clamp(0.1, 100.0).log10() + 1.0;
        BOTTOM - power / 3.0 * (BOTTOM - TOP)
    };
    let place = |rate: u32| left + 20.0 + f64::from(rate).log10() / 3.0 * (WIDTH - 40.0);
    writeln!(
        out,
        "<text class=\"title\" x=\"{}\" y=\"24\">Lag of {}, BatchSize 1,000</text>\
         <path class=\"axis\" d=\"M{left} {TOP}V{BOTTOM}H{}\"/>",
        left - 60.0,
        destination.name(),
        left + WIDTH
    )?;
    for (name, millis) in [
        ("0.1 s", 100),
        ("1 s", 1000),
        ("10 s", 10_000),
        ("100 s", 100_000),
    ] {
        let y = height(Duration::from_millis(millis));
        writeln!(
            out,
            "<path class=\"grid\" d=\"M{left} {y:.0}H{}\"/>\
             <text x=\"{}\" y=\"{:.0}\" text-anchor=\"end\">{name}</text>",
            left + WIDTH,
            left - 8.0,
            y + 4.0
        )?;
    }
    for rate in [1, 10, 100, 1000] {
        writeln!(
            out,
            "<text x=\"{:.0}\" y=\"274\" text-anchor=\"middle\">{} /s</text>",
            place(rate),
            thousands(rate.into())
        )?;
    }
    for (color, window) in WINDOWS.into_iter().enumerate() {
        for (class, of) in [("", median as fn(&Lag) -> Duration), (" p99", p99)] {
            let points: Vec<(f64, f64)> = lags
                .iter()
                .filter(|lag| lag.destination == destination && lag.mapping.batch_size == 1000)
                .filter(|lag| lag.mapping.window.as_secs() == window)
                .map(|lag| (place(lag.mapping.rate), height(of(lag))))
                .collect();
            let path: Vec<String> = points
                .iter()
                .map(|(x, y)| format!("{x:.0},{y:.0}"))
                .collect();
            writeln!(
                out,
                "<polyline class=\"c{color}{class}\" points=\"{}\"/>",
                path.join(" ")
            )?;
            for (x, y) in points {
                writeln!(
                    out,
                    "<circle class=\"c{color}\" cx=\"{x:.0}\" cy=\"{y:.0}\" r=\"3\"/>"
                )?;
            }
        }
    }
    Ok(())
}

fn median(lag: &Lag) -> Duration {
    lag.median
}

fn p99(lag: &Lag) -> Duration {
    lag.p99
}

/// Part of a month's cost, with its name in the plot.
type Part = (&'static str, fn(&Month) -> f64);

const PARTS: [Part; 6] = [
    ("Kinesis", |month| month.stream),
    ("metrics, alarms", |month| month.metrics),
    ("logs", |month| month.logs),
    ("Lambda", |month| month.lambda),
    ("X-Ray", |month| month.traces),
    ("DynamoDB, secrets", |month| month.table + month.secrets),
];

/// Draws the cost of a month by volume, for separate functions and one together.
pub(crate) fn cost(months: &Months) -> Result<String, fmt::Error> {
    const LEFT: f64 = 190.0;
    const WIDTH: f64 = 600.0;
    let mut rows = Vec::new();
    for volume in VOLUMES {
        for mode in Mode::BOTH {
            let plan = months.default_plan(volume);
            rows.push((volume, mode, months.month(Plan { mode, ..plan })));
        }
    }
    let most = rows
        .iter()
        .map(|(_, _, month)| month.sum())
        .fold(1.0, f64::max);
    let mut out = open(860, 330);
    writeln!(
        out,
        "<text class=\"title\" x=\"10\" y=\"24\">USD a month by changes a month, defaults of the \
         template</text>"
    )?;
    for (at, (volume, mode, month)) in (0_u32..).zip(&rows) {
        let y = 40 + at * 28 + at / 2 * 6;
        writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}, {}</text>",
            LEFT - 8.0,
            y + 15,
            thousands(*volume),
            mode.name()
        )?;
        let mut x = LEFT;
        for (color, (_, of)) in PARTS.iter().enumerate() {
            let width = of(month) / most * WIDTH;
            writeln!(
                out,
                "<rect class=\"c{color}\" x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" \
                 height=\"22\"/>"
            )?;
            x += width;
        }
        let sum = dollars(month.sum());
        writeln!(
            out,
            "<text x=\"{:.0}\" y=\"{}\">{sum}</text>",
            x + 6.0,
            y + 15
        )?;
    }
    for (at, (color, (name, _))) in (0_u32..).zip(PARTS.iter().enumerate()) {
        let x = 20 + at * 138;
        writeln!(
            out,
            "<rect class=\"c{color}\" x=\"{x}\" y=\"302\" width=\"12\" height=\"12\"/>\
             <text x=\"{}\" y=\"312\">{name}</text>",
            x + 18
        )?;
    }
    out.push_str("</svg>\n");
    Ok(out)
}
