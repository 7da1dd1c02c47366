"""The files of cases: what is written down of each, who may see it, and whose turn it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    Float,
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
    and_,
    false,
    select,
    text,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from metering.cases.figures import backoff
from metering.cases.notices import Notice
from metering.cases.steps import (
    DONE,
    MAY,
    OPEN,
    SETBACKS,
    SIGNED_ACTS,
    STATE_LABELS,
    Answer,
    CaseAct,
    CaseState,
    Consent,
    Ending,
    Matter,
    RulingDecision,
    follow,
)
from metering.judging import TAKES, CaseKind, Finding, PolicyVersion, Procedure
from providers.base import ServiceKind, Verb
from quota import search
from quota.actors import Actor, Role
from quota.audit import AuditRecord
from quota.base import Base, append_only
from quota.calendar import ZONE, working_days
from quota.directory import Department, Pool, System, subtree
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, WrongState
from quota.inventory import Resource
from quota.requests import Request
from quota.units import Amount

if TYPE_CHECKING:
    from quota.db import Tx


def _number(case_id: int, opened_at: datetime) -> str:
    return f"AJ{opened_at.astimezone(ZONE).year}-{case_id:05d}"


class Case(Base):
    """One resource, from the finding that opened it to its end.

    ``shape`` is what the resource had when the case was opened, ``target`` what it is to have (None: nothing, it is
    reclaimed), ``recoverable`` what that frees (of an expansion: needs), ``freed`` what was in fact freed or given.
    ``due_at`` follows from ``due_from`` and ``due_days`` working days and is computed anew as the calendar changes;
    ``wake_at`` ends a watch or the recycle bin. ``term_id``: the request whose term was over, where the case began with that and
    not with what the finding says. ``order_key`` is the order that is out; ``step`` its verb.
    """

    __tablename__ = "cases"
    __table_args__ = (
        Index(
            "uq_cases_open_resource_id",
            "resource_id",
            unique=True,
            sqlite_where=text("state <> 'closed'"),
            postgresql_where=text("state <> 'closed'"),
        ),
        Index("ix_cases_state_due_at", "state", "due_at"),
        Index("ix_cases_worth_id", "worth", "id"),
        CheckConstraint("(state = 'closed') = (ending IS NOT NULL)", name="ended"),
        CheckConstraint("(state = 'ordered') = (order_key IS NOT NULL)", name="ordered"),
        CheckConstraint("generation > 0 AND attempts >= 0 AND setbacks >= 0", name="sane"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(8), index=True)
    state: Mapped[str] = mapped_column(String(12), default=CaseState.DETECTED.value)
    generation: Mapped[int] = mapped_column(default=1)
    resource_id: Mapped[int] = mapped_column(ForeignKey("resources.id"), index=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"), index=True)
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), index=True)
    system_id: Mapped[int | None] = mapped_column(ForeignKey("systems.id"), index=True)
    policy_version_id: Mapped[int] = mapped_column(ForeignKey("policy_versions.id"), index=True)
    finding_id: Mapped[int] = mapped_column(ForeignKey("findings.id"), index=True)
    fresh_finding_id: Mapped[int | None] = mapped_column(
        ForeignKey("findings.id"), index=True
    )  # judged again before acting
    notice_id: Mapped[int | None] = mapped_column(ForeignKey("notices.id"), index=True)
    shape: Mapped[dict[str, int]]
    target: Mapped[dict[str, int] | None]
    recoverable: Mapped[dict[str, int]]
    ends_on: Mapped[date | None]  # of temporary growth: the last day before it is returned
    freed: Mapped[dict[str, int]] = mapped_column(default=dict)
    worth: Mapped[float] = mapped_column(Float)  # of what it recovers, in vCPU
    risk: Mapped[float] = mapped_column(Float, default=0.0, server_default="0")  # case_figures.risk, when it was opened
    was_running: Mapped[bool] = mapped_column(default=True)

    opened_at: Mapped[datetime]
    due_from: Mapped[datetime | None]
    due_days: Mapped[int | None]
    due_at: Mapped[datetime | None]
    wake_at: Mapped[datetime | None]

    reviewed_by: Mapped[str] = mapped_column(String(64), default="")
    reviewed_at: Mapped[datetime | None]
    matter: Mapped[str | None] = mapped_column(String(12))
    consent: Mapped[str | None] = mapped_column(String(12))
    acted_by: Mapped[str] = mapped_column(String(64), default="")
    acted_at: Mapped[datetime | None]

    step: Mapped[str | None] = mapped_column(String(12))  # providers.base.Verb of the order that is or was out
    order_key: Mapped[str | None] = mapped_column(String(64), unique=True)
    orders: Mapped[int] = mapped_column(default=0)  # how many were placed
    attempts: Mapped[int] = mapped_column(default=0)  # how many of them failed
    effective_at: Mapped[datetime | None]  # when it was stopped or shrunk
    binned_at: Mapped[datetime | None]
    going_back: Mapped[str | None] = mapped_column(String(12))  # the ending that waits until it is given back

    ending: Mapped[str | None] = mapped_column(String(12), index=True)
    reason: Mapped[str] = mapped_column(Text, default="")  # why it ended so, or why it waits
    closed_at: Mapped[datetime | None]
    setbacks: Mapped[int] = mapped_column(default=0)  # in a row, against this resource
    quiet_until: Mapped[datetime | None]  # until then no other case against it
    regretted_at: Mapped[datetime | None]
    request_id: Mapped[int | None]
    term_id: Mapped[int | None] = mapped_column(ForeignKey("requests.id"), index=True)

    resource: Mapped[Resource] = relationship()
    pool: Mapped[Pool] = relationship()
    department: Mapped[Department] = relationship()
    system: Mapped[System | None] = relationship()
    policy_version: Mapped[PolicyVersion] = relationship()
    finding: Mapped[Finding] = relationship(foreign_keys=[finding_id])
    fresh_finding: Mapped[Finding | None] = relationship(foreign_keys=[fresh_finding_id])
    notice: Mapped[Notice | None] = relationship()
    term: Mapped[Request | None] = relationship()
    replies: Mapped[list[Reply]] = relationship(order_by="Reply.id")
    rulings: Mapped[list[Ruling]] = relationship(order_by="Ruling.id")
    confirmations: Mapped[list[Confirmation]] = relationship(order_by="Confirmation.id")

    @property
    def number(self) -> str:
        """AJ2026-00012: what people call it."""
        return _number(self.id, self.opened_at)

    @property
    def subject(self) -> str:
        """What the audit trail and the ledger call it."""
        return f"case:{self.id}"

    @property
    def takes(self) -> bool:
        """Whether it takes something away from the department."""
        return self.kind in TAKES

    def procedure(self) -> Procedure:
        """The clocks and limits that it was opened under."""
        return self.policy_version.rules()

    def service(self) -> ServiceKind:
        return ServiceKind(self.resource.kind)

    def had(self) -> Amount:
        return Amount.from_json(self.shape)

    def will_have(self) -> Amount | None:
        return None if self.target is None else Amount.from_json(self.target)

    def recovers(self) -> Amount:
        return Amount.from_json(self.recoverable)

    def verb(self) -> Verb | None:
        return None if self.step is None else Verb(self.step)


class Reply(Base):
    """What a department answered, and with what evidence. ``attachments``: ids of quota.attachments."""

    __tablename__ = "case_replies"

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    answer: Mapped[str] = mapped_column(String(8))
    reason: Mapped[str] = mapped_column(Text, default="")
    evidence: Mapped[str] = mapped_column(Text, default="")
    attachments: Mapped[list[str]] = mapped_column(default=list)
    category: Mapped[str | None] = mapped_column(String(24))  # exemptions.Category, when one is asked for
    until: Mapped[date | None]
    last_peak: Mapped[str] = mapped_column(String(128), default="")
    by: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]

    def said(self) -> Answer:
        return Answer(self.answer)


class Ruling(Base):
    """What was decided on an objection, a plea for exemption, or silence; by somebody other than the issuer.

    ``attachments``: ids of quota.attachments.
    """

    __tablename__ = "case_rulings"

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    matter: Mapped[str] = mapped_column(String(12))
    decision: Mapped[str] = mapped_column(String(8))
    reason: Mapped[str] = mapped_column(Text)
    attachments: Mapped[list[str]] = mapped_column(default=list, server_default="[]")
    by: Mapped[str] = mapped_column(String(64))
    role: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime]

    def said(self) -> RulingDecision:
        return RulingDecision(self.decision)


class Confirmation(Base):
    """One person's word that a resource may be deleted for good. A failed deletion asks both anew (``attempt``)."""

    __tablename__ = "case_confirmations"
    __table_args__ = (UniqueConstraint("case_id", "attempt", "by"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    attempt: Mapped[int]
    by: Mapped[str] = mapped_column(String(64))
    role: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime]


for _table in (Reply, Ruling, Confirmation):
    append_only(_table.__table__)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------------ reading


def case(tx: Tx, case_id: int) -> Case:
    """The case, or NotFound, also where the actor may not see it."""
    found = tx.scalar(select(Case).where(Case.id == case_id, visible(tx, tx.actor)))
    if found is None:
        raise NotFound("case.none", N_("没有编号为 %(id)s 的案件"), id=case_id)
    return found


def visible(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """What ``actor`` may see: a department what it was notified of, a company what it was ordered to do in its pools,
    the three administrators nothing."""
    if actor.role is Role.TENANT and actor.department_id is not None:
        return and_(Case.department_id.in_(subtree(tx, actor.department_id)), Case.notice_id.is_not(None))
    if actor.role is Role.PROVIDER and actor.provider_id is not None:
        own = select(Pool.id).where(Pool.provider_id == actor.provider_id)
        return and_(Case.pool_id.in_(own), Case.orders > 0)
    if actor.role in (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR, Role.SYSTEM):
        return true()
    return false()


search.register(
    search.Sought(
        "case", 6, Case,
        select(Case.id, Case.department_id, Case.pool_id, Case.opened_at, Case.state, Resource.name, Resource.external_id).join(
            Resource, Resource.id == Case.resource_id
        ),
        lambda row: (
            _number(row.id, row.opened_at), row.name or row.external_id, (row.name, row.external_id)
        ),
        visible,
        follows={"resources": Case.resource_id},
    )
)  # fmt: skip


def open_case(tx: Tx, resource_id: int) -> Case | None:
    """The case that is open against (or for) a resource; there is at most one."""
    return tx.scalar(select(Case).where(Case.resource_id == resource_id, Case.state != CaseState.CLOSED.value))


def timeline(tx: Tx, case: Case) -> list[AuditRecord]:
    """Everything that was done in a case, oldest first."""
    query = select(AuditRecord).where(AuditRecord.subject == case.subject).order_by(AuditRecord.sequence)
    return list(tx.scalars(query))


@dataclass(frozen=True, slots=True)
class CaseTurn:
    """Who has to do something, and by when. No roles: only time passes."""

    roles: tuple[Role, ...]
    label: str
    by: datetime | None


TURNS: dict[CaseState, tuple[tuple[Role, ...], str]] = {
    CaseState.DETECTED: ((Role.SUPERVISOR,), N_("运营监督方审核")),
    CaseState.REVIEWED: ((Role.SUPERVISOR,), N_("运营监督方发出通知")),
    CaseState.NOTICED: ((Role.TENANT,), N_("使用单位答复")),
    CaseState.DISPUTED: ((Role.SUPERVISOR, Role.AUTHORITY), N_("签发人以外的人裁定")),
    CaseState.CLEARED: ((Role.SUPERVISOR,), N_("运营监督方执行")),
    CaseState.ORDERED: ((Role.PROVIDER,), N_("云服务商执行工单")),
    CaseState.WATCHED: ((), N_("观察期满")),
    CaseState.STRAINED: ((Role.SUPERVISOR, Role.TENANT), N_("决定是否回退")),
    CaseState.BINNED: ((), N_("回收站期满")),
    CaseState.CONFIRMING: ((Role.SUPERVISOR, Role.AUTHORITY), N_("两人确认删除")),
    CaseState.CLOSED: ((), N_("已结案")),
}


def whose_turn(case: Case) -> CaseTurn:
    """Who has to do the next thing in a case."""
    roles, label = TURNS[CaseState(case.state)]
    return CaseTurn(roles, label, case.due_at or case.wake_at)


URGENT = (Case.due_at.asc().nulls_last(), Case.worth.desc(), Case.id)
"""The order of a queue: the nearest deadline first, then what recovers most."""


def queue(tx: Tx, actor: Actor) -> list[Case]:
    """The cases that wait for ``actor``: the nearest deadline first, then what recovers most."""
    states = [state.value for state, (roles, _) in TURNS.items() if actor.role in roles]
    if not states:
        return []
    found = tx.scalars(select(Case).where(visible(tx, actor), Case.state.in_(states)).order_by(*URGENT))
    return [one for one in found if not _shut_out(one, actor)]


def acts(case: Case, actor: Actor) -> list[CaseAct]:
    """What ``actor`` may do to a case that it can see: what a page may offer."""
    found = []
    for act, (states, roles) in MAY.items():
        if actor.role not in roles or CaseState(case.state) not in states:
            continue
        if act in (CaseAct.RULE, CaseAct.CONFIRM_DELETION) and _shut_out(case, actor):
            continue
        if act in SIGNED_ACTS and actor.program:
            continue
        if act is CaseAct.REPLY and not may_answer(case):
            continue
        if act is CaseAct.KEEP and case.kind == CaseKind.EXPAND and actor.role is not Role.SUPERVISOR:
            continue
        if act in (CaseAct.RESTORE, CaseAct.ROLL_BACK) and not _fits(case, act):
            continue
        found.append(act)
    return found


def may_answer(case: Case) -> bool:
    """Whether a reply is still heard: until the end of its time, and after silence as long as nothing was done."""
    return (
        case.state == CaseState.NOTICED
        or (case.state == CaseState.DISPUTED and case.matter == Matter.SILENCE)
        or (case.state == CaseState.CLEARED and case.consent == Consent.SILENCE)
    )


def issuer(case: Case) -> str:
    """Who signed the notice of a case; empty before there is one."""
    return case.notice.issued_by if case.notice else ""


def confirmed_by(case: Case) -> list[str]:
    """Who has confirmed the deletion that is being prepared."""
    return [each.by for each in case.confirmations if each.attempt == case.attempts]


def _shut_out(case: Case, actor: Actor) -> bool:
    """Who reviewed the case or signed its notice does not rule on it; who confirmed a deletion does not confirm it twice."""
    if case.state == CaseState.DISPUTED:
        return actor.login in (issuer(case), case.reviewed_by)
    return case.state == CaseState.CONFIRMING and actor.login in confirmed_by(case)


def _fits(case: Case, act: CaseAct) -> bool:
    """What is off is had back by ``restore``, what has another size by ``roll_back``."""
    return (case.kind == CaseKind.RECLAIM) == (act is CaseAct.RESTORE)


# ------------------------------------------------------------------------------------------------------------ writing


def take_up(tx: Tx, case: Case, act: CaseAct, generation: int | None = None) -> Case:
    """Lock ``case`` for ``act``. Raises Conflict where it changed since the page that showed ``generation``, NotAllowed
    for a role or a department that may not, WrongState for a state in which it cannot be done."""
    lock(tx, case)
    states, roles = MAY[act]
    tx.actor.must_be(*roles)
    if tx.actor.role is Role.TENANT and (
        tx.actor.department_id is None or case.department_id not in subtree(tx, tx.actor.department_id)
    ):
        raise NotAllowed("case.other_department", N_("案件 %(number)s 不属于贵单位"), number=case.number)
    if generation is not None and generation != case.generation:
        raise Conflict(
            "case.changed", N_("案件 %(number)s 在您打开页面之后已有变化,请查看最新情况"), number=case.number
        )
    if CaseState(case.state) not in states or (act in (CaseAct.RESTORE, CaseAct.ROLL_BACK) and not _fits(case, act)):
        raise WrongState(
            "case.state",
            N_("案件 %(number)s 处于“%(state)s”,不能这样做"),
            number=case.number,
            state=STATE_LABELS[CaseState(case.state)],
        )
    return case


def lock(tx: Tx, case: Case) -> None:
    """Hold the row of a case until the transaction ends, and read it anew."""
    tx.lock(case)


def move(
    tx: Tx,
    case: Case,
    to: CaseState,
    action: str,
    *,
    days: int | None = None,
    wake_at: datetime | None = None,
    reason: str = "",
    **told: Any,
) -> None:
    """Take a case to its next state: new clock, new generation, one line in the trail.

    ``days``: working days until somebody must have acted; ``wake_at``: when time itself takes it further.
    """
    before = case.state
    case.state = follow(CaseState(before), to).value
    if to is not CaseState.ORDERED:
        case.order_key = None
    case.generation += 1
    case.wake_at = wake_at
    start_clock(tx, case, days)
    tx.flush()
    tx.audit(action, case.subject, before={"state": before}, after={"state": case.state, **told}, reason=reason)


def start_clock(tx: Tx, case: Case, days: int | None) -> None:
    """Give it ``days`` working days from now on; None: no deadline."""
    case.due_from, case.due_days = (None, None) if days is None else (tx.now, days)
    case.due_at = None if days is None else working_days(tx).due(tx.now, days)


def close(tx: Tx, case: Case, ending: Ending, reason: str, action: str = "case.close") -> None:
    """End a case, and leave its resource alone for a while where that was a setback."""
    previous = _previous(tx, case)
    if ending in SETBACKS or (ending is Ending.RECOVERED and case.regretted_at is not None):
        case.setbacks = (previous.setbacks if previous else 0) + 1
        case.quiet_until = tx.now + timedelta(days=backoff(case.procedure(), case.setbacks))
    elif ending not in DONE and previous is not None:
        case.setbacks, case.quiet_until = previous.setbacks, previous.quiet_until
    case.state, before, case.ending = follow(CaseState(case.state), CaseState.CLOSED).value, case.state, ending.value
    case.order_key, case.going_back, case.wake_at = None, None, None
    case.reason, case.closed_at = reason, tx.now
    case.due_from, case.due_days, case.due_at = None, None, None
    case.generation += 1
    tx.flush()
    tx.audit(
        action, case.subject, before={"state": before}, after={"state": case.state, "ending": ending}, reason=reason
    )


def explained(reason: str, least: int, *, field: str = "reason") -> str:
    """``reason`` without blanks around it; Invalid where it is too short to be one."""
    if len(reason.strip()) < least:
        raise Invalid("case.reason", N_("请写明理由,不少于%(least)s个字"), least=least, field=field)
    return reason.strip()


def _previous(tx: Tx, case: Case) -> Case | None:
    """The last case that ended for the same resource and took (or gave) likewise."""
    same = [kind.value for kind in CaseKind if (kind in TAKES) == case.takes]
    return tx.scalar(
        select(Case)
        .where(
            Case.resource_id == case.resource_id,
            Case.kind.in_(same),
            Case.state == CaseState.CLOSED.value,
            Case.id != case.id,
        )
        .order_by(Case.id.desc())
        .limit(1)
    )


def open_cases(tx: Tx, states: Sequence[CaseState] | frozenset[CaseState] = OPEN) -> list[Case]:
    """Every case in one of ``states``, oldest first."""
    return list(tx.scalars(select(Case).where(Case.state.in_([one.value for one in states])).order_by(Case.id)))
