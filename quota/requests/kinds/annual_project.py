"""年度项目申报: a project that a department wants next year, with its technical plan; judged by whom the city's rules name. The last signature
enters it into the register of funded projects, under the number that the steps gave it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from quota.calendar import ZONE
from quota.directory import funded_projects
from quota.errors import N_, Invalid
from quota.requests import facts
from quota.requests.declarations import Question, RequestField, RequestKind, register
from quota.requests.rules import RuleFact
from quota.requests.tables import Request

if TYPE_CHECKING:
    from quota.db import Tx

CODE = "annual_project"
YEARS = (2000, 2100)
LONGEST = 128
"""Characters of a name and of a source of funds, as the register has them."""


def check(tx: Tx, request: Request) -> None:
    """Raise Invalid for a year, a sum or a day that is none, and for a day that has passed."""
    for name in ("name", "funding"):
        if len(str(request.fields[name])) > LONGEST:
            raise Invalid("annual_project.long", N_("项目名称和资金来源最长 %(most)s 字"), most=LONGEST, field=name)
    low, high = YEARS
    year = _year(request)
    if year is None or not low <= year <= high:
        raise Invalid("annual_project.year", N_("计划年度须为四位数的年份"), field="year")
    if _funds(request) is None:
        raise Invalid("project.funds", N_("批复资金须为不小于零、最多两位小数的金额"), field="funds")
    due = _due(request)
    if due is None or due < tx.now.astimezone(ZONE).date():
        raise Invalid("annual_project.due", N_("计划验收日期须为今天或以后的日期，如 2027-06-30"), field="due_on")


def granted(tx: Tx, request: Request) -> None:
    """Enter it as the steps decided: under the number of the last document that one of them gave, else the request's own."""
    numbers = [one.record_number for one in request.path if one.signs and not one.advises and one.record_number]
    said: dict[str, Any] = {
        "approval_number": numbers[-1] if numbers else request.number,
        "name": request.fields["name"],
        "funds": _funds(request),
        "funding": request.fields["funding"],
        "approved_on": tx.now.astimezone(ZONE).date(),
        "due_on": max(_due(request) or date.min, tx.now.astimezone(ZONE).date()),
    }
    made = funded_projects.enter_as_asked(tx, request.department_id, said, request.number)
    if request.system_id is not None:
        funded_projects.attach_as_asked(tx, made, request.system_id)


def _year(request: Request) -> int | None:
    said = str(request.fields.get("year", ""))
    return int(said) if said.isascii() and said.isdigit() and len(said) == 4 else None


def _funds(request: Request) -> Decimal | None:
    try:
        found = Decimal(str(request.fields.get("funds", "")).replace(",", ""))
    except InvalidOperation:
        return None
    sound = found.is_finite() and 0 <= found < funded_projects.MOST_FUNDS
    return found if sound and found == found.quantize(Decimal("0.01")) else None


def _due(request: Request) -> date | None:
    try:
        return date.fromisoformat(str(request.fields.get("due_on", "")))
    except ValueError:
        return None


def _yuan(tx: Tx, request: Request) -> float | None:
    """What it costs: of a project that is asked for, or whose acceptance is. Not known while it is not typed."""
    if request.kind == CODE:
        found = _funds(request)
        return float(found) if found is not None else None
    about = request.entry_id if request.kind == "project_accept" else None
    one = tx.get(funded_projects.FundedProject, about) if about is not None else None
    return float(one.funds) if one is not None else 0.0


facts.register("plan_year", RuleFact(int, N_("项目计划年度"), 0), lambda _tx, it: _year(it) if it.kind == CODE else 0)
facts.register("project_yuan", RuleFact(float, N_("项目资金 元"), 0), _yuan)

ANNUAL_PROJECT = register(
    RequestKind(
        code=CODE,
        label=N_("年度项目申报"),
        position=82,
        fields=(
            RequestField("name", N_("项目名称"), required=True),
            RequestField("year", N_("计划年度"), required=True),
            RequestField("funds", N_("申请资金（元）"), required=True),
            RequestField("funding", N_("资金来源"), required=True),
            RequestField("due_on", N_("计划验收日期"), required=True),
            RequestField("content", N_("建设内容与技术路线"), long=True, required=True),
        ),
        headline=("name",),
        why=Question(N_("建设依据"), N_("写明政策依据、现状、必要性，是否与已有系统重复"), N_("请写明建设依据")),
        check=check,
        granted=granted,
        hint=N_("申报下一年度的信息化项目，连同技术方案；通过后记入立项项目"),
    )
)
