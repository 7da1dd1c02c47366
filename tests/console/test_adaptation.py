"""How far departments' systems are moved to domestic chips, reached by IPv6 and classed: the page, the card, the report, the rule."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from datetime import date, datetime
from itertools import product
from typing import Any

import pytest
from sqlalchemy import func, select

from console.reports.adaptation_sections import adaptation
from console.reports.documents import Paragraph
from console.reports.inputs import Inputs
from metering.reports import editions, periods, scopes
from providers.assessment import Fitness, compatibility, department, formulas, gathering
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.db import Tx
from quota.directory import Adjustment, Pool, System, departments, in_use, reorganisations, was_in_use
from quota.errors import Invalid
from quota.inventory import Resource, observed, readiness
from quota.inventory.resources import Change
from quota.requests import Ask, Line, asks, facts, kinds
from quota.units import VCPU
from tests.city import CONSOLE_POOL, City

AUTHORITY = Actor("authority1", "主管", Role.AUTHORITY)
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


def adaptation_of(tx: Tx, lake: str, scope: str, period: str, known_at: datetime) -> dict[str, Any]:
    return editions.gather(editions._frame(tx, lake, scopes.scope(tx, scope), periods.period(period), known_at))[
        "adaptation"
    ]


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


def test_the_list_of_systems_says_how_much_of_each_is_reached(place, client_of):
    """Part of the portal; nothing is known of the pipes; all of both in the bin: no machine is left to be reached."""

    def said(login: str) -> dict[str, tuple[str, str]]:
        client = client_of(login)
        page = {row[0]: row for row in rows(client.get("/systems/").text)}
        head, *lines = list(csv.reader(io.StringIO(client.get("/systems/?export=csv").data.decode("utf-8-sig"))))
        at = head.index("IPv6")
        sheet = {line[0]: line[at] for line in lines}
        return {name: (row[at], sheet[name]) for name, row in page.items()}

    assert said("supervisor1") == {"门户": ("部分主机", "部分主机"), "管网": ("不掌握", "不掌握")}
    assert said("tenant1") == {"门户": ("部分主机", "部分主机")}
    with place.book.transaction(steward()) as tx:
        for one in tx.scalars(select(Resource)):
            one.address = "2001:db8::7" if one.system_id == place.portal else "10.0.0.9"
    assert said("supervisor1") == {"门户": ("全部主机", "全部主机"), "管网": ("没有", "没有")}
    with place.book.transaction(steward()) as tx:
        for one in tx.scalars(select(Resource)):
            one.state = "recycled"
    assert said("supervisor1")["门户"] == ("—", "")


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

    def told(scope: str) -> dict:
        with place.book.reading(one_moment=True) as tx:
            return adaptation_of(tx, str(tmp_path), scope, "2026-06", clock.now)

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


def into_the_bin(place: City, machine: int, at: datetime) -> None:
    with place.book.transaction(steward()) as tx:
        one = tx.get_one(Resource, machine)
        before, one.state = one.state, "recycled"
        observed.write(
            tx, [], [observed.change(machine, Change.STATE, at, at, {"state": before}, {"state": "recycled"})]
        )


def test_what_is_in_the_recycle_bin_keeps_no_system_from_being_moved(place, clock, client_of, tmp_path):
    """On the page from the day on; in the report and on the card of a period only if it was there by the end of it."""
    clock.now = clock.now.replace(year=2026, month=7, day=3)
    by_quarter = {"2026-Q2": [(2, 1)], "2026-Q3": [(1, 0)]}
    into_the_bin(place, place.dual, clock.now)
    clock.now = clock.now.replace(month=10, day=9)
    with place.book.reading(one_moment=True) as tx:
        (first,) = (
            one
            for one in tx.execute(select(readiness.by_department(clock.now.date())))
            if one.department_id == place.first
        )
        assert (first.machines, first.ipv6) == (1, 0)
        assert sum(one.machines for one in tx.execute(readiness.by_pool())) == 2
        for month, machines in (("2026-06", 2), ("2026-07", 1)):
            told = adaptation_of(tx, str(tmp_path), "city", month, clock.now)
            assert [one["machines"] for one in told["systems"] if one["system"] == "门户"] == [machines]
        for quarter, counted in by_quarter.items():
            by = formulas.in_force_of(tx, department(place.first), quarter)
            found = gathering.gather(tx, department(place.first), quarter, by=by)["dual_stack"]
            assert [(row.facts["count"], row.facts["good"]) for row in found] == counted


def test_page_report_and_card_hold_the_same_systems_to_be_in_use(place, clock, tmp_path):
    last, after = date(2026, 6, 30), date(2026, 7, 1)
    days = (None, last, after)
    with place.book.transaction(STAFF) as tx:
        portal = tx.get_one(System, place.portal)
        for begins, ends, active in product(days, days, (True, False)):
            if begins is None or ends is None or begins <= ends:
                facts: Any = {"online_on": begins, "offline_on": ends, "active": active}
                departments.amend(tx, portal, facts)
                (counted,) = tx.execute(select(func.count()).where(System.id == portal.id, in_use(last))).scalars()
                assert (
                    counted
                    == was_in_use(last, **facts)
                    == (begins != after and (ends == after or (not ends and active)))
                )

    def told(ends: date) -> tuple[bool, bool, bool]:
        clock.now = clock.now.replace(month=6, day=15)
        with place.book.transaction(STAFF) as tx:
            facts = {"online_on": None, "offline_on": ends, "active": True, "mlps_level": 3}
            departments.amend(tx, tx.get_one(System, place.portal), facts)
        clock.now = clock.now.replace(month=7, day=3)
        with place.book.reading(one_moment=True) as tx:
            page = {one.department_id: one.systems for one in tx.execute(select(readiness.by_department(last)))}
            report = adaptation_of(tx, str(tmp_path), "city", "2026-06", clock.now)["systems"]
            by = formulas.in_force_of(tx, department(place.first), "2026-Q2")
            card = gathering.gather(tx, department(place.first), "2026-Q2", by=by)["protection"]
        return bool(page.get(place.first)), "门户" in [one["system"] for one in report], bool(card)

    assert (told(after), told(last)) == ((True,) * 3, (False,) * 3)


def test_the_report_gives_systems_to_the_department_that_had_them_then(place, clock, tmp_path):
    clock.now = clock.now.replace(year=2026, month=7, day=3)

    def owners(scope: str = "city") -> list[tuple[str, str]]:
        with place.book.reading(one_moment=True) as tx:
            told = adaptation_of(tx, str(tmp_path), scope, "2026-06", clock.now)
            return [(one["system"], one["department"]) for one in told["systems"]]

    with place.book.reading() as tx:
        first, second = (departments.department(tx, one) for one in (place.first, place.second))
    before, code = owners(), f"department:{first.code}"
    assert ("门户", first.name) in before
    with place.book.transaction(AUTHORITY) as tx:
        moved = reorganisations.reorganise(
            tx, Adjustment.SYSTEMS, place.first, place.second, system_ids=[place.portal], reason="划转", key="portal"
        ).id
    assert (owners(), owners(code)) == (before, [("门户", first.name)])
    clock.now = clock.now.replace(month=8)
    with place.book.transaction(AUTHORITY) as tx:
        reorganisations.undo(tx, moved, reason="方案调整")
    with place.book.reading(one_moment=True) as tx:
        told = adaptation_of(tx, str(tmp_path), "city", "2026-07", clock.now)
    assert ("门户", second.name) in [(one["system"], one["department"]) for one in told["systems"]]
    assert owners() == before


def test_the_first_report_of_a_house_tells_the_systems_of_the_machines_that_it_tells_of(place, clock, tmp_path):
    """A system that was entered after the period is there by a machine that was; one without is not."""
    clock.now = clock.now.replace(year=2026, month=7, day=3)
    with place.book.transaction(STAFF) as tx:
        late = departments.enter(tx, "L1", place.first, {"name": "迟登"}).id
        departments.enter(tx, "L2", place.first, {"name": "无机"})
        tx.get_one(Resource, place.dual).system_id = late
    with place.book.reading(one_moment=True) as tx:
        told = adaptation_of(tx, str(tmp_path), "city", "2026-06", clock.now)
    assert {(one["system"], one["machines"]) for one in told["systems"]} == {("门户", 1), ("管网", 1), ("迟登", 1)}
    say = Inputs(
        {"adaptation": told | {"systems": []}, "scope": {"kind": "city"}, "classes": []},
        lambda t, **w: t % w if w else t,
        ZONE,
    )
    assert any("没有登记在用的信息系统" in one.text for one in adaptation(say) if isinstance(one, Paragraph))


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


def test_of_chips_that_the_pool_may_have_the_worst_counts(place):
    with place.book.transaction(STAFF) as tx:
        pool = tx.get_one(Pool, place.pool)
        one, other = [chip for chip, arch in compatibility.CHIP_ARCHS.items() if arch == pool.arch]
        compatibility.state(tx, pool.provider_id, one, "麒麟 V10", Fitness.ADAPTED)
        compatibility.state(tx, pool.provider_id, other, "麒麟 V10", Fitness.UNSUPPORTED)
    with place.book.transaction(steward()) as tx:
        tx.get_one(Pool, place.pool).xinchuang = True
        asked = Ask(kind=kinds.CREATE, department_id=place.first, pool_id=place.pool, fields={"os": "麒麟 V10"})
        told = facts.facts(tx, asks.imagined(tx, asked), {}, over_quota=False)
    assert told["xinchuang_fit"] == "unsupported"


def test_of_lines_that_name_systems_of_their_own_the_worst_counts(place):
    with place.book.transaction(STAFF) as tx:
        pool = tx.get_one(Pool, place.pool)
        chip = next(chip for chip, arch in compatibility.CHIP_ARCHS.items() if arch == pool.arch)
        compatibility.state(tx, pool.provider_id, chip, "麒麟 V10", Fitness.ADAPTED)
        compatibility.state(tx, pool.provider_id, chip, "统信 V20", Fitness.UNSUPPORTED)
    with place.book.transaction(steward()) as tx:
        tx.get_one(Pool, place.pool).xinchuang = True
        for own, stands in (({}, "adapted"), ({"os": "统信 V20"}, "unsupported"), ({"database": "达梦"}, "untested")):
            lines = [Line(asked={VCPU: 1}, service="vm", fields=said) for said in ({}, own)]
            asked = Ask(kinds.CREATE, place.first, place.pool, lines, fields={"os": "麒麟 V10"})
            assert facts.facts(tx, asks.imagined(tx, asked), {}, over_quota=False)["xinchuang_fit"] == stands
