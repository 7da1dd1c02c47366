"""What ends on a day (到期台账): TLS certificates, domain names, licences, and the supply chain: vendors by their contracts, and their people
by what they may reach.

Whose it is says so, or the steward; of certificates, whoever probes them. Each day that was ever said is kept, so that one can tell what
was known when, and so that of each somebody is reminded once. An access ends with its vendor at the latest, and a vendor is not closed
while somebody of its people is in: who ended must be out, which somebody states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    Select,
    String,
    Text,
    and_,
    false,
    func,
    select,
    true,
)
from sqlalchemy.orm import Mapped, aliased, mapped_column, relationship

from quota.actors import Actor, Role
from quota.base import Base, append_only
from quota.calendar import ZONE
from quota.directory.departments import Department, System, department, must_be_open, subtree
from quota.directory.people import Person
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, WrongState, stated

if TYPE_CHECKING:
    from quota.db import Tx

NEAR = timedelta(days=30)
"""How long before its day somebody is reminded of it."""

FIRST, LAST = date(2000, 1, 1), date(2199, 12, 31)
KEEPERS = (Role.SUPERVISOR, Role.AUTHORITY)


class DatedKind(StrEnum):
    """What it is. Stored, and rules speak of it, so never changed."""

    CERTIFICATE = "certificate"
    DOMAIN = "domain"
    LICENCE = "licence"
    VENDOR = "vendor"
    ACCESS = "access"
    HOSTING = "hosting"
    MLPS = "mlps"
    CRYPTO = "crypto"


DATED_LABELS: Mapping[str, str] = {
    DatedKind.CERTIFICATE: N_("TLS 证书"),
    DatedKind.DOMAIN: N_("域名"),
    DatedKind.LICENCE: N_("软件许可"),
    DatedKind.VENDOR: N_("供应商"),
    DatedKind.ACCESS: N_("供应商人员权限"),
    DatedKind.HOSTING: N_("设备托管"),
    DatedKind.MLPS: N_("等保测评"),
    DatedKind.CRYPTO: N_("密评"),
}

KEPT: Mapping[DatedKind, str] = {
    DatedKind.HOSTING: N_("托管设备的到期事项在“托管设备”中办理"),
    DatedKind.MLPS: N_("等保测评和密评的日期在“信息系统台账”中登记"),
    DatedKind.CRYPTO: N_("等保测评和密评的日期在“信息系统台账”中登记"),
}
"""Kinds that another register keeps → where to go."""


class DatedState(StrEnum):
    VALID = "valid"
    NEAR = "near"
    OVER = "over"  # its day is past, and nobody closed it
    CLOSED = "closed"


class DatedEntry(Base):
    """One thing that ends on a day, its last. ``number``: of the certificate, the contract, the person's pass; ``grants``: what a vendor
    supplies, what one of its people may reach; ``login``: the account of theirs in this house; ``source``: who sees it (endpoint:3),
    empty where people say it. No department: the city's own."""

    __tablename__ = "dated_entries"
    __table_args__ = (
        CheckConstraint("(kind = 'access') = (vendor_id IS NOT NULL)", name="vendor"),
        Index("ix_dated_entries_ends_on_id", "ends_on", "id"),
        Index("ix_dated_entries_department_id_ends_on", "department_id", "ends_on"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(256))
    number: Mapped[str] = mapped_column(String(128), default="")
    department_id: Mapped[int | None] = mapped_column(ForeignKey("departments.id"))
    system_id: Mapped[int | None] = mapped_column(ForeignKey("systems.id"), index=True)
    vendor_id: Mapped[int | None] = mapped_column(ForeignKey("dated_entries.id"), index=True)
    grants: Mapped[str] = mapped_column(Text, default="")
    login: Mapped[str] = mapped_column(String(64), default="")
    source: Mapped[str] = mapped_column(String(64), default="", index=True)
    ends_on: Mapped[date]
    closed_on: Mapped[date | None]
    closing: Mapped[str] = mapped_column(Text, default="")
    entered_at: Mapped[datetime]
    entered_by: Mapped[str] = mapped_column(String(64))
    generation: Mapped[int] = mapped_column(default=1)

    department: Mapped[Department | None] = relationship()
    system: Mapped[System | None] = relationship()
    vendor: Mapped[DatedEntry | None] = relationship(remote_side="DatedEntry.id")
    terms: Mapped[list[DatedTerm]] = relationship(order_by="DatedTerm.id")

    @property
    def ref(self) -> str:
        """As the audit trail names it."""
        return f"dated:{self.id}"

    def state(self, today: date) -> DatedState:
        """What it is on ``today``."""
        if self.closed_on is not None:
            return DatedState.CLOSED
        if self.ends_on < today:
            return DatedState.OVER
        return DatedState.NEAR if self.ends_on <= today + NEAR else DatedState.VALID


class DatedTerm(Base):
    """A last day that was said of an entry, when, by whom and why."""

    __tablename__ = "dated_terms"

    id: Mapped[int] = mapped_column(primary_key=True)
    entry_id: Mapped[int] = mapped_column(ForeignKey("dated_entries.id"), index=True)
    ends_on: Mapped[date]
    reason: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(String(64))


append_only(DatedTerm.__table__)  # type: ignore[arg-type]

DATED_FIELDS = {
    "name": N_("名称"), "number": N_("编号"), "system_id": N_("信息系统"), "grants": N_("内容"), "login": N_("本系统账号"),
    "ends_on": N_("到期日"),
}  # fmt: skip
"""What is said of one: field → label."""


# ------------------------------------------------------------------------------------------------------------- reading


def visible(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """A tenant sees what its departments have; authority, supervisor and auditor all; nobody else any."""
    if actor.role is Role.TENANT and actor.department_id is not None:
        return DatedEntry.department_id.in_(subtree(tx, actor.department_id))
    return true() if actor.role in (*KEEPERS, Role.AUDITOR, Role.SYSTEM) else false()


def in_state(state: DatedState, today: date) -> ColumnElement[bool]:
    """Those that are in ``state`` on ``today``."""
    row, soon = DatedEntry, today + NEAR
    said = {
        DatedState.CLOSED: row.closed_on.is_not(None),
        DatedState.OVER: and_(row.closed_on.is_(None), row.ends_on < today),
        DatedState.NEAR: and_(row.closed_on.is_(None), row.ends_on >= today, row.ends_on <= soon),
        DatedState.VALID: and_(row.closed_on.is_(None), row.ends_on > soon),
    }
    return said[state]


def due(today: date) -> ColumnElement[bool]:
    """What ends soon or has ended, and nobody closed."""
    return and_(DatedEntry.closed_on.is_(None), DatedEntry.ends_on <= today + NEAR)


def entry(tx: Tx, entry_id: int) -> DatedEntry:
    """The entry, or NotFound: also where this actor may not see it."""
    found = tx.scalar(select(DatedEntry).where(DatedEntry.id == entry_id, visible(tx, tx.actor)))
    if found is None:
        raise NotFound("dated.none", N_("没有编号为 %(id)s 的到期事项"), id=entry_id)
    return found


def vendors(tx: Tx) -> Select[int, str, str]:
    """Vendors that may have people (id, code, name): those of the actor's departments, and for the steward all."""
    query = select(DatedEntry.id, DatedEntry.number.label("code"), DatedEntry.name)
    return query.where(DatedEntry.kind == DatedKind.VENDOR.value, DatedEntry.closed_on.is_(None), visible(tx, tx.actor))


def standing_terms() -> Select[DatedTerm, DatedEntry]:
    """The day that stands of each entry that nobody closed, with the entry."""
    said = aliased(DatedTerm)
    newest = select(func.max(said.id)).where(said.entry_id == DatedEntry.id).correlate(DatedEntry).scalar_subquery()
    query = select(DatedTerm, DatedEntry).join(DatedEntry, DatedEntry.id == DatedTerm.entry_id)
    return query.where(DatedEntry.closed_on.is_(None), DatedTerm.id == newest)


def ended(tx: Tx, *whose: ColumnElement[bool]) -> int:
    """How many of the entries that ``whose`` chooses have ended and are not closed."""
    over = in_state(DatedState.OVER, _today(tx))
    return tx.scalar(select(func.count(DatedEntry.id)).where(over, *whose)) or 0


# --------------------------------------------------------------------------------------------------------------- verbs


def enter(
    tx: Tx, kind: DatedKind, department_id: int | None, facts: Mapping[str, Any], vendor_id: int | None = None
) -> DatedEntry:
    """Enter something of a department's, or of the city's own (no department: by the steward); one of a vendor's people is the vendor's
    department's. ``facts`` are DATED_FIELDS. Raises NotAllowed for another department's, Invalid for what makes no sense."""
    if kind in KEPT:
        raise Invalid("dated.kept", KEPT[kind], field="kind")
    vendor = _vendor(tx, vendor_id) if kind is DatedKind.ACCESS else None
    whose = vendor.department_id if vendor is not None else department_id
    _must_keep(tx, whose)
    if whose is not None:
        must_be_open(department(tx, whose), "department")
    checked = _checked(tx, kind, whose, facts, vendor)
    made = DatedEntry(
        kind=kind.value, department_id=whose, vendor_id=vendor.id if vendor is not None else None, source="", closing="",
        entered_at=tx.now, entered_by=tx.actor.login, generation=1, **checked,
    )  # fmt: skip
    tx.add(made)
    tx.flush()
    _said(tx, made, "")
    tx.audit(
        "dated.enter", made.ref, after={"kind": kind.value, "department": whose, "vendor": made.vendor_id, **checked}
    )
    return made


def amend(tx: Tx, entry_id: int, facts: Mapping[str, Any], reason: str, *, generation: int) -> DatedEntry:
    """Correct or renew; with the reason. What a probe sees can't be said otherwise. A vendor's shorter term is that of its people, too."""
    found = _locked(tx, entry_id, generation)
    if found.source:
        if found.kind in KEPT:
            raise WrongState("dated.kept", KEPT[DatedKind(found.kind)])
        raise WrongState("dated.seen", N_("由监测读取的到期日不能手工更改"))
    stated(reason)
    checked = _checked(tx, DatedKind(found.kind), found.department_id, facts, found.vendor)
    changed = {name: value for name, value in checked.items() if getattr(found, name) != value}
    before = {name: getattr(found, name) for name in changed}
    if not changed:
        return found
    for name, value in changed.items():
        setattr(found, name, value)
    if "ends_on" in changed:
        _said(tx, found, reason)
        for one in _people_in(tx, found):
            if one.ends_on > found.ends_on:
                one.ends_on, one.generation = found.ends_on, one.generation + 1
                _said(tx, one, reason)
    found.generation += 1
    tx.flush()
    tx.audit("dated.amend", found.ref, before=before, after=changed, reason=reason.strip())
    return found


def close(tx: Tx, entry_id: int, on: date, note: str, *, generation: int) -> DatedEntry:
    """It is over: not needed any more, or the person is out, and how that was seen. Raises WrongState while a vendor's people are in, or
    their account in this house is."""
    found = _locked(tx, entry_id, generation)
    if found.kind in KEPT:
        raise WrongState("dated.kept", KEPT[DatedKind(found.kind)])
    stated(note, "note", code="dated.note", message=N_("请写明如何核实"))
    if not found.entered_at.astimezone(ZONE).date() <= on <= _today(tx):
        raise Invalid("dated.closed_on", N_("日期须在登记日与今天之间"), field="on")
    inside = len(_people_in(tx, found))
    if inside:
        raise WrongState("dated.people_in", N_("该供应商还有 %(count)s 名人员未退出,请先办理退出"), count=inside)
    if found.login and tx.scalar(select(Person.id).where(Person.login == found.login, Person.active)) is not None:
        raise WrongState("dated.account", N_("账号 %(login)s 仍在用,请先停用"), login=found.login)
    found.closed_on, found.closing, found.generation = on, note.strip()[:2000], found.generation + 1
    tx.flush()
    tx.audit("dated.close", found.ref, before={"closed_on": None}, after={"closed_on": on}, reason=found.closing)
    return found


def follow(
    tx: Tx,
    kind: DatedKind,
    source: str,
    name: str,
    ends_on: date,
    *,
    department_id: int,
    system_id: int | None,
    reason: str,
) -> DatedEntry:
    """Keep the last day of a row of another register, whose verbs call this in the transaction in which they say it: ``source`` names it."""
    found = tx.scalar(select(DatedEntry).where(DatedEntry.source == source).with_for_update())
    if found is None:
        found = DatedEntry(
            kind=kind.value, name=name, number="", department_id=department_id, system_id=system_id, grants="", login="", source=source,
            ends_on=ends_on, closing="", entered_at=tx.now, entered_by=tx.actor.login, generation=1,
        )  # fmt: skip
        tx.add(found)
        tx.flush()
        _said(tx, found, reason)
        after = {"kind": kind.value, "name": name, "source": source, "ends_on": ends_on}
        tx.audit("dated.enter", found.ref, after=after)
        return found
    now = {"name": name, "department_id": department_id, "system_id": system_id, "ends_on": ends_on, "closed_on": None}
    changed = {field: value for field, value in now.items() if getattr(found, field) != value}
    if not changed:
        return found
    before = {field: getattr(found, field) for field in changed}
    for field, value in changed.items():
        setattr(found, field, value)
    found.closing, found.generation = "", found.generation + 1
    tx.flush()
    if "ends_on" in changed:
        _said(tx, found, reason)
    if {"ends_on", "closed_on"} & changed.keys():
        tx.audit("dated.amend", found.ref, before=before, after=changed, reason=reason)
    return found


def end(tx: Tx, source: str, on: date, note: str) -> None:
    """What another register has is over."""
    found = tx.scalar(select(DatedEntry).where(DatedEntry.source == source).with_for_update())
    if found is not None and found.closed_on is None:
        found.closed_on, found.closing, found.generation = on, note[:2000], found.generation + 1
        tx.flush()
        tx.audit("dated.close", found.ref, before={"closed_on": None}, after={"closed_on": on}, reason=found.closing)


def observe(
    tx: Tx, source: str, name: str, ends_on: date, *, department_id: int | None, system_id: int | None
) -> DatedEntry | None:
    """A probe saw until when a certificate is good. Of one day's different answers the earliest counts; a day that is none is not
    believed. What was closed stays closed."""
    tx.actor.must_be(Role.SYSTEM)
    if not FIRST <= ends_on <= LAST:
        return None
    found = tx.scalar(select(DatedEntry).where(DatedEntry.source == source).with_for_update())
    if found is None:
        found = DatedEntry(
            kind=DatedKind.CERTIFICATE.value, name=name[:256], number="", department_id=department_id, system_id=system_id, grants="",
            login="", source=source, ends_on=ends_on, closing="", entered_at=tx.now, entered_by=tx.actor.login, generation=1,
        )  # fmt: skip
        tx.add(found)
        tx.flush()
        _said(tx, found, "")
        tx.audit(
            "dated.enter",
            found.ref,
            after={"kind": found.kind, "name": found.name, "source": source, "ends_on": ends_on},
        )
        return found
    found.name, found.department_id, found.system_id = name[:256], department_id, system_id
    today = [one for one in found.terms if one.at.astimezone(ZONE).date() == _today(tx)]
    if found.closed_on is not None or ends_on == found.ends_on or (today and ends_on > found.ends_on):
        return found
    before, found.ends_on, found.generation = found.ends_on, ends_on, found.generation + 1
    _said(tx, found, "")
    tx.audit("dated.amend", found.ref, before={"ends_on": before}, after={"ends_on": ends_on})
    return found


# ----------------------------------------------------------------------------------------------------------- mechanism


def _today(tx: Tx) -> date:
    return tx.now.astimezone(ZONE).date()


def _must_keep(tx: Tx, department_id: int | None) -> None:
    tx.actor.must_be(Role.TENANT, *KEEPERS)
    if tx.actor.role is not Role.TENANT:
        return
    own = subtree(tx, tx.actor.department_id) if tx.actor.department_id is not None else set()
    if department_id not in own:
        raise NotAllowed("dated.not_yours", N_("只能登记本单位的到期事项"))


def _vendor(tx: Tx, vendor_id: int | None) -> DatedEntry:
    """A vendor that may have people, held: it is not closed while one of them is being entered."""
    found = tx.lock(entry(tx, vendor_id or 0))
    if found.kind != DatedKind.VENDOR or found.closed_on is not None:
        raise Invalid("dated.vendor", N_("请选择在用的供应商"), field="vendor")
    return found


def _checked(
    tx: Tx, kind: DatedKind, department_id: int | None, facts: Mapping[str, Any], vendor: DatedEntry | None
) -> dict[str, Any]:
    """DATED_FIELDS as they are kept. Raises Invalid naming the one that makes no sense."""
    found: dict[str, Any] = {name: str(facts.get(name) or "").strip() for name in ("name", "number", "grants", "login")}
    stated(found["name"], "name", code="dated.name", message=N_("请填写名称"))
    if kind in (DatedKind.VENDOR, DatedKind.ACCESS):
        stated(found["grants"], "grants", code="dated.grants", message=N_("请写明供应内容或可访问的范围"))
    if found["login"] and kind is not DatedKind.ACCESS:
        raise Invalid("dated.login", N_("只有供应商人员权限填写账号"), field="login")
    if found["login"] and tx.scalar(select(Person.id).where(Person.login == found["login"])) is None:
        raise Invalid("dated.account_none", N_("本系统没有账号 %(login)s"), login=found["login"], field="login")
    found["ends_on"], found["system_id"] = facts.get("ends_on"), facts.get("system_id") or None
    if found["ends_on"] is None or not FIRST <= found["ends_on"] <= LAST:
        raise Invalid("dated.ends_on", N_("请填写到期日"), field="ends_on")
    if vendor is not None and found["ends_on"] > vendor.ends_on:
        raise Invalid("dated.beyond", N_("人员权限不能晚于供应商的到期日 %(day)s"), day=vendor.ends_on, field="ends_on")
    if found["system_id"] is not None:
        of = tx.get(System, found["system_id"])
        if of is None or (department_id is not None and of.department_id not in subtree(tx, department_id)):
            raise Invalid("dated.system", N_("没有这个信息系统,或不属于该单位"), field="system")
    return found


def _locked(tx: Tx, entry_id: int, generation: int) -> DatedEntry:
    found = tx.lock_as_shown(
        entry(tx, entry_id), generation, Conflict("dated.stale", N_("到期事项已被更新,请刷新后再操作"))
    )
    _must_keep(tx, found.department_id)
    if found.closed_on is not None:
        raise WrongState("dated.closed", N_("该到期事项已办结"))
    return found


def _people_in(tx: Tx, vendor: DatedEntry) -> Sequence[DatedEntry]:
    """A vendor's people that nobody stated to be out."""
    query = select(DatedEntry).where(DatedEntry.vendor_id == vendor.id, DatedEntry.closed_on.is_(None))
    return tx.scalars(query.order_by(DatedEntry.id).with_for_update()).all()


def _said(tx: Tx, one: DatedEntry, reason: str) -> None:
    tx.add(DatedTerm(entry_id=one.id, ends_on=one.ends_on, reason=reason.strip()[:2000], at=tx.now, by=tx.actor.login))
    tx.flush()
