"""Jobs are recorded, claimed once, retried, reported; one that fails hurts nothing."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
from dataclasses import fields
from datetime import date, timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from console import worklist
from console.jobs import Job, JobRun, RunState, claim, last_success, latest, perform, schedule
from console.sayings import WORDS, Said, Unsuccessful, fault, of_error, say, worded
from console.views.jobs import LABELS
from metering.deadlines import Advanced
from quota.audit import AuditRecord
from quota.db import Book
from quota.errors import Invalid
from tests.conftest import Clock
from tests.patience import PATIENCE, together


def job(run: object = list, **more: object) -> Job:
    return Job("collect", "采集", "*/5 * * * *", run, **more)  # type: ignore[arg-type]


def runs(book: Book) -> list[JobRun]:
    with book.reading() as tx:
        return list(tx.scalars(select(JobRun).order_by(JobRun.id)))


def test_a_run_is_recorded_with_its_outcome(book: Book, clock: Clock) -> None:
    assert perform(book, job(lambda: [say("collected", at="p", samples=3)]), clock()) is RunState.DONE
    (run,) = runs(book)
    assert (run.job, run.state, run.attempts) == ("collect", "done", 1)
    assert run.said == [["collected", {"at": "p", "samples": 3}]]
    with book.reading() as tx:
        assert last_success(tx) == {"collect": clock()}
        assert latest(tx)["collect"].id == run.id


def test_two_schedulers_do_the_work_once(book: Book, clock: Clock) -> None:
    done: list[int] = []
    lock, results = threading.Lock(), []

    def work() -> list[Said]:
        with lock:
            done.append(1)
        return []

    def scheduler() -> None:
        results.append(perform(book, job(work), clock()))

    together(*[scheduler] * 4)
    assert len(done) == 1
    assert sorted(map(str, results)) == ["None", "None", "None", "done"]


def test_a_run_whose_process_was_killed_is_taken_over_at_once(book: Book, clock: Clock) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait(PATIENCE)
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

    def flaky() -> list[Said]:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("the cloud does not answer")
        return [say("compacted", files=1)]

    assert perform(book, job(flaky), clock(), pause=0) is RunState.DONE
    assert runs(book)[0].attempts == 3

    def broken() -> list[Said]:
        raise OSError("the cloud does not answer")

    assert perform(book, job(broken, attempts=2), clock.advance(minutes=5), pause=0) is RunState.FAILED
    failed = runs(book)[1]
    assert (failed.state, failed.attempts, failed.outcome) == ("failed", 2, "OSError: the cloud does not answer")
    assert failed.said == [["error", {"error": "OSError: the cloud does not answer"}]]
    with book.reading() as tx:
        assert tx.scalars(select(AuditRecord.action)).all() == ["job.failed"]
        assert last_success(tx)["collect"] < failed.started_at


def test_the_schedule_follows_the_citys_clock(book: Book, clock: Clock) -> None:
    scheduler = schedule(book, [Job("assess", "评估", "30 2 * * *", list)], "Asia/Shanghai")
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


def test_a_run_is_worded_in_the_readers_language(app: Flask) -> None:
    refusal = Invalid("case.step", "案件处于“%(state)s”,不能转为“%(to)s”", state="待审核", to="待通知")
    said = [
        say("judged", verdict="idle", resources=1200),
        say("skipped", skip="quiet", resources=2),
        say("retained", files=0, days=date(2025, 10, 1), hours=date(2023, 11, 1)),
        fault(refusal, case=7),
        fault(OSError("no answer"), at="p1"),
    ]
    kept = json.loads(json.dumps([one.to_json() for one in said]))
    with app.test_request_context("/", headers={"Cookie": "language=zh_CN"}):
        assert worded(kept) == (
            "闲置 1,200 项；尚在静默期,略过 2 项；删除到期文件 0 个；采样保存自 2025-10-01，小时数据保存自 2023-11-01；"
            "案件7未办：案件处于“待审核”,不能转为“待通知”；p1 出错：OSError: no answer"
        )
    with app.test_request_context("/", headers={"Cookie": "language=en"}):
        english = worded(kept)
    assert not re.search(r"[\u4e00-\u9fff]", english), english
    assert "1,200" in english


def test_a_run_that_counted_nothing_says_so_once(app: Flask) -> None:
    with app.test_request_context("/"):
        assert worded([]) == worded([["replayed", {"replays": 0}], ["rolled", {"days": 0}]]) == "没有要办的"
        assert worded([["lost", {}], ["rolled", {"days": 0}]]) == "进程中断,未报告结果"


def test_what_another_release_said_is_still_shown(app: Flask) -> None:
    with app.test_request_context("/"):
        assert worded([["dreamt", {"sheep": 3}]]) == "dreamt sheep=3"
    with pytest.raises(KeyError):
        say("dreamt", sheep=3)


def test_a_run_that_did_nothing_says_why_not(book: Book, clock: Clock) -> None:
    def broken() -> list[Said]:
        raise Unsuccessful(fault(OSError("down"), at="p1"), say("rolled", days=2))

    assert perform(book, job(broken, attempts=1), clock(), pause=0) is RunState.FAILED
    assert [code for code, _ in runs(book)[0].said] == ["error_at", "rolled"]
    assert [one.code for one in of_error(Invalid("x", "说明"))] == ["refused"]


def test_every_saying_of_the_schedule_has_words() -> None:
    source = (Path(worklist.__file__)).read_text("utf-8")
    codes = set(re.findall(r'say\(\s*"(\w+)"', source)) | {one.name for one in fields(Advanced)} - {"refused", "failed"}
    assert len(codes) > 20
    assert codes - set(WORDS) == set()
