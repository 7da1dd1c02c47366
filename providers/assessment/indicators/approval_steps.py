"""The steward's own time: form check, technical review and approval of requests, each against its limit."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from sqlalchemy import or_, select

from providers.assessment.evidence import OK
from providers.assessment.measures import SHARE, EvidenceRow, FigureUnit
from providers.assessment.registry import Direction, Fact, FactFormat, Gathering, Indicator, register
from providers.assessment.subjects import SubjectType
from providers.billing import month_bounds
from quota.actors import Role
from quota.errors import N_
from quota.requests import Request, RequestStep, StepName

STEWARDS = (Role.SUPERVISOR.value, Role.AUTHORITY.value)


def steps(*names: str) -> Callable[[Gathering, str], list[EvidenceRow]]:
    """Steps of these names that the steward or the authority takes, whose limit fell into the month and is over; of a request that
    was withdrawn or refused before, a step that nobody took any more is owed by nobody."""

    def gather(gathering: Gathering, month: str) -> list[EvidenceRow]:
        tx = gathering.tx
        start, end = month_bounds(month)
        found = tx.execute(
            select(RequestStep, Request.number, RequestStep.due_at)
            .join(Request, Request.id == RequestStep.request_id)
            .where(
                RequestStep.name.in_(names),
                RequestStep.role.in_(STEWARDS),
                RequestStep.due_at >= start,
                RequestStep.due_at < end,
                RequestStep.due_at < tx.now,
                or_(
                    RequestStep.decided_at.is_not(None),
                    Request.closed_at.is_(None),
                    Request.closed_at > RequestStep.due_at,
                ),
            )
            .order_by(RequestStep.id)
        )
        return [
            EvidenceRow(
                f"request:{step.request_id}/{step.round}/{step.sequence}",
                {"number": number, "due_at": due.isoformat(),
                 "decided_at": step.decided_at and step.decided_at.isoformat(),
                 "ok": step.decided_at is not None and step.decided_at <= due},
            )
            for step, number, due in found if due is not None
        ]  # fmt: skip

    return gather


for _code, _name, _label, _order in (
    ("form_check", StepName.FORM_CHECK, N_("形式审查及时率"), 10),
    ("review", StepName.TECHNICAL_REVIEW, N_("技术评审及时率"), 11),
    ("approval", StepName.AUTHORITY_APPROVAL, N_("主管审批及时率"), 12),
):
    register(
        Indicator(
            code=_code,
            label=_label,
            explanation=N_("当期到期的环节中按时办结的比例;等候补正的时间不计"),
            unit=FigureUnit.SHARE,
            direction=Direction.HIGHER,
            measure=SHARE,
            lateness=("due_at", "decided_at"),
            weight=Decimal(10),
            limits={"full": Decimal("0.98"), "per_point": Decimal("0.5")},
            order=_order,
            edition=1,
            happened=steps(_name.value),
            facts=(
                Fact("number", N_("申请"), FactFormat.PLAIN, names=True),
                Fact("due_at", N_("期限"), FactFormat.MOMENT),
                Fact("decided_at", N_("办结"), FactFormat.MOMENT),
                OK,
            ),
            subjects=frozenset({SubjectType.STEWARD}),
        )
    )
