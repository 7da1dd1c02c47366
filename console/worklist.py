"""What the steward does by the clock: which stage, when. The stages are the pipeline's; here is only their schedule."""

from __future__ import annotations

import signal
import threading
from datetime import datetime, timedelta

from sqlalchemy import select

from console import scoring
from console.jobs import Job, RunState, perform, schedule
from console.settings import Settings
from console.verification import examine
from metering import (
    deadlines,
    enforcement,
    findings,
    forecasts,
    intake,
    keeping,
    late_figures,
    openings,
    pipeline,
    push,
    reconcile,
    replays,
    settling,
    statements,
)
from metering.intake import Collected
from metering.works import Works
from providers import delivery, orders
from providers.base import ProviderFault
from quota import approvals, attachments, lending, notices, requests
from quota.actors import steward
from quota.dossier import Request, RequestState
from quota.errors import N_, NotFound, Refused
from quota.lending import LoanState


class Untrustworthy(RuntimeError):
    """The verification found rows or files that do not fit."""


def jobs(works: Works, settings: Settings) -> list[Job]:
    """Every job over ``works``, in the order of a day. Cron lines are in the city's time."""

    def today() -> datetime:
        return works.book.clock().astimezone(settings.zone)

    def collect() -> str:
        found = list(intake.collect_all(works))
        faults = [f"{one[0]}: {one[1]}" for one in found if isinstance(one, tuple)]
        read = [one for one in found if isinstance(one, Collected)]
        if faults and not read:
            raise RuntimeError("; ".join(faults))
        return "; ".join([*(f"{one.pool}: {one.taken} samples" for one in read), *faults])

    def fold() -> str:
        done = push.fold_all(works)
        return "; ".join(f"{code}: {one.points} points, {one.samples} samples" for code, one in done.items()) or "-"

    def roll() -> str:
        settling.seal(works)
        closed = [day for day in works.lake.hot_days() if day < today().date()]
        done = works.lake.roll(closed)
        late = late_figures.enter(works)
        return f"{len(done)} days" + (f", {late} figures of settled months" if late else "")

    def compact() -> str:
        settling.seal(works)
        return f"{works.lake.compact()} files laid together"

    def retain() -> str:
        gone = keeping.retain(works, today().date())
        return f"{len(gone.files)} files deleted; samples from {gone.days}, hourly figures from {gone.hours}"

    def assess() -> str:
        roll()
        run = pipeline.judge(works, today().date())
        return ", ".join(f"{name} {count}" for name, count in sorted(run.counts.items()))

    def forecast() -> str:
        return f"{forecasts.keep(works)} forecasts"

    def open_cases() -> str:
        run = pipeline.judge(works, today().date())
        with works.book.transaction(steward("job:cases")) as tx:
            opening = openings.open_from(tx, findings.assessment(tx, run.id))
            return f"{len(opening.opened)} opened; skipped {opening.why()}"

    def carry() -> str:
        placed, faults = place(works)
        done = []
        for pool in works.pools():
            try:
                done.append(delivery.carry_all(works.book, pool.id, works.provider(pool), enforcement.last_look))
            except (ProviderFault, Refused, OSError) as fault:  # one cloud that cannot be opened keeps no other waiting
                faults.append(f"{pool.code}: {fault}")
        if faults and not done:
            raise RuntimeError("; ".join(faults))
        said = (
            f"{placed} placed, {sum(len(one.delivered) for one in done)} delivered, "
            f"{sum(len(one.pending) for one in done)} pending, {sum(len(one.failed) for one in done)} failed"
        )
        return "; ".join([said, *faults])

    def advance() -> str:
        done = deadlines.advance_all(works.book)
        if done.failed:
            raise RuntimeError(repr(done))
        return repr(done)

    def account() -> str:
        done = scoring.collect(works)
        return ", ".join(f"{name} {what}" for name, what in done.items())

    def score() -> str:
        cards, faults = [], []
        for company, period in scoring.due(works):
            try:
                cards.append(scoring.score(works, company, period))
            except Refused as fault:
                faults.append(f"{company} {period}: {fault}")
        if faults and not cards:
            raise RuntimeError("; ".join(faults))
        said = f"{len(cards)} cards: " + ", ".join(f"{one.month} {one.total}" for one in cards)
        return "; ".join([said, *faults])

    def remind() -> str:
        with works.book.transaction(steward("job:remind")) as tx:
            limits, ends = notices.remind(tx), notices.remind_of_terms(tx, orders.returned(tx))
            return f"{len(limits)} reminders, {len(ends)} terms that end"

    def expire() -> str:
        with works.book.transaction(steward("job:expire")) as tx:
            lapsed = approvals.lapse(tx)
            accepted = delivery.deem_accepted(tx)
            attachments.purge(tx)
            redated = len(approvals.redate(tx)) + orders.reschedule(tx)
            return f"{len(lapsed)} lapsed, {len(accepted)} deemed accepted, {redated} deadlines corrected"

    def settle() -> str:
        with works.book.transaction(steward("job:settle")) as tx:
            done = lending.settle(tx)
            late = sum(one.state == LoanState.OVERDUE.value for one in done)
            return f"{len(done)} loans ended, {late} of them still in use"

    def replay() -> str:
        return f"{len(replays.carry_out(works))} replays"

    def reckon() -> str:
        month = f"{today().replace(day=1) - timedelta(days=1):%Y-%m}"
        run = statements.make(works, month)
        compared = reconcile.all_pools(works, month)
        return f"{month} revision {run.revision}, {run.lines} lines; {sum(one.differing for one in compared)} differ"

    def verify() -> str:
        found = examine(works)
        if not found.clean:
            raise Untrustworthy("; ".join(found.problems[:20]))
        return list(found.lines())[-1]

    return [
        Job("collect", N_("采集"), "*/5 * * * *", collect, lease=timedelta(minutes=30)),
        Job("fold", N_("推送入湖"), "* * * * *", fold, lease=timedelta(minutes=30)),
        Job("carry", N_("派单与交付"), "*/2 * * * *", carry, lease=timedelta(minutes=30)),
        Job("advance", N_("案件推进"), "*/10 * * * *", advance, lease=timedelta(minutes=30)),
        Job("account", N_("账单与故障采集"), "15 4 * * *", account, lease=timedelta(hours=2)),
        Job("score", N_("考核评分"), "0 6 * * *", score, lease=timedelta(hours=2)),
        Job("roll", N_("日结"), "20 0 * * *", roll, lease=timedelta(hours=4)),
        Job("compact", N_("合并热文件"), "35 * * * *", compact, lease=timedelta(hours=1)),
        Job("retain", N_("到期清理"), "40 1 * * *", retain, lease=timedelta(hours=4)),
        Job("assess", N_("评估"), "30 2 * * *", assess, lease=timedelta(hours=4)),
        Job("forecast", N_("用量预测"), "10 3 * * *", forecast, lease=timedelta(hours=2)),
        Job("open_cases", N_("立案"), "30 3 * * *", open_cases),
        Job("replay", N_("策略回放"), "* * * * *", replay, lease=timedelta(hours=2), attempts=1),
        Job("statements", N_("对账"), "40 4 1,4,8 * *", reckon, lease=timedelta(hours=4)),
        Job("remind", N_("催办提醒"), "0 8 * * *", remind),
        Job("settle", N_("出借归还"), "*/10 * * * *", settle),
        Job("expire", N_("到期处理"), "15 * * * *", expire),
        Job("verify", N_("校验"), "0 5 * * *", verify, lease=timedelta(hours=4), attempts=1),
    ]


def place(works: Works) -> tuple[int, list[str]]:
    """Place the orders of what was approved, each request by itself: (orders, what was refused of which request)."""
    who = steward("job:orders")
    with works.book.reading(who) as tx:
        approved = tx.scalars(
            select(Request.id).where(Request.state == RequestState.APPROVED.value).order_by(Request.id)
        ).all()
    placed, refused = 0, []
    for request_id in approved:
        try:
            with works.book.transaction(who) as tx:
                one = requests.lock(tx, request_id)
                if one.state == RequestState.APPROVED:  # decided otherwise since we looked
                    placed += len(delivery.place_for_request(tx, one))
        except Refused as refusal:
            refused.append(f"request:{request_id}: {refusal}")
    return placed, refused


def run_once(works: Works, settings: Settings, name: str) -> RunState:
    """Run the job called ``name`` now. Raises NotFound; LOST where another run of it still goes on."""
    for job in jobs(works, settings):
        if job.name == name:
            slot = works.book.clock().replace(microsecond=0)
            return perform(works.book, job, slot) or RunState.LOST
    raise NotFound("job.none", N_("没有名为 %(name)s 的任务"), name=name)


def run_forever(works: Works, settings: Settings) -> None:
    """Run the schedule until SIGTERM or SIGINT; a job that is under way is finished first."""
    scheduler = schedule(works.book, jobs(works, settings), settings.time_zone)
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    scheduler.start()
    stop.wait()
    scheduler.shutdown(wait=True)
