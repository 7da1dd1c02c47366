"""批量办理: cases that are alike on one page, with one look at each; reviewed, noticed or ruled on in one act."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from flask import Blueprint, flash, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import func, select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import HiddenField, RadioField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import Length, Optional

from console import frame, links
from console.access import allow
from console.book import actor, book, reading, transaction
from console.forms import answer, done, refused_here
from console.lists import Column, Filter, listing, marks_of
from console.pages.cases import evidence
from console.pages.cases.cases import ACT_LABELS, CAUSES, KINDS
from console.pages.cases.notices import LOADED, pairs
from console.programs import Given, listed, takes
from console.words import _, identified, lazy, names, sentence
from metering import batches
from metering.batches import OUTCOME_LABELS, Alike, BatchItem, BatchOutcome, CaseBatch, alike
from metering.cases import (
    ANSWER_LABELS,
    DECISION_LABELS,
    MATTER_LABELS,
    Case,
    CaseAct,
    CaseState,
    RulingDecision,
    hearings,
    risk_label,
)
from metering.judging import LABELS, PolicyVersion, Verdict
from quota.actors import Actor, Role
from quota.db import Tx, among
from quota.errors import N_, Invalid, NotAllowed, NotFound

blueprint = Blueprint("batches", __name__, url_prefix="/batches")
frame.page("cases", "batches.index", N_("批量办理"), order=35)

SHOWN = 500
"""Cases of a group that are looked at in one go; what is behind them comes with the next."""
VERDICTS = {verdict.value: label for verdict, label in LABELS.items()}
MATTERS = {matter.value: label for matter, label in MATTER_LABELS.items()}
OUTCOMES = {outcome.value: label for outcome, label in OUTCOME_LABELS.items()}


class BatchForm(FlaskForm):  # type: ignore[misc]
    key = HiddenField()
    decision = RadioField(lazy("裁定"), choices=[], validators=[Optional()])
    reason = TextAreaField(lazy("理由"), [Optional(), Length(max=4000)])

    def offer(self, act: CaseAct) -> None:
        self.decision.choices = [SelectChoice(one.value, _(label)) for one, label in DECISION_LABELS.items()]
        label, hint = {
            CaseAct.REVIEW: (N_("审核意见"), N_("记入每个案件")),
            CaseAct.ISSUE: (N_("附言"), N_("写在清单之前;每封通知相同。")),
            CaseAct.RULE: (N_("裁定理由"), N_("记入每个案件,不少于10个字;准予豁免的按各自申请的类别和期限")),
        }[act]
        self.reason.label.text, self.reason.description = _(label), _(hint)


ENDED = "term-"


def _act_of(row: Any) -> CaseAct:
    return batches.ACT_IN[CaseState(row.state)]


def _to_group(row: Any) -> str:
    return url_for(
        "batches.group", act=_act_of(row).value, kind=row.kind, policy=row.policy_version_id,
        verdict=f"{ENDED if row.term else ''}{row.verdict}", matter=row.matter or None,
    )  # fmt: skip


@frame.home_block(Role.SUPERVISOR, Role.AUTHORITY, order=17)
def cut_off(tx: Tx, who: Actor) -> str | None:
    """Batches that this person signed and that stopped half-way; nothing where there is none."""
    query = select(CaseBatch).where(CaseBatch.by == who.login, CaseBatch.finished_at.is_(None))
    rows = list(tx.scalars(query.order_by(CaseBatch.id).limit(5)))
    return render_template("batches/_home.html", rows=rows, labels=ACT_LABELS, kinds=KINDS) if rows else None


# --------------------------------------------------------------------------------------------------------- the groups


@blueprint.get("/")
@allow(Role.SUPERVISOR, Role.AUTHORITY)
@listed((), open=True, alone=False)
def index() -> str | Response:
    """Open cases that wait for an act, in groups of what is alike; and what was done in batches lately."""
    tx = reading()
    versions = {
        one.id: f"{names.policy(one.name)} {_('第%(n)s版', n=one.version)}" for one in tx.scalars(select(PolicyVersion))
    }
    columns = [
        Column(
            "act",
            N_("待办"),
            lambda g: _(ACT_LABELS[_act_of(g)]),
            code=lambda g: _act_of(g),
            title=True,
            href=_to_group,
        ),
        Column("kind", N_("类别"), lambda g: _(KINDS[g.kind]), code=lambda g: g.kind),
        Column("verdict", N_("结论"), lambda g: g.verdict, state=True),
        Column(
            "matter",
            N_("事项"),
            lambda g: _(MATTERS[g.matter]) if g.matter else None,
            code=lambda g: g.matter if g.matter else None,
        ),
        Column("term", N_("起因"), lambda g: _(CAUSES[bool(g.term)]), code=lambda g: bool(g.term)),
        Column("policy", N_("策略"), lambda g: versions.get(g.policy_version_id)),
        Column("cases", N_("案件"), lambda g: g.cases, sort=alike.CASES, unit=N_("件"), number=True),
        Column("departments", N_("使用单位"), lambda g: g.departments, sort=alike.DEPARTMENTS, number=True),
        Column("worth", N_("折合"), lambda g: round(g.worth, 1), unit="vCPU", sort=alike.WORTH, number=True),
        Column("risk", N_("最高风险"), lambda g: _(risk_label(g.risk)), sort=alike.RISK),
        Column("soonest", N_("最近期限"), lambda g: g.soonest, sort=alike.SOONEST),
    ]
    query = alike.groups()
    if actor().role is not Role.SUPERVISOR:
        query = query.where(Case.state == CaseState.DISPUTED.value)
    found = listing(tx, query, columns, key=alike.FIRST, sort="-worth")
    return found.exported("case-groups-alike") or render_template(
        "batches/index.html", groups=found, recent=_recent(tx), labels=ACT_LABELS, kinds=KINDS, verdicts=VERDICTS
    )


def _recent(tx: Tx) -> list[Any]:
    """The last batches, each with how many of its cases are done and how many wait."""
    one = BatchItem.batch_id == CaseBatch.id
    cases_of = select(func.count()).select_from(BatchItem).where(one).correlate(CaseBatch)
    done_of = cases_of.where(BatchItem.outcome == BatchOutcome.DONE.value).scalar_subquery()
    query = select(CaseBatch, cases_of.scalar_subquery().label("cases"), done_of.label("done"))
    return list(tx.execute(query.order_by(CaseBatch.id.desc()).limit(10)))


# -------------------------------------------------------------------------------------------------------- one group


def _alike(act: str, kind: str, verdict: str, policy: int, matter: str | None) -> Alike:
    """The group that the address names: by its verdict, of cases that began with the end of a term ``term-`` and that. Raises NotFound
    where it names none."""
    judged = verdict.removeprefix(ENDED)
    acts, verdicts = {one.value: one for one in batches.ACT_IN.values()}, {one.value for one in Verdict}
    if act not in acts or kind not in KINDS or judged not in verdicts or (matter is not None and matter not in MATTERS):
        raise NotFound("batch.group", N_("没有这一组案件"))
    return Alike(acts[act], kind, judged, policy, matter, term=judged != verdict)


@blueprint.route("/<act>/<kind>/<verdict>/<int:policy>", methods=["GET", "POST"])
@blueprint.route("/<act>/<kind>/<verdict>/<int:policy>/<matter>", methods=["GET", "POST"])
@allow(Role.SUPERVISOR, Role.AUTHORITY)
@takes(
    BatchForm,
    Given("case", label=N_("要办理的案件:版本,如 12:3"), required=True, many=True),
    Given("seen", label=N_("看过的全部案件:版本;不办理的须在 except 中写明理由"), many=True),
    Given("except", dict, N_("不办理的:案件 → 理由")),
    sends={"step": "confirm"},
)
def group(
    act: str, kind: str, verdict: str, policy: int, matter: str | None = None
) -> str | Response | tuple[str, int]:
    """One line for each case of a group, each ticked; then what is left out and why; then the act."""
    tx, group_of = reading(), _alike(act, kind, verdict, policy, matter)
    if group_of.act is not CaseAct.RULE and actor().role is not Role.SUPERVISOR:
        raise NotAllowed("batch.act", N_("只有运营监督方可以办理"))
    form = BatchForm(data={"key": uuid4().hex})
    form.offer(group_of.act)
    rows, others = _rows(tx, group_of)

    def page() -> str:
        return _group_page(tx, group_of, form, rows, others)

    def sign() -> str | Response:
        step = request.form.get("step")
        if step == "edit":
            return page()
        shown, ticked = dict(pairs(request.form.getlist("seen"))), dict(pairs(request.form.getlist("case")))
        if not ticked:
            raise Invalid("batch.empty", N_("请至少选择一个案件"))
        if group_of.act is CaseAct.RULE and not form.decision.data:
            raise Invalid("batch.decision", N_("请选择裁定"), field="decision")
        left_out = {one: request.form.get(f"except-{one}", "").strip() for one in shown if one not in ticked}
        if step != "confirm" or not all(left_out.values()):
            missing = step == "confirm"
            if missing:
                refused_here(Invalid("batch.why", N_("请写明不办理的理由"), field="except"))
            return _check_page(tx, group_of, form, ticked, left_out, missing=missing)
        with transaction() as writing:
            made = batches.begin(
                writing,
                group_of,
                shown | ticked,
                left_out,
                form.reason.data or "",
                key=f"form:{(form.key.data or '')[:64]}",
                decision=RulingDecision(form.decision.data) if group_of.act is CaseAct.RULE else None,
            )
            batch_id = made.id
        return _carried_out(batch_id)

    return answer(form, sign, page, Invalid)


def _rows(tx: Tx, group_of: Alike) -> tuple[list[Case], int]:
    """The cases of a group that the visitor may act on, the first SHOWN; and how many others there are."""
    query = alike.members(group_of)
    if group_of.act is CaseAct.RULE:
        query = query.where(~alike.barred(actor()))
    rows = list(tx.scalars(query.options(*LOADED).limit(SHOWN)))
    every = alike.members(group_of).order_by(None).with_only_columns(func.count(), maintain_column_froms=True)
    return rows, (tx.scalar(every) or 0) - len(rows)


def _group_page(tx: Tx, group_of: Alike, form: BatchForm, rows: list[Case], others: int) -> str:
    ticked = dict(pairs(request.form.getlist("case"))) if request.method == "POST" else None
    return render_template(
        "batches/group.html",
        form=form,
        rows=rows,
        others=others,
        ticked=ticked,
        reasons=evidence.reasons,
        answers=ANSWER_LABELS,
        room=hearings.letter_room(tx) if group_of.act is CaseAct.ISSUE else None,
        **_named(tx, group_of),
    )


def _check_page(
    tx: Tx, group_of: Alike, form: BatchForm, ticked: dict[int, int], left_out: dict[int, str], *, missing: bool
) -> str:
    """What will be done, by department; what is left out, each with the field for its reason."""
    query = alike.members(group_of).where(among(Case.id, {*ticked, *left_out})).options(*LOADED)
    known = {one.id: one for one in tx.scalars(query)}
    chosen = [one for one in known.values() if one.id in ticked]
    by_department: dict[str, list[Case]] = {}
    for one in chosen:
        by_department.setdefault(one.department.name, []).append(one)
    return render_template(
        "batches/check.html",
        form=form,
        decision=_(DECISION_LABELS[RulingDecision(form.decision.data)]) if form.decision.data else None,
        by_department=by_department,
        ticked=ticked,
        worth=sum(one.worth for one in chosen),
        left_out=[(known[one], why) for one, why in left_out.items() if one in known],
        missing=missing,
        gone=sorted((set(ticked) | set(left_out)) - set(known)),
        said=evidence.consequence(tx, chosen[0], group_of.act) if chosen else [],
        room=hearings.letter_room(tx) if group_of.act is CaseAct.ISSUE else None,
        **_named(tx, group_of),
    )


def _named(tx: Tx, group_of: Alike) -> dict[str, Any]:
    """The group in words."""
    version = tx.get(PolicyVersion, group_of.policy_version_id)
    return {
        "group": group_of,
        "act": _(ACT_LABELS[group_of.act]),
        "kind": _(KINDS[group_of.kind]),
        "cause": _(CAUSES[True]) if group_of.term else None,
        "matter": _(MATTERS[group_of.matter]) if group_of.matter else None,
        "version": f"{names.policy(version.name)} {_('第%(n)s版', n=version.version)}" if version else None,
    }


def _carried_out(batch_id: int) -> Response:
    """Do it, and say how many came out how."""
    batches.carry_out(book(), batch_id, actor())
    with book().reading(actor()) as tx:
        found = batches.counts(tx, batch_id)
    did = found.pop(BatchOutcome.DONE, 0)
    rest = sum(count for outcome, count in found.items() if outcome is not BatchOutcome.EXCEPTED)
    if rest:
        flash(_("%(n)s 件未办，原因逐件列出", n=rest), "warning")
    return done(_("已办理 %(n)s 件", n=did), "batches.show", batch_id=batch_id)


# -------------------------------------------------------------------------------------------------------- one batch

ITEMS = [
    Column("case", N_("案件"), lambda i: i.case.number, title=True, href=lambda i: url_for("cases.show", case_id=i.case_id)),
    Column("resource", N_("资源"), lambda i: identified(i.case.resource), href=links.resource(lambda i: i.case.resource_id)),
    *marks_of(lambda i: i.case.resource),
    Column("department", N_("使用单位"), lambda i: i.case.department.name, href=links.department(lambda i: i.case.department_id)),
    Column("worth", N_("折合"), lambda i: round(i.case.worth, 1), unit="vCPU", number=True),
    Column("outcome", N_("结果"), lambda i: _(OUTCOMES[i.outcome]), code=lambda i: i.outcome),
    Column("why", N_("原因"), lambda i: _said(i)),
    Column("notice", N_("通知"), lambda i: i.notice.number if i.notice else None,
           href=lambda i: url_for("notices.show", notice_id=i.notice_id) if i.notice_id else None),
    Column("place", N_("次序"), lambda i: i.place, sort=BatchItem.place, number=True, minor=True),
]  # fmt: skip
ITEM_FILTERS = [
    Filter("outcome", N_("结果"), lambda q, v: q.where(BatchItem.outcome == v), options=OUTCOMES),
]


def _said(item: BatchItem) -> str | None:
    """Why it was left out, or why it could not be done, in the reader's words."""
    if item.reason:
        return item.reason
    return sentence(item.said["message"], item.said["params"]) if item.said else None


@blueprint.get("/<int:batch_id>")
@allow(Role.SUPERVISOR, Role.AUTHORITY, Role.AUDITOR)
@listed(ITEMS, ITEM_FILTERS, at="items")
def show(batch_id: int) -> str | Response:
    """What was signed, and what became of each case."""
    tx = reading()
    one = batches.batch(tx, batch_id)
    query = (
        select(BatchItem)
        .where(BatchItem.batch_id == batch_id)
        .options(
            joinedload(BatchItem.case).joinedload(Case.resource),
            joinedload(BatchItem.case).joinedload(Case.department),
            joinedload(BatchItem.notice),
        )
    )
    found = listing(tx, query, ITEMS, key=BatchItem.id, filters=ITEM_FILTERS, sort="place")
    exported = found.exported(f"batch-{batch_id}")
    if exported:
        return exported
    return render_template(
        "batches/show.html",
        one=one,
        items=found,
        counts=batches.counts(tx, batch_id),
        outcomes=OUTCOME_LABELS,
        act=_(ACT_LABELS[CaseAct(one.act)]),
        kind=_(KINDS[one.kind]),
        decision=_(DECISION_LABELS[RulingDecision(one.decision)]) if one.decision else None,
        mine=one.by == actor().login,
    )


@blueprint.post("/<int:batch_id>/resume")
@allow(Role.SUPERVISOR, Role.AUTHORITY)
@takes()
def resume(batch_id: int) -> Response:
    """Go on with what was cut off."""
    return _carried_out(batch_id)
