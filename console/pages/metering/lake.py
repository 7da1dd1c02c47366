"""The lake: what came of what was due, who reports and who fell silent, what is kept and how large it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from flask import Blueprint, render_template
from sqlalchemy import func, select

from console import frame
from console.access import STEWARDS, allow
from console.book import actor, book, lake, reading, settings
from console.charts import Chart, Series
from console.founding import Look, checklist
from console.jobs import latest
from console.words import _, when
from metering.intake import Coverage, LateFigure, PushSource, Reporting, reporters
from quota.actors import Actor, Role
from quota.db import Tx
from quota.directory import Pool
from quota.errors import N_

blueprint = Blueprint("lake", __name__, url_prefix="/resources/lake")
frame.page("resources", "lake.index", N_("数据湖"), order=70)

BY_DAY = 7
MEGA = 1024 * 1024


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One source: its name in words, and its samples on the last closed days."""

    name: str
    found: Reporting
    by_day: list[int | None]

    @property
    def state(self) -> str:
        return "silent" if self.found.silent else "reporting"


@blueprint.get("/")
@allow(*STEWARDS, Role.SYSADMIN)
def index() -> str:
    tx, one = reading(), lake()
    status = one.status()
    yesterday = book().clock().astimezone(settings().zone).date() - timedelta(days=1)
    last = min(status.last or yesterday, yesterday)  # of a day under way not everything is due
    by_pool = reporters.coverage(tx, one, last - timedelta(days=reporters.DAYS - 1), last)
    days = [last - timedelta(days=n) for n in range(BY_DAY)]
    kept = one.sources()
    names = _names(tx)
    rows = [
        SourceRow(_named(found.name, names), found, [kept[found.name].rows.get(day) for day in days])
        for found in reporters.reports(one, book().clock())
    ]
    return render_template(
        "lake/index.html",
        status=status,
        megabytes=status.bytes / MEGA,
        rows=rows,
        days=days,
        chart=_chart(by_pool, last),
        rolled=latest(tx, ["roll"]).get("roll"),
        quarantined=_quarantined(),
        late_figures=tx.scalar(select(func.count(LateFigure.id))) if actor().role is not Role.SYSADMIN else 0,
        landings=[(names.get(one.pool, one.pool), one) for one in lake().landings()],
    )


def _quarantined() -> list[str]:
    folder = lake().root / "quarantine"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def _names(tx: Tx) -> dict[str, str]:
    """Pool code or push source code → name."""
    pools = dict(tx.execute(select(Pool.code, Pool.name)).all())
    pushing = tx.execute(select(PushSource.code, PushSource.name)).all()
    return pools | {f"push.{code}": name for code, name in pushing}


def _named(source: str, names: dict[str, str]) -> str:
    """A source as people call it: the pool it is collected from, or the push source."""
    whose = names.get(source) or names.get(source.partition(".")[0])
    return _("%(name)s（%(more)s）", name=whose, more=source) if whose else source


def _chart(found: list[Coverage], last: date) -> Chart:
    days = [last - timedelta(days=n) for n in reversed(range(reporters.DAYS))]

    def share(pool: Coverage, day: date) -> float | None:
        came, due = pool.days.get(day, (0, 0))
        return 100.0 * came / due if due else None

    came = sum(one[0] for pool in found for one in pool.days.values())
    due = sum(one[1] for pool in found for one in pool.days.values())
    return Chart(
        "coverage",
        _("采集覆盖率(按资源池、按日)"),
        days,
        [Series(pool.pool, [share(pool, day) for day in days]) for pool in found],
        unit="%",
        period=f"{when(days[0], only='date')} – {when(days[-1], only='date')}",
        coverage=100.0 * came / due if due else None,
        thresholds=[(_("评估所需"), 90)],
        maximum=100,
    )


@frame.home_block(Role.SUPERVISOR, Role.SYSADMIN, order=35)
def silent_sources(tx: Tx, _who: Actor) -> str | None:
    """Sources that stopped reporting; nothing where all of them report."""
    silent = [one for one in reporters.reports(lake(), book().clock()) if one.silent]
    if not silent:
        return None
    names = _names(tx)
    return render_template("lake/_home.html", silent=[(_named(one.name, names), one.last) for one in silent])


@checklist.step("metered", N_("首个计量日"), N_("有一整天的采样进入计量库。"), Role.SUPERVISOR,
                endpoint="lake.index", order=170)  # fmt: skip
def _metered(look: Look) -> bool:
    return any(day < look.today for day in look.sampled())
