#!/usr/bin/env bash
# APScheduler 3.11.3: misfire_grace_time is compared when a job begins to run in its executor, not when it is submitted. With a
# pool of one thread, a job that was submitted on time and waited there for another one longer than the grace time (1 s by
# default) is dropped as "missed"; misfire_grace_time=None runs it.
set -euo pipefail
home=$(mktemp -d); trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet --disable-pip-version-check apscheduler==3.11.3
"$home/venv/bin/python" - <<'PY'
import logging
import threading
from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from apscheduler.events import EVENT_JOB_EXECUTED, EVENT_JOB_MISSED, EVENT_JOB_SUBMITTED
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

logging.disable(logging.CRITICAL)


def ends_of(**options):
    """Two jobs due at once on one thread; the first takes 3 seconds. What became of the second."""
    seen, over, release = [], threading.Event(), threading.Event()
    scheduler = BackgroundScheduler(timezone=timezone.utc, executors={"default": ThreadPoolExecutor(1)})

    def told(event):
        if event.job_id == "second":
            seen.append(event.code)
            if event.code != EVENT_JOB_SUBMITTED:
                over.set()

    scheduler.add_listener(told, EVENT_JOB_SUBMITTED | EVENT_JOB_EXECUTED | EVENT_JOB_MISSED)
    due = datetime.now(timezone.utc) + timedelta(seconds=1)
    scheduler.add_job(release.wait, "date", [3], run_date=due, id="first", misfire_grace_time=None)
    scheduler.add_job(lambda: None, "date", run_date=due, id="second", **options)
    scheduler.start()
    assert over.wait(60)
    scheduler.shutdown()
    return seen


dropped = ends_of()
kept = ends_of(misfire_grace_time=None)
print("apscheduler", version("apscheduler"))
print("by default: submitted, then", "missed" if dropped[-1] == EVENT_JOB_MISSED else "run")
print("with None:  submitted, then", "missed" if kept[-1] == EVENT_JOB_MISSED else "run")
assert dropped == [EVENT_JOB_SUBMITTED, EVENT_JOB_MISSED], dropped
assert kept == [EVENT_JOB_SUBMITTED, EVENT_JOB_EXECUTED], kept
PY
