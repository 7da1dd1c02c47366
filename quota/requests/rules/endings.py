"""What the end of a term leads to, as data: its department is asked within a limit, and what it leaves open may become a case; and
within what limit it has to do what follows from a rejection. Pure.

    {"limit": 10, "unit": "working_days", "then": "case"}

``then``: ``case``, which is heard as every case is, or ``question``, which stays with who supervises until it is answered.
After a rejection there is only the limit: {"limit": 12, "unit": "months"}.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from quota.errors import N_
from quota.requests.rules.conditions import bad
from quota.requests.rules.steps import LONGEST, Unit


class Then(StrEnum):
    """What follows where the owner did not settle it in time. Stored, so never changed."""

    CASE = "case"
    QUESTION = "question"


THEN_LABELS: Mapping[str, str] = {
    Then.CASE: N_("立案，按案件程序由有权的人裁定"),
    Then.QUESTION: N_("只征询，逾期未答的由运营监督方跟进"),
}

MOST_DAYS = {Unit.WORKING_DAYS: 90, Unit.DAYS: 150, Unit.MONTHS: 5}
"""How long an owner may be given to answer, by what the limit counts in: whole days at least."""


@dataclass(frozen=True, slots=True)
class TermEnd:
    """What the end of a term leads to, and the rule (``code@version``) that says so."""

    limit: int
    unit: Unit
    then: Then
    rule: str = ""


def term_end(raw: Mapping[str, Any], rule: str = "") -> TermEnd:
    """What ``raw`` (which was checked) says."""
    return TermEnd(raw["limit"], Unit(raw.get("unit", Unit.WORKING_DAYS)), Then(raw["then"]), rule)


def check_term_end(raw: Any) -> None:
    """Refuse what cannot be applied: Invalid naming what is wrong."""
    if not isinstance(raw, Mapping) or set(raw) - {"limit", "unit", "then"}:
        raise bad(N_("期满征询须写明答复时限 limit、单位 unit 和期满后的办法 then"))
    limit, unit, then = raw.get("limit"), raw.get("unit", Unit.WORKING_DAYS), raw.get("then")
    if not isinstance(unit, str) or unit not in MOST_DAYS:
        raise bad(N_("答复时限的单位须为 working_days、days 或 months"))
    most = min(MOST_DAYS[Unit(unit)], LONGEST[Unit(unit)])
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= most:
        raise bad(N_("答复时限须为正整数：至多 90 个工作日、150 天、5 个月"))
    if not isinstance(then, str) or then not in list(Then):
        raise bad(N_("期满后的办法 then 须为 case 或 question"))


@dataclass(frozen=True, slots=True)
class Obligation:
    """Within what time a department has to do what follows from a rejection, and the rule (``code@version``) that says so."""

    limit: int
    unit: Unit
    rule: str = ""


OBLIGED = (Unit.WORKING_DAYS, Unit.DAYS, Unit.MONTHS)


def obliged(raw: Mapping[str, Any], rule: str = "") -> Obligation:
    """What ``raw`` (which was checked) says."""
    return Obligation(raw["limit"], Unit(raw.get("unit", Unit.WORKING_DAYS)), rule)


def check_obligation(raw: Any) -> None:
    """Refuse what cannot be applied: Invalid naming what is wrong."""
    if not isinstance(raw, Mapping) or set(raw) - {"limit", "unit"}:
        raise bad(N_("驳回后限期办理须写明期限 limit 和单位 unit"))
    limit, unit = raw.get("limit"), raw.get("unit", Unit.WORKING_DAYS)
    if not isinstance(unit, str) or unit not in OBLIGED:
        raise bad(N_("期限的单位须为 working_days、days 或 months"))
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= LONGEST[Unit(unit)]:
        raise bad(N_("期限须为正整数：至多 250 个工作日、366 天、24 个月"))
