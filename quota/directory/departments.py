"""Departments as a tree, and their information systems."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import (
    CTE,
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    String,
    and_,
    false,
    literal,
    null,
    or_,
    select,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column, query_expression, relationship

from quota import search
from quota.actors import Actor, Role
from quota.base import Base
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, WrongState
from quota.units import Arch

if TYPE_CHECKING:
    from quota.db import Tx


class DataLevel(StrEnum):
    """How far the data of a system must be protected, as the data protection law ranks them."""

    GENERAL = "general"
    IMPORTANT = "important"
    CORE = "core"


DATA_LEVELS: Mapping[str, str] = {
    DataLevel.GENERAL: N_("一般数据"),
    DataLevel.IMPORTANT: N_("重要数据"),
    DataLevel.CORE: N_("核心数据"),
}


class Department(Base):
    """使用单位. ``parent_id`` makes the tree: a group (市直部门, a district) above its bureaus."""

    __tablename__ = "departments"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(32), unique=True)
    name: Mapped[str] = mapped_column(String(128))
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("departments.id"), index=True)
    active: Mapped[bool] = mapped_column(default=True)

    parent: Mapped[Department | None] = relationship(remote_side=[id])
    systems: Mapped[list[System]] = relationship(back_populates="department")


class System(Base):
    """信息系统: what the machines are for. The system ledger (系统台账) of DOMAIN.md."""

    __tablename__ = "systems"
    __table_args__ = (CheckConstraint("mlps_level BETWEEN 1 AND 5", name="mlps_level"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(32), unique=True)
    name: Mapped[str] = mapped_column(String(128))
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), index=True)
    mlps_level: Mapped[int] = mapped_column(default=2)
    owner: Mapped[str] = mapped_column(String(64), default="")
    phone: Mapped[str] = mapped_column(String(32), default="")
    online_on: Mapped[date | None]
    offline_on: Mapped[date | None]
    registered_users: Mapped[int | None]
    monthly_active_users: Mapped[int | None]
    last_business_login_on: Mapped[date | None]
    approval_number: Mapped[str] = mapped_column(String(128), default="", server_default="")  # 立项批复文号
    funding: Mapped[str] = mapped_column(String(64), default="", server_default="")
    users: Mapped[str] = mapped_column(String(64), default="", server_default="")  # 使用对象
    zone: Mapped[str] = mapped_column(String(64), default="", server_default="")  # 网络区
    arch: Mapped[str] = mapped_column(String(16), default="", server_default="")  # empty: not stated
    mlps_record: Mapped[str] = mapped_column(String(64), default="", server_default="")  # 等保备案号
    mlps_assessed_on: Mapped[date | None]
    crypto_level: Mapped[int | None]
    crypto_assessed_on: Mapped[date | None]
    backup: Mapped[str] = mapped_column(String(128), default="", server_default="")
    rto_minutes: Mapped[int | None]
    rpo_minutes: Mapped[int | None]
    vendor: Mapped[str] = mapped_column(String(128), default="", server_default="")
    data_level: Mapped[str] = mapped_column(String(12), default="", server_default="")  # DataLevel; empty: not stated
    xinchuang_by: Mapped[date | None]  # by when all of it is to run on domestic chips
    active: Mapped[bool] = mapped_column(default=True)

    department: Mapped[Department] = relationship(back_populates="systems")
    ipv6: Mapped[str | None] = query_expression()  # where a query asks for it: what its machines show, by the inventory


def in_use(day: date) -> ColumnElement[bool]:
    """Systems in use on ``day`` by what the book says now; ``was_in_use`` is the same of what was said at some other time."""
    return and_(
        or_(System.online_on.is_(None), System.online_on <= day),
        or_(System.offline_on > day, and_(System.offline_on.is_(None), System.active)),
    )


def was_in_use(day: date, *, online_on: date | None, offline_on: date | None, active: bool) -> bool:
    """Whether a system of these facts is in use on ``day``: online by then, and not offline; without a day for that, while active."""
    if online_on is not None and online_on > day:
        return False
    return offline_on > day if offline_on is not None else active


def register(tx: Tx, code: str, name: str, parent: Department | None = None) -> Department:
    """Enter a department. Raises Invalid for an empty name, Conflict for a code that is taken."""
    code, name = told(tx, code, name)
    department = Department(code=code, name=name, parent_id=parent.id if parent else None, active=True)
    tx.add(department)
    tx.flush()
    tx.audit("department.register", f"department:{department.id}", after={"code": code, "name": name})
    return department


def told(tx: Tx, code: str, name: str) -> tuple[str, str]:
    """Code and name as a new department can have them. Raises as ``register`` does."""
    code, name = code.strip(), name.strip()
    if not code or not name:
        raise Invalid("department.empty", N_("单位的编码和名称都不能为空"), field="name")
    if tx.scalar(select(Department.id).where(Department.code == code)):
        raise Conflict("department.taken", N_("单位编码 %(code)s 已被使用"), code=code)
    return code, name


def rename(tx: Tx, department: Department, name: str) -> Department:
    """Give a department another name; its code stays. Raises Invalid for an empty one."""
    name = name.strip()
    if not name:
        raise Invalid("department.empty", N_("单位的编码和名称都不能为空"), field="name")
    if name != department.name:
        tx.audit(
            "department.rename", f"department:{department.id}", before={"name": department.name}, after={"name": name}
        )
        department.name = name
        tx.flush()
    return department


FIELDS = {
    "name": N_("名称"),
    "mlps_level": N_("等保级别"),
    "mlps_record": N_("等保备案号"),
    "mlps_assessed_on": N_("等保测评日期"),
    "crypto_level": N_("密评级别"),
    "crypto_assessed_on": N_("密评日期"),
    "owner": N_("负责人"),
    "phone": N_("联系电话"),
    "approval_number": N_("立项批复文号"),
    "funding": N_("资金来源"),
    "users": N_("使用对象"),
    "zone": N_("网络区"),
    "arch": N_("架构"),
    "online_on": N_("上线日期"),
    "offline_on": N_("下线日期"),
    "registered_users": N_("注册用户数"),
    "monthly_active_users": N_("月活跃用户数"),
    "last_business_login_on": N_("最近业务登录"),
    "backup": N_("备份策略"),
    "rto_minutes": N_("RTO"),
    "rpo_minutes": N_("RPO"),
    "vendor": N_("厂商与联系人"),
    "data_level": N_("数据级别"),
    "xinchuang_by": N_("信创迁移计划完成日"),
    "active": N_("启用"),
}
"""What may be said of an information system beside its code and its department: field → label."""

COUNTS = ("registered_users", "monthly_active_users", "rto_minutes", "rpo_minutes")
LEVELS = {"mlps_level": (1, 5), "crypto_level": (1, 4)}


_heard: list[Callable[[Tx, System], None]] = []


def said_of_a_system(hears: Callable[[Tx, System], None]) -> Callable[[Tx, System], None]:
    """Have ``hears`` called in the transaction in which a system is registered or something else is said of it."""
    _heard.append(hears)
    return hears


def enter(tx: Tx, code: str, department_id: int, facts: Mapping[str, Any]) -> System:
    """Register an information system. ``facts`` are FIELDS. Raises Invalid for what makes no sense, Conflict for a code
    that is taken."""
    code = code.strip()
    if not code:
        raise Invalid("system.empty", N_("系统的编码和名称都不能为空"), field="code")
    if tx.scalar(select(System.id).where(System.code == code)):
        raise Conflict("system.taken", N_("系统编码 %(code)s 已被使用"), code=code, field="code")
    owner = department(tx, department_id)
    must_be_open(owner, "department")
    checked = _checked(facts)
    system = System(code=code, department_id=owner.id, **{"mlps_level": 2, "active": True, **checked})
    if not system.name:
        raise Invalid("system.empty", N_("系统的编码和名称都不能为空"), field="name")
    tx.add(system)
    tx.flush()
    tx.audit("system.register", f"system:{system.id}", after={"code": code, "department": owner.id, **checked})
    for hears in _heard:
        hears(tx, system)
    return system


def amend(tx: Tx, system: System, facts: Mapping[str, Any]) -> System:
    """Change what is said of a system; only what differs is written and audited."""
    changed = {name: value for name, value in _checked(facts).items() if getattr(system, name) != value}
    if not changed:
        return system
    before = {name: getattr(system, name) for name in changed}
    for name, value in changed.items():
        setattr(system, name, value)
    tx.flush()
    tx.audit("system.amend", f"system:{system.id}", before=before, after=changed)
    for hears in _heard:
        hears(tx, system)
    return system


def _checked(facts: Mapping[str, Any]) -> dict[str, Any]:
    unknown = set(facts) - set(FIELDS)
    if unknown:
        raise Invalid("system.field", N_("没有这个字段:%(name)s"), name=", ".join(sorted(unknown)))
    found: dict[str, Any] = {name: value.strip() if isinstance(value, str) else value for name, value in facts.items()}
    if "name" in found and not found["name"]:
        raise Invalid("system.empty", N_("系统的编码和名称都不能为空"), field="name")
    for name in COUNTS:
        if found.get(name) is not None and found[name] < 0:
            raise Invalid("system.negative", N_("%(name)s不能为负"), name=FIELDS[name], field=name)
    for name, (low, high) in LEVELS.items():
        if (
            name in found
            and (found[name] is not None or name == "mlps_level")
            and not low <= (found[name] or 0) <= high
        ):
            raise Invalid("system.level", N_("%(name)s须在 %(low)s 至 %(high)s 之间"), name=FIELDS[name], low=low,
                          high=high, field=name)  # fmt: skip
    if found.get("arch") and found["arch"] not in list(Arch):
        raise Invalid("system.arch", N_("没有这种架构:%(arch)s"), arch=found["arch"], field="arch")
    if found.get("data_level") and found["data_level"] not in DATA_LEVELS:
        raise Invalid(
            "system.data_level", N_("没有这种数据级别:%(level)s"), level=found["data_level"], field="data_level"
        )
    begins, ends = found.get("online_on"), found.get("offline_on")
    if begins and ends and ends < begins:
        raise Invalid("system.dates", N_("下线日期不能早于上线日期"), field="offline_on")
    active, registered = found.get("monthly_active_users"), found.get("registered_users")
    if active is not None and registered is not None and active > registered:
        raise Invalid("system.users", N_("月活跃用户数不能多于注册用户数"), field="monthly_active_users")
    return found


def department(tx: Tx, department_id: int) -> Department:
    """The department, or NotFound."""
    found = tx.get(Department, department_id)
    if found is None:
        raise NotFound("department.none", N_("没有编号为 %(id)s 的单位"), id=department_id)
    return found


def successor(department: Department) -> Department:
    """Who acts for it now: itself while it is open, else the first open one that it lies under since it was merged."""
    found: Department | None = department
    while found is not None and not found.active:
        found = found.parent
    return found or department


def must_be_open(department: Department, field: str = "") -> None:
    """Raise Invalid for a department that is closed, naming who took over from it."""
    if department.active:
        return
    heir = successor(department)
    if heir.active:
        raise Invalid(
            "department.closed",
            N_("%(name)s已并入%(successor)s,请选择%(successor)s"),
            name=department.name,
            successor=heir.name,
            field=field,
        )
    raise Invalid("department.closed", N_("%(name)s已停用"), name=department.name, field=field)


def acting(tx: Tx, actor: Actor) -> Department:
    """The department that ``actor`` acts for. Raises NotAllowed for who has none, WrongState where it is closed."""
    if actor.department_id is None:
        raise NotAllowed("department.nobodys", N_("您不属于任何单位"))
    one = department(tx, actor.department_id)
    if one.active:
        return one
    heir = successor(one)
    if heir.active:
        raise WrongState(
            "department.merged",
            N_("您所属的%(name)s已并入%(successor)s,不再办理业务;请安全管理员将您的账号改属%(successor)s"),
            name=one.name,
            successor=heir.name,
        )
    raise WrongState(
        "department.merged", N_("您所属的%(name)s已停用,不再办理业务;请安全管理员改变您的账号所属"), name=one.name
    )


def system(tx: Tx, system_id: int) -> System:
    """The information system, or NotFound."""
    found = tx.get(System, system_id)
    if found is None:
        raise NotFound("system.none", N_("没有编号为 %(id)s 的信息系统"), id=system_id)
    return found


def subtree(tx: Tx, department_id: int) -> set[int]:
    """Ids of the department and of all below it. Asked once in a transaction that reads: a page's parts each ask for it."""
    if tx.writes:
        return subtrees(tx, [department_id])[department_id]
    kept: dict[int, set[int]] = tx.info.setdefault("departments.subtree", {})
    if department_id not in kept:
        kept |= subtrees(tx, [department_id])
    return set(kept[department_id])


def above(tx: Tx, department_id: int | None) -> set[int]:
    """Ids of the department and of all that it lies under; none for None."""
    if department_id is None:
        return set()
    line = select(Department.id, Department.parent_id).where(Department.id == department_id).cte(recursive=True)
    line = line.union(select(Department.id, Department.parent_id).join(line, Department.id == line.c.parent_id))
    return set(tx.scalars(select(line.c.id)))


def trees(department_ids: Collection[int]) -> CTE:
    """The same as a query: ``top``, each of these departments, beside the ``id`` of itself and of each below it."""
    top = select(Department.id.label("top"), Department.id.label("id")).where(Department.id.in_(department_ids))
    tree = top.cte(recursive=True)
    return tree.union(select(tree.c.top, Department.id).join(tree, Department.parent_id == tree.c.id))


def subtrees(tx: Tx, department_ids: Collection[int]) -> dict[int, set[int]]:
    """Department → its id and those of all below it, for each of these: one look, at no other departments."""
    tree = trees(department_ids)
    found = {one: {one} for one in department_ids}
    for one, below in tx.execute(select(tree.c.top, tree.c.id)):
        found[one].add(below)
    return found


def seen_by(tx: Tx, actor: Actor, column: Any) -> ColumnElement[bool]:
    """What ``actor`` may see of the directory, by a column with departments: a department its own and what is below it, the
    steward and the auditor all, others nothing."""
    if actor.role is Role.TENANT and actor.department_id is not None:
        return cast("ColumnElement[bool]", column.in_(subtree(tx, actor.department_id)))
    return true() if actor.role in (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR, Role.SYSTEM) else false()


search.register(
    search.Sought(
        "department", 1, Department,
        select(Department.id, Department.id.label("department_id"), null().label("pool_id"), Department.name, Department.code, literal("").label("state")),
        lambda row: (row.name, row.code, (row.code,)),
        lambda tx, actor: seen_by(tx, actor, Department.id),
    )
)  # fmt: skip
search.register(
    search.Sought(
        "system", 2, System,
        select(System.id, System.department_id, null().label("pool_id"), System.name, System.code, literal("").label("state")),
        lambda row: (row.name, row.code, (row.code,)),
        lambda tx, actor: seen_by(tx, actor, System.department_id),
    )
)  # fmt: skip
