"""Assessment formulas in words: their parts as rows of tables, and what one changes against another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from console.words import evidence
from console.words.texts import _, number, percent
from providers.assessment import ROLE_LABELS, Criterion, Formula, Grade, arithmetic, records, registry
from providers.incident_terms import Limit
from quota.errors import N_

PARTS = {"month": N_("月度监测"), "quarter": N_("季度评分"), "year_end": N_("年终评审")}
SPANS = {"month": N_("月"), "quarter": N_("季")}


@dataclass(frozen=True)
class FormulaTables:
    """A formula as tables. ``rows``: indicator, explanation, role, weight, limits; ``grades``: grade, floor, payment share;
    ``limits``: level, to respond, to recover; ``tickets``: level, to answer, to solve; ``rest``: label and text of what is said in a line."""

    rows: list[list[str]]
    grades: list[list[str]]
    limits: list[list[str]]
    tickets: list[list[str]]
    consequences: list[str]
    rest: list[tuple[str, str]]


def told(formula: Formula) -> FormulaTables:
    return FormulaTables(
        [
            [
                _(formula.label(one.indicator)),
                _(one.explanation or _explained(one.source)),
                _(ROLE_LABELS[one.role]),
                number(one.weight),
                limits(one),
            ]
            for one in formula.criteria
        ],
        [
            [_(formula.grade_label(grade)), number(floor), _share(formula.paid(grade))]
            for floor, grade in [*formula.grades, (None, Grade.FAIL)]
        ],
        _levels(formula.incidents.limits),
        _levels(formula.tickets.limits),
        [consequence(formula, place) for place in range(len(formula.consequences))],
        _rest(formula),
    )


def _levels(given: Mapping[int, Limit]) -> list[list[str]]:
    return [
        [_("%(level)s 级", level=level), _allowed(limit.respond), _allowed(limit.recover)]
        for level, limit in sorted(given.items())
    ]


def _explained(code: str) -> str:
    known = registry.find(code)
    return known.explanation if known is not None else ""


def limits(one: Criterion) -> str:
    """A criterion's limits and terms in words; those that are not known here by their names. What it is measured by is said
    where that was chosen, whose rows, where it is an item of the city's own."""
    known, gathered = arithmetic.measure(one.source, one.measure), registry.find(one.source)
    said = [str(_("依据：%(name)s", name=_(registry.label(one.evidence))))] if one.evidence else []
    if known is not None:
        said += [_(known.label)] if known.label else []
        said += [
            f"{_(limit.label)} {evidence.figure(one.limits.get(limit.name), limit.unit)}"
            for limit in known.limits
            if not limit.optional or limit.name in one.limits
        ]
    else:
        said += [f"{name} {figure}" for name, figure in one.limits.items()]
    for term in gathered.terms if gathered is not None and not one.evidence else ():
        value = one.terms.get(term.name, term.default)
        if isinstance(value, tuple):
            said.append(f"{_(term.label)} " + _("、").join(_(term.choices.get(code, code)) for code in value))
        else:
            said.append(f"{_(term.label)} {evidence.figure(value, term.unit)}")
    return _("；").join(said)


def consequence(formula: Formula, place: int) -> str:
    """One consequence as a sentence."""
    one = formula.consequences[place]
    params = {
        "times": one.times,
        "span": _(SPANS[one.length]),
        "grade": _(formula.grade_label(one.grade)),
        "text": one.text,
    }
    if one.running:
        return str(_("连续 %(times)s %(span)s为“%(grade)s”或更差：%(text)s", **params))
    return str(_("一年内 %(times)s %(span)s为“%(grade)s”或更差：%(text)s", **params))


def _rest(formula: Formula) -> list[tuple[str, str]]:
    vetoes = formula.vetoes if formula.vetoes is not None else dict.fromkeys(_registered(), "")
    return [
        (
            _("评总分的最低权重"),
            _("%(least)s（共 %(whole)s 的 %(share)s%%）", least=number(formula.least), whole=number(formula.weight),
              share=number(formula.least_share)),
        ),
        (_("一票否决"), _("、").join(_(label or records.kind(code).label) for code, label in vetoes.items()) or "—"),
        (
            _("年度构成"),
            _("；").join(f"{_(PARTS[part])} {percent(float(100 * share))}" for part, share in formula.shares.items() if share),
        ),
        (_("公示与申诉"), _("%(days)s 个工作日", days=formula.days.publicity)),
        (_("裁定申诉"), _("%(days)s 个工作日", days=formula.days.ruling)),
        (_("维护提前公告"), _("%(days)s 个工作日", days=formula.incidents.announced_days)),
        (_("运维请求的答复与确认"), _("%(days)s 个工作日", days=formula.tickets.confirm_days)),
    ]  # fmt: skip


def _registered() -> Iterator[str]:
    return (kind.code for kind in registry.record_kinds() if kind.veto)


def _share(share: Decimal | None) -> str:
    return "—" if share is None else percent(float(share))


def _allowed(allowed: timedelta | int) -> str:
    if isinstance(allowed, int):
        return str(_("%(days)s 个工作日", days=allowed))
    minutes = int(allowed.total_seconds()) // 60
    return (
        str(_("%(hours)s 小时", hours=minutes // 60))
        if minutes % 60 == 0
        else str(_("%(minutes)s 分钟", minutes=minutes))
    )


def differences(before: Formula, after: Formula) -> list[list[str]]:
    """What ``after`` changes: what of it, before, after."""
    old, new = told(before), told(after)
    found = list(_changed({row[0]: _criterion(row) for row in old.rows}, {row[0]: _criterion(row) for row in new.rows}))
    found += _changed(
        {row[0]: " · ".join(row[1:]) for row in old.grades}, {row[0]: " · ".join(row[1:]) for row in new.grades}
    )
    for was, will in ((old.limits, new.limits), (old.tickets, new.tickets)):
        found += _changed({row[0]: " · ".join(row[1:]) for row in was}, {row[0]: " · ".join(row[1:]) for row in will})
    found += _changed(dict(old.rest), dict(new.rest))
    found += _changed({_("后果"): "；".join(old.consequences)}, {_("后果"): "；".join(new.consequences)})
    return found


def _criterion(row: list[str]) -> str:
    return " · ".join([f"{row[2]} {row[3]}", *filter(None, row[4:])])


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[list[str]]:
    for name in [*after, *(name for name in before if name not in after)]:
        if before.get(name) != after.get(name):
            yield [name, before.get(name) or "—", after.get(name) or "—"]
