"""Who operates the cloud, and what it can hold: companies, their pools, and each pool's capacity."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import CheckConstraint, ForeignKey, Numeric, String, UniqueConstraint, false, select, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.actors import Role
from quota.base import Base, Count
from quota.errors import N_, Conflict, Invalid, NotFound, stated
from quota.units import CLASSES, Arch, ClassCode, Commodity

if TYPE_CHECKING:
    from quota.db import Tx


MOST = 10**13
"""Base units that no pool has of a kind."""

MOST_RATIO = 100


class CloudProvider(Base):
    """云服务商: a company that operates pools."""

    __tablename__ = "cloud_providers"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(32), unique=True)
    name: Mapped[str] = mapped_column(String(128))
    credit_code: Mapped[str | None] = mapped_column(
        String(18), unique=True, index=True
    )  # 统一社会信用代码; None: not stated
    contract_number: Mapped[str] = mapped_column(String(64), default="", server_default="")
    contract_from: Mapped[date | None]
    contract_until: Mapped[date | None]  # the last day
    contacts: Mapped[list[Any]] = mapped_column(default=list, server_default=text("'[]'"))  # companies.Contact each
    ended_on: Mapped[date | None]  # since when it is not active
    active: Mapped[bool] = mapped_column(default=True)

    pools: Mapped[list[Pool]] = relationship(back_populates="provider")


class Pool(Base):
    """资源池: one architecture in one network zone, operated by one company, reached through one adapter."""

    __tablename__ = "pools"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(32), unique=True)
    name: Mapped[str] = mapped_column(String(128))
    provider_id: Mapped[int] = mapped_column(ForeignKey("cloud_providers.id"), index=True)
    arch: Mapped[str] = mapped_column(String(16))
    zone: Mapped[str] = mapped_column(String(64))
    xinchuang: Mapped[bool] = mapped_column(default=False)
    adapter: Mapped[str] = mapped_column(String(32))
    adapter_options: Mapped[dict[str, Any]] = mapped_column(default=dict)
    dry_run: Mapped[bool] = mapped_column(default=False, server_default=false())  # orders are planned and not sent
    active: Mapped[bool] = mapped_column(default=True)
    live_resize: Mapped[bool | None]  # whether running machines change their size; None: not told yet

    provider: Mapped[CloudProvider] = relationship(back_populates="pools")
    capacities: Mapped[list[PoolCapacity]] = relationship(back_populates="pool")

    @property
    def classes(self) -> list[Commodity]:
        """The resource classes that it has capacity of, in the order of kinds."""
        kinds = sorted((ClassCode(one.kind) for one in self.capacities), key=CLASSES.place)
        return [Commodity.of(kind, Arch(self.arch)) for kind in kinds]


class PoolCapacity(Base):
    """What a pool has of one kind. What may be given out is ⌊(total − reserved) × overcommit ratio⌋."""

    __tablename__ = "pool_capacities"
    __table_args__ = (
        UniqueConstraint("pool_id", "kind"),
        CheckConstraint("total >= 0 AND reserved >= 0 AND reserved <= total AND ratio > 0", name="sane"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    total: Mapped[int] = mapped_column(Count)
    reserved: Mapped[int] = mapped_column(Count, default=0)
    ratio: Mapped[Decimal] = mapped_column(Numeric(6, 3), default=Decimal(1))

    pool: Mapped[Pool] = relationship(back_populates="capacities")

    @property
    def usable(self) -> int:
        """Base units that may be given out."""
        return usable(self.total, self.reserved, self.ratio)


def usable(total: int, reserved: int, ratio: Decimal) -> int:
    """⌊(total − reserved) × ratio⌋ in base units (the formula of OpenStack Placement)."""
    return int((total - reserved) * ratio)


def check_capacity(kind: ClassCode, total: int, reserved: int, ratio: Decimal) -> None:
    """Raise Invalid for figures that make no sense: a ratio is kept to three places, and what is given out with them."""
    sound = ratio.is_finite() and 0 < ratio <= MOST_RATIO and ratio == ratio.quantize(Decimal("0.001"))
    if not sound:
        raise Invalid(
            "capacity.ratio", N_("超分比须大于零、不超过 %(most)s,最多三位小数"), most=MOST_RATIO, field="ratio"
        )
    if not 0 <= reserved <= total <= MOST:
        raise Invalid(
            "capacity.bad", N_("%(kind)s的总量、预留或超分比不合理"), kind=CLASSES[kind].label, field="reserved"
        )


def pool(tx: Tx, pool_id: int) -> Pool:
    """The pool, or NotFound."""
    found = tx.get(Pool, pool_id)
    if found is None:
        raise NotFound("pool.none", N_("没有编号为 %(id)s 的资源池"), id=pool_id)
    return found


def provider(tx: Tx, provider_id: int) -> CloudProvider:
    """The company, or NotFound."""
    found = tx.get(CloudProvider, provider_id)
    if found is None:
        raise NotFound("provider.none", N_("没有编号为 %(id)s 的云服务商"), id=provider_id)
    return found


def register(
    tx: Tx,
    code: str,
    name: str,
    provider_id: int,
    arch: Arch,
    zone: str,
    *,
    adapter: str,
    options: dict[str, Any],
    xinchuang: bool = False,
) -> Pool:
    """Enter a pool; it has no capacity yet. The caller has opened the adapter with these options. Raises Invalid for
    empty fields, Conflict for a code that is taken."""
    code, name, zone = code.strip(), name.strip(), zone.strip()
    for field, value in (("code", code), ("name", name), ("zone", zone)):
        if not value:
            raise Invalid("pool.empty", N_("资源池的编码、名称和网络区都不能为空"), field=field)
    if tx.scalar(select(Pool.id).where(Pool.code == code)):
        raise Conflict("pool.taken", N_("资源池编码 %(code)s 已被使用"), code=code, field="code")
    company = provider(tx, provider_id)
    if not company.active:
        raise Invalid("provider.closed", N_("%(name)s已停用"), name=company.name, field="provider")
    if arch is Arch.ANY:
        raise Invalid("pool.arch", N_("资源池须有一种架构"), field="arch")
    one = Pool(
        code=code,
        name=name,
        provider_id=company.id,
        arch=arch.value,
        zone=zone,
        xinchuang=xinchuang,
        adapter=adapter,
        adapter_options=options,
        active=True,
    )
    tx.add(one)
    tx.flush()
    tx.audit(
        "pool.register",
        f"pool:{one.id}",
        after={
            "code": code,
            "provider": provider_id,
            "arch": arch,
            "zone": zone,
            "adapter": adapter,
            "options": options,
        },
    )
    return one


def connect(tx: Tx, pool: Pool, options: dict[str, Any], *, before: dict[str, Any] | None = None) -> Pool:
    """Change how a pool's cloud is reached; which adapter it is stays. ``options`` hold references to secrets, never
    secrets: the trail keeps them as they were and as they are. ``before``: what the page showed; Conflict where they
    are others by now."""
    tx.actor.must_be(Role.AUTHORITY, Role.SYSTEM)
    tx.refresh(pool, with_for_update=True)
    if before is not None and before != pool.adapter_options:
        raise Conflict("pool.stale", N_("连接参数已被他人修改,请重新打开页面"))
    if options != pool.adapter_options:
        tx.audit(
            "pool.connect", f"pool:{pool.id}", before={"options": pool.adapter_options}, after={"options": options}
        )
        pool.adapter_options = options
        tx.flush()
    return pool


def tell(tx: Tx, pool: Pool, *, live_resize: bool) -> None:
    """Keep what a pool's adapter says of it: whether it changes the size of running machines."""
    tx.actor.must_be(Role.SYSTEM)
    if pool.live_resize == live_resize:
        return
    tx.refresh(pool, with_for_update=True)
    before, pool.live_resize = pool.live_resize, live_resize
    tx.audit("pool.tell", f"pool:{pool.id}", before={"live_resize": before}, after={"live_resize": live_resize})
    tx.flush()


def try_out(tx: Tx, pool: Pool, *, dry_run: bool, reason: str) -> Pool:
    """From now on orders of the pool are planned and shown, and none is sent (``dry_run``); or they are carried out again,
    also those that waited meanwhile."""
    tx.actor.must_be(Role.AUTHORITY, Role.SUPERVISOR, Role.SYSTEM)
    tx.refresh(pool, with_for_update=True)
    reason = stated(reason)
    if pool.dry_run != dry_run:
        pool.dry_run = dry_run
        tx.audit("pool.dry_run", f"pool:{pool.id}", after={"dry_run": dry_run}, reason=reason)
        tx.flush()
    return pool
