"""What the steward does by the clock: which stage, when. The stages are the pipeline's; here is only their schedule."""

from __future__ import annotations

import logging
import signal
import threading
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from console import anchors, reports, scoring, trail
from console.accounts import sessions, throttle
from console.backups import runs as backup_runs
from console.identity import marks, rechecks
from console.jobs import LANES, PLAN, Abreast, CallRound, Job, Said, Unsuccessful, fault, perform, say, schedule
from console.mail import postman
from console.settings import Settings
from console.tables import RunState
from console.verification import LOGS
from console.verification import runs as verification_runs
from metering import scale_outs, statements, visits
from metering.archive import archive
from metering.campaigns import deliveries
from metering.cases import deadlines, openings
from metering.forecasting import forecasts
from metering.intake import collection, feeding, keeping, late_figures, probes, push, reporters
from metering.intraday import effects
from metering.intraday import look as intraday_look
from metering.judging import findings, pipeline
from metering.simulation import policy_backtests
from metering.statements import reconciliation, settling
from metering.supervision import alerts
from metering.surplus import surpluses
from metering.workbench import Workbench
from providers import orders, tickets
from providers import orders as delivery
from providers.assessment import surveys, whose
from providers.base import ProviderFault
from providers.monitoring import receiving
from quota import attachments, requests
from quota.actors import steward
from quota.directory import Pool, assurance
from quota.errors import N_, NotFound, Refused
from quota.exchange import market
from quota.inventory import inquiries
from quota.ledger import AllocationState, LoanState, commitments, demands, expiry, lending
from quota.requests import RequestState, approvals, notices

log = logging.getLogger("guanjia.jobs")
T = TypeVar("T")

CARRYING_S, COLLECTING_S, ACCOUNTING_S = 40.0, 270.0, 1800.0
"""How long the orders of one pool may take, its collection or a feed's, and its bills and incidents, until the run ends without
them: less than until the next run, and more than a feed that makes up for months takes until it stops by itself."""

EXPECTED = (ProviderFault, Refused, OSError)
"""What a cloud that cannot be opened, reached or read raises."""


@dataclass(frozen=True)
class Worklist:
    """What the jobs of the plan do: a method a job, called as the plan calls it. Each tells as codes what it did, and raises
    Unsuccessful where nothing, or not the whole, came of it."""

    workbench: Workbench
    settings: Settings
    abreast: Abreast = field(default_factory=Abreast)

    def _today(self) -> datetime:
        return self.workbench.book.clock().astimezone(self.settings.zone)

    def collect(self) -> list[Said]:
        # Who runs it once wants every pool; by the clock each has its own interval.
        due = collection.due(self.workbench) if self.abreast.leaves else None
        turn = self.abreast.pools(self.workbench, partial(collection.collect, self.workbench), COLLECTING_S, due)
        read, faults, wrong = _parted(turn)
        if faults and not read:
            raise Unsuccessful(*faults)
        held = [
            say("held", at=one.pool, machines=len(one.drift.held), standing=one.drift.standing)
            for one in read
            if one.drift is not None and one.drift.held
        ]
        collected = [say("collected", at=one.pool, samples=one.taken) for one in read]
        said = [*collected, *held, *faults, *_under_way(turn)]
        if wrong:
            raise Unsuccessful(*said)
        return said

    def feeds(self) -> list[Said]:
        due = {one.code: one for one in feeding.due(self.workbench)}
        turn = self.abreast.each(due, lambda code: feeding.feed(self.workbench, due[code]), COLLECTING_S)
        done, faults, wrong = _parted(turn)
        said = [say("fed", at=one.code, samples=one.samples) for one in done if not one.fault[0]]
        faults += [say("error_at", at=one.code, error=one.fault[1]) for one in done if one.fault[0]]
        if faults and not said:
            raise Unsuccessful(*faults)
        told = [*said, *faults, *_under_way(turn)]
        if wrong:
            raise Unsuccessful(*told)
        return told

    def fold(self) -> list[Said]:
        done = push.fold_all(self.workbench)
        return [say("folded", at=code, points=one.points, samples=one.samples) for code, one in done.items()]

    def probe(self) -> list[Said]:
        done = probes.carry_out(self.workbench)
        feeding.carry_out_trials(self.workbench)
        return [say("probed", n=len(done), failed=sum(bool(one.fault) for one in done))]

    def roll(self) -> list[Said]:
        settling.seal(self.workbench)
        closed = [day for day in self.workbench.lake.hot_days() if day < self._today().date()]
        done = self.workbench.lake.roll(closed)
        late = late_figures.enter(self.workbench)
        with self.workbench.book.transaction(steward("job:roll")) as tx:
            if done or not reporters.kept(tx, self.workbench.lake, self._today().date()):
                reporters.keep(tx, self.workbench.lake, self._today().date())
        return [say("rolled", days=len(done)), *([say("late_figures", figures=late)] if late else [])]

    def compact(self) -> list[Said]:
        settling.seal(self.workbench)
        return [say("compacted", files=self.workbench.lake.compact())]

    def retain(self) -> list[Said]:
        today = self._today().date()
        gone = keeping.retain(self.workbench, today)
        told = [say("retained", files=len(gone.files), days=gone.days, hours=gone.hours)]
        kept = archive(self.workbench, today)
        return [*told, *([say("archived", findings=kept.findings, runs=kept.runs)] if kept.runs else [])]

    def assess(self) -> list[Said]:
        self.roll()
        with self.workbench.book.transaction(steward("job:assess")) as tx:
            visits.settle(tx, self._today().date())
        run = pipeline.judge(self.workbench, self._today().date())
        return [say("judged", verdict=name, resources=count) for name, count in sorted(run.counts.items())]

    def forecast(self) -> list[Said]:
        return [say("forecast", forecasts=forecasts.keep(self.workbench))]

    def effects(self) -> list[Said]:
        return [say("effects", days=effects.reckon(self.workbench))]

    def open_cases(self) -> list[Said]:
        run = pipeline.judge(self.workbench, self._today().date())
        opening = openings.open_all(self.workbench.book, run.id)
        ended, passed_over = openings.open_terms(self.workbench.book, run.id)
        skips = Counter(opening.why()) + Counter(passed_over)
        skipped = [say("skipped", skip=code, resources=count) for code, count in skips.items()]
        said = [say("opened", cases=len(opening.opened)), *skipped]
        said += [say("opened_terms", cases=len(ended))] if ended else []
        with self.workbench.book.transaction(steward("job:cases")) as tx:
            run = findings.assessment(tx, run.id)
            reminded, cut = surpluses.review(tx, run)
            unused = deliveries.ask(tx, run)
        said += [say("surplus", reminded=reminded, ended=cut)] if reminded or cut else []
        said += [say("deliveries_asked", n=sum(one.resources for one in unused))] if unused else []
        if "failed" in skips:
            raise Unsuccessful(*said)
        return said

    def carry(self) -> list[Said]:
        with self.workbench.book.transaction(steward("job:orders")) as tx:
            orders.returns.return_by_hour(tx)
        placed, refused = place(self.workbench)
        with self.workbench.book.transaction(steward("job:orders")) as tx:
            filed = tickets.granted.place(tx)
        turn = self.abreast.pools(self.workbench, self._carry, CARRYING_S)
        done, faults, wrong = _parted(turn)
        faults = [*refused, *faults]
        if faults and not done:
            raise Unsuccessful(*faults)
        said = say(
            "carried",
            placed=placed,
            delivered=sum(len(one.delivered) for one in done),
            pending=sum(len(one.pending) for one in done),
            failed=sum(len(one.failed) for one in done),
        )
        waits = sum(len(one.held) for one in done)
        asked = [say("tickets_filed", n=len(filed))] if filed else []
        told = [said, *asked, *([say("kept_back", n=waits)] if waits else []), *faults, *_under_way(turn)]
        if wrong:
            raise Unsuccessful(*told)
        return told

    def _carry(self, pool: Pool) -> delivery.Carried:
        return delivery.carry_all(
            self.workbench.book,
            pool.id,
            self.workbench.provider(pool),
            scale_outs.last_look,
            ceiling=self.settings.stops_an_hour,
            another=partial(self.workbench.another, pool),
        )

    def advance(self) -> list[Said]:
        done = deadlines.advance_all(self.workbench.book)
        counts = {one.name: len(getattr(done, one.name)) for one in fields(done)}
        said = [say(name, n=n) for name, n in counts.items() if n and name not in ("refused", "failed")]
        said += [fault(refusal, case=case_id) for case_id, refusal in done.refused.items()]
        if done.failed:
            raise Unsuccessful(*(fault(error, case=case_id) for case_id, error in done.failed.items()), *said)
        return said

    def look(self) -> list[Said]:
        done = intraday_look.look(self.workbench)
        said = [say("looked", machines=done.machines, over=done.over)]
        said += [say(f"surge_{code}", n=len(ids)) for code, ids in sorted(done.done.items())]
        said += [say(code, n=len(ids)) for code, ids in sorted(done.tiers.items())]
        said += [say("skipped", skip=code, resources=count) for code, count in sorted(done.skipped.items())]
        faults = {f"resource:{one}": error for one, error in done.faults.items()} | done.tier_faults
        said += [fault(error, at=at) for at, error in faults.items()]
        if any(not isinstance(error, Refused) for error in faults.values()):
            raise Unsuccessful(*said)
        return said

    def account(self) -> list[Said]:
        turn = self.abreast.pools(self.workbench, partial(scoring.ask, self.workbench), ACCOUNTING_S)
        done, faults, wrong = _parted(turn)
        counts = say("accounted", incidents=sum(one.incidents for one in done), bills=sum(one.bills for one in done))
        told = [counts, *faults, *_under_way(turn)]
        if wrong:
            raise Unsuccessful(*told)
        return told

    def score(self) -> list[Said]:
        cards, faults = [], []
        turn = scoring.ScoringRound(self.workbench)
        for subject, period in turn.wanted:
            try:
                cards.append(turn.score(subject, period))
            except Refused as refusal:
                with self.workbench.book.reading() as tx:
                    called = whose.called(tx, subject)
                faults.append(fault(refusal, card=f"{called} {period}"))
        turn.keep()
        if faults and not cards:
            raise Unsuccessful(*faults)
        totals = [
            say("unscored", period=one.month) if one.total is None else say("card", period=one.month, total=one.total)
            for one in cards
            if one.provider_id is not None
        ]
        return [say("scored", cards=len(cards)), *totals, *faults]

    def remind(self) -> list[Said]:
        with self.workbench.book.transaction(steward("job:remind")) as tx:
            limits, ends = notices.remind(tx), notices.remind_of_terms(tx, orders.returned(tx))
            near, over = inquiries.remind(tx)
        with self.workbench.book.transaction(steward("job:remind")) as tx:
            back = orders.returns.return_all(tx)
        told = say("inquired", near=len(near), over=len(over))
        return [say("urged", limits=len(limits), ends=len(ends)), *([told] if near or over else []),
                *([say("given_back", n=len(back))] if back else [])]  # fmt: skip

    def expire(self) -> list[Said]:
        with self.workbench.book.transaction(steward("job:expire")) as tx:
            lapsed = approvals.lapse(tx)
            accepted = delivery.deem_accepted(tx)
            attachments.purge(tx)
            redated = len(approvals.redate(tx)) + orders.reschedule(tx) + tickets.handling.redate(tx)
            swept = inquiries.sweep(tx)
            throttle.sweep(tx)
            sessions.sweep(tx)
            marks.sweep(tx)
            presumed = receiving.presume(tx, timedelta(hours=self.settings.alert_silence_hours))
            said = say("expired", lapsed=len(lapsed), accepted=len(accepted), redated=redated)
        with self.workbench.book.transaction(steward("job:expire")) as tx:
            assurance.sweep(tx)
            opened, closed = surveys.advance(tx)
            asked = orders.ended_terms.ask(tx)
            moves = orders.migrations.ask(tx)
            kept, over = tickets.granted.let_be(tx), tickets.granted.ask_ended(tx)
            fallen = approvals.tell_fallen(tx)
        return [said, *([say("swept", n=swept)] if swept else []),
                *([say("outages_presumed", n=presumed)] if presumed else []),
                *([say("terms_asked", n=sum(one.resources for one in asked))] if asked else []),
                *([say("tickets_asked", n=len(over), kept=len(kept))] if over or kept else []),
                *([say("surveys_moved", opened=opened, closed=closed)] if opened or closed else []),
                *([say("migrations_asked", n=len(moves))] if moves else []),
                *([say("steps_fallen", n=len(fallen))] if fallen else [])]  # fmt: skip

    def supervise(self) -> list[Said]:
        with self.workbench.book.transaction(steward("job:supervise")) as tx:
            done = alerts.look(tx)
        return [say("supervised", opened=done.opened, closed=done.closed)] if done.opened or done.closed else []

    def settle(self) -> list[Said]:
        with self.workbench.book.transaction(steward("job:settle")) as tx:
            done = lending.settle(tx)
            late = sum(one.state == LoanState.OVERDUE.value for one in done)
            said = say("returned", loans=len(done), late=late)
        with self.workbench.book.transaction(steward("job:settle")) as tx:
            ended = expiry.settle(tx)
            used = sum(one.state == AllocationState.OVERDUE.value for one in ended)
            told = expiry.remind(tx)
            begun = demands.begin(tx)
            lapsed = market.lapse(tx)
        more = [say("allocations_ended", n=len(ended), used=used)] if ended else []
        more += self._promised()
        more += [say("year_granted", year=one.year) for one in begun]
        more += [say("offers_lapsed", n=len(lapsed))] if lapsed else []
        return [said, *more, *([say("allocations_near", n=len(told))] if told else [])]

    def _promised(self) -> list[Said]:
        """What was promised for a day, pool by pool, each by itself."""
        with self.workbench.book.reading(steward("job:settle")) as tx:
            pools = commitments.queues(tx)
        confirmed = given = 0
        faults = []
        for pool_id in pools:
            try:
                with self.workbench.book.transaction(steward("job:settle")) as tx:
                    found = notices.settle_commitments(tx, pool_id)
            except Exception as fault:  # the queues of other pools go on
                faults.append(fault)
                continue
            confirmed, given = confirmed + len(found.confirmed), given + len(found.given)
        if faults:
            raise faults[0]
        return [say("promises_kept", n=confirmed, given=given)] if confirmed or given else []

    def replay(self) -> list[Said]:
        return [say("replayed", replays=len(policy_backtests.carry_out(self.workbench)))]

    def statements(self) -> list[Said]:
        month = f"{self._today().replace(day=1) - timedelta(days=1):%Y-%m}"
        run = statements.make(self.workbench, month)
        compared = reconciliation.all_pools(self.workbench, month)
        differing = sum(one.differing for one in compared)
        return [say("reckoned", month=month, revision=run.revision, lines=run.lines, differing=differing)]

    def reports(self) -> list[Said]:
        with self.workbench.book.reading(steward("job:reports")) as tx:
            due = list(reports.due(tx, self.settings.zone))
        made: Counter[str] = Counter()
        faults = []
        for scope, period in due:
            try:
                reports.make(self.workbench, self.settings, scope, period, actor=steward("job:reports"))
                made[period.code] += 1
            except Refused as refused:
                faults.append(fault(refused, report=f"{scope} {period.code}"))
        said = [say("reported", period=code, n=n) for code, n in made.items()]
        if faults:
            raise Unsuccessful(*said, *faults[:20])
        return said

    def verify(self) -> list[Said]:
        with self.workbench.book.transaction(steward("job:verify")) as tx:
            verification_runs.ask(tx, self._today().date())
        return self.verify_asked()

    def verify_asked(self) -> list[Said]:
        done = verification_runs.carry_out(self.workbench, anchors.copies(self.settings), self.settings.data / LOGS)
        wrong = [one for one in done if not one.clean]
        if wrong:
            named = [say("unfit_at", place=place) for one in wrong for place in (one.error, *one.problems) if place]
            raise Unsuccessful(say("unfit", n=sum(one.problem_count or 1 for one in wrong)), *named[:20])
        return [say("verified", head=one.head) for one in done]

    def anchor(self) -> list[Said]:
        who, said, unsigned = steward("job:anchor"), [], []
        with self.workbench.book.reading(who) as tx:
            due = anchors.due(tx, self.settings)
        if due:
            try:
                by = anchors.signer(self.settings)
                said.append(say("anchored", number=anchors.make(self.workbench.book, self.settings, by, who)))
            except Refused as refused:  # a key that is away holds back no anchor that is signed already
                unsigned.append(fault(refused))
        done = anchors.publish(self.workbench.book, self.settings)
        if done.sent or done.waiting:
            said.append(say("published", sent=done.sent, waiting=done.waiting))
        if done.said or unsigned:
            raise Unsuccessful(*said, *unsigned, *(say("unpublished", place=one) for one in done.said[:20]))
        return said

    def backup(self) -> list[Said]:
        if not self.settings.backup_place:
            return [say("no_backup_place")]
        made = backup_runs.by_the_clock(self.settings, self.workbench.book)
        if made is None:
            return [say("backup_not_due")]
        return [say("backed_up", point=made.point.name, files=made.point.count, stored=made.stored)]

    def trail(self) -> list[Said]:
        done = trail.carry_out(self.settings, self.workbench.book)
        said = [say("handed_on", at=one.place, records=one.records) for one in done if not one.error]
        wrong = [say("error_at", at=one.place, error=one.error) for one in done if one.error]
        wrong += [say("trail_gap", at=one.place, n=len(one.gaps)) for one in done if one.gaps]
        if wrong:
            raise Unsuccessful(*said, *wrong)
        return said

    def identities(self) -> list[Said]:
        said, wrong = [], []
        for one in rechecks.recheck(self.workbench.book, self.settings):
            if one.fault is not None:
                wrong.append(fault(Refused(f"identity.{one.fault.code}", one.fault.message), at=one.source))
            elif one.doubted:
                less = {"less": one.less} if one.less else {}
                code = "recheck_less_doubted" if less else "recheck_doubted"
                wrong.append(say(code, at=one.source, asked=one.asked, gone=one.gone, **less))
            else:
                said.append(say("rechecked", at=one.source, asked=one.asked, gone=one.gone, changed=one.changed))
        if wrong:
            raise Unsuccessful(*said, *wrong)
        return said

    def mail(self) -> list[Said]:
        from console.app import create_app  # half a second that no other job waits for

        if not self.settings.mail_server:
            return [say("no_mail")]
        done = postman.carry_out(self.workbench, self.settings, create_app)
        return [say("mailed", made=done.made, sent=done.sent, waiting=done.waiting)]


def _parted(turn: CallRound[T]) -> tuple[list[T], list[Said], bool]:
    """What was done, what stood in the way where it was not, and whether there was something among it that nobody expects of a
    cloud: then the run failed, and tells of the others all the same."""
    done, faults, wrong = [], [], False
    for name, one in turn.done:
        if not isinstance(one, Exception):
            done.append(one)
            continue
        if isinstance(one, EXPECTED):
            log.warning("%s: %s", name, one)
        else:
            log.error("%s: %s", name, one, exc_info=one)
            wrong = True
        faults.append(fault(one, at=name))
    return done, faults, wrong


def _under_way(turn: CallRound[T]) -> list[Said]:
    return [say("under_way", at=name) for name in turn.left]


def jobs(workbench: Workbench, settings: Settings, abreast: Abreast | None = None) -> list[Job]:
    """Every planned job over ``works``."""
    worklist = Worklist(workbench, settings, abreast or Abreast())
    return [Job(plan, getattr(worklist, plan.name)) for plan in PLAN]


def place(workbench: Workbench) -> tuple[int, list[Said]]:
    """Place the orders of what was approved, each request by itself: (orders, what was refused of which request)."""
    who = steward("job:orders")
    with workbench.book.reading(who) as tx:
        approved = requests.reservations.due(tx)
    placed, refused = 0, []
    for request_id in approved:
        try:
            with workbench.book.transaction(who) as tx:
                one = requests.lock(tx, request_id)
                if one.state == RequestState.APPROVED:  # decided otherwise since we looked
                    placed += len(delivery.place_for_request(tx, one))
        except Refused as refusal:
            refused.append(fault(refusal, request=request_id))
    return placed, refused


def run_once(workbench: Workbench, settings: Settings, name: str) -> RunState:
    """Run the job called ``name`` now. Raises NotFound; LOST where another run of it still goes on."""
    for job in jobs(workbench, settings):
        if job.plan.name == name:
            slot = workbench.book.clock().replace(microsecond=0)
            return perform(workbench.book, job, slot) or RunState.LOST
    raise NotFound("job.none", N_("没有名为 %(name)s 的任务"), name=name)


def in_lanes(workbench: Workbench, settings: Settings, lanes: Collection[str]) -> list[Job]:
    """The jobs of ``lanes``. Each lane opens its clouds for itself: adapters are not for several threads at once."""
    chosen = []
    for lane in LANES:
        if lane in lanes:
            apart = replace(workbench, opened={}, opened_with={}, meters={})
            chosen += [job for job in jobs(apart, settings, Abreast(leaves=True)) if job.plan.lane == lane]
    return chosen


def run_forever(workbench: Workbench, settings: Settings, lanes: Collection[str] = ()) -> None:
    """Run the schedule (of all lanes where none is named) until SIGTERM or SIGINT; a job that is under way is finished
    first."""
    scheduler = schedule(workbench.book, in_lanes(workbench, settings, lanes or LANES), settings.time_zone)
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    scheduler.start()
    stop.wait()
    scheduler.shutdown(wait=True)
