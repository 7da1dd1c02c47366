"""What a rule would have done: the requests of the past weeks, sent along the path that it would have given them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from quota.errors import Refused
from quota.requests import rulebook, rules
from quota.requests.declarations import RequestKind, known
from quota.requests.rules import FACTS, Facts, Rule, Step
from quota.requests.tables import Request

if TYPE_CHECKING:
    from quota.db import Tx


@dataclass(frozen=True, slots=True)
class Changed:
    """A request whose path would have been another one."""

    request: Request
    before: Sequence[Step]
    after: Sequence[Step]


@dataclass(slots=True)
class Trial:
    """``tried`` requests of the past; those of them that ``changed``; request kinds that nobody would sign any more."""

    tried: int = 0
    changed: list[Changed] = field(default_factory=list)
    unsigned: list[RequestKind] = field(default_factory=list)
    days_before: int = 0  # the limits of all steps of all tried requests, in working days
    days_after: int = 0


def trial(tx: Tx, rule: Rule, since: datetime) -> Trial:
    """Try ``rule``, not yet enacted, on what was submitted from ``since`` on, as of the day when it would take effect.

    Requests keep the facts that they were judged by, so what is compared is the rules alone. Changes nothing.
    """
    present, found = rulebook.enacted(tx), Trial()
    renewed, on = [*present, rule], rule.effective_from
    submitted = tx.scalars(select(Request).where(Request.submitted_at >= since).order_by(Request.submitted_at.desc()))
    for request in submitted:
        before, after = _path(request.facts, present, rule), _path(request.facts, renewed, rule)
        if before is None or after is None:
            continue
        found.tried += 1
        found.days_before += sum(step.days for step in before)
        found.days_after += sum(step.days for step in after)
        if _spelled(before) != _spelled(after):
            found.changed.append(Changed(request, before, after))
    least = {name: fact.least for name, fact in FACTS.items()}  # who would sign even the least that can be asked for?
    for kind in known():
        try:
            rules.signers({**least, "kind": kind.code}, renewed, on)
        except Refused:
            found.unsigned.append(kind)
    return found


def _path(facts: Facts, known: Sequence[Rule], rule: Rule) -> list[Step] | None:
    """None where a request of long ago lacks a fact that the rules ask for."""
    try:
        return rules.path(facts, known, rule.effective_from)
    except Refused:
        return None


def _spelled(path: Sequence[Step]) -> list[tuple[str, str, int, int]]:
    return [(step.name, step.role, step.days, step.supplement_days) for step in path]
