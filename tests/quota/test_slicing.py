"""Cards in slices: cut out of what is free, whole again where all slices are free, and never more of both than there are cards."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from quota import resource_classes
from quota.actors import steward
from quota.directory import Pool, PoolCapacity
from quota.errors import Invalid, NotAllowed, OverCapacity
from quota.ledger import capacities, entries, slicing
from quota.ledger.tables import Holder, Side
from quota.requests import kinds
from quota.requests.asks import Line
from quota.units import ACCELERATOR, Arch, ClassCode, Commodity, Group
from tests.city import City
from tests.patience import together

MIG, HALF = ClassCode("mig1g"), ClassCode("dcu2")


def slices(town: City, code: str = MIG, parts: int = 7, **other: Any) -> None:
    with town.book.transaction(steward()) as tx:
        given = {"name_en": code, "whole": ACCELERATOR, "parts": parts} | other
        resource_classes.add(tx, code, f"切片{code}", Group.AI, "片", **given)


def cut(town: City, cards: int, key: str, code: str = MIG, by: str = "chief") -> None:
    with town.book.transaction(town.people[by]) as tx:
        slicing.cut(tx, town.arm, code, cards, key=key, reason="推理小模型")


def free(town: City, code: str = ACCELERATOR) -> int:
    town.prove()
    with town.book.reading() as tx:
        assert list(slicing.check(tx)) == []
        return entries.balance(tx, Side(town.arm, Commodity(ClassCode(code), Arch.AARCH64), Holder.FREE))


def test_cards_and_their_slices_add_up_to_the_cards_that_there_are(town: City) -> None:
    slices(town)
    slices(town, HALF, 2)
    cut(town, 3, "a")
    cut(town, 3, "a")  # a form sent twice
    cut(town, 1, "b", HALF)
    assert (free(town), free(town, MIG), free(town, HALF)) == (4, 21, 2)
    with town.book.reading() as tx:
        assert slicing.sliced(tx, town.arm) == {MIG: (3, 21), HALF: (1, 2)}
        assert slicing.cut_of(tx, town.arm, ACCELERATOR) == 4
    town.submit(kinds.QUOTA, lines=[Line(asked={MIG: 8})])  # 13 are free: one card and six sevenths
    for code, cards in ((MIG, 5), (MIG, -2)):
        with pytest.raises(OverCapacity):
            cut(town, cards, f"{code}{cards}", code)
    cut(town, -1, "c")
    assert (free(town), free(town, MIG)) == (5, 6)
    with town.book.reading() as tx:
        whole = tx.query(PoolCapacity).filter_by(pool_id=town.arm, kind=ACCELERATOR).one()
        assert (whole.total, whole.reserved, whole.usable) == (8, 3, 5)


def test_what_is_cut_is_not_entered_by_hand(town: City) -> None:
    slices(town)
    cut(town, 3, "a")

    def equip(kind: ClassCode, total: int, reserved: int, ratio: str = "1") -> None:
        with town.book.transaction(steward()) as tx:
            pool = tx.get_one(Pool, town.arm)
            capacities.equip(
                tx, pool, kind, total, reserved=reserved, ratio=Decimal(ratio), key=f"{kind}{total}{ratio}"
            )

    for given in ((MIG, 70, 0), (ACCELERATOR, 8, 2), (ACCELERATOR, 8, 3, "2")):
        with pytest.raises(Invalid):
            equip(*given)
    equip(ACCELERATOR, 10, 4)  # two cards more, one of them kept back
    assert (free(town), free(town, MIG)) == (6, 21)


@pytest.mark.parametrize(
    ("cards", "code", "by", "refused"),
    [(0, MIG, "chief", Invalid), (1, ACCELERATOR, "chief", Invalid), (1, MIG, "checker", NotAllowed), (-1, MIG, "chief", OverCapacity), (9, MIG, "chief", OverCapacity)],
)  # fmt: skip
def test_what_cannot_be_cut_is_refused(town: City, cards: int, code: str, by: str, refused: type[Exception]) -> None:
    slices(town)
    with pytest.raises(refused):
        cut(town, cards, "k", code, by)
    assert (free(town), free(town, MIG)) == (8, 0)


@pytest.mark.parametrize(
    "other",
    [
        {"whole": "tea"},
        {"whole": "memory"},
        {"parts": 1},
        {"parts": 0},
        {"whole": ""},
        {"factor": 2, "base_unit": "份"},
    ],
)
def test_what_are_no_slices_is_no_class(town: City, other: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        slices(town, **other)


def test_a_card_is_cut_or_asked_for_and_never_both(town: City) -> None:
    slices(town)

    def ask() -> None:
        try:
            town.submit(kinds.QUOTA, lines=[Line(asked={ACCELERATOR: 5})])
        except OverCapacity:
            return

    def cut_five() -> None:
        try:
            cut(town, 5, "k")
        except OverCapacity:
            return

    together(ask, cut_five)
    assert (free(town), free(town, MIG)) in ((3, 35), (3, 0))
