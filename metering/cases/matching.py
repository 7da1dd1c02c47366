"""Matching: what one department gives up is what another asks for, of the same architecture and zone: net zero for the
city. Arithmetic, the reading of who gives and who asks, and the loan or the move that the authority makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, false, select, true
from sqlalchemy.orm import joinedload, load_only, selectinload

from metering.cases.files import Case
from metering.cases.steps import CaseState
from metering.judging import TAKES, CaseKind, worth
from quota.actors import Role
from quota.audit import AuditRecord
from quota.directory import Department, Pool
from quota.errors import N_, Conflict, Invalid
from quota.exchange import OfferWay
from quota.ledger import Allotment, Loan, LoanState, allotments, lending
from quota.requests import OPEN as OPEN_REQUESTS
from quota.requests import Request, known
from quota.units import ACCELERATOR, BLOCK, EIP, MEMORY, VCPU, Amount, Arch, ClassCode, Commodity

if TYPE_CHECKING:
    from quota.db import Tx

ARRANGED = "match.arrange"
"""As the trail has it, of who gives and of who asks."""

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
    department_id: int = 0
    pool_id: int = 0


@dataclass(frozen=True, slots=True)
class Match:
    """``donor`` gives ``what`` of what ``asker`` needs; ``covered``: whether that is then all it asked for."""

    donor: MatchParty
    asker: MatchParty
    what: Amount
    covered: bool

    @property
    def movable(self) -> bool:
        """Whether quota can go from the one to the other: it lies in one pool, and they are two departments."""
        return self.donor.pool_id == self.asker.pool_id and self.donor.department_id != self.asker.department_id


@dataclass(frozen=True, slots=True)
class MatchPart:
    """One class of a match: ``wanted`` of it, and ``idle``, what the donor's department has unused now and may give."""

    cls: Commodity
    wanted: int
    idle: int


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
    load_only(Case.opened_at, Case.recoverable, Case.department_id, Case.pool_id),
    joinedload(Case.pool).load_only(Pool.arch, Pool.zone),
    joinedload(Case.department).load_only(Department.name),
)
"""What is read of a case: there may be as many as machines."""


def donors(tx: Tx, key: str = "") -> list[MatchParty]:
    """Open cases that take something away, by what they recover; the one of ``key`` alone where it is given."""
    query = (
        select(Case)
        .where(Case.state != CaseState.CLOSED.value, Case.kind.in_([kind.value for kind in TAKES]))
        .where(_named(Case.id, "case", key))
        .options(*PARTY)
        .order_by(Case.id)
    )
    return [_of_case(one) for one in tx.scalars(query)]


def _named(column: Any, kind: str, key: str) -> ColumnElement[bool]:
    """Rows of the key alone, none where it is another kind's; all without one."""
    if not key:
        return true()
    of, _colon, number = key.partition(":")
    return (
        column == int(number) if of == kind and number.isascii() and number.isdigit() and len(number) < 10 else false()
    )


def _of_case(one: Case) -> MatchParty:
    place = (one.pool.arch, one.pool.zone)
    return MatchParty(
        one.subject, one.number, one.department.name, place, one.recovers(), one.department_id, one.pool_id
    )


def askers(tx: Tx, key: str = "") -> list[MatchParty]:
    """Open cases that give, and requests that are being decided and want it now; the one of ``key`` alone where it is given."""
    growing = (
        select(Case)
        .where(Case.state != CaseState.CLOSED.value, Case.kind == CaseKind.EXPAND.value, Case.effective_at.is_(None))
        .where(_named(Case.id, "case", key))
        .options(*PARTY)
        .order_by(Case.id)
    )
    found = [_of_case(one) for one in tx.scalars(growing)]
    later = [one.code for one in known() if one.counts_as is None]  # quota of a day to come is served by its queue
    asked = (
        select(Request)
        .where(Request.state.in_([one.value for one in OPEN_REQUESTS]), _named(Request.id, "request", key))
        .where(Request.kind.not_in(later))
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
                    request.department_id,
                    request.pool_id,
                )
            )
    return found


def matches(tx: Tx) -> list[Match]:
    """Who could serve whom now."""
    return pair(donors(tx), askers(tx))


def standing(tx: Tx, donor: str, asker: str) -> Match:
    """The match of these two (``case:12``, ``request:7``) as it is now, whoever else might serve, without what was lent or moved to
    who asks before. Raises Conflict where there is none any more, Invalid where no quota can go from the one to the other."""
    gone = Conflict("match.gone", N_("这一供需已经变化，请返回供需调剂重新选择"))
    if not donor or not asker:
        raise gone
    served = _served(tx, asker)
    wanting = [replace(one, what=one.what - one.what.within(served)) for one in askers(tx, asker)]
    found = next(iter(pair(donors(tx, donor), wanting)), None)
    if found is None:
        raise gone
    if not found.movable:
        raise Invalid("match.apart", N_("配额只能在同一资源池的两个单位之间出借或划转"))
    return found


def _made(tx: Tx, asker: str) -> list[AuditRecord]:
    """What was arranged for who asks, as the trail has it."""
    query = select(AuditRecord).where(AuditRecord.subject == asker, AuditRecord.action == ARRANGED)
    return list(tx.scalars(query.order_by(AuditRecord.sequence)))


def _served(tx: Tx, asker: str) -> Amount:
    """What was moved to who asks, or is lent or offered to it still."""
    served = []
    for one in _made(tx, asker):
        for subject, (code, amount) in one.after["made"].items():
            kind, _colon, number = subject.partition(":")
            loan = tx.get(Loan, int(number)) if kind == "loan" else None
            if loan is None or loan.state == LoanState.OFFERED:
                served.append({ClassCode(code): amount})
            elif loan.outstanding:
                served.append({ClassCode(code): loan.outstanding})
    return Amount.total(served)


def parts(tx: Tx, match: Match) -> list[MatchPart]:
    """What of a match could be lent or moved now, class by class."""
    wanted = match.what.of_arch(Arch(match.donor.place[0]))
    return [
        MatchPart(cls, amount, lending.lendable(tx, match.donor.pool_id, cls, match.donor.department_id))
        for cls, amount in sorted(wanted.items())
    ]


def arrange(
    tx: Tx,
    donor: str,
    asker: str,
    way: OfferWay,
    amounts: Mapping[Commodity, int],
    *,
    days: int = 0,
    guaranteed_days: int = 0,
    notice_days: int = 0,
    reason: str,
    key: str,
) -> list[str]:
    """The authority lends (``way`` LEND: the borrower accepts) or moves for good what one has unused to who asks for it; all of
    ``amounts`` or nothing. Returns the numbers of what was made: loans, or transfers. The same ``key`` again makes nothing more.

    Raises Invalid for nothing or for more than is wanted, Conflict where they are no match any more, and as a loan or a move does:
    OverCapacity where the donor has less unused, NotAllowed for anybody else than the authority.
    """
    tx.actor.must_be(Role.AUTHORITY)
    tx.alone(f"match:{asker}")  # two who serve the same do not give it twice
    earlier = next((one for one in _made(tx, asker) if one.after["key"] == key), None)
    if earlier is not None:
        return list(earlier.after["made"])
    match = standing(tx, donor, asker)
    wanted = {one.cls: one.wanted for one in parts(tx, match)}
    if not amounts:
        raise Invalid("match.nothing", N_("请填写要出借或划转的数量"), field="reason")
    made: dict[str, tuple[str, int]] = {}
    for cls, amount in sorted(amounts.items()):
        if amount > wanted.get(cls, 0):
            raise Invalid("match.more", N_("不能超过可调剂的数量"), field=f"amount_{cls.kind}")
        whose = (match.donor.department_id, match.asker.department_id)
        if way is OfferWay.LEND:
            loan = lending.offer(
                tx, match.donor.pool_id, cls, amount, *whose, days=days, guaranteed_days=guaranteed_days,
                notice_days=notice_days, reason=reason, key=f"{key}:{cls}",
            )  # fmt: skip
            subject = loan.subject
        else:
            act = Allotment(allotments.Act.MOVE, match.donor.pool_id, cls, whose[0], amount, reason, target_id=whose[1])
            subject = f"transfer:{allotments.carry_out(tx, act, key=f'{key}:{cls}').id}"
        made[subject] = (cls.kind, amount)
    tx.audit(ARRANGED, donor, after={"asker": asker, "way": way, "made": list(made)}, reason=reason.strip())
    tx.audit(ARRANGED, asker, after={"way": way, "made": made, "key": key}, reason=reason.strip())
    return list(made)
