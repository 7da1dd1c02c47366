"""Agents (云侧代理): each is let in for one pool, by a token that the book keeps the digest of.

The pool's adapter is ``agent``: what the agent brings lies in its mailbox, and is entered from there as any cloud's word is.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, String, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.actors import Role
from quota.base import Base
from quota.directory import Pool
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound

if TYPE_CHECKING:
    from quota.db import Tx

ADAPTER = "agent"
PREFIX = "gja_"


class Agent(Base):
    """A pool's agent: its token's digest, and whether it is let in."""

    __tablename__ = "agents"

    id: Mapped[int] = mapped_column(primary_key=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"), unique=True)
    token_digest: Mapped[str] = mapped_column(String(64), unique=True)
    active: Mapped[bool] = mapped_column(default=True)
    created_by: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    rotated_at: Mapped[datetime | None]

    pool: Mapped[Pool] = relationship()

    @property
    def subject(self) -> str:
        """Whose trail tells of it: the pool's."""
        return f"pool:{self.pool_id}"


def of_pool(tx: Tx, pool_id: int) -> Agent | None:
    """The pool's agent, where one was ever let in."""
    return tx.scalar(select(Agent).where(Agent.pool_id == pool_id))


def agent(tx: Tx, agent_id: int) -> Agent:
    """The agent, or NotFound."""
    found = tx.get(Agent, agent_id)
    if found is None:
        raise NotFound("agent.none", N_("没有编号为 %(id)s 的云侧代理"), id=agent_id)
    return found


def issue(tx: Tx, pool: Pool) -> tuple[Agent, str]:
    """A token for the pool's agent, in place of any before, which opens nothing any more; it is not kept.

    Raises Invalid for a pool of another adapter, Conflict for one that is closed.
    """
    tx.actor.must_be(Role.AUTHORITY, Role.SYSTEM)
    if pool.adapter != ADAPTER:
        raise Invalid("agent.adapter", N_("资源池“%(name)s”不由云侧代理接入"), name=pool.name)
    if not pool.active:
        raise Conflict("agent.pool", N_("资源池“%(name)s”已停用"), name=pool.name)
    token = PREFIX + secrets.token_urlsafe(32)
    row = of_pool(tx, pool.id)
    if row is None:
        row = Agent(
            pool_id=pool.id, token_digest=_digest(token), active=True, created_by=tx.actor.login, created_at=tx.now
        )
        tx.add(row)
        tx.flush()
        tx.audit("agent.register", row.subject, after={"pool_id": pool.id})
    else:
        row.token_digest, row.rotated_at = _digest(token), tx.now
        tx.audit("agent.rotate", row.subject, after={"pool_id": pool.id})
    return row, token


def activate(tx: Tx, row: Agent, active: bool) -> None:
    """Let the agent in, or no more. What it brought stays."""
    tx.actor.must_be(Role.AUTHORITY, Role.SYSTEM)
    if row.active != active:
        tx.audit("agent.activate", row.subject, before={"active": row.active}, after={"active": active})
        row.active = active


def admit(tx: Tx, token: str) -> Agent:
    """The agent that ``token`` belongs to. Raises NotAllowed: ``agent.token`` for none, ``agent.closed`` where it, or its
    pool, is shut or has another adapter by now."""
    found = tx.scalar(select(Agent).where(Agent.token_digest == _digest(token))) if token else None
    if found is None:
        raise NotAllowed("agent.token", N_("云侧代理的令牌无效"))
    if not found.active or not found.pool.active or found.pool.adapter != ADAPTER:
        raise NotAllowed("agent.closed", N_("资源池 %(code)s 的云侧代理已停用"), code=found.pool.code)
    return found


def _digest(token: str) -> str:
    """It is random, so a plain digest can't be guessed from."""
    return hashlib.sha256(token.encode()).hexdigest()
