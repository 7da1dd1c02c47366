"""Clauses on a year's money by number: the audited sums of departments with finance by a day of the city's, paid out of a later
year's budget; the assessor's opinion on the year's fees; budgets that signers are told of and rules go by."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from openpyxl import load_workbook
from sqlalchemy import event, select, update

from console.mail import mails
from console.tables import Mail, MailItem, MailSource
from metering.settlement import BillingYear, DepartmentBudget, YearFinding, YearTerms, YearUnit, budgets, years
from metering.statements import CORRECTION, StatementLine, StatementRun, closings, latest, tariffs
from providers import labour
from providers.billing import month_bounds
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.directory import Department, Person
from quota.errors import Conflict, Invalid, NotAllowed, WrongState
from quota.requests import Request
from quota.units import VCPU
from tests.console.test_house import check_page
from tests.journeys.test_clauses import enacted, fact, rule, submitted
from tests.journeys.test_labour import act, asked, granted
from tests.journeys.test_requests import small

CHIEF, SECOND = Actor("authority1", "主任", Role.AUTHORITY), Actor("authority2", "副主任", Role.AUTHORITY)
STAFF = Actor("supervisor1", "监督", Role.SUPERVISOR)
FORM = {
    "name": "2026 结算年度", "first_month": "2026-03", "last_month": "2026-05", "due_on": "2026-09-30", "paid_in": "2027",
    "basis": "市财政局文件",
}  # fmt: skip
TERMS = YearTerms(
    name="2026", first_month="2026-03", last_month="2026-05", due_on=date(2026, 9, 30), paid_in=2027, basis="文件"
)


def seen(client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    check_page(address, answer.text)
    return answer.text


def sheet(client, address: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(client.get(f"{address}?export=csv").data.decode("utf-8-sig"))))


def generation(client, address: str) -> str:
    return re.search(r'name="generation"[^>]*value="(\d+)"', client.get(address).text)[1]


@pytest.fixture
def closed(house, place):
    """Closes months on a run of one line a department: ``closed("2026-03", {department: (cost, unmeasured)})``, in fen; or, ``stated``,
    leaves them open."""
    machine = place.standing_machine({VCPU: 4}, department_id=place.first)

    def close(month: str, owed: dict[int | None, tuple[int, int]], corrected: int = 0, *, stated: bool = False) -> None:
        with house.transaction(steward()) as tx:
            run = StatementRun(
                month=month, revision=(latest(tx, month).revision if latest(tx, month) else 0) + 1, digest="0" * 64, until=month_bounds(month)[1], resources=1, lines=len(owed), unpriced=0,
                proven_fen=0, unmeasured_fen=0, correction_fen=0, made_at=tx.now, made_by="steward",
            )  # fmt: skip
            tx.add(run)
            tx.flush()
            for department, (cost, rest) in owed.items():
                tx.add(StatementLine(
                    run_id=run.id, charge="usage", resource_id=machine, pool_id=place.pool, provider_id=place.provider.id,
                    department_id=department, kind="vcpu", stopped=False, first_day=1, last_day=30, allocated=1, proven=1,
                    quantity_nano=1, cost_fen=cost, unmeasured_fen=rest, days=[],
                ))  # fmt: skip
            if corrected:
                tx.add(StatementLine(
                    run_id=run.id, charge=CORRECTION, corrects="2026-01", resource_id=machine, pool_id=place.pool,
                    provider_id=place.provider.id, department_id=place.first, kind="vcpu", stopped=False, first_day=1, last_day=30,
                    allocated=0, proven=0, quantity_nano=0, cost_fen=corrected, unmeasured_fen=0, days=[],
                ))  # fmt: skip
            number = run.id
        if stated:
            return
        with house.transaction(CHIEF) as tx:
            total = sum(cost for cost, _rest in owed.values()) + corrected
            closings.close(tx, month, number, {f"{month}-{place.provider.code}": total})

    return close


def test_44_the_audited_sums_of_departments_go_to_finance_in_time(client_of, house, place, closed, clock) -> None:
    """Drafted, signed by another, drawn up once the months are closed, handed over; each department sees its own line."""
    supervisor, chief, second, mine = (client_of(one) for one in ("supervisor1", "authority1", "authority2", "tenant1"))
    assert mine.send("/billing-years/new", FORM).status_code == 403
    for field, wrong in (("first_month", "2026-13"), ("last_month", "2026-02"), ("last_month", "2027-03"),
                         ("due_on", "2026-05-31"), ("paid_in", "2025"), ("basis", " ")):  # fmt: skip
        answer = supervisor.send("/billing-years/new", {**FORM, field: wrong})
        assert answer.status_code == 422, (field, wrong)
    made = chief.send("/billing-years/new", FORM).location
    assert "已属于结算年度" in supervisor.send("/billing-years/new", {**FORM, "first_month": "2026-05"}).text
    with house.transaction(CHIEF) as tx, pytest.raises(NotAllowed, match=r"year\.own"):
        years.enact(tx, 1, 1)
    judged = {"generation": "2", "finding": "reasonable", "opinion": "单价与价目一致,用量经计量核实"}
    with house.transaction(STAFF) as tx, pytest.raises(WrongState, match=r"year\.state"):
        years.judge(tx, 1, 1, YearFinding.REASONABLE, "早了")
    assert second.send(f"{made}/enact", {"generation": "1"}).status_code == 302
    closed("2026-03", {place.first: (100_00, 5_00), place.second: (30_00, 0)})
    closed("2026-04", {place.first: (110_01, 0), None: (7, 0)})
    assert "2026-05 尚未月结" in supervisor.send(f"{made}/judge", judged).text
    with house.transaction(CHIEF) as tx:
        budgets.state(tx, place.first, 2027, 300_00, "预算批复")
    # Before May is closed, or as much as stated, there is a preview, which says of itself that it is one.
    page = seen(supervisor, f"{made}/preview")
    assert "240.08" in page
    assert re.search(r"尚无对账单的月份.*?2026-05", page, re.S)
    for address, status in (("preview", 403), ("billing-year.pdf", 404), ("billing-year.xlsx", 404)):
        assert mine.get(f"{made}/{address}").status_code == status, address
    closed("2026-05", {place.first: (90_00, 2), place.second: (3, 0)}, stated=True)
    page = seen(chief, f"{made}/preview")
    assert "预览，尚未核定，不作为付款依据" in page
    rows = {row["代码"]: row for row in sheet(chief, f"{made}/preview")}
    figures = [f"{name} (元)" for name in ("已月结", "未月结暂计", "合计", "无法计量", "预算缺口")]
    assert [[row[name] for name in figures] for row in (rows["A01"], rows[""])] == [
        ["210.01", "90.00", "300.01", "5.02", "0.01"], ["0.07", "0.00", "0.07", "0.00", ""],
    ]  # fmt: skip
    cells = filed(chief, made)
    assert [row[2:6] for row in cells if row[0] == "合计"] == [[240.08, 90.03, 330.11, 5.02]], cells
    assert any("预览" in str(cell) for row in cells for cell in row)
    closed("2026-05", {place.first: (120_00, 1), place.second: (-5_00, 0)})
    assert mine.get(made).status_code == 404
    assert supervisor.send(f"{made}/judge", {**judged, "opinion": ""}).status_code == 422
    assert supervisor.send(f"{made}/judge", judged).status_code == 302
    with house.reading() as tx:
        units = {one.department_id: one for one in tx.scalars(select(YearUnit))}
        told = {of: (one.audited_fen, one.unmeasured_fen, one.budget_fen, one.short_fen) for of, one in units.items()}
        assert told == {
            place.first: (330_01, 5_01, 300_00, 30_01), place.second: (25_00, 0, None, None), None: (7, 0, None, None),
        }  # fmt: skip
        (one,) = tx.scalars(select(BillingYear))
        invoiced = sum(sum(each.invoices.values()) for each in closings.closings(tx))
        assert sum(each.audited_fen for each in units.values()) == one.companies[0]["invoiced"] == invoiced == 355_08
        assert list(years.check(tx)) == []
    assert "355.08" in seen(supervisor, made)
    assert "已核定的结算年度没有预览" in supervisor.get(f"{made}/preview").text
    assert written(house) == [(MailSource.YEAR_JUDGED, "authority1"), (MailSource.YEAR_JUDGED, "authority2")]
    assert "2026 结算年度" in seen(chief, "/")
    assert chief.send(f"{made}/hand-over", {"generation": "2"}).status_code == 409
    assert chief.send(f"{made}/hand-over", {"generation": "3"}).status_code == 302
    assert supervisor.send(f"{made}/judge", {**judged, "generation": "4"}).status_code == 422, "it stands"
    rows = {row["代码"]: row for row in sheet(chief, made)}
    assert (rows["A01"]["审核金额 (元)"], rows["A01"]["预算缺口 (元)"]) == ("330.01", "30.01"), rows
    assert [row["代码"] for row in sheet(mine, made)] == ["A01"]
    assert "25.00" not in seen(mine, made)
    assert "用量经计量核实" in seen(mine, made)
    assert written(house) == [(MailSource.YEAR_HANDED, "tenant1"), (MailSource.YEAR_HANDED, "tenant2")]
    whole, own = ({cell for row in filed(one, made) for cell in row} for one in (chief, mine))
    assert {330.01, 25, 355.08, 30.01} <= whole
    assert 330.01 in own
    assert not own & {25, 355.08}, "another department's, and the companies' sum"
    assert not [cell for cell in whole | own if "预览" in str(cell)]
    assert mine.get(f"{made}/billing-year.pdf").data.startswith(b"%PDF")


def written(house) -> list[tuple[str, str]]:
    """What was newly written about, and to whom."""
    with house.transaction(steward("job:mail")) as tx:
        for who in tx.scalars(select(Person).where(Person.email == "")):
            who.email = f"{who.login}@example.org"
        made = [one.id for one in mails.gather(tx)]
        told = select(MailItem.source, Person.login).join(Mail, Mail.id == MailItem.mail_id).join(Mail.person)
        return sorted(tx.execute(told.where(Mail.id.in_(made))).all())


def filed(client, address: str) -> list[list[object]]:
    """The cells of the year's workbook."""
    book = load_workbook(io.BytesIO(client.get(f"{address}/billing-year.xlsx").data))
    return [[cell.value for cell in row] for one in book.worksheets for row in one.iter_rows()]


def test_44_what_finance_waits_for_is_told_and_a_changed_basis_is_not_handed_over(
    client_of, house, place, closed, clock
) -> None:
    with house.transaction(CHIEF) as tx:
        years.enter(tx, TERMS)
        years.withdraw(tx, 1, 1, "写错")
        years.enter(tx, TERMS)
    with house.transaction(SECOND) as tx:
        years.enact(tx, 2, 1)
    for month in ("2026-03", "2026-04", "2026-05"):
        closed(month, {place.first: (100, 0)})
    assert "年度结算" not in seen(client_of(Role.AUTHORITY), "/").partition("<main")[2], "a quarter of a year away"
    with house.transaction(STAFF) as tx:
        years.judge(tx, 2, 2, YearFinding.REASONABLE, "合理")
    with house.transaction(STAFF) as tx:
        tx.execute(update(YearUnit).values(audited_fen=1))
        assert [line for line in years.check(tx) if "row 2" in line]
        tx.execute(update(YearUnit).values(audited_fen=300))
    with house.transaction(CHIEF) as tx:
        budgets.state(tx, place.first, 2027, 900, "批复")
    with house.transaction(SECOND) as tx, pytest.raises(Conflict, match=r"year\.changed"):
        years.hand_over(tx, 2, 3)
    clock.advance(days=122)  # 1 October
    page = seen(client_of(Role.AUTHORITY), "/")
    assert "逾期" in page.partition("年度结算")[2]
    assert "已过报送期限" in seen(client_of(Role.AUTHORITY), "/billing-years/2")


def test_48_the_assessor_says_whether_the_years_fees_are_reasonable(client_of, house, place, closed) -> None:
    """With what each company invoiced and what of its bills was proven beside it; whoever said so does not hand it over."""
    with house.transaction(STAFF) as tx:
        years.enter(tx, TERMS)
    with house.transaction(CHIEF) as tx:
        years.enact(tx, 1, 1)
    for month in ("2026-03", "2026-04", "2026-05"):
        closed(month, {place.first: (1000_00, 0)})
    supervisor = client_of(Role.SUPERVISOR)
    page = seen(supervisor, "/billing-years/1/judge")
    for label in ("费用合理", "核减后合理", "费用不合理"):
        assert label in page
    wrong = supervisor.send("/billing-years/1/judge", {"generation": "2", "finding": "splendid", "opinion": "好"})
    assert wrong.status_code == 422
    said = {"generation": "2", "finding": "reduced", "opinion": "四月账单多计 20 元,已核减"}
    assert supervisor.send("/billing-years/1/judge", said).status_code == 302
    page = seen(supervisor, "/billing-years/1")
    assert "核减后合理" in page
    assert "四月账单多计 20 元,已核减" in page
    assert "3,000.00" in page.partition("云服务商账单核对")[2]
    assert supervisor.send("/billing-years/1/hand-over", {"generation": "3"}).status_code == 403
    with house.reading() as tx:
        (one,) = tx.scalars(select(BillingYear))
        assert (one.finding, one.judged_by, one.companies[0]["invoiced"]) == ("reduced", "supervisor1", 3000_00)


def test_44_a_department_pays_out_of_its_budget_and_signers_are_told(client_of, house, place, closed, clock) -> None:
    """At the limit a request goes its way, one beyond it goes to the authority's rule; nothing is guessed without a budget."""
    enacted(client_of, clock, rule("budget", fact("budget_share", ">", 100), outcome="refuse", reason="超出年度预算"))
    tenant, chief = client_of(Role.TENANT), client_of("authority1")
    with house.transaction(CHIEF) as tx:
        tariffs.enter(tx, "vcpu", Decimal(10), tx.now.date(), per=tariffs.Per.MONTH)
        for code in ("memory", "block"):
            tariffs.enter(tx, code, Decimal(0), tx.now.date(), per=tariffs.Per.MONTH)
    closed("2026-05", {place.first: (100_00, 0)})
    department = str(place.first)
    body = {"department": department, "year": "2026", "yuan": "0", "basis": "预算批复", "generation": "0"}
    for wrong in ("0", "-1", "abc", "1.001"):
        assert chief.send("/budgets/new", {**body, "yuan": wrong}).status_code == 422, wrong
    assert tenant.send("/budgets/new", body).status_code == 403
    assert chief.send("/budgets/new", {**body, "yuan": "10000"}).status_code == 302
    with house.reading() as tx:
        (row,) = tx.scalars(select(DepartmentBudget))
        outlook = budgets.outlooks(tx, [row])[row.id]
        # May's 100 yuan, and as much in each of the seven months that are left.
        assert (outlook.spent, outlook.expected, outlook.share) == (100_00, 800_00, Decimal("8.0"))
    assert [row["预计占用 (%)"] for row in sheet(tenant, "/budgets/")] == ["8.0"]
    assert sheet(client_of("tenant2"), "/budgets/") == []
    number, refused = submitted(tenant, place, **small(place, 1))
    assert not refused
    with house.reading() as tx:
        share = tx.scalars(select(Request.facts).order_by(Request.id.desc())).first()["budget_share"]
    assert "年度预算预计占用" in seen(client_of(Role.SUPERVISOR), f"/requests/{number}")
    exact = (share / 100) * 10000
    assert exact > 800
    for old in ("0", "x"):
        assert "已被更新" in chief.send("/budgets/new", {**body, "yuan": "900", "generation": old}).text
    tight = f"{exact - 60:.2f}"
    assert chief.send("/budgets/new", {**body, "yuan": tight, "generation": "1"}).status_code == 302
    assert "超出年度预算" in submitted(tenant, place, **small(place, 1))[1]


def test_a_year_is_not_what_cannot_be(house) -> None:
    for changes, code in (
        ({"first_month": "2025-05"}, "year.months"),
        ({"first_month": "x"}, "year.month"),
        ({"last_month": "20２７-02"}, "year.month"),
        ({"due_on": date(2028, 1, 1)}, "year.due"),
        ({"paid_in": 2030}, "year.paid_in"),
        ({"name": " "}, "year.name"),
    ):
        with house.transaction(CHIEF) as tx, pytest.raises(Invalid, match=code):
            years.enter(tx, replace(TERMS, **changes))


def test_44_services_of_people_are_owed_with_the_months_in_which_they_were_confirmed(
    client_of, house, place, closed, clock
) -> None:
    """In the year's list and in what a budget spent; what a request asks of them once is part of its share."""
    today = clock.now.astimezone(ZONE).date()
    with house.transaction(CHIEF) as tx:
        labour.rates.enter(tx, "MD-1", "高级工程师", "人天", Decimal(1500), today)
        budgets.state(tx, place.first, 2026, 10_000_00, "批复")
        budgets.state(tx, place.first, 2025, 10_000_00, "批复")
    clock.advance(minutes=1)
    for month in ("2026-04", "2026-05"):
        closed(month, {place.first: (100_00, 0)})
    job = granted(client_of, place, more_quantity="2")
    act(client_of(Role.PROVIDER), job, "report", done="1.5", on=str(today), text="驻场")
    act(client_of("tenant1"), job, "confirm")

    def outlook(year: int = 2026) -> tuple[int, int | None]:
        with house.reading() as tx:
            row = budgets.of(tx, place.first, year)
            found = budgets.outlooks(tx, [row])[row.id]
            return found.spent, found.expected

    assert outlook() == (200_00 + 2250_00, 200_00 + 2250_00 + 7 * 100_00)
    number, refused = asked(client_of("tenant1"), place, more_quantity="2")
    assert not refused
    with house.reading() as tx:
        assert tx.get_one(Request, number).facts["budget_share"] == 61.5  # 3,150 + 3,000 of 10,000
    clock.advance(days=35)
    closed("2026-06", {place.first: (110_00, 0)}, corrected=-40_00)
    # What June corrects of others is no pace.
    assert outlook() == (270_00 + 2250_00, 270_00 + 2250_00 + 6 * 110_00)
    assert outlook(2025) == (0, 0)  # over, and nothing was closed of it
    with house.transaction(STAFF) as tx:
        years.enter(tx, replace(TERMS, first_month="2026-05", last_month="2026-06"))
    with house.transaction(CHIEF) as tx:
        years.enact(tx, 1, 1)
    with house.transaction(STAFF) as tx:
        years.judge(tx, 1, 2, YearFinding.REASONABLE, "合理")
        years.judge(tx, 1, 3, YearFinding.REASONABLE, "合理")
    with house.reading() as tx:
        (unit,) = tx.scalars(select(YearUnit))
        assert unit.audited_fen == 100_00 + 70_00 + 2250_00
        (company,) = tx.scalars(select(BillingYear)).one().companies
        assert (company["invoiced"], company["labour"]) == (170_00, 2250_00)
        assert list(years.check(tx)) == []
    assert "2,250.00" in seen(client_of("supervisor1"), "/billing-years/1")
    with house.transaction(SECOND) as tx:
        years.hand_over(tx, 1, 4)
    place.prove()


def test_budgets_are_exported_by_as_many_statements_however_many_they_are(client_of, house, place, closed) -> None:
    closed("2026-05", {place.first: (100_00, 0)})
    chief, asked_of = client_of("authority1"), []

    def exported() -> int:
        asked_of.clear()
        event.listen(house.engine, "before_cursor_execute", hear)
        try:
            sheet(chief, "/budgets/")
        finally:
            event.remove(house.engine, "before_cursor_execute", hear)
        return len([one for one in asked_of if "statement_lines" in one])

    def hear(_connection, _cursor, statement, *_rest) -> None:
        asked_of.append(statement)

    with house.transaction(CHIEF) as tx:
        for department in (place.first, place.second):
            budgets.state(tx, department, 2026, 100, "批复")
    few = exported()
    with house.transaction(CHIEF) as tx:
        for number in range(120):
            tx.add(child := Department(code=f"Z{number}", name=f"单位{number}", parent_id=place.first, active=True))
            tx.flush()
            budgets.state(tx, child.id, 2026, 100, "批复")
    assert exported() <= 2 * few  # of the page, and of all others at once
