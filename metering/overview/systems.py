"""Systems and departments judged from their machines, and zombie systems from what the system ledger knows and sources measured.

A system's use is that of its machines together, each weighing what it has; machines that nothing is known of weigh in
the coverage, not in the use. A suspected zombie is a suspicion: the owner's word decides, nothing here acts on it. Of logins the
later of what was typed and what was measured counts; that nobody logged in since is measured only where logins are known all that time.
Of active users what was measured within a week counts, else what was typed; where the policy asks for calendar months, what was measured
in the last week of each: what was typed is of no month, and of a month that nobody measured nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, case, false, func, null, or_, select, true

from metering.judging import Assessment, Finding, JudgedWhole, SystemUse, WholeLevels, months, wholes
from metering.visits import MeasuredVisits, SystemVisits, VisitKind
from quota.directory import Department, System
from quota.errors import N_

if TYPE_CHECKING:
    from quota.db import Tx

WEEK = timedelta(days=6)
"""How far before a month's end what is told of its active users is told of the month."""
ZOMBIES = {"asleep": N_("%(days)s天无业务登录"), "deserted": N_("月活不足注册用户的%(share)s%%")}
"""Why a system is suspected to be a zombie, by what the policy says of it."""


def judge(rows: Iterable[Finding]) -> wholes.WholeSums:
    """A group of machines from their findings of one run."""
    found = wholes.WholeSums()
    for one in rows:
        found.add(one)
    return found


def zombie(
    system: System, measured: MeasuredVisits | None, on: date, levels: WholeLevels, monthly: int | None = None
) -> tuple[str, int | None]:
    """Why ``system`` is suspected: "asleep", "deserted", or "" (also where nobody says anything); and the source that measured it, None:
    by what was typed. ``monthly``: its ``most_users``."""
    seen = measured or MeasuredVisits(system_id=system.id)
    last_day = on - timedelta(days=levels.asleep_days)
    if system.online_on is not None and system.online_on > last_day:
        return "", None
    typed, told = system.last_business_login_on, seen.last_login_on
    quiet = seen.known_since is not None and seen.known_since <= last_day and (told is None or told <= last_day)
    stated = typed is not None and (told is None or told <= typed)  # else it is of another time
    if typed is None or typed <= last_day:
        if stated:
            return "asleep", None
        if quiet:
            return "asleep", seen.logins_by
    users, by = (system.monthly_active_users, None) if seen.active_users is None else (seen.active_users, seen.users_by)
    if levels.deserted_months:
        users, by = monthly, seen.users_by
    if system.registered_users and users is not None and users < levels.least_active * system.registered_users:
        return "deserted", by
    return "", None


def most_users(on: date, levels: WholeLevels) -> ColumnElement[Any]:
    """The most users of a System of the query around it that were active in any of the closed months that the policy asks for; None where
    one of them is not known, or none is asked for."""
    spans = [
        SystemVisits.day.between(end - WEEK, end)
        for _first, end in months.closed(on - timedelta(days=1), levels.deserted_months)
    ]
    if not spans:
        return null()
    which = case(*((span, number) for number, span in enumerate(spans)))
    told = (
        select(SystemVisits.system_id, func.max(SystemVisits.count).label("most"))
        .where(SystemVisits.kind == VisitKind.USERS.value, or_(*spans))
        .group_by(SystemVisits.system_id)
        .having(func.count(which.distinct()) == len(spans))
        .subquery()
    )
    return select(told.c.most).where(told.c.system_id == System.id).correlate(System).scalar_subquery()


def suspected(on: date, levels: WholeLevels) -> ColumnElement[bool]:
    """The systems of which ``zombie`` says why."""
    last_day = on - timedelta(days=levels.asleep_days)

    def seen(column: Any) -> Any:
        return select(column).where(MeasuredVisits.system_id == System.id).correlate(System).scalar_subquery()

    typed, told = System.last_business_login_on, seen(MeasuredVisits.last_login_on)
    quiet = and_(seen(MeasuredVisits.known_since) <= last_day, func.coalesce(told <= last_day, true()))
    stated = and_(typed.is_not(None), func.coalesce(told <= typed, true()))
    old = and_(func.coalesce(typed <= last_day, true()), or_(stated, func.coalesce(quiet, false())))
    users: ColumnElement[Any] = func.coalesce(seen(MeasuredVisits.active_users), System.monthly_active_users)
    if levels.deserted_months:
        users = most_users(on, levels)
    few = users < levels.least_active * System.registered_users
    deserted = func.coalesce(and_(System.registered_users > 0, few), false())
    return and_(or_(System.online_on.is_(None), System.online_on <= last_day), or_(old, deserted))


def of_run(run: Assessment | None, model: type[System | Department]) -> Any:
    """Every active system, or department with those under it, and what ``run`` says of it: rows of (it, JudgedWhole or None)."""
    one = JudgedWhole.system_id if model is System else JudgedWhole.department_id
    told = and_(one == model.id, JudgedWhole.assessment_id == (run.id if run else None))
    return select(model, JudgedWhole).outerjoin(JudgedWhole, told).where(model.active)


USE = func.coalesce(JudgedWhole.use, SystemUse.UNKNOWN.value)
"""How much it is used: of what has no machines that is unknown."""


def uses(tx: Tx, run: Assessment | None, model: type[System | Department]) -> dict[str, int]:
    """How many are how much used; every use is named."""
    query = of_run(run, model).with_only_columns(USE, func.count()).group_by(USE)
    return {**dict.fromkeys((one.value for one in SystemUse), 0), **dict(tx.execute(query).all())}
