"""No sequence of judgements, replies, silences, rulings, clocks, failures and deliveries takes from a machine what must
not be taken. The machine below does anything anybody may do, in any order; what is checked is told by its own notes.

A check that is never reached proves nothing. So everything that can be checked is reached by directed walks first, the
same each time; then walks from fixed seeds and hypothesis look for an order of events that does harm.
"""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select

from metering import cases
from metering.cases import exemptions, protections, suspensions, windows
from metering.cases.exemptions import Category
from metering.cases.steps import RESTING, Answer, CaseState, Consent, RulingDecision
from metering.judging import findings
from metering.judging.policy import Verdict
from metering.judging.procedure import ALIVE, STILL, CaseKind, Procedure
from providers import orders as delivery
from providers.base import Order, ResourceState, ServiceKind, Verb
from providers.orders.tables import OrderState, WorkOrder
from quota import audit
from quota.actors import Role
from quota.calendar import ZONE
from quota.db import Book
from quota.errors import Refused
from quota.inventory import Resource
from quota.ledger import entries
from quota.ledger.tables import Holder, Side
from quota.units import BLOCK, VCPU, Amount, Commodity
from tests import books
from tests.city.cases import SHAPE
from tests.metering.cloud import Cloud, Died
from tests.metering.conftest import CPU

pytestmark = pytest.mark.slow

BEGIN = datetime(2026, 6, 1, 2, 0, tzinfo=UTC)
REASON = "此机承载重要业务,请予保留"
HARMFUL = (Verb.STOP, Verb.RECYCLE, Verb.DELETE, Verb.RESIZE)
STAFF = ("supervisor", "second", "authority")
DISORDER = (
    *("judge", "exempt") * 3,
    *("reply", "restore", "protect", "job") * 2,
    *("tag", "freeze", "suspend", "listing", "listing"),
    *("roll back", "wait", "job that dies", "rule", "act", "confirm", "drop", "started", "cancelled", "delivered"),
    *("carried",) * 3,
)
"""What comes in between; then things go on as usual, which is when harm would be done."""
UNSAFE = (Verdict.UNKNOWN, Verdict.DEAD, Verdict.UNJUDGED, Verdict.BUSY, Verdict.OVERLOADED)
"""Nothing is known of its use, or it is busy: not made smaller at the end of a term."""
LENT = 24
"""vCPU that a machine has while it is lent more."""
LATE = ("restore", "roll back", "started", "confirm")
"""What only makes a difference once something was taken: things go on until then."""
ANYBODY = ("tenant", "supervisor", "second", "authority", "stranger", "provider")
VERDICTS = (*Verdict, *(Verdict.UNKNOWN, Verdict.IDLE, Verdict.UNDERUSED) * 2)
AILS = ("", "dies", "dies before", "dies before", "reply lost", "refuses", "unreachable")
"""What goes wrong while an order is carried: the process dies after the cloud acted, or between the record and the call."""
REACHED: Counter[str] = Counter()
"""What was checked, over a whole run: a check that is never reached proves nothing."""


class Clock:
    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> datetime:
        self.now += timedelta(**by)
        return self.now


class Proceedings(RuleBasedStateMachine):
    """``city_of`` gives a fresh city. Notes of its own: last verdict, exempt until, protected, by machine."""

    city_of: Callable[..., object]

    def __init__(self) -> None:
        super().__init__()
        self.city = type(self).city_of()
        self.machines = [1, 2, 3, 4]  # two virtual machines, a volume, and one that is lent more for a term
        self.cloud = Cloud(self.reaches_the_cloud)
        self.verdicts: dict[int, Verdict] = {}
        self.exempt: dict[int, list] = {machine: [] for machine in self.machines}
        self.tagged: set[int] = set()
        self.suspended = self.frozen = self.blind = False
        self.checked = 0

    # ------------------------------------------------------------------------------------------ what happens

    @rule(seed=st.integers(0, 2**32))
    def something(self, seed: int) -> None:
        note(self.anything(seed))

    def anything(self, seed: int) -> str:
        """Something happens. Drawn from a seed, since drawing each choice by itself favours the first of them."""
        draw = Random(seed)
        which, who, staff = draw.randrange(4), draw.choice(ANYBODY), draw.choice(STAFF)
        verdict, answer, decision = (draw.choice(list(each)) for each in (VERDICTS, Answer, RulingDecision))
        hours, yes = draw.choice([1, 24, 24 * 3, 24 * 8, 24 * 16, 24 * 31]), draw.random() < 0.5
        what, before = draw.choice(DISORDER), draw.randrange(7)
        for _ in range(before if what not in LATE else 12):
            if what in LATE and self.state(which) in RESTING:
                break
            self.go_on_as_usual(which)
        match what:
            case "judge":
                self.judge(which, verdict, yes)
            case "wait":
                self.city.clock.advance(hours=hours)
                if yes:
                    self.job()
            case "job":
                self.job()
            case "job that dies":
                self.job_that_dies()
            case "reply":
                self.reply(which, "tenant" if yes else who, answer)
            case "rule":
                self.rule_on_it(which, staff if yes else who, decision)
            case "act":
                self.act(which, staff)
            case "confirm":
                self.confirm(which, staff)
            case "restore":
                self.have_back(which, "tenant" if yes else who, cases.restore)
            case "roll back":
                self.have_back(which, "tenant" if yes else who, cases.roll_back if yes else cases.keep)
            case "drop":
                self.drop(which, staff, cases.dismiss if yes else cases.withdraw)
            case "exempt":
                self.exempt_it(which, "second" if yes else "authority")
            case "protect":
                self.protect(which, yes)
            case "tag":
                self.tag(which, yes)
            case "freeze":
                self.freeze(yes)
            case "suspend":
                self.suspend(yes)
            case "listing":
                self.blind = yes
            case "started":
                self.started_by_its_owner(which)
            case "delivered":
                self.outcome(False, yes)
            case "cancelled":
                self.outcome(True, yes)
            case "carried":
                self.carry(draw.choice(AILS))
        for _ in range(2):
            self.go_on_as_usual(which)
        return f"{what} {which} {who} {staff} {verdict} {answer} {decision} {hours} {yes}"

    def until(self, which: int, *states: CaseState | None) -> None:
        """Let things go on as usual until the machine's case is in one of ``states`` (None: has ended)."""
        for _ in range(40):
            if self.state(which) in states:
                return
            self.go_on_as_usual(which)
        raise AssertionError(f"never came to {states}; stands at {self.state(which)}")

    def judge(self, which: int, verdict: Verdict, busy: bool) -> None:
        machine = self.machines[which]
        kind = BLOCK if which == 2 else VCPU
        grows = verdict in (Verdict.BUSY, Verdict.OVERLOADED)
        larger = LENT if which == 3 else 600
        self.city.open({machine: verdict}, target={kind: larger if grows else 4}, p95=90.0 if busy else 5.0)
        self.verdicts[machine] = verdict

    def listed(self) -> None:
        """The cloud lists what it has, unless it cannot be read."""
        if not self.blind:
            self.city.listed()

    def job(self) -> None:
        self.listed()
        with self.city.by() as tx:
            cases.advance(tx)
        self.nothing_is_taken_that_must_not_be()

    def job_that_dies(self) -> None:
        with suppress(KeyboardInterrupt), self.city.by() as tx:
            cases.advance(tx)
            tx.flush()
            raise KeyboardInterrupt

    def review_and_issue(self, which: int, who: str) -> None:
        def both(tx, one) -> None:
            if one.state == CaseState.DETECTED:
                cases.review(tx, one)
            cases.issue(tx, [one])

        self.attempt(which, who, both)

    def reply(self, which: int, who: str, answer: Answer) -> None:
        until = self.city.clock.now.date() + timedelta(days=10 if which == 3 and answer is Answer.AGREE else 60)
        self.attempt(
            which,
            who,
            lambda tx, one: cases.reply(tx, one, answer, reason=REASON, category=Category.MIGRATION, until=until),
        )

    def rule_on_it(self, which: int, who: str, decision: RulingDecision) -> None:
        until = self.city.clock.now.date() + timedelta(days=40)
        done = self.attempt(
            which,
            who,
            lambda tx, one: cases.rule(tx, one, decision, REASON, category=Category.MIGRATION, until=until),
        )
        if done and decision is RulingDecision.EXEMPT:
            self.note_exemption(self.machines[which])

    def act(self, which: int, who: str) -> None:
        self.attempt(which, who, lambda tx, one: cases.act(tx, one))

    def go_on_as_usual(self, which: int) -> None:
        """What happens when nobody objects, so that the later steps are reached often."""
        self.usual_step(which)
        self.nothing_is_taken_that_must_not_be()

    def state(self, which: int) -> str | None:
        with self.city.book.reading() as tx:
            one = cases.open_case(tx, self.machines[which])
            return one.state if one is not None else None

    def step(self, which: int) -> str | None:
        """What was ordered last in the open case of a machine."""
        with self.city.book.reading() as tx:
            one = cases.open_case(tx, self.machines[which])
            return one.step if one is not None else None

    def usual_step(self, which: int) -> None:
        machine = self.machines[which]
        with self.city.book.reading() as tx:
            one = cases.open_case(tx, machine)
            state, kind = (None, None) if one is None else (one.state, one.kind)
            verb = one.step if one is not None else None
        if state is None:
            self.judge(which, (Verdict.IDLE, Verdict.UNDERUSED, Verdict.IDLE, Verdict.BUSY)[which], False)
        elif state in (CaseState.DETECTED, CaseState.REVIEWED):
            self.review_and_issue(which, "supervisor")
        elif state == CaseState.NOTICED:
            self.reply(which, "tenant", Answer.AGREE)
        elif state == CaseState.DISPUTED:
            self.rule_on_it(which, "second", RulingDecision.PROCEED)
        elif state == CaseState.CLEARED:
            self.judge(which, self.verdicts[machine], False)
            self.act(which, "supervisor")
        elif state == CaseState.ORDERED:
            self.carry()
            self.job()
        elif state == CaseState.WATCHED and kind == CaseKind.EXPAND:
            self.city.clock.advance(days=11)
            if self.verdicts[machine] is Verdict.BUSY:
                self.judge(which, Verdict.NORMAL, False)
            self.job()
        elif state == CaseState.STRAINED and kind == CaseKind.EXPAND:
            self.judge(which, Verdict.NORMAL, False)
            self.have_back(which, "supervisor", cases.roll_back)
        elif state in (CaseState.WATCHED, CaseState.BINNED):
            self.city.clock.advance(days=16 if kind == CaseKind.RECLAIM and verb == Verb.STOP else 31)
            self.job()
        elif state == CaseState.CONFIRMING:
            self.confirm(which, "supervisor")
            self.confirm(which, "authority")

    def carry(self, ails: str = "") -> None:
        """What the job does that carries orders; with what ails, something goes wrong with the first of them."""
        self.city.clock.advance(minutes=20)
        self.listed()
        self.cloud.ails = ails
        with suppress(Died):
            delivery.carry_all(self.city.book, self.city.pool, self.cloud, cases.last_look)
        self.cloud.ails = ""

    def reaches_the_cloud(self, order: Order) -> None:
        """As it reaches the cloud, whoever placed it and whenever: what harms must be right at this very moment, also
        where it was recorded as sent long ago and the process died before the cloud heard of it. Only what the cloud did
        already may be asked for again."""
        with self.city.book.reading() as tx:
            placed = next(
                one for one in tx.scalars(select(WorkOrder).order_by(WorkOrder.id.desc())) if one.cloud_key == order.key
            )
            one = tx.get(cases.Case, placed.case_id)
            if placed.verb not in HARMFUL or one is None or order.key in self.cloud.acted:
                return
            if one.takes and not one.going_back:
                assert one.order_key == placed.key
                assert not self.frozen
                self.check_harm(tx, placed, one)
                REACHED[f"{one.kind} {placed.verb} sent"] += 1
            elif one.going_back and one.kind == CaseKind.EXPAND and one.consent != Consent.ASKED:
                self.check_return(tx, placed)
                REACHED["expand return sent"] += 1

    def check_return(self, tx, order: WorkOrder) -> None:
        """Temporary growth that goes back though its department did not say so anew."""
        resource = tx.get_one(Resource, order.resource_id)
        today = self.city.clock.now.astimezone(ZONE).date()
        assert not resource.protected
        assert resource.id not in self.tagged
        assert exemptions.holding(tx, resource.id) is None
        assert self.verdicts[resource.id] not in UNSAFE
        finding = findings.latest(tx, resource.id, "default")
        assert finding.assessment.last_day >= today - timedelta(days=7)
        assert (finding.numbers["windows"]["7"]["cpu_p95"] or 0) * LENT / SHAPE[VCPU] <= 80

    def confirm(self, which: int, who: str) -> None:
        self.listed()
        self.attempt(which, who, lambda tx, one: cases.confirm_deletion(tx, one))

    def have_back(self, which: int, who: str, verb: Callable[..., object]) -> None:
        self.attempt(which, who, lambda tx, one: verb(tx, one))

    def drop(self, which: int, who: str, verb: Callable[..., object]) -> None:
        self.attempt(which, who, lambda tx, one: verb(tx, one, REASON))

    def exempt_it(self, which: int, who: str) -> None:
        until = self.city.clock.now.date() + timedelta(days=30)
        with self.city.by(getattr(self.city, who)) as tx:
            resource = tx.get_one(Resource, self.machines[which])
            cases.exempt(tx, resource, Category.KEY_PERIOD, REASON, until)
        self.note_exemption(self.machines[which])

    def protect(self, which: int, yes: bool) -> None:
        with self.city.by() as tx:
            tx.get_one(Resource, self.machines[which]).protected = yes

    def tag(self, which: int, yes: bool) -> None:
        """The cloud says that the machine wears a tag that protects, or no longer."""
        machine = self.machines[which]
        with self.city.by() as tx:
            tx.get_one(Resource, machine).tags = {"Level": "core"} if yes else {"level": "test"}
        (self.tagged.add if yes else self.tagged.discard)(machine)

    def freeze(self, yes: bool) -> None:
        today = self.city.clock.now.astimezone(ZONE).date()
        with self.city.by(self.city.authority) as tx:
            for one in windows.freezes(tx):
                windows.lift(tx, one)
            if yes:
                windows.freeze(tx, today, today + timedelta(days=3650), "重保")
        self.frozen = yes

    def suspend(self, yes: bool) -> None:
        with self.city.by(self.city.authority) as tx:
            held = suspensions.holding(tx, self.city.policy)
            if yes and held is None:
                tx.add(
                    suspensions.Suspension(
                        policy_version_id=self.city.policy, at=tx.now, acted=10, regretted=5, limit=0.1
                    )
                )
            elif not yes and held is not None:
                suspensions.lift(tx, held, "已核实")
        self.suspended = yes

    def started_by_its_owner(self, which: int) -> None:
        with self.city.by() as tx:
            resource = tx.get_one(Resource, self.machines[which])
            if resource.state == ResourceState.STOPPED:
                resource.state = ResourceState.RUNNING.value

    def outcome(self, fails: bool, settle: bool) -> None:
        waiting = self.orders(OrderState.PENDING)
        if not waiting:
            return
        order_id = waiting[-1 if settle else 0]
        with self.city.by(self.city.supervisor if fails else self.city.provider) as tx:
            order = tx.get_one(WorkOrder, order_id)
            if fails:
                delivery.cancel(tx, order.id, order.generation, "云平台不能执行")
            else:
                delivery.mark_delivered(tx, order.id, order.generation)
        if settle:
            self.job()

    # ------------------------------------------------------------------------------------------ what must hold

    @invariant()
    def nothing_is_taken_that_must_not_be(self) -> None:
        with self.city.book.reading() as tx:
            placed = tx.scalars(select(WorkOrder).where(WorkOrder.id > self.checked).order_by(WorkOrder.id)).all()
            for order in placed:
                self.checked = order.id
                one = tx.get_one(cases.Case, order.case_id)
                if order.verb in HARMFUL and one.takes and not one.going_back:
                    self.check_harm(tx, order, one)
                    REACHED[f"{one.kind} {order.verb}"] += 1
                elif one.going_back and one.kind == CaseKind.EXPAND and one.consent != Consent.ASKED:
                    self.check_return(tx, order)
                    REACHED["expand return"] += 1
                elif one.going_back and one.kind == CaseKind.EXPAND:
                    REACHED["expand given back"] += 1

    def check_harm(self, tx, order: WorkOrder, one: cases.Case) -> None:
        resource = tx.get_one(Resource, order.resource_id)
        verdict = self.verdicts[resource.id]
        today = self.city.clock.now.astimezone(ZONE).date()
        assert not resource.protected
        assert resource.id not in self.tagged
        assert not self.suspended
        if self.frozen and order.state == OrderState.PENDING:
            assert order.next_try_at is not None
            assert order.next_try_at > order.placed_at
        assert not any(first <= today <= last for first, last in self.exempt[resource.id])
        assert exemptions.holding(tx, resource.id) is None
        done = {row.verb: row.delivered_at for row in self.city.orders(one.id) if row.delivered_at}
        if order.verb == Verb.DELETE or (order.verb == Verb.RECYCLE and one.service() is not ServiceKind.VOLUME):
            # Seen so since we did it, and lately: that nothing is heard of it is our own doing.
            assert resource.last_seen_at is not None
            assert resource.last_seen_at >= self.city.clock.now - timedelta(hours=48)
            assert resource.last_seen_at >= done.get(
                "recycle" if order.verb == Verb.DELETE else "stop", one.effective_at
            )
        if one.service() is not ServiceKind.VOLUME and order.verb in (Verb.RECYCLE, Verb.DELETE):
            assert verdict not in ALIVE
            assert resource.state in (ResourceState.STOPPED, ResourceState.RECYCLED)
        elif order.verb == Verb.DELETE:
            assert verdict not in ALIVE
        else:  # unknown, dead and unjudged are not among those that still call for it
            assert verdict in STILL[CaseKind(one.kind)]
            assert one.fresh_finding.assessment.last_day >= today - timedelta(days=7)
            assert "snapshot" in done
        # On whose word: the department's last, or a ruling after it by somebody who did not sign the notice.
        said = [(each.at, each.answer, None) for each in one.replies]
        said += [(each.at, each.decision, each.by) for each in one.rulings]
        last = max(said, key=lambda word: word[0], default=None)
        if last is None:
            assert one.kind == CaseKind.SHRINK
            assert one.notice.reminded_at is not None
        else:
            assert last[1] in (Answer.AGREE, RulingDecision.PROCEED)
            assert last[2] != one.notice.issued_by
        if order.verb == Verb.RECYCLE and one.service() is ServiceKind.VM:
            assert order.placed_at - one.effective_at >= timedelta(days=15)
        if order.verb == Verb.DELETE:
            assert order.placed_at - done["recycle"] >= timedelta(days=30)
            assert len({each.by for each in one.confirmations[-2:]}) == 2
        if order.verb == Verb.RESIZE:
            assert all(figure <= resource.amounts[kind] for kind, figure in order.amounts.items())

    @invariant()
    def the_book_agrees_with_what_there_is(self) -> None:
        with self.city.book.reading() as tx:
            assert entries.conserved(tx)
            booked = Amount.total(Amount.from_json(one.booked) for one in tx.scalars(select(Resource))).of_arch(
                one_arch()
            )
            ahead = Amount.total(
                Amount.from_json(one.taken)
                for one in tx.scalars(select(WorkOrder).where(WorkOrder.state == OrderState.PENDING.value))
                if one.verb == Verb.RESIZE
            ).of_arch(one_arch())
            for cls in {*booked, *ahead}:
                used = entries.balance(tx, Side(self.city.pool, cls, Holder.USED, self.city.department))
                assert used == booked.get(cls, 0) + ahead.get(cls, 0)
            twice = select(cases.Case.resource_id).where(cases.Case.state != "closed").group_by(cases.Case.resource_id)
            assert tx.scalar(select(func.count()).select_from(twice.having(func.count() > 1).subquery())) == 0

    def teardown(self) -> None:
        if not hasattr(self, "city"):
            return
        with self.city.book.reading() as tx:
            assert list(entries.check(tx)) == []
            assert list(audit.check(tx)) == []
            REACHED.update(one for one in tx.scalars(select(cases.Case.ending)) if one)
        self.city.book.dispose()

    # ------------------------------------------------------------------------------------------ mechanism

    def attempt(self, which: int, who: str, verb: Callable[..., object]) -> bool:
        """Do ``verb`` to the open case of a machine as ``who``; a refusal is an answer, any other error is a bug."""
        actor = getattr(self.city, who)
        self.city.clock.advance(seconds=1)  # no two words are of one instant
        try:
            with self.city.by(actor) as tx:
                one = cases.open_case(tx, self.machines[which])
                if one is None:
                    return False
                verb(tx, one)
        except Refused:
            return False
        self.nothing_is_taken_that_must_not_be()
        return actor.role is not Role.SYSTEM

    def orders(self, state: OrderState) -> list[int]:
        with self.city.book.reading() as tx:
            return list(tx.scalars(select(WorkOrder.id).where(WorkOrder.state == state.value).order_by(WorkOrder.id)))

    def note_exemption(self, machine: int) -> None:
        with self.city.book.reading() as tx:
            held = tx.scalars(select(exemptions.Exemption).where(exemptions.Exemption.resource_id == machine)).all()
            self.exempt[machine] = [(one.starts_on, one.ends_on) for one in held]


def one_arch():
    return Commodity.parse("vcpu:x86_64").arch


def founded(city_class: type, url: str) -> object:
    """A city to make copies of: three machines, a tag that protects, and a short back-off so that much happens."""
    clock = Clock(BEGIN)
    rules = Procedure(backoff_days=1, backoff_limit_days=2, regret_least=10**6)
    city = city_class(Book(url, clock=clock), clock, rules)
    made = [city.machine(), city.machine(), city.machine({BLOCK: 500}, ServiceKind.VOLUME)]
    made.append(city.machine())
    assert made == [1, 2, 3, 4]
    with city.by() as tx:
        entries.grant(tx, city.pool, city.department, {CPU: LENT - SHAPE[VCPU]}, key="spare")
    with city.by(city.authority) as tx:
        protections.add(tx, "level", "core", "核心业务")
    city.book.dispose()
    return city


def machines_of(city: object, copied: Callable[[], str]) -> type[Proceedings]:
    """The machine over copies of ``city``; ``copied`` copies its book and gives the address of the copy."""

    def city_of() -> object:
        clock = Clock(BEGIN)
        return city.copied(Book(copied(), clock=clock), clock)

    return type("Machine", (Proceedings,), {"city_of": staticmethod(city_of)})


# ------------------------------------------------------------------------------------------------------ directed walks


def to_the_end(one: Proceedings) -> None:
    for which in range(3):
        one.until(which, *CaseState)
        one.until(which, None)


def had_back(one: Proceedings) -> None:
    one.until(0, CaseState.BINNED)
    one.have_back(0, "tenant", cases.restore)
    one.until(0, None)


def exempted_while_off(one: Proceedings) -> None:
    one.until(0, CaseState.WATCHED)
    one.exempt_it(0, "second")
    one.until(0, None)


def protected_before(one: Proceedings) -> None:
    one.until(0, CaseState.CLEARED)
    one.protect(0, True)
    one.act(0, "supervisor")
    one.job()
    one.until(1, CaseState.CLEARED)
    one.tag(1, True)
    one.act(1, "supervisor")
    one.job()
    assert one.state(0) is one.state(1) is None


def busy_again(one: Proceedings) -> None:
    one.until(0, CaseState.CLEARED)
    one.judge(0, Verdict.BUSY, True)
    one.act(0, "supervisor")
    assert one.state(0) is None


def unknown_again(one: Proceedings) -> None:
    one.until(1, CaseState.CLEARED)
    one.judge(1, Verdict.UNKNOWN, False)
    one.act(1, "supervisor")
    assert one.state(1) is None


def under_dispute(one: Proceedings) -> None:
    one.until(0, CaseState.NOTICED)
    one.reply(0, "tenant", Answer.OBJECT)
    one.act(0, "supervisor")
    one.rule_on_it(0, "supervisor", RulingDecision.PROCEED)  # who signed it: refused
    one.act(0, "supervisor")
    assert one.state(0) == CaseState.DISPUTED
    one.rule_on_it(0, "second", RulingDecision.UPHOLD)
    assert one.state(0) is None


def suspended_and_frozen(one: Proceedings) -> None:
    one.until(0, CaseState.CLEARED)
    one.suspend(True)
    one.judge(0, Verdict.IDLE, False)
    one.act(0, "supervisor")
    assert one.state(0) == CaseState.CLEARED
    one.suspend(False)
    one.freeze(True)
    one.until(0, CaseState.ORDERED)
    for _ in range(6):
        one.go_on_as_usual(0)
        one.city.clock.advance(hours=12)
    assert one.state(0) == CaseState.ORDERED
    one.freeze(False)
    one.until(0, CaseState.WATCHED)


def lent_and_returned(one: Proceedings) -> None:
    one.until(3, CaseState.WATCHED)
    one.until(3, None)


def lent_and_given_back_early(one: Proceedings) -> None:
    one.until(3, CaseState.WATCHED)
    one.judge(3, Verdict.BUSY, True)
    one.have_back(3, "supervisor", cases.roll_back)  # refused: it is busy
    assert one.state(3) == CaseState.WATCHED
    one.have_back(3, "tenant", cases.roll_back)
    one.until(3, None)


def lent_and_kept(one: Proceedings) -> None:
    for verdict in UNSAFE:
        one.until(3, CaseState.WATCHED)
        one.city.clock.advance(days=12)
        one.judge(3, verdict, verdict in (Verdict.BUSY, Verdict.OVERLOADED))
        one.job()
        one.carry()
        assert one.state(3) == CaseState.STRAINED, verdict
        one.have_back(3, "supervisor", cases.roll_back)
        assert one.state(3) == CaseState.STRAINED, verdict
        one.judge(3, Verdict.NORMAL, False)
        one.have_back(3, "supervisor", cases.roll_back)
        one.until(3, None)


def lent_and_busy_again_while_the_return_waits(one: Proceedings) -> None:
    one.until(3, CaseState.WATCHED)
    one.until(3, CaseState.ORDERED)
    one.judge(3, Verdict.BUSY, True)
    one.carry()
    one.job()
    assert one.state(3) == CaseState.STRAINED


def killed_between_the_cloud_and_the_book(one: Proceedings) -> None:
    for which in range(4):
        one.until(which, CaseState.DETECTED)
        while one.state(which) is not None:
            if one.state(which) == CaseState.ORDERED:
                one.carry("dies")
                one.carry("dies")  # and once more, when it asks what became of it
            one.go_on_as_usual(which)
    done = [(order.external_id, order.verb) for order in one.cloud.acted.values() if order.verb is not Verb.RESIZE]
    assert len(done) == len(set(done)), "nothing was done to a machine twice"


def off_and_not_to_be_seen(one: Proceedings) -> None:
    """The cloud cannot be listed any more: what is off stays off, what is in the bin stays there."""
    one.until(0, CaseState.WATCHED)
    one.blind = True
    for _ in range(4):
        one.go_on_as_usual(0)
    assert one.state(0) == CaseState.WATCHED
    one.blind = False
    one.until(0, CaseState.CONFIRMING)
    one.blind = True
    one.city.clock.advance(days=3)
    one.confirm(0, "supervisor")
    one.confirm(0, "authority")
    assert one.state(0) == CaseState.CONFIRMING
    one.blind = False
    one.confirm(0, "authority")
    assert one.state(0) == CaseState.ORDERED
    one.blind = True
    one.city.clock.advance(days=3)
    one.carry()
    assert Verb.DELETE not in one.cloud.verbs("vm-1"), (
        "placed, and nobody knows any more whether it is still in the bin"
    )
    one.blind = False
    one.until(0, None)
    assert Verb.DELETE in one.cloud.verbs("vm-1")


def killed_between_the_record_and_the_call(one: Proceedings) -> None:
    """Recorded as sent, never told; before anybody asks again there is a reason not to."""
    reasons: tuple[Callable[[int], None], ...] = (
        lambda which: one.judge(which, Verdict.BUSY, True),
        lambda which: one.exempt_it(which, "second"),
        lambda which: one.judge(which, Verdict.UNKNOWN, False),
        lambda which: one.protect(which, True),
    )
    harmed = 0
    for which, reason in itertools.product((0, 1), reasons):
        one.until(which, CaseState.CLEARED)
        one.until(which, CaseState.ORDERED)
        while one.step(which) not in (Verb.STOP, Verb.RESIZE):
            one.go_on_as_usual(which)
        done = len(one.cloud.acted)
        one.carry("dies before")
        assert one.orders(OrderState.SENT), "the book says that the cloud is being told"
        reason(which)
        for _ in range(3):
            one.carry()
            one.job()
        assert len(one.cloud.acted) == done, "and it never was"
        assert one.state(which) is None
        harmed += 1
        one.protect(which, False)
        one.city.clock.advance(days=200)
    REACHED["withdrawn"] += harmed


DIRECTED = {
    off_and_not_to_be_seen: ("reclaim recycle sent", "reclaim delete sent", "deleted"),
    killed_between_the_record_and_the_call: ("withdrawn", "recovered", "exempted", "unknown", "protected"),
    lent_and_returned: ("expand return", "expand return sent", "term_over"),
    lent_and_given_back_early: ("expand given back", "term_over"),
    lent_and_kept: ("expand return", "expand return sent"),
    lent_and_busy_again_while_the_return_waits: ("expand return",),
    killed_between_the_cloud_and_the_book: (
        "reclaim stop sent",
        "reclaim recycle sent",
        "reclaim delete sent",
        "shrink resize sent",
        "expand return sent",
    ),
    to_the_end: ("reclaim stop", "reclaim recycle", "reclaim delete", "shrink resize", "deleted", "shrunk"),
    had_back: ("reclaim stop", "reclaim recycle", "returned"),
    exempted_while_off: ("reclaim stop", "exempted"),
    protected_before: ("protected",),
    busy_again: ("recovered",),
    unknown_again: ("unknown",),
    under_dispute: ("upheld",),
    suspended_and_frozen: ("reclaim stop",),
}
"""Walk → what it must have reached: harmful orders that were looked at, and endings."""


@pytest.fixture
def machine(tmp_path: Path, city_class) -> type[Proceedings]:
    """The machine on SQLite; each of it begins in a copy of one city."""
    template, names = tmp_path / "city.db", itertools.count()
    city = founded(city_class, books.sqlite(template))

    def copied() -> str:
        path = tmp_path / f"{next(names)}.db"
        shutil.copy(template, path)
        return f"sqlite:///{path}"

    return machines_of(city, copied)


def finish(one: Proceedings) -> None:
    one.nothing_is_taken_that_must_not_be()
    one.the_book_agrees_with_what_there_is()
    one.teardown()


@pytest.mark.parametrize("walk", DIRECTED, ids=lambda walk: walk.__name__)
def test_everything_that_is_checked_is_reached(machine: type[Proceedings], walk) -> None:
    REACHED.clear()
    one = machine()
    walk(one)
    finish(one)
    missing = [what for what in DIRECTED[walk] if not REACHED[what]]
    assert missing == [], f"never reached: {missing} ({dict(REACHED)})"


@pytest.mark.parametrize("number", range(8))
def test_nothing_is_taken_that_must_not_be_on_walks_from_fixed_seeds(machine: type[Proceedings], number: int) -> None:
    one, seeds = machine(), Random(number)
    done = []
    for _ in range(12):
        done.append(one.anything(seeds.randrange(2**32)))
        one.nothing_is_taken_that_must_not_be()
        one.the_book_agrees_with_what_there_is()
    finish(one)
    assert len(done) == 12


def test_hypothesis_finds_no_order_of_events_that_does_harm(machine: type[Proceedings]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=10,
            stateful_step_count=8,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            database=None,
        ),
    )


def test_nothing_is_taken_that_must_not_be_on_postgresql(fresh_postgres, city_class) -> None:
    template = fresh_postgres()
    machine = machines_of(founded(city_class, template), lambda: fresh_postgres(template))
    REACHED.clear()
    one, seeds = machine(), Random(2026)
    to_the_end(one)
    for _ in range(5):
        one.anything(seeds.randrange(2**32))
        one.nothing_is_taken_that_must_not_be()
    finish(one)
    assert REACHED["reclaim delete"], REACHED
