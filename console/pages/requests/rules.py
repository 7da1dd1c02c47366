"""Approval rules: who must sign what, in words; the authority enacts new versions after seeing what they would change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from flask import Blueprint, flash, g, redirect, render_template, request, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response

from console import frame
from console.access import BUSINESS, allow, proven
from console.book import reading, settings, transaction
from console.forms import hang, refuse_unfilled
from console.founding import Look, checklist
from console.lists import Column, Filter, Rows, listing
from console.pages.requests.rule_forms import CHOICES, FITTING, RuleForm, filled
from console.programs import Given, listed, takes
from console.words import KINDS, OPERATOR_LABELS, _
from console.words import rules as rule_words
from providers import orders
from quota.actors import Role
from quota.db import Tx, among
from quota.errors import N_, Conflict, Invalid, NotFound
from quota.requests import (
    FACTS,
    KIND_LABELS,
    STEP_LABELS,
    ApprovalRule,
    Judgement,
    Rule,
    RuleOutcome,
    Trial,
    proposals,
    rulebook,
    trial,
)

blueprint = Blueprint("rules", __name__, url_prefix="/rules")
frame.page("requests", "rules.index", N_("审批规则"), order=50)

CURRENT = "current"
TRIED_DAYS = 90
SHOWN = 10
"""Requests of the past that a trial names."""
STATES = {
    CURRENT: N_("现行与待生效"),
    "rule_in_force": N_("现行"),
    "rule_coming": N_("待生效"),
    "rule_superseded": N_("已被替代"),
    "rule_repealed": N_("已废止"),
}


def standings(versions: Sequence[ApprovalRule], on: date) -> dict[int, str]:
    """Id → state of each version on ``on``: a code's newest effective one is in force, or repeals the rule."""
    found: dict[int, str] = {}
    by_code: dict[str, list[ApprovalRule]] = defaultdict(list)
    for row in versions:
        by_code[row.code].append(row)
    for rows in by_code.values():
        effective = max((row.version for row in rows if row.effective_from <= on), default=0)
        for row in rows:
            later = [other for other in rows if other.version > row.version]
            if row.version == effective:
                found[row.id] = "rule_repealed" if row.rule().repealed else "rule_in_force"
            elif row.version < effective or any(other.effective_from <= row.effective_from for other in later):
                found[row.id] = "rule_superseded"
            else:
                found[row.id] = "rule_coming"
    return found


def _standings() -> dict[int, str]:
    """The same for every version that there is, looked up once a page."""
    if "rule_standings" not in g:
        g.rule_standings = standings(reading().scalars(select(ApprovalRule)).all(), today())
    known: dict[int, str] = g.rule_standings
    return known


def today() -> date:
    return reading().now.astimezone(settings().zone).date()


def _state_is(query: Rows, value: str) -> Rows:
    wanted = ("rule_in_force", "rule_coming") if value == CURRENT else (value,)
    return query.where(among(ApprovalRule.id, [id_ for id_, state in _standings().items() if state in wanted]))


COLUMNS = [
    Column("name", N_("规则"), lambda r: _(r.name), title=True, sort=ApprovalRule.name,
           href=lambda r: url_for("rules.show", code=r.code)),
    Column("when", N_("适用于"), lambda r: _("；或 ").join(rule_words.condition_words(r.condition))),
    Column("steps", N_("结果"), lambda r: _("；").join(rule_words.result_words(r.rule())) or None),
    Column("priority", N_("优先级"), lambda r: r.priority, sort=ApprovalRule.priority, number=True),
    Column("effective_from", N_("生效日期"), lambda r: r.effective_from, number=True,
           sort=ApprovalRule.effective_from),
    Column("version", N_("版本"), lambda r: f"{r.code}@{r.version}", minor=True),
    Column("state", N_("状态"), lambda r: _standings()[r.id], state=True),
]  # fmt: skip
FILTERS = [
    Filter("q", N_("名称或代码"), lambda q, v: q.where(
        frame.matching(v, ApprovalRule.name, ApprovalRule.code))),
    Filter("state", N_("状态"), _state_is, options=STATES, default=CURRENT),
]  # fmt: skip


@blueprint.get("/")
@allow(*BUSINESS)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    rules = listing(reading(), select(ApprovalRule), COLUMNS, key=ApprovalRule.id, filters=FILTERS, sort="priority")
    return rules.exported("rules") or render_template(
        "rules/index.html", rules=rules, drafts=proposals.waiting(reading())
    )


@blueprint.get("/<code>")
@allow(*BUSINESS)
def show(code: str) -> str:
    versions = _versions(reading(), code)
    known = _standings()
    wanted = request.args.get("version", "")
    row = next((one for one in versions if str(one.version) == wanted), None) or next(
        (one for one in versions if known[one.id] in ("rule_in_force", "rule_repealed")), versions[0]
    )
    return render_template(
        "rules/show.html",
        row=row,
        standing=known[row.id],
        conditions=rule_words.condition_words(row.condition),
        steps=rule_words.result_words(row.rule()),
        versions=versions,
        standings=known,
        history=_history(versions),
    )


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@proven
@takes(RuleForm, sends={"step": "confirm"})
def enact() -> str | Response | tuple[str, int]:
    return _enacted(None)


@blueprint.route("/<code>/enact", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@takes(RuleForm, Given("shown", int, N_("所依据的版本"), required=True), sends={"step": "confirm"})
def renew(code: str) -> str | Response | tuple[str, int]:
    return _enacted(_versions(reading(), code)[0])


def _enacted(newest: ApprovalRule | None) -> str | Response | tuple[str, int]:
    """The form of a rule's next version, what it would change, and, confirmed, its enactment."""
    tomorrow = today() + timedelta(days=1)
    form = RuleForm(data=filled(newest, tomorrow) if newest is not None else {"effective_from": tomorrow})
    shown = _shown_version(newest)
    step = request.form.get("step", "")
    if request.method == "POST" and form.grow(step):
        return _form(form, newest, shown)
    if form.is_submitted():
        refuse_unfilled(form, form.validate())
    if form.validate_on_submit():
        try:
            text = form.text()
            text.sound()
            if step == "confirm":
                _still_newest(text.code, shown)
                with transaction() as tx:
                    made = proposals.draft(tx, [text], reason=text.basis).id
                flash(_("草案已起草并由您签署,另一人签署后按生效日期施行"), "success")
                return redirect(url_for("rule_drafts.show", draft_id=made))
            if step != "edit":
                if text.effective_from < today():
                    raise Invalid("rules.past", N_("规则不能从过去的日期起生效"), field="effective_from")
                rule = text.rule(shown + 1)
                return render_template("rules/check.html", answers=_answers(form, rule), newest=newest, **tried([rule]))
        except (Invalid, Conflict) as refused:
            hang(form, refused)
            if isinstance(refused, Conflict):
                shown = refused.params.get("version", shown)  # the next page is made from the newest one
                return _form(form, newest, shown, 409)
    return _form(form, newest, shown, 422 if form.errors else 200)


def _shown_version(newest: ApprovalRule | None) -> int:
    """The version that the page was made from: the form says so, so that a stale page is refused."""
    latest = newest.version if newest is not None else 0
    text = request.form.get("shown", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else latest


def _form(form: RuleForm, newest: ApprovalRule | None, shown: int, status: int = 200) -> tuple[str, int]:
    page = render_template(
        "rules/enact.html",
        form=form,
        newest=newest,
        shown=shown,
        steps=[(_(STEP_LABELS[name]), *fields) for name, *fields in form.step_fields()],
        kinds=[_(label) for label in KIND_LABELS.values()],
        services=[_(label) for label in KINDS.values()],
        archs=list(CHOICES["arch"]),
        operators=[
            (rule_words.fact_name(name), [_(OPERATOR_LABELS[op]) for op in FITTING[fact.type]])
            for name, fact in FACTS.items()
        ],
    )
    return page, status


def _still_newest(code: str, shown: int) -> None:
    """Raise Conflict where the newest version of the rule is not the one that the page was made from."""
    last = rulebook.newest(reading(), code)
    if last != shown:
        raise Conflict("rules.stale", N_("规则 %(code)s 已有第 %(version)s 版,请核对后再制定"), code=code, version=last)


def tried(rules: Sequence[Rule]) -> dict[str, Any]:
    """What the page of a trial of ``rules`` shows: of the requests of late, and of every kind of request."""
    found = trial(reading(), rules, reading().now - timedelta(days=TRIED_DAYS))
    ends = any(one.outcome is RuleOutcome.END for one in rules)
    return {
        "trial": found,
        "asked_at_once": orders.ended_terms.would_ask(reading(), rules) if ends else None,
        "rows": _rows(found),
        "unsigned": [_(kind.label) for kind in found.unsigned],
        "tried_days": TRIED_DAYS,
    }


def _answers(form: RuleForm, rule: Rule) -> list[tuple[str, str, str]]:
    return [
        (_("规则"), f"{form.name.data}（{rule.code}@{rule.version}）", ""),
        (_("适用于"), _("；或 ").join(rule_words.condition_words(rule.condition)), ""),
        (_("结果"), _("；").join(rule_words.result_words(rule)) or _("无（废止）"), ""),
        (_("优先级"), str(rule.priority), ""),
        (_("生效日期"), rule.effective_from.isoformat(), ""),
        (_("制定依据"), form.basis.data, ""),
    ]


def _rows(found: Trial) -> list[tuple[str, str, str, str]]:
    """Requests that would have been judged otherwise: number, department, before, after."""
    return [
        (one.request.number, one.request.department.name, _spelled(one.before), _spelled(one.after))
        for one in found.changed[:SHOWN]
    ]


def _spelled(said: Judgement) -> str:
    return _("；").join(rule_words.judgement_words(said)) or "—"


def _versions(tx: Tx, code: str) -> list[ApprovalRule]:
    """Every version of the rule, newest first. Raises NotFound."""
    rows = list(tx.scalars(select(ApprovalRule).where(ApprovalRule.code == code).order_by(ApprovalRule.version.desc())))
    if not rows:
        raise NotFound("rules.none", N_("没有代码为 %(code)s 的审批规则"), code=code)
    return rows


def _history(versions: Sequence[ApprovalRule]) -> list[dict[str, object]]:
    """One event a version, newest first, with what it changed of the one before."""
    events = []
    for row, before in zip(versions, [*versions[1:], None], strict=True):
        was, now = _facts(before) if before else {}, _facts(row)
        events.append(
            {
                "at": row.enacted_at,
                "who": row.enacted_by,
                "what": _(
                    "制定第 %(version)s 版，自 %(day)s 起", version=row.version, day=row.effective_from.isoformat()
                ),
                "reason": _(row.basis),
                "changes": [(label, was.get(label), text) for label, text in now.items() if was.get(label) != text],
            }
        )
    return events


def _facts(row: ApprovalRule) -> Mapping[str, str]:
    return {
        _("适用于"): _("；或 ").join(rule_words.condition_words(row.condition)),
        _("结果"): _("；").join(rule_words.result_words(row.rule())) or _("无（废止）"),
        _("优先级"): str(row.priority),
    }


@checklist.step("rules", N_("审批规则"), N_("今日有生效的审批规则：谁在几个工作日内审批什么申请。"), Role.AUTHORITY,
                endpoint="rules.index", order=110)  # fmt: skip
def _in_force(look: Look) -> bool:
    return bool(rulebook.in_force(look.tx, look.today))
