"""托管设备: what departments own and a company keeps for them in its rooms: by room, cabinet and units of height, for a term.

    entered ──place▶ standing ──(its last day passes)▶ over        any ──leave▶ left

Each party says what is its to say: the department, whose it is, what it is, until when it is kept and that it took it back; the company
that keeps it, where it stands. The last day is an entry of what ends (``dated``), so that its reminders, lists and figures are of it, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import CheckConstraint, ColumnElement, ForeignKey, Index, String, Text, and_, false, select, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.actors import Actor, Role
from quota.base import Base
from quota.calendar import ZONE
from quota.directory import dated
from quota.directory.dated import DatedKind
from quota.directory.departments import Department, System, department, must_be_open, subtree
from quota.directory.pools import CloudProvider
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, WrongState, stated

if TYPE_CHECKING:
    from quota.db import Tx

STEWARDS = (Role.SUPERVISOR, Role.AUTHORITY)
FIRST, LAST = date(2000, 1, 1), date(2199, 12, 31)
CABINET_U, MOST_POWER_W = 60, 100_000


class HostedKind(StrEnum):
    """What it is. Stored, so never changed."""

    SERVER = "server"
    STORAGE = "storage"
    NETWORK = "network"
    SECURITY = "security"
    OTHER = "other"


HOSTED_LABELS: Mapping[str, str] = {
    HostedKind.SERVER: N_("服务器"),
    HostedKind.STORAGE: N_("存储设备"),
    HostedKind.NETWORK: N_("网络设备"),
    HostedKind.SECURITY: N_("安全设备"),
    HostedKind.OTHER: N_("其他设备"),
}


class HostedState(StrEnum):
    ENTERED = "entered"  # not placed yet
    STANDING = "standing"
    OVER = "over"  # its last day is past, and it is there still
    LEFT = "left"


class HostedEquipment(Base):
    """One piece. ``owner``: whose it is where it is not the department's own; ``room``, ``cabinet``, ``u_from``: where it stands, its lowest
    unit of height; ``ends_on``: the last day that it is kept."""

    __tablename__ = "hosted_equipment"
    __table_args__ = (
        CheckConstraint("height_u BETWEEN 1 AND 60 AND power_w >= 0", name="size"),
        CheckConstraint("(placed_at IS NULL) = (u_from IS NULL)", name="placed"),
        Index("ix_hosted_equipment_ends_on_id", "ends_on", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(128))
    kind: Mapped[str] = mapped_column(String(16))
    asset_number: Mapped[str] = mapped_column(String(64), default="")
    serial: Mapped[str] = mapped_column(String(64), default="", index=True)
    model: Mapped[str] = mapped_column(String(128), default="")
    owner: Mapped[str] = mapped_column(String(128), default="")
    agreement: Mapped[str] = mapped_column(String(128), default="")
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), index=True)
    system_id: Mapped[int | None] = mapped_column(ForeignKey("systems.id"), index=True)
    provider_id: Mapped[int] = mapped_column(ForeignKey("cloud_providers.id"), index=True)
    height_u: Mapped[int]
    power_w: Mapped[int]
    ends_on: Mapped[date]
    room: Mapped[str] = mapped_column(String(64), default="")
    cabinet: Mapped[str] = mapped_column(String(32), default="")
    u_from: Mapped[int | None]
    placed_at: Mapped[datetime | None]
    entered_at: Mapped[datetime]
    entered_by: Mapped[str] = mapped_column(String(64))
    left_on: Mapped[date | None]
    left_at: Mapped[datetime | None]
    note: Mapped[str] = mapped_column(Text, default="")  # how it left
    generation: Mapped[int] = mapped_column(default=1)

    department: Mapped[Department] = relationship()
    system: Mapped[System | None] = relationship()
    provider: Mapped[CloudProvider] = relationship()

    @property
    def subject(self) -> str:
        return f"hosted:{self.id}"

    @property
    def u_to(self) -> int | None:
        """Its highest unit of height."""
        return None if self.u_from is None else self.u_from + self.height_u - 1

    def state(self, today: date) -> HostedState:
        """What it is on ``today``."""
        if self.left_on is not None:
            return HostedState.LEFT
        if self.ends_on < today:
            return HostedState.OVER
        return HostedState.ENTERED if self.placed_at is None else HostedState.STANDING


HOSTED_FIELDS = {
    "name": N_("名称"), "kind": N_("类型"), "asset_number": N_("资产编号"), "serial": N_("序列号"), "model": N_("品牌型号"),
    "owner": N_("产权方"), "agreement": N_("托管协议"), "system_id": N_("信息系统"), "height_u": N_("高度"), "power_w": N_("额定功率"),
    "ends_on": N_("托管到期日"),
}  # fmt: skip
"""What the department says of one: field → label."""


# ------------------------------------------------------------------------------------------------------------- reading


def visible(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """A department sees what is its own, a company what it keeps, who sees the whole city all; nobody else any."""
    if actor.role is Role.TENANT and actor.department_id is not None:
        return HostedEquipment.department_id.in_(subtree(tx, actor.department_id))
    if actor.role is Role.PROVIDER and actor.provider_id is not None:
        return HostedEquipment.provider_id == actor.provider_id
    return true() if actor.role in (*STEWARDS, Role.AUDITOR, Role.SYSTEM) else false()


def in_state(state: HostedState, today: date) -> ColumnElement[bool]:
    """Those that are in ``state`` on ``today``."""
    row = HostedEquipment
    there = row.left_on.is_(None)
    said = {
        HostedState.LEFT: row.left_on.is_not(None),
        HostedState.OVER: and_(there, row.ends_on < today),
        HostedState.ENTERED: and_(there, row.ends_on >= today, row.placed_at.is_(None)),
        HostedState.STANDING: and_(there, row.ends_on >= today, row.placed_at.is_not(None)),
    }
    return said[state]


def due(today: date) -> ColumnElement[bool]:
    """What is kept no longer soon or now, and is there still."""
    return and_(HostedEquipment.left_on.is_(None), HostedEquipment.ends_on <= today + dated.NEAR)


def equipment(tx: Tx, hosted_id: int) -> HostedEquipment:
    """The piece, or NotFound: also where this actor may not see it."""
    found = tx.scalar(select(HostedEquipment).where(HostedEquipment.id == hosted_id, visible(tx, tx.actor)))
    if found is None:
        raise NotFound("hosted.none", N_("没有编号为 %(id)s 的托管设备"), id=hosted_id)
    return found


def keeps(tx: Tx, department_id: int) -> bool:
    """Whether the actor may say what a department's equipment is."""
    who = tx.actor
    own = who.role is Role.TENANT and who.department_id is not None and department_id in subtree(tx, who.department_id)
    return own or who.role in STEWARDS


def places(actor: Actor, provider_id: int) -> bool:
    """Whether ``actor`` may say where equipment stands: the company that keeps it."""
    return actor.role is Role.PROVIDER and actor.provider_id == provider_id


# --------------------------------------------------------------------------------------------------------------- verbs


def enter(tx: Tx, department_id: int, provider_id: int, facts: Mapping[str, Any]) -> HostedEquipment:
    """Enter what a department has a company keep; ``facts`` are HOSTED_FIELDS. Raises NotAllowed for another department's, Invalid for what
    makes no sense, Conflict for a serial number that is there."""
    _must_keep(tx, department_id)
    whose = department(tx, department_id)
    must_be_open(whose, "department")
    company = tx.get(CloudProvider, provider_id)
    if company is None or not company.active:
        raise Invalid("hosted.provider", N_("请选择托管的云服务商"), field="provider")
    checked = _checked(tx, whose.id, facts)
    tx.alone("hosted equipment")
    _must_be_new(tx, checked["serial"])
    made = HostedEquipment(
        department_id=whose.id, provider_id=company.id, entered_at=tx.now, entered_by=tx.actor.login, room="", cabinet="", note="",
        generation=1, **checked,
    )  # fmt: skip
    tx.add(made)
    tx.flush()
    tx.audit("hosted.enter", made.subject, after={"department": whose.id, "provider": company.id, **checked})
    _follow(tx, made, "")
    return made


def amend(tx: Tx, hosted_id: int, facts: Mapping[str, Any], reason: str, *, generation: int) -> HostedEquipment:
    """Correct what it is, or have it kept longer or shorter; with the reason. Where it stands has to have room for it."""
    found = _locked(tx, hosted_id, generation)
    _must_keep(tx, found.department_id)
    said = stated(reason)
    checked = _checked(tx, found.department_id, facts)
    tx.alone("hosted equipment")
    _must_be_new(tx, checked["serial"], found.id)
    changed = {name: value for name, value in checked.items() if getattr(found, name) != value}
    if not changed:
        return found
    if "height_u" in changed and found.u_from is not None:
        _must_fit(tx, found, found.room, found.cabinet, found.u_from, checked["height_u"], "height_u")
    _change(tx, found, "hosted.amend", changed, said)
    _follow(tx, found, said)
    return found


def place(tx: Tx, hosted_id: int, room: str, cabinet: str, u_from: int, *, generation: int) -> HostedEquipment:
    """The company says where it stands, or stands now. Raises Conflict where something else does."""
    found = _locked(tx, hosted_id, generation)
    if not places(tx.actor, found.provider_id):
        raise NotAllowed("hosted.not_here", N_("由托管的云服务商登记位置"))
    room = stated(room, "room", code="hosted.room", message=N_("请填写机房"))
    cabinet = stated(cabinet, "cabinet", code="hosted.cabinet", message=N_("请填写机柜"))
    tx.alone("hosted equipment")
    _must_fit(tx, found, room, cabinet, u_from, found.height_u, "u_from")
    after = {"room": room, "cabinet": cabinet, "u_from": u_from}
    _change(tx, found, "hosted.place", {**after, "placed_at": found.placed_at or tx.now})
    return found


def leave(tx: Tx, hosted_id: int, on: date, note: str, *, generation: int) -> HostedEquipment:
    """The department, or the steward, states that it was taken back."""
    found = _locked(tx, hosted_id, generation)
    _must_keep(tx, found.department_id)
    said = stated(note, "note", code="hosted.note", message=N_("请写明取回的情况"))[:2000]
    if not found.entered_at.astimezone(ZONE).date() <= on <= _today(tx):
        raise Invalid("hosted.left_on", N_("日期须在登记日与今天之间"), field="on")
    _change(tx, found, "hosted.leave", {"left_on": on, "left_at": tx.now, "note": said})
    dated.end(tx, found.subject, on, said)
    return found


# ----------------------------------------------------------------------------------------------------------- mechanism


def _today(tx: Tx) -> date:
    return tx.now.astimezone(ZONE).date()


def _must_keep(tx: Tx, department_id: int) -> None:
    if not keeps(tx, department_id):
        raise NotAllowed("hosted.not_yours", N_("只能登记本单位及下属单位的托管设备"))


def _follow(tx: Tx, one: HostedEquipment, reason: str) -> None:
    """Its last day, among what ends."""
    dated.follow(
        tx, DatedKind.HOSTING, one.subject, one.name, one.ends_on, department_id=one.department_id, system_id=one.system_id, reason=reason
    )  # fmt: skip


def _checked(tx: Tx, department_id: int, facts: Mapping[str, Any]) -> dict[str, Any]:
    """HOSTED_FIELDS as they are kept. Raises Invalid naming the one that makes no sense."""
    texts = ("name", "kind", "asset_number", "serial", "model", "owner", "agreement")
    found: dict[str, Any] = {name: str(facts.get(name) or "").strip() for name in texts}
    stated(found["name"], "name", code="hosted.name", message=N_("请填写名称"))
    if found["kind"] not in HOSTED_LABELS:
        raise Invalid("hosted.kind", N_("没有这种托管设备"), field="kind")
    for name, least, most, why in (
        ("height_u", 1, CABINET_U, N_("高度须为 %(least)s 至 %(most)s U")),
        ("power_w", 0, MOST_POWER_W, N_("额定功率须为 %(least)s 至 %(most)s 瓦")),
    ):
        found[name] = facts.get(name)
        if not isinstance(found[name], int) or not least <= found[name] <= most:
            raise Invalid(f"hosted.{name}", why, least=least, most=most, field=name)
    found["ends_on"], found["system_id"] = facts.get("ends_on"), facts.get("system_id") or None
    if found["ends_on"] is None or not FIRST <= found["ends_on"] <= LAST:
        raise Invalid("hosted.ends_on", N_("请填写托管到期日"), field="ends_on")
    if found["system_id"] is not None:
        of = tx.get(System, found["system_id"])
        if of is None or of.department_id not in subtree(tx, department_id):
            raise Invalid("hosted.system", N_("没有这个信息系统,或不属于该单位"), field="system")
    return found


def _must_be_new(tx: Tx, serial: str, apart_from: int = 0) -> None:
    row = HostedEquipment
    query = select(row.id).where(row.serial == serial, row.left_on.is_(None), row.id != apart_from)
    if serial and tx.scalar(query.limit(1)) is not None:
        raise Conflict("hosted.taken", N_("序列号 %(serial)s 已登记"), serial=serial, field="serial")


def _must_fit(tx: Tx, one: HostedEquipment, room: str, cabinet: str, u_from: int, height: int, field: str) -> None:
    """Raise Invalid beyond the cabinet, Conflict where something else of the company's cabinet stands in its way."""
    if not 1 <= u_from <= CABINET_U or u_from + height - 1 > CABINET_U:
        raise Invalid("hosted.u", N_("U 位须在 1 至 %(most)s 之间"), most=CABINET_U, field=field)
    row = HostedEquipment
    there = (
        row.provider_id == one.provider_id,
        row.room == room,
        row.cabinet == cabinet,
        row.left_on.is_(None),
        row.id != one.id,
    )
    crossing = and_(row.u_from < u_from + height, row.u_from + row.height_u > u_from)
    other = tx.scalar(select(row).where(*there, crossing).order_by(row.u_from).limit(1))
    if other is not None:
        raise Conflict(
            "hosted.occupied", N_("%(cabinet)s 机柜 %(first)s–%(last)s U 已有设备“%(name)s”"),
            cabinet=cabinet, first=other.u_from, last=other.u_to, name=other.name, field=field,
        )  # fmt: skip


def _locked(tx: Tx, hosted_id: int, generation: int) -> HostedEquipment:
    stale = Conflict("hosted.stale", N_("该托管设备已被他人更新，请核对后再办理"))
    found = tx.lock_as_shown(equipment(tx, hosted_id), generation, stale)
    if found.left_on is not None:
        raise WrongState("hosted.left", N_("该托管设备已取回"))
    return found


def _change(tx: Tx, one: HostedEquipment, action: str, changes: Mapping[str, Any], reason: str = "") -> None:
    before = {name: getattr(one, name) for name in changes}
    for name, value in changes.items():
        setattr(one, name, value)
    one.generation += 1
    tx.flush()
    tx.audit(action, one.subject, before=before, after=dict(changes), reason=reason)
