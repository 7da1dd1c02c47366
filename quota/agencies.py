"""Departments as a tree, and their information systems."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, ForeignKey, String, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.db import Base
from quota.errors import N_, Conflict, Invalid, NotFound

if TYPE_CHECKING:
    from quota.db import Tx


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
    __table_args__ = (
        CheckConstraint("mlps_level BETWEEN 1 AND 5", name="mlps_level"),
        CheckConstraint("rto_minutes >= 0 AND rpo_minutes >= 0", name="recovery"),
    )

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
    approval_number: Mapped[str] = mapped_column(String(128), default="")  # 立项批复文号
    funding: Mapped[str] = mapped_column(String(64), default="")
    users: Mapped[str] = mapped_column(String(64), default="")  # 使用对象
    zone: Mapped[str] = mapped_column(String(64), default="")  # 网络区
    arch: Mapped[str] = mapped_column(String(16), default="")  # empty: not stated
    mlps_record: Mapped[str] = mapped_column(String(64), default="")  # 等保备案号
    mlps_assessed_on: Mapped[date | None]
    crypto_level: Mapped[int | None]
    crypto_assessed_on: Mapped[date | None]
    backup: Mapped[str] = mapped_column(String(128), default="")
    rto_minutes: Mapped[int | None]
    rpo_minutes: Mapped[int | None]
    vendor: Mapped[str] = mapped_column(String(128), default="")
    active: Mapped[bool] = mapped_column(default=True)

    department: Mapped[Department] = relationship(back_populates="systems")


def register(tx: Tx, code: str, name: str, parent: Department | None = None) -> Department:
    """Enter a department. Raises Invalid for an empty name, Conflict for a code that is taken."""
    code, name = code.strip(), name.strip()
    if not code or not name:
        raise Invalid("department.empty", N_("单位的编码和名称都不能为空"), field="name")
    if tx.scalar(select(Department.id).where(Department.code == code)):
        raise Conflict("department.taken", N_("单位编码 %(code)s 已被使用"), code=code)
    department = Department(code=code, name=name, parent_id=parent.id if parent else None, active=True)
    tx.add(department)
    tx.flush()
    tx.audit("department.register", f"department:{department.id}", after={"code": code, "name": name})
    return department


def department(tx: Tx, department_id: int) -> Department:
    """The department, or NotFound."""
    found = tx.get(Department, department_id)
    if found is None:
        raise NotFound("department.none", N_("没有编号为 %(id)s 的单位"), id=department_id)
    return found


def system(tx: Tx, system_id: int) -> System:
    """The information system, or NotFound."""
    found = tx.get(System, system_id)
    if found is None:
        raise NotFound("system.none", N_("没有编号为 %(id)s 的信息系统"), id=system_id)
    return found


def subtree(tx: Tx, department_id: int) -> set[int]:
    """Ids of the department and of all below it."""
    children: dict[int | None, list[int]] = {}
    for child, parent in tx.execute(select(Department.id, Department.parent_id)):
        children.setdefault(parent, []).append(child)
    found: set[int] = set()
    waiting = [department_id]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting.extend(children.get(one, ()))
    return found
