"""Steps as data: who takes one, of how many parties how many, when beside or after others, within what time. Pure.

Five steps have names and parties of the house's own, as ``{"name": "form_check", "role": "supervisor", "days": 1}``. Any other has a
name, a label, a stage and parties:

    {"name": "finance", "label": "财政会审", "stage": 25, "by": [{"department": "CZ01"}, {"role": "authority"}], "need": 2,
     "limit": 24, "unit": "hours", "supplement_days": 5, "record": true}

Steps of one stage wait side by side, stages come one after the other. Of several parties ``need`` must approve (all, where it is not
said). ``record``: who approves gives the number of a document. ``limit`` counts in hours, working days, calendar days or months;
``days`` is short for working days.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from quota.actors import Role
from quota.errors import N_
from quota.requests.rules.conditions import bad


class StepName(StrEnum):
    """The steps that the house itself names, in the order in which they are taken."""

    FORM_CHECK = "form_check"
    TECHNICAL_REVIEW = "technical_review"
    AUTHORITY_APPROVAL = "authority_approval"
    DELIVERY = "delivery"
    ACCEPTANCE = "acceptance"


STEP_LABELS: Mapping[str, str] = {
    StepName.FORM_CHECK: N_("形式审查"),
    StepName.TECHNICAL_REVIEW: N_("技术评审"),
    StepName.AUTHORITY_APPROVAL: N_("主管审批"),
    StepName.DELIVERY: N_("交付"),
    StepName.ACCEPTANCE: N_("验收"),
}

STAGES: Mapping[str, int] = {
    StepName.FORM_CHECK: 10,
    StepName.TECHNICAL_REVIEW: 20,
    StepName.AUTHORITY_APPROVAL: 30,
    StepName.DELIVERY: 80,
    StepName.ACCEPTANCE: 90,
}
LAST_STAGE = 79
"""Of a step that comes before the decision."""

SIGNED = frozenset({StepName.FORM_CHECK, StepName.TECHNICAL_REVIEW, StepName.AUTHORITY_APPROVAL})
"""Steps of the house's own that decide. The others of its own are done after the decision; a city's steps all come before it."""

MAY_TAKE: Mapping[StepName, frozenset[Role]] = {
    StepName.FORM_CHECK: frozenset({Role.SUPERVISOR}),
    StepName.TECHNICAL_REVIEW: frozenset({Role.SUPERVISOR, Role.AUTHORITY}),
    StepName.AUTHORITY_APPROVAL: frozenset({Role.AUTHORITY}),
    StepName.DELIVERY: frozenset({Role.PROVIDER}),
    StepName.ACCEPTANCE: frozenset({Role.TENANT}),
}
"""Whom a rule may give a step of the house's own to."""

SIGNERS = frozenset({Role.SUPERVISOR, Role.AUTHORITY})
"""Roles that may be a party by themselves."""

MOST_PARTIES = 12
_CODE = re.compile(r"[a-z][a-z0-9_]{1,23}")
_OWN = {"name", "role", "days", "limit", "unit", "supplement_days", "replace"}
_CITYS = {"name", "label", "stage", "by", "need", "days", "limit", "unit", "supplement_days", "record", "replace"}
REPLACE_LABELS: Mapping[str, str] = {"shape": N_("规格"), "zone": N_("网络区"), "purpose": N_("使用性质")}
"""What a step may be allowed to approve otherwise than asked for."""


class Unit(StrEnum):
    """What a limit counts in. Stored."""

    HOURS = "hours"
    WORKING_DAYS = "working_days"
    DAYS = "days"
    MONTHS = "months"


UNIT_LABELS = {
    Unit.HOURS: N_("%(n)s 小时"),
    Unit.WORKING_DAYS: N_("%(n)s 个工作日"),
    Unit.DAYS: N_("%(n)s 天"),
    Unit.MONTHS: N_("%(n)s 个月"),
}
LONGEST = {Unit.HOURS: 240, Unit.WORKING_DAYS: 250, Unit.DAYS: 366, Unit.MONTHS: 24}


class Whose(StrEnum):
    """A party that hangs on the request."""

    APPLICANT = "applicant"  # somebody else of the department that asks
    ABOVE = "above"  # the department above it: its district
    PROVIDER = "provider"  # the company of the pool, which gives an opinion and decides nothing


@dataclass(frozen=True, slots=True)
class Party:
    """Who takes a step: a role of the trade, a department (by code), one that hangs on the request, or a person (by login)."""

    role: Role | None = None
    department: str = ""
    of: Whose | None = None
    person: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a request. ``need`` of its ``parties`` must approve. ``limit`` in ``unit``; ``supplement_days``: working days that
    the requester has to mend a return. ``rule`` (``code@version``) and ``because`` say where it comes from: the comparisons that
    held. ``label`` is empty for steps of the house's own."""

    name: str
    parties: tuple[Party, ...]
    limit: int
    unit: Unit = Unit.WORKING_DAYS
    supplement_days: int = 5
    label: str = ""
    stage: int = 0
    need: int = 1
    record: bool = False
    rule: str = ""
    because: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()

    @property
    def role(self) -> Role | None:
        """Of a step of the house's own."""
        return self.parties[0].role

    @property
    def days(self) -> int:
        """Its limit where that counts working days, else none of them."""
        return self.limit if self.unit is Unit.WORKING_DAYS else 0

    @property
    def signs(self) -> bool:
        """Whether it comes before the decision."""
        return self.stage <= LAST_STAGE

    @property
    def decides(self) -> bool:
        """Whether somebody else than a company takes it."""
        return self.signs and any(one.of is not Whose.PROVIDER for one in self.parties)


def step(raw: Mapping[str, Any], rule: str = "", because: tuple[str, ...] = ()) -> Step:
    """The step that ``raw`` (which was checked) says."""
    name = raw["name"]
    by = raw.get("by", [{"role": raw.get("role")}])
    return Step(
        name=name if name not in STAGES else StepName(name),
        parties=tuple(_party(one) for one in by),
        limit=raw["days"] if "days" in raw else raw["limit"],
        unit=Unit(raw.get("unit", Unit.WORKING_DAYS)),
        supplement_days=raw.get("supplement_days", 5),
        label=raw.get("label", ""),
        stage=STAGES[name] if name in STAGES else raw["stage"],
        need=raw.get("need", len(by)),
        record=raw.get("record", False),
        rule=rule,
        because=because,
        replaces=tuple(raw.get("replace", ())),
    )


def _party(raw: Mapping[str, Any]) -> Party:
    return Party(
        role=Role(raw["role"]) if "role" in raw else None,
        department=raw.get("department", ""),
        of=Whose(raw["of"]) if "of" in raw else None,
        person=raw.get("person", ""),
    )


def check_steps(raw: Any) -> None:
    """Refuse steps that cannot be taken: Invalid naming what is wrong."""
    if not isinstance(raw, list):
        raise bad(N_("步骤须为列表"))
    for one in raw:
        _check(one)
    names = [one["name"] for one in raw]
    if len(names) != len(set(names)):
        raise bad(N_("同一步骤不能出现两次"))


def _check(raw: Any) -> None:
    if not isinstance(raw, Mapping) or not isinstance(raw.get("name"), str):
        raise bad(N_("步骤须写明名称、由谁办理和时限"))
    name = raw["name"]
    own = name in STAGES
    if set(raw) - (_OWN if own else _CITYS) or ("days" in raw) == ("limit" in raw) or ("days" in raw and "unit" in raw):
        raise bad(N_("步骤须写明名称、由谁办理和时限"))
    _check_limit(raw)
    _check_replaced(raw)
    if own:
        if raw.get("role") not in {str(one) for one in MAY_TAKE[StepName(name)]}:
            raise bad(N_("这个角色不能承担这个步骤"))
        return
    if not _CODE.fullmatch(name) or name == "passed":
        raise bad(N_("步骤的名称由小写字母、数字和 _ 组成,2 至 24 个字符"))
    label, stage = raw.get("label"), raw.get("stage")
    if not isinstance(label, str) or not 1 <= len(label.strip()) <= 24:
        raise bad(N_("步骤须有 1 至 24 个字的中文名称 label"))
    if not _whole(stage, 1, LAST_STAGE):
        raise bad(N_("步骤的次序 stage 须为 1 至 %(last)s 的整数"), last=LAST_STAGE)
    _check_parties(raw.get("by"), raw.get("need"))
    if not isinstance(raw.get("record", False), bool):
        raise bad(N_("record 须为 true 或 false"))


def _check_limit(raw: Mapping[str, Any]) -> None:
    limit, unit = raw.get("days", raw.get("limit")), raw.get("unit", Unit.WORKING_DAYS)
    if not isinstance(unit, str) or unit not in list(Unit):
        raise bad(N_("时限的单位须为 hours、working_days、days 或 months"))
    if not _whole(limit, 1, LONGEST[Unit(unit)]) or not _whole(raw.get("supplement_days", 5), 1, 250):
        raise bad(N_("时限须为正整数:至多 240 小时、250 个工作日、366 天、24 个月"))


def _check_replaced(raw: Mapping[str, Any]) -> None:
    if "replace" not in raw:
        return
    said, name = raw["replace"], raw["name"]
    if not isinstance(said, list) or not said or not all(isinstance(one, str) for one in said):
        raise bad(N_("replace 须为列表，可写 shape、zone、purpose"))
    if len(set(said)) < len(said) or not set(said) <= set(REPLACE_LABELS):
        raise bad(N_("replace 须为列表，可写 shape、zone、purpose"))
    if name in (StepName.DELIVERY, StepName.ACCEPTANCE) or raw.get("by") == [{"of": Whose.PROVIDER.value}]:
        raise bad(N_("只有作出决定的步骤可以更改申请内容"))


def _check_parties(by: Any, need: Any) -> None:
    if not isinstance(by, list) or not 1 <= len(by) <= MOST_PARTIES:
        raise bad(N_("步骤须有 1 至 %(most)s 个办理方 by"), most=MOST_PARTIES)
    for one in by:
        if not isinstance(one, Mapping) or len(one) != 1 or not all(isinstance(each, str) for each in one.values()):
            raise bad(N_("办理方须为角色、单位、人员之一"))
        ((word, value),) = one.items()
        known = {
            "role": value in {str(role) for role in SIGNERS},
            "department": bool(value.strip()) and len(value) <= 32,
            "person": bool(value.strip()) and len(value) <= 64,
            "of": value in list(Whose),
        }
        if not known.get(word, False):
            raise bad(N_("办理方须为角色、单位、人员之一"))
    if len({tuple(one.items()) for one in by}) < len(by):
        raise bad(N_("一个步骤的办理方不能重复"))
    if len(by) > 1 and {"of": "provider"} in by:
        raise bad(N_("云服务商只出具意见,不与他方会签"))
    if need is not None and not _whole(need, 1, len(by)):
        raise bad(N_("need 须为 1 至办理方个数的整数"))


def _whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
