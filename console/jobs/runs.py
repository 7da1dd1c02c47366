"""The steward's own work by the clock: APScheduler, a lane for what may wait for each other, each run recorded with its
outcome.

A lane does one job after the other; lanes wait for nobody: a verification of hours keeps no order and no mail. A job that
is due while its lane is busy waits there and is done when its turn comes, once, however often it became due meanwhile.

Two schedulers, started by mistake or one for some of the lanes, don't do the work twice: a run is claimed by inserting
its (job, slot) row, which is unique in the book, and a job whose last run still holds its lease is left alone. Every
stage may be run again, so a run that died half-way is simply run again at the next slot. A failed run is retried with
growing pauses, then reported on the jobs page and in /metrics; it hurts nothing else.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from sqlalchemy import func, select, union_all
from sqlalchemy.exc import IntegrityError, OperationalError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from console.jobs.sayings import Said, of_error, say
from console.tables import JobRun, RunState
from quota.actors import steward
from quota.db import Book, Tx
from quota.errors import NoRoom

log = logging.getLogger("guanjia.jobs")

MOST_SAID = 60
"""How many things of a run are kept: a night in which every case is refused is told by the first of them."""


@dataclass(frozen=True, slots=True)
class JobPlan:
    """When a job is done, and in which lane; ``cron`` is a crontab line, city time."""

    name: str
    label: str
    cron: str
    lane: str
    lease: timedelta = timedelta(hours=1)
    attempts: int = 3

    def trigger(self, zone: str | ZoneInfo) -> CronTrigger:
        return CronTrigger.from_crontab(self.cron, timezone=zone)


@dataclass(frozen=True, slots=True)
class Job:
    """What is done as planned. ``run`` says what it did."""

    plan: JobPlan
    run: Callable[[], Sequence[Said]]


def claim(book: Book, plan: JobPlan, slot: datetime) -> int | None:
    """Take ``slot`` of a job; the id of the run, or None where somebody has it or an earlier run still goes on.

    A run whose process is known to be dead is lost at once; of one on another host that is only known by its lease.
    """
    try:
        with book.transaction(steward(f"job:{plan.name}")) as tx:
            for run in tx.scalars(
                select(JobRun).where(JobRun.job == plan.name, JobRun.state == RunState.RUNNING.value)
            ):
                if run.lease_until > tx.now and not _died(run):
                    return None
                run.state, run.ended_at = RunState.LOST.value, tx.now
                run.said = [say("lost").to_json()]
            run = JobRun(
                job=plan.name,
                slot=slot,
                state=RunState.RUNNING.value,
                started_at=tx.now,
                lease_until=tx.now + plan.lease,
                attempts=1,
                host=f"{socket.gethostname()}:{os.getpid()}",
                said=[],
            )
            tx.add(run)
            tx.flush()
            return run.id
    except IntegrityError:
        return None


def _died(run: JobRun) -> bool:
    """Whether the process of a run was on this host and is no more."""
    host, _, number = run.host.rpartition(":")
    if host != socket.gethostname() or not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False  # somebody else's, so it is there
    return False


def perform(book: Book, job: Job, slot: datetime, *, pause: float = 5.0) -> RunState | None:
    """Claim ``slot`` and do the work; None where there was nothing to claim.

    Retried ``attempts`` times with pauses that double from ``pause`` seconds. Never raises for a failing job, nor for a
    disk so full that the run cannot be recorded: that is made up for once there is room.
    """
    plan, begun = job.plan, book.clock()
    try:
        book.look_at_classes()
        record_ends(book)
        run_id = _patient(claim, book, plan, slot)
    except NoRoom as full:
        _keep_end(book, Ended(None, plan.name, slot, begun, begun, RunState.FAILED, 1, of_error(full), str(full)))
        return RunState.FAILED
    if run_id is None:
        return None
    attempts = 0
    state, outcome = RunState.DONE, ""
    try:
        for attempt in Retrying(
            stop=stop_after_attempt(plan.attempts),
            wait=wait_exponential_jitter(multiplier=pause, max=300, jitter=pause / 5),
            reraise=True,
        ):
            with attempt:
                attempts += 1
                said = job.run()
    except Exception as error:
        log.exception("job %s failed", plan.name)
        outcome = "".join(traceback.format_exception_only(error)).strip()
        state, said = RunState.FAILED, of_error(error)
    ended = Ended(run_id, plan.name, slot, begun, book.clock(), state, attempts, said, outcome)
    try:
        _patient(_end, book, ended)
    except NoRoom:
        _keep_end(book, ended)
    return state


_patient = Retrying(
    retry=retry_if_exception_type(OperationalError),
    stop=stop_after_attempt(6),
    wait=wait_exponential_jitter(multiplier=1, max=60),
    reraise=True,
)
"""For a run's own rows: another lane that writes to the book for long loses no slot and leaves no run without an end."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended. ``run_id`` None: there was no room to claim it."""

    run_id: int | None
    job: str
    slot: datetime
    begun: datetime
    at: datetime
    state: RunState
    attempts: int
    said: Sequence[Said]
    outcome: str


_unrecorded: dict[tuple[Book, str], Ended] = {}
"""The last end of each job that a full disk kept from being recorded: the first run that finds room again records it."""
_recording = threading.Lock()


def _keep_end(book: Book, ended: Ended) -> None:
    log.error("job %s ended (%s) and there is no room to record it", ended.job, ended.state.value)
    with _recording:
        kept = _unrecorded.get((book, ended.job))
        if kept is None or kept.run_id is None:  # a run that was claimed goes on until its end is recorded
            _unrecorded[book, ended.job] = ended


def record_ends(book: Book) -> None:
    """Record what there was no room for. Raises NoRoom where there still is none."""
    with _recording:
        for key in [key for key in _unrecorded if key[0] is book]:
            _end(book, _unrecorded[key])
            del _unrecorded[key]


def _end(book: Book, ended: Ended) -> None:
    with book.transaction(steward()) as tx:
        if ended.run_id is not None:
            run = tx.get_one(JobRun, ended.run_id)
        elif tx.scalar(select(JobRun.id).where(JobRun.job == ended.job, JobRun.slot == ended.slot)):
            return  # another process had room for it
        else:
            run = JobRun(
                job=ended.job,
                slot=ended.slot,
                started_at=ended.begun,
                lease_until=ended.begun,
                host=f"{socket.gethostname()}:{os.getpid()}",
            )
            tx.add(run)
        run.state, run.ended_at, run.attempts = ended.state.value, ended.at, ended.attempts
        run.said, run.outcome = [one.to_json() for one in ended.said[:MOST_SAID]], ended.outcome[:4000]
        tx.flush()
        if ended.state is RunState.FAILED:
            about = {"run": run.id, "attempts": ended.attempts}
            tx.audit("job.failed", f"job:{run.job}", after=about, reason=ended.outcome[:500])


def latest(tx: Tx, names: Sequence[str]) -> dict[str, JobRun]:
    """The newest run of each of these jobs: a look-up each, however many runs are on record."""
    newest = [
        select(select(JobRun.id).where(JobRun.job == name).order_by(JobRun.slot.desc()).limit(1).scalar_subquery())
        for name in names
    ]
    if not newest:
        return {}
    return {run.job: run for run in tx.scalars(select(JobRun).where(JobRun.id.in_(union_all(*newest))))}


def last_success(tx: Tx) -> dict[str, datetime]:
    """When each job last ended well."""
    query = (
        select(JobRun.job, func.max(JobRun.ended_at)).where(JobRun.state == RunState.DONE.value).group_by(JobRun.job)
    )
    return {job: ended for job, ended in tx.execute(query) if ended is not None}


def due_before(trigger: CronTrigger, now: datetime) -> datetime:
    """The newest slot of a schedule that is not after ``now``."""
    found: datetime | None
    back = timedelta(minutes=1)
    while (found := trigger.get_next_fire_time(None, now - back)) is None or found > now:
        back *= 2
    while (later := trigger.get_next_fire_time(None, found + timedelta(seconds=1))) is not None and later <= now:
        found = later
    return found


@dataclass(frozen=True, slots=True)
class JobStanding:
    """Where a job stands: its newest run, its next slot, and for how long a slot has been waiting to be run."""

    plan: JobPlan
    run: JobRun | None
    next: datetime
    lag: timedelta

    @property
    def failed(self) -> bool:
        return self.run is not None and self.run.state in (RunState.FAILED.value, RunState.LOST.value)


def standings(tx: Tx, plans: Sequence[JobPlan], zone: ZoneInfo) -> list[JobStanding]:
    """Each job's standing at this moment. A job that never ran is late from its last slot on, where jobs ran before it."""
    newest = latest(tx, [one.name for one in plans])
    began = tx.scalar(select(func.min(JobRun.started_at)))
    found = []
    for plan in plans:
        trigger, run = plan.trigger(zone), newest.get(plan.name)
        if run is not None:
            missed = trigger.get_next_fire_time(None, run.slot + timedelta(seconds=1))
        else:
            due = due_before(trigger, tx.now)
            missed = due if began is not None and due >= began else None
        lag = max(tx.now - missed, timedelta()) if missed is not None else timedelta()
        following = trigger.get_next_fire_time(None, tx.now + timedelta(seconds=1)) or tx.now
        found.append(JobStanding(plan, run, following, lag))
    return found


def lags(found: Sequence[JobStanding]) -> Mapping[str, timedelta]:
    """Lane → how long the slot that has waited longest in it has been waiting."""
    longest: dict[str, timedelta] = {}
    for one in found:
        longest[one.plan.lane] = max(one.lag, longest.get(one.plan.lane, timedelta()))
    return longest


def schedule(book: Book, jobs: Sequence[Job], zone: str) -> BackgroundScheduler:
    """A scheduler over ``jobs``, not yet started: a thread for each of their lanes."""
    lanes = {job.plan.lane: ThreadPoolExecutor(1) for job in jobs}
    scheduler = BackgroundScheduler(
        timezone=zone,
        executors=lanes,
        # However long a job waits in its lane, it is not skipped (None); what became due meanwhile is done with it.
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )
    # What waits behind a job that goes on for longer than its period is told on the jobs page, by its lag.
    logging.getLogger("apscheduler.scheduler").setLevel(logging.ERROR)

    def one(job: Job, trigger: CronTrigger) -> None:
        if scheduler.running:  # what still waits in a lane when the process is ended is left for the next one
            perform(book, job, due_before(trigger, book.clock()))

    for job in jobs:
        trigger = job.plan.trigger(zone)
        scheduler.add_job(
            one, trigger, args=(job, trigger), id=job.plan.name, name=job.plan.label, executor=job.plan.lane
        )
    return scheduler
