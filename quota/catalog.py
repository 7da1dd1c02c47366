"""The service catalogue: what can be asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import CheckConstraint, String, select
from sqlalchemy.orm import Mapped, mapped_column

from quota.db import Base
from quota.errors import N_, Invalid, NotFound
from quota.units import Amounts, Arch, amounts

if TYPE_CHECKING:
    from quota.db import Tx


class CatalogItem(Base):
    """One thing that can be ordered. ``amounts`` (JSON: kind → base units) is what one piece takes of a pool."""

    __tablename__ = "catalog_items"
    __table_args__ = (CheckConstraint("delivery_days > 0", name="delivery_days"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(48), unique=True)
    name: Mapped[str] = mapped_column(String(96))
    name_en: Mapped[str] = mapped_column(String(96), default="")
    service: Mapped[str] = mapped_column(String(24), index=True)  # providers.base.ServiceKind
    amounts: Mapped[dict[str, Any]]
    archs: Mapped[list[str]]  # architectures that it is offered on; ["any"]: no matter
    unit: Mapped[str] = mapped_column(String(24), default="个·月")
    delivery_days: Mapped[int] = mapped_column(default=2)
    active: Mapped[bool] = mapped_column(default=True)

    def takes(self) -> Amounts:
        """What one piece takes, in base units."""
        return amounts(self.amounts)

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
    takes: Amounts,
    archs: list[Arch],
    *,
    name_en: str = "",
    unit: str = "个·月",
    delivery_days: int = 2,
) -> CatalogItem:
    """Put an item into the catalogue. Raises Invalid for one that takes nothing."""
    if not takes:
        raise Invalid("catalog.empty", N_("条目 %(code)s 没有写明占用的资源"), code=code, field="amounts")
    entry = CatalogItem(
        code=code,
        name=name,
        name_en=name_en,
        service=service,
        amounts={kind.value: figure for kind, figure in takes.items()},
        archs=[arch.value for arch in archs],
        unit=unit,
        delivery_days=delivery_days,
        active=True,
    )
    tx.add(entry)
    tx.flush()
    tx.audit("catalog.offer", f"catalog_item:{entry.id}", after={"code": code, "amounts": entry.amounts})
    return entry


def shapes(tx: Tx, service: str, arch: Arch) -> list[CatalogItem]:
    """Active items of ``service`` that are offered on ``arch``, smallest first."""
    found = tx.scalars(select(CatalogItem).where(CatalogItem.service == service, CatalogItem.active)).all()
    return sorted((one for one in found if one.offered_on(arch)), key=lambda one: tuple(sorted(one.amounts.items())))
