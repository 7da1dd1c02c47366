"""Which systems a security or a cryptography service protects: named in the request by code or full name, a line each, and the
department's own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlalchemy import or_, select

from quota.db import among
from quota.directory import System, departments
from quota.errors import N_, Invalid
from quota.requests import facts
from quota.requests.declarations import RequestField, kind_of
from quota.requests.rules import RuleFact

if TYPE_CHECKING:
    from quota.db import Tx
    from quota.requests.tables import Request

PROTECTS = RequestField("protects", N_("保护的信息系统"), long=True, required=True)
_BREAK = re.compile(r"[\n\r;；、]+")


def systems(tx: Tx, request: Request) -> list[System]:
    """The systems that a request names. Raises Invalid for one that is not in use with the department or those below it, that several
    are called by, or that is named twice."""
    own = departments.subtree(tx, request.department_id)
    named = [one.strip() for one in _BREAK.split(str(request.fields.get(PROTECTS.name, ""))) if one.strip()]
    called = or_(System.code.in_(set(named)), System.name.in_(set(named)))
    candidates = tx.scalars(
        select(System).where(among(System.department_id, own), System.active, called).order_by(System.id)
    ).all()
    found: list[System] = []
    for text in named:
        these = [one for one in candidates if text in (one.code, one.name)]
        if len(these) != 1:
            wrong = N_("有几个信息系统叫“%(text)s”，请写编码") if these else N_("本单位没有在用的信息系统“%(text)s”")
            raise Invalid("protects.system", wrong, text=text[:60], field=PROTECTS.name)
        if these[0] in found:
            raise Invalid("protects.twice", N_("信息系统“%(text)s”写了两次"), text=text[:60], field=PROTECTS.name)
        found.append(these[0])
    return found


def check(tx: Tx, request: Request) -> None:
    """Refuse systems that are not the department's own."""
    systems(tx, request)


def _level(tx: Tx, request: Request) -> int | None:
    """The highest 等保 level of what is protected: 0 where a kind protects nothing, None where it can't be read."""
    if PROTECTS not in kind_of(request).fields:
        return 0
    try:
        return max((one.mlps_level for one in systems(tx, request)), default=None)
    except Invalid:
        return None


facts.register("protected_level", RuleFact(int, N_("所保护系统的最高等保级别"), 0), _level)
