"""A real Prometheus scrapes the demo city by the shipped rules: every rule and every panel asks for what is there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import select
from werkzeug.serving import make_server

from console import worklist
from console.app import create_app
from console.settings import Settings
from console.tables import JobRun, Mail, MailState, RunState
from metering.intake import feeding, feeds, push, sources
from metering.lake import Lake
from metering.workbench import Workbench
from quota.actors import Actor, Role, steward
from quota.db import Book, Tx
from quota.directory import Person, Pool
from quota.inventory import Resource
from tests.conftest import taken
from tests.patience import PATIENCE, answered, ended, free_port, until
from tests.suite.test_alert_rules import DASHBOARD, RULES, alerts

WHO = Actor("s", "督导", Role.SUPERVISOR)
CHOSEN = {"instance": ".*", "kind": "vcpu", "pool": ".*", "department": ".*", "__rate_interval": "1m"}
"""What stands for the dashboard's variables."""
LIMIT = re.compile(r"\s(?:==|!=|<=?|>=?)\s[\d.* ^]+$")
"""The comparison at the end of an alert's expression."""
BETWEEN = re.compile(r" (?:<=|>) (?=guanjia_|clamp_min|\d+ \* )")
"""A comparison of two series."""


def running(*command: str) -> Any:
    return ended(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))


def begin_sources(tx: Tx, address: str) -> tuple[str, feeds.Feed]:
    """A machine that is this one, a push source that it may be told by, and a feed that asks ``address``."""
    pool = tx.scalars(select(Pool).order_by(Pool.id)).first()
    assert pool is not None
    tx.add(
        Resource(
            pool_id=pool.id, external_id="watched-1", name="watched", kind="vm", arch=pool.arch, state="running",
            address="127.0.0.1", first_seen_at=tx.now,
        )
    )  # fmt: skip
    token = sources.register(tx, "pushing", "推送", pool.id)[1]
    return token, feeds.register(tx, "asked", "查询", pool.id, "promql", {"url": address}, history_days=1)


def have_failures(tx: Tx) -> None:
    """What goes well in the demo and has no series there: a run and a mail that failed."""
    person = tx.scalars(select(Person).order_by(Person.id)).first()
    assert person is not None
    tx.add(
        Mail(
            person_id=person.id, address="a@example.org", state=MailState.FAILED.value, made_at=tx.now, ended_at=tx.now,
            next_try_at=tx.now, attempts=9, error="refused",
        )
    )  # fmt: skip
    tx.add(
        JobRun(
            job="mail", slot=tx.now, state=RunState.FAILED.value, started_at=tx.now, ended_at=tx.now, lease_until=tx.now,
            attempts=1, host="h:1", said=[],
        )
    )  # fmt: skip


class Watcher:
    """A Prometheus at ``address``."""

    def __init__(self, address: str) -> None:
        self.address = address

    def ask(self, expression: str) -> list[dict[str, Any]]:
        query = urllib.parse.urlencode({"query": expression})
        found: dict[str, Any] = json.loads(answered(f"{self.address}/api/v1/query?{query}"))
        return list(found["data"]["result"])

    def labels(self, expression: str) -> set[str]:
        """Names of the labels of what it gives; at least one series."""
        found = self.ask(expression)
        assert found, f"gives nothing: {expression}"
        return {label for one in found for label in one["metric"]}


def configured(folder: Path, house: str, exporter: int, token: str) -> Path:
    config = folder / "prometheus.yml"
    said = {
        "global": {"scrape_interval": "5s", "scrape_timeout": "5s", "evaluation_interval": "2s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {"job_name": "guanjia", "static_configs": [{"targets": [house.removeprefix("http://")]}]},
            {"job_name": "node", "static_configs": [{"targets": [f"127.0.0.1:{exporter}"]}]},
        ],
        "remote_write": [
            {
                "url": f"{house}/api/v1/write",
                "authorization": {"credentials": token},
                "queue_config": {"batch_send_deadline": "1s"},
            }
        ],
    }
    config.write_text(json.dumps(said))
    return config


@pytest.fixture(scope="module")
def watcher(demo_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watcher]:
    """It has scraped a copy of the demo city twice, after its nightly jobs, a push and a feed."""
    folder = tmp_path_factory.mktemp("watched")
    home = Path(shutil.copytree(demo_home, folder / "home", copy_function=taken))
    settings = Settings(data=home, demo=True, backup_place=str(folder / "backups"))
    book = Book(settings.database_url)
    works = Workbench(book, Lake(settings.lake_dir), home)
    port, exporter = free_port(), free_port()
    with book.transaction(WHO) as tx:
        token, feed = begin_sources(tx, f"http://127.0.0.1:{port}")
    with book.transaction(steward()) as tx:
        have_failures(tx)
    for job in ("anchor", "trail", "backup", "remind", "statements", "reports"):
        assert worklist.run_once(works, settings, job) == RunState.DONE, job
    app = create_app(settings, book)
    app.test_client().get("/metrics")  # the first reads the assessment, and takes longer
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    house = f"http://127.0.0.1:{server.server_port}"
    config = configured(folder, house, exporter, token)
    found = Watcher(f"http://127.0.0.1:{port}")
    with (
        running("prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{exporter}"),
        running(
            "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ),
    ):  # fmt: skip
        answered(f"{found.address}/-/ready")

        def pushed() -> bool:
            push.fold_all(works)
            with book.reading() as tx:
                return tx.scalars(select(sources.PushSource.last_point_at).filter_by(code="pushing")).one() is not None

        until(pushed, "what the exporter told has been pushed and folded", 0.5)
        assert feeding.feed(works, feed).fault[0] == ""
        for series in ('guanjia_source_lag_seconds{type="push"}', "guanjia_feed_coverage_ratio", "guanjia_spool_bytes"):
            asked = f"count_over_time({series}[5m]) > 1"
            until(lambda asked=asked: found.ask(asked), f"two scrapes with {series}", 0.5)
        yield found
    server.shutdown()
    thread.join(PATIENCE)
    book.dispose()


def operands(expression: str) -> list[str]:
    """What an alert compares or sets against each other, each as if all of it were of now: no limit, no offset. Records stand
    there as what they record."""
    whole = LIMIT.sub("", expression)
    for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"]:
        for one in group["rules"]:
            whole = whole.replace(one.get("record", "\n"), f"({one['expr']})")
    now = re.sub(r" offset \w+", "", whole)
    apart = (LIMIT.sub("", one) for one in re.split(r" unless(?: on \([^)]*\))? ", now))
    return [side for one in apart for side in BETWEEN.split(one)]


def test_every_alert_compares_what_there_is_and_says_no_label_that_there_is_not(watcher: Watcher) -> None:
    for one in alerts():
        found = [watcher.labels(each) for each in operands(one["expr"])]
        named = set(re.findall(r"\$labels\.(\w+)", json.dumps(one["annotations"], ensure_ascii=False)))
        assert named <= found[0], one["alert"]


def test_no_rule_fails_and_each_record_has_series(watcher: Watcher) -> None:
    groups = json.loads(answered(f"{watcher.address}/api/v1/rules"))["data"]["groups"]
    rules = [one for group in groups for one in group["rules"]]
    shipped = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    assert len(rules) == sum(len(group["rules"]) for group in shipped)
    assert {one["health"] for one in rules} == {"ok"}, [one for one in rules if one["health"] != "ok"]
    for one in (rule for group in shipped for rule in group["rules"] if "record" in rule):
        watcher.labels(re.sub(r" offset \w+", "", one["expr"]))


def chosen(text: str) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda found: CHOSEN[found[1]], text)


def test_every_panel_shows_something_and_names_no_label_that_there_is_not(watcher: Watcher) -> None:
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    targets = [(panel, target) for panel in panels for target in panel.get("targets", ())]
    assert len(targets) > len([one for one in panels if one["type"] != "row"])
    for panel, target in targets:
        found = watcher.labels(chosen(target["expr"]))
        named = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
        for change in panel.get("transformations", ()):
            if change["id"] == "filterFieldsByName":
                shown = change["options"]["include"]["names"]
                named |= {name for name in shown if not name.startswith("Value")}
        assert named <= found, panel["title"]


def test_every_variable_of_the_dashboard_has_values(watcher: Watcher) -> None:
    asked = [one for one in json.loads(DASHBOARD.read_text("utf-8"))["templating"]["list"] if one["type"] == "query"]
    assert asked
    for one in asked:
        series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", one["query"]["query"]).groups()
        assert label in watcher.labels(series), one["name"]
