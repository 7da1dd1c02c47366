"""Delegations (委托代办): who is away names a colleague of the same party, who for those days signs what is named or handed to him.

Nobody gains a right by it that his own role has not, and nobody signs twice: what the deputy signs counts as signed by either.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, ColumnElement, ForeignKey, Select, String, Text, and_, or_, select, true
from sqlalchemy.orm import Mapped, aliased, mapped_column, relationship

from quota.actors import Actor, Role
from quota.base import Base
from quota.calendar import ZONE
from quota.directory.people import Person
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, WrongState, stated

if TYPE_CHECKING:
    from quota.db import Tx

LONGEST_DAYS = 180
SIGNERS = (Role.SUPERVISOR, Role.AUTHORITY, Role.TENANT, Role.PROVIDER)
"""Who signs steps, and may be away from it."""


class Delegation(Base):
    """``deputy`` acts for ``person`` from ``from_on`` to ``until_on``, both included, local days, unless it was revoked before."""

    __tablename__ = "delegations"
    __table_args__ = (
        CheckConstraint("person_id <> deputy_id", name="two"), CheckConstraint("from_on <= until_on", name="order"),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), index=True)
    deputy_id: Mapped[int] = mapped_column(ForeignKey("people.id"), index=True)
    from_on: Mapped[date]
    until_on: Mapped[date] = mapped_column(index=True)
    reason: Mapped[str] = mapped_column(Text)
    entered_at: Mapped[datetime]
    entered_by: Mapped[str] = mapped_column(String(64))
    revoked_at: Mapped[datetime | None]
    revoked_by: Mapped[str | None] = mapped_column(String(64))
    revoked_for: Mapped[str] = mapped_column(Text, default="", server_default="")

    person: Mapped[Person] = relationship(foreign_keys=[person_id])
    deputy: Mapped[Person] = relationship(foreign_keys=[deputy_id])

    @property
    def subject(self) -> str:
        return f"delegation:{self.id}"

    def state(self, today: date) -> str:
        """coming, standing, over or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        if today < self.from_on:
            return "coming"
        return "standing" if today <= self.until_on else "over"


def delegation(tx: Tx, delegation_id: int) -> Delegation:
    """The delegation, or NotFound: also where this actor may not see it."""
    found = tx.scalar(select(Delegation).where(Delegation.id == delegation_id, visible(tx.actor)))
    if found is None:
        raise NotFound("delegation.none", N_("没有编号为 %(id)s 的委托"), id=delegation_id)
    return found


def visible(actor: Actor) -> ColumnElement[bool]:
    """Administrators of rights and of the trail and auditors see all, others those of their own party."""
    if actor.role in (Role.SECADMIN, Role.AUDADMIN, Role.AUDITOR):
        return true()
    return Delegation.person_id.in_(select(Person.id).where(_party(actor)))


def may_stand_in_for(person: Person) -> ColumnElement[bool]:
    """Whom ``person`` may name, as a condition: people of the same role, and of the same department or company, who can sign."""
    able = and_(Person.active, Person.granted, ~Person.service)
    return and_(_party(person.actor()), able, Person.id != person.id)


def signs(person: Person) -> bool:
    """Whether ``person`` signs steps, and so may be away from them."""
    return person.active and person.granted and not person.service and Role(person.role) in SIGNERS


def delegate(tx: Tx, person_id: int, deputy_id: int, from_on: date, until_on: date, reason: str) -> Delegation:
    """Enter a delegation: who is away himself, or the security administrator for him.

    Raises NotAllowed for anybody else, Invalid naming the field, Conflict where either is away, or stands in, on one of the days.
    """
    tx.actor.must_sign()
    person = tx.get(Person, person_id)
    if tx.actor.role is not Role.SECADMIN and (person is None or person.login != tx.actor.login):
        raise NotAllowed("delegation.own", N_("只能委托他人代办本人的事项"))
    if person is None or not signs(person):
        raise Invalid("delegation.person", N_("请选择能够签署的人员"), field="person")
    deputy = tx.scalar(select(Person).where(Person.id == deputy_id, may_stand_in_for(person)))
    if deputy is None:
        raise Invalid("delegation.deputy", N_("请选择同一角色、同一单位的另一位人员"), field="deputy")
    today = tx.now.astimezone(ZONE).date()
    if from_on < today:
        raise Invalid("delegation.past", N_("开始日期不能早于今天"), field="from_on")
    if not from_on <= until_on <= from_on + timedelta(days=LONGEST_DAYS - 1):
        raise Invalid(
            "delegation.days", N_("结束日期不早于开始日期，最长 %(most)s 天"), most=LONGEST_DAYS, field="until_on"
        )
    tx.alone("delegations")
    _must_be_free(tx, person, deputy, from_on, until_on)
    row = Delegation(
        person_id=person.id, deputy_id=deputy.id, from_on=from_on, until_on=until_on, reason=stated(reason)[:2000],
        entered_at=tx.now, entered_by=tx.actor.login,
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    tx.audit(
        "delegation.enter", row.subject, reason=row.reason,
        after={"person": person.login, "deputy": deputy.login, "from_on": from_on, "until_on": until_on},
    )  # fmt: skip
    return row


def revoke(tx: Tx, delegation_id: int, reason: str) -> Delegation:
    """End it before its day: either of the two, or the security administrator. Raises WrongState for one that is over."""
    tx.actor.must_sign()
    row = tx.lock(delegation(tx, delegation_id))
    if tx.actor.role is not Role.SECADMIN and tx.actor.login not in (row.person.login, row.deputy.login):
        raise NotAllowed("delegation.own", N_("只能委托他人代办本人的事项"))
    if row.state(tx.now.astimezone(ZONE).date()) not in ("coming", "standing"):
        raise WrongState("delegation.over", N_("这项委托已经结束"))
    row.revoked_at, row.revoked_by, row.revoked_for = tx.now, tx.actor.login, stated(reason)[:2000]
    tx.flush()
    tx.audit("delegation.revoke", row.subject, reason=row.revoked_for)
    return row


def stood_in_for(tx: Tx, actor: Actor) -> frozenset[str]:
    """The logins of those for whom ``actor`` signs today."""
    return frozenset(tx.scalars(principals(tx, actor)))


def principals(tx: Tx, actor: Actor) -> Select[str]:
    """The same as a query, for a condition of another."""
    deputy, today = aliased(Person), tx.now.astimezone(ZONE).date()
    return (
        select(Person.login)
        .join(Delegation, Delegation.person_id == Person.id)
        .join(deputy, deputy.id == Delegation.deputy_id)
        .where(
            deputy.login == actor.login,
            Person.active,
            Person.granted,
            Delegation.from_on <= today,
            Delegation.until_on >= today,
            Delegation.revoked_at.is_(None),
        )
    )


def _party(actor: Actor) -> ColumnElement[bool]:
    """People of the same role, and of the same department or company."""
    return and_(
        Person.role == actor.role.value,
        Person.department_id.is_(None) if actor.department_id is None else Person.department_id == actor.department_id,
        Person.provider_id.is_(None) if actor.provider_id is None else Person.provider_id == actor.provider_id,
    )


def _must_be_free(tx: Tx, person: Person, deputy: Person, from_on: date, until_on: date) -> None:
    """Nobody is away twice, and what is delegated is not delegated further."""
    for field, who, of in (
        ("from_on", person, or_(Delegation.person_id == person.id, Delegation.deputy_id == person.id)),
        ("deputy", deputy, Delegation.person_id == deputy.id),
    ):
        found = tx.scalar(
            select(Delegation)
            .where(of, Delegation.revoked_at.is_(None), Delegation.from_on <= until_on, Delegation.until_on >= from_on)
            .limit(1)
        )
        if found is not None:
            raise Conflict(
                "delegation.overlaps",
                N_("%(name)s 在 %(from_on)s 至 %(until_on)s 已委托他人或受托代办，日期不能重叠"),
                name=who.name, from_on=str(found.from_on), until_on=str(found.until_on), field=field,
            )  # fmt: skip
