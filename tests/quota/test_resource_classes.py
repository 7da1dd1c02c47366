"""Resource classes as rows: the seed, what processes beside each other know, and that codes are compared as words."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from quota import resource_classes, units
from quota.actors import steward
from quota.db import Book
from quota.errors import Invalid
from quota.resource_classes import ResourceClassRow
from quota.units import CLASSES, SEED, Arch, ClassCode, Commodity, Group

ROOT = Path(__file__).parents[2]
CODES = {name for name, value in vars(units).items() if any(value == one.code for one in SEED)}


def add(tx, code="fileshare", name="文件存储"):
    return resource_classes.add(tx, code, name, Group.STORAGE, "GB", name_en="file storage", resizable=True)


def test_a_book_begins_with_the_seed(book) -> None:
    with book.reading() as tx:
        rows = tx.query(ResourceClassRow).order_by(ResourceClassRow.id).all()
        assert [row.value() for row in rows] == list(SEED)
    assert list(CLASSES.values()) == list(SEED)
    assert [CLASSES.place(one.code) for one in SEED] == list(range(len(SEED)))


def test_what_is_added_is_known_at_once_and_what_is_not_kept_is_not(book) -> None:
    with book.trial(steward()) as tx:
        add(tx)
    assert "fileshare" not in CLASSES
    with book.transaction(steward()) as tx:
        row = add(tx)
        assert row.id > len(SEED)
    code = ClassCode("fileshare")
    assert CLASSES[code].resizable
    assert CLASSES.open()[-1] == code
    assert Commodity.of(code, Arch.AARCH64) == Commodity.parse("fileshare:any")
    assert CLASSES.english("文件存储") == "file storage"
    with book.transaction(steward()) as tx:
        resource_classes.end(tx, resource_classes.resource_class(tx, row.id), "不再提供")
    assert code in CLASSES
    assert code not in CLASSES.open()
    with pytest.raises(Invalid, match=r"class\.ended"):
        CLASSES.offered(code)


def test_another_process_learns_it_when_it_looks(book) -> None:
    beside = Book(book.url.render_as_string(hide_password=False))
    try:
        with beside.reading():
            assert "fileshare" not in CLASSES
        with book.transaction(steward()) as tx:
            add(tx)
        with beside.reading() as tx:
            seen = tx.scalar(resource_classes.select(resource_classes.stamp()))
            assert "fileshare" not in CLASSES  # asks nothing of itself
        beside.look_at_classes(seen)
        assert "fileshare" in CLASSES
        known = CLASSES.learnt
        beside.look_at_classes(seen)
        assert CLASSES.learnt is known  # nothing is read where nothing changed
    finally:
        beside.dispose()


def test_two_of_one_name_or_code_are_refused(book) -> None:
    with book.transaction(steward()) as tx:
        add(tx)
        for code, name in (("fileshare", "别的"), ("other", "文件存储"), ("vcpu", "别的"), ("other", "内存")):
            with pytest.raises(Invalid, match=r"class\.twice"):
                add(tx, code, name)
        for code in ("", "1a", "Ab", "a-b", "a" * 17):
            with pytest.raises(Invalid, match=r"class\.code"):
                add(tx, code, "别的")


def test_codes_are_compared_as_words_never_by_identity() -> None:
    """A code that was read from the book equals a constant, and is another object."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for package in ("quota", "providers", "metering", "console", "tests", "benchmarks")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Compare)
        and any(isinstance(op, ast.Is | ast.IsNot) for op in node.ops)
        and any(isinstance(one, ast.Name) and one.id in CODES for one in (node.left, *node.comparators))
    ]
    assert len(CODES) == len(SEED)
    assert found == []
