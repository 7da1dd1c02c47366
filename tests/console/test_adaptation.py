"""How far departments' systems are moved to domestic chips, reached by IPv6 and classed: the page, the card, the report, the rule."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date

import pytest
from sqlalchemy import select

from metering.reports import editions, periods, scopes
from providers.assessment import Fitness, compatibility, department, formulas, gathering
from quota.actors import Actor, Role, steward
from quota.directory import Pool, System, departments
from quota.errors import Invalid
from quota.inventory import Resource, observed
from quota.inventory.resources import Change
from quota.requests import Ask, asks, facts, kinds
from tests.city import CONSOLE_POOL, City

STAFF = Actor("supervisor1", "监督", Role.SUPERVISOR)
PORTAL = replace(CONSOLE_POOL, systems={"portal": ("P1", "门户", "first"), "pipes": ("P2", "管网", "second")})
CELL = re.compile(r"<td[^>]*>(?:\s*<a[^>]*>)?\s*([^<]*?)\s*(?:</a>)?\s*</td>")


@pytest.fixture
def place(house, city, clock) -> City:
    """The portal has a machine reached both ways and one by IPv4; the pipes one of which no address is known."""
    found = city.copied(house, clock)
    found.add(PORTAL)
    both, old = found.machine(system_id=found.portal), found.machine(system_id=found.portal)
    found.machine(department_id=found.second, system_id=found.pipes)
    with house.transaction(steward()) as tx:
        tx.get_one(Resource, both).tags = {"addresses": "10.0.0.1, 2001:db8::1"}
        tx.get_one(Resource, old).address = "10.0.0.2"
        departments.amend(tx, tx.get_one(System, found.portal), {"data_level": "important"})
        departments.amend(tx, tx.get_one(System, found.pipes), {"xinchuang_by": date(2026, 1, 31)})
        for one in tx.scalars(select(Resource)):
            said = {name: getattr(one, name) for name in ("state", "amounts", "address", "tags")}
            row = observed.change(one.id, Change.APPEARED, one.first_seen_at, one.first_seen_at, {}, said)
            observed.write(tx, [], [row])
    found.dual = both
    return found


def rows(text: str) -> list[list[str]]:
    body = text.split("<tbody>")[1].split("</tbody>")[0]
    return [CELL.findall(row) for row in body.split("</tr>") if "<td" in row]


def test_the_page_counts_by_department_and_a_department_sees_its_own(place, client_of):
    text = client_of("supervisor1").get("/adaptation/").text
    found = {row[0]: row[1:] for row in rows(text)}
    with place.book.reading() as tx:
        first, second = (departments.department(tx, one).name for one in (place.first, place.second))
        moved = tx.get_one(Pool, place.pool).xinchuang
    done = "1" if moved else "0"
    assert found[first][:9] == ["1", "1", done, "0", "0", "0" if moved else "1", "0", "1", "0"]
    assert found[second][:9] == ["1", "1", done, "0", "0" if moved else "1", "0", "0", "0", "1"]
    assert found[first][10].startswith("50")
    assert found[second][10] == "—"  # nothing is known of its addresses
    totals = re.findall(r"<td[^>]*>\s*(\d+)", text.split("<tfoot>")[1].split("</tfoot>")[0])
    assert totals[:3] == ["2", "2", "2" if moved else "0"], "of all departments"
    own = client_of("tenant1").get("/adaptation/").text
    assert first in own
    assert second not in own


def test_a_data_class_is_one_of_three_and_named_on_the_systems_page(place, client_of):
    with pytest.raises(Invalid, match=r"system\.data_level"), place.book.transaction(STAFF) as tx:
        departments.amend(tx, tx.get_one(System, place.portal), {"data_level": "secret"})
    assert "重要数据" in client_of("supervisor1").get(f"/systems/{place.portal}").text
    text = client_of("supervisor1").get("/systems/?data_level=important").text
    assert "门户" in text.split("<tbody>")[1]
    assert "管网" not in text.split("<tbody>")[1]


def test_the_card_counts_addresses_as_they_were_at_the_end(place, clock):
    """What a listing says after the quarter changes nothing of it; machines without an address count neither way."""
    period = "2026-Q2"
    clock.now = clock.now.replace(year=2026, month=7, day=3)

    def counted(whose: int) -> list[tuple[int, int]]:
        with place.book.reading() as tx:
            by = formulas.in_force_of(tx, department(whose), period)
            found = gathering.gather(tx, department(whose), period, by=by)["dual_stack"]
            return [(row.facts["count"], row.facts["good"]) for row in found]

    assert counted(place.first) == [(2, 1)]
    assert counted(place.second) == []
    with place.book.transaction(steward()) as tx:
        one = tx.get_one(Resource, place.dual)
        before, one.tags = {"tags": dict(one.tags)}, {}
        one.address = "10.0.0.1"
        row = observed.change(
            one.id,
            Change.DETAIL,
            clock.now,
            clock.now,
            before | {"address": None},
            {"tags": {}, "address": one.address},
        )
        observed.write(tx, [], [row])
    assert counted(place.first) == [(2, 1)]


def test_the_report_tells_it_as_of_its_end_and_a_company_hears_of_no_system(place, clock, tmp_path):
    clock.now = clock.now.replace(year=2026, month=7, day=3)
    month = periods.period("2026-06")

    def told(scope: str) -> dict:
        with place.book.reading(one_moment=True) as tx:
            frame = editions._frame(tx, str(tmp_path), scopes.scope(tx, scope), month, clock.now)
            return editions.gather(frame)["adaptation"]

    stood = told("city")
    assert [(one["system"], one["machines"], one["addressed"], one["ipv6"]) for one in stood["systems"]] == [
        ("门户", 2, 2, 1), ("管网", 1, 0, 0),
    ]  # fmt: skip
    assert [one["data"] for one in stood["systems"]] == ["important", None]
    with place.book.transaction(STAFF) as tx:
        departments.amend(tx, tx.get_one(System, place.portal), {"data_level": "core"})
    assert told("city") == stood
    with place.book.reading() as tx:
        company = tx.get_one(Pool, place.pool).provider.code
        own = departments.department(tx, place.first).code
    assert told(f"provider:{company}")["systems"] == []
    assert [one["system"] for one in told(f"department:{own}")["systems"]] == ["门户"]


@pytest.mark.parametrize(
    ("fitness", "until", "said", "stands"),
    [
        (Fitness.CERTIFIED, date(2030, 1, 1), "麒麟v10", "certified"),
        (Fitness.CERTIFIED, date(2020, 1, 1), "麒麟 V10", "adapted"),
        (Fitness.UNSUPPORTED, None, "麒麟 V10", "unsupported"),
        (Fitness.CERTIFIED, date(2030, 1, 1), "统信 V20", "untested"),
        (Fitness.CERTIFIED, date(2030, 1, 1), "", None),
    ],
    ids=["certified", "certificate-over", "unsupported", "nothing-said", "no-system-named"],
)
def test_rules_know_how_the_combination_of_a_request_stands(place, fitness, until, said, stands):
    with place.book.transaction(STAFF) as tx:
        pool = tx.get_one(Pool, place.pool)
        chip = next(chip for chip, arch in compatibility.CHIP_ARCHS.items() if arch == pool.arch)
        compatibility.state(tx, pool.provider_id, chip, "麒麟 V10", fitness, certificate="证-1", valid_until=until)
    with place.book.transaction(steward()) as tx:
        tx.get_one(Pool, place.pool).xinchuang = True
    asked = Ask(kind=kinds.CREATE, department_id=place.first, pool_id=place.pool, fields={"os": said})
    with place.book.transaction(steward()) as tx:
        request = asks.imagined(tx, asked)
        assert facts.facts(tx, request, {}, over_quota=False)["xinchuang_fit"] == stands
        tx.get_one(Pool, place.pool).xinchuang = False
        assert facts.facts(tx, request, {}, over_quota=False)["xinchuang_fit"] is None
