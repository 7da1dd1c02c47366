"""What pages ask for in several steps, with files, or by what is ticked, done by a program in one call."""

from __future__ import annotations

import io
import json
from datetime import date
from typing import Any

import pytest
from sqlalchemy import func, select

from console.founding import template
from metering.cases import Case
from metering.intake import Feed
from metering.judging import CaseKind, Verdict, policies
from metering.simulation import PolicyDraft
from providers.assessment import formulas
from providers.mappings import SheetMapping
from quota import ledger
from quota.actors import steward
from quota.attachments import Attachment
from quota.calendar import working_days
from quota.directory import Pool
from quota.inventory import Resource
from quota.requests import rulebook
from quota.units import VCPU, Arch, Commodity
from tests.city import City
from tests.console.test_api import ROOT, drafted, place, program, scopes, told  # noqa: F401 - fixtures

PAPER = "市数据局〔2026〕12号 关于接管存量云资源的通知"
HEADS = "资源编号,名称,类型,核数,内存(GB)"
STRANGE = "资产编码,配置CPU,内存容量\nZC-1,4,8192\nZC-2,8,16384\n"


def sent(one: Any, path: str, text: str | bytes, name: str, **fields: Any) -> Any:
    body = {**fields, "file": (io.BytesIO(text.encode() if isinstance(text, str) else text), name)}
    return one.ask("POST", path, data=body, content_type="multipart/form-data")


def good(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, answer.get_data(as_text=True)
    found: dict[str, Any] = answer.get_json()
    return found


def counted(house: Any, model: Any) -> int:
    with house.reading() as tx:
        return int(tx.scalar(select(func.count()).select_from(model)) or 0)


@pytest.fixture
def own(place: City) -> int:  # noqa: F811
    """The pool's id; nobody's program lists it."""
    return place.pool


def test_a_listing_is_entered_and_what_it_shows_is_taken_over(program, place, own, house) -> None:  # noqa: F811
    supervisor = program("supervisor1")
    rows = "".join(f"\nvm-{n},机器{n},虚拟机,4,8" for n in range(4))
    listing = {"pool": own, "as_of": "2026-06-01T09:30"}
    good(sent(supervisor, "/inventories/new", f"{HEADS}{rows}\n", "inv.csv", **listing))
    ids = [one["id"] for one in good(supervisor.get("/takeovers/ownerless"))["items"]]
    assert len(ids) == 4
    owner = place.department
    given = {"step": "assign", "id": ids[:3], "department": owner, "reason": "据调查"}
    good(supervisor.post("/takeovers/ownerless", given))
    asked = {"step": "ask", "id": ids[3:], "asked": [owner], "due_on": "2026-06-20", "department": 0}
    good(supervisor.post("/takeovers/ownerless", asked))
    (letter,) = good(program("tenant1").get("/inquiries"))["items"]
    refused = told(
        program("tenant1").post(f"/inquiries/{letter['id']}", {"answer": "yes", "until": "2027-01-01", "every": True}),
        422,
    )
    assert refused["errors"], refused
    answered = program("tenant1").post(
        f"/inquiries/{letter['id']}", {"answer": "yes", "every": True, "reason": "门户备机"}
    )
    assert answered.status_code == 200, answer_of(answered)
    moved = {"document": PAPER, "resources": 9, "pools": [own]}
    assert told(supervisor.post(f"/takeovers/new/{owner}", moved), 409)["code"] == "takeover.moved"
    good(supervisor.post(f"/takeovers/new/{owner}", {**moved, "resources": 3, "without": [ids[0]]}))
    with house.reading() as tx:
        assert ledger.balance(tx, ledger.Side(own, Commodity(VCPU, Arch.AARCH64), ledger.Holder.USED, owner)) == 12
    good(supervisor.post("/inventories/drift", {"step": "propose", "id": ids[:1], "document": PAPER}))
    assert told(supervisor.post(f"/takeovers/pools/{own}", {"document": PAPER, "resources": 5}), 409)
    assert told(program("auditor1").post("/inventories/drift", {"step": "ask", "id": ids}), 403)


def answer_of(answer: Any) -> str:
    return str(answer.get_data(as_text=True))


def test_a_sheet_of_its_own_is_explained_and_read_in_one_call(program, own, house) -> None:  # noqa: F811
    supervisor = program("supervisor1")
    listing = {"pool": own, "as_of": "2026-06-01T09:30"}
    assert told(sent(supervisor, "/inventories/new", STRANGE, "cmdb.csv", **listing), 422)
    columns = [("资产编码", "id", ""), ("配置CPU", "vcpu", "core"), ("内存容量", "memory_gb", "MB")]
    body = {
        f"columns-{n}-{name}": value
        for n, column in enumerate(columns)
        for name, value in zip(("head", "field", "unit"), column, strict=True)
        if value
    }
    missing = {name: value for name, value in body.items() if not name.endswith("2-unit")}
    where = "/inventories/mappings/new"
    assert told(sent(supervisor, where, STRANGE, "cmdb.csv", **listing, **missing), 422)["code"] == "mapping.unit"
    assert counted(house, SheetMapping) == 0
    kept = sent(supervisor, where, STRANGE, "cmdb.csv", **listing, **body, enter="1")
    assert kept.status_code == 200, answer_of(kept)
    with house.reading() as tx:
        assert [one.amounts["memory"] for one in tx.scalars(select(Resource).order_by(Resource.id))] == [8192, 16384]
        version = tx.scalars(select(SheetMapping.id)).one()
    good(supervisor.post(f"{where[:-4]}/{version}/end", {"reason": "换了模板"}))


def test_files_of_usage_and_workbooks_are_entered_whole_or_refused_by_place(program, own, house, tmp_path) -> None:  # noqa: F811
    supervisor, authority = program("supervisor1"), program("authority1")
    text = "资源编号,时间,CPU利用率\n" + "".join(f"vm-1,2026-05-31T0{n}:00:00Z,{n}\n" for n in range(5))
    found = good(sent(supervisor, "/usage-files/new", text, "use.csv", pool=own, register="1", format="", metric=""))
    assert "5" in found["said"][0]
    assert told(sent(supervisor, "/usage-files/new", "a,b\n1,2\n", "no.csv", pool=own, format="", metric=""), 422)
    template.write(tmp_path / "city.xlsx", blank=True)
    wrong = told(sent(authority, "/city/workbook", b"no workbook", "city.xlsx"), 422)
    assert wrong["errors"][0]["field"] == "file"
    whole = sent(authority, "/city/workbook", (tmp_path / "city.xlsx").read_bytes(), "city.xlsx")
    assert whole.status_code == 200, answer_of(whole)


def test_evidence_is_put_forward(program, place, house) -> None:  # noqa: F811
    tenant = program("tenant1")
    request = good(drafted(tenant, place, "filed-2026-0002"))["location"].removeprefix(ROOT)
    path = f"/attachments/request/{request.rpartition('/')[2]}/add"
    files = {"files": [(io.BytesIO(b"one"), "one.txt"), (io.BytesIO(b"a,b\n1,2\n"), "two.csv")]}
    good(tenant.ask("POST", path, data=files, content_type="multipart/form-data"))
    assert counted(house, Attachment) == 2
    bad = {"files": [(io.BytesIO(b"MZ\x90"), "setup.exe")]}
    refused = told(tenant.ask("POST", path, data=bad, content_type="multipart/form-data"), 422)
    assert refused["errors"][0]["field"] == "files"
    assert told(tenant.post(path), 422)
    assert counted(house, Attachment) == 2


def test_a_pool_and_a_feed_are_connected_by_the_mark_that_was_read(program, place, house, tmp_path) -> None:  # noqa: F811
    authority = program("authority1")
    for name in ("cloud", "other"):
        (tmp_path / name).mkdir()
    pool = {
        "code": "by-api", "name": "接口登记的池", "provider": place.companies["jia"], "arch": "x86_64", "zone": "政务外网",
        "adapter": "files", "option": {"folder": str(tmp_path / "cloud")},
    }  # fmt: skip
    wrong = {**pool, "option": {**pool["option"], "colour": "red"}}
    assert told(authority.post("/pools/new", wrong), 422)["code"] == "adapter.option"
    good(authority.post("/pools/new", pool))
    with house.reading() as tx:
        made = tx.scalars(select(Pool.id).where(Pool.code == "by-api")).one()
    mark = good(authority.get(f"/pools/{made}"))["connection"]
    assert mark
    assert good(program("supervisor1").get(f"/pools/{made}"))["connection"] is None
    other = {"option": {"folder": str(tmp_path / "other")}, "seen": mark}
    good(authority.post(f"/pools/{made}/connection", other))
    assert told(authority.post(f"/pools/{made}/connection", other), 409)["code"] == "pool.stale"
    feed = {
        "code": "prom", "name": "市云 Prometheus", "adapter": "promql", "pool": made, "history_days": 2, "every_minutes": 5,
        "option": {"url": "http://prometheus.invalid:9090", "exporters": "node"},
    }  # fmt: skip
    good(authority.post("/resources/feeds/new", feed))
    with house.reading() as tx:
        number = tx.scalars(select(Feed.id)).one()
    mark = good(authority.get(f"/resources/feeds/{number}"))["connection"]
    change = {"name": "新名", "history_days": 3, "every_minutes": 15, "option": feed["option"], "seen": mark}
    good(authority.post(f"/resources/feeds/{number}/connection", change))
    with house.reading() as tx:
        assert tx.get_one(Feed, number).name == "新名"


def test_what_is_enacted_is_drafted_by_documents_and_forms(program, place, house) -> None:  # noqa: F811
    authority = program("authority1")
    with house.transaction(steward()) as tx:
        policies.seed(tx)
    rule = {
        "code": "large", "name": "大额", "basis": "测试", "effective_from": "2026-07-01", "priority": 60, "outcome": "sign",
        "groups": [{"rows": [{"fact": "vcpu", "op": ">", "value": "100"}]}], "technical_review_role": "supervisor", "technical_review_days": 5,
    }  # fmt: skip
    good(authority.post("/rules/new", rule))
    with house.reading() as tx:
        newest = rulebook.enacted(tx)[0]
    amended = {**rule, "code": newest.code, "shown": newest.version}
    del amended["technical_review_role"], amended["technical_review_days"]
    wrong = told(authority.post(f"/rules/{newest.code}/enact", {**amended, "outcome": "refuse"}), 422)
    assert [one["field"] for one in wrong["errors"]] == ["reason"], "what is not said of a rule stays as it was"
    good(authority.post(f"/rules/{newest.code}/enact", {**amended, "repeal": True}))
    stale = {**amended, "repeal": True, "shown": newest.version + 7}
    assert told(authority.post(f"/rules/{newest.code}/enact", stale), 409)["code"] == "rules.stale"
    with house.reading() as tx:
        version = policies.newest(tx, "default")
        assert version is not None
        number, document = version.id, version.policy().to_json()
    read = authority.get(f"/policies/versions/{number}/policy.json")
    assert read.get_json() == document
    draft = {**document, "effective_from": "2026-07-01", "hot_minutes": 45}
    good(authority.post("/policies/drafts/new", {"document": json.dumps(draft), "reason": "接口起草"}))
    with house.reading() as tx:
        (kept,) = tx.scalars(select(PolicyDraft))
        assert kept.document == {**draft, "version": version.version + 1}
    for hostile in (
        {**draft, "hot_level": 900},
        {**draft, "colour": 1},
        {**draft, "rules": [1]},
        [],
        {**draft, "hot_level": "x"},
    ):
        assert told(authority.post("/policies/drafts/new", {"document": json.dumps(hostile), "reason": "x"}), 422)
    assert counted(house, PolicyDraft) == 1


def test_days_are_corrected_and_campaigns_begun(program, place, house) -> None:  # noqa: F811
    authority = program("authority1")
    good(authority.post("/calendar/correct", {"first": "2026-06-06", "setting": "worked", "note": "调休"}))
    with house.reading() as tx:
        assert working_days(tx).is_working(date(2026, 6, 6))
    place.machine()
    body = {"name": "夏季清理", "services": ["vm"], "due_on": "2026-06-20"}
    made = good(authority.post("/campaigns/new", body))
    assert made["location"]


def test_cases_go_by_batches_letters_and_answers(program, place, house) -> None:  # noqa: F811
    supervisor, tenant = program("supervisor1"), program("tenant1")
    with house.transaction(steward()) as tx:
        place.policy = policies.seed(tx).id
    ids = place.open({place.machine(): Verdict.IDLE for _ in range(3)}, target={})
    group = f"/batches/review/{CaseKind.RECLAIM.value}/{Verdict.IDLE.value}/{place.policy}"

    def shown(*wanted: int) -> list[str]:
        with house.reading() as tx:
            return [f"{one}:{tx.get_one(Case, one).generation}" for one in wanted]

    body = {"case": shown(*ids[:2]), "seen": shown(*ids), "reason": "经核对,监测数据与现场一致"}
    assert told(supervisor.post(group, body), 422)["code"] == "batch.why"
    good(supervisor.post(group, {**body, "except": {str(ids[2]): "另案处理"}}))
    issued = good(supervisor.post("/notices/new", {"case": shown(*ids[:2]), "text": "请答复"}))
    letter = issued["location"].removeprefix(ROOT)
    with house.reading() as tx:
        said = [
            {"case": one, "generation": tx.get_one(Case, one).generation, "answer": "agree"} for one in ids[:2]
        ]  # fmt: skip
    refused = told(tenant.post(f"{letter}/answer", {"cases": [*said, {**said[0], "case": ids[2]}]}), 422)
    assert [one["field"] for one in refused["errors"]] == ["cases.2.case"]
    good(tenant.post(f"{letter}/answer", {"cases": said}))
    with house.reading() as tx:
        assert {tx.get_one(Case, one).state for one in ids[:2]} == {"cleared"}


def test_requests_that_are_alike_are_signed_in_one_call(program, place, house) -> None:  # noqa: F811
    supervisor = program("supervisor1")
    wanted = told(supervisor.post("/decisions/together/adopt/technical_review", {"request": ["1:1"]}), 422)
    assert wanted["errors"][0]["field"] == "decision"
    gone = {"request": ["7:1"], "decision": "approve"}
    assert told(supervisor.post("/decisions/together/adopt/technical_review", gone), 409)["code"] == "act.refused"


def test_a_formula_with_an_item_scored_by_hand_is_drafted_and_signed_by_programs(program, place, house) -> None:  # noqa: F811
    supervisor, authority = program("supervisor1"), program("authority1")
    hand = {"indicator": "orderly", "weight": "40", "measure": "by_hand", "label": "管理规范"}
    rules = [{"indicator": "ledger", "weight": "60", "measure": "each", "limits": {"per": "1"}}, hand]
    document = {
        "code": "offices",
        "name": "单位考核",
        "subject": "department",
        "grades": [["60", "pass"]],
        "rules": rules,
    }
    body = {"document": json.dumps(document), "effective_from": "2026-07-01", "reason": "某局办法 3 号"}
    wrong = {**document, "rules": [{**rules[0], "limits": {}}, hand]}
    refused = told(supervisor.post("/formulas/drafts/new", {**body, "document": json.dumps(wrong)}), 422)
    assert "rules.1.limits.per" in str(refused)
    good(supervisor.post("/formulas/drafts/new", body))
    (draft,) = good(authority.get("/formulas/drafts?state=drafted"))["items"]
    assert (draft["code"], draft["whom"], len(draft["digest"])) == ("offices-1", "department", 64)
    sign = f"/formulas/drafts/{draft['id']}/enact"
    assert told(authority.post(sign, {"digest": "0" * 64, "reason": "同意"}), 409)["code"] == "formula.other"
    good(authority.post(sign, {"digest": draft["digest"], "reason": "同意"}))
    assert good(authority.get("/formulas/drafts?state=drafted"))["items"] == []
    with house.reading() as tx:
        (version,) = formulas.enacted(tx).versions
        assert [one.by_hand for one in version.formula().criteria] == [False, True]
