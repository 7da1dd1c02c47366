"""The form of a policy's next version: the thresholds of the version before it, its sizing, and exceptions.

Each rule's window, coverage and thresholds are fields, so that a policy is revised without writing JSON; rules are
neither added nor taken away here. Exceptions are: there is always an empty one, and another where more are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from flask_wtf import FlaskForm
from sqlalchemy import select
from wtforms import BooleanField, DateField, FloatField, IntegerField, SelectField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, NumberRange, Optional

from console import policy_words
from console.texts import _, lazy
from metering.assess import FIGURE_LABELS
from metering.policy import GROWS, LABELS, Policy, Rule, Section
from quota.agencies import Department
from quota.db import Tx
from quota.errors import N_, Invalid
from quota.pools import Pool

SLOT = re.compile(r"s(\d{1,2})_name")
"""The field that names an exception."""

LEVELS = (1, 2, 3, 4, 5)


class DraftForm(FlaskForm):  # type: ignore[misc]
    """What every draft asks; ``draft_form`` adds the fields of the rules at hand."""

    effective_from = DateField(lazy("生效日"), [InputRequired(lazy("请填写生效日"))])
    sizing = SelectField(lazy("定规格方法"))
    reason = TextAreaField(lazy("修订理由"), [InputRequired(lazy("请写明修订策略的理由")), Length(max=500)])

    rules: Sequence[Rule] = ()
    exceptions = 0

    def blocks(self) -> list[tuple[str, list[Any]]]:
        """(class and kinds in words, its fields), rule by rule."""
        return [
            (
                f"{_(LABELS[one.verdict])} · {policy_words.kinds(one)}",
                [self[f"r{i}_days"], self[f"r{i}_coverage"]] * bool(one.days)
                + [self[f"r{i}_{j}"] for j in range(len(one.conditions))],
            )
            for i, one in enumerate(self.rules)
        ]

    def slots(self) -> list[list[Any]]:
        """The fields of each exception."""
        return [
            [self[f"s{k}_{name}"] for name in ("name", "pool", "department", "level", "kind", "sizing", "spare")]
            for k in range(self.exceptions)
        ]

    def policy(self, before: Policy) -> Policy:
        """The policy that was written. Raises Invalid or ValueError for one that makes no sense."""
        rules = []
        for i, one in enumerate(before.rules):
            conditions = tuple(
                replace(
                    each, threshold=float(self[f"r{i}_{j}"].data) / FIGURE_LABELS.get(each.figure, ("", "", 1.0))[2]
                )
                for j, each in enumerate(one.conditions)
            )
            days, coverage = one.days, one.coverage
            if one.days:
                days, coverage = int(self[f"r{i}_days"].data), float(self[f"r{i}_coverage"].data) / 100
            rules.append(replace(one, days=days, coverage=coverage, conditions=conditions))
        return replace(
            before,
            effective_from=self.effective_from.data,
            sizing=self.sizing.data,
            rules=tuple(rules),
            sections=self._sections(tuple(rules), before),
        )

    def _sections(self, rules: tuple[Rule, ...], before: Policy) -> tuple[Section, ...]:
        kept = {one.name: one for one in before.sections}
        found = []
        for k in range(self.exceptions):
            name, pool, department, level, kind, sizing, spare = (field.data for field in self.slots()[k])
            if not (name or "").strip():
                continue
            if not (pool or department or level or kind):
                raise Invalid("policy.section", N_("例外须指明资源池、单位、等保级别或类别"), field=f"s{k}_name")
            if not (sizing or spare):
                raise Invalid("policy.section_empty", N_("例外须另定规格方法,或只扩不缩"), field=f"s{k}_name")
            growing = tuple(one for one in rules if one.verdict in GROWS)
            old = kept.get(name.strip())
            own = growing if spare else (old.rules if old and not _spared(old) else ())
            found.append(
                Section(
                    name.strip(),
                    _kept(pool, old.pools if old else ()),
                    _kept(department, old.departments if old else ()),
                    tuple(int(one) for one in _kept(level, [str(one) for one in old.levels] if old else ())),
                    _kept(kind, old.kinds if old else ()),
                    own,
                    sizing or "",
                )
            )
        names = [one.name for one in found]
        if len(set(names)) < len(names):
            raise Invalid("policy.section_twice", N_("两个例外不能同名"), field="s0_name")
        return tuple(found)


def _spared(one: Section) -> bool:
    """Whether a section only ever gives."""
    return bool(one.rules) and all(each.verdict in GROWS for each in one.rules)


def _kept(chosen: str | None, before: Sequence[str]) -> tuple[str, ...]:
    """What was chosen; a field shows the first of several, and all of them stay where it was not touched."""
    if not chosen:
        return ()
    return tuple(before) if before and chosen == before[0] else (chosen,)


def exceptions(before: Policy, sent: Iterable[str] = (), *, more: bool = False) -> int:
    """How many exceptions the form should have: those of ``before`` and an empty one, or as many as were ``sent``."""
    named = [int(found[1]) + 1 for found in map(SLOT.fullmatch, sent) if found]
    return max([len(before.sections) + 1, *named]) + more


def draft_form(tx: Tx, before: Policy, first: date, slots: int = 1) -> DraftForm:
    """The form filled with ``before``, to hold from ``first`` on, with ``slots`` exceptions."""
    from console.services import KINDS

    fields: dict[str, Any] = {"rules": before.rules, "exceptions": slots}
    for i, one in enumerate(before.rules):
        if one.days:
            fields[f"r{i}_days"] = IntegerField(
                lazy("窗口天数"), [InputRequired(lazy("请填写天数")), NumberRange(1, 366, lazy("1到366天"))],
                default=one.days,
            )  # fmt: skip
            fields[f"r{i}_coverage"] = FloatField(
                lazy("最低覆盖率(%)"),
                [InputRequired(lazy("请填写覆盖率")), NumberRange(0, 100, lazy("0到100"))],
                default=round(100 * one.coverage, 2),
            )
        for j, each in enumerate(one.conditions):
            label, unit, factor = FIGURE_LABELS.get(each.figure, (each.figure, "", 1.0))
            fields[f"r{i}_{j}"] = FloatField(
                f"{_(label)} {each.op}{f' ({unit.strip()})' if unit.strip() else ''}",
                [InputRequired(lazy("请填写门槛")), NumberRange(0, 1_000_000, lazy("不小于0的数"))],
                default=round(each.threshold * factor, 4),
            )
    pools = [(one.code, one.name) for one in tx.scalars(select(Pool).where(Pool.active).order_by(Pool.name))]
    departments = [(one.code, one.name) for one in tx.scalars(select(Department).order_by(Department.name))]
    for k in range(slots):
        old = before.sections[k] if k < len(before.sections) else None
        fields |= {
            f"s{k}_name": StringField(lazy("例外名称"), [Optional(), Length(max=32)], default=old.name if old else ""),
            f"s{k}_pool": _choice(lazy("资源池"), pools, old.pools if old else ()),
            f"s{k}_department": _choice(lazy("单位(含下级)"), departments, old.departments if old else ()),
            f"s{k}_level": _choice(
                lazy("等保级别"),
                [(str(one), str(one)) for one in LEVELS],
                [str(x) for x in (old.levels if old else ())],
            ),
            f"s{k}_kind": _choice(
                lazy("类别"), [(key, _(label)) for key, label in KINDS.items()], old.kinds if old else ()
            ),
            f"s{k}_sizing": _choice(
                lazy("定规格方法"),
                [(one, policy_words.sizing(one)) for one in policy_words.OFFERED],
                [old.sizing] if old and old.sizing else (),
            ),
            f"s{k}_spare": BooleanField(lazy("只扩不缩,不回收"), default=bool(old and _spared(old))),
        }
    form = type("Draft", (DraftForm,), fields)(effective_from=first, sizing=before.sizing)
    form.sizing.choices = [
        SelectChoice(one, policy_words.sizing(one)) for one in dict.fromkeys([*policy_words.OFFERED, before.sizing])
    ]
    return form  # type: ignore[no-any-return]


def _choice(label: Any, options: Sequence[tuple[str, str]], chosen: Sequence[str]) -> SelectField:
    return SelectField(
        label,
        [Optional()],
        choices=[SelectChoice("", _("不限")), *(SelectChoice(*one) for one in options)],
        default=chosen[0] if chosen else "",
    )
