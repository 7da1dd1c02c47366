"""Charts for documents as SVG text: a frontier, and small panels of lines. Pure, without a library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

FONT = 'font-family="system-ui, sans-serif"'
OURS, THEIRS, DEMAND, INK, GRID = "#0a5ca8", "#b3540b", "#777777", "#222222", "#dddddd"
LINES = (("#b3540b", "4 2"), ("#0a5ca8", ""))


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """A policy: x = violations, y = saved, both in per cent. ours: one of the steward's; best: on the frontier."""

    name: str
    x: float
    y: float
    ours: bool = False
    best: bool = False


@dataclass(frozen=True)
class Panel:
    """One machine: its demand by day and the sizes in force (or what was forecast), in one unit; NaN = a gap."""

    title: str
    demand: Sequence[float]
    sizes: Mapping[str, Sequence[float]]


def frontier(title: str, points: Sequence[FrontierPoint], width: int = 860, height: int = 460) -> str:
    """Points with their names, violations on a logarithmic scale, the frontier joined by a line."""
    left, right, top, bottom = 56, 150, 40, 44
    low = 10 ** math.floor(math.log10(max(1e-3, min((p.x for p in points if p.x > 0), default=0.01))))
    high = 10 ** math.ceil(math.log10(max(low * 10, *(p.x for p in points), 1e-3)))
    floor = math.floor(min((p.y for p in points), default=0) / 10) * 10
    roof = max(floor + 10, math.ceil(max((p.y for p in points), default=100) / 10) * 10)

    def across(x: float) -> float:
        share = math.log10(max(x, low) / low) / math.log10(high / low)
        return left + share * (width - left - right)

    def down(y: float) -> float:
        return top + (roof - y) / (roof - floor) * (height - top - bottom)

    out = [_open(title, width, height), _text(left, 20, title, size=14, bold=True)]
    step = 10 if roof - floor <= 100 else 50
    for value in range(floor, roof + 1, step):
        out.append(_line(left, down(value), width - right, down(value), GRID))
        out.append(_text(left - 8, down(value) + 4, f"{value}", anchor="end"))
    decade = low
    while decade <= high * 1.0001:
        out.append(_line(across(decade), top, across(decade), height - bottom, GRID))
        out.append(_text(across(decade), height - bottom + 16, f"{decade:g}", anchor="middle"))
        decade *= 10
    out.append(_text(left, height - 8, f"violations, % of samples (log; under {low:g} drawn at {low:g})"))
    out.append(_text(8, 34, "saved, %"))
    best = sorted((p for p in points if p.best), key=lambda p: p.x)
    path = " ".join(f"{across(p.x):.1f},{down(p.y):.1f}" for p in best)
    out.append(f'<polyline points="{path}" fill="none" stroke="{INK}" stroke-width="1" stroke-dasharray="2 3"/>')
    taken: list[tuple[float, float]] = []
    for p in sorted(points, key=lambda p: down(p.y)):
        x, y = across(p.x), down(p.y)
        colour = OURS if p.ours else THEIRS
        shape = (
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>'
            if p.ours
            else f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" fill="{colour}"/>'
        )
        label = y + 4
        while any(abs(label - other) < 12 and abs(x - at) < 170 for at, other in taken):
            label += 4
        taken.append((x, label))
        if label - y > 10:
            out.append(_line(x, y, x + 8, label - 4, GRID))
        out.append(shape)
        out.append(_text(x + 9, label, p.name, colour=colour, bold=p.best))
    return "\n".join([*out, "</svg>", ""])


def panels(title: str, each: Sequence[Panel], columns: int = 2, width: int = 860, height: int = 130) -> str:
    """Panels side by side: demand as a grey area of daily peaks, sizes as stepped lines over it."""
    rows = -(-len(each) // columns)
    wide = width / columns
    out = [_open(title, width, 40 + rows * height), _text(8, 18, title, size=14, bold=True)]
    names = list(each[0].sizes) if each else []
    apart = min(210.0, (width - 430) / max(1, len(names)))
    for i, name in enumerate(names):
        colour, dash = LINES[i % len(LINES)]
        out.append(_line(430 + apart * i, 14, 460 + apart * i, 14, colour, 2, dash))
        out.append(_text(466 + apart * i, 18, name))
    for number, panel in enumerate(each):
        x0, y0 = (number % columns) * wide + 40, 40 + (number // columns) * height
        inner, tall = wide - 56, height - 34
        top = max(
            [v for v in panel.demand if v == v] + [v for line in panel.sizes.values() for v in line if v == v] + [1e-9]
        )
        count = max(1, len(panel.demand))
        out.append(_text(x0, y0 + 10, panel.title))
        out.append(_text(x0 - 4, y0 + 24, f"{top:.3g}", anchor="end", size=10))
        out.append(_text(x0 - 4, y0 + 18 + tall, "0", anchor="end", size=10))
        out.append(_line(x0, y0 + 16 + tall, x0 + inner, y0 + 16 + tall, GRID))
        for i, value in enumerate(panel.demand):
            if value == value:
                h = tall * value / top
                out.append(
                    f'<rect x="{x0 + inner * i / count:.1f}" y="{y0 + 16 + tall - h:.1f}" '
                    f'width="{max(1.0, inner / count - 1):.1f}" height="{h:.1f}" fill="#c8c8c8"/>'
                )
        for i, line in enumerate(panel.sizes.values()):
            colour, dash = LINES[i % len(LINES)]
            steps = []
            for at, value in enumerate(line[:count]):
                if value != value:
                    continue
                y = y0 + 16 + tall - tall * value / top
                steps += [f"{x0 + inner * at / count:.1f},{y:.1f}", f"{x0 + inner * (at + 1) / count:.1f},{y:.1f}"]
            more = f' stroke-dasharray="{dash}"' if dash else ""
            out.append(f'<polyline points="{" ".join(steps)}" fill="none" stroke="{colour}" stroke-width="1.5"{more}/>')
    return "\n".join([*out, "</svg>", ""])


def _open(title: str, width: float, height: float) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img" {FONT} font-size="11"><title>{escape(title)}</title>'
        f'<rect width="100%" height="100%" fill="#ffffff"/>'
    )


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 11, colour: str = INK, bold: bool = False
) -> str:
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}"{weight}>'
        f"{escape(text)}</text>"
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1, dash: str = "") -> str:
    more = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width:g}"{more}/>'
    )


def bars(title: str, labels: Sequence[str], values: Sequence[float], width: int = 720, height: int = 220) -> str:
    """Upright bars from zero, each with its figure above and its label below."""
    left, right, top, bottom = 12, 12, 30, 30
    out = [_open(title, width, height), _text(left, 16, title, size=12, bold=True)]
    roof, floor = max([*values, 1e-9]), height - bottom
    wide = (width - left - right) / max(1, len(values))
    for at, (label, value) in enumerate(zip(labels, values, strict=True)):
        tall = (floor - top - 18) * value / roof
        x = left + wide * at
        out.append(
            f'<rect x="{x + wide * 0.18:.1f}" y="{floor - tall:.1f}" width="{wide * 0.64:.1f}" height="{tall:.1f}" '
            f'fill="{OURS}"/>'
        )
        out.append(_text(x + wide / 2, floor - tall - 5, f"{value:,g}", anchor="middle"))
        out.append(_text(x + wide / 2, floor + 16, label, anchor="middle"))
    out.append(_line(left, floor, width - right, floor, INK))
    return "\n".join([*out, "</svg>", ""])


def trend(
    title: str, labels: Sequence[str], values: Sequence[float], roof: float = 0, width: int = 720, height: int = 200
) -> str:
    """One line through the days, from zero; ``roof`` > 0: a dashed line that it may not pass."""
    left, right, top, bottom = 64, 16, 30, 28
    most = max([*values, roof, 1e-9])
    floor, span = height - bottom, height - bottom - top

    def across(at: int) -> float:
        return left + (width - left - right) * at / max(1, len(values) - 1)

    out = [_open(title, width, height), _text(12, 16, title, size=12, bold=True)]
    for share in (0.0, 0.5, 1.0):
        y = floor - span * share
        out.append(_line(left, y, width - right, y, GRID))
        out.append(_text(left - 6, y + 4, f"{most * share:,.0f}", anchor="end"))
    if roof > 0:
        y = floor - span * roof / most
        out.append(_line(left, y, width - right, y, THEIRS, 1.5, "5 3"))
    path = " ".join(f"{across(at):.1f},{floor - span * value / most:.1f}" for at, value in enumerate(values))
    out.append(f'<polyline points="{path}" fill="none" stroke="{OURS}" stroke-width="2"/>')
    step = max(1, -(-len(labels) // 7))
    out += [_text(across(at), floor + 16, labels[at], anchor="middle") for at in range(0, len(labels), step)]
    return "\n".join([*out, "</svg>", ""])
