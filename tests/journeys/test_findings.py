"""What was found, of resources, systems and departments, and what is coming: the pages and who sees what on them."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import datetime, time, timedelta

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import select

from console.pages.judging.findings import differing
from metering.archive import archives, recompute
from metering.cases import windows
from metering.judging import GrowthTerms, Section, default, findings, pipeline, policies
from metering.judging.figures import FIGURES
from metering.lake.store import Lake
from metering.simulation import growth_replays, history
from metering.workbench import Workbench
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.directory.departments import System
from quota.errors import WrongState
from quota.inventory import Resource
from tests import lakes
from tests.metering.past import DAYS, found_past, mute

SERVICES = {
    "spare-db": ("database", {"vcpu": 4, "memory": 8192}, {"cpu_pct": 30.0, "mem_pct": 50.0, "connections": 0.0}),
    "full-db": (
        "database",
        {"vcpu": 4, "memory": 8192},
        {"cpu_pct": 30.0, "mem_pct": 50.0, "disk_pct": 96.0, "connections": 40.0},
    ),
    # 79 % on the last day that is judged, 1.6 points a day more: full within thirteen days.
    "filling-db": (
        "database",
        {"vcpu": 4, "memory": 8192},
        {
            "cpu_pct": 30.0,
            "mem_pct": 50.0,
            "disk_pct": np.linspace(81 - 1.6 * DAYS, 81, DAYS * 288),
            "connections": 40.0,
        },
    ),
    "full-line": ("bandwidth", {"bandwidth": 10}, {"net_rx_kbps": 5000.0, "net_tx_kbps": 4000.0}),
    "wide-line": ("bandwidth", {"bandwidth": 1000}, {"net_rx_kbps": 5000.0, "net_tx_kbps": 4000.0}),
}
"""Name → kind, what was bought, what each sample says."""


def services(book, lake: Lake, first) -> None:
    """Databases and lines beside the machines of the past, seen for as long."""
    ids = []
    with book.transaction(steward()) as tx:
        other = tx.scalars(select(Resource).where(Resource.name == "quiet")).one()
        for name, (kind, amounts, _values) in SERVICES.items():
            row = Resource(
                pool_id=other.pool_id, external_id=name, name=name, kind=kind, arch="x86_64", amounts=amounts, booked={},
                state="running", department_id=other.department_id, system_id=None, basis="adopted", tags={},
                created_at=other.created_at, first_seen_at=other.first_seen_at, protected=False,
            )  # fmt: skip
            tx.add(row)
            tx.flush()
            ids.append(row.id)
    lakes.fill(lake, ("services", *ids, first), lambda: serve(lake, ids, first))


def serve(lake: Lake, ids: list[int], first) -> None:
    ts = int(datetime.combine(first, time(), ZONE).timestamp()) + np.arange(DAYS * 288) * 300
    for id_, (name, (_kind, _amounts, values)) in zip(ids, SERVICES.items(), strict=True):
        noise = np.random.default_rng(id_).random(len(ts)) * 0.4
        columns = {
            key: value + noise if key != "connections" else np.full(len(ts), value) for key, value in values.items()
        }
        lake.append(name, pa.table({"resource": np.full(len(ts), id_, np.int32), "ts": ts, **columns}))
    lake.roll()


@pytest.fixture
def works(house, settings):
    made = Workbench(house, Lake(settings.lake_dir), settings.data)
    with house.transaction(steward()) as tx:
        policies.seed(tx)
    return made


@pytest.fixture
def past(works, house, clock):
    today = clock().astimezone(ZONE).date()
    ids = found_past(house, works, today)
    services(house, works.lake, today - timedelta(days=DAYS))
    with house.transaction(steward()) as tx:
        exam = tx.scalars(select(System).where(System.code == "exam")).one()
        exam.last_business_login_on = today - timedelta(days=120)
    pipeline.judge(works, today - timedelta(days=1))
    return ids


def rows(client, address: str) -> list[dict[str, str]]:
    """The list of a page as its CSV says it."""
    answer = client.get(f"{address}{'&' if '?' in address else '?'}export=csv")
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.get_data().decode("utf-8-sig"))))


def test_findings_of_every_kind_of_resource(house, past, client_of, clock):
    staff = client_of(Role.SUPERVISOR)
    shown = {one["资源"]: one for one in rows(staff, "/findings/?verdict=all")}
    assert {name: shown[name]["结论"] for name in SERVICES} == {
        "spare-db": "闲置",
        "full-db": "过载",
        "filling-db": "繁忙",
        "full-line": "繁忙",
        "wide-line": "低效",
    }
    assert "最多连接数 0 < 1" in shown["spare-db"]["依据"]
    assert "磁盘使用率" in shown["full-db"]["依据"]
    assert "带宽使用率均峰值" in shown["full-line"]["依据"]
    assert "距磁盘写满天数 12." in shown["filling-db"]["依据"]
    with house.reading() as tx:
        run = findings.last_run(tx)
        one = next(each for each in findings.of_run(tx, run) if each.resource.name == "filling-db")
        day, filling = run.last_day + timedelta(days=13), one.id
    page = staff.get(f"/findings/{one.id}").text
    assert f"预计{day}前后写满" in page
    assert "下一变更窗口" not in page, "there is time enough"
    with house.transaction(Actor("supervisor1", "督导", Role.SUPERVISOR)) as tx:
        windows.freeze(tx, tx.now.astimezone(ZONE).date(), day + timedelta(days=3), "重大活动封网")
    page = staff.get(f"/findings/{one.id}").text
    assert f"这早于该资源池的下一变更窗口（{day + timedelta(days=4)}）" in page
    page = staff.get("/findings/").text
    assert "quiet" in page
    assert "office" not in page.replace("市民政局", "")
    with house.reading() as tx:
        run = findings.last_run(tx)
        assert list(findings.recheck(tx, run)) == []
        one = next(each for each in findings.of_run(tx, run) if each.resource.name == "full-line")
    told = staff.get(f"/findings/{one.id}/recomputed")
    assert "结论与每个数字都相同" in told.text
    assert "目录中没有比现规格更大的规格" in told.text
    assert client_of("tenant1").get("/findings/").status_code == 403
    assert client_of("tenant1").get(f"/findings/{one.id}").status_code == 404
    clock.advance(days=15)
    page = client_of(Role.SUPERVISOR).get(f"/findings/{filling}").text
    assert f"预计{day}前后写满" in page
    assert "下一变更窗口" not in page, "frozen still, and nothing is left to do before that day"


def test_what_is_no_cpu_is_replayed_by_the_terms_of_a_policy(works, past):
    with works.book.transaction(steward()) as tx:
        for one in tx.scalars(select(Resource).where(Resource.name.in_(["full-db", "filling-db"]))):
            one.amounts = {**one.amounts, "block": 100}
    found = growth_replays.of_policy(works, default(), history.past(works))
    assert {gauge: one["resources"] for gauge, one in found.items()} == {"memory": 9, "disk": 2, "line": 2}
    disk = found["disk"]
    assert (disk["growths"], disk["returned"]) == (1, 0), "the one at 96 % for good, the one that fills not yet"
    assert disk["full_share"] == pytest.approx(0.5)
    assert disk["left_share"] == pytest.approx(0.5 / (DAYS * 288)), "its first sample"
    assert disk["lent_share"] == pytest.approx(0.125, rel=0.01)
    assert found["line"]["full_share"] == 0, "9 of 10 Mbps"
    for_none = replace(
        default(), growths=(), sections=(Section("线", kinds=("bandwidth",), growths=(GrowthTerms("line", level=85),)),)
    )
    assert growth_replays.of_policy(works, for_none, history.past(works)).keys() == {"line"}
    assert growth_replays.of_policy(works, for_none, history.past(works))["line"]["full_share"] == pytest.approx(0.5)


def test_the_page_of_an_archived_finding_is_as_before(house, past, client_of, works, clock):
    today = clock().astimezone(ZONE).date()
    run = pipeline.judge(works, today - timedelta(days=9))
    with house.reading() as tx:
        one = next(each for each in findings.of_run(tx, run) if each.resource.name == "quiet")
    staff = client_of(Role.SUPERVISOR)
    before = staff.get(f"/findings/{one.id}").text
    archives.archive(works, today + timedelta(days=300))
    page = staff.get(f"/findings/{one.id}").text
    assert "归档于" in page
    assert "归档于" not in before
    for told in ("CPU P95", "近30天", "闲置", "2026-05-22"):
        assert page.count(told) == before.count(told) > 0, told
    assert "结论与每个数字都相同" in staff.get(f"/findings/{one.id}/recomputed").text
    archives.place(works.lake.root, run).unlink()
    lost = staff.get(f"/findings/{one.id}")
    assert lost.status_code == 404
    assert "归档文件不能读取" in lost.text


def test_what_can_not_be_made_again_is_said_with_why(house, past, client_of, works):
    staff = client_of(Role.SUPERVISOR)
    with house.reading() as tx:
        run = findings.last_run(tx)
        one = next(each for each in findings.of_run(tx, run) if each.numbers["windows"])
    page = f"/findings/{one.id}/recomputed"
    lake = works.lake
    early = next(day for day in lake.days() if run.first_day <= day)
    lake.path("days", early).unlink()
    assert f"数据湖中已没有 {early} 的采样" in staff.get(page).text
    with pytest.raises(WrongState, match=r"recompute\.lost"):
        recompute.run(works, run.id)
    lake.path("daily", early).unlink()  # as if it had never been: what came out otherwise is told in words
    told = staff.get(page)
    assert told.status_code == 200
    assert "有效时段数" in told.text
    (lake.root / "retention.json").write_text(f'{{"days": "{early + timedelta(days=1)}"}}')
    assert f"采样保存自 {early + timedelta(days=1)}，更早的已按期清理" in staff.get(page).text
    (lake.root / "retention.json").unlink()
    for day in lake.days():
        lake.path("days", day).unlink()
        lake.path("daily", day).unlink()
    assert "数据湖中已没有" in staff.get(page).text


@pytest.mark.parametrize("figure", [*FIGURES, "verdict", "reasons", "target"])
def test_whatever_comes_out_otherwise_has_a_word(app, figure):
    with app.test_request_context("/"):
        assert differing(figure)


def test_a_finding_changed_behind_its_back_is_named(house, past):
    with house.reading() as tx:
        run = findings.last_run(tx)
        assert list(findings.check(tx, [run.id])) == []
    with house.reading() as tx, tx.no_autoflush:  # as if it had been changed below the guard
        one = findings.of_run(tx, findings.last_run(tx))[0]
        one.verdict = "idle" if one.verdict != "idle" else "busy"
        told = list(findings.check(tx, [run.id]))
    assert any("does not match its seal" in each for each in told)
    assert any("findings: row" in each for each in told)


def test_systems_with_zombies_first_filtered_and_exported(past, client_of):
    staff = client_of(Role.SUPERVISOR)
    page = staff.get("/findings/systems/")
    assert page.status_code == 200
    assert "90天无业务登录" in page.text
    told = rows(staff, "/findings/systems/")
    assert told[0]["信息系统"] == "报名系统"
    assert told[0]["疑似僵尸"] == "90天无业务登录"
    assert told[0]["利用率"] == "利用率低"
    assert (told[0]["资源"], told[0]["vCPU"]) == ("1", "8")
    assert [one["信息系统"] for one in rows(staff, "/findings/systems/?zombie=suspected")] == ["报名系统"]
    assert "报名系统" not in {one["信息系统"] for one in rows(staff, "/findings/systems/?zombie=no")}
    assert [one["信息系统"] for one in rows(staff, "/findings/systems/?use=system_low&q=exam")] == ["报名系统"]
    assert rows(staff, "/findings/systems/?use=system_high") == []
    assert staff.get("/findings/systems/?sort=-cpu&export=xlsx").mimetype.endswith("sheet")
    assert client_of("tenant1").get("/findings/systems/").status_code == 403


def test_departments_from_their_own_and_those_under_them(past, client_of):
    staff = client_of(Role.SUPERVISOR)
    assert "市民政局" in staff.get("/findings/departments/").text
    told = {one["使用单位"]: one for one in rows(staff, "/findings/departments/")}
    assert told["市考试院"]["利用率"] == "利用率低"
    assert int(told["市直部门"]["vCPU"]) == int(told["市民政局"]["vCPU"]) + int(told["市考试院"]["vCPU"]) == 54
    # A department without a machine is unknown, not low.
    empty = [one for one in told.values() if one["资源"] == "0"]
    assert empty
    assert {one["利用率"] for one in empty} == {"数据不足"}
    assert [one["使用单位"] for one in rows(staff, "/findings/departments/?q=P2")] == ["市考试院"]
    assert client_of("tenant1").get("/findings/departments/").status_code == 403


def test_a_resource_and_its_forecast(past, client_of):
    staff = client_of(Role.SUPERVISOR)
    page = staff.get(f"/forecasts/?of=resource:{past['office']}")
    assert page.status_code == 200
    assert "资源：office" in page.text
    assert "区间上限" in page.text
    assert f"of=resource:{past['office']}" in staff.get(f"/resources/{past['office']}").text
    assert staff.get("/forecasts/?of=resource:99999").status_code == 404
    for said in ("x", "0", "９", "9" * 30, "9" * 5000):
        assert staff.get(f"/forecasts/?of=resource:{said}").status_code == 404, said[:9]
    assert client_of("tenant1").get(f"/forecasts/?of=resource:{past['office']}").status_code == 404


def test_a_pool_without_network_figures_says_what_cannot_be_found_there(works, past, house, clock, client_of):
    today = clock().astimezone(ZONE).date()
    pool, machine = mute(house, works, today)
    pipeline.judge(works, today)
    staff = client_of(Role.SUPERVISOR)
    sentence = "最近30天没有一台机器的「网络均值」达到规则所要的覆盖率：这里的机器不会被判为「闲置」。"
    for address in (f"/pools/{pool}/collection", f"/pools/{pool}"):
        assert sentence in staff.get(address).text
    with house.reading() as tx:
        row = findings.latest(tx, machine)
        other = tx.get_one(Resource, past["quiet"]).pool_id
    assert "没有（或没有足够的）「网络均值」数据，所以不作结论" in staff.get(f"/findings/{row.id}").text
    assert "没有一台机器的" not in staff.get(f"/pools/{other}/collection").text
