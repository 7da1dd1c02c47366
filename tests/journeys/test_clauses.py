"""Clauses of cities' published rules on requests, by number, each enacted as data: a document of rules comes in by the page's or
the command's own import, two people sign, it holds from its day, and requests are filed at its limit and one beyond it.

None of it is named in the four packages: a test at the end looks.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal

import pytest
from click.testing import CliRunner

from console.cli import main, terminal
from metering.statements import tariffs
from quota.actors import Actor, Role
from quota.db import Book
from quota.directory import departments
from quota.requests.tables import Request
from quota.units import BLOCK, MEMORY, VCPU
from tests.journeys.test_requests import filed, generation, small, state
from tests.suite.outside import ROOT

ENACTED = "2026-06-02"
DEPARTMENT, SYSTEM = "A01", "S01"


def rule(code, condition, /, **says):
    return {
        "code": code,
        "name": f"条款 {code}",
        "effective_from": ENACTED,
        "priority": 60,
        "condition": condition,
        **says,
    }


def fact(name, op, value):
    return {"fact": name, "op": op, "value": value}


def enacted(client_of, clock, *rules):
    """Import by one person, second signature by another, and on to the day when the rules hold."""
    document = json.dumps({"format": "guanjia-approval-rules/1", "rules": list(rules)})
    answer = client_of("authority1").send("/rules/import", {"document": document, "reason": "市政府办公厅文件"})
    assert answer.status_code == 302, re.findall(r'class="gj-error[^>]*>.*?</p>', answer.text, re.S)
    assert client_of("authority2").send(f"{answer.location}/sign", {}).status_code == 302
    clock.advance(days=1)


@pytest.fixture
def system(place):
    """Makes the level of 等保 of the department's system, and gives its number."""

    def of(level):
        with place.book.transaction(chief()) as tx:
            known = tx.query(departments.System).filter_by(code=SYSTEM).one_or_none()
            facts = {"name": "政务系统", "mlps_level": level}
            if known is None:
                return departments.enter(tx, SYSTEM, place.department, facts).id
            return departments.amend(tx, known, facts).id

    return of


def chief():
    return Actor("authority1", "主", Role.AUTHORITY)


def submitted(client, place, **fields):
    """File a request and hand it in: its number, and what the page says where it was refused."""
    number = filed(client, place, **fields)
    check = client.get(f"/requests/{number}/check")
    seen = re.search(r'name="generation"[^>]*value="(\d+)"', check.text)
    seen = seen.group(1) if seen else generation(client, number, "/edit")
    answer = client.send(f"/requests/{number}/submit", {"generation": seen})
    return number, "" if answer.location.endswith(f"/requests/{number}") else client.get(answer.location).text


def test_28_systems_above_a_level_are_not_hosted(client_of, place, clock, system):
    reason = "等保四级及以上的信息系统不在政务云上托管"
    before = client_of(Role.TENANT)
    four = system(4)
    number, refused = submitted(before, place, system=str(four), **small(place, 1))
    assert not refused  # what was handed in before the day goes on
    enacted(
        client_of, clock,
        rule("level", fact("mlps_level", ">=", 4), outcome="refuse", reason=reason),
        rule("named", fact("system", "==", False), outcome="refuse", reason="须写明信息系统"),
    )  # fmt: skip
    tenant = client_of(Role.TENANT)
    assert state(place, number) == "in_review"
    number, refused = submitted(tenant, place, system=str(four), **small(place, 1))
    assert reason in refused
    assert state(place, number) == "draft"
    assert "须写明信息系统" in submitted(tenant, place, **small(place, 1))[1]
    form = {"system": str(four), "key": "0" * 32, "justification": "峰值并发三千,现有四台主机", **small(place, 1)}
    assert reason in tenant.send(f"/requests/impact/create?pool={place.pool}", form).text  # while it is typed
    number, refused = submitted(tenant, place, system=str(system(3)), **small(place, 1))
    assert not refused
    assert state(place, number) == "in_review"


def test_a_fast_track_passes_by_itself_inside_the_quota(client_of, place, clock):
    enacted(client_of, clock, rule("quick", fact("vcpu", "<=", 8), outcome="pass"))
    tenant = client_of(Role.TENANT)
    number, refused = submitted(tenant, place, **small(place, 2))
    assert not refused
    assert state(place, number) == "approved"
    page = tenant.get(f"/requests/{number}").text
    assert "按规则自动通过" in page
    assert "条款 quick" in page
    with place.book.reading() as tx:
        found = tx.get(Request, number)
        assert (found.path[0].name, found.path[0].decided_by) == ("passed", "system")
        assert found.turn == "provider"
    number, _refused = submitted(tenant, place, **small(place, 3))
    assert state(place, number) == "in_review"
    place.prove()


def test_a_price_decides_and_what_has_no_price_asks_for_more(client_of, place, clock):
    step = {"name": "authority_approval", "role": "authority", "days": 2}
    enacted(client_of, clock, rule("costly", fact("month_yuan", ">", 200), steps=[step]))
    tenant = client_of(Role.TENANT)
    number, _refused = submitted(tenant, place, **small(place, 1))
    assert "每月费用 元未知" in tenant.get(f"/requests/{number}").text  # no tariff: somebody looks
    with place.book.transaction(chief()) as tx:
        for code, price in ((VCPU, "46"), (MEMORY, "2"), (BLOCK, "0")):
            tariffs.enter(tx, code, Decimal(price), tx.now.date())
    paths = {}
    for count in (1, 2):  # 4 × 46 + 8 × 2 = 200
        number, _refused = submitted(tenant, place, **small(place, count))
        with place.book.reading() as tx:
            found = tx.get(Request, number)
            paths[found.facts["month_yuan"]] = [one.name for one in found.path]
    assert "authority_approval" not in paths[200.0]
    assert "authority_approval" in paths[400.0]


@pytest.fixture
def command(house, settings, clock, monkeypatch):
    """``guanjia rules`` on the book of the test, at its time."""
    monkeypatch.setattr(terminal, "Book", lambda _url: Book(house.url, clock=clock))
    monkeypatch.setattr(terminal.upgrade, "current", lambda _book: terminal.upgrade.latest())
    monkeypatch.setattr(terminal, "_exists", lambda _settings: True)

    def call(*words, code=0):
        answer = CliRunner().invoke(main, ["rules", *map(str, words), "--data", str(settings.data)])
        assert answer.exit_code == code, answer.output
        return answer

    return call


def test_the_command_drafts_what_two_people_sign(client_of, place, clock, tmp_path, command):
    path, reason = tmp_path / "rules.json", "本区单位须经区里统一申请"
    texts = [rule("district", fact("departments", "has", DEPARTMENT), outcome="refuse", reason=reason)]
    path.write_text(json.dumps({"format": "guanjia-approval-rules/1", "rules": texts}), "utf-8")
    words = ("import", path, "--reason", "区办函", "--json")
    assert json.loads(command(*words, "--check").stdout)["draft"] is None
    draft = json.loads(command(*words).stdout)["draft"]
    assert draft == 1
    client_of("authority1").send(f"/rules/drafts/{draft}/sign", {})
    assert "还须 1 人签署" in client_of("authority1").get(f"/rules/drafts/{draft}").text
    client_of("authority2").send(f"/rules/drafts/{draft}/sign", {})
    clock.advance(days=1)
    assert reason in submitted(client_of(Role.TENANT), place, **small(place, 1))[1]
    assert reason in command("export").stdout
    path.write_text("{", "utf-8")
    assert "rules.document" in command(*words, code=1).stderr


NAMES = re.compile(
    r"北海|黄山|平顶山|鄂尔多斯|新余|重庆|长沙|霍邱|遂宁|忻州|Beihai|Huangshan|Pingdingshan|Ordos|Changsha|Suining|Xinzhou"
)


def test_no_module_names_a_city_of_a_clause():
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for package in ("quota", "providers", "metering", "console", "templates")
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".py", ".html")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        if NAMES.search(line)
    ]
    assert not found
