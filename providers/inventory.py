"""The inventory (台账): what each cloud says it runs, and what of it was approved.

``observe`` takes a listing as evidence: it adds, changes and ends rows, and writes every difference into an
append-only history, so that what was seen at any instant can be told again. It never decides: a resource
without an order is listed as unapproved, an unknown department's code is kept as it came, a re-tagged
resource stays with the owner that the book knows. ``adopt`` books what exists when a city first connects a
pool.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import (
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    String,
    UniqueConstraint,
    false,
    insert,
    select,
    true,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from providers.base import Inventory, ResourceFact, ResourceState, ServiceKind
from quota import ledger
from quota.actors import Actor, Role
from quota.agencies import Department, System, subtree
from quota.db import Base, append_only, batches
from quota.errors import N_, Conflict, NotFound
from quota.pools import Pool
from quota.seals import plain
from quota.units import Amounts, Arch, Kind, amounts, classes, total

if TYPE_CHECKING:
    from quota.db import Tx

ADOPTED = "adopted"
"""``Resource.basis`` of what ran before the steward came."""


class Change(StrEnum):
    """What a row of the history is mainly about."""

    APPEARED = "appeared"
    SHAPE = "shape"
    STATE = "state"
    OWNER = "owner"
    DETAIL = "detail"
    GONE = "gone"
    RETURNED = "returned"


class Resource(Base):
    """One thing in a pool. ``id`` is the dense integer under which the lake keeps its samples.

    ``amounts`` is what the cloud says it has, ``booked`` what the ledger counts as used for it (both JSON:
    kind → base units); ``department_code`` and ``system_code`` are the cloud's tags, ``department_id`` and
    ``system_id`` the book's owner. ``basis`` says by what right it exists: ``order:12``, ``adopted``, or
    nothing: nobody approved it.
    """

    __tablename__ = "resources"
    __table_args__ = (
        UniqueConstraint("pool_id", "external_id"),
        Index("ix_resources_pool_id_gone_at", "pool_id", "gone_at"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    external_id: Mapped[str] = mapped_column(String(128))
    name: Mapped[str] = mapped_column(String(128), default="", index=True)
    kind: Mapped[str] = mapped_column(String(24), index=True)  # ServiceKind
    arch: Mapped[str] = mapped_column(String(16))
    amounts: Mapped[dict[str, int]] = mapped_column(default=dict)
    booked: Mapped[dict[str, int]] = mapped_column(default=dict)
    state: Mapped[str] = mapped_column(String(16))  # ResourceState
    department_id: Mapped[int | None] = mapped_column(ForeignKey("departments.id"), index=True)
    system_id: Mapped[int | None] = mapped_column(ForeignKey("systems.id"), index=True)
    department_code: Mapped[str | None] = mapped_column(String(64))
    system_code: Mapped[str | None] = mapped_column(String(64))
    catalog_item_id: Mapped[int | None] = mapped_column(ForeignKey("catalog_items.id"))
    basis: Mapped[str] = mapped_column(String(32), default="", index=True)
    address: Mapped[str | None] = mapped_column(String(64), index=True)
    attached_to: Mapped[str | None] = mapped_column(String(128))
    tags: Mapped[dict[str, str]] = mapped_column(default=dict)
    created_at: Mapped[datetime | None]
    stopped_at: Mapped[datetime | None]
    first_seen_at: Mapped[datetime]
    last_seen_at: Mapped[datetime | None]  # None: known from an order alone, no listing has shown it yet
    gone_at: Mapped[datetime | None]
    first_sample_at: Mapped[datetime | None]
    last_sample_at: Mapped[datetime | None]
    protected: Mapped[bool] = mapped_column(default=False)

    pool: Mapped[Pool] = relationship()
    department: Mapped[Department | None] = relationship()
    system: Mapped[System | None] = relationship()

    def has(self) -> Amounts:
        """What the cloud says it has, in base units."""
        return amounts(self.amounts)

    def counts(self) -> Amounts:
        """What the ledger counts as used for it, in base units."""
        return amounts(self.booked)


class ResourceChange(Base):
    """What was seen to change: only the fields that did, as they were and as they are. Never rewritten.

    ``at`` is since when it holds, ``seen_at`` when the listing or the outcome that told it was made.
    """

    __tablename__ = "resource_changes"
    __table_args__ = (Index("ix_resource_changes_resource_id_at", "resource_id", "at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    resource_id: Mapped[int] = mapped_column(ForeignKey("resources.id"))
    what: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime]
    seen_at: Mapped[datetime]
    source: Mapped[str] = mapped_column(String(32))  # inventory, order:12
    before: Mapped[dict[str, Any]]
    after: Mapped[dict[str, Any]]


append_only(ResourceChange.__table__)  # type: ignore[arg-type]


class Listing(Base):
    """That a pool was listed, when, and how it differed from the book."""

    __tablename__ = "inventory_listings"
    __table_args__ = (UniqueConstraint("pool_id", "as_of"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    as_of: Mapped[datetime]
    taken_at: Mapped[datetime]
    complete: Mapped[bool]
    resources: Mapped[int]
    drift: Mapped[dict[str, Any]]  # Drift.summary()


@dataclass(frozen=True, slots=True)
class Drift:
    """How a listing differs from the book. Lists of resource ids; codes → how many resources carry them.

    unapproved: new without an order; reshaped: changed to amounts other than those booked; misowned: tagged
    for another department than the book's owner; twice: external ids listed more than once (the first
    counts).
    """

    pool_id: int
    as_of: datetime
    complete: bool
    seen: int = 0
    new: list[int] = field(default_factory=list)
    changed: list[int] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    returned: list[int] = field(default_factory=list)
    unapproved: list[int] = field(default_factory=list)
    reshaped: list[int] = field(default_factory=list)
    misowned: list[int] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    unknown_departments: dict[str, int] = field(default_factory=dict)
    unknown_systems: dict[str, int] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Counts, and the unknown codes in full."""
        lists = ("new", "changed", "gone", "returned", "unapproved", "reshaped", "misowned", "twice")
        return {
            **{name: len(getattr(self, name)) for name in lists},
            "unknown_departments": dict(self.unknown_departments),
            "unknown_systems": dict(self.unknown_systems),
        }


@dataclass(frozen=True, slots=True)
class Adopted:
    """What ``adopt`` booked. ``ownerless``: resources that no department of the book owns, so that nothing
    was booked."""

    resources: int
    by_department: Mapping[int, Amounts]
    ownerless: list[int]


TOLD = (
    "name",
    "kind",
    "arch",
    "amounts",
    "state",
    "department_code",
    "system_code",
    "address",
    "attached_to",
    "tags",
    "created_at",
    "stopped_at",
)
"""What a listing tells of a resource."""


def observe(tx: Tx, pool: Pool, listing: Inventory) -> Drift:
    """Enter a listing of ``pool`` as evidence; the same listing again changes nothing.

    What a complete listing lacks is gone from ``as_of`` on (the latest instant at which it can have gone);
    an incomplete one ends nothing. What an order did after ``as_of`` it cannot know, and does not undo. Raises Conflict for
    a listing older than one already entered.
    """
    tx.actor.must_be(Role.SYSTEM, Role.SUPERVISOR)
    tx.execute(select(Pool.id).where(Pool.id == pool.id).with_for_update())  # one listing of a pool at a time
    latest = last_listing(tx, pool.id)
    if latest is not None and latest.as_of > listing.as_of:
        raise Conflict(
            "inventory.stale",
            N_("资源池 %(pool)s 已有更新的清单(%(at)s)"),
            pool=pool.code,
            at=latest.as_of.isoformat(),
        )
    tx.flush()
    drift = Drift(pool.id, listing.as_of, listing.complete)
    owners = _Owners(tx)
    known = {row.external_id: row for row in tx.execute(select(Resource.__table__).where(Resource.pool_id == pool.id))}
    younger = _ordered_since(tx, pool.id, listing.as_of)
    facts: dict[str, ResourceFact] = {}
    for fact in listing.facts:
        if fact.external_id in facts:
            drift.twice.append(fact.external_id)
        else:
            facts[fact.external_id] = fact
    born: list[dict[str, Any]] = []
    updates: list[dict[str, Any]] = []
    history: list[dict[str, Any]] = []
    for external_id, fact in facts.items():
        owner = owners.of(fact, drift)
        row = known.get(external_id)
        if row is None:
            born.append(_born(pool, fact, owner, listing.as_of))
            continue
        new, change = _compared(row, fact, owner, listing.as_of, drift, younger.get(row.id, frozenset()))
        if change is not None:
            history.append(change)
            drift.changed.append(row.id)
        if not listing.complete:
            new["last_seen_at"] = listing.as_of
        if new:
            updates.append({"id": row.id, **new})
    if listing.complete:
        for external_id, row in known.items():
            if external_id not in facts and row.gone_at is None and _could_be_seen(row, listing.as_of):
                drift.gone.append(row.id)
                updates.append({"id": row.id, "gone_at": listing.as_of})
                history.append(
                    _change(
                        row.id,
                        Change.GONE,
                        listing.as_of,
                        listing.as_of,
                        {"state": row.state},
                        {"state": None},
                    )
                )
    if born:
        found = tx.execute(insert(Resource).returning(Resource.id, Resource.external_id), born)
        for resource_id, external_id in found.all():
            fact = facts[external_id]
            drift.new.append(resource_id)
            drift.unapproved.append(resource_id)
            history.append(
                _change(resource_id, Change.APPEARED, _since(fact, listing.as_of), listing.as_of, {}, _told(fact))
            )
    _write(tx, updates, history)
    if listing.complete:  # whatever is not gone by now was seen; an order's resource younger than the listing was not
        proven = (Resource.last_seen_at.is_not(None)) | (Resource.first_seen_at < listing.as_of)
        tx.execute(
            update(Resource)
            .where(Resource.pool_id == pool.id, Resource.gone_at.is_(None), proven)
            .values(last_seen_at=listing.as_of)
            .execution_options(synchronize_session=False)
        )
    if latest is None or latest.as_of < listing.as_of:
        tx.add(
            Listing(
                pool_id=pool.id,
                as_of=listing.as_of,
                taken_at=tx.now,
                complete=listing.complete,
                resources=len(facts),
                drift=drift.summary(),
            )
        )
    tx.flush()
    tx.expire_all()  # rows were written past the session
    if drift.new or drift.changed or drift.gone:
        tx.audit("inventory.observe", f"pool:{pool.id}", after={"as_of": listing.as_of, **drift.summary()})
    return drift


def adopt(tx: Tx, pool: Pool) -> Adopted:
    """Book what already runs in ``pool``: for each department one grant and one use of all its unapproved
    resources.

    For the day when a city connects a pool, and for later finds that the supervisor accepts. What was
    adopted has a basis, so a second call books nothing. Raises OverCapacity where the pool was not equipped
    with as much.
    """
    tx.actor.must_be(Role.SYSTEM, Role.SUPERVISOR)
    found = list(
        tx.scalars(
            select(Resource)
            .where(
                Resource.pool_id == pool.id,
                Resource.basis == "",
                Resource.gone_at.is_(None),
                Resource.state != ResourceState.DELETED.value,
            )
            .order_by(Resource.id)
        )
    )
    groups: dict[int, list[Resource]] = {}
    for one in found:
        if one.department_id is not None:
            groups.setdefault(one.department_id, []).append(one)
    booked: dict[int, Amounts] = {}
    for department_id, members in sorted(groups.items()):
        what = total(one.has() for one in members)
        if what:
            key = f"adopt:{pool.id}:{department_id}:{members[-1].id}"
            by_class = classes(what, Arch(pool.arch))
            ledger.grant(tx, pool.id, department_id, by_class, key=f"{key}:grant", subject=f"pool:{pool.id}")
            ledger.use(tx, pool.id, department_id, by_class, key=f"{key}:use", subject=f"pool:{pool.id}")
        for one in members:
            one.basis, one.booked = ADOPTED, dict(one.amounts)
        booked[department_id] = what
        tx.audit(
            "inventory.adopt",
            f"pool:{pool.id}",
            after={"department": department_id, "resources": len(members), "amounts": what},
        )
    tx.flush()
    return Adopted(sum(map(len, groups.values())), booked, [one.id for one in found if one.department_id is None])


# --------------------------------------------------------------------------------------------- what orders do


def arrive(
    tx: Tx,
    pool: Pool,
    external_id: str,
    *,
    at: datetime,
    source: str,
    kind: ServiceKind,
    approved: Amounts,
    has: Amounts,
    department_id: int | None,
    system_id: int | None,
    name: str,
    catalog_item_id: int | None = None,
) -> Resource:
    """An order brought ``external_id`` into being: enter it, or give its basis to what a listing already
    showed.

    Raises Conflict where that resource already has another basis.
    """
    one = tx.scalar(
        select(Resource).where(Resource.pool_id == pool.id, Resource.external_id == external_id).with_for_update()
    )
    spelled = {kind_.value: figure for kind_, figure in has.items() if figure}
    if one is None:
        one = Resource(
            pool_id=pool.id,
            external_id=external_id,
            name=name,
            kind=kind.value,
            arch=pool.arch,
            amounts=spelled,
            state=ResourceState.RUNNING.value,
            tags={},
            first_seen_at=at,
            created_at=at,
            protected=False,
        )
        tx.add(one)
        tx.flush()
        tx.add(
            ResourceChange(
                resource_id=one.id,
                what=Change.APPEARED.value,
                at=at,
                seen_at=at,
                source=source,
                before={},
                after={
                    "name": name,
                    "kind": kind.value,
                    "arch": pool.arch,
                    "amounts": spelled,
                    "state": one.state,
                },
            )
        )
    elif one.basis not in ("", source):
        raise Conflict(
            "resource.taken",
            N_("资源 %(id)s 已由%(basis)s登记"),
            id=external_id,
            basis=one.basis,
            field="external_id",
        )
    one.basis, one.catalog_item_id = source, catalog_item_id
    one.department_id, one.system_id = department_id, system_id
    one.booked = {kind_.value: figure for kind_, figure in approved.items() if figure}
    tx.flush()
    return one


def enact(tx: Tx, one: Resource, *, at: datetime, source: str, **told: Any) -> None:
    """An order changed ``one``: write ``told`` (fields of TOLD) with its history. What is the same is left
    out."""
    spelled = {name: plain(value) if name in ("amounts", "state") else value for name, value in told.items()}
    before = {name: getattr(one, name) for name in spelled}
    after = {name: value for name, value in spelled.items() if value != before[name]}
    if not after:
        return
    tx.add(
        ResourceChange(
            resource_id=one.id,
            what=_about(after).value,
            at=at,
            seen_at=at,
            source=source,
            before=plain({name: before[name] for name in after}),
            after=plain(after),
        )
    )
    for name, value in after.items():
        setattr(one, name, value)
    tx.flush()


def reassign(tx: Tx, resource_ids: Collection[int], department_id: int, *, source: str) -> None:
    """Give resources to another department, each with a row of its history. The ledger is the caller's business."""
    target = tx.get_one(Department, department_id)
    some = (
        tx.scalars(select(Resource).where(Resource.id.in_(part)).order_by(Resource.id))
        for part in batches(sorted(resource_ids))
    )
    for one in chain.from_iterable(some):
        if one.department_id == department_id:
            continue
        tx.add(
            ResourceChange(
                resource_id=one.id,
                what=Change.OWNER.value,
                at=tx.now,
                seen_at=tx.now,
                source=source,
                before={"owner": one.department.name if one.department else None},
                after={"owner": target.name},
            )
        )
        one.department_id = department_id
    tx.flush()


# ---------------------------------------------------------------------------------------------------- reading


def resource(tx: Tx, resource_id: int) -> Resource:
    """The resource, or NotFound, also where the actor may not see it: that it exists is already an
    answer."""
    found = tx.scalar(select(Resource).where(Resource.id == resource_id, visible(tx, tx.actor)))
    if found is None:
        raise NotFound("resource.none", N_("没有编号为 %(id)s 的资源"), id=resource_id)
    return found


def visible(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """What ``actor`` may see: departments their subtree's, provider staff their company's pools, the three
    administrators nothing."""
    return seen_by(tx, actor, Resource.department_id, Resource.pool_id)


def seen_by(tx: Tx, actor: Actor, department: Any, pool: Any) -> ColumnElement[bool]:
    """The same rule for any table with a department's and a pool's column."""
    if actor.role is Role.TENANT and actor.department_id is not None:
        return cast("ColumnElement[bool]", department.in_(subtree(tx, actor.department_id)))
    if actor.role is Role.PROVIDER and actor.provider_id is not None:
        own = select(Pool.id).where(Pool.provider_id == actor.provider_id)
        return cast("ColumnElement[bool]", pool.in_(own))
    if actor.role in (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR, Role.SYSTEM):
        return true()
    return false()


def ids(tx: Tx, pool_id: int, external_ids: Iterable[str]) -> dict[str, int]:
    """External id → dense id, of those that the pool has."""
    wanted = set(external_ids)
    query = select(Resource.external_id, Resource.id).where(Resource.pool_id == pool_id)
    if len(wanted) <= 500:
        query = query.where(Resource.external_id.in_(wanted))
    return {external_id: one for external_id, one in tx.execute(query) if external_id in wanted}


def last_listing(tx: Tx, pool_id: int, *, complete: bool = False) -> Listing | None:
    """The latest listing of the pool that was entered; with ``complete`` the latest that told all of it."""
    query = select(Listing).where(Listing.pool_id == pool_id)
    if complete:
        query = query.where(Listing.complete.is_(True))
    return tx.scalar(query.order_by(Listing.as_of.desc()).limit(1))


def history(tx: Tx, resource_id: int) -> list[ResourceChange]:
    """Everything seen of a resource, in the order in which it holds."""
    return list(
        tx.scalars(
            select(ResourceChange)
            .where(ResourceChange.resource_id == resource_id)
            .order_by(ResourceChange.at, ResourceChange.id)
        )
    )


ATTACHABLE = (ServiceKind.VOLUME.value, ServiceKind.EIP.value)


def unattached(tx: Tx, resources: Iterable[Resource]) -> dict[int, datetime]:
    """Id → since when, of the volumes and addresses among ``resources`` that are attached to nothing.

    Since the change that was seen; else what the cloud itself says (tag ``detached_at``, ISO 8601); else
    since we first saw it so. Never earlier than that is known: the doubt is the owner's.
    """
    loose = {one.id: one for one in resources if one.kind in ATTACHABLE and not one.attached_to}
    since: dict[int, datetime] = {}
    for one in loose.values():
        since[one.id] = one.first_seen_at
        told = one.tags.get("detached_at")
        if told:
            with suppress(ValueError):
                moment = datetime.fromisoformat(told)
                since[one.id] = moment if moment.tzinfo else since[one.id]
    for part in batches(loose):
        query = (
            select(ResourceChange.resource_id, ResourceChange.at, ResourceChange.after)
            .where(ResourceChange.resource_id.in_(part), ResourceChange.what != Change.APPEARED.value)
            .order_by(ResourceChange.at, ResourceChange.id)
        )
        since |= {resource_id: at for resource_id, at, after in tx.execute(query) if "attached_to" in after}
    return since


@dataclass(frozen=True, slots=True)
class Spell:
    """A stretch of time [start, end) in which a resource had one shape and one state (None: it was
    gone)."""

    start: datetime
    end: datetime
    amounts: Amounts
    state: ResourceState | None


def spells(
    tx: Tx,
    start: datetime,
    end: datetime,
    *,
    pool_ids: Iterable[int] | None = None,
) -> dict[int, list[Spell]]:
    """Resource id → its spells within [start, end), from the history; all resources where not narrowed."""
    query = (
        select(ResourceChange.resource_id, ResourceChange.at, ResourceChange.after)
        .where(ResourceChange.at < end)
        .order_by(ResourceChange.resource_id, ResourceChange.at, ResourceChange.id)
    )
    if pool_ids is not None:
        query = query.join(Resource, Resource.id == ResourceChange.resource_id).where(
            Resource.pool_id.in_(list(pool_ids))
        )
    told: dict[int, list[tuple[datetime, dict[str, Any]]]] = {}
    for resource_id, at, after in tx.execute(query):
        told.setdefault(resource_id, []).append((at, after))
    return {resource_id: found for resource_id, rows in told.items() if (found := _spells(rows, start, end))}


def _spells(rows: list[tuple[datetime, dict[str, Any]]], start: datetime, end: datetime) -> list[Spell]:
    found: list[Spell] = []
    has: dict[Kind, int] = {}
    state: str | None = None
    for number, (at, after) in enumerate(rows):
        if "amounts" in after:
            has = amounts(after["amounts"])
        if "state" in after:
            state = after["state"]
        first = max(at, start)
        last = min(rows[number + 1][0] if number + 1 < len(rows) else end, end)
        if first < last and state is not None:
            found.append(Spell(first, last, dict(has), ResourceState(state)))
    return found


# -------------------------------------------------------------------------------------------------- mechanism


class _Owners:
    """Codes that the book knows."""

    def __init__(self, tx: Tx) -> None:
        # A closed department was merged: its tags mean the one that took over, which it lies under.
        rows = list(tx.execute(select(Department.code, Department.id, Department.parent_id, Department.active)))
        above = {one: parent for _code, one, parent, active in rows if not active and parent is not None}
        self.departments: dict[str, int] = {}
        for code, one, _parent, _active in rows:
            while one in above:
                one = above[one]
            self.departments[code] = one
        self.systems = {
            code: (one, department)
            for code, one, department in tx.execute(select(System.code, System.id, System.department_id))
        }

    def of(self, fact: ResourceFact, drift: Drift) -> tuple[int | None, int | None]:
        """(department id, system id) by the fact's tags; a system's department where only the system is
        told."""
        department_id = self.departments.get(fact.department_code) if fact.department_code else None
        if fact.department_code and department_id is None:
            counted = drift.unknown_departments
            counted[fact.department_code] = counted.get(fact.department_code, 0) + 1
        system_id, owner = self.systems.get(fact.system_code, (None, None)) if fact.system_code else (None, None)
        if fact.system_code and system_id is None:
            drift.unknown_systems[fact.system_code] = drift.unknown_systems.get(fact.system_code, 0) + 1
        return (department_id if fact.department_code else owner), system_id


def _told(fact: ResourceFact) -> dict[str, Any]:
    """What the fact tells, as the history keeps it."""
    return dict(plain({**{name: getattr(fact, name) for name in TOLD}, "amounts": _spelled(fact.amounts)}))


def _spelled(what: Amounts) -> dict[str, int]:
    return {kind.value: int(figure) for kind, figure in what.items() if figure}


def _cut(text: str | None, most: int) -> str | None:
    """As much of a text as its column keeps: one overlong name must not keep a whole listing from being entered."""
    return None if text is None else text[:most]


def _values(fact: ResourceFact) -> dict[str, Any]:
    """What the fact tells, as the columns keep it."""
    return {
        "name": _cut(fact.name, 128),
        "kind": fact.kind.value,
        "arch": fact.arch.value,
        "amounts": _spelled(fact.amounts),
        "state": fact.state.value,
        "department_code": _cut(fact.department_code, 64),
        "system_code": _cut(fact.system_code, 64),
        "address": _cut(fact.address, 64),
        "attached_to": _cut(fact.attached_to, 128),
        "tags": dict(fact.tags),
        "created_at": fact.created_at,
        "stopped_at": fact.stopped_at,
    }


def _born(pool: Pool, fact: ResourceFact, owner: tuple[int | None, int | None], as_of: datetime) -> dict[str, Any]:
    return {
        **_values(fact),
        "pool_id": pool.id,
        "external_id": fact.external_id,
        "booked": {},
        "basis": "",
        "department_id": owner[0],
        "system_id": owner[1],
        "first_seen_at": as_of,
        "last_seen_at": as_of,
        "protected": False,
    }


def _compared(
    row: Any,
    fact: ResourceFact,
    owner: tuple[int | None, int | None],
    as_of: datetime,
    drift: Drift,
    younger: frozenset[str],
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """(columns to write, row of the history or None) for a resource that the book knows. ``younger``: what an order told
    of it since."""
    told = {name: value for name, value in _values(fact).items() if name not in younger}
    if fact.created_at is None:
        told["created_at"] = row.created_at  # not told is not "never"
    before = {name: getattr(row, name) for name in TOLD if name in told or name == "state"}
    new = {name: value for name, value in told.items() if value != before[name]}
    after = dict(new)
    back = row.gone_at is not None
    what = Change.RETURNED if back else _about(after)
    department_id, system_id = owner
    if department_id is not None and department_id != row.department_id:
        if row.basis and row.department_id is not None:
            drift.misowned.append(row.id)
        else:
            new["department_id"] = department_id
    if (
        system_id is not None
        and system_id != row.system_id
        and (department_id is None or department_id == new.get("department_id", row.department_id))
    ):
        new["system_id"] = system_id
    if back:
        drift.returned.append(row.id)
        new["gone_at"] = None
        after["state"], before["state"] = fact.state.value, None
    if "amounts" in after and row.basis and after["amounts"] != row.booked:
        drift.reshaped.append(row.id)
    if not after:
        return new, None
    at = as_of
    stopped = fact.stopped_at
    if what is Change.STATE and stopped is not None and row.last_seen_at and row.last_seen_at < stopped <= as_of:
        at = stopped
    return new, _change(row.id, what, at, as_of, {name: before[name] for name in after}, after)


def _ordered_since(tx: Tx, pool_id: int, as_of: datetime) -> dict[int, frozenset[str]]:
    """Resource id → the fields that orders changed after ``as_of``."""
    query = (
        select(ResourceChange.resource_id, ResourceChange.after)
        .join(Resource, Resource.id == ResourceChange.resource_id)
        .where(Resource.pool_id == pool_id, ResourceChange.at > as_of, ResourceChange.source.like("order:%"))
    )
    found: dict[int, frozenset[str]] = {}
    for resource_id, after in tx.execute(query):
        found[resource_id] = found.get(resource_id, frozenset()) | frozenset(after)
    return found


def _about(after: Mapping[str, Any]) -> Change:
    for what, names in (
        (Change.SHAPE, ("amounts", "kind", "arch")),
        (Change.STATE, ("state",)),
        (Change.OWNER, ("department_code", "system_code")),
    ):
        if any(name in after for name in names):
            return what
    return Change.DETAIL


def _since(fact: ResourceFact, as_of: datetime) -> datetime:
    return min(fact.created_at, as_of) if fact.created_at else as_of


def _could_be_seen(row: Any, as_of: datetime) -> bool:
    """A listing made before an order brought the resource says nothing of it."""
    return bool(row.last_seen_at is not None or row.first_seen_at < as_of)


def _change(
    resource_id: int,
    what: Change,
    at: datetime,
    seen_at: datetime,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "resource_id": resource_id,
        "what": what.value,
        "at": at,
        "seen_at": seen_at,
        "source": "inventory",
        "before": plain(before),
        "after": plain(after),
    }


def _write(tx: Tx, updates: list[dict[str, Any]], history: list[dict[str, Any]]) -> None:
    by_columns: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in updates:
        by_columns.setdefault(tuple(sorted(row)), []).append(row)
    for rows in by_columns.values():
        tx.execute(update(Resource), rows)
    if history:
        tx.execute(insert(ResourceChange), history)
