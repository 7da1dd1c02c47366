"""Rules as a document that people exchange: JSON in and out, each mistake named by its place. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from quota.errors import N_, Invalid
from quota.requests.rules.paths import LONGEST_REASON, Rule, RuleOutcome, check

FORMAT = "guanjia-approval-rules/1"
MOST_BYTES = 1_000_000
MOST_RULES = 200
CODE = re.compile(r"[a-z][a-z0-9_]{1,31}")
RESERVED = frozenset({"new", "import", "export", "drafts"})
"""What stands in the console's addresses where a code would."""


class RuleText(BaseModel):
    """One rule as it is written down, before it has a version. What it says is checked as a whole by ``sound``."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    code: str
    name: Annotated[str, Field(min_length=1, max_length=96)]
    effective_from: Annotated[date, Field(strict=False)]
    basis: Annotated[str, Field(max_length=2000)] = ""
    priority: Annotated[int, Field(ge=0, le=1000)] = 0
    condition: dict[str, Any] = {}
    outcome: Annotated[RuleOutcome, Field(strict=False)] = RuleOutcome.SIGN
    reason: Annotated[str, Field(max_length=LONGEST_REASON)] = ""
    steps: list[dict[str, Any]] = []
    ending: dict[str, Any] = {}

    def sound(self) -> None:
        """Raise Invalid where it cannot be applied."""
        if not CODE.fullmatch(self.code) or self.code in RESERVED:
            raise Invalid("rules.code", N_("规则代码由小写字母、数字和 _ 组成,2 至 32 个字符"), field="code")
        check(self.condition, self.steps, self.outcome, self.reason, self.ending)

    def rule(self, version: int) -> Rule:
        """What it would be as ``version`` of its code."""
        return Rule(
            self.code, version, self.effective_from, self.priority, self.condition, tuple(self.steps), self.outcome,
            self.reason, self.ending,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """As it is written down; what says nothing is left out."""
        return {name: value for name, value in self.model_dump(mode="json").items() if value not in ("", [], {})}


def read(text: str | bytes) -> list[RuleText]:
    """The rules of a document, each sound by itself. Raises Invalid naming the rule and the place where something is not."""
    if len(text) > MOST_BYTES:
        raise Invalid("rules.document", N_("文件过大:至多 %(most)s 字节"), most=MOST_BYTES, field="document")
    try:
        loaded = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
        if "\\u0000" in json.dumps(loaded, ensure_ascii=False).encode().decode():  # half a character cannot be encoded
            raise ValueError("a text has a NUL in it")
    except (ValueError, RecursionError) as wrong:
        raise Invalid("rules.document", N_("不是规则文件:%(why)s"), why=str(wrong)[:200], field="document") from None
    if not isinstance(loaded, Mapping) or loaded.get("format") != FORMAT or set(loaded) != {"format", "rules"}:
        raise Invalid(
            "rules.document", N_('不是规则文件:须为 {"format": "%(format)s", "rules": […]}'), format=FORMAT, field="document"
        )  # fmt: skip
    rows = loaded["rules"]
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST_RULES:
        raise Invalid("rules.document", N_("一个文件有 1 至 %(most)s 条规则"), most=MOST_RULES, field="document")
    found = [_rule(number, row) for number, row in enumerate(rows, start=1)]
    codes = [one.code for one in found]
    for number, code in enumerate(codes, start=1):
        if code in codes[: number - 1]:
            raise _at(number, "code", N_("代码在文件中重复"))
    return found


def _rule(number: int, row: Any) -> RuleText:
    try:
        found = RuleText.model_validate(row)
    except ValidationError as wrong:
        first = wrong.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "rules"
        raise _at(number, place, _WORDS.get(first["type"], N_("值不合适"))) from None
    try:
        found.sound()
    except Invalid as wrong:
        why = wrong.params.get("why", wrong.message)
        raise _at(number, found.code[:32], why, **{k: v for k, v in wrong.params.items() if k != "why"}) from None
    return found


_WORDS = {
    "missing": N_("缺少这一项"),
    "extra_forbidden": N_("没有这一项"),
    "string_too_long": N_("过长"),
    "string_too_short": N_("不能为空"),
    "date_from_datetime_parsing": N_("须为日期,如 2027-01-01"),
    "date_parsing": N_("须为日期,如 2027-01-01"),
}


def _at(number: int, place: str, why: str, **params: Any) -> Invalid:
    told = {**params, "number": number, "place": place, "why": why % params if params else why, "field": "document"}
    return Invalid("rules.document", N_("第 %(number)s 条规则的 %(place)s:%(why)s"), **told)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def written(rules: Iterable[RuleText]) -> str:
    """The document of ``rules``."""
    return (
        json.dumps({"format": FORMAT, "rules": [one.to_json() for one in rules]}, ensure_ascii=False, indent=2) + "\n"
    )
