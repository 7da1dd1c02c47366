"""The search: whatever part of a name, number or address is typed is found, by whom may see it, as soon as it is written."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest
from sqlalchemy import delete, func, select, text

from quota import sealing, search
from quota.actors import Actor, steward
from quota.db import Book
from quota.directory import Department, System, departments, subtree
from quota.inventory import Resource
from quota.requests import Request, RequestState
from quota.search import SearchEntry, grams
from quota.search.grams import normal
from quota.spans import NumberSpan
from quota.units import VCPU, Amount
from tests.city import City
from tests.patience import PATIENCE, pause

ONE = Amount({VCPU: 1})


def hits(book: Book, typed: str, who: Actor | None = None, **own: Any) -> list[tuple[str, str]]:
    who = who or steward()
    with book.reading(who) as tx:
        found = tx.scalars(search.found(tx, who, typed, **own).order_by(search.place(tx)))
        return [(one.kind, one.title) for one in found]


@pytest.fixture
def machines(town: City) -> City:
    for name, address, shown in (
        ("i-0001", "10.1.134.15", "教育局门户-应用01"),
        ("i-0002", "10.1.134.159", "Web_Front 100%"),
        ("i-0003", None, ""),
    ):
        town.standing_machine(ONE, name)
        with town.book.transaction(steward()) as tx:
            row = tx.scalars(select(Resource).where(Resource.external_id == name)).one()
            row.name, row.address = shown, address
    return town


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("门户", ["教育局门户-应用01"]),  # two Chinese characters
        ("局", ["教育局门户-应用01"]),  # one
        ("户-应用0", ["教育局门户-应用01"]),
        ("134.15", ["Web_Front 100%", "教育局门户-应用01"]),
        ("134.159", ["Web_Front 100%"]),
        ("i-000", ["i-0003", "Web_Front 100%", "教育局门户-应用01"]),
        ("9", ["Web_Front 100%"]),
        ("ＷＥＢ_front", ["Web_Front 100%"]),  # of either width, in capitals or not
        ("  front   web ", ["Web_Front 100%"]),  # every word, in whatever order
        ("%", ["Web_Front 100%"]),
        ("b_f", ["Web_Front 100%"]),
        ("b.f", []),
        ("局门戶", []),
        ("i-00031", []),
        ("01i-0", []),  # not across two texts
        ('web" OR "x', []),
        ("w1", []),  # what the index keeps for itself is nobody's word
        ("x OR p1", []),
        ("web*", []),
        ("", []),
        ("   ", []),
    ],
)
def test_any_part_is_found_and_nothing_else(machines: City, typed: str, found: list[str]) -> None:
    assert [title for kind, title in hits(machines.book, typed) if kind == "resource"] == found


def test_it_finds_what_a_plain_look_at_all_names_finds(town: City) -> None:
    dice = random.Random(5)
    letters = "政务云数据库中心一二ab-_.%01 "
    names = ["".join(dice.choice(letters) for _ in range(dice.randint(1, 12))) for _ in range(120)]
    with town.book.transaction(steward()) as tx:
        for number, name in enumerate(names):
            departments.register(tx, f"c{number:03d}", f"n{name}")
    with town.book.reading() as tx:
        kept = {one.id: [normal(one.name), normal(one.code)] for one in tx.scalars(select(Department))}
        for _ in range(300):
            whole = normal(dice.choice(names))
            start = dice.randint(0, max(0, len(whole) - 1))
            typed = whole[start : start + dice.randint(1, 6)]
            words = typed.split()
            expected = {
                ref for ref, texts in kept.items() if words and all(any(word in one for one in texts) for word in words)
            }
            query = search.found(tx, steward(), typed).where(SearchEntry.kind == "department")
            assert {one.ref for one in tx.scalars(query)} == expected, typed


def test_what_is_renamed_is_found_by_its_new_name_wherever_it_stands(town: City) -> None:
    request = town.submit()
    assert ("request", request.number) in hits(town.book, "某局")
    with town.book.transaction(steward()) as tx:
        departments.rename(tx, tx.get_one(Department, town.bureau), "大数据局")
        tx.get_one(System, town.system).name = "一网统管"
    assert hits(town.book, "大数据局") == [("department", "大数据局"), ("request", request.number)]
    assert hits(town.book, "统管") == [("system", "一网统管")]
    assert ("department", "某局信息中心") in hits(town.book, "某局")
    assert all(kind != "request" for kind, _title in hits(town.book, "某局"))
    with town.book.reading() as tx:
        assert tx.scalars(select(SearchEntry.state).where(SearchEntry.kind == "request")).all() == ["in_review"]


def test_two_who_write_at_once_what_one_entry_says_leave_nothing_of_before(
    town: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is between its entries and its commit while the other comes to write the same."""
    request = town.submit()
    goes_on, kept, real = threading.Event(), threading.Event(), sealing.seal

    def slowly(tx: Any) -> None:
        if threading.current_thread() is closing:
            kept.set()
            goes_on.wait(PATIENCE)
        real(tx)

    def close() -> None:
        with town.book.transaction(steward()) as tx:
            tx.get_one(Request, request.id).state = RequestState.WITHDRAWN.value

    def rename() -> None:
        with town.book.transaction(steward()) as tx:
            departments.rename(tx, tx.get_one(Department, town.bureau), "大数据局")

    closing, renaming = threading.Thread(target=close), threading.Thread(target=rename)
    monkeypatch.setattr(sealing, "seal", slowly)
    closing.start()
    assert kept.wait(PATIENCE)
    renaming.start()
    pause(0.5)
    goes_on.set()
    closing.join(PATIENCE)
    renaming.join(PATIENCE)
    with town.book.reading() as tx:
        told = tx.execute(
            select(SearchEntry.state, SearchEntry.detail).where(
                SearchEntry.kind == "request", SearchEntry.ref == request.id
            )
        ).one()
    assert (told.state, told.detail.partition(" · ")[0]) == ("withdrawn", "大数据局")


def test_what_is_gone_or_was_never_kept_is_not_found(town: City) -> None:
    with town.book.transaction(steward()) as tx:
        row = departments.register(tx, "gone", "将撤单位")
    assert hits(town.book, "将撤") == [("department", "将撤单位")]
    with town.book.transaction(steward()) as tx:
        tx.delete(tx.get_one(Department, row.id))
    assert hits(town.book, "将撤") == []
    with town.book.trial(steward()) as tx:
        departments.register(tx, "trial", "设想单位")

    def broken() -> None:
        with town.book.transaction(steward()) as tx:
            departments.register(tx, "broken", "设想单位")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert hits(town.book, "设想") == []


def test_who_may_not_see_a_thing_does_not_find_it(town: City) -> None:
    town.standing_machine(ONE, "theirs")
    town.standing_machine(ONE, "neighbours", department_id=town.neighbour)
    town.standing_machine(ONE, "nobodys", department_id=None)
    request = town.submit()

    def sees(who: str, typed: str) -> set[str]:
        actor = town.people[who]
        own: dict[str, Any] = {}
        if actor.department_id:
            with town.book.reading() as tx:
                own["departments"] = subtree(tx, actor.department_id)
        if who == "operator":
            own["pools"] = [town.x86, town.arm]
        elif who == "rival":
            own["pools"] = []
        told = {title for _kind, title in hits(town.book, typed, actor, **own)}
        # What narrows the look is for speed alone: the right is asked anyway.
        assert told == {title for _kind, title in hits(town.book, typed, actor)}
        return told

    assert sees("clerk", "s") == {"theirs", request.number, "一网通办"}
    assert sees("branch_clerk", "s") == set()
    assert sees("stranger", "s") == {"neighbours"}
    assert sees("operator", "s") == {"theirs", "neighbours", "nobodys"}
    assert sees("rival", "s") == set()
    assert (
        sees("checker", "s") == sees("auditor", "s") == {"theirs", "neighbours", "nobodys", request.number, "一网通办"}
    )
    assert sees("sysadmin", "s") == set()
    assert sees("clerk", "局") == {"某局", "某局信息中心", request.number}
    assert sees("stranger", "局") == {"邻局"}


def test_a_book_without_an_index_gets_the_one_that_it_would_have(machines: City) -> None:
    machines.submit()
    book = machines.book

    def told() -> list[tuple[Any, ...]]:
        with book.reading() as tx:
            return [tuple(row) for row in tx.execute(select(*SearchEntry.__table__.columns).order_by(SearchEntry.id))]

    before = told()
    assert {row[1] for row in before} == {"department", "system", "resource", "request"}
    with book.engine.begin() as raw:
        raw.execute(delete(SearchEntry))
        if book.engine.dialect.name == "sqlite":
            raw.execute(text("INSERT INTO search_grams(search_grams) VALUES ('delete-all')"))
    assert hits(book, "门户") == []
    for _ in range(2):  # again changes nothing
        with book.transaction(steward()) as tx:
            search.fill(tx)
        assert told() == before
        assert hits(book, "门户") == [("resource", "教育局门户-应用01")]
    with book.engine.begin() as raw:  # as a migration rewrites rows
        raw.execute(text("UPDATE resources SET name = '水务局门户' WHERE external_id = 'i-0001'"))
    with book.transaction(steward()) as tx:
        search.fill(tx, ["resources"])
    assert hits(book, "门户") == [("resource", "水务局门户")]
    assert hits(book, "教育") == []


def test_a_thousand_rows_in_one_transaction_are_all_found(town: City) -> None:
    with town.book.transaction(steward()) as tx:
        tx.add_all(
            Resource(
                pool_id=town.pool, external_id=f"vm-{number:05d}", name=f"批量云主机{number:05d}", kind="vm", arch="x86_64",
                amounts={}, booked={}, state="running", tags={}, first_seen_at=tx.now, protected=False,
            )
            for number in range(1203)
        )  # fmt: skip
    with town.book.reading() as tx:
        count = select(func.count()).select_from(search.found(tx, steward(), "批量 vm-0").subquery())
        assert tx.scalar(count) == 1203
        assert tx.scalar(select(func.count()).select_from(Request)) == 0
        first = tx.scalars(search.found(tx, steward(), "批量").order_by(search.place(tx)).limit(2)).all()
        assert [one.title for one in first] == ["批量云主机01202", "批量云主机01201"]


def named(book: Book) -> list[str]:
    with book.reading(one_moment=True) as tx:
        parts = [NumberSpan(high=1), NumberSpan(2, 2), NumberSpan(3)]
        found = [one for kind in search.SOUGHT for part in parts for one in search.check(tx, kind, part)]
        return [*found, *search.check_strays(tx)]


def test_an_index_that_is_not_as_its_rows_are_is_named(machines: City) -> None:
    book = machines.book
    assert named(book) == []
    with book.reading() as tx:
        first, second, third = tx.scalars(select(Resource.id).order_by(Resource.id))
        one = search.SOUGHT["resource"]
        numbers = {ref: one.number(ref) for ref in (first, second, third)}
        (department,) = tx.scalars(select(Department.id).limit(1))
    behind = book.engine.execution_options(guanjia_writes=True)

    def changed(*statements: str) -> list[str]:
        """What is named after these statements, which are undone."""
        with behind.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))
            connection.commit()
        try:
            return named(book)
        finally:
            with behind.connect() as connection:
                connection.execute(text("DELETE FROM search_entries"))
                if book.engine.dialect.name == "sqlite":
                    connection.execute(text("INSERT INTO search_grams(search_grams) VALUES ('delete-all')"))
                connection.commit()
            with book.transaction(steward()) as tx:
                search.fill(tx)
            assert named(book) == []

    def entry(ref: int) -> str:
        return f"search_entries: row {numbers[ref]} (resource {ref}) differs in "

    assert changed(f"UPDATE search_entries SET told = 'x', title = 'x' WHERE id = {numbers[second]}") == [
        f"{entry(second)}title, told from its row"
    ]
    assert changed(f"UPDATE search_entries SET department_id = 4711 WHERE id = {numbers[first]}") == [
        f"{entry(first)}department_id from its row"
    ]
    gone = changed(f"DELETE FROM search_entries WHERE id = {numbers[third]}")
    assert gone[0] == f"search_entries: resource {third} has no entry: it cannot be found"
    sqlite = book.engine.dialect.name == "sqlite"
    assert gone[1:] == ([f"search_grams: row {numbers[third]} has no entry"] if sqlite else [])
    twice = numbers[first] - 500  # found beside the right one, by what somebody likes
    by_number = numbers[second] + second - twice
    assert f"search_entries: row {twice} is of resource {by_number} by its number, and says another" in changed(
        "INSERT INTO search_entries (id, kind, ref, title, detail, told, state) "
        f"VALUES ({twice}, 'resource', {second}, 'x', '', 'x', '')"
    )
    stray = one.number(999)
    added = changed(
        "INSERT INTO search_entries (id, kind, ref, title, detail, told, state) "
        f"VALUES ({stray}, 'resource', 999, 'a', '', 'a', ''), (7, 'nothing', 3, 'a', '', 'a', '')"
    )
    assert added == [
        f"search_entries: row {stray} is of resource 999, which is not there",
        "search_entries: row 7 is of a kind that is none",
    ]
    assert changed(f"UPDATE search_entries SET kind = 'department', ref = 998 WHERE id = {numbers[first]}")[:1] == [
        f"search_entries: row {numbers[first]} is of department 998, which is not there"
    ]
    if sqlite:
        told = "SELECT told FROM search_entries WHERE id = :id"
        with behind.connect() as connection:
            of = {"id": numbers[second], "told": connection.scalar(text(told), {"id": numbers[second]})}
        lost = grams.tokens(of["told"], ["w" + str(department), "p" + str(machines.pool)])
        forget = f"INSERT INTO search_grams(search_grams, rowid, told) VALUES ('delete', {of['id']}, '{lost}')"
        less = f"INSERT INTO search_grams(rowid, told) VALUES ({of['id']}, '{grams.tokens('10.1.134.159')}')"
        assert changed(forget, less) == [
            f"search_grams: row {of['id']} (resource {second}) is not what its entry says: it cannot be found by all of it"
        ]
