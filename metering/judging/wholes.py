"""What an assessment says of pools, departments and systems as wholes: summed once, when it is recorded, and kept with it.

A page that shows a whole must not read the finding of every machine. Only the newest assessment of a policy has its sums:
whoever wants an earlier one's has its findings. They say whose a machine was when it was judged; the next night says it anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Float, ForeignKey, Index, Select, String, UniqueConstraint, delete, insert, or_, select, text
from sqlalchemy.orm import Mapped, mapped_column

from metering.judging import figures
from metering.judging.months import MonthlyUses, MonthUse
from metering.judging.policy import MACHINES, WholeLevels
from quota.base import Base, Count
from quota.db import among
from quota.directory import Department
from quota.errors import N_
from quota.inventory import Resource
from quota.units import ACCELERATOR, MEMORY, VCPU

if TYPE_CHECKING:
    from quota.db import Tx

FIGURES = {
    VCPU: ("cpu_mean", "cpu_coverage"),
    MEMORY: ("mem_mean", "mem_coverage"),
    ACCELERATOR: ("card_mean", "card_coverage"),
}
"""ClassCode → the figure and its coverage; other kinds have no utilisation that anybody measures."""

PART = 1000
"""Rows of one statement."""


class SystemUse(StrEnum):
    LOW = "system_low"
    NORMAL = "normal"
    HIGH = "system_high"
    UNKNOWN = "unknown"


USES = {
    SystemUse.LOW: N_("利用率低"),
    SystemUse.NORMAL: N_("正常"),
    SystemUse.HIGH: N_("利用率高"),
    SystemUse.UNKNOWN: N_("数据不足"),
}


def use_of(levels: WholeLevels, cpu: float | None, memory: float | None, coverage: float) -> SystemUse:
    """What a whole is called by its means in per cent and the share that something is known of. High is one figure high; low,
    where the policy says no other, both low: one number alone floods the queue."""
    if cpu is None or coverage < levels.covered:
        return SystemUse.UNKNOWN
    if cpu > levels.high_cpu or (memory is not None and memory > levels.high_memory):
        return SystemUse.HIGH
    low = [cpu < levels.low_cpu, *([] if memory is None else [memory < levels.low_memory])]
    return SystemUse.LOW if (any(low) if levels.either else all(low)) else SystemUse.NORMAL


def use_over(levels: WholeLevels, now: SystemUse, months: Sequence[SystemUse]) -> SystemUse:
    """What a whole is called by what it is now and was in the newest closed months, the oldest first. Where the policy asks for
    months, each of them counts and no other; one of which too little is known is neither low nor high."""
    held: dict[SystemUse, bool | None] = {}
    for use, count in ((SystemUse.HIGH, levels.high_months), (SystemUse.LOW, levels.low_months)):
        seen = months[-count:] if count else [now]
        known = [one for one in seen if one is not SystemUse.UNKNOWN]
        short = len(known) < max(count, 1)
        held[use] = False if any(one is not use for one in known) else None if short else True
    if (told := next((use for use, so in held.items() if so), None)) is not None:
        return told
    return SystemUse.UNKNOWN if None in held.values() else SystemUse.NORMAL


class MeasuredUse(Base):
    """What was measured, and could be taken back, of one kind of what a department (None: nobody) has in one pool and system.

    ``total``: base units that are there; ``measured``: those of which something is known; ``load``: Σ base units × mean in per
    cent over these; ``covered``: Σ base units × share of slots. ``reclaimable``: base units that its findings would free.
    """

    __tablename__ = "measured_uses"
    __table_args__ = (
        Index("ix_measured_uses_assessment_id_kind", "assessment_id", "kind"),
        Index("ix_measured_uses_assessment_id_pool_id", "assessment_id", "pool_id"),
        Index("ix_measured_uses_assessment_id_department_id", "assessment_id", "department_id"),
        Index("ix_measured_uses_assessment_id_system_id", "assessment_id", "system_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    assessment_id: Mapped[int] = mapped_column(ForeignKey("assessments.id"))
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    arch: Mapped[str] = mapped_column(String(16))
    department_id: Mapped[int | None] = mapped_column(ForeignKey("departments.id"))
    system_id: Mapped[int | None] = mapped_column(ForeignKey("systems.id"))
    kind: Mapped[str] = mapped_column(String(32))
    load: Mapped[float] = mapped_column(Float)
    measured: Mapped[int] = mapped_column(Count)
    covered: Mapped[float] = mapped_column(Float)
    total: Mapped[int] = mapped_column(Count)
    reclaimable: Mapped[int] = mapped_column(Count)


class JudgedWhole(Base):
    """A system, or a department with those under it, judged from its machines. ``cpu``, ``memory``: means in per cent weighed by
    what each has (None: unknown); ``coverage``: the share of its cores that something is known of; ``classes``: verdict →
    machines; ``months``: of each calendar month that the policy asks for {month, cpu, memory, coverage, use}, the oldest first."""

    __tablename__ = "judged_wholes"
    __table_args__ = (
        UniqueConstraint("assessment_id", "department_id"),
        UniqueConstraint("assessment_id", "system_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    assessment_id: Mapped[int] = mapped_column(ForeignKey("assessments.id"))
    department_id: Mapped[int | None] = mapped_column(ForeignKey("departments.id"))
    system_id: Mapped[int | None] = mapped_column(ForeignKey("systems.id"))
    machines: Mapped[int]
    cores: Mapped[int] = mapped_column(Count)
    cpu: Mapped[float | None] = mapped_column(Float)
    memory: Mapped[float | None] = mapped_column(Float)
    coverage: Mapped[float] = mapped_column(Float)
    use: Mapped[str] = mapped_column(String(16))
    classes: Mapped[dict[str, int]]
    months: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))


class KnownFigure(Base):
    """That a figure is known of some machine of this kind in a pool, over a window of ``days``, covered to ``coverage`` at the best.
    ``figure`` "" (0 days): there are such machines of which anything is known. Of the figures alone without which a rule of the
    policy says nothing."""

    __tablename__ = "known_figures"
    __table_args__ = (UniqueConstraint("assessment_id", "pool_id", "kind", "figure", "days"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    assessment_id: Mapped[int] = mapped_column(ForeignKey("assessments.id"))
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    kind: Mapped[str] = mapped_column(String(24))
    figure: Mapped[str] = mapped_column(String(48))
    days: Mapped[int]
    coverage: Mapped[float] = mapped_column(Float)


class Found(Protocol):
    """One finding, written down already or not yet."""

    @property
    def resource_id(self) -> int: ...
    @property
    def verdict(self) -> str: ...
    @property
    def coverage(self) -> float | None: ...
    @property
    def numbers(self) -> Mapping[str, Any]: ...
    @property
    def shape(self) -> Mapping[Any, int]: ...
    @property
    def recoverable(self) -> Mapping[Any, int]: ...


@dataclass(slots=True)
class MonthSums:
    """Sums over the machines of a whole in one month; ``covered``: cores × share of slots, ``whole``: one of them was there all the
    month."""

    cores: int = 0
    covered: float = 0.0
    known: int = 0
    used: float = 0.0
    remembered: int = 0
    memory_used: float = 0.0
    whole: bool = False

    def add(self, vcpu: int, memory: int, one: MonthUse) -> None:
        self.cores += vcpu
        self.covered += vcpu * one.coverage
        self.whole = self.whole or one.whole
        if one.cpu is not None:
            self.known += vcpu
            self.used += one.cpu * vcpu
        if one.memory is not None:
            self.remembered += memory
            self.memory_used += one.memory * memory

    def join(self, other: MonthSums) -> None:
        for name in ("cores", "covered", "known", "used", "remembered", "memory_used"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.whole = self.whole or other.whole

    def told(self, month: str, levels: WholeLevels) -> dict[str, Any]:
        """The month and its figures; what was not there all month is not called anything by it."""
        cpu = self.used / self.known if self.known else None
        memory = self.memory_used / self.remembered if self.remembered else None
        coverage = self.covered / self.cores if self.cores and self.whole else 0.0
        use = use_of(levels, cpu, memory, coverage)
        return {"month": month, "cpu": cpu, "memory": memory, "coverage": coverage, "use": use.value}


@dataclass(slots=True)
class WholeSums:
    """Sums over the machines of a whole; ``known`` cores and ``remembered`` memory are what the means are over."""

    machines: int = 0
    cores: int = 0
    known: int = 0
    used: float = 0.0
    remembered: int = 0
    memory_used: float = 0.0
    classes: dict[str, int] = field(default_factory=dict)
    months: dict[str, MonthSums] = field(default_factory=dict)

    def add(self, found: Found, months: Sequence[MonthUse] = ()) -> None:
        vcpu, memory = found.shape.get(VCPU, 0), found.shape.get(MEMORY, 0)
        self.machines += 1
        self.cores += vcpu
        verdict = str(found.verdict)
        self.classes[verdict] = self.classes.get(verdict, 0) + 1
        if (cpu := longest(found.numbers, "cpu_mean")) is not None:
            self.known += vcpu
            self.used += cpu * vcpu
        if (mem := longest(found.numbers, "mem_mean")) is not None:
            self.remembered += memory
            self.memory_used += mem * memory
        for one in months:
            self.months.setdefault(one.month, MonthSums()).add(vcpu, memory, one)

    def join(self, other: WholeSums) -> None:
        self.machines += other.machines
        self.cores += other.cores
        self.known += other.known
        self.used += other.used
        self.remembered += other.remembered
        self.memory_used += other.memory_used
        for verdict, count in other.classes.items():
            self.classes[verdict] = self.classes.get(verdict, 0) + count
        for month, sums in other.months.items():
            self.months.setdefault(month, MonthSums()).join(sums)

    @property
    def cpu(self) -> float | None:
        return self.used / self.known if self.known else None

    @property
    def memory(self) -> float | None:
        return self.memory_used / self.remembered if self.remembered else None

    @property
    def coverage(self) -> float:
        return self.known / self.cores if self.cores else 0.0

    def use(self, levels: WholeLevels) -> SystemUse:
        now = use_of(levels, self.cpu, self.memory, self.coverage)
        return use_over(levels, now, [SystemUse(one["use"]) for one in self.by_month(levels)])

    def by_month(self, levels: WholeLevels) -> list[dict[str, Any]]:
        """The months that the policy asks for, the oldest first."""
        return [self.months[one].told(one, levels) for one in sorted(self.months)]

    def values(self, levels: WholeLevels) -> dict[str, Any]:
        """As the columns keep it."""
        names = ("machines", "cores", "cpu", "memory", "coverage", "classes")
        told = {name: getattr(self, name) for name in names}
        return {"use": self.use(levels).value, "months": self.by_month(levels), **told}


def longest(numbers: Mapping[str, Any], figure: str) -> float | None:
    """A figure of the longest window that knows it, of ``Finding.numbers``."""
    windows = numbers.get("windows") or {}
    for days in sorted(windows, key=int, reverse=True):
        if windows[days].get(figure) is not None:
            return float(windows[days][figure])
    return None


def keep(
    tx: Tx,
    run_id: int,
    resource_ids: Iterable[int],
    found: Iterable[Found],
    earlier: Select[int],
    levels: WholeLevels,
    wanted: Collection[tuple[str, int]],
    months: MonthlyUses,
) -> None:
    """Write the sums of ``found``, the findings of assessment ``run_id`` on these resources, in place of its own and of those of
    the ``earlier`` ones; wholes are called by ``levels``. ``wanted``: figures and windows (days) of which it is kept where they are known;
    ``months``: what ``levels`` asks of closed months."""
    for model in (MeasuredUse, JudgedWhole, KnownFigure):
        tx.execute(delete(model).where(or_(model.assessment_id.in_(earlier), model.assessment_id == run_id)))
    known: Known = {}
    cells, departments, systems = _summed(_holdings(tx, resource_ids), found, wanted, known, months)
    names = ("pool_id", "kind", "figure", "days")
    _write(
        tx,
        KnownFigure,
        (
            {"assessment_id": run_id, **dict(zip(names, key, strict=True)), "coverage": best}
            for key, best in known.items()
        ),
    )
    _write(tx, MeasuredUse, ({"assessment_id": run_id, **_cell(key, one)} for key, one in cells.items()))
    whole = {"assessment_id": run_id, "department_id": None, "system_id": None}
    rows = [
        {**whole, "department_id": one, **sums.values(levels)}
        for one, sums in _with_those_above(tx, departments).items()
    ]
    rows += [{**whole, "system_id": one, **sums.values(levels)} for one, sums in systems.items()]
    _write(tx, JudgedWhole, rows)


Cells = dict[tuple[int, str, int | None, int | None, str], list[float]]
"""Pool, architecture, department, system and kind → load, measured, covered, total, reclaimable."""


Known = dict[tuple[int, str, str, int], float]
"""Pool, kind, figure and days → the best coverage at which it is known of a machine."""


Holding = tuple[int, str, int | None, int | None, str, bool, Mapping[str, int]]
"""Pool, architecture, department, system, kind, whether it is there still, and what it has."""


def _holdings(tx: Tx, resource_ids: Iterable[int]) -> dict[int, Holding]:
    columns = (Resource.pool_id, Resource.arch, Resource.department_id, Resource.system_id, Resource.kind)
    query = select(Resource.id, *columns, Resource.gone_at.is_(None), Resource.amounts)
    return {id_: tuple(rest) for id_, *rest in tx.execute(query.where(among(Resource.id, resource_ids)))}  # type: ignore[misc]


def _summed(
    holdings: Mapping[int, Holding],
    found: Iterable[Found],
    wanted: Collection[tuple[str, int]],
    known: Known,
    months: MonthlyUses,
) -> tuple[Cells, dict[int, WholeSums], dict[int, WholeSums]]:
    """The cells; each department by itself; each system. ``known`` gains what is known of machines."""
    longest_days = ""
    cells: Cells = {}
    departments: dict[int, WholeSums] = {}
    systems: dict[int, WholeSums] = {}
    for one in found:
        pool_id, arch, department_id, system_id, kind_, there, amounts = holdings[one.resource_id]
        windows = one.numbers.get("windows") or {}
        if one.coverage and kind_ in MACHINES:
            _know(known, (pool_id, kind_), windows, wanted)
        longest_days = longest_days or max(windows, key=int, default="")  # an assessment measures all for the same
        if department_id is not None:
            departments.setdefault(department_id, WholeSums()).add(one, months.get(one.resource_id, ()))
        if system_id is not None:
            systems.setdefault(system_id, WholeSums()).add(one, months.get(one.resource_id, ()))
        where = (pool_id, arch, department_id, system_id)
        for kind, freed in one.recoverable.items():
            cells.setdefault((*where, str(kind)), [0.0, 0, 0.0, 0, 0])[4] += freed
        if there:
            _measure(cells, where, amounts, windows.get(longest_days) or {})
    return cells, departments, systems


def _know(
    known: Known, where: tuple[int, str], windows: Mapping[str, Mapping[str, Any]], wanted: Collection[tuple[str, int]]
) -> None:
    known[*where, "", 0] = 0.0
    for name, days in wanted:
        seen = windows.get(str(days)) or {}
        if seen.get(name) is not None:
            cover = figures.FIGURES[name].coverage
            best = (seen.get(cover) or 0.0) if cover else 1.0
            known[*where, name, days] = max(known.get((*where, name, days), 0.0), best)


def _measure(
    cells: Cells,
    where: tuple[int, str, int | None, int | None],
    amounts: Mapping[str, int],
    seen: Mapping[str, float | None],
) -> None:
    for kind, (mean_of, coverage_of) in FIGURES.items():
        amount = amounts.get(kind)
        if not amount:
            continue
        cell = cells.setdefault((*where, str(kind)), [0.0, 0, 0.0, 0, 0])
        cell[3] += amount
        mean, coverage = seen.get(mean_of), seen.get(coverage_of)
        if mean is not None and coverage:
            cell[0] += amount * mean
            cell[1] += amount
            cell[2] += amount * coverage


def _cell(key: tuple[int, str, int | None, int | None, str], sums: Sequence[float]) -> dict[str, Any]:
    names = (
        "pool_id",
        "arch",
        "department_id",
        "system_id",
        "kind",
        "load",
        "measured",
        "covered",
        "total",
        "reclaimable",
    )
    return dict(zip(names, (*key, *sums), strict=True))


def _with_those_above(tx: Tx, departments: Mapping[int, WholeSums]) -> dict[int, WholeSums]:
    """What each department has of its own, and of those under it."""
    parents: dict[int, int | None] = dict(tx.execute(select(Department.id, Department.parent_id)).all())
    found: dict[int, WholeSums] = {}
    for own, sums in departments.items():
        at: int | None = own
        seen: set[int] = set()
        while at is not None and at not in seen:
            found.setdefault(at, WholeSums()).join(sums)
            seen.add(at)
            at = parents.get(at)
    return found


def _write(tx: Tx, model: type[Base], rows: Iterable[dict[str, Any]]) -> None:
    waiting = list(rows)
    for start in range(0, len(waiting), PART):
        tx.execute(insert(model), waiting[start : start + PART])
