"""Whose programs rest: a source that is not asked about people behind their backs says nothing of who left its house, so personal tokens
of who is linked to it may be made to hold only while their person comes by it (``tokens`` of its rules).

Nothing is taken: the next login by the source has them good again, and whoever cannot log in there any more has lost them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from console.identity import rulebook
from console.identity.tables import IdentityLink, IdentitySource
from quota.db import Tx


@dataclass(frozen=True, slots=True)
class Absence:
    """That somebody did not come by ``source`` (its name) for the ``days`` that its rules allow."""

    source: str
    days: int


def absence(tx: Tx, person_id: int) -> Absence | None:
    """The source by which a person ought to have come of late for their tokens to be good; None: nothing stands in the way. Of
    several sources with such a rule each holds."""
    query = select(IdentityLink).join(IdentitySource, IdentitySource.id == IdentityLink.source_id)
    query = query.where(IdentityLink.person_id == person_id, IdentitySource.active)
    for link in tx.scalars(query.options(joinedload(IdentityLink.source)).order_by(IdentityLink.id)):
        rules = rulebook.in_force(tx, link.source_id)
        last = link.seen_at or link.linked_at
        if rules is not None and rules.tokens and last + timedelta(days=rules.tokens) <= tx.now:
            return Absence(link.source.name, rules.tokens)
    return None
