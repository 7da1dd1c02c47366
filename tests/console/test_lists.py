"""Lists follow their address, add up over all pages, and export what they show."""

from __future__ import annotations

import csv
import io
import re
import sys
from datetime import UTC, datetime
from decimal import Decimal

import openpyxl
import pyarrow.parquet as parquet
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.visitors import iterate
from werkzeug.datastructures import MultiDict

from console.book import reading
from console.frame import matching
from console.lists import Column, Filter, ListPosition, as_csv, as_parquet, as_xlsx, harmless, listing, place_in
from console.pages.audit.audit import COLUMNS as AUDIT
from metering.cases.files import Case
from quota.actors import steward
from quota.audit import AuditRecord
from quota.directory.people import Person

COLUMNS = [
    Column("login", "登录名", lambda p: p.login, sort=Person.login),
    Column("role", "角色", lambda p: p.role, sort=Person.role),
    Column("failed", "次数", lambda p: p.session_epoch, total=func.sum(Person.session_epoch), number=True),
    Column("last", "最近登录", lambda p: p.last_login_at, sort=Person.last_login_at),
]
FILTERS = [
    Filter(
        "role",
        "角色",
        lambda q, v: q.where(Person.role == v),
        options={"tenant": "t", "auditor": "a"},
        default="tenant",
    ),
    Filter("q", "登录名", lambda q, v: q.where(matching(v, Person.login))),
]


def content(answer):
    answer.direct_passthrough = False
    return answer.get_data()


@pytest.fixture
def people(app, house):
    """``people("sort=login&page=2", size=3)`` → the listing at that address."""
    with house.transaction(steward()) as tx:
        for number, who in enumerate(tx.scalars(select(Person).order_by(Person.id))):
            who.session_epoch = number
            who.last_login_at = None if number % 2 else datetime(2026, 5, 1 + number, 16, 30, tzinfo=UTC)

    def at(address, size=None, filters=FILTERS, sort="login"):
        with app.test_request_context(f"/list?{address}") as context:
            found = listing(reading(), select(Person), COLUMNS, key=Person.id, filters=filters, sort=sort, size=size)
            found.logins = [one.login for one in found.rows]
            found.next = found.url(page=found.page + 1)
            found.by_role = found.sort_url(COLUMNS[1])
            found.exports = {one: _read(found, context, one) for one in ("csv", "xlsx")}
            return found

    def _read(found, context, kind):
        found.args = MultiDict({"export": kind})
        return found.exported("people")

    return at


def test_a_default_filter_holds_until_the_address_says_otherwise(people):
    assert people("").logins == ["tenant1", "tenant2"]
    assert people("role=auditor").logins == ["auditor1", "auditor2"]
    assert people("role=all").total == 16
    assert people("role=nonsense").logins == ["tenant1", "tenant2"]
    assert not people("").narrowed
    assert people("q=1").narrowed


def test_text_is_looked_for_as_it_is_typed(people):
    assert people("role=all&q=ADMIN1").logins == ["audadmin1", "secadmin1", "sysadmin1"]
    assert people("role=all&q=%25").logins == []
    assert people("role=all&q=_").logins == []
    assert people("role=all&q=%5C").logins == []


def test_pages_have_fifty_rows_and_totals_count_all(people):
    found = people("role=all&page=2", size=5)
    assert (found.total, found.pages, found.first, found.last) == (16, 4, 6, 10)
    assert len(found.rows) == 5
    assert found.sums == {"failed": sum(range(16))}
    assert found.next == "/list?role=all&page=3"
    assert people("role=all").size == 50


@pytest.mark.parametrize("page", ["0", "-1", "99", "x", "٣", "9" * 40, ""])
def test_a_page_that_is_not_there_is_the_nearest(people, page):
    assert people(f"role=all&page={page}", size=5).page in (1, 4)


def test_a_head_sorts_and_sorts_back_and_keeps_the_filters(people):
    found = people("role=all&sort=role&q=1&page=2", size=3)
    assert found.by_role == "/list?role=all&q=1&sort=-role"
    assert found.direction(COLUMNS[1]) == "ascending"
    assert people("role=all&sort=-login").logins[0] == "tenant2"


def test_unknown_values_come_last_whichever_way(people):
    for sort in ("last", "-last"):
        ends = [one.last_login_at is None for one in people(f"role=all&sort={sort}").rows]
        assert ends == sorted(ends)


def test_an_export_has_all_rows_of_the_filter_in_its_order(people):
    found = people("role=all&sort=-login", size=3)
    text = content(found.exports["csv"]).decode("utf-8")
    assert text.startswith("\ufeff")
    rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))
    assert rows[0] == ["登录名", "角色", "次数", "最近登录"]
    assert len(rows) == 17
    assert rows[1][0] == "tenant2"
    assert {row[3] for row in rows[1:]} >= {"", "2026-05-02 00:30:00"}  # the city's time
    sheet = openpyxl.load_workbook(io.BytesIO(content(found.exports["xlsx"]))).active
    assert sheet.auto_filter.ref == sheet.dimensions
    assert all(8 <= one.width <= 48 for one in sheet.column_dimensions.values())
    assert len(sheet.column_dimensions) == sheet.max_column
    assert sheet.max_row == 17
    assert sheet["C2"].value == int(rows[1][2])
    assert "attachment; filename=people-2026" in found.exports["xlsx"].headers["Content-Disposition"]


HOSTILE = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1", 'a"b', "a\nb", "普通", "\x00\x0b"]


def test_no_cell_of_an_export_is_a_formula(app):
    columns = [Column("x", "=HEAD()", lambda row: row), Column("n", "n", lambda _row: -1.5)]
    with app.test_request_context():
        text = content(as_csv("x.csv", columns, HOSTILE)).decode("utf-8-sig")
        book = openpyxl.load_workbook(io.BytesIO(content(as_xlsx("x.xlsx", columns, HOSTILE))))
    rows = list(csv.reader(io.StringIO(text)))
    assert all(not row[0].startswith(("=", "+", "-", "@", "\t", "\r", "＝")) for row in rows)
    assert {row[1] for row in rows[1:]} == {"-1.5"}  # a figure stays one
    assert all(cell.data_type != "f" for row in book.active for cell in row)
    assert harmless("普通") == "普通"


def test_values_keep_their_kind(app):
    values = [None, "", True, 3, 2.5, float("nan"), Decimal("1.10"), datetime(2026, 1, 1, tzinfo=UTC)]
    columns = [Column("x", "x", lambda row: row)]
    with app.test_request_context():
        text = content(as_csv("x.csv", columns, values)).decode("utf-8-sig")
    rows = [row[0] for row in csv.reader(io.StringIO(text))]
    assert rows == ["x", "", "", "是", "3", "2.5", "", "1.10", "2026-01-01 08:00:00"]
    with app.test_request_context():
        kept = content(as_parquet("x.parquet", columns, [2, None, 0.5]))
    assert parquet.read_table(io.BytesIO(kept))["x"].to_pylist() == [2.0, None, 0.5], "2 GB and 0.5 GB are added up"


@pytest.mark.parametrize("sort", ["sequence", "-sequence", "actor", "-actor", "at", "-at"])
def test_an_index_serves_the_order_of_a_list(book, app, sort):
    served = order_plan(book, app, select(AuditRecord), {"sort": sort}, AUDIT, AuditRecord.sequence)
    assert not SORTS.search(served), served


def test_an_index_serves_the_order_where_values_may_be_unknown(book, app):
    columns = [Column("due", "", lambda r: r.due_at, sort=Case.due_at)]
    query = select(Case).where(Case.state == "replying")
    served = order_plan(book, app, query, {"sort": "due"}, columns, Case.id)
    assert not SORTS.search(served), served


SORTS = re.compile(r"(?<!Incremental )Sort +\(cost|TEMP B-TREE FOR ORDER BY")
"""A plan that puts all rows in order first; among equals of an index PostgreSQL may."""


def order_plan(book, app, query, address, columns, key):
    """How the database means to find a page: on PostgreSQL without a sort, if there is any other way."""
    with app.test_request_context("/list"), book.reading() as tx:
        found = listing(tx, query, columns, key=key, args=MultiDict(address))
        asked = found.query.limit(50).offset(100).compile(tx.get_bind())
        if tx.dialect == "postgresql":
            for way in ("enable_sort", "enable_seqscan", "enable_bitmapscan"):
                tx.execute(text(f"SET LOCAL {way} = off"))
            rows = tx.connection().exec_driver_sql(f"EXPLAIN {asked}", asked.params)
        else:
            rows = tx.connection().exec_driver_sql(
                f"EXPLAIN QUERY PLAN {asked}", tuple(asked.construct_params().values())
            )
        return "\n".join(str(one) for one in rows)


def test_the_place_of_a_thing_in_a_list(people, house):
    with house.reading() as tx:
        ids = tx.scalars(select(Person.id).where(Person.role != "tenant").order_by(Person.login)).all()
        gone = tx.scalar(select(Person.id).where(Person.role == "tenant").limit(1))
        query = select(Person).where(Person.role != "tenant")

        def place(one):
            return place_in(tx, query, Person.id, (Person.login,), one)

        assert place(ids[0]) == ListPosition(None, ids[1], 1, len(ids))
        assert place(ids[3]) == ListPosition(ids[2], ids[4], 4, len(ids))
        assert place(ids[-1]) == ListPosition(ids[-2], None, len(ids), len(ids))
        assert place(gone) == ListPosition(None, ids[0], 0, len(ids)), "what is not in it leads to its first"
        assert place_in(tx, query.where(Person.id < 0), Person.id, (Person.login,), 1) == ListPosition(None, None, 0, 0)


def test_what_a_list_sums_is_an_aggregate(app):
    """A column as it lies would be one row's value on SQLite, called the sum, and an error on PostgreSQL."""
    pages = [vars(module) for name, module in list(sys.modules.items()) if name.startswith("console.pages.")]
    lists = [one for names in pages for one in names.values() if isinstance(one, list | tuple)]
    summed = {one for many in lists for one in many if isinstance(one, Column) and one.total is not None}
    assert len(summed) > 5
    plain = [one.key for one in summed if not any(isinstance(part, FunctionElement) for part in iterate(one.total))]
    assert plain == []
