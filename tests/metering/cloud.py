"""A cloud that does at once what it is told, once a key, and remembers when; it may refuse, be unreachable, lose its
reply, or the steward's process may die right before or right after it acted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from providers.base import ON_RESOURCES, Inventory, Order, Outcome, OutcomeState, ProviderFault, Samples, Verb
from quota.units import CLASSES, ClassCode


class Died(BaseException):
    """The steward's process ends here, as by SIGKILL: nothing after this line runs."""


@dataclass
class Cloud:
    """``acted``: every order carried out, once a key. ``ails``: what goes wrong with the next order.

    ``seen`` is called with each order before anything is done, as it reaches the cloud.
    """

    seen: Callable[[Order], None] = lambda _order: None
    name: str = "testing"
    capabilities: frozenset[Verb] = ON_RESOURCES
    live_resize: bool = True
    releases: Mapping[Verb, frozenset[ClassCode]] = field(
        default_factory=lambda: {Verb.RESIZE: frozenset(CLASSES), Verb.DELETE: frozenset(CLASSES)}
    )
    acted: dict[str, Order] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    ails: str = ""

    def inquire(self, key: str, now: datetime) -> Outcome | None:
        if self.ails == "dies":
            self.ails = ""
            raise Died
        if self.ails == "unreachable":
            self.ails = ""
            raise ProviderFault("no route to host", transient=True)
        done = self.acted.get(key)
        return None if done is None else Outcome(key, OutcomeState.DONE, now, done.external_id, done.amounts)

    def deliver(self, order: Order, now: datetime) -> Outcome:
        ails, self.ails = self.ails, ""
        if ails == "dies before":
            raise Died
        self.seen(order)
        self.asked.add(order.key)
        if ails == "unreachable":
            raise ProviderFault("no route to host", transient=True)
        if ails == "refuses":
            return Outcome(order.key, OutcomeState.FAILED, now, message="busy")
        if order.verb is Verb.CREATE and order.key not in self.acted:
            order = replace(order, external_id=f"made-{len(self.acted)}")
        order = self.acted.setdefault(order.key, order)
        if ails == "dies":
            raise Died
        if ails == "reply lost":
            raise ProviderFault("connection reset", transient=True)
        return Outcome(order.key, OutcomeState.DONE, now, order.external_id, order.amounts)

    def verbs(self, external_id: str) -> list[Verb]:
        """What was done to a resource, in order."""
        return [one.verb for one in self.acted.values() if one.external_id == external_id]

    def inventory(self, now: datetime) -> Inventory:
        raise NotImplementedError

    def samples(self, since: datetime, until: datetime) -> Iterator[Samples]:
        raise NotImplementedError
