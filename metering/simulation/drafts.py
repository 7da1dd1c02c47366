"""Policies before they hold: drafts, and their enactment once they were backtested and somebody signs.

A draft is never edited: to change it is to make another. A backtest names the very draft it is of by its digest, so that
what is signed is what was backtested.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ForeignKey, String, Text, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from metering.judging import Policy, PolicyVersion, Procedure, policies, unsafe
from metering.simulation.policy_backtests import BacktestState, PolicyBacktest
from metering.simulation.policy_backtests import digest as digest_of
from metering.sizing import methods
from quota.actors import Role
from quota.base import Base
from quota.calendar import ZONE
from quota.errors import N_, Invalid, NotAllowed, NotFound, WrongState, stated

if TYPE_CHECKING:
    from quota.db import Tx

FRESH = timedelta(days=7)
"""How old a backtest may be when the policy is enacted."""


class PolicyDraft(Base):
    """A policy that somebody proposes. ``document`` and ``procedure`` as in ``PolicyVersion``, never changed."""

    __tablename__ = "policy_drafts"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(48), index=True)
    based_on_id: Mapped[int | None] = mapped_column(ForeignKey("policy_versions.id"))
    document: Mapped[dict[str, Any]]
    procedure: Mapped[dict[str, Any]]
    reason: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(64), index=True)
    drafted_by: Mapped[str] = mapped_column(String(64))
    drafted_at: Mapped[datetime]
    withdrawn_at: Mapped[datetime | None]
    enacted_id: Mapped[int | None] = mapped_column(ForeignKey("policy_versions.id"))

    based_on: Mapped[PolicyVersion | None] = relationship(foreign_keys=[based_on_id])
    enacted: Mapped[PolicyVersion | None] = relationship(foreign_keys=[enacted_id])

    def policy(self) -> Policy:
        """What resources would be judged by."""
        return Policy.from_json(self.document)

    @property
    def state(self) -> str:
        """drafted, enacted or withdrawn."""
        return "enacted" if self.enacted_id else "withdrawn" if self.withdrawn_at else "drafted"


def draft(tx: Tx, policy: Policy, *, reason: str, procedure: Procedure | None = None) -> PolicyDraft:
    """Propose ``policy`` as the next version of its name. By the steward's staff or the authority.

    Raises Invalid for a sizing that nobody knows, a day that is past, or a reason that is missing.
    """
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    stated(reason, code="policy.reason", message=N_("请写明修订策略的理由"))
    check(policy)
    before = policies.newest(tx, policy.name)
    policies.not_past(tx, policy, before)
    conduct = (procedure or (before.rules() if before else Procedure())).to_json()
    document = {**policy.to_json(), "version": before.version + 1 if before else 1}
    row = PolicyDraft(
        name=policy.name,
        based_on_id=before.id if before else None,
        document=document,
        procedure=conduct,
        reason=reason.strip(),
        digest=digest_of(document, conduct),
        drafted_by=tx.actor.login,
        drafted_at=tx.now,
    )
    tx.add(row)
    tx.flush()
    tx.audit(
        "policy.draft", f"policy_draft:{row.id}", after={"name": row.name, "digest": row.digest}, reason=row.reason
    )
    return row


def check(policy: Policy) -> None:
    """Raises Invalid where a sizing of the policy is none, or a rule would take something for want of data."""
    for rule in policy.every:
        for _part, message in unsafe(rule):
            raise Invalid("policy.unsafe", message)
    for name in (policy.sizing, *(one.sizing for one in policy.sections if one.sizing)):
        try:
            methods.sizing(name)
        except ValueError:
            raise Invalid("policy.sizing", N_("没有名为 %(name)s 的定规格方法"), name=name, field="sizing") from None


def withdraw(tx: Tx, draft_id: int) -> PolicyDraft:
    """Give a draft up. Raises WrongState for one that was enacted."""
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    row = drafted(tx, draft_id)
    if row.enacted_id:
        raise WrongState("policy.enacted", N_("该草案已启用,不能撤回"))
    if row.withdrawn_at is None:
        row.withdrawn_at = tx.now
        tx.audit("policy.withdraw", f"policy_draft:{row.id}", before={"digest": row.digest})
    return row


def evidence(tx: Tx, row: PolicyDraft) -> PolicyBacktest | None:
    """The newest finished backtest of this very draft, beside what is in force now, that is not older than a week; None =
    it can't be enacted, and ``wanting`` says why."""
    found = _finished(tx, row)
    return found if found is not None and not _overtaken(tx, found, row.name) else None


def wanting(tx: Tx, row: PolicyDraft) -> str:
    """What keeps a draft without ``evidence`` from being enacted."""
    if _finished(tx, row) is None:
        return N_("启用前须有本版草案七日内的回测结果")
    return N_("回测之后现行策略已换版,须重新回测,与现行的对照")


def _finished(tx: Tx, row: PolicyDraft) -> PolicyBacktest | None:
    return tx.scalar(
        select(PolicyBacktest)
        .where(
            PolicyBacktest.digest == row.digest,
            PolicyBacktest.state == BacktestState.DONE.value,
            PolicyBacktest.ended_at >= tx.now - FRESH,
        )
        .order_by(PolicyBacktest.id.desc())
        .limit(1)
    )


def _overtaken(tx: Tx, backtest: PolicyBacktest, name: str) -> bool:
    """Whether another version holds now than the one that the backtest shows the difference to."""
    return backtest.in_force_id != policies.in_force(tx, tx.now.astimezone(ZONE).date(), name).id


def enact(tx: Tx, draft_id: int, backtest_id: int, *, reason: str) -> PolicyVersion:
    """Sign a draft, having been shown the backtest ``backtest_id`` of it. By the authority alone.

    Raises NotAllowed for one's own draft; WrongState for a draft that is no longer one, that was not backtested within
    the last week beside what is in force, or whose page showed another backtest than the newest; Invalid as
    ``policies.enact``.
    """
    tx.actor.must_be(Role.AUTHORITY)
    tx.actor.must_sign()
    row = drafted(tx, draft_id)
    if row.state != "drafted":
        raise WrongState("policy.closed", N_("该草案已启用或已撤回"))
    if row.drafted_by == tx.actor.login:
        raise NotAllowed("policy.own_draft", N_("本人起草的策略须由另一人启用"))
    seen = evidence(tx, row)
    if seen is None:
        raise WrongState("policy.unreplayed", wanting(tx, row))
    if seen.id != backtest_id:
        raise WrongState("policy.replayed_since", N_("页面显示之后又有新的回测结果,请先查看"))
    newest = policies.newest(tx, row.name)
    if (newest.id if newest else None) != row.based_on_id:
        raise WrongState("policy.overtaken", N_("起草之后已启用了新的版本,请重新起草"))
    version = policies.enact(tx, row.policy(), Procedure.from_json(row.procedure), reason=reason, backtest_id=seen.id)
    row.enacted_id = version.id
    return version


def drafted(tx: Tx, draft_id: int) -> PolicyDraft:
    """The draft, or NotFound."""
    found = tx.get(PolicyDraft, draft_id)
    if found is None:
        raise NotFound("policy.no_draft", N_("没有编号为 %(id)s 的策略草案"), id=draft_id)
    return found


def drafts(tx: Tx) -> list[PolicyDraft]:
    """Every draft, newest first."""
    return list(tx.scalars(select(PolicyDraft).order_by(PolicyDraft.id.desc())))
