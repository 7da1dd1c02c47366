"""The form of a policy's next version: its rules, how it sizes, and its exceptions; filled with the version before.

Rules are rows of fields: whatever a policy can say is said without writing JSON, and without scripts. A row is dropped by
its tick or by leaving its class empty, moved by its number, and belongs to the whole city or to one exception. What the
built-in policy has and this one has not is offered to be taken over.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from dataclasses import fields as dataclass_fields
from datetime import date
from typing import Any

from flask_wtf import FlaskForm
from sqlalchemy import select
from werkzeug.datastructures import MultiDict
from wtforms import (
    BooleanField,
    FloatField,
    IntegerField,
    SelectField,
    SelectMultipleField,
    StringField,
    TextAreaField,
)
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, NumberRange, Optional
from wtforms.widgets import CheckboxInput, ListWidget

from console import choices
from console.choices import ChoicesField, Choosable
from console.forms import DateField
from console.pages.judging import growth_forms, sizing_forms
from console.words import KINDS, MISSING_LABELS, _, lazy, policies, sentence
from metering import judging
from metering.judging import (
    COMPARE,
    GROWS,
    LABELS,
    MACHINES,
    MOST_MONTHS,
    SAFE_COVERAGE,
    SIGNS,
    VERDICTS,
    Condition,
    DeliveredTerms,
    GrowthTerms,
    Policy,
    PolicyRule,
    Section,
    SurplusTerms,
    Verdict,
    WholeLevels,
    default,
    unsafe,
)
from quota.db import Tx
from quota.directory import Department, Pool, System, mergers
from quota.errors import N_
from quota.requests import PURPOSES

SLOT = re.compile(r"s(\d{1,2})_name")
"""The field that names an exception."""
ROW = re.compile(r"r(\d{1,2})_verdict")
"""The field that says what a rule leads to."""
CONDITION = re.compile(r"r(\d{1,2})_c(\d{1,2})_figure")

LEVELS = (1, 2, 3, 4, 5)
STEP = 10
"""Between the numbers of two rules, so that one fits in."""

OF_KINDS = [(key, KINDS[key]) for key in (*MACHINES, *(key for key in KINDS if key not in MACHINES))]
"""Kinds as the built-in policy lists them, so that what is not touched stays what it was to the letter."""

SPARE, OWN, BEFORE = "spare", "own", "before"
EXTENT = {
    "": N_("与全市相同"),
    SPARE: N_("只扩不缩,不回收"),
    BEFORE: N_("先按本例外的规则,其余与全市相同"),
    OWN: N_("只按本例外的规则"),
}
"""Which rules hold in an exception."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What the form has room for: conditions of each rule, exceptions, and what may be taken over."""

    conditions: tuple[int, ...]
    exceptions: int
    offered: tuple[PolicyRule, ...]


PERCENT = (InputRequired(lazy("请填写门槛")), NumberRange(0, 100, lazy(N_("0到100"))))
WHOLE_FIELDS = tuple(one.name for one in dataclass_fields(WholeLevels))


def _months(label: str, description: str) -> IntegerField:
    most = NumberRange(0, MOST_MONTHS, lazy(N_("0到12个月")))
    return IntegerField(lazy(label), [InputRequired(lazy(N_("请填写月数"))), most], description=lazy(description))


class NamedByCodeField(ChoicesField):
    """Several of many that a policy names by their codes; none chosen = no matter which."""

    description: Any
    codes: tuple[str, ...] = ()

    def offer(
        self, tx: Tx, among: Choosable, codes: Sequence[str] = (), labels: Mapping[str, str] | None = None
    ) -> None:
        """Let people choose ``among``, ``codes`` of which are chosen so far; ``labels``: code → name, where it is another one."""
        columns = among.selected_columns
        known = {}
        if codes:
            known = {one.code: one for one in tx.execute(among.where(columns["code"].in_(codes)))}
        if self.sent is None:
            self.data = [known[one].id for one in codes if one in known]
        super().offer(tx, among)
        told = {str(known[code].id): name for code, name in (labels or {}).items() if code in known}
        if not self.typed:
            self.choices = [SelectChoice(one.value, told.get(one.value, one.label)) for one in self.choices]
        elif said := [name for code, name in (labels or {}).items() if code in known and name != known[code].name]:
            self.description = _("%(hint)s；%(how)s", hint=self.description, how=_("、").join(said))
        chosen = dict(
            tx.execute(
                among.where(columns["id"].in_(self.data or [])).with_only_columns(columns["id"], columns["code"])
            ).all()
        )
        self.codes = tuple(chosen[one] for one in self.data or () if one in chosen)


class PolicyDraftForm(FlaskForm):  # type: ignore[misc]
    """What every draft asks; ``draft_form`` adds the fields of the rules at hand."""

    effective_from = DateField(lazy("生效日"), [InputRequired(lazy("请填写生效日"))])
    reason = TextAreaField(lazy("修订理由"), [InputRequired(lazy("请写明修订策略的理由")), Length(max=500)])
    hot_level = FloatField(
        lazy(N_("高负载:CPU 或内存不低于(%)")), [InputRequired(lazy("请填写门槛")), NumberRange(1, 100, lazy("1到100"))]
    )
    hot_minutes = IntegerField(
        lazy(N_("高负载:一天累计分钟")),
        [InputRequired(lazy("请填写分钟数")), NumberRange(5, 1440, lazy("5到1440分钟"))],
    )

    low_cpu = FloatField(lazy(N_("利用率低:CPU 均值低于(%)")), [*PERCENT])
    low_memory = FloatField(lazy(N_("利用率低:内存均值低于(%)")), [*PERCENT])
    either = BooleanField(lazy(N_("有一项低即为低（不勾选：两项都低才算）")))
    high_cpu = FloatField(lazy(N_("利用率高:CPU 均值高于(%)")), [*PERCENT])
    high_memory = FloatField(lazy(N_("利用率高:内存均值高于(%)")), [*PERCENT])
    covered = FloatField(
        lazy(N_("评判系统所需的采集覆盖率(%)")),
        [InputRequired(lazy("请填写覆盖率")), NumberRange(100 * SAFE_COVERAGE, 100, lazy(N_("50到100")))],
    )
    asleep_days = IntegerField(
        lazy(N_("疑似僵尸:无业务登录的天数")),
        [InputRequired(lazy("请填写天数")), NumberRange(1, 3660, lazy(N_("1到3660天")))],
    )
    least_active = FloatField(lazy(N_("疑似僵尸:月活低于注册用户的(%)")), [*PERCENT])
    low_months = _months(N_("利用率低:连续自然月数"), N_("每个月都低才算低，缺数据的月不算低；0为只看评估窗口"))
    high_months = _months(N_("利用率高:连续自然月数"), N_("每个月都高才算高；0为只看评估窗口"))

    deserted_months = _months(
        N_("疑似僵尸:月活不足的连续自然月数"), N_("每个月末实测的月活都不足才算，没有实测的月不算；0为只看最近的数")
    )

    surplus_allowed = FloatField(
        lazy(N_("单位允许的冗余(%)")),
        [Optional(), NumberRange(0, 100, lazy(N_("0到100")))],
        description=lazy(N_("评估结论可腾出的 vCPU 占单位全部 vCPU 的比例；留空则不提醒")),
    )
    surplus_held_months = _months(N_("超出允许的冗余:连续自然月数"), N_("每个月末评估都超出的才提醒；0为只看最近评估"))
    surplus_months = IntegerField(
        lazy(N_("提醒后自行核减的月数")),
        [InputRequired(lazy(N_("请填写月数"))), NumberRange(1, 24, lazy(N_("1到24个月")))],
    )
    surplus_urge_days = IntegerField(
        lazy(N_("督促后核减的工作日数")),
        [InputRequired(lazy(N_("请填写工作日数"))), NumberRange(1, 250, lazy(N_("1到250个工作日")))],
    )

    delivered_days = IntegerField(
        lazy(N_("交付后征询使用情况的天数")),
        [Optional(), NumberRange(1, 365, lazy(N_("1到365天")))],
        description=lazy(
            N_("交付满若干天仍无评估表明在用的，逐台征询使用单位；留空则不征询。没有数据不等于没有使用，不据此收回")
        ),
    )
    delivered_answer_days = IntegerField(
        lazy(N_("答复的工作日数")),
        [InputRequired(lazy(N_("请填写工作日数"))), NumberRange(1, 90, lazy(N_("1到90个工作日")))],
    )

    layout = Layout((), 0, ())

    def whole_fields(self) -> tuple[list[Any], ...]:
        """The fields of systems and departments as wholes, line by line."""
        lines = (("low_cpu", "low_memory"), ("either",), ("high_cpu", "high_memory"), ("low_months", "high_months"), ("covered",), ("asleep_days", "least_active"), ("deserted_months",), ("surplus_allowed", "surplus_held_months"), ("surplus_months", "surplus_urge_days"), ("delivered_days", "delivered_answer_days"))  # fmt: skip
        return tuple([self[name] for name in line] for line in lines)

    def wholes(self) -> WholeLevels | None:
        """What was said of them; None where it makes no sense, told beside a field."""
        told = {name: self[name].data for name in WHOLE_FIELDS}
        if any(self[name].errors for name in WHOLE_FIELDS):
            return None
        for low, high in (("low_cpu", "high_cpu"), ("low_memory", "high_memory")):
            if told[low] > told[high]:
                _say(self[low], _("低的门槛不得高于高的门槛"))
                return None
        shares = {name: round(told[name] / 100, 6) for name in ("covered", "least_active")}
        return WholeLevels(**{**told, **shares})

    def sized(self) -> list[Any]:
        """The fields of the city's sizing."""
        return sizing_forms.fields_of(self, "sizing")

    def growths(self) -> Iterator[tuple[Any, list[Any]]]:
        """The fields of growth within the day beside CPU's, gauge by gauge."""
        return growth_forms.rows(self)

    def blocks(self) -> Iterator[dict[str, Any]]:
        """Of each rule: its fields, its sentence as it stands, and whether it should be open."""
        for i, count in enumerate(self.layout.conditions):
            head = [self[f"r{i}_{name}"] for name in ("verdict", "days", "coverage", "order", "scope")]
            rows = [
                [self[f"r{i}_c{j}_{name}"] for name in ("figure", "op", "threshold", "missing")] for j in range(count)
            ]
            kinds, drop = self[f"r{i}_kinds"], self[f"r{i}_drop"]
            wrong = any(one.errors for one in [*head, kinds, *(each for row in rows for each in row)])
            yield {
                "head": head,
                "kinds": kinds,
                "rows": rows,
                "drop": drop,
                "said": self._said(i),
                "open": wrong or not self[f"r{i}_verdict"].data,
                "wrong": wrong,
                "number": i,
            }

    def slots(self) -> list[dict[str, Any]]:
        """The fields of each exception."""
        return [
            {
                "name": self[f"s{k}_name"],
                "ticks": [self[f"s{k}_{name}"] for name in ("pools", "zones", "levels", "kinds", "purposes")],
                "named": [self[f"s{k}_{name}"] for name in ("departments", "systems", "tags")],
                "rules": self[f"s{k}_rules"],
                "sizing": sizing_forms.fields_of(self, f"s{k}_sizing"),
                "growing": self[f"s{k}_growing"],
                "growths": list(growth_forms.rows(self, f"s{k}_g")),
            }
            for k in range(self.layout.exceptions)
        ]

    def takings(self) -> list[Any]:
        """A tick for each built-in rule that this policy has not."""
        return [self[f"t{i}"] for i in range(len(self.layout.offered))]

    def policy(self, before: Policy) -> Policy | None:
        """The policy that was written; None where something of it makes no sense, told beside each field."""
        rules: dict[str, list[tuple[int, int, PolicyRule]]] = {}
        for i in range(len(self.layout.conditions)):
            if (one := self._rule(i)) is not None:
                scope = self[f"r{i}_scope"].data or ""
                rules.setdefault(scope, []).append((self[f"r{i}_order"].data or 0, i, one))
        own = {scope: tuple(one for _order, _i, one in sorted(many)) for scope, many in rules.items()}
        city = own.get("", ())
        if not city:
            self.form_errors: list[str] = [_("全市至少要有一条规则")]
        sizing = sizing_forms.read(self, "sizing")
        sections = self._sections(own, city, before)
        wholes, growths = self.wholes(), growth_forms.read(self, before.growths)
        if wholes is None or self.errors or self.form_errors:
            return None
        return replace(
            before,
            effective_from=self.effective_from.data,
            hot_level=float(self.hot_level.data),
            hot_minutes=int(self.hot_minutes.data),
            sizing=sizing,
            rules=city,
            sections=sections,
            wholes=wholes,
            growths=growths,
            surplus=SurplusTerms(
                self.surplus_allowed.data,
                self.surplus_months.data,
                self.surplus_urge_days.data,
                self.surplus_held_months.data,
            ),
            delivered=DeliveredTerms(self.delivered_days.data, self.delivered_answer_days.data),
        )

    def _rule(self, i: int) -> PolicyRule | None:
        """The rule of row i; None where it is dropped, or wrong."""
        if not self[f"r{i}_verdict"].data or self[f"r{i}_drop"].data:
            return None
        if any(field.errors for name, field in self._fields.items() if name.startswith(f"r{i}_")):
            return None  # told already
        conditions = []
        for j in range(self.layout.conditions[i]):
            figure, op, threshold, missing = (
                self[f"r{i}_c{j}_{name}"] for name in ("figure", "op", "threshold", "missing")
            )
            if not figure.data:
                continue
            if threshold.data is None:
                _say(threshold, _("请填写门槛"))
                continue
            stored = float(threshold.data) / judging.figure(figure.data).factor
            conditions.append(Condition(figure.data, op.data, stored, missing.data))
        days, coverage, kinds = (self[f"r{i}_{name}"] for name in ("days", "coverage", "kinds"))
        if not conditions and not any(self[f"r{i}_c{j}_threshold"].errors for j in range(self.layout.conditions[i])):
            _say(self[f"r{i}_c0_figure"], _("一条规则至少要有一个条件"))
        if days.data is None:
            _say(days, _("请填写天数"))
        if coverage.data is None:
            _say(coverage, _("请填写覆盖率"))
        if not kinds.data:
            _say(kinds, _("请选择适用的类别"))
        if not conditions or days.data is None or coverage.data is None or not kinds.data:
            return None
        made = PolicyRule(
            Verdict(self[f"r{i}_verdict"].data), days.data, tuple(conditions), tuple(kinds.data), coverage.data / 100
        )
        for where, message in unsafe(made):
            _say(self[f"r{i}_{where}"], sentence(message, {}))
        return made

    def _said(self, i: int) -> tuple[str, str]:
        """Class and sentence of row i, as far as it says something."""
        verdict = self[f"r{i}_verdict"].data
        label = _(LABELS[Verdict(verdict)]) if verdict in LABELS else _("新规则")
        parts = []
        for j in range(self.layout.conditions[i]):
            figure, op, value = (self[f"r{i}_c{j}_{name}"].data for name in ("figure", "op", "threshold"))
            if figure and value is not None:
                about = judging.figure(figure)
                parts.append(f"{_(about.label)} {SIGNS.get(op, op)} {value:g}{about.unit}")
        chosen = [_(KINDS[each]) for each in self[f"r{i}_kinds"].data or () if each in KINDS]
        scope = self[f"r{i}_scope"].data
        where = [_("例外 %(n)s", n=int(scope) + 1)] if scope and scope.isdecimal() else []
        return label, " · ".join([*where, _("、").join(parts), _("、").join(chosen)]).strip(" ·")

    def _sections(
        self, own: Mapping[str, tuple[PolicyRule, ...]], city: tuple[PolicyRule, ...], before: Policy
    ) -> tuple[Section, ...]:
        found = []
        names: set[str] = set()
        for k in range(self.layout.exceptions):
            named = self[f"s{k}_name"]
            name = (named.data or "").strip()
            mine = own.get(str(k), ())
            if not name:
                for i in range(len(self.layout.conditions)):
                    field = self[f"r{i}_scope"]
                    if mine and field.data == str(k) and not self[f"r{i}_drop"].data:
                        _say(field, _("该例外没有名称,不会保留"))
                continue
            pools, levels, kinds, zones, purposes = (
                tuple(self[f"s{k}_{each}"].data or ()) for each in ("pools", "levels", "kinds", "zones", "purposes")
            )
            departments, systems = (self[f"s{k}_{each}"].codes for each in ("departments", "systems"))
            tags = tuple(dict.fromkeys(self[f"s{k}_tags"].data.split())) if self[f"s{k}_tags"].data else ()
            extent = self[f"s{k}_rules"].data or ""
            sizing = sizing_forms.read(self, f"s{k}_sizing")
            growths = None
            if self[f"s{k}_growing"].data:
                growths = growth_forms.read(self, growths_at(before, k), f"s{k}_g")
            if not (pools or departments or levels or kinds or systems or zones or tags or purposes):
                _say(named, _("例外须指明资源池、单位、信息系统、等保级别、类别、网络区、标签或使用性质"))
            if not (self[f"s{k}_sizing"].data or extent or growths is not None):
                _say(named, _("例外须另定规格方法或当日扩容，或另有规则"))
            if name in names:
                _say(named, _("两个例外不能同名"))
            names.add(name)
            if extent in (OWN, BEFORE) and not mine:
                _say(self[f"s{k}_rules"], _("没有规则归于本例外"))
            if mine and extent not in (OWN, BEFORE):
                _say(self[f"s{k}_rules"], _("有规则归于本例外,请选择怎样适用"))
            if named.errors or self[f"s{k}_rules"].errors or not (extent or sizing or growths is not None):
                continue
            growing = tuple(one for one in city if one.verdict in GROWS)
            rules = {"": (), SPARE: growing, OWN: mine, BEFORE: (*mine, *city)}[extent]
            if extent == SPARE and not rules:
                _say(self[f"s{k}_rules"], _("全市没有扩容的规则"))
                continue
            found.append(
                Section(
                    name,
                    pools,
                    departments,
                    tuple(map(int, levels)),
                    kinds,
                    rules,
                    sizing,
                    systems,
                    zones,
                    tags,
                    purposes,
                    growths,
                )
            )
        return tuple(found)


def growths_at(before: Policy, k: int) -> tuple[GrowthTerms, ...]:
    """What the fields of exception ``k`` are filled with: its own terms, else the city's."""
    return before.growths_of(k if k < len(before.sections) else -1)


def _say(field: Any, text: str) -> None:
    field.errors = [*field.errors, text]


def missing_rules(before: Policy) -> tuple[PolicyRule, ...]:
    """Rules of the built-in policy that ``before`` has nothing of: of the same class, about the same figures, for these
    kinds. A house keeps the policy of the day it was founded; what was added since is taken over by hand."""

    def has(rule: PolicyRule) -> bool:
        figures = {each.figure for each in rule.conditions}
        return any(
            one.verdict is rule.verdict
            and {each.figure for each in one.conditions} == figures
            and set(rule.kinds) <= set(one.kinds)
            for one in before.rules
        )

    return tuple(one for one in default().rules if not has(one))


def rows_of(before: Policy) -> list[tuple[str, PolicyRule]]:
    """(exception or "", rule) row by row: the city's rules, then those that exceptions have of their own."""
    rows = [("", one) for one in before.rules]
    for k, section in enumerate(before.sections):
        rows += [(str(k), one) for one in _own(section, before)[1]]
    return rows


def _own(section: Section, before: Policy) -> tuple[str, tuple[PolicyRule, ...]]:
    """Which rules hold in an exception, and those that are its own."""
    if not section.rules:
        return "", ()
    if section.rules == tuple(one for one in before.rules if one.verdict in GROWS):
        return SPARE, ()
    here = len(section.rules) - len(before.rules)
    if here > 0 and section.rules[here:] == before.rules:
        return BEFORE, section.rules[:here]
    return OWN, section.rules


def sent(before: Policy, form: MultiDict[str, str]) -> MultiDict[str, str]:
    """What was sent, with the ticked built-in rules as rows of their own: behind the last one of their class."""
    taken = MultiDict(form)
    offered = missing_rules(before)
    for at, one in enumerate(offered):
        if taken.pop(f"t{at}", None) is None:
            continue
        numbers = [int(found[1]) for found in map(ROW.fullmatch, taken) if found]
        order = [
            _number(taken.get(f"r{i}_order"))
            for i in numbers
            if not taken.get(f"r{i}_scope")
            and taken.get(f"r{i}_verdict") in VERDICTS
            and VERDICTS.index(Verdict(taken[f"r{i}_verdict"])) <= VERDICTS.index(one.verdict)
        ]
        for name, values in _row(max(numbers, default=-1) + 1, one, max(order, default=0) + 1).items():
            taken.setlist(name, values)
    return taken


def _number(text: str | None) -> int:
    return int(text) if text and text.strip().isdecimal() else 0


def _row(i: int, rule: PolicyRule, order: int) -> dict[str, list[str]]:
    told = {
        f"r{i}_verdict": [rule.verdict.value],
        f"r{i}_days": [str(rule.days)],
        f"r{i}_coverage": [f"{100 * rule.coverage:g}"],
        f"r{i}_order": [str(order)],
        f"r{i}_scope": [""],
        f"r{i}_kinds": list(rule.kinds),
    }
    for j, each in enumerate(rule.conditions):
        told |= {
            f"r{i}_c{j}_figure": [each.figure],
            f"r{i}_c{j}_op": [each.op],
            f"r{i}_c{j}_threshold": [f"{judging.figure(each.figure).shown(each.threshold):g}"],
            f"r{i}_c{j}_missing": [each.missing],
        }
    return told


def layout(before: Policy, names: Iterable[str] = (), more: str = "") -> Layout:
    """How many fields the form should have: for what ``before`` says, or for what was sent (``names``); ``more``: one
    more rule ("rule"), exception ("exception") or condition of rule i ("c<i>")."""
    given = list(names)
    rows = {int(found[1]) + 1 for found in map(ROW.fullmatch, given) if found}
    slots = {int(found[1]) + 1 for found in map(SLOT.fullmatch, given) if found}
    if rows or slots:
        conditions = [0] * max(rows, default=0)
        for found in map(CONDITION.fullmatch, given):
            if found and int(found[1]) < len(conditions):
                conditions[int(found[1])] = max(conditions[int(found[1])], int(found[2]) + 1)
        conditions = [max(one, 1) for one in conditions]
        exceptions = max(slots, default=0)
    else:
        conditions = [len(one.conditions) for _scope, one in rows_of(before)]
        exceptions = len(before.sections) + 1
    if more == "rule":
        conditions.append(2)
    elif more == "exception":
        exceptions += 1
    elif more[:1] == "c" and more[1:].isdecimal() and int(more[1:]) < len(conditions):
        conditions[int(more[1:])] += 1
    return Layout(tuple(conditions), exceptions, missing_rules(before))


def departments(tx: Tx, codes: Collection[str] | None = None) -> dict[str, str]:
    """Code → name of every department (of ``codes`` alone), by name; of a merged one, which a policy may go on naming, with its
    successor's."""
    query = select(Department.id, Department.code, Department.name).order_by(Department.name)
    rows = tx.execute(query if codes is None else query.where(Department.code.in_(codes))).all()
    successors = mergers(tx).successors() if rows else {}
    heirs = {successors[id_] for id_, _code, _name in rows if id_ in successors}
    names = dict(tx.execute(select(Department.id, Department.name).where(Department.id.in_(heirs))).all())
    return {
        code: _("%(name)s(已并入%(successor)s)", name=name, successor=names[successors[id_]])
        if id_ in successors
        else name
        for id_, code, name in rows
    }


def _exception_fields(k: int, before: Policy, offered: Mapping[str, list[tuple[str, str]]]) -> dict[str, Any]:
    """The fields of exception ``k``; ``offered``: what it may be about, a list each."""
    old = before.sections[k] if k < len(before.sections) else None
    return {
        f"s{k}_name": StringField(lazy("例外名称"), [Optional(), Length(max=32)], default=old.name if old else ""),
        f"s{k}_pools": _ticks(lazy("资源池"), offered["pools"], old.pools if old else ()),
        f"s{k}_departments": NamedByCodeField(lazy("单位(含下级)"), [Optional()], description=_("不选则不限")),
        f"s{k}_systems": NamedByCodeField(lazy("信息系统"), [Optional()], description=_("不选则不限")),
        f"s{k}_zones": _ticks(lazy("网络区"), offered["zones"], old.zones if old else ()),
        f"s{k}_purposes": _ticks(
            lazy("使用性质"), [(one, _(label)) for one, label in PURPOSES.items()], old.purposes if old else ()
        ),
        f"s{k}_tags": StringField(
            lazy(N_("云侧标签")),
            [Optional(), Length(max=500)],
            default=" ".join(old.tags) if old else "",
            description=_("写“名”或“名=值”，多个以空格分开；有其一即适用"),
        ),
        f"s{k}_levels": _ticks(
            lazy("等保级别"),
            [(str(one), str(one)) for one in LEVELS],
            [str(x) for x in (old.levels if old else ())],
        ),
        f"s{k}_kinds": _ticks(lazy("类别"), [(key, _(label)) for key, label in OF_KINDS], old.kinds if old else ()),
        f"s{k}_rules": SelectField(
            lazy(N_("规则")),
            [Optional()],
            choices=[SelectChoice(key, _(label)) for key, label in EXTENT.items()],
            default=_own(old, before)[0] if old else "",
        ),
        **sizing_forms.sizing_fields(f"s{k}_sizing", old.sizing if old else "", optional=True),
        f"s{k}_growing": BooleanField(
            lazy(N_("当日扩容另定（不勾选：与全市相同）")), default=old is not None and old.growths is not None
        ),
        **growth_forms.growth_fields(growths_at(before, k), f"s{k}_g"),
    }


def draft_form(
    tx: Tx, before: Policy, first: date, room: Layout, form: MultiDict[str, str] | None = None, *, posted: bool = True
) -> PolicyDraftForm:
    """The form filled with ``before``, to hold from ``first`` on, or with what was sent; not ``posted``: as it is shown first."""
    rows = rows_of(before)
    fields: dict[str, Any] = {
        "layout": room,
        **sizing_forms.sizing_fields("sizing", before.sizing),
        **growth_forms.growth_fields(before.growths),
    }
    scopes = [("", _("全市")), *((str(k), _("例外 %(n)s", n=k + 1)) for k in range(room.exceptions))]
    for i, count in enumerate(room.conditions):
        fields |= _rule_fields(i, count, scopes, *(rows[i] if i < len(rows) else ("", None)))
    for i, one in enumerate(room.offered):
        fields[f"t{i}"] = BooleanField(f"{policies.rule(one)[0]} · {policies.rule(one)[1]} · {policies.kinds(one)}")
    there = list(tx.scalars(select(Pool).where(Pool.active).order_by(Pool.name)))
    pools = [(one.code, one.name) for one in there]
    zones = [(one, one) for one in sorted({one.zone for one in there} | {x for s in before.sections for x in s.zones})]
    offered = {"pools": pools, "zones": zones}
    for k in range(room.exceptions):
        fields |= _exception_fields(k, before, offered)
    made = type("Draft", (PolicyDraftForm,), fields)
    wholes = asdict(before.wholes)
    shares = {name: round(100 * wholes[name], 4) for name in ("covered", "least_active")}
    surplus = {f"surplus_{name}": value for name, value in asdict(before.surplus).items()}
    delivered = {f"delivered_{name}": value for name, value in asdict(before.delivered).items()}
    filled = {
        "effective_from": first,
        "hot_level": before.hot_level,
        "hot_minutes": before.hot_minutes,
        **wholes,
        **surplus,
        **delivered,
        **shares,
    }
    draft: PolicyDraftForm = made(**filled) if form is None and posted else made(form, **filled)
    for k in range(room.exceptions):
        old = before.sections[k] if k < len(before.sections) else None
        merged = departments(tx, old.departments) if old else {}
        draft[f"s{k}_departments"].offer(tx, choices.departments(ended=True), old.departments if old else (), merged)
        every = select(System.id, System.code, System.name)
        draft[f"s{k}_systems"].offer(tx, every, old.systems if old else ())
    return draft


def _rule_fields(
    i: int, count: int, scopes: Sequence[tuple[str, str]], scope: str, rule: PolicyRule | None
) -> dict[str, Any]:
    verdicts = [(each.value, _(LABELS[each])) for each in VERDICTS if each not in (Verdict.UNKNOWN, Verdict.UNJUDGED)]
    fields: dict[str, Any] = {
        f"r{i}_verdict": SelectField(
            lazy(N_("结论")),
            [Optional()],
            choices=[SelectChoice("", _("(不用本条)")), *(SelectChoice(*each) for each in verdicts)],
            default=rule.verdict.value if rule else "",
        ),
        f"r{i}_days": IntegerField(
            lazy("窗口天数"),
            [Optional(), NumberRange(1, 366, lazy("1到366天"))],
            default=rule.days if rule else 30,
        ),
        f"r{i}_coverage": FloatField(
            lazy("最低覆盖率(%)"),
            [Optional(), NumberRange(0, 100, lazy("0到100"))],
            default=round(100 * rule.coverage, 2) if rule else 90,
        ),
        f"r{i}_order": IntegerField(
            lazy(N_("次序(小的在先)")), [Optional(), NumberRange(0, 9999, lazy("0到9999"))], default=STEP * (i + 1)
        ),
        f"r{i}_scope": SelectField(
            lazy(N_("归于")), [Optional()], choices=[SelectChoice(*each) for each in scopes], default=scope
        ),
        f"r{i}_kinds": _ticks(lazy("类别"), [(key, _(label)) for key, label in OF_KINDS], rule.kinds if rule else ()),
        f"r{i}_drop": BooleanField(lazy(N_("删去本条"))),
    }
    figures = [
        (each.code, f"{_(each.label)}{f' ({each.unit.strip()})' if each.unit.strip() else ''}")
        for each in judging.offered()
    ]
    for j in range(count):
        each = rule.conditions[j] if rule and j < len(rule.conditions) else None
        factor = judging.figure(each.figure).factor if each else 1.0
        named = {"n": i + 1, "row": j + 1}
        fields |= {
            f"r{i}_c{j}_figure": SelectField(
                _("规则 %(n)s 条件 %(row)s:指标", **named),
                [Optional()],
                choices=[SelectChoice("", "—"), *(SelectChoice(*x) for x in figures)],
                default=each.figure if each else "",
            ),
            f"r{i}_c{j}_op": SelectField(
                _("规则 %(n)s 条件 %(row)s:比较", **named),
                choices=[SelectChoice(op, SIGNS.get(op, op)) for op in COMPARE],
                default=each.op if each else "<",
            ),
            f"r{i}_c{j}_threshold": FloatField(
                _("规则 %(n)s 条件 %(row)s:门槛", **named),
                [Optional(), NumberRange(0, 1_000_000, lazy("不小于0的数"))],
                default=round(each.threshold * factor, 4) if each else None,
            ),
            f"r{i}_c{j}_missing": SelectField(
                _("规则 %(n)s 条件 %(row)s:没有数据时", **named),
                choices=[
                    SelectChoice(key, _("没有数据时%(what)s", what=_(label))) for key, label in MISSING_LABELS.items()
                ],
                default=each.missing if each else "unknown",
            ),
        }
    return fields


def _ticks(label: Any, options: Sequence[tuple[str, str]], chosen: Sequence[str]) -> SelectMultipleField:
    """A tick for each option; none ticked = no matter which."""
    return SelectMultipleField(
        label,
        [Optional()],
        choices=[SelectChoice(*one) for one in options],
        default=list(chosen),
        widget=ListWidget(prefix_label=False),
        option_widget=CheckboxInput(),
    )
