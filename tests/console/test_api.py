"""The API: the console's lists and acts for programs, by token, with the same rights and refusals."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as parquet
import pytest
from flask import Flask
from flask.testing import FlaskClient
from icalendar import Calendar
from limits import RateLimitItemPerMinute
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from console.accounts import access_rules, accounts
from console.api import ApiToken, TokenKind, door, operations, tokens
from console.api.tables import ApiKeyUse
from quota.actors import Role, steward
from quota.audit import AuditRecord
from quota.db import Book
from quota.directory import Person
from quota.errors import Invalid
from quota.requests import Request
from tests.city import CONSOLE_POOL, City

ROOT = "/api/v1"


class Program:
    """A program with a token."""

    def __init__(self, client: FlaskClient, token: str) -> None:
        self.client, self.token = client, token

    def ask(self, method: str, path: str, **more: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {self.token}", **more.pop("headers", {})}
        return self.client.open(f"{ROOT}{path}", method=method, headers=headers, **more)

    def get(self, path: str, **more: Any) -> TestResponse:
        return self.ask("GET", path, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> TestResponse:
        return self.ask("POST", path, json={} if body is None else body, **more)


@pytest.fixture
def place(house: Book, city: City) -> City:
    """The city with a pool, rules and quota of the first department."""
    found = city.copied(house)
    found.add(CONSOLE_POOL)
    return found


@pytest.fixture
def scopes(app: Flask) -> Callable[[Role], list[str]]:
    return lambda role: operations.scopes_of(door.gate(app).operations.values(), role)


@pytest.fixture
def program(app: Flask, house: Book, scopes: Any) -> Callable[..., Program]:
    """``program("tenant1")``: one that may do all that the person may; ``allowed`` narrows it."""

    def made(login: str, allowed: list[str] | None = None, days: int = 30) -> Program:
        with house.reading() as tx:
            who = tx.scalars(select(Person).where(Person.login == login)).one()
            actor = who.actor("127.0.0.1")
        with house.transaction(actor) as tx:
            person = accounts.person_of(tx, login)
            wanted = scopes(Role(who.role)) if allowed is None else allowed
            _row, secret = tokens.make(tx, person, "test", wanted, days, TokenKind.PERSONAL)
        return Program(app.test_client(), secret)

    return made


def told(answer: TestResponse, status: int) -> dict[str, Any]:
    """The problem that an answer is; its form is that of RFC 9457."""
    assert answer.status_code == status, answer.get_data(as_text=True)
    assert answer.mimetype == "application/problem+json"
    found: dict[str, Any] = answer.get_json()
    assert found["status"] == status
    assert found["detail"]
    assert found["type"] == f"urn:guanjia:{found['code']}"
    return found


def drafted(one: Program, place: City, key: str, **more: Any) -> TestResponse:
    body = {
        "justification": "年报系统在每年三月集中申报期间需要扩容,按去年峰值测算",
        "amount_vcpu": 4,
        "amount_memory": 8,
        **more,
    }
    return one.post(f"/requests/new/create?pool={place.pool}", body, headers={"Idempotency-Key": key})


def test_a_list_is_the_pages_list(program, city):
    answer = program("supervisor1").get("/departments?sort=name")
    page = answer.get_json()
    assert answer.status_code == 200
    assert page["total"] == len(page["items"]) == 2
    assert [one["name"] for one in page["items"]] == ["市教育局", "市水务局"]
    assert {"id", "code", "state", "links"} <= page["items"][0].keys()


def test_drafts_of_which_none_was_handed_in_are_a_refusal(program, place):
    tenant = program("tenant1")
    assert "没有编号为 999 的申请" in told(tenant.post("/requests/drafts", {"request": ["999:1"]}), 409)["detail"]
    drafted(tenant, place, "handed-2026-0001")
    with place.book.reading() as tx:
        (one,) = tx.scalars(select(Request)).all()
    answer = tenant.post("/requests/drafts", {"request": [f"{one.id}:{one.generation}", "999:1"]})
    assert answer.status_code == 200
    assert len(answer.get_json()["said"]) == 2


def test_a_request_is_filed_and_followed(program, place):
    tenant, supervisor = program("tenant1"), program("supervisor1")
    made = drafted(tenant, place, "filed-2026-0001")
    assert made.status_code == 200, made.get_json()
    path = made.get_json()["location"].removeprefix(ROOT)
    draft = tenant.get(path)
    assert draft.get_json()["state"] == "draft"
    assert draft.get_json()["lines"][0]["asked"] == {"vcpu": 4, "memory": 8192}
    sent = tenant.post(f"{path}/submit", headers={"If-Match": draft.headers["ETag"]})
    assert sent.status_code == 200, sent.get_json()
    assert sent.get_json()["location"] == f"{ROOT}{path}"
    one = supervisor.get(path).get_json()
    assert one["state"] == "in_review"
    assert one["turn"] == "supervisor"
    waiting = supervisor.get("/decisions").get_json()["items"]
    assert [each["id"] for each in waiting] == [one["id"]]
    body = {"decision": "reject", "reason": "依据不足", "generation": one["generation"]}
    assert supervisor.post(f"/decisions/{one['id']}", body).status_code == 200
    assert tenant.get(path).get_json()["state"] == "rejected"


def test_the_same_key_and_body_is_carried_out_once(program, place):
    tenant = program("tenant1")
    first, again = drafted(tenant, place, "filed-2026-0001"), drafted(tenant, place, "filed-2026-0001")
    assert again.get_json() == first.get_json()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert tenant.get("/requests").get_json()["total"] == 1
    other = drafted(tenant, place, "filed-2026-0001", amount_vcpu=8)
    assert told(other, 422)["code"] == "key.reused"
    assert told(tenant.post("/requests/1/urge", headers={"Idempotency-Key": "short"}), 422)["code"] == "key.shape"


def test_a_refusal_frees_its_key(program, place):
    tenant, key = program("tenant1"), "mended-2026-0001"
    wrong = told(drafted(tenant, place, key, justification=""), 422)
    assert wrong["code"] == "form.unfilled"
    assert wrong["errors"][0]["field"] == "justification"
    assert drafted(tenant, place, key).status_code == 200


def test_what_changed_meanwhile_is_not_overwritten(program, place):
    tenant = program("tenant1")
    path = drafted(tenant, place, "filed-2026-0001").get_json()["location"].removeprefix(ROOT)
    before = tenant.get(path).headers["ETag"]
    assert tenant.get(path, headers={"If-None-Match": before}).status_code == 304
    assert told(tenant.post(f"{path}/submit"), 428)["code"] == "precondition.missing"
    assert tenant.post(f"{path}/submit", headers={"If-Match": before}).status_code == 200
    assert tenant.get(path, headers={"If-None-Match": before}).status_code == 200
    assert told(tenant.post(f"{path}/withdraw", headers={"If-Match": before}), 412)["code"] == "request.stale"
    assert told(tenant.post(f"{path}/urge", headers={"If-Match": before}), 422)["code"] == "precondition.unfit"
    now = tenant.get(path).get_json()["generation"]
    assert tenant.post(f"{path}/withdraw", {"generation": now}).status_code == 200


def test_a_tenant_never_sees_anothers(program, place):
    one, other = program("tenant1"), program("tenant2")
    path = drafted(one, place, "filed-2026-0001").get_json()["location"].removeprefix(ROOT)
    assert told(other.get(path), 404)["code"] == "row.none"
    assert told(other.post(f"{path}/submit", {"generation": 1}), 404)["code"] == "request.none"
    assert other.get("/requests").get_json()["items"] == []
    assert told(other.get("/departments"), 403)["code"] == "role.missing"


def test_a_token_does_no_more_than_its_scopes(program, place):
    reader = program("tenant1", ["requests:read"])
    assert reader.get("/requests").status_code == 200
    assert told(drafted(reader, place, "filed-2026-0001"), 403)["code"] == "token.scope"
    assert told(reader.get("/resources"), 403)["code"] == "token.scope"


@pytest.mark.parametrize(
    "shown", ["", "Basic dGVuYW50MTp4", "Bearer", "Bearer gj_000000000000_x", "Bearer " + "x" * 5000]
)
def test_who_shows_no_good_token_is_nobody(client, shown):
    answer = client.get(f"{ROOT}/requests", headers={"Authorization": shown} if shown else {})
    assert told(answer, 401)["code"] in ("token.missing", "token.unknown")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_cookies_open_nothing_and_are_not_set(client_of, program):
    page = client_of(Role.SUPERVISOR)
    assert told(page.get(f"{ROOT}/departments"), 401)["code"] == "token.missing"
    assert "Set-Cookie" not in program("supervisor1").get("/departments").headers
    assert page.get("/departments/").status_code == 200


def test_a_token_ends_with_its_time_its_person_and_its_revocation(program, house, clock):
    one, other, last = program("supervisor1"), program("supervisor2"), program("auditor1", days=30)
    with house.transaction(actor_of(house, "supervisor1")) as tx:
        tokens.revoke(tx, 1)
    assert told(one.get("/departments"), 401)["code"] == "token.unknown"
    with house.transaction(actor_of(house, "sysadmin1")) as tx:
        accounts.activate(tx, accounts.person_of(tx, "supervisor2"), active=False)
    assert told(other.get("/departments"), 401)["code"] == "token.unknown"
    assert last.get("/departments").status_code == 200
    clock.advance(days=31)
    assert told(last.get("/departments"), 401)["code"] == "token.unknown"


def test_what_is_done_by_a_token_says_so_in_the_trail(program, place, house):
    drafted(program("tenant1"), place, "filed-2026-0001")
    with house.reading() as tx:
        token = tx.scalars(select(ApiToken)).one()
        record = tx.scalars(select(AuditRecord).where(AuditRecord.action == "request.draft")).one()
        made = tx.scalars(select(AuditRecord).where(AuditRecord.action == "token.make")).one()
    assert record.actor == "tenant1"
    assert record.address == f"127.0.0.1 api:{token.prefix}"
    assert token.used_at is not None
    assert token.used_from == "127.0.0.1"
    assert token.digest not in str(made.after)


def actor_of(book: Book, login: str) -> Any:
    with book.reading() as tx:
        return tx.scalars(select(Person).where(Person.login == login)).one().actor("127.0.0.1")


BODIES = [
    ("[]", "body.json"), ("null", "body.json"), ("{", "body.json"), ('"x"', "body.json"), ("[" * 5000, "body.json"),
    ('{"generation": "1"}', "form.unfilled"), ('{"generation": 1e3}', "form.unfilled"),
    ('{"generation": 99999999999999}', "form.unfilled"), ('{"generation": 1, "other": 1}', "form.unfilled"),
    ('{"generation": 1, "reason": "\\u0000"}', "text.nul"),
    ('{"a": [[[[[[[[[[1]]]]]]]]]]}', "body.deep"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "code"), BODIES)
def test_a_hostile_body_is_refused_by_its_place(program, place, body, code):
    one = program("authority1")
    answer = one.ask("POST", "/requests/1/take", data=body, content_type="application/json")
    assert told(answer, 422)["code"] == code


def test_a_body_that_is_no_json_is_refused(program):
    one = program("authority1")
    answer = one.ask("POST", "/requests/1/take", data={"generation": "1"})
    assert told(answer, 415)
    large = one.ask("POST", "/requests/1/take", data="x" * 5_000_000, content_type="application/json")
    assert told(large, 413)


def test_a_parameter_that_there_is_not_is_refused(program):
    one = program("supervisor1")
    for asked in ("nonsense=1", "sort=nonsense", "state=nonsense", "size=0", "page=x", "export=pdf"):
        assert told(one.get(f"/requests?{asked}"), 422)["errors"][0]["field"] == asked.partition("=")[0]


def test_refusals_are_in_the_language_that_is_asked_for(program):
    one = program("supervisor1")
    chinese = told(one.get("/requests/9"), 404)
    english = told(one.get("/requests/9", headers={"Accept-Language": "en-GB, en;q=0.9"}), 404)
    assert chinese["code"] == english["code"]
    assert chinese["detail"] != english["detail"]
    assert english["detail"].isascii()


def test_what_there_is_not_is_a_problem_too(program):
    assert told(program("supervisor1").get("/no/such/thing"), 404)
    assert told(program("supervisor1").ask("DELETE", "/requests"), 405)


def test_any_list_is_a_file_as_well(program):
    one = program("supervisor1")
    lines = one.get("/departments?export=csv").get_data().decode("utf-8-sig").splitlines()
    assert len(lines) == 3
    table = parquet.read_table(io.BytesIO(one.get("/departments?export=parquet").get_data()))
    assert table.num_rows == 2
    assert {"name", "code", "people"} <= set(table.column_names)
    assert table.column("people").to_pylist() == [2, 2] or table.schema.field("people").type == "int64"


def test_a_page_of_a_list_has_its_size(program):
    one = program("supervisor1")
    page = one.get("/departments?size=1&page=2&sort=-code").get_json()
    assert (page["total"], page["pages"], page["page"], page["size"]) == (2, 2, 2, 1)
    assert [each["code"] for each in page["items"]] == ["A01"]


def test_too_many_requests_are_told_when_to_come_again(app, program):
    one = program("supervisor1")
    door.gate(app).per_token = RateLimitItemPerMinute(3)
    answers = [one.get("/departments").status_code for _time in range(3)]
    assert answers == [200, 200, 200]
    late = one.get("/departments")
    assert told(late, 429)["code"] == "api.often"
    assert 1 <= int(late.headers["Retry-After"]) <= 60


def test_strangers_do_not_try_tokens_out(app, client):
    door.gate(app).per_stranger = RateLimitItemPerMinute(2)
    tries = [client.get(f"{ROOT}/requests", headers={"Authorization": "Bearer gj_1_2"}).status_code for _ in range(4)]
    assert tries == [401, 401, 429, 429]


def test_a_service_acts_once_two_administrators_let_it(app, client_of, house, place):
    system, security = client_of(Role.SYSADMIN), client_of(Role.SECADMIN)
    entered = system.send("/settings/tokens/services/new", {
        "login": "report-platform", "name": "报表平台", "role": "tenant", "department": str(place.departments[0].id),
        "provider": "0"})  # fmt: skip
    assert entered.status_code == 302
    made = system.send(entered.location, {"name": "nightly", "days": "30", "scopes": ["requests:read", "requests:act"]})
    secret = SECRET.search(made.get_data(as_text=True))
    assert secret is not None
    one = Program(app.test_client(), secret[1])
    assert told(one.get("/requests"), 401)
    assert system.send("/settings/tokens/1/confirm").status_code == 403
    with house.reading() as tx:
        who = accounts.person_of(tx, "report-platform")
    assert security.send("/settings/tokens/1/confirm").status_code == 302
    assert told(one.get("/requests"), 401), "its role is not granted yet"
    granted = security.send(f"/settings/people/{who.id}/grant", {
        "role": "tenant", "department": str(place.departments[0].id), "provider": "0"})  # fmt: skip
    assert granted.status_code == 302
    assert drafted(one, place, "filed-2026-0001").status_code == 200
    with house.reading() as tx:
        record = tx.scalars(select(AuditRecord).where(AuditRecord.action == "request.draft")).one()
    assert record.actor == "report-platform"
    assert app.test_client().log_in("report-platform", "").status_code == 422


def test_a_service_enrols_nothing_where_its_role_needs_a_key(app, house, program):
    with house.transaction(actor_of(house, "sysadmin1")) as tx:
        who = accounts.enrol_service(tx, "screen", "大屏", Role.AUTHORITY, department=None, provider=None)
        row, secret = tokens.make(tx, who, "screen", ["quota:read"], 30, TokenKind.PERSONAL)
    with house.transaction(actor_of(house, "secadmin1")) as tx:
        accounts.grant(tx, accounts.person(tx, who.id), Role.AUTHORITY)
        tokens.confirm(tx, row.id)
    with house.transaction(steward("test")) as tx:
        access_rules.enact(
            tx, second={Role.AUTHORITY}, keys={Role.AUTHORITY}, grace_days=0, proof_minutes=0, password_days=0,
            allowed={}, reason="试",
        )  # fmt: skip
    answer = Program(app.test_client(), secret).get("/departments")
    assert answer.status_code == 200, answer.text
    assert told(program("authority1").get("/departments"), 403)["code"] == "factor.first", "as it is of people"


def test_a_service_is_no_administrator(client_of, house):
    system = client_of(Role.SYSADMIN)
    refused = system.send("/settings/tokens/services/new", {"login": "robot", "name": "r", "role": "secadmin",
                                                             "department": "0", "provider": "0"})  # fmt: skip
    assert refused.status_code == 422
    with house.transaction(actor_of(house, "sysadmin1")) as tx, pytest.raises(Invalid) as raised:
        accounts.enrol_service(tx, "robot", "robot", Role.SECADMIN, department=None, provider=None)
    assert raised.value.code == "service.role"


def test_a_token_of_ones_own_is_shown_once_and_revoked(client_of, app):
    page = client_of(Role.SUPERVISOR)
    offered = page.get("/settings/tokens/new").get_data(as_text=True)
    assert 'value="requests:act"' in offered
    tenant = client_of(Role.TENANT)
    assert 'value="settings:act"' not in tenant.get("/settings/tokens/new").get_data(as_text=True)
    assert tenant.send("/settings/tokens/new", {"name": "x", "days": "30", "scopes": "settings:act"}).status_code == 422
    made = page.send("/settings/tokens/new", {"name": "日报", "days": "30", "scopes": "quota:read"})
    secret = SECRET.search(made.get_data(as_text=True))
    assert secret is not None
    one = Program(app.test_client(), secret[1])
    assert one.get("/departments").status_code == 200
    assert secret[1] not in page.get("/settings/tokens/1").get_data(as_text=True)
    assert client_of(Role.AUTHORITY).get("/settings/tokens/1").status_code == 404
    assert page.send("/settings/tokens/1/revoke").status_code == 302
    assert told(one.get("/departments"), 401)


SECRET = re.compile(r'class="gj-secret">([^<]+)<')


def test_due_dates_stand_in_a_calendar(app, client_of, program, place):
    tenant, signer = program("tenant1"), client_of(Role.SUPERVISOR)
    path = drafted(tenant, place, "filed-2026-0001").get_json()["location"].removeprefix(ROOT)
    assert tenant.post(f"{path}/submit", {"generation": 1}).status_code == 200
    made = signer.send("/settings/tokens/calendar", {"days": "365"}).get_data(as_text=True)
    address = SECRET.search(made)
    assert address is not None
    assert "/api/v1/calendar/gj_" in address[1]
    local = "/" + address[1].split("/", 3)[3]
    answer = app.test_client().get(local)
    assert answer.status_code == 200
    assert answer.mimetype == "text/calendar"
    events = Calendar.from_ical(answer.get_data()).walk("VEVENT")
    assert [str(one["uid"]) for one in events] == ["request-1@localhost"]
    assert str(events[0]["url"]).endswith("/requests/1")
    secret = local.rpartition("/")[2].removesuffix(".ics")
    assert told(Program(app.test_client(), secret).get("/requests"), 401), "it opens nothing else"
    assert told(app.test_client().get(local.replace(secret, secret[:-4] + "AAAA")), 401)


def test_the_reference_names_what_the_reader_may_call(client_of):
    page = client_of(Role.TENANT).get("/settings/interface/").get_data(as_text=True)
    assert "/api/v1/requests/{request_id}/withdraw" in page
    assert "/api/v1/settings/people" not in page


def test_the_description_is_of_openapi_3_1(app):
    told_ = app.test_client().get(f"{ROOT}/openapi.json").get_json()
    assert re.fullmatch(r"3\.1\.\d+", told_["openapi"])


def test_no_operation_opens_without_a_token_or_by_another_method(app):
    held, client = door.gate(app), app.test_client()
    held.per_stranger = RateLimitItemPerMinute(1_000_000)
    methods: dict[str, set[str]] = {}
    for one in held.operations.values():
        path = re.sub(r"<int:[^>]+>", "1", one.rule)
        if "<" in path:
            continue
        methods.setdefault(path, set()).add(one.method)
        assert told(client.open(path, method=one.method), 401)["code"] == "token.missing", path
    for path, known in methods.items():
        for other in {"GET", "POST", "DELETE"} - known:
            assert client.open(path, method=other).status_code in (401, 405), (other, path)
        assert told(client.delete(path), 405)


def test_an_empty_key_is_refused_and_nothing_is_done(app, house, program):
    path = next(one.rule for one in door.gate(app).operations.values() if one.name == "verifications.ask")
    answer = program("audadmin1").post(path.removeprefix(ROOT), headers={"Idempotency-Key": ""})
    assert told(answer, 422)["code"] == "key.shape"
    with house.reading() as tx:
        assert tx.scalar(select(func.count()).select_from(ApiKeyUse)) == 0


def test_a_part_without_a_name_is_refused(program):
    body = b"--x\r\nContent-Disposition: form-data\r\n\r\nnobody\r\n--x--\r\n"
    answer = program("provider1").ask("POST", "/bills/new", data=body, content_type="multipart/form-data; boundary=x")
    assert told(answer, 422)["code"] == "body.part"
