"""Takeovers (接管存量): what ran before anybody asked for it is booked for a whole department in one act, resting on a document.

``preview`` says what would be taken over and what stands in the way; ``propose`` does it at once, or, where it is much, keeps it for
another person to ``confirm``. From then on its resources are approved, with the takeover as their basis: whatever works for
what was requested works for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import CheckConstraint, ColumnElement, ForeignKey, String, Text, UniqueConstraint, and_, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota import ledger
from quota.actors import Role
from quota.base import Base
from quota.directory import Department, Pool, departments
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, WrongState, reused, stated
from quota.inventory.adoption import book, unapproved, without_basis
from quota.inventory.resources import Resource
from quota.ledger import Holder, Side
from quota.units import Amount, Arch, Commodity

if TYPE_CHECKING:
    from quota.db import Tx

LONGEST_DOCUMENT = 200


class TakeoverState(StrEnum):
    PROPOSED = "proposed"  # waits for another person
    BOOKED = "booked"
    WITHDRAWN = "withdrawn"


TAKEOVER_LABELS = {
    TakeoverState.PROPOSED: N_("待另一人确认"),
    TakeoverState.BOOKED: N_("已接管"),
    TakeoverState.WITHDRAWN: N_("已撤回"),
}


@dataclass(frozen=True, slots=True)
class Threshold:
    """More than so many ``resources`` at once want two persons."""

    resources: int = 50


THRESHOLD = Threshold()


class Takeover(Base):
    """One act for one department. ``document``: what it rests on, by number and name; ``rows``: [resource id, amounts in base
    units] as they were proposed, which is what is booked."""

    __tablename__ = "takeovers"
    __table_args__ = (
        UniqueConstraint("key"),
        CheckConstraint("(decided_at IS NULL) = (state = 'proposed')", name="decided"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(128))
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), index=True)
    document: Mapped[str] = mapped_column(String(LONGEST_DOCUMENT))
    rows: Mapped[list[Any]]
    state: Mapped[str] = mapped_column(String(12), index=True)
    proposed_by: Mapped[str] = mapped_column(String(64))
    proposed_at: Mapped[datetime]
    decided_by: Mapped[str] = mapped_column(String(64), default="")
    decided_at: Mapped[datetime | None]
    reason: Mapped[str] = mapped_column(Text, default="")  # of a withdrawal
    generation: Mapped[int] = mapped_column(default=1)

    department: Mapped[Department] = relationship()

    @property
    def subject(self) -> str:
        return f"takeover:{self.id}"

    def approved(self) -> Amount:
        """What it books in all."""
        return Amount.total(Amount.from_json(told) for _resource_id, told in self.rows)


@dataclass(frozen=True, slots=True)
class Short:
    """A pool that was not equipped with as much as would be booked in it. Base units."""

    pool: Pool
    commodity: Commodity
    need: int
    have: int


@dataclass(frozen=True, slots=True)
class Preview:
    """What a takeover of the department would book: ``resources`` by id, what is ``short``, and which resources tell no amounts
    (they are taken over with nothing counted). ``signatures``: how many persons it wants."""

    department: Department
    resources: Sequence[Resource]
    short: Sequence[Short]
    shapeless: Sequence[Resource]
    signatures: int


def waiting() -> ColumnElement[bool]:
    """What a department's takeover could take."""
    return and_(without_basis(), Resource.department_id.is_not(None))


def preview(
    tx: Tx, department_id: int, *, pool_ids: Iterable[int] | None = None, threshold: Threshold = THRESHOLD
) -> Preview:
    """What runs as the department's without approval, in all pools or in these. Changes nothing."""
    department = departments.department(tx, department_id)
    found = unapproved(tx, department_id=department_id, pool_ids=pool_ids)
    short = []
    for pool, members in _by_pool(found):
        for commodity, need in sorted(Amount.total(one.actual() for one in members).of_arch(Arch(pool.arch)).items()):
            have = ledger.balance(tx, Side(pool.id, commodity, Holder.FREE))
            if have < need:
                short.append(Short(pool, commodity, need, have))
    return Preview(department, found, short, [one for one in found if not one.amounts], _signatures(found, threshold))


def propose(
    tx: Tx,
    department_id: int,
    document: str,
    resource_ids: Iterable[int],
    *,
    key: str,
    threshold: Threshold = THRESHOLD,
) -> Takeover:
    """Take over the department's resources of these ids: at once, or, above ``threshold``, as soon as another person confirms.

    The same ``key`` again returns the first. Raises Invalid without a document or where a resource is not the department's, is
    gone, or is approved already; OverCapacity where a pool was not equipped with as much.
    """
    tx.actor.must_be(Role.SUPERVISOR)
    document = stated(document, "document", code="takeover.document", message=N_("请写明接管所依据的文件"))
    if len(document) > LONGEST_DOCUMENT:
        raise Invalid("takeover.document_long", N_("文件名称不超过%(most)s字"), most=LONGEST_DOCUMENT, field="document")
    tx.alone(key)
    wanted = sorted(set(resource_ids))
    _lock(tx, department_id)
    earlier = tx.scalar(select(Takeover).where(Takeover.key == key))
    if earlier is not None:
        if earlier.department_id != department_id or [row[0] for row in earlier.rows] != wanted:
            raise reused(key)
        return earlier
    departments.must_be_open(departments.department(tx, department_id), "department")
    found = _still(tx, department_id, wanted)
    takeover = Takeover(
        key=key,
        department_id=department_id,
        document=document,
        rows=[[resource.id, dict(resource.amounts)] for resource in found],
        state=TakeoverState.PROPOSED.value,
        proposed_by=tx.actor.login,
        proposed_at=tx.now,
        decided_by="",
        reason="",
        generation=1,
    )
    tx.add(takeover)
    tx.flush()
    tx.audit(
        "takeover.propose",
        takeover.subject,
        after={"department": department_id, "document": document, "resources": len(found)},
    )
    if _signatures(found, threshold) == 1:
        _book(tx, takeover, found)
    return takeover


def confirm(tx: Tx, takeover_id: int, generation: int) -> Takeover:
    """The second person's word: what was proposed is booked. Raises NotAllowed for who proposed it, Conflict where a resource is
    no longer as it was proposed, WrongState where it is decided."""
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    takeover = _locked(tx, takeover_id, generation)
    if takeover.proposed_by == tx.actor.login:
        raise NotAllowed("takeover.same_person", N_("数量较大的接管须由提出人以外的另一人确认"))
    departments.must_be_open(takeover.department, "department")
    found = _still(tx, takeover.department_id, [row[0] for row in takeover.rows])
    changed = [one for one, (_id, was) in zip(found, takeover.rows, strict=True) if one.amounts != was]
    if changed:
        raise Conflict(
            "takeover.changed", N_("提出之后资源 %(name)s 的规格已变化,请撤回后重新提出"), name=changed[0].called
        )
    _book(tx, takeover, found)
    return takeover


def withdraw(tx: Tx, takeover_id: int, generation: int, reason: str) -> Takeover:
    """Nothing of it is booked. Raises WrongState where it is decided, Invalid without a reason."""
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    reason = stated(reason)
    takeover = _locked(tx, takeover_id, generation)
    _decide(tx, takeover, TakeoverState.WITHDRAWN)
    takeover.reason = reason
    tx.audit("takeover.withdraw", takeover.subject, reason=reason)
    return takeover


def takeover(tx: Tx, takeover_id: int) -> Takeover:
    """The takeover, or NotFound."""
    found = tx.get(Takeover, takeover_id)
    if found is None:
        raise NotFound("takeover.none", N_("没有编号为 %(id)s 的接管"), id=takeover_id)
    return found


# ----------------------------------------------------------------------------------------------------------- mechanism


def _by_pool(resources: Iterable[Resource]) -> list[tuple[Pool, list[Resource]]]:
    found: dict[int, tuple[Pool, list[Resource]]] = {}
    for resource in resources:
        found.setdefault(resource.pool_id, (resource.pool, []))[1].append(resource)
    return [found[pool_id] for pool_id in sorted(found)]


def _signatures(resources: Sequence[Resource], threshold: Threshold) -> int:
    return 2 if len(resources) > threshold.resources else 1


def _lock(tx: Tx, department_id: int) -> None:
    """Before looking: no request, no reorganisation and no other takeover of the department goes on meanwhile."""
    tx.execute(select(Department.id).where(Department.id == department_id).with_for_update())


def _locked(tx: Tx, takeover_id: int, generation: int) -> Takeover:
    found = takeover(tx, takeover_id)
    _lock(tx, found.department_id)
    found = tx.lock_as_shown(found, generation, Conflict("takeover.stale", N_("这次接管已被他人更新,请刷新后再操作")))
    if found.state != TakeoverState.PROPOSED:
        raise WrongState(
            "takeover.decided", N_("这次接管现为“%(state)s”"), state=TAKEOVER_LABELS[TakeoverState(found.state)]
        )
    return found


def _still(tx: Tx, department_id: int, resource_ids: Sequence[int]) -> list[Resource]:
    """The resources by id, each unapproved, there, and the department's. Raises Invalid, naming the first that is not."""
    if not resource_ids:
        raise Invalid("takeover.empty", N_("请选择要接管的资源"), field="resources")
    known = {resource.id: resource for resource in unapproved(tx, department_id=department_id)}
    for resource_id in resource_ids:
        if resource_id not in known:
            named = tx.get(Resource, resource_id)
            raise Invalid(
                "takeover.not_open",
                N_("资源 %(name)s 不是本单位待接管的资源:已有依据、已不存在,或属于其他单位"),
                name=named.called if named is not None else resource_id,
                field="resources",
            )
    return [known[resource_id] for resource_id in resource_ids]


def _decide(tx: Tx, takeover: Takeover, state: TakeoverState) -> None:
    takeover.state, takeover.decided_by, takeover.decided_at = state.value, tx.actor.login, tx.now
    takeover.generation += 1
    tx.flush()


def _book(tx: Tx, takeover: Takeover, resources: Sequence[Resource]) -> None:
    for pool, members in _by_pool(resources):
        book(
            tx, pool, takeover.department_id, members, basis=takeover.subject, key=f"{takeover.subject}:{pool.id}",
            subject=takeover.subject,
        )  # fmt: skip
    _decide(tx, takeover, TakeoverState.BOOKED)
    tx.audit(
        "takeover.book",
        takeover.subject,
        after={
            "department": takeover.department_id,
            "document": takeover.document,
            "resources": len(resources),
            "amounts": Amount.total(resource.actual() for resource in resources),
        },
    )
