"""``/metrics``: what the steward tells Prometheus.

Business gauges are read from the book when they are scraped, so they are the same from whichever worker answers, and
as fresh as the book. What a worker counts itself (requests, refusals, seconds) goes through prometheus-client, in its
multiprocess mode where PROMETHEUS_MULTIPROC_DIR is set.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from flask import Flask, Response, g, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from console import anchors
from console.backups import runs as backup_runs
from console.jobs import PLAN, lags, last_success, standings
from console.tables import JobRun, Mail, RunState
from console.verification import runs
from metering.cases import Case
from metering.intake import Intake
from metering.judging import Assessment, Finding
from providers.orders import WorkOrder
from quota import audit, ledger
from quota.actors import steward
from quota.calendar import ZONE
from quota.db import Book, Tx
from quota.directory import Pool
from quota.inventory import Resource
from quota.ledger import Account
from quota.requests import Request

REQUESTS = Counter("guanjia_http_requests", "Pages and calls answered.", ["endpoint", "method", "status"])
SECONDS = Histogram(
    "guanjia_http_request_seconds",
    "Time to answer.",
    ["endpoint"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 10),
)


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""Those that have a series of their own: a stranger may send any word as a method, and each series takes room for good."""


class BookCollector(Collector):
    """The business gauges, read from the book at each scrape."""

    def __init__(self, book: Book, zone: ZoneInfo = ZONE) -> None:
        self.book, self.zone = book, zone

    def collect(self) -> Iterator[Metric]:
        with self.book.reading(steward("metrics")) as tx:
            yield from _ledger(tx)
            yield from _audit(tx)
            yield from _counts(tx)
            yield from _intakes(tx, self.book.clock())
            yield from _findings(tx)
            yield from _jobs(tx)
            yield _lanes(tx, self.zone)
            yield from _verified(tx)
            yield from _backups(tx)
            yield from _anchors(tx)


def _ledger(tx: Tx) -> Iterator[Metric]:
    balance = GaugeMetricFamily(
        "guanjia_ledger_balance",
        "Base units on the ledger's accounts by pool, resource class, architecture and holder.",
        labels=["pool", "kind", "arch", "holder"],
    )
    query = (
        select(Pool.code, Account.kind, Account.arch, Account.holder, func.sum(Account.balance))
        .join(Pool, Pool.id == Account.pool_id)
        .group_by(Pool.code, Account.kind, Account.arch, Account.holder)
    )
    for pool, kind, arch, holder, amount in tx.execute(query):
        balance.add_metric([pool, kind, arch, holder], float(amount))
    yield balance
    yield GaugeMetricFamily(
        "guanjia_ledger_conserved",
        "1 while free + held + granted + used + lent equals capacity in every pool and class.",
        value=float(ledger.conserved(tx)),
    )


def _audit(tx: Tx) -> Iterator[Metric]:
    count, digest = audit.head(tx)
    yield GaugeMetricFamily("guanjia_audit_records", "Records in the audit chain.", value=count)
    yield InfoMetricFamily(
        "guanjia_audit_head", "The end of the audit chain, published.", {"sequence": str(count), "sm3": digest}
    )


def _counts(tx: Tx) -> Iterator[Metric]:
    for name, text, column in (
        ("guanjia_requests", "Requests by state.", Request.state),
        ("guanjia_orders", "Orders to providers by state.", WorkOrder.state),
        ("guanjia_cases", "Reclaim, shrink and expand cases by state.", Case.state),
        ("guanjia_mails", "Mails by state.", Mail.state),
    ):
        family = GaugeMetricFamily(name, text, labels=["state"])
        for state, count in tx.execute(select(column, func.count()).group_by(column)):
            family.add_metric([state], count)
        yield family
    resources = GaugeMetricFamily("guanjia_resources", "Resources in the inventory.", labels=["pool", "kind", "state"])
    query = (
        select(Pool.code, Resource.kind, Resource.state, func.count())
        .join(Pool, Pool.id == Resource.pool_id)
        .where(Resource.gone_at.is_(None))
        .group_by(Pool.code, Resource.kind, Resource.state)
    )
    for pool, kind, state, count in tx.execute(query):
        resources.add_metric([pool, kind, state], count)
    yield resources


def _intakes(tx: Tx, now: datetime) -> Iterator[Metric]:
    lag = GaugeMetricFamily(
        "guanjia_intake_lag_seconds", "Age of the newest collected moment of a pool.", labels=["pool"]
    )
    failing = GaugeMetricFamily(
        "guanjia_intake_failing", "1 while the last collection of a pool failed.", labels=["pool"]
    )
    query = select(Pool.code, Intake.collected_until, Intake.fault).join(Pool, Pool.id == Intake.pool_id)
    for pool, until, fault in tx.execute(query):
        lag.add_metric([pool], (now - until).total_seconds())
        failing.add_metric([pool], float(bool(fault)))
    yield lag
    yield failing


def _findings(tx: Tx) -> Iterator[Metric]:
    family = GaugeMetricFamily("guanjia_findings", "Resources by class in the latest assessment.", labels=["verdict"])
    newest = select(func.max(Assessment.id)).scalar_subquery()
    query = select(Finding.verdict, func.count()).where(Finding.assessment_id == newest).group_by(Finding.verdict)
    for verdict, count in tx.execute(query):
        family.add_metric([verdict], count)
    yield family


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
    yield GaugeMetricFamily(
        "guanjia_anchors_unpublished", "Publications of anchors that are still to be done.", value=anchors.waiting(tx)
    )


def attach(app: Flask, book: Book, zone: ZoneInfo) -> None:
    """Count and time every request of ``app``, and offer ``render`` the registry."""
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry = CollectorRegistry()
        registry.register(REQUESTS)
        registry.register(SECONDS)
    registry.register(BookCollector(book, zone))
    app.extensions["guanjia.metrics"] = registry

    @app.before_request
    def _start() -> None:
        g.started = time.perf_counter()

    @app.after_request
    def _count(response: Response) -> Response:
        endpoint = request.endpoint or "none"
        method = request.method if request.method in METHODS else "other"
        REQUESTS.labels(endpoint, method, str(response.status_code)).inc()
        if "started" in g:
            SECONDS.labels(endpoint).observe(time.perf_counter() - g.started)
        return response


def render(app: Flask) -> Response:
    """All metrics in the exposition format."""
    return Response(generate_latest(app.extensions["guanjia.metrics"]), content_type=CONTENT_TYPE_LATEST)
