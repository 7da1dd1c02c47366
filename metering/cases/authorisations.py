"""Standing authorisations (常备授权): a department lets the steward enlarge a system's machines for some hours, at once.

It says for which system, until which day, how much vCPU and memory may be on loan to the system in this way at one time, how much
of other classes (what is enlarged for good counts as long as it holds), and whether only inside the change windows of its pool. It binds the department that gave it and nobody else: a system that came to another department has none. Without it
nothing grows by itself; revoked, nothing more does, from that instant on.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, false, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from metering.judging import GAUGES
from quota.actors import Role
from quota.base import Base
from quota.calendar import ZONE
from quota.directory import Department, System, subtree
from quota.errors import N_, Invalid, NotAllowed, NotFound, WrongState
from quota.units import ACCELERATOR, CLASSES, MEMORY, NOTHING, VCPU, Amount, ClassCode

if TYPE_CHECKING:
    from quota.db import Tx

MOST_DAYS = 366
MOST_VCPU, MOST_MEMORY_GB = 4096, 16_384
MOST_OTHERS = 1_000_000

OTHERS: tuple[ClassCode, ...] = tuple(
    dict.fromkeys(
        cls for gauge in GAUGES.values() for cls in gauge.grows.values() if cls not in (VCPU, MEMORY, ACCELERATOR)
    )
)
"""Classes beside vCPU and memory of which an authorisation may allow something: no cards, for which machines are shut down in any cloud."""


class Authorisation(Base):
    """``vcpu`` and ``memory_mb``: what all temporary growth of the system on this ground may come to at one time; ``others``: of other classes,
    class code → base units, what is not named nothing.
    ``any_time``: outside of change windows, too; never in a freeze."""

    __tablename__ = "authorisations"
    __table_args__ = (
        CheckConstraint("vcpu > 0 AND memory_mb >= 0", name="ceiling"),
        Index("ix_authorisations_system_id_ends_on", "system_id", "ends_on"),
        Index("ix_authorisations_ends_on_id", "ends_on", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), index=True)
    system_id: Mapped[int] = mapped_column(ForeignKey("systems.id"))
    vcpu: Mapped[int]
    memory_mb: Mapped[int]
    others: Mapped[dict[str, int]] = mapped_column(default=dict, server_default="{}")
    ends_on: Mapped[date]
    any_time: Mapped[bool] = mapped_column(default=False, server_default=false())
    reason: Mapped[str] = mapped_column(Text, default="")
    granted_by: Mapped[str] = mapped_column(String(64))
    granted_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    revoked_by: Mapped[str] = mapped_column(String(64), default="")

    department: Mapped[Department] = relationship()
    system: Mapped[System] = relationship()

    def ceiling(self) -> Amount:
        return Amount({VCPU: self.vcpu, MEMORY: self.memory_mb}) | Amount.from_json(self.others)

    def holds(self, today: date) -> bool:
        """Whether it holds today, were the system still the department's."""
        return self.revoked_at is None and self.ends_on >= today


def checked(
    tx: Tx,
    system: System,
    ends_on: date | None,
    vcpu: int | None,
    memory_gb: int | None,
    others: Mapping[ClassCode, int] = NOTHING,
) -> None:
    """Raise unless the actor may give such an authorisation: NotAllowed, or Invalid with the field."""
    tx.actor.must_be(Role.TENANT)
    _own(tx, system.department_id)
    today = tx.now.astimezone(ZONE).date()
    if ends_on is None or ends_on < today:
        raise Invalid("authorisation.until", N_("请写明授权到哪一天,不能早于今天"), field="ends_on")
    if ends_on > today + timedelta(days=MOST_DAYS):
        raise Invalid("authorisation.long", N_("授权最长%(days)s天"), days=MOST_DAYS, field="ends_on")
    if vcpu is None or not 0 < vcpu <= MOST_VCPU:
        raise Invalid("authorisation.vcpu", N_("请写明同时扩容的 vCPU 上限,1至%(most)s"), most=MOST_VCPU, field="vcpu")
    if memory_gb is None or not 0 <= memory_gb <= MOST_MEMORY_GB:
        raise Invalid(
            "authorisation.memory",
            N_("请写明同时扩容的内存上限,0至%(most)s GB"),
            most=MOST_MEMORY_GB,
            field="memory_gb",
        )
    for cls, figure in others.items():
        if (
            cls not in OTHERS
            or isinstance(figure, bool)
            or not isinstance(figure, int)
            or not 0 <= figure <= MOST_OTHERS
        ):
            raise Invalid(
                "authorisation.others",
                N_("%(name)s的扩容上限须为0至%(most)s的整数"),
                name=CLASSES[cls].label if cls in CLASSES else cls,
                most=MOST_OTHERS,
                field=cls,
            )


def grant(
    tx: Tx,
    system: System,
    ends_on: date,
    vcpu: int,
    memory_gb: int,
    reason: str = "",
    *,
    any_time: bool = False,
    others: Mapping[ClassCode, int] = NOTHING,
) -> Authorisation:
    """Authorise growth within the day for ``system``; what was authorised for it before is replaced. ``others``: of other classes, base
    units."""
    tx.lock(system)
    checked(tx, system, ends_on, vcpu, memory_gb, others)
    before = holding(tx, system.id)
    if before is not None:
        before.revoked_at, before.revoked_by = tx.now, tx.actor.login
    row = Authorisation(
        department_id=system.department_id,
        system_id=system.id,
        vcpu=vcpu,
        memory_mb=memory_gb * 1024,
        others={cls: figure for cls, figure in others.items() if figure},
        ends_on=ends_on,
        any_time=any_time,
        reason=reason.strip(),
        granted_by=tx.actor.login,
        granted_at=tx.now,
        revoked_by="",
    )
    tx.add(row)
    tx.flush()
    tx.audit(
        "authorisation.grant",
        f"system:{system.id}",
        before=_told(before) if before is not None else None,
        after=_told(row),
        reason=row.reason,
    )
    return row


def revoke(tx: Tx, row: Authorisation, reason: str = "") -> None:
    """End it at once. By the department, or by the authority; WrongState where it has ended already."""
    tx.actor.must_be(Role.TENANT, Role.AUTHORITY)
    tx.lock(row)
    if tx.actor.role is Role.TENANT:
        _own(tx, row.department_id)
    if not row.holds(tx.now.astimezone(ZONE).date()):
        raise WrongState("authorisation.over", N_("这项授权已经结束"))
    row.revoked_at, row.revoked_by = tx.now, tx.actor.login
    tx.audit("authorisation.revoke", f"system:{row.system_id}", before=_told(row), reason=reason.strip())


def authorisation(tx: Tx, authorisation_id: int) -> Authorisation:
    """The authorisation, or NotFound, also where the actor may not see it."""
    found = tx.get(Authorisation, authorisation_id)
    hidden = found is not None and tx.actor.role is Role.TENANT and not _within(tx, found.department_id)
    if found is None or hidden:
        raise NotFound("authorisation.none", N_("没有编号为 %(id)s 的常备授权"), id=authorisation_id)
    return found


def holding(tx: Tx, system_id: int) -> Authorisation | None:
    """What holds for a system now: given by the department whose it is."""
    return tx.scalar(
        select(Authorisation)
        .join(System, System.id == Authorisation.system_id)
        .where(
            Authorisation.system_id == system_id,
            Authorisation.department_id == System.department_id,
            Authorisation.revoked_at.is_(None),
            Authorisation.ends_on >= tx.now.astimezone(ZONE).date(),
        )
        .order_by(Authorisation.id.desc())
        .limit(1)
    )


def _told(row: Authorisation) -> dict[str, object]:
    return {
        "authorisation": row.id,
        "vcpu": row.vcpu,
        "memory_mb": row.memory_mb,
        **({"others": row.others} if row.others else {}),
        "until": row.ends_on,
        "any_time": row.any_time,
    }


def _within(tx: Tx, department_id: int) -> bool:
    return tx.actor.department_id is not None and department_id in subtree(tx, tx.actor.department_id)


def _own(tx: Tx, department_id: int) -> None:
    if not _within(tx, department_id):
        raise NotAllowed("authorisation.not_yours", N_("只能为本单位及下属单位的系统授权"))
