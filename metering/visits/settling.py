"""What the days of each system come to: when somebody logged in last, since when that is known, how many came, and who says so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import and_, case, delete, func, select

from metering.visits.tables import MeasuredVisits, SystemVisits, VisitKind, VisitSeries
from quota.actors import Role
from quota.calendar import ZONE
from quota.db import among

if TYPE_CHECKING:
    from quota.db import Tx

DAYS_KEPT = 400
RETIRED_DAYS = 30
"""A series that was not heard for so long is no more."""
SETTLED_DAYS = 7
"""A series that was heard for so long and falls silent leaves its days unknown until it is heard again, or retired."""
COVERED = 0.9
MONTH_DAYS = 30
USERS_DAYS = 7
DAY_S = 86_400

OUTAGE_DAYS = 10
"""Of the newest so many days nine tenths must be known before anything is known of those before."""

Whose = tuple[int, int, str]
"""System, source and kind of what is told."""


@dataclass(slots=True)
class VisitSums:
    """What one source told of one kind of a system: the ``first`` day and the ``last`` with anybody; of the newest days how many were told,
    how many came and of how many seconds it is known; ``part``: the seconds that are known of a day, where it is not all of it."""

    first: date
    last: date | None
    days: int
    count: int
    known_s: int
    part: dict[date, int] = field(default_factory=dict)


def settle(tx: Tx, today: date) -> int:
    """Make anew what is measured of each system by the days before ``today``; how many systems. Days and series that nobody asks for any
    more go. A job's work. Days are summed where they lie, and those read of which not all is known."""
    tx.actor.must_be(Role.SYSTEM)
    tx.execute(delete(SystemVisits).where(SystemVisits.day < today - timedelta(days=DAYS_KEPT)))
    retired = datetime.combine(today - timedelta(days=RETIRED_DAYS), time(), ZONE).astimezone(UTC)
    tx.execute(delete(VisitSeries).where(VisitSeries.last_at < retired))
    silent, users = _silent(tx, today), _users(tx, today)
    told: dict[int, dict[tuple[int, str], VisitSums]] = defaultdict(dict)
    for (system_id, source_id, kind), sums in _sums(tx, today).items():
        told[system_id][source_id, kind] = sums
    tx.execute(delete(MeasuredVisits))
    for system_id, of in sorted(told.items()):
        unheard = {key: silent.get((system_id, *key), set()) for key in of}
        tx.add(_measured(system_id, of, unheard, users.get(system_id), today))
    tx.flush()
    return len(told)


def _silent(tx: Tx, today: date) -> dict[Whose, set[date]]:
    """The days of which nothing is known, as a series that was heard for long fell silent."""
    found: dict[Whose, set[date]] = defaultdict(set)
    for one in tx.scalars(select(VisitSeries)):
        if one.last_at - one.first_at >= timedelta(days=SETTLED_DAYS):
            day = one.last_at.astimezone(ZONE).date() + timedelta(days=1)
            while day < today:
                found[one.system_id, one.source_id, one.kind].add(day)
                day += timedelta(days=1)
    return found


def _users(tx: Tx, today: date) -> dict[int, tuple[date, int, int]]:
    """System → when it was told last, within the week, how many users it has; how many; and by which source, the one that counts most."""
    recent = (SystemVisits.kind == VisitKind.USERS.value, SystemVisits.day >= today - timedelta(days=USERS_DAYS),
              SystemVisits.day < today)  # fmt: skip
    newest = select(SystemVisits.system_id, func.max(SystemVisits.day).label("day")).where(*recent)
    last = newest.group_by(SystemVisits.system_id).subquery()
    query = (
        select(SystemVisits.system_id, SystemVisits.day, SystemVisits.count, SystemVisits.source_id)
        .join(last, and_(last.c.system_id == SystemVisits.system_id, last.c.day == SystemVisits.day))
        .where(SystemVisits.kind == VisitKind.USERS.value)
        .order_by(SystemVisits.count, SystemVisits.source_id)
    )
    return {system_id: (day, count, source_id) for system_id, day, count, source_id in tx.execute(query)}


def _sums(tx: Tx, today: date) -> dict[Whose, VisitSums]:
    """Of all that was told before ``today``: of logins as long as it is kept, of the rest the newest days."""
    whose = (SystemVisits.system_id, SystemVisits.source_id, SystemVisits.kind)
    logins, recent = SystemVisits.kind == VisitKind.LOGINS.value, SystemVisits.day >= today - timedelta(days=MONTH_DAYS)
    told = SystemVisits.day < today
    query = (
        select(
            *whose, func.min(SystemVisits.day), func.max(case((SystemVisits.count > 0, SystemVisits.day))), func.count(),
            func.count(case((recent, 1))), func.sum(case((recent, SystemVisits.count), else_=0)),
            func.sum(case((recent, SystemVisits.known_s), else_=0)),
        )
        .where(told, logins | recent)
        .group_by(*whose)
    )  # fmt: skip
    found: dict[Whose, VisitSums] = {}
    lacking: dict[Whose, set[date]] = {}
    for system_id, source_id, kind, first, last, there, days, count, known_s in tx.execute(query):
        key = (system_id, source_id, kind)
        found[key] = VisitSums(first, last, days, int(count), int(known_s))
        if kind == VisitKind.LOGINS and there < (whole := (today - first).days):
            lacking[key] = {first + timedelta(days=n) for n in range(whole)}
    days_of = select(*whose, SystemVisits.day).where(
        told, logins, among(SystemVisits.system_id, {one[0] for one in lacking})
    )
    for system_id, source_id, kind, day in tx.execute(days_of) if lacking else ():
        lacking.get((system_id, source_id, kind), set()).discard(day)
    for one, missing in lacking.items():
        found[one].part.update(dict.fromkeys(missing, 0))
    part = select(*whose, SystemVisits.day, SystemVisits.known_s).where(told, logins, SystemVisits.known_s < DAY_S)
    for system_id, source_id, kind, day, known_s in tx.execute(part):
        found[system_id, source_id, kind].part[day] = known_s
    return found


def _measured(
    system_id: int,
    of: Mapping[tuple[int, str], VisitSums],
    silent: Mapping[tuple[int, str], set[date]],
    users: tuple[date, int, int] | None,
    today: date,
) -> MeasuredVisits:
    logins, visits = (
        {source: sums for (source, kind), sums in of.items() if kind == wanted}
        for wanted in (VisitKind.LOGINS, VisitKind.VISITS)
    )
    since = [
        known_since(one.first, one.part, silent[source, VisitKind.LOGINS], today) for source, one in logins.items()
    ]
    logins_by, visits_by = _best(logins), _best(visits)
    return MeasuredVisits(
        system_id=system_id,
        last_login_on=max((one.last for one in logins.values() if one.last), default=None),
        known_since=min((one for one in since if one is not None), default=None),
        logins=None if logins_by is None else logins[logins_by].count,
        logins_by=logins_by,
        visits=None if visits_by is None else visits[visits_by].count,
        visits_by=visits_by,
        active_users=users[1] if users else None,
        users_on=users[0] if users else None,
        users_by=users[2] if users else None,
    )


def known_since(first: date, part: Mapping[date, int], silent: Collection[date], today: date) -> date | None:
    """The earliest day, of those from ``first`` on, from which on, as from every later one but the newest few, nine tenths of the time up to
    today are known. ``part``: the seconds that are known of a day, where it is not all of it."""
    if not part and not silent:
        return first if first < today else None
    found, known = None, 0.0
    for count in range(1, (today - first).days + 1):
        day = today - timedelta(days=count)
        known += 0.0 if day in silent else min(part.get(day, DAY_S), DAY_S) / DAY_S
        if known >= COVERED * count:
            found = day
        elif count >= OUTAGE_DAYS:
            break
    return found


def _best(every: Mapping[int, VisitSums]) -> int | None:
    """Of the sources that told of the newest days, the one that knows most of them, and of these the one that counted most: two that
    count the same are never added."""
    told = [source for source, one in every.items() if one.days]
    return max(told, key=lambda source: (every[source].known_s, every[source].count, -source), default=None)
