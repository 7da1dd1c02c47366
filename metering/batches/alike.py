"""Which open cases are alike: of one kind, from one class of finding or from the end of a term, by one version of the policy, waiting for
one act."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select

from metering.cases import Case, CaseAct, CaseState, Notice
from metering.judging import Finding
from quota.actors import Actor

TERM = Case.term_id.is_not(None)

ACT_IN: Mapping[CaseState, CaseAct] = {
    CaseState.DETECTED: CaseAct.REVIEW,
    CaseState.REVIEWED: CaseAct.ISSUE,
    CaseState.DISPUTED: CaseAct.RULE,
}
"""State → the act that is done in batches there."""
STATE_OF = {act: state for state, act in ACT_IN.items()}


@dataclass(frozen=True, slots=True)
class Alike:
    """What the cases of a group have in common. ``matter``: of a ruling; None elsewhere. ``term``: whether they began with the end of
    a term, and not with a finding."""

    act: CaseAct
    kind: str
    verdict: str
    policy_version_id: int
    matter: str | None = None
    term: bool = False

    def holds(self) -> ColumnElement[bool]:
        """Whether a case (joined with the finding that opened it) is of the group."""
        return and_(
            Case.state == STATE_OF[self.act].value,
            Case.kind == self.kind,
            Finding.verdict == self.verdict,
            Case.policy_version_id == self.policy_version_id,
            TERM if self.term else ~TERM,
            Case.matter.is_(None) if self.matter is None else Case.matter == self.matter,
        )


FIRST = func.min(Case.id)
"""A case that no other group has: it settles the order of groups."""
CASES, WORTH, DEPARTMENTS, SOONEST, RISK = (
    func.count(Case.id),
    func.sum(Case.worth),
    func.count(Case.department_id.distinct()),
    func.min(Case.due_at),
    func.max(Case.risk),
)


def groups() -> Any:
    """The groups of open cases: state, kind, verdict, policy_version_id, matter, term; how many ``cases`` of how many ``departments``, what
    they recover in vCPU (``worth``), the highest ``risk`` and the ``soonest`` deadline."""
    by = (Case.state, Case.kind, Finding.verdict, Case.policy_version_id, Case.matter, TERM.label("term"))
    return (
        select(
            *by,
            CASES.label("cases"),
            DEPARTMENTS.label("departments"),
            WORTH.label("worth"),
            RISK.label("risk"),
            SOONEST.label("soonest"),
        )
        .join(Finding, Finding.id == Case.finding_id)
        .where(Case.state.in_([state.value for state in ACT_IN]))
        .group_by(*by)
    )


def members(alike: Alike) -> Select[Any]:
    """The cases of a group in the order in which they are done: what recovers most, then the oldest."""
    return (
        select(Case)
        .join(Finding, Finding.id == Case.finding_id)
        .where(alike.holds())
        .order_by(Case.worth.desc(), Case.opened_at, Case.id)
    )


def barred(who: Actor) -> ColumnElement[bool]:
    """Whether ``who`` may not rule on a case, having reviewed it or signed its notice."""
    own = select(Notice.id).where(Notice.issued_by == who.login)
    return or_(Case.reviewed_by == who.login, Case.notice_id.in_(own))
