"""Pages of the demo city with one worker, and how long a city takes to stand.

The demo city is founded anew for these (GUANJIA_DEMO_CITY names one that stands already). Every page is asked for as the
supervisor, warm, one after another. Beside it a bare listing of the same resources: Flask, SQLAlchemy, one template,
without login, filters, counts, states or translations: what those cost is the difference.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import numpy as np
from flask import Flask, render_template_string
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from benchmarks.harness import AtMost, Watch, Within, work
from benchmarks.web import served
from console import founding, i18n
from console.settings import Settings
from quota.db import Book
from quota.inventory import Resource

PAGES = (
    "/",
    "/resources/",
    "/findings/",
    "/cases/",
    "/requests/",
    "/notices/",
    "/recoveries/",
    "/policies/",
    "/audit/",
)
ROUNDS = 15
TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


def city(home: Path) -> Path:
    """The demo city's data directory."""
    return Path(os.environ.get("GUANJIA_DEMO_CITY") or home / "city")


def founded(home: Path) -> None:
    i18n.compile_all()
    founding.found(Settings(data=city(home)), demo=True)


def pages(home: Path, watch: Watch) -> float:
    """P95 of all answers in milliseconds; the slowest page decides."""
    data = city(home)
    settings = Settings(data=data, secret_key="b" * 40)
    client = served(settings).test_client()
    password = json.loads((data / founding.ACCOUNTS).read_text("utf-8"))["accounts"]["supervisor"]
    token = TOKEN.search(client.get("/login").text)
    form = {"login": "supervisor", "password": password, "csrf_token": token[1] if token else ""}
    assert client.post("/login", data=form).status_code == 302
    worst = 0.0
    with watch:
        for page in PAGES:
            took = []
            for number in range(ROUNDS + 2):
                since = time.perf_counter()
                answer = client.get(page)
                if answer.status_code in (403, 404):  # not the supervisor's
                    break
                assert answer.status_code == 200, (page, answer.status_code)
                if number >= 2:
                    took.append(time.perf_counter() - since)
            if took:
                worst = max(worst, float(np.percentile(took, 95)) * 1000)
    return worst


BARE = "<table>{% for one in rows %}<tr><td>{{ one.name }}<td>{{ one.pool.name }}<td>{{ one.state }}</tr>{% endfor %}</table>"


def bare_listing(home: Path, watch: Watch) -> float:
    """The same fifty resources from a view of ten lines."""
    book = Book(Settings(data=city(home)).database_url)
    app = Flask("bare")

    @app.get("/")
    def index() -> str:
        with Session(book.engine) as session:
            query = select(Resource).options(joinedload(Resource.pool)).order_by(Resource.id).limit(50)
            return render_template_string(BARE, rows=session.scalars(query).all())

    client, took = app.test_client(), []
    with watch:
        for number in range(ROUNDS + 2):
            since = time.perf_counter()
            assert client.get("/").status_code == 200
            if number >= 2:
                took.append(time.perf_counter() - since)
    book.dispose()
    return float(np.percentile(took, 95)) * 1000


def from_nothing(home: Path, watch: Watch) -> float:
    """``guanjia init`` with the demo city."""
    command = [sys.executable, "-m", "console.cli", "init", "--data", str(home / "new")]
    with watch:
        subprocess.run(command, check=True, capture_output=True)
    return 1


def warm(home: Path, watch: Watch) -> float:
    """``guanjia run`` on a city that stands, to the first answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "console.cli", "run", "--data", str(city(home)), "--port", str(port)]
    with watch:
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            try:
                with urlopen(f"http://127.0.0.1:{port}/login", timeout=5) as answer:
                    if answer.status == 200:
                        break
            except OSError:
                time.sleep(0.1)
        else:
            raise TimeoutError(f"no answer on port {port}")
    running.terminate()
    running.wait(timeout=30)
    return 1


work(
    "pages",
    "P95 of the slowest page of the demo city, one worker, milliseconds",
    unit="ms",
    reach=AtMost(150),
    prepare=founded,
    contenders={"guanjia": pages, "bare Flask + SQLAlchemy listing": bare_listing},
)
work("init", "guanjia init with the demo city", unit="city", reach=Within(180), contenders={"guanjia": from_nothing}, rounds={"guanjia": 1})  # fmt: skip
work(
    "warm-start",
    "guanjia run on a standing city, to the first answer",
    unit="start",
    reach=Within(10),
    prepare=founded,
    contenders={"guanjia": warm},
)
