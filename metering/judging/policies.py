"""Policies that were enacted: every version with the day from which it holds, never rewritten.

A version holds what a resource is judged by (``metering.judging.policy.Policy``) and how a case is then conducted
(``metering.judging.procedure.Procedure``), both as plain JSON. A finding and a case keep the version that they are of.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Index, String, Text, UniqueConstraint, select
from sqlalchemy.orm import Mapped, mapped_column

from metering.judging import policy as judgement
from metering.judging.policy import Policy, WholeLevels
from metering.judging.procedure import Procedure
from quota.actors import Role
from quota.base import Base, append_only
from quota.calendar import ZONE
from quota.errors import N_, Invalid, NotFound, WrongState, stated

if TYPE_CHECKING:
    from quota.db import Tx


class PolicyVersion(Base):
    """One enacted version. ``document`` is ``Policy.to_json()``, ``procedure`` is ``Procedure.to_json()``."""

    __tablename__ = "policy_versions"
    __table_args__ = (
        UniqueConstraint("name", "version"),
        Index("ix_policy_versions_in_force", "name", "effective_from"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(48))
    version: Mapped[int]
    effective_from: Mapped[date]
    document: Mapped[dict[str, Any]]
    procedure: Mapped[dict[str, Any]]
    reason: Mapped[str] = mapped_column(Text)
    enacted_by: Mapped[str] = mapped_column(String(64))
    enacted_at: Mapped[datetime]

    def policy(self) -> Policy:
        """What resources are judged by."""
        return Policy.from_json(self.document)

    def rules(self) -> Procedure:
        """How cases are conducted."""
        return Procedure.from_json(self.procedure)


append_only(PolicyVersion.__table__)  # type: ignore[arg-type]


def enact(
    tx: Tx, policy: Policy, procedure: Procedure | None = None, *, reason: str, backtest_id: int | None = None
) -> PolicyVersion:
    """Enact ``policy`` as the next version of its name, to hold from its ``effective_from`` on.

    ``procedure`` None keeps that of the version before (at first: our defaults). By the authority alone, through
    ``drafts.enact``, which makes sure of the backtest ``backtest_id``; the system may found a house without one. Raises
    Invalid for a day that is past or before the version that it follows: what was judged stays judged.
    """
    tx.actor.must_be(Role.AUTHORITY, Role.SYSTEM)
    if backtest_id is None and tx.actor.role is not Role.SYSTEM:
        raise WrongState("policy.unreplayed", N_("启用前须有本版草案七日内的回测结果"))
    stated(reason, code="policy.reason", message=N_("请写明启用这版策略的理由"))
    if not 0 < len(policy.name) <= 48:
        raise Invalid("policy.name", N_("策略名称须为1至48个字符"), field="name")
    before = newest(tx, policy.name)
    not_past(tx, policy, before)
    return _write(tx, policy, before, procedure or (before.rules() if before else Procedure()), reason, backtest_id)


def amend(tx: Tx, name: str, procedure: Procedure, *, effective_from: date, reason: str) -> PolicyVersion:
    """Change how cases are conducted under ``name`` and nothing of what resources are judged by: the next version, with
    the same rules, so that no backtest could show a difference. By the authority alone.

    Raises Invalid as ``enact`` does, and where nothing is changed.
    """
    tx.actor.must_be(Role.AUTHORITY, Role.SYSTEM)
    stated(reason, code="policy.reason", message=N_("请写明启用这版策略的理由"))
    before = newest(tx, name)
    if before is None:
        raise NotFound("policy.unknown", N_("没有编号为 %(id)s 的策略版本"), id=name)
    if before.rules() == procedure:
        raise Invalid("procedure.same", N_("办案参数没有变化"))
    policy = replace(before.policy(), effective_from=effective_from)
    not_past(tx, policy, before)
    return _write(tx, policy, before, procedure, reason, None)


def _write(
    tx: Tx, policy: Policy, before: PolicyVersion | None, conduct: Procedure, reason: str, backtest_id: int | None
) -> PolicyVersion:
    number = before.version + 1 if before else 1
    document = {**policy.to_json(), "version": number}
    row = PolicyVersion(
        name=policy.name,
        version=number,
        effective_from=policy.effective_from,
        document=document,
        procedure=conduct.to_json(),
        reason=reason.strip(),
        enacted_by=tx.actor.login,
        enacted_at=tx.now,
    )
    tx.add(row)
    tx.flush()
    tx.audit(
        "policy.enact",
        f"policy:{row.id}",
        before={"version": before.version} if before else None,
        after={
            "name": row.name,
            "version": number,
            "effective_from": row.effective_from,
            "document": document,
            "procedure": row.procedure,
            "replay": backtest_id,
        },
        reason=row.reason,
    )
    return row


def not_past(tx: Tx, policy: Policy, before: PolicyVersion | None) -> None:
    """Raises Invalid where ``policy`` would hold from a day that is past, or before the version it follows."""
    if before is not None and policy.effective_from < max(before.effective_from, tx.now.astimezone(ZONE).date()):
        raise Invalid("policy.past", N_("策略不能从过去的日期起生效"), field="effective_from")


def seed(tx: Tx) -> PolicyVersion:
    """Enact the built-in default policy where none of its name was; returns the newest version of it."""
    default = judgement.default()
    return newest(tx, default.name) or enact(tx, default, reason=N_("内置默认策略,可由主管部门修订"))


def newest(tx: Tx, name: str) -> PolicyVersion | None:
    """The version of ``name`` enacted last, in force or yet to be."""
    return tx.scalar(
        select(PolicyVersion).where(PolicyVersion.name == name).order_by(PolicyVersion.version.desc()).limit(1)
    )


def in_force(tx: Tx, on: date, name: str = "default") -> PolicyVersion:
    """The version of ``name`` that holds on ``on`` (a local day): the latest that had begun. NotFound if none had."""
    found = tx.scalar(
        select(PolicyVersion)
        .where(PolicyVersion.name == name, PolicyVersion.effective_from <= on)
        .order_by(PolicyVersion.effective_from.desc(), PolicyVersion.version.desc())
        .limit(1)
    )
    if found is None:
        raise NotFound("policy.none", N_("%(day)s没有生效的策略“%(name)s”"), day=on.isoformat(), name=name)
    return found


def levels(tx: Tx, on: date) -> WholeLevels:
    """By what systems and departments are judged as wholes on ``on``; where no policy holds yet: our own defaults."""
    try:
        return in_force(tx, on).policy().wholes
    except NotFound:
        return WholeLevels()


def version(tx: Tx, version_id: int) -> PolicyVersion:
    """The policy version, or NotFound."""
    found = tx.get(PolicyVersion, version_id)
    if found is None:
        raise NotFound("policy.unknown", N_("没有编号为 %(id)s 的策略版本"), id=version_id)
    return found


def versions(tx: Tx, name: str | None = None) -> list[PolicyVersion]:
    """Every version, newest first, of one name or of all."""
    query = select(PolicyVersion).order_by(PolicyVersion.name, PolicyVersion.version.desc())
    return list(tx.scalars(query if name is None else query.where(PolicyVersion.name == name)))
