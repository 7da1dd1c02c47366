"""A finished backtest of a policy's draft as its page shows it: figures, frontier, groups, the worst machines drawn."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from console.book import settings
from console.charts import Chart, Dot, Scatter, Series
from console.words import _, number, policies
from metering.judging import GAUGES, LABELS, Verdict
from metering.simulation import DRAFT, EXECUTED, IN_FORCE, PolicyBacktest
from metering.sizing import profile
from quota.units import CLASSES, shown


def backtested(backtest: PolicyBacktest) -> dict[str, Any]:
    """A finished backtest for the page: figures, frontier, groups, the worst drawn."""
    told = backtest.result["sizing"]
    marks, base = told["policies"][DRAFT], told["policies"][IN_FORCE]
    period = f"{backtest.first_day} – {backtest.last_day}"
    verdicts = backtest.result["verdicts"]
    return {
        "run": backtest,
        "period": period,
        "vms": told["vms"],
        "marks": marks,
        "base": base,
        "executed": told["policies"].get(EXECUTED),
        "tidal": _tidal(backtest.document),
        "frontier": _frontier(told, period),
        "table": [_row(name, each, base) for name, each in told["policies"].items()],
        "groups": {
            kind: _groups(backtest.result["groups"][kind], backtest.result["groups_in_force"][kind])
            for kind in ("department", "system", "pool")
            if kind in backtest.result["groups"]
        },
        "worst": [_machine(i, each) for i, each in enumerate(backtest.result["worst"])],
        "verdicts": verdicts,
        "classes": [
            [
                _(LABELS[verdict]),
                number(verdicts["now"]["in_force"].get(verdict.value, 0)),
                number(verdicts["now"]["draft"].get(verdict.value, 0)),
            ]
            for verdict in Verdict
            if verdict.value in verdicts["now"]["in_force"] or verdict.value in verdicts["now"]["draft"]
        ],
        "changed": [
            (_(LABELS[Verdict(key.partition(">")[0])]), _(LABELS[Verdict(key.partition(">")[2])]), count)
            for key, count in verdicts["changed"].items()
        ],
        "hurt": verdicts["hurt"],
        "moves": _moves(verdicts),
        "growths": _growths(backtest.result.get("growths", {})),
    }


def _growths(told: dict[str, Any]) -> list[list[str]]:
    """Gauge by gauge: resources, samples at the line as recorded, left by what is in force and by the draft; the draft's growths, returns and
    what it lent."""
    ours, theirs = told.get(DRAFT, {}), told.get(IN_FORCE, {})
    rows = []
    for gauge in (one for one in GAUGES if one in ours or one in theirs):
        mine, other = ours.get(gauge), theirs.get(gauge)
        some = mine or other
        rows.append(
            [
                _(GAUGES[gauge].label),
                number(some["resources"]),
                _points(some["full_share"], 3),
                *(_("不扩容") if one is None else _points(one["left_share"], 3) for one in (other, mine)),
                *("—" if mine is None else number(mine[name]) for name in ("growths", "returned")),
                "—" if mine is None else _points(mine["lent_share"]),
            ]
        )
    return rows


def _tidal(document: dict[str, Any]) -> bool:
    """Whether a draft sizes anything by stretches of the day: that is backtested, and not carried out."""
    names = [document.get("sizing", ""), *(each.get("sizing", "") for each in document.get("sections", ()))]
    found = [profile(name) for name in names if name]
    return any(one is not None and one.tide is not None for one in found)


def _moves(verdicts: dict[str, Any]) -> list[list[str]]:
    """Kind by kind what acting on today's findings would recover and give: [kind, in force, draft] each way."""
    found = []
    for kind, unit in CLASSES.items():
        figures = [
            verdicts.get(way, {}).get(of, {}).get(kind, 0)
            for way in ("recovers", "gives")
            for of in ("in_force", "draft")
        ]
        if any(figures):
            label = (
                _(unit.label)
                if unit.label == unit.shown
                else _("%(name)s（%(more)s）", name=_(unit.label), more=_(unit.shown))
            )
            found.append([label, *(number(shown(kind, figure)) for figure in figures)])
    return found


def _points(share: float, digits: int = 2) -> str:
    """A share in per cent, with as many decimals as small rates need."""
    return f"{100 * share:.{digits}f}%"


def _row(name: str, marks: dict[str, Any], base: dict[str, Any]) -> list[str]:
    return [
        policies.sizing(name),
        _points(marks["net_cores_saved_share"], 1),
        f"{100 * (marks['net_cores_saved_share'] - base['net_cores_saved_share']):+.1f}",
        _points(marks["violation_rate"], 3),
        _points(marks["unserved_share_of_demand"], 3),
        str(marks["vms_violating_over_1pct"]),
        str(marks["vms_violating_over_5pct"]),
        number(marks["changes_per_vm_30d"]),
        number(marks["cores_at_end"]),
    ]


def _frontier(told: dict[str, Any], period: str) -> Scatter:
    groups = {DRAFT: _("本草案"), IN_FORCE: _("现行策略")}
    return Scatter(
        "frontier",
        _("节省与越限"),
        [
            Dot(
                policies.sizing(name),
                100 * marks["violation_rate"],
                100 * marks["net_cores_saved_share"],
                groups.get(name, _("其他方法")),
            )
            for name, marks in told["policies"].items()
        ],
        x_label=_("越限样本 %"),
        y_label=_("净节省 %"),
        period=period,
        logarithmic=True,
        line=[policies.sizing(name) for name in told["frontier"]],
    )


def _groups(ours: dict[str, Any], theirs: dict[str, Any]) -> list[list[str]]:
    """Rows by group, those that save most on top."""
    ordered = sorted(ours.items(), key=lambda item: -item[1]["cores_at_end"])
    return [
        [
            name,
            str(marks["vms"]),
            _points(marks["net_cores_saved_share"], 1),
            f"{100 * (marks['net_cores_saved_share'] - theirs.get(name, marks)['net_cores_saved_share']):+.1f}",
            _points(marks["violation_rate"], 3),
            str(marks["vms_violating_over_1pct"]),
            number(marks["cores_at_end"]),
        ]
        for name, marks in ordered
    ]


def _machine(number_: int, row: dict[str, Any]) -> dict[str, Any]:
    """One of the worst: its demand by day and the size that would have been in force."""
    zone = settings().zone
    days = [datetime.fromtimestamp(ts, zone) for ts in row["ts"]]
    judged = datetime.fromtimestamp(row["judged_from"], zone)
    return {
        "name": row["name"],
        "resource": row["resource"],
        "rate": _points(row["violation_rate"], 2),
        "deepest": number(row["deepest_cores"]),
        "chart": Chart(
            f"worst-{number_}",
            row["name"],
            days,
            [
                Series(_("当日最高需求"), row["peak"]),
                Series(_("草案给出的规格"), row["top"], role="capacity"),
            ],
            unit="vCPU",
            period=_("自%(day)s起计入评判", day=judged.date().isoformat()),
        ),
    }
