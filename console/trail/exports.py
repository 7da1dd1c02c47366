"""What is handed on, to where, and how far each place has come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import select

from console.settings import Settings
from console.tables import AuditExport
from console.trail.files import Folder
from console.trail.records import ExportedRecord, TrailGap
from console.trail.syslog import LogServer
from quota import audit
from quota.actors import steward
from quota.db import Book, Tx
from quota.seals import GENESIS

BATCH = 500
"""Records that are handed on at once."""
SAID = 500
"""Characters that are kept of what a place answered."""


@dataclass(frozen=True, slots=True)
class TrailPlace:
    """A place of the settings: ``name`` is under which it has its position."""

    name: str
    kind: str  # file, syslog
    deliver: Callable[[Sequence[ExportedRecord], date], None]
    reached: Callable[[], tuple[int, str] | None]
    """What the place itself says that it has, where it can say so."""


@dataclass(frozen=True, slots=True)
class Handed:
    """What came of one place: records handed on, gaps found, and why it stopped."""

    place: str
    records: int
    gaps: Sequence[TrailGap]
    error: str


def places(settings: Settings) -> list[TrailPlace]:
    """Where the settings have the trail handed on."""
    folder = Folder(settings.trail_folder)
    found = [TrailPlace("file", "file", folder.write, folder.last)]
    if settings.audit_syslog:
        server = LogServer(
            *settings.syslog_place, settings.audit_syslog_ca, settings.audit_syslog_cert, settings.audit_syslog_key
        )
        found.append(
            TrailPlace(
                f"syslog:{server.host}:{server.port}"[:128],
                "syslog",
                lambda records, _day: server.send(records),
                _unasked,
            )
        )
    return found


def _unasked() -> None:
    return None


def carry_out(settings: Settings, book: Book) -> list[Handed]:
    """Hand on to each place what it has not got yet; old files go. A place that fails keeps no other from being served."""
    done = [_serve(settings, book, place) for place in places(settings)]
    today = book.clock().astimezone(settings.zone).date()
    Folder(settings.trail_folder).retain(today, settings.audit_keep_days)
    return done


def _serve(settings: Settings, book: Book, place: TrailPlace) -> Handed:
    who, handed, gaps = steward("job:trail"), 0, list[TrailGap]()
    try:
        with book.transaction(who) as tx:
            at = _position(tx, place, gaps)
            if gaps:
                _tell(tx, place, gaps)
        while True:
            with book.reading(who) as tx:
                records = _following(tx, *at)
            if not records:
                break
            found = list(_gaps(at[0], records))
            place.deliver(records, book.clock().astimezone(settings.zone).date())
            at, handed, gaps = (records[-1].sequence, records[-1].digest), handed + len(records), [*gaps, *found]
            with book.transaction(who) as tx:
                _moved(tx, place, at)
                _tell(tx, place, found)
        with book.transaction(who) as tx:
            _moved(tx, place, at)
    except (OSError, ValueError) as trouble:
        error = f"{type(trouble).__name__}: {trouble}"[:SAID]
        with book.transaction(who) as tx:
            row = _row(tx, place)
            row.tried_at, row.error = tx.now, error
        return Handed(place.name, handed, gaps, error)
    return Handed(place.name, handed, gaps, "")


def _row(tx: Tx, place: TrailPlace) -> AuditExport:
    row = tx.scalar(select(AuditExport).where(AuditExport.place == place.name).with_for_update())
    if row is None:
        row = AuditExport(
            place=place.name, kind=place.kind, sequence=0, digest=GENESIS, tried_at=tx.now, error="", gaps=0
        )  # fmt: skip
        tx.add(row)
        tx.flush()
    return row


def _position(tx: Tx, place: TrailPlace, gaps: list[TrailGap]) -> tuple[int, str]:
    """From where to go on. The place's own word counts where it has one: what it lost is handed on again, what it has beyond
    the position was handed on before a crash. A trail that no longer has what was handed on is a gap, told once."""
    row = _row(tx, place)
    at = (row.sequence, row.digest)
    reached = place.reached()
    if place.kind == "file" and reached is None and row.sequence:
        gaps.append(TrailGap(0, row.sequence, "lost"))  # the files are gone: all is handed on again
        at = (0, GENESIS)
    elif reached is not None and reached[0] != row.sequence:
        beyond = tx.get(audit.AuditRecord, reached[0])
        if reached[0] < row.sequence:
            gaps.append(TrailGap(reached[0], row.sequence, "lost"))
            at = reached
        elif beyond is not None and beyond.digest == reached[1]:
            at = reached
    kept = tx.get(audit.AuditRecord, at[0])
    newest, _digest = audit.head(tx)
    if at[0] and (kept is None or kept.digest != at[1]):
        why = "cut" if newest < at[0] else "altered"
        if (row.gap_at, row.gap_why) != (at[0], why):
            gaps.append(TrailGap(at[0], newest, why))
        if newest < at[0]:  # what comes next is the trail's new end: nothing of it is left out
            at = (newest, kept.digest if kept else _digest)
    row.sequence, row.digest = at
    return at


def _following(tx: Tx, sequence: int, digest: str) -> list[ExportedRecord]:
    found = []
    rows = select(audit.AuditRecord).where(audit.AuditRecord.sequence > sequence).order_by(audit.AuditRecord.sequence)
    for one in tx.scalars(rows.limit(BATCH)):
        found.append(ExportedRecord(one.sequence, one.at, one.action, one.content(), digest, one.digest))
        digest = one.digest
    return found


def _gaps(sequence: int, records: Sequence[ExportedRecord]) -> Iterator[TrailGap]:
    for one in records:
        if one.sequence != sequence + 1:
            yield TrailGap(sequence, one.sequence, "missing")
        elif not one.fits:
            yield TrailGap(sequence, one.sequence, "altered")
        sequence = one.sequence


def _moved(tx: Tx, place: TrailPlace, at: tuple[int, str]) -> None:
    row = _row(tx, place)
    row.sequence, row.digest = at
    row.handed_at = row.tried_at = tx.now
    row.error = ""


def _tell(tx: Tx, place: TrailPlace, gaps: Sequence[TrailGap]) -> None:
    """Keep the newest gap with the place, and each in the trail itself."""
    if not gaps:
        return
    row = _row(tx, place)
    row.gaps += len(gaps)
    row.gap_at, row.gap_why, row.gap_found_at = gaps[-1].after, gaps[-1].why, tx.now
    for one in gaps[:20]:
        tx.audit("trail.gap", f"audit:{one.after}", after={"place": place.name, "found": one.found, "why": one.why})


@dataclass(frozen=True, slots=True)
class ExportStanding:
    """A place for its readers. ``behind``: records that it has not got; ``since``: when the oldest of them was made."""

    row: AuditExport
    behind: int
    since: datetime | None


def standings(tx: Tx) -> list[ExportStanding]:
    """Every place that was ever served."""
    newest, _digest = audit.head(tx)
    found = []
    for row in tx.scalars(select(AuditExport).order_by(AuditExport.place)):
        oldest = select(audit.AuditRecord.at).where(audit.AuditRecord.sequence > row.sequence)
        since = tx.scalar(oldest.order_by(audit.AuditRecord.sequence).limit(1))
        found.append(ExportStanding(row, max(0, newest - row.sequence), since))
    return found
