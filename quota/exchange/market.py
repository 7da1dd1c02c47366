"""The market of idle quota: what a department does not use it offers, for a time or for good; others who may see it ask for it.

    offer (open) ◀─ claim (asked) ──the offerer agrees──▶ lent at once (a Loan)
                                                      └──▶ to be given: agreed ──the authority confirms──▶ moved

An offer moves nothing and sets nothing aside: its department may put the quota to use until it agrees. Who sees offers is the
authority's rule (``rules``); what follows from an agreement is a loan or a move as any other.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, ColumnElement, ForeignKey, Index, String, Text, false, func, or_, select, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.actors import Actor, Role
from quota.base import Base, Count
from quota.calendar import ZONE
from quota.directory import Department, Pool, department, departments, must_be_open, pool, subtree
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, OverCapacity, WrongState, reused, stated
from quota.exchange import rules
from quota.exchange.terms import LONGEST_DAYS, MarketScope
from quota.ledger import Act, Allotment, allotments, lending
from quota.units import CLASSES, Arch, ClassCode, Commodity, shown

if TYPE_CHECKING:
    from quota.db import Tx


class OfferWay(StrEnum):
    LEND = "lend"
    GIVE = "give"


class OfferState(StrEnum):
    OPEN = "open"
    TAKEN = "taken"  # all of it was lent or moved
    CLOSED = "closed"  # its department took it back
    LAPSED = "lapsed"  # its last day has passed


class ClaimState(StrEnum):
    ASKED = "asked"  # waits for who offers
    AGREED = "agreed"  # waits for the authority, which moves what is given for good
    DONE = "done"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    LAPSED = "lapsed"  # the offer ended first


OPEN_CLAIMS = (ClaimState.ASKED.value, ClaimState.AGREED.value)
"""States in which a claim waits for somebody."""


class QuotaOffer(Base):
    """挂牌的闲置配额. ``amount`` and ``taken`` (agreed on) in base units; ``until``: the last day of what is lent (None: given for
    good); ``open_until``: the last day on which it may be asked for. What is agreed is lent with ``guaranteed_days`` and ``notice_days``."""

    __tablename__ = "quota_offers"
    __table_args__ = (
        CheckConstraint("amount > 0 AND taken >= 0 AND taken <= amount", name="sane"),
        CheckConstraint("(way = 'lend') = (until IS NOT NULL)", name="term"),
        Index("ix_quota_offers_state", "state", "open_until"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(128), unique=True)
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), index=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    arch: Mapped[str] = mapped_column(String(16))
    way: Mapped[str] = mapped_column(String(8))
    amount: Mapped[int] = mapped_column(Count)
    taken: Mapped[int] = mapped_column(Count, default=0)
    until: Mapped[date | None]
    open_until: Mapped[date]
    guaranteed_days: Mapped[int] = mapped_column(default=0)
    notice_days: Mapped[int] = mapped_column(default=0)
    reason: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(8), default=OfferState.OPEN.value)
    generation: Mapped[int] = mapped_column(default=1)
    by: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]
    ended_at: Mapped[datetime | None]

    department: Mapped[Department] = relationship()
    pool: Mapped[Pool] = relationship()

    @property
    def commodity(self) -> Commodity:
        return Commodity(ClassCode(self.kind), Arch(self.arch))

    @property
    def left(self) -> int:
        """Base units that may still be asked for."""
        return self.amount - self.taken if self.state == OfferState.OPEN.value else 0

    @property
    def subject(self) -> str:
        return f"quota_offer:{self.id}"

    @property
    def number(self) -> str:
        return f"GP-{self.id:06d}"


class QuotaClaim(Base):
    """求借 or 求调: what a department asks of an offer. ``asked`` and ``agreed`` (None: not yet) in base units; ``loan_id`` and
    ``transfer_id`` say what became of it."""

    __tablename__ = "quota_claims"
    __table_args__ = (
        CheckConstraint("asked > 0 AND (agreed IS NULL OR agreed BETWEEN 1 AND asked)", name="sane"),
        CheckConstraint("(state = 'done') = (loan_id IS NOT NULL OR transfer_id IS NOT NULL)", name="done"),
        Index("ix_quota_claims_state", "state", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(128), unique=True)
    offer_id: Mapped[int] = mapped_column(ForeignKey("quota_offers.id"), index=True)
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), index=True)
    asked: Mapped[int] = mapped_column(Count)
    agreed: Mapped[int | None] = mapped_column(Count)
    reason: Mapped[str] = mapped_column(Text)
    answer: Mapped[str] = mapped_column(Text, default="")
    state: Mapped[str] = mapped_column(String(12), default=ClaimState.ASKED.value)
    generation: Mapped[int] = mapped_column(default=1)
    by: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]
    decided_by: Mapped[str] = mapped_column(String(64), default="")
    decided_at: Mapped[datetime | None]
    loan_id: Mapped[int | None] = mapped_column(ForeignKey("loans.id"))
    transfer_id: Mapped[int | None] = mapped_column(ForeignKey("transfers.id"))

    offer: Mapped[QuotaOffer] = relationship()
    department: Mapped[Department] = relationship()

    @property
    def subject(self) -> str:
        return f"quota_claim:{self.id}"

    @property
    def number(self) -> str:
        return f"QJ-{self.id:06d}"


# ------------------------------------------------------------------------------------------------------------- reading


def visible(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """Offers that this actor may see: the steward's people all; a department's its own, and what is open of those that the rule
    lets it see."""
    if actor.role in (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR, Role.SYSTEM):
        return true()
    if actor.role is not Role.TENANT or actor.department_id is None:
        return false()
    mine = QuotaOffer.department_id.in_(subtree(tx, actor.department_id))
    asked = QuotaOffer.id.in_(
        select(QuotaClaim.offer_id).where(QuotaClaim.department_id.in_(subtree(tx, actor.department_id)))
    )
    scope = rules.market(tx).scope
    if scope is MarketScope.CLOSED:
        return or_(mine, asked)
    still = QuotaOffer.state == OfferState.OPEN.value
    if scope is MarketScope.CITY:
        return or_(mine, asked, still)
    return or_(mine, asked, still & QuotaOffer.department_id.in_(_branch(tx, actor.department_id)))


def visible_claims(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """Claims that this actor may see: a department's its own and those on its offers."""
    if actor.role is not Role.TENANT or actor.department_id is None:
        return visible(tx, actor)
    mine = subtree(tx, actor.department_id)
    offers = select(QuotaOffer.id).where(QuotaOffer.department_id.in_(mine))
    return or_(QuotaClaim.department_id.in_(mine), QuotaClaim.offer_id.in_(offers))


def offer(tx: Tx, offer_id: int) -> QuotaOffer:
    """The offer, or NotFound: also where this actor may not see it."""
    found = tx.scalar(select(QuotaOffer).where(QuotaOffer.id == offer_id, visible(tx, tx.actor)))
    if found is None:
        raise NotFound("market.no_offer", N_("没有编号为 %(id)s 的挂牌"), id=offer_id)
    return found


def claim(tx: Tx, claim_id: int) -> QuotaClaim:
    """The claim, or NotFound: also where this actor may not see it."""
    found = tx.scalar(select(QuotaClaim).where(QuotaClaim.id == claim_id, visible_claims(tx, tx.actor)))
    if found is None:
        raise NotFound("market.no_claim", N_("没有编号为 %(id)s 的求借"), id=claim_id)
    return found


def can_give(tx: Tx, way: OfferWay, pool_id: int, cls: Commodity, department_id: int) -> int:
    """Base units that the department does not use and may lend, or give for good, now."""
    has = lending.lendable(tx, pool_id, cls, department_id)
    return has if way is OfferWay.LEND else min(has, lending.own(tx, pool_id, cls, department_id))


def barred(tx: Tx, one: QuotaClaim) -> WrongState | None:
    """Why today's rule does not let the claim be carried out, which the one under which it was asked for did; None where it does."""
    terms, whose = rules.market(tx), one.offer
    if terms.scope is MarketScope.CLOSED:
        return WrongState("market.closed", N_("配额市场尚未开放"))
    if not _may_see(tx, whose, one.department_id):
        return WrongState("market.narrowed", N_("市场规则已有变化，该单位不能再求借这项挂牌"))
    if whose.way == OfferWay.GIVE.value:
        return None if terms.for_good else WrongState("market.no_gifts", N_("按市场规则，配额只能出借，不能调出"))
    if _days_left(tx, whose) > terms.longest_days:
        return WrongState(
            "market.too_long", N_("按现行市场规则最长出借 %(most)s 天，而这项挂牌借至 %(until)s"),
            most=terms.longest_days, until=whose.until,
        )  # fmt: skip
    return None


def turn(one: QuotaClaim) -> Department | None:
    """Whose word the claim waits for: the department that offers; None: the authority, or nobody any more."""
    return one.offer.department if one.state == ClaimState.ASKED.value else None


# --------------------------------------------------------------------------------------------------------------- verbs


def publish(
    tx: Tx,
    way: OfferWay,
    department_id: int,
    pool_id: int,
    cls: Commodity,
    amount: int,
    *,
    until: date | None,
    open_until: date,
    guaranteed_days: int = 0,
    notice_days: int = 0,
    reason: str,
    key: str,
) -> QuotaOffer:
    """The department's clerk (or the authority) offers what is not used. The same ``key`` again returns the first.

    Raises NotAllowed for somebody else's quota, WrongState where the market is closed or nothing may be given away, Invalid for
    terms that make no sense, OverCapacity for more than is unused and not offered yet.
    """
    if not lending.acts_for(tx, department_id):
        raise NotAllowed("loan.not_yours", N_("只能出借本单位及下属单位的配额"))
    where, whose = pool(tx, pool_id), department(tx, department_id)
    tx.alone(key)
    earlier = tx.scalar(select(QuotaOffer).where(QuotaOffer.key == key))
    if earlier is not None:
        said = (earlier.way, earlier.department_id, earlier.pool_id, earlier.commodity, earlier.amount)
        if said != (way.value, department_id, pool_id, cls, amount):
            raise reused(key)
        return earlier
    if way is OfferWay.GIVE:
        until, guaranteed_days, notice_days = None, 0, 0
    reason = stated(reason)
    must_be_open(whose, "department")
    if not where.active:
        raise Invalid("pool.closed", N_("该资源池已停用"), field="wallet")
    _must_make_sense(tx, way, amount, until, open_until, guaranteed_days, notice_days)
    tx.alone(f"offers of department {whose.id}")
    has = can_give(tx, way, where.id, cls, whose.id) - _offered(tx, where.id, cls, whose.id)
    if has < amount:
        raise _short(whose, cls, max(has, 0))
    made = QuotaOffer(
        key=key, department_id=whose.id, pool_id=where.id, kind=cls.kind, arch=cls.arch.value, way=way.value,
        amount=amount, taken=0, until=until, open_until=open_until, guaranteed_days=guaranteed_days,
        notice_days=notice_days, reason=reason, state=OfferState.OPEN.value, generation=1, by=tx.actor.login, at=tx.now,
    )  # fmt: skip
    tx.add(made)
    tx.flush()
    tx.audit(
        "quota_offer.publish", made.subject,
        after={
            "way": way, "department": whose.id, "pool": where.id, "class": str(cls), "amount": amount, "until": until,
            "open_until": open_until, "guaranteed_days": guaranteed_days, "notice_days": notice_days,
        },
        reason=reason,
    )  # fmt: skip
    return made


def close(tx: Tx, offer_id: int, *, generation: int, reason: str) -> QuotaOffer:
    """Its department (or the authority) takes the offer back. What nobody agreed to yet lapses; what was agreed stays agreed."""
    found = _locked_offer(tx, offer_id, generation)
    _for(tx, found.department_id)
    return _ended(tx, found, OfferState.CLOSED, "quota_offer.close", stated(reason))


def ask(tx: Tx, offer_id: int, department_id: int, amount: int, *, reason: str, key: str) -> QuotaClaim:
    """A department asks for some of an offer. The same ``key`` again returns the first.

    Raises NotAllowed for somebody else's, NotFound for an offer that it may not see, WrongState for one that is over, Invalid for
    its own offer and for nothing, OverCapacity for more than is left, Conflict where it asked already and waits.
    """
    if not lending.acts_for(tx, department_id):
        raise NotAllowed("market.not_yours", N_("只能为本单位及下属单位求借"))
    whose = department(tx, department_id)
    tx.alone(key)
    earlier = tx.scalar(select(QuotaClaim).where(QuotaClaim.key == key))
    if earlier is not None:
        if (earlier.offer_id, earlier.department_id, earlier.asked) != (offer_id, department_id, amount):
            raise reused(key)
        return earlier
    reason = stated(reason)
    found = _locked_offer(tx, offer_id)
    _must_be_open(tx, found)
    must_be_open(whose, "department")
    if whose.id == found.department_id:
        raise Invalid("loan.same", N_("出借方和借用方不能是同一单位"), field="department")
    if not _may_see(tx, found, whose.id):
        raise NotAllowed("market.not_seen", N_("按市场规则，该单位不能求借这项挂牌"))
    if amount <= 0:
        raise Invalid("transfer.amount", N_("变动数量须为正整数"), field="amount")
    if amount > found.left:
        raise _short(found.department, found.commodity, found.left)
    waiting = select(QuotaClaim.id).where(
        QuotaClaim.offer_id == found.id, QuotaClaim.department_id == whose.id, QuotaClaim.state.in_(OPEN_CLAIMS)
    )
    if tx.scalar(waiting.limit(1)) is not None:
        raise Conflict("market.asked", N_("该单位已求借这项挂牌，请等待答复或先撤回"), field="department")
    made = QuotaClaim(
        key=key, offer_id=found.id, department_id=whose.id, asked=amount, reason=reason, answer="",
        state=ClaimState.ASKED.value, generation=1, by=tx.actor.login, at=tx.now,
    )  # fmt: skip
    tx.add(made)
    tx.flush()
    tx.audit("quota_claim.ask", made.subject, after={"offer": found.id, "department": whose.id, "amount": amount}, reason=reason)  # fmt: skip
    return made


def agree(tx: Tx, claim_id: int, amount: int | None = None, *, generation: int) -> QuotaClaim:
    """Who offers says yes to all of it, or to ``amount`` of it: lent at once; what is given for good waits for the authority.

    Raises WrongState where the offer is over or the rule of the day does not allow it (``barred``), OverCapacity where less than that
    is left or unused.
    """
    found, whose = _locked_claim(tx, claim_id, generation)
    _for(tx, whose.department_id)
    _must_be(found, ClaimState.ASKED)
    _must_be_open(tx, whose)
    _must_be_allowed(tx, found)
    agreed = found.asked if amount is None else amount
    if not 1 <= agreed <= found.asked:
        raise Invalid("market.agreed", N_("同意的数量须大于零且不超过求借数量"), field="amount")
    if agreed > whose.left:
        raise _short(whose.department, whose.commodity, whose.left)
    way = OfferWay(whose.way)
    has = can_give(tx, way, whose.pool_id, whose.commodity, whose.department_id)
    if has < agreed:
        raise _short(whose.department, whose.commodity, has)
    found.agreed = agreed
    whose.taken += agreed
    if way is OfferWay.LEND:
        days = _days_left(tx, whose)
        loan = lending.agreed(
            tx, whose.pool_id, whose.commodity, agreed, whose.department_id, found.department_id, days=days,
            guaranteed_days=min(whose.guaranteed_days, days), notice_days=min(whose.notice_days, days),
            reason=found.reason, key=f"{found.subject}/lend",
        )  # fmt: skip
        found.loan_id = loan.id
        _decided(tx, found, ClaimState.DONE, "quota_claim.lend", more={"amount": agreed, "loan": loan.id})
    else:
        _decided(tx, found, ClaimState.AGREED, "quota_claim.agree", more={"amount": agreed})
    _used_up(tx, whose)
    return found


def confirm(tx: Tx, claim_id: int, *, generation: int) -> QuotaClaim:
    """The authority moves what the offerer agreed to give for good. Raises OverCapacity where it was put to use meanwhile, WrongState
    where the rule of the day does not allow it (``barred``)."""
    tx.actor.must_be(Role.AUTHORITY)
    found, whose = _locked_claim(tx, claim_id, generation)
    _must_be(found, ClaimState.AGREED)
    _must_be_allowed(tx, found)
    move = Allotment(
        Act.MOVE, whose.pool_id, whose.commodity, whose.department_id, found.agreed or 0, found.reason,
        found.department_id,
    )  # fmt: skip
    found.transfer_id = allotments.carry_out(tx, move, key=f"{found.subject}/move").id
    _decided(tx, found, ClaimState.DONE, "quota_claim.confirm", more={"transfer": found.transfer_id})
    _used_up(tx, whose)
    return found


def refuse(tx: Tx, claim_id: int, *, generation: int, reason: str) -> QuotaClaim:
    """Who offers says no, or takes back a yes that the authority has not confirmed; or the authority does not confirm it."""
    found, whose = _locked_claim(tx, claim_id, generation)
    _for(tx, whose.department_id)
    _must_be(found, ClaimState.ASKED, ClaimState.AGREED)
    found.answer = stated(reason)
    _let_go(found, whose)
    _decided(tx, found, ClaimState.REFUSED, "quota_claim.refuse", reason=found.answer)
    return found


def withdraw(tx: Tx, claim_id: int, *, generation: int) -> QuotaClaim:
    """Who asked does not want it any more, as long as nothing was lent or moved."""
    found, whose = _locked_claim(tx, claim_id, generation)
    if not lending.acts_for(tx, found.department_id):
        raise NotAllowed("market.not_yours", N_("只能为本单位及下属单位求借"))
    _must_be(found, ClaimState.ASKED, ClaimState.AGREED)
    _let_go(found, whose)
    _decided(tx, found, ClaimState.WITHDRAWN, "quota_claim.withdraw")
    return found


def lapse(tx: Tx) -> list[QuotaOffer]:
    """End the offers whose last day has passed, and what waits on them. A job's work."""
    tx.actor.must_be(Role.SYSTEM)
    today = tx.now.astimezone(ZONE).date()
    over = select(QuotaOffer).where(QuotaOffer.state == OfferState.OPEN.value, QuotaOffer.open_until < today)
    found = list(tx.scalars(over.order_by(QuotaOffer.id).with_for_update().execution_options(populate_existing=True)))
    return [_ended(tx, one, OfferState.LAPSED, "quota_offer.lapse", "") for one in found]


# ----------------------------------------------------------------------------------------------------------- mechanism


def _must_make_sense(
    tx: Tx, way: OfferWay, amount: int, until: date | None, open_until: date, guaranteed_days: int, notice_days: int
) -> None:
    """Raise WrongState or Invalid naming what of an offer the rule or common sense does not allow."""
    terms, today = rules.market(tx), tx.now.astimezone(ZONE).date()
    if terms.scope is MarketScope.CLOSED:
        raise WrongState("market.closed", N_("配额市场尚未开放"))
    if way is OfferWay.GIVE and not terms.for_good:
        raise WrongState("market.no_gifts", N_("按市场规则，配额只能出借，不能调出"))
    if amount <= 0:
        raise Invalid("transfer.amount", N_("变动数量须为正整数"), field="amount")
    if way is OfferWay.LEND:
        longest = terms.longest_days
        if until is None or not today <= until < today + timedelta(days=longest):
            raise Invalid(
                "market.until", N_("最后一天须填写，且在今天起 %(most)s 天之内"), most=longest, field="until"
            )  # fmt: skip
        days = (until - today).days + 1
        for name, value in (("guaranteed_days", guaranteed_days), ("notice_days", notice_days)):
            if not 0 <= value <= days:
                raise Invalid("market.terms", N_("不能超过出借的天数"), field=name)
    latest = until or today + timedelta(days=LONGEST_DAYS)
    if not today <= open_until <= latest:
        raise Invalid("market.open_until", N_("挂牌截止日须在今天与 %(last)s 之间"), last=latest, field="open_until")


def _days_left(tx: Tx, one: QuotaOffer) -> int:
    """Days of a loan that is agreed now, the last one with it."""
    return ((one.until or one.open_until) - tx.now.astimezone(ZONE).date()).days + 1


def _offered(tx: Tx, pool_id: int, cls: Commodity, department_id: int) -> int:
    """Base units that open offers of the department still promise, and those agreed on that were not moved yet."""
    of_it = (
        QuotaOffer.department_id == department_id,
        QuotaOffer.pool_id == pool_id,
        QuotaOffer.kind == cls.kind,
        QuotaOffer.arch == cls.arch.value,
    )
    still = select(func.sum(QuotaOffer.amount - QuotaOffer.taken)).where(
        *of_it, QuotaOffer.state == OfferState.OPEN.value
    )
    agreed = (
        select(func.sum(QuotaClaim.agreed))
        .join(QuotaOffer, QuotaOffer.id == QuotaClaim.offer_id)
        .where(*of_it, QuotaClaim.state == ClaimState.AGREED.value)
    )
    return int(tx.scalar(still) or 0) + int(tx.scalar(agreed) or 0)


def _branch(tx: Tx, department_id: int) -> set[int]:
    """The departments under the same top of the tree."""
    chain = departments.above(tx, department_id) | {department_id}
    top = tx.scalar(select(Department.id).where(Department.id.in_(chain), Department.parent_id.is_(None)))
    return subtree(tx, top or department_id)


def _may_see(tx: Tx, one: QuotaOffer, department_id: int) -> bool:
    scope = rules.market(tx).scope
    if scope is MarketScope.BRANCH:
        return one.department_id in _branch(tx, department_id)
    return scope is MarketScope.CITY


def _must_be_allowed(tx: Tx, one: QuotaClaim) -> None:
    refused = barred(tx, one)
    if refused is not None:
        raise refused


def _must_be_open(tx: Tx, one: QuotaOffer) -> None:
    if one.state != OfferState.OPEN.value or one.open_until < tx.now.astimezone(ZONE).date():
        raise WrongState("market.over", N_("这项挂牌已经结束"))


def _locked_offer(tx: Tx, offer_id: int, generation: int | None = None) -> QuotaOffer:
    found = offer(tx, offer_id)
    return tx.lock_as_shown(found, generation, Conflict("market.stale", N_("这项挂牌已有变化，请核对后再办理")))


def _locked_claim(tx: Tx, claim_id: int, generation: int) -> tuple[QuotaClaim, QuotaOffer]:
    """The claim and its offer with their rows locked, the offer first."""
    found = claim(tx, claim_id)
    whose = tx.lock(tx.get_one(QuotaOffer, found.offer_id))
    stale = Conflict("market.stale", N_("这项求借已有变化，请核对后再办理"))
    return tx.lock_as_shown(found, generation, stale), whose


def _let_go(found: QuotaClaim, whose: QuotaOffer) -> None:
    """What was agreed to of the claim may be asked for again, where its offer still stands."""
    if found.state != ClaimState.AGREED.value:
        return
    whose.taken -= found.agreed or 0
    whose.generation += 1


def _used_up(tx: Tx, whose: QuotaOffer) -> None:
    """End an offer of which all is lent or moved; while the authority may still say no to a part, others go on waiting for it."""
    whose.generation += 1
    tx.flush()
    unsure = select(QuotaClaim.id).where(QuotaClaim.offer_id == whose.id, QuotaClaim.state == ClaimState.AGREED.value)
    if whose.taken < whose.amount or whose.state != OfferState.OPEN.value or tx.scalar(unsure.limit(1)) is not None:
        return
    _ended(tx, whose, OfferState.TAKEN, "quota_offer.taken", "")


def _ended(tx: Tx, one: QuotaOffer, state: OfferState, action: str, reason: str) -> QuotaOffer:
    if one.state != OfferState.OPEN.value:
        raise WrongState("market.over", N_("这项挂牌已经结束"))
    one.state, one.ended_at = state.value, tx.now
    one.generation += 1
    tx.audit(action, one.subject, after={"state": state, "taken": one.taken}, reason=reason)
    waiting = select(QuotaClaim).where(QuotaClaim.offer_id == one.id, QuotaClaim.state == ClaimState.ASKED.value)
    for claim in tx.scalars(waiting.order_by(QuotaClaim.id).with_for_update()):
        _decided(tx, claim, ClaimState.LAPSED, "quota_claim.lapse")
    tx.flush()
    return one


def _decided(
    tx: Tx, one: QuotaClaim, state: ClaimState, action: str, *, reason: str = "", more: dict[str, object] | None = None
) -> None:
    before, one.state = one.state, state.value
    one.decided_by, one.decided_at = tx.actor.login, tx.now
    one.generation += 1
    tx.flush()
    tx.audit(action, one.subject, before={"state": before}, after={"state": state, **(more or {})}, reason=reason)


def _must_be(one: QuotaClaim, *states: ClaimState) -> None:
    if one.state not in {state.value for state in states}:
        raise WrongState("market.state", N_("这项求借现在不能这样办理"))


def _for(tx: Tx, department_id: int) -> None:
    if not lending.acts_for(tx, department_id):
        raise NotAllowed("loan.not_yours", N_("只能出借本单位及下属单位的配额"))


def _short(whose: Department, cls: Commodity, has: int) -> OverCapacity:
    return OverCapacity(
        "loan.short", N_("%(lender)s未使用的%(kind)s只有 %(have)s %(unit)s"), lender=whose.name,
        kind=CLASSES[cls.kind].label, have=shown(cls.kind, has), unit=CLASSES[cls.kind].shown, field="amount",
    )  # fmt: skip
