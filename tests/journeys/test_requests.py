"""A request from the first page to acceptance, by the people who touch it, and what happens when they disagree."""

from __future__ import annotations

import csv
import io
import re
from datetime import date, timedelta

import pytest
from sqlalchemy import select

from providers import comments, orders
from providers.orders import WorkOrder
from quota.actors import Actor, Role, steward
from quota.directory import Person, catalog
from quota.inventory import Resource
from quota.ledger import entries, lending
from quota.ledger.tables import Holder
from quota.requests import fulfilment
from quota.requests.tables import Request
from quota.units import BLOCK, MEMORY, VCPU, Amount, Arch, Commodity
from tests.quota.test_attachments import PDF

BASIS = "峰值并发三千,现有四台主机已到七成"


def filed(client, place, kind="create", **fields):
    """File a request by the pages, from the form to the check page; its number in the address."""
    address = f"/requests/new/{kind}?pool={place.pool}"
    page = client.get(address)
    assert page.status_code == 200, page.text
    key = re.search(r'name="key"[^>]*value="([0-9a-f]+)"', page.text).group(1)
    answer = client.send(address, {"key": key, "justification": BASIS, "system": "0", **fields})
    assert answer.status_code == 302, re.findall(r'class="gj-error[^>]*>.*?</p>', answer.text, re.S)
    return int(re.search(r"/requests/(\d+)/check", answer.location).group(1))


def generation(client, request_id, page=""):
    found = re.search(r'name="generation"[^>]*value="(\d+)"', client.get(f"/requests/{request_id}{page}").text)
    return found.group(1)


def handed_in(client, place, **fields):
    number = filed(client, place, **fields)
    answer = client.send(f"/requests/{number}/submit", {"generation": generation(client, number, "/check")})
    assert answer.location.endswith(f"/requests/{number}"), client.get(answer.location).text
    return number


def decide(client, number, decision="approve", reason="", seen=None, **more):
    page = client.get(f"/decisions/{number}").text
    seen = seen or re.search(r'name="generation"[^>]*value="(\d+)"', page).group(1)
    return client.send(f"/decisions/{number}", {"decision": decision, "reason": reason, "generation": seen, **more})


def state(place, number):
    with place.book.reading() as tx:
        return tx.get(Request, number).state


def grown(place, city, clock):
    """Twenty days on which A02 is granted 1 vCPU each, and 8 that A01 borrows of it."""
    cls, other = Commodity(VCPU, Arch.AARCH64), city.departments[1].id
    for day in range(20):
        clock.advance(days=1)
        with place.book.transaction(steward()) as tx:
            entries.grant(tx, place.pool, other, {cls: 1}, key=f"grant:{day}")
    chief = Actor("authority1", "主", Role.AUTHORITY)
    with place.book.transaction(chief) as tx:
        loan = lending.offer(tx, place.pool, cls, 8, other, place.department, days=30, guaranteed_days=3, notice_days=2,
                             reason="重保互助", key="loan")  # fmt: skip
        lending.accept(tx, loan, generation=loan.generation)


def test_what_is_borrowed_is_drawn_before_free_capacity_and_shown(client_of, place, city, clock):
    grown(place, city, clock)
    tenant = client_of(Role.TENANT)
    number = handed_in(tenant, place, **small(place, 13))  # 52 vCPU: 40 of its own, 8 borrowed, 4 of the pool's
    page = client_of("supervisor1").get(f"/decisions/{number}").text
    assert "本单位配额 40 vCPU、借入配额 8 vCPU、资源池空闲 4 vCPU" in page
    # 200 − 40 − 20 − 4 = 136 left, and a vCPU a day goes
    told = re.search(r"通过后余 136 vCPU，照近期增速约 (\S+)用尽；不通过则约 ([-\d]+)", page)
    assert told, page
    assert date.fromisoformat(told[2]) > date.fromisoformat(told[1]) > clock.now.date()
    form = {"key": "0" * 32, "justification": BASIS, "system": "0", **small(place, 2)}
    shown = tenant.send(f"/requests/impact/create?pool={place.pool}", form).text
    assert "配额内 0 vCPU" in shown  # all that there was is held
    assert "由资源池空闲 136 vCPU 中预占" in shown


def test_choosing_a_part_shows_what_it_would_do_with_and_without_scripts(client_of, place, city, clock):
    grown(place, city, clock)
    number = handed_in(client_of(Role.TENANT), place, **small(place, 13))
    checker = client_of("supervisor1")
    with place.book.reading() as tx:
        line = tx.get(Request, number).lines[0].id
    part = {
        "decision": "approve_part",
        f"quantity-{line}": "11",
    }  # 44: 40 of its own, 4 borrowed, nothing of the pool's
    by_script = checker.send(f"/decisions/{number}/impact", part).text
    whole = checker.send(f"/decisions/{number}", {"step": "try", **part}).text
    for told in (by_script, whole):
        assert "部分通过后的额度" in told
        assert "本单位配额 40 vCPU、借入配额 4 vCPU、资源池空闲 0 vCPU" in told
        assert "通过后余 140 vCPU" in told
    assert 'value="11"' in whole  # what was typed stays
    rejected = checker.send(f"/decisions/{number}/impact", {"decision": "reject"}).text
    assert "驳回后的额度" in rejected
    assert "140 vCPU" in rejected
    wrong = checker.send(f"/decisions/{number}/impact", {"decision": "approve_part", f"quantity-{line}": "many"})
    assert wrong.status_code == 200
    assert "不是整数" in wrong.text
    assert state(place, number) == "in_review"  # nothing was signed
    assert place.balance(Holder.HELD) == 52
    assert client_of(Role.TENANT).send(f"/decisions/{number}/impact", part).status_code == 403


def small(place, count=3):
    return {"lines-0-item": str(place.small), "lines-0-quantity": str(count), "lines-0-name": "应用"}


def delivered_by_staff(place, order_ids, name):
    with place.book.reading() as tx:
        company = tx.get_one(WorkOrder, order_ids[0]).provider_id
    operator = Actor("operator", "运维", Role.PROVIDER, provider_id=company)
    for number, order_id in enumerate(order_ids):
        with place.book.transaction(operator) as tx:
            order = tx.get_one(WorkOrder, order_id)
            orders.mark_delivered(tx, order_id, order.generation, external_id=f"{name}{number}")


def states_of(place, order_ids):
    with place.book.reading() as tx:
        return {tx.get_one(WorkOrder, one).state for one in order_ids}


def test_the_whole_walk(client_of, place, clock):
    tenant = client_of(Role.TENANT)
    number = filed(tenant, place, **small(place))
    assert "到期不自动收回" in tenant.get(f"/requests/{number}/edit").text
    check = tenant.get(f"/requests/{number}/check").text
    assert "12 vCPU" in check
    assert "形式审查" in check
    assert place.balance(Holder.GRANTED) == 40  # nothing is held yet
    tenant.send(f"/requests/{number}/submit", {"generation": generation(tenant, number, "/check")})
    assert place.balance(Holder.HELD) == 12
    assert "等我办的申请" in tenant.get("/").text

    checker, reviewer = client_of("supervisor1"), client_of("supervisor2")
    assert f"/decisions/{number}" in checker.get("/").text
    evidence = checker.get(f"/decisions/{number}").text
    assert BASIS in evidence
    assert "须人工判断" in evidence  # nothing is measured here
    assert decide(checker, number).status_code == 302
    assert decide(reviewer, number).location.endswith("/decisions/")
    assert state(place, number) == "approved"
    assert place.balance(Holder.USED) == 12

    with place.book.transaction(steward()) as tx:
        placed = [one.id for one in orders.place_for_request(tx, tx.get_one(Request, number))]
    delivered_by_staff(place, placed, "i-")
    page = tenant.get(f"/requests/{number}").text
    assert f"/requests/{number}/acceptance" in page
    seen = generation(tenant, number, "/acceptance")
    assert tenant.send(f"/requests/{number}/acceptance", {"generation": seen, "verdict": "refuse"}).status_code == 422
    refused = {"generation": seen, "verdict": "refuse", "reason": "少了一台"}
    assert tenant.send(f"/requests/{number}/acceptance", refused).status_code == 302
    assert state(place, number) == "delivering"
    assert states_of(place, placed) == {"delivering"}, "they wait for the company's staff again"
    delivered_by_staff(place, placed, "i-")
    seen = generation(tenant, number, "/acceptance")
    tenant.send(f"/requests/{number}/acceptance", {"generation": seen, "verdict": "accept"})
    assert state(place, number) == "done"
    assert states_of(place, placed) == {"accepted"}, "they were looked at, not deemed accepted"
    page = tenant.get(f"/requests/{number}").text
    for told in ("验收不通过", "少了一台", "验收通过", "提交"):
        assert told in page
    place.prove()


def test_a_part_is_approved_and_the_rest_returns(client_of, place):
    number = handed_in(client_of(Role.TENANT), place, **small(place, 5))
    line = place_line(place, number)
    answer = decide(client_of("supervisor1"), number, "approve_part", "先给两台", **{f"quantity-{line}": "2"})
    assert answer.status_code == 302
    decide(client_of("supervisor2"), number)
    assert place.balance(Holder.USED) == 8
    assert place.balance(Holder.HELD) == 0
    assert place.balance(Holder.GRANTED) == 32
    place.prove()


def place_line(place, number):
    with place.book.reading() as tx:
        return tx.get(Request, number).lines[0].id


@pytest.mark.parametrize(
    ("typed", "said"), [("6", "批准数量须在 0 到 5 之间"), ("两", "不是整数"), ("5", "没有改动任何数量")]
)
def test_a_part_that_makes_no_sense_is_named(client_of, place, typed, said):
    number = handed_in(client_of(Role.TENANT), place, **small(place, 5))
    line = place_line(place, number)
    answer = decide(client_of("supervisor1"), number, "approve_part", "先给一些", **{f"quantity-{line}": typed})
    assert answer.status_code == 422
    assert said in answer.text
    assert f'value="{typed}"' in answer.text
    assert state(place, number) == "in_review"


def test_returned_mended_and_rejected(client_of, place, clock):
    tenant, checker = client_of(Role.TENANT), client_of("supervisor1")
    number = handed_in(tenant, place, **small(place))
    assert decide(checker, number, "return").status_code == 422  # a reason is needed
    assert decide(checker, number, "return", "请补充等保材料").status_code == 302
    assert state(place, number) == "supplement"
    assert "请补充等保材料" in tenant.get(f"/requests/{number}").text
    assert checker.get(f"/decisions/{number}").status_code == 302  # not hers now
    page = tenant.get(f"/requests/{number}/edit").text
    assert BASIS in page
    seen = re.search(r'name="generation"[^>]*value="(\d+)"', page).group(1)
    mended = {"generation": seen, "system": "0", "justification": BASIS + ";等保二级已备案", **small(place, 2)}
    mended |= {"lines-0-name": "数据库", "amount_vcpu": "2", "more_os": "麒麟 V10"}
    assert tenant.send(f"/requests/{number}/edit", mended).status_code == 302
    tenant.send(f"/requests/{number}/submit", {"generation": generation(tenant, number, "/check")})
    assert state(place, number) == "in_review"
    for page in (checker.get(f"/decisions/{number}").text, tenant.get(f"/requests/{number}").text):
        told = re.findall(r"<dt>([^<]+)</dt><dd>(?:<del>([^<]*)</del>.*?)?<ins>([^<]*)</ins>", page)
        assert [row for row in told if row[0] in ("操作系统", "第 1 行", "第 2 行")] == [
            ("操作系统", "", "麒麟 V10"), ("第 1 行", "4C8G × 3 · 应用", "4C8G × 2 · 数据库"), ("第 2 行", "", "2 vCPU"),
            ("第 1 行", "", "4C8G × 3 · 应用"),
        ]  # fmt: skip
    decide(checker, number, "reject", "与立项批复不符")
    assert state(place, number) == "rejected"
    assert place.balance(Holder.HELD) == 0
    assert "与立项批复不符" in tenant.get(f"/requests/{number}").text


def test_people_talk_about_an_open_request_without_sending_it_back(client_of, place):
    tenant, checker = client_of(Role.TENANT), client_of("supervisor1")
    draft = filed(tenant, place, **small(place))
    assert tenant.send(f"/requests/{draft}/remark", {"text": "在吗"}).status_code == 409
    number = handed_in(tenant, place, **small(place))
    form = checker.get(f"/decisions/{number}").text
    seen = re.search(r'name="generation"[^>]*value="(\d+)"', form).group(1)
    asked = checker.send(f"/requests/{number}/remark", {"text": "并发 3000 是怎样测得的？", "to": "decision"})
    assert asked.location.endswith(f"/decisions/{number}")
    assert "并发 3000 是怎样测得的？" in tenant.get(f"/requests/{number}").text

    def told(client):
        return client.get("/requests/notices/").text.count("对申请有新的意见，请查看</td>")

    assert (told(tenant), told(checker)) == (1, 0), "she said it herself"
    tenant.send(f"/requests/{number}/remark", {"text": "压测报告第 3 页"})
    assert "压测报告第 3 页" in checker.get(f"/decisions/{number}").text
    assert (told(tenant), told(checker)) == (1, 1)
    tenant.send(f"/requests/{number}/remark", {"text": " "})
    with place.book.reading() as tx:
        assert [one.text for one in comments.of(tx, f"request:{number}")] == [
            "并发 3000 是怎样测得的？",
            "压测报告第 3 页",
        ]
    for other, code in (("tenant2", 404), (Role.AUDITOR, 403), (Role.PROVIDER, 403)):
        assert client_of(other).send(f"/requests/{number}/remark", {"text": "x"}).status_code == code
    # Nothing about the request has changed: the page that was open is signed.
    assert checker.send(f"/decisions/{number}", {"decision": "approve", "generation": seen}).status_code == 302


def test_a_stale_page_is_refused_and_what_was_typed_is_kept(client_of, place):
    tenant, checker, other = client_of(Role.TENANT), client_of("supervisor1"), client_of("supervisor2")
    number = handed_in(tenant, place, **small(place))
    seen = re.search(r'name="generation"[^>]*value="(\d+)"', other.get(f"/decisions/{number}").text).group(1)
    decide(checker, number, "return", "请补充")
    tenant_seen = generation(tenant, number, "/edit")
    tenant.send(f"/requests/{number}/edit",
                {"generation": tenant_seen, "system": "0", "justification": BASIS + "补充", **small(place)})  # fmt: skip
    tenant.send(f"/requests/{number}/submit", {"generation": generation(tenant, number, "/check")})
    answer = other.send(f"/decisions/{number}", {"decision": "reject", "reason": "看不出必要性", "generation": seen})
    assert answer.status_code == 409
    assert "看不出必要性" in answer.text
    assert state(place, number) == "in_review"


def test_nobody_decides_twice_and_nobody_sees_what_is_not_theirs(client_of, place):
    number = handed_in(client_of(Role.TENANT), place, **small(place))
    checker = client_of("supervisor1")
    decide(checker, number)
    assert checker.get(f"/decisions/{number}").status_code == 302  # the second step is another person's
    stranger = client_of("tenant2")
    for page in ("", "/edit", "/check", "/acceptance"):
        assert stranger.get(f"/requests/{number}{page}").status_code == 404
    assert client_of(Role.PROVIDER).get(f"/requests/{number}").status_code == 403
    tenant = client_of(Role.TENANT)
    assert tenant.get(f"/decisions/{number}").location.endswith(f"/requests/{number}")  # it has no step of it
    assert tenant.send(f"/decisions/{number}", {"decision": "approve", "generation": "3"}).status_code == 403
    for other in (stranger, client_of(Role.PROVIDER)):
        assert other.get(f"/decisions/{number}").status_code == 404
        assert other.send(f"/decisions/{number}", {"decision": "approve", "generation": "3"}).status_code == 404


def test_more_than_the_pool_has_is_said_before_anything_is_held(client_of, place):
    tenant = client_of(Role.TENANT)
    number = filed(tenant, place, **small(place, 100))
    answer = tenant.send(f"/requests/{number}/submit", {"generation": generation(tenant, number, "/check")})
    assert answer.location.endswith(f"/requests/{number}/check")
    assert "不足" in tenant.get(answer.location).text
    assert state(place, number) == "draft"
    assert place.balance(Holder.HELD) == 0


def test_quota_may_be_given_back_and_asked_for(client_of, place):
    tenant = client_of(Role.TENANT)
    number = handed_in(tenant, place, kind="quota", amount_vcpu="-10")
    decide(client_of("supervisor1"), number)
    decide(client_of("supervisor2"), number)
    assert state(place, number) == "done"
    assert place.balance(Holder.GRANTED) == 30
    listed = tenant.get("/requests/?state=all&export=csv").data.decode("utf-8-sig")
    assert [row["vCPU"] for row in csv.DictReader(io.StringIO(listed))] == ["-10"], "exports tell what is returned, too"
    number = handed_in(tenant, place, kind="quota", amount_vcpu="100")
    decide(client_of("supervisor1"), number)
    decide(client_of("supervisor2"), number)
    assert state(place, number) == "in_review"  # over quota and big: the authority signs, too
    decide(client_of(Role.AUTHORITY), number)
    assert place.balance(Holder.GRANTED) == 130
    place.prove()


def test_urging_and_withdrawing(client_of, place):
    tenant = client_of(Role.TENANT)
    number = handed_in(tenant, place, **small(place))
    assert tenant.send(f"/requests/{number}/urge").status_code == 302
    assert tenant.send(f"/requests/{number}/urge").status_code == 409  # once a day
    tenant.send(f"/requests/{number}/withdraw", {"generation": generation(tenant, number)})
    assert state(place, number) == "withdrawn"
    assert place.balance(Holder.GRANTED) == 40


def test_a_form_says_what_is_wrong_and_keeps_what_was_typed(client_of, place):
    tenant = client_of(Role.TENANT)
    address = f"/requests/new/create?pool={place.pool}"
    tenant.get(address)
    wrong = {"justification": "", "lines-0-item": str(place.small), "lines-0-quantity": "99999", "lines-0-name": "前置"}
    answer = tenant.send(address, wrong)
    assert answer.status_code == 422
    assert "请写明测算依据" in answer.text
    assert "数量须为 1 至 10000 的整数" in answer.text
    assert 'value="前置"' in answer.text
    short = filed(tenant, place, justification="要用", **small(place))
    assert "请写明测算依据" in tenant.get(f"/requests/{short}/check").text
    empty = filed(tenant, place)
    assert "请至少填写一项资源" in tenant.get(f"/requests/{empty}/check").text
    assert tenant.get("/requests/new/nonsense").status_code == 404
    assert tenant.get("/requests/new/create?pool=999").status_code == 404
    assert tenant.get("/requests/new/resize?resource=999").status_code == 404


def test_what_is_typed_is_reckoned_at_once(client_of, place):
    tenant = client_of(Role.TENANT)
    tenant.get("/requests/new")
    answer = tenant.send(f"/requests/impact/create?pool={place.pool}", small(place, 11))
    assert "44 vCPU" in answer.text
    assert "超出 4 vCPU" in answer.text


def test_the_same_form_twice_is_one_request(client_of, place):
    tenant = client_of(Role.TENANT)
    first, again = (filed(tenant, place, key="a" * 32, **small(place)) for _round in range(2))
    assert first == again


def test_lists_are_filtered_exported_and_found(client_of, place):
    tenant, supervisor = client_of(Role.TENANT), client_of(Role.SUPERVISOR)
    number = handed_in(tenant, place, **small(place))
    assert "SQ-2026-" in supervisor.get("/requests/?state=in_review&turn=mine").text
    assert "没有符合筛选条件" in supervisor.get("/requests/?state=done").text
    assert b"SQ-2026-" in supervisor.get("/requests/?export=csv").data
    assert f"/requests/{number}" in supervisor.get("/search?q=SQ-2026").text
    assert "SQ-2026" not in client_of("tenant2").get("/requests/").text


def test_a_request_made_by_a_machine_of_the_department(client_of, place):
    from quota.inventory import Resource
    from quota.ledger import entries

    with place.book.transaction(Actor("s", "s", Role.SYSTEM)) as tx:
        what = Amount({VCPU: 8, MEMORY: 16 * 1024}).of_arch(Arch.AARCH64)
        entries.use(tx, place.pool, place.department, what, key="use:1")
        row = Resource(
            pool_id=place.pool, external_id="vm-1", name="旧主机", kind="vm", arch="aarch64", state="running",
            amounts={"vcpu": 8, "memory": 16 * 1024}, booked={"vcpu": 8, "memory": 16 * 1024},
            department_id=place.department, first_seen_at=tx.now,
        )  # fmt: skip
        tx.add(row)
        tx.flush()
        machine = row.id
    tenant = client_of(Role.TENANT)
    assert f"/requests/new/unsubscribe?resource={machine}" in tenant.get(f"/resources/{machine}").text
    for kind, fields in (("unsubscribe", {}), ("resize", {"item": str(place.small)})):
        address = f"/requests/new/{kind}?resource={machine}"
        tenant.get(address)
        answer = tenant.send(address, {"key": kind * 3, "justification": BASIS, "system": "0", **fields})
        assert answer.status_code == 302, answer.text
        assert client_of("tenant2").get(address).status_code == 404
    check = tenant.get(answer.location).text
    assert "4C8G" in check
    number = int(re.search(r"/requests/(\d+)/check", answer.location).group(1))
    tenant.send(f"/requests/{number}/submit", {"generation": generation(tenant, number, "/check")})
    decide(client_of("supervisor1"), number)
    decide(client_of("supervisor2"), number)
    with place.book.transaction(steward()) as tx:
        fulfilment.delivered(tx, number)
    assert place.balance(Holder.USED) == 4
    place.prove()


def test_a_term_is_reminded_of_extended_and_found(client_of, place, clock):
    from quota.requests import notices

    tenant = client_of(Role.TENANT)
    ends = clock.now.date() + timedelta(days=20)
    number = handed_in(tenant, place, use_until=ends.isoformat(), **small(place, 1))
    assert "申请延期" not in tenant.get(f"/requests/{number}").text
    assert tenant.get(f"/requests/new/extend?request={number}").status_code == 404  # nothing is granted yet
    for login in ("supervisor1", "supervisor2"):
        decide(client_of(login), number)
    with place.book.transaction(steward()) as tx:
        assert len(notices.remind_of_terms(tx)) == 1
        assert notices.remind_of_terms(tx) == []
    assert "使用期限将到" in tenant.get("/").text
    assert f"/requests/{number}" in client_of(Role.SUPERVISOR).get("/requests/?term=30").text
    assert f"/requests/{number}" not in client_of(Role.SUPERVISOR).get("/requests/?term=7").text

    address = f"/requests/new/extend?request={number}"
    assert address in tenant.get(f"/requests/{number}").text
    assert client_of("tenant2").get(address).status_code == 404
    assert str(ends) in tenant.get(address).text
    typed = {"key": "e" * 32, "justification": "活动延至年底,高峰并发不减"}
    assert "请填写新的使用期限" in tenant.send(address, typed).text
    answer = tenant.send(address, {**typed, "use_until": ends.isoformat()})
    early = tenant.get(answer.location).text
    assert "新的期限须晚于现在的期限" in early
    longer = int(re.search(r"/requests/(\d+)/check", answer.location).group(1))
    later = ends + timedelta(days=60)
    mended = {"justification": typed["justification"], "use_until": later.isoformat()}
    assert tenant.get(f"/requests/{longer}/edit").status_code == 200
    tenant.send(f"/requests/{longer}/edit", {**mended, "generation": generation(tenant, longer, "/edit")})
    assert "交付" not in tenant.get(f"/requests/{longer}/check").text
    tenant.send(f"/requests/{longer}/submit", {"generation": generation(tenant, longer, "/check")})
    assert "办结前期限到了也不收回" in tenant.get(f"/requests/{number}").text
    page = client_of("supervisor1").get(f"/decisions/{longer}").text
    assert "部分通过" not in page
    assert str(later) in page
    for login in ("supervisor1", "supervisor2"):
        assert decide(client_of(login), longer).status_code == 302
    assert state(place, longer) == "done"
    history = tenant.get(f"/requests/{number}").text
    assert "延长使用期限" in history
    assert str(later) in history
    assert f"延期至 {later}" in tenant.get("/requests/?kind=extend").text
    assert place.balance(Holder.USED) == 4
    place.prove()


def test_what_was_given_back_is_not_reminded_of(client_of, place, clock):
    from providers import orders
    from providers.orders import tables
    from quota.inventory import Resource
    from quota.requests import notices

    ends = clock.now.date() + timedelta(days=20)
    number = handed_in(client_of(Role.TENANT), place, use_until=ends.isoformat(), **small(place, 2))
    for login in ("supervisor1", "supervisor2"):
        decide(client_of(login), number)
    machines = []
    with place.book.transaction(steward()) as tx:
        for order in orders.place_for_request(tx, tx.get_one(Request, number)):
            row = Resource(
                pool_id=place.pool, external_id=order.number, kind="vm", arch="aarch64", state="running",
                department_id=place.department, first_seen_at=tx.now,
            )  # fmt: skip
            tx.add(row)
            tx.flush()
            order.resource_id = row.id
            machines.append(row.id)
    for gone, left in ((machines[0], True), (machines[1], False)):
        with place.book.transaction(steward()) as tx:
            tx.get_one(Resource, gone).gone_at = tx.now
        listed = client_of(Role.SUPERVISOR).get("/requests/?term=30").text
        assert (f"/requests/{number}" in listed) is left
        with place.book.transaction(steward()) as tx:
            assert (number not in tables.returned(tx)) is left
    with place.book.transaction(steward()) as tx:
        assert notices.remind_of_terms(tx, tables.returned(tx)) == []
    assert "申请延期" not in client_of(Role.TENANT).get(f"/requests/{number}").text


def test_evidence_of_a_request_is_put_forward_while_it_is_with_its_department(client_of, place):
    tenant = client_of(Role.TENANT)
    number = filed(tenant, place, **small(place, 1))
    add = f"/attachments/request/{number}/add"
    assert add in tenant.get(f"/requests/{number}").text

    def sent(client, name, content):
        return client.send(add, {"files": (io.BytesIO(content), name)}, content_type="multipart/form-data")

    refused = sent(tenant, "批复.pdf", b"<html>")
    assert refused.status_code == 422
    assert "文件“批复.pdf”" in refused.text
    assert "请选择文件" in tenant.send(add).text
    assert sent(tenant, "批复.pdf", PDF).status_code == 302
    assert client_of("tenant2").get(add).status_code == 404
    assert client_of("tenant2").get("/attachments/1").status_code == 404
    assert client_of(Role.SUPERVISOR).get(add).status_code == 409
    tenant.send(f"/requests/{number}/submit", {"generation": generation(tenant, number, "/check")})
    assert sent(tenant, "迟到.pdf", PDF).status_code == 409, "those who sign have seen what there is"
    page = client_of(Role.SUPERVISOR).get(f"/decisions/{number}").text
    assert "批复.pdf" in page
    assert client_of(Role.AUDITOR).get("/attachments/1").data == PDF
    assert tenant.get("/attachments/wallet/1/add").status_code == 404


def test_who_signs_is_told_that_the_term_has_passed_and_gives_it_anew(client_of, place, clock):
    until = clock.now.date() + timedelta(days=10)
    number = handed_in(client_of(Role.TENANT), place, use_until=until.isoformat(), **small(place))
    assert "新的使用期限" not in client_of("supervisor1").get(f"/decisions/{number}").text
    clock.advance(days=15)
    checker = client_of("supervisor1")
    page = checker.get(f"/decisions/{number}").text
    assert f"申请的使用期限 {until} 已过" in page
    new = clock.now.date() + timedelta(days=10)
    assert f'value="{new}"' in page, "as long as was asked for"
    refused = decide(checker, number, use_until="")
    assert refused.status_code == 422
    assert "请填写新的使用期限" in refused.text
    assert decide(checker, number, use_until=new.isoformat()).status_code == 302
    assert decide(client_of("supervisor2"), number).location.endswith("/decisions/")
    with place.book.reading() as tx:
        assert tx.get(Request, number).use_until == new
    assert str(new) in client_of(Role.TENANT).get(f"/requests/{number}").text


def leave_one_supervisor(place, client_of) -> None:
    with place.book.reading() as tx:
        other = tx.scalar(select(Person.id).where(Person.login == "supervisor2"))
    assert client_of(Role.SYSADMIN).send(f"/settings/people/{other}/active", {"active": "0"}).status_code == 302


def test_a_second_step_by_one_person_is_refused_in_words_that_say_who_may(client_of, place):
    number = handed_in(client_of(Role.TENANT), place, **small(place))
    checker = client_of("supervisor1")
    decide(checker, number)
    told = checker.get(f"/decisions/{number}", follow_redirects=True).text
    assert "两个步骤不能由一人办理" in told
    assert "可由以下人员办理" in told
    chief = client_of(Role.AUTHORITY)
    assert "由主管部门接办" not in chief.get(f"/requests/{number}").text
    taking = {"generation": generation_of(place, number), "reason": "急"}
    assert chief.send(f"/requests/{number}/take", taking).status_code == 409  # there is another supervisor


def generation_of(place, number) -> int:
    with place.book.reading() as tx:
        return tx.get(Request, number).generation


def test_a_city_with_one_supervisor_is_not_stuck(client_of, place):
    leave_one_supervisor(place, client_of)
    number = handed_in(client_of(Role.TENANT), place, **small(place))
    chief = client_of(Role.AUTHORITY)
    checker = client_of("supervisor1")
    assert "无人可办的技术评审" not in chief.get("/").text  # the form check is still somebody's
    decide(checker, number)
    told = checker.get(f"/requests/{number}").text
    assert "可由主管部门接办" in told
    assert "无人可办的技术评审" in chief.get("/").text
    assert "由主管部门接办" in chief.get(f"/requests/{number}").text
    seen = generation_of(place, number)
    assert checker.send(f"/requests/{number}/take", {"generation": seen, "reason": "急"}).status_code == 403
    assert chief.send(f"/requests/{number}/take", {"generation": seen, "reason": " "}).status_code == 422
    answer = chief.send(f"/requests/{number}/take", {"generation": seen, "reason": "监督方只有一人"})
    assert answer.location.endswith(f"/decisions/{number}")
    assert decide(chief, number).status_code == 302
    assert state(place, number) == "approved"
    assert "监督方只有一人" in chief.get(f"/requests/{number}").text
    assert "无人可办的技术评审" not in chief.get("/").text


def test_pieces_that_are_an_amount_are_one_order(client_of, place):
    with place.book.transaction(steward()) as tx:
        shape = {BLOCK: 1}
        item = catalog.offer(tx, "volume-1g", "云硬盘 1 GB", "volume", shape, [Arch.ANY], unit="GB·月").id
        disk = catalog.offer(tx, "volume-100g", "云硬盘 100 GB", "volume", {BLOCK: 100}, [Arch.ANY]).id
    number = handed_in(
        client_of(Role.TENANT), place,
        **{"lines-0-item": str(item), "lines-0-quantity": "200", "lines-0-name": "数据",
           "lines-1-item": str(disk), "lines-1-quantity": "2", "lines-1-name": "备份"},
    )  # fmt: skip
    for who in ("supervisor1", "supervisor2", "authority1"):
        decide(client_of(who), number)
    with place.book.transaction(steward()) as tx:
        placed = orders.place_for_request(tx, tx.get_one(Request, number))
        assert [(one.name, one.amounts) for one in placed] == [
            ("数据", {"block": 200}), ("备份-01", {"block": 100}), ("备份-02", {"block": 100}),
        ]  # fmt: skip
        assert [one.id for one in orders.place_for_request(tx, tx.get_one(Request, number))] == [1, 2, 3]
    assert place.balance(Holder.USED, cls=Commodity(BLOCK, Arch.ANY)) == 400


def test_what_outlives_its_term_is_a_difference(client_of, place, clock):
    tenant, supervisor = client_of(Role.TENANT), client_of(Role.SUPERVISOR)
    ends = clock.now.date() + timedelta(days=20)
    number = handed_in(tenant, place, use_until=ends.isoformat(), **small(place, 1))
    for login in ("supervisor1", "supervisor2"):
        decide(client_of(login), number)
    with place.book.transaction(steward("delivery")) as tx:
        (order,) = orders.place_for_request(tx, tx.get_one(Request, number))
        machine = Resource(
            pool_id=place.pool, external_id="i-9", name="应用-1", kind="vm", arch="aarch64", state="running",
            department_id=place.department, basis=f"order:{order.id}", first_seen_at=tx.now,
        )  # fmt: skip
        tx.add(machine)
    assert "应用-1" not in supervisor.get("/inventories/drift?what=expired").text
    clock.advance(days=21)
    drift = client_of(Role.SUPERVISOR).get("/inventories/drift?what=expired").text
    assert "应用-1" in drift
    assert "使用期限已过，仍在云上" in drift
