"""采集: how each pool's collection stands, when and how far back it is asked, and reading it again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from flask import Blueprint, render_template, request
from flask_wtf import FlaskForm
from sqlalchemy import select
from werkzeug.wrappers import Response
from wtforms import HiddenField, IntegerField
from wtforms.validators import InputRequired, NumberRange, Optional

from console.access import STEWARDS, allow
from console.book import reading, settings, transaction
from console.forms import DateTimeLocalField, answer, done
from console.lists import listing
from console.pages.directory import connections
from console.pages.metering.agents import mailbox, reported
from console.pages.metering.feeds import REFUSALS
from console.programs import listed, takes
from console.words import WORDS, _, lazy, policies, sentence, words
from metering.intake import Intake, SampleRefusal, collection, schedules
from metering.judging import findings
from providers import agents
from providers.paces import CollectionPace
from quota.actors import Role
from quota.audit import AuditRecord
from quota.directory import Pool
from quota.errors import N_, Conflict, Invalid, NotFound

if TYPE_CHECKING:
    from quota.db import Tx

blueprint = Blueprint("collections", __name__, url_prefix="/pools")

PACE = (
    ("every_minutes", N_("采集间隔（分钟）")), ("lookback_hours", N_("回看（小时）")), ("window_days", N_("回补窗口（天）")),
)  # fmt: skip
AHEAD = timedelta(minutes=1)
"""From here on a clock's difference is pointed out."""


class ScheduleForm(FlaskForm):  # type: ignore[misc]
    seen = HiddenField(lazy(N_("所依据的采集安排:间隔分钟、窗口天数与回看小时,中间用斜线")))
    every_minutes = IntegerField(
        lazy(N_("采集间隔（分钟）")),
        [InputRequired(lazy(N_("请填写数量"))), NumberRange(schedules.LEAST_MINUTES, schedules.MOST_MINUTES)],
        description=lazy(N_("清单与用量多久采集一次；间隔长的资源池，当日扩容看不到最近的用量")),
    )
    lookback_hours = IntegerField(
        lazy(N_("回看（小时）")), [Optional(), NumberRange(schedules.LEAST_LOOKBACK, schedules.MOST_LOOKBACK)],
        description=lazy(N_("每次采集从上次采集之前这么多小时起再问一遍，收下对方迟到的样本；留空则不改。用量由对方留存的，每天六点以后还会把前一天重读一遍")),
    )  # fmt: skip
    window_days = IntegerField(
        lazy(N_("回补窗口（天）")), [InputRequired(lazy(N_("请填写数量"))), NumberRange(1, schedules.MOST_DAYS)],
        description=lazy(N_("第一次采集和中断之后，最多往回采这么多天；更早的不采，采集页会写明缺了哪一段")),
    )  # fmt: skip


class ReadAgainForm(FlaskForm):  # type: ignore[misc]
    since = DateTimeLocalField(lazy(N_("从何时起")), [InputRequired(lazy(N_("请填写时间")))])


def _pool(tx: Tx, pool_id: int) -> Pool:
    found: Pool | None = tx.get(Pool, pool_id)
    if found is None:
        raise NotFound("pool.none", N_("没有编号为 %(id)s 的资源池"), id=pool_id)
    return found


def _mark(pace: CollectionPace) -> str:
    return f"{pace.every_minutes}/{pace.window_days}/{pace.lookback_hours}"


def _changed(record: AuditRecord) -> connections.ConnectionChange:
    """A change of the schedule, as the page shows it."""
    before, after = record.before, record.after
    rows = [
        (_(label), before.get(name), after.get(name)) for name, label in PACE if before.get(name) != after.get(name)
    ]
    return connections.ConnectionChange(record, rows)


@blueprint.get("/<int:pool_id>/collection")
@allow(*STEWARDS, Role.SECADMIN)
@listed(REFUSALS, at="refusals", alone=False)
def show(pool_id: int) -> str | Response:
    """How a pool's collection stands: last success, lag, coverage, clock, what was refused or missed, and in words why."""
    tx = reading()
    one = _pool(tx, pool_id)
    row = tx.get(Intake, one.id)
    query = select(SampleRefusal).where(SampleRefusal.pool_id == one.id, SampleRefusal.source == one.code)
    fault = sentence(connections.PROBED.get(row.fault_code, connections.PROBED["fault"])) if row and row.fault else ""
    run = findings.last_run(tx)
    refused = listing(tx, query, REFUSALS, key=SampleRefusal.id, sort="-at")
    return refused.exported("refusals") or render_template(
        "collections/show.html",
        one=one,
        row=row,
        pace=schedules.pace(tx, one.id),
        state="inactive"
        if not one.active
        else "never_collected"
        if row is None
        else "probe_bad"
        if fault
        else "probe_good",
        fault=fault,
        lag=tx.now - row.read_until if row and row.read_until else None,
        ahead=row is not None and row.skew_s is not None and abs(row.skew_s) > AHEAD.total_seconds(),
        refusals=refused,
        reported=reported(one) if one.adapter == agents.ADAPTER else None,
        blind=[policies.blind_spot(each) for each in findings.blind_spots(tx, run, one)] if run else [],
        lately=list(dict.fromkeys(words(r.reason) for r in tx.scalars(query.limit(len(WORDS))))),
    )


@blueprint.route("/<int:pool_id>/collection/schedule", methods=["GET", "POST"])
@allow(Role.AUTHORITY, Role.SUPERVISOR)
@takes(ScheduleForm)
def schedule(pool_id: int) -> str | Response | tuple[str, int]:
    """When a pool is collected and how far back it is asked, to be changed; who changed it before."""
    tx = reading()
    one = _pool(tx, pool_id)
    pace, form = schedules.pace(tx, one.id), ScheduleForm()
    if request.method == "GET":
        form.seen.data = _mark(pace)
        form.every_minutes.data, form.window_days.data = pace.every_minutes, pace.window_days
        form.lookback_hours.data = pace.lookback_hours

    def arrange() -> Response:
        if form.seen.data != _mark(pace):
            raise Conflict("schedule.stale", N_("采集安排已被他人修改，请重新打开页面"))
        wanted = CollectionPace(
            form.every_minutes.data, form.window_days.data, form.lookback_hours.data or pace.lookback_hours
        )
        with transaction() as writing:
            schedules.arrange(writing, writing.get_one(Pool, one.id), wanted, before=pace)
        return done(_("采集安排已保存"), "collections.show", pool_id=one.id)

    def page() -> str:
        history = [_changed(told.record) for told in connections.history(tx, f"pool:{one.id}", "pool.schedule")]
        return render_template("collections/schedule.html", form=form, one=one, history=history)

    return answer(form, arrange, page, Invalid, Conflict)


@blueprint.route("/<int:pool_id>/collection/again", methods=["GET", "POST"])
@allow(Role.AUTHORITY, Role.SUPERVISOR)
@takes(ReadAgainForm)
def again(pool_id: int) -> str | Response | tuple[str, int]:
    """Read once more from a moment on, for what came late or was missed."""
    tx = reading()
    one, form = _pool(tx, pool_id), ReadAgainForm()

    def read_again() -> Response:
        since: datetime = form.since.data.replace(tzinfo=settings().zone)
        with transaction() as writing:
            found = writing.get_one(Pool, one.id)
            collection.again_from(writing, found, since)
            if found.adapter == agents.ADAPTER:
                mailbox(found).again_from(since)
        return done(_("下一次采集从那时起补采"), "collections.show", pool_id=one.id)

    def page() -> str:
        return render_template("collections/again.html", form=form, one=one, pace=schedules.pace(tx, one.id))

    return answer(form, read_again, page, Invalid)
