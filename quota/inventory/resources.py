"""Resources (资源): what runs in the pools, whose it is, by what right it exists, and how it came to be as it is.

What changes a resource writes a row of its append-only history with it, so that what was known at any instant can be
told again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
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
    and_,
    false,
    func,
    or_,
    select,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota import search
from quota.actors import Actor, Role
from quota.base import Base, append_only
from quota.db import batches
from quota.directory import Department, Pool, System, subtree
from quota.errors import N_, Conflict, NotFound
from quota.inventory.cloud_projects import CloudProject
from quota.inventory.services import MADE_OF, ResourceState, ServiceKind
from quota.seals import plain
from quota.units import Amount, Arch, ClassCode

if TYPE_CHECKING:
    from quota.db import Tx


ADOPTED = "adopted"
"""``Resource.basis`` of what ran before the steward came, and was booked when a pool was connected."""
TAKEN_OVER = "takeover:"
"""How the basis of what was taken over begins: takeover:7."""
ENROLLED = "request:"
"""How the basis of what its department asked for as it ran begins: request:12."""


class Change(StrEnum):
    """What a row of the history is mainly about."""

    APPEARED = "appeared"
    SHAPE = "shape"
    STATE = "state"
    OWNER = "owner"
    DETAIL = "detail"
    GONE = "gone"
    RETURNED = "returned"


def as_it_ran(basis: str) -> bool:
    """Whether this basis approves a resource as it ran, not by an order."""
    return basis == ADOPTED or basis.startswith((TAKEN_OVER, ENROLLED))


class Resource(Base):
    """One thing in a pool. ``id`` is the dense integer under which the lake keeps its samples.

    ``amounts`` is what the cloud says it has, ``booked`` what the ledger counts as used for it (both JSON:
    kind → base units); ``department_code`` and ``system_code`` are the cloud's tags, ``department_id`` and
    ``system_id`` the book's owner; ``project_id``: the cloud's project in which it lies. ``basis`` says by what right it exists:
    ``order:12``, ``takeover:7``, ``request:12`` (补登), ``adopted``, or nothing: nobody approved it.
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
    cloud_state: Mapped[str] = mapped_column(String(64), default="", server_default="")  # in the cloud's own word
    project_id: Mapped[int | None] = mapped_column(ForeignKey("cloud_projects.id"), index=True)
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
    project: Mapped[CloudProject | None] = relationship()

    @property
    def called(self) -> str:
        """Its name, or its external id where it has none."""
        return self.name or self.external_id

    @property
    def is_approved(self) -> bool:
        """Whether it rests on anything, or is counted at least."""
        return bool(self.basis or self.booked)

    @property
    def fits_its_pool(self) -> bool:
        """Whether it is of no other architecture than its pool, by which the ledger counts."""
        return self.arch in (self.pool.arch, Arch.ANY.value)

    @property
    def ran_before(self) -> bool:
        """Whether it was approved as it ran, not by an order."""
        return as_it_ran(self.basis)

    @property
    def can_have(self) -> frozenset[ClassCode]:
        """The classes of which such a thing can have anything: a volume has no vCPU, whatever is asked for."""
        return MADE_OF.get(self.kind, frozenset()) | {ClassCode(code) for code in (*self.amounts, *self.booked)}

    def actual(self) -> Amount:
        """What the cloud says it has, in base units."""
        return Amount.from_json(self.amounts)

    def counts(self) -> Amount:
        """What the ledger counts as used for it, in base units."""
        return Amount.from_json(self.booked)


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


TOLD = (
    "name",
    "kind",
    "arch",
    "amounts",
    "state",
    "cloud_state",
    "department_code",
    "system_code",
    "address",
    "attached_to",
    "tags",
    "created_at",
    "stopped_at",
)
"""What a listing tells of a resource."""


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


search.register(
    search.Sought(
        "resource", 3, Resource,
        select(
            Resource.id, Resource.department_id, Resource.pool_id, Resource.name, Resource.external_id, Resource.address,
            Resource.state,
        ),
        lambda row: (
            row.name or row.external_id, " · ".join(filter(None, (row.external_id, row.address))), (row.external_id, row.address)
        ),
        visible,
    )
)  # fmt: skip


def there_at(at: datetime) -> ColumnElement[bool]:
    """What was there at the last instant before ``at``: made, or first seen, and not gone by then, whatever became of it."""
    begun = func.coalesce(Resource.created_at, Resource.first_seen_at) < at
    return and_(begun, or_(Resource.gone_at.is_(None), Resource.gone_at >= at))


def ids(tx: Tx, pool_id: int, external_ids: Iterable[str]) -> dict[str, int]:
    """External id → dense id, of those that the pool has."""
    wanted = set(external_ids)
    query = select(Resource.external_id, Resource.id).where(Resource.pool_id == pool_id)
    if len(wanted) <= 500:
        query = query.where(Resource.external_id.in_(wanted))
    return {external_id: resource_id for external_id, resource_id in tx.execute(query) if external_id in wanted}


def names(tx: Tx, resource_ids: Iterable[int]) -> list[str]:
    """What the resources are called, each by its name or else its external id, in the order of their ids."""
    query = select(Resource.name, Resource.external_id).order_by(Resource.id)
    parts = (tx.execute(query.where(Resource.id.in_(part))) for part in batches(sorted(resource_ids)))
    return [name or external_id for name, external_id in chain.from_iterable(parts)]


def history(tx: Tx, resource_id: int) -> list[ResourceChange]:
    """Everything seen of a resource, in the order in which it holds."""
    return list(
        tx.scalars(
            select(ResourceChange)
            .where(ResourceChange.resource_id == resource_id)
            .order_by(ResourceChange.at, ResourceChange.id)
        )
    )


def arrive(
    tx: Tx,
    pool: Pool,
    external_id: str,
    *,
    at: datetime,
    source: str,
    kind: ServiceKind,
    approved: Amount,
    has: Amount,
    department_id: int | None,
    system_id: int | None,
    name: str,
    catalog_item_id: int | None = None,
) -> Resource:
    """An order brought ``external_id`` into being: enter it, or give its basis to what a listing already
    showed.

    Raises Conflict where that resource already has another basis.
    """
    resource = tx.scalar(
        select(Resource).where(Resource.pool_id == pool.id, Resource.external_id == external_id).with_for_update()
    )
    spelled = {kind_: figure for kind_, figure in has.items() if figure}
    if resource is None:
        resource = Resource(
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
        tx.add(resource)
        tx.flush()
        tx.add(
            ResourceChange(
                resource_id=resource.id,
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
                    "state": resource.state,
                },
            )
        )
    elif resource.basis not in ("", source):
        raise Conflict(
            "resource.taken",
            N_("资源 %(id)s 已由%(basis)s登记"),
            id=external_id,
            basis=resource.basis,
            field="external_id",
        )
    resource.basis, resource.catalog_item_id = source, catalog_item_id
    resource.department_id, resource.system_id = department_id, system_id
    resource.booked = {kind_: figure for kind_, figure in approved.items() if figure}
    tx.flush()
    return resource


def enact(tx: Tx, resource: Resource, *, at: datetime, source: str, **told: Any) -> None:
    """An order changed ``resource``: write ``told`` (fields of TOLD) with its history. What is the same is left
    out."""
    spelled = {name: plain(value) if name in ("amounts", "state") else value for name, value in told.items()}
    before = {name: getattr(resource, name) for name in spelled}
    after = {name: value for name, value in spelled.items() if value != before[name]}
    if not after:
        return
    tx.add(
        ResourceChange(
            resource_id=resource.id,
            what=about(after).value,
            at=at,
            seen_at=at,
            source=source,
            before=plain({name: before[name] for name in after}),
            after=plain(after),
        )
    )
    for name, value in after.items():
        setattr(resource, name, value)
    tx.flush()


def reassign(tx: Tx, resource_ids: Collection[int], department_id: int, *, source: str) -> None:
    """Give resources to another department, each with a row of its history. The ledger is the caller's business."""
    target = tx.get_one(Department, department_id)
    some = (
        tx.scalars(select(Resource).where(Resource.id.in_(part)).order_by(Resource.id))
        for part in batches(sorted(resource_ids))
    )
    for resource in chain.from_iterable(some):
        if resource.department_id == department_id:
            continue
        tx.add(
            ResourceChange(
                resource_id=resource.id,
                what=Change.OWNER.value,
                at=tx.now,
                seen_at=tx.now,
                source=source,
                before={"owner": resource.department.name if resource.department else None},
                after={"owner": target.name},
            )
        )
        resource.department_id = department_id
    tx.flush()


def about(after: Mapping[str, Any]) -> Change:
    for what, names in (
        (Change.SHAPE, ("amounts", "kind", "arch")),
        (Change.STATE, ("state",)),
        (Change.OWNER, ("department_code", "system_code")),
    ):
        if any(name in after for name in names):
            return what
    return Change.DETAIL
