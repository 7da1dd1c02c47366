"""Who may sign a step by what is named, taken on and delegated: the condition of the queues says what the rule says, in every case."""

from __future__ import annotations

from datetime import timedelta
from itertools import product
from random import Random

import pytest
from sqlalchemy import select

from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.db import Tx
from quota.directory import Delegation, Person
from quota.errors import NotAllowed
from quota.requests import approvals, kinds
from quota.requests.tables import Request, RequestStep
from tests.city import City

ONE, TWO, AWAY, GONE, MOVED = "sign-one", "sign-two", "sign-away", "sign-gone", "sign-moved"
NAMED = [
    (None, None), (ONE, None), (AWAY, None), (None, TWO), (None, AWAY), (None, GONE), (GONE, None), (MOVED, None), (None, MOVED),
]  # fmt: skip
"""Whom a rule names for a step, and who took it on."""
TOOK = [None, (ONE, None), (TWO, AWAY)]
"""Who took an earlier step, and for whom."""
SAMPLED = 60
"""Of all 810 combinations: what a test has time for."""


def test_the_queue_holds_what_may_be_signed_and_nothing_else(town: City) -> None:
    with town.book.transaction(steward()) as tx:
        people = _people(tx)
        own_before_others = ("clerk", (AWAY, None), (ONE, None), None)
        cases = [
            own_before_others,
            ("clerk", (MOVED, None), None, None),
            ("clerk", (GONE, None), None, None),
            (GONE, (GONE, None), None, None),
            ("clerk", (None, MOVED), None, (ONE, None)),
            *Random(12).sample(list(product(("clerk", ONE, AWAY), NAMED, [None, *NAMED], TOOK)), SAMPLED),
        ]
        for number, (by, first, second, took) in enumerate(cases):
            steps = [_step(tx, n, *each) for n, each in enumerate(filter(None, (first, second)), 2)]
            tx.add(
                _request(tx, town, number, by, [_step(tx, 1, name="form_check", took=took), *steps] if took else steps)
            )
        tx.flush()
        tx.expire_all()
        found = tx.scalars(select(Request).where(Request.number.startswith("W-")).order_by(Request.id)).all()
        may = {one: {each.number for each in tx.scalars(approvals.to_sign(tx, who))} for one, who in people.items()}
        for one, case in zip(found, cases, strict=True):
            for login, who in people.items():
                assert approvals.may_sign(tx, one, who) == (one.number in may[login]), (login, case)
            _by, (_named, held), second, _took = case
            if second is None and held is None:  # nobody took it on: who may sign is who is able to
                able = {each.login for each in approvals.able(tx, one, one.active[0])} & people.keys()
                assert able == {login for login in people if one.number in may[login]}, case
        assert all(may[login] for login in (ONE, TWO, AWAY))
        assert not may["other"]
        own = found[cases.index(own_before_others)]
        mine = approvals.step_of(tx, own, people[ONE])
        assert mine is not None
        assert mine.person == ONE, "his own before that of who is away"
        tx.rollback()
    with town.book.transaction(people[ONE]) as tx:
        asked = _request(tx, town, 0, ONE, [_step(tx, 1)])
        tx.add(asked)
        tx.flush()
        with pytest.raises(NotAllowed) as refused:
            approvals.assign(tx, asked, 1, TWO)
        assert refused.value.code == "assign.own", "nobody picks who signs what he asked for"
        tx.rollback()


def test_what_no_supervisor_is_left_for_is_told_by_its_own_steps_alone(town: City) -> None:
    with town.book.transaction(steward()) as tx:
        _people(tx)
        for number, took in enumerate(((("other", None),), (("more", None),), (("other", None), ("more", None)))):
            steps = [_step(tx, n, name="form_check", took=each) for n, each in enumerate(took)]
            review = _step(tx, 9, name="technical_review", role=Role.SUPERVISOR)
            tx.add(_request(tx, town, number, "clerk", [*steps, review], turn=Role.SUPERVISOR.value))
        tx.flush()
        assert [one.number for one in tx.scalars(approvals.left_alone())] == ["W-2"]
        tx.rollback()


def _people(tx: Tx) -> dict[str, Actor]:
    """Who is there, and for whom ONE stands in today, TWO tomorrow, and TWO no more."""
    people = {login: Person(login=login, name=login, role=Role.AUTHORITY.value) for login in (ONE, TWO, AWAY, GONE)}
    people |= {login: Person(login=login, name=login, role=Role.SUPERVISOR.value) for login in ("other", "more")}
    people[MOVED] = Person(login=MOVED, name=MOVED, role=Role.AUDITOR.value)
    people[GONE].active = False
    tx.add_all(people.values())
    tx.flush()
    today = tx.now.astimezone(ZONE).date()
    for away, deputy, days, revoked in (
        (AWAY, ONE, 0, None),
        (AWAY, TWO, 1, None),
        (AWAY, TWO, 0, tx.now),
        (MOVED, ONE, 0, None),
    ):
        day = today + timedelta(days=days)
        tx.add(
            Delegation(
                person_id=people[away].id, deputy_id=people[deputy].id, from_on=day, until_on=day, reason="外出",
                entered_at=tx.now, entered_by=away, revoked_at=revoked,
            )
        )  # fmt: skip
    return {login: one.actor() for login, one in people.items() if login not in (GONE, "more")}


def _request(tx: Tx, town: City, number: int, by: str, steps: list[RequestStep], turn: str | None = None) -> Request:
    return Request(
        number=f"W-{number}", kind=kinds.QUOTA.code, state="in_review", department_id=town.bureau, pool_id=town.arm,
        created_by="clerk", submitted_by=by, created_at=tx.now, changed_by=by, changed_at=tx.now, generation=1, round=1, turn=turn,
        steps=steps,
    )  # fmt: skip


def _step(
    tx: Tx, sequence: int, person: str | None = None, assignee: str | None = None, *, name: str = "word",
    role: Role = Role.AUTHORITY, took: tuple[str, str | None] | None = None,
) -> RequestStep:  # fmt: skip
    row = RequestStep(
        round=1, sequence=sequence, name=name, label="会签", stage=10 if name == "form_check" else 20, role=role.value, person=person,
        assignee=assignee, limit=1, supplement_days=1, rule="base", because=[], started_at=tx.now,
    )  # fmt: skip
    if took is not None:
        row.decision, row.decided_at = "approve", tx.now
        row.decided_by, row.decided_for = took
    return row
