"""Growth within the day as departments live through it: authorised, hot, enlarged, given back; and all that stops it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from console import worklist
from console.marks import chinese
from console.tables import RunState
from metering.cases import authorisations, certificates, recoveries, windows
from metering.cases.files import Case
from metering.judging import Assessment, Finding, findings
from metering.judging.policy import Verdict
from metering.reports import doings, periods, scopes
from metering.reports.frames import Frame
from metering.sizing import Fast
from providers.base import ServiceKind
from quota.calendar import ZONE, working_days
from quota.directory import Department, Pool, catalog, pools
from quota.ledger import entries
from quota.units import BLOCK, MEMORY, VCPU, Amount, Arch
from tests.city import GB
from tests.journeys.surging import authorise, look, looked
from tests.metering.surging import EIGHT, FOUR, Surging
from tests.metering.test_returns import statements

HOT, CALM = 99.0, 20.0
HOLD = Fast().hold_hours


@pytest.fixture
def found(grown) -> Callable[..., Surging]:
    return grown


@pytest.fixture
def town(found) -> Surging:
    return found()


def of(town: Surging, machine: int) -> Case:
    found = town.case(machine)
    assert found is not None
    return found


def test_a_volume_that_is_full_is_enlarged_for_good_within_what_its_department_allowed(town: Surging):
    with town.city.by() as tx:
        arch = Arch(tx.get_one(Pool, town.city.pool).arch)
        for size in (150, 400):
            catalog.offer(tx, f"v-{size}", f"{size}G", "volume", {BLOCK: size}, [arch])
        entries.grant(tx, town.city.pool, town.city.department, Amount({BLOCK: 300}).of_arch(arch), key="grant:block")
    volume = town.machine(Amount({BLOCK: 100}), kind=ServiceKind.VOLUME)
    assert "其他扩容上限" in authorise(town, block=50)
    assert "50 GB 块存储" in town.city.page("authority1", "/authorisations/")

    def full() -> str:
        town.past()
        town.tell(volume, disk_pct=[96.5] * 12)
        town.clock.now += timedelta(minutes=6)
        return looked(town)

    assert full() == "looked surge_begun"
    town.carry()
    assert town.has(volume) == {BLOCK: 150}
    one = of(town, volume)
    page = town.city.page("tenant1", f"/cases/{one.id}")
    for said in ("100 GB → 125 GB", "12 / 12", chinese("按磁盘使用率计")):
        assert said in page
    town.judge({volume: Verdict.NORMAL})
    assert full() == "looked surge_proposed"
    assert "超出常备授权的同时扩容上限" in town.city.page("tenant1", f"/cases/{of(town, volume).id}")
    town.carry()
    assert town.has(volume) == {BLOCK: 150}


def test_authorised_hot_enlarged_and_given_back_when_it_is_calm(town: Surging):
    machine = town.machine()
    page = town.city.page("tenant1", f"/systems/{town.system}")
    assert "没有常备授权" in page
    checked = authorise(town)
    assert "同时至多有 8 vCPU、32 GB 内存" in checked
    assert "不能在线调整规格" not in checked
    page = town.city.page("tenant1", f"/systems/{town.system}")
    assert "生效中" in page
    assert "办理常备授权" in page, "the system's history has it"
    assert look(town, HOT, machine) == "looked surge_begun"
    town.carry()
    assert town.has(machine) == EIGHT
    one = of(town, machine)
    for login in ("tenant1", "supervisor1"):
        page = town.city.page(login, f"/cases/{one.id}")
        assert "使用单位的常备授权" in page
        assert "按常备授权扩容" in page
        assert "12 / 12" in page
    home = town.city.page("tenant1", "/")
    assert "已即时扩容的云主机" in home
    assert "待答复的通知" not in home, "nothing has to be answered"
    assert "即时扩容" in town.city.page("tenant1", f"/notices/{one.notice_id}")
    assert one.number in town.city.page("authority1", "/authorisations/")
    assert one.number not in town.city.page("tenant2", "/authorisations/")
    for _ in range(HOLD - 1):
        assert look(town, CALM, machine) == "looked skipped"
    assert look(town, CALM, machine) == "looked surge_calm"
    town.carry()
    assert town.has(machine) == FOUR
    page = town.city.page("tenant1", f"/cases/{one.id}")
    assert "临时扩容已归还" in page
    assert "最近一小时已不饱和" in page
    assert "已即时扩容的云主机" not in town.city.page("tenant1", "/")
    page = town.city.page("tenant1", f"/cases/{one.id}/certificate")
    for said in (f"扩容凭证 KR2026-{one.id:05d}", "归还时间", "8 vCPU", "指纹核对一致"):
        assert said in page
    version = f"/policies/versions/{town.city.policy}"
    assert "还没有一天的采样" in town.city.page("supervisor1", version)
    town.clock.now += timedelta(days=1)
    for job in ("roll", "effects"):
        assert worklist.run_once(town.works, town.settings, job) is RunState.DONE
    page = town.city.page("supervisor1", version)
    assert "其中已归还 1 次" in page
    told = town.city.visit("authority1").get(f"{version}/effects.json").json["within_the_day"]
    assert (told["growths"], told["returned"], told["ceiling_minutes"]) == (1, 1, 60)
    assert 4 * HOLD <= told["lent_core_hours"] <= 4 * (HOLD + 1)
    assert town.city.visit("tenant1").get(f"{version}/effects.json").status_code == 403
    with town.book.reading() as tx:
        month = periods.period(f"{one.opened_at.astimezone(ZONE):%Y-%m}")
        frame = Frame(tx, str(town.lake.root), scopes.scope(tx, "city"), month, town.clock.now, working_days(tx))
        report, cockpit = doings.cases(frame), recoveries.recoveries(tx)
        assert (report["expansions"], report["given"]) == (1, {VCPU: 4, MEMORY: 8 * GB})
        assert (cockpit.cases_given, {one.kind: n for one, n in cockpit.given.items()}) == (1, report["given"])
        within, of_part = (
            doings.growths(frame),
            replace(frame, scope=scopes.scope(tx, f"department:{tx.get_one(Department, town.city.department).code}")),
        )
        assert within == {**told, **{name: within[name] for name in within if name not in told}}
        assert (doings.growths(of_part), doings.cases(of_part)["expansions"]) == (None, 1)
        assert list(certificates.check(tx)) == []


def test_without_an_authorisation_the_department_is_asked_and_answers(town: Surging):
    machine = town.machine()
    assert look(town, HOT, machine) == "looked surge_proposed"
    one = of(town, machine)
    assert "待答复的通知" in town.city.page("tenant1", "/")
    assert "该系统没有常备授权" in town.city.page("tenant1", f"/cases/{one.id}")
    until = (town.clock.now + timedelta(days=7)).date().isoformat()
    town.city.answer(one.notice_id, **{f"answer_{one.id}": "agree", f"until_{one.id}": until})
    town.city.do("supervisor1", one.id, "act", sure="y")
    town.carry()
    assert town.has(machine) == EIGHT
    assert of(town, machine).consent == "agreed"
    assert look(town, HOT, machine) == "looked skipped", "lent on an answer: its term is the department's"


def test_revoked_before_the_order_left(town: Surging):
    machine = town.machine()
    authorise(town)
    look(town, HOT, machine)
    visit = town.city.visit("tenant1")
    with town.book.reading() as tx:
        granted = authorisations.holding(tx, town.system).id
    assert town.city.visit("tenant2").get(f"/authorisations/{granted}/revoke").status_code == 404
    assert town.city.visit("supervisor1").get(f"/authorisations/{granted}/revoke").status_code == 403
    page = visit.get(f"/authorisations/{granted}/revoke").text
    assert of(town, machine).number in page, "what is on loan is shown before it is revoked"
    assert visit.send(f"/authorisations/{granted}/revoke", {"reason": "改为人工"}).status_code == 302
    again = visit.send(f"/authorisations/{granted}/revoke")
    assert again.status_code == 409
    town.carry()
    assert town.has(machine) == FOUR
    assert "使用单位已撤销常备授权" in town.city.page("tenant1", f"/cases/{of(town, machine).id}")
    assert "没有常备授权" in town.city.page("tenant1", f"/systems/{town.system}")


def test_without_quota_a_request_is_prepared_for_the_department(found):
    town = found(quota={VCPU: 3, MEMORY: 100 * 1024})
    machine = town.machine()
    authorise(town)
    assert look(town, HOT, machine) == "looked surge_proposed"
    one = of(town, machine)
    assert "配额余额不足" in town.city.page("tenant1", f"/cases/{one.id}")
    town.city.answer(one.notice_id, **{f"answer_{one.id}": "agree"})
    assert of(town, machine).ending == "requested"
    assert "已代拟扩容申请" in town.city.page("tenant1", f"/cases/{one.id}")


def test_an_exempt_machine_is_left_alone(town: Surging):
    machine = town.machine()
    authorise(town)
    visit = town.city.visit("supervisor1")
    visit.get(f"/exemptions/new/{machine}")
    until = (town.clock.now + timedelta(days=20)).date().isoformat()
    form = {"category": "preservation", "until": until, "reason": "法院要求保全现状,期间不得变更", "generation": "0"}
    assert visit.send(f"/exemptions/new/{machine}", form).status_code == 302
    assert look(town, HOT, machine) == "looked skipped"
    assert town.case(machine) is None
    assert "豁免期内" in town.city.page("sysadmin1", "/settings/jobs/")


def test_a_pool_that_cannot_change_running_machines_says_so(town: Surging):
    machine = town.machine()
    town.cloud.live_resize = False
    checked = authorise(town)
    assert "不能在线调整规格" in checked
    assert "不能在线调整规格" in town.city.page("tenant1", f"/systems/{town.system}")
    supervisor = town.city.visit("supervisor1")
    opens = (town.clock.now + timedelta(hours=7)).replace(minute=30, second=0, microsecond=0)
    begins = opens.astimezone(ZONE).strftime("%H:%M")
    ends = (opens + timedelta(hours=1)).astimezone(ZONE).strftime("%H:%M")
    supervisor.get("/safeguards/windows/new")
    form = {"weekdays": list("1234567"), "begins": begins, "ends": ends, "pool": "0"}
    assert supervisor.send("/safeguards/windows/new", form).status_code == 302
    assert look(town, HOT, machine) == "looked surge_proposed"
    one = of(town, machine)
    page = town.city.page("tenant1", f"/cases/{one.id}")
    assert "不能在线调整规格" in page
    minutes = round((opens - town.clock.now).total_seconds() / 60)
    assert f"已约有 66 分钟触顶，在此之前还约有 {minutes} 分钟触顶" in page, (
        "an hour of nothing but its ceiling goes on as it is"
    )
    letter = town.city.page("tenant1", f"/notices/{one.notice_id}")
    assert "扩容须关机，等到变更窗口" in letter
    assert f"还约有 {minutes} 分钟触顶" in letter
    assert "办理常备授权" not in letter, "it has one, and it would not help"
    assert "到时自动执行" in page
    until = (town.clock.now + timedelta(days=7)).date().isoformat()
    town.city.answer(one.notice_id, **{f"answer_{one.id}": "agree", f"until_{one.id}": until})
    town.city.do("supervisor1", one.id, "act", sure="y")
    town.carry()
    assert town.has(machine) == FOUR, "nobody restarts it outside the window"
    assert "等到变更窗口" in town.city.page("tenant1", f"/cases/{one.id}")
    assert "不早于" in town.city.page("supervisor1", f"/cases/{one.id}")
    town.clock.now = opens
    town.carry()
    assert town.has(machine) == EIGHT
    assert "等到变更窗口" not in town.city.page("tenant1", f"/cases/{one.id}")
    town.clock.now = opens + timedelta(hours=3)
    town.city.do("tenant1", one.id, "roll-back", reason="业务高峰已过", sure="y")
    town.carry()
    assert town.has(machine) == EIGHT, "given back by a restart, too: in the next window"
    town.clock.now = opens + timedelta(days=1)
    town.carry()
    assert town.has(machine) == FOUR


def test_where_no_window_is_set_a_machine_is_shut_down_at_night(town: Surging):
    """On a Monday morning, without a word: no. By the letter, the answer and the act, which say when and what the wait costs: yes."""
    machine = town.machine()
    town.cloud.live_resize = False
    authorise(town, any_time="y")
    monday = town.clock.now.astimezone(ZONE) + timedelta(days=7 - town.clock.now.astimezone(ZONE).weekday())
    town.clock.now = monday.replace(hour=10, minute=0).astimezone(town.clock.now.tzinfo)
    town.judge({machine: Verdict.NORMAL})
    assert look(town, HOT, machine) == "looked surge_proposed"
    one, opens = of(town, machine), monday.replace(hour=22, minute=0, second=0, microsecond=0)
    said = "该资源池不能在线调整规格，扩容须关机，等到变更窗口"
    cost = "已约有 66 分钟触顶，在此之前还约有 654 分钟触顶"
    for page in (f"/cases/{one.id}", f"/notices/{one.notice_id}", f"/notices/{one.notice_id}/answer"):
        assert all(part in town.city.page("tenant1", page) for part in (said, cost, "10.9 小时后")), page
    until = (town.clock.now + timedelta(days=7)).date().isoformat()
    town.city.answer(one.notice_id, **{f"answer_{one.id}": "agree", f"until_{one.id}": until})
    page = town.city.page("supervisor1", f"/cases/{one.id}/act")
    assert said in page
    assert cost in page
    town.city.do("supervisor1", one.id, "act", sure="y")
    for at, has in ((monday.replace(hour=21, minute=59), FOUR), (opens, EIGHT)):
        town.clock.now = at.astimezone(town.clock.now.tzinfo)
        town.carry()
        assert town.has(machine) == has


def test_a_letter_of_many_machines_takes_as_many_statements_as_one_of_few(town: Surging):
    """Each says when it is shut down and what the wait costs, as the looks of all of them tell."""
    town.cloud.live_resize = False
    authorise(town, any_time="y")
    counts = []
    for many in (1, 3):
        machines = [town.machine() for _ in range(many)]
        town.judge(dict.fromkeys(machines, Verdict.NORMAL))
        assert look(town, HOT, *machines).startswith("looked surge_proposed")
        letter = of(town, machines[0]).notice_id
        assert {of(town, one).notice_id for one in machines} == {letter}
        for page in (f"/notices/{letter}", f"/notices/{letter}/answer"):
            town.city.page("tenant1", page)
            with statements(town.book) as said:
                text = town.city.page("tenant1", page)
            assert text.count("扩容须关机，等到变更窗口") >= many
            counts.append(len(said))
    assert counts[:2] == counts[2:], counts


def test_growth_of_a_night_waits_for_the_window_of_a_pool_that_cannot_change_running_machines(town: Surging):
    machine, city = town.machine(), town.city
    with city.by() as tx:
        pools.tell(tx, tx.get_one(Pool, city.pool), live_resize=False)
    opens = (town.clock.now + timedelta(hours=9)).replace(minute=0, second=0, microsecond=0)
    weekday, begins = str(opens.astimezone(ZONE).isoweekday()), opens.astimezone(ZONE)
    with town.book.transaction(city.supervisor) as tx:
        minutes = 60 * begins.hour
        windows.set_window(tx, weekday, minutes, (minutes + 60) % 1440)
    target = Amount({VCPU: 5, MEMORY: 8 * GB})
    one = city.cleared(Verdict.OVERLOADED, machine, target=target)
    page = city.page("tenant1", f"/cases/{one}")
    assert "等到变更窗口" in page
    assert "触顶" not in page, "no look was taken: nothing is said of how long it is at its ceiling"
    city.act(one)
    town.carry()
    assert town.has(machine) == FOUR
    town.clock.now = opens
    town.carry()
    assert town.has(machine)[VCPU] == 5


def test_twice_is_once(town: Surging):
    machine = town.machine()
    authorise(town)
    look(town, HOT, machine)
    town.clock.now += timedelta(seconds=30)
    assert worklist.run_once(town.works, town.settings, "look") is RunState.DONE
    with town.book.reading() as tx:
        assert tx.query(Case).count() == 1


@pytest.mark.parametrize(
    ("typed", "beside"),
    [
        ({"ends_on": "2026-01-01"}, "不能早于今天"),
        ({"ends_on": "2029-01-01"}, "最长366天"),
        ({"vcpu": 0}, "vCPU 上限"),
        ({"memory_gb": -1}, "内存上限"),
        ({"vcpu": "many"}, "vcpu"),
        ({"system": 99999}, "system"),
    ],
)
def test_bad_input_is_answered_at_its_field(town: Surging, typed: dict[str, object], beside: str):
    visit = town.city.visit("tenant1")
    visit.get("/authorisations/new")
    until = (town.clock.now + timedelta(days=60)).date().isoformat()
    form = {"system": town.system, "ends_on": until, "vcpu": 8, "memory_gb": 32, **typed}
    answer = visit.send("/authorisations/new", form)
    assert answer.status_code == 422
    assert beside in answer.text


def test_only_a_department_authorises(town: Surging):
    for login in ("authority1", "supervisor1", "auditor1", "provider1"):
        assert town.city.visit(login).get("/authorisations/new").status_code == 403


def test_what_saturates_at_five_past_ten_is_larger_before_half_past(town: Surging):
    """Calm until 10:05 local time, at its ceiling then: the sample of 10:05 to 10:10 is there five minutes later, the look of 10:16 acts."""
    machine = town.machine()
    authorise(town)
    ten = (town.clock.now + timedelta(days=1)).replace(hour=2, minute=0, second=0, microsecond=0)
    town.feed({machine: [*[CALM] * 11, HOT]}, end=ten + timedelta(minutes=10))
    for minute in (1, 6, 11, 16):
        town.clock.now = ten + timedelta(minutes=minute)
        town.judge({machine: Verdict.NORMAL})
        assert worklist.run_once(town.works, town.settings, "look") is RunState.DONE
        town.carry()
        assert town.has(machine) == (EIGHT if minute == 16 else FOUR)
    assert town.clock.now < ten + timedelta(minutes=30)


def test_a_company_that_starves_a_machine_pays_for_it_and_not_the_department(town: Surging):
    """Most of the CPU time that a machine wants is kept from it for 33 days: no growth by the hour or by the night (the host has none to
    give), finding and chart say so, and the company's card counts the hours; the department has nothing to answer."""
    starved, content = town.machine(), town.machine()
    authorise(town)
    assert look(town, 20, starved, stolen=70) == "looked"
    assert (town.case(starved), town.has(starved)) == (None, FOUR)
    day = (town.clock.now + timedelta(days=1)).replace(
        hour=16, minute=0, second=0, microsecond=0
    )  # midnight in the city
    for _ in range(33):
        town.feed({starved: [20] * 288}, end=day, stolen=70)
        town.feed({content: [20] * 288}, end=day, stolen=0)
        day += timedelta(days=1)
    day -= timedelta(days=1)
    town.clock.now = day + timedelta(hours=2)
    for job in ("roll", "assess", "open_cases"):
        assert worklist.run_once(town.works, town.settings, job) is RunState.DONE
    with town.book.reading() as tx:
        run = tx.query(Assessment).order_by(Assessment.id.desc()).first()
        of_run = {one.resource_id: one for one in tx.query(Finding).filter_by(assessment_id=run.id)}
        told, quiet = of_run[starved], of_run[content]
        assert (told.verdict, told.target, quiet.verdict) == (Verdict.STARVED.value, None, Verdict.NORMAL.value)
        assert told.numbers["windows"]["7"].items() >= {"cpu_p95": 90, "cpu_p95_given": 20, "hot_days_given": 0}.items()
        assert list(findings.recheck(tx, run)) == []
    assert (town.case(starved), town.case(content)) == (None, None)
    for login in ("tenant1", "supervisor1"):
        page = town.city.page(login, f"/findings/{told.id}")
        assert "供给不足：近30天有100.0%的时段" in page
        assert "CPU 实得 P95" in page
        assert "供给不足：近" not in town.city.page(login, f"/findings/{quiet.id}")
    assert "CPU 被抢占" in town.city.page("tenant1", f"/resources/{starved}")
    town.clock.now = (town.clock.now + timedelta(days=32)).replace(day=2)
    with town.book.reading() as tx:
        company = tx.get_one(Pool, town.city.pool).provider_id
    supervisor = town.city.visit("supervisor1")
    supervisor.get("/scorecards/new")
    card = supervisor.send("/scorecards/new", {"provider": company, "period": f"{day:%Y-%m}"}).location
    page = town.city.page("supervisor1", f"{card}/cpu_time")
    assert "测到抢占时间的小时数 1,152；不足的小时数 576" in page  # 24 days of both in that month
    assert town.case(starved) is None
