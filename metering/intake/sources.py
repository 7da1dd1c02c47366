"""Push sources: agents that send what they measure, each let in by a token of its own for one pool.

The token is shown once; the book keeps its digest. A source says in which label the resource stands; which resource
that is, the inventory of its pool says, by external id, name or address.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, String, false, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.actors import Role
from quota.base import Base, Count
from quota.directory import Pool
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, stated
from quota.inventory import Resource

if TYPE_CHECKING:
    from quota.db import Tx

LABEL = "instance"
"""Where Prometheus puts the machine: ``host:port``."""

PREFIX = "gjp_"
_CODE = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,63}")


class PushSource(Base):
    """采集推送源. ``points``, ``ignored`` and ``refused`` count since it was registered."""

    __tablename__ = "push_sources"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(32), unique=True)
    name: Mapped[str] = mapped_column(String(64))
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    label: Mapped[str] = mapped_column(String(64), default=LABEL)
    token_digest: Mapped[str] = mapped_column(String(64), unique=True)
    active: Mapped[bool] = mapped_column(default=True)
    systems: Mapped[bool] = mapped_column(default=False, server_default=false())  # may tell who comes to any system
    created_by: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    last_point_at: Mapped[datetime | None]  # the newest point that was folded into the lake
    points: Mapped[int] = mapped_column(Count, default=0)
    ignored: Mapped[int] = mapped_column(Count, default=0)  # series that the steward has no use for
    refused: Mapped[int] = mapped_column(Count, default=0)

    pool: Mapped[Pool] = relationship()

    @property
    def subject(self) -> str:
        return f"push_source:{self.id}"


def source(tx: Tx, source_id: int) -> PushSource:
    """The source, or NotFound."""
    found = tx.get(PushSource, source_id)
    if found is None:
        raise NotFound("push_source.none", N_("没有编号为 %(id)s 的推送源"), id=source_id)
    return found


def register(
    tx: Tx, code: str, name: str, pool_id: int, label: str = LABEL, *, systems: bool = False
) -> tuple[PushSource, str]:
    """A new source and its token, which is not kept; ``systems``: it may also tell of logins and visits of all systems of the city. Raises Invalid naming the field, Conflict for a code in use."""
    tx.actor.must_be(Role.SUPERVISOR, Role.SYSTEM)
    if not _CODE.fullmatch(code):
        raise Invalid("push_source.code", N_("代码由小写字母、数字和连字符组成,至多 32 个字符"), field="code")
    stated(name, "name", code="push_source.name", message=N_("请填写名称"))
    if not _LABEL.fullmatch(label):
        raise Invalid("push_source.label", N_("标签名由字母、数字、下划线和点组成"), field="label")
    if tx.get(Pool, pool_id) is None:
        raise Invalid("push_source.pool", N_("没有这个资源池"), field="pool")
    if tx.scalar(select(PushSource.id).where(PushSource.code == code)):
        raise Conflict("push_source.taken", N_("代码 %(code)s 已被使用"), code=code, field="code")
    token = PREFIX + secrets.token_urlsafe(32)
    row = PushSource(
        code=code,
        name=name.strip(),
        pool_id=pool_id,
        label=label,
        token_digest=digest(token),
        active=True,
        systems=systems,
        created_by=tx.actor.login,
        created_at=tx.now,
    )
    tx.add(row)
    tx.flush()
    tx.audit(
        "push_source.register",
        row.subject,
        after={"code": code, "pool_id": pool_id, "label": label, "systems": systems},
    )
    return row, token


def rotate(tx: Tx, row: PushSource) -> str:
    """A new token in place of the old one, which opens nothing any more."""
    tx.actor.must_be(Role.SUPERVISOR, Role.SYSTEM)
    token = PREFIX + secrets.token_urlsafe(32)
    row.token_digest = digest(token)
    tx.audit("push_source.rotate", row.subject, after={"code": row.code})
    return token


def activate(tx: Tx, row: PushSource, active: bool) -> None:
    """Let the source in, or no more. What it sent stays."""
    tx.actor.must_be(Role.SUPERVISOR, Role.SYSTEM)
    if row.active != active:
        tx.audit("push_source.activate", row.subject, before={"active": row.active}, after={"active": active})
        row.active = active


def admit(tx: Tx, token: str) -> PushSource:
    """The source that ``token`` belongs to. Raises NotAllowed: ``push.token`` for none, ``push.closed`` if shut."""
    found = tx.scalar(select(PushSource).where(PushSource.token_digest == digest(token))) if token else None
    if found is None:
        raise NotAllowed("push.token", N_("推送令牌无效"))
    if not found.active:
        raise NotAllowed("push.closed", N_("推送源 %(code)s 已停用"), code=found.code)
    return found


def digest(token: str) -> str:
    """What the book keeps of a token: it is random, so a plain digest can't be guessed from."""
    return hashlib.sha256(token.encode()).hexdigest()


def machines(tx: Tx, pool_id: int) -> dict[str, int]:
    """Whatever a machine of the pool may be called by → its dense id. What two share names neither."""
    shared: set[str] = set()
    query = select(Resource.id, Resource.external_id, Resource.name, Resource.address).where(
        Resource.pool_id == pool_id, Resource.gone_at.is_(None)
    )
    rows = tx.execute(query).all()
    found = {external_id: number for number, external_id, _name, _address in rows}
    known = set(found)
    for number, _external_id, *others in rows:
        for one in others:
            if one and one not in known and found.setdefault(one, number) != number:
                shared.add(one)
    for one in shared:
        del found[one]
    return found


def named(machines: Mapping[str, int], value: str) -> int | None:
    """The machine that a label's ``value`` names; a port behind it does not matter."""
    found = machines.get(value)
    if found is None and ":" in value:
        found = machines.get(value.rsplit(":", 1)[0].strip("[]"))
    return found
