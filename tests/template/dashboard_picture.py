"""Draws the dashboard of templates/operations.yaml with sample data: twelve hours with an outage of HubSpot. `make dashboard`
writes docs/diagrams/dashboard.svg, and `--check` compares it.

The layout, titles, lines, axes and legends are the template's. The data and the look are this script's.
"""

import json
import math
import random
import re
import sys
from html import escape
from pathlib import Path

from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "docs" / "diagrams" / "dashboard.svg"
COLUMN, ROW, GAP = 54, 42, 4
POINTS = 72
OUTAGE = range(42, 49)
COLORS = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f"]
VALUES = {
    "IteratorAgeAlarmMinutes": "15", "FreshnessAlarmMinutes": "30", "RejectedAlarmPercent": "5", "MemoryMegabytes": "512",
    "AWS::Region": "eu-west-1", "FunctionName": "contact-sync-hubspot", "StreamName": "contact-changes",
    "SalesforceFunction": "contact-sync-salesforce", "HubSpotFunction": "contact-sync-hubspot", "Doctor": "contact-sync-doctor",
    "QueueName": "contact-sync-DeadLetterQueue", "LogGroup": "contact-sync-LogGroup", "MappingId": "mapping",
    "DocsBase": "https://docs.example.com", "DocsSuffix": ".html", "A": "contact-sync-hubspot", "M": "contact-sync-hubspot",
    "AgeAlarms": '"contact-sync-hubspot-page-iterator-age", "contact-sync-hubspot-page-record-age"',
    "VolumeAlarm": '"contact-sync-salesforce-ticket-volume-drop",', "N": "contact-sync-salesforce", "S": "contact-sync-salesforce", "H": "contact-sync-hubspot",
}
# Values of one point in order, and in the outage. Others are zero.
ORDINARY = {
    "IncomingRecords": (600, 600), "RecordsReceived": (600, 1500), "RecordsDelivered": (255, 5), "RecordsSuperseded": (25, 25),
    "RecordsFiltered": (320, 320), "RecordsFailed": (0, 850), "RecordsRejected": (1, 1), "ApiLatency": (180, 900),
    "ApiCalls": (14, 9), "ApiErrors": (0.1, 5), "Retries": (0.2, 6), "RateLimited": (0.4, 0), "WindowCallsRemaining": (150, 190),
    "DailyQuotaUsedPercent": (38, 41), "PolledEventCount": (600, 600), "InvokedEventCount": (600, 1500),
    "FailedInvokeEventCount": (0, 850), "Invocations": (60, 130), "ConcurrentExecutions": (3, 4), "ColdStart": (0.1, 0.3),
    "IncomingBytes": (400_000, 700_000), "Duration": (20_000, 60_000), "BreakerOpen": (0, 1), "DeadLettersStored": (1, 1),
    "ApproximateNumberOfMessagesVisible": (9, 12), "ValuesCut": (0.3, 0.3),
    "EndToEndLag": (4_000, 300_000), "IteratorAge": (1_500, 400_000), "RecordsSkippedSettled": (0, 270),
}
IN_ALARM = {"contact-sync-hubspot-page-hubspot-breaker", "contact-sync-hubspot-ticket-dead-letters"}
SPREAD = {"p50": 0.6, "p95": 1.6, "p99": 2.4}


def dashboard():
    """Returns the widgets, with sample values for the parameters."""
    template = yaml_parse((ROOT / "templates" / "operations.yaml").read_text(encoding="utf-8"))
    (found,) = [r for r in template["Resources"].values() if r["Type"] == "AWS::CloudWatch::Dashboard"]
    text, _ = found["Properties"]["DashboardBody"]["Fn::Sub"]
    return json.loads(re.sub(r"\$\{([^}]+)\}", lambda name: VALUES[name[1]], text))["widgets"]


def expanded(lines):
    """Yields each line's metric and options, with CloudWatch's short forms resolved."""
    before = []
    for line in lines:
        options = line[-1] if isinstance(line[-1], dict) else {}
        parts = [part for part in line if not isinstance(part, dict)]
        if not parts:
            yield None, options
            continue
        if parts[0] == "...":
            parts = before[: len(before) - len(parts) + 1] + parts[1:]
        parts = [before[at] if part == "." else part for at, part in enumerate(parts)]
        before = parts
        yield parts, options


def series(parts, stat):
    """Returns sample values of a metric."""
    name, system = parts[1], parts[-1]
    chance = random.Random("/".join(map(str, parts)) + str(stat))
    quiet, outage = ORDINARY.get(name, (0, 0))
    if system == "salesforce":
        outage = quiet
    share = 0.55 if system in ("salesforce", "hubspot") and name not in ("ApiLatency", "EndToEndLag", "BreakerOpen") else 1
    found, age = [], 0
    for at in range(POINTS):
        day = 1 + 0.35 * math.sin(at / POINTS * 2 * math.pi)
        age = age + 1 if at in OUTAGE else max(0, age - 3)
        if name in ("IteratorAge", "EndToEndLag") and system != "salesforce":
            value = quiet + age * 60_000 * 3.2
        elif name == "DailyQuotaUsedPercent":
            value = quiet + at / 5
        else:
            value = (outage if at in OUTAGE else quiet) * day
        found.append(share * value * SPREAD.get(stat, 1) * chance.uniform(0.85, 1.15))
    return found


def evaluated(expression, known):
    """Returns the values of an expression over the lines `known` by id."""
    point = lambda at: {name: values[at] for name, values in known.items()}  # noqa: E731
    return [eval(expression, {"__builtins__": {}}, point(at)) for at in range(POINTS)]  # noqa: S307: the template's own text


class Drawing:
    def __init__(self):
        self.parts = []

    def text(self, x, y, words, size=12, color="#16191f", weight="normal", anchor="start"):
        self.parts.append(
            f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{color}" font-weight="{weight}" '
            f'text-anchor="{anchor}">{escape(words)}</text>')

    def box(self, x, y, width, height, fill="#ffffff", stroke="#d5dbdb"):
        self.parts.append(
            f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}" rx="3" fill="{fill}" stroke="{stroke}"/>')

    def line(self, points, color, dash="", fill="none"):
        path = " ".join(f"{x:.0f},{y:.0f}" for x, y in points)
        name = "polygon" if fill != "none" else "polyline"
        self.parts.append(
            f'<{name} points="{path}" fill="{fill}" stroke="{color}" stroke-width="1.3"' + (f' stroke-dasharray="{dash}"/>' if dash else "/>"))


def metric(drawing, widget, x, y, width, height):
    properties = widget["properties"]
    known, lines = {}, []
    for parts, options in expanded(properties["metrics"]):
        if parts:
            values = series(parts, options.get("stat", properties.get("stat")))
            known[options.get("id", f"_{len(known)}")] = values
            if options.get("visible", True):
                lines.append((options.get("label", parts[1]), options, values))
        else:
            lines.append((options["label"], options, None))
    lines = [(label, options, values if values else evaluated(options["expression"], known)) for label, options, values in lines]
    legend = math.ceil(len(lines) / 2)
    left, top, right, bottom = x + 46, y + 30, x + width - 46, y + height - 18 - 15 * legend
    notes = properties.get("annotations", {}).get("horizontal", [])
    is_stacked = properties.get("stacked", False)
    highest = {}
    for axis in ("left", "right"):
        on_axis = [values for _, options, values in lines if options.get("yAxis", "left") == axis]
        tops = [sum(column) for column in zip(*on_axis)] if is_stacked else [max(values) for values in on_axis]
        marks = [note["value"] * 1.05 for note in notes] if axis == "left" else []
        highest[axis] = properties.get("yAxis", {}).get(axis, {}).get("max") or max([0, *tops, *marks]) or 1
    for part in range(3):
        level = bottom - (bottom - top) * part / 2
        drawing.line([(left, level), (right, level)], "#eaeded")
        drawing.text(left - 5, level + 4, short(highest["left"] * part / 2), 10, "#687078", anchor="end")
        if any(options.get("yAxis") == "right" for _, options, _ in lines):
            drawing.text(right + 5, level + 4, short(highest["right"] * part / 2), 10, "#687078")
    for part in range(5):
        drawing.text(left + (right - left) * part / 4, bottom + 13, f"{6 + 3 * part:02}:00", 10, "#687078", anchor="middle")
    at = lambda index, value, axis: (left + (right - left) * index / (POINTS - 1), bottom - (bottom - top) * value / highest[axis])  # noqa: E731
    below = [0.0] * POINTS
    for number, (label, options, values) in enumerate(lines):
        color, axis = options.get("color", COLORS[number % len(COLORS)]), options.get("yAxis", "left")
        if is_stacked:
            above = [one + other for one, other in zip(below, values)]
            drawing.line([at(i, v, axis) for i, v in enumerate(above)] + [at(i, below[i], axis) for i in reversed(range(POINTS))],
                         color, fill=color)
            below = above
        else:
            drawing.line([at(i, v, axis) for i, v in enumerate(values)], color, "5 3" if axis == "right" else "")
        across, down = number % 2, number // 2
        key_x, key_y = left - 30 + across * (right - left + 40) / 2, bottom + 29 + 15 * down
        drawing.box(key_x, key_y - 8, 10, 8, color, color)
        drawing.text(key_x + 15, key_y, label + (" (right)" if axis == "right" else ""), 11)
    for note in notes:
        drawing.line([at(0, note["value"], "left"), at(POINTS - 1, note["value"], "left")], "#d13212", "4 3")
        drawing.text(right - 4, at(0, note["value"], "left")[1] - 4, f"{note['label']} {note['value']}", 10, "#d13212", anchor="end")


def alarm(drawing, widget, x, y, width, height):
    names = widget["properties"]["alarms"]
    columns = 4 if width > 600 else 3
    for number, name in enumerate(names):
        down, across = divmod(number, columns)
        tile = (width - 12) / columns
        left, top = x + 8 + across * tile, y + 32 + down * 40
        rings = name in IN_ALARM
        drawing.box(left, top, tile - 6, 34, "#fdf3f1" if rings else "#f2f8f0", "#d13212" if rings else "#1d8102")
        title = re.sub(r"^contact-sync-\w+-(page|ticket|rollback)-", "", name)
        drawing.text(left + 8, top + 14, title, 11, weight="bold")
        drawing.text(left + 8, top + 28, "In alarm" if rings else "OK", 11, "#d13212" if rings else "#1d8102")


def text(drawing, widget, x, y, width, height):
    down = y + 34
    for line in widget["properties"]["markdown"].split("\n"):
        if line.startswith("# "):
            drawing.text(x + 12, down, line[2:], 22, weight="bold")
            down += 32
        elif line:
            drawing.text(x + 12, down, line.replace("**", ""), 13)
            down += 24


def log(drawing, widget, x, y, width, height):
    rows = [
        ("@timestamp", "level", "message", "destination", "code", "remedy"),
        ("13:02:11.204", "ERROR", "destination unavailable: calls are suspended, its records fail and are redelivered", "hubspot", "503", ""),
        ("11:40:03.518", "WARN", "batches too large for their time: smaller ones are sent for an hour", "salesforce", "", "salesforce.batch_size"),
    ]
    for number, row in enumerate(rows):
        for at, cell in zip((0, 120, 190, 780, 890, 980), row):
            drawing.text(x + 12 + at, y + 50 + 24 * number, cell, 12, weight="normal" if number else "bold")


def short(value):
    """Returns a number in at most five characters."""
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"


def picture():
    widgets = dashboard()
    width = 24 * COLUMN + GAP
    height = max(widget["y"] + widget["height"] for widget in widgets) * ROW + GAP
    drawing = Drawing()
    for widget in widgets:
        x, y = widget["x"] * COLUMN + GAP, widget["y"] * ROW + GAP
        size = (widget["width"] * COLUMN - GAP, widget["height"] * ROW - GAP)
        drawing.box(x, y, *size)
        if "title" in widget["properties"]:
            drawing.text(x + 10, y + 20, widget["properties"]["title"], 13, weight="bold")
        {"metric": metric, "alarm": alarm, "text": text, "log": log}[widget["type"]](drawing, widget, x, y, *size)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" role="img" '
        f'aria-label="The dashboard with sample data">\n<rect width="{width}" height="{height}" fill="#f2f3f3"/>\n'
        + "\n".join(drawing.parts) + "\n</svg>\n")


def main():
    drawn = picture()
    if "--check" in sys.argv[1:]:
        if not PICTURE.is_file() or PICTURE.read_text(encoding="utf-8") != drawn:
            sys.exit(f"{PICTURE.relative_to(ROOT)} is not of this dashboard: run make dashboard, and look at it")
    else:
        PICTURE.write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main()
