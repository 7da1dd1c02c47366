"""Policies of judgement as data: tables of rules over figures, as plain JSON and back, and the two built-in
ones. Pure."""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any

from metering.judging.figures import CIRCUMSTANCES, FIGURES
from metering.judging.growth_terms import DEFAULTS, GAUGES, GrowthTerms
from quota.errors import N_


class Verdict(StrEnum):
    """Class of a resource. Starved: its host gives it less than it wants, which is no shortage of its size. Dead: it reports, but
    frozen values. Unjudged: no rule is about its kind."""

    OVERLOADED = "overloaded"
    BUSY = "busy"
    STARVED = "starved"
    STOPPED = "stopped"
    DEAD = "dead"
    UNATTACHED = "unattached"
    IDLE = "idle"
    UNDERUSED = "underused"
    NORMAL = "normal"
    UNKNOWN = "unknown"
    UNJUDGED = "unjudged"


VERDICTS = tuple(Verdict)
LABELS = {
    Verdict.OVERLOADED: N_("过载"),
    Verdict.BUSY: N_("繁忙"),
    Verdict.STARVED: N_("供给不足"),
    Verdict.STOPPED: N_("长期关机"),
    Verdict.DEAD: N_("失联"),
    Verdict.UNATTACHED: N_("未挂载"),
    Verdict.IDLE: N_("闲置"),
    Verdict.UNDERUSED: N_("低效"),
    Verdict.NORMAL: N_("正常"),
    Verdict.UNKNOWN: N_("数据不足"),
    Verdict.UNJUDGED: N_("不评判"),
}
GROWS = frozenset({Verdict.OVERLOADED, Verdict.BUSY})
RECLAIMABLE = frozenset({Verdict.STOPPED, Verdict.UNATTACHED, Verdict.IDLE, Verdict.UNDERUSED})

COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}

MACHINES = ("vm", "bare_metal", "database", "middleware")


@dataclass(frozen=True, slots=True)
class Condition:
    """`figure op threshold`. missing = what an unknown figure means: "fail", "pass" (the condition counts as
    met) or "unknown" (nothing can be said unless another condition fails)."""

    figure: str
    op: str
    threshold: float
    missing: str = "fail"

    def __post_init__(self) -> None:
        if self.figure not in FIGURES and self.figure not in CIRCUMSTANCES:
            raise ValueError(f"no such figure: {self.figure}")
        if self.op not in COMPARE or self.missing not in ("fail", "pass", "unknown"):
            raise ValueError(f"not a condition: {self.figure} {self.op} {self.threshold} (missing: {self.missing})")


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """`verdict` if all conditions hold over the last `days` local days (0 = the whole block).

    kinds: the resource kinds it is about. coverage: the share of the window's slots with live samples below
    which the rule says nothing; 0 = any. Several rules may lead to one verdict.
    """

    verdict: Verdict
    days: int
    conditions: tuple[Condition, ...]
    kinds: tuple[str, ...] = MACHINES
    coverage: float = 0.0

    def __post_init__(self) -> None:
        if not self.conditions or self.days < 0 or not 0 <= self.coverage <= 1:
            raise ValueError(f"not a rule: {self}")


SAFE_COVERAGE, SAFE_DAYS = 0.5, 7


UNPROVEN = {
    Verdict.STOPPED: N_("“长期关机”的规则，须有关机天数至少为若干天的条件"),
    Verdict.UNATTACHED: N_("“未挂载”的规则，须有未挂载天数至少为若干天的条件"),
    Verdict.IDLE: N_(
        "“闲置”的规则，须有用量低于若干的条件：CPU、内存、加速卡或带宽使用率至多 70%，网络至多 1000 kbps，或连接数至多 100"
    ),
    Verdict.UNDERUSED: N_(
        "“低效”的规则，须有用量低于若干的条件：CPU、内存、加速卡或带宽使用率至多 70%，网络至多 1000 kbps，连接数至多 100，或存储的磁盘使用率至多 70%"
    ),
}
"""Verdict → what to say where nothing of its rule shows what its name says."""

PROOFS = {Verdict.STOPPED: "off_days", Verdict.UNATTACHED: "unattached_days"}
"""Verdict → the circumstance that alone shows it; the others are shown by a figure of use that is low (``Figure.little``)."""


def _proves(verdict: Verdict, one: Condition, kinds: tuple[str, ...]) -> bool:
    """Whether a condition shows what the verdict says: so many days off or unattached, or a use that is low."""
    if (proof := PROOFS.get(verdict)) is not None:
        return one.figure == proof and one.op in (">", ">=") and one.threshold > 0
    known = FIGURES.get(one.figure)
    if known is None or (
        known.holds and not (verdict is Verdict.UNDERUSED and kinds and set(kinds) <= set(known.holds))
    ):
        return False
    little = known.little
    return little is not None and one.op in ("<", "<=") and one.threshold <= little


def unsafe(rule: PolicyRule) -> list[tuple[str, str]]:
    """What a rule that takes something away must not say, because no data is not zero: (part of the rule, sentence)."""
    if rule.verdict not in RECLAIMABLE:
        return []
    found = []
    if not any(_proves(rule.verdict, one, rule.kinds) for one in rule.conditions):
        found.append(("c0_figure", UNPROVEN[rule.verdict]))
    measured = [one for one in rule.conditions if one.figure in FIGURES]
    if measured and rule.coverage < SAFE_COVERAGE:
        found.append(("coverage", N_("据用量回收或缩容的规则,覆盖率不得低于50%:没有数据不等于闲置")))
    if measured and 0 < rule.days < SAFE_DAYS:
        found.append(("days", N_("据用量回收或缩容的规则,至少要看7天")))
    for j, one in enumerate(rule.conditions):
        if one.missing == "pass":
            found.append((f"c{j}_missing", N_("回收或缩容的规则,没有数据时不得视为条件成立")))
    return found


STEADY = "p95@70"
"""DOMAIN.md's smallest shape that keeps P95 at 70 %."""

SIZING = f"{STEADY}+fast"
"""The default policy's: by that, and with growth within the day above it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What exceptions ask of a resource. departments: codes of its own and of those above it; level: of its system (等保);
    system: its code; zone: its pool's; tags: of the cloud, each as "name" and as "name=value"; purpose: what the request that
    it rests on says that it is for. Empty or None: not known, which no list names."""

    kind: str
    pool: str
    departments: Collection[str] = ()
    level: int | None = None
    system: str = ""
    zone: str = ""
    tags: Collection[str] = ()
    purpose: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """What holds for some resources instead: those of these pools, departments (and what is under them), system
    levels (等保), kinds, systems, network zones, tags and purposes; an empty list means any. rules, sizing: empty, growths: None =
    those of the policy itself; with growths of its own nothing grows here that they do not name."""

    name: str
    pools: tuple[str, ...] = ()
    departments: tuple[str, ...] = ()
    levels: tuple[int, ...] = ()
    kinds: tuple[str, ...] = ()
    rules: tuple[PolicyRule, ...] = ()
    sizing: str = ""
    systems: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()
    growths: tuple[GrowthTerms, ...] | None = None

    def __post_init__(self) -> None:
        _once(self.growths or ())
        about = (
            self.pools,
            self.departments,
            self.levels,
            self.kinds,
            self.systems,
            self.zones,
            self.tags,
            self.purposes,
        )
        if not self.name or not any(about):
            raise ValueError(f"a section needs a name and somebody it is about: {self}")
        if not self.rules and not self.sizing and self.growths is None:
            raise ValueError(f"section {self.name} says nothing of its own")

    def about(self, one: Standing) -> bool:
        """Whether it holds for such a resource."""
        return (
            (not self.pools or one.pool in self.pools)
            and (not self.departments or bool(set(one.departments) & set(self.departments)))
            and (not self.levels or one.level in self.levels)
            and (not self.kinds or one.kind in self.kinds)
            and (not self.systems or one.system in self.systems)
            and (not self.zones or one.zone in self.zones)
            and (not self.tags or bool(set(one.tags) & set(self.tags)))
            and (not self.purposes or one.purpose in self.purposes)
        )


def _once(growths: Sequence[GrowthTerms]) -> None:
    named = [one.gauge for one in growths]
    if len(set(named)) < len(named):
        raise ValueError(f"growth of one thing is laid down twice: {named}")


@dataclass(frozen=True, slots=True)
class WholeLevels:
    """By what systems and departments are judged as wholes, from their machines together. The defaults are our own.

    low_*, high_*: mean use in per cent of their cores and memory; low where both means are below (either: where one is),
    high where one is above. covered: the share of cores that something is known of below which nothing is said.
    asleep_days: so long without a business login, and least_active: so small a share of its registered users active in a
    month, that a system is suspected to be a zombie. low_months, high_months: it is low, or high, only where it was so in each of
    so many calendar months; 0: by the longest window of the rules alone. deserted_months: so few are active only where it was so at the
    end of each of so many, as measured; 0: by what was told last.
    """

    low_cpu: float = 30.0
    low_memory: float = 40.0
    either: bool = False
    high_cpu: float = 50.0
    high_memory: float = 70.0
    covered: float = 0.9
    asleep_days: int = 90
    least_active: float = 0.05
    low_months: int = 0
    high_months: int = 0
    deserted_months: int = 0

    def __post_init__(self) -> None:
        shares = (self.low_cpu, self.low_memory, self.high_cpu, self.high_memory)
        if not all(0 <= one <= 100 for one in shares) or not SAFE_COVERAGE <= self.covered <= 1:
            raise ValueError(f"shares of systems that are none, or seen through too many gaps: {self}")
        if self.low_cpu > self.high_cpu or self.low_memory > self.high_memory:
            raise ValueError(f"what is low is not below what is high: {self}")
        if isinstance(self.asleep_days, bool) or not isinstance(self.asleep_days, int) or self.asleep_days < 1:
            raise ValueError(f"not days: {self.asleep_days}")
        if not 0 <= self.least_active <= 1:
            raise ValueError(f"not a share: {self.least_active}")
        _must_be_months(self.low_months, self.high_months, self.deserted_months)

    @property
    def months(self) -> int:
        """How many closed months must be known."""
        return max(self.low_months, self.high_months)


MOST_MONTHS = 12


def _must_be_months(*counts: int) -> None:
    if any(isinstance(one, bool) or not isinstance(one, int) or not 0 <= one <= MOST_MONTHS for one in counts):
        raise ValueError(f"not so many months: {counts}")


@dataclass(frozen=True, slots=True)
class SurplusTerms:
    """How much of its vCPU a department may leave idle, in per cent (None: as much as it likes), and what follows where it is more:
    the system's reminder, ``months`` to cut by itself, the authority's urging, ``urge_days`` working days, the authority's ruling.
    ``held_months``: it is reminded only where it was more in each of so many closed calendar months, too."""

    allowed: float | None = None
    months: int = 1
    urge_days: int = 5
    held_months: int = 0

    def __post_init__(self) -> None:
        if self.allowed is not None and (isinstance(self.allowed, bool) or not 0 <= self.allowed <= 100):
            raise ValueError(f"not a share: {self.allowed}")
        for figure, most in ((self.months, 24), (self.urge_days, 250)):
            if isinstance(figure, bool) or not isinstance(figure, int) or not 1 <= figure <= most:
                raise ValueError(f"no time to cut in: {self}")
        _must_be_months(self.held_months)


@dataclass(frozen=True, slots=True)
class DeliveredTerms:
    """So many days after its delivery a department is asked about what is not known to be in use (None: never), and has so many working
    days to answer. It is a question: that nothing was measured takes nothing away."""

    days: int | None = None
    answer_days: int = 10

    def __post_init__(self) -> None:
        for figure, most in ((1 if self.days is None else self.days, 365), (self.answer_days, 90)):
            if isinstance(figure, bool) or not isinstance(figure, int) or not 1 <= figure <= most:
                raise ValueError(f"no time to ask or to answer in: {self}")


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules in order of precedence: the first that holds decides. sizing: the name of a sizing policy
    (``metering.sizing.backtest.policy``). sections: exceptions, the first that is about a resource holds for it.

    frozen_is_live: whether slots of frozen values count as samples. hot_level, hot_minutes: a day is hot when
    CPU or memory is at or above the level (%) for that long in total. wholes: how systems and departments are judged.
    surplus: how much a department may leave idle. delivered: when it is asked about what is not used. growths: how memory, disks, lines and connections grow within the day, at most
    one each; what is not named does not (CPU's growth is a part of the sizing).
    """

    name: str
    version: int
    effective_from: date
    rules: tuple[PolicyRule, ...]
    frozen_is_live: bool = False
    hot_level: float = 90.0
    hot_minutes: int = 30
    sizing: str = STEADY
    sections: tuple[Section, ...] = ()
    wholes: WholeLevels = field(default_factory=WholeLevels)
    surplus: SurplusTerms = field(default_factory=SurplusTerms)
    delivered: DeliveredTerms = field(default_factory=DeliveredTerms)
    growths: tuple[GrowthTerms, ...] = ()

    def __post_init__(self) -> None:
        _once(self.growths)

    @property
    def every(self) -> tuple[PolicyRule, ...]:
        """The rules of the policy, then those of its sections: what an index in a finding counts in."""
        return sum((section.rules for section in self.sections), self.rules)

    def section(self, standing: Standing) -> int:
        """The index of the section that holds for such a resource; -1 = none, the policy itself."""
        found = (i for i, one in enumerate(self.sections) if one.about(standing))
        return next(found, -1)

    def named(self, name: str | None) -> int:
        """The index of the section called ``name``; None = -1, the policy itself. Raises KeyError for another."""
        if name is None:
            return -1
        for i, one in enumerate(self.sections):
            if one.name == name:
                return i
        raise KeyError(name)

    def rules_of(self, section: int) -> range:
        """Indices in ``every`` of the rules of a section (-1 = the policy itself)."""
        if section < 0 or not self.sections[section].rules:
            return range(len(self.rules))
        start = len(self.rules) + sum(len(one.rules) for one in self.sections[:section])
        return range(start, start + len(self.sections[section].rules))

    def sizing_of(self, section: int) -> str:
        """The sizing policy of a section (-1 = the policy itself)."""
        return (self.sections[section].sizing if section >= 0 else "") or self.sizing

    def growths_of(self, section: int) -> tuple[GrowthTerms, ...]:
        """How what is no CPU grows in a section (-1 = the policy itself)."""
        own = self.sections[section].growths if section >= 0 else None
        return self.growths if own is None else own

    def every_growth(self) -> tuple[GrowthTerms, ...]:
        """All that the policy or a section of it lays down, each once."""
        return tuple(dict.fromkeys(one for at in range(-1, len(self.sections)) for one in self.growths_of(at)))

    def windows(self) -> tuple[int, ...]:
        """Window lengths in days, shortest first; 0 (the whole block) last."""
        return tuple(sorted({rule.days for rule in self.every}, key=lambda days: (days == 0, days)))

    def reach(self, kinds: Sequence[str] = ()) -> int:
        """Days of history that the rules need (of these kinds only, if given); 0 = all there is."""
        spans = [rule.days for rule in self.every if not kinds or set(kinds) & set(rule.kinds)]
        return 0 if 0 in spans else max(spans, default=1)

    def figures(self, days: int) -> frozenset[str]:
        """What the rules over this window look at."""
        return frozenset(c.figure for rule in self.every if rule.days == days for c in rule.conditions)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` gives the same policy back."""
        plain: dict[str, Any] = {**asdict(self), "effective_from": self.effective_from.isoformat()}
        plain["rules"] = _plain_rules(plain["rules"])
        plain["growths"] = list(plain["growths"])
        plain["sections"] = [
            {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in one.items()
                if name != "growths" or value is not None  # documents of before stay what they were
            }
            | {"rules": _plain_rules(one["rules"])}
            for one in plain["sections"]
        ]
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Policy:
        """Raises ValueError, TypeError or KeyError for what is not a policy."""
        sections = tuple(
            Section(
                one["name"],
                tuple(one.get("pools", ())),
                tuple(one.get("departments", ())),
                tuple(int(level) for level in one.get("levels", ())),
                tuple(one.get("kinds", ())),
                _rules(one.get("rules", ())),
                one.get("sizing", ""),
                **{name: tuple(one.get(name, ())) for name in ("systems", "zones", "tags", "purposes")},
                growths=None if one.get("growths") is None else _growths(one["growths"]),
            )
            for one in plain.get("sections", ())
        )
        return cls(
            **{
                **plain,
                "effective_from": date.fromisoformat(plain["effective_from"]),
                "rules": _rules(plain["rules"]),
                "sections": sections,
                "wholes": WholeLevels(**plain.get("wholes", {})),
                "surplus": SurplusTerms(**plain.get("surplus", {})),
                "growths": _growths(plain.get("growths", ())),
                "delivered": DeliveredTerms(**plain.get("delivered", {})),
            }
        )


def _growths(plain: Sequence[Mapping[str, Any]]) -> tuple[GrowthTerms, ...]:
    order = list(GAUGES)
    return tuple(sorted((GrowthTerms(**one) for one in plain), key=lambda one: order.index(one.gauge)))


def _plain_rules(rules: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            **rule,
            "verdict": str(rule["verdict"]),
            "conditions": list(rule["conditions"]),
            "kinds": list(rule["kinds"]),
        }
        for rule in rules
    ]


def _rules(plain: Sequence[Mapping[str, Any]]) -> tuple[PolicyRule, ...]:
    return tuple(
        PolicyRule(
            Verdict(rule["verdict"]),
            int(rule["days"]),
            tuple(Condition(**c) for c in rule["conditions"]),
            tuple(rule.get("kinds", MACHINES)),
            float(rule.get("coverage", 0.0)),
        )
        for rule in plain
    )


def default() -> Policy:
    """DOMAIN.md's default table. The product keeps it configurable: it is a default, with its date, not a
    law."""
    covered = 0.9
    unknown = "unknown"
    return Policy(
        "default",
        1,
        date(2013, 1, 1),
        (
            PolicyRule(Verdict.STOPPED, 30, (Condition("off_days", ">=", 30),), (*MACHINES, "accelerator")),
            PolicyRule(Verdict.DEAD, 30, (Condition("dead_days", ">=", 1),), (*MACHINES, "accelerator")),
            PolicyRule(Verdict.UNATTACHED, 30, (Condition("unattached_days", ">=", 15),), ("volume", "eip")),
            PolicyRule(Verdict.OVERLOADED, 7, (Condition("hot_days", ">=", 3),), coverage=covered),
            PolicyRule(
                Verdict.OVERLOADED,
                7,
                (Condition("disk_last", ">=", 95),),
                (*MACHINES, "volume", "object_store"),
            ),
            PolicyRule(Verdict.BUSY, 7, (Condition("cpu_p95", ">=", 80),), coverage=covered),
            PolicyRule(Verdict.BUSY, 7, (Condition("mem_p95", ">=", 85),), coverage=covered),
            PolicyRule(Verdict.BUSY, 7, (Condition("disk_last", ">=", 85),), (*MACHINES, "volume", "object_store")),
            PolicyRule(
                Verdict.BUSY, 30, (Condition("disk_full_days", "<", 14),), (*MACHINES, "volume", "object_store")
            ),
            PolicyRule(Verdict.STARVED, 7, (Condition("starved", ">=", 0.1),), coverage=covered),
            PolicyRule(Verdict.IDLE, 14, (Condition("card_mean", "<", 10, unknown),), ("accelerator",), covered),
            PolicyRule(
                Verdict.IDLE,
                30,
                (
                    Condition("cpu_p95", "<", 5, unknown),
                    Condition("mem_mean", "<", 20, unknown),
                    Condition("net_mean", "<", 10, unknown),
                ),
                coverage=covered,
            ),
            PolicyRule(
                Verdict.IDLE,
                30,
                (Condition("conn_max", "<", 1),),
                ("database", "middleware"),
                covered,
            ),
            PolicyRule(Verdict.BUSY, 7, (Condition("line_peak", ">=", 80),), ("bandwidth",), covered),
            PolicyRule(Verdict.BUSY, 7, (Condition("card_mean", ">=", 85),), ("accelerator",), covered),
            PolicyRule(Verdict.BUSY, 7, (Condition("conn_full", ">=", 85),), ("database", "middleware"), covered),
            PolicyRule(
                Verdict.UNDERUSED,
                30,
                (Condition("line_mean", "<", 10, unknown), Condition("line_peak", "<", 30, unknown)),
                ("bandwidth",),
                covered,
            ),
            PolicyRule(
                Verdict.UNDERUSED,
                30,
                (
                    Condition("cpu_mean", "<", 10, unknown),
                    Condition("daily_peak", "<", 30, unknown),
                    Condition("mem_mean", "<", 40, unknown),
                ),
                coverage=covered,
            ),
        ),
        sizing=SIZING,
        growths=DEFAULTS,
    )


def reference() -> Policy:
    """The rule of reference_open.json: whole span, canonical samples, nothing unknown."""
    return Policy(
        "reference",
        1,
        date(2013, 1, 1),
        (
            PolicyRule(Verdict.BUSY, 0, (Condition("cpu_p95", ">", 80, "unknown"),)),
            PolicyRule(Verdict.IDLE, 0, (Condition("cpu_p95", "<", 10), Condition("mem_p95", "<", 30, "pass"))),
        ),
        frozen_is_live=True,
    )


BUILT_IN = {"default": default, "reference": reference}
