"""What the steward does by the clock: which stage, when. The stages are the pipeline's; here is only their schedule."""

from __future__ import annotations

import signal
import threading
from collections.abc import Collection
from dataclasses import fields, replace
from datetime import datetime, timedelta

from sqlalchemy import select

from console import scoring
from console.jobs import LANES, PLAN, Job, Said, Unsuccessful, fault, perform, say, schedule
from console.mail import postman
from console.settings import Settings
from console.tables import RunState
from console.verification import runs as verification_runs
from metering import statements
from metering.cases import deadlines, enforcement, openings
from metering.forecasting import forecasts
from metering.intake import Collected, collection, keeping, late_figures, push
from metering.intraday import look as hourly
from metering.judging import pipeline
from metering.simulation import policy_backtests
from metering.statements import reconciliation, settling
from metering.workbench import Works
from providers import orders
from providers import orders as delivery
from providers.base import ProviderFault
from quota import attachments, requests
from quota.actors import steward
from quota.directory import CloudProvider
from quota.errors import N_, NotFound, Refused
from quota.ledger import LoanState, lending
from quota.requests import Request, RequestState, approvals, notices


def jobs(works: Works, settings: Settings) -> list[Job]:
    """Every planned job over ``works``."""

    def today() -> datetime:
        return works.book.clock().astimezone(settings.zone)

    def collect() -> list[Said]:
        found = list(collection.collect_all(works))
        faults = [fault(one[1], at=one[0]) for one in found if isinstance(one, tuple)]
        read = [one for one in found if isinstance(one, Collected)]
        if faults and not read:
            raise Unsuccessful(*faults)
        held = [
            say("held", at=one.pool, machines=len(one.drift.held), standing=one.drift.standing)
            for one in read
            if one.drift is not None and one.drift.held
        ]
        return [*(say("collected", at=one.pool, samples=one.taken) for one in read), *held, *faults]

    def fold() -> list[Said]:
        done = push.fold_all(works)
        return [say("folded", at=code, points=one.points, samples=one.samples) for code, one in done.items()]

    def roll() -> list[Said]:
        settling.seal(works)
        closed = [day for day in works.lake.hot_days() if day < today().date()]
        done = works.lake.roll(closed)
        late = late_figures.enter(works)
        return [say("rolled", days=len(done)), *([say("late_figures", figures=late)] if late else [])]

    def compact() -> list[Said]:
        settling.seal(works)
        return [say("compacted", files=works.lake.compact())]

    def retain() -> list[Said]:
        gone = keeping.retain(works, today().date())
        return [say("retained", files=len(gone.files), days=gone.days, hours=gone.hours)]

    def assess() -> list[Said]:
        roll()
        run = pipeline.judge(works, today().date())
        return [say("judged", verdict=name, resources=count) for name, count in sorted(run.counts.items())]

    def forecast() -> list[Said]:
        return [say("forecast", forecasts=forecasts.keep(works))]

    def open_cases() -> list[Said]:
        run = pipeline.judge(works, today().date())
        opening = openings.open_all(works.book, run.id)
        skipped = [say("skipped", skip=code, resources=count) for code, count in opening.why().items()]
        said = [say("opened", cases=len(opening.opened)), *skipped]
        if "failed" in opening.why():
            raise Unsuccessful(*said)
        return said

    def carry() -> list[Said]:
        placed, faults = place(works)
        done = []
        for pool in works.pools():
            try:
                done.append(delivery.carry_all(works.book, pool.id, works.provider(pool), enforcement.last_look))
            except (ProviderFault, Refused, OSError) as error:  # one cloud that cannot be opened keeps no other waiting
                faults.append(fault(error, at=pool.code))
        if faults and not done:
            raise Unsuccessful(*faults)
        said = say(
            "carried",
            placed=placed,
            delivered=sum(len(one.delivered) for one in done),
            pending=sum(len(one.pending) for one in done),
            failed=sum(len(one.failed) for one in done),
        )
        return [said, *faults]

    def advance() -> list[Said]:
        done = deadlines.advance_all(works.book)
        counts = {one.name: len(getattr(done, one.name)) for one in fields(done)}
        said = [say(name, n=n) for name, n in counts.items() if n and name not in ("refused", "failed")]
        said += [fault(refusal, case=case_id) for case_id, refusal in done.refused.items()]
        if done.failed:
            raise Unsuccessful(*(fault(error, case=case_id) for case_id, error in done.failed.items()), *said)
        return said

    def look() -> list[Said]:
        done = hourly.look(works)
        said = [say("looked", machines=done.machines, over=done.over)]
        said += [say(f"surge_{code}", n=len(ids)) for code, ids in sorted(done.done.items())]
        said += [say("skipped", skip=code, resources=count) for code, count in sorted(done.skipped.items())]
        said += [fault(error, at=f"resource:{one}") for one, error in done.faults.items()]
        if any(not isinstance(error, Refused) for error in done.faults.values()):
            raise Unsuccessful(*said)
        return said

    def account() -> list[Said]:
        done = scoring.collect(works)
        counts = say("accounted", incidents=done.incidents, bills=done.bills)
        return [counts, *(fault(error, at=pool) for pool, error in done.faults.items())]

    def score() -> list[Said]:
        cards, faults = [], []
        for company, period in scoring.due(works):
            try:
                cards.append(scoring.score(works, company, period))
            except Refused as refusal:
                with works.book.reading() as tx:
                    whose = tx.get_one(CloudProvider, company).name
                faults.append(fault(refusal, card=f"{whose} {period}"))
        if faults and not cards:
            raise Unsuccessful(*faults)
        totals = [
            say("unscored", period=one.month) if one.total is None else say("card", period=one.month, total=one.total)
            for one in cards
        ]
        return [say("scored", cards=len(cards)), *totals, *faults]

    def remind() -> list[Said]:
        with works.book.transaction(steward("job:remind")) as tx:
            limits, ends = notices.remind(tx), notices.remind_of_terms(tx, orders.returned(tx))
            return [say("urged", limits=len(limits), ends=len(ends))]

    def expire() -> list[Said]:
        with works.book.transaction(steward("job:expire")) as tx:
            lapsed = approvals.lapse(tx)
            accepted = delivery.deem_accepted(tx)
            attachments.purge(tx)
            redated = len(approvals.redate(tx)) + orders.reschedule(tx)
            return [say("expired", lapsed=len(lapsed), accepted=len(accepted), redated=redated)]

    def settle() -> list[Said]:
        with works.book.transaction(steward("job:settle")) as tx:
            done = lending.settle(tx)
            late = sum(one.state == LoanState.OVERDUE.value for one in done)
            return [say("returned", loans=len(done), late=late)]

    def replay() -> list[Said]:
        return [say("replayed", replays=len(policy_backtests.carry_out(works)))]

    def reckon() -> list[Said]:
        month = f"{today().replace(day=1) - timedelta(days=1):%Y-%m}"
        run = statements.make(works, month)
        compared = reconciliation.all_pools(works, month)
        differing = sum(one.differing for one in compared)
        return [say("reckoned", month=month, revision=run.revision, lines=run.lines, differing=differing)]

    def verify() -> list[Said]:
        with works.book.transaction(steward("job:verify")) as tx:
            verification_runs.ask(tx, today().date())
        return verify_asked()

    def verify_asked() -> list[Said]:
        done = verification_runs.carry_out(works)
        wrong = [one for one in done if not one.clean]
        if wrong:
            named = [say("unfit_at", place=place) for one in wrong for place in (one.error, *one.problems) if place]
            raise Unsuccessful(say("unfit", n=sum(one.problem_count or 1 for one in wrong)), *named[:20])
        return [say("verified", head=one.head) for one in done]

    def mail() -> list[Said]:
        from console.app import create_app  # half a second that no other job waits for

        if not settings.mail_server:
            return [say("no_mail")]
        done = postman.carry_out(works, settings, create_app)
        return [say("mailed", made=done.made, sent=done.sent, waiting=done.waiting)]

    runs = {
        "collect": collect,
        "fold": fold,
        "carry": carry,
        "advance": advance,
        "look": look,
        "account": account,
        "score": score,
        "roll": roll,
        "compact": compact,
        "retain": retain,
        "assess": assess,
        "forecast": forecast,
        "open_cases": open_cases,
        "replay": replay,
        "statements": reckon,
        "remind": remind,
        "settle": settle,
        "expire": expire,
        "mail": mail,
        "verify": verify,
        "verify_asked": verify_asked,
    }
    return [Job(plan, runs[plan.name]) for plan in PLAN]


def place(works: Works) -> tuple[int, list[Said]]:
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
            refused.append(fault(refusal, request=request_id))
    return placed, refused


def run_once(works: Works, settings: Settings, name: str) -> RunState:
    """Run the job called ``name`` now. Raises NotFound; LOST where another run of it still goes on."""
    for job in jobs(works, settings):
        if job.plan.name == name:
            slot = works.book.clock().replace(microsecond=0)
            return perform(works.book, job, slot) or RunState.LOST
    raise NotFound("job.none", N_("没有名为 %(name)s 的任务"), name=name)


def in_lanes(works: Works, settings: Settings, lanes: Collection[str]) -> list[Job]:
    """The jobs of ``lanes``. Each lane opens its clouds for itself: adapters are not for several threads at once."""
    chosen = []
    for lane in LANES:
        if lane in lanes:
            apart = replace(works, opened={})
            chosen += [job for job in jobs(apart, settings) if job.plan.lane == lane]
    return chosen


def run_forever(works: Works, settings: Settings, lanes: Collection[str] = ()) -> None:
    """Run the schedule (of all lanes where none is named) until SIGTERM or SIGINT; a job that is under way is finished
    first."""
    scheduler = schedule(works.book, in_lanes(works, settings, lanes or LANES), settings.time_zone)
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    scheduler.start()
    stop.wait()
    scheduler.shutdown(wait=True)
