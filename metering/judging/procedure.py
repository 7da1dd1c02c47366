"""What a verdict calls for, and by which clocks and limits it is acted on: a part of every policy version. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from metering.judging.policy import Verdict
from quota.errors import N_, Invalid


class CaseKind(StrEnum):
    SHRINK = "shrink"
    RECLAIM = "reclaim"
    EXPAND = "expand"


KIND_LABELS = {CaseKind.SHRINK: N_("缩容"), CaseKind.RECLAIM: N_("回收"), CaseKind.EXPAND: N_("扩容")}


TAKES = frozenset({CaseKind.SHRINK, CaseKind.RECLAIM})
"""Kinds that take something away from a department."""


CALLS_FOR: Mapping[Verdict, CaseKind] = {
    Verdict.UNDERUSED: CaseKind.SHRINK,
    Verdict.IDLE: CaseKind.RECLAIM,
    Verdict.STOPPED: CaseKind.RECLAIM,
    Verdict.UNATTACHED: CaseKind.RECLAIM,
    Verdict.BUSY: CaseKind.EXPAND,
    Verdict.OVERLOADED: CaseKind.EXPAND,
}
"""Class of a finding → the kind of case that it opens."""


STILL: Mapping[CaseKind, frozenset[Verdict]] = {
    CaseKind.SHRINK: frozenset({Verdict.UNDERUSED, Verdict.IDLE}),
    CaseKind.RECLAIM: frozenset({Verdict.IDLE, Verdict.STOPPED, Verdict.UNATTACHED}),
    CaseKind.EXPAND: frozenset({Verdict.BUSY, Verdict.OVERLOADED}),
}
"""What a fresh judgement must say for a case to be acted on. Anything else, unknown above all, ends the case."""


ALIVE = frozenset({Verdict.BUSY, Verdict.OVERLOADED, Verdict.STARVED, Verdict.NORMAL, Verdict.UNDERUSED})
"""What shows that somebody works with a machine that we had taken for idle."""


@dataclass(frozen=True, slots=True)
class Procedure:
    """The clocks and limits of a case; a part of the policy version that it was opened under. Our own defaults.

    Days of review, reply, reminder, ruling, acting and confirmation are working days; the others calendar days.
    ``listing_hours``: how old a listing may be that shows that a resource is still off or in the recycle bin.
    ``worth_*``: ceilings of what is taken, in vCPU. ``regret_limit``: share of at least ``regret_least`` resources acted
    on above which a version is suspended. ``system_slack``: mean CPU (%) of a system's machines below which a busy one
    among idle ones is no shortage; ``tier_busy``: of a tier's machines, from which it gets one more; ``tier_calm``: below which it would
    have to stay with one fewer, for ``tier_hold_hours`` on end, for that one to go back.
    """

    review_days: int = 3
    recommend_days: int = 1
    reply_days: int = 10
    reminder_days: int = 5
    ruling_days: int = 5
    act_days: int = 5
    confirm_days: int = 5
    fresh_days: int = 7
    stop_watch_days: int = 15
    bin_days: int = 30
    listing_hours: int = 48
    shrink_watch_days: int = 7
    rollback_level: float = 80.0
    exemption_days: int = 180
    newcomer_days: int = 90
    fast_growth: float = 0.25
    temporary_days: int = 30
    temporary_growth: float = 1.0
    backoff_days: int = 30
    backoff_limit_days: int = 360
    attempts: int = 3
    reason_length: int = 10
    cases_per_run: int = 200
    cases_per_department: int = 50
    worth_per_run: float = 2000.0
    worth_per_department: float = 500.0
    regret_limit: float = 0.10
    regret_least: int = 10
    system_slack: float = 40.0
    tier_busy: float = 80.0
    tier_calm: float = 60.0
    tier_hold_hours: int = 24

    def __post_init__(self) -> None:
        for one in fields(self):
            figure = getattr(self, one.name)
            if isinstance(figure, bool) or not isinstance(figure, int | float) or figure <= 0:
                raise Invalid("procedure.bad", N_("须为正数"), name=one.name, field=one.name)
        if self.reminder_days >= self.reply_days:
            raise Invalid("procedure.reminder", N_("提醒须早于答复期限"), field="reminder_days")
        if self.tier_calm >= self.tier_busy:
            raise Invalid("procedure.tier", N_("同构组减少一台的界限须低于增加一台的界限"), field="tier_calm")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Procedure:
        """Raises Invalid for names that no procedure has."""
        unknown = set(plain) - {one.name for one in fields(cls)}
        if unknown:
            raise Invalid("procedure.unknown", N_("没有这个办案参数:%(name)s"), name=min(unknown))
        return cls(**plain)
