"""A scrape of /metrics in a city of 100,000 resources: the demo city a hundred and twenty-two times over.

The first scrape after an assessment, which reads what the assessment found, is made before the clock runs; every later one
is like those that are timed.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.bench_console import city, founded
from benchmarks.harness import Watch, Within, work
from console.app import create_app
from console.settings import Settings
from tests.scale.tenfold import tenfold

TIMES = 122
ROUNDS = 3
LARGEST_B = 5_000_000


def amplified(home: Path) -> None:
    founded(home)
    (home / "large").mkdir()
    tenfold(city(home) / "book.db", home / "large" / "book.db", TIMES)


def scrapes(home: Path, watch: Watch) -> float:
    """Answers, each of at most LARGEST_B bytes."""
    client = create_app(Settings(data=home / "large", secret_key="b" * 40, demo=True)).test_client()
    client.get("/metrics")
    with watch:
        for _ in range(ROUNDS):
            answer = client.get("/metrics")
            if answer.status_code != 200 or len(answer.data) > LARGEST_B:
                raise RuntimeError(f"{answer.status_code}, {len(answer.data)} bytes")
    return ROUNDS


work(
    "metrics",
    "three scrapes of /metrics at 100,000 resources, each of at most 5 MB",
    unit="scrapes",
    reach=Within(3),
    prepare=amplified,
    contenders={"guanjia": scrapes},
)
