"""What may go wrong with the simulated cloud, on purpose and the same each time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any

from providers.base import Order, Verb
from quota.errors import N_, Invalid


class Trouble(StrEnum):
    """What can go wrong.

    unreachable: every call raises a transient fault. partial: listings are incomplete. silence: no samples of
    that time exist. refuse: orders fail. lost_reply: orders are carried out, and the answer never arrives.
    """

    UNREACHABLE = "unreachable"
    PARTIAL = "partial"
    SILENCE = "silence"
    REFUSE = "refuse"
    LOST_REPLY = "lost_reply"


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """A trouble while since <= clock < until, of one verb or resource only where these are named.

    The clock is the ``now`` of a call; of a call for samples its ``until``; of silence the sample's own time.
    """

    what: Trouble
    since: datetime
    until: datetime
    verb: Verb | None = None
    external_id: str | None = None
    message: str = ""

    def concerns(self, order: Order) -> bool:
        return self.verb in (None, order.verb) and self.external_id in (None, order.external_id)


def faults(raw: Iterable[Mapping[str, Any]]) -> tuple[PlannedFault, ...]:
    """Faults as options hold them: texts, times in ISO 8601 with an offset. Raises Invalid otherwise."""
    found = []
    for one in raw:
        try:
            since, until = (datetime.fromisoformat(one[name]) for name in ("since", "until"))
            if since.tzinfo is None or until.tzinfo is None:
                raise ValueError("no UTC offset")
            verb = Verb(one["verb"]) if "verb" in one else None
            rest = {name: str(one[name]) for name in one.keys() - {"what", "since", "until", "verb"}}
            found.append(PlannedFault(Trouble(one["what"]), since, until, verb, **rest))
        except (KeyError, TypeError, ValueError) as error:
            raise Invalid(
                "fault.bad", N_("故障设定 %(fault)s 不对:%(error)s"), fault=str(one), error=str(error)
            ) from error
    return tuple(found)


def chance(*what: object) -> float:
    """A number in [0, 1) that is always the same for the same things."""
    digest = sha256("/".join(map(str, what)).encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
