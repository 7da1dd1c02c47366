"""A request kind is one declaration: declared here and nowhere else, it is asked for, judged, delivered and accepted."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from sqlalchemy import select

from providers import orders
from providers.orders import WorkOrder
from quota import requests
from quota.actors import Actor, Role, steward
from quota.directory import catalog
from quota.errors import Invalid, NotFound
from quota.inventory import Resource
from quota.ledger import Holder, entries
from quota.requests import About, Compared, RequestKind, Term, approvals, declarations, kinds, rulebook, rules
from quota.requests.declarations import Lines, RequestField
from quota.requests.rules import RuleFact
from quota.requests.tables import Request
from quota.requests.tasks import for_each_piece
from quota.units import BANDWIDTH, BLOCK, MEMORY, VCPU, Amount, Arch
from tests.console.test_house import check_page
from tests.journeys.test_requests import BASIS, decide, generation, small, state
from tests.suite.outside import ROOT

ENDS = "2026-08-31"
GRANTED: list[int] = []


def not_for_ever(_tx, request):
    """A trial needs a year's end: what a declaration alone cannot say."""
    if request.use_until.year > 2026:
        raise Invalid("trial.long", "试用不跨年", field="use_until")


TRIAL = RequestKind(
    code="trial",
    label="试用",
    position=15,
    lines=Lines(pieces=True, items=True, named=(VCPU,)),
    fields=(RequestField("product", "试用的产品", required=True), RequestField("secret", "涉密", "其他")),
    term=Term.REQUIRED,
    check=not_for_ever,
    signed=lambda request: {"product": request.fields.get("product")},
    facts={"secret": RuleFact(bool, "涉密", False)},
    sees=lambda request: {"secret": request.fields.get("secret") == "是"},
    granted=lambda _tx, request: GRANTED.append(request.id),
    tasks=for_each_piece("create"),
    compares=Compared.NAMED,
    hint="先试后买",
)
PORTS = RequestKind(
    code="ports",
    label="网络策略",
    position=60,
    fields=(RequestField("from", "源地址", required=True), RequestField("to", "目的地址", required=True)),
    headline=("from", "to"),
    hint="开放端口",
)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """Both kinds are known for as long as a test runs."""
    monkeypatch.setattr(declarations, "_REGISTERED", dict(declarations._REGISTERED))
    monkeypatch.setitem(rules.FACTS, "secret", TRIAL.facts["secret"])
    for kind in (TRIAL, PORTS):
        requests.register(kind)
    GRANTED.clear()


def filed(client, address, **fields):
    """The answer to a form sent from ``address``."""
    key = re.search(r'name="key"[^>]*value="([0-9a-f]+)"', client.get(address).text).group(1)
    return client.send(address, {"key": key, "justification": BASIS, "system": "0", **fields})


def handed_in(client, answer):
    number = int(re.search(r"/requests/(\d+)/check", answer.location).group(1))
    return number, client.send(f"/requests/{number}/submit", {"generation": generation(client, number, "/check")})


def test_a_kind_walks_from_its_form_to_its_acceptance(client_of, place, city):
    chief = Actor("authority1", "主", Role.AUTHORITY)
    with place.book.transaction(chief) as tx:
        rulebook.enact(
            tx, "secrets", "涉密的由主管审批", {"fact": "secret", "op": "==", "value": True},
            [{"name": "authority_approval", "role": "authority", "days": 2}], effective_from=tx.now.date(), priority=50,
        )  # fmt: skip
    tenant, address = client_of(Role.TENANT), f"/requests/new/trial?pool={place.pool}"
    assert "先试后买" in tenant.get("/requests/new").text
    refused = filed(tenant, address, **small(place, 2))
    assert refused.status_code == 422
    assert "请填写这一项" in refused.text
    assert "请填写使用期限" in refused.text
    form = {"more_product": "向量数据库", "more_secret": "是", **small(place, 2)}
    late = filed(tenant, address, use_until="2027-01-31", **form)
    assert "试用不跨年" in tenant.get(late.location).text

    assert "8 vCPU" in tenant.send(f"/requests/impact/trial?pool={place.pool}", form).text
    number, done = handed_in(tenant, filed(tenant, address, use_until=ENDS, **form))
    assert done.location.endswith(f"/requests/{number}")
    assert place.balance(Holder.HELD) == 8
    page = tenant.get(f"/requests/{number}").text
    assert "试用的产品" in page
    assert "向量数据库" in page
    assert f"/requests/{number}" in client_of("supervisor1").get("/requests/?kind=trial").text
    assert "涉密" in client_of("authority1").get("/rules/new").text

    for login in ("supervisor1", "supervisor2"):
        assert decide(client_of(login), number).status_code == 302
    assert not GRANTED  # the fact of the kind brought the authority in
    line = re.search(r'name="(quantity-\d+)"', client_of("authority1").get(f"/decisions/{number}").text).group(1)
    decide(client_of("authority1"), number, "approve_part", "先试一台", **{line: "1"})
    assert [number] == GRANTED
    assert (place.balance(Holder.HELD), place.balance(Holder.USED)) == (0, 4)

    with place.book.transaction(steward()) as tx:
        (order,) = orders.place_for_request(tx, requests.request(tx, number))
        assert orders.place_for_request(tx, requests.request(tx, number)) == [order]
        made = order.id
        assert (order.verb, order.name, order.limit_days) == ("create", "应用", 2)
    with place.book.transaction(Actor("provider1", "商", Role.PROVIDER, provider_id=city.companies["jia"])) as tx:
        has = {VCPU: 2, MEMORY: 8 * 1024, BLOCK: 100}
        orders.mark_delivered(tx, made, orders.order(tx, made).generation, external_id="vm-9", has=has)
    seen = generation(tenant, number, "/acceptance")
    assert tenant.send(f"/requests/{number}/acceptance", {"verdict": "accept", "generation": seen}).status_code == 302
    assert state(place, number) == "done"
    with place.book.transaction(steward()) as tx:
        orders.deem_accepted(tx)
        # Named amounts are compared, not the disk that nobody asked for.
        assert tx.get(WorkOrder, made).discrepancy == {"amounts": {"vcpu": [4, 2]}}
    assert "申请延期" in tenant.get(f"/requests/{number}").text  # it lasts until a day, which can be moved
    place.prove()


def test_a_kind_without_lines_ends_with_the_last_signature(client_of, place):
    tenant, address = client_of(Role.TENANT), f"/requests/new/ports?pool={place.pool}"
    form = {"more_from": "10.1.0.0/16", "more_to": "10.2.3.4:443"}
    number, _answer = handed_in(tenant, filed(tenant, address, **form))
    assert "10.1.0.0/16、10.2.3.4:443" in tenant.get("/requests/?kind=ports").text
    supervisor = client_of("supervisor1")
    page = supervisor.get(f"/decisions/{number}").text
    assert "须人工判断" in page
    assert 'value="approve_part"' not in page
    decide(supervisor, number)
    decide(client_of("supervisor2"), number, "return", "目的地址请写到端口")
    # What is asked for stands in its fields: once they change, the signature before is void.
    edit = f"/requests/{number}/edit"
    typed = {"justification": BASIS, "system": "0", "generation": generation(tenant, number, "/edit")}
    tenant.send(edit, {**typed, "more_from": "10.1.0.0/16", "more_to": "10.2.3.4:8443"})
    tenant.send(f"/requests/{number}/submit", {"generation": generation(tenant, number, "/check")})
    with place.book.reading() as tx:
        assert (tx.get(Request, number).round, tx.get(Request, number).current.name) == (2, "form_check")
    decide(supervisor, number)
    decide(client_of("supervisor2"), number)
    assert state(place, number) == "done"
    with place.book.transaction(steward()) as tx:
        assert tx.scalars(select(WorkOrder).where(WorkOrder.request_id == number)).all() == []


def test_what_nobody_delivers_is_given_back_with_the_last_signature(place):
    """Written off: nothing is left for a cloud to do, so what is counted for it is quota again at once."""
    written_off = requests.register(
        RequestKind(code="write_off", label="核销", position=70, about=About.RESOURCE, lines=Lines(wanted=False))
    )
    shape = {VCPU: 4, MEMORY: 8 * 1024}
    machine, clerk = place.standing_machine(shape), Actor("tenant1", "办", Role.TENANT, place.department)
    with place.book.transaction(steward()) as tx:
        entries.use(tx, place.pool, place.department, Amount(shape).of_arch(Arch.AARCH64), key="use:1")
    assert (place.balance(Holder.GRANTED), place.balance(Holder.USED)) == (36, 4)
    line = requests.Line(current=shape, service="vm")
    with place.book.transaction(clerk) as tx:
        ask = requests.Ask(written_off, place.department, place.pool, [line], BASIS, resource_id=machine)
        request = requests.submit(tx, requests.draft(tx, ask), generation=1)
    for login in ("supervisor1", "supervisor2"):
        with place.book.transaction(Actor(login, login, Role.SUPERVISOR)) as tx:
            now = requests.lock(tx, request.id)
            approvals.sign(tx, now, decision=approvals.Decision.APPROVE, generation=now.generation)
    assert state(place, request.id) == "done"
    assert (place.balance(Holder.GRANTED), place.balance(Holder.USED)) == (40, 0)
    place.prove()


def test_what_a_kind_does_not_declare_is_refused(place):
    clerk = Actor("tenant1", "办", Role.TENANT, place.department)

    def ask(kind, **what):
        lines = what.pop("lines", [requests.Line(item_id=place.small)])
        return requests.Ask(kind, place.department, place.pool, lines, BASIS, **what)

    machine = place.standing_machine({VCPU: 4})

    def handed(given):
        with place.book.transaction(clerk) as tx:
            requests.submit(tx, requests.draft(tx, given), generation=1)

    for given, code in (
        (ask(TRIAL, fields={"peak": "2000"}), "request.field"),
        (ask(TRIAL), "request.field_missing"),
        (ask(PORTS, fields={"from": "a", "to": "b"}), "request.line"),
        (ask(PORTS, fields={"from": "a", "to": "b"}, lines=[], resource_id=machine), "request.resource"),
        (ask(kinds.UNSUBSCRIBE, lines=[], use_until=place.clock().date()), "request.use_until"),
    ):
        with pytest.raises(Invalid) as refused:
            handed(given)
        assert refused.value.code == code
    with place.book.reading() as tx:
        assert tx.scalars(select(Request)).all() == []


@pytest.mark.parametrize(
    "other",
    [
        {"code": "create"},
        {"code": "Not a code"},
        {"code": "other", "fields": (RequestField("a", "甲"), RequestField("a", "乙"))},
        {"code": "other", "headline": ("nothing",)},
        {"code": "other", "about": About.TERM},
        {"code": "other", "counts_as": Holder.FREE},
        {"code": "other", "facts": {"vcpu": RuleFact(str, "别的", "")}},
    ],
    ids=["taken", "spelled", "twice", "unsaid", "term", "account", "fact"],
)
def test_a_declaration_that_contradicts_itself_is_not_registered(other):
    known = requests.known()
    with pytest.raises(ValueError, match="request kind"):
        requests.register(replace(PORTS, **other))
    assert requests.known() == known
    with pytest.raises(NotFound):
        requests.declared("other")


@pytest.mark.parametrize("room", ["quota/requests", "providers/orders", "console/pages", "console/words", "templates"])
def test_the_machinery_names_no_kind(room):
    names = "|".join(vars(kinds)[name].code for name in kinds.__all__)
    told = re.compile(
        rf"\bkinds\.[A-Z]+\b|(?:from|import) quota\.requests\.kinds|\bkind\S* (?:==|in|is) \W*[\"'](?:{names})[\"']"
    )
    found = [
        f"{path}: {line}"
        for path in (ROOT / room).rglob("*.*")
        if path.suffix in (".py", ".html") and "kinds" not in path.parts
        for line in path.read_text(encoding="utf-8").splitlines()
        if told.search(line)
    ]
    assert found == []


def lent(client_of, place, city):
    """A machine of 4 vCPU that was granted 4 more until the end of the week, delivered and accepted: its id and the request's."""
    shape = {VCPU: 4, MEMORY: 8 * 1024}
    machine = place.standing_machine(shape)
    with place.book.transaction(steward()) as tx:
        entries.use(tx, place.pool, place.department, Amount(shape).of_arch(Arch.AARCH64), key="use:1")
    tenant, address = client_of(Role.TENANT), f"/requests/new/temporary?resource={machine}"
    assert "临时扩容" in tenant.get(f"/resources/{machine}").text
    form = {"more_occasion": "高考报名", "item": "0", "amount_vcpu": "8"}
    for wrong, said in (
        ({"use_until": "2027-06-30"}, "最长 30 天"),
        ({"use_until": WEEK, "amount_vcpu": "2"}, "只增加"),
    ):
        refused = filed(tenant, address, **form | wrong)
        assert said in tenant.get(refused.location).text
    number, _answer = handed_in(tenant, filed(tenant, address, use_until=WEEK, **form))
    for login in ("supervisor1", "supervisor2"):
        decide(client_of(login), number)
    with place.book.transaction(steward()) as tx:
        (order,) = orders.place_for_request(tx, requests.request(tx, number))
        made = order.id
    deliver(place, city, made, {VCPU: 8})
    seen = generation(tenant, number, "/acceptance")
    tenant.send(f"/requests/{number}/acceptance", {"verdict": "accept", "generation": seen})
    assert (place.balance(Holder.GRANTED), place.balance(Holder.USED)) == (32, 8)
    return machine, number


WEEK = "2026-06-07"


def deliver(place, city, order, has):
    company = Actor("provider1", "商", Role.PROVIDER, provider_id=city.companies["jia"])
    with place.book.transaction(company) as tx:
        orders.mark_delivered(tx, order, orders.order(tx, order).generation, has={MEMORY: 8 * 1024, **has})


def test_what_was_granted_for_a_time_returns_by_itself_unless_it_is_needed(client_of, place, city, clock, monkeypatch):
    _machine, number = lent(client_of, place, city)
    tenant = client_of(Role.TENANT)
    assert "期满自动恢复原规格" in tenant.get(f"/requests/{number}").text

    def over():
        with place.book.transaction(steward()) as tx:
            return [one.id for one in orders.returns.return_all(tx)]

    assert over() == []
    clock.advance(days=10)
    assert over() == []  # nothing is known of its use: a clock makes nothing smaller
    assert "没有足够的用量数据" in client_of(Role.TENANT).get(f"/requests/{number}").text
    for login in (Role.TENANT, "supervisor1"):
        assert "保持现有规格" in client_of(login).get("/requests/notices/").text
    monkeypatch.setattr(orders.returns, "_objections", [])
    (back,) = over()
    assert over() == []
    deliver(place, city, back, {VCPU: 4})
    assert (place.balance(Holder.GRANTED), place.balance(Holder.USED)) == (36, 4)
    with place.book.reading() as tx:
        assert tx.get(WorkOrder, back).resource.actual()[VCPU] == 4
        assert number in orders.returned(tx)
    assert "期满自动恢复原规格" not in client_of(Role.TENANT).get(f"/requests/{number}").text
    place.prove()


def test_the_department_gives_back_before_the_end(client_of, place, city):
    _machine, number = lent(client_of, place, city)
    tenant = client_of(Role.TENANT)
    seen = {"generation": generation(tenant, number)}
    assert client_of("tenant2").send(f"/requests/{number}/give-back", seen).status_code in (403, 404)
    assert tenant.send(f"/requests/{number}/give-back", {"generation": "1"}).status_code == 409
    assert tenant.send(f"/requests/{number}/give-back", seen).status_code == 302
    again = tenant.send(f"/requests/{number}/give-back", seen)
    assert again.status_code == 409
    with place.book.reading() as tx:
        (order,) = tx.scalars(select(WorkOrder).where(WorkOrder.key.startswith("return:"))).all()
        assert (order.verb, order.amounts) == ("resize", {"vcpu": 4})


def test_a_reviewer_reads_what_was_chosen_in_words(client_of, place):
    tenant, address = client_of(Role.TENANT), f"/requests/new/create?pool={place.pool}"
    number, _answer = handed_in(tenant, filed(tenant, address, more_purpose="production", **small(place)))
    page = client_of("supervisor1").get(f"/decisions/{number}").text
    assert re.search(r"使用性质.{0,200}?生产<", page, re.S)
    assert ">production<" not in page


def test_each_line_says_what_its_machines_are(client_of, place):
    tenant, address = client_of(Role.TENANT), f"/requests/new/create?pool={place.pool}"
    said = {
        **small(place, 1), "lines-0-more_os": "麒麟 V10", "lines-0-more_database": "达梦 8", "amount_vcpu": "2", "own-name": "前置",
        "own-more_os": "统信 V20", "more_zone": "互联网区", "more_os": "不限",
    }  # fmt: skip
    long = filed(tenant, address, **said | {"own-more_os": "字" * 501})
    assert long.status_code == 422
    nothing = filed(tenant, address, **{"lines-1-more_os": "麒麟 V10", **small(place, 1)})
    assert "第 2 行写了要求，没有选规格" in nothing.text
    assert "自定义规格写了要求" in filed(tenant, address, **said | {"amount_vcpu": ""}).text

    made = filed(tenant, address, **said)
    number = int(re.search(r"/requests/(\d+)/check", made.location).group(1))
    with place.book.reading() as tx:
        found = tx.get_one(Request, number)
        assert [(one.name, one.fields) for one in found.lines] == [
            ("应用", {"os": "麒麟 V10", "database": "达梦 8"}),
            ("前置", {"os": "统信 V20"}),
        ]
        assert found.fields == {"zone": "互联网区", "os": "不限"}
        assert [[one.said(name) for name in ("os", "zone", "database")] for one in found.lines] == [
            ["麒麟 V10", "互联网区", "达梦 8"],
            ["统信 V20", "互联网区", ""],
        ]
        seen = requests.facts.facts(tx, found, found.takes(), over_quota=False)
        assert seen["filled"] == ["os", "zone"], "of the database one line says nothing"
    for page in ("/check", "/edit"):
        told = tenant.get(f"/requests/{number}{page}").text
        assert "统信 V20" in told, page
        assert "达梦 8" in told, page
    assert handed_in(tenant, made)[1].status_code == 302
    assert "操作系统：麒麟 V10；数据库：达梦 8" in tenant.get(f"/requests/{number}").text
    assert "操作系统：统信 V20" in client_of("supervisor1").get(f"/decisions/{number}").text
    assert "操作系统：统信 V20" in tenant.get("/requests/?export=csv").text

    paper = client_of("supervisor1").get(f"/requests/{number}/paper").text
    check_page("paper", paper)
    assert len(re.findall(r"互联网区", paper)) == 3, "for all, and of each line"
    assert "签字、盖章" in paper

    with place.book.transaction(steward()) as tx:
        request = tx.get_one(Request, number)
        request.state = "approved"
        whose = {one.name: one.payload["asked"] for one in orders.place_for_request(tx, request)}
    assert whose == {
        "应用": {"zone": "互联网区", "os": "麒麟 V10", "database": "达梦 8"},
        "前置": {"zone": "互联网区", "os": "统信 V20"},
    }
    assert "麒麟 V10" in client_of(Role.PROVIDER).get("/orders/1").text


@pytest.mark.parametrize(
    ("fields", "code"),
    [({"rto": "1"}, "request.field"), ({"os": "字" * 501}, "request.field_long"), ({"os": 7}, "request.field_long")],
    ids=["not-of-lines", "long", "no-words"],
)
def test_a_line_says_nothing_but_what_lines_may(place, fields, code):
    ask = requests.Ask(
        kinds.CREATE, place.department, place.pool, [requests.Line(asked={VCPU: 1}, service="vm", fields=fields)], BASIS
    )
    who = Actor("tenant1", "办", Role.TENANT, place.department)
    with pytest.raises(Invalid) as refused, place.book.transaction(who) as tx:
        requests.draft(tx, ask)
    assert refused.value.code == code


def test_a_resize_offers_what_fits_the_thing(client_of, place):
    """A form has a field for what such a thing can have, items of its own service, and refuses what a program sends all the same."""
    with place.book.transaction(Actor("authority1", "主", Role.AUTHORITY)) as tx:
        database = catalog.offer(tx, "db-2", "数据库 2C4G", "database", {VCPU: 2, MEMORY: 4096}, [Arch.AARCH64]).id
    tenant, offered = client_of(Role.TENANT), {}
    for service, has in (
        ("vm", {VCPU: 2, MEMORY: 4096}), ("volume", {BLOCK: 200}), ("bandwidth", {BANDWIDTH: 10}), ("database", {VCPU: 2}),
    ):  # fmt: skip
        thing = place.standing_machine(Amount(has), name=service, kind=service)
        page = tenant.get(f"/requests/new/resize?resource={thing}").text
        items = re.search(r'<select[^>]*name="item".*?</select>', page, re.S)
        named = set(re.findall(r'name="amount_(\w+)"', page))
        offered[service] = named, set(re.findall(r'value="(\d+)"', items[0] if items else "")) - {"0"}
    shapes = {str(place.small), str(place.large)}
    assert offered == {
        "vm": ({"vcpu", "memory", "block"}, shapes),
        "volume": ({"block"}, set()),
        "bandwidth": ({"bandwidth"}, set()),
        "database": ({"vcpu", "memory", "block"}, {str(database)}),
    }
    with place.book.reading() as tx:
        volume = tx.scalars(select(Resource.id).where(Resource.name == "volume")).one()
    draft = filed(tenant, f"/requests/new/resize?resource={volume}", amount_vcpu="4")
    assert "没有vCPU，不能申请增减" in tenant.get(draft.location).text
    assert filed(tenant, f"/requests/new/resize?resource={volume}", item=str(place.small)).status_code == 422
    draft = filed(
        tenant, f"/requests/new/temporary?resource={volume}", amount_vcpu="4", use_until=WEEK, more_occasion="高考"
    )
    assert "不适用于资源" in tenant.get(draft.location).text
