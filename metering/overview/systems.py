"""Systems and departments judged from their machines, and zombie systems from what the system ledger knows.

A system's use is that of its machines together, each weighing what it has; machines that nothing is known of weigh in
the coverage, not in the use. A suspected zombie is a suspicion: the owner's word decides, nothing here acts on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, false, func, or_, select

from metering.judging import Assessment, Finding, JudgedWhole, SystemUse, WholeLevels, wholes
from quota.directory import Department, System
from quota.errors import N_

if TYPE_CHECKING:
    from quota.db import Tx

ZOMBIES = {"asleep": N_("%(days)s天无业务登录"), "deserted": N_("月活不足注册用户的%(share)s%%")}
"""Why a system is suspected to be a zombie, by what the policy says of it."""


def judge(rows: Iterable[Finding]) -> wholes.WholeSums:
    """A group of machines from their findings of one run."""
    found = wholes.WholeSums()
    for one in rows:
        found.add(one)
    return found


def zombie(system: System, on: date, levels: WholeLevels) -> str:
    """Why ``system`` is suspected: "asleep", "deserted", or "" (also where the ledger says nothing)."""
    if system.online_on is not None and (on - system.online_on).days < levels.asleep_days:
        return ""
    if system.last_business_login_on is not None and (on - system.last_business_login_on).days >= levels.asleep_days:
        return "asleep"
    if system.registered_users and system.monthly_active_users is not None:
        return "deserted" if system.monthly_active_users < levels.least_active * system.registered_users else ""
    return ""


def suspected(on: date, levels: WholeLevels) -> ColumnElement[bool]:
    """The systems of which ``zombie`` says why."""
    last = on - timedelta(days=levels.asleep_days)
    asleep = func.coalesce(System.last_business_login_on <= last, false())
    few = System.monthly_active_users < levels.least_active * System.registered_users
    deserted = func.coalesce(and_(System.registered_users > 0, few), false())
    return and_(or_(System.online_on.is_(None), System.online_on <= last), or_(asleep, deserted))


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
