"""Whatever people do with requests, in whatever order: every vCPU is where a plain model says that it is."""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from quota.actors import steward
from quota.calendar import ZONE
from quota.db import Book
from quota.errors import OverCapacity
from quota.ledger import commitments, entries
from quota.requests import RequestKind, approvals, fulfilment, kinds, notices, submission
from quota.requests.approvals import Decision
from quota.requests.asks import Line
from quota.requests.declarations import declared
from quota.units import MEMORY, VCPU, Amount, Arch, Commodity
from tests import books
from tests.city import GB, TOWN, City

CPU = Commodity(VCPU, Arch.AARCH64)
PIECE = 4  # vCPU of one 4C8G
SHAPE = Amount({VCPU: PIECE, MEMORY: 8 * GB})
MIGRATE = declared("migrate")
MACHINES = 5  # that stand at first, of each sort
ABOUT_MACHINES = [kinds.RESIZE, kinds.RESIZE, kinds.TEMPORARY, kinds.UNSUBSCRIBE, kinds.SURRENDER, MIGRATE]
LENT = 30  # days
SIGNER = {"form_check": "checker", "technical_review": "reviewer", "authority_approval": "chief"}


class Held:
    """What the model knows of one request: pieces or vCPU asked for, where its hold came from, the machine that it is about and what of
    that is given back."""

    def __init__(self, kind: RequestKind, asked: int, within: int) -> None:
        self.kind, self.asked, self.within = kind, asked, within
        self.approved = asked
        self.machine, self.gives, self.until = 0, 0, date.max

    @property
    def beyond(self) -> int:
        return self.asked - self.within


class Desk(RuleBasedStateMachine):
    """Requests filed, signed, cut, returned, mended, withdrawn, delivered; time passes. All figures in vCPU."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="guanjia-desk-"))
        self.now = datetime(2026, 6, 1, 2, 0, tzinfo=UTC)
        book = Book(books.sqlite(self.home / "book.db"), clock=lambda: self.now)
        self.town: City = City(book, plan=TOWN)
        self.free, self.granted, self.used = 200, 0, 0
        self.open: dict[int, Held] = {}
        self.queue: list[tuple[date, int, int]] = []  # day, number, vCPU that wait
        self.promised: list[tuple[date, int, int]] = []  # those that are held
        self.standing: dict[RequestKind, list[int]] = {}  # machines that nothing was asked about

    def teardown(self) -> None:
        self.town.prove()
        self.town.book.dispose()
        shutil.rmtree(self.home, ignore_errors=True)

    # ---------------------------------------------------------------------------------------------------------- model

    def hold(self, kind: RequestKind, asked: int, had: int = 0) -> Held | None:
        """Move it as the book should; None where the book should refuse. ``had``: of the pool's, until now."""
        within = 0 if kind is kinds.QUOTA else min(self.granted, asked)
        kept = sum(one[2] for one in self.queue) if asked - within > had else 0
        if asked - within > 0 and asked - within > self.free - kept:
            return None
        self.granted -= within
        self.free -= asked - within
        return Held(kind, asked, within)

    def void(self, held: Held) -> None:
        self.granted += held.within
        self.free += held.beyond

    def post(self, held: Held) -> None:
        """What was approved comes out of the department's quota first; the rest returns to where it came from."""
        own = min(held.within, held.approved)
        self.granted += held.within - own
        self.free += held.beyond - (held.approved - own)
        if held.kind is kinds.QUOTA:
            self.granted += held.approved
        else:
            self.used += held.approved

    def ask(self, kind: RequestKind, count: int) -> tuple[int, list[Line]]:
        if kind is kinds.QUOTA:
            return count, [Line(asked={VCPU: count})]
        return count * PIECE, [Line(item_id=self.town.item, quantity=count)]

    def over(self, id_: int) -> None:
        """It came to nothing: what it held is back, and its machine may be asked about again."""
        held = self.open.pop(id_)
        self.void(held)
        if held.machine:
            self.standing[held.kind].append(held.machine)

    @property
    def today(self) -> date:
        return self.now.astimezone(ZONE).date()

    def state(self, id_: int) -> str:
        with self.town.book.reading() as tx:
            return submission.request(tx, id_).state

    def pick(self, number: int, *states: str) -> int | None:
        with self.town.book.reading() as tx:
            found = [id_ for id_ in self.open if submission.request(tx, id_).state in states]
        return found[number % len(found)] if found else None

    # ---------------------------------------------------------------------------------------------------------- moves

    @initialize(grant=st.integers(0, 60))
    def begin(self, grant: int) -> None:
        if grant:
            memory = Commodity(MEMORY, Arch.AARCH64)
            self.town.grant({CPU: grant, memory: 200 * 1024}, "begin")
            self.free -= grant
            self.granted += grant
        self.stand()

    def stand(self) -> None:
        """Machines in use: those of the pool, some that nobody approved, and some in another pool that are to move here."""
        for kind in dict.fromkeys(ABOUT_MACHINES):
            pool, booked = self.town.arm, SHAPE
            if kind is kinds.SURRENDER:
                booked = Amount()
            elif kind is MIGRATE:
                pool = self.town.x86
                with self.town.book.transaction(steward()) as tx:
                    there = (SHAPE * MACHINES).of_arch(Arch.X86_64)
                    entries.grant(tx, pool, self.town.bureau, there, key="there")
                    entries.use(tx, pool, self.town.bureau, there, key="used there")
            else:
                here = (SHAPE * MACHINES).of_arch(Arch.AARCH64)
                self.town.grant(here, kind.code, use=True)
                self.free -= MACHINES * PIECE
                self.used += MACHINES * PIECE
            how = {"pool_id": pool, "booked": booked.to_json(), "basis": "" if kind is kinds.SURRENDER else "adopted"}
            self.standing[kind] = [
                self.town.standing_machine(SHAPE, f"{kind.code}-{n}", **how) for n in range(MACHINES)
            ]

    @rule(kind=st.sampled_from([kinds.CREATE, kinds.CREATE, kinds.QUOTA]), count=st.integers(1, 20))
    def file(self, kind: RequestKind, count: int) -> None:
        asked, lines = self.ask(kind, count)
        held = self.hold(kind, asked)
        try:
            request = self.town.submit(kind, lines=lines)
        except OverCapacity:
            assert held is None
            return
        assert held is not None
        self.open[request.id] = held

    @rule(kind=st.sampled_from(ABOUT_MACHINES), shape=st.integers(1, 40), carried=st.booleans())
    def file_about_a_machine(self, kind: RequestKind, shape: int, carried: bool) -> None:
        """Another size (bigger or smaller), more for a time, given back, not wanted, or made anew in this pool."""
        if not self.standing[kind] or (shape == PIECE and kind is kinds.RESIZE):
            return
        shape = max(shape, PIECE + 1) if kind is kinds.TEMPORARY else shape
        how: dict[str, Any] = {"lines": [Line(current=SHAPE, asked={VCPU: shape}, service="vm")]}
        takes, gives = max(0, shape - PIECE), max(0, PIECE - shape)
        if kind is kinds.TEMPORARY:
            how |= {"use_until": self.today + timedelta(days=LENT), "fields": {"occasion": "重保"}}
        elif kind is kinds.UNSUBSCRIBE:
            how, takes, gives = {"lines": [Line(current=SHAPE, service="vm")]}, 0, PIECE
        elif kind is kinds.SURRENDER:
            how, takes, gives = {}, 0, 0
        elif kind is MIGRATE:
            plan = {
                one.name: next(iter(one.choices), "") if one.choices else "方案" for one in kind.fields if one.required
            }
            how = {"lines": [Line(asked={VCPU: shape, MEMORY: 8 * GB}, service="vm")], "fields": plan}
            takes, gives = shape, 0
        machine = self.standing[kind].pop()
        held = self.hold(kind, takes)
        try:
            request = self.town.submit(kind, resource_id=machine, **how)
        except OverCapacity:
            assert held is None
            self.standing[kind].append(machine)
            return
        assert held is not None
        held.machine, held.gives = machine, gives
        held.until = how.get("use_until", date.max)
        self.open[request.id] = held
        if carried:
            self.carry(request.id, shape % 2 == 0)

    @precondition(lambda self: self.open)
    @rule(number=st.integers(0, 50), decision=st.sampled_from(Decision), share=st.integers(1, 99))
    def sign(self, number: int, decision: Decision, share: int) -> None:
        id_ = self.pick(number, "in_review")
        if id_ is not None:
            self.decide(id_, decision, share)

    @precondition(lambda self: self.open)
    @rule(number=st.integers(0, 50), accept=st.sampled_from([None, False, True, True]))
    def carry_out(self, number: int, accept: bool | None) -> None:
        """All whose turn it is approve, and it is delivered where there is anything to deliver: by single steps few requests come so
        far. None: it is not delivered yet."""
        id_ = self.pick(number, "in_review")
        if id_ is not None and self.today <= self.open[id_].until:
            self.carry(id_, accept)

    def carry(self, id_: int, accept: bool | None) -> None:
        while id_ in self.open and self.state(id_) == "in_review":
            self.decide(id_, Decision.APPROVE, 1)
        if id_ in self.open and accept is not None:
            self.hand_over(id_, accept)

    def decide(self, id_: int, decision: Decision, share: int) -> None:
        with self.town.book.reading() as tx:
            request = submission.request(tx, id_)
            step, line = request.current, next(iter(request.lines), None)
            returned = any(one.name == step.name and one.returned_at is not None for one in request.steps)
            line_id, name = line.id if line is not None else 0, step.name
        held, how = self.open[id_], {}
        if self.today > held.until:
            return  # a term that is over is asked for anew
        if decision is Decision.APPROVE_PART and held.machine:
            decision = Decision.APPROVE  # a machine has a shape or has it not
        if decision is Decision.APPROVE_PART:
            piece = 1 if held.kind is kinds.QUOTA else PIECE
            part = max(1, held.asked // piece * share // 100)
            if part * piece == held.approved:
                decision = Decision.APPROVE
            elif held.kind is kinds.QUOTA:
                how = {"amounts": {line_id: {VCPU: part}}}
            else:
                how = {"quantities": {line_id: part}}
            if how:
                held.approved = part * piece
        if decision is Decision.RETURN and returned:
            decision = Decision.APPROVE
        reason = "" if decision is Decision.APPROVE else "按实测用量"
        signed = self.town.sign(id_, SIGNER[name], decision, reason=reason, **how)
        if signed.state == "rejected":
            self.over(id_)
        elif signed.state in ("approved", "done"):
            self.post(held)
            if signed.state == "done":
                del self.open[id_]

    @precondition(lambda self: self.open)
    @rule(number=st.integers(0, 50), count=st.integers(0, 25))
    def mend(self, number: int, count: int) -> None:
        """Answer a return: with the same (0), or asking for something else."""
        id_ = self.pick(number, "supplement")
        if id_ is None:
            return
        town, held = self.town, self.open[id_]
        if self.today > held.until:
            return
        count = 0 if held.machine else count
        with town.book.transaction(town.people["clerk"]) as tx:
            request = submission.lock(tx, id_)
            asked, lines = self.ask(held.kind, count) if count else (held.asked, [])
            if lines and asked != held.asked:
                request = submission.revise(
                    tx, request, town.ask(held.kind, lines=lines), generation=request.generation
                )
            generation, anew = request.generation, bool(lines) and asked != held.asked
            if not anew:
                # A supplement that could not be held before is still what the request says.
                asked = request.takes().get(CPU, 0)
                anew = asked != held.asked
        before = (self.free, self.granted)
        if anew:
            self.void(held)
            fresh = self.hold(held.kind, asked, held.beyond)
            if fresh is None:
                self.free, self.granted = before
        try:
            with town.book.transaction(town.people["clerk"]) as tx:
                submission.resubmit(tx, id_, generation=generation)
        except OverCapacity:
            assert anew
            assert fresh is None
            return
        if anew:
            assert fresh is not None
            self.open[id_] = fresh

    @precondition(lambda self: self.open)
    @rule(number=st.integers(0, 50))
    def withdraw(self, number: int) -> None:
        id_ = self.pick(number, "in_review", "supplement")
        if id_ is not None:
            with self.town.book.transaction(self.town.people["clerk"]) as tx:
                submission.withdraw(tx, id_, generation=submission.lock(tx, id_).generation)
            self.over(id_)

    @precondition(lambda self: self.open)
    @rule(number=st.integers(0, 50), accept=st.booleans())
    def deliver(self, number: int, accept: bool) -> None:
        id_ = self.pick(number, "approved", "delivering")
        if id_ is not None:
            self.hand_over(id_, accept)

    def hand_over(self, id_: int, accept: bool) -> None:
        with self.town.book.transaction(steward()) as tx:
            delivered = fulfilment.delivered(tx, id_)
        held = self.open[id_]
        self.used, self.granted = self.used - held.gives, self.granted + held.gives
        held.gives = 0  # delivered anew it frees nothing more
        with self.town.book.transaction(self.town.people["clerk"]) as tx:
            if accept:
                fulfilment.accepted(tx, id_, generation=delivered.generation)
                del self.open[id_]
            else:
                fulfilment.refused(tx, id_, generation=delivered.generation, reason="规格不符")

    @rule(days=st.integers(1, 12))
    def wait(self, days: int) -> None:
        self.now += timedelta(days=days)
        with self.town.book.transaction(steward()) as tx:
            lapsed = [one.id for one in approvals.lapse(tx)]
            fulfilment.deemed_accepted(tx)
            approvals.redate(tx)
        for id_ in lapsed:
            self.over(id_)

    # ------------------------------------------------------------------------------- quota that is promised for a day

    @rule(count=st.integers(1, 120), days=st.integers(1, 40))
    def promise(self, count: int, days: int) -> None:
        day = self.now.astimezone(ZONE).date() + timedelta(days=days)
        with self.town.book.transaction(self.town.people["clerk"]) as tx:
            request = submission.draft(
                tx, self.town.ask(kinds.COMMITMENT, lines=[Line(asked={VCPU: count})], fields={"wanted_on": str(day)})
            )
            basis, number = request.subject, request.number
        with self.town.book.transaction(steward()) as tx:
            made = commitments.enter(
                tx, self.town.bureau, self.town.arm, Amount({VCPU: count}), day, basis=basis, called=number
            )
        self.queue.append((day, made.id, count))

    @rule()
    def settle(self) -> None:
        """What is confirmed is the queue's head, as far as what is free goes; what was promised for a day is quota on it."""
        today = self.now.astimezone(ZONE).date()
        head = []
        for one in sorted(self.queue):
            if one[2] > self.free:
                break
            self.free -= one[2]
            head.append(one)
        self.queue = [one for one in self.queue if one not in head]
        self.promised += head
        given = [one for one in self.promised if one[0] <= today]
        self.promised = [one for one in self.promised if one not in given]
        self.granted += sum(one[2] for one in given)
        with self.town.book.transaction(steward()) as tx:
            found = notices.settle_commitments(tx, self.town.arm)
            assert [one.id for one in found.confirmed] == [one[1] for one in head]
            assert sorted(one.id for one in found.given) == sorted(one[1] for one in given)

    @precondition(lambda self: self.queue or self.promised)
    @rule(number=st.integers(0, 50))
    def call_off(self, number: int) -> None:
        every = [*self.queue, *self.promised]
        gone = every[number % len(every)]
        with self.town.book.transaction(self.town.people["clerk"]) as tx:
            now = commitments.commitment(tx, gone[1]).generation
            commitments.cancel(tx, gone[1], generation=now, reason="不需要了")
        if gone in self.promised:
            self.free += gone[2]
            self.promised.remove(gone)
        else:
            self.queue.remove(gone)

    # ------------------------------------------------------------------------------------------------------ invariant

    @invariant()
    def every_core_is_where_it_should_be(self) -> None:
        held = 200 - self.free - self.granted - self.used
        expected = {"supply": -200, "free": self.free, "granted": self.granted, "used": self.used, "held": held}
        with self.town.book.reading() as tx:
            assert entries.conserved(tx)
            found = {
                one.holder: one.balance
                for one in entries.balances(tx, pool_id=self.town.arm)
                if one.kind == "vcpu" and one.balance and one.department_id in (None, self.town.bureau)
            }
        assert found == {name: figure for name, figure in expected.items() if figure}


TestDesk = pytest.mark.slow(Desk.TestCase)
TestDesk.settings = settings(
    max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
