"""What departments keep outside the government cloud (云外资源): rooms and machines of their own, other clouds, what has not moved yet.

    registered ──recognise▶ recognised ──(its last day passes)▶ lapsed
         └──────refuse▶ moving ──(its day passes)▶ late            any ──leave▶ gone ──reopen▶ as before

The register is the department's own word. Whether something may stay there is decided by a request about it, by whom the city's rules
name; so is by when it must move where it may not. That it moved or was shut down is the steward's to note.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    String,
    Text,
    UniqueConstraint,
    and_,
    cast,
    false,
    func,
    or_,
    select,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.actors import Actor, Role
from quota.base import Base
from quota.calendar import ZONE
from quota.directory.departments import Department, System, department, in_use, must_be_open, subtree
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, WrongState, stated

if TYPE_CHECKING:
    from quota.db import Tx

RULERS = (Role.AUTHORITY, Role.SUPERVISOR)


class FacilityKind(StrEnum):
    """What it is. Stored, and rules speak of it, so never changed."""

    ROOM = "room"
    EQUIPMENT = "equipment"
    CLOUD = "cloud"
    SYSTEM = "system"


FACILITY_LABELS: Mapping[str, str] = {
    FacilityKind.ROOM: N_("自建机房"),
    FacilityKind.EQUIPMENT: N_("自有设备"),
    FacilityKind.CLOUD: N_("其他云"),
    FacilityKind.SYSTEM: N_("未上云系统"),
}


class FacilityState(StrEnum):
    REGISTERED = "registered"
    RECOGNISED = "recognised"
    LAPSED = "lapsed"  # recognised until a day that has passed
    MOVING = "moving"  # refused; it must move
    LATE = "late"  # it should have moved
    LEFT = "left"  # moved to the cloud, or shut down


class OutsideFacility(Base):
    """云外资源. ``recognised_until``: empty where it is recognised for good. ``basis``: the request that decided it."""

    __tablename__ = "outside_facilities"
    __table_args__ = (
        CheckConstraint("recognised_on IS NULL OR refused_on IS NULL", name="decided"),
        CheckConstraint("recognised_until IS NULL OR recognised_until >= recognised_on", name="days"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(128))
    kind: Mapped[str] = mapped_column(String(16))
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), index=True)
    place: Mapped[str] = mapped_column(String(128))
    size: Mapped[str] = mapped_column(String(256), default="")
    recognised_on: Mapped[date | None]
    recognised_until: Mapped[date | None] = mapped_column(index=True)
    refused_on: Mapped[date | None]
    move_by: Mapped[date | None] = mapped_column(index=True)
    basis: Mapped[str] = mapped_column(String(40), default="")
    left_on: Mapped[date | None]
    note: Mapped[str] = mapped_column(Text, default="")  # how it left
    generation: Mapped[int] = mapped_column(default=1)
    by: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]

    department: Mapped[Department] = relationship()
    systems: Mapped[list[System]] = relationship(
        secondary="outside_facility_systems", order_by="System.name", viewonly=True
    )

    @property
    def subject(self) -> str:
        return f"outside:{self.id}"

    @property
    def called(self) -> str:
        return self.name

    def state(self, today: date) -> FacilityState:
        """What it is on ``today``."""
        if self.left_on is not None:
            return FacilityState.LEFT
        if self.refused_on is not None:
            return FacilityState.LATE if self.move_by is not None and self.move_by < today else FacilityState.MOVING
        if self.recognised_on is None:
            return FacilityState.REGISTERED
        over = self.recognised_until is not None and self.recognised_until < today
        return FacilityState.LAPSED if over else FacilityState.RECOGNISED


class OutsideFacilitySystem(Base):
    """That a system runs there, all of it or a part."""

    __tablename__ = "outside_facility_systems"
    __table_args__ = (UniqueConstraint("facility_id", "system_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    facility_id: Mapped[int] = mapped_column(ForeignKey("outside_facilities.id"))
    system_id: Mapped[int] = mapped_column(ForeignKey("systems.id"), index=True)


FACILITY_FIELDS = {"name": N_("名称"), "kind": N_("类型"), "place": N_("地点"), "size": N_("规模")}
"""What is said of one beside its department and its systems: field → label."""

UnderWay = Callable[["Tx", int], str | None]
_under_way: list[UnderWay] = []


def decided_by(asks: UnderWay) -> UnderWay:
    """Have ``asks`` tell what is about to decide on a facility, by its number (a decorator): it stays as it is meanwhile."""
    if asks not in _under_way:
        _under_way.append(asks)
    return asks


# ------------------------------------------------------------------------------------------------------------- reading


def visible(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """A tenant sees what its departments have; authority, supervisor and auditor all; nobody else any."""
    if actor.role is Role.TENANT and actor.department_id is not None:
        return OutsideFacility.department_id.in_(subtree(tx, actor.department_id))
    return true() if actor.role in (*RULERS, Role.AUDITOR, Role.SYSTEM) else false()


def in_state(state: FacilityState, today: date) -> ColumnElement[bool]:
    """Those that are in ``state`` on ``today``."""
    row = OutsideFacility
    if state is FacilityState.LEFT:
        return row.left_on.is_not(None)
    there = row.left_on.is_(None)
    late, over = row.move_by < today, row.recognised_until < today
    said = {
        FacilityState.LATE: and_(row.refused_on.is_not(None), late),
        FacilityState.MOVING: and_(row.refused_on.is_not(None), or_(row.move_by.is_(None), ~late)),
        FacilityState.LAPSED: and_(row.recognised_on.is_not(None), over),
        FacilityState.RECOGNISED: and_(row.recognised_on.is_not(None), or_(row.recognised_until.is_(None), ~over)),
        FacilityState.REGISTERED: and_(row.recognised_on.is_(None), row.refused_on.is_(None)),
    }
    return and_(there, said[state])


def due(before: date) -> ColumnElement[bool]:
    """What must have moved, or is recognised no longer, before ``before``, and is still there."""
    row = OutsideFacility
    return and_(row.left_on.is_(None), or_(row.move_by < before, row.recognised_until < before))


def facility(tx: Tx, facility_id: int) -> OutsideFacility:
    """The facility, or NotFound: also where this actor may not see it."""
    query = select(OutsideFacility).where(OutsideFacility.id == facility_id, visible(tx, tx.actor))
    found = tx.scalar(query)
    if found is None:
        raise NotFound("outside.none", N_("没有编号为 %(id)s 的云外资源"), id=facility_id)
    return found


def named(tx: Tx, text: str) -> Sequence[OutsideFacility]:
    """The facilities that this actor may see which ``text`` is the number or the name of; at most two."""
    by = [OutsideFacility.name == text, cast(OutsideFacility.id, String) == text]
    query = select(OutsideFacility).where(or_(*by), visible(tx, tx.actor)).order_by(OutsideFacility.id)
    return tx.scalars(query.limit(2)).all()


def on_the_cloud(tx: Tx, today: date, within: Collection[int] | None = None) -> tuple[int, int]:
    """Of the systems in use, of these departments where some are named: how many run nowhere outside, and how many there are."""
    which = in_use(today) if within is None else and_(in_use(today), System.department_id.in_(within))
    outside = (
        select(OutsideFacilitySystem.system_id)
        .join(OutsideFacility, OutsideFacility.id == OutsideFacilitySystem.facility_id)
        .where(or_(OutsideFacility.left_on.is_(None), OutsideFacility.left_on > today))
    )
    row = select(func.count(), func.count().filter(System.id.not_in(outside))).select_from(System).where(which)
    total, on = tx.execute(row).one()
    return on, total


# --------------------------------------------------------------------------------------------------------------- verbs


def register(tx: Tx, department_id: int, facts: Mapping[str, Any], system_ids: Collection[int] = ()) -> OutsideFacility:
    """Enter what a department has outside; ``facts`` are FACILITY_FIELDS. The department's own to say, or the steward's.

    Raises NotAllowed for another department's, Invalid for what makes no sense or another department's system, Conflict for what is
    entered already.
    """
    _must_keep(tx, department_id)
    owner = department(tx, department_id)
    must_be_open(owner, "department")
    checked = _checked(facts)
    tx.alone("outside facilities")
    _must_be_new(tx, owner.id, checked)
    made = OutsideFacility(
        department_id=owner.id, **checked, basis="", note="", generation=1, by=tx.actor.login, at=tx.now
    )
    tx.add(made)
    tx.flush()
    _name(tx, made, system_ids)
    told = {"department": owner.id, "systems": sorted(set(system_ids)), **checked}
    tx.audit("outside.register", made.subject, after=told)
    return made


def amend(
    tx: Tx, facility_id: int, facts: Mapping[str, Any], system_ids: Collection[int] = (), *, generation: int
) -> OutsideFacility:
    """Correct what is said of a facility that is still there and about which nothing is being decided; only what differs is written
    and audited. What was decided on is corrected by the steward alone; which systems run there, by the department still."""
    checked = _checked(facts)
    tx.alone("outside facilities")
    found = _locked(tx, facility_id, generation)
    _must_keep(tx, found.department_id)
    _must_be_there(found)
    _must_be_settled(tx, found)
    had = sorted(one.id for one in found.systems)
    changed = {name: value for name, value in checked.items() if getattr(found, name) != value}
    if changed:
        _must_be_new(tx, found.department_id, checked, apart_from=found.id)
        _must_be_undecided(tx, found)
    before = {name: getattr(found, name) for name in changed}
    if sorted(set(system_ids)) != had:
        _name(tx, found, system_ids)
        changed["systems"], before["systems"] = sorted(set(system_ids)), had
    if changed:
        _change(tx, found, "outside.amend", changed, before)
    return found


def recognise(tx: Tx, facility_id: int, until: date | None, basis: str) -> OutsideFacility:
    """A request about it was granted: it may stay where it is, ``until`` a day or for good."""
    found = _locked(tx, facility_id)
    before = _decided(found)
    after = {
        "recognised_on": _today(tx), "recognised_until": until, "refused_on": None, "move_by": None, "basis": basis,
    }  # fmt: skip
    return _change(tx, found, "outside.recognise", after, before)


def refuse(tx: Tx, facility_id: int, move_by: date | None, basis: str) -> OutsideFacility:
    """A request about it was rejected: it must move by a day, where the rules say one, and not before what it was recognised for is
    over. Whoever asks again and is rejected again has no more time than before."""
    found = _locked(tx, facility_id)
    before = _decided(found)
    if found.refused_on is not None and found.move_by is not None:
        move_by = found.move_by
    elif move_by is not None and found.recognised_until is not None:
        move_by = max(move_by, found.recognised_until)
    after = {
        "recognised_on": None, "recognised_until": None, "refused_on": _today(tx), "move_by": move_by, "basis": basis,
    }  # fmt: skip
    return _change(tx, found, "outside.refuse", after, before)


def set_day(tx: Tx, facility_id: int, move_by: date, reason: str, *, generation: int) -> OutsideFacility:
    """The authority says by when something that was refused must have moved, or says another day."""
    tx.actor.must_be(Role.AUTHORITY)
    found = _locked(tx, facility_id, generation)
    _must_be_there(found)
    if found.refused_on is None:
        raise WrongState("outside.not_refused", N_("只有不予认定的云外资源有迁移期限"))
    if move_by < _today(tx):
        raise Invalid("outside.past", N_("迁移期限不能早于今天"), field="on")
    return _change(
        tx, found, "outside.set_day", {"move_by": move_by}, {"move_by": found.move_by}, stated(reason, "note")
    )


def leave(tx: Tx, facility_id: int, on: date, note: str, *, generation: int) -> OutsideFacility:
    """The steward notes that it moved to the cloud or was shut down on a day, and how that was seen."""
    tx.actor.must_be(*RULERS)
    found = _locked(tx, facility_id, generation)
    _must_be_there(found)
    _must_be_settled(tx, found)
    if on > _today(tx):
        raise Invalid("outside.to_come", N_("日期不能晚于今天"), field="on")
    said = stated(note, "note", code="outside.note", message=N_("请写明迁移或停用的情况"))
    return _change(tx, found, "outside.leave", {"left_on": on, "note": said}, {"left_on": None})


def reopen(tx: Tx, facility_id: int, reason: str, *, generation: int) -> OutsideFacility:
    """The steward takes back that it is gone."""
    tx.actor.must_be(*RULERS)
    found = _locked(tx, facility_id, generation)
    if found.left_on is None:
        raise WrongState("outside.there", N_("该云外资源尚未迁移或停用"))
    before = {"left_on": found.left_on, "note": found.note}
    return _change(tx, found, "outside.reopen", {"left_on": None, "note": ""}, before, stated(reason))


# ----------------------------------------------------------------------------------------------------------- mechanism


def _today(tx: Tx) -> date:
    return tx.now.astimezone(ZONE).date()


def _checked(facts: Mapping[str, Any]) -> dict[str, Any]:
    """FACILITY_FIELDS as they are kept. Raises Invalid naming the one that makes no sense."""
    found = {name: str(facts.get(name) or "").strip() for name in FACILITY_FIELDS}
    for name in ("name", "place"):
        stated(found[name], name, code="outside.empty", message=N_("名称和地点都不能为空"))
    if found["kind"] not in FACILITY_LABELS:
        raise Invalid("outside.kind", N_("没有这种云外资源"), field="kind")
    return found


def _name(tx: Tx, one: OutsideFacility, system_ids: Collection[int]) -> None:
    """Say which systems run there. Raises Invalid for another department's, unless it was said already."""
    wanted, within = set(system_ids), subtree(tx, one.department_id)
    rows = {row.system_id: row for row in tx.scalars(
        select(OutsideFacilitySystem).where(OutsideFacilitySystem.facility_id == one.id)
    )}  # fmt: skip
    for system_id in sorted(wanted - set(rows)):
        found = tx.get(System, system_id)
        if found is None or found.department_id not in within:
            raise Invalid("outside.system", N_("只能选择该单位及其下属单位的信息系统"), field="systems")
        tx.add(OutsideFacilitySystem(facility_id=one.id, system_id=system_id))
    for system_id in set(rows) - wanted:
        tx.delete(rows[system_id])
    tx.flush()
    tx.expire(one, ["systems"])


def _must_keep(tx: Tx, department_id: int) -> None:
    """Raise NotAllowed unless this actor may say something of what the department has."""
    who = tx.actor
    own = who.role is Role.TENANT and who.department_id is not None and department_id in subtree(tx, who.department_id)
    if not own and who.role not in RULERS:
        raise NotAllowed("outside.not_yours", N_("只能登记本单位及下属单位的云外资源"))


def _must_be_new(tx: Tx, department_id: int, facts: Mapping[str, Any], apart_from: int | None = None) -> None:
    """Raise Conflict where the department has one of this name, kind and place already."""
    same = [getattr(OutsideFacility, name) == facts[name] for name in ("name", "kind", "place")]
    whose = (OutsideFacility.department_id == department_id, OutsideFacility.left_on.is_(None))
    query = select(OutsideFacility.id).where(*same, *whose)
    found = tx.scalar((query if apart_from is None else query.where(OutsideFacility.id != apart_from)).limit(1))
    if found is not None:
        raise Conflict("outside.taken", N_("该单位在此地点已登记“%(name)s”"), name=facts["name"], field="name")


def _must_be_undecided(tx: Tx, one: OutsideFacility) -> None:
    if tx.actor.role not in RULERS and (one.recognised_on is not None or one.refused_on is not None):
        raise NotAllowed(
            "outside.decided", N_("已认定或不予认定的，名称、类型、地点和规模只能由主管部门或运营监督人员更正")
        )


def _must_be_there(one: OutsideFacility) -> None:
    if one.left_on is not None:
        raise WrongState("outside.left", N_("该云外资源已迁移或停用"))


def _must_be_settled(tx: Tx, one: OutsideFacility) -> None:
    for asks in _under_way:
        number = asks(tx, one.id)
        if number is not None:
            raise Conflict("outside.under_way", N_("正在办理申请 %(number)s，办结之前不能更改"), number=number)


def _decided(one: OutsideFacility) -> dict[str, Any]:
    names = ("recognised_on", "recognised_until", "refused_on", "move_by", "basis")
    return {name: getattr(one, name) for name in names}


def _locked(tx: Tx, facility_id: int, generation: int | None = None) -> OutsideFacility:
    """As it is now; as it was shown to who acts where ``generation`` is given, else whoever looks: a party of a request may not see it."""
    found = tx.get_one(OutsideFacility, facility_id) if generation is None else facility(tx, facility_id)
    stale = Conflict("outside.stale", N_("该云外资源已被他人更新，请核对后再办理"))
    return tx.lock_as_shown(found, generation, stale)


def _change(
    tx: Tx, one: OutsideFacility, action: str, after: Mapping[str, Any], before: Mapping[str, Any], reason: str = ""
) -> OutsideFacility:
    for name, value in after.items():
        if name != "systems":
            setattr(one, name, value)
    one.generation += 1
    one.by, one.at = tx.actor.login, tx.now
    tx.flush()
    tx.audit(action, one.subject, before=dict(before), after={"generation": one.generation, **after}, reason=reason)
    return one
