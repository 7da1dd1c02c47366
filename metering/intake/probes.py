"""Probes: somebody asked whether the connection to a cloud or a source of usage works, and what came of it.

A page asks; the jobs' process, which alone holds the secrets, carries it out and keeps the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import String, Text, select
from sqlalchemy.orm import Mapped, mapped_column

from metering.intake.feeds import Feed
from metering.workbench import Workbench
from providers.base import Probed, ProviderFault
from providers.connection import insisting
from quota.actors import Role, steward
from quota.base import Base
from quota.directory import Pool
from quota.errors import Refused

if TYPE_CHECKING:
    from quota.db import Tx

AT_ONCE = 8

SILENT = "silent"
"""The adapter of a pool that has nobody to ask: it opens, and that is all there is to know."""


class Probe(Base):
    """The last probe of ``subject`` (pool:1): asked, and once it is done ``fault`` ("" = it works) with what the other side
    said. ``fault`` is a code of providers.connection.FAULTS, or of a refusal."""

    __tablename__ = "probes"

    subject: Mapped[str] = mapped_column(String(64), primary_key=True)
    asked_by: Mapped[str] = mapped_column(String(64))
    asked_at: Mapped[datetime]
    done_at: Mapped[datetime | None]
    fault: Mapped[str] = mapped_column(String(64), default="")
    said: Mapped[str] = mapped_column(Text, default="")

    @property
    def waiting(self) -> bool:
        return self.done_at is None


def ask(tx: Tx, subject: str) -> Probe:
    """Ask for a probe; one that waits already is the same."""
    tx.actor.must_be(Role.AUTHORITY, Role.SUPERVISOR, Role.SYSTEM)
    row = tx.get(Probe, subject, with_for_update=True)
    if row is None:
        row = Probe(subject=subject, asked_by=tx.actor.login, asked_at=tx.now)
        tx.add(row)
    elif row.done_at is not None:
        row.asked_by, row.asked_at, row.done_at = tx.actor.login, tx.now, None
    tx.flush()
    return row


def last(tx: Tx, subject: str) -> Probe | None:
    return tx.get(Probe, subject)


Opener = Callable[[Workbench, int], object]
OPENERS: dict[str, Opener] = {}
"""Kind of a subject → how its adapter is opened from the number of its row. Raises Refused."""


def _pool(workbench: Workbench, number: int) -> object:
    with workbench.book.reading() as tx:
        return workbench.provider(tx.get_one(Pool, number))


def _feed(workbench: Workbench, number: int) -> object:
    with workbench.book.reading() as tx:
        row = tx.get_one(Feed, number)
    return workbench.meter(row.adapter, row.options, row.code)


OPENERS["pool"] = _pool
OPENERS["feed"] = _feed


def carry_out(workbench: Workbench) -> list[Probe]:
    """Carry out every probe that waits, several at once; those that were done. A slow one costs its own time-out alone."""
    with workbench.book.reading() as tx:
        waiting = list(tx.scalars(select(Probe.subject).where(Probe.done_at.is_(None)).order_by(Probe.asked_at)))

    def probed(subject: str) -> Probe:
        fault, said = _tried(workbench, subject)
        with workbench.book.transaction(steward("job:probe")) as tx:
            row = tx.get_one(Probe, subject)
            row.done_at, row.fault, row.said = tx.now, fault, said[:1000]
        return row

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="probe") as pool:
        return list(pool.map(probed, waiting))


def _tried(workbench: Workbench, subject: str) -> tuple[str, str]:
    kind, _colon, number = subject.partition(":")
    try:
        found = OPENERS[kind](workbench, int(number))
        if not isinstance(found, Probed):
            return "", SILENT
        with insisting():
            return "", found.probe(workbench.book.clock())
    except ProviderFault as fault:
        return fault.code or "fault", str(fault)
    except Refused as refused:
        return refused.code, str(refused)
    except Exception as error:  # whatever an adapter stumbles over is told where it was asked
        return "error", f"{type(error).__name__}: {error}"
