"""Whom or what a report is about, and which rows it may rest on: all, a department's own, a company's own, a system's own."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, false, or_, select, true

from quota.actors import Role
from quota.directory import CloudProvider, Department, Pool, System, subtree
from quota.errors import N_, Invalid, NotFound

if TYPE_CHECKING:
    from quota.actors import Actor
    from quota.db import Tx


class ScopeKind(StrEnum):
    CITY = "city"
    DEPARTMENT = "department"
    PROVIDER = "provider"
    SYSTEM = "system"


SCOPE_LABELS = {
    ScopeKind.CITY: N_("全市"),
    ScopeKind.DEPARTMENT: N_("使用单位"),
    ScopeKind.PROVIDER: N_("云服务商"),
    ScopeKind.SYSTEM: N_("信息系统"),
}

MODELS: dict[ScopeKind, type[Any]] = {
    ScopeKind.DEPARTMENT: Department,
    ScopeKind.PROVIDER: CloudProvider,
    ScopeKind.SYSTEM: System,
}


@dataclass(frozen=True, slots=True)
class ReportScope:
    """``id`` is of a department (with those under it: a district is one), a company or a system; 0 for the city.

    ``departments``, ``pools``: the ids whose rows count; None where all do.
    """

    kind: ScopeKind
    id: int = 0
    code: str = ""
    departments: frozenset[int] | None = None
    pools: frozenset[int] | None = None

    def rows(
        self, *, department: Any = None, pool: Any = None, system: Any = None, provider: Any = None
    ) -> ColumnElement[bool]:
        """The condition on a table's columns; what has no column to say so by is nobody's but the city's."""
        own: ColumnElement[bool] = false()
        match self.kind:
            case ScopeKind.CITY:
                own = true()
            case ScopeKind.DEPARTMENT if department is not None:
                own = department.in_(sorted(self.departments or ()))
            case ScopeKind.PROVIDER if provider is not None:
                own = provider == self.id
            case ScopeKind.PROVIDER if pool is not None:
                own = pool.in_(sorted(self.pools or ()))
            case ScopeKind.SYSTEM if system is not None:
                own = system == self.id
        return own

    def takes(self, *, department: int | None, pool: int, system: int | None) -> bool:
        """Whether a resource of these counts."""
        match self.kind:
            case ScopeKind.CITY:
                return True
            case ScopeKind.DEPARTMENT:
                return department is not None and department in (self.departments or ())
            case ScopeKind.PROVIDER:
                return pool in (self.pools or ())
            case ScopeKind.SYSTEM:
                return system == self.id

    @property
    def text(self) -> str:
        """As the command line names it: city, department:jtj."""
        return self.kind.value if self.kind is ScopeKind.CITY else f"{self.kind.value}:{self.code}"


def scope(tx: Tx, text: str) -> ReportScope:
    """``city``, ``department:CODE``, ``provider:CODE`` or ``system:CODE``. Raises Invalid or NotFound."""
    kind, _colon, code = text.strip().partition(":")
    try:
        named = ScopeKind(kind)
    except ValueError:
        named = None
    if named is None or (named is ScopeKind.CITY) == bool(code):
        raise Invalid(
            "report.scope",
            N_("无法识别报告对象“%(text)s”；请写作 city、department:<编码>、provider:<编码> 或 system:<编码>"),
            text=text[:64],
            field="scope",
        )
    if named is ScopeKind.CITY:
        return ReportScope(named)
    model = MODELS[named]
    found = tx.scalar(select(model).where(model.code == code))
    if found is None:
        raise NotFound("report.whose", N_("没有编码为“%(code)s”的%(what)s"), code=code[:64], what=SCOPE_LABELS[named])
    return of(tx, named, found.id)


def of(tx: Tx, kind: ScopeKind, scope_id: int) -> ReportScope:
    """The scope of an id. Raises NotFound."""
    if kind is ScopeKind.CITY:
        return ReportScope(kind)
    found = tx.get(MODELS[kind], scope_id)
    if found is None:
        raise NotFound("report.whose", N_("没有编码为“%(code)s”的%(what)s"), code=scope_id, what=SCOPE_LABELS[kind])
    departments = frozenset(subtree(tx, scope_id)) if kind is ScopeKind.DEPARTMENT else None
    pools = (
        frozenset(tx.scalars(select(Pool.id).where(Pool.provider_id == scope_id)))
        if kind is ScopeKind.PROVIDER
        else None
    )
    return ReportScope(kind, scope_id, found.code, departments, pools)


def visible(tx: Tx, actor: Actor, kind: Any, scope_id: Any) -> ColumnElement[bool]:
    """Editions that ``actor`` may read, by their columns of kind and id: a department those of itself, of what is under it
    and of its systems; a company its own; the steward, the authority and the auditor all; the administrators none."""
    if actor.role in (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR, Role.SYSTEM):
        return true()
    if actor.role is Role.PROVIDER and actor.provider_id is not None:
        return and_(kind == ScopeKind.PROVIDER.value, scope_id == actor.provider_id)
    if actor.role is Role.TENANT and actor.department_id is not None:
        own = sorted(subtree(tx, actor.department_id))
        systems = select(System.id).where(System.department_id.in_(own))
        return or_(
            and_(kind == ScopeKind.DEPARTMENT.value, scope_id.in_(own)),
            and_(kind == ScopeKind.SYSTEM.value, scope_id.in_(systems)),
        )
    return false()
