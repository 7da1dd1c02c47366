"""The house itself: audit chain, jobs and their lanes, mails, verification, backups, anchors, and how old what it collected is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from zoneinfo import ZoneInfo

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from sqlalchemy import func, select

from console import anchors
from console.backups import runs as backup_runs
from console.jobs import PLAN, lags, last_success, standings
from console.tables import JobRun, Mail, RunState
from console.trail import standings as trail_standings
from console.verification import runs
from metering.intake import Feed, Intake, PushSource, schedules
from providers.paces import USUAL
from quota import audit
from quota.db import Tx
from quota.directory import Pool


def collect(tx: Tx, zone: ZoneInfo) -> Iterator[Metric]:
    """All of it. ``zone``: of the timetable."""
    yield from _audit(tx)
    yield from _mails(tx)
    yield from _intakes(tx)
    yield from _sources(tx)
    yield from _jobs(tx)
    yield _lanes(tx, zone)
    yield from _verified(tx)
    yield from _backups(tx)
    yield from _trail(tx)
    yield from _anchors(tx)


def _audit(tx: Tx) -> Iterator[Metric]:
    count, digest = audit.head(tx)
    yield GaugeMetricFamily("guanjia_audit_records", "Records in the audit chain.", value=count)
    yield InfoMetricFamily(
        "guanjia_audit_head", "The end of the audit chain, published.", {"sequence": str(count), "sm3": digest}
    )


def _mails(tx: Tx) -> Iterator[Metric]:
    family = GaugeMetricFamily("guanjia_mails", "Mails by state.", labels=["state"])
    for state, count in tx.execute(select(Mail.state, func.count()).group_by(Mail.state)):
        family.add_metric([state], count)
    yield family


def _intakes(tx: Tx) -> Iterator[Metric]:
    lag = GaugeMetricFamily(
        "guanjia_intake_lag_seconds",
        "Age of the newest collected moment of a pool; none before its first collection.",
        labels=["pool"],
    )
    failing = GaugeMetricFamily(
        "guanjia_intake_failing", "1 while the last collection of a pool failed.", labels=["pool"]
    )
    interval = GaugeMetricFamily(
        "guanjia_intake_interval_seconds",
        "From one collection of a pool to the next, as it is arranged.",
        labels=["pool"],
    )
    query = (
        select(Pool.code, Intake, schedules.PoolSchedule.every_minutes)
        .select_from(Pool)
        .outerjoin(Intake, Intake.pool_id == Pool.id)
        .outerjoin(schedules.PoolSchedule, schedules.PoolSchedule.pool_id == Pool.id)
        .where(Pool.active)
        .order_by(Pool.code)
    )
    for pool, row, minutes in tx.execute(query):
        if row is not None and row.read_until is not None:
            lag.add_metric([pool], (tx.now - row.read_until).total_seconds())
        failing.add_metric([pool], float(row is not None and bool(row.fault)))
        interval.add_metric([pool], 60.0 * (minutes or USUAL.every_minutes))
    yield from (lag, failing, interval)


def _sources(tx: Tx) -> Iterator[Metric]:
    """Feeds are asked, push sources tell: of both, how old the newest sample is."""
    lag = GaugeMetricFamily(
        "guanjia_source_lag_seconds", "Age of the newest sample of a feed or a push source.", labels=["source", "type"]
    )
    failing = GaugeMetricFamily("guanjia_feed_failing", "1 while the last run of a feed failed.", labels=["source"])
    interval = GaugeMetricFamily(
        "guanjia_source_interval_seconds",
        "From one run of a feed to the next, as it is arranged.",
        labels=["source", "type"],
    )
    coverage = GaugeMetricFamily(
        "guanjia_feed_coverage_ratio",
        "Samples that came of those that were due, at a feed's last run.",
        labels=["source"],
    )
    told = (Feed.code, Feed.newest_at, Feed.fault, Feed.coverage, Feed.every_minutes)
    for code, newest, fault, covered, minutes in tx.execute(select(*told).where(Feed.active).order_by(Feed.code)):
        interval.add_metric([code, "feed"], 60.0 * minutes)
        if newest is not None:
            lag.add_metric([code, "feed"], (tx.now - newest).total_seconds())
        failing.add_metric([code], float(bool(fault)))
        if covered is not None:
            coverage.add_metric([code], covered)
    pushed = select(PushSource.code, PushSource.last_point_at).where(PushSource.active).order_by(PushSource.code)
    for code, newest in tx.execute(pushed):
        if newest is not None:
            lag.add_metric([code, "push"], (tx.now - newest).total_seconds())
    yield from (lag, failing, interval, coverage)


def _jobs(tx: Tx) -> Iterator[Metric]:
    success = GaugeMetricFamily(
        "guanjia_job_last_success_timestamp_seconds", "When a job last ended well.", labels=["job"]
    )
    for job, ended in last_success(tx).items():
        success.add_metric([job], ended.astimezone(UTC).timestamp())
    yield success
    failures = GaugeMetricFamily("guanjia_job_runs", "Runs of a job on record by outcome.", labels=["job", "state"])
    for job, state, count in tx.execute(
        select(JobRun.job, JobRun.state, func.count()).group_by(JobRun.job, JobRun.state)
    ):
        failures.add_metric([job, RunState(state).value], count)
    yield failures


def _lanes(tx: Tx, zone: ZoneInfo) -> Metric:
    family = GaugeMetricFamily(
        "guanjia_job_lane_lag_seconds",
        "For how long a slot of a lane's jobs has been waiting to be run.",
        labels=["lane"],
    )
    for lane, waited in lags(standings(tx, PLAN, zone)).items():
        family.add_metric([lane], waited.total_seconds())
    return family


def _verified(tx: Tx) -> Iterator[Metric]:
    run = runs.latest(tx)
    problems = GaugeMetricFamily(
        "guanjia_verification_problems", "Rows and files that the last verification found not to fit."
    )
    ended = GaugeMetricFamily("guanjia_verification_timestamp_seconds", "When the last verification ended.")
    if run is not None and run.ended_at is not None and not run.error:
        problems.add_metric([], run.problem_count)
        ended.add_metric([], run.ended_at.astimezone(UTC).timestamp())
    yield problems
    yield ended


def _backups(tx: Tx) -> Iterator[Metric]:
    good, tried = backup_runs.last_good(tx), backup_runs.last(tx)
    age = GaugeMetricFamily("guanjia_backup_age_seconds", "Age of the last good backup.")
    size = GaugeMetricFamily("guanjia_backup_size_bytes", "What is in the last good backup.")
    stored = GaugeMetricFamily("guanjia_backup_stored_bytes", "What the last good backup added to its place.")
    took = GaugeMetricFamily("guanjia_backup_duration_seconds", "How long the last good backup took.")
    failing = GaugeMetricFamily("guanjia_backup_failing", "1 while the last backup that was tried failed.")
    if good is not None:
        age.add_metric([], (tx.now - good.began_at).total_seconds())
        size.add_metric([], good.size)
        stored.add_metric([], good.stored)
        took.add_metric([], (good.ended_at - good.began_at).total_seconds())
    if tried is not None:
        failing.add_metric([], float(not tried.point))
    yield from (age, size, stored, took, failing)


def _trail(tx: Tx) -> Iterator[Metric]:
    """By kind of place: a file, a log server."""
    behind = GaugeMetricFamily(
        "guanjia_audit_export_behind_records", "Records of the trail that a place has not got.", labels=["type"]
    )
    waiting = GaugeMetricFamily(
        "guanjia_audit_export_lag_seconds", "Age of the oldest record that a place has not got.", labels=["type"]
    )
    failing = GaugeMetricFamily(
        "guanjia_audit_export_failing", "1 while the last try of a place failed.", labels=["type"]
    )
    gaps = GaugeMetricFamily(
        "guanjia_audit_export_gaps", "How often the trail did not go on where it was left.", labels=["type"]
    )
    for one in trail_standings(tx):
        behind.add_metric([one.row.kind], one.behind)
        waiting.add_metric([one.row.kind], (tx.now - one.since).total_seconds() if one.since else 0.0)
        failing.add_metric([one.row.kind], float(bool(one.row.error)))
        gaps.add_metric([one.row.kind], one.row.gaps)
    yield from (behind, waiting, failing, gaps)


def _anchors(tx: Tx) -> Iterator[Metric]:
    last = anchors.newest(tx)
    age = GaugeMetricFamily("guanjia_anchor_age_seconds", "Age of the newest anchor of the audit chain and the seals.")
    if last is not None:
        age.add_metric([], (tx.now - last.at).total_seconds())
        yield InfoMetricFamily(
            "guanjia_anchor",
            "The newest anchor, published.",
            {"sequence": str(last.sequence), "sm3": anchors.short(last.token)},
        )
    yield age
    waiting = anchors.waiting(tx)
    yield GaugeMetricFamily(
        "guanjia_anchors_unpublished", "Publications of anchors that are still to be done.", value=waiting
    )
