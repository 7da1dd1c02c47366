"""What came for months after they were closed: each figure as it was invoiced and as it is, and the line that bills it."""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, Response, render_template, url_for
from sqlalchemy import func, select, true
from sqlalchemy.orm import aliased, joinedload

from console import frame
from console.access import BUSINESS, allow
from console.book import actor, reading
from console.lists import Column, Filter, Rows, listing
from console.programs import listed
from console.words import UNKNOWN, _
from metering import statements
from metering.intake import SAMPLES, LateFigure
from metering.statements import CORRECTION, StatementLine, StatementRun, yuan
from providers.metrics import METRICS
from quota.db import Tx, among
from quota.errors import N_
from quota.inventory import Resource, seen_by

blueprint = Blueprint("corrections", __name__, url_prefix="/reports/corrections")
frame.page("reports", "corrections.index", N_("月结后更正"), order=15)

LABELS = {
    SAMPLES: N_("采样数"),
    "cpu_pct": N_("CPU 使用率"),
    "mem_pct": N_("内存使用率"),
    "disk_pct": N_("磁盘使用率"),
    "card_pct": N_("加速卡使用率"),
    "net_rx_kbps": N_("网络流入"),
    "net_tx_kbps": N_("网络流出"),
    "disk_read_kbs": N_("磁盘读"),
    "disk_write_kbs": N_("磁盘写"),
    "connections": N_("连接数"),
    "conn_pct": N_("连接数使用率"),
    "steal_pct": N_("CPU 被抢占"),
}


def _figure(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.2f}".rstrip("0").rstrip(".")


def _short(source: str) -> str:
    """A file's source without what tells two of one name apart."""
    return _FILE.sub("", source)


_FILE = re.compile(r"\.[0-9a-f]{16}$")


def _unit(row: Any) -> str | None:
    return METRICS[row.metric].unit or None if row.metric in METRICS else None


def _standing() -> Any:
    """The newest run of each month."""
    return select(func.max(StatementRun.id)).group_by(StatementRun.month)


def billed(tx: Tx, ids: set[int] | None = None) -> dict[tuple[int, str], tuple[str, int | None]]:
    """(resource, month) → the statement whose correction lines are for it, and their fen (None where nothing prices them); of some
    resources, or of all that the visitor sees."""
    mine = among(StatementLine.resource_id, ids) if ids is not None else true()
    lines = tx.execute(
        select(
            StatementLine.resource_id, StatementLine.corrects, StatementRun.month, func.sum(StatementLine.cost_fen),
        )
        .join(StatementRun, StatementRun.id == StatementLine.run_id)
        .where(
            StatementLine.charge == CORRECTION, StatementLine.run_id.in_(_standing()),
            mine, statements.visible(tx, actor()),
        )
        .group_by(StatementLine.resource_id, StatementLine.corrects, StatementRun.month)
        .order_by(StatementRun.month)
    )  # fmt: skip
    return {(resource, corrects): (month, fen) for resource, corrects, month, fen in lines}


def _columns(found: dict[tuple[int, str], tuple[str, int | None]]) -> list[Column]:
    def line(row: LateFigure) -> str | None:
        told = found.get((row.resource_id, row.month))
        return told[0] if told else None

    def line_at(row: LateFigure) -> str | None:
        month = line(row)
        return month and url_for("statements.lines", month=month, charge=CORRECTION, q=row.resource.external_id)

    def cost(row: LateFigure) -> Any:
        told = found.get((row.resource_id, row.month))
        return yuan(None if told is None or told[1] is None else int(told[1]))

    return [
        Column("name", N_("资源"), lambda r: r.resource.name or r.resource.external_id, title=True,
               href=lambda r: url_for("resources.show", resource_id=r.resource_id)),
        Column("month", N_("月份"), lambda r: r.month, sort=LateFigure.month, minor=True),
        Column("first", N_("采样自"), lambda r: r.first_at, sort=LateFigure.first_at),
        Column("last", N_("采样至"), lambda r: r.last_at, minor=True),
        Column("metric", N_("指标"), lambda r: _(LABELS.get(r.metric, r.metric)), sort=LateFigure.metric),
        Column("unit", N_("计量单位"), _unit, minor=True),
        Column("mean_before", N_("原日均值"), lambda r: r.mean_before, number=True, text=_figure),
        Column("mean_after", N_("现日均值"), lambda r: r.mean_after, number=True, text=_figure),
        Column("peak_before", N_("原峰值"), lambda r: r.peak_before, number=True, text=_figure, minor=True),
        Column("peak_after", N_("现峰值"), lambda r: r.peak_after, number=True, text=_figure, minor=True),
        Column("samples_before", N_("原采样数"), lambda r: r.samples_before, number=True),
        Column("samples_after", N_("现采样数"), lambda r: r.samples_after, number=True),
        Column("source", N_("来源"), lambda r: r.source, sort=LateFigure.source, minor=True, text=_short),
        Column("came", N_("到达"), lambda r: r.came_at, sort=LateFigure.number),
        Column("line", N_("更正行"), line, href=line_at),
        Column("cost", N_("更正金额"), cost, unit=N_("元"), number=True,
               text=lambda v: UNKNOWN if v is None else f"{v:,.2f}"),
    ]  # fmt: skip


def _named(query: Rows, value: str) -> Rows:
    wanted = frame.matching(value, Resource.name, Resource.external_id)
    return query.where(LateFigure.resource_id.in_(select(Resource.id).where(wanted)))


def _filters(tx: Tx) -> list[Filter]:
    mine = select(Resource.id).where(seen_by(tx, actor(), Resource.department_id, Resource.pool_id))

    def options(column: Any) -> dict[str, str]:
        """What there is of it in rows that the visitor sees."""
        seen = select(column).where(LateFigure.resource_id.in_(mine)).distinct().order_by(column)
        return {str(one): str(one) for one in tx.scalars(seen)}

    return [
        Filter("q", N_("资源名称或编号"), _named),
        Filter("month", N_("月份"), lambda q, v: q.where(LateFigure.month == v), options=options(LateFigure.month)),
        Filter("metric", N_("指标"), lambda q, v: q.where(LateFigure.metric == v), options=LABELS),
        Filter("source", N_("来源"), lambda q, v: q.where(LateFigure.source == v), options=options(LateFigure.source)),
    ]


@blueprint.get("/")
@allow(*BUSINESS)
@listed(
    (),
    args=("q", "month", "metric", "source"),
    open=True,
)
def index() -> str | Response:
    tx = reading()
    whose = aliased(Resource)
    query = (
        select(LateFigure)
        .join(whose, whose.id == LateFigure.resource_id)
        .where(seen_by(tx, actor(), whose.department_id, whose.pool_id))
        .options(joinedload(LateFigure.resource))
    )
    found: dict[tuple[int, str], tuple[str, int | None]] = {}
    rows = listing(tx, query, _columns(found), key=LateFigure.id, filters=_filters(tx), sort="-came")
    found.update(billed(tx, {one.resource_id for one in rows.rows} if rows.rows else None))
    return rows.exported("corrections") or render_template("corrections/index.html", rows=rows)
