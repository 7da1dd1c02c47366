"""``/metrics``: what the steward tells Prometheus.

Gauges and flows are read from the book when they are scraped, so they are the same from whichever worker answers, and
as fresh as the book. What a worker counts itself (requests, refusals, seconds) goes through prometheus-client, in its
multiprocess mode where PROMETHEUS_MULTIPROC_DIR is set.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from zoneinfo import ZoneInfo

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from console.metrics import flows, holdings, house, kept, work
from console.metrics.disks import DiskCollector
from console.settings import Settings
from quota.actors import steward
from quota.calendar import ZONE
from quota.db import Book
from quota.errors import Refused

log = logging.getLogger("guanjia.metrics")

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
    """What the book tells, read at each scrape in one snapshot."""

    def __init__(self, book: Book, zone: ZoneInfo = ZONE) -> None:
        self.book, self.zone, self.flows, self.kept = book, zone, flows.Flows(), kept.ScrapeCache()
        self._lock = threading.Lock()

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            for family in self.families():
                yield family.metric

    def write(self, encode: kept.Encoder, content_type: str) -> bytes:
        """All of it as ``encode`` writes it, without the end of the whole."""
        with self._lock:
            return b"".join(kept.write(family, encode, content_type) for family in self.families())

    def families(self) -> Iterator[kept.Family]:
        """What stays as it was is the family that it was."""
        with self.book.reading(steward("metrics"), one_moment=True) as tx:
            self.kept.look(tx)
            yield from holdings.collect(tx, self.kept)
            yield from kept.families(work.collect(tx))
            yield from kept.families([self.flows.collect(tx)])
            yield from kept.families(house.collect(tx, self.zone))


PROMETHEUS = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.4"
"""The form that Prometheus asks for: what is written ahead."""


def warm(app: Flask) -> None:
    """Reckon and write in this process what its first scrape would have to: at 100,000 resources more than a second. For a thread
    of its own, since requests go on meanwhile; a scrape that comes before it is over waits for it. A book that cannot be read is
    left to the scrape to tell."""
    encode, content_type = choose_encoder(PROMETHEUS)
    try:
        app.extensions["guanjia.metrics.book"].write(encode, content_type)
    except (Refused, SQLAlchemyError) as error:
        log.warning("metrics are not reckoned ahead: %s", error)


def attach(app: Flask, book: Book, settings: Settings) -> None:
    """Count and time every request of ``app``, and offer ``render`` the registry."""
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry = CollectorRegistry()
        registry.register(REQUESTS)
        registry.register(SECONDS)
    registry.register(DiskCollector(settings, lambda: book.clock()))
    app.extensions["guanjia.metrics"] = registry
    app.extensions["guanjia.metrics.book"] = BookCollector(book, settings.zone)

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


def collect(app: Flask) -> Iterator[Metric]:
    """Every family of ``/metrics``."""
    yield from app.extensions["guanjia.metrics.book"].collect()
    yield from app.extensions["guanjia.metrics"].collect()


def render(app: Flask) -> Response:
    """All metrics, in OpenMetrics where the scraper asks for it, else in Prometheus' own text format."""
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    told = app.extensions["guanjia.metrics.book"].write(encode, content_type)
    answer = Response(told + encode(app.extensions["guanjia.metrics"]), content_type=content_type)
    answer.vary.add("Accept")
    return answer
