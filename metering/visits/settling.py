"""What the days of each system come to: when somebody logged in last, since when that is known, how many came, and who says so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from metering.visits.tables import MeasuredVisits, SystemVisits, VisitKind, VisitSeries
from quota.actors import Role
from quota.calendar import ZONE

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

Told = Mapping[date, tuple[int, int]]
"""What one source told of one kind, by day: how many, and of how many seconds that is known."""


def settle(tx: Tx, today: date) -> int:
    """Make anew what is measured of each system by the days before ``today``; how many systems. Days and series that nobody asks for any
    more go. A job's work."""
    tx.actor.must_be(Role.SYSTEM)
    tx.execute(delete(SystemVisits).where(SystemVisits.day < today - timedelta(days=DAYS_KEPT)))
    retired = datetime.combine(today - timedelta(days=RETIRED_DAYS), time(), ZONE).astimezone(UTC)
    tx.execute(delete(VisitSeries).where(VisitSeries.last_at < retired))
    silent: dict[tuple[int, int, str], set[date]] = defaultdict(set)
    for one in tx.scalars(select(VisitSeries)):
        if one.last_at - one.first_at >= timedelta(days=SETTLED_DAYS):
            day = one.last_at.astimezone(ZONE).date() + timedelta(days=1)
            while day < today:
                silent[one.system_id, one.source_id, one.kind].add(day)
                day += timedelta(days=1)
    told: dict[int, dict[tuple[int, str], dict[date, tuple[int, int]]]] = defaultdict(lambda: defaultdict(dict))
    columns = (SystemVisits.system_id, SystemVisits.source_id, SystemVisits.kind, SystemVisits.day)
    recent = (SystemVisits.kind == VisitKind.LOGINS.value) | (SystemVisits.day >= today - timedelta(days=MONTH_DAYS))
    query = select(*columns, SystemVisits.count, SystemVisits.known_s).where(SystemVisits.day < today, recent)
    for system_id, source_id, kind, day, count, known_s in tx.execute(query):
        told[system_id][source_id, kind][day] = (count, known_s)
    tx.execute(delete(MeasuredVisits))
    for system_id, of in sorted(told.items()):
        unheard = {key: silent.get((system_id, *key), set()) for key in of}
        tx.add(_measured(system_id, of, unheard, today))
    tx.flush()
    return len(told)


def _measured(
    system_id: int, of: Mapping[tuple[int, str], Told], silent: Mapping[tuple[int, str], set[date]], today: date
) -> MeasuredVisits:
    logins = {source: told for (source, kind), told in of.items() if kind == VisitKind.LOGINS}
    visits = {source: told for (source, kind), told in of.items() if kind == VisitKind.VISITS}
    users = {source: told for (source, kind), told in of.items() if kind == VisitKind.USERS}
    since = [known_since(told, silent[source, VisitKind.LOGINS], today) for source, told in logins.items()]
    lasts = [day for told in logins.values() for day, one in told.items() if one[0]]
    newest = max(
        ((day, one[0], source) for source, told in users.items() for day, one in told.items()
         if day >= today - timedelta(days=USERS_DAYS)), default=None,
    )  # fmt: skip
    logins_by, visits_by = (_best(every, today) for every in (logins, visits))
    return MeasuredVisits(
        system_id=system_id,
        last_login_on=max(lasts, default=None),
        known_since=min((one for one in since if one is not None), default=None),
        logins=None if logins_by is None else _sum(logins[logins_by], today),
        logins_by=logins_by,
        visits=None if visits_by is None else _sum(visits[visits_by], today),
        visits_by=visits_by,
        active_users=newest[1] if newest else None,
        users_on=newest[0] if newest else None,
        users_by=newest[2] if newest else None,
    )


def known_since(told: Told, silent: Iterable[date], today: date) -> date | None:
    """The earliest day from which on, as from every later one but the newest few, nine tenths of the time up to today are known."""
    unheard, found, known = set(silent), None, 0.0
    first = min(told, default=today)
    for count in range(1, (today - first).days + 1):
        day = today - timedelta(days=count)
        one = told.get(day)
        known += 0.0 if one is None or day in unheard else min(one[1], DAY_S) / DAY_S
        if known >= COVERED * count:
            found = day
        elif count >= OUTAGE_DAYS:
            break
    return found


def _best(every: Mapping[int, Told], today: date) -> int | None:
    """Of the sources that told of the last thirty days, the one that knows most of them, and of these the one that counted most: two that
    count the same are never added."""

    def weight(source: int) -> tuple[int, int, int]:
        recent = _recent(every[source], today)
        return sum(known_s for _count, known_s in recent), sum(count for count, _known_s in recent), -source

    told = [source for source in every if _recent(every[source], today)]
    return max(told, key=weight, default=None)


def _sum(told: Told, today: date) -> int:
    return sum(count for count, _known_s in _recent(told, today))


def _recent(told: Told, today: date) -> Sequence[tuple[int, int]]:
    return [one for day, one in told.items() if day >= today - timedelta(days=MONTH_DAYS)]
