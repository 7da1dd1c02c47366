"""What a month's reckoning rests on, as one digest: the same digest, the same lines.

Everything that ``metering.statements.reckoning.compute`` reads of a month is in it, cheaply: rows that are only ever added by their
number, what may change by its value, the lake's files by which they are. Beside each run lie the digests on which it was
found to hold, so that a closed month is reckoned again only where one differs. A digest that differs costs time; one that
stays the same over a change would cost a correction: whoever teaches ``compute`` to read something more, adds it here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import ForeignKey, String, UniqueConstraint, func, insert, select
from sqlalchemy.orm import Mapped, mapped_column

from metering.lake import Lake
from metering.statements import presence, tariffs
from metering.statements.closings import MonthClosing
from metering.statements.performance import PerformanceClass, PerformanceTest
from metering.statements.tables import StatementRun
from metering.statements.tariffs import Tariff
from providers import observation
from providers.billing import month_bounds
from providers.contracts import Lots
from providers.observation import Listing
from quota.base import Base, append_only
from quota.calendar import ZONE
from quota.directory import Pool
from quota.inventory import Resource, ResourceChange

if TYPE_CHECKING:
    from quota.db import Tx

RULES = 1
"""How months are reckoned. One more where a release reckons differently: every closed month is then reckoned again."""


class StatementInput(Base):
    """That ``run`` says what follows from inputs of ``digest``: of its own month the lines, of a closed one the corrections
    that, with all that was billed before, give it."""

    __tablename__ = "statement_inputs"
    __table_args__ = (UniqueConstraint("run_id", "month", "digest"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("statement_runs.id"))
    month: Mapped[str] = mapped_column(String(7))
    digest: Mapped[str] = mapped_column(String(32))
    entered_at: Mapped[datetime]


append_only(StatementInput.__table__)  # type: ignore[arg-type]


def enter(tx: Tx, run: StatementRun, inputs: Mapping[str, str]) -> None:
    """Note what a run was found to follow from. The same again adds nothing."""
    query = select(StatementInput.month, StatementInput.digest).where(StatementInput.run_id == run.id)
    known = {(month, digest) for month, digest in tx.execute(query)}
    rows = [
        {"run_id": run.id, "month": month, "digest": digest, "entered_at": tx.now}
        for month, digest in inputs.items()
        if (month, digest) not in known
    ]
    if rows:
        tx.execute(insert(StatementInput), rows)


def billed(tx: Tx) -> dict[str, set[str]]:
    """Month → the inputs from which follows what was billed of it, by the last closed run that looked at it."""
    query = (
        select(StatementInput.month, MonthClosing.run_id, StatementInput.digest)
        .join(MonthClosing, MonthClosing.run_id == StatementInput.run_id)
        .order_by(MonthClosing.month)
    )
    found: dict[str, tuple[int, set[str]]] = {}
    for month, run_id, digest in tx.execute(query):
        if month not in found or found[month][0] != run_id:
            found[month] = run_id, set()
        found[month][1].add(digest)
    return {month: digests for month, (_, digests) in found.items()}


def digests(tx: Tx, lake: Lake, months: Sequence[str]) -> dict[str, str]:
    """Month → a digest of all that it rests on now, for months that are over. To be taken before they are reckoned."""
    if not months:
        return {}
    bounds = {month: month_bounds(month) for month in months}
    counted = _counted(tx, bounds)
    agreed = tariffs.lots(tx, tariffs.entered(tx))
    resources = _Resources(tx, bool(agreed.by_company))
    found = {}
    for month, (start, end) in bounds.items():
        hasher = hashlib.blake2b(f"{RULES}:{month}:{counted[month]}".encode(), digest_size=16)
        for told in presence.evidence(lake, start, end):
            hasher.update(told.encode() + b"\n")
        hasher.update(_agreed(agreed, start, end).encode())
        hasher.update(resources.of(start, end))
        found[month] = hasher.hexdigest()
    return found


def _counted(tx: Tx, bounds: Mapping[str, tuple[datetime, datetime]]) -> dict[str, list[int]]:
    """Rows that count for each month, of tables to which rows are only added: history, listings, tariffs."""
    changes, listings, prices = [], [], []
    for start, end in bounds.values():
        changes.append(func.count().filter(ResourceChange.at < end))
        reach = (Listing.as_of > start - presence.REACH) & (Listing.as_of < end + presence.REACH)
        listings.append(func.count().filter(observation.telling() & reach))
        prices.append(func.count().filter(Tariff.effective_from < end.astimezone(ZONE).date()))
    sides: list[Sequence[Any]] = [
        tx.execute(select(*columns).select_from(model)).one()
        for model, columns in ((ResourceChange, changes), (Listing, listings), (Tariff, prices))
    ]
    graded = _graded(tx, bounds)
    return {month: [int(side[n]) for side in sides] + graded[month] for n, month in enumerate(bounds)}


def _graded(tx: Tx, bounds: Mapping[str, tuple[datetime, datetime]]) -> dict[str, list[int]]:
    """Of what was measured, and of the classes that it is held to, what counts for each month; nothing where nothing was, so that the
    months of before stay what they are."""
    columns = (PerformanceTest.measured_on, PerformanceTest.confirmed_at.is_not(None))
    tests = [on for on, confirmed in tx.execute(select(*columns)) if confirmed]
    classes = list(tx.scalars(select(PerformanceClass.effective_from))) if tests else []
    last = {month: end.astimezone(ZONE).date() for month, (_start, end) in bounds.items()}
    counts = {month: [sum(on < day for on in rows) for rows in (tests, classes)] for month, day in last.items()}
    return {month: found if found[0] else [] for month, found in counts.items()}


def _agreed(lots: Lots, start: datetime, end: datetime) -> str:
    """What contracts cover in a month, where prices hang on it; nothing where none do."""
    first, last = start.astimezone(ZONE).date(), (end.astimezone(ZONE) - timedelta(days=1)).date()
    return "".join(
        f"{lot.id}:{max(lot.first_day, first)}:{min(lot.last_day, last)}:{json.dumps(lot.coverage.to_json())}\n"
        for mine in lots.by_company.values()
        for lot in mine
        if lot.first_day <= last and lot.last_day >= first
    )


class _Resources:
    """Of each resource what its price hangs on, and between which listings it was seen; by its department, too, where contracts
    price ``by_department``."""

    def __init__(self, tx: Tx, by_department: bool) -> None:
        known = (
            select(ResourceChange.resource_id, func.min(ResourceChange.at).label("since"))
            .group_by(ResourceChange.resource_id)
            .subquery()
        )
        rows = tx.execute(
            select(
                Resource.id, Resource.pool_id, Pool.provider_id, Resource.catalog_item_id, Resource.arch,
                Resource.first_seen_at, Resource.last_seen_at, known.c.since, Resource.department_id,
            ).join(Pool, Pool.id == Resource.pool_id).join(known, known.c.resource_id == Resource.id)
            .order_by(Resource.id)
        ).all()  # fmt: skip
        owners = [(one[0], one[1], one[2], one[3] or 0, *([one[8] or 0] if by_department else [])) for one in rows]
        self.owners = np.array(owners, np.int64).reshape(-1, 5 if by_department else 4)
        self.archs = np.array([one[4].encode() for one in rows], "S16")
        self.seen = np.array(
            [[moment.timestamp() if moment else -1.0 for moment in one[5:8]] for one in rows], np.float64
        ).reshape(-1, 3)

    def of(self, start: datetime, end: datetime) -> bytes:
        """Of those of which something was known before ``end``; when they were seen counts only within the month."""
        low, high = start.timestamp(), end.timestamp()
        there = self.seen[:, 2] < high
        seen = np.where(self.seen[there, :2] < 0, -1.0, np.clip(self.seen[there, :2], low, high))
        return self.owners[there].tobytes() + self.archs[there].tobytes() + seen.tobytes()
