"""Jobs are recorded, claimed once, retried, reported; one that fails hurts nothing."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

from sqlalchemy import select

from console import worklist
from console.jobs import Job, JobRun, RunState, claim, last_success, latest, perform, schedule
from console.views.jobs import LABELS
from quota.audit import AuditRecord
from quota.db import Book
from tests.conftest import Clock


def job(run: object = lambda: "nothing to do", **more: object) -> Job:
    return Job("collect", "采集", "*/5 * * * *", run, **more)  # type: ignore[arg-type]


def runs(book: Book) -> list[JobRun]:
    with book.reading() as tx:
        return list(tx.scalars(select(JobRun).order_by(JobRun.id)))


def test_a_run_is_recorded_with_its_outcome(book: Book, clock: Clock) -> None:
    assert perform(book, job(lambda: "3 pools"), clock()) is RunState.DONE
    (run,) = runs(book)
    assert (run.job, run.state, run.outcome, run.attempts) == ("collect", "done", "3 pools", 1)
    with book.reading() as tx:
        assert last_success(tx) == {"collect": clock()}
        assert latest(tx)["collect"].id == run.id


def test_two_schedulers_do_the_work_once(book: Book, clock: Clock) -> None:
    done: list[int] = []
    lock, results = threading.Lock(), []

    def work() -> str:
        with lock:
            done.append(1)
        return "done"

    def scheduler() -> None:
        results.append(perform(book, job(work), clock()))

    threads = [threading.Thread(target=scheduler) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 1
    assert sorted(map(str, results)) == ["None", "None", "None", "done"]


def test_a_run_whose_process_was_killed_is_taken_over_at_once(book: Book, clock: Clock) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    run_id = claim(book, job(), clock())
    with book.transaction() as tx:
        tx.get_one(JobRun, run_id).host = f"elsewhere:{dead.pid}"
    assert perform(book, job(), clock.advance(minutes=5)) is None, "nobody knows of processes elsewhere"
    with book.transaction() as tx:
        tx.get_one(JobRun, run_id).host = f"{socket.gethostname()}:{dead.pid}"
    assert perform(book, job(), clock.advance(minutes=5)) is RunState.DONE


def test_a_job_that_still_runs_is_left_alone_and_a_lost_one_is_taken_over(book: Book, clock: Clock) -> None:
    assert claim(book, job(), clock()) is not None  # this process "dies" here
    assert perform(book, job(), clock.advance(minutes=5)) is None
    assert perform(book, job(), clock.advance(hours=2)) is RunState.DONE
    assert [run.state for run in runs(book)] == ["lost", "done"]


def test_a_failing_job_is_retried_then_reported(book: Book, clock: Clock) -> None:
    tries: list[int] = []

    def flaky() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("the cloud does not answer")
        return "at last"

    assert perform(book, job(flaky), clock(), pause=0) is RunState.DONE
    assert runs(book)[0].attempts == 3

    def broken() -> str:
        raise OSError("the cloud does not answer")

    assert perform(book, job(broken, attempts=2), clock.advance(minutes=5), pause=0) is RunState.FAILED
    failed = runs(book)[1]
    assert (failed.state, failed.attempts, failed.outcome) == ("failed", 2, "OSError: the cloud does not answer")
    with book.reading() as tx:
        assert tx.scalars(select(AuditRecord.action)).all() == ["job.failed"]
        assert last_success(tx)["collect"] < failed.started_at


def test_the_schedule_follows_the_citys_clock(book: Book, clock: Clock) -> None:
    scheduler = schedule(book, [Job("assess", "评估", "30 2 * * *", lambda: "")], "Asia/Shanghai")
    scheduler.start(paused=True)
    (entry,) = scheduler.get_jobs()
    assert entry.next_run_time.utcoffset() == timedelta(hours=8)
    assert (entry.next_run_time.hour, entry.next_run_time.minute) == (2, 30)
    scheduler.shutdown()


def test_every_job_has_a_name_on_its_page():
    source = (Path(worklist.__file__)).read_text("utf-8")
    names = set(re.findall(r'Job\("(\w+)"', source))
    assert len(names) > 10
    assert names - set(LABELS) == set()
