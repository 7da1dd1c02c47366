"""Hands for a cloud that knows no keys: its orders are carried out call by call, and a journal tells how far each is.

    class MyCloud:
        def keep_journal(self, journal):
            self._hands = Hands(journal, self)

An adapter says what it would call (``plan``), sends one call (``send``), sees in the cloud what became of one (``look``), and
names what takes back what was done where a later call failed (``back``). Everything else is here: each call is noted before
it is sent and after, so that whatever dies in between, the next process first looks and sends nothing twice.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from providers.base import (
    BUSY,
    NEVER,
    OVER_QUOTA,
    REST,
    STALLED,
    CallRecord,
    CallState,
    Order,
    OrderJournal,
    Outcome,
    OutcomeState,
    PlannedCall,
    ProviderFault,
)

IN_FLIGHT = timedelta(minutes=2)
"""For so long a call that the cloud shows nothing of may still be on its way, sent by a process that we don't see."""

ANSWERED = frozenset({BUSY, OVER_QUOTA, NEVER, "rights", "credentials", "query", "kind", REST})
"""Faults by which the cloud itself says that it did nothing, or that it was never sent; after any other it may have taken the call."""

_CLOSED = frozenset({CallState.DONE, CallState.FAILED, CallState.DROPPED})


@dataclass(frozen=True, slots=True)
class Seen:
    """What the cloud shows of a call: ``WAITING`` it never took it, ``SENT`` it is at it, ``DONE`` or ``FAILED``.

    ``facts`` are noted in the journal; ``said``: its own word; ``code`` of a failure as in ``Outcome``; ``wait_s``: when to
    look again; ``stalls_s``: so long after it was sent, what is still so has failed (None: it may take as long as it takes).
    """

    state: CallState
    facts: Mapping[str, Any] = field(default_factory=dict)
    said: str = ""
    code: str = ""
    wait_s: float | None = None
    stalls_s: float | None = None


class Caller(Protocol):
    """What an adapter must be able to do for its hands. ``calls`` are all of the order, with what was noted of each."""

    def plan(self, order: Order, now: datetime) -> tuple[PlannedCall, ...]:
        """As providers.base.Planning."""

    def mark(self, order: Order, call: CallRecord) -> Mapping[str, Any]:
        """What must be known later to tell whether the call was taken; noted before it is sent. Changes nothing."""

    def send(self, order: Order, call: CallRecord, calls: Sequence[CallRecord]) -> Seen:
        """Send one call; what is known of it at once. Raises ProviderFault, its code one of ANSWERED only where the cloud
        surely did nothing."""

    def look(self, order: Order, call: CallRecord, calls: Sequence[CallRecord]) -> Seen:
        """What became of a call that was noted as sent; changes nothing. Raises ProviderFault."""

    def back(self, order: Order, calls: Sequence[CallRecord]) -> PlannedCall | None:
        """What takes back what was done, after a call failed; None where there is nothing to take back."""

    def result(self, order: Order, calls: Sequence[CallRecord], outcome: Outcome) -> Outcome:
        """``outcome`` of an order of which every call is done, with what it made of the resource."""


class Hands:
    """Carries out the orders of one cloud. ``journal`` survives the process; ``caller`` speaks to the cloud."""

    def __init__(self, journal: OrderJournal, caller: Caller) -> None:
        self.journal, self._caller = journal, caller

    def deliver(self, order: Order, now: datetime) -> Outcome:
        """As Provider.deliver: the same key again goes on where it was."""
        known = self.journal.order(order.key)
        if known is not None and known != order:
            raise ProviderFault(f"{order.key}: another order has this key", transient=False, code=NEVER)
        if not self.journal.calls(order.key):
            self.journal.open(order, self._caller.plan(order, now))
        return self.advance(order.key, now)

    def inquire(self, key: str, now: datetime) -> Outcome | None:
        """As Provider.inquire, out of the journal alone: what is under way is PENDING until ``advance`` saw it done."""
        order, calls = self.journal.order(key), self.journal.calls(key)
        if order is None or all(one.state is CallState.WAITING for one in calls):
            return None
        return self._outcome(order, calls, now)

    def advance(self, key: str, now: datetime) -> Outcome:
        """As Advancing.advance. Raises ProviderFault where the first call was answered by a refusal that may pass (nothing
        was done), and where nobody knows what became of the last one."""
        order = self.journal.order(key)
        if order is None:
            raise ProviderFault(f"{key}: no such order", transient=False, code=NEVER)
        while True:
            calls = self.journal.calls(key)
            call = next((one for one in calls if one.state not in _CLOSED), None)
            if call is None:
                return self._outcome(order, calls, now)
            seen = self._taken(order, call, calls, now)
            if seen.state is CallState.WAITING or seen.state is CallState.SENT:
                if seen.facts:
                    self.journal.note(key, call.place, seen.state, now, facts=seen.facts)
                return self._pending(order, seen, now)
            self.journal.note(key, call.place, seen.state, now, facts=self._kept(seen), said=seen.said)
            if seen.state is CallState.FAILED:
                self._turn(order)

    def _taken(self, order: Order, call: CallRecord, calls: Sequence[CallRecord], now: datetime) -> Seen:
        """What became of the open call, sent now where it was not. ``WAITING``: it waits for another time."""
        if call.state is CallState.SENT:
            seen = self._caller.look(order, call, calls)
            if seen.state is CallState.SENT and _stalls(call, seen, now):
                return replace(seen, state=CallState.FAILED, code=STALLED)
            if seen.state is not CallState.WAITING:
                return seen
            if call.began_at is not None and now < call.began_at + IN_FLIGHT:
                return replace(seen, state=CallState.SENT)
            self.journal.note(order.key, call.place, CallState.WAITING, now)
            if call.place == 0:
                return seen  # nothing was done yet: whether it still may be is looked at afresh by who sent us
        if not self.journal.begin(order.key, call.place, now, self._caller.mark(order, call)):
            return Seen(CallState.SENT)  # somebody else is sending it just now
        try:
            return self._caller.send(order, call, calls)
        except ProviderFault as fault:
            if fault.code not in ANSWERED:
                raise
            if fault.transient or fault.code == BUSY:
                self.journal.note(order.key, call.place, CallState.WAITING, now, said=str(fault))
                if call.place == 0:
                    raise
                return Seen(CallState.WAITING, said=str(fault), wait_s=fault.wait_s)
            return Seen(CallState.FAILED, said=str(fault), code=fault.code)

    def _turn(self, order: Order) -> None:
        """A call failed: what was done before is taken back, unless that was what failed."""
        calls = self.journal.calls(order.key)
        if sum(one.state is CallState.FAILED for one in calls) > 1:
            return
        back = self._caller.back(order, calls)
        if back is not None:
            self.journal.turn(order.key, back)

    def _outcome(self, order: Order, calls: Sequence[CallRecord], now: datetime) -> Outcome:
        ended = [one.ended_at for one in calls if one.ended_at is not None]
        at = max(ended, default=now)
        failed = [one for one in calls if one.state is CallState.FAILED]
        if any(one.state not in _CLOSED for one in calls):
            return Outcome(order.key, OutcomeState.PENDING, at, order.external_id)
        if failed:
            said = "; ".join(one.said for one in failed if one.said)
            code = NEVER if len(failed) > 1 else str(failed[0].facts.get("code", ""))
            return Outcome(order.key, OutcomeState.FAILED, at, order.external_id, message=said, code=code)
        return self._caller.result(order, calls, Outcome(order.key, OutcomeState.DONE, at, order.external_id))

    @staticmethod
    def _pending(order: Order, seen: Seen, now: datetime) -> Outcome:
        return Outcome(order.key, OutcomeState.PENDING, now, order.external_id, message=seen.said, wait_s=seen.wait_s)

    @staticmethod
    def _kept(seen: Seen) -> dict[str, Any]:
        return {**seen.facts, **({"code": seen.code} if seen.code else {})}


def _stalls(call: CallRecord, seen: Seen, now: datetime) -> bool:
    if seen.stalls_s is None or call.began_at is None:
        return False
    return now >= call.began_at + timedelta(seconds=seen.stalls_s)


class MemoryJournal:
    """A journal that is forgotten with its process: for trying an adapter out. Implements providers.base.OrderJournal."""

    def __init__(self) -> None:
        self._orders: dict[str, Order] = {}
        self._calls: dict[str, list[CallRecord]] = {}
        self._guard = threading.Lock()

    def order(self, key: str) -> Order | None:
        return self._orders.get(key)

    def calls(self, key: str) -> list[CallRecord]:
        return list(self._calls.get(key, ()))

    def open(self, order: Order, calls: Sequence[PlannedCall]) -> list[CallRecord]:
        with self._guard:
            if order.key not in self._calls:
                self._orders[order.key] = order
                self._calls[order.key] = [
                    CallRecord(place, call, CallState.WAITING) for place, call in enumerate(calls)
                ]
            return list(self._calls[order.key])

    def begin(self, key: str, place: int, at: datetime, facts: Mapping[str, Any] | None = None) -> bool:
        with self._guard:
            call = self._calls[key][place]
            if call.state is not CallState.WAITING:
                return False
            self._calls[key][place] = replace(
                call, state=CallState.SENT, began_at=at, facts={**call.facts, **(facts or {})}
            )
            return True

    def note(
        self,
        key: str,
        place: int,
        state: CallState,
        at: datetime,
        *,
        facts: Mapping[str, Any] | None = None,
        said: str = "",
    ) -> None:
        with self._guard:
            call = self._calls[key][place]
            self._calls[key][place] = replace(
                call,
                state=state,
                facts={**call.facts, **(facts or {})},
                said=said or call.said,
                began_at=None if state is CallState.WAITING else call.began_at,
                ended_at=at if state in (CallState.DONE, CallState.FAILED) else None,
            )
            if state is CallState.FAILED:
                self._drop(key, place + 1)

    def turn(self, key: str, call: PlannedCall) -> int:
        with self._guard:
            if self._calls[key][-1].call.name != call.name:
                self._drop(key, 0)
                self._calls[key].append(CallRecord(len(self._calls[key]), call, CallState.WAITING))
            return self._calls[key][-1].place

    def _drop(self, key: str, first: int) -> None:
        self._calls[key] = [
            replace(one, state=CallState.DROPPED) if one.place >= first and one.state is CallState.WAITING else one
            for one in self._calls[key]
        ]
