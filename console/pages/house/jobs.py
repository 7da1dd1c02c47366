"""The steward's own work: when each job ran, how it ended, and what waits to be run."""

from __future__ import annotations

import shutil
from datetime import timedelta

from flask import Blueprint, render_template
from sqlalchemy import select
from werkzeug.wrappers import Response

from console import frame
from console.access import allow
from console.book import reading, settings
from console.jobs import LANES, PLAN, last_success, standings, worded
from console.lists import Column, Filter, listing
from console.programs import listed
from console.tables import JobRun, RunState
from console.words import _
from quota.actors import Actor, Role
from quota.db import Tx
from quota.errors import N_

blueprint = Blueprint("jobs", __name__, url_prefix="/settings/jobs")
frame.page("settings", "jobs.index", N_("任务"), order=40)

MINUTE = timedelta(minutes=1)
LABELS = {one.name: one.label for one in PLAN}
STATES = {
    RunState.RUNNING.value: N_("运行中"),
    RunState.DONE.value: N_("已完成"),
    RunState.FAILED.value: N_("失败"),
    RunState.LOST.value: N_("中断"),
}
COLUMNS = [
    Column("job", N_("任务"), lambda r: _(LABELS.get(r.job, r.job)), sort=JobRun.job, title=True),
    Column("state", N_("状态"), lambda r: f"job_{r.state}", sort=JobRun.state, state=True),
    Column("started", N_("开始"), lambda r: r.started_at, sort=JobRun.started_at),
    Column("seconds", N_("用时"), lambda r: r.seconds, unit=N_("秒"), number=True),
    Column("attempts", N_("尝试次数"), lambda r: r.attempts, number=True, minor=True),
    Column("outcome", N_("结果"), lambda r: outcome(r)),
]
FILTERS = [
    Filter("job", N_("任务"), lambda q, v: q.where(JobRun.job == v), options=LABELS),
    Filter("state", N_("状态"), lambda q, v: q.where(JobRun.state == v), options=STATES),
]


LITTLE_ROOM = 4 << 20
"""Bytes left on the data directory's disk with which nothing can be recorded."""


def outcome(run: JobRun) -> str:
    """What a run did, in the reader's words; of one that an earlier release ran, as it said it then."""
    if run.said or (run.state == RunState.DONE and not run.outcome):
        return worded(run.said)
    return run.outcome


@blueprint.get("/")
@allow(Role.SYSADMIN, Role.SUPERVISOR, Role.AUDITOR, Role.AUDADMIN)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx = reading()
    found = listing(tx, select(JobRun), COLUMNS, key=JobRun.id, filters=FILTERS, sort="-started")
    if (export := found.exported("jobs")) is not None:
        return export
    stand = standings(tx, PLAN, settings().zone)
    stand.sort(key=lambda one: (not one.failed, -(one.lag // MINUTE), list(LANES).index(one.plan.lane)))
    room = shutil.disk_usage(settings().data).free
    return render_template(
        "jobs/index.html",
        runs=found,
        stand=stand,
        good=last_success(tx),
        lanes=LANES,
        minute=MINUTE,
        full=room < LITTLE_ROOM,
    )


@frame.home_block(Role.SYSADMIN, order=20)
def failed(tx: Tx, _who: Actor) -> str | None:
    """Runs of the past day that failed; nothing where there is none."""
    bad = (RunState.FAILED.value, RunState.LOST.value)
    query = select(JobRun).where(JobRun.state.in_(bad), JobRun.started_at >= tx.now - timedelta(days=1))
    rows = tx.scalars(query.order_by(JobRun.started_at.desc()).limit(8)).all()
    return render_template("jobs/_home.html", rows=rows, labels=LABELS, outcome=outcome) if rows else None
