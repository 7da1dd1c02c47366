"""Formulas that companies are scored by: what holds, what is coming, what held; drafts from a file, what past periods would
have been by them, and the second signature."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from functools import partial
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from flask_wtf.file import FileField
from sqlalchemy import select
from werkzeug.wrappers import Response
from wtforms import DateField, HiddenField, TextAreaField
from wtforms.validators import InputRequired, Length

from console import formula_sheets, frame
from console.access import STEWARDS, allow, proven
from console.book import actor, reading, transaction
from console.forms import answer, done
from console.lists import Column, Filter, Rows, listing
from console.pages.assessment import formula_forms
from console.pages.assessment.formula_forms import EditedSheets, FormulaRowsForm
from console.programs import listed, takes, unfit
from console.words import _, lazy, sentence, who
from console.words import formulas as words
from providers.assessment import (
    SUBJECT_LABELS,
    AssessmentFormula,
    CardSubject,
    FormulaDocument,
    FormulaDraft,
    SubjectType,
    formula,
    formula_documents,
    formula_drafts,
    formulas,
    registry,
)
from quota.actors import Actor, Role
from quota.calendar import ZONE
from quota.db import Tx
from quota.directory import CloudProvider
from quota.errors import N_, Invalid, Refused

blueprint = Blueprint("formulas", __name__, url_prefix="/formulas")
frame.page("providers", "formulas.index", N_("考核公式"), order=45)

READERS = (*STEWARDS, Role.PROVIDER)
NEWEST = 10
"""So many drafts stand on the first page."""
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def _state(query: Rows, value: str) -> Rows:
    if value == "enacted":
        return query.where(FormulaDraft.enacted_id.is_not(None))
    gone = FormulaDraft.withdrawn_at.is_not(None)
    return query.where(FormulaDraft.enacted_id.is_(None), gone if value == "withdrawn" else ~gone)


DRAFT_COLUMNS = [
    Column("name", N_("名称"), lambda d: d.document["name"], href=lambda d: url_for("formulas.drafted", draft_id=d.id), title=True),
    Column("code", N_("代码"), lambda d: f"{d.code}-{d.based_on + 1}"),
    Column("state", N_("状态"), lambda d: f"policy_{d.state}", state=True),
    Column("whom", N_("被考核方"), lambda d: _(SUBJECT_LABELS[_subject(d)]), code=lambda d: _subject(d).value),
    Column("since", N_("生效日"), lambda d: d.effective_from),
    Column("drafted", N_("起草于"), lambda d: d.drafted_at, sort=FormulaDraft.id),
    Column("by", N_("起草人"), lambda d: d.drafted_by, text=who, minor=True),
    Column("reason", N_("理由"), lambda d: d.reason, minor=True),
    Column("digest", N_("摘要"), lambda d: d.digest[:16], code=lambda d: d.digest, minor=True),
]  # fmt: skip
DRAFT_FILTERS = [
    Filter("state", N_("状态"), _state,
           options={"drafted": N_("草案"), "enacted": N_("已启用"), "withdrawn": N_("已撤回")}),
]  # fmt: skip


def _subject(row: FormulaDraft) -> SubjectType:
    return SubjectType(row.document.get("subject", SubjectType.COMPANY))


class FormulaDraftForm(FlaskForm):  # type: ignore[misc]
    """A draft: the document as a file or as it stands in the field, from when, and why."""

    file = FileField(lazy("公式文件"), description=lazy("工作簿（xlsx）或 JSON；选了文件就以文件为准"))
    document = TextAreaField(
        lazy("公式内容"), [Length(max=formula_documents.MOST_BYTES)], description=lazy("从现行公式开始，改动处改成新值")
    )
    effective_from = DateField(lazy("生效日"), [InputRequired(lazy("请填写生效日"))],
                               description=lazy("从这一天或以后开始的月份和季度按它评分"))  # fmt: skip
    reason = TextAreaField(lazy("理由"), [InputRequired(lazy("请写明理由")), Length(max=2000)],
                           description=lazy("依据的文件、文号和修订原因"))  # fmt: skip


class FormulaEnactForm(FlaskForm):  # type: ignore[misc]
    """The second signature, under the document that was shown."""

    digest = HiddenField()
    reason = TextAreaField(lazy("签署意见"), [InputRequired(lazy("请写明签署意见")), Length(max=2000)])


@blueprint.get("/")
@allow(*READERS)
def index() -> str:
    tx = reading()
    today = tx.now.astimezone(ZONE).date()
    held = formulas.enacted(tx)
    companies = tx.scalars(select(CloudProvider).where(CloudProvider.active).order_by(CloudProvider.name)).all()
    if tx.actor.role is Role.PROVIDER:
        companies = [one for one in companies if one.id == tx.actor.provider_id]
    mine = {one.id: held.of(one.id, today) for one in companies}
    others = {
        kind: held.of_subject(CardSubject(kind, 0), today) for kind in SubjectType if kind is not SubjectType.COMPANY
    }
    in_force = {one.id for one in (*mine.values(), *others.values()) if one is not None}
    versions = [one for one in reversed(held.versions) if _may_see(tx.actor, held, one)]
    return render_template(
        "formulas/index.html",
        companies=[(one, mine[one.id]) for one in companies],
        others=[(kind, SUBJECT_LABELS[kind], one) for kind, one in others.items()]
        if tx.actor.role is not Role.PROVIDER
        else [],
        current=[one for one in versions if one.id in in_force],
        coming=[one for one in versions if one.effective_from > today],
        past=[one for one in versions if one.id not in in_force and one.effective_from <= today],
        drafts=formula_drafts.drafts(tx)[:NEWEST] if tx.actor.role is not Role.PROVIDER else [],
        whom=partial(_whom, held=held),
    )


def _may_see(who: Actor, held: formulas.Enacted, formula: AssessmentFormula) -> bool:
    """Companies see what is for everybody or for them."""
    if who.role is not Role.PROVIDER:
        return True
    return (
        held.type_of(formula) is SubjectType.COMPANY
        and formula.provider_id in (None, who.provider_id)
        and (not formula.contract or held.under(who.provider_id or 0, formula.contract))
    )


def _whom(formula: AssessmentFormula, held: formulas.Enacted) -> str:
    """Whom a version is for, in words."""
    if formula.provider is not None:
        return str(formula.provider.name)
    if formula.contract:
        return str(_("合同 %(number)s", number=formula.contract))
    kind = held.type_of(formula)
    return str(_("全部云服务商")) if kind is SubjectType.COMPANY else str(_(SUBJECT_LABELS[kind]))


def _version(version_id: int) -> AssessmentFormula:
    tx = reading()
    found = formulas.version(tx, version_id)
    return found if _may_see(tx.actor, formulas.enacted(tx), found) else formulas.version(tx, 0)


@blueprint.get("/<int:version_id>")
@allow(*READERS)
def show(version_id: int) -> str:
    tx = reading()
    one = _version(version_id)
    before = next((each for each in formulas.enacted(tx).versions
                   if each.code == one.code and each.version == one.version - 1 and not each.ends), None)  # fmt: skip
    shown = None if one.ends else one.formula()
    return render_template(
        "formulas/show.html",
        one=one,
        whom=_whom(one, formulas.enacted(tx)),
        told=words.told(shown) if shown else None,
        differences=words.differences(before.formula(), shown) if before and shown else [],
        before=before,
    )


@blueprint.get("/<int:version_id>/file.json")
@allow(*READERS)
def version_file(version_id: int) -> Response:
    return _file(_version(version_id).written())


@blueprint.get("/drafts/<int:draft_id>/file.json")
@allow(*STEWARDS)
def draft_file(draft_id: int) -> Response:
    return _file(formula_drafts.drafted(reading(), draft_id).written())


@blueprint.get("/<int:version_id>/file.xlsx")
@allow(*READERS)
def version_workbook(version_id: int) -> Response:
    return _workbook(_version(version_id).written())


@blueprint.get("/drafts/<int:draft_id>/file.xlsx")
@allow(*STEWARDS)
def draft_workbook(draft_id: int) -> Response:
    return _workbook(formula_drafts.drafted(reading(), draft_id).written())


def _workbook(document: FormulaDocument) -> Response:
    found = Response(formula_sheets.workbook(document), mimetype=XLSX)
    found.headers["Content-Disposition"] = f"attachment; filename=formula-{document.code}.xlsx"
    return found


def _file(document: FormulaDocument) -> Response:
    found = Response(formula_documents.text(document), mimetype="application/json")
    found.headers["Content-Disposition"] = f"attachment; filename=formula-{document.code}.json"
    return found


@blueprint.route("/drafts/new", methods=["GET", "POST"])
@allow(Role.SUPERVISOR, Role.AUTHORITY)
@takes(FormulaDraftForm)
def draft() -> str | Response | tuple[str, int]:
    """The next version of a formula from a file, a workbook or the text of its document."""
    tx = reading()
    begin = _begin(tx)
    form = FormulaDraftForm(document=formula_documents.text(begin), effective_from=_tomorrow(tx))

    def act() -> Response:
        sent = form.file.data.read(formula_documents.MOST_BYTES + 1) if form.file.data else form.document.data or ""
        if isinstance(sent, bytes) and formula_sheets.is_workbook(sent):
            found = formula_sheets.parsed(sent)
            _refuse(form, formula_forms.told(formula_sheets.faults_of(found)))
            return _drafted(found.raw, form)
        raw = formula_documents.parsed(sent)
        _refuse(form, formula_documents.problems(raw))
        return _drafted(raw, form)

    return answer(form, act, lambda: render_template("formulas/draft.html", form=form, begin=begin, **_same()), Refused)


@blueprint.route("/drafts/edit", methods=["GET", "POST"])
@allow(Role.SUPERVISOR, Role.AUTHORITY)
@unfit("programs send the document as a whole")
def edit() -> str | Response | tuple[str, int]:
    """The next version of a formula, edited row by row from the newest one."""
    tx = reading()
    begin = _begin(tx)
    form = FormulaRowsForm(effective_from=_tomorrow(tx))
    sheets = EditedSheets.sent(request.form.items()) if request.method == "POST" else EditedSheets.of(begin)

    def act() -> Response:
        found = sheets.document(form.effective_from.data)
        _refuse(form, formula_forms.told(formula_sheets.faults_of(found)))
        return _drafted(found.raw, form)

    def page() -> str:
        return render_template("formulas/edit.html", form=form, sheets=sheets.sheets(), choices=formula_forms.choices,
                               chosen=formula_forms.chosen, labels=_labels(), **_same())  # fmt: skip

    if request.form.get("more"):
        sheets.add(request.form["more"])
        return page()
    return answer(form, act, page, Refused)


def _begin(tx: Tx) -> FormulaDocument:
    """What a draft begins with: the newest version of what the address names, else our own default."""
    newest = formulas.newest(tx, request.args.get("code", formulas.CITY))
    kind = next((one for one in SubjectType if one == request.args.get("subject")), SubjectType.COMPANY)
    if kind is SubjectType.COMPANY and newest is not None and not newest.ends:
        return newest.written()
    return _ours(kind)


def _labels() -> dict[str, str]:
    """Code → name of each indicator that the house has evidence of."""
    return {one.code: one.label for subject in SubjectType for one in registry.indicators(subject)}


def _same() -> dict[str, dict[str, str]]:
    """What of the address says which formula a draft begins with."""
    return {"same": {name: request.args[name] for name in ("code", "subject") if name in request.args}}


def _tomorrow(tx: Tx) -> date:
    return tx.now.astimezone(ZONE).date() + timedelta(days=1)


def _refuse(form: FlaskForm, found: Sequence[Invalid]) -> None:
    """Raises the first of what is wrong; the others are told above the form."""
    for problem in found[1:]:
        form.form_errors = [*form.form_errors, sentence(problem.message, problem.params)]
    for problem in found[:1]:
        raise problem


def _drafted(raw: Any, form: FlaskForm) -> Response:
    with transaction() as tx:
        row = formula_drafts.draft(
            tx, formula_documents.read(raw), effective_from=form.effective_from.data, reason=form.reason.data
        )
        draft_id = row.id
    return done(_("草案已保存，以往各期已按它重新计算，供签署时对照"), "formulas.drafted", draft_id=draft_id)


@blueprint.get("/drafts/new.xlsx")
@allow(Role.SUPERVISOR, Role.AUTHORITY)
def blank() -> Response:
    """The workbook to change and send back: what a draft begins with."""
    return _workbook(_begin(reading()))


def _ours(kind: SubjectType) -> FormulaDocument:
    code = formulas.CITY if kind is SubjectType.COMPANY else f"{formulas.CITY}_{kind.value}"
    return FormulaDocument(code, _("考核公式"), "", "", "", None, formula.default(kind))


@blueprint.get("/drafts/")
@allow(*STEWARDS)
@listed(DRAFT_COLUMNS, DRAFT_FILTERS)
def drafts() -> str | Response:
    """Every draft, with the digest under which it is signed."""
    found = listing(
        reading(), select(FormulaDraft), DRAFT_COLUMNS, key=FormulaDraft.id, filters=DRAFT_FILTERS, sort="-drafted"
    )
    return found.exported("formula-drafts") or render_template("formulas/drafts.html", found=found)


@blueprint.get("/drafts/<int:draft_id>")
@allow(*STEWARDS)
def drafted(draft_id: int) -> str:
    row = formula_drafts.drafted(reading(), draft_id)
    return render_template("formulas/drafted.html", **_of_draft(row))


def _of_draft(row: FormulaDraft) -> dict[str, Any]:
    """A draft for its page: the document, what it changes, and past periods beside what they would have been."""
    tx = reading()
    document = row.written()
    base = next(
        (one for one in formulas.enacted(tx).versions if (one.code, one.version) == (row.code, row.based_on)), None
    )
    whom = document.formula.subject
    if whom is SubjectType.COMPANY:
        base = base or formulas.newest(tx, formulas.CITY)
    before = base.formula() if base is not None and not base.ends else formula.default(whom)
    found = formula_drafts.rescored(tx, document) if row.state == "drafted" else []
    changed, silenced = formula_drafts.outlook(found)
    return {
        "row": row,
        "document": document,
        "told": words.told(document.formula),
        "differences": words.differences(before, document.formula),
        "rescored": [
            {
                "card": one.card,
                "company": _(one.card.whose),
                "then": one.then,
                "paid": one.paid,
                "grades": (
                    _grade(one.card.grade, one.card.rated, before),
                    _grade(one.then.grade, one.then.total is not None, document.formula),
                ),
                "moved": len(one.moved),
            }
            for one in found
        ],
        "changed": changed,
        "silenced": silenced,
    }


def _grade(grade: str | None, rated: bool, by: formula.Formula) -> str:
    if grade:
        return str(_(by.grade_label(grade)))
    return "—" if rated else str(_("证据不足，不评总分"))


@blueprint.post("/drafts/<int:draft_id>/withdraw")
@allow(Role.SUPERVISOR, Role.AUTHORITY)
@takes()
def withdraw(draft_id: int) -> Response:
    with transaction() as tx:
        formula_drafts.withdraw(tx, draft_id)
    flash(_("草案已撤回"), "success")
    return redirect(url_for("formulas.drafted", draft_id=draft_id))


@blueprint.route("/drafts/<int:draft_id>/enact", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@proven
@takes(FormulaEnactForm)
def enact(draft_id: int) -> str | Response | tuple[str, int]:
    """What would hold and what it would have done, shown to who signs; then the signature."""
    row = formula_drafts.drafted(reading(), draft_id)
    form = FormulaEnactForm(digest=row.digest)

    def act() -> Response:
        with transaction() as writing:
            version = formula_drafts.enact(writing, draft_id, form.digest.data or "", reason=form.reason.data)
        return done(_("考核公式已启用"), "formulas.show", version_id=version.id)

    def page() -> str:
        own = row.drafted_by == actor().login
        return render_template("formulas/enact.html", form=form, own=own, **_of_draft(row))

    return answer(form, act, page, Refused)


@frame.home_block(Role.AUTHORITY, order=46)
def _to_sign(tx: Tx, who: Actor) -> str | None:
    """Drafts of others that wait for a signature."""
    rows = [one for one in formula_drafts.drafts(tx) if one.state == "drafted" and one.drafted_by != who.login]
    return render_template("formulas/_home.html", rows=rows) if rows else None
