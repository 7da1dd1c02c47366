"""The service catalogue: what can be asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import CheckConstraint, String, select, text
from sqlalchemy.orm import Mapped, mapped_column

from quota.actors import Role
from quota.base import Base
from quota.errors import N_, Invalid, NotFound, WrongState, stated
from quota.units import BANDWIDTH, BLOCK, CLASSES, OBJECT, Amount, Arch, ClassCode

if TYPE_CHECKING:
    from quota.db import Tx

CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,47}")
LONGEST_DELIVERY = 250
"""Working days."""

AMOUNTS = (BLOCK, OBJECT, BANDWIDTH)
"""Kinds of which one unit is no thing."""


class CatalogItem(Base):
    """One thing that can be ordered. ``amounts`` (JSON: kind → base units) is what one piece takes of a pool. ``fits``: codes of the
    items that it is a part of, with one of which alone it can be asked for; none: it stands by itself."""

    __tablename__ = "catalog_items"
    __table_args__ = (CheckConstraint("delivery_days > 0", name="delivery_days"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(48), unique=True)
    name: Mapped[str] = mapped_column(String(96))
    name_en: Mapped[str] = mapped_column(String(96), default="")
    service: Mapped[str] = mapped_column(String(24), index=True)  # quota.inventory.ServiceKind
    amounts: Mapped[dict[str, Any]]
    archs: Mapped[list[str]]  # architectures that it is offered on; ["any"]: no matter
    unit: Mapped[str] = mapped_column(String(24), default="个·月")
    delivery_days: Mapped[int] = mapped_column(default=2)
    active: Mapped[bool] = mapped_column(default=True)
    fits: Mapped[list[str]] = mapped_column(default=list, server_default=text("'[]'"))

    @property
    def subject(self) -> str:
        return f"catalog_item:{self.id}"

    def takes(self) -> Amount:
        """What one piece takes, in base units."""
        return Amount.from_json(self.amounts)

    @property
    def by_amount(self) -> bool:
        """Whether pieces of it are an amount and no things of their own: one GB of a volume, one Mbps of a line."""
        return [(kind in AMOUNTS, figure) for kind, figure in self.takes().items()] == [(True, 1)]

    def offered_on(self, arch: Arch) -> bool:
        return "any" in self.archs or arch.value in self.archs


def item(tx: Tx, item_id: int) -> CatalogItem:
    """The catalogue item, or NotFound. A retired item (active=False) is still found: old requests name it."""
    found = tx.get(CatalogItem, item_id)
    if found is None:
        raise NotFound("catalog.none", N_("服务目录中没有编号为 %(id)s 的条目"), id=item_id)
    return found


def offer(
    tx: Tx,
    code: str,
    name: str,
    service: str,
    takes: Mapping[ClassCode, int],
    archs: list[Arch],
    *,
    name_en: str = "",
    unit: str = "个·月",
    delivery_days: int = 2,
    fits: Sequence[str] = (),
) -> CatalogItem:
    """Put an item into the catalogue. What it takes, and what it is a part of, is fixed: requests name it; another shape is another item.

    The right of the authority and the supervisor. Raises Invalid naming the field.
    """
    tx.actor.must_be(Role.AUTHORITY, Role.SUPERVISOR, Role.SYSTEM)
    if not CODE.fullmatch(code):
        raise Invalid("catalog.code", N_("代码由字母、数字和 . - _ 组成,最多 48 个字符"), field="code")
    if tx.scalar(select(CatalogItem.id).where(CatalogItem.code == code)) is not None:
        raise Invalid("catalog.twice", N_("服务目录中已有代码 %(code)s"), code=code, field="code")
    if not archs:
        raise Invalid("catalog.archs", N_("请选择至少一种架构"), field="archs")
    if isinstance(delivery_days, bool) or not 1 <= delivery_days <= LONGEST_DELIVERY:
        raise Invalid(
            "catalog.delivery_days",
            N_("交付时限须为 1 至 %(most)s 个工作日"),
            most=LONGEST_DELIVERY,
            field="delivery_days",
        )
    if not takes:
        raise Invalid("catalog.empty", N_("条目 %(code)s 没有写明占用的资源"), code=code, field="amounts")
    for kind in takes:
        CLASSES.offered(kind)
    fits = _whole_items(tx, fits)
    entry = CatalogItem(
        code=code,
        name=name,
        name_en=name_en,
        service=service,
        amounts=Amount(takes).to_json(),
        archs=[arch.value for arch in archs],
        unit=unit,
        delivery_days=delivery_days,
        active=True,
        fits=fits,
    )
    tx.add(entry)
    tx.flush()
    tx.audit(
        "catalog.offer",
        entry.subject,
        after={
            "code": code,
            "name": name,
            "service": service,
            "amounts": entry.amounts,
            "archs": entry.archs,
            "unit": unit,
            "delivery_days": delivery_days,
            **({"fits": fits} if fits else {}),
        },
    )
    return entry


def _whole_items(tx: Tx, codes: Sequence[str]) -> list[str]:
    """Codes of items that parts may be added to, each once. Raises Invalid for one that nobody offers, or that is a part itself."""
    found = list(dict.fromkeys(codes))
    for code in found:
        entry = tx.scalar(select(CatalogItem).where(CatalogItem.code == code))
        if entry is None:
            raise Invalid("catalog.fits", N_("服务目录中没有代码为 %(code)s 的条目"), code=code, field="fits")
        if entry.fits:
            raise Invalid("catalog.fits_part", N_("条目 %(code)s 本身是加配件，不能再加配"), code=code, field="fits")
    return found


def withdraw(tx: Tx, entry: CatalogItem, reason: str) -> None:
    """Take an item out of the catalogue: nothing new can be asked for with it, what was handed in goes on.

    The right of the authority and the supervisor. Raises Invalid without a reason, WrongState where it is out already.
    """
    tx.actor.must_be(Role.AUTHORITY, Role.SUPERVISOR, Role.SYSTEM)
    stated(reason)
    _turn(tx, entry, False, "catalog.withdraw", reason.strip())


def restore(tx: Tx, entry: CatalogItem) -> None:
    """Offer a withdrawn item again. Raises WrongState where it is offered."""
    tx.actor.must_be(Role.AUTHORITY, Role.SUPERVISOR, Role.SYSTEM)
    _turn(tx, entry, True, "catalog.restore", "")


def _turn(tx: Tx, entry: CatalogItem, active: bool, action: str, reason: str) -> None:
    locked = select(CatalogItem).where(CatalogItem.id == entry.id).with_for_update()
    entry = tx.scalars(locked.execution_options(populate_existing=True)).one()
    if entry.active is active:
        raise WrongState(
            "catalog.state",
            N_("“%(name)s”已在服务目录中") if active else N_("“%(name)s”已经下架"),
            name=entry.name,
        )
    entry.active = active
    tx.audit(action, entry.subject, before={"active": not active}, after={"active": active}, reason=reason)


def offered(tx: Tx) -> list[CatalogItem]:
    """Whatever is on offer."""
    return list(tx.scalars(select(CatalogItem).where(CatalogItem.active).order_by(CatalogItem.id)))


def shapes(tx: Tx, service: str, arch: Arch) -> list[CatalogItem]:
    """Active items of ``service`` that are offered on ``arch``, smallest first."""
    found = tx.scalars(select(CatalogItem).where(CatalogItem.service == service, CatalogItem.active)).all()
    return sorted((one for one in found if one.offered_on(arch)), key=lambda one: tuple(sorted(one.amounts.items())))
