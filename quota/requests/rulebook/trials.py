"""What rules would have done: the requests of the past weeks, judged as they would have judged them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from quota.errors import Refused
from quota.requests import rules
from quota.requests.declarations import RequestKind, known
from quota.requests.parties import Shortage, shortages
from quota.requests.rulebook import enactment
from quota.requests.rules import FACTS, Facts, Judgement, Rule, Step
from quota.requests.tables import Request

if TYPE_CHECKING:
    from quota.db import Tx


@dataclass(frozen=True, slots=True)
class Changed:
    """A request that would have been judged otherwise."""

    request: Request
    before: Judgement
    after: Judgement


@dataclass(slots=True)
class Trial:
    """``tried`` requests of the past; those of them that ``changed``; request kinds that nobody would sign any more."""

    tried: int = 0
    changed: list[Changed] = field(default_factory=list)
    unsigned: list[RequestKind] = field(default_factory=list)
    short: list[Shortage] = field(default_factory=list)  # parties that the house has not the people for
    days_before: int = 0  # the limits of all steps of all tried requests, in working days
    days_after: int = 0


def trial(tx: Tx, tried: Sequence[Rule], since: datetime) -> Trial:
    """Try rules that are not enacted yet on what was submitted from ``since`` on, as of the day when the last of them would take
    effect.

    Requests keep the facts that they were judged by, so what is compared is the rules alone. Changes nothing.
    """
    on = max(rule.effective_from for rule in tried)
    present, found = enactment.enacted(tx), Trial()
    renewed = [*present, *tried]
    submitted = tx.scalars(select(Request).where(Request.submitted_at >= since).order_by(Request.submitted_at.desc()))
    paths: list[Sequence[Step]] = []
    for request in submitted:
        before, after = _judged(request.facts, present, on), _judged(request.facts, renewed, on)
        if before is None or after is None:
            continue
        found.tried += 1
        paths.append(after.path)
        found.days_before += sum(step.days for step in before.path)
        found.days_after += sum(step.days for step in after.path)
        if _spelled(before) != _spelled(after):
            found.changed.append(Changed(request, before, after))
    least = {name: fact.least for name, fact in FACTS.items()}  # who would sign even the least that can be asked for?
    for kind in known():
        said = rules.judge({**least, "kind": kind.code}, renewed, on)
        paths.extend(_with(said.path, rule) for rule in tried)
        if not said.decided and said.passed is None and not said.refused:
            found.unsigned.append(kind)
    found.short = shortages(tx, paths)
    return found


def _with(path: Sequence[Step], rule: Rule) -> list[Step]:
    """``path`` with the steps of ``rule``, whose condition may hold of something that nobody asked for yet."""
    found = {one.name: one for one in [*path, *(rules.step(raw) for raw in rule.steps)]}
    return list(found.values())


def _judged(facts: Facts, known: Sequence[Rule], on: date) -> Judgement | None:
    """None where a request of long ago lacks a fact that the rules ask for."""
    try:
        return rules.judge(facts, known, on)
    except Refused:
        return None


def _spelled(said: Judgement) -> tuple[object, ...]:
    return (
        [
            (step.name, step.parties, step.limit, step.unit, step.need, step.record, step.supplement_days)
            for step in said.path
        ],
        said.passed is not None,
        [ground.reason for ground in said.refused],
    )
