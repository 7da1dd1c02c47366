"""Takeovers (接管存量): what ran before anybody asked for it is booked in one act, resting on a document: a department's, a whole
pool's whosever it is, or what was found later (补登).

``preview`` says what would be taken over and what stands in the way; ``propose`` does it at once, or, where it is much, keeps it for
another person to ``confirm``. From then on its resources are approved, with the takeover as their basis: whatever works for
what was requested works for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import CheckConstraint, ColumnElement, ForeignKey, String, Text, UniqueConstraint, and_, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota import ledger
from quota.actors import Role
from quota.base import Base
from quota.calendar import ZONE
from quota.db import among
from quota.directory import Department, Pool, System, city, departments
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, OverCapacity, WrongState, reused, stated
from quota.inventory import engagements
from quota.inventory.adoption import book, of_its_pools_arch, unapproved, without_basis
from quota.inventory.resources import Resource
from quota.ledger import Holder, Side
from quota.units import BLOCK, CLASSES, MEMORY, OBJECT, VCPU, Amount, Arch, Commodity, shown

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
    """More than this wants two persons, with what the same person took over alone on the same day, so that nobody cuts it into
    pieces; None: no limit by that. Storage is block and object storage together."""

    resources: int | None = 50
    vcpu: int | None = 500
    memory_gb: int | None = 2_000
    storage_gb: int | None = 50_000

    def passed_by(self, resources: int, what: Amount) -> bool:
        """Whether so many resources that have ``what`` together are more."""
        return any(
            limit is not None and figure > limit
            for figure, limit in (
                (resources, self.resources),
                (what.get(VCPU, 0), self.vcpu),
                (shown(MEMORY, what.get(MEMORY, 0)), self.memory_gb),
                (what.get(BLOCK, 0) + what.get(OBJECT, 0), self.storage_gb),
            )
        )


THRESHOLD = Threshold()
"""As long as the city sets none."""


def city_threshold(tx: Tx) -> Threshold:
    """What the city set on its page, and otherwise THRESHOLD."""
    said = city.told(tx)
    given = {name: said[code] for name, code in city.TAKEOVER_LIMITS.items() if code in said}
    return replace(THRESHOLD, **{name: int(text) if text else None for name, text in given.items()})


class Takeover(Base):
    """One act. ``department_id``: whose resources it takes over, None where they are several departments'; ``pool_id``: the pool
    that it takes over whole, if it is that. ``document``: what it rests on, by number and name. ``rows``: [resource id, amounts
    in base units] as they were proposed, which is what is booked; ``resources`` counts them, ``shares`` says whose they are:
    [department id, resources, amounts]."""

    __tablename__ = "takeovers"
    __table_args__ = (
        UniqueConstraint("key"),
        CheckConstraint("(decided_at IS NULL) = (state = 'proposed')", name="decided"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(128))
    department_id: Mapped[int | None] = mapped_column(ForeignKey("departments.id"), index=True)
    pool_id: Mapped[int | None] = mapped_column(ForeignKey("pools.id"))
    document: Mapped[str] = mapped_column(String(LONGEST_DOCUMENT))
    rows: Mapped[list[Any]] = mapped_column(deferred=True)
    resources: Mapped[int] = mapped_column(server_default="0")
    shares: Mapped[list[Any]] = mapped_column(server_default="[]")
    state: Mapped[str] = mapped_column(String(12), index=True)
    proposed_by: Mapped[str] = mapped_column(String(64))
    proposed_at: Mapped[datetime]
    decided_by: Mapped[str] = mapped_column(String(64), default="")
    decided_at: Mapped[datetime | None]
    reason: Mapped[str] = mapped_column(Text, default="")  # of a withdrawal
    generation: Mapped[int] = mapped_column(default=1)

    department: Mapped[Department | None] = relationship()
    pool: Mapped[Pool | None] = relationship()

    @property
    def subject(self) -> str:
        return f"takeover:{self.id}"

    def approved(self) -> Amount:
        """What it books in all."""
        return Amount.total(Amount.from_json(told) for _department_id, _resources, told in self.shares)


@dataclass(frozen=True, slots=True)
class PoolShortfall:
    """A pool that was not equipped with as much as would be booked in it. Base units."""

    pool: Pool
    commodity: Commodity
    need: int
    have: int


@dataclass(frozen=True, slots=True)
class Conflicting:
    """Why a resource should be looked at before it is taken over: a sentence with what stands in its places. ``barring``: it
    can't be, while that is so."""

    resource: Resource
    message: str
    params: Mapping[str, Any]
    barring: bool = False


Finder = Callable[["Tx", Sequence[Resource]], Iterable[Conflicting]]
"""Looks at all of them at once; whoever knows of something that speaks against a takeover registers one."""

_finders: list[Finder] = []


def conflict(finder: Finder) -> Finder:
    """Have ``finder`` asked before anything is taken over (a decorator)."""
    if finder not in _finders:
        _finders.append(finder)
    return finder


def conflicts(tx: Tx, resources: Sequence[Resource]) -> list[Conflicting]:
    """What speaks against taking these over as they stand, in the order of their ids."""
    found = [one for finder in _finders for one in finder(tx, resources)] if resources else []
    return sorted(found, key=lambda one: one.resource.id)


@dataclass(frozen=True, slots=True)
class Share:
    """What of a takeover is one department's. Base units."""

    department: Department
    resources: int
    amounts: Amount


@dataclass(frozen=True, slots=True)
class Preview:
    """What a takeover would book: ``resources`` by id, whose they are (``shares``), what is ``short``, what is in ``conflict``, and
    which resources tell no amounts (they are taken over with nothing counted). ``department``: None where it is all
    departments'. ``signatures``: how many persons it wants."""

    department: Department | None
    resources: Sequence[Resource]
    shares: Sequence[Share]
    short: Sequence[PoolShortfall]
    shapeless: Sequence[Resource]
    conflicts: Sequence[Conflicting]
    signatures: int


def waiting() -> ColumnElement[bool]:
    """What a department's takeover could take."""
    return and_(without_basis(), of_its_pools_arch(), Resource.department_id.is_not(None))


def preview(
    tx: Tx, department_id: int | None, *, pool_ids: Iterable[int] | None = None, threshold: Threshold | None = None
) -> Preview:
    """What runs without approval as the department's, or (None) as any department's, in all pools or in these. Changes nothing."""
    department = departments.department(tx, department_id) if department_id is not None else None
    found = _owned(tx, department_id, pool_ids)
    return Preview(
        department,
        found,
        _shares(tx, found),
        _short(tx, found),
        [one for one in found if not one.amounts],
        conflicts(tx, found),
        _signatures(tx, found, threshold or city_threshold(tx)),
    )


def propose(
    tx: Tx,
    department_id: int | None,
    document: str,
    resource_ids: Iterable[int],
    *,
    key: str,
    pool_id: int | None = None,
    threshold: Threshold | None = None,
) -> Takeover:
    """Take over the department's resources of these ids, or (None) those of several departments in one act: at once, or, above
    ``threshold`` (the city's where None), as soon as another person confirms. ``pool_id``: the pool that is taken over whole.

    The same ``key`` again returns the first. Raises Invalid without a document or where a resource is not the department's, has
    no department, is gone, is approved already, or is in another takeover that waits; OverCapacity where a pool was not
    equipped with as much.
    """
    tx.actor.must_be(Role.SUPERVISOR)
    tx.actor.must_sign()
    document = stated(document, "document", code="takeover.document", message=N_("请写明接管所依据的文件"))
    if len(document) > LONGEST_DOCUMENT:
        raise Invalid("takeover.document_long", N_("文件名称不超过%(most)s字"), most=LONGEST_DOCUMENT, field="document")
    tx.alone(key)
    wanted = sorted(set(resource_ids))
    _lock(tx, wanted, department_id)
    earlier = tx.scalar(select(Takeover).where(Takeover.key == key))
    if earlier is not None:
        if earlier.department_id != department_id or [row[0] for row in earlier.rows] != wanted:
            raise reused(key)
        return earlier
    found = _still(tx, department_id, wanted)
    _must_fit(tx, found)
    takeover = Takeover(
        key=key,
        department_id=department_id,
        pool_id=pool_id,
        document=document,
        rows=[[resource.id, dict(resource.amounts)] for resource in found],
        resources=len(found),
        shares=[[one.department.id, one.resources, one.amounts.to_json()] for one in _shares(tx, found)],
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
        after={"department": department_id, "pool": pool_id, "document": document, "resources": len(found)},
    )
    if _signatures(tx, found, threshold or city_threshold(tx)) == 1:
        _book(tx, takeover, found)
    return takeover


def confirm(tx: Tx, takeover_id: int, generation: int) -> Takeover:
    """The second person's word: what was proposed is booked, each resource for the department that has it now. Raises NotAllowed
    for who proposed it, Conflict where a resource is no longer as it was proposed, WrongState where it is decided."""
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    tx.actor.must_sign()
    takeover = _locked(tx, takeover_id, generation)
    if takeover.proposed_by == tx.actor.login:
        raise NotAllowed("takeover.same_person", N_("数量较大的接管须由提出人以外的另一人确认"))
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


def _must_fit(tx: Tx, found: Sequence[Resource]) -> None:
    """Refuse what something bars (Invalid), and what a pool was not equipped with (OverCapacity)."""
    for one in conflicts(tx, found):
        if one.barring:
            raise Invalid("takeover.conflict", one.message, **one.params, field="resources")
    for lacking in _short(tx, found):  # whoever signs first should know it, not whoever signs second
        cls = CLASSES[lacking.commodity.kind]
        need, have = (shown(cls.code, figure) for figure in (lacking.need, lacking.have))
        raise OverCapacity(
            "takeover.short",
            N_("%(pool)s 的%(kind)s不足:需要 %(need)s,只有 %(have)s %(unit)s"),
            pool=lacking.pool.name,
            kind=cls.label,
            need=need,
            have=have,
            unit=cls.shown,
        )


def _short(tx: Tx, resources: Iterable[Resource]) -> list[PoolShortfall]:
    """Of what the pools have less free than these take."""
    found = []
    for pool, members in _by_pool(resources):
        for commodity, need in sorted(Amount.total(one.actual() for one in members).of_arch(Arch(pool.arch)).items()):
            have = ledger.balance(tx, Side(pool.id, commodity, Holder.FREE))
            if have < need:
                found.append(PoolShortfall(pool, commodity, need, have))
    return found


def _owned(tx: Tx, department_id: int | None, pool_ids: Iterable[int] | None = None) -> list[Resource]:
    found = unapproved(tx, department_id=department_id, pool_ids=pool_ids)
    return [one for one in found if one.department_id is not None]


def _by_department(resources: Iterable[Resource]) -> dict[int, list[Resource]]:
    found: dict[int, list[Resource]] = {}
    for resource in resources:
        if resource.department_id is not None:
            found.setdefault(resource.department_id, []).append(resource)
    return dict(sorted(found.items()))


def _shares(tx: Tx, resources: Iterable[Resource]) -> list[Share]:
    """By department, those with most resources first."""
    parts = _by_department(resources)
    named = {one.id: one for one in tx.scalars(select(Department).where(among(Department.id, parts)))}
    found = [
        Share(named[department_id], len(members), Amount.total(one.actual() for one in members))
        for department_id, members in parts.items()
    ]
    return sorted(found, key=lambda one: (-one.resources, one.department.id))


def _signatures(tx: Tx, resources: Sequence[Resource], limits: Threshold) -> int:
    today = datetime.combine(tx.now.astimezone(ZONE).date(), time(), ZONE)
    alone = list(
        tx.scalars(
            select(Takeover).where(
                Takeover.state == TakeoverState.BOOKED.value,
                Takeover.proposed_by == tx.actor.login,
                Takeover.decided_by == tx.actor.login,
                Takeover.decided_at >= today,
            )
        )
    )
    what = Amount.total([*(one.actual() for one in resources), *(one.approved() for one in alone)])
    return 2 if limits.passed_by(len(resources) + sum(one.resources for one in alone), what) else 1


def _lock(tx: Tx, resource_ids: Sequence[int], department_id: int | None) -> None:
    """Before looking: no request, no reorganisation and no other takeover of the departments goes on meanwhile."""
    whose = {department_id} if department_id is not None else set(
        tx.scalars(select(Resource.department_id).where(among(Resource.id, resource_ids)).distinct())
    )  # fmt: skip
    tx.execute(
        select(Department.id)
        .where(among(Department.id, {one for one in whose if one is not None}))
        .order_by(Department.id)
        .with_for_update()
    )


def _locked(tx: Tx, takeover_id: int, generation: int) -> Takeover:
    found = takeover(tx, takeover_id)
    _lock(tx, [row[0] for row in found.rows], found.department_id)
    found = tx.lock_as_shown(found, generation, Conflict("takeover.stale", N_("这次接管已被他人更新,请刷新后再操作")))
    if found.state != TakeoverState.PROPOSED:
        raise WrongState(
            "takeover.decided", N_("这次接管现为“%(state)s”"), state=TAKEOVER_LABELS[TakeoverState(found.state)]
        )
    return found


def _still(tx: Tx, department_id: int | None, resource_ids: Sequence[int]) -> list[Resource]:
    """The resources by id, each unapproved, there, and the department's (a department's, where it is None) that has not ended.
    Raises Invalid, naming the first that is not."""
    if not resource_ids:
        raise Invalid("takeover.empty", N_("请选择要接管的资源"), field="resources")
    known = {resource.id: resource for resource in _owned(tx, department_id)}
    for resource_id in resource_ids:
        if resource_id not in known:
            named = tx.get(Resource, resource_id)
            raise Invalid(
                "takeover.not_open",
                N_("资源 %(name)s 不是本单位待接管的资源:已有依据、已不存在,或属于其他单位")
                if department_id is not None
                else N_("资源 %(name)s 不能接管:已有依据、已不存在,或还没有使用单位"),
                name=named.called if named is not None else resource_id,
                field="resources",
            )
    found = [known[resource_id] for resource_id in resource_ids]
    for one in _by_department(found):
        departments.must_be_open(departments.department(tx, one), "department")
    return found


def _decide(tx: Tx, takeover: Takeover, state: TakeoverState) -> None:
    takeover.state, takeover.decided_by, takeover.decided_at = state.value, tx.actor.login, tx.now
    takeover.generation += 1
    tx.flush()


def _book(tx: Tx, takeover: Takeover, resources: Sequence[Resource]) -> None:
    for pool, members in _by_pool(resources):
        for department_id, theirs in _by_department(members).items():
            key = f"{takeover.subject}:{pool.id}"
            if takeover.department_id is None:
                key = f"{key}:{department_id}"
            book(tx, pool, department_id, theirs, basis=takeover.subject, key=key, subject=takeover.subject)
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


# ------------------------------------------------------------------------------------------------ what speaks against it


def _proposed(tx: Tx) -> dict[int, Takeover]:
    """Resource id → the takeover that waits for its second signature. There are few at a time."""
    waiting = select(Takeover).where(Takeover.state == TakeoverState.PROPOSED.value).order_by(Takeover.id)
    return {row[0]: one for one in tx.scalars(waiting) for row in one.rows}


@conflict
def _taken(tx: Tx, resources: Sequence[Resource]) -> Iterable[Conflicting]:
    waiting = _proposed(tx)
    for one in resources:
        if one.id in waiting:
            yield Conflicting(
                one,
                N_("资源 %(name)s 已在待确认的接管“%(document)s”中"),
                {"name": one.called, "document": waiting[one.id].document},
                barring=True,
            )


@conflict
def _tagged_otherwise(tx: Tx, resources: Sequence[Resource]) -> Iterable[Conflicting]:
    """What the cloud's own tags say is another department's, or is of a system that is."""
    codes = dict(tx.execute(select(Department.code, Department.id)).all())
    names = dict(tx.execute(select(Department.id, Department.name)).all())
    systems = {
        one.id: one for one in tx.scalars(select(System).where(among(System.id, {each.system_id or 0 for each in resources})))
    }  # fmt: skip
    for one in resources:
        tagged = codes.get(one.department_code or "")
        system = systems.get(one.system_id or 0)
        if tagged is not None and tagged != one.department_id:
            yield Conflicting(
                one, N_("资源 %(name)s 在云上注明为%(other)s"), {"name": one.called, "other": names[tagged]}
            )
        if system is not None and system.department_id != one.department_id:
            yield Conflicting(
                one,
                N_("资源 %(name)s 的信息系统“%(system)s”属于%(other)s"),
                {"name": one.called, "system": system.name, "other": names[system.department_id]},
            )


@engagements.ask
def _waits(tx: Tx, resource: Resource) -> None:
    """What a takeover is about waits for its second signature."""
    found = _proposed(tx).get(resource.id) if not resource.basis else None
    if found is not None:
        raise Conflict(
            "takeover.waits",
            N_("资源 %(name)s 已在待确认的接管“%(document)s”中"),
            name=resource.called,
            document=found.document,
            field="resource_id",
        )
