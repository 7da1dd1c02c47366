"""Whether book and lake are of one moment. One backup has both; where each was restored by other means, an older book lies
beside a newer lake, or the reverse: that is told, and mended as far as it can be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from sqlalchemy import func, select

from metering.intake import Feed, Intake
from metering.judging import Assessment
from metering.statements import closings
from metering.workbench import Workbench
from quota.actors import steward
from quota.db import Tx
from quota.directory import Pool
from quota.inspection import rows
from quota.inventory import Resource


@dataclass(frozen=True, slots=True)
class Apart:
    """strangers: files with samples of resources that the book does not have; sealed: months that the lake has settled and
    the book has not closed; missing: days that were judged by the book and that the lake does not have; until: up to when
    the lake has anything, where the book knows of later days."""

    strangers: tuple[Path, ...]
    sealed: tuple[str, ...]
    missing: tuple[date, ...]
    until: datetime | None

    def lines(self) -> Iterator[str]:
        """A sentence for each that does not fit."""
        for path in self.strangers:
            yield f"{path}: rows of resources that the book does not have (the lake is newer than the book)"
        for month in self.sealed:
            yield f"lake: {month} is sealed, not closed in the book (the lake is newer than the book)"
        if self.missing:
            days = f"{self.missing[0]} to {self.missing[-1]}"
            yield f"lake: {len(self.missing)} days that were judged are not there, {days} (the book is newer than the lake)"


def compare(workbench: Workbench) -> Apart:
    """Where book and lake are of different moments. Reads footers and lists alone."""
    lake = workbench.lake
    with workbench.book.reading() as tx:
        newest = tx.scalar(select(func.max(Resource.id))) or 0
        closed = {one.month for one in rows(tx, select(closings.MonthClosing), [])}
        judged = _judged(tx)
    there = sorted({*lake.days(), *lake.hot_days()})
    missing: tuple[date, ...] = ()
    until = None
    if judged is not None and (not there or judged[1] > there[-1]):
        first = max(judged[0], there[-1] + timedelta(days=1)) if there else judged[0]
        missing = tuple(first + timedelta(days=n) for n in range((judged[1] - first).days + 1))
        offset = timedelta(seconds=lake.utc_offset_s)
        until = datetime(first.year, first.month, first.day, tzinfo=UTC) - offset
    return Apart(tuple(lake.strangers(newest)), tuple(sorted(lake.sealed() - closed)), missing, until)


def _judged(tx: Tx) -> tuple[date, date] | None:
    """First and last day of the newest assessment; None where there is none, or none that can be read: a row that can't be
    is named by the check of its table."""
    query = select(Assessment).where(Assessment.id == select(func.max(Assessment.id)).scalar_subquery())
    return next(((one.first_day, one.last_day) for one in rows(tx, query, [])), None)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """aside: files of which rows were set aside; again: what is collected again (code of a pool or feed → since when)."""

    aside: tuple[Path, ...]
    again: dict[str, datetime]


def reconcile(workbench: Workbench) -> Reconciled:
    """Set aside what the book does not know, and have collected again what the lake does not have."""
    apart = compare(workbench)
    with workbench.book.reading() as tx:
        newest = tx.scalar(select(func.max(Resource.id))) or 0
    aside = workbench.lake.set_aside(newest) if apart.strangers else []
    again: dict[str, datetime] = {}
    if apart.until is not None:
        with workbench.book.transaction(steward("reconcile")) as tx:
            for intake, code in tx.execute(select(Intake, Pool.code).join(Pool, Pool.id == Intake.pool_id)):
                if intake.collected_until > apart.until:
                    intake.collected_until = again[code] = apart.until
            for feed in tx.scalars(select(Feed).where(Feed.collected_until > apart.until)):
                feed.collected_until = again[feed.code] = apart.until
            after = {"since": apart.until, "sources": sorted(again), "files": len(aside)}
            tx.audit("house.reconcile", "house:1", after=after)
    elif aside:
        with workbench.book.transaction(steward("reconcile")) as tx:
            tx.audit("house.reconcile", "house:1", after={"sources": [], "files": len(aside)})
    return Reconciled(tuple(aside), again)
