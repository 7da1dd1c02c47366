"""项目验收: that a funded project is accepted, with whose assent the city's rules name; done with the last signature. Whether the steward
may note an acceptance that nobody asked for is a rule as well (the fact ``noted``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from quota.calendar import ZONE
from quota.directory import FundedProject, ProjectState, funded_projects
from quota.errors import N_, Conflict, Invalid
from quota.requests import facts, rulebook, rules
from quota.requests.declarations import About, EntryRegister, Question, RequestField, RequestKind, register
from quota.requests.tables import OPEN, Request

if TYPE_CHECKING:
    from quota.db import Tx

CODE = "project_accept"


def check(tx: Tx, request: Request) -> None:
    """Raise Invalid for a project that was accepted or given up."""
    one = funded_projects.project(tx, request.entry_id or 0)
    if one.state(tx.now.astimezone(ZONE).date()) in (ProjectState.ACCEPTED, ProjectState.ENDED):
        raise Invalid("project.closed", N_("该项目已验收或终止"), field="entry")


def granted(tx: Tx, request: Request) -> None:
    numbers = [one.record_number for one in request.path if one.signs and not one.advises and one.record_number]
    note = " · ".join([str(request.fields["result"]), request.number, *numbers])
    funded_projects.accept_as_asked(tx, request.entry_id or 0, note)


@funded_projects.before_change
def _under_way(tx: Tx, one: FundedProject) -> None:
    query = select(Request.number).where(Request.kind == CODE, Request.entry_id == one.id, Request.state.in_(OPEN))
    number = tx.scalar(query.limit(1))
    if number is not None:
        raise Conflict("project.under_way", N_("正在办理申请 %(number)s，办结之前不能更改"), number=number)


@funded_projects.before_acceptance
def _noted(tx: Tx, one: FundedProject) -> None:
    """Refuse what the rules in force refuse of an acceptance that nobody asked for; what is not known refuses nothing."""
    today = tx.now.astimezone(ZONE).date()
    seen: dict[str, Any] = {
        **dict.fromkeys(rules.FACTS),
        "kind": CODE,
        "noted": True,
        "project": one.state(today).value,
        "project_yuan": float(one.funds),
        **facts.whose(one.department),
    }
    said = rules.judge(seen, rulebook.enacted(tx), today)
    if said.refused:
        rules.allowed(said)


facts.register("noted", rules.RuleFact(bool, N_("未经申请直接记录验收"), False), lambda _tx, _request: False)

PROJECT_ACCEPT = register(
    RequestKind(
        code=CODE,
        label=N_("项目验收"),
        position=84,
        about=About.ENTRY,
        register=EntryRegister(N_("立项项目"), funded_projects.project, funded_projects.named),
        fields=(RequestField("result", N_("初验与试运行结论"), long=True, required=True),),
        headline=("result",),
        why=Question(N_("申请验收的情况"), N_("写明建设内容完成情况、资金使用、遗留问题"), N_("请写明项目完成的情况")),
        check=check,
        granted=granted,
        icon="circle-check",
    )
)
