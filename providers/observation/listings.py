"""Listings (清单): what a cloud says it runs, entered as evidence.

``observe`` adds, changes and ends rows, and writes every difference into the history. It never decides: a resource
without an order is listed as unapproved, an unknown department's code is kept as it came, a re-tagged resource stays with
the owner that the book knows. A complete listing that lacks a large part of its pool is more likely half an answer than
the end of so many machines: what it tells is entered as of an incomplete one, and what it would end is held until a person
has looked (``providers.observation.held_listings``); so does one that adds the last part to what others lost of it within
``LATELY``. Where one of a cloud's services could not be read, nothing of its kind is
gone, and everything else is as it is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
    and_,
    case,
    func,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column

from providers.base import Inventory, ResourceFact, ResourceState
from quota import inventory
from quota.actors import Role
from quota.base import Base
from quota.directory import Department, Pool, System
from quota.errors import N_, Conflict
from quota.inventory import TOLD, Change, about
from quota.seals import plain
from quota.units import Amount, Arch

if TYPE_CHECKING:
    from quota.db import Tx


@dataclass(frozen=True, slots=True)
class Caution:
    """How much a listing may end by itself: more than ``machines`` resources that are also more than ``percent`` of what
    stands in the pool are held. 100 percent holds nothing."""

    machines: int = 10
    percent: int = 20

    def holds(self, missing: int, standing: int) -> bool:
        return missing > self.machines and 100 * missing > self.percent * standing


CAUTION = Caution()

LATELY = timedelta(days=7)
"""What a pool lost in so long counts together: it may be lost in parts, each of which is small."""


class HeldBack(StrEnum):
    """What became of what a listing would have ended."""

    NOTHING = ""  # it held nothing back
    WAITS = "waits"  # for a person's look
    ENDED = "ended"  # a person said that they are gone
    KEPT = "kept"  # a person said that the listing is wrong
    OVERTAKEN = "overtaken"  # a later listing told all of the pool


class Listing(Base):
    """That a pool was listed, when, and how it differed from the book."""

    __tablename__ = "inventory_listings"
    __table_args__ = (
        UniqueConstraint("pool_id", "as_of"),
        Index("ix_inventory_listings_as_of_id", "as_of", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    as_of: Mapped[datetime]
    taken_at: Mapped[datetime]
    taken_by: Mapped[str] = mapped_column(String(64), default="", server_default="")  # "": collected by itself
    complete: Mapped[bool]
    resources: Mapped[int]
    drift: Mapped[dict[str, Any]]  # Drift.summary()
    short: Mapped[str] = mapped_column(String(200), default="", server_default="")  # kinds not told in full, by blanks
    missing: Mapped[list[Any]] = mapped_column(default=list)  # ids of resources whose end is held
    held: Mapped[str] = mapped_column(String(12), default="")  # Held
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str] = mapped_column(String(64), default="")
    reason: Mapped[str] = mapped_column(String(500), default="")

    def tells(self, kind: str) -> bool:
        """Whether all that there was of ``kind`` stood in it, so that what it lacked of it was gone."""
        return self.complete or (bool(self.short) and kind not in self.short.split() and self.held == HeldBack.NOTHING)


def telling() -> ColumnElement[bool]:
    """Listings that told all of their pool, or at least all of some kinds (``Listing.tells``)."""
    return or_(Listing.complete.is_(True), and_(Listing.short != "", Listing.held == HeldBack.NOTHING.value))


@dataclass(slots=True)
class Drift:
    """How a listing differs from the book. Lists of resource ids; codes → how many resources carry them.

    unapproved: new without an order; reshaped: changed to amounts other than those booked; misowned: tagged
    for another department than the book's owner; misplaced: of another architecture than the pool; twice: external ids
    listed more than once (the first counts); held: they would be gone, and are not until a person has looked. ``standing``: how
    many stood before; ``lost_lately``: how many more the pool had lost within LATELY than it had gained, where something is held
    for that. ``short``: kinds not told in full → why, in the cloud's words. ``unmapped``: projects that are nobody's yet →
    how many resources lie in each.
    """

    pool_id: int
    as_of: datetime
    complete: bool
    standing: int = 0
    lost_lately: int = 0
    new: list[int] = field(default_factory=list)
    changed: list[int] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    held: list[int] = field(default_factory=list)
    returned: list[int] = field(default_factory=list)
    unapproved: list[int] = field(default_factory=list)
    reshaped: list[int] = field(default_factory=list)
    misowned: list[int] = field(default_factory=list)
    misplaced: list[int] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    unknown_departments: dict[str, int] = field(default_factory=dict)
    unknown_systems: dict[str, int] = field(default_factory=dict)
    unmapped: dict[str, int] = field(default_factory=dict)
    short: dict[str, str] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Counts, and the unknown codes in full."""
        lists = (
            "new", "changed", "gone", "held", "returned", "unapproved", "reshaped", "misowned", "misplaced", "twice",
        )  # fmt: skip
        told = {
            **{name: len(getattr(self, name)) for name in lists},
            "unknown_departments": dict(self.unknown_departments),
            "unknown_systems": dict(self.unknown_systems),
        }
        if self.lost_lately:
            told["lost_lately"] = self.lost_lately
        return told | {name: dict(more) for name in ("unmapped", "short") if (more := getattr(self, name))}


def observe(tx: Tx, pool: Pool, listing: Inventory, *, caution: Caution | None = CAUTION) -> Drift:
    """Enter a listing of ``pool`` as evidence; the same listing again changes nothing.

    What a complete listing lacks is gone from ``as_of`` on (the latest instant at which it can have gone); an incomplete
    one ends nothing, nor one that lacks more than ``caution`` lets it end (None: whatever it lacks is gone). What an order
    did after ``as_of`` it cannot know, and does not undo. Raises Conflict for a listing older than one already entered.
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
    known = inventory.known(tx, pool.id)
    drift = Drift(pool.id, listing.as_of, listing.complete and not listing.short)
    drift.short = {kind.value: why[:300] for kind, why in listing.short.items()} if listing.complete else {}
    facts: dict[str, ResourceFact] = {}
    for fact in listing.facts:
        if not fact.placed and getattr(known.get(fact.external_id), "gone_at", tx.now) is not None:
            continue  # another pool's, as far as anybody knows: nothing is born by it, nor does it return
        if fact.external_id in facts:
            drift.twice.append(fact.external_id)
        else:
            facts[fact.external_id] = fact
    since = _counted_from(tx, pool.id, listing.as_of)
    ended = _missing(known, facts, drift, caution, since) if listing.complete else []
    told = listing.complete and not drift.held  # all of every kind that is not short
    told_all = told and not drift.short
    owners = _Owners(tx, inventory.projects.enter(tx, pool.id, _projects(listing), listing.as_of))
    updates: list[dict[str, Any]] = []
    history: list[dict[str, Any]] = []
    born = _known_and_new(tx, pool, listing, known, facts, owners, drift, updates, history, told=told)
    for row in ended:
        drift.gone.append(row.id)
        updates.append({"id": row.id, "gone_at": listing.as_of})
        history.append(inventory.gone(row.id, row.state, listing.as_of))
    _bear(tx, pool, born, facts, listing.as_of, drift, history)
    inventory.write(tx, updates, history)
    if told:
        inventory.seen(tx, pool.id, listing.as_of, but=listing.short)
    held_anew = _enter(tx, latest, drift, resources=len(facts), told_all=told_all)
    tx.flush()
    tx.expire_all()  # rows were written past the session
    if drift.new or drift.changed or drift.gone or held_anew:
        tx.audit("inventory.observe", f"pool:{pool.id}", after={"as_of": listing.as_of, **drift.summary()})
    return drift


OURS = (ResourceState.DELETED, ResourceState.RECYCLED)
"""What our orders deleted, or put into a bin that some clouds do not list, may well be missing."""


def _counted_from(tx: Tx, pool_id: int, as_of: datetime) -> datetime:
    """Since when losses of the pool count together: LATELY, but neither from before its first listing, which gained all that it
    has, nor from before a person last said that what a listing lacked is gone."""
    first, looked = tx.execute(
        select(
            func.min(Listing.as_of), func.max(case((Listing.held == HeldBack.ENDED.value, Listing.decided_at)))
        ).where(Listing.pool_id == pool_id)
    ).one()
    return max(moment for moment in (as_of - LATELY, first, looked) if moment is not None)


def _missing(
    known: Mapping[str, Any], facts: Mapping[str, Any], drift: Drift, caution: Caution | None, since: datetime
) -> list[Any]:
    """Rows that the listing ends; those whose end is held are noted in ``drift``. What is missing by our own hand does not
    make a listing suspect; of a suspect one only what we deleted is believed to be gone. Losses since ``since`` count with it."""
    there = [
        row
        for row in known.values()
        if row.gone_at is None and row.kind not in drift.short and _could_be_seen(row, drift.as_of)
    ]
    missing = [row for row in there if row.external_id not in facts]
    drift.standing = sum(row.state not in OURS for row in there)
    stood = Counter(row.kind for row in there if row.state not in OURS)
    lacking = Counter(row.kind for row in missing if row.state not in OURS)
    suspect = caution is not None and (
        caution.holds(lacking.total(), drift.standing)
        or any(
            caution.holds(count, stood[kind]) for kind, count in lacking.items()
        )  # one service answered with half of it
    )
    if caution is not None and not suspect and lacking:
        lost = _net_loss(known.values(), since)
        suspect = caution.holds(lacking.total() + lost, drift.standing + lost)
        drift.lost_lately = lost if suspect else 0
    if not suspect:
        return missing
    drift.held.extend(row.id for row in missing if row.state != ResourceState.DELETED)
    return [row for row in missing if row.state == ResourceState.DELETED]


def _net_loss(rows: Iterable[Any], since: datetime) -> int:
    """How many more resources the pool lost since then, by no hand of ours, than it gained; none where it grew."""
    lost = gained = 0
    for row in rows:
        lost += row.gone_at is not None and row.gone_at > since and row.state not in OURS
        gained += row.gone_at is None and row.first_seen_at > since
    return max(0, lost - gained)


def _known_and_new(
    tx: Tx,
    pool: Pool,
    listing: Inventory,
    known: Mapping[str, Any],
    facts: Mapping[str, ResourceFact],
    owners: _Owners,
    drift: Drift,
    updates: list[dict[str, Any]],
    history: list[dict[str, Any]],
    *,
    told: bool,
) -> list[dict[str, Any]]:
    """What the facts change of known rows, into ``updates`` and ``history``; returns the rows that are new. ``told``: all that
    is of kinds that are not short stands in the listing, and was seen by that."""
    younger = inventory.ordered_since(tx, pool.id, listing.as_of)
    born: list[dict[str, Any]] = []
    for external_id, fact in facts.items():
        owner = owners.of(fact, drift)
        row = known.get(external_id)
        if row is None:
            born.append(_born(pool, fact, owner, owners.project(fact), listing.as_of))
            continue
        if misplaced(pool, fact):
            drift.misplaced.append(row.id)
        new, change = _compared(row, fact, owner, listing.as_of, drift, younger.get(row.id, frozenset()))
        project_id = owners.project(fact)
        if project_id is not None and project_id != row.project_id:
            new["project_id"] = project_id
        if change is not None:
            history.append(change)
            drift.changed.append(row.id)
        if not told or row.kind in drift.short:
            new["last_seen_at"] = listing.as_of
        if new:
            updates.append({"id": row.id, **new})
    return born


def misplaced(pool: Pool, fact: ResourceFact) -> bool:
    """Whether it is of another architecture than its pool, which the ledger counts by."""
    return fact.arch.value not in (pool.arch, Arch.ANY.value)


def _projects(listing: Inventory) -> dict[str, inventory.projects.ProjectNames]:
    """What the listing tells of projects: those that things lie in, and those that it names beside."""
    found = {one.project.external_id: one.project for one in listing.facts if one.project is not None}
    found |= {one.external_id: one for one in listing.projects}
    return {id_[:64]: inventory.projects.ProjectNames(one.name, one.domain, one.tags) for id_, one in found.items()}


def _bear(
    tx: Tx,
    pool: Pool,
    born: list[dict[str, Any]],
    facts: Mapping[str, ResourceFact],
    as_of: datetime,
    drift: Drift,
    history: list[dict[str, Any]],
) -> None:
    """Write the rows that are new."""
    for external_id, resource_id in inventory.bear(tx, born).items():
        fact = facts[external_id]
        drift.new.append(resource_id)
        drift.unapproved.append(resource_id)
        if misplaced(pool, fact):
            drift.misplaced.append(resource_id)
        history.append(inventory.change(resource_id, Change.APPEARED, _since(fact, as_of), as_of, {}, _told(fact)))


def _enter(tx: Tx, latest: Listing | None, drift: Drift, *, resources: int, told_all: bool) -> bool:
    """Keep that the pool was listed; returns whether something waits for a person that did not before, or the moment is told
    better than before (``_told_better``)."""
    listing = latest
    better = False
    if listing is None or listing.as_of < drift.as_of:
        listing = Listing(
            pool_id=drift.pool_id,
            as_of=drift.as_of,
            taken_at=tx.now,
            taken_by=tx.actor.login if tx.actor.role is Role.SUPERVISOR else "",
            complete=told_all,
            resources=resources,
            drift=drift.summary(),
            short=" ".join(sorted(drift.short)),
            missing=[],
            held=HeldBack.NOTHING.value,
        )
        tx.add(listing)
    else:
        better = _told_better(listing, drift, resources=resources, told_all=told_all)
    held_anew = bool(drift.held) and listing.missing != drift.held
    if held_anew:
        listing.missing, listing.held = drift.held, HeldBack.WAITS.value
    elif (
        (told_all or drift.short) and not drift.held and listing.held == HeldBack.WAITS
    ):  # the same once more, and now whatever it lacks is gone
        listing.held, listing.complete, listing.decided_at, listing.decided_by = (
            HeldBack.ENDED.value,
            told_all,
            tx.now,
            tx.actor.login,
        )
    tx.flush()
    if told_all or drift.held:
        tx.execute(
            update(Listing)
            .where(Listing.pool_id == drift.pool_id, Listing.as_of < drift.as_of, Listing.held == HeldBack.WAITS.value)
            .values(held=HeldBack.OVERTAKEN.value)
            .execution_options(synchronize_session=False)
        )
    return held_anew or better


ADDED_UP = ("new", "changed", "gone", "returned", "unapproved", "reshaped")
"""What each telling of one moment did to the register: a listing's row says what all of them did."""


def _told_better(listing: Listing, drift: Drift, *, resources: int, told_all: bool) -> bool:
    """The same moment once more, as by who corrects a sheet: the row says what the better telling said. One that tells all is
    better than one that does not; of two that are alike the later. Returns whether the row says anything else now."""
    if listing.held != HeldBack.NOTHING or drift.held or (listing.complete and not told_all):
        return False
    before = listing.drift, listing.resources, listing.complete, listing.short
    told = drift.summary()
    listing.drift = told | {name: before[0].get(name, 0) + told[name] for name in ADDED_UP}
    listing.resources, listing.complete, listing.short = resources, told_all, " ".join(sorted(drift.short))
    return before != (listing.drift, listing.resources, listing.complete, listing.short)


def last_listing(tx: Tx, pool_id: int, *, complete: bool = False, of: str = "") -> Listing | None:
    """The latest listing of the pool that was entered; with ``complete`` the latest that told all of it; ``of`` a kind: the
    latest that told all of that kind."""
    query = select(Listing).where(Listing.pool_id == pool_id)
    if complete:
        query = query.where(Listing.complete.is_(True))
    if of:
        query = query.where(telling(), not_((" " + Listing.short + " ").contains(f" {of} ")))
    return tx.scalar(query.order_by(Listing.as_of.desc()).limit(1))


class _Owners:
    """Codes that the book knows, and whose each of the pool's projects is."""

    def __init__(self, tx: Tx, projects: Mapping[str, inventory.CloudProject]) -> None:
        self.projects = {external_id: (one.id, one.department_id) for external_id, one in projects.items()}
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
        """(department id, system id): whose its project is, where a person said that; else by the fact's tags, a system's
        department where only the system is told."""
        department_id = self.departments.get(fact.department_code) if fact.department_code else None
        if fact.department_code and department_id is None:
            counted = drift.unknown_departments
            counted[fact.department_code] = counted.get(fact.department_code, 0) + 1
        system_id, owner = self.systems.get(fact.system_code, (None, None)) if fact.system_code else (None, None)
        if fact.system_code and system_id is None:
            drift.unknown_systems[fact.system_code] = drift.unknown_systems.get(fact.system_code, 0) + 1
        if fact.project is not None:
            _id, mapped = self.projects[fact.project.external_id[:64]]
            if mapped is not None:
                return mapped, system_id if owner in (None, mapped) else None
            called = fact.project.name or fact.project.external_id
            drift.unmapped[called] = drift.unmapped.get(called, 0) + 1
        return (department_id if fact.department_code else owner), system_id

    def project(self, fact: ResourceFact) -> int | None:
        """The id of the row of its project."""
        return None if fact.project is None else self.projects[fact.project.external_id[:64]][0]


def _told(fact: ResourceFact) -> dict[str, Any]:
    """What the fact tells, as the history keeps it."""
    return dict(plain({**{name: getattr(fact, name) for name in TOLD}, "amounts": Amount(fact.amounts).to_json()}))


def _cut(text: str | None, most: int) -> str | None:
    """As much of a text as its column keeps: one overlong name must not keep a whole listing from being entered."""
    return None if text is None else text[:most]


def _values(fact: ResourceFact) -> dict[str, Any]:
    """What the fact tells, as the columns keep it."""
    return {
        "name": _cut(fact.name, 128),
        "kind": fact.kind.value,
        "arch": fact.arch.value,
        "amounts": Amount(fact.amounts).to_json(),
        "state": fact.state.value,
        "cloud_state": fact.cloud_state[:64],
        "department_code": _cut(fact.department_code, 64),
        "system_code": _cut(fact.system_code, 64),
        "address": _cut(fact.address, 64),
        "attached_to": _cut(fact.attached_to, 128),
        "tags": dict(fact.tags),
        "created_at": fact.created_at,
        "stopped_at": fact.stopped_at,
    }


def _born(
    pool: Pool, fact: ResourceFact, owner: tuple[int | None, int | None], project_id: int | None, as_of: datetime
) -> dict[str, Any]:
    off = fact.stopped_at or (as_of if fact.state is ResourceState.STOPPED else None)  # as far as anybody knows
    return {
        **_values(fact),
        "stopped_at": off,
        "pool_id": pool.id,
        "external_id": fact.external_id,
        "booked": {},
        "basis": "",
        "department_id": owner[0],
        "system_id": owner[1],
        "project_id": project_id,
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
    if "stopped_at" in told and fact.stopped_at is None and fact.state is ResourceState.STOPPED:
        told["stopped_at"] = (row.stopped_at if row.state == ResourceState.STOPPED else None) or as_of
    before = {name: getattr(row, name) for name in TOLD if name in told or name == "state"}
    new = {name: value for name, value in told.items() if value != before[name]}
    after = dict(new)
    back = row.gone_at is not None
    what = Change.RETURNED if back else about(after)
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
    return new, inventory.change(row.id, what, at, as_of, {name: before[name] for name in after}, after)


def _since(fact: ResourceFact, as_of: datetime) -> datetime:
    return min(fact.created_at, as_of) if fact.created_at else as_of


def _could_be_seen(row: Any, as_of: datetime) -> bool:
    """A listing made before an order brought the resource says nothing of it."""
    return bool(row.last_seen_at is not None or row.first_seen_at < as_of)
