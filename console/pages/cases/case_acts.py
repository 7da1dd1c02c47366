"""What people do to a case: each act on a page of its own that first shows what follows from it."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, url_for
from flask_wtf import FlaskForm
from flask_wtf.file import MultipleFileField
from werkzeug.wrappers import Response
from wtforms import BooleanField, HiddenField, RadioField, SelectField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Optional

from console.access import allow, proven_where
from console.book import actor, book, reading, transaction
from console.errors import status
from console.forms import DateField, hang, refuse_unfilled
from console.pages.attachments import Uploaded, uploaded
from console.pages.cases import evidence as case_evidence
from console.pages.cases.cases import ACT_LABELS, KINDS
from console.pages.cases.cases import blueprint as of_cases
from console.programs import Takes, takes
from console.words import _, lazy
from metering import cases
from metering.cases import (
    ANSWER_LABELS,
    CATEGORY_LABELS,
    DECISION_LABELS,
    Answer,
    Case,
    CaseAct,
    Category,
    RulingDecision,
)
from metering.judging import CaseKind
from quota import attachments
from quota.actors import Role
from quota.db import Tx
from quota.errors import Conflict, Invalid, NotFound
from quota.file_kinds import ACCEPTED

FIELDS = ("answer", "decision", "reason", "evidence", "files", "category", "until", "last_peak", "sure")
"""In the order in which they are asked."""
DESTRUCTIVE = frozenset({CaseAct.ACT, CaseAct.CONFIRM_DELETION})
REASONED = frozenset({CaseAct.DISMISS, CaseAct.WITHDRAW})


class CaseActForm(FlaskForm):  # type: ignore[misc]
    """``generation`` is that of the case that the page showed."""

    generation = HiddenField(validators=[InputRequired()])

    def shown(self) -> int | None:
        text = self.generation.data or ""
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


class FilesForm(CaseActForm):
    """With files as evidence; what of them is good is kept at once."""

    files = MultipleFileField(
        lazy("附件"),
        description=lazy("PDF、PNG、JPEG、xlsx、docx、txt、csv,每个不超过10 MB,一次最多5个"),
        render_kw={"accept": ACCEPTED},
    )


class NoteForm(CaseActForm):
    reason = TextAreaField(lazy("说明"), [Optional(), Length(max=2000)])


class CaseReasonForm(CaseActForm):
    reason = TextAreaField(lazy("理由"), [InputRequired(lazy("请写明理由")), Length(max=2000)])


class SureForm(CaseActForm):
    sure = BooleanField(lazy("我已核对上面的数字和后果"), [InputRequired(lazy("请先核对,再勾选"))])


class TermsForm(FilesForm):
    """Terms of an exemption, for a reply and for a ruling."""

    category = SelectField(lazy("豁免类别"), choices=[], validators=[Optional()])
    until = DateField(lazy("豁免到"), [Optional()], description=lazy("最长180天;新上线只到上线后第90天"))
    last_peak = StringField(
        lazy("上一年的峰值"), [Optional(), Length(max=128)], description=lazy("仅季节性业务填写,如:2025-06-20 CPU 91%")
    )

    def offer(self) -> None:
        self.category.choices = [
            SelectChoice("", "—"),
            *(SelectChoice(one.value, _(label)) for one, label in CATEGORY_LABELS.items()),
        ]

    def terms(self) -> dict[str, Any]:
        return {
            "category": Category(self.category.data) if self.category.data else None,
            "until": self.until.data,
            "last_peak": self.last_peak.data or "",
        }


class ReplyForm(TermsForm):
    answer = RadioField(lazy("答复"), choices=[], validators=[InputRequired(lazy("请选择答复"))])
    reason = TextAreaField(
        lazy("理由"), [Optional(), Length(max=2000)], description=lazy("有异议或申请豁免的必填,不少于10个字")
    )
    evidence = TextAreaField(
        lazy("证据"), [Optional(), Length(max=4000)], description=lazy("监测截图编号、业务计划文号、系统链接等")
    )


class ExpandForm(FilesForm):
    answer = RadioField(lazy("答复"), choices=[], validators=[InputRequired(lazy("请选择答复"))])
    until = DateField(lazy("临时扩容到"), [Optional()], description=lazy("填写则到期自动归还,最长30天;不填为长期扩容"))
    reason = TextAreaField(lazy("说明"), [Optional(), Length(max=2000)])
    evidence = TextAreaField(lazy("证据"), [Optional(), Length(max=4000)])


class CaseRulingForm(TermsForm):
    decision = RadioField(lazy("裁定"), choices=[], validators=[InputRequired(lazy("请选择裁定"))])
    reason = TextAreaField(
        lazy("理由"), [InputRequired(lazy("请写明理由")), Length(max=2000)], description=lazy("不少于10个字")
    )


def _form(case: Case, act: CaseAct) -> CaseActForm:
    kept: dict[str, Any] = {"generation": str(case.generation)}
    if act is CaseAct.REPLY and case.kind == CaseKind.EXPAND:
        expand = ExpandForm(data=kept)
        expand.answer.choices = [
            SelectChoice(Answer.AGREE.value, _("同意扩容")),
            SelectChoice(Answer.OBJECT.value, _("不需要扩容")),
        ]
        return expand
    if act is CaseAct.REPLY:
        reply = ReplyForm(data=kept)
        reply.offer()
        reply.answer.choices = [SelectChoice(one.value, _(label)) for one, label in ANSWER_LABELS.items()]
        return reply
    if act is CaseAct.RULE:
        plea = next((each for each in reversed(case.replies) if each.category), None)
        if plea is not None:
            kept |= {"category": plea.category, "until": plea.until, "last_peak": plea.last_peak}
        ruling = CaseRulingForm(data=kept)
        ruling.offer()
        ruling.decision.choices = [SelectChoice(one.value, _(label)) for one, label in DECISION_LABELS.items()]
        return ruling
    if act in DESTRUCTIVE:
        return SureForm(data=kept)
    return (CaseReasonForm if act in REASONED else NoteForm)(data=kept)


def _acts() -> dict[str, Takes]:
    forms: dict[CaseAct, type[CaseActForm]] = {CaseAct.REPLY: ReplyForm, CaseAct.RULE: CaseRulingForm}
    forms |= dict.fromkeys(DESTRUCTIVE, SureForm) | dict.fromkeys(REASONED, CaseReasonForm)
    return {one.value.replace("_", "-"): Takes(forms.get(one, NoteForm)) for one in CaseAct if one is not CaseAct.ISSUE}


def _named(act_name: str) -> CaseAct | None:
    """The act that an address names; None where there is none of that name."""
    return next((one for one in CaseAct if one.value == act_name.replace("-", "_")), None)


@of_cases.route("/<int:case_id>/<act_name>", methods=["GET", "POST"])
@allow(Role.SUPERVISOR, Role.AUTHORITY, Role.TENANT)
@proven_where(lambda args: _named(args["act_name"]) in DESTRUCTIVE)
@takes(each=_acts, of="act_name")
def do(case_id: int, act_name: str) -> str | Response | tuple[str, int]:
    """The page of one act on one case. Raises NotFound for acts that there are not."""
    act = _named(act_name)
    if act is None:
        raise NotFound("act.none", _("没有这个操作"))
    tx = reading()
    one = cases.case(tx, case_id)
    if act is CaseAct.ISSUE:
        return redirect(url_for("notices.issue", case=one.id))
    form = _form(one, act)
    allowed = act in cases.acts(one, actor())
    code = 200
    evidence = uploaded() if isinstance(form, FilesForm) and form.is_submitted() and allowed else Uploaded()
    valid = form.validate_on_submit()
    refuse_unfilled(form, valid, ("files", evidence.problems))
    if evidence.problems:
        form["files"].errors = evidence.problems
        code = 422
    elif valid:
        try:
            with transaction() as writing:
                _carry_out(writing, cases.case(writing, case_id), act, form, evidence)
        except Conflict:
            raise
        except Invalid as refused:
            hang(form, refused)
            code = status(refused)
        else:
            return _done(case_id, act)
        tx = reading()
        one = cases.case(tx, case_id)
    elif form.errors:
        code = 422
    if not allowed and form.generation.data == str(one.generation):
        flash(_("案件现在不能这样办理"), "warning")
        return redirect(url_for("cases.show", case_id=case_id))
    page = render_template(
        "cases/act.html",
        one=one,
        act=act,
        label=ACT_LABELS[act],
        kind=KINDS[one.kind],
        form=form,
        fields=[form[name] for name in FIELDS if name in form],
        terms=("category", "until", "last_peak")
        if isinstance(form, TermsForm)
        else ("until",)
        if "until" in form
        else (),
        when_said="exempt" if isinstance(form, TermsForm) else "agree",
        kept=evidence.shown(),
        files=attachments.of(tx, one.subject) if act is CaseAct.RULE else {},
        said=case_evidence.consequence(tx, one, act),
        effects=case_evidence.effects(tx, one) if act in (*DESTRUCTIVE, CaseAct.RULE, CaseAct.REPLY) else [],
        reasons=case_evidence.reasons(one),
        answers=ANSWER_LABELS,
        destructive=act is CaseAct.CONFIRM_DELETION or (act is CaseAct.ACT and one.takes),
        charts=case_evidence.use(one, book().clock()) if act in (*DESTRUCTIVE, CaseAct.RULE, CaseAct.REPLY) else [],
    )
    return page, code


def _carry_out(tx: Tx, case: Case, act: CaseAct, form: Any, up: Uploaded) -> None:
    shown = form.shown()
    reason = form.reason.data or "" if "reason" in form else ""
    if act is CaseAct.REVIEW:
        cases.review(tx, case, generation=shown, note=reason)
    elif act is CaseAct.DISMISS:
        cases.dismiss(tx, case, reason, generation=shown)
    elif act is CaseAct.WITHDRAW:
        cases.withdraw(tx, case, reason, generation=shown)
    elif act is CaseAct.REPLY:
        terms = form.terms() if isinstance(form, TermsForm) else {"until": form.until.data}
        answer, evidence = Answer(form.answer.data), form.evidence.data or ""
        if answer is not Answer.EXEMPT and case.takes:
            terms = {}
        files = up.hand_in(tx)
        cases.reply(tx, case, answer, generation=shown, reason=reason, evidence=evidence, files=files, **terms)
    elif act is CaseAct.RULE:
        decision = RulingDecision(form.decision.data)
        terms = form.terms() if decision is RulingDecision.EXEMPT else {}
        cases.rule(tx, case, decision, reason, generation=shown, files=up.hand_in(tx), **terms)
    elif act is CaseAct.ACT:
        cases.act(tx, case, generation=shown)
    elif act is CaseAct.CONFIRM_DELETION:
        cases.confirm_deletion(tx, case, generation=shown)
    elif act is CaseAct.RESTORE:
        cases.restore(tx, case, reason, generation=shown)
    elif act is CaseAct.ROLL_BACK:
        cases.roll_back(tx, case, reason, generation=shown)
    elif act is CaseAct.KEEP:
        cases.keep(tx, case, reason, generation=shown)


def _done(case_id: int, act: CaseAct) -> Response:
    """Back to the case, saying what became of it."""
    tx = reading()
    one = cases.case(tx, case_id)
    flash(_("%(number)s:%(act)s,已办理", number=one.number, act=_(ACT_LABELS[act])), "success")
    if one.state == "closed" and one.reason:
        flash(_("案件已结:%(why)s", why=_(one.reason)), "warning")
    return redirect(url_for("cases.show", case_id=case_id))
