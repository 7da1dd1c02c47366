"""Systems judged from their machines, suspected zombies first, and departments from theirs."""

from __future__ import annotations

from flask import Blueprint, render_template

from console import frame
from console.access import STEWARDS, allow
from console.book import book, reading, settings
from console.texts import _, number, percent
from metering import findings, systems
from metering.policy import LABELS, Verdict
from quota.errors import N_

blueprint = Blueprint("judged_systems", __name__, url_prefix="/findings/systems")
frame.page("cases", "judged_systems.index", N_("系统评估"), order=25)


@blueprint.get("/")
@allow(*STEWARDS)
def index() -> str:
    tx = reading()
    today = book().clock().astimezone(settings().zone).date()
    told = systems.latest(tx, today)
    rows = [
        [
            system.name,
            system.department.name,
            _(systems.USES[one.use]),
            _(systems.ZOMBIES[one.zombie]) if one.zombie else "—",
            str(one.machines),
            number(one.cores),
            percent(one.cpu),
            percent(one.memory),
            percent(100 * one.coverage),
            _("、").join(f"{_(LABELS[Verdict(verdict)])} {n}" for verdict, n in sorted(one.classes.items())) or "—",
        ]
        for system, one in told
    ]
    suspected = sum(bool(one.zombie) for _system, one in told)
    low = sum(one.use is systems.Use.LOW for _system, one in told)
    return render_template(
        "judged_systems/index.html", rows=rows, suspected=suspected, low=low, run=findings.last_run(tx)
    )
