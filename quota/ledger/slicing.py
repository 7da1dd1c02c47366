"""Cards in slices (加速卡切分): whole cards of a pool that are given out in equal parts (MIG, vNPU, DCU 切分), a resource class of their own.

How many parts a whole makes is the class's (``ResourceClass.whole``, ``parts``). One transfer takes free cards out of a pool and puts
their slices into it, or makes slices that are all free whole again; the cards that are cut stand as reserved of their class. So, at every
instant and for every pool,

    cards given out whole or free + other reserve + slices ÷ parts = cards that there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import select

from quota import inspection
from quota.actors import Role
from quota.directory import Pool, PoolCapacity
from quota.errors import N_, Invalid, stated
from quota.ledger import entries
from quota.ledger.tables import Transfer
from quota.units import CLASSES, Arch, ClassCode, Commodity

if TYPE_CHECKING:
    from quota.db import Tx


def sliced(tx: Tx, pool_id: int) -> dict[ClassCode, tuple[int, int]]:
    """The slices of a pool by their class: cards that are cut for them, and slices."""
    rows = tx.execute(select(PoolCapacity.kind, PoolCapacity.total).where(PoolCapacity.pool_id == pool_id))
    found = {ClassCode(kind): total for kind, total in rows}
    return {
        kind: (total // CLASSES[kind].parts, total) for kind, total in found.items() if CLASSES[kind].parts and total
    }


def cut_of(tx: Tx, pool_id: int, whole: ClassCode) -> int:
    """How many cards of a class are cut in a pool."""
    return sum(cards for kind, (cards, _slices) in sliced(tx, pool_id).items() if CLASSES[kind].whole == whole)


def cut(tx: Tx, pool_id: int, code: str, cards: int, *, key: str, reason: str) -> Transfer:
    """Give out ``cards`` more of a pool in slices of a class; below zero: so many are made whole again. The authority's.

    Raises Invalid for a class of no slices, or cards that the pool has not or overcommits; OverCapacity where less is free.
    """
    tx.actor.must_be(Role.AUTHORITY, Role.SYSTEM)
    reason = stated(reason)
    tx.alone(key)
    earlier = entries.made(tx, key)
    if earlier is not None:  # a form sent twice
        return earlier
    of = CLASSES.offered(ClassCode(code)) if cards > 0 else CLASSES[CLASSES.known(code)]
    if not of.whole or not of.parts:
        raise Invalid("slice.none", N_("“%(name)s”不是切片"), name=of.label, field="kind")
    if isinstance(cards, bool) or not isinstance(cards, int) or not 0 < abs(cards) <= 10**6:
        raise Invalid("slice.cards", N_("请填写切分（正数）或合并（负数）的卡数"), field="cards")
    tx.execute(select(Pool.id).where(Pool.id == pool_id).with_for_update())
    pool = tx.get_one(Pool, pool_id)
    rows = {
        row.kind: row
        for row in tx.scalars(
            select(PoolCapacity)
            .where(PoolCapacity.pool_id == pool_id, PoolCapacity.kind.in_([of.whole, of.code]))
            .execution_options(populate_existing=True)
        )
    }
    whole, slices = rows.get(of.whole), rows.get(of.code)
    if whole is None or whole.ratio != 1:
        raise Invalid(
            "slice.no_cards",
            N_("资源池没有“%(name)s”，或它有超分，不能切分"),
            name=CLASSES[of.whole].label,
            field="cards",
        )
    if slices is None:
        slices = PoolCapacity(pool_id=pool_id, kind=of.code, total=0, reserved=0, ratio=Decimal(1))
        tx.add(slices)
    arch = Arch(pool.arch)
    made = entries.recast(
        tx, pool_id, (Commodity.of(of.whole, arch), cards), (Commodity.of(of.code, arch), cards * of.parts), key=key, memo=reason
    )  # fmt: skip
    before = {"cards": cut_of(tx, pool_id, of.whole), "slices": slices.total}
    whole.reserved += cards
    slices.total += cards * of.parts
    tx.flush()
    after = {"kind": of.code, "whole": of.whole, "cards": before["cards"] + cards, "slices": slices.total}
    tx.audit("pool.slice", f"pool:{pool_id}", before=before, after=after, reason=reason)
    return made


def check_equipment(tx: Tx, pool_id: int, kind: ClassCode, reserved: int, ratio: Decimal) -> None:
    """Raise Invalid where a pool's figures of a class would no longer say what is cut of it, or are a class's of slices, which are cut
    and not entered."""
    if CLASSES[kind].parts:
        raise Invalid("slice.equip", N_("切片的容量由切分加速卡得来，不直接录入"), field="total")
    cards = cut_of(tx, pool_id, kind)
    if cards and (reserved < cards or ratio != 1):
        raise Invalid(
            "slice.reserved",
            N_("已有 %(cards)s 张切分为切片：预留不能少于此数，超分比须为 1"),
            cards=cards,
            field="reserved",
        )


def check(tx: Tx) -> Iterator[str]:
    """What is wrong with cards and slices of any pool: sentences. Rows that cannot be read, or are of a class that there is not, are named
    where the table is looked at."""
    found: dict[int, dict[str, PoolCapacity]] = {}
    for row in inspection.rows(tx, select(PoolCapacity).order_by(PoolCapacity.pool_id), []):
        if row.kind in CLASSES:
            found.setdefault(row.pool_id, {})[row.kind] = row
    for pool_id, rows in found.items():
        cards: dict[str, int] = {}
        for kind, row in rows.items():
            of = CLASSES[ClassCode(kind)]
            if of.parts and (row.total % of.parts or row.reserved or row.ratio != 1):
                yield f"pool_capacities: row {row.id} is no whole number of cards in slices"
            if of.parts:
                cards[of.whole] = cards.get(of.whole, 0) + row.total // of.parts
        for kind, cut_ in cards.items():
            if cut_ and (kind not in rows or rows[kind].reserved < cut_):
                yield f"pool_capacities: pool {pool_id} has {cut_} cards of {kind} in slices, and fewer reserved"
