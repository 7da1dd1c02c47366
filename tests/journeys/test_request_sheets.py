"""Many requests in one workbook: every mistake by its sheet, row and column, drafts of what is sound, handed in at once."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from datetime import date
from decimal import Decimal

import pytest
from openpyxl import Workbook, load_workbook
from sqlalchemy import func, select

from console import request_sheets, workbooks
from providers.labour import rates
from quota import requests
from quota.actors import Actor, Role, steward
from quota.audit import AuditRecord
from quota.calendar import ZONE
from quota.directory import Department, catalog, departments, outside, presets
from quota.inventory import Resource
from quota.ledger import Holder, entries
from quota.requests import KIND_LABELS, Request, RuleOutcome, kinds, rulebook, together
from quota.units import MEMORY, VCPU, Amount, Arch, ClassCode
from tests.console.test_house import check_page
from tests.journeys.terminal import of_terminal
from tests.journeys.test_requests import BASIS

POOL, ITEM = "政务外网区", "4C8G"


def clerk(place):
    return Actor("tenant1", "办", Role.TENANT, place.department)


def written(place, rows, path, more="", batch="20260601-1"):
    """A workbook with these rows: kind → rows by the key of their columns; ``batch``: the number that it bears."""
    with place.book.reading(clerk(place)) as tx:
        known = {one.name: one for one in request_sheets.sheets(tx)}
    book = Workbook()
    book.remove(book.active)
    for kind, those in rows.items():
        page = book.create_sheet(known[kind].title)
        page.append([workbooks.headed(one) for one in known[kind].columns])
        for row in those:
            page.append([row.get(one.key) for one in known[kind].columns])
    if batch:
        book.create_sheet("说明").append([workbooks.BATCH, batch])
    if more:
        book.create_sheet(more).append(["别的"])
    book.save(path)
    return path


CREATE = {"pool": POOL, "amount_vcpu": 1, "quantity": 1, "name": "应用", "justification": BASIS}
VOLUME = {**CREATE, "amount_vcpu": None, "amount_block": 1}
SOUND, MANY = 30, 467
MISTAKES = [  # sheet, what is wrong in a row that is sound otherwise, the column and the kind of what is said
    ("create", {"ref": None}, "批内编号", "cell.missing"),
    ("create", {"ref": "x" * 33}, "批内编号", "cell.long"),
    ("extend", {"request": "SQ-2026-000001"}, "延期的申请", "extend.no_term"),
    ("create", {"pool": "没有的池"}, "资源池", "cell.choice"),
    ("create", {"system": "没有的系统"}, "信息系统", "cell.choice"),
    ("create", {"quantity": 3}, "批内编号", "rules.refused"),
    ("create", {"item": "1C1G", "amount_vcpu": None}, "规格", "cell.choice"),
    ("create", {"item": "X86-4C8G", "amount_vcpu": None}, "规格", "request.item"),
    ("create", {"amount_vcpu": None}, "规格", "request.empty"),
    ("create", {"item": ITEM}, "规格", "sheet.both"),
    (
        "create",
        {"amount_vcpu": "四", "use_until": "明年"},
        "vCPU",
        "cell.number",
        "使用期限",
        "cell.date",
    ),  # two in one row
    ("create", {"amount_vcpu": 2.5}, "vCPU", "cell.whole"),
    ("create", {"amount_vcpu": -4}, "vCPU", "cell.range"),
    (
        "create",
        {"amount_vcpu": None, "amount_block": 980},
        "块存储（GB）",
        "capacity.short",
    ),  # alone it fits: not after all those above
    ("create", {"quantity": 20_000}, "数量", "request.quantity"),
    ("resize", {"resource": "1"}, "资源", "sheet.ambiguous"),
    ("create", {"use_until": date(2201, 1, 1)}, "使用期限", "cell.date_range"),
    ("create", {"use_until": date(2020, 1, 1)}, "使用期限", "request.use_until"),
    ("create", {"justification": None}, "测算依据", "cell.missing"),
    ("create", {"justification": "要用"}, "测算依据", "request.justification"),
    ("migrate", {}, "新资源池", "migrate.same_pool"),
    ("create", {"name": "=1/0"}, "用途", "cell.error"),
    ("create", {"ref": "n1", "pool": POOL, "justification": BASIS + "不同"}, "测算依据", "sheet.differs"),
    ("resize", {"resource": "nowhere"}, "资源", "sheet.resource"),
    ("resize", {"resource": "7"}, "资源", "sheet.resource"),
    ("resize", {"item": None, "amount_vcpu": 2, "amount_memory": 4}, "规格", "request.nothing"),
    ("unsubscribe", {"resource": "i-2"}, "资源", "request.unapproved"),
    ("unsubscribe", {"resource": "i-1"}, "资源", "request.resource_busy"),
    ("unsubscribe", {"ref": "u1"}, "批内编号", "row.twice"),
    ("extend", {"request": "SQ-2026-999999"}, "延期的申请", "sheet.request"),
    ("extend", {"use_until": None}, "新的使用期限", "cell.missing"),
    ("quota", {"amount_vcpu": -500}, "批内编号", "request.too_much_back"),
    ("quota", {"amount_vcpu": None}, "批内编号", "request.empty"),
    ("create", {"department": "下属单位", "system": "一网通办"}, "信息系统", "request.system"),
    ("adopt", {"resource": "i-1"}, "资源", "request.approved"),
]


@pytest.fixture
def filed(place):
    """What the sheet is about: a machine that is counted, one that nobody approved, an item that another architecture has."""
    shape = {VCPU: 2, MEMORY: 4096}
    place.standing_machine(shape)
    with place.book.transaction(steward()) as tx:
        entries.use(tx, place.pool, place.department, Amount(shape).of_arch(Arch.AARCH64), key="use:1")
        for name in ("i-2", "1"):
            tx.add(Resource(pool_id=place.pool, external_id=name, name=name, kind="vm", arch="aarch64", state="running",
                            amounts={"vcpu": 2}, booked={}, department_id=place.department, first_seen_at=tx.now))  # fmt: skip
        below = Department(code="A011", name="下属单位", parent_id=place.department, active=True)
        tx.add(below)
    with place.book.transaction(Actor("authority1", "主", Role.AUTHORITY)) as tx:
        departments.enter(tx, "S01", place.department, {"name": "一网通办"})
        rulebook.enact(tx, "three", "不许三台", {"fact": "quantity", "op": "==", "value": 3}, [], outcome=RuleOutcome.REFUSE,
                       reason="一次不得申请三台", effective_from=tx.now.date(), priority=50)  # fmt: skip
        catalog.offer(tx, "x86-4c8g", "X86-4C8G", "vm", Amount({VCPU: 4, MEMORY: 8192}), [Arch.X86_64])
    with place.book.transaction(clerk(place)) as tx:
        ask = requests.Ask(kinds.CREATE, place.department, place.pool, [requests.Line(item_id=place.small)], BASIS)
        requests.submit(tx, requests.draft(tx, ask), generation=1)
    return place


def rows(sound=SOUND):
    """Requests without a mistake, the last of two lines, and a row of each mistake: the rows and what must be said of them."""
    found = {"create": [{**VOLUME, "ref": f"n{n}"} for n in range(sound - 3)]}
    found["create"].append(
        {**VOLUME, "amount_block": None, "ref": f"n{sound - 4}", "item": ITEM, "amount_vcpu": None, "name": "数据库"}
    )
    found["unsubscribe"] = [{"ref": "u1", "resource": "i-1", "justification": BASIS}]
    found["quota"] = [{"ref": "q1", "pool": POOL, "amount_vcpu": 8, "justification": BASIS}]
    found["adopt"] = [{"ref": "a1", "resource": "i-2", "justification": BASIS}]
    usual = {
        "resize": {"resource": "i-1", "item": ITEM, "justification": BASIS},
        "migrate": {"resource": "i-1", "pool": POOL, "justification": BASIS, "more_window": "周六夜间", "more_steps": "停写,同步,切换",
                    "more_fallback": "切回", "more_side_by_side": "7 天"},
        "unsubscribe": found["unsubscribe"][0], "quota": found["quota"][0], "adopt": found["adopt"][0], "create": CREATE,
        "extend": {"request": "SQ-2026-000001", "use_until": date(2027, 1, 1), "justification": BASIS},
    }  # fmt: skip
    expected = []
    for number, (kind, wrong, *faults) in enumerate(MISTAKES):
        those = found.setdefault(kind, [])
        those.append({**usual[kind], "ref": f"w{number}", **wrong})
        place = KIND_LABELS[kind], len(those) + 1
        expected += [(*place, *said) for said in zip(faults[::2], faults[1::2], strict=True)]
    return found, [*expected, ("别的表", 0, "", "sheet.unknown")]


def kept(place):
    with place.book.reading() as tx:
        told = tx.scalar(select(func.count()).where(AuditRecord.action.startswith("request.")))
        states = Counter(tx.scalars(select(Request.state)))
    return states, told, place.balance(Holder.HELD)


def sent(tenant, path, **more):
    return tenant.send("/requests/sheet/", {"file": (io.BytesIO(path.read_bytes()), path.name), **more})


def test_every_mistake_is_told_by_its_place_and_what_is_sound_goes_on(filed, client_of, tmp_path):
    place, (given, expected) = filed, rows()
    assert (len(expected), len({code for *_place, code in expected})) == (37, 31)
    path = written(place, given, tmp_path / "申请.xlsx", more="别的表")
    before, tenant = kept(place), client_of(Role.TENANT)
    page = sent(tenant, path)
    check_page("/requests/sheet/", page.text)
    assert "有 37 处错误" in page.text
    assert kept(place) == before

    token = re.search(r'name="token" value="([^"]+)"', page.text)[1]
    done = tenant.send("/requests/sheet/", {"token": token, "step": "sound"})
    assert done.location == "/requests/drafts/"
    states, told, held = kept(place)
    assert states - before[0] == Counter(draft=SOUND - 1)  # a line of one is wrong: it is not entered in part
    assert (told, held) == (before[1] + SOUND - 1, before[2])  # a draft takes nothing
    page = tenant.get("/requests/drafts/")
    check_page("/requests/drafts/", page.text)
    ticked = re.findall(r'name="request" value="(\d+:\d+)"', page.text)
    assert len(ticked) == SOUND - 1


def test_of_five_hundred_what_is_wrong_is_told_by_its_place_and_all_the_rest_are_drafts(
    filed, house, settings, clock, monkeypatch, tmp_path
):
    place, (given, expected) = filed, rows(MANY)
    numbers = {(kind, one["ref"]) for kind, those in given.items() for one in those}
    assert (len(numbers), len(expected), len({code for *_place, code in expected})) == (500, 37, 31)
    path = written(place, given, tmp_path / "申请.xlsx", more="别的表")
    before = kept(place)
    told = of_terminal("requests", house, settings, clock, monkeypatch)(
        "file", path, "--by", "tenant1", "--sound", "--json", code=1
    )
    found = json.loads(told.stdout)
    said = [(one["sheet"], one["row"], one["column"], one["code"]) for one in found["faults"]]
    assert sorted(said) == sorted(expected)
    assert len({place[:2] for place in said if place[1]}) == 35, "two are in one row"
    wrong, titles = {place[:2] for place in said}, dict(KIND_LABELS)
    sound = {
        (kind, one["ref"])
        for kind, those in given.items()
        for row, one in enumerate(those, start=2)
        if (titles[kind], row) not in wrong
    } - {("create", "n1")}  # a line of it is wrong: it is not entered in part
    states, trail, held = kept(place)
    assert (states - before[0], trail - before[1], held) == (Counter(draft=len(sound)), len(sound), before[2])
    assert found["added"] == Counter(titles[kind] for kind, _number in sound)
    place.prove()


def test_again_changes_nothing_and_a_changed_row_changes_its_draft(filed, client_of, tmp_path):
    place, tenant = filed, client_of(Role.TENANT)
    given = [{**CREATE, "ref": f"n{n}"} for n in range(5)]
    path = written(place, {"create": given}, tmp_path / "a.xlsx")
    page = sent(tenant, path)
    assert "全部登记为草稿" in page.text
    assert sent(tenant, path, step="enter").location == "/requests/drafts/"
    entered = kept(place)
    again = sent(tenant, path)
    assert "没有要变更的" in again.text
    check_page("/requests/sheet/", again.text)
    sent(tenant, path, step="enter")
    assert kept(place) == entered
    given[4]["quantity"] = 2
    path = written(place, {"create": given}, tmp_path / "b.xlsx")
    sent(tenant, path, step="enter")
    assert kept(place)[0] == entered[0]
    with place.book.reading() as tx:
        drafts = tx.scalars(select(Request).where(Request.state == "draft").order_by(Request.id)).all()
        assert [one.lines[0].quantity for one in drafts] == [1, 1, 1, 1, 2]
        ticked = [f"{one.id}:{one.generation}" for one in drafts]
    # One changed since the page was made; the others are handed in, and their rows are not changed any more.
    done = tenant.send("/requests/drafts/", {"request": [*ticked[:4], f"{drafts[4].id}:1", "999:1"]})
    check_page("/requests/drafts/", done.text)
    assert "已提交 4 份，未提交 2 份" in done.text
    assert kept(place)[0]["draft"] == 1
    given[0]["quantity"], given[1]["ref"] = 7, "N1"
    refused = sent(tenant, written(place, {"create": given}, tmp_path / "c.xlsx"), step="enter")
    assert "有 1 处错误" in refused.text
    assert "已经提交" in refused.text
    assert "没有要变更的" in sent(tenant, path).text
    assert tenant.send("/requests/drafts/", {"request": ["x"]}).status_code == 422
    assert "请至少选择一份" in tenant.send("/requests/drafts/", {}).text


def put(place, given, path, batch, who=None, kind="create"):
    """What came of these rows of 新增 (or another kind), entered in a batch by the clerk or somebody else."""
    actor = who or clerk(place)
    with place.book.reading(actor) as tx:
        workbook = workbooks.load(written(place, {kind: given}, path, batch=batch), request_sheets.sheets(tx), "")
    return request_sheets.enter(place.book, workbook, actor)


def came(found):
    return found.added["新增"], found.changed["新增"], found.same["新增"], [one.code for one in found.faults]


def test_numbers_are_of_their_batch_and_what_came_to_nothing_is_asked_for_anew(place, tmp_path):
    given, path = [{**CREATE, "ref": str(n)} for n in range(3)], tmp_path / "a.xlsx"
    other = Actor("tenant9", "另", Role.TENANT, place.department)
    first = put(place, given, path, "may")
    assert came(first) == (3, 0, 0, [])
    june = [{**one, "quantity": 2} for one in given]
    assert came(put(place, june, path, "june")) == (3, 0, 0, [])
    assert came(put(place, given, path, "may")) == (0, 0, 3, [])  # June's left May's alone
    for again in range(2):  # withdrawn, asked for anew, and that withdrawn as well
        with place.book.transaction(clerk(place)) as tx:
            requests.withdraw(tx, first.drafts[0], generation=1)
        first = put(place, given, path, "may")
        assert came(first) == (1, 0, 2, []), again
        assert came(put(place, given, path, "may")) == (0, 0, 3, [])
    changed = [{**given[0], "quantity": 3}, *given[1:]]
    assert came(put(place, changed, path, "may", other)) == (0, 0, 2, ["sheet.others"])  # somebody else's draft
    with place.book.transaction(other) as tx:
        ask = requests.Ask(kinds.CREATE, place.department, place.pool, [requests.Line(item_id=place.small)], BASIS)
        requests.revise(tx, first.drafts[0], ask, generation=1)
    assert came(put(place, changed, path, "may")) == (0, 0, 2, ["sheet.others"])  # and one that somebody else changed
    # Without a number a row is what it says.
    assert came(put(place, given, path, "")) == (3, 0, 0, [])
    assert came(put(place, given, path, "")) == (0, 0, 3, [])
    assert came(put(place, changed, path, "")) == (1, 0, 2, [])


def test_rows_of_one_request_say_what_the_machines_of_each_are(place, tmp_path, client_of):
    given = [
        {**CREATE, "ref": "1", "name": "库", "more_os": "麒麟 V10", "more_zone": "公共区", "more_database": "达梦"},
        {**CREATE, "ref": "1", "name": "前", "more_os": "统信 V20", "more_zone": "公共区"},
        {**CREATE, "ref": "2", "more_os": "麒麟 V10"},
    ]
    found = put(place, given, tmp_path / "a.xlsx", "may")
    assert came(found) == (2, 0, 0, [])
    with place.book.reading() as tx:
        both, alone = (tx.get_one(Request, one) for one in found.drafts)
        assert both.fields == {"zone": "公共区"}
        assert [one.fields for one in both.lines] == [{"os": "麒麟 V10", "database": "达梦"}, {"os": "统信 V20"}]
        assert (alone.fields, alone.lines[0].fields) == ({"os": "麒麟 V10"}, {})
    page = client_of(Role.TENANT).get(f"/requests/{both.id}/edit").text
    assert "另有自定义规格" in page
    seen = re.search(r'name="generation"[^>]*value="(\d+)"', page)[1]
    said = {
        "generation": seen,
        "amount_vcpu": "2",
        "quantity": "1",
        "own-name": "库",
        "own-more_os": "麒麟 V11",
        "justification": BASIS,
    }
    assert client_of(Role.TENANT).send(f"/requests/{both.id}/edit", said).status_code == 302
    with place.book.reading() as tx:
        lines = tx.get_one(Request, both.id).lines
        told = [(one.name, one.asked, one.fields) for one in lines]
        assert told == [("库", {"vcpu": 2}, {"os": "麒麟 V11"}), ("前", {"vcpu": 1}, {"os": "统信 V20"})], (
            "the form loses no line"
        )
    lost = [{**CREATE, "ref": "4"}, {**CREATE, "ref": "4", "amount_vcpu": None, "more_os": "麒麟 V10"}]
    (fault,) = put(place, lost, tmp_path / "c.xlsx", "june").faults
    assert (fault.row, fault.column, fault.code) == (3, "规格", "request.empty")
    long = [{**CREATE, "ref": "3", "more_os": "字" * 501}]
    (fault,) = put(place, long, tmp_path / "b.xlsx", "june").faults
    assert (fault.row, fault.column, fault.code) == (2, "操作系统", "cell.long")


def test_a_preset_fills_in_the_amounts_of_a_row(place, tmp_path):
    with place.book.transaction(Actor("authority1", "主", Role.AUTHORITY)) as tx:
        presets.add(tx, "小型", {VCPU: 2, MEMORY: 4096})
        presets.add(tx, "网络", {ClassCode("bandwidth"): 5})  # this form names no bandwidth: it isn't offered
    bare = {**CREATE, "amount_vcpu": None, "preset": "小型"}
    given = [{**bare, "ref": "1"}, {**bare, "ref": "2", "amount_vcpu": 4, "quantity": 2}]
    found = put(place, given, tmp_path / "a.xlsx", "may")
    assert came(found) == (2, 0, 0, [])
    with place.book.reading() as tx:
        made = [tx.get_one(Request, one).lines[0] for one in found.drafts]
        assert [(one.asked, one.quantity) for one in made] == [
            ({"vcpu": 2, "memory": 4096}, 1),
            ({"vcpu": 4, "memory": 4096}, 2),
        ]
    wrong = [{**bare, "ref": "3", "item": ITEM}, {**bare, "ref": "4", "preset": "网络"}]
    faults = put(place, wrong, tmp_path / "b.xlsx", "june").faults
    assert [(one.row, one.column, one.code) for one in faults] == [
        (2, "规格", "sheet.both"),
        (3, "规格预设", "cell.choice"),
    ]


def test_what_a_register_has_and_what_companies_offer_is_asked_for_in_rows(place, city, clock, tmp_path):
    facts = {"name": "机房", "kind": "room", "place": "三层", "size": ""}
    with place.book.transaction(clerk(place)) as tx:
        room = outside.register(tx, place.department, facts).id
        for where in ("二层", "四层"):
            outside.register(tx, place.department, {**facts, "name": "柜", "place": where})
    chief = Actor("authority1", "主", Role.AUTHORITY)
    with place.book.transaction(chief) as tx:
        rates.enter(tx, "MD-1", "工程师", "人天", Decimal(1500), clock.now.astimezone(ZONE).date())
    row = {"pool": POOL, "justification": BASIS, "more_plan": "一年内迁入"}
    given = [
        {**row, "ref": "1", "entry": "机房"},
        {**row, "ref": "2", "entry": "柜"},
        {**row, "ref": "3", "entry": "别处"},
    ]
    found = put(place, given, tmp_path / "a.xlsx", "may", kind="outside")
    said = [(one.row, one.column, one.code) for one in found.faults]
    assert said == [(3, "云外资源", "sheet.ambiguous_entry"), (4, "云外资源", "sheet.entry")]
    found = put(place, [{**row, "ref": "1", "entry": str(room)}], tmp_path / "b.xlsx", "may", kind="outside")
    with place.book.reading() as tx:
        made = tx.get_one(Request, found.drafts[0])
        assert (made.kind, made.entry_id, made.department_id) == ("outside", room, place.department)

    work = {"pool": POOL, "justification": BASIS, "more_quantity": "2", "more_content": "驻场", "ref": "1"}
    with place.book.reading(clerk(place)) as tx:
        sheet = next(one for one in request_sheets.sheets(tx) if one.name == "labour")
        (label,) = next(one for one in sheet.columns if one.key == "more_service").options
    rows = [{**work, "more_service": label}, {**work, "ref": "2", "more_service": "没有"}]
    found = put(place, rows, tmp_path / "c.xlsx", "may", kind="labour")
    assert [(one.row, one.column, one.code) for one in found.faults] == [(3, "服务项目", "cell.choice")]
    found = put(place, rows[:1], tmp_path / "d.xlsx", "june", kind="labour")
    with place.book.reading() as tx:
        assert tx.get_one(Request, found.drafts[0]).fields["service"] == "MD-1"


def test_a_template_bears_a_number_of_its_own(place, client_of):
    found = set()
    for _again in range(2):
        book = load_workbook(io.BytesIO(client_of(Role.TENANT).get("/requests/sheet/template.xlsx").data))
        found |= {row[1] for row in book["说明"].iter_rows(values_only=True, max_col=2) if row[0] == workbooks.BATCH}
    assert len(found) == 2


def test_drafts_of_others_are_not_ticked(place, client_of):
    for who in (clerk(place), Actor("tenant9", "另", Role.TENANT, place.department)):
        with place.book.transaction(who) as tx:
            ask = requests.Ask(kinds.CREATE, place.department, place.pool, [requests.Line(item_id=place.small)], BASIS)
            requests.draft(tx, ask)
    page = client_of(Role.TENANT).get("/requests/drafts/").text
    boxes = re.findall(r'<input class="form-check-input"[^>]*name="request"[^>]*>', page)
    assert [" checked" in one for one in boxes] == [True, False]
    assert "tenant9" in page


def test_a_text_file_is_one_sheet_and_what_is_none_is_refused(place, client_of, tmp_path):
    tenant = client_of(Role.TENANT)
    text = f'批内编号*,资源池*,vCPU,测算依据*\r\nq1,{POOL},8,"{BASIS}\n两行"\r\n\r\nq2,{POOL},八,{BASIS}\r\n'
    path = tmp_path / "配额.csv"
    path.write_bytes(text.encode("gb18030"))
    assert "请选择它是哪一个表" in sent(tenant, path).text
    page = sent(tenant, path, sheet="quota").text
    assert "有 1 处错误" in page
    assert re.search(r"配额调整</td>.*?>5<.*?vCPU.*?不是数", page, re.S)
    assert sent(tenant, path, sheet="quota", step="sound").location == "/requests/drafts/"
    with place.book.reading() as tx:
        (made,) = tx.scalars(select(Request)).all()
        assert (made.kind, made.lines[0].asked, "两行" in made.justification) == ("quota", {"vcpu": 8}, True)
    path.write_bytes(b"\0\1" * 50)
    assert sent(tenant, path, sheet="quota").status_code == 422
    assert client_of(Role.SUPERVISOR).get("/requests/sheet/").status_code == 403
    found = load_workbook(io.BytesIO(tenant.get("/requests/sheet/template.xlsx").data))
    assert set(found.sheetnames) >= {"新增", "退订", "延期", "配额调整"}
    assert [str(one.sqref) for one in found["新增"].data_validations.dataValidation] == [
        f"{letter}2:{letter}1000" for letter in "BCEM"
    ]


def test_the_command_files_and_hands_in(place, house, settings, clock, monkeypatch, tmp_path):
    command = of_terminal("requests", house, settings, clock, monkeypatch)
    monkeypatch.setattr(together, "MOST", 2)  # of one act: the rest goes in another
    path = written(place, {"create": [{**CREATE, "ref": f"n{n}"} for n in range(3)]}, tmp_path / "a.xlsx")
    assert "only checked" in command("file", path, "--by", "tenant1", "--check").stdout
    told = json.loads(command("file", path, "--by", "tenant1", "--submit", "--json").stdout)
    assert (told["entered"], told["added"], told["submitted"]) == (True, {"新增": 3}, 3)
    told = json.loads(command("file", path, "--by", "tenant1", "--submit", "--json").stdout)
    assert (told["added"], told["same"], told["submitted"]) == ({}, {"新增": 3}, 0)
    assert kept(place)[0] == Counter(in_review=3)
    assert "sheet.who" in command("file", path, "--by", "authority1", code=1).stderr
    assert command("template", "-o", tmp_path / "t.xlsx", "--by", "tenant1").exit_code == 0
