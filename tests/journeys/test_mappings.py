"""The CMDB's sheet over HTTP: uploaded, asked about, tried, kept and entered; delivered into the folder, held, explained and
collected; changed, held again, with nothing gone."""

from __future__ import annotations

import io
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from metering.intake import collection
from metering.lake import Lake
from metering.workbench import Workbench
from providers.base import ProviderFault
from providers.mappings import HeldSheet, SheetMapping, sheet_mappings
from quota.actors import Role, steward
from quota.audit import AuditRecord
from quota.calendar import ZONE
from quota.directory.departments import Department
from quota.directory.pools import CloudProvider, Pool
from quota.inventory import Resource
from quota.units import BLOCK, MEMORY, VCPU
from tests.console.test_house import check_page

HEADS = "资产编码,虚机名,归属委办局,CPU核心,内存大小,数据盘(T),电源"
LINES = [
    "ZC-1,门户-1,{name},4,8192,0.5,正常运行",
    "ZC-2,门户-2,{name},8,16384,1,正常运行",
    "ZC-3,库-1,别的单位,16,65536,2,维护中",
]


@pytest.fixture
def pool(house, tmp_path: Path) -> int:
    with house.transaction(steward()) as tx:
        company = tx.scalars(select(CloudProvider)).one()
        (tmp_path / "cloud" / "inventory").mkdir(parents=True)
        (tmp_path / "cloud" / "usage").mkdir()
        one = Pool(
            code="hand", name="甲云信创池", provider_id=company.id, arch="aarch64", zone="政务外网", xinchuang=True, adapter="files",
            adapter_options={"folder": str(tmp_path / "cloud")}, active=True,
        )  # fmt: skip
        tx.add(one)
        tx.flush()
        return one.id


@pytest.fixture
def text(house) -> str:
    with house.reading() as tx:
        name = tx.scalar(select(Department.name).where(Department.code == "A01"))
    return "\n".join([HEADS, *(line.format(name=name) for line in LINES)]) + "\n"


def fields(page: str) -> dict[str, str]:
    """What a browser would send of the form as it stands."""
    found = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page))
    for name, inner in re.findall(r'<select[^>]* name="([^"]+)"[^>]*>(.*?)</select>', page, re.S):
        chosen = re.search(r'<option selected value="([^"]*)"', inner)
        found[name] = chosen[1] if chosen else re.search(r'<option value="([^"]*)"', inner)[1]
    for tag in re.findall(r"<input [^>]*list=[^>]*>", page):
        found[re.search(r'name="([^"]+)"', tag)[1]] = re.search(r'value="([^"]*)"', tag)[1]
    return {name: value for name, value in found.items() if name != "csrf_token"}


def field_of(page: str, label: str) -> str:
    """The form's field that is so labelled."""
    (found,) = (
        re.search(r'name="([^"]+)"', tag)[1] for tag in re.findall(r"<(?:select|input)[^>]*>", page) if f'aria-label="{label}"' in tag
    )  # fmt: skip
    return found


def send_sheet(client, pool: int, text: str) -> str:
    body = {"pool": pool, "as_of": "2026-06-01T09:30", "file": (io.BytesIO(text.encode()), "cmdb.csv")}
    answer = client.send("/inventories/new", body, content_type="multipart/form-data")
    assert answer.status_code == 302, answer.text
    return answer.location


def resources(house, pool: int) -> dict[str, Resource]:
    with house.reading() as tx:
        return {one.external_id: one for one in tx.scalars(select(Resource).where(Resource.pool_id == pool))}


def test_an_unknown_sheet_is_asked_about_tried_kept_and_entered(client_of, house, pool, clock, text) -> None:
    steward_ = client_of(Role.SUPERVISOR)
    address = send_sheet(steward_, pool, text)
    page = steward_.get(address).text
    check_page(address, page)
    assert "资产编码" in page
    assert "ZC-1、ZC-2" in page.replace("\n", "")
    body = fields(page)
    assert body["column_0"] == "id"
    assert body["column_4"] == "memory_gb"
    assert body["unit_5"] == "TB"

    asked = steward_.send("/inventories/mappings/new", {**body, "step": "try"})
    assert asked.status_code == 422
    assert "单位，系统不猜" in asked.text or "请说明“维护中”的含义" in asked.text
    body["unit_4"] = "MB"
    body[field_of(page, "电源：维护中")] = "stopped"
    tried = steward_.send("/inventories/mappings/new", {**body, "step": "try"})
    assert tried.status_code == 200, tried.text
    assert "保存并入库" in tried.text
    check_page(address, tried.text)
    assert resources(house, pool) == {}, "trying enters nothing"
    with house.reading() as tx:
        assert sheet_mappings.in_force(tx, pool) == []

    assert steward_.send("/inventories/mappings/new", {**body, "step": "enter"}).status_code == 302
    found = resources(house, pool)
    assert sorted(found) == ["ZC-1", "ZC-2", "ZC-3"]
    assert found["ZC-2"].actual() == {VCPU: 8, MEMORY: 16384, BLOCK: 1024}
    assert found["ZC-1"].department_code == "A01", "its name was found among the departments"
    assert found["ZC-3"].department_code == "别的单位", "what nobody explained stays as it was written"
    assert found["ZC-3"].state == "stopped"

    again = steward_.send(
        "/inventories/new",
        {"pool": pool, "as_of": "2026-06-01T10:00", "file": (io.BytesIO(text.encode()), "next.csv")},
        content_type="multipart/form-data",
    )
    assert again.status_code == 200
    assert "尚未入库" in again.text, "the next file with these headings is read by itself"


def test_mistakes_are_told_by_row_and_column_before_anything_is_entered(client_of, house, pool, clock, text) -> None:
    steward_ = client_of(Role.SUPERVISOR)
    address = send_sheet(steward_, pool, text.replace("ZC-2,门户-2", ",门户-2").replace("65536", "很大"))
    page = steward_.get(address).text
    body = {**fields(page), "unit_4": "MB", field_of(page, "电源：维护中"): "-"}
    tried = steward_.send("/inventories/mappings/new", {**body, "step": "try"}).text
    assert "资源编号为空" in tried
    assert "1 行按列对照不读入" in tried, "the row that is left out is not read, whatever else it says"
    body[field_of(page, "电源：维护中")] = "stopped"
    tried = steward_.send("/inventories/mappings/new", {**body, "step": "try"}).text
    assert "不是数字" in tried
    assert "很大" in tried
    assert "清单记为不完整" in tried
    assert resources(house, pool) == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"column_1": "id"}, "不能都读作"),
        ({"column_0": ""}, "请指明哪一列是资源编号"),
        ({"unit_4": ""}, "系统不猜"),
        ({"unit_4": "PB"}, "不是有效的选择"),
        ({"column_0": "colour"}, "不是有效的选择"),
    ],
)
def test_what_makes_no_sense_is_refused_beside_its_column(client_of, house, pool, text, change, said) -> None:
    steward_ = client_of(Role.SUPERVISOR)
    page = steward_.get(send_sheet(steward_, pool, text)).text
    body = {**fields(page), "unit_4": "MB", field_of(page, "电源：维护中"): "stopped", **change}
    for step in ("try", "keep", "enter"):
        answer = steward_.send("/inventories/mappings/new", {**body, "step": step})
        assert answer.status_code == 422
        assert said in answer.text
    with house.reading() as tx:
        assert sheet_mappings.in_force(tx, pool) == []


def test_a_sheet_in_the_folder_waits_is_explained_and_collected_and_a_changed_one_waits_again(
    client_of, house, pool, clock, text, tmp_path
) -> None:
    steward_ = client_of(Role.SUPERVISOR)
    works = Workbench(house, Lake(tmp_path / "lake"), tmp_path)
    folder = tmp_path / "cloud" / "inventory"

    def collect() -> Any:
        with house.reading() as tx:
            return collection.collect(works, tx.get_one(Pool, pool))

    (folder / "2026-06-01.csv").write_text(text)
    for _twice in range(2):
        with pytest.raises(ProviderFault):
            collect()
    for shown in ("/", "/inventories/mappings/", f"/pools/{pool}"):
        page = steward_.get(shown).text
        assert "2026-06-01.csv" in page
        check_page(shown, page)
    with house.reading() as tx:
        asked = tx.scalars(select(AuditRecord).where(AuditRecord.action == "mapping.ask")).all()
    assert len(asked) == 1, "the same file is asked about once"
    page = steward_.get(f"/inventories/mappings/new?pool={pool}").text
    body = {**fields(page), "unit_4": "MB", field_of(page, "电源：维护中"): "stopped"}
    assert "新增" in steward_.send("/inventories/mappings/new", {**body, "step": "try"}).text
    kept = steward_.send("/inventories/mappings/new", {**body, "step": "keep"})
    assert kept.status_code == 302
    check_page(kept.location, steward_.get(kept.location).text)
    assert resources(house, pool) == {}
    collect()
    assert sorted(resources(house, pool)) == ["ZC-1", "ZC-2", "ZC-3"]
    with house.reading() as tx:
        assert tx.scalars(select(HeldSheet)).all() == []

    (folder / "2026-06-02.csv").write_text(
        text.replace("内存大小", "内存(GB)").splitlines()[0] + "\nZC-9,x,y,1,1,1,正常运行\n"
    )
    with pytest.raises(ProviderFault, match="内存大小"):
        collect()
    assert all(one.gone_at is None for one in resources(house, pool).values()), (
        "what a person has not looked at ends nothing"
    )
    page = steward_.get(f"/inventories/mappings/new?pool={pool}").text
    body = fields(page)
    assert (body["column_0"], body["column_4"], body["unit_4"]) == ("id", "memory_gb", "GB"), (
        "what was said before is proposed"
    )
    assert steward_.send("/inventories/mappings/new", {**body, "step": "keep"}).status_code == 302
    collect()
    assert "ZC-9" in resources(house, pool)


def test_a_mapping_is_changed_in_versions_and_ended(client_of, house, pool, clock, text) -> None:
    steward_ = client_of(Role.SUPERVISOR)
    page = steward_.get(send_sheet(steward_, pool, text)).text
    body = {**fields(page), "unit_4": "MB", field_of(page, "电源：维护中"): "stopped"}
    first = steward_.send("/inventories/mappings/new", {**body, "step": "keep"}).location
    number = int(first.rsplit("/", 1)[1])
    page = steward_.get(f"/inventories/mappings/new?mapping={number}").text
    change = fields(page)
    assert change["unit_4"] == "MB"
    assert change[field_of(page, "电源：维护中")] == "stopped"
    change[field_of(page, "电源：维护中")] = "error"
    second = steward_.send("/inventories/mappings/new", {**change, "step": "keep"}).location
    assert second != first
    stale = steward_.send("/inventories/mappings/new", {**change, "step": "keep", "unit_4": "GB"})
    assert stale.status_code == 422
    assert "已被他人修改" in stale.text
    shown = steward_.get(second).text
    check_page(second, shown)
    assert "异常" in shown
    assert "已被替代" in steward_.get(first).text
    check_page("/inventories/mappings/", steward_.get("/inventories/mappings/").text)
    assert steward_.send(f"{first}/end", {"reason": "换表"}).status_code == 422, "not the newest"
    assert steward_.send(f"{second}/end", {"reason": ""}).status_code == 422
    assert steward_.send(f"{second}/end", {"reason": "换表"}).status_code == 302
    with house.reading() as tx:
        assert sheet_mappings.in_force(tx, pool) == []
        rows = tx.scalars(select(SheetMapping).order_by(SheetMapping.version)).all()
        assert [(one.version, bool(one.mapping)) for one in rows] == [(1, True), (2, True), (3, False)]
        acts = tx.scalars(select(AuditRecord.action).where(AuditRecord.subject == f"pool:{pool}")).all()
    assert acts.count("mapping.keep") == 2
    assert acts.count("mapping.end") == 1
    assert client_of(Role.TENANT).get("/inventories/mappings/").status_code in (302, 403)
    assert client_of(Role.AUTHORITY).get(second).status_code == 200
    assert client_of(Role.AUTHORITY).send(f"{second}/end", {"reason": "x"}).status_code == 403


USAGE_HEADS = "虚机,采集时刻,处理器占用率,内存占用比,备注"


def usage_text(*rows: str) -> str:
    return "\n".join([USAGE_HEADS, *rows]) + "\n"


def send_usage(client, pool: int, text: str, **more: Any):
    body = {"pool": pool, "register": "y", "file": (io.BytesIO(text.encode()), "monitor.csv"), **more}
    return client.send("/usage-files/new", body, content_type="multipart/form-data")


def test_usage_with_headings_of_its_own_is_asked_about_tried_kept_and_entered(client_of, house, pool, clock) -> None:
    steward_ = client_of(Role.SUPERVISOR)
    day = f"{clock.now.astimezone(ZONE) - timedelta(days=1):%Y-%m-%d}"
    rows = [f"vm-{n % 3},{day} {n // 12:02d}:{n % 12 * 5:02d},{n % 90}.5,0.{n % 9 + 1},甲" for n in range(60)]
    sent = send_usage(steward_, pool, usage_text(*rows, "合计,,99,9,"))
    assert sent.status_code == 302, sent.text
    page = steward_.get(sent.location).text
    check_page(sent.location, page)
    body = fields(page)
    assert (body["purpose"], body["register"]) == ("usage", "y")
    assert [body[f"column_{n}"] for n in range(4)] == ["id", "time", "cpu_pct", ""] or body["column_3"] == "mem_pct"
    body |= {"column_3": "mem_pct", "unit_1": "UTC+8", "unit_2": "%", "unit_3": ""}
    page = steward_.send("/inventories/mappings/new", {**body, "step": "look"}).text
    asked = steward_.send("/inventories/mappings/new", {**body, "step": "try"})
    assert asked.status_code == 422
    assert "“内存占用比”的单位，系统不猜" in asked.text
    body["unit_3"] = "0-1"
    tried = steward_.send("/inventories/mappings/new", {**body, "step": "try"})
    assert tried.status_code == 200, tried.text
    check_page("/inventories/mappings/new", tried.text)
    assert "保存并入湖" in tried.text
    assert resources(house, pool) == {}, "trying enters nothing"
    entered = steward_.send("/inventories/mappings/new", {**body, "step": "enter"})
    assert entered.status_code == 302, entered.text
    assert sorted(resources(house, pool)) == ["vm-0", "vm-1", "vm-2"]
    with house.reading() as tx:
        (kept,) = sheet_mappings.in_force(tx, pool)
    assert kept.purpose == "usage"
    assert kept.units == {"time": "UTC+8", "cpu_pct": "%", "mem_pct": "0-1"}

    shown = steward_.get("/inventories/mappings/1").text
    check_page("/inventories/mappings/1", shown)
    assert "0 到 1 之间的比例" in shown
    assert "用量" in steward_.get("/inventories/mappings/").text
    changed = steward_.get("/inventories/mappings/new?mapping=1").text
    assert fields(changed)["unit_3"] == "0-1"
    again = send_usage(steward_, pool, usage_text(*rows))
    assert again.status_code == 200, "the next file with these headings is read by itself"
    assert "尚未入湖" in again.text


def test_a_file_of_usage_in_the_folder_waits_beside_a_listing_that_waits(
    house, pool, clock, tmp_path, client_of
) -> None:
    (tmp_path / "cloud" / "inventory" / "a.csv").write_text(
        "id,name,type,arch,vcpu,memory_gb\nvm-1,one,vm,aarch64,4,8\n"
    )
    day = f"{clock.now.astimezone(ZONE):%Y-%m-%d}"
    (tmp_path / "cloud" / "usage" / "own.csv").write_text(usage_text(f"vm-1,{day} 00:05,5.5,0.5,甲"))
    works = Workbench(house, Lake(tmp_path / "lake"), tmp_path)
    with house.reading() as tx:
        one = tx.get_one(Pool, pool)
    found = collection.collect(works, one)
    assert found.drift is not None, "the listing is entered"
    assert found.taken == 0
    steward_ = client_of(Role.SUPERVISOR)
    assert "own.csv" in steward_.get("/").text
    page = steward_.get(f"/inventories/mappings/new?pool={pool}&purpose=usage").text
    body = {**fields(page), "column_0": "id", "column_1": "time", "column_2": "cpu_pct", "column_3": "", "column_4": "",
            "unit_1": "UTC+8", "unit_2": "%"}  # fmt: skip
    assert steward_.send("/inventories/mappings/new", {**body, "step": "keep"}).status_code == 302
    with house.reading() as tx:
        assert tx.scalars(select(HeldSheet)).all() == []
    clock.now += timedelta(minutes=5)
    assert collection.collect(works, one).taken == 1
    with house.reading() as tx:
        assert tx.scalars(select(HeldSheet)).all() == []
