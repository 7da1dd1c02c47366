"""docs/judgement.md: every published trace backtested under every policy, as tables and charts, by one command.

``guanjia backtest --all DIR --write docs/judgement.md``. Every figure is computed each time; what was tried, the frontier under six moves and the
bounds are of ``trials_report``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from metering import drawings
from metering.judging import default
from metering.series import MachineSeries
from metering.simulation import trials_report
from metering.sizing import SizingResult, backtest, frontier, traces
from metering.workbench import Progress, silent

CORES = (1, 2, 4, 8, 16, 32)
"""Whole shapes that one table tries."""

OURS = "steward-balanced+fast"
HOUSE = default().sizing
"""By what a new house sizes."""

SHAPED = (
    "peak14x1.15-daily",
    "vpa-p95-daily",
    "steward-safe",
    "steward-balanced",
    "steward-economy",
    "steward-safe+fast",
    "steward-balanced+fast",
    "steward-economy+fast",
    "steward-balanced+swift",
)


LINES = (
    *(f"vpa-p{quantile}-daily" for quantile in ("50", "75", "90", "95", "98", "99", "99.9")),
    *(f"vpa-p95x{margin}-daily" for margin in ("1", "1.3", "1.5", "2")),
    *(f"peak14x{margin}-daily" for margin in ("1", "1.05", "1.15", "1.3", "1.5", "2", "3")),
)
"""The lines of VPA and of the 14-day peak, by their quantiles and margins: on no set one of them is to beat ours in both marks."""


def write(folder: Path, target: Path, progress: Progress = silent) -> None:
    """Backtest every trace of ``folder`` and write ``target`` with its charts (SVG) in a folder of the same name.

    Raises ValueError where the folder holds no trace.
    """
    files = sorted(folder.glob("*.parquet"), key=lambda one: (one.stem != "bitbrains_rnd", one.stem))
    if not files:
        raise ValueError(f"{folder}: no Parquet files")
    charts = target.with_suffix("")
    charts.mkdir(parents=True, exist_ok=True)
    names = backtest.NAMES
    parts = [HEAD.format(day=datetime.now(UTC).date().isoformat(), names=len(names))]
    shaped, target_told, house, few, bounds = "", "", "", "", ""
    beaten: dict[str, list[str]] = {}
    tried = trials_report.TriedRules()
    for number, file in enumerate(files):
        progress("judgement", number, len(files) + 1)
        series = traces.load(file)
        told = Both.of(series, ["as-is", *names, "oracle"])
        (charts / f"{series.dataset}.svg").write_text(_frontier(series.dataset, told.carried), encoding="utf-8")
        parts.append(_section(series, told, charts.name))
        beaten[series.dataset] = _beaten(series, told.carried[OURS])
        tried.add(series)
        if series.dataset == trials_report.TARGET:
            (charts / "worst.svg").write_text(
                _worst(told.carried["vpa-p95-daily"], told.carried[OURS]), encoding="utf-8"
            )
            parts.append(_halves(told.carried))
            on_shapes = Both.of(series, SHAPED, CORES)
            shaped, target_told = _shapes(on_shapes), _target(told.carried, on_shapes.carried[OURS])
            few, searched = trials_report.few_moves(series)
            bounds = trials_report.bounds(series, told.carried[OURS], searched)
            house = _house(Both.of(series, [HOUSE]).carried[HOUSE], told.carried[OURS])
            parts.append(
                f"![the machines that VPA hurts most, and what the steward gave them]({charts.name}/worst.svg)\n"
            )
    progress("judgement", len(files), len(files) + 1)
    parts[1:1] = [target_told, _lines(beaten), few, bounds, house]
    target.write_text("\n".join([*parts, shaped, tried.text(), AFTER]), encoding="utf-8")
    progress("judgement", len(files) + 1, len(files) + 1)


@dataclass(frozen=True)
class Both:
    """What policies did, by name: as they are carried out, and as if demand were seen in full."""

    carried: Mapping[str, SizingResult]
    full: Mapping[str, SizingResult]

    @classmethod
    def of(cls, series: MachineSeries, names: Sequence[str], shapes: Sequence[float] | None = None) -> Both:
        """Backtest ``names`` in both manners."""
        carried = {name: backtest.carrying(backtest.policy(name)) for name in names}
        results = backtest.run(series, [*names, *carried.values()], shapes=shapes)
        return cls({name: results[one.name] for name, one in carried.items()}, {name: results[name] for name in names})


def _percent(share: float, digits: int = 2) -> str:
    return f"{100 * share:.{digits}f}"


def _section(series: MachineSeries, told: Both, charts: str) -> str:
    best = frontier(told.carried)
    some = next(iter(told.carried.values()))
    lines = [
        f"## {series.dataset}",
        "",
        f"{len(some)} machines, {int(some.samples.sum()):,} judged samples"
        + ("." if series.cores_known else "; the trace does not tell cores, each machine is 1 unit."),
        "",
        f"![saved against violations on {series.dataset}, as carried out]({charts}/{series.dataset}.svg)",
        "",
        "| policy, as carried out | violations % | saved % | unserved % | machines > 1 % | > 5 % | changes / 30 d "
        "| moves / 30 d | *seen in full: violations %* | *saved %* |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, result in told.carried.items():
        marks, full = result.summary(), told.full[name].summary()
        lines.append(
            f"| {'**' + name + '**' if name in best else name} | {_percent(marks['violation_rate'], 3)} "
            f"| {_percent(marks['net_cores_saved_share'], 1)} | {_percent(marks['unserved_share_of_demand'])} "
            f"| {marks['vms_violating_over_1pct']} | {marks['vms_violating_over_5pct']} "
            f"| {marks['changes_per_vm_30d']:.1f} | {marks['moves_per_vm_30d']:.1f} "
            f"| {_percent(full['violation_rate'], 3)} | {_percent(full['net_cores_saved_share'], 1)} |"
        )
    lines += ["", _told(told, best), ""]
    return "\n".join(lines)


def _told(told: Both, best: Sequence[str]) -> str:
    """Where the steward's policies win and where they lose, in words made of the figures."""
    sentences = [f"Bold: no other policy beats it in both ({len(best)} of {len(told.carried) - 2})."]
    for name in ("steward-safe+fast", OURS):
        for other, manner, theirs in (
            ("the 14-day peak", "carried out", told.carried["peak14x1.15-daily"]),
            ("the 14-day peak", "seen in full", told.full["peak14x1.15-daily"]),
            ("VPA's P95", "seen in full", told.full["vpa-p95-daily"]),
        ):
            sentences.append(f"`{name}` against {other}, {manner}: {_against(told.carried[name], theirs)}.")
    return " ".join(sentences)


def _against(sizing: SizingResult, other: SizingResult) -> str:
    ours, theirs = sizing.summary(), other.summary()
    saved = 100 * (ours["net_cores_saved_share"] - theirs["net_cores_saved_share"])
    hurt = 100 * (ours["violation_rate"] - theirs["violation_rate"])
    word = (
        "wins in both"
        if saved >= 0 and hurt <= 0
        else "loses in both"
        if saved < 0 and hurt > 0
        else "saves more and violates more"
        if saved >= 0
        else "violates less and saves less"
    )
    return f"{word} ({saved:+.1f} points saved, {hurt:+.3f} points violations)"


def _halves(results: Mapping[str, SizingResult]) -> str:
    """Rnd by machines of even and odd rank, as carried out."""
    lines = [
        "### Even and odd machines of Rnd",
        "",
        SPLIT,
        "",
        "| policy, as carried out | even: violations % | saved % | > 1 % | odd: violations % | saved % | > 1 % |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name in ("peak14x1.15-daily", "vpa-p95-daily", "steward-safe+fast", OURS, "steward-economy+fast"):
        result, cells = results[name], [name]
        for start in (0, 1):
            marks = result.summary(np.arange(start, len(result), 2))
            cells += [
                _percent(marks["violation_rate"], 3),
                _percent(marks["net_cores_saved_share"], 1),
                str(marks["vms_violating_over_1pct"]),
            ]
        lines.append(f"| {' | '.join(cells)} |")
    result = results[OURS]
    moves = np.quantile(30 * result.moves / np.maximum(result.days, 1), [0.25, 0.5, 0.75, 0.9])
    lines += [
        "",
        f"Moves of `{OURS}` in 30 days: a quarter of the machines at most {moves[0]:.0f}, half {moves[1]:.0f}, three quarters "
        f"{moves[2]:.0f}, nine of ten {moves[3]:.0f}. Sizes here are as fine as one likes; on whole shapes they are a fifth of it.",
    ]
    return "\n".join([*lines, ""])


def _beaten(series: MachineSeries, ours: SizingResult) -> list[str]:
    """Who of `LINES` beats ours in both marks, carried out."""
    results = backtest.run(series, [backtest.carrying(backtest.policy(name)) for name in LINES])
    hurt, saved = _marks(ours)
    return [name for name in LINES if (one := _marks(results[f"{name}!"]))[0] <= hurt and one[1] >= saved]


def _marks(result: SizingResult) -> tuple[float, float]:
    marks = result.summary()
    return marks["violation_rate"], marks["net_cores_saved_share"]


def _lines(beaten: Mapping[str, Sequence[str]]) -> str:
    """On which sets one of the other lines beats ours in both marks."""
    found = [f"on {dataset} by {', '.join(f'`{one}`' for one in names)}" for dataset, names in beaten.items() if names]
    where = "; ".join(found) or f"on none of {len(beaten)} set{'s' if len(beaten) > 1 else ''}"
    return (
        f"Beaten in both marks by the line of VPA (P50 to P99.9, margins 1 to 2) or of the 14-day peak (margins 1 to 3), as carried out: "
        f"`{OURS}` {where}.\n"
    )


def _house(of_new: SizingResult, ours: SizingResult) -> str:
    """What that by which a new house sizes does on Rnd beside ours, and why it is another one."""
    (violated, saved), (ours_violated, ours_saved) = _marks(of_new), _marks(ours)
    return (
        f"**The default house's policy is another one.** A new house, empty or the demo city, begins with `{HOUSE}`: "
        f"{100 * violated:.3f} % violations at {100 * saved:.1f} % saved on Rnd as carried out, where `{OURS}` has "
        f"{100 * ours_violated:.3f} % at {100 * ours_saved:.1f} %. Its advice is the smallest catalogue shape that keeps P95 at 70 %, which "
        f"a department checks by hand and which the rules that call a machine busy (P95 of 80 %) agree with. `{OURS}` weighs cost and "
        "shortage instead: where growth within the day is authorised it is the better one, without it its advice may be so full that the "
        "same rules call the machine busy. A policy version, or an exception for some pools or systems, takes it by its name.\n"
    )


def _target(carried: Mapping[str, SizingResult], shaped: SizingResult) -> str:
    """What was to be reached on Rnd, and what is; and what else lies on the frontier."""
    ours, whole = carried[OURS].summary(), shaped.summary()
    rows = (
        ("violations, % of samples", 0.10, 100 * ours["violation_rate"], False, 3),
        ("net cores saved, %", 58.0, 100 * ours["net_cores_saved_share"], True, 1),
        ("changes a machine in 30 days, of the daily size", 6.0, ours["changes_per_vm_30d"], False, 1),
        ("the same, growths within the day among them", 6.0, ours["moves_per_vm_30d"], False, 1),
        ("machines that violate over 1 %", 0.0, ours["vms_violating_over_1pct"], False, 0),
        ("caused on whole shapes, % of samples", 0.02, 100 * whole["caused_rate"], False, 3),
        ("saved on whole shapes, %", 40.0, 100 * whole["net_cores_saved_share"], True, 1),
    )
    lines = [
        f"## The target on Rnd: `{OURS}`, as carried out",
        "",
        "| | target | reached | met |",
        "|---|--:|--:|---|",
    ]
    for what, bound, figure, least, digits in rows:
        met = figure >= bound if least else figure <= bound
        sign = "≥" if least else "≤"
        lines.append(f"| {what} | {sign} {bound:g} | {figure:.{digits}f} | {'yes' if met else '**no**'} |")
    best = [
        f"`{name}` ({100 * one[0]:.3f} / {100 * one[1]:.1f})"
        for name in frontier(carried)
        if (one := _marks(carried[name]))
    ]
    lines += [
        "",
        f"On whole shapes a machine's size moves {whole['moves_per_vm_30d']:.1f} times in 30 days. The frontier of what is named here, from safest to thriftiest (violations % / saved %): "
        f"{', '.join(best)}.",
        "",
    ]
    return "\n".join(lines)


def _shapes(told: Both) -> str:
    lines = [
        "## Whole shapes (bitbrains_rnd, shrinking only)",
        "",
        f"Shapes of {', '.join(map(str, CORES))} cores; growth within the day goes no further than what was provisioned. *caused*: "
        "demand above the new and not above the old size.",
        "",
        "| policy, as carried out | caused % | saved % | changes / 30 d | expansions / 30 d | moves / 30 d "
        "| *seen in full: caused %* | *saved %* |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, result in told.carried.items():
        marks, full = result.summary(), told.full[name].summary()
        lines.append(
            f"| {name} | {_percent(marks['caused_rate'], 3)} | {_percent(marks['net_cores_saved_share'], 1)} "
            f"| {marks['changes_per_vm_30d']:.2f} | {marks['expansions_per_vm_30d']:.2f} | {marks['moves_per_vm_30d']:.2f} "
            f"| {_percent(full['caused_rate'], 3)} | {_percent(full['net_cores_saved_share'], 1)} |"
        )
    return "\n".join([*lines, ""])


def _frontier(title: str, results: Mapping[str, SizingResult]) -> str:
    best = set(frontier(results))
    points = []
    for name, result in results.items():
        marks = result.summary()
        if name not in ("as-is", "oracle"):
            points.append(
                drawings.FrontierPoint(
                    name,
                    100 * float(marks["violation_rate"]),
                    100 * float(marks["net_cores_saved_share"]),
                    ours=name.startswith("steward"),
                    best=name in best,
                )
            )
    return drawings.frontier(f"{title}: saved against violations", points)


def _worst(theirs: SizingResult, ours: SizingResult) -> str:
    panels = []
    for i in theirs.worst(10):
        one, other = theirs.trail[int(i)], ours.trail[int(i)]
        panels.append(
            drawings.Panel(
                f"{theirs.names[int(i)]}: {100 * float(theirs.rate[int(i)]):.1f} % / {100 * float(ours.rate[int(i)]):.2f} %",
                [float(v) for v in other.peak[other.judged :]],
                {
                    theirs.policy: [float(v) for v in one.size[one.judged :]],
                    ours.policy: [float(v) for v in other.size[other.judged :]],
                },
            )
        )
    return drawings.panels("Demand by day and the size in force, judged half", panels)


HEAD = """# Which size would have been right: every policy on every published trace

Made by `make judgement` (`guanjia backtest --all ../shared/traces --write docs/judgement.md`), last on {day}; no
figure is typed by hand. {names} policies on six sets, each machine sized only from what was known at the time and judged on the second half of its samples.

**As carried out.** A machine uses no more than it has. Whoever carries a policy out sees min(demand, size in force) and nothing else
of the recording, by night and within the day, from the first day on; it is judged on the full demand. That is what the tables lead
with. *Seen in full*, in the last columns, is the same policy told of all demand, as traces recorded on large machines allow: nobody
can carry that out, it stands as what better sight would give. A policy that shrinks and only looks at night loses its sight
with each cut: what VPA and rolling peaks promise in full they do not keep.

*Violation*: a sample whose demand is above the size in force. *Saved*: 1 − Σ size / Σ provisioned, what is lent counted against.
*Unserved*: demand above the size / demand. *Changes*: of the daily size. *Moves*: every change of the size in force, those within a
day among them: a cloud that can't resize a running machine can't have `+fast` and `+swift`, and a machine there is sized by the same
without it. `steward-tide` sizes each stretch of the day by the same stretch of the days before: seen in full only, as carried out it is its steady size; what
this idea gives by what can be seen is among what was tried.
"""

SPLIT = """The settings of growth within the day were searched on Rnd's even machines; the odd ones and the other five sets were looked at
beside them, so they are less biased than the even ones, not unseen. The night's settings are those of before."""

AFTER = """What to make of it: what helps is not a cleverer quantile but a short look. With a look every five minutes, being too small costs one
sample, so the night may be braver, and what it then cuts too deep comes back before an hour has passed. Acting before the size
is reached (80 to 95 %) costs savings and mends little: bursts come within five minutes. Where nothing is capped nothing is
known: hold, reach and step say how far to jump blind, and jumping to what the machine was seen to use is the cheapest.

Headroom by volatility is dearer than more regret: it is paid all day by whoever has bursts, while growth pays it in the hours of a burst. Machines
that moved together tell little in advance: bursts of machines that are alike by the hour do not begin one five minutes before the
other. What a machine used at this hour on days and weekdays before is the one thing seen that lies beyond the rule's own line, at
several times its moves: for a cloud that resizes running machines at no cost only. Two samples at the line and a day's hold give up
some of what is saved for a third of the moves.

Google's tasks and PlanetLab's single days are where it saves less than fixed quantiles or the 14-day peak do, and violates less: there
is no week of history to learn from, young machines are not shrunk. No policy is best everywhere, which is why a city backtests its
own history before it enacts one. Calendars of the business can't be tried on these traces: nobody published what the machines are for.
Which belong to one system nobody published either; who moved together is what the recording shows. They hold no stolen time and no
queues.
"""
