"""Performance classes (性能等级): which figure an item of the catalogue must reach to be worth its price, and what was measured of it.

Items of one kind of service whose classes name the same figure are one ladder. What a company delivers as an item is priced, from the day of
a confirmed measurement on, as the highest item of the ladder that it reached, never above the one that was delivered; one that reaches
none as the lowest. Rows are never edited: a class is set anew from a day on, a measurement is followed by the next one, and says nothing of
a class that names another figure since. What was not measured is priced as what it is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, Date, ForeignKey, Numeric, String, Text, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.actors import Role
from quota.base import Base, append_only
from quota.calendar import ZONE
from quota.directory import CatalogItem, CloudProvider, catalog, provider
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, WrongState, stated

if TYPE_CHECKING:
    from quota.db import Tx

MOST = Decimal(10) ** 11


class PerformanceClass(Base):
    """That an item of the catalogue reaches at least ``least`` of ``figure`` from a day on."""

    __tablename__ = "performance_classes"
    __table_args__ = (CheckConstraint("least >= 0", name="least"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    catalog_item_id: Mapped[int] = mapped_column(ForeignKey("catalog_items.id"), index=True)
    figure: Mapped[str] = mapped_column(String(64))
    least: Mapped[Decimal] = mapped_column(Numeric(14, 2))
    effective_from: Mapped[date] = mapped_column(Date)
    reason: Mapped[str] = mapped_column(Text, default="")
    entered_at: Mapped[datetime]
    entered_by: Mapped[str] = mapped_column(String(64))

    item: Mapped[CatalogItem] = relationship()


append_only(PerformanceClass.__table__)  # type: ignore[arg-type]


class PerformanceTest(Base):
    """What was measured on a day of what a company delivers as an item. It counts once the authority confirmed it."""

    __tablename__ = "performance_tests"
    __table_args__ = (CheckConstraint("value >= 0", name="value"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    provider_id: Mapped[int] = mapped_column(ForeignKey("cloud_providers.id"), index=True)
    catalog_item_id: Mapped[int] = mapped_column(ForeignKey("catalog_items.id"))
    value: Mapped[Decimal] = mapped_column(Numeric(14, 2))
    measured_on: Mapped[date] = mapped_column(Date)
    evidence: Mapped[str] = mapped_column(Text)  # how it was measured, by whom, and where the report is
    entered_at: Mapped[datetime]
    entered_by: Mapped[str] = mapped_column(String(64))
    confirmed_at: Mapped[datetime | None]
    confirmed_by: Mapped[str] = mapped_column(String(64), default="")
    generation: Mapped[int] = mapped_column(default=1)

    provider: Mapped[CloudProvider] = relationship()
    item: Mapped[CatalogItem] = relationship()

    @property
    def subject(self) -> str:
        return f"performance_test:{self.id}"


# --------------------------------------------------------------------------------------------------------------- verbs


def demand(
    tx: Tx, catalog_item_id: int, figure: str, least: Decimal, effective_from: date, *, reason: str = ""
) -> PerformanceClass:
    """Say what an item must reach from a day on. By the authority. Raises Invalid for what makes no sense."""
    tx.actor.must_be(Role.AUTHORITY)
    item = catalog.item(tx, catalog_item_id)
    named = stated(figure, "figure", code="performance.figure", message=N_("请写明性能指标"))
    if len(named) > 64:
        raise Invalid("performance.long", N_("最长 %(most)s 字"), most=64, field="figure")
    row = PerformanceClass(
        catalog_item_id=item.id, figure=named, least=_figure(least, "least"), effective_from=effective_from,
        reason=reason.strip()[:2000], entered_at=tx.now, entered_by=tx.actor.login,
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    after = {"item": item.id, "figure": named, "least": least, "effective_from": effective_from}
    tx.audit("performance.demand", f"performance_class:{row.id}", after=after, reason=row.reason)
    return row


def measure(
    tx: Tx, provider_id: int, catalog_item_id: int, value: Decimal, measured_on: date, evidence: str
) -> PerformanceTest:
    """Enter what was measured of what a company delivers as an item. By the supervisor; it counts once it is confirmed.

    Raises Invalid for a day to come, no evidence, or an item that had no class on that day."""
    tx.actor.must_be(Role.SUPERVISOR)
    company, item = provider(tx, provider_id), catalog.item(tx, catalog_item_id)
    if measured_on > tx.now.astimezone(ZONE).date():
        raise Invalid("performance.day", N_("测试日期不能晚于今天"), field="measured_on")
    if item.id not in _classes(list(tx.scalars(select(PerformanceClass))), measured_on):
        raise Invalid("performance.no_class", N_("“%(item)s”在该日没有性能等级"), item=item.name, field="item")
    said = stated(evidence, "evidence", code="performance.evidence", message=N_("请写明测试方法和报告出处"))
    row = PerformanceTest(
        provider_id=company.id, catalog_item_id=item.id, value=_figure(value, "value"), measured_on=measured_on,
        evidence=said[:4000], entered_at=tx.now, entered_by=tx.actor.login, confirmed_by="", generation=1,
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    after = {"provider": company.id, "item": item.id, "value": value, "measured_on": measured_on}
    tx.audit("performance.measure", row.subject, after=after, reason=row.evidence)
    return row


def confirm(tx: Tx, test_id: int, *, generation: int) -> PerformanceTest:
    """The second signature: by somebody of the authority. From the measured day on the item is priced as what it reached."""
    tx.actor.must_be(Role.AUTHORITY)
    tx.actor.must_sign()
    found = tx.get(PerformanceTest, test_id)
    if found is None:
        raise NotFound("performance.none", N_("没有编号为 %(id)s 的性能测试"), id=test_id)
    stale = Conflict("performance.stale", N_("该性能测试已被他人更新，请核对后再办理"))
    row = tx.lock_as_shown(found, generation, stale)
    if row.confirmed_at is not None:
        raise WrongState("performance.confirmed", N_("该性能测试已确认"))
    if row.entered_by == tx.actor.login:
        raise NotAllowed("performance.own", N_("本人录入的须由另一人确认"))
    row.confirmed_at, row.confirmed_by = tx.now, tx.actor.login
    row.generation += 1
    tx.flush()
    tx.audit(
        "performance.confirm",
        row.subject,
        after={"priced_as": graded(tx).item(row.provider_id, row.catalog_item_id, row.measured_on)},
    )
    return row


# ------------------------------------------------------------------------------------------------------------- grading


@dataclass(frozen=True, slots=True)
class Gradings:
    """As which item of the catalogue something is priced."""

    classes: Sequence[PerformanceClass] = ()
    tests: Sequence[PerformanceTest] = ()  # confirmed ones, in the order of their days

    def item(self, provider_id: int, catalog_item_id: int | None, day: date) -> int | None:
        """The item by whose price what a company delivers as ``catalog_item_id`` is priced on a day."""
        whose = (provider_id, catalog_item_id)
        mine = [one for one in self.tests if (one.provider_id, one.catalog_item_id) == whose and one.measured_on <= day]
        if not mine:
            return catalog_item_id
        known = _classes(self.classes, day)
        own = known.get(mine[-1].catalog_item_id)
        newest = next((one for one in reversed(mine) if own is not None and self._figure_of(one) == own.figure), None)
        if own is None or newest is None or newest.value >= own.least:
            return catalog_item_id
        ladder = sorted(
            (one for one in known.values() if (one.figure, one.item.service) == (own.figure, own.item.service) and one.least <= own.least),
            key=lambda one: (one.least, one.catalog_item_id != own.catalog_item_id),
        )  # fmt: skip
        reached = [one for one in ladder if one.least <= newest.value]
        return (reached[-1] if reached else ladder[0]).catalog_item_id

    def _figure_of(self, test: PerformanceTest) -> str | None:
        """Which figure was measured: that of the item's class on its day, as it was known when the measurement was entered."""
        known = [one for one in self.classes if one.entered_at <= test.entered_at]
        its = _classes(known, test.measured_on).get(test.catalog_item_id)
        return its.figure if its is not None else None


NOTHING_MEASURED = Gradings()


def graded(tx: Tx) -> Gradings:
    """What is known by now."""
    tests = select(PerformanceTest).where(PerformanceTest.confirmed_at.is_not(None))
    rows = tx.scalars(tests.order_by(PerformanceTest.measured_on, PerformanceTest.id)).all()
    return (
        Gradings(tx.scalars(select(PerformanceClass).order_by(PerformanceClass.id)).all(), rows) if rows else Gradings()
    )


def _classes(rows: Sequence[PerformanceClass], day: date) -> dict[int, PerformanceClass]:
    """Item → the class that holds on a day: the latest, and of one day the last entered."""
    found: dict[int, PerformanceClass] = {}
    for one in sorted(rows, key=lambda row: (row.effective_from, row.id)):
        if one.effective_from <= day:
            found[one.catalog_item_id] = one
    return found


def _figure(value: Decimal, field: str) -> Decimal:
    if not value.is_finite() or not 0 <= value < MOST or value != value.quantize(Decimal("0.01")):
        raise Invalid("performance.value", N_("性能指标须为非负数，最多两位小数"), field=field)
    return value
