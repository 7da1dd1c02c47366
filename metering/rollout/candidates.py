"""What findings call for and the last opening passed over: in the shadow, for want of letters, or above a ceiling of cases."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from sqlalchemy import Float, ForeignKey, Index, String, case, delete, func, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from metering.judging import TAKES, Assessment, CaseKind, Finding
from metering.rollout import scopes
from quota.base import Base
from quota.directory import Department, Pool
from quota.inventory import Resource

if TYPE_CHECKING:
    from quota.db import Tx

SHADOW = "shadow"
LETTERS = frozenset({"letters", "department_letters"})
HELD = frozenset({SHADOW, *LETTERS, "run_ceiling", "department_ceiling"})
"""Codes for which a case that is called for is not opened now, and would be another time."""


class AwaitedCase(Base):
    """A case that the finding of a resource calls for and that waits. ``why``: a code of HELD; ``since``: the first opening that
    passed it over; ``place``: in the order in which cases are opened, from 1; ``expected_on``: the Monday of the week in which
    its letter's turn probably is, where letters are what it waits for; ``worth`` of what it recovers, in vCPU."""

    __tablename__ = "awaited_cases"
    __table_args__ = (
        Index("ix_awaited_cases_place_id", "place", "id"),
        Index("ix_awaited_cases_worth_id", "worth", "id"),
        Index("ix_awaited_cases_since_id", "since", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    resource_id: Mapped[int] = mapped_column(ForeignKey("resources.id"), unique=True)
    finding_id: Mapped[int] = mapped_column(ForeignKey("findings.id"), index=True)
    assessment_id: Mapped[int] = mapped_column(ForeignKey("assessments.id"))
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), index=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"), index=True)
    kind: Mapped[str] = mapped_column(String(8))
    recoverable: Mapped[dict[str, int]]
    worth: Mapped[float] = mapped_column(Float)
    why: Mapped[str] = mapped_column(String(24), index=True)
    since: Mapped[datetime]
    place: Mapped[int]
    expected_on: Mapped[date | None]

    resource: Mapped[Resource] = relationship()
    finding: Mapped[Finding] = relationship()
    assessment: Mapped[Assessment] = relationship()
    department: Mapped[Department] = relationship()
    pool: Mapped[Pool] = relationship()


@dataclass(frozen=True, slots=True)
class ShadowSum:
    """How many ``cases`` are not opened because they are in the shadow; how many of them take something away (``takes``) and what
    these would recover (``worth``); the others give, and would need ``needs``. Both in vCPU, and never one sum."""

    cases: int
    takes: int = 0
    worth: float = 0.0
    needs: float = 0.0

    @property
    def gives(self) -> int:
        """How many of the cases give something."""
        return self.cases - self.takes

    @classmethod
    def of(cls, worths: Iterable[tuple[CaseKind, float]]) -> ShadowSum:
        """The sum of cases, of each its kind and its worth."""
        many = list(worths)
        takes = [worth for kind, worth in many if kind in TAKES]
        return cls(len(many), len(takes), sum(takes), sum(worth for kind, worth in many if kind not in TAKES))


def since(tx: Tx, assessment: Assessment) -> dict[tuple[int, str], datetime]:
    """(resource id, kind) → since when its case waits."""
    rows = tx.execute(
        select(AwaitedCase.resource_id, AwaitedCase.kind, AwaitedCase.since).where(
            AwaitedCase.assessment_id <= assessment.id
        )
    )
    return {(row.resource_id, row.kind): row.since for row in rows}


def replace(tx: Tx, assessment: Assessment, waiting: Sequence[AwaitedCase]) -> None:
    """What waits as of ``assessment``, in its order, instead of what waited before; nothing where a later one has been told of.
    Who waited before for the same waits since then."""
    newest = tx.scalar(select(func.max(AwaitedCase.assessment_id)))
    if newest is not None and newest > assessment.id:
        return
    before = since(tx, assessment)
    tx.execute(delete(AwaitedCase))
    for place, one in enumerate(waiting, 1):
        one.place, one.since = place, before.get((one.resource_id, one.kind), tx.now)
    tx.add_all(waiting)
    tx.flush()


def drop(tx: Tx, resource_id: int) -> None:
    """A case was opened for the resource: it waits no longer."""
    tx.execute(delete(AwaitedCase).where(AwaitedCase.resource_id == resource_id))


_TAKES = AwaitedCase.kind.in_([kind.value for kind in TAKES])
RECOVERED = func.sum(case((_TAKES, AwaitedCase.worth), else_=0.0))
NEEDED = func.sum(case((_TAKES, 0.0), else_=AwaitedCase.worth))
"""Of awaited cases: what those that take something would recover, and what those that give would need, in vCPU."""


def in_shadow(tx: Tx, departments: Collection[int] = (), pools: Collection[int] = ()) -> ShadowSum:
    """What the last opening passed over in the shadow; of these departments and pools alone, where any are named."""
    query = select(func.count(), func.sum(case((_TAKES, 1), else_=0)), RECOVERED, NEEDED).where(
        AwaitedCase.why == SHADOW
    )
    if departments:
        query = query.where(AwaitedCase.department_id.in_(departments))
    if pools:
        query = query.where(AwaitedCase.pool_id.in_(pools))
    count, takes, worth, needs = tx.execute(query).one()
    return ShadowSum(count, takes or 0, float(worth or 0.0), float(needs or 0.0))


@dataclass(frozen=True, slots=True)
class RolloutStanding:
    """How far a city has come. ``whole``: all that it has is open (True), in the shadow (False), or some of it (None); ``shadow``:
    what the last opening passed over there; ``queued``: how many cases wait for letters."""

    whole: bool | None
    shadow: ShadowSum
    queued: int


def standing(tx: Tx) -> RolloutStanding:
    """How far the city has come."""
    queued = tx.scalar(select(func.count()).select_from(AwaitedCase).where(AwaitedCase.why.in_(LETTERS)))
    found = scopes.now(tx)
    whole = found.whole()
    return RolloutStanding(_of_what_there_is(tx, found) if whole is None else whole, in_shadow(tx), queued or 0)


def _of_what_there_is(tx: Tx, found: scopes.Scopes) -> bool | None:
    """Whether all departments are open, or none, in the pools in which they have anything; None where some are."""
    has = (
        select(Resource.department_id, Resource.pool_id)
        .where(Resource.gone_at.is_(None), Resource.department_id.is_not(None))
        .distinct()
    )
    said = {found.opened(row.department_id, row.pool_id) for row in tx.execute(has)}
    return said.pop() if len(said) == 1 else None
