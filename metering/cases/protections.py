"""Protected resources: by hand, or by a tag that the cloud carries. Nothing is taken from them, whatever is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import String, select
from sqlalchemy.orm import Mapped, mapped_column

from quota.actors import Role
from quota.base import Base
from quota.errors import N_, Conflict, Invalid, NotFound, WrongState, stated
from quota.inventory import Resource

if TYPE_CHECKING:
    from quota.db import Tx


class ProtectedTag(Base):
    """Every resource with the tag ``name`` is protected; with a ``value``, only where the tag says so."""

    __tablename__ = "protected_tags"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    value: Mapped[str] = mapped_column(String(128), default="")
    reason: Mapped[str] = mapped_column(String(256))
    set_by: Mapped[str] = mapped_column(String(64))
    set_at: Mapped[datetime]
    lifted_at: Mapped[datetime | None]

    def shown(self) -> str:
        return f"{self.name}={self.value}" if self.value else self.name


def tags(tx: Tx) -> list[ProtectedTag]:
    """The tags that protect now."""
    return list(tx.scalars(select(ProtectedTag).where(ProtectedTag.lifted_at.is_(None)).order_by(ProtectedTag.id)))


def by_tag(rules: Sequence[ProtectedTag], worn: Mapping[str, str]) -> ProtectedTag | None:
    """The rule that protects who wears these tags; names and values without regard to case. Pure."""
    low = {name.casefold(): str(value).casefold() for name, value in (worn or {}).items()}
    for one in rules:
        if one.name.casefold() in low and (not one.value or low[one.name.casefold()] == one.value.casefold()):
            return one
    return None


def protected(tx: Tx, resource: Resource) -> bool:
    """Whether nothing may be taken from ``resource``."""
    return resource.protected or by_tag(tags(tx), resource.tags) is not None


def add(tx: Tx, name: str, value: str, reason: str) -> ProtectedTag:
    """Protect whatever wears a tag from now on. Conflict where the same rule holds already."""
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    name, value, reason = name.strip(), value.strip(), reason.strip()
    if not 0 < len(name) <= 64 or len(value) > 128:
        raise Invalid("tag.name", N_("请填写标签名"), field="name")
    if not reason:
        raise Invalid("tag.reason", N_("请写明保护的理由"), field="reason")
    if any((one.name.casefold(), one.value.casefold()) == (name.casefold(), value.casefold()) for one in tags(tx)):
        raise Conflict("tag.twice", N_("这个标签已在保护之列"), field="name")
    row = ProtectedTag(name=name, value=value, reason=reason[:256], set_by=tx.actor.login, set_at=tx.now)
    tx.add(row)
    tx.flush()
    tx.audit("tag.protect", f"protected_tag:{row.id}", after={"name": name, "value": value}, reason=row.reason)
    return row


def lift(tx: Tx, row: ProtectedTag) -> None:
    """The tag protects no longer. WrongState where it did not."""
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    tx.lock(row)
    if row.lifted_at is not None:
        raise WrongState("tag.lifted", N_("已经取消"))
    row.lifted_at = tx.now
    tx.audit("tag.lift", f"protected_tag:{row.id}", before={"name": row.name, "value": row.value})


def tag(tx: Tx, tag_id: int) -> ProtectedTag:
    """The rule, or NotFound."""
    found = tx.get(ProtectedTag, tag_id)
    if found is None:
        raise NotFound("tag.none", N_("没有编号为 %(id)s 的保护标签"), id=tag_id)
    return found


def protect(tx: Tx, resource: Resource, on: bool, reason: str) -> None:
    """Protect one resource by hand, or protect it no longer. Raises Invalid without a reason."""
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    stated(reason, code="protect.reason", message=N_("请写明理由"))
    tx.lock(resource)
    before, resource.protected = resource.protected, on
    tx.audit(
        "resource.protect",
        f"resource:{resource.id}",
        before={"protected": before},
        after={"protected": on},
        reason=reason.strip(),
    )
