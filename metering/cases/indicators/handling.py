"""The steward's own handling of cases: what waits too long with it, what it should not have taken, what it was contradicted in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import or_, select
from sqlalchemy.orm import joinedload

from metering.cases import recoveries
from metering.cases.files import Case, Ruling
from metering.cases.indicators import judged
from metering.cases.steps import STATE_LABELS, CaseState, Matter, RulingDecision
from metering.judging import CaseKind, Verdict
from providers.assessment import (
    OK,
    Direction,
    EvidenceRow,
    Fact,
    FactFormat,
    FigureUnit,
    Gathering,
    Indicator,
    RefSource,
    SubjectType,
    measures,
    register,
)
from providers.billing import month_bounds
from quota.actors import Role
from quota.audit import AuditRecord
from quota.calendar import working_days
from quota.db import batches
from quota.errors import N_

if TYPE_CHECKING:
    from quota.db import Tx

STEWARD = frozenset({SubjectType.STEWARD})
STEWARDS = (Role.SUPERVISOR.value, Role.AUTHORITY.value)
LIMITS = {
    CaseState.DETECTED: "review_days",
    CaseState.REVIEWED: "act_days",
    CaseState.DISPUTED: "ruling_days",
    CaseState.CLEARED: "act_days",
    CaseState.STRAINED: "ruling_days",
    CaseState.CONFIRMING: "confirm_days",
}
"""What waits for the steward or the authority → the limit of its procedure, in working days."""
LONGEST = timedelta(days=120)
"""How long before a month a case may have ended of which a limit falls into it."""


def turns(gathering: Gathering, month: str) -> list[EvidenceRow]:
    """What cases waited for the steward or the authority with, where the limit fell into the month and is over; ``ok``: they
    took it further by then. Silence that lies there, cases to be reviewed, carried out or confirmed count like pleas to be ruled
    on. What others ended before its limit is owed by nobody."""
    tx = gathering.tx
    start, end = month_bounds(month)
    days = working_days(tx)
    found = tx.scalars(
        select(Case)
        .where(Case.opened_at < end, or_(Case.closed_at.is_(None), Case.closed_at >= start - LONGEST))
        .options(joinedload(Case.policy_version))
        .order_by(Case.id)
    ).all()
    rows, known = [], {case.id: case for case in found}
    for part in batches(known):
        some = [known[one] for one in part]
        trails = _trails(tx, some)
        for case in some:
            for place, turn in enumerate(_of(case, trails.get(case.subject, [])), 1):
                due = days.due(turn.since, _limit(case, turn.state)) if turn.state in LIMITS else None
                if due is not None and start <= due < min(end, tx.now) and turn.owed(due):
                    rows.append(_row(case, place, turn, due))
    return rows


@dataclass(frozen=True, slots=True)
class _Turn:
    """One stretch of a case in one state; ``by``: whose act ended it."""

    state: CaseState
    since: datetime
    until: datetime | None
    by: str

    def owed(self, due: datetime) -> bool:
        """Whether it was done by those who owed it, or not by its limit."""
        return self.until is None or self.until > due or self.by in STEWARDS


def _trails(tx: Tx, some: Sequence[Case]) -> dict[str, list[AuditRecord]]:
    """Case → what took it from one state to the next, oldest first."""
    found: dict[str, list[AuditRecord]] = {}
    query = select(AuditRecord).where(AuditRecord.subject.in_([case.subject for case in some]))
    for record in tx.scalars(query.order_by(AuditRecord.sequence)):
        if "state" in record.before and "state" in record.after:
            found.setdefault(record.subject, []).append(record)
    return found


def _of(case: Case, trail: Sequence[AuditRecord]) -> Iterator[_Turn]:
    state, since = CaseState.DETECTED, case.opened_at
    for record in trail:
        yield _Turn(state, since, record.at, record.role)
        state, since = CaseState(record.after["state"]), record.at
    yield _Turn(state, since, None, "")


def _limit(case: Case, state: CaseState) -> int:
    procedure = case.procedure()
    if state is CaseState.DETECTED and case.kind == CaseKind.EXPAND:
        return procedure.recommend_days
    days: int = getattr(procedure, LIMITS[state])
    return days


def _row(case: Case, place: int, turn: _Turn, due: datetime) -> EvidenceRow:
    told = {"number": case.number, "turn": turn.state.value, "due_at": _spelled(due), "done_at": _spelled(turn.until)}
    return EvidenceRow(f"case:{case.id}/{place}", {**told, "ok": turn.until is not None and turn.until <= due})


def regret(gathering: Gathering, month: str) -> list[EvidenceRow]:
    """Cases by which something was stopped or shrunk on a judgement in the month; ``ok``: it was not wanted back, nor strained."""
    start, end = month_bounds(month)
    found = gathering.tx.scalars(
        select(Case)
        .where(*recoveries.on_judgement(), Case.effective_at >= start, Case.effective_at < end)
        .order_by(Case.id)
    )
    return [
        EvidenceRow(f"case:{case.id}", {"effective_at": _spelled(case.effective_at), "ok": case.regretted_at is None})
        for case in found
    ]


def objections(gathering: Gathering, month: str) -> list[EvidenceRow]:
    """Rulings of the month on objections; ``ok``: the case stood."""
    start, end = month_bounds(month)
    found = gathering.tx.scalars(
        select(Ruling)
        .where(Ruling.matter == Matter.OBJECTION.value, Ruling.at >= start, Ruling.at < end)
        .order_by(Ruling.id)
    )
    return [
        EvidenceRow(f"case:{one.case_id}/{one.id}", {"ruled_at": _spelled(one.at), "ok": one.said() is RulingDecision.PROCEED})
        for one in found
    ]  # fmt: skip


def coverage(gathering: Gathering, _rows: Sequence[EvidenceRow]) -> list[EvidenceRow]:
    """What the newest assessment of the period looked at, and of how much it could say anything."""
    run = judged.run_of(gathering.tx, gathering.period)
    if run is None or not run.resources:
        return []
    unknown = int(run.counts.get(Verdict.UNKNOWN.value, 0))
    told = {"count": run.resources, "good": run.resources - unknown, "on": run.last_day.isoformat()}
    return [EvidenceRow(f"assessed:{run.id}", told)]


def _spelled(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


register(
    Indicator(
        code="rulings",
        label=N_("案件办理及时"),
        explanation=N_("当期到期的案件审核、通知、裁定、执行和删除确认中按时办结的比例;逾期未办的计为未按时"),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=measures.SHARE,
        lateness=("due_at", "done_at"),
        weight=Decimal(15),
        limits={"full": Decimal("0.98"), "per_point": Decimal("0.5")},
        order=20,
        edition=1,
        happened=turns,
        facts=(
            Fact("number", N_("案件"), FactFormat.PLAIN, names=True),
            Fact("due_at", N_("期限"), FactFormat.MOMENT),
            Fact("turn", N_("环节"), FactFormat.WORD, words={one.value: label for one, label in STATE_LABELS.items()}),
            Fact("done_at", N_("办结"), FactFormat.MOMENT),
            OK,
        ),
        subjects=STEWARD,
    )
)
register(
    Indicator(
        code="regret",
        label=N_("收回得当"),
        explanation=N_("当期停机或缩容的案件中没有被要求归还、变更后也没有吃紧的比例"),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=measures.PROPORTION,
        weight=Decimal(15),
        limits={"whole": Decimal(15)},
        order=30,
        edition=1,
        happened=regret,
        facts=(Fact("effective_at", N_("执行于"), FactFormat.MOMENT), OK),
        subjects=STEWARD,
    )
)
register(
    Indicator(
        code="objections",
        label=N_("异议裁定维持"),
        explanation=N_("当期裁定的异议中案件得到维持的比例"),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=measures.PROPORTION,
        weight=Decimal(10),
        limits={"whole": Decimal(10)},
        order=40,
        edition=1,
        happened=objections,
        facts=(Fact("ruled_at", N_("裁定于"), FactFormat.MOMENT), OK),
        subjects=STEWARD,
    )
)
register(
    Indicator(
        code="coverage",
        label=N_("采集覆盖"),
        explanation=N_("期末评估的资源中有足够数据可以认定的比例"),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=measures.COUNTED,
        weight=Decimal(15),
        limits={"full": Decimal("0.9"), "per_point": Decimal("0.5")},
        order=50,
        edition=1,
        holding=coverage,
        facts=(Fact("count", N_("资源")), Fact("good", N_("可以认定")), Fact("on", N_("评估至"), FactFormat.MOMENT)),
        sources={"assessed": RefSource(N_("评估"))},
        subjects=STEWARD,
    )
)
