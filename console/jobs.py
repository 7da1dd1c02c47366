"""The steward's own work by the clock: APScheduler in one process, each run recorded with its outcome.

Two schedulers started by mistake don't do the work twice: a run is claimed by inserting its (job, slot) row, which is
unique in the book, and a job whose last run still holds its lease is left alone. Every stage may be run again, so a
run that died half-way is simply run again at the next slot. A failed run is retried with growing pauses, then reported
on the jobs page and in /metrics; it hurts nothing else.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from sqlalchemy import Index, String, Text, UniqueConstraint, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column
from tenacity import Retrying, stop_after_attempt, wait_exponential_jitter

from console.sayings import Said, of_error, say
from quota.actors import steward
from quota.db import Base, Book, Tx
from quota.errors import NoRoom

log = logging.getLogger("guanjia.jobs")

MOST_SAID = 60
"""How many things of a run are kept: a night in which every case is refused is told by the first of them."""


class RunState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    LOST = "lost"  # its process died before it could say how it ended


class JobRun(Base):
    """One run of one job for one slot of its schedule."""

    __tablename__ = "job_runs"
    __table_args__ = (UniqueConstraint("job", "slot"), Index("ix_job_runs_started", "started_at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    job: Mapped[str] = mapped_column(String(32))
    slot: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(8), default=RunState.RUNNING.value)
    started_at: Mapped[datetime]
    lease_until: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=1)
    host: Mapped[str] = mapped_column(String(128), default="")
    said: Mapped[list[Any]]  # [code of sayings.WORDS, figures] each
    outcome: Mapped[str] = mapped_column(Text, default="")
    """What runs said before they kept codes; of a failed one, what was raised."""

    @property
    def seconds(self) -> float | None:
        """How long it took."""
        return (self.ended_at - self.started_at).total_seconds() if self.ended_at else None


@dataclass(frozen=True, slots=True)
class Job:
    """What is done when. ``run`` says what it did; ``cron`` is a crontab line, city time."""

    name: str
    label: str
    cron: str
    run: Callable[[], Sequence[Said]]
    lease: timedelta = timedelta(hours=1)
    attempts: int = 3


def claim(book: Book, job: Job, slot: datetime) -> int | None:
    """Take ``slot`` of ``job``; the id of the run, or None where somebody has it or an earlier run still goes on.

    A run whose process is known to be dead is lost at once; of one on another host that is only known by its lease.
    """
    try:
        with book.transaction(steward(f"job:{job.name}")) as tx:
            for run in tx.scalars(select(JobRun).where(JobRun.job == job.name, JobRun.state == RunState.RUNNING.value)):
                if run.lease_until > tx.now and not _died(run):
                    return None
                run.state, run.ended_at = RunState.LOST.value, tx.now
                run.said = [say("lost").to_json()]
            run = JobRun(
                job=job.name,
                slot=slot,
                state=RunState.RUNNING.value,
                started_at=tx.now,
                lease_until=tx.now + job.lease,
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

    Retried ``job.attempts`` times with pauses that double from ``pause`` seconds. Never raises for a failing job, nor for a
    disk so full that the run cannot be recorded: that is made up for once there is room.
    """
    begun = book.clock()
    try:
        record_ends(book)
        run_id = claim(book, job, slot)
    except NoRoom as full:
        _keep_end(book, Ended(None, job.name, slot, begun, begun, RunState.FAILED, 1, of_error(full), str(full)))
        return RunState.FAILED
    if run_id is None:
        return None
    attempts = 0
    state, outcome = RunState.DONE, ""
    try:
        for attempt in Retrying(
            stop=stop_after_attempt(job.attempts),
            wait=wait_exponential_jitter(multiplier=pause, max=300, jitter=pause / 5),
            reraise=True,
        ):
            with attempt:
                attempts += 1
                said = job.run()
    except Exception as error:
        log.exception("job %s failed", job.name)
        outcome = "".join(traceback.format_exception_only(error)).strip()
        state, said = RunState.FAILED, of_error(error)
    ended = Ended(run_id, job.name, slot, begun, book.clock(), state, attempts, said, outcome)
    try:
        _end(book, ended)
    except NoRoom:
        _keep_end(book, ended)
    return state


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


def latest(tx: Tx) -> dict[str, JobRun]:
    """The newest run of each job."""
    newest = select(func.max(JobRun.id)).group_by(JobRun.job)
    return {run.job: run for run in tx.scalars(select(JobRun).where(JobRun.id.in_(newest)))}


def last_success(tx: Tx) -> dict[str, datetime]:
    """When each job last ended well."""
    query = (
        select(JobRun.job, func.max(JobRun.ended_at)).where(JobRun.state == RunState.DONE.value).group_by(JobRun.job)
    )
    return {job: ended for job, ended in tx.execute(query) if ended is not None}


def schedule(book: Book, jobs: Sequence[Job], zone: str) -> BackgroundScheduler:
    """A scheduler over ``jobs``, not yet started. Jobs run one at a time: they share one lake writer."""
    turn = threading.Lock()
    scheduler = BackgroundScheduler(
        timezone=zone, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": 3600}
    )

    def one(job: Job, trigger: CronTrigger) -> None:
        now = book.clock()
        slot = trigger.get_next_fire_time(None, now - timedelta(minutes=1)) or now
        with turn:
            perform(book, job, min(slot, now).replace(second=0, microsecond=0))

    for job in jobs:
        trigger = CronTrigger.from_crontab(job.cron, timezone=zone)
        scheduler.add_job(one, trigger, args=(job, trigger), id=job.name, name=job.label)
    return scheduler
