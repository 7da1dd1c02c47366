"""Cases as people live through them: over HTTP, on a clock that runs through 中秋 and 国庆 2026 with their 调休.

A week of the published calendar that matters here: 2026-09-20 (Sunday) is worked, 09-25 to 09-27 are not, 10-01 to
10-07 are not, 10-10 (Saturday) is worked.
"""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from sqlalchemy import event, select

from console import anchors
from console.settings import Settings
from metering import cases
from metering.cases import exemptions, recoveries
from metering.cases.steps import CaseState
from metering.judging import findings, policies
from metering.judging.policy import Verdict
from providers import orders
from providers.base import ServiceKind
from providers.orders.tables import OrderState, WorkOrder
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.directory.pools import Pool
from quota.inventory import Resource
from quota.ledger import capacities, entries
from quota.requests.tables import Request
from quota.units import ACCELERATOR, BLOCK, DATABASE, EIP, MEMORY, VCPU
from tests.city import City
from tests.city.cases import SHAPE
from tests.metering.conftest import CPU

MONDAY = datetime(2026, 9, 21, 2, 0, tzinfo=UTC)
TEXT = "该系统承担社保年审,每年十一月达到高峰"
GENERATION = re.compile(r'name="generation"[^>]*value="(\d+)"')


class Journey(City):
    """A city of cases in the console's book; people come in by the front door."""

    def __init__(self, book, clock, people, client_of) -> None:
        clock.now = MONDAY
        super().__init__(book, clock)
        self.client_of, self.people, self.visits = client_of, people, {}
        self.department, self.other = people.departments[0].id, people.departments[1].id
        with book.reading() as tx:
            company = tx.get_one(Pool, self.pool).provider_id
        self.provider = Actor("zhou", "周", Role.PROVIDER, provider_id=company)
        self.tenant = Actor("tenant1", "钱", Role.TENANT, department_id=self.department)

    def visit(self, login: str):
        """Somebody who has logged in, anew where the clock has moved on."""
        visit, at = self.visits.get(login, (None, None))
        if visit is None or self.clock.now - at > timedelta(minutes=10):
            visit = self.client_of(login)
            self.visits[login] = (visit, self.clock.now)
        return visit

    def page(self, login: str, url: str, status: int = 200) -> str:
        answer = self.visit(login).get(url)
        assert answer.status_code == status, f"{login} {url}: {answer.status_code}"
        return answer.text

    def do(self, login: str, case_id: int, act: str, status: int = 302, **typed: Any) -> str:
        """Open the page of an act, look at it, and send its form."""
        visit = self.visit(login)
        shown = visit.get(f"/cases/{case_id}/{act}")
        generation = GENERATION.search(shown.text)
        typed.setdefault("generation", generation.group(1) if generation else str(self.see(case_id).generation))
        answer = visit.send(f"/cases/{case_id}/{act}", typed)
        assert answer.status_code == status, f"{login} {act}: {answer.status_code} {answer.text[-3000:]}"
        return shown.text

    def open_by_hand(self, machine: int, verdict: Verdict, **more: Any) -> int:
        """The supervisor opens a case from the finding of a machine. Returns its id."""
        run = self.judge({machine: verdict}, **more)
        with self.book.reading() as tx:
            (finding,) = findings.of_run(tx, findings.assessment(tx, run))
        visit = self.visit("supervisor1")
        visit.get("/findings/?verdict=all")
        answer = visit.send("/cases/open", {"finding": finding.id})
        assert answer.status_code == 302, answer.text
        return int(answer.location.rpartition("/")[2])

    def told(self, *case_ids: int) -> int:
        """Reviewed by the supervisor, and told the department in one letter. Returns the letter's id."""
        for case_id in case_ids:
            self.do("supervisor1", case_id, "review")
        visit = self.visit("supervisor1")
        visit.get("/notices/new")
        chosen = [f"{case_id}:{self.see(case_id).generation}" for case_id in case_ids]
        check = visit.send("/notices/new", {"case": chosen, "text": "请按期答复"})
        assert check.status_code == 200
        assert f"将签发 1 封通知，涉及 {len(case_ids)} 个资源" in check.text
        assert self.see(case_ids[0]).state == CaseState.REVIEWED, "looking at it binds nobody"
        sent = visit.send("/notices/new", {"case": chosen, "text": "请按期答复", "confirmed": "1"})
        assert sent.status_code == 302
        return int(sent.location.rpartition("/")[2])

    def answer(self, notice_id: int, login: str = "tenant1", status: int = 302, **typed: Any):
        """The department answers a letter: filled in, checked, sent."""
        visit = self.visit(login)
        visit.get(f"/notices/{notice_id}/answer")
        with self.book.reading() as tx:
            rows = tx.scalars(select(cases.Case).where(cases.Case.notice_id == notice_id)).all()
            form = {f"generation-{one.id}": one.generation for one in rows}
        form |= {re.sub(r"_(\d+)$", r"-\1", name): value for name, value in typed.items()}
        checked = visit.send(f"/notices/{notice_id}/answer", form)
        if status != 302:
            assert checked.status_code == status, checked.text[-2000:]
            return checked
        assert checked.status_code == 200, checked.text[-3000:]
        assert "提交后不能修改" in checked.text
        sent = visit.send(f"/notices/{notice_id}/answer", {**form, "confirmed": "1"})
        assert sent.status_code == 302, sent.text[-2000:]
        return sent

    def day(self, month: int, day: int, hour: int = 2) -> None:
        """Go to an instant of 2026 (UTC), and let the job run there."""
        self.clock.now = datetime(2026, month, day, hour, tzinfo=UTC)
        self.advance()

    def machine_of(self, case_id: int) -> Resource:
        with self.book.reading() as tx:
            return tx.get_one(Resource, self.see(case_id).resource_id)


@pytest.fixture
def town(house, clock, city, client_of) -> Journey:
    return Journey(house, clock, city, client_of)


def test_an_idle_machine_is_powered_off_recycled_and_deleted_by_two(town: Journey) -> None:
    """Reclaim by power-off, through both holidays, to the printed certificate."""
    machine = town.machine()
    case_id = town.open_by_hand(machine, Verdict.IDLE)
    page = town.page("supervisor1", f"/cases/{case_id}")
    assert "待审核" in page
    assert "16 vCPU · 32 GB 内存" in page
    letter = town.told(case_id)
    page = town.page("tenant1", "/")
    assert "待答复的通知" in page
    # Ten working days from Monday 09-21 end on 10-12: three days of 中秋, seven of 国庆, one worked Saturday between.
    assert town.see(case_id).due_at.astimezone(ZONE).date().isoformat() == "2026-10-12"
    town.day(9, 28)
    assert town.see(case_id).notice.reminded_at is None
    town.day(9, 29)
    assert town.see(case_id).notice.reminded_at is not None, "the fifth working day"
    sheet = openpyxl.load_workbook(io.BytesIO(town.visit("tenant1").get(f"/notices/{letter}?export=xlsx").data)).active
    assert sheet["A2"].value == town.see(case_id).number
    assert sheet["I2"].value == "回收"
    town.day(10, 10)
    town.answer(letter, **{f"answer_{case_id}": "agree"})
    assert town.see(case_id).state == CaseState.CLEARED

    refused = town.visit("supervisor1")
    refused.get(f"/cases/{case_id}/act")
    answer = refused.send(f"/cases/{case_id}/act", {"generation": town.see(case_id).generation, "sure": "y"})
    assert answer.status_code == 409, "the judgement of September is stale"
    town.judge({machine: Verdict.IDLE})
    shown = town.do("supervisor1", case_id, "act", sure="y")
    assert "先快照，再关机观察15天" in shown
    assert town.deliver(case_id) == CaseState.ORDERED
    assert town.deliver(case_id) == CaseState.WATCHED
    assert town.machine_of(case_id).state == "stopped"
    assert town.advance(case_id, days=14) == CaseState.WATCHED
    assert town.advance(case_id, days=1, hours=1) == CaseState.ORDERED
    assert town.deliver(case_id) == CaseState.BINNED
    assert "恢复资源" in town.page("tenant1", f"/cases/{case_id}")
    assert town.advance(case_id, days=29) == CaseState.BINNED
    assert town.advance(case_id, days=1, hours=1) == CaseState.CONFIRMING
    assert "确认删除" in town.page("authority1", "/")
    town.do("supervisor1", case_id, "confirm-deletion", sure="y")
    assert town.see(case_id).state == CaseState.CONFIRMING
    visit = town.visit("supervisor1")
    twice = visit.send(f"/cases/{case_id}/confirm-deletion", {"generation": town.see(case_id).generation, "sure": "y"})
    assert twice.status_code == 403, "one person is not two"
    shown = town.do("authority1", case_id, "confirm-deletion", sure="y")
    assert "您是最后一位确认人" in shown
    assert town.deliver(case_id) == CaseState.CLOSED
    page = town.page("tenant1", f"/cases/{case_id}/certificate")
    assert "指纹核对一致" in page
    assert "supervisor甲" in page
    assert "authority甲" in page
    with town.book.reading() as tx:
        assert entries.conserved(tx)
        assert list(entries.check(tx)) == []


def test_a_volume_is_recycled_without_power_off_and_deleted(town: Journey) -> None:
    """Reclaim by delete, and had back from the bin by its department once."""
    volume = town.machine({BLOCK: 500}, ServiceKind.VOLUME)
    case_id = town.open_by_hand(volume, Verdict.UNATTACHED)
    letter = town.told(case_id)
    town.answer(letter, **{f"answer_{case_id}": "agree"})
    town.do("supervisor1", case_id, "act", sure="y")
    town.deliver(case_id)
    assert town.deliver(case_id) == CaseState.BINNED
    assert town.verbs(case_id) == ["snapshot", "recycle"]
    shown = town.do("tenant1", case_id, "restore", reason="业务仍需该云硬盘")
    assert "计入误回收率" in shown
    assert town.deliver(case_id) == CaseState.CLOSED
    assert town.see(case_id).ending == "returned"
    # Left alone for a month, then another case; this time nobody wants it back.
    visit = town.visit("supervisor1")
    finding = town.see(case_id).finding_id
    visit.get("/cases/")
    again = visit.send("/cases/open", {"finding": finding})
    assert again.status_code == 409
    assert "静默期" in again.text
    town.clock.advance(days=31)
    case_id = town.open_by_hand(volume, Verdict.UNATTACHED)
    letter = town.told(case_id)
    town.answer(letter, every="agree")
    town.do("supervisor1", case_id, "act", sure="y")
    town.deliver(case_id)
    town.deliver(case_id)
    assert town.advance(case_id, days=31) == CaseState.CONFIRMING
    town.do("supervisor2", case_id, "confirm-deletion", sure="y")
    town.do("authority1", case_id, "confirm-deletion", sure="y")
    assert town.deliver(case_id) == CaseState.CLOSED
    assert town.see(case_id).ending == "deleted"
    assert "2 件处置中 1 件误回收" in town.page("authority1", "/recoveries/"), "of two acted on one is regretted"


def test_a_shrink_by_silence_is_watched_and_strained_and_rolled_back(town: Journey) -> None:
    machine = town.machine()
    case_id = town.open_by_hand(machine, Verdict.UNDERUSED)
    town.told(case_id)
    town.day(9, 29)
    town.day(10, 12, 15)
    assert town.see(case_id).state == CaseState.NOTICED, "its last day is its own"
    town.day(10, 13)
    assert town.see(case_id).state == CaseState.CLEARED, "silence is consent to a shrink"
    assert town.see(case_id).notice.escalated_at is not None
    town.judge({machine: Verdict.UNDERUSED})
    shown = town.do("supervisor1", case_id, "act", sure="y")
    assert "4 vCPU · 8 GB 内存" in shown
    town.deliver(case_id)
    assert town.deliver(case_id) == CaseState.WATCHED
    assert town.machine_of(case_id).amounts["vcpu"] == 4
    town.clock.advance(days=3)
    town.judge({machine: Verdict.OVERLOADED}, p95=97.0)
    assert town.advance(case_id) == CaseState.STRAINED
    assert "建议恢复原规格" in town.page("tenant1", f"/cases/{case_id}")
    town.do("tenant1", case_id, "roll-back", reason="缩容后卡顿")
    assert town.deliver(case_id) == CaseState.CLOSED
    assert town.see(case_id).ending == "rolled_back"
    assert town.machine_of(case_id).amounts == SHAPE


def test_expansions_take_the_fast_track_or_become_a_request_or_return_by_themselves(town: Journey) -> None:
    quick, large, lent = town.machine(), town.machine(), town.machine()
    memory = entries.Commodity.parse("memory:x86_64")
    with town.by() as tx:
        entries.grant(tx, town.pool, town.department, {CPU: 20, memory: 40 * 1024}, key="grant:spare")
    small = {VCPU: 20, MEMORY: 40 * 1024}
    double = {VCPU: 32, MEMORY: 64 * 1024}
    first = town.open_by_hand(quick, Verdict.BUSY, target=small)
    second = town.open_by_hand(large, Verdict.OVERLOADED, target=double)
    third = town.open_by_hand(lent, Verdict.BUSY, target=double)
    assert town.see(first).due_at.astimezone(ZONE).date().isoformat() == "2026-09-22", "recommended within a day"
    letter = town.told(first, second, third)
    typed = {f"answer_{case_id}": "agree" for case_id in (first, second, third)}
    town.answer(letter, **typed, **{f"until_{third}": "2026-09-30"})
    assert [town.see(one).state for one in (first, second, third)] == [
        CaseState.CLEARED,
        CaseState.CLOSED,
        CaseState.CLEARED,
    ]
    assert town.see(second).ending == "requested"
    with town.book.reading() as tx:
        request = tx.get_one(Request, town.see(second).request_id)
        assert (request.state, request.department_id, request.created_by) == ("draft", town.department, "tenant1")
    assert f'href="/requests/{request.id}"' in town.page("tenant1", f"/cases/{second}")
    town.do("supervisor1", third, "act", sure="y")
    assert town.deliver(third) == CaseState.WATCHED
    assert town.machine_of(third).amounts["vcpu"] == 32
    town.do("supervisor1", first, "act", sure="y")
    assert town.deliver(first) == CaseState.CLOSED
    assert town.see(first).ending == "expanded"
    town.day(9, 30)
    assert town.see(third).state == CaseState.WATCHED, "its last day is its own, holiday or not"
    town.clock.now = datetime(2026, 10, 1, 2, tzinfo=UTC)
    town.judge({lent: Verdict.NORMAL})
    town.day(10, 1)
    assert town.see(third).state == CaseState.ORDERED
    assert town.deliver(third) == CaseState.CLOSED
    assert town.see(third).ending == "term_over"
    assert town.machine_of(third).amounts["vcpu"] == 16
    with town.book.reading() as tx:
        assert entries.conserved(tx)


def test_temporary_growth_stays_where_its_use_is_unknown_and_somebody_is_asked(town: Journey) -> None:
    machine = town.machine()
    memory = entries.Commodity.parse("memory:x86_64")
    with town.by() as tx:
        entries.grant(tx, town.pool, town.department, {CPU: 16, memory: 32 * 1024}, key="grant:spare")
    case_id = town.open_by_hand(machine, Verdict.BUSY, target={VCPU: 32, MEMORY: 64 * 1024})
    town.answer(town.told(case_id), **{f"answer_{case_id}": "agree", f"until_{case_id}": "2026-09-30"})
    town.do("supervisor1", case_id, "act", sure="y")
    assert town.deliver(case_id) == CaseState.WATCHED
    town.clock.now = datetime(2026, 10, 8, 2, tzinfo=UTC)
    town.judge({machine: Verdict.UNKNOWN})  # the collector was down over the holidays
    town.advance()
    assert town.see(case_id).state == CaseState.STRAINED
    why = "数据不足（采集覆盖率20%），保持现有规格"
    assert why in town.page("supervisor1", f"/cases/{case_id}")
    assert why in town.page("tenant1", f"/cases/{case_id}")
    assert town.see(case_id).due_at.astimezone(ZONE).date().isoformat() == "2026-10-14", (
        "five working days, 10-10 worked"
    )
    visit = town.visit("supervisor1")
    visit.get(f"/cases/{case_id}")
    refused = visit.send(f"/cases/{case_id}/roll-back", {"generation": town.see(case_id).generation, "reason": TEXT})
    assert refused.status_code == 409, "the steward does not take what nothing is known of"
    town.clock.advance(days=2)
    town.judge({machine: Verdict.NORMAL}, p95=20.0)
    town.do("supervisor1", case_id, "roll-back", reason="监测恢复,用量平稳")
    assert town.deliver(case_id) == CaseState.CLOSED
    assert town.machine_of(case_id).amounts["vcpu"] == 16


def test_objections_are_ruled_on_by_somebody_else_and_exemptions_end(town: Journey) -> None:
    upheld, rejected, pleaded = (town.machine() for _ in range(3))
    ids = [town.open_by_hand(one, Verdict.IDLE) for one in (upheld, rejected, pleaded)]
    first, second, third = ids
    letter = town.told(*ids)
    bad = town.answer(letter, status=422, **{f"answer_{first}": "object", f"answer_{second}": "agree"})
    assert "请写明理由" in bad.text
    assert [town.see(one).state for one in ids] == [CaseState.NOTICED] * 3, "nothing is half answered"
    assert town.visit("tenant2").get(f"/notices/{letter}/answer").status_code == 404
    assert town.visit("tenant2").get(f"/cases/{first}").status_code == 404
    town.answer(
        letter,
        **{
            f"answer_{first}": "object",
            f"reason_{first}": TEXT,
            f"evidence_{first}": "年审计划 穗人社〔2026〕8号",
            f"answer_{second}": "object",
            f"reason_{second}": TEXT,
            f"answer_{third}": "exempt",
            f"reason_{third}": TEXT,
            f"category_{third}": "seasonal",
            f"last_peak_{third}": "2025-11-20 CPU 91%",
            f"until_{third}": "2026-12-31",
        },
    )
    assert [town.see(one).state for one in ids] == [CaseState.DISPUTED] * 3
    assert "年审计划" in town.page("supervisor2", f"/cases/{first}/rule")
    visit = town.visit("supervisor1")
    visit.get("/cases/")
    own = visit.send(
        f"/cases/{first}/rule", {"generation": town.see(first).generation, "decision": "proceed", "reason": TEXT}
    )
    assert own.status_code == 403, "who signed the letter does not rule"
    town.do("supervisor2", first, "rule", decision="uphold", reason="年审高峰属实,撤销本案")
    town.do("authority1", second, "rule", decision="proceed", reason="近三年均无高峰,异议不成立")
    town.do("authority1", third, "rule", decision="exempt", reason="季节性业务,准予豁免到年底")
    assert [town.see(one).ending for one in ids] == ["upheld", None, "exempted"]
    assert town.see(second).state == CaseState.CLEARED
    assert "2026-12-31" in town.page("tenant1", "/exemptions/")
    # While it holds nothing is opened; when it is over the machine is judged as any other.
    assert town.open({pleaded: Verdict.IDLE}) == []
    town.day(12, 31)
    with town.book.reading() as tx:
        assert exemptions.holding(tx, pleaded) is not None
    town.clock.advance(days=1)
    town.advance()
    assert len(town.open({pleaded: Verdict.IDLE})) == 1


def test_a_machine_that_becomes_busy_during_its_notice_is_left_alone(town: Journey) -> None:
    machine = town.machine()
    case_id = town.open_by_hand(machine, Verdict.IDLE)
    letter = town.told(case_id)
    town.answer(letter, **{f"answer_{case_id}": "agree"})
    town.day(9, 24)
    town.judge({machine: Verdict.BUSY})
    town.day(9, 25)
    one = town.see(case_id)
    assert (one.state, one.ending) == (CaseState.CLOSED, "recovered")
    assert town.orders(case_id) == []
    assert "已恢复使用" in town.page("tenant1", f"/cases/{case_id}")


def test_silence_never_deletes(town: Journey) -> None:
    machine = town.machine()
    case_id = town.open_by_hand(machine, Verdict.IDLE)
    town.told(case_id)
    for days in range(0, 400, 5):
        town.clock.advance(days=5)
        if days % 50 == 0:
            town.judge({machine: Verdict.IDLE})
        town.advance()
    one = town.see(case_id)
    assert (one.state, one.matter) == (CaseState.DISPUTED, "silence")
    assert town.orders(case_id) == []
    assert town.machine_of(case_id).state == "running"
    answer = town.visit("supervisor1")
    answer.get("/cases/")
    sent = answer.send(f"/cases/{case_id}/act", {"generation": one.generation, "sure": "y"})
    assert sent.status_code == 409


def test_a_stale_page_is_refused_and_keeps_what_was_typed(town: Journey) -> None:
    case_id = town.open_by_hand(town.machine(), Verdict.IDLE)
    stale = town.see(case_id).generation
    town.do("supervisor1", case_id, "review")
    visit = town.visit("supervisor2")
    visit.get(f"/cases/{case_id}")
    answer = visit.send(f"/cases/{case_id}/dismiss", {"generation": stale, "reason": "此案无须办理,数字有误"})
    assert answer.status_code == 409
    assert "此案无须办理" in answer.text
    assert town.see(case_id).state == CaseState.REVIEWED


def test_what_was_ordered_waits_for_the_window_that_the_authority_set(town: Journey) -> None:
    visit = town.visit("authority1")
    visit.get("/safeguards/windows/new")
    answer = visit.send("/safeguards/windows/new", {"pool": "0", "weekdays": ["6"], "begins": "22:00", "ends": "06:00"})
    assert answer.status_code == 302
    assert "周六 22:00–次日06:00" in town.page("auditor1", "/safeguards/")
    visit.get("/safeguards/freezes/new")
    visit.send(
        "/safeguards/freezes/new",
        {"pool": "0", "first_day": "2026-09-25", "last_day": "2026-10-08", "reason": "两节重保"},
    )
    case_id = town.open_by_hand(town.machine(), Verdict.IDLE)
    letter = town.told(case_id)
    town.answer(letter, **{f"answer_{case_id}": "agree"})
    shown = town.do("supervisor1", case_id, "act", sure="y")
    assert "2026-10-10 22:00" in shown
    town.deliver(case_id)
    with town.book.reading() as tx:
        stop = tx.scalars(select(WorkOrder).where(WorkOrder.case_id == case_id).order_by(WorkOrder.id.desc())).first()
        assert stop.verb == "stop"
        assert stop.state == OrderState.PENDING
        assert stop.id not in orders.waiting(tx, town.pool)
        assert "2026-10-10 22:00" in town.page("supervisor1", f"/cases/{case_id}")
    town.judge({town.see(case_id).resource_id: Verdict.IDLE})
    town.clock.now = datetime(2026, 10, 10, 14, 1, tzinfo=UTC)
    with town.book.reading() as tx:
        assert stop.id in orders.waiting(tx, town.pool)


def test_a_case_is_found_by_its_number_and_the_list_says_what_it_recovers(town: Journey) -> None:
    case_id = town.open_by_hand(town.machine(), Verdict.IDLE)
    number = town.see(case_id).number
    assert number in town.visit("supervisor1").get(f"/search?q={number}", follow_redirects=True).text
    page = town.page("supervisor1", "/cases/")
    assert "24" in page
    assert number in page
    assert number not in town.page("tenant1", "/cases/?state=all"), "a department sees what it was told of"
    book = openpyxl.load_workbook(io.BytesIO(town.visit("auditor1").get("/cases/?export=xlsx").data)).active
    assert book["A2"].value == number
    assert book.title == "案件"
    row = dict(zip(*([cell.value for cell in line] for line in book.iter_rows(max_row=2)), strict=True))
    has = town.see(case_id)
    assert (row["云侧编号"], row["vCPU"], row["内存 (GB)"]) == (
        has.resource.external_id, has.recovers()[VCPU], has.recovers()[MEMORY] / 1024,
    )  # fmt: skip


def test_thousands_of_cases_are_listed_without_a_query_each(town: Journey) -> None:
    """A page of thirty takes as many statements as a page of two."""
    counts = []
    for wanted in (2, 30):
        town.open({town.machine({VCPU: 2, MEMORY: 4096}): Verdict.IDLE for _ in range(wanted)})
        visit = town.visit("supervisor1")
        visit.get("/cases/")
        said: list[str] = []

        def heard(_conn, _cursor, statement, *_rest, said=said):
            said.append(statement)

        event.listen(town.book.engine, "before_cursor_execute", heard)
        assert visit.get("/cases/").status_code == 200
        event.remove(town.book.engine, "before_cursor_execute", heard)
        counts.append(len(said))
    assert counts[0] == counts[1], counts


def test_the_authority_changes_clocks_and_ceilings_and_open_cases_keep_theirs(town: Journey) -> None:
    before = town.open_by_hand(town.machine(), Verdict.IDLE)
    visit = town.visit("authority1")
    shown = visit.get("/safeguards/procedure").text
    typed = dict(re.findall(r'name="(\w+)"[^>]*value="([\d.-]+)"', shown))
    typed = {name: value for name, value in typed.items() if name not in ("csrf_token", "confirmed")}
    day = typed["effective_from"]
    typed |= {"reply_days": "15", "cases_per_department": "20", "reason": "答复期限延长,减轻各单位负担"}
    check = visit.send("/safeguards/procedure", typed)
    assert "10 个工作日" in check.text
    assert "15 个工作日" in check.text
    assert visit.send("/safeguards/procedure", {**typed, "confirmed": "1"}).status_code == 302
    assert town.visit("supervisor1").get("/safeguards/procedure").status_code == 403
    with town.book.reading() as tx:
        version = policies.newest(tx, "default")
        assert (version.rules().reply_days, version.rules().cases_per_department) == (15, 20)
        assert version.effective_from.isoformat() == day
        assert version.policy().rules == policies.versions(tx, "default")[-1].policy().rules
    assert town.see(before).procedure().reply_days == 10
    wrong = visit.send("/safeguards/procedure", {**typed, "reply_days": "3"})
    assert wrong.status_code == 422
    assert "提醒须早于答复期限" in wrong.text


def test_a_case_shows_its_place_in_the_queue_and_leads_to_its_neighbours(town: Journey) -> None:
    shapes = [{VCPU: cores, MEMORY: 4096} for cores in (8, 4, 2)]
    first, second, third = (town.open_by_hand(town.machine(shape), Verdict.IDLE) for shape in shapes)
    page = town.page("supervisor1", f"/cases/{second}")
    assert "待办第2件，共3件" in page
    assert f'href="/cases/{first}" data-key="k" rel="prev"' in page
    assert f'href="/cases/{third}" data-key="j" rel="next"' in page
    town.do("supervisor1", second, "review")
    town.do("supervisor1", second, "withdraw", reason="此案无须办理,数字有误")
    page = town.page("supervisor1", f"/cases/{second}")
    assert "待办第" not in page
    assert f'href="/cases/{first}" data-key="j" rel="next"' in page
    assert "rel=" not in town.page("auditor1", f"/cases/{first}").split("<main")[1], "who has no queue is led nowhere"


@pytest.mark.parametrize(
    ("shape", "kind", "verdict", "drawn"),
    [
        ({ACCELERATOR: 2}, ServiceKind.ACCELERATOR, Verdict.IDLE, "加速卡使用率"),
        ({BLOCK: 500}, ServiceKind.VOLUME, Verdict.UNATTACHED, "已用容量"),
        ({EIP: 1}, ServiceKind.EIP, Verdict.UNATTACHED, "网络流量"),
        ({DATABASE: 1}, ServiceKind.DATABASE, Verdict.IDLE, "连接数"),
    ],
)
def test_what_is_drawn_is_what_the_resource_is(town: Journey, shape, kind, verdict, drawn) -> None:
    with town.by() as tx:
        pool = tx.get_one(Pool, town.pool)
        for each in (ACCELERATOR, DATABASE):
            capacities.equip(tx, pool, each, 10, key=f"more:{each}")
    case_id = town.open_by_hand(town.machine(shape, kind), verdict)
    for page in (
        town.page("supervisor1", f"/cases/{case_id}"),
        town.page("auditor1", f"/resources/{town.see(case_id).resource_id}"),
    ):
        assert "CPU 与内存使用率" not in page
    assert drawn in town.page("supervisor1", f"/cases/{case_id}")


def test_where_it_went_is_traced_to_the_ledger_and_linked(town: Journey, tmp_path: Path) -> None:
    """Freed by one department, granted to another afterwards: a row of the latter, and none of what was before."""
    with town.by() as tx:
        entries.grant(tx, town.pool, town.other, {CPU: 3}, key="grant:before", subject="request:1")
    machine = town.machine()
    case_id = town.open_by_hand(machine, Verdict.UNDERUSED)
    town.answer(town.told(case_id), **{f"answer_{case_id}": "agree"})
    town.do("supervisor1", case_id, "act", sure="y")
    town.deliver(case_id)
    assert town.deliver(case_id) == CaseState.WATCHED
    town.clock.advance(days=8)
    town.judge({machine: Verdict.NORMAL})
    assert town.advance(case_id) == CaseState.CLOSED
    with town.by() as tx:
        entries.grant(tx, town.pool, town.other, {CPU: 5}, key="grant:direct")
    with town.book.reading() as tx:
        year = town.clock.now.replace(month=1, day=1)
        (one,) = recoveries.went_to(tx, year)
        assert (one.department_id, one.subject, one.what) == (town.other, "", {CPU: 5})
    page = town.page("authority1", "/recoveries/")
    assert f"/quota/accounts/?department={town.other}" in page
    assert "直接授予" in page
    house = Settings(data=tmp_path, secret_key="t" * 40)
    anchors.make(town.book, house, anchors.signer(house), steward("anchor"))
    with town.book.reading() as tx:
        made = anchors.newest(tx)
    shown = town.page("auditor1", f"/cases/{case_id}/certificate")
    assert made is not None
    assert anchors.short(made.token) in shown, "who keeps the paper keeps where the chain ended"
    assert f'href="/resources/{machine}"' in shown
    assert 'href="/orders/' in shown
