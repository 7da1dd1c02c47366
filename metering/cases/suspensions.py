"""Suspension: a policy version that made us take what was wanted back stops taking, by itself, and says so.

The regret of a version is counted anew after a suspension was lifted. While one holds, the version opens no case that
takes something away, and those that are open wait; what is given back, and what gives, goes on.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Float, ForeignKey, String, Text, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from metering.cases import recoveries
from metering.cases.files import Case
from metering.judging import PolicyVersion
from quota.actors import Role
from quota.base import Base
from quota.errors import N_, NotFound, WrongState, stated

if TYPE_CHECKING:
    from quota.db import Tx


class Suspension(Base):
    """``regretted`` of ``acted`` under the version passed ``limit``; ``lifted_at`` by the authority, with a reason."""

    __tablename__ = "policy_suspensions"

    id: Mapped[int] = mapped_column(primary_key=True)
    policy_version_id: Mapped[int] = mapped_column(ForeignKey("policy_versions.id"), index=True)
    at: Mapped[datetime]
    acted: Mapped[int]
    regretted: Mapped[int]
    limit: Mapped[float] = mapped_column(Float)
    lifted_at: Mapped[datetime | None]
    lifted_by: Mapped[str] = mapped_column(String(64), default="")
    reason: Mapped[str] = mapped_column(Text, default="")

    policy_version: Mapped[PolicyVersion] = relationship()


def holding(tx: Tx, policy_version_id: int) -> Suspension | None:
    """The suspension of a version that holds now."""
    return tx.scalar(
        select(Suspension).where(Suspension.policy_version_id == policy_version_id, Suspension.lifted_at.is_(None))
    )


def suspensions(tx: Tx) -> list[Suspension]:
    """Every suspension, newest first."""
    return list(tx.scalars(select(Suspension).order_by(Suspension.id.desc())))


def suspension(tx: Tx, suspension_id: int) -> Suspension:
    """The suspension, or NotFound."""
    found = tx.get(Suspension, suspension_id)
    if found is None:
        raise NotFound("suspension.none", N_("没有编号为 %(id)s 的暂停记录"), id=suspension_id)
    return found


def examine(tx: Tx) -> list[Suspension]:
    """Suspend every version whose regret passed its limit. Returns those that are new."""
    found = []
    acted_under = select(Case.policy_version_id).where(Case.effective_at.is_not(None)).distinct()
    for version in tx.scalars(select(PolicyVersion).where(PolicyVersion.id.in_(acted_under)).with_for_update()):
        earlier = tx.scalar(
            select(Suspension).where(Suspension.policy_version_id == version.id).order_by(Suspension.id.desc()).limit(1)
        )
        if earlier is not None and earlier.lifted_at is None:
            continue
        rules = version.rules()
        regret = recoveries.regret(tx, version.id, since=earlier.lifted_at if earlier else None)
        if regret.acted < rules.regret_least or regret.rate is None or regret.rate <= rules.regret_limit:
            continue
        row = Suspension(
            policy_version_id=version.id,
            at=tx.now,
            acted=regret.acted,
            regretted=regret.regretted,
            limit=rules.regret_limit,
            lifted_by="",
            reason="",
        )
        tx.add(row)
        tx.flush()
        tx.audit(
            "policy.suspend",
            f"policy:{version.id}",
            after={"acted": row.acted, "regretted": row.regretted, "limit": row.limit},
        )
        found.append(row)
    return found


def lift(tx: Tx, row: Suspension, reason: str) -> None:
    """The authority lets a version take again. WrongState where it is not suspended, Invalid without a reason."""
    tx.actor.must_be(Role.AUTHORITY)
    tx.lock(row)
    if row.lifted_at is not None:
        raise WrongState("suspension.lifted", N_("已经恢复"))
    stated(reason, code="suspension.reason", message=N_("请写明恢复的理由"))
    row.lifted_at, row.lifted_by, row.reason = tx.now, tx.actor.login, reason.strip()
    tx.audit("policy.resume", f"policy:{row.policy_version_id}", after={"suspension": row.id}, reason=row.reason)
