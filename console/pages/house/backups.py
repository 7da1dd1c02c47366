"""Backups: the last good one, how old it is, where the next goes, every one that was tried."""

from __future__ import annotations

from datetime import timedelta

from flask import Blueprint, render_template
from sqlalchemy import select
from werkzeug.wrappers import Response

from console import frame
from console.access import allow
from console.backups import runs
from console.book import reading, settings
from console.lists import Column, Filter, listing
from console.programs import listed
from console.tables import BackupRun
from console.words import who_exactly
from quota.actors import Actor, Role
from quota.db import Tx
from quota.errors import N_

blueprint = Blueprint("backups", __name__, url_prefix="/settings/backups")
frame.page("settings", "backups.index", N_("备份"), order=45)

MB = 1_000_000
HOUR = timedelta(hours=1)
COLUMNS = [
    Column("began", N_("开始"), lambda r: r.began_at, sort=BackupRun.began_at, title=True),
    Column("state", N_("状态"), lambda r: "job_done" if r.point else "job_failed", state=True),
    Column("point", N_("时点"), lambda r: r.point),
    Column("place", N_("位置"), lambda r: r.place),
    Column("seconds", N_("用时"), lambda r: (r.ended_at - r.began_at).total_seconds(), unit=N_("秒"), number=True),
    Column("files", N_("文件数"), lambda r: r.files, number=True),
    Column("size", N_("总量"), lambda r: r.size / MB, unit="MB", number=True),
    Column("stored", N_("新存"), lambda r: r.stored / MB, unit="MB", number=True),
    Column("by", N_("发起人"), lambda r: r.by, text=who_exactly, minor=True),
    Column("error", N_("原因"), lambda r: r.error),
]
FILTERS = [
    Filter(
        "state",
        N_("状态"),
        lambda q, v: q.where(BackupRun.point == "" if v == "failed" else BackupRun.point != ""),
        options={"done": N_("已完成"), "failed": N_("失败")},
    ),
]


@blueprint.get("/")
@allow(Role.SYSADMIN, Role.SUPERVISOR, Role.AUDITOR, Role.AUDADMIN)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx, set_up = reading(), settings()
    found = listing(tx, select(BackupRun), COLUMNS, key=BackupRun.id, filters=FILTERS, sort="-began")
    if (export := found.exported("backups")) is not None:
        return export
    good = runs.last_good(tx)
    return render_template(
        "backups/index.html",
        runs=found,
        good=good,
        age=None if good is None else (tx.now - good.began_at) / HOUR,
        overdue=runs.overdue(set_up, good, tx.now),
        megabyte=MB,
    )


@frame.home_block(Role.SYSADMIN, order=21)
def due(tx: Tx, _who: Actor) -> str | None:
    """That there is no recent backup, where the house has been told to make them."""
    set_up = settings()
    if not set_up.backup_place:
        return None
    good = runs.last_good(tx)
    tried = runs.last(tx)
    if tried is None or not runs.overdue(set_up, good, tx.now):
        return None
    return render_template("backups/_home.html", good=good, tried=tried)
