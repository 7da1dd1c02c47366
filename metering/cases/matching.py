"""Matching: what one department gives up is what another asks for, of the same architecture and zone: net zero for the
city. Arithmetic, and the reading of who gives and who asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import joinedload, load_only, selectinload

from metering.cases.files import Case
from metering.cases.steps import CaseState
from metering.judging import TAKES, CaseKind, worth
from quota.directory import Department, Pool
from quota.requests import OPEN as OPEN_REQUESTS
from quota.requests import Request
from quota.units import ACCELERATOR, BLOCK, EIP, MEMORY, VCPU, Amount

if TYPE_CHECKING:
    from quota.db import Tx

MATCHED = (VCPU, MEMORY, BLOCK, ACCELERATOR, EIP)
"""What is moved between departments; the rest belongs to the thing it was bought with."""


@dataclass(frozen=True, slots=True)
class MatchParty:
    """Who gives or asks: ``place`` is (architecture, zone); only what is of the same can be exchanged."""

    key: str  # case:12, request:7
    number: str
    department: str
    place: tuple[str, str]
    what: Amount


@dataclass(frozen=True, slots=True)
class Match:
    """``donor`` gives ``what`` of what ``asker`` needs; ``covered``: whether that is then all it asked for."""

    donor: MatchParty
    asker: MatchParty
    what: Amount
    covered: bool


def pair(donors: Sequence[MatchParty], askers: Sequence[MatchParty]) -> list[Match]:
    """Who could serve whom. The largest need first; of the donors of its place those that give most first.

    Nothing is given twice; a kind is given only where it is needed.
    """
    left = {one.key: one.what.only(MATCHED) for one in donors}
    ranked: dict[tuple[str, str], list[MatchParty]] = {}
    for one in sorted(donors, key=lambda one: (-worth(left[one.key]), one.key)):
        ranked.setdefault(one.place, []).append(one)
    found: list[Match] = []
    for asker in sorted(askers, key=lambda one: (-worth(one.what), one.key)):
        need = asker.what.only(MATCHED)
        rows: list[tuple[MatchParty, Amount]] = []
        spent = False
        for donor in ranked.get(asker.place, ()):
            if not need:
                break
            if donor.key == asker.key:
                continue
            given = need.within(left[donor.key])
            if not given:
                continue
            left[donor.key] -= given
            need -= given
            rows.append((donor, given))
            spent = spent or not left[donor.key]
        if spent:  # who has nothing left is not asked again
            ranked[asker.place] = [one for one in ranked[asker.place] if left[one.key]]
        covered = bool(rows) and not need
        found += [Match(donor, asker, given, covered) for donor, given in rows]
    return found


PARTY = (
    load_only(Case.opened_at, Case.recoverable),
    joinedload(Case.pool).load_only(Pool.arch, Pool.zone),
    joinedload(Case.department).load_only(Department.name),
)
"""What is read of a case: there may be as many as machines."""


def donors(tx: Tx) -> list[MatchParty]:
    """Open cases that take something away, by what they recover."""
    query = (
        select(Case)
        .where(Case.state != CaseState.CLOSED.value, Case.kind.in_([kind.value for kind in TAKES]))
        .options(*PARTY)
        .order_by(Case.id)
    )
    return [
        MatchParty(one.subject, one.number, one.department.name, (one.pool.arch, one.pool.zone), one.recovers())
        for one in tx.scalars(query)
    ]


def askers(tx: Tx) -> list[MatchParty]:
    """Open cases that give, and requests that are being decided."""
    growing = (
        select(Case)
        .where(Case.state != CaseState.CLOSED.value, Case.kind == CaseKind.EXPAND.value, Case.effective_at.is_(None))
        .options(*PARTY)
        .order_by(Case.id)
    )
    found = [
        MatchParty(one.subject, one.number, one.department.name, (one.pool.arch, one.pool.zone), one.recovers())
        for one in tx.scalars(growing)
    ]
    asked = (
        select(Request)
        .where(Request.state.in_([one.value for one in OPEN_REQUESTS]))
        .options(joinedload(Request.pool), joinedload(Request.department), selectinload(Request.lines))
        .order_by(Request.id)
    )
    for request in tx.scalars(asked):
        what = Amount.total(line.takes() for line in request.lines)
        if what:
            found.append(
                MatchParty(
                    request.subject,
                    request.number,
                    request.department.name,
                    (request.pool.arch, request.pool.zone),
                    what,
                )
            )
    return found


def matches(tx: Tx) -> list[Match]:
    """Who could serve whom now."""
    return pair(donors(tx), askers(tx))
