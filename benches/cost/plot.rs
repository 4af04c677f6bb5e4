//! Plot of the instructions by stage, and of their growth. It is plain SVG, readable on light and
//! on dark pages.

use std::fmt::{self, Write};

use crate::callgrind::thousands;

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
