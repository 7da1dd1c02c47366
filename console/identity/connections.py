"""How sources are reached: registered and changed by the security administrator, opened where somebody comes by one."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import select

from console.identity.kinds import kind
from console.identity.sources import Source, SourceFault
from console.identity.tables import IdentitySource
from console.settings import Settings
from metering.workbench import revealed
from providers import options
from quota.actors import Role
from quota.db import Book, Tx
from quota.errors import N_, Conflict, Invalid, NotFound, Refused, stated

_CODE = re.compile(r"[a-z][a-z0-9-]{1,31}")


def sources(tx: Tx, *, active: bool = False) -> Sequence[IdentitySource]:
    """All sources, or those that are in use, by name."""
    query = select(IdentitySource).order_by(IdentitySource.name, IdentitySource.id)
    return tx.scalars(query.where(IdentitySource.active) if active else query).all()


def source(tx: Tx, code: str) -> IdentitySource:
    """Raises NotFound."""
    found = tx.scalar(select(IdentitySource).where(IdentitySource.code == code))
    if found is None:
        raise NotFound("identity.none", N_("没有编码为 %(code)s 的身份源"), code=code)
    return found


def register(tx: Tx, code: str, kind_code: str, name: str, given: Mapping[str, Any]) -> IdentitySource:
    """Enter a source; nobody comes by it before rules are enacted. Raises Invalid, Conflict."""
    tx.actor.must_be(Role.SECADMIN, Role.SYSTEM)
    if not _CODE.fullmatch(code) or code == "new":
        raise Invalid("identity.code", N_("编码以小写字母开头,由小写字母、数字和 - 组成,2 至 32 个字符"), field="code")
    if tx.scalar(select(IdentitySource.id).where(IdentitySource.code == code)):
        raise Conflict("identity.taken_code", N_("编码 %(code)s 已被使用"), code=code, field="code")
    row = IdentitySource(
        code=code, kind=kind_code, name=_named(name), options=options.kept(kind(kind_code).options, given),
        changed_by=tx.actor.login, changed_at=tx.now, active=True, generation=1,
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    tx.audit("identity.register", f"identity_source:{row.id}", after=_told(row))
    return row


def change(
    tx: Tx, row: IdentitySource, name: str, given: Mapping[str, Any], *, active: bool, generation: int | None = None
) -> None:
    """Another connection, name or state; links and rules stay. ``generation`` is that which a page showed. Raises Invalid,
    Conflict. Whoever points a source elsewhere should know: links are of an issuer, so another one starts without any."""
    tx.actor.must_be(Role.SECADMIN, Role.SYSTEM)
    tx.lock_as_shown(row, generation, Conflict("identity.stale", N_("身份源已被他人修改,请重新打开页面")))
    before = _told(row)
    row.name, row.options, row.active = _named(name), options.kept(kind(row.kind).options, given), active
    if _told(row) == before:
        return
    row.generation += 1
    row.changed_by, row.changed_at = tx.actor.login, tx.now
    tx.audit("identity.change", f"identity_source:{row.id}", before=before, after=_told(row))


def _named(name: str) -> str:
    return stated(name, "name", code="identity.name", message=N_("请填写名称"))[:64]


def _told(row: IdentitySource) -> dict[str, Any]:
    return {"code": row.code, "kind": row.kind, "name": row.name, "options": dict(row.options), "active": row.active}


_opened: WeakKeyDictionary[Book, dict[str, Source]] = WeakKeyDictionary()
_guard = threading.Lock()


def opened(book: Book, settings: Settings, row: IdentitySource) -> Source:
    """The source of ``row``, the same object for the same connection, so that what it read of the other side is kept. Speaks
    to nobody. Raises SourceFault where its options make no sense any more, or it is out of use."""
    if not row.active:
        raise SourceFault("off", row.code)
    key = json.dumps([row.id, row.kind, row.options], sort_keys=True)
    with _guard:
        held = _opened.setdefault(book, {})
        if key not in held:
            held[key] = made(book, settings, row.kind, row.options)
        return held[key]


def made(book: Book, settings: Settings, kind_code: str, given: Mapping[str, Any]) -> Source:
    """A source of its own with these options, for a trial. Raises SourceFault."""
    try:
        found = kind(kind_code)
        return found.open(options.read(found.options, given, _revealer(book, settings)))
    except Refused as refused:
        raise SourceFault("metadata", str(refused)) from None


def _revealer(book: Book, settings: Settings) -> Callable[[str], str]:
    return lambda reference: revealed(book, settings.secrets, settings.data, reference)
