"""A real Prometheus, blackbox exporter and Alertmanager beside the console: what they see down is one incident, is ruled by
somebody, and costs what the formula says, once."""

from __future__ import annotations

import json
import subprocess
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from sqlalchemy import select
from werkzeug.serving import make_server

from console.accounts import accounts
from console.api import TokenKind, tokens
from console.app import create_app
from console.book import EXTENSION
from console.settings import Settings
from metering.intake import Feed, feeding, feeds
from metering.lake.store import Lake
from metering.workbench import Workbench
from providers.assessment import company, formula, gathering
from providers.assessment.measures import EvidenceRow
from providers.assessment.scorecard import score
from providers.base import Responsibility
from providers.billing import Incident, incidents
from providers.monitoring import endpoints, mappings, outages
from quota.actors import Actor, Role
from quota.calendar import ZONE
from quota.db import Book
from quota.directory import DatedEntry
from quota.directory.pools import CloudProvider, Pool
from quota.inventory import Resource
from tests import books
from tests.patience import PATIENCE, answered, ended, free_port, until

pytestmark = pytest.mark.slow

SUPERVISOR, AUTHORITY = Actor("s", "督导", Role.SUPERVISOR), Actor("a", "主任", Role.AUTHORITY)
GATE = "https://gate.example"
CERTIFIED = 2_000_000_000
"""The second in which its certificate ends: at noon of 18 May 2033 in the city."""
STEP = 15
SCOPE = "providers:act"


def running(*command):
    return ended(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))


@contextmanager
def serving(server, run):
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join(PATIENCE)
        server.server_close()


@contextmanager
def site(port):
    """A page that answers: what the blackbox exporter probes."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_said):
            pass

    server = HTTPServer(("127.0.0.1", port), Page)
    with serving(server, lambda: server.serve_forever(0.05)):
        yield


def seven_minutes_down(folder, since):
    """Samples as blackbox exporter's probes leave them: every 15 s for half an hour, failing for seven minutes."""
    first, down = int(since.timestamp()), range(600, 600 + 7 * 60)
    lines = ["# TYPE probe_success gauge"]
    lines += [
        f'probe_success{{job="gate",instance="{GATE}"}} {0 if s in down else 1} {first + s}'
        for s in range(0, 1800, STEP)
    ]
    lines += ["# TYPE probe_ssl_earliest_cert_expiry gauge"]
    lines += [
        f'probe_ssl_earliest_cert_expiry{{job="gate",instance="{GATE}"}} {CERTIFIED} {first + s}'
        for s in range(0, 1800, STEP)
    ]
    told = folder / "probes.om"
    told.write_text("\n".join([*lines, "# EOF\n"]))
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", told, folder / "tsdb"],
        check=True,
        capture_output=True,
    )


@pytest.fixture
def console(tmp_path):
    """(works, address, token of a service) with a pool of which one endpoint was down before, and another is probed now."""
    book = Book(books.sqlite(tmp_path / "book.db"))
    app = create_app(Settings(data=tmp_path, secret_key="t" * 40), book)
    lake = app.extensions[EXTENSION].lake = Lake(tmp_path / "lake", step_s=STEP)
    with book.transaction(SUPERVISOR) as tx:
        provider = CloudProvider(code="jia", name="甲云")
        tx.add(provider)
        tx.flush()
        pool = Pool(code="p1", name="池", provider_id=provider.id, arch="x86_64", zone="政务外网", adapter="files")
        tx.add(pool)
        tx.flush()
        tx.add(
            Resource(
                pool_id=pool.id, external_id="vm-1", name="node", kind="vm", arch="x86_64", state="running",
                first_seen_at=tx.now - timedelta(days=90),
            )
        )  # fmt: skip
    with book.transaction(Actor("sys", "系统", Role.SYSADMIN)) as tx:
        who = accounts.enrol_service(tx, "alerts", "告警平台", Role.SUPERVISOR, department=None, provider=None)
        row, secret = tokens.make(tx, who, "alertmanager", [SCOPE], 30, TokenKind.SERVICE)
        service, token = who.id, row.id
    with book.transaction(Actor("sec", "安全", Role.SECADMIN)) as tx:
        accounts.grant(tx, accounts.service(tx, service), Role.SUPERVISOR)
        tokens.confirm(tx, token)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    with serving(server, server.serve_forever):
        yield Workbench(book, lake, tmp_path), f"http://127.0.0.1:{server.server_port}", secret
    book.dispose()


def test_an_outage_that_probes_and_alerts_saw_costs_what_the_formula_says_once(console, tmp_path):
    works, address, token = console
    book = works.book
    now = datetime.now(UTC).replace(microsecond=0)
    since = now - timedelta(hours=1)
    if since.astimezone(ZONE).month != (since + timedelta(minutes=30)).astimezone(ZONE).month:
        since -= timedelta(hours=1)
    seven_minutes_down(tmp_path, since)
    target, port = free_port(), free_port()
    live = f"http://127.0.0.1:{target}/"
    with book.transaction(SUPERVISOR) as tx:
        pace = {"system_id": None, "fails": 2}
        endpoints.register(tx, 1, GATE, "网关", level=1, interval_s=STEP, **pace)
        endpoints.register(tx, 1, live, "门户", level=1, interval_s=60, **pace)
        feeds.register(
            tx, "probes", "探测", 1, "promql",
            {"url": f"http://127.0.0.1:{port}", "exporters": ["blackbox"], "settle_s": 0}, history_days=1,
        )  # fmt: skip
        draft = mappings.draft(
            tx, "alertname=Down -> endpoint=$instance", effective_from=tx.now.astimezone(ZONE).date(), reason="试运行"
        ).id
    with book.transaction(AUTHORITY) as tx:
        mappings.sign(tx, draft, reason="同意")

    def fed():
        with book.reading() as tx:
            feed = tx.scalars(select(Feed)).one()
        done = feeding.feed(works, feed, datetime.now(UTC))
        assert done.fault == ("", "")
        return done

    def found():
        with book.reading(SUPERVISOR) as tx:
            return list(tx.scalars(select(Incident).order_by(Incident.started_at)))

    def told():
        """Who tells of the live outage, once each says that it is over."""
        return {one.kind for one in _signals(book, found()[1].id) if one.ended_at}

    with monitoring(tmp_path, address, token, live, port):
        with site(target):
            until(lambda: _value(port, live) == 1.0, "the blackbox exporter finds the page")
            fed()
        began = datetime.now(UTC)
        (first,) = found()
        assert (first.started_at, first.recovered_at) == (
            since + timedelta(minutes=10), since + timedelta(minutes=17),
        )  # fmt: skip
        until(lambda: len(found()) == 2, "Alertmanager has told of the page that is gone")
        alerted = found()[1]
        assert alerted.recovered_at is None
        with site(target):
            until(lambda: found()[1].recovered_at is not None, "Alertmanager has told that it is back")
            until(
                lambda: fed() and told() == {"alert", "probe"}, "the feed has come to the slot in which it was back", 1
            )
    with book.reading(SUPERVISOR) as tx:
        (certificate,) = tx.scalars(select(DatedEntry)).all()
        assert (certificate.source, certificate.ends_on) == ("endpoint:1", date(2033, 5, 17))
    first, second = found()
    (probe,) = [one for one in _signals(book, second.id) if one.kind == "probe"]
    assert (second.started_at, second.recovered_at) == (probe.began_at, probe.ended_at)
    assert began - timedelta(seconds=5) <= second.started_at < second.recovered_at <= datetime.now(UTC)
    assert [incident.responsibility for incident in (first, second)] == [None, None]
    assert _availability(works, since) == ("0.0000", []), "nothing counts before somebody ruled"
    with book.transaction(AUTHORITY) as tx:
        incidents.settle(tx, first.id, first.generation, Responsibility.PROVIDER, "日志核实")
        incidents.settle(tx, second.id, second.generation, Responsibility.FORCE_MAJEURE, "市电中断")
    assert _availability(works, since) == ("7.0000", [f"incident:{first.id}"])
    assert len(found()) == 2


@contextmanager
def monitoring(folder, address, token, live, port):
    """Prometheus over what was recorded, with the exporter that probes ``live`` and an Alertmanager that tells the console."""
    exporter, manager = free_port(), free_port()
    modules = {"modules": {"http": {"prober": "http", "timeout": "1s"}}}
    rule = {"alert": "Down", "expr": "probe_success == 0", "for": "3s", "labels": {"severity": "page"}}
    rule["annotations"] = {"summary": "{{ $labels.instance }} 不通"}
    relabel = [
        {"source_labels": ["__address__"], "target_label": "__param_target"},
        {"source_labels": ["__param_target"], "target_label": "instance"},
        {"target_label": "__address__", "replacement": f"127.0.0.1:{exporter}"},
    ]
    probes = {
        "job_name": "blackbox", "metrics_path": "/probe", "params": {"module": ["http"]},
        "static_configs": [{"targets": [live]}], "relabel_configs": relabel,
    }  # fmt: skip
    prometheus = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": [str(folder / "rules.yml")],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{manager}"]}]}]},
        "scrape_configs": [probes],
    }  # fmt: skip
    alertmanager = {
        "route": {"receiver": "guanjia", "group_wait": "0s", "group_interval": "1s", "repeat_interval": "1s"},
        "receivers": [
            {
                "name": "guanjia",
                "webhook_configs": [
                    {
                        "url": f"{address}/api/v1/alertmanager",
                        "http_config": {"basic_auth": {"username": "guanjia", "password": token}},
                    }
                ],
            }
        ],
    }
    for name, content in (
        ("blackbox.yml", modules),
        ("rules.yml", {"groups": [{"name": "probes", "rules": [rule]}]}),
        ("prometheus.yml", prometheus),
        ("alertmanager.yml", alertmanager),
    ):
        (folder / name).write_text(json.dumps(content))
    with (
        running(
            "prometheus-blackbox-exporter", f"--config.file={folder / 'blackbox.yml'}",
            f"--web.listen-address=127.0.0.1:{exporter}",
        ),
        running(
            "prometheus-alertmanager", f"--config.file={folder / 'alertmanager.yml'}", "--cluster.listen-address=",
            f"--storage.path={folder / 'alerts'}", f"--web.listen-address=127.0.0.1:{manager}",
        ),
        running(
            "prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ),
    ):  # fmt: skip
        for one in (exporter, manager, port):
            answered(f"http://127.0.0.1:{one}/")
        yield


def _value(port, instance):
    """What Prometheus' newest probe of an endpoint says."""
    query = f"probe_success%7Binstance%3D%22{instance.replace(':', '%3A').replace('/', '%2F')}%22%7D"
    result = json.loads(answered(f"http://127.0.0.1:{port}/api/v1/query?query={query}"))["data"]["result"]
    return float(result[0]["value"][1]) if result else None


def _signals(book, incident_id):
    with book.reading(SUPERVISOR) as tx:
        return outages.signals(tx, incident_id)


def _availability(works, since):
    """(minutes down, by which incidents) of the month of ``since``, checked against what the formula makes of them."""
    month = f"{since.astimezone(ZONE):%Y-%m}"
    watched = EvidenceRow(f"samples:p1/{month}", {"pool": "p1", "month": month, "expected": 100, "received": 100})
    default = formula.default()
    strict = replace(
        default,
        criteria=tuple(
            replace(one, limits={**one.limits, "full": Decimal(1), "floor": Decimal(0)})
            if one.indicator == "availability"
            else one
            for one in default.criteria
        ),
    )
    with works.book.reading() as tx:
        found = gathering.gather(tx, company(1), month, by=strict, given={"reporting": {month: [watched]}})
    (row,) = found["availability"]
    (mark,) = [one for one in score(found, strict).marks if one.indicator == "availability"]
    lost = Decimal(row.facts["down_minutes"]) / Decimal(row.facts["minutes"]) / Decimal("0.0001")
    # On a month's first morning seven minutes are a larger share of it than all that the indicator weighs.
    assert mark.deduction == pytest.approx(min(mark.weight, lost), abs=Decimal("0.02"))
    return row.facts["down_minutes"], row.facts["incidents"]


def test_what_is_sent_without_a_good_token_or_in_another_form_is_refused_in_words(console):
    _works, address, token = console

    def sent(body, secret=token, form="application/json"):
        asked = urllib.request.Request(f"{address}/api/v1/alertmanager", body, method="POST")  # noqa: S310
        if form:
            asked.add_header("Content-Type", form)
        if secret:
            asked.add_header("Authorization", f"Bearer {secret}")
        try:
            with urllib.request.urlopen(asked) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    empty = json.dumps({"version": "4", "alerts": [], "truncatedAlerts": 3}).encode()
    assert sent(empty) == (
        200,
        "0 new, 0 over, 0 known, 0 ignored, 0 unmapped; 3 alerts were left out by the sender (max_alerts)\n",
    )
    assert sent(empty, "")[0] == sent(empty, token + "x")[0] == 401
    assert sent(empty, form="")[0] == 415
    status, said = sent(b'{"version": "4", "alerts": [{}]}')
    assert (status, "alerts.0" in said) == (400, True)
    future = {
        "status": "firing", "labels": {}, "startsAt": "2999-01-01T00:00:00Z", "fingerprint": "0" * 16,
    }  # fmt: skip
    status, said = sent(json.dumps({"version": "4", "alerts": [future]}).encode())
    assert (status, "alert.future: 1" in said) == (400, True)
