"""What has new evidence since the clock last scored: cards of which nothing was written stay as they are.

A look is kept of each period and type of subject: up to which sealing the book was read, which tables the cards were gathered from,
as the database was asked, and whose cards were scored. What a later sealing covers of these tables is new. Of what has an owner only
the owner's cards are looked at anew, with those of the departments above; anything else may concern everybody.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, Select, Table, cast, event, func, or_, select

from console.tables import ScoringLook
from metering.intake import Feed, FeedReading, Vantage
from metering.judging import Assessment
from metering.visits import SystemVisits, VisitKind
from metering.workbench import Workbench
from providers.assessment import SubjectType, periods, registry
from providers.billing import Incident
from quota import sealing
from quota.base import Base
from quota.db import Book, batches
from quota.directory import Department
from quota.inventory import Resource
from quota.seals import fingerprint

if TYPE_CHECKING:
    from quota.db import Tx

MANY = 5000
"""Where more rows of a table were written, everybody's cards are looked at."""

ALWAYS = frozenset({"calendar_days", "resource_classes"})
"""What is read once for many cards."""

WITNESSED = {
    "entries": "accounts",
    "findings": "assessments",
    "statement_lines": "statement_runs",
    "bill_lines": "bills",
}
"""Table whose rows are under another row's seal → the table of that row, which is written with them."""

OWN = frozenset({"scorecards", "scorecard_marks", "scorecard_evidence"})
"""What scoring writes itself."""

TOLD_BESIDE = frozenset(
    {"audit_records", "audit_head", "row_seals", "seal_head", "seal_layouts", "sealings", "scoring_looks"}
)
"""Nothing is read of these but what became of rows that are written in the same transaction."""

STAMPED = frozenset({"feed_readings", "system_visits"})
"""Tables under no seal of which ``_stamp`` says as much as cards rest on."""

DIRECT = frozenset(
    {"assessment_records", "dated_entries", "inquiries", "notices", "rectifications", "resources", "systems"}
)
"""Tables whose rows name their department or system."""

THROUGH = {
    "case_replies": "case_id",
    "cases": "notice_id",
    "dated_terms": "entry_id",
    "exemptions": "resource_id",
    "inquiry_items": "inquiry_id",
    "resource_changes": "resource_id",
}
"""Table → the column that names the row whose owner its rows have."""

OWNERS = {SubjectType.DEPARTMENT: "department_id", SubjectType.SYSTEM: "system_id"}
_WORD = re.compile(r"\w+")


@contextmanager
def asked_of(book: Book) -> Iterator[set[str]]:
    """The tables that this thread's queries name meanwhile."""
    named: set[str] = set()
    mine = threading.get_ident()

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if threading.get_ident() == mine:
            named.update(_tables(statement))

    event.listen(book.engine, "before_cursor_execute", note)
    try:
        yield named
    finally:
        event.remove(book.engine, "before_cursor_execute", note)


@lru_cache(maxsize=1000)
def _tables(statement: str) -> frozenset[str]:
    return frozenset(set(_WORD.findall(statement)) & Base.metadata.tables.keys())


def watched(named: Collection[str]) -> list[str]:
    """The tables by which it is seen that something changed in those that were ``named``."""
    return sorted(({WITNESSED.get(one, one) for one in named} | ALWAYS) - OWN - TOLD_BESIDE)


def unwatched(places: Collection[str]) -> set[str]:
    """Those of ``places`` of which no seal tells, nor anything else, that they changed."""
    return {one for one in places if not sealing.sealed(Base.metadata.tables[one])} - STAMPED


def kept(tx: Tx, periods_: Collection[str]) -> dict[tuple[SubjectType, str], ScoringLook]:
    """The looks of these periods, by type of subject."""
    found = tx.scalars(select(ScoringLook).where(ScoringLook.month.in_(periods_)))
    return {(SubjectType(one.subject_type), one.month): one for one in found}


def concerned(tx: Tx, look: ScoringLook, stamp: str, ids: Collection[int]) -> set[int]:
    """Those of ``ids`` of whom there may be new evidence since ``look``; ``stamp``: of now."""
    new = set(ids) - set(look.subjects)
    if look.stamp != stamp or unwatched(look.places):
        return set(ids)
    written = _written(tx, look)
    if written is None:
        return set(ids)
    kind = SubjectType(look.subject_type)
    for place, keys in written.items():
        if place in ("assessments", "finding_archives"):  # either is known by the number of an assessment
            if _of_period(tx, look.month, keys):
                return set(ids)
            continue
        owners = _owners(tx, look.sealing, kind, place, keys)
        if owners is None:
            return set(ids)
        new |= owners & set(ids)
    return new


def _written(tx: Tx, look: ScoringLook) -> dict[str, list[str]] | None:
    """Table → keys of the rows that were sealed since ``look``; None where they are too many."""
    seal, found = sealing.RowSeal, dict[str, list[str]]()
    query = (
        select(seal.place, seal.key)
        .where(seal.sealing > look.sealing, seal.place.in_(look.places))
        .distinct()
        .limit(MANY + 1)
    )
    for count, (place, key) in enumerate(tx.execute(query), 1):
        if count > MANY:
            return None
        found.setdefault(place, []).append(key)
    return found


def _of_period(tx: Tx, period: str, keys: Sequence[str]) -> bool:
    """Whether one of these assessments is of a day of the period; it is by those that cards are told."""
    first, last = periods.first_day(period), periods.last_day(period, tx.now)
    days = tx.scalars(select(Assessment.last_day).where(Assessment.id.in_(map(int, keys)))).all()
    return len(days) < len(keys) or any(first <= day <= last for day in days)


def _owners(tx: Tx, since: int, kind: SubjectType, place: str, keys: Sequence[str]) -> set[int] | None:
    """Whose the rows of ``place`` with these keys are, of one type of subject; None where they may be anybody's, or were another's."""
    if kind not in OWNERS or place not in DIRECT | THROUGH.keys() or _moved(tx, since, place, keys):
        return None
    table = Base.metadata.tables[place]
    found: set[int] = set()
    for part in batches(map(int, keys)):
        told = tx.execute(_named(table, kind).where(table.c.id.in_(part))).all()
        if len(told) < len(part) and not _linkless(table):  # what it hung on is gone
            return None
        found |= {owner for _id, owner in told if owner is not None}
        if place == "systems" and kind is SubjectType.DEPARTMENT:  # of what belongs to it, whosever that is
            had = select(Resource.department_id).where(
                Resource.system_id.in_(part), Resource.department_id.is_not(None)
            )
            found |= set(tx.scalars(had.distinct()))
    return _with_those_above(tx, found) if kind is SubjectType.DEPARTMENT and found else found


def _linkless(table: Table) -> bool:
    """Whether rows of ``table`` may hang on nothing, and are nobody's then."""
    return table.name in THROUGH and bool(table.c[THROUGH[table.name]].nullable)


def _named(table: Table, kind: SubjectType) -> Select[Any]:
    """Rows of ``table`` (their number first) with their owner of one type."""
    joined, at = table, table
    while at.name in THROUGH:
        column = at.c[THROUGH[at.name]]
        (key,) = column.foreign_keys
        joined, at = joined.join(key.column.table, column == key.column), key.column.table  # type: ignore[assignment]
    if at.name == "systems" and kind is SubjectType.SYSTEM:
        owner: Any = at.c.id
    else:
        owner = at.c[OWNERS[kind]] if OWNERS[kind] in at.c else cast(None, Integer)
    return select(table.c.id, owner).select_from(joined)


def _moved(tx: Tx, since: int, place: str, keys: Sequence[str]) -> bool:
    """Whether a row went from one owner to another, or went altogether: by the marks that seals keep of each column."""
    seal = sealing.RowSeal
    decisive = [THROUGH[place]] if place in THROUGH else [*OWNERS.values()]
    layouts = {
        one.id: one.columns.split()
        for one in tx.scalars(select(sealing.SealLayout).where(sealing.SealLayout.place == place))
    }
    for part in batches(keys, 500):
        before = func.max(seal.sealing).filter(seal.sealing <= since).label("before")
        ends = (
            select(seal.key, before, func.max(seal.sealing).label("now"))
            .where(seal.place == place, seal.key.in_(part))
            .group_by(seal.key)
            .subquery()
        )
        rows = tx.execute(
            select(seal.key, seal.layout, seal.digest, seal.hints)
            .join(ends, (ends.c.key == seal.key) & or_(seal.sealing == ends.c.before, seal.sealing == ends.c.now))
            .where(seal.place == place)
            .order_by(seal.sealing)
        )
        stood: dict[str, list[str]] = {}
        for key, layout, digest, hints in rows:
            if not digest:
                return True
            marks = [
                hints[4 * at : 4 * at + 4]
                for name in decisive
                if name in layouts[layout]
                for at in (layouts[layout].index(name),)
            ]
            if stood.setdefault(key, marks) != marks:
                return True
    return False


def _with_those_above(tx: Tx, departments: Collection[int]) -> set[int]:
    above: dict[int, int | None] = dict(tx.execute(select(Department.id, Department.parent_id)).all())
    found: set[int] = set()
    for one in departments:
        at: int | None = one
        while at is not None and at not in found:
            found.add(at)
            at = above.get(at)
    return found


# --------------------------------------------------------------------------------------------------------------- stamps


def stamp(workbench: Workbench, tx: Tx, kind: SubjectType, period: str) -> str:
    """What else cards of one type rest on, as it is now: by what they are gathered, and what lies outside the book or under no seal."""
    known = [(one.code, one.edition) for one in registry.indicators(kind)]
    beside = _BESIDE[kind](workbench, tx, period) if kind in _BESIDE else {}
    return fingerprint({"version": version("guanjia"), "indicators": known, **beside})


def _of_companies(workbench: Workbench, tx: Tx, period: str) -> Mapping[str, Any]:
    start, end = periods.bounds(period)
    seen = tx.execute(
        select(func.count(), func.sum(FeedReading.resource_id))
        .join(Feed, Feed.id == FeedReading.feed_id)
        .where(Feed.vantage == Vantage.GUEST.value, FeedReading.since < end, FeedReading.at >= start)
    ).one()
    unfinished = tx.scalar(
        select(Incident.id)
        .where(
            Incident.started_at < end,
            Incident.started_at >= start,
            or_(Incident.responded_at.is_(None), Incident.recovered_at.is_(None)),
        )
        .limit(1)
    )
    return {
        "lake": _files(workbench, period),
        "seen": [int(one or 0) for one in seen],
        "until": tx.now.isoformat() if unfinished is not None else "",  # its limits pass with time
    }


def _files(workbench: Workbench, period: str) -> list[Any]:
    """The lake's first day, and what its files of the period's days are known by."""
    lake, found = workbench.lake, list[Any]()
    first = next(iter(lake.days()), None)
    day, last = periods.first_day(period), periods.bounds(period)[1].date()
    while day <= last:
        for kind in ("daily", "hours"):
            try:
                about = lake.path(kind, day).stat()
            except FileNotFoundError:
                continue
            found.append([kind, day.isoformat(), about.st_mtime_ns, about.st_size, about.st_ino])
        day += timedelta(days=1)
    return [first and first.isoformat(), found]


def _of_systems(_workbench: Workbench, tx: Tx, period: str) -> Mapping[str, Any]:
    last = periods.last_day(period, tx.now)
    one = SystemVisits
    told = tx.execute(
        select(func.count(), func.sum(one.count), func.sum(one.count * one.system_id), func.max(one.day)).where(
            one.kind == VisitKind.USERS.value, one.day <= last, one.day > last - timedelta(days=7)
        )
    ).one()
    return {"users": [None if figure is None else str(figure) for figure in told]}


_BESIDE: Mapping[SubjectType, Callable[[Workbench, Any, str], Mapping[str, Any]]] = {
    SubjectType.COMPANY: _of_companies,
    SubjectType.SYSTEM: _of_systems,
}


def keep(
    tx: Tx, kind: SubjectType, period: str, seen: int, stamp: str, places: Collection[str], done: Collection[int]
) -> None:
    """Note what was looked at: the book up to sealing ``seen``, for these subjects."""
    look = tx.get(ScoringLook, (kind.value, period))
    if look is None:
        tx.add(look := ScoringLook(subject_type=kind.value, month=period))
    look.sealing, look.stamp, look.looked_at = seen, stamp, tx.now
    look.places, look.subjects = sorted(places), sorted(done)
