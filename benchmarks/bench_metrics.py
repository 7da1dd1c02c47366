"""Scrapes of /metrics in a city of 100,000 resources: the demo city a hundred and twenty-two times over.

Timed are scrapes of a book that did not change since the last; the first of a process that reckoned ahead, as each does when it
starts; and one that reckons everything anew, which is what that costs. After an assessment, or a night of listings, it is less.
"""

from __future__ import annotations

from pathlib import Path

from flask.testing import FlaskClient

from benchmarks.bench_console import city, founded
from benchmarks.harness import Watch, Within, work
from benchmarks.web import served
from console import metrics
from console.metrics.collecting import PROMETHEUS
from console.settings import Settings
from tests.scale.tenfold import tenfold

TIMES = 122
ROUNDS = 3
LARGEST_B = 5_000_000


def amplified(home: Path) -> None:
    founded(home)
    (home / "large").mkdir()
    tenfold(city(home) / "book.db", home / "large" / "book.db", TIMES)


def scraped(client: FlaskClient) -> None:
    answer = client.get("/metrics", headers={"Accept": PROMETHEUS})
    if answer.status_code != 200 or len(answer.data) > LARGEST_B:
        raise RuntimeError(f"{answer.status_code}, {len(answer.data)} bytes")


def opened(home: Path) -> FlaskClient:
    """The console over the large city, once scraped: what it loads at the first call is loaded."""
    client = served(Settings(data=home / "large", secret_key="b" * 40, demo=True)).test_client()
    scraped(client)
    return client


def scrapes(home: Path, watch: Watch) -> float:
    """Answers, each of at most LARGEST_B bytes."""
    client = opened(home)
    with watch:
        for _ in range(ROUNDS):
            scraped(client)
    return ROUNDS


def first(home: Path, watch: Watch) -> float:
    """The first answer of a process that has reckoned ahead."""
    app = served(Settings(data=home / "large", secret_key="b" * 40, demo=True))
    metrics.warm(app)
    client = app.test_client()
    with watch:
        scraped(client)
    return 1


def anew(home: Path, watch: Watch) -> float:
    """One answer that nothing was kept for."""
    opened(home)
    client = served(Settings(data=home / "large", secret_key="b" * 40, demo=True)).test_client()
    with watch:
        scraped(client)
    return 1


work(
    "metrics",
    "three scrapes of /metrics at 100,000 resources, each of at most 5 MB",
    unit="scrapes",
    reach=Within(1),
    prepare=amplified,
    contenders={"guanjia": scrapes},
)

work(
    "metrics_first",
    "the first scrape of /metrics of a process at 100,000 resources, what it tells having been reckoned ahead",
    unit="scrapes",
    reach=Within(1),
    prepare=amplified,
    contenders={"guanjia": first},
)

work(
    "metrics_anew",
    "a scrape of /metrics at 100,000 resources that reckons everything anew",
    unit="scrapes",
    reach=Within(2),
    prepare=amplified,
    contenders={"guanjia": anew},
)
