"""From an empty house to what a recorded OpenStack gives back, over HTTP: a city out of one workbook, its servers taken over and
measured for a month, one found too large and one off, their department written to, its answer acted upon, one made smaller by
resize and confirm and one deleted by two, the quota of both the city's again."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from console import workbooks, worklist
from console.accounts import access_rules
from console.founding import examples, sheets, template
from console.founding.entering import FIRST_PASSWORDS
from console.tables import RunState
from metering.cases import Case, CaseState
from metering.intake import schedules
from metering.judging import CaseKind, Procedure, policies
from metering.judging.policy import default
from metering.lake import Lake
from metering.workbench import Workbench
from providers.orders.tables import OrderState, WorkOrder
from quota import ledger
from quota.actors import Role, steward
from quota.directory import Department, Person
from quota.inventory import CloudProject, Resource
from quota.ledger import entries
from quota.ledger.tables import Holder
from quota.units import MEMORY, VCPU, Arch, Commodity
from tests.clouds.living import LivingGnocchi, LivingNova
from tests.clouds.recordings import FOLDER, Recording, served
from tests.conftest import Clock
from tests.console.conftest import Visit
from tests.console.test_house import check_page
from tests.journeys.test_founding import EmptyHouse
from tests.journeys.test_takeovers import form_of

PLANE = Recording.read(FOLDER / "control-plane.jsonl")
DAYS = 32
"""So long it was measured before anybody governed it, and so long one of its servers was off."""
GB = 1024
PAPER = "市数据局〔2026〕12号 关于接管存量云资源的通知"
GENERATION = re.compile(r'name="generation"[^>]*value="(\d+)"')


def recorded() -> LivingNova:
    """The recorded cloud, in which water-3 is of twice the size and little used, and water-0 off for a month; both are
    old, as they are in the recording of an hour ago."""
    nova = LivingNova(PLANE)
    large, off = nova.of("water-3"), nova.of("water-0")
    large["flavor"] |= {"vcpus": 8, "ram": 16 * GB, "original_name": "m1.xlarge"}
    off["status"] = "SHUTOFF"
    for one in (large, off):
        one["created"] = (PLANE.now - timedelta(days=2 * DAYS)).strftime("%Y-%m-%dT%H:%M:%SZ")
    stopped = (PLANE.now - timedelta(days=DAYS)).strftime("%Y-%m-%dT%H:%M:%S.000000")
    nova.actions[off["id"]] = [{"action": "stop", "start_time": stopped, "message": None, "request_id": "req-recorded"}]
    return nova


def workbook(to: Path, auth_url: str) -> bytes:
    """The example city of the template, on this cloud."""
    options = {
        "auth_url": auth_url, "user": "admin", "password": "env:OPENSTACK_PASSWORD", "hands": "是", "settle_s": "0",
        "image": "cirros", "network": "none",
    }  # fmt: skip
    rows = {
        **examples.CITY,
        "city": [one for one in examples.CITY["city"] if one["item"] != "采用现成服务目录"],
        "capacity": [
            *examples.CITY["capacity"],
            {"pool": "gov-x86", "kind": "弹性公网IP", "total": 100, "reason": "合同"},
        ],
        "catalogue": [one for one in examples.CATALOGUE if one["code"] in ("vm-2c4g", "vm-4c8g", "vm-8c16g")],
        "pools": [{**one, "adapter": "openstack"} for one in examples.CITY["pools"]],
        "connections": [{"pool": "gov-x86", "option": name, "value": value} for name, value in options.items()],
    }
    workbooks.write(to, template.LINES, sheets.SHEETS, rows, workbooks.options)
    return to.read_bytes()


class GovernedCloud(EmptyHouse):
    """An empty house, its clock, its jobs, and whoever comes in by the front door."""

    def __init__(self, home: Path, clock: Clock) -> None:
        super().__init__(home, clock)
        self.clock = clock
        self.seen_at: dict[str, datetime] = {}
        self.workbench = Workbench(
            self.book, Lake(self.settings.lake_dir), self.settings.data, secrets=self.settings.secrets
        )
        with self.book.transaction(
            steward("found")
        ) as tx:  # months pass, and what guards accounts has stories of its own
            access_rules.enact(
                tx, second=set(), grace_days=0, proof_minutes=0, password_days=0, allowed={}, reason="只用密码登录"
            )

    def granted(self, *logins: str) -> None:
        """Whoever the workbook has brought enters with the first password that was laid down for them."""
        keeper = self.administrator(Role.SECADMIN)
        with self.book.reading() as tx:
            people = {one.login: one for one in tx.scalars(select(Person))}
        for login in logins:
            one = people[login]
            wanted = {"role": one.role, "department": one.department_id or 0, "provider": one.provider_id or 0}
            assert keeper.send(f"/settings/people/{one.id}/grant", wanted).status_code == 302
            self.enter(login, (self.home / FIRST_PASSWORDS / f"{login}.txt").read_text("utf-8").split()[1])
            self.seen_at[login] = self.clock.now

    def visit(self, login: str) -> Visit:
        """Who entered before, anew where the clock has moved on."""
        if self.clock.now - self.seen_at[login] > timedelta(minutes=10):
            fresh: Any = self.app.test_client()
            assert fresh.log_in(login, "Guan-jia-2026-Sheng").status_code == 302
            self.visits[login], self.seen_at[login] = fresh, self.clock.now
        return self.visits[login]

    def page(self, login: str, url: str) -> str:
        answer = self.visit(login).get(url)
        assert answer.status_code == 200, f"{login} {url}: {answer.status_code}"
        check_page(url, answer.text)
        return answer.text

    def send(self, login: str, url: str, typed: dict[str, Any], status: int = 302) -> Any:
        answer = self.visit(login).send(url, typed)
        assert answer.status_code == status, f"{login} {url}: {answer.status_code} {answer.text[-3000:]}"
        return answer

    def act(self, login: str, case_id: int, act: str, **typed: Any) -> None:
        """Look at the page of an act, and send its form."""
        seen = GENERATION.search(self.page(login, f"/cases/{case_id}/{act}"))
        assert seen is not None
        self.send(login, f"/cases/{case_id}/{act}", {"generation": seen[1], **typed})

    def job(self, name: str) -> None:
        """As of a minute later: a job runs once for a moment."""
        self.clock.advance(minutes=1)
        assert worklist.run_once(self.workbench, self.settings, name) is RunState.DONE, name

    def night(self, days: float = 0) -> None:
        """``days`` later what the cloud has is read, rolled up, judged, and made into cases."""
        self.clock.advance(days=days)
        for name in ("collect", "assess", "open_cases"):
            self.job(name)

    def case(self, case_id: int) -> Case:
        with self.book.reading() as tx:
            return tx.get_one(Case, case_id)

    def cases(self) -> dict[CaseKind, Case]:
        with self.book.reading() as tx:
            return {CaseKind(one.kind): one for one in tx.scalars(select(Case).options(joinedload(Case.resource)))}

    def until(self, case_id: int, *states: CaseState) -> CaseState:
        """Orders are carried and cases go on, from look to look, until the case is in one of ``states``."""
        for _look in range(40):
            state = CaseState(self.case(case_id).state)
            with self.book.reading() as tx:
                told = [(one.verb, one.state, one.last_error) for one in tx.scalars(select(WorkOrder))]
            assert OrderState.FAILED not in {one[1] for one in told}, told
            if state in states:
                return state
            self.clock.advance(minutes=5)
            self.job("carry")
            self.job("advance")
        raise AssertionError(f"{case_id} stays {state}: {told}")

    def until_met(self, nova: LivingNova) -> None:
        """Orders are carried and cases go on until the cloud has made the trouble that it was told to make."""
        for _look in range(40):
            self.clock.advance(minutes=5)
            self.job("carry")
            if not any(nova.trouble.values()):
                return
            self.job("advance")
        raise AssertionError(f"nobody met {nova.trouble}")

    def used(self, kind: Any) -> int:
        """That the department has in use by the book."""
        with self.book.reading() as tx:
            return sum(
                one.balance for one in ledger.balances(tx, pool_id=1) if (one.kind, one.holder) == (kind, Holder.USED)
            )


@pytest.fixture
def nova() -> LivingNova:
    return recorded()


@pytest.fixture
def cloud_of(tmp_path: Path, nova: LivingNova, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[GovernedCloud, str]]:
    clock = Clock(PLANE.now)
    monkeypatch.setenv("OPENSTACK_PASSWORD", "testbed")
    monkeypatch.setattr(schedules, "USUAL", schedules.CollectionPace(window_days=DAYS))
    shares = {nova.of("water-3")["id"]: (0.5, 1.0)}
    with served(PLANE, nova, LivingGnocchi(PLANE, nova, clock, shares)) as there:
        house = GovernedCloud(tmp_path / "home", clock)
        yield house, f"{there.url}/identity/v3"
        house.book.dispose()


def test_from_an_empty_house_to_what_a_recorded_cloud_gives_back(
    cloud_of: tuple[GovernedCloud, str], nova: LivingNova, tmp_path: Path
) -> None:
    house, auth_url = cloud_of

    # One workbook founds the city; its pool is tested, and listed for the first time.
    chief = house.person(Role.AUTHORITY)
    file = io.BytesIO(workbook(tmp_path / "city.xlsx", auth_url))
    page = chief.send("/city/workbook/", {"file": (file, "city.xlsx")}).text
    token = re.search(r'name="token" value="([\w-]+)"', page)
    assert token, page
    assert chief.send("/city/workbook/", {"token": token[1], "step": "enter"}).status_code == 302
    house.granted("zhuguan", "jiandu1", "jiandu2", "shuiwu")
    house.job("probe")
    assert "Nova 2.96" in house.page("zhuguan", "/pools/1")
    house.job("collect")

    # Whose the project is, and on which paper what runs there rests.
    with house.book.reading() as tx:
        bureau = tx.scalars(select(Department.id).where(Department.code == "A02")).one()
        project = tx.scalars(select(CloudProject.id).where(CloudProject.name == "water")).one()
        in_force = policies.in_force(tx, house.clock.now.date())
        assert in_force.policy().rules == default().rules
        procedure = Procedure.from_json(in_force.procedure)
    sent = {"department": str(bureau), "reason": "立项文件", "id": [str(project)]}
    house.send("jiandu1", "/pools/1/projects/assign", sent)
    form = form_of(house.page("jiandu1", f"/takeovers/new/{bureau}"))
    house.send("jiandu1", f"/takeovers/new/{bureau}", form | {"document": PAPER, "step": "propose"})
    with house.book.reading() as tx:
        rows = tx.scalars(select(Resource).where(Resource.project_id == project)).all()
        assert {one.basis.partition(":")[0] for one in rows} == {"takeover"}
    before = house.used(VCPU), house.used(MEMORY)
    assert before == (8 + 1 + 1 + 2 + 2, (16 + 1 + 2 + 4 + 4) * GB)

    # Judged in the shadow, until the authority opens.
    house.night()
    assert house.cases() == {}
    opened = {"direction": "open", "departments": [bureau], "pools": [], "reason": "结论核对无误"}
    assert "本应立案 2 件" in house.send("zhuguan", "/rollout/decide", opened, 200).text
    house.send("zhuguan", "/rollout/decide", {**opened, "step": "confirm"})
    house.night(days=1)
    found = house.cases()
    assert {kind: one.resource.name for kind, one in found.items()} == {
        CaseKind.SHRINK: "water-3", CaseKind.RECLAIM: "water-0",
    }  # fmt: skip

    # Reviewed, told in one letter, agreed to two days later, and acted upon by what is judged then.
    for one in found.values():
        house.act("jiandu1", one.id, "review")
    chosen = [f"{one.id}:{one.generation}" for one in house.cases().values()]
    assert "涉及 2 个资源" in house.send("jiandu1", "/notices/new", {"case": chosen, "text": ""}, 200).text
    letter = house.send("jiandu1", "/notices/new", {"case": chosen, "text": "", "confirmed": "1"}).location
    house.clock.advance(days=2)
    assert "待答复的通知" in house.page("shuiwu", "/")
    answers = {f"answer-{one.id}": "agree" for one in house.cases().values()}
    answers |= {f"generation-{one.id}": str(one.generation) for one in house.cases().values()}
    assert "提交后不能修改" in house.send("shuiwu", f"{letter}/answer", answers, 200).text
    house.send("shuiwu", f"{letter}/answer", {**answers, "confirmed": "1"})
    house.night()
    for one in found.values():
        assert house.cases()[CaseKind(one.kind)].state == CaseState.CLEARED
        house.act("jiandu1", one.id, "act", sure="y")

    # Made smaller by a resize that is confirmed; nothing is free before.
    shrink, reclaim = found[CaseKind.SHRINK].id, found[CaseKind.RECLAIM].id
    nova.trouble = {"confirmResize": [503]}
    house.until_met(nova)
    assert (nova.of("water-3")["status"], "confirmResize" in nova.taken) == ("VERIFY_RESIZE", False)
    assert (house.used(VCPU), house.used(MEMORY)) == before
    house.until(shrink, CaseState.WATCHED)
    assert [one for one in nova.taken if one != "createImage"][:2] == ["resize", "confirmResize"]
    assert (nova.of("water-3")["flavor"]["original_name"], nova.of("water-3")["status"]) == ("m1.large", "ACTIVE")
    assert (house.used(VCPU), house.used(MEMORY)) == (before[0] - 4, before[1] - 8 * GB)

    # Watched while it is measured at its new size, and closed; the one that was off goes into the bin, and two have it deleted.
    assert house.until(reclaim, CaseState.WATCHED) == CaseState.WATCHED
    house.night(days=procedure.stop_watch_days + 1)
    house.until(reclaim, CaseState.BINNED)
    assert (nova.of("water-0")["status"], nova.of("water-0")["locked"]) == ("SHELVED_OFFLOADED", True)
    house.until(shrink, CaseState.CLOSED)
    house.night(days=procedure.bin_days + 1)
    house.until(reclaim, CaseState.CONFIRMING)
    for login in ("jiandu2", "zhuguan"):
        house.act(login, reclaim, "confirm-deletion", sure="y")
    house.until(reclaim, CaseState.CLOSED)
    assert nova.taken[-1] == "delete"
    assert "water-0" not in {one["name"] for one in nova.servers.values()}

    # What both had is the city's, on the record; the department has its certificates, the chain of entries holds.
    for one in found.values():
        assert "指纹核对一致" in house.page("shuiwu", f"/cases/{one.id}/certificate")
    assert (house.used(VCPU), house.used(MEMORY)) == (before[0] - 4 - 1, before[1] - 8 * GB - GB)
    with house.book.reading() as tx:
        free = ledger.balance(tx, ledger.Side(1, Commodity(VCPU, Arch.X86_64), Holder.FREE))
        assert free == 512 - 16 - before[0] + 4 + 1
        assert entries.conserved(tx)
        assert list(entries.check(tx)) == []
