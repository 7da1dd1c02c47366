"""Refusals of the book and mishaps, as a person sees them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from console.access import EVERYBODY, allow
from console.book import reading, transaction
from console.errors import status
from quota import errors
from quota.actors import Role
from quota.audit import AuditRecord
from quota.directory.departments import Department
from quota.errors import Conflict, Invalid, NotAllowed, NotFound, OverCapacity, Refused, WrongState


def raising(app, refusal, url="/refuse"):
    @app.route(url, endpoint=url, methods=["GET", "POST"])
    @allow(*EVERYBODY)
    def view():
        raise refusal

    return url


@pytest.mark.parametrize(
    ("kind", "code"),
    [(NotFound, 404), (NotAllowed, 403), (Conflict, 409), (OverCapacity, 409), (WrongState, 409), (Invalid, 422)],
)
def test_each_refusal_has_its_status_and_says_its_sentence(app, client_of, kind, code):
    url = raising(app, kind("x.y", "这需要%(roles)s的权限", roles="系统管理员、安全管理员"))
    answer = client_of(Role.TENANT).get(url)
    assert answer.status_code == code
    assert "这需要系统管理员、安全管理员的权限" in answer.text
    assert answer.headers["X-Request-ID"] in answer.text


def test_two_who_do_the_same_at_once_are_no_bug_but_a_broken_rule_is(app, client_of):
    def twice():
        with transaction() as tx:
            tx.add_all([Department(code="same", name="一"), Department(code="same", name="二")])

    def nameless():
        with transaction() as tx:
            tx.add(Department(code="other", name=None))

    for name, act in (("twice", twice), ("nameless", nameless)):
        app.add_url_rule(f"/{name}", endpoint=name, view_func=allow(*EVERYBODY)(act), methods=["GET"])
    answer = client_of(Role.SUPERVISOR).get("/twice")
    assert answer.status_code == 409
    assert "有人同时在办同一件事" in answer.text
    assert client_of(Role.SUPERVISOR).get("/nameless").status_code == 500


def test_every_class_of_refusal_is_in_the_table():
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, Refused)]
    assert len(kinds) >= 7
    assert all(400 <= status(kind("x", "y")) < 500 or kind is errors.NoRoom for kind in kinds)


def test_403_says_which_right_is_missing_and_who_grants_it(client_of):
    page = client_of(Role.TENANT).get("/settings/people/").text
    for words in ("审计观察员、系统管理员、安全管理员、审计管理员", "使用单位", "由谁授权", "secadmin甲、secadmin甲乙"):
        assert words in page


def test_404_offers_the_search(client_of, client):
    answer = client_of(Role.TENANT).get("/requests/REQ-1234567")
    assert answer.status_code == 404
    assert 'action="/search"' in answer.text
    assert 'value="REQ-1234567"' in answer.text
    assert 'action="/search"' not in client.get("/no/such/page").text


def test_409_shows_what_changed_and_keeps_what_was_typed(app, client_of):
    change = {"at": datetime(2026, 6, 1, tzinfo=UTC), "by": "lin", "action": "request.sign", "reason": "<i>可以</i>",
              "before": {"state": "in_review"}, "after": {"state": "approved"}}  # fmt: skip
    stale = Conflict("request.stale", "有人已经处理过", changes=[change])
    url = raising(app, stale)
    answer = client_of(Role.SUPERVISOR).send(url, {"opinion": "同意,<b>尽快</b>", "password": "Secret-0ne!"})
    assert answer.status_code == 409
    for words in (
        "有人已经处理过",
        "<del>待审</del>",
        "<ins>已通过</ins>",
        "&lt;i&gt;可以&lt;/i&gt;",
        "同意,&lt;b&gt;尽快&lt;/b&gt;",
    ):
        assert words in answer.text
    assert "Secret" not in answer.text


def test_500_gives_a_request_id_and_no_more(app, client_of, caplog):
    url = raising(app, ZeroDivisionError("the secret inside"))
    answer = client_of(Role.TENANT).send(url, {"opinion": "我写了很久"})
    assert answer.status_code == 500
    assert answer.headers["X-Request-ID"] in answer.text
    assert "secret inside" not in answer.text
    assert "我写了很久" in answer.text
    assert answer.headers["X-Request-ID"] in caplog.text
    assert "the secret inside" in caplog.text


def test_an_error_is_still_said_when_the_book_itself_is_broken(app, client_of, house, caplog):
    client = client_of(Role.TENANT)
    with house.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.exec_driver_sql("ALTER TABLE people RENAME TO elsewhere")
        connection.commit()
    answer = client.get("/")
    assert answer.status_code == 500
    assert answer.headers["X-Request-ID"] in answer.text


def test_a_part_of_a_page_gets_a_part_of_an_error_page(app, client_of):
    url = raising(app, WrongState("x", "已经处理过"))
    answer = client_of(Role.TENANT).get(url, headers={"HX-Request": "true"})
    assert answer.status_code == 409
    assert "已经处理过" in answer.text
    assert "<html" not in answer.text


def test_a_part_of_a_page_whose_session_ended_leads_to_the_login(client):
    answer = client.get("/search?q=a", headers={"HX-Request": "true"})
    assert answer.status_code == 401
    assert answer.headers["HX-Redirect"] == "/login?next=/search?q%3Da"


@pytest.mark.parametrize(("method", "url", "code"), [("post", "/search", 405), ("get", "/logout", 405)])
def test_a_wrong_method_is_an_ordinary_page(client_of, method, url, code):
    client = client_of(Role.TENANT)
    answer = client.send(url) if method == "post" else client.get(url)
    assert answer.status_code == code
    assert "不能这样打开" in answer.text


def test_errors_are_in_the_readers_language(app, client_of):
    client = client_of(Role.TENANT)
    client.set_cookie("language", "en")
    page = client.get("/settings/people/").text
    assert "Security administrator" in page
    assert "安全管理员" not in page


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("/audit/99999999999999999999", 404),
        ("/audit/2147483648", 404),
        ("/audit/?since=abc", 200),
        ("/audit/?until=2026-13-45", 200),
        ("/audit/?until=9999-12-31", 200),
        ("/audit/?since=0001-01-01", 200),
    ],
)
def test_an_address_that_makes_no_sense_is_no_crash(client_of, address, code):
    assert client_of(Role.AUDITOR).get(address).status_code == code


def test_what_no_column_holds_is_said_and_no_crash(app, client_of):
    @allow(Role.AUDITOR)
    def huge():
        reading().get(AuditRecord, 10**20)

    app.add_url_rule("/huge", "huge", huge)
    answer = client_of(Role.AUDITOR).get("/huge")
    assert answer.status_code == 422
    assert "无法处理" in answer.text
