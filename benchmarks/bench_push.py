"""Remote-write: bodies as Prometheus sends them (2,000 samples, ten labels), decoded, kept durably and acknowledged.

Beside it VictoriaMetrics, which takes the same bodies over HTTP and acknowledges what it holds in memory, and a small
receiver: the plain schema (labels as messages), inserted into SQLite.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from benchmarks.harness import Rate, Watch, fresh, work
from benchmarks.victoria import Victoria, beside
from benchmarks.web import served
from console.pages.metering import wire
from console.schema import models  # noqa: F401 - every table is known
from console.settings import Settings
from metering.intake import sources
from quota.actors import steward
from quota.base import Base
from quota.db import Book
from quota.directory.pools import CloudProvider, Pool
from quota.inventory import Resource

HOSTS, SERIES, SCRAPES, BATCH = 100, 50, 40, 2000
BODIES = HOSTS * SERIES * SCRAPES // BATCH


def prepare(home: Path) -> None:
    """A console with 100 machines, and 100 bodies of 2,000 samples."""
    book = Book(f"sqlite:///{home / 'book.db'}")
    Base.metadata.create_all(book.engine)
    with book.transaction(steward("bench")) as tx:
        company = CloudProvider(code="c", name="c")
        tx.add(company)
        tx.flush()
        pool = Pool(code="p", name="p", provider_id=company.id, arch="x86_64", zone="z", adapter="files")
        tx.add(pool)
        tx.flush()
        for host in range(HOSTS):
            tx.add(
                Resource(
                    pool_id=pool.id, external_id=f"host-{host}", kind="vm", arch="x86_64", state="running",
                    first_seen_at=tx.now,
                )
            )  # fmt: skip
        (home / "token").write_text(sources.register(tx, "bench", "bench", pool.id)[1])
    now = int(datetime.now(UTC).timestamp()) * 1000
    named = [
        [
            (name, value)
            for name, value in (
                ("__name__", "node_cpu_seconds_total"),
                ("cpu", str(series // 8)),
                ("instance", f"host-{host}:9100"),
                ("job", "node"),
                ("mode", "idle" if series % 8 == 0 else f"mode{series % 8}"),
                ("city", "example"),
                ("zone", "z1"),
                ("rack", f"r{host // 10}"),
                ("env", "production"),
                ("team", "platform"),
            )
        ]
        for host in range(HOSTS)
        for series in range(SERIES)
    ]
    labels = [[wire._Label(name=name, value=value).SerializeToString() for name, value in pairs] for pairs in named]
    symbols = {
        word: n for n, word in enumerate(dict.fromkeys(["", *(w for one in named for pair in one for w in pair)]))
    }
    refs = [[symbols[word] for pair in pairs for word in pair] for pairs in named]
    codec = pa.Codec("snappy")
    number = 0
    message, second = wire._WriteRequest(), wire._Request(symbols=symbols)
    for scrape in range(SCRAPES):
        for series, known in enumerate(labels):
            one = wire._TimeSeries(labels=known)
            one.samples.add(timestamp=now - (SCRAPES - scrape) * 15_000, value=float(scrape * 10 + series % 8 + 1))
            message.timeseries.append(one.SerializeToString())
            second.timeseries.add(labels_refs=refs[series]).samples.add(
                timestamp=now - (SCRAPES - scrape) * 15_000, value=float(scrape * 10 + series % 8 + 1)
            )
            if len(message.timeseries) == BATCH:
                body = codec.compress(message.SerializeToString(), asbytes=True)
                (home / f"body-{number:04d}").write_bytes(body)
                body = codec.compress(second.SerializeToString(), asbytes=True)
                (home / f"second-{number:04d}").write_bytes(body)
                number += 1
                message, second = wire._WriteRequest(), wire._Request(symbols=symbols)
    assert number == BODIES


def bodies(home: Path, which: str = "body") -> list[bytes]:
    return [path.read_bytes() for path in sorted(home.glob(f"{which}-*"))]


def guanjia(home: Path, watch: Watch) -> float:
    """Through the console's own WSGI application: token, decoding, spool, fsync."""
    return pushed(home, watch, "body", "application/x-protobuf")


def guanjia_2(home: Path, watch: Watch) -> float:
    """The same samples by remote-write 2.0."""
    return pushed(home, watch, "second", "application/x-protobuf;proto=io.prometheus.write.v2.Request")


def pushed(home: Path, watch: Watch, which: str, kind: str) -> float:
    app = served(Settings(data=home, secret_key="b" * 40), Book(f"sqlite:///{home / 'book.db'}"))
    client = app.test_client()
    headers = {
        "Authorization": f"Bearer {(home / 'token').read_text()}",
        "Content-Type": kind,
        "Content-Encoding": "snappy",
    }
    waiting = bodies(home, which)
    with watch:
        for body in waiting:
            answer = client.post("/api/v1/write", data=body, headers=headers)
            assert answer.status_code == 204, answer.text
    return BODIES * BATCH


def small_receiver(home: Path, watch: Watch) -> float:
    """Labels decoded one by one, rows into SQLite, one durable transaction a body."""
    path = home / "receiver.db"
    path.unlink(missing_ok=True)
    book = sqlite3.connect(path)
    book.execute("PRAGMA journal_mode=WAL")
    book.execute("PRAGMA synchronous=FULL")
    book.execute("CREATE TABLE samples (labels TEXT, ts INTEGER, value REAL, PRIMARY KEY (labels, ts)) WITHOUT ROWID")
    waiting = bodies(home)
    with watch:
        for body in waiting:
            request = wire._WriteRequest.FromString(wire.unpacked(body))
            rows = [
                (str(sorted(wire._labels(raw).items())), sample.timestamp, sample.value)
                for raw in request.timeseries
                for sample in wire._TimeSeries.FromString(raw).samples
            ]
            with book:
                book.executemany("INSERT OR REPLACE INTO samples VALUES (?, ?, ?)", rows)
    return BODIES * BATCH


def victoria(home: Path, watch: Watch) -> float:
    """Over HTTP on loopback, one connection a body; not yet on disk when it answers."""
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
    waiting = bodies(home)
    with Victoria(fresh(home / "vm")) as server, watch:
        for body in waiting:
            server.ask("/api/v1/write", body, headers)
    return BODIES * BATCH


work(
    "remote-write",
    "remote-write to the acknowledgement, 2,000 samples a body",
    unit="samples",
    reach=Rate(300_000),
    prepare=prepare,
    **beside({"guanjia": guanjia, "guanjia, 2.0": guanjia_2, "protobuf + SQLite": small_receiver}, victoria),
)
