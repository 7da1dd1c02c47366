"""A statement as a workbook for people: what each department owes by company, and every line behind it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles import Font
from sqlalchemy import ColumnElement, func, select

from metering import statements
from metering.statements import CORRECTION, StatementLine, StatementRun, yuan
from quota.directory import CloudProvider, Department
from quota.errors import N_
from quota.units import CLASSES, ClassCode

if TYPE_CHECKING:
    from quota.db import Tx

SUMMARY = (N_("使用单位"), N_("云服务商"), N_("已证实费用(元)"), N_("不可计量费用(元)"), N_("更正(元)"))
LINES = (
    N_("资源"), N_("云侧编号"), N_("类别"), N_("计量单位"), N_("状态"), N_("使用单位"), N_("信息系统"), N_("云服务商"), N_("计量(单位·时)"), N_("已证实(单位·时)"),
    N_("覆盖率(%)"), N_("单价(元)"), N_("计价"), N_("已证实费用(元)"), N_("不可计量费用(元)"), N_("更正月份"), N_("价目标记"),
)  # fmt: skip


def write(path: Path, tx: Tx, run: StatementRun, where: ColumnElement[bool] | None = None) -> int:
    """Write the workbook whole or not at all; how many lines."""
    book = Workbook(write_only=True)
    summary = book.create_sheet(N_("汇总"))
    _rows(summary, SUMMARY, _summary(tx, run, where))
    detail = book.create_sheet(N_("明细"))
    count = _rows(detail, LINES, _lines(tx, run, where))
    aside = path.with_name(f".{path.name}.part")
    book.save(aside)
    aside.replace(path)
    return count


def _rows(sheet: Any, heads: Iterable[str], rows: Iterable[Iterable[Any]]) -> int:
    sheet.freeze_panes = "A2"

    def cell(value: Any, bold: bool = False) -> Any:
        made = WriteOnlyCell(sheet, value=None)
        if isinstance(value, str):
            made.value, made.data_type = value, "s"  # a text stays one, whatever it begins with
        else:
            made.value = value
        if bold:
            made.font = Font(bold=True)
        return made

    sheet.append([cell(one, bold=True) for one in heads])
    count = 0
    for row in rows:
        sheet.append([cell(one) for one in row])
        count += 1
    return count


def _summary(tx: Tx, run: StatementRun, where: ColumnElement[bool] | None) -> Iterable[Iterable[Any]]:
    usage = func.sum(StatementLine.cost_fen).filter(StatementLine.charge != CORRECTION)
    lost = func.sum(StatementLine.unmeasured_fen).filter(StatementLine.charge != CORRECTION)
    corrected = func.sum(StatementLine.cost_fen).filter(StatementLine.charge == CORRECTION)
    query = (
        select(Department.name, CloudProvider.name, usage, lost, corrected)
        .select_from(StatementLine)
        .outerjoin(Department, Department.id == StatementLine.department_id)
        .join(CloudProvider, CloudProvider.id == StatementLine.provider_id)
        .where(StatementLine.run_id == run.id)
        .group_by(Department.name, CloudProvider.name)
        .order_by(Department.name, CloudProvider.name)
    )
    if where is not None:
        query = query.where(where)
    for department, provider, cost, unmeasured, correction in tx.execute(query):
        yield department, provider, yuan(cost), yuan(unmeasured), yuan(correction)


def _lines(tx: Tx, run: StatementRun, where: ColumnElement[bool] | None) -> Iterable[Iterable[Any]]:
    for one in statements.lines_of(tx, run, where, days=False):
        unit, tariff = CLASSES[ClassCode(one.kind)], one.tariff
        yield (
            one.resource.name, one.resource.external_id, unit.label, unit.shown, N_("关机") if one.stopped else N_("开机"),
            one.department.name if one.department else None, one.system.name if one.system else None,
            one.provider.name, one.unit_hours, one.proven_hours,
            None if one.coverage is None else round(one.coverage, 2),
            tariff.unit_price(one.stopped) if tariff else None,
            None if tariff is None else N_("月") if tariff.per == "month" else N_("时"),
            one.cost, one.unmeasured_cost, one.corrects or None, tariff.label if tariff else None,
        )  # fmt: skip
