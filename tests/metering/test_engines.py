"""One city judged by threads, by worker processes and by a Spark cluster, from disk and from S3: the same findings."""

import json
import os
import subprocess
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from pyarrow import fs

from metering.judging import assess, engines, measuring
from metering.judging.engines import BlockSurvey
from metering.judging.facts import concat
from metering.judging.policy import default
from metering.lake import closed_days
from metering.lake.store import Lake
from tests.metering.samples import DAY, joined, steady
from tests.patience import PATIENCE, answered, free_port, listening, until

pytestmark = pytest.mark.slow

DAYS = 31
LAST = DAY + timedelta(days=DAYS - 1)


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lake:
    """Some forty machines in five blocks, of every kind of life: busy, idle, half silent, off; some never report."""
    lake = Lake(tmp_path_factory.mktemp("engines") / "lake")
    parts = []
    for number in range(40):
        one = dict(steady(1 + number * 61, days=DAYS, level=[1.0, 15.0, 60.0, 92.0][number % 4]))
        if number % 4 == 0:  # idle: hardly anything, anywhere
            one["cpu_pct"], one["mem_pct"] = np.round(one["cpu_pct"] / 10, 2), np.round(one["mem_pct"] / 4, 2)
        if number % 3:
            one["net_rx_kbps"] = np.round(
                np.random.default_rng(number).gamma(1, 2 if number % 4 == 0 else 50, len(one["ts"])), 1
            )
            one["net_tx_kbps"] = one["net_rx_kbps"][::-1].copy()
        if number % 7 == 3:
            keep = np.random.default_rng(number).random(len(one["ts"])) < 0.6
            one = {name: column[keep] for name, column in one.items()}
        if number % 7 == 5:
            one["vcpu"] = np.where(np.arange(len(one["ts"])) > 288, 0.0, 4.0)
        parts.append(one)
    lake.append("a", joined(*parts))
    lake.roll()
    return lake


def ids() -> np.ndarray:
    return np.array(sorted([*(1 + number * 61 for number in range(40)), 2, 700, 9000]), np.int32)


def findings(place: str, engine: engines.Engine) -> bytes:
    """Everything that a finding keeps, of every resource, as it would be written down."""
    about = {
        "kind": np.array(["vm"] * len(ids()), dtype=object),
        "age_days": np.arange(float(len(ids()))),
        "expected_from": np.zeros(len(ids()), np.int64),
    }
    survey = BlockSurvey(place, DAY, LAST, default())
    parts = list(engine(measuring.measure, survey, measuring.tasks(ids(), about)))
    assert len(parts) == 6
    found = assess.judge(concat(parts), default())
    return json.dumps([found.row(i) for i in range(len(found))], ensure_ascii=False, sort_keys=True).encode()


@pytest.fixture(scope="module")
def expected(lake) -> bytes:
    return findings(str(lake.root), engines.named("local", 1))


def test_the_city_has_findings_worth_comparing(expected):
    rows = json.loads(expected)
    assert len(rows) == 43
    assert len({row["verdict"] for row in rows}) >= 4
    assert any(row["facts"]["windows"]["7"]["net_mean"] for row in rows)


@pytest.mark.parametrize(("name", "workers"), [("local", 2), ("local", 7), ("workers", 2)])
def test_threads_and_workers_find_the_same(lake, expected, name, workers):
    assert findings(str(lake.root), engines.named(name, workers)) == expected


def test_an_engine_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="no engine is called abacus"):
        engines.named("abacus")


# --- S3 -----------------------------------------------------------------------------------------------------


def test_the_days_on_s3_give_the_same_findings(lake, expected, bucket):
    first = closed_days.publish(lake, bucket)
    assert (first.copied, first.there) == (1 + 3 * DAYS, 0)
    again = closed_days.publish(lake, bucket)
    assert (again.copied, again.there) == (0, 1 + 3 * DAYS)
    assert closed_days.ClosedDays(bucket).days() == lake.days()
    assert findings(bucket, engines.named("local", 2)) == expected
    assert findings(bucket, engines.named("workers", 2)) == expected


def test_a_day_closed_anew_is_published_anew_and_a_deleted_one_goes(lake, tmp_path, bucket):
    place = bucket.replace("/lake?", "/other?")
    mine = Lake(tmp_path)
    mine.append("a", joined(steady(1, days=2)))
    mine.roll()
    closed_days.publish(mine, place)
    mine.append("a", joined(steady(2)))
    mine.roll()
    assert closed_days.publish(mine, place).copied == 3
    window = next(closed_days.ClosedDays(place).windows(None, DAY, DAY, ("cpu_pct",)))
    assert window.resources.tolist() == [1, 2]
    from metering.lake.retention import Keep

    mine.retain(DAY + timedelta(days=101), Keep(100, 200))
    closed_days.publish(mine, place)
    assert closed_days.ClosedDays(place).days() == [DAY + timedelta(days=1)]


def test_a_place_without_a_lake_is_named(tmp_path, bucket):
    with pytest.raises(FileNotFoundError):
        closed_days.ClosedDays(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        closed_days.ClosedDays(bucket.replace("/lake?", "/nothing?"))
    assert fs is not None


# --- Spark --------------------------------------------------------------------------------------------------


def workers(state: str) -> int:
    """How many workers the master says are alive; none while it answers with something else than its state.

    It listens before its pages are there: for a moment the address is not found, or its front page stands there.
    """
    try:
        return int(json.loads(answered(state))["aliveworkers"])
    except ValueError:
        return 0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A real Spark standalone on loopback: a master and two workers. Its address."""
    import pyspark

    home = Path(pyspark.__file__).parent
    folder = tmp_path_factory.mktemp("spark")
    port, web = free_port(), free_port()
    environment = {
        **os.environ,
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_NO_DAEMONIZE": "1",
        "SPARK_LOCAL_DIRS": str(folder),
        "SPARK_DAEMON_MEMORY": "256m",
    }
    started: list[subprocess.Popen] = []

    def start(name: str, *arguments: str) -> None:
        log = (folder / f"{len(started)}.log").open("w")
        command = [str(home / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}", *arguments]
        started.append(subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log))

    try:
        start("master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", str(web))
        listening(port)
        listening(web)
        for number in range(2):
            start(
                "worker.Worker", "--host", "127.0.0.1", "--cores", "1", "--memory", "700m", "--webui-port", str(free_port()),
                "--work-dir", str(folder / f"worker{number}"), f"spark://127.0.0.1:{port}",
            )  # fmt: skip
        until(lambda: workers(f"http://127.0.0.1:{web}/json/") == 2, "two workers at the master", 0.2)
        yield f"spark://127.0.0.1:{port}"
    finally:
        for one in reversed(started):
            one.terminate()
        for one in started:
            one.wait(PATIENCE)


def test_a_spark_cluster_finds_the_same(lake, expected, cluster, monkeypatch):
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", "--driver-memory 512m --conf spark.executor.memory=512m pyspark-shell")
    assert findings(str(lake.root), engines.named(cluster)) == expected
