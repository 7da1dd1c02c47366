"""What policy versions did, day by day: minutes at the ceiling suffered and avoided, growths carried out, cores lent and returned,
machines added to tiers and given back.

Reckoned each night from closed days of samples and from orders as they were delivered; a page reads the sums alone. A sample is *at
the ceiling* where use ends (`metering.sizing.expansion`): at ``Fast.level`` of the size in force or more. A sample of a machine on
loan that is so high of the size underneath is one that the growth *avoided*. What is avoided and lent counts for the version under
which the growth began or the machine was asked for, what is suffered for the version in force on that day, each machine by the level of its section; of a machine without samples nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import BigInteger, ForeignKey, UniqueConstraint, and_, delete, func, or_, select
from sqlalchemy.orm import Mapped, mapped_column

from metering.cases import Case, Surge, SurgeOutcome, surges
from metering.intraday.look import MANY, fast_of
from metering.judging import PolicyVersion, business, pipeline, policies
from metering.lake import Damaged, Reader, natural
from metering.quantiles import BIN_HUNDREDTHS
from metering.scale_outs import ScaleOut, ScaleOutEnding
from metering.sizing import Fast
from metering.workbench import Progress, Workbench, silent
from providers.base import Verb
from providers.metrics import LIVE, reported
from providers.orders import WorkOrder
from quota.actors import steward
from quota.base import Base
from quota.calendar import ZONE
from quota.db import among
from quota.inventory import Resource
from quota.units import VCPU, ClassCode

if TYPE_CHECKING:
    from metering.judging import Policy
    from metering.lake import Lake
    from quota.db import Tx

AGAIN = 7
"""Days that are reckoned anew each night: what comes late is in by then."""

CPU = "cpu_pct"


class PolicyDay(Base):
    """A local day under a policy version. ``machines``: how many told their CPU, for ``known_s`` seconds of samples together, of which
    ``ceiling_s`` at the ceiling; ``growths``, ``returned``: begun and given back on the day, of whatever class; ``lent_core_s``: vCPU lent, times seconds;
    ``avoided_s``: seconds of samples above the ceiling of the size underneath, of machines on loan. ``added``, ``taken_back``: machines that
    tiers were given and gave back on the day; ``added_core_s``: their vCPU, times the seconds that they were there and lent."""

    __tablename__ = "policy_days"
    __table_args__ = (UniqueConstraint("policy_version_id", "day"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    policy_version_id: Mapped[int] = mapped_column(ForeignKey("policy_versions.id"))
    day: Mapped[date] = mapped_column(index=True)
    machines: Mapped[int] = mapped_column(default=0)
    known_s: Mapped[int] = mapped_column(BigInteger, default=0)
    ceiling_s: Mapped[int] = mapped_column(BigInteger, default=0)
    growths: Mapped[int] = mapped_column(default=0)
    returned: Mapped[int] = mapped_column(default=0)
    lent_core_s: Mapped[int] = mapped_column(BigInteger, default=0)
    avoided_s: Mapped[int] = mapped_column(BigInteger, default=0)
    added: Mapped[int] = mapped_column(default=0, server_default="0")
    taken_back: Mapped[int] = mapped_column(default=0, server_default="0")
    added_core_s: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    made_at: Mapped[datetime]


@dataclass(frozen=True, slots=True)
class PolicyEffect:
    """The days of a version together; ``days`` of them were reckoned, the last on ``last``. Otherwise as `PolicyDay`, ``machines`` as on
    the day with the most."""

    days: int
    first: date
    last: date
    machines: int
    known_s: int
    ceiling_s: int
    growths: int
    returned: int
    lent_core_s: int
    avoided_s: int
    added: int
    taken_back: int
    added_core_s: int

    @property
    def violation_rate(self) -> float | None:
        """Share of what was sampled that was at the ceiling, 0..1; None where nothing was."""
        return self.ceiling_s / self.known_s if self.known_s else None


@dataclass(slots=True)
class LoanedMachine:
    """A growth carried out by a case. ``size``: vCPU underneath; ``steps``: (since when, vCPU in force), in order; ``marks``: as ``steps``, of the
    class that was short, and ``under``, how much of it was underneath; ``until``: when it was over with
    the machine not made smaller, None = it is not, or was given back; ``level``: of a size, where use ends."""

    case_id: int
    resource_id: int
    version_id: int
    size: int
    level: float
    until: datetime | None
    under: int
    steps: list[tuple[datetime, int]] = field(default_factory=list)
    marks: list[tuple[datetime, int]] = field(default_factory=list)

    def spans(self, start: datetime, end: datetime) -> Iterable[tuple[datetime, datetime, int]]:
        """What of [start, end) it was enlarged in: (from, to, vCPU in force)."""
        over = end if self.until is None else min(end, self.until)
        for place, (at, size) in enumerate(self.steps):
            till = self.steps[place + 1][0] if place + 1 < len(self.steps) else over
            begin, stop = max(at, start), min(till, over)
            if size > self.size and begin < stop:
                yield begin, stop, size

    def begun(self) -> datetime | None:
        """When it was first enlarged."""
        return next((at for at, size in self.marks if size > self.under), None)

    def returned(self) -> datetime | None:
        """When it was given back."""
        return self.marks[-1][0] if len(self.marks) > 1 and self.marks[-1][1] <= self.under else None


@dataclass(frozen=True, slots=True)
class AddedMachine:
    """A machine that a tier was given: when it came, and when it was lent no longer, None = it is; ``returned``: as it went back."""

    version_id: int
    vcpu: int
    came: datetime
    went: datetime | None
    returned: bool


# ------------------------------------------------------------------------------------------------------------ reading


def effects(tx: Tx, *version_ids: int) -> dict[int, PolicyEffect]:
    """Policy version id → what its days came to, of these versions or of all; those of which no day was reckoned are absent."""
    query = select(PolicyDay.policy_version_id, *_sums()).group_by(PolicyDay.policy_version_id)
    if version_ids:
        query = query.where(PolicyDay.policy_version_id.in_(version_ids))
    return {version: _effect(*figures) for version, *figures in tx.execute(query)}


def between(tx: Tx, first: date, last: date) -> PolicyEffect | None:
    """What the days from ``first`` to ``last`` came to under whatever versions; None where none was reckoned."""
    row = tx.execute(select(*_sums()).where(PolicyDay.day >= first, PolicyDay.day <= last)).one()
    return _effect(*row) if row[0] else None


def _sums() -> list[Any]:
    """The columns of a `PolicyEffect`."""
    of = PolicyDay
    summed = (
        of.known_s, of.ceiling_s, of.growths, of.returned, of.lent_core_s, of.avoided_s, of.added, of.taken_back,
        of.added_core_s,
    )  # fmt: skip
    days = func.count(of.day.distinct())
    return [days, func.min(of.day), func.max(of.day), func.max(of.machines), *map(func.sum, summed)]


def _effect(days: int, first: date, last: date, machines: int, *figures: Any) -> PolicyEffect:
    return PolicyEffect(days, first, last, machines, *(int(figure) for figure in figures))


# ---------------------------------------------------------------------------------------------------------- reckoning


def reckon(workbench: Workbench, progress: Progress = silent) -> int:
    """Reckon the closed days that never were, and the last AGAIN anew; how many had figures. A day at a time, each in one commit. Of days
    before the first policy and the first growth there is nothing to tell. A day that is damaged keeps no other: Damaged is raised
    after them, and it is reckoned once it is repaired."""
    who, lake = steward("job:effects"), workbench.lake
    today = workbench.book.clock().astimezone(ZONE).date()
    closed = [day for day in lake.days() if day < today]
    with workbench.book.reading(who) as tx:
        versions = policies.versions(tx, "default")
        begun = _begun(tx, versions)
        known = set(tx.scalars(select(PolicyDay.day).distinct()))
        late = closed[-AGAIN:]
        due = [day for day in closed if begun is not None and day >= begun and (day not in known or day in late)]
        if not due:
            return 0
        machines = np.sort(np.array(tx.scalars(select(Resource.id).where(_grows())).all(), np.int32))
        loans, machines_more = _loans(tx, _midnight(due[0])), _added(tx, _midnight(due[0]))
        in_force = {day: one for day in due if (one := _in_force(versions, day)) is not None}
        levels = {one.id: _levels(tx, one.policy(), machines) for one in set(in_force.values())}
    done, broken = 0, list[Damaged]()
    for day in due:
        try:
            version = in_force.get(day)
            suffered = {} if version is None else {version.id: _suffered(lake, day, machines, levels[version.id])}
            rows = _with(_day(lake, day, suffered, loans), day, machines_more)
        except Damaged as damaged:
            broken.append(damaged)
            continue
        except FileNotFoundError:  # its samples were deleted meanwhile
            continue
        with workbench.book.transaction(who) as tx:
            tx.execute(delete(PolicyDay).where(PolicyDay.day == day))
            for version_id, figures in sorted(rows.items()):
                tx.add(PolicyDay(policy_version_id=version_id, day=day, made_at=tx.now, **figures))
        done += bool(rows)
        progress("effects", done, len(due))
    if broken:
        raise broken[0]
    return done


def _grows() -> Any:
    return Resource.kind.in_(surges.RESTARTED)


def _carried() -> Any:
    """Whether a case is a growth within the day that was carried out. What the looks recorded tells it for ever; the consent
    does not: a department that gives back early changes it."""
    begun = select(Surge.case_id).where(Surge.outcome == SurgeOutcome.BEGUN.value)
    return and_(Case.id.in_(begun), Case.effective_at.is_not(None))


def _begun(tx: Tx, versions: Sequence[PolicyVersion]) -> date | None:
    """The first day that can have figures: a policy was in force, or something had grown; None where there is none."""
    grown = tx.scalar(select(func.min(Case.effective_at)).where(_carried()))
    added = tx.scalar(select(func.min(ScaleOut.delivered_at)))
    days = [one.effective_from for one in versions]
    days += [at.astimezone(ZONE).date() for at in (grown, added) if at is not None]
    return min(days, default=None)


def _levels(tx: Tx, policy: Policy, machines: NDArray[np.int32]) -> NDArray[np.float64]:
    """Where use ends for each of ``machines``, of its size: by the sizing of its section, as the look asks."""
    of = {at: (fast_of(policy.sizing_of(at)) or Fast()).level for at in range(-1, len(policy.sections))}
    found = np.full(len(machines), of[-1])
    if len(set(of.values())) == 1:  # whichever section a machine is in
        return found
    calendars = business.calendars(tx)
    for start in range(0, len(machines), MANY):
        part = slice(start, start + MANY)
        query = select(Resource).where(among(Resource.id, machines[part].tolist())).order_by(Resource.id)
        found[part] = [of[int(at)] for at in pipeline.sections(tx, list(tx.scalars(query)), policy, calendars)]
    return found


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), ZONE)


def _in_force(versions: Sequence[PolicyVersion], day: date) -> PolicyVersion | None:
    held = [one for one in versions if one.effective_from <= day]
    return max(held, key=lambda one: (one.effective_from, one.version), default=None)


def _loans(tx: Tx, since: datetime) -> list[LoanedMachine]:
    """Growths within the day that went on at some time after ``since``, as their orders were delivered."""
    going = and_(_carried(), or_(Case.closed_at.is_(None), Case.closed_at >= since))
    query = (
        select(Case, Surge.policy_version_id, Surge.sizing, Surge.cls)
        .join(Surge, (Surge.case_id == Case.id) & (Surge.outcome == SurgeOutcome.BEGUN.value))
        .where(going)
    )
    found, classes = dict[int, LoanedMachine](), dict[int, ClassCode]()
    for one, version_id, sizing, cls in tx.execute(query):
        level = (fast_of(sizing) or Fast()).level
        had = one.had()
        size, under = had.get(VCPU, 0), had.get(cls, 0)
        found[one.id] = LoanedMachine(one.id, one.resource_id, version_id, size, level, one.closed_at, under)
        classes[one.id] = cls
    orders = (
        select(WorkOrder.case_id, WorkOrder.delivered_at, WorkOrder.amounts)
        .join(Case, Case.id == WorkOrder.case_id)
        .where(WorkOrder.verb == Verb.RESIZE.value, WorkOrder.delivered_at.is_not(None), going)
        .order_by(WorkOrder.delivered_at, WorkOrder.id)
    )
    for case_id, at, amounts in tx.execute(orders):
        if case_id is None or at is None or case_id not in found:
            continue
        if VCPU in amounts:
            found[case_id].steps.append((at, int(amounts[VCPU])))
        if classes[case_id] in amounts:
            found[case_id].marks.append((at, int(amounts[classes[case_id]])))
    return [one for one in found.values() if one.steps or one.marks]


def _added(tx: Tx, since: datetime) -> list[AddedMachine]:
    """Machines that tiers were given and that were lent at some time after ``since``."""
    query = select(ScaleOut).where(
        ScaleOut.delivered_at.is_not(None), or_(ScaleOut.closed_at.is_(None), ScaleOut.closed_at >= since)
    )
    return [
        AddedMachine(
            one.policy_version_id,
            one.needs().get(VCPU, 0),
            one.delivered_at,
            one.closed_at,
            one.ending == ScaleOutEnding.RETURNED,
        )
        for one in tx.scalars(query)
        if one.delivered_at is not None
    ]


def _with(
    found: dict[int, dict[str, int]], day: date, machines_more: Sequence[AddedMachine]
) -> dict[int, dict[str, int]]:
    """The figures of a day together with those of the machines that tiers were given."""
    start, end = _midnight(day), _midnight(day + timedelta(days=1))
    for one in machines_more:
        begin, stop = max(one.came, start), min(one.went or end, end)
        told = {
            "added": int(_within(one.came, start, end)),
            "taken_back": int(one.returned and _within(one.went, start, end)),
            "added_core_s": one.vcpu * max(0, int((stop - begin).total_seconds())),
        }
        if any(told.values()):
            mine = found.setdefault(one.version_id, {})
            for name, figure in told.items():
                mine[name] = mine.get(name, 0) + figure
    return found


def _day(
    lake: Lake, day: date, suffered: Mapping[int, tuple[int, int, int]], loans: Sequence[LoanedMachine]
) -> dict[int, dict[str, int]]:
    """Policy version id → figures of its `PolicyDay`. ``suffered``: of the version in force, as `_suffered` tells."""
    start, end = _midnight(day), _midnight(day + timedelta(days=1))
    found: dict[int, dict[str, int]] = {
        one: {"machines": told, "known_s": known * lake.step_s, "ceiling_s": at * lake.step_s}
        for one, (told, known, at) in suffered.items()
    }
    going = [one for one in loans if any(True for _ in one.spans(start, end)) or _within(one.returned(), start, end)]
    above = _avoided(lake, day, start, going)
    for one in going:
        mine = found.setdefault(one.version_id, {})
        lent = sum(
            int((stop - begin).total_seconds()) * (size - one.size) for begin, stop, size in one.spans(start, end)
        )
        more = {
            "growths": int(_within(one.begun(), start, end)),
            "returned": int(_within(one.returned(), start, end)),
            "lent_core_s": lent,
            "avoided_s": above.get(one.case_id, 0) * lake.step_s,
        }
        for name, figure in more.items():
            mine[name] = mine.get(name, 0) + figure
    return found


def _within(at: datetime | None, start: datetime, end: datetime) -> bool:
    return at is not None and start <= at < end


def _suffered(lake: Lake, day: date, machines: NDArray[np.int32], levels: NDArray[np.float64]) -> tuple[int, int, int]:
    """Of ``machines`` on a closed day: how many told their CPU, samples of it, and those at the ``levels`` of their sizes or more."""
    lowest = np.rint(levels * 10_000 / BIN_HUNDREDTHS).astype(np.int64)
    told = known = at = 0
    with Reader(lake.path("daily", day)) as reader:
        for group, (low, high) in enumerate(reader.ranges):
            found = reader.histograms([group], [CPU], low, high + 1)
            if f"{CPU}_bins" not in found or not len(machines):
                continue
            ids = found["resource"]
            place = np.minimum(np.searchsorted(machines, ids), len(machines) - 1)
            mine = machines[place] == ids
            n = found[f"{CPU}_n"].astype(np.int64) * mine
            told, known = told + int((n > 0).sum()), known + int(n.sum())
            lengths = found[f"{CPU}_lengths"]
            high_bins = np.repeat(mine, lengths) & (found[f"{CPU}_bins"] >= np.repeat(lowest[place], lengths))
            at += int(found[f"{CPU}_counts"][high_bins].sum())
    return told, known, at


def _avoided(lake: Lake, day: date, start: datetime, loans: Sequence[LoanedMachine]) -> dict[int, int]:
    """Case → samples of the day that were above the ceiling of the size underneath while it was enlarged."""
    found: dict[int, int] = {}
    by_machine: dict[int, list[LoanedMachine]] = {}
    for one in loans:
        by_machine.setdefault(one.resource_id, []).append(one)
    if not by_machine:
        return found
    for block in lake.windows(by_machine, day, day, (CPU, "vcpu")):
        cpu = natural(CPU, block.values[CPU])
        told = np.where(reported(block.values["vcpu"]), block.values["vcpu"].astype(np.float64), np.nan)
        for row, resource in enumerate(block.resources.tolist()):
            for one in by_machine[resource]:
                found[one.case_id] = _above(one, start, lake.step_s, block.state[row] == LIVE, cpu[row], told[row])
    return found


def _above(
    loan: LoanedMachine,
    start: datetime,
    step_s: int,
    live: NDArray[np.bool_],
    cpu: NDArray[np.float64],
    told: NDArray[np.float64],
) -> int:
    """Samples [n] of a day above the ceiling underneath: per cent of the size that the source tells, else of what was ordered."""
    end = start + timedelta(seconds=step_s * len(cpu))
    above = 0
    for begin, stop, size in loan.spans(start, end):
        first = -(-int((begin - start).total_seconds()) // step_s)
        last = int((stop - start).total_seconds()) // step_s
        part = slice(first, last)
        in_force = np.where(np.isfinite(told[part]), told[part], size)
        with np.errstate(invalid="ignore"):
            above += int((live[part] & (cpu[part] / 100 * in_force >= loan.level * loan.size)).sum())
    return above


def told(effect: PolicyEffect | None) -> Mapping[str, Any] | None:
    """As plain JSON, in minutes and core-hours; None where no day was reckoned."""
    if effect is None:
        return None
    rate = effect.violation_rate
    return {
        "days": effect.days,
        "first_day": effect.first.isoformat(),
        "last_day": effect.last.isoformat(),
        "machines": effect.machines,
        "sampled_minutes": effect.known_s // 60,
        "ceiling_minutes": effect.ceiling_s // 60,
        "violation_rate": None if rate is None else round(rate, 6),
        "growths": effect.growths,
        "returned": effect.returned,
        "lent_core_hours": round(effect.lent_core_s / 3600, 2),
        "avoided_ceiling_minutes": effect.avoided_s // 60,
        "machines_added": effect.added,
        "machines_returned": effect.taken_back,
        "added_core_hours": round(effect.added_core_s / 3600, 2),
    }
