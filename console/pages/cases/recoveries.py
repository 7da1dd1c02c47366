"""The city's 闲收忙扩 at a glance: what could be recovered, what is on its way, what was, where it went, what we regret."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from flask import Blueprint, render_template, request, url_for
from sqlalchemy import func, select
from werkzeug.wrappers import Response

from console import frame, links
from console.access import STEWARDS, allow
from console.book import reading
from console.charts import Chart, Series
from console.lists import Column, as_csv, as_xlsx, page_of
from console.pages.cases.evidence import conduct
from console.words import UNKNOWN, _, amount, amounts, kind_label
from metering.cases import STATE_LABELS, Case, CaseState, matching, openings, recoveries, suspensions
from metering.judging import findings, policies
from metering.scale_outs import sums
from quota.calendar import ZONE
from quota.db import Tx
from quota.errors import N_
from quota.units import CLASSES, MEMORY, VCPU, Amount, ClassCode, Commodity, shown

blueprint = Blueprint("recoveries", __name__, url_prefix="/recoveries")
frame.page("cases", "recoveries.index", N_("总览"), order=10)


@blueprint.get("/")
@allow(*STEWARDS)
def index() -> str:
    tx = reading()
    today = tx.now.astimezone(ZONE)
    year = today.replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
    run = findings.last_run(tx)
    now = recoveries.recoverable(tx, run) if run else {}
    found = recoveries.recoveries(tx, year)
    table = _by_class(now, found)
    _version, rules = conduct(tx)
    opening = tx.scalar(select(openings.Opening).order_by(openings.Opening.id.desc()).limit(1))
    return render_template(
        "recoveries/index.html",
        run=run,
        year=today.year,
        found=found,
        table=table,
        figures=_figures(now, found),
        sideways=sums.summed(tx, year),
        by_class=_class_chart(now, found),
        by_month=_month_chart(tx, year, today),
        by_state=_state_chart(tx),
        regret=recoveries.regret(tx),
        limit=rules.regret_limit,
        versions=_versions(tx),
        went=recoveries.went_to(tx, year, most=15),
        address=links.address,
        accounts=lambda department_id: url_for("quota.accounts", department=department_id),
        classes=_classes,
        matches=matching.matches(tx)[:20],
        opening=opening,
        skips=[(_(openings.SKIPS[code]), count) for code, count in sorted(opening.why().items())] if opening else [],
    )


MATCHES = [
    Column("place", N_("架构与网络区"), lambda m: " · ".join(m.donor.place)),
    Column("donor", N_("让出单位"), lambda m: m.donor.department),
    Column(
        "donor_number", N_("让出案件"), lambda m: m.donor.number, title=True, href=lambda m: links.address(m.donor.key)
    ),
    Column("what", N_("可调剂"), lambda m: amounts(m.what)),
    Column("asker", N_("需求单位"), lambda m: m.asker.department),
    Column("asker_number", N_("需求"), lambda m: m.asker.number, href=lambda m: links.address(m.asker.key)),
    Column("needs", N_("所需"), lambda m: amounts(m.asker.what)),
    Column("covered", N_("可满足"), lambda m: _("是") if m.covered else _("部分")),
]


@blueprint.get("/matches")
@allow(*STEWARDS)
def matches() -> str | Response:
    """Donors and requesters of one architecture and zone."""
    tx = reading()
    rows = matching.matches(tx)
    if request.args.get("export") == "xlsx":
        return as_xlsx("matches.xlsx", MATCHES, rows)
    if request.args.get("export") == "csv":
        return as_csv("matches.csv", MATCHES, rows)
    return render_template("recoveries/matches.html", matches=page_of(tx, rows, MATCHES))


def _figures(now: Mapping[Commodity, int], found: recoveries.Recoveries) -> dict[str, str]:
    return {
        "now": _main(now),
        "under_way": _main(found.under_way),
        "recovered": _main(found.recovered),
        "given": _main(found.given),
    }


def _main(what: Mapping[Commodity, int]) -> str:
    """vCPU and memory over all architectures; the rest is in the table."""
    sums: dict[ClassCode, int] = {}
    for cls, figure in what.items():
        if cls.kind in (VCPU, MEMORY):
            sums[cls.kind] = sums.get(cls.kind, 0) + figure
    return amounts(Amount(sums))


def _classes(what: Mapping[Commodity, int]) -> str:
    """``vCPU · aarch64 32 vCPU、…``"""
    return _("、").join(f"{kind_label(cls)} {amount(figure, cls)}" for cls, figure in sorted(what.items())) or UNKNOWN


def _by_class(now: Mapping[Commodity, int], found: recoveries.Recoveries) -> list[list[str]]:
    every = sorted({*now, *found.under_way, *found.recovered, *found.given}, key=lambda c: (CLASSES.place(c.kind), c))
    return [
        [
            kind_label(cls),
            *(
                amount(part[cls], cls) if cls in part else amount(0, cls)
                for part in (now, found.under_way, found.recovered, found.given)
            ),
        ]
        for cls in every
    ]


def _class_chart(now: Mapping[Commodity, int], found: recoveries.Recoveries) -> Chart:
    classes = sorted({cls for part in (now, found.under_way, found.recovered) for cls in part if cls.kind == VCPU})
    return Chart(
        "by-class",
        _("CPU 核数:可回收、在办、本年已回收"),
        [kind_label(cls) for cls in classes],
        [
            Series(_("现可回收"), [float(now.get(cls, 0)) for cls in classes], kind="bar"),
            Series(_("在办"), [float(found.under_way.get(cls, 0)) for cls in classes], kind="bar"),
            Series(_("本年已回收"), [float(found.recovered.get(cls, 0)) for cls in classes], kind="bar"),
        ],
        unit="vCPU",
        x_label=_("类别"),
    )


def _month_chart(tx: Tx, year: datetime, today: datetime) -> Chart:
    starts = [year.replace(month=n) for n in range(1, today.month + 1)]
    months = [f"{one:%Y-%m}" for one in starts]
    ends = [*starts[1:], year.replace(year=year.year + 1)]
    sums: dict[tuple[str, ClassCode], int] = {}
    for month, freed in zip(months, recoveries.by_month(tx, list(zip(starts, ends, strict=True))), strict=True):
        for cls, figure in freed.items():
            sums[month, cls.kind] = sums.get((month, cls.kind), 0) + figure
    return Chart(
        "by-month",
        _("本年逐月回收"),
        months,
        [
            Series(
                _("%(name)s（%(more)s）", name=_(CLASSES[kind].label), more=CLASSES[kind].shown),
                [float(shown(kind, sums.get((month, kind), 0))) for month in months],
                kind="bar",
            )
            for kind in (VCPU, MEMORY)
        ],
        period=str(year.year),
        x_label=_("月份"),
    )


def _state_chart(tx: Tx) -> Chart:
    worth = select(Case.state, func.sum(Case.worth)).where(Case.state != CaseState.CLOSED.value).group_by(Case.state)
    rows = {state: float(figure) for state, figure in tx.execute(worth)}
    states = [state for state in CaseState if state.value in rows]
    return Chart(
        "by-state",
        _("在办案件按环节(折合 vCPU)"),
        [_(STATE_LABELS[state]) for state in states],
        [Series(_("折合"), [round(rows[state.value], 1) for state in states], kind="bar")],
        unit="vCPU",
        x_label=_("环节"),
        horizontal=True,
        links=[url_for("cases.index", state=state.value) for state in states],
    )


def _versions(tx: Tx) -> list[dict[str, object]]:
    """Every version under which something was taken, or that is suspended, with its regret."""
    known = recoveries.regrets(tx)
    held = {one.policy_version_id: one for one in suspensions.suspensions(tx) if one.lifted_at is None}
    return [
        {
            "version": version,
            "regret": known.get(version.id, recoveries.Regret(0, 0)),
            "suspended": held.get(version.id),
        }
        for version in policies.versions(tx)
        if version.id in known or version.id in held
    ]
