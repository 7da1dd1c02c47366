"""Contracts and settlement sheets over HTTP: what was closed times acceptance and grade, what is retained and when it falls due, a
ceiling that is told of before it is passed; clauses of cities' published rules on money by number."""

from __future__ import annotations

import io
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from openpyxl import load_workbook
from sqlalchemy import select

from metering.settlement import FINAL, SettlementLine, SettlementSheet, focus_datasets, reckoning, shares, sheets
from metering.statements import closings
from providers.assessment import cards, company, formula_documents
from providers.assessment.measures import EvidenceRow
from providers.base import IncidentFact, Responsibility
from providers.billing import incidents
from providers.contracts import Contract, ContractBasis, ContractTerms, Instalment, contracts
from quota.actors import Actor, Role, steward
from quota.directory import Pool
from quota.errors import Conflict, Invalid, NotAllowed, WrongState
from tests.console.test_house import check_page

CHIEF, SECOND = Actor("authority1", "主任", Role.AUTHORITY), Actor("authority2", "副主任", Role.AUTHORITY)
STAFF = Actor("supervisor1", "监督", Role.SUPERVISOR)
BANDS = formula_documents.read(
    {
        "code": "bands", "name": "分档付费", "grades": [["90", "good"], ["80", "pass"], ["70", "basic"]],
        "payment": {"good": "100", "pass": "90", "basic": "80", "fail": "60"},
        "rules": [{"indicator": "service", "label": "服务", "weight": "100", "measure": "by_hand"}],
    }
).formula  # fmt: skip
FORM = {
    "number": "HT-2026-01", "name": "政务云服务", "payer": "市财政局", "first_day": "2026-04-01", "last_day": "2029-03-31",
    "ceiling": "10,000.00", "basis": "usage", "retention_share": "5", "retention_months": "2", "warn_share": "80",
}  # fmt: skip


def seen(client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    check_page(address, answer.text)
    return answer.text


def closed(house, **months: int) -> None:
    """Months as April and so on of 2026 → fen that the company invoices."""
    with house.transaction(CHIEF) as tx:
        for number, (month, fen) in enumerate(months.items(), 1):
            name = f"2026-{month[1:]}"
            closings.close(tx, name, number, {f"{name}-jia": fen})


def graded(house, city, period: str, points: int) -> int:
    """A published card of the period."""
    with house.transaction(steward()) as tx:
        rows = {"service": [EvidenceRow("record:1", {"points": str(points), "scored_by": "x"})]}
        card = cards.keep(tx, company(city.provider.id), period, rows, BANDS)
    with house.transaction(CHIEF) as tx:
        return cards.publish(tx, card.id, card.generation).id


def entered(house, city, **more) -> int:
    said = {
        "number": "HT-1", "name": "", "payer": "市财政局", "first_day": date(2026, 4, 1), "last_day": date(2027, 3, 31),
        "ceiling_fen": 1_000_000, "retention_share": Decimal(5), **more,
    }  # fmt: skip
    with house.transaction(CHIEF) as tx:
        return contracts.enter(tx, city.provider.id, ContractTerms(**said)).id


def drafted(house, contract_id: int, period: str, **more) -> SettlementSheet:
    with house.transaction(STAFF) as tx:
        return sheets.draft(tx, contract_id, period, **more)


def confirmed(house, sheet: SettlementSheet) -> SettlementSheet:
    with house.transaction(CHIEF) as tx:
        return sheets.confirm(tx, sheet.id, sheet.generation)


def test_47_a_contract_from_entry_to_a_confirmed_sheet_and_its_files(client_of, house, city, clock) -> None:
    """Clause 47: three years that begin with billing; 43 and 46: what was really used, audited before it is paid."""
    supervisor, chief, mine = client_of(Role.SUPERVISOR), client_of(Role.AUTHORITY), client_of(Role.PROVIDER)
    form = {**FORM, "provider": city.provider.id}
    assert "请填写数字" in supervisor.send("/contracts/new", {**form, "ceiling": "一万"}).text
    assert "不能早于开始日" in supervisor.send("/contracts/new", {**form, "last_day": "2026-01-01"}).text
    made = supervisor.send("/contracts/new", form)
    assert made.status_code == 302
    assert "已登记" in supervisor.send("/contracts/new", form).text
    place = made.location
    assert "已被更新" in chief.send(f"{place}/amend", {**form, "generation": "x", "reason": "补充协议"}).text
    with house.reading() as tx:
        assert len(tx.scalars(select(Contract)).one().months()) == 36
    settle = {"period": "2026-04", "acceptance": "100"}
    assert "尚未月结" in supervisor.send(f"{place}/settle", settle).text
    closed(house, m03=100_000, m04=500_000)
    assert "不在合同期内" in supervisor.send(f"{place}/settle", {**settle, "period": "2026-03"}).text
    assert "请写明依据" in supervisor.send(f"{place}/settle", {**settle, "acceptance": "98"}).text
    unrated = supervisor.send(f"{place}/settle", settle).location
    assert "考核评分尚未公示" in seen(supervisor, unrated)
    graded(house, city, "2026-04", 85)
    assert "已有变化" in chief.send(f"{unrated}/confirm", {"generation": "1"}, follow_redirects=True).text
    sheet = supervisor.send(f"{place}/settle", settle).location
    page = seen(mine, sheet)
    # 5,000.00 × 90 % = 4,500.00, of which 5 % are retained.
    assert "4,275.00" in page
    assert "质保金" in page
    assert chief.send(f"{sheet}/confirm", {"generation": "1"}).status_code == 302
    assert "已确认" in seen(mine, sheet)
    assert mine.send(f"{sheet}/confirm", {"generation": "2"}).status_code == 403
    book = load_workbook(io.BytesIO(mine.get(f"{sheet}/settlement.xlsx").data))
    cells = [cell.value for one in book for line in one.iter_rows() for cell in line]
    assert 4275 in cells
    assert mine.get(f"{sheet}/settlement.pdf").data.startswith(b"%PDF")
    assert client_of(Role.TENANT).get(sheet).status_code == 403
    assert "HT-2026-01" in seen(mine, "/contracts/")
    with house.reading() as tx:
        assert list(sheets.check(tx)) == []
        assert sheets.payers(tx, 2026) == [("市财政局", 500_000, 72_500, 427_500)]


def test_45_instalments_times_coefficients_and_the_last_part_after_two_months(house, city, place, clock) -> None:
    """Clause 45: three payments, each times a coefficient from acceptance and assessment; the last part two months after the term if
    there was no major failure."""
    thirds = tuple(
        Instalment(month, share)
        for month, share in (("2026-04", Decimal(40)), ("2026-05", Decimal(30)), ("2026-07", Decimal(30)))
    )
    with pytest.raises(Invalid, match=r"contract\.instalments"):
        entered(house, city, basis=ContractBasis.INSTALMENTS, instalments=thirds[:2])
    with pytest.raises(
        Invalid, match=r"contract\.instalment\b"
    ):  # no period is ever called so: it would never fall due
        contracts.read_instalments("２０２６-04 100")
    made = entered(
        house,
        city,
        basis=ContractBasis.INSTALMENTS,
        instalments=thirds,
        last_day=date(2026, 8, 31),
        retention_share=Decimal(10),
    )
    card = graded(house, city, "2026-04", 95)
    first = drafted(house, made, "2026-04", acceptance=Decimal(90), reason="初验纪要")
    assert [line["fen"] for line in first.withheld] == [40_000, 36_000]
    assert (first.gross_fen, first.payable_fen, first.card_id) == (400_000, 324_000, card)
    confirmed(house, first)
    graded(house, city, "2026-05", 75)
    second = confirmed(house, drafted(house, made, "2026-05"))
    assert second.payable_fen == 300_000 * 80 // 100 * 90 // 100
    with pytest.raises(Invalid, match=r"settlement\.nothing_due"):
        drafted(house, made, "2026-06")
    with pytest.raises(WrongState, match=r"settlement\.overlaps"):
        drafted(house, made, "2026-Q2")
    with pytest.raises(WrongState, match=r"settlement\.early"):
        drafted(house, made, FINAL)
    clock.advance(days=160)  # 8 November
    with house.transaction(steward()) as tx:
        pool = tx.get_one(Pool, place.pool)
        told = IncidentFact("G-9", 1, "全区中断", tx.now - timedelta(days=20), None, None, Responsibility.PROVIDER)
        found = incidents.report(tx, pool, told)
    last = drafted(house, made, FINAL)
    assert (last.gross_fen, last.payable_fen) == (36_000 + 24_000, 60_000), "nobody has ruled whose it was"
    with house.transaction(CHIEF) as tx:
        incidents.settle(tx, found.id, 1, Responsibility.PROVIDER, "监测记录")
    with pytest.raises(Conflict, match=r"settlement\.changed"):
        confirmed(house, last)
    last = drafted(house, made, FINAL)
    assert (last.payable_fen, last.withheld[0]["refs"]) == (0, [f"incident:{found.id}"])


def test_a_commitment_that_is_settled_to_its_ceiling_is_exhausted(house, city) -> None:
    whole = (Instalment("2026-04", Decimal(100)),)
    made = entered(house, city, basis=ContractBasis.INSTALMENTS, instalments=whole, retention_share=Decimal(10))

    def status() -> list[str | None]:
        with house.reading() as tx:
            run: Any = None  # of no month: contracts are told as they stand
            return [one["ContractCommitmentLifecycleStatus"] for one in focus_datasets.contract_commitments(tx, run)]

    graded(house, city, "2026-04", 95)
    sheet = drafted(house, made, "2026-04")
    assert status() == ["Active"]
    confirmed(house, sheet)
    assert status() == ["Exhausted"]


def test_a_ceiling_is_told_of_before_it_is_passed_and_never_paid_beyond(client_of, house, city) -> None:
    made = entered(house, city, retention_share=Decimal(0))
    closed(house, m04=700_000)
    assert "合同上限预警" not in seen(client_of(Role.SUPERVISOR), "/")
    with house.transaction(CHIEF) as tx:
        closings.close(tx, "2026-05", 2, {"2026-05-jia": 400_000})
    assert "合同上限预警" in seen(client_of(Role.SUPERVISOR), "/")
    assert "将超出合同上限" in seen(client_of(Role.AUTHORITY), f"/contracts/{made}")
    for period in ("2026-04", "2026-05"):
        graded(house, city, period, 99)
    confirmed(house, drafted(house, made, "2026-04"))
    over = confirmed(house, drafted(house, made, "2026-05"))
    assert (over.payable_fen, [(line["code"], line["fen"]) for line in over.withheld]) == (
        300_000,
        [("ceiling", 100_000)],
    )
    with house.transaction(CHIEF) as tx:
        before = contracts.contract(tx, made)
        raised = contracts.amend(
            tx, made, before.generation, ContractTerms(**{**_said(before), "ceiling_fen": 2_000_000}), "补充协议 1 号"
        )
        assert sheets.standing(tx, raised).left == 1_000_000
    with pytest.raises(WrongState, match=r"settlement\.settled"):
        drafted(house, made, "2026-05")
    with pytest.raises(Conflict, match=r"contract\.stale"), house.transaction(CHIEF) as tx:
        contracts.amend(tx, made, 1, contracts.contract(tx, made).terms(), "旧页面")


def _said(one: Contract) -> dict:
    terms = one.terms()
    return {name: getattr(terms, name) for name in terms.__dataclass_fields__}


def test_nobody_confirms_the_own_draft_and_a_changed_sheet_is_found(house, city) -> None:
    made = entered(house, city)
    closed(house, m04=100_001)
    graded(house, city, "2026-04", 85)
    sheet = drafted(house, made, "2026-04")
    assert drafted(house, made, "2026-04").id == sheet.id, "the same again is the same"
    with house.transaction(STAFF) as tx:
        tx.get_one(SettlementSheet, sheet.id).drafted_by = "authority2"
    with pytest.raises(NotAllowed, match=r"settlement\.own_draft"), house.transaction(SECOND) as tx:
        sheets.confirm(tx, sheet.id, 1)
    with house.transaction(STAFF) as tx:
        tx.get_one(SettlementSheet, sheet.id).payable_fen += 1
    with house.reading() as tx:
        assert list(sheets.check(tx)) == [f"settlement_sheets: row {sheet.id} says other sums than its lines"]


def test_no_sheet_without_a_published_card_and_no_second_contract_of_the_same(
    client_of, house, city, monkeypatch
) -> None:
    first = entered(house, city)
    closed(house, m04=100_000)
    with pytest.raises(WrongState, match=r"settlement\.unrated"):
        confirmed(house, drafted(house, first, "2026-04"))
    graded(house, city, "2026-04", 95)
    assert confirmed(house, drafted(house, first, "2026-04")).payable_fen == 95_000
    supervisor, form = client_of(Role.SUPERVISOR), {**FORM, "provider": city.provider.id, "number": "HT-2"}
    assert "与合同 HT-1 在同一时期的范围重叠" in supervisor.send("/contracts/new", form).text
    lot = supervisor.send("/contracts/new", {**form, "classes": ["vcpu", "labour"]}).location
    assert "人工服务" in seen(supervisor, lot)
    parts = shares.MonthShares({"2026-04": {first: 60_000, None: 40_000}}, {})
    monkeypatch.setattr(shares, "of", lambda *_all: {city.provider.id: parts})
    page = seen(supervisor, f"/contracts/{first}")
    assert "各合同的份额" in page
    assert "不在任何合同范围内" in page
    assert "400.00" in page
    page = seen(client_of(Role.AUTHORITY), f"{lot}/amend")
    assert page.count('checked> <span class="form-check-label"') == 2
    sent = {"kind": "vcpu", "price": "40", "per": "month", "stopped_share": "100", "effective_from": "2026-04-01", "arch": "",
            "provider": "0", "item": "0", "contract": lot.rpartition("/")[2], "sure": "1"}  # fmt: skip
    assert "合同 HT-2" in seen(
        client_of(Role.AUTHORITY), client_of(Role.AUTHORITY).send("/reports/tariffs/new", sent).location
    )


@pytest.mark.parametrize("gross", [1, 99, 100_001, 10**13])
@pytest.mark.parametrize("paid", [None, Decimal(0), Decimal("66.67"), Decimal(100)])
def test_what_is_claimed_is_what_is_payable_and_what_is_withheld(gross, paid) -> None:
    found = reckoning.reckon(
        [SettlementLine("month", gross, "2026-04")],
        acceptance=Decimal("97.5"),
        paid=paid,
        retention=Decimal("5"),
        room=gross // 2,
    )
    assert found.gross == found.payable + found.kept_back
    assert 0 <= found.payable + found.retained <= gross // 2
    assert all(line.fen > 0 for line in found.withheld)


def test_of_a_credit_nothing_is_withheld() -> None:
    credit = reckoning.reckon(
        [SettlementLine("month", -500, "2026-04")], acceptance=Decimal(90), paid=None, retention=Decimal(5), room=0
    )
    assert (credit.payable, credit.withheld) == (-500, ())
