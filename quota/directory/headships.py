"""Who answers for a department's cloud (单位负责人，云长): its head, who stands in, whom to ask; each with days, and kept when it is over.

One of each at a time. Who comes next ends who was before; nothing that was said is overwritten but the last day.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import CheckConstraint, ColumnElement, ForeignKey, Index, String, exists, select, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.actors import Role
from quota.base import Base
from quota.calendar import ZONE
from quota.db import among
from quota.directory.departments import Department, department, must_be_open, subtree
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, WrongState

if TYPE_CHECKING:
    from quota.db import Tx


class Duty(StrEnum):
    HEAD = "head"
    DEPUTY = "deputy"
    CONTACT = "contact"


DUTY_LABELS: Mapping[str, str] = {Duty.HEAD: N_("负责人"), Duty.DEPUTY: N_("分管负责人"), Duty.CONTACT: N_("联络员")}
HEADSHIP_FIELDS = {"name": 64, "title": 64, "phone": 32, "email": 254, "document": 128}
"""What is said of somebody → how long at most; ``document``: by what the person was appointed."""


class Headship(Base):
    """Somebody's time in a duty: from ``since`` on, up to and with ``until`` (None: still)."""

    __tablename__ = "headships"
    __table_args__ = (
        CheckConstraint("until IS NULL OR until >= since", name="days"),
        Index(
            "uq_headships_standing", "department_id", "duty", unique=True,
            sqlite_where=text("until IS NULL"), postgresql_where=text("until IS NULL"),
        ),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(primary_key=True)
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), index=True)
    duty: Mapped[str] = mapped_column(String(8))
    name: Mapped[str] = mapped_column(String(64))
    title: Mapped[str] = mapped_column(String(64), default="")
    phone: Mapped[str] = mapped_column(String(32), default="")
    email: Mapped[str] = mapped_column(String(254), default="")
    document: Mapped[str] = mapped_column(String(128), default="")
    since: Mapped[date]
    until: Mapped[date | None]
    by: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]
    generation: Mapped[int] = mapped_column(default=1)
    ended_by: Mapped[str | None] = mapped_column(String(64))
    ended_at: Mapped[datetime | None]

    department: Mapped[Department] = relationship()

    @property
    def subject(self) -> str:
        return f"department:{self.department_id}"


def headship(tx: Tx, headship_id: int) -> Headship:
    """Somebody's time in a duty, or NotFound."""
    found = tx.get(Headship, headship_id)
    if found is None:
        raise NotFound("headship.none", N_("没有编号为 %(id)s 的负责人登记"), id=headship_id)
    return found


def of_department(tx: Tx, department_id: int) -> list[Headship]:
    """All that was ever said of a department's, the newest first."""
    query = select(Headship).where(Headship.department_id == department_id)
    return list(tx.scalars(query.order_by(Headship.since.desc(), Headship.id.desc())))


def standing(tx: Tx, department_ids: Collection[int], day: date) -> dict[int, dict[Duty, Headship]]:
    """Department → duty → who had it on ``day``, of each of these; where one ended and the next began that day, the next."""
    found: dict[int, dict[Duty, Headship]] = {one: {} for one in department_ids}
    query = select(Headship).where(among(Headship.department_id, found), *_on(day))
    for one in tx.scalars(query.order_by(Headship.since, Headship.id)):
        found[one.department_id][Duty(one.duty)] = one
    return found


def headless(day: date) -> ColumnElement[bool]:
    """Open departments that have no head on ``day``."""
    head = exists().where(Headship.department_id == Department.id, Headship.duty == Duty.HEAD.value, *_on(day))
    return Department.active & ~head


def kept(tx: Tx, day: date) -> bool:
    """Whether anybody was said to head a department by ``day``: before, none is missed."""
    return (
        tx.scalar(select(Headship.id).where(Headship.duty == Duty.HEAD.value, Headship.since <= day).limit(1))
        is not None
    )


def missing(day: date) -> ColumnElement[bool]:
    """As ``headless``, and none at all before anybody keeps this register: until then nobody is told what it lacks."""
    return exists(select(Headship.id)) & headless(day)


# --------------------------------------------------------------------------------------------------------------- verbs


def appoint(tx: Tx, department_id: int, duty: Duty, said: Mapping[str, Any], since: date) -> Headship:
    """Somebody takes up a duty of a department's on ``since``; who had it ends with the day before. ``said`` are HEADSHIP_FIELDS.
    The department's own to say, or the steward's.

    Raises Invalid for what is missing, a day that is to come, or one that is not after the day when who has it began."""
    one = _writable(tx, department_id)
    must_be_open(one, "department")
    told = _sound(said)
    if since > _today(tx):
        raise Invalid("headship.to_come", N_("任职日期不能晚于今天"), field="since")
    tx.alone(f"headships of {one.id}")
    former = list(
        tx.scalars(
            select(Headship)
            .where(Headship.department_id == one.id, Headship.duty == duty.value)
            .order_by(Headship.since.desc(), Headship.id.desc())
            .with_for_update()
        )
    )
    if former and since <= max(former[0].since, former[0].until or former[0].since):
        raise Invalid("headship.order", N_("任职日期须晚于前任的任职和离任日期"), field="since")
    before = None
    if former and former[0].until is None:
        _end(tx, former[0], since - timedelta(days=1))
        before = {"name": former[0].name, "since": former[0].since, "until": former[0].until}
    made = Headship(department_id=one.id, duty=duty.value, since=since, by=tx.actor.login, at=tx.now, **told)
    tx.add(made)
    tx.flush()
    tx.audit("department.appoint", made.subject, before=before, after={"duty": duty.value, "since": since, **told})
    return made


def amend(tx: Tx, headship_id: int, said: Mapping[str, Any], *, generation: int) -> Headship:
    """Correct what is said of who has a duty now; its days stay. Raises WrongState for who left, Conflict where it was corrected
    meanwhile."""
    found = _there(tx, headship_id, generation)
    changed = {name: value for name, value in _sound(said).items() if getattr(found, name) != value}
    if changed:
        before = {name: getattr(found, name) for name in changed}
        for name, value in changed.items():
            setattr(found, name, value)
        found.generation += 1
        tx.flush()
        tx.audit("department.amend_head", found.subject, before={"duty": found.duty, **before}, after=changed)
    return found


def leave(tx: Tx, headship_id: int, until: date, *, generation: int) -> Headship:
    """Somebody leaves a duty, ``until`` being the last day, and nobody follows yet. Raises WrongState for who left already, Invalid for
    a day that is to come or before the first."""
    found = _there(tx, headship_id, generation)
    if not found.since <= until <= _today(tx):
        raise Invalid("headship.until", N_("离任日期须在任职日期与今天之间"), field="until")
    _end(tx, found, until)
    tx.audit("department.leave", found.subject, before={"name": found.name, "duty": found.duty}, after={"until": until})
    return found


def may_write(tx: Tx, department_id: int) -> bool:
    """Whether this actor keeps the register of a department."""
    who = tx.actor
    if who.role is Role.TENANT:
        return who.department_id is not None and department_id in subtree(tx, who.department_id)
    return who.role in (Role.AUTHORITY, Role.SUPERVISOR)


# ----------------------------------------------------------------------------------------------------------- mechanism


def _writable(tx: Tx, department_id: int) -> Department:
    if not may_write(tx, department_id):
        raise NotAllowed("headship.not_yours", N_("只能登记本单位及下属单位的负责人"))
    return department(tx, department_id)


def _there(tx: Tx, headship_id: int, generation: int) -> Headship:
    """Who has a duty still, its row locked."""
    found = headship(tx, headship_id)
    _writable(tx, found.department_id)
    tx.lock(found)
    if found.until is not None:
        raise WrongState("headship.left", N_("%(name)s已于 %(on)s 离任"), name=found.name, on=found.until)
    if found.generation != generation:
        raise Conflict("headship.stale", N_("该登记已被他人更新，请核对后再办理"))
    return found


def _sound(said: Mapping[str, Any]) -> dict[str, str]:
    told = {name: str(said.get(name) or "").strip() for name in HEADSHIP_FIELDS}
    if not told["name"] or not (told["phone"] or told["email"]):
        raise Invalid("headship.empty", N_("须填写姓名，以及电话或邮箱"), field="name" if not told["name"] else "phone")
    for name, longest in HEADSHIP_FIELDS.items():
        if len(told[name]) > longest:
            raise Invalid("headship.long", N_("超过 %(most)s 个字"), most=longest, field=name)
    return told


def _end(tx: Tx, row: Headship, until: date) -> None:
    row.until, row.ended_by, row.ended_at = until, tx.actor.login, tx.now
    row.generation += 1
    tx.flush()


def _on(day: date) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return Headship.since <= day, (Headship.until.is_(None)) | (Headship.until >= day)


def _today(tx: Tx) -> date:
    return tx.now.astimezone(ZONE).date()
