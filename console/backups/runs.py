"""Backups that were tried: made by the clock or by hand, recorded with how they ended."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select

from console.backups.making import Made, due, make
from console.backups.places import BackupPlace
from console.settings import Settings
from console.tables import BackupRun
from metering.workbench import Progress, silent
from quota.actors import Actor, steward
from quota.db import Book, Tx
from quota.errors import NoRoom, Refused

LATE = 2
"""After so many of its periods without a good one a backup is overdue."""


def carry_out(settings: Settings, book: Book, address: str, who: Actor, progress: Progress = silent) -> Made:
    """Make a backup at ``address`` and record how it ended. Raises what ``make`` does, recorded as well."""
    place, began = BackupPlace(address), book.clock()
    try:
        made = make(settings, book, place, progress)
    except Exception as error:
        if not isinstance(error, NoRoom):  # then there is no room for a row, either
            said = str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}"
            _record(book, who, BackupRun(place=place.shown, began_at=began, error=said))
        raise
    row = BackupRun(
        place=place.shown,
        began_at=began,
        point=made.point.name,
        files=made.point.count,
        size=made.point.size,
        stored=made.stored,
        gone=len(made.gone),
        sealed=made.point.sealed,
    )
    _record(book, who, row)
    return made


def _record(book: Book, who: Actor, row: BackupRun) -> None:
    with book.transaction(who) as tx:
        row.by, row.ended_at = who.login, tx.now
        tx.add(row)
        tx.flush()
        after = {"place": row.place, "point": row.point, "files": row.files, "size": row.size, "error": row.error[:500]}
        tx.audit("house.backup", f"backup:{row.id}", after=after)


def by_the_clock(settings: Settings, book: Book) -> Made | None:
    """What the job does: a backup at the place of the settings, where one is due; None where none is."""
    shown = BackupPlace(settings.backup_place).shown
    with book.reading() as tx:
        before = last_good(tx, shown)
    if not due(before.began_at if before else None, book.clock(), timedelta(hours=settings.backup_hours)):
        return None
    return carry_out(settings, book, settings.backup_place, steward("job:backup"))


def last_good(tx: Tx, place: str = "") -> BackupRun | None:
    """The newest backup that was made (at ``place``, where one is named)."""
    query = select(BackupRun).where(BackupRun.point != "")
    if place:
        query = query.where(BackupRun.place == place)
    return tx.scalar(query.order_by(BackupRun.id.desc()).limit(1))


def last(tx: Tx) -> BackupRun | None:
    """The newest backup that was tried."""
    return tx.scalar(select(BackupRun).order_by(BackupRun.id.desc()).limit(1))


def overdue(settings: Settings, good: BackupRun | None, now: datetime) -> bool:
    """Whether there should be a newer backup than there is."""
    if not settings.backup_place:
        return good is None
    return good is None or now - good.began_at > LATE * timedelta(hours=settings.backup_hours)
