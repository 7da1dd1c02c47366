"""Resource classes on record: what can be held, as rows that people add and end, and never delete.

What the house knows of the classes stands in ``quota.units.CLASSES``; a book fills it from here when it is opened, and
again when ``stamp`` says that somebody, in this process or another, added or ended one.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import CheckConstraint, ColumnElement, Engine, Integer, String, Text, event, func, inspect, select
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Mapped, mapped_column

from quota.actors import Role
from quota.base import Base
from quota.errors import N_, Conflict, Invalid, NotFound, WrongState, stated
from quota.units import CLASSES, SEED, ClassCode, Group, ResourceClass, profile_key

if TYPE_CHECKING:
    from quota.transactions import Tx

CODE = re.compile(r"[a-z][a-z0-9_]{0,15}")
MOST_BASE = 1_000_000
"""Base units in a shown one, at the most."""
MOST_PARTS = 1000
"""Slices of a card, at the most."""
MOST_PROFILES, LONGEST_PROFILE = 50, 64
CHANGED = "resource_classes"
"""Under this name a transaction's ``info`` says that it added or ended one, or named its profiles."""


class ResourceClassRow(Base):
    """资源类别. ``factor`` base units make one shown unit. Everything but its end, and what clouds call it, is fixed: the ledger counts by
    it."""

    __tablename__ = "resource_classes"
    __table_args__ = (
        CheckConstraint("factor > 0", name="factor"),
        CheckConstraint("(whole = '') = (parts = 0) AND parts >= 0", name="slices"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(16), unique=True)
    name: Mapped[str] = mapped_column(String(48))
    name_en: Mapped[str] = mapped_column(String(48), default="")
    group: Mapped[str] = mapped_column(String(16))
    base_unit: Mapped[str] = mapped_column(String(16))
    shown_unit: Mapped[str] = mapped_column(String(16))
    factor: Mapped[int] = mapped_column(default=1)
    by_arch: Mapped[bool] = mapped_column(default=False)
    resizable: Mapped[bool] = mapped_column(default=False)
    measured: Mapped[bool] = mapped_column(default=False)
    recyclable: Mapped[bool] = mapped_column(default=True)
    whole: Mapped[str] = mapped_column(String(16), default="", server_default="")  # of slices: what they are parts of
    parts: Mapped[int] = mapped_column(default=0, server_default="0")  # of slices: how many a whole makes
    profiles: Mapped[str] = mapped_column(
        Text, default="", server_default=""
    )  # of slices: what clouds call them, a line each
    named: Mapped[int] = mapped_column(default=0, server_default="0")  # how often that was said anew
    added_at: Mapped[datetime | None]  # None: of the house's beginning
    ended_at: Mapped[datetime | None]

    @property
    def subject(self) -> str:
        return f"resource_class:{self.id}"

    def value(self) -> ResourceClass:
        """What the registry knows of it."""
        return ResourceClass(
            ClassCode(self.code), Group(self.group), self.base_unit, self.shown_unit, self.factor, self.name,
            self.by_arch, self.name_en, self.resizable, self.measured, self.recyclable, self.ended_at is not None,
            ClassCode(self.whole or ""), self.parts or 0, tuple((self.profiles or "").splitlines()), self.named or 0,
        )  # fmt: skip


def seed() -> list[dict[str, Any]]:
    """The rows that every book begins with."""
    return [
        {
            "id": number, "code": one.code, "name": one.label, "name_en": one.label_en, "group": one.group.value,
            "base_unit": one.base, "shown_unit": one.shown, "factor": one.factor, "by_arch": one.by_arch,
            "resizable": one.resizable, "measured": one.measured, "recyclable": one.recyclable,
        }
        for number, one in enumerate(SEED, 1)
    ]  # fmt: skip


@event.listens_for(ResourceClassRow.__table__, "after_create")
def _sown(_table: Any, connection: Connection, **_more: Any) -> None:
    connection.execute(ResourceClassRow.__table__.insert(), seed())  # type: ignore[attr-defined]
    follow(connection)


def follow(connection: Connection) -> None:
    """Let the next number of a row follow those of the seed, where the database counts by itself."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(
            "SELECT setval(pg_get_serial_sequence('resource_classes', 'id'), (SELECT max(id) FROM resource_classes))"
        )


# ------------------------------------------------------------------------------------------------------------- reading


def read(engine: Engine) -> tuple[ResourceClass, ...]:
    """Every class of the book, in their order; the seed where its schema is of before there were rows."""
    with engine.connect() as connection:
        schema, table = inspect(connection), ResourceClassRow.__table__
        if not schema.has_table(ResourceClassRow.__tablename__):
            return SEED
        there = {
            one["name"] for one in schema.get_columns(ResourceClassRow.__tablename__)
        }  # of an older schema: what it has
        rows = connection.execute(select(*(c for c in table.c if c.name in there)).order_by(table.c.id)).mappings()
        return tuple(ResourceClassRow(**row).value() for row in rows)


def stamp() -> ColumnElement[int]:
    """How often a class was added or ended, or its profiles were named: a column for a query that is made anyway."""
    named = func.coalesce(func.sum(ResourceClassRow.named), 0)
    return select(func.count() + func.count(ResourceClassRow.ended_at) + named).scalar_subquery().cast(Integer)


def resource_class(tx: Tx, class_id: int) -> ResourceClassRow:
    """The class, or NotFound. One that has ended is still found: the ledger counts by it."""
    found = tx.get(ResourceClassRow, class_id)
    if found is None:
        raise NotFound("class.none", N_("没有编号为 %(id)s 的资源类别"), id=class_id)
    return found


# --------------------------------------------------------------------------------------------------------------- verbs


def add(
    tx: Tx,
    code: str,
    name: str,
    group: Group,
    unit: str,
    *,
    name_en: str = "",
    base_unit: str = "",
    factor: int = 1,
    by_arch: bool = False,
    resizable: bool = False,
    recyclable: bool = True,
    whole: str = "",
    parts: int = 0,
) -> ResourceClassRow:
    """Add a class: from the commit on it can be put into the catalogue, given to pools, asked for and held.

    ``unit`` is what people read; the ledger counts ``factor`` of ``base_unit`` (the same where it is not named) in each.
    ``whole`` and ``parts``: of slices, the class that they are parts of, and how many one makes. It is never measured: which metrics speak of what is a matter of the lake. The right of the authority and the
    supervisor. Raises Invalid naming the field.
    """
    tx.actor.must_be(Role.AUTHORITY, Role.SUPERVISOR, Role.SYSTEM)
    name, name_en, unit, base_unit = name.strip(), name_en.strip(), unit.strip(), base_unit.strip() or unit.strip()
    if not CODE.fullmatch(code):
        raise Invalid("class.code", N_("代码以小写字母开头,由小写字母、数字和 _ 组成,最多 16 个字符"), field="code")
    tx.alone(CHANGED)
    for field, column, text in (("code", ResourceClassRow.code, code), ("name", ResourceClassRow.name, name)):
        if tx.scalar(select(ResourceClassRow.id).where(column == text)) is not None:
            raise Invalid("class.twice", N_("已有资源类别“%(text)s”"), text=text, field=field)
    for field, text, longest in (("name", name, 48), ("unit", unit, 16), ("base_unit", base_unit, 16)):
        if not 0 < len(text) <= longest:
            raise Invalid("class.text", N_("须为 1 至 %(most)s 个字符"), most=longest, field=field)
    if len(name_en) > 48:
        raise Invalid("class.text", N_("须为 1 至 %(most)s 个字符"), most=48, field="name_en")
    if isinstance(factor, bool) or not 1 <= factor <= MOST_BASE:
        raise Invalid("class.factor", N_("换算须为 1 至 %(most)s 的整数"), most=MOST_BASE, field="factor")
    if factor == 1 and base_unit != unit:
        raise Invalid("class.base_unit", N_("换算为 1 时,记账单位与显示单位相同"), field="base_unit")
    if whole or parts:
        by_arch = _of_slices(whole, parts, factor)
    row = ResourceClassRow(
        whole=whole, parts=parts, code=code, name=name, name_en=name_en, group=group.value, base_unit=base_unit, shown_unit=unit, factor=factor,
        by_arch=by_arch, resizable=resizable, measured=False, recyclable=recyclable, added_at=tx.now,
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    tx.info[CHANGED] = True
    tx.audit(
        "resource_class.add",
        row.subject,
        after={
            "code": code, "name": name, "group": group.value, "base_unit": base_unit, "shown_unit": unit,
            "factor": factor, "by_arch": by_arch, "resizable": resizable, "recyclable": recyclable,
            **({"whole": whole, "parts": parts} if whole else {}),
        },
    )  # fmt: skip
    return row


def _of_slices(whole: str, parts: int, factor: int) -> bool:
    """Whether slices of a class are counted by architecture. Raises Invalid for what can't be cut, or not so."""
    card = CLASSES.get(ClassCode(whole))
    if card is None or card.ended or card.parts or card.factor != 1:
        raise Invalid("class.whole", N_("切分的须是在用的、不换算的整卡类别"), field="whole")
    if isinstance(parts, bool) or not 2 <= parts <= MOST_PARTS:
        raise Invalid("class.parts", N_("一张卡须切为 2 至 %(most)s 份"), most=MOST_PARTS, field="parts")
    if factor != 1:
        raise Invalid("class.factor_of_slices", N_("切片的换算须为 1"), field="factor")
    return card.by_arch


def name_profiles(tx: Tx, row: ResourceClassRow, profiles: str, seen: int | None = None) -> None:
    """Say what clouds call the placement of one slice of the class, a name a line (MIG 1g.10gb, vNPU vir04), in place of what was said
    before. Listings that report such a name are read as slices of it. ``seen``: how often that was said by the page (``named``).

    The right of the authority and the supervisor. Raises Conflict where it was said anew since ``seen``, Invalid for a class of no
    slices, what is no name, and a name that is another class's.
    """
    tx.actor.must_be(Role.AUTHORITY, Role.SUPERVISOR, Role.SYSTEM)
    tx.alone(CHANGED)
    row = tx.lock(row)
    if seen is not None and row.named != seen:
        raise Conflict("class.stale", N_("切片规格名已由他人登记，请核对后再办理"))
    if not row.parts:
        raise Invalid("slice.none", N_("“%(name)s”不是切片"), name=row.name, field="profiles")
    names = list(dict.fromkeys(line.strip() for line in profiles.splitlines() if line.strip()))
    if len(names) > MOST_PROFILES:
        raise Invalid("class.profiles", N_("至多 %(most)s 个名称"), most=MOST_PROFILES, field="profiles")
    others = select(ResourceClassRow).where(ResourceClassRow.id != row.id, ResourceClassRow.profiles != "")
    taken = {profile_key(name): one.name for one in tx.scalars(others) for name in one.profiles.splitlines()}
    for name in names:
        if len(name) > LONGEST_PROFILE or not profile_key(name):
            raise Invalid(
                "class.profile", N_("不是切片规格名：%(name)s"), name=name[:LONGEST_PROFILE], field="profiles"
            )
        if profile_key(name) in taken:
            raise Invalid(
                "class.profile_taken", N_("“%(name)s”已是“%(other)s”的切片规格名"), name=name,
                other=taken[profile_key(name)], field="profiles",
            )  # fmt: skip
    before, row.profiles, row.named = row.profiles, "\n".join(names), row.named + 1
    tx.flush()
    tx.info[CHANGED] = True
    tx.audit(
        "resource_class.profiles", row.subject, before={"profiles": before.splitlines()}, after={"profiles": names}
    )


def end(tx: Tx, row: ResourceClassRow, reason: str) -> None:
    """Nothing new of it can be offered, asked for or built; what is held stays, and is counted on.

    The right of the authority and the supervisor. Raises Invalid without a reason, and for the classes that the house
    itself names; WrongState where it has ended.
    """
    tx.actor.must_be(Role.AUTHORITY, Role.SUPERVISOR, Role.SYSTEM)
    stated(reason)
    row = tx.lock(row)
    if any(row.code == one.code for one in SEED):
        raise Invalid("class.built_in", N_("“%(name)s”是系统内置类别,不能停用"), name=row.name, field="reason")
    if row.ended_at is not None:
        raise WrongState("class.ended", N_("资源类别“%(name)s”已停用"), name=row.name)
    row.ended_at = tx.now
    tx.flush()
    tx.info[CHANGED] = True
    tx.audit("resource_class.end", row.subject, after={"ended_at": tx.now}, reason=reason.strip())
