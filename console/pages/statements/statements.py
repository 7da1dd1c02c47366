"""Statements by month: from the city down to the days of one resource, each figure a link to its rows; closing and exports."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from flask import Blueprint, Response, flash, redirect, render_template, request, send_file, url_for
from sqlalchemy import Select, case, func, select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response as Redirect

from console import frame, links
from console.access import BUSINESS, STEWARDS, allow, proven
from console.book import actor, book, lake, reading, settings
from console.charts import Chart, Series
from console.choices import Choosable
from console.lists import SPOOL_BYTES, Column, Filter, Rows, listing
from console.programs import Given, downloads, listed, takes
from console.security import row_or
from console.words import CLASS_LABELS, UNKNOWN, _, kind_label
from metering import statements
from metering.intake import LateFigure
from metering.settlement import focus_datasets
from metering.statements import (
    CORRECTION,
    EXAMPLE,
    StatementLine,
    StatementRun,
    closings,
    focus_files,
    reconciliation,
    unit_hours,
    yuan,
)
from metering.statements import focus as focus_format
from metering.workbench import Workbench
from providers.billing import month_bounds
from quota.actors import Role
from quota.calendar import ZONE
from quota.db import Tx
from quota.directory import CloudProvider, Department, System
from quota.errors import N_, NotFound
from quota.inventory import Resource
from quota.units import BLOCK, CLASSES, MEMORY, OBJECT, VCPU, ClassCode

blueprint = Blueprint("statements", __name__, url_prefix="/reports/statements")
frame.page("reports", "statements.index", N_("对账单"), order=10)

LEVELS = {
    "department": N_("使用单位"),
    "provider": N_("云服务商"),
    "system": N_("信息系统"),
    "kind": N_("资源类别"),
    "resource": N_("资源"),
}
BELOW = {"provider": "department", "department": "system", "system": "resource", "kind": "resource"}
CHARGES = {"usage": N_("用量"), CORRECTION: N_("更正")}


def money(value: Decimal | None) -> str:
    """Yuan with two places; "—" for unknown."""
    return UNKNOWN if value is None else f"{value:,.2f}"


def as_billed(value: Decimal | None) -> str:
    """Yuan as a bill says them: two places, and more where it has more."""
    if value is None:
        return UNKNOWN
    places = -int(value.normalize().as_tuple().exponent)
    return f"{value:,.{max(2, places)}f}"


def hours(value: Decimal | None) -> str:
    """Unit-hours as people read them."""
    return UNKNOWN if value is None else f"{value:,.1f}"


def standing(tx: Tx, month: str = "") -> StatementRun | None:
    """The run that stands of ``month``, of the newest month where none is named."""
    known = statements.months(tx)
    month = month if month in known else (known[0] if known else "")
    return statements.latest(tx, month) if month else None


def _narrow(column: Any) -> Any:
    def apply(query: Rows, value: str) -> Rows:
        wanted = row_or(value, -1)
        if wanted < 0:
            return query
        return query.where(column == wanted if wanted else column.is_(None))

    return apply


def _same(query: Rows, _value: str) -> Rows:
    return query


def _named_in(tx: Tx, run: StatementRun, column: Any, model: Any) -> Choosable:
    """What the visitor's own lines name."""
    mine = select(column).where(StatementLine.run_id == run.id, statements.visible(tx, actor()))
    return select(model.id, model.code, model.name).where(model.id.in_(mine))


def filters(tx: Tx, run: StatementRun, *, levels: bool) -> list[Filter]:
    months = {month: month for month in statements.months(tx)}
    found = [Filter("month", N_("月份"), _same, options=months, default=run.month)]
    if levels:
        found.append(Filter("by", N_("汇总"), _same, options=LEVELS, default="department"))
    else:
        found.append(Filter("q", N_("资源名称或编号"), _named))
    found += [
        Filter("provider", N_("云服务商"), _narrow(StatementLine.provider_id),
               among=_named_in(tx, run, StatementLine.provider_id, CloudProvider)),
        Filter("department", N_("使用单位"), _narrow(StatementLine.department_id),
               among=_named_in(tx, run, StatementLine.department_id, Department), options={"0": N_("无归属")}),
        Filter("system", N_("信息系统"), _narrow(StatementLine.system_id),
               among=_named_in(tx, run, StatementLine.system_id, System), options={"0": N_("无归属")}),
        Filter("kind", N_("类别"), lambda q, v: q.where(StatementLine.kind == v), options=CLASS_LABELS),
    ]  # fmt: skip
    if not levels:
        found.append(Filter("charge", N_("性质"), lambda q, v: q.where(StatementLine.charge == v), options=CHARGES))
    return found


def _named(query: Rows, value: str) -> Rows:
    mine = select(Resource.id).where(frame.matching(value, Resource.name, Resource.external_id))
    return query.where(StatementLine.resource_id.in_(mine))


# ------------------------------------------------------------------------------------------------------------ overview


def _sum(name: str, *kinds: ClassCode) -> Any:
    """Unit-seconds or fen of usage lines, of some kinds where given."""
    wanted = StatementLine.charge != CORRECTION
    if kinds:
        wanted = wanted & StatementLine.kind.in_(kinds)
    return func.coalesce(func.sum(case((wanted, getattr(StatementLine, name)), else_=0)), 0)


def _grouped(level: str) -> tuple[Select[Any], Any]:
    """The query of a level: id, name, sums. The id settles the order."""
    ids = {
        "department": StatementLine.department_id, "provider": StatementLine.provider_id,
        "system": StatementLine.system_id, "resource": StatementLine.resource_id, "kind": StatementLine.kind,
    }  # fmt: skip
    names = {"department": Department.name, "provider": CloudProvider.name, "system": System.name,
             "resource": func.coalesce(func.nullif(Resource.name, ""), Resource.external_id),
             "kind": StatementLine.kind}  # fmt: skip
    one, name = ids[level], names[level]
    query = select(
        one.label("id"),
        name.label("name"),
        func.count(StatementLine.resource_id.distinct()).label("resources"),
        _sum("allocated", VCPU).label("vcpu"),
        _sum("allocated", MEMORY).label("memory"),
        _sum("allocated", BLOCK, OBJECT).label("storage"),
        _sum("allocated").label("allocated"),
        _sum("cost_fen").label("cost"),
        _sum("unmeasured_fen").label("unmeasured"),
        func.coalesce(
            func.sum(case((StatementLine.charge == CORRECTION, StatementLine.cost_fen), else_=0)), 0
        ).label("correction"),
    ).select_from(StatementLine)  # fmt: skip
    if level == "department":
        query = query.outerjoin(Department, Department.id == StatementLine.department_id)
    elif level == "provider":
        query = query.join(CloudProvider, CloudProvider.id == StatementLine.provider_id)
    elif level == "system":
        query = query.outerjoin(System, System.id == StatementLine.system_id)
    elif level == "resource":
        query = query.join(Resource, Resource.id == StatementLine.resource_id)
    return query.group_by(one, name), one


def _columns(level: str, run: StatementRun) -> list[Column]:
    kept = {name: request.args[name] for name in ("provider", "department", "system", "kind") if request.args.get(name)}

    def href(row: Any) -> str:
        narrowed: dict[str, Any] = {**kept, "month": run.month, level: row.id if row.id is not None else 0}
        if level == "resource":
            narrowed.pop("resource")
            return url_for("statements.lines", **narrowed, q=row.name)
        return url_for("statements.index", **narrowed, by=BELOW[level])

    def name(row: Any) -> str:
        return _("无归属") if row.name is None else kind_label(row.name) if level == "kind" else str(row.name)

    found = [
        Column("name", LEVELS[level], name, href=href, title=True),
        Column("resources", N_("资源数"), lambda r: r.resources, sort=func.count(StatementLine.resource_id.distinct()),
               number=True),
    ]  # fmt: skip
    if level == "kind":
        found.append(Column("hours", N_("占用量"), lambda r: unit_hours(r.id, r.allocated), number=True, text=hours))
        found.append(Column("unit", N_("计量单位"), lambda r: _(CLASSES[ClassCode(r.id)].shown) + "·" + _("时")))
    else:
        found += [
            Column("vcpu", "vCPU", lambda r: unit_hours(VCPU, r.vcpu), unit=N_("vCPU·时"),
                   sort=_sum("allocated", VCPU), number=True, text=hours),
            Column("memory", N_("内存"), lambda r: unit_hours(MEMORY, r.memory), unit=N_("GB·时"), number=True,
                   text=hours, minor=True),
            Column("storage", N_("存储"), lambda r: unit_hours(BLOCK, r.storage), unit=N_("GB·时"), number=True,
                   text=hours, minor=True),
        ]  # fmt: skip
    return [
        *found,
        Column("cost", N_("已证实费用"), lambda r: yuan(int(r.cost)), unit=N_("元"), sort=_sum("cost_fen"), number=True,
               text=money),
        Column("unmeasured", N_("不可计量费用"), lambda r: yuan(int(r.unmeasured)), unit=N_("元"),
               sort=_sum("unmeasured_fen"), number=True, text=money),
        Column("correction", N_("更正"), lambda r: yuan(int(r.correction)), unit=N_("元"), number=True, text=money,
               minor=True),
        Column("coverage", N_("采集覆盖率"), _covered, unit="%", number=True),
    ]  # fmt: skip


def _covered(row: Any) -> float | None:
    """Proven share of what is priced; None where nothing is."""
    whole = int(row.cost) + int(row.unmeasured)
    return round(100 * int(row.cost) / whole, 2) if whole else None


@blueprint.get("/")
@allow(*BUSINESS)
@listed(
    (),
    args=("month", "by", "provider", "department", "system", "kind"),
    open=True,
)
def index() -> str | Response:
    tx = reading()
    run = standing(tx, request.args.get("month", ""))
    if run is None:
        return render_template("statements/none.html", month=_last_month(tx))
    level = request.args.get("by", "department")
    level = level if level in LEVELS else "department"
    query, key = _grouped(level)
    query = query.where(StatementLine.run_id == run.id, statements.visible(tx, actor()))
    found = listing(tx, query, _columns(level, run), key=key, filters=filters(tx, run, levels=True), sort="-cost")
    exported = found.exported(f"statement-{run.month}-{level}")
    return exported or render_template(
        "statements/index.html",
        rows=found,
        level=LEVELS[level],
        figures=figures(tx, run),
        **_about(tx, run),
    )


def figures(tx: Tx, run: StatementRun) -> dict[str, Any]:
    """The sums of what the visitor may see of a run."""
    row = tx.execute(
        select(
            _sum("cost_fen").label("cost"),
            _sum("unmeasured_fen").label("unmeasured"),
            func.coalesce(
                func.sum(case((StatementLine.charge == CORRECTION, StatementLine.cost_fen), else_=0)), 0
            ).label("correction"),
            func.count(StatementLine.resource_id.distinct()).label("resources"),
            func.coalesce(func.sum(case((StatementLine.cost_fen.is_(None), 1), else_=0)), 0).label("unpriced"),
            func.coalesce(func.sum(StatementLine.allocated), 0).label("allocated"),
        ).where(StatementLine.run_id == run.id, statements.visible(tx, actor()))
    ).one()
    examples = tx.scalar(
        select(StatementLine.id).where(StatementLine.run_id == run.id, StatementLine.tariff.has(label=EXAMPLE)).limit(1)
    )
    return {
        "cost": money(yuan(int(row.cost))),
        "unmeasured": money(yuan(int(row.unmeasured))),
        "correction": money(yuan(int(row.correction))),
        "payable": money(yuan(int(row.cost) + int(row.correction))),
        "resources": row.resources,
        "unpriced": int(row.unpriced),
        "coverage": _covered(row),
        "example": examples is not None,
    }


def _about(tx: Tx, run: StatementRun) -> dict[str, Any]:
    first, end = month_bounds(run.month)
    last = min(run.until, end) - timedelta(seconds=1)
    return {
        "run": run,
        "runs": statements.runs_of(tx, run.month),
        "closing": closings.closing(tx, run.month),
        "period": f"{first.astimezone(ZONE):%Y-%m-%d} – {last.astimezone(ZONE):%Y-%m-%d}",
        "whole": run.until >= end,
    }


def _last_month(tx: Tx) -> str:
    return f"{tx.now.astimezone(settings().zone).replace(day=1) - timedelta(days=1):%Y-%m}"


# --------------------------------------------------------------------------------------------------------------- lines

COLUMNS = [
    Column("name", N_("资源"), lambda r: r.resource.name or r.resource.external_id,
           href=lambda r: url_for("statements.line", line_id=r.id), title=True),
    Column("kind", N_("类别"), lambda r: kind_label(r.kind), code=lambda r: r.kind, sort=StatementLine.kind),
    Column("stopped", N_("状态"), lambda r: "stopped" if r.stopped else "running", state=True),
    Column("department", N_("使用单位"), lambda r: r.department.name if r.department else None, href=links.department(lambda r: r.department_id)),
    Column("system", N_("信息系统"), lambda r: r.system.name if r.system else None, href=links.system(lambda r: r.system_id), minor=True),
    Column("provider", N_("云服务商"), lambda r: r.provider.name, href=links.provider(lambda r: r.provider_id), minor=True),
    Column("hours", N_("占用"), lambda r: r.unit_hours, number=True, text=hours, sort=StatementLine.allocated),
    Column("proven", N_("已证实"), lambda r: r.proven_hours, number=True, text=hours),
    Column("unit", N_("计量单位"), lambda r: _(CLASSES[ClassCode(r.kind)].shown) + "·" + _("时"), minor=True),
    Column("coverage", N_("采集覆盖率"), lambda r: None if r.coverage is None else round(r.coverage, 2), unit="%",
           number=True),
    Column("price", N_("单价"), lambda r: r.tariff.unit_price(r.stopped).normalize() if r.tariff else None,
           unit=N_("元"), number=True, text=lambda v: UNKNOWN if v is None else f"{v:f}", minor=True),
    Column("cost", N_("已证实费用"), lambda r: r.cost, unit=N_("元"), number=True, text=money,
           sort=StatementLine.cost_fen, total=func.sum(StatementLine.cost_fen)),
    Column("unmeasured", N_("不可计量费用"), lambda r: r.unmeasured_cost, unit=N_("元"), number=True, text=money,
           sort=StatementLine.unmeasured_fen, total=func.sum(StatementLine.unmeasured_fen)),
    Column("corrects", N_("更正月份"), lambda r: r.corrects or None, minor=True),
]  # fmt: skip


@blueprint.get("/lines")
@allow(*BUSINESS)
@listed(
    COLUMNS,
    args=("month", "q", "provider", "department", "system", "kind", "charge"),
)
def lines() -> str | Response:
    tx = reading()
    run = standing(tx, request.args.get("month", ""))
    if run is None:
        return render_template("statements/none.html", month=_last_month(tx))
    query = (
        select(StatementLine)
        .where(StatementLine.run_id == run.id, statements.visible(tx, actor()))
        .options(
            joinedload(StatementLine.resource), joinedload(StatementLine.department), joinedload(StatementLine.system),
            joinedload(StatementLine.provider), joinedload(StatementLine.tariff),
        )
    )  # fmt: skip
    found = listing(tx, query, COLUMNS, key=StatementLine.id, filters=filters(tx, run, levels=False), sort="-cost")
    found.sums = {name: yuan(int(fen or 0)) for name, fen in found.sums.items()}
    return found.exported(f"statement-lines-{run.month}") or render_template(
        "statements/lines.html", rows=found, **_about(tx, run)
    )


@blueprint.get("/lines/<int:line_id>")
@allow(*BUSINESS)
def line(line_id: int) -> str:
    """One line with its days. Raises NotFound for one that the visitor may not see."""
    tx = reading()
    one = tx.scalar(select(StatementLine).where(StatementLine.id == line_id, statements.visible(tx, actor())))
    if one is None:
        raise NotFound("line.none", N_("没有这一行"))
    start = month_bounds(one.corrects or one.run.month)[0].astimezone(ZONE).date()
    days = [
        (start + timedelta(days=day), unit_hours(one.kind, allocated), unit_hours(one.kind, proven))
        for first, last, allocated, proven in zip(*one.days, strict=True)
        for day in range(first, last + 1)
    ]
    unit = _(CLASSES[ClassCode(one.kind)].shown) + "·" + _("时")
    chart = Chart(
        "days",
        _("每日占用"),
        [day for day, _allocated, _proven in days],
        [
            Series(_("已证实"), [float(proven) for _day, _allocated, proven in days], kind="bar", stack="a"),
            Series(_("不可计量"), [float(a - p) for _day, a, p in days], kind="bar", stack="a"),
        ],
        unit=unit,
        coverage=one.coverage,
        x_label=_("日期"),
    )
    return render_template(
        "statements/line.html", one=one, chart=chart, unit=unit, money=money, hours=hours, month=one.run.month,
        late=tx.scalar(
            select(func.count(LateFigure.id)).where(
                LateFigure.month == one.corrects, LateFigure.resource_id == one.resource_id
            )
        ),
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- exports


@blueprint.get("/<int:run_id>/focus.<any(csv, parquet):ending>")
@allow(*BUSINESS)
@downloads("text/csv", "application/vnd.apache.parquet")
def focus(run_id: int, ending: str) -> Response:
    """The visitor's part of a run as FOCUS 1.2; the whole for those who see the city."""
    return _focus(run_id, ending, focus_format.VERSION)


@blueprint.get("/<int:run_id>/focus-1.4.<any(csv, parquet):ending>")
@allow(*BUSINESS)
@downloads("text/csv", "application/vnd.apache.parquet")
def newer_focus(run_id: int, ending: str) -> Response:
    """As FOCUS 1.4."""
    return _focus(run_id, ending, focus_format.NEWER)


@blueprint.get("/<int:run_id>/<any(billing_period, invoice_detail, contract_commitment):dataset>.csv")
@allow(*STEWARDS)
@downloads("text/csv")
def focus_dataset(run_id: int, dataset: str) -> Response:
    """What FOCUS 1.4 has beside the charges."""
    tx = reading()
    run = statements.run(tx, run_id)
    text = focus_datasets.csv_of(dataset, focus_datasets.DATASETS[dataset](tx, run))
    return send_file(
        io.BytesIO(text.encode()),
        mimetype="text/csv",
        as_attachment=True,
        download_name=f"{dataset}-{run.month}-r{run.revision}.csv",
    )


def _focus(run_id: int, ending: str, version: str) -> Response:
    tx = reading()
    run = statements.run(tx, run_id)
    where = None if actor().role in STEWARDS else statements.visible(tx, actor())
    file = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 - closed with the answer
    focus_files.WRITERS[ending](file, focus_files.rows_of(tx, run, where), version)
    file.seek(0)
    mimetype = "text/csv" if ending == "csv" else "application/vnd.apache.parquet"
    name = f"focus{'' if version == focus_format.VERSION else f'-{version}'}-{run.month}-r{run.revision}.{ending}"
    return send_file(file, mimetype=mimetype, as_attachment=True, download_name=name)


# ------------------------------------------------------------------------------------------- making, comparing, closing


@blueprint.post("/make")
@allow(Role.SUPERVISOR)
@takes(None, Given("month", label=N_("月份"), required=True), Given("reason", label=N_("理由")))
def make() -> Redirect:
    month = request.form.get("month", "")
    workbench = Workbench(book(), lake(), settings().data)
    before = standing(reading(), month)
    run = statements.make(workbench, month, actor=actor(), reason=request.form.get("reason", "")[:500])
    reconciliation.all_pools(workbench, month, actor=actor())
    if before is not None and before.id == run.id:
        flash(_("%(month)s 的对账单没有变化", month=month), "info")
    else:
        flash(_("已生成 %(month)s 对账单第 %(revision)s 版", month=month, revision=run.revision), "success")
    return redirect(url_for("statements.index", month=month))


@blueprint.get("/<int:run_id>/differences")
@allow(*STEWARDS)
def differences(run_id: int) -> str:
    """What a revision changed, row by row, against the one before it."""
    tx = reading()
    run = statements.run(tx, run_id)
    earlier = [one for one in statements.runs_of(tx, run.month) if one.revision < run.revision]
    found = statements.differences(tx, earlier[0], run) if earlier else []
    names: Mapping[int, str] = {
        one.id: one.name or one.external_id
        for one in tx.execute(
            select(Resource.id, Resource.name, Resource.external_id).where(
                Resource.id.in_([row.resource_id for row in found[:500]])
            )
        )
    }
    rows = [
        [
            names[row.resource_id],
            kind_label(row.kind),
            _("关机") if row.stopped else _("开机"),
            row.corrects or UNKNOWN,
            hours(unit_hours(row.kind, row.change("allocated"))),
            hours(unit_hours(row.kind, row.change("proven"))),
            money(yuan((row.before or {}).get("cost_fen"))),
            money(yuan((row.after or {}).get("cost_fen"))),
            money(yuan(row.change("cost_fen"))),
        ]
        for row in found[:500]
    ]
    change = yuan(sum(row.change("cost_fen") for row in found))
    return render_template(
        "statements/differences.html", run=run, earlier=earlier[0] if earlier else None, rows=rows, count=len(found),
        change=money(change),
    )  # fmt: skip


@blueprint.get("/<int:run_id>/close")
@allow(Role.AUTHORITY)
def closing(run_id: int) -> str:
    """What closing would fix, before it is done."""
    tx = reading()
    run = statements.run(tx, run_id)
    providers = {one.code: one.name for one in tx.scalars(select(CloudProvider))}
    invoices = [
        (number, providers[number.removeprefix(f"{run.month}-")], money(yuan(fen)))
        for number, fen in statements.invoices(tx, run).items()
    ]
    return render_template(
        "statements/close.html", invoices=invoices, next=closings.following(run.month), figures=figures(tx, run),
        **_about(tx, run),
    )  # fmt: skip


@blueprint.post("/<int:run_id>/close")
@allow(Role.AUTHORITY)
@proven
@takes(None, Given("reason", label=N_("理由")))
def close(run_id: int) -> Redirect:
    run = statements.run(reading(), run_id)
    workbench = Workbench(book(), lake(), settings().data)
    statements.settle(workbench, run.month, run_id=run.id, actor=actor(), reason=request.form.get("reason", "")[:500])
    flash(_("%(month)s 已月结", month=run.month), "success")
    return redirect(url_for("statements.index", month=run.month))
