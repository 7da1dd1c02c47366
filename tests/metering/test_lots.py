"""Two lots of one company: each with what it covers and prices of its own, its part of an invoice to the cent, nothing claimed twice."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.settlement import shares, sheets
from metering.statements import closings, reconciliation
from providers import base
from providers.assessment import cards, company
from providers.assessment.measures import EvidenceRow
from providers.base import ServiceKind
from providers.billing import bills
from providers.contracts import ContractBasis, ContractCoverage, ContractTerms, Instalment, contracts
from quota.actors import Actor, Role, steward
from quota.directory import Department, pools
from quota.errors import Conflict, Invalid, WrongState
from quota.inventory import Resource
from quota.units import MEMORY, VCPU, Arch
from tests.city import GB, STATEMENTS, City
from tests.city.statements import at
from tests.journeys.test_settlement import BANDS

CHIEF = Actor("authority1", "主任", Role.AUTHORITY)
STAFF = Actor("supervisor1", "监督", Role.SUPERVISOR)


@pytest.fixture
def city(book, tmp_path, clock):
    """web and db, 4 vCPU and 8 GB each, proven for all of April, in departments of their own; jia's and yi's prices are the same."""
    made = City(book, clock, STATEMENTS, tmp_path)
    made.list("jia", at(-1), web={VCPU: 4, MEMORY: 8 * GB}, db={VCPU: 4, MEMORY: 8 * GB})
    with book.transaction(steward()) as tx:
        for name, code in (("web", "d1"), ("db", "d2")):
            whose = tx.scalar(Department.__table__.select().where(Department.code == code))
            one = tx.get_one(Resource, made.id(name))
            one.department_id, one.basis = whose, "adopted"
    for name in ("web", "db"):
        made.report(name, range(720))
    made.price(VCPU, "46.01")
    made.price(MEMORY, "18")
    return made


def lot(city, number, since=date(2026, 1, 1), until=date(2028, 12, 31), **more) -> int:
    coverage = ContractCoverage(
        **{name: frozenset(more.pop(name)) for name in ("pools", "classes", "departments", "items") if name in more}
    )
    terms = ContractTerms(
        number=number, name="", payer="市财政局", first_day=since, last_day=until, ceiling_fen=100_000_000, coverage=coverage, **more
    )  # fmt: skip
    with city.book.transaction(CHIEF) as tx:
        return contracts.enter(tx, tx.get_one(pools.Pool, city.pools["jia"]).provider_id, terms).id


def closed(city) -> dict[str, int]:
    city.close(city.make())
    with city.book.reading() as tx:
        return closings.closing(tx, "2026-04").invoices


def drafted(city, contract_id, period="2026-04"):
    with city.book.transaction(STAFF) as tx:
        return sheets.draft(tx, contract_id, period)


def confirmed(city, sheet):
    with city.book.transaction(steward()) as tx:
        whose = company(tx.get_one(pools.Pool, city.pools["jia"]).provider_id)
        rows = {"service": [EvidenceRow("record:1", {"points": "95", "scored_by": "x"})]}
        card = cards.keep(tx, whose, "2026-04", rows, BANDS)
    with city.book.transaction(CHIEF) as tx:
        if not card.published:
            cards.publish(tx, card.id, card.generation)
    sheet = drafted(city, sheet.contract_id)
    with city.book.transaction(CHIEF) as tx:
        return sheets.confirm(tx, sheet.id, sheet.generation)


def test_two_lots_of_a_company_split_its_invoice_and_each_is_settled(city) -> None:
    """4 × 46.01 and 8 × 18 a machine: 184.04 and 144.00."""
    first = lot(city, "HT-1/1", classes=[VCPU])
    second = lot(city, "HT-1/2", classes=[MEMORY])
    assert closed(city) == {"2026-04-jia": 2 * (18404 + 14400)}
    one, two = confirmed(city, drafted(city, first)), confirmed(city, drafted(city, second))
    assert (one.gross_fen, two.gross_fen) == (2 * 18404, 2 * 14400)
    with city.book.reading() as tx:
        assert [sheets.standing(tx, tx.get_one(type(one.contract), each)).coming for each in (first, second)] == [0, 0]
        told = shares.of(tx, [1], closings.closings(tx))[1]
    assert told.used == {"2026-04": {first: one.gross_fen, second: two.gross_fen}}


def test_the_narrowest_takes_its_part_and_what_none_covers_is_told(city) -> None:
    general = lot(city, "HT-1")
    narrow = lot(city, "HT-1/1", pools=[city.pools["jia"]], departments=[1], classes=[VCPU])
    closed(city)
    assert drafted(city, narrow).gross_fen == 18404
    assert drafted(city, general).gross_fen == 18404 + 2 * 14400
    with city.book.transaction(CHIEF) as tx:
        row = contracts.contract(tx, general)
        said = {name: getattr(row.terms(), name) for name in ContractTerms.__dataclass_fields__}
        contracts.amend(
            tx,
            general,
            1,
            ContractTerms(**{**said, "coverage": ContractCoverage(classes=frozenset({VCPU}))}),
            "补充协议",
        )
        told = shares.of(tx, [1], closings.closings(tx))[1].used["2026-04"]
    assert told == {narrow: 18404, general: 18404, None: 2 * 14400}


def test_a_price_of_a_lot_holds_for_what_it_covers_on_its_days_alone(city) -> None:
    """From the 16th on web's cores cost 92.02: half a month at twice the price. What is billed so is no difference."""
    first = lot(city, "HT-1", until=date(2026, 4, 15))
    general = lot(city, "HT-2", since=date(2026, 4, 16))
    narrow = lot(city, "HT-2/1", since=date(2026, 4, 16), departments=[1])
    city.price(VCPU, "92.02", date(2026, 4, 16), contract_id=narrow)
    for wrong, code in ((date(2026, 4, 15), "term"), (date(2029, 1, 1), "term")):
        with pytest.raises(Invalid, match=rf"tariff\.{code}"):
            city.price(VCPU, "1", wrong, contract_id=narrow)
    run = city.make()
    web = [one.cost for one in city.lines(run) if one.kind == VCPU and one.department_id == 1]
    assert web == [Decimal("92.02"), Decimal("184.04")]
    invoice = closed(city)["2026-04-jia"]
    assert invoice == 9202 + 18404 + 18404 + 2 * 14400
    assert [drafted(city, one).gross_fen for one in (first, general, narrow)] == [
        9202 + 9202 + 2 * 7200, 9202 + 7200, 18404 + 7200,
    ]  # fmt: skip
    with city.book.transaction(STAFF) as tx:
        pool = tx.get_one(pools.Pool, city.pools["jia"])
        lines = [
            base.BillFact("2026-04", "web", ServiceKind.VM, VCPU, Arch.AARCH64, Decimal(2880), at(0), at(720), Decimal("276.06")),
            base.BillFact("2026-04", "db", ServiceKind.VM, VCPU, Arch.AARCH64, Decimal(2880), at(0), at(720), Decimal("184.04")),
        ]  # fmt: skip
        bills.take(tx, pool, "2026-04", lines, source="test")
    compared = reconciliation.reconcile(city.works, city.pools["jia"], "2026-04", actor=STAFF)
    assert (compared.billed_fen, compared.disputed_fen) == (27606 + 18404, 0)


def test_lots_that_say_the_same_or_what_there_is_not_are_refused(city) -> None:
    lot(city, "HT-1", pools=[city.pools["jia"]])
    for more in ({}, {"basis": ContractBasis.INSTALMENTS, "instalments": (Instalment("2026-04", Decimal(100)),)}):
        with pytest.raises(Conflict, match=r"contract\.overlaps"):
            lot(city, "HT-2", pools=[city.pools["jia"]], **more)
    lot(city, "HT-2", pools=[city.pools["jia"]], since=date(2029, 1, 1), until=date(2029, 12, 31))
    for more in ({"pools": [city.pools["yi"]]}, {"departments": [99]}, {"classes": ["sky"]}, {"items": [7]}):
        with pytest.raises(Invalid, match=r"contract\.(pools|departments|classes|items)"):
            lot(city, "HT-3", **more)


def test_what_was_claimed_under_another_coverage_is_not_claimed_again(city) -> None:
    general = lot(city, "HT-1")
    closed(city)
    confirmed(city, drafted(city, general))
    late = lot(city, "HT-1/1", classes=[VCPU])
    with pytest.raises(WrongState, match=r"settlement\.twice"):
        drafted(city, late)


@given(st.integers(-(10**12), 10**12), st.lists(st.integers(0, 10**9), min_size=1).filter(any))
def test_parts_are_the_whole_to_the_cent(fen, weights) -> None:
    parts = shares.apportion(fen, weights)
    assert sum(parts) == fen
    for part, weight in zip(parts, weights, strict=True):
        assert abs(Decimal(part) - Decimal(fen) * weight / sum(weights)) < 1
