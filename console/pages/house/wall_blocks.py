"""What the wall of the cockpit (驾驶舱) is made of: each block a function of the book that draws one article, in the order that
the city has set. What is drawn leads to its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

from flask import render_template, url_for
from sqlalchemy import CTE, ColumnElement, and_, case, func, or_, select
from sqlalchemy.orm import aliased, joinedload

from console.access import may
from console.book import settings
from console.pages.quota import capacity
from console.tables import JobRun, RunState
from console.words import _, amount, number
from metering.cases import STATE_LABELS as CASE_LABELS
from metering.cases import Case, CaseState, recoveries
from metering.judging import findings, worth
from metering.overview import measured, most_reclaimable
from metering.scale_outs import sums
from metering.statements import reconciliation
from metering.supervision import OPEN as OPEN_ALERTS
from metering.supervision import SupervisionAlert
from providers import orders
from providers.assessment import Rectification, ScorecardRecord, SubjectType, cards, periods, rectifications
from providers.billing import Incident
from providers.observation import quota_drifts
from providers.orders import WorkOrder
from quota import ledger
from quota.db import Tx
from quota.directory import CloudProvider, DatedEntry, DatedState, Department, city, cloud_targets, dated, outside
from quota.errors import N_
from quota.ledger import QUOTA, Account, Holder, histories
from quota.requests import OPEN, Request
from quota.units import BLOCK, CLASSES, MEMORY, VCPU, Amount, Commodity, shown

Draw = Callable[[Tx], str]

SHOWN = (VCPU, MEMORY, BLOCK)
CARDS = 6
ROOMY = 3
"""Up to so many pools there is room for each class that is shown."""
ROWS = 8
URGENT = 5
TREND_DAYS = 56
TREND_POINTS = 14
"""About so many points of a line are drawn; each is summed by the database."""
STALE = timedelta(hours=30)
"""After so long an assessment, which is made each night, is late."""


@dataclass(frozen=True, slots=True)
class WallBlock:
    """One article of the wall. ``columns``, ``rows``: how many it takes."""

    name: str
    label: str
    draw: Draw
    columns: int = 1
    rows: int = 1


_BLOCKS: dict[str, WallBlock] = {}


def block(name: str, label: str, *, columns: int = 1, rows: int = 1) -> Callable[[Draw], Draw]:
    """Enter a block; blocks stand in the order in which they are entered, unless the city sets another."""

    def enter(draw: Draw) -> Draw:
        _BLOCKS[name] = WallBlock(name, label, draw, columns, rows)
        return draw

    return enter


def blocks() -> Mapping[str, WallBlock]:
    """All that there are, in their own order."""
    return _BLOCKS


def arranged(tx: Tx) -> list[WallBlock]:
    """The blocks that the city shows, in its order; all of them where it said nothing. Names that are no longer known are passed
    over."""
    said = city.told(tx).get(city.WALL)
    return list(_BLOCKS.values()) if said is None else [_BLOCKS[one] for one in said.split() if one in _BLOCKS]


def drawn(tx: Tx) -> list[tuple[WallBlock, str]]:
    return [(one, one.draw(tx)) for one in arranged(tx)]


@block("pools", N_("资源池"), rows=3)
def _pools(tx: Tx) -> str:
    """Each pool with the classes that a wall has room for: promised, used and measured of what may be given out."""
    use = measured(tx)
    found: dict[int, dict[str, Any]] = {}
    for row in capacity(tx, {}):
        if row["cls"].kind not in SHOWN or not row["pool"].active:
            continue
        one = found.setdefault(row["pool"].id, {"pool": row["pool"], "lines": []})
        one["lines"].append(
            {
                "cls": row["cls"],
                "sum": row["sum"],
                "used": row["parts"].get(Holder.USED.value, 0),
                "promised": row["sum"] - row["parts"].get(Holder.FREE.value, 0),
                "use": use.total(row["cls"].kind, pools=[row["pool"].id]),
            }
        )
        one["lines"][-1]["label"] = _promised_of(**one["lines"][-1])
    for one in found.values():
        one["lines"].sort(key=lambda line: CLASSES.place(line["cls"].kind))
    kinds = len(SHOWN) if len(found) <= ROOMY else len(SHOWN) - 1
    pools = list(found.values())
    return render_template("cockpit/_pools.html", pools=pools[:CARDS], kinds=kinds, more=len(pools[CARDS:]))


def _promised_of(cls: Commodity, promised: int, sum: int, **_more: Any) -> str:  # noqa: A002 - as capacity says it
    """``内存 4,744 / 7,680 GB``; where a class is called as its unit is, once."""
    of = CLASSES[cls.kind]
    text = f"{number(shown(cls.kind, promised))} / {amount(sum, cls)}"
    return text if of.label == of.shown else f"{_(of.label)} {text}"


@block("trend", N_("配额与在用趋势"), columns=2)
def _trend(tx: Tx) -> str:
    """vCPU of the city over the last weeks: given, and in use, at some ends of days and now."""
    zone = settings().zone
    first, last = histories.window(tx.now.astimezone(zone).date(), TREND_DAYS)
    begun = histories.begun(tx, zone=zone)
    first = max(first, begun) if begun else last
    step = -(-((last - first).days + 1) // TREND_POINTS)
    ends = [last - timedelta(days=n) for n in range(step, (last - first).days + 1, step)][::-1]
    instants = [datetime.combine(day + timedelta(days=1), time(), zone) for day in ends] + [
        tx.now + timedelta(seconds=1)
    ]
    given = histories.held_at(tx, VCPU, QUOTA, instants)
    used = histories.held_at(tx, VCPU, (Holder.USED,), instants)
    low, top = min(given + used), max(*given, *used, 1)
    low -= (top - low or low) // 4
    return render_template(
        "cockpit/_trend.html", first=ends[0] if ends else last, last=last, low=low, top=top,
        given=given[-1], used=used[-1], before=used[0],
        lines=[("gj-wall-given", _points(given, low, top)), ("gj-wall-used", _points(used, low, top))],
    )  # fmt: skip


def _points(values: Sequence[int], low: int, top: int) -> str:
    """The points of a line in a drawing of 100 × 40 that begins at ``low``."""
    step = 100 / max(len(values) - 1, 1)
    return " ".join(
        f"{n * step:.2f},{38 - 36 * (value - low) / max(top - low, 1):.2f}" for n, value in enumerate(values)
    )


@block("departments", N_("可回收最多的单位"), rows=2)
def _departments(tx: Tx) -> str:
    """Departments by what their idle and underused machines would give back, in vCPU."""
    ranked = most_reclaimable(tx, ROWS)
    names = dict(
        tx.execute(
            select(Department.id, Department.name).where(Department.id.in_([id_ for id_, _what in ranked]))
        ).all()
    )
    rows = [(id_, names[id_], worth(what), what) for id_, what in ranked]
    return render_template("cockpit/_departments.html", rows=rows, most=rows[0][2] if rows else 1)


def _branches() -> CTE:
    """Department → its own number and those below it (``top``, ``id``), of those that a city is seen by: what lies under a top of the
    tree where any of that has others below it (districts), else the top itself (the city's own departments)."""
    top, child, grand = aliased(Department), aliased(Department), aliased(Department)

    def deep(one: Any) -> ColumnElement[bool]:
        return select(child.id).join(grand, grand.parent_id == child.id).where(child.parent_id == one.id).exists()

    some = select(child.id).where(child.parent_id == Department.id).exists()
    heads = or_(
        and_(Department.parent_id.is_(None), some, ~deep(Department)),
        Department.parent_id.in_(select(top.id).where(top.parent_id.is_(None), deep(top))),
    )
    tree = select(Department.id.label("top"), Department.id.label("id")).where(Department.active, heads)
    found = tree.cte(recursive=True)
    return found.union(select(found.c.top, Department.id).join(found, Department.parent_id == found.c.id))


@block("districts", N_("各区与市直"))
def _districts(tx: Tx) -> str:
    """Of each district, and of the city's own departments together: vCPU given and in use, open cases."""
    tree = _branches()
    holds = Account.holder.in_([one.value for one in QUOTA])
    given = func.sum(Account.balance)
    used = func.sum(case((Account.holder == Holder.USED.value, Account.balance), else_=0))
    query = (
        select(tree.c.top, Department.name, given, used)
        .join(Account, Account.department_id == tree.c.id)
        .join(Department, Department.id == tree.c.top)
        .where(Account.kind == VCPU, holds)
        .group_by(tree.c.top, Department.name)
        .order_by(given.desc(), tree.c.top)
    )
    found = tx.execute(query.limit(ROWS)).all()
    open_cases = (
        select(tree.c.top, func.count(Case.id))
        .join(Case, Case.department_id == tree.c.id)
        .where(Case.state != CaseState.CLOSED.value, tree.c.top.in_([top for top, *_more in found]))
        .group_by(tree.c.top)
    )
    cases: dict[int, int] = dict(tx.execute(open_cases).all())
    rows = [(top, name, int(all_), int(used_), int(cases.get(top, 0))) for top, name, all_, used_ in found]
    return render_template("cockpit/_districts.html", rows=rows)


@block("urgent", N_("到期最早的案件"), columns=2)
def _urgent(tx: Tx) -> str:
    """The open cases whose day is the nearest, or longest past."""
    query = (
        select(Case)
        .where(Case.state != CaseState.CLOSED.value, Case.due_at.is_not(None))
        .order_by(Case.due_at, Case.id)
        .limit(URGENT)
        .options(joinedload(Case.resource), joinedload(Case.department))
    )
    return render_template("cockpit/_urgent.html", rows=tx.scalars(query).all())


@block("cases", N_("案件"))
def _cases(tx: Tx) -> str:
    """Open cases by state, and of each how many are late."""
    query = (
        select(Case.state, func.count(), func.sum(case((Case.due_at < tx.now, 1), else_=0)))
        .where(Case.state != CaseState.CLOSED.value)
        .group_by(Case.state)
    )
    counted = {CaseState(state): (int(count), int(late or 0)) for state, count, late in tx.execute(query).all()}
    rows = [(state.value, label, *counted[state]) for state, label in CASE_LABELS.items() if state in counted]
    return render_template("cockpit/_cases.html", rows=rows, most=max((row[2] for row in rows), default=1))


@block("money", N_("费用"))
def _money(tx: Tx) -> str:
    """What companies want for the newest month that was compared: proven, in dispute, unmeasurable are all of it."""
    return render_template("cockpit/_money.html", told=reconciliation.billed_month(tx))


@block("results", N_("成效"))
def _results(tx: Tx) -> str:
    """What was taken back and given since the beginning, by class over all architectures."""
    account = recoveries.recoveries(tx)
    return render_template(
        "cockpit/_results.html",
        recovered=_summed(account.recovered), cases_recovered=account.cases_recovered,
        given=_summed(account.given), cases_given=account.cases_given, sideways=sums.summed(tx), on_cloud=_on_cloud(tx),
    )  # fmt: skip


def _on_cloud(tx: Tx) -> tuple[float, float] | None:
    """The share of systems on the cloud and the year's target, in per cent; None without a target."""
    today = tx.now.astimezone(settings().zone).date()
    target = cloud_targets.of_year(tx, today.year)
    share = target.share() if target is not None else None
    if share is None:
        return None
    on, total = outside.on_the_cloud(tx, today)
    return (100 * on / total, share / 10) if total else None


def _summed(of: Mapping[Any, int]) -> Amount:
    total: dict[Any, int] = {}
    for cls, figure in of.items():
        total[cls.kind] = total.get(cls.kind, 0) + figure
    return Amount(total)


@block("companies", N_("云服务商考核"))
def _companies(tx: Tx) -> str:
    """Each company with the published card of its newest period: a draft is nobody's mark yet, and anybody may stand before a wall."""
    rows = tx.scalars(select(CloudProvider).where(CloudProvider.active).order_by(CloudProvider.id).limit(CARDS)).all()
    published = cards.newest(SubjectType.COMPANY, published=True)
    found = tx.scalars(
        select(ScorecardRecord).where(published, ScorecardRecord.provider_id.in_([one.id for one in rows]))
    )
    newest: dict[int | None, ScorecardRecord] = {}
    for card in sorted(found, key=lambda one: (periods.bounds(one.month)[1], periods.is_quarter(one.month))):
        newest[card.provider_id] = card
    return render_template("cockpit/_companies.html", companies=[(one.name, newest.get(one.id)) for one in rows])


@block("alarms", N_("告警"))
def _alarms(tx: Tx) -> str:
    """What somebody has to look at now: overdue, failed, differing. Each leads to its list; what there is none of is left out."""
    run = findings.last_run(tx)
    now, drift = tx.now, quota_drifts.QuotaDrift
    bad = (RunState.FAILED.value, RunState.LOST.value)
    told: list[tuple[str, int, str, dict[str, Any]]] = [
        (N_("评估结果已过期"), int(run is not None and now - run.as_of > STALE), "findings.index", {}),
        (N_("逾期申请"), count(tx, Request.id, Request.state.in_(OPEN), Request.due_at < now), "decisions.index", {}),
        (
            N_("逾期工单"),
            count(tx, WorkOrder.id, orders.late(now)),
            "orders.index",
            {"state": "late"},
        ),
        (N_("逾期案件"), count(tx, Case.id, Case.state != CaseState.CLOSED.value, Case.due_at < now), "cases.index", {}),
        (N_("逾期整改"), count(tx, Rectification.id, rectifications.late(now)), "rectifications.index", {"state": "overdue"}),
        (N_("监管预警"), count(tx, SupervisionAlert.id, SupervisionAlert.state.in_(OPEN_ALERTS)), "supervision_alerts.index", {"state": "open"}),
        (N_("到期未续或未退出"), count(tx, DatedEntry.id, dated.in_state(DatedState.OVER, now.astimezone(settings().zone).date())),
         "dated.index", {"state": DatedState.OVER.value}),
        (N_("未恢复故障"), count(tx, Incident.id, Incident.recovered_at.is_(None), Incident.settled_at.is_(None)),
         "incidents.index", {"state": "open"}),
        (N_("云上配额与账面不同"), count(tx, drift.id), "pools.index", {}),
        (N_("一日内失败的任务"), count(tx, JobRun.job.distinct(), JobRun.state.in_(bad), JobRun.started_at >= now - timedelta(days=1)),
         "jobs.index", {}),
        (N_("账本不守恒"), int(not ledger.conserved(tx)), "quota.accounts", {}),
    ]  # fmt: skip
    rows = [(label, count, url_for(page, **args) if may(page) else "") for label, count, page, args in told if count]
    return render_template("cockpit/_alarms.html", rows=rows)


def count(tx: Tx, what: Any, *where: Any) -> int:
    """How many values of a column there are where all of ``where`` holds."""
    return tx.scalar(select(func.count(what)).where(*where)) or 0
