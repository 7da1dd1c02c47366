"""Jobs are recorded, claimed once, retried, reported; one that fails hurts nothing."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from click.testing import CliRunner
from flask import Flask
from sqlalchemy import select

from console import worklist
from console.cli.commands import main
from console.jobs.runs import Job, JobPlan, claim, due_before, lags, last_success, latest, perform, schedule, standings
from console.jobs.sayings import WORDS, Said, Unsuccessful, fault, of_error, say, worded
from console.jobs.timetable import LANES, PLAN
from console.metrics.collecting import BookCollector
from console.settings import Settings
from console.tables import JobRun, RunState
from metering.cases.deadlines import Advanced
from metering.workbench import Workbench
from quota.actors import Role, steward
from quota.audit import AuditRecord
from quota.calendar import ZONE
from quota.db import Book
from quota.errors import Invalid
from tests.conftest import Clock
from tests.console.conftest import Visit
from tests.patience import PATIENCE, together, until


def job(run: object = list, **more: object) -> Job:
    return Job(JobPlan("collect", "采集", "*/5 * * * *", "clouds", **more), run)  # type: ignore[arg-type]


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
        assert latest(tx, ["collect", "roll"])["collect"].id == run.id


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
    run_id = claim(book, job().plan, clock())
    with book.transaction(steward()) as tx:
        tx.get_one(JobRun, run_id).host = f"elsewhere:{dead.pid}"
    assert perform(book, job(), clock.advance(minutes=5)) is None, "nobody knows of processes elsewhere"
    with book.transaction(steward()) as tx:
        tx.get_one(JobRun, run_id).host = f"{socket.gethostname()}:{dead.pid}"
    assert perform(book, job(), clock.advance(minutes=5)) is RunState.DONE


def test_a_job_that_still_runs_is_left_alone_and_a_lost_one_is_taken_over(book: Book, clock: Clock) -> None:
    assert claim(book, job().plan, clock()) is not None  # this process "dies" here
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
    scheduler = schedule(book, [Job(JobPlan("assess", "评估", "30 2 * * *", "lake"), list)], "Asia/Shanghai")
    scheduler.start(paused=True)
    (entry,) = scheduler.get_jobs()
    assert entry.next_run_time.utcoffset() == timedelta(hours=8)
    assert (entry.next_run_time.hour, entry.next_run_time.minute) == (2, 30)
    scheduler.shutdown()


def test_every_planned_job_has_its_work_and_its_lane(tmp_path: Path) -> None:
    with_nothing = Workbench(None, None)  # type: ignore[arg-type] - nothing is run
    assert [one.plan for one in worklist.jobs(with_nothing, Settings(data=tmp_path))] == list(PLAN)
    assert len({one.name for one in PLAN}) == len(PLAN) > 10
    assert {one.lane for one in PLAN} == set(LANES)


def test_a_lane_opens_its_clouds_for_itself(tmp_path: Path) -> None:
    works = Workbench(None, None)  # type: ignore[arg-type] - nothing is run
    chosen = worklist.in_lanes(works, Settings(data=tmp_path), ["orders", "mail"])
    assert [one.plan.name for one in chosen] == ["carry", "mail"]
    lists = [one.run.__self__ for one in chosen]
    assert all(isinstance(each, worklist.Worklist) for each in lists)
    assert len({id(each.workbench.opened) for each in [*lists, worklist.Worklist(works, Settings())]}) == 3


class Gate:
    """A job that goes on until it is let go; how often it began and ended."""

    def __init__(self) -> None:
        self.began, self.open, self.ended = threading.Semaphore(0), threading.Event(), threading.Semaphore(0)

    def __call__(self) -> list[Said]:
        self.began.release()
        assert self.open.wait(PATIENCE)
        self.ended.release()
        return []


@pytest.fixture
def at_once(book: Book) -> Iterator[Callable[..., BackgroundScheduler]]:
    """``at_once(jobs)`` → their scheduler, running, with nothing due until ``fire`` says so."""
    running = []

    def start(*jobs: Job) -> BackgroundScheduler:
        scheduler = schedule(book, jobs, "Asia/Shanghai")
        running.append(scheduler)
        scheduler.start(paused=True)
        for one in scheduler.get_jobs():
            one.modify(next_run_time=datetime(2999, 1, 1, tzinfo=UTC))
        scheduler.resume()
        return scheduler

    yield start
    for one in running:
        one.shutdown(wait=True)


def fire(scheduler: BackgroundScheduler, name: str) -> None:
    """Let a job become due now."""
    scheduler.modify_job(name, next_run_time=datetime.now(UTC))


def test_a_lake_job_that_sleeps_keeps_no_order_waiting(
    book: Book, clock: Clock, at_once: Callable[..., BackgroundScheduler]
) -> None:
    plans = {one.name: one for one in PLAN}
    asleep, carried = Gate(), threading.Semaphore(0)

    def carry() -> list[Said]:
        carried.release()
        return []

    scheduler = at_once(Job(plans["verify"], asleep), Job(plans["assess"], asleep), Job(plans["carry"], carry))
    for name in ("verify", "assess"):
        fire(scheduler, name)
        assert asleep.began.acquire(timeout=PATIENCE)
    for _ in range(3):
        clock.advance(minutes=2)
        fire(scheduler, "carry")
        assert carried.acquire(timeout=PATIENCE), "an order waits for the lake"
        until(
            lambda: not [run for run in runs(book) if run.job == "carry" and run.state == "running"],
            "what the lanes do",
        )
    orders = [run for run in runs(book) if run.job == "carry"]
    assert [run.state for run in orders] == ["done"] * 3
    assert all(run.started_at - run.slot < timedelta(minutes=2) for run in orders), "not later than its own period"
    assert {run.job for run in runs(book) if run.state == "running"} == {"verify", "assess"}
    asleep.open.set()


def test_a_job_that_waits_in_its_lane_is_done_once_its_turn_comes(
    book: Book, clock: Clock, at_once: Callable[..., BackgroundScheduler]
) -> None:
    plans = {one.name: one for one in PLAN}
    asleep, rolled = Gate(), Gate()
    rolled.open.set()
    scheduler = at_once(Job(plans["assess"], asleep), Job(plans["roll"], rolled))
    fire(scheduler, "assess")
    assert asleep.began.acquire(timeout=PATIENCE)
    for _ in range(3):  # three of its slots come and go meanwhile
        fire(scheduler, "roll")
        until(lambda: scheduler.get_job("roll").next_run_time > datetime.now(UTC), "what the lanes do")
    clock.advance(hours=5)
    assert not rolled.began.acquire(blocking=False)
    asleep.open.set()
    assert rolled.ended.acquire(timeout=PATIENCE), "what waited in its lane was skipped"
    until(lambda: [run.state for run in runs(book)] == ["done", "done"], "what the lanes do")
    assert all(one.misfire_grace_time is None for one in scheduler.get_jobs()), "however long it waits"


@pytest.mark.parametrize(
    ("cron", "now", "slot"),
    [
        ("*/5 * * * *", "2026-06-01T02:04:59", "2026-06-01T02:00:00"),
        ("*/5 * * * *", "2026-06-01T02:05:00", "2026-06-01T02:05:00"),
        ("30 2 * * *", "2026-06-01T02:00:00", "2026-05-31T02:30:00"),
        ("40 4 1,4,8 * *", "2026-06-30T12:00:00", "2026-06-08T04:40:00"),
        ("0 0 29 2 *", "2026-06-30T12:00:00", "2024-02-29T00:00:00"),
    ],
)
def test_the_slot_that_is_due(cron: str, now: str, slot: str) -> None:
    zone = ZoneInfo("Asia/Shanghai")
    trigger = JobPlan("x", "x", cron, "lake").trigger(zone)
    found = due_before(trigger, datetime.fromisoformat(now).replace(tzinfo=zone))
    assert found == datetime.fromisoformat(slot).replace(tzinfo=zone)


def test_lag_is_how_long_a_slot_has_waited(book: Book, clock: Clock) -> None:
    plans = [JobPlan("fold", "", "* * * * *", "push"), JobPlan("roll", "", "20 0 * * *", "lake")]
    roll_at = clock.now.replace(hour=16, minute=20)  # 00:20 in the city

    def standing() -> dict[str, float]:
        with book.reading() as tx:
            return {lane: lag / timedelta(minutes=1) for lane, lag in lags(standings(tx, plans, ZONE)).items()}

    assert standing() == {"push": 0, "lake": 0}, "a house that never ran a job is not late"
    assert perform(book, Job(plans[0], list), clock()) is RunState.DONE
    assert standing() == {"push": 0, "lake": 0}, "the last night was before the house"
    clock.advance(minutes=7)
    assert standing() == {"push": 6, "lake": 0}
    clock.now = roll_at + timedelta(minutes=30)
    assert standing()["lake"] == 30
    assert (
        perform(
            book,
            Job(
                plans[1],
                list,
            ),
            roll_at,
        )
        is RunState.DONE
    )
    assert standing()["lake"] == 0
    assert "guanjia_job_lane_lag_seconds" in {one.name for one in BookCollector(book).collect()}


def test_the_jobs_page_shows_failures_first_and_what_waits(
    client_of: Callable[..., Visit], house: Book, clock: Clock
) -> None:
    plans = {one.name: one for one in PLAN}

    def broken() -> list[Said]:
        raise OSError("no answer")

    perform(house, Job(plans["fold"], list), clock())
    perform(house, Job(replace(plans["mail"], attempts=1), broken), clock(), pause=0)
    clock.advance(minutes=12)
    page = client_of(Role.SYSADMIN).get("/settings/jobs/").text
    rows = re.findall(r'<th scope="row">(\w+)</th>.*?class="gj-num">(\d+)<', page, re.DOTALL)
    assert len(rows) == len(PLAN)
    assert rows[0] == ("邮件", "11")
    assert rows[1] == ("推送入湖", "11")
    home = client_of(Role.SYSADMIN).get("/").text
    assert "失败的任务" in home


def test_a_lane_that_is_not_there_is_named(tmp_path: Path) -> None:
    answer = CliRunner().invoke(main, ["jobs", "--data", str(tmp_path), "--lane", "dreams"])
    assert answer.exit_code == 2
    assert "dreams" in answer.output
    assert all(lane in answer.output for lane in LANES)
    answer = CliRunner().invoke(main, ["jobs", "--data", str(tmp_path), "--once", "dreams"])
    assert answer.exit_code == 2
    assert "there is no job dreams; there are collect, " in answer.output


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
            "闲置 1,200 项；尚在静默期，略过 2 项；删除到期文件 0 个；采样保存自 2025-10-01，小时数据保存自 2023-11-01；"
            "案件7未办：案件处于“待审核”，不能转为“待通知”；p1 出错：OSError: no answer"
        )
    with app.test_request_context("/", headers={"Cookie": "language=en"}):
        english = worded(kept)
    assert not re.search(r"[\u4e00-\u9fff]", english), english
    assert "1,200" in english


def test_a_run_that_counted_nothing_says_so_once(app: Flask) -> None:
    with app.test_request_context("/"):
        assert worded([]) == worded([["replayed", {"replays": 0}], ["rolled", {"days": 0}]]) == "没有要办的"
        assert worded([["lost", {}], ["rolled", {"days": 0}]]) == "进程中断，未报告结果"


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
