"""The form of an approval rule: when it applies, in groups of comparisons, and which steps it asks for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from flask_wtf import FlaskForm
from wtforms import (
    BooleanField,
    Field,
    FieldList,
    FormField,
    IntegerField,
    RadioField,
    SelectField,
    StringField,
    TextAreaField,
    ValidationError,
)
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, NumberRange, Optional

from console.forms import DateField, InnerForm
from console.security import row_or
from console.words import KINDS, OPERATOR_LABELS, FactComparison, Groups, _, lazy, rules
from quota.actors import ROLE_LABELS
from quota.errors import N_
from quota.requests import (
    FACTS,
    KIND_LABELS,
    LATER,
    MAY_TAKE,
    OUTCOME_LABELS,
    SIGNED,
    STEP_LABELS,
    THEN_LABELS,
    ApprovalRule,
    RuleOutcome,
    RuleText,
    StepName,
    Then,
    Unit,
)
from quota.units import Arch

MOST_GROUPS, MOST_ROWS = 16, 6
FITTING: Mapping[type, Sequence[str]] = {
    bool: ("==", "!="),
    str: ("==", "!=", "in", "not in"),
    list: ("has", "lacks"),
    int: (">", ">=", "<", "<=", "==", "!=", "in", "not in", "multiple", "not multiple"),
    float: (">", ">=", "<", "<=", "==", "!=", "in", "not in", "multiple", "not multiple"),
}
"""Which comparisons a fact of a type can take."""


CHOICES: Mapping[str, Mapping[str, str]] = {
    "services": KINDS,
    "kind": KIND_LABELS,
    "arch": {one.value: one.value for one in Arch if one is not Arch.ANY},
}
"""Facts whose values are one of a list: code → label."""


ANSWER_UNITS: Mapping[str, str] = {Unit.WORKING_DAYS: N_("个工作日"), Unit.DAYS: N_("天"), Unit.MONTHS: N_("个月")}


def _choices(labels: Mapping[str, str]) -> list[SelectChoice]:
    return [SelectChoice(code, lazy(label)) for code, label in labels.items()]


def _facts() -> list[SelectChoice]:
    return [SelectChoice("", "—"), *(SelectChoice(name, rules.fact_name(name)) for name in FACTS)]


class RowForm(InnerForm):
    """One comparison; a row without a fact says nothing."""

    fact = SelectField(lazy(N_("事实")), choices=_facts, default="")
    op = SelectField(lazy(N_("比较")), choices=_choices(OPERATOR_LABELS))
    value = StringField(lazy(N_("值")), [Length(max=200)])

    def validate_op(self, field: Field) -> None:
        if self.fact.data in FACTS and field.data not in FITTING[FACTS[self.fact.data].type]:
            raise ValidationError(
                _(
                    "“%(fact)s”不能这样比较；可用：%(ops)s",
                    fact=rules.fact_name(self.fact.data),
                    ops=_("、").join(_(OPERATOR_LABELS[one]) for one in FITTING[FACTS[self.fact.data].type]),
                )
            )

    def validate_value(self, _field: Field) -> None:
        if self.fact.data in FACTS and not self.op.errors:
            self.read()

    def read(self) -> FactComparison:
        """What the row says. Raises ValidationError for a value that the fact cannot have."""
        fact, op, text = self.fact.data, self.op.data, (self.value.data or "").strip()
        many = op in ("in", "not in")
        parts = (
            [one for one in text.replace(",", "、").replace("，", "、").split("、") if one.strip()] if many else [text]
        )
        values = [_read(fact, one.strip()) for one in parts]
        if not values:
            raise ValidationError(_("请填写比较的值"))
        return FactComparison(fact, op, values if many else values[0])


def _read(fact: str, text: str) -> Any:
    """``text`` as a value of ``fact``; names of kinds and services in either language, or their codes."""
    if not text:
        raise ValidationError(_("请填写比较的值"))
    kind = FACTS[fact].type
    if kind is bool:
        for value, words in ((True, (N_("是"), _("是"), "true", "yes")), (False, (N_("否"), _("否"), "false", "no"))):
            if text.lower() in [word.lower() for word in words]:
                return value
        raise ValidationError(_("请填写“是”或“否”"))
    if kind in (int, float):
        try:
            figure = float(text.replace(",", ""))
        except ValueError:
            raise ValidationError(_("“%(text)s”不是数", text=text)) from None
        if not abs(figure) < 1e12:
            raise ValidationError(_("“%(text)s”不是数", text=text))
        return int(figure) if figure == int(figure) else figure
    known: Mapping[str, str] | None = CHOICES.get(fact)
    if known is None:
        return text
    for code, label in known.items():
        if text in (code, label, _(label)):
            return code
    raise ValidationError(_("没有“%(text)s”；可填：%(known)s", text=text, known=_("、").join(map(_, known.values()))))


class GroupForm(InnerForm):
    rows = FieldList(FormField(RowForm), min_entries=1, max_entries=MOST_ROWS)


class RuleForm(FlaskForm):  # type: ignore[misc]
    code = StringField(
        lazy(N_("规则代码")),
        [InputRequired(lazy(N_("请填写规则代码"))), Length(max=32)],
        description=lazy(N_("小写字母、数字和 _,制定后不变")),
    )
    name = StringField(lazy(N_("名称")), [InputRequired(lazy(N_("请填写名称"))), Length(max=96)])
    basis = TextAreaField(lazy(N_("制定依据")), [InputRequired(lazy(N_("请写明制定依据"))), Length(max=2000)])
    effective_from = DateField(lazy(N_("生效日期")), [InputRequired(lazy(N_("请填写生效日期")))])
    priority = IntegerField(
        lazy(N_("优先级")),
        [InputRequired(lazy(N_("请填写优先级"))), NumberRange(0, 1000)],
        default=50,
        description=lazy(N_("几条规则要求同一步骤时,以数值大的为准")),
    )
    groups = FieldList(FormField(GroupForm), min_entries=1, max_entries=MOST_GROUPS)
    outcome = RadioField(
        lazy(N_("满足时")),
        choices=_choices(OUTCOME_LABELS),  # type: ignore[arg-type]
        default=RuleOutcome.SIGN.value,
        description=lazy(
            N_(
                "“自动通过”免去优先级更低的规则要求的审批，超出配额的不适用；“不予受理”的理由会显示给申请人；“使用期满征询”“驳回后限期办理”不影响审批，期满或驳回时才适用"
            )
        ),
    )
    reason = TextAreaField(lazy(N_("不予受理的理由")), [Length(max=500)])
    answer_limit = IntegerField(lazy(N_("期满后答复、驳回后办理的时限")), [Optional(), NumberRange(1, 366)])
    answer_unit = SelectField(lazy(N_("时限的单位")), choices=_choices(ANSWER_UNITS), default=Unit.WORKING_DAYS.value)
    then = SelectField(lazy(N_("未能办结的")), choices=_choices(THEN_LABELS), default=Then.CASE.value)
    more_steps = TextAreaField(
        lazy(N_("本市自定的步骤")),
        [Length(max=20_000)],
        description=lazy(N_("会签、上级单位先审、财政、委员会、云服务商意见等,写法见规则文件(JSON 列表);没有则留空")),
    )
    repeal = BooleanField(lazy(N_("废止:自生效日起,这条规则不再要求任何步骤")))

    def step_fields(self) -> list[tuple[StepName, Field, Field, Field | None]]:
        """(step, who, limit, limit of a supplement) for every step, in order."""
        return [
            (
                name,
                self[f"{name.value}_role"],
                self[f"{name.value}_days"],
                self[f"{name.value}_supplement_days"] if name in SIGNED else None,
            )
            for name in StepName
        ]

    def steps(self) -> list[dict[str, Any]]:
        """The steps that were asked for, as ``quota.requests.rules`` reads them; none where the rule is to be repealed."""
        found: list[dict[str, Any]] = []
        for name, role, days, supplement in self.step_fields() if self._asks() else []:
            if role.data:
                step = {"name": name.value, "role": role.data, "days": days.data}
                if supplement is not None and supplement.data is not None:
                    step["supplement_days"] = supplement.data
                found.append(step)
        return [*found, *(self._more() if self._asks() else [])]

    def _more(self) -> list[dict[str, Any]]:
        """The steps of the city's own. Raises ValueError for what is no list of steps."""
        typed = (self.more_steps.data or "").strip()
        found = json.loads(typed) if typed else []
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise ValueError("no list of steps")
        return found

    def validate_more_steps(self, _field: Field) -> None:
        try:
            self._more()
        except (ValueError, RecursionError):
            raise ValidationError(_("须为 JSON 列表，每个步骤一个对象，写法见导出的规则文件")) from None

    def _asks(self) -> bool:
        """Whether it asks for steps."""
        return not self.repeal.data and self.outcome.data == RuleOutcome.SIGN

    def text(self) -> RuleText:
        """The rule that was typed. Call after the form was validated."""
        repealed = self.repeal.data
        return RuleText(
            code=self.code.data,
            name=self.name.data,
            effective_from=self.effective_from.data,
            basis=self.basis.data,
            priority=self.priority.data,
            condition=rules.condition(self.said()),
            outcome=RuleOutcome.SIGN if repealed else RuleOutcome(self.outcome.data),
            reason="" if repealed or self.outcome.data != RuleOutcome.REFUSE else (self.reason.data or "").strip(),
            steps=self.steps(),
            ending=self.ending(),
        )

    def ending(self) -> dict[str, Any]:
        """What the end of a term leads to, or a rejection, where the rule is about that."""
        if self.repeal.data or self.outcome.data not in LATER:
            return {}
        then = {"then": self.then.data} if self.outcome.data == RuleOutcome.END else {}
        return {"limit": self.answer_limit.data, "unit": self.answer_unit.data, **then}

    def said(self) -> Groups:
        """The groups that were filled in. Call after the form was validated."""
        rows = [[row.form.read() for row in group.form.rows if row.form.fact.data] for group in self.groups]
        return [one for one in rows if one]

    def grow(self, step: str) -> bool:
        """Do what a button of the form asked for: one more group, or one more row in a group; whether it was one."""
        if step == "group":
            if len(self.groups) < MOST_GROUPS:
                self.groups.append_entry()
            return True
        word, _dash, place = step.partition("-")
        if word != "row" or row_or(place, len(self.groups)) >= len(self.groups):
            return False
        rows = self.groups[row_or(place, 0)].form.rows
        if len(rows) < MOST_ROWS:
            rows.append_entry()
        return True

    def validate(self, extra_validators: Any = None) -> bool:
        sound = bool(super().validate(extra_validators))
        if not self.repeal.data and self.outcome.data == RuleOutcome.REFUSE and not (self.reason.data or "").strip():
            self.reason.errors = [*self.reason.errors, _("请写明不予受理的理由")]
            sound = False
        if not self.repeal.data and self.outcome.data in LATER and self.answer_limit.data is None:
            if not self.answer_limit.errors:
                self.answer_limit.errors = [_("请填写时限")]
            sound = False
        if self._asks():
            for name, role, days, _supplement in self.step_fields():
                if role.data and days.data is None and not days.errors:
                    days.errors = [*days.errors, _("请填写“%(step)s”的时限", step=_(STEP_LABELS[name]))]
                    sound = False
            named = any(role.data for _name, role, _days, _supplement in self.step_fields())
            if not named and not (self.more_steps.data or "").strip():
                self.form_errors: list[str] = [*self.form_errors, _("请至少选定一个步骤由谁办理，或勾选废止")]
                sound = False
        return sound


for _name in StepName:
    setattr(
        RuleForm,
        f"{_name.value}_role",
        SelectField(
            lazy(N_("由谁办理")),
            default="",
            choices=[
                SelectChoice("", lazy(N_("不要求"))),
                *_choices({one.value: ROLE_LABELS[one] for one in sorted(MAY_TAKE[_name])}),
            ],
        ),
    )
    setattr(RuleForm, f"{_name.value}_days", IntegerField(lazy(N_("时限")), [Optional(), NumberRange(1, 250)]))
    if _name in SIGNED:
        setattr(
            RuleForm,
            f"{_name.value}_supplement_days",
            IntegerField(lazy(N_("补正时限")), [Optional(), NumberRange(1, 250)], default=5),
        )


def _written(fact: str, value: Any) -> str:
    """``value`` as ``_read`` takes it back: figures without thousands, which would be taken for a list."""
    if isinstance(value, list | tuple):
        return ", ".join(_written(fact, one) for one in value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)
    return rules.value_words(fact, value)


def filled(row: ApprovalRule, effective_from: date) -> dict[str, Any]:
    """What the form of the next version starts from: the newest one."""
    data: dict[str, Any] = {
        "code": row.code,
        "name": _(row.name),
        "basis": "",
        "effective_from": effective_from,
        "priority": row.priority,
        "outcome": row.outcome,
        "reason": row.reason,
        "answer_limit": row.ending.get("limit"),
        "answer_unit": row.ending.get("unit", Unit.WORKING_DAYS.value),
        "then": row.ending.get("then", Then.CASE.value),
        "groups": [
            {"rows": [{"fact": one.fact, "op": one.op, "value": _written(one.fact, one.value)} for one in rows]}
            for rows in rules.groups(row.condition)
        ],
    }
    for name in StepName:
        data[f"{name.value}_supplement_days"] = 5
    own = [step for step in row.steps if step["name"] in STEP_LABELS and "days" in step and "replace" not in step]
    more = [step for step in row.steps if step not in own]
    data["more_steps"] = json.dumps(more, ensure_ascii=False, indent=1) if more else ""
    for step in own:
        data[f"{step['name']}_role"] = step["role"]
        data[f"{step['name']}_days"] = step["days"]
        data[f"{step['name']}_supplement_days"] = step.get("supplement_days", 5)
    return data
