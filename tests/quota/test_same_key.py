"""The same key from two at once: the second is answered as the first was, and nothing is done or noted twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import func, select

from quota.actors import steward
from quota.audit import AuditRecord
from quota.db import Tx
from quota.directory import pools
from quota.errors import Conflict
from quota.ledger import allotments, capacities, entries, lending
from quota.ledger.allotments import Act, Allotment
from quota.requests import submission
from quota.units import VCPU
from tests.city import GB, City
from tests.patience import pause, together
from tests.quota.conftest import CPU, MEM


@pytest.fixture
def rich(town: City) -> City:
    """The bureau has 40 vCPU and 80 GB that it does not use."""
    town.grant({CPU: 40, MEM: 80 * GB}, "rich")
    return town


def offer(town: City, tx: Tx) -> Any:
    return lending.offer(
        tx, town.arm, CPU, 40, town.bureau, town.neighbour,
        days=30, guaranteed_days=10, notice_days=5, reason="重保期间互助", key="k",
    ).id  # fmt: skip


def take_back(town: City, tx: Tx) -> Any:
    """All that is there: a second one would find nothing left."""
    return allotments.carry_out(tx, Allotment(Act.RECLAIM, town.arm, CPU, town.bureau, 40, "闲置未用"), key="k").id


def equip(town: City, tx: Tx) -> Any:
    return capacities.equip(tx, tx.get_one(pools.Pool, town.arm), VCPU, 300, key="k", reason="扩容").total


def draft(town: City, tx: Tx) -> Any:
    return submission.draft(tx, town.ask(key="k")).id


@pytest.mark.parametrize(
    ("verb", "who", "action"),
    [
        (offer, "clerk", "loan.offer"),
        (take_back, "chief", "quota.reclaim"),
        (equip, None, "pool.equip"),
        (draft, "clerk", "request.draft"),
    ],
)
def test_the_same_key_from_two_at_once_is_one_act(
    rich: City, verb: Callable[[City, Tx], Any], who: str | None, action: str
) -> None:
    with rich.book.reading() as tx:
        before = tx.scalar(select(func.count()).where(AuditRecord.action == action)) or 0
    start, answers = threading.Barrier(4), []

    def post() -> None:
        start.wait()
        with rich.book.transaction(rich.people[who] if who else steward()) as tx:
            answers.append(verb(rich, tx))
            pause(0.1)  # the others come while it is not committed yet

    together(*[post] * 4)
    assert len(answers) == 4
    assert len(set(answers)) == 1
    with rich.book.reading() as tx:
        assert (tx.scalar(select(func.count()).where(AuditRecord.action == action)) or 0) == before + 1
        assert entries.conserved(tx)
    rich.prove()


def test_the_same_key_for_something_else_is_refused_also_at_once(rich: City) -> None:
    start, refused = threading.Barrier(2), []

    def post(amount: int) -> None:
        start.wait()
        try:
            with rich.book.transaction(rich.people["chief"]) as tx:
                what = Allotment(Act.RECLAIM, rich.arm, CPU, rich.bureau, amount, "闲置未用")
                allotments.carry_out(tx, what, key="k")
                pause(0.1)
        except Conflict as conflict:
            refused.append(conflict.code)

    together(*(partial(post, amount) for amount in (10, 20)))
    assert refused == ["key.reused"]
    rich.prove()
